//! Echo of datagrams.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;

use super::echo::echo;
use crate::harness::{DEADLINE, Directory, Server};

fn udp_client(server: &Server, at: usize) -> UdpSocket {
    let address = server.addresses[at].strip_prefix("udp:").expect("a UDP address");
    let local = if address.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" };
    let client = UdpSocket::bind(local).expect("a free port");
    client.connect(address).expect("an address");
    client.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    client
}

fn answer(client: &UdpSocket, datagram: &[u8]) -> Vec<u8> {
    client.send(datagram).expect("it is sent");
    let mut buffer = vec![0; 1 << 17];
    let bytes = client.recv(&mut buffer).expect("an answer before the deadline");
    buffer.truncate(bytes);
    buffer
}

#[test]
fn a_datagram_comes_back_whole_and_as_long_as_it_came() {
    let mut server = echo(&["udp:127.0.0.1:0", "--listen", "udp:[::1]:0", "--lines"]);
    server.next_address();
    for at in 0..2 {
        let client = udp_client(&server, at);
        // 65,507 is the longest over IPv4: 65,535 less both headers.
        for datagram in [&b"one\ntwo"[..], b"", &vec![b'x'; 65_507]] {
            assert!(answer(&client, datagram) == datagram, "{} bytes differ", datagram.len());
        }
    }
}

#[test]
fn a_template_on_udp_is_a_warning_and_an_answer() {
    let mut server = echo(&["udp:127.0.0.1:0", "--reply", "I am OK, are u OK"]);
    assert_eq!(answer(&udp_client(&server, 0), b"?"), b"I am OK, are u OK");
    server.log().until("--reply on UDP: an answer can be longer than what came");
}

#[test]
fn unix_datagrams_are_answered_at_the_senders_name() {
    let directory = Directory::new();
    let path = directory.file("server");
    let server = echo(&[&format!("unixgram:{}", path.display()), "--reply", "{} for {peer}"]);
    let client = UnixDatagram::bind(directory.file("client")).expect("a new file");
    client.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    // Nobody can answer one without a name; it is not an error either.
    UnixDatagram::unbound().expect("a socket").send_to(b"anonymous", &path).expect("it is sent");
    client.send_to("你好".as_bytes(), &path).expect("it is sent");
    let mut buffer = vec![0; 1 << 17];
    let bytes = client.recv(&mut buffer).expect("an answer before the deadline");
    let expected = format!("你好 for unixgram:{}", directory.file("client").display());
    assert_eq!(String::from_utf8_lossy(&buffer[..bytes]), expected);
    drop(server);
}

#[test]
fn a_receiver_that_does_not_read_holds_up_no_other() {
    let directory = Directory::new();
    let path = directory.file("server");
    let mut server = echo(&[&format!("unixgram:{}", path.display())]);
    let deaf = UnixDatagram::bind(directory.file("deaf")).expect("a new file");
    let client = UnixDatagram::bind(directory.file("client")).expect("a new file");
    client.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let mut buffer = [0; 16];
    // Far more than its queue holds, and than may wait for it.
    for number in 0..2000_u32 {
        deaf.send_to(b"to nobody", &path).expect("it is sent");
        client.send_to(&number.to_le_bytes(), &path).expect("it is sent");
        let bytes = client.recv(&mut buffer).expect("an answer before the deadline");
        assert_eq!(buffer[..bytes], number.to_le_bytes());
    }
    server.log().until("datagrams: 1 lost until now");
}

#[test]
fn the_files_of_the_sockets_are_gone_with_the_server() {
    let directory = Directory::new();
    let names = [directory.socket("stream"), format!("unixgram:{}", directory.file("gram").display())];
    let mut server = echo(&[&names[0], &names[1]]);
    server.next_address();
    for file in ["stream", "gram"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(directory.file(file)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), 0);
    for file in ["stream", "gram"] {
        assert!(!directory.file(file).exists(), "{file}");
    }
    // What a killed one leaves is no obstacle, and what is alive is none's to take.
    let mut killed = echo(&[&names[0], &names[1]]);
    killed.next_address();
    killed.kill();
    let mut server = echo(&[&names[0], &names[1]]);
    server.next_address();
    let (exit, _, stderr) = crate::harness::run(crate::harness::onepoll(&["echo", &names[1]]));
    assert_eq!(exit, 3, "{stderr}");
    assert!(stderr.contains("already in use"), "{stderr}");
}
