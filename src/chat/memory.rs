//! What the chat can come to hold, from its configuration alone: see [`memory`](crate::memory).
//!
//! Each part is what one client, or one room, can be brought to cost by people who try. It leaves out what the
//! loop holds ([`event_loop::memory`](../../event_loop/memory/index.html)), the program itself, and the
//! kernel's buffers.

use super::arrivals;
use super::closes::Close;
use super::config::Config;
use super::log;
use super::outbox::{ITEM_BYTES, SPAN_BYTES, Skip};
use super::room::{Announcement, Room};
use super::room_id::RoomId;
use super::session::{Extras, Membership, Session};
use super::{AddressBlock, Chat, RoomTimers, Timer, guests, names};
use crate::codec::line::SAY;
use crate::engine::{Action, ConnectionId};
use crate::limits;
use crate::memory::{BLOCK_BYTES, Part, doubling, hashed, ordered, ordered_min};

/// Actions of one connection in a group of the loop's calls: each read can have it pause, and go on.
const ACTIONS_PER_CLIENT_MAX: usize = limits::CONNECTION_READS_PER_TURN_MAX + 1;

/// Places in the ready queue for each client: its own, and those of former ones whose turn has not come.
const READY_PER_CLIENT_MAX: usize = 4;

/// Deadlines of one client: of its rate and its silence; as many of one that is gone may not be pruned yet.
const DEADLINES_PER_CLIENT_MAX: usize = 2 * 2;

/// Bytes of an address as people see it, the longest name of all: `[V6]:PORT`.
const NAME_BYTES_MAX: usize = 48;

/// Bytes of a line in an answer that lists people or rooms.
const LISTED_LINE_BYTES_MAX: usize = 128;

/// Bytes that a client's row of the operator's table takes while that is made: nine cells, and the line in
/// three copies, one of them grown by doubling.
const CLIENT_ROW_BYTES_MAX: usize = 2048;

/// The same of a room's.
const ROOM_ROW_BYTES_MAX: usize = 1024;

/// Bytes of a client's input that the chat leaves to the loop while it wants more: a line without its end, the
/// beginning of an end, and of a telnet command; and what marks the line as text.
#[must_use]
pub fn input_bytes_max(config: &Config) -> usize {
    config.line_bytes_max + if config.has_commands() { SAY.len() } else { 0 } + 2
}

/// All that the chat can hold. With `clients_max` and `rooms_max` it grows linearly.
#[must_use]
pub fn parts(config: &Config) -> [Part; 9] {
    [
        Part::new("clients", config.clients_max + 1, client_bytes()),
        Part::new("their names", config.clients_max, nick_bytes()),
        Part::new("their places in rooms", config.clients_max, memberships_bytes(config)),
        Part::new("their replies", config.clients_max, replies_bytes(config, config.private_bytes_max)),
        Part::new("rooms", config.rooms_max, room_bytes(config)),
        Part::new(
            "their logs",
            config.rooms_max,
            log::memory_bytes_max(config.log_bytes_max) + 2 * BLOCK_BYTES,
        ),
        // The old part of one log is there while it grows: half of it at most.
        Part::new("a log that grows", 1, log::memory_bytes_max(config.log_bytes_max) / 2),
        Part::new(
            "addresses of newcomers",
            config.connect_rate.map_or(0, |rate| rate.addresses_max),
            arrivals::ADDRESS_BYTES,
        ),
        Part::new("the operator and the rest", 1, rest_bytes(config)),
    ]
}

fn client_bytes() -> usize {
    doubling(size_of::<Option<Session>>())
        + READY_PER_CLIENT_MAX * doubling(size_of::<ConnectionId>())
        + ACTIONS_PER_CLIENT_MAX * doubling(size_of::<Action>())
        + DEADLINES_PER_CLIENT_MAX * doubling(size_of::<(u64, Timer)>())
        + hashed(size_of::<(AddressBlock, usize)>())
        + guests::number_bytes::<ConnectionId>()
        // Who waits for space in a room, and who is listed in an answer.
        + doubling(size_of::<ConnectionId>())
        + CLIENT_ROW_BYTES_MAX
}

fn nick_bytes() -> usize {
    let key_bytes = limits::NICK_BYTES_MAX * names::KEY_EXPANSION_MAX;
    let nick_bytes = limits::NICK_BYTES_MAX + BLOCK_BYTES;
    nick_bytes + names::KEYS_MAX * (key_bytes + BLOCK_BYTES + ordered(names::entry_bytes::<ConnectionId>()))
}

fn memberships_bytes(config: &Config) -> usize {
    let rooms_max = config.rooms_per_client_max.min(config.rooms_max);
    rooms_max * (doubling(size_of::<Membership>()) + doubling(size_of::<u32>())) + BLOCK_BYTES
}

/// What waits for one who does not read: replies up to the limit, one more, the rest of a record that its full
/// socket cut in two, and spans for what it had not read in rooms that it left.
fn replies_bytes(config: &Config, private_bytes_max: usize) -> usize {
    let spans_max = limits::SKIPPED_SPANS_MAX + config.rooms_per_client_max.min(config.rooms_max);
    size_of::<Extras>()
        + private_bytes_max
        + longest_reply_bytes(config)
        + limits::record_bytes_max(config.line_bytes_max)
        + spans_max * SPAN_BYTES
        + PARTING_ITEMS_MAX * ITEM_BYTES
        + 4 * BLOCK_BYTES
}

// Leaving a room turns the stretches between what is skipped there into spans: the one or the other is there.
const _: () = assert!(doubling(size_of::<Skip>()) <= SPAN_BYTES);

/// What is said to one beyond its replies: a message from another, a gap, why it is closed, and goodbye.
const PARTING_ITEMS_MAX: usize = 4;

/// An answer that repeats the line; one that lists; the greeting. Made, and then copied.
fn longest_reply_bytes(config: &Config) -> usize {
    let line = limits::record_bytes_max(config.line_bytes_max);
    let list = (limits::LISTED_MAX + 1) * LISTED_LINE_BYTES_MAX;
    let greeting = limits::RECORD_OVERHEAD_BYTES_MAX + config.motd.len();
    line.max(list).max(greeting) + PARTING_ITEMS_MAX * limits::RECORD_OVERHEAD_BYTES_MAX
}

fn room_bytes(config: &Config) -> usize {
    let name_bytes = limits::ROOM_NAME_BYTES_MAX + 2 * size_of::<usize>() + BLOCK_BYTES;
    let rolls_bytes = 2 * limits::NOTICE_NAMES_MAX * (size_of::<String>() + 2 * NAME_BYTES_MAX + BLOCK_BYTES);
    // Up to the limit, and what was added last: a record of the operator's, and who joined and who left before,
    // twice: while so much waits, none can join, and so no third time.
    let announcements_bytes = doubling(limits::ANNOUNCEMENT_BYTES_MAX)
        + limits::record_bytes_max(config.line_bytes_max)
        + 5 * (doubling(size_of::<Announcement>()) + 2 * limits::RECORD_OVERHEAD_BYTES_MAX + BLOCK_BYTES);
    doubling(size_of::<Room>() + size_of::<usize>())
        + 3 * name_bytes
        + hashed(size_of::<(Box<str>, RoomId)>())
        + ordered_min(size_of::<(ConnectionId, usize)>())
        + rolls_bytes
        + announcements_bytes
        + doubling(size_of::<RoomTimers>())
        + 3 * doubling(size_of::<(u64, Timer)>())
        // The lists of rooms that are written to and announced in, and the operator's places in them.
        + 2 * doubling(size_of::<RoomId>())
        + doubling(size_of::<Membership>())
        + doubling(size_of::<u32>())
        + ROOM_ROW_BYTES_MAX
}

fn rest_bytes(config: &Config) -> usize {
    size_of::<Chat>()
        + replies_bytes(config, limits::OPERATOR_PRIVATE_BYTES_MAX)
        + config.motd.len()
        // The line in hand, cleaned, and rendered for an answer.
        + 2 * doubling(limits::record_bytes_max(config.line_bytes_max))
        + limits::CLOSES_KEPT_MAX * (doubling(size_of::<Close>()) + CLIENT_ROW_BYTES_MAX)
        + names::RESERVED.len() * nick_bytes()
        + arrivals::BYTES_MIN
        // An answer that lists people or rooms, while it is made.
        + 4 * limits::LISTED_MAX * LISTED_LINE_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::line::{Decoded, LineDecoder};

    #[test]
    fn the_longest_line_without_its_end_is_counted_with_its_mark() {
        for (config, mark) in [(Config::default(), SAY), (Config { plain: true, ..Config::default() }, b"")] {
            let line = [mark, &vec![b'x'; config.line_bytes_max], b"\r"].concat();
            let seen = LineDecoder::default().decode(&line, config.dialect(), config.line_bytes_max);
            assert!(matches!(seen, Decoded::Incomplete { consumed: 0 }), "{seen:?}");
            assert!(line.len() <= input_bytes_max(&config), "{} bytes stay with the loop", line.len());
        }
    }
}
