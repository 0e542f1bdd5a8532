//! The command line: arguments to checked configuration, one path for messages to people, exit codes.

mod chat;
mod client;
#[cfg(feature = "course")]
mod course;
mod logging;
mod parse;
mod record;
mod replay;
mod serve;
mod service;
mod surroundings;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::codec::text::describe;
use crate::event_loop::io::{self, SocketOptions, System};

/// How the program ends, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    CannotBind = 3,
    CannotConnect = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// A chat and broadcast server in one thread, and its client.
#[derive(Debug, Parser)]
#[command(name = "onepoll", version, about, after_help = EXIT_CODES, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 could not bind, 4 could not connect or was refused.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a chat that people can join with nc, telnet, socat or `onepoll chat`
    Serve(Box<serve::Arguments>),
    /// Talk in a chat, or feed a pipe to it
    Chat(chat::Arguments),
    /// Run a recording of `serve` again, and show what came in and went out
    Replay(replay::Arguments),
    #[cfg(feature = "course")]
    #[command(flatten)]
    Course(course::Command),
}

/// Runs the program that the arguments ask for.
#[must_use]
pub fn run() -> ExitCode {
    // Whether a value is the default or was given is in the matches alone.
    let parsed = Arguments::command()
        .try_get_matches()
        .and_then(|matches| Arguments::from_arg_matches(&matches).map(|arguments| (arguments, matches)));
    let (arguments, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            let printed = error.print().and_then(|()| std::io::stdout().flush());
            // Where standard error cannot be written, only the exit code is left.
            return if error.use_stderr() { Exit::Usage } else { shown(printed) }.into();
        }
    };
    match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments, matches.subcommand_matches("serve")),
        Command::Chat(arguments) => chat::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        #[cfg(feature = "course")]
        Command::Course(command) => command.run(),
    }
    .into()
}

/// The system, which a signal wakes.
fn system(options: SocketOptions) -> std::io::Result<System> {
    io::keep_ignored_signals_away();
    let system = System::new(options)?;
    let waker = system.waker();
    ctrlc::set_handler(move || waker.wake()).map_err(std::io::Error::other)?;
    Ok(system)
}

/// Shows a page on standard output.
fn show(page: &str) -> Exit {
    let mut stdout = std::io::stdout();
    shown(stdout.write_all(page.as_bytes()).and_then(|()| stdout.flush()))
}

/// How showing something on standard output ended. Who reads only the beginning, as `head` does, has what it
/// wants.
fn shown(written: std::io::Result<()>) -> Exit {
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            complain(Exit::Failed, format!("standard output: {}", describe(&error)))
        }
        _ => Exit::Done,
    }
}

/// Tells the person at the terminal what failed: what, which, why, remedy.
fn complain(exit: Exit, what: impl Display) -> Exit {
    // A closed standard error leaves only the exit code.
    let _ = writeln!(std::io::stderr(), "onepoll: {what}");
    exit
}
