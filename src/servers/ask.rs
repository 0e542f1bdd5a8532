//! Questions and answers: what clients ask is shown to the operator, who types the answers.
//!
//! The lesson is state that all share, without a lock. The classic server gives each client a thread and
//! all of them one keyboard, so they wait for each other, or lock. Here a client's text, the operator's
//! line, a silence and a lost connection are calls of one engine, one after the other, and the open
//! questions are a map that it owns.
//!
//! A question is a line; or, from a client that ends none, what came before a silence. Invariant: the
//! numbers in `questions` are those in the `open` of the clients.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use crate::codec::line::Decoded;
use crate::codec::text;
use crate::engine::{Action, ConnectionId, Engine, Moment, Now, Output, Peer, Reason, Refusal, Written};
use crate::input_texts::InputTexts;
use crate::limits;
use crate::output_queues::OutputQueues;

const HELP: &str = "\
TEXT         answer the oldest question
NUMBER TEXT  answer this question; also where TEXT is a number, or a word below
list         the open questions
help         this page
exit, quit   end the server
What you were typing when a new question came is still there: Ctrl-R shows it again.
";

/// The question-and-answer server.
#[derive(Debug)]
pub struct Ask {
    clients_max: usize,
    has_prompt: bool,
    /// Whoever may send lines: the operator too.
    clients: BTreeMap<ConnectionId, Client>,
    /// The operator's own; none where standard input and output are of no use: then the questions wait.
    console: Option<ConnectionId>,
    /// The open questions by number: the oldest first.
    questions: BTreeMap<u64, Question>,
    questions_asked: u64,
    inputs: InputTexts,
    outputs: OutputQueues,
    /// Messages that the console had no room for.
    unshown: u64,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
struct Question {
    asker: ConnectionId,
    /// `[3] 127.0.0.1:4711: text`
    shown: String,
}

#[derive(Debug)]
struct Client {
    name: String,
    /// The numbers of its open questions.
    open: Vec<u64>,
    has_ended: bool,
}

impl Ask {
    /// A server without questions. `has_prompt`: the console is a terminal.
    #[must_use]
    pub fn new(clients_max: usize, has_prompt: bool) -> Self {
        Ask {
            clients_max,
            has_prompt,
            clients: BTreeMap::new(),
            console: None,
            questions: BTreeMap::new(),
            questions_asked: 0,
            inputs: InputTexts::new(),
            outputs: OutputQueues::new(),
            unshown: 0,
            actions: VecDeque::new(),
        }
    }

    // ---- text comes in ----

    /// Takes texts from the front of `bytes` until one has to wait; returns the bytes that are done with.
    fn hear(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) -> usize {
        let mut done = 0;
        while self.wants_input(id) {
            match self.inputs.decode(now.moment, id, &bytes[done..], limits::QUESTION_BYTES_MAX) {
                Decoded::Line { line, consumed } => {
                    self.take(id, line);
                    done += consumed;
                }
                Decoded::TooLong { consumed } => {
                    let most = limits::QUESTION_BYTES_MAX;
                    self.outputs.push(id, format!("-- too long: {most} bytes at most --\n").as_bytes());
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

    fn take(&mut self, id: ConnectionId, line: &[u8]) {
        let mut clean = Vec::new();
        text::clean_into(line, &mut clean);
        let line = String::from_utf8_lossy(&clean);
        if Some(id) == self.console { self.operate(line.trim()) } else { self.ask(id, line.trim()) }
    }

    // ---- a client asks ----

    fn ask(&mut self, id: ConnectionId, text: &str) {
        match text {
            "" => return,
            "exit" | "quit" => return self.leave(id, Reason::Quit),
            _ if self.questions.len() >= limits::QUESTIONS_MAX => {
                return self.outputs.push(id, b"-- too many questions are open: ask again later --\n");
            }
            _ => {}
        }
        let Some(client) = self.clients.get_mut(&id) else { return };
        self.questions_asked += 1;
        let number = self.questions_asked;
        client.open.push(number);
        let shown = format!("[{number}] {}: {text}\n", client.name);
        self.say(&shown);
        self.questions.insert(number, Question { asker: id, shown });
    }

    // ---- the operator answers ----

    fn operate(&mut self, line: &str) {
        match line {
            "" => return self.say(""),
            "help" => return self.say(HELP),
            "list" => return self.list(),
            "exit" | "quit" => return self.stop(),
            _ => {}
        }
        let Some(oldest) = self.questions.first_key_value().map(|(number, _)| *number) else {
            return self.say("no question is open; help lists what else you can type\n");
        };
        let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        if !first.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.answer(oldest, line);
        }
        match first.parse() {
            Ok(number) if self.questions.contains_key(&number) && !rest.is_empty() => {
                self.answer(number, rest.trim_start());
            }
            Ok(number) if self.questions.contains_key(&number) => self.say(&format!(
                "an answer is missing behind {first}; to answer with the number: {oldest} {line}\n"
            )),
            _ => self.say(&format!(
                "no question {first} is open, list shows those that are; to answer with the number: \
                 {oldest} {line}\n"
            )),
        }
    }

    fn answer(&mut self, number: u64, answer: &str) {
        let Some(Question { asker, .. }) = self.questions.remove(&number) else { return };
        let Some(client) = self.clients.get_mut(&asker) else { return };
        client.open.retain(|open| *open != number);
        self.outputs.push(asker, format!("{answer}\n").as_bytes());
        let is_over = client.has_ended && client.open.is_empty();
        let shown = format!("answered [{number}] of {}\n", client.name);
        self.say(&shown);
        if is_over {
            self.leave(asker, Reason::EndOfInput);
        }
    }

    fn list(&mut self) {
        let first = self.questions.values().take(limits::LISTED_MAX);
        let mut page: String = first.map(|question| question.shown.as_str()).collect();
        match self.questions.len() {
            0 => page.push_str("no question is open\n"),
            1..=limits::LISTED_MAX => {}
            open => page.push_str(&format!("and {} more\n", open - limits::LISTED_MAX)),
        }
        self.say(&page);
    }

    /// Shows lines to the operator, as far as there is room for them, and then the prompt.
    fn say(&mut self, lines: &str) {
        let Some(console) = self.console else { return };
        if self.outputs.waiting_bytes(console) + lines.len() > limits::CONSOLE_PRIVATE_BYTES_MAX {
            self.unshown += 1;
        } else if self.has_prompt {
            // They take the place of the prompt that is there (ECMA-48: EL).
            self.outputs.push(console, format!("\r\x1b[K{lines}>> ").as_bytes());
        } else {
            self.outputs.push(console, lines.as_bytes());
        }
    }

    // ---- somebody leaves ----

    /// Lets a client go. Whoever closes, and why, the operator is told once.
    fn leave(&mut self, id: ConnectionId, reason: Reason) {
        self.forget(id, reason);
        self.actions.push_back(Action::Close(id, reason));
    }

    /// Withdraws the questions of a client that is gone or going.
    fn forget(&mut self, id: ConnectionId, reason: Reason) {
        self.inputs.close(id);
        let Some(client) = self.clients.remove(&id) else { return };
        let mut said = format!("-- {} left", client.name);
        if !matches!(reason, Reason::Quit | Reason::EndOfInput) {
            said.push_str(&format!(": {reason}"));
        }
        if !client.open.is_empty() {
            said.push_str(&format!("; withdrawn:{}", list(&client.open)));
        }
        for number in &client.open {
            self.questions.remove(number);
        }
        self.say(&format!("{said} --\n"));
    }

    /// Ends the server. Who waits for an answer is told that none will come.
    fn stop(&mut self) {
        self.actions.push_back(Action::Stop(limits::DRAIN));
        if let Some(console) = self.console.take() {
            let open = self.questions.len();
            self.outputs.push(console, format!("closing: {open} questions stay open\n").as_bytes());
        }
        self.questions.clear();
        for (id, client) in std::mem::take(&mut self.clients) {
            self.inputs.close(id);
            if !client.open.is_empty() {
                self.outputs.push(id, b"-- the server is closing: no answer --\n");
            }
            self.actions.push_back(Action::Close(id, Reason::ServerClosing));
        }
    }
}

impl Engine for Ask {
    fn admit(&mut self, _now: Now, _peer: Peer) -> Result<(), Refusal> {
        if self.clients.len() - usize::from(self.console.is_some()) < self.clients_max {
            return Ok(());
        }
        let text = format!("-- the server is full: {} clients at most --\n", self.clients_max);
        Err(Refusal { reason: Reason::ServerFull, text })
    }

    fn handle_accepted(&mut self, _now: Now, id: ConnectionId, peer: Peer) {
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
        self.hear(now, id, bytes)
    }

    /// A client that sends no more may still read, so its questions stay open. Where it is gone instead, the
    /// answer finds that out, or the kernel, which asks it after a minute.
    fn handle_eof(&mut self, _now: Now, id: ConnectionId, rest: &[u8]) -> bool {
        self.take(id, rest);
        if let Some(client) = self.clients.get_mut(&id).filter(|_| Some(id) != self.console) {
            client.has_ended = true;
            if client.open.is_empty() {
                self.leave(id, Reason::EndOfInput);
            } else {
                let said =
                    format!("-- {} sends no more; still open:{} --\n", client.name, list(&client.open));
                self.say(&said);
            }
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

    fn handle_turn(&mut self, _now: Now) {}

    fn poll_timeout(&self) -> Option<Moment> {
        self.inputs.next_silence()
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}

/// ` [3] [4]`
fn list(numbers: &[u64]) -> String {
    numbers.iter().map(|number| format!(" [{number}]")).collect()
}
