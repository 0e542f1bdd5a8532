//! A system that gives the answers of a recording, and has nothing else: no sockets, no clock.
//!
//! Each call of the loop must be the one that was recorded. Once it is not, or the recording ends, nothing happens
//! any more: nobody comes, nobody sends, nothing is taken, and the next poll fails, which ends the loop.

use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use super::entry::{Answer, Call, Entry};
use super::recorder::add_written;
use super::sum::Sum;
use super::{Fault, Reader, Tail};
use crate::engine::{Endpoint, Moment, Now, Peer};
use crate::event_loop::io::{Event, Io};

/// Who follows what happens.
pub trait Audience {
    /// A call was answered, at `moment`, the last that was read from the clock. `out` is what went out with
    /// it: what the socket took of a write, or the words of a refusal.
    ///
    /// # Errors
    /// Where it will not hear more; this ends the replay.
    fn hear(&mut self, moment: Moment, entry: &Entry<'_>, out: [&[u8]; 2]) -> io::Result<()>;
}

/// The recording as a system.
#[derive(Debug)]
pub struct Replaying<R, A> {
    reader: Reader<R>,
    audience: A,
    until: Option<Moment>,
    now: Now,
    /// Of all that was written, as the recorder had it.
    written: Sum,
    entries: u64,
    /// An entry that was looked at, and is still to be answered with.
    next: Option<Entry<'static>>,
    ending: Option<Ending>,
}

/// Why a replay ended before its loop did.
#[derive(Debug)]
pub enum Ending {
    /// The recording ended.
    Recording(Tail),
    /// It was to go no further.
    Until,
    /// The loop did something else than it did then.
    Diverged(Divergence),
    /// The recording cannot be read on.
    Fault(Fault),
    /// Nobody listens any more.
    Unheard(io::Error),
}

/// Where a replay is not what was recorded.
#[derive(Debug)]
pub struct Divergence {
    /// The number of the entry, from 1.
    pub entry: u64,
    /// When that was.
    pub moment: Moment,
    /// What the recording has there.
    pub recorded: String,
    /// What happened instead.
    pub happened: String,
}

/// A connection, or the console, of a recording.
#[derive(Debug, Default)]
pub struct Replayed {
    slot: usize,
    short_read_drains: bool,
}

const NOTHING: [&[u8]; 2] = [&[], &[]];

impl<R: Read, A: Audience> Replaying<R, A> {
    /// A replay of what `reader` reads, up to a moment or to its end.
    pub fn new(reader: Reader<R>, audience: A, until: Option<Moment>) -> Self {
        let now = Now { moment: Moment::START, unix_s: 0 };
        Replaying {
            reader,
            audience,
            until,
            now,
            written: Sum::NOTHING,
            entries: 0,
            next: None,
            ending: None,
        }
    }

    /// Whether this is the call that was recorded next.
    pub fn is_next(&mut self, call: Call) -> bool {
        self.next = self.next_entry();
        self.next.as_ref().is_some_and(|entry| entry.call == call)
    }

    /// Ends the replay after its loop ended: how it ended, or `None` where loop and recording ended together;
    /// how many entries there were, and the last moment. The audience is given back.
    pub fn finish(mut self) -> (Option<Ending>, u64, Moment, A) {
        if self.ending.is_none() {
            match self.next_entry() {
                Some(entry) => self.diverge(&entry, "the server ended".into()),
                // Where nothing is left, both ended together.
                None if matches!(self.ending, Some(Ending::Recording(Tail::Whole))) => self.ending = None,
                None => {}
            }
        }
        (self.ending, self.entries, self.now.moment, self.audience)
    }

    /// Tells the audience of each entry, without a loop: all that a redacted recording allows.
    pub fn list(mut self) -> (Option<Ending>, u64, Moment, A) {
        while let Some(entry) = self.next_entry() {
            self.tell(&entry, NOTHING);
        }
        (self.ending, self.entries, self.now.moment, self.audience)
    }

    /// The next entry that is a call; `None`: the replay has ended.
    fn next_entry(&mut self) -> Option<Entry<'static>> {
        if self.ending.is_none()
            && let Some(entry) = self.next.take()
        {
            return Some(entry);
        }
        while self.ending.is_none() {
            match self.reader.next_entry() {
                Ok(Some(entry)) => {
                    self.entries += 1;
                    if entry.call != Call::Sum {
                        return Some(entry);
                    }
                    if entry.answer != Ok(Answer::Number(self.written.short().into())) {
                        self.diverge(
                            &entry,
                            "what was written since the last such sum is something else".into(),
                        );
                    }
                }
                Ok(None) => self.ending = Some(Ending::Recording(self.reader.tail())),
                Err(fault) => self.ending = Some(Ending::Fault(fault)),
            }
        }
        None
    }

    /// Answers a call as it was answered then; `None`: the replay has ended.
    fn answer(
        &mut self,
        call: Call,
        slot: usize,
        offered: [&[u8]; 2],
    ) -> Option<Result<Answer<'static>, io::Error>> {
        let entry = self.next_entry()?;
        if (entry.call, entry.slot) != (call, if call.has_slot() { slot } else { 0 }) {
            self.diverge(&entry, describe(call, slot));
            return None;
        }
        let offered_bytes = offered[0].len() + offered[1].len();
        let taken = match &entry.answer {
            Ok(Answer::Number(taken)) if matches!(call, Call::Write | Call::Refuse) => *taken,
            _ => 0,
        };
        let taken = match usize::try_from(taken) {
            Ok(taken) if taken <= offered_bytes => taken,
            _ => {
                self.diverge(
                    &entry,
                    format!("{} of {offered_bytes} bytes, fewer than were taken", describe(call, slot)),
                );
                return None;
            }
        };
        if taken > 0 {
            add_written(&mut self.written, offered, taken);
        }
        let first = taken.min(offered[0].len());
        self.tell(&entry, [&offered[0][..first], &offered[1][..taken - first]]);
        Some(entry.answer.map_err(io::Error::from_raw_os_error))
    }

    /// Tells the audience, unless this is beyond where the replay is to go.
    fn tell(&mut self, entry: &Entry<'_>, out: [&[u8]; 2]) {
        if let Ok(Answer::Time(now)) = entry.answer {
            if self.until.is_some_and(|until| until < now.moment) {
                self.ending = Some(Ending::Until);
                return;
            }
            self.now = now;
        }
        if let Err(error) = self.audience.hear(self.now.moment, entry, out) {
            self.ending = Some(Ending::Unheard(error));
        }
    }

    fn diverge(&mut self, entry: &Entry<'_>, happened: String) {
        let recorded = match entry.call {
            Call::Sum => entry.call.to_string(),
            _ => describe(entry.call, entry.slot),
        };
        let (entry, moment) = (self.entries, self.now.moment);
        self.ending = Some(Ending::Diverged(Divergence { entry, moment, recorded, happened }));
    }

    /// The same for a call that returns nothing.
    fn done(&mut self, call: Call, slot: usize) -> io::Result<()> {
        self.answer(call, slot, NOTHING).unwrap_or_else(nothing).map(drop)
    }
}

/// What is answered once the replay has ended.
fn nothing<T>() -> io::Result<T> {
    Err(io::ErrorKind::WouldBlock.into())
}

fn describe(call: Call, slot: usize) -> String {
    if call.has_slot() { format!("{call} in slot {slot}") } else { call.to_string() }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Divergence { entry, moment, recorded, happened } = self;
        let seconds = moment.since(Moment::START).as_secs_f64();
        write!(f, "entry {entry}, at {seconds:.6} s: recorded is {recorded}; now: {happened}")
    }
}

impl<R: Read, A: Audience> Io for Replaying<R, A> {
    type Stream = Replayed;
    type Listener = ();

    fn now(&mut self) -> Now {
        let _ = self.answer(Call::Now, 0, NOTHING);
        self.now
    }

    fn poll(&mut self, events: &mut Vec<Event>, _timeout: Option<Duration>) -> io::Result<()> {
        match self.answer(Call::Poll, 0, NOTHING) {
            Some(Ok(Answer::Events(told))) => {
                events.extend_from_slice(&told);
                Ok(())
            }
            Some(Err(error)) => Err(error),
            _ => Err(io::Error::other("the replay has ended")),
        }
    }

    fn listen(&mut self, (): &mut (), _index: usize) -> io::Result<()> {
        self.done(Call::Listen, 0)
    }

    fn accept(&mut self, (): &mut ()) -> io::Result<(Replayed, Peer)> {
        match self.answer(Call::Accept, 0, NOTHING) {
            Some(Ok(Answer::Peer(peer))) => Ok((Replayed::default(), peer)),
            Some(Err(error)) => Err(error),
            _ => nothing(),
        }
    }

    fn accept_on_reserve(&mut self, (): &mut ()) -> io::Result<Replayed> {
        self.done(Call::AcceptOnReserve, 0).map(|()| Replayed::default())
    }

    fn refuse(&mut self, _stream: Replayed, text: &str) -> usize {
        match self.answer(Call::Refuse, 0, [text.as_bytes(), &[]]) {
            Some(Ok(Answer::Number(taken))) => usize::try_from(taken).unwrap_or(usize::MAX),
            _ => 0,
        }
    }

    fn lost_newcomers(&mut self) -> io::Result<u64> {
        match self.answer(Call::LostNewcomers, 0, NOTHING) {
            Some(Ok(Answer::Number(newcomers))) => Ok(newcomers),
            Some(Err(error)) => Err(error),
            _ => nothing(),
        }
    }

    fn connect(&mut self, _endpoint: &Endpoint) -> io::Result<Replayed> {
        self.done(Call::Connect, 0).map(|()| Replayed::default())
    }

    fn connected(&mut self, stream: &Replayed) -> io::Result<Peer> {
        match self.answer(Call::Connected, stream.slot, NOTHING) {
            Some(Ok(Answer::Peer(peer))) => Ok(peer),
            Some(Err(error)) => Err(error),
            _ => nothing(),
        }
    }

    fn register(&mut self, stream: &mut Replayed, slot: usize, _wants_write: bool) -> io::Result<bool> {
        stream.slot = slot;
        match self.answer(Call::Register, slot, NOTHING) {
            Some(Ok(Answer::Registered(is_always_readable, short_read_drains))) => {
                stream.short_read_drains = short_read_drains;
                Ok(is_always_readable)
            }
            Some(Err(error)) => Err(error),
            _ => nothing(),
        }
    }

    fn set_interest(&mut self, stream: &mut Replayed, slot: usize, _wants_write: bool) -> io::Result<()> {
        debug_assert_eq!(stream.slot, slot);
        self.done(Call::SetInterest, slot)
    }

    fn deregister(&mut self, stream: &mut Replayed) {
        let _ = self.done(Call::Deregister, stream.slot);
    }

    fn read(&mut self, stream: &mut Replayed, buffer: &mut [u8]) -> io::Result<usize> {
        match self.answer(Call::Read, stream.slot, NOTHING) {
            Some(Ok(Answer::Bytes(bytes))) => match buffer.get_mut(..bytes.len()) {
                Some(taken) => {
                    taken.copy_from_slice(&bytes);
                    Ok(bytes.len())
                }
                None => {
                    let entry =
                        Entry { call: Call::Read, slot: stream.slot, answer: Ok(Answer::Bytes(bytes)) };
                    self.diverge(&entry, format!("a read of at most {} bytes", buffer.len()));
                    nothing()
                }
            },
            Some(Err(error)) => Err(error),
            _ => nothing(),
        }
    }

    fn short_read_drains(&self, stream: &Replayed) -> bool {
        stream.short_read_drains
    }

    fn write(&mut self, stream: &mut Replayed, parts: [&[u8]; 2]) -> io::Result<usize> {
        match self.answer(Call::Write, stream.slot, parts) {
            Some(Ok(Answer::Number(taken))) => Ok(usize::try_from(taken).unwrap_or(usize::MAX)),
            Some(Err(error)) => Err(error),
            _ => nothing(),
        }
    }

    fn shutdown_write(&mut self, stream: &mut Replayed) -> io::Result<bool> {
        match self.answer(Call::ShutdownWrite, stream.slot, NOTHING) {
            Some(Ok(Answer::Number(was_told))) => Ok(was_told != 0),
            Some(Err(error)) => Err(error),
            _ => nothing(),
        }
    }

    fn abort(&mut self, stream: &mut Replayed) {
        let _ = self.done(Call::Abort, stream.slot);
    }
}
