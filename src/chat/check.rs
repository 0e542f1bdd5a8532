//! What must hold of the chat between two turns, for simulations and tests: what is kept in two places
//! agrees, and whoever waits is on somebody's list.

use std::collections::{BTreeMap, HashMap};

use super::log::Log;
use super::room::{Flush, Room};
use super::room_id::RoomId;
use super::session::{Pause, Session};
use super::{AddressBlock, Chat, Timer};
use crate::engine::{ConnectionId, Moment, Reason};

/// What an oracle cannot know by itself, because it depends on how the chat works: it takes this as given, and
/// checks what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// Who joined and left this room so far is to be said, before what comes next.
    Rolled(Box<str>),
    /// Nobody is left in this room to be told who joined and left.
    Unrolled(Box<str>),
    /// An announcement found space in this room.
    Announced(Box<str>, Box<[u8]>),
    /// The one who was told already is sent the announcement all the same.
    NotSkipped,
    /// This room is gone.
    Forgot(Box<str>),
    /// A session got this nick.
    Renamed(ConnectionId, Box<str>),
    /// A session that leaves is not waited for: what it had not read of the rooms is dropped.
    Dropped(ConnectionId),
    /// Who only listened said or asked for something.
    Arrived(ConnectionId),
    /// A session leaves.
    Left(ConnectionId, Reason),
}

/// A hint, and when it was given: after so many inputs, and so many records of rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hinted {
    /// Lines, of the operator too, and parts of lines that are too long.
    pub(crate) inputs: u64,
    pub(crate) records: u64,
    pub(crate) hint: Hint,
}

impl Chat {
    pub(super) fn hint(&mut self, hint: Hint) {
        self.hints.push(Hinted { inputs: self.inputs, records: self.counters.records, hint });
    }

    pub(super) fn hint_of(&mut self, room: RoomId, hint: impl FnOnce(Box<str>) -> Hint) {
        if let Some(name) = self.rooms.get(room.index()).map(|room| room.name.clone()) {
            self.hint(hint(name));
        }
    }

    /// The hints since this was called last.
    pub(crate) fn take_hints(&mut self) -> Vec<Hinted> {
        std::mem::take(&mut self.hints)
    }

    /// Messages that slow readers were told to have missed.
    pub(crate) fn missed(&self) -> u64 {
        self.counters.missed
    }

    /// Sessions at present, the console's included.
    pub(crate) fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// The first thing that does not hold.
    pub(crate) fn check(&self, now: Moment) -> Result<(), String> {
        if let Some(due) = self.deadlines.next()
            && due <= now
        {
            return Err(format!("I13: a deadline of the chat was due at {due:?} and was not handled"));
        }
        let mut addresses: HashMap<AddressBlock, usize> = HashMap::new();
        let mut pins: BTreeMap<(usize, ConnectionId), usize> = BTreeMap::new();
        let mut members = 0;
        for session in self.sessions.iter() {
            self.check_session(session)?;
            if let Some(block) = AddressBlock::of(session.peer) {
                *addresses.entry(block).or_default() += 1;
            }
            for span in session.extras.iter().flat_map(|extras| extras.outbox.spans()) {
                *pins.entry((span.room.index(), session.id)).or_default() += 1;
            }
            members += session.memberships().count();
        }
        if addresses != self.addresses {
            return Err(format!("I12: by address there are {addresses:?}, counted {:?}", self.addresses));
        }
        if let (Some(arrivals), Some(rate)) = (&self.arrivals, self.config.connect_rate)
            && arrivals.addresses() > rate.addresses_max
        {
            return Err(format!("I5: {} addresses of newcomers are kept", arrivals.addresses()));
        }
        let room_members: usize = self.rooms.iter().map(|(_, room)| room.members().len()).sum();
        if members != room_members {
            return Err(format!("I12: {members} memberships, and {room_members} members of rooms"));
        }
        for (index, room) in &self.rooms {
            self.check_room(room)?;
            for (id, count) in room.pins() {
                if pins.remove(&(index, *id)) != Some(*count) {
                    return Err(format!("I12: {count} pins of {} in room {}", id.serial(), room.name));
                }
            }
        }
        if let Some(((index, id), count)) = pins.first_key_value()
            && self.rooms.contains(*index)
        {
            return Err(format!("I12: {count} spans of {} in a room that does not know", id.serial()));
        }
        if self.room_ids.len() != self.rooms.len()
            || self.room_ids.iter().any(|(name, id)| {
                self.rooms.get(id.index()).is_none_or(|room| room.name != *name || room.id != *id)
            })
        {
            return Err("I12: names of rooms and rooms do not agree".into());
        }
        let nicks = self.sessions.iter().filter(|session| session.nick().is_some() && !session.is_leaving());
        if nicks.count() != self.names.len() {
            return Err(format!("I12: {} names are taken, by others than the sessions", self.names.len()));
        }
        let guests = self.sessions.iter().filter(|session| session.guest.is_some() && !session.is_leaving());
        let guests: Vec<_> = guests.map(|session| (session.to_string(), session.id)).collect();
        if guests.len() != self.guests.len()
            || guests.iter().any(|(name, id)| self.guests.owner(name) != Some(*id))
        {
            return Err(format!("I12: {guests:?} are called by numbers, {} are taken", self.guests.len()));
        }
        if self.rooms.len() > self.config.rooms_max.max(1) {
            return Err(format!("I5: {} rooms", self.rooms.len()));
        }
        Ok(())
    }

    fn check_session(&self, session: &Session) -> Result<(), String> {
        let name = format!("session {}", session.id.serial());
        for membership in session.memberships() {
            let Some(room) = self.rooms.get(membership.room.index()) else {
                return Err(format!("I12: {name} is a member of a room that is gone"));
            };
            if room.members().get(membership.index as usize).map(|slot| *slot as usize)
                != Some(session.id.slot())
            {
                return Err(format!("I12: {name} is not where it should be in room {}", room.name));
            }
            if membership.cursor.offset > room.log.end().offset {
                return Err(format!("I11: {name} is beyond the end of room {}", room.name));
            }
            check_boundary(&room.log, membership.cursor.offset)
                .map_err(|what| format!("{what}: {name} in room {}", room.name))?;
            let is_following = !room.lagging().iter().any(|slot| *slot as usize == session.id.slot());
            if is_following && membership.cursor.offset < room.log.base().offset {
                return Err(format!("I11: {name} follows room {}, and was overtaken", room.name));
            }
            let lacks = membership.cursor.offset < room.log.end().offset;
            if lacks && is_following && room.flush == Flush::Idle && !session.is_ready {
                return Err(format!("I10: {name} lacks what was said in {}, and nobody walks", room.name));
            }
        }
        if session.is_ready != self.ready.contains(&session.id) {
            return Err(format!("I10: {name} and the ready queue do not agree"));
        }
        let has_outbox = session.extras.as_ref().is_some_and(|extras| !extras.outbox.is_empty());
        if has_outbox && !session.is_ready && !session.is_lagging && !self.is_due_later(session) {
            return Err(format!("I10: replies wait for {name}, and nobody writes them"));
        }
        if session.is_leaving() && session.memberships().next().is_some() {
            return Err(format!("I12: {name} is leaving, and still a member"));
        }
        let waker = match session.pause {
            Pause::None => true,
            Pause::Rate => self.deadlines.iter().any(|timer| *timer == Timer::Refill(session.id)),
            Pause::Output => {
                has_outbox || session.extras.as_ref().is_some_and(|extras| !extras.skips.is_empty())
            }
            Pause::Room => self.rooms.iter().any(|(_, room)| {
                room.waiting.contains(&session.id) && (room.flush != Flush::Idle || room.wait.is_some())
            }),
        };
        if !waker {
            return Err(format!("I10: {name} is paused ({:?}), and nobody will wake it", session.pause));
        }
        if session.bytes_out > 0 && session.is_console() && self.console != Some(session.id) {
            return Err(format!("I12: {name} is a console that the chat does not know"));
        }
        Ok(())
    }

    /// Whether the first reply waits for a part of a log that is on its way, or about to be announced.
    fn is_due_later(&self, session: &Session) -> bool {
        let front = session.extras.as_ref().and_then(|extras| extras.outbox.front());
        front.and_then(|item| item.due).is_some_and(|(room, offset)| {
            session.membership(room).is_some_and(|membership| membership.cursor.offset < offset)
                && self
                    .rooms
                    .get(room.index())
                    .is_some_and(|room| room.flush != Flush::Idle || room.is_announcing)
        })
    }

    fn check_room(&self, room: &Room) -> Result<(), String> {
        room.check().map_err(|what| format!("{what} in room {}", room.name))?;
        if room.log.end().offset - room.log.base().offset > self.config.log_bytes_max as u64 {
            return Err(format!("I5: the log of room {} is longer than it may be", room.name));
        }
        let watchers = room.members().iter().filter_map(|slot| self.sessions.at(*slot as usize));
        if watchers.filter(|session| session.is_console()).count() != room.watchers {
            return Err(format!("I12: room {} has {} watchers, so it says", room.name, room.watchers));
        }
        let members = room.members().iter().filter_map(|slot| self.sessions.at(*slot as usize));
        let listeners = members.filter(|session| !session.is_console() && !session.is_present).count();
        if listeners != room.listeners {
            return Err(format!("I12: room {} has {} listeners, so it says", room.name, room.listeners));
        }
        if (room.flush == Flush::Queued) != self.walking.contains(&room.id) {
            return Err(format!("I10: room {} is {:?}, and the walks do not agree", room.name, room.flush));
        }
        if room.flush == Flush::Held && !self.deadlines.iter().any(|timer| *timer == Timer::Flush(room.id)) {
            return Err(format!("I10: room {} is held back, and nothing ends that", room.name));
        }
        Ok(())
    }
}

/// A reader stands where a record begins, or at the end.
fn check_boundary(log: &Log, offset: u64) -> Result<(), String> {
    if offset < log.base().offset || log.cursor_at(offset).offset == offset {
        return Ok(());
    }
    Err("I11: a cursor is inside a record".into())
}
