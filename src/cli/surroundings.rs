//! What the chat's configuration follows from beside its arguments: found once, when the server starts, and put
//! into the head of a recording, so that a replay anywhere has the same configuration.

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::Path;

use jiff::fmt::temporal::{DateTimeParser, DateTimePrinter};
use jiff::tz::TimeZone;

use crate::codec::text;
use crate::limits;
use crate::recording::Head;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Surroundings {
    /// How many may be open.
    pub(super) descriptors: u64,
    /// The message of the day: cleaned lines, each with its end; may be empty.
    pub(super) motd: String,
    pub(super) time_zone: TimeZone,
    /// The zone's file, where it has neither name nor rule: a copied /etc/localtime. Else nothing.
    zone_file: Vec<u8>,
    /// Whether somebody sits before the console.
    pub(super) console_prompt: bool,
}

const DESCRIPTORS: &str = "descriptors";
const MOTD: &str = "motd";
const TIME_ZONE: &str = "time zone";
const CONSOLE_PROMPT: &str = "console prompt";

impl Surroundings {
    /// Those of this process; the message of the day is a text, or the file that it is in.
    pub(super) fn of_this_process(descriptors: u64, motd: Option<&str>) -> Result<Self, String> {
        let (time_zone, zone_file) = system_zone();
        Ok(Surroundings {
            descriptors,
            motd: motd.map_or(Ok(String::new()), read_motd)?,
            time_zone,
            zone_file,
            console_prompt: std::io::stdin().is_terminal() && std::io::stdout().is_terminal(),
        })
    }

    /// As a recording has them.
    ///
    /// # Errors
    /// Where it could not tell the time as this process does.
    pub(super) fn facts(&self) -> Result<Vec<(String, String)>, String> {
        let fact = |name: &str, value: String| (name.to_string(), value);
        Ok(vec![
            fact(DESCRIPTORS, self.descriptors.to_string()),
            fact(MOTD, self.motd.clone()),
            fact(TIME_ZONE, self.recorded_zone()?),
            fact(CONSOLE_PROMPT, self.console_prompt.to_string()),
        ])
    }

    /// Those of a recording, which are held to what those of a process are held to.
    pub(super) fn of_recording(head: &Head) -> Result<Self, String> {
        let fact = |name| head.fact(name).ok_or_else(|| format!("it does not say: {name}"));
        let wrong = |name: &str, value: &str| format!("it has no such {name}: {value}");
        let descriptors = fact(DESCRIPTORS)?;
        let time_zone = fact(TIME_ZONE)?;
        let console_prompt = fact(CONSOLE_PROMPT)?;
        let motd = fact(MOTD)?;
        let (time_zone, zone_file) = zone_of(time_zone)?;
        Ok(Surroundings {
            descriptors: descriptors
                .parse()
                .ok()
                .filter(|descriptors| *descriptors <= limits::DESCRIPTORS_MAX)
                .ok_or_else(|| wrong(DESCRIPTORS, descriptors))?,
            motd: if motd.is_empty() { String::new() } else { cleaned_motd(motd.as_bytes())? },
            time_zone,
            zone_file,
            console_prompt: console_prompt.parse().map_err(|_| wrong(CONSOLE_PROMPT, console_prompt))?,
        })
    }

    /// The zone's name or rule, or its file in hexadecimal: an offset alone would hold until clocks change.
    fn recorded_zone(&self) -> Result<String, String> {
        if self.zone_file.is_empty() {
            return DateTimePrinter::new().time_zone_to_string(&self.time_zone).map_err(|_| {
                let most = limits::ZONE_FILE_BYTES_MAX;
                format!("the time zone has no name, and no file of at most {most} bytes: name one with TZ")
            });
        }
        let mut recorded = ZONE_FILE.to_string();
        self.zone_file
            .iter()
            .try_for_each(|byte| write!(recorded, "{byte:02x}"))
            .map_err(|e| e.to_string())?;
        Ok(recorded)
    }
}

/// What is before a zone's file in a recording.
const ZONE_FILE: &str = "tzif:";

/// The zone of this process, and its file where it has neither name nor rule.
fn system_zone() -> (TimeZone, Vec<u8>) {
    let zone = TimeZone::system();
    if DateTimePrinter::new().time_zone_to_string(&zone).is_ok() {
        return (zone, Vec::new());
    }
    // tzset(3)
    let place = std::env::var("TZ").unwrap_or_else(|_| "/etc/localtime".into());
    std::fs::read(place.trim_start_matches(':')).ok().and_then(zone_in_file).unwrap_or((zone, Vec::new()))
}

fn zone_in_file(file: Vec<u8>) -> Option<(TimeZone, Vec<u8>)> {
    let file = Some(file).filter(|file| file.len() <= limits::ZONE_FILE_BYTES_MAX)?;
    Some((TimeZone::tzif("", &file).ok()?, file))
}

/// The zone that a recording has, and its file if that is there.
fn zone_of(recorded: &str) -> Result<(TimeZone, Vec<u8>), String> {
    if let Some(hexadecimal) = recorded.strip_prefix(ZONE_FILE) {
        let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        let file = hexadecimal.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>();
        return file.and_then(zone_in_file).ok_or_else(|| "the file of its time zone is none".into());
    }
    let zone = DateTimeParser::new()
        .parse_time_zone(recorded)
        .map_err(|_| format!("its time zone is not known here: {recorded}; is tzdata installed?"))?;
    Ok((zone, Vec::new()))
}

fn read_motd(text_or_file: &str) -> Result<String, String> {
    let raw = match text_or_file.strip_prefix('@') {
        Some(path) => std::fs::read(Path::new(path)).map_err(|error| format!("--motd @{path}: {error}"))?,
        None => text_or_file.as_bytes().to_vec(),
    };
    cleaned_motd(&raw)
}

fn cleaned_motd(raw: &[u8]) -> Result<String, String> {
    let lines: Vec<String> = raw.split(|byte| *byte == b'\n').map(text::clean).collect();
    let text = lines.join("\n");
    match text.trim_end_matches('\n') {
        text if text.len() <= limits::MOTD_BYTES_MAX => Ok(format!("{text}\n")),
        text => Err(format!("--motd: {} bytes, {} at most", text.len(), limits::MOTD_BYTES_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_gives_back_what_it_was_given() {
        let parsed = |zone| (DateTimeParser::new().parse_time_zone(zone).expect("a time zone"), Vec::new());
        let zones =
            ["Europe/Berlin", "UTC", "+05:30", "CET-1CEST,M3.5.0,M10.5.0/3", "Etc/Unknown"].map(parsed);
        let file = zone_in_file(zone_file()).expect("a zone");
        for (time_zone, zone_file) in zones.into_iter().chain([file]) {
            let surroundings = Surroundings {
                descriptors: 1024,
                motd: "two\nlines = two\n".into(),
                time_zone,
                zone_file,
                console_prompt: true,
            };
            let facts = surroundings.facts().expect("the zone can be told");
            let head = Head { facts, ..Head::default() };
            assert_eq!(Surroundings::of_recording(&head), Ok(surroundings));
        }
    }

    /// A file as `zic` makes it: two hours in winter, and one more from a moment in 2026 on (RFC 9636).
    fn zone_file() -> Vec<u8> {
        let counts =
            |transitions: u8| [[0; 4], [0; 4], [0; 4], [0, 0, 0, transitions], [0, 0, 0, 2], [0, 0, 0, 8]];
        let head = |transitions| [&b"TZif2"[..], &[0; 15], &counts(transitions).concat()].concat();
        let kind =
            |offset_s: i32, is_summer, name| [&offset_s.to_be_bytes()[..], &[is_summer, name]].concat();
        let kinds = [&kind(7200, 0, 0)[..], &kind(10800, 1, 4), b"AAA\0BBB\0"].concat();
        [&head(0)[..], &kinds, &head(1), &1_795_255_200_i64.to_be_bytes(), &[1], &kinds, b"\n\n"].concat()
    }

    #[test]
    fn a_zone_without_a_name_is_recorded_with_all_its_changes() {
        let (time_zone, zone_file) = zone_in_file(zone_file()).expect("a zone");
        let known = Surroundings::of_this_process(9, None).expect("no file is read");
        let facts = Surroundings { time_zone, zone_file, ..known }.facts().expect("the file is there");
        let again = Surroundings::of_recording(&Head { facts, ..Head::default() }).expect("as it was");
        let offset = |unix_s| {
            let moment = jiff::Timestamp::from_second(unix_s).expect("a moment");
            again.time_zone.to_offset(moment).seconds()
        };
        assert_eq!([offset(1_795_255_199), offset(1_795_255_200)], [7200, 10800]);
        let long = [tests::zone_file(), vec![0; limits::ZONE_FILE_BYTES_MAX]].concat();
        assert!(zone_in_file(long).is_none());
    }

    #[test]
    fn a_forged_zone_is_one_or_none() {
        let file = zone_file();
        let mut zones = 0;
        for at in 0..file.len() {
            for value in [0, 1, 0x3b, 0x7f, 0x80, 0xff] {
                let mut forged = file.clone();
                forged[at] = value;
                let Some((zone, _)) = zone_in_file(forged) else { continue };
                zones += 1;
                for unix_s in [i64::MIN, -1, 0, 1_795_255_200, 1 << 33, i64::MAX] {
                    let moment = jiff::Timestamp::from_second(unix_s).unwrap_or(jiff::Timestamp::MAX);
                    zone.to_datetime(moment);
                }
            }
        }
        assert!(zones > 100, "{zones}");
        for wrong in ["tzif:", "tzif:5", "tzif:zz", "tzif:é", "tzif:00"] {
            assert!(zone_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_recording_without_a_fact_or_with_a_strange_one_is_told_so() {
        let none = Surroundings::of_recording(&Head::default());
        assert_eq!(none, Err("it does not say: descriptors".into()));
        let strange = |name: &str, value: &str| {
            let surroundings = Surroundings::of_this_process(9, None).expect("no file is read");
            let mut facts = surroundings.facts().expect("the zone can be told");
            facts.iter_mut().find(|(known, _)| known == name).expect("a fact").1 = value.into();
            Surroundings::of_recording(&Head { facts, ..Head::default() })
        };
        assert!(strange(DESCRIPTORS, "many").is_err());
        assert!(strange(DESCRIPTORS, "2147483648").is_ok());
        assert!(strange(DESCRIPTORS, "2147483649").expect_err("no kernel").contains("no such descriptors"));
        assert_eq!(strange(MOTD, "be\u{1b} kind\n").expect("a text").motd, "be kind\n");
        let long = "x".repeat(limits::MOTD_BYTES_MAX);
        assert!(strange(MOTD, &long).is_ok() && strange(MOTD, &(long + "x")).is_err());
        assert!(
            strange(TIME_ZONE, "Middle/Earth").expect_err("none").contains("not known here: Middle/Earth")
        );
        assert!(strange(CONSOLE_PROMPT, "perhaps").is_err());
    }
}
