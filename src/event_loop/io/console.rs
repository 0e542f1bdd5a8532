//! Standard input and output as one stream, without changing how they are open.
//!
//! `O_NONBLOCK` belongs to the open file, not to the descriptor: setting it on a terminal would set it for
//! the shell and for every other program there, even after we ended. So the descriptors stay as they were
//! found, and each read and write first asks `poll(2)` whether it would block (P66, P67).

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::stdio::{stdin, stdout};

/// What a pipe takes at once, if `poll` says that it takes anything (`PIPE_BUF`, pipe(7)).
const PIPE_BYTES: usize = 4096;

/// What a terminal takes at once, if `poll` says so (the line discipline's low-water mark).
const TERMINAL_BYTES: usize = 256;

/// Standard input and output.
#[derive(Debug, Default)]
pub struct Console {
    has_input_events: bool,
    has_output_events: bool,
}

impl Console {
    /// The console; there is one for a process.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A regular file and /dev/null have no events (EPERM): they are always readable.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<bool> {
        match SourceFd(&stdin().as_raw_fd()).register(registry, token, Interest::READABLE) {
            Ok(()) => {
                self.has_input_events = true;
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(true),
            Err(error) => Err(error),
        }
    }

    pub(super) fn set_interest(
        &mut self,
        registry: &Registry,
        token: Token,
        wants_write: bool,
    ) -> io::Result<()> {
        if wants_write == self.has_output_events {
            return Ok(());
        }
        let output = stdout().as_raw_fd();
        let changed = if wants_write {
            SourceFd(&output).register(registry, token, Interest::WRITABLE)
        } else {
            SourceFd(&output).deregister(registry)
        };
        match changed {
            // A file never blocks, so nobody waits for its events.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                self.has_output_events = wants_write;
                Ok(())
            }
        }
    }

    pub(super) fn deregister(&mut self, registry: &Registry) {
        // Failing means that they are not registered, which is what is wanted.
        if std::mem::take(&mut self.has_input_events) {
            let _ = SourceFd(&stdin().as_raw_fd()).deregister(registry);
        }
        if std::mem::take(&mut self.has_output_events) {
            let _ = SourceFd(&stdout().as_raw_fd()).deregister(registry);
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.has_input_events && !(is_ready(stdin(), PollFlags::IN)? && super::is_foreground(stdin())) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(rustix::io::read(stdin(), buffer)?)
    }

    pub(super) fn write(&mut self, parts: [&[u8]; 2]) -> io::Result<usize> {
        let mut written = 0;
        for part in parts {
            for chunk in part.chunks(chunk_bytes(stdout())) {
                match write_some(stdout(), chunk) {
                    Ok(bytes) => {
                        written += bytes;
                        if bytes < chunk.len() {
                            return Ok(written);
                        }
                    }
                    Err(error) if written > 0 && error.kind() == io::ErrorKind::WouldBlock => {
                        return Ok(written);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(written)
    }
}

/// What the descriptor takes at once without blocking, if `poll` says that it takes anything.
pub(super) fn chunk_bytes(descriptor: BorrowedFd<'_>) -> usize {
    if descriptor.is_terminal() { TERMINAL_BYTES } else { PIPE_BYTES }
}

/// Writes without blocking a chunk of at most [`chunk_bytes`]; `WouldBlock` where nothing is taken.
pub(super) fn write_some(descriptor: BorrowedFd<'_>, chunk: &[u8]) -> io::Result<usize> {
    if !is_ready(descriptor, PollFlags::OUT)? {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(rustix::io::write(descriptor, chunk)?)
}

/// Whether the descriptor can be read or written without blocking, or has an end or an error to tell.
fn is_ready(descriptor: impl AsFd, flags: PollFlags) -> io::Result<bool> {
    let mut polled = [PollFd::new(&descriptor, flags)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut polled, Some(&at_once))?;
    Ok(polled[0].revents().intersects(flags | PollFlags::HUP | PollFlags::ERR))
}
