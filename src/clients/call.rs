//! A client for any server: texts go out, what comes back is printed.
//!
//! The lesson is that a client needs no call that waits. The classic one connects, sends and receives in
//! turn, and hangs where the peer does. Here the peer, the keyboard and the clock are watched at once, so
//! whatever is awaited has a deadline, and a person can type while an answer comes.
//!
//! A text is sent when the one before was answered, or at once if a person or a pipe talks to a stream. An
//! answer is a datagram; on a stream it ends with a line, or with a silence where no line ends.

mod acks;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::codec::text;
use crate::engine::{
    Action, ConnectionId, Datagram, Endpoint, Engine, Moment, Now, Output, Peer, Reason, Refusal, Written,
};
use crate::limits;
use crate::output_queues::OutputQueues;

use super::{Outcome, describe};
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

    fn is_datagram(&self) -> bool {
        self.settings.endpoints[self.endpoint].is_datagram()
    }

    /// Whether a text waits until the one before is answered.
    fn is_paced(&self) -> bool {
        !self.settings.reads_input || (self.is_datagram() && !self.settings.is_interactive)
    }

    fn set_deadline(&mut self, now: Now) {
        let is_patient = self.settings.is_interactive && self.socket.is_some();
        let timeout = self.settings.timeout.filter(|_| !is_patient);
        self.deadline = timeout.map(|timeout| now.moment + timeout);
    }

    // ---- what is sent ----

    fn connect(&mut self) {
        let endpoint = self.settings.endpoints[self.endpoint].clone();
        self.actions.push_back(Action::Connect(endpoint));
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

    /// Sends what may be sent now.
    fn advance(&mut self, now: Now) {
        while self.socket.is_some() && self.due == Due::Nothing {
            match self.texts.pop_front() {
                Some(text) if text.trim_ascii() == b"exit" => {
                    self.texts.clear();
                    self.has_input = false;
                    if self.settings.is_interactive {
                        return self.end(Outcome::Done);
                    }
                }
                Some(text) => {
                    self.send(&text);
                    self.sent = Some(text);
                    if self.is_paced() {
                        self.due = Due::Answer;
                        self.set_deadline(now);
                    }
                }
                None if self.has_input => break,
                None => self.finish(now),
            }
        }
        self.resume();
    }

    /// Reads on where a side had to wait for the other, and need not any more.
    fn resume(&mut self) {
        let sides = [self.console, self.socket].into_iter().flatten();
        let resumed: Vec<Action> = sides.filter(|id| self.wants_input(*id)).map(Action::Resume).collect();
        self.actions.extend(resumed);
    }

    /// Takes lines of standard input; returns the bytes done with.
    fn take_input(&mut self, now: Now, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while self.has_input
            && let Some(length) = memchr::memchr(b'\n', &bytes[taken..])
        {
            self.texts.push_back(bytes[taken..taken + length].to_vec());
            taken += length + 1;
            self.advance(now);
        }
        let rest = &bytes[taken..];
        if !self.has_input {
            return bytes.len();
        }
        if rest.len() < limits::CALL_TEXT_BYTES_MAX {
            return taken;
        }
        if self.is_datagram() {
            let why = format!("a line of {} bytes or more is no datagram", limits::CALL_TEXT_BYTES_MAX);
            self.end(Outcome::Failed(why));
        } else if let Some(socket) = self.socket {
            // A stream does not mind that the end of this line is not here yet.
            self.outputs.push(socket, rest);
        }
        bytes.len()
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

    // ---- what comes back ----

    fn hear(&mut self, now: Now, bytes: &[u8]) {
        self.note_heard(now);
        if !self.settings.is_clean {
            self.print(bytes);
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.message.extend_from_slice(piece);
            let is_whole = piece.ends_with(b"\n");
            if is_whole || self.message.len() >= limits::CALL_TEXT_BYTES_MAX {
                self.take_message();
            }
        }
        if self.message.is_empty() {
            self.silent_at = None;
            self.answered(now);
        } else {
            let is_cut = text::ends_inside_character(&self.message);
            let silence = if is_cut { limits::ANSWER_SILENCE_LONG } else { limits::ANSWER_SILENCE };
            self.silent_at = Some(now.moment + silence);
        }
    }

    fn note_heard(&mut self, now: Now) {
        self.heard_at = Some(now.moment);
        if self.due == Due::Answer {
            self.due = Due::RestOfAnswer;
        }
        if self.due == Due::End && self.acks.is_some() {
            // Each message is a new exchange.
            self.set_deadline(now);
        }
    }

    /// A line of a stream is there, or what came before a silence.
    fn take_message(&mut self) {
        let message = std::mem::take(&mut self.message);
        if message.is_empty() {
            return;
        }
        if self.settings.is_clean {
            self.print_clean(&message);
        }
        self.acknowledge(&message);
    }

    /// The answer is complete, if there is one.
    fn answered(&mut self, now: Now) {
        if self.due == Due::RestOfAnswer {
            self.due = Due::Nothing;
            self.deadline = None;
            self.advance(now);
        }
    }

    fn print(&mut self, bytes: &[u8]) {
        if let Some(console) = self.console {
            self.outputs.push(console, bytes);
        }
    }

    /// Prints lines without what a terminal would obey, each with its end.
    fn print_clean(&mut self, lines: &[u8]) {
        let mut clean = Vec::new();
        for line in lines.strip_suffix(b"\n").unwrap_or(lines).split(|byte| *byte == b'\n') {
            text::clean_into(line, &mut clean);
            clean.push(b'\n');
        }
        self.print(&clean);
    }

    fn acknowledge(&mut self, message: &[u8]) {
        let answer = self.acks.as_mut().and_then(|acks| acks.answer(message)).map(<[u8]>::to_vec);
        if let Some(answer) = answer {
            self.send(&answer);
        }
    }

    // ---- the end ----

    /// What was awaited did not come in time.
    fn expire(&mut self, now: Now) {
        let Settings { address, timeout, .. } = &self.settings;
        let timeout = timeout.unwrap_or_default();
        let seconds = timeout.as_secs_f64();
        if self.socket.is_none() {
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
            Due::Nothing => format!("took nothing of what was sent for {seconds} s"),
            Due::End if !has_paused => format!("was still sending after {seconds} s"),
            Due::End if self.has_answer() => return self.end(Outcome::Done),
            _ if self.is_datagram() => format!("no answer within {seconds} s; datagrams can be lost"),
            _ => format!("no answer within {seconds} s"),
        };
        self.end(Outcome::Failed(format!("{address}: {why}; --timeout SECONDS waits longer")));
    }

    fn has_answer(&self) -> bool {
        self.heard_at.is_some() || self.sent.is_none()
    }

    /// The peer sends no more.
    fn hear_end(&mut self) {
        let address = &self.settings.address;
        let waiting = self.socket.map_or(0, |socket| self.outputs.waiting_bytes(socket));
        // Acknowledgements that nobody waits for any more are no loss.
        let is_unsent = !self.texts.is_empty() || (waiting > 0 && self.acks.is_none());
        self.end(if self.due == Due::Answer {
            Outcome::Failed(format!("{address}: closed the connection without an answer"))
        } else if is_unsent {
            Outcome::Failed(format!("{address}: closed the connection before all was sent"))
        } else {
            Outcome::Done
        });
    }

    fn end(&mut self, outcome: Outcome) {
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
    fn stop_if_shown(&mut self) {
        if self.outcome.is_some()
            && self.console.is_none_or(|console| self.outputs.waiting_bytes(console) == 0)
        {
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

impl Engine for Call {
    fn admit(&mut self, _now: Now, _peer: Peer) -> Result<(), Refusal> {
        Ok(())
    }

    fn handle_accepted(&mut self, now: Now, id: ConnectionId, peer: Peer) {
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
        if Some(id) == self.socket {
            self.hear(now, bytes);
            return bytes.len();
        }
        self.take_input(now, bytes)
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
        if self.outcome.is_some() {
            return;
        }
        self.note_heard(now);
        if self.settings.is_clean {
            self.print_clean(bytes);
        } else {
            self.print(bytes);
            if !bytes.ends_with(b"\n") {
                self.print(b"\n");
            }
        }
        self.acknowledge(bytes);
        self.answered(now);
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
        let why = format!("{}: a datagram was lost: {}", self.settings.address, describe(&error));
        self.end(Outcome::Failed(why));
    }

    fn poll_datagram(&mut self, _now: Now, id: ConnectionId) -> Option<Datagram<'_>> {
        let bytes = self.datagrams.front().filter(|_| Some(id) == self.socket)?;
        Some(Datagram { to: None, bytes })
    }

    fn wants_input(&self, id: ConnectionId) -> bool {
        let peer_follows = self.socket.is_none_or(|socket| {
            self.outputs.waiting_bytes(socket) < limits::CLIENT_INPUT_BYTES_MAX
                && self.datagrams.len() < limits::DATAGRAMS_PER_TURN_MAX
        });
        if Some(id) == self.console {
            return self.has_input && self.socket.is_some() && self.texts.is_empty() && peer_follows;
        }
        // Only what is answered has to wait: an echo reads no more until what it sends is read.
        (peer_follows || self.acks.is_none())
            && self
                .console
                .is_none_or(|console| self.outputs.waiting_bytes(console) < limits::CLIENT_OUTPUT_BYTES_MAX)
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
        if Some(id) == self.console {
            self.console = None;
            // Nobody reads on (`| head`): a quiet end.
            self.end(match reason {
                Reason::SystemError => Outcome::Failed("standard input or output failed".into()),
                _ => Outcome::Done,
            });
            self.stop_if_shown();
        } else if Some(id) == self.socket {
            self.socket = None;
            self.end(Outcome::Failed(format!("lost the connection to {}: {reason}", self.settings.address)));
        }
    }

    fn handle_signal(&mut self, _now: Now) {
        let is_complete = match self.due {
            Due::End => self.has_answer(),
            _ => self.settings.is_interactive && self.socket.is_some(),
        };
        self.end(if is_complete {
            Outcome::Done
        } else {
            let address = &self.settings.address;
            Outcome::Failed(format!("{address}: ended by a signal before all was sent and answered"))
        });
        self.stop();
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.silent_at.is_some_and(|due| due <= now.moment) {
            self.silent_at = None;
            self.take_message();
            self.answered(now);
        }
        if self.deadline.is_some_and(|due| due <= now.moment) {
            self.deadline = None;
            self.expire(now);
        }
    }

    fn handle_turn(&mut self, _now: Now) {}

    fn poll_timeout(&self) -> Option<Moment> {
        [self.silent_at, self.deadline].into_iter().flatten().min()
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}

/// Whether the system knows that nobody is there.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}
