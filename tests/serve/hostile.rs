//! Peers and surroundings that mean harm.

use std::io::Write;
use std::net::TcpStream;
use std::process::Stdio;

use crate::harness::{Client, Server, command, shell};

#[test]
fn a_reset_costs_one_member_and_nobody_else() {
    let mut server = Server::bare(&[]);
    let mut bob = server.join();
    let mut ann = server.join_as("ann");
    ann.send("half a line");
    bob.fence();
    ann.reset();
    server.log().until("left: connection reset");
    assert!(bob.fence().is_empty(), "half a line of a lost member is not said");
    assert!(bob.ask("/who").contains("1 in lobby"));
}

#[test]
fn few_descriptors_mean_few_clients_and_a_word_to_the_next() {
    let server = Server::spawn(shell("ulimit -n 64; exec \"$@\"", &["--quiet"]));
    let mut crowd = Vec::new();
    let refusal = loop {
        assert!(crowd.len() < 64);
        let mut client = server.connect();
        let line = client.line();
        if !line.contains("you are") {
            break line;
        }
        crowd.push(client);
    };
    assert_eq!(refusal, "-- the server is full: 32 clients at most; try again later --");
    assert!(server.descriptors().len() <= 64);
}

#[test]
fn a_flood_keeps_nobody_waiting() {
    let server = Server::bare(&["--rate", "off"]);
    let address = server.addresses[0].clone();
    let flood = TcpStream::connect(&address).expect("the server accepts");
    let mut writer = flood.try_clone().expect("a second handle");
    let writing = std::thread::spawn(move || while writer.write_all(&[b'\n'; 64 * 1024]).is_ok() {});
    let mut ann = server.join_as("ann");
    for number in 0..300 {
        assert_eq!(ann.echo(&number.to_string()), format!("ann: {number}"));
    }
    flood.shutdown(std::net::Shutdown::Both).expect("open until now");
    writing.join().expect("the flood ends");
}

fn resident_kib(server: &Server) -> u64 {
    let status = server.proc("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn commands_whose_answers_are_read_late_cost_no_memory() {
    const QUESTIONS: usize = 60_000;
    let server = Server::bare(&["--rate", "off", "--unsent", "8K"]);
    let mut stalled = server.join_with_little_room();
    let before = resident_kib(&server);
    let mut writer = stalled.tcp().try_clone().expect("a second handle");
    let writing = std::thread::spawn(move || {
        // Some 35 MB of answers, of which the server may hold a few kilobytes.
        for _ in 0..QUESTIONS / 100 {
            writer.write_all(&b"/help\n".repeat(100)).expect("the server takes it");
        }
    });
    let mut pages = 0;
    while pages < QUESTIONS {
        pages += usize::from(stalled.line().contains("//TEXT"));
    }
    writing.join().expect("all was sent");
    assert!(stalled.fence().len() < 10, "more answers than questions");
    let grown = resident_kib(&server).saturating_sub(before);
    assert!(grown < 4 * 1024, "{grown} KiB for {QUESTIONS} answers");
}

#[test]
fn a_closed_standard_error_stops_nobody() {
    let server = Server::spawn(shell("exec \"$@\" 2>&-", &["-vv", "--quiet", "--history", "0"]));
    let mut ann = server.join_as("ann");
    assert_eq!(ann.echo("hello"), "ann: hello");
    let mut command = command(&["-vv", "--quiet", "--history", "0"]);
    command.stderr(Stdio::piped());
    let mut server = Server::spawn(command);
    drop(server.log.take());
    let mut ann = server.join_as("ann");
    assert_eq!(ann.echo("hello"), "ann: hello");
}

#[test]
fn a_standard_output_that_nobody_reads_stops_nobody() {
    let mut server = Server::bare(&["--rate", "off"]);
    let mut ann = server.join_as("ann");
    server.operate("watch");
    for _ in 0..200 {
        server.operate("help");
    }
    for number in 0..3000 {
        assert_eq!(ann.echo(&format!("{number:0100}")), format!("ann: {number:0100}"));
    }
    // When somebody reads again, everything is in its place.
    server.operate("kick fence");
    let screen = server.console().until("kick: fence");
    assert_eq!(screen.iter().filter(|line| line.starts_with("quit ")).count(), 200);
}

#[test]
fn a_closed_standard_output_stops_nobody() {
    let mut server = Server::bare(&["--idle", "1.5"]);
    let mut ann = server.join_as("ann");
    drop(server.console.take());
    server.operate("clients");
    server.operate("clients");
    assert_eq!(ann.echo("hello"), "ann: hello");
    let before = server.cpu_ticks();
    ann.rest();
    let used = server.cpu_ticks() - before;
    assert!(used <= 10, "{used} ticks of 10 ms in 1.5 s");
}

#[test]
fn a_standard_output_that_is_closed_at_the_start_is_no_reason_not_to_serve() {
    let directory = crate::harness::Directory::new();
    let mut command = shell("exec \"$@\" >&-", &["--listen", &directory.socket("chat"), "--quiet"]);
    command.stdout(Stdio::null());
    let mut server = Server::spawn(command);
    server.log().until("listening on");
    let mut ann = Client::connect(&directory.socket("chat")).greeted();
    assert!(ann.echo("hello").ends_with(": hello"));
}

#[test]
fn nothing_spins_while_members_stall_or_are_held_up() {
    let server = Server::bare(&["--rate", "1:60", "--idle", "2", "--unsent", "8K", "--linger", "60"]);
    // Ann is held up by the rate, with lines unread in the kernel; the echoes of what she said fill the
    // buffers of one who reads nothing; a third has sent the longest line, and not its end.
    let mut ann = server.join_as("ann");
    let mut stalled = server.join_with_little_room();
    stalled.send("/ping\n");
    let mut endless = server.join();
    endless.send("x".repeat(4096));
    ann.send(format!("{}\n", "x".repeat(4000)).repeat(100));
    let mut idler = server.join();
    let before = server.cpu_ticks();
    let lines = idler.rest_lines();
    assert!(lines.last().is_some_and(|line| line.contains("you said nothing")), "{:?}", lines.last());
    let used = server.cpu_ticks() - before;
    assert!(used <= 20, "{used} ticks of 10 ms in 2 s");
}
