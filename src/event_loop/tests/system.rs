//! A virtual operating system, as stingy with events as an edge trigger may be.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use crate::engine::{Endpoint, Moment, Now, Peer};
use crate::event_loop::io::{Event, Io, Source};

/// The far side of everything: what the tests see and change between turns.
#[derive(Default)]
pub(super) struct Net {
    pub(super) moment: Moment,
    pub(super) sockets: BTreeMap<usize, Socket>,
    /// Sockets that wait to be accepted.
    pub(super) backlog: VecDeque<usize>,
    pub(super) events: Vec<Event>,
    /// What the next accepts fail with.
    pub(super) accept_errors: VecDeque<i32>,
    /// What the next polls fail with.
    pub(super) poll_errors: VecDeque<i32>,
    pub(super) last_timeout: Option<Option<Duration>>,
    pub(super) refused: Vec<String>,
    /// How long each write takes.
    pub(super) write_takes: Duration,
}

#[derive(Default)]
pub(super) struct Socket {
    pub(super) slot: Option<usize>,
    pub(super) inbound: VecDeque<u8>,
    pub(super) peer_finished: bool,
    pub(super) outbound: Vec<u8>,
    pub(super) room: usize,
    pub(super) wants_write: bool,
    pub(super) fin_sent: bool,
    pub(super) is_gone: bool,
    /// Its peer sees that something is missing.
    pub(super) is_aborted: bool,
    pub(super) error: Option<i32>,
    /// What the next reads fail with.
    pub(super) read_errors: VecDeque<i32>,
    /// What the next writes fail with; 0: they take nothing, and do not say why.
    pub(super) write_errors: VecDeque<i32>,
    pub(super) interest_error: Option<i32>,
    pub(super) reads: usize,
    pub(super) writes: usize,
    /// Datagrams that wait, or what receiving fails with.
    pub(super) datagrams: VecDeque<Result<Sent, i32>>,
    /// Receivers of datagrams whose queue is full.
    pub(super) full: Vec<Endpoint>,
    pub(super) sent: Vec<Sent>,
}

/// A datagram, and from or to whom.
pub(super) type Sent = (Option<Endpoint>, Vec<u8>);

#[derive(Clone, Default)]
pub(super) struct Virtual(pub(super) Rc<RefCell<Net>>);

pub(super) fn os_error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

pub(super) const EINTR: i32 = 4;
pub(super) const EMFILE: i32 = 24;
pub(super) const ECONNABORTED: i32 = 103;
pub(super) const ECONNRESET: i32 = 104;
pub(super) const ENOBUFS: i32 = 105;

impl Virtual {
    /// A peer connects: the listener tells of it only if nobody waited before.
    pub(super) fn connect(&self) -> usize {
        let mut net = self.0.borrow_mut();
        let key = net.sockets.len();
        net.sockets.insert(key, Socket { room: 1 << 20, ..Socket::default() });
        if net.backlog.is_empty() {
            net.tell(Source::Listener(0), |event| event.is_readable = true);
        }
        net.backlog.push_back(key);
        key
    }

    /// A peer sends: its socket tells of it only if nothing was there before.
    pub(super) fn send(&self, key: usize, bytes: &[u8]) {
        let mut net = self.0.borrow_mut();
        let socket = net.sockets.get_mut(&key).expect("it connected");
        let was_empty = socket.inbound.is_empty();
        socket.inbound.extend(bytes);
        if was_empty {
            net.tell_socket(key, |event| event.is_readable = true);
        }
    }

    pub(super) fn finish(&self, key: usize) {
        let mut net = self.0.borrow_mut();
        net.sockets.get_mut(&key).expect("it connected").peer_finished = true;
        net.tell_socket(key, |event| {
            event.is_readable = true;
            event.is_read_closed = true;
        });
    }

    pub(super) fn reset(&self, key: usize) {
        let mut net = self.0.borrow_mut();
        net.sockets.get_mut(&key).expect("it connected").error = Some(ECONNRESET);
        net.tell_socket(key, |event| {
            event.is_readable = true;
            event.is_read_closed = true;
            event.is_writable = true;
            event.is_broken = true;
        });
    }

    pub(super) fn give_room(&self, key: usize, bytes: usize) {
        let mut net = self.0.borrow_mut();
        let socket = net.sockets.get_mut(&key).expect("it connected");
        let was_full = socket.room == 0;
        socket.room = bytes;
        if was_full && socket.wants_write {
            net.tell_socket(key, |event| event.is_writable = true);
        }
    }

    pub(super) fn with<R>(&self, key: usize, look: impl FnOnce(&mut Socket) -> R) -> R {
        look(self.0.borrow_mut().sockets.get_mut(&key).expect("it connected"))
    }

    pub(super) fn received(&self, key: usize) -> String {
        self.with(key, |socket| String::from_utf8(std::mem::take(&mut socket.outbound)).expect("text"))
    }

    pub(super) fn advance(&self, duration: Duration) {
        let mut net = self.0.borrow_mut();
        net.moment = net.moment + duration;
    }
}

impl Net {
    pub(super) fn tell(&mut self, source: Source, mark: impl FnOnce(&mut Event)) {
        let mut event =
            Event { source, is_readable: false, is_writable: false, is_read_closed: false, is_broken: false };
        mark(&mut event);
        self.events.push(event);
    }

    pub(super) fn tell_socket(&mut self, key: usize, mark: impl FnOnce(&mut Event)) {
        if let Some(slot) = self.sockets[&key].slot {
            self.tell(Source::Connection(slot), mark);
        }
    }
}

impl Io for Virtual {
    type Stream = usize;
    type Listener = ();

    fn now(&mut self) -> Now {
        Now { moment: self.0.borrow().moment, unix_s: 0 }
    }

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        let mut net = self.0.borrow_mut();
        net.last_timeout = Some(timeout);
        if let Some(code) = net.poll_errors.pop_front() {
            return Err(os_error(code));
        }
        events.append(&mut net.events);
        if events.is_empty()
            && let Some(timeout) = timeout
        {
            net.moment = net.moment + timeout;
        }
        Ok(())
    }

    fn listen(&mut self, (): &mut (), _index: usize) -> io::Result<()> {
        Ok(())
    }

    fn accept(&mut self, (): &mut ()) -> io::Result<(usize, Peer)> {
        let mut net = self.0.borrow_mut();
        if net.backlog.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if let Some(code) = net.accept_errors.pop_front() {
            if code == ECONNABORTED {
                net.backlog.pop_front();
            }
            return Err(os_error(code));
        }
        let key = net.backlog.pop_front().expect("it is not empty");
        Ok((key, Peer::Inet(Ipv4Addr::LOCALHOST.into(), 1)))
    }

    fn accept_on_reserve(&mut self, (): &mut ()) -> io::Result<usize> {
        self.0.borrow_mut().backlog.pop_front().ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn refuse(&mut self, _stream: usize, text: &str) -> usize {
        self.0.borrow_mut().refused.push(text.to_string());
        text.len()
    }

    fn connect(&mut self, _endpoint: &Endpoint) -> io::Result<usize> {
        let mut net = self.0.borrow_mut();
        let key = net.sockets.len();
        net.sockets.insert(key, Socket { room: 1 << 20, ..Socket::default() });
        Ok(key)
    }

    fn connected(&mut self, stream: &usize) -> io::Result<Peer> {
        match self.0.borrow().sockets[stream].error {
            Some(code) => Err(os_error(code)),
            None => Ok(Peer::Unix),
        }
    }

    fn register(&mut self, stream: &mut usize, slot: usize, wants_write: bool) -> io::Result<bool> {
        let mut net = self.0.borrow_mut();
        let socket = net.sockets.get_mut(stream).expect("it connected");
        socket.slot = Some(slot);
        socket.wants_write = wants_write;
        if !socket.inbound.is_empty() || !socket.datagrams.is_empty() {
            net.tell_socket(*stream, |event| event.is_readable = true);
        }
        Ok(false)
    }

    fn set_interest(&mut self, stream: &mut usize, _slot: usize, wants_write: bool) -> io::Result<()> {
        let mut net = self.0.borrow_mut();
        let socket = net.sockets.get_mut(stream).expect("it connected");
        if let Some(code) = socket.interest_error {
            return Err(os_error(code));
        }
        socket.wants_write = wants_write;
        if wants_write && socket.room > 0 {
            net.tell_socket(*stream, |event| event.is_writable = true);
        }
        Ok(())
    }

    fn deregister(&mut self, stream: &mut usize) {
        let mut net = self.0.borrow_mut();
        let socket = net.sockets.get_mut(stream).expect("it connected");
        socket.slot = None;
        socket.is_gone = true;
    }

    fn read(&mut self, stream: &mut usize, buffer: &mut [u8]) -> io::Result<usize> {
        let mut net = self.0.borrow_mut();
        let socket = net.sockets.get_mut(stream).expect("it connected");
        socket.reads += 1;
        if let Some(code) = socket.error {
            return Err(os_error(code));
        }
        if let Some(code) = socket.read_errors.pop_front() {
            return Err(os_error(code));
        }
        if socket.inbound.is_empty() {
            return if socket.peer_finished { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let bytes = buffer.len().min(socket.inbound.len());
        for (place, byte) in buffer.iter_mut().zip(socket.inbound.drain(..bytes)) {
            *place = byte;
        }
        Ok(bytes)
    }

    fn short_read_drains(&self, _stream: &usize) -> bool {
        true
    }

    fn write(&mut self, stream: &mut usize, parts: [&[u8]; 2]) -> io::Result<usize> {
        let mut net = self.0.borrow_mut();
        net.moment = net.moment + net.write_takes;
        let socket = net.sockets.get_mut(stream).expect("it connected");
        match socket.write_errors.pop_front() {
            None => {}
            Some(0) => return Ok(0),
            Some(code) => return Err(os_error(code)),
        }
        socket.writes += 1;
        let bytes = parts.concat();
        let taken = socket.room.min(bytes.len());
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        socket.outbound.extend_from_slice(&bytes[..taken]);
        socket.room -= taken;
        Ok(taken)
    }

    fn shutdown_write(&mut self, stream: &mut usize) -> io::Result<bool> {
        self.with(*stream, |socket| socket.fin_sent = true);
        Ok(true)
    }

    fn abort(&mut self, stream: &mut usize) {
        self.with(*stream, |socket| socket.is_aborted = true);
    }

    fn receive(&mut self, stream: &mut usize, buffer: &mut [u8]) -> io::Result<(usize, Option<Endpoint>)> {
        self.with(*stream, |socket| match socket.datagrams.pop_front() {
            None => Err(io::ErrorKind::WouldBlock.into()),
            Some(Err(code)) => Err(os_error(code)),
            Some(Ok((from, bytes))) => {
                let taken = bytes.len().min(buffer.len());
                buffer[..taken].copy_from_slice(&bytes[..taken]);
                Ok((bytes.len(), from))
            }
        })
    }

    fn send_to(&mut self, stream: &mut usize, to: Option<&Endpoint>, bytes: &[u8]) -> io::Result<()> {
        self.with(*stream, |socket| {
            if socket.room == 0 || to.is_some_and(|to| socket.full.contains(to)) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            if let Some(code) = socket.write_errors.pop_front() {
                return Err(os_error(code));
            }
            socket.sent.push((to.cloned(), bytes.to_vec()));
            Ok(())
        })
    }
}
