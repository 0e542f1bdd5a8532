//! What goes in and out between the loop and its engine, told to whoever checks it: the oracle of a run sees
//! what the engine was told and what the sockets took, never how the engine works.

use std::cell::RefCell;
use std::rc::Rc;

use super::measured::unmeasured;
use crate::chat::{Chat, Hinted};
use crate::engine::{
    Action, ConnectionId, Engine, ListenerId, Moment, Now, Output, Peer, Reason, Refusal, TurnReport, Written,
};

/// One thing that was seen.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    /// What the oracle cannot know, told before what it was part of.
    Hint(Hinted),
    /// A newcomer was let in, or the console opened.
    Accepted { id: ConnectionId, peer: Peer },
    /// A newcomer was not let in.
    Refused { reason: Reason },
    /// The engine consumed these bytes of a connection.
    Consumed { id: ConnectionId, bytes: Vec<u8> },
    /// The engine took the end of a connection's input, with this rest of it.
    Ended { id: ConnectionId, rest: Vec<u8> },
    /// The operator's signal came.
    Signal,
    /// A deadline was handled.
    Timeout,
    /// The input of the turn is complete.
    Turn,
    /// The hints before this were given while output was written.
    Flushed,
    /// The socket of this slot took bytes.
    Wrote { slot: usize, bytes: Vec<u8> },
    /// The descriptor of this slot is given up: whether the server broke the connection off, and whether
    /// the peer or the network had broken it before.
    Released { slot: usize, is_aborted: bool, is_reset: bool },
    /// The engine was told that a connection is gone.
    Closed { id: ConnectionId, reason: Reason },
}

/// Where what is seen is collected, between the turns.
pub(super) type Log = Rc<RefCell<Vec<(Now, Seen)>>>;

/// An engine that is watched.
#[derive(Debug)]
pub struct Observed<E> {
    pub(super) engine: E,
    log: Log,
}

impl<E> Observed<E> {
    pub(super) fn new(engine: E, log: Log) -> Self {
        Observed { engine, log }
    }
}

impl Observed<Chat> {
    /// Does something, and shows what it was, behind the hints that it gave.
    fn see<T>(
        &mut self,
        now: Now,
        seen: impl FnOnce(&T) -> Option<Seen>,
        act: impl FnOnce(&mut Chat) -> T,
    ) -> T {
        let result = act(&mut self.engine);
        let hints = self.engine.take_hints();
        unmeasured(|| {
            let mut log = self.log.borrow_mut();
            log.extend(hints.iter().map(|hinted| (now, Seen::Hint(hinted.clone()))));
            let seen = seen(&result).or_else(|| (!hints.is_empty()).then_some(Seen::Flushed));
            log.extend(seen.map(|seen| (now, seen)));
        });
        result
    }
}

impl Engine for Observed<Chat> {
    fn admit(&mut self, now: Now, listener: ListenerId, peer: Peer) -> Result<(), Refusal> {
        let refused = |admitted: &Result<(), Refusal>| {
            let Refusal { reason, .. } = admitted.as_ref().err()?;
            Some(Seen::Refused { reason: *reason })
        };
        self.see(now, refused, |chat| chat.admit(now, listener, peer))
    }

    fn full_notice(&self, listener: ListenerId) -> &str {
        self.engine.full_notice(listener)
    }

    fn handle_turned_away(&mut self, now: Now, listener: ListenerId, newcomers: usize) {
        self.engine.handle_turned_away(now, listener, newcomers);
    }

    fn handle_accepted(&mut self, now: Now, id: ConnectionId, listener: Option<ListenerId>, peer: Peer) {
        let accepted = |(): &()| Some(Seen::Accepted { id, peer });
        self.see(now, accepted, |chat| chat.handle_accepted(now, id, listener, peer));
    }

    fn handle_bytes(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) -> usize {
        let taken = |consumed: &usize| {
            (*consumed > 0).then(|| Seen::Consumed { id, bytes: bytes[..*consumed].to_vec() })
        };
        self.see(now, taken, |chat| chat.handle_bytes(now, id, bytes))
    }

    fn handle_eof(&mut self, now: Now, id: ConnectionId, rest: &[u8]) -> bool {
        let ended = |is_done: &bool| is_done.then(|| Seen::Ended { id, rest: rest.to_vec() });
        self.see(now, ended, |chat| chat.handle_eof(now, id, rest))
    }

    fn wants_input(&self, id: ConnectionId) -> bool {
        self.engine.wants_input(id)
    }

    fn poll_ready(&mut self, now: Now) -> Option<ConnectionId> {
        self.see(now, |_| None, |chat| chat.poll_ready(now))
    }

    fn has_ready(&self) -> bool {
        self.engine.has_ready()
    }

    fn poll_output(&mut self, now: Now, id: ConnectionId) -> Output<'_> {
        self.engine.poll_output(now, id)
    }

    fn handle_written(&mut self, now: Now, id: ConnectionId, bytes: usize, written: Written) {
        self.see(now, |()| None, |chat| chat.handle_written(now, id, bytes, written));
    }

    fn handle_writable(&mut self, id: ConnectionId) {
        self.engine.handle_writable(id);
    }

    fn handle_closed(&mut self, now: Now, id: ConnectionId, reason: Reason) {
        self.see(now, |()| Some(Seen::Closed { id, reason }), |chat| chat.handle_closed(now, id, reason));
    }

    fn handle_signal(&mut self, now: Now) {
        self.see(now, |()| Some(Seen::Signal), |chat| chat.handle_signal(now));
    }

    fn handle_timeout(&mut self, now: Now) {
        self.see(now, |()| Some(Seen::Timeout), |chat| chat.handle_timeout(now));
    }

    fn handle_turn(&mut self, now: Now) {
        self.see(now, |()| Some(Seen::Turn), |chat| chat.handle_turn(now));
    }

    fn handle_turn_ended(&mut self, now: Now, report: &TurnReport) {
        self.see(now, |()| None, |chat| chat.handle_turn_ended(now, report));
    }

    fn poll_timeout(&self) -> Option<Moment> {
        self.engine.poll_timeout()
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.engine.poll_action()
    }
}
