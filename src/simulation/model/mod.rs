//! The reference model of the chat, which an oracle needs to know what is right: a plain list of records for
//! each room, a naive queue for each member, and nothing of how the server does it.
//!
//! It is told what the server took, in the order in which it took it, and so knows all that was said and
//! asked; and it is told what the sockets took, and explains each byte of that as it comes. In reading order:
//! `room` is what was said, `reader` what somebody is due of it, `commands` what lines do, `shape` what
//! replies look like that it does not foresee, `hints` what only the server knows. This file owns the state, and
//! what must hold: I1 to I4, I14, I18 and I19.
//!
//! Some things only the server can know: who was found too slow, when an announcement found space, which
//! empty room it forgot. Of these it is told by hints, and checks what follows from them.

mod commands;
mod hints;
mod reader;
mod room;
mod shape;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::observed::Seen;
use crate::chat::config::{Config, Format, Unnamed};
use crate::chat::outbox::ITEM_BYTES;
use crate::chat::render::Stamp;
use crate::chat::{FIRST_ROOM, Hint, Hinted};
use crate::codec::line::LineDecoder;
use crate::engine::{ConnectionId, Now, Peer, Reason};
use crate::limits;
use reader::{Item, Reader, Surroundings};
use room::{Record, Room};

/// All that the chat should do.
#[derive(Debug)]
pub(super) struct Model {
    config: Config,
    stamp: Stamp,
    /// All rooms ever; those that are gone do not exist any more.
    rooms: Vec<Room>,
    members: BTreeMap<ConnectionId, Member>,
    slots: BTreeMap<usize, ConnectionId>,
    hints: VecDeque<Hinted>,
    /// Inputs, and records of rooms: what a hint's place is counted by.
    inputs: u64,
    records: u64,
    keys: u64,
    is_stopping: bool,
    last_announced: Option<usize>,
    /// A hint is being applied.
    is_applying: bool,
    /// What did not hold where no result is returned.
    fault: Option<String>,
    /// Messages that gaps told of, to those who are gone.
    told: u64,
    /// Everyone who is gone got all of it.
    is_exact: bool,
}

/// Somebody connected.
#[derive(Debug)]
struct Member {
    peer: Peer,
    nick: Option<String>,
    /// Its number, while it is called by that.
    guest: Option<u32>,
    decoder: LineDecoder,
    has_spoken: bool,
    /// The others were told that it is there.
    is_present: bool,
    /// They were, for a line that was not taken yet.
    owes_line: bool,
    is_leaving: bool,
    /// Its rooms, each with the key of this stay; it speaks in the last.
    rooms: Vec<(usize, u64)>,
    readers: Vec<Reader>,
    /// No less than the server counts of what waits for it beside its rooms.
    waiting_bytes_max: usize,
    /// All its stays.
    stays: Vec<u64>,
    /// Messages posted to its rooms while it was in them, but for its own without echo.
    posted: u64,
    /// Its descriptor was given up, and whether in a way that loses what is on its way.
    was_cut: Option<bool>,
    /// The console's unfinished line.
    console_line: Vec<u8>,
}

impl Model {
    pub(super) fn new(config: &Config) -> Self {
        Model {
            stamp: Stamp::new(config.time_zone.clone()),
            rooms: vec![Room::new(FIRST_ROOM, true, config)],
            config: config.clone(),
            members: BTreeMap::new(),
            slots: BTreeMap::new(),
            hints: VecDeque::new(),
            inputs: 0,
            records: 0,
            keys: 0,
            is_stopping: false,
            last_announced: None,
            is_applying: false,
            fault: None,
            told: 0,
            is_exact: true,
        }
    }

    /// Takes what was seen next.
    pub(super) fn take(&mut self, now: Now, seen: &Seen) -> Result<(), String> {
        match seen {
            Seen::Hint(hinted) => {
                let is_foreseen =
                    |reason| matches!(reason, Reason::Quit | Reason::EndOfInput | Reason::ServerClosing);
                match hinted.hint {
                    Hint::Left(_, reason) if is_foreseen(reason) => {}
                    _ => self.hints.push_back(hinted.clone()),
                }
                return Ok(());
            }
            Seen::Accepted { id, peer } => self.accept(*id, *peer),
            Seen::Consumed { id, bytes } => self.consume(now, *id, bytes)?,
            Seen::Ended { id, rest } => self.end(now, *id, rest)?,
            Seen::Signal => self.stop()?,
            Seen::Wrote { slot, bytes } => return self.wrote(*slot, bytes),
            Seen::Released { slot, is_aborted, is_reset } => {
                if let Some(member) = self.slots.get(slot).and_then(|id| self.members.get_mut(id)) {
                    member.was_cut = Some(*is_aborted || *is_reset);
                }
                return Ok(());
            }
            Seen::Closed { id, reason } => self.close(*id, *reason)?,
            Seen::Refused { .. } | Seen::Timeout | Seen::Turn | Seen::Flushed => {}
        }
        self.apply_all_hints()?;
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        match self.hints.pop_front() {
            Some(hinted) => Err(format!("I2: the server did what nobody asked for: {:?}", hinted.hint)),
            None => Ok(()),
        }
    }

    /// I18, I19: all is calm, and everyone has everything.
    pub(super) fn check_at_rest(&self, missed: u64) -> Result<(), String> {
        let mut told = self.told;
        for (id, member) in self.members.iter().filter(|(_, member)| member.peer != Peer::Console) {
            let around = self.around(*id);
            let lefts: Vec<_> = member.readers.iter().map(|reader| reader.left(around)).collect();
            if let Some(Some(left)) = lefts.iter().find(|_| !lefts.contains(&None)) {
                return Err(format!("I18: all is calm, and client {} lacks {left}", id.serial()));
            }
            self.check_account(*id, member)?;
            told += member.readers.first().map_or(0, |reader| reader.told);
        }
        for room in self.rooms.iter().filter(|room| room.exists) {
            if !room.is_silent() {
                return Err(format!("I18: all is calm, and room {} has announcements", room.name));
            }
        }
        if told > missed || self.is_exact && told != missed {
            return Err(format!("I19: clients were told of {told} messages missed, counted are {missed}"));
        }
        Ok(())
    }

    fn around(&self, id: ConnectionId) -> Surroundings<'_> {
        Surroundings { rooms: &self.rooms, id, answers_telnet: !self.config.is_raw() }
    }

    // ---- who comes and goes ----

    fn accept(&mut self, id: ConnectionId, peer: Peer) {
        let is_guest = self.config.unnamed == Unnamed::Guest && peer != Peer::Console;
        let taken = |number: &u32| self.members.values().any(|member| member.guest == Some(*number));
        let guest = is_guest.then(|| (1..).find(|number| !taken(number)).unwrap_or_default());
        let member = Member {
            peer,
            nick: None,
            guest,
            decoder: LineDecoder::default(),
            has_spoken: false,
            is_present: false,
            owes_line: false,
            is_leaving: false,
            rooms: Vec::new(),
            readers: vec![Reader::default()],
            waiting_bytes_max: 0,
            stays: Vec::new(),
            posted: 0,
            was_cut: None,
            console_line: Vec::new(),
        };
        self.slots.insert(id.slot(), id);
        self.members.insert(id, member);
        if peer == Peer::Console {
            return;
        }
        if !self.config.is_raw() {
            let advice = if self.config.plain { "quit leaves" } else { "/help lists the commands" };
            let name = match (self.name(id), peer) {
                (name, Peer::Inet(ip, port)) if is_guest => {
                    format!("{name} ({})", std::net::SocketAddr::new(ip, port))
                }
                (name, _) => name,
            };
            let greeting = format!("-- you are {name} in {FIRST_ROOM}; {advice} --\n{}", self.config.motd);
            self.reply(id, &greeting);
        }
        self.enter(id, 0);
    }

    fn enter(&mut self, id: ConnectionId, room: usize) {
        let name = self.name(id);
        self.keys += 1;
        let key = self.keys;
        let Some(member) = self.members.get_mut(&id) else { return };
        let entered = &mut self.rooms[room];
        let until = entered.records.len();
        let messages = entered.messages_kept().min(self.config.history_messages);
        let is_raw = self.config.is_raw();
        for reader in &mut member.readers {
            if messages > 0 {
                let text = |text: String| Item::Text { due: None, bytes: text.into_bytes().into() };
                if !is_raw {
                    reader
                        .queue
                        .push_back(text(format!("-- history: the last {} --\n", count(messages, "message"))));
                }
                let next = entered.last_messages(messages);
                reader.queue.push_back(Item::History { room, next, until });
                if !is_raw {
                    reader.queue.push_back(text("-- end of history --\n".into()));
                }
            }
            reader.join(key, room, until);
        }
        // The history, and what stands around it.
        member.waiting_bytes_max += 3 * ITEM_BYTES;
        member.rooms.push((room, key));
        member.stays.push(key);
        let is_present = member.is_present;
        self.rooms[room].readers += 1;
        if is_present {
            self.note_joining(id, room, name);
        }
    }

    /// Who only listened is there: for a line that is about to be taken.
    fn arrive(&mut self, id: ConnectionId) -> Result<(), String> {
        let name = self.name(id);
        let Some(member) =
            self.members.get_mut(&id).filter(|member| !member.is_present && !member.is_leaving)
        else {
            return Err(format!("I2: {name} arrives, who is there already, or is gone"));
        };
        (member.is_present, member.owes_line) = (true, true);
        let rooms = member.rooms.clone();
        for (room, _) in rooms {
            self.note_joining(id, room, name.clone());
        }
        Ok(())
    }

    /// A line was taken that makes who sent it a member: the others were told so.
    fn expect_present(&mut self, id: ConnectionId) -> Result<(), String> {
        self.apply_due_hints()?;
        match self.members.get_mut(&id) {
            Some(member) if !member.is_leaving && !member.is_present => {
                Err(format!("I2: client {} says or asks something, and is not told of as there", id.serial()))
            }
            Some(member) => {
                member.owes_line = false;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn leave_room(&mut self, id: ConnectionId, room: usize, is_due: bool) {
        let name = self.name(id);
        let Some(member) = self.members.get_mut(&id) else { return };
        let is_present = member.is_present;
        let Some(at) = member.rooms.iter().position(|(entered, _)| *entered == room) else { return };
        let (_, key) = member.rooms.remove(at);
        // What it had not read, between its own lines.
        member.waiting_bytes_max += (limits::SKIPPED_SPANS_MAX + 1) * ITEM_BYTES;
        for reader in &mut member.readers {
            reader.leave(key, &self.rooms[room], is_due);
        }
        self.rooms[room].readers -= 1;
        if is_present {
            self.rooms[room].leave(id, name, !self.is_stopping);
        }
    }

    /// Somebody leaves, with or without what is still due.
    fn leave(&mut self, id: ConnectionId, is_due: bool) {
        let Some(member) = self.members.get_mut(&id) else { return };
        if std::mem::replace(&mut member.is_leaving, true) {
            return;
        }
        while let Some((room, _)) = self.members.get(&id).and_then(|member| member.rooms.last().copied()) {
            self.leave_room(id, room, is_due);
        }
        if let Some(member) = self.members.get_mut(&id) {
            (member.nick, member.guest) = (None, None);
        }
    }

    /// I1: who is closed in good order got all that was due.
    fn close(&mut self, id: ConnectionId, reason: Reason) -> Result<(), String> {
        self.leave(id, true);
        self.slots.retain(|_, other| *other != id);
        let Some(member) = self.members.remove(&id) else { return Ok(()) };
        if member.peer == Peer::Console {
            return Ok(());
        }
        let around = self.around(id);
        let lefts: Vec<_> = member.readers.iter().map(|reader| reader.left(around)).collect();
        let left = lefts.iter().find(|_| !lefts.contains(&None)).cloned().flatten();
        let in_good_order =
            !matches!(reason, Reason::Reset | Reason::TimedOut | Reason::LingerExpired | Reason::SystemError);
        match left {
            Some(left) if in_good_order && member.was_cut == Some(false) => {
                return Err(format!("I1: client {} was closed ({reason}) without {left}", id.serial()));
            }
            Some(_) => self.is_exact = false,
            None => {}
        }
        self.told += member.readers.first().map_or(0, |reader| reader.told);
        self.check_account(id, &member)
    }

    /// I19: what was posted to its rooms was delivered, told of as missed, or is still to come.
    fn check_account(&self, id: ConnectionId, member: &Member) -> Result<(), String> {
        let around = self.around(id);
        let is_balanced = |reader: &Reader| {
            let open: u64 = member.stays.iter().map(|key| reader.undelivered(*key, around)).sum();
            reader.delivered + reader.gapped + open == member.posted
        };
        if member.readers.iter().any(is_balanced) {
            return Ok(());
        }
        let posted = member.posted;
        Err(format!(
            "I19: {posted} messages were posted for client {}, and other ones accounted",
            id.serial()
        ))
    }

    /// Everyone is told, gets what is due, and is closed.
    fn stop(&mut self) -> Result<(), String> {
        if self.is_stopping {
            return Ok(());
        }
        self.apply_all_hints()?;
        self.is_stopping = true;
        let ids: Vec<ConnectionId> = self.members.keys().copied().collect();
        for id in ids {
            let member = &self.members[&id];
            if member.peer != Peer::Console && !member.is_leaving {
                self.part_politely(id, "the server is closing");
            } else {
                self.leave(id, true);
            }
        }
        Ok(())
    }

    // ---- what is said ----

    /// Whether it leaves, or left.
    fn is_gone(&self, id: ConnectionId) -> bool {
        self.members.get(&id).is_none_or(|member| member.is_leaving)
    }

    fn name(&self, id: ConnectionId) -> String {
        let member = self.members.get(&id);
        if let Some(number) = member.and_then(|member| member.guest) {
            return format!("guest-{number}");
        }
        match member.map(|member| (member.nick.as_ref(), member.peer)) {
            Some((Some(nick), _)) => nick.clone(),
            Some((None, Peer::Inet(ip, port))) => std::net::SocketAddr::new(ip, port).to_string(),
            Some((None, Peer::Unix)) => format!("unix#{}", id.serial()),
            _ => "operator".into(),
        }
    }

    /// Adds something for one member alone, in its place among what its room said and is about to announce (I4).
    fn push(&mut self, id: ConnectionId, item: impl Fn(reader::Due) -> Item) {
        if let Err(fault) = self.apply_due_hints() {
            self.fault.get_or_insert(fault);
        }
        let Some(member) = self.members.get_mut(&id) else { return };
        let due = member.rooms.last().map(|(room, key)| (*key, self.rooms[*room].next_said()));
        if let Some((room, _)) = member.rooms.last()
            && member.peer != Peer::Console
            && self.rooms[*room].has_untold_moves()
        {
            let (serial, room) = (id.serial(), &self.rooms[*room].name);
            self.fault
                .get_or_insert(format!("I4: client {serial} has a reply before who came and went in {room}"));
        }
        member.waiting_bytes_max += item(due).bytes_max();
        for reader in &mut member.readers {
            reader.queue.push_back(item(due));
        }
    }

    /// Adds a reply that has no place among those who came and went.
    fn reply_alone(&mut self, id: ConnectionId, text: &str) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let due = member.rooms.last().map(|(room, key)| (*key, self.rooms[*room].next_said()));
        let item = Item::Text { due, bytes: text.as_bytes().into() };
        member.waiting_bytes_max += item.bytes_max();
        for reader in &mut member.readers {
            reader.queue.push_back(item.clone());
        }
    }

    /// Says goodbye to somebody, who leaves, with or without what is still due.
    fn part_with(&mut self, id: ConnectionId, words: &str, is_due: bool) {
        self.reply_alone(id, &format!("-- {words} --\n"));
        self.leave(id, is_due);
    }

    fn part_politely(&mut self, id: ConnectionId, words: &str) {
        if self.config.is_raw() {
            self.leave(id, true);
        } else {
            self.part_with(id, words, true);
        }
    }

    fn reply(&mut self, id: ConnectionId, text: &str) {
        let bytes: Rc<[u8]> = text.as_bytes().into();
        self.push(id, |due| Item::Text { due, bytes: Rc::clone(&bytes) });
    }

    fn tell(&mut self, id: ConnectionId, text: &str) {
        self.reply(id, &format!("-- {text} --\n"));
    }

    fn tell_politely(&mut self, id: ConnectionId, text: &str) {
        if !self.config.is_raw() {
            self.tell(id, text);
        }
    }

    /// I14: nothing that a terminal obeys is in what a person said, where it is not raw.
    fn say(&mut self, now: Now, id: ConnectionId, text: &[u8], is_action: bool) -> Result<(), String> {
        let Some((room, _)) = self.members.get(&id).and_then(|member| member.rooms.last().copied()) else {
            self.tell_politely(id, "you are in no room; /join ROOM enters one");
            return Ok(());
        };
        let is_clean = std::str::from_utf8(text)
            .is_ok_and(|text| text.chars().all(|character| !character.is_control() || character == '\t'));
        if !self.config.is_raw() && !is_clean {
            return Err(format!("I14: \"{}\" is said by client {}", text.escape_ascii(), id.serial()));
        }
        self.expect_present(id)?;
        if self.is_gone(id) {
            // What was announced before closed the slow.
            return Ok(());
        }
        if !self.rooms[room].is_silent() {
            let (serial, room) = (id.serial(), &self.rooms[room].name);
            return Err(format!(
                "I4: client {serial} says something in {room} before what is announced there"
            ));
        }
        let name = self.name(id);
        let tag = self.rooms[room].tag.clone();
        let bytes = self.message(now, &tag, &name, text, is_action).into();
        let except = (!self.config.echo).then_some(id);
        self.append(room, Record { bytes, is_message: true, except });
        self.apply_due_hints()
    }

    fn message(&mut self, now: Now, tag: &str, name: &str, text: &[u8], is_action: bool) -> Vec<u8> {
        let time = self.stamp.time(now.unix_s);
        let head = match (self.config.format, is_action) {
            (Format::Line, false) => format!("{time} {tag}{name}: "),
            (Format::Line, true) => format!("{time} {tag}* {name} "),
            (Format::Classic, false) => format!("{time} {tag}{name}\n"),
            (Format::Classic, true) => format!("{time} {tag}* {name}\n"),
            (Format::Raw, _) => String::new(),
            (Format::Ack, false) => "ack ".into(),
            (Format::Ack, true) => format!("ack * {name} "),
        };
        [head.as_bytes(), text, b"\n"].concat()
    }

    fn append(&mut self, room: usize, record: Record) {
        self.records += 1;
        if record.is_message {
            for (id, member) in &mut self.members {
                let is_member = member.rooms.iter().any(|(entered, _)| *entered == room);
                member.posted += u64::from(is_member && record.except != Some(*id));
            }
        }
        self.rooms[room].append(record);
    }

    /// Somebody who is present joins a room, of which it is told if there are not too many.
    fn note_joining(&mut self, id: ConnectionId, room: usize, name: String) {
        let people = self.rooms[room].people + 1;
        let config = &self.config;
        let is_told = config.notices && !config.is_raw() && people <= config.notice_members_max;
        self.rooms[room].join(id, name, is_told, !self.is_stopping);
    }

    fn close_rolls(&mut self, room: usize) {
        let is_told = !self.is_stopping && self.rooms[room].readers > 0;
        self.rooms[room].close_rolls(is_told);
    }

    /// Has a record announced, behind who came and went so far.
    fn announce_later(&mut self, room: usize, record: Record) {
        self.close_rolls(room);
        self.rooms[room].announce_later(record);
    }

    fn room_named(&self, name: &str) -> Option<usize> {
        self.rooms.iter().rposition(|room| room.exists && room.name == name)
    }

    // ---- what was written ----

    /// I1 to I4: every byte is due, and comes in its place.
    fn wrote(&mut self, slot: usize, bytes: &[u8]) -> Result<(), String> {
        let Some(id) = self.slots.get(&slot).copied() else {
            return Err(format!("I2: slot {slot} is written to, where nobody is"));
        };
        let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
        if member.peer == Peer::Console {
            return self.wrote_console(id, bytes);
        }
        let before = std::mem::take(&mut member.readers);
        let around = self.around(id);
        let expected = before.first().map(|reader| reader.left(around));
        let after = Reader::take(before, bytes, around)
            .map_err(|what| format!("I2: client {}: {what}", id.serial()))?;
        if after.is_empty() {
            let expected = expected.flatten().unwrap_or("nothing".into());
            let (shown, serial) = (bytes.escape_ascii(), id.serial());
            return Err(format!("I2: client {serial} is written \"{shown}\", and is due {expected}"));
        }
        if let Some(member) = self.members.get_mut(&id) {
            if after.iter().all(Reader::has_no_replies) {
                member.waiting_bytes_max = 0;
            }
            member.readers = after;
        }
        Ok(())
    }

    /// I14, of the console: what is not the server's own has no controls in it.
    fn wrote_console(&mut self, id: ConnectionId, bytes: &[u8]) -> Result<(), String> {
        const ENDED: &str = "\r\x1b[K-- end of input: the server goes on; Ctrl-C ends it --";
        let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
        member.console_line.extend_from_slice(bytes);
        while let Some(end) = memchr::memchr(b'\n', &member.console_line) {
            let line: Vec<u8> = member.console_line.drain(..=end).collect();
            let text = String::from_utf8_lossy(&line[..end]);
            let text = text.trim_start_matches(">> ").trim_end_matches(ENDED);
            if !self.config.is_raw() && text.contains(|c: char| c.is_control() && c != '\t') {
                return Err(format!("I14: the console is written \"{}\"", line.escape_ascii()));
            }
        }
        Ok(())
    }
}

/// `1 message`, `2 messages`.
fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
