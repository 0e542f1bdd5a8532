//! Those who would have others read what they chose, and those who would hold up the chat.

use crate::harness::{BARE, Client};
use crate::reader::{answer_to, ask, get, parse, watched, without_digits};

/// What would do harm on one page or the other, if it got there.
const HOSTILE: [&str; 8] =
    ["onepoll_lies_total", "\"}", "\\n", "{reason=\"x\"}", "# TYPE", "\u{202e}nan", "小明", "Ω≈ç"];

#[test]
fn p64_the_pages_do_not_grow_with_names_however_many_and_whatever_they_are() {
    let mut watched = watched(&[&BARE[..], &["--rate", "off", "--max-rooms", "100"]].concat());
    let address = watched.address.clone();
    let pages = || ["/metrics", "/stats"].map(|path| without_digits(&get(&address, path).body));
    let before = pages();
    let mut clients: Vec<Client> = (0..10).map(|_| watched.server.join()).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        for number in 0..1000 / 50 {
            let mut lines = String::new();
            for batch in 0..50 {
                let number = number * 50 + batch;
                let hostile = HOSTILE[number % HOSTILE.len()];
                lines += &format!("/nick {hostile}{at}x{number}\n");
            }
            lines += &format!("/join {}{number}\nsay {0}\n/msg {0} {0}\n", HOSTILE[number % HOSTILE.len()]);
            client.send(lines);
            client.fence();
        }
    }
    assert_eq!(watched.figure("connections_open"), 10.0);
    assert!(watched.figure("lines_received_total") >= 10_000.0);
    let after = pages();
    assert_eq!(before, after);
    let table = watched.server.answer("clients").join("\n");
    assert!(table.contains("小明") || table.contains("Ω≈ç"), "some of them are called so: {table}");
    for name in HOSTILE.iter().filter(|name| !["\"}", "# TYPE"].contains(name)) {
        assert!(after.iter().all(|page| !page.contains(name)), "{name}");
    }
}

#[test]
fn visitors_who_ask_nothing_hold_up_nobody_and_go_when_their_time_is_over() {
    let watched = watched(&BARE);
    let mut silent: Vec<Client> = (0..8).map(|_| Client::connect(&watched.address)).collect();
    silent[0].send("GET /metrics HTTP/1.1\r\n");
    // The ninth: once it was refused, the others are in.
    let refused = answer_to(&mut Client::connect(&watched.address));
    assert_eq!(refused.status, 503);
    let mut ann = watched.server.join();
    let mut bob = watched.server.join();
    for number in 0..100 {
        ann.echo(&format!("number {number}"));
        bob.expect(&format!("number {number}"));
    }
    assert_eq!(answer_to(&mut silent[0]).status, 408);
    for client in &mut silent[1..] {
        assert_eq!(client.rest(), b"", "who said nothing is told nothing");
    }
    drop(silent);
    ann.echo("still here");
    watched.expect("connections_accepted_total", 2.0);
}

#[test]
fn a_scraper_that_never_stops_asking_does_not_stop_the_chat() {
    let watched = watched(&BARE);
    let (mut ann, mut bob) = (watched.server.join(), watched.server.join());
    for number in 0..200 {
        let asking: Vec<Client> = (0..3)
            .map(|_| {
                let mut client = Client::connect(&watched.address);
                client.send("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
                client
            })
            .collect();
        ann.echo(&format!("number {number}"));
        bob.expect(&format!("number {number}"));
        // A place is free again once the server has seen the end of who had it; until then the next is told so.
        for mut client in asking {
            assert!([200, 503].contains(&answer_to(&mut client).status));
        }
    }
    watched.expect("connections_accepted_total", 2.0);
}

#[test]
fn garbage_is_answered_once_and_the_chat_goes_on() {
    let watched = watched(&BARE);
    let mut ann = watched.server.join();
    let long = [b"GET /".as_slice(), &b"x".repeat(100_000)].concat();
    let fields = [b"GET / HTTP/1.1\r\n".as_slice(), &b"A: b\r\n".repeat(10_000)].concat();
    for (garbage, status) in [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), 400),
        (&b"\0".repeat(1000), 400),
        (b"\xff\xfe\xfd\r\n\r\n", 400),
        (&long, 414),
        (&fields, 431),
        (b"GET /metrics HTTP/1.1\nHost: a\n\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /metrics\x1b[2J HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ] {
        let answer = ask(&watched.address, garbage);
        assert_eq!(answer.status, status, "{answer:?}");
        // What was sent is not sent back.
        assert!(answer.body.is_ascii() && answer.body.len() < 200, "{answer:?}");
        ann.echo("still here");
    }
    parse(&watched.page());
}
