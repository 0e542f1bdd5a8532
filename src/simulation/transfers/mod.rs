//! Deterministic simulation of the receiver of files: the production loop and `onepoll receive`, over the
//! simulated system and a simulated disk, with scripted senders; everything is drawn from one seed.
//!
//! In reading order: [`plan`] is what a run consists of; `disk` is what files are written to; `script` is what
//! senders send, `senders` how; `ledger` is the oracle; `told` checks what people are told; this file runs it.
//! What must hold is I15: what is visible was completely sent as just that, what is not whole belongs to a
//! transfer that is under way or may be continued, and each sender is told the truth, once. A run has three
//! parts, as that of the chat: chaos; calm, in which there are no faults and whatever began must end; and a
//! drain.

mod disk;
mod ledger;
pub mod plan;
mod script;
mod senders;
#[cfg(test)]
mod tests;
mod told;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::network::Network;
use super::observed::Log;
use super::system::{Descriptor, Simulated};
use super::{Outcome, TURNS_MAX, conclude, shrink_by, tell_by};
use crate::engine::{Engine, Peer};
use crate::event_loop::{End, EventLoop};
use crate::limits;
use crate::servers::receive::{self, Receiver, Sender};
use crate::socketserver::Dispatch;
use disk::{Disk, DiskCalls, SimulatedFolder};
use plan::Plan;
use senders::Senders;
use told::{Books, Told};

/// Runs a plan to its end, or to the first thing that does not hold.
#[must_use]
pub fn run(plan: &Plan, in_words: bool) -> Outcome {
    let network = Network::new(plan.seed, plan.faults, plan.senders.len(), in_words);
    let network = Rc::new(RefCell::new(network));
    let turns = Cell::new(0);
    conclude(&network, &turns, || {
        let disk = Disk::new(plan, Rc::clone(&network));
        let books = Rc::new(RefCell::new(Books::new(Rc::clone(&disk))));
        let told = Box::new(Told(Rc::clone(&books)));
        let receiver = Receiver::new(plan.settings, SimulatedFolder(Rc::clone(&disk)), told);
        let receiver = Rc::new(RefCell::new(receiver));
        let senders = Rc::new(RefCell::new(Senders::new(plan)));
        let log = Log::default();
        let system = Simulated::new(Rc::clone(&network), Rc::clone(&senders), Rc::clone(&log));
        let engine = receive::engine(&receiver);
        let mut event_loop = EventLoop::with_budgets(system, engine, plan.linger(), plan.budgets);
        event_loop.listen(()).map_err(|error| format!("the simulated system does not listen: {error}"))?;
        senders.borrow_mut().begin(&mut network.borrow_mut());
        let network = Rc::clone(&network);
        let mut world = World {
            plan: plan.clone(),
            network,
            senders,
            disk,
            books,
            receiver: Rc::clone(&receiver),
            event_loop,
            log,
        };
        let result = world.live(&turns);
        // What is dropped from here on is dropped with the loop.
        world.network.borrow_mut().is_over = true;
        result
    })
}

/// The smallest plan that still fails in the same way.
#[must_use]
pub fn shrink(plan: &Plan, invariant: &str) -> Plan {
    shrink_by(plan, Plan::smaller, |plan| run(plan, false), invariant)
}

/// What became of a seed, in words: the smallest plan that fails as it does, and the last of its events.
#[must_use]
pub fn tell(seed: u64) -> String {
    tell_by(seed, &Plan::draw(seed), run, shrink)
}

/// A run under way; `N` makes a handler for each connection.
struct World<N: FnMut(Peer) -> Sender<SimulatedFolder>> {
    plan: Plan,
    network: Rc<RefCell<Network>>,
    senders: Rc<RefCell<Senders>>,
    disk: Rc<RefCell<Disk>>,
    books: Rc<RefCell<Books>>,
    receiver: Rc<RefCell<Receiver<SimulatedFolder>>>,
    event_loop: EventLoop<Simulated<Senders>, Dispatch<Sender<SimulatedFolder>, N>>,
    log: Log,
}

impl<N: FnMut(Peer) -> Sender<SimulatedFolder>> World<N> {
    /// Chaos, calm, and the end.
    fn live(&mut self, turns: &Cell<u64>) -> Result<(), String> {
        let mut end = None;
        while end.is_none() && self.senders.borrow().steps_left > 0 && !self.network.borrow().is_at_rest {
            end = self.turn(turns)?;
        }
        if end.is_none() {
            self.network.borrow_mut().calm();
            self.disk.borrow_mut().calm();
            self.senders.borrow_mut().calm(&mut self.network.borrow_mut());
            end = self.rest(turns)?;
        }
        if end.is_none() {
            self.check_at_rest()?;
            // Whoever comes now finds a place, and gets the file through.
            let attempt = self.senders.borrow_mut().send_one_more(&mut self.network.borrow_mut());
            end = self.rest(turns)?;
            if !self.senders.borrow().ledger.was_told_done(attempt) && !self.plan.settings.is_once {
                return Err("I18: all is calm, and a newcomer's file does not get through".into());
            }
        }
        let is_calm = end.is_none();
        if end.is_none() {
            self.check_at_rest()?;
            self.network.borrow_mut().waker_edge = true;
            end = self.rest(turns)?;
        }
        self.check_end(end, is_calm)
    }

    /// Turns until nothing will ever happen again, or the loop has ended.
    fn rest(&mut self, turns: &Cell<u64>) -> Result<Option<End>, String> {
        self.network.borrow_mut().is_at_rest = false;
        let turns_max = turns.get() + TURNS_MAX;
        while !self.network.borrow().is_at_rest {
            if let Some(end) = self.turn(turns)? {
                return Ok(Some(end));
            }
            if turns.get() > turns_max {
                return Err("I18: all is calm, and the loop does not come to rest".into());
            }
        }
        Ok(None)
    }

    fn turn(&mut self, turns: &Cell<u64>) -> Result<Option<End>, String> {
        turns.set(turns.get() + 1);
        self.disk.borrow_mut().calls = DiskCalls::default();
        let before = self.event_loop.open_connections();
        let end = self.event_loop.turn().map_err(|error| format!("I18: the loop failed: {error}"))?;
        self.log.borrow_mut().clear();
        let published = std::mem::take(&mut self.disk.borrow_mut().published);
        for published in &published {
            self.senders.borrow_mut().ledger.publish(published)?;
        }
        let failures = [self.books.borrow_mut().failure.take(), self.senders.borrow_mut().failure.take()];
        if let Some(what) = failures.into_iter().flatten().next() {
            return Err(what);
        }
        self.check_work(before)?;
        if end.is_some() {
            return Ok(end);
        }
        let network = self.network.borrow();
        let now = network.polled_at;
        self.event_loop.check(now, |stream: &Descriptor| network.truth(stream.key()))?;
        let engine = self.event_loop.engine();
        if let Some(due) = engine.poll_timeout().filter(|due| *due <= now) {
            return Err(format!("I13: a deadline of a transfer was due at {due:?} and was not handled"));
        }
        let (handlers, open) = (engine.shared().connections(), self.event_loop.open_connections());
        if handlers != open {
            return Err(format!("I12: {handlers} handlers and {open} connections"));
        }
        let disk = self.disk.borrow();
        if disk.parts_open > open {
            return Err(format!("I15: {} parts and {open} connections", disk.parts_open));
        }
        if disk.kept.len() > limits::PARTS_KEPT_MAX {
            return Err(format!("I15: {} parts are kept", disk.kept.len()));
        }
        let is_worthless = |(_, bytes): &&(_, Vec<u8>)| (bytes.len() as u64) < limits::PART_BYTES_MIN;
        if let Some((key, bytes)) = disk.kept.iter().find(is_worthless) {
            return Err(format!("I15: part {key} of only {} bytes is kept", bytes.len()));
        }
        Ok(None)
    }

    /// I6: a turn reads what its budget is, a chunk of what was kept for each connection, and writes what
    /// came and a chunk that was there for each.
    fn check_work(&self, open_before: usize) -> Result<(), String> {
        let (calls, of_disk) = (self.network.borrow().calls, self.disk.borrow().calls);
        let connections = open_before + calls.accepts;
        let kept_bytes_max = limits::WRITE_CHUNK_BYTES + limits::TRANSFER_HEADER_BYTES_MAX + 4;
        let written_max = calls.bytes_read + connections * kept_bytes_max;
        if of_disk.reads > connections || of_disk.bytes_written > written_max {
            return Err(format!("I6: {of_disk:?} and {calls:?} of {connections} connections in a turn"));
        }
        Ok(())
    }

    /// I18: when all is calm, every transfer has ended, for silence ends it, too.
    fn check_at_rest(&self) -> Result<(), String> {
        let network = &mut *self.network.borrow_mut();
        let senders = &mut *self.senders.borrow_mut();
        senders.read_all(network);
        if let Some(what) = senders.failure.take() {
            return Err(what);
        }
        if !network.backlog.is_empty() {
            return Err("I18: all is calm, and somebody waits to be accepted".into());
        }
        let (open, parts) = (self.event_loop.open_connections(), self.disk.borrow().parts_open);
        if open > 0 || parts > 0 {
            return Err(format!("I18: all is calm, and {open} connections and {parts} parts are open"));
        }
        self.books.borrow().check_at_rest()
    }

    /// I16: what was under way when the end was asked for, has ended, and left nothing.
    fn check_end(&self, end: Option<End>, was_calm: bool) -> Result<(), String> {
        let Some(end) = end else { return Err("I16: the loop was told to end, and rests".into()) };
        let network = &mut *self.network.borrow_mut();
        network.sometimes(match end {
            End::Done => "ended: done",
            End::Overdue(_) => "ended: overdue",
            End::CutShort(_) => "ended: cut short",
        });
        if was_calm && end != End::Done {
            return Err(format!("I16: everyone reads, and it ended as {end:?}"));
        }
        if end == End::Done {
            let senders = &mut *self.senders.borrow_mut();
            senders.read_all(network);
            if let Some(what) = senders.failure.take() {
                return Err(what);
            }
        }
        let (open, parts) = (self.event_loop.open_connections(), self.disk.borrow().parts_open);
        if open > 0 || parts > 0 {
            return Err(format!("I16: it ended with {open} connections and {parts} parts"));
        }
        if self.plan.settings.is_once {
            network.sometimes(match self.receiver.borrow().last() {
                Some(true) => "once: received",
                Some(false) => "once: failed",
                None => "once: nobody came",
            });
        }
        self.books.borrow().check_at_rest()
    }
}
