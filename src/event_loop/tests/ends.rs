//! Ends of an output, of a connection, of the loop: what is told to whom, and what is still done.

use std::time::Duration;

use super::system::{ECONNRESET, ENOBUFS, Virtual};
use super::{Echo, LINGER, settle, world};
use crate::engine::{Action, ConnectionId, Reason};
use crate::event_loop::io::Source;
use crate::event_loop::{End, EventLoop, Linger};

const EPERM: i32 = 1;

#[test]
fn a_finished_output_ends_behind_its_last_byte_and_what_the_peer_sends_is_still_read() {
    let (net, mut event_loop) = world();
    let (key, other) = (net.connect(), net.connect());
    settle(&mut event_loop);
    net.received(key);
    let id = *event_loop.engine.waiting.keys().next().expect("it is there");
    net.give_room(key, 0);
    net.send(key, b"hello");
    settle(&mut event_loop);
    event_loop.engine.actions.push_back(Action::FinishOutput(id));
    settle(&mut event_loop);
    assert!(!net.with(key, |socket| socket.fin_sent), "not all is written");
    net.give_room(key, 5);
    settle(&mut event_loop);
    assert!(net.with(key, |socket| socket.fin_sent));
    assert_eq!(net.received(key), "hello");
    net.send(key, b"xx");
    settle(&mut event_loop);
    assert_eq!(event_loop.engine.given_in_all, 7);
    assert!(!net.with(key, |socket| socket.is_gone));
    assert!(!net.with(other, |socket| socket.fin_sent));
}

#[test]
fn an_output_is_not_finished_by_one_who_had_the_place_before() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    let id = *event_loop.engine.waiting.keys().next().expect("it is there");
    let former = ConnectionId::new(id.slot() as u32, id.serial() + 1);
    event_loop.engine.actions.push_back(Action::FinishOutput(former));
    settle(&mut event_loop);
    assert!(!net.with(key, |socket| socket.fin_sent));
}

#[test]
fn a_socket_with_room_costs_no_further_system_call_to_watch_it() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    net.received(key);
    // Were it watched anew, it would be closed for that.
    net.with(key, |socket| socket.interest_error = Some(ECONNRESET));
    net.send(key, b"hello");
    settle(&mut event_loop);
    assert_eq!(net.received(key), "hello");
    assert!(!net.with(key, |socket| socket.is_gone));
}

#[test]
fn what_a_stop_closes_has_until_the_stop_is_over() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    net.received(key);
    net.give_room(key, 0);
    net.send(key, b"hello");
    settle(&mut event_loop);
    let id = *event_loop.engine.waiting.keys().next().expect("it is there");
    let close = Action::Close(id, Reason::ServerClosing);
    event_loop.engine.actions.extend([Action::Stop(2 * LINGER), close]);
    // An event each time, for without one the loop would sleep until the stop is over.
    for passed in [Duration::ZERO, LINGER] {
        net.advance(passed);
        net.0.borrow_mut().tell_socket(key, |event| event.is_readable = true);
        assert_eq!(event_loop.turn().expect("a turn"), None);
    }
    net.give_room(key, 5);
    assert_eq!(event_loop.turn().expect("a turn"), None);
    assert_eq!(net.received(key), "hello");
}

#[test]
fn who_has_all_and_is_only_awaited_is_not_cut_off_when_the_loop_ends() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    net.send(key, b"byeq");
    settle(&mut event_loop);
    net.0.borrow_mut().tell(Source::Waker, |_| {});
    assert_eq!(event_loop.turn().expect("a turn"), None);
    net.0.borrow_mut().tell(Source::Waker, |_| {});
    assert_eq!(event_loop.turn().expect("a turn"), Some(End::CutShort(1)));
    assert!(!net.with(key, |socket| socket.is_aborted));
    assert_eq!(event_loop.engine.closed, [(1, Reason::Quit)]);
}

#[test]
fn the_end_of_the_input_is_told_once() {
    let (net, mut event_loop) = world();
    event_loop.engine.outlives_eof = true;
    let key = net.connect();
    settle(&mut event_loop);
    for _ in 0..3 {
        net.finish(key);
        settle(&mut event_loop);
    }
    assert_eq!(event_loop.engine.ends, 1);
}

#[test]
fn a_write_that_fails_or_takes_nothing_at_all_ends_the_connection() {
    for (code, reason) in [(0, Reason::Reset), (ECONNRESET, Reason::Reset), (EPERM, Reason::SystemError)] {
        let (net, mut event_loop) = world();
        let key = net.connect();
        settle(&mut event_loop);
        net.with(key, |socket| socket.write_errors.push_back(code));
        net.send(key, b"hello");
        settle(&mut event_loop);
        assert_eq!(event_loop.engine.closed, [(1, reason)], "{code}");
    }
}

#[test]
fn attempts_to_write_that_find_no_buffers_are_no_sign_that_the_peer_reads() {
    let net = Virtual::default();
    let mut event_loop = EventLoop::new(net.clone(), Echo::default(), Linger::Stalled(LINGER));
    event_loop.listen(()).expect("the virtual system listens");
    let key = net.connect();
    settle(&mut event_loop);
    net.give_room(key, 0);
    net.send(key, b"byeq");
    settle(&mut event_loop);
    net.with(key, |socket| socket.write_errors.push_back(ENOBUFS));
    event_loop.engine.ready.extend(event_loop.engine.waiting.keys());
    settle(&mut event_loop);
    net.advance(LINGER);
    settle(&mut event_loop);
    assert_eq!(event_loop.engine.closed, [(1, Reason::LingerExpired)]);
}

#[test]
fn what_a_connection_broke_of_is_told_by_its_reason() {
    const EIO: i32 = 5;
    const EPIPE: i32 = 32;
    const ENETUNREACH: i32 = 101;
    const ECONNABORTED: i32 = 103;
    const ETIMEDOUT: i32 = 110;
    const EHOSTUNREACH: i32 = 113;
    for (code, reason) in [
        (EIO, Reason::SystemError),
        (EPIPE, Reason::Reset),
        (ECONNRESET, Reason::Reset),
        (ECONNABORTED, Reason::Reset),
        (ETIMEDOUT, Reason::TimedOut),
        (EHOSTUNREACH, Reason::TimedOut),
        (ENETUNREACH, Reason::TimedOut),
    ] {
        let (net, mut event_loop) = world();
        let key = net.connect();
        settle(&mut event_loop);
        net.with(key, |socket| socket.error = Some(code));
        net.0.borrow_mut().tell_socket(key, |event| event.is_readable = true);
        settle(&mut event_loop);
        assert_eq!(event_loop.engine.closed, [(1, reason)], "{code}");
    }
}
