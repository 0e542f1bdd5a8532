//! How much memory the loop and its engine hold: what they allocate in a turn is counted, what the simulated
//! world allocates meanwhile is not. Outside of tests nothing is counted, for that takes an allocator.

use std::io;
#[cfg(test)]
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use crate::engine::{Endpoint, Now, Peer};
use crate::event_loop::io::{Event, Io};

/// What something took and gave back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    /// Bytes that it took and has not given back.
    pub(super) bytes: i64,
    /// Bytes that it held at most, meanwhile.
    pub(super) bytes_max: u64,
}

/// Runs something, and counts what it takes.
#[cfg(test)]
pub(super) fn measured<T>(run: impl FnOnce() -> T) -> (T, Taken) {
    let mut result = None;
    // A panic must not leave the counting switched on.
    let info = allocation_counter::measure(|| result = Some(catch_unwind(AssertUnwindSafe(run))));
    let result = result.expect("it was run").unwrap_or_else(|panic| resume_unwind(panic));
    (result, Taken { bytes: info.bytes_current, bytes_max: info.bytes_max })
}

/// Runs something that belongs to the world outside.
#[cfg(test)]
pub(super) fn unmeasured<T>(run: impl FnOnce() -> T) -> T {
    let mut result = None;
    allocation_counter::opt_out(|| result = Some(catch_unwind(AssertUnwindSafe(run))));
    result.expect("it was run").unwrap_or_else(|panic| resume_unwind(panic))
}

#[cfg(not(test))]
pub(super) fn measured<T>(run: impl FnOnce() -> T) -> (T, Taken) {
    (run(), Taken::default())
}

#[cfg(not(test))]
pub(super) fn unmeasured<T>(run: impl FnOnce() -> T) -> T {
    run()
}

/// The simulated system, whose own memory is not the loop's.
#[derive(Debug)]
pub(super) struct Outside<I>(pub(super) I);

impl<I: Io> Io for Outside<I> {
    type Stream = I::Stream;
    type Listener = I::Listener;

    fn now(&mut self) -> Now {
        self.0.now()
    }

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        unmeasured(|| self.0.poll(events, timeout))
    }

    fn listen(&mut self, listener: &mut I::Listener, index: usize) -> io::Result<()> {
        self.0.listen(listener, index)
    }

    fn accept(&mut self, listener: &mut I::Listener) -> io::Result<(I::Stream, Peer)> {
        unmeasured(|| self.0.accept(listener))
    }

    fn accept_on_reserve(&mut self, listener: &mut I::Listener) -> io::Result<I::Stream> {
        unmeasured(|| self.0.accept_on_reserve(listener))
    }

    fn refuse(&mut self, stream: I::Stream, text: &str) -> usize {
        unmeasured(|| self.0.refuse(stream, text))
    }

    fn connect(&mut self, endpoint: &Endpoint) -> io::Result<I::Stream> {
        self.0.connect(endpoint)
    }

    fn connected(&mut self, stream: &I::Stream) -> io::Result<Peer> {
        self.0.connected(stream)
    }

    fn register(&mut self, stream: &mut I::Stream, slot: usize, wants_write: bool) -> io::Result<bool> {
        unmeasured(|| self.0.register(stream, slot, wants_write))
    }

    fn set_interest(&mut self, stream: &mut I::Stream, slot: usize, wants_write: bool) -> io::Result<()> {
        unmeasured(|| self.0.set_interest(stream, slot, wants_write))
    }

    fn deregister(&mut self, stream: &mut I::Stream) {
        unmeasured(|| self.0.deregister(stream));
    }

    fn read(&mut self, stream: &mut I::Stream, buffer: &mut [u8]) -> io::Result<usize> {
        unmeasured(|| self.0.read(stream, buffer))
    }

    fn short_read_drains(&self, stream: &I::Stream) -> bool {
        self.0.short_read_drains(stream)
    }

    fn write(&mut self, stream: &mut I::Stream, parts: [&[u8]; 2]) -> io::Result<usize> {
        unmeasured(|| self.0.write(stream, parts))
    }

    fn shutdown_write(&mut self, stream: &mut I::Stream) -> io::Result<bool> {
        unmeasured(|| self.0.shutdown_write(stream))
    }

    fn abort(&mut self, stream: &mut I::Stream) {
        self.0.abort(stream);
    }
}
