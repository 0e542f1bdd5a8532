//! Joins, leaves and new names: when the others are told, and where a reply stands among that.
//!
//! What happens in a room is told in the order in which it happened. Who joins and leaves within a turn shares a
//! line, which ends with the turn, or as soon as something else is to come behind it: a message, a new name, a
//! reply. Where the log has no space for it yet, it waits, and so does what comes behind.

use crate::engine::{ConnectionId, Now};
use crate::sabotage::sabotaged;

use super::Chat;
use super::config::Notices;
use super::input::Flow;
use super::limit::Limit;
use super::log::Kind;
use super::outbox::Skip;
use super::room::{Announcement, Room};
use super::room_id::RoomId;
use super::session::Pause;

impl Chat {
    /// Makes who only listened so far a member of its rooms that the others see; or makes it wait, where one of
    /// them is behind with announcements.
    pub(super) fn arrive(&mut self, id: ConnectionId) -> Flow {
        if self.sessions.get(id).is_none_or(|session| session.is_present) {
            return Flow::Done;
        }
        if self.wait_to_announce(id) == Flow::Wait {
            return Flow::Wait;
        }
        let Some(session) = self.sessions.get_mut(id) else { return Flow::Done };
        session.is_present = true;
        #[cfg(any(test, feature = "simulation"))]
        self.hint(super::Hint::Arrived(id));
        let Some(session) = self.sessions.get(id) else { return Flow::Done };
        let rooms: Vec<RoomId> = session.memberships().map(|membership| membership.room).collect();
        for room_id in rooms {
            if let Some(room) = self.rooms.get_mut(room_id.index()) {
                room.listeners -= 1;
                self.announce_joining(id, room_id);
            }
        }
        Flow::Done
    }

    /// Has a room told that the session joined, where joins are told.
    pub(super) fn announce_joining(&mut self, id: ConnectionId, room_id: RoomId) {
        let Some(room) = self.rooms.get_mut(room_id.index()) else { return };
        let Some(session) = self.sessions.get_mut(id) else { return };
        match self.config.notices_for(room.people()) {
            Notices::Off => return,
            Notices::TooMany => return self.counters.limits_met.count(Limit::NoticeMembers),
            Notices::Told => {}
        }
        if let Some(membership) = session.membership_mut(room_id) {
            membership.is_told = true;
        }
        let (name, fits) = (session.to_string(), room.rolls.join_fits());
        if !fits && !sabotaged!(MergeRolls) {
            self.turn_rolls(room_id);
        }
        if let Some(room) = self.rooms.get_mut(room_id.index()) {
            room.rolls.join(id, name);
            self.announce_soon(room_id);
        }
    }

    /// Has a room told that the session left, of whose joining it was told.
    pub(super) fn announce_leaving(&mut self, id: ConnectionId, room_id: RoomId, name: String) {
        let Some(room) = self.rooms.get(room_id.index()) else { return };
        if !room.rolls.leave_fits() && !sabotaged!(MergeRolls) {
            self.turn_rolls(room_id);
        }
        if let Some(room) = self.rooms.get_mut(room_id.index()) {
            room.rolls.leave(id, name);
            self.announce_soon(room_id);
        }
    }

    /// Says what is to be said at the end of the turn: who joined, who left, in one line each.
    pub(super) fn announce(&mut self, now: Now) {
        let mut rooms = std::mem::take(&mut self.announcing);
        rooms.sort_unstable();
        for room_id in rooms {
            let Some(room) = self.rooms.get_mut(room_id.index()) else { continue };
            room.is_announcing = false;
            if !self.announce_in(now, room_id) {
                self.announce_soon(room_id);
            }
        }
    }

    /// Has the room's announcements made at the end of the turn.
    pub(super) fn announce_soon(&mut self, room_id: RoomId) {
        if let Some(room) = self.rooms.get_mut(room_id.index())
            && !std::mem::replace(&mut room.is_announcing, true)
        {
            self.announcing.push(room_id);
        }
    }

    /// Appends what a room is about to announce, in the order in which it happened. False: the log has no space
    /// for all of it yet.
    pub(super) fn announce_in(&mut self, now: Now, room_id: RoomId) -> bool {
        loop {
            let Some(room) = self.rooms.get_mut(room_id.index()) else { return true };
            let Some(announcement) = room.announcements.pop_front() else {
                if room.rolls.is_empty() {
                    return true;
                }
                // Only now: while others wait for space, those who join and leave share a line.
                self.close_rolls(room_id);
                continue;
            };
            if !room.has_space(announcement.text.len(), false, &self.sessions) {
                room.announcements.push_front(announcement);
                self.begin_walk(room_id);
                return false;
            }
            #[cfg(any(test, feature = "simulation"))]
            self.hint_of(room_id, |room| super::Hint::Announced(room, announcement.text.as_bytes().into()));
            let Some(room) = self.rooms.get_mut(room_id.index()) else { return true };
            let from = room.log.end().offset;
            room.append(announcement.kind, &[announcement.text.as_bytes()]);
            let to = room.log.end().offset;
            self.counters.records += 1;
            if let Some(id) = announcement.except
                && self.sessions.get(id).is_some_and(|session| session.membership(room_id).is_some())
            {
                self.skip(id, Skip { room: room_id, from, to, messages: 0 });
            }
            self.flush_room(now, room_id);
        }
    }

    /// Has something said in a room at the end of the turn, after who joined and left so far.
    pub(super) fn announce_later(&mut self, room_id: RoomId, announcement: Announcement) {
        self.turn_rolls(room_id);
        if let Some(room) = self.rooms.get_mut(room_id.index()) {
            room.announcements.push_back(announcement);
            self.announce_soon(room_id);
        }
    }

    /// Has what comes next told behind who joined and who left so far.
    fn close_rolls(&mut self, room_id: RoomId) {
        self.turn_rolls(room_id);
        #[cfg(any(test, feature = "simulation"))]
        self.hint_of(room_id, super::Hint::Rolled);
    }

    /// Turns who joined and who left so far into announcements.
    fn turn_rolls(&mut self, room_id: RoomId) {
        let Some(room) = self.rooms.get_mut(room_id.index()) else { return };
        let is_told = !self.is_stopping && room.readers() > 0;
        let place = if room_id == self.first_room { String::new() } else { format!(" {}", room.name) };
        for (roll, verb) in std::mem::take(&mut room.rolls).in_order() {
            if is_told {
                room.announcements.push_back(Announcement {
                    kind: Kind::Notice,
                    text: format!("-- {} {verb}{place} --\n", roll.sentence()),
                    except: roll.only(),
                });
            }
        }
    }

    /// The place of a reply that is caused now: behind all that the session's current room said, and behind who
    /// came and went before. `None`: it is in no room.
    pub(super) fn place_of_reply(&mut self, id: ConnectionId) -> Option<(RoomId, u64)> {
        let session = self.sessions.get(id)?;
        let room_id = session.current.as_ref()?.room;
        let room = self.rooms.get(room_id.index())?;
        if !room.rolls.is_empty()
            && !session.is_console()
            && !room.is_behind_with_announcements()
            && !sabotaged!(ReplyBeforeNotices)
        {
            self.close_rolls(room_id);
        }
        self.place_behind_announcements(id)
    }

    /// The place behind all that the session's current room said, and waits to be announced there.
    pub(super) fn place_behind_announcements(&self, id: ConnectionId) -> Option<(RoomId, u64)> {
        let room_id = self.sessions.get(id)?.current.as_ref()?.room;
        let room = self.rooms.get(room_id.index())?;
        let announced: usize = room.announcements.iter().map(|waiting| waiting.text.len()).sum();
        Some((room_id, room.log.end().offset + announced as u64))
    }

    /// Makes who would have something announced in its rooms wait, where one is behind with that.
    pub(super) fn wait_to_announce(&mut self, id: ConnectionId) -> Flow {
        let Some(session) = self.sessions.get(id) else { return Flow::Done };
        let rooms: Vec<RoomId> = session.memberships().map(|membership| membership.room).collect();
        self.wait_for_announcements(id, rooms)
    }

    /// The same in all rooms.
    pub(super) fn wait_to_announce_everywhere(&mut self, id: ConnectionId) -> Flow {
        let rooms: Vec<RoomId> = self.rooms.iter().map(|(_, room)| room.id).collect();
        self.wait_for_announcements(id, rooms)
    }

    /// The same in these rooms.
    pub(super) fn wait_for_announcements(&mut self, id: ConnectionId, rooms: Vec<RoomId>) -> Flow {
        for room_id in rooms {
            if self.rooms.get(room_id.index()).is_some_and(Room::is_behind_with_announcements) {
                return self.wait_for_room(id, room_id);
            }
        }
        Flow::Done
    }

    /// The session's line waits until the room's log has space for it, or for what is to be announced before it.
    pub(super) fn wait_for_room(&mut self, id: ConnectionId, room_id: RoomId) -> Flow {
        let Some(room) = self.rooms.get_mut(room_id.index()) else { return Flow::Done };
        let Some(session) = self.sessions.get_mut(id) else { return Flow::Done };
        session.pause = Pause::Room;
        room.waiting.push(id);
        self.counters.limits_met.count(Limit::LogSpace);
        Flow::Wait
    }
}
