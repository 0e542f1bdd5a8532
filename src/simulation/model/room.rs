//! A room as the model has it: everything that was ever said, in a plain list.
//!
//! What the server keeps of it is only a number here: the index of the oldest record that fits into the log,
//! by its documented bounds. Where the server trims a quiet room further, nobody lacks what it drops.

use std::collections::VecDeque;
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

/// Who joined or who left, since that was said last.
#[derive(Clone, Debug, Default)]
struct Roll {
    entries: Vec<Entry>,
    /// So many of the first may have been forgotten: the room was empty after them.
    doubtful: usize,
}

#[derive(Clone, Debug)]
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
    pub(super) people: usize,
    pub(super) exists: bool,
    joined: Roll,
    left: Roll,
    moves: u64,
    /// What is to be announced, as it may be: more than one possibility where a roll is in doubt.
    announcements: Vec<VecDeque<Record>>,
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
            people: 0,
            exists: true,
            joined: Roll::default(),
            left: Roll::default(),
            moves: 0,
            announcements: vec![VecDeque::new()],
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

    pub(super) fn join(&mut self, id: ConnectionId, name: String) {
        self.people += 1;
        self.moves += 1;
        self.joined.entries.push(Entry { number: self.moves, id, name });
    }

    pub(super) fn leave(&mut self, id: ConnectionId, name: String) {
        self.people -= 1;
        self.moves += 1;
        self.left.entries.push(Entry { number: self.moves, id, name });
        if self.people == 0 {
            // The server forgets both then, unless somebody still reads here.
            self.joined.doubtful = self.joined.entries.len();
            self.left.doubtful = self.left.entries.len();
        }
    }

    /// Turns who came and went into announcements, where they are told.
    pub(super) fn close_rolls(&mut self, is_told: bool) {
        let joined = std::mem::take(&mut self.joined);
        let left = std::mem::take(&mut self.left);
        if !is_told {
            return;
        }
        let mut tails = vec![self.sentences(&joined.entries, &left.entries)];
        if joined.doubtful + left.doubtful > 0 {
            tails.push(self.sentences(&joined.entries[joined.doubtful..], &left.entries[left.doubtful..]));
            tails.dedup();
        }
        self.may_announce(&tails);
    }

    fn sentences(&self, joined: &[Entry], left: &[Entry]) -> Vec<Record> {
        let mut rolls = vec![(joined, "joined"), (left, "left")];
        rolls.retain(|(entries, _)| !entries.is_empty());
        rolls.sort_by_key(|(entries, _)| entries[0].number);
        rolls.into_iter().map(|(entries, verb)| self.sentence(entries, verb)).collect()
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

    /// Has a record announced at the end of the turn.
    pub(super) fn announce_later(&mut self, record: Record, is_told: bool) {
        self.close_rolls(is_told);
        self.may_announce(&[vec![record]]);
    }

    fn may_announce(&mut self, tails: &[Vec<Record>]) {
        let before = std::mem::take(&mut self.announcements);
        for tail in tails {
            let longer = before.iter().map(|head| head.iter().chain(tail).cloned().collect());
            self.announcements.extend(longer);
        }
        self.announcements.dedup();
    }

    /// The server announced this: it must be what is due first.
    pub(super) fn announced(&mut self, bytes: &[u8]) -> Option<Record> {
        self.announcements.retain(|pending| pending.front().is_some_and(|first| *first.bytes == *bytes));
        let mut record = None;
        for pending in &mut self.announcements {
            record = pending.pop_front();
        }
        record
    }

    /// Whether nothing is left to be announced.
    pub(super) fn is_silent(&self) -> bool {
        self.announcements.iter().any(VecDeque::is_empty)
            && (self.joined.entries.len() == self.joined.doubtful || !self.exists)
            && (self.left.entries.len() == self.left.doubtful || !self.exists)
    }
}
