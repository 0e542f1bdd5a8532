//! The event loop: one thread, one poll, one slab of connections.
//!
//! [`EventLoop::turn`] is the whole of it; `accept`, `read`, `flush` and `close` are its longer steps. The loop
//! owns the sockets ([`io`]) and what each of them still owes and is owed; it knows nothing of what the bytes
//! mean, which is an [`Engine`]'s business. Its
//! promise is fairness: nobody waits for more than a bounded amount of others' work. Its invariants: a
//! connection that may have something to read is on the pending list or its engine has paused it; a
//! slot is freed only at the end of a turn; closing is a state, never a recursion.

mod accept;
pub mod address;
#[cfg(any(test, feature = "simulation"))]
pub(crate) mod check;
mod close;
mod connection;
mod datagram;
mod flush;
pub mod io;
pub mod memory;
mod read;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::time::Duration;

use log::warn;
use rustix::io::Errno;
use slab::Slab;

use crate::deadlines::Deadlines;
use crate::engine::{
    Action, ConnectionId, Engine, ListenerId, Moment, Now, Peer, Reason, Shortage, TurnReport,
};
use crate::limits;
use crate::log_window::LogWindow;
use crate::sabotage::sabotaged;

pub use close::Linger;
use connection::{Connection, State};
use io::{Event, Io, Source};

/// How a loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everyone got what was due to them.
    Done,
    /// The time for that was over: so many connections were cut off.
    Overdue(usize),
    /// A second signal ended it at once: so many connections were cut off.
    CutShort(usize),
}

/// The event loop.
#[derive(Debug)]
pub struct EventLoop<I: Io, E> {
    io: I,
    engine: E,
    connections: Slab<Connection<I::Stream>>,
    /// Input that the engine did not consume, by slot: unfinished lines, and what back-pressure holds.
    inputs: HashMap<usize, Vec<u8>>,
    listeners: Vec<Listening<I::Listener>>,
    events: Vec<Event>,
    /// Connections that may have something to read, of which no further event will tell.
    pending: VecDeque<ConnectionId>,
    /// Connections whose write budget for this turn is spent.
    over_budget: Vec<ConnectionId>,
    closed: Vec<usize>,
    deadlines: Deadlines<Timer>,
    /// Where everything is read into first.
    scratch: Box<[u8]>,
    /// The same for datagrams, which come whole or torn; empty until there is a socket for them.
    datagram_scratch: Box<[u8]>,
    linger: Linger,
    budgets: Budgets,
    next_serial: u32,
    /// What the turn under way did until now.
    report: TurnReport,
    /// Turns that were logged because they took too long.
    slow_turns: LogWindow,
    stop_at: Option<Moment>,
    end: Option<End>,
    /// Of the datagram sockets, which are removed with the loop.
    files: Vec<io::SocketFile>,
}

/// How much of each kind of work is done in one turn; what is left over is done in the next. All are at
/// least 1. The defaults are the limits of the same names, which tell why.
#[derive(Clone, Copy, Debug)]
pub struct Budgets {
    /// Connections accepted from one listener.
    pub accepts: usize,
    /// Reads from one connection.
    pub connection_reads: usize,
    /// Reads from all connections.
    pub reads: usize,
    /// Bytes of one read.
    pub read_bytes: usize,
    /// Connections that are written to.
    pub flushes: usize,
    /// Writes to one connection.
    pub connection_writes: usize,
}

impl Default for Budgets {
    fn default() -> Self {
        Budgets {
            accepts: limits::ACCEPTS_PER_TURN_MAX,
            connection_reads: limits::CONNECTION_READS_PER_TURN_MAX,
            reads: limits::READS_PER_TURN_MAX,
            read_bytes: limits::READ_BYTES_MAX,
            flushes: limits::FLUSHES_PER_TURN_MAX,
            connection_writes: limits::CONNECTION_WRITES_PER_TURN_MAX,
        }
    }
}

#[derive(Debug)]
struct Listening<L> {
    listener: L,
    /// Somebody may wait, of whom no further event will tell.
    is_ready: bool,
    /// Accepting failed for want of descriptors or memory: until the deadline retries.
    is_paused: bool,
    /// It failed before the last pause too.
    was_paused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Accepting may work again.
    Accept(usize),
    /// A close has taken long enough.
    Linger(ConnectionId),
    /// A peer that will send no more may have stopped reading, too.
    Stall(ConnectionId),
    /// Connecting has taken long enough.
    Connect(ConnectionId),
    /// The kernel may have buffers again.
    Write(ConnectionId),
}

impl<I: Io, E: Engine> EventLoop<I, E> {
    /// A loop without connections. `linger` bounds how long a close waits for the peer.
    #[must_use]
    pub fn new(io: I, engine: E, linger: Linger) -> Self {
        Self::with_budgets(io, engine, linger, Budgets::default())
    }

    /// The same with other budgets.
    #[must_use]
    pub fn with_budgets(io: I, engine: E, linger: Linger, budgets: Budgets) -> Self {
        EventLoop {
            io,
            engine,
            connections: Slab::new(),
            inputs: HashMap::new(),
            listeners: Vec::new(),
            events: Vec::with_capacity(limits::EVENTS_PER_TURN_MAX),
            pending: VecDeque::new(),
            over_budget: Vec::new(),
            closed: Vec::new(),
            deadlines: Deadlines::new(),
            scratch: vec![0; budgets.read_bytes].into_boxed_slice(),
            datagram_scratch: Box::default(),
            linger,
            budgets,
            next_serial: 1,
            report: TurnReport::default(),
            slow_turns: LogWindow::default(),
            stop_at: None,
            end: None,
            files: Vec::new(),
        }
    }

    /// The program on the loop.
    pub fn engine(&self) -> &E {
        &self.engine
    }

    /// The program on the loop, to be told between two turns what no peer tells it.
    pub fn engine_mut(&mut self) -> &mut E {
        &mut self.engine
    }

    /// Ends the loop, and gives its program back.
    pub fn into_engine(self) -> E {
        self.engine
    }

    /// The system below the loop, to be asked between two turns what only that one knows.
    pub fn io_mut(&mut self) -> &mut I {
        &mut self.io
    }

    /// Ends the loop, and gives its system back.
    pub fn into_io(self) -> I {
        self.io
    }

    /// Accepts from a listener from now on. The engine is told by the id who came to it.
    ///
    /// # Errors
    /// Where the system cannot watch it.
    pub fn listen(&mut self, mut listener: I::Listener) -> std::io::Result<ListenerId> {
        let index = self.listeners.len();
        self.io.listen(&mut listener, index)?;
        // Somebody may have come before it was watched.
        self.listeners.push(Listening { listener, is_ready: true, is_paused: false, was_paused: false });
        Ok(ListenerId::new(index))
    }

    /// Takes in a stream that is open already: the console.
    ///
    /// # Errors
    /// Where the system cannot watch it.
    pub fn adopt(&mut self, stream: I::Stream, peer: Peer) -> std::io::Result<()> {
        let now = self.io.now();
        let id = self.insert(stream, State::Open)?;
        self.engine.handle_accepted(now, id, None, peer);
        self.apply_actions(now);
        Ok(())
    }

    /// Takes in a bound datagram socket.
    ///
    /// # Errors
    /// Where the system cannot watch it.
    pub fn open_datagrams(&mut self, stream: I::Stream) -> std::io::Result<()> {
        let now = self.io.now();
        let id = self.insert_datagrams(stream)?;
        self.engine.handle_bound(now, id);
        self.apply_actions(now);
        Ok(())
    }

    /// Turns until the engine stops it, or a second signal does.
    ///
    /// # Errors
    /// Only where the system's poll itself fails.
    pub fn run(&mut self) -> std::io::Result<End> {
        loop {
            if let Some(end) = self.turn()? {
                return Ok(end);
            }
        }
    }

    /// One turn:
    ///
    /// 1. Timeout: zero while somebody has work left over, else up to the next deadline, else none.
    /// 2. Poll, and read the clock. Nothing below reads it, but for the last step.
    /// 3. Accept, until nobody waits or the budget is spent.
    /// 4. Read from each connection that may have something, within budgets.
    /// 5. The engine consumes the bytes; output only grows queues, nothing is written yet.
    /// 6. Deadlines: the loop's own, then the engine's.
    /// 7. Flush: each connection with output is written to, within budgets.
    /// 8. Reap: slots of peers are freed only here, so that no event of this turn meets another's slot.
    /// 9. Report: the engine is told what the turn did, and how long that took by the clock; so is the log,
    ///    where it was too long.
    ///
    /// Returns how the loop ended, once it did.
    ///
    /// # Errors
    /// Only where the system's poll itself fails.
    pub fn turn(&mut self) -> std::io::Result<Option<End>> {
        // 1. Timeout
        let timeout = self.timeout();
        // 2. Poll
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        match self.io.poll(&mut events, timeout) {
            // The next turn computes what is left of the timeout.
            Err(error) if error.kind() == ErrorKind::Interrupted && !sabotaged!(FailOnInterrupt) => {}
            polled => polled?,
        }
        let now = self.io.now();
        self.report = TurnReport { events: events.len(), ..TurnReport::default() };
        for event in &events {
            self.note(now, *event);
        }
        self.events = events;
        // 3. Accept
        for index in 0..self.listeners.len() {
            self.accept(now, index);
        }
        if self.engine.wants_lost_newcomers() {
            let lost = self.io.lost_newcomers();
            self.engine.handle_lost_newcomers(lost.ok());
        }
        // 4. Read, 5. Consume
        self.read_pending(now);
        self.apply_actions(now);
        // 6. Deadlines
        self.handle_deadlines(now);
        self.engine.handle_turn(now);
        self.apply_actions(now);
        // 7. Flush
        self.flush_ready(now);
        self.apply_actions(now);
        // 8. Reap
        self.reap(now);
        // 9. Report
        self.report.left_over = self.pending.len() + self.over_budget.len();
        self.report.took_ns = self.io.now().moment.as_nanos().saturating_sub(now.moment.as_nanos());
        if self.report.is_slow() {
            self.log_slow_turn(now);
        }
        self.engine.handle_turn_ended(now, &self.report);
        self.apply_actions(now);
        Ok(self.end_of(now))
    }

    /// Everybody waited for this turn: what it did tells whose work that was. A client has nobody who waits.
    fn log_slow_turn(&mut self, now: Now) {
        if self.listeners.is_empty() {
            return;
        }
        let tell = |left_out| warn!("log: {left_out} lines like the next were left out");
        if self.slow_turns.admits(now.moment, tell) {
            warn!("a turn took {}", self.report);
        }
    }

    fn timeout(&mut self) -> Option<Duration> {
        let is_busy = !self.pending.is_empty()
            || !self.over_budget.is_empty()
            || self.engine.has_ready()
            || self.listeners.iter().any(|listening| listening.is_ready && !listening.is_paused);
        if is_busy {
            return Some(Duration::ZERO);
        }
        let next =
            [self.deadlines.next(), self.engine.poll_timeout(), self.stop_at].into_iter().flatten().min()?;
        Some(next.since(self.io.now().moment))
    }

    /// Takes an event as the hint it is: what may be readable is pending, what may be writable is ready.
    fn note(&mut self, now: Now, event: Event) {
        match event.source {
            Source::Waker if self.stop_at.is_some() => self.end = Some(End::CutShort(self.connections.len())),
            Source::Waker => {
                self.engine.handle_signal(now);
                self.apply_actions(now);
            }
            Source::Listener(index) => {
                if let Some(listening) = self.listeners.get_mut(index) {
                    listening.is_ready = true;
                }
            }
            Source::Connection(slot) => {
                let Some(connection) = self.connections.get_mut(slot) else { return };
                let id = connection.id(slot);
                if connection.state == State::Connecting {
                    return self.finish_connecting(now, slot);
                }
                if event.is_broken && connection.knows_eof && connection.state == State::Open {
                    // The engine still has something for a peer that is gone: no read will tell of that.
                    return self.close(slot, Some(Reason::Reset));
                }
                if event.is_read_closed
                    && !std::mem::replace(&mut connection.is_read_closed, true)
                    && connection.is_blocked
                {
                    self.watch_stall(now, id);
                }
                if event.is_readable {
                    self.connections[slot].is_readable = true;
                    self.make_pending(id);
                }
                if event.is_writable {
                    self.engine.handle_writable(id);
                }
            }
        }
    }

    fn make_pending(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id.slot())
            && connection.serial == id.serial()
            && !connection.is_pending
        {
            connection.is_pending = true;
            self.pending.push_back(id);
        }
    }

    fn insert(&mut self, stream: I::Stream, state: State) -> std::io::Result<ConnectionId> {
        let serial = self.next_serial;
        let slot = self.connections.insert(Connection::new(stream, serial, state));
        let connection = &mut self.connections[slot];
        let id = connection.id(slot);
        let wants_write = connection.wants_write();
        match self.io.register(&mut connection.stream, slot, wants_write) {
            Ok(is_always_readable) => {
                self.next_serial = self.next_serial.wrapping_add(1);
                connection.is_always_readable = is_always_readable;
                if is_always_readable {
                    connection.is_readable = true;
                    self.make_pending(id);
                }
                Ok(id)
            }
            Err(error) => {
                self.connections.remove(slot);
                Err(error)
            }
        }
    }

    fn apply_actions(&mut self, now: Now) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Close(id, reason) => self.begin_close(now, id, reason),
                Action::CutOff(id, reason) => self.end_now(id, reason),
                Action::FinishOutput(id) => self.begin_finish(id),
                Action::Resume(id) => self.make_pending(id),
                Action::Connect(endpoint) => self.connect(now, &endpoint),
                Action::Stop(within) => self.begin_stop(now, within),
            }
        }
    }

    fn begin_stop(&mut self, now: Now, within: Duration) {
        self.stop_at.get_or_insert(now.moment + within);
        self.listeners.clear();
        for (slot, connection) in &self.connections {
            if connection.state == State::FinSent {
                self.deadlines.set(now.moment + limits::STOP_LINGER, Timer::Linger(connection.id(slot)));
            }
        }
    }

    fn handle_deadlines(&mut self, now: Now) {
        while let Some(timer) = self.deadlines.poll_due(now.moment) {
            match timer {
                Timer::Accept(index) => {
                    if let Some(listening) = self.listeners.get_mut(index) {
                        listening.is_paused = false;
                    }
                }
                Timer::Write(id) => {
                    if self.state_of(id).is_some() {
                        self.connections[id.slot()].is_retrying = false;
                        self.engine.handle_writable(id);
                    }
                }
                Timer::Connect(id) => {
                    if self.state_of(id) == Some(State::Connecting) {
                        self.fail_connecting(now, id.slot(), std::io::Error::from(ErrorKind::TimedOut));
                    }
                }
                Timer::Linger(id) => self.end_linger(now, id),
                Timer::Stall(id) => self.end_stall(now, id),
            }
        }
        let connections = &self.connections;
        self.deadlines.prune(|timer| match timer {
            Timer::Accept(_) => true,
            Timer::Linger(id) | Timer::Stall(id) | Timer::Connect(id) | Timer::Write(id) => {
                connections.get(id.slot()).is_some_and(|connection| connection.serial == id.serial())
            }
        });
        if self.engine.poll_timeout().is_some_and(|due| due <= now.moment) {
            self.engine.handle_timeout(now);
        }
    }

    fn state_of(&self, id: ConnectionId) -> Option<State> {
        let connection = self.connections.get(id.slot())?;
        (connection.serial == id.serial() || sabotaged!(ForgetGeneration)).then_some(connection.state)
    }

    fn end_of(&mut self, now: Now) -> Option<End> {
        let end = match (self.end, self.stop_at?) {
            (Some(end), _) => end,
            _ if self.connections.is_empty() => End::Done,
            (None, stop_at) if stop_at <= now.moment => End::Overdue(self.connections.len()),
            _ => return None,
        };
        self.end_all(now, end);
        Some(end)
    }
}

/// What the system lacked, where that is why something failed.
fn shortage(error: &std::io::Error) -> Option<Shortage> {
    match Errno::from_raw_os_error(error.raw_os_error()?) {
        Errno::MFILE => Some(Shortage::Descriptors),
        Errno::NFILE => Some(Shortage::Files),
        Errno::NOBUFS => Some(Shortage::Buffers),
        Errno::NOMEM => Some(Shortage::Memory),
        _ => None,
    }
}

impl<I: Io<Listener = io::Listener, Stream: From<io::Stream>>, E: Engine> EventLoop<I, E> {
    /// Accepts from, or takes in, a socket that was bound. Returns the id where it is a listener.
    ///
    /// # Errors
    /// Where the system cannot watch it.
    pub fn open(&mut self, bound: io::Bound) -> std::io::Result<Option<ListenerId>> {
        match bound {
            io::Bound::Listener(listener) => self.listen(listener).map(Some),
            io::Bound::Datagrams(datagrams) => {
                let (stream, file) = datagrams.into_parts();
                self.files.extend(file);
                self.open_datagrams(stream.into()).map(|()| None)
            }
        }
    }
}

impl<E: Engine> EventLoop<io::System, E> {
    /// What wakes this loop.
    pub fn waker(&self) -> io::Waker {
        self.io.waker()
    }
}
