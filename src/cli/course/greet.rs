//! `onepoll greet`: arguments to a plan of greetings.

use std::time::Duration;

use crate::cli::parse;
use crate::cli::service::Service;
use crate::cli::{Exit, logging};
use crate::event_loop::Linger;
use crate::event_loop::address::Address;
use crate::event_loop::io::SocketOptions;
use crate::limits;
use crate::servers::greet::Plan;
use crate::socketserver::Dispatch;

/// The arguments of `onepoll greet`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Arguments {
    /// Where to listen: HOST:PORT, [V6]:PORT, :PORT (both families) or unix:PATH; may be given several
    /// times
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090", value_parser = parse::stream_address)]
    listen: Vec<Address>,

    /// End after N greetings
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Close clients that say nothing for so long, 0 for never
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse::seconds)]
    idle: Duration,

    /// The greetings, one for each client, and then again
    #[arg(value_name = "MESSAGE", default_values = ["welcome to network! ", "hello python"])]
    messages: Vec<String>,
}

const HELP: &str = "\
What it teaches: accept, recv, send, close. The classic program waits for each client's words before it \
accepts the next; here one that says nothing holds up nobody.

Try it: onepoll greet, and elsewhere: onepoll call 127.0.0.1:9090 hello";

/// Greets until it has greeted enough, or a signal ends it.
pub(super) fn run(arguments: &Arguments) -> Exit {
    logging::init(0, 0);
    let idle_max = (!arguments.idle.is_zero()).then_some(arguments.idle);
    let plan = Plan::new(arguments.messages.clone(), arguments.count, idle_max);
    Service {
        name: "greet",
        addresses: &arguments.listen,
        options: SocketOptions::default(),
        linger: Linger::Stalled(limits::LINGER),
        drain: limits::DRAIN,
        has_console: false,
        note: None,
    }
    .run(Dispatch::new(|peer| plan.greeter(peer)))
}
