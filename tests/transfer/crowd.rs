//! Many at once, and those that mean harm: nobody waits for anybody.

use std::time::Instant;

use crate::harness::{Client, DEADLINE, Directory};
use crate::peers::{Inbox, answer, assert_well, checked, content, done, failure, peak_kib, put, send};

#[test]
fn fifty_at_once_all_get_through() {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    let contents: Vec<Vec<u8>> = (0..50).map(|n| content(200_000 + n)).collect();
    let streams: Vec<Vec<u8>> =
        contents.iter().enumerate().map(|(n, content)| checked(&n.to_string(), content)).collect();
    let mut clients: Vec<Client> = contents.iter().map(|_| server.connect()).collect();
    for begin in (0..200_200).step_by(30_000) {
        for (client, stream) in clients.iter_mut().zip(&streams) {
            client.send(&stream[begin.min(stream.len())..(begin + 30_000).min(stream.len())]);
        }
    }
    for ((n, client), content) in clients.iter_mut().enumerate().zip(&contents) {
        done(client, content);
        assert!(inbox.read(&n.to_string()) == *content);
    }
    assert_eq!(inbox.names().len(), 50);
}

#[test]
fn one_byte_at_a_time_is_a_file_too_and_holds_up_nobody() {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    let stream = checked("slow", b"byte by byte");
    let mut slow = server.connect();
    for byte in stream {
        slow.send([byte]);
        assert_well(&server);
    }
    done(&mut slow, b"byte by byte");
}

#[test]
fn a_sender_that_has_its_answer_has_left_its_place() {
    let inbox = Inbox::new();
    let server = inbox.receive(&["--max-transfers", "1"]);
    let mut before = server.connect();
    before.send(checked("a", b"a"));
    for _ in 0..20 {
        answer(&mut before);
        // It reads no further, and does not close: the receiver waits for that.
        let mut next = server.connect();
        next.send(checked("a", b"a"));
        before = next;
    }
    done(&mut before, b"a");
    assert_eq!(inbox.names().len(), 21);
}

#[test]
fn resets_at_any_point_leave_nothing_and_hurt_nobody() {
    let inbox = Inbox::new();
    let server = inbox.receive(&["--quiet"]);
    let content = content(100_000);
    let stream = checked("a", &content);
    for n in 0..200 {
        let mut client = server.connect();
        client.send(&stream[..n * 500]);
        client.reset();
    }
    // When the receiver hears of them, only it knows; until then it has other work.
    let until = Instant::now() + DEADLINE;
    while inbox.names().iter().any(|name| name.starts_with(".onepoll")) {
        assert_well(&server);
        assert!(Instant::now() < until, "parts are left: {:?}", inbox.names());
    }
    assert!(inbox.names().iter().all(|name| name.starts_with("well")), "{:?}", inbox.names());
}

#[test]
fn who_sends_on_after_a_refusal_is_not_listened_to_and_hears_it_all_the_same() {
    let inbox = Inbox::new();
    let server = inbox.receive(&["--max-size", "1M"]);
    let content = content(8 << 20);
    let stream = checked("a", &content);
    let mut client = server.connect();
    client.send(&stream);
    assert!(failure(&mut client).contains("at most 1048576 are taken"));
    assert!(inbox.names().is_empty());
}

#[test]
fn a_receiver_that_waits_uses_no_processor() {
    let inbox = Inbox::new();
    let server = inbox.receive(&["--idle", "1000"]);
    let mut waiting = server.connect();
    waiting.send(&checked("a", &content(100_000))[..80_000]);
    let mut kept = server.connect();
    let header = crate::peers::Header {
        name: "b".into(),
        bytes: Some(100_000),
        has_trailer: true,
        resume: Some("17".into()),
    };
    kept.send(header.encode());
    answer(&mut kept);
    assert_well(&server);
    let voluntary = || {
        let status = server.proc("status");
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).expect("a count");
        line.rsplit('\t').next().and_then(|count| count.parse::<u64>().ok()).expect("a number")
    };
    let (ticks, switches) = (server.cpu_ticks(), voluntary());
    assert_well(&server);
    // Serving one small file takes a handful of turns: whoever spins takes thousands.
    assert!(server.cpu_ticks() - ticks < 20 && voluntary() - switches < 100);
}

#[test]
fn a_large_file_costs_no_more_memory_than_a_small_one() {
    let (inbox, directory) = (Inbox::new(), Directory::new());
    let server = inbox.receive(&[]);
    let small = put(&directory, "small", &content(1 << 20));
    let large = put(&directory, "large", &content(100 << 20));
    assert_eq!(send(&[&small, &server.addresses[0]]).0, 0);
    let before = peak_kib(&server);
    assert_eq!(send(&[&large, &server.addresses[0]]).0, 0);
    let after = peak_kib(&server);
    assert!(after - before < 2 * 1024, "{before} KiB became {after} KiB");
}
