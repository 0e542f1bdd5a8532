//! Servers as users of Python's `socketserver` know them: a [`Handler`] for each connection or datagram, a
//! [`Server`] that calls it, on TCP, UDP, Unix stream and Unix datagram sockets; in one thread.
//!
//! A handler never waits. Where `socketserver` calls `handle` once, and `recv` in it waits for the peer,
//! here [`Handler::handle`] is called whenever something has come, and what it keeps between two calls are
//! its own fields: so one thread serves thousands, and none holds up another.
//!
//! An upper-case server over TCP:
//!
//! ```no_run
//! use onepoll::socketserver::{Handler, Request, Server};
//!
//! struct Upper;
//!
//! impl Handler for Upper {
//!     fn setup(&mut self, request: &mut Request<'_>) {
//!         request.send(b"say something\n");
//!     }
//!
//!     fn handle(&mut self, request: &mut Request<'_>) {
//!         while let Some(line) = request.read_line(4096) {
//!             match line {
//!                 Ok(b"quit") => return request.close(),
//!                 Ok(line) => request.send(&[&line.to_ascii_uppercase()[..], b"\n"].concat()),
//!                 Err(_) => request.send(b"that line was too long: 4096 bytes at most\n"),
//!             }
//!         }
//!     }
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! let mut server = Server::bind("tcp:127.0.0.1:9999", |_peer| Upper)?;
//! server.serve_forever()?;
//! # Ok(())
//! # }
//! ```
//!
//! A closure is a handler too. The same over UDP, where a handler lives for one datagram, and all that it
//! sends is one answer:
//!
//! ```
//! use std::net::UdpSocket;
//! use onepoll::socketserver::{Request, Server};
//!
//! # fn main() -> std::io::Result<()> {
//! let mut server = Server::bind("udp:127.0.0.1:0", |_peer| {
//!     |request: &mut Request<'_>| {
//!         let datagram = request.recv(usize::MAX);
//!         request.send(&datagram.to_ascii_uppercase());
//!     }
//! })?;
//! let address = server.addresses()[0].trim_start_matches("udp:").to_string();
//!
//! let client = UdpSocket::bind("127.0.0.1:0")?;
//! client.send_to(b"hello", address)?;
//! server.handle_request(None)?;
//! let mut answer = [0; 16];
//! let (bytes, _) = client.recv_from(&mut answer)?;
//! assert_eq!(&answer[..bytes], b"HELLO");
//! # Ok(())
//! # }
//! ```
//!
//! Over a Unix stream socket, with state that all handlers share: they are called one after another, so an
//! `Rc<Cell<_>>` is enough, and no lock is needed.
//!
//! ```
//! use std::cell::Cell;
//! use std::io::{Read, Write};
//! use std::os::unix::net::UnixStream;
//! use std::rc::Rc;
//! use onepoll::socketserver::{Request, Server};
//!
//! # fn main() -> std::io::Result<()> {
//! # let path = std::env::temp_dir().join(format!("onepoll-doc-{}", std::process::id()));
//! # let path = path.display().to_string();
//! let visitors = Rc::new(Cell::new(0));
//! let mut server = Server::bind(&format!("unix:{path}"), |_peer| {
//!     let visitors = Rc::clone(&visitors);
//!     move |request: &mut Request<'_>| {
//!         visitors.set(visitors.get() + 1);
//!         write!(request, "you are number {}", visitors.get()).expect("it never fails");
//!         request.close();
//!     }
//! })?;
//!
//! let mut client = UnixStream::connect(&path)?;
//! client.write_all(b"hello")?;
//! client.shutdown(std::net::Shutdown::Write)?;
//! server.handle_request(None)?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer)?;
//! assert_eq!(answer, "you are number 1");
//! # Ok(())
//! # }
//! ```
//!
//! And over a Unix datagram socket, from a handler that ends the server:
//!
//! ```
//! use std::os::unix::net::UnixDatagram;
//! use onepoll::socketserver::{Request, Server};
//!
//! # fn main() -> std::io::Result<()> {
//! # let path = std::env::temp_dir().join(format!("onepoll-doc-gram-{}", std::process::id()));
//! # let path = path.display().to_string();
//! let mut server = Server::bind(&format!("unixgram:{path}"), |_peer| {
//!     |request: &mut Request<'_>| {
//!         if request.unread() == b"stop" {
//!             request.server().shutdown();
//!         }
//!     }
//! })?;
//! UnixDatagram::unbound()?.send_to(b"stop", &path)?;
//! server.serve_forever()?;
//! # Ok(())
//! # }
//! ```
//!
//! Where connections act upon each other (a chat, a queue of questions), write a whole
//! [`Engine`](crate::engine::Engine), and run it with [`EventLoop`](crate::event_loop::EventLoop).
//!
//! # What stands for what
//!
//! | in `socketserver` | here |
//! |---|---|
//! | `TCPServer`, `UDPServer` | [`Server::bind`] with `tcp:` or `udp:`; IPv6 in brackets |
//! | `UnixStreamServer`, `UnixDatagramServer` | [`Server::bind`] with `unix:` or `unixgram:`; the file has mode 0600, and is removed with the server |
//! | `ThreadingTCPServer` and the like, `ThreadingMixIn` | not needed: no handler waits for its peer, so none holds up another. Given up: a second processor, and handlers that compute for long or wait for a disk or a name: everybody waits for those |
//! | `ForkingTCPServer` and the like, `ForkingMixIn` | not needed for the same reason. Given up: one handler's crash ends all (a panic is a defect here, not a way out) |
//! | `daemon_threads`, `block_on_close`, `max_children` | there are none; [`Server::serve_forever`] returns when everyone has what is due |
//! | `BaseRequestHandler` | [`Handler`] |
//! | `RequestHandlerClass` | the closure that [`Server::bind`] takes: it makes a handler, with whatever state it shares |
//! | `setup()`, `handle()`, `finish()` | [`Handler::setup`]; [`Handler::handle`], called as often as input comes; [`Handler::finish`], which is told the reason |
//! | `self.request`, `self.client_address`, `self.server` | [`Request`], [`Request::peer`], [`Request::server`] |
//! | `StreamRequestHandler`: `rfile.readline()`, `wfile.write()` | [`Request::read_line`]; [`Request::send`], or `write!`, for a request is an [`io::Write`](std::io::Write) |
//! | `DatagramRequestHandler` | the same [`Handler`]: what it sends for one datagram becomes one answer |
//! | `serve_forever()`, `shutdown()` | [`Server::serve_forever`]; [`Shared::shutdown`] from a handler, [`ServerHandle::shutdown`] from outside. No `poll_interval`: the loop is woken |
//! | `handle_request()`, `timeout`, `handle_timeout()` | [`Server::handle_request`] with a timeout; false where it passed |
//! | `server_close()` | dropping the [`Server`] |
//! | `server_address`, `address_family` | [`Server::addresses`] |
//! | `allow_reuse_address` | always, for TCP: a restart finds its port free; never `SO_REUSEPORT`, which shares it |
//! | `server_bind()`, `server_activate()` | [`Server::bind`], [`Server::bind_also`] |
//! | `get_request()`, `process_request()`, `finish_request()`, `close_request()` | steps of the [turn](crate::event_loop::EventLoop::turn) |
//! | `socket`, `fileno()` | not given out: the loop owns its sockets |
//! | `max_packet_size` | [`limits::DATAGRAM_BYTES_MAX`](crate::limits::DATAGRAM_BYTES_MAX) |
//! | `rbufsize`, `wbufsize` | none: what is read is lent, what is sent is kept until it is written |
//! | `disable_nagle_algorithm` | always |
//! | `request_queue_size` | [`limits::LISTEN_BACKLOG`](crate::limits::LISTEN_BACKLOG) |
//! | `verify_request()` | [`Request::close`] in `setup`; [`Engine::admit`](crate::engine::Engine::admit) for a whole engine |
//! | `handle_error()` | not needed: what fails on one connection ends that one, and its `finish` is told why |
//! | `service_actions()` | [`Engine::handle_turn`](crate::engine::Engine::handle_turn) for a whole engine |
//!
//! | socket call | here |
//! |---|---|
//! | `recv(n)` | [`Request::recv`]: what is there, at once. Nothing there is no end: the end is [`Handler::handle_eof`] |
//! | `recv_into(buffer)` | [`Request::unread`] and [`Request::consume`]: the bytes are lent from the loop's one buffer, not copied |
//! | `recvfrom(n)` | [`Request::recv`] and [`Request::peer`]; a datagram comes whole, up to [`limits::DATAGRAM_BYTES_MAX`](crate::limits::DATAGRAM_BYTES_MAX) |
//! | `send`, `sendall` | [`Request::send`]: all of it, always; the loop writes what the socket takes, and the rest when there is room. A handler whose peer does not read gets no more input, so nothing grows, unless it sends on a timeout without a look at [`Request::waiting_bytes`] |
//! | `sendto(bytes, address)` | [`Request::send`] answers a datagram's sender; to send to others, [`Engine::poll_datagram`](crate::engine::Engine::poll_datagram) |
//! | `sendfile` | not here: a chunk with [`Request::send`], [`Request::tell_when_sent`], and the next one in [`Handler::handle_sent`]: one more copy, with every kind of socket, and only a chunk in memory |
//! | `makefile` | [`Request::read_line`], [`io::Write`](std::io::Write) |
//! | `getpeername` | [`Request::peer`], [`Request::peer_name`] |
//! | `getsockname` | [`Shared::addresses`]: of the server, not of one connection |
//! | `setblocking(False)` | always: the loop could not serve the others otherwise |
//! | `settimeout(seconds)` | [`Request::set_timeout`] and [`Handler::handle_timeout`]: it ends no call, for no call waits |
//! | `setsockopt` | set for all: `TCP_NODELAY`, keep-alive after a minute, how much the kernel holds unsent, `SO_REUSEADDR` for listeners ([`SocketOptions`](crate::event_loop::io::SocketOptions)) |
//! | `shutdown(SHUT_WR)`, `close()` | [`Request::finish_output`], [`Request::close`]: both after all that was sent; who takes nothing for [`limits::LINGER`](crate::limits::LINGER) is cut off, and sees a reset |

mod datagrams;
mod dispatch;
mod request;
mod server;
#[cfg(test)]
mod tests;

use crate::engine::Reason;

pub use dispatch::Dispatch;
pub use request::{LineTooLong, Request, Shared};
pub use server::{Server, ServerHandle};

/// One connection's, or one datagram's, share of a server.
///
/// None of its methods may wait for anything: everybody would wait with it.
pub trait Handler {
    /// The connection is there; for a datagram, it has come.
    fn setup(&mut self, _request: &mut Request<'_>) {}

    /// Something has come: [`Request::unread`] has it all, also what earlier calls did not consume. It is
    /// called again while it consumes something and something is left, so taking one line, or one chunk,
    /// is enough.
    fn handle(&mut self, request: &mut Request<'_>);

    /// The peer will send no more; [`Request::unread`] is what `handle` did not consume. Closes, unless it
    /// is written otherwise: a peer that closed its half still reads what is due to it. One that stays needs
    /// a timeout, for a peer that is gone altogether shows only when something is sent. Never called for a
    /// datagram.
    fn handle_eof(&mut self, request: &mut Request<'_>) {
        request.close();
    }

    /// All that was sent is taken, after [`Request::tell_when_sent`]. Never called for a datagram.
    fn handle_sent(&mut self, _request: &mut Request<'_>) {}

    /// The time that [`Request::set_timeout`] gave has passed. Closes, unless it is written otherwise.
    fn handle_timeout(&mut self, request: &mut Request<'_>) {
        request.close_for(Reason::Idle);
    }

    /// The server ends. Closes, unless it is written otherwise: a request that is nearly done may be
    /// finished within [`limits::DRAIN`](crate::limits::DRAIN).
    fn handle_shutdown(&mut self, request: &mut Request<'_>) {
        request.close_for(Reason::ServerClosing);
    }

    /// The connection is gone, and why; the datagram is done with, and its answer may still be sent here.
    fn finish(&mut self, _request: &mut Request<'_>, _reason: Reason) {}
}

impl<C: FnMut(&mut Request<'_>)> Handler for C {
    fn handle(&mut self, request: &mut Request<'_>) {
        self(request);
    }
}
