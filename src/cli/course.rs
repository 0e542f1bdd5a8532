//! The course's subcommands: each has a file here for its arguments, and its program in `servers`, `clients`
//! or `lab`.

mod ask;
mod call;
mod echo;
mod greet;
mod hello;
mod lab;
mod progress;
mod receive;
mod send;

use super::Exit;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Greet each client, and close
    Greet(greet::Arguments),
    /// Send back what comes, on TCP, UDP and Unix sockets
    Echo(echo::Arguments),
    /// Serve a web page that says hello
    Hello(hello::Arguments),
    /// Answer the questions of many clients from one keyboard
    Ask(ask::Arguments),
    /// Take files that `onepoll send` and classic senders bring
    Receive(receive::Arguments),
    /// Bring files to `onepoll receive` and classic receivers
    Send(send::Arguments),
    /// Send texts to any server, and print what comes back
    Call(call::Arguments),
    /// Learn sockets by experiments that tell what they do
    Lab(lab::Arguments),
}

impl Command {
    pub(super) fn run(&self) -> Exit {
        match self {
            Command::Greet(arguments) => greet::run(arguments),
            Command::Echo(arguments) => echo::run(arguments),
            Command::Hello(arguments) => hello::run(arguments),
            Command::Ask(arguments) => ask::run(arguments),
            Command::Receive(arguments) => receive::run(arguments),
            Command::Send(arguments) => send::run(arguments),
            Command::Call(arguments) => call::run(arguments),
            Command::Lab(arguments) => lab::run(arguments),
        }
    }
}
