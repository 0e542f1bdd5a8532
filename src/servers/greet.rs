//! The greeting server: hears what a client says, greets it, and closes; the next one gets the next
//! greeting.
//!
//! The classic program accepts a client, waits in `recv` for its words, and only then accepts the next:
//! one that connects and says nothing holds up everybody. Here nobody waits: each connection has a
//! handler, which is called when its client has said something.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use log::info;

use crate::codec::text;
use crate::engine::{Peer, Reason};
use crate::socketserver::{Handler, Request};

/// What all greeters share: in one thread, a cell is enough, and no lock is needed.
#[derive(Debug)]
pub struct Plan {
    /// The greetings, one after another, and then again; at least one.
    pub greetings: Vec<String>,
    /// The server ends after so many.
    pub count_max: Option<u64>,
    /// How long a client may say nothing before it is closed.
    pub idle_max: Option<Duration>,
    greeted: Cell<u64>,
}

impl Plan {
    /// A plan of which nothing is done yet.
    #[must_use]
    pub fn new(greetings: Vec<String>, count_max: Option<u64>, idle_max: Option<Duration>) -> Rc<Self> {
        Rc::new(Plan { greetings, count_max, idle_max, greeted: Cell::new(0) })
    }

    /// The handler of a new connection.
    #[must_use]
    pub fn greeter(self: &Rc<Self>, peer: Peer) -> Greeter {
        Greeter { plan: Rc::clone(self), peer }
    }
}

/// One client's greeter.
#[derive(Debug)]
pub struct Greeter {
    plan: Rc<Plan>,
    peer: Peer,
}

impl Handler for Greeter {
    fn setup(&mut self, request: &mut Request<'_>) {
        info!("{} connected", self.peer);
        request.set_timeout(self.plan.idle_max);
    }

    /// What a client says is a stream: what has come so far may be half of it, and is enough for us.
    fn handle(&mut self, request: &mut Request<'_>) {
        let said = text::clean(request.recv(usize::MAX));
        info!("{} says: {said}", self.peer);
        self.greet(request);
    }

    /// A client that says nothing and closes its half has its greeting, too.
    fn handle_eof(&mut self, request: &mut Request<'_>) {
        self.greet(request);
    }

    fn finish(&mut self, _request: &mut Request<'_>, reason: Reason) {
        match reason {
            // It was greeted.
            Reason::Quit | Reason::EndOfInput => info!("{} closed", self.peer),
            reason => info!("{} closed: {reason}", self.peer),
        }
    }
}

impl Greeter {
    fn greet(&self, request: &mut Request<'_>) {
        let Plan { greetings, count_max, greeted, .. } = &*self.plan;
        // Several may have spoken in the turn of the last greeting.
        if count_max.is_some_and(|count_max| greeted.get() >= count_max) {
            return request.close_for(Reason::ServerClosing);
        }
        let next = usize::try_from(greeted.get() % greetings.len() as u64).unwrap_or(0);
        request.send(greetings[next].as_bytes());
        request.close();
        greeted.set(greeted.get() + 1);
        if *count_max == Some(greeted.get()) {
            request.server().shutdown();
        }
    }
}
