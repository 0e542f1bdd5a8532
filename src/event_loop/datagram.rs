//! Datagrams: what steps 4 and 7 of the turn are for a socket that has no peer and no end. A datagram
//! comes and goes whole; one that fails is lost, and the socket goes on.

use std::io::ErrorKind;

use super::connection::State;
use super::io::Io;
use super::{EventLoop, shortage};
use crate::engine::{ConnectionId, Endpoint, Engine, Now, Written};
use crate::limits;

impl<I: Io, E: Engine> EventLoop<I, E> {
    pub(super) fn insert_datagrams(&mut self, stream: I::Stream) -> std::io::Result<ConnectionId> {
        let id = self.insert(stream, State::Open)?;
        let connection = &mut self.connections[id.slot()];
        connection.is_datagram = true;
        // What came before it was watched.
        connection.is_readable = true;
        self.make_pending(id);
        if self.datagram_scratch.is_empty() {
            self.datagram_scratch = vec![0; limits::DATAGRAM_BYTES_MAX].into_boxed_slice();
        }
        Ok(id)
    }

    /// Receives until nothing is there, or this turn's share is taken.
    pub(super) fn receive(&mut self, now: Now, id: ConnectionId) {
        let slot = id.slot();
        for _ in 0..limits::DATAGRAMS_PER_TURN_MAX {
            if !self.may_read(slot) {
                return;
            }
            let connection = &mut self.connections[slot];
            if connection.state != State::Open {
                return;
            }
            self.report.reads += 1;
            match self.io.receive(&mut connection.stream, &mut self.datagram_scratch) {
                Ok((bytes, from)) => match self.datagram_scratch.get(..bytes) {
                    Some(datagram) => {
                        self.report.read_bytes += bytes;
                        self.engine.handle_datagram(now, id, from.as_ref(), datagram);
                    }
                    None => {
                        let why = format!("{bytes} bytes, {} at most", limits::DATAGRAM_BYTES_MAX);
                        let error = std::io::Error::new(ErrorKind::FileTooLarge, why);
                        self.engine.handle_datagram_lost(now, id, error);
                    }
                },
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    connection.is_readable = false;
                    return;
                }
                // What an earlier datagram met on its way: told once, and no reason to stop (udp(7)).
                Err(error) => self.engine.handle_datagram_lost(now, id, error),
            }
        }
        if self.may_read(slot) {
            self.make_pending(id);
        }
    }

    /// Sends until nothing waits, the socket is full, or this turn's share is sent.
    pub(super) fn send_datagrams(&mut self, now: Now, id: ConnectionId) {
        let slot = id.slot();
        for _ in 0..limits::DATAGRAMS_PER_TURN_MAX {
            let Some(datagram) = self.engine.poll_datagram(now, id) else {
                if self.state_of(id) == Some(State::Closing) {
                    self.close(slot, None);
                }
                return;
            };
            let bytes = datagram.bytes.len();
            let connection = &mut self.connections[slot];
            let is_to_unix = matches!(datagram.to, Some(Endpoint::Unixgram(_)));
            self.report.writes += 1;
            match self.io.send_to(&mut connection.stream, datagram.to, datagram.bytes) {
                Ok(()) => {
                    self.report.written_bytes += bytes;
                    // Only this shows that there is room: nothing to send may mean that all is held back.
                    if connection.is_blocked {
                        connection.is_blocked = false;
                        self.set_interest(slot);
                    }
                    self.engine.handle_written(now, id, bytes, Written::All);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // That receiver's queue is full, of whose room no event tells an unconnected socket: a
                // deadline has to, and the others do not wait for it.
                Err(error) if error.kind() == ErrorKind::WouldBlock && is_to_unix => {
                    self.report.blocked_writes += 1;
                    self.retry_write(now, id);
                    self.engine.handle_written(now, id, 0, Written::Blocked);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.block(now, id, 0),
                Err(error) if shortage(&error).is_some() => {
                    self.retry_write(now, id);
                    return self.block(now, id, 0);
                }
                Err(error) => {
                    self.engine.handle_written(now, id, bytes, Written::All);
                    self.engine.handle_datagram_lost(now, id, error);
                }
            }
        }
        self.engine.handle_written(now, id, 0, Written::OutOfBudget);
        self.over_budget.push(id);
    }
}
