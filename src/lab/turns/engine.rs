//! An engine that hands every call on to another, and notes what no system call shows.

use std::io;

use super::SharedNotes;
use crate::engine::{
    Action, ConnectionId, Datagram, Endpoint, Engine, ListenerId, Moment, Now, Output, Peer, Reason, Refusal,
    TurnReport, Written,
};

/// The wrapped engine.
#[derive(Debug)]
pub struct NarratedEngine<E> {
    engine: E,
    notes: SharedNotes,
}

impl<E: Engine> NarratedEngine<E> {
    /// Notes what the engine is told, beside what the system notes.
    pub fn new(engine: E, notes: SharedNotes) -> Self {
        NarratedEngine { engine, notes }
    }

    fn note_pause(&self, id: ConnectionId) {
        if !self.engine.wants_input(id) {
            self.notes.borrow_mut().turn.paused.insert(id.serial());
        }
    }
}

impl<E: Engine> Engine for NarratedEngine<E> {
    fn admit(&mut self, now: Now, listener: ListenerId, peer: Peer) -> Result<(), Refusal> {
        self.engine.admit(now, listener, peer)
    }

    fn full_notice(&self, listener: ListenerId) -> &str {
        self.engine.full_notice(listener)
    }

    fn handle_turned_away(&mut self, now: Now, listener: ListenerId, newcomers: usize) {
        self.engine.handle_turned_away(now, listener, newcomers);
    }

    fn handle_accepted(&mut self, now: Now, id: ConnectionId, listener: Option<ListenerId>, peer: Peer) {
        self.notes.borrow_mut().note_accepted(id.slot(), id.serial(), peer);
        self.engine.handle_accepted(now, id, listener, peer);
    }

    fn handle_connected(&mut self, now: Now, id: ConnectionId, peer: Peer) {
        self.notes.borrow_mut().note_accepted(id.slot(), id.serial(), peer);
        self.engine.handle_connected(now, id, peer);
    }

    fn handle_connect_failed(&mut self, now: Now, error: io::Error) {
        self.notes.borrow_mut().turn.failures.push(|| format!("connect: {error}"));
        self.engine.handle_connect_failed(now, error);
    }

    fn handle_bytes(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) -> usize {
        let consumed = self.engine.handle_bytes(now, id, bytes);
        let lines = bytes[..consumed].iter().filter(|byte| **byte == b'\n').count();
        self.notes.borrow_mut().turn.lines += lines;
        self.note_pause(id);
        consumed
    }

    fn handle_eof(&mut self, now: Now, id: ConnectionId, rest: &[u8]) -> bool {
        self.engine.handle_eof(now, id, rest)
    }

    fn handle_bound(&mut self, now: Now, id: ConnectionId) {
        self.notes.borrow_mut().serials.insert(id.slot(), id.serial());
        self.engine.handle_bound(now, id);
    }

    fn handle_datagram(&mut self, now: Now, id: ConnectionId, from: Option<&Endpoint>, bytes: &[u8]) {
        self.engine.handle_datagram(now, id, from, bytes);
    }

    fn handle_datagram_lost(&mut self, now: Now, id: ConnectionId, error: io::Error) {
        self.notes.borrow_mut().turn.failures.push(|| format!("datagram: {error}"));
        self.engine.handle_datagram_lost(now, id, error);
    }

    fn poll_datagram(&mut self, now: Now, id: ConnectionId) -> Option<Datagram<'_>> {
        self.engine.poll_datagram(now, id)
    }

    fn wants_input(&self, id: ConnectionId) -> bool {
        self.engine.wants_input(id)
    }

    fn poll_ready(&mut self, now: Now) -> Option<ConnectionId> {
        self.engine.poll_ready(now)
    }

    /// The loop asks before it polls, unless it knows already that it will not sleep.
    fn has_ready(&self) -> bool {
        let has_ready = self.engine.has_ready();
        self.notes.borrow_mut().turn.has_more_to_write |= has_ready;
        has_ready
    }

    fn poll_output(&mut self, now: Now, id: ConnectionId) -> Output<'_> {
        self.engine.poll_output(now, id)
    }

    fn handle_written(&mut self, now: Now, id: ConnectionId, bytes: usize, written: Written) {
        if written == Written::OutOfBudget {
            self.notes.borrow_mut().turn.out_of_budget.insert(id.serial());
        }
        self.engine.handle_written(now, id, bytes, written);
    }

    fn handle_writable(&mut self, id: ConnectionId) {
        self.engine.handle_writable(id);
    }

    fn handle_closed(&mut self, now: Now, id: ConnectionId, reason: Reason) {
        self.notes.borrow_mut().note_closed(id.slot(), id.serial(), reason);
        self.engine.handle_closed(now, id, reason);
    }

    fn handle_signal(&mut self, now: Now) {
        self.engine.handle_signal(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.notes.borrow_mut().turn.had_deadline = true;
        self.engine.handle_timeout(now);
    }

    fn handle_turn(&mut self, now: Now) {
        self.engine.handle_turn(now);
    }

    fn handle_turn_ended(&mut self, now: Now, report: &TurnReport) {
        self.engine.handle_turn_ended(now, report);
    }

    fn poll_timeout(&self) -> Option<Moment> {
        self.engine.poll_timeout()
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.engine.poll_action()
    }
}
