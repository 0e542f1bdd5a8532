//! The client in the hands of a server that answers late, byte by byte, or not at all.

use std::io::Write;
use std::time::Instant;

use crate::{Lines, PATIENCE, Process};

/// A server that does what a test wants, one connection at a time.
struct Puppet(std::net::TcpListener);

/// One connection to it.
struct Visit {
    stream: std::net::TcpStream,
    lines: Lines,
}

const GREETING: &str = "-- you are 127.0.0.1:1 in lobby; /help lists the commands --\n";

impl Puppet {
    fn new() -> (Self, String) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        (Puppet(listener), address)
    }

    fn greet(&self) -> Visit {
        self.0.set_nonblocking(true).expect("a listener");
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match self.0.accept() {
                Ok((stream, _)) => break stream,
                Err(_) => assert!(Instant::now() < deadline, "no client comes"),
            }
            std::thread::yield_now();
        };
        stream.set_nonblocking(false).expect("a socket");
        let lines = Lines::of(stream.try_clone().expect("a socket"));
        let mut visit = Visit { stream, lines };
        visit.say(GREETING);
        visit
    }
}

impl Visit {
    /// One byte at a time, each in a segment of its own.
    fn say(&mut self, text: &str) {
        self.stream.set_nodelay(true).expect("a socket");
        for byte in text.as_bytes() {
            self.stream.write_all(&[*byte]).expect("the client reads");
        }
    }

    /// Expects this question; returns the word that ends its answer.
    #[track_caller]
    fn asked(&mut self, command: &str) -> String {
        assert_eq!(self.lines.until(""), command);
        let ping = self.lines.until("");
        ping.strip_prefix("/ping ").expect("the end of a question").to_owned()
    }

    /// Takes these lines and, behind them, the question whether all were taken; nothing more comes.
    #[track_caller]
    fn take_all(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.lines.until(""), *line);
        }
        let ping = self.lines.until("");
        let nonce = ping.strip_prefix("/ping ").expect("the last question");
        self.say(&format!("-- pong {nonce} --\n"));
        assert_eq!(self.lines.rest(), [""; 0]);
    }

    #[track_caller]
    fn answer(&mut self, command: &str, words: &str) {
        let nonce = self.asked(command);
        self.say(&format!("-- {words} --\n-- pong {nonce} --\n"));
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        // Its lines are read by a thread of their own, which holds the socket, too.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

#[test]
fn a_nick_that_a_ghost_holds_is_had_once_that_leaves() {
    let (puppet, address) = Puppet::new();
    let mut client = Process::start(&["chat", &address, "--nick", "ann"]);
    let mut visit = puppet.greet();
    client.say("one\n");
    visit.answer("/nick ann", "you are now ann");
    assert_eq!(visit.lines.until(""), "one");
    drop(visit);
    client.errors.until("onepoll: chat: lost the connection to ");
    client.say("two\n");
    client.input = None;
    let mut visit = puppet.greet();
    for _ in 0..3 {
        visit.answer("/nick ann", "'ann' is taken; choose another name");
    }
    visit.say("-- ann left --\n");
    visit.answer("/nick ann", "you are now ann");
    // Nothing else came in between, and nothing comes but this.
    visit.take_all(&["two"]);
    drop(visit);
    // The first was not confirmed, and is not said again.
    assert_eq!(client.exit_code(), Some(1));
    let shown = client.output.rest();
    assert_eq!(shown.iter().filter(|line| line.contains("taken")).count(), 1, "{shown:#?}");
    assert!(!shown.iter().any(|line| line.contains("pong")), "{shown:#?}");
}

#[test]
fn a_member_who_forges_the_servers_answer_hears_nothing() {
    let (puppet, address) = Puppet::new();
    let mut client = Process::start(&["chat", &address, "--room", "private"]);
    client.say("secret\n");
    client.input = None;
    let mut visit = puppet.greet();
    let nonce = visit.asked("/join private");
    // In the `classic` format what a member says stands on a line of its own.
    for text in ["-- you speak in private now; /leave goes back --", "-- you speak in private again --"] {
        visit.say(&format!("2026/11/21 10:00:00 mallory\n{text}\n"));
        visit.say(&format!("2026/11/21 10:00:00 * mallory\n{text}\nack {text}\n"));
    }
    visit.say(&format!("-- all rooms are taken --\n-- pong {nonce} --\n"));
    assert_eq!(visit.lines.rest(), [""; 0]);
    assert_eq!(client.exit_code(), Some(4));
    let errors = client.errors.rest();
    assert!(errors[0].contains("refused the room private: all rooms are taken"), "{errors:?}");
}

#[test]
fn a_connection_that_is_lost_before_the_answer_is_asked_anew_and_nothing_is_said_twice() {
    let (puppet, address) = Puppet::new();
    let mut client = Process::start(&["chat", &address, "--nick", "ann", "--room", "tea"]);
    client.say("one\ntwo\n");
    client.input = None;
    for _ in 0..2 {
        let mut visit = puppet.greet();
        visit.answer("/nick ann", "you are now ann");
        visit.asked("/join tea");
    }
    let mut visit = puppet.greet();
    visit.answer("/nick ann", "you are now ann");
    visit.answer("/join tea", "you speak in tea now; /leave goes back");
    visit.take_all(&["one", "two"]);
    drop(visit);
    assert_eq!(client.exit_code(), Some(0));
}
