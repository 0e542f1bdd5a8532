//! Deliveries a second: one member speaks, all of them get it, over loopback TCP.
//!
//! Server and clients share one thread: the clients read between turns, when everything that they are due
//! is in their sockets already. Only the turns are timed, system calls included: the clients' half of
//! the work is not the server's.

use std::hint::black_box;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use onepoll::chat::Chat;
use onepoll::chat::config::Config;
use onepoll::engine::{Endpoint, Engine};
use onepoll::event_loop::io::{self, Listener, SocketOptions, System};
use onepoll::event_loop::{EventLoop, Linger};
use onepoll::limits;

/// Bytes of a message, its line end included; as `shared/bench` sends them.
const LINE_BYTES: usize = 64;

/// Messages that arrive at once: alone, as people speak, and as many as a busy room has.
const LINES: [usize; 2] = [1, 64];

const MEMBERS: [usize; 3] = [10, 100, 1000];

/// A server with everyone connected, and nothing left to do.
struct Room {
    event_loop: EventLoop<System, Chat>,
    clients: Vec<TcpStream>,
    buffer: Vec<u8>,
}

impl Room {
    fn new(members: usize) -> Self {
        let options = SocketOptions { send_buffer_bytes: limits::SEND_BUFFER_BYTES };
        let any_port = Endpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let listener = Listener::bind(&any_port, &options).expect("port 0 is free");
        let port = listener.port().expect("TCP has ports");
        let config = Config { clients_max: members, rate: None, ..Config::default() };
        let system = System::new(options).expect("descriptors are left");
        let mut event_loop = EventLoop::new(system, Chat::new(config), Linger::InAll(limits::LINGER));
        event_loop.listen(listener).expect("a listener can be watched");
        // The backlog takes them in before the loop does.
        let clients: Vec<TcpStream> = (0..members)
            .map(|_| {
                let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("somebody listens");
                client.set_nonblocking(true).expect("a socket can be non-blocking");
                client.set_nodelay(true).expect("TCP has NODELAY");
                client
            })
            .collect();
        let mut room = Room { event_loop, clients, buffer: vec![0; 256 * 1024] };
        while room.event_loop.engine().clients() < members {
            room.turn();
        }
        room.turn_until_idle();
        room.drop_greetings();
        room
    }

    fn turn(&mut self) {
        let end = self.event_loop.turn().expect("poll works");
        assert_eq!(end, None, "the server ended");
    }

    /// A turn with nothing to do would wait for ever.
    fn turn_until_idle(&mut self) {
        while self.event_loop.engine().has_ready() {
            self.turn();
        }
    }

    fn drop_greetings(&mut self) {
        for client in &mut self.clients {
            while !matches!(client.read(&mut self.buffer), Err(error) if error.kind() == ErrorKind::WouldBlock)
            {
            }
        }
    }

    /// Has one member say `lines`; returns how long the server took until everyone had them.
    fn fan_out(&mut self, text: &[u8], lines: usize) -> Duration {
        self.clients[0].write_all(text).expect("the server reads");
        let began = Instant::now();
        self.turn();
        self.turn_until_idle();
        let took = began.elapsed();
        for client in &mut self.clients {
            let mut lines_left = lines;
            while lines_left > 0 {
                let bytes = client.read(&mut self.buffer).expect("all is there after the last turn");
                assert!(bytes > 0, "the server closed");
                lines_left -= self.buffer[..bytes].iter().filter(|byte| **byte == b'\n').count();
            }
        }
        took
    }
}

pub fn bench(criterion: &mut Criterion) {
    // A thousand members are two thousand descriptors here.
    black_box(io::raise_descriptor_limit());
    let mut group = criterion.benchmark_group("fan_out");
    for members in MEMBERS {
        let mut room = Room::new(members);
        for lines in LINES {
            let mut text = [b'x'; LINE_BYTES];
            text[LINE_BYTES - 1] = b'\n';
            let text = text.repeat(lines);
            group.throughput(Throughput::Elements((members * lines) as u64));
            let id = BenchmarkId::new(format!("{lines}_lines_at_once"), format!("{members}_members"));
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|iterations| (0..iterations).map(|_| room.fan_out(&text, lines)).sum());
            });
        }
    }
    group.finish();
}
