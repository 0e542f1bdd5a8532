//! `onepoll replay`: a recording to what came in and went out, by the same loop and chat that recorded it.

mod listing;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use super::surroundings::Surroundings;
use super::{Command, Exit, complain, parse, serve, shown};
use crate::codec::text::{describe, escape};
use crate::engine::{Engine, ListenerId, Moment, Peer};
use crate::event_loop::EventLoop;
use crate::recording::entry::Call;
use crate::recording::{Ending, Head, Reader, Replayed, Replaying, Tail};
use crate::stats::Watched;

use listing::{Listing, Show};

/// The arguments of `onepoll replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// What `onepoll serve --record FILE` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Stop so many seconds after the start, as 12.5 or 12.5s
    #[arg(long, value_name = "T", value_parser = parse::moment)]
    until: Option<Duration>,

    /// Show this connection only: its number, as the log and `clients` have it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    connection: Option<u64>,

    /// The bytes that went out to it and nothing else, to compare with what it got
    #[arg(long, requires = "connection")]
    raw: bool,
}

const HELP: &str = "\
Each line is one thing that happened: the seconds since the start, the connection, < for what came in and > \
for what the socket took, with line ends and what is not to be shown as in a string of Rust. The console is a \
connection, too. The same server runs again, without sockets and clock: each of its calls is compared with the \
recording, and what it writes with a sum of what was written, so that exit code 0 means that it wrote the same \
bytes. A recording that was made with --redact is only listed.

Try it: onepoll serve --record FILE, and after some talk: onepoll replay FILE";

/// The recording as a system, and who follows it.
type Tape<R> = Replaying<R, Listing<io::Stdout>>;

/// What a person at the terminal hears of a replay that failed.
type Complaint = String;

/// Why there is no whole replay.
enum Failure {
    /// The recording is at fault.
    Recording(Complaint),
    /// What is shown does not get anywhere.
    Output(io::Error),
}

impl From<Complaint> for Failure {
    fn from(complaint: Complaint) -> Self {
        Failure::Recording(complaint)
    }
}

/// Replays to standard output.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let (exit, words) = match replay(arguments) {
        Ok(summary) => (Exit::Done, summary),
        Err(Failure::Recording(complaint)) => (Exit::Failed, complaint),
        Err(Failure::Output(error)) => return shown(Err(error)),
    };
    // Somebody else made the file, and what it says of itself may be meant for the terminal (P36).
    complain(exit, escape(format!("{}: {words}", arguments.file.display()).as_bytes()))
}

/// What is to be said of a replay that did all that it should.
fn replay(arguments: &Arguments) -> Result<String, Failure> {
    let file = File::open(&arguments.file).map_err(|error| describe(&error))?;
    let (reader, head) = Reader::new(BufReader::new(file)).map_err(|fault| fault.to_string())?;
    let show = match arguments.connection {
        None => Show::All,
        Some(number) if arguments.raw && head.is_redacted => {
            return Err(format!("was recorded with --redact: it does not have what #{number} got").into());
        }
        Some(number) if arguments.raw => Show::Raw(number),
        Some(number) => Show::One(number),
    };
    let listing = Listing::new(io::stdout(), show, head.is_redacted);
    let until = arguments.until.map(|until| Moment::START + until);
    let replaying = Replaying::new(reader, listing, until);
    let (ending, entries, moment, listing) =
        if head.is_redacted { replaying.list() } else { replay_chat(&head, replaying)?.finish() };
    let (ending, last) = match (ending, listing.finish()) {
        (Some(Ending::Unheard(error)), _) | (_, Err(error)) => return Err(Failure::Output(error)),
        (ending, Ok(last)) => (ending, last),
    };
    let end = describe_end(ending, &head)?;
    if let Some(number) = arguments.connection
        && number > last
    {
        return Err(format!("there is no connection {number} up to there, only 1 to {last}").into());
    }
    let seconds = moment.since(Moment::START).as_secs_f64();
    let how = if head.is_redacted { "listed, not run: it is redacted" } else { "as recorded" };
    Ok(format!("{seconds:.6} s, {entries} entries, {how}; {end}"))
}

/// How a replay ended that got as far as it could, or why it did not.
fn describe_end(ending: Option<Ending>, head: &Head) -> Result<&'static str, Complaint> {
    match ending {
        None => Ok("the server ended"),
        Some(Ending::Until) => Ok("stopped there (--until)"),
        Some(Ending::Recording(Tail::Full)) => Ok("the recording was full (--record-bytes)"),
        Some(Ending::Recording(Tail::Whole)) if head.is_redacted => Ok("the recording ends there"),
        Some(Ending::Recording(Tail::Whole)) => {
            Ok("the recording ends there: the server was killed, or the disk was full")
        }
        Some(Ending::Recording(Tail::Torn)) => {
            Ok("the last entry is torn: the server was killed, or the disk was full")
        }
        Some(Ending::Fault(fault)) => Err(fault.to_string()),
        Some(Ending::Unheard(error)) => Err(describe(&error)),
        Some(Ending::Diverged(divergence)) => {
            let here = env!("CARGO_PKG_VERSION");
            let recorded_by = &head.version;
            Err(if recorded_by == here {
                format!(
                    "{divergence}: the file is damaged, another build of this version recorded it, or its time zone \
                     has other rules here"
                )
            } else {
                format!(
                    "{divergence}: onepoll {recorded_by} recorded it, and this is {here}: replay it with that"
                )
            })
        }
    }
}

/// Runs the chat that was recorded, on its recording.
fn replay_chat<R: Read>(head: &Head, replaying: Tape<R>) -> Result<Tape<R>, Complaint> {
    let arguments = arguments_of(head)?;
    let chat = serve::chat(&arguments, &Surroundings::of_recording(head)?)?;
    let linger = serve::linger(&arguments);
    Ok(if let Some(is_public) = serve::is_watched(&arguments) {
        let watch = |event_loop: &mut EventLoop<_, Watched<_>>, id| event_loop.engine_mut().watch_from(id);
        play(EventLoop::new(replaying, Watched::new(chat, is_public), linger), watch)
    } else {
        play(EventLoop::new(replaying, chat, linger), |_, _| ())
    })
}

/// Runs the loop from its first call to its end: as a [`Service`](super::service::Service) begins it. What fails
/// here failed in the recording, too, or ends the replay, which knows why.
fn play<R: Read, E: Engine>(
    mut event_loop: EventLoop<Tape<R>, E>,
    watch: impl Fn(&mut EventLoop<Tape<R>, E>, ListenerId),
) -> Tape<R> {
    while event_loop.io_mut().is_next(Call::Listen) && event_loop.listen(()).is_ok() {}
    let _ = event_loop.adopt(Replayed::default(), Peer::Console);
    while event_loop.io_mut().is_next(Call::Listen) {
        match event_loop.listen(()) {
            Ok(id) => watch(&mut event_loop, id),
            Err(_) => break,
        }
    }
    let _ = event_loop.run();
    event_loop.into_io()
}

fn arguments_of(head: &Head) -> Result<Box<serve::Arguments>, Complaint> {
    let by = || format!("onepoll {} recorded it, and this is {}", head.version, env!("CARGO_PKG_VERSION"));
    let arguments = [OsString::from("onepoll")].into_iter().chain(head.arguments.iter().cloned());
    match super::Arguments::try_parse_from(arguments) {
        Ok(super::Arguments { command: Command::Serve(arguments) }) => Ok(arguments),
        Ok(_) => Err(format!("its arguments are not those of a server: {}", by())),
        Err(error) => {
            let why = error.to_string();
            Err(format!("its arguments: {}: {}", why.lines().next().unwrap_or_default(), by()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Divergence;

    #[test]
    fn who_meets_another_version_is_told_which() {
        let diverged = || {
            let (recorded, happened) = ("a read in slot 1".into(), "a write in slot 1".into());
            Some(Ending::Diverged(Divergence { entry: 7, moment: Moment::START, recorded, happened }))
        };
        let mut head = Head { version: "0.0.9".into(), ..Head::default() };
        let why = describe_end(diverged(), &head).expect_err("it diverged");
        assert!(
            why.starts_with("entry 7, at 0.000000 s: recorded is a read in slot 1; now: a write"),
            "{why}"
        );
        assert!(why.contains("onepoll 0.0.9 recorded it"), "{why}");
        for arguments in [&["serve", "--of-tomorrow"][..], &["chat"], &[]] {
            head.arguments = arguments.iter().map(OsString::from).collect();
            let why = arguments_of(&head).expect_err("no server of today");
            assert!(why.contains("onepoll 0.0.9 recorded it, and this is"), "{why}");
        }
        head.version = env!("CARGO_PKG_VERSION").into();
        assert!(describe_end(diverged(), &head).expect_err("it diverged").contains("the file is damaged"));
    }
}
