//! Echo on streams.

use std::io::Write;
use std::net::TcpListener;

use crate::harness::{Client, Directory, Server, is_installed, onepoll, run};

pub fn echo(arguments: &[&str]) -> Server {
    Server::spawn(onepoll(&[&["echo"], arguments].concat()))
}

#[test]
fn a_long_stream_comes_back_whole_however_it_is_cut() {
    let directory = Directory::new();
    let mut server = echo(&["127.0.0.1:0", &directory.socket("echo")]);
    server.next_address();
    for address in &server.addresses {
        let mut client = Client::connect(address);
        let stream: Vec<u8> = (0..4_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut writer = match &client.source {
            crate::harness::Stream::Tcp(stream) => {
                Box::new(stream.try_clone().expect("a clone")) as Box<dyn Write + Send>
            }
            crate::harness::Stream::Unix(stream) => Box::new(stream.try_clone().expect("a clone")),
        };
        let sent = stream.clone();
        // Somebody has to read while this is written, for the server reads no one who does not.
        let writing = std::thread::spawn(move || {
            // Every chunk has another length, so that reads and writes are cut anywhere.
            let mut rest = &sent[..];
            let mut bytes = 1;
            while !rest.is_empty() {
                let (chunk, next) = rest.split_at(rest.len().min(bytes));
                writer.write_all(chunk).expect("the server takes it");
                rest = next;
                bytes = bytes * 3 % 99_991;
            }
        });
        assert!(client.bytes(stream.len()) == stream, "{address}: what came back differs");
        writing.join().expect("it was written");
        // It answers a half-close with its own.
        client.send("the last");
        client.half_close();
        assert_eq!(client.rest(), b"the last");
    }
}

#[test]
fn a_template_says_who_and_what() {
    let server = echo(&["127.0.0.1:0", "--reply", "ack. {} from {peer}"]);
    let mut client = server.connect();
    client.send("你好");
    client.half_close();
    let local = client.tcp().local_addr().expect("it is connected");
    assert_eq!(String::from_utf8_lossy(&client.rest()), format!("ack. 你好 from {local}"));
}

#[test]
fn lines_are_answered_one_by_one_also_the_last_without_an_end() {
    let server = echo(&["127.0.0.1:0", "--lines", "--reply", "Your msg: {}"]);
    let mut client = server.connect();
    for part in ["o", "ne\r\ntw", "o\n\nthr"] {
        client.send(part);
    }
    assert_eq!(client.line(), "Your msg: one");
    assert_eq!(client.line(), "Your msg: two");
    assert_eq!(client.line(), "Your msg: ");
    client.send("ee");
    client.half_close();
    assert_eq!(client.rest(), b"Your msg: three\n");
}

#[test]
fn a_line_that_is_too_long_is_told_and_the_next_is_heard() {
    let server = echo(&["127.0.0.1:0", "--lines"]);
    let mut client = server.connect();
    client.send([&[b'x'; 5000][..], b"\nnext\n"].concat());
    client.expect("-- that line was too long: 4096 bytes at most --");
    assert_eq!(client.line(), "next");
}

#[test]
fn one_byte_at_a_time_comes_back_so() {
    let server = echo(&["127.0.0.1:0"]);
    let mut client = server.connect();
    for byte in "你好, echo".bytes() {
        client.send([byte]);
        assert_eq!(client.bytes(1), [byte]);
    }
}

#[test]
fn a_silent_client_is_closed_only_where_the_operator_said_so() {
    let server = echo(&["127.0.0.1:0", "--idle", "0.05"]);
    assert_eq!(server.connect().rest(), b"");
}

#[test]
fn an_address_that_is_taken_or_none_is_explained() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    for (arguments, code, why) in [
        (&["echo", &address][..], 3, "already in use"),
        (&["echo", "udp:"], 2, "an address is"),
        (&["echo", "unixgram:"], 2, "needs a path"),
        (&["echo", "unixgram:/nowhere/at/all"], 3, "cannot listen on unixgram:/nowhere/at/all"),
    ] {
        let (exit, _, stderr) = run(onepoll(arguments));
        assert_eq!(exit, code, "{arguments:?}: {stderr}");
        assert!(stderr.contains(why), "{arguments:?}: {stderr}");
    }
}

#[test]
fn socat_and_nc_and_python_have_their_echo() {
    let server = echo(&["127.0.0.1:0"]);
    let (host, port) = server.addresses[0].split_once(':').expect("an address");
    let python = format!(
        "import socket; s = socket.create_connection(('{host}', {port})); s.sendall('你好'.encode()); \
         s.shutdown(socket.SHUT_WR); print(s.makefile().read())"
    );
    for (program, script) in [
        ("socat", format!("printf 你好 | socat -t 20 - TCP:{host}:{port}; echo")),
        ("nc", format!("printf 你好 | nc -N {host} {port}; echo")),
        ("python3", format!("python3 -c \"{python}\"")),
    ] {
        if is_installed(program) {
            let output = crate::harness::script(&script, &[]).output().expect("sh runs");
            assert_eq!(String::from_utf8_lossy(&output.stdout), "你好\n", "{program}: {output:?}");
        }
    }
}
