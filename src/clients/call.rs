//! A client for any server: texts go out, what comes back is printed.
//!
//! The lesson is that a client needs no call that waits. The classic one connects, sends and receives in
//! turn, and hangs where the peer does. Here the peer, the keyboard and the clock are watched at once, so
//! whatever is awaited has a deadline, and a person can type while an answer comes.
//!
//! A text is sent when the one before was answered, or at once if a person or a pipe talks to a stream. The
//! end is the same for all of them: the last answer is awaited before the peer is told that no more will come. Here
//! is what is sent when, and what is due then. What counts as an answer is in `hearing`, what becomes of it
//! when none comes in `ending`, what the loop asks of the client in `engine`.

mod acks;
mod ending;
mod engine;
mod hearing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use crate::engine::{Action, ConnectionId, Endpoint, Moment, Now};
use crate::limits;
use crate::output_queues::OutputQueues;

use super::Outcome;
use acks::Acks;

/// What a call is to do.
#[derive(Debug)]
pub struct Settings {
    /// The peer's address, as people know it.
    pub address: String,
    /// Where it may be, in the order to try; at least one, all of a kind.
    pub endpoints: Vec<Endpoint>,
    /// What to send first.
    pub texts: Vec<String>,
    /// Whether the first of them is answered before anything else is sent, also where all else is sent at once;
    /// a person sees to that.
    pub has_ready: bool,
    /// Whether the lines of standard input follow.
    pub reads_input: bool,
    /// Whether a person types them: then only connecting has a deadline.
    pub is_interactive: bool,
    /// Whether a text is a line on a stream.
    pub ends_lines: bool,
    /// Whether nothing that a terminal would obey is printed.
    pub is_clean: bool,
    /// How long the peer has to be connected to, to answer each text, and to end; `None`: for ever.
    pub timeout: Option<Duration>,
    /// What every message is answered with.
    pub ack: Option<String>,
}

/// The client.
#[derive(Debug)]
pub struct Call {
    settings: Settings,
    /// Which endpoint is tried, or connected.
    endpoint: usize,
    /// None before it is connected, and once all is over.
    socket: Option<ConnectionId>,
    /// None before it is adopted, and after it is closed.
    console: Option<ConnectionId>,
    /// Texts for the peer, and standard input can bring more.
    texts: VecDeque<Vec<u8>>,
    has_input: bool,
    /// The text that was sent last.
    sent: Option<Vec<u8>>,
    /// Texts that were sent, and what came since the first of them: lines, and what a silence ended.
    texts_sent: u64,
    messages_heard: u64,
    /// Something came since the last text was sent.
    has_answer: bool,
    /// When a pipe that was sent at once waits no longer for the rest of its answers.
    answers_by: Option<Moment>,
    due: Due,
    datagrams: VecDeque<Vec<u8>>,
    outputs: OutputQueues,
    /// What came since the last line end or silence.
    message: Vec<u8>,
    heard_at: Option<Moment>,
    acks: Option<Acks>,
    silent_at: Option<Moment>,
    deadline: Option<Moment>,
    actions: VecDeque<Action>,
    outcome: Option<Outcome>,
}

/// What the peer has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Nothing before it is sent more.
    Nothing,
    Answer,
    RestOfAnswer,
    /// All was sent.
    End,
}

impl Call {
    /// A call that begins once it has a console.
    #[must_use]
    pub fn new(mut settings: Settings) -> Self {
        debug_assert!(!settings.endpoints.is_empty());
        Call {
            texts: settings.texts.drain(..).map(String::into_bytes).collect(),
            has_input: settings.reads_input,
            acks: settings.ack.take().map(Acks::new),
            settings,
            endpoint: 0,
            socket: None,
            console: None,
            sent: None,
            texts_sent: 0,
            messages_heard: 0,
            has_answer: false,
            answers_by: None,
            due: Due::Nothing,
            datagrams: VecDeque::new(),
            outputs: OutputQueues::new(),
            message: Vec::new(),
            heard_at: None,
            silent_at: None,
            deadline: None,
            actions: VecDeque::new(),
            outcome: None,
        }
    }

    /// How it ended, once it did.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Bytes that wait for a side: none where it is not there.
    fn waiting_bytes(&self, side: Option<ConnectionId>) -> usize {
        side.map_or(0, |id| self.outputs.waiting_bytes(id))
    }

    fn is_datagram(&self) -> bool {
        self.settings.endpoints[self.endpoint].is_datagram()
    }

    /// Whether a text waits until the one before is answered.
    fn is_paced(&self) -> bool {
        let is_ready = self.settings.has_ready && self.texts_sent == 1;
        !self.settings.reads_input || (!self.settings.is_interactive && (self.is_datagram() || is_ready))
    }

    /// Sends what may be sent now.
    fn advance(&mut self, now: Now) {
        while self.socket.is_some() && self.due == Due::Nothing {
            match self.texts.pop_front() {
                // Typed, it is a command; what comes from elsewhere is data.
                Some(text) if self.settings.is_interactive && text.trim_ascii() == b"exit" => {
                    self.texts.clear();
                    self.has_input = false;
                    return self.end(Outcome::Done);
                }
                Some(text)
                    if self.settings.is_interactive && text.len() > limits::TERMINAL_LINE_BYTES_MAX =>
                {
                    self.refuse_cut_line();
                }
                Some(text) => {
                    self.send(&text);
                    if self.texts_sent <= u64::from(self.settings.has_ready) {
                        // What came before, and what more the answer to the first text has, is no answer to this.
                        self.messages_heard = self.texts_sent;
                    }
                    self.texts_sent += 1;
                    self.has_answer = false;
                    self.sent = Some(text);
                    if self.is_paced() {
                        self.due = Due::Answer;
                        self.set_deadline(now);
                    }
                }
                None if self.has_input => break,
                None if self.is_answered() => self.finish(now),
                None => self.expect_answers(now),
            }
        }
        self.resume();
    }

    /// Whether all that was sent at once is answered, as far as can be counted; a person sees to that.
    fn is_answered(&self) -> bool {
        self.settings.is_interactive || self.is_paced() || self.messages_heard >= self.texts_sent
    }

    /// All was sent at once: the answers have as long as one of a text has, however many are missing.
    fn expect_answers(&mut self, now: Now) {
        self.due = Due::Answer;
        match self.answers_by {
            Some(answers_by) => self.deadline = Some(answers_by),
            None => {
                self.set_deadline(now);
                self.answers_by = self.deadline;
            }
        }
    }

    /// The terminal may have cut a line of a person's: it is not sent as if it were whole.
    fn refuse_cut_line(&mut self) {
        let most = limits::TERMINAL_LINE_BYTES_MAX;
        let why =
            format!("a terminal cuts long lines: not sent: {most} bytes at most; a pipe takes longer ones");
        if self.settings.is_clean {
            self.print_clean(format!("onepoll: call: {why}").as_bytes());
        } else {
            // Standard output is data.
            self.end(Outcome::Failed(why));
        }
    }

    fn send(&mut self, text: &[u8]) {
        let Some(socket) = self.socket else { return };
        if self.is_datagram() {
            self.datagrams.push_back(text.to_vec());
            return self.outputs.make_ready(socket);
        }
        self.outputs.push(socket, text);
        if self.settings.ends_lines {
            self.outputs.push(socket, b"\n");
        }
    }

    /// All was sent. A stream's peer is told so, unless there are acknowledgements to come.
    fn finish(&mut self, now: Now) {
        self.due = Due::End;
        self.set_deadline(now);
        if self.acks.is_some() {
            return;
        }
        match self.socket {
            Some(socket) if !self.is_datagram() => self.actions.push_back(Action::FinishOutput(socket)),
            _ => self.end(Outcome::Done),
        }
    }

    /// The answer is complete, if there is one.
    fn answered(&mut self, now: Now) {
        if self.due == Due::RestOfAnswer {
            self.due = Due::Nothing;
            self.deadline = None;
            self.advance(now);
        }
    }

    /// Whatever the peer has to do next, it has so long for; with a person it has all the time.
    fn set_deadline(&mut self, now: Now) {
        let is_patient = self.settings.is_interactive && self.socket.is_some();
        self.deadline = self.settings.timeout.filter(|_| !is_patient).map(|timeout| now.moment + timeout);
    }
}
