//! A bad network between a real client and the real server: it passes on what comes, late, in slices, after a
//! while in which nothing passes, or not to its end.
//!
//! What befalls a connection follows from the seed and its number alone, and what passes is never changed: TCP
//! does the same to a stream, only more seldom. One thread for each direction.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::seeds::Random;

/// What befalls a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Some of it comes a little late.
    Delays,
    /// It comes in slices of some bytes.
    Slices,
    /// Nothing passes for a while.
    Holds,
    /// It ends in the middle, as if both had closed it.
    Cut,
    /// It breaks off in the middle, with a reset.
    Reset,
}

impl Fate {
    const ALL: [Fate; 5] = [Fate::Delays, Fate::Slices, Fate::Holds, Fate::Cut, Fate::Reset];

    /// Whether it comes to an end before its time.
    pub fn is_cut(self) -> bool {
        matches!(self, Fate::Cut | Fate::Reset)
    }
}

/// How bad it is.
#[derive(Clone)]
pub struct Weather {
    /// How long a hold lasts, unless it clears up before.
    pub hold: Duration,
    /// After how many bytes of a client's it is held or cut, if it is.
    pub up_bytes: Range<usize>,
    /// The same of the server's.
    pub down_bytes: Range<usize>,
}

/// It listens where clients connect to, for as long as it is there.
pub struct Proxy {
    pub address: String,
    /// What befalls the first connection; the others follow in turn.
    first_fate: usize,
    sky: Arc<Sky>,
    is_over: Arc<AtomicBool>,
}

/// Whether it cleared up.
#[derive(Default)]
struct Sky {
    is_clear: Mutex<bool>,
    clears: Condvar,
}

impl Sky {
    fn is_clear(&self) -> bool {
        *self.is_clear.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        *self.is_clear.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.clears.notify_all();
    }

    /// Waits until it is clear, or so long.
    fn wait(&self, most: Duration) {
        let is_clear = self.is_clear.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.clears.wait_timeout_while(is_clear, most, |is_clear| !*is_clear));
    }
}

impl Proxy {
    /// One in front of a server's TCP address.
    pub fn start(server: &str, weather: Weather, mut random: Random) -> Self {
        let server: SocketAddr = server.parse().expect("a TCP address");
        let listener = listen().expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let (sky, is_over) = (Arc::new(Sky::default()), Arc::new(AtomicBool::new(false)));
        let first_fate = random.below(Fate::ALL.len());
        let proxy = Proxy { address, first_fate, sky: Arc::clone(&sky), is_over: Arc::clone(&is_over) };
        std::thread::spawn(move || {
            for (number, client) in listener.incoming().enumerate() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let fate = fate_of(first_fate, number);
                let random = Random::new(random.next());
                if let (Ok(client), Ok(server)) = (client, connect(server)) {
                    carry_both(client, server, fate, number.is_multiple_of(2), &weather, random, &sky);
                }
            }
        });
        proxy
    }

    /// What befalls its connection of this number, in the order in which they were made.
    pub fn fate(&self, number: usize) -> Fate {
        fate_of(self.first_fate, number)
    }

    /// From now on all passes at once, and nothing more is cut.
    pub fn clear_up(&self) {
        self.sky.clear();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.clear_up();
        self.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.address);
    }
}

fn fate_of(first_fate: usize, number: usize) -> Fate {
    Fate::ALL[(first_fate + number) % Fate::ALL.len()]
}

/// A socket with little room, so that who is held is held by the other side, not in the kernel's buffers.
fn socket() -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(4096)?;
    // As on a real network: on loopback a segment has 64 KiB, and the buffer of who sends it room for forty.
    socket.set_tcp_mss(1400)?;
    Ok(socket)
}

fn listen() -> std::io::Result<TcpListener> {
    let socket = socket()?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(16)?;
    Ok(socket.into())
}

fn connect(server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = socket()?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

fn carry_both(
    client: TcpStream,
    server: TcpStream,
    fate: Fate,
    is_up_cut: bool,
    weather: &Weather,
    mut random: Random,
    sky: &Arc<Sky>,
) {
    let turns = [random.within(&weather.up_bytes), random.within(&weather.down_bytes)];
    let ways = Arc::new((client, server));
    for (is_up, turn_bytes) in [(true, turns[0]), (false, turns[1])] {
        let way = Way {
            ends: Arc::clone(&ways),
            is_up,
            fate,
            turn_bytes: (!fate.is_cut() || is_up == is_up_cut).then_some(turn_bytes),
            hold: weather.hold,
            random: Random::new(random.next()),
            sky: Arc::clone(sky),
        };
        std::thread::spawn(move || way.carry());
    }
}

/// One direction of a connection.
struct Way {
    /// The client's connection and the server's.
    ends: Arc<(TcpStream, TcpStream)>,
    is_up: bool,
    fate: Fate,
    /// After how many bytes its fate takes its turn.
    turn_bytes: Option<usize>,
    hold: Duration,
    random: Random,
    sky: Arc<Sky>,
}

impl Way {
    /// Until the end or an error of one side, which the other side sees as what it is.
    fn carry(mut self) {
        let ends = Arc::clone(&self.ends);
        let (client, server) = &*ends;
        let (mut from, mut to) = if self.is_up { (client, server) } else { (server, client) };
        let _ = to.set_nodelay(true);
        let mut chunk = [0; 16 * 1024];
        loop {
            let bytes_max = self.bytes_max(chunk.len());
            match from.read(&mut chunk[..bytes_max]) {
                Ok(0) => return drop(to.shutdown(Shutdown::Write)),
                Err(_) => return self.reset(),
                Ok(bytes) => {
                    self.wait();
                    if to.write_all(&chunk[..bytes]).is_err() {
                        return self.reset();
                    }
                    if self.comes_to_an_end_after(bytes) {
                        return;
                    }
                }
            }
        }
    }

    /// Bytes to be read next: none beyond where it is to be cut.
    fn bytes_max(&mut self, most: usize) -> usize {
        if self.sky.is_clear() {
            return most;
        }
        let bytes = match self.fate {
            Fate::Slices => self.random.within(&(1..64)),
            _ => self.random.within(&(1..most)),
        };
        bytes.min(self.turn_bytes.unwrap_or(bytes))
    }

    fn wait(&mut self) {
        if self.fate == Fate::Delays {
            let delay_us = self.random.below(2000) as u64;
            self.sky.wait(Duration::from_micros(delay_us));
        }
    }

    fn comes_to_an_end_after(&mut self, bytes: usize) -> bool {
        let Some(left) = self.turn_bytes.map(|left| left.saturating_sub(bytes)) else { return false };
        self.turn_bytes = Some(left);
        if left > 0 || self.sky.is_clear() {
            return false;
        }
        self.turn_bytes = None;
        match self.fate {
            Fate::Delays | Fate::Slices => return false,
            Fate::Holds => {
                self.sky.wait(self.hold);
                return false;
            }
            Fate::Reset => self.reset(),
            Fate::Cut => {
                let _ = self.ends.0.shutdown(Shutdown::Both);
                let _ = self.ends.1.shutdown(Shutdown::Both);
            }
        }
        true
    }

    /// Both sides see a reset, and the other direction's thread an error.
    fn reset(&self) {
        // Closing does not do it: the other thread has these sockets, too.
        let _ = rustix::net::connect_unspec(&self.ends.0);
        let _ = rustix::net::connect_unspec(&self.ends.1);
    }
}
