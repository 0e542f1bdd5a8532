//! What breaks off or goes wrong, and what is left of it: nothing that looks whole.

use std::fs;
use std::process::Command;
use std::time::Instant;

use crate::harness::{DEADLINE, Server, onepoll};
use crate::peers::{
    Answer, Inbox, answer, assert_well, checked, classic, content, done, failure, failure_of, framed, names,
    peak_kib,
};

#[test]
fn a_file_that_is_cut_anywhere_is_gone() {
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
fn a_wrong_hash_is_found() {
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
fn headers_that_lie_are_answered_and_allocate_nothing() {
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
    assert!(peak_kib(&server) < 64 * 1024, "{} KiB", peak_kib(&server));
    let (code, stdout, _) = crate::harness::run(onepoll(&["receive", "--max-size", "many"]));
    assert_eq!((code, stdout.as_str()), (2, ""));
}

#[test]
fn more_than_the_disk_has_is_refused_before_it_comes() {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    let stream = framed(r#"{"filename": "a", "filesize": 9000000000000000000}"#);
    let failure = failure_of(&server, &stream);
    assert!(failure.contains("no room: 9000000000000000000 bytes are to come"), "{failure}");
    assert!(inbox.names().is_empty());
}

#[test]
fn more_bytes_than_announced_are_no_file() {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    for stream in [classic("a", b"content"), checked("a", b"content")] {
        let failure = failure_of(&server, &[&stream[..], b"more"].concat());
        assert!(failure.contains("more bytes came"), "{failure}");
    }
    assert!(inbox.names().is_empty());
}

#[test]
fn kill_leaves_nothing_that_looks_whole_and_the_next_start_removes_the_rest() {
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

#[test]
fn a_start_beside_a_running_receiver_takes_nothing_from_it() {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    let content = content(300_000);
    let stream = checked("a", &content);
    let mut client = server.connect();
    client.send(&stream[..200_000]);
    // The other one's file is there: an answer to a later sender shows that the earlier was heard.
    assert_well(&server);
    let other = inbox.receive(&[]);
    assert_well(&other);
    client.send(&stream[200_000..]);
    done(&mut client, &content);
    assert_eq!(inbox.names(), ["a", "well", "well-1"]);
}

#[test]
fn a_signal_tells_the_senders_and_leaves_nothing() {
    let inbox = Inbox::new();
    let mut server = inbox.receive(&[]);
    let content = content(300_000);
    let mut client = server.connect();
    client.send(&checked("a", &content)[..200_000]);
    assert_well(&server);
    server.signal(rustix::process::Signal::TERM);
    assert!(failure(&mut client).contains("the receiver was stopped"));
    drop(client);
    assert_eq!(server.exit_code(), 0);
    assert_eq!(inbox.names(), ["well"]);
}

#[test]
fn a_silent_sender_is_told_and_let_go() {
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

/// Starts a receiver in a mount namespace of its own, with a disk of one MiB; says so where that cannot be.
fn on_a_small_disk(inbox: &Inbox) -> Option<Server> {
    let script =
        "mount -t tmpfs -o size=1M none \"$1\" || { echo \"no mounts here\"; exit; }; shift; exec \"$@\"";
    let inner = inbox.command(&[]);
    let is_root = rustix::process::geteuid().is_root();
    let mut command = Command::new("unshare");
    command.args(if is_root { &["-m"][..] } else { &["-r", "-m"] });
    command.args(["sh", "-c", script, "sh"]).arg(inbox.path());
    command.arg(inner.get_program()).args(inner.get_args());
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    let probe = Command::new("unshare")
        .args(if is_root { &["-m"][..] } else { &["-r", "-m"] })
        .args(["mount", "-t", "tmpfs", "none"])
        .arg(inbox.path())
        .status();
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no mount namespaces here");
        return None;
    }
    Some(Server::spawn(command))
}

#[test]
fn a_full_disk_is_told_and_the_receiver_goes_on() {
    let inbox = Inbox::new();
    let Some(server) = on_a_small_disk(&inbox) else { return };
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
fn a_limit_on_the_size_of_files_is_an_answer_and_no_end() {
    let inbox = Inbox::new();
    let inner = inbox.command(&[]);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 512; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let server = Server::spawn(command);
    let failure = failure_of(&server, &checked("a", &content(2 << 20)));
    assert!(failure.contains("cannot write: file too large"), "{failure}");
    assert_well(&server);
    assert_eq!(inbox.names(), ["well"]);
}

#[test]
fn without_a_descriptor_for_the_file_the_sender_is_told_and_others_go_on() {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    let content = content(300_000);
    let stream = checked("a", &content);
    let at_first = server.descriptors().len();
    let (mut running, mut late) = (server.connect(), server.connect());
    running.send(&stream[..200_000]);
    // Both are in, and the first has its file, once a later one is answered; and once that one is gone,
    // nothing frees a descriptor.
    assert_well(&server);
    let until = Instant::now() + DEADLINE;
    while server.descriptors().len() != at_first + 3 {
        assert!(Instant::now() < until, "{:?}", server.descriptors());
    }
    server.limit_descriptors(None);
    late.send(checked("b", b"content"));
    assert!(failure(&mut late).contains("b: cannot create a file: too many open files"));
    running.send(&stream[200_000..]);
    done(&mut running, &content);
    server.limit_descriptors(Some(100));
    assert_well(&server);
    assert_eq!(inbox.names(), ["a", "well", "well-1"]);
}

#[test]
fn a_folder_that_is_none_is_told_at_the_start() {
    for folder in ["/does/not/exist", "/dev/null"] {
        let (code, stdout, stderr) =
            crate::harness::run(onepoll(&["receive", folder, "--listen", "127.0.0.1:0"]));
        assert_eq!((code, stdout.as_str()), (1, ""));
        assert!(stderr.contains(&format!("onepoll: receive: {folder}: no")), "{stderr}");
    }
}

#[test]
fn a_sender_that_never_reads_its_answer_holds_up_nobody() {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    let mut silent = server.connect();
    silent.send(checked("a", b"content"));
    assert_well(&server);
    // Its answer waits where the network keeps it.
    assert!(matches!(answer(&mut silent), Answer::Done { .. }));
}

#[test]
fn a_sender_for_whom_no_descriptor_is_left_is_told_so_in_the_protocol() {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    server.limit_descriptors(None);
    let mut refused = server.connect();
    let expected = r#"{"status": "error", "error": "no descriptor is left: try again later"}"#;
    assert_eq!(refused.rest_lines(), [expected]);
}
