//! What people see meanwhile: lines, bars, or nothing; and that nobody waits for those who watch.

use crate::harness::{Directory, is_installed, tool};
use crate::peers::{Inbox, assert_well, content, failure_of, framed, put, send};

#[test]
fn lines_say_what_begins_and_how_it_ended() {
    let (inbox, directory) = (Inbox::new(), Directory::new());
    let mut server = inbox.receive(&[]);
    let content = content(3 << 20);
    let path = put(&directory, "a.bin", &content);
    let (_, said) = send(&[&path, &server.addresses[0]]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert_eq!(lines[0], format!("{path}: 3.00 MiB"));
    let ended = format!("{path}: 3145728 bytes, blake3 {}, ", blake3::hash(&content));
    assert!(lines[1].starts_with(&ended) && lines[1].ends_with(" s"), "{said}");
    server.log().until("a.bin from 127.0.0.1:");
    // On a busy machine the log tells of slow turns, too.
    let line = server.log().until("3145728 bytes, blake3 ").pop().expect("it came");
    assert!(line.starts_with("a.bin from 127.0.0.1:"), "{line}");
}

#[test]
fn quiet_ones_say_only_what_fails() {
    let (inbox, directory) = (Inbox::new(), Directory::new());
    let mut server = inbox.receive(&["--quiet"]);
    let path = put(&directory, "a.bin", b"hello");
    let (code, said) = send(&["-q", &path, &server.addresses[0]]);
    assert_eq!((code, said.as_str()), (0, ""));
    failure_of(&server, &framed("[]"));
    // On a busy machine the log tells of slow turns, too.
    server.log().until("onepoll: receive: 127.0.0.1:");
    let (code, said) = send(&["-q", "/does/not/exist", &server.addresses[0]]);
    assert_eq!((code, said.as_str()), (1, "onepoll: send: /does/not/exist: no such file or directory\n"));
}

#[test]
fn many_files_that_arrive_hide_none_that_does_not() {
    let inbox = Inbox::new();
    let mut server = inbox.receive(&[]);
    for _ in 0..onepoll::limits::LOG_LINES_PER_WINDOW + 1 {
        assert_well(&server);
    }
    failure_of(&server, &framed("[]"));
    server.log().until("the header is no JSON object");
}

/// Runs a receiver and a sender of these files with a terminal for their standard error, which is read, or
/// not, and returns what was on it.
fn on_a_terminal(files: &[String], inbox: &Inbox, is_read: bool) -> String {
    let script = r#"
import fcntl, os, pty, select, struct, subprocess, sys, termios
binary, folder, is_read, *files = sys.argv[1:]
terminal, errors = pty.openpty()
fcntl.ioctl(errors, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
environment = {**os.environ, "TERM": "xterm"}
receiver = subprocess.Popen([binary, "receive", folder, "--listen", "127.0.0.1:0"],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment)
try:
    address = receiver.stdout.readline().decode().split()[-1]
    sender = subprocess.Popen([binary, "send", *files, address],
                              stdin=subprocess.DEVNULL, stderr=errors, env=environment)
    os.close(errors)
    if is_read == "true":
        # Both have said how it ended once each of their lines was seen.
        seen = b""
        while seen.count(b" bytes, blake3 ") < 2 * len(files):
            if not select.select([terminal], [], [], 20)[0]:
                sys.exit("nothing more came: %r" % seen)
            seen += os.read(terminal, 65536)
        sys.stdout.buffer.write(seen)
    if sender.wait(20) != 0:
        sys.exit("the sender failed")
finally:
    receiver.kill()
    receiver.wait()
"#;
    let binary = env!("CARGO_BIN_EXE_onepoll");
    let output = tool("python3")
        .args(["-c", script, binary])
        .arg(inbox.path())
        .arg(is_read.to_string())
        .args(files)
        .output()
        .expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_terminal_has_a_bar_and_then_what_became_of_it() {
    if !is_installed("python3") {
        return;
    }
    let (inbox, directory) = (Inbox::new(), Directory::new());
    let content = content(64 << 20);
    let seen = on_a_terminal(&[put(&directory, "你好.bin", &content)], &inbox, true);
    for expected in
        ["[", " %  ", "iB/s", " left", "你好.bin: 67108864 bytes, blake3 ", "你好.bin from 127.0.0.1:"]
    {
        assert!(seen.contains(expected), "{expected:?} is not in {seen:?}");
    }
    assert!(inbox.read("你好.bin") == content);
}

#[test]
fn a_terminal_that_nobody_reads_stops_neither_end() {
    if !is_installed("python3") {
        return;
    }
    let (inbox, directory) = (Inbox::new(), Directory::new());
    let files: Vec<String> = (0..100)
        .map(|n| put(&directory, &format!("{n}-{}", "x".repeat(200)), b"hello"))
        .chain([put(&directory, "large", &content(16 << 20))])
        .collect();
    on_a_terminal(&files, &inbox, false);
    assert_eq!(inbox.names().len(), 101);
}

#[test]
fn a_pipe_that_nobody_reads_stops_neither_end() {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    // Each is told of in lines of some hundred bytes: more than a pipe holds.
    for _ in 0..300 {
        assert_well(&server);
    }
}
