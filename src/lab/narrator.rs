//! What a lesson talks through: it prints the sentences, makes, times and prints the system calls, and
//! collects the claims for the table at the end.
//!
//! A reader who leaves (a closed pipe) does not end the lesson: it goes on unheard, and its exit code stands.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::Telling;
use super::show::{self, Show, WIDTH, columns, padded, wrapped};
use crate::codec::text::describe;

/// Columns of a call and its result, before its time.
const CALL_WIDTH: usize = WIDTH - 7;

/// Columns of a call, before its result.
const RESULT_COLUMN: usize = 42;

/// Columns of a claim, and of what was observed, in the table.
const CLAIM_WIDTH: usize = 42;
const OBSERVED_WIDTH: usize = 27;

/// The voice of a lesson.
pub struct Narrator {
    out: Box<dyn Write>,
    /// Why nothing more can be printed.
    unheard: Option<io::Error>,
    telling: Telling,
    /// The call that was made last, and how long it took.
    last_call: String,
    took: Duration,
    claims: Vec<Claim>,
    /// Whether the last that was printed is a call: a paragraph then keeps its distance.
    is_after_call: bool,
}

struct Claim {
    claim: String,
    observed: String,
    holds: bool,
}

impl Narrator {
    pub(super) fn new(out: Box<dyn Write>, telling: Telling) -> Self {
        Narrator {
            out,
            unheard: None,
            telling,
            last_call: "the beginning".into(),
            took: Duration::ZERO,
            claims: Vec::new(),
            is_after_call: false,
        }
    }

    /// A paragraph: what will happen now, and why.
    pub fn say(&mut self, text: &str) {
        let gap = if self.is_after_call { "\n" } else { "" };
        self.is_after_call = false;
        self.narrate(&format!("{gap}{}\n\n", wrapped(text, WIDTH).join("\n")));
        self.pause();
    }

    /// Makes a system call, and prints it with its result and its time. `what` names it with its arguments.
    ///
    /// # Errors
    /// Those of the call.
    pub fn call<T: Show, E: Into<io::Error>>(
        &mut self,
        what: impl Display,
        call: impl FnOnce() -> Result<T, E>,
    ) -> io::Result<T> {
        self.call_showing(what, call, Show::show)
    }

    /// The same for a result that is shown in a way of its own.
    ///
    /// # Errors
    /// Those of the call.
    pub fn call_showing<T, E: Into<io::Error>>(
        &mut self,
        what: impl Display,
        call: impl FnOnce() -> Result<T, E>,
        show: impl FnOnce(&T) -> String,
    ) -> io::Result<T> {
        let result = self.make(what, call);
        self.conclude(&result.as_ref().map_or_else(show::error, show));
        result
    }

    /// recv(2): reads what is there, and prints it. Python: `sock.recv_into(buffer)`.
    ///
    /// # Errors
    /// Those of the call.
    pub fn recv(&mut self, name: &str, mut socket: impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        let what = format!("recv({name}, {} bytes)", show::grouped(buffer.len()));
        let result = self.make(what, || socket.read(buffer));
        self.conclude(&match &result {
            Ok(bytes) => show::received(&buffer[..*bytes]),
            Err(error) => show::error(error),
        });
        result
    }

    /// send(2): writes what the socket takes. Python: `sock.send(bytes)`.
    ///
    /// # Errors
    /// Those of the call.
    pub fn send(&mut self, name: &str, mut socket: impl Write, bytes: &[u8]) -> io::Result<usize> {
        self.call(format!("send({name}, {})", show::sent(bytes)), || socket.write(bytes))
    }

    /// poll(2): what each of the named sockets is ready for, of what is `wanted`, once one of them is or the
    /// `timeout` is over. Errors and hang-ups (ERR, HUP) are told unasked.
    ///
    /// # Errors
    /// Those of the call.
    pub fn poll<const N: usize>(
        &mut self,
        sockets: [(&str, &dyn AsFd); N],
        wanted: PollFlags,
        timeout: Duration,
    ) -> io::Result<[PollFlags; N]> {
        let names = sockets.map(|(name, _)| name);
        let what = format!("poll({}; {}; {})", names.join(", "), show::flags(wanted), show::timeout(timeout));
        let call = || {
            let mut polled = sockets.map(|(_, socket)| PollFd::from_borrowed_fd(socket.as_fd(), wanted));
            rustix::event::poll(&mut polled, Some(&timespec(timeout)))?;
            Ok::<_, rustix::io::Errno>(polled.each_ref().map(PollFd::revents))
        };
        self.call_showing(what, call, |ready| {
            let ready = names.iter().zip(ready).filter(|(_, flags)| !flags.is_empty());
            let ready: Vec<String> =
                ready.map(|(name, flags)| format!("{name}: {}", show::flags(*flags))).collect();
            if ready.is_empty() { "nobody is ready".into() } else { ready.join(", ") }
        })
    }

    /// How long the last call took.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.took
    }

    /// States what the lesson teaches, beside what was observed and whether that is the same.
    pub fn claim(&mut self, claim: &str, observed: impl Display, holds: bool) {
        self.claims.push(Claim { claim: claim.into(), observed: observed.to_string(), holds });
    }

    pub(super) fn title(&mut self, name: &str, about: &str) {
        let title = format!("{name}: {about}");
        self.narrate(&format!("{title}\n{}\n\n", "=".repeat(columns(&title))));
    }

    pub(super) fn last_call(&self) -> &str {
        &self.last_call
    }

    /// Prints the table and what to remember.
    pub(super) fn finish(&mut self, remember: &str) -> Result<(), String> {
        if self.is_after_call {
            self.narrate("\n");
        }
        self.print(&table(&self.claims));
        self.narrate(&format!("\n{}\n", wrapped(&format!("Remember: {remember}"), WIDTH).join("\n")));
        if let Some(error) = self.unheard.take_if(|error| error.kind() != io::ErrorKind::BrokenPipe) {
            return Err(format!("standard output: {}", describe(&error)));
        }
        let missed: Vec<String> = (self.claims.iter().filter(|claim| !claim.holds))
            .map(|Claim { claim, observed, .. }| format!("not observed: {claim:?}, but {observed}"))
            .collect();
        if self.claims.is_empty() {
            Err("nothing was claimed".into())
        } else if missed.is_empty() {
            Ok(())
        } else {
            Err(missed.join("; "))
        }
    }

    fn make<T, E: Into<io::Error>>(
        &mut self,
        what: impl Display,
        call: impl FnOnce() -> Result<T, E>,
    ) -> io::Result<T> {
        self.last_call = what.to_string();
        // Printed before it is made: a call that waits is seen to wait.
        let line = self.call_columns();
        self.narrate(&line);
        let began = Instant::now();
        let result = call();
        self.took = began.elapsed();
        result.map_err(Into::into)
    }

    fn conclude(&mut self, result: &str) {
        let width = CALL_WIDTH.saturating_sub(columns(&self.call_columns()));
        let result = padded(&format!(" = {result}"), width);
        self.narrate(&format!("{result} {:>6}\n", show::duration(self.took)));
        self.is_after_call = true;
        self.pause();
    }

    /// The last call, up to its result.
    fn call_columns(&self) -> String {
        padded(&format!("  {}", self.last_call), RESULT_COLUMN)
    }

    fn narrate(&mut self, text: &str) {
        if !self.telling.is_quiet {
            self.print(text);
        }
    }

    fn print(&mut self, text: &str) {
        if self.unheard.is_none() {
            self.unheard = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).err();
        }
    }

    fn pause(&self) {
        if !self.telling.is_quiet && self.unheard.is_none() && !self.telling.pause.is_zero() {
            // Waits for no descriptor at all; a signal may shorten it.
            let _ = rustix::event::poll(&mut [], Some(&timespec(self.telling.pause)));
        }
    }
}

pub(super) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

fn table(claims: &[Claim]) -> String {
    let row = |claim: &str, observed: &str, holds: &str| {
        let row = format!("{}  {}  {holds}", padded(claim, CLAIM_WIDTH), padded(observed, OBSERVED_WIDTH));
        format!("  {}\n", row.trim_end())
    };
    let mut table = row("claim", "observed", "holds");
    table += &row(&"-".repeat(CLAIM_WIDTH), &"-".repeat(OBSERVED_WIDTH), "-----");
    for Claim { claim, observed, holds } in claims {
        let claim = wrapped(claim, CLAIM_WIDTH);
        let observed = wrapped(observed, OBSERVED_WIDTH);
        let line = |lines: &[String], at: usize| lines.get(at).cloned().unwrap_or_default();
        for at in 0..claim.len().max(observed.len()) {
            let holds = match (at, holds) {
                (0, true) => "yes",
                (0, false) => "NO",
                _ => "",
            };
            table += &row(&line(&claim, at), &line(&observed, at), holds);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_wraps_long_claims_and_counts_wide_characters_as_two_columns() {
        let claim = |claim: &str, observed: &str, holds| Claim {
            claim: claim.into(),
            observed: observed.into(),
            holds,
        };
        let table = table(&[
            claim("short", "你好", true),
            claim("a claim that is longer than its column, so that it goes on below", "no", false),
        ]);
        let lines: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "  short                                       你好                         yes",
                "  a claim that is longer than its column, so  no                           NO",
                "  that it goes on below",
            ]
        );
    }
}
