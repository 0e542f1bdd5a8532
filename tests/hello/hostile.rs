//! Clients that never read, that reset, that are a thousand: nobody else notices.

use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::harness::{DEADLINE, Server, raise_descriptor_limit};
use crate::visitor::{GET, Visitor, hello};

/// Sends requests until the server reads no more of them; returns how many bytes it took.
fn flood(visitor: &mut Visitor) -> usize {
    visitor.tcp().set_nonblocking(true).expect("a socket");
    let requests = GET.repeat(2000);
    let mut taken = 0;
    loop {
        // Where the last write was cut, the next goes on.
        match visitor.source.write(&requests.as_bytes()[taken % GET.len()..]) {
            Ok(bytes) => taken += bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // What is full for good, and not only for this moment, stays so while it is asked again.
                if !wait_for(visitor, PollFlags::OUT, 300) {
                    visitor.tcp().set_nonblocking(false).expect("a socket");
                    return taken;
                }
            }
            Err(error) => panic!("the server broke the connection: {error}"),
        }
        assert!(taken < 1 << 30, "the server reads without end");
    }
}

/// Whether the socket has what is asked for, or an error, within so long.
fn wait_for(visitor: &Visitor, flags: PollFlags, milliseconds: i64) -> bool {
    let descriptor = visitor.source.as_fd();
    let patience = Timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
    rustix::event::poll(&mut [PollFd::new(&descriptor, flags)], Some(&patience)).expect("poll works") > 0
}

fn resident_kib(server: &Server) -> u64 {
    let status = server.proc("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has memory");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

#[test]
fn a_flood_of_requests_whose_answers_are_never_read_costs_a_bounded_piece_of_memory() {
    let server = hello(&[]);
    Visitor::of(&server).ask(GET).expect_page();
    let before = resident_kib(&server);
    let mut deaf: Vec<Visitor> = (0..20).map(|_| Visitor::of(&server)).collect();
    for visitor in &mut deaf {
        flood(visitor);
    }
    // 64 KiB of answers and 16 KiB of requests, in buffers that double.
    let grown = resident_kib(&server) - before;
    assert!(grown < 20 * 256, "{grown} KiB for 20 clients");
    Visitor::of(&server).ask(GET).expect_page();
}

#[test]
fn who_reads_late_gets_every_answer() {
    let server = hello(&[]);
    let mut visitor = Visitor::of(&server);
    let taken = flood(&mut visitor);
    visitor.half_close();
    for _ in 0..taken / GET.len() {
        visitor.answer().expect_page();
    }
    if !taken.is_multiple_of(GET.len()) {
        assert_eq!(visitor.answer().status, 400);
    }
    visitor.expect_end();
}

#[test]
fn a_client_that_never_reads_does_not_stay_for_ever() {
    let server = hello(&["--idle", "1"]);
    let mut deaf = Visitor::of(&server);
    flood(&mut deaf);
    // It takes none of its answers until the server is silent with it, and patient with its last bytes, no
    // more: what is sent after that is answered with a reset.
    let until = Instant::now() + DEADLINE;
    while deaf.source.write_all(GET.as_bytes()).is_ok() && !wait_for(&deaf, PollFlags::empty(), 100) {
        assert!(Instant::now() < until, "the connection is still open");
    }
    Visitor::of(&server).ask(GET).expect_page();
}

#[test]
fn resets_at_any_time_are_their_own_affair() {
    let mut server = hello(&[]);
    for sent in ["", "GET / HT", GET, &GET.repeat(100), "hello\r\n"].iter().cycle().take(200) {
        let mut visitor = Visitor::of(&server);
        visitor.send(sent);
        visitor.into_client().reset();
    }
    Visitor::of(&server).ask(GET).expect_page();
    server.signal(rustix::process::Signal::INT);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_thousand_at_once_are_all_served_while_as_many_heads_stay_unfinished() {
    let count = usize::try_from(raise_descriptor_limit() / 4).unwrap_or(usize::MAX).min(1000);
    let server = hello(&[]);
    let mut unfinished: Vec<Visitor> = (0..count).map(|_| Visitor::of(&server)).collect();
    for visitor in &mut unfinished {
        visitor.send("GET / HTTP/1.1\r\n");
    }
    let mut visitors: Vec<Visitor> = (0..count).map(|_| Visitor::of(&server)).collect();
    for _ in 0..3 {
        for visitor in &mut visitors {
            visitor.send(GET);
        }
        for visitor in &mut visitors {
            visitor.answer().expect_page();
        }
    }
    for visitor in &mut unfinished {
        visitor.ask("Host: a\r\n\r\n").expect_page();
    }
}

#[test]
fn a_visitor_for_whom_no_descriptor_is_left_is_told_so_in_http() {
    let server = hello(&[]);
    let mut visitor = Visitor::of(&server);
    visitor.ask(GET).expect_page();
    server.limit_descriptors(None);
    let mut refused = server.connect();
    assert_eq!(refused.line(), "HTTP/1.1 503 Service Unavailable\r");
    assert!(refused.rest().ends_with(b"Connection: close\r\n\r\n"));
    visitor.ask(GET).expect_page();
}
