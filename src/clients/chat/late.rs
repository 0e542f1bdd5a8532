//! Answers that do not come in time, on a terminal: where the person is, or is called, is not known until they come.
//!
//! A server answers in order, so what it says belongs to the oldest question that is not answered; the nonce in its
//! pong tells when the next one's answer begins. Until then nothing is said, unless the person has asked for something
//! else meanwhile: then that answer decides.

use super::asking::{Refused, is_same_kind};
use super::outbox::Gate;
use super::wish::{Asked, Heard, Wish};
use super::{Client, Host};
use crate::engine::Now;

/// Questions without an answer, beyond which no more are asked.
pub(super) const LATE_MAX: usize = 8;

/// A question whose answer did not come in time.
#[derive(Debug)]
pub(super) struct Late {
    asked: Asked,
    /// What stood for it among the lines, if anything waited for it.
    gate: Option<Gate>,
    /// In words for the person.
    why: String,
}

impl<H: Host> Client<H> {
    /// The answer to this did not come in time: the person is told, and what they type is held.
    pub(super) fn miss(&mut self, asked: Asked, why: String) {
        let gate = self.open_gate_of(&asked);
        let is_asked = matches!(gate, Some(Gate::Asked(..)));
        let is_aside = asked.is_aside;
        self.asking.late.push_back(Late { asked, gate, why });
        if is_aside || self.outbox.has_place_gates() {
            return;
        }
        if is_asked && let Some(why) = self.held_by_late(&|_| false) {
            self.tell(&why);
            self.give_back();
        } else {
            self.hold_on_arrival();
        }
    }

    /// What a line from the server is to a question that is no longer open; `None`: to none.
    pub(super) fn hear_late(&mut self, line: &[u8], is_own: bool, words: Option<&str>) -> Option<Heard> {
        let late = &mut self.asking.late;
        if let Some(at) = late.iter().position(|late| late.asked.is_answered_by(words)) {
            self.give_up_late(at);
            return Some(Heard::AnsweredLate);
        }
        if self.asking.open.as_ref().is_some_and(|open| open.is_answered_by(words)) {
            self.give_up_late(usize::MAX);
            return None;
        }
        late.front_mut().map(|late| late.asked.hear(line, is_own, words))
    }

    /// The oldest of these questions will not be answered any more: a later one is, or none.
    pub(super) fn give_up_late(&mut self, count: usize) {
        let count = count.min(self.asking.late.len());
        for Late { asked, gate, why } in self.asking.late.drain(..count) {
            // Whatever is granted later takes their place.
            if gate.is_some() && asked.wish != Wish::Leave {
                self.asking.refused.retain(|refused| !is_same_kind(&refused.wish, &asked.wish));
                self.asking.refused.push(Refused { wish: asked.wish, words: why });
            }
        }
    }

    /// The answer to the oldest of these questions is there.
    pub(super) fn settle_late(&mut self, now: Now) {
        let Some(Late { asked, gate, .. }) = self.asking.late.pop_front() else { return };
        if asked.is_granted {
            self.grant(&asked, gate.as_ref());
        } else {
            self.note_refused(gate, asked.refusal());
            self.plan_again(now);
        }
        self.ask_next(now);
    }

    /// What is not answered yet and is not asked for anew (`is_asked`), in words for the person.
    pub(super) fn held_by_late(&self, is_asked: &dyn Fn(&Wish) -> bool) -> Option<String> {
        // Also who left a room is where the answer to `/join` says, and the other way round.
        let decides = |wish: &Wish| match wish {
            Wish::Leave => is_asked(wish) || is_asked(&Wish::Room(String::new())),
            Wish::Room(_) => is_asked(wish) || is_asked(&Wish::Leave),
            _ => is_asked(wish),
        };
        let is_held = |late: &&Late| late.gate.is_some() && !decides(&late.asked.wish);
        let Late { asked, why, .. } = self.asking.late.iter().find(is_held)?;
        let remedy = match asked.wish {
            Wish::Nick(_) => "/nick NAME asks for another",
            _ => "/join ROOM enters another",
        };
        let command = asked.wish.command();
        Some(format!("{command}: {why}: what is typed is not said before the answer; {remedy}"))
    }
}
