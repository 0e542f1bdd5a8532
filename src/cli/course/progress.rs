//! Transfers as people see them: bars on a terminal, lines now and then where there is none.
//!
//! All of it goes to standard error, and nothing of it waits: what a stopped terminal or a full pipe does
//! not take is dropped, as with the log. What peers had a say in is cleaned.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{
    HumanBytes, HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike,
};
use rustix::stdio::stderr;
use rustix::termios::{Winsize, tcgetwinsize};

use crate::codec::text;
use crate::engine::{Moment, Now};
use crate::event_loop::io::LossyOutput;
use crate::log_window::LogWindow;
use crate::progress::Progress;

/// Pause between two lines of one transfer.
const LINE_PAUSE: Duration = Duration::from_secs(5);

/// Bars at the same time; transfers beyond them show only how they ended.
const BARS_MAX: usize = 8;

/// Drawings a second.
const BARS_PER_SECOND: u8 = 10;

const BAR: &str = "{wide_msg} [{bar:16}] {percent:>3} % {binary_bytes_per_sec:>12} {eta:>4} left";
/// The same where a terminal has no room for that and a name.
const BAR_NARROW: &str = "{wide_msg} {percent:>3} % {binary_bytes_per_sec:>12} {eta:>4} left";
const COLUMNS_NARROW: u16 = 64;

const BAR_WITHOUT_END: &str = "{wide_msg} {bytes:>10} {binary_bytes_per_sec:>12}";

/// What shows the transfers of the subcommand `name`; failures are shown even if all else is not to be. Where
/// others cause the transfers, they cannot cause a flood of lines (P22).
pub(super) fn progress(name: &'static str, is_quiet: bool, is_of_others: bool) -> Box<dyn Progress> {
    let voice = Voice { name, is_bounded: is_of_others, windows: Default::default() };
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    if !is_quiet && stderr().is_terminal() && !is_dumb {
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(Terminal), BARS_PER_SECOND);
        Box::new(Bars { voice, all: MultiProgress::with_draw_target(target), bars: BTreeMap::new() })
    } else {
        Box::new(Lines { voice, is_quiet, transfers: BTreeMap::new() })
    }
}

/// Bars on a terminal.
#[derive(Debug)]
struct Bars {
    voice: Voice,
    all: MultiProgress,
    bars: BTreeMap<u32, ProgressBar>,
}

impl Progress for Bars {
    fn begin(&mut self, _now: Now, number: u32, what: &str, done: u64, total: Option<u64>) {
        if !self.bars.contains_key(&number) && self.bars.len() >= BARS_MAX {
            return;
        }
        let bar = self.bars.entry(number).or_insert_with(|| {
            let (bar, template) = match total {
                Some(total) if size().ws_col < COLUMNS_NARROW => (ProgressBar::new(total), BAR_NARROW),
                Some(total) => (ProgressBar::new(total), BAR),
                None => (ProgressBar::no_length(), BAR_WITHOUT_END),
            };
            let style = ProgressStyle::with_template(template).expect("invariant: the templates are right");
            self.all.add(bar.with_style(style.progress_chars("=> ")))
        });
        bar.set_message(text::clean(what.as_bytes()));
        bar.set_position(done);
        // What was there before is no measure of the speed.
        bar.reset_eta();
    }

    fn advance(&mut self, _now: Now, number: u32, done: u64) {
        if let Some(bar) = self.bars.get(&number) {
            bar.set_position(done);
        }
    }

    fn end(&mut self, now: Now, number: u32, how: Result<String, String>) {
        if let Some(bar) = self.bars.remove(&number) {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
        self.all.suspend(|| match how {
            Ok(how) => self.voice.say(now, Kind::Done, &how),
            Err(why) => self.voice.complain(now, &why),
        });
    }
}

/// Standard error as a terminal that never blocks. It keeps nothing back: what a stopped terminal misses
/// is drawn again soon.
#[derive(Debug)]
struct Terminal;

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        size().ws_col
    }

    fn height(&self) -> u16 {
        size().ws_row
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        self.move_cursor(lines, 'A')
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        self.move_cursor(lines, 'B')
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.move_cursor(columns, 'C')
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.move_cursor(columns, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(&format!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        LossyOutput::log().write_all(text.as_bytes())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.write_str("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Terminal {
    fn move_cursor(&self, by: usize, direction: char) -> io::Result<()> {
        if by == 0 { Ok(()) } else { self.write_str(&format!("\x1b[{by}{direction}")) }
    }
}

/// The terminal's size; where it does not know, what they all have.
fn size() -> Winsize {
    let known = tcgetwinsize(stderr()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    known.unwrap_or(Winsize { ws_col: 80, ws_row: 24, ws_xpixel: 0, ws_ypixel: 0 })
}

/// Lines in a log.
#[derive(Debug)]
struct Lines {
    voice: Voice,
    is_quiet: bool,
    transfers: BTreeMap<u32, Line>,
}

#[derive(Debug)]
struct Line {
    what: String,
    total: Option<u64>,
    began: Moment,
    began_at: u64,
    told: Moment,
}

impl Progress for Lines {
    fn begin(&mut self, now: Now, number: u32, what: &str, done: u64, total: Option<u64>) {
        if self.is_quiet {
            return;
        }
        let size = total.map_or("of unknown size".into(), |total| HumanBytes(total).to_string());
        let from = if done > 0 { format!(", from byte {done} on") } else { String::new() };
        self.voice.say(now, Kind::Running, &format!("{what}: {size}{from}"));
        let what = what.to_string();
        self.transfers
            .insert(number, Line { what, total, began: now.moment, began_at: done, told: now.moment });
    }

    fn advance(&mut self, now: Now, number: u32, done: u64) {
        if let Some(line) = self.transfers.get_mut(&number)
            && now.moment.since(line.told) >= LINE_PAUSE
        {
            line.told = now.moment;
            self.voice.say(now, Kind::Running, &line.at(now, done));
        }
    }

    fn end(&mut self, now: Now, number: u32, how: Result<String, String>) {
        let took = self.transfers.remove(&number).map(|line| now.moment.since(line.began));
        match how {
            Ok(_) if self.is_quiet => {}
            Ok(how) => {
                let took = took.map_or(String::new(), |took| format!(", {:.1} s", took.as_secs_f64()));
                self.voice.say(now, Kind::Done, &format!("{how}{took}"));
            }
            Err(why) => self.voice.complain(now, &why),
        }
    }
}

impl Line {
    fn at(&self, now: Now, done: u64) -> String {
        let seconds = now.moment.since(self.began).as_secs_f64();
        let per_second = done.saturating_sub(self.began_at) as f64 / seconds;
        let rate = HumanBytes(per_second as u64);
        let Some(total) = self.total.filter(|total| *total > 0) else {
            return format!("{}: {}, {rate}/s", self.what, HumanBytes(done));
        };
        let left_s = (total.saturating_sub(done) as f64 / per_second.max(1.0)).min(u32::MAX.into());
        let left = HumanDuration(Duration::from_secs_f64(left_s));
        let percent = u128::from(done) * 100 / u128::from(total);
        format!("{}: {percent} % of {}, {rate}/s, {left} left", self.what, HumanBytes(total))
    }
}

/// Says what anybody can cause, but not as often as they like.
#[derive(Debug)]
struct Voice {
    name: &'static str,
    is_bounded: bool,
    /// One for each [`Kind`]: who sends many files well hides nobody's failure.
    windows: [LogWindow; 3],
}

/// What a line is about.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Running,
    Done,
    Failed,
}

impl Voice {
    fn complain(&mut self, now: Now, why: &str) {
        let name = self.name;
        self.say(now, Kind::Failed, &format!("onepoll: {name}: {why}"));
    }

    fn say(&mut self, now: Now, kind: Kind, line: &str) {
        if self.may_speak(now, kind) {
            say(line);
        }
    }

    fn may_speak(&mut self, now: Now, kind: Kind) -> bool {
        let name = self.name;
        !self.is_bounded
            || self.windows[kind as usize].admits(now.moment, |left_out| {
                say(&format!("onepoll: {name}: {left_out} lines like the next were left out"));
            })
    }
}

fn say(line: &str) {
    // It drops what standard error does not take, and never fails.
    let _ = LossyOutput::log().write_all(format!("{}\n", text::clean(line.as_bytes())).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    #[test]
    fn what_others_cause_is_no_flood_and_none_of_the_own_files_is_left_out() {
        let said = |is_bounded, at_s| {
            let mut voice = Voice { name: "x", is_bounded, windows: Default::default() };
            let now = Now { moment: Moment::START + Duration::from_secs(at_s), unix_s: 0 };
            let said = (0..10_000).filter(|_| voice.may_speak(now, Kind::Done)).count();
            assert!(voice.may_speak(now, Kind::Failed), "a failure is hidden");
            (said, voice.windows[Kind::Done as usize].left_out())
        };
        let most = limits::LOG_LINES_PER_WINDOW as usize;
        assert_eq!(said(true, 1), (most, 10_000 - most as u64));
        assert_eq!(said(true, 100), (most, 10_000 - most as u64));
        assert_eq!(said(false, 1), (10_000, 0));
    }

    #[test]
    fn a_line_tells_the_rate_since_it_began_and_what_is_left() {
        let line = |total, began_at| Line {
            what: "a".into(),
            total,
            began: Moment::START + Duration::from_secs(1),
            began_at,
            told: Moment::START,
        };
        let now = Now { moment: Moment::START + Duration::from_secs(11), unix_s: 0 };
        let mib = 1 << 20;
        let half = line(Some(200 * mib), 0).at(now, 100 * mib);
        assert_eq!(half, "a: 50 % of 200.00 MiB, 10.00 MiB/s, 10 seconds left");
        let resumed = line(Some(200 * mib), 90 * mib).at(now, 100 * mib);
        assert_eq!(resumed, "a: 50 % of 200.00 MiB, 1.00 MiB/s, 2 minutes left");
        assert_eq!(line(None, 0).at(now, 100 * mib), "a: 100.00 MiB, 10.00 MiB/s");
        assert_eq!(line(Some(0), 0).at(now, 0), "a: 0 B, 0 B/s");
        assert!(line(Some(mib), 0).at(now, 0).contains("0 % of 1.00 MiB, 0 B/s, "));
    }
}
