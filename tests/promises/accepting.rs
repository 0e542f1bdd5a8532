//! P1 to P6: newcomers, and a kernel that cannot take them.

use std::time::Instant;

use crate::harness::{Client, DEADLINE, Server, raise_descriptor_limit};

#[test]
fn p01_who_waited_for_a_descriptor_is_served_when_one_is_free() {
    let server = Server::bare(&[]);
    let mut ann = server.join();
    let until = Instant::now() + DEADLINE;
    // A machine that is slow to give the descriptors back sees the newcomer refused: then once more.
    loop {
        assert!(Instant::now() < until, "every newcomer was refused");
        server.limit_descriptors(None);
        let mut waiting = server.connect();
        // The server has tried to accept it, in vain, by the time that ann is answered.
        ann.fence();
        assert!(ann.fence().is_empty());
        server.limit_descriptors(Some(1000));
        let greeting = waiting.line();
        if greeting.contains("you are") {
            break;
        }
        assert_eq!(greeting, "-- the server is full: try again later --");
    }
}

#[test]
fn p01_without_descriptors_newcomers_are_told_members_served_and_nothing_spins() {
    let mut server = Server::bare(&["--idle", "3"]);
    let mut ann = server.join();
    server.limit_descriptors(None);
    let before = server.cpu_ticks();
    for _ in 0..5 {
        let mut refused = server.connect();
        assert_eq!(refused.rest_lines(), ["-- the server is full: try again later --"]);
        assert!(ann.fence().is_empty());
    }
    assert!(ann.rest_lines()[0].contains("you said nothing"));
    let used = server.cpu_ticks() - before;
    assert!(used <= 30, "{used} ticks of 10 ms in 3 s");
    server.log().until("refused: server full");
}

#[test]
fn p05_two_thousand_who_connect_at_once_are_all_greeted() {
    let limit = raise_descriptor_limit();
    if limit < 2500 {
        eprintln!("skipped: {limit} descriptors are too few for 2,000 clients");
        return;
    }
    let server = Server::start(&["--max-clients", "2200", "--quiet"]);
    // Stopped, the server finds them all waiting at once.
    let mut crowd: Vec<Client> = server.in_one_turn(|| (0..2000).map(|_| server.connect()).collect());
    for member in &mut crowd {
        member.expect("-- you are ");
    }
    let last = crowd.last_mut().expect("one");
    last.say("hello everyone");
    for member in &mut crowd {
        member.expect("hello everyone");
    }
}

#[test]
fn p06_who_resets_before_it_is_accepted_is_no_loss() {
    let server = Server::bare(&[]);
    let mut ann = server.join();
    server.in_one_turn(|| (0..300).for_each(|_| server.connect().reset()));
    server.join();
    ann.ask_until("/who", "-- 1 in lobby");
}
