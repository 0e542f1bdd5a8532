//! The simulated operating system: what the production loop calls, over a [`Network`].

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::network::{Edges, Happening, Network, Socket};
use super::observed::{Log, Seen};
use super::plan::Fault;
use crate::engine::{Endpoint, Now, Peer};
use crate::event_loop::io::{Event, Io, Source};

const EINTR: i32 = 4;
const ENOMEM: i32 = 12;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
const EPIPE: i32 = 32;
const EPROTO: i32 = 71;
const UNHEARD_OF: i32 = 524;
const ECONNABORTED: i32 = 103;
const ECONNRESET: i32 = 104;
const ENOBUFS: i32 = 105;

/// Who is at the other ends of the connections.
pub(super) trait Crowd {
    /// The time of one of them has come ([`Happening::Person`]).
    fn act(&mut self, network: &mut Network, index: usize);

    /// Who has this socket does something soon: the server took something from it, or gave something.
    fn will_act(&self, network: &mut Network, key: usize);
}

/// The system under the loop, and the people at the other ends.
#[derive(Debug)]
pub struct Simulated<C> {
    network: Rc<RefCell<Network>>,
    people: Rc<RefCell<C>>,
    log: Log,
}

/// A descriptor of the server's; dropping it closes it.
#[derive(Debug)]
pub struct Descriptor {
    key: usize,
    network: Rc<RefCell<Network>>,
}

impl Descriptor {
    pub(super) fn key(&self) -> usize {
        self.key
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let mut network = self.network.borrow_mut();
        if network.is_over {
            return;
        }
        let key = self.key;
        let time = network.time;
        if network.sockets[key].slot.is_some() {
            network.violation =
                Some(format!("I9: the descriptor of socket {key} is closed while it is watched"));
        }
        let socket = &mut network.sockets[key];
        socket.is_open = false;
        // A kernel resets a connection that is closed over unread input, and says so to who sends more.
        if socket.is_aborted || !socket.inbound.there.is_empty() {
            socket.is_reset = true;
        } else if !socket.server_finished {
            socket.outbound.finish(time);
        }
        network.trace.add(10, &[key as u64], || format!("socket {key}: the server closes it"));
    }
}

fn failed<T>(code: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(code))
}

fn blocked<T>() -> io::Result<T> {
    Err(io::ErrorKind::WouldBlock.into())
}

impl<C: Crowd> Simulated<C> {
    pub(super) fn new(network: Rc<RefCell<Network>>, people: Rc<RefCell<C>>, log: Log) -> Self {
        Simulated { network, people, log }
    }

    pub(super) fn descriptor(&self, key: usize) -> Descriptor {
        Descriptor { key, network: Rc::clone(&self.network) }
    }

    /// All that happens until now, with what people do.
    fn let_happen(&self) {
        loop {
            let Some(happening) = self.network.borrow_mut().next_due() else { return };
            match happening {
                Happening::Arrive(key) => self.network.borrow_mut().arrive(key),
                Happening::Unblock(key) => self.network.borrow_mut().unblock(key),
                Happening::Person(index) => {
                    self.people.borrow_mut().act(&mut self.network.borrow_mut(), index);
                }
            }
        }
    }

    /// Moves what is to be told into `events`.
    fn tell(&self, events: &mut Vec<Event>) {
        let mut network = self.network.borrow_mut();
        let is_spurious = network.strikes(Fault::SpuriousEvents);
        for key in 0..network.sockets.len() {
            let Some(slot) = network.sockets[key].slot else { continue };
            let mut edges = network.sockets[key].edges;
            if !edges.is_empty() && network.strikes(Fault::DelayedEvents) {
                // It is told some time later, even if nothing else happens.
                let later = network.time + 1_000_000;
                network.schedule(later, Happening::Unblock(key));
                continue;
            }
            network.sockets[key].edges = Edges::default();
            if is_spurious && network.random.chance(300) {
                edges.is_readable |= network.random.chance(500);
                edges.is_writable |= network.random.chance(500);
            }
            if !edges.is_empty() {
                events.push(Event {
                    source: Source::Connection(slot),
                    is_readable: edges.is_readable,
                    is_writable: edges.is_writable,
                    is_read_closed: edges.is_read_closed,
                    is_broken: edges.is_broken,
                });
            }
        }
        let mut tell = |source| {
            events.push(Event {
                source,
                is_readable: true,
                is_writable: false,
                is_read_closed: false,
                is_broken: false,
            });
        };
        if std::mem::take(&mut network.listener_edge) {
            tell(Source::Listener(0));
        }
        if std::mem::take(&mut network.waker_edge) {
            tell(Source::Waker);
        }
        if network.strikes(Fault::ShuffledEvents) {
            network.random.shuffle(events);
        }
        for event in &*events {
            let numbers = [
                match event.source {
                    Source::Connection(slot) => slot as u64,
                    Source::Listener(_) => u64::MAX,
                    Source::Waker => u64::MAX - 1,
                },
                u64::from(event.is_readable) | u64::from(event.is_writable) << 1,
                u64::from(event.is_read_closed) | u64::from(event.is_broken) << 1,
            ];
            network.trace.add(11, &numbers, || format!("poll tells {event:?}"));
        }
    }
}

impl<C: Crowd> Io for Simulated<C> {
    type Stream = Descriptor;
    type Listener = ();

    fn now(&mut self) -> Now {
        self.network.borrow().now()
    }

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        self.network.borrow_mut().spend();
        self.let_happen();
        let deadline = {
            let mut network = self.network.borrow_mut();
            network.calls = super::network::Calls::default();
            if network.strikes(Fault::Interrupts) {
                network.trace.add(12, &[], || "poll is interrupted".into());
                network.polled_at = network.now().moment;
                return failed(EINTR);
            }
            timeout.map(|timeout| network.time.saturating_add(timeout.as_nanos() as u64))
        };
        loop {
            self.let_happen();
            self.tell(events);
            let mut network = self.network.borrow_mut();
            if !events.is_empty() || deadline.is_some_and(|deadline| deadline <= network.time) {
                network.polled_at = network.now().moment;
                return Ok(());
            }
            let next = [network.next_time(), deadline].into_iter().flatten().min();
            let Some(next) = next else {
                network.is_at_rest = true;
                network.polled_at = network.now().moment;
                return Ok(());
            };
            network.time = network.time.max(next);
        }
    }

    fn listen(&mut self, (): &mut (), _index: usize) -> io::Result<()> {
        Ok(())
    }

    fn accept(&mut self, (): &mut ()) -> io::Result<(Descriptor, Peer)> {
        let mut network = self.network.borrow_mut();
        network.calls.accepts += 1;
        if network.strikes(Fault::Interrupts) {
            return failed(EINTR);
        }
        // The kernel looks for a descriptor before it looks for a newcomer.
        let open = network.sockets.iter().filter(|socket| socket.is_open && !socket.is_console).count();
        if open >= network.descriptors_max {
            network.sometimes(Fault::FewDescriptors.name());
            network.trace.add(13, &[], || "accept: no descriptor is left".into());
            return failed(EMFILE);
        }
        if network.backlog.is_empty() {
            return blocked();
        }
        if network.strikes(Fault::AcceptErrors) {
            let code = *network.random.pick(&[ENFILE, ENOBUFS, ENOMEM, EPROTO, UNHEARD_OF]);
            network.trace.add(13, &[code as u64], || format!("accept fails with {code}"));
            if code == EPROTO {
                network.backlog.pop_front();
            }
            return failed(code);
        }
        let Some(key) = network.backlog.pop_front() else { return blocked() };
        if network.strikes(Fault::AbortedNewcomers) {
            network.sockets[key].person_left = true;
            network.sockets[key].is_reset = true;
            return failed(ECONNABORTED);
        }
        network.sockets[key].is_open = true;
        let peer = network.sockets[key].peer;
        network.trace.add(14, &[key as u64], || format!("socket {key}: is accepted"));
        drop(network);
        Ok((self.descriptor(key), peer))
    }

    fn accept_on_reserve(&mut self, (): &mut ()) -> io::Result<Descriptor> {
        let mut network = self.network.borrow_mut();
        let Some(key) = network.backlog.pop_front() else { return blocked() };
        network.sockets[key].is_open = true;
        network.sometimes("turned away on the reserve");
        drop(network);
        Ok(self.descriptor(key))
    }

    fn refuse(&mut self, stream: Descriptor, text: &str) -> usize {
        let mut network = self.network.borrow_mut();
        let key = stream.key;
        let time = network.time;
        network.sockets[key].was_refused = true;
        let taken = text.len().min(network.sockets[key].outbound.room());
        network.sockets[key].outbound.put(time, &text.as_bytes()[..taken]);
        network.trace.add(15, &[key as u64], || format!("socket {key}: is refused: {}", text.trim_end()));
        drop(network);
        drop(stream);
        taken
    }

    fn connect(&mut self, _endpoint: &Endpoint) -> io::Result<Descriptor> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn connected(&mut self, _stream: &Descriptor) -> io::Result<Peer> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn register(&mut self, stream: &mut Descriptor, slot: usize, wants_write: bool) -> io::Result<bool> {
        let mut network = self.network.borrow_mut();
        if !network.sockets[stream.key].is_console && network.strikes(Fault::UnwatchedSockets) {
            return failed(ENOSPC);
        }
        let slot_is_taken = network.sockets.iter().any(|socket| socket.slot == Some(slot));
        let socket = &mut network.sockets[stream.key];
        assert!(socket.slot.is_none(), "I9: a descriptor is watched twice");
        assert!(!slot_is_taken, "I9: two descriptors are told of as the same slot");
        socket.slot = Some(slot);
        socket.wants_write = wants_write;
        let socket = &mut network.sockets[stream.key];
        socket.edges.is_readable |= !socket.inbound.there.is_empty() || socket.inbound.is_finished;
        socket.edges.is_read_closed |= socket.inbound.is_finished;
        Ok(false)
    }

    fn set_interest(&mut self, stream: &mut Descriptor, slot: usize, wants_write: bool) -> io::Result<()> {
        let mut network = self.network.borrow_mut();
        let time = network.time;
        if network.faults.rate(Fault::UnwatchedSockets) > 100 && network.strikes(Fault::UnwatchedSockets) {
            return failed(ENOMEM);
        }
        let socket = &mut network.sockets[stream.key];
        assert_eq!(socket.slot, Some(slot), "I9: the interest of a slot that is not its own");
        socket.wants_write = wants_write;
        // Asking anew has the kernel look at once, and tell what is so.
        if wants_write && socket.outbound.room() > 0 && time >= socket.writes_block_until {
            socket.edges.is_writable = true;
            socket.fell_short = false;
        }
        Ok(())
    }

    fn deregister(&mut self, stream: &mut Descriptor) {
        let mut network = self.network.borrow_mut();
        let now = network.now();
        let socket = &mut network.sockets[stream.key];
        if let Some(slot) = socket.slot.take() {
            let Socket { is_aborted, is_reset, .. } = *socket;
            self.log.borrow_mut().push((now, Seen::Released { slot, is_aborted, is_reset }));
        }
        socket.edges = Edges::default();
    }

    fn read(&mut self, stream: &mut Descriptor, buffer: &mut [u8]) -> io::Result<usize> {
        let mut network = self.network.borrow_mut();
        let key = stream.key;
        let time = network.time;
        network.calls.reads += 1;
        if network.strikes(Fault::Interrupts) {
            return failed(EINTR);
        }
        let socket = &mut network.sockets[key];
        if socket.inbound.there.is_empty()
            && let Some(code) = socket.error.take()
        {
            network.trace.add(16, &[key as u64], || format!("socket {key}: reading fails with {code}"));
            return failed(code);
        }
        if socket.inbound.there.is_empty() {
            if socket.inbound.is_finished {
                network.trace.add(17, &[key as u64], || format!("socket {key}: reads as ended"));
                return Ok(0);
            }
            return blocked();
        }
        if time < socket.reads_block_until {
            return blocked();
        }
        if network.strikes(Fault::WouldBlock) {
            network.block_reads(key);
            return blocked();
        }
        let is_short = network.strikes(Fault::ShortReads);
        let there = network.sockets[key].inbound.there.len();
        let most = if is_short { network.random.log_between(1, there as u64) as usize } else { usize::MAX };
        let bytes_max = buffer.len().min(most);
        let taken = network.sockets[key].inbound.take(&mut buffer[..bytes_max]);
        if taken < buffer.len() && taken < there {
            // What is left is as if it had arrived just after.
            network.block_reads(key);
        }
        network.calls.bytes_read += taken;
        network
            .trace
            .add(18, &[key as u64, taken as u64], || format!("socket {key}: {taken} bytes are read"));
        network.trace.hash_bytes(&buffer[..taken]);
        if network.is_calm {
            self.people.borrow().will_act(&mut network, key);
        }
        Ok(taken)
    }

    fn short_read_drains(&self, stream: &Descriptor) -> bool {
        !self.network.borrow().sockets[stream.key].is_console
    }

    fn write(&mut self, stream: &mut Descriptor, parts: [&[u8]; 2]) -> io::Result<usize> {
        let mut network = self.network.borrow_mut();
        let key = stream.key;
        let time = network.time;
        network.calls.writes += 1;
        let offered = parts[0].len() + parts[1].len();
        let socket = &network.sockets[key];
        assert!(!socket.server_finished, "a write after the end was told");
        if let Some(code) = network.sockets[key].error.take() {
            return failed(code);
        }
        let socket = &network.sockets[key];
        if socket.is_reset {
            return failed(EPIPE);
        }
        if socket.person_left {
            // Taken, and then answered by a reset.
            network.sockets[key].is_reset = true;
            network.sockets[key].error = Some(ECONNRESET);
            network.sockets[key].edges =
                Edges { is_readable: true, is_writable: true, is_read_closed: true, is_broken: true };
            return Ok(offered);
        }
        if time < socket.no_buffers_until {
            return failed(ENOBUFS);
        }
        if time < socket.writes_block_until {
            network.sockets[key].fell_short = true;
            return blocked();
        }
        if network.strikes(Fault::Interrupts) {
            return failed(EINTR);
        }
        if network.strikes(Fault::NoBuffers) {
            network.sockets[key].no_buffers_until = time + network.random.between(1, 200_000_000);
            return failed(ENOBUFS);
        }
        if network.strikes(Fault::WouldBlock) {
            network.block_writes(key);
            return blocked();
        }
        let is_short = network.strikes(Fault::ShortWrites);
        let most = if is_short { network.random.log_between(1, offered as u64) as usize } else { offered };
        let taken = most.min(network.sockets[key].outbound.room());
        if taken == 0 {
            network.sockets[key].fell_short = true;
            return blocked();
        }
        let bytes: Vec<u8> = parts.iter().copied().flatten().copied().take(taken).collect();
        network.sockets[key].outbound.put(time, &bytes);
        network.sockets[key].written.extend_from_slice(&bytes);
        if taken < offered {
            network.sockets[key].fell_short = true;
            if is_short {
                network.block_writes(key);
            }
        }
        network.trace.add(19, &[key as u64, taken as u64], || {
            format!("socket {key}: {taken} of {offered} bytes are written: {}", super::network::shown(&bytes))
        });
        network.trace.hash_bytes(&bytes);
        if let Some(slot) = network.sockets[key].slot {
            self.log.borrow_mut().push((network.now(), Seen::Wrote { slot, bytes }));
        }
        if network.is_calm {
            self.people.borrow().will_act(&mut network, key);
        }
        Ok(taken)
    }

    fn shutdown_write(&mut self, stream: &mut Descriptor) -> io::Result<bool> {
        let mut network = self.network.borrow_mut();
        let time = network.time;
        let key = stream.key;
        if network.sockets[key].is_console {
            return Ok(false);
        }
        if network.sockets[key].is_reset {
            return failed(EPIPE);
        }
        network.sockets[key].server_finished = true;
        network.sockets[key].outbound.finish(time);
        network.trace.add(20, &[key as u64], || format!("socket {key}: the server ends its side"));
        self.people.borrow().will_act(&mut network, key);
        Ok(true)
    }

    fn abort(&mut self, stream: &mut Descriptor) {
        self.network.borrow_mut().sockets[stream.key].is_aborted = true;
    }
}

impl Network {
    /// What is there is given a little later, which is told.
    fn block_reads(&mut self, key: usize) {
        let until = self.time + self.random.between(1_000, 5_000_000);
        self.sockets[key].reads_block_until = until;
        self.schedule(until, Happening::Unblock(key));
    }

    /// The room that there is is given a little later, which is told where it is of interest.
    fn block_writes(&mut self, key: usize) {
        let until = self.time + self.random.between(1_000, 5_000_000);
        self.sockets[key].writes_block_until = until;
        self.sockets[key].fell_short = true;
        self.schedule(until, Happening::Unblock(key));
    }
}
