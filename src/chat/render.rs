//! What the server's text looks like: timestamps, messages in each format, sizes and durations.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::config::Format;

/// The timestamp of the current second, rendered once for all messages of that second.
#[derive(Debug)]
pub struct Stamp {
    zone: TimeZone,
    unix_s: i64,
    text: String,
}

impl Stamp {
    /// A stamp that renders in `zone`.
    #[must_use]
    pub fn new(zone: TimeZone) -> Self {
        Stamp { zone, unix_s: i64::MIN, text: String::new() }
    }

    /// `2026/11/21 10:00:00`
    pub fn at(&mut self, unix_s: i64) -> &str {
        if unix_s != self.unix_s {
            self.unix_s = unix_s;
            self.text.clear();
            write_time(&mut self.text, &self.zone, unix_s);
        }
        &self.text
    }

    /// The same for any other second.
    #[must_use]
    pub fn time(&self, unix_s: i64) -> String {
        let mut text = String::new();
        write_time(&mut text, &self.zone, unix_s);
        text
    }
}

fn write_time(out: &mut String, zone: &TimeZone, unix_s: i64) {
    // A clock that is off by millennia shows 1970 rather than ending the server.
    let time = zone.to_datetime(Timestamp::from_second(unix_s).unwrap_or(Timestamp::UNIX_EPOCH));
    let _ = write!(
        out,
        "{:04}/{:02}/{:02} {:02}:{:02}:{:02}",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
}

/// What a person said.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// `2026/11/21 10:00:00`
    pub time: &'a str,
    /// `[ROOM] `, or nothing in the first room.
    pub tag: &'a str,
    /// Who said it.
    pub name: &'a str,
    /// What they said, without a line end.
    pub text: &'a [u8],
    /// `/me`: what they do.
    pub is_action: bool,
}

impl Message<'_> {
    /// The record that everyone gets, as parts to be appended one behind the other.
    #[must_use]
    pub fn parts(&self, format: Format) -> [&[u8]; 8] {
        let tag = self.tag.as_bytes();
        let name = self.name.as_bytes();
        let none = &b""[..];
        let star: &[u8] = if self.is_action { b"* " } else { none };
        match format {
            Format::Raw => [none, none, none, none, none, none, self.text, b"\n"],
            Format::Ack if self.is_action => [b"ack ", none, none, star, name, b" ", self.text, b"\n"],
            Format::Ack => [b"ack ", none, none, none, none, none, self.text, b"\n"],
            Format::Line => {
                let colon: &[u8] = if self.is_action { b" " } else { b": " };
                [self.time.as_bytes(), b" ", tag, star, name, colon, self.text, b"\n"]
            }
            Format::Classic => [self.time.as_bytes(), b" ", tag, star, name, b"\n", self.text, b"\n"],
        }
    }
}

/// `0 s`, `59 s`, `3 min`, `2 h`, `5 d`: the largest unit that is not zero.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}

/// `512 B`, `4.0 KiB`, `1.5 MiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `1 message`, `2 messages`.
#[must_use]
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamp_follows_the_clock_in_its_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        let mut stamp = Stamp::new(zone);
        assert_eq!(stamp.at(1_795_255_200), "2026/11/21 18:00:00");
        assert_eq!(stamp.at(1_795_255_201), "2026/11/21 18:00:01");
        assert_eq!(stamp.time(0), "1970/01/01 08:00:00");
        assert_eq!(stamp.at(i64::MAX), "1970/01/01 08:00:00");
    }

    #[test]
    fn each_format_looks_as_documented() {
        let message = Message { time: "T", tag: "[r] ", name: "ann", text: b"hi", is_action: false };
        let line = |format| String::from_utf8(message.parts(format).concat()).expect("text");
        assert_eq!(line(Format::Line), "T [r] ann: hi\n");
        assert_eq!(line(Format::Classic), "T [r] ann\nhi\n");
        assert_eq!(line(Format::Raw), "hi\n");
        assert_eq!(line(Format::Ack), "ack hi\n");
        let action = Message { text: b"waves", is_action: true, ..message };
        assert_eq!(action.parts(Format::Line).concat(), b"T [r] * ann waves\n");
        assert_eq!(action.parts(Format::Classic).concat(), b"T [r] * ann\nwaves\n");
    }

    #[test]
    fn sizes_and_durations_are_short() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes(1 << 20), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16384.0 PiB");
        assert_eq!(duration(Duration::from_secs(59)), "59 s");
        assert_eq!(duration(Duration::from_secs(7200)), "2 h");
        assert_eq!(count(1, "message"), "1 message");
    }
}
