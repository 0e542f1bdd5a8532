//! The operator.

use std::io::Write;
use std::time::Instant;

use crate::harness::{DEADLINE, Server, command, untimed};

#[test]
fn clients_is_a_table_of_who_is_here() {
    let mut server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    let bob = server.join();
    ann.ask("/join kitchen");
    let table = server.answer("clients");
    let words = |line: &str| line.split_whitespace().map(String::from).collect::<Vec<_>>();
    assert_eq!(words(&table[0]), ["id", "name", "address", "room", "since", "idle", "in", "out", "behind"]);
    let row = words(&table[1]);
    assert_eq!(row[1], "ann");
    assert_eq!(row[2], ann.tcp().local_addr().expect("connected").to_string());
    assert_eq!(row[3], "kitchen+1");
    let row = words(&table[2]);
    assert_eq!((row[1].as_str(), row[2].as_str(), row[3].as_str()), ("-", bob.name.as_str(), "lobby"));
    assert_eq!(table[3], "2 clients");
    assert_eq!(table.len(), 4);
}

#[test]
fn clients_counts_bytes_in_and_out_and_behind() {
    let mut server = Server::bare(&["--rate", "off", "--unsent", "8K"]);
    let mut ann = server.join_as("ann");
    let _stalled = server.join_with_little_room();
    for _ in 0..50 {
        ann.echo(&"x".repeat(4000));
    }
    let table = server.answer("clients");
    assert!(table[1].contains("195.") && table[1].ends_with("0 B"), "{}", table[1]);
    assert!(table[2].ends_with("KiB"), "{}", table[2]);
}

#[test]
fn rooms_is_a_table_of_rooms() {
    let mut server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    ann.ask("/join kitchen");
    let table = server.answer("rooms");
    let words = |line: &str| line.split_whitespace().take(2).map(String::from).collect::<Vec<_>>();
    assert_eq!(words(&table[0]), ["room", "members"]);
    assert_eq!(words(&table[1]), ["kitchen", "1"]);
    assert_eq!(words(&table[2]), ["lobby", "1"]);
}

#[test]
fn say_is_heard_in_every_room() {
    let mut server = Server::bare(&[]);
    let (mut ann, mut bob) = (server.join(), server.join());
    bob.ask("/join kitchen");
    bob.ask("/join lobby");
    bob.ask("/leave");
    server.operate("say tea is ready 茶");
    assert_eq!(untimed(&ann.line()), "operator: tea is ready 茶");
    assert_eq!(untimed(&bob.line()), "operator: tea is ready 茶");
    assert_eq!(server.answer("say"), ["usage: say TEXT"]);
}

#[test]
fn what_the_operator_said_last_is_heard_before_the_end() {
    let mut server = Server::bare(&[]);
    let mut ann = server.join();
    let stdin = server.stdin.as_mut().expect("piped");
    stdin.write_all(b"say goodbye\nquit\n").expect("the console takes it");
    let last = ann.rest_lines();
    assert_eq!(last.len(), 2, "{last:?}");
    assert_eq!(untimed(&last[0]), "operator: goodbye");
    assert_eq!(last[1], "-- the server is closing --");
}

fn id_of(server: &mut Server, name: &str) -> String {
    let table = server.answer("clients");
    let row = table.iter().find(|row| row.contains(name)).expect("its row");
    row.split_whitespace().next().expect("an id").to_string()
}

#[test]
fn kick_closes_by_id_and_says_why() {
    let mut server = Server::start(&[]);
    let mut bob = server.join_as("bob");
    let mut ann = server.join();
    ann.appear();
    bob.fence();
    let id = id_of(&mut server, &ann.name);
    assert_eq!(server.answer(&format!("kick {id} too loud")), [format!("kicked {}: too loud", ann.name)]);
    assert_eq!(ann.rest_lines(), ["-- the operator closed your connection: too loud --"]);
    assert_eq!(bob.line(), format!("-- {} left --", ann.name));
    assert_eq!(
        server.answer(&format!("kick {id}")),
        [format!("kick: {id}: no such client; clients lists them")]
    );
}

#[test]
fn kick_closes_by_nick_and_needs_no_reason() {
    let mut server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    assert_eq!(server.answer("kick Ann"), ["kicked ann"]);
    assert_eq!(ann.rest_lines(), ["-- the operator closed your connection --"]);
    assert!(server.answer("kick")[0].starts_with("usage: kick"));
    assert!(server.answer("kick 999")[0].contains("no such client"));
}

#[test]
fn a_reason_that_is_too_long_is_not_cut_and_nobody_is_kicked() {
    let mut server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    let reason = "x".repeat(257);
    assert_eq!(
        server.answer(&format!("kick ann {reason}")),
        ["kick: a reason has at most 256 bytes: ann stays"]
    );
    assert_eq!(ann.echo("still here"), "ann: still here");
    assert_eq!(server.answer(&format!("kick ann {}", &reason[1..])).len(), 1);
    assert_eq!(ann.rest_lines(), [format!("-- the operator closed your connection: {} --", &reason[1..])]);
}

#[test]
fn a_line_of_the_operators_that_the_terminal_may_have_cut_is_not_said() {
    let mut server = Server::bare(&["--max-line", "8192"]);
    let mut ann = server.join_as("ann");
    let line = format!("say {}", "x".repeat(4091));
    assert_eq!(
        server.answer(&line),
        ["-- that line was too long and was not sent: 4094 bytes at most (a terminal cuts longer ones) --"]
    );
    server.answer(&line[..4094]);
    assert_eq!(untimed(&ann.line()), format!("operator: {}", "x".repeat(4090)));
    // A member's own lines are as long as ever.
    let text = "y".repeat(8192);
    assert_eq!(ann.echo(&text), format!("ann: {text}"));
}

#[test]
fn a_flood_does_not_save_from_being_kicked() {
    let mut server = Server::bare(&["--rate", "5:1"]);
    let mut ann = server.join_as("ann");
    ann.send("x\n".repeat(1000));
    server.answer("kick ann flood");
    let lines = ann.rest_lines();
    assert_eq!(lines.last().map(String::as_str), Some("-- the operator closed your connection: flood --"));
}

#[test]
fn stats_counts_what_happened() {
    let mut server = Server::bare(&["--max-clients", "1"]);
    let mut ann = server.join();
    ann.echo("one");
    ann.echo("two");
    server.connect().rest();
    ann.say("quit");
    ann.rest();
    drop(ann);
    // The close is counted once the server has seen hers.
    let until = Instant::now() + DEADLINE;
    let mut stats = String::new();
    while !stats.contains("1 closed") {
        assert!(Instant::now() < until, "{stats}");
        stats = server.answer("stats").join("\n");
    }
    for fact in ["1 accepted, 1 refused", "3 lines, 13 B", "1: quit"] {
        assert!(stats.contains(fact), "{fact} is missing in\n{stats}");
    }
}

#[test]
fn watch_shows_the_chat_until_it_is_said_again() {
    let mut server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    assert_eq!(server.answer("watch"), ["you see the chat; watch again to stop"]);
    ann.echo("seen");
    assert_eq!(untimed(&server.console().line()), "ann: seen");
    ann.ask("/join kitchen");
    ann.echo("seen too");
    assert_eq!(untimed(&server.console().line()), "[kitchen] ann: seen too");
    assert_eq!(ann.ask("/who"), "-- 1 in kitchen: ann --", "the operator is no member");
    assert_eq!(server.answer("watch"), ["you see the chat no more"]);
    ann.echo("unseen");
    assert_eq!(server.answer("say"), ["usage: say TEXT"]);
}

#[test]
fn a_watched_room_that_everyone_leaves_is_forgotten_all_the_same() {
    let mut server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    server.answer("watch");
    for round in 0..20 {
        ann.ask(&format!("/join room{round}"));
        ann.echo("hello");
        ann.ask("/leave");
        assert!(server.console().line().ends_with("ann: hello"));
    }
    assert_eq!(server.answer("rooms").len(), 2);
    ann.echo("still seen");
    assert_eq!(untimed(&server.console().line()), "ann: still seen");
}

#[test]
fn the_log_tells_who_came_and_why_they_went_but_not_what_they_said() {
    let mut server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    ann.echo("a secret");
    ann.say("quit");
    ann.rest();
    drop(ann);
    let log = server.log().until("left: quit").join("\n");
    assert!(
        log.contains("listening on 127.0.0.1:") && log.contains("connected") && log.contains("is now ann")
    );
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn what_people_say_is_logged_at_debug_without_their_controls() {
    for set in ["-v", "RUST_LOG"] {
        let mut command = command(if set == "-v" { &["-v"][..] } else { &[] });
        if set == "RUST_LOG" {
            command.env("RUST_LOG", "debug");
        }
        let mut server = Server::spawn(command);
        server.join().say("hello \u{1b}[2J");
        let line = server.log().until("hello").pop().expect("the line");
        assert!(line.contains(" debug: ") && !line.contains('\u{1b}'), "{line:?}");
    }
}

#[test]
fn q_leaves_joins_out_of_the_log() {
    let mut server = Server::bare(&["-q", "--max-clients", "1"]);
    let _ann = server.join();
    server.connect().rest();
    let log = server.log().until("refused: ");
    assert!(log.iter().all(|line| line.contains(" warn: ")), "{log:?}");
}

#[test]
fn help_lists_what_can_be_typed() {
    let mut server = Server::bare(&[]);
    let page = server.answer("help").join("\n");
    for command in ["quit", "clients", "rooms", "say TEXT", "kick ID [REASON]", "stats", "watch", "help"] {
        assert!(page.contains(command), "{command}");
    }
}

#[test]
fn anything_else_prints_the_threads_and_the_clients() {
    let mut server = Server::bare(&[]);
    let ann = server.join();
    for line in ["anything", "你好", "clients?", "\u{1b}[A"] {
        let lines = server.answer(line);
        assert!(lines[0].starts_with("threads: 1"), "{line:?}: {lines:?}");
        assert!(lines[2].contains(&ann.name), "{lines:?}");
    }
    assert!(server.answer("").is_empty());
}

#[test]
fn there_is_one_thread_beside_the_one_that_waits_for_signals() {
    let server = Server::bare(&[]);
    let _ann = server.join();
    let status = server.proc("status");
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:")).expect("a count");
    assert_eq!(threads.trim(), "2");
}

#[test]
fn quit_tells_everyone_and_ends_well() {
    let mut server = Server::bare(&[]);
    let mut ann = server.join();
    server.operate("quit");
    assert_eq!(ann.rest_lines(), ["-- the server is closing --"]);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn no_prompt_is_printed_into_a_pipe() {
    let mut server = Server::bare(&[]);
    server.operate("say");
    server.operate("quit");
    let screen = server.console().rest_lines();
    assert_eq!(screen[0], "usage: say TEXT");
    assert!(screen.iter().all(|line| !line.contains(">>")), "{screen:?}");
}

#[test]
fn a_last_console_line_without_an_end_is_run() {
    let mut server = Server::bare(&[]);
    let mut ann = server.join();
    server.stdin.take().expect("piped").write_all(b"say bye").expect("written");
    assert_eq!(untimed(&ann.line()), "operator: bye");
    assert!(ann.fence().is_empty());
}
