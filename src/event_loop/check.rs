//! What must hold of the loop between two turns, for simulations and tests: nobody is forgotten, and nothing
//! is told of the wrong one.

use std::collections::HashSet;

use super::connection::State;
use super::io::Io;
use super::{EventLoop, Timer};
use crate::engine::{Engine, Moment};

/// What a simulated system knows of a stream that the loop has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truth {
    /// The slot under which it is watched.
    pub(crate) slot: Option<usize>,
    /// Whether room to write is told.
    pub(crate) wants_write: bool,
    /// There is something to read, or the end, or an error, and no event of it is still to come.
    pub(crate) is_readable_and_told: bool,
    /// There is room to write, and no event of it is still to come.
    pub(crate) is_writable_and_told: bool,
}

impl<I: Io, E: Engine> EventLoop<I, E> {
    /// Connections that have a slot.
    pub(crate) fn open_connections(&self) -> usize {
        self.connections.len()
    }

    /// The first thing that does not hold; `truth` is what the system says of a stream.
    pub(crate) fn check(&self, now: Moment, truth: impl Fn(&I::Stream) -> Truth) -> Result<(), String> {
        if let Some(due) = self.deadlines.next()
            && due <= now
        {
            return Err(format!("I13: a deadline of the loop was due at {due:?} and was not handled"));
        }
        let pending: HashSet<_> = self.pending.iter().copied().collect();
        let is_pausable = |index: &usize| self.listeners[*index].is_paused;
        for index in (0..self.listeners.len()).filter(is_pausable) {
            if !self.deadlines.iter().any(|timer| *timer == Timer::Accept(index)) {
                return Err(format!("I10: listener {index} is paused, and no deadline ends that"));
            }
        }
        for (slot, connection) in &self.connections {
            let id = connection.id(slot);
            let truth = truth(&connection.stream);
            let name = format!("connection {} in slot {slot} ({:?})", id.serial(), connection.state);
            if connection.state == State::Closed {
                return Err(format!("I9: {name} was not reaped at the end of its turn"));
            }
            if truth.slot != Some(slot) {
                return Err(format!("I9: {name} is watched as {:?}", truth.slot));
            }
            if truth.wants_write != connection.wants_write() {
                let is = if truth.wants_write { "is told" } else { "is not told" };
                return Err(format!("I10: {name}: room to write {is}, and that is not what it waits for"));
            }
            if connection.is_pending != pending.contains(&id) {
                return Err(format!("I10: {name} and the pending list do not agree"));
            }
            if truth.is_readable_and_told && !connection.is_at_eof && !connection.is_readable {
                return Err(format!("I7: {name} has input that the loop was told of, and forgot"));
            }
            // What comes while a close waits for its output is read, to be discarded, once that is written.
            if connection.state != State::Closing && self.may_read(slot) && !connection.is_pending {
                return Err(format!("I7: {name} may be read from, and nothing will"));
            }
            let waits_with_end = connection.is_at_eof && !connection.knows_eof;
            if waits_with_end
                && connection.state == State::Open
                && self.engine.wants_input(id)
                && !connection.is_pending
            {
                return Err(format!("I7: {name} ended, and its engine will not be told"));
            }
            if connection.is_blocked
                && truth.is_writable_and_told
                && !connection.is_retrying
                && !self.over_budget.contains(&id)
                && !self.engine.has_ready()
            {
                return Err(format!("I7: {name} has room, was told so, and is not written to"));
            }
            let is_ending = matches!(connection.state, State::Closing | State::FinSent);
            if is_ending
                && self.stop_at.is_none()
                && !self.deadlines.iter().any(|timer| *timer == Timer::Linger(id))
            {
                return Err(format!("I13: {name} is closing, and no deadline ends that"));
            }
        }
        if let Some(id) = self.pending.iter().find(|id| {
            self.connections
                .get(id.slot())
                .is_none_or(|connection| connection.serial == id.serial() && !connection.is_pending)
                && self.connections.contains(id.slot())
        }) {
            return Err(format!("I10: connection {} is on the pending list twice", id.serial()));
        }
        if let Some(slot) = self.inputs.keys().find(|slot| !self.connections.contains(**slot)) {
            return Err(format!("I12: input is kept for slot {slot}, which is free"));
        }
        Ok(())
    }
}
