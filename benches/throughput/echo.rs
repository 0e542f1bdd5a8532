//! Echo: round trips a second over TCP, UDP and Unix sockets, streams and datagrams.
//!
//! One client and the server in one thread: the client's calls are part of a round trip.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::rc::Rc;

use criterion::{Criterion, Throughput};
use onepoll::engine::Peer;
use onepoll::event_loop::address::Address;
use onepoll::event_loop::io::{Bound, SocketOptions, System};
use onepoll::event_loop::{EventLoop, Linger};
use onepoll::limits;
use onepoll::servers::echo::{Echo, Style};
use onepoll::socketserver::Dispatch;

/// Bytes of a message, as in the fan-out.
const MESSAGE_BYTES: usize = 64;

type Server<F> = EventLoop<System, Dispatch<Echo, F>>;

/// A server on one address; returns that address, too.
fn serve(address: &str) -> (Server<impl FnMut(Peer) -> Echo + use<>>, String) {
    let options = SocketOptions::default();
    let style = Rc::new(Style { template: None, by_lines: false, idle_max: None });
    let dispatch = Dispatch::new(move |_peer| Echo::new(&style));
    let system = System::new(options).expect("descriptors are left");
    let mut event_loop = EventLoop::new(system, dispatch, Linger::Stalled(limits::LINGER));
    let address: Address = address.parse().expect("an address");
    let bound = Bound::bind_all(&address, &options).expect("it is free").pop().expect("one");
    let address = bound.address();
    event_loop.open(bound).expect("it can be watched");
    (event_loop, address)
}

/// The path of a socket of this process; nobody answers there yet.
fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("onepoll-bench-{name}-{}", std::process::id()))
}

fn round_trips<F: FnMut(Peer) -> Echo>(
    criterion: &mut Criterion,
    kind: &str,
    mut server: Server<F>,
    mut send: impl FnMut(&[u8]),
    mut receive: impl FnMut(&mut [u8]) -> usize,
) {
    let message = [b'x'; MESSAGE_BYTES];
    let mut answer = [0; 2 * MESSAGE_BYTES];
    send(&message);
    server.turn().expect("poll works");
    // The first turn of a connection only accepts it.
    if server.engine().shared().connections() > 0 {
        server.turn().expect("poll works");
    }
    assert_eq!(receive(&mut answer), MESSAGE_BYTES);
    let mut group = criterion.benchmark_group("echo");
    group.throughput(Throughput::Elements(1));
    group.bench_function(kind, |bencher| {
        bencher.iter(|| {
            send(&message);
            server.turn().expect("poll works");
            assert_eq!(receive(&mut answer), MESSAGE_BYTES);
        });
    });
    group.finish();
}

pub fn bench(criterion: &mut Criterion) {
    let (server, address) = serve("127.0.0.1:0");
    let client = TcpStream::connect(address).expect("somebody listens");
    client.set_nodelay(true).expect("TCP has NODELAY");
    let send = |message: &[u8]| (&client).write_all(message).expect("the server reads");
    round_trips(criterion, "tcp", server, send, |answer| (&client).read(answer).expect("an answer"));

    let (server, address) = serve("udp:127.0.0.1:0");
    let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    client.connect(address.trim_start_matches("udp:")).expect("an address");
    let send = |message: &[u8]| assert_eq!(client.send(message).expect("it is sent"), message.len());
    round_trips(criterion, "udp", server, send, |answer| client.recv(answer).expect("an answer"));

    let stream = path("stream");
    let (server, _) = serve(&format!("unix:{}", stream.display()));
    let client = UnixStream::connect(stream).expect("somebody listens");
    let send = |message: &[u8]| (&client).write_all(message).expect("the server reads");
    round_trips(criterion, "unix", server, send, |answer| (&client).read(answer).expect("an answer"));

    let (datagrams, own) = (path("datagrams"), path("client"));
    let (server, _) = serve(&format!("unixgram:{}", datagrams.display()));
    let client = UnixDatagram::bind(&own).expect("a new file");
    client.connect(datagrams).expect("somebody is there");
    let send = |message: &[u8]| assert_eq!(client.send(message).expect("it is sent"), message.len());
    round_trips(criterion, "unixgram", server, send, |answer| client.recv(answer).expect("an answer"));
    std::fs::remove_file(own).expect("it is there");
}
