//! The engine under a server: which handler has which connection, and when it is called.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io;
use std::time::Duration;

use log::{debug, warn};

use super::Handler;
use super::datagrams::Answers;
use super::request::{Link, Output, Request, Shared, Wish};
use crate::codec::line::LineDecoder;
use crate::deadlines::Deadlines;
use crate::engine::{self, Action, ConnectionId, Datagram, Endpoint, Engine, ListenerId, Moment};
use crate::engine::{Now, Peer, Reason, Refusal, Written};
use crate::limits;
use crate::output_queues::OutputQueues;

/// A handler for each connection and datagram, as an [`Engine`]: for
/// [`EventLoop::new`](crate::event_loop::EventLoop::new), where [`Server`](super::Server) is too little.
#[derive(Debug)]
pub struct Dispatch<H, F> {
    new_handler: F,
    /// By slot.
    sessions: Vec<Option<Session<H>>>,
    queues: OutputQueues,
    sockets: Vec<(ConnectionId, Answers)>,
    pub(super) deadlines: Deadlines<ConnectionId>,
    actions: VecDeque<Action>,
    shared: Shared,
    full_notice: String,
    is_stopping: bool,
    wait: Wait,
}

#[derive(Debug)]
struct Session<H> {
    link: Link,
    handler: H,
    /// The soonest entry in `deadlines`.
    timer: Option<Moment>,
}

/// How long somebody waits for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    ForEver,
    /// The time counts from the next turn, whose clock it is.
    For(Duration),
    Until(Moment),
    Over,
}

impl Link {
    fn new(id: ConnectionId, peer: Peer) -> Self {
        Link {
            id,
            peer,
            deadline: None,
            lines: LineDecoder::default(),
            wish: Wish::GoOn,
            has_finished_output: false,
            wants_sent: false,
            has_eof: false,
        }
    }

    fn is_closing(&self) -> bool {
        matches!(self.wish, Wish::Close(_))
    }
}

impl<H: Handler, F: FnMut(Peer) -> H> Dispatch<H, F> {
    /// No connection yet; `new_handler` makes a handler for each, knowing who its peer is.
    pub fn new(new_handler: F) -> Self {
        Dispatch {
            new_handler,
            sessions: Vec::new(),
            queues: OutputQueues::new(),
            sockets: Vec::new(),
            deadlines: Deadlines::new(),
            actions: VecDeque::new(),
            shared: Shared::default(),
            full_notice: "-- the server is full: try again later --\n".into(),
            is_stopping: false,
            wait: Wait::ForEver,
        }
    }

    /// What a newcomer reads for whom no descriptor is left, where the usual words are not its protocol.
    #[must_use]
    pub fn with_full_notice(self, full_notice: String) -> Self {
        Dispatch { full_notice, ..self }
    }

    /// What all handlers share.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn shared_mut(&mut self) -> &mut Shared {
        &mut self.shared
    }

    /// Somebody waits for a request from now on, for so long.
    pub(super) fn begin_wait(&mut self, timeout: Option<Duration>) {
        self.wait = timeout.map_or(Wait::ForEver, Wait::For);
    }

    /// The wait took as long as it may.
    pub(super) fn is_overdue(&self) -> bool {
        self.wait == Wait::Over
    }

    /// Calls the handler of a connection. Returns the bytes that it consumed: all of them, where it is
    /// not to be called any more.
    fn call(&mut self, now: Now, id: ConnectionId, input: &[u8], call: impl Call<H>) -> usize {
        let Some(session) = session(&mut self.sessions, id) else { return input.len() };
        if session.link.is_closing() {
            return input.len();
        }
        let mut request = Request {
            now,
            link: &mut session.link,
            from: None,
            is_datagram: false,
            input,
            consumed: 0,
            output: Output::Stream(&mut self.queues),
            server: &mut self.shared,
        };
        call(&mut session.handler, &mut request);
        let consumed = request.consumed;
        self.settle(now, id);
        consumed
    }

    /// Does what a handler asked for.
    fn settle(&mut self, now: Now, id: ConnectionId) {
        if let Some(session) = session(&mut self.sessions, id) {
            let link = &mut session.link;
            match link.wish {
                Wish::GoOn => {}
                Wish::FinishOutput => {
                    link.wish = Wish::GoOn;
                    self.actions.push_back(Action::FinishOutput(id));
                }
                Wish::Close(reason) => self.actions.push_back(Action::Close(id, reason)),
            }
            if link.wants_sent {
                self.queues.make_ready(id);
            }
            if let Some(deadline) = link.deadline
                && session.timer.is_none_or(|timer| deadline < timer)
            {
                session.timer = Some(deadline);
                self.deadlines.set(deadline, id);
            }
        }
        if self.shared.wants_shutdown {
            self.stop(now);
        }
    }

    fn stop(&mut self, now: Now) {
        if std::mem::replace(&mut self.is_stopping, true) {
            return;
        }
        self.actions.push_back(Action::Stop(limits::DRAIN));
        let open: Vec<ConnectionId> = self.sessions.iter().flatten().map(|session| session.link.id).collect();
        for id in open {
            self.call(now, id, &[], |handler: &mut H, request: &mut Request<'_>| {
                handler.handle_shutdown(request);
            });
        }
        for (id, _) in &self.sockets {
            self.actions.push_back(Action::Close(*id, Reason::ServerClosing));
        }
    }

    /// Tells the log of lost datagrams, less and less often: whoever sends bad ones must not fill it.
    fn lose(&mut self, datagrams: u64, why: impl Display) {
        let before = self.shared.lost_datagrams;
        self.shared.lost_datagrams += datagrams;
        let after = self.shared.lost_datagrams;
        if before == 0 || before.ilog2() < after.ilog2() {
            warn!("datagrams: {after} lost until now, the last one: {why}");
        }
    }

    fn answer(&mut self, now: Now, id: ConnectionId, to: &Endpoint, answer: Vec<u8>) {
        let (bytes, bytes_max) = (answer.len(), limits::DATAGRAM_BYTES_MAX);
        // The name is the sender's choice, and must not command the terminal that shows the log.
        let name = to.to_string();
        let name = name.escape_debug();
        if bytes > bytes_max {
            return self.lose(1, format_args!("to {name}: {bytes} bytes, {bytes_max} at most"));
        }
        let Some(answers) = self.answers(id) else { return };
        let lost = answers.push(now.moment, to.clone(), answer);
        if lost > 0 {
            self.lose(lost, format_args!("to {name}: too much waits"));
        }
        self.queues.make_ready(id);
    }

    fn answers(&mut self, id: ConnectionId) -> Option<&mut Answers> {
        self.sockets.iter_mut().find(|(socket, _)| *socket == id).map(|(_, answers)| answers)
    }
}

/// One of a handler's methods.
trait Call<H>: FnOnce(&mut H, &mut Request<'_>) {}
impl<H, C: FnOnce(&mut H, &mut Request<'_>)> Call<H> for C {}

fn session<H>(sessions: &mut [Option<Session<H>>], id: ConnectionId) -> Option<&mut Session<H>> {
    sessions.get_mut(id.slot())?.as_mut().filter(|session| session.link.id == id)
}

impl<H: Handler, F: FnMut(Peer) -> H> Engine for Dispatch<H, F> {
    fn admit(&mut self, _now: Now, _listener: ListenerId, _peer: Peer) -> Result<(), Refusal> {
        // Who comes in the turn of the shutdown would not be told of it any more.
        if self.is_stopping {
            return Err(Refusal { reason: Reason::ServerClosing, text: String::new() });
        }
        Ok(())
    }

    fn full_notice(&self, _listener: ListenerId) -> &str {
        &self.full_notice
    }

    fn handle_accepted(&mut self, now: Now, id: ConnectionId, _listener: Option<ListenerId>, peer: Peer) {
        if self.sessions.len() <= id.slot() {
            self.sessions.resize_with(id.slot() + 1, || None);
        }
        let handler = (self.new_handler)(peer);
        self.sessions[id.slot()] = Some(Session { link: Link::new(id, peer), handler, timer: None });
        self.queues.open(id);
        self.shared.connections += 1;
        self.call(now, id, &[], |handler: &mut H, request: &mut Request<'_>| handler.setup(request));
    }

    fn handle_bytes(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) -> usize {
        let mut consumed = 0;
        // A handler may take one line, or one chunk, each time.
        loop {
            let unread = &bytes[consumed..];
            let taken = self
                .call(now, id, unread, |handler: &mut H, request: &mut Request<'_>| handler.handle(request));
            consumed += taken;
            if consumed == bytes.len() || !self.wants_input(id) {
                return consumed;
            }
            if taken == 0 {
                break;
            }
        }
        let unread_bytes = bytes.len() - consumed;
        if unread_bytes > limits::HANDLER_UNREAD_BYTES_MAX {
            debug!("connection {}: {unread_bytes} bytes and still no whole request", id.serial());
            self.call(now, id, &[], |_: &mut H, request: &mut Request<'_>| {
                request.close_for(Reason::WrongProtocol);
            });
            return bytes.len();
        }
        consumed
    }

    fn handle_eof(&mut self, now: Now, id: ConnectionId, rest: &[u8]) -> bool {
        if let Some(session) = session(&mut self.sessions, id) {
            session.link.has_eof = true;
        }
        self.call(now, id, rest, |handler: &mut H, request: &mut Request<'_>| handler.handle_eof(request));
        true
    }

    fn handle_bound(&mut self, _now: Now, id: ConnectionId) {
        self.queues.open(id);
        self.sockets.push((id, Answers::default()));
    }

    fn handle_datagram(&mut self, now: Now, id: ConnectionId, from: Option<&Endpoint>, bytes: &[u8]) {
        let peer = match from {
            Some(Endpoint::Udp(address)) => Peer::from(*address),
            _ => Peer::Unix,
        };
        let mut link = Link::new(id, peer);
        let mut answer = None;
        let mut request = Request {
            now,
            link: &mut link,
            from,
            is_datagram: true,
            input: bytes,
            consumed: 0,
            output: Output::Datagram(&mut answer),
            server: &mut self.shared,
        };
        let mut handler = (self.new_handler)(peer);
        handler.setup(&mut request);
        while !request.link.is_closing() {
            let before = request.consumed;
            handler.handle(&mut request);
            if request.consumed == before || request.unread().is_empty() {
                break;
            }
        }
        let reason = match request.link.wish {
            Wish::Close(reason) => reason,
            _ => Reason::EndOfInput,
        };
        handler.finish(&mut request, reason);
        self.shared.requests += 1;
        if let (Some(answer), Some(to)) = (answer, from) {
            self.answer(now, id, to, answer);
        }
        self.settle(now, id);
    }

    fn handle_datagram_lost(&mut self, _now: Now, _id: ConnectionId, error: io::Error) {
        self.lose(1, error);
    }

    fn wants_input(&self, id: ConnectionId) -> bool {
        self.queues.waiting_bytes(id) < limits::HANDLER_OUTPUT_BYTES_MAX
    }

    fn poll_ready(&mut self, _now: Now) -> Option<ConnectionId> {
        self.queues.poll_ready()
    }

    fn has_ready(&self) -> bool {
        self.queues.has_ready() || matches!(self.wait, Wait::For(_))
    }

    fn poll_output(&mut self, now: Now, id: ConnectionId) -> engine::Output<'_> {
        if self.queues.waiting_bytes(id) == 0
            && let Some(session) = session(&mut self.sessions, id)
            && std::mem::take(&mut session.link.wants_sent)
        {
            self.call(now, id, &[], |handler: &mut H, request: &mut Request<'_>| {
                handler.handle_sent(request)
            });
        }
        self.queues.output(id)
    }

    fn poll_datagram(&mut self, now: Now, id: ConnectionId) -> Option<Datagram<'_>> {
        let lost = self.answers(id)?.drop_overdue(now.moment);
        if lost > 0 {
            self.lose(lost, "its receiver does not read");
        }
        self.answers(id)?.poll()
    }

    fn handle_written(&mut self, _now: Now, id: ConnectionId, bytes: usize, written: Written) {
        if let Some(answers) = self.answers(id) {
            return answers.handle_written(written);
        }
        let could_read = self.wants_input(id);
        self.queues.handle_written(id, bytes, written);
        if !could_read && self.wants_input(id) {
            self.actions.push_back(Action::Resume(id));
        }
    }

    fn handle_writable(&mut self, id: ConnectionId) {
        if let Some(answers) = self.answers(id) {
            answers.handle_writable();
        }
        self.queues.handle_writable(id);
    }

    fn handle_closed(&mut self, now: Now, id: ConnectionId, reason: Reason) {
        self.queues.close(id);
        self.sockets.retain(|(socket, _)| *socket != id);
        let Some(session) = self.sessions.get_mut(id.slot()).and_then(Option::take) else { return };
        let Session { mut link, mut handler, .. } = session;
        self.shared.connections -= 1;
        self.shared.requests += 1;
        let mut request = Request {
            now,
            link: &mut link,
            from: None,
            is_datagram: false,
            input: &[],
            consumed: 0,
            output: Output::Stream(&mut self.queues),
            server: &mut self.shared,
        };
        handler.finish(&mut request, reason);
        self.settle(now, id);
    }

    fn handle_signal(&mut self, now: Now) {
        self.stop(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        while let Some(id) = self.deadlines.poll_due(now.moment) {
            let Some(session) = session(&mut self.sessions, id) else { continue };
            // A sooner one came after this and did its work: renewing both would double them for ever.
            if session.timer.is_none_or(|timer| timer > now.moment) {
                continue;
            }
            session.timer = None;
            if session.link.deadline.is_some_and(|deadline| deadline <= now.moment) {
                session.link.deadline = None;
                self.call(now, id, &[], |handler: &mut H, request: &mut Request<'_>| {
                    handler.handle_timeout(request);
                });
                // A handler that takes its time is shown what it has not taken yet.
                self.actions.push_back(Action::Resume(id));
            } else {
                // It was put off meanwhile.
                self.settle(now, id);
            }
        }
        if matches!(self.wait, Wait::Until(until) if until <= now.moment) {
            self.wait = Wait::Over;
        }
    }

    fn handle_turn(&mut self, now: Now) {
        if let Wait::For(timeout) = self.wait {
            self.wait = Wait::Until(now.moment + timeout);
        }
        // Not only when something is due: with long timeouts, many can come and go before anything is.
        let sessions = &self.sessions;
        self.deadlines.prune(|id| {
            sessions.get(id.slot()).and_then(Option::as_ref).is_some_and(|session| session.link.id == *id)
        });
    }

    fn poll_timeout(&self) -> Option<Moment> {
        let until = match self.wait {
            Wait::Until(until) => Some(until),
            _ => None,
        };
        [self.deadlines.next(), until].into_iter().flatten().min()
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}
