//! What the loop asks of the server: texts come in, answers go out, and nobody is waited for.
//!
//! A text is a line; or, from a client that ends none, what came before a silence. Invariant: whoever is
//! not heard for now is resumed by what it waits for, an answer or the reading of one.

use super::operator::END_OF_INPUT;
use super::{Ask, Client};
use crate::codec::line::Decoded;
use crate::codec::text;
use crate::engine::{
    Action, ConnectionId, Engine, ListenerId, Moment, Now, Output, Peer, Reason, Refusal, Written,
};
use crate::limits;

impl Engine for Ask {
    fn admit(&mut self, _now: Now, _listener: ListenerId, _peer: Peer) -> Result<(), Refusal> {
        if self.clients.len() - usize::from(self.console.is_some()) < self.clients_max {
            return Ok(());
        }
        let text = format!("-- the server is full: {} clients at most --\n", self.clients_max);
        Err(Refusal { reason: Reason::ServerFull, text })
    }

    fn handle_accepted(&mut self, _now: Now, id: ConnectionId, _listener: Option<ListenerId>, peer: Peer) {
        let name = match peer {
            Peer::Unix => format!("unix#{}", id.serial()),
            _ => peer.to_string(),
        };
        self.outputs.open(id);
        if peer == Peer::Console {
            self.console = Some(id);
            self.inputs.open_for_lines(id);
            self.say("");
        } else {
            self.inputs.open(id);
            self.say(&format!("-- {name} is here --\n"));
        }
        self.clients.insert(id, Client { name, open: Vec::new(), has_ended: false });
    }

    fn handle_bytes(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) -> usize {
        let mut done = 0;
        let is_console = Some(id) == self.console;
        let most = if is_console { limits::TERMINAL_LINE_BYTES_MAX } else { limits::QUESTION_BYTES_MAX };
        while self.wants_input(id) {
            match self.inputs.decode(now.moment, id, &bytes[done..], most) {
                Decoded::Line { line, consumed } => {
                    self.take(id, line);
                    done += consumed;
                }
                Decoded::TooLong { consumed } => {
                    let words = format!("-- too long: {most} bytes at most --\n");
                    if is_console {
                        self.say(&words)
                    } else {
                        self.outputs.push(id, words.as_bytes())
                    }
                    done += consumed;
                }
                Decoded::TelnetReply(reply) => self.outputs.push(id, &reply),
                Decoded::Incomplete { consumed } => {
                    done += consumed;
                    if consumed == 0 || done == bytes.len() {
                        break;
                    }
                }
            }
        }
        done
    }

    fn handle_eof(&mut self, _now: Now, id: ConnectionId, rest: &[u8]) -> bool {
        self.take(id, rest);
        if Some(id) != self.console {
            self.end(id);
        } else if std::mem::take(&mut self.has_prompt) {
            // Ctrl-D. What is typed from here on, nobody hears.
            self.outputs.push(id, END_OF_INPUT.as_bytes());
        }
        true
    }

    /// Whoever has asked much, or does not read its answers, has to wait.
    fn wants_input(&self, id: ConnectionId) -> bool {
        let is_console = Some(id) == self.console;
        let waiting_max =
            if is_console { limits::CONSOLE_PRIVATE_BYTES_MAX } else { limits::PRIVATE_BYTES_MAX };
        self.outputs.waiting_bytes(id) < waiting_max
            && self.clients.get(&id).is_none_or(|client| client.open.len() < limits::QUESTIONS_PER_CLIENT_MAX)
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

    fn handle_written(&mut self, _now: Now, id: ConnectionId, bytes: usize, written: Written) {
        self.outputs.handle_written(id, bytes, written);
        // Who had to wait for an answer, or to read some, may be heard again.
        self.actions.push_back(Action::Resume(id));
        if Some(id) == self.console && self.outputs.waiting_bytes(id) == 0 && self.unshown > 0 {
            let unshown = std::mem::take(&mut self.unshown);
            self.say(&format!("-- {unshown} messages were not shown; list shows the open questions --\n"));
        }
    }

    fn handle_writable(&mut self, id: ConnectionId) {
        self.outputs.handle_writable(id);
    }

    fn handle_closed(&mut self, _now: Now, id: ConnectionId, reason: Reason) {
        self.outputs.close(id);
        self.console.take_if(|console| *console == id);
        self.forget(id, reason);
    }

    fn handle_signal(&mut self, _now: Now) {
        self.stop();
    }

    fn handle_timeout(&mut self, now: Now) {
        while let Some(id) = self.inputs.poll_silent(now.moment) {
            self.actions.push_back(Action::Resume(id));
        }
    }

    fn poll_timeout(&self) -> Option<Moment> {
        self.inputs.next_silence()
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}

impl Ask {
    fn take(&mut self, id: ConnectionId, line: &[u8]) {
        let line = text::clean(line);
        if Some(id) == self.console { self.operate(line.trim()) } else { self.ask(id, line.trim()) }
    }
}
