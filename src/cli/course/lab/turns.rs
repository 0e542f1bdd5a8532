//! `onepoll lab turns`: a chat whose loop is told of, turn by turn.

use jiff::tz::TimeZone;

use crate::chat::Chat;
use crate::chat::config::Config;
use crate::cli::service::{Service, announce};
use crate::cli::{Exit, complain, logging, parse};
use crate::event_loop::address::{Address, Transport};
use crate::event_loop::io::{self, Bound, LossyOutput, SocketOptions};
use crate::event_loop::{EventLoop, Linger};
use crate::lab::turns::{NarratedEngine, NarratedIo, SharedNotes};
use crate::limits;

/// The arguments of `onepoll lab turns`.
#[derive(Debug, clap::Args)]
#[command(after_help = TEACHES)]
pub(super) struct Arguments {
    /// Where to listen: HOST:PORT, [V6]:PORT, :PORT (both families) or unix:PATH; may be given several
    /// times, port 0 for any free one [default: 127.0.0.1:60000]
    #[arg(long, value_name = "ADDR", value_parser = parse::stream_address)]
    listen: Vec<Address>,
}

const TEACHES: &str = "\
Join with `onepoll chat` or nc, talk, and watch. Each line is one turn of the loop, from one poll to the next:
  why it woke          events, a signal, a deadline; or it did not sleep, for work was left over
  accepted, refused    newcomers: #3 is the third connection
  read                 bytes, and from whom
  took                 lines that the chat handled, among them some that had to wait
  back-pressure        who sends faster than allowed has to wait
  wrote                bytes, and to whom; in more calls than peers, where a socket took several
  is full, slow        whose socket took not all: a slow reader, whom nobody waits for
  write budget spent   there was more to write than a turn allows; the next turn goes on at once
  closed               who left, and why
  0.08 ms              how long the turn's work took
An idle server does not turn, and says nothing. SIGINT (Ctrl-C) ends it.";

/// Serves until a signal ends it.
pub(super) fn run(arguments: &Arguments) -> Exit {
    // The narration is the log, and only what is wrong is more.
    logging::init(0, 1);
    // Where it cannot be raised, newcomers are refused earlier.
    let _ = io::raise_descriptor_limit();
    let default = [Address::Host(Transport::Tcp, "127.0.0.1".into(), 60000)];
    let service = Service {
        name: "lab turns",
        addresses: if arguments.listen.is_empty() { &default[..] } else { &arguments.listen[..] },
        options: SocketOptions::default(),
        linger: Linger::InAll(limits::LINGER),
        drain: limits::DRAIN,
        has_console: false,
        note: None,
    };
    serve(&service).unwrap_or_else(|error| complain(Exit::Failed, format!("lab turns: {error}")))
}

fn serve(service: &Service) -> std::io::Result<Exit> {
    let notes = SharedNotes::default();
    let system = NarratedIo::new(service.system()?, notes.clone(), LossyOutput::narration());
    let unnamed = crate::cli::serve::unnamed_at(service.addresses);
    let config = Config { time_zone: TimeZone::system(), drain: service.drain, unnamed, ..Config::default() };
    let chat = NarratedEngine::new(Chat::new(config), notes);
    let mut event_loop = EventLoop::new(system, chat, service.linger);
    let all_bound = match service.bind() {
        Ok(all_bound) => all_bound,
        Err(exit) => return Ok(exit),
    };
    for bound in all_bound {
        let address = bound.address();
        // Datagram addresses are no arguments here.
        if let Bound::Listener(listener) = bound {
            event_loop.listen(listener)?;
            announce("listening on", &address);
        }
    }
    Ok(service.exit_of(event_loop.run()?))
}
