//! What waits for the server: whole lines, in order, of which a lost connection loses none unsent.
//!
//! Invariants: `sent <= bytes.len()`; `bytes` holds whole lines, and begins with one, so that a line that was
//! cut by a lost connection can be sent again from its start; nothing behind a gate is sent before it is
//! opened; a question goes out between two lines.

use std::collections::VecDeque;

use super::wish::Wish;
use crate::limits;

/// Sent bytes that are kept before they are dropped, all at once, so that dropping costs little.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// What has to be known before the lines behind it are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// That the server has commands: a line behind it is one, or is marked as text for such a server.
    Mark,
    /// That what the person had, or wants from the start, is granted on this connection.
    Place(Wish),
    /// That what was asked for in between is granted; and the line that asks for it.
    Asked(Wish, String),
}

/// Lines for the server.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    /// Bytes from the front that the socket took.
    sent: usize,
    /// Lines that only this connection has to hear, ahead of all others.
    questions: Vec<u8>,
    /// Something of `bytes` was sent on this connection, and no answer to a question behind it was heard.
    is_unconfirmed: bool,
    /// Where they stand in `bytes`, ascending; each at least at `sent`.
    gates: VecDeque<(usize, Gate)>,
}

impl Outbox {
    /// Adds a line, without its end.
    pub(super) fn push(&mut self, line: &[u8]) {
        debug_assert!(!line.contains(&b'\n'));
        self.bytes.extend_from_slice(line);
        self.bytes.push(b'\n');
    }

    /// Adds a line that begins with a slash, which only a server with commands takes as it is meant.
    pub(super) fn push_marked(&mut self, line: &[u8]) {
        // One gate is enough: what it lets through, it lets through for this connection.
        if !self.gates.iter().any(|(_, gate)| *gate == Gate::Mark) {
            self.gates.push_back((self.bytes.len(), Gate::Mark));
        }
        self.push(line);
    }

    /// Asks for something before what is pushed from now on.
    pub(super) fn push_question(&mut self, wish: Wish, line: &str) {
        self.gates.push_back((self.bytes.len(), Gate::Asked(wish, line.into())));
    }

    /// A new connection: what has to be granted on it before anything is said. Nothing was sent on it yet.
    pub(super) fn begin(&mut self, wishes: impl DoubleEndedIterator<Item = Wish>) {
        debug_assert!(self.sent == 0 && self.questions.is_empty());
        for wish in wishes.rev() {
            self.gates.push_front((0, Gate::Place(wish)));
        }
    }

    /// Sends lines, with their ends, before all that waits.
    pub(super) fn ask(&mut self, lines: &str) {
        self.questions.extend_from_slice(lines.as_bytes());
    }

    /// Whether the socket has yet to take a question.
    pub(super) fn has_questions(&self) -> bool {
        !self.questions.is_empty()
    }

    /// The gate that has to be opened next: all before it was sent.
    pub(super) fn gate(&self) -> Option<&Gate> {
        self.gates.front().filter(|(at, _)| *at == self.sent).map(|(_, gate)| gate)
    }

    /// Lets through what stands behind the first gate.
    pub(super) fn open(&mut self) -> Option<Gate> {
        self.gates.pop_front().map(|(_, gate)| gate)
    }

    /// The question that the first gate stands for is answered: the server has taken all before it.
    pub(super) fn confirm(&mut self) {
        self.is_unconfirmed = false;
    }

    /// Whether lines were sent of which it is not known that the server has taken them.
    pub(super) fn is_unconfirmed(&self) -> bool {
        self.is_unconfirmed
    }

    /// Whether anything waits behind a gate, or for one.
    pub(super) fn has_gates(&self) -> bool {
        !self.gates.is_empty()
    }

    /// Whether such a thing is asked for before all that is pushed now.
    pub(super) fn asks_for(&self, is_such: impl Fn(&Wish) -> bool) -> bool {
        self.gates.iter().any(|(_, gate)| matches!(gate, Gate::Asked(wish, _) if is_such(wish)))
    }

    /// Whether what this connection has to begin with is still to be granted.
    pub(super) fn has_place_gates(&self) -> bool {
        self.gates.iter().any(|(_, gate)| matches!(gate, Gate::Place(_)))
    }

    /// Puts a line in front of all that was not sent; no line is sent in part.
    pub(super) fn push_front(&mut self, line: &str) {
        debug_assert!(!self.is_inside_line());
        let at = self.sent;
        self.bytes.splice(at..at, line.bytes().chain([b'\n']));
        for (at, _) in &mut self.gates {
            *at += line.len() + 1;
        }
    }

    /// Takes back the lines that were not sent, those that ask for something among them, and all gates.
    pub(super) fn take_back(&mut self) -> Vec<u8> {
        debug_assert!(!self.is_inside_line());
        let lines = self.bytes.split_off(self.sent);
        let mut back = Vec::with_capacity(lines.len());
        let mut done = 0;
        for (at, gate) in self.gates.drain(..) {
            if let Gate::Asked(_, line) = gate
                && !line.is_empty()
            {
                let at = at - self.sent;
                back.extend_from_slice(&lines[done..at]);
                back.extend(line.bytes().chain([b'\n']));
                done = at;
            }
        }
        back.extend_from_slice(&lines[done..]);
        back
    }

    /// What the socket is to take next.
    pub(super) fn unsent(&self) -> &[u8] {
        let end = self.gates.front().map_or(self.bytes.len(), |(at, _)| *at);
        let lines = &self.bytes[self.sent..end];
        if self.questions.is_empty() {
            lines
        } else if self.is_inside_line() {
            let line = memchr::memchr(b'\n', lines).map_or(lines.len(), |at| at + 1);
            &lines[..line]
        } else {
            &self.questions
        }
    }

    fn is_inside_line(&self) -> bool {
        self.sent < self.bytes.len() && self.bytes[..self.sent].last().is_some_and(|last| *last != b'\n')
    }

    /// Nothing is left to be sent, but perhaps questions.
    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Whether so much waits that reading more has to wait too.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() - self.sent >= limits::CLIENT_INPUT_BYTES_MAX || self.gates.len() >= GATES_MAX
    }

    /// The socket took so many bytes.
    pub(super) fn handle_written(&mut self, bytes: usize) {
        if !self.questions.is_empty() && !self.is_inside_line() {
            debug_assert!(bytes <= self.questions.len());
            self.questions.drain(..bytes);
            return;
        }
        self.sent += bytes;
        self.is_unconfirmed |= bytes > 0;
        debug_assert!(self.sent <= self.bytes.len());
        if self.is_empty() {
            self.drop_front(self.sent);
            // What grew for a paste is given back.
            self.bytes.shrink_to(KEPT_BYTES_MAX);
        } else if self.sent >= KEPT_BYTES_MAX {
            self.drop_front(self.line_start());
        }
    }

    /// The connection is lost: a line that it took half is sent again, whole, on the next one. `is_for_commands`: a
    /// line that begins with a slash is sent only to a server with commands.
    pub(super) fn rewind(&mut self, is_for_commands: bool) {
        self.drop_front(self.line_start());
        self.sent = 0;
        self.questions.clear();
        self.is_unconfirmed = false;
        self.gates.retain(|(_, gate)| matches!(gate, Gate::Asked(..)));
        // The next server may be another one.
        let marked = memchr::memchr_iter(b'/', &self.bytes)
            .find(|at| self.bytes[..*at].last().is_none_or(|last| *last == b'\n'))
            .filter(|_| is_for_commands);
        if let Some(marked) = marked {
            let index = self.gates.partition_point(|(at, _)| *at <= marked);
            self.gates.insert(index, (marked, Gate::Mark));
        }
    }

    fn drop_front(&mut self, bytes: usize) {
        self.bytes.drain(..bytes);
        self.sent -= bytes;
        for (at, _) in &mut self.gates {
            *at -= bytes;
        }
    }

    /// Where the line begins that the next unsent byte belongs to.
    fn line_start(&self) -> usize {
        memchr::memrchr(b'\n', &self.bytes[..self.sent]).map_or(0, |at| at + 1)
    }
}

/// Questions that wait, beyond which reading more has to wait too.
const GATES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn nick() -> Wish {
        Wish::Nick("ann".into())
    }

    #[test]
    fn a_line_that_was_sent_half_is_sent_again_whole() {
        let mut outbox = Outbox::default();
        outbox.push(b"one");
        outbox.push(b"two");
        outbox.handle_written(6);
        assert_eq!(outbox.unsent(), b"o\n");
        outbox.rewind(true);
        for sent in [0, 3, 4] {
            assert_eq!(outbox.unsent(), b"two\n");
            outbox.handle_written(sent);
            outbox.rewind(true);
        }
        assert!(outbox.is_empty());
    }

    #[test]
    fn nothing_behind_a_gate_is_sent_before_it_is_opened() {
        let mut outbox = Outbox::default();
        outbox.push(b"one");
        outbox.push_question(Wish::room("tea"), "/join tea");
        outbox.push(b"two");
        outbox.push_marked(b"/say quit");
        outbox.begin([nick()].into_iter());
        assert_eq!(outbox.unsent(), b"");
        assert_eq!(outbox.gate(), Some(&Gate::Place(nick())));
        outbox.open();
        assert_eq!((outbox.unsent(), outbox.gate()), (&b"one\n"[..], None));
        outbox.handle_written(4);
        assert_eq!(outbox.unsent(), b"");
        assert!(matches!(outbox.open(), Some(Gate::Asked(..))));
        assert_eq!(outbox.unsent(), b"two\n");
        outbox.handle_written(4);
        assert_eq!((outbox.unsent(), outbox.gate()), (&b""[..], Some(&Gate::Mark)));
        assert_eq!(outbox.take_back(), b"/say quit\n");
        assert!(!outbox.has_gates() && outbox.is_empty());
    }

    #[test]
    fn a_question_goes_out_between_two_lines() {
        let mut outbox = Outbox::default();
        outbox.push(b"one");
        outbox.push(b"two");
        outbox.handle_written(2);
        outbox.ask("/nick ann\n");
        assert_eq!(outbox.unsent(), b"e\n");
        outbox.handle_written(2);
        assert_eq!(outbox.unsent(), b"/nick ann\n");
        outbox.handle_written(3);
        assert_eq!(outbox.unsent(), b"ck ann\n");
        outbox.handle_written(7);
        assert_eq!(outbox.unsent(), b"two\n");
    }

    #[test]
    fn a_lost_connection_loses_its_own_gates_and_keeps_the_others() {
        let mut outbox = Outbox::default();
        outbox.begin([nick()].into_iter());
        outbox.open();
        for line in [&b"one"[..], b"x /y"] {
            outbox.push(line);
        }
        outbox.push_question(Wish::room("tea"), "/join tea");
        outbox.push_marked(b"/say quit");
        outbox.handle_written(5);
        outbox.ask("/nick ann\n");
        outbox.rewind(true);
        assert_eq!(outbox.unsent(), b"x /y\n");
        outbox.handle_written(5);
        assert!(matches!(outbox.open(), Some(Gate::Asked(..))));
        assert_eq!((outbox.unsent(), outbox.gate()), (&b""[..], Some(&Gate::Mark)));
        outbox.rewind(false);
        assert_eq!(outbox.gate(), None);
    }

    #[test]
    fn questions_that_wait_are_bounded_however_short_they_are() {
        let mut outbox = Outbox::default();
        while !outbox.is_full() {
            outbox.push_question(nick(), "/nick ann");
        }
        assert_eq!(outbox.gates.len(), GATES_MAX);
    }

    #[test]
    fn what_was_sent_is_not_kept() {
        let mut outbox = Outbox::default();
        let line = [b'x'; 999];
        for _ in 0..10_000 {
            outbox.push(&line);
            outbox.push(&line);
            outbox.handle_written(1500);
            outbox.handle_written(500);
            assert!(outbox.bytes.len() <= 3000, "{}", outbox.bytes.len());
        }
        outbox.push(&line);
        for _ in 0..10_000 {
            outbox.push(&line);
            outbox.handle_written(1000);
            assert!(outbox.bytes.len() <= 2 * KEPT_BYTES_MAX, "{}", outbox.bytes.len());
        }
    }
}
