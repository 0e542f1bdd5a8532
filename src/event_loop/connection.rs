//! One connection as the loop sees it: a socket, what is known of its readiness, and how far its end is.
//!
//! Ten thousand idle ones must cost next to nothing, so it has no buffer: the input that an engine did not
//! take yet is kept apart, for the few connections that have any.

use crate::engine::{ConnectionId, Reason};

/// Where a connection stands between its opening and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// We are connecting; there is no peer yet.
    Connecting,
    /// Both sides may speak.
    Open,
    /// What is due is still being written; input is discarded.
    Closing,
    /// All is written and the peer was told so; its own end is awaited, so that no reset overtakes
    /// the last bytes.
    FinSent,
    /// To be reaped at the end of the turn.
    Closed,
}

#[derive(Debug)]
pub(super) struct Connection<S> {
    pub(super) stream: S,
    pub(super) serial: u32,
    pub(super) state: State,
    /// Why it ends, once it does.
    pub(super) reason: Reason,
    /// There may be something to read, of which no further event will tell.
    pub(super) is_readable: bool,
    /// The peer sends no more than what is there: a short read is not the last one.
    pub(super) is_read_closed: bool,
    /// The last byte was read.
    pub(super) is_at_eof: bool,
    /// The engine was told that the last byte was read.
    pub(super) knows_eof: bool,
    /// It is on the pending list.
    pub(super) is_pending: bool,
    /// The socket is full: the interest in `WRITABLE` is derived from this.
    pub(super) is_blocked: bool,
    /// A deadline will try to write again.
    pub(super) is_retrying: bool,
    /// A deadline will look whether its peer has stopped reading.
    pub(super) is_stall_watched: bool,
    /// The peer sent bytes since the last deadline that looked.
    pub(super) has_sent: bool,
    /// The peer took bytes since the last deadline that looked.
    pub(super) has_taken: bool,
    /// It has no events for reading, as a file has none.
    pub(super) is_always_readable: bool,
    /// It is a datagram socket: no peer, no end.
    pub(super) is_datagram: bool,
    /// Once all is written, the peer is to be told that no more will come; false again once it was.
    pub(super) is_finishing: bool,
}

impl<S> Connection<S> {
    pub(super) fn new(stream: S, serial: u32, state: State) -> Self {
        Connection {
            stream,
            serial,
            state,
            reason: Reason::SystemError,
            is_readable: false,
            is_read_closed: false,
            is_at_eof: false,
            knows_eof: false,
            is_pending: false,
            is_blocked: false,
            is_retrying: false,
            is_stall_watched: false,
            has_sent: false,
            has_taken: false,
            is_always_readable: false,
            is_datagram: false,
            is_finishing: false,
        }
    }

    pub(super) fn id(&self, slot: usize) -> ConnectionId {
        // A slab's keys are dense, and 2^32 connections do not fit into descriptors.
        ConnectionId::new(u32::try_from(slot).unwrap_or(u32::MAX), self.serial)
    }

    /// Whether `WRITABLE` is of interest: while connecting, and for what a full socket left over.
    pub(super) fn wants_write(&self) -> bool {
        self.state == State::Connecting || self.is_blocked
    }
}

// What the README claims of an idle member, on 64-bit machines, with the 8 bytes of a system stream.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Connection<u64>>() <= 32);
