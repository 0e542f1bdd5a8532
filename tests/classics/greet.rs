//! The greeting server: one greeting each, in turn, and nobody waits for anybody.

use crate::harness::{Server, onepoll};

fn greet(arguments: &[&str]) -> Server {
    Server::spawn(onepoll(&[&["greet", "--listen", "127.0.0.1:0"], arguments].concat()))
}

#[test]
fn clients_are_greeted_in_turn_and_the_server_ends_after_the_count() {
    let mut server = greet(&["--count", "3"]);
    for greeting in ["welcome to network! ", "hello python", "welcome to network! "] {
        let mut client = server.connect();
        client.send("你好\n");
        assert_eq!(String::from_utf8_lossy(&client.rest()), greeting);
    }
    assert_eq!(server.exit_code(), 0);
    let log = String::from_utf8(server.log().rest()).expect("text");
    assert_eq!(log.matches(" connected\n").count(), 3, "{log}");
    assert_eq!(log.matches(" says: 你好\n").count(), 3, "{log}");
}

#[test]
fn one_who_says_nothing_holds_up_nobody() {
    let server = greet(&["one", "two"]);
    let mut silent = server.connect();
    let mut client = server.connect();
    client.send("x");
    assert_eq!(client.rest(), b"one");
    // It has its own greeting whenever it speaks, and if all that it says is that it will say nothing.
    silent.half_close();
    assert_eq!(silent.rest(), b"two");
}

#[test]
fn one_who_says_nothing_for_too_long_is_closed() {
    let mut server = greet(&["--idle", "0.05"]);
    assert_eq!(server.connect().rest(), b"");
    server.log().until("closed: idle for too long");
}

#[test]
fn what_clients_say_cannot_command_the_operators_terminal() {
    let mut server = greet(&[]);
    server.connect().send(b"\x1b[2J\x07evil\xff\x00\n");
    let line = server.log().until("says").pop().expect("a line");
    assert!(line.ends_with("says: [2Jevil\u{fffd}"), "{line:?}");
}

#[test]
fn the_words_that_came_late_do_not_cut_the_greeting() {
    let server = greet(&[]);
    let mut client = server.connect();
    // The rest of these is unread when the connection is closed: a reset would overtake the greeting.
    client.send(vec![b'x'; 100_000]);
    assert_eq!(client.rest(), b"welcome to network! ");
}

#[test]
fn a_count_of_none_and_an_address_of_datagrams_are_refused() {
    for (arguments, why) in [
        (&["greet", "--count", "0"][..], "--count"),
        (&["greet", "--listen", "udp:127.0.0.1:0"], "needs a stream"),
        (&["greet", "--idle=-1"], "--idle"),
    ] {
        let (exit, _, stderr) = crate::harness::run(onepoll(arguments));
        assert_eq!(exit, 2, "{arguments:?}: {stderr}");
        assert!(stderr.contains(why), "{arguments:?}: {stderr}");
    }
}
