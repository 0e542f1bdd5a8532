//! What a member is due, and whether what its socket took is that: a naive queue, byte for byte.
//!
//! A reader is one reading of what was written so far. Where two records look alike, or a reply may be worded
//! in two ways, there are two readers, until what follows fits only one; when none is left, something was
//! written that nobody can explain.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::room::{Record, Room};
use super::shape::{Shape, Step};
use crate::chat::outbox::ITEM_BYTES;
use crate::engine::ConnectionId;

/// No less than a long reply has.
const SHAPED_BYTES_MAX: usize = 2048;

/// Readers at one time, beyond which a run fails: an oracle that takes anything proves nothing.
const READERS_MAX: usize = 10_000;

/// The key of the place of a history that is not due any more: of no stay.
const HISTORY: u64 = u64::MAX;

const MISSED: &[u8] = b"-- you missed ";

/// A member's place in a room, or what it is still due of one that it left.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Tells two stays in the same room apart.
    pub(super) key: u64,
    pub(super) room: usize,
    /// The next record.
    pub(super) next: usize,
    /// Where it ends, for who left.
    pub(super) until: Option<usize>,
    /// Nothing of it is due any more; a gap may be told still.
    pub(super) is_forgiven: bool,
}

/// When something is due: once this much was read, in the stay of this key.
pub(super) type Due = Option<(u64, usize)>;

/// One thing that a member is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    Text {
        due: Due,
        bytes: Rc<[u8]>,
    },
    Shaped {
        due: Due,
        shape: Shape,
    },
    /// One of these, nobody here knows which.
    Choice(Vec<Vec<Item>>),
    /// Messages again, without the notices between them.
    History {
        room: usize,
        next: usize,
        until: usize,
    },
    /// What it had not read of a room when it left.
    Rest(u64),
}

impl Item {
    /// No less than what the server counts for it.
    pub(super) fn bytes_max(&self) -> usize {
        match self {
            Item::Text { bytes, .. } => bytes.len() + ITEM_BYTES,
            Item::Shaped { .. } => SHAPED_BYTES_MAX + ITEM_BYTES,
            Item::Choice(ways) => {
                ways.iter().map(|way| way.iter().map(Item::bytes_max).sum()).max().unwrap_or_default()
            }
            Item::History { .. } | Item::Rest(_) => ITEM_BYTES,
        }
    }
}

/// What is half written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Bytes { bytes: Rc<[u8]>, at: usize },
    Missed { of: Hole, text: Vec<u8> },
    Shaped { shape: Shape, line: Vec<u8> },
    Telnet(Vec<u8>),
}

/// Where something was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hole {
    Place(u64),
    History,
}

/// What a reader needs to know beside itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) rooms: &'a [Room],
    pub(super) id: ConnectionId,
    pub(super) answers_telnet: bool,
}

/// One reading of what was written to a member.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reader {
    pub(super) places: Vec<Place>,
    pub(super) queue: VecDeque<Item>,
    part: Option<Part>,
    /// Telnet's answers that are due, and those that came before their question was consumed: they have no
    /// place among the rest.
    telnet_due: VecDeque<[u8; 3]>,
    telnet_early: VecDeque<[u8; 3]>,
    /// Messages of rooms that were written, and that gaps told of; history is not counted.
    pub(super) delivered: u64,
    pub(super) gapped: u64,
    /// Messages that gaps told of, those of a history included.
    pub(super) told: u64,
}

impl Reader {
    // ---- what becomes due ----

    pub(super) fn join(&mut self, key: u64, room: usize, next: usize) {
        self.places.push(Place { key, room, next, until: None, is_forgiven: false });
    }

    /// What was not read until now stays due, or is forgiven.
    pub(super) fn leave(&mut self, key: u64, left: &Room, is_due: bool) {
        let Some(place) = self.places.iter_mut().find(|place| place.key == key) else { return };
        let until = left.records.len();
        place.until = Some(until);
        place.is_forgiven = !is_due;
        // Nothing before these is left to be read: the gap may be told behind them.
        let ways = |item: &mut Item| match item {
            Item::Choice(ways) => std::mem::take(ways),
            _ => Vec::new(),
        };
        for item in &mut self.queue {
            let mut ways = ways(item);
            for item in ways.iter_mut().flatten().chain([&mut *item]) {
                if let Item::Text { due, .. } | Item::Shaped { due, .. } = item {
                    due.take_if(|(due_key, from)| *due_key == key && *from <= left.base);
                    // What was about to be announced is not for who left.
                    if let Some((due_key, from)) = due
                        && *due_key == key
                    {
                        *from = until.min(*from);
                    }
                }
            }
            if let Item::Choice(taken) = item {
                *taken = ways;
            }
        }
        if is_due {
            self.queue.push_back(Item::Rest(key));
        }
    }

    /// Who reads too slowly gets no history any more.
    pub(super) fn drop_logs(&mut self) {
        // What is told of a gap already is told to its end.
        if let Some(Part::Missed { of, .. }) = &mut self.part
            && *of == Hole::History
        {
            *of = Hole::Place(HISTORY);
        }
        for item in std::mem::take(&mut self.queue) {
            match item {
                Item::Rest(key) => {
                    if let Some(place) = self.places.iter_mut().find(|place| place.key == key) {
                        place.is_forgiven = true;
                    }
                }
                Item::History { room, next, until } => {
                    let until = Some(until);
                    self.places.push(Place { key: HISTORY, room, next, until, is_forgiven: true });
                }
                Item::Choice(mut ways) => {
                    for way in &mut ways {
                        way.retain(|item| !matches!(item, Item::History { .. }));
                    }
                    self.queue.push_back(Item::Choice(ways));
                }
                item => self.queue.push_back(item),
            }
        }
    }

    pub(super) fn ask_telnet(&mut self, reply: [u8; 3]) {
        if self.telnet_early.front() == Some(&reply) {
            self.telnet_early.pop_front();
        } else {
            self.telnet_due.push_back(reply);
        }
    }

    /// Whether it is due nothing but what its rooms say.
    pub(super) fn has_no_replies(&self) -> bool {
        self.queue.is_empty() && self.part.is_none() && self.telnet_due.is_empty()
    }

    // ---- what was written ----

    /// The readers that explain `bytes` behind what these have read, no two alike; none: nobody can.
    /// `Err`: too many could.
    pub(super) fn take(
        readers: Vec<Reader>,
        bytes: &[u8],
        around: Surroundings<'_>,
    ) -> Result<Vec<Reader>, String> {
        let mut explained = Vec::new();
        // In the order of how far they are: those that come to the same are one before they go on.
        let mut open: BTreeSet<(usize, Reader)> = readers.into_iter().map(|reader| (0, reader)).collect();
        while let Some((at, mut reader)) = open.pop_first() {
            if at == bytes.len() {
                explained.push(reader);
            } else if reader.part.is_some() {
                if let Some(taken) = reader.go_on(&bytes[at..], around) {
                    open.insert((at + taken, reader));
                }
            } else {
                open.extend(reader.begin(bytes[at], around).into_iter().map(|reader| (at, reader)));
            }
            if open.len() > READERS_MAX {
                return Err(format!("more than {READERS_MAX} readings of what it is written are open"));
            }
        }
        Ok(explained)
    }

    /// Goes on with what is half written; `None`: this is not it.
    fn go_on(&mut self, bytes: &[u8], around: Surroundings<'_>) -> Option<usize> {
        let mut part = self.part.take()?;
        let taken = match &mut part {
            Part::Bytes { bytes: expected, at } => {
                let taken = bytes.len().min(expected.len() - *at);
                if bytes[..taken] != expected[*at..*at + taken] {
                    return None;
                }
                *at += taken;
                if *at == expected.len() {
                    return Some(taken);
                }
                taken
            }
            Part::Telnet(seen) => {
                let taken = bytes.len().min(3 - seen.len());
                seen.extend_from_slice(&bytes[..taken]);
                if let [iac, verb, option] = seen[..] {
                    if !matches!(verb, 0xfc | 0xfe) {
                        return None;
                    }
                    let reply = [iac, verb, option];
                    match self.telnet_due.front() {
                        Some(due) if *due == reply => drop(self.telnet_due.pop_front()),
                        Some(_) => return None,
                        None => self.telnet_early.push_back(reply),
                    }
                    return Some(taken);
                }
                taken
            }
            Part::Missed { of, text } => {
                let end = memchr::memchr(b'\n', bytes);
                let taken = end.map_or(bytes.len(), |end| end + 1);
                text.extend_from_slice(&bytes[..taken]);
                let known = text.len().min(MISSED.len());
                if text[..known] != MISSED[..known] {
                    return None;
                }
                if end.is_some() {
                    let (of, text) = (*of, std::mem::take(text));
                    return self.miss(of, &text, around).map(|()| taken);
                }
                taken
            }
            Part::Shaped { shape, line } => {
                let end = memchr::memchr(b'\n', bytes);
                let taken = end.map_or(bytes.len(), |end| end + 1);
                line.extend_from_slice(&bytes[..taken]);
                if end.is_some() {
                    let text = std::str::from_utf8(&line[..line.len() - 1]).ok()?;
                    match shape.step(text) {
                        Step::Wrong => return None,
                        Step::Done => return Some(taken),
                        Step::More(next) => {
                            *shape = next;
                            line.clear();
                        }
                    }
                }
                taken
            }
        };
        self.part = Some(part);
        Some(taken)
    }

    /// A gap was told: it must be one, and so many messages must be in it, all of which the log lost.
    fn miss(&mut self, of: Hole, text: &[u8], around: Surroundings<'_>) -> Option<()> {
        let text = std::str::from_utf8(text).ok()?;
        let number = text.split(' ').nth(3)?;
        let mut left: u64 = number.parse().ok()?;
        let (room, next) = self.hole(of)?;
        let room = &around.rooms[room];
        let plural = if left == 1 { "" } else { "s" };
        let expected = format!("-- you missed {left} message{plural}{} --\n", room.place(" in"));
        if text != expected || left == 0 {
            return None;
        }
        let end = self.end_of(of, room).min(room.base);
        let mut next = next;
        self.told += left;
        // A history counts as none of its stays, and shows one's own words, too.
        let is_history = matches!(of, Hole::History | Hole::Place(HISTORY));
        if !is_history {
            self.gapped += left;
        }
        while left > 0 {
            let record = room.records[..end].get(next)?;
            let counts = is_history || record.except != Some(around.id);
            left -= u64::from(record.is_message && counts);
            next += 1;
        }
        self.go_to(of, next);
        // What is not due any more is told of once.
        self.places.retain(|place| place.key != HISTORY || of != Hole::Place(HISTORY));
        Some(())
    }

    fn hole(&self, of: Hole) -> Option<(usize, usize)> {
        match (of, self.queue.front()) {
            (Hole::Place(key), _) => {
                self.places.iter().find(|place| place.key == key).map(|place| (place.room, place.next))
            }
            (Hole::History, Some(Item::History { room, next, .. })) => Some((*room, *next)),
            (Hole::History, _) => None,
        }
    }

    fn end_of(&self, of: Hole, room: &Room) -> usize {
        let until = match (of, self.queue.front()) {
            (Hole::Place(key), _) => self.place(key).and_then(|place| place.until),
            (Hole::History, Some(Item::History { until, .. })) => Some(*until),
            (Hole::History, _) => None,
        };
        until.unwrap_or(room.records.len())
    }

    fn go_to(&mut self, of: Hole, index: usize) {
        match (of, self.queue.front_mut()) {
            (Hole::Place(key), _) => {
                if let Some(place) = self.places.iter_mut().find(|place| place.key == key) {
                    place.next = index;
                }
            }
            (Hole::History, Some(Item::History { next, .. })) => *next = index,
            (Hole::History, _) => {}
        }
    }

    /// Everything that can begin here, with a byte like this.
    fn begin(self, first: u8, around: Surroundings<'_>) -> Vec<Reader> {
        let mut readers = Vec::new();
        for mut reader in self.settled(around) {
            if first == 0xff && around.answers_telnet {
                readers.push(reader.with(Part::Telnet(Vec::new())));
            }
            if first == MISSED[0] {
                readers.extend(
                    reader
                        .holes(around)
                        .into_iter()
                        .map(|of| reader.with(Part::Missed { of, text: Vec::new() })),
                );
            }
            match reader.queue.front().cloned() {
                Some(Item::Text { due, .. } | Item::Shaped { due, .. }) if !reader.is_due(due) => {
                    let key = due.map(|(key, _)| key).unwrap_or_default();
                    readers.extend(reader.begin_record(key, around));
                }
                Some(Item::Text { bytes, .. }) => {
                    reader.queue.pop_front();
                    readers.push(reader.with(Part::Bytes { bytes, at: 0 }));
                }
                Some(Item::Shaped { shape, .. }) => {
                    reader.queue.pop_front();
                    readers.push(reader.with(Part::Shaped { shape, line: Vec::new() }));
                }
                Some(Item::History { room, next, .. }) => {
                    let room = &around.rooms[room];
                    if next >= room.base {
                        let bytes = Rc::clone(&room.records[next].bytes);
                        reader.go_to(Hole::History, next + 1);
                        readers.push(reader.with(Part::Bytes { bytes, at: 0 }));
                    }
                }
                Some(Item::Rest(key)) => readers.extend(reader.begin_record(key, around)),
                Some(Item::Choice(_)) => {}
                None => {
                    for place in reader.places.clone() {
                        readers.extend(reader.begin_record(place.key, around));
                    }
                }
            }
        }
        readers
    }

    fn with(&self, part: Part) -> Reader {
        Reader { part: Some(part), ..self.clone() }
    }

    fn begin_record(&self, key: u64, around: Surroundings<'_>) -> Option<Reader> {
        let place = self.place(key)?;
        let room = &around.rooms[place.room];
        let end = place.until.unwrap_or(room.records.len());
        if place.is_forgiven || place.next >= end || place.next < room.base {
            return None;
        }
        let Record { bytes, is_message, .. } = &room.records[place.next];
        let mut reader = self.with(Part::Bytes { bytes: Rc::clone(bytes), at: 0 });
        reader.delivered += u64::from(*is_message);
        reader.go_to(Hole::Place(key), place.next + 1);
        Some(reader)
    }

    /// Where the log lost a message before this member had it.
    fn holes(&self, around: Surroundings<'_>) -> Vec<Hole> {
        let mut holes: Vec<Hole> = self
            .places
            .iter()
            .filter(|place| place.next < around.rooms[place.room].base)
            .map(|place| Hole::Place(place.key))
            .collect();
        if let Some(Item::History { room, next, .. }) = self.queue.front()
            && *next < around.rooms[*room].base
        {
            holes.push(Hole::History);
        }
        holes
    }

    fn place(&self, key: u64) -> Option<&Place> {
        self.places.iter().find(|place| place.key == key)
    }

    fn is_due(&self, due: Due) -> bool {
        due.and_then(|(key, from)| Some((self.place(key)?, from)))
            .is_none_or(|(place, from)| place.is_forgiven || place.next >= from)
    }

    /// Moves on over what is not sent, and over notices that the log lost; drops what is done; and makes up
    /// its mind where there is a choice, in all ways.
    fn settled(mut self, around: Surroundings<'_>) -> Vec<Reader> {
        for place in &mut self.places {
            let room = &around.rooms[place.room];
            let end = place.until.unwrap_or(room.records.len());
            let is_history = place.key == HISTORY;
            while place.next < end && is_passed_by(room, place.next, around.id, is_history) {
                place.next += 1;
            }
        }
        loop {
            match self.queue.front_mut() {
                Some(Item::History { room, next, until }) => {
                    let records = &around.rooms[*room].records;
                    while *next < *until && !records[*next].is_message {
                        *next += 1;
                    }
                    if next < until {
                        return vec![self];
                    }
                }
                Some(Item::Rest(key)) => {
                    let key = *key;
                    if self.place(key).is_some_and(|place| place.until > Some(place.next)) {
                        return vec![self];
                    }
                    self.places.retain(|place| place.key != key);
                }
                Some(Item::Choice(ways)) => {
                    let ways = std::mem::take(ways);
                    self.queue.pop_front();
                    let readers = ways.into_iter().flat_map(|way| {
                        let mut reader = self.clone();
                        reader.queue = way.into_iter().chain(reader.queue).collect();
                        reader.settled(around)
                    });
                    return readers.collect();
                }
                Some(Item::Text { .. } | Item::Shaped { .. }) | None => return vec![self],
            }
            self.queue.pop_front();
        }
    }

    // ---- what is left ----

    /// What is due and was not written: nothing, or what comes first of it.
    pub(super) fn left(&self, around: Surroundings<'_>) -> Option<String> {
        if let Some(part) = &self.part {
            return Some(format!("the rest of {part:?}"));
        }
        let lefts: Vec<Option<String>> =
            self.clone().settled(around).iter().map(|reader| reader.first_left(around)).collect();
        if lefts.contains(&None) { None } else { lefts.into_iter().next().flatten() }
    }

    fn first_left(&self, around: Surroundings<'_>) -> Option<String> {
        if let Some(item) = self.queue.front() {
            return Some(match item {
                Item::Text { bytes, .. } => format!("the reply \"{}\"", bytes.escape_ascii()),
                item => format!("{item:?}"),
            });
        }
        if let Some(reply) = self.telnet_due.front() {
            return Some(format!("telnet's answer {reply:?}"));
        }
        let place = self.places.iter().find(|place| {
            let end = place.until.unwrap_or(around.rooms[place.room].records.len());
            !place.is_forgiven && place.next < end
        })?;
        let room = &around.rooms[place.room];
        let record = &room.records[place.next];
        Some(format!("record {} of room {}: \"{}\"", place.next, room.name, record.bytes.escape_ascii()))
    }

    /// Messages of its rooms that were not written, nor told of as missed.
    pub(super) fn undelivered(&self, key: u64, around: Surroundings<'_>) -> u64 {
        let Some(place) = self.place(key) else { return 0 };
        let room = &around.rooms[place.room];
        let end = place.until.unwrap_or(room.records.len());
        let records = room.records.get(place.next..end).unwrap_or_default();
        records.iter().filter(|record| record.is_message && record.except != Some(around.id)).count() as u64
    }
}

/// Whether a member is not sent a record, and not told so.
fn is_passed_by(room: &Room, index: usize, id: ConnectionId, is_history: bool) -> bool {
    let record = &room.records[index];
    match is_history {
        true => !record.is_message,
        false => record.except == Some(id) || !record.is_message && index < room.base,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::config::Config;

    /// What comes of reading `read` records of rooms that said the same, so many times each.
    fn ways(rooms: usize, records: usize, read: usize) -> Result<Vec<Reader>, String> {
        let mut room = Room::new("r", false, &Config::default());
        for _ in 0..records {
            room.append(Record { bytes: b"x\n"[..].into(), is_message: true, except: None });
        }
        let rooms = vec![room; rooms];
        let mut reader = Reader::default();
        (0..rooms.len()).for_each(|room| reader.join(room as u64, room, 0));
        let around = Surroundings { rooms: &rooms, id: ConnectionId::new(0, 1), answers_telnet: true };
        Reader::take(vec![reader], &b"x\n".repeat(read), around)
    }

    #[test]
    fn ways_that_come_to_the_same_are_one() {
        assert_eq!(ways(2, 30, 30).map(|readers| readers.len()), Ok(31));
        assert_eq!(ways(2, 30, 60).map(|readers| readers.len()), Ok(1));
        assert_eq!(ways(2, 30, 61), Ok(Vec::new()));
    }

    #[test]
    fn more_ways_than_can_be_followed_are_a_failure() {
        assert!(ways(4, 40, 80).is_err());
    }
}
