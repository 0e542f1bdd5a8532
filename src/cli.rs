//! The command line: arguments to checked configuration, one path for messages to people, exit codes.

#[cfg(feature = "course")]
mod ask;
#[cfg(feature = "course")]
mod call;
mod chat;
mod client;
#[cfg(feature = "course")]
mod echo;
#[cfg(feature = "course")]
mod greet;
#[cfg(feature = "course")]
mod hello;
#[cfg(feature = "course")]
mod lab;
mod logging;
mod parse;
#[cfg(feature = "course")]
mod progress;
#[cfg(feature = "course")]
mod receive;
#[cfg(feature = "course")]
mod send;
mod serve;
mod service;

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Answer the questions of many clients from one keyboard
    #[cfg(feature = "course")]
    Ask(ask::Arguments),
    /// Send texts to any server, and print what comes back
    #[cfg(feature = "course")]
    Call(call::Arguments),
    /// Learn sockets by experiments that tell what they do
    #[cfg(feature = "course")]
    Lab(lab::Arguments),
    /// Greet each client, and close
    #[cfg(feature = "course")]
    Greet(greet::Arguments),
    /// Serve a web page that says hello
    #[cfg(feature = "course")]
    Hello(hello::Arguments),
    /// Send back what comes, on TCP, UDP and Unix sockets
    #[cfg(feature = "course")]
    Echo(echo::Arguments),
    /// Take files that `onepoll send` and classic senders bring
    #[cfg(feature = "course")]
    Receive(receive::Arguments),
    /// Bring files to `onepoll receive` and classic receivers
    #[cfg(feature = "course")]
    Send(send::Arguments),
}

/// Runs the program that the arguments ask for.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            // Nobody is left to be told where neither output can be written.
            let _ = error.print();
            return exit.into();
        }
    };
    match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Chat(arguments) => chat::run(&arguments),
        #[cfg(feature = "course")]
        Command::Ask(arguments) => ask::run(&arguments),
        #[cfg(feature = "course")]
        Command::Call(arguments) => call::run(&arguments),
        #[cfg(feature = "course")]
        Command::Lab(arguments) => lab::run(&arguments),
        #[cfg(feature = "course")]
        Command::Greet(arguments) => greet::run(&arguments),
        #[cfg(feature = "course")]
        Command::Hello(arguments) => hello::run(&arguments),
        #[cfg(feature = "course")]
        Command::Echo(arguments) => echo::run(&arguments),
        #[cfg(feature = "course")]
        Command::Receive(arguments) => receive::run(&arguments),
        #[cfg(feature = "course")]
        Command::Send(arguments) => send::run(&arguments),
    }
    .into()
}

/// Tells the person at the terminal what failed: what, which, why, remedy.
fn complain(exit: Exit, what: impl Display) -> Exit {
    use std::io::Write;
    // A closed standard error leaves only the exit code.
    let _ = writeln!(std::io::stderr(), "onepoll: {what}");
    exit
}
