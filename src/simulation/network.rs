//! The world outside the server: sockets, time, and what goes wrong between them.
//!
//! Readiness is edge-triggered and as stingy as it may be: an event comes when a pipe that was empty has
//! something, when a write that fell short finds room again, and when interest is asked for anew; whatever
//! the loop forgets of it, nobody repeats.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque, vec_deque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::pipe::Pipe;
use super::plan::{Fault, Faults};
use super::random::Random;
use super::trace::Trace;
use crate::engine::{Moment, Now, Peer};
use crate::event_loop::check::Truth;

/// The wall clock at the start: an ordinary morning.
const BEGAN_UNIX_S: i64 = 1_795_255_200;

/// What will happen outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Happening {
    /// Something arrives at the server's end of a socket.
    Arrive(usize),
    /// A socket that gave nothing, or took nothing, does again.
    Unblock(usize),
    /// A person does something.
    Person(usize),
}

/// Edges that were not told yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Edges {
    pub(super) is_readable: bool,
    pub(super) is_writable: bool,
    pub(super) is_read_closed: bool,
    pub(super) is_broken: bool,
}

impl Edges {
    pub(super) fn is_empty(self) -> bool {
        self == Edges::default()
    }
}

/// A socket, both ends of it.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) peer: Peer,
    /// Where the loop keeps it, while it is watched.
    pub(super) slot: Option<usize>,
    pub(super) edges: Edges,
    pub(super) wants_write: bool,
    /// A write took less than was offered, and no room was told since.
    pub(super) fell_short: bool,
    pub(super) inbound: Pipe,
    pub(super) outbound: Pipe,
    /// Until when it gives nothing although something is there.
    pub(super) reads_block_until: u64,
    /// Until when it takes nothing although there is room.
    pub(super) writes_block_until: u64,
    /// Until when the kernel has no buffers for it, of whose end nobody tells.
    pub(super) no_buffers_until: u64,
    /// What the next system call fails with.
    pub(super) error: Option<i32>,
    /// The connection was reset; after the error was told, it reads as ended.
    pub(super) is_reset: bool,
    /// The server's descriptor is open.
    pub(super) is_open: bool,
    pub(super) server_finished: bool,
    pub(super) is_aborted: bool,
    /// The person at the other end is gone.
    pub(super) person_left: bool,
    /// It is the console: reading less than was asked for says nothing.
    pub(super) is_console: bool,
    pub(super) was_refused: bool,
    /// Who is at the other end.
    pub(super) person: Option<usize>,
    /// All that the server wrote to it.
    pub(super) written: Vec<u8>,
}

/// Everything outside the server.
#[derive(Debug)]
pub struct Network {
    pub(super) faults: Faults,
    pub(super) random: Random,
    /// Nanoseconds since the start.
    pub(super) time: u64,
    /// Nanoseconds that the server's own work took since the last poll: what happened meanwhile, it has not
    /// been told yet.
    pub(super) time_at_work: u64,
    pub(super) wall_offset_s: i64,
    pub(super) sockets: Vec<Socket>,
    /// Sockets that wait to be accepted.
    pub(super) backlog: VecDeque<usize>,
    pub(super) listener_edge: bool,
    pub(super) waker_edge: bool,
    pub(super) descriptors_max: usize,
    pub(super) happenings: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    happenings_count: u64,
    /// No faults any more, and everyone reads.
    pub(super) is_calm: bool,
    /// Nothing will ever happen again unless somebody does something.
    pub(super) is_at_rest: bool,
    /// What the loop did to a descriptor that it must not do, where no call of its own could say so.
    pub(super) violation: Option<String>,
    /// The run is over: what is dropped now, is dropped with the loop.
    pub(super) is_over: bool,
    /// What the loop's clock showed after the last poll.
    pub(super) polled_at: Moment,
    pub(super) trace: Trace,
    pub(super) sometimes: BTreeMap<&'static str, u64>,
    /// What the loop asked of the system since its last poll.
    pub(super) calls: Calls,
}

/// System calls of one turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Calls {
    pub(super) accepts: usize,
    pub(super) reads: usize,
    pub(super) writes: usize,
    pub(super) bytes_read: usize,
}

impl Network {
    /// A network that so many people use.
    pub(super) fn new(seed: u64, faults: Faults, people: usize, in_words: bool) -> Self {
        let mut random = Random::new(seed, "network", 0);
        let is_short = random.chance(faults.rate(Fault::FewDescriptors).saturating_mul(2));
        let descriptors_max = if is_short { random.between(1, people as u64) } else { 1 << 20 };
        Network {
            faults,
            random,
            time: 0,
            time_at_work: 0,
            wall_offset_s: 0,
            sockets: Vec::new(),
            backlog: VecDeque::new(),
            listener_edge: false,
            waker_edge: false,
            descriptors_max: descriptors_max as usize,
            happenings: BinaryHeap::new(),
            happenings_count: 0,
            is_calm: false,
            is_at_rest: false,
            violation: None,
            is_over: false,
            polled_at: Moment::START,
            trace: Trace::new(in_words),
            sometimes: BTreeMap::new(),
            calls: Calls::default(),
        }
    }

    pub(super) fn now(&self) -> Now {
        let time = self.time + self.time_at_work;
        let unix_s = BEGAN_UNIX_S + self.wall_offset_s + (time / 1_000_000_000) as i64;
        Now { moment: Moment::START + Duration::from_nanos(time), unix_s }
    }

    /// Counts that something happened that must happen sometimes.
    pub(super) fn sometimes(&mut self, what: &'static str) {
        *self.sometimes.entry(what).or_default() += 1;
    }

    /// Whether the fault strikes now.
    pub(super) fn strikes(&mut self, fault: Fault) -> bool {
        let rate = self.faults.rate(fault);
        let strikes = rate > 0 && !self.is_calm && self.random.chance(rate);
        if strikes {
            self.sometimes(fault.name());
        }
        strikes
    }

    pub(super) fn schedule(&mut self, time: u64, happening: Happening) {
        self.happenings_count += 1;
        self.happenings.push(Reverse((time, self.happenings_count, happening)));
    }

    /// When something happens next.
    pub(super) fn next_time(&self) -> Option<u64> {
        self.happenings.peek().map(|Reverse((time, ..))| *time)
    }

    /// What happens now, one by one.
    pub(super) fn next_due(&mut self) -> Option<Happening> {
        if self.next_time()? > self.time {
            return None;
        }
        self.happenings.pop().map(|Reverse((.., happening))| happening)
    }

    /// Lets time pass: some microseconds, or a suspended machine's seconds.
    pub(super) fn spend(&mut self) {
        self.time += std::mem::take(&mut self.time_at_work) + self.random.between(1_000, 50_000);
        if self.strikes(Fault::Suspends) {
            self.time += self.random.log_between(1_000_000, 20_000_000_000);
        }
        if self.strikes(Fault::WallSteps) {
            let step = self.random.log_between(1, 31_536_000) as i64;
            self.wall_offset_s += if self.random.chance(500) { step } else { -step };
        }
    }

    fn arrival(&mut self) -> u64 {
        let latency = if self.strikes(Fault::Latency) {
            self.random.log_between(1_000, 1_000_000_000)
        } else {
            self.random.between(0, 20_000)
        };
        self.time + latency
    }

    // ---- the other ends ----

    /// Opens the console's stream.
    pub(super) fn open_console(&mut self) -> usize {
        let key = self.add_socket(Peer::Console);
        let socket = &mut self.sockets[key];
        socket.is_console = true;
        socket.is_open = true;
        key
    }

    /// Somebody connects: the listener tells of it only if nobody waited before.
    pub(super) fn connect(&mut self, address: u8, person: Option<usize>) -> usize {
        let port = 1024 + self.sockets.len() as u16 % 60_000;
        let peer = match address {
            0 => Peer::Inet(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
            1 => Peer::Unix,
            2 => Peer::Inet(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), port),
            3 => Peer::Inet(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, port)), port),
            _ => Peer::Inet(IpAddr::V4(Ipv4Addr::new(192, 0, 2, (self.sockets.len() % 250) as u8)), port),
        };
        let key = self.add_socket(peer);
        self.sockets[key].person = person;
        self.trace.add(1, &[key as u64], || format!("socket {key}: {peer} connects"));
        self.listener_edge |= self.backlog.is_empty();
        self.backlog.push_back(key);
        key
    }

    fn add_socket(&mut self, peer: Peer) -> usize {
        let rate = self.faults.rate(Fault::SmallSockets);
        let is_small = rate > 0 && self.random.chance(300 + rate);
        let capacity_bytes = if is_small {
            self.sometimes(Fault::SmallSockets.name());
            self.random.log_between(1, 200) as usize
        } else {
            self.random.log_between(4096, 1 << 16) as usize
        };
        self.sockets.push(Socket {
            peer,
            slot: None,
            edges: Edges::default(),
            wants_write: false,
            fell_short: false,
            inbound: Pipe::new(self.random.log_between(64, 1 << 16) as usize),
            outbound: Pipe::new(capacity_bytes),
            reads_block_until: 0,
            writes_block_until: 0,
            no_buffers_until: 0,
            error: None,
            is_reset: false,
            is_open: false,
            server_finished: false,
            is_aborted: false,
            person_left: false,
            is_console: false,
            was_refused: false,
            person: None,
            written: Vec::new(),
        });
        self.sockets.len() - 1
    }

    /// A person sends as much of it as the socket takes; returns how much that is.
    pub(super) fn send(&mut self, key: usize, bytes: &[u8]) -> usize {
        let arrival = self.arrival();
        let socket = &mut self.sockets[key];
        if socket.person_left || socket.is_reset || socket.inbound.is_finished {
            return 0;
        }
        let taken = bytes.len().min(socket.inbound.room());
        if taken > 0 {
            let arrival = socket.inbound.put(arrival, &bytes[..taken]);
            self.schedule(arrival, Happening::Arrive(key));
            self.trace.add(2, &[key as u64, taken as u64], || {
                format!("socket {key}: sends {} ({taken} of {} bytes)", shown(&bytes[..taken]), bytes.len())
            });
        }
        taken
    }

    /// A person says that no more will come.
    pub(super) fn finish(&mut self, key: usize) {
        let arrival = self.arrival();
        let socket = &mut self.sockets[key];
        if !socket.person_left && !socket.is_reset {
            let arrival = socket.inbound.finish(arrival);
            self.schedule(arrival, Happening::Arrive(key));
            self.trace.add(3, &[key as u64], || format!("socket {key}: ends its side"));
        }
    }

    /// A person takes up to so many bytes of what came; returns how many.
    pub(super) fn receive(&mut self, key: usize, bytes_max: usize) -> usize {
        self.receive_by(key, bytes_max, |bytes| bytes.len())
    }

    /// The same, with a look at the bytes.
    pub(super) fn receive_by(
        &mut self,
        key: usize,
        bytes_max: usize,
        look: impl FnOnce(vec_deque::Drain<'_, u8>) -> usize,
    ) -> usize {
        let time = self.time;
        let socket = &mut self.sockets[key];
        socket.outbound.advance(time);
        let bytes = bytes_max.min(socket.outbound.there.len());
        let taken = look(socket.outbound.there.drain(..bytes));
        if taken > 0 {
            self.room_again(key);
        }
        taken
    }

    /// A person goes: what is unread is lost, and the server told so, as a kernel does.
    pub(super) fn leave(&mut self, key: usize) {
        let time = self.time;
        let socket = &mut self.sockets[key];
        socket.outbound.advance(time);
        if socket.outbound.there.is_empty() {
            self.finish(key);
            self.sockets[key].person_left = true;
        } else {
            self.reset(key);
        }
    }

    /// A connection breaks: what was on its way is lost.
    pub(super) fn reset(&mut self, key: usize) {
        const ECONNRESET: i32 = 104;
        let keeps_input = self.random.chance(500);
        let socket = &mut self.sockets[key];
        if socket.is_reset || socket.is_console {
            return;
        }
        socket.is_reset = true;
        socket.person_left = true;
        socket.inbound.cut();
        if !keeps_input {
            socket.inbound.there.clear();
        }
        socket.inbound.is_finished = true;
        socket.error = Some(ECONNRESET);
        socket.edges = Edges { is_readable: true, is_writable: true, is_read_closed: true, is_broken: true };
        self.trace.add(4, &[key as u64], || format!("socket {key}: is reset"));
    }

    /// Something is at the server's end of a socket that was not before.
    pub(super) fn arrive(&mut self, key: usize) {
        let time = self.time;
        let socket = &mut self.sockets[key];
        let was_empty = socket.inbound.there.is_empty();
        let was_finished = socket.inbound.is_finished;
        socket.inbound.advance(time);
        if was_empty && !socket.inbound.there.is_empty() && time >= socket.reads_block_until {
            socket.edges.is_readable = true;
        }
        if !was_finished && socket.inbound.is_finished {
            socket.edges.is_readable = true;
            socket.edges.is_read_closed = true;
        }
    }

    /// A socket that gave or took nothing does again, which is told.
    pub(super) fn unblock(&mut self, key: usize) {
        let time = self.time;
        let socket = &mut self.sockets[key];
        if time >= socket.reads_block_until && !socket.inbound.there.is_empty() {
            socket.edges.is_readable = true;
        }
        self.room_again(key);
    }

    pub(super) fn room_again(&mut self, key: usize) {
        let time = self.time;
        let socket = &mut self.sockets[key];
        if socket.fell_short
            && socket.wants_write
            && time >= socket.writes_block_until
            && socket.outbound.room() > 0
        {
            socket.fell_short = false;
            socket.edges.is_writable = true;
        }
    }

    /// What a check of the loop is told of a socket.
    pub(super) fn truth(&self, key: usize) -> Truth {
        let socket = &self.sockets[key];
        let has_input = match socket.inbound.there.is_empty() {
            true => socket.inbound.is_finished || socket.error.is_some(),
            false => self.time >= socket.reads_block_until,
        };
        let has_room = socket.outbound.room() > 0
            && self.time >= socket.writes_block_until
            && self.time >= socket.no_buffers_until;
        Truth {
            slot: socket.slot,
            wants_write: socket.wants_write,
            is_readable_and_told: has_input && !socket.edges.is_readable,
            is_writable_and_told: has_room && !socket.edges.is_writable && !socket.fell_short,
        }
    }

    /// No faults from here on.
    pub(super) fn calm(&mut self) {
        self.is_calm = true;
        self.descriptors_max = 1 << 20;
        for key in 0..self.sockets.len() {
            let socket = &mut self.sockets[key];
            socket.reads_block_until = 0;
            socket.writes_block_until = 0;
            socket.no_buffers_until = 0;
            socket.outbound.capacity_bytes = socket.outbound.capacity_bytes.max(1 << 16);
            self.unblock(key);
        }
    }
}

/// Bytes for a person's eyes.
pub(super) fn shown(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 60;
    let more = if bytes.len() > SHOWN_MAX { "..." } else { "" };
    format!("\"{}\"{more}", bytes[..bytes.len().min(SHOWN_MAX)].escape_ascii())
}
