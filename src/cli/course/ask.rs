//! `onepoll ask`: arguments to the question-and-answer server.

use std::io::IsTerminal;

use crate::cli::service::{self, Service};
use crate::cli::{Exit, complain, logging, parse};
use crate::event_loop::Linger;
use crate::event_loop::address::{Address, Transport};
use crate::event_loop::io::{self, SocketOptions};
use crate::limits;
use crate::servers::ask::Ask;

/// The arguments of `onepoll ask`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Arguments {
    /// Where to listen: HOST:PORT, [V6]:PORT, :PORT (both families) or unix:PATH; may be given several
    /// times, port 0 for any free one [default: 127.0.0.1:8888]
    #[arg(long, value_name = "ADDR", value_parser = parse::stream_address)]
    listen: Vec<Address>,

    /// Clients at the same time [default: what the descriptor limit allows]
    #[arg(long, value_name = "N")]
    max_clients: Option<u64>,
}

const HELP: &str = "\
Each line that a client sends, or what it sends before a silence, is a question with a number. Type an \
answer for the oldest one, or `3 TEXT` for number 3; list shows what is open, help the rest. An answer to \
a question that is withdrawn while you type goes to nobody else. A client leaves with exit.

What it teaches: state that all share, without a lock. One thread hears all clients and the keyboard in \
turn, so nobody waits for anybody else's answer, and the questions are a map that needs no guard.

Try it: onepoll ask, and elsewhere: onepoll call 127.0.0.1:8888 --timeout 60 'how are you?'";

/// Serves until the operator or a signal ends it.
pub(super) fn run(arguments: &Arguments) -> Exit {
    // The operator sees who comes and goes anyway.
    logging::init(0, 1);
    let clients_max = match service::clients_max(arguments.max_clients, io::raise_descriptor_limit()) {
        Ok(clients_max) => clients_max,
        Err(why) => return complain(Exit::Usage, why),
    };
    let default = [Address::Host(Transport::Tcp, "127.0.0.1".into(), 8888)];
    let has_prompt = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    Service {
        name: "ask",
        addresses: if arguments.listen.is_empty() { &default } else { &arguments.listen },
        options: SocketOptions::default(),
        linger: Linger::Stalled(limits::LINGER),
        drain: limits::DRAIN,
        has_console: true,
        note: None,
    }
    .run(Ask::new(clients_max, has_prompt))
}
