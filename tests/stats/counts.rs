//! Figures, and what they are of.

use rustix::process::Signal;

use crate::faults::Strace;
use crate::harness::{BARE, Client};
use crate::reader::{Watched, watched};

fn bare(arguments: &[&str]) -> Watched {
    watched(&[&BARE, arguments].concat())
}

/// Every close has a reason, and nobody is lost.
fn check_accounts(watched: &Watched) {
    let figures = watched.figures();
    let closes: f64 =
        figures.iter().filter(|(name, _)| name.starts_with("onepoll_closes_total")).map(|(_, n)| n).sum();
    let (accepted, open) =
        (figures["onepoll_connections_accepted_total"], figures["onepoll_connections_open"]);
    assert_eq!(accepted, open + closes, "{figures:?}");
}

#[test]
fn connections_are_counted_as_they_come_are_refused_and_go() {
    let watched = bare(&["--max-clients", "2"]);
    let figures = watched.figures();
    assert_eq!(figures["onepoll_connections_allowed"], 2.0);
    assert_eq!(figures["onepoll_connections_accepted_total"], 0.0);
    let mut ann = watched.server.join();
    let bob = watched.server.join();
    watched.server.connect().rest();
    for (name, value) in [
        ("connections_accepted_total", 2.0),
        ("connections_open", 2.0),
        ("connections_peak", 2.0),
        ("connections_refused_total", 1.0),
        ("limits_met_total{limit=\"clients\"}", 1.0),
    ] {
        watched.expect(name, value);
    }
    drop(bob);
    watched.expect("connections_open", 1.0);
    ann.echo("hello");
    watched.expect("connections_peak", 2.0);
    check_accounts(&watched);
}

#[test]
fn closes_are_counted_by_reason() {
    let mut watched = bare(&[]);
    let closed = |reason: &str| format!("closes_total{{reason=\"{reason}\"}}");
    let mut client = watched.server.join();
    client.say("quit");
    client.rest();
    drop(client);
    watched.expect(&closed("quit"), 1.0);
    for ended in 1..=2 {
        drop(watched.server.join());
        watched.expect(&closed("end_of_input"), f64::from(ended));
    }
    watched.server.join().reset();
    watched.expect(&closed("reset"), 1.0);
    let client = watched.server.join_as("ann");
    watched.server.answer("kick ann");
    drop(client);
    watched.expect(&closed("kicked"), 1.0);
    let mut browser = watched.server.connect();
    browser.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    browser.rest();
    drop(browser);
    watched.expect(&closed("wrong_protocol"), 1.0);
    watched.expect("connections_open", 0.0);
    check_accounts(&watched);
}

#[test]
fn closes_for_a_limit_are_counted_by_reason() {
    let idle = bare(&["--idle", "0.1"]);
    idle.server.join().rest();
    idle.expect("closes_total{reason=\"idle\"}", 1.0);
    idle.expect("limits_met_total{limit=\"idle\"}", 1.0);
    let arguments =
        ["--slow", "close", "--log-bytes", "16K", "--unsent", "4K", "--linger", "0.1", "--rate", "off"];
    let slow = bare(&arguments);
    let mut stalled = slow.server.join_with_little_room();
    let mut ann = slow.server.join();
    // More than its socket takes.
    stalled.send("/help\n".repeat(1000));
    ann.ask_until(&format!("/msg {} hello", stalled.name), "is not reading: not delivered");
    for _ in 0..200 {
        ann.echo(&"x".repeat(1000));
    }
    // Its last bytes are not taken either.
    slow.expect("connections_open", 1.0);
    let figures = slow.figures();
    assert_eq!(figures["onepoll_closes_total{reason=\"too_slow\"}"], 1.0, "{figures:?}");
    assert_eq!(figures["onepoll_closes_total{reason=\"linger_expired\"}"], 0.0, "{figures:?}");
    // Why a newcomer is not let in is no reason for which somebody is closed.
    let refusals = ["server_full", "address_full", "address_busy"];
    let is_label =
        |reason: &str| figures.contains_key(&format!("onepoll_closes_total{{reason=\"{reason}\"}}"));
    assert!(!refusals.into_iter().any(is_label), "{figures:?}");
    for limit in ["slow", "linger"] {
        assert_eq!(figures[&format!("onepoll_limits_met_total{{limit=\"{limit}\"}}")], 1.0, "{figures:?}");
    }
    check_accounts(&slow);
    drop(stalled);
}

#[test]
fn a_message_to_three_is_one_record_and_three_deliveries_and_all_bytes_are_counted() {
    let mut watched = bare(&[]);
    let mut members: Vec<Client> = (0..3).map(|_| watched.server.connect()).collect();
    let greetings: usize = members.iter_mut().map(|member| member.line().len() + 1).sum();
    watched.expect("sent_bytes_total", greetings as f64);
    let mut sent = greetings;
    for number in 0..5 {
        members[0].say(&format!("number {number}"));
        sent += members.iter_mut().map(|member| member.line().len() + 1).sum::<usize>();
    }
    for (name, value) in [
        ("sent_bytes_total", sent as f64),
        ("received_bytes_total", 5.0 * "number 0\n".len() as f64),
        ("lines_received_total", 5.0),
        ("records_total", 5.0),
        ("deliveries_total", 15.0),
    ] {
        watched.expect(name, value);
    }
    // What is said to one alone is bytes, and no delivery.
    members[0].ask("/ping");
    watched.expect("lines_received_total", 6.0);
    watched.expect("deliveries_total", 15.0);
    let stats = watched.server.answer("stats").join("\n");
    assert!(stats.contains("5 records, 15 deliveries, "), "{stats}");
}

#[test]
fn notices_are_records_and_no_deliveries_and_history_is_delivered_again() {
    let watched = watched(&["--history", "2"]);
    let mut ann = watched.server.join();
    for line in ["one", "two", "three"] {
        ann.echo(line);
    }
    watched.expect("deliveries_total", 3.0);
    let mut bob = watched.server.join();
    bob.until("three");
    watched.expect("deliveries_total", 5.0);
    bob.appear();
    ann.expect("joined");
    // Each of them joined, which is a record too.
    watched.expect("records_total", 3.0 + 2.0);
}

#[test]
fn what_a_slow_reader_missed_and_what_it_got_are_together_what_was_said() {
    let watched = bare(&["--log-bytes", "16K", "--unsent", "4K", "--rate", "off"]);
    let mut stalled = watched.server.join_with_little_room();
    let mut ann = watched.server.join();
    let said = 300;
    for _ in 0..said {
        ann.echo(&"x".repeat(1000));
    }
    let figures = watched.figures();
    assert_eq!(figures["onepoll_slow_readers"], 1.0);
    assert!(figures["onepoll_log_bytes"] >= 16.0 * 1024.0, "{figures:?}");
    assert!(figures["onepoll_limits_met_total{limit=\"unsent\"}"] >= 1.0);
    assert!(figures["onepoll_blocked_writes_total"] >= 1.0);
    ann.say("the end");
    stalled.until(&format!("{}: the end", ann.name));
    watched.expect("slow_readers", 0.0);
    let figures = watched.figures();
    let missed = figures["onepoll_skipped_messages_total"];
    assert!(missed > 0.0);
    assert_eq!(missed + figures["onepoll_deliveries_total"], 2.0 * f64::from(said + 1));
    assert!(figures["onepoll_limits_met_total{limit=\"reader_lag\"}"] >= 1.0);
}

#[test]
fn own_lines_are_no_deliveries_where_they_are_not_sent_back() {
    let watched = bare(&["--no-echo"]);
    let (mut ann, mut bob) = (watched.server.join(), watched.server.join());
    for line in ["one", "two", "three"] {
        ann.say(line);
        bob.expect(line);
    }
    watched.expect("deliveries_total", 3.0);
    watched.expect("skipped_messages_total", 0.0);
}

#[test]
fn limits_are_counted_where_they_are_met() {
    let watched = bare(&["--max-line", "100", "--max-rooms", "2", "--max-rooms-per-client", "1"]);
    let mut ann = watched.server.join();
    ann.ask(&"x".repeat(101));
    ann.ask("/join kitchen");
    ann.ask(&format!("/nick {}", "n".repeat(90)));
    for (limit, times) in
        [("line_bytes", 1.0), ("rooms_per_client", 1.0), ("nick_bytes", 1.0), ("rooms", 0.0)]
    {
        watched.expect(&format!("limits_met_total{{limit=\"{limit}\"}}"), times);
    }
}

#[test]
fn back_pressure_shows_while_it_lasts() {
    let watched = bare(&["--rate", "1:10"]);
    let mut ann = watched.server.join();
    ann.send("x\n".repeat(20));
    watched.expect("paused_clients", 1.0);
    // Once for each line that has waited until now.
    assert!(watched.figure("limits_met_total{limit=\"rate\"}") >= 1.0);
}

#[test]
fn replies_that_wait_show_while_they_wait() {
    let watched = bare(&["--unsent", "4K", "--rate", "off"]);
    let mut stalled = watched.server.join_with_little_room();
    stalled.send("/help\n".repeat(1000));
    // It reads nothing, so its commands wait, too.
    watched.expect("paused_clients", 1.0);
    assert!(watched.figure("private_bytes") > 0.0);
    stalled.half_close();
    stalled.rest();
    watched.expect("private_bytes", 0.0);
}

/// A send buffer of a segment or two is full until the peer acknowledges them, which it may put off for 40 ms: a busy
/// room would skip members who read all the time. What may be on its way is for the peer's window to say.
#[test]
fn a_reader_whose_window_is_open_is_never_a_slow_one() {
    const LINES: u32 = 96;
    const BATCHES: u32 = 32;
    let watched = bare(&["--format", "raw", "--no-echo", "--rate", "off"]);
    let mut reader = watched.server.connect_with_much_room();
    let mut ann = watched.server.connect();
    watched.expect("connections_open", 2.0);
    let batch = format!("{}\n", "x".repeat(1023)).repeat(LINES as usize);
    let mut blocked_while_it_opened = 0.0;
    for number in 1..=BATCHES {
        ann.send(&batch);
        // All of it is on its way before any of it is read.
        watched.expect("deliveries_total", f64::from(number * LINES));
        assert_eq!(reader.bytes(batch.len()).len(), batch.len());
        // The window opens with the first batches that are read.
        if number == BATCHES / 2 {
            blocked_while_it_opened = watched.figure("blocked_writes_total");
        }
    }
    assert_eq!(watched.figure("blocked_writes_total"), blocked_while_it_opened);
    assert_eq!(watched.figure("skipped_messages_total"), 0.0);
}

#[test]
fn turns_and_their_work_are_counted() {
    let watched = bare(&[]);
    let before = watched.figures();
    watched.server.join().echo("hello");
    let after = watched.figures();
    for name in ["turns_total", "events_total", "accepts_total", "reads_total", "writes_total"] {
        let name = format!("onepoll_{name}");
        assert!(after[&name] > before[&name], "{name}: {} and {}", before[&name], after[&name]);
    }
    assert_eq!(after["onepoll_turn_seconds_count"], after["onepoll_turns_total"]);
    assert!(after["onepoll_turn_seconds_sum"] >= after["onepoll_turn_longest_seconds"]);
    assert!(after["onepoll_turn_longest_seconds"] > 0.0);
}

#[test]
fn a_turn_that_the_kernel_made_slow_is_counted_and_logged_with_what_it_did() {
    let mut watched = bare(&[]);
    let mut ann = watched.server.join();
    ann.echo("one");
    let slow_before = watched.figure("slow_turns_total");
    let Some(strace) = Strace::attach(&watched.server, "sendto", &["sendto:delay_enter=200000:when=1"])
    else {
        return;
    };
    ann.echo("two");
    strace.detach();
    // A busy machine makes others slow, too.
    assert!(watched.figure("slow_turns_total") > slow_before);
    assert!(watched.figure("turn_longest_seconds") >= 0.2);
    let line = watched.server.log().until("reads 1 (4 bytes), writes 1 (").pop().expect("the line");
    assert!(line.contains("a turn took "), "{line}");
    watched.server.signal(Signal::TERM);
    assert_eq!(watched.server.exit_code(), 0);
}
