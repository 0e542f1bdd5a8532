//! Connecting again: which address is next, how long to pause, and what to ask for on arrival.

use std::time::Duration;

use crate::limits;

/// Pauses that double up to a bound, each shortened by chance to between half of that and all of it, so
/// that the clients of a server that restarts do not all come back at once.
#[derive(Debug)]
pub(super) struct Pauses {
    /// Pauses since the server was last there.
    count: u32,
    /// The state of a splitmix64 generator.
    random: u64,
}

impl Pauses {
    pub(super) fn new(seed: u64) -> Self {
        Pauses { count: 0, random: seed }
    }

    /// The server is there: the next loss is a new one.
    pub(super) fn reset(&mut self) {
        self.count = 0;
    }

    /// The next pause.
    pub(super) fn next(&mut self) -> Duration {
        let doubled = limits::RECONNECT_PAUSE_MIN.saturating_mul(1 << self.count.min(16));
        self.count = self.count.saturating_add(1);
        let half = doubled.min(limits::RECONNECT_PAUSE_MAX) / 2;
        half + half.mul_f64(self.fraction())
    }

    /// At least 0, less than 1 (splitmix64: Steele, Lea, Flood: Fast Splittable PRNGs, 2014).
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Questions remembered until they are answered; the oldest gives way.
const ASKED_MAX: usize = 64;

/// The nick and the rooms that the person has, to be asked for again on a new connection.
///
/// What the server confirms is believed only if the person asked for it: in some formats a message
/// stands alone on its line, and could pass for a confirmation.
#[derive(Debug, Default)]
pub(super) struct Place {
    nick: Option<String>,
    /// In the order joined; the last is the one that the person speaks in.
    rooms: Vec<String>,
    asked: Vec<Asked>,
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Nick(String),
    Join(String),
    Leave,
}

impl Place {
    pub(super) fn new(nick: Option<String>, room: Option<String>) -> Self {
        Place { nick, rooms: room.into_iter().collect(), asked: Vec::new() }
    }

    /// Lines, with their ends, that bring a new connection to this place.
    pub(super) fn to_lines(&self) -> Vec<u8> {
        let nick = self.nick.iter().map(|nick| format!("/nick {nick}\n"));
        nick.chain(self.rooms.iter().map(|room| format!("/join {room}\n"))).collect::<String>().into_bytes()
    }

    /// The person says a line.
    pub(super) fn note_said(&mut self, line: &[u8]) {
        if line.first() != Some(&b'/') {
            return;
        }
        let Ok(line) = std::str::from_utf8(line) else { return };
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let name = rest.trim();
        let asked = match command {
            "/nick" => Asked::Nick(name.into()),
            "/join" => Asked::Join(name.strip_prefix('#').unwrap_or(name).into()),
            "/leave" => Asked::Leave,
            _ => return,
        };
        if self.asked.len() >= ASKED_MAX {
            self.asked.remove(0);
        }
        self.asked.push(asked);
    }

    /// The server says a line.
    pub(super) fn note_heard(&mut self, line: &[u8]) {
        let Some(text) = own_words(line).and_then(|text| std::str::from_utf8(text).ok()) else { return };
        let between = |before, after| text.strip_prefix(before)?.split_once(after).map(|(name, _)| name);
        if let Some(nick) = text.strip_prefix("you are now ") {
            if self.was_asked(&Asked::Nick(nick.into())) {
                self.nick = Some(nick.into());
            }
        } else if let Some(room) =
            between("you speak in ", " now").or_else(|| between("you speak in ", " again"))
        {
            if self.was_asked(&Asked::Join(room.into())) {
                self.rooms.retain(|known| known != room);
                self.rooms.push(room.into());
            }
        } else if let Some(room) = between("you left ", " and ")
            && self.was_asked(&Asked::Leave)
        {
            self.rooms.retain(|known| known != room);
        }
    }

    fn was_asked(&mut self, question: &Asked) -> bool {
        let at = self.asked.iter().position(|asked| asked == question);
        at.map(|at| self.asked.remove(at)).is_some()
    }
}

/// What the server says in its own name: `-- TEXT --`.
pub(super) fn own_words(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"-- ")?.strip_suffix(b" --")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_their_jitter_up_to_the_bound_and_start_over() {
        let mut pauses = Pauses::new(7);
        let mut bound = limits::RECONNECT_PAUSE_MIN;
        for _ in 0..40 {
            let pause = pauses.next();
            assert!(bound / 2 <= pause && pause <= bound, "{pause:?} for {bound:?}");
            bound = (bound * 2).min(limits::RECONNECT_PAUSE_MAX);
        }
        assert_eq!(bound, limits::RECONNECT_PAUSE_MAX);
        pauses.reset();
        assert!(pauses.next() <= limits::RECONNECT_PAUSE_MIN);
    }

    #[test]
    fn pauses_of_two_clients_differ_and_a_seed_repeats_them() {
        let of = |seed| -> Vec<Duration> {
            let mut pauses = Pauses::new(seed);
            (0..8).map(|_| pauses.next()).collect()
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn what_the_person_asked_for_and_got_is_asked_for_again() {
        let mut place = Place::new(Some("ann".into()), Some("tea".into()));
        assert_eq!(place.to_lines(), b"/nick ann\n/join tea\n");
        for line in ["/nick eve", "/join #beer", "/join wine", "/nick taken"] {
            place.note_said(line.as_bytes());
        }
        for line in [
            "-- you are now eve --",
            "-- you speak in beer now; /leave goes back --",
            "-- you speak in wine now; /leave goes back --",
            "-- taken is somebody else's name --",
        ] {
            place.note_heard(line.as_bytes());
        }
        assert_eq!(place.to_lines(), b"/nick eve\n/join tea\n/join beer\n/join wine\n");
        place.note_said(b"/leave");
        place.note_heard(b"-- you left beer and speak in tea now --");
        assert_eq!(place.to_lines(), b"/nick eve\n/join tea\n/join wine\n");
    }

    #[test]
    fn nobody_else_can_confirm_what_was_not_asked() {
        let mut place = Place::default();
        place.note_heard(b"-- you are now mallory --");
        place.note_heard(b"-- you speak in trap now; /leave goes back --");
        assert_eq!(place.to_lines(), b"");
    }
}
