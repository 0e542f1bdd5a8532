//! P55 to P59: files that lie, that break off, or that meet a disk which is full, broken or slow.

use std::fs;

use onepoll::limits;

use crate::crowds::{Guest, server_at};
use crate::faults::{may_trace, memory_kib, speaks_within, wrap};
use crate::harness::{Client, Directory, Server, may_open, on_a_disk_of, onepoll, run, until};
use crate::peers::{Inbox, assert_well, checked, classic, content, done, failure, failure_of, framed, names};

#[test]
fn p55_headers_that_lie_are_answered_and_allocate_nothing() {
    let inbox = Inbox::new();
    let server = inbox.receive(&["--max-size", "1M"]);
    let sized = |size: &str| framed(&format!(r#"{{"filename": "a", "filesize": {size}}}"#));
    for (stream, why) in [
        ((-1_i32).to_le_bytes().to_vec(), "no header's length: -1"),
        (i32::MAX.to_le_bytes().to_vec(), "no header's length"),
        (0_i32.to_le_bytes().to_vec(), "no header's length: 0"),
        (16_385_i32.to_le_bytes().to_vec(), "no header's length: 16385"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), "no header's length"),
        (framed("{]"), "no JSON"),
        (framed("[1]"), "no JSON object"),
        (framed("{}"), "no filename"),
        (framed(r#"{"filename": 5}"#), "no filename"),
        (framed(r#"{"action": "download", "filename": "a"}"#), "not given"),
        (sized("-1"), "filesize -1: no number of bytes"),
        (sized("1.5"), "no number of bytes"),
        (sized("1e9"), "no number of bytes"),
        (sized("007"), "no JSON"),
        (sized("1048577"), "at most 1048576 are taken"),
        (sized("9223372036854775808"), "at most 1048576 are taken"),
        (sized("18446744073709551615"), "at most 1048576 are taken"),
        (sized("18446744073709551616"), "no number of bytes"),
        (framed(r#"{"filename": "a", "filesize": 3, "trailer": "md5"}"#), "only \"blake3\" is known"),
        (
            framed(&format!(r#"{{"filename": "a", "filesize": 3, "trailer": "{}"}}"#, "x".repeat(16_000))),
            "only \"blake3\" is known",
        ),
    ] {
        let failure = failure_of(&server, &stream);
        assert!(failure.contains(why), "{why}: {failure}");
        assert!(failure.len() < 200, "what was sent is sent back: {} bytes", failure.len());
    }
    assert!(inbox.names().is_empty());
    assert!(memory_kib(&server, "VmHWM") < 64 * 1024, "{} KiB", memory_kib(&server, "VmHWM"));
    let (code, stdout, _) = run(onepoll(&["receive", "--max-size", "many"]));
    assert_eq!((code, stdout.as_str()), (2, ""));
}

#[test]
fn p55_more_than_the_disk_has_is_refused_before_it_comes() {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    let stream = framed(r#"{"filename": "a", "filesize": 9000000000000000000}"#);
    let failure = failure_of(&server, &stream);
    assert!(failure.contains("no room: 9000000000000000000 bytes are to come"), "{failure}");
    assert!(inbox.names().is_empty());
}

#[test]
fn p55_more_bytes_than_announced_are_no_file() {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    for stream in [classic("a", b"content"), checked("a", b"content")] {
        let failure = failure_of(&server, &[&stream[..], b"more"].concat());
        assert!(failure.contains("more bytes came"), "{failure}");
    }
    assert!(inbox.names().is_empty());
}

#[test]
fn p56_a_file_that_is_cut_anywhere_is_gone() {
    let inbox = Inbox::new();
    let mut server = inbox.receive(&[]);
    let content = content(1_000_000);
    let stream = checked("a", &content);
    for tenth in 1..10 {
        let mut client = server.connect();
        client.send(&stream[..stream.len() * tenth / 10]);
        if tenth % 2 == 0 {
            client.half_close();
            assert!(failure(&mut client).contains("the connection ended early, after"));
        } else {
            client.reset();
        }
        server.log().until("onepoll: receive: a from");
        assert!(inbox.names().is_empty(), "{:?}", inbox.names());
    }
    // All but the last byte of the hash.
    let mut client = server.connect();
    client.send(&stream[..stream.len() - 1]);
    client.half_close();
    failure(&mut client);
    assert!(inbox.names().is_empty());
    assert_well(&server);
}

#[test]
fn p56_a_wrong_hash_is_found() {
    let inbox = Inbox::new();
    let mut server = inbox.receive(&[]);
    let mut stream = checked("a", &content(200_000));
    let middle = stream.len() / 2;
    stream[middle] ^= 4;
    assert!(failure_of(&server, &stream).contains("do not have the hash that follows them"));
    server.log().until("do not have the hash");
    assert!(inbox.names().is_empty());
}

#[test]
fn p56_kill_leaves_nothing_that_looks_whole_and_the_next_start_removes_the_rest() {
    let inbox = Inbox::new();
    let mut server = inbox.receive(&[]);
    fs::write(inbox.file("mine"), "mine").expect("room");
    let content = content(16 << 20);
    let stream = checked("a", &content);
    let mut client = server.connect();
    // More than any buffer on the way holds.
    client.send(&stream[..12 << 20]);
    server.kill();
    let names = inbox.names();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0].starts_with(".onepoll-new-") && names[1] == "mine", "{names:?}");
    let server = inbox.receive(&[]);
    assert_eq!(inbox.names(), ["mine"]);
    assert_well(&server);
}

/// Starts a receiver in a mount namespace of its own, with a disk of one MiB, where that can be.
#[track_caller]
fn on_a_small_disk(inbox: &Inbox, arguments: &[&str]) -> Option<Server> {
    let command = on_a_disk_of("1M", &inbox.path(), &inbox.command(arguments))?;
    Some(Server::spawn(command))
}

#[test]
fn p57_a_full_disk_is_told_and_the_receiver_goes_on() {
    let inbox = Inbox::new();
    let Some(server) = on_a_small_disk(&inbox, &["--reserve-free", "0"]) else { return };
    let content = content(4 << 20);
    let failure_of_sized = failure_of(&server, &checked("a", &content));
    assert!(failure_of_sized.contains("no room: 4194304 bytes are to come"), "{failure_of_sized}");
    // One whose size nobody knows, and two that would both have had room alone.
    let mut client = server.connect();
    client.send(framed(r#"{"filename": "b", "filesize": "b"}"#));
    client.send(&content[..2 << 20]);
    assert!(failure(&mut client).contains("cannot write: no space left on device"));
    let stream = checked("c", &content[..700_000]);
    let (mut first, mut second) = (server.connect(), server.connect());
    for client in [&mut first, &mut second] {
        client.send(&stream[..100_000]);
        assert_well(&server);
    }
    first.send(&stream[100_000..]);
    done(&mut first, &content[..700_000]);
    second.send(&stream[100_000..]);
    assert!(failure(&mut second).contains("cannot write: no space left on device"));
    let seen = format!("/proc/{}/root{}", server.pid().as_raw_nonzero(), inbox.path().display());
    assert_eq!(names(std::path::Path::new(&seen)), ["c", "well", "well-1"]);
    assert_well(&server);
}

#[test]
fn p57_what_is_to_stay_free_stays_free_and_senders_are_told_before_a_byte_is_taken() {
    let content = content(400_000);
    // The disk has one MiB.
    for (reserve, is_refused, bytes) in
        [("60%", false, 0), ("70%", true, 733_950), ("700K", true, 716_800), ("0", false, 0)]
    {
        let inbox = Inbox::new();
        let Some(server) = on_a_small_disk(&inbox, &["--reserve-free", reserve]) else { return };
        if is_refused {
            let mut client = server.connect();
            client.send(&checked("a", &content)[..100]);
            let failure = failure(&mut client);
            let why = format!("are free, and {bytes} are to stay so (--reserve-free)");
            assert!(failure.contains("a: no room: 400000 bytes are to come"), "{failure}");
            assert!(failure.contains(&why), "{failure}");
        } else {
            let mut client = server.connect();
            client.send(checked("a", &content));
            done(&mut client, &content);
        }
        assert_well(&server);
    }
}

#[test]
fn p57_a_limit_on_the_size_of_files_is_an_answer_and_no_end() {
    let inbox = Inbox::new();
    let mut command = inbox.command(&[]);
    wrap(&mut command, &["/bin/sh", "-c", "ulimit -f 512; exec \"$@\"", "sh"]);
    let server = Server::spawn(command);
    let failure = failure_of(&server, &checked("a", &content(2 << 20)));
    assert!(failure.contains("cannot write: file too large"), "{failure}");
    assert_well(&server);
    assert_eq!(inbox.names(), ["well"]);
}

/// A receiver with faults in its system calls, and the trace of them in a file.
#[track_caller]
fn with_faults(inbox: &Inbox, arguments: &[&str], expressions: &[&str], trace: &Directory) -> Option<Server> {
    if !may_trace() {
        return None;
    }
    let file = trace.file("trace").display().to_string();
    let expressions = expressions.iter().flat_map(|expression| ["-e", expression]);
    let strace: Vec<&str> = ["strace", "-D", "-qq", "-o", &file].into_iter().chain(expressions).collect();
    let mut command = inbox.command(arguments);
    wrap(&mut command, &strace);
    Some(Server::spawn(command))
}

#[test]
fn p57_whatever_the_disk_says_the_sender_hears_it_and_nothing_is_left() {
    let trace = Directory::new();
    let content = content(200_000);
    for (fault, arguments, said) in [
        ("pwrite64:error=ENOSPC:when=2", &[][..], "cannot write: no space left on device"),
        ("pwrite64:error=EDQUOT:when=2", &[], "cannot write: disk quota exceeded"),
        ("pwrite64:error=EIO:when=5", &[], "cannot write: input/output error"),
        ("pwrite64:error=EFBIG:when=1", &[], "cannot write: file too large"),
        ("pwrite64:retval=0:when=2", &[], "cannot write: the disk takes nothing"),
        // The first is the receiver's, as it starts.
        ("fstatfs:error=EIO:when=2", &[], "a: cannot see what is free: input/output error"),
        ("flock:error=ENOLCK:when=2", &[], "a: cannot create a file: no locks available"),
        ("renameat2:error=EIO:when=1", &[], "a: cannot be given its name: input/output error"),
        ("fsync:error=EIO:when=1", &["--sync"], "a: cannot be given its name: input/output error"),
    ] {
        let inbox = Inbox::new();
        let inject = format!("inject={fault}");
        let Some(server) = with_faults(&inbox, arguments, &[&inject], &trace) else { return };
        let failure = failure_of(&server, &checked("a", &content));
        assert!(failure.contains(said), "{fault}: {failure}");
        assert_well(&server);
        assert_eq!(inbox.names(), ["well"], "{fault}");
    }
}

#[test]
fn p57_writes_that_are_interrupted_lose_nothing() {
    let (inbox, trace) = (Inbox::new(), Directory::new());
    let faults = ["inject=pwrite64:error=EINTR:when=2+3"];
    let Some(server) = with_faults(&inbox, &[], &faults, &trace) else { return };
    let content = content(200_000);
    let mut client = server.connect();
    client.send(checked("a", &content));
    done(&mut client, &content);
    assert!(inbox.read("a") == content);
    let trace = fs::read_to_string(trace.file("trace")).expect("a trace");
    assert!(trace.contains("EINTR"), "nothing was interrupted");
}

#[test]
fn p58_a_slow_disk_holds_the_others_up_for_one_bounded_chunk_at_a_time() {
    let (inbox, trace) = (Inbox::new(), Directory::new());
    // What is promised: the disk is waited for, but never for more than a few chunks before the others' turn.
    let faults = ["trace=pwrite64,epoll_wait", "inject=pwrite64:delay_enter=50000"];
    let Some(mut server) = with_faults(&inbox, &[], &faults, &trace) else { return };
    let content = content(32 * limits::WRITE_CHUNK_BYTES);
    let mut slow = server.connect();
    slow.send(checked("slow", &content));
    let mut answered = 0;
    while !speaks_within(slow.tcp(), 0) {
        assert!(failure_of(&server, &framed("{]")).contains("no JSON"));
        answered += 1;
    }
    done(&mut slow, &content);
    drop(slow);
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.exit_code(), 0);
    let log = String::from_utf8(server.log().rest()).expect("text");
    assert!(log.contains("warn: a turn took "), "the operator does not hear of it: {log}");
    // How many, only a machine that has nothing else to do could promise: others have their turn in between, as the
    // trace shows.
    assert!(answered > 0, "nobody else was answered while the disk was slow");
    let trace = fs::read_to_string(trace.file("trace")).expect("a trace");
    let mut in_a_row = 0;
    for line in trace.lines() {
        in_a_row = if line.starts_with("pwrite64") { in_a_row + 1 } else { 0 };
        // 64 KiB.
        assert!(in_a_row <= 4, "{trace}");
        if let Some((_, bytes)) = line.rsplit_once(" = ").filter(|_| in_a_row > 0) {
            let bytes =
                bytes.split(' ').next().and_then(|bytes| bytes.parse::<usize>().ok()).expect("a count");
            assert!(bytes <= limits::WRITE_CHUNK_BYTES, "{line}");
        }
    }
}

#[test]
fn p59_a_silent_sender_is_told_and_let_go() {
    let inbox = Inbox::new();
    let server = inbox.receive(&["--idle", "0.2"]);
    let stream = checked("a", &content(1000));
    for bytes in [0, 3, 10, 500] {
        let mut client = server.connect();
        client.send(&stream[..bytes]);
        let failure = failure(&mut client);
        assert!(failure.contains("nothing came for 200ms"), "{failure}");
    }
    assert!(inbox.names().is_empty());
}

#[test]
fn p59_a_sender_that_always_says_something_has_a_deadline_too() {
    let inbox = Inbox::new();
    let server = inbox.receive(&["--idle", "60", "--deadline", "0.5"]);
    let stream = checked("a", &content(100_000));
    // In its header, and in the file: a byte now and then puts neither off.
    for begun in [1, 500] {
        let mut client = server.connect();
        client.send(&stream[..begun]);
        for byte in &stream[begun..] {
            if speaks_within(client.tcp(), 20) {
                break;
            }
            client.send([*byte]);
        }
        let failure = failure(&mut client);
        let why = "took longer than 500ms and a second for each KiB that came (--deadline)";
        assert!(failure.contains(why), "{failure}");
    }
    // Each KiB that came was worth a second.
    let mut client = server.connect();
    client.send(&stream[..90_000]);
    assert!(!speaks_within(client.tcp(), 1000));
    client.send(&stream[90_000..]);
    done(&mut client, &content(100_000));
    assert_eq!(inbox.names(), ["a"]);
}

#[test]
fn p59_a_thousand_that_begin_and_send_nothing_more_keep_nobody_out() {
    const HOARDERS: usize = 1000;
    if !may_open(4 * HOARDERS as u64) {
        return;
    }
    let inbox = Inbox::new();
    let server = inbox.receive(&["--max-transfers", "1001", "--quiet"]);
    let content = content(1000);
    let mut hoarders: Vec<Client> = (0..HOARDERS)
        .map(|n| {
            let mut client = server.connect();
            client.send(&checked(&n.to_string(), &content)[..100]);
            client
        })
        .collect();
    assert_well(&server);
    // One more is too many while the last one's place is taken.
    let mut last = server.connect();
    last.send(&checked("last", &content)[..100]);
    let mut refused = server.connect();
    assert!(failure(&mut refused).contains("1001 transfers are running: try again later"));
    assert!(memory_kib(&server, "VmHWM") < 64 * 1024, "{} KiB", memory_kib(&server, "VmHWM"));
    for (n, client) in hoarders.iter_mut().enumerate() {
        client.send(&checked(&n.to_string(), &content)[100..]);
    }
    for client in &mut hoarders {
        done(client, &content);
    }
    assert_eq!(inbox.names().len(), HOARDERS + 2, "the thousand, the one that is well, and a part");
}

#[test]
fn p59_transfers_are_bounded_by_the_descriptors_that_there_are() {
    let inbox = Inbox::new();
    let mut command = inbox.command(&["--quiet"]);
    wrap(&mut command, &["/bin/sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"]);
    let server = Server::spawn(command);
    let content = content(1000);
    // Each has a socket and a file, and 32 descriptors are the receiver's own.
    let mut begun: Vec<Client> = (0..16).map(|_| server.connect()).collect();
    for (n, client) in begun.iter_mut().enumerate() {
        client.send(&checked(&n.to_string(), &content)[..500]);
    }
    let mut refused = server.connect();
    assert!(failure(&mut refused).contains("16 transfers are running: try again later"));
    assert!(server.descriptors().len() <= 64);
    for (n, client) in begun.iter_mut().enumerate() {
        client.send(&checked(&n.to_string(), &content)[500..]);
        done(client, &content);
    }
    assert_eq!(inbox.names().len(), 16);
}

#[test]
fn p59_one_address_takes_only_its_share_of_the_transfers() {
    let inbox = Inbox::new();
    let command = inbox.command(&["--max-per-ip", "3", "--listen", "198.51.100.1:0"]);
    let addresses = ["198.51.100.1/24", "198.51.100.2/24"];
    let Some(server) = server_at(&addresses, command) else { return };
    let descriptors = server.descriptors().len();
    let mut greedy: Vec<Guest> = (0..4).map(|_| Guest::from(&server, "198.51.100.1")).collect();
    // Which of them came first, only the kernel knows; who is let in hears nothing as yet.
    until("one too many is told so", || greedy.iter().any(|guest| speaks_within(&guest.lines.source, 0)));
    let refused = greedy.iter().position(|guest| speaks_within(&guest.lines.source, 0)).expect("one is");
    let told = greedy.remove(refused).lines.line();
    assert!(told.contains("3 transfers from your address are running, the most (--max-per-ip)"), "{told}");
    // Another address's share is its own.
    let mut other = Guest::from(&server, "198.51.100.2");
    other.say(&checked("a", b"content"));
    assert!(other.lines.line().contains("\"status\": \"ok\""));
    assert_eq!(inbox.names().iter().filter(|name| *name == "a").count(), 1);
    // And a place that is left is free again.
    drop((greedy, other));
    until("the server has seen their ends", || server.descriptors().len() == descriptors);
    let mut next = Guest::from(&server, "198.51.100.1");
    next.say(&checked("b", b"content"));
    assert!(next.lines.line().contains("\"status\": \"ok\""));
}
