//! P29: datagrams, whose senders may lie about who they are.
#![cfg(feature = "course")]

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use crate::faults::{Strace, memory_kib, speaks_within};
use crate::harness::{DEADLINE, Directory, Server, onepoll, until};

fn echo(address: &str) -> Server {
    Server::spawn(onepoll(&["echo", address]))
}

fn client(server: &Server) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    client.connect(&server.addresses[0]["udp:".len()..]).expect("an address");
    client.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    client
}

#[test]
fn p29_an_answer_is_one_datagram_as_long_as_what_came() {
    let server = echo("udp:127.0.0.1:0");
    let client = client(&server);
    let mut buffer = vec![0; 1 << 17];
    // 65,507 is the longest over IPv4: 65,535 less both headers.
    for bytes in [1, 0, 2, 511, 1472, 1473, 9000, 65_506, 65_507, 1] {
        client.send(&vec![b'x'; bytes]).expect("it is sent");
        assert_eq!(client.recv(&mut buffer).expect("an answer"), bytes);
    }
    client.set_nonblocking(true).expect("a socket");
    let more = client.recv(&mut buffer).expect_err("one for one");
    assert_eq!(more.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn p29_senders_who_are_gone_or_never_were_end_nothing() {
    let mut server = echo("udp:127.0.0.1:0");
    for _ in 0..500 {
        // Gone before the answer: the kernel tells the server that nobody is there.
        client(&server).send(b"who am I?").expect("it is sent");
    }
    let client = client(&server);
    // The server's own queue may be full of the others': what does not fit is lost, as UDP may.
    until("an answer", || {
        client.send(b"still there?").expect("it is sent");
        speaks_within(&client, 100)
    });
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn p29_what_the_network_says_of_an_earlier_datagram_is_no_end_of_the_socket() {
    let server = echo("udp:127.0.0.1:0");
    let client = client(&server);
    let injected = ["recvfrom:error=ECONNREFUSED:when=1..15+2", "sendto:error=EHOSTUNREACH:when=1"];
    let Some(strace) = Strace::attach(&server, "recvfrom,sendto", &injected) else { return };
    let mut buffer = [0; 64];
    for number in 0..20_u8 {
        client.send(&[number]).expect("it is sent");
        // The first answer is the one that no way leads to.
        if number > 0 {
            assert_eq!(client.recv(&mut buffer).expect("an answer"), 1);
            assert_eq!(buffer[0], number);
        }
    }
    assert!(strace.detach().iter().filter(|call| call.contains("INJECTED")).count() > 5);
}

#[test]
fn p29_thousands_of_senders_leave_no_memory_behind() {
    let server = echo("udp:127.0.0.1:0");
    let mut buffer = vec![0; 1 << 17];
    let mut resident = Vec::new();
    for _ in 0..4 {
        for _ in 0..1000 {
            let client = client(&server);
            client.send(&[b'x'; 8000]).expect("it is sent");
            assert_eq!(client.recv(&mut buffer).expect("an answer"), 8000);
        }
        resident.push(memory_kib(&server, "VmRSS"));
    }
    assert!(resident[3].saturating_sub(resident[0]) <= 256, "{resident:?} KiB");
}

#[test]
fn p29_a_datagram_that_is_too_long_is_lost_told_and_never_cut() {
    let directory = Directory::new();
    let path = directory.file("server");
    let mut server = echo(&format!("unixgram:{}", path.display()));
    let client = UnixDatagram::bind(directory.file("client")).expect("a new file");
    client.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let longest = onepoll::limits::DATAGRAM_BYTES_MAX;
    let mut buffer = vec![0; 2 * longest];
    client.send_to(&vec![b'x'; longest + 1], &path).expect("it is sent");
    client.send_to(&vec![b'x'; longest], &path).expect("it is sent");
    assert_eq!(client.recv(&mut buffer).expect("an answer"), longest);
    server.log().until("datagrams: 1 lost until now");
}
