//! Joining, leaving and posting: what changes a room, and who has to wait for whom.

use std::fmt::Write as _;
use std::rc::Rc;

use crate::engine::{ConnectionId, Moment, Now, Reason};
use crate::limits;
use crate::sabotage::sabotaged;

use super::closes::Met;
use super::config::SlowPolicy;
use super::input::Flow;
use super::limit::Limit;
use super::log::Kind;
use super::outbox::{Skip, Span};
use super::render::{self, Message};
use super::rolls::Rolls;
use super::room::{Flush, Room, SHRINK_AFTER};
use super::room_id::RoomId;
use super::session::{Extras, Membership, Pause};
use super::{Chat, FIRST_ROOM, RoomTimers, Timer};

impl Chat {
    /// Makes the session a member of a room, which becomes its current one, and shows it the history.
    pub(super) fn enter(&mut self, id: ConnectionId, room_id: RoomId) {
        let Some(room) = self.rooms.get_mut(room_id.index()) else { return };
        let Some(session) = self.sessions.get_mut(id) else { return };
        let end = room.log.end();
        let history = room.log.last_messages(self.config.history_messages);
        let is_watcher = session.is_console();
        if !is_watcher && history.messages < end.messages {
            let last = render::count(end.messages - history.messages, "message");
            let is_raw = self.config.is_raw();
            let outbox = &mut session.extras_mut().outbox;
            if !is_raw {
                outbox.push_text(None, format!("-- history: the last {last} --\n").as_bytes());
            }
            outbox.push_span(Span { room: room_id, cursor: history, to: end, is_history: true });
            if !is_raw {
                outbox.push_text(None, b"-- end of history --\n");
            }
            room.pin(id, history.offset, 1);
        }
        let index = room.add(id, &mut self.sessions);
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.enter(Membership { room: room_id, index, cursor: end, is_told: false });
        if is_watcher {
            room.watchers += 1;
        } else if session.is_present {
            self.announce_joining(id, room_id);
        } else {
            room.listeners += 1;
        }
        self.make_ready(id);
    }

    /// Takes the session out of a room. What it was still due there stays due to it, if it is kept.
    pub(super) fn leave_room(&mut self, now: Now, id: ConnectionId, room_id: RoomId, keeps_unread: bool) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Some(membership) = session.remove(room_id) else { return };
        let (is_watcher, is_present) = (session.is_console(), session.is_present);
        let name = session.to_string();
        let Some(room) = self.rooms.get_mut(room_id.index()) else { return };
        room.remove(membership.index, &mut self.sessions);
        let Some(session) = self.sessions.get_mut(id) else { return };
        let end = room.log.end();
        let due_to = if keeps_unread && !sabotaged!(DropUnreadOnLeave) { end } else { membership.cursor };
        if session.extras.is_some() || membership.cursor.offset < due_to.offset {
            let Extras { outbox, skips, .. } = session.extras_mut();
            let skips_here: Vec<Skip> = skips.iter().filter(|skip| skip.room == room_id).copied().collect();
            skips.retain(|skip| skip.room != room_id);
            let spans = outbox.release_room(room_id, membership.cursor, due_to, &room.log, &skips_here);
            room.pin(id, membership.cursor.offset, spans);
        }
        if is_watcher {
            room.watchers -= 1;
        } else if !is_present {
            room.listeners -= 1;
        }
        room.waiting.retain(|waiting| *waiting != id);
        if room.waiting.is_empty() {
            room.wait = None;
        }
        if membership.is_told || (sabotaged!(TellUntoldLeave) && is_present && !is_watcher) {
            self.announce_leaving(id, room_id, name);
        }
        self.make_ready(id);
        self.resume_waiting(room_id);
        self.retire_if_empty(now.moment, room_id);
    }

    /// Takes the session out of all its rooms, and frees its nick.
    pub(super) fn leave_rooms(&mut self, now: Now, id: ConnectionId, reason: Reason) {
        // Nothing is due to a socket that is gone, nor does anyone wait for one who was too slow.
        let is_due =
            !matches!(reason, Reason::Reset | Reason::TimedOut | Reason::SystemError | Reason::TooSlow);
        while let Some(room) =
            self.sessions.get(id).and_then(|session| session.memberships().next()).map(|m| m.room)
        {
            self.leave_room(now, id, room, is_due);
        }
        if let Some(number) = self.sessions.get(id).and_then(|session| session.guest)
            && !sabotaged!(KeepGuestNumber)
        {
            self.guests.release(number);
        }
        if let Some(nick) = self.sessions.get(id).and_then(|session| session.nick())
            && !sabotaged!(KeepNick)
        {
            self.names.release(nick, id);
        }
    }

    /// The room of this name, made where there is none. `Err`: there are as many as there may be.
    pub(super) fn room_named(&mut self, name: &str) -> Result<RoomId, &'static str> {
        if let Some(id) = self.room_ids.get(name) {
            return Ok(*id);
        }
        if self.rooms.len() >= self.config.rooms_max {
            // A room that is only a memory makes way for one that somebody wants.
            let forgotten = self
                .rooms
                .iter()
                .map(|(_, room)| room)
                .filter(|room| room.readers() == 0 && !room.is_pinned() && room.id != self.first_room)
                .min_by_key(|room| (room.empty_since, room.id))
                .map(|room| room.id);
            match forgotten {
                Some(room) => self.forget_room(room),
                None => {
                    self.counters.limits_met.count(Limit::Rooms);
                    return Err("all rooms are taken (--max-rooms); join one of /rooms");
                }
            }
        }
        let entry = self.rooms.vacant_entry();
        let id = RoomId::new(entry.key());
        entry.insert(Room::new(id, name, &format!("[{name}] "), self.config.log_bytes_max));
        self.room_ids.insert(name.into(), id);
        Ok(id)
    }

    /// Appends what a person said to a room, or makes the person wait until there is space.
    pub(super) fn post(
        &mut self,
        now: Now,
        id: ConnectionId,
        room_id: RoomId,
        text: &[u8],
        is_action: bool,
    ) -> Flow {
        // Its joining is the first of the notices.
        if self.arrive(id) == Flow::Wait {
            return Flow::Wait;
        }
        let is_announced = self.rooms.get(room_id.index()).is_some_and(|room| !room.has_news());
        if !is_announced && !sabotaged!(SayBeforeNotices) && !self.announce_in(now, room_id) {
            return self.wait_for_room(id, room_id);
        }
        let Some(room) = self.rooms.get_mut(room_id.index()) else { return Flow::Done };
        let Some(session) = self.sessions.get(id) else { return Flow::Done };
        if session.is_leaving() {
            // Announcing closed the slow, and this was one of them.
            return Flow::Done;
        }
        if self.named != Some(id) {
            self.named = Some(id);
            self.name.clear();
            // A String takes all that is written to it.
            let _ = write!(self.name, "{session}");
        }
        let time = self.stamp.at(now.unix_s);
        let tag = Rc::clone(&room.tag);
        let message = Message { time, tag: &tag, name: &self.name, text, is_action };
        let parts = message.parts(self.config.format);
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let waits_for_lagging = matches!(self.config.slow, SlowPolicy::Wait(_));
        if !room.has_space(length, waits_for_lagging, &self.sessions) {
            self.wait_for_space(now, id, room_id, length);
            return Flow::Wait;
        }
        let from = room.log.end().offset;
        room.append(Kind::Message, &parts);
        let to = room.log.end().offset;
        self.counters.records += 1;
        if !self.config.echo {
            self.skip(id, Skip { room: room_id, from, to, messages: 1 });
        }
        self.flush_room(now, room_id);
        Flow::Done
    }

    /// Leaves a part of the log out of what the session is sent.
    pub(super) fn skip(&mut self, id: ConnectionId, skip: Skip) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let skips = &mut session.extras_mut().skips;
        let has_many = skips.len() >= limits::SKIPPED_SPANS_MAX;
        match skips.back_mut() {
            Some(last) if last.room == skip.room && last.to == skip.from => {
                last.to = skip.to;
                last.messages += skip.messages;
            }
            // Who has that many may as well read a notice of what it did itself.
            _ if skip.messages == 0 && has_many => {
                #[cfg(any(test, feature = "simulation"))]
                self.hint(super::Hint::NotSkipped);
            }
            _ => skips.push_back(skip),
        }
    }

    /// Something was appended: everyone who follows is to be written to.
    pub(super) fn flush_room(&mut self, now: Now, room_id: RoomId) {
        let Some(room) = self.rooms.get_mut(room_id.index()) else { return };
        if room.flush == Flush::Idle {
            if self.config.coalesce.is_zero() {
                self.begin_walk(room_id);
            } else {
                room.flush = Flush::Held;
                self.set_room_timer(now.moment + self.config.coalesce, room_id, Timer::Flush(room_id));
            }
        }
        // Last: a room that is left by its last member drops what nobody is on the way to.
        if self.config.slow == SlowPolicy::Close
            && let Some(room) = self.rooms.get_mut(room_id.index())
        {
            for slow in room.overtaken(&self.sessions) {
                self.close_slow(now, slow);
            }
        }
    }

    /// Begins to write to everyone who follows the room.
    pub(super) fn begin_walk(&mut self, room_id: RoomId) {
        let Some(room) = self.rooms.get_mut(room_id.index()) else { return };
        if room.flush != Flush::Queued && room.has_unflushed() {
            room.flush = Flush::Queued;
            room.begin_walk();
            self.walking.push_back(room_id);
        }
    }

    /// The sender waits: for the walk under way, or for the slow where the policy says so.
    fn wait_for_space(&mut self, now: Now, id: ConnectionId, room_id: RoomId, length: usize) {
        // What `--coalesce` holds back takes the space.
        self.begin_walk(room_id);
        self.wait_for_room(id, room_id);
        let Some(room) = self.rooms.get_mut(room_id.index()) else { return };
        if let SlowPolicy::Wait(patience) = self.config.slow
            && room.wait.is_none()
            && !room.holding_up(length, &self.sessions).is_empty()
        {
            let until = now.moment + patience;
            room.wait = Some((until, length));
            self.set_room_timer(until, room_id, Timer::Wait(room_id));
        }
    }

    /// The room may have space: its waiting senders try again, in their order.
    pub(super) fn resume_waiting(&mut self, room_id: RoomId) {
        let Some(room) = self.rooms.get_mut(room_id.index()) else { return };
        if room.waiting.is_empty() || sabotaged!(ForgetWaiting) {
            return;
        }
        if let Some((_, length)) = room.wait {
            if !room.has_space(length, true, &self.sessions) {
                return;
            }
            room.wait = None;
        }
        for id in std::mem::take(&mut room.waiting) {
            self.resume(id, Pause::Room);
        }
    }

    /// The senders waited long enough for the slow.
    pub(super) fn end_wait(&mut self, now: Now, room_id: RoomId) {
        let Some(room) = self.rooms.get_mut(room_id.index()) else { return };
        let Some((until, length)) = room.wait else { return };
        if until > now.moment {
            // The wait that the deadline was set for is over, and another began.
            self.set_room_timer(until, room_id, Timer::Wait(room_id));
            return;
        }
        room.wait = None;
        for slow in room.holding_up(length, &self.sessions) {
            self.close_slow(now, slow);
        }
        self.resume_waiting(room_id);
    }

    fn close_slow(&mut self, now: Now, id: ConnectionId) {
        let Some(session) = self.sessions.get(id) else { return };
        let met = Met { limit: Limit::Slow, value: self.unread_bytes(session) + self.due_bytes(session) };
        let Some(session) = self.sessions.get_mut(id) else { return };
        let is_leaving = session.is_leaving();
        // Nobody waits any longer for what it has not read.
        let spans = session.extras.as_mut().map_or(Vec::new(), |extras| extras.outbox.drop_spans());
        if is_leaving && !spans.is_empty() {
            #[cfg(any(test, feature = "simulation"))]
            self.hint(super::Hint::Dropped(id));
            self.counters.limits_met.count(Limit::Slow);
            self.tell(id, "you read too slowly: the rest of what was said is dropped (--slow)");
        }
        for room in spans {
            self.unpin(now.moment, id, room);
        }
        if !is_leaving {
            self.close_for(now, id, Reason::TooSlow, met, "you read too slowly: closing (--slow)");
        }
    }

    /// Sets a deadline for a room, where none of its kind is set.
    fn set_room_timer(&mut self, at: Moment, room_id: RoomId, timer: Timer) {
        let slot = room_id.index();
        if self.room_timers.len() <= slot {
            self.room_timers.resize_with(slot + 1, RoomTimers::default);
        }
        if let Some(is_set) = self.room_timers[slot].of(timer)
            && !std::mem::replace(is_set, true)
        {
            self.deadlines.set(at, timer);
        }
    }

    /// A span no longer reads the room's log.
    pub(super) fn unpin(&mut self, now: Moment, id: ConnectionId, room_id: RoomId) {
        if let Some(room) = self.rooms.get_mut(room_id.index()) {
            room.unpin(id);
            self.resume_waiting(room_id);
            self.shrink_later(now, room_id);
            self.retire_if_empty(now, room_id);
        }
    }

    /// A room without members keeps its history and nothing else; without a history, it goes.
    pub(super) fn retire_if_empty(&mut self, now: Moment, room_id: RoomId) {
        let Some(room) = self.rooms.get_mut(room_id.index()) else { return };
        if room.readers() > 0 || room.is_pinned() {
            return;
        }
        room.empty_since = now;
        room.rolls = Rolls::default();
        #[cfg(any(test, feature = "simulation"))]
        self.hint_of(room_id, super::Hint::Unrolled);
        let Some(room) = self.rooms.get_mut(room_id.index()) else { return };
        if room.flush != Flush::Idle {
            // A console that watches still has to see the end; the walk's end comes back here.
            return;
        }
        room.trim(self.config.history_messages);
        room.shrink();
        if room_id != self.first_room && room.log.messages().min(self.config.history_messages) == 0 {
            self.forget_room(room_id);
        }
    }

    fn forget_room(&mut self, room_id: RoomId) {
        // Consoles that watch are no people: they do not keep a room alive.
        let Some(room) = self.rooms.try_remove(room_id.index()) else { return };
        for slot in room.members() {
            if let Some(session) = self.sessions.at_mut(*slot as usize) {
                let membership = session.remove(room_id);
                if let (Some(membership), Some(extras)) = (membership, &mut session.extras) {
                    let cursor = membership.cursor;
                    extras.outbox.release_room(room_id, cursor, cursor, &room.log, &[]);
                }
            }
        }
        debug_assert_ne!(&*room.name, FIRST_ROOM);
        #[cfg(any(test, feature = "simulation"))]
        self.hint(super::Hint::Forgot(room.name.clone()));
        self.room_ids.remove(&room.name);
        self.walking.retain(|walking| *walking != room_id);
        self.announcing.retain(|announcing| *announcing != room_id);
        for id in room.waiting {
            self.resume(id, Pause::Room);
        }
    }

    /// Looks later whether a burst's memory can be given back.
    pub(super) fn shrink_later(&mut self, now: Moment, room_id: RoomId) {
        if let Some(room) = self.rooms.get(room_id.index())
            && room.may_shrink()
        {
            self.set_room_timer(now + SHRINK_AFTER, room_id, Timer::Shrink(room_id));
        }
    }

    /// Gives back a burst's memory, once it is a while ago.
    pub(super) fn shrink(&mut self, room_id: RoomId) {
        if let Some(room) = self.rooms.get_mut(room_id.index()) {
            room.trim(self.config.history_messages);
            room.shrink();
        }
    }

    /// Checks that `name` can be a room's: letters and digits of any script, and `_`, `-`, `.` and `+`.
    pub(super) fn check_room_name(name: &str) -> Result<(), String> {
        if name.is_empty() || name.len() > limits::ROOM_NAME_BYTES_MAX {
            return Err(format!("a room's name has 1 to {} bytes", limits::ROOM_NAME_BYTES_MAX));
        }
        match name.chars().find(|c| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.' | '+')) {
            Some(bad) => Err(format!("a room's name has letters, digits and _-.+ only, not '{bad}'")),
            None => Ok(()),
        }
    }
}
