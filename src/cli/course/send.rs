//! `onepoll send`: arguments to a sender of files.

use std::path::PathBuf;
use std::time::Duration;

use super::progress::progress;
use crate::cli::{Exit, client, complain, parse};
use crate::clients::Outcome;
use crate::clients::send::disk::RealDisk;
use crate::clients::send::{Sender, Settings};
use crate::event_loop::address::Address;

/// The arguments of `onepoll send`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Arguments {
    /// The files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Where the receiver is: HOST:PORT, [V6]:PORT, :PORT (this machine) or unix:PATH
    #[arg(value_name = "ADDR", value_parser = parse::stream_address)]
    address: Address,

    /// Continue a transfer that broke off, and have this one kept for that if it does
    #[arg(long)]
    resume: bool,

    /// The receiver is one that never answers: announce no hash, and take its end of the connection for
    /// success
    #[arg(long, conflicts_with = "resume")]
    classic: bool,

    /// Give up when the receiver takes nothing and says nothing for so long, more than 0
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse::some_seconds)]
    timeout: Duration,

    /// Show only what fails
    #[arg(long, short)]
    quiet: bool,
}

const HELP: &str = "\
What it teaches: writing as fast as the other side takes it and no faster, a hash that is computed on the \
way, and why a file has not arrived before its receiver says so.

Files go one after another; one that fails does not keep the others back. Exit code 0 says that the \
receiver has the same bytes of all of them, or with --classic that it closed when it had read them.

Try it: onepoll receive /tmp, and elsewhere: onepoll send FILE 127.0.0.1:8890";

/// Sends until all files are there, or not.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let endpoints = match client::endpoints(&arguments.address) {
        Ok(endpoints) => endpoints,
        Err(outcome) => return client::exit("send", Ok(outcome)),
    };
    let files = arguments.files.len();
    let settings = Settings {
        address: arguments.address.to_string(),
        endpoints,
        files: arguments.files.clone(),
        resumes: arguments.resume,
        is_classic: arguments.classic,
        patience: arguments.timeout,
    };
    let sender = Sender::new(settings, RealDisk, progress("send", arguments.quiet, false));
    let sender = match client::run_without_console(sender) {
        Ok(sender) => sender,
        Err(error) => return client::exit("send", Err(error)),
    };
    match (sender.no_connection(), sender.failed()) {
        (Some(why), _) => client::exit("send", Ok(Outcome::CannotConnect(why.into()))),
        (None, 0) => Exit::Done,
        // Why, was said already.
        (None, _) if files == 1 => Exit::Failed,
        (None, failed) => {
            complain(Exit::Failed, format!("send: {failed} of {files} files did not get through"))
        }
    }
}
