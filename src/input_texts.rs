//! Input in lines, for engines that also serve peers who never end one.
//!
//! Python's `s.send(b"hello")` ends no line and waits for an answer, and a line may come in three packets:
//! what has no end is complete once the peer was silent for a while, and not before. It answers the half
//! of the [`Engine`](crate::engine::Engine) contract that is about silence: when one is due, and whose it
//! was. The bytes stay with the loop, which shows them again. Its invariant: a connection is among the
//! silences exactly while its tail waits for one.

use std::collections::{BTreeMap, BTreeSet};

use crate::codec::line::{Decoded, Dialect, LineDecoder};
use crate::codec::text;
use crate::engine::{ConnectionId, Moment};
use crate::limits;

/// The places of all connections in their input.
#[derive(Debug, Default)]
pub struct InputTexts {
    inputs: BTreeMap<ConnectionId, Input>,
    silences: BTreeSet<(Moment, ConnectionId)>,
}

#[derive(Debug, Default)]
struct Input {
    lines: LineDecoder,
    /// Silence completes nothing.
    is_lines_only: bool,
    /// It has ended a line before, so one that has no end yet is likely to get it.
    ends_lines: bool,
    /// When its silence will be long enough.
    silent_at: Option<Moment>,
    tail: Tail,
}

/// What is there behind the last line end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Tail {
    #[default]
    Empty,
    Unfinished,
    /// A silence came after it: it is a text when the loop shows it again.
    Complete,
}

impl InputTexts {
    /// Nobody's input.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A connection is there.
    pub fn open(&mut self, id: ConnectionId) {
        self.inputs.insert(id, Input::default());
    }

    /// One that ends its lines, and has all the time for it: the operator.
    pub fn open_for_lines(&mut self, id: ConnectionId) {
        self.inputs.insert(id, Input { is_lines_only: true, ..Input::default() });
    }

    /// A connection is gone.
    pub fn close(&mut self, id: ConnectionId) {
        self.end_silence(id);
        self.inputs.remove(&id);
    }

    /// Looks for the next line or text in `bytes`, which must begin where the last call stopped consuming,
    /// as [`LineDecoder::decode`] does; a text counts as a line.
    pub fn decode<'a>(
        &mut self,
        now: Moment,
        id: ConnectionId,
        bytes: &'a [u8],
        text_bytes_max: usize,
    ) -> Decoded<'a> {
        self.end_silence(id);
        let Some(input) = self.inputs.get_mut(&id) else {
            return Decoded::Incomplete { consumed: bytes.len() };
        };
        let decoded = input.lines.decode(bytes, Dialect::Terminal, text_bytes_max);
        match decoded {
            Decoded::Line { .. } => {
                input.ends_lines = true;
                input.tail = Tail::Empty;
            }
            Decoded::TooLong { .. } => input.tail = Tail::Empty,
            Decoded::Incomplete { .. } if bytes.is_empty() && !input.lines.is_discarding() => {
                input.tail = Tail::Empty;
            }
            Decoded::Incomplete { consumed: 0 } if input.tail == Tail::Complete => {
                input.lines = LineDecoder::default();
                input.tail = Tail::Empty;
                return Decoded::Line { line: bytes, consumed: bytes.len() };
            }
            // Also where all is consumed: silence ends what is too long, too.
            Decoded::Incomplete { consumed } if !input.is_lines_only => {
                input.tail = if consumed < bytes.len() { Tail::Unfinished } else { Tail::Empty };
                let is_more_due = input.ends_lines || text::ends_inside_character(&bytes[consumed..]);
                let silence = if is_more_due { limits::TEXT_SILENCE_LONG } else { limits::TEXT_SILENCE };
                input.silent_at = Some(now + silence);
                self.silences.insert((now + silence, id));
            }
            _ => {}
        }
        decoded
    }

    /// A connection that was silent for long enough; call until `None`. It is to be resumed, so that the
    /// loop shows what it sent again ([`Action::Resume`](crate::engine::Action::Resume)).
    pub fn poll_silent(&mut self, now: Moment) -> Option<ConnectionId> {
        let (_, id) = self.silences.first().copied().filter(|(due, _)| *due <= now)?;
        self.end_silence(id);
        let input = self.inputs.get_mut(&id)?;
        input.lines = LineDecoder::default();
        if input.tail == Tail::Unfinished {
            input.tail = Tail::Complete;
        }
        Some(id)
    }

    /// When [`InputTexts::poll_silent`] has to be called next.
    #[must_use]
    pub fn next_silence(&self) -> Option<Moment> {
        self.silences.first().map(|(due, _)| *due)
    }

    fn end_silence(&mut self, id: ConnectionId) {
        if let Some(silent_at) = self.inputs.get_mut(&id).and_then(|input| input.silent_at.take()) {
            self.silences.remove(&(silent_at, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BYTES_MAX: usize = 16;

    /// A connection whose kept bytes are shown again, as the loop does.
    struct Peer {
        inputs: InputTexts,
        now: Moment,
        kept: Vec<u8>,
        heard: Vec<String>,
    }

    impl Peer {
        const ID: ConnectionId = ConnectionId::new(0, 1);

        fn new(open: fn(&mut InputTexts, ConnectionId)) -> Self {
            let mut inputs = InputTexts::new();
            open(&mut inputs, Self::ID);
            Peer { inputs, now: Moment::START, kept: Vec::new(), heard: Vec::new() }
        }

        fn send(&mut self, bytes: &[u8]) -> &mut Self {
            self.kept.extend_from_slice(bytes);
            let mut done = 0;
            loop {
                let shown = &self.kept[done..];
                match self.inputs.decode(self.now, Self::ID, shown, BYTES_MAX) {
                    Decoded::Line { line, consumed } => {
                        self.heard.push(String::from_utf8_lossy(line).into_owned());
                        done += consumed;
                    }
                    Decoded::TooLong { consumed } => {
                        self.heard.push("<too long>".into());
                        done += consumed;
                    }
                    Decoded::TelnetReply(_) => {}
                    Decoded::Incomplete { consumed } => {
                        done += consumed;
                        self.kept.drain(..done);
                        return self;
                    }
                }
            }
        }

        fn wait(&mut self, silence: Duration) -> &mut Self {
            self.now = self.now + silence;
            while let Some(id) = self.inputs.poll_silent(self.now) {
                assert_eq!(id, Self::ID);
                // The loop shows only what it has.
                if !self.kept.is_empty() {
                    self.send(b"");
                }
            }
            self
        }
    }

    const SHORT: Duration = limits::TEXT_SILENCE;
    const ALMOST: Duration = Duration::from_millis(1499);

    #[test]
    fn text_without_an_end_is_complete_after_a_silence_and_not_before() {
        let mut peer = Peer::new(InputTexts::open);
        peer.send(b"hel").wait(ALMOST).send(b"lo").wait(ALMOST);
        assert!(peer.heard.is_empty());
        peer.wait(SHORT - ALMOST).send(b"again").wait(SHORT);
        assert_eq!(peer.heard, ["hello", "again"]);
        assert_eq!(peer.inputs.next_silence(), None, "nobody is woken for nothing");
    }

    #[test]
    fn a_line_in_three_packets_is_one_line() {
        let mut peer = Peer::new(InputTexts::open);
        peer.send(b"one\nt").wait(SHORT).send(b"w").wait(SHORT).send(b"o\n").wait(SHORT);
        assert_eq!(peer.heard, ["one", "two"]);
        assert_eq!(peer.inputs.next_silence(), None);
    }

    #[test]
    fn a_peer_that_ended_lines_once_is_not_left_without_an_answer() {
        let mut peer = Peer::new(InputTexts::open);
        peer.send(b"one\ntwo").wait(limits::TEXT_SILENCE_LONG);
        assert_eq!(peer.heard, ["one", "two"]);
    }

    #[test]
    fn a_silence_inside_a_character_completes_nothing_yet() {
        let mut peer = Peer::new(InputTexts::open);
        for byte in "你好".as_bytes() {
            peer.send(&[*byte]).wait(ALMOST);
        }
        peer.send("你".as_bytes()).send(&"好".as_bytes()[..2]).wait(SHORT).wait(SHORT);
        assert!(peer.heard.is_empty());
        peer.send(&"好".as_bytes()[2..]).wait(SHORT);
        assert_eq!(peer.heard, ["你好你好"]);
        peer.send(b"caf\xe9").wait(limits::TEXT_SILENCE_LONG);
        assert_eq!(peer.heard[1], "caf\u{FFFD}", "another encoding is served too");
    }

    #[test]
    fn what_is_too_long_ends_with_the_silence_behind_it() {
        let mut peer = Peer::new(InputTexts::open);
        peer.send(&[b'x'; 40]).wait(ALMOST).send(&[b'x'; 40]).wait(SHORT).send(b"ok").wait(ALMOST);
        assert_eq!(peer.heard, ["<too long>"]);
        peer.wait(SHORT);
        assert_eq!(peer.heard, ["<too long>", "ok"]);
        let mut peer = Peer::new(InputTexts::open);
        peer.send(&[b'x'; BYTES_MAX + 2]).wait(SHORT).send(b"ok").wait(SHORT);
        assert_eq!(peer.heard, ["<too long>", "ok"], "also where no byte is behind what was told");
    }

    #[test]
    fn a_silence_completes_only_what_was_there_before_it() {
        let mut peer = Peer::new(InputTexts::open);
        peer.send(b"on").now = Moment::START + SHORT;
        assert!(peer.inputs.poll_silent(peer.now).is_some());
        // The loop shows it only with what came meanwhile.
        peer.send(b"e\nt").wait(ALMOST).send(b"wo\n");
        assert_eq!(peer.heard, ["one", "two"]);
    }

    #[test]
    fn an_operator_has_all_the_time() {
        let mut peer = Peer::new(InputTexts::open_for_lines);
        peer.send(b"half a ").wait(Duration::from_secs(3600)).send(b"line\n");
        assert_eq!(peer.heard, ["half a line"]);
    }

    #[test]
    fn who_is_gone_is_not_heard_again() {
        let mut peer = Peer::new(InputTexts::open);
        peer.send(b"hello");
        peer.inputs.close(Peer::ID);
        peer.wait(SHORT);
        assert!(peer.heard.is_empty());
        assert!(peer.inputs.silences.is_empty());
    }
}
