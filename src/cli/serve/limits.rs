//! The limits of a server that is about to be: derived from `--max-memory`, shown by `--show-limits`, and the
//! memory that follows from them.
//!
//! There is one formula for that, [`parts`]; what is derived is found by asking it. It is linear in clients and
//! rooms, so the cost of one more of either is a difference.

use std::fmt::Write as _;
use std::time::Duration;

use crate::chat;
use crate::chat::config::{Config, ConnectRate, Rate, SlowPolicy};
use crate::chat::limit::Limit;
use crate::chat::render;
use crate::event_loop;
use crate::event_loop::io::Stream;
use crate::limits;
use crate::memory::{self, Part};
use crate::recording::Recorded;

use crate::cli::service;

/// Logs, from which `--max-memory` takes the largest with which there are [`ROOMS_WANTED`] rooms in a quarter.
const LOG_BYTES: [usize; 6] = [limits::LOG_BYTES_MAX, 512 << 10, 256 << 10, 128 << 10, 64 << 10, 32 << 10];
const ROOMS_WANTED: u64 = 16;

/// Replies, from which it takes the largest with which there are [`CLIENTS_WANTED`] clients in the rest.
const PRIVATE_BYTES: [usize; 3] = [limits::PRIVATE_BYTES_MAX, 8 << 10, 4 << 10];
const CLIENTS_WANTED: u64 = 1000;

/// Bytes of a page of figures with its head, while it is made and copied.
const STATS_PAGE_BYTES_MAX: usize = 64 << 10;

/// A server's limits, and where they are from.
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) descriptors: u64,
    pub(super) unsent_bytes: usize,
    pub(super) linger: Duration,
    /// What the server holds beside the chat and its loop.
    pub(super) beside: Vec<Part>,
    /// `--record-bytes`.
    pub(super) recording_bytes_max: u64,
    /// `--max-memory`.
    pub(super) memory_bytes_max: Option<u64>,
    /// The flags of limits that the operator gave.
    pub(super) given: Vec<&'static str>,
}

/// All that a server with this configuration, and what is `beside` it, can hold, the kernel's buffers apart.
pub(super) fn parts(config: &Config, beside: &[Part]) -> Vec<Part> {
    let input_bytes_max = chat::memory::input_bytes_max(config);
    // The operator is a connection, too, and so are those who read --stats.
    let connections_max = config.clients_max + 1 + limits::STATS_VISITORS_MAX;
    // A stream that is recorded is the larger one.
    let of_loop = event_loop::memory::parts::<Recorded<Stream>>(connections_max, input_bytes_max);
    let visitors = Part::new("pages of --stats", limits::STATS_VISITORS_MAX, STATS_PAGE_BYTES_MAX);
    let program = Part::new("the program itself", 1, limits::PROGRAM_BYTES);
    let rest = beside.iter().copied().chain([visitors, program]);
    chat::memory::parts(config).into_iter().chain(of_loop).chain(rest).collect()
}

fn bytes_max(config: &Config, beside: &[Part]) -> u64 {
    memory::bytes_max(&parts(config, beside))
}

/// What one more client, and one more room, can come to hold; and what is there without any.
fn costs(config: &Config, beside: &[Part]) -> (u64, u64, u64) {
    let with =
        |clients_max, rooms_max| bytes_max(&Config { clients_max, rooms_max, ..config.clone() }, beside);
    // A client can be in no more rooms than there are, so those are there before it.
    let rooms_max = config.rooms_per_client_max.min(config.rooms_max);
    let client_bytes = with(1, rooms_max) - with(0, rooms_max);
    (client_bytes, with(0, 1) - with(0, 0), with(0, 0))
}

impl Settings {
    /// Derives from `--max-memory` what was not given: a quarter for rooms, or less where the clients need it,
    /// the rest for clients.
    ///
    /// # Errors
    /// Where what was given cannot hold in it, or it is too little for anybody.
    pub(super) fn divide_memory(&mut self) -> Result<(), String> {
        let Some(budget) = self.memory_bytes_max else { return Ok(()) };
        let clients_given = self.is_given("--max-clients").then_some(self.config.clients_max as u64);
        let rooms_given = self.is_given("--max-rooms").then_some(self.config.rooms_max as u64);
        let descriptors_allow = self.config.clients_max as u64;
        let all_log_bytes = self.choices("--log-bytes", &LOG_BYTES, self.config.log_bytes_max);
        let all_private_bytes =
            self.choices("--private-bytes", &PRIVATE_BYTES, self.config.private_bytes_max);
        self.config.private_bytes_max = all_private_bytes.last().copied().unwrap_or_default();
        let least = Config {
            log_bytes_max: all_log_bytes.last().copied().unwrap_or_default(),
            rooms_max: rooms_given.unwrap_or(1) as usize,
            clients_max: clients_given.unwrap_or(1) as usize,
            ..self.config.clone()
        };
        if bytes_max(&least, &self.beside) > budget {
            return Err(self.too_little(budget, &least));
        }
        let beside = self.beside.clone();
        let rooms_fit = |config: &Config| {
            let (client_bytes, room_bytes, rest_bytes) = costs(config, &beside);
            let left = budget.saturating_sub(rest_bytes);
            let without_clients =
                left.saturating_sub(client_bytes.saturating_mul(clients_given.unwrap_or(1)));
            let for_rooms =
                if clients_given.is_some() { without_clients } else { without_clients.min(left / 4) };
            for_rooms / room_bytes
        };
        for log_bytes_max in all_log_bytes {
            self.config.log_bytes_max = log_bytes_max;
            if rooms_fit(&self.config) >= rooms_given.unwrap_or(ROOMS_WANTED) {
                break;
            }
        }
        let rooms = rooms_given.unwrap_or(rooms_fit(&self.config).clamp(1, limits::ROOMS_MAX as u64));
        self.config.rooms_max = rooms as usize;
        let clients_fit = |config: &Config| {
            let (client_bytes, ..) = costs(config, &beside);
            let without_clients = Config { clients_max: 0, ..config.clone() };
            budget.saturating_sub(bytes_max(&without_clients, &beside)) / client_bytes
        };
        for private_bytes_max in all_private_bytes {
            self.config.private_bytes_max = private_bytes_max;
            if clients_fit(&self.config) >= clients_given.unwrap_or(CLIENTS_WANTED.min(descriptors_allow)) {
                break;
            }
        }
        let clients = clients_given.unwrap_or(clients_fit(&self.config).clamp(1, descriptors_allow));
        self.config.clients_max = clients as usize;
        debug_assert!(bytes_max(&self.config, &self.beside) <= budget);
        Ok(())
    }

    fn is_given(&self, flag: &str) -> bool {
        self.given.contains(&flag)
    }

    /// What a flag leaves to choose from, the largest first.
    fn choices(&self, flag: &str, all: &[usize], given: usize) -> Vec<usize> {
        if self.is_given(flag) {
            return vec![given];
        }
        let is_log = flag == "--log-bytes";
        let least = if is_log { limits::record_bytes_max(self.config.line_bytes_max) } else { 0 };
        let fitting: Vec<usize> = all.iter().copied().filter(|bytes| *bytes >= least).collect();
        if fitting.is_empty() { vec![least] } else { fitting }
    }

    /// The complaint that not even the `least` that was asked for can hold.
    fn too_little(&self, budget: u64, least: &Config) -> String {
        let needed = bytes_max(least, &self.beside);
        let given: Vec<&str> = [
            "--max-clients",
            "--max-rooms",
            "--max-rooms-per-client",
            "--max-line",
            "--log-bytes",
            "--private-bytes",
        ]
        .into_iter()
        .filter(|flag| self.is_given(flag))
        .collect();
        let clients = render::count(least.clients_max as u64, "client");
        let rooms = render::count(least.rooms_max as u64, "room");
        let remedy = match given[..] {
            [] => String::new(),
            _ => format!(", or ask for less with {}", given.join(", ")),
        };
        format!(
            "--max-memory {}: too little: {clients} in {rooms} can come to hold {}; allow {}M{remedy} (--show-limits \
             without --max-memory tells what costs how much)",
            render::bytes(budget),
            render::bytes(needed),
            needed.div_ceil(1 << 20)
        )
    }

    /// One line for the log.
    pub(super) fn summary(&self) -> String {
        let bytes = render::bytes(bytes_max(&self.config, &self.beside));
        let clients = render::count(self.config.clients_max as u64, "client");
        let rooms = render::count(self.config.rooms_max as u64, "room");
        match self.memory_bytes_max {
            Some(_) => format!("memory: room for about {clients} in {rooms}: {bytes} at most"),
            None => {
                format!("memory: {bytes} at most, with {clients} in {rooms} (--show-limits, --max-memory)")
            }
        }
    }

    /// The page of `--show-limits`: a table of limits, one of memory, each in columns of single words but the
    /// last one.
    pub(super) fn page(&self) -> String {
        let mut rows =
            vec![["limit", "value", "unit", "set-by", "flag", "what who meets it sees"].map(String::from)];
        for limit in Limit::ALL {
            rows.push([
                limit.name().into(),
                self.value(limit),
                limit.unit().into(),
                self.set_by(limit).into(),
                limit.flag().unwrap_or("-").into(),
                limit.seen().into(),
            ]);
        }
        rows.push([
            "record_bytes".into(),
            self.recording_bytes_max.to_string(),
            "bytes".into(),
            if self.is_given(RECORD_BYTES) { "flag" } else { "default" }.into(),
            RECORD_BYTES.into(),
            "nothing: the recording ends, the server goes on".into(),
        ]);
        for (name, value, unit, seen) in FIXED {
            let row = [name, &value.to_string(), unit, "fixed", "-", seen];
            rows.push(row.map(String::from));
        }
        let mut text = aligned(&rows);
        let parts = parts(&self.config, &self.beside);
        let row = |part: &Part| {
            let [bytes, count, each] = [part.bytes(), part.count, part.bytes_each];
            [bytes.to_string(), count.to_string(), each.to_string(), part.what.into()]
        };
        let mut rows = vec![["bytes", "count", "each", "memory"].map(String::from)];
        rows.extend(parts.iter().map(row));
        let bytes = memory::bytes_max(&parts);
        let (client_bytes, ..) = costs(&self.config, &self.beside);
        let (all, one) = (render::bytes(bytes), render::bytes(client_bytes));
        let sum = format!("at most: {all}, of which one more client is {one}");
        rows.push([bytes.to_string(), "-".into(), "-".into(), sum]);
        rows.extend(self.kernel_parts().iter().map(row));
        let _ = write!(text, "\n{}", aligned(&rows));
        if self.memory_bytes_max.is_some() {
            let clients = render::count(self.config.clients_max as u64, "client");
            let _ = writeln!(text, "\nroom for about {clients}");
        }
        text
    }

    /// What the kernel's send buffers can take beside it, if every client is of that kind. Receive buffers are
    /// the kernel's own affair.
    fn kernel_parts(&self) -> [Part; 3] {
        let clients = self.config.clients_max;
        // The kernel looks whether the buffer is full before it begins a part.
        let unix_bytes =
            2 * limits::UNIX_SEND_BUFFER_PER_UNSENT * self.unsent_bytes + limits::SEGMENT_BYTES_MAX;
        [
            Part::new(
                "beside it in the kernel: TCP clients that do not read",
                clients,
                limits::stalled_bytes_max(self.unsent_bytes),
            ),
            Part::new("the same: clients of Unix sockets that do not read", clients, unix_bytes),
            Part::new(
                "the same: TCP clients that acknowledge nothing; receive buffers are its own (tcp(7), tcp_rmem)",
                clients,
                limits::MUTE_BYTES_MAX,
            ),
        ]
    }

    fn set_by(&self, limit: Limit) -> &'static str {
        let derives = [Limit::Clients, Limit::Rooms, Limit::PrivateBytes, Limit::ReaderLag, Limit::LogSpace];
        match limit.flag() {
            None if limit == Limit::Descriptors => "system",
            None => "fixed",
            Some(flag) if self.is_given(flag) => "flag",
            Some(_)
                if self.memory_bytes_max.is_some() && derives.contains(&limit) && !self.is_most(limit) =>
            {
                "max-memory"
            }
            Some(_) if limit == Limit::Clients => "descriptors",
            Some(_) if limit == Limit::LineBytes && self.config.line_bytes_max != limits::LINE_BYTES_MAX => {
                "log-bytes"
            }
            Some(_) => "default",
        }
    }

    /// Whether something that `--max-memory` derives is as it would be without.
    fn is_most(&self, limit: Limit) -> bool {
        match limit {
            Limit::Clients => service::clients_max(None, self.descriptors) == Ok(self.config.clients_max),
            Limit::Rooms => self.config.rooms_max == limits::ROOMS_MAX,
            Limit::PrivateBytes => self.config.private_bytes_max == limits::PRIVATE_BYTES_MAX,
            _ => self.config.log_bytes_max == limits::LOG_BYTES_MAX,
        }
    }

    fn value(&self, limit: Limit) -> String {
        let config = &self.config;
        let seconds = |duration: Duration| duration.as_secs_f64().to_string();
        match limit {
            Limit::Clients => config.clients_max.to_string(),
            Limit::Descriptors => self.descriptors.to_string(),
            Limit::ClientsPerIp => config.clients_per_ip_max.to_string(),
            Limit::ConnectRate => match config.connect_rate {
                Some(ConnectRate { connects_per_minute, burst_connects, .. }) => {
                    format!("{connects_per_minute}:{burst_connects}")
                }
                None => "off".into(),
            },
            Limit::LineBytes => config.line_bytes_max.to_string(),
            Limit::Rate => match config.rate {
                Some(Rate { lines_per_second, burst_lines }) => format!("{lines_per_second}:{burst_lines}"),
                None => "off".into(),
            },
            Limit::Rooms => config.rooms_max.to_string(),
            Limit::RoomsPerClient => config.rooms_per_client_max.to_string(),
            Limit::NickBytes => limits::NICK_BYTES_MAX.to_string(),
            Limit::RoomNameBytes => limits::ROOM_NAME_BYTES_MAX.to_string(),
            Limit::Listed => limits::LISTED_MAX.to_string(),
            Limit::NoticeMembers => config.notice_members_max.to_string(),
            Limit::PrivateBytes => config.private_bytes_max.to_string(),
            Limit::ConsoleBytes => limits::OPERATOR_PRIVATE_BYTES_MAX.to_string(),
            Limit::SkippedSpans => limits::SKIPPED_SPANS_MAX.to_string(),
            Limit::Unsent => self.unsent_bytes.to_string(),
            Limit::ReaderLag | Limit::LogSpace => config.log_bytes_max.to_string(),
            Limit::Slow => match config.slow {
                SlowPolicy::Skip => "skip".into(),
                SlowPolicy::Close => "close".into(),
                SlowPolicy::Wait(patience) => format!("wait:{}", seconds(patience)),
            },
            Limit::Idle => config.idle_max.map_or_else(|| "off".into(), seconds),
            Limit::Linger => seconds(self.linger),
            Limit::Drain => seconds(config.drain),
        }
    }
}

/// The flag of the limit that is no client's affair, and so no [`Limit`].
pub(super) const RECORD_BYTES: &str = "--record-bytes";

/// What the loop, the log, the start and what is beside the chat are bounded by, which nobody can set and no
/// client is told of.
const FIXED: [(&str, usize, &str, &str); 21] = [
    (
        "connect_addresses",
        limits::CONNECT_ADDRESSES_MAX,
        "addresses",
        "nothing: of those counted for --connect-rate, the one that came least is forgotten",
    ),
    ("accepts_per_turn", limits::ACCEPTS_PER_TURN_MAX, "connections", "nothing: it waits for the next turn"),
    ("reads_per_turn", limits::READS_PER_TURN_MAX, "reads", "nothing: it waits for the next turn"),
    (
        "client_reads_per_turn",
        limits::CONNECTION_READS_PER_TURN_MAX,
        "reads",
        "nothing: it waits for the next turn",
    ),
    (
        "client_writes_per_turn",
        limits::CONNECTION_WRITES_PER_TURN_MAX,
        "writes",
        "nothing: it waits for the next turn",
    ),
    ("flushes_per_turn", limits::FLUSHES_PER_TURN_MAX, "clients", "nothing: it waits for the next turn"),
    (
        "walk_flushes_per_turn",
        limits::WALK_FLUSHES_PER_TURN_MAX,
        "clients",
        "nothing: it waits for the next turn",
    ),
    (
        "tcp_send_buffer",
        limits::TCP_SEND_BUFFER_BYTES,
        "bytes",
        "nothing: the rest waits in the room's log; only a peer that acknowledges nothing fills it",
    ),
    ("announcement_bytes", limits::ANNOUNCEMENT_BYTES_MAX, "bytes", "nothing: its new name waits"),
    (
        "log_lines",
        limits::LOG_LINES_PER_WINDOW as usize,
        "lines/10s",
        "nothing: the log says how many were left out",
    ),
    ("motd_bytes", limits::MOTD_BYTES_MAX, "bytes", "nothing: the server does not start"),
    (
        "stats_visitors",
        limits::STATS_VISITORS_MAX,
        "connections",
        "HTTP's 503 in place of the figures (--stats)",
    ),
    (
        "stats_patience",
        limits::STATS_PATIENCE.as_secs() as usize,
        "seconds",
        "who asks for the figures, HTTP's 408; who takes them, a reset, or their end",
    ),
    (
        "recorded_addresses",
        limits::RECORDED_ADDRESSES_MAX as usize,
        "addresses",
        "nothing: a recording with --redact has one number for all others",
    ),
    (
        "recorded_zone_bytes",
        limits::ZONE_FILE_BYTES_MAX,
        "bytes",
        "nothing: the server does not start to --record, in a time zone without a name",
    ),
    ("closes_kept", limits::CLOSES_KEPT_MAX, "closes", "nothing: the console's `closed` forgets the oldest"),
    (
        "kick_reason_bytes",
        limits::KICK_REASON_BYTES_MAX,
        "bytes",
        "nothing: the operator is told, and nobody is kicked",
    ),
    (
        "keepalive_idle",
        limits::KEEPALIVE_IDLE.as_secs() as usize,
        "seconds",
        "nothing: its machine is asked whether it is still there",
    ),
    (
        "keepalive_interval",
        limits::KEEPALIVE_INTERVAL.as_secs() as usize,
        "seconds",
        "nothing: it is asked again",
    ),
    (
        "keepalive_probes",
        limits::KEEPALIVE_PROBES as usize,
        "questions",
        "nothing: it has gone, or its network",
    ),
    (
        "stop_linger",
        limits::STOP_LINGER.as_millis() as usize,
        "milliseconds",
        "nothing: it got all, and is silent; the server ends without its own end",
    ),
];

/// Columns as wide as their widest cell; the last one has no end.
fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (cell, width) in row.iter().zip(&widths).take(COLUMNS - 1) {
            let _ = write!(text, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", row[COLUMNS - 1]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With these limits given, and as many descriptors as clients.
    fn settings(memory_bytes_max: u64, given: &[(&'static str, usize)]) -> Settings {
        let value = |flag, default| {
            given.iter().find(|(known, _)| *known == flag).map_or(default, |(_, value)| *value)
        };
        let config = Config {
            clients_max: value("--max-clients", 20_000),
            rooms_max: value("--max-rooms", limits::ROOMS_MAX),
            log_bytes_max: value("--log-bytes", limits::LOG_BYTES_MAX),
            private_bytes_max: value("--private-bytes", limits::PRIVATE_BYTES_MAX),
            rooms_per_client_max: value("--max-rooms-per-client", limits::ROOMS_PER_CLIENT_MAX),
            ..Config::default()
        };
        Settings {
            config,
            descriptors: 20_000 + limits::RESERVED_DESCRIPTORS,
            unsent_bytes: limits::UNSENT_BYTES,
            linger: limits::LINGER,
            beside: Vec::new(),
            recording_bytes_max: limits::RECORDING_BYTES_MAX,
            memory_bytes_max: Some(memory_bytes_max),
            given: given.iter().map(|(flag, _)| *flag).collect(),
        }
    }

    #[test]
    fn what_is_advised_is_enough_and_what_is_divided_is_no_more_than_there_is() {
        let flags: [(&str, &[usize]); 5] = [
            ("--max-clients", &[1, 5, 100, 1000, 15_000]),
            ("--max-rooms", &[1, 2, 17, 100, 5000, 1 << 20]),
            ("--log-bytes", &[20 << 10, 32 << 10, 1 << 20, 100 << 20]),
            ("--private-bytes", &[1024, 16 << 10, 1 << 20, 40 << 20, 1 << 30]),
            ("--max-rooms-per-client", &[1, 20, 1000, usize::MAX]),
        ];
        let mut complaints = 0;
        // Each flag as one of its values or not given, like the digits of a number.
        let combinations: usize = flags.iter().map(|(_, values)| values.len() + 1).product();
        for combination in 0..combinations {
            let mut rest = combination;
            let mut given = Vec::new();
            for (flag, values) in flags {
                given.extend(values.get(rest % (values.len() + 1)).map(|value| (flag, *value)));
                rest /= values.len() + 1;
            }
            for megabytes in [13, 20, 40, 300, 2048] {
                let budget = megabytes << 20;
                let mut first = settings(budget, &given);
                let Err(complaint) = first.divide_memory() else {
                    assert!(bytes_max(&first.config, &[]) <= budget, "{megabytes}M {given:?}");
                    continue;
                };
                complaints += 1;
                let advised = complaint.split("allow ").nth(1).and_then(|rest| rest.split('M').next());
                let advised: u64 = advised.expect("a number").parse().expect("a number");
                let mut second = settings(advised << 20, &given);
                assert_eq!(second.divide_memory(), Ok(()), "{given:?}: {complaint}");
                assert!(bytes_max(&second.config, &[]) <= advised << 20, "{advised}M {given:?}");
            }
        }
        assert!(complaints > 1000, "{complaints}");
    }

    #[test]
    fn what_memory_does_not_make_less_is_set_by_what_it_is_set_by_without() {
        let set_by = |megabytes: u64| {
            let mut settings = settings(megabytes << 20, &[]);
            settings.divide_memory().expect("room for somebody");
            [Limit::Clients, Limit::Rooms, Limit::PrivateBytes, Limit::LogSpace]
                .map(|limit| settings.set_by(limit))
        };
        assert_eq!(set_by(20), ["max-memory"; 4]);
        assert_eq!(set_by(10 << 10), ["descriptors", "default", "default", "default"]);
    }
}
