//! What the person types, or the pipe brings: lines to be sent, and when there will be no more of them.

use crate::clients::editor::Edit;
use crate::engine::{Engine as _, Now};
use crate::limits;

use super::{Client, Host, Input, Link, Outcome};

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
                Edit::Line(line) => self.say(now, &line),
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

    fn say(&mut self, now: Now, line: &str) {
        if self.input == Input::Ended {
            return self.tell("leaving: not sent; Ctrl-C ends at once");
        }
        let is_quit = is_quit(line.as_bytes()) || line == "/quit";
        let is_offline = matches!(self.link, Link::Pausing(_) | Link::Over)
            || (self.was_connected && matches!(self.link, Link::Connecting(_)));
        if !is_quit && !line.is_empty() && (is_offline || self.outbox.is_full()) {
            // Sent in an hour, it would answer what nobody remembers; it is in the editor's history.
            let why = if is_offline { "not connected" } else { "the server does not take what was sent" };
            return self.tell(&format!("{why}: not sent (the Up key brings it back): {line}"));
        }
        if !line.is_empty() {
            self.send(line.as_bytes());
        }
        if is_quit {
            self.leave(now);
        }
    }

    pub(super) fn send(&mut self, line: &[u8]) {
        self.place.note_said(line);
        self.outbox.push(line);
        self.outbox.push(b"\n");
        self.make_ready(self.socket());
    }

    /// A person asks to leave: what was said is sent, and what the server says to that is shown.
    pub(super) fn leave(&mut self, now: Now) {
        if self.input == Input::Ended {
            return;
        }
        self.input = Input::Ended;
        self.leave_deadline = Some(now.moment + limits::CLIENT_LEAVE);
        if self.socket().is_none() {
            return self.end(Outcome::Done);
        }
        self.finish_output();
    }

    // ---- the pipe ----

    /// Sends the lines in `bytes`, and leaves the unfinished one, unless it is longer than all bounds.
    pub(super) fn take_piped(&mut self, bytes: &[u8]) -> usize {
        self.input = Input::Begun;
        let end = match memchr::memrchr(b'\n', bytes) {
            Some(at) => at + 1,
            None if bytes.len() > *limits::LINE_BYTES_RANGE.end() => bytes.len(),
            None => return 0,
        };
        for line in bytes[..end].split_inclusive(|byte| *byte == b'\n') {
            if let Some(line) = line.strip_suffix(b"\n") {
                self.send(line);
                if is_quit(line) {
                    self.end_input();
                    return bytes.len();
                }
                self.has_said_quit |= line == b"/quit";
            } else {
                // The server says what it thinks of a line so long.
                self.outbox.push(line);
                self.make_ready(self.socket());
            }
        }
        end
    }

    pub(super) fn end_input(&mut self) {
        self.input = Input::Ended;
        self.finish_output();
    }
}

fn is_quit(line: &[u8]) -> bool {
    line.strip_suffix(b"\r").unwrap_or(line) == b"quit"
}
