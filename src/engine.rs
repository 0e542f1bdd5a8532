//! The contract between the event loop and a program: what goes in, what comes out, and when.
//!
//! An [`Engine`] is a program without I/O: it is told what happened through `handle_*`, with the time
//! as an argument, and asked through `poll_*` what it wants done. It owns no socket, reads no clock and
//! draws no random number, so the same calls always give the same output, in production and in
//! simulation alike. The loop owns the sockets and knows nothing of what the bytes mean.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Add;
use std::path::PathBuf;
use std::time::Duration;

use crate::limits;

/// An instant of the monotonic clock, in nanoseconds since the loop began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The instant at which the loop began.
    pub const START: Moment = Moment(0);

    /// The time from `earlier` to this moment; zero where `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Nanoseconds since [`Moment::START`].
    #[must_use]
    pub fn as_nanos(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    /// Saturates after some 584 years.
    fn add(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// The one clock reading of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For deadlines: never steps back.
    pub moment: Moment,
    /// For people: the wall clock in seconds since 1970, which may step either way.
    pub unix_s: i64,
}

/// Names a connection for as long as anyone remembers it, also after its slot was reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    slot: u32,
    serial: u32,
}

impl ConnectionId {
    /// The id of the `serial`th connection, which lives in `slot`.
    #[must_use]
    pub const fn new(slot: u32, serial: u32) -> Self {
        ConnectionId { slot, serial }
    }

    /// The index of the connection's slot: small, dense, and reused after a close.
    #[must_use]
    pub fn slot(self) -> usize {
        self.slot as usize
    }

    /// The connection's number since the loop began, the generation of its slot: what people see.
    #[must_use]
    pub fn serial(self) -> u32 {
        self.serial
    }
}

/// Names a listener: what a newcomer connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(usize);

impl ListenerId {
    /// The id of the listener that was given to the loop behind `index` others.
    #[must_use]
    pub const fn new(index: usize) -> Self {
        ListenerId(index)
    }
}

/// Who is at the far end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP peer; an IPv4 address that was mapped into IPv6 is given as IPv4 (P25).
    Inet(IpAddr, u16),
    /// A Unix stream socket's peer, which has no address of its own.
    Unix,
    /// The operator on standard input and output.
    Console,
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Peer::Inet(address.ip().to_canonical(), address.port())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Inet(address, port) => SocketAddr::new(*address, *port).fmt(f),
            Peer::Unix => f.write_str("unix"),
            Peer::Console => f.write_str("console"),
        }
    }
}

/// What is counted for `--max-per-ip` and `--connect-rate`: an IPv4 address, or the /64 of an IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressBlock {
    /// All of the address.
    V4([u8; 4]),
    /// Its first half.
    V6([u8; 8]),
}

impl AddressBlock {
    /// `None` for who is exempt: loopback, Unix sockets and the console.
    #[must_use]
    pub fn of(peer: Peer) -> Option<Self> {
        match peer {
            Peer::Inet(ip, _) if ip.is_loopback() => None,
            Peer::Inet(IpAddr::V4(ip), _) => Some(AddressBlock::V4(ip.octets())),
            Peer::Inet(IpAddr::V6(ip), _) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Some(AddressBlock::V6([a, b, c, d, e, f, g, h]))
            }
            Peer::Unix | Peer::Console => None,
        }
    }
}

/// What to listen on, to connect to, or to send to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix stream socket.
    Unix(PathBuf),
    /// A UDP address.
    Udp(SocketAddr),
    /// The path of a Unix datagram socket; one that begins with NUL is an abstract name (unix(7)).
    Unixgram(PathBuf),
}

impl Endpoint {
    /// Whether datagrams are exchanged with it, not a stream of bytes.
    #[must_use]
    pub fn is_datagram(&self) -> bool {
        matches!(self, Endpoint::Udp(_) | Endpoint::Unixgram(_))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => address.fmt(f),
            Endpoint::Udp(address) => write!(f, "udp:{address}"),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
            Endpoint::Unixgram(path) => match path.to_string_lossy().strip_prefix('\0') {
                // As `ss -x` shows abstract names.
                Some(name) => write!(f, "unixgram:@{name}"),
                None => write!(f, "unixgram:{}", path.display()),
            },
        }
    }
}

/// Why a connection was closed, or not let in: told to the client, the log and the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// It asked to leave.
    Quit,
    /// It sent its last byte and got all that was due to it.
    EndOfInput,
    /// The peer or the network broke the connection off.
    Reset,
    /// Nothing was heard from the peer's machine for too long.
    TimedOut,
    /// The operator threw it out.
    Kicked,
    /// It said nothing for longer than `--idle`.
    Idle,
    /// It read too slowly (`--slow close`, `--slow wait`).
    TooSlow,
    /// It spoke another protocol: HTTP or TLS on a chat port (P43, P44).
    WrongProtocol,
    /// The server closed.
    ServerClosing,
    /// It did not take its last bytes within `--linger` or `--drain`.
    LingerExpired,
    /// `--max-clients` are connected, or no descriptor is left.
    ServerFull,
    /// `--max-per-ip` are connected from its address.
    AddressFull,
    /// More connected from its address lately than `--connect-rate` allows.
    AddressBusy,
    /// A system call on its socket failed in a way that is nobody's fault.
    SystemError,
}

impl Reason {
    /// All reasons, for tables that count by reason.
    pub const ALL: [Reason; 14] = [
        Reason::Quit,
        Reason::EndOfInput,
        Reason::Reset,
        Reason::TimedOut,
        Reason::Kicked,
        Reason::Idle,
        Reason::TooSlow,
        Reason::WrongProtocol,
        Reason::ServerClosing,
        Reason::LingerExpired,
        Reason::ServerFull,
        Reason::AddressFull,
        Reason::AddressBusy,
        Reason::SystemError,
    ];

    /// Whether it is one for which newcomers are not let in, and nobody is closed.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        matches!(self, Reason::ServerFull | Reason::AddressFull | Reason::AddressBusy)
    }

    /// In a word, for tables and as a metric's label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Quit => "quit",
            Reason::EndOfInput => "end_of_input",
            Reason::Reset => "reset",
            Reason::TimedOut => "timed_out",
            Reason::Kicked => "kicked",
            Reason::Idle => "idle",
            Reason::TooSlow => "too_slow",
            Reason::WrongProtocol => "wrong_protocol",
            Reason::ServerClosing => "server_closing",
            Reason::LingerExpired => "linger_expired",
            Reason::ServerFull => "server_full",
            Reason::AddressFull => "address_full",
            Reason::AddressBusy => "address_busy",
            Reason::SystemError => "system_error",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Quit => "quit",
            Reason::EndOfInput => "end of input",
            Reason::Reset => "connection reset",
            Reason::TimedOut => "connection timed out",
            Reason::Kicked => "kicked",
            Reason::Idle => "idle for too long",
            Reason::TooSlow => "read too slowly",
            Reason::WrongProtocol => "wrong protocol",
            Reason::ServerClosing => "server closing",
            Reason::LingerExpired => "did not take its last bytes in time",
            Reason::ServerFull => "server full",
            Reason::AddressFull => "too many connections from its address",
            Reason::AddressBusy => "too many newcomers from its address",
            Reason::SystemError => "system error",
        })
    }
}

/// A newcomer who is not let in: written once, as far as the socket takes it, before the close.
#[derive(Debug)]
pub struct Refusal {
    /// What is logged and counted.
    pub reason: Reason,
    /// What the newcomer reads, line end included.
    pub text: String,
}

/// Output that waits for a connection: two borrowed parts, the second empty except where a ring wraps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Output<'a> {
    /// The parts, in order.
    pub parts: [&'a [u8]; 2],
}

impl<'a> Output<'a> {
    /// Output of one part.
    #[must_use]
    pub fn one(part: &'a [u8]) -> Self {
        Output { parts: [part, &[]] }
    }

    /// Bytes of both parts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts[0].len() + self.parts[1].len()
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A datagram that waits to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// To whom; `None`: to the peer that the socket is connected to.
    pub to: Option<&'a Endpoint>,
    /// What; it may be empty, which is a datagram too.
    pub bytes: &'a [u8],
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// All that was offered was taken: the socket may take more.
    All,
    /// The socket is full. The loop calls [`Engine::handle_writable`] when it has room again.
    Blocked,
    /// The connection's write budget is spent. The loop calls [`Engine::handle_writable`] in the next turn.
    OutOfBudget,
}

/// What the system had too little of to take a newcomer, and may have again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shortage {
    /// This process may open no more descriptors.
    Descriptors,
    /// Nor may any process of the system.
    Files,
    /// The network has no buffers.
    Buffers,
    /// There is no memory.
    Memory,
}

impl Shortage {
    /// All of them, each at the index that it has as a number.
    pub const ALL: [Shortage; 4] =
        [Shortage::Descriptors, Shortage::Files, Shortage::Buffers, Shortage::Memory];

    /// What it is called where it is counted.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Shortage::Descriptors => "descriptors",
            Shortage::Files => "files",
            Shortage::Buffers => "buffers",
            Shortage::Memory => "memory",
        }
    }
}

/// What a turn of the loop did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnReport {
    /// Nanoseconds from the end of the poll to the end of the turn: how long whoever came meanwhile had to
    /// wait.
    pub took_ns: u64,
    /// Events that the poll told.
    pub events: usize,
    /// Newcomers taken from the listeners, those that were refused included.
    pub accepts: usize,
    /// Attempts to take one that failed for want of each [`Shortage`].
    pub shortages: [usize; Shortage::ALL.len()],
    /// Reads of connections, those that found nothing included; datagrams received.
    pub reads: usize,
    /// Bytes that they brought.
    pub read_bytes: usize,
    /// Writes to connections, those that met a full socket included; datagrams sent.
    pub writes: usize,
    /// Bytes that they took.
    pub written_bytes: usize,
    /// Writes after which the connection waits for room.
    pub blocked_writes: usize,
    /// Connections that ended.
    pub closes: usize,
    /// Connections that the next turn goes on with: their share of this one is used up.
    pub left_over: usize,
}

impl TurnReport {
    /// Whether others waited for longer than they should.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        u128::from(self.took_ns) > limits::SLOW_TURN.as_nanos()
    }
}

impl fmt::Display for TurnReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ms: events {}, accepts {}, reads {} ({} bytes), writes {} ({} bytes, {} to full sockets), \
             closes {}, left over {}",
            self.took_ns / 1_000_000,
            self.events,
            self.accepts,
            self.reads,
            self.read_bytes,
            self.writes,
            self.written_bytes,
            self.blocked_writes,
            self.closes,
            self.left_over
        )
    }
}

/// What an engine wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Flush what [`Engine::poll_output`] gives, then close. Input is discarded from here on.
    Close(ConnectionId, Reason),
    /// Close now, and wait for nobody: a peer that was not yet told the end of its output sees a reset.
    CutOff(ConnectionId, Reason),
    /// Flush what [`Engine::poll_output`] gives, then tell the peer that no more will come, and read on:
    /// its end is told by [`Engine::handle_eof`]. Nothing may be given as output after that.
    FinishOutput(ConnectionId),
    /// Offer input again to a connection for which [`Engine::wants_input`] was false.
    Resume(ConnectionId),
    /// Open a connection, or a datagram socket with one peer: [`Engine::handle_connected`] or [`Engine::handle_connect_failed`] follows.
    Connect(Endpoint),
    /// Accept nobody any more, and end when all connections are closed, or after this time.
    Stop(Duration),
}

/// A program on the loop.
///
/// In each turn the loop calls, in this order: [`admit`](Engine::admit) and
/// [`handle_accepted`](Engine::handle_accepted) for newcomers; [`handle_bytes`](Engine::handle_bytes)
/// and [`handle_eof`](Engine::handle_eof) for what was read; [`handle_timeout`](Engine::handle_timeout)
/// where a deadline passed; [`handle_turn`](Engine::handle_turn); then
/// [`poll_ready`](Engine::poll_ready), and for each connection named
/// [`poll_output`](Engine::poll_output) and [`handle_written`](Engine::handle_written) until it is
/// empty, full or out of budget; [`handle_closed`](Engine::handle_closed);
/// [`handle_turn_ended`](Engine::handle_turn_ended) last. After each of these groups it takes
/// [`poll_action`](Engine::poll_action) until `None`.
///
/// Every id that was accepted or connected is closed exactly once; none is used after that.
pub trait Engine {
    /// Whether a newcomer is let in; asked before anything is kept of it, so a refusal must be cheap.
    /// Programs that listen nowhere, or let in as many as there are descriptors, need not have it.
    ///
    /// # Errors
    /// The refusal to be sent.
    fn admit(&mut self, _now: Now, _listener: ListenerId, _peer: Peer) -> Result<(), Refusal> {
        Ok(())
    }

    /// What a newcomer to this listener reads for whom the system has no descriptor, before it is closed.
    fn full_notice(&self, _listener: ListenerId) -> &str {
        "-- the server is full: try again later --\n"
    }

    /// So many newcomers to this listener were told [`full_notice`](Engine::full_notice) and closed; `admit` was not asked.
    /// Programs that count nobody need not have it.
    fn handle_turned_away(&mut self, _now: Now, _listener: ListenerId, _newcomers: usize) {}

    /// Whether it is to be told now how many newcomers the kernel lost: asked in each turn behind the newcomers.
    /// Programs that tell nobody need have neither.
    fn wants_lost_newcomers(&self) -> bool {
        false
    }

    /// So many newcomers were lost since the network began, for a queue of those who wait to be accepted was
    /// full: of all programs in it. `None`: that cannot be seen.
    fn handle_lost_newcomers(&mut self, _newcomers: Option<u64>) {}

    /// A peer connected to a listener, or the console opened, which came to none.
    fn handle_accepted(&mut self, now: Now, id: ConnectionId, listener: Option<ListenerId>, peer: Peer);

    /// An [`Action::Connect`] succeeded: for datagrams, that says nothing of anybody being there. Programs
    /// that never connect need not have it.
    fn handle_connected(&mut self, _now: Now, _id: ConnectionId, _peer: Peer) {}

    /// An [`Action::Connect`] failed.
    fn handle_connect_failed(&mut self, _now: Now, _error: std::io::Error) {}

    /// Bytes arrived. Returns how many were consumed from the front: the loop keeps the rest, and
    /// offers it again, first, with what comes next, or after [`Action::Resume`].
    ///
    /// The engine must bound what it leaves: either it waits for the rest of something that is
    /// limited, or [`wants_input`](Engine::wants_input) is false until it resumes.
    fn handle_bytes(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) -> usize;

    /// The peer will send no more. `rest` is what `handle_bytes` left unconsumed. False where that has
    /// to wait: it is called again after [`Action::Resume`].
    fn handle_eof(&mut self, now: Now, id: ConnectionId, rest: &[u8]) -> bool;

    /// A bound datagram socket is there: an id like a connection's, but what comes and goes are whole
    /// datagrams ([`handle_datagram`](Engine::handle_datagram), [`poll_datagram`](Engine::poll_datagram)),
    /// from and to anybody. Programs that bind none need none of the four.
    fn handle_bound(&mut self, _now: Now, _id: ConnectionId) {}

    /// A datagram arrived, which may be empty; `from`: its sender, where that can be answered.
    fn handle_datagram(&mut self, _now: Now, _id: ConnectionId, _from: Option<&Endpoint>, _bytes: &[u8]) {}

    /// A datagram was lost, one that was sent or one that came; the socket goes on.
    fn handle_datagram_lost(&mut self, _now: Now, _id: ConnectionId, _error: std::io::Error) {}

    /// The datagram to be sent next on this socket. [`handle_written`](Engine::handle_written) tells with
    /// [`Written::All`] that it is done with, which says nothing of whether it will arrive, and with
    /// [`Written::Blocked`] that it is not: then nothing for the same receiver may be offered before
    /// [`handle_writable`](Engine::handle_writable).
    fn poll_datagram(&mut self, _now: Now, _id: ConnectionId) -> Option<Datagram<'_>> {
        None
    }

    /// Whether the engine takes input from this connection now; false is back-pressure.
    fn wants_input(&self, id: ConnectionId) -> bool;

    /// The next connection that has output and is not known to be blocked.
    fn poll_ready(&mut self, now: Now) -> Option<ConnectionId>;

    /// Whether another turn is wanted at once: `poll_ready` or `handle_turn` has something to do.
    fn has_ready(&self) -> bool;

    /// What is due to this connection next; empty when nothing is.
    fn poll_output(&mut self, now: Now, id: ConnectionId) -> Output<'_>;

    /// `bytes` of what `poll_output` gave were taken by the socket.
    fn handle_written(&mut self, now: Now, id: ConnectionId, bytes: usize, written: Written);

    /// A blocked connection may have room again: `poll_ready` should return it.
    fn handle_writable(&mut self, id: ConnectionId);

    /// The connection is gone; forget it.
    fn handle_closed(&mut self, now: Now, id: ConnectionId, reason: Reason);

    /// The operator's signal (SIGINT, SIGTERM) asks to end; answer with [`Action::Stop`].
    fn handle_signal(&mut self, now: Now);

    /// The moment that [`poll_timeout`](Engine::poll_timeout) named has passed.
    fn handle_timeout(&mut self, now: Now);

    /// The input of this turn is complete; what waited for that (one notice for many) can be said. Programs
    /// in which nothing waits for it need not have it.
    fn handle_turn(&mut self, _now: Now) {}

    /// The turn is over, and this is what it did; `now` is still the turn's. Programs that count nothing of
    /// it need not have it.
    fn handle_turn_ended(&mut self, _now: Now, _report: &TurnReport) {}

    /// When `handle_timeout` has to be called next; `None` while nothing waits for time.
    fn poll_timeout(&self) -> Option<Moment>;

    /// The next thing that the engine wants done.
    fn poll_action(&mut self) -> Option<Action>;
}
