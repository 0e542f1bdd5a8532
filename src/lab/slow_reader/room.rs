//! A chat room of one sender and two readers, on the real [`Log`]: what is left of a chat server when
//! everything but its slow readers is taken away. Every message has the same length, so that it needs no
//! decoder.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use super::super::{SOON, narrator, show, would_block};
use crate::chat::log::{Cursor, Kind, Log};

/// Messages that the sender has to say.
pub(super) const MESSAGES: usize = 2000;

/// Bytes of messages that the room keeps, whoever reads.
pub(super) const LOG_BYTES_MAX: usize = 64 << 10;

const MESSAGE_BYTES: usize = 1024;

/// What a reader is told who skips, before the number of messages.
const MISSED: &str = "missed ";

/// Bytes asked for as each socket's buffers: small, so that they are soon full.
const BUFFER_BYTES: usize = 32 << 10;

/// How long a turn without work is.
const MOMENT: Duration = Duration::from_millis(1);

/// What happens to a reader that the log would overtake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    Skip,
    Close,
    Wait,
}

pub(super) struct Room {
    pub(super) log: Log,
    pub(super) fast: Reader,
    pub(super) slow: Reader,
    /// What the sender's last send came to.
    pub(super) said: io::Result<usize>,
    policy: Policy,
    /// The sender, all that it has to say, and how much of that it has sent.
    sender: TcpStream,
    speech: Vec<u8>,
    sent: usize,
    /// The server's end of the sender's connection.
    from_sender: TcpStream,
    /// How long nothing has moved.
    pub(super) idle: Duration,
}

impl Room {
    pub(super) fn new(policy: Policy) -> io::Result<Self> {
        let (sender, from_sender) = connection()?;
        Ok(Room {
            log: Log::new(LOG_BYTES_MAX),
            fast: Reader::new(true)?,
            slow: Reader::new(false)?,
            said: Ok(0),
            policy,
            sender,
            speech: speech(),
            sent: 0,
            from_sender,
            idle: Duration::ZERO,
        })
    }

    /// Turns until it `is_over`, or nothing has moved for long; returns what came of it.
    pub(super) fn run(&mut self, is_over: impl Fn(&Room) -> bool) -> io::Result<String> {
        self.idle = Duration::ZERO;
        while !is_over(self) && self.idle < SOON {
            if self.turn()? {
                self.idle = Duration::ZERO;
            } else {
                // The kernel may be carrying bytes across.
                rustix::event::poll(&mut [], Some(&narrator::timespec(MOMENT)))?;
                self.idle += MOMENT;
            }
        }
        let [fast, slow] = [&self.fast, &self.slow].map(|reader| show::grouped(reader.messages));
        Ok(format!("fast {fast}, slow {slow}"))
    }

    /// Everyone does one thing. Whether anything has moved.
    fn turn(&mut self) -> io::Result<bool> {
        let mut has_moved = self.say() | self.hear()?;
        for reader in [&mut self.fast, &mut self.slow] {
            has_moved |= reader.flush(&self.log, self.policy)? | reader.read()?;
        }
        Ok(has_moved)
    }

    fn say(&mut self) -> bool {
        if self.sent < self.speech.len() {
            self.said = self.sender.write(&self.speech[self.sent..]);
            self.sent += *self.said.as_ref().unwrap_or(&0);
            return self.said.is_ok();
        }
        false
    }

    /// The server reads a message from the sender.
    fn hear(&mut self) -> io::Result<bool> {
        let readers = [&self.fast, &self.slow];
        let base = self.log.base_after(MESSAGE_BYTES);
        // Whoever reads is not overtaken, however busy the machine is: that is left to those who do not.
        let must_wait = |reader: &Reader| self.policy == Policy::Wait || reader.is_awake;
        if readers.iter().any(|reader| reader.cursor.offset < base && must_wait(reader)) {
            return Ok(false);
        }
        if rustix::io::ioctl_fionread(&self.from_sender)? < MESSAGE_BYTES as u64 {
            return Ok(false);
        }
        let mut message = [0; MESSAGE_BYTES];
        self.from_sender.read_exact(&mut message)?;
        self.log.append(Kind::Message, &[&message]);
        Ok(true)
    }
}

/// All messages, each its number and a line end.
fn speech() -> Vec<u8> {
    let width = MESSAGE_BYTES - 1;
    (0..MESSAGES).flat_map(|number| format!("{number:width$}\n").into_bytes()).collect()
}

/// A reader: the server's end of its connection with a cursor into the log, and its own end.
pub(super) struct Reader {
    pub(super) is_awake: bool,
    /// It has read the end of the stream.
    pub(super) has_ended: bool,
    /// `None` once the server has closed it.
    server: Option<TcpStream>,
    cursor: Cursor,
    /// The rest of what a full socket has torn: the log may drop it meanwhile, and the reader needs it whole.
    rest: Vec<u8>,
    client: TcpStream,
    /// What the client has received: messages, messages that it was told to have missed, and lines that are
    /// neither.
    pub(super) messages: usize,
    pub(super) missed: usize,
    pub(super) torn: usize,
    /// The line that has come in part.
    line: Vec<u8>,
}

impl Reader {
    fn new(is_awake: bool) -> io::Result<Self> {
        let (client, server) = connection()?;
        Ok(Reader {
            is_awake,
            has_ended: false,
            server: Some(server),
            cursor: Cursor::default(),
            rest: Vec::new(),
            client,
            messages: 0,
            missed: 0,
            torn: 0,
            line: Vec::new(),
        })
    }

    /// The server's part: sends what the log has for this reader. Whether anything was taken.
    fn flush(&mut self, log: &Log, policy: Policy) -> io::Result<bool> {
        let Some(mut server) = self.server.as_ref() else { return Ok(false) };
        if self.cursor.offset < log.base().offset {
            if policy == Policy::Close {
                self.server = None;
                return Ok(true);
            }
            let missed = log.base().messages - self.cursor.messages;
            self.rest.extend_from_slice(format!("{MISSED}{missed}\n").as_bytes());
            self.cursor = log.base();
        }
        let from_log = self.rest.is_empty();
        let due =
            if from_log { log.slice(self.cursor.offset, log.end().offset).parts[0] } else { &self.rest[..] };
        if due.is_empty() {
            return Ok(false);
        }
        let Some(taken) = unless_blocked(server.write(due))? else { return Ok(false) };
        if from_log {
            let offset = self.cursor.offset + taken as u64;
            self.cursor = log.cursor_at(offset);
            self.rest = log.slice(offset, self.cursor.offset).parts.concat();
        } else {
            self.rest.drain(..taken);
        }
        Ok(true)
    }

    /// The reader's own part.
    fn read(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16 << 10];
        if !self.is_awake || self.has_ended {
            return Ok(false);
        }
        let Some(bytes) = unless_blocked(self.client.read(&mut buffer))? else { return Ok(false) };
        self.has_ended = bytes == 0;
        for part in buffer[..bytes].split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.take_line();
            }
        }
        Ok(true)
    }

    fn take_line(&mut self) {
        let text = String::from_utf8_lossy(&self.line);
        let missed = text.strip_prefix(MISSED).and_then(|number| number.trim_end().parse::<usize>().ok());
        match missed {
            Some(missed) => self.missed += missed,
            None if self.line.len() == MESSAGE_BYTES => self.messages += 1,
            None => self.torn += 1,
        }
        self.line.clear();
    }
}

fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    if would_block(&result) { Ok(None) } else { result.map(Some) }
}

/// A connection with small buffers, of which nothing blocks: the client's end and the server's.
pub(super) fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    SockRef::from(&listener).set_recv_buffer_size(BUFFER_BYTES)?;
    let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    client.set_recv_buffer_size(BUFFER_BYTES)?;
    client.connect(&listener.local_addr()?.into())?;
    let client = TcpStream::from(client);
    let (server, _) = listener.accept()?;
    for end in [&client, &server] {
        SockRef::from(end).set_send_buffer_size(BUFFER_BYTES)?;
        end.set_nonblocking(true)?;
    }
    Ok((client, server))
}
