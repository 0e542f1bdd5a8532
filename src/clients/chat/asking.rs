//! Nick and rooms are asked for, and answered, before anything is said that depends on them.
//!
//! One question is open at a time. In a pipe a refusal ends the client, unless the person had it before the
//! connection was lost: then its own old connection may hold it, and it is asked for again, for a while. On a
//! terminal nothing but commands goes out until it is granted or the person asks for something else; and it is
//! asked for again at growing intervals, and when its bearer leaves.

use std::collections::VecDeque;

use super::late::{LATE_MAX, Late};
use super::outbox::Gate;
use super::reconnect::Pauses;
use super::wish::{Asked, Heard, Wish, frees, may_be_granted_later, room_left};
use super::{Client, Commands, Connected, Host, Input, Link, Outcome};
use crate::codec::line::SAY;
use crate::codec::text;
use crate::engine::{Moment, Now};
use crate::limits;

/// What is asked for, and what was refused.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) open: Option<Asked>,
    /// On a terminal: what was asked before and is still not answered, in this order.
    pub(super) late: VecDeque<Late>,
    /// On a terminal: what was refused on this connection, at most a nick and a room.
    pub(super) refused: Vec<Refused>,
    /// What is asked for again in this round.
    again: VecDeque<Wish>,
    /// When the next round begins.
    again_at: Option<Moment>,
    /// When something was asked for last.
    asked_at: Option<Moment>,
    pauses: Pauses,
    /// The nick that the person does without.
    waived: Option<Wish>,
    /// What was typed last and held, to be said without the nick if it is typed again.
    held: Option<String>,
    /// Why the last line of a paste was held: the person is told so once, and not for each line.
    told: Option<String>,
}

#[derive(Debug)]
pub(super) struct Refused {
    pub(super) wish: Wish,
    pub(super) words: String,
}

impl Asking {
    pub(super) fn new(seed: u64) -> Self {
        Asking {
            open: None,
            late: VecDeque::new(),
            refused: Vec::new(),
            again: VecDeque::new(),
            again_at: None,
            asked_at: None,
            // Shortened to half of that at most.
            pauses: Pauses::new(2 * limits::CLIENT_WISH_PAUSE_MIN, seed),
            waived: None,
            held: None,
            told: None,
        }
    }

    /// A line is typed by hand: whatever is pasted behind it is another paste.
    pub(super) fn note_typed(&mut self) {
        self.told = None;
    }
}

impl Heard {
    pub(super) fn is_shown(self) -> bool {
        matches!(self, Heard::Shown | Heard::Said)
    }
}

impl<H: Host> Client<H> {
    // ---- questions ----

    /// Goes on with what waits for the server: opens the gates that may be opened, or asks.
    pub(super) fn advance(&mut self, now: Now) {
        loop {
            let Link::Up(up) = &self.link else { return };
            if up.speaks_at.is_some() || up.has_eof || self.outcome.is_some() {
                return;
            }
            let Some(gate) = self.outbox.gate() else { break };
            match (gate, up.commands) {
                (_, Commands::Unknown) if now.moment < up.greets_by => return,
                (Gate::Mark, Commands::Present) => drop(self.outbox.open()),
                (Gate::Mark, _) => self.refuse_marked(),
                (Gate::Place(wish) | Gate::Asked(wish, _), Commands::Present) => {
                    // A pipe waits for its next try; what a person types is asked for at once.
                    let is_due = self.settings.is_person || self.asking.again_at.is_none();
                    if self.asking.open.is_none() && is_due && self.asking.late.len() < LATE_MAX {
                        let wish = wish.clone();
                        self.ask(now, wish, |_| {});
                    }
                    return;
                }
                (Gate::Place(_) | Gate::Asked(..), _) => self.ask_nobody(),
            }
        }
        if let Link::Up(up) = &self.link
            && up.lines_heard > 0
        {
            self.pauses.reset();
        }
        self.make_ready(self.socket());
        self.finish_output();
    }

    fn ask(&mut self, now: Now, wish: Wish, change: impl FnOnce(&mut Asked)) {
        let mut asked = Asked::new(wish, self.host.random());
        change(&mut asked);
        self.outbox.ask(&asked.lines());
        self.asking.open = Some(asked);
        self.asking.asked_at = Some(now.moment);
        self.make_ready(self.socket());
    }

    /// The socket took something.
    pub(super) fn note_question_sent(&mut self, now: Now) {
        if let Some(asked) = self.asking.open.as_mut().filter(|_| !self.outbox.has_questions()) {
            asked.note_sent(now.moment);
        }
    }

    /// The server sends something, of whatever kind.
    pub(super) fn note_heard(&mut self, now: Now) {
        if let Some(asked) = &mut self.asking.open {
            asked.note_heard(now.moment);
        }
    }

    /// What a line from the server is to the open question.
    pub(super) fn hear_answer(&mut self, line: &[u8], is_own: bool, words: Option<&str>) -> Heard {
        if let Some(heard) = self.hear_late(line, is_own, words) {
            return heard;
        }
        self.asking.open.as_mut().map_or(Heard::Shown, |asked| asked.hear(line, is_own, words))
    }

    /// A line was heard and shown: what follows from it.
    pub(super) fn settle(&mut self, now: Now, heard: Heard) {
        match heard {
            Heard::Answered => {
                let Some(asked) = self.asking.open.take() else { return };
                if !asked.is_aside {
                    self.outbox.confirm();
                }
                if asked.wish == Wish::Taken {
                    self.outbox.open();
                    self.is_confirmed = true;
                } else if asked.is_granted {
                    let gate = self.open_gate_of(&asked);
                    self.grant(&asked, gate.as_ref());
                } else {
                    self.refuse_wish(now, asked);
                }
                self.ask_next(now);
            }
            Heard::AnsweredLate => self.settle_late(now),
            Heard::Said => {
                self.asking.open = None;
                self.give_up_late(usize::MAX);
                if let Link::Up(up) = &mut self.link {
                    up.commands = Commands::Absent;
                }
            }
            Heard::Shown | Heard::Hidden => {}
        }
        self.advance(now);
    }

    /// Lets through what waits for the answer to this.
    pub(super) fn open_gate_of(&mut self, asked: &Asked) -> Option<Gate> {
        if asked.is_aside { None } else { self.outbox.open() }
    }

    /// `gate`: what stood for the question, if anything waited for it.
    pub(super) fn grant(&mut self, asked: &Asked, gate: Option<&Gate>) {
        self.replace(&asked.wish);
        if matches!(gate, Some(Gate::Asked(..))) {
            self.place.note_wanted(&asked.wish);
        }
        if let Some(room) = asked.words.as_deref().filter(|_| asked.wish == Wish::Leave).and_then(room_left) {
            self.place.note_left(room);
        }
        self.asking.waived.take_if(|waived| is_same_kind(waived, &asked.wish));
        self.asking.again_at = None;
        self.asking.pauses.reset();
        // The nick that was refused is asked for on, if it was a room that was granted.
        if !self.asking.refused.is_empty() {
            self.asking.again_at = self.asking.asked_at.map(|at| at + self.asking.pauses.next());
        }
        self.asking.held = None;
    }

    /// The person has, or wants, this in place of what was refused of its kind.
    fn replace(&mut self, wish: &Wish) -> bool {
        let (replaced, others) = std::mem::take(&mut self.asking.refused)
            .into_iter()
            .partition::<Vec<_>, _>(|refused| is_same_kind(&refused.wish, wish));
        self.asking.refused = others;
        self.asking.again.retain(|again| !is_same_kind(again, wish));
        for refused in replaced.iter().filter(|refused| refused.wish != *wish) {
            self.place.forget(&refused.wish);
        }
        !replaced.is_empty()
    }

    fn refuse_wish(&mut self, now: Now, asked: Asked) {
        let words = asked.refusal();
        if !self.settings.is_person {
            return self.refuse_in_pipe(now, &asked.wish, &words);
        }
        let gate = self.open_gate_of(&asked);
        let is_asked = matches!(gate, Some(Gate::Asked(..)));
        self.note_refused(gate, words);
        if is_asked {
            return self.give_back();
        }
        if !self.outbox.has_place_gates() && !asked.is_aside {
            self.hold_on_arrival();
        }
        self.plan_again(now);
    }

    /// What this gate stood for is refused, for a person.
    pub(super) fn note_refused(&mut self, gate: Option<Gate>, words: String) {
        match gate {
            Some(Gate::Place(wish)) if self.place.is_current(&wish) => {
                self.asking.refused.push(Refused { wish, words });
            }
            Some(Gate::Place(wish)) => self.place.forget(&wish),
            Some(Gate::Asked(wish, _)) => {
                if self.replace(&wish) {
                    self.place.note_wanted(&wish);
                    self.asking.refused.push(Refused { wish, words });
                }
            }
            Some(Gate::Mark) | None => {}
        }
    }

    /// All that the person had, or wants from the start, was asked for: some of it was refused.
    pub(super) fn hold_on_arrival(&mut self) {
        if let Some(why) = self.held_by(|_| false) {
            self.tell(&why);
            self.give_back();
        }
    }

    fn refuse_in_pipe(&mut self, now: Now, wish: &Wish, words: &str) {
        let gives_up_at = match &self.link {
            Link::Up(up) => up.gives_up_at,
            _ => None,
        };
        let is_own = matches!(self.outbox.gate(), Some(Gate::Place(_)));
        let what = format!("{} refused {wish}: {words}", self.settings.address);
        match gives_up_at {
            Some(gives_up_at) if is_own && now.moment < gives_up_at && may_be_granted_later(words) => {
                if self.asking.again_at.is_none() && self.asking.refused.is_empty() {
                    let seconds = limits::CLIENT_WISH.as_secs();
                    self.tell(&format!("{what}: asking again for {seconds} s"));
                }
                self.asking.refused = vec![Refused { wish: wish.clone(), words: words.into() }];
                self.asking.again_at = Some((now.moment + self.asking.pauses.next()).min(gives_up_at));
            }
            _ => self.end(Outcome::CannotConnect(format!("{what}: nothing that waited for it was said"))),
        }
    }

    /// The next of this round, or, if all were asked, the next round.
    pub(super) fn ask_next(&mut self, now: Now) {
        if self.asking.open.is_some() || !self.asking.late.is_empty() || !self.settings.is_person {
            return;
        }
        match self.asking.again.pop_front() {
            Some(wish) => self.ask(now, wish, |asked| (asked.is_aside, asked.is_repeated) = (true, true)),
            None => self.plan_again(now),
        }
    }

    pub(super) fn plan_again(&mut self, now: Now) {
        let is_wanted = |refused: &Refused| may_be_granted_later(&refused.words);
        if self.asking.again_at.is_none() && self.asking.refused.iter().any(is_wanted) {
            self.asking.again_at = Some(now.moment + self.asking.pauses.next());
        }
    }

    /// A deadline of a question, or of a question that is asked again, may have passed.
    pub(super) fn ask_again(&mut self, now: Now) {
        let due = self.asking.open.as_ref().and_then(|asked| asked.due);
        if due.is_some_and(|due| due <= now.moment) {
            return self.miss_answer(now);
        }
        let is_due = self.asking.again_at.is_some_and(|at| at <= now.moment);
        if is_due && self.asking.open.is_none() && self.asking.late.is_empty() {
            self.asking.again_at = None;
            let again = self.asking.refused.iter().filter(|refused| may_be_granted_later(&refused.words));
            self.asking.again = again.map(|refused| refused.wish.clone()).collect();
            if self.settings.is_person {
                self.ask_next(now);
            } else if let Some(wish) = self.asking.again.pop_front() {
                self.ask(now, wish, |asked| asked.is_repeated = true);
            }
        }
        self.advance(now);
    }

    /// Somebody left, or has another name: what they had may be free.
    pub(super) fn hear_news(&mut self, now: Now, words: &str) {
        let is_free = self.asking.refused.iter().any(|refused| match &refused.wish {
            Wish::Nick(name) => frees(words, name),
            Wish::Room(_) | Wish::Leave | Wish::Taken => false,
        });
        if let (true, Some(at), Some(asked_at)) = (is_free, self.asking.again_at, self.asking.asked_at) {
            let soonest = (asked_at + limits::CLIENT_WISH_PAUSE_MIN).max(now.moment);
            self.asking.again_at = Some(at.min(soonest));
        }
    }

    fn miss_answer(&mut self, now: Now) {
        let Some(asked) = self.asking.open.take() else { return };
        let remedy =
            if asked.has_heard { "" } else { "; if the server has no commands, --plain talks to it" };
        let why = format!("no answer, and nothing else for {} s{remedy}", limits::CLIENT_ANSWER.as_secs());
        if self.settings.is_person {
            self.miss(asked, why);
            self.advance(now);
        } else {
            let (command, address) = (asked.wish.command(), &self.settings.address);
            self.end(Outcome::CannotConnect(format!("{address}: {command}: {why}")));
        }
    }

    pub(super) fn question_deadline(&self, up: &Connected) -> Option<Moment> {
        let is_greeting_due = up.commands == Commands::Unknown && self.outbox.gate().is_some();
        let open = self.asking.open.as_ref();
        let again = self.asking.again_at.filter(|_| open.is_none() && self.asking.late.is_empty());
        [is_greeting_due.then_some(up.greets_by), open.and_then(|asked| asked.due), again]
            .into_iter()
            .flatten()
            .min()
    }

    /// The connection is lost: all is asked for anew on the next one.
    pub(super) fn forget_questions(&mut self) {
        let asking = &mut self.asking;
        (asking.open, asking.again_at, asking.held) = (None, None, None);
        asking.refused.clear();
        asking.late.clear();
        asking.again.clear();
        asking.pauses.reset();
    }

    // ---- servers without commands ----

    /// Something is to be asked for, and nobody is there to answer.
    fn ask_nobody(&mut self) {
        if matches!(self.outbox.gate(), Some(Gate::Asked(Wish::Taken, _))) {
            // It cannot be known there: its orderly end has to be enough.
            drop(self.outbox.open());
            return;
        }
        let why = self.no_commands();
        if !self.settings.is_person {
            let what = match self.outbox.gate() {
                Some(Gate::Place(wish) | Gate::Asked(wish, _)) => wish.to_string(),
                Some(Gate::Mark) | None => "that".into(),
            };
            let address = &self.settings.address;
            return self.end(Outcome::CannotConnect(format!("cannot ask {address} for {what}: {why}")));
        }
        match self.outbox.open() {
            // What is typed by hand, the person sees.
            Some(Gate::Asked(_, line)) => self.outbox.push_front(&line),
            Some(Gate::Place(wish)) => {
                if self.place.is_current(&wish) {
                    self.asking.refused.push(Refused { wish, words: why });
                }
                if !self.outbox.has_place_gates() {
                    self.hold_on_arrival();
                }
            }
            Some(Gate::Mark) | None => {}
        }
    }

    /// A line is marked as text for a server that would say the mark, too.
    fn refuse_marked(&mut self) {
        let why = self.no_commands();
        if self.settings.is_person {
            self.tell(&why);
            return self.give_back();
        }
        let rest = self.outbox.take_back();
        let mark = rest.strip_prefix(SAY).filter(|_| !self.settings.takes_commands);
        let line = mark.unwrap_or(&rest).split(|byte| *byte == b'\n').next();
        let line = text::clean(line.unwrap_or_default());
        let line = text::truncate_at_char(&line, QUOTED_BYTES_MAX);
        self.fault = Some(format!("{}: not said, nor what follows: {line}: {why}", self.settings.address));
        self.input = Input::Ended;
    }

    pub(super) fn no_commands(&self) -> String {
        let is_silent = matches!(&self.link, Link::Up(up) if up.commands == Commands::Unknown);
        let what = if is_silent { "the server does not greet" } else { "the server has no commands" };
        format!("{what}; --plain sends every line as it is, and asks for nothing")
    }

    // ---- on a terminal ----

    /// Whether a typed line has to wait for what was refused; tells so. A line that is typed a second time is
    /// said without the nick.
    pub(super) fn holds(&mut self, line: &str, is_pasted: bool) -> bool {
        // What stands behind a question of its kind is sent, or given back, by the answer to that.
        let is_asked = |wish: &Wish| self.outbox.asks_for(|asked| is_same_kind(asked, wish));
        let is_free = !is_pasted && says_nothing(line);
        let Some(why) = self.held_by(is_asked).filter(|_| !is_free) else { return false };
        let is_nick_alone = self.asking.late.is_empty()
            && self.asking.refused.iter().all(|refused| matches!(refused.wish, Wish::Nick(_)));
        if is_nick_alone && !is_pasted && self.asking.held.as_deref() == Some(line) {
            self.asking.waived = self.asking.refused.first().map(|refused| refused.wish.clone());
            self.asking.held = None;
            return false;
        }
        self.asking.held = (!is_pasted).then(|| line.into());
        let again = self.again();
        let is_told = is_pasted && self.asking.told.as_ref() == Some(&why);
        if is_told {
            self.tell(&format!("not said ({again}): {line}"));
        } else {
            self.tell(&format!("{why}: not said ({again}): {line}"));
        }
        self.asking.told = is_pasted.then_some(why);
        true
    }

    /// What was refused, is not done without and is not asked for anew (`is_asked`), in words for the person.
    fn held_by(&self, is_asked: impl Fn(&Wish) -> bool) -> Option<String> {
        if let Some(why) = self.held_by_late(&is_asked) {
            return Some(why);
        }
        let is_held = |wish: &Wish| Some(wish) != self.asking.waived.as_ref() && !is_asked(wish);
        let mut held = self.asking.refused.iter().filter(|refused| is_held(&refused.wish));
        // The room decides who would hear it.
        let refused = held.clone().find(|held| matches!(held.wish, Wish::Room(_))).or_else(|| held.next())?;
        let remedy = match refused.wish {
            Wish::Nick(_) => "/nick NAME asks for another, and the same line again is said without it",
            _ => "/join ROOM enters another",
        };
        Some(format!("{} is refused ({}); {remedy}", refused.wish, refused.words))
    }

    /// What waited for an answer that is no: it is in the editor's history.
    pub(super) fn give_back(&mut self) {
        let lines = self.outbox.take_back();
        let mut lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let Some(first) = lines.next() else { return };
        let first = text::clean(first.strip_prefix(SAY).unwrap_or(first));
        let more = match lines.count() {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let again = self.again();
        self.tell(&format!("not sent ({again}): {first}{more}"));
    }
}

pub(super) fn is_same_kind(one: &Wish, other: &Wish) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// Bytes of a line that is quoted in a message.
const QUOTED_BYTES_MAX: usize = 64;

/// Whether a typed line is a command that says nothing to anybody.
fn says_nothing(line: &str) -> bool {
    is_one_of(line, &QUIET)
}

/// Whether a typed line is a command that a server with commands knows.
pub(super) fn is_known_command(line: &str) -> bool {
    is_one_of(line, &QUIET) || is_one_of(line, &SAYING)
}

const QUIET: [&str; 9] = ["/nick", "/join", "/leave", "/who", "/rooms", "/help", "/last", "/lag", "/ping"];
const SAYING: [&str; 4] = ["/say", "/me", "/msg", "/quit"];

fn is_one_of(line: &str, commands: &[&str]) -> bool {
    let command = line.split(char::is_whitespace).next().unwrap_or_default();
    commands.iter().any(|known| known.eq_ignore_ascii_case(command))
}
