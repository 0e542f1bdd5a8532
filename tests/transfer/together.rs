//! `onepoll send` and `onepoll receive` with each other: flags, conflicts, exit codes.

use std::fs;

use crate::harness::{Directory, is_installed, need, nobodys_address, onepoll, run, tool};
use crate::peers::{Inbox, assert_well, checked, content, done, failure, framed, put, send};

#[test]
fn files_of_any_size_arrive_as_they_are() {
    let (inbox, directory) = (Inbox::new(), Directory::new());
    let server = inbox.receive(&[]);
    let sizes = [0, 1, 65_535, 65_536, 65_537, 1_000_000, 20 << 20];
    let files: Vec<String> =
        sizes.iter().map(|bytes| put(&directory, &format!("{bytes}.bin"), &content(*bytes))).collect();
    let mut arguments: Vec<&str> = files.iter().map(String::as_str).collect();
    arguments.push(&server.addresses[0]);
    let (code, said) = send(&arguments);
    assert_eq!(code, 0, "{said}");
    for bytes in sizes {
        let content = content(bytes);
        assert!(inbox.read(&format!("{bytes}.bin")) == content, "{bytes}");
        assert!(said.contains(&format!(".bin: {bytes} bytes, blake3 {}", blake3::hash(&content))), "{said}");
    }
}

#[test]
fn a_unix_socket_does_as_well() {
    let (inbox, directory) = (Inbox::new(), Directory::new());
    let socket = directory.socket("files");
    let server = inbox.receive(&["--listen", &socket]);
    let path = put(&directory, "a", &content(1 << 20));
    for flags in [&[][..], &["--resume"], &["--classic"]] {
        let (code, said) = send(&[flags, &[&path, &server.addresses[0]]].concat());
        assert_eq!(code, 0, "{said}");
    }
    assert_eq!(inbox.names(), ["a", "a-1", "a-2"]);
}

#[test]
fn once_is_once_and_its_exit_code_tells_how_it_went() {
    let (inbox, directory) = (Inbox::new(), Directory::new());
    let path = put(&directory, "a", b"hello");
    let mut server = inbox.receive(&["--once"]);
    // Who only looks whether somebody is there, or speaks something else, is no transfer.
    drop(server.connect());
    let mut other = server.connect();
    other.send("GET / HTTP/1.1\r\n\r\n");
    failure(&mut other);
    drop(other);
    let (code, said) = send(&[&path, &server.addresses[0]]);
    assert_eq!((code, server.exit_code()), (0, 0), "{said}");
    let mut server = inbox.receive(&["--once", "--on-conflict", "error"]);
    let (code, said) = send(&[&path, &server.addresses[0]]);
    assert!(said.contains("the receiver says: a exists already"), "{said}");
    assert_eq!((code, server.exit_code()), (1, 1));
    let mut server = inbox.receive(&["--once"]);
    let mut cut = server.connect();
    cut.send(&checked("b", &content(1000))[..500]);
    cut.reset();
    assert_eq!(server.exit_code(), 1);
    // Nothing came before the signal: that is no success.
    let mut server = inbox.receive(&["--once"]);
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.exit_code(), 1);
}

#[test]
fn once_takes_the_first_and_tells_the_others() {
    let inbox = Inbox::new();
    let mut server = inbox.receive(&["--once"]);
    let content = content(300_000);
    let stream = checked("a", &content);
    let (mut first, mut second) = (server.connect(), server.connect());
    first.send(&stream[..200_000]);
    server.log().until("a from");
    second.send(&stream);
    assert!(failure(&mut second).contains("another sender was first"));
    drop(second);
    first.send(&stream[200_000..]);
    done(&mut first, &content);
    drop(first);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_name_that_is_taken_is_settled_as_the_operator_wants() {
    for (policy, expected) in [("rename", Some("a-1.txt")), ("overwrite", None)] {
        let (inbox, directory) = (Inbox::new(), Directory::new());
        let server = inbox.receive(&["--on-conflict", policy]);
        fs::write(inbox.file("a.txt"), "old").expect("room");
        let path = put(&directory, "a.txt", b"new");
        let (code, said) = send(&[&path, &server.addresses[0]]);
        assert_eq!(code, 0, "{said}");
        assert_eq!(inbox.read(expected.unwrap_or("a.txt")), b"new");
        assert_eq!(said.contains(", as a-1.txt"), expected.is_some(), "{said}");
        assert_eq!(inbox.read("a.txt") == b"old", expected.is_some());
    }
}

#[test]
fn two_senders_of_one_name_race_and_neither_is_lost_unseen() {
    for policy in ["rename", "error", "overwrite"] {
        let inbox = Inbox::new();
        let server = inbox.receive(&["--on-conflict", policy]);
        let (one, two) = (content(200_000), content(200_001));
        let (mut first, mut second) = (server.connect(), server.connect());
        let streams = [checked("a", &one), checked("a", &two)];
        first.send(&streams[0][..100_000]);
        second.send(&streams[1][..100_000]);
        assert_well(&server);
        second.send(&streams[1][100_000..]);
        done(&mut second, &two);
        first.send(&streams[0][100_000..]);
        match policy {
            "rename" => assert_eq!(done(&mut first, &one).as_deref(), Some("a-1")),
            "error" => assert!(failure(&mut first).contains("a exists already")),
            _ => assert_eq!(done(&mut first, &one), None),
        }
        assert!(inbox.read("a") == if policy == "overwrite" { one } else { two }, "{policy}");
    }
}

#[test]
fn a_file_that_fails_does_not_keep_the_others_back() {
    let (inbox, directory) = (Inbox::new(), Directory::new());
    let server = inbox.receive(&["--max-size", "1K"]);
    let large = put(&directory, "large", &[7; 2000]);
    let small = put(&directory, "small", b"hello");
    let missing = directory.file("missing").display().to_string();
    let folder = directory.file(".").display().to_string();
    let (code, said) = send(&[&missing, &large, &folder, "/dev/null", &small, &server.addresses[0]]);
    assert_eq!(code, 1);
    for expected in [
        "missing: no such file or directory",
        "large: the receiver says: large: 2000 bytes, and at most 1024 are taken (--max-size)",
        "/.: it is a folder, and only files are sent",
        "/dev/null: it is no regular file",
        "small: 5 bytes, blake3 ",
        "onepoll: send: 4 of 5 files did not get through",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(inbox.names(), ["small"]);
}

#[test]
fn exit_codes_tell_what_kind_of_failure_it_was() {
    let directory = Directory::new();
    let path = put(&directory, "a", b"hello");
    let (_held, address) = nobodys_address();
    let (code, said) = send(&[&path, &address]);
    assert_eq!(code, 4);
    assert!(said.contains("connection refused; is the receiver running? (onepoll receive)"), "{said}");
    let (code, said) = send(&[&path, &directory.socket("nobody")]);
    assert!(code == 4 && said.contains("no such file or directory"), "{said}");
    for arguments in [&[][..], &[&*path], &[&path, "nowhere"], &[&path, "udp:127.0.0.1:1"]] {
        assert_eq!(send(arguments).0, 2, "{arguments:?}");
    }
    assert_eq!(send(&["--classic", "--resume", &path, &address]).0, 2);
    for arguments in [
        &["--max-transfers", "0"][..],
        &["--max-transfers", "1000000000"],
        &["--idle", "0"],
        &["--on-conflict", "ask"],
        &["--listen", "udp:127.0.0.1:0"],
    ] {
        assert_eq!(run(onepoll(&[&["receive"], arguments].concat())).0, 2, "{arguments:?}");
    }
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    let (code, _, stderr) = run(inbox.command(&["--listen", &server.addresses[0]]));
    assert_eq!(code, 3, "{stderr}");
}

#[test]
fn a_receiver_that_stalls_is_given_up() {
    let directory = Directory::new();
    let path = put(&directory, "a", &content(32 << 20));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let (code, said) = send(&["--timeout", "0.3", &path, &address]);
    assert!(code == 1 && said.contains("took nothing and said nothing for 300ms"), "{said}");
}

#[test]
fn a_file_of_the_kernel_that_has_no_size_is_not_sent_as_an_empty_one() {
    let is_met = fs::metadata("/proc/self/status").is_ok_and(|metadata| metadata.len() == 0);
    if !need(is_met, "/proc has no files without a size here", "[ \"$(stat -c %s /proc/self/status)\" = 0 ]")
    {
        return;
    }
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    let (code, said) = send(&["/proc/self/status", &server.addresses[0]]);
    assert!(code == 1 && said.contains("it has more than the 0 bytes that its size says"), "{said}");
    assert_eq!(inbox.names(), [""; 0]);
}

#[test]
fn a_file_that_changes_while_it_is_sent_is_told_and_does_not_arrive() {
    use std::io::{Read, Write};
    for grows in [true, false] {
        let directory = Directory::new();
        let path = put(&directory, "a", &content(32 << 20));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        std::thread::scope(|scope| {
            let sent = scope.spawn(|| send(&[&path, &address]));
            let (mut sender, _) = listener.accept().expect("a sender");
            sender.set_read_timeout(Some(crate::harness::DEADLINE)).expect("a timeout");
            // It cannot have read all of it yet: the network holds less.
            sender.read_exact(&mut [0; 1000]).expect("the beginning");
            let mut file = fs::File::options().append(true).open(&path).expect("it is there");
            if grows {
                file.write_all(b"more").expect("room");
            } else {
                file.set_len(31 << 20).expect("shorter");
            }
            let mut rest = Vec::new();
            sender.read_to_end(&mut rest).expect("it ends");
            assert!(rest.len() < (32 << 20) + 32, "all of it came, and a hash");
            drop(sender);
            let (code, said) = sent.join().expect("it ends");
            let why =
                if grows { "it changed while it was sent" } else { "it became shorter while it was sent" };
            assert!(code == 1 && said.contains(why), "{said}");
        });
    }
}

#[test]
fn with_sync_it_is_the_same_file() {
    let (inbox, directory) = (Inbox::new(), Directory::new());
    let server = inbox.receive(&["--sync"]);
    let content = content(3 << 20);
    let path = put(&directory, "a", &content);
    let (code, said) = send(&[&path, &server.addresses[0]]);
    assert_eq!(code, 0, "{said}");
    assert!(inbox.read("a") == content);
}

#[test]
fn help_tells_what_it_teaches() {
    for command in ["receive", "send"] {
        let (code, stdout, _) = run(onepoll(&[command, "--help"]));
        assert!(code == 0 && stdout.contains("What it teaches: ") && stdout.contains("Try it: "), "{stdout}");
    }
}

#[test]
fn socat_can_send_a_file_by_hand() {
    if !is_installed("socat") {
        return;
    }
    let (inbox, directory) = (Inbox::new(), Directory::new());
    let server = inbox.receive(&[]);
    let stream = put(
        &directory,
        "stream",
        &[framed(r#"{"filename": "a", "filesize": 5}"#), b"hello".to_vec()].concat(),
    );
    let output = tool("socat")
        .args(["-t", "20", &format!("OPEN:{stream}!!STDOUT"), &format!("TCP:{}", server.addresses[0])])
        .output()
        .expect("socat runs");
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"status\": \"ok\""), "{output:?}");
    assert_eq!(inbox.read("a"), b"hello");
}
