//! `onepoll lab turns`: the real chat on the real loop, which tells of each of its turns in one line.
//!
//! Neither knows of it. The loop is generic over its system and its engine, so each is wrapped in one that
//! hands every call on and notes what came of it: [`NarratedIo`] sees the polls, reads and writes,
//! [`NarratedEngine`] who they were for and what the loop told of them. A turn is what happens from one poll
//! to the next, so its line is due when the loop polls again, before it sleeps: an idle loop says nothing. A
//! line is short however many members there are: the first few are named, the others counted.

mod engine;
mod io;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::{self, Display, Write as _};
use std::rc::Rc;
use std::time::Duration;

use crate::chat::render;
use crate::engine::{Peer, Reason};

pub use engine::NarratedEngine;
pub use io::NarratedIo;

/// Members, newcomers and closes of which a line tells more than their number.
const NAMED_MAX: usize = 3;

/// What both wrappers note in.
pub type SharedNotes = Rc<RefCell<Notes>>;

/// The turn under way, and what is known from the ones before it.
#[derive(Debug, Default)]
pub struct Notes {
    turn: Turn,
    /// The number that people know a connection by, for each slot.
    serials: HashMap<usize, u32>,
    /// Connections whose socket is full, and in which turn it was first.
    full_since: BTreeMap<u32, u64>,
}

/// What happened since the last poll.
#[derive(Debug, Default)]
struct Turn {
    /// How many polls there were, this turn's included.
    number: u64,
    woken: String,
    accepted: Few,
    refused: usize,
    failures: Few,
    read: Traffic,
    /// What the engine took, now or read before.
    lines: usize,
    /// Connections whose peer sends no more.
    ended: BTreeSet<u32>,
    /// Connections from which no more is taken for now.
    paused: BTreeSet<u32>,
    had_deadline: bool,
    written: Traffic,
    /// Connections whose socket did not take all.
    blocked: Few,
    /// Connections whose socket was full, and has taken all that was offered last.
    relieved: BTreeSet<u32>,
    out_of_budget: BTreeSet<u32>,
    has_more_to_write: bool,
    closed: BTreeMap<Reason, Few>,
}

/// Bytes in one direction.
#[derive(Debug, Default)]
struct Traffic {
    bytes: usize,
    calls: usize,
    peers: BTreeSet<u32>,
}

/// Things of which the first few are told, and the number of the others.
#[derive(Debug, Default)]
struct Few {
    first: Vec<String>,
    count: usize,
}

impl Few {
    fn push(&mut self, thing: impl FnOnce() -> String) {
        if self.count < NAMED_MAX {
            self.first.push(thing());
        }
        self.count += 1;
    }

    fn of<'a>(serials: impl IntoIterator<Item = &'a u32>) -> Self {
        let mut few = Few::default();
        for serial in serials {
            few.push(|| format!("#{serial}"));
        }
        few
    }
}

impl Display for Few {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first.join(", "))?;
        match self.count - self.first.len() {
            0 => Ok(()),
            others => write!(f, " and {others} more"),
        }
    }
}

impl Traffic {
    fn note(&mut self, serial: u32, bytes: usize) {
        self.bytes += bytes;
        self.calls += 1;
        self.peers.insert(serial);
    }

    /// `38 B to #1, #2`, with the number of calls where some were for the same peer.
    fn tell(&self, direction: &str) -> String {
        let mut text = format!("{} {direction} {}", render::bytes(self.bytes as u64), Few::of(&self.peers));
        if self.calls != self.peers.len() {
            let _ = write!(text, " in {} calls", self.calls);
        }
        text
    }
}

impl Notes {
    fn serial(&self, slot: usize) -> u32 {
        self.serials.get(&slot).copied().unwrap_or(0)
    }

    fn begin_turn(&mut self, woken: String) {
        for serial in &self.turn.relieved {
            self.full_since.remove(serial);
        }
        self.turn = Turn { number: self.turn.number + 1, woken, ..Turn::default() };
    }

    fn note_accepted(&mut self, slot: usize, serial: u32, peer: Peer) {
        self.serials.insert(slot, serial);
        self.turn.accepted.push(|| format!("#{serial} from {peer}"));
    }

    fn note_closed(&mut self, slot: usize, serial: u32, reason: Reason) {
        self.serials.remove(&slot);
        self.full_since.remove(&serial);
        self.turn.relieved.remove(&serial);
        self.turn.closed.entry(reason).or_default().push(|| format!("#{serial}"));
    }

    fn note_read(&mut self, slot: usize, bytes: usize) {
        let serial = self.serial(slot);
        if bytes > 0 {
            self.turn.read.note(serial, bytes);
        } else {
            self.turn.ended.insert(serial);
        }
    }

    /// A socket took `taken` of `offered` bytes.
    fn note_written(&mut self, slot: usize, offered: usize, taken: usize) {
        let serial = self.serial(slot);
        if taken > 0 {
            self.turn.written.note(serial, taken);
        }
        if taken == offered {
            if self.full_since.contains_key(&serial) {
                self.turn.relieved.insert(serial);
            }
        } else {
            self.turn.relieved.remove(&serial);
            self.full_since.entry(serial).or_insert(self.turn.number);
            let left = render::bytes((offered - taken) as u64);
            self.turn.blocked.push(|| format!("#{serial} is full, {left} wait"));
        }
    }

    /// The turn's line, without an end; the work took so long.
    fn line(&self, worked: Duration) -> String {
        let mut parts = vec![format!("turn {}: {}", self.turn.number, self.turn.woken)];
        self.turn.tell_input(&mut parts);
        self.tell_output(&mut parts);
        for (reason, closed) in &self.turn.closed {
            parts.push(format!("closed {closed}: {reason}"));
        }
        if self.turn.failures.count > 0 {
            parts.push(format!("failed: {}", self.turn.failures));
        }
        parts.push(time(worked));
        parts.join(" | ")
    }

    fn tell_output(&self, parts: &mut Vec<String>) {
        let turn = &self.turn;
        if turn.written.calls > 0 {
            parts.push(format!("wrote {}", turn.written.tell("to")));
        }
        if turn.blocked.count > 0 {
            parts.push(turn.blocked.to_string());
        }
        let mut slow = Few::default();
        for (serial, since) in &self.full_since {
            if *since < turn.number && !turn.relieved.contains(serial) {
                slow.push(|| format!("#{serial} since turn {since}"));
            }
        }
        if slow.count > 0 {
            parts.push(format!("slow: {slow}"));
        }
        if !turn.relieved.is_empty() {
            parts.push(format!("has room again: {}", Few::of(&turn.relieved)));
        }
        if !turn.out_of_budget.is_empty() {
            parts.push(format!("write budget spent on {}", Few::of(&turn.out_of_budget)));
        }
        if turn.has_more_to_write {
            parts.push("write budget spent: the other members have to wait".into());
        }
    }
}

impl Turn {
    fn tell_input(&self, parts: &mut Vec<String>) {
        if self.accepted.count > 0 {
            parts.push(format!("accepted {}", self.accepted));
        }
        if self.refused > 0 {
            parts.push(format!("refused {}", self.refused));
        }
        if self.read.calls > 0 {
            parts.push(format!("read {}", self.read.tell("from")));
        }
        if self.lines > 0 {
            parts.push(format!("took {}", render::count(self.lines as u64, "line")));
        }
        if !self.ended.is_empty() {
            parts.push(format!("end of input of {}", Few::of(&self.ended)));
        }
        if !self.paused.is_empty() {
            parts.push(format!("back-pressure on {}", Few::of(&self.paused)));
        }
        if self.had_deadline {
            parts.push("a deadline of the chat's".into());
        }
    }
}

/// `1.3 s`, `20 ms`, `0.08 ms`.
fn time(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    match ms {
        1000.0.. => format!("{:.1} s", ms / 1e3),
        10.0.. => format!("{ms:.0} ms"),
        _ => format!("{ms:.2} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_short_however_many_members_there_are() {
        let mut notes = Notes::default();
        notes.begin_turn("woke for 10000 events after 1.3 s".into());
        for slot in 0..10_000 {
            let serial = 4_294_900_000 + slot as u32;
            notes.note_accepted(slot, serial, Peer::Inet([255, 255, 255, 255].into(), 65535));
            notes.turn.read.note(serial, 1 << 20);
            notes.turn.paused.insert(serial);
            notes.note_written(slot, 2 << 20, 1 << 20);
            notes.turn.out_of_budget.insert(serial);
        }
        notes.turn.failures.push(|| "accept: too many open files".into());
        notes.begin_turn(notes.turn.woken.clone() + &notes.line(Duration::from_micros(80))[5..]);
        for slot in 0..10_000 {
            notes.note_written(slot, 2 << 20, 2 << 20);
            notes.note_closed(slot, 4_294_900_000 + slot as u32, Reason::LingerExpired);
        }
        let line = notes.line(Duration::from_micros(80));
        assert!(line.len() < 1500, "{} bytes: {line}", line.len());
        assert!(line.contains("wrote 19.5 GiB to #4294900000, #4294900001, #4294900002 and 9997 more |"));
        assert!(line.ends_with("| 0.08 ms"), "{line}");
    }

    #[test]
    fn who_is_slow_is_named_until_it_has_room_again() {
        let mut notes = Notes::default();
        notes.begin_turn("began".into());
        notes.note_accepted(0, 7, Peer::Unix);
        notes.note_written(0, 100, 60);
        assert_eq!(
            notes.line(Duration::ZERO),
            "turn 1: began | accepted #7 from unix | wrote 60 B to #7 | #7 is full, 40 B wait | 0.00 ms"
        );
        notes.begin_turn("woke".into());
        assert_eq!(notes.line(Duration::ZERO), "turn 2: woke | slow: #7 since turn 1 | 0.00 ms");
        notes.begin_turn("woke".into());
        notes.note_written(0, 40, 40);
        notes.note_written(0, 10, 8);
        assert_eq!(
            notes.line(Duration::ZERO),
            "turn 3: woke | wrote 48 B to #7 in 2 calls | #7 is full, 2 B wait | slow: #7 since turn 1 | 0.00 ms"
        );
        notes.begin_turn("woke".into());
        notes.note_written(0, 2, 2);
        assert_eq!(
            notes.line(Duration::ZERO),
            "turn 4: woke | wrote 2 B to #7 | has room again: #7 | 0.00 ms"
        );
        notes.begin_turn("woke".into());
        assert_eq!(notes.line(Duration::ZERO), "turn 5: woke | 0.00 ms");
    }
}
