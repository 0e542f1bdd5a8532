//! Members who do not read: skip, close, wait.
//!
//! A reader stalls by not reading at all, with a receive buffer of a few kilobytes; what was sent exceeds
//! by far what the kernel can hold for it on both sides.

use std::time::{Duration, Instant};

use crate::harness::{Client, DEADLINE, Server, until, untimed};

/// A small log and small socket buffers, so that a stalled reader is behind soon.
const TIGHT: [&str; 6] = ["--rate", "off", "--log-bytes", "64K", "--unsent", "8K"];

/// Lines of some hundred bytes: together several times what all buffers hold.
const SENT: u64 = 8000;

fn text(number: u64) -> String {
    format!("{number:06} {}", "x".repeat(80))
}

fn number_of(line: &str) -> u64 {
    let said = untimed(line);
    let text = said.split_once(": ").expect("somebody said it").1;
    let number = text.split(' ').next().expect("a number").parse().expect("a number");
    assert_eq!(text, self::text(number), "torn");
    number
}

/// Sends lines `from..to`, and sees each come back in its place.
fn talk(speaker: &mut Client, from: u64, to: u64) {
    const BATCH: u64 = 50;
    for batch in (from..to).step_by(BATCH as usize) {
        let until = (batch + BATCH).min(to);
        speaker.send((batch..until).map(|number| text(number) + "\n").collect::<String>());
        for number in batch..until {
            assert_eq!(number_of(&speaker.line()), number);
        }
    }
}

/// How many messages a line says were missed.
fn missed(line: &str) -> Option<u64> {
    let count = line.strip_prefix("-- you missed ")?.strip_suffix(" --")?;
    count.strip_suffix(" messages").or_else(|| count.strip_suffix(" message"))?.parse().ok()
}

#[test]
fn who_skips_is_told_how_many_it_missed_at_the_place_where_they_are_missing() {
    let server = Server::bare(&TIGHT);
    let mut ann = server.join_as("ann");
    let mut stalled = server.join_with_little_room();
    talk(&mut ann, 0, SENT);
    let (mut next, mut received, mut lost) = (0, 0, 0);
    while next < SENT {
        let line = stalled.line();
        if let Some(count) = missed(&line) {
            assert!(count > 0);
            next += count;
            lost += count;
        } else {
            assert_eq!(number_of(&line), next, "after {received} received and {lost} missed");
            next += 1;
            received += 1;
        }
    }
    assert_eq!(received + lost, SENT);
    assert!(lost > 0, "the test stalled nobody");
    assert!(received >= 64 * 1024 / 120 - 10, "the kept part of the log was not sent: {received}");
    // It goes on as if nothing had been.
    talk(&mut ann, SENT, SENT + 100);
    for number in SENT..SENT + 100 {
        assert_eq!(number_of(&stalled.line()), number);
    }
    assert!(stalled.fence().is_empty());
}

#[test]
fn a_reader_who_stalls_again_is_told_again() {
    let server = Server::bare(&TIGHT);
    let mut ann = server.join_as("ann");
    let mut stalled = server.join_with_little_room();
    let mut next = 0;
    for round in 1..=3 {
        talk(&mut ann, (round - 1) * SENT, round * SENT);
        let mut gaps = 0;
        while next < round * SENT {
            let line = stalled.line();
            match missed(&line) {
                Some(count) => {
                    next += count;
                    gaps += 1;
                }
                None => {
                    assert_eq!(number_of(&line), next);
                    next += 1;
                }
            }
        }
        assert!(gaps > 0, "round {round} stalled nobody");
    }
}

#[test]
fn what_was_missed_in_another_room_names_the_room() {
    let server = Server::bare(&TIGHT);
    let mut ann = server.join_as("ann");
    let mut stalled = server.join_with_little_room();
    stalled.ask("/join kitchen");
    ann.ask("/join kitchen");
    talk(&mut ann, 0, SENT);
    let lines = stalled.until("-- you missed ");
    let gap = lines.last().expect("one");
    assert!(gap.ends_with(" messages in kitchen --"), "{gap}");
}

/// How many lines the server has read until now.
fn lines_received(server: &mut Server) -> u64 {
    let stats = server.answer("stats");
    let received = stats.iter().find_map(|line| line.strip_prefix("received")?.split_whitespace().next());
    received.expect("a row").parse().expect("a number")
}

#[test]
fn replies_to_a_stalled_reader_keep_their_place_behind_the_gap() {
    let mut server = Server::bare(&TIGHT);
    let mut ann = server.join_as("ann");
    let mut stalled = server.join_with_little_room();
    talk(&mut ann, 0, SENT);
    let before = lines_received(&mut server);
    stalled.say("/ping now");
    until("the question is read", || lines_received(&mut server) > before);
    talk(&mut ann, SENT, SENT + 10);
    let lines = stalled.until(&text(SENT + 9));
    let pong = lines.iter().position(|line| line == "-- pong now --").expect("an answer");
    let gap = lines.iter().rposition(|line| missed(line).is_some()).expect("a gap");
    let after: Vec<u64> = lines[pong + 1..].iter().map(|line| number_of(line)).collect();
    assert!(gap < pong);
    assert_eq!(after.last(), Some(&(SENT + 9)));
    assert!(after[0] >= SENT && number_of(&lines[pong - 1]) < after[0]);
}

#[test]
fn close_tells_the_slow_reader_why_and_spares_the_others() {
    let server = Server::bare(&[&TIGHT[..], &["--slow", "close"]].concat());
    let mut ann = server.join_as("ann");
    let mut stalled = server.join_with_little_room();
    talk(&mut ann, 0, SENT);
    let lines = stalled.rest_lines();
    let (last, before) = lines.split_last().expect("something");
    assert_eq!(last, "-- you read too slowly: closing (--slow) --");
    // What came before it came whole and in order, without a gap.
    for (number, line) in before.iter().enumerate() {
        assert_eq!(number_of(line), number as u64);
    }
    assert!((before.len() as u64) < SENT);
    assert_eq!(ann.ask("/who"), "-- 1 in lobby: ann --");
}

/// Until the operator sees that the room was full and somebody waited.
fn until_somebody_waits(server: &mut Server) {
    let until = Instant::now() + DEADLINE;
    while server.answer("stats").iter().any(|line| line.contains(" 0 by a full room")) {
        assert!(Instant::now() < until, "nobody waits");
    }
}

#[test]
fn wait_holds_the_sender_up_and_loses_nothing() {
    let mut server = Server::bare(&[&TIGHT[..], &["--slow", "wait:600", "--no-echo"]].concat());
    let mut ann = server.join_as("ann");
    let mut stalled = server.join_with_little_room();
    let sender = std::thread::spawn(move || {
        for number in 0..SENT {
            ann.say(&text(number));
        }
        ann
    });
    until_somebody_waits(&mut server);
    for number in 0..SENT {
        assert_eq!(number_of(&stalled.line()), number);
    }
    let mut ann = sender.join().expect("all was sent");
    assert!(ann.fence().is_empty());
    assert!(stalled.fence().is_empty());
}

#[test]
fn wait_closes_the_slow_reader_in_the_end_and_the_senders_go_on() {
    let server = Server::bare(&[&TIGHT[..], &["--slow", "wait:0.5"]].concat());
    let mut ann = server.join_as("ann");
    let mut bob = server.join_as("bob");
    let mut stalled = server.join_with_little_room();
    let began = Instant::now();
    let reader = std::thread::spawn(move || {
        for number in 0..SENT {
            assert_eq!(number_of(&bob.line()), number);
        }
    });
    talk(&mut ann, 0, SENT);
    assert!(began.elapsed() >= Duration::from_millis(500), "nobody waited");
    reader.join().expect("who reads misses nothing");
    let lines = stalled.rest_lines();
    let (last, before) = lines.split_last().expect("something");
    assert_eq!(last, "-- you read too slowly: closing (--slow) --");
    for (number, line) in before.iter().enumerate() {
        assert_eq!(number_of(line), number as u64);
    }
}

#[test]
fn a_stalled_reader_who_leaves_lets_the_senders_go_on() {
    let mut server = Server::bare(&[&TIGHT[..], &["--slow", "wait:600"]].concat());
    let mut ann = server.join_as("ann");
    let stalled = server.join_with_little_room();
    let sender = std::thread::spawn(move || talk(&mut ann, 0, SENT));
    until_somebody_waits(&mut server);
    stalled.reset();
    sender.join().expect("all was sent and echoed");
}

#[test]
fn wait_protects_a_member_who_leaves_the_room_while_it_is_behind() {
    let mut server = Server::bare(&[&TIGHT[..], &["--slow", "wait:600", "--no-echo"]].concat());
    let mut ann = server.join_as("ann");
    let mut stalled = server.join_with_little_room();
    stalled.ask("/join kitchen");
    ann.ask("/join kitchen");
    let sender = std::thread::spawn(move || {
        for number in 0..SENT {
            ann.say(&text(number));
        }
        ann.say("/leave");
        ann
    });
    until_somebody_waits(&mut server);
    stalled.say("/leave");
    // What was said before it left is due to it whole, however much was said since.
    let mut next = 0;
    loop {
        let line = stalled.line();
        if line.contains("you left kitchen") {
            break;
        }
        let text = line.split("] ann: ").nth(1).unwrap_or_else(|| panic!("{line:?} after {next}"));
        assert_eq!(text, self::text(next));
        next += 1;
    }
    assert!(next > 0);
    sender.join().expect("all was sent");
}
