//! What the person wants to have before anything is said: a nick, a room; and the server's answer to that.
//!
//! A question is a command and, behind it, a `/ping` with a word that nobody else can know. What the server
//! says before its pong is the answer: it is granted, or refused in whatever words. A server without
//! commands says the word instead, or nothing.

use crate::codec::text;
use crate::engine::Moment;
use crate::limits;

/// One thing that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nick(String),
    /// Without the `#` that it may have been given.
    Room(String),
    /// To leave the room that is spoken in.
    Leave,
    /// That the server has taken all that was sent before: any answer tells so.
    Taken,
}

impl Wish {
    pub(super) fn room(name: &str) -> Self {
        Wish::Room(name.strip_prefix('#').unwrap_or(name).into())
    }

    /// What a line asks for, if the server takes it so.
    pub(super) fn of(line: &str) -> Option<Self> {
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        if command.eq_ignore_ascii_case("/leave") {
            return Some(Wish::Leave);
        }
        let name = rest.trim();
        if name.is_empty() {
            None
        } else if command.eq_ignore_ascii_case("/nick") {
            Some(Wish::Nick(name.into()))
        } else if command.eq_ignore_ascii_case("/join") {
            Some(Wish::room(name))
        } else {
            None
        }
    }

    pub(super) fn command(&self) -> String {
        match self {
            Wish::Nick(name) => format!("/nick {name}"),
            // The server takes one `#` away, as we did.
            Wish::Room(name) if name.starts_with('#') => format!("/join #{name}"),
            Wish::Room(name) => format!("/join {name}"),
            Wish::Leave => "/leave".into(),
            Wish::Taken => String::new(),
        }
    }

    /// Whether the server says that it is so now.
    fn is_granted_by(&self, words: &str) -> bool {
        match self {
            Wish::Nick(name) => {
                let rest = words.strip_prefix("you are ");
                rest.is_some_and(|rest| {
                    rest.strip_prefix("now ") == Some(name) || rest.strip_suffix(" already") == Some(name)
                })
            }
            Wish::Room(name) => {
                let rest = words.strip_prefix("you speak in ").and_then(|rest| rest.strip_prefix(&**name));
                rest.is_some_and(|rest| rest.starts_with(" now") || rest.starts_with(" again"))
            }
            Wish::Leave => room_left(words).is_some(),
            Wish::Taken => false,
        }
    }
}

impl std::fmt::Display for Wish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wish::Nick(name) => write!(f, "the nick {name}"),
            Wish::Room(name) => write!(f, "the room {name}"),
            Wish::Leave => f.write_str("to leave the room"),
            Wish::Taken => f.write_str("what was sent"),
        }
    }
}

/// Whether what was refused in these words may be granted later: somebody else has it, or all are taken.
pub(super) fn may_be_granted_later(words: &str) -> bool {
    // The name that it quotes is the person's, and no words of the server's.
    let words =
        if words.starts_with('\'') { words.rsplit_once('\'').map_or(words, |(_, why)| why) } else { words };
    words.contains("taken") || words.contains("in use") || words.contains("at most (--max-rooms-per-client)")
}

/// The room that the server says it let the person leave.
pub(super) fn room_left(words: &str) -> Option<&str> {
    words.strip_prefix("you left ")?.split_once(" and ").map(|(room, _)| room)
}

/// Whether it is news of the room, and so no answer to anything.
fn is_news(words: &str) -> bool {
    let ends =
        [" joined", " left"].iter().any(|end| words.ends_with(end) || words.contains(&format!("{end} ")));
    ends || words.contains(" is now ")
        || words.starts_with("you missed ")
        || words.starts_with("history: ")
        || words == "end of history"
}

/// Whether somebody gave up this name just now.
pub(super) fn frees(words: &str, nick: &str) -> bool {
    is_news(words)
        && (words.contains(" left") || words.contains(" is now "))
        && words.to_lowercase().contains(&nick.to_lowercase())
}

/// A question that is not answered yet.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) wish: Wish,
    /// It was refused before, and the person knows: the same answer is not shown again.
    pub(super) is_repeated: bool,
    /// Nothing that is to be said waits for the answer.
    pub(super) is_aside: bool,
    /// When no answer will come any more, if the server says nothing until then; `None`: the socket has yet to take
    /// the question, or it may take as long as the connection lives.
    pub(super) due: Option<Moment>,
    /// The server has said something since.
    pub(super) has_heard: bool,
    pub(super) is_granted: bool,
    /// What the server said instead; or, of a room that was left, in granting it.
    pub(super) words: Option<String>,
    nonce: String,
}

/// What a line is to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing, or what grants it: the person is to see it.
    Shown,
    /// It was seen before.
    Hidden,
    /// The end of the answer, which the person did not ask for.
    Answered,
    /// The end of the answer to a question that is no longer open.
    AnsweredLate,
    /// The question itself: it was said to everybody, and no command.
    Said,
}

impl Asked {
    pub(super) fn new(wish: Wish, nonce: u64) -> Self {
        Asked {
            wish,
            is_repeated: false,
            is_aside: false,
            due: None,
            has_heard: false,
            is_granted: false,
            words: None,
            nonce: nonce_of(nonce),
        }
    }

    /// The socket took it all.
    pub(super) fn note_sent(&mut self, now: Moment) {
        if self.due.is_none() && self.wish != Wish::Taken {
            self.due = Some(now + limits::CLIENT_ANSWER);
        }
    }

    /// The server sends something: it is there, however slowly it takes what it was sent before.
    pub(super) fn note_heard(&mut self, now: Moment) {
        self.has_heard = true;
        self.due = self.due.map(|_| now + limits::CLIENT_ANSWER);
    }

    /// What the server is to be sent.
    pub(super) fn lines(&self) -> String {
        let command = self.wish.command();
        let end = if command.is_empty() { "" } else { "\n" };
        format!("{command}{end}/ping {}\n", self.nonce)
    }

    /// What the server said in refusing it.
    pub(super) fn refusal(&self) -> String {
        self.words.clone().unwrap_or_else(|| "the server does not say why".into())
    }

    /// Whether the server's words are the end of the answer.
    pub(super) fn is_answered_by(&self, words: Option<&str>) -> bool {
        words.is_some_and(|words| words.strip_prefix("pong ") == Some(&*self.nonce))
    }

    /// The server sends a line, which it alone can have said if `is_own`; `words` are its own, if it has any
    /// there.
    pub(super) fn hear(&mut self, line: &[u8], is_own: bool, words: Option<&str>) -> Heard {
        if self.is_answered_by(words) {
            return Heard::Answered;
        }
        if memchr::memmem::find(line, self.nonce.as_bytes()).is_some()
            || (is_own && !line.is_empty() && line == self.wish.command().as_bytes())
        {
            return Heard::Said;
        }
        let Some(words) = words.filter(|_| self.wish != Wish::Taken) else { return Heard::Shown };
        if self.wish.is_granted_by(words) {
            if self.wish == Wish::Leave && !self.is_granted {
                self.words = Some(words.into());
            }
            self.is_granted = true;
        } else if !is_news(words) && self.words.is_none() && !self.is_granted {
            self.words = Some(text::truncate_at_char(words, limits::CLIENT_WORDS_BYTES_MAX).into());
            let is_known = self.is_repeated && may_be_granted_later(words);
            return if is_known { Heard::Hidden } else { Heard::Shown };
        }
        Heard::Shown
    }
}

/// A word of 50 bits: with `/ping` it fits into the shortest line that a server can be told to take (`--max-line`).
fn nonce_of(random: u64) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    (0..NONCE_BYTES).map(|digit| char::from(DIGITS[(random >> (5 * digit) & 31) as usize])).collect()
}

const NONCE_BYTES: usize = 10;
const _: () = assert!("/ping ".len() + NONCE_BYTES <= *limits::LINE_BYTES_RANGE.start());

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(wish: Wish) -> Asked {
        Asked::new(wish, 7)
    }

    #[test]
    fn a_question_is_answered_by_its_own_pong_alone() {
        let mut asked = asked(Wish::Nick("ann".into()));
        assert_eq!(asked.lines(), "/nick ann\n/ping 7000000000\n");
        for words in ["pong", "pong 7", "bob joined", "bob is now rob", "you missed 3 messages"] {
            assert_eq!(asked.hear(words.as_bytes(), true, Some(words)), Heard::Shown);
        }
        assert_eq!(asked.words.as_deref(), Some("pong"), "whatever else comes first is the answer");
        let pong = "pong 7000000000";
        assert_eq!(asked.hear(format!("-- {pong} --").as_bytes(), true, Some(pong)), Heard::Answered);
        assert!(!asked.is_granted);
    }

    #[test]
    fn a_question_that_comes_back_as_text_was_no_command() {
        for line in ["/nick ann", "/ping 7000000000", "T ann: /ping 7000000000"] {
            assert_eq!(
                asked(Wish::Nick("ann".into())).hear(line.as_bytes(), true, None),
                Heard::Said,
                "{line}"
            );
        }
        // In the `classic` format somebody else says that.
        assert_eq!(asked(Wish::Nick("ann".into())).hear(b"/nick ann", false, None), Heard::Shown);
    }

    #[test]
    fn only_the_very_name_grants_it() {
        for (wish, words, is_granted) in [
            (Wish::Nick("ann".into()), "you are now ann", true),
            (Wish::Nick("ann".into()), "you are ann already", true),
            (Wish::Nick("ann".into()), "you are now anna", false),
            (Wish::room("#tea"), "you speak in tea now; /leave goes back", true),
            (Wish::room("tea"), "you speak in tea again", true),
            (Wish::room("tea"), "you speak in teapot now; /leave goes back", false),
            (Wish::room("tea"), "all rooms are taken (--max-rooms); join one of /rooms", false),
        ] {
            let mut asked = asked(wish);
            asked.hear(words.as_bytes(), true, Some(words));
            assert_eq!(asked.is_granted, is_granted, "{words}");
        }
    }

    #[test]
    fn what_a_server_says_at_length_is_kept_short_and_only_what_is_known_is_hidden() {
        let mut asked = asked(Wish::Nick("ann".into()));
        asked.is_repeated = true;
        let words = "the server is closing ".repeat(10_000);
        assert_eq!(asked.hear(words.as_bytes(), true, Some(&words)), Heard::Shown);
        assert!(asked.words.is_some_and(|words| words.len() <= limits::CLIENT_WORDS_BYTES_MAX));
    }

    #[test]
    fn what_somebody_else_has_may_be_granted_later_and_what_cannot_be_is_not_asked_for_again() {
        use crate::chat::names::NameError;
        let name = || "in-use-or-taken".into();
        for (refusal, is_later) in [
            (NameError::Taken(name()), true),
            (NameError::Lookalike(name()), true),
            (NameError::LikeGuest(name()), false),
            (NameError::LikeAddress(name()), false),
            (NameError::Reserved(name()), false),
        ] {
            assert_eq!(may_be_granted_later(&refusal.to_string()), is_later, "{refusal}");
        }
    }

    #[test]
    fn a_room_is_asked_for_by_the_name_that_the_server_will_understand() {
        for (given, command) in [("tea", "/join tea"), ("#tea", "/join tea"), ("##tea", "/join ##tea")] {
            assert_eq!(Wish::room(given).command(), command);
        }
    }

    #[test]
    fn a_line_asks_for_what_the_server_takes_it_for() {
        assert_eq!(Wish::of("/nick  ann "), Some(Wish::Nick("ann".into())));
        assert_eq!(Wish::of("/JOIN #tea"), Some(Wish::Room("tea".into())));
        assert_eq!(Wish::of("/LEAVE now"), Some(Wish::Leave));
        for line in ["/leaves", "/nick", "/join ", "/joint x", "nick ann", "//nick ann"] {
            assert_eq!(Wish::of(line), None, "{line}");
        }
    }

    #[test]
    fn the_bearer_of_a_name_is_heard_to_leave_or_to_change_it() {
        for (words, is_free) in [
            ("ann left", true),
            ("Ann and bob left", true),
            ("ann left tea", true),
            ("ann is now eve", true),
            ("ann joined", false),
            ("bob left", false),
            ("'ann' is taken; choose another name", false),
        ] {
            assert_eq!(frees(words, "ann"), is_free, "{words}");
        }
    }
}
