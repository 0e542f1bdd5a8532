//! How a connection ends, and with it, or without, the client.
//!
//! A pipe has succeeded where the server has told that it has taken all; where it cannot be asked, its orderly end
//! is enough. What was sent on a connection that is lost may have been heard: it is told of, and not said again.

use std::time::Duration;

use super::outbox::Gate;
use super::wish::Wish;
use super::{Client, Host, Input, Link, Outcome};
use crate::codec::text;
use crate::engine::{Action, Now, Reason};
use crate::limits;

impl<H: Host> Client<H> {
    /// Has the server told that no more will come, once that is so.
    pub(super) fn finish_output(&mut self) {
        if matches!(self.input, Input::Ended | Input::Leaving)
            && !self.outbox.has_gates()
            && let Link::Up(up) = &mut self.link
            && up.speaks_at.is_none()
            && !up.is_finished
        {
            up.is_finished = true;
            self.actions.push_back(Action::FinishOutput(up.id));
        }
    }

    pub(super) fn lose(&mut self, now: Now, reason: Reason) {
        let Link::Up(up) = std::mem::replace(&mut self.link, Link::Over) else { return };
        let is_unconfirmed = self.outbox.is_unconfirmed() && !self.settings.is_person;
        // What is left behind the question whether all was taken, a quit, is none of it.
        let is_all_sent =
            self.outbox.is_empty() || matches!(self.outbox.gate(), Some(Gate::Asked(Wish::Taken, _)));
        self.outbox.rewind(!self.settings.is_plain);
        self.forget_questions();
        if let Some(words) = up.refusal {
            if !self.was_connected {
                return self.refuse(&words);
            }
            if up.speaks_at.is_some() {
                self.show_words(&words);
            }
        }
        let is_asked = self.is_confirmed || self.input == Input::Leaving;
        let is_over = self.input == Input::Ended && is_all_sent;
        let is_orderly = up.has_eof && !up.is_closing && up.is_finished;
        if is_asked || (is_over && (is_orderly || !is_unconfirmed)) {
            let fault = self.fault.take();
            return self.end(fault.map_or(Outcome::Done, Outcome::Failed));
        }
        let why = if up.has_eof { "the server closed it".into() } else { reason.to_string() };
        let mut why = format!("lost the connection to {}: {why}", self.settings.address);
        if is_unconfirmed {
            why += ": the last lines may not have arrived; see the room before you send them again";
        }
        if is_over {
            return self.fail(why);
        }
        if !self.settings.reconnects {
            return self.fail(why);
        }
        if is_unconfirmed {
            // They are not said again, for they may have been heard.
            self.fault.get_or_insert_with(|| why.clone());
        }
        self.was_connected = true;
        self.pause(now, &why);
    }

    /// Ends, and tells what else there is to tell.
    fn fail(&mut self, why: String) {
        let why = self.fault.take().map_or_else(|| why.clone(), |fault| format!("{fault}; {why}"));
        self.end(Outcome::Failed(why));
    }

    fn refuse(&mut self, words: &[u8]) {
        let words = text::clean(words);
        let words = text::truncate_at_char(&words, limits::CLIENT_WORDS_BYTES_MAX);
        self.end(Outcome::CannotConnect(format!("cannot connect to {}: {words}", self.settings.address)));
    }

    pub(super) fn end(&mut self, outcome: Outcome) {
        if self.outcome.is_some() {
            return;
        }
        self.outcome = Some(outcome);
        self.screen.set_columns(self.host.columns());
        self.screen.erase();
        if let Some(socket) = self.socket() {
            self.actions.push_back(Action::Close(socket, Reason::Quit));
        }
        if matches!(self.link, Link::Connecting(_)) {
            // Nobody waits for a connection that nobody wants.
            self.stop_within = Duration::ZERO;
        }
        self.link = Link::Over;
        self.make_ready(self.console);
        self.stop_if_shown();
    }

    /// Ends the loop once all is shown: a reader who takes hours (`less`) has them.
    pub(super) fn stop_if_shown(&mut self) {
        if self.outcome.is_some() && (self.screen.is_empty() || self.console.is_none()) {
            self.stop();
        }
    }

    pub(super) fn stop(&mut self) {
        if !std::mem::replace(&mut self.is_stopped, true) {
            if let Some(console) = self.console {
                self.actions.push_back(Action::Close(console, Reason::Quit));
            }
            self.actions.push_back(Action::Stop(self.stop_within));
        }
    }
}
