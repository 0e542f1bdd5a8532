//! A room as the model has it: everything that was ever said, in a plain list.
//!
//! What the server keeps of it is only a number here: the index of the oldest record that fits into the log,
//! by its documented bounds. Where the server trims a quiet room further, nobody lacks what it drops.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use crate::chat::config::Config;
use crate::engine::ConnectionId;
use crate::limits;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) bytes: Rc<[u8]>,
    /// A person or the operator said it; else it is a notice.
    pub(super) is_message: bool,
    /// The one member that is not sent it.
    pub(super) except: Option<ConnectionId>,
}

/// Who joined, or who left.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// Counts on with each join and leave of the room.
    number: u64,
    id: ConnectionId,
    name: String,
}

/// A room.
#[derive(Clone, Debug)]
pub(super) struct Room {
    pub(super) name: String,
    pub(super) tag: String,
    pub(super) records: Vec<Record>,
    /// For each record, the bytes up to its end, and the messages up to and with it.
    sums: Vec<(u64, u64)>,
    /// The oldest record that fits into the log.
    pub(super) base: usize,
    /// Clients in it.
    pub(super) readers: usize,
    /// Those who do not only listen.
    pub(super) people: usize,
    /// Those of whose joining the room was told.
    told: BTreeSet<ConnectionId>,
    pub(super) exists: bool,
    /// Since that was said last.
    joined: Vec<Entry>,
    left: Vec<Entry>,
    moves: u64,
    /// What is to be announced.
    announcements: VecDeque<Record>,
    is_first: bool,
    log_bytes_max: u64,
    records_max: usize,
}

impl Room {
    pub(super) fn new(name: &str, is_first: bool, config: &Config) -> Self {
        let by_bytes = config.log_bytes_max / limits::LOG_BYTES_PER_RECORD_MIN;
        Room {
            name: name.into(),
            tag: if is_first { String::new() } else { format!("[{name}] ") },
            records: Vec::new(),
            sums: Vec::new(),
            base: 0,
            readers: 0,
            people: 0,
            told: BTreeSet::new(),
            exists: true,
            joined: Vec::new(),
            left: Vec::new(),
            moves: 0,
            announcements: VecDeque::new(),
            is_first,
            log_bytes_max: config.log_bytes_max as u64,
            records_max: by_bytes.max(limits::LOG_RECORDS_MIN),
        }
    }

    /// ` in NAME`, or nothing where it is the first room; `word` is what stands before the name.
    pub(super) fn place(&self, word: &str) -> String {
        if self.is_first { String::new() } else { format!("{word} {}", self.name) }
    }

    pub(super) fn append(&mut self, record: Record) {
        let (bytes, messages) = self.sums.last().copied().unwrap_or_default();
        let bytes = bytes + record.bytes.len() as u64;
        self.sums.push((bytes, messages + u64::from(record.is_message)));
        self.records.push(record);
        while bytes - self.before(self.base).0 > self.log_bytes_max
            || self.records.len() - self.base > self.records_max
        {
            self.base += 1;
        }
    }

    /// The newest record is sent to everyone.
    pub(super) fn is_for_all(&mut self) {
        if let Some(record) = self.records.last_mut() {
            record.except = None;
        }
    }

    /// Bytes and messages before a record.
    fn before(&self, index: usize) -> (u64, u64) {
        if index == 0 { (0, 0) } else { self.sums[index - 1] }
    }

    /// Messages that the log has at most.
    pub(super) fn messages_kept(&self) -> u64 {
        self.before(self.records.len()).1 - self.before(self.base).1
    }

    /// The index at which the last `messages` messages begin.
    pub(super) fn last_messages(&self, messages: u64) -> usize {
        let wanted = self.before(self.records.len()).1 - messages;
        if messages == 0 {
            return self.records.len();
        }
        self.sums.partition_point(|(_, sum)| *sum <= wanted)
    }

    // ---- who comes and goes ----

    pub(super) fn join(&mut self, id: ConnectionId, name: String, is_told: bool, is_open: bool) {
        self.people += 1;
        if !is_told {
            return;
        }
        self.told.insert(id);
        if self.left.last() > self.joined.last() && !self.joined.is_empty() {
            self.close_rolls(is_open);
        }
        self.moves += 1;
        self.joined.push(Entry { number: self.moves, id, name });
    }

    pub(super) fn leave(&mut self, id: ConnectionId, name: String, is_open: bool) {
        self.people -= 1;
        if !self.told.remove(&id) {
            return;
        }
        if self.joined.last() > self.left.last() && !self.left.is_empty() {
            self.close_rolls(is_open && self.readers > 0);
        }
        self.moves += 1;
        self.left.push(Entry { number: self.moves, id, name });
    }

    /// Whether the room was told that somebody joined, and so is told all else.
    pub(super) fn is_told_of(&self, id: ConnectionId) -> bool {
        self.told.contains(&id)
    }

    /// Nobody is left to be told who came and went.
    pub(super) fn drop_rolls(&mut self) {
        self.joined.clear();
        self.left.clear();
    }

    /// Turns who came and went into announcements, where they are told. All who came did so before the others
    /// went, or after.
    pub(super) fn close_rolls(&mut self, is_told: bool) {
        let (joined, left) = (std::mem::take(&mut self.joined), std::mem::take(&mut self.left));
        if !is_told {
            return;
        }
        let left_first = left.last() < joined.first();
        let (joined, left) = ((joined, "joined"), (left, "left"));
        let rolls = if left_first { [left, joined] } else { [joined, left] };
        for (roll, verb) in rolls.into_iter().filter(|(roll, _)| !roll.is_empty()) {
            let sentence = self.sentence(&roll, verb);
            self.announcements.push_back(sentence);
        }
    }

    fn sentence(&self, entries: &[Entry], verb: &str) -> Record {
        let names: Vec<&str> = entries.iter().map(|entry| &*entry.name).collect();
        let who = match names[..] {
            [one] => one.to_string(),
            [one, two] => format!("{one} and {two}"),
            [one, two, three] => format!("{one}, {two} and {three}"),
            _ => format!("{}, {} and {} others", names[0], names[1], names.len() - 2),
        };
        let text = format!("-- {who} {verb}{} --\n", self.place(""));
        let except = (entries.len() == 1).then(|| entries[0].id);
        Record { bytes: text.into_bytes().into(), is_message: false, except }
    }

    pub(super) fn announce_later(&mut self, record: Record) {
        self.announcements.push_back(record);
    }

    /// The server announced this: it must be what is due first.
    pub(super) fn announced(&mut self, bytes: &[u8]) -> Option<Record> {
        self.announcements.pop_front().filter(|first| *first.bytes == *bytes)
    }

    /// The index that a record would have that is said now: behind all that is to be announced.
    pub(super) fn next_said(&self) -> usize {
        self.records.len() + self.announcements.len()
    }

    /// Whether somebody came or went, and that is not among the announcements yet, which do not wait either.
    pub(super) fn has_untold_moves(&self) -> bool {
        self.announcements.is_empty() && !(self.joined.is_empty() && self.left.is_empty())
    }

    /// Whether nothing is left to be announced.
    pub(super) fn is_silent(&self) -> bool {
        self.announcements.is_empty() && self.joined.is_empty() && self.left.is_empty()
    }
}
