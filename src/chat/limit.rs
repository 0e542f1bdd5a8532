//! Every limit of the chat that somebody can meet, as one table: its name, its flag, its unit, and what who
//! meets it sees.
//!
//! It knows no numbers: the defaults are in [`limits`](crate::limits), what an operator chose in
//! [`Config`](super::config::Config). Its invariant: [`Limit::ALL`] is in the order of the discriminants,
//! so that [`LimitsMet`] counts by index.

use std::fmt;

/// A limit that was met, or can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// Clients at the same time.
    Clients,
    /// Descriptors that the system allows: the loop turns away whom it has none for.
    Descriptors,
    /// Clients from one address.
    ClientsPerIp,
    /// Newcomers a minute from one address.
    ConnectRate,
    /// Bytes of a line.
    LineBytes,
    /// Lines a second.
    Rate,
    /// Rooms at the same time.
    Rooms,
    /// Rooms that one client is in.
    RoomsPerClient,
    /// Bytes of a nick.
    NickBytes,
    /// Bytes of a room's name.
    RoomNameBytes,
    /// Names in an answer.
    Listed,
    /// Members beyond which a room announces nobody.
    NoticeMembers,
    /// Bytes of replies that wait for a client.
    PrivateBytes,
    /// The same for the operator.
    ConsoleBytes,
    /// Stretches of its own lines that a client is not sent.
    SkippedSpans,
    /// Bytes that wait unsent for a client in the kernel.
    Unsent,
    /// How far a reader may be behind in a room's log.
    ReaderLag,
    /// How much a room's log can take before those who keep up have it.
    LogSpace,
    /// What of a reader that is too slow is not put up with.
    Slow,
    /// Silence of a client.
    Idle,
    /// Time to take the last bytes.
    Linger,
    /// The same at the server's end.
    Drain,
}

/// A row of the table.
struct Row {
    name: &'static str,
    flag: Option<&'static str>,
    unit: &'static str,
    seen: &'static str,
}

const fn row(name: &'static str, flag: &'static str, unit: &'static str, seen: &'static str) -> Row {
    Row { name, flag: Some(flag), unit, seen }
}

/// A limit that no operator should need to set.
const fn fixed(name: &'static str, unit: &'static str, seen: &'static str) -> Row {
    Row { name, flag: None, unit, seen }
}

impl Limit {
    /// All limits, in the order of the table.
    pub const ALL: [Limit; 22] = [
        Limit::Clients,
        Limit::Descriptors,
        Limit::ClientsPerIp,
        Limit::ConnectRate,
        Limit::LineBytes,
        Limit::Rate,
        Limit::Rooms,
        Limit::RoomsPerClient,
        Limit::NickBytes,
        Limit::RoomNameBytes,
        Limit::Listed,
        Limit::NoticeMembers,
        Limit::PrivateBytes,
        Limit::ConsoleBytes,
        Limit::SkippedSpans,
        Limit::Unsent,
        Limit::ReaderLag,
        Limit::LogSpace,
        Limit::Slow,
        Limit::Idle,
        Limit::Linger,
        Limit::Drain,
    ];

    const fn row(self) -> Row {
        match self {
            Limit::Clients => row("clients", "--max-clients", "clients", "the server is full, and the end"),
            Limit::Descriptors => fixed("descriptors", "descriptors", "the server is full, and the end"),
            Limit::ClientsPerIp => row(
                "clients_per_ip",
                "--max-per-ip",
                "clients",
                "too many connections from its address, and the end",
            ),
            Limit::ConnectRate => row(
                "connect_rate",
                "--connect-rate",
                "connects/min",
                "in how many seconds to try again, and the end",
            ),
            Limit::LineBytes => row("line_bytes", "--max-line", "bytes", "that its line was not sent"),
            Limit::Rate => row("rate", "--rate", "lines/s", "nothing: its lines wait"),
            Limit::Rooms => row("rooms", "--max-rooms", "rooms", "that all rooms are taken"),
            Limit::RoomsPerClient => row(
                "rooms_per_client",
                "--max-rooms-per-client",
                "rooms",
                "that it is in as many rooms as it may",
            ),
            Limit::NickBytes => fixed("nick_bytes", "bytes", "that the name is too long"),
            Limit::RoomNameBytes => fixed("room_name_bytes", "bytes", "that the room's name is too long"),
            Limit::Listed => fixed("listed", "names", "how many others there are"),
            Limit::NoticeMembers => row(
                "notice_members",
                "--notice-members",
                "members",
                "no joins, nor leaves and renames of those who joined then",
            ),
            Limit::PrivateBytes => row(
                "private_bytes",
                "--private-bytes",
                "bytes",
                "nothing: its lines wait until it reads; a /msg to it is not delivered, and the sender told",
            ),
            Limit::ConsoleBytes => fixed("console_bytes", "bytes", "nothing: the operator's lines wait"),
            Limit::SkippedSpans => fixed("skipped_spans", "spans", "nothing: its lines wait until it reads"),
            Limit::Unsent => row("unsent", "--unsent", "bytes", "nothing: the rest waits in the room's log"),
            Limit::ReaderLag => {
                row("reader_lag", "--log-bytes", "bytes", "how many messages it missed, and what follows")
            }
            Limit::LogSpace => row(
                "log_space",
                "--log-bytes",
                "bytes",
                "nothing: its lines wait until those who keep up have what was said before",
            ),
            Limit::Slow => row("slow", "--slow", "policy", "that it read too slowly, and the end"),
            Limit::Idle => row("idle", "--idle", "seconds", "that it said nothing for so long, and the end"),
            Limit::Linger => {
                row("linger", "--linger", "seconds", "the end, over TCP a reset: the rest is lost")
            }
            Limit::Drain => row("drain", "--drain", "seconds", "the end, over TCP a reset: the rest is lost"),
        }
    }

    /// A short word, for tables and as a metric's label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// What an operator sets it with, if it can be set.
    #[must_use]
    pub const fn flag(self) -> Option<&'static str> {
        self.row().flag
    }

    /// What its number counts.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        self.row().unit
    }

    /// What an operator can change where it ended connections that should have gone on.
    #[must_use]
    pub const fn remedy(self) -> Option<&'static str> {
        match self {
            Limit::Clients => Some("raise --max-clients"),
            Limit::Descriptors => Some("raise ulimit -n, or lower --max-clients"),
            Limit::ClientsPerIp => Some("raise --max-per-ip, if many share the address"),
            Limit::ConnectRate => Some("raise --connect-rate, if many share the address"),
            Limit::Slow => Some("raise --log-bytes, or --slow skip"),
            Limit::Idle => Some("raise --idle"),
            Limit::Linger => Some("raise --linger"),
            Limit::Drain => Some("raise --drain"),
            _ => None,
        }
    }

    /// What a client sees that meets it.
    #[must_use]
    pub const fn seen(self) -> &'static str {
        self.row().seen
    }
}

impl fmt::Display for Limit {
    /// Its flag, or its name where it has none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.flag().unwrap_or(self.name()))
    }
}

/// How often each limit was met.
#[derive(Clone, Copy, Debug, Default)]
pub struct LimitsMet([u64; Limit::ALL.len()]);

impl LimitsMet {
    /// Counts that `limit` was met.
    pub fn count(&mut self, limit: Limit) {
        self.add(limit, 1);
    }

    /// Counts that `limit` was met so many times.
    pub fn add(&mut self, limit: Limit, times: u64) {
        self.0[limit as usize] += times;
    }

    /// How often `limit` was met.
    #[must_use]
    pub fn of(&self, limit: Limit) -> u64 {
        self.0[limit as usize]
    }

    /// All limits that were met, with how often.
    pub fn iter(&self) -> impl Iterator<Item = (Limit, u64)> {
        Limit::ALL.into_iter().zip(self.0).filter(|(_, times)| *times > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_limits_and_names_each_once() {
        for (index, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, index, "{limit:?}");
        }
        let names: BTreeSet<&str> = Limit::ALL.into_iter().map(Limit::name).collect();
        assert_eq!(names.len(), Limit::ALL.len());
        let is_label = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(names.iter().all(is_label), "{names:?}");
    }
}
