//! The operator's log: one line for each thing that matters, and never a flood of them (P22). What was
//! closed, and why, is also remembered.

use ::log::{Level, info, log, warn};

use crate::engine::{ConnectionId, Moment, Now, Peer, Reason};
use crate::log_window::LogWindow;

use super::closes::{Close, Closes, End, Met};
use super::render;
use super::session::{Session, ToOperator};

/// What is written to the log, limited by kind.
#[derive(Debug, Default)]
pub(super) struct Journal {
    windows: [LogWindow; 7],
    pub(super) closes: Closes,
}

/// A kind of line that clients can cause as often as they like.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Connected,
    Closed,
    Refused,
    Paced,
    Missed,
    Renamed,
    Closing,
}

impl Journal {
    pub(super) fn connected(&mut self, now: Now, session: &Session) {
        if self.admits(now.moment, Kind::Connected) {
            let who = ToOperator(session);
            info!("client {}: {who}: connected", session.id.serial());
        }
    }

    pub(super) fn closed(&mut self, now: Now, session: &Session, end: End) {
        if self.admits(now.moment, Kind::Closed) {
            let received = render::bytes(session.bytes_in);
            let sent = render::bytes(session.bytes_out);
            let who = ToOperator(session);
            info!("client {}: {who}: left: {end} ({received} in, {sent} out)", session.id.serial());
        }
        self.closes.push(Close::of(session, end, now.unix_s));
    }

    pub(super) fn refused(&mut self, now: Now, reason: Reason, peer: Peer, met: Met) {
        let close = Close::refused(Some(peer), reason, met, now.unix_s, 1);
        if self.admits(now.moment, Kind::Refused) {
            warn!("newcomer: {}: refused: {reason}: {met} ({})", close.address(), met.limit);
        }
        self.closes.push(close);
    }

    /// So many newcomers were refused by the loop, which has said so.
    pub(super) fn turned_away(&mut self, now: Now, reason: Reason, met: Met, newcomers: u64) {
        self.closes.push(Close::refused(None, reason, met, now.unix_s, newcomers));
    }

    pub(super) fn paced(&mut self, now: Now, session: &Session) {
        if self.admits(now.moment, Kind::Paced) {
            let who = ToOperator(session);
            info!("client {}: {who}: sends faster than --rate: slowed down", session.id.serial());
        }
    }

    pub(super) fn missed(&mut self, now: Now, session: &Session, messages: u64) {
        if self.admits(now.moment, Kind::Missed) {
            let missed = render::count(messages, "message");
            let who = ToOperator(session);
            info!("client {}: {who}: read too slowly: missed {missed}", session.id.serial());
        }
    }

    pub(super) fn renamed(&mut self, now: Now, id: ConnectionId, before: &str, name: &str) {
        if self.admits(now.moment, Kind::Renamed) {
            info!("client {}: {before}: is now {name}", id.serial());
        }
    }

    /// The server closes a client that met a limit.
    pub(super) fn closing(&mut self, now: Now, session: &Session, reason: Reason, met: Met) {
        if self.admits(now.moment, Kind::Closing) {
            let who = ToOperator(session);
            warn!("client {}: {who}: {reason}: {met} ({})", session.id.serial(), met.limit);
        }
    }

    /// Whether another line of this kind may be written; says first how many were left out.
    fn admits(&mut self, now: Moment, kind: Kind) -> bool {
        let level = match kind {
            Kind::Refused | Kind::Closing => Level::Warn,
            _ => Level::Info,
        };
        if !::log::log_enabled!(level) {
            return false;
        }
        self.windows[kind as usize].admits(now, |left_out| {
            log!(level, "log: {left_out} lines like the next were left out");
        })
    }
}
