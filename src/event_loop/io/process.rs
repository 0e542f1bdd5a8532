//! What the process asks of the system once, at its start, and where its log goes.

use std::io::{self, Write};
use std::os::fd::BorrowedFd;

use nix::sys::signal::{SigSet, Signal};
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::stdio::{stderr, stdout};

use super::output::Output;
use crate::limits;

/// Raises the limit of open descriptors as far as it goes, and returns it.
#[must_use]
pub fn raise_descriptor_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it cannot be raised, it stays what it was.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).min(limits::DESCRIPTORS_MAX)
}

/// Keeps signals away that this process was started to ignore: `nohup` ignores SIGHUP, a shell
/// script SIGINT for what it starts in the background. A handler installed later would undo that, and
/// end the server with the terminal it was to outlive. Call before any thread is started.
pub fn keep_ignored_signals_away() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    let mut blocked = SigSet::empty();
    for signal in [Signal::SIGHUP, Signal::SIGINT] {
        if ignored & 1 << (signal as u64 - 1) != 0 {
            blocked.add(signal);
        }
    }
    // It fails only for a mask that is none.
    let _ = blocked.thread_block();
}

/// Has a write beyond the largest size that a file may have (`ulimit -f`) fail, where SIGXFSZ would end the
/// process (P57). Call before any thread is started.
pub fn let_large_writes_fail() {
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGXFSZ);
    // It fails only for a mask that is none.
    let _ = blocked.thread_block();
}

/// Standard error for the log, or standard output for a narration: what it does not take at once is
/// dropped and counted, so that a full pipe or a stopped terminal never stops the loop (P22).
#[derive(Debug)]
pub struct LossyOutput {
    descriptor: BorrowedFd<'static>,
    output: Output,
    /// What is written, for the note of what was dropped.
    name: &'static str,
    dropped_lines: u64,
    /// The last that was written is the beginning of a line.
    is_torn: bool,
}

impl LossyOutput {
    /// Standard error.
    #[must_use]
    pub fn log() -> Self {
        Self::new(stderr(), "log")
    }

    /// Standard output.
    #[must_use]
    pub fn narration() -> Self {
        Self::new(stdout(), "narration")
    }

    fn new(descriptor: BorrowedFd<'static>, name: &'static str) -> Self {
        let output = Output::new(descriptor);
        LossyOutput { descriptor, output, name, dropped_lines: 0, is_torn: false }
    }

    /// Whether the whole line was taken.
    fn write_line(&mut self, line: &[u8]) -> bool {
        let taken = self.output.write(self.descriptor, line).unwrap_or(0);
        if taken > 0 {
            self.is_torn = taken < line.len();
        }
        taken == line.len()
    }
}

impl Write for LossyOutput {
    /// Takes whole lines, one a call, as `env_logger` writes them; never fails, never blocks.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.dropped_lines > 0 {
            let end = if self.is_torn { "\n" } else { "" };
            let (name, lines) = (self.name, self.dropped_lines);
            let note = format!("{end}onepoll: {name}: {lines} lines were dropped: nobody read them\n");
            if self.write_line(note.as_bytes()) {
                self.dropped_lines = 0;
            }
        }
        if self.dropped_lines > 0 || !self.write_line(line) {
            self.dropped_lines += 1;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
