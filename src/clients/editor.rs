//! A one-line terminal editor that survives incoming messages: bytes typed in, bytes to print out.
//!
//! Owns the line being typed, the cursor, the history and the picture of one screen row. It reads
//! no terminal and writes none: the caller puts the terminal in raw mode (with `ISIG` off, so
//! that Ctrl-C and Ctrl-Z arrive as bytes), moves the bytes, and acts on each [`Edit`].
//!
//! Invariants: the line holds no control character and at most `line_bytes_max` bytes; the cursor
//! stands between grapheme clusters (UAX #29). What the terminal sends for a key is the business
//! of [`keys`](super::keys), what the screen row shows that of the private module `row`.

use std::ops::Range;

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation as _};

use self::history::History;
pub use self::history::{HISTORY_BYTES_MAX, HISTORY_LINES_MAX};
use self::row::Row;
use super::keys::{Key, KeyDecoder};

mod history;
mod row;

/// The width assumed of a terminal that states none.
pub const COLUMNS_DEFAULT: u16 = 80;

/// What the person asked of the program, in the order typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Enter: the line, without a line end, perhaps empty. It is no longer in the editor.
    Line(String),
    /// The same of a line that begins with pasted text, or is text and ended by a paste: it is data, not a
    /// command.
    Pasted(String),
    /// Of a paste a line begins as a command does, or is one: once for each paste, before the line itself.
    PastedCommand,
    /// A line of a paste had more bytes than a line can have. It is no longer in the editor.
    TooLong,
    /// Ctrl-C on an empty line; on any other it discards the line, as in a shell.
    Interrupt,
    /// Ctrl-D on an empty line.
    EndOfFile,
    /// Ctrl-L: clear the screen, then [`draw_into`](Editor::draw_into).
    ClearScreen,
    /// Ctrl-Z: [`erase_into`](Editor::erase_into), stop the process; when it continues, draw.
    Suspend,
}

/// The line editor.
///
/// Calling order: [`handle_bytes`](Self::handle_bytes), act on the edits,
/// [`draw_into`](Self::draw_into). Before anything else is printed,
/// [`erase_into`](Self::erase_into); what is printed ends in `"\r\n"`; then draw again.
///
/// Keys are those of a shell (readline's emacs mode). Pasted text, if the caller has switched on
/// bracketed paste (`ESC [ ? 2004 h`), is taken literally: **each newline in it ends a line**, so
/// a paste of several becomes as many [`Edit::Pasted`]s, in order, and the last stays to be edited;
/// a tab becomes a space, and controls are dropped. A line that begins with pasted text stays data
/// when it is edited, or comes back from the history, until its first character is typed.
///
/// ```
/// use onepoll::clients::editor::{Edit, Editor};
///
/// let mut editor = Editor::new("> ", 4096);
/// let mut edits = Vec::new();
/// editor.handle_bytes(b"helo\x1b[Dl\rbye", &mut edits);
/// assert_eq!(edits, [Edit::Line("hello".into())]);
/// assert_eq!(editor.line(), "bye");
/// ```
#[derive(Debug)]
pub struct Editor {
    /// `len() <= line_bytes_max`.
    line: String,
    line_bytes_max: usize,
    /// A byte offset and cluster boundary in `line`; `cursor <= line.len()`.
    cursor: usize,
    /// The line begins with a character that was pasted, or may do so.
    is_pasted: bool,
    /// Something in the line was pasted.
    has_paste: bool,
    /// Pasted text did not fit: the line is not what was meant.
    is_cut: bool,
    /// The person was told that this paste is no command.
    has_told_paste: bool,
    keys: KeyDecoder,
    history: History,
    /// What Ctrl-Y brings back, and whether some of it was pasted.
    killed: String,
    killed_has_paste: bool,
    keys_seen: u64,
    /// The value of `keys_seen` at the last kill: kills in a row are one text, as in a shell.
    killed_at: u64,
    wants_bell: bool,
    row: Row,
}

impl Editor {
    /// An empty line of at most `line_bytes_max` bytes, behind `prompt`: plain text, controls
    /// are dropped. Nothing is drawn yet; the terminal has [`COLUMNS_DEFAULT`] columns.
    #[must_use]
    pub fn new(prompt: &str, line_bytes_max: usize) -> Self {
        Self {
            line: String::new(),
            line_bytes_max,
            cursor: 0,
            is_pasted: false,
            has_paste: false,
            is_cut: false,
            has_told_paste: false,
            keys: KeyDecoder::new(),
            history: History::default(),
            killed: String::new(),
            killed_has_paste: false,
            keys_seen: 0,
            killed_at: 0,
            wants_bell: false,
            row: Row::new(prompt.chars().filter(|&c| is_text(c)).collect(), COLUMNS_DEFAULT),
        }
    }

    /// Tells the terminal's width, at the start and after each resize; then draw. 0 is unknown.
    pub fn set_columns(&mut self, columns: u16) {
        let columns = if columns == 0 { COLUMNS_DEFAULT } else { columns };
        self.row.set_columns(columns);
    }

    /// Takes bytes as they were read, split anywhere, and appends what they ask for to `edits`.
    pub fn handle_bytes(&mut self, bytes: &[u8], edits: &mut Vec<Edit>) {
        let mut keys = Vec::new();
        self.keys.handle_bytes(bytes, &mut keys);
        for key in keys {
            self.keys_seen += 1;
            self.handle_key(key, edits);
        }
    }

    /// Gives up an unfinished escape sequence: the Escape key was pressed alone.
    pub fn handle_timeout(&mut self) {
        self.keys.handle_timeout();
    }

    /// Whether an escape sequence is unfinished: a caller with a clock calls
    /// [`handle_timeout`](Self::handle_timeout) when nothing more is typed for some 50 to
    /// 200 ms. Optional: without it, what is typed after Escape may be taken for the rest of a
    /// sequence, up to a bound; Enter and Ctrl-C always act.
    #[must_use]
    pub fn wants_timeout(&self) -> bool {
        self.keys.wants_timeout()
    }

    /// Takes the drawn row off the screen and leaves the cursor in its first column, ready for a
    /// message and `"\r\n"`. Appends nothing if nothing is drawn.
    ///
    /// If the terminal has become narrower since, the row is assumed to have been wrapped anew,
    /// as VTE, kitty, iTerm2, Windows Terminal and tmux do. On a terminal that cuts rows off
    /// instead (xterm), a drawn text wider than the new width costs rows of the messages above.
    pub fn erase_into(&mut self, out: &mut Vec<u8>) {
        self.row.erase_into(out);
    }

    /// Draws prompt, text and cursor in the cursor's row, in place of what was drawn before.
    /// Rings the bell if a key was refused since. Expects the cursor in the first column of an
    /// empty row, or where the last draw has left it.
    ///
    /// Of a line too long for the row, the part around the cursor is shown. A prompt that would
    /// take more than half the row is left out.
    pub fn draw_into(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.wants_bell) {
            out.push(0x07);
        }
        self.row.draw_into(&self.line, self.cursor, out);
    }

    /// The line as typed so far.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    fn handle_key(&mut self, key: Key, edits: &mut Vec<Edit>) {
        self.has_told_paste &= key != Key::PasteEnd;
        match key {
            Key::Pasted('\n') => self.end_line(false, edits),
            Key::Enter => self.end_line(true, edits),
            Key::Pasted(c) => {
                let is_start = self.cursor == 0;
                self.insert_character(c, true);
                if is_start && c == '/' {
                    self.tell_paste(edits);
                }
            }
            Key::Char(c) => self.insert_character(c, false),
            Key::Tab => self.insert_character(' ', false),
            Key::Ctrl('c') if self.line.is_empty() => edits.push(Edit::Interrupt),
            Key::Ctrl('c') => self.replace_line(String::new()),
            Key::Ctrl('d') if self.line.is_empty() => edits.push(Edit::EndOfFile),
            Key::Ctrl('l') => edits.push(Edit::ClearScreen),
            Key::Ctrl('z') => edits.push(Edit::Suspend),
            Key::Up | Key::Ctrl('p') => {
                if let Some(entry) = self.history.older(&self.line, self.is_pasted) {
                    self.show_line(entry.line, entry.is_pasted);
                }
            }
            Key::Down | Key::Ctrl('n') => {
                if let Some(entry) = self.history.newer() {
                    self.show_line(entry.line, entry.is_pasted);
                }
            }
            Key::Alt(c) => self.handle_edit_key(Key::Alt(c.to_ascii_lowercase())),
            _ => self.handle_edit_key(key),
        }
    }

    /// The keys that move the cursor, erase, or bring back.
    fn handle_edit_key(&mut self, key: Key) {
        let (cursor, end) = (self.cursor, self.line.len());
        let (head, tail) = self.line.split_at(cursor);
        let left = head.graphemes(true).next_back().map_or(cursor, |g| cursor - g.len());
        let right = tail.graphemes(true).next().map_or(end, |g| cursor + g.len());
        let word_left = word_start(head, is_alphanumeric);
        let word_right = cursor + word_end(tail);
        match key {
            Key::Left | Key::Ctrl('b') => self.cursor = left,
            Key::Right | Key::Ctrl('f') => self.cursor = right,
            Key::WordLeft | Key::Alt('b') => self.cursor = word_left,
            Key::WordRight | Key::Alt('f') => self.cursor = word_right,
            Key::Home | Key::Ctrl('a') => self.cursor = 0,
            Key::End | Key::Ctrl('e') => self.cursor = end,
            Key::Backspace => drop(self.cut(left..cursor)),
            Key::Delete | Key::Ctrl('d') => drop(self.cut(cursor..right)),
            Key::Ctrl('u') => self.kill(0..cursor),
            Key::Ctrl('k') => self.kill(cursor..end),
            Key::Ctrl('w') => self.kill(word_start(head, |g| !is_blank(g))..cursor),
            Key::AltBackspace => self.kill(word_left..cursor),
            Key::Alt('d') => self.kill(cursor..word_right),
            Key::Ctrl('t') => self.transpose(),
            Key::Ctrl('y') => self.yank(),
            _ => {}
        }
    }

    /// Refuses a character that does not fit. A person sees that one is not there; of a paste that could
    /// be anywhere, so its line is refused as a whole once it ends.
    fn insert_character(&mut self, c: char, is_pasted: bool) {
        if !is_text(c) {
            return;
        }
        if self.line.len() + c.len_utf8() > self.line_bytes_max {
            self.wants_bell = true;
            self.is_cut |= is_pasted;
            return;
        }
        if self.cursor == 0 {
            self.is_pasted = is_pasted;
        }
        self.has_paste |= is_pasted;
        self.line.insert(self.cursor, c);
        self.place_cursor(self.cursor + c.len_utf8());
    }

    fn yank(&mut self) {
        if self.line.len() + self.killed.len() > self.line_bytes_max {
            self.wants_bell = true;
            return;
        }
        if self.cursor == 0 && !self.killed.is_empty() {
            self.is_pasted = self.killed_has_paste;
        }
        self.has_paste |= self.killed_has_paste;
        self.line.insert_str(self.cursor, &self.killed);
        self.place_cursor(self.cursor + self.killed.len());
    }

    fn cut(&mut self, range: Range<usize>) -> String {
        let start = range.start;
        let cut: String = self.line.drain(range).collect();
        if self.line.is_empty() {
            (self.is_pasted, self.has_paste, self.is_cut) = (false, false, false);
        } else if start == 0 && !cut.is_empty() {
            self.is_pasted = self.has_paste;
        }
        self.place_cursor(start);
        cut
    }

    /// Cuts a range that begins or ends at the cursor, for Ctrl-Y. A kill right after another
    /// adds to it, on its side; nothing is inserted in between, hence `killed` fits a line.
    fn kill(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let is_before_cursor = range.start < self.cursor;
        let has_paste = self.has_paste;
        let cut = self.cut(range);
        if self.killed_at + 1 != self.keys_seen {
            self.killed.clear();
            self.killed_has_paste = false;
        }
        self.killed_has_paste |= has_paste;
        let at = if is_before_cursor { 0 } else { self.killed.len() };
        self.killed.insert_str(at, &cut);
        self.killed_at = self.keys_seen;
    }

    /// Swaps the clusters on both sides of the cursor, at the end of the line the last two, and
    /// steps behind them.
    fn transpose(&mut self) {
        let end = self.line[self.cursor..].graphemes(true).next().map_or(0, str::len) + self.cursor;
        let mut clusters = self.line[..end].grapheme_indices(true).rev();
        if let (Some((middle, _)), Some((start, _))) = (clusters.next(), clusters.next()) {
            let swapped = format!("{}{}", &self.line[middle..end], &self.line[start..middle]);
            self.line.replace_range(start..end, &swapped);
            if start == 0 {
                self.is_pasted = self.has_paste;
            }
            self.place_cursor(end);
        }
    }

    /// Enter, or the end of a line in a paste.
    fn end_line(&mut self, is_typed: bool, edits: &mut Vec<Edit>) {
        if self.is_cut {
            self.replace_line(String::new());
            return edits.push(Edit::TooLong);
        }
        // A command that was begun by hand is one, whatever ends it.
        let is_data = self.is_pasted || (!is_typed && !self.line.starts_with('/'));
        if is_data && self.line == "quit" {
            self.tell_paste(edits);
        }
        self.history.record(&self.line, is_data);
        let line = self.line.clone();
        self.replace_line(String::new());
        edits.push(if is_data { Edit::Pasted(line) } else { Edit::Line(line) });
    }

    fn tell_paste(&mut self, edits: &mut Vec<Edit>) {
        if !std::mem::replace(&mut self.has_told_paste, true) {
            edits.push(Edit::PastedCommand);
        }
    }

    /// Another line begins, not one of the history.
    fn replace_line(&mut self, line: String) {
        self.history.leave();
        self.show_line(line, false);
    }

    fn show_line(&mut self, line: String, is_pasted: bool) {
        (self.is_pasted, self.has_paste, self.is_cut) = (is_pasted, is_pasted, false);
        debug_assert!(line.len() <= self.line_bytes_max);
        self.cursor = line.len();
        self.line = line;
    }

    /// Puts the cursor at byte `at` or, where an edit has joined what stands on both sides to
    /// one cluster (a letter typed before a combining mark), behind that.
    fn place_cursor(&mut self, at: usize) {
        let mut boundary = GraphemeCursor::new(at, self.line.len(), true);
        self.cursor = match boundary.is_boundary(&self.line, 0) {
            Ok(true) => at,
            _ => boundary.next_boundary(&self.line, 0).ok().flatten().unwrap_or(self.line.len()),
        };
    }
}

/// Whether `c` may stand in a line. Separators would break the row; directional overrides and
/// isolates would make it read differently from what is sent (DESIGN, section 4).
fn is_text(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn is_alphanumeric(cluster: &str) -> bool {
    cluster.chars().next().is_some_and(char::is_alphanumeric)
}

fn is_blank(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

/// Where the last word of `text` begins; 0 if there is none.
fn word_start(text: &str, is_in_word: fn(&str) -> bool) -> usize {
    text.grapheme_indices(true)
        .rev()
        .skip_while(|(_, cluster)| !is_in_word(cluster))
        .find(|(_, cluster)| !is_in_word(cluster))
        .map_or(0, |(at, cluster)| at + cluster.len())
}

/// Where the first word of `text` ends; its length if there is none.
fn word_end(text: &str) -> usize {
    text.grapheme_indices(true)
        .skip_while(|(_, cluster)| !is_alphanumeric(cluster))
        .find(|(_, cluster)| !is_alphanumeric(cluster))
        .map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE_BYTES_MAX: usize = 64;

    /// The line after `typed`, the cursor as `|` in it, and the edits.
    fn after(typed: &str) -> (String, Vec<Edit>) {
        let mut editor = Editor::new("> ", LINE_BYTES_MAX);
        let mut edits = Vec::new();
        editor.handle_bytes(typed.as_bytes(), &mut edits);
        let (head, tail) = editor.line.split_at(editor.cursor);
        (format!("{head}|{tail}"), edits)
    }

    fn line(text: &str) -> Edit {
        Edit::Line(text.into())
    }

    fn pasted(text: &str) -> Edit {
        Edit::Pasted(text.into())
    }

    #[test]
    fn keys_edit_the_line_as_in_a_shell() {
        for (typed, expected) in [
            ("abc\x02\x02X\x06Y\x05Z", "aXbYcZ|"),
            ("abc\x01X\x1b[3~\x1bOFY\x1b[HZ", "Z|XbcY"),
            ("abc\x1b[D\x7f\x08\x04", "|"),
            ("a👩\u{200d}👧e\u{301}中\x7f\x1b[D\x1b[D|", "a||👩\u{200d}👧e\u{301}"),
            ("one, two\x1b[1;5DX\x1bb\x1bb\x1bfY", "oneY|, Xtwo"),
            ("one two.x\x17", "one |"),
            ("one two.x \x1b\x7f", "one two.|"),
            ("one two\x01\x1bd\x05\x19", " twoone|"),
            ("one two\x02\x15X", "X|o"),
            ("one two\x02\x0b\x01\x19", "o|one tw"),
            ("one two three\x17\x17\x01\x19", "two three|one "),
            ("one two three\x17\x02\x17\x05\x19", "one  two|"),
            ("abc\x14\x02\x02\x14", "ca|b"),
            ("a\x14\x01\x14", "|a"),
            ("a\tb\x00\x07\x1c\u{85}\u{202e}c", "a bc|"),
            ("🇩x🇪\x02\x7f", "🇩🇪|"),
            ("\u{301}\x01e", "e\u{301}|"),
        ] {
            assert_eq!(after(typed), (expected.into(), vec![]), "{}", typed.escape_debug());
        }
    }

    #[test]
    fn control_keys_become_edits() {
        let (text, edits) = after("a\x04\r\r\x03b\x03\x03\x04\x0c\x1ac");
        let expected = [line("a"), line(""), Edit::Interrupt, Edit::Interrupt, Edit::EndOfFile];
        assert_eq!(edits[..5], expected);
        assert_eq!(edits[5..], [Edit::ClearScreen, Edit::Suspend]);
        assert_eq!(text, "c|");
    }

    #[test]
    fn ctrl_c_discards_a_line_before_it_interrupts() {
        assert_eq!(after("abc\x03"), ("|".into(), vec![]));
        assert_eq!(after("abc\x03\x03"), ("|".into(), vec![Edit::Interrupt]));
    }

    #[test]
    fn a_paste_of_several_lines_becomes_several_lines_in_order() {
        let (text, edits) = after("ab\x02\x1b[200~1\r\n2\t\x03\r\r3\x1b[201~4");
        assert_eq!(edits, [pasted("a1b"), pasted("2 "), pasted("")]);
        assert_eq!(text, "34|");
    }

    #[test]
    fn what_a_paste_begins_is_data_and_what_a_person_begins_is_not() {
        use Edit::PastedCommand as Told;
        for (typed, expected) in [
            ("\x1b[200~/msg bob secret\x1b[201~\r", vec![Told, pasted("/msg bob secret")]),
            (
                "\x1b[200~/a\n/b\nquit\nc\n\x1b[201~",
                vec![Told, pasted("/a"), pasted("/b"), pasted("quit"), pasted("c")],
            ),
            ("\x1b[200~quit\n\x1b[201~", vec![Told, pasted("quit")]),
            ("\x1b[200~quit\x1b[201~\r", vec![Told, pasted("quit")]),
            ("\x1b[200~quitting\x1b[201~\r", vec![pasted("quitting")]),
            ("/msg bob \x1b[200~a\nb\x1b[201~\r", vec![line("/msg bob a"), pasted("b")]),
            ("say \x1b[200~/a\x1b[201~\r", vec![line("say /a")]),
            // The slash itself is typed: by hand it is a command.
            ("\x1b[200~msg bob x\x1b[201~\x01/\r", vec![line("/msg bob x")]),
            // What is in front of pasted text goes: the text is still data.
            ("x\x1b[200~/msg bob x\x1b[201~\x01\x1b[3~\r", vec![pasted("/msg bob x")]),
            // Swapped to the front, too.
            ("x\x1b[200~/who\x1b[201~\x01\x1b[C\x14\r", vec![pasted("/xwho")]),
            ("\x1b[200~/msg bob x\x1b[201~\x15/who\r", vec![Told, line("/who")]),
            ("\x1b[200~/msg bob x\x1b[201~\x15\x19\r", vec![Told, pasted("/msg bob x")]),
            ("\x1b[200~/a\n\x1b[201~\x1b[A\r", vec![Told, pasted("/a"), pasted("/a")]),
            ("\x1b[200~/a\n\x1b[201~\x1b[200~/b\n\x1b[201~", vec![Told, pasted("/a"), Told, pasted("/b")]),
            ("\x1b[200~/a\x1b[201~\x03\x1b[200~/b\x1b[201~\r", vec![Told, Told, pasted("/b")]),
        ] {
            assert_eq!(after(typed), ("|".into(), expected), "{}", typed.escape_debug());
        }
    }

    #[test]
    fn a_paste_is_taken_whole_or_not_at_all() {
        for length in [LINE_BYTES_MAX - 1, LINE_BYTES_MAX, LINE_BYTES_MAX + 1, 3 * LINE_BYTES_MAX] {
            let text = "x".repeat(length);
            let expected = if length <= LINE_BYTES_MAX { pasted(&text) } else { Edit::TooLong };
            let (rest, edits) = after(&format!("\x1b[200~{text}\nnext\x1b[201~"));
            assert_eq!((rest.as_str(), edits), ("next|", vec![expected.clone()]), "{length}");
            let (rest, edits) = after(&format!("\x1b[200~{text}\x1b[201~\rnext\r"));
            assert_eq!((rest.as_str(), edits), ("|", vec![expected, line("next")]), "{length}");
        }
        // What did not fit is not missed once the line is another one.
        let (_, edits) = after(&format!("\x1b[200~{}\x1b[201~\x15short\r", "x".repeat(100)));
        assert_eq!(edits, [line("short")]);
    }

    #[test]
    fn the_unfinished_line_comes_back_below_the_history() {
        let up_and_down = "one\rtwo\rtwo\r \runfinished\x1b[A\x1b[A\x1b[A";
        assert_eq!(after(up_and_down).0, "one|");
        assert_eq!(after(&format!("{up_and_down}\x0e")).0, "two|");
        assert_eq!(after(&format!("{up_and_down}\x0e\x1b[B\x1b[B")).0, "unfinished|");
    }

    #[test]
    fn editing_a_line_of_the_history_leaves_the_history_as_it_was() {
        let (text, edits) = after("one\rtwo\r\x10\x10X\x0e\x10");
        assert_eq!((text.as_str(), edits.len()), ("one|", 2));
        let (text, edits) = after("one\rtwo\r\x10\x10X\r\x10\x10\x10");
        assert_eq!((text.as_str(), &edits[2]), ("one|", &line("oneX")));
    }

    #[test]
    fn history_keeps_a_bounded_number_of_lines() {
        let lines: String = (0..=HISTORY_LINES_MAX).map(|n| format!("{n}\r")).collect();
        let up = "\x1b[A".repeat(HISTORY_LINES_MAX + 5);
        assert_eq!(after(&format!("{lines}{up}")).0, "1|");
    }

    #[test]
    fn a_full_line_refuses_characters_and_text_with_one_bell() {
        let mut editor = Editor::new("", LINE_BYTES_MAX);
        let mut edits = Vec::new();
        editor.handle_bytes("x中".repeat(40).as_bytes(), &mut edits);
        assert_eq!(editor.line(), "x中".repeat(16));
        editor.handle_bytes(b"\x17\x19\x19", &mut edits);
        assert_eq!(editor.line(), "x中".repeat(16));
        for bells in [1, 0] {
            let mut out = Vec::new();
            editor.draw_into(&mut out);
            assert_eq!(out.split(|&byte| byte == 0x07).count(), 1 + bells);
        }
    }

    #[test]
    fn typed_text_split_anywhere_gives_the_same_line() {
        let typed = "é中\x1b[1;5D👩\u{200d}👧\x1b[200~a\r\nb\x1b[201~\x1bb\x1b[3~.";
        let (text, edits) = after(typed);
        for at in 0..=typed.len() {
            let (head, tail) = typed.as_bytes().split_at(at);
            let mut editor = Editor::new("> ", LINE_BYTES_MAX);
            let mut split_edits = Vec::new();
            editor.handle_bytes(head, &mut split_edits);
            editor.handle_bytes(tail, &mut split_edits);
            assert_eq!(split_edits, edits, "at {at}");
            assert_eq!(editor.line, text.replace('|', ""), "at {at}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_keep_the_line_valid_and_bounded(
            reads in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..20),
                    "(\\PC|[🇩🇪👩👧\u{200d}\u{301}क्ष가]|[\x01-\x1f]|\x1b[bdf\x7f]|\x1b\\[[ABCDHF3]~?){0,12}"
                        .prop_map(String::into_bytes),
                ],
                0..16),
            columns in 0..12_u16,
        ) {
            let mut editor = Editor::new("名> ", LINE_BYTES_MAX);
            editor.set_columns(columns);
            let mut edits = Vec::new();
            for read in reads {
                editor.handle_bytes(&read, &mut edits);
                let (cursor, length) = (editor.cursor, editor.line.len());
                prop_assert!(length <= LINE_BYTES_MAX && editor.killed.len() <= LINE_BYTES_MAX);
                prop_assert!(editor.line.chars().all(is_text));
                let mut boundaries = editor.line.grapheme_indices(true).map(|(at, _)| at);
                prop_assert!(cursor == length || boundaries.any(|at| at == cursor));
                editor.draw_into(&mut Vec::new());
            }
        }
    }
}
