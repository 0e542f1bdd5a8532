//! A small engine, for what a loop does must not depend on the large one.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use crate::engine::{
    Action, ConnectionId, Engine, ListenerId, Moment, Now, Output, Peer, Reason, TurnReport, Written,
};

/// Answers every byte with itself; `x` is only counted, `q` leaves, `k` has everyone else closed, `p` pauses
/// its sender.
#[derive(Default)]
pub(super) struct Echo {
    pub(super) waiting: BTreeMap<ConnectionId, Vec<u8>>,
    pub(super) ready: VecDeque<ConnectionId>,
    pub(super) actions: VecDeque<Action>,
    pub(super) paused: Vec<ConnectionId>,
    pub(super) closed: Vec<(u32, Reason)>,
    pub(super) given: usize,
    pub(super) given_most: usize,
    pub(super) given_in_all: usize,
    pub(super) connected: Vec<Result<Peer, io::ErrorKind>>,
    pub(super) timeout: Option<Moment>,
    pub(super) last_turn: TurnReport,
    /// It has something for peers who send no more.
    pub(super) outlives_eof: bool,
    /// Ends of input that it was told of.
    pub(super) ends: usize,
}

impl Engine for Echo {
    fn handle_accepted(&mut self, _now: Now, id: ConnectionId, _listener: Option<ListenerId>, _peer: Peer) {
        self.waiting.insert(id, b"hi ".to_vec());
        self.ready.push_back(id);
    }

    fn handle_connected(&mut self, _now: Now, id: ConnectionId, peer: Peer) {
        self.waiting.insert(id, Vec::new());
        self.connected.push(Ok(peer));
    }

    fn handle_connect_failed(&mut self, _now: Now, error: io::Error) {
        self.connected.push(Err(error.kind()));
    }

    fn handle_bytes(&mut self, _now: Now, id: ConnectionId, bytes: &[u8]) -> usize {
        self.given += bytes.len();
        self.given_in_all += bytes.len();
        if bytes.iter().all(|byte| *byte == b'x') {
            return bytes.len();
        }
        for (index, byte) in bytes.iter().enumerate() {
            match byte {
                b'q' => self.actions.push_back(Action::Close(id, Reason::Quit)),
                b'k' => {
                    let others = self.waiting.keys().filter(|other| **other != id);
                    self.actions.extend(others.map(|other| Action::Close(*other, Reason::Kicked)));
                }
                b'p' => {
                    self.paused.push(id);
                    return index + 1;
                }
                _ => self.waiting.entry(id).or_default().push(*byte),
            }
        }
        self.ready.push_back(id);
        bytes.len()
    }

    fn handle_eof(&mut self, _now: Now, id: ConnectionId, rest: &[u8]) -> bool {
        assert!(rest.is_empty());
        self.ends += 1;
        if !self.outlives_eof {
            self.actions.push_back(Action::Close(id, Reason::EndOfInput));
        }
        true
    }

    fn wants_input(&self, id: ConnectionId) -> bool {
        !self.paused.contains(&id)
    }

    fn poll_ready(&mut self, _now: Now) -> Option<ConnectionId> {
        self.ready.pop_front()
    }

    fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    fn poll_output(&mut self, _now: Now, id: ConnectionId) -> Output<'_> {
        self.waiting.get(&id).map_or(Output::default(), |bytes| Output::one(bytes))
    }

    fn handle_written(&mut self, _now: Now, id: ConnectionId, bytes: usize, _written: Written) {
        self.waiting.entry(id).or_default().drain(..bytes);
    }

    fn handle_writable(&mut self, id: ConnectionId) {
        self.ready.push_back(id);
    }

    fn handle_closed(&mut self, _now: Now, id: ConnectionId, reason: Reason) {
        assert!(self.waiting.remove(&id).is_some(), "closed twice, or never opened");
        self.closed.push((id.serial(), reason));
    }

    fn handle_signal(&mut self, _now: Now) {
        for id in self.waiting.keys() {
            self.actions.push_back(Action::Close(*id, Reason::ServerClosing));
        }
        self.actions.push_back(Action::Stop(Duration::from_secs(3)));
    }

    fn handle_timeout(&mut self, _now: Now) {
        self.timeout = None;
    }

    fn handle_turn(&mut self, _now: Now) {
        self.given_most = self.given_most.max(std::mem::take(&mut self.given));
    }

    fn handle_turn_ended(&mut self, _now: Now, report: &TurnReport) {
        self.last_turn = *report;
    }

    fn poll_timeout(&self) -> Option<Moment> {
        self.timeout
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}
