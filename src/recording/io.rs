//! A system that hands every call on to another, and records what it answered.

use std::io;
use std::time::Duration;

use super::Recorder;
use super::entry::{Answer, Call};
use crate::engine::{Endpoint, Now, Peer};
use crate::event_loop::io::{Event, Io};

/// The wrapped system, and where its answers go. Streams only: datagrams are not recorded, and so not had.
#[derive(Debug)]
pub struct Recording<I: Io> {
    io: I,
    recorder: Recorder,
    /// The next reading of the clock is that of the turn.
    has_polled: bool,
}

/// A wrapped system's stream, and the slot by which the entries know it.
#[derive(Debug)]
pub struct Recorded<S> {
    stream: S,
    slot: usize,
}

impl<S> From<S> for Recorded<S> {
    /// Nothing is read or written before `register` tells the slot.
    fn from(stream: S) -> Self {
        Recorded { stream, slot: usize::MAX }
    }
}

impl<I: Io> Recording<I> {
    /// Records what `io` answers from now on.
    #[must_use]
    pub fn new(io: I, recorder: Recorder) -> Self {
        Recording { io, recorder, has_polled: false }
    }

    fn note<'a, T>(
        &mut self,
        call: Call,
        slot: usize,
        result: io::Result<T>,
        answer: impl FnOnce(&T) -> Answer<'a>,
    ) -> io::Result<T> {
        self.recorder.note(call, slot, result.as_ref().map(answer));
        result
    }
}

fn done<'a, T>(_: &T) -> Answer<'a> {
    Answer::Done
}

impl<I: Io> Io for Recording<I> {
    type Stream = Recorded<I::Stream>;
    type Listener = I::Listener;

    fn now(&mut self) -> Now {
        let now = self.io.now();
        self.recorder.note(Call::Now, 0, Ok(Answer::Time(now)));
        if std::mem::take(&mut self.has_polled) {
            self.recorder.flush();
        }
        now
    }

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        // Nothing may come for long; who does not wait reads the clock at once.
        if timeout != Some(Duration::ZERO) {
            self.recorder.flush();
        }
        let polled = self.io.poll(events, timeout);
        self.has_polled = true;
        self.note(Call::Poll, 0, polled, |()| Answer::Events(events.as_slice().into()))
    }

    fn listen(&mut self, listener: &mut I::Listener, index: usize) -> io::Result<()> {
        let listening = self.io.listen(listener, index);
        self.note(Call::Listen, 0, listening, done)
    }

    fn accept(&mut self, listener: &mut I::Listener) -> io::Result<(Self::Stream, Peer)> {
        let accepted = self.io.accept(listener);
        let accepted = self.note(Call::Accept, 0, accepted, |(_, peer)| Answer::Peer(*peer));
        if accepted.is_ok() {
            self.recorder.flush();
        }
        accepted.map(|(stream, peer)| (stream.into(), peer))
    }

    fn accept_on_reserve(&mut self, listener: &mut I::Listener) -> io::Result<Self::Stream> {
        let accepted = self.io.accept_on_reserve(listener);
        self.note(Call::AcceptOnReserve, 0, accepted, done).map(Recorded::from)
    }

    fn refuse(&mut self, stream: Self::Stream, text: &str) -> usize {
        let taken = self.io.refuse(stream.stream, text);
        self.recorder.add_written([text.as_bytes(), &[]], taken);
        self.recorder.note(Call::Refuse, 0, Ok(Answer::Number(taken as u64)));
        taken
    }

    fn lost_newcomers(&mut self) -> io::Result<u64> {
        let lost = self.io.lost_newcomers();
        self.note(Call::LostNewcomers, 0, lost, |newcomers| Answer::Number(*newcomers))
    }

    fn connect(&mut self, endpoint: &Endpoint) -> io::Result<Self::Stream> {
        let connecting = self.io.connect(endpoint);
        self.note(Call::Connect, 0, connecting, done).map(Recorded::from)
    }

    fn connected(&mut self, stream: &Self::Stream) -> io::Result<Peer> {
        let connected = self.io.connected(&stream.stream);
        self.note(Call::Connected, stream.slot, connected, |peer| Answer::Peer(*peer))
    }

    fn register(&mut self, stream: &mut Self::Stream, slot: usize, wants_write: bool) -> io::Result<bool> {
        stream.slot = slot;
        let registered = self.io.register(&mut stream.stream, slot, wants_write);
        let short_read_drains = self.io.short_read_drains(&stream.stream);
        self.note(Call::Register, slot, registered, |is_always_readable| {
            Answer::Registered(*is_always_readable, short_read_drains)
        })
    }

    fn set_interest(&mut self, stream: &mut Self::Stream, slot: usize, wants_write: bool) -> io::Result<()> {
        let set = self.io.set_interest(&mut stream.stream, slot, wants_write);
        self.note(Call::SetInterest, slot, set, done)
    }

    fn deregister(&mut self, stream: &mut Self::Stream) {
        self.io.deregister(&mut stream.stream);
        self.recorder.note(Call::Deregister, stream.slot, Ok(Answer::Done));
    }

    fn read(&mut self, stream: &mut Self::Stream, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.io.read(&mut stream.stream, buffer);
        let bytes = |bytes: &usize| Answer::Bytes(buffer[..*bytes].into());
        let read = self.note(Call::Read, stream.slot, read, bytes);
        if read.is_ok() {
            self.recorder.flush();
        }
        read
    }

    fn short_read_drains(&self, stream: &Self::Stream) -> bool {
        self.io.short_read_drains(&stream.stream)
    }

    fn write(&mut self, stream: &mut Self::Stream, parts: [&[u8]; 2]) -> io::Result<usize> {
        let written = self.io.write(&mut stream.stream, parts);
        if let Ok(taken) = written {
            self.recorder.add_written(parts, taken);
        }
        self.note(Call::Write, stream.slot, written, |taken| Answer::Number(*taken as u64))
    }

    fn shutdown_write(&mut self, stream: &mut Self::Stream) -> io::Result<bool> {
        let shut_down = self.io.shutdown_write(&mut stream.stream);
        self.note(Call::ShutdownWrite, stream.slot, shut_down, |was_told| {
            Answer::Number(u64::from(*was_told))
        })
    }

    fn abort(&mut self, stream: &mut Self::Stream) {
        self.io.abort(&mut stream.stream);
        self.recorder.note(Call::Abort, stream.slot, Ok(Answer::Done));
    }
}
