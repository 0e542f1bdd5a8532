//! Ends of connections: close, closed, reaped. A close is asked for first; what is due is still written; the
//! peer is told that no more will come, and its own end awaited, for closing over unread input would reset the
//! connection under the last bytes; the slot is freed at the end of a turn only. Each wait has a deadline.

use std::io::ErrorKind;
use std::time::Duration;

use log::debug;

use super::connection::State;
use super::io::Io;
use super::{End, EventLoop, Timer};
use crate::engine::{ConnectionId, Engine, Now, Reason};
use crate::limits;
use crate::sabotage::sabotaged;

/// How long a close waits for the peer to take what is due to it. What it did not take by then is cut off,
/// and the peer sees that: its connection is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linger {
    /// So long in all.
    InAll(Duration),
    /// So long without a byte taken: who reads, however slowly, gets all of it.
    Stalled(Duration),
}

impl Linger {
    pub(super) fn duration(self) -> Duration {
        match self {
            Linger::InAll(duration) | Linger::Stalled(duration) => duration,
        }
    }
}

impl<I: Io, E: Engine> EventLoop<I, E> {
    pub(super) fn begin_close(&mut self, now: Now, id: ConnectionId, reason: Reason) {
        let Some(connection) = self.connections.get_mut(id.slot()) else { return };
        if connection.serial != id.serial() || connection.state != State::Open {
            return;
        }
        if sabotaged!(CloseWithoutFlush) {
            return self.close(id.slot(), Some(reason));
        }
        connection.state = State::Closing;
        connection.reason = reason;
        connection.has_taken = false;
        self.inputs.remove(&id.slot());
        // A loop that stops has a deadline for all.
        if self.stop_at.is_none() && !sabotaged!(ForgetLinger) {
            self.deadlines.set(now.moment + self.linger.duration(), Timer::Linger(id));
        }
        self.engine.handle_writable(id);
    }

    /// Ends a connection that nobody is to wait for, whatever it was waiting for itself.
    pub(super) fn end_now(&mut self, id: ConnectionId, reason: Reason) {
        match self.state_of(id) {
            Some(State::Open | State::Closing) => self.cut_off(id.slot(), reason),
            Some(State::FinSent) => self.close(id.slot(), Some(reason)),
            _ => {}
        }
    }

    pub(super) fn begin_finish(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id.slot())
            && connection.serial == id.serial()
            && connection.state == State::Open
        {
            connection.is_finishing = true;
            self.engine.handle_writable(id);
        }
    }

    /// Tells the peer, where the engine asked for it, that all that was due is written; reading goes on.
    pub(super) fn half_close(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        if std::mem::take(&mut connection.is_finishing) {
            // A socket that is broken tells so by what is read from it; the console cannot say it.
            let _ = self.io.shutdown_write(&mut connection.stream);
        }
    }

    /// All that was due is written: the peer is told, and its own end awaited.
    pub(super) fn finish_output(&mut self, now: Now, slot: usize) {
        let connection = &mut self.connections[slot];
        if connection.is_at_eof {
            return self.close(slot, None);
        }
        match self.io.shutdown_write(&mut connection.stream) {
            Ok(true) => {
                connection.state = State::FinSent;
                let id = connection.id(slot);
                // What the peer sends is read until it ends, for closing over unread input would
                // reset the connection under the bytes on their way.
                self.make_pending(id);
                if self.stop_at.is_some() {
                    self.deadlines.set(now.moment + limits::STOP_LINGER, Timer::Linger(id));
                }
            }
            Ok(false) | Err(_) => self.close(slot, None),
        }
    }

    /// A close ends, but for a peer of a stopping loop that is still being heard.
    pub(super) fn end_linger(&mut self, now: Now, id: ConnectionId) {
        match self.state_of(id) {
            Some(State::Closing) => {
                let has_taken = std::mem::take(&mut self.connections[id.slot()].has_taken);
                match self.linger {
                    Linger::Stalled(duration) if has_taken && self.stop_at.is_none() => {
                        self.deadlines.set(now.moment + duration, Timer::Linger(id));
                    }
                    _ => self.cut_off(id.slot(), Reason::LingerExpired),
                }
            }
            Some(State::FinSent) => {
                let has_sent = std::mem::take(&mut self.connections[id.slot()].has_sent);
                if self.stop_at.is_some() && has_sent {
                    self.deadlines.set(now.moment + limits::STOP_LINGER, Timer::Linger(id));
                } else {
                    self.close(id.slot(), None);
                }
            }
            _ => {}
        }
    }

    /// A peer that will send no more and takes nothing either has gone as far as anyone can tell (P14).
    pub(super) fn end_stall(&mut self, now: Now, id: ConnectionId) {
        if self.state_of(id) != Some(State::Open) {
            return;
        }
        let connection = &mut self.connections[id.slot()];
        connection.is_stall_watched = false;
        let has_sent = std::mem::take(&mut connection.has_sent);
        let has_taken = std::mem::take(&mut connection.has_taken);
        if !connection.is_blocked {
            return;
        }
        if has_sent || has_taken {
            self.watch_stall(now, id);
        } else {
            self.cut_off(id.slot(), Reason::LingerExpired);
        }
    }

    /// Has a deadline look whether a peer that will send no more still reads: one, however often its socket
    /// is full.
    pub(super) fn watch_stall(&mut self, now: Now, id: ConnectionId) {
        if !std::mem::replace(&mut self.connections[id.slot()].is_stall_watched, true) {
            self.deadlines.set(now.moment + self.linger.duration(), Timer::Stall(id));
        }
    }

    /// Ends a connection that was not given all that is due. An end of the stream would say that it was.
    pub(super) fn cut_off(&mut self, slot: usize, reason: Reason) {
        self.io.abort(&mut self.connections[slot].stream);
        self.close(slot, Some(reason));
    }

    /// Marks the connection to be reaped; `None`: for the reason that it is closing for.
    pub(super) fn close(&mut self, slot: usize, reason: Option<Reason>) {
        let connection = &mut self.connections[slot];
        if connection.state == State::Closed {
            return;
        }
        // A peer that hangs up on a close that it was told of is no further news; that it did not get what
        // was due to it is.
        let is_cut = matches!(reason, Some(Reason::LingerExpired | Reason::SystemError));
        if connection.state == State::Open || is_cut {
            connection.reason = reason.unwrap_or(Reason::EndOfInput);
        }
        connection.state = State::Closed;
        self.closed.push(slot);
    }

    /// The loop ends: whoever is still there is cut off, and the engine told of each.
    pub(super) fn end_all(&mut self, now: Now, end: End) {
        let slots: Vec<usize> = self.connections.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            match (self.connections[slot].state, end) {
                (State::Connecting, _) => {}
                (State::FinSent | State::Closed, _) => self.close(slot, None),
                (_, End::CutShort(_)) => self.cut_off(slot, Reason::ServerClosing),
                _ => self.cut_off(slot, Reason::LingerExpired),
            }
        }
        self.reap(now);
    }

    pub(super) fn reap(&mut self, now: Now) {
        for slot in std::mem::take(&mut self.closed) {
            let mut connection = self.connections.remove(slot);
            debug_assert_eq!(connection.state, State::Closed);
            self.inputs.remove(&slot);
            self.io.deregister(&mut connection.stream);
            self.report.closes += 1;
            self.engine.handle_closed(now, connection.id(slot), connection.reason);
        }
    }
}

/// What a socket's error means for its connection.
pub(super) fn reason_of(error: &std::io::Error) -> Reason {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => Reason::Reset,
        ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Reason::TimedOut,
        _ => {
            debug!("connection: {error}");
            Reason::SystemError
        }
    }
}
