//! Connecting again: how long to pause, and what to ask for on arrival.

use std::time::Duration;

use super::wish::Wish;
use crate::limits;

/// Pauses that double up to a bound, each shortened by chance to between half of that and all of it, so
/// that the clients of a server that restarts do not all come back at once.
#[derive(Debug)]
pub(super) struct Pauses {
    /// Pauses since the server was last there.
    count: u32,
    first: Duration,
    /// The state of a splitmix64 generator.
    random: u64,
}

impl Pauses {
    /// `first`: the first pause, before it is shortened.
    pub(super) fn new(first: Duration, seed: u64) -> Self {
        Pauses { count: 0, first, random: seed }
    }

    /// The server is there: the next loss is a new one.
    pub(super) fn reset(&mut self) {
        self.count = 0;
    }

    /// The next pause.
    pub(super) fn next(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.count.min(16));
        self.count = self.count.saturating_add(1);
        let half = doubled.min(limits::RECONNECT_PAUSE_MAX) / 2;
        half + half.mul_f64(self.fraction())
    }

    /// At least 0, less than 1.
    fn fraction(&mut self) -> f64 {
        (self.random() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The next random number (splitmix64: Steele, Lea, Flood: Fast Splittable PRNGs, 2014).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// The nick and the rooms that the person has, or wants, to be asked for again on a new connection.
///
/// What the server says is believed only as the answer to a question: what others say must not pass for it.
#[derive(Debug, Default)]
pub(super) struct Place {
    nick: Option<String>,
    /// In the order joined; the last is the one that the person speaks in.
    rooms: Vec<String>,
    /// The room that a new connection begins in, as the last greeting named it.
    first_room: Option<String>,
    /// The person left that, and does not want to be back in it.
    has_left_first: bool,
}

impl Place {
    pub(super) fn new(nick: Option<String>, room: Option<&str>) -> Self {
        let mut place = Place { nick, ..Place::default() };
        if let Some(room) = room {
            place.note_wanted(&Wish::room(room));
        }
        place
    }

    /// What brings a new connection to this place.
    pub(super) fn wishes(&self) -> impl DoubleEndedIterator<Item = Wish> {
        let nick = self.nick.iter().cloned().map(Wish::Nick);
        let leave = self.has_left_first.then_some(Wish::Leave);
        nick.chain(leave).chain(self.rooms.iter().cloned().map(Wish::Room))
    }

    /// The person is to have it from now on.
    pub(super) fn note_wanted(&mut self, wish: &Wish) {
        match wish {
            Wish::Nick(name) => self.nick = Some(name.clone()),
            Wish::Room(name) => {
                self.forget(wish);
                self.has_left_first &= self.first_room.as_ref() != Some(name);
                self.rooms.push(name.clone());
            }
            Wish::Leave | Wish::Taken => {}
        }
    }

    /// The server greets with these words.
    pub(super) fn note_greeting(&mut self, words: &str) {
        let room = words.split_once("; ").and_then(|(words, _)| words.rsplit_once(" in "));
        self.first_room = room.map(|(_, room)| room.into());
    }

    /// The person asked to leave, and left this room.
    pub(super) fn note_left(&mut self, room: &str) {
        self.has_left_first |= self.first_room.as_deref() == Some(room);
        self.rooms.retain(|known| known != room);
    }

    /// The person does not want it any more.
    pub(super) fn forget(&mut self, wish: &Wish) {
        match wish {
            Wish::Nick(name) => drop(self.nick.take_if(|nick| nick == name)),
            Wish::Room(name) => self.rooms.retain(|room| room != name),
            Wish::Leave | Wish::Taken => {}
        }
    }

    /// Whether it is what the person speaks in, or is called.
    pub(super) fn is_current(&self, wish: &Wish) -> bool {
        match wish {
            Wish::Nick(name) => self.nick.as_ref() == Some(name),
            Wish::Room(name) => self.rooms.last() == Some(name),
            Wish::Leave | Wish::Taken => false,
        }
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
        let mut pauses = Pauses::new(limits::RECONNECT_PAUSE_MIN, 7);
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
            let mut pauses = Pauses::new(limits::RECONNECT_PAUSE_MIN, seed);
            (0..8).map(|_| pauses.next()).collect()
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    fn wishes(place: &Place) -> Vec<String> {
        place.wishes().map(|wish| wish.command()).collect()
    }

    #[test]
    fn what_the_person_got_is_asked_for_again_in_the_order_joined() {
        let mut place = Place::new(Some("ann".into()), Some("#tea"));
        assert_eq!(wishes(&place), ["/nick ann", "/join tea"]);
        for wish in [Wish::Nick("eve".into()), Wish::room("beer"), Wish::room("wine"), Wish::room("beer")] {
            place.note_wanted(&wish);
        }
        assert_eq!(wishes(&place), ["/nick eve", "/join tea", "/join wine", "/join beer"]);
        assert!(place.is_current(&Wish::room("beer")) && !place.is_current(&Wish::room("wine")));
        place.note_left("beer");
        place.forget(&Wish::Nick("ann".into()));
        assert_eq!(wishes(&place), ["/nick eve", "/join tea", "/join wine"]);
    }

    #[test]
    fn the_room_that_a_connection_begins_in_is_left_again() {
        let mut place = Place::new(None, Some("tea"));
        place.note_greeting("you are guest-1 (1.2.3.4:5) in lobby; /help lists the commands");
        place.note_left("lobby");
        assert_eq!(wishes(&place), ["/leave", "/join tea"]);
        place.note_wanted(&Wish::room("lobby"));
        assert_eq!(wishes(&place), ["/join tea", "/join lobby"]);
    }
}
