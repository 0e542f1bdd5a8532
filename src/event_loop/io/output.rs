//! Standard output and error, written to without blocking and without changing how they are open.
//!
//! `O_NONBLOCK` belongs to the open file, not to the descriptor: setting it on a terminal would set it for
//! the shell and for every other program there, even after we ended. So a terminal is opened once more, for
//! us alone; whatever else is there stays as it was found, and each write first asks `poll(2)` whether it
//! would block (P66, P67).

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};

/// What a pipe takes at once, if `poll` says that it takes anything (`PIPE_BUF`, pipe(7)).
const PIPE_BYTES: usize = 4096;

/// What is written at once to a terminal that may not be opened again, as after `su` to another user. `poll`
/// says only that it takes something, so this can wait where its buffer is nearly full.
const TERMINAL_BYTES: usize = 256;

/// A way to write to a descriptor of ours.
#[derive(Debug)]
pub(super) struct Output {
    /// The terminal, opened again so that it does not block.
    terminal: Option<OwnedFd>,
}

impl Output {
    /// How to write to `descriptor`.
    pub(super) fn new(descriptor: BorrowedFd<'_>) -> Self {
        let open = || {
            let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).ok()
        };
        Output { terminal: if descriptor.is_terminal() { open() } else { None } }
    }

    /// Writes to the same `descriptor` what it takes at once; `WouldBlock` where that is nothing.
    pub(super) fn write(&self, descriptor: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        if let Some(terminal) = &self.terminal {
            return Ok(rustix::io::write(terminal, bytes)?);
        }
        let chunk_bytes = if descriptor.is_terminal() { TERMINAL_BYTES } else { PIPE_BYTES };
        let mut written = 0;
        for chunk in bytes.chunks(chunk_bytes) {
            match write_some(descriptor, chunk) {
                Ok(taken) => {
                    written += taken;
                    if taken < chunk.len() {
                        break;
                    }
                }
                Err(error) if written > 0 && error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}

fn write_some(descriptor: BorrowedFd<'_>, chunk: &[u8]) -> io::Result<usize> {
    if !is_ready(descriptor, PollFlags::OUT)? {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(rustix::io::write(descriptor, chunk)?)
}

/// Whether the descriptor can be read or written without blocking, or has an end or an error to tell.
pub(super) fn is_ready(descriptor: impl AsFd, flags: PollFlags) -> io::Result<bool> {
    let mut polled = [PollFd::new(&descriptor, flags)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut polled, Some(&at_once))?;
    Ok(polled[0].revents().intersects(flags | PollFlags::HUP | PollFlags::ERR))
}
