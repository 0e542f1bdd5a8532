//! Lines out of a stream of bytes, split anywhere.
//!
//! A line ends in LF or CR LF, or in telnet's CR NUL (RFC 1123, 3.3.1). The decoder keeps no bytes: it is
//! shown the same unconsumed bytes again with more behind them, and remembers how far it has
//! looked, so the total work is linear however the bytes arrive (P32). A line that is too long is
//! reported once and discarded to its end (P30).

use memchr::{memchr, memchr3};

use super::telnet::{self, IAC, Telnet};

/// What a line of text begins with that must not be taken for a command: the rest is said, whatever it is.
pub const SAY: &[u8] = b"/say ";

/// One connection's place in its current line.
#[derive(Clone, Copy, Debug, Default)]
pub struct LineDecoder {
    /// Bytes of the unconsumed input that hold no line end.
    scanned: u32,
    /// The current line was too long: everything up to its LF is dropped.
    discarding: bool,
}

/// What the front of the input holds. `consumed` bytes are done with and must not be shown again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// No line end yet; `consumed` is zero unless the rest of a long line was discarded.
    Incomplete {
        /// Bytes done with.
        consumed: usize,
    },
    /// A whole line.
    Line {
        /// The line without its end.
        line: &'a [u8],
        /// Bytes done with, the line's end included.
        consumed: usize,
    },
    /// The line has more than the allowed bytes; the rest of it will be discarded.
    TooLong {
        /// Bytes done with.
        consumed: usize,
    },
    /// A telnet peer asked for an option; nothing is consumed, and the answer is due once.
    TelnetReply([u8; 3]),
}

/// What counts as an end of line and as a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// LF, CR LF and CR NUL end a line; telnet commands are answered (and stay in the line, for
    /// [`text::clean_into`](super::text::clean_into) to remove).
    Terminal,
    /// As `Terminal`, and a leading [`SAY`] counts for nothing in the length of its line: a text that needs it
    /// may be as long as one that does not.
    Commands,
    /// LF and CR LF end a line; every other byte is the line's own.
    Raw,
}

impl LineDecoder {
    /// Looks for the next line in `input`, which must begin where the last call stopped consuming.
    pub fn decode<'a>(&mut self, input: &'a [u8], dialect: Dialect, line_bytes_max: usize) -> Decoded<'a> {
        if self.discarding {
            return match memchr(b'\n', input) {
                Some(at) => {
                    self.discarding = false;
                    match self.decode(&input[at + 1..], dialect, line_bytes_max) {
                        Decoded::Incomplete { consumed } => {
                            Decoded::Incomplete { consumed: at + 1 + consumed }
                        }
                        Decoded::Line { line, consumed } => {
                            Decoded::Line { line, consumed: at + 1 + consumed }
                        }
                        Decoded::TooLong { consumed } => Decoded::TooLong { consumed: at + 1 + consumed },
                        // Consuming first makes the caller come back, and the command be found again.
                        Decoded::TelnetReply(_) => {
                            self.scanned = 0;
                            Decoded::Incomplete { consumed: at + 1 }
                        }
                    }
                }
                None => Decoded::Incomplete { consumed: input.len() },
            };
        }
        let has_mark = dialect == Dialect::Commands && input.starts_with(SAY);
        let line_bytes_max = line_bytes_max + if has_mark { SAY.len() } else { 0 };
        // A terminator can lie just behind the longest line, a CR before it.
        let window = &input[..input.len().min(line_bytes_max + 2)];
        // What is behind a line that is too long may not have come yet: no command ends there.
        let commands_end = input.len().min(line_bytes_max + 1);
        // Less may be shown than before: then it is looked at again.
        let mut from = window.len().min(self.scanned as usize);
        loop {
            let found = match dialect {
                Dialect::Terminal | Dialect::Commands => memchr3(b'\n', IAC, 0, &window[from..]),
                Dialect::Raw => memchr(b'\n', &window[from..]),
            };
            let Some(at) = found.map(|found| from + found) else { break };
            match window[at] {
                b'\n' => return self.line(&window[..at], at + 1, line_bytes_max),
                0 if at > 0 && window[at - 1] == b'\r' => {
                    return self.line(&window[..at], at + 1, line_bytes_max);
                }
                IAC => match telnet::decode(&input[at..commands_end]) {
                    // The commands of an unfinished one may come; a line that is full will not wait.
                    Telnet::Incomplete if input.len() <= line_bytes_max => {
                        self.scanned = at as u32;
                        return Decoded::Incomplete { consumed: 0 };
                    }
                    Telnet::Command { length, reply } => {
                        from = (at + length).min(window.len());
                        if let Some(reply) = reply {
                            self.scanned = from as u32;
                            return Decoded::TelnetReply(reply);
                        }
                    }
                    Telnet::Literal { length } => from = (at + length).min(window.len()),
                    Telnet::NotTelnet | Telnet::Incomplete => from = at + 1,
                },
                _ => from = at + 1,
            }
        }
        self.scanned = window.len() as u32;
        let ends_in_cr = window.last() == Some(&b'\r');
        if window.len() - usize::from(ends_in_cr) > line_bytes_max {
            self.scanned = 0;
            self.discarding = true;
            return Decoded::TooLong { consumed: window.len() };
        }
        Decoded::Incomplete { consumed: 0 }
    }

    /// Whether the rest of a line that was too long is still to come.
    #[must_use]
    pub fn is_discarding(&self) -> bool {
        self.discarding
    }

    /// The input begins elsewhere now: somebody else consumed some of it.
    pub fn rewind(&mut self) {
        self.scanned = 0;
    }

    /// The last line of a stream that ended without a line end: `None` where nothing is left of it.
    pub fn decode_last<'a>(&mut self, rest: &'a [u8]) -> Option<&'a [u8]> {
        let discarding = std::mem::take(self).discarding;
        (!discarding && !rest.is_empty()).then(|| rest.strip_suffix(b"\r").unwrap_or(rest))
    }

    fn line<'a>(&mut self, line: &'a [u8], consumed: usize, line_bytes_max: usize) -> Decoded<'a> {
        self.scanned = 0;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > line_bytes_max {
            Decoded::TooLong { consumed }
        } else {
            Decoded::Line { line, consumed }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Everything decoded from `chunks`, as a loop would: unconsumed bytes are shown again.
    fn decode_all(chunks: &[&[u8]], dialect: Dialect, line_bytes_max: usize) -> Vec<String> {
        let mut decoder = LineDecoder::default();
        let mut kept = Vec::new();
        let mut seen = Vec::new();
        for chunk in chunks {
            kept.extend_from_slice(chunk);
            loop {
                let consumed = match decoder.decode(&kept, dialect, line_bytes_max) {
                    Decoded::Incomplete { consumed: 0 } => break,
                    Decoded::Incomplete { consumed } => consumed,
                    Decoded::Line { line, consumed } => {
                        seen.push(line.escape_ascii().to_string());
                        consumed
                    }
                    Decoded::TooLong { consumed } => {
                        seen.push("<too long>".into());
                        consumed
                    }
                    Decoded::TelnetReply(reply) => {
                        seen.push(format!("<reply {reply:x?}>"));
                        0
                    }
                };
                kept.drain(..consumed);
            }
            assert!(kept.len() <= line_bytes_max + SAY.len() + 1, "{} bytes kept", kept.len());
        }
        if let Some(line) = decoder.decode_last(&kept) {
            seen.push(format!("last {}", line.escape_ascii()));
        }
        seen
    }

    const SAMPLES: [(&[u8], &[&str]); 9] = [
        (b"hello\nworld\r\n", &["hello", "world"]),
        (b"a\r\0b\0c\nlast", &["a", "b\\x00c", "last last"]),
        ("你好\n再见".as_bytes(), &["\\xe4\\xbd\\xa0\\xe5\\xa5\\xbd", "last \\xe5\\x86\\x8d\\xe8\\xa7\\x81"]),
        (b"0123456789abcdef\n0123456789abcdefX\nok\n", &["0123456789abcdef", "<too long>", "ok"]),
        (b"0123456789abcdef\r\nmuch too long a line, to the end", &["0123456789abcdef", "<too long>"]),
        (b"\n\r\n\xff\xf4\xff\xfd\x06hi\n", &["", "", "<reply [ff, fc, 6]>", "\\xff\\xf4\\xff\\xfd\\x06hi"]),
        (b"caf\xff\nx\n", &["caf\\xff", "x"]),
        (b"0123456789abcdefghi\n0123456789abcdefX\nok\n", &["<too long>", "<too long>", "ok"]),
        (
            b"0123456789abcdefghi\n\xff\xfd\x06hi\n",
            &["<too long>", "<reply [ff, fc, 6]>", "\\xff\\xfd\\x06hi"],
        ),
    ];

    #[test]
    fn every_split_point_gives_the_same_lines() {
        for (bytes, expected) in SAMPLES {
            assert_eq!(decode_all(&[bytes], Dialect::Terminal, 16), expected);
            for first in 0..bytes.len() {
                let (a, b) = bytes.split_at(first);
                assert_eq!(decode_all(&[a, b], Dialect::Terminal, 16), expected, "split at {first}");
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(decode_all(&single, Dialect::Terminal, 16), expected, "one byte at a time");
        }
    }

    #[test]
    fn raw_lines_keep_every_byte_but_their_end() {
        assert_eq!(
            decode_all(&[b"a\r\0b\xff\xfd\x06c\r\n"], Dialect::Raw, 16),
            ["a\\r\\x00b\\xff\\xfd\\x06c"]
        );
    }

    #[test]
    fn the_mark_of_a_text_counts_for_nothing_in_its_length_however_it_arrives() {
        let stream =
            b"/say 0123456789abcdef\n/say 0123456789abcdefX\n/say 0123456789abcdef\r\n/sax 0123456789abc\n";
        let expected = ["/say 0123456789abcdef", "<too long>", "/say 0123456789abcdef", "<too long>"];
        for pieces in [stream.len(), 7, 2, 1] {
            let pieces: Vec<&[u8]> = stream.chunks(pieces).collect();
            assert_eq!(decode_all(&pieces, Dialect::Commands, 16), expected, "{pieces:?}");
        }
        assert_eq!(decode_all(&[b"/say 0123456789ab\n"], Dialect::Terminal, 16), ["<too long>"]);
    }

    #[test]
    fn an_unfinished_line_is_scanned_once() {
        let mut decoder = LineDecoder::default();
        let input = vec![b'x'; 1000];
        assert_eq!(decoder.decode(&input, Dialect::Terminal, 4096), Decoded::Incomplete { consumed: 0 });
        assert_eq!(decoder.scanned, 1000);
    }

    #[test]
    fn of_an_input_that_begins_elsewhere_nothing_was_looked_at() {
        let mut decoder = LineDecoder::default();
        assert_eq!(decoder.decode(b"unfinished", Dialect::Raw, 16), Decoded::Incomplete { consumed: 0 });
        decoder.rewind();
        assert_eq!(decoder.decode(b"a\nb", Dialect::Raw, 16), Decoded::Line { line: b"a", consumed: 2 });
    }

    #[test]
    fn a_telnet_command_that_never_ends_does_not_hold_a_full_line() {
        let mut input = vec![0xFF, 0xFA];
        input.resize(40, b'x');
        assert_eq!(decode_all(&[&input, b"\nok\n"], Dialect::Terminal, 16), ["<too long>", "ok"]);
    }

    #[test]
    fn a_telnet_command_that_ends_behind_the_longest_line_is_none_however_it_arrives() {
        for (stream, expected) in [
            (&b"0\xff\xfa2345\r\0\xff\xf0\nok\n"[..], &["0\\xff\\xfa2345", "\\xff\\xf0", "ok"][..]),
            (b"0123456\xff\xfd\x06\nok\n", &["<too long>", "ok"]),
        ] {
            for pieces in [stream.len(), 9, 2, 1] {
                let pieces: Vec<&[u8]> = stream.chunks(pieces).collect();
                assert_eq!(decode_all(&pieces, Dialect::Terminal, 8), expected, "{pieces:?}");
            }
        }
    }

    #[test]
    fn a_telnet_command_that_ends_with_the_longest_line_is_answered_however_it_arrives() {
        let stream = b"01234\xff\xfd\x06\nok\n";
        for pieces in [stream.len(), 8, 2, 1] {
            let pieces: Vec<&[u8]> = stream.chunks(pieces).collect();
            let expected = ["<reply [ff, fc, 6]>", "01234\\xff\\xfd\\x06", "ok"];
            assert_eq!(decode_all(&pieces, Dialect::Terminal, 8), expected, "{pieces:?}");
        }
    }

    proptest! {
        #[test]
        fn decode_split_anywhere_is_decode_whole(
            bytes in proptest::collection::vec(
                prop_oneof![Just(b'\n'), Just(b'\r'), Just(0), Just(0xFF), Just(0xFD), any::<u8>()], 0..120),
            cuts in proptest::collection::vec(0_usize..120, 0..6),
            raw in any::<bool>(),
        ) {
            let dialect = if raw { Dialect::Raw } else { Dialect::Terminal };
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(&bytes[from..cut]);
                from = cut;
            }
            chunks.push(&bytes[from..]);
            prop_assert_eq!(decode_all(&chunks, dialect, 24), decode_all(&[&bytes], dialect, 24));
        }
    }
}
