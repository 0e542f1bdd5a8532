//! A room's log: the bounded tail of all that was said, and cursors into it.
//!
//! Offsets are absolute: bytes since the room began, which never wrap or restart. The log keeps the
//! bytes `base..end`, and the start of each record in them. Invariants:
//! `base <= every kept start < end`, the first kept start is `base`, and `end - base <= bytes_max`.
//! A [`Cursor`] always stands on a record's start or on `end`, never inside a record, so a reader
//! who is overtaken can go on at `base` without a torn message.

use std::collections::VecDeque;

use crate::engine::Output;
use crate::limits;
use crate::sabotage::sabotaged;

/// What a record is, for history and for counting what was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody said it: part of the history.
    Message,
    /// The server said it (a join, a leave): not kept for newcomers, not counted as missed.
    Notice,
}

/// A reader's place: a record boundary, and how many messages lie before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Offset of the next byte to read.
    pub offset: u64,
    /// Messages (not notices) before `offset`, since the room began.
    pub messages: u64,
}

/// Where one record begins, with its kind in the lowest bit: offsets have 63 bits, which at a
/// gigabyte a second last for 292 years.
#[derive(Clone, Copy, Debug)]
struct Mark(u64);

impl Mark {
    fn new(start: u64, kind: Kind) -> Self {
        Mark(start << 1 | u64::from(kind == Kind::Message))
    }

    fn start(self) -> u64 {
        self.0 >> 1
    }

    fn messages(self) -> u64 {
        self.0 & 1
    }
}

/// The log of one room.
#[derive(Debug)]
pub struct Log {
    bytes: VecDeque<u8>,
    marks: VecDeque<Mark>,
    /// The oldest kept record.
    base: Cursor,
    /// Behind the newest record.
    end: Cursor,
    bytes_max: usize,
    /// Records that are kept at most, so that their marks take at most half of the bytes' memory.
    records_max: usize,
}

impl Log {
    /// An empty log that keeps at most `bytes_max` bytes of records; it takes no memory yet.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Log {
            bytes: VecDeque::new(),
            marks: VecDeque::new(),
            base: Cursor::default(),
            end: Cursor::default(),
            bytes_max,
            records_max: records_max(bytes_max),
        }
    }

    /// The oldest kept record.
    #[must_use]
    pub fn base(&self) -> Cursor {
        self.base
    }

    /// Behind the newest record: where a reader who has everything stands.
    #[must_use]
    pub fn end(&self) -> Cursor {
        self.end
    }

    /// Messages that are kept.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.end.messages - self.base.messages
    }

    /// Bytes of memory that the log holds, used or not.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.bytes.capacity() + self.marks.capacity() * size_of::<Mark>()
    }

    /// The base that appending `length` bytes would leave: readers before it would be overtaken.
    #[must_use]
    pub fn base_after(&self, length: usize) -> u64 {
        let excess = (self.bytes.len() + length).saturating_sub(self.bytes_max);
        let excess_records = (self.marks.len() + 1).saturating_sub(self.records_max);
        if excess == 0 && excess_records == 0 {
            return self.base.offset;
        }
        let past = self.base.offset + excess as u64;
        let index = self.marks.partition_point(|mark| mark.start() < past).max(excess_records);
        self.marks.get(index).map_or(self.end.offset, |mark| mark.start())
    }

    /// Appends one record, given in parts, and drops the oldest ones that no longer fit.
    ///
    /// A record of more than `bytes_max` bytes is a caller's error: the limits rule it out.
    pub fn append(&mut self, kind: Kind, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        debug_assert!(length > 0 && length <= self.bytes_max);
        while (self.bytes.len() + length > self.bytes_max || self.marks.len() >= self.records_max)
            && !self.marks.is_empty()
        {
            self.drop_oldest();
        }
        if sabotaged!(TrimOneMore) && self.marks.len() > 3 {
            self.drop_oldest();
        }
        // Grown by doubling up to the bound, and never past it.
        if self.bytes.capacity() < self.bytes.len() + length {
            let doubled = (2 * self.bytes.capacity()).min(self.bytes_max);
            self.bytes.reserve_exact(doubled.max(self.bytes.len() + length) - self.bytes.len());
        }
        if self.marks.len() == self.marks.capacity() {
            let doubled = (2 * self.marks.len()).clamp(MARKS_MIN, self.records_max);
            self.marks.reserve_exact(doubled - self.marks.len());
        }
        self.marks.push_back(Mark::new(self.end.offset, kind));
        for part in parts {
            self.bytes.extend(*part);
        }
        self.end.offset += length as u64;
        self.end.messages += u64::from(kind == Kind::Message);
        debug_assert_eq!(self.end.offset - self.base.offset, self.bytes.len() as u64);
    }

    /// Drops records from the oldest until at most `messages` messages are left, and what notices
    /// came before those: the least that a newcomer's history needs.
    pub fn trim_to_messages(&mut self, messages: u64) {
        while self.messages() > messages || self.marks.front().is_some_and(|mark| mark.messages() == 0) {
            self.drop_oldest();
        }
    }

    /// Gives memory back that a burst had taken, where less than a quarter of it is in use.
    pub fn shrink(&mut self) {
        if self.bytes.len() < self.bytes.capacity() / 4 {
            self.bytes.shrink_to(2 * self.bytes.len());
        }
        if self.marks.len() < self.marks.capacity() / 4 {
            self.marks.shrink_to(2 * self.marks.len());
        }
    }

    /// The bytes `from..to`, which must be kept ones.
    #[must_use]
    pub fn slice(&self, from: u64, to: u64) -> Output<'_> {
        debug_assert!(self.base.offset <= from && from <= to && to <= self.end.offset);
        let from = (from - self.base.offset) as usize;
        let to = (to - self.base.offset) as usize;
        let (front, back) = self.bytes.as_slices();
        if to <= front.len() {
            Output::one(&front[from..to])
        } else if from >= front.len() {
            Output::one(&back[from - front.len()..to - front.len()])
        } else {
            Output { parts: [&front[from..], &back[..to - front.len()]] }
        }
    }

    /// Where a reader stands that read up to `offset`: at the first boundary that is not before it.
    ///
    /// Bytes between `offset` and the boundary belong to a record that was read in part; the caller
    /// keeps them aside, for the log may drop them.
    #[must_use]
    pub fn cursor_at(&self, offset: u64) -> Cursor {
        debug_assert!(self.base.offset <= offset && offset <= self.end.offset);
        if offset == self.end.offset {
            return self.end;
        }
        let index = self.marks.partition_point(|mark| mark.start() < offset);
        let Some(mark) = self.marks.get(index) else { return self.end };
        // Counted from the nearer end.
        let messages = if index < self.marks.len() / 2 {
            self.base.messages + self.marks.range(..index).map(|mark| mark.messages()).sum::<u64>()
        } else {
            self.end.messages - self.marks.range(index..).map(|mark| mark.messages()).sum::<u64>()
        };
        Cursor { offset: mark.start(), messages }
    }

    /// The oldest of the last `messages` messages: where a newcomer's history begins.
    #[must_use]
    pub fn last_messages(&self, messages: u64) -> Cursor {
        let mut left = messages;
        let mut cursor = self.end;
        for mark in self.marks.iter().rev() {
            if left == 0 {
                break;
            }
            if mark.messages() == 1 {
                cursor = Cursor { offset: mark.start(), messages: cursor.messages - 1 };
                left -= 1;
            }
        }
        cursor
    }

    /// The first run of messages, without a notice between them, in `from..to`.
    #[must_use]
    pub fn next_messages(&self, from: u64, to: u64) -> (u64, u64) {
        let index = self.marks.partition_point(|mark| mark.start() < from);
        let mut marks = self.marks.range(index..).take_while(|mark| mark.start() < to);
        let Some(first) = marks.find(|mark| mark.messages() == 1) else { return (to, to) };
        let end = marks.find(|mark| mark.messages() == 0).map_or(to, |mark| mark.start());
        (first.start(), end)
    }

    fn drop_oldest(&mut self) {
        let Some(mark) = self.marks.pop_front() else { return };
        let next = self.marks.front().map_or(self.end.offset, |mark| mark.start());
        self.bytes.drain(..(next - mark.start()) as usize);
        self.base = Cursor { offset: next, messages: self.base.messages + mark.messages() };
    }
}

/// Marks that a log begins with; [`limits::LOG_RECORDS_MIN`] is more.
const MARKS_MIN: usize = 4;

/// Bytes of memory that a log of `bytes_max` can hold: its bytes, and a mark for each record.
#[must_use]
pub const fn memory_bytes_max(bytes_max: usize) -> usize {
    bytes_max + records_max(bytes_max) * size_of::<Mark>()
}

const fn records_max(bytes_max: usize) -> usize {
    let records = bytes_max / limits::LOG_BYTES_PER_RECORD_MIN;
    if records > limits::LOG_RECORDS_MIN { records } else { limits::LOG_RECORDS_MIN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(output: Output<'_>) -> String {
        String::from_utf8(output.parts.concat()).expect("the tests append text")
    }

    #[test]
    fn an_empty_log_takes_no_memory() {
        assert_eq!(Log::new(1 << 20).capacity_bytes(), 0);
    }

    #[test]
    fn the_oldest_records_make_room_whole() {
        let mut log = Log::new(10);
        log.append(Kind::Message, &[b"aaaa"]);
        log.append(Kind::Message, &[b"bb", b"bb"]);
        assert_eq!(log.base_after(2), 0);
        assert_eq!(log.base_after(3), 4);
        assert_eq!(log.base_after(6), 4);
        log.append(Kind::Message, &[b"ccc"]);
        assert_eq!(log.base(), Cursor { offset: 4, messages: 1 });
        assert_eq!(text(log.slice(4, 11)), "bbbbccc");
        assert_eq!(log.base_after(10), 11);
    }

    #[test]
    fn short_records_are_bounded_by_number() {
        let mut log = Log::new(1 << 16);
        for _ in 0..100_000 {
            assert_eq!(log.base_after(1), log.base().offset + u64::from(log.marks.len() == 4096));
            log.append(Kind::Message, &[b"\n"]);
        }
        assert_eq!(log.messages(), 4096);
        assert!(log.capacity_bytes() <= memory_bytes_max(1 << 16), "{}", log.capacity_bytes());
        assert!(log.capacity_bytes() >= 4096 * (1 + size_of::<Mark>()), "marks are counted, too");
    }

    #[test]
    fn a_log_takes_no_more_memory_than_it_says_whatever_its_size() {
        for bytes_max in [1000, 100_000] {
            let mut log = Log::new(bytes_max);
            for n in 0..20_000 {
                log.append(Kind::Message, &[&[b'x'; 16][..1 + n % 16]]);
                assert!(log.capacity_bytes() <= memory_bytes_max(bytes_max), "{}", log.capacity_bytes());
            }
        }
    }

    #[test]
    fn memory_is_taken_in_few_steps_each_as_large_as_what_is_there() {
        let mut log = Log::new(1 << 20);
        let (mut bytes_steps, mut marks_steps) = (0, 0);
        for _ in 0..50_000 {
            let (bytes, marks) = (log.bytes.capacity(), log.marks.capacity());
            log.append(Kind::Message, &[b"0123456789\n"]);
            bytes_steps += usize::from(log.bytes.capacity() != bytes);
            marks_steps += usize::from(log.marks.capacity() != marks);
            let is_needed =
                log.bytes.len() > bytes && log.bytes.capacity() <= (2 * bytes).max(log.bytes.len());
            assert!(log.bytes.capacity() == bytes || is_needed, "{bytes}, {}", log.bytes.capacity());
        }
        assert!(bytes_steps <= 20 && marks_steps <= 20, "{bytes_steps}, {marks_steps}");
    }

    #[test]
    fn memory_is_given_back_only_where_less_than_a_quarter_is_in_use() {
        let mut log = Log::new(1 << 12);
        for _ in 0..256 {
            log.append(Kind::Message, &[b"0123456\n"]);
        }
        let (bytes, marks) = (log.bytes.capacity(), log.marks.capacity());
        log.trim_to_messages(bytes.div_ceil(4 * 8).max(marks.div_ceil(4)) as u64);
        log.shrink();
        assert_eq!((log.bytes.capacity(), log.marks.capacity()), (bytes, marks));
        log.trim_to_messages(8);
        log.shrink();
        assert!(log.bytes.capacity() < bytes / 4 && log.marks.capacity() < marks / 4);
        let has_room_to_grow =
            log.bytes.capacity() >= 2 * log.bytes.len() && log.marks.capacity() >= 2 * log.marks.len();
        assert!(has_room_to_grow, "the next record must not take memory anew");
    }

    #[test]
    fn a_place_inside_a_record_rounds_up_to_the_next() {
        let mut log = Log::new(100);
        for word in ["one", "two", "three"] {
            log.append(Kind::Message, &[word.as_bytes()]);
        }
        assert_eq!(log.cursor_at(0), Cursor { offset: 0, messages: 0 });
        assert_eq!(log.cursor_at(1), Cursor { offset: 3, messages: 1 });
        assert_eq!(log.cursor_at(3), Cursor { offset: 3, messages: 1 });
        assert_eq!(log.cursor_at(7), log.end());
    }

    #[test]
    fn history_has_the_messages_and_not_the_notices() {
        let mut log = Log::new(100);
        for (kind, word) in [
            (Kind::Message, "a"),
            (Kind::Notice, "joined"),
            (Kind::Message, "b"),
            (Kind::Message, "c"),
            (Kind::Notice, "left"),
        ] {
            log.append(kind, &[word.as_bytes()]);
        }
        let start = log.last_messages(3);
        assert_eq!(start, Cursor { offset: 0, messages: 0 });
        assert_eq!(log.next_messages(0, log.end().offset), (0, 1));
        assert_eq!(log.next_messages(1, log.end().offset), (7, 9));
        assert_eq!(log.next_messages(9, log.end().offset), (13, 13));
        assert_eq!(log.last_messages(1).offset, 8);
        log.trim_to_messages(1);
        assert_eq!(log.base(), Cursor { offset: 8, messages: 2 });
        log.trim_to_messages(0);
        assert_eq!(log.base(), log.end());
    }

    #[test]
    fn memory_of_a_burst_is_given_back() {
        let mut log = Log::new(1 << 20);
        for _ in 0..10_000 {
            log.append(Kind::Message, &[&[b'x'; 100]]);
        }
        assert!(log.capacity_bytes() > 1_000_000);
        assert!(log.bytes.capacity() <= 1 << 20);
        log.trim_to_messages(20);
        log.shrink();
        assert!(log.capacity_bytes() < 10_000, "{}", log.capacity_bytes());
    }

    /// What a naive server would do: every member has a queue of its own copies.
    #[derive(Clone, Debug)]
    enum Step {
        Append { length: usize, notice: bool },
        Read { member: usize, bytes: usize },
        Trim { messages: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (1_usize..20, any::<bool>()).prop_map(|(length, notice)| Step::Append { length, notice }),
            3 => (0_usize..3, 0_usize..40).prop_map(|(member, bytes)| Step::Read { member, bytes }),
            1 => (0_u64..4).prop_map(|messages| Step::Trim { messages }),
        ]
    }

    proptest! {
        /// Each member reads what its own queue would have held, in order, in whole records, and
        /// is told exactly how many messages it missed.
        #[test]
        fn log_with_cursors_is_a_queue_for_each_member(steps in proptest::collection::vec(step(), 0..200)) {
            let mut log = Log::new(64);
            // (bytes, is a message) of every record since the beginning.
            let mut records: Vec<(Vec<u8>, bool)> = Vec::new();
            // For each member: its cursor, the rest of a half-read record, and its naive queue
            // position: the index of the next record.
            let mut members = vec![(Cursor::default(), Vec::<u8>::new(), 0_usize); 3];
            for step in steps {
                match step {
                    Step::Append { length, notice } => {
                        let bytes = vec![b'a' + (records.len() % 26) as u8; length];
                        log.append(if notice { Kind::Notice } else { Kind::Message }, &[&bytes]);
                        records.push((bytes, !notice));
                    }
                    Step::Trim { messages } => log.trim_to_messages(messages),
                    Step::Read { member, bytes } => {
                        let (cursor, carry, next) = &mut members[member];
                        if !carry.is_empty() {
                            let taken = bytes.min(carry.len());
                            carry.drain(..taken);
                            continue;
                        }
                        if cursor.offset < log.base().offset {
                            let missed = log.base().messages - cursor.messages;
                            *cursor = log.base();
                            let mut skipped = 0;
                            let mut offset = 0;
                            for (index, (bytes, is_message)) in records.iter().enumerate() {
                                if offset >= cursor.offset {
                                    break;
                                }
                                offset += bytes.len() as u64;
                                if index >= *next {
                                    skipped += u64::from(*is_message);
                                    *next = index + 1;
                                }
                            }
                            prop_assert_eq!(missed, skipped);
                        }
                        let to = (cursor.offset + bytes as u64).min(log.end().offset);
                        let mut read = log.slice(cursor.offset, to).parts.concat();
                        let after = log.cursor_at(to);
                        let rest = log.slice(to, after.offset).parts.concat();
                        read.extend_from_slice(&rest);
                        let mut expected = Vec::new();
                        while expected.len() < read.len() {
                            expected.extend_from_slice(&records[*next].0);
                            *next += 1;
                        }
                        prop_assert_eq!(read, expected);
                        let messages = records[..*next].iter().filter(|record| record.1).count() as u64;
                        prop_assert_eq!(after.messages, messages);
                        *cursor = after;
                        *carry = rest;
                    }
                }
                prop_assert!(log.end().offset - log.base().offset <= 64);
            }
        }
    }
}
