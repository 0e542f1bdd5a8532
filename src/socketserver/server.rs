//! A server: addresses, the loop, and a handler for each connection and datagram.

use std::io;
use std::time::Duration;

use super::{Dispatch, Handler};
use crate::engine::Peer;
use crate::event_loop::address::Address;
use crate::event_loop::io::{Bound, SocketOptions, System, Waker};
use crate::event_loop::{End, EventLoop, Linger};
use crate::limits;

/// A server on one or more addresses, in the thread that calls it.
///
/// Dropping it closes all its sockets (`server_close`) and removes the files of its Unix sockets.
#[derive(Debug)]
pub struct Server<H: Handler, F: FnMut(Peer) -> H> {
    event_loop: EventLoop<System, Dispatch<H, F>>,
    options: SocketOptions,
    has_ended: bool,
}

/// Ends a server from outside: from a signal handler, or another thread.
#[derive(Clone, Debug)]
pub struct ServerHandle(Waker);

impl ServerHandle {
    /// Only wakes the loop, which does the rest: nobody is accepted any more, everyone gets what is due.
    /// Where it is ending already, by whomever, this ends it at once.
    pub fn shutdown(&self) {
        self.0.wake();
    }
}

impl<H: Handler, F: FnMut(Peer) -> H> Server<H, F> {
    /// Binds `tcp:HOST:PORT` (`tcp:` may be left out), `udp:HOST:PORT`, `unix:PATH` or `unixgram:PATH`; an
    /// IPv6 address stands in brackets, `:PORT` is all addresses of both families, port 0 any free one.
    /// `new_handler` makes a handler for each connection and each datagram.
    ///
    /// # Errors
    /// `InvalidInput` for what is no address; why it cannot be bound, with the remedy.
    pub fn bind(address: &str, new_handler: F) -> io::Result<Self> {
        let options = SocketOptions::default();
        let event_loop = EventLoop::new(
            System::new(options)?,
            Dispatch::new(new_handler),
            Linger::Stalled(limits::LINGER),
        );
        let mut server = Server { event_loop, options, has_ended: false };
        server.bind_also(address)?;
        Ok(server)
    }

    /// Binds one more address: the same handlers serve all four kinds of sockets at once.
    ///
    /// # Errors
    /// Those of [`bind`](Self::bind).
    pub fn bind_also(&mut self, address: &str) -> io::Result<()> {
        let address: Address =
            address.parse().map_err(|why: String| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        let all_bound = Bound::bind_all(&address, &self.options)
            .map_err(|error| io::Error::new(error.error.kind(), error))?;
        for bound in all_bound {
            let address = bound.address();
            self.event_loop.open(bound)?;
            self.event_loop.engine_mut().shared_mut().addresses.push(address);
        }
        Ok(())
    }

    /// Where it is bound, as people write addresses; port 0 is the real port here.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        self.event_loop.engine().shared().addresses()
    }

    /// What ends the server from outside.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        ServerHandle(self.event_loop.waker())
    }

    /// Serves until a handler or a [`ServerHandle`] shuts the server down; then everyone has
    /// [`limits::DRAIN`] to take what is due. A server that was shut down serves no more.
    ///
    /// # Errors
    /// Only where the system's poll itself fails.
    pub fn serve_forever(&mut self) -> io::Result<End> {
        if self.has_ended {
            return Ok(End::Done);
        }
        self.event_loop.engine_mut().begin_wait(None);
        let end = self.event_loop.run()?;
        self.has_ended = true;
        Ok(end)
    }

    /// Serves until a request is finished: a connection closed, or a datagram handled. False: none was
    /// within the timeout, or the server was shut down. Others who are connected are served beside it, and
    /// further by the next call; of those that came together, several may be finished by one call, which
    /// [`Shared::requests`](super::Shared::requests) counts.
    ///
    /// # Errors
    /// Only where the system's poll itself fails.
    pub fn handle_request(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let requests = self.event_loop.engine().shared().requests();
        self.event_loop.engine_mut().begin_wait(timeout);
        while !self.has_ended {
            self.has_ended = self.event_loop.turn()?.is_some();
            let engine = self.event_loop.engine();
            if engine.shared().requests() > requests {
                return Ok(true);
            }
            if engine.is_overdue() {
                return Ok(false);
            }
        }
        Ok(false)
    }
}
