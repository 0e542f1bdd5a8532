//! `onepoll hello`: arguments to a site of one page.

use std::time::Duration;

use crate::cli::parse;
use crate::cli::service::Service;
use crate::cli::{Exit, logging};
use crate::codec::http::UNAVAILABLE;
use crate::event_loop::Linger;
use crate::event_loop::address::Address;
use crate::event_loop::io::SocketOptions;
use crate::limits;
use crate::servers::hello::Site;
use crate::socketserver::Dispatch;

/// The arguments of `onepoll hello`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Arguments {
    /// Where to listen: HOST:PORT, [V6]:PORT, :PORT (both families) or unix:PATH; may be given several
    /// times
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8089", value_parser = parse::stream_address)]
    listen: Vec<Address>,

    /// The status that every good request is answered with
    #[arg(long, value_name = "200-599", default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..=599))]
    status: u16,

    /// Close clients that are silent for so long between two requests, 0 for never
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse::seconds)]
    idle: Duration,

    /// Answer 408 to a request whose head takes longer than this, 0 for never
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse::seconds)]
    head: Duration,

    /// Log more: -v each request and what is wrong with it
    #[arg(short, action = clap::ArgAction::Count)]
    verbose: u8,
}

const HELP: &str = "\
Every path has the same page, for GET and HEAD; request bodies are refused.

What it teaches: where a message ends in a stream. A head ends at its empty line, in however many pieces it \
comes; an answer says its length, so that the connection can stay for the next request, or for several sent \
ahead; and a request whose end two readers could see in different places is refused, and the last.

Try it: onepoll hello, and elsewhere: curl -i http://127.0.0.1:8089/ (or a browser), curl -I, and \
printf 'hello\\r\\n' | nc 127.0.0.1 8089";

/// Serves until a signal ends it.
pub(super) fn run(arguments: &Arguments) -> Exit {
    logging::init(arguments.verbose, 0);
    let unless_zero = |duration: Duration| (!duration.is_zero()).then_some(duration);
    let site = Site::new(arguments.status, unless_zero(arguments.idle), unless_zero(arguments.head));
    Service {
        name: "hello",
        addresses: &arguments.listen,
        options: SocketOptions::default(),
        linger: Linger::Stalled(limits::LINGER),
        drain: limits::DRAIN,
        has_console: false,
        note: None,
    }
    .run(Dispatch::new(|_peer| site.visitor()).with_full_notice(UNAVAILABLE.into()))
}
