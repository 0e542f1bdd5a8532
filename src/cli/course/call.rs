//! `onepoll call`: arguments to the client for any server.

use std::io::IsTerminal;
use std::time::Duration;

use crate::cli::{Exit, client, logging, parse};
use crate::clients::call::{Call, Settings};
use crate::event_loop::address::Address;

/// The arguments of `onepoll call`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Arguments {
    /// Whom to call: HOST:PORT, [V6]:PORT, :PORT (this machine), unix:PATH, or udp:HOST:PORT or
    /// unixgram:PATH for datagrams
    #[arg(value_name = "ADDR")]
    address: Address,

    /// What to send, one after the other, each once the one before was answered [default: the lines of
    /// standard input]
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,

    /// Send this first; what is piped, as what is given, waits for its answer
    #[arg(long, value_name = "TEXT")]
    ready: Option<String>,

    /// Answer every message with this, except those that end in it, and those that come more than 16
    /// times in a row: two programs that acknowledge each other would never end
    #[arg(long, value_name = "TEXT")]
    ack: Option<String>,

    /// Send texts without a line end, as Python's s.send(b"hello") does; datagrams never have one
    #[arg(short, long)]
    no_newline: bool,

    /// How long the peer has to be reached, to answer each text, and to end after the last; 0 for ever
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse::seconds)]
    timeout: Duration,
}

const HELP: &str = "\
On a stream an answer ends with a line, or with a short silence; a datagram is one. Once the last text is \
answered, or had its time for that, the peer is told that no more will come, and what it still sends is printed \
until it ends, too. A pipe is sent line by line, to a stream as fast as the peer takes it, and ends in the same \
way: as many answers are awaited as lines were sent. On a terminal, type a line and Enter, exit or Ctrl-D to \
leave: there only connecting has a deadline, and a line that the terminal may have cut (4,095 bytes) is not sent. \
What is printed is cleaned for a terminal, and as it came in a pipe; a datagram ends a line.

What it teaches: a client needs no call that waits. The peer, the keyboard and the clock are watched at once, \
so all that is awaited has a deadline, and a person can type while an answer comes.";

/// Calls until the texts are answered, or the peer, the person or a signal ends it.
pub(super) fn run(arguments: &Arguments) -> Exit {
    logging::init(0, 1);
    let endpoints = match client::endpoints(&arguments.address) {
        Ok(endpoints) => endpoints,
        Err(outcome) => return client::exit("call", Ok(outcome)),
    };
    let reads_input = arguments.texts.is_empty();
    let settings = Settings {
        address: arguments.address.to_string(),
        endpoints,
        texts: arguments.ready.iter().chain(&arguments.texts).cloned().collect(),
        has_ready: arguments.ready.is_some(),
        reads_input,
        is_interactive: reads_input && std::io::stdin().is_terminal(),
        ends_lines: !arguments.no_newline,
        is_clean: std::io::stdout().is_terminal(),
        timeout: (!arguments.timeout.is_zero()).then_some(arguments.timeout),
        ack: arguments.ack.clone(),
    };
    let outcome = client::run(|| Ok(Call::new(settings)))
        .map(|call| call.outcome().cloned().unwrap_or(crate::clients::Outcome::Done));
    client::exit("call", outcome)
}
