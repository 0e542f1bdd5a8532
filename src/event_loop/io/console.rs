//! Standard input and output as one stream, without changing how they are open.
//!
//! The descriptors stay as they were found (see [`Output`]): each read first asks `poll(2)` whether it would
//! block (P66, P67).

use std::io;
use std::os::fd::AsRawFd;

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::PollFlags;
use rustix::stdio::{stdin, stdout};

use super::output::{Output, is_ready};

/// Standard input and output.
#[derive(Debug)]
pub struct Console {
    has_input_events: bool,
    has_output_events: bool,
    output: Output,
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl Console {
    /// The console; there is one for a process.
    #[must_use]
    pub fn new() -> Self {
        Console { has_input_events: false, has_output_events: false, output: Output::new(stdout()) }
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
            match self.output.write(stdout(), part) {
                Ok(bytes) => {
                    written += bytes;
                    if bytes < part.len() {
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
