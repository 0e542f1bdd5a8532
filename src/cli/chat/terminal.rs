//! The terminal in raw mode, and out of it again whatever happens.
//!
//! Invariant: the terminal is as it was found whenever this process does not run on it: after its end,
//! after a panic (the release build aborts, which runs no `drop`, so a hook does it), and while stopped.

use std::io;
use std::os::fd::AsFd;

use rustix::process::{Signal, kill_current_process_group};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Bracketed paste on (xterm, ctlseqs: DECSET 2004): pasted text is told from typed keys.
const PASTE_ON: &[u8] = b"\x1b[?2004h";

/// Bracketed paste off; and autowrap on, in case a draw was cut short.
const PASTE_OFF: &[u8] = b"\x1b[?2004l\x1b[?7h";

/// A terminal in raw mode, until dropped.
#[derive(Debug)]
pub(super) struct RawTerminal {
    found: Termios,
}

impl RawTerminal {
    /// Puts the terminal of standard input in raw mode.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn enter() -> io::Result<Self> {
        let terminal = RawTerminal { found: tcgetattr(stdin())? };
        let found = terminal.found.clone();
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore(&found);
            report(panic);
        }));
        terminal.make_raw()?;
        Ok(terminal)
    }

    /// The terminal's width, 0 where it does not say.
    pub(super) fn columns(&self) -> u16 {
        tcgetwinsize(stdout()).map_or(0, |size| size.ws_col)
    }

    /// Stops the whole job, as Ctrl-Z does outside raw mode; returns when it is continued.
    pub(super) fn suspend(&self) {
        restore(&self.found);
        // Without a shell that could continue us (an orphaned group), the system ignores it.
        let _ = kill_current_process_group(Signal::TSTP);
        // In the background this stops us again (SIGTTOU), until we are brought to the front.
        let _ = self.make_raw();
    }

    fn make_raw(&self) -> io::Result<()> {
        let mut raw = self.found.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        say(PASTE_ON);
        Ok(())
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore(&self.found);
    }
}

fn restore(found: &Termios) {
    say(PASTE_OFF);
    // It fails only where the terminal is gone.
    let _ = tcsetattr(stdin(), OptionalActions::Now, found);
}

fn say(sequence: &[u8]) {
    // A terminal that takes nothing is not waited for: its modes are what matters.
    let is_ready = rustix::event::poll(
        &mut [rustix::event::PollFd::new(&stdout().as_fd(), rustix::event::PollFlags::OUT)],
        Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }),
    );
    if is_ready.is_ok_and(|ready| ready > 0) {
        let _ = rustix::io::write(stdout(), sequence);
    }
}
