//! Replies whose text depends on what the model does not know, by their shape.

use crate::limits;

/// What a reply looks like.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    /// One line, with one of these between its head and its tail.
    Line { head: String, middles: &'static [&'static str], tail: String },
    /// `/help`: so many of its lines were seen; a line has at most so many bytes.
    Help { lines: usize, line_bytes_max: usize },
    /// `/lag`, before its first line.
    Lag { room: String },
    /// The rest of a list of indented lines.
    Indented { lines: usize },
}

/// What a line did to a shape.
#[derive(Debug)]
pub(super) enum Step {
    /// It does not belong there.
    Wrong,
    /// More lines follow.
    More(Shape),
    /// It was the last one.
    Done,
}

/// What a refused name is told.
pub(super) const NAME_REFUSALS: &[&str] = &[
    "a name has at least one letter; give one",
    "a name has at most 32 bytes, ",
    "cannot be in a name; use letters, digits, '_' and '-'",
    "a name cannot begin with '",
    "a name needs a letter; add one",
    "looks like an address; choose another name",
    "looks like a guest, who has no name yet; choose another name",
    "is reserved; choose another name",
    "is taken; choose another name",
    "looks like a name in use; choose another name",
];

/// What an unknown command is told.
pub(super) const COMMAND_ADVICE: &[&str] = &[
    "did you mean /help?",
    "did you mean /nick?",
    "did you mean /say?",
    "did you mean /me?",
    "did you mean /who?",
    "did you mean /join?",
    "did you mean /leave?",
    "did you mean /rooms?",
    "did you mean /msg?",
    "did you mean /last?",
    "did you mean /lag?",
    "did you mean /ping?",
    "did you mean /quit?",
    "/help lists the commands",
];

impl Shape {
    /// Goes on by a line, given without its end.
    pub(super) fn step(&self, line: &str) -> Step {
        let (fits, next) = match self {
            Shape::Line { head, middles, tail } => {
                let middle = line.strip_prefix(&**head).and_then(|rest| rest.strip_suffix(&**tail));
                (middle.is_some_and(|middle| middles.iter().any(|known| middle.contains(known))), None)
            }
            Shape::Help { lines, line_bytes_max } => return help(*lines, *line_bytes_max, line),
            Shape::Lag { room } => {
                let nobody = line == format!("-- nobody in {room} is behind --");
                let count = line.strip_prefix("-- ").and_then(|rest| {
                    let (count, rest) = rest.split_once(" reader")?;
                    let rest = rest.strip_prefix('s').unwrap_or(rest);
                    (rest == format!(" behind in {room} --")).then(|| count.parse::<usize>().ok())?
                });
                let lines = count.map(|count| count.min(limits::LISTED_MAX + 1));
                (nobody || lines.is_some_and(|lines| lines > 0), lines.map(|lines| Shape::Indented { lines }))
            }
            Shape::Indented { lines } => {
                let next = (*lines > 1).then(|| Shape::Indented { lines: lines - 1 });
                (line.starts_with("  "), next)
            }
        };
        match next {
            _ if !fits => Step::Wrong,
            Some(next) => Step::More(next),
            None => Step::Done,
        }
    }
}

fn help(lines: usize, line_bytes_max: usize, line: &str) -> Step {
    /// Commands, and the line about two slashes.
    const LISTED: usize = 14;
    let more = Step::More(Shape::Help { lines: lines + 1, line_bytes_max });
    match lines {
        0 if line == "Type a line and Enter to say it to the room." => more,
        1..=LISTED if line.starts_with("  /") => more,
        15 if line.starts_with("At most ") && line.ends_with("more will wait, nothing is lost.") => more,
        15 | 16 if line == format!("A line has at most {line_bytes_max} bytes.") => Step::Done,
        _ => Step::Wrong,
    }
}
