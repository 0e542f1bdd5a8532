//! What the server says: whose words they are, and what follows from those that are its own.

use super::reconnect::own_words;
use super::{Client, Commands, Host, Link};
use crate::codec::text;
use crate::engine::Now;
use crate::limits;

impl<H: Host> Client<H> {
    /// Takes a line of the server's, or a piece of a very long one.
    pub(super) fn hear(&mut self, now: Now, line: &[u8], is_whole: bool) {
        let Link::Up(up) = &mut self.link else { return };
        up.lines_heard += 1;
        let is_own = up.reader.take(line, is_whole);
        let words = own_words(line).filter(|_| is_own);
        let is_first = up.lines_heard == 1;
        if is_first {
            let greeting = words.filter(|words| words.starts_with(b"you are "));
            let names_them = |words: &[u8]| memchr::memmem::find(words, b"/help").is_some();
            if let Some(words) = greeting {
                self.place.note_greeting(&text::clean(words));
            }
            up.commands = if greeting.is_some_and(names_them) { Commands::Present } else { Commands::Absent };
        }
        if let Some(words) = words.filter(|words| is_first && !words.starts_with(b"you are ")) {
            up.refusal = Some(words.into());
            // It is shown with what comes next: alone, it is the reason of a refusal, told by `lose`.
            return;
        }
        up.is_closing = words == Some(b"the server is closing");
        let is_silent = up.speaks_at.is_some();
        let withheld = up.refusal.take().filter(|_| is_silent);
        if self.leave_deadline.is_some() {
            self.leave_deadline = Some(now.moment + limits::CLIENT_LEAVE);
        }
        if let Some(words) = withheld {
            self.show_words(&words);
        }
        // From here on they may be kept and repeated, also where no screen cleans them.
        let words = words.map(text::clean);
        let heard = self.hear_answer(line, is_own, words.as_deref());
        if heard.is_shown() {
            self.show(line, is_own);
        }
        if let Some(words) = words {
            self.note_words(now, &words);
        }
        if is_silent {
            self.speak(now);
        } else {
            self.settle(now, heard);
        }
    }

    /// Shows what was withheld as it came.
    pub(super) fn show_words(&mut self, words: &[u8]) {
        self.show(&[b"-- ", words, b" --"].concat(), true);
    }

    /// The server says something in its own name.
    fn note_words(&mut self, now: Now, words: &str) {
        self.hear_news(now, words);
        let is_lost = words.contains("was not sent") || words.starts_with("you are in no room");
        let is_loss = !self.settings.is_person && is_lost;
        if is_loss && self.fault.is_none() {
            let words = text::truncate_at_char(words, limits::CLIENT_WORDS_BYTES_MAX);
            self.fault = Some(format!("{}: {words}", self.settings.address));
        }
    }
}
