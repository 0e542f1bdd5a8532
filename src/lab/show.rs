//! How results look in a lesson: numbers, times, bytes, errors, addresses; and text in columns of a terminal.

use std::fmt::Write;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use nix::errno::Errno;
use rustix::event::PollFlags;
use unicode_width::UnicodeWidthStr;

/// Columns that a lesson takes.
pub(super) const WIDTH: usize = 80;

/// Columns of an error: "ConnectionReset (ECONNRESET)".
const ERROR_COLUMNS_MAX: usize = 28;

/// Bytes of a message that are shown.
const SHOWN_BYTES_MAX: usize = 16;

/// What a system call can return.
pub trait Show {
    /// Short, for one line.
    fn show(&self) -> String;
}

impl Show for () {
    fn show(&self) -> String {
        "ok".into()
    }
}

impl Show for usize {
    fn show(&self) -> String {
        grouped(*self)
    }
}

impl Show for String {
    fn show(&self) -> String {
        self.clone()
    }
}

impl Show for SocketAddr {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for TcpListener {
    fn show(&self) -> String {
        self.local_addr().map_or_else(|error| self::error(&error), |address| format!("at {address}"))
    }
}

impl Show for TcpStream {
    fn show(&self) -> String {
        self.local_addr().map_or_else(|error| self::error(&error), |address| format!("as {address}"))
    }
}

/// What is left of an error, as SO_ERROR gives it.
impl Show for Option<io::Error> {
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "no error".into(), error)
    }
}

impl<T> Show for (T, SocketAddr) {
    fn show(&self) -> String {
        format!("from {}", self.1)
    }
}

/// The error's kind in Rust, and its number's name in C and Python where a line has room for both.
pub(super) fn error(error: &io::Error) -> String {
    let Some(number) = error.raw_os_error().map(Errno::from_raw) else { return error.to_string() };
    let kind = format!("{:?}", error.kind());
    let both = format!("{kind} ({number:?})");
    if both.len() <= ERROR_COLUMNS_MAX { both } else { kind }
}

/// The result of a call, as its line shows it.
pub(super) fn result<T: Show>(result: &io::Result<T>) -> String {
    match result {
        Ok(value) => value.show(),
        Err(error) => self::error(error),
    }
}

/// What recv(2) gave.
pub(super) fn received(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        "0 (the end)".into()
    } else {
        format!("{} {}", grouped(bytes.len()), quoted(bytes))
    }
}

/// What is given to send(2).
pub(super) fn sent(bytes: &[u8]) -> String {
    if bytes.len() <= SHOWN_BYTES_MAX { quoted(bytes) } else { format!("{} bytes", grouped(bytes.len())) }
}

/// Text as it is, and `\n`, `\xe4` for what is none.
pub(super) fn quoted(bytes: &[u8]) -> String {
    let (bytes, more) = bytes.split_at_checked(SHOWN_BYTES_MAX).unwrap_or((bytes, &[]));
    let mut shown = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        shown.extend(chunk.valid().escape_debug());
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown + if more.is_empty() { "\"" } else { "\"..." }
}

/// `12 µs`, `250 ms`, `1.50 s`.
pub(super) fn duration(duration: Duration) -> String {
    match duration.as_micros() {
        0 => "< 1 µs".into(),
        micros @ 1..1000 => format!("{micros} µs"),
        micros @ 1000..10_000 => format!("{:.1} ms", micros as f64 / 1e3),
        micros @ 10_000..1_000_000 => format!("{} ms", micros / 1000),
        micros => format!("{:.2} s", micros as f64 / 1e6),
    }
}

/// A duration as it is asked for: `0`, `300 ms`, `5 s`.
pub(super) fn timeout(timeout: Duration) -> String {
    match timeout.as_millis() {
        0 => "0".into(),
        millis if millis.is_multiple_of(1000) => format!("{} s", millis / 1000),
        millis => format!("{millis} ms"),
    }
}

/// `1,048,576`.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `IN+HUP`; `nothing`.
pub(super) fn flags(flags: PollFlags) -> String {
    let names: Vec<&str> = flags.iter_names().map(|(name, _)| name).collect();
    if names.is_empty() { "nothing".into() } else { names.join("+") }
}

/// Columns that a terminal needs for `text`.
pub(super) fn columns(text: &str) -> usize {
    text.width()
}

/// `text`, with spaces behind it up to `width` columns.
pub(super) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// `text` in lines of at most `width` columns, as far as its words allow.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("invariant: there is a first line");
        if line.is_empty() {
            line.push_str(word);
        } else if columns(line) + 1 + columns(word) <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.into());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_where_they_can_be() {
        assert_eq!(received(b""), "0 (the end)");
        assert_eq!(received("你好\n".as_bytes()), "7 \"你好\\n\"");
        assert_eq!(received(&"你好".as_bytes()[..4]), "4 \"你\\xe5\"");
        assert_eq!(quoted(&[b'x'; 17]), format!("\"{}\"...", "x".repeat(16)));
        assert_eq!(sent(&[b'x'; 65536]), "65,536 bytes");
    }

    #[test]
    fn numbers_have_units_and_groups() {
        assert_eq!(
            ["0", "999", "1,000", "1,048,576"],
            [0, 999, 1000, 1 << 20].map(grouped).each_ref().map(String::as_str)
        );
        let times = [0, 999, 1000, 1500, 250_000, 2_500_000].map(Duration::from_micros).map(duration);
        assert_eq!(times, ["< 1 µs", "999 µs", "1.0 ms", "1.5 ms", "250 ms", "2.50 s"]);
    }

    #[test]
    fn errors_have_the_names_that_the_man_pages_use() {
        assert_eq!(error(&io::Error::from(rustix::io::Errno::AGAIN)), "WouldBlock (EAGAIN)");
        assert_eq!(error(&io::Error::from(rustix::io::Errno::PIPE)), "BrokenPipe (EPIPE)");
        assert_eq!(error(&io::Error::from(rustix::io::Errno::CONNREFUSED)), "ConnectionRefused");
        assert_eq!(error(&io::Error::from(rustix::io::Errno::INPROGRESS)), "InProgress (EINPROGRESS)");
    }

    #[test]
    fn words_wrap_at_columns_not_at_bytes() {
        assert_eq!(wrapped("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrapped("你好 再见 朋友", 9), ["你好 再见", "朋友"]);
        assert_eq!(wrapped("unbreakable", 3), ["unbreakable"]);
        assert_eq!(columns(&padded("你好", 6)), 6);
    }
}
