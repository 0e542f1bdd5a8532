//! The library as a program of one's own would use it, on real sockets.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use onepoll::engine::{Peer, Reason};
use onepoll::event_loop::End;
use onepoll::socketserver::{Handler, Request, Server};

const DEADLINE: Duration = Duration::from_secs(20);

/// Upper case, line by line; notes how each connection ended.
struct Upper(Rc<RefCell<Vec<Reason>>>);

impl Handler for Upper {
    fn handle(&mut self, request: &mut Request<'_>) {
        if request.is_datagram() {
            let datagram = request.recv(usize::MAX);
            return request.send(&datagram.to_ascii_uppercase());
        }
        match request.read_line(4096) {
            Some(Ok(b"quit")) => request.close(),
            Some(Ok(b"shutdown")) => request.server().shutdown(),
            Some(Ok(line)) => writeln!(request, "{}", String::from_utf8_lossy(line).to_uppercase())
                .expect("a request never fails"),
            Some(Err(_)) | None => {}
        }
    }

    fn finish(&mut self, _request: &mut Request<'_>, reason: Reason) {
        self.0.borrow_mut().push(reason);
    }
}

type Reasons = Rc<RefCell<Vec<Reason>>>;

fn upper(address: &str) -> (Server<Upper, impl FnMut(Peer) -> Upper + use<>>, Reasons) {
    let reasons = Reasons::default();
    let new = Rc::clone(&reasons);
    (Server::bind(address, move |_peer| Upper(Rc::clone(&new))).expect("it is free"), reasons)
}

fn connect(address: &str) -> TcpStream {
    let client = TcpStream::connect(address).expect("somebody listens");
    client.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    client
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("onepoll-library-{name}-{}", std::process::id()))
}

#[test]
fn one_request_is_handled_and_others_go_on_with_the_next() {
    let (mut server, reasons) = upper("tcp:127.0.0.1:0");
    let address = server.addresses()[0].clone();
    let (mut slow, mut quick) = (connect(&address), connect(&address));
    slow.write_all(b"half a li").expect("the kernel takes it");
    quick.write_all(b"whole\nquit\n").expect("the kernel takes it");
    let mut answer = String::new();
    let reading = std::thread::spawn(move || {
        quick.read_to_string(&mut answer).expect("an answer");
        answer
    });
    assert!(server.handle_request(None).expect("poll works"));
    assert_eq!(reading.join().expect("it was read"), "WHOLE\n");
    slow.write_all(b"ne").expect("the kernel takes it");
    slow.shutdown(std::net::Shutdown::Write).expect("it is open");
    assert!(server.handle_request(None).expect("poll works"));
    // A line without an end is no line to this handler, and nothing else is due.
    assert_eq!(slow.read(&mut [0; 16]).expect("the end"), 0);
    assert_eq!(*reasons.borrow(), [Reason::Quit, Reason::EndOfInput]);
}

#[test]
fn without_a_request_the_timeout_ends_the_wait() {
    let (mut server, _) = upper("udp:127.0.0.1:0");
    let address = server.addresses()[0].trim_start_matches("udp:").to_string();
    assert!(!server.handle_request(Some(Duration::from_millis(20))).expect("poll works"));
    assert!(!server.handle_request(Some(Duration::ZERO)).expect("poll works"));
    // It still serves, and an old timeout means nothing any more.
    let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    client.send_to(b"hello", address).expect("it is sent");
    assert!(server.handle_request(None).expect("poll works"));
}

#[test]
fn one_server_has_all_four_kinds_of_sockets() {
    let (stream, datagrams, own) = (path("stream"), path("datagrams"), path("own"));
    let (mut server, _) = upper("tcp:[::1]:0");
    server.bind_also("udp:127.0.0.1:0").expect("it is free");
    server.bind_also(&format!("unix:{}", stream.display())).expect("it is free");
    server.bind_also(&format!("unixgram:{}", datagrams.display())).expect("it is free");
    let addresses = server.addresses().to_vec();
    assert_eq!(addresses.len(), 4);
    let handle = server.handle();
    let clients = std::thread::spawn(move || {
        let mut answers = Vec::new();
        let mut buffer = [0; 64];
        let mut tcp = connect(&addresses[0]);
        tcp.write_all(b"tcp\n").expect("it is sent");
        answers.push(tcp.read(&mut buffer).map(|bytes| buffer[..bytes].to_vec()));
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        udp.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        udp.send_to(b"udp\n", addresses[1].trim_start_matches("udp:")).expect("it is sent");
        answers.push(udp.recv(&mut buffer).map(|bytes| buffer[..bytes].to_vec()));
        let mut unix = UnixStream::connect(stream).expect("somebody listens");
        unix.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        unix.write_all(b"unix\n").expect("it is sent");
        answers.push(unix.read(&mut buffer).map(|bytes| buffer[..bytes].to_vec()));
        let unixgram = UnixDatagram::bind(&own).expect("a new file");
        unixgram.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        unixgram.send_to(b"unixgram\n", datagrams).expect("it is sent");
        answers.push(unixgram.recv(&mut buffer).map(|bytes| buffer[..bytes].to_vec()));
        std::fs::remove_file(own).expect("it is ours");
        handle.shutdown();
        answers.into_iter().map(|answer| answer.expect("an answer")).collect::<Vec<_>>()
    });
    assert_eq!(server.serve_forever().expect("poll works"), End::Done);
    let answers = clients.join().expect("all were answered");
    assert_eq!(answers, [&b"TCP\n"[..], b"UDP\n", b"UNIX\n", b"UNIXGRAM\n"]);
    drop(server);
    assert!(!path("stream").exists() && !path("datagrams").exists(), "the files are gone with the server");
}

#[test]
fn a_handler_ends_the_server_and_everyone_gets_what_is_due() {
    let (mut server, reasons) = upper("127.0.0.1:0");
    let address = server.addresses()[0].clone();
    let client = std::thread::spawn(move || {
        let mut client = connect(&address);
        client.write_all(b"last words\nshutdown\n").expect("it is sent");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("an answer");
        answer
    });
    assert_eq!(server.serve_forever().expect("poll works"), End::Done);
    assert_eq!(client.join().expect("it was answered"), "LAST WORDS\n");
    assert_eq!(*reasons.borrow(), [Reason::ServerClosing]);
    // It serves no more, and does not wait for what will not come.
    assert!(!server.handle_request(None).expect("there is nothing to poll"));
    assert_eq!(server.serve_forever().expect("there is nothing to poll"), End::Done);
}

#[test]
fn what_cannot_be_bound_is_an_error_of_its_kind() {
    let (server, _) = upper("127.0.0.1:0");
    let error = |address: &str| {
        let bound = Server::bind(address, |_peer| |_request: &mut Request<'_>| {});
        bound.err().expect("it cannot be bound")
    };
    assert_eq!(error("nonsense").kind(), ErrorKind::InvalidInput);
    let taken = error(&server.addresses()[0]);
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    assert!(taken.to_string().contains("who holds it: ss -tlnp"), "{taken}");
}
