//! The event loop: one thread, one poll, one slab of connections.
//!
//! [`EventLoop::turn`] is the whole of it. The loop owns the sockets ([`io`]) and what each of them still
//! owes and is owed; it knows nothing of what the bytes mean, which is an [`Engine`]'s business. Its
//! promise is fairness: nobody waits for more than a bounded amount of others' work. Its invariants: a
//! connection that may have something to read is on the pending list or its engine has paused it; a
//! slot is freed only at the end of a turn; closing is a state, never a recursion.

pub mod address;
mod connection;
pub mod io;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::Duration;

use log::{debug, warn};
use rustix::io::Errno;
use slab::Slab;

use crate::deadlines::Deadlines;
use crate::engine::{Action, ConnectionId, Endpoint, Engine, Moment, Now, Peer, Reason, Written};
use crate::limits;

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
    listeners: Vec<Listening<I::Listener>>,
    events: Vec<Event>,
    /// Connections that may have something to read, of which no further event will tell.
    pending: VecDeque<ConnectionId>,
    closed: Vec<usize>,
    deadlines: Deadlines<Timer>,
    /// Where everything is read into first.
    scratch: Box<[u8]>,
    linger: Duration,
    next_serial: u32,
    stop_at: Option<Moment>,
    end: Option<End>,
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
    Accept(usize),
    Linger(ConnectionId),
    Connect(ConnectionId),
    Write(ConnectionId),
}

impl<I: Io, E: Engine> EventLoop<I, E> {
    /// A loop without connections. `linger` bounds how long a close waits for the peer.
    #[must_use]
    pub fn new(io: I, engine: E, linger: Duration) -> Self {
        EventLoop {
            io,
            engine,
            connections: Slab::new(),
            listeners: Vec::new(),
            events: Vec::with_capacity(limits::EVENTS_PER_TURN_MAX),
            pending: VecDeque::new(),
            closed: Vec::new(),
            deadlines: Deadlines::new(),
            scratch: vec![0; limits::READ_BYTES_MAX].into_boxed_slice(),
            linger,
            next_serial: 1,
            stop_at: None,
            end: None,
        }
    }

    /// The program on the loop.
    pub fn engine(&self) -> &E {
        &self.engine
    }

    /// Accepts from a listener from now on.
    ///
    /// # Errors
    /// Where the system cannot watch it.
    pub fn listen(&mut self, mut listener: I::Listener) -> std::io::Result<()> {
        self.io.listen(&mut listener, self.listeners.len())?;
        // Somebody may have come before it was watched.
        self.listeners.push(Listening { listener, is_ready: true, is_paused: false, was_paused: false });
        Ok(())
    }

    /// Takes in a stream that is open already: the console.
    ///
    /// # Errors
    /// Where the system cannot watch it.
    pub fn adopt(&mut self, stream: I::Stream, peer: Peer) -> std::io::Result<()> {
        let now = self.io.now();
        self.insert(stream, State::Open).map(|id| self.engine.handle_accepted(now, id, peer))
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
    /// 2. Poll, and read the clock, once. Nothing below reads it.
    /// 3. Accept, until nobody waits or the budget is spent.
    /// 4. Read from each connection that may have something, within budgets.
    /// 5. The engine consumes the bytes; output only grows queues, nothing is written yet.
    /// 6. Deadlines: the loop's own, then the engine's.
    /// 7. Flush: each connection with output is written to, within budgets.
    /// 8. Reap: slots are freed only here, so that no event of this turn meets another's slot.
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
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            polled => polled?,
        }
        let now = self.io.now();
        for event in &events {
            self.note(now, *event);
        }
        self.events = events;
        // 3. Accept
        for index in 0..self.listeners.len() {
            self.accept(now, index);
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
        self.apply_actions(now);
        Ok(self.end_of(now))
    }

    fn timeout(&mut self) -> Option<Duration> {
        let is_busy = !self.pending.is_empty()
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
                connection.is_read_closed |= event.is_read_closed;
                if event.is_readable {
                    connection.is_readable = true;
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

    // ---- accept ----

    fn accept(&mut self, now: Now, index: usize) {
        for _ in 0..limits::ACCEPTS_PER_TURN_MAX {
            let listening = &mut self.listeners[index];
            if !listening.is_ready || listening.is_paused {
                return;
            }
            match self.io.accept(&mut listening.listener) {
                Ok((stream, peer)) => {
                    listening.was_paused = false;
                    self.welcome(now, stream, peer);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    listening.is_ready = false;
                    return;
                }
                Err(error) if is_shortage(&error) => {
                    // No further event tells of those who wait, so a deadline has to. Descriptors may be
                    // free again by then; if they are not, the newcomers are told.
                    let is_lasting = listening.was_paused;
                    listening.is_paused = true;
                    listening.was_paused = true;
                    warn!("accept: {error}: trying again in {} ms", limits::ACCEPT_RETRY.as_millis());
                    self.deadlines.set(now.moment + limits::ACCEPT_RETRY, Timer::Accept(index));
                    if is_lasting {
                        self.turn_away(index);
                    }
                    return;
                }
                // That newcomer's fault (ECONNABORTED and the like, accept(2)): the next may wait.
                Err(error) => debug!("accept: {error}"),
            }
        }
    }

    fn welcome(&mut self, now: Now, stream: I::Stream, peer: Peer) {
        if let Err(refusal) = self.engine.admit(now, peer) {
            return self.io.refuse(stream, &refusal.text);
        }
        match self.insert(stream, State::Open) {
            Ok(id) => self.engine.handle_accepted(now, id, peer),
            Err(error) => warn!("accept: a newcomer cannot be watched: {error}"),
        }
    }

    /// Tells those who wait that no descriptor is left for them.
    fn turn_away(&mut self, index: usize) {
        for _ in 0..limits::ACCEPTS_PER_TURN_MAX {
            let Ok(stream) = self.io.accept_on_reserve(&mut self.listeners[index].listener) else { return };
            warn!("newcomer: refused: {}: no descriptor is left", Reason::ServerFull);
            self.io.refuse(stream, "-- the server is full: try again later --\n");
        }
    }

    // ---- connect ----

    fn connect(&mut self, now: Now, endpoint: &Endpoint) {
        match self.io.connect(endpoint).and_then(|stream| self.insert(stream, State::Connecting)) {
            Ok(id) => self.deadlines.set(now.moment + limits::CONNECT_TIMEOUT, Timer::Connect(id)),
            Err(error) => self.engine.handle_connect_failed(now, error),
        }
    }

    fn finish_connecting(&mut self, now: Now, slot: usize) {
        let connection = &mut self.connections[slot];
        let id = connection.id(slot);
        match self.io.connected(&connection.stream) {
            Ok(peer) => {
                connection.state = State::Open;
                // What the peer sent already, no further event may tell.
                connection.is_readable = true;
                self.set_interest(slot);
                self.make_pending(id);
                self.engine.handle_connected(now, id, peer);
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => {}
            Err(error) => self.fail_connecting(now, slot, error),
        }
    }

    fn fail_connecting(&mut self, now: Now, slot: usize, error: std::io::Error) {
        // The engine never had it, so it is not told of its close.
        let mut connection = self.connections.remove(slot);
        self.io.deregister(&mut connection.stream);
        self.engine.handle_connect_failed(now, error);
    }

    // ---- read ----

    fn read_pending(&mut self, now: Now) {
        let mut reads_left = limits::READS_PER_TURN_MAX;
        // Who is put back goes behind those who have not had their turn.
        for _ in 0..self.pending.len() {
            if reads_left == 0 {
                return;
            }
            let Some(id) = self.pending.pop_front() else { return };
            let slot = id.slot();
            let Some(connection) = self.connections.get_mut(slot) else { continue };
            if connection.serial != id.serial() {
                continue;
            }
            connection.is_pending = false;
            reads_left -= 1;
            if !connection.input.is_empty() && self.engine.wants_input(id) {
                self.offer(now, slot, 0);
            }
            for _ in 0..limits::CONNECTION_READS_PER_TURN_MAX {
                if !self.read_once(now, slot) {
                    break;
                }
                reads_left = reads_left.saturating_sub(1);
            }
            if self.may_read(slot) {
                self.make_pending(id);
            }
            self.deliver_eof(now, slot);
        }
    }

    /// Whether reading is worth a system call: something may be there, and somebody wants it.
    fn may_read(&self, slot: usize) -> bool {
        let Some(connection) = self.connections.get(slot) else { return false };
        let is_wanted = match connection.state {
            State::Open => self.engine.wants_input(connection.id(slot)),
            State::Closing | State::FinSent => true,
            State::Connecting | State::Closed => false,
        };
        is_wanted && connection.is_readable && !connection.is_at_eof
    }

    /// Reads once and hands on what came. Returns whether there may be more.
    fn read_once(&mut self, now: Now, slot: usize) -> bool {
        if !self.may_read(slot) {
            return false;
        }
        let connection = &mut self.connections[slot];
        match self.io.read(&mut connection.stream, &mut self.scratch) {
            Ok(0) => {
                connection.is_at_eof = true;
                connection.is_readable = false;
                if connection.state == State::FinSent {
                    self.close(slot, None);
                }
                false
            }
            Ok(bytes) => {
                let is_short = bytes < self.scratch.len();
                if is_short && !connection.is_read_closed && self.io.short_read_drains(&connection.stream) {
                    connection.is_readable = false;
                }
                if connection.state == State::Open {
                    self.offer(now, slot, bytes);
                }
                self.may_read(slot)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // A file never says so: there is none here that is always readable.
                connection.is_readable = connection.is_always_readable;
                false
            }
            Err(error) => {
                self.close(slot, Some(reason_of(&error)));
                false
            }
        }
    }

    /// Shows the engine its unconsumed input, with `bytes` of the scratch behind it, and keeps the rest.
    fn offer(&mut self, now: Now, slot: usize, bytes: usize) {
        let connection = &mut self.connections[slot];
        let id = connection.id(slot);
        let fresh = &self.scratch[..bytes];
        if connection.input.is_empty() {
            let consumed = self.engine.handle_bytes(now, id, fresh);
            connection.keep(fresh, consumed);
        } else {
            connection.input.extend_from_slice(fresh);
            let consumed = self.engine.handle_bytes(now, id, &connection.input);
            connection.consume(consumed);
        }
    }

    /// Tells the engine of the end of the input, once it took, or could take, all that came before.
    fn deliver_eof(&mut self, now: Now, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let id = connection.id(slot);
        let is_due = connection.is_at_eof && !connection.knows_eof && connection.state == State::Open;
        if is_due && self.engine.wants_input(id) && self.engine.handle_eof(now, id, &connection.input) {
            connection.knows_eof = true;
            connection.input = Vec::new();
        }
    }

    // ---- actions and deadlines ----

    fn apply_actions(&mut self, now: Now) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Close(id, reason) => self.begin_close(now, id, reason),
                Action::FinishOutput(id) => self.begin_finish(id),
                Action::Resume(id) => self.make_pending(id),
                Action::Connect(endpoint) => self.connect(now, &endpoint),
                Action::Stop(within) => {
                    self.stop_at.get_or_insert(now.moment + within);
                    self.listeners.clear();
                }
            }
        }
    }

    fn begin_close(&mut self, now: Now, id: ConnectionId, reason: Reason) {
        let Some(connection) = self.connections.get_mut(id.slot()) else { return };
        if connection.serial != id.serial() || connection.state != State::Open {
            return;
        }
        connection.state = State::Closing;
        connection.reason = reason;
        connection.input = Vec::new();
        // A loop that stops has a deadline for all.
        if self.stop_at.is_none() {
            self.deadlines.set(now.moment + self.linger, Timer::Linger(id));
        }
        self.engine.handle_writable(id);
    }

    fn begin_finish(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id.slot())
            && connection.serial == id.serial()
            && connection.state == State::Open
        {
            connection.is_finishing = true;
            self.engine.handle_writable(id);
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
                Timer::Write(id) => self.engine.handle_writable(id),
                Timer::Connect(id) => {
                    if self.state_of(id) == Some(State::Connecting) {
                        self.fail_connecting(now, id.slot(), std::io::Error::from(ErrorKind::TimedOut));
                    }
                }
                Timer::Linger(id) => match self.state_of(id) {
                    Some(State::Closing) => self.close(id.slot(), Some(Reason::LingerExpired)),
                    Some(State::FinSent) => self.close(id.slot(), None),
                    _ => {}
                },
            }
        }
        let connections = &self.connections;
        self.deadlines.prune(|timer| match timer {
            Timer::Accept(_) => true,
            Timer::Linger(id) | Timer::Connect(id) | Timer::Write(id) => {
                connections.get(id.slot()).is_some_and(|connection| connection.serial == id.serial())
            }
        });
        if self.engine.poll_timeout().is_some_and(|due| due <= now.moment) {
            self.engine.handle_timeout(now);
        }
    }

    fn state_of(&self, id: ConnectionId) -> Option<State> {
        let connection = self.connections.get(id.slot())?;
        (connection.serial == id.serial()).then_some(connection.state)
    }

    // ---- flush ----

    fn flush_ready(&mut self, now: Now) {
        for _ in 0..limits::FLUSHES_PER_TURN_MAX {
            let Some(id) = self.engine.poll_ready(now) else { return };
            if matches!(self.state_of(id), Some(State::Open | State::Closing)) {
                self.flush(now, id);
            }
        }
    }

    fn flush(&mut self, now: Now, id: ConnectionId) {
        let slot = id.slot();
        let connection = &mut self.connections[slot];
        for _ in 0..limits::CONNECTION_WRITES_PER_TURN_MAX {
            let output = self.engine.poll_output(now, id);
            let offered = output.len();
            if offered == 0 {
                if connection.is_blocked {
                    connection.is_blocked = false;
                    self.set_interest(slot);
                }
                match self.state_of(id) {
                    Some(State::Closing) => self.finish_output(slot),
                    Some(State::Open) => self.half_close(slot),
                    _ => {}
                }
                return;
            }
            match self.io.write(&mut connection.stream, output.parts) {
                Ok(bytes) if bytes == offered => self.engine.handle_written(now, id, bytes, Written::All),
                // A short write says that the socket is full, as WouldBlock does.
                Ok(bytes) if bytes > 0 => return self.block(now, id, bytes),
                Ok(_) => return self.close(slot, Some(Reason::Reset)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.block(now, id, 0),
                Err(error) if is_shortage(&error) => {
                    // The socket may have room: then no event will come, so a deadline has to.
                    self.deadlines.set(now.moment + limits::WRITE_RETRY, Timer::Write(id));
                    return self.block(now, id, 0);
                }
                Err(error) => return self.close(slot, Some(reason_of(&error))),
            }
        }
        self.engine.handle_written(now, id, 0, Written::OutOfBudget);
    }

    fn block(&mut self, now: Now, id: ConnectionId, bytes: usize) {
        self.engine.handle_written(now, id, bytes, Written::Blocked);
        let connection = &mut self.connections[id.slot()];
        if !connection.is_blocked {
            // Asking has the system look at once: room that came since the write is told too.
            connection.is_blocked = true;
            self.set_interest(id.slot());
        }
    }

    /// The only place that tells the system what is of interest.
    fn set_interest(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        let wants_write = connection.wants_write();
        if let Err(error) = self.io.set_interest(&mut connection.stream, slot, wants_write) {
            warn!("connection: cannot be watched: {error}");
            self.close(slot, Some(Reason::SystemError));
        }
    }

    /// Tells the peer, where the engine asked for it, that all that was due is written; reading goes on.
    fn half_close(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        if std::mem::take(&mut connection.is_finishing) {
            // A socket that is broken tells so by what is read from it; the console cannot say it.
            let _ = self.io.shutdown_write(&mut connection.stream);
        }
    }

    /// All that was due is written: the peer is told, and its own end awaited.
    fn finish_output(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        if connection.is_at_eof {
            return self.close(slot, None);
        }
        match self.io.shutdown_write(&mut connection.stream) {
            Ok(true) if self.stop_at.is_some() => {
                // Nobody waits for the peers of a server that ends; but what they sent is read, for
                // closing over it would reset the connection under the bytes on their way.
                for _ in 0..limits::CONNECTION_READS_PER_TURN_MAX {
                    match self.io.read(&mut connection.stream, &mut self.scratch) {
                        Ok(1..) => {}
                        _ => break,
                    }
                }
                self.close(slot, None);
            }
            Ok(true) => {
                connection.state = State::FinSent;
                let id = connection.id(slot);
                self.make_pending(id);
            }
            Ok(false) | Err(_) => self.close(slot, None),
        }
    }

    // ---- close ----

    /// Marks the connection to be reaped; `None`: for the reason that it is closing for.
    fn close(&mut self, slot: usize, reason: Option<Reason>) {
        let connection = &mut self.connections[slot];
        if connection.state == State::Closed {
            return;
        }
        // A peer that hangs up on a close that it was told of is no further news.
        if connection.state == State::Open || reason == Some(Reason::LingerExpired) {
            connection.reason = reason.unwrap_or(Reason::EndOfInput);
        }
        connection.state = State::Closed;
        self.closed.push(slot);
    }

    fn reap(&mut self, now: Now) {
        for slot in std::mem::take(&mut self.closed) {
            let mut connection = self.connections.remove(slot);
            debug_assert_eq!(connection.state, State::Closed);
            self.io.deregister(&mut connection.stream);
            self.engine.handle_closed(now, connection.id(slot), connection.reason);
        }
    }

    fn end_of(&mut self, now: Now) -> Option<End> {
        if self.end.is_some() {
            return self.end;
        }
        let stop_at = self.stop_at?;
        if self.connections.is_empty() {
            Some(End::Done)
        } else if stop_at <= now.moment {
            Some(End::Overdue(self.connections.len()))
        } else {
            None
        }
    }
}

/// Whether the system lacked something that it may have again later.
fn is_shortage(error: &std::io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

/// What a socket's error means for its connection.
fn reason_of(error: &std::io::Error) -> Reason {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => Reason::Reset,
        ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Reason::TimedOut,
        _ => {
            debug!("connection: {error}");
            Reason::SystemError
        }
    }
}
