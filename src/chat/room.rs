//! A room: its log, and who reads it.
//!
//! The members are one list in two zones. The first `following` of them take what is posted as soon as
//! it is flushed; the others *lag*: their sockets are full, and posting does not touch them. A flush
//! walks the first zone from its end to its start, so that swapping a member out of it (its socket
//! filled up) only moves members that were visited already. Invariants:
//! `unvisited <= following <= members.len()`, each member's `Membership::index` is its index here,
//! and no append drops a byte at or after `flushed`, which every following member has got.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use crate::engine::{ConnectionId, Moment};
use crate::limits;

use super::log::{Kind, Log};
use super::rolls::Rolls;
use super::room_id::RoomId;
use super::session::Sessions;

/// Where the room stands between a post and everyone having it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Everyone who follows has everything.
    Idle,
    /// There is something new, which waits for more (`--coalesce`).
    Held,
    /// The walk is under way, or waits for its turn.
    Queued,
}

/// One room.
#[derive(Debug)]
pub struct Room {
    /// Its id.
    pub id: RoomId,
    /// Its name.
    pub name: Box<str>,
    /// What its messages are marked with, for members of several rooms: `[NAME] `, or nothing.
    pub tag: Rc<str>,
    /// What was said.
    pub log: Log,
    /// Where it stands between a post and everyone having it.
    pub flush: Flush,
    /// Who joined and left, to be said at the end of the turn.
    pub rolls: Rolls,
    /// What is to be said at the end of the turn, or before anything else is said, once the log has space for it.
    pub announcements: VecDeque<Announcement>,
    /// Senders whose lines wait for space in the log.
    pub waiting: Vec<ConnectionId>,
    /// Until when they wait for a member that lags, and the length of the record that waits.
    pub wait: Option<(Moment, usize)>,
    /// Whose outboxes have spans that read this log, and how many.
    pins: BTreeMap<ConnectionId, usize>,
    /// Consoles that watch: members that people do not see.
    pub watchers: usize,
    /// Members who only listen so far.
    pub listeners: usize,
    /// It is in the `announcing` list.
    pub is_announcing: bool,
    /// When its last member left.
    pub empty_since: Moment,
    members: Vec<u32>,
    following: usize,
    unvisited: usize,
    /// The log's end when the walk under way began.
    walk_end: u64,
    flushed: u64,
    /// A lower bound of the cursors of the lagging members, and of those with spans.
    lag_floor: u64,
}

/// A record that the server has to append.
#[derive(Debug)]
pub struct Announcement {
    /// What it counts as.
    pub kind: Kind,
    /// The record, with its line end.
    pub text: String,
    /// The one member that is not sent it, because it was told already.
    pub except: Option<ConnectionId>,
}

impl Room {
    /// An empty room.
    #[must_use]
    pub fn new(id: RoomId, name: &str, tag: &str, log_bytes_max: usize) -> Self {
        Room {
            id,
            name: name.into(),
            tag: tag.into(),
            log: Log::new(log_bytes_max),
            flush: Flush::Idle,
            rolls: Rolls::default(),
            announcements: VecDeque::new(),
            waiting: Vec::new(),
            wait: None,
            pins: BTreeMap::new(),
            watchers: 0,
            listeners: 0,
            empty_since: Moment::START,
            is_announcing: false,
            members: Vec::new(),
            following: 0,
            unvisited: 0,
            walk_end: 0,
            flushed: 0,
            lag_floor: u64::MAX,
        }
    }

    /// Slots of all members, in no order.
    #[must_use]
    pub fn members(&self) -> &[u32] {
        &self.members
    }

    /// Slots of the members whose sockets are full.
    #[must_use]
    pub fn lagging(&self) -> &[u32] {
        &self.members[self.following..]
    }

    /// Members that people see.
    #[must_use]
    pub fn people(&self) -> usize {
        self.readers() - self.listeners
    }

    /// Clients who get what is said: the people, and those who only listen.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.members.len() - self.watchers
    }

    /// Adds a member, who follows from the log's end, and returns its index.
    pub fn add(&mut self, id: ConnectionId, sessions: &mut Sessions) -> u32 {
        self.members.push(id.slot() as u32);
        let last = self.members.len() - 1;
        self.swap(self.following, last, sessions);
        self.following += 1;
        (self.following - 1) as u32
    }

    /// Takes out the member at `index`, whose session is a member no longer.
    pub fn remove(&mut self, index: u32, sessions: &mut Sessions) {
        let mut index = index as usize;
        if index < self.following {
            index = self.leave_following(index, sessions);
        }
        let last = self.members.len() - 1;
        self.swap(index, last, sessions);
        self.members.pop();
        if self.members.len() < self.members.capacity() / 4 {
            self.members.shrink_to(2 * self.members.len());
        }
    }

    /// The member's socket is full: posting passes it by.
    pub fn lag(&mut self, index: u32, offset: u64, sessions: &mut Sessions) {
        self.lag_floor = self.lag_floor.min(offset);
        if (index as usize) < self.following {
            self.leave_following(index as usize, sessions);
        }
    }

    /// The member has everything: it follows again.
    pub fn follow(&mut self, index: u32, sessions: &mut Sessions) {
        if index as usize >= self.following {
            self.swap(index as usize, self.following, sessions);
            self.following += 1;
        }
        if self.following == self.members.len() && self.pins.is_empty() {
            self.lag_floor = u64::MAX;
        }
    }

    /// Spans of the session's outbox read this log from `offset` on, `count` more of them.
    pub fn pin(&mut self, id: ConnectionId, offset: u64, count: usize) {
        if count > 0 {
            *self.pins.entry(id).or_default() += count;
        }
        self.lag_floor = self.lag_floor.min(offset);
    }

    /// One of the session's spans reads this log no more.
    pub fn unpin(&mut self, id: ConnectionId) {
        if let Some(count) = self.pins.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                self.pins.remove(&id);
            }
        }
    }

    /// Whether an outbox has a span that reads this log.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        !self.pins.is_empty()
    }

    /// Whether anything is to be announced before what is said next.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.announcements.is_empty() || !self.rolls.is_empty()
    }

    /// Whether so many announcements wait that what would add to them has to wait, too.
    #[must_use]
    pub fn is_behind_with_announcements(&self) -> bool {
        let bytes = self.announcements.iter().map(|waiting| waiting.text.len() + size_of::<Announcement>());
        bytes.sum::<usize>() >= limits::ANNOUNCEMENT_BYTES_MAX
    }

    /// Begins a walk over those who follow.
    pub fn begin_walk(&mut self) {
        self.unvisited = self.following;
        self.walk_end = self.log.end().offset;
    }

    /// The next member of the walk that lacks something; `None` ends the walk.
    pub fn next_of_walk(&mut self, sessions: &Sessions) -> Option<ConnectionId> {
        let end = self.log.end().offset;
        while self.unvisited > 0 {
            self.unvisited -= 1;
            let Some(session) = sessions.at(self.members[self.unvisited] as usize) else { continue };
            if session.membership(self.id).is_some_and(|membership| membership.cursor.offset < end) {
                return Some(session.id);
            }
        }
        self.flushed = self.walk_end;
        None
    }

    /// Whether there is more to flush than the walk that ended was for.
    #[must_use]
    pub fn has_unflushed(&self) -> bool {
        self.flushed < self.log.end().offset
    }

    /// Whether a record of `length` bytes can be appended without taking away what a following
    /// member has not got, nor, where senders wait for the slow, what a lagging one has not got.
    #[must_use]
    pub fn has_space(&mut self, length: usize, waits_for_lagging: bool, sessions: &Sessions) -> bool {
        let base = self.log.base_after(length);
        let flushed = if self.following == 0 { self.log.end().offset } else { self.flushed };
        if base > flushed {
            return false;
        }
        if waits_for_lagging && base > self.lag_floor {
            let behind = self.readers_behind(sessions).map(|(_, offset)| offset);
            self.lag_floor = behind.min().unwrap_or(u64::MAX);
        }
        !waits_for_lagging || base <= self.lag_floor
    }

    /// Appends a record. The caller asked [`Room::has_space`] before, and flushes after.
    pub fn append(&mut self, kind: Kind, parts: &[&[u8]]) {
        debug_assert!(
            self.following == 0
                || self.log.base_after(parts.iter().map(|part| part.len()).sum()) <= self.flushed
        );
        self.log.append(kind, parts);
    }

    /// The lagging members whose unread part has fallen off the log, looked for only when one has.
    pub fn overtaken(&mut self, sessions: &Sessions) -> Vec<ConnectionId> {
        let base = self.log.base().offset;
        if base <= self.lag_floor {
            return Vec::new();
        }
        let (overtaken, kept): (Vec<_>, Vec<_>) =
            self.lagging_clients(sessions).partition(|(_, offset)| *offset < base);
        self.lag_floor = kept.into_iter().map(|(_, offset)| offset).min().unwrap_or(u64::MAX);
        overtaken.into_iter().map(|(id, _)| id).collect()
    }

    /// Those whose unread part an append of `length` bytes would take away: they hold senders up that
    /// wait for the slow.
    #[must_use]
    pub fn holding_up(&self, length: usize, sessions: &Sessions) -> Vec<ConnectionId> {
        let base = self.log.base_after(length);
        let mut slow: Vec<ConnectionId> =
            self.readers_behind(sessions).filter(|(_, offset)| *offset < base).map(|(id, _)| id).collect();
        slow.sort_unstable();
        slow.dedup();
        slow
    }

    /// Whose spans read this log, and how many.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn pins(&self) -> impl Iterator<Item = (&ConnectionId, &usize)> {
        self.pins.iter()
    }

    /// What this file's head says must hold.
    ///
    /// # Errors
    /// The first thing that does not.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn check(&self) -> Result<(), String> {
        if self.unvisited > self.following || self.following > self.members.len() {
            let Room { unvisited, following, .. } = self;
            return Err(format!("I12: {unvisited} unvisited of {following} of {}", self.members.len()));
        }
        let is_overtaken = self.flush == Flush::Idle && self.log.base().offset > self.flushed;
        if self.flushed > self.log.end().offset || self.following > 0 && is_overtaken {
            return Err(format!("I11: flushed up to {}, kept from {:?}", self.flushed, self.log.base()));
        }
        Ok(())
    }

    /// Drops what nobody needs any more, where everyone has everything.
    pub fn trim(&mut self, history_messages: u64) {
        if self.flush == Flush::Idle && self.lagging().is_empty() && self.pins.is_empty() {
            self.log.trim_to_messages(history_messages);
        }
    }

    /// Whether a burst's memory may be left, which [`Room::shrink`] gives back.
    #[must_use]
    pub fn may_shrink(&self) -> bool {
        self.log.capacity_bytes() > SHRINK_BYTES_MIN
    }

    /// Gives back the memory that a burst had taken.
    pub fn shrink(&mut self) {
        self.log.shrink();
        self.waiting.shrink_to(0);
    }

    fn lagging_clients<'a>(
        &'a self,
        sessions: &'a Sessions,
    ) -> impl Iterator<Item = (ConnectionId, u64)> + 'a {
        self.lagging()
            .iter()
            .filter_map(|slot| sessions.at(*slot as usize))
            .filter(|session| !session.is_console())
            .filter_map(|session| Some((session.id, session.membership(self.id)?.cursor.offset)))
    }

    /// The lagging clients and those with spans to read, each with where it reads next.
    fn readers_behind<'a>(
        &'a self,
        sessions: &'a Sessions,
    ) -> impl Iterator<Item = (ConnectionId, u64)> + 'a {
        let spans = self
            .pins
            .keys()
            .filter_map(|id| sessions.get(*id))
            .filter(|session| !session.is_console())
            .flat_map(|session| {
                let spans = session.extras.iter().flat_map(|extras| extras.outbox.spans());
                spans.filter(|span| span.room == self.id).map(|span| (session.id, span.cursor.offset))
            });
        self.lagging_clients(sessions).chain(spans)
    }

    /// Moves a following member to the start of the lagging zone; returns its new index.
    fn leave_following(&mut self, index: usize, sessions: &mut Sessions) -> usize {
        self.following -= 1;
        self.swap(index, self.following, sessions);
        self.unvisited = self.unvisited.min(self.following);
        self.following
    }

    fn swap(&mut self, a: usize, b: usize, sessions: &mut Sessions) {
        if a == b {
            return;
        }
        self.members.swap(a, b);
        for index in [a, b] {
            let session = sessions.at_mut(self.members[index] as usize);
            if let Some(membership) = session.and_then(|session| session.membership_mut(self.id)) {
                membership.index = index as u32;
            }
        }
    }
}

/// Memory below which a room's burst is not worth a deadline.
const SHRINK_BYTES_MIN: usize = 32 * 1024;

/// How long a room keeps the memory of a burst, in case that another follows.
pub const SHRINK_AFTER: Duration = Duration::from_secs(1);
