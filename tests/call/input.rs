//! Lines from a pipe and from a terminal.

use std::process::Stdio;

use crate::answers::{Calling, call, command, peer};
use crate::harness::{Directory, Server, is_installed, on_a_terminal, onepoll};

#[test]
fn a_pipe_is_sent_line_by_line_and_its_end_is_told() {
    let (address, peer) = peer(|mut peer| {
        assert_eq!(peer.rest(), "你好\n\nlast\n".as_bytes());
        peer.send("three lines\n");
    });
    let mut calling = Calling::start(&[&address]);
    calling.type_in("你好\n\nlast");
    drop(calling.child.stdin.take());
    assert_eq!(calling.output.line(), "three lines");
    assert_eq!(calling.exit_code(), Some(0));
    peer.join().expect("the peer was content");
}

#[test]
fn exit_is_not_sent_but_leaves_once_all_is_answered() {
    let (address, peer) = peer(|mut peer| {
        assert_eq!(peer.rest(), b"hello\n");
        peer.send("late\n");
    });
    let mut calling = Calling::start(&[&address]);
    // Standard input stays open: it is the word that ends it.
    calling.type_in("hello\nexit\nnot sent\n");
    assert_eq!(calling.output.line(), "late");
    assert_eq!(calling.exit_code(), Some(0));
    peer.join().expect("the peer was content");
}

#[test]
fn an_empty_input_listens() {
    let (address, peer) = peer(|mut peer| {
        assert!(peer.rest().is_empty());
        peer.send("welcome to network! ");
    });
    // `run` gives it /dev/null.
    let (exit, output, _) = call(&[&address]);
    assert_eq!((exit, output.as_str()), (0, "welcome to network! "));
    peer.join().expect("the peer was content");
}

#[test]
fn texts_leave_standard_input_alone() {
    let (address, peer) = peer(|mut peer| {
        let line = peer.line();
        peer.say(&line);
    });
    let directory = Directory::new();
    std::fs::write(directory.file("lines"), "one\ntwo\n").expect("a file");
    // `read` is the shell's own: what it gets is what was left.
    let script = "(\"$1\" call \"$2\" hello; while read -r line; do echo \"$line\"; done) < \"$3\"";
    let mut command = crate::harness::script(script, &[env!("CARGO_BIN_EXE_onepoll"), &address]);
    let output = command.arg(directory.file("lines")).output().expect("sh is installed");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\none\ntwo\n");
    peer.join().expect("the peer was content");
}

#[test]
fn a_large_pipe_comes_back_whole_from_an_echo() {
    let echo = Server::spawn(onepoll(&["echo", "127.0.0.1:0"]));
    let text: String = (0..100_000).map(|number| format!("line {number} 你好\n")).collect();
    let directory = Directory::new();
    std::fs::write(directory.file("text"), &text).expect("a file");
    let mut command = command(&[&echo.addresses[0]]);
    command.stdin(std::fs::File::open(directory.file("text")).expect("the file"));
    let output = command.stdout(Stdio::piped()).output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == text.as_bytes(), "{} of {} bytes", output.stdout.len(), text.len());
}

#[test]
fn a_peer_that_reads_nothing_holds_up_a_pipe_no_longer_than_the_timeout() {
    use std::io::Write;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let mut calling = Calling::start(&[&address, "--timeout", "0.5"]);
    let mut stdin = calling.child.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || while stdin.write_all(&b"more\n".repeat(1000)).is_ok() {});
    assert_eq!(calling.exit_code(), Some(1));
    writer.join().expect("the writer ends with its reader");
}

#[test]
fn on_a_terminal_a_person_talks_and_is_shown_nothing_harmful() {
    // Who has no terminal to offer must not wait for a caller either.
    if !is_installed("script") {
        return;
    }
    let (address, peer) = peer(|mut peer| {
        assert_eq!(peer.line(), "你好");
        peer.send("a\x1b[2Jb\nno end");
        assert_eq!(peer.line(), "more");
        // The person leaves, though this end stays open.
        assert!(peer.next_line().is_none());
    });
    let inner = format!("exec {} call {address} --timeout 0.1", env!("CARGO_BIN_EXE_onepoll"));
    let Some(command) = on_a_terminal(&inner) else { return };
    let mut terminal = Calling::spawn(command);
    terminal.type_in("你好\n");
    // The terminal's echo, and then the answer; the silence before the last words is longer than the timeout.
    let shown = terminal.output.until("no end");
    assert!(shown.iter().any(|line| line == "a[2Jb\r"), "{shown:?}");
    terminal.type_in("more\nexit\n");
    assert_eq!(terminal.exit_code(), Some(0));
    peer.join().expect("the peer was content");
}
