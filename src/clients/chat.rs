//! The chat client as an engine: a connection to the server, and a terminal or a pipe.
//!
//! Owns what waits in both directions, when the connection is made again, and when the program is over.
//! On a terminal a line is edited while messages come in; in a pipe every line is said, at the pace that
//! the server takes them, and the end of the input is told to the server by closing that half: it closes
//! once it has taken all. Nothing is held without bound: each side is read only while the other follows.
//! What is said goes only where it was meant: behind the answer to the nick and the room (`asking`).

mod asking;
mod data;
mod ending;
mod hearing;
mod input;
mod late;
mod outbox;
mod reconnect;
mod screen;
mod show;
#[cfg(test)]
mod tests;
mod wish;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::engine::{
    Action, ConnectionId, Endpoint, Engine, ListenerId, Moment, Now, Output, Peer, Reason, Written,
};
use crate::limits;

use super::{Outcome, describe};
use asking::Asking;
use outbox::Outbox;
use reconnect::{Pauses, Place};
use screen::Screen;
pub use show::Style;

/// What a client is to do.
#[derive(Debug)]
pub struct Settings {
    /// The server's address, as people know it.
    pub address: String,
    /// Where it may be, in the order to try; at least one.
    pub endpoints: Vec<Endpoint>,
    /// The nick to ask for.
    pub nick: Option<String>,
    /// The room to ask for.
    pub room: Option<String>,
    /// The server has no commands: lines are sent as they are, and no nick or room is asked for.
    pub is_plain: bool,
    /// The lines of a pipe may be commands.
    pub takes_commands: bool,
    /// Whether a lost connection is made again.
    pub reconnects: bool,
    /// Whether a person types standard input, on a terminal: what is refused is held, and commands are run.
    pub is_person: bool,
    /// Whether standard input and output are a terminal, in raw mode; then `is_person`, too.
    pub is_interactive: bool,
    /// How the server's lines are shown.
    pub style: Style,
    /// What the jitter of the pauses is drawn from.
    pub seed: u64,
}

/// What the client needs of its surroundings beyond bytes.
pub trait Host {
    /// The terminal's width, 0 where it is not known.
    fn columns(&mut self) -> u16;

    /// Gives the terminal back, stops the process, and takes the terminal again when it continues.
    fn suspend(&mut self);

    /// A number that no peer can guess, however many of the others it was shown.
    fn random(&mut self) -> u64;

    /// Tells the person something where the screen is not theirs: on standard error.
    fn report(&mut self, text: &str);
}

/// The chat client.
#[derive(Debug)]
pub struct Client<H> {
    settings: Settings,
    host: H,
    link: Link,
    /// None before it is adopted and after it is closed.
    console: Option<ConnectionId>,
    outbox: Outbox,
    screen: Screen,
    place: Place,
    asking: Asking,
    pauses: Pauses,
    input: Input,
    /// Lines of a pipe that were read to their end.
    lines_read: u64,
    /// The rest of a piped line that is too long is dropped.
    is_dropping: bool,
    /// What a pipe had that could not be said, as the client's end will tell.
    fault: Option<String>,
    /// A connection was made before, whatever became of it.
    was_connected: bool,
    /// The server has taken all that a pipe had: whatever ends then is what was asked for.
    is_confirmed: bool,
    ready: VecDeque<ConnectionId>,
    blocked: Vec<ConnectionId>,
    actions: VecDeque<Action>,
    /// When an Escape was pressed alone.
    key_deadline: Option<Moment>,
    /// When a person who leaves waits no longer for a silent server.
    leave_deadline: Option<Moment>,
    /// Ctrl-Z: the process stops once the screen is as it should be left.
    is_suspending: bool,
    is_stopped: bool,
    /// What the last bytes have time for when the loop is stopped.
    stop_within: Duration,
    outcome: Option<Outcome>,
}

#[derive(Debug)]
enum Link {
    /// Nothing was begun yet.
    Idle,
    /// The endpoint of this index is being tried.
    Connecting(usize),
    Up(Connected),
    Pausing(Moment),
    /// There will be none any more.
    Over,
}

#[derive(Debug)]
struct Connected {
    id: ConnectionId,
    /// Nothing is sent before the server was heard or this passed, so that a refusal is read before
    /// sending meets a closed socket. `None`: we speak.
    speaks_at: Option<Moment>,
    lines_heard: u64,
    reader: show::Reader,
    commands: Commands,
    /// Until then the server's first words can say whether it has commands.
    greets_by: Moment,
    /// Until then a pipe asks again for what was refused; `None`: not at all, it is the first connection.
    gives_up_at: Option<Moment>,
    /// What the first line says if it is no greeting: a refusal, if it stays the only one.
    refusal: Option<Vec<u8>>,
    has_eof: bool,
    /// The server said last that it ends, which is no answer to our end.
    is_closing: bool,
    /// The server was told that no more will come.
    is_finished: bool,
}

/// Whether the server takes lines that begin with a slash for commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Commands {
    /// It has said nothing yet.
    Unknown,
    /// Its greeting names them.
    Present,
    /// Its first words were others, or there were none.
    Absent,
}

/// How far standard input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// Nothing was read yet.
    Untouched,
    /// Something was.
    Begun,
    /// It ended without a byte: the room is followed until the server ends it.
    Follows,
    /// All was read: the server is told, and once it took all, its end is ours.
    Ended,
    /// A person asked to leave: the server is told, and whatever ends then is what was asked for.
    Leaving,
}

impl<H: Host> Client<H> {
    /// A client that begins once it has a console.
    #[must_use]
    pub fn new(settings: Settings, host: H) -> Self {
        debug_assert!(!settings.endpoints.is_empty());
        Client {
            screen: Screen::new(settings.style, settings.is_interactive),
            place: Place::new(settings.nick.clone(), settings.room.as_deref()),
            asking: Asking::new(settings.seed.rotate_left(32)),
            pauses: Pauses::new(limits::RECONNECT_PAUSE_MIN, settings.seed),
            settings,
            host,
            link: Link::Idle,
            console: None,
            outbox: Outbox::default(),
            input: Input::Untouched,
            lines_read: 0,
            is_dropping: false,
            fault: None,
            was_connected: false,
            is_confirmed: false,
            ready: VecDeque::new(),
            blocked: Vec::new(),
            actions: VecDeque::new(),
            key_deadline: None,
            leave_deadline: None,
            is_suspending: false,
            is_stopped: false,
            stop_within: limits::CLIENT_STOP,
            outcome: None,
        }
    }

    /// How it ended, once it did.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    fn socket(&self) -> Option<ConnectionId> {
        match &self.link {
            Link::Up(up) => Some(up.id),
            _ => None,
        }
    }

    fn make_ready(&mut self, id: Option<ConnectionId>) {
        if let Some(id) = id
            && !self.blocked.contains(&id)
            && !self.ready.contains(&id)
        {
            self.ready.push_back(id);
        }
    }

    /// Tells the person something: on the screen if it is a terminal, or else on standard error.
    fn tell(&mut self, text: &str) {
        self.screen.set_columns(self.host.columns());
        if self.screen.tell(text) {
            self.make_ready(self.console);
        } else {
            self.host.report(text);
        }
    }

    fn show(&mut self, line: &[u8], is_own: bool) {
        self.screen.show(line, is_own);
        self.make_ready(self.console);
    }

    // ---- the connection ----

    fn connect(&mut self, endpoint: usize) {
        self.link = Link::Connecting(endpoint);
        self.actions.push_back(Action::Connect(self.settings.endpoints[endpoint].clone()));
    }

    fn connect_failed(&mut self, now: Now, error: &io::Error) {
        let Link::Connecting(endpoint) = self.link else { return };
        if endpoint + 1 < self.settings.endpoints.len() {
            return self.connect(endpoint + 1);
        }
        let why = format!("cannot connect to {}: {}", self.settings.address, describe(error));
        if self.was_connected {
            return self.pause(now, &why);
        }
        let is_absent = matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound);
        let remedy = if is_absent { "; is the server running? (onepoll serve)" } else { "" };
        self.end(Outcome::CannotConnect(format!("{why}{remedy}")));
    }

    /// Says why there is no connection, and when there may be one again.
    fn pause(&mut self, now: Now, why: &str) {
        let pause = self.pauses.next();
        self.link = Link::Pausing(now.moment + pause);
        self.tell(&format!("{why}: trying again in {:.1} s", pause.as_secs_f64()));
    }

    /// The server was heard, or said nothing for long enough: now it is our turn.
    fn speak(&mut self, now: Now) {
        let is_again = std::mem::replace(&mut self.was_connected, true);
        let Link::Up(up) = &mut self.link else { return };
        up.speaks_at = None;
        up.gives_up_at = is_again.then(|| now.moment + limits::CLIENT_WISH);
        self.outbox.begin(self.place.wishes());
        if is_again {
            self.tell(&format!("connected to {} again", self.settings.address));
        }
        self.advance(now);
    }
}

impl<H: Host> Engine for Client<H> {
    fn handle_accepted(&mut self, _now: Now, id: ConnectionId, _listener: Option<ListenerId>, peer: Peer) {
        debug_assert_eq!(peer, Peer::Console, "a client listens nowhere");
        self.console = Some(id);
    }

    fn handle_connected(&mut self, now: Now, id: ConnectionId, _peer: Peer) {
        if self.outcome.is_some() {
            return self.actions.push_back(Action::Close(id, Reason::Quit));
        }
        self.link = Link::Up(Connected {
            id,
            speaks_at: Some(now.moment + limits::CLIENT_GREETING),
            lines_heard: 0,
            reader: show::Reader::default(),
            commands: Commands::Unknown,
            greets_by: now.moment + limits::CLIENT_GREETING_LONG,
            gives_up_at: None,
            refusal: None,
            has_eof: false,
            is_closing: false,
            is_finished: false,
        });
    }

    fn handle_connect_failed(&mut self, now: Now, error: io::Error) {
        self.connect_failed(now, &error);
    }

    fn handle_bytes(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) -> usize {
        if Some(id) == self.console {
            if self.outcome.is_some() || (!self.screen.is_interactive() && self.input == Input::Ended) {
                return bytes.len();
            }
            if self.screen.is_interactive() {
                self.take_keys(now, bytes);
                return bytes.len();
            }
            return self.take_piped(now, bytes);
        }
        if Some(id) != self.socket() {
            return bytes.len();
        }
        self.note_heard(now);
        self.screen.set_columns(self.host.columns());
        let mut consumed = 0;
        while let Some((line, length)) = show::next_line(&bytes[consumed..]) {
            self.hear(now, line, length > line.len());
            consumed += length;
        }
        consumed
    }

    fn handle_eof(&mut self, now: Now, id: ConnectionId, rest: &[u8]) -> bool {
        if Some(id) == self.console {
            if self.settings.is_person {
                // Ctrl-D, or the terminal hung up.
                if self.outcome.is_none() {
                    self.take_piped_rest(now, rest);
                }
                self.leave(now);
            } else if self.outcome.is_some() || self.input == Input::Ended {
                // Nothing more was to be sent anyway.
            } else if self.input == Input::Untouched && rest.is_empty() {
                self.input = Input::Follows;
            } else {
                self.take_piped_rest(now, rest);
                self.end_input(now);
            }
        } else if Some(id) == self.socket() {
            if !rest.is_empty() {
                self.hear(now, rest, true);
            }
            if let Link::Up(up) = &mut self.link {
                up.has_eof = true;
            }
            self.actions.push_back(Action::Close(id, Reason::EndOfInput));
        }
        true
    }

    fn wants_input(&self, id: ConnectionId) -> bool {
        if Some(id) == self.console {
            // Keys are always read: Ctrl-C is one.
            self.screen.is_interactive() || !self.outbox.is_full()
        } else {
            !self.screen.is_full()
        }
    }

    fn poll_ready(&mut self, _now: Now) -> Option<ConnectionId> {
        self.ready.pop_front()
    }

    fn has_ready(&self) -> bool {
        !self.ready.is_empty()
            || (self.console.is_some() && matches!(self.link, Link::Idle))
            || if self.is_suspending { self.screen.is_empty() } else { self.wants_draw() }
    }

    fn poll_output(&mut self, _now: Now, id: ConnectionId) -> Output<'_> {
        if Some(id) == self.console {
            return Output::one(self.screen.unwritten());
        }
        match &self.link {
            Link::Up(up) if up.id == id && up.speaks_at.is_none() && !up.has_eof => {
                Output::one(self.outbox.unsent())
            }
            _ => Output::default(),
        }
    }

    fn handle_written(&mut self, now: Now, id: ConnectionId, bytes: usize, written: Written) {
        if written == Written::Blocked {
            self.blocked.push(id);
        }
        if Some(id) == self.console {
            let was_full = self.screen.is_full();
            self.screen.handle_written(bytes);
            if was_full && !self.screen.is_full() {
                self.actions.extend(self.socket().map(Action::Resume));
            }
            self.stop_if_shown();
        } else if Some(id) == self.socket() {
            let was_full = self.outbox.is_full();
            self.outbox.handle_written(bytes);
            self.note_question_sent(now);
            if was_full && !self.outbox.is_full() {
                self.actions.extend(self.console.map(Action::Resume));
            }
            if self.leave_deadline.is_some() && bytes > 0 {
                self.leave_deadline = Some(now.moment + limits::CLIENT_LEAVE);
            }
            if bytes > 0 && self.outbox.gate().is_some() {
                self.advance(now);
            }
        }
    }

    fn handle_writable(&mut self, id: ConnectionId) {
        self.blocked.retain(|blocked| *blocked != id);
        self.make_ready(Some(id));
    }

    fn handle_closed(&mut self, now: Now, id: ConnectionId, reason: Reason) {
        self.blocked.retain(|blocked| *blocked != id);
        self.ready.retain(|ready| *ready != id);
        if Some(id) == self.console {
            self.console = None;
            self.end(Outcome::of_closed_console(reason));
            self.stop_if_shown();
        } else if Some(id) == self.socket() {
            self.lose(now, reason);
        }
    }

    fn handle_signal(&mut self, _now: Now) {
        self.end(Outcome::Done);
        self.stop();
    }

    fn handle_timeout(&mut self, now: Now) {
        let is_due = |deadline: Option<Moment>| deadline.is_some_and(|due| due <= now.moment);
        if is_due(self.key_deadline) {
            self.key_deadline = None;
            self.screen.handle_key_timeout();
        }
        if is_due(self.leave_deadline) {
            self.leave_deadline = None;
            self.end(Outcome::Done);
        }
        match &self.link {
            Link::Pausing(until) if *until <= now.moment => self.connect(0),
            Link::Up(up) if is_due(up.speaks_at) => {
                if let Some(words) = up.refusal.clone() {
                    self.show_words(&words);
                }
                self.speak(now);
            }
            Link::Up(_) => self.ask_again(now),
            _ => {}
        }
    }

    fn handle_turn(&mut self, _now: Now) {
        if matches!(self.link, Link::Idle) && self.console.is_some() {
            self.connect(0);
        }
        if self.is_suspending && self.screen.is_empty() {
            self.is_suspending = false;
            self.host.suspend();
        }
        if self.wants_draw() {
            self.screen.set_columns(self.host.columns());
            self.screen.draw();
            self.make_ready(self.console);
        }
    }

    fn poll_timeout(&self) -> Option<Moment> {
        let link = match &self.link {
            Link::Pausing(until) => Some(*until),
            Link::Up(up) => up.speaks_at.or_else(|| self.question_deadline(up)),
            _ => None,
        };
        let leave = self.leave_deadline.filter(|_| self.outcome.is_none());
        [link, leave, self.key_deadline].into_iter().flatten().min()
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}

impl<H> Client<H> {
    fn wants_draw(&self) -> bool {
        self.screen.wants_draw() && !self.is_suspending && self.outcome.is_none() && self.console.is_some()
    }
}
