//! What a handler sees of its connection or datagram, and of the server.

use std::io;
use std::time::Duration;

use crate::codec::line::{Decoded, Dialect, LineDecoder};
use crate::engine::{ConnectionId, Endpoint, Moment, Now, Peer, Reason};
use crate::output_queues::OutputQueues;

/// The state of the server that all handlers share.
#[derive(Debug, Default)]
pub struct Shared {
    pub(super) addresses: Vec<String>,
    pub(super) connections: usize,
    pub(super) requests: u64,
    pub(super) lost_datagrams: u64,
    pub(super) wants_shutdown: bool,
}

impl Shared {
    /// Where the server is bound, as people write addresses; port 0 is the real port here.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Connections that are open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// Requests that are finished: connections closed, and datagrams handled.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Datagrams that came or were sent, and are known to be lost.
    #[must_use]
    pub fn lost_datagrams(&self) -> u64 {
        self.lost_datagrams
    }

    /// Ends the server: nobody is accepted any more, everyone gets what is due, and
    /// [`serve_forever`](super::Server::serve_forever) returns.
    pub fn shutdown(&mut self) {
        self.wants_shutdown = true;
    }
}

/// What is kept of a connection between two calls of its handler.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: ConnectionId,
    pub(super) peer: Peer,
    pub(super) deadline: Option<Moment>,
    pub(super) lines: LineDecoder,
    pub(super) wish: Wish,
    /// What is sent after the end of the output is dropped.
    pub(super) has_finished_output: bool,
    /// The handler wants to be called once all is sent.
    pub(super) wants_sent: bool,
    /// The last byte was read.
    pub(super) has_eof: bool,
}

/// What a handler asked for, beside output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    GoOn,
    FinishOutput,
    Close(Reason),
}

/// A line that is longer than was asked for. All of it up to its end is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong;

/// A connection or datagram, as its handler sees it during one call.
#[derive(Debug)]
pub struct Request<'a> {
    pub(super) now: Now,
    pub(super) link: &'a mut Link,
    pub(super) from: Option<&'a Endpoint>,
    pub(super) is_datagram: bool,
    pub(super) input: &'a [u8],
    pub(super) consumed: usize,
    pub(super) output: Output<'a>,
    pub(super) server: &'a mut Shared,
}

/// Where a handler's output goes.
#[derive(Debug)]
pub(super) enum Output<'a> {
    Stream(&'a mut OutputQueues),
    /// All that is sent during the calls for one datagram becomes one answer, which may be empty.
    Datagram(&'a mut Option<Vec<u8>>),
}

impl<'a> Request<'a> {
    /// What arrived and was not consumed yet; for a datagram, all of it. It may be empty, which says
    /// nothing of an end: that is [`Handler::handle_eof`](super::Handler::handle_eof). A connection's input
    /// is shown to `handle` and `handle_eof` alone; in the other methods this is empty.
    #[must_use]
    pub fn unread(&self) -> &'a [u8] {
        &self.input[self.consumed..]
    }

    /// Takes `bytes` off the front of what is unread; all of it where it has fewer.
    pub fn consume(&mut self, bytes: usize) {
        self.consumed += bytes.min(self.unread().len());
        self.link.lines.rewind();
    }

    /// Takes at most `bytes_max` of what is unread: `recv`. It never waits; where nothing is there, it is
    /// empty, and the handler is called again when more has come.
    pub fn recv(&mut self, bytes_max: usize) -> &'a [u8] {
        let unread = self.unread();
        let taken = &unread[..unread.len().min(bytes_max)];
        self.consume(taken.len());
        taken
    }

    /// Takes the next line without its LF or CR LF: `makefile().readline()`. `None`: its end has not come
    /// yet; what is there of it stays unread. At the end of the input, the last line may have none: it is
    /// what [`unread`](Self::unread) holds.
    ///
    /// # Errors
    /// Where it has more than `line_bytes_max` bytes: told once, dropped to its end.
    pub fn read_line(&mut self, line_bytes_max: usize) -> Option<Result<&'a [u8], LineTooLong>> {
        match self.link.lines.decode(self.unread(), Dialect::Raw, line_bytes_max) {
            Decoded::Incomplete { consumed } => {
                self.consumed += consumed;
                None
            }
            Decoded::Line { line, consumed } => {
                self.consumed += consumed;
                Some(Ok(line))
            }
            Decoded::TooLong { consumed } => {
                self.consumed += consumed;
                Some(Err(LineTooLong))
            }
            Decoded::TelnetReply(_) => None,
        }
    }

    /// Sends all of it: `sendall`. It never waits: what the socket does not take at once, it is given when
    /// it has room, and the handler gets no more input while much waits; who sends without being asked, on a
    /// timeout, looks at [`waiting_bytes`](Self::waiting_bytes) first. For a datagram, all that is sent
    /// becomes one answer; it is lost where the sender has no name to be answered at.
    pub fn send(&mut self, bytes: &[u8]) {
        match &mut self.output {
            _ if self.link.has_finished_output => {}
            Output::Stream(queues) => queues.push(self.link.id, bytes),
            Output::Datagram(answer) => answer.get_or_insert_default().extend_from_slice(bytes),
        }
    }

    /// Has [`Handler::handle_sent`](super::Handler::handle_sent) called once the socket has taken all that was
    /// sent until now: for what is too long to be sent at once, a chunk each time.
    pub fn tell_when_sent(&mut self) {
        self.link.wants_sent = true;
    }

    /// Bytes that were sent and that the socket has not taken yet.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        match &self.output {
            Output::Stream(queues) => queues.waiting_bytes(self.link.id),
            Output::Datagram(answer) => answer.as_ref().map_or(0, Vec::len),
        }
    }

    /// Who is at the other end: `getpeername`, `client_address`.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.link.peer
    }

    /// Who is at the other end, for people; a Unix datagram's sender has the name of its socket.
    #[must_use]
    pub fn peer_name(&self) -> String {
        match self.from {
            Some(Endpoint::Udp(_)) | None => self.link.peer.to_string(),
            Some(named) => named.to_string(),
        }
    }

    /// Whether this is a datagram, and not a connection.
    #[must_use]
    pub fn is_datagram(&self) -> bool {
        self.is_datagram
    }

    /// The connection's number since the server began; datagrams have that of their socket.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.link.id.serial()
    }

    /// The time of this turn: handlers read no clock.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    /// Has [`Handler::handle_timeout`](super::Handler::handle_timeout) called in so long, unless this is
    /// called again; `None`: never. It means nothing for a datagram.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        // Not in this turn: who is called in no time at all, and asks for it again, would hold up all.
        let soonest = Duration::from_nanos(1);
        self.link.deadline = timeout.map(|timeout| self.now.moment + timeout.max(soonest));
    }

    /// Tells the peer, once all is sent, that no more will come, and reads on: `shutdown(SHUT_WR)`.
    pub fn finish_output(&mut self) {
        if self.link.wish == Wish::GoOn && !self.link.has_finished_output {
            self.link.wish = Wish::FinishOutput;
            self.link.has_finished_output = true;
        }
    }

    /// Closes, once all is sent. A peer that takes nothing for [`limits::LINGER`](crate::limits::LINGER) is cut
    /// off, and sees a reset, not an end. The handler is called no more, but for its `finish`.
    pub fn close(&mut self) {
        let reason = if self.link.has_eof { Reason::EndOfInput } else { Reason::Quit };
        self.close_for(reason);
    }

    /// Closes for a reason, which `finish` is told.
    pub fn close_for(&mut self, reason: Reason) {
        if !matches!(self.link.wish, Wish::Close(_)) {
            self.link.wish = Wish::Close(reason);
        }
    }

    /// The server: its addresses, its end.
    pub fn server(&mut self) -> &mut Shared {
        self.server
    }
}

/// [`Request::send`], for `write!` and what else writes; it never fails.
impl io::Write for Request<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
