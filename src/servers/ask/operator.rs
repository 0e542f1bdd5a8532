//! The operator's side: what is typed, and what is shown.
//!
//! Invariant: no more waits for the console than it may hold. What there is no room for is counted and told
//! of, for the questions themselves are safe, and can be listed.

use super::Ask;
use crate::limits;

pub(super) const END_OF_INPUT: &str =
    "\r\x1b[K-- end of input: nobody answers from here on; Ctrl-C ends the server --\n";

const HELP: &str = "\
TEXT         answer the oldest question
NUMBER TEXT  answer this question; also where TEXT is a number, or a word below
list         the open questions
help         this page
exit, quit   end the server
What you were typing when a new question came is still there: Ctrl-R shows it again.
";

impl Ask {
    /// The operator typed a line: the next one is typed by somebody who can have seen what is open now.
    pub(super) fn operate(&mut self, line: &str) {
        let addressed = self.addressed;
        self.run(line, addressed);
        self.addressed = self.questions.keys().next().copied();
    }

    fn run(&mut self, line: &str, addressed: Option<u64>) {
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
            return match addressed.filter(|addressed| *addressed != oldest) {
                // It was withdrawn while this was typed: its answer is not another's.
                Some(gone) => self.say(&format!(
                    "question {gone} was withdrawn: not sent; to answer the oldest now: {oldest} {line}\n"
                )),
                None => self.answer(oldest, line),
            };
        }
        let number = first.parse().ok().filter(|number| self.questions.contains_key(number));
        let why = match number {
            Some(number) if !rest.is_empty() => return self.answer(number, rest.trim_start()),
            Some(_) => format!("an answer is missing behind {first}"),
            None => format!("no question {first} is open, list shows those that are"),
        };
        self.say(&format!("{why}; to answer with the number: {oldest} {line}\n"));
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
    pub(super) fn say(&mut self, lines: &str) {
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
}
