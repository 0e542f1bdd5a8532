//! Programs that acknowledge each other.

use crate::answers::{Calling, peer};
use crate::harness::{Server, onepoll};

#[test]
fn every_message_is_acknowledged_once() {
    let (address, peer) = peer(|mut peer| {
        assert_eq!(peer.line(), "I'm ready");
        for text in ["hello\n", "你好\n", "no line end"] {
            peer.send(text);
            assert_eq!(peer.line(), "got it");
        }
        // Neither its own words nor their echo.
        peer.send("got it\nack. got it\nlast\n");
        assert_eq!(peer.line(), "got it");
        peer.half_close();
        assert_eq!(peer.rest(), b"");
    });
    let mut calling = Calling::start(&[&address, "--ready", "I'm ready", "--ack", "got it"]);
    assert_eq!(calling.output.line(), "hello");
    assert_eq!(calling.exit_code(), Some(0));
    peer.join().expect("the peer was content");
}

/// How many lines an onlooker hears when two that acknowledge meet in a room, after one says hello.
fn heard_when_they_meet(one: &str, other: &str) -> usize {
    // A bare relay: each line goes to everyone else.
    let serve =
        ["serve", "--listen", "127.0.0.1:0", "--format", "raw", "--no-echo", "--quiet", "--history", "0"];
    let server = Server::spawn(onepoll(&serve));
    let address = &server.addresses[0];
    let mut onlooker = server.connect();
    let first = Calling::start(&[address, "--timeout", "0.5", "--ready", "first", "--ack", one]);
    onlooker.until("first");
    let second = Calling::start(&[address, "--timeout", "0.5", "--ready", "second", "--ack", other]);
    onlooker.until("second");
    let mut calls = [first, second];
    // What they make of each other is over when they have nothing more to say, and end.
    for calling in &mut calls {
        drop(calling.child.stdin.take());
    }
    for calling in &mut calls {
        assert_eq!(calling.exit_code(), Some(0));
    }
    onlooker.half_close();
    onlooker.rest_lines().len()
}

#[test]
fn two_that_acknowledge_alike_do_so_once() {
    assert_eq!(heard_when_they_meet("ok", "ok"), 1, "the answer to the second's first words");
}

#[test]
fn two_that_acknowledge_differently_come_to_an_end() {
    let heard = heard_when_they_meet("ok", "got it");
    assert!((2..=64).contains(&heard), "{heard} lines");
}
