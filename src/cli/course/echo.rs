//! `onepoll echo`: arguments to a style of echo.

use std::rc::Rc;
use std::time::Duration;

use log::warn;

use crate::cli::parse;
use crate::cli::service::Service;
use crate::cli::{Exit, logging};
use crate::event_loop::Linger;
use crate::event_loop::address::{Address, Transport};
use crate::event_loop::io::SocketOptions;
use crate::limits;
use crate::servers::echo::{Echo, Style, Template};
use crate::socketserver::Dispatch;

/// The arguments of `onepoll echo`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Arguments {
    /// Where to listen, several at once: HOST:PORT, [V6]:PORT, :PORT or unix:PATH, and for datagrams
    /// udp:HOST:PORT or unixgram:PATH [default: 127.0.0.1:9999 and udp:127.0.0.1:9999]
    #[arg(value_name = "ADDR")]
    addresses: Vec<Address>,

    /// The same, as the other servers have it; may be given several times
    #[arg(long, value_name = "ADDR")]
    listen: Vec<Address>,

    /// What to send back: {} stands for what came, {peer} for the address it came from
    #[arg(long, value_name = "TEMPLATE")]
    reply: Option<String>,

    /// Answer line by line, not chunk by chunk as it arrives; a datagram stays one message
    #[arg(long)]
    lines: bool,

    /// Close clients that say nothing for so long, 0 for never
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = parse::seconds)]
    idle: Duration,
}

const HOST: &str = "127.0.0.1";
const PORT: u16 = 9999;

const HELP: &str = "\
What it teaches: partial reads and writes, half-close, and the difference between a stream, whose chunks \
are where the network cut it, and datagrams, which come whole or not at all.

Try it: onepoll echo --reply 'ack. {}', and elsewhere: onepoll call 127.0.0.1:9999 hello";

/// Echoes until a signal ends it.
pub(super) fn run(arguments: &Arguments) -> Exit {
    logging::init(0, 0);
    let mut addresses = [&arguments.addresses[..], &arguments.listen].concat();
    if addresses.is_empty() {
        addresses =
            [Transport::Tcp, Transport::Udp].map(|kind| Address::Host(kind, HOST.into(), PORT)).into();
    }
    let is_udp = |address: &Address| address.is_datagram() && !matches!(address, Address::Unixgram(_));
    if arguments.reply.is_some() && addresses.iter().any(is_udp) {
        warn!(
            "--reply on UDP: an answer can be longer than what came, and goes to whatever address the \
             datagram claims to be from: keep it off the open network"
        );
    }
    let style = Rc::new(Style {
        template: arguments.reply.as_deref().map(Template::new),
        by_lines: arguments.lines,
        idle_max: (!arguments.idle.is_zero()).then_some(arguments.idle),
    });
    Service {
        name: "echo",
        addresses: &addresses,
        options: SocketOptions::default(),
        linger: Linger::Stalled(limits::LINGER),
        drain: limits::DRAIN,
        has_console: false,
        note: None,
    }
    .run(Dispatch::new(|_peer| Echo::new(&style)))
}
