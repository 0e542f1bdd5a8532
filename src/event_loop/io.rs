//! The operating system as the loop sees it, and the real one: the only `mio`, sockets and clock.
//!
//! The loop is generic over [`Io`] (static dispatch), so that the loop that runs in production runs in
//! simulation too. [`System`] is the real one. Everything is non-blocking and edge-triggered: readiness
//! is told once, and `WouldBlock` is never an error. Sockets are never duplicated, and are deregistered
//! before they are dropped.
//!
//! There are no threads here, with one exception that is not ours: the `ctrlc` crate starts a helper
//! whose handler does nothing but call [`Waker::wake`].

mod bind;
mod console;
mod datagram;
mod listen;
mod output;
mod process;

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use crate::engine::{Endpoint, Moment, Now, Peer};
use crate::limits;

pub use bind::{BindError, Bound, SocketFile};
pub use console::Console;
pub use datagram::Datagrams;
pub use listen::{Listener, SocketOptions};
pub use process::{LossyOutput, keep_ignored_signals_away, let_large_writes_fail, raise_descriptor_limit};

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The connection in this slot.
    Connection(usize),
    /// The listener with this index.
    Listener(usize),
    /// Somebody called [`Waker::wake`].
    Waker,
}

/// What the system says of a source: a hint, never more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is about.
    pub source: Source,
    /// There may be something to read.
    pub is_readable: bool,
    /// There may be room to write.
    pub is_writable: bool,
    /// The peer will send no more than what is there.
    pub is_read_closed: bool,
    /// Nothing will go either way any more.
    pub is_broken: bool,
}

/// What the loop needs of an operating system.
pub trait Io {
    /// A connection's socket, or the console.
    type Stream;
    /// A listening socket.
    type Listener;

    /// Both clocks, read together.
    fn now(&mut self) -> Now;

    /// Waits for events, at most `timeout` (`None`: for ever), and puts them into `events`, which is empty.
    ///
    /// # Errors
    /// `Interrupted` is the caller's to retry; anything else ends the loop.
    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()>;

    /// Has the listener's events told as [`Source::Listener`] of `index`.
    ///
    /// # Errors
    /// Those of the system.
    fn listen(&mut self, listener: &mut Self::Listener, index: usize) -> io::Result<()>;

    /// Takes a waiting newcomer.
    ///
    /// # Errors
    /// `WouldBlock` where nobody waits.
    fn accept(&mut self, listener: &mut Self::Listener) -> io::Result<(Self::Stream, Peer)>;

    /// Takes a waiting newcomer although no descriptor is left: on the one that is kept in reserve.
    /// The stream must be dropped, by [`Io::refuse`], before the next call of anything.
    ///
    /// # Errors
    /// `WouldBlock` where nobody waits; others where there is no reserve.
    fn accept_on_reserve(&mut self, listener: &mut Self::Listener) -> io::Result<Self::Stream>;

    /// Tells a newcomer why it is not let in, as far as its socket takes it at once, and closes it. Returns how
    /// many bytes that were.
    fn refuse(&mut self, stream: Self::Stream, text: &str) -> usize;

    /// How many newcomers the kernel lost because a queue of those who wait was full. A system that does not
    /// know need not have this.
    ///
    /// # Errors
    /// Where it cannot be seen.
    fn lost_newcomers(&mut self) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Begins to connect; [`Io::connected`] tells how that ended, once there is an event.
    ///
    /// # Errors
    /// Those of the system, but for the one that says that it has only begun.
    fn connect(&mut self, endpoint: &Endpoint) -> io::Result<Self::Stream>;

    /// How connecting ended: the peer, or `NotConnected` where it has not ended yet.
    ///
    /// # Errors
    /// Why it failed.
    fn connected(&mut self, stream: &Self::Stream) -> io::Result<Peer>;

    /// Has the stream's events told as [`Source::Connection`] of `slot`. True: it has no events for
    /// reading (it is a file), and must be taken as always readable.
    ///
    /// # Errors
    /// Those of the system.
    fn register(&mut self, stream: &mut Self::Stream, slot: usize, wants_write: bool) -> io::Result<bool>;

    /// Changes whether the stream's room to write is told.
    ///
    /// # Errors
    /// Those of the system.
    fn set_interest(&mut self, stream: &mut Self::Stream, slot: usize, wants_write: bool) -> io::Result<()>;

    /// Ends the stream's events; the caller drops it next.
    fn deregister(&mut self, stream: &mut Self::Stream);

    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock` where nothing is; `Ok(0)` is the end of the input.
    fn read(&mut self, stream: &mut Self::Stream, buffer: &mut [u8]) -> io::Result<usize>;

    /// Whether a read that filled less than the buffer shows that nothing more is there.
    fn short_read_drains(&self, stream: &Self::Stream) -> bool;

    /// Writes as much of both parts as there is room for.
    ///
    /// # Errors
    /// `WouldBlock` where there is none.
    fn write(&mut self, stream: &mut Self::Stream, parts: [&[u8]; 2]) -> io::Result<usize>;

    /// Tells the peer that no more will come. False: this stream cannot say so.
    ///
    /// # Errors
    /// Those of the system.
    fn shutdown_write(&mut self, stream: &mut Self::Stream) -> io::Result<bool>;

    /// Has the stream break off when it is dropped, so that its peer does not take what it got for all
    /// (tcp(7), `SO_LINGER`). A stream that cannot say so just ends.
    fn abort(&mut self, stream: &mut Self::Stream);

    /// Receives a datagram, and its sender, if that can be answered. The length is the datagram's own:
    /// what is beyond the buffer's is lost. A system without datagrams need not have this.
    ///
    /// # Errors
    /// `WouldBlock` where none is there; what became of earlier ones that were sent (udp(7)).
    fn receive(
        &mut self,
        _stream: &mut Self::Stream,
        _buffer: &mut [u8],
    ) -> io::Result<(usize, Option<Endpoint>)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Sends a datagram, whole or not at all; `None`: to the peer that the socket is connected to. A
    /// system without datagrams need not have this.
    ///
    /// # Errors
    /// `WouldBlock` where there is no room; any other is about this datagram, or an earlier one.
    fn send_to(
        &mut self,
        _stream: &mut Self::Stream,
        _to: Option<&Endpoint>,
        _bytes: &[u8],
    ) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The real operating system.
#[derive(Debug)]
pub struct System {
    poll: mio::Poll,
    events: mio::Events,
    waker: Waker,
    began: Instant,
    options: SocketOptions,
    /// Given up for a moment when no descriptor is left, so that a newcomer can be told.
    reserve: Option<File>,
}

/// Wakes a loop from outside: from a signal handler's thread, say. Each wake is told as one
/// [`Source::Waker`] event, but for those that come before the loop looks.
#[derive(Clone, Debug)]
pub struct Waker(Arc<mio::Waker>);

impl Waker {
    /// Wakes the loop.
    pub fn wake(&self) {
        // It fails only where the loop is gone, and then there is nobody to wake.
        let _ = self.0.wake();
    }
}

/// A connection's socket, or the console.
#[derive(Debug)]
pub enum Stream {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A Unix stream connection.
    Unix(UnixStream),
    /// A UDP socket.
    Udp(UdpSocket),
    /// A Unix datagram socket.
    Unixgram(UnixDatagram),
    /// Standard input and output.
    Console(Console),
}

const WAKER: Token = Token(usize::MAX);

/// Tokens of listeners count down from here, those of connections up from zero.
const LISTENER_TOKEN_MAX: usize = usize::MAX - 1;
const LISTENERS_MAX: usize = 1 << 16;

impl System {
    /// A loop's share of the operating system.
    ///
    /// # Errors
    /// Where it has no more descriptors or memory to give.
    pub fn new(options: SocketOptions) -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let waker = Waker(Arc::new(mio::Waker::new(poll.registry(), WAKER)?));
        Ok(System {
            poll,
            events: mio::Events::with_capacity(limits::EVENTS_PER_TURN_MAX),
            waker,
            began: Instant::now(),
            options,
            reserve: open_reserve(),
        })
    }

    /// What wakes this loop.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

fn open_reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

fn interest(wants_write: bool) -> Interest {
    if wants_write { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE }
}

impl Stream {
    fn socket(&self) -> Option<SockRef<'_>> {
        match self {
            Stream::Tcp(stream) => Some(SockRef::from(stream)),
            Stream::Unix(stream) => Some(SockRef::from(stream)),
            Stream::Udp(socket) => Some(SockRef::from(socket)),
            Stream::Unixgram(socket) => Some(SockRef::from(socket)),
            Stream::Console(_) => None,
        }
    }

    fn with_source<R>(
        &mut self,
        apply: impl Fn(&mut dyn mio::event::Source) -> io::Result<R>,
    ) -> Option<io::Result<R>> {
        match self {
            Stream::Tcp(stream) => Some(apply(stream)),
            Stream::Unix(stream) => Some(apply(stream)),
            Stream::Udp(socket) => Some(apply(socket)),
            Stream::Unixgram(socket) => Some(apply(socket)),
            Stream::Console(_) => None,
        }
    }
}

impl Io for System {
    type Stream = Stream;
    type Listener = Listener;

    fn now(&mut self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Now {
            moment: Moment::START + self.began.elapsed(),
            // A clock before 1970 is wrong by so much that 1970 is as good.
            unix_s: unix.map_or(0, |elapsed| i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)),
        }
    }

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        self.poll.poll(&mut self.events, timeout)?;
        events.extend(self.events.iter().map(|event| {
            let source = match event.token() {
                WAKER => Source::Waker,
                Token(token) if token > LISTENER_TOKEN_MAX - LISTENERS_MAX => {
                    Source::Listener(LISTENER_TOKEN_MAX - token)
                }
                Token(slot) => Source::Connection(slot),
            };
            Event {
                source,
                // The end is to be read too: a pipe whose writers left says so by EPOLLHUP alone.
                is_readable: event.is_readable() || event.is_read_closed() || event.is_error(),
                is_writable: event.is_writable(),
                is_read_closed: event.is_read_closed() || event.is_error(),
                is_broken: event.is_error(),
            }
        }));
        Ok(())
    }

    fn listen(&mut self, listener: &mut Listener, index: usize) -> io::Result<()> {
        debug_assert!(index < LISTENERS_MAX);
        listener.register(self.poll.registry(), Token(LISTENER_TOKEN_MAX - index))
    }

    fn accept(&mut self, listener: &mut Listener) -> io::Result<(Stream, Peer)> {
        listener.accept(&self.options)
    }

    fn accept_on_reserve(&mut self, listener: &mut Listener) -> io::Result<Stream> {
        if self.reserve.take().is_none() {
            self.reserve = open_reserve();
            return Err(io::Error::from(io::ErrorKind::OutOfMemory));
        }
        let accepted = listener.accept(&self.options);
        if accepted.is_err() {
            self.reserve = open_reserve();
        }
        accepted.map(|(stream, _)| stream)
    }

    fn refuse(&mut self, stream: Stream, text: &str) -> usize {
        let mut taken = 0;
        if let Some(socket) = stream.socket() {
            // Best effort: nothing is kept of who is refused, so nothing can be done about failures.
            taken = (&*socket).write(text.as_bytes()).unwrap_or(0);
            // Input that was not read would turn the close into a reset, which overtakes the text.
            let _ = (&*socket).read(&mut [0; 1024]);
        }
        drop(stream);
        if self.reserve.is_none() {
            self.reserve = open_reserve();
        }
        taken
    }

    fn lost_newcomers(&mut self) -> io::Result<u64> {
        listen::overflows(&std::fs::read_to_string("/proc/self/net/netstat")?)
            .ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn connect(&mut self, endpoint: &Endpoint) -> io::Result<Stream> {
        let stream = match endpoint {
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(*address)?;
                stream.set_nodelay(true)?;
                listen::set_keepalive(&SockRef::from(&stream))?;
                listen::limit_unsent(&SockRef::from(&stream), &self.options);
                Stream::Tcp(stream)
            }
            Endpoint::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
            Endpoint::Udp(address) => Stream::Udp(datagram::connect_udp(*address)?),
            Endpoint::Unixgram(path) => Stream::Unixgram(datagram::connect_unix(path)?),
        };
        Ok(stream)
    }

    fn connected(&mut self, stream: &Stream) -> io::Result<Peer> {
        match stream {
            Stream::Tcp(stream) => {
                if let Some(error) = stream.take_error()? {
                    return Err(error);
                }
                stream.peer_addr().map(Peer::from)
            }
            Stream::Unix(stream) => match stream.take_error()? {
                Some(error) => Err(error),
                None => stream.peer_addr().map(|_| Peer::Unix),
            },
            Stream::Udp(socket) => socket.peer_addr().map(Peer::from),
            Stream::Unixgram(_) => Ok(Peer::Unix),
            Stream::Console(_) => Ok(Peer::Console),
        }
    }

    fn register(&mut self, stream: &mut Stream, slot: usize, wants_write: bool) -> io::Result<bool> {
        let registry: &Registry = self.poll.registry();
        match stream {
            Stream::Console(console) => console.register(registry, Token(slot)),
            _ => {
                let register = |source: &mut dyn mio::event::Source| {
                    source.register(registry, Token(slot), interest(wants_write))
                };
                stream.with_source(register).unwrap_or(Ok(())).map(|()| false)
            }
        }
    }

    fn set_interest(&mut self, stream: &mut Stream, slot: usize, wants_write: bool) -> io::Result<()> {
        let registry: &Registry = self.poll.registry();
        match stream {
            Stream::Console(console) => console.set_interest(registry, Token(slot), wants_write),
            _ => {
                let reregister = |source: &mut dyn mio::event::Source| {
                    source.reregister(registry, Token(slot), interest(wants_write))
                };
                stream.with_source(reregister).unwrap_or(Ok(()))
            }
        }
    }

    fn deregister(&mut self, stream: &mut Stream) {
        let registry: &Registry = self.poll.registry();
        match stream {
            Stream::Console(console) => console.deregister(registry),
            _ => {
                // It fails only for what was never registered.
                let _ = stream.with_source(|source| source.deregister(registry));
            }
        }
    }

    fn read(&mut self, stream: &mut Stream, buffer: &mut [u8]) -> io::Result<usize> {
        match stream {
            Stream::Tcp(stream) => receive(&*stream, buffer),
            Stream::Unix(stream) => receive(&*stream, buffer),
            Stream::Udp(_) | Stream::Unixgram(_) => Err(io::ErrorKind::Unsupported.into()),
            Stream::Console(console) => console.read(buffer),
        }
    }

    fn short_read_drains(&self, stream: &Stream) -> bool {
        !matches!(stream, Stream::Console(_))
    }

    fn write(&mut self, stream: &mut Stream, parts: [&[u8]; 2]) -> io::Result<usize> {
        // One part is the rule, and `send` the cheaper call for it.
        let slices = [IoSlice::new(parts[0]), IoSlice::new(parts[1])];
        match stream {
            Stream::Tcp(stream) if parts[1].is_empty() => send(&*stream, parts[0]),
            Stream::Tcp(stream) => stream.write_vectored(&slices),
            Stream::Unix(stream) if parts[1].is_empty() => send(&*stream, parts[0]),
            Stream::Unix(stream) => stream.write_vectored(&slices),
            Stream::Udp(_) | Stream::Unixgram(_) => Err(io::ErrorKind::Unsupported.into()),
            Stream::Console(console) => console.write(parts),
        }
    }

    fn shutdown_write(&mut self, stream: &mut Stream) -> io::Result<bool> {
        match stream {
            Stream::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write).map(|()| true),
            Stream::Unix(stream) => stream.shutdown(std::net::Shutdown::Write).map(|()| true),
            Stream::Udp(_) | Stream::Unixgram(_) | Stream::Console(_) => Ok(false),
        }
    }

    fn abort(&mut self, stream: &mut Stream) {
        if let Stream::Tcp(stream) = stream {
            // Where it fails, the connection is broken already.
            let _ = SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
        }
    }

    fn receive(&mut self, stream: &mut Stream, buffer: &mut [u8]) -> io::Result<(usize, Option<Endpoint>)> {
        match stream {
            Stream::Udp(socket) => datagram::receive(&*socket, buffer),
            Stream::Unixgram(socket) => datagram::receive(&*socket, buffer),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn send_to(&mut self, stream: &mut Stream, to: Option<&Endpoint>, bytes: &[u8]) -> io::Result<()> {
        match stream {
            Stream::Udp(socket) => datagram::send_to(&*socket, to, bytes),
            Stream::Unixgram(socket) => datagram::send_to(&*socket, to, bytes),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

// Both are made directly: the C library's are cancellation points, which a process with a signal thread
// pays for at each call.

fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(socket, buffer, rustix::net::RecvFlags::empty())?.1)
}

fn send(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, rustix::net::SendFlags::NOSIGNAL)?)
}

/// Whether a descriptor is a terminal that this process may read: not one whose foreground is
/// another's, for reading that would stop the process (SIGTTIN).
fn is_foreground(terminal: impl AsFd) -> bool {
    match rustix::termios::tcgetpgrp(terminal) {
        Ok(group) => group == rustix::process::getpgrp(),
        Err(_) => true,
    }
}
