//! Web pages a second over kept connections: each client asks for one, or for several ahead.
//!
//! As in `fan_out`, server and clients share one thread, and only the server's turns are timed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use onepoll::engine::{Endpoint, Engine, Peer};
use onepoll::event_loop::io::{Listener, SocketOptions, System};
use onepoll::event_loop::{EventLoop, Linger};
use onepoll::limits;
use onepoll::servers::hello::{HTML, Site, Visitor};
use onepoll::socketserver::{Dispatch, Handler};

/// As `wrk` sends it.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8089\r\n\r\n";

const CONNECTIONS: usize = 64;

/// Requests that a client sends at once: one, as browsers do, and some ahead.
const REQUESTS: [usize; 2] = [1, 16];

/// A server with everyone connected.
struct Web<H: Handler, F: FnMut(Peer) -> H> {
    event_loop: EventLoop<System, Dispatch<H, F>>,
    clients: Vec<TcpStream>,
}

fn web() -> Web<Visitor, impl FnMut(Peer) -> Visitor> {
    let options = SocketOptions::default();
    let any_port = Endpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let listener = Listener::bind(&any_port, &options).expect("port 0 is free");
    let port = listener.port().expect("TCP has ports");
    let site = Site::new(200, Some(Duration::from_secs(60)), Some(Duration::from_secs(5)));
    let system = System::new(options).expect("descriptors are left");
    let mut event_loop =
        EventLoop::new(system, Dispatch::new(move |_peer| site.visitor()), Linger::Stalled(limits::LINGER));
    event_loop.listen(listener).expect("a listener can be watched");
    let clients: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| {
            let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("somebody listens");
            client.set_nonblocking(true).expect("a socket can be non-blocking");
            client
        })
        .collect();
    let mut web = Web { event_loop, clients };
    while web.event_loop.engine().shared().connections() < CONNECTIONS {
        web.turn();
    }
    web
}

impl<H: Handler, F: FnMut(Peer) -> H> Web<H, F> {
    fn turn(&mut self) {
        let end = self.event_loop.turn().expect("poll works");
        assert_eq!(end, None, "the server ended");
    }

    /// Has every client send `requests`, and read the answers; returns how long the server took.
    fn visit(&mut self, requests: &[u8], buffer: &mut [u8]) -> Duration {
        for client in &mut self.clients {
            client.write_all(requests).expect("the server reads");
        }
        let began = Instant::now();
        self.turn();
        // A turn with nothing to do would wait for ever.
        while self.event_loop.engine().has_ready() {
            self.turn();
        }
        let took = began.elapsed();
        for client in &mut self.clients {
            let bytes = client.read(buffer).expect("the answers are there after the last turn");
            assert!(buffer[..bytes].ends_with(HTML.as_bytes()), "the answers are torn");
            assert!(matches!(client.read(buffer), Err(error) if error.kind() == ErrorKind::WouldBlock));
        }
        took
    }
}

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hello");
    let mut web = web();
    let mut buffer = vec![0; 64 * 1024];
    for requests in REQUESTS {
        let text = REQUEST.repeat(requests);
        group.throughput(Throughput::Elements((CONNECTIONS * requests) as u64));
        let id = BenchmarkId::new(format!("{requests}_at_once"), format!("{CONNECTIONS}_connections"));
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|iterations| (0..iterations).map(|_| web.visit(&text, &mut buffer)).sum());
        });
    }
    group.finish();
}
