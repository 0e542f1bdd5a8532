//! Texts and their answers in datagrams.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use crate::answers::call;
use crate::harness::{DEADLINE, Directory, run};

/// A UDP socket on a free port, and how to call it.
fn udp() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let address = format!("udp:{}", socket.local_addr().expect("bound"));
    (socket, address)
}

#[test]
fn each_text_is_a_datagram_and_so_is_each_answer() {
    let (socket, address) = udp();
    let peer = std::thread::spawn(move || {
        let mut buffer = [0; 1000];
        for (text, answer) in [("你好", "再见"), ("", ""), ("two\nlines", "with an end\n")] {
            let (bytes, from) = socket.recv_from(&mut buffer).expect("a datagram");
            assert_eq!(&buffer[..bytes], text.as_bytes());
            socket.send_to(answer.as_bytes(), from).expect("sent");
        }
    });
    let (exit, output, errors) = call(&[&address, "你好", "", "two\nlines"]);
    assert_eq!((exit, output.as_str(), errors.as_str()), (0, "再见\n\nwith an end\n", ""));
    peer.join().expect("the peer was content");
}

#[test]
fn unix_datagrams_are_answered_by_name() {
    let directory = Directory::new();
    let socket = UnixDatagram::bind(directory.file("peer")).expect("a socket");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let peer = std::thread::spawn(move || {
        let mut buffer = [0; 1000];
        for _ in 0..2 {
            let (bytes, from) = socket.recv_from(&mut buffer).expect("a datagram");
            socket.send_to_addr(&buffer[..bytes], &from).expect("it has a name");
        }
    });
    let address = format!("unixgram:{}", directory.file("peer").display());
    let (exit, output, _) = call(&[&address, "one", "two"]);
    assert_eq!((exit, output.as_str()), (0, "one\ntwo\n"));
    peer.join().expect("the peer was content");
}

#[test]
fn an_answer_that_is_lost_is_said() {
    let (_socket, address) = udp();
    let (exit, output, errors) = call(&[&address, "--timeout", "0.3", "hello"]);
    assert_eq!((exit, output.as_str()), (1, ""));
    let why = "no answer within 0.3 s; datagrams can be lost; --timeout SECONDS waits longer";
    assert_eq!(errors, format!("onepoll: call: {address}: {why}\n"));
}

#[test]
fn nobody_there_is_told_by_the_network() {
    let (socket, address) = udp();
    drop(socket);
    let (exit, _, errors) = call(&[&address, "hello"]);
    assert_eq!(exit, 4);
    assert_eq!(errors, format!("onepoll: cannot connect to {address}: connection refused\n"));
    let (exit, _, errors) = call(&["unixgram:/nowhere/at-all", "hello"]);
    assert_eq!(exit, 4);
    assert_eq!(errors, "onepoll: cannot connect to unixgram:/nowhere/at-all: no such file or directory\n");
}

#[test]
fn every_address_of_a_name_is_tried() {
    let (socket, address) = udp();
    let peer = std::thread::spawn(move || {
        let (bytes, from) = socket.recv_from(&mut [0; 100]).expect("a datagram");
        assert_eq!(bytes, 5);
        socket.send_to(b"found", from).expect("sent");
    });
    // Both families of this machine; nobody is at the IPv6 one, should it come first.
    let port = address.rsplit(':').next().expect("a port");
    let (exit, output, _) = call(&[&format!("udp:localhost:{port}"), "hello"]);
    assert_eq!((exit, output.as_str()), (0, "found\n"));
    peer.join().expect("the peer was content");
}

#[test]
fn a_text_too_long_for_a_datagram_is_said() {
    let (_socket, address) = udp();
    let (exit, _, errors) = call(&[&address, &"x".repeat(70_000)]);
    assert_eq!(exit, 1, "{errors}");
    assert!(errors.contains("message too long"), "{errors}");
    let longest = "x".repeat(65_507);
    let (exit, _, errors) = call(&[&address, "--timeout", "0.2", &longest]);
    assert!(exit == 1 && errors.contains("no answer"), "{errors}");
}

#[test]
fn a_pipe_of_datagrams_waits_for_each_answer() {
    let (socket, address) = udp();
    let peer = std::thread::spawn(move || {
        let mut heard = String::new();
        let mut buffer = [0; 1000];
        while !heard.contains("300") {
            let (bytes, from) = socket.recv_from(&mut buffer).expect("a datagram");
            heard.push_str(&format!("{} ", String::from_utf8_lossy(&buffer[..bytes])));
            socket.send_to(&buffer[..bytes], from).expect("sent");
        }
        heard
    });
    let lines: String = (1..=300).map(|number| format!("{number}\n")).collect();
    let directory = Directory::new();
    std::fs::write(directory.file("lines"), &lines).expect("a file");
    let script = "exec \"$1\" call \"$2\" < \"$3\"";
    let mut command = crate::harness::script(script, &[env!("CARGO_BIN_EXE_onepoll"), &address]);
    command.arg(directory.file("lines"));
    let (exit, output, _) = run(command);
    assert_eq!((exit, output.as_str()), (0, lines.as_str()));
    assert_eq!(peer.join().expect("the peer was content"), lines.replace('\n', " "));
}
