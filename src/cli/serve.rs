//! `onepoll serve`: arguments to a configuration of the chat server.

mod limits;

use std::time::Duration;

use log::info;

use super::parse::{self, ConnectLimit, RateLimit};
use super::record::RecordArguments;
use super::service::{self, Service, Stats};
use super::surroundings::Surroundings;
use super::{Exit, complain, logging, show};
use crate::chat::Chat;
use crate::chat::config::{Config, ConnectRate, Format, Rate, SlowPolicy, Unnamed};
use crate::chat::limit::Limit;
use crate::event_loop::Linger;
use crate::event_loop::address::{Address, Transport};
use crate::event_loop::io::{self, SocketOptions};
use crate::limits as bounds;
use limits::Settings;

/// The arguments of `onepoll serve`.
#[derive(Debug, clap::Args)]
#[command(next_line_help = false)]
pub(super) struct Arguments {
    /// Where to listen: HOST:PORT, [V6]:PORT, :PORT (both families) or unix:PATH; several at once,
    /// port 0 for any free one [default: 127.0.0.1:60000]
    #[arg(long, value_name = "ADDR", value_parser = parse::stream_address)]
    listen: Vec<Address>,

    /// How messages look: with time and name, as the classic tutorial server, the bare line, "ack LINE"
    #[arg(long, value_enum, default_value = "line")]
    format: FormatArgument,

    /// What people without a nick are called: by their addresses, which everyone sees, or guest-1, guest-2, ...
    /// [default: address where only this machine can reach the server, else guest]
    #[arg(long, value_enum, value_name = "address|guest", hide_possible_values = true)]
    names: Option<NamesArgument>,

    /// Do not send a client its own messages
    #[arg(long)]
    no_echo: bool,

    /// No commands but quit: lines that begin with a slash are said
    #[arg(long)]
    plain: bool,

    /// Announce no joins, leaves and renames
    #[arg(long)]
    quiet: bool,

    /// Announce no joins in rooms of more members than this, nor leaves and renames of those who joined then
    #[arg(long, value_name = "N", default_value_t = bounds::NOTICE_MEMBERS_MAX)]
    notice_members: usize,

    /// A message of the day for newcomers, or the file that it is in
    #[arg(long, value_name = "TEXT|@FILE")]
    motd: Option<String>,

    /// Messages of history shown to newcomers, 0 for none
    #[arg(long, value_name = "N", default_value_t = bounds::HISTORY_MESSAGES)]
    history: usize,

    /// What happens to a reader who falls behind by more than --log-bytes: skip what it missed and
    /// say how much, close it, or wait: read no senders until it catches up, close it after SECONDS
    #[arg(long, value_name = "skip|close|wait:SECONDS", default_value = "skip", value_parser = parse::slow)]
    slow: SlowPolicy,

    /// Bytes of messages that a room keeps for slow readers and history, taken as needed [default: 1M]
    #[arg(long, value_name = "BYTES", value_parser = parse::bytes)]
    log_bytes: Option<usize>,

    /// Clients at the same time [default: what the descriptor limit allows]
    #[arg(long, value_name = "N")]
    max_clients: Option<u64>,

    /// Clients from one IPv4 address or IPv6 /64; loopback and Unix sockets are exempt
    #[arg(long, value_name = "N", default_value_t = bounds::CLIENTS_PER_IP_MAX)]
    max_per_ip: usize,

    /// Newcomers from one such address, and how many of them at once; loopback and Unix sockets are
    /// exempt. Without BURST: 64, or --max-per-ip if that is more
    #[arg(
        long,
        value_name = "CONNECTS_PER_MINUTE[:BURST]|off",
        default_value = "60",
        value_parser = parse::connect_rate
    )]
    connect_rate: ConnectLimit,

    /// Bytes of a line, without its end [default: 4096, or what fits into --log-bytes]
    #[arg(long, value_name = "BYTES", value_parser = parse::bytes)]
    max_line: Option<usize>,

    /// Bytes of replies that wait for a client who does not read, beyond which its lines wait
    /// [default: 16K]
    #[arg(long, value_name = "BYTES", value_parser = parse::bytes)]
    private_bytes: Option<usize>,

    /// Rooms at the same time, the ones that are only remembered included [default: 256]
    #[arg(long, value_name = "N")]
    max_rooms: Option<usize>,

    /// Rooms that one client is in at the same time
    #[arg(long, value_name = "N", default_value_t = bounds::ROOMS_PER_CLIENT_MAX)]
    max_rooms_per_client: usize,

    /// Lines that a client may send; more will wait, nothing is lost
    #[arg(long, value_name = "LINES_PER_SECOND[:BURST]|off", default_value = "100:1000", value_parser = parse::rate)]
    rate: RateLimit,

    /// Close clients that say nothing for so long, 0 for never
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = parse::seconds)]
    idle: Duration,

    /// How long a client that is being closed has to take its last bytes
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse::seconds)]
    linger: Duration,

    /// How long the end of the server waits for everyone to take what is due to them
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = parse::seconds)]
    drain: Duration,

    /// How long messages may wait for others, to share a system call with them
    #[arg(long, value_name = "MS", default_value = "0", value_parser = parse::milliseconds)]
    coalesce: Duration,

    /// Bytes that may wait unsent in the kernel for a TCP client, beside one segment of up to 64 KiB. A Unix
    /// socket has a send buffer of 4 times as many bytes instead, which the kernel doubles
    #[arg(long, value_name = "BYTES", default_value = "16K", value_parser = parse::bytes)]
    unsent: usize,

    /// Where programs can read what the server does: Prometheus at /metrics, JSON at /stats. HOST:PORT
    /// or unix:PATH of this machine [default: nowhere]
    #[arg(long, value_name = "ADDR", value_parser = parse::stream_address)]
    stats: Option<Address>,

    /// Let --stats be where others than this machine's can read it, too: nobody is asked for a name
    #[arg(long, requires = "stats")]
    stats_public: bool,

    #[command(flatten)]
    recording: RecordArguments,

    /// Bytes of memory that the server may come to hold; what is not given of --max-clients, --max-rooms,
    /// --log-bytes and --private-bytes follows from it: a quarter for rooms, the rest for clients
    #[arg(long, value_name = "BYTES", value_parser = parse::memory_bytes)]
    max_memory: Option<u64>,

    /// Show all limits, what who meets one sees, and the memory that follows from them; serve nobody
    #[arg(long)]
    show_limits: bool,

    /// Log more: -v what people say, -vv everything
    #[arg(short, action = clap::ArgAction::Count)]
    verbose: u8,

    /// Log less: -q warnings, -qq errors only
    #[arg(short = 'q', action = clap::ArgAction::Count)]
    log_less: u8,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FormatArgument {
    Line,
    Classic,
    Raw,
    Ack,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum NamesArgument {
    Address,
    Guest,
}

/// Serves until a signal or the console ends it.
pub(super) fn run(arguments: &Arguments, matches: Option<&clap::ArgMatches>) -> Exit {
    logging::init(arguments.verbose, arguments.log_less);
    let descriptors = io::raise_descriptor_limit();
    let found = Surroundings::of_this_process(descriptors, arguments.motd.as_deref())
        .and_then(|surroundings| Ok((settings(arguments, &surroundings, matches)?, surroundings)));
    let (settings, surroundings) = match found {
        Ok(found) => found,
        Err(why) => return complain(Exit::Usage, why),
    };
    if arguments.show_limits {
        return show(&settings.page());
    }
    let default = [Address::Host(Transport::Tcp, "127.0.0.1".into(), 60000)];
    let service = Service {
        name: "serve",
        addresses: if arguments.listen.is_empty() { &default[..] } else { &arguments.listen[..] },
        options: SocketOptions { unsent_bytes: arguments.unsent },
        linger: linger(arguments),
        drain: arguments.drain,
        has_console: true,
        note: Some(settings.summary()),
    };
    let chat = Chat::new(settings.config);
    let stats = arguments.stats.as_ref();
    let stats = stats.map(|address| Stats { address, is_public: arguments.stats_public });
    match &arguments.recording.record {
        None => service.run_on(Ok, chat, stats.as_ref()),
        Some(path) => {
            io::let_large_writes_fail();
            let record = |system| arguments.recording.begin(path, system, &surroundings);
            service.run_on(record, chat, stats.as_ref())
        }
    }
}

/// The chat that these arguments ask for, there: the server's, and again a replay's.
pub(super) fn chat(arguments: &Arguments, surroundings: &Surroundings) -> Result<Chat, String> {
    settings(arguments, surroundings, None).map(|settings| Chat::new(settings.config))
}

/// The limits that follow from these arguments. Which values are defaults only the matches can tell.
fn settings(
    arguments: &Arguments,
    surroundings: &Surroundings,
    matches: Option<&clap::ArgMatches>,
) -> Result<Settings, String> {
    let is_given = |flag: &str| match flag {
        // What `--max-memory` derives, which a replay has to do again, and has no matches.
        "--max-clients" => arguments.max_clients.is_some(),
        "--max-rooms" => arguments.max_rooms.is_some(),
        "--log-bytes" => arguments.log_bytes.is_some(),
        "--private-bytes" => arguments.private_bytes.is_some(),
        _ => {
            let id = flag.trim_start_matches('-').replace('-', "_");
            let source = matches.and_then(|matches| matches.value_source(&id));
            source == Some(clap::parser::ValueSource::CommandLine)
        }
    };
    let mut settings = Settings {
        config: config(arguments, surroundings)?,
        descriptors: surroundings.descriptors,
        unsent_bytes: arguments.unsent,
        linger: arguments.linger,
        beside: arguments.recording.memory_parts(),
        memory_bytes_max: arguments.max_memory,
        recording_bytes_max: arguments.recording.record_bytes,
        given: Limit::ALL
            .into_iter()
            .filter_map(Limit::flag)
            .chain([limits::RECORD_BYTES])
            .filter(|flag| is_given(flag))
            .collect(),
    };
    settings.divide_memory()?;
    Ok(settings)
}

/// How long its loop lets a close wait.
pub(super) fn linger(arguments: &Arguments) -> Linger {
    Linger::InAll(arguments.linger)
}

/// Whether its figures can be read; `Some(true)`: by others than this machine's.
pub(super) fn is_watched(arguments: &Arguments) -> Option<bool> {
    arguments.stats.is_some().then_some(arguments.stats_public)
}

fn config(arguments: &Arguments, surroundings: &Surroundings) -> Result<Config, String> {
    let unsent = arguments.unsent;
    let log_bytes = arguments.log_bytes.unwrap_or(bounds::LOG_BYTES_MAX);
    let private_bytes = arguments.private_bytes.unwrap_or(bounds::PRIVATE_BYTES_MAX);
    let rooms = arguments.max_rooms.unwrap_or(bounds::ROOMS_MAX);
    let max_line = line_bytes_max(arguments.max_line, log_bytes)?;
    if !(1..=bounds::UNSENT_BYTES_MAX).contains(&unsent) {
        return Err(format!("--unsent {unsent}: 1 to {} bytes", bounds::UNSENT_BYTES_MAX));
    }
    if !bounds::PRIVATE_BYTES_RANGE.contains(&private_bytes) {
        let (least, most) = bounds::PRIVATE_BYTES_RANGE.into_inner();
        return Err(format!("--private-bytes {private_bytes}: {least} to {most} bytes"));
    }
    for (flag, value, most) in
        [("--log-bytes", log_bytes, bounds::LOG_BYTES_ALLOWED), ("--max-rooms", rooms, bounds::ROOMS_ALLOWED)]
    {
        if value > most {
            return Err(format!("{flag} {value}: at most {most}"));
        }
    }
    for (flag, value) in [
        ("--max-per-ip", arguments.max_per_ip),
        ("--max-rooms", rooms),
        ("--max-rooms-per-client", arguments.max_rooms_per_client),
    ] {
        if value == 0 {
            return Err(format!("{flag} 0: at least 1"));
        }
    }
    let RateLimit(rate) = arguments.rate;
    if rate.is_some_and(|Rate { burst_lines, .. }| burst_lines < bounds::MEMBERSHIP_COST_LINES) {
        info!("--rate: a burst below {} makes /nick and /join wait", bounds::MEMBERSHIP_COST_LINES);
    }
    Ok(Config {
        format: match arguments.format {
            FormatArgument::Line => Format::Line,
            FormatArgument::Classic => Format::Classic,
            FormatArgument::Raw => Format::Raw,
            FormatArgument::Ack => Format::Ack,
        },
        unnamed: match arguments.names {
            Some(NamesArgument::Address) => Unnamed::Address,
            Some(NamesArgument::Guest) => Unnamed::Guest,
            None => unnamed_at(&arguments.listen),
        },
        echo: !arguments.no_echo,
        plain: arguments.plain,
        notices: !arguments.quiet,
        notice_members_max: arguments.notice_members,
        motd: surroundings.motd.clone(),
        history_messages: arguments.history as u64,
        slow: arguments.slow,
        log_bytes_max: log_bytes,
        line_bytes_max: max_line,
        private_bytes_max: private_bytes,
        clients_max: service::clients_max(arguments.max_clients, surroundings.descriptors)?,
        clients_per_ip_max: arguments.max_per_ip,
        connect_rate: connect_rate(arguments),
        rooms_max: rooms,
        rooms_per_client_max: arguments.max_rooms_per_client,
        rate,
        idle_max: (!arguments.idle.is_zero()).then_some(arguments.idle),
        coalesce: arguments.coalesce,
        drain: arguments.drain,
        time_zone: surroundings.time_zone.clone(),
        console_prompt: surroundings.console_prompt,
    })
}

/// What people without a nick are called where a server listens on these addresses, or on its default if there
/// is none: addresses are no secret among those who share a machine.
pub(super) fn unnamed_at(addresses: &[Address]) -> Unnamed {
    if addresses.iter().all(Address::is_local) { Unnamed::Address } else { Unnamed::Guest }
}

/// Whoever lets more in from one address lets them come back at once, too.
fn connect_rate(arguments: &Arguments) -> Option<ConnectRate> {
    let (connects_per_minute, burst) = arguments.connect_rate.0?;
    let per_ip = u32::try_from(arguments.max_per_ip).unwrap_or(u32::MAX);
    Some(ConnectRate {
        connects_per_minute,
        burst_connects: burst.unwrap_or(bounds::CONNECT_BURST.max(per_ip)),
        addresses_max: bounds::CONNECT_ADDRESSES_MAX,
    })
}

/// The longest line: as was asked for, if the log holds its record, or else as long as the log allows.
fn line_bytes_max(wanted: Option<usize>, log_bytes: usize) -> Result<usize, String> {
    let (least, most) = bounds::LINE_BYTES_RANGE.into_inner();
    let log_bytes_min = bounds::record_bytes_max(wanted.unwrap_or(least));
    if wanted.is_some_and(|wanted| !bounds::LINE_BYTES_RANGE.contains(&wanted)) {
        return Err(format!("--max-line {}: {least} to {most} bytes", wanted.unwrap_or_default()));
    }
    if log_bytes < log_bytes_min {
        let advice = if wanted.is_some() { ", or a smaller --max-line" } else { "" };
        return Err(format!(
            "--log-bytes {log_bytes}: at least {log_bytes_min}, for the longest line{advice}"
        ));
    }
    Ok(wanted.unwrap_or_else(|| bounds::LINE_BYTES_MAX.min(bounds::line_bytes_fitting(log_bytes))))
}
