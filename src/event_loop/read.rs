//! Reading: steps 4 and 5 of the turn. What a budget leaves over stays on the pending list, for the
//! system tells of it only once; what the engine leaves over is kept, and shown to it again.

use std::collections::hash_map::Entry;
use std::io::ErrorKind;

use super::EventLoop;
use super::close::reason_of;
use super::connection::State;
use super::io::Io;
use crate::engine::{Engine, Now};
use crate::sabotage::sabotaged;

/// Kept input below which its memory is not worth giving back, nor taking in smaller pieces.
pub(super) const KEPT_BYTES_MIN: usize = 256;

impl<I: Io, E: Engine> EventLoop<I, E> {
    pub(super) fn read_pending(&mut self, now: Now) {
        let mut reads_left = self.budgets.reads;
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
            if connection.is_datagram {
                self.receive(now, id);
                continue;
            }
            if self.inputs.contains_key(&slot) && self.engine.wants_input(id) {
                self.offer(now, slot, 0);
            }
            for _ in 0..self.budgets.connection_reads {
                if !self.read_once(now, slot) {
                    break;
                }
                reads_left = reads_left.saturating_sub(1);
            }
            if self.may_read(slot) && !sabotaged!(ForgetPending) {
                self.make_pending(id);
            }
            self.deliver_eof(now, slot);
        }
    }

    /// Whether reading is worth a system call: something may be there, and somebody wants it.
    pub(super) fn may_read(&self, slot: usize) -> bool {
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
        self.report.reads += 1;
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
                self.report.read_bytes += bytes;
                let is_short = bytes < self.scratch.len();
                let is_last = connection.is_read_closed && !sabotaged!(LoseEndAfterShortRead);
                if is_short && !is_last && self.io.short_read_drains(&connection.stream) {
                    connection.is_readable = false;
                }
                connection.has_sent = true;
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
        let id = self.connections[slot].id(slot);
        let fresh = &self.scratch[..bytes];
        match self.inputs.entry(slot) {
            Entry::Vacant(kept) => {
                let consumed = self.engine.handle_bytes(now, id, fresh);
                if consumed < fresh.len() {
                    kept.insert(fresh[consumed..].to_vec());
                }
            }
            Entry::Occupied(mut kept) => {
                let input = kept.get_mut();
                // Not doubled: ten thousand peers may each have so much kept.
                if input.capacity() - input.len() < fresh.len() {
                    input.reserve_exact(fresh.len().max(KEPT_BYTES_MIN));
                }
                input.extend_from_slice(fresh);
                let consumed = self.engine.handle_bytes(now, id, input);
                if consumed < input.len() {
                    input.drain(..consumed);
                    // A byte or two must not keep the buffer of a whole read.
                    if input.capacity() > 2 * input.len() + KEPT_BYTES_MIN {
                        input.shrink_to_fit();
                    }
                } else {
                    kept.remove();
                }
            }
        }
    }

    /// Tells the engine of the end of the input, once it took, or could take, all that came before.
    fn deliver_eof(&mut self, now: Now, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let id = connection.id(slot);
        if !connection.is_at_eof || connection.knows_eof || connection.state != State::Open {
            return;
        }
        let rest = self.inputs.get(&slot).map_or(&[][..], Vec::as_slice);
        let is_told = self.engine.wants_input(id) && self.engine.handle_eof(now, id, rest);
        if is_told || sabotaged!(LoseEndWhilePaused) {
            connection.knows_eof = true;
            self.inputs.remove(&slot);
        }
    }
}
