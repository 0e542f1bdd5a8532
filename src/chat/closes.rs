//! The last closes, newcomers that were refused among them: who, why, by which limit, by how much, and what an
//! operator could change.
//!
//! A ring of bounded entries. All refusals of one address for one reason are one entry with a number, for a flood
//! of them, even out of several addresses by turns, would push out all that an operator looks for.

use std::collections::VecDeque;
use std::fmt;

use crate::engine::{AddressBlock, ConnectionId, Peer, Reason};
use crate::limits;

use super::limit::Limit;
use super::render;
use super::session::{Session, write_address};

/// A limit that ended a connection, and the value by which it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// Which.
    pub limit: Limit,
    /// In the unit of what was measured, which [`Met`] shows.
    pub value: u64,
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value;
        match self.limit {
            Limit::Clients => write!(f, "one more than {}", render::count(value, "client")),
            Limit::Descriptors => f.write_str("no descriptor is left"),
            Limit::ClientsPerIp => write!(f, "{} from its address", render::count(value, "connection")),
            Limit::ConnectRate => write!(f, "{value} s too early"),
            Limit::Idle => write!(f, "silent for {value} s"),
            Limit::Slow => write!(f, "{} behind", render::bytes(value)),
            Limit::Linger | Limit::Drain => write!(f, "{} not taken", render::bytes(value)),
            _ => write!(f, "{value} {}", self.limit.unit()),
        }
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Why it was closed, or not let in.
    pub reason: Reason,
    /// The limit that caused it, if one did.
    pub met: Option<Met>,
    /// What it did not take of its last bytes, where that is not the reason.
    pub not_taken: Option<Met>,
}

impl End {
    /// The limits that were met, the one that caused it first.
    pub fn limits(&self) -> impl Iterator<Item = Met> {
        self.met.into_iter().chain(self.not_taken)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        for (index, met) in self.limits().enumerate() {
            write!(f, "{} {met} ({})", if index == 0 { ':' } else { ',' }, met.limit)?;
        }
        Ok(())
    }
}

/// What is remembered of one close, or of several refusals alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The connection's number, which a refused newcomer has not.
    pub serial: Option<u32>,
    /// Its nick, or what it was called without one, where that was no address.
    pub name: Option<Box<str>>,
    /// The far end; unknown of one for whom no descriptor was left.
    pub peer: Option<Peer>,
    /// Why.
    pub end: End,
    /// When, in seconds since 1970.
    pub unix_s: i64,
    /// How many refusals alike it stands for.
    pub times: u64,
}

impl Close {
    /// Of a client.
    #[must_use]
    pub fn of(session: &Session, end: End, unix_s: i64) -> Self {
        Close {
            serial: Some(session.id.serial()),
            name: session.given_name(),
            peer: Some(session.peer),
            end,
            unix_s,
            times: 1,
        }
    }

    /// Of so many newcomers who were not let in.
    #[must_use]
    pub fn refused(peer: Option<Peer>, reason: Reason, met: Met, unix_s: i64, times: u64) -> Self {
        let end = End { reason, met: Some(met), not_taken: None };
        Close { serial: None, name: None, peer, end, unix_s, times }
    }

    /// By how much which limits were met, if any was.
    #[must_use]
    pub fn measured(&self) -> Option<String> {
        let measured: Vec<String> = self.end.limits().map(|met| met.to_string()).collect();
        (!measured.is_empty()).then(|| measured.join(", "))
    }

    /// Where it came from.
    #[must_use]
    pub fn address(&self) -> String {
        let mut address = String::new();
        match (self.peer, self.serial) {
            (None, _) => address.push('-'),
            (Some(Peer::Unix), None) => address.push_str("unix"),
            (Some(peer), serial) => {
                let id = ConnectionId::new(0, serial.unwrap_or_default());
                // A String takes all that is written to it.
                let _ = write_address(&mut address, peer, id);
            }
        }
        address
    }

    /// Whether it is the same refusal again. No two clients are alike.
    fn is_like(&self, other: &Close) -> bool {
        let host = |close: &Close| match close.peer {
            Some(Peer::Inet(ip, _)) => Some(ip),
            _ => None,
        };
        // As the limits count: a /64 is one address. Who is exempt from them is told apart by the address.
        let block = |close: &Close| close.peer.and_then(AddressBlock::of);
        self.serial == other.serial
            && self.end.reason == other.end.reason
            && block(self) == block(other)
            && (block(self).is_some() || host(self) == host(other))
    }
}

/// The last closes, the newest last.
#[derive(Debug, Default)]
pub struct Closes(VecDeque<Close>);

impl Closes {
    /// Remembers one more, and forgets the oldest where there are as many as are kept.
    pub fn push(&mut self, close: Close) {
        let is_refusal = close.serial.is_none();
        let like = if is_refusal { self.0.iter().rposition(|kept| kept.is_like(&close)) } else { None };
        if like.is_none() && self.0.len() == limits::CLOSES_KEPT_MAX {
            self.0.pop_front();
        }
        let before = like.and_then(|at| self.0.remove(at)).map_or(0, |kept| kept.times);
        self.0.push_back(Close { times: before + close.times, ..close });
    }

    /// All of them, the newest last.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Close> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(port: u16, host: u8) -> Close {
        let peer = Peer::Inet([192, 0, 2, host].into(), port);
        let met = Met { limit: Limit::ClientsPerIp, value: 65 };
        Close::refused(Some(peer), Reason::AddressFull, met, 0, 1)
    }

    #[test]
    fn a_flood_of_refusals_of_one_address_is_one_entry() {
        let mut closes = Closes::default();
        for port in 1..=1000 {
            closes.push(refused(port, 1));
        }
        closes.push(refused(1, 2));
        let kept: Vec<(String, u64)> = closes.iter().map(|close| (close.address(), close.times)).collect();
        assert_eq!(kept, [("192.0.2.1:1000".into(), 1000), ("192.0.2.2:1".into(), 1)]);
    }

    #[test]
    fn refusals_of_addresses_that_take_turns_are_one_entry_each_and_a_64_is_one_address() {
        let mut closes = Closes::default();
        closes.push(Close { serial: Some(1), ..refused(1, 9) });
        for round in 0..1000 {
            closes.push(refused(round, 1));
            closes.push(refused(round, 2));
            let peer = Some(Peer::Inet([0x2001, 0xdb8, 0, 0, 0, 0, 0, round].into(), 5000));
            closes.push(Close { peer, ..refused(round, 3) });
        }
        let kept: Vec<(Option<u32>, u64)> = closes.iter().map(|close| (close.serial, close.times)).collect();
        assert_eq!(kept, [(Some(1), 1), (None, 1000), (None, 1000), (None, 1000)]);
        let newest = closes.iter().last().expect("there are four");
        assert_eq!(newest.address(), "[2001:db8::3e7]:5000");
    }

    #[test]
    fn the_last_hundred_are_kept() {
        let mut closes = Closes::default();
        for serial in 0..1000 {
            closes.push(Close { serial: Some(serial), ..refused(1, 1) });
        }
        let serials: Vec<Option<u32>> = closes.iter().map(|close| close.serial).collect();
        assert_eq!(serials.len(), limits::CLOSES_KEPT_MAX);
        assert_eq!(serials.last(), Some(&Some(999)));
    }
}
