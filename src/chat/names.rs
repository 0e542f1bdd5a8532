//! The nicks in use: who holds which, and which further ones are too much like them to be given away.
//!
//! A name is entered under several *keys*: itself without case, and what it looks like (the "skeleton" of
//! Unicode TS 39, section 4) as it is spelled, in small letters and in capitals. A name is refused when any of
//! its keys is held, so `Ivan`, `IVAN`, `lvan` and their Cyrillic doubles exclude each other, at the price of a
//! few refusals (`torn` beside `tom`). No two live names share a key: that is the invariant, and it makes
//! giving one back exact.
//!
//! Knows no sessions: an owner is any small value that the caller compares.

use std::collections::BTreeMap;
use std::fmt;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::GeneralSecurityProfile;
use unicode_security::general_security_profile::IdentifierType;
use unicode_security::skeleton;

use super::guests;

/// Names by which nobody may go: they, and what looks like them, would pass for the server, for its operator,
/// or for the reader.
pub const RESERVED: [&str; 9] =
    ["admin", "console", "everyone", "onepoll", "operator", "root", "server", "system", "you"];

/// Keys of a name: itself without case, and its looks as it is spelled, in small letters and in capitals.
pub const KEYS_MAX: usize = 4;

/// Bytes that a key can have for each byte of its name: the parts of one Hangul syllable look like seven signs.
pub const KEY_EXPANSION_MAX: usize = 7;

/// Bytes of a key's entry, but for the key itself.
#[must_use]
pub const fn entry_bytes<K>() -> usize {
    size_of::<(Box<str>, Held<K>)>()
}

/// The names in use, each with its one owner.
///
/// The registry does not keep a name as it is spelled: the owner does, and hands it back to
/// [`rename`](Names::rename) or [`release`](Names::release). Memory is one small entry for each key, mostly one
/// or two for a name.
#[derive(Debug)]
pub struct Names<K> {
    bytes_max: usize,
    /// Ordered, not hashed: nobody can choose names that collide, and a replayed run needs no random seed.
    held: BTreeMap<Box<str>, Held<K>>,
    /// How no name may begin, by its keys: as a guest's.
    guest_looks: Vec<Box<str>>,
    /// How no name with a digit in it may begin: a dash has too many lookalikes, and none at all is one, too.
    numbered_guest_looks: Vec<Box<str>>,
    live: usize,
}

/// Why a key cannot be had.
#[derive(Clone, Copy, Debug)]
enum Held<K> {
    /// It belongs to one of [`RESERVED`].
    Reserved,
    /// It is someone's name, without case.
    Name(K),
    /// It is what someone's name looks like.
    Look,
}

/// Why a name is refused, in words for the person who chose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// The name has no characters.
    Empty,
    /// The name is longer than the registry allows.
    TooLong {
        /// How many bytes of UTF-8 it may have.
        bytes_max: usize,
    },
    /// This character is neither a letter nor a digit in common use today, nor `_` or `-`.
    BadCharacter(char),
    /// This character may be in a name but not begin one: `-`, or a mark that would attach itself to whatever
    /// is printed in front of the name.
    BadStart(char),
    /// The name has digits and signs only.
    NoLetter,
    /// The name reads like the network address of a peer.
    LikeAddress(Box<str>),
    /// The name begins, or looks as if it began, as those do by which the server calls people without one.
    LikeGuest(Box<str>),
    /// The name is one of [`RESERVED`], or looks like one.
    Reserved(Box<str>),
    /// Someone holds the name, perhaps in other case.
    Taken(Box<str>),
    /// Someone holds a name that looks like this one.
    Lookalike(Box<str>),
}

impl<K: Copy + Eq> Names<K> {
    /// A registry without names, for names of at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        let reserved = RESERVED.iter().flat_map(|name| keys(name));
        let held = reserved.map(|key| (key, Held::Reserved)).collect();
        Self {
            bytes_max,
            held,
            guest_looks: keys(guests::PREFIX),
            numbered_guest_looks: keys(guests::PREFIX.trim_end_matches('-')),
            live: 0,
        }
    }

    /// Gives `name` to `owner`, in addition to any that `owner` has: a session that changes its name calls
    /// [`rename`](Names::rename).
    ///
    /// # Errors
    ///
    /// Says the first thing that is wrong with the name; nothing has changed then. The cost is bounded by
    /// `bytes_max`, however long `name` is.
    pub fn claim(&mut self, name: &str, owner: K) -> Result<(), NameError> {
        let keys = self.admit(name, &[])?;
        self.enter(keys, owner);
        Ok(())
    }

    /// Gives `new` to `owner` in exchange for `old`, spelled as it was claimed.
    ///
    /// `new` may be `old` in other case, or look like it. An `old` that `owner` does not hold is left alone,
    /// and the call is then a [`claim`](Names::claim).
    ///
    /// # Errors
    ///
    /// As [`claim`](Names::claim); `owner` keeps `old` then.
    pub fn rename(&mut self, old: &str, new: &str, owner: K) -> Result<(), NameError> {
        let own = if self.owner(old) == Some(owner) { keys(old) } else { Vec::new() };
        let keys = self.admit(new, &own)?;
        self.remove(&own);
        self.enter(keys, owner);
        Ok(())
    }

    /// Takes `name`, spelled as it was claimed, back from `owner`, and frees all that looks like it. Does
    /// nothing when `owner` does not hold `name`.
    pub fn release(&mut self, name: &str, owner: K) {
        if self.owner(name) == Some(owner) {
            self.remove(&keys(name));
        }
    }

    /// Who holds `name`, whatever its case and however its accents are encoded. A lookalike is not the name:
    /// nothing is said to the wrong person.
    pub fn owner(&self, name: &str) -> Option<K> {
        // No such name can be held, and the work below grows with the length.
        if name.len() > self.bytes_max {
            return None;
        }
        match self.held.get(without_case(name).as_str()) {
            Some(&Held::Name(owner)) => Some(owner),
            Some(Held::Reserved | Held::Look) | None => None,
        }
    }

    /// How many names are held.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether no name is held.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// The keys of `name`, if it is well formed and none of them is held, those in `own` aside.
    fn admit(&self, name: &str, own: &[Box<str>]) -> Result<Vec<Box<str>>, NameError> {
        check_form(name, self.bytes_max)?;
        let keys = keys(name);
        let begins =
            |looks: &[Box<str>]| keys.iter().any(|key| looks.iter().any(|look| key.starts_with(&**look)));
        let has_digit = name.contains(char::is_numeric);
        if begins(&self.guest_looks) || (has_digit && begins(&self.numbered_guest_looks)) {
            return Err(NameError::LikeGuest(name.into()));
        }
        let mut refusal = None;
        for (index, key) in keys.iter().enumerate() {
            match self.held.get(key) {
                Some(Held::Reserved) => return Err(NameError::Reserved(name.into())),
                Some(Held::Name(_) | Held::Look) if own.contains(key) => {}
                Some(Held::Name(_)) if index == 0 => refusal = Some(NameError::Taken(name.into())),
                Some(Held::Name(_) | Held::Look) => {
                    refusal.get_or_insert_with(|| NameError::Lookalike(name.into()));
                }
                None => {}
            }
        }
        refusal.map_or(Ok(keys), Err)
    }

    fn enter(&mut self, keys: Vec<Box<str>>, owner: K) {
        for (index, key) in keys.into_iter().enumerate() {
            let held = if index == 0 { Held::Name(owner) } else { Held::Look };
            let before = self.held.insert(key, held);
            debug_assert!(before.is_none(), "only free keys are entered");
        }
        self.live += 1;
    }

    fn remove(&mut self, keys: &[Box<str>]) {
        if keys.is_empty() {
            return;
        }
        for key in keys {
            let before = self.held.remove(key);
            debug_assert!(before.is_some(), "a name is handed back as it was claimed");
        }
        self.live -= 1;
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a name has at least one letter; give one"),
            Self::TooLong { bytes_max } => write!(
                f,
                "a name has at most {bytes_max} bytes, and a letter outside English takes 2 to 4; \
                 choose a shorter one"
            ),
            Self::BadCharacter(character) => write!(
                f,
                "'{}' cannot be in a name; use letters, digits, '_' and '-'",
                character.escape_debug()
            ),
            Self::BadStart(character) => write!(
                f,
                "a name cannot begin with '{}'; begin with a letter, a digit or '_'",
                character.escape_debug()
            ),
            Self::NoLetter => write!(f, "a name needs a letter; add one"),
            Self::LikeAddress(name) => {
                write!(f, "'{name}' looks like an address; choose another name")
            }
            Self::LikeGuest(name) => {
                write!(f, "'{name}' looks like a guest, who has no name yet; choose another name")
            }
            Self::Reserved(name) => write!(f, "'{name}' is reserved; choose another name"),
            Self::Taken(name) => write!(f, "'{name}' is taken; choose another name"),
            Self::Lookalike(name) => {
                write!(f, "'{name}' looks like a name in use; choose another name")
            }
        }
    }
}

impl std::error::Error for NameError {}

/// Checks all that can be said of `name` without knowing the others. The length comes first: it bounds the work
/// of everything after it.
fn check_form(name: &str, bytes_max: usize) -> Result<(), NameError> {
    let Some(first) = name.chars().next() else {
        return Err(NameError::Empty);
    };
    if name.len() > bytes_max {
        return Err(NameError::TooLong { bytes_max });
    }
    if let Some(bad) = name.chars().find(|&character| !is_allowed(character)) {
        return Err(NameError::BadCharacter(bad));
    }
    if first == '-' || is_combining_mark(first) {
        return Err(NameError::BadStart(first));
    }
    if !name.chars().any(is_letter) {
        return Err(NameError::NoLetter);
    }
    if is_like_address(name) {
        return Err(NameError::LikeAddress(name.into()));
    }
    Ok(())
}

/// Whether `character` is a letter, digit or mark in common use today, `_` or `-`.
///
/// The type "Inclusion", which identifiers are allowed too, is left out: it is the punctuation, and holds `.`
/// and `:`.
fn is_allowed(character: char) -> bool {
    match character {
        '-' | '_' => true,
        _ => character.identifier_type() == Some(IdentifierType::Recommended),
    }
}

/// Whether `character` is a letter by itself; Unicode calls many vowel signs alphabetic too.
fn is_letter(character: char) -> bool {
    character.is_alphabetic() && !is_combining_mark(character)
}

/// Whether `name` can be read as `127.0.0.1:1234`.
///
/// The signs are not allowed, but the Arabic zero looks like a dot, the Devanagari visarga like a colon, and
/// `l` and `O` like digits.
fn is_like_address(name: &str) -> bool {
    let look = look(name);
    look.contains(['.', ':']) && look.chars().all(|sign| matches!(sign, '0'..='9' | 'l' | 'o' | '.' | ':'))
}

/// The keys of `name`, without repetition: the first is the name without case, the others are its looks.
fn keys(name: &str) -> Vec<Box<str>> {
    let caseless = without_case(name);
    // A skeleton tells case apart: `I` looks like `l`, `i` does not. Someone may show or type the name in any
    // case, so each is a look of its own.
    let looks = [look(name), look(&caseless), look(&caseless.to_uppercase())];
    let mut keys = vec![caseless.into_boxed_str()];
    for look in looks {
        if !keys.iter().any(|key| **key == *look) {
            keys.push(look.into_boxed_str());
        }
    }
    keys
}

/// What `name` looks like: equal for two names that are easily confused.
fn look(name: &str) -> String {
    skeleton(name).collect::<String>().to_lowercase()
}

/// `name` composed (NFC) and without case. Compatibility forms need no folding: [`is_allowed`] refuses them.
fn without_case(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    // By way of the capitals, as Unicode's case folding does: they make one of `ß` and `ss`, of `σ` and `ς`.
    // Small letters first, for the capital `ẞ`; composed first, because the capitals of `ᾴ` depend on it.
    let lower = name.nfc().collect::<String>().to_lowercase();
    lower.to_uppercase().to_lowercase().nfc().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BYTES_MAX: usize = 32;

    fn names() -> Names<u32> {
        Names::new(BYTES_MAX)
    }

    fn names_with(name: &str) -> Names<u32> {
        let mut names = names();
        names.claim(name, 1).expect("the first name is free");
        names
    }

    fn refusal(name: &str) -> NameError {
        names().claim(name, 1).expect_err(name)
    }

    #[test]
    fn no_letter_makes_a_key_longer_than_it_may_be() {
        let letters = (0..=u32::from(char::MAX)).filter_map(char::from_u32).filter(|c| is_allowed(*c));
        let expansion = |name: &str| {
            let keys = keys(name);
            assert!(keys.len() <= KEYS_MAX, "{name}");
            keys.iter().map(|key| key.len().div_ceil(name.len())).max()
        };
        let most = letters.filter_map(|letter| expansion(&String::from(letter))).max();
        assert_eq!(most, Some(KEY_EXPANSION_MAX));
    }

    #[test]
    fn names_of_every_script_are_accepted() {
        for name in [
            "bob",
            "Zoë",
            "小明",
            "さくら",
            "Νίκος",
            "Алёна",
            "मोहन",
            "สมชาย",
            "ישראל",
            "علي2000",
            "_x-1",
            "7up",
            "e\u{301}va",
        ] {
            let mut names = names();
            assert_eq!(names.claim(name, 1), Ok(()), "{name}");
            assert_eq!(names.owner(name), Some(1), "{name}");
        }
    }

    #[test]
    fn each_rule_has_its_refusal() {
        assert_eq!(refusal(""), NameError::Empty);
        assert_eq!(refusal(&"x".repeat(33)), NameError::TooLong { bytes_max: 32 });
        assert_eq!(refusal("-bob"), NameError::BadStart('-'));
        assert_eq!(refusal("\u{301}bob"), NameError::BadStart('\u{301}'));
        assert_eq!(refusal("42"), NameError::NoLetter);
        assert_eq!(refusal("4_2-"), NameError::NoLetter);
        for bad in [' ', ':', '#', '/', '.', '@', '\'', '\u{200D}', '\u{202E}', '😀', 'Ａ', 'ﬁ'] {
            assert_eq!(refusal(&format!("bob{bad}")), NameError::BadCharacter(bad));
        }
    }

    #[test]
    fn length_is_counted_in_bytes_and_checked_before_anything_else() {
        assert_eq!(names().claim(&"x".repeat(32), 1), Ok(()));
        assert_eq!(refusal(&"明".repeat(11)), NameError::TooLong { bytes_max: 32 });
        assert_eq!(refusal(&"\u{7}".repeat(1000)), NameError::TooLong { bytes_max: 32 });
    }

    #[test]
    fn no_name_reads_like_an_address() {
        assert_eq!(refusal("127.0.0.1:1234"), NameError::BadCharacter('.'));
        assert_eq!(refusal("unix#7"), NameError::BadCharacter('#'));
        assert_eq!(refusal("127٠0٠0٠1ः1234"), NameError::NoLetter);
        assert_eq!(refusal("l27٠O٠O٠l"), NameError::LikeAddress("l27٠O٠O٠l".into()));
        assert_eq!(names().claim("lol", 1), Ok(()));
    }

    #[test]
    fn reserved_words_and_their_lookalikes_are_refused() {
        for name in RESERVED {
            assert_eq!(refusal(name), NameError::Reserved(name.into()));
        }
        for name in ["Server", "R00T", "rооt", "adrnin", "АDМІN", "y0u"] {
            assert_eq!(refusal(name), NameError::Reserved(name.into()));
        }
    }

    #[test]
    fn no_name_begins_as_those_of_guests_do() {
        for name in [
            "guest-1",
            "Guest-12",
            "GUEST-house",
            "guеst-l",
            "ɡuest-1",
            "guest1",
            "guest_1",
            "guestー1",
            "guest٣",
        ] {
            let refused = refusal(name);
            let is_known = matches!(refused, NameError::LikeGuest(_) | NameError::BadCharacter(_));
            assert!(is_known, "{name}: {refused}");
        }
        for name in ["guest", "guesthouse", "guest_of_ann", "my-guest-1", "客人-1"] {
            assert_eq!(names().claim(name, 1), Ok(()), "{name}");
        }
    }

    #[test]
    fn name_in_other_case_is_the_same_name() {
        for (name, other) in [
            ("Bob", "bOB"),
            ("Алёна", "АЛЁНА"),
            ("Νίκος", "ΝΊΚΟΣ"),
            ("Straße", "STRAẞE"),
            ("Straße", "STRASSE"),
            ("Zoë", "ZOE\u{308}"),
            ("ᾴδω", "ᾳ\u{301}δω"),
        ] {
            let mut names = names_with(name);
            assert_eq!(names.owner(other), Some(1), "{other}");
            assert_eq!(names.claim(other, 2), Err(NameError::Taken(other.into())));
            assert_eq!(names.claim(other, 1), Err(NameError::Taken(other.into())));
        }
    }

    #[test]
    fn lookalikes_exclude_each_other_whoever_comes_first() {
        let doubles = ["ivan", "Ivan", "lvan", "1van", "Іvan", "ivаn", "IVАN"];
        for first in doubles {
            for second in doubles.into_iter().filter(|&second| second != first) {
                let refused = names_with(first).claim(second, 2);
                assert!(
                    matches!(refused, Err(NameError::Taken(_) | NameError::Lookalike(_))),
                    "{second} beside {first}: {refused:?}"
                );
            }
        }
        assert_eq!(names_with("ivan").claim("lvan", 2), Err(NameError::Lookalike("lvan".into())));
        assert_eq!(names_with("ivan").claim("iwan", 2), Ok(()));
    }

    #[test]
    fn looks_count_as_spelled_in_small_letters_and_in_capitals() {
        for (name, double) in [("imI", "irnl"), ("TOM", "torn"), ("admix", "АDМIХ")] {
            for (first, second) in [(name, double), (double, name)] {
                let refused = names_with(first).claim(second, 2);
                assert_eq!(refused, Err(NameError::Lookalike(second.into())));
            }
        }
    }

    #[test]
    fn lookalike_is_not_the_owner() {
        assert_eq!(names_with("ivan").owner("lvan"), None);
        assert_eq!(names_with("ivan").owner("ivаn"), None);
        assert_eq!(names().owner("root"), None);
        assert_eq!(names().owner(&"x".repeat(1 << 20)), None);
    }

    #[test]
    fn own_name_can_be_taken_in_other_case_or_as_a_lookalike() {
        let mut names = names_with("ivan");
        assert_eq!(names.rename("ivan", "Ivan", 1), Ok(()));
        assert_eq!(names.rename("Ivan", "lvan", 1), Ok(()));
        assert_eq!((names.owner("lvan"), names.owner("ivan")), (Some(1), None));
        assert_eq!(names.len(), 1);
    }

    #[test]
    fn failed_rename_keeps_the_old_name() {
        let mut names = names_with("bob");
        names.claim("eve", 2).expect("free");
        assert_eq!(names.rename("eve", "B0B", 2), Err(NameError::Lookalike("B0B".into())));
        assert_eq!(names.rename("eve", "a b", 2), Err(NameError::BadCharacter(' ')));
        assert_eq!((names.owner("bob"), names.owner("eve")), (Some(1), Some(2)));
    }

    #[test]
    fn rename_from_a_name_of_someone_else_does_not_take_it_away() {
        let mut names = names_with("bob");
        assert_eq!(names.rename("bob", "BOB", 2), Err(NameError::Taken("BOB".into())));
        assert_eq!(names.rename("bob", "eve", 2), Ok(()));
        names.release("bob", 2);
        assert_eq!((names.owner("bob"), names.owner("eve")), (Some(1), Some(2)));
    }

    #[test]
    fn released_name_and_its_lookalikes_are_free_again() {
        let mut names = names_with("Ivan");
        names.release("Ivan", 1);
        assert!(names.is_empty());
        assert_eq!(names.owner("ivan"), None);
        assert_eq!(names.claim("lvan", 2), Ok(()));
    }

    #[test]
    fn refusals_say_what_and_the_remedy() {
        assert_eq!(NameError::Taken("bob".into()).to_string(), "'bob' is taken; choose another name");
        assert_eq!(
            NameError::BadCharacter('\u{1B}').to_string(),
            "'\\u{1b}' cannot be in a name; use letters, digits, '_' and '-'"
        );
    }

    /// Names from an alphabet full of doubles, so that random ones collide.
    fn confusable() -> impl Strategy<Value = String> {
        "[iIlL1oO0mMrnНнІіОоарßsSσςΣIıİ٠ेः_-]{0,4}"
    }

    proptest! {
        #[test]
        fn no_two_live_names_share_a_key_and_none_is_leaked(
            steps in prop::collection::vec((0..4usize, confusable(), any::<bool>()), 1..40),
        ) {
            let mut names = Names::new(BYTES_MAX);
            let empty = names.held.len();
            let mut sessions: [Option<String>; 4] = Default::default();
            for (owner, name, leaves) in steps {
                let nick = &mut sessions[owner];
                match nick.take() {
                    Some(old) if leaves => names.release(&old, owner),
                    Some(old) => {
                        let renamed = names.rename(&old, &name, owner);
                        *nick = Some(if renamed.is_ok() { name } else { old });
                    }
                    None => *nick = names.claim(&name, owner).is_ok().then_some(name),
                }
                let mut entered = 0;
                for (owner, nick) in sessions.iter().enumerate() {
                    let Some(nick) = nick else { continue };
                    prop_assert_eq!(names.owner(nick), Some(owner));
                    prop_assert_eq!(names.owner(&nick.to_uppercase()), Some(owner));
                    entered += keys(nick).len();
                }
                prop_assert_eq!(names.len(), sessions.iter().flatten().count());
                prop_assert_eq!(names.held.len(), empty + entered);
            }
        }

        #[test]
        fn any_text_is_accepted_or_refused_with_a_short_message(text in any::<String>()) {
            match names().claim(&text, 1) {
                Ok(()) => prop_assert!(text.len() <= BYTES_MAX),
                Err(error) => prop_assert!(error.to_string().len() < 128),
            }
        }

        #[test]
        fn folding_a_name_twice_is_folding_it_once(name in "\\PC{0,8}") {
            let once = without_case(&name);
            if name.chars().all(is_allowed) {
                prop_assert_eq!(without_case(&once), once);
            }
        }
    }
}
