//! `onepoll chat`: arguments to a client, the terminal, and the loop.

mod terminal;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{IsTerminal, Write};

use super::{Exit, client, parse};
use crate::clients::Outcome;
use crate::clients::chat::{Client, Host, Settings, Style};
use crate::engine::Endpoint;
use crate::event_loop::address::Address;
use crate::event_loop::io::LossyOutput;

use terminal::RawTerminal;

/// The arguments of `onepoll chat`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Where the server is: HOST:PORT, [V6]:PORT, :PORT (this machine) or unix:PATH
    #[arg(value_name = "ADDR", default_value = "127.0.0.1:60000", value_parser = parse::stream_address)]
    address: Address,

    /// Be called NAME: nothing is said before the server grants it
    #[arg(long, value_name = "NAME", value_parser = word)]
    nick: Option<String>,

    /// Enter ROOM: nothing is said before the server lets us in
    #[arg(long, value_name = "ROOM", value_parser = word)]
    room: Option<String>,

    /// Let the lines of a pipe be commands: those that begin with a slash, and quit
    #[arg(long)]
    commands: bool,

    /// Talk to a server without commands: lines go out as they are, and a piped quit is refused
    #[arg(long, conflicts_with_all = ["nick", "room"])]
    plain: bool,

    /// End when the connection is lost, with exit code 1, instead of making it again
    #[arg(long)]
    no_reconnect: bool,

    /// Colours for names: on a terminal, unless NO_COLOR is set; or always, or never
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    color: Color,
}

const HELP: &str = "\
On a terminal, type a line and Enter to say it, /help for commands, quit or Ctrl-D to leave. In a pipe, \
every line of standard input is said, whatever it looks like, and the end of the input leaves once the server \
has taken all: one that ends before, or loses lines with a connection, is exit code 1. An input that is empty from the start (< /dev/null) follows the room instead. With --commands a command goes only to a server that has commands. What is pasted on a \
terminal is said, too; commands are typed by hand. A line is sent whole, or not at all and you are told.

A nick or a room that is refused, or not answered, ends a pipe with exit code 4, and nothing is said. On a terminal \
what is typed is not sent then, and you are told; it is asked for again until it is granted, or until /nick or /join \
asks for another. The same line typed a second time is said without the nick, but never without the room.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

/// A nick or a room: one word, for it becomes part of a command.
fn word(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err("one word, without spaces".into());
    }
    if crate::codec::text::clean(text.as_bytes()) != text {
        // The server removes them, and grants another word.
        return Err("one word, without control characters and what turns the direction of text".into());
    }
    Ok(text.into())
}

/// Talks until the person, the pipe, the server or a signal ends it.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let outcome = match client::endpoints(&arguments.address) {
        Ok(endpoints) => chat(arguments, endpoints),
        Err(outcome) => Ok(outcome),
    };
    client::exit("chat", outcome)
}

fn chat(arguments: &Arguments, endpoints: Vec<Endpoint>) -> std::io::Result<Outcome> {
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let to_terminal = std::io::stdout().is_terminal();
    let is_person = std::io::stdin().is_terminal();
    let is_interactive = is_person && to_terminal && !is_dumb;
    let is_coloured = match arguments.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            // https://no-color.org: set, and not to the empty string.
            let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            to_terminal && !is_dumb && !is_refused
        }
    };
    let settings = Settings {
        address: arguments.address.to_string(),
        endpoints,
        nick: arguments.nick.clone(),
        room: arguments.room.clone(),
        is_plain: arguments.plain,
        takes_commands: arguments.commands,
        reconnects: !arguments.no_reconnect,
        is_person,
        is_interactive,
        style: Style { is_clean: to_terminal || is_coloured, is_coloured },
        seed: random(),
    };
    let client = client::run(|| {
        let terminal = if is_interactive { Some(RawTerminal::enter()?) } else { None };
        Ok(Client::new(settings, Surroundings { terminal }))
    })?;
    // The terminal is given back with the client, before anybody says anything.
    Ok(client.outcome().cloned().unwrap_or(Outcome::Done))
}

/// The hash of nothing, by keys that the system's randomness gave to this process and that no two of these share.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// What the client has beside its connections.
#[derive(Debug)]
struct Surroundings {
    terminal: Option<RawTerminal>,
}

impl Host for Surroundings {
    fn columns(&mut self) -> u16 {
        self.terminal.as_ref().map_or(0, RawTerminal::columns)
    }

    fn suspend(&mut self) {
        if let Some(terminal) = &self.terminal {
            terminal.suspend();
        }
    }

    fn random(&mut self) -> u64 {
        random()
    }

    fn report(&mut self, text: &str) {
        // It drops what standard error does not take, rather than have the chat wait for it.
        let _ = LossyOutput::log().write_all(format!("onepoll: chat: {text}\n").as_bytes());
    }
}
