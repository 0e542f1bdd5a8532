//! What a replay shows: a line for each thing that happened, or the bytes that one connection got.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;

use crate::codec::text::{describe, escape};
use crate::engine::{Moment, Peer};
use crate::event_loop::io::Source;
use crate::recording::Audience;
use crate::recording::entry::{Answer, Call, Entry};

/// What of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// Everything.
    All,
    /// What is about the connection of this number.
    One(u64),
    /// The bytes that went out to it.
    Raw(u64),
}

/// Writes what happens to `out`.
#[derive(Debug)]
pub(super) struct Listing<W: Write> {
    out: BufWriter<W>,
    show: Show,
    is_redacted: bool,
    /// A signal came, and is to be shown with the time of its turn, which is read next.
    is_signalled: bool,
    /// Who was accepted last, until it is let in or refused.
    newcomer: Option<Peer>,
    /// The number of the connection in each slot.
    numbers: HashMap<usize, u64>,
    connections: u64,
}

/// The number of what is about no connection.
const NOBODY: u64 = 0;

impl<W: Write> Listing<W> {
    pub(super) fn new(out: W, show: Show, is_redacted: bool) -> Self {
        Listing {
            out: BufWriter::new(out),
            show,
            is_redacted,
            is_signalled: false,
            newcomer: None,
            numbers: HashMap::new(),
            connections: 0,
        }
    }

    /// Ends it; returns how many connections there were, the console among them.
    ///
    /// # Errors
    /// Where the last of it could not be written.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.out.flush()?;
        Ok(self.connections)
    }

    fn line(&mut self, moment: Moment, number: u64, what: &str) -> io::Result<()> {
        if self.show != Show::All && self.show != Show::One(number) {
            return Ok(());
        }
        let seconds = moment.since(Moment::START).as_secs_f64();
        let who = if number == NOBODY { "-".into() } else { format!("#{number}") };
        writeln!(self.out, "{seconds:>12.6} {who:<4} {what}")
    }

    fn lines(&mut self, moment: Moment, number: u64, mark: char, bytes: &[u8]) -> io::Result<()> {
        bytes
            .split_inclusive(|byte| *byte == b'\n')
            .try_for_each(|line| self.line(moment, number, &format!("{mark} {}", escape(line))))
    }

    /// Who it is, as far as the recording tells.
    fn name(&self, peer: Option<Peer>) -> String {
        match peer {
            Some(Peer::Inet(IpAddr::V4(number), _)) if self.is_redacted => match number.to_bits() {
                0 => "one of many addresses".into(),
                number => format!("address {number}"),
            },
            Some(peer) => peer.to_string(),
            None => "somebody".into(),
        }
    }

    /// What is about a connection, or all.
    fn hear_of(&mut self, moment: Moment, number: u64, entry: &Entry<'_>, out: [&[u8]; 2]) -> io::Result<()> {
        match (entry.call, &entry.answer) {
            (Call::Read, Ok(Answer::Bytes(bytes))) if !bytes.is_empty() => {
                self.lines(moment, number, '<', bytes)
            }
            (Call::Read, Ok(Answer::Number(count @ 1..))) => {
                self.line(moment, number, &format!("< {count} bytes"))
            }
            (Call::Read, Ok(_)) => self.line(moment, number, "< end of input"),
            (Call::Write | Call::Refuse, Ok(Answer::Number(count))) if self.is_redacted => {
                self.line(moment, number, &format!("> {count} bytes"))
            }
            (Call::Write, Ok(_)) if self.show == Show::Raw(number) => {
                out.iter().try_for_each(|part| self.out.write_all(part))
            }
            (Call::Write | Call::Refuse, Ok(_)) => self.lines(moment, number, '>', &out.concat()),
            (Call::ShutdownWrite, Ok(Answer::Number(1))) => self.line(moment, number, "> end of output"),
            (Call::Abort, Ok(_)) => self.line(moment, number, "> cut off"),
            (Call::Deregister, Ok(_)) => self.line(moment, number, "closed"),
            (call, Err(errno)) => {
                let error = io::Error::from_raw_os_error(*errno);
                match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
                    _ => self.line(moment, number, &format!("{call}: {}", describe(&error))),
                }
            }
            _ => Ok(()),
        }
    }
}

impl<W: Write> Audience for Listing<W> {
    fn hear(&mut self, moment: Moment, entry: &Entry<'_>, out: [&[u8]; 2]) -> io::Result<()> {
        let number = match entry.call.has_slot() {
            true => self.numbers.get(&entry.slot).copied().unwrap_or(NOBODY),
            false => NOBODY,
        };
        match (entry.call, &entry.answer) {
            (Call::Poll, Ok(Answer::Events(events))) => {
                self.is_signalled = events.iter().any(|event| event.source == Source::Waker);
                // What came before is shown even where the next turn is the one that crashes.
                self.out.flush()
            }
            (Call::Now, _) if std::mem::take(&mut self.is_signalled) => self.line(moment, NOBODY, "a signal"),
            (Call::Accept, Ok(Answer::Peer(peer))) => {
                self.newcomer = Some(*peer);
                Ok(())
            }
            (Call::Refuse, _) => {
                let newcomer = self.newcomer.take();
                self.line(moment, NOBODY, &format!("refused: {}", self.name(newcomer)))?;
                self.hear_of(moment, NOBODY, entry, out)
            }
            (Call::Register, Ok(_)) => {
                self.connections += 1;
                self.numbers.insert(entry.slot, self.connections);
                let what = match self.newcomer.take() {
                    None => "the console".into(),
                    newcomer => format!("from {}", self.name(newcomer)),
                };
                self.line(moment, self.connections, &what)
            }
            (Call::Deregister, _) => {
                self.numbers.remove(&entry.slot);
                self.hear_of(moment, number, entry, out)
            }
            _ => self.hear_of(moment, number, entry, out),
        }
    }
}
