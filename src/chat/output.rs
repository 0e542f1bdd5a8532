//! Output: who is written to next, and what.
//!
//! The order for one session is its outbox and its rooms' logs, merged: an item of the outbox that is due
//! at an offset waits until the cursor is there, and stops the cursor there. Everything is offered as
//! slices of the log or of the outbox; nothing is copied, but for the rest of a record that a full
//! socket cut in two: the log may drop that record before the socket has room.

use crate::engine::{ConnectionId, Now, Output, Written};
use crate::sabotage::sabotaged;

use super::limit::Limit;
use super::log::{Cursor, Log};
use super::outbox::{Content, Skip};
use super::room::Flush;
use super::room_id::RoomId;
use super::session::Extras;
use super::{Chat, render};

/// What was offered to the socket last, to be counted as written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Offered {
    /// Nothing waits.
    Nothing,
    /// The outbox's front text.
    Text,
    /// The outbox's front span, from its cursor to this offset.
    Span { room: RoomId, from: u64, to: u64 },
    /// A room's log, from the session's cursor to this offset.
    Log { room: RoomId, from: u64, to: u64 },
}

impl Chat {
    /// The next session that can be written to. Sessions with output of their own come first: they
    /// are at most as many as were heard in this turn. Then come the rooms, each in its turn, and only
    /// a few members of them in a turn of the loop.
    pub(super) fn next_ready(&mut self, now: Now) -> Option<ConnectionId> {
        while let Some(id) = self.ready.pop_front() {
            if let Some(session) = self.sessions.get_mut(id) {
                session.is_ready = false;
                return Some(id);
            }
        }
        while let Some(id) = self.walking.front().copied() {
            let Some(room) = self.rooms.get_mut(id.index()) else {
                self.walking.pop_front();
                continue;
            };
            if self.walk_flushes_left == 0 {
                return None;
            }
            if let Some(session) = room.next_of_walk(&self.sessions) {
                self.walk_flushes_left -= 1;
                return Some(session);
            }
            self.walking.pop_front();
            if room.has_unflushed() {
                room.begin_walk();
                self.walking.push_back(id);
            } else {
                room.flush = Flush::Idle;
                room.trim(self.config.history_messages);
                self.shrink_later(now.moment, id);
            }
            self.resume_waiting(id);
            self.retire_if_empty(now.moment, id);
        }
        None
    }

    /// What is due to this session next.
    pub(super) fn offer(&mut self, now: Now, id: ConnectionId) -> Output<'_> {
        self.offered = self.next_offer(now, id);
        match self.offered {
            Offered::Nothing => Output::default(),
            Offered::Text => {
                let extras = self.sessions.get(id).and_then(|session| session.extras.as_ref());
                Output::one(extras.map_or(&[], |extras| extras.outbox.front_text()))
            }
            Offered::Span { room, from, to } | Offered::Log { room, from, to } => {
                self.rooms.get(room.index()).map_or(Output::default(), |room| room.log.slice(from, to))
            }
        }
    }

    fn next_offer(&mut self, now: Now, id: ConnectionId) -> Offered {
        loop {
            let Some(session) = self.sessions.get(id) else { return Offered::Nothing };
            // The first item of the outbox, or where its time comes.
            let mut stop = None;
            if let Some(item) = session.extras.as_ref().and_then(|extras| extras.outbox.front()) {
                stop = item.due.filter(|(room, offset)| {
                    session.membership(*room).is_some_and(|membership| membership.cursor.offset < *offset)
                });
                if stop.is_none() || sabotaged!(ReplyOutOfOrder) {
                    match &item.content {
                        Content::Text(_) => return Offered::Text,
                        Content::Span(_) => match self.next_of_span(now, id) {
                            Some(offered) => return offered,
                            None => continue,
                        },
                    }
                }
            }
            let Some((room, cursor)) = self.next_room(id, stop) else {
                match stop {
                    None => self.caught_up(now, id),
                    Some((room, _)) => self.follow_only(id, room),
                }
                return Offered::Nothing;
            };
            if let Some(offered) = self.next_of_log(now, id, room, cursor, stop) {
                return offered;
            }
        }
    }

    /// The first of the session's rooms that has something for it before `stop`.
    fn next_room(&self, id: ConnectionId, stop: Option<(RoomId, u64)>) -> Option<(RoomId, Cursor)> {
        let session = self.sessions.get(id)?;
        // What waits in the outbox behind that stop comes before what any other room says now.
        let mut rooms = session.memberships().filter(|m| stop.is_none_or(|(room, _)| room == m.room));
        rooms.find_map(|membership| {
            let room = self.rooms.get(membership.room.index())?;
            let limit = limit_of(membership.room, room.log.end().offset, stop);
            (membership.cursor.offset < limit).then_some((membership.room, membership.cursor))
        })
    }

    /// The next part of a room's log; `None` where the cursor only moved, and one has to look again.
    fn next_of_log(
        &mut self,
        now: Now,
        id: ConnectionId,
        room: RoomId,
        cursor: Cursor,
        stop: Option<(RoomId, u64)>,
    ) -> Option<Offered> {
        let log = &self.rooms.get(room.index())?.log;
        let session = self.sessions.get_mut(id)?;
        if cursor.offset < log.base().offset {
            let base = log.base();
            session.membership_mut(room)?.cursor = base;
            let own = session.extras.as_mut().map_or(0, |extras| lose_skips(extras, room, log));
            self.tell_missed(now, id, room, (base.messages - cursor.messages).saturating_sub(own));
            return None;
        }
        let limit = limit_of(room, log.end().offset, stop);
        let (from, to) = match &mut session.extras {
            Some(extras) => clip(extras, room, cursor.offset, limit),
            None => (cursor.offset, limit),
        };
        if from > cursor.offset {
            let passed = log.cursor_at(from);
            session.membership_mut(room)?.cursor = passed;
            if let Some(extras) = &mut session.extras {
                extras.skips.retain(|skip| skip.room != room || skip.to > from);
                // A reply can be due in the middle of a skip: what lies before it must not be left out of a
                // gap again.
                for skip in extras.skips.iter_mut().filter(|skip| skip.room == room && skip.from < from) {
                    skip.messages = skip.messages.saturating_sub(passed.messages - cursor.messages);
                    skip.from = from;
                }
            }
            return None;
        }
        Some(Offered::Log { room, from, to })
    }

    /// The next part of the span at the outbox's front; `None` where it ended or only moved.
    fn next_of_span(&mut self, now: Now, id: ConnectionId) -> Option<Offered> {
        let extras = self.sessions.get_mut(id)?.extras.as_mut()?;
        let span = *extras.outbox.front_span_mut()?;
        let log: Option<&Log> = self.rooms.get(span.room.index()).map(|room| &room.log);
        let Some(log) = log.filter(|_| span.cursor.offset < span.to.offset) else {
            extras.outbox.pop_front();
            self.unpin(now.moment, id, span.room);
            return None;
        };
        if span.cursor.offset < log.base().offset {
            let next = if log.base().offset < span.to.offset { log.base() } else { span.to };
            extras.outbox.front_span_mut()?.cursor = next;
            self.tell_missed(now, id, span.room, next.messages - span.cursor.messages);
            return None;
        }
        let (from, to) = if span.is_history {
            log.next_messages(span.cursor.offset, span.to.offset)
        } else {
            (span.cursor.offset, span.to.offset)
        };
        if from > span.cursor.offset {
            extras.outbox.front_span_mut()?.cursor = log.cursor_at(from);
            return None;
        }
        Some(Offered::Span { room: span.room, from, to })
    }

    /// Tells a slow reader, before anything that comes after, how much it missed.
    fn tell_missed(&mut self, now: Now, id: ConnectionId, room: RoomId, messages: u64) {
        // What was lost may have been notices, which are no messages.
        if messages == 0 || sabotaged!(ForgetGap) {
            return;
        }
        self.counters.missed += messages;
        self.counters.limits_met.count(Limit::ReaderLag);
        let missed = render::count(messages + u64::from(sabotaged!(MiscountGap)), "message");
        let place = match self.rooms.get(room.index()) {
            Some(other) if room != self.first_room => format!(" in {}", other.name),
            _ => String::new(),
        };
        if let Some(session) = self.sessions.get_mut(id) {
            let text = format!("-- you missed {missed}{place} --\n");
            session.extras_mut().outbox.push_front(text.into_bytes());
            self.journal.missed(now, session, messages);
        }
    }

    /// Counts what the socket took of what was offered.
    pub(super) fn take_written(&mut self, id: ConnectionId, bytes: usize, written: Written) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.bytes_out += bytes as u64;
        if !session.is_console() {
            self.counters.bytes_out += bytes as u64;
        }
        match std::mem::replace(&mut self.offered, Offered::Nothing) {
            Offered::Text if bytes > 0 => {
                session.extras_mut().outbox.advance(bytes);
            }
            Offered::Log { room, from, to } if bytes > 0 => {
                let Some(log) = self.rooms.get(room.index()).map(|room| &room.log) else { return };
                let written = if sabotaged!(AdvanceByOffered) { to } else { from + bytes as u64 };
                let (cursor, rest) = split_at(log, written, to);
                if let Some(membership) = session.membership_mut(room) {
                    self.counters.deliveries += cursor.messages - membership.cursor.messages;
                    membership.cursor = cursor;
                }
                if let Some(rest) = rest.filter(|_| !sabotaged!(DropTornRest)) {
                    let outbox = &mut session.extras_mut().outbox;
                    if sabotaged!(ReplyInsideRecord) {
                        outbox.push_text(None, &rest);
                    } else {
                        outbox.push_front(rest);
                    }
                }
            }
            Offered::Span { room, from, to } if bytes > 0 => {
                let Some(log) = self.rooms.get(room.index()).map(|room| &room.log) else { return };
                let (cursor, rest) = split_at(log, from + bytes as u64, to);
                let outbox = &mut session.extras_mut().outbox;
                if let Some(span) = outbox.front_span_mut() {
                    self.counters.deliveries += cursor.messages - span.cursor.messages;
                    span.cursor = cursor;
                }
                if let Some(rest) = rest {
                    outbox.push_front(rest);
                }
            }
            _ => {}
        }
        let was_lagging = session.is_lagging;
        if written == Written::Blocked && !was_lagging {
            self.counters.limits_met.count(Limit::Unsent);
        }
        match written {
            Written::All => {}
            Written::Blocked | Written::OutOfBudget => self.lag(id),
        }
        // Who takes everything is resumed once it has it all: see `caught_up`.
        if written != Written::All {
            self.resume_reader(id);
        }
        if was_lagging && bytes > 0 {
            self.resume_waiting_for(id);
        }
    }

    /// The session's socket is full: no room waits for it any more.
    fn lag(&mut self, id: ConnectionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.is_lagging = true;
        let places: Vec<_> = session.memberships().map(|m| (m.room, m.index, m.cursor.offset)).collect();
        for (room, index, offset) in places {
            if let Some(room) = self.rooms.get_mut(room.index()) {
                room.lag(index, offset, &mut self.sessions);
            }
        }
    }

    /// The session has everything: it follows its rooms again.
    fn caught_up(&mut self, now: Now, id: ConnectionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.settle();
        self.resume_reader(id);
        let Some(session) = self.sessions.get_mut(id) else { return };
        if !std::mem::replace(&mut session.is_lagging, false) || sabotaged!(ForgetFollow) {
            return;
        }
        let places: Vec<_> = session.memberships().map(|m| (m.room, m.index)).collect();
        for (room, index) in places {
            if let Some(followed) = self.rooms.get_mut(room.index()) {
                followed.follow(index, &mut self.sessions);
                self.shrink_later(now.moment, room);
            }
        }
        self.resume_waiting_for(id);
    }

    /// What is due to the session next comes behind an announcement that its room has no space for yet. Until
    /// then it takes nothing of its other rooms, which must not count on it.
    fn follow_only(&mut self, id: ConnectionId, only: RoomId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.is_lagging = true;
        let places: Vec<_> = session.memberships().map(|m| (m.room, m.index, m.cursor.offset)).collect();
        for (room_id, index, offset) in places {
            let Some(room) = self.rooms.get_mut(room_id.index()) else { continue };
            if room_id == only {
                room.follow(index, &mut self.sessions);
            } else {
                room.lag(index, offset, &mut self.sessions);
            }
        }
    }

    /// Senders who wait for this slow reader may have space now.
    fn resume_waiting_for(&mut self, id: ConnectionId) {
        let Some(session) = self.sessions.get(id) else { return };
        let spans = session.extras.iter().flat_map(|extras| extras.outbox.spans());
        let rooms: Vec<RoomId> = session
            .memberships()
            .map(|membership| membership.room)
            .chain(spans.map(|span| span.room))
            .collect();
        for room in rooms {
            self.resume_waiting(room);
        }
    }
}

/// Forgets the skips, or their parts, that fell off the log. Returns the messages in them: nobody missed those,
/// they were not due.
fn lose_skips(extras: &mut Extras, room: RoomId, log: &Log) -> u64 {
    let base = log.base();
    let mut lost = 0;
    for skip in extras.skips.iter_mut().filter(|skip| skip.room == room && skip.from < base.offset) {
        let before = skip.messages_before_base(log);
        lost += before;
        skip.messages -= before;
        skip.from = base.offset;
    }
    extras.skips.retain(|skip| skip.room != room || skip.to > base.offset);
    lost
}

/// Where reading `room` has to stop: at its end, or where the outbox's turn comes.
fn limit_of(room: RoomId, end: u64, stop: Option<(RoomId, u64)>) -> u64 {
    match stop {
        Some((stop_room, offset)) if stop_room == room => end.min(offset),
        _ => end,
    }
}

/// The cursor after reading up to `offset` of what ends at `to`, and the rest of a torn record.
fn split_at(log: &Log, offset: u64, to: u64) -> (Cursor, Option<Vec<u8>>) {
    let cursor = log.cursor_at(offset);
    debug_assert!(cursor.offset <= to || offset == to);
    let rest = (cursor.offset > offset).then(|| log.slice(offset, cursor.offset).parts.concat());
    (cursor, rest)
}

/// The first stretch of `from..to` that the session is sent: what it skips is left out and forgotten.
fn clip(extras: &mut Extras, room: RoomId, from: u64, to: u64) -> (u64, u64) {
    extras.skips.retain(|skip| skip.room != room || skip.to > from && !sabotaged!(ForgetSkip));
    match extras.skips.iter().find(|skip| skip.room == room) {
        Some(Skip { from: skip_from, to: skip_to, .. }) if *skip_from <= from => (to.min(*skip_to), to),
        Some(Skip { from: skip_from, .. }) => (from, to.min(*skip_from)),
        None => (from, to),
    }
}
