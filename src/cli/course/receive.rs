//! `onepoll receive`: arguments to a receiver of files.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use log::info;

use super::progress::progress;
use crate::cli::parse::{self, Reserve};
use crate::cli::service::Service;
use crate::cli::{Exit, complain, logging};
use crate::codec::text::describe;
use crate::event_loop::Linger;
use crate::event_loop::address::Address;
use crate::event_loop::io::{self, SocketOptions};
use crate::limits;
use crate::servers::receive::folder::{Conflict, DiskFolder};
use crate::servers::receive::{self, Receiver, Settings};

/// The arguments of `onepoll receive`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Arguments {
    /// The folder that files are put into
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,

    /// Where to listen: HOST:PORT, [V6]:PORT, :PORT or unix:PATH; may be given several times
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8890", value_parser = parse::stream_address)]
    listen: Vec<Address>,

    /// End after one file, with exit code 1 if it did not get through
    #[arg(long)]
    once: bool,

    /// Where a file of that name is there: give the new one a number, refuse it, or replace the old one
    #[arg(
        long,
        value_enum,
        value_name = "rename|error|overwrite",
        default_value = "rename",
        hide_possible_values = true
    )]
    on_conflict: OnConflict,

    /// The most bytes of a file, as 512M or 4G [default: what there is room for]
    #[arg(long, value_name = "BYTES", value_parser = parse::file_bytes)]
    max_size: Option<u64>,

    /// Transfers at the same time [default: what the descriptor limit allows, 1000 at most]
    #[arg(long, value_name = "N")]
    max_transfers: Option<usize>,

    /// Transfers at the same time from one IPv4 address or IPv6 /64; loopback and Unix sockets are exempt
    #[arg(long, value_name = "N", default_value_t = limits::CLIENTS_PER_IP_MAX)]
    max_per_ip: usize,

    /// End a transfer when nothing came for so long, more than 0
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse::some_seconds)]
    idle: Duration,

    /// End a transfer that takes longer than this and a second for each KiB that came, more than 0: silence is
    /// not the only way to hold a place
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = parse::some_seconds)]
    deadline: Duration,

    /// Take no file that would leave less than this free on the disk: bytes, as 512M, or a part of all, as 5%
    /// [default: 5%, 1G at most]
    #[arg(long, value_name = "BYTES|PERCENT", value_parser = parse::reserve)]
    reserve_free: Option<Reserve>,

    /// Answer only once the file is on the disk itself, where a loss of power does not reach it; slower,
    /// and everybody waits for the disk
    #[arg(long)]
    sync: bool,

    /// Show only what fails
    #[arg(long, short)]
    quiet: bool,
}

const HELP: &str = "\
What it teaches: a protocol with lengths in front, many long transfers beside each other without one \
waiting for another, and a disk on which nothing looks whole that is not. The sender's name for the file \
counts only as far as its last part, cleaned. A broken transfer that was sent with --resume is kept for a \
week, the last 16 of them.

Limits: --max-size, --max-transfers, --max-per-ip, --idle, --deadline and --reserve-free; who meets one is told \
so, by its name, and the transfer is over. A header has 16 KiB at most. A transfer takes some 100 KiB of memory \
at most, whatever the size of the file.

Try it: onepoll receive /tmp, and elsewhere: onepoll send FILE 127.0.0.1:8890";

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OnConflict {
    Rename,
    Error,
    Overwrite,
}

/// Receives until a signal ends it, or the one file is there.
pub(super) fn run(arguments: &Arguments) -> Exit {
    logging::init(0, 1);
    let descriptors = io::raise_descriptor_limit();
    io::let_large_writes_fail();
    let mut settings = match settings(arguments, descriptors) {
        Ok(settings) => settings,
        Err(why) => return complain(Exit::Usage, why),
    };
    let opened = DiskFolder::open(&arguments.folder, arguments.sync)
        .and_then(|(folder, remains)| Ok((reserved_bytes(arguments, &folder)?, folder, remains)));
    let (reserved_bytes, folder, remains) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let folder = arguments.folder.display();
            let why = describe(&error);
            return complain(
                Exit::Failed,
                format!(
                    "receive: {folder}: {why}; it needs a folder that is there (mkdir) and can be written to"
                ),
            );
        }
    };
    settings.reserved_bytes = reserved_bytes;
    info!("{} remains of broken transfers removed, {} kept for --resume", remains.removed, remains.kept);
    let receiver = Receiver::new(settings, folder, progress("receive", arguments.quiet, true));
    let receiver = Rc::new(RefCell::new(receiver));
    let exit = Service {
        name: "receive",
        addresses: &arguments.listen,
        options: SocketOptions::default(),
        linger: Linger::Stalled(limits::LINGER),
        drain: limits::DRAIN,
        has_console: false,
        note: None,
    }
    .run(receive::engine(&receiver));
    let has_failed = arguments.once && receiver.borrow().last() != Some(true);
    if exit == Exit::Done && has_failed { Exit::Failed } else { exit }
}

/// What is to stay free of the disk that the folder is on.
fn reserved_bytes(arguments: &Arguments, folder: &DiskFolder) -> std::io::Result<u64> {
    let percent = |percent: u64| Ok(folder.disk_bytes()? / 100 * percent);
    match arguments.reserve_free {
        Some(Reserve::Bytes(bytes)) => Ok(bytes),
        Some(Reserve::Percent(part)) => percent(part),
        None => Ok(percent(limits::RESERVED_PERCENT)?.min(limits::RESERVED_BYTES_MAX)),
    }
}

fn settings(arguments: &Arguments, descriptors: u64) -> Result<Settings, String> {
    // Each transfer has a socket and a file.
    let available = descriptors.saturating_sub(limits::RESERVED_DESCRIPTORS) / 2;
    let available = usize::try_from(available).unwrap_or(usize::MAX);
    if arguments.max_per_ip == 0 {
        return Err("--max-per-ip 0: at least 1".into());
    }
    let transfers_max = arguments.max_transfers.unwrap_or(limits::TRANSFERS_MAX.min(available));
    if transfers_max == 0 || transfers_max > available {
        return Err(format!(
            "--max-transfers {transfers_max}: 1 to {available}, for each takes two of the {descriptors} \
             descriptors that are allowed; raise the limit (ulimit -n)"
        ));
    }
    Ok(Settings {
        on_conflict: match arguments.on_conflict {
            OnConflict::Rename => Conflict::Rename,
            OnConflict::Error => Conflict::Refuse,
            OnConflict::Overwrite => Conflict::Overwrite,
        },
        file_bytes_max: arguments.max_size,
        transfers_max,
        transfers_per_address_max: arguments.max_per_ip,
        idle: arguments.idle,
        deadline: arguments.deadline,
        reserved_bytes: 0,
        is_once: arguments.once,
    })
}
