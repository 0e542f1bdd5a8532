//! The operator's console: a session like any other, whose lines are commands.
//!
//! It is a connection of the loop (standard input and output), so a terminal that is stopped, slow or gone
//! is handled like a slow or lost client; and `watch` makes it a member of every room.

use std::fmt::Write as _;

use ::log::info;

use crate::engine::{ConnectionId, Now, Reason};
use crate::limits;

use super::Chat;
use super::commands::Asker;
use super::input::Flow;
use super::log::Kind;
use super::outbox::Span;
use super::render::{self, Message};
use super::room::Announcement;
use super::room_id::RoomId;
use super::session::{Extras, Membership, Session, write_address};

/// What the operator can type, and what it does.
const HELP: &str = "\
quit               end the server: everyone is told, and gets what is due to them
clients            the table of clients
rooms              the table of rooms
say TEXT           say something in every room
kick ID [REASON]   close the client with this id or nick
closed             who was closed or not let in, why, and what to change
stats              what the server has done so far
watch              see the chat, or stop seeing it
help               this page
anything else      the threads and the table of clients
";

impl Chat {
    /// Runs a line of the operator's.
    pub(super) fn operate(&mut self, now: Now, id: ConnectionId, line: &str) -> Flow {
        let (name, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        let rest = rest.trim();
        match name {
            "quit" => {
                self.stop(now);
                return Flow::Done;
            }
            "" => {}
            "clients" => self.reply_clients(now, id),
            "closed" => self.reply_closed(id),
            "rooms" => self.reply_rooms(id),
            "say" if self.wait_to_announce_everywhere(id) == Flow::Wait => return Flow::Wait,
            "say" => self.say_everywhere(now, id, rest),
            "kick" => self.kick(now, id, rest),
            "stats" => self.reply_stats(now, id),
            "watch" => self.watch(now, id),
            "help" => self.reply(id, HELP),
            _ => {
                self.reply(id, "threads: 1 serves everyone (another only waits for signals)\n");
                self.reply_clients(now, id);
            }
        }
        self.prompt();
        Flow::Done
    }

    /// Asks for the next line, where somebody sits before the console.
    pub(super) fn prompt(&mut self) {
        if self.config.console_prompt
            && let Some(console) = self.console
        {
            self.reply(console, ">> ");
        }
    }

    /// Says, where somebody sits before the console, that Ctrl-D ended that and not the server.
    pub(super) fn end_console(&mut self) {
        if self.config.console_prompt
            && let Some(console) = self.console
        {
            self.reply(console, "\r\x1b[K-- end of input: the server goes on; Ctrl-C ends it --\n");
        }
    }

    fn reply_clients(&mut self, now: Now, console: ConnectionId) {
        let mut rows = vec![
            ["id", "name", "address", "room", "since", "idle", "in", "out", "behind"]
                .map(String::from)
                .to_vec(),
        ];
        for session in self.sessions.iter().filter(|session| !session.is_console()) {
            let mut address = String::new();
            // A String takes all that is written to it.
            let _ = write_address(&mut address, session.peer, session.id);
            let current = session.current.as_ref();
            let room = current.and_then(|current| self.rooms.get(current.room.index()));
            let others = session.memberships().count().saturating_sub(1);
            let behind = self.unread_bytes(session);
            rows.push(vec![
                session.id.serial().to_string(),
                session.given_name().map_or_else(|| String::from("-"), String::from),
                address,
                match room {
                    Some(room) if others > 0 => format!("{}+{others}", room.name),
                    Some(room) => room.name.to_string(),
                    None => "-".into(),
                },
                self.stamp.time(session.since_unix_s),
                render::duration(now.moment.since(session.active_at)),
                render::bytes(session.bytes_in),
                render::bytes(session.bytes_out),
                render::bytes(behind + session.private_bytes() as u64),
            ]);
        }
        let total = render::count(rows.len() as u64 - 1, "client");
        self.reply(console, &format!("{}{total}\n", table(&rows)));
    }

    /// What of its rooms' logs a session has not got.
    pub(super) fn unread_bytes(&self, session: &Session) -> u64 {
        let behind = |membership: &Membership| {
            Some(self.rooms.get(membership.room.index())?.log.end().offset - membership.cursor.offset)
        };
        session.memberships().filter_map(behind).sum()
    }

    /// What waits for a session besides its rooms' logs, and can still be written.
    pub(super) fn due_bytes(&self, session: &Session) -> u64 {
        let Some(Extras { outbox, .. }) = session.extras.as_deref() else { return 0 };
        let kept = |span: &Span| {
            let base = self.rooms.get(span.room.index())?.log.base().offset;
            Some(span.to.offset.saturating_sub(span.cursor.offset.max(base)))
        };
        outbox.due_text_bytes() + outbox.spans().filter_map(kept).sum::<u64>()
    }

    /// Closes by reason, and the last ones, each with the limit that caused it.
    fn reply_closed(&mut self, console: ConnectionId) {
        let mut text = String::from("closed, and not let in, by reason\n");
        for (reason, closes) in self.counters.ends_by_reason() {
            let _ = writeln!(text, "{closes:>8}  {reason}");
        }
        let mut rows = vec![
            ["id", "name", "address", "when", "times", "reason", "limit", "measured", "to change"]
                .map(String::from)
                .to_vec(),
        ];
        let none = || String::from("-");
        for close in self.journal.closes.iter() {
            rows.push(vec![
                close.serial.map_or_else(none, |serial| serial.to_string()),
                close.name.as_deref().map_or_else(none, String::from),
                close.address(),
                self.stamp.time(close.unix_s),
                close.times.to_string(),
                close.end.reason.to_string(),
                close.end.met.map_or_else(none, |met| met.limit.to_string()),
                close.measured().unwrap_or_else(none),
                close.end.met.and_then(|met| met.limit.remedy()).map_or_else(none, String::from),
            ]);
        }
        let last = render::count(rows.len() as u64 - 1, "close");
        let _ = writeln!(text, "the last {last}, the newest last");
        self.reply(console, &(text + &table(&rows)));
    }

    fn reply_rooms(&mut self, console: ConnectionId) {
        let mut rows =
            vec![["room", "members", "listening", "behind", "messages", "memory"].map(String::from).to_vec()];
        let mut rooms: Vec<_> = self.rooms.iter().map(|(_, room)| room).collect();
        rooms.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for room in rooms {
            rows.push(vec![
                room.name.to_string(),
                room.people().to_string(),
                room.listeners.to_string(),
                room.lagging().len().to_string(),
                room.log.end().messages.to_string(),
                render::bytes(room.log.capacity_bytes() as u64),
            ]);
        }
        self.reply(console, &table(&rows));
    }

    fn say_everywhere(&mut self, now: Now, console: ConnectionId, text: &str) {
        if text.is_empty() {
            return self.reply(console, "usage: say TEXT\n");
        }
        let time = self.stamp.at(now.unix_s).to_string();
        let rooms: Vec<RoomId> = self.rooms.iter().map(|(_, room)| room.id).collect();
        for room in rooms {
            let message =
                Message { time: &time, tag: "", name: "operator", text: text.as_bytes(), is_action: false };
            let record = message.parts(self.config.format).concat();
            let text = String::from_utf8_lossy(&record).into_owned();
            self.announce_later(room, Announcement { kind: Kind::Message, text, except: None });
        }
        info!("operator: says: {text}");
    }

    fn kick(&mut self, now: Now, console: ConnectionId, rest: &str) {
        let (who, why) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if who.is_empty() {
            return self.reply(console, "usage: kick ID [REASON]; clients lists the ids\n");
        }
        let by_id = who.trim_start_matches('#').parse().ok();
        let target = self
            .sessions
            .iter()
            .find(|session| {
                !session.is_console() && !session.is_leaving() && Some(session.id.serial()) == by_id
            })
            .map(|session| session.id)
            .or_else(|| self.called(who, Asker::Operator));
        let Some((target, name)) = target.and_then(|id| Some((id, self.sessions.get(id)?.to_string())))
        else {
            return self.reply(console, &format!("kick: {who}: no such client; clients lists them\n"));
        };
        let why = why.trim();
        if why.len() > limits::KICK_REASON_BYTES_MAX {
            let most = limits::KICK_REASON_BYTES_MAX;
            return self.reply(console, &format!("kick: a reason has at most {most} bytes: {name} stays\n"));
        }
        let reason = if why.is_empty() { String::new() } else { format!(": {why}") };
        info!("client {}: {name}: kicked by the operator{reason}", target.serial());
        self.part_with(now, target, Reason::Kicked, &format!("the operator closed your connection{reason}"));
        self.reply(console, &format!("kicked {name}{reason}\n"));
    }

    fn watch(&mut self, now: Now, console: ConnectionId) {
        if self.config.is_raw() {
            // A stranger's bytes would command the operator's terminal (P36).
            return self
                .reply(console, "watch: --format raw cleans nothing that people say: connect a client\n");
        }
        let Some(session) = self.sessions.get_mut(console) else { return };
        session.is_watching = !session.is_watching;
        if session.is_watching {
            let rooms: Vec<RoomId> = self.rooms.iter().map(|(_, room)| room.id).collect();
            for room in rooms {
                self.enter(console, room);
            }
            self.reply(console, "you see the chat; watch again to stop\n");
        } else {
            while let Some(room) =
                self.sessions.get(console).and_then(|s| s.memberships().next()).map(|m| m.room)
            {
                self.leave_room(now, console, room, true);
            }
            self.reply(console, "you see the chat no more\n");
        }
    }

    /// A console that watches sees rooms that are made later, too.
    pub(super) fn watch_new_room(&mut self, room: RoomId) {
        if let Some(console) = self.console
            && self.sessions.get(console).is_some_and(|session| {
                session.is_watching && !session.is_leaving() && session.membership(room).is_none()
            })
        {
            self.enter(console, room);
        }
    }
}

/// Columns as wide as their widest cell, on the screen: a name may be Chinese.
fn table(rows: &[Vec<String>]) -> String {
    use unicode_width::UnicodeWidthStr;
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().map(|row| row[column].width()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            text.push_str(cell);
            if column + 1 < columns {
                text.extend(std::iter::repeat_n(' ', width - cell.width() + 2));
            }
        }
        text.push('\n');
    }
    text
}
