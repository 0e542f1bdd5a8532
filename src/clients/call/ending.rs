//! How a call ends: in time or not, with its answers or without, and in which words.
//!
//! Invariant: the first end is the one that is told, and the loop ends only once all is printed.

use std::time::Duration;

use super::{Call, Due, Outcome};
use crate::engine::{Action, ConnectionId, Now, Reason};
use crate::limits;

impl Call {
    /// What was awaited did not come in time.
    pub(super) fn expire(&mut self, now: Now) {
        let timeout = self.settings.timeout.unwrap_or_default();
        let seconds = timeout.as_secs_f64();
        if self.socket.is_none() {
            let address = &self.settings.address;
            let why = format!("cannot connect to {address}: no connection within {seconds} s");
            return self.end(Outcome::CannotConnect(why));
        }
        let has_paused = self.heard_at.is_none_or(|heard_at| heard_at + timeout / 2 <= now.moment);
        let why = match self.due {
            // A peer that never pauses has answered, too.
            Due::RestOfAnswer => {
                self.take_message();
                return self.answered(now);
            }
            // A peer that answers only to the end of all is told of it.
            Due::Answer if self.is_last() && self.acks.is_none() && !self.is_datagram() => {
                return self.finish(now);
            }
            Due::Nothing => format!("took nothing of what was sent for {seconds} s"),
            Due::End if !has_paused => format!("was still sending after {seconds} s"),
            Due::End if self.has_answer() => return self.end(Outcome::Done),
            _ if self.is_datagram() => format!("no answer within {seconds} s; datagrams can be lost"),
            _ => format!("no answer within {seconds} s"),
        };
        self.fail(&format!("{why}; --timeout SECONDS waits longer"));
    }

    /// The peer sends no more.
    pub(super) fn hear_end(&mut self) {
        // Acknowledgements that nobody waits for any more are no loss.
        let is_unsent = self.waiting_bytes(self.socket) > 0 && self.acks.is_none();
        if matches!(self.due, Due::Answer | Due::End) && !self.has_answer() {
            self.fail("closed the connection without an answer");
        } else if is_unsent || !self.texts.is_empty() {
            self.fail("closed the connection before all was sent");
        } else {
            self.end(Outcome::Done);
        }
    }

    /// The peer or the console is gone.
    pub(super) fn lose(&mut self, id: ConnectionId, reason: Reason) {
        if Some(id) == self.console {
            self.console = None;
            self.end(Outcome::of_closed_console(reason));
            self.stop_if_shown();
        } else if Some(id) == self.socket {
            self.socket = None;
            self.end(Outcome::Failed(format!("lost the connection to {}: {reason}", self.settings.address)));
        }
    }

    /// A signal asks to end: what is not printed yet never is.
    pub(super) fn interrupt(&mut self) {
        let is_complete = match self.due {
            Due::End => self.has_answer(),
            _ => self.settings.is_interactive && self.socket.is_some(),
        };
        if is_complete {
            self.end(Outcome::Done);
        } else {
            self.fail("ended by a signal before all was sent and answered");
        }
        self.stop();
    }

    fn has_answer(&self) -> bool {
        self.has_answer || self.sent.is_none()
    }

    /// Whether nothing more is to be sent.
    fn is_last(&self) -> bool {
        self.texts.is_empty() && !self.has_input
    }

    /// Ends for what the peer did, or did not do.
    pub(super) fn fail(&mut self, why: &str) {
        self.end(Outcome::Failed(format!("{}: {why}", self.settings.address)));
    }

    pub(super) fn end(&mut self, outcome: Outcome) {
        if self.outcome.is_some() {
            return;
        }
        self.take_message();
        self.outcome = Some(outcome);
        (self.deadline, self.silent_at) = (None, None);
        self.actions.extend(self.socket.map(|socket| Action::Close(socket, Reason::Quit)));
        self.stop_if_shown();
    }

    /// Ends the loop once all is printed: a reader who takes hours (`less`) has them.
    pub(super) fn stop_if_shown(&mut self) {
        if self.outcome.is_some() && self.waiting_bytes(self.console) == 0 {
            self.stop();
        }
    }

    fn stop(&mut self) {
        self.actions.extend(self.console.take().map(|console| Action::Close(console, Reason::Quit)));
        // Nobody waits for a connection that nobody wants.
        let within = if self.socket.is_some() { limits::CLIENT_STOP } else { Duration::ZERO };
        self.actions.push_back(Action::Stop(within));
    }
}
