//! Questions and answers: what clients ask is shown to the operator, who types the answers.
//!
//! The lesson is state that all share, without a lock. The classic server gives each client a thread and
//! all of them one keyboard, so they wait for each other, or lock. Here a client's text, the operator's
//! line, a silence and a lost connection are calls of one engine, one after the other, and the open
//! questions are a map that it owns.
//!
//! Here is who asks, who answers whom, and who leaves; what the operator types and sees is in `operator`,
//! what the loop asks of the server in `engine`. Invariant: the numbers in `questions` are those in the
//! `open` of the clients.

mod engine;
mod operator;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use crate::engine::{Action, ConnectionId, Reason};
use crate::input_texts::InputTexts;
use crate::limits;
use crate::output_queues::OutputQueues;

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
    /// The question that an answer without a number is for: the oldest when the operator typed the line before,
    /// or the first since. It may be withdrawn meanwhile; the answer is then for nobody else.
    addressed: Option<u64>,
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
            addressed: None,
            inputs: InputTexts::new(),
            outputs: OutputQueues::new(),
            unshown: 0,
            actions: VecDeque::new(),
        }
    }

    /// A client asks, or asks to leave.
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
        self.addressed.get_or_insert(number);
        client.open.push(number);
        let shown = format!("[{number}] {}: {text}\n", client.name);
        self.say(&shown);
        self.questions.insert(number, Question { asker: id, shown });
    }

    /// The operator answers.
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

    /// A client that sends no more may still read, so its questions stay open. Where it is gone instead, the
    /// answer finds that out, or the kernel, which asks it after a minute.
    fn end(&mut self, id: ConnectionId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.has_ended = true;
        if client.open.is_empty() {
            return self.leave(id, Reason::EndOfInput);
        }
        let said = format!("-- {} sends no more; still open:{} --\n", client.name, list(&client.open));
        self.say(&said);
    }

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
            let questions =
                if open == 1 { "1 question stays".into() } else { format!("{open} questions stay") };
            let start_of_line = if self.has_prompt { "\r\x1b[K" } else { "" };
            self.outputs.push(console, format!("{start_of_line}closing: {questions} open\n").as_bytes());
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

/// ` [3] [4]`
fn list(numbers: &[u64]) -> String {
    numbers.iter().map(|number| format!(" [{number}]")).collect()
}
