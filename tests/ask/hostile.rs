//! Clients that mean harm, or are many: nobody else notices.

use crate::harness::{Client, Server, raise_descriptor_limit};
use crate::questions::{ask, question};

/// Somebody who is served as if nobody else were there.
fn is_served(server: &mut Server) {
    let mut client = server.connect();
    client.say("a fence");
    let shown = server.console().until(": a fence").pop().expect("a line");
    let number = &shown[1..shown.find(']').expect("a number")];
    server.operate(&format!("{number} still here"));
    assert_eq!(client.line(), "still here");
}

#[test]
fn a_thousand_at_once_are_all_answered() {
    let count = usize::try_from(raise_descriptor_limit() / 2).unwrap_or(usize::MAX).min(1000);
    let mut server = ask(&[]);
    let mut clients: Vec<Client> = (0..count).map(|_| server.connect()).collect();
    for client in &mut clients {
        // Every other one sends no line end.
        let name = client.tcp().local_addr().expect("connected");
        client.send(if name.port() % 2 == 0 { "hello" } else { "hello\n" });
    }
    let questions: Vec<String> = (0..count).map(|_| question(&mut server)).collect();
    for shown in questions {
        let (number, name) = shown.split_once("] ").expect("a number");
        let name = name.strip_suffix(": hello").expect("the question");
        server.operate(&format!("{} hello {name}", &number[1..]));
    }
    for client in &mut clients {
        let name = client.tcp().local_addr().expect("connected");
        assert_eq!(client.line(), format!("hello {name}"));
    }
}

#[test]
fn what_clients_send_cannot_command_the_operators_terminal() {
    let mut server = ask(&[]);
    let mut client = server.connect();
    client.send(b"\x1b[2J\x1b]0;owned\x07\xe2\x80\xae\xff\xfb\x01gnp.exe\x00\x9b31m\r\n");
    let shown = question(&mut server);
    assert!(shown.ends_with(": [2J]0;ownedgnp.exe\u{fffd}31m"), "{shown:?}");
    // Telnet's option is refused, and the answer follows.
    server.operate("no");
    assert_eq!(client.bytes(6), b"\xff\xfe\x01no\n");
}

#[test]
fn nobody_can_write_a_line_that_looks_like_anothers() {
    let mut server = ask(&[]);
    let mut client = server.connect();
    client.send("x\r[9] 1.2.3.4:5: y\u{2028}z\u{85}\n");
    let shown = question(&mut server);
    assert!(shown.ends_with(": x[9] 1.2.3.4:5: yz"), "{shown:?}");
}

#[test]
fn a_flood_waits_for_its_answers_and_holds_up_nobody() {
    let mut server = ask(&[]);
    let mut flood = server.connect();
    flood.tcp().set_nonblocking(true).expect("a socket");
    let mut sent = 0;
    use std::io::Write;
    while sent < 64 << 20 {
        match flood.source.write(&b"?\n".repeat(32 * 1024)) {
            Ok(bytes) => sent += bytes,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                break;
            }
        }
    }
    assert!(sent < 64 << 20, "the server reads without end");
    is_served(&mut server);
    server.operate("list");
    let open = server.console().until("[8]");
    assert_eq!(open.iter().filter(|line| line.ends_with(": ?")).count(), 8, "{open:?}");
}

#[test]
fn one_that_never_reads_is_not_read_either() {
    let mut server = ask(&[]);
    let mut deaf = server.connect();
    deaf.send("?\n".repeat(2000));
    question(&mut server);
    let answer = "x".repeat(4000);
    for _ in 0..2000 {
        server.operate(&answer);
    }
    is_served(&mut server);
    let mut stay_open = server.connect();
    stay_open.say("open");
    let shown = server.console().until(": open").pop().expect("a line");
    let asked: u32 = shown[1..shown.find(']').expect("a number")].parse().expect("a number");
    assert!(asked < 1000, "{asked} questions were read from one that reads no answers");
}

#[test]
fn resets_are_their_own_affair() {
    let mut server = ask(&[]);
    for _ in 0..200 {
        let mut client = server.connect();
        client.send("half a question");
        client.reset();
    }
    is_served(&mut server);
}

#[test]
fn a_full_server_says_so() {
    let mut server = ask(&["--max-clients", "2"]);
    let (_ann, bob) = (server.connect(), server.connect());
    for _ in 0..2 {
        server.console().until("is here");
    }
    assert_eq!(server.connect().rest(), b"-- the server is full: 2 clients at most --\n");
    bob.reset();
    server.console().until("left");
    is_served(&mut server);
}

#[test]
fn a_question_too_long_is_told_and_the_next_one_heard() {
    let mut server = ask(&[]);
    let mut client = server.connect();
    client.send("x".repeat(100_000));
    assert_eq!(client.line(), "-- too long: 4096 bytes at most --");
    client.say("\nshort");
    assert!(question(&mut server).ends_with(": short"));
}
