//! Who reads the figures of a chat, on the production loop: what a visitor does not read holds up nobody.

use std::time::Duration;

use super::system::Virtual;
use super::{LINGER, settle};
use crate::chat::Chat;
use crate::chat::config::Config;
use crate::engine::Peer;
use crate::event_loop::io::Source;
use crate::event_loop::{End, EventLoop, Linger};
use crate::limits;
use crate::stats::Watched;

/// A chat whose one listener is for visitors.
fn world() -> (Virtual, EventLoop<Virtual, Watched<Chat>>) {
    world_that_waits(LINGER)
}

/// The same where a close waits so long.
fn world_that_waits(linger: Duration) -> (Virtual, EventLoop<Virtual, Watched<Chat>>) {
    let net = Virtual::default();
    let chat = Watched::new(Chat::new(Config::default()), false);
    let mut event_loop = EventLoop::new(net.clone(), chat, Linger::InAll(linger));
    let listener = event_loop.listen(()).expect("the virtual system listens");
    event_loop.engine_mut().watch_from(listener);
    (net, event_loop)
}

/// A visitor who asked, and whose socket takes so much of the answer.
fn ask(net: &Virtual, event_loop: &mut EventLoop<Virtual, Watched<Chat>>, room: usize) -> usize {
    let key = net.connect();
    settle(event_loop);
    net.give_room(key, room);
    net.send(key, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    settle(event_loop);
    key
}

#[test]
fn an_answer_goes_on_where_the_socket_was_full_and_is_the_end() {
    let (net, mut event_loop) = world();
    let key = ask(&net, &mut event_loop, 100);
    assert!(net.with(key, |socket| socket.wants_write && !socket.fin_sent));
    net.give_room(key, 1 << 20);
    settle(&mut event_loop);
    let answer = net.received(key);
    let (head, page) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains(&format!("Content-Length: {}\r\n", page.len())), "{head}");
    assert!(net.with(key, |socket| socket.fin_sent));
    net.finish(key);
    settle(&mut event_loop);
    assert!(net.with(key, |socket| socket.is_gone && !socket.is_aborted));
    assert!(event_loop.connections.is_empty());
}

#[test]
fn visitors_who_do_not_read_or_do_not_close_keep_their_places_no_longer_than_they_may_ask() {
    let (net, mut event_loop) = world_that_waits(Duration::from_secs(1000));
    let keys: Vec<usize> = (0..limits::STATS_VISITORS_MAX)
        .map(|number| ask(&net, &mut event_loop, if number % 2 == 0 { 100 } else { 1 << 20 }))
        .collect();
    net.connect();
    settle(&mut event_loop);
    assert!(net.0.borrow().refused[0].starts_with("HTTP/1.1 503 "));
    net.advance(limits::STATS_PATIENCE);
    settle(&mut event_loop);
    for (number, key) in keys.iter().enumerate() {
        // Who got all of it sees its end, who did not, that something is missing.
        net.with(*key, |socket| assert_eq!((socket.is_gone, socket.is_aborted), (true, number % 2 == 0)));
    }
    let key = ask(&net, &mut event_loop, 1 << 20);
    assert!(net.received(key).starts_with("HTTP/1.1 200 "));
}

#[test]
fn the_end_waits_for_no_visitor_whatever_it_has_not_read_or_asked_or_goes_on_to_send() {
    let (net, mut event_loop) = world();
    let stalled = ask(&net, &mut event_loop, 100);
    let answered = ask(&net, &mut event_loop, 1 << 20);
    let silent = net.connect();
    let console = net.connect();
    net.0.borrow_mut().backlog.pop_back();
    event_loop.adopt(console, Peer::Console).expect("the virtual system watches it");
    settle(&mut event_loop);
    net.send(answered, b"and more");
    net.0.borrow_mut().tell(Source::Waker, |_| {});
    assert_eq!(event_loop.turn().expect("a turn"), None);
    for (key, is_aborted) in [(stalled, true), (answered, false), (silent, true)] {
        net.with(key, |socket| assert_eq!((socket.is_gone, socket.is_aborted), (true, is_aborted)));
    }
    net.finish(console);
    assert_eq!(event_loop.turn().expect("a turn"), Some(End::Done));
}
