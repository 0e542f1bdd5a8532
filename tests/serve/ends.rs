//! Ends and new beginnings: half-close, drain, signals.

use std::io::{ErrorKind, Write};

use rustix::process::Signal;

use crate::harness::{Client, Directory, Server, need, script, shell, untimed};

const CLOSING: &str = "-- the server is closing --";

#[test]
fn the_last_line_counts_without_an_end() {
    let server = Server::bare(&[]);
    let mut bob = server.join();
    for last in ["no end", "cr only\r", "你好"] {
        let mut ann = server.join();
        ann.send(last);
        ann.half_close();
        ann.rest();
        assert_eq!(untimed(&bob.line()), format!("{}: {}", ann.name, last.trim_end()));
    }
}

#[test]
fn a_half_closed_client_that_sent_much_gets_all_of_it_back() {
    let server = Server::bare(&["--rate", "off"]);
    let mut ann = server.join_as("ann");
    let mut sender = ann.tcp().try_clone().expect("a second handle");
    let writer = std::thread::spawn(move || {
        for number in 0..20_000 {
            sender.write_all(format!("{number}\n").as_bytes()).expect("the server takes it");
        }
        sender.shutdown(std::net::Shutdown::Write).expect("half closed");
    });
    for number in 0..20_000 {
        assert_eq!(untimed(&ann.line()), format!("ann: {number}"));
    }
    assert!(ann.rest_lines().is_empty());
    writer.join().expect("all was sent");
}

#[test]
fn a_signal_tells_everyone_and_ends_well() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut server = Server::bare(&[]);
        let mut members: Vec<Client> = (0..3).map(|_| server.join()).collect();
        server.signal(signal);
        for member in &mut members {
            assert_eq!(member.rest_lines(), [CLOSING]);
        }
        assert_eq!(server.exit_code(), 0);
    }
}

#[test]
fn a_server_without_clients_ends_at_once() {
    let mut server = Server::bare(&["--drain", "600"]);
    // It answers, so it is up.
    server.answer("stats");
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_signal_is_heard_from_the_address_line_on() {
    // A script that has read the address may end the server at once.
    let directory = Directory::new();
    let mut server = Server::bare(&["--listen", &directory.socket("chat")]);
    server.signal(Signal::TERM);
    let status = server.wait();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(!directory.file("chat").exists());
}

#[test]
fn draining_under_load_gives_everyone_the_same_up_to_the_notice() {
    let mut server = Server::bare(&["--rate", "off", "--slow", "wait:60", "--drain", "60"]);
    let mut watchers: Vec<Client> = (0..5).map(|_| server.join()).collect();
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let mut client = server.join();
            let mut writer = client.tcp().try_clone().expect("a second handle");
            let sending = std::thread::spawn(move || {
                let lines: String = (0..100).map(|number| format!("{number:0100}\n")).collect();
                while writer.write_all(lines.as_bytes()).is_ok() {}
            });
            let reading = std::thread::spawn(move || {
                // Whoever still sends when the signal comes has what is due to it, too.
                let lines = client.until(CLOSING);
                // The server may have hung up already.
                let _ = client.tcp().shutdown(std::net::Shutdown::Both);
                lines
            });
            (sending, reading)
        })
        .collect();
    // The load is on: everyone has had a thousand lines.
    let mut seen: Vec<Vec<String>> =
        watchers.iter_mut().map(|watcher| (0..1000).map(|_| watcher.line()).collect()).collect();
    server.signal(Signal::TERM);
    for (watcher, seen) in watchers.iter_mut().zip(&mut seen) {
        seen.extend(watcher.rest_lines());
        let at = seen.iter().position(|line| line == CLOSING);
        assert_eq!(at, Some(seen.len() - 1), "the notice is the last of {} lines", seen.len());
    }
    for other in &seen[1..] {
        assert!(*other == seen[0], "{} and {} lines", other.len(), seen[0].len());
    }
    for (sending, reading) in senders {
        let lines = reading.join().expect("a sender reads up to the notice");
        assert_eq!(lines.last().map(String::as_str), Some(CLOSING));
        assert!(seen[0].ends_with(&lines[lines.len() - 100..]));
        sending.join().expect("the sender ends");
    }
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_paced_sender_gets_the_closing_notice_and_a_clean_end() {
    // A paste waits unread in the kernel when the signal comes: closing over it would reset the
    // connection under the notice.
    let mut server = Server::bare(&["--rate", "10:10"]);
    let mut ann = server.join();
    ann.send("x\n".repeat(200_000));
    ann.line();
    server.signal(Signal::TERM);
    let end = ann.rest_or_error().expect("an end, not a reset");
    assert!(String::from_utf8(end).expect("text").ends_with(&format!("{CLOSING}\n")));
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_sender_who_reads_late_gets_the_closing_notice_all_the_same() {
    let mut server = Server::bare(&["--rate", "1:500", "--drain", "60"]);
    let mut ann = server.join_with_little_room();
    ann.send(format!("{}\n", "x".repeat(4000)).repeat(600));
    // The server has taken the burst and paused: the rest waits unread, the echoes fill all buffers.
    server.log().until("slowed down");
    server.signal(Signal::TERM);
    server.console().until("closing:");
    let end = ann.rest_or_error().expect("an end, not a reset");
    assert!(String::from_utf8(end).expect("text").ends_with(&format!("{CLOSING}\n")));
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn nobody_is_let_in_while_the_server_drains() {
    let mut server = Server::bare(&["--drain", "60", "--rate", "off", "--unsent", "8K"]);
    let mut ann = server.join_as("ann");
    let stalled = server.join_with_little_room();
    for _ in 0..100 {
        ann.echo(&"x".repeat(4000));
    }
    server.signal(Signal::TERM);
    assert_eq!(ann.rest_lines(), [CLOSING]);
    let late = std::net::TcpStream::connect(&server.addresses[0]);
    assert_eq!(late.expect_err("closed").kind(), ErrorKind::ConnectionRefused);
    drop(stalled);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn console_quit_and_then_a_signal_ends_at_once() {
    let mut server = Server::bare(&["--drain", "600", "--rate", "off", "--unsent", "8K"]);
    let mut ann = server.join_as("ann");
    let _stalled = server.join_with_little_room();
    for _ in 0..100 {
        ann.echo(&"x".repeat(4000));
    }
    server.operate("quit");
    assert_eq!(ann.rest_lines(), [CLOSING]);
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), 1);
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    // As nohup and scripts that start it in the background do.
    let mut server = Server::spawn(shell("trap '' HUP INT; exec \"$@\"", &["--quiet", "--history", "0"]));
    let mut ann = server.join();
    server.signal(Signal::HUP);
    server.signal(Signal::INT);
    assert!(ann.fence().is_empty());
    server.signal(Signal::TERM);
    assert_eq!(ann.rest_lines(), [CLOSING]);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_test_of_signals_holds_where_the_tests_were_started_to_ignore_them() {
    let probe = "env --default-signal=INT env";
    let can_restore = script(probe, &[]).output().is_ok_and(|output| output.status.success());
    if !need(can_restore, "there is no `env` that restores ignored signals", probe) {
        return;
    }
    let tests = std::env::current_exe().expect("this program has a path").display().to_string();
    let arguments = [&*tests, "--exact", "ends::a_signal_tells_everyone_and_ends_well"];
    let mut ignoring = script("trap '' HUP INT QUIT; exec \"$@\"", &arguments);
    let output = ignoring.stdin(std::process::Stdio::null()).output().expect("it is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_client_that_is_gone_is_so_at_once_whoever_has_a_copy_of_its_socket() {
    // As a program has that another test starts, until it is that program.
    let mut server = Server::bare(&[]);
    for how in ["end of input", "connection reset"] {
        let client = server.join();
        let _copy = client.tcp().try_clone().expect("a second handle");
        if how == "end of input" {
            drop(client)
        } else {
            client.reset()
        }
        server.log().until(&format!(" left: {how}"));
    }
}
