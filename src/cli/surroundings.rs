//! What the chat's configuration follows from beside its arguments: found once, when the server starts, and put
//! into the head of a recording, so that a replay anywhere has the same configuration.

use std::io::IsTerminal;
use std::path::Path;

use jiff::Timestamp;
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
        Ok(Surroundings {
            descriptors,
            motd: motd.map_or(Ok(String::new()), read_motd)?,
            time_zone: TimeZone::system(),
            console_prompt: std::io::stdin().is_terminal() && std::io::stdout().is_terminal(),
        })
    }

    /// As a recording that begins now has them.
    pub(super) fn facts(&self, unix_s: i64) -> Vec<(String, String)> {
        let fact = |name: &str, value: String| (name.to_string(), value);
        vec![
            fact(DESCRIPTORS, self.descriptors.to_string()),
            fact(MOTD, self.motd.clone()),
            fact(TIME_ZONE, name_of(&self.time_zone, unix_s)),
            fact(CONSOLE_PROMPT, self.console_prompt.to_string()),
        ]
    }

    /// Those of a recording.
    pub(super) fn of_recording(head: &Head) -> Result<Self, String> {
        let fact = |name| head.fact(name).ok_or_else(|| format!("it does not say: {name}"));
        let wrong = |name: &str, value: &str| format!("it has no such {name}: {value}");
        let descriptors = fact(DESCRIPTORS)?;
        let time_zone = fact(TIME_ZONE)?;
        let console_prompt = fact(CONSOLE_PROMPT)?;
        Ok(Surroundings {
            descriptors: descriptors.parse().map_err(|_| wrong(DESCRIPTORS, descriptors))?,
            motd: fact(MOTD)?.to_string(),
            time_zone: DateTimeParser::new()
                .parse_time_zone(time_zone)
                .map_err(|_| format!("its time zone is not known here: {time_zone}; is tzdata installed?"))?,
            console_prompt: console_prompt.parse().map_err(|_| wrong(CONSOLE_PROMPT, console_prompt))?,
        })
    }
}

/// The zone's name or rule; where it has neither (a copied /etc/localtime), its present offset.
fn name_of(zone: &TimeZone, unix_s: i64) -> String {
    let printer = DateTimePrinter::new();
    printer
        .time_zone_to_string(zone)
        .or_else(|_| {
            let now = Timestamp::from_second(unix_s).unwrap_or(Timestamp::UNIX_EPOCH);
            printer.time_zone_to_string(&TimeZone::fixed(zone.to_offset(now)))
        })
        .unwrap_or_else(|_| "UTC".into())
}

fn read_motd(text_or_file: &str) -> Result<String, String> {
    let raw = match text_or_file.strip_prefix('@') {
        Some(path) => std::fs::read(Path::new(path)).map_err(|error| format!("--motd @{path}: {error}"))?,
        None => text_or_file.as_bytes().to_vec(),
    };
    if raw.len() > limits::MOTD_BYTES_MAX {
        return Err(format!("--motd: {} bytes, {} at most", raw.len(), limits::MOTD_BYTES_MAX));
    }
    let lines: Vec<String> = raw.split(|byte| *byte == b'\n').map(text::clean).collect();
    Ok(format!("{}\n", lines.join("\n").trim_end_matches('\n')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_gives_back_what_it_was_given() {
        for zone in ["Europe/Berlin", "UTC", "+05:30", "CET-1CEST,M3.5.0,M10.5.0/3", "Etc/Unknown"] {
            let surroundings = Surroundings {
                descriptors: 1024,
                motd: "two\nlines = two\n".into(),
                time_zone: DateTimeParser::new().parse_time_zone(zone).expect("a time zone"),
                console_prompt: true,
            };
            let head = Head { facts: surroundings.facts(1_795_255_200), ..Head::default() };
            assert_eq!(Surroundings::of_recording(&head), Ok(surroundings), "{zone}");
        }
    }

    #[test]
    fn a_recording_without_a_fact_or_with_a_strange_one_is_told_so() {
        let none = Surroundings::of_recording(&Head::default());
        assert_eq!(none, Err("it does not say: descriptors".into()));
        let strange = |name: &str, value: &str| {
            let surroundings = Surroundings::of_this_process(9, None).expect("no file is read");
            let mut facts = surroundings.facts(0);
            facts.iter_mut().find(|(known, _)| known == name).expect("a fact").1 = value.into();
            Surroundings::of_recording(&Head { facts, ..Head::default() })
        };
        assert!(strange(DESCRIPTORS, "many").is_err());
        assert!(
            strange(TIME_ZONE, "Middle/Earth").expect_err("none").contains("not known here: Middle/Earth")
        );
        assert!(strange(CONSOLE_PROMPT, "perhaps").is_err());
    }
}
