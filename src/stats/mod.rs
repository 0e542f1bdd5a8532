//! A program and whoever watches it: its figures over HTTP, from the same loop, on listeners of their own.
//!
//! [`Watched`] is an engine around another one. Who came to its listeners is a `visitor`, answered with a
//! `page` of the program's [metrics](crate::metrics); everything else is handed on as it is. The program does
//! not know of it: visitors are few, never counted among its clients, and none of them is waited for. Each has
//! [`limits::STATS_PATIENCE`] to ask, and again to take the answer.

mod page;
#[cfg(test)]
mod tests;
mod visitor;

use std::collections::VecDeque;
use std::io;

use crate::codec::http::UNAVAILABLE;
use crate::engine::{
    Action, ConnectionId, Datagram, Endpoint, Engine, ListenerId, Moment, Now, Output, Peer, Reason, Refusal,
    TurnReport, Written,
};
use crate::limits;
use crate::metrics::{Measured, Metric};

use visitor::Visitor;

/// A program that can be watched while it runs.
#[derive(Debug)]
pub struct Watched<E> {
    engine: E,
    listeners: Vec<ListenerId>,
    /// At most [`limits::STATS_VISITORS_MAX`].
    visitors: Vec<Visitor>,
    /// Newcomers that the kernel lost, as far as that can be seen.
    lost: Option<u64>,
    /// Somebody came to whom it will be told.
    wants_lost: bool,
    actions: VecDeque<Action>,
    /// Whether it may be asked by any name.
    is_public: bool,
}

impl<E: Engine + Measured> Watched<E> {
    /// The program, which nobody watches yet. Unless it is public, it answers who asks for an address, or for
    /// `localhost`: any other name can be a stranger's, who has it mean this machine so that pages of theirs
    /// read the figures through a browser here (DNS rebinding).
    pub fn new(engine: E, is_public: bool) -> Self {
        Watched {
            engine,
            listeners: Vec::new(),
            visitors: Vec::new(),
            lost: None,
            wants_lost: false,
            actions: VecDeque::new(),
            is_public,
        }
    }

    /// Who comes to this listener comes to watch.
    pub fn watch_from(&mut self, listener: ListenerId) {
        self.listeners.push(listener);
    }

    fn visitor(&mut self, id: ConnectionId) -> Option<&mut Visitor> {
        self.visitors.iter_mut().find(|visitor| visitor.id == id)
    }

    fn is_visitor(&self, id: ConnectionId) -> bool {
        self.visitors.iter().any(|visitor| visitor.id == id)
    }

    /// The program ends, and waits for nobody who watches it.
    fn close_visitors(&mut self) {
        let cut_off = |visitor: &Visitor| Action::CutOff(visitor.id, Reason::ServerClosing);
        self.actions.extend(self.visitors.iter().map(cut_off));
    }
}

fn lost_metric(newcomers: u64) -> Metric {
    const HELP: &str = "Newcomers that the kernel lost for a full queue: of all programs in this network, since \
         it began.";
    Metric::counter("listen_overflows_total", HELP, newcomers)
}

impl<E: Engine + Measured> Engine for Watched<E> {
    fn admit(&mut self, now: Now, listener: ListenerId, peer: Peer) -> Result<(), Refusal> {
        if !self.listeners.contains(&listener) {
            return self.engine.admit(now, listener, peer);
        }
        if self.visitors.len() < limits::STATS_VISITORS_MAX {
            return Ok(());
        }
        Err(Refusal { reason: Reason::ServerFull, text: UNAVAILABLE.into() })
    }

    fn full_notice(&self, listener: ListenerId) -> &str {
        if self.listeners.contains(&listener) { UNAVAILABLE } else { self.engine.full_notice(listener) }
    }

    fn handle_turned_away(&mut self, now: Now, listener: ListenerId, newcomers: usize) {
        if !self.listeners.contains(&listener) {
            self.engine.handle_turned_away(now, listener, newcomers);
        }
    }

    fn handle_accepted(&mut self, now: Now, id: ConnectionId, listener: Option<ListenerId>, peer: Peer) {
        if listener.is_some_and(|listener| self.listeners.contains(&listener)) {
            // No browser gets to a Unix socket.
            let any_host = self.is_public || peer == Peer::Unix;
            self.visitors.push(Visitor::new(now, id, any_host));
            self.wants_lost = true;
        } else {
            self.engine.handle_accepted(now, id, listener, peer);
        }
    }

    fn wants_lost_newcomers(&self) -> bool {
        self.wants_lost
    }

    fn handle_lost_newcomers(&mut self, newcomers: Option<u64>) {
        self.wants_lost = false;
        self.lost = newcomers;
    }

    fn handle_connected(&mut self, now: Now, id: ConnectionId, peer: Peer) {
        self.engine.handle_connected(now, id, peer);
    }

    fn handle_connect_failed(&mut self, now: Now, error: io::Error) {
        self.engine.handle_connect_failed(now, error);
    }

    fn handle_bytes(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) -> usize {
        let Some(visitor) = self.visitors.iter_mut().find(|visitor| visitor.id == id) else {
            return self.engine.handle_bytes(now, id, bytes);
        };
        let metrics = || self.engine.metrics().into_iter().chain(self.lost.map(lost_metric)).collect();
        match visitor.take(now, bytes, metrics) {
            Some((consumed, reason)) => {
                self.actions.push_back(Action::Close(id, reason));
                consumed
            }
            None => 0,
        }
    }

    fn handle_eof(&mut self, now: Now, id: ConnectionId, rest: &[u8]) -> bool {
        let Some(visitor) = self.visitor(id) else { return self.engine.handle_eof(now, id, rest) };
        let reason = visitor.end(now, rest);
        self.actions.push_back(Action::Close(id, reason));
        true
    }

    fn handle_bound(&mut self, now: Now, id: ConnectionId) {
        self.engine.handle_bound(now, id);
    }

    fn handle_datagram(&mut self, now: Now, id: ConnectionId, from: Option<&Endpoint>, bytes: &[u8]) {
        self.engine.handle_datagram(now, id, from, bytes);
    }

    fn handle_datagram_lost(&mut self, now: Now, id: ConnectionId, error: io::Error) {
        self.engine.handle_datagram_lost(now, id, error);
    }

    fn poll_datagram(&mut self, now: Now, id: ConnectionId) -> Option<Datagram<'_>> {
        self.engine.poll_datagram(now, id)
    }

    fn wants_input(&self, id: ConnectionId) -> bool {
        match self.visitors.iter().find(|visitor| visitor.id == id) {
            Some(visitor) => visitor.is_asking(),
            None => self.engine.wants_input(id),
        }
    }

    fn poll_ready(&mut self, now: Now) -> Option<ConnectionId> {
        // They go first because they are few: behind a large room they would have to wait for its end.
        if let Some(visitor) = self.visitors.iter_mut().find(|visitor| visitor.is_ready) {
            visitor.is_ready = false;
            return Some(visitor.id);
        }
        self.engine.poll_ready(now)
    }

    fn has_ready(&self) -> bool {
        self.visitors.iter().any(|visitor| visitor.is_ready) || self.engine.has_ready()
    }

    fn poll_output(&mut self, now: Now, id: ConnectionId) -> Output<'_> {
        // Looked for twice, for the borrow checker takes what is returned to be borrowed either way.
        if self.is_visitor(id) {
            return self.visitor(id).map_or(Output::default(), |visitor| visitor.output());
        }
        self.engine.poll_output(now, id)
    }

    fn handle_written(&mut self, now: Now, id: ConnectionId, bytes: usize, written: Written) {
        match self.visitor(id) {
            Some(visitor) => visitor.advance(bytes),
            None => self.engine.handle_written(now, id, bytes, written),
        }
    }

    fn handle_writable(&mut self, id: ConnectionId) {
        match self.visitor(id) {
            Some(visitor) => visitor.is_ready = true,
            None => self.engine.handle_writable(id),
        }
    }

    fn handle_closed(&mut self, now: Now, id: ConnectionId, reason: Reason) {
        match self.visitors.iter().position(|visitor| visitor.id == id) {
            Some(index) => drop(self.visitors.swap_remove(index)),
            None => self.engine.handle_closed(now, id, reason),
        }
    }

    fn handle_signal(&mut self, now: Now) {
        self.engine.handle_signal(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        for visitor in self.visitors.iter_mut().filter(|visitor| visitor.due <= now.moment) {
            self.actions.push_back(if visitor.is_asking() {
                Action::Close(visitor.id, visitor.expire(now))
            } else {
                Action::CutOff(visitor.id, Reason::LingerExpired)
            });
        }
        if self.engine.poll_timeout().is_some_and(|due| due <= now.moment) {
            self.engine.handle_timeout(now);
        }
    }

    fn handle_turn(&mut self, now: Now) {
        self.engine.handle_turn(now);
    }

    fn handle_turn_ended(&mut self, now: Now, report: &TurnReport) {
        self.engine.handle_turn_ended(now, report);
    }

    fn poll_timeout(&self) -> Option<Moment> {
        self.visitors.iter().map(|visitor| visitor.due).chain(self.engine.poll_timeout()).min()
    }

    fn poll_action(&mut self) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        let action = self.engine.poll_action();
        if matches!(action, Some(Action::Stop(_))) {
            self.close_visitors();
        }
        action
    }
}
