//! The programs that people really use: nc, telnet, socat, python.

use std::process::Stdio;

use crate::harness::{Lines, Server, are_installed, is_installed};
use crate::questions::{ask, question};

/// What a script printed that was asked and answered once; host and port are `$1` and `$2`.
fn answered(server: &mut Server, script: &str) -> Vec<String> {
    let (host, port) = server.addresses[0].rsplit_once(':').expect("host and port");
    let mut command = crate::harness::script(script, &[host, port]);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("sh is installed");
    let mut output = Lines::new(child.stdout.take().expect("piped"));
    assert!(question(server).ends_with(": 你好"));
    server.operate("再见");
    let lines = output.rest_lines();
    assert!(child.wait().expect("the child is there").success());
    server.console().until(" left");
    lines
}

#[test]
fn nc_and_ncat_and_socat_are_answered() {
    let mut server = ask(&[]);
    for (program, script) in [
        ("nc", "printf '你好\\n' | nc -N \"$1\" \"$2\""),
        ("nc", "printf '你好' | nc -N \"$1\" \"$2\""),
        ("ncat", "printf '你好\\n' | ncat \"$1\" \"$2\""),
        ("socat", "printf '你好' | socat -t 20 - \"TCP:$1:$2\""),
    ] {
        if is_installed(program) {
            assert_eq!(answered(&mut server, script), ["再见"], "{script}");
        }
    }
}

#[test]
fn telnet_is_answered_line_by_line() {
    if !are_installed(&["telnet", "sed"]) {
        return;
    }
    let mut server = ask(&[]);
    let script = "(echo 你好; read -r never) | telnet \"$1\" \"$2\" 2>/dev/null | sed -n '/再见/{p;q}'";
    let (host, port) = server.addresses[0].rsplit_once(':').expect("host and port");
    let mut command = crate::harness::script(script, &[host, port]);
    let mut child = command.stderr(Stdio::inherit()).spawn().expect("sh is installed");
    let mut output = Lines::new(child.stdout.take().expect("piped"));
    assert!(question(&mut server).ends_with(": 你好"));
    server.operate("再见");
    assert!(output.line().starts_with("再见"));
    drop(child.stdin.take());
    child.wait().expect("the child is there");
}

#[test]
fn the_classic_python_client_needs_no_line_end() {
    if !is_installed("python3") {
        return;
    }
    let mut server = ask(&[]);
    let script = r#"exec python3 -c '
import socket, sys
s = socket.socket()
s.settimeout(20)
s.connect((sys.argv[1], int(sys.argv[2])))
s.send("你好".encode())
print(s.recv(1024).decode(), end="")
s.send(b"exit")
s.close()
' "$1" "$2""#;
    assert_eq!(answered(&mut server, script), ["再见"]);
}
