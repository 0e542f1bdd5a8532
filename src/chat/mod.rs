//! The chat server as an [`Engine`]: rooms are logs, members are cursors, nothing here does I/O.
//!
//! In reading order: [`log`] and [`room`] are the idea, [`rolls`] is who came and went, [`session`] is what a
//! connection costs and [`outbox`] what waits for it, [`config`] is what an operator can choose, [`render`] what
//! text looks like, [`names`] who may be called what, [`guests`] what those without a name are called, [`arrivals`]
//! who came lately, [`limit`] what can be met, [`closes`] whom it ended, [`memory`] what follows from it all. The
//! engine itself is split by direction: `input` (lines in, back-pressure), `rooms` (joining, leaving, posting),
//! `announcing` (who is told of), `output` (who is written what next), `commands` and `console` (what people and
//! the operator can ask for). This file holds the state that they share and the dispatch.

pub mod arrivals;
pub mod closes;
pub mod config;
pub mod guests;
pub mod limit;
pub mod log;
pub mod memory;
pub mod names;
pub mod outbox;
pub mod render;
pub mod rolls;
pub mod room;
pub mod room_id;
pub mod session;

mod announcing;
#[cfg(any(test, feature = "simulation"))]
mod check;
mod commands;
mod console;
mod input;
mod journal;
mod output;
mod rooms;
mod stats;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use slab::Slab;

use crate::deadlines::Deadlines;
use crate::engine::{
    Action, AddressBlock, ConnectionId, Engine, ListenerId, Moment, Now, Output, Peer, Reason, Refusal,
    TurnReport, Written,
};
use crate::limits;
use crate::metrics::Turns;
use crate::sabotage::sabotaged;

use arrivals::Arrivals;
#[cfg(any(test, feature = "simulation"))]
pub(crate) use check::{Hint, Hinted};
use closes::{End, Met};
use config::{Config, Unnamed};
use guests::Guests;
use journal::Journal;
use limit::{Limit, LimitsMet};
use names::Names;
use output::Offered;
use render::Stamp;
use room::Room;
use room_id::RoomId;
use session::{Pause, Session, Sessions};

/// The room that everyone is in at first, and that always exists.
pub const FIRST_ROOM: &str = "lobby";

/// The chat server.
#[derive(Debug)]
pub struct Chat {
    config: Config,
    sessions: Sessions,
    rooms: Slab<Room>,
    room_ids: HashMap<Box<str>, RoomId>,
    first_room: RoomId,
    names: Names<ConnectionId>,
    /// Who is called by a number.
    guests: Guests<ConnectionId>,
    /// Clients from each address that is limited.
    addresses: HashMap<AddressBlock, usize>,
    /// Who came lately, if it is counted.
    arrivals: Option<Arrivals>,
    /// The console, while standard input is open.
    console: Option<ConnectionId>,
    /// Sessions with output of their own, or that were blocked and may have room again.
    ready: VecDeque<ConnectionId>,
    /// Rooms whose members are being written to, the one under way first.
    walking: VecDeque<RoomId>,
    /// Members of rooms that can still be flushed in this turn.
    walk_flushes_left: usize,
    /// Rooms with something to announce when the turn's input is complete.
    announcing: Vec<RoomId>,
    /// What the last `poll_output` gave.
    offered: Offered,
    actions: VecDeque<Action>,
    deadlines: Deadlines<Timer>,
    /// Which deadlines are set for the room in each slot.
    room_timers: Vec<RoomTimers>,
    stamp: Stamp,
    /// Scratch for the line being handled, so that a line costs no allocation.
    line: Vec<u8>,
    /// The name of who spoke last, who often speaks again: rendering an address costs as much as all
    /// the rest of a line.
    name: String,
    /// Whose name that is.
    named: Option<ConnectionId>,
    is_stopping: bool,
    counters: Counters,
    journal: Journal,
    began_unix_s: Option<i64>,
    /// Inputs that were taken, by which hints have their place.
    #[cfg(any(test, feature = "simulation"))]
    inputs: u64,
    /// What an oracle cannot know by itself, since it was last asked for.
    #[cfg(any(test, feature = "simulation"))]
    hints: Vec<Hinted>,
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The session may have tokens again.
    Refill(ConnectionId),
    /// The session may have been silent for too long.
    Idle(ConnectionId),
    /// `--coalesce` is over.
    Flush(RoomId),
    /// `--slow wait` is over.
    Wait(RoomId),
    /// A burst's memory can be given back.
    Shrink(RoomId),
}

/// One deadline of a kind for each slot of rooms is enough: each handler looks whether it is due yet. It
/// outlives its room, and serves the next one there.
#[derive(Clone, Copy, Debug, Default)]
struct RoomTimers {
    flush: bool,
    wait: bool,
    shrink: bool,
}

impl RoomTimers {
    fn of(&mut self, timer: Timer) -> Option<&mut bool> {
        match timer {
            Timer::Flush(_) => Some(&mut self.flush),
            Timer::Wait(_) => Some(&mut self.wait),
            Timer::Shrink(_) => Some(&mut self.shrink),
            Timer::Refill(_) | Timer::Idle(_) => None,
        }
    }
}

/// What the server has done: see `stats`.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    accepted: u64,
    refused: u64,
    closes: [u64; Reason::ALL.len()],
    /// Of newcomers who were not let in.
    refusals: [u64; Reason::ALL.len()],
    lines_in: u64,
    records: u64,
    deliveries: u64,
    bytes_in: u64,
    bytes_out: u64,
    missed: u64,
    /// How often each limit was met, refused newcomers included.
    limits_met: LimitsMet,
    clients_peak: usize,
    turns: Turns,
}

impl Counters {
    /// Counts newcomers who were not let in.
    fn count_refusals(&mut self, reason: Reason, limit: Limit, newcomers: u64) {
        self.refused += newcomers;
        self.limits_met.add(limit, newcomers);
        self.refusals[index_of(reason)] += newcomers;
    }

    fn count_close(&mut self, reason: Reason) {
        self.closes[index_of(reason)] += 1;
    }

    fn closed(&self) -> u64 {
        self.closes.iter().sum()
    }

    /// The reasons for which anybody was closed, or not let in, each with how many.
    fn ends_by_reason(&self) -> impl Iterator<Item = (Reason, u64)> {
        let ends = self.closes.iter().zip(self.refusals).map(|(closes, refusals)| closes + refusals);
        Reason::ALL.into_iter().zip(ends).filter(|(_, ends)| *ends > 0)
    }
}

fn index_of(reason: Reason) -> usize {
    let index = Reason::ALL.iter().position(|known| *known == reason);
    index.expect("invariant: ALL holds every reason")
}

impl Chat {
    /// A server with one empty room.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut rooms = Slab::new();
        let entry = rooms.vacant_entry();
        let first_room = RoomId::new(entry.key());
        entry.insert(Room::new(first_room, FIRST_ROOM, "", config.log_bytes_max));
        Chat {
            stamp: Stamp::new(config.time_zone.clone()),
            arrivals: config.connect_rate.map(Arrivals::new),
            config,
            sessions: Sessions::default(),
            rooms,
            room_ids: HashMap::from([(FIRST_ROOM.into(), first_room)]),
            first_room,
            names: Names::new(limits::NICK_BYTES_MAX),
            guests: Guests::default(),
            addresses: HashMap::new(),
            console: None,
            ready: VecDeque::new(),
            walking: VecDeque::new(),
            walk_flushes_left: 0,
            announcing: Vec::new(),
            offered: Offered::Nothing,
            actions: VecDeque::new(),
            deadlines: Deadlines::new(),
            room_timers: Vec::new(),
            line: Vec::new(),
            name: String::new(),
            named: None,
            is_stopping: false,
            counters: Counters::default(),
            journal: Journal::default(),
            began_unix_s: None,
            #[cfg(any(test, feature = "simulation"))]
            inputs: 0,
            #[cfg(any(test, feature = "simulation"))]
            hints: Vec::new(),
        }
    }

    /// Clients at present.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.sessions.len() - usize::from(self.console.is_some())
    }

    /// Adds to what waits for a session, in the place that it has now among what its room said, and is about to
    /// announce.
    fn reply(&mut self, id: ConnectionId, text: &str) {
        let due = self.place_of_reply(id);
        self.reply_at(due, id, text);
    }

    /// Says goodbye to a session, which leaves: what its room is about to announce is not for it any more.
    fn part_with(&mut self, now: Now, id: ConnectionId, reason: Reason, words: &str) {
        let current = self.sessions.get(id).and_then(|session| session.current.as_ref());
        let due = current.and_then(|current| {
            let end = self.rooms.get(current.room.index())?.log.end().offset;
            Some((current.room, end))
        });
        self.reply_at(due, id, &format!("-- {words} --\n"));
        self.leave(now, id, reason);
    }

    /// Says goodbye, but not where only the clients' own lines are sent.
    fn part_politely(&mut self, now: Now, id: ConnectionId, reason: Reason, words: &str) {
        if self.config.is_raw() {
            self.leave(now, id, reason);
        } else {
            self.part_with(now, id, reason, words);
        }
    }

    fn reply_at(&mut self, due: Option<(RoomId, u64)>, id: ConnectionId, text: &str) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.extras_mut().outbox.push_text(due, text.as_bytes());
        self.make_ready(id);
    }

    /// The server's own words, on a line that nobody can mistake for a person's.
    fn tell(&mut self, id: ConnectionId, text: &str) {
        self.reply(id, &format!("-- {text} --\n"));
    }

    /// The same, but not where only the clients' own lines are sent.
    fn tell_politely(&mut self, id: ConnectionId, text: &str) {
        if !self.config.is_raw() {
            self.tell(id, text);
        }
    }

    fn make_ready(&mut self, id: ConnectionId) {
        if let Some(session) = self.sessions.get_mut(id)
            && !session.is_ready
        {
            session.is_ready = true;
            self.ready.push_back(id);
        }
    }

    fn resume(&mut self, id: ConnectionId, because: Pause) {
        if let Some(session) = self.sessions.get_mut(id)
            && session.pause == because
        {
            session.pause = Pause::None;
            self.actions.push_back(Action::Resume(id));
        }
    }

    /// Everyone is told, gets what is due, and is closed.
    fn stop(&mut self, now: Now) {
        if self.is_stopping {
            return;
        }
        // What the operator said a moment ago is still to be heard.
        self.announce(now);
        self.is_stopping = true;
        // First, so that the closes below have the drain's deadline and not the linger's.
        self.actions.push_back(Action::Stop(self.config.drain));
        let is_told = |session: &&Session| !session.is_console() && !session.is_leaving();
        let ids: Vec<ConnectionId> = self.sessions.iter().filter(is_told).map(|session| session.id).collect();
        for id in ids.iter().filter(|_| !sabotaged!(SkipDrain)) {
            self.part_politely(now, *id, Reason::ServerClosing, "the server is closing");
        }
        if let Some(console) = self.console {
            let clients = render::count(ids.len() as u64, "client");
            let drain = render::duration(self.config.drain);
            self.reply(console, &format!("closing: {clients} to be told, {drain} at most\n"));
            self.leave(now, console, Reason::Quit);
        }
    }

    fn greeting(&self, session: &Session) -> String {
        let advice = if self.config.has_commands() { "/help lists the commands" } else { "quit leaves" };
        let address = match (session.guest, session.peer) {
            // Its own, which nobody else is told.
            (Some(_), Peer::Inet(ip, port)) => format!(" ({})", std::net::SocketAddr::new(ip, port)),
            _ => String::new(),
        };
        format!("-- you are {session}{address} in {FIRST_ROOM}; {advice} --\n{}", self.config.motd)
    }
}

impl Engine for Chat {
    fn admit(&mut self, now: Now, _listener: ListenerId, peer: Peer) -> Result<(), Refusal> {
        if peer == Peer::Console {
            return Ok(());
        }
        let clients = self.clients();
        let mut refuse = |reason, met: Met, text: String| {
            self.counters.count_refusals(reason, met.limit, 1);
            self.journal.refused(now, reason, peer, met);
            Err(Refusal { reason, text: format!("-- {text} --\n") })
        };
        if clients >= self.config.clients_max {
            let most = render::count(self.config.clients_max as u64, "client");
            let text = format!("the server is full: {most} at most; try again later");
            let met = Met { limit: Limit::Clients, value: clients as u64 };
            return refuse(Reason::ServerFull, met, text);
        }
        if let Some(block) = AddressBlock::of(peer)
            && let Some(count) = self.addresses.get(&block)
            && *count >= self.config.clients_per_ip_max
        {
            let met = Met { limit: Limit::ClientsPerIp, value: *count as u64 + 1 };
            let text =
                format!("too many connections from your address: {} at most", self.config.clients_per_ip_max);
            return refuse(Reason::AddressFull, met, text);
        }
        // Last, for who is not let in for another reason takes no token.
        if let Some(block) = AddressBlock::of(peer)
            && let Some(arrivals) = &mut self.arrivals
            && let Err(wait) = arrivals.admit(now.moment, block)
        {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let met = Met { limit: Limit::ConnectRate, value: seconds };
            let text = format!("too many newcomers from your address: try again in {seconds} s");
            return refuse(Reason::AddressBusy, met, text);
        }
        Ok(())
    }

    fn handle_turned_away(&mut self, now: Now, _listener: ListenerId, newcomers: usize) {
        if newcomers > 0 {
            let met = Met { limit: Limit::Descriptors, value: self.clients() as u64 };
            self.counters.count_refusals(Reason::ServerFull, met.limit, newcomers as u64);
            self.journal.turned_away(now, Reason::ServerFull, met, newcomers as u64);
        }
    }

    fn handle_accepted(&mut self, now: Now, id: ConnectionId, _listener: Option<ListenerId>, peer: Peer) {
        self.sessions.insert(Session::new(id, peer, now.unix_s, now.moment));
        if peer == Peer::Console {
            self.console = Some(id);
            self.prompt();
            return;
        }
        self.counters.accepted += 1;
        self.counters.clients_peak = self.counters.clients_peak.max(self.clients());
        if let Some(block) = AddressBlock::of(peer) {
            *self.addresses.entry(block).or_default() += 1;
        }
        if let Some(idle_max) = self.config.idle_max {
            self.deadlines.set(now.moment + idle_max, Timer::Idle(id));
        }
        if self.config.unnamed == Unnamed::Guest
            && let Some(session) = self.sessions.get_mut(id)
        {
            session.guest = Some(self.guests.take(id));
        }
        if let Some(session) = self.sessions.get(id) {
            self.journal.connected(now, session);
            if !self.config.is_raw() {
                let greeting = self.greeting(session);
                self.reply(id, &greeting);
            }
        }
        self.enter(id, self.first_room);
        if sabotaged!(TellOfListener) {
            self.arrive(id);
        }
    }

    fn handle_bytes(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) -> usize {
        self.take_input(now, id, bytes)
    }

    fn handle_eof(&mut self, now: Now, id: ConnectionId, rest: &[u8]) -> bool {
        self.take_last_input(now, id, rest)
    }

    fn wants_input(&self, id: ConnectionId) -> bool {
        self.sessions.get(id).is_some_and(|session| session.pause == Pause::None)
    }

    fn poll_ready(&mut self, now: Now) -> Option<ConnectionId> {
        self.next_ready(now)
    }

    fn has_ready(&self) -> bool {
        !self.ready.is_empty() || !self.walking.is_empty() || !self.announcing.is_empty()
    }

    fn poll_output(&mut self, now: Now, id: ConnectionId) -> Output<'_> {
        self.offer(now, id)
    }

    fn handle_written(&mut self, _now: Now, id: ConnectionId, bytes: usize, written: Written) {
        self.take_written(id, bytes, written);
    }

    fn handle_writable(&mut self, id: ConnectionId) {
        self.make_ready(id);
    }

    fn handle_closed(&mut self, now: Now, id: ConnectionId, reason: Reason) {
        let Some(session) = self.sessions.get(id) else { return };
        if !session.is_leaving() {
            self.leave_rooms(now, id, reason);
        }
        let Some(session) = self.sessions.remove(id) else { return };
        let due_bytes = self.due_bytes(&session);
        for span in session.extras.iter().flat_map(|extras| extras.outbox.spans()) {
            self.unpin(now.moment, id, span.room);
        }
        if session.is_console() {
            self.console = None;
            return;
        }
        if let Some(block) = AddressBlock::of(session.peer)
            && let Some(count) = self.addresses.get_mut(&block)
        {
            *count -= usize::from(!sabotaged!(ForgetAddress));
            if *count == 0 {
                self.addresses.remove(&block);
            }
        }
        let mut end =
            End { reason, met: session.extras.as_ref().and_then(|extras| extras.met), not_taken: None };
        if reason == Reason::LingerExpired {
            let limit = if self.is_stopping { Limit::Drain } else { Limit::Linger };
            self.counters.limits_met.count(limit);
            let not_taken = Some(Met { limit, value: due_bytes });
            end = match session.leaving {
                // Who does not read takes no farewell either: it is why that was said which counts.
                Some(reason) if session.is_thrown_out() => End { reason, not_taken, ..end },
                _ => End { met: not_taken, ..end },
            };
        }
        self.counters.count_close(end.reason);
        self.journal.closed(now, &session, end);
    }

    fn handle_signal(&mut self, now: Now) {
        self.stop(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.deadlines.poll_due(now.moment) {
            if let Timer::Flush(room) | Timer::Wait(room) | Timer::Shrink(room) = timer
                && let Some(is_set) =
                    self.room_timers.get_mut(room.index()).and_then(|timers| timers.of(timer))
            {
                *is_set = false;
            }
            match timer {
                Timer::Refill(id) => self.resume(id, Pause::Rate),
                Timer::Idle(id) => self.check_idle(now, id),
                Timer::Flush(room) => self.begin_walk(room),
                Timer::Wait(room) => self.end_wait(now, room),
                Timer::Shrink(room) => self.shrink(room),
            }
        }
    }

    fn handle_turn(&mut self, now: Now) {
        self.began_unix_s.get_or_insert(now.unix_s);
        self.announce(now);
        // Not only when something is due: with a long --idle, many can come and go before anything is.
        let sessions = &self.sessions;
        self.deadlines.prune(|timer| match timer {
            Timer::Refill(id) | Timer::Idle(id) => sessions.get(*id).is_some(),
            Timer::Flush(_) | Timer::Wait(_) | Timer::Shrink(_) => true,
        });
        self.walk_flushes_left = limits::WALK_FLUSHES_PER_TURN_MAX;
    }

    fn handle_turn_ended(&mut self, _now: Now, report: &TurnReport) {
        self.counters.turns.add(report);
    }

    fn poll_timeout(&self) -> Option<Moment> {
        self.deadlines.next()
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}

impl Chat {
    /// Closes a session that has been silent for `--idle`, or looks again when it would have been.
    fn check_idle(&mut self, now: Now, id: ConnectionId) {
        let (Some(idle_max), Some(session)) = (self.config.idle_max, self.sessions.get(id)) else { return };
        let due = session.active_at + idle_max;
        if session.is_leaving() {
            // It has another deadline already.
        } else if due > now.moment {
            self.deadlines.set(due, Timer::Idle(id));
        } else if matches!(session.pause, Pause::Rate | Pause::Room) {
            // Its lines wait because we do not read them: that is not silence.
            self.deadlines.set(now.moment + idle_max, Timer::Idle(id));
        } else {
            let met = Met { limit: Limit::Idle, value: now.moment.since(session.active_at).as_secs() };
            let text = format!("you said nothing for {}: closing", render::duration(idle_max));
            self.close_for(now, id, Reason::Idle, met, &text);
        }
    }

    /// Closes a session for a limit that it met, which it is told.
    fn close_for(&mut self, now: Now, id: ConnectionId, reason: Reason, met: Met, text: &str) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        self.counters.limits_met.count(met.limit);
        self.journal.closing(now, session, reason, met);
        session.extras_mut().met = Some(met);
        self.part_with(now, id, reason, text);
    }
}
