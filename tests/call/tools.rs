//! The programs that it is made for, and those that people have.

use std::process::Stdio;

use crate::answers::{Calling, call};
use crate::harness::{Directory, Server, is_installed, onepoll, tool};

#[test]
fn greet_greets() {
    let greet = Server::spawn(onepoll(&["greet", "--listen", "127.0.0.1:0"]));
    let (exit, output, _) = call(&[&greet.addresses[0], "hello"]);
    assert_eq!((exit, output.as_str()), (0, "welcome to network! "));
    let (exit, output, _) = call(&[&greet.addresses[0]]);
    assert_eq!((exit, output.as_str()), (0, "hello python"));
}

#[test]
fn echo_echoes_on_all_kinds_of_sockets() {
    let directory = Directory::new();
    let unixgram = format!("unixgram:{}", directory.file("grams").display());
    let addresses = ["127.0.0.1:0", "udp:127.0.0.1:0", &directory.socket("stream"), &unixgram];
    let mut echo = Server::spawn(onepoll(&[&["echo"][..], &addresses].concat()));
    for _ in 1..addresses.len() {
        echo.next_address();
    }
    for address in &echo.addresses {
        let (exit, output, errors) = call(&[address, "你好", "再见"]);
        assert_eq!((exit, output.as_str(), errors.as_str()), (0, "你好\n再见\n", ""), "{address}");
    }
}

#[test]
fn hello_answers_a_request() {
    let hello = Server::spawn(onepoll(&["hello", "--listen", "127.0.0.1:0"]));
    let (exit, output, errors) = call(&[&hello.addresses[0], "GET / HTTP/1.1\r\nHost: here\r\n\r"]);
    assert_eq!(exit, 0, "{errors}");
    assert!(output.starts_with("HTTP/1.1 200 OK\r\n"), "{output}");
    assert!(output.ends_with("<h1>Hello,World</h1>"), "{output}");
}

#[test]
fn ask_is_answered_by_its_operator() {
    let mut ask = Server::spawn(onepoll(&["ask", "--listen", "127.0.0.1:0"]));
    for newline in [&[][..], &["--no-newline"]] {
        let arguments = [newline, &[&ask.addresses[0], "--timeout", "0", "how are you?", "really?"]].concat();
        let mut calling = Calling::start(&arguments);
        for (question, answer) in [("how are you?", "fine 很好"), ("really?", "yes")] {
            ask.console().until(&format!(": {question}"));
            ask.operate(answer);
            assert_eq!(calling.output.line(), answer);
        }
        assert_eq!(calling.exit_code(), Some(0));
        ask.console().until(" left --");
    }
}

#[test]
fn chat_is_talked_in() {
    let chat = Server::bare(&[]);
    let mut ann = chat.join();
    let (exit, output, _) = call(&[&chat.addresses[0], "hello 你好"]);
    assert_eq!(exit, 0);
    assert!(output.contains("-- you are ") && output.ends_with(": hello 你好\n"), "{output}");
    assert!(ann.line().ends_with(": hello 你好"));
}

#[test]
fn python_servers_are_called() {
    if !is_installed("python3") {
        return;
    }
    // The classic examples of the socketserver documentation.
    let script = r#"
import socketserver
class Stream(socketserver.BaseRequestHandler):
    def handle(self):
        data = self.request.recv(1024).strip()
        self.request.sendall(data.upper())
class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        data, socket = self.request
        socket.sendto(data.strip().upper(), self.client_address)
for server in [socketserver.TCPServer(("127.0.0.1", 0), Stream), socketserver.UDPServer(("127.0.0.1", 0), Datagram)]:
    print("listening on", server.server_address[1], flush=True)
    server.handle_request()
"#;
    let mut command = tool("python3");
    command.args(["-c", script]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let mut python = Server::spawn(command);
    let address = format!("127.0.0.1:{}", python.addresses[0]);
    assert_eq!(call(&[&address, "hello"]), (0, "HELLO".into(), String::new()));
    let address = format!("udp:127.0.0.1:{}", python.next_address());
    assert_eq!(call(&[&address, "hello"]), (0, "HELLO\n".into(), String::new()));
    assert!(python.wait().success());
}

#[test]
fn socat_is_called() {
    if !is_installed("socat") {
        return;
    }
    let directory = Directory::new();
    let path = directory.file("socket").display().to_string();
    // It says on standard error that it listens; here that is where its output goes.
    let script = "exec socat -d -d UNIX-LISTEN:\"$1\" EXEC:cat 2>&1";
    let mut command = crate::harness::script(script, &[&path]);
    command.stdin(Stdio::null());
    let mut socat = Calling::spawn(command);
    socat.output.until("listening on");
    let (exit, output, _) = call(&[&format!("unix:{path}"), "one", "two"]);
    assert_eq!((exit, output.as_str()), (0, "one\ntwo\n"));
}
