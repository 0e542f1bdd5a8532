//! `onepoll lab turns`: a real chat that tells of its own loop, and is not changed by that.

use std::io::Write;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::harness::{self, Client, Server};

fn command(address: &str) -> Command {
    let mut command = harness::onepoll(&["lab", "turns", "--listen", address]);
    command.stdin(Stdio::null());
    command
}

fn start() -> Server {
    Server::spawn(command("127.0.0.1:0"))
}

/// The turn's number and what the line says of it.
fn parts(line: &str) -> (u64, Vec<&str>) {
    let (number, told) = line.strip_prefix("turn ").and_then(|line| line.split_once(": ")).expect("a turn");
    (number.parse().expect("a number"), told.split(" | ").collect())
}

#[test]
fn two_people_talk_and_each_turn_is_told() {
    let mut server = start();
    let mut ann = server.join();
    let mut lines = server.console().until("accepted #1 from 127.0.0.1:");
    let mut bob = server.join();
    lines.extend(server.console().until("accepted #2 from 127.0.0.1:"));
    ann.say("hello");
    bob.until("hello");
    lines.extend(server.console().until("took 1 line"));
    let (_, told) = parts(lines.last().expect("at least that one"));
    assert!(told[0].starts_with("woke after ") && told[0].ends_with(": 1 event"), "{told:?}");
    assert_eq!(told[1..3], ["read 6 B from #1", "took 1 line"]);
    assert!(told[3].starts_with("wrote ") && told[3].ends_with(" B to #1, #2"), "{told:?}");
    assert!(told[4].ends_with(" ms"), "{told:?}");
    drop(bob);
    lines.extend(server.console().until("closed #2: "));
    let numbers: Vec<u64> = lines.iter().map(|line| parts(line).0).collect();
    assert!(numbers.iter().copied().eq(1..=lines.len() as u64), "no turn is left out: {numbers:?}");
}

#[test]
fn a_client_that_never_reads_is_told_of_as_slow_until_it_reads() {
    let mut server = start();
    let mut ann = server.join();
    let mut stalled = server.join_with_little_room();
    server.console().until("accepted #2 ");
    // More than its socket's buffers hold, and less than the room's log.
    let text = "x".repeat(2000);
    for _ in 0..10 {
        ann.send(format!("{text}\n").repeat(20));
        for _ in 0..20 {
            ann.expect(&text);
        }
    }
    server.console().until("#2 is full, ");
    server.console().until("slow: #2 since turn ");
    for _ in 0..200 {
        stalled.until(&text);
    }
    server.console().until("has room again: #2");
    ann.say("news");
    stalled.until("news");
    let line = server.console().until(" | took 1 line | ").pop().expect("at least that one");
    assert!(!line.contains("slow"), "{line}");
}

#[test]
fn who_sends_too_fast_is_told_of_as_held_back() {
    let mut server = start();
    let mut ann = server.join();
    ann.send("x\n".repeat(1200));
    server.console().until("back-pressure on #1");
    // The lines that wait are taken when a deadline says so, without another read.
    server.console().until(": a deadline | a deadline of the chat's");
}

#[test]
fn a_signal_ends_it_after_everyone_was_told() {
    let mut server = start();
    let mut ann = server.join();
    server.signal(Signal::INT);
    ann.expect("the server is closing");
    assert!(ann.rest().is_empty());
    drop(ann);
    assert_eq!(server.exit_code(), 0);
    let lines = server.console().rest_lines();
    assert!(lines.iter().any(|line| line.contains(": a signal")), "{lines:?}");
    assert!(lines.last().is_some_and(|line| line.contains(" | closed #1: server closing | ")), "{lines:?}");
}

#[test]
fn a_narration_that_nobody_reads_is_dropped_and_does_not_stop_the_chat() {
    let mut server = start();
    // Two, for what one may say in so short a time is limited. Together, more lines than a pipe holds.
    for _ in 0..2 {
        let mut speaker = server.join();
        for _ in 0..800 {
            speaker.say("x");
            speaker.until(": x");
        }
    }
    for _ in 0..200 {
        server.console().line();
    }
    let mut late = server.join();
    late.say("now it is read again");
    late.until("now it is read again");
    let line = server.console().until("lines were dropped").pop().expect("at least that one");
    assert!(line.starts_with("onepoll: narration: "), "{line}");
    parts(&server.console().line());
}

#[test]
fn a_terminal_that_nobody_reads_any_more_does_not_stop_the_chat() {
    // `script`, which gives it a terminal, is stopped: as a connection to a far terminal that hangs.
    let inner = format!("exec {} lab turns --listen 127.0.0.1:0", env!("CARGO_BIN_EXE_onepoll"));
    let Some(command) = harness::on_a_terminal(&inner) else { return };
    let mut server = Server::spawn(command);
    let address = server.addresses[0].trim_end().to_string();
    server.in_one_turn(|| {
        let mut speaker = Client::connect(&address).greeted();
        for _ in 0..800 {
            speaker.say("x");
            speaker.until(": x");
        }
    });
    // It is read again: control-C at the terminal ends what runs there.
    server.stdin.as_mut().expect("it is piped").write_all(b"\x03").expect("script takes it");
    server.console().until(": a signal");
    server.console().rest();
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn an_address_that_is_taken_is_said() {
    let server = start();
    let (exit, stdout, stderr) = harness::run(command(&server.addresses[0]));
    assert_eq!((exit, stdout.as_str()), (3, ""));
    assert!(stderr.starts_with("onepoll: cannot listen on 127.0.0.1:"), "{stderr}");
}
