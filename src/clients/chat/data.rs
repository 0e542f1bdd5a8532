//! Text as data: what comes from a pipe or a paste is said, whatever it looks like.
//!
//! Data and commands share one channel, and the server decides which is which after it has cleaned a line.
//! So a line is looked at as the server will see it, and what would be obeyed is sent behind [`SAY`].

use crate::codec::line::SAY;
use crate::codec::protocol::{TLS_HANDSHAKE, begins_like_http, looks_like_http};
use crate::codec::telnet::IAC;
use crate::codec::text;

/// A line as it goes to the server, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Data<'a> {
    /// No server takes it for anything but text.
    Plain(&'a [u8]),
    /// The same without bytes that the server's telnet would obey.
    Cleaned(Vec<u8>),
    /// Behind the mark that only a server with commands understands.
    Marked(Vec<u8>),
}

/// A line of data for a server that may have commands.
pub(super) fn encode(line: &[u8]) -> Data<'_> {
    // A first printable character stays the first one, so of most lines nothing more has to be known. Behind a
    // capital a request line may yet appear when the line is cleaned.
    let may_be_taken = match line.first() {
        None => false,
        Some(b'/' | b'q') => true,
        Some(first) if first.is_ascii_uppercase() => !text::is_plain(line) || is_http(line),
        Some(first) => !matches!(first, b' '..=b'~'),
    };
    let is_obeyed = memchr::memchr2(IAC, 0, line).is_some();
    if !may_be_taken && !is_obeyed {
        return Data::Plain(line);
    }
    let mut clean = Vec::with_capacity(line.len() + SAY.len());
    text::clean_into(line, &mut clean);
    // A line that is too long is looked at as it comes.
    if clean.first() == Some(&b'/') || clean == b"quit" || is_http(&clean) || begins_like_http(line) {
        clean.splice(..0, SAY.iter().copied());
        Data::Marked(clean)
    } else if is_obeyed || line.first() == Some(&TLS_HANDSHAKE) {
        // The server would refuse its protocol.
        Data::Cleaned(clean)
    } else {
        Data::Plain(line)
    }
}

/// Whether a server would take a first line for a browser's: how long it may be to be seen whole, the server
/// decides.
fn is_http(line: &[u8]) -> bool {
    looks_like_http(line) || begins_like_http(line)
}

/// Whether a server would leave at this line, also one without commands.
pub(super) fn is_quit(line: &[u8]) -> bool {
    let is_quit = |line: &[u8]| text::clean(line) == "quit";
    // CR NUL ends a line, too (RFC 1123, section 3.3.1).
    is_quit(line) || (memchr::memchr(0, line).is_some() && line.split(|byte| *byte == 0).any(is_quit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(line: &[u8]) -> Vec<u8> {
        match encode(line) {
            Data::Plain(line) => line.to_vec(),
            Data::Cleaned(line) | Data::Marked(line) => line,
        }
    }

    #[test]
    fn what_the_server_would_obey_is_marked_as_it_will_see_it() {
        for (line, sent) in [
            (&b"quit"[..], &b"/say quit"[..]),
            (b"quit\r", b"/say quit"),
            (b"qu\x01it", b"/say quit"),
            (b"\xff\xf1quit", b"/say quit"),
            (b"qu\xff\xfd\x06it", b"/say quit"),
            ("\u{feff}quit".as_bytes(), b"/say quit"),
            (b"/usr/bin/cc", b"/say /usr/bin/cc"),
            (b"\x01/nick x", b"/say /nick x"),
            (b"\x1b/nick x", b"/say /nick x"),
            ("\u{202e}/nick x".as_bytes(), b"/say /nick x"),
            (b"//x", b"/say //x"),
            (b"/say x", b"/say /say x"),
            (b"GET / HTTP/1.1\r", b"/say GET / HTTP/1.1"),
            (b"GET /long", b"/say GET /long"),
            (b"G\x01ET / HTTP/1.1", b"/say GET / HTTP/1.1"),
            ("GET / \u{202e}HTTP/1.1".as_bytes(), b"/say GET / HTTP/1.1"),
            (b"CONNECT \x01", b"/say CONNECT "),
        ] {
            assert_eq!(encoded(line), sent, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn what_telnet_would_obey_is_taken_out() {
        assert_eq!(encoded(b"one\r\0quit"), b"onequit");
        assert_eq!(encoded(b"one\xff\xfb\x18two"), b"onetwo");
        assert_eq!(encoded(b"\x16\x03\x01 hello"), b" hello");
    }

    #[test]
    fn all_other_lines_go_as_they_are() {
        for line in
            ["", "hello", " /nick x", "quite", "I quit", "QUIT", "你好\r", "a\x1b[31mb", "\t", "GET it"]
        {
            assert_eq!(encode(line.as_bytes()), Data::Plain(line.as_bytes()));
        }
    }

    #[test]
    fn a_quit_is_found_however_it_is_dressed() {
        for line in [&b"quit"[..], b"quit\r", b"q\x07uit", b"x\r\0quit", b"quit\r\0x", b"\xff\xf1quit"] {
            assert!(is_quit(line), "{}", line.escape_ascii());
        }
        for line in [&b"quite"[..], b"/quit", b" quit", b"QUIT", b""] {
            assert!(!is_quit(line), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn no_data_makes_a_server_do_anything_but_say_it() {
        // What the decoder cuts and the cleaner leaves of it, for lines of the bytes that matter.
        use crate::codec::line::{Decoded, Dialect, LineDecoder};
        use crate::codec::protocol::looks_like_tls;
        const BYTES: [&[u8]; 9] = [b"/", b"quit", b"\r", b"\0", b"\xff", b"\xfa", b"\xf0", b"\x01", b"x"];
        // One of them is longer than the decoder's line.
        const HTTP: [&[u8]; 10] = [
            b"G",
            b"ET ",
            b"/ ",
            b"HTTP/1.1",
            b"CONNECT ",
            b"\x01",
            "\u{202e}".as_bytes(),
            b"\xff\xf1",
            b"\x16\x03",
            &[b'y'; 70],
        ];
        let all = |pieces: &'static [&[u8]]| {
            let count = pieces.len();
            (0..count.pow(5)).map(move |number| -> Vec<u8> {
                (0..5).flat_map(|digit| pieces[number / count.pow(digit) % count]).copied().collect()
            })
        };
        for line in all(&BYTES).chain(all(&HTTP)) {
            let mut sent = encoded(&line);
            sent.push(b'\n');
            assert!(!looks_like_tls(&sent), "{}", line.escape_ascii());
            let mut rest = &sent[..];
            let mut decoder = LineDecoder::default();
            while !rest.is_empty() {
                match decoder.decode(rest, Dialect::Commands, 64) {
                    Decoded::Line { line: seen, consumed } => {
                        let seen = text::clean(seen);
                        assert!(!looks_like_http(seen.as_bytes()), "{}: {seen}", line.escape_ascii());
                        let is_text = seen != "quit" && (!seen.starts_with('/') || seen.starts_with("/say "));
                        assert!(is_text, "{}: {seen}", line.escape_ascii());
                        rest = &rest[consumed..];
                    }
                    Decoded::TooLong { consumed } => {
                        assert!(!begins_like_http(rest), "{}", line.escape_ascii());
                        rest = &rest[consumed..];
                    }
                    // The rest of a line that was too long.
                    Decoded::Incomplete { consumed } if consumed > 0 => rest = &rest[consumed..],
                    other => panic!("{}: {other:?}", line.escape_ascii()),
                }
            }
        }
    }
}
