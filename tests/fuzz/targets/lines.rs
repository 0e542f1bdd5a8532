//! Lines out of a stream, split anywhere, and text that is safe to show.

use onepoll::codec::line::{Decoded, Dialect, LineDecoder};
use onepoll::codec::telnet::{IAC, SUBNEGOTIATION_BYTES_MAX};
use onepoll::codec::text;

use super::pieces;

/// What came out of a stream.
#[derive(Debug, PartialEq)]
enum Seen {
    Line(Vec<u8>),
    TooLong,
    Reply([u8; 3]),
    Last(Vec<u8>),
}

/// The first byte chooses the longest line, the second the dialect and the pieces; the rest is the stream.
///
/// However it is split, the same lines, replies and reports of lines that are too long come out: those of a
/// reference, where no telnet is in it. No byte is looked at again, no call is in vain, no more is kept than a line.
pub fn lines(input: &[u8]) {
    let [line_bytes_max, choice, stream @ ..] = input else { return };
    // Every fourth is long enough for a whole subnegotiation.
    let line_bytes_max = match *line_bytes_max {
        long if long % 4 == 3 => usize::from(long) * 4,
        short => 1 + usize::from(short) / 4,
    };
    let dialect = if choice % 2 == 0 { Dialect::Terminal } else { Dialect::Raw };
    let whole = decode([stream].into_iter(), dialect, line_bytes_max);
    assert_eq!(decode(pieces(stream, 0), dialect, line_bytes_max), whole, "one byte at a time");
    assert_eq!(decode(pieces(stream, choice / 2), dialect, line_bytes_max), whole, "in pieces");
    if stream.len() <= 64 {
        for at in 1..stream.len() {
            let (first, second) = stream.split_at(at);
            assert_eq!(decode([first, second].into_iter(), dialect, line_bytes_max), whole, "split at {at}");
        }
    }
    if dialect == Dialect::Raw || !stream.contains(&IAC) {
        assert_eq!(whole, reference(stream, dialect, line_bytes_max), "the reference");
    }
}

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>, dialect: Dialect, line_bytes_max: usize) -> Vec<Seen> {
    let mut decoder = LineDecoder::default();
    let mut kept: Vec<u8> = Vec::new();
    let mut seen = Vec::new();
    for piece in pieces {
        let known = kept.len();
        kept.extend_from_slice(piece);
        let mut is_first = true;
        loop {
            let before = decoder;
            let decoded = decoder.decode(&kept, dialect, line_bytes_max);
            if std::mem::take(&mut is_first) {
                check_is_not_looked_at_again(before, &kept, known, dialect, line_bytes_max, decoded);
            }
            let consumed = match decoded {
                Decoded::Incomplete { consumed: 0 } => break,
                Decoded::Incomplete { consumed } => consumed,
                Decoded::Line { line, consumed } => {
                    assert!(line.len() <= line_bytes_max && !line.contains(&b'\n'));
                    seen.push(Seen::Line(line.to_vec()));
                    consumed
                }
                Decoded::TooLong { consumed } => {
                    seen.push(Seen::TooLong);
                    consumed
                }
                Decoded::TelnetReply(reply) => {
                    assert!(matches!(reply, [IAC, 0xFC | 0xFE, _]), "{reply:x?} is no refusal");
                    seen.push(Seen::Reply(reply));
                    0
                }
            };
            assert!(consumed > 0 || matches!(seen.last(), Some(Seen::Reply(_))), "a call in vain");
            kept.drain(..consumed);
        }
        assert!(kept.len() <= line_bytes_max + 1, "{} bytes are kept", kept.len());
    }
    seen.extend(decoder.decode_last(&kept).map(|line| Seen::Last(line.to_vec())));
    seen
}

/// Bytes that were looked at before may be anything by now: the same bytes are consumed.
fn check_is_not_looked_at_again(
    mut before: LineDecoder,
    kept: &[u8],
    known: usize,
    dialect: Dialect,
    line_bytes_max: usize,
    decoded: Decoded<'_>,
) {
    // The last one may be the CR of the line's end, and the last ones an unfinished command.
    let again_max = if dialect == Dialect::Raw { 1 } else { SUBNEGOTIATION_BYTES_MAX };
    let mut other = kept.to_vec();
    other[..known.saturating_sub(again_max)].fill(b'\n');
    let length = |decoded| match decoded {
        Decoded::Incomplete { consumed } | Decoded::TooLong { consumed } => (consumed, None),
        Decoded::Line { line, consumed } => (consumed, Some(line.len())),
        Decoded::TelnetReply(_) => (0, None),
    };
    assert_eq!(
        length(before.decode(&other, dialect, line_bytes_max)),
        length(decoded),
        "bytes are looked at again"
    );
}

/// The lines of a stream without telnet, all of which is there.
fn reference(stream: &[u8], dialect: Dialect, line_bytes_max: usize) -> Vec<Seen> {
    let without_cr = |line: &[u8]| line.strip_suffix(b"\r").unwrap_or(line).to_vec();
    let mut seen = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let end = (0..rest.len()).find(|at| match rest[*at] {
            b'\n' => true,
            0 => dialect == Dialect::Terminal && *at > 0 && rest[at - 1] == b'\r',
            _ => false,
        });
        let line = without_cr(&rest[..end.unwrap_or(rest.len())]);
        if line.len() > line_bytes_max {
            seen.push(Seen::TooLong);
            // Only an LF ends one that is too long.
            let end = rest.iter().position(|byte| *byte == b'\n');
            rest = end.map_or(&[], |end| &rest[end + 1..]);
        } else if let Some(end) = end {
            seen.push(Seen::Line(line));
            rest = &rest[end + 1..];
        } else {
            seen.push(Seen::Last(line));
            rest = &[];
        }
    }
    seen
}

/// Text that is cleaned is UTF-8, without anything that a terminal obeys, at most three times as long, and clean;
/// text that is escaped is as harmless, and nothing of it is lost.
pub fn text(line: &[u8]) {
    let mut clean = b"before ".to_vec();
    text::clean_into(line, &mut clean);
    let clean = clean.strip_prefix(b"before ").expect("it is appended");
    let shown = std::str::from_utf8(clean).expect("clean text is UTF-8");
    assert!(shown.chars().all(is_harmless), "{shown:?}");
    assert!(clean.len() <= 3 * line.len());
    assert_eq!(text::clean(line), shown);
    assert_eq!(text::clean(clean), shown, "cleaned again");
    if !line.contains(&IAC) {
        let lossy: String = String::from_utf8_lossy(line).chars().filter(|c| is_harmless(*c)).collect();
        assert_eq!(shown, lossy);
    }

    let escaped = text::escape(line);
    assert!(escaped.chars().all(|c| is_harmless(c) && c != '\t'), "{escaped:?}");
    assert_eq!(unescape(&escaped), line, "{escaped:?}");

    for bytes_max in 0..=shown.len().min(64) {
        let cut = text::truncate_at_char(shown, bytes_max);
        assert!(cut.len() <= bytes_max && bytes_max < cut.len() + 4 && shown.starts_with(cut));
    }
    if std::str::from_utf8(line).is_err_and(|error| error.error_len().is_none()) {
        assert!(text::ends_inside_character(line));
    }
}

/// Whether a terminal shows it, and does nothing else. By number, from the tables of Unicode and ECMA-48.
fn is_harmless(c: char) -> bool {
    !matches!(
        u32::from(c),
        0x00..=0x08 | 0x0A..=0x1F | 0x7F..=0x9F | 0x2028..=0x202E | 0x2066..=0x2069 | 0xFEFF
    )
}

fn unescape(escaped: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = escaped;
    while let Some((plain, behind)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let (kind, behind) = behind.split_at(1);
        rest = behind;
        match kind {
            "t" => bytes.push(b'\t'),
            "n" => bytes.push(b'\n'),
            "r" => bytes.push(b'\r'),
            "\\" => bytes.push(b'\\'),
            "x" => {
                let (digits, behind) = rest.split_at(2);
                bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
                rest = behind;
            }
            "u" => {
                let (digits, behind) = rest.split_once('}').expect("it is closed");
                let number = u32::from_str_radix(&digits[1..], 16).expect("digits");
                let c = char::from_u32(number).expect("a character");
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = behind;
            }
            _ => panic!("{escaped:?} has an escape that is none"),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}
