//! What all servers do alike: signals, addresses, the console, the loop, and the exit code.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use log::{info, warn};

use super::{Exit, complain};
use crate::engine::{Engine, Peer};
use crate::event_loop::address::Address;
use crate::event_loop::io::{self, Bound, Console, Io, Listener, SocketOptions, Stream, System};
use crate::event_loop::{End, EventLoop, Linger};
use crate::limits;
use crate::metrics::Measured;
use crate::stats::Watched;

/// A server that is about to be.
pub(super) struct Service<'a> {
    /// The subcommand, for messages.
    pub(super) name: &'static str,
    /// Where it serves; printed, one line for each socket, once all are bound.
    pub(super) addresses: &'a [Address],
    pub(super) options: SocketOptions,
    /// How long a close waits for the peer.
    pub(super) linger: Linger,
    /// What the engine stops within, for the message.
    pub(super) drain: Duration,
    /// Whether standard input and output are a connection of the engine's.
    pub(super) has_console: bool,
    /// What else is logged, once it serves.
    pub(super) note: Option<String>,
}

/// Where a server's figures can be read.
pub(super) struct Stats<'a> {
    pub(super) address: &'a Address,
    /// Whether others than this machine's may be able to read them: nothing asks who they are.
    pub(super) is_public: bool,
}

impl Stats<'_> {
    /// All sockets, or the complaint.
    fn bind(&self, options: &SocketOptions) -> Result<Vec<Bound>, Exit> {
        let address = self.address;
        let all_bound =
            Bound::bind_all(address, options).map_err(|error| complain(Exit::CannotBind, error))?;
        // What was bound is what counts: a name can stand for anything.
        let is_local = |bound: &Bound| matches!(bound, Bound::Listener(listener) if listener.is_local());
        if !self.is_public && !all_bound.iter().all(is_local) {
            let why = "others than this machine's could read it";
            let remedy = "choose 127.0.0.1, [::1] or unix:PATH, or say --stats-public if that is meant";
            return Err(complain(Exit::Usage, format!("--stats {address}: {why}; {remedy}")));
        }
        Ok(all_bound)
    }
}

impl Service<'_> {
    /// Serves until the engine, or a second signal, ends it. A first signal is the engine's to answer.
    #[cfg(feature = "course")]
    pub(super) fn run(&self, engine: impl Engine) -> Exit {
        self.exit(self.serve(Ok, engine))
    }

    /// The same on a system that `wrap` makes of the real one once all is bound, and with figures that can be
    /// read at `stats`.
    pub(super) fn run_on<I: Io<Listener = Listener, Stream: From<Stream>>>(
        &self,
        wrap: impl FnOnce(System) -> Result<I, Exit>,
        engine: impl Engine + Measured,
        stats: Option<&Stats>,
    ) -> Exit {
        self.exit(match stats {
            None => self.serve(wrap, engine),
            Some(stats) => self.serve_watched(wrap, engine, stats),
        })
    }

    fn exit(&self, served: std::io::Result<Exit>) -> Exit {
        served.unwrap_or_else(|error| complain(Exit::Failed, format!("{}: {error}", self.name)))
    }

    fn serve<I: Io<Listener = Listener, Stream: From<Stream>>>(
        &self,
        wrap: impl FnOnce(System) -> Result<I, Exit>,
        engine: impl Engine,
    ) -> std::io::Result<Exit> {
        let system = self.system()?;
        let (all_bound, io) = match self.bind().and_then(|all_bound| Ok((all_bound, wrap(system)?))) {
            Ok(ready) => ready,
            Err(exit) => return Ok(exit),
        };
        let mut event_loop = EventLoop::new(io, engine, self.linger);
        self.open(&mut event_loop, all_bound)?;
        Ok(self.exit_of(event_loop.run()?))
    }

    fn serve_watched<I: Io<Listener = Listener, Stream: From<Stream>>>(
        &self,
        wrap: impl FnOnce(System) -> Result<I, Exit>,
        engine: impl Engine + Measured,
        stats: &Stats,
    ) -> std::io::Result<Exit> {
        let system = self.system()?;
        let ready = self
            .bind()
            .and_then(|all_bound| Ok((all_bound, stats.bind(&self.options)?)))
            .and_then(|(all_bound, stats_bound)| Ok((all_bound, stats_bound, wrap(system)?)));
        let (all_bound, stats_bound, io) = match ready {
            Ok(ready) => ready,
            Err(exit) => return Ok(exit),
        };
        let mut event_loop = EventLoop::new(io, Watched::new(engine, stats.is_public), self.linger);
        self.open(&mut event_loop, all_bound)?;
        for bound in stats_bound {
            let address = bound.address();
            if let Some(listener) = event_loop.open(bound)? {
                event_loop.engine_mut().watch_from(listener);
            }
            announce("stats on", &address);
        }
        Ok(self.exit_of(event_loop.run()?))
    }

    /// Takes in what was bound, and the console.
    fn open<I: Io<Listener = Listener, Stream: From<Stream>>, E: Engine>(
        &self,
        event_loop: &mut EventLoop<I, E>,
        all_bound: Vec<Bound>,
    ) -> std::io::Result<()> {
        for bound in all_bound {
            let address = bound.address();
            event_loop.open(bound)?;
            announce("listening on", &address);
        }
        if let Some(note) = &self.note {
            info!("{note}");
        }
        if self.has_console
            && let Err(error) = event_loop.adopt(Stream::Console(Console::new()).into(), Peer::Console)
        {
            warn!("console: standard input cannot be watched: {error}");
        }
        Ok(())
    }

    /// The system, which a signal wakes. Before anything is bound: whoever reads an address may signal at once.
    pub(super) fn system(&self) -> std::io::Result<System> {
        // A soft limit of 1024 is the rule, and no more than a habit.
        let _ = io::raise_descriptor_limit();
        super::system(self.options)
    }

    /// All sockets, or the complaint about the first that cannot be had.
    pub(super) fn bind(&self) -> Result<Vec<Bound>, Exit> {
        let mut all_bound = Vec::new();
        for address in self.addresses {
            match Bound::bind_all(address, &self.options) {
                Ok(bound) => all_bound.extend(bound),
                Err(error) => return Err(complain(Exit::CannotBind, error)),
            }
        }
        Ok(all_bound)
    }

    /// How the program ends, once its loop did.
    pub(super) fn exit_of(&self, end: End) -> Exit {
        match end {
            End::Done => Exit::Done,
            End::Overdue(connections) => {
                let (who, drain_s) = (connections_of(connections), self.drain.as_secs_f64());
                warn!("{who} did not take all that was due in {drain_s} s");
                Exit::Done
            }
            End::CutShort(connections) => complain(
                Exit::Failed,
                format!("ended at once by a second signal, which cut off {}", connections_of(connections)),
            ),
        }
    }
}

fn connections_of(count: usize) -> String {
    if count == 1 { "1 connection".into() } else { format!("{count} connections") }
}

/// Tells where the server, or what it says of itself, can be reached. A closed standard output is no reason
/// not to serve.
pub(super) fn announce(what: &str, address: &str) {
    let mut stdout = std::io::stdout();
    if !stdout.is_terminal() {
        // The log is elsewhere, and should be whole; a person need not read it twice.
        info!("{what} {address}");
    }
    let _ = writeln!(stdout, "{what} {address}").and_then(|()| stdout.flush());
}

/// As many clients as were asked for, if there are descriptors for them, or else as there are.
pub(super) fn clients_max(wanted: Option<u64>, descriptors: u64) -> Result<usize, String> {
    let available = descriptors.saturating_sub(limits::RESERVED_DESCRIPTORS);
    let clients = match wanted {
        Some(0) => return Err("--max-clients 0: at least 1".into()),
        Some(wanted) if wanted > available => {
            return Err(format!(
                "--max-clients {wanted}: only {descriptors} descriptors are allowed, {} of them for the \
                 server itself; raise the limit (ulimit -n) or ask for at most {available}",
                limits::RESERVED_DESCRIPTORS
            ));
        }
        Some(wanted) => wanted,
        None if available == 0 => {
            return Err(format!("{descriptors} descriptors are too few; raise ulimit -n"));
        }
        None => available.min(limits::CLIENTS_MAX_DERIVED),
    };
    usize::try_from(clients).map_err(|_| format!("--max-clients {clients}: more than this machine can count"))
}
