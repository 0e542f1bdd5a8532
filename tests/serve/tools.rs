//! The programs that people really use: nc, ncat, telnet, socat, python.

use std::process::{Child, Stdio};

use crate::harness::{Client, Directory, Lines, Server, is_installed, tool, untimed};

/// A program in a shell, with the server's host and port as `$1` and `$2`.
struct Tool {
    child: Child,
    output: Lines<std::process::ChildStdout>,
}

impl Tool {
    fn start(script: &str, server: &Server) -> Self {
        let (host, port) = server.addresses[0].rsplit_once(':').expect("host and port");
        let mut command = crate::harness::script(script, &[host, port]);
        let mut child = command.stderr(Stdio::null()).spawn().expect("sh is installed");
        let output = Lines::new(child.stdout.take().expect("piped"));
        Tool { child, output }
    }

    /// All that it printed until it ended.
    fn output(script: &str, server: &Server) -> Vec<String> {
        let mut tool = Tool::start(script, server);
        drop(tool.child.stdin.take());
        String::from_utf8_lossy(&tool.output.rest()).lines().map(String::from).collect()
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn printf_into_nc_gets_its_echo_and_ends() {
    if !is_installed("nc") {
        return;
    }
    let server = Server::bare(&[]);
    let lines = Tool::output("printf 'hello\\n' | nc -N \"$1\" \"$2\"", &server);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("you are"));
    assert!(untimed(&lines[1]).ends_with(": hello"));
}

#[test]
fn a_last_line_without_an_end_into_nc_is_said() {
    if !is_installed("nc") {
        return;
    }
    let server = Server::bare(&[]);
    let lines = Tool::output("printf 'no end' | nc -N \"$1\" \"$2\"", &server);
    assert!(untimed(&lines[1]).ends_with(": no end"), "{lines:?}");
}

#[test]
fn nc_and_ncat_and_socat_and_telnet_talk_to_each_other() {
    use std::io::Write;
    let server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    for (program, script) in [
        ("nc", "exec nc \"$1\" \"$2\""),
        ("ncat", "exec ncat \"$1\" \"$2\""),
        ("socat", "exec socat - \"TCP:$1:$2\""),
        ("telnet", "exec telnet \"$1\" \"$2\""),
    ] {
        if !is_installed(program) {
            continue;
        }
        let mut tool = Tool::start(script, &server);
        let greeting = tool.output.until("you are").pop().expect("the greeting");
        let name = greeting.split(' ').nth(3).expect("a name").to_string();
        let stdin = tool.child.stdin.as_mut().expect("piped");
        writeln!(stdin, "你好 from {program}").expect("the program takes it");
        assert_eq!(untimed(&ann.line()), format!("{name}: 你好 from {program}"));
        ann.say(&format!("hello {program}"));
        ann.line();
        tool.output.until(&format!("ann: hello {program}"));
        let stdin = tool.child.stdin.as_mut().expect("piped");
        writeln!(stdin, "quit").expect("the program takes it");
        tool.output.until("-- bye --");
        ann.ask_until("/who", "-- 1 in lobby");
    }
}

#[test]
fn socat_speaks_to_the_unix_socket() {
    if !is_installed("socat") {
        return;
    }
    let directory = Directory::new();
    let server = Server::bare(&["--listen", &directory.socket("chat")]);
    let mut ann = Client::connect(&server.addresses[0]).greeted();
    let script = format!("printf 'hi\\n' | socat -t 20 - UNIX:{}", directory.file("chat").display());
    let lines = Tool::output(&script, &server);
    assert!(untimed(&lines[1]).ends_with(": hi"), "{lines:?}");
    assert!(untimed(&ann.line()).ends_with(": hi"));
}

#[test]
fn a_dozen_lines_of_python_are_a_client() {
    if !is_installed("python3") {
        return;
    }
    let server = Server::bare(&[]);
    let script = r#"exec python3 -c '
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as server:
    server.sendall("/nick 蟒蛇\n你好\nquit\n".encode())
    for line in server.makefile(encoding="utf-8"):
        print(line, end="")
' "$1" "$2""#;
    let mut tool = Tool::start(script, &server);
    tool.output.expect("you are");
    tool.output.expect("you are now 蟒蛇");
    assert_eq!(untimed(&tool.output.line()), "蟒蛇: 你好");
    tool.output.expect("-- bye --");
    assert!(tool.output.rest_lines().is_empty());
}

#[test]
fn a_terminal_that_nobody_reads_does_not_stop_the_log_or_the_loop() {
    if !is_installed("python3") {
        return;
    }
    // Standard error is a terminal as after Ctrl-S: what is logged there is never read.
    let script = r#"
import os, pty, socket, subprocess, sys
terminal, errors = pty.openpty()
server = subprocess.Popen([sys.argv[1], "serve", "--listen", "127.0.0.1:0", "-v", "--rate", "off"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
try:
    port = int(server.stdout.readline().rsplit(b":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), 20) as ann:
        replies = ann.makefile("rb")
        for number in range(60):
            ann.sendall(b"%06d %s\n" % (number, b"y" * 3000))
            while b": %06d " % number not in replies.readline():
                pass
finally:
    server.kill()
    server.wait()
"#;
    let server = env!("CARGO_BIN_EXE_onepoll");
    let output = tool("python3").args(["-c", script, server]).output();
    let output = output.expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_test_that_passes_without_its_tool_is_reported_as_not_run() {
    let directory = Directory::new();
    let test = "tools::socat_speaks_to_the_unix_socket";
    let mut tests = std::process::Command::new(std::env::current_exe().expect("this program has a path"));
    tests.args(["--exact", test]).env("PATH", "/nowhere").env("ONEPOLL_NOT_RUN", directory.file("report"));
    let output = tests.output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(errors, format!("not run: serve::{test}: socat is not installed\n"));
    let report = std::fs::read_to_string(directory.file("report")).expect("it was written");
    assert_eq!(report, format!("serve::{test}\tsocat is not installed\tcommand -v socat\n"));
}
