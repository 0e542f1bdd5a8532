//! What lines do: the model decodes what the server consumed by itself.

use std::net::SocketAddr;
use std::rc::Rc;

use super::reader::Item;
use super::room::{Record, Room};
use super::shape::{COMMAND_ADVICE, NAME_REFUSALS, Shape};
use super::{Model, count};
use crate::chat::config::Unnamed;
use crate::chat::outbox::ITEM_BYTES;
use crate::chat::{FIRST_ROOM, Hint};
use crate::codec::line::Decoded;
use crate::codec::text;
use crate::engine::{ConnectionId, Now, Peer, Reason};
use crate::limits;

/// What a handshake begins with.
const TLS: &[u8] = &[0x16, 3];

impl Model {
    /// Bytes that the server took: whole lines, or parts of one that is too long.
    pub(super) fn consume(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) -> Result<(), String> {
        let dialect = self.config.dialect();
        let is_console = self.members.get(&id).is_some_and(|member| member.peer == Peer::Console);
        let terminal_max = if is_console { limits::TERMINAL_LINE_BYTES_MAX } else { usize::MAX };
        let line_bytes_max = self.config.line_bytes_max.min(terminal_max);
        let mut done = 0;
        while done < bytes.len() {
            let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
            if member.is_leaving {
                return Ok(());
            }
            self.apply_due_hints()?;
            if self.is_gone(id) {
                // What was announced before this line closed who sent it.
                return self.count_input();
            }
            if self.refuse_protocol(id, &bytes[done..]) {
                let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
                let decoded = member.decoder.decode(&bytes[done..], dialect, line_bytes_max);
                let is_line = !bytes[done..].starts_with(TLS) && matches!(decoded, Decoded::Line { .. });
                return if is_line { self.count_input() } else { self.apply_due_hints() };
            }
            let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
            let taken = match member.decoder.decode(&bytes[done..], dialect, line_bytes_max) {
                Decoded::Incomplete { consumed: 0 } => {
                    let rest = bytes[done..].escape_ascii();
                    return Err(format!("I2: client {}: \"{rest}\" is taken, which is no line", id.serial()));
                }
                Decoded::Incomplete { consumed } => {
                    self.count_input()?;
                    consumed
                }
                Decoded::Line { line, consumed } => {
                    let line = line.to_vec();
                    self.line(now, id, &line)?;
                    self.count_input()?;
                    consumed
                }
                Decoded::TooLong { consumed } => {
                    member.has_spoken = true;
                    let most = count(line_bytes_max as u64, "byte");
                    let text =
                        format!("that line was too long and was not sent: {most} at most (--max-line)");
                    self.tell(id, &text);
                    self.count_input()?;
                    consumed
                }
                Decoded::TelnetReply(reply) => {
                    for reader in &mut member.readers {
                        reader.ask_telnet(reply);
                    }
                    // It belongs to the line that follows it.
                    continue;
                }
            };
            done += taken;
            self.check_arrival(id)?;
        }
        Ok(())
    }

    /// Nobody is told of as there but for a line that makes a member.
    fn check_arrival(&self, id: ConnectionId) -> Result<(), String> {
        match self.members.get(&id) {
            Some(member) if member.owes_line && !member.is_leaving => {
                Err(format!("I2: client {} is told of as there, and said nothing", id.serial()))
            }
            _ => Ok(()),
        }
    }

    /// The server took the end of a connection's input, with a last line perhaps.
    pub(super) fn end(&mut self, now: Now, id: ConnectionId, rest: &[u8]) -> Result<(), String> {
        let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
        if member.is_leaving {
            return Ok(());
        }
        let last = member.decoder.decode_last(rest).map(<[u8]>::to_vec);
        self.apply_due_hints()?;
        if let Some(line) = last {
            if !self.is_gone(id) && !self.refuse_protocol(id, rest) {
                self.line(now, id, &line)?;
            }
            self.count_input()?;
            self.check_arrival(id)?;
        }
        self.leave(id, true);
        Ok(())
    }

    fn count_input(&mut self) -> Result<(), String> {
        self.apply_due_hints()?;
        self.inputs += 1;
        Ok(())
    }

    /// The first words of a browser, or of TLS: the server says which.
    fn refuse_protocol(&mut self, id: ConnectionId, bytes: &[u8]) -> bool {
        let Some(member) = self.members.get(&id) else { return false };
        let is_tls = bytes.starts_with(TLS);
        let hinted = self.hints.front().map(|hinted| (&hinted.hint, hinted.inputs));
        let is_refused = matches!(hinted, Some((Hint::Left(left, Reason::WrongProtocol), inputs))
            if *left == id && inputs <= self.inputs);
        // Who has spoken is never refused: then the hint stays, which nothing explains.
        if member.has_spoken || !is_refused {
            return false;
        }
        self.hints.pop_front();
        let what = if is_tls { "TLS; connect without it" } else { "HTTP; this is a chat server" };
        self.part_with(id, &format!("you speak {what}"), true);
        true
    }

    fn line(&mut self, now: Now, id: ConnectionId, line: &[u8]) -> Result<(), String> {
        let mut clean = Vec::new();
        if self.config.is_raw() {
            clean.extend_from_slice(line);
        } else {
            text::clean_into(line, &mut clean);
        }
        if clean.is_empty() {
            return Ok(());
        }
        let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
        member.has_spoken = true;
        if member.peer == Peer::Console {
            return self.operate(now, &String::from_utf8_lossy(&clean));
        }
        let has_commands = !self.config.plain && !self.config.is_raw();
        match &clean[..] {
            b"quit" => self.quit(id),
            [b'/', b'/', ..] if has_commands => return self.say(now, id, &clean[1..], false),
            [b'/', ..] if has_commands => {
                if let Ok(line) = std::str::from_utf8(&clean) {
                    return self.command(now, id, line);
                }
            }
            _ => return self.say(now, id, &clean, false),
        }
        Ok(())
    }

    fn quit(&mut self, id: ConnectionId) {
        self.part_politely(id, "bye");
    }

    fn command(&mut self, now: Now, id: ConnectionId, line: &str) -> Result<(), String> {
        let (typed, text) = line[1..].split_once(char::is_whitespace).unwrap_or((&line[1..], ""));
        let rest = text.trim();
        let words = rest.split_whitespace().count();
        let room = self.members.get(&id).and_then(|member| member.rooms.last()).map(|(room, _)| *room);
        let usage = |name: &str| format!("usage: /{name}");
        let is_complete = match &*typed.to_ascii_lowercase() {
            "join" => words >= 1,
            "msg" => words >= 2,
            name => ["help", "who", "leave", "rooms", "last", "lag"].contains(&name),
        };
        if is_complete {
            self.expect_present(id)?;
        }
        match (&*typed.to_ascii_lowercase(), room) {
            ("nick", _) if words < 1 => self.tell(id, &usage("nick NAME")),
            ("say", _) if words < 1 => self.tell(id, &usage("say TEXT")),
            ("say", _) => return self.say(now, id, text.as_bytes(), false),
            ("me", _) if words < 1 => self.tell(id, &usage("me TEXT")),
            ("join", _) if words < 1 => self.tell(id, &usage("join ROOM")),
            ("msg", _) if words < 2 => self.tell(id, &usage("msg NAME TEXT")),
            ("help", _) => {
                let line_bytes_max = self.config.line_bytes_max;
                self.push(id, |due| Item::Shaped { due, shape: Shape::Help { lines: 0, line_bytes_max } });
            }
            ("nick", _) => return self.nick(id, rest),
            ("me", _) => return self.say(now, id, rest.as_bytes(), true),
            ("join", _) => self.join(id, rest)?,
            ("rooms", _) => self.list_rooms(id),
            ("msg", _) => self.msg(now, id, rest),
            ("ping", _) if rest.is_empty() => self.tell(id, "pong"),
            ("ping", _) => self.tell(id, &format!("pong {rest}")),
            ("quit", _) => self.quit(id),
            ("last", _) if !rest.is_empty() && rest.parse::<u64>().is_err() => {
                self.tell(id, "usage: /last [N], N a number");
            }
            ("who" | "leave" | "last" | "lag", None) => {
                self.tell(id, "you are in no room; /join ROOM enters one");
            }
            ("who", Some(room)) => self.who(id, room),
            ("leave", Some(room)) => self.leave_current(id, room),
            ("last", Some(room)) => self.last(id, room, rest.parse().unwrap_or(20)),
            ("lag", Some(room)) => {
                let room = self.rooms[room].name.clone();
                self.push(id, |due| Item::Shaped { due, shape: Shape::Lag { room: room.clone() } });
            }
            _ => {
                let typed = text::truncate_at_char(typed, limits::NICK_BYTES_MAX);
                let head = format!("-- no command /{typed}; ");
                let tail = format!(" (//{typed} says it) --");
                let shape = Shape::Line { head, middles: COMMAND_ADVICE, tail };
                self.push(id, |due| Item::Shaped { due, shape: shape.clone() });
            }
        }
        Ok(())
    }

    fn nick(&mut self, id: ConnectionId, name: &str) -> Result<(), String> {
        let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
        if member.nick.as_deref() == Some(name) {
            self.tell(id, &format!("you are {name} already"));
            return Ok(());
        }
        let hint = self.hints.front().map(|hinted| &hinted.hint);
        if !matches!(hint, Some(Hint::Renamed(who, new)) if *who == id && **new == *name) {
            let shape = Shape::Line { head: "-- ".into(), middles: NAME_REFUSALS, tail: " --".into() };
            self.push(id, |due| Item::Shaped { due, shape: shape.clone() });
            return Ok(());
        }
        let is_taken = self.called(name, false).is_some_and(|other| other != id);
        if is_taken || name.is_empty() || name.len() > limits::NICK_BYTES_MAX {
            // The hint stays, which nothing explains.
            return Ok(());
        }
        self.hints.pop_front();
        let before = self.name(id);
        let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
        (member.nick, member.guest) = (Some(name.into()), None);
        let is_present = member.is_present;
        let rooms: Vec<usize> = member.rooms.iter().map(|(room, _)| *room).collect();
        let told: Vec<usize> = rooms.into_iter().filter(|room| self.rooms[*room].is_told_of(id)).collect();
        let words = format!("-- you are now {name} --\n");
        match is_present {
            true => self.reply(id, &words),
            // Who came and went may be told behind it.
            false => self.reply_alone(id, &words),
        }
        self.expect_present(id)?;
        for room in told {
            let bytes = format!("-- {before} is now {name} --\n").into_bytes().into();
            let record = Record { bytes, is_message: false, except: Some(id) };
            self.announce_later(room, record);
        }
        Ok(())
    }

    /// Who goes by this name or address.
    fn called(&self, name: &str, is_operator: bool) -> Option<ConnectionId> {
        let peer = name.parse().ok().map(|address: SocketAddr| Peer::from(address));
        let is_seen = |id: &ConnectionId| is_operator || self.members[id].is_present;
        let is_named = |id: &ConnectionId| {
            let member = &self.members[id];
            member.nick.as_ref().is_some_and(|nick| nick.to_lowercase() == name.to_lowercase())
        };
        let sees_addresses = is_operator || self.config.unnamed == Unnamed::Address;
        let is_at = |id: &ConnectionId| {
            let member = &self.members[id];
            if member.guest.is_some_and(|number| name.to_lowercase() == format!("guest-{number}")) {
                return true;
            }
            if !sees_addresses {
                return false;
            }
            let is_unix = member.peer == Peer::Unix && name == format!("unix#{}", id.serial());
            !member.is_leaving && (matches!(peer, Some(peer) if peer == member.peer) || is_unix)
        };
        let ids = || self.members.keys().copied();
        ids().find(is_named).or_else(|| ids().find(is_at)).filter(is_seen)
    }

    fn join(&mut self, id: ConnectionId, name: &str) -> Result<(), String> {
        let name = name.strip_prefix('#').unwrap_or(name);
        if name.is_empty() || name.len() > limits::ROOM_NAME_BYTES_MAX {
            let most = limits::ROOM_NAME_BYTES_MAX;
            self.tell(id, &format!("a room's name has 1 to {most} bytes"));
            return Ok(());
        }
        let is_good = |c: &char| c.is_alphanumeric() || "_-.+".contains(*c);
        if let Some(bad) = name.chars().find(|character| !is_good(character)) {
            self.tell(id, &format!("a room's name has letters, digits and _-.+ only, not '{bad}'"));
            return Ok(());
        }
        let mut room = self.room_named(name);
        let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
        if let Some(at) = member.rooms.iter().position(|(entered, _)| Some(*entered) == room) {
            let entered = member.rooms.remove(at);
            member.rooms.push(entered);
            self.tell(id, &format!("you speak in {name} again"));
            return Ok(());
        }
        let (rooms, most) = (member.rooms.len(), self.config.rooms_per_client_max);
        if rooms >= most {
            let text =
                format!("you are in {rooms} rooms, {most} at most (--max-rooms-per-client); /leave one");
            self.tell(id, &text);
            return Ok(());
        }
        if room.is_none() {
            // An empty room may make way.
            self.apply_due_hints()?;
            if self.rooms.iter().filter(|room| room.exists).count() < self.config.rooms_max {
                self.rooms.push(Room::new(name, false, &self.config));
                room = Some(self.rooms.len() - 1);
            }
        }
        match room {
            None => self.tell(id, "all rooms are taken (--max-rooms); join one of /rooms"),
            Some(room) => {
                self.tell(id, &format!("you speak in {name} now; /leave goes back"));
                self.apply_due_hints()?;
                self.enter(id, room);
            }
        }
        Ok(())
    }

    fn leave_current(&mut self, id: ConnectionId, room: usize) {
        self.leave_room(id, room, true);
        let left = self.rooms[room].name.clone();
        let now = self.members.get(&id).and_then(|member| member.rooms.last());
        let text = match now {
            Some((room, _)) => format!("you left {left} and speak in {} now", self.rooms[*room].name),
            None => format!("you left {left} and are in no room; /join {FIRST_ROOM} goes back"),
        };
        self.tell(id, &text);
    }

    fn who(&mut self, id: ConnectionId, room: usize) {
        let is_there = |id: &&ConnectionId| {
            let member = &self.members[*id];
            member.is_present && member.rooms.iter().any(|(entered, _)| *entered == room)
        };
        let mut names: Vec<String> = self.members.keys().filter(is_there).map(|id| self.name(*id)).collect();
        names.sort();
        let room = &self.rooms[room];
        let listening = match room.readers - room.people {
            0 => String::new(),
            listeners => format!("; {listeners} listening"),
        };
        let text = format!("{} in {}: {}{listening}", names.len(), room.name, names.join(", "));
        self.tell(id, &text);
    }

    fn list_rooms(&mut self, id: ConnectionId) {
        let mut rooms: Vec<&Room> = self.rooms.iter().filter(|room| room.exists).collect();
        rooms.sort_by_key(|room| (std::cmp::Reverse(room.people), &room.name));
        let listed: Vec<String> =
            rooms.iter().map(|room| format!("{} ({})", room.name, room.people)).collect();
        let text = format!("{}: {}", count(rooms.len() as u64, "room"), listed.join(", "));
        self.tell(id, &text);
    }

    fn msg(&mut self, now: Now, id: ConnectionId, rest: &str) {
        let (name, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let text = text.trim_start();
        let Some(target) = self.called(name, false) else {
            return self.tell(id, &format!("nobody here is called {name}; /who lists the room"));
        };
        let (time, from, to) = (self.stamp.time(now.unix_s), self.name(id), self.name(target));
        let come = format!("{time} {from} -> you: {text}\n");
        let gone = format!("{time} you -> {to}: {text}\n");
        let refused = format!("-- {to} is not reading: not delivered --\n");
        // Where much waits for somebody, only the server knows how much exactly: a torn record and the news of a
        // gap may be there, too.
        let beside = limits::record_bytes_max(self.config.line_bytes_max) + 3 * ITEM_BYTES;
        let waiting = self.members[&target].waiting_bytes_max + beside + text.len();
        if waiting <= self.config.private_bytes_max {
            self.reply(target, &come);
            if target != id {
                self.reply(id, &gone);
            }
        } else if target == id {
            self.reply_either(id, &[Some(&come), Some(&refused)]);
        } else {
            self.reply_either(target, &[Some(&come), None]);
            self.reply_either(id, &[Some(&gone), Some(&refused)]);
        }
    }

    fn reply_either(&mut self, id: ConnectionId, texts: &[Option<&str>]) {
        self.push(id, |due| {
            let item = |text: &&str| Item::Text { due, bytes: Rc::from(text.as_bytes()) };
            Item::Choice(texts.iter().map(|text| text.iter().map(item).collect()).collect())
        });
    }

    fn last(&mut self, id: ConnectionId, room: usize, wanted: u64) {
        let said = &self.rooms[room];
        let until = said.records.len();
        // A quiet room may have been trimmed to what newcomers are shown.
        let most = said.messages_kept().min(wanted);
        let least = most.min(self.config.history_messages);
        let starts: Vec<(u64, usize)> =
            (least..=most).map(|shown| (shown, said.last_messages(shown))).collect();
        self.push(id, |due| {
            let text = |text: String| Item::Text { due, bytes: text.into_bytes().into() };
            let ways = starts.iter().map(|(shown, next)| match shown {
                0 => vec![text("-- no messages are kept --\n".into())],
                _ => vec![
                    text(format!("-- the last {} --\n", count(*shown, "message"))),
                    Item::History { room, next: *next, until },
                    text("-- end --\n".into()),
                ],
            });
            Item::Choice(ways.collect())
        });
    }

    /// The operator's lines, as far as others see what they do.
    fn operate(&mut self, now: Now, line: &str) -> Result<(), String> {
        let (name, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        let rest = rest.trim();
        match name {
            "quit" => return self.stop(),
            "say" if !rest.is_empty() => {
                for room in 0..self.rooms.len() {
                    if self.rooms[room].exists {
                        let bytes = self.message(now, "", "operator", rest.as_bytes(), false);
                        let bytes = String::from_utf8_lossy(&bytes).into_owned().into_bytes().into();
                        let record = Record { bytes, is_message: true, except: None };
                        self.announce_later(room, record);
                    }
                }
            }
            "watch" => self.is_exact = false,
            "kick" => {
                let why = rest.split_once(char::is_whitespace).map_or("", |(_, why)| why.trim());
                let who = rest.split_whitespace().next().unwrap_or_default();
                let serial = who.trim_start_matches('#').parse().ok();
                if let Some(Hint::Left(id, Reason::Kicked)) =
                    self.hints.front().map(|hinted| hinted.hint.clone())
                    && (serial == Some(id.serial()) || self.called(who, true) == Some(id))
                {
                    self.hints.pop_front();
                    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
                    self.part_with(id, &format!("the operator closed your connection{why}"), true);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
