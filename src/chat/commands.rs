//! What people can ask for with a slash: one table, which `/help` and the nearest match read too.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::engine::{ConnectionId, Now, Peer};
use crate::limits::{self, HISTORY_COST_LINES, MEMBERSHIP_COST_LINES};

use super::config::Unnamed;
use super::input::Flow;
use super::limit::{Limit, LimitsMet};
use super::log::Kind;
use super::names::NameError;
use super::outbox::Span;
use super::render;
use super::room::Announcement;
use super::room_id::RoomId;
use super::session::Session;
use super::{Chat, FIRST_ROOM};

/// One command.
struct Command {
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    /// What it takes from the client's `--rate`.
    cost_lines: u32,
    /// Whether the command itself makes a listener present. `/say` and `/me` do so when they post, `/nick` once the
    /// name is granted; `/quit` never does, nor `/ping`, by which programs find out whether the server is there.
    makes_present: bool,
    /// Called with what follows the name (see [`Command::argument`]); it is not blank where `arguments`
    /// demands one.
    run: fn(&mut Chat, Now, ConnectionId, &str) -> Flow,
}

/// Who asks for somebody by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    Member,
    Operator,
}

const COMMANDS: [Command; 13] = [
    Command {
        name: "help",
        arguments: "",
        help: "this page",
        cost_lines: 1,
        makes_present: true,
        run: Chat::help,
    },
    Command {
        name: "nick",
        arguments: "NAME",
        help: "be called NAME",
        cost_lines: MEMBERSHIP_COST_LINES,
        makes_present: false,
        run: Chat::nick,
    },
    Command {
        name: SAY,
        arguments: "TEXT",
        help: "say TEXT, whatever it looks like",
        cost_lines: 0,
        makes_present: false,
        run: Chat::say_text,
    },
    Command {
        name: "me",
        arguments: "TEXT",
        help: "say what you do",
        cost_lines: 0,
        makes_present: false,
        run: Chat::me,
    },
    Command {
        name: "who",
        arguments: "",
        help: "who is in the room",
        cost_lines: 1,
        makes_present: true,
        run: Chat::who,
    },
    Command {
        name: "join",
        arguments: "ROOM",
        help: "enter a room, or return to it",
        cost_lines: MEMBERSHIP_COST_LINES,
        makes_present: true,
        run: Chat::join,
    },
    Command {
        name: "leave",
        arguments: "",
        help: "leave the room you speak in",
        cost_lines: MEMBERSHIP_COST_LINES,
        makes_present: true,
        run: Chat::leave_current,
    },
    Command {
        name: "rooms",
        arguments: "",
        help: "all rooms",
        cost_lines: 1,
        makes_present: true,
        run: Chat::rooms,
    },
    Command {
        name: "msg",
        arguments: "NAME TEXT",
        help: "tell one person alone",
        cost_lines: 1,
        makes_present: true,
        run: Chat::msg,
    },
    Command {
        name: "last",
        arguments: "[N]",
        help: "the last messages again",
        cost_lines: HISTORY_COST_LINES,
        makes_present: true,
        run: Chat::last,
    },
    Command {
        name: "lag",
        arguments: "",
        help: "who is behind, by how much",
        cost_lines: 1,
        makes_present: true,
        run: Chat::lag_report,
    },
    Command {
        name: "ping",
        arguments: "",
        help: "is the server there?",
        cost_lines: 1,
        makes_present: false,
        run: Chat::ping,
    },
    Command {
        name: "quit",
        arguments: "",
        help: "leave",
        cost_lines: 0,
        makes_present: false,
        run: Chat::quit_command,
    },
];

/// The command whose text is never taken for anything else.
const SAY: &str = "say";
const _: () =
    assert!(matches!(crate::codec::line::SAY, [b'/', b's', b'a', b'y', b' ']), "the mark is this command");

impl Command {
    /// What the command is given of what follows the white space behind its name: a text that is said keeps
    /// its own white space.
    fn argument<'a>(&self, text: &'a str) -> &'a str {
        if self.name == SAY { text } else { text.trim() }
    }
}

impl Chat {
    /// Runs a line that begins with a slash.
    pub(super) fn command(&mut self, now: Now, id: ConnectionId, line: &str) -> Flow {
        let (name, text) = line[1..].split_once(char::is_whitespace).unwrap_or((&line[1..], ""));
        let Some(command) = COMMANDS.iter().find(|command| command.name.eq_ignore_ascii_case(name)) else {
            return match self.pay(now, id, 1) {
                Flow::Wait => Flow::Wait,
                Flow::Done => {
                    self.unknown(id, name);
                    Flow::Done
                }
            };
        };
        let paid_before = self.sessions.get(id).map(|session| session.paid_at_ns);
        let required = command
            .arguments
            .split(' ')
            .filter(|argument| !argument.is_empty() && !argument.starts_with('['));
        let is_complete = text.split_whitespace().count() >= required.count();
        // What pays for itself once it runs pays for the answer if it does not.
        let cost_lines = if is_complete { command.cost_lines } else { command.cost_lines.max(1) };
        if self.pay(now, id, cost_lines) == Flow::Wait {
            return Flow::Wait;
        }
        if !is_complete {
            self.tell(id, &format!("usage: /{} {}", command.name, command.arguments));
            return Flow::Done;
        }
        let flow = if command.makes_present && self.arrive(id) == Flow::Wait {
            Flow::Wait
        } else {
            (command.run)(self, now, id, command.argument(text))
        };
        if let (Flow::Wait, Some(session), Some(paid)) = (flow, self.sessions.get_mut(id), paid_before) {
            session.paid_at_ns = paid;
        }
        flow
    }

    fn unknown(&mut self, id: ConnectionId, name: &str) {
        let name = crate::codec::text::truncate_at_char(name, limits::NICK_BYTES_MAX);
        let nearest = COMMANDS
            .iter()
            .map(|command| (strsim::osa_distance(command.name, name), command.name))
            .min()
            .filter(|(distance, nearest)| *distance <= (nearest.len() / 3).max(1));
        let advice = match nearest {
            Some((_, nearest)) => format!("did you mean /{nearest}?"),
            None => "/help lists the commands".into(),
        };
        self.tell(id, &format!("no command /{name}; {advice} (//{name} says it)"));
    }

    fn help(&mut self, _now: Now, id: ConnectionId, _rest: &str) -> Flow {
        let mut text = String::from("Type a line and Enter to say it to the room.\n");
        for Command { name, arguments, help, .. } in &COMMANDS {
            let usage = format!("/{name} {arguments}");
            let _ = writeln!(text, "  {usage:<18} {help}");
        }
        text.push_str("  //TEXT             say a line that begins with a slash\n");
        if let Some(rate) = self.config.rate {
            let _ = writeln!(
                text,
                "At most {} lines a second, {} at once: more will wait, nothing is lost.",
                rate.lines_per_second, rate.burst_lines
            );
        }
        let _ = writeln!(text, "A line has at most {} bytes.", self.config.line_bytes_max);
        self.reply(id, &text);
        Flow::Done
    }

    fn nick(&mut self, now: Now, id: ConnectionId, name: &str) -> Flow {
        if self.wait_to_announce(id) == Flow::Wait {
            return Flow::Wait;
        }
        let Some(session) = self.sessions.get(id) else { return Flow::Done };
        let before = session.to_string();
        let claimed = match session.nick() {
            Some(nick) if nick == name => {
                self.tell(id, &format!("you are {name} already"));
                return Flow::Done;
            }
            Some(nick) => self.names.rename(nick, name, id),
            None => self.names.claim(name, id),
        };
        if let Err(error) = claimed {
            if matches!(error, NameError::TooLong { .. }) {
                self.counters.limits_met.count(Limit::NickBytes);
            }
            self.tell(id, &error.to_string());
            return Flow::Done;
        }
        let Some(session) = self.sessions.get_mut(id) else { return Flow::Done };
        session.extras_mut().nick = Some(name.into());
        if let Some(number) = session.guest.take() {
            self.guests.release(number);
        }
        self.named = None;
        let is_new = !session.is_present;
        let told: Vec<RoomId> =
            session.memberships().filter(|membership| membership.is_told).map(|m| m.room).collect();
        self.journal.renamed(now, id, &before, name);
        #[cfg(any(test, feature = "simulation"))]
        self.hint(super::Hint::Renamed(id, name.into()));
        let words = format!("-- you are now {name} --\n");
        if is_new {
            // Those who take their first names in one turn join in one line, which no reply must divide.
            let due = self.place_behind_announcements(id);
            self.reply_at(due, id, &words);
            // It waited for announcements already.
            self.arrive(id);
        } else {
            self.reply(id, &words);
        }
        for room in told {
            let text = format!("-- {before} is now {name} --\n");
            self.announce_later(room, Announcement { kind: Kind::Notice, text, except: Some(id) });
        }
        Flow::Done
    }

    fn me(&mut self, now: Now, id: ConnectionId, text: &str) -> Flow {
        self.say(now, id, text.as_bytes(), true)
    }

    fn say_text(&mut self, now: Now, id: ConnectionId, text: &str) -> Flow {
        self.say(now, id, text.as_bytes(), false)
    }

    fn who(&mut self, _now: Now, id: ConnectionId, _rest: &str) -> Flow {
        let current = self.sessions.get(id).and_then(|session| session.current.as_ref());
        let Some(room) = current.and_then(|current| self.rooms.get(current.room.index())) else {
            return self.in_no_room(id);
        };
        let people = room.members().iter().filter_map(|slot| self.sessions.at(*slot as usize));
        let mut names: Vec<String> = people
            .filter(|session| session.is_present)
            .take(limits::LISTED_MAX)
            .map(ToString::to_string)
            .collect();
        names.sort_unstable();
        let others = room.people() - names.len();
        let more = others_than_listed(&mut self.counters.limits_met, others);
        let listening = match room.listeners {
            0 => String::new(),
            listeners => format!("; {listeners} listening"),
        };
        let text = format!("{} in {}: {}{more}{listening}", room.people(), room.name, names.join(", "));
        self.tell(id, &text);
        Flow::Done
    }

    fn join(&mut self, _now: Now, id: ConnectionId, name: &str) -> Flow {
        let name = name.strip_prefix('#').unwrap_or(name);
        if let Err(why) = Chat::check_room_name(name) {
            if name.len() > limits::ROOM_NAME_BYTES_MAX {
                self.counters.limits_met.count(Limit::RoomNameBytes);
            }
            self.tell(id, &why);
            return Flow::Done;
        }
        let Some(session) = self.sessions.get(id) else { return Flow::Done };
        let rooms = session.memberships().count();
        if let Some(room) = self.room_ids.get(name)
            && session.membership(*room).is_some()
        {
            let room = *room;
            if let Some(session) = self.sessions.get_mut(id) {
                session.return_to(room);
            }
            self.tell(id, &format!("you speak in {name} again"));
            return Flow::Done;
        }
        if rooms >= self.config.rooms_per_client_max {
            let most = self.config.rooms_per_client_max;
            self.counters.limits_met.count(Limit::RoomsPerClient);
            self.tell(
                id,
                &format!("you are in {rooms} rooms, {most} at most (--max-rooms-per-client); /leave one"),
            );
            return Flow::Done;
        }
        match self.room_named(name) {
            Err(why) => self.tell(id, why),
            Ok(room) => {
                if self.wait_for_announcements(id, vec![room]) == Flow::Wait {
                    return Flow::Wait;
                }
                self.tell(id, &format!("you speak in {name} now; /leave goes back"));
                self.enter(id, room);
                self.watch_new_room(room);
            }
        }
        Flow::Done
    }

    fn leave_current(&mut self, now: Now, id: ConnectionId, _rest: &str) -> Flow {
        let current = self.sessions.get(id).and_then(|session| session.current.as_ref());
        let Some((room_id, name)) = current
            .and_then(|current| Some((current.room, self.rooms.get(current.room.index())?.name.clone())))
        else {
            return self.in_no_room(id);
        };
        if self.wait_for_announcements(id, vec![room_id]) == Flow::Wait {
            return Flow::Wait;
        }
        self.leave_room(now, id, room_id, true);
        let current = self.sessions.get(id).and_then(|session| session.current.as_ref());
        let text = match current.and_then(|current| self.rooms.get(current.room.index())) {
            Some(room) => format!("you left {name} and speak in {} now", room.name),
            None => format!("you left {name} and are in no room; /join {FIRST_ROOM} goes back"),
        };
        self.tell(id, &text);
        Flow::Done
    }

    fn rooms(&mut self, _now: Now, id: ConnectionId, _rest: &str) -> Flow {
        let mut rooms: Vec<_> = self.rooms.iter().map(|(_, room)| (room.people(), &*room.name)).collect();
        rooms.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        let listed: Vec<String> = rooms
            .iter()
            .take(limits::LISTED_MAX)
            .map(|(people, name)| format!("{name} ({people})"))
            .collect();
        let others = rooms.len() - listed.len();
        let more = others_than_listed(&mut self.counters.limits_met, others);
        let text = format!("{}: {}{more}", render::count(rooms.len() as u64, "room"), listed.join(", "));
        self.tell(id, &text);
        Flow::Done
    }

    fn msg(&mut self, now: Now, id: ConnectionId, rest: &str) -> Flow {
        let Some((name, text)) = rest.split_once(char::is_whitespace) else { return Flow::Done };
        let text = text.trim_start();
        let target = self.called(name, Asker::Member);
        let Some(target) = target else {
            self.tell(id, &format!("nobody here is called {name}; /who lists the room"));
            return Flow::Done;
        };
        let (Some(from), Some(to)) = (self.sessions.get(id), self.sessions.get(target)) else {
            return Flow::Done;
        };
        let (from, to_name) = (from.to_string(), to.to_string());
        if to.private_bytes() + text.len() > self.config.private_bytes_max {
            self.counters.limits_met.count(Limit::PrivateBytes);
            self.tell(id, &format!("{to_name} is not reading: not delivered"));
            return Flow::Done;
        }
        let time = self.stamp.at(now.unix_s).to_string();
        self.reply(target, &format!("{time} {from} -> you: {text}\n"));
        if target != id {
            self.reply(id, &format!("{time} you -> {to_name}: {text}\n"));
        }
        Flow::Done
    }

    /// Who is called so: by nick, by number, or by address where that is to be seen.
    pub(super) fn called(&self, name: &str, asker: Asker) -> Option<ConnectionId> {
        let peer = name.parse().ok().map(|address: SocketAddr| Peer::from(address));
        let serial = name.strip_prefix("unix#").and_then(|serial| serial.parse().ok());
        let is_called = |session: &&Session| match session.peer {
            Peer::Inet(..) => Some(session.peer) == peer,
            Peer::Unix => Some(session.id.serial()) == serial,
            Peer::Console => false,
        };
        // What is no address needs no look at everybody's.
        let is_address = peer.is_some() || serial.is_some();
        let sees_addresses = asker == Asker::Operator || self.config.unnamed == Unnamed::Address;
        let unnamed = || self.sessions.iter().find(is_called).map(|session| session.id);
        self.names
            .owner(name)
            .or_else(|| self.guests.owner(name))
            .or_else(|| if is_address && sees_addresses { unnamed() } else { None })
            .filter(|id| {
                // Members know nothing of who only listens, and would take a newcomer for who had its number before.
                let is_seen = |session: &Session| asker == Asker::Operator || session.is_present;
                self.sessions.get(*id).is_some_and(|session| is_seen(session) && !session.is_leaving())
            })
    }

    fn last(&mut self, _now: Now, id: ConnectionId, rest: &str) -> Flow {
        let wanted = match rest {
            "" => limits::HISTORY_MESSAGES as u64,
            number => match number.parse() {
                Ok(number) => number,
                Err(_) => {
                    self.tell(id, "usage: /last [N], N a number");
                    return Flow::Done;
                }
            },
        };
        let Some(session) = self.sessions.get_mut(id) else { return Flow::Done };
        let Some(room_id) = session.current.as_ref().map(|current| current.room) else {
            return self.in_no_room(id);
        };
        let Some(room) = self.rooms.get_mut(room_id.index()) else { return Flow::Done };
        let to = room.log.end();
        let cursor = room.log.last_messages(wanted);
        let shown = to.messages - cursor.messages;
        if shown == 0 {
            self.tell(id, "no messages are kept");
            return Flow::Done;
        }
        room.pin(id, cursor.offset, 1);
        self.tell(id, &format!("the last {}", render::count(shown, "message")));
        if let Some(session) = self.sessions.get_mut(id) {
            // Behind the reply above, which is due once all that was said so far is read.
            session.extras_mut().outbox.push_span(Span { room: room_id, cursor, to, is_history: true });
        }
        self.tell(id, "end");
        Flow::Done
    }

    fn lag_report(&mut self, _now: Now, id: ConnectionId, _rest: &str) -> Flow {
        let current = self.sessions.get(id).and_then(|session| session.current.as_ref());
        let Some(room) = current.and_then(|current| self.rooms.get(current.room.index())) else {
            return self.in_no_room(id);
        };
        let end = room.log.end();
        let behind = room.lagging();
        if behind.is_empty() {
            let name = room.name.clone();
            self.tell(id, &format!("nobody in {name} is behind"));
            return Flow::Done;
        }
        // Those furthest behind would have to be looked for among all.
        let mut listed: Vec<(u64, u64, String)> = behind
            .iter()
            .take(limits::LISTED_MAX)
            .filter_map(|slot| self.sessions.at(*slot as usize))
            .filter_map(|session| {
                let cursor = session.membership(room.id)?.cursor;
                let name = if session.is_present { session.to_string() } else { "a listener".into() };
                Some((end.messages - cursor.messages, end.offset - cursor.offset, name))
            })
            .collect();
        listed.sort_unstable_by(|a, b| b.cmp(a));
        let others = behind.len() - listed.len();
        let mut text =
            format!("-- {} behind in {} --\n", render::count(behind.len() as u64, "reader"), room.name);
        for (messages, bytes, name) in &listed {
            let _ = writeln!(
                text,
                "  {name}: {}, {}",
                render::count(*messages, "message"),
                render::bytes(*bytes)
            );
        }
        if others > 0 {
            let _ = writeln!(text, " {}", others_than_listed(&mut self.counters.limits_met, others));
        }
        self.reply(id, &text);
        Flow::Done
    }

    fn ping(&mut self, _now: Now, id: ConnectionId, rest: &str) -> Flow {
        let echo = if rest.is_empty() { String::new() } else { format!(" {rest}") };
        self.tell(id, &format!("pong{echo}"));
        Flow::Done
    }

    fn quit_command(&mut self, now: Now, id: ConnectionId, _rest: &str) -> Flow {
        self.quit(now, id);
        Flow::Done
    }

    fn in_no_room(&mut self, id: ConnectionId) -> Flow {
        self.tell(id, "you are in no room; /join ROOM enters one");
        Flow::Done
    }
}

/// What an answer ends with that names no more than [`limits::LISTED_MAX`].
fn others_than_listed(limits_met: &mut LimitsMet, others: usize) -> String {
    if others == 0 {
        return String::new();
    }
    limits_met.count(Limit::Listed);
    format!(" and {others} others")
}
