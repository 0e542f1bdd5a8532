//! Deterministic simulation: the production loop and the production chat, over a simulated operating system,
//! with scripted people at the other ends; everything is drawn from one seed, and checked after each turn.
//!
//! In reading order: [`plan`] is what a run consists of; `network` and `pipe` are the world outside, `system`
//! is how the loop calls it; `people` act, `speech` is what they type; `observed` is what an oracle sees;
//! this file runs it. A run has three parts: chaos; calm, in which there are no faults, everyone reads, and all
//! that is due must arrive; and the end, a drain.
//!
//! [`transfers`] is the same for the receiver of files, over a simulated disk.
//!
//! None of this is in the program: it is compiled for tests, and with the feature `simulation`.
// A simulation that cannot be set up is no result.
#![allow(clippy::panic)]

pub mod isolation;
mod measured;
mod model;
mod network;
mod observed;
mod people;
mod pipe;
pub mod plan;
pub mod random;
mod speech;
mod system;
#[cfg(test)]
mod tests;
pub mod trace;
#[cfg(feature = "course")]
pub mod transfers;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::chat::{self, Chat};
use crate::engine::{Moment, Peer};
use crate::event_loop::{self, End, EventLoop};
use crate::memory;
use measured::{Outside, Taken, measured};
use model::Model;
use network::Network;
use observed::{Log, Observed, Seen};
use people::People;
use plan::Plan;
use system::{Descriptor, Simulated};

/// Turns after which a run that has not come to rest never will.
const TURNS_MAX: u64 = 50_000;

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// The same for the same plan.
    pub hash: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// What happened how often that must happen sometimes.
    pub sometimes: BTreeMap<&'static str, u64>,
    /// What did not hold.
    pub failure: Option<Failure>,
}

/// An invariant that did not hold.
#[derive(Debug)]
pub struct Failure {
    /// Its number, or `panic`, and what was seen.
    pub what: String,
    /// In which turn.
    pub turn: u64,
    /// The last events; empty where they were not asked for.
    pub events: String,
}

impl Failure {
    /// Which invariant: what shrinking must not change.
    #[must_use]
    pub fn invariant(&self) -> &str {
        self.what.split(':').next().unwrap_or_default()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "turn {}: {}\n{}", self.turn, self.what, self.events)
    }
}

/// Runs a plan to its end, or to the first thing that does not hold.
#[must_use]
pub fn run(plan: &Plan, in_words: bool) -> Outcome {
    run_in(plan, in_words).0
}

/// The same, with the network as it is then.
fn run_in(plan: &Plan, in_words: bool) -> (Outcome, Rc<RefCell<Network>>) {
    let network = Network::new(plan.seed, plan.faults, plan.people.len(), in_words);
    let network = Rc::new(RefCell::new(network));
    let turns = std::cell::Cell::new(0);
    let outcome = conclude(&network, &turns, || {
        let mut world = World::new(plan, Rc::clone(&network));
        let result = world.live(&turns);
        // What is dropped from here on is dropped with the loop.
        network.borrow_mut().is_over = true;
        result
    });
    (outcome, network)
}

/// Lives a run, and says what it came to.
fn conclude(
    network: &RefCell<Network>,
    turns: &std::cell::Cell<u64>,
    live: impl FnOnce() -> Result<(), String>,
) -> Outcome {
    let result = catch_unwind(AssertUnwindSafe(live));
    let what = match result {
        Ok(Ok(())) => None,
        Ok(Err(what)) => Some(what),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of another kind");
            // An assertion of an invariant names it.
            Some(if text.starts_with('I') { text.to_string() } else { format!("panic: {text}") })
        }
    };
    let network = network.borrow();
    let turn = turns.get();
    Outcome {
        hash: network.trace.hash(),
        turns: turn,
        sometimes: network.sometimes.clone(),
        failure: what.map(|what| Failure { what, turn, events: network.trace.to_string() }),
    }
}

/// The smallest plan that still fails in the same way.
#[must_use]
pub fn shrink(plan: &Plan, invariant: &str) -> Plan {
    shrink_by(plan, Plan::smaller, |plan| run(plan, false), invariant)
}

fn shrink_by<P: Clone>(
    plan: &P,
    smaller: impl Fn(&P) -> Vec<P>,
    run: impl Fn(&P) -> Outcome,
    invariant: &str,
) -> P {
    let mut smallest = plan.clone();
    loop {
        let fails = |plan: &P| run(plan).failure.is_some_and(|failure| failure.invariant() == invariant);
        match smaller(&smallest).into_iter().find(fails) {
            Some(plan) => smallest = plan,
            None => return smallest,
        }
    }
}

/// A run under way.
struct World {
    plan: Plan,
    network: Rc<RefCell<Network>>,
    people: Rc<RefCell<People>>,
    event_loop: EventLoop<Outside<Simulated<People>>, Observed<Chat>>,
    log: Log,
    model: Model,
    accepted: usize,
    closed: usize,
    /// Bytes that the loop and the chat hold, and may hold.
    held_bytes: i64,
    held_bytes_max: i64,
    /// Once the end was asked for: whether everyone read already.
    was_calm_before_stop: Option<bool>,
}

impl World {
    fn new(plan: &Plan, network: Rc<RefCell<Network>>) -> Self {
        let people = Rc::new(RefCell::new(People::new(plan)));
        let log = Log::default();
        let system = Simulated::new(Rc::clone(&network), Rc::clone(&people), Rc::clone(&log));
        let console = plan.has_operator.then(|| {
            let key = network.borrow_mut().open_console();
            (key, system.descriptor(key))
        });
        let key = console.as_ref().map(|(key, _)| *key);
        let (event_loop, taken) = measured(|| {
            let engine = Observed::new(Chat::new(plan.config.clone()), Rc::clone(&log));
            let mut event_loop =
                EventLoop::with_budgets(Outside(system), engine, plan.linger(), plan.budgets);
            event_loop.listen(()).unwrap_or_else(|error| panic!("the simulated system listens: {error}"));
            if let Some((_, stream)) = console {
                let adopted = event_loop.adopt(stream, Peer::Console);
                adopted.unwrap_or_else(|error| panic!("the simulated console opens: {error}"));
            }
            event_loop
        });
        people.borrow_mut().begin(&mut network.borrow_mut(), key);
        let model = Model::new(&plan.config);
        let plan = plan.clone();
        let held_bytes_max = held_bytes_max(&plan);
        World {
            plan,
            network,
            people,
            event_loop,
            log,
            model,
            accepted: 0,
            closed: 0,
            held_bytes: taken.bytes,
            held_bytes_max,
            was_calm_before_stop: None,
        }
    }

    /// Chaos, calm, and the end.
    fn live(&mut self, turns: &std::cell::Cell<u64>) -> Result<(), String> {
        let mut end = None;
        while end.is_none() && self.people.borrow().has_steps_left() && !self.is_at_rest() {
            end = self.turn(turns)?;
        }
        if end.is_none() {
            self.network.borrow_mut().calm();
            self.people.borrow_mut().calm(&mut self.network.borrow_mut());
            end = self.rest(turns)?;
        }
        if end.is_none() {
            self.check_at_rest()?;
            // Whoever comes now is heard, or told why not.
            let key = self.network.borrow_mut().connect(1, None);
            end = self.rest(turns)?;
            let network = self.network.borrow();
            if end.is_none() && !network.backlog.is_empty() {
                return Err(format!("I18: newcomer {key} is not accepted although all is calm"));
            }
        }
        if end.is_none() {
            let mut network = self.network.borrow_mut();
            let newcomer = network.sockets.len() - 1;
            network.receive(newcomer, usize::MAX);
            network.leave(newcomer);
            drop(network);
            end = self.rest(turns)?;
        }
        if end.is_none() {
            self.network.borrow_mut().waker_edge = true;
            end = self.rest(turns)?;
        }
        self.check_end(end)
    }

    fn is_at_rest(&self) -> bool {
        self.network.borrow().is_at_rest
    }

    /// Turns until nothing will ever happen again, or the loop has ended.
    fn rest(&mut self, turns: &std::cell::Cell<u64>) -> Result<Option<End>, String> {
        self.network.borrow_mut().is_at_rest = false;
        let turns_max = turns.get() + TURNS_MAX;
        while !self.is_at_rest() {
            if let Some(end) = self.turn(turns)? {
                return Ok(Some(end));
            }
            if turns.get() > turns_max {
                return Err("I18: all is calm, and the loop does not come to rest".into());
            }
        }
        Ok(None)
    }

    fn turn(&mut self, turns: &std::cell::Cell<u64>) -> Result<Option<End>, String> {
        turns.set(turns.get() + 1);
        let (end, taken) = measured(|| self.event_loop.turn());
        let end = end.map_err(|error| format!("I18: the loop failed: {error}"))?;
        self.check_memory(taken)?;
        self.take_seen()?;
        if let Some(violation) = self.network.borrow_mut().violation.take() {
            return Err(violation);
        }
        self.check_work()?;
        if end.is_some() {
            return Ok(end);
        }
        let now = self.event_loop_now();
        let network = self.network.borrow();
        self.event_loop.check(now, |stream: &Descriptor| network.truth(stream.key()))?;
        let chat = &self.event_loop.engine().engine;
        chat.check(now)?;
        if chat.session_count() != self.event_loop.open_connections() {
            let (sessions, connections) = (chat.session_count(), self.event_loop.open_connections());
            return Err(format!("I12: {sessions} sessions and {connections} connections"));
        }
        if self.accepted != self.closed + self.event_loop.open_connections() {
            return Err(format!("I19: {} accepted, {} closed", self.accepted, self.closed));
        }
        Ok(None)
    }

    /// The clock of the last poll.
    fn event_loop_now(&self) -> Moment {
        self.network.borrow().polled_at
    }

    /// Shows the oracle what was seen in the turn.
    fn take_seen(&mut self) -> Result<(), String> {
        let seen = std::mem::take(&mut *self.log.borrow_mut());
        for (now, seen) in seen {
            self.model.take(now, &seen)?;
            match &seen {
                Seen::Accepted { .. } => self.accepted += 1,
                Seen::Closed { reason, .. } => {
                    self.closed += 1;
                    self.network.borrow_mut().sometimes(reason_name(*reason));
                }
                Seen::Refused { reason, .. } => {
                    self.network.borrow_mut().sometimes(reason_name(*reason));
                }
                Seen::Signal => {
                    self.was_calm_before_stop.get_or_insert(self.network.borrow().is_calm);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// I5: the loop and the chat hold no more than their limits say.
    fn check_memory(&mut self, taken: Taken) -> Result<(), String> {
        let peak = self.held_bytes + taken.bytes_max as i64;
        self.held_bytes += taken.bytes;
        if peak > self.held_bytes_max {
            return Err(format!("I5: {peak} bytes are held, of {} at most", self.held_bytes_max));
        }
        Ok(())
    }

    /// I6: a turn does no more than its budgets.
    fn check_work(&self) -> Result<(), String> {
        let calls = self.network.borrow().calls;
        let budgets = self.plan.budgets;
        // The last connection may use its own budget up.
        let reads_max = budgets.reads + budgets.connection_reads;
        if calls.reads > reads_max || calls.accepts > budgets.accepts {
            return Err(format!("I6: {calls:?} in a turn"));
        }
        if calls.writes > budgets.flushes * budgets.connection_writes {
            return Err(format!("I6: {calls:?} in a turn"));
        }
        Ok(())
    }

    /// I18: when all is calm, nothing is left undone.
    fn check_at_rest(&self) -> Result<(), String> {
        let network = self.network.borrow();
        for (key, socket) in network.sockets.iter().enumerate() {
            if socket.is_open && !socket.inbound.there.is_empty() && !socket.is_reset {
                let bytes = socket.inbound.there.len();
                return Err(format!("I18: all is calm, and {bytes} bytes of socket {key} are not read"));
            }
        }
        if let Some(key) = network
            .sockets
            .iter()
            .position(|socket| socket.is_open && socket.inbound.is_finished && !socket.is_console)
        {
            return Err(format!("I18: all is calm, socket {key} has ended, and is not closed"));
        }
        if !network.backlog.is_empty() {
            return Err("I18: all is calm, and somebody waits to be accepted".into());
        }
        self.model.check_at_rest(self.event_loop.engine().engine.missed())
    }

    fn check_end(&self, end: Option<End>) -> Result<(), String> {
        let Some(end) = end else { return Err("I16: the loop was told to end, and rests".into()) };
        let mut network = self.network.borrow_mut();
        network.sometimes(match end {
            End::Done => "ended: done",
            End::Overdue(_) => "ended: overdue",
            End::CutShort(_) => "ended: cut short",
        });
        if end == End::Done && self.event_loop.open_connections() > 0 {
            return Err("I16: it ended as done, with open connections".into());
        }
        if self.was_calm_before_stop == Some(true) && end != End::Done {
            return Err(format!("I16: everyone reads, and it ended as {end:?}"));
        }
        Ok(())
    }
}

/// What the loop and the chat may hold under a plan's limits.
fn held_bytes_max(plan: &Plan) -> i64 {
    let input_bytes_max = chat::memory::input_bytes_max(&plan.config);
    // A newcomer beyond the limit has a descriptor for as long as its refusal takes, the console has one, too.
    let connections_max = plan.config.clients_max + 1;
    let of_loop = event_loop::memory::parts::<Descriptor>(connections_max, input_bytes_max);
    let parts: Vec<_> = chat::memory::parts(&plan.config).into_iter().chain(of_loop).collect();
    i64::try_from(memory::bytes_max(&parts)).unwrap_or(i64::MAX)
}

fn reason_name(reason: crate::engine::Reason) -> &'static str {
    use crate::engine::Reason;
    match reason {
        Reason::Quit => "closed: quit",
        Reason::EndOfInput => "closed: end of input",
        Reason::Reset => "closed: reset",
        Reason::TimedOut => "closed: timed out",
        Reason::Kicked => "closed: kicked",
        Reason::Idle => "closed: idle",
        Reason::TooSlow => "closed: too slow",
        Reason::WrongProtocol => "closed: wrong protocol",
        Reason::ServerClosing => "closed: server closing",
        Reason::LingerExpired => "closed: linger expired",
        Reason::ServerFull => "refused: server full",
        Reason::AddressFull => "refused: address full",
        Reason::AddressBusy => "refused: address busy",
        Reason::SystemError => "closed: system error",
    }
}

/// What became of a seed, in words: the smallest plan that fails as it does, and the last of its events.
#[must_use]
pub fn tell(seed: u64) -> String {
    tell_by(seed, &Plan::draw(seed), run, shrink)
}

fn tell_by<P: fmt::Debug>(
    seed: u64,
    plan: &P,
    run: fn(&P, bool) -> Outcome,
    shrink: fn(&P, &str) -> P,
) -> String {
    let outcome = run(plan, true);
    let Some(failure) = outcome.failure else {
        return format!("seed {seed:#x}: all holds: {} turns, hash {:016x}", outcome.turns, outcome.hash);
    };
    let shrunk = shrink(plan, failure.invariant());
    let again = run(&shrunk, true).failure.unwrap_or(failure);
    format!("seed {seed:#x}: {shrunk:#?}\n{again}")
}
