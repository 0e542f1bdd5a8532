//! The screen row of the editor: prompt, the part of the line around the cursor, the cursor.
//!
//! Owns what is on the screen and the geometry of it; knows no keys. One row, scrolled sideways:
//! nothing drawn wraps, the cursor's own cell included, and no cluster is cut at an edge. Widths
//! are those of `unicode-width`, by grapheme cluster: a terminal with other ideas shows the cursor
//! off its place, yet still in its row.

use std::io::Write as _;

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr;

/// One row of a terminal, and what was last drawn there.
#[derive(Debug)]
pub(super) struct Row {
    prompt: String,
    /// At least 1.
    columns: usize,
    /// Where the text shown began when last drawn: a byte offset into a line that may have
    /// changed since.
    window: usize,
    drawn: Option<Drawn>,
}

/// What the row holds; the cursor stands at byte `cursor` of it.
#[derive(Debug)]
struct Drawn {
    text: String,
    cursor: usize,
}

impl Row {
    /// A row of `columns >= 1`, nothing drawn. `prompt` has no control character.
    pub(super) fn new(prompt: String, columns: u16) -> Self {
        let columns = usize::from(columns);
        Self { prompt, columns, window: 0, drawn: None }
    }

    /// Takes the terminal's new width, at least 1.
    pub(super) fn set_columns(&mut self, columns: u16) {
        self.columns = usize::from(columns);
    }

    /// As [`Editor::erase_into`](super::Editor::erase_into).
    pub(super) fn erase_into(&mut self, out: &mut Vec<u8>) {
        let Some(drawn) = self.drawn.take() else {
            return;
        };
        let rows_above = rows_above(&drawn.text, drawn.cursor, self.columns);
        if rows_above > 0 {
            push_sequence(out, rows_above, 'A');
        }
        let has_wrapped = width(&drawn.text) > self.columns;
        let erase = if has_wrapped { b"\r\x1b[J" } else { b"\r\x1b[K" };
        out.extend_from_slice(erase);
    }

    /// As [`Editor::draw_into`](super::Editor::draw_into): `line` without control characters,
    /// the cursor at byte `cursor` of it, a cluster boundary.
    pub(super) fn draw_into(&mut self, line: &str, cursor: usize, out: &mut Vec<u8>) {
        self.erase_into(out);
        let prompt_columns = width(&self.prompt);
        let (prompt, room) = if prompt_columns * 2 <= self.columns {
            (self.prompt.as_str(), self.columns - prompt_columns)
        } else {
            ("", self.columns)
        };
        self.window = window_start(line, cursor, self.window, room);
        debug_assert!(self.window <= cursor && cursor <= line.len());
        let shown = &line[self.window..];
        let text = format!("{prompt}{}", &shown[..fitting_head(shown, room)]);
        let cursor_column = width(prompt) + width(&line[self.window..cursor]);
        debug_assert!(cursor_column < self.columns);

        // Without autowrap even a terminal that draws a cluster wider stays in the row.
        out.extend_from_slice(b"\x1b[?7l");
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"\x1b[?7h\r");
        if cursor_column > 0 {
            push_sequence(out, cursor_column, 'C');
        }
        let cursor = prompt.len() + (cursor - self.window);
        self.drawn = Some(Drawn { text, cursor });
    }
}

/// Columns that `text` takes, cluster by cluster.
fn width(text: &str) -> usize {
    text.graphemes(true).map(UnicodeWidthStr::width).sum()
}

/// Bytes of the longest run of whole clusters from the start of `text` that fits in `columns`.
fn fitting_head(text: &str, columns: usize) -> usize {
    fitting(text.graphemes(true), columns)
}

/// Bytes of the longest run of whole clusters at the end of `text` that fits in `columns`.
fn fitting_tail(text: &str, columns: usize) -> usize {
    fitting(text.graphemes(true).rev(), columns)
}

fn fitting<'a>(clusters: impl Iterator<Item = &'a str>, columns: usize) -> usize {
    let mut used = 0;
    clusters
        .take_while(|cluster| {
            used += cluster.width();
            used <= columns
        })
        .map(str::len)
        .sum()
}

/// Where the text shown in `room >= 1` columns begins, so that the cursor is in it: near `before`,
/// where it began last, since a text that jumps is hard to read. A cluster boundary.
fn window_start(line: &str, cursor: usize, before: usize, room: usize) -> usize {
    let boundaries = line.grapheme_indices(true).map(|(at, _)| at);
    let mut start = boundaries.take_while(|&at| at <= before).last().unwrap_or(0);
    // Past the left edge: half a row back, to show what the cursor is moving into.
    if cursor < start {
        start = cursor - fitting_tail(&line[..cursor], room / 2);
    }
    // Past the right edge: as little as brings the cluster at the cursor, or its cell, into view.
    let at_cursor = line[cursor..].graphemes(true).next().map_or(1, UnicodeWidthStr::width);
    let columns_before = room - at_cursor.clamp(1, room);
    start = start.max(cursor - fitting_tail(&line[..cursor], columns_before));
    // No empty columns at the right while text is hidden at the left.
    start.min(line.len() - fitting_tail(line, room - 1))
}

/// Rows between the first that `text` takes when wrapped at `columns` and the one of the cursor,
/// at byte `cursor` of it. At the end of a full row it is taken to be still there: of two
/// mistakes, erasing too little leaves a stale row, erasing too much loses a message.
fn rows_above(text: &str, cursor: usize, columns: usize) -> usize {
    let (mut row, mut column) = (0, 0);
    for (at, cluster) in text.grapheme_indices(true) {
        let cluster_columns = cluster.width().min(columns);
        if column + cluster_columns > columns {
            row += 1;
            column = 0;
        }
        if at >= cursor {
            break;
        }
        column += cluster_columns;
    }
    row
}

/// Appends the control sequence `ESC [ number last`.
fn push_sequence(out: &mut Vec<u8>, number: usize, last: char) {
    write!(out, "\x1b[{number}{last}").expect("invariant: writing to a Vec does not fail");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Editor;
    use super::*;

    /// A terminal: rows of cells, scrollback included; a resize wraps the rows anew.
    ///
    /// A cell is `None` if never written, and empty if it is the right half of a wide cluster.
    struct Terminal {
        columns: usize,
        rows: Vec<Vec<Option<String>>>,
        /// Whether a row goes on in the next.
        wraps: Vec<bool>,
        row: usize,
        /// `column == columns` after the last cell was written: the next cluster wraps.
        column: usize,
        has_autowrap: bool,
    }

    impl Terminal {
        fn new(columns: usize) -> Self {
            let rows = vec![vec![None; columns]];
            Self { columns, rows, wraps: vec![false], row: 0, column: 0, has_autowrap: true }
        }

        fn print(&mut self, bytes: &[u8]) {
            let mut rest = str::from_utf8(bytes).expect("output is UTF-8");
            while let Some(first) = rest.chars().next() {
                let length = match first {
                    '\r' => {
                        self.column = 0;
                        1
                    }
                    '\n' => {
                        self.next_row(false);
                        1
                    }
                    '\x07' => 1,
                    '\x1b' => {
                        let last = rest.find(|c: char| c.is_ascii_alphabetic()).expect("whole");
                        self.control(&rest[2..last], rest.as_bytes()[last]);
                        last + 1
                    }
                    _ => {
                        let length = rest.find(char::is_control).unwrap_or(rest.len());
                        for cluster in rest[..length].graphemes(true) {
                            self.put(cluster);
                        }
                        length
                    }
                };
                rest = &rest[length..];
            }
        }

        fn control(&mut self, parameters: &str, last: u8) {
            let number = || parameters.parse::<usize>().expect("a number");
            match (parameters, last) {
                ("?7", b'l' | b'h') => self.has_autowrap = last == b'h',
                ("", b'K') => self.rows[self.row][self.column..].fill(None),
                ("", b'J') => {
                    self.rows[self.row][self.column..].fill(None);
                    self.rows.truncate(self.row + 1);
                    self.wraps.truncate(self.row + 1);
                    self.wraps[self.row] = false;
                }
                (_, b'A') => self.row = self.row.checked_sub(number()).expect("within the screen"),
                (_, b'C') => self.column = (self.column + number()).min(self.columns - 1),
                _ => panic!("not a sequence of this editor: {parameters} {last}"),
            }
        }

        fn next_row(&mut self, wraps: bool) {
            self.wraps[self.row] = wraps;
            self.row += 1;
            if self.row == self.rows.len() {
                self.rows.push(vec![None; self.columns]);
                self.wraps.push(false);
            }
        }

        /// Writes a cluster and tells where it went.
        fn put(&mut self, cluster: &str) -> (usize, usize) {
            let width = cluster.width().min(self.columns);
            if self.column + width > self.columns {
                assert!(self.has_autowrap, "{cluster:?} does not fit in the row");
                self.next_row(true);
                self.column = 0;
            }
            let at = (self.row, self.column);
            let cells = &mut self.rows[self.row];
            if width == 0 {
                let before = self.column.saturating_sub(1);
                cells[before].get_or_insert_default().push_str(cluster);
            } else {
                cells[self.column..self.column + width].fill(Some(String::new()));
                cells[self.column] = Some(cluster.to_owned());
            }
            self.column += width;
            at
        }

        fn resize(&mut self, columns: usize) {
            let mut resized = Self::new(columns);
            let mut cursor = None;
            for (row, cells) in self.rows.iter().enumerate() {
                let written = cells.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
                for (column, cell) in cells[..written].iter().enumerate() {
                    if cell.as_deref() == Some("") {
                        continue;
                    }
                    let at = resized.put(cell.as_deref().unwrap_or(" "));
                    if (row, column) == (self.row, self.column) {
                        cursor = Some(at);
                    }
                }
                if row == self.row && cursor.is_none() {
                    cursor = Some((resized.row, resized.column));
                }
                if !self.wraps[row] && row + 1 < self.rows.len() {
                    resized.next_row(false);
                    resized.column = 0;
                }
            }
            (resized.row, resized.column) = cursor.expect("the cursor is in a row");
            resized.column = resized.column.min(columns - 1);
            *self = resized;
        }

        fn text(&self) -> Vec<String> {
            let text = |cell: &Option<String>| cell.clone().unwrap_or(" ".into());
            let row = |cells: &Vec<_>| cells.iter().map(text).collect::<String>();
            self.rows.iter().map(|cells| row(cells).trim_end().to_owned()).collect()
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Typed(String),
        Message(String),
        Resized(u16),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let keys = "([a-z ]|[中文👍🇩🇪é]|👩\u{200d}👧|e\u{301}|[\u{301}\u{200d}]|क्ष|\x1b\\[[CDHFAB3]~?|\x1b[bfd]\
                    |[\x01\x04\x05\x0b\x14\x15\x17\x19\x7f\r]|\x1b\\[D\x1b\\[D\x1b\\[D){0,12}";
        let step = prop_oneof![
            6 => keys.prop_map(Step::Typed),
            3 => "[a-z中👍]{0,30}".prop_map(Step::Message),
            1 => (1..=30_u16).prop_map(Step::Resized),
        ];
        proptest::collection::vec(step, 1..16)
    }

    /// The screen shows the messages, whole, and below them the prompt, a window of whole
    /// clusters, as many as fit, and the cursor where the editor has it.
    fn check(editor: &Editor, terminal: &Terminal, messages: &[String]) {
        let columns = terminal.columns;
        let is_prompt_shown = width(&editor.row.prompt) * 2 <= columns;
        let prompt = if is_prompt_shown { editor.row.prompt.as_str() } else { "" };
        let room = columns - width(prompt);
        let (line, cursor) = (editor.line(), editor.cursor);

        let mut above = Terminal::new(columns);
        for message in messages {
            above.print(format!("{message}\r\n").as_bytes());
        }
        let (mut above, screen) = (above.text(), terminal.text());
        let row = above.len() - 1;
        above.truncate(row);
        assert_eq!(screen[..row], above, "the messages above");
        assert_eq!((screen.len(), terminal.row), (row + 1, row), "the last row");

        let at_cursor = line[cursor..].graphemes(true).next().map_or(1, UnicodeWidthStr::width);
        let shows = |start: usize| {
            let shown = &line[start..];
            let shown = &shown[..fitting_head(shown, room)];
            let mut expected = Terminal::new(columns);
            expected.print(format!("{prompt}{shown}").as_bytes());
            start <= cursor
                && width(&line[start..cursor]) + at_cursor.min(room) <= room
                && terminal.column == width(prompt) + width(&line[start..cursor])
                && expected.text() == screen[row..]
        };
        let starts = line.grapheme_indices(true).map(|(at, _)| at).chain([line.len()]);
        let mut starts = starts.filter(|&start| start == 0 || width(line) >= room);
        assert!(
            starts.any(shows),
            "{line:?}, cursor at {cursor}, in {columns} columns: {:?}, cursor in column {}",
            screen[row],
            terminal.column
        );
    }

    fn play(prompt: &str, columns: u16, steps: &[Step]) {
        let mut editor = Editor::new(prompt, 64);
        editor.set_columns(columns);
        let mut terminal = Terminal::new(usize::from(columns));
        let mut messages = Vec::new();
        let mut out = Vec::new();
        editor.draw_into(&mut out);
        terminal.print(&out);
        for step in steps {
            out.clear();
            match step {
                Step::Typed(keys) => editor.handle_bytes(keys.as_bytes(), &mut Vec::new()),
                Step::Message(message) => {
                    editor.erase_into(&mut out);
                    out.extend_from_slice(format!("{message}\r\n").as_bytes());
                    messages.push(message.clone());
                }
                Step::Resized(columns) => {
                    terminal.resize(usize::from(*columns));
                    editor.set_columns(*columns);
                }
            }
            editor.draw_into(&mut out);
            terminal.print(&out);
            check(&editor, &terminal, &messages);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_typed_and_comes_in_the_screen_shows_both(
            prompt in prop_oneof![Just("> "), Just("名> "), Just("")],
            columns in 1..=30_u16,
            steps in steps(),
        ) {
            play(prompt, columns, &steps);
        }
    }

    #[test]
    fn a_wide_character_at_the_edge_is_left_out_and_not_cut() {
        let mut row = Row::new("> ".into(), 7);
        let mut out = Vec::new();
        row.draw_into("一二三", 0, &mut out);
        assert_eq!(out, "\x1b[?7l> 一二\x1b[?7h\r\x1b[2C".as_bytes());
        out.clear();
        row.draw_into("一二三", 9, &mut out);
        assert_eq!(out, "\r\x1b[K\x1b[?7l> 二三\x1b[?7h\r\x1b[6C".as_bytes());
    }

    #[test]
    fn a_row_wrapped_by_a_narrower_terminal_is_erased_whole() {
        for narrow in 1..30 {
            for back in 0..25 {
                let typed = "a中".repeat(9) + &"\x1b[D".repeat(back);
                let steps = [
                    Step::Message("before".into()),
                    Step::Typed(typed),
                    Step::Resized(narrow),
                    Step::Message("after".into()),
                ];
                play("> ", 30, &steps);
            }
        }
    }

    #[test]
    fn erasing_twice_erases_once() {
        let mut row = Row::new("> ".into(), 80);
        let mut out = Vec::new();
        row.erase_into(&mut out);
        assert!(out.is_empty());
        row.draw_into("x", 1, &mut out);
        out.clear();
        row.erase_into(&mut out);
        row.erase_into(&mut out);
        assert_eq!(out, b"\r\x1b[K");
    }

    #[test]
    fn the_window_shows_what_the_cursor_moves_into() {
        let line = "abcdefghijklmnopqrst";
        assert_eq!(window_start(line, 20, 0, 10), 11);
        assert_eq!(window_start(line, 12, 11, 10), 11);
        assert_eq!(window_start(line, 10, 11, 10), 5);
        assert_eq!(window_start(&line[..12], 12, 11, 10), 3);
        assert_eq!(window_start("", 0, 11, 1), 0);
    }
}
