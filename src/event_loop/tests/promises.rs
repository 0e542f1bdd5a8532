//! Promises for which a real kernel cannot be made to misbehave, or keeps no exact time.

use std::time::Duration;

use super::system::{EINTR, EMFILE, ENOBUFS};
use super::{LINGER, settle, world};
use crate::engine::Reason;
use crate::event_loop::io::Source;
use crate::limits;

#[test]
fn p01_accepting_goes_on_within_a_second_of_a_descriptor_coming_free() {
    for attempts in 1..5 {
        let (net, mut event_loop) = world();
        net.0.borrow_mut().accept_errors.extend(vec![EMFILE; 100]);
        for _ in 0..attempts {
            // Who came before is told that the server is full by the second attempt.
            net.connect();
            event_loop.turn().expect("a turn");
        }
        let waiting = net.connect();
        net.0.borrow_mut().accept_errors.clear();
        let free = net.0.borrow().moment;
        for _ in 0..10 {
            event_loop.turn().expect("a turn");
            if net.received(waiting) == "hi " {
                break;
            }
        }
        let waited = net.0.borrow().moment.since(free);
        assert!(waited <= Duration::from_secs(1), "{waited:?} behind {attempts} attempts");
        assert!(net.with(waiting, |socket| socket.slot.is_some()), "and no newcomer was needed");
    }
}

#[test]
fn p01_no_more_newcomers_are_turned_away_in_a_turn_than_are_let_in_and_each_is_counted() {
    let (net, mut event_loop) = world();
    net.0.borrow_mut().accept_errors.extend([EMFILE; 100]);
    for _ in 0..limits::ACCEPTS_PER_TURN_MAX + 1 {
        net.connect();
    }
    while net.0.borrow().refused.is_empty() {
        event_loop.turn().expect("a turn");
    }
    assert_eq!(net.0.borrow().refused.len(), limits::ACCEPTS_PER_TURN_MAX);
    assert_eq!(event_loop.engine.last_turn.accepts, limits::ACCEPTS_PER_TURN_MAX);
}

#[test]
fn p01_a_shortage_that_is_over_is_not_held_against_the_next_newcomer() {
    let (net, mut event_loop) = world();
    net.0.borrow_mut().accept_errors.extend([EMFILE]);
    net.connect();
    event_loop.turn().expect("a turn");
    // The newcomer gives up; there is a descriptor, and nobody for it.
    net.0.borrow_mut().backlog.clear();
    settle(&mut event_loop);
    settle(&mut event_loop);
    net.0.borrow_mut().accept_errors.extend([EMFILE]);
    let key = net.connect();
    settle(&mut event_loop);
    settle(&mut event_loop);
    assert_eq!(net.0.borrow().refused, [""; 0]);
    assert_eq!(net.received(key), "hi ");
}

#[test]
fn p02_of_each_shortage_it_is_counted_what_was_short() {
    const ENFILE: i32 = 23;
    const ENOMEM: i32 = 12;
    for (of, code) in [EMFILE, ENFILE, ENOBUFS, ENOMEM].into_iter().enumerate() {
        let (net, mut event_loop) = world();
        net.0.borrow_mut().accept_errors.push_back(code);
        net.connect();
        event_loop.turn().expect("a turn");
        let mut expected = [0; 4];
        expected[of] = 1;
        assert_eq!(event_loop.engine.last_turn.shortages, expected);
    }
}

#[test]
fn p07_a_write_goes_on_where_the_last_one_ended_however_little_that_took() {
    const TEXT: &str = "0123456789ABCDEFGHIJ";
    for room in 1..=TEXT.len() {
        let (net, mut event_loop) = world();
        let key = net.connect();
        settle(&mut event_loop);
        net.received(key);
        net.give_room(key, 0);
        net.send(key, TEXT.as_bytes());
        settle(&mut event_loop);
        let mut received = String::new();
        for _ in 0..TEXT.len().div_ceil(room) {
            net.give_room(key, room);
            settle(&mut event_loop);
            received += &net.received(key);
        }
        assert_eq!(received, TEXT, "{room} bytes at a time");
    }
}

#[test]
fn p08_a_write_is_tried_again_within_a_tenth_of_a_second() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    net.received(key);
    for failures in 1..5 {
        net.with(key, |socket| socket.write_errors.extend(vec![ENOBUFS; failures]));
        net.send(key, b"hello");
        settle(&mut event_loop);
        while !net.with(key, |socket| socket.write_errors.is_empty()) {
            event_loop.turn().expect("a turn");
        }
        let before = net.0.borrow().moment;
        while net.received(key).is_empty() {
            event_loop.turn().expect("a turn");
        }
        let waited = net.0.borrow().moment.since(before);
        assert!(waited <= Duration::from_millis(100), "{waited:?}");
    }
}

#[test]
fn p09_an_interrupted_read_or_write_is_made_again_in_the_same_turn() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    net.received(key);
    net.with(key, |socket| {
        socket.read_errors.push_back(EINTR);
        socket.write_errors.push_back(EINTR);
    });
    net.send(key, b"hello");
    event_loop.turn().expect("a turn");
    assert_eq!(net.received(key), "hello");
}

#[test]
fn p10_events_that_are_not_true_change_nothing() {
    let (net, mut event_loop) = world();
    let keys: Vec<usize> = (0..10).map(|_| net.connect()).collect();
    settle(&mut event_loop);
    for round in 0..1000 {
        let key = keys[round % keys.len()];
        assert_eq!(net.received(key), if round < keys.len() { "hi " } else { "hello" });
        net.send(key, b"hello");
        {
            let mut net = net.0.borrow_mut();
            net.tell(Source::Listener(round % 2), |event| event.is_readable = true);
            // Also of slots that nobody has.
            for slot in (round % 3..keys.len() + 5).step_by(3) {
                net.tell(Source::Connection(slot), |event| {
                    event.is_readable = true;
                    event.is_writable = true;
                });
            }
        }
        settle(&mut event_loop);
    }
    assert!(event_loop.engine.closed.is_empty());
    assert_eq!(event_loop.connections.len(), keys.len());
    assert_eq!(event_loop.timeout(), None, "and nothing is left to be done");
}

#[test]
fn p04_newcomers_keep_a_member_waiting_for_no_more_than_a_turn_each_way() {
    let (net, mut event_loop) = world();
    let member = net.connect();
    settle(&mut event_loop);
    net.received(member);
    for _ in 0..10_000 {
        net.connect();
    }
    event_loop.turn().expect("a turn");
    net.send(member, b"hello");
    for _ in 0..2 {
        event_loop.turn().expect("a turn");
    }
    assert_eq!(net.received(member), "hello");
    assert!(event_loop.connections.len() <= 1 + 3 * 64, "64 newcomers in a turn");
}

#[test]
fn p14_who_stops_reading_first_and_ends_then_is_closed_too() {
    let (net, mut event_loop) = world();
    event_loop.engine.outlives_eof = true;
    let key = net.connect();
    settle(&mut event_loop);
    net.give_room(key, 0);
    net.send(key, b"hello");
    settle(&mut event_loop);
    net.finish(key);
    settle(&mut event_loop);
    // Up to the first it has sent something.
    for _ in 0..2 {
        net.advance(LINGER);
        settle(&mut event_loop);
    }
    assert_eq!(event_loop.engine.closed, [(1, Reason::LingerExpired)]);
}

#[test]
fn p16_deadlines_of_those_who_are_still_there_are_kept_however_many_there_are() {
    let (net, mut event_loop) = world();
    for _ in 0..1000 {
        net.connect();
    }
    settle(&mut event_loop);
    net.0.borrow_mut().accept_errors.push_back(EMFILE);
    let newcomer = net.connect();
    for key in 0..1000 {
        net.give_room(key, 0);
        net.send(key, b"byeq");
    }
    settle(&mut event_loop);
    assert_eq!(event_loop.connections.len(), 1000);
    net.advance(LINGER);
    settle(&mut event_loop);
    assert_eq!(event_loop.connections.len(), 1);
    assert_eq!(net.received(newcomer), "hi ", "the deadline of the listener was kept, too");
}
