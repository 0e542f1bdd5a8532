//! P9 to P13: what the kernel says once, says in vain, or does not say at all.

use rustix::process::Signal;

use crate::faults::{Strace, speaks_within};
use crate::harness::{Client, DEADLINE, Server, until, untimed};

#[test]
fn p09_interrupted_system_calls_are_made_again_and_nothing_is_lost() {
    let mut server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    let mut bob = server.join();
    let traced = "epoll_wait,accept4,recvfrom,sendto,writev";
    let inject = format!("{traced}:error=EINTR:when=1..30+2");
    let Some(strace) = Strace::attach(&server, traced, &[&inject]) else { return };
    for number in 0..50 {
        assert_eq!(ann.echo(&number.to_string()), format!("ann: {number}"));
        assert_eq!(untimed(&bob.line()), format!("ann: {number}"));
        server.join().reset();
    }
    let calls = strace.detach();
    for call in ["epoll_wait(", "accept4(", "recvfrom(", "sendto("] {
        let is_met = calls.iter().any(|line| line.starts_with(call) && line.contains("INJECTED"));
        assert!(is_met, "no {call} was interrupted");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn p09_an_interrupted_wait_goes_on_for_what_is_left_of_it() {
    let server = Server::bare(&["--idle", "1"]);
    let mut idler = server.join();
    let until = std::time::Instant::now() + DEADLINE;
    // Were the second waited for anew after each interruption, it would never pass.
    while !speaks_within(&idler.source, 100) {
        assert!(std::time::Instant::now() < until, "the deadline is put off");
        server.in_one_turn(|| ());
    }
    assert_eq!(idler.rest_lines(), ["-- you said nothing for 1 s: closing --"]);
}

#[test]
fn p11_what_the_budget_of_a_turn_leaves_unread_needs_no_further_event() {
    use onepoll::limits::{CONNECTION_READS_PER_TURN_MAX, READ_BYTES_MAX};
    let server = Server::bare(&["--rate", "off", "--no-echo"]);
    let mut ann = server.join_as("ann");
    let mut bob = server.join();
    let line = format!("{}\n", "x".repeat(4000));
    let count = 3 * CONNECTION_READS_PER_TURN_MAX * READ_BYTES_MAX / line.len();
    server.in_one_turn(|| ann.send(line.repeat(count)));
    for _ in 0..count {
        bob.expect("ann: xxx");
    }
    assert!(bob.fence().is_empty());
}

#[test]
fn p12_what_is_due_to_one_who_left_never_reaches_who_has_its_place() {
    let server = Server::bare(&["--rate", "off"]);
    let mut crowd: Vec<Client> = (0..30).map(|_| server.join()).collect();
    for round in 0..10 {
        // In one turn: what they asked, their resets, and as many newcomers.
        crowd = server.in_one_turn(|| {
            for mut client in crowd.drain(..) {
                client.say(&format!("/ping {round}"));
                client.reset();
            }
            (0..30).map(|_| server.connect()).collect()
        });
        crowd = crowd.into_iter().map(Client::greeted).collect();
        for client in &mut crowd {
            assert!(client.fence().is_empty(), "somebody else's reply");
        }
    }
    crowd[0].ask_until("/who", "; 29 listening --");
}

#[test]
fn p13_many_who_come_and_go_leave_no_descriptor_behind() {
    let server = Server::bare(&[]);
    let mut ann = server.join();
    ann.fence();
    let before = server.descriptors();
    for round in 0..500 {
        let mut bob = server.connect();
        match round % 5 {
            0 => drop(bob.greeted()),
            1 => bob.reset(),
            2 => drop(bob),
            3 => {
                bob.say("quit");
                bob.rest();
            }
            _ => {
                bob.half_close();
                bob.rest();
            }
        }
    }
    ann.ask_until("/who", "-- 1 in lobby");
    until("the descriptors are those of before", || server.descriptors() == before);
}
