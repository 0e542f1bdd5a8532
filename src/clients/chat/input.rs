//! What the person types, or the pipe brings: lines to be sent, and when there will be no more of them.

use super::asking;
use super::data::{self, Data};
use super::wish::Wish;
use super::{Client, Commands, Host, Input, Link, Outcome};
use crate::clients::editor::Edit;
use crate::codec::text;
use crate::engine::{Engine as _, Now};
use crate::limits;

impl<H: Host> Client<H> {
    // ---- the person ----

    pub(super) fn take_keys(&mut self, now: Now, bytes: &[u8]) {
        let mut edits = Vec::new();
        self.screen.set_columns(self.host.columns());
        self.screen.handle_keys(bytes, &mut edits);
        for edit in edits {
            if self.outcome.is_some() {
                return;
            }
            match edit {
                Edit::Line(line) => self.say(now, &line, false),
                Edit::Pasted(line) => self.say(now, &line, true),
                Edit::PastedCommand if self.settings.is_plain => {}
                Edit::PastedCommand => {
                    self.tell("what is pasted is said, not run: type a command, or its /, by hand");
                }
                Edit::TooLong => {
                    let most = limits::CLIENT_LINE_BYTES_MAX;
                    self.tell(&format!("a pasted line has more than {most} bytes: nothing of it was sent"));
                }
                Edit::Interrupt => self.handle_signal(now),
                Edit::EndOfFile => self.leave(now),
                Edit::ClearScreen => self.screen.clear(),
                Edit::Suspend => {
                    self.screen.erase();
                    self.is_suspending = true;
                }
            }
        }
        self.make_ready(self.console);
        self.key_deadline = self.screen.wants_key_timeout().then_some(now.moment + limits::CLIENT_KEY);
    }

    fn say(&mut self, now: Now, line: &str, is_pasted: bool) {
        if !is_pasted {
            self.asking.note_typed();
        }
        if self.input == Input::Leaving {
            return self.tell("leaving: not sent; Ctrl-C ends at once");
        }
        let is_quit = !is_pasted && (line == "quit" || is_quit_command(line));
        if is_quit {
            self.outbox.push(line.as_bytes());
            self.make_ready(self.socket());
            return self.leave(now);
        }
        if line.is_empty() {
            return;
        }
        let is_offline = matches!(self.link, Link::Pausing(_) | Link::Over)
            || (self.was_connected && matches!(self.link, Link::Connecting(_)));
        if is_offline || self.outbox.is_full() {
            // Sent in an hour, it would answer what nobody remembers; it is in the editor's history.
            let why = if is_offline { "not connected" } else { "the server does not take what was sent" };
            let again = self.again();
            return self.tell(&format!("{why}: not sent ({again}): {line}"));
        }
        if self.holds(line, is_pasted) {
            return;
        }
        if is_pasted {
            self.say_pasted(line);
        } else {
            self.command(line);
        }
        self.advance(now);
    }

    fn say_pasted(&mut self, line: &str) {
        if !self.settings.is_plain {
            return self.say_data(line.as_bytes());
        }
        if line == "quit" {
            return self.tell("a pasted quit would leave: not sent; type it by hand");
        }
        self.outbox.push(line.as_bytes());
    }

    // ---- both ----

    /// Sends a line that may be a command: what asks for a nick or a room is answered before the next.
    fn command(&mut self, line: &str) {
        let has_no_commands = match &self.link {
            Link::Up(up) => up.commands == Commands::Absent && self.settings.is_person,
            _ => false,
        };
        // What a pipe has is not seen by anybody before it is sent.
        let is_command = |line: &str| !self.settings.is_person || asking::is_known_command(line);
        match Wish::of(line) {
            Some(wish) if !self.settings.is_plain && !has_no_commands => {
                self.outbox.push_question(wish, line)
            }
            // In the clear it would be said to everybody.
            None if !self.settings.is_plain && !has_no_commands && is_command(line) => {
                self.outbox.push_marked(line.as_bytes());
            }
            _ => self.outbox.push(line.as_bytes()),
        }
    }

    /// Has a line said, whatever it looks like.
    fn say_data(&mut self, line: &[u8]) {
        match data::encode(line) {
            Data::Plain(line) => self.outbox.push(line),
            Data::Cleaned(line) => self.outbox.push(&line),
            Data::Marked(line) => self.outbox.push_marked(&line),
        }
    }

    /// A person asks to leave: what was said is sent, and what the server says to that is shown.
    pub(super) fn leave(&mut self, now: Now) {
        if self.input == Input::Leaving {
            return;
        }
        self.input = Input::Leaving;
        self.leave_deadline = Some(now.moment + limits::CLIENT_LEAVE);
        if self.socket().is_none() {
            return self.end(Outcome::Done);
        }
        self.advance(now);
    }

    // ---- the pipe ----

    /// Takes the lines in `bytes`, and leaves the unfinished one, unless it is longer than any that is sent.
    pub(super) fn take_piped(&mut self, now: Now, bytes: &[u8]) -> usize {
        if self.input != Input::Leaving {
            self.input = Input::Begun;
        }
        let mut done = 0;
        while let Some(at) = memchr::memchr(b'\n', &bytes[done..]) {
            let line = &bytes[done..done + at];
            done += at + 1;
            self.lines_read += 1;
            if !std::mem::take(&mut self.is_dropping) {
                self.take_piped_line(now, line);
            }
            if self.input == Input::Ended {
                self.end_input(now);
                return bytes.len();
            }
        }
        if self.is_dropping {
            done = bytes.len();
        } else if bytes.len() - done > self.line_bytes_max() {
            self.refuse_long_line(self.lines_read + 1);
            self.is_dropping = true;
            done = bytes.len();
        }
        self.advance(now);
        done
    }

    /// Takes what the input ends with behind its last line end.
    pub(super) fn take_piped_rest(&mut self, now: Now, rest: &[u8]) {
        if !rest.is_empty() && !self.is_dropping {
            self.lines_read += 1;
            self.take_piped_line(now, rest);
        }
    }

    /// Takes one line; the input is over where it says so.
    fn take_piped_line(&mut self, now: Now, line: &[u8]) {
        if line.strip_suffix(b"\r").unwrap_or(line).len() > self.line_bytes_max() {
            return self.refuse_long_line(self.lines_read);
        }
        if self.settings.is_person {
            return self.say(now, &text::clean(line), false);
        }
        let is_quit = data::is_quit(line);
        if self.settings.takes_commands {
            let clean = text::clean(line);
            let is_quit = is_quit || is_quit_command(&clean);
            if is_quit {
                self.ask_whether_taken();
            }
            if clean.starts_with('/') {
                self.command(&clean);
            } else {
                self.outbox.push(line);
            }
            if is_quit {
                self.input = Input::Ended;
            }
        } else if !self.settings.is_plain {
            self.say_data(line);
        } else if is_quit {
            let why =
                "it would leave, and a server without commands has no mark for text; --commands lets it";
            self.fault = Some(format!("not said, nor what follows: quit: {why}"));
            self.input = Input::Ended;
        } else {
            self.outbox.push(line);
        }
    }

    fn refuse_long_line(&mut self, number: u64) {
        let most = self.line_bytes_max();
        let which = if self.settings.is_person { "a line".into() } else { format!("line {number}") };
        self.tell(&format!("{which} has more than {most} bytes: nothing of it was sent"));
        if !self.settings.is_person {
            self.fault.get_or_insert_with(|| "not all lines were sent, as told before".into());
        }
    }

    /// Bytes of a line that is not typed in our own editor.
    fn line_bytes_max(&self) -> usize {
        if self.settings.is_person { limits::TERMINAL_LINE_BYTES_MAX } else { limits::CLIENT_LINE_BYTES_MAX }
    }

    /// How a person gets back a line that was not sent.
    pub(super) fn again(&self) -> &'static str {
        if self.screen.is_interactive() { "the Up key brings it back" } else { "type it again" }
    }

    /// Behind the last line: what the socket took, a server that ends may never have read.
    fn ask_whether_taken(&mut self) {
        if !self.settings.is_plain && !self.outbox.asks_for(|wish| *wish == Wish::Taken) {
            self.outbox.push_question(Wish::Taken, "");
        }
    }

    pub(super) fn end_input(&mut self, now: Now) {
        self.input = Input::Ended;
        self.ask_whether_taken();
        self.advance(now);
        self.finish_output();
    }
}

/// Whether the server leaves at a command, whatever stands behind it.
fn is_quit_command(line: &str) -> bool {
    line.split(char::is_whitespace).next().is_some_and(|command| command.eq_ignore_ascii_case("/quit"))
}
