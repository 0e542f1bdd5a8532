//! Entries: a call of the loop's to its system, and what the system answered; and their encoding.
//!
//! An entry is a byte for the call (its highest bit: it failed), the connection's slot where the call was about
//! one, and the answer: an error's number, or what the call returns. Numbers are LEB128, clocks are differences to
//! the entry before. Decoding takes any bytes: what is no entry is `None`, and nothing is reserved for a length
//! that was only claimed.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rustix::io::Errno;

use crate::engine::{Moment, Now, Peer};
use crate::event_loop::io::{Event, Source};
use crate::limits;

/// What the loop asked of the system; see [`Io`](crate::event_loop::io::Io). Two are no calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "each is the method of its name")]
pub enum Call {
    Now,
    Poll,
    Listen,
    Accept,
    AcceptOnReserve,
    Refuse,
    Connect,
    Connected,
    Register,
    SetInterest,
    Deregister,
    Read,
    Write,
    ShutdownWrite,
    Abort,
    /// The sum of all that was written so far.
    Sum,
    /// The recording has all the bytes that it was allowed.
    Full,
    LostNewcomers,
}

impl Call {
    const ALL: [Call; 18] = [
        Call::Now,
        Call::Poll,
        Call::Listen,
        Call::Accept,
        Call::AcceptOnReserve,
        Call::Refuse,
        Call::Connect,
        Call::Connected,
        Call::Register,
        Call::SetInterest,
        Call::Deregister,
        Call::Read,
        Call::Write,
        Call::ShutdownWrite,
        Call::Abort,
        Call::Sum,
        Call::Full,
        Call::LostNewcomers,
    ];

    /// Whether it is about one connection.
    #[must_use]
    pub fn has_slot(self) -> bool {
        matches!(
            self,
            Call::Connected
                | Call::Register
                | Call::SetInterest
                | Call::Deregister
                | Call::Read
                | Call::Write
                | Call::ShutdownWrite
                | Call::Abort
        )
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Call::Now => "the time",
            Call::Poll => "events",
            Call::Listen => "listening",
            Call::Accept => "a newcomer",
            Call::AcceptOnReserve => "a newcomer on the reserve",
            Call::Refuse => "a refusal",
            Call::Connect => "connecting",
            Call::Connected => "how connecting ended",
            Call::Register => "watching",
            Call::SetInterest => "watching for other events",
            Call::Deregister => "a close",
            Call::Read => "a read",
            Call::Write => "a write",
            Call::ShutdownWrite => "the end of the output",
            Call::Abort => "a reset",
            Call::Sum => "the sum of all that was written",
            Call::Full => "the end of the recording",
            Call::LostNewcomers => "newcomers that were lost",
        })
    }
}

/// A call and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<'a> {
    /// The call.
    pub call: Call,
    /// The slot of the connection that it was about, 0 where it was about none.
    pub slot: usize,
    /// What came of it, or the number of the system's error.
    pub answer: Result<Answer<'a>, i32>,
}

/// What a call that did not fail returned.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer<'a> {
    /// Nothing.
    Done,
    /// [`Call::Now`]
    Time(Now),
    /// [`Call::Poll`]
    Events(Cow<'a, [Event]>),
    /// [`Call::Accept`] and [`Call::Connected`]. Redacted: the number of its address as an IPv4 address.
    Peer(Peer),
    /// [`Call::Register`]: whether it is always readable, and whether a short read drains it.
    Registered(bool, bool),
    /// [`Call::Read`]
    Bytes(Cow<'a, [u8]>),
    /// [`Call::Read`], redacted, [`Call::Write`] and [`Call::Refuse`]: how many bytes. [`Call::ShutdownWrite`]: 1 where the
    /// peer was told. [`Call::Sum`]: the sum. [`Call::LostNewcomers`]: how many.
    Number(u64),
}

/// The number under which an error is recorded: what is no system's error has one that means the same.
pub(super) fn number_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or_else(|| {
        match error.kind() {
            io::ErrorKind::WouldBlock => Errno::WOULDBLOCK,
            io::ErrorKind::Interrupted => Errno::INTR,
            io::ErrorKind::NotConnected => Errno::NOTCONN,
            io::ErrorKind::OutOfMemory => Errno::NOMEM,
            io::ErrorKind::Unsupported => Errno::OPNOTSUPP,
            _ => Errno::IO,
        }
        .raw_os_error()
    })
}

/// Encodes and decodes, with the clock of the entry before.
#[derive(Debug)]
pub(super) struct Codec {
    pub(super) is_redacted: bool,
    before: Now,
}

const FAILED: u8 = 0x80;

/// No clock of a run has more, and no deadline that is reckoned from less overflows.
const NANOS_MAX: u64 = limits::FOR_EVER.as_nanos() as u64;

/// The numbers of Linux's errors are below this.
const ERRNO_END: i32 = 4096;

impl Codec {
    pub(super) fn new(is_redacted: bool) -> Self {
        Codec { is_redacted, before: Now { moment: Moment::START, unix_s: 0 } }
    }

    pub(super) fn encode(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        out.push(entry.call as u8 | if entry.answer.is_err() { FAILED } else { 0 });
        if entry.call.has_slot() {
            put_number(out, entry.slot as u64);
        }
        match &entry.answer {
            Err(errno) => put_number(out, u64::from(errno.unsigned_abs())),
            Ok(Answer::Done) => {}
            Ok(Answer::Time(now)) => {
                put_number(out, now.moment.as_nanos().saturating_sub(self.before.moment.as_nanos()));
                put_number(out, zigzag(now.unix_s.wrapping_sub(self.before.unix_s)));
                self.before = *now;
            }
            Ok(Answer::Events(events)) => {
                put_number(out, events.len() as u64);
                events.iter().for_each(|event| put_event(out, *event));
            }
            Ok(Answer::Peer(peer)) => put_peer(out, *peer),
            Ok(Answer::Registered(is_always_readable, short_read_drains)) => {
                out.push(u8::from(*is_always_readable) | u8::from(*short_read_drains) << 1);
            }
            Ok(Answer::Bytes(bytes)) => {
                put_number(out, bytes.len() as u64);
                if !self.is_redacted {
                    out.extend_from_slice(bytes);
                }
            }
            Ok(Answer::Number(number)) => put_number(out, *number),
        }
    }

    pub(super) fn decode(&mut self, input: &mut Input<'_>) -> Option<Entry<'static>> {
        let tag = input.byte()?;
        let call = *Call::ALL.get(usize::from(tag & !FAILED))?;
        let slot = if call.has_slot() { usize::try_from(input.number()?).ok()? } else { 0 };
        if tag & FAILED != 0 {
            let errno = i32::try_from(input.number()?).ok()?;
            return (1..ERRNO_END).contains(&errno).then_some(Entry { call, slot, answer: Err(errno) });
        }
        let answer = match call {
            Call::Listen
            | Call::AcceptOnReserve
            | Call::Connect
            | Call::SetInterest
            | Call::Deregister
            | Call::Abort
            | Call::Full => Answer::Done,
            Call::Now => {
                let nanos = self.before.moment.as_nanos().checked_add(input.number()?)?;
                if nanos > NANOS_MAX {
                    return None;
                }
                let moment = moment_of(nanos);
                let unix_s = self.before.unix_s.wrapping_add(unzigzag(input.number()?));
                self.before = Now { moment, unix_s };
                Answer::Time(self.before)
            }
            Call::Poll => {
                let count = usize::try_from(input.number()?).ok()?;
                if count > limits::EVENTS_PER_TURN_MAX {
                    return None;
                }
                let events: Option<Vec<Event>> = (0..count).map(|_| input.event()).collect();
                Answer::Events(events?.into())
            }
            Call::Accept | Call::Connected => Answer::Peer(input.peer()?),
            Call::Register => match input.byte()? {
                bits @ 0..4 => Answer::Registered(bits & 1 != 0, bits & 2 != 0),
                _ => return None,
            },
            Call::Read if !self.is_redacted => {
                let length = usize::try_from(input.number()?).ok()?;
                Answer::Bytes(input.bytes(length)?.to_vec().into())
            }
            Call::Refuse
            | Call::Read
            | Call::Write
            | Call::ShutdownWrite
            | Call::Sum
            | Call::LostNewcomers => Answer::Number(input.number()?),
        };
        Some(Entry { call, slot, answer: Ok(answer) })
    }
}

/// What is left to be decoded. Everything is `None` where it ends too early.
#[derive(Debug)]
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// LEB128; `None` for what does not fit into 64 bits, too.
    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn peer(&mut self) -> Option<Peer> {
        let ip: IpAddr = match self.byte()? {
            UNIX => return Some(Peer::Unix),
            CONSOLE => return Some(Peer::Console),
            V4 => self.array::<4>()?.into(),
            V6 => self.array::<16>()?.into(),
            _ => return None,
        };
        Some(Peer::Inet(ip, u16::try_from(self.number()?).ok()?))
    }

    fn event(&mut self) -> Option<Event> {
        let number = self.number()?;
        let index = usize::try_from(number >> 6).ok()?;
        Some(Event {
            source: match number >> 4 & 3 {
                0 => Source::Connection(index),
                1 => Source::Listener(index),
                2 => Source::Waker,
                _ => return None,
            },
            is_readable: number & 1 != 0,
            is_writable: number & 2 != 0,
            is_read_closed: number & 4 != 0,
            is_broken: number & 8 != 0,
        })
    }
}

pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn moment_of(nanos: u64) -> Moment {
    Moment::START + Duration::from_nanos(nanos)
}

/// Small numbers of either sign become small numbers.
fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

const UNIX: u8 = 0;
const CONSOLE: u8 = 1;
const V4: u8 = 4;
const V6: u8 = 6;

fn put_peer(out: &mut Vec<u8>, peer: Peer) {
    match peer {
        Peer::Unix => out.push(UNIX),
        Peer::Console => out.push(CONSOLE),
        Peer::Inet(ip, port) => {
            match ip {
                IpAddr::V4(ip) => {
                    out.push(V4);
                    out.extend(ip.octets());
                }
                IpAddr::V6(ip) => {
                    out.push(V6);
                    out.extend(ip.octets());
                }
            }
            put_number(out, port.into());
        }
    }
}

/// The index, two bits for what has it, four for what is said of it. Slots and listeners are far fewer than
/// 2^58.
fn put_event(out: &mut Vec<u8>, event: Event) {
    let (kind, index) = match event.source {
        Source::Connection(slot) => (0, slot),
        Source::Listener(index) => (1, index),
        Source::Waker => (2, 0),
    };
    let flags = [event.is_readable, event.is_writable, event.is_read_closed, event.is_broken];
    let flags = flags.iter().enumerate().fold(0, |flags, (bit, is_set)| flags | u64::from(*is_set) << bit);
    put_number(out, (index as u64) << 6 | kind << 4 | flags);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Entry<'static>> {
        let now = |nanos, unix_s| Answer::Time(Now { moment: moment_of(nanos), unix_s });
        let event = |source, is_broken| Event {
            source,
            is_readable: true,
            is_writable: false,
            is_read_closed: true,
            is_broken,
        };
        let entry = |call, slot, answer| Entry { call, slot, answer };
        let address = |text: &str| Answer::Peer(Peer::Inet(text.parse().expect("an address"), 65535));
        vec![
            entry(Call::Now, 0, Ok(now(7, 1_795_255_200))),
            entry(Call::Now, 0, Ok(now(7, i64::MIN))),
            entry(Call::Now, 0, Ok(now(NANOS_MAX, i64::MAX))),
            entry(Call::Poll, 0, Err(4)),
            entry(Call::Poll, 0, Ok(Answer::Events(vec![].into()))),
            entry(
                Call::Poll,
                0,
                Ok(Answer::Events(
                    vec![
                        event(Source::Connection(1 << 40), true),
                        event(Source::Listener(3), false),
                        event(Source::Waker, false),
                    ]
                    .into(),
                )),
            ),
            entry(Call::Listen, 0, Ok(Answer::Done)),
            entry(Call::Accept, 0, Ok(address("192.0.2.1"))),
            entry(Call::Accept, 0, Ok(address("2001:db8::1"))),
            entry(Call::Accept, 0, Ok(Answer::Peer(Peer::Unix))),
            entry(Call::Accept, 0, Err(4095)),
            entry(Call::Connected, usize::MAX, Ok(Answer::Peer(Peer::Console))),
            entry(Call::Refuse, 0, Ok(Answer::Number(30))),
            entry(Call::Register, 5, Ok(Answer::Registered(true, false))),
            entry(Call::Read, 300, Ok(Answer::Bytes(b"hello\n".to_vec().into()))),
            entry(Call::Read, 0, Ok(Answer::Bytes(vec![].into()))),
            entry(Call::Write, 9, Ok(Answer::Number(u64::MAX))),
            entry(Call::Write, 9, Err(11)),
            entry(Call::ShutdownWrite, 9, Ok(Answer::Number(1))),
            entry(Call::Abort, 9, Ok(Answer::Done)),
            entry(Call::Sum, 0, Ok(Answer::Number(1 << 31))),
            entry(Call::Full, 0, Ok(Answer::Done)),
            entry(Call::LostNewcomers, 0, Ok(Answer::Number(7))),
            entry(Call::LostNewcomers, 0, Err(2)),
        ]
    }

    fn decode_all(bytes: &[u8], is_redacted: bool) -> Option<Vec<Entry<'static>>> {
        let mut codec = Codec::new(is_redacted);
        let mut input = Input(bytes);
        let mut entries = Vec::new();
        while !input.0.is_empty() {
            entries.push(codec.decode(&mut input)?);
        }
        Some(entries)
    }

    #[test]
    fn what_is_decoded_is_what_was_encoded() {
        let mut codec = Codec::new(false);
        let mut bytes = Vec::new();
        for entry in samples() {
            codec.encode(&entry, &mut bytes);
        }
        assert_eq!(decode_all(&bytes, false), Some(samples()));
        assert!(bytes.len() < 160, "{} bytes", bytes.len());
    }

    #[test]
    fn the_calls_are_numbered_in_their_order() {
        for (number, call) in Call::ALL.iter().enumerate() {
            assert_eq!(*call as usize, number);
        }
    }

    #[test]
    fn a_redacted_read_has_its_length_and_no_byte() {
        let mut bytes = Vec::new();
        let read = Entry { call: Call::Read, slot: 1, answer: Ok(Answer::Bytes(b"secret"[..].into())) };
        Codec::new(true).encode(&read, &mut bytes);
        assert_eq!(bytes, [Call::Read as u8, 1, 6]);
        let expected = Entry { answer: Ok(Answer::Number(6)), ..read };
        assert_eq!(decode_all(&bytes, true), Some(vec![expected]));
    }

    #[test]
    fn every_cut_is_seen_and_no_length_is_believed() {
        for entry in samples() {
            let mut bytes = Vec::new();
            Codec::new(false).encode(&entry, &mut bytes);
            for cut in 1..bytes.len() {
                assert_eq!(decode_all(&bytes[..cut], false), None, "{entry:?} cut at {cut}");
            }
        }
        for wrong in [
            &[0x7f][..],
            // More than 64 bits; a read and events of 2^63.
            &[Call::Sum as u8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
            &[Call::Read as u8, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1],
            &[Call::Poll as u8, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1],
            // A clock beyond all runs: 2^62 nanoseconds; and one that steps back.
            &[Call::Now as u8, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40, 0],
            &[Call::Now as u8, 1, 0, Call::Now as u8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0],
            &[Call::Register as u8, 0, 4],
            &[Call::Accept as u8, 9],
            &[Call::Accept as u8 | FAILED, 0],
            &[Call::Accept as u8 | FAILED, 0x80, 0x20],
        ] {
            assert_eq!(decode_all(wrong, false), None, "{wrong:?}");
        }
    }
}
