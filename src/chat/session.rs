//! What the chat server knows of one connection: who it is, where it stands, what waits for it.
//!
//! Ten thousand idle sessions must cost next to nothing, so a session is some hundred bytes with no
//! buffer of its own; what only some need (a nick, further rooms, waiting replies) is in
//! [`Extras`], which exists only while there is something in it.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU32;

use crate::codec::line::LineDecoder;
use crate::engine::{ConnectionId, Moment, Peer};

use super::log::{Cursor, Log};

/// Names a room for as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(NonZeroU32);

impl RoomId {
    /// The id of the room at `index`.
    #[must_use]
    pub fn new(index: usize) -> Self {
        let number = u32::try_from(index + 1).ok().and_then(NonZeroU32::new);
        RoomId(number.expect("invariant: `rooms_max` is far below 2^32"))
    }

    /// The index of the room.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// A session's place in one room.
#[derive(Clone, Copy, Debug)]
pub struct Membership {
    /// The room.
    pub room: RoomId,
    /// Index of this session in the room's list of members.
    pub index: u32,
    /// What of the room's log was written to the socket, or put aside for it.
    pub cursor: Cursor,
}

/// Why a session's input waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// It does not.
    None,
    /// Its rate is used up; a deadline resumes it.
    Rate,
    /// Too many replies, or spans to skip, wait for it; reading them resumes it.
    Output,
    /// The room has no space that nobody needs; the room resumes it.
    Room,
}

/// One connection's state in the chat.
#[derive(Debug)]
pub struct Session {
    /// The connection.
    pub id: ConnectionId,
    /// The far end.
    pub peer: Peer,
    /// Its place in the current line.
    pub decoder: LineDecoder,
    /// Why its input waits.
    pub pause: Pause,
    /// It left, and only takes what is still due to it.
    pub is_leaving: bool,
    /// It is in the `ready` queue.
    pub is_ready: bool,
    /// Its socket is full, so it follows no room: see `Room`.
    pub is_lagging: bool,
    /// It sent a line.
    pub has_spoken: bool,
    /// The operator's console that sees the chat.
    pub is_watching: bool,
    /// The room that its lines go to.
    pub current: Option<Membership>,
    /// What only some sessions need.
    pub extras: Option<Box<Extras>>,
    /// The rate limiter: when all lines so far will have been paid for, in nanoseconds (GCRA's
    /// theoretical arrival time).
    pub paid_at_ns: u64,
    /// When it connected, in seconds since 1970.
    pub since_unix_s: i64,
    /// When it last sent something.
    pub active_at: Moment,
    /// Bytes that it sent.
    pub bytes_in: u64,
    /// Bytes that its socket took.
    pub bytes_out: u64,
}

/// What only some sessions need.
#[derive(Debug, Default)]
pub struct Extras {
    /// The name that it took.
    pub nick: Option<Box<str>>,
    /// Rooms that it is in besides the current one, the most recent last.
    pub others: Vec<Membership>,
    /// What waits for it besides the rooms' logs.
    pub outbox: Outbox,
    /// Parts of the logs that it is not sent (its own lines without echo), in order.
    pub skips: VecDeque<Skip>,
}

/// A part of a log that one member is not sent; both ends are record boundaries.
#[derive(Clone, Copy, Debug)]
pub struct Skip {
    /// The room.
    pub room: RoomId,
    /// Offset of its first byte.
    pub from: u64,
    /// Offset behind its last byte.
    pub to: u64,
    /// Messages in it.
    pub messages: u64,
}

impl Session {
    /// A session that just connected.
    #[must_use]
    pub fn new(id: ConnectionId, peer: Peer, since_unix_s: i64, active_at: Moment) -> Self {
        Session {
            id,
            peer,
            decoder: LineDecoder::default(),
            pause: Pause::None,
            is_leaving: false,
            is_ready: false,
            is_lagging: false,
            has_spoken: false,
            is_watching: false,
            current: None,
            extras: None,
            paid_at_ns: 0,
            since_unix_s,
            active_at,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// Whether this is the operator's console.
    #[must_use]
    pub fn is_console(&self) -> bool {
        self.peer == Peer::Console
    }

    /// The nick it took.
    #[must_use]
    pub fn nick(&self) -> Option<&str> {
        self.extras.as_ref()?.nick.as_deref()
    }

    /// Its memberships, the current room's first.
    pub fn memberships(&self) -> impl Iterator<Item = &Membership> {
        let others = self.extras.iter().flat_map(|extras| extras.others.iter().rev());
        self.current.iter().chain(others)
    }

    /// Its membership in `room`.
    #[must_use]
    pub fn membership(&self, room: RoomId) -> Option<&Membership> {
        self.memberships().find(|membership| membership.room == room)
    }

    /// Its membership in `room`, to be changed.
    pub fn membership_mut(&mut self, room: RoomId) -> Option<&mut Membership> {
        if self.current.as_ref().is_some_and(|current| current.room == room) {
            return self.current.as_mut();
        }
        self.extras.as_mut()?.others.iter_mut().find(|membership| membership.room == room)
    }

    /// Makes `membership` the current one.
    pub fn enter(&mut self, membership: Membership) {
        if let Some(before) = self.current.replace(membership) {
            self.extras_mut().others.push(before);
        }
    }

    /// Makes the room current, of which it is a member already.
    pub fn return_to(&mut self, room: RoomId) {
        if let Some(membership) = self.remove(room) {
            self.enter(membership);
        }
    }

    /// Takes out its membership in `room`; the most recent other room becomes current.
    pub fn remove(&mut self, room: RoomId) -> Option<Membership> {
        if self.current.as_ref().is_some_and(|current| current.room == room) {
            let next = self.extras.as_mut().and_then(|extras| extras.others.pop());
            return std::mem::replace(&mut self.current, next);
        }
        let others = &mut self.extras.as_mut()?.others;
        let at = others.iter().position(|membership| membership.room == room)?;
        Some(others.remove(at))
    }

    /// What only some sessions need, made where it was not needed before.
    pub fn extras_mut(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// Gives the extras' memory back where nothing is in them any more.
    pub fn settle(&mut self) {
        if self.extras.as_ref().is_some_and(|extras| extras.is_empty()) {
            self.extras = None;
        }
    }

    /// Bytes that waiting replies take.
    #[must_use]
    pub fn private_bytes(&self) -> usize {
        self.extras.as_ref().map_or(0, |extras| extras.outbox.bytes())
    }
}

impl Extras {
    fn is_empty(&self) -> bool {
        self.nick.is_none() && self.others.is_empty() && self.outbox.items.is_empty() && self.skips.is_empty()
    }
}

/// What people call a session: its nick, or where it comes from.
impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nick() {
            Some(nick) => f.write_str(nick),
            None => write_address(f, self.peer, self.id),
        }
    }
}

/// Writes the address of a session: `127.0.0.1:5000`, `[::1]:5000`, `unix#7`, `operator`.
///
/// # Errors
/// Those of the formatter.
pub fn write_address(f: &mut dyn fmt::Write, peer: Peer, id: ConnectionId) -> fmt::Result {
    match peer {
        Peer::Inet(ip, port) => write!(f, "{}", std::net::SocketAddr::new(ip, port)),
        Peer::Unix => write!(f, "unix#{}", id.serial()),
        Peer::Console => f.write_str("operator"),
    }
}

/// Replies and parts of logs that wait for one session, in the order in which it gets them.
#[derive(Debug, Default)]
pub struct Outbox {
    items: VecDeque<Item>,
    /// Bytes of the front item's text that the socket took.
    front_written: usize,
    /// Bytes of text in all items.
    bytes: usize,
}

/// One thing that waits.
#[derive(Debug)]
pub struct Item {
    /// Written once the session's cursor in this room is at this offset: a reply comes after what
    /// was said before it. `None`, or no member of the room any more: at once.
    pub due: Option<(RoomId, u64)>,
    /// What is written.
    pub content: Content,
}

/// What is written.
#[derive(Debug)]
pub enum Content {
    /// Text of its own.
    Text(Vec<u8>),
    /// A part of a log, read when its turn comes: history, or what was due to a member that left.
    Span(Span),
}

/// A part of a log to be read; both ends are record boundaries.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The room, which knows of this span by its `pins`.
    pub room: RoomId,
    /// Where reading goes on.
    pub cursor: Cursor,
    /// Where it ends.
    pub to: Cursor,
    /// Leave the notices out.
    pub is_history: bool,
}

impl Outbox {
    /// Bytes that what waits takes: its text, and each item's own.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes + self.items.len() * size_of::<Item>()
    }

    /// The first thing that waits.
    #[must_use]
    pub fn front(&self) -> Option<&Item> {
        self.items.front()
    }

    /// The span at the front, to be moved on.
    pub fn front_span_mut(&mut self) -> Option<&mut Span> {
        match self.items.front_mut() {
            Some(Item { content: Content::Span(span), .. }) => Some(span),
            _ => None,
        }
    }

    /// What of the front text is not written yet.
    #[must_use]
    pub fn front_text(&self) -> &[u8] {
        match self.items.front() {
            Some(Item { content: Content::Text(text), .. }) => &text[self.front_written..],
            _ => &[],
        }
    }

    /// Adds text behind all that waits; to the last text where that is due at the same place. Not to one
    /// that is being written: it would keep what was written for as long as there is more.
    pub fn push_text(&mut self, due: Option<(RoomId, u64)>, text: &[u8]) {
        self.bytes += text.len();
        let is_begun = self.items.len() == 1 && self.front_written > 0;
        match self.items.back_mut() {
            Some(Item { due: last_due, content: Content::Text(last) }) if *last_due == due && !is_begun => {
                last.extend_from_slice(text);
            }
            _ => self.items.push_back(Item { due, content: Content::Text(text.to_vec()) }),
        }
    }

    /// Adds a part of a log behind all that waits, due at once.
    pub fn push_span(&mut self, span: Span) {
        self.items.push_back(Item { due: None, content: Content::Span(span) });
    }

    /// The session left the room, of whose log it is still due `from..to` but for `skips`: the spans
    /// go to where they would have been written, between the replies that are due in that room.
    /// Returns their number.
    pub fn release_room(
        &mut self,
        room: RoomId,
        from: Cursor,
        to: Cursor,
        log: &Log,
        skips: &[Skip],
    ) -> usize {
        let count_before = self.items.len();
        let mut next = from;
        let mut index = 0;
        while let Some(item) = self.items.get_mut(index) {
            if let Some((_, offset)) = item.due.take_if(|(due_room, _)| *due_room == room)
                && offset > next.offset.max(log.base().offset)
                && offset <= to.offset
            {
                let stop = log.cursor_at(offset);
                index = self.insert_spans(index, room, next, stop, log, skips);
                next = stop;
            }
            index += 1;
        }
        self.insert_spans(self.items.len(), room, next, to, log, skips);
        self.items.len() - count_before
    }

    /// Inserts the stretches of `from..to` that are not skipped; returns the index behind them.
    fn insert_spans(
        &mut self,
        mut index: usize,
        room: RoomId,
        from: Cursor,
        to: Cursor,
        log: &Log,
        skips: &[Skip],
    ) -> usize {
        let mut next = from;
        while next.offset < to.offset {
            let skip = skips.iter().find(|skip| skip.room == room && skip.to > next.offset);
            let stop = match skip.filter(|skip| skip.from < to.offset) {
                Some(skip) if skip.from <= next.offset => {
                    next =
                        if skip.to < to.offset { log.cursor_at(skip.to.max(log.base().offset)) } else { to };
                    continue;
                }
                Some(skip) => log.cursor_at(skip.from.max(log.base().offset)),
                None => to,
            };
            let span = Span { room, cursor: next, to: stop, is_history: false };
            self.items.insert(index, Item { due: None, content: Content::Span(span) });
            index += 1;
            next = stop;
        }
        index
    }

    /// Drops all spans, so that only text waits; returns their rooms.
    pub fn drop_spans(&mut self) -> Vec<RoomId> {
        let rooms = self.spans().map(|span| span.room).collect();
        self.items.retain(|item| matches!(item.content, Content::Text(_)));
        rooms
    }

    /// The spans in it.
    pub fn spans(&self) -> impl Iterator<Item = &Span> {
        self.items.iter().filter_map(|item| match &item.content {
            Content::Span(span) => Some(span),
            Content::Text(_) => None,
        })
    }

    /// Puts text before all that waits: the rest of a record that was begun, or news of a gap.
    pub fn push_front(&mut self, text: Vec<u8>) {
        debug_assert_eq!(self.front_written, 0);
        self.bytes += text.len();
        self.items.push_front(Item { due: None, content: Content::Text(text) });
    }

    /// Counts `bytes` of the front text as written, and drops it when nothing of it is left.
    pub fn advance(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.front_text().len());
        self.front_written += bytes;
        self.bytes -= bytes;
        if self.front_text().is_empty() {
            self.pop_front();
        }
    }

    /// Drops the front item.
    pub fn pop_front(&mut self) -> Option<Item> {
        self.bytes -= self.front_text().len();
        self.front_written = 0;
        let item = self.items.pop_front();
        if self.items.is_empty() {
            self.items = VecDeque::new();
        }
        item
    }
}

/// All sessions, by the slot of their connection.
#[derive(Debug, Default)]
pub struct Sessions {
    slots: Vec<Option<Session>>,
    count: usize,
}

impl Sessions {
    /// Sessions at present, the console's included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a session; its slot must be free.
    pub fn insert(&mut self, session: Session) {
        let slot = session.id.slot();
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        debug_assert!(self.slots[slot].is_none());
        self.slots[slot] = Some(session);
        self.count += 1;
    }

    /// Takes a session out.
    pub fn remove(&mut self, id: ConnectionId) -> Option<Session> {
        self.get(id)?;
        self.count -= 1;
        self.slots[id.slot()].take()
    }

    /// The session of this very connection, not of another that has its slot now.
    #[must_use]
    pub fn get(&self, id: ConnectionId) -> Option<&Session> {
        self.at(id.slot()).filter(|session| session.id == id)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Session> {
        self.slots.get_mut(id.slot())?.as_mut().filter(|session| session.id == id)
    }

    /// The session in a slot.
    #[must_use]
    pub fn at(&self, slot: usize) -> Option<&Session> {
        self.slots.get(slot)?.as_ref()
    }

    /// The session in a slot, to be changed.
    pub fn at_mut(&mut self, slot: usize) -> Option<&mut Session> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// All sessions, by slot.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().flatten()
    }
}

// What the README claims of an idle member, on 64-bit machines.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Option<Session>>() <= 128);

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new(ConnectionId::new(0, 1), Peer::Unix, 0, Moment::START)
    }

    fn membership(room: usize) -> Membership {
        Membership { room: RoomId::new(room), index: 0, cursor: Cursor::default() }
    }

    #[test]
    fn leaving_the_current_room_returns_to_the_most_recent_other() {
        let mut session = session();
        for room in 0..3 {
            session.enter(membership(room));
        }
        session.return_to(RoomId::new(0));
        let rooms = |session: &Session| session.memberships().map(|m| m.room.index()).collect::<Vec<_>>();
        assert_eq!(rooms(&session), [0, 2, 1]);
        session.remove(RoomId::new(2));
        session.remove(RoomId::new(0));
        assert_eq!(rooms(&session), [1]);
        session.remove(RoomId::new(1));
        assert!(session.current.is_none());
        session.settle();
        assert!(session.extras.is_none());
    }

    #[test]
    fn replies_due_at_the_same_place_are_one_text() {
        let mut outbox = Outbox::default();
        outbox.push_text(None, b"one ");
        outbox.push_text(None, b"two");
        outbox.push_text(Some((RoomId::new(0), 7)), b"three");
        assert_eq!(outbox.front_text(), b"one two");
        outbox.advance(4);
        assert_eq!((outbox.front_text(), outbox.bytes), (&b"two"[..], 8));
        outbox.advance(3);
        outbox.push_front(b"gap ".to_vec());
        assert_eq!((outbox.front_text(), outbox.bytes), (&b"gap "[..], 9));
        outbox.advance(4);
        outbox.advance(5);
        assert!(outbox.front().is_none());
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn a_reused_slot_is_not_the_session_that_was_there() {
        let mut sessions = Sessions::default();
        let old = ConnectionId::new(3, 1);
        let new = ConnectionId::new(3, 2);
        sessions.insert(Session::new(old, Peer::Unix, 0, Moment::START));
        assert!(sessions.remove(old).is_some());
        sessions.insert(Session::new(new, Peer::Unix, 0, Moment::START));
        assert!(sessions.get(old).is_none());
        assert!(sessions.remove(old).is_none());
        assert_eq!(sessions.len(), 1);
    }
}
