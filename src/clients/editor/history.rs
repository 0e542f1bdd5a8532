//! The lines entered before, for Up and Down.

use std::collections::VecDeque;

use super::is_blank;

/// Lines kept for Up and Down; the oldest gives way.
pub const HISTORY_LINES_MAX: usize = 200;

/// Bytes of those lines, beyond which the oldest give way, too.
pub const HISTORY_BYTES_MAX: usize = 1 << 20;

/// A line, and whether it begins with pasted text: that stays what it is when it comes back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) line: String,
    pub(super) is_pasted: bool,
}

/// The lines entered, oldest first, and a walk among them that changes none.
#[derive(Debug, Default)]
pub(super) struct History {
    /// At most [`HISTORY_LINES_MAX`] and [`HISTORY_BYTES_MAX`], none blank, no two in a row equal.
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The index shown while walking; `shown < entries.len()`.
    shown: Option<usize>,
    /// The unfinished line that the walk began from.
    draft: Entry,
}

impl History {
    pub(super) fn record(&mut self, line: &str, is_pasted: bool) {
        let entry = Entry { line: line.into(), is_pasted };
        if is_blank(line) || self.entries.back() == Some(&entry) {
            return;
        }
        self.bytes += line.len();
        self.entries.push_back(entry);
        while self.entries.len() > HISTORY_LINES_MAX || self.bytes > HISTORY_BYTES_MAX {
            self.bytes -= self.entries.pop_front().map_or(0, |oldest| oldest.line.len());
        }
    }

    /// The line before the one shown; `line` is kept if the walk begins here.
    pub(super) fn older(&mut self, line: &str, is_pasted: bool) -> Option<Entry> {
        let older = self.shown.unwrap_or(self.entries.len()).checked_sub(1)?;
        if self.shown.is_none() {
            self.draft = Entry { line: line.into(), is_pasted };
        }
        self.shown = Some(older);
        self.entries.get(older).cloned()
    }

    /// The line after the one shown; after the last, the line that the walk began from.
    pub(super) fn newer(&mut self) -> Option<Entry> {
        let newer = self.shown? + 1;
        self.shown = (newer < self.entries.len()).then_some(newer);
        Some(self.entries.get(newer).cloned().unwrap_or_else(|| std::mem::take(&mut self.draft)))
    }

    pub(super) fn leave(&mut self) {
        self.shown = None;
        self.draft = Entry::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_bounded_by_their_bytes() {
        let mut history = History::default();
        for character in ('\u{4e00}'..).take(100) {
            history.record(&String::from(character).repeat(10_000), false);
            assert!(history.bytes <= HISTORY_BYTES_MAX);
        }
        assert_eq!(history.entries.len(), HISTORY_BYTES_MAX / 30_000);
    }
}
