//! A system that hands every call on to another, and notes what came of it.

use std::io::{self, Write};
use std::time::Duration;

use super::{SharedNotes, time};
use crate::chat::render;
use crate::engine::{Endpoint, Moment, Now, Peer};
use crate::event_loop::io::{Event, Io, Source};

/// The wrapped system, and where the lines go. A line that cannot be written is left out.
#[derive(Debug)]
pub struct NarratedIo<I: Io, W: Write> {
    io: I,
    notes: SharedNotes,
    out: W,
    /// When the last poll returned; `None` before the first.
    woke_at: Option<Moment>,
}

/// A wrapped system's stream, and the slot by which the notes know whose it is.
#[derive(Debug)]
pub struct Numbered<S> {
    stream: S,
    slot: usize,
}

impl<S> Numbered<S> {
    fn new(stream: S) -> Self {
        // Nothing is read or written before `register` tells the slot.
        Numbered { stream, slot: usize::MAX }
    }
}

impl<I: Io, W: Write> NarratedIo<I, W> {
    /// Narrates to `out`, which must not block: the loop would wait.
    pub fn new(io: I, notes: SharedNotes, out: W) -> Self {
        NarratedIo { io, notes, out, woke_at: None }
    }

    fn tell_turn(&mut self, now: Moment) {
        if let Some(woke_at) = self.woke_at {
            let line = self.notes.borrow().line(now.since(woke_at)) + "\n";
            // Nobody has to listen.
            let _ = self.out.write_all(line.as_bytes());
        }
    }
}

impl<I: Io, W: Write> Drop for NarratedIo<I, W> {
    /// No poll follows the last turn.
    fn drop(&mut self) {
        let now = self.io.now().moment;
        self.tell_turn(now);
    }
}

/// Why the loop is awake: what woke it, or that it did not sleep.
fn woken(is_first: bool, timeout: Option<Duration>, events: &[Event], slept: Duration) -> String {
    let signals = events.iter().filter(|event| event.source == Source::Waker).count();
    let others = (events.len() - signals) as u64;
    let what = match (signals, others) {
        (0, 0) => None,
        (0, _) => Some(render::count(others, "event")),
        (_, 0) => Some("a signal".into()),
        (_, _) => Some(format!("a signal and {}", render::count(others, "event"))),
    };
    let how = match timeout {
        Some(Duration::ZERO) if is_first => "began".into(),
        Some(Duration::ZERO) => "went on with work left over".into(),
        _ => format!("woke after {}", time(slept)),
    };
    match what {
        Some(what) => format!("{how}: {what}"),
        None if timeout.is_some_and(|timeout| Duration::ZERO < timeout && timeout <= slept) => {
            format!("{how}: a deadline")
        }
        None => how,
    }
}

impl<I: Io, W: Write> Io for NarratedIo<I, W> {
    type Stream = Numbered<I::Stream>;
    type Listener = I::Listener;

    fn now(&mut self) -> Now {
        self.io.now()
    }

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        let slept_at = self.io.now().moment;
        self.tell_turn(slept_at);
        let polled = self.io.poll(events, timeout);
        let woke_at = self.io.now().moment;
        let is_first = self.woke_at.replace(woke_at).is_none();
        let woken = woken(is_first, timeout, events, woke_at.since(slept_at));
        self.notes.borrow_mut().begin_turn(woken);
        polled
    }

    fn listen(&mut self, listener: &mut I::Listener, index: usize) -> io::Result<()> {
        self.io.listen(listener, index)
    }

    fn accept(&mut self, listener: &mut I::Listener) -> io::Result<(Self::Stream, Peer)> {
        match self.io.accept(listener) {
            Ok((stream, peer)) => Ok((Numbered::new(stream), peer)),
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    self.notes.borrow_mut().turn.failures.push(|| format!("accept: {error}"));
                }
                Err(error)
            }
        }
    }

    fn accept_on_reserve(&mut self, listener: &mut I::Listener) -> io::Result<Self::Stream> {
        self.io.accept_on_reserve(listener).map(Numbered::new)
    }

    fn refuse(&mut self, stream: Self::Stream, text: &str) -> usize {
        self.notes.borrow_mut().turn.refused += 1;
        self.io.refuse(stream.stream, text)
    }

    fn connect(&mut self, endpoint: &Endpoint) -> io::Result<Self::Stream> {
        self.io.connect(endpoint).map(Numbered::new)
    }

    fn connected(&mut self, stream: &Self::Stream) -> io::Result<Peer> {
        self.io.connected(&stream.stream)
    }

    fn register(&mut self, stream: &mut Self::Stream, slot: usize, wants_write: bool) -> io::Result<bool> {
        stream.slot = slot;
        self.io.register(&mut stream.stream, slot, wants_write)
    }

    fn set_interest(&mut self, stream: &mut Self::Stream, slot: usize, wants_write: bool) -> io::Result<()> {
        self.io.set_interest(&mut stream.stream, slot, wants_write)
    }

    fn abort(&mut self, stream: &mut Self::Stream) {
        self.io.abort(&mut stream.stream);
    }

    fn deregister(&mut self, stream: &mut Self::Stream) {
        self.io.deregister(&mut stream.stream);
    }

    fn read(&mut self, stream: &mut Self::Stream, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.io.read(&mut stream.stream, buffer);
        if let Ok(bytes) = read {
            self.notes.borrow_mut().note_read(stream.slot, bytes);
        }
        read
    }

    fn short_read_drains(&self, stream: &Self::Stream) -> bool {
        self.io.short_read_drains(&stream.stream)
    }

    fn write(&mut self, stream: &mut Self::Stream, parts: [&[u8]; 2]) -> io::Result<usize> {
        let offered = parts[0].len() + parts[1].len();
        let written = self.io.write(&mut stream.stream, parts);
        match &written {
            Ok(taken) => self.notes.borrow_mut().note_written(stream.slot, offered, *taken),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.notes.borrow_mut().note_written(stream.slot, offered, 0);
            }
            // The close that follows tells why.
            Err(_) => {}
        }
        written
    }

    fn shutdown_write(&mut self, stream: &mut Self::Stream) -> io::Result<bool> {
        self.io.shutdown_write(&mut stream.stream)
    }

    fn receive(
        &mut self,
        stream: &mut Self::Stream,
        buffer: &mut [u8],
    ) -> io::Result<(usize, Option<Endpoint>)> {
        let received = self.io.receive(&mut stream.stream, buffer);
        if let Ok((bytes, _)) = &received {
            self.notes.borrow_mut().note_read(stream.slot, *bytes);
        }
        received
    }

    fn send_to(&mut self, stream: &mut Self::Stream, to: Option<&Endpoint>, bytes: &[u8]) -> io::Result<()> {
        let sent = self.io.send_to(&mut stream.stream, to, bytes);
        if sent.is_ok() {
            self.notes.borrow_mut().note_written(stream.slot, bytes.len(), bytes.len());
        }
        sent
    }
}
