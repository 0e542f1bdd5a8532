//! Programs as courses teach them, in Python and with plain sockets.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::harness::{Directory, is_installed, tool};
use crate::peers::{Answer, Inbox, answer, classic, content, done, framed, put, send};

#[test]
fn a_classic_sender_gets_its_file_through_and_an_answer() {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    let content = content(300_000);
    let mut client = server.connect();
    client.send(classic("报告.pdf", &content));
    assert_eq!(done(&mut client, &content), None);
    assert_eq!(inbox.read("报告.pdf"), content);
    assert_eq!(inbox.names(), ["报告.pdf"]);
    assert_eq!(crate::peers::mode(&inbox.file("报告.pdf")), 0o600);
}

#[test]
fn a_size_that_repeats_the_name_is_taken_as_up_to_the_end() {
    let inbox = Inbox::new();
    let mut server = inbox.receive(&[]);
    let content = content(100_000);
    let mut client = server.connect();
    client.send(framed(r#"{"action": "put", "filename": "a.bin", "filesize": "a.bin"}"#));
    client.send(&content);
    client.half_close();
    let Answer::Done { bytes: 100_000, warning: Some(warning), .. } = answer(&mut client) else {
        panic!("not done, or without a warning")
    };
    assert!(warning.contains("length could not be checked"), "{warning}");
    assert_eq!(inbox.read("a.bin"), content);
    server.log().until("the length could not be checked");
    // One that breaks off instead of ending leaves nothing.
    let mut client = server.connect();
    client.send(framed(r#"{"action": "put", "filename": "b.bin", "filesize": "b.bin"}"#));
    client.send(&content);
    client.reset();
    server.log().until("b.bin from");
    server.log().until("connection reset");
    assert_eq!(inbox.names(), ["a.bin"]);
}

#[test]
fn a_sender_in_python_needs_nothing_but_struct_and_json() {
    if !is_installed("python3") {
        return;
    }
    let script = r#"
import json, os, socket, struct, sys
path, address = sys.argv[1], sys.argv[2].rsplit(":", 1)
with socket.create_connection((address[0], int(address[1])), 20) as server:
    header = json.dumps({"action": "upload", "filename": path, "filesize": os.path.getsize(path)}).encode()
    server.send(struct.pack("i", len(header)))
    server.send(header)
    with open(path, "rb") as file:
        for line in file:
            server.sendall(line)
    print(json.loads(server.recv(1024).decode())["status"])
"#;
    let (inbox, directory) = (Inbox::new(), Directory::new());
    let server = inbox.receive(&[]);
    let content = content(3_000_000);
    let path = put(&directory, "文件 1.bin", &content);
    let output = tool("python3").args(["-c", script, &path, &server.addresses[0]]).output();
    let output = output.expect("python3 runs");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "ok\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(inbox.read("文件 1.bin"), content);
}

#[test]
fn a_receiver_in_python_stops_before_the_hash() {
    if !is_installed("python3") {
        return;
    }
    let script = r#"
import json, socket, struct, sys
listener = socket.create_server(("127.0.0.1", 0))
print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
for _ in range(3):
    sender, _ = listener.accept()
    sender.settimeout(20)
    length = struct.unpack("i", sender.recv(4, socket.MSG_WAITALL))[0]
    header = json.loads(sender.recv(length, socket.MSG_WAITALL).decode())
    received = 0
    with open(sys.argv[1], "wb") as file:
        while received < header["filesize"]:
            chunk = sender.recv(min(1024, header["filesize"] - received))
            if not chunk:
                break
            file.write(chunk)
            received += len(chunk)
    print(header["filename"], received == header["filesize"], flush=True)
    sender.close()
"#;
    let directory = Directory::new();
    let content = content(300_000);
    let path = put(&directory, "a.bin", &content);
    let received = directory.file("received");
    let mut command = tool("python3");
    command.args(["-c", script]).arg(&received).stdout(std::process::Stdio::piped());
    command.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut python = crate::harness::Server::spawn(command);
    let address = python.addresses[0].clone();
    let mut whole = || {
        assert_eq!(python.console().line(), "a.bin True");
        std::fs::read(&received).expect("it is there") == content
    };
    // It is there, but nobody says so: that is told, and no success.
    let (code, said) = send(&[&path, &address]);
    assert!(said.contains("nobody knows whether it arrived"), "{said}");
    assert!(said.contains("--classic") && code == 1, "{code}: {said}");
    assert!(whole());
    // With --resume, which it knows nothing of, the same after a moment.
    let (code, _) = send(&["--resume", &path, &address]);
    assert!(whole() && code == 1);
    // Who knows that it is a classic one has its orderly end for an answer.
    let (code, said) = send(&["--classic", &path, &address]);
    assert!(said.contains("a classic receiver does not say") && code == 0, "{code}: {said}");
    assert!(whole());
}

/// Takes one file as a classic receiver does, without Python; `bytes`: how many it reads of it.
fn take_one(listener: &TcpListener, bytes: Option<usize>) -> Vec<u8> {
    let (mut sender, _) = listener.accept().expect("a sender");
    sender.set_read_timeout(Some(crate::harness::DEADLINE)).expect("a timeout");
    let mut length = [0; 4];
    sender.read_exact(&mut length).expect("a length");
    let mut header = vec![0; u32::from_le_bytes(length) as usize];
    sender.read_exact(&mut header).expect("a header");
    let header: serde_json::Value = serde_json::from_slice(&header).expect("JSON");
    assert_eq!(header["action"], "upload");
    assert_eq!(header["filename"], "a.bin");
    let size = header["filesize"].as_u64().expect("a number") as usize;
    let mut file = vec![0; bytes.unwrap_or(size)];
    sender.read_exact(&mut file).expect("the file");
    file
}

fn send_to_one(arguments: &[&str], bytes: Option<usize>) -> (i32, String) {
    let directory = Directory::new();
    let content = content(300_000);
    let path = put(&directory, "a.bin", &content);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| send(&[arguments, &[&path, &address]].concat()));
        assert_eq!(take_one(&listener, bytes), content[..bytes.unwrap_or(content.len())]);
        sent.join().expect("it ends")
    })
}

#[test]
fn a_classic_receiver_that_closes_early_is_no_success() {
    let (code, said) = send_to_one(&["--classic"], None);
    assert_eq!(code, 0, "{said}");
    // The socket holds unread bytes when it is closed, which resets the connection.
    let (code, said) = send_to_one(&["--classic"], Some(100_000));
    assert_eq!(code, 1, "{said}");
    let (code, said) = send_to_one(&[], Some(100_000));
    assert_eq!(code, 1, "{said}");
}

#[test]
fn what_is_no_receiver_is_told_from_one() {
    let directory = Directory::new();
    let path = put(&directory, "a.bin", b"hello");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    for (words, expected) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "after it said \"HTTP/1.1 400 Bad Request\""),
        (b"-- the server is full: try again later --\n", "after it said \"-- the server is full"),
        (&[b'x'; 10_000], "no receiver of files"),
    ] {
        std::thread::scope(|scope| {
            let sent = scope.spawn(|| send(&[&path, &address]));
            let (mut sender, _) = listener.accept().expect("a sender");
            sender.write_all(words).expect("it listens");
            sender.shutdown(std::net::Shutdown::Write).expect("it is open");
            let mut all = Vec::new();
            let _ = sender.read_to_end(&mut all);
            let (code, said) = sent.join().expect("it ends");
            assert!(code == 1 && said.contains(expected), "{code}: {said}");
        });
    }
}
