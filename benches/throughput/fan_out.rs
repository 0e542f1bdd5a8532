//! Deliveries a second over loopback TCP: one member of each room speaks, all of its members get it. By members,
//! by sizes of messages, and by rooms.
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

/// Bytes of a message, its line end included, in rooms of each size.
const LINE_BYTES: usize = 64;

/// Bytes of messages, their line ends included, in one room.
const LINE_SIZES: [usize; 3] = [512, 1024, 4000];

/// Messages of these sizes that arrive at once: what fits into the window of a socket that nobody has read yet.
const LINES_OF_SIZES: [usize; 2] = [1, 8];

/// The members of that room.
const MEMBERS_OF_SIZES: usize = 100;

/// Messages that arrive at once: alone, as people speak, and as many as a busy room has.
const LINES: [usize; 2] = [1, 64];

const MEMBERS: [usize; 3] = [10, 100, 1000];

/// Rooms that [`CLIENTS_OF_ROOMS`] are dealt out to, one speaker in each.
const ROOMS: [usize; 3] = [10, 100, 500];

const CLIENTS_OF_ROOMS: usize = 1000;

/// A server with everyone connected and in its room, and nothing left to do.
struct Server {
    rooms: usize,
    event_loop: EventLoop<System, Chat>,
    clients: Vec<TcpStream>,
    buffer: Vec<u8>,
}

impl Server {
    /// Client `i` is in room `i % rooms`.
    fn new(clients_max: usize, rooms: usize) -> Self {
        let options = SocketOptions::default();
        let any_port = Endpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let listener = Listener::bind(&any_port, &options).expect("port 0 is free");
        let port = listener.port().expect("TCP has ports");
        let config = Config {
            clients_max,
            rooms_max: rooms + 1,
            rate: None,
            notices: false,
            history_messages: 0,
            ..Config::default()
        };
        let system = System::new(options).expect("descriptors are left");
        let mut event_loop = EventLoop::new(system, Chat::new(config), Linger::InAll(limits::LINGER));
        event_loop.listen(listener).expect("a listener can be watched");
        // The backlog takes them in before the loop does.
        let clients: Vec<TcpStream> = (0..clients_max)
            .map(|_| {
                let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("somebody listens");
                client.set_nonblocking(true).expect("a socket can be non-blocking");
                client.set_nodelay(true).expect("TCP has NODELAY");
                client
            })
            .collect();
        let mut server = Server { rooms, event_loop, clients, buffer: vec![0; 256 * 1024] };
        while server.event_loop.engine().clients() < clients_max {
            server.turn();
        }
        server.turn_until_idle();
        for index in 0..if rooms > 1 { clients_max } else { 0 } {
            let command = format!("/join room{}\n", index % rooms);
            server.clients[index].write_all(command.as_bytes()).expect("the server reads");
            server.turn();
            server.turn_until_idle();
        }
        server.drop_greetings();
        server
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

    /// Has one member of each room say `lines`; returns how long the server took until everyone had them.
    fn fan_out(&mut self, text: &[u8], lines: usize) -> Duration {
        for client in &mut self.clients[..self.rooms] {
            client.write_all(text).expect("the server reads");
        }
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

fn text(line_bytes: usize, lines: usize) -> Vec<u8> {
    let mut line = vec![b'x'; line_bytes];
    line[line_bytes - 1] = b'\n';
    line.repeat(lines)
}

pub fn bench(criterion: &mut Criterion) {
    // A thousand members are two thousand descriptors here.
    black_box(io::raise_descriptor_limit());
    let mut group = criterion.benchmark_group("fan_out");
    for members in MEMBERS {
        let mut server = Server::new(members, 1);
        for lines in LINES {
            let text = text(LINE_BYTES, lines);
            group.throughput(Throughput::Elements((members * lines) as u64));
            let id = BenchmarkId::new(format!("{lines}_lines_at_once"), format!("{members}_members"));
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|iterations| (0..iterations).map(|_| server.fan_out(&text, lines)).sum());
            });
        }
    }
    let mut server = Server::new(MEMBERS_OF_SIZES, 1);
    for line_bytes in LINE_SIZES {
        for lines in LINES_OF_SIZES {
            let text = text(line_bytes, lines);
            group.throughput(Throughput::Elements((MEMBERS_OF_SIZES * lines) as u64));
            let id = BenchmarkId::new(format!("{lines}_lines_at_once"), format!("{line_bytes}_bytes"));
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|iterations| (0..iterations).map(|_| server.fan_out(&text, lines)).sum());
            });
        }
    }
    for rooms in ROOMS {
        let mut server = Server::new(CLIENTS_OF_ROOMS, rooms);
        let text = text(LINE_BYTES, 1);
        group.throughput(Throughput::Elements(CLIENTS_OF_ROOMS as u64));
        group.bench_function(BenchmarkId::new("1_line_at_once", format!("{rooms}_rooms")), |bencher| {
            bencher.iter_custom(|iterations| (0..iterations).map(|_| server.fan_out(&text, 1)).sum());
        });
    }
    group.finish();
}
