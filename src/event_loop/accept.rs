//! Newcomers and new connections: steps 3 of the turn, and what an engine asked to connect to.

use std::io::ErrorKind;

use log::{debug, warn};
use rustix::io::Errno;

use super::connection::State;
use super::io::Io;
use super::{EventLoop, Timer, shortage};
use crate::engine::{Endpoint, Engine, ListenerId, Now, Peer, Reason};
use crate::limits;
use crate::sabotage::sabotaged;

impl<I: Io, E: Engine> EventLoop<I, E> {
    pub(super) fn accept(&mut self, now: Now, index: usize) {
        for _ in 0..self.budgets.accepts {
            let listening = &mut self.listeners[index];
            if !listening.is_ready || listening.is_paused {
                return;
            }
            match self.io.accept(&mut listening.listener) {
                Ok((stream, peer)) => {
                    self.report.accepts += 1;
                    listening.was_paused = false;
                    self.welcome(now, ListenerId::new(index), stream, peer);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    listening.is_ready = false;
                    // The system looks for a descriptor before it looks for a newcomer (accept(2)).
                    listening.was_paused = false;
                    return;
                }
                // That newcomer's fault, not ours: the next may wait.
                Err(error) if is_of_newcomer(&error) => debug!("accept: {error}"),
                Err(error) => {
                    // No further event tells of those who wait, so a deadline has to. Descriptors may be
                    // free again by then; if they are not, the newcomers are told.
                    let is_lasting = listening.was_paused;
                    listening.is_paused = true;
                    listening.was_paused = true;
                    warn!("accept: {error}: trying again in {} ms", limits::ACCEPT_RETRY.as_millis());
                    if !sabotaged!(ForgetAcceptRetry) {
                        self.deadlines.set(now.moment + limits::ACCEPT_RETRY, Timer::Accept(index));
                    }
                    if let Some(shortage) = shortage(&error) {
                        self.report.shortages[shortage as usize] += 1;
                        if is_lasting {
                            self.turn_away(now, index);
                        }
                    }
                    return;
                }
            }
        }
        if sabotaged!(ForgetNewcomers) {
            self.listeners[index].is_ready = false;
        }
    }

    fn welcome(&mut self, now: Now, listener: ListenerId, stream: I::Stream, peer: Peer) {
        if let Err(refusal) = self.engine.admit(now, listener, peer) {
            self.io.refuse(stream, &refusal.text);
            return;
        }
        match self.insert(stream, State::Open) {
            Ok(id) => self.engine.handle_accepted(now, id, Some(listener), peer),
            Err(error) => warn!("accept: a newcomer cannot be watched: {error}"),
        }
    }

    /// Tells those who wait that no descriptor is left for them.
    fn turn_away(&mut self, now: Now, index: usize) {
        let listener = ListenerId::new(index);
        let mut refused = 0;
        while refused < self.budgets.accepts {
            let Ok(stream) = self.io.accept_on_reserve(&mut self.listeners[index].listener) else { break };
            self.io.refuse(stream, self.engine.full_notice(listener));
            refused += 1;
        }
        if refused == 0 {
            return;
        }
        self.report.accepts += refused;
        warn!("newcomers: {refused} refused: {}: no descriptor is left", Reason::ServerFull);
        self.engine.handle_turned_away(now, listener, refused);
    }

    pub(super) fn connect(&mut self, now: Now, endpoint: &Endpoint) {
        if endpoint.is_datagram() {
            return self.connect_datagrams(now, endpoint);
        }
        match self.io.connect(endpoint).and_then(|stream| self.insert(stream, State::Connecting)) {
            Ok(id) => self.deadlines.set(now.moment + limits::CONNECT_TIMEOUT, Timer::Connect(id)),
            Err(error) => self.engine.handle_connect_failed(now, error),
        }
    }

    /// There is nobody to wait for: whether anybody is there, the first answer shows.
    fn connect_datagrams(&mut self, now: Now, endpoint: &Endpoint) {
        let opened = self.io.connect(endpoint).and_then(|stream| {
            let peer = self.io.connected(&stream)?;
            Ok((self.insert_datagrams(stream)?, peer))
        });
        match opened {
            Ok((id, peer)) => self.engine.handle_connected(now, id, peer),
            Err(error) => self.engine.handle_connect_failed(now, error),
        }
    }

    pub(super) fn finish_connecting(&mut self, now: Now, slot: usize) {
        let connection = &mut self.connections[slot];
        let id = connection.id(slot);
        match self.io.connected(&connection.stream) {
            Ok(peer) => {
                connection.state = State::Open;
                // What the peer sent already, no further event may tell.
                connection.is_readable = true;
                self.set_interest(slot);
                self.make_pending(id);
                self.engine.handle_connected(now, id, peer);
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => {}
            Err(error) => self.fail_connecting(now, slot, error),
        }
    }

    pub(super) fn fail_connecting(&mut self, now: Now, slot: usize, error: std::io::Error) {
        // The engine never had it, so it is not told of its close.
        let mut connection = self.connections.remove(slot);
        self.io.deregister(&mut connection.stream);
        self.engine.handle_connect_failed(now, error);
    }
}

/// Whether accepting failed for a reason that goes away with the newcomer (accept(2), "Error handling").
fn is_of_newcomer(error: &std::io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(
            Errno::INTR
                | Errno::CONNABORTED
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::NETUNREACH
        )
    )
}
