//! What the server sends, made fit for whoever reads it: cut in lines, cleaned, and coloured by name.
//!
//! A server is not trusted: for a terminal its text is cleaned like a stranger's. For a pipe or a file it
//! is passed on byte by byte, for what is done with it there is not this program's to judge.

use crate::codec::text;
use crate::limits;

use super::reconnect::own_words;

/// Bytes of a line without an end that are waited for; what is longer is shown in pieces.
pub(super) const LINE_BYTES_MAX: usize = limits::record_bytes_max(*limits::LINE_BYTES_RANGE.end());

// A line that is waited for fits into what may wait for the screen.
const _: () = assert!(LINE_BYTES_MAX < limits::CLIENT_OUTPUT_BYTES_MAX);

/// Bytes of `2026/11/21 10:00:00 `.
const STAMP_BYTES: usize = 20;

/// How lines are shown.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Nothing that a terminal would obey is let through.
    pub is_clean: bool,
    /// Names have colours.
    pub is_coloured: bool,
}

/// The first line in `bytes`, without its end, and how much of `bytes` that is. A line that is too long
/// is cut; `None` where the rest of the line has yet to come.
pub(super) fn next_line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    match memchr::memchr(b'\n', bytes) {
        Some(at) if at <= LINE_BYTES_MAX => Some((&bytes[..at], at + 1)),
        _ if bytes.len() < LINE_BYTES_MAX => None,
        _ => {
            let end = bytes[..LINE_BYTES_MAX].utf8_chunks().last().map_or(0, |chunk| chunk.invalid().len());
            // A character that the cut would halve goes with the next piece.
            let end = LINE_BYTES_MAX - if end < 4 { end } else { 0 };
            Some((&bytes[..end], end))
        }
    }
}

/// Whose the lines are: in the `classic` format what a member says stands on a line of its own, behind one with
/// the time and the name, and must not pass for the server's words.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The next line is what the header before it announced.
    is_text: bool,
    /// The last piece was no whole line: what comes next is not the start of one.
    is_inside_line: bool,
}

impl Reader {
    /// Takes the next piece, and whether it is the end of a line. True: the server alone can have said it.
    pub(super) fn take(&mut self, line: &[u8], is_whole: bool) -> bool {
        let is_inside = std::mem::replace(&mut self.is_inside_line, !is_whole);
        if is_inside {
            return false;
        }
        let is_text = std::mem::replace(&mut self.is_text, false);
        self.is_text = !is_text && is_header(line);
        !is_text
    }
}

/// Whether a line is `TIME [ROOM] NAME` with nothing behind the name. No line that holds text is: there a colon
/// and a space stand behind the name, or a space behind the name of an action.
fn is_header(line: &[u8]) -> bool {
    name_in(line).is_some_and(|name| name.end == line.len())
}

/// Appends a line, without its end, as it is to be shown. `is_own`: the server can have said it itself.
pub(super) fn show_into(line: &[u8], is_own: bool, style: Style, out: &mut Vec<u8>) {
    if !style.is_clean {
        return out.extend_from_slice(line);
    }
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !style.is_coloured {
        return text::clean_into(line, out);
    }
    let mut clean = Vec::new();
    text::clean_into(line, &mut clean);
    if is_own && own_words(&clean).is_some() {
        out.extend_from_slice(b"\x1b[2m");
        out.extend_from_slice(&clean);
        out.extend_from_slice(b"\x1b[0m");
        return;
    }
    match name_in(&clean) {
        Some(name) => {
            let (before, rest) = clean.split_at(name.start);
            let (name, after) = rest.split_at(name.len());
            out.extend_from_slice(before);
            out.extend_from_slice(format!("\x1b[{}m", colour_of(name)).as_bytes());
            out.extend_from_slice(name);
            out.extend_from_slice(b"\x1b[0m");
            out.extend_from_slice(after);
        }
        None => out.extend_from_slice(&clean),
    }
}

/// Where the name stands in `TIME [ROOM] NAME: TEXT`, `TIME * NAME TEXT` or `TIME NAME`.
fn name_in(line: &[u8]) -> Option<std::ops::Range<usize>> {
    let stamp = line.get(..STAMP_BYTES)?;
    let is_stamp = stamp.iter().enumerate().all(|(at, byte)| match at {
        4 | 7 => *byte == b'/',
        10 | 19 => *byte == b' ',
        13 | 16 => *byte == b':',
        _ => byte.is_ascii_digit(),
    });
    if !is_stamp {
        return None;
    }
    let mut start = STAMP_BYTES;
    if line[start..].first() == Some(&b'[') {
        // A room's name has no bracket; an IPv6 address as a name has one, but no space behind it.
        let end = memchr::memchr(b']', &line[start..])?;
        if line.get(start + end + 1) == Some(&b' ') {
            start += end + 2;
        }
    }
    let is_action = line[start..].starts_with(b"* ");
    start += if is_action { 2 } else { 0 };
    let rest = &line[start..];
    let length = if is_action {
        memchr::memchr(b' ', rest)
    } else {
        memchr::memmem::find(rest, b": ").or_else(|| rest.strip_suffix(b":").map(<[u8]>::len))
    };
    let length = length.unwrap_or(rest.len());
    // A name has no spaces: what looks like a longer one is something else.
    (length > 0 && !rest[..length].contains(&b' ')).then_some(start..start + length)
}

/// A colour that a name keeps, as the parameter of SGR (ECMA-48, 8.3.117): no black, no white.
fn colour_of(name: &[u8]) -> u8 {
    // FNV-1a: names that differ little get colours that differ.
    let hash = name.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    const COLOURS: [u8; 12] = [31, 32, 33, 34, 35, 36, 91, 92, 93, 94, 95, 96];
    COLOURS[((hash >> 32) % COLOURS.len() as u64) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &[u8], is_clean: bool, is_coloured: bool) -> String {
        let mut out = Vec::new();
        show_into(line, true, Style { is_clean, is_coloured }, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn a_terminal_is_shown_nothing_that_it_would_obey() {
        assert_eq!(shown(b"a\x1b[2Jb\r", true, false), "a[2Jb");
        assert_eq!(shown(b"a\x1b[2Jb\r", true, true), "a[2Jb");
        assert_eq!(shown(b"a\x1b[2Jb\r", false, false), "a\x1b[2Jb\r");
    }

    #[test]
    fn the_name_is_found_in_each_format() {
        const TIME: &str = "2026/11/21 10:00:00 ";
        for (rest, name) in [
            ("ann: hi: there", Some("ann")),
            ("[tea] ann: hi", Some("ann")),
            ("* ann waves", Some("ann")),
            ("[tea] * ann waves", Some("ann")),
            ("[::1]:4000: hi", Some("[::1]:4000")),
            ("127.0.0.1:4000", Some("127.0.0.1:4000")),
            ("小明: 你好", Some("小明")),
            ("no name here", None),
            ("", None),
        ] {
            let line = format!("{TIME}{rest}");
            let found = name_in(line.as_bytes()).map(|range| &line[range]);
            assert_eq!(found, name, "{line}");
        }
        assert_eq!(name_in(b"ann: hi"), None);
    }

    #[test]
    fn a_name_keeps_its_colour_and_ends_it() {
        let first = shown(b"2026/11/21 10:00:00 ann: hi", true, true);
        let second = shown(b"2026/11/21 10:00:00 [x] ann: ho", true, true);
        let colour = |text: &str| text.split_once("\x1b[").map(|(_, rest)| rest[..3].to_owned());
        assert_eq!(colour(&first), colour(&second));
        assert!(first.ends_with("ann\x1b[0m: hi"), "{first:?}");
    }

    #[test]
    fn what_a_member_says_is_never_taken_for_the_servers_words() {
        const TIME: &str = "2026/11/21 10:00:00 ";
        let is_own = |lines: &[&str]| -> Vec<bool> {
            let mut reader = Reader::default();
            lines.iter().map(|line| reader.take(line.as_bytes(), true)).collect()
        };
        for name in
            ["ann", "[tea] ann", "* ann", "[tea] * 小明", "127.0.0.1:4", "[::1]:4000", "[tea] [::1]:4"]
        {
            let header = format!("{TIME}{name}");
            let forged = format!("{TIME}bob");
            assert_eq!(is_own(&[&header, "-- forged --", "-- true --"]), [true, false, true], "{name}");
            // A text that looks like a header announces nothing.
            assert_eq!(is_own(&[&header, &forged, "-- true --"]), [true, false, true], "{name}");
        }
        for line in ["ann: hi", "[tea] ann: hi", "ann: ", "* ann waves", "bob -> you: hi", "you -> bob: hi"] {
            assert_eq!(is_own(&[&format!("{TIME}{line}"), "-- true --"]), [true, true], "{line}");
        }
    }

    #[test]
    fn the_rest_of_a_line_that_was_cut_is_no_line() {
        let mut reader = Reader::default();
        assert!(reader.take(b"very long ", false));
        assert!(!reader.take(b"-- forged --", true));
        assert!(reader.take(b"-- true --", true));
    }

    #[test]
    fn a_forged_line_does_not_look_like_the_servers() {
        let style = Style { is_clean: true, is_coloured: true };
        let shown = |is_own| {
            let mut out = Vec::new();
            show_into(b"-- hi --", is_own, style, &mut out);
            out
        };
        assert_eq!(shown(false), b"-- hi --");
        assert_eq!(shown(true), b"\x1b[2m-- hi --\x1b[0m");
    }

    #[test]
    fn a_line_split_anywhere_waits_for_its_end() {
        let bytes = "你好\nx".as_bytes();
        for end in 0..7 {
            assert_eq!(next_line(&bytes[..end]), None);
        }
        assert_eq!(next_line(bytes), Some(("你好".as_bytes(), 7)));
    }

    #[test]
    fn an_endless_line_is_cut_between_characters() {
        let bytes = "你".repeat(LINE_BYTES_MAX).into_bytes();
        let bytes = &bytes[..LINE_BYTES_MAX + 100];
        let (piece, consumed) = next_line(bytes).expect("a piece");
        assert_eq!(piece.len(), consumed);
        assert!(str::from_utf8(piece).is_ok());
        assert!(consumed > LINE_BYTES_MAX - 3);
    }
}
