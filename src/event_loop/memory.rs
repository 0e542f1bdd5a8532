//! What the loop can come to hold, from the number of its connections: see [`memory`](crate::memory).

use super::connection::Connection;
use super::io::Event;
use super::{Timer, read};
use crate::engine::ConnectionId;
use crate::limits;
use crate::memory::{BLOCK_BYTES, Part, doubling, hashed};

/// Deadlines of one connection: of its linger, the loop's end, a stall, a write and connecting; as many of
/// one that is gone may not be pruned yet.
const DEADLINES_PER_CONNECTION_MAX: usize = 2 * 5;

/// Places on the pending list for each connection: its own, and those of former ones whose turn has not come.
const PENDING_PER_CONNECTION_MAX: usize = 4;

/// What the loop can hold with so many connections of streams `S`, of which the engine leaves at most
/// `input_bytes_max` unconsumed while it wants more.
#[must_use]
pub fn parts<S>(connections_max: usize, input_bytes_max: usize) -> [Part; 3] {
    let connection_bytes = doubling(size_of::<Connection<S>>() + size_of::<usize>())
        + PENDING_PER_CONNECTION_MAX * doubling(size_of::<ConnectionId>())
        + DEADLINES_PER_CONNECTION_MAX * doubling(size_of::<(u64, Timer)>())
        + hashed(size_of::<(usize, Vec<u8>)>())
        + doubling(size_of::<usize>());
    // Paused in the middle of what was read last, behind all that was left before.
    let kept_bytes = input_bytes_max + limits::READ_BYTES_MAX + read::KEPT_BYTES_MIN + BLOCK_BYTES;
    let turn_bytes = limits::READ_BYTES_MAX
        + limits::EVENTS_PER_TURN_MAX * (doubling(size_of::<Event>()) + EPOLL_EVENT_BYTES)
        + limits::FLUSHES_PER_TURN_MAX * doubling(size_of::<ConnectionId>());
    [
        Part::new("connections", connections_max, connection_bytes),
        Part::new("their kept input", connections_max, kept_bytes),
        Part::new("the turn", 1, turn_bytes),
    ]
}

/// An event as the kernel tells it (epoll_wait(2)), unpacked.
const EPOLL_EVENT_BYTES: usize = 16;
