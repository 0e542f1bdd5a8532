//! What the chat server knows of one connection: who it is, where it stands, what waits for it.
//!
//! Ten thousand idle sessions must cost next to nothing, so a session is some hundred bytes with no
//! buffer of its own; what only some need (a nick, further rooms, waiting replies) is in
//! [`Extras`], which exists only while there is something in it.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU32;

use crate::codec::line::LineDecoder;
use crate::engine::{ConnectionId, Moment, Peer, Reason};
use crate::limits;

use super::closes::Met;
use super::guests;
use super::limit::Limit;
use super::log::Cursor;
use super::outbox::{Outbox, Skip};
use super::room_id::RoomId;

/// A session's place in one room.
#[derive(Clone, Copy, Debug)]
pub struct Membership {
    /// The room.
    pub room: RoomId,
    /// Index of this session in the room's list of members.
    pub index: u32,
    /// What of the room's log was written to the socket, or put aside for it.
    pub cursor: Cursor,
    /// The room was told that it joined, and so will be told of its new names, and that it left.
    pub is_told: bool,
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
    /// Why it left, and only takes what is still due to it.
    pub leaving: Option<Reason>,
    /// It is in the `ready` queue.
    pub is_ready: bool,
    /// Its socket is full, so it follows no room: see `Room`.
    pub is_lagging: bool,
    /// It sent a line that has something in it.
    pub has_spoken: bool,
    /// It said or asked for something, or took a nick: until then it only listens, and is no member to the
    /// others. A health check or a browser never is.
    pub is_present: bool,
    /// Its number, while it is called by that: see `guests`.
    pub guest: Option<NonZeroU32>,
    /// Empty lines that it has not paid for yet.
    pub empty_lines: u8,
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
    /// The limit that it is being closed for.
    pub met: Option<Met>,
    /// Parts of the logs that it is not sent (its own lines without echo), in order.
    pub skips: VecDeque<Skip>,
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
            leaving: None,
            is_ready: false,
            is_lagging: false,
            has_spoken: false,
            is_present: false,
            guest: None,
            empty_lines: 0,
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

    /// Whether it left, and only takes what is still due to it.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Whether it was shown the door, for what it did or the operator wanted.
    #[must_use]
    pub fn is_thrown_out(&self) -> bool {
        use Reason::{Idle, Kicked, TooSlow, WrongProtocol};
        matches!(self.leaving, Some(Kicked | Idle | TooSlow | WrongProtocol))
    }

    /// The nick it took.
    #[must_use]
    pub fn nick(&self) -> Option<&str> {
        self.extras.as_ref()?.nick.as_deref()
    }

    /// What it is called that is no address.
    #[must_use]
    pub fn given_name(&self) -> Option<Box<str>> {
        let is_given = self.nick().is_some() || self.guest.is_some();
        is_given.then(|| self.to_string().into())
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

    /// The limit by which so much waits for this session that its commands have to wait too: then they do.
    #[must_use]
    pub fn must_read_first(&mut self, private_bytes_max: usize) -> Option<Limit> {
        let extras = self.extras.as_ref()?;
        let (limit, bytes_max) = match self.peer {
            Peer::Console => (Limit::ConsoleBytes, limits::OPERATOR_PRIVATE_BYTES_MAX),
            _ => (Limit::PrivateBytes, private_bytes_max),
        };
        let met = if extras.outbox.bytes() >= bytes_max {
            limit
        } else if extras.skips.len() >= limits::SKIPPED_SPANS_MAX {
            Limit::SkippedSpans
        } else {
            return None;
        };
        self.pause = Pause::Output;
        Some(met)
    }

    /// Whether its commands need not wait any more.
    #[must_use]
    pub fn has_read_enough(&self, private_bytes_max: usize) -> bool {
        let Some(extras) = &self.extras else { return true };
        extras.outbox.bytes() <= private_bytes_max / 2 && extras.skips.len() <= limits::SKIPPED_SPANS_MAX / 2
    }

    /// Bytes that waiting replies take.
    #[must_use]
    pub fn private_bytes(&self) -> usize {
        self.extras.as_ref().map_or(0, |extras| extras.outbox.bytes())
    }
}

impl Extras {
    fn is_empty(&self) -> bool {
        self.nick.is_none()
            && self.others.is_empty()
            && self.outbox.is_empty()
            && self.met.is_none()
            && self.skips.is_empty()
    }
}

/// What people call a session: its nick, its number, or where it comes from.
impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.nick(), self.guest) {
            (Some(nick), _) => f.write_str(nick),
            (None, Some(number)) => write!(f, "{}{number}", guests::PREFIX),
            (None, None) => write_address(f, self.peer, self.id),
        }
    }
}

/// A session as the operator sees it: a number says nothing without the address.
#[derive(Debug)]
pub struct ToOperator<'a>(pub &'a Session);

impl fmt::Display for ToOperator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ToOperator(session) = self;
        write!(f, "{session}")?;
        if session.nick().is_none() && session.guest.is_some() {
            f.write_str(" (")?;
            write_address(f, session.peer, session.id)?;
            f.write_str(")")?;
        }
        Ok(())
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

// Its part of what an idle member costs, which the README says; on 64-bit machines.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Option<Session>>() <= 128);

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new(ConnectionId::new(0, 1), Peer::Unix, 0, Moment::START)
    }

    fn membership(room: usize) -> Membership {
        Membership { room: RoomId::new(room), index: 0, cursor: Cursor::default(), is_told: false }
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
