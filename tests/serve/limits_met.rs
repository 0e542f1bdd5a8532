//! Each limit of the table is met once: who meets it sees what the table says, and the operator the number.
//! Those of the address and of silence are met beside this, in `limits`.

use std::time::Instant;

use crate::harness::{Client, DEADLINE, Server, untimed};

/// How often a limit was met so far.
fn met(server: &mut Server, limit: &str) -> u64 {
    let stats = server.answer("stats");
    let count = stats.iter().find_map(|line| {
        line.strip_prefix("limit met")?.trim().strip_suffix(&format!(": {limit}"))?.parse().ok()
    });
    count.unwrap_or(0)
}

/// Waits until a limit was met.
#[track_caller]
fn wait_until_met(server: &mut Server, limit: &str) {
    let until = Instant::now() + DEADLINE;
    while met(server, limit) == 0 {
        assert!(Instant::now() < until, "{limit} was never met");
    }
}

#[test]
fn a_full_server_and_descriptors_that_are_used_up_are_told_and_counted() {
    let mut server = Server::bare(&["--max-clients", "2"]);
    let _ann = server.join();
    server.limit_descriptors(None);
    // Who waits is turned away once it is clear that no descriptor comes free.
    let mut bob = server.connect();
    assert_eq!(bob.rest_lines(), ["-- the server is full: try again later --"]);
    assert_eq!(met(&mut server, "descriptors"), 1);
    server.limit_descriptors(Some(100));
    let _cho = server.join();
    let mut dan = server.connect();
    assert_eq!(dan.rest_lines(), ["-- the server is full: 2 clients at most; try again later --"]);
    assert_eq!(met(&mut server, "clients"), 1);
}

#[test]
fn limits_of_lines_and_rooms_are_told_and_counted() {
    let mut server = Server::bare(&["--max-line", "64", "--max-rooms", "2", "--max-rooms-per-client", "2"]);
    let (mut ann, mut bob) = (server.join(), server.join());
    let long = "x".repeat(33);
    for (limit, line, told) in [
        ("line_bytes", format!("{long}{long}"), "that line was too long and was not sent: 64 bytes at most"),
        ("nick_bytes", format!("/nick {long}"), "a name has at most 32 bytes"),
        ("room_name_bytes", format!("/join {long}"), "a room's name has 1 to 32 bytes"),
    ] {
        assert!(ann.ask(&line).contains(told), "{line}");
        assert_eq!(met(&mut server, limit), 1, "{limit}");
    }
    ann.ask("/join kitchen");
    assert!(ann.ask("/join cellar").contains("you are in 2 rooms, 2 at most (--max-rooms-per-client)"));
    assert_eq!(met(&mut server, "rooms_per_client"), 1);
    assert!(bob.ask("/join cellar").contains("all rooms are taken (--max-rooms)"));
    assert_eq!(met(&mut server, "rooms"), 1);
}

#[test]
fn a_pace_above_the_rate_loses_nothing_and_is_counted() {
    let mut server = Server::bare(&["--rate", "50:1"]);
    let mut ann = server.join();
    ann.send("one\ntwo\nthree\n");
    for text in ["one", "two", "three"] {
        assert_eq!(untimed(&ann.line()), format!("{}: {text}", ann.name));
    }
    assert_eq!(met(&mut server, "rate"), 2);
}

#[test]
fn long_lists_and_large_rooms_say_less_and_are_counted() {
    let mut server = Server::start(&["--history", "0"]);
    let mut members: Vec<Client> = (0..101).map(|_| server.join()).collect();
    members.iter_mut().for_each(Client::appear);
    let last = members.last_mut().expect("somebody");
    assert!(last.ask("/who").ends_with(" and 1 others --"));
    assert_eq!(met(&mut server, "listed"), 1);
    assert!(met(&mut server, "notice_members") > 0);
    assert!(last.fence().is_empty(), "nobody hears of joins in so large a room");
}

#[test]
fn who_does_not_read_has_its_replies_wait_and_misses_what_the_log_drops() {
    let mut server = Server::bare(&["--rate", "off", "--log-bytes", "64K", "--unsent", "8K"]);
    let mut stalled = server.join_with_little_room();
    let mut ann = server.join_as("ann");
    // More questions than answers fit into what may wait: the last ones are read when it has read some.
    stalled.send("/help\n".repeat(500));
    wait_until_met(&mut server, "private_bytes");
    wait_until_met(&mut server, "unsent");
    for number in 0..1000 {
        ann.echo(&format!("{number:0100}"));
    }
    let mut answers = 0;
    let mut has_gap = false;
    stalled.say("/ping end");
    while let Some(line) = stalled.next_line() {
        answers += usize::from(line.contains("this page"));
        has_gap |= line.starts_with("-- you missed ");
        if line == "-- pong end --" {
            break;
        }
    }
    assert_eq!((answers, has_gap), (500, true));
    assert!(met(&mut server, "reader_lag") > 0);
}

#[test]
fn who_waits_for_the_slow_is_counted_and_so_are_they() {
    let mut server =
        Server::bare(&["--rate", "off", "--log-bytes", "64K", "--unsent", "8K", "--slow", "wait:0.2"]);
    let mut ann = server.join_as("ann");
    let mut stalled = server.join_with_little_room();
    let text = "x".repeat(1000);
    for _ in 0..400 {
        ann.echo(&text);
    }
    assert!(met(&mut server, "log_space") > 0);
    assert_eq!(met(&mut server, "slow"), 1);
    assert_eq!(
        stalled.rest_lines().last().map(String::as_str),
        Some("-- you read too slowly: closing (--slow) --")
    );
}

#[test]
fn own_lines_that_a_reader_is_not_sent_are_bounded_without_echo() {
    let mut server = Server::bare(&["--rate", "off", "--no-echo", "--unsent", "8K"]);
    let mut stalled = server.join_with_little_room();
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    // Its socket is full, so it reads none of the stretches between its own lines.
    for _ in 0..100 {
        ann.say(&"x".repeat(4000));
        bob.expect("x");
    }
    for _ in 0..64 {
        stalled.say("mine");
        bob.expect("mine");
        ann.say("other");
        bob.expect("other");
    }
    stalled.say("late");
    wait_until_met(&mut server, "skipped_spans");
    let others = (0..64).map(|_| stalled.until("ann: other").len());
    assert_eq!(others.sum::<usize>(), 100 + 64, "it gets what is not its own, and no more");
    bob.expect("late");
}

#[test]
fn an_operator_who_does_not_read_waits_too() {
    let mut server = Server::bare(&[]);
    for _ in 0..1000 {
        server.operate("help");
    }
    let mut pages = 0;
    while pages < 1000 {
        pages += usize::from(server.console().line().starts_with("quit "));
    }
    wait_until_met(&mut server, "console_bytes");
}

#[test]
fn ends_that_take_too_long_are_counted() {
    let mut server = Server::bare(&["--linger", "0.3", "--drain", "0.3", "--rate", "off", "--unsent", "8K"]);
    let mut ann = server.join_as("ann");
    let (mut lingers, _drains) = (server.join_with_little_room(), server.join_with_little_room());
    for _ in 0..400 {
        ann.echo(&"x".repeat(4000));
    }
    lingers.say("quit");
    wait_until_met(&mut server, "linger");
    server.operate("quit");
    let log = server.log().until(" not taken (--drain)");
    assert!(log.iter().any(|line| line.contains(" not taken (--linger)")), "{log:?}");
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn silence_is_counted() {
    let mut server = Server::bare(&["--idle", "0.2"]);
    let mut ann = server.join();
    assert_eq!(ann.rest_lines(), ["-- you said nothing for 0 s: closing --"]);
    assert_eq!(met(&mut server, "idle"), 1);
}
