//! `closed`: who is gone or was not let in, why, by which limit, and what an operator can change.

use std::time::Instant;

use crate::harness::{Client, DEADLINE, Server};

/// The cells of a row; columns are two spaces apart.
fn cells(row: &str) -> Vec<String> {
    row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(String::from).collect()
}

/// What `closed` shows once it has so many rows: the reasons, and the rows.
fn closed(server: &mut Server, rows: usize) -> (Vec<String>, Vec<Vec<String>>) {
    let until = Instant::now() + DEADLINE;
    loop {
        let answer = server.answer("closed");
        let heading = answer.iter().position(|line| line.starts_with("the last ")).expect("a heading");
        let (reasons, table) = answer.split_at(heading);
        if table.len() >= rows + 2 {
            let reasons = reasons[1..].iter().map(|line| line.trim().to_string()).collect();
            return (reasons, table[2..].iter().map(|row| cells(row)).collect());
        }
        assert!(Instant::now() < until, "{answer:?}");
    }
}

#[test]
fn the_last_closes_name_the_limit_the_value_and_what_to_change() {
    let mut server = Server::bare(&[
        "--max-clients",
        "2",
        "--rate",
        "off",
        "--log-bytes",
        "64K",
        "--unsent",
        "8K",
        "--slow",
        "close",
    ]);
    let mut ann = server.join_as("ann");
    let slow = server.join_with_little_room();
    for _ in 0..3 {
        assert_eq!(server.connect().rest_lines().len(), 1);
    }
    let text = "x".repeat(1000);
    for _ in 0..400 {
        ann.echo(&text);
    }
    ann.say("quit");
    ann.rest();
    drop((ann, slow));
    let (reasons, rows) = closed(&mut server, 3);
    for reason in ["3  server full", "1  read too slowly", "1  quit"] {
        assert!(reasons.iter().any(|line| line == reason), "{reason}: {reasons:?}");
    }
    let full = row(&rows, "server full");
    assert_eq!((full[0].as_str(), full[4].as_str()), ("-", "3"), "those who were refused are one entry");
    assert_eq!(full[6..], ["--max-clients", "one more than 2 clients", "raise --max-clients"]);
    let slow = row(&rows, "read too slowly");
    assert_eq!((slow[6].as_str(), slow[8].as_str()), ("--slow", "raise --log-bytes, or --slow skip"));
    assert!(slow[7].ends_with(" KiB behind"), "{slow:?}");
    let quit = row(&rows, "quit");
    assert_eq!(quit[6..], ["-", "-", "-"]);
    // Those of the other server are not closed for their silence, however long this takes.
    let mut server = Server::bare(&["--idle", "3"]);
    let mut silent = server.join_as("silent");
    assert_eq!(silent.rest_lines(), ["-- you said nothing for 3 s: closing --"]);
    drop(silent);
    let (reasons, rows) = closed(&mut server, 1);
    assert_eq!(reasons, ["1  idle for too long"]);
    let idle = row(&rows, "idle for too long");
    assert_eq!((idle[0].as_str(), idle[1].as_str()), ("2", "silent"));
    assert_eq!(idle[6..], ["--idle", "silent for 3 s", "raise --idle"]);
}

/// The row of a close for this reason.
#[track_caller]
fn row<'a>(rows: &'a [Vec<String>], reason: &str) -> &'a [String] {
    rows.iter().find(|row| row[5] == reason).unwrap_or_else(|| panic!("{reason}: {rows:?}"))
}

/// Somebody who asks for more than its socket takes, and does not read.
fn stalled(server: &Server, other: &mut Client) -> Client {
    let mut stalled = server.join_with_little_room();
    stalled.send("/help\n".repeat(1000));
    other.ask_until(&format!("/msg {} hello", stalled.name), &format!("{} is not reading", stalled.name));
    stalled
}

#[test]
fn who_does_not_take_the_farewell_either_was_closed_for_what_it_was_told() {
    let arguments =
        ["--rate", "off", "--log-bytes", "64K", "--unsent", "8K", "--slow", "close", "--linger", "0.1"];
    let mut server = Server::bare(&arguments);
    let mut ann = server.join();
    let _slow = stalled(&server, &mut ann);
    let text = "x".repeat(1000);
    for _ in 0..400 {
        ann.echo(&text);
    }
    closed(&mut server, 1);
    let kicked = stalled(&server, &mut ann);
    server.operate(&format!("kick {}", kicked.name));
    let (reasons, rows) = closed(&mut server, 2);
    assert_eq!(reasons, ["1  kicked", "1  read too slowly"]);
    let [slow, kicked] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((slow[5].as_str(), slow[6].as_str()), ("read too slowly", "--slow"));
    assert!(slow[7].contains(" KiB behind, ") && slow[7].ends_with(" not taken"), "{slow:?}");
    assert_eq!(slow[8], "raise --log-bytes, or --slow skip");
    assert_eq!((kicked[5].as_str(), kicked[6].as_str(), kicked[8].as_str()), ("kicked", "-", "-"));
    assert!(kicked[7].ends_with(" not taken"), "{kicked:?}");
}

#[test]
fn a_hundred_closes_are_kept_and_all_are_counted() {
    let mut server = Server::bare(&[]);
    for _ in 0..110 {
        let mut client: Client = server.connect();
        client.say("quit");
        client.rest();
    }
    let until = Instant::now() + DEADLINE;
    let (reasons, rows) = loop {
        let (reasons, rows) = closed(&mut server, 100);
        if reasons.iter().any(|line| line == "110  quit") {
            break (reasons, rows);
        }
        assert!(Instant::now() < until, "{reasons:?}");
    };
    assert_eq!((reasons.len(), rows.len()), (1, 100));
    assert_eq!(
        (rows[0][0].as_str(), rows[99][0].as_str()),
        ("12", "111"),
        "the console is the first connection"
    );
}
