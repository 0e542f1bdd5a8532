//! Datagram sockets on the production loop: whole datagrams, lost ones, full receivers.

use super::system::{EINTR, ENOBUFS, Socket, Virtual};
use super::{LINGER, settle};
use crate::engine::{Endpoint, Moment, Peer, TurnReport};
use crate::event_loop::io::Source;
use crate::event_loop::{EventLoop, Linger};
use crate::limits;
use crate::socketserver::{Dispatch, Request};

const ECONNREFUSED: i32 = 111;
const SOCKET: usize = 0;

type Echo = fn(&mut Request<'_>);
type Echoing = EventLoop<Virtual, Dispatch<Echo, fn(Peer) -> Echo>>;

fn echo(request: &mut Request<'_>) {
    let datagram = request.recv(usize::MAX);
    if datagram == b"stop" {
        request.server().shutdown();
    }
    request.send(datagram);
}

fn world() -> (Virtual, Echoing) {
    let net = Virtual::default();
    net.0.borrow_mut().sockets.insert(SOCKET, Socket { room: 1, ..Socket::default() });
    let mut event_loop =
        EventLoop::new(net.clone(), Dispatch::new((|_peer| echo) as fn(Peer) -> Echo), Linger::InAll(LINGER));
    event_loop.open_datagrams(SOCKET).expect("the virtual system watches it");
    (net, event_loop)
}

fn from(name: &str) -> Option<Endpoint> {
    Some(Endpoint::Unixgram(name.into()))
}

/// A world that answers with how many datagrams are known to be lost.
fn world_that_counts_losses() -> (Virtual, Echoing) {
    fn count(request: &mut Request<'_>) {
        let lost = request.server().lost_datagrams();
        request.send(format!("{lost} lost").as_bytes());
    }
    let (net, _) = world();
    let engine = Dispatch::new((|_peer| count) as fn(Peer) -> Echo);
    let mut event_loop = EventLoop::new(net.clone(), engine, Linger::InAll(LINGER));
    event_loop.open_datagrams(SOCKET).expect("the virtual system watches it");
    (net, event_loop)
}

/// Somebody sends: the socket tells of it only if nothing was there before.
fn arrive(net: &Virtual, from: Option<Endpoint>, bytes: &[u8]) {
    let was_empty = net.with(SOCKET, |socket| {
        let was_empty = socket.datagrams.is_empty();
        socket.datagrams.push_back(Ok((from, bytes.to_vec())));
        was_empty
    });
    if was_empty {
        net.0.borrow_mut().tell_socket(SOCKET, |event| event.is_readable = true);
    }
}

fn sent(net: &Virtual) -> Vec<String> {
    let sent = net.with(SOCKET, |socket| std::mem::take(&mut socket.sent));
    sent.into_iter()
        .map(|(to, bytes)| {
            let to = to.map_or("nobody".into(), |to| to.to_string());
            format!("{} to {to}", String::from_utf8_lossy(&bytes))
        })
        .collect()
}

#[test]
fn datagrams_keep_their_boundaries_also_empty_ones_and_those_before_the_first_event() {
    let (net, mut event_loop) = world();
    for bytes in [&b"one"[..], b"", b"three"] {
        net.with(SOCKET, |socket| socket.datagrams.push_back(Ok((from("/a"), bytes.to_vec()))));
    }
    settle(&mut event_loop);
    assert_eq!(sent(&net), ["one to unixgram:/a", " to unixgram:/a", "three to unixgram:/a"]);
}

#[test]
fn datagrams_beyond_the_budget_need_no_further_event() {
    let (net, mut event_loop) = world();
    for _ in 0..5 * limits::DATAGRAMS_PER_TURN_MAX {
        arrive(&net, from("/a"), b"x");
    }
    event_loop.turn().expect("a turn");
    assert_eq!(sent(&net).len(), limits::DATAGRAMS_PER_TURN_MAX, "the budget holds");
    settle(&mut event_loop);
    assert_eq!(sent(&net).len(), 4 * limits::DATAGRAMS_PER_TURN_MAX);
}

#[test]
fn what_fails_on_the_way_loses_one_datagram_and_not_the_socket() {
    let (net, mut event_loop) = world();
    settle(&mut event_loop);
    net.with(SOCKET, |socket| {
        // A refusal of an earlier answer, one that is too long, one from nobody, and a good one.
        socket.datagrams.push_back(Err(ECONNREFUSED));
        socket.datagrams.push_back(Ok((from("/a"), vec![b'x'; limits::DATAGRAM_BYTES_MAX + 1])));
        socket.datagrams.push_back(Ok((None, b"who am I".to_vec())));
        socket.write_errors.push_back(ECONNREFUSED);
    });
    net.0.borrow_mut().tell_socket(SOCKET, |event| event.is_readable = true);
    for bytes in [b"1", b"2"] {
        net.with(SOCKET, |socket| socket.datagrams.push_back(Ok((from("/a"), bytes.to_vec()))));
    }
    settle(&mut event_loop);
    assert_eq!(sent(&net), ["2 to unixgram:/a"]);
}

#[test]
fn a_receiver_that_is_full_holds_up_nobody_else_and_is_tried_again() {
    let (net, mut event_loop) = world();
    net.with(SOCKET, |socket| socket.full.extend(from("/full")));
    for bytes in [b"1", b"2"] {
        arrive(&net, from("/full"), bytes);
        arrive(&net, from("/free"), bytes);
    }
    settle(&mut event_loop);
    assert_eq!(sent(&net), ["1 to unixgram:/free", "2 to unixgram:/free"]);
    net.with(SOCKET, |socket| socket.full.clear());
    assert_eq!(event_loop.timeout(), Some(limits::WRITE_RETRY), "no event will tell");
    settle(&mut event_loop);
    settle(&mut event_loop);
    assert_eq!(sent(&net), ["1 to unixgram:/full", "2 to unixgram:/full"]);
    assert_eq!(event_loop.timeout(), None, "nothing waits any more");
}

#[test]
fn a_full_socket_sends_when_it_is_writable() {
    let (net, mut event_loop) = world();
    settle(&mut event_loop);
    net.with(SOCKET, |socket| socket.room = 0);
    let from = Some(Endpoint::Udp(([127, 0, 0, 1], 9).into()));
    arrive(&net, from.clone(), b"1");
    settle(&mut event_loop);
    assert_eq!(sent(&net), [""; 0]);
    assert!(net.with(SOCKET, |socket| socket.wants_write));
    net.with(SOCKET, |socket| socket.room = 1);
    net.0.borrow_mut().tell(Source::Connection(0), |event| event.is_writable = true);
    settle(&mut event_loop);
    assert_eq!(sent(&net), ["1 to udp:127.0.0.1:9"]);
    assert!(!net.with(SOCKET, |socket| socket.wants_write), "it is disarmed");
    // Without buffers in the kernel, a deadline tries again: the one event of a writable socket is spent.
    net.with(SOCKET, |socket| socket.write_errors.extend([ENOBUFS, ENOBUFS]));
    arrive(&net, from, b"2");
    settle(&mut event_loop);
    assert_eq!(sent(&net), [""; 0]);
    assert_eq!(event_loop.timeout(), Some(limits::WRITE_RETRY));
    settle(&mut event_loop);
    settle(&mut event_loop);
    assert_eq!(sent(&net), ["2 to udp:127.0.0.1:9"]);
}

#[test]
fn more_full_receivers_than_one_turn_can_try_hold_up_nobody_else() {
    let (net, mut event_loop) = world();
    let full = 3 * limits::DATAGRAMS_PER_TURN_MAX;
    for number in 0..full {
        let receiver = from(&format!("/full{number}"));
        net.with(SOCKET, |socket| socket.full.extend(receiver.clone()));
        arrive(&net, receiver, b"x");
    }
    arrive(&net, from("/free"), b"1");
    // It comes to rest, too: nobody is tried again before the deadline.
    settle(&mut event_loop);
    assert_eq!(sent(&net), ["1 to unixgram:/free"]);
    for _ in 0..5 {
        assert_eq!(event_loop.timeout(), Some(limits::WRITE_RETRY));
        settle(&mut event_loop);
        settle(&mut event_loop);
    }
    let timers = std::iter::from_fn(|| event_loop.deadlines.poll_due(Moment::START + LINGER)).count();
    assert_eq!(timers, 1, "one deadline tries all");
}

#[test]
fn what_comes_while_the_socket_is_full_does_not_make_it_forget_to_send() {
    let (net, mut event_loop) = world();
    settle(&mut event_loop);
    net.with(SOCKET, |socket| socket.room = 0);
    let from = Some(Endpoint::Udp(([127, 0, 0, 1], 9).into()));
    for bytes in [b"1", b"2"] {
        arrive(&net, from.clone(), bytes);
        settle(&mut event_loop);
    }
    assert!(net.with(SOCKET, |socket| socket.wants_write), "the event is still awaited");
    net.with(SOCKET, |socket| socket.room = 1);
    net.0.borrow_mut().tell(Source::Connection(0), |event| event.is_writable = true);
    settle(&mut event_loop);
    assert_eq!(sent(&net), ["1 to udp:127.0.0.1:9", "2 to udp:127.0.0.1:9"]);
    assert!(!net.with(SOCKET, |socket| socket.wants_write), "it is disarmed");
}

#[test]
fn a_shutdown_sends_the_last_answer_and_closes_the_socket() {
    let (net, mut event_loop) = world();
    arrive(&net, from("/a"), b"stop");
    let end = loop {
        if let Some(end) = event_loop.turn().expect("a turn") {
            break end;
        }
    };
    assert_eq!(end, crate::event_loop::End::Done);
    assert_eq!(sent(&net), ["stop to unixgram:/a"]);
    assert!(net.with(SOCKET, |socket| socket.is_gone));
}

#[test]
fn what_comes_to_a_socket_that_only_waits_for_room_to_close_is_not_received_any_more() {
    let (net, mut event_loop) = world();
    settle(&mut event_loop);
    net.with(SOCKET, |socket| socket.room = 0);
    let from = Some(Endpoint::Udp(([127, 0, 0, 1], 9).into()));
    arrive(&net, from.clone(), b"stop");
    assert_eq!(event_loop.turn().expect("a turn"), None);
    arrive(&net, from, b"late");
    assert_eq!(event_loop.turn().expect("a turn"), None);
    assert_eq!(net.with(SOCKET, |socket| socket.datagrams.len()), 1);
}

#[test]
fn an_interrupted_call_is_made_again_and_loses_no_datagram() {
    let (net, mut event_loop) = world_that_counts_losses();
    net.with(SOCKET, |socket| socket.datagrams.push_back(Err(EINTR)));
    for _ in 0..2 {
        arrive(&net, from("/a"), b"x");
    }
    net.with(SOCKET, |socket| socket.write_errors.push_back(EINTR));
    settle(&mut event_loop);
    assert_eq!(sent(&net), ["0 lost to unixgram:/a", "0 lost to unixgram:/a"]);
}

#[test]
fn a_turn_reports_what_it_received_and_sent() {
    let (net, mut event_loop) = world();
    settle(&mut event_loop);
    net.with(SOCKET, |socket| socket.full.extend(from("/full")));
    for (name, bytes) in [("/a", &b"one"[..]), ("/full", b"two"), ("/b", b"three")] {
        arrive(&net, from(name), bytes);
    }
    event_loop.turn().expect("a turn");
    let expected = TurnReport {
        events: 1,
        // The last of them found nothing.
        reads: 4,
        read_bytes: 11,
        writes: 3,
        written_bytes: 8,
        blocked_writes: 1,
        ..TurnReport::default()
    };
    assert_eq!(event_loop.report, expected);
}
