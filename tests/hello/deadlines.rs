//! Heads that never end, and silence.

use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::harness::DEADLINE;
use crate::visitor::{GET, Visitor, hello};

#[test]
fn a_head_that_stays_unfinished_is_told_so_and_the_connection_closed() {
    let server = hello(&["--head", "0.1"]);
    for sent in ["G", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r"] {
        let mut visitor = Visitor::of(&server);
        visitor.send(sent);
        assert_eq!(visitor.last_answer().line, "HTTP/1.1 408 Request Timeout");
    }
    // Also behind a request that was whole.
    let mut visitor = Visitor::of(&server);
    visitor.send([GET, "GET"].concat());
    visitor.answer().expect_page();
    assert_eq!(visitor.last_answer().status, 408);
}

#[test]
fn a_byte_now_and_then_does_not_put_the_deadline_off() {
    let server = hello(&["--head", "0.3"]);
    let mut visitor = Visitor::of(&server);
    visitor.send("GET / HTTP/1.1\r\nX: ");
    let until = Instant::now() + DEADLINE;
    let pause = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    // A deadline that each byte put off would not come before the head is too long, which takes minutes.
    loop {
        let descriptor = visitor.source.as_fd();
        let mut polled = [PollFd::new(&descriptor, PollFlags::IN)];
        if rustix::event::poll(&mut polled, Some(&pause)).expect("poll works") > 0 {
            break;
        }
        assert!(Instant::now() < until, "the head is still waited for");
        visitor.send("x");
    }
    assert_eq!(visitor.last_answer().status, 408);
}

#[test]
fn silence_is_ended_without_a_word() {
    let server = hello(&["--idle", "0.5"]);
    Visitor::of(&server).expect_end();
    let mut visitor = Visitor::of(&server);
    visitor.ask(GET).expect_page();
    visitor.expect_end();
}

#[test]
fn a_head_has_its_own_deadline_however_short_silence_may_be() {
    let server = hello(&["--idle", "0.5", "--head", "0"]);
    let mut visitor = Visitor::of(&server);
    let (first, second) = GET.split_at(10);
    visitor.send(first);
    // One who comes later and is silent is closed by its deadline: the other's has passed by then, too.
    Visitor::of(&server).expect_end();
    visitor.ask(second).expect_page();
    // And now it is silent itself.
    visitor.expect_end();
}
