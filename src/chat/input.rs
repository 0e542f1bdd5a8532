//! Lines in: cutting, cleaning, the rate limit, and every reason for which input has to wait.

use ::log::debug;

use crate::codec::line::Decoded;
use crate::codec::protocol::{begins_like_http, looks_like_http, looks_like_tls};
use crate::codec::text;
use crate::engine::{Action, ConnectionId, Now, Reason};
use crate::limits;
use crate::sabotage::sabotaged;

use super::limit::Limit;
use super::session::Pause;
use super::{Chat, Timer, render};

/// Whether a line was dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// It was.
    Done,
    /// It was not: it is shown again after the session is resumed.
    Wait,
}

impl Chat {
    /// Handles the lines in `bytes` until one has to wait; returns the bytes that are done with.
    pub(super) fn take_input(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) -> usize {
        let dialect = self.config.dialect();
        let line_bytes_max = self.line_bytes_max(id) + usize::from(sabotaged!(LineTooLong));
        let mut done = 0;
        while let Some(session) = self.sessions.get_mut(id) {
            if session.is_leaving() {
                return bytes.len();
            }
            session.active_at = now.moment;
            if let Some(limit) = session.must_read_first(self.config.private_bytes_max) {
                self.counters.limits_met.count(limit);
                break;
            }
            let is_first = !session.has_spoken && !self.config.is_raw();
            if is_first && looks_like_tls(&bytes[done..]) {
                self.refuse_protocol(now, id, "TLS; connect without it");
                return bytes.len();
            }
            let before = session.decoder;
            let (flow, consumed, lines) =
                match session.decoder.decode(&bytes[done..], dialect, line_bytes_max) {
                    Decoded::Incomplete { consumed: 0 } => break,
                    Decoded::Incomplete { consumed } => {
                        let pieces = consumed.div_ceil(line_bytes_max);
                        (self.pay_unheard(now, id, pieces as u32), consumed, 0)
                    }
                    Decoded::Line { line, consumed } => (self.handle_line(now, id, line), consumed, 1),
                    Decoded::TooLong { .. } if is_first && begins_like_http(&bytes[done..]) => {
                        self.refuse_protocol(now, id, "HTTP; this is a chat server");
                        return bytes.len();
                    }
                    Decoded::TooLong { consumed } => (self.refuse_long_line(now, id), consumed, 0),
                    Decoded::TelnetReply(reply) => (self.answer_telnet(now, id, &reply), 0, 0),
                };
            if flow == Flow::Wait {
                if let Some(session) = self.sessions.get_mut(id) {
                    session.decoder = before;
                }
                break;
            }
            done += consumed;
            self.count_input(id, consumed, lines);
        }
        done
    }

    /// Handles a last line without an end, then takes the end of the input as leaving. False: it
    /// has to wait, and is called again after the session is resumed.
    pub(super) fn take_last_input(&mut self, now: Now, id: ConnectionId, rest: &[u8]) -> bool {
        let Some(session) = self.sessions.get_mut(id) else { return true };
        if session.is_leaving() {
            return true;
        }
        let before = session.decoder;
        if let Some(line) = session.decoder.decode_last(rest) {
            let limit = session.must_read_first(self.config.private_bytes_max);
            limit.into_iter().for_each(|limit| self.counters.limits_met.count(limit));
            if limit.is_some() || self.handle_line(now, id, line) == Flow::Wait {
                if let Some(session) = self.sessions.get_mut(id) {
                    session.decoder = before;
                }
                return false;
            }
            self.count_input(id, rest.len(), 1);
        }
        if self.console == Some(id) {
            self.end_console();
        }
        self.leave(now, id, Reason::EndOfInput);
        true
    }

    /// Called when output was taken: the opposite of `Session::must_read_first`.
    pub(super) fn resume_reader(&mut self, id: ConnectionId) {
        let Some(session) = self.sessions.get(id) else { return };
        if session.pause == Pause::Output && session.has_read_enough(self.config.private_bytes_max) {
            self.resume(id, Pause::Output);
        }
    }

    fn count_input(&mut self, id: ConnectionId, bytes: usize, lines: u64) {
        #[cfg(any(test, feature = "simulation"))]
        {
            self.inputs += u64::from(bytes > 0);
        }
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.bytes_in += bytes as u64;
        if !session.is_console() {
            self.counters.bytes_in += bytes as u64;
            self.counters.lines_in += lines;
        }
    }

    fn handle_line(&mut self, now: Now, id: ConnectionId, line: &[u8]) -> Flow {
        if line.is_empty() {
            return self.pass_empty_line(now, id);
        }
        // The scratch is lent out while the line is handled.
        let mut clean = std::mem::take(&mut self.line);
        clean.clear();
        if self.config.is_raw() {
            clean.extend_from_slice(line);
        } else {
            text::clean_into(line, &mut clean);
        }
        let flow = self.handle_clean_line(now, id, &clean);
        self.line = clean;
        flow
    }

    /// One of so many pays for all of them.
    fn pass_empty_line(&mut self, now: Now, id: ConnectionId) -> Flow {
        let Some(session) = self.sessions.get_mut(id) else { return Flow::Done };
        session.empty_lines += 1;
        if session.empty_lines < limits::EMPTY_LINES_PER_LINE {
            return Flow::Done;
        }
        let flow = self.pay_unheard(now, id, 1);
        if let Some(session) = self.sessions.get_mut(id) {
            session.empty_lines = if flow == Flow::Wait { limits::EMPTY_LINES_PER_LINE - 1 } else { 0 };
        }
        flow
    }

    fn handle_clean_line(&mut self, now: Now, id: ConnectionId, line: &[u8]) -> Flow {
        let Some(session) = self.sessions.get_mut(id) else { return Flow::Done };
        if line.is_empty() {
            return self.pay_unheard(now, id, 1);
        }
        if session.is_console() {
            return self.operate(now, id, &String::from_utf8_lossy(line));
        }
        let is_first = !std::mem::replace(&mut session.has_spoken, true);
        if is_first && !self.config.is_raw() && looks_like_http(line) {
            self.refuse_protocol(now, id, "HTTP; this is a chat server");
            return Flow::Done;
        }
        if line == b"quit" {
            self.quit(now, id);
            return Flow::Done;
        }
        match line {
            [b'/', b'/', ..] if self.config.has_commands() => self.say(now, id, &line[1..], false),
            [b'/', ..] if self.config.has_commands() => match std::str::from_utf8(line) {
                Ok(line) => self.command(now, id, line),
                Err(_) => self.pay_unheard(now, id, 1),
            },
            _ => self.say(now, id, line, false),
        }
    }

    /// Says a line in the session's current room, within its rate and the room's space.
    pub(super) fn say(&mut self, now: Now, id: ConnectionId, line: &[u8], is_action: bool) -> Flow {
        let Some(session) = self.sessions.get(id) else { return Flow::Done };
        let room = session.current.as_ref().map(|current| current.room);
        let paid_before = session.paid_at_ns;
        if self.pay(now, id, 1) == Flow::Wait {
            return Flow::Wait;
        }
        let Some(room) = room else {
            self.tell_politely(id, "you are in no room; /join ROOM enters one");
            return Flow::Done;
        };
        let flow = self.post(now, id, room, line, is_action);
        match self.sessions.get_mut(id) {
            Some(session) if flow == Flow::Wait => session.paid_at_ns = paid_before,
            _ => debug!("client {}: says {}", id.serial(), line.escape_ascii()),
        }
        flow
    }

    /// Takes the cost of a line from the session's allowance, or makes it wait until there is enough:
    /// back-pressure, nothing is lost. Counted by GCRA: one number for each session.
    pub(super) fn pay(&mut self, now: Now, id: ConnectionId, lines: u32) -> Flow {
        let (Some(rate), Some(session)) = (self.config.rate, self.sessions.get_mut(id)) else {
            return Flow::Done;
        };
        let line_ns = 1_000_000_000 / u64::from(rate.lines_per_second.max(1));
        let burst_ns = u64::from(rate.burst_lines.max(1)) * line_ns;
        let now_ns = now.moment.as_nanos();
        let paid_at_ns = session.paid_at_ns.max(now_ns) + (u64::from(lines) * line_ns).min(burst_ns);
        let excess_ns = (paid_at_ns - now_ns).saturating_sub(burst_ns);
        if excess_ns == 0 {
            session.paid_at_ns = paid_at_ns;
            return Flow::Done;
        }
        session.pause = Pause::Rate;
        self.counters.limits_met.count(Limit::Rate);
        self.journal.paced(now, session);
        if !sabotaged!(ForgetRefill) {
            self.deadlines.set(now.moment + std::time::Duration::from_nanos(excess_ns), Timer::Refill(id));
        }
        Flow::Wait
    }

    /// The same for what nobody is told: reading it is work, too. The operator's costs nothing.
    fn pay_unheard(&mut self, now: Now, id: ConnectionId, lines: u32) -> Flow {
        if self.console == Some(id) { Flow::Done } else { self.pay(now, id, lines) }
    }

    pub(super) fn quit(&mut self, now: Now, id: ConnectionId) {
        self.part_politely(now, id, Reason::Quit, "bye");
    }

    /// Takes the session out of its rooms and asks the loop to close it once it has what is due to it.
    pub(super) fn leave(&mut self, now: Now, id: ConnectionId, reason: Reason) {
        let Some(session) = self.sessions.get(id) else { return };
        if session.is_leaving() {
            return;
        }
        #[cfg(any(test, feature = "simulation"))]
        self.hint(super::Hint::Left(id, reason));
        self.leave_rooms(now, id, reason);
        if let Some(session) = self.sessions.get_mut(id) {
            session.leaving = Some(reason);
            session.pause = Pause::None;
        }
        self.make_ready(id);
        self.actions.push_back(Action::Close(id, reason));
    }

    fn refuse_long_line(&mut self, now: Now, id: ConnectionId) -> Flow {
        if self.pay_unheard(now, id, 1) == Flow::Wait {
            return Flow::Wait;
        }
        if let Some(session) = self.sessions.get_mut(id) {
            session.has_spoken = true;
        }
        self.counters.limits_met.count(Limit::LineBytes);
        let most = self.line_bytes_max(id);
        let why =
            if most < self.config.line_bytes_max { "a terminal cuts longer ones" } else { "--max-line" };
        let most = render::count(most as u64, "byte");
        self.tell(id, &format!("that line was too long and was not sent: {most} at most ({why})"));
        if self.console == Some(id) {
            self.prompt();
        }
        Flow::Done
    }

    /// Bytes of a line from this session.
    fn line_bytes_max(&self, id: ConnectionId) -> usize {
        let most = self.config.line_bytes_max;
        if self.console == Some(id) { most.min(limits::TERMINAL_LINE_BYTES_MAX) } else { most }
    }

    fn answer_telnet(&mut self, now: Now, id: ConnectionId, answer: &[u8]) -> Flow {
        let flow = self.pay_unheard(now, id, 1);
        if let Some(session) = self.sessions.get_mut(id)
            && flow == Flow::Done
        {
            session.extras_mut().outbox.push_text(None, answer);
            self.make_ready(id);
        }
        flow
    }

    /// A browser or a TLS client must not have its bytes taken for chat (P43, P44).
    fn refuse_protocol(&mut self, now: Now, id: ConnectionId, what: &str) {
        self.part_with(now, id, Reason::WrongProtocol, &format!("you speak {what}"));
    }
}
