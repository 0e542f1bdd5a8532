//! Writing: step 7 of the turn. The write is tried first; `WRITABLE` is of interest only for what a full
//! socket left over.

use std::io::ErrorKind;

use log::warn;

use super::close::reason_of;
use super::connection::State;
use super::io::Io;
use super::{EventLoop, Timer, shortage};
use crate::engine::{ConnectionId, Engine, Now, Reason, Written};
use crate::limits;
use crate::sabotage::sabotaged;

impl<I: Io, E: Engine> EventLoop<I, E> {
    pub(super) fn flush_ready(&mut self, now: Now) {
        for id in std::mem::take(&mut self.over_budget) {
            self.engine.handle_writable(id);
        }
        for _ in 0..self.budgets.flushes {
            let Some(id) = self.engine.poll_ready(now) else { return };
            if matches!(self.state_of(id), Some(State::Open | State::Closing)) {
                self.flush(now, id);
            }
        }
    }

    fn flush(&mut self, now: Now, id: ConnectionId) {
        let slot = id.slot();
        let connection = &mut self.connections[slot];
        if connection.is_datagram {
            return self.send_datagrams(now, id);
        }
        for _ in 0..self.budgets.connection_writes {
            let output = self.engine.poll_output(now, id);
            let offered = output.len();
            if offered == 0 {
                if connection.is_blocked && !sabotaged!(NeverDisarm) {
                    connection.is_blocked = false;
                    self.set_interest(slot);
                }
                match self.state_of(id) {
                    Some(State::Closing) => self.finish_output(now, slot),
                    Some(State::Open) => self.half_close(slot),
                    _ => {}
                }
                return;
            }
            self.report.writes += 1;
            match self.io.write(&mut connection.stream, output.parts) {
                Ok(bytes) if bytes == offered => {
                    self.report.written_bytes += bytes;
                    connection.has_taken = true;
                    self.engine.handle_written(now, id, bytes, Written::All);
                }
                // A short write says that the socket is full, as WouldBlock does.
                Ok(bytes) if bytes > 0 => {
                    let bytes = if sabotaged!(CountAllAsWritten) { offered } else { bytes };
                    return self.block(now, id, bytes);
                }
                Ok(_) => return self.close(slot, Some(Reason::Reset)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.block(now, id, 0),
                Err(error) if shortage(&error).is_some() => {
                    // The socket may have room: then no event will come, so a deadline has to.
                    if !sabotaged!(ForgetWriteRetry) {
                        self.retry_write(now, id);
                    }
                    return self.block(now, id, 0);
                }
                Err(error) => return self.close(slot, Some(reason_of(&error))),
            }
        }
        self.engine.handle_written(now, id, 0, Written::OutOfBudget);
        self.over_budget.push(id);
    }

    pub(super) fn block(&mut self, now: Now, id: ConnectionId, bytes: usize) {
        self.report.written_bytes += bytes;
        self.report.blocked_writes += 1;
        self.engine.handle_written(now, id, bytes, Written::Blocked);
        let connection = &mut self.connections[id.slot()];
        connection.has_taken |= bytes > 0;
        if !connection.is_blocked {
            connection.is_blocked = true;
            if connection.is_read_closed {
                self.watch_stall(now, id);
            }
            // Asking has the system look at once: room that came since the write is told too.
            if !sabotaged!(NeverArm) {
                self.set_interest(id.slot());
            }
        }
    }

    /// Has a deadline try again: one, however many receivers of datagrams it is for.
    pub(super) fn retry_write(&mut self, now: Now, id: ConnectionId) {
        if !std::mem::replace(&mut self.connections[id.slot()].is_retrying, true) {
            self.deadlines.set(now.moment + limits::WRITE_RETRY, Timer::Write(id));
        }
    }

    /// The only place that tells the system what is of interest.
    pub(super) fn set_interest(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        let wants_write = connection.wants_write();
        if let Err(error) = self.io.set_interest(&mut connection.stream, slot, wants_write) {
            warn!("connection: cannot be watched: {error}");
            self.cut_off(slot, Reason::SystemError);
        }
    }
}
