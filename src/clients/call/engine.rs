//! What the loop asks of the client: connections come and go, texts and what is printed wait in queues.
//!
//! Invariant: each side is read only while the other takes what comes of it.

use std::io;

use super::{Call, Due, Outcome};
use crate::clients::describe;
use crate::engine::{
    Action, ConnectionId, Datagram, Endpoint, Engine, ListenerId, Moment, Now, Output, Peer, Reason, Written,
};
use crate::limits;

impl Engine for Call {
    fn handle_accepted(&mut self, now: Now, id: ConnectionId, _listener: Option<ListenerId>, peer: Peer) {
        debug_assert_eq!(peer, Peer::Console, "a client listens nowhere");
        self.console = Some(id);
        self.outputs.open(id);
        self.set_deadline(now);
        self.connect();
    }

    fn handle_connected(&mut self, now: Now, id: ConnectionId, _peer: Peer) {
        if self.outcome.is_some() {
            return self.actions.push_back(Action::Close(id, Reason::Quit));
        }
        self.outputs.open(id);
        self.socket = Some(id);
        self.deadline = None;
        self.advance(now);
    }

    fn handle_connect_failed(&mut self, _now: Now, error: io::Error) {
        if self.outcome.is_none() {
            self.try_next(&error);
        }
    }

    fn handle_bytes(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) -> usize {
        if self.outcome.is_some() {
            return bytes.len();
        }
        if Some(id) == self.console {
            return self.take_input(now, bytes);
        }
        self.hear(now, bytes);
        bytes.len()
    }

    fn handle_eof(&mut self, now: Now, id: ConnectionId, rest: &[u8]) -> bool {
        if self.outcome.is_some() {
            return true;
        }
        if Some(id) == self.socket {
            self.hear_end();
        } else if self.has_input {
            self.texts.extend((!rest.is_empty()).then(|| rest.to_vec()));
            self.has_input = false;
            self.advance(now);
        }
        true
    }

    fn handle_datagram(&mut self, now: Now, _id: ConnectionId, _from: Option<&Endpoint>, bytes: &[u8]) {
        if self.outcome.is_none() {
            self.hear_datagram(now, bytes);
        }
    }

    fn handle_datagram_lost(&mut self, _now: Now, id: ConnectionId, error: io::Error) {
        if self.outcome.is_some() || Some(id) != self.socket {
            return;
        }
        if self.heard_at.is_none() && is_absence(&error) {
            // What was sent to nobody is for the next address.
            self.datagrams.clear();
            if let Some(sent) = self.sent.take() {
                self.texts.push_front(sent);
            }
            self.due = Due::Nothing;
            self.socket = None;
            self.actions.push_back(Action::Close(id, Reason::Quit));
            return self.try_next(&error);
        }
        self.fail(&format!("a datagram was lost: {}", describe(&error)));
    }

    fn poll_datagram(&mut self, _now: Now, id: ConnectionId) -> Option<Datagram<'_>> {
        let bytes = self.datagrams.front().filter(|_| Some(id) == self.socket)?;
        Some(Datagram { to: None, bytes })
    }

    fn wants_input(&self, id: ConnectionId) -> bool {
        let peer_follows = self.waiting_bytes(self.socket) < limits::CLIENT_INPUT_BYTES_MAX
            && self.datagrams.len() < limits::DATAGRAMS_PER_TURN_MAX;
        if Some(id) == self.console {
            return self.has_input && self.socket.is_some() && self.texts.is_empty() && peer_follows;
        }
        // Only what is answered has to wait: an echo reads no more until what it sends is read.
        (peer_follows || self.acks.is_none())
            && self.waiting_bytes(self.console) < limits::CLIENT_OUTPUT_BYTES_MAX
    }

    fn poll_ready(&mut self, _now: Now) -> Option<ConnectionId> {
        self.outputs.poll_ready()
    }

    fn has_ready(&self) -> bool {
        self.outputs.has_ready()
    }

    fn poll_output(&mut self, _now: Now, id: ConnectionId) -> Output<'_> {
        self.outputs.output(id)
    }

    fn handle_written(&mut self, now: Now, id: ConnectionId, bytes: usize, written: Written) {
        if Some(id) == self.socket && self.is_datagram() {
            if written == Written::All {
                self.datagrams.pop_front();
            }
            self.outputs.handle_written(id, 0, written);
            return self.resume();
        }
        self.outputs.handle_written(id, bytes, written);
        self.resume();
        if Some(id) == self.console {
            self.stop_if_shown();
        } else if self.due == Due::Nothing {
            // A peer that reads nothing must not hold up a pipe for ever.
            self.deadline = None;
            if written == Written::Blocked {
                self.set_deadline(now);
            }
        }
    }

    fn handle_writable(&mut self, id: ConnectionId) {
        self.outputs.handle_writable(id);
    }

    fn handle_closed(&mut self, _now: Now, id: ConnectionId, reason: Reason) {
        self.outputs.close(id);
        self.lose(id, reason);
    }

    fn handle_signal(&mut self, _now: Now) {
        self.interrupt();
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.silent_at.take_if(|due| *due <= now.moment).is_some() {
            self.take_message();
            self.answered(now);
        }
        if self.deadline.take_if(|due| *due <= now.moment).is_some() {
            self.expire(now);
        }
    }

    fn poll_timeout(&self) -> Option<Moment> {
        [self.silent_at, self.deadline].into_iter().flatten().min()
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}

impl Call {
    fn connect(&mut self) {
        self.actions.push_back(Action::Connect(self.settings.endpoints[self.endpoint].clone()));
    }

    /// The peer is not at this address: it may be at the next.
    fn try_next(&mut self, error: &io::Error) {
        if self.endpoint + 1 < self.settings.endpoints.len() {
            self.endpoint += 1;
            return self.connect();
        }
        let why = format!("cannot connect to {}: {}", self.settings.address, describe(error));
        self.end(Outcome::CannotConnect(why));
    }

    /// Takes lines of standard input; returns the bytes done with.
    fn take_input(&mut self, now: Now, bytes: &[u8]) -> usize {
        if !self.has_input {
            return bytes.len();
        }
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let rest = lines.next_back().unwrap_or_default();
        self.texts.extend(lines.map(<[u8]>::to_vec));
        self.advance(now);
        if !self.has_input {
            // Nothing more is sent.
        } else if rest.len() < limits::CALL_TEXT_BYTES_MAX {
            return bytes.len() - rest.len();
        } else if self.is_datagram() {
            let why = format!("a line of {} bytes or more is no datagram", limits::CALL_TEXT_BYTES_MAX);
            self.end(Outcome::Failed(why));
        } else if let Some(socket) = self.socket {
            // A stream does not mind that the end of this line is not here yet.
            self.outputs.push(socket, rest);
        }
        bytes.len()
    }

    /// Reads on where a side had to wait for the other, and need not any more.
    pub(super) fn resume(&mut self) {
        let sides = [self.console, self.socket].into_iter().flatten();
        let resumed: Vec<Action> = sides.filter(|id| self.wants_input(*id)).map(Action::Resume).collect();
        self.actions.extend(resumed);
    }
}

/// Whether the system knows that nobody is there.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}
