//! What waits for the server: whole lines, in order, of which a lost connection loses none unsent.
//!
//! Invariant: `sent <= bytes.len()`, and `bytes` begins with a line unless that line alone is longer than
//! [`KEPT_BYTES_MAX`], so that a line that was cut by a lost connection can be sent again from its start.

use crate::limits;

/// Sent bytes that are kept before they are dropped, all at once, so that dropping costs little.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Lines for the server.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    /// Bytes from the front that the socket took.
    sent: usize,
    /// Bytes at the front that only this connection has to hear.
    prologue: usize,
}

impl Outbox {
    /// Adds a line, or a part of a very long one; `bytes` holds its end.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Puts lines, with their ends, in front of all that waits: what a new connection has to hear first,
    /// and the one after it, should it be lost, is not to hear again. Nothing was sent on it yet.
    pub(super) fn push_prologue(&mut self, lines: &[u8]) {
        debug_assert_eq!((self.sent, self.prologue), (0, 0));
        self.bytes.splice(..0, lines.iter().copied());
        self.prologue = lines.len();
    }

    /// What the socket is to take next.
    pub(super) fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Whether so much waits that reading more has to wait too.
    pub(super) fn is_full(&self) -> bool {
        self.unsent().len() >= limits::CLIENT_INPUT_BYTES_MAX
    }

    /// The socket took so many bytes.
    pub(super) fn handle_written(&mut self, bytes: usize) {
        self.sent += bytes;
        debug_assert!(self.sent <= self.bytes.len());
        if self.is_empty() && self.bytes.last().is_none_or(|last| *last == b'\n') {
            self.clear();
        } else if self.sent >= KEPT_BYTES_MAX {
            let keep_from = self.line_start().unwrap_or(self.sent);
            self.bytes.drain(..keep_from);
            self.sent -= keep_from;
            self.prologue = self.prologue.saturating_sub(keep_from);
        }
    }

    /// The connection is lost: a line that it took half is sent again, whole, on the next one.
    pub(super) fn rewind(&mut self) {
        let keep_from = self.line_start().unwrap_or(0).max(self.prologue);
        self.bytes.drain(..keep_from);
        self.sent = 0;
        self.prologue = 0;
    }

    fn clear(&mut self) {
        self.bytes.clear();
        // What grew for a paste is given back.
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.sent = 0;
        self.prologue = 0;
    }

    /// Where the line begins that the next unsent byte belongs to.
    fn line_start(&self) -> Option<usize> {
        memchr::memrchr(b'\n', &self.bytes[..self.sent]).map(|at| at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_sent_half_is_sent_again_whole() {
        let mut outbox = Outbox::default();
        outbox.push(b"one\ntwo\n");
        outbox.handle_written(6);
        assert_eq!(outbox.unsent(), b"o\n");
        outbox.rewind();
        for sent in [0, 3, 10] {
            outbox.push_prologue(b"/nick ann\n");
            assert_eq!(outbox.unsent(), b"/nick ann\ntwo\n");
            outbox.handle_written(sent);
            outbox.rewind();
        }
        assert_eq!(outbox.unsent(), b"two\n");
    }

    #[test]
    fn what_was_sent_is_not_kept() {
        let mut outbox = Outbox::default();
        let line = [&[b'x'; 999][..], b"\n"].concat();
        for _ in 0..10_000 {
            outbox.push(&line);
            outbox.push(&line);
            outbox.handle_written(1500);
            outbox.handle_written(500);
            assert!(outbox.bytes.len() <= 3000, "{}", outbox.bytes.len());
        }
        for _ in 0..10_000 {
            outbox.push(&line);
            outbox.handle_written(1);
            outbox.handle_written(999 - usize::from(outbox.bytes.len() == 1000));
            assert!(outbox.bytes.len() <= 2 * KEPT_BYTES_MAX, "{}", outbox.bytes.len());
        }
    }

    #[test]
    fn a_line_longer_than_all_bounds_does_not_grow_the_memory() {
        let mut outbox = Outbox::default();
        for _ in 0..1000 {
            outbox.push(&[b'x'; 16384]);
            outbox.handle_written(16384);
            assert!(outbox.bytes.len() <= KEPT_BYTES_MAX);
        }
    }
}
