//! Lines from a pipe and from a terminal.

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use crate::answers::{Calling, call, command, peer};
use crate::harness::{DEADLINE, Directory, Server, is_installed, on_a_terminal, onepoll};

#[test]
fn an_answer_that_takes_its_time_is_awaited_from_a_pipe_as_from_an_argument() {
    for is_piped in [true, false] {
        let (address, peer) = peer(|mut peer| {
            assert_eq!(peer.line(), "hi");
            // It answers only a caller that is still there: nothing more may have come, not even the end.
            peer.tcp().set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
            let early = peer.source.read(&mut [0; 100]);
            assert_eq!(early.expect_err("too early").kind(), std::io::ErrorKind::WouldBlock);
            peer.tcp().set_read_timeout(Some(DEADLINE)).expect("a timeout");
            peer.say("late");
            assert!(peer.next_line().is_none());
        });
        let arguments: &[&str] = if is_piped { &[&address] } else { &[&address, "hi"] };
        let mut calling = Calling::start(arguments);
        if is_piped {
            calling.type_in("hi\n");
        }
        drop(calling.child.stdin.take());
        assert_eq!(calling.output.line(), "late");
        assert_eq!(calling.exit_code(), Some(0));
        peer.join().expect("the peer was content");
    }
}

#[test]
fn a_pipe_is_sent_line_by_line_and_its_end_is_told() {
    let (address, peer) = peer(|mut peer| {
        assert_eq!(peer.rest(), "你好\n\nlast\n".as_bytes());
        peer.send("three lines\n");
    });
    // It answers to the end of all, which it is told of after the timeout.
    let mut calling = Calling::start(&[&address, "--timeout", "0.3"]);
    calling.type_in("你好\n\nlast");
    drop(calling.child.stdin.take());
    assert_eq!(calling.output.line(), "three lines");
    assert_eq!(calling.exit_code(), Some(0));
    peer.join().expect("the peer was content");
}

#[test]
fn a_piped_exit_is_data() {
    let (address, peer) = peer(|mut peer| {
        for line in ["hello", "exit", "more"] {
            assert_eq!(peer.line(), line);
            peer.say(line);
        }
    });
    let mut calling = Calling::start(&[&address]);
    calling.type_in("hello\nexit\nmore\n");
    drop(calling.child.stdin.take());
    assert_eq!(calling.output.rest(), b"hello\nexit\nmore\n");
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
fn a_paste_that_the_terminal_cuts_is_not_sent_as_if_it_were_whole() {
    // Who has no terminal to offer must not wait for a caller either.
    if !is_installed("script") {
        return;
    }
    let (address, peer) = peer(|mut peer| {
        peer.send("hello\n");
        assert_eq!(peer.line(), "short");
        assert!(peer.next_line().is_none());
    });
    let inner = format!("exec {} call {address}", env!("CARGO_BIN_EXE_onepoll"));
    let Some(command) = on_a_terminal(&inner) else { return };
    let mut terminal = Calling::spawn(command);
    terminal.output.until("hello");
    terminal.type_in(&format!("{}\n", "x".repeat(10_000)));
    terminal.output.until("a terminal cuts long lines: not sent: 4094 bytes at most");
    terminal.type_in("short\nexit\n");
    assert_eq!(terminal.exit_code(), Some(0));
    peer.join().expect("the peer was content");
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
