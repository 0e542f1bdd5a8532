//! Bytes from a terminal in raw mode, decoded to the keys that were pressed.
//!
//! Owns the encodings: UTF-8, C0 controls, `ESC` for Alt, CSI and SS3 sequences as xterm, VTE,
//! rxvt, tmux and the Linux console send them (ECMA-48 section 5.4, xterm's ctlseqs), and
//! bracketed paste. Knows nothing of what a key does: that is [`editor`](super::editor).
//!
//! Bytes may be split anywhere: the keys depend on the bytes, never on the reads. What is kept
//! of an unfinished sequence is bounded by [`SEQUENCE_BYTES_MAX`], and any control character
//! ends it and acts as itself, so no stray `ESC` can hold back Enter or Ctrl-C.

use std::str;

/// Bytes after `ESC [` or `ESC O` before its final byte; beyond it the sequence is given up.
///
/// The longest that a terminal sends unasked is a mouse report of some 12 bytes.
pub const SEQUENCE_BYTES_MAX: usize = 32;

/// Bytes of a terminal's answer (`ESC ] …`, `ESC P …`) that are dropped before giving up.
///
/// This client asks nothing; an answer is a late one to the program that ran before.
pub const ANSWER_BYTES_MAX: usize = 256;

/// One key, whatever bytes the terminal sends for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character typed, not a C0 control or DEL; U+FFFD stands for bytes that are not UTF-8.
    Char(char),
    /// A character of a bracketed paste: as [`Key::Char`], a tab is a space, and each of CR, LF
    /// and CR LF is one `'\n'`; other C0 controls and escape sequences have been dropped.
    Pasted(char),
    /// The end of a bracketed paste.
    PasteEnd,
    /// Ctrl with a letter, `'a'..='z'`, where it has no key of its own below.
    Ctrl(char),
    /// Alt with a printable ASCII character: `ESC` and that character.
    Alt(char),
    /// CR, LF, or both in that order.
    Enter,
    /// Ctrl-I.
    Tab,
    /// DEL or Ctrl-H, the key left of which erases.
    Backspace,
    /// Alt with Backspace.
    AltBackspace,
    /// The key that erases at the cursor.
    Delete,
    /// Arrow left.
    Left,
    /// Arrow right.
    Right,
    /// Arrow left with Ctrl or Alt.
    WordLeft,
    /// Arrow right with Ctrl or Alt.
    WordRight,
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// To the start of the line.
    Home,
    /// To the end of the line.
    End,
}

/// Decodes a stream of bytes to [`Key`]s, holding at most one unfinished key.
///
/// An `ESC` alone looks like the beginning of a longer key, and the next byte decides: a caller
/// with a clock can decide sooner, by [`wants_timeout`](Self::wants_timeout).
#[derive(Debug, Default)]
pub struct KeyDecoder {
    state: State,
    /// Between `ESC [ 200 ~` and `ESC [ 201 ~`.
    is_pasting: bool,
    /// The byte before was CR: an LF now belongs to it, and is not a second Enter.
    is_after_cr: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Ground,
    /// `bytes[..len]` begin a character and do not finish it; `1 <= len <= 3`.
    Character { bytes: [u8; 4], len: usize },
    /// After `ESC`, or after two, which is how some terminals send Alt with an arrow.
    Escape { has_alt: bool },
    /// After `ESC [` or `ESC O`: `bytes[..len]` are its parameters so far.
    Sequence { has_alt: bool, bytes: [u8; SEQUENCE_BYTES_MAX], len: usize },
    /// After `ESC [ [`: the Linux console's F1 to F5 have one byte more.
    FunctionKey,
    /// In an OSC, DCS, SOS, PM or APC string, `len` bytes into it.
    Answer { len: usize },
}

impl KeyDecoder {
    /// A decoder at rest, outside a paste.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the keys that `bytes` complete, at most one more than there are bytes.
    pub fn handle_bytes(&mut self, bytes: &[u8], keys: &mut Vec<Key>) {
        for &byte in bytes {
            self.handle_byte(byte, keys);
        }
    }

    /// Gives up the escape sequence in progress: the person pressed the Escape key alone.
    ///
    /// Half a UTF-8 character stays: only a slow link explains it, and its rest will come.
    pub fn handle_timeout(&mut self) {
        if self.wants_timeout() {
            self.state = State::Ground;
        }
    }

    /// Whether an escape sequence is unfinished: when nothing more arrives for some 50 to
    /// 200 ms, call [`handle_timeout`](Self::handle_timeout). Optional: without it the next
    /// byte decides.
    #[must_use]
    pub fn wants_timeout(&self) -> bool {
        !matches!(self.state, State::Ground | State::Character { .. })
    }

    fn handle_byte(&mut self, byte: u8, keys: &mut Vec<Key>) {
        let state = std::mem::take(&mut self.state);
        match (state, byte) {
            (State::Ground, _) => self.handle_first(byte, keys),
            (State::Character { bytes, len }, _) => self.handle_character(bytes, len, byte, keys),
            (State::Escape { has_alt }, _) => self.handle_escaped(has_alt, byte, keys),
            // A control or a letter beyond ASCII is in no sequence: somebody is typing.
            (State::Sequence { .. } | State::FunctionKey, ..=0x1f | 0x7f..)
            | (State::Answer { .. }, ..=0x1f) => self.handle_first(byte, keys),
            (State::Sequence { has_alt, mut bytes, len }, 0x20..=0x3f) => {
                if let Some(slot) = bytes.get_mut(len) {
                    *slot = byte;
                    self.state = State::Sequence { has_alt, bytes, len: len + 1 };
                }
            }
            (State::Sequence { len: 0, .. }, b'[') => self.state = State::FunctionKey,
            (State::Sequence { has_alt, bytes, len }, _) => {
                self.handle_final(has_alt, &bytes[..len], byte, keys);
            }
            (State::Answer { len }, _) if len < ANSWER_BYTES_MAX => {
                self.state = State::Answer { len: len + 1 };
            }
            (State::FunctionKey | State::Answer { .. }, _) => {}
        }
    }

    /// A byte with nothing unfinished before it.
    fn handle_first(&mut self, byte: u8, keys: &mut Vec<Key>) {
        let is_after_cr = std::mem::replace(&mut self.is_after_cr, byte == b'\r');
        match byte {
            0x1b => self.state = State::Escape { has_alt: false },
            b'\n' if is_after_cr => {}
            0x80.. => self.handle_character([0; 4], 0, byte, keys),
            0x20..=0x7e => keys.push(self.character(char::from(byte))),
            b'\r' | b'\n' if self.is_pasting => keys.push(Key::Pasted('\n')),
            b'\t' if self.is_pasting => keys.push(Key::Pasted(' ')),
            _ if self.is_pasting => {}
            b'\r' | b'\n' => keys.push(Key::Enter),
            b'\t' => keys.push(Key::Tab),
            0x08 | 0x7f => keys.push(Key::Backspace),
            0x01..=0x1a => keys.push(Key::Ctrl(char::from(byte | 0x60))),
            0x00 | 0x1c..=0x1f => {}
        }
    }

    /// A byte of a character, after `bytes[..len]` of it; `len < 4`.
    fn handle_character(&mut self, mut bytes: [u8; 4], len: usize, byte: u8, keys: &mut Vec<Key>) {
        bytes[len] = byte;
        match str::from_utf8(&bytes[..=len]) {
            Ok(text) => keys.extend(text.chars().map(|c| self.character(c))),
            Err(error) if error.error_len().is_none() => {
                self.state = State::Character { bytes, len: len + 1 };
            }
            Err(_) => {
                keys.push(self.character(char::REPLACEMENT_CHARACTER));
                // What came before could have become a character; `byte` broke it, and begins
                // anew: half a character must not cost the Enter behind it.
                if len > 0 {
                    self.handle_first(byte, keys);
                }
            }
        }
    }

    /// The byte after `ESC`.
    fn handle_escaped(&mut self, has_alt: bool, byte: u8, keys: &mut Vec<Key>) {
        match byte {
            b'[' => {
                self.state = State::Sequence { has_alt, bytes: [0; SEQUENCE_BYTES_MAX], len: 0 };
            }
            // In a paste only the end of the paste is looked for; `ESC` goes, its text stays.
            _ if self.is_pasting => self.handle_first(byte, keys),
            0x1b => self.state = State::Escape { has_alt: true },
            b'O' => {
                self.state = State::Sequence { has_alt, bytes: [0; SEQUENCE_BYTES_MAX], len: 0 };
            }
            b']' | b'P' | b'X' | b'^' | b'_' => self.state = State::Answer { len: 0 },
            0x08 | 0x7f => keys.push(Key::AltBackspace),
            0x20..=0x7e => keys.push(Key::Alt(char::from(byte))),
            _ => self.handle_first(byte, keys),
        }
    }

    /// The last byte of a CSI or SS3 sequence. Their finals do not contradict each other.
    fn handle_final(&mut self, has_alt: bool, parameters: &[u8], last: u8, keys: &mut Vec<Key>) {
        if self.is_pasting {
            self.is_pasting = (parameters, last) != (b"201", b'~');
            if !self.is_pasting {
                keys.push(Key::PasteEnd);
            }
            return;
        }
        let mut numbers = parameters.split(|&b| b == b';').map(number);
        let first = numbers.next().unwrap_or_default();
        let last_number = numbers.next().unwrap_or(first);
        // xterm: modifiers are 1 + Shift 1, Alt 2, Ctrl 4, Meta 8; old ones send them alone.
        let modifiers = last_number.saturating_sub(1);
        let is_word = has_alt || modifiers & 0b1110 != 0;
        keys.push(match (last, first) {
            (b'A', _) => Key::Up,
            (b'B', _) => Key::Down,
            (b'C', _) if is_word => Key::WordRight,
            (b'C', _) => Key::Right,
            (b'D', _) if is_word => Key::WordLeft,
            (b'D', _) => Key::Left,
            // rxvt: lower case with Shift (CSI) or Ctrl (SS3).
            (b'c', 0) if parameters.is_empty() => Key::WordRight,
            (b'd', 0) if parameters.is_empty() => Key::WordLeft,
            (b'H', _) | (b'~', 1 | 7) => Key::Home,
            (b'F', _) | (b'~', 4 | 8) => Key::End,
            (b'~', 3) => Key::Delete,
            (b'~', 200) => {
                self.is_pasting = true;
                return;
            }
            _ => return,
        });
    }

    fn character(&self, c: char) -> Key {
        if self.is_pasting { Key::Pasted(c) } else { Key::Char(c) }
    }
}

/// A parameter's value; 0 where it is absent, or no number that a key has.
fn number(digits: &[u8]) -> u16 {
    str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys_of(reads: &[&[u8]]) -> Vec<Key> {
        let mut decoder = KeyDecoder::new();
        let mut keys = Vec::new();
        for read in reads {
            decoder.handle_bytes(read, &mut keys);
        }
        keys
    }

    /// Every encoding with the keys that it means.
    fn samples() -> Vec<(&'static [u8], Vec<Key>)> {
        use Key::*;
        vec![
            (b"a\x01\x1a\x1c\0~", vec![Char('a'), Ctrl('a'), Ctrl('z'), Char('~')]),
            ("é中👩".as_bytes(), vec![Char('é'), Char('中'), Char('👩')]),
            (b"\r\n\n\r\r\n", vec![Enter, Enter, Enter, Enter]),
            (b"\t\x7f\x08\x1b\x7f\x1b\x08", vec![Tab, Backspace, Backspace, AltBackspace, AltBackspace]),
            (b"\x1b[A\x1bOA\x1b[B\x1bOB", vec![Up, Up, Down, Down]),
            (b"\x1b[C\x1bOC\x1b[D\x1bOD\x1b[1;2D", vec![Right, Right, Left, Left, Left]),
            (b"\x1b[1;5C\x1b[1;3C\x1b[5C\x1bOc\x1b\x1b[C", vec![WordRight; 5]),
            (b"\x1b[1;5D\x1b[1;9D\x1bO5D\x1bOd\x1b\x1bOD", vec![WordLeft; 5]),
            (b"\x1b[H\x1bOH\x1b[1~\x1b[7~\x1b[1;5H", vec![Home; 5]),
            (b"\x1b[F\x1bOF\x1b[4~\x1b[8~\x1b[1;5F", vec![End; 5]),
            (b"\x1b[3~\x1b[3;5~", vec![Delete, Delete]),
            (b"\x1bb\x1bF\x1b\\", vec![Alt('b'), Alt('F'), Alt('\\')]),
            (b"\x1b[2~\x1b[15;2~\x1b[I\x1b[[A\x1bOP\x1b[?62;4c\x1b[<0;1;2M\x1b[24 q.", vec![Char('.')]),
            (b"\x1b]11;rgb:0/0/0\x07\x1bP1$r0\xc3\xa9m\x1b\\.", vec![Ctrl('g'), Alt('\\'), Char('.')]),
            (
                b"\x1b[200~a\tb\r\nc\x03\x1b[31md\x1be\n\n\x1b[201~f",
                [Pasted('a'), Pasted(' '), Pasted('b'), Pasted('\n'), Pasted('c'), Pasted('d')]
                    .into_iter()
                    .chain([Pasted('e'), Pasted('\n'), Pasted('\n'), PasteEnd, Char('f')])
                    .collect(),
            ),
            (
                b"\xff\xe4\xb8\r\xc3(",
                vec![Char('\u{fffd}'), Char('\u{fffd}'), Enter, Char('\u{fffd}'), Char('(')],
            ),
        ]
    }

    #[test]
    fn every_encoding_split_anywhere_means_the_same_keys() {
        for (bytes, keys) in samples() {
            assert_eq!(keys_of(&[bytes]), keys, "{}", bytes.escape_ascii());
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(keys_of(&single), keys, "{} byte by byte", bytes.escape_ascii());
            for at in 0..=bytes.len() {
                let (head, tail) = bytes.split_at(at);
                assert_eq!(keys_of(&[head, tail]), keys, "{} at {at}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn an_unfinished_sequence_never_swallows_enter_or_ctrl_c() {
        for start in ["\x1b", "\x1b[", "\x1b[1;", "\x1bO", "\x1b]0;x", "\x1b[[", "\x1b\x1b"] {
            for (byte, key) in [(b'\r', Key::Enter), (3, Key::Ctrl('c'))] {
                assert_eq!(keys_of(&[start.as_bytes(), &[byte]]), [key], "{start:?}");
            }
        }
    }

    #[test]
    fn an_endless_sequence_or_answer_is_given_up() {
        for start in ["\x1b[", "\x1bO", "\x1b]", "\x1bP"] {
            let digits = [b'1'; ANSWER_BYTES_MAX + 2];
            assert_eq!(keys_of(&[start.as_bytes(), &digits]).last(), Some(&Key::Char('1')), "{start:?}");
        }
    }

    #[test]
    fn a_timeout_gives_up_an_escape_but_not_half_a_character() {
        let mut decoder = KeyDecoder::new();
        let mut keys = Vec::new();
        decoder.handle_bytes(b"\x1b[", &mut keys);
        assert!(decoder.wants_timeout());
        decoder.handle_timeout();
        decoder.handle_bytes(b"A\xc3", &mut keys);
        assert!(!decoder.wants_timeout());
        decoder.handle_timeout();
        decoder.handle_bytes(b"\xa9", &mut keys);
        assert_eq!(keys, [Key::Char('A'), Key::Char('é')]);
    }

    proptest! {
        #[test]
        fn invalid_utf8_becomes_what_the_standard_library_makes_of_it(
            bytes in proptest::collection::vec(prop_oneof![0x80..=0xff_u8, 0x20..=0x7e_u8], 0..40),
        ) {
            let mut bytes = bytes;
            bytes.push(b'.');
            let typed: String = keys_of(&[&bytes])
                .into_iter()
                .map(|key| if let Key::Char(c) = key { c } else { '\0' })
                .collect();
            prop_assert_eq!(typed, String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn random_bytes_split_at_random_mean_the_same_keys(
            reads in proptest::collection::vec(
                proptest::collection::vec(
                    prop_oneof![any::<u8>(), proptest::sample::select(&b"\x1b[O~;\r\n012"[..])], 0..8),
                0..12),
        ) {
            let split: Vec<&[u8]> = reads.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(keys_of(&split), keys_of(&[&reads.concat()]));
        }
    }
}
