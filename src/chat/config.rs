//! What an operator can choose, checked: nothing here can contradict itself any more.

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::codec::line::Dialect;
use crate::limits;

/// How a message is rendered for the members of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `2026/11/21 10:00:00 NAME: text`
    Line,
    /// `2026/11/21 10:00:00 NAME`, then the text on a line of its own.
    Classic,
    /// The client's line, byte for byte, and nothing else.
    Raw,
    /// `ack TEXT`
    Ack,
}

/// What a client without a nick is called, in every format and by everyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// By its address, which everyone sees.
    Address,
    /// `guest-1`, `guest-2`, ...: its address is the operator's to see, and its own.
    Guest,
}

/// What happens to a member whose unread part falls off the tail of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowPolicy {
    /// It goes on at the oldest kept message, and is told how many it missed.
    Skip,
    /// It is closed.
    Close,
    /// Whoever sends to the room waits, at most this long; then it is closed.
    Wait(Duration),
}

/// A client's lines a second, and how many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Lines a second in the long run; at least 1.
    pub lines_per_second: u32,
    /// Lines at once after a silence; at least 1.
    pub burst_lines: u32,
}

/// Newcomers of one address in a minute, and how many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectRate {
    /// Newcomers a minute in the long run; at least 1.
    pub connects_per_minute: u32,
    /// Newcomers at once after a silence; at least 1.
    pub burst_connects: u32,
    /// Addresses that are counted at the same time; at least 1.
    pub addresses_max: usize,
}

/// The chat server's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// How messages are rendered.
    pub format: Format,
    /// What clients without a nick are called.
    pub unnamed: Unnamed,
    /// Whether a sender gets its own messages.
    pub echo: bool,
    /// Whether all commands but `quit` are off.
    pub plain: bool,
    /// Whether joins and leaves are announced at all.
    pub notices: bool,
    /// Members beyond which a room announces no joins and leaves.
    pub notice_members_max: usize,
    /// Shown to a newcomer after the greeting: cleaned lines, each with its end; may be empty.
    pub motd: String,
    /// Messages of history shown to a newcomer.
    pub history_messages: u64,
    /// What happens to slow readers.
    pub slow: SlowPolicy,
    /// Bytes of records that a room keeps; at least one record of the longest line.
    pub log_bytes_max: usize,
    /// Bytes of a line without its end.
    pub line_bytes_max: usize,
    /// Bytes of replies that wait for a client, beyond which its lines wait too.
    pub private_bytes_max: usize,
    /// Clients at the same time.
    pub clients_max: usize,
    /// Clients from one address; loopback and Unix sockets are exempt.
    pub clients_per_ip_max: usize,
    /// Newcomers from one address; loopback and Unix sockets are exempt. `None`: as many as come.
    pub connect_rate: Option<ConnectRate>,
    /// Rooms at the same time.
    pub rooms_max: usize,
    /// Rooms that a client is in at the same time.
    pub rooms_per_client_max: usize,
    /// Back-pressure on senders; `None`: off.
    pub rate: Option<Rate>,
    /// Silence after which a client is closed; `None`: never.
    pub idle_max: Option<Duration>,
    /// How long paced messages may wait for others to share a system call with.
    pub coalesce: Duration,
    /// How long the end waits for everyone to take what is due to them.
    pub drain: Duration,
    /// The zone of the timestamps that people see.
    pub time_zone: TimeZone,
    /// Whether the console prints a prompt.
    pub console_prompt: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            format: Format::Line,
            unnamed: Unnamed::Address,
            echo: true,
            plain: false,
            notices: true,
            notice_members_max: limits::NOTICE_MEMBERS_MAX,
            motd: String::new(),
            history_messages: limits::HISTORY_MESSAGES as u64,
            slow: SlowPolicy::Skip,
            log_bytes_max: limits::LOG_BYTES_MAX,
            line_bytes_max: limits::LINE_BYTES_MAX,
            private_bytes_max: limits::PRIVATE_BYTES_MAX,
            clients_max: 1024,
            clients_per_ip_max: limits::CLIENTS_PER_IP_MAX,
            connect_rate: Some(ConnectRate {
                connects_per_minute: limits::CONNECTS_PER_MINUTE,
                burst_connects: limits::CONNECT_BURST,
                addresses_max: limits::CONNECT_ADDRESSES_MAX,
            }),
            rooms_max: limits::ROOMS_MAX,
            rooms_per_client_max: limits::ROOMS_PER_CLIENT_MAX,
            rate: Some(Rate {
                lines_per_second: limits::RATE_LINES_PER_SECOND,
                burst_lines: limits::RATE_BURST_LINES,
            }),
            idle_max: None,
            coalesce: Duration::ZERO,
            drain: limits::DRAIN,
            time_zone: TimeZone::UTC,
            console_prompt: false,
        }
    }
}

/// Whether the members of a room are told who joins, leaves and has another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notices {
    /// Nobody is ever told, or nobody is there.
    Off,
    /// They are too many for it.
    TooMany,
    /// They are told.
    Told,
}

impl Config {
    /// Whether only the clients' own lines are sent: no greeting, notices, history marks or replies.
    /// A gap in what a slow reader gets is still told, for nothing is lost silently.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        self.format == Format::Raw
    }

    /// What becomes of joins, leaves and renames in a room of so many people.
    #[must_use]
    pub fn notices_for(&self, people: usize) -> Notices {
        if !self.notices || self.is_raw() {
            Notices::Off
        } else if people > self.notice_members_max {
            Notices::TooMany
        } else {
            Notices::Told
        }
    }

    /// Whether lines that begin with a slash are commands.
    #[must_use]
    pub fn has_commands(&self) -> bool {
        !self.plain && !self.is_raw()
    }

    /// How the bytes of clients are cut into lines.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self.has_commands() {
            true => Dialect::Commands,
            false if self.is_raw() => Dialect::Raw,
            false => Dialect::Terminal,
        }
    }
}
