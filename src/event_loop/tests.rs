//! The production loop over a virtual operating system.
//!
//! Each test is named after what goes wrong without the line it guards: the numbers are those of the promises
//! that people are given (README.md, "What it promises").

mod connecting;
mod datagrams;
mod echo;
mod ends;
mod kept;
mod promises;
mod slow_turns;
mod system;
mod visitors;

use std::io::ErrorKind;
use std::time::Duration;

use super::io::Source;
use super::{End, EventLoop, Linger, read};
use crate::chat::Chat;
use crate::chat::config::Config;
use crate::engine::{Action, Endpoint, Engine, Moment, Peer, Reason, TurnReport};
use crate::limits;
use echo::Echo;
use system::{ECONNABORTED, EINTR, EMFILE, ENOBUFS, Virtual};

const LINGER: Duration = Duration::from_secs(5);

fn world() -> (Virtual, EventLoop<Virtual, Echo>) {
    let net = Virtual::default();
    let mut event_loop = EventLoop::new(net.clone(), Echo::default(), Linger::InAll(LINGER));
    event_loop.listen(()).expect("the virtual system listens");
    (net, event_loop)
}

/// Turns until the loop would sleep.
fn settle<E: Engine>(event_loop: &mut EventLoop<Virtual, E>) {
    for _ in 0..10_000 {
        assert_eq!(event_loop.turn().expect("the virtual poll works"), None);
        if event_loop.timeout() != Some(Duration::ZERO) && event_loop.io.0.borrow().events.is_empty() {
            return;
        }
    }
    panic!("the loop does not come to rest");
}

#[test]
fn p04_newcomers_beyond_the_accept_budget_need_no_further_event() {
    let (net, mut event_loop) = world();
    let keys: Vec<usize> = (0..5 * limits::ACCEPTS_PER_TURN_MAX).map(|_| net.connect()).collect();
    assert_eq!(net.0.borrow().events.len(), 1);
    event_loop.turn().expect("a turn");
    assert_eq!(event_loop.connections.len(), limits::ACCEPTS_PER_TURN_MAX, "the budget holds");
    settle(&mut event_loop);
    for key in keys {
        assert_eq!(net.received(key), "hi ");
    }
}

#[test]
fn p11_input_beyond_the_read_budget_needs_no_further_event() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    net.received(key);
    let flood = vec![b'x'; 1 << 20];
    net.send(key, &flood);
    settle(&mut event_loop);
    assert_eq!(event_loop.engine.given_in_all, flood.len());
    let budget = limits::READ_BYTES_MAX * limits::CONNECTION_READS_PER_TURN_MAX;
    assert_eq!(event_loop.engine.given_most, budget, "and the budget holds");
}

#[test]
fn a_flood_keeps_nobody_else_waiting() {
    let (net, mut event_loop) = world();
    let flooders: Vec<usize> = (0..300).map(|_| net.connect()).collect();
    let quiet = net.connect();
    settle(&mut event_loop);
    net.received(quiet);
    for key in flooders {
        net.send(key, &vec![b'x'; 1 << 17]);
    }
    net.send(quiet, b"hello");
    let mut turns = 0;
    while net.received(quiet).is_empty() {
        event_loop.turn().expect("a turn");
        turns += 1;
    }
    assert!(turns <= 4, "{turns} turns");
    assert!(event_loop.engine.given_most <= limits::READS_PER_TURN_MAX * limits::READ_BYTES_MAX);
}

#[test]
fn p14_a_half_closed_peer_gets_what_is_due_to_it() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    net.send(key, b"hello");
    net.finish(key);
    settle(&mut event_loop);
    assert_eq!(net.received(key), "hi hello");
    assert!(net.with(key, |socket| socket.is_gone));
    assert_eq!(event_loop.engine.closed, [(1, Reason::EndOfInput)]);
}

#[test]
fn p15_a_reset_is_one_close_whatever_else_is_due() {
    let (net, mut event_loop) = world();
    let keys: Vec<usize> = (0..100).map(|_| net.connect()).collect();
    settle(&mut event_loop);
    for key in &keys {
        net.send(*key, b"hello");
        net.reset(*key);
    }
    settle(&mut event_loop);
    assert_eq!(event_loop.engine.closed.len(), 100);
    assert!(event_loop.engine.closed.iter().all(|(_, reason)| *reason == Reason::Reset));
    assert!(event_loop.connections.is_empty() && event_loop.inputs.is_empty());
}

#[test]
fn p12_an_event_of_a_closed_connection_does_not_reach_who_has_its_slot() {
    let (net, mut event_loop) = world();
    let killer = net.connect();
    let victim = net.connect();
    settle(&mut event_loop);
    // In one batch: the victim's reset, its kick, and a newcomer.
    net.send(killer, b"k");
    net.reset(victim);
    let newcomer = net.connect();
    settle(&mut event_loop);
    assert_eq!(net.received(newcomer), "hi ");
    assert!(!net.with(newcomer, |socket| socket.is_gone));
    assert_eq!(event_loop.engine.closed.len(), 1);
    assert_ne!(net.with(newcomer, |socket| socket.slot), None);
}

#[test]
fn p01_without_descriptors_a_deadline_accepts_again() {
    let (net, mut event_loop) = world();
    net.0.borrow_mut().accept_errors.extend([EMFILE]);
    let key = net.connect();
    event_loop.turn().expect("a turn");
    assert_eq!(event_loop.timeout(), Some(limits::ACCEPT_RETRY), "it neither spins nor sleeps for ever");
    settle(&mut event_loop);
    settle(&mut event_loop);
    assert_eq!(net.received(key), "hi ", "descriptors are free again: no newcomer was needed");
}

#[test]
fn p01_when_no_descriptor_comes_free_the_newcomers_are_told() {
    let (net, mut event_loop) = world();
    net.0.borrow_mut().accept_errors.extend([EMFILE; 2]);
    for _ in 0..3 {
        net.connect();
    }
    for _ in 0..4 {
        event_loop.turn().expect("a turn");
    }
    assert_eq!(net.0.borrow().refused.len(), 3);
    assert!(net.0.borrow().refused[0].contains("full"));
    let key = net.connect();
    settle(&mut event_loop);
    settle(&mut event_loop);
    assert_eq!(net.received(key), "hi ");
}

#[test]
fn p03_an_aborted_newcomer_costs_the_next_one_nothing() {
    let (net, mut event_loop) = world();
    net.0.borrow_mut().accept_errors.extend([ECONNABORTED, EINTR]);
    net.connect();
    let key = net.connect();
    settle(&mut event_loop);
    assert_eq!(net.received(key), "hi ");
}

#[test]
fn p09_an_interrupted_poll_is_a_retry() {
    let (net, mut event_loop) = world();
    net.0.borrow_mut().poll_errors.extend([EINTR; 3]);
    let key = net.connect();
    for _ in 0..5 {
        event_loop.turn().expect("EINTR is no error");
    }
    assert_eq!(net.received(key), "hi ");
}

#[test]
fn writable_is_of_interest_only_for_what_a_full_socket_left_over() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    assert!(!net.with(key, |socket| socket.wants_write));
    net.received(key);
    net.give_room(key, 4);
    net.send(key, b"0123456789");
    settle(&mut event_loop);
    assert!(net.with(key, |socket| socket.wants_write));
    net.give_room(key, 100);
    settle(&mut event_loop);
    assert!(!net.with(key, |socket| socket.wants_write), "a drained socket would be told of for ever");
    assert_eq!(net.received(key), "0123456789");
}

#[test]
fn p08_a_write_without_kernel_buffers_is_tried_again_by_a_deadline() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    net.received(key);
    net.with(key, |socket| socket.write_errors.extend([ENOBUFS; 2]));
    net.send(key, b"hello");
    settle(&mut event_loop);
    assert_eq!(net.received(key), "");
    net.advance(limits::WRITE_RETRY);
    settle(&mut event_loop);
    assert_eq!(net.received(key), "hello");
}

#[test]
fn what_back_pressure_holds_is_offered_again_and_the_end_after_it() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    net.received(key);
    net.send(key, b"abpcd");
    net.finish(key);
    settle(&mut event_loop);
    assert_eq!(net.received(key), "", "a paused echo has not spoken");
    let reads = net.with(key, |socket| socket.reads);
    settle(&mut event_loop);
    assert_eq!(net.with(key, |socket| socket.reads), reads, "nothing is read for one who is paused");
    let given = event_loop.engine.given_in_all;
    net.0.borrow_mut().tell_socket(key, |event| event.is_readable = true);
    settle(&mut event_loop);
    assert_eq!(event_loop.engine.given_in_all, given, "nor is it shown again what it did not take");
    let id = event_loop.engine.paused.pop().expect("it paused");
    event_loop.engine.actions.push_back(Action::Resume(id));
    settle(&mut event_loop);
    assert_eq!(net.received(key), "abcd");
    assert_eq!(event_loop.engine.closed, [(1, Reason::EndOfInput)]);
}

#[test]
fn one_who_leaves_is_awaited_for_no_longer_than_the_linger() {
    let (net, mut event_loop) = world();
    let polite = net.connect();
    let rude = net.connect();
    let stalled = net.connect();
    settle(&mut event_loop);
    net.give_room(stalled, 0);
    for key in [polite, rude, stalled] {
        net.send(key, b"byeq");
    }
    settle(&mut event_loop);
    assert!(net.with(polite, |socket| socket.fin_sent && !socket.is_gone), "the peer's own end is awaited");
    net.finish(polite);
    settle(&mut event_loop);
    assert!(net.with(polite, |socket| socket.is_gone));
    assert!(!net.with(rude, |socket| socket.is_gone));
    net.advance(LINGER);
    settle(&mut event_loop);
    event_loop.engine.closed.sort_unstable();
    let reasons = [(1, Reason::Quit), (2, Reason::Quit), (3, Reason::LingerExpired)];
    assert_eq!(event_loop.engine.closed, reasons);
    // An end of the stream would say that it has all.
    assert!(net.with(stalled, |socket| socket.is_aborted));
    assert!(!net.with(rude, |socket| socket.is_aborted), "that one has all");
}

#[test]
fn who_cannot_be_watched_any_more_sees_that_something_is_missing() {
    let (net, mut event_loop) = world();
    let ann = net.connect();
    settle(&mut event_loop);
    net.give_room(ann, 1);
    net.with(ann, |socket| socket.interest_error = Some(ENOBUFS));
    net.send(ann, b"byeq");
    settle(&mut event_loop);
    assert!(net.with(ann, |socket| socket.is_gone && socket.is_aborted && !socket.fin_sent));
}

#[test]
fn one_who_leaves_and_reads_slowly_gets_all_where_only_a_stall_counts() {
    for (linger, is_patient) in [(Linger::InAll(LINGER), false), (Linger::Stalled(LINGER), true)] {
        let net = Virtual::default();
        let mut event_loop = EventLoop::new(net.clone(), Echo::default(), linger);
        event_loop.listen(()).expect("the virtual system listens");
        let slow = net.connect();
        settle(&mut event_loop);
        net.received(slow);
        net.give_room(slow, 0);
        net.send(slow, b"0123456789q");
        settle(&mut event_loop);
        for _ in 0..3 {
            net.advance(LINGER - Duration::from_millis(1));
            net.give_room(slow, 2);
            settle(&mut event_loop);
        }
        assert_eq!(net.with(slow, |socket| socket.is_aborted), !is_patient);
        // What it sends itself is no sign that it reads.
        for _ in 0..2 {
            net.send(slow, b"x");
            settle(&mut event_loop);
            net.advance(LINGER);
            settle(&mut event_loop);
        }
        assert!(net.with(slow, |socket| socket.is_aborted), "it has stopped reading");
    }
}

#[test]
fn a_peer_that_neither_sends_nor_reads_any_more_is_closed() {
    let (net, mut event_loop) = world();
    let keys: Vec<usize> = (0..2).map(|_| net.connect()).collect();
    settle(&mut event_loop);
    let (stalled, slow) = (keys[0], keys[1]);
    for key in keys {
        net.give_room(key, 0);
        net.send(key, b"hellop");
        net.finish(key);
    }
    settle(&mut event_loop);
    event_loop.engine.paused.iter().for_each(|id| event_loop.engine.ready.push_back(*id));
    settle(&mut event_loop);
    for _ in 0..5 {
        net.give_room(slow, 1);
        settle(&mut event_loop);
        net.advance(LINGER);
        settle(&mut event_loop);
    }
    assert!(net.with(stalled, |socket| socket.is_gone));
    assert!(!net.with(slow, |socket| socket.is_gone), "who reads, however slowly, is waited for");
    assert_eq!(event_loop.engine.closed, [(1, Reason::LingerExpired)]);
}

#[test]
fn a_half_closed_peer_whose_socket_fills_again_and_again_costs_one_deadline() {
    let (net, mut event_loop) = world();
    event_loop.engine.outlives_eof = true;
    let key = net.connect();
    settle(&mut event_loop);
    net.finish(key);
    settle(&mut event_loop);
    let id = *event_loop.engine.waiting.keys().next().expect("it is there");
    for _ in 0..100 {
        net.give_room(key, 0);
        event_loop.engine.waiting.insert(id, b"more".to_vec());
        event_loop.engine.ready.push_back(id);
        settle(&mut event_loop);
        net.give_room(key, 100);
        settle(&mut event_loop);
    }
    assert!(net.received(key).ends_with("moremore"));
    assert_eq!(event_loop.deadlines.count(), 1);
}

#[test]
fn the_beginning_of_a_long_line_takes_little_more_memory_than_its_own() {
    let net = Virtual::default();
    let config = Config { line_bytes_max: 65_536, ..Config::default() };
    let mut event_loop = EventLoop::new(net.clone(), Chat::new(config), Linger::InAll(LINGER));
    event_loop.listen(()).expect("the virtual system listens");
    let key = net.connect();
    settle(&mut event_loop);
    for chunk in 1..=65 {
        net.send(key, &[b'x'; 1000]);
        settle(&mut event_loop);
        let kept: Vec<usize> = event_loop.inputs.values().map(Vec::capacity).collect();
        assert!(kept.len() == 1 && kept[0] <= chunk * 1000 + read::KEPT_BYTES_MIN, "{kept:?}");
    }
}

#[test]
fn a_stop_waits_for_a_peer_that_is_still_sending_and_for_no_other() {
    let (net, mut event_loop) = world();
    let (loud, silent) = (net.connect(), net.connect());
    settle(&mut event_loop);
    net.0.borrow_mut().tell(Source::Waker, |_| {});
    assert_eq!(event_loop.turn().expect("a turn"), None);
    for _ in 0..3 {
        net.send(loud, b"x");
        event_loop.turn().expect("a turn");
        net.advance(limits::STOP_LINGER);
        assert_eq!(event_loop.turn().expect("a turn"), None);
    }
    assert!(net.with(silent, |socket| socket.is_gone));
    assert!(!net.with(loud, |socket| socket.is_gone));
    net.advance(limits::STOP_LINGER);
    assert_eq!(event_loop.turn().expect("a turn"), Some(End::Done));
}

#[test]
fn an_idle_loop_sleeps_without_a_timeout() {
    let (net, mut event_loop) = world();
    for _ in 0..10 {
        net.connect();
    }
    settle(&mut event_loop);
    event_loop.turn().expect("a turn");
    assert_eq!(net.0.borrow().last_timeout, Some(None));
}

#[test]
fn a_stop_ends_when_all_is_written_and_not_later_than_its_deadline() {
    for (is_stalled, end) in [(false, End::Done), (true, End::Overdue(1))] {
        let (net, mut event_loop) = world();
        let key = net.connect();
        settle(&mut event_loop);
        net.received(key);
        net.give_room(key, if is_stalled { 4 } else { 100 });
        net.send(key, b"last words.");
        event_loop.turn().expect("a turn");
        net.0.borrow_mut().tell(Source::Waker, |_| {});
        assert_eq!(event_loop.run().expect("it runs"), end);
        let reason = if is_stalled { Reason::LingerExpired } else { Reason::ServerClosing };
        assert_eq!(event_loop.engine.closed, [(1, reason)], "who is cut off is closed, too");
        if !is_stalled {
            assert_eq!(net.received(key), "last words.");
            assert!(net.with(key, |socket| socket.fin_sent));
        }
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    net.give_room(key, 0);
    net.send(key, b"hello");
    settle(&mut event_loop);
    net.0.borrow_mut().tell(Source::Waker, |_| {});
    assert_eq!(event_loop.turn().expect("a turn"), None);
    net.0.borrow_mut().tell(Source::Waker, |_| {});
    assert_eq!(event_loop.turn().expect("a turn"), Some(End::CutShort(1)));
    assert_eq!(event_loop.engine.closed, [(1, Reason::ServerClosing)]);
}

#[test]
fn a_peer_that_breaks_off_behind_its_own_end_is_not_kept() {
    let (net, mut event_loop) = world();
    event_loop.engine.outlives_eof = true;
    let (key, other) = (net.connect(), net.connect());
    settle(&mut event_loop);
    net.finish(key);
    net.finish(other);
    settle(&mut event_loop);
    assert!(event_loop.connections.iter().all(|(_, connection)| connection.knows_eof));
    net.reset(key);
    settle(&mut event_loop);
    assert_eq!(event_loop.engine.closed, [(1, Reason::Reset)]);
}

#[test]
fn what_an_engine_wants_done_for_its_console_does_not_wait_for_an_event() {
    let (net, mut event_loop) = world();
    let console = net.connect();
    event_loop.engine.actions.push_back(Action::Connect(Endpoint::Unix("/anywhere".into())));
    event_loop.adopt(console, Peer::Console).expect("the virtual system watches it");
    assert_eq!(net.0.borrow().sockets.len(), 2, "nothing would end the sleep before the connection is begun");
}

#[test]
fn connecting_ends_well_badly_or_by_its_deadline() {
    let (net, mut event_loop) = world();
    let endpoint = Endpoint::Unix("/anywhere".into());
    for _ in 0..3 {
        event_loop.engine.actions.push_back(Action::Connect(endpoint.clone()));
    }
    settle(&mut event_loop);
    net.0.borrow_mut().tell_socket(0, |event| event.is_writable = true);
    net.reset(1);
    settle(&mut event_loop);
    net.advance(limits::CONNECT_TIMEOUT);
    settle(&mut event_loop);
    let kinds = [Ok(Peer::Unix), Err(ErrorKind::ConnectionReset), Err(ErrorKind::TimedOut)];
    assert_eq!(event_loop.engine.connected, kinds);
    assert_eq!(event_loop.connections.len(), 1);
    assert!(!net.with(0, |socket| socket.wants_write));
}

#[test]
fn p03_an_unknown_error_of_accept_does_not_spin() {
    const EPERM: i32 = 1;
    let (net, mut event_loop) = world();
    net.connect();
    net.0.borrow_mut().accept_errors.extend([EPERM; 1000]);
    for _ in 0..100 {
        event_loop.turn().expect("a turn");
    }
    let accepts = 1000 - net.0.borrow().accept_errors.len();
    assert!(accepts <= 50, "{accepts} in 100 turns");
    assert!(net.0.borrow().moment.since(Moment::START) >= 49 * limits::ACCEPT_RETRY);
}

#[test]
fn the_write_budget_holds_for_a_turn() {
    let net = Virtual::default();
    let config =
        Config { rate: None, history_messages: 100_000, notice_members_max: 50, ..Config::default() };
    let mut event_loop = EventLoop::new(net.clone(), Chat::new(config), Linger::InAll(LINGER));
    event_loop.listen(()).expect("listens");
    let settle = |event_loop: &mut EventLoop<Virtual, Chat>| {
        for _ in 0..100_000 {
            event_loop.turn().expect("turn");
            if event_loop.timeout() != Some(Duration::ZERO) && event_loop.io.0.borrow().events.is_empty() {
                return;
            }
        }
    };
    let (a, b) = (net.connect(), net.connect());
    settle(&mut event_loop);
    for n in 0..2000 {
        net.send(a, format!("m\n/nick ann{}\n", n % 7).as_bytes());
        settle(&mut event_loop);
    }
    net.with(b, |s| {
        s.room = usize::MAX;
    });
    settle(&mut event_loop);
    net.received(b);
    let writes_before = net.with(b, |s| s.writes);
    net.send(b, b"/last 100000\n");
    event_loop.turn().expect("turn");
    let writes = net.with(b, |s| s.writes) - writes_before;
    assert!(writes <= limits::CONNECTION_WRITES_PER_TURN_MAX + 1, "{writes} writes in a turn");
}

#[test]
fn the_engine_is_told_what_each_turn_did_and_how_long_it_took() {
    let (net, mut event_loop) = world();
    net.0.borrow_mut().write_takes = Duration::from_millis(3);
    let (writer, leaver, full) = (net.connect(), net.connect(), net.connect());
    event_loop.turn().expect("a turn");
    let report = event_loop.engine.last_turn;
    let expected = TurnReport {
        took_ns: 9_000_000,
        events: 1,
        accepts: 3,
        writes: 3,
        written_bytes: 9,
        ..TurnReport::default()
    };
    assert_eq!(report, expected);
    net.give_room(full, 2);
    net.send(writer, b"hello");
    net.send(full, b"hello");
    net.finish(leaver);
    net.reset(leaver);
    event_loop.turn().expect("a turn");
    let expected = TurnReport {
        took_ns: 6_000_000,
        events: 4,
        reads: 3,
        read_bytes: 10,
        writes: 2,
        written_bytes: 7,
        blocked_writes: 1,
        closes: 1,
        ..TurnReport::default()
    };
    assert_eq!(event_loop.engine.last_turn, expected);
    event_loop.turn().expect("a turn");
    assert_eq!(event_loop.engine.last_turn, TurnReport::default());
    // Of what comes at once, a part is left over for the next turn.
    net.send(writer, &vec![b'x'; 1 << 20]);
    event_loop.turn().expect("a turn");
    let report = event_loop.engine.last_turn;
    assert_eq!((report.reads, report.left_over), (limits::CONNECTION_READS_PER_TURN_MAX, 1));
}
