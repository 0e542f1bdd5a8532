//! What waits for standard output, and on a terminal the input line that has to survive it.
//!
//! Owns the one order in which everything is shown: a line of text takes the input line off the screen
//! first, and it is drawn again once the turn's text is complete, however many lines that was.

use crate::clients::editor::{Edit, Editor};
use crate::limits;

use super::show::{self, Style};

/// Bytes that may wait while the input line is still drawn: a screen that cannot follow is not given
/// pictures that it will show too late.
const DRAW_BYTES_MAX: usize = 4 * 1024;

/// Standard output, and the input line if it is a terminal.
#[derive(Debug)]
pub(super) struct Screen {
    bytes: Vec<u8>,
    /// Bytes from the front that were taken.
    taken: usize,
    style: Style,
    editor: Option<Editor>,
    /// The input line is not on the screen as it should be.
    needs_draw: bool,
}

impl Screen {
    /// `is_interactive`: an input line is edited, on a terminal in raw mode.
    pub(super) fn new(style: Style, is_interactive: bool) -> Self {
        let editor = is_interactive.then(|| Editor::new("> ", limits::CLIENT_LINE_BYTES_MAX));
        Screen { bytes: Vec::new(), taken: 0, style, needs_draw: editor.is_some(), editor }
    }

    /// Shows a line that the server sent; `is_own`: it can have said it itself.
    pub(super) fn show(&mut self, line: &[u8], is_own: bool) {
        self.erase();
        show::show_into(line, is_own, self.style, &mut self.bytes);
        self.end_line();
    }

    /// Shows a line of this program's own on the terminal. False: there is none.
    pub(super) fn tell(&mut self, text: &str) -> bool {
        if self.editor.is_none() {
            return false;
        }
        self.erase();
        let text = format!("onepoll: {text}");
        crate::codec::text::clean_into(text.as_bytes(), &mut self.bytes);
        self.end_line();
        true
    }

    fn end_line(&mut self) {
        // In raw mode the terminal does not return the carriage by itself.
        let end: &[u8] = if self.editor.is_some() { b"\r\n" } else { b"\n" };
        self.bytes.extend_from_slice(end);
    }

    /// Takes keys; appends what the person asks for.
    pub(super) fn handle_keys(&mut self, bytes: &[u8], edits: &mut Vec<Edit>) {
        if let Some(editor) = &mut self.editor {
            editor.handle_bytes(bytes, edits);
            self.needs_draw = true;
        }
    }

    /// An Escape key was pressed alone.
    pub(super) fn handle_key_timeout(&mut self) {
        if let Some(editor) = &mut self.editor {
            editor.handle_timeout();
        }
    }

    pub(super) fn wants_key_timeout(&self) -> bool {
        self.editor.as_ref().is_some_and(Editor::wants_timeout)
    }

    pub(super) fn is_interactive(&self) -> bool {
        self.editor.is_some()
    }

    /// Takes the input line off the screen, until the next [`Screen::draw`].
    pub(super) fn erase(&mut self) {
        if let Some(editor) = &mut self.editor {
            editor.erase_into(&mut self.bytes);
            self.needs_draw = true;
        }
    }

    /// Clears the whole screen (ECMA-48: CUP, ED 2).
    pub(super) fn clear(&mut self) {
        self.erase();
        self.bytes.extend_from_slice(b"\x1b[H\x1b[2J");
    }

    /// Tells the terminal's width; before anything is shown in a turn, for it may have been resized.
    pub(super) fn set_columns(&mut self, columns: u16) {
        if let Some(editor) = &mut self.editor {
            editor.set_columns(columns);
        }
    }

    /// Whether [`Screen::draw`] has something to do now.
    pub(super) fn wants_draw(&self) -> bool {
        self.needs_draw && self.unwritten().len() <= DRAW_BYTES_MAX
    }

    /// Draws the input line.
    pub(super) fn draw(&mut self) {
        if let Some(editor) = &mut self.editor {
            editor.draw_into(&mut self.bytes);
        }
        self.needs_draw = false;
    }

    /// What standard output is to take next.
    pub(super) fn unwritten(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unwritten().is_empty()
    }

    /// Whether so much waits that reading from the server has to wait too.
    pub(super) fn is_full(&self) -> bool {
        self.unwritten().len() >= limits::CLIENT_OUTPUT_BYTES_MAX
    }

    /// Standard output took so many bytes.
    pub(super) fn handle_written(&mut self, bytes: usize) {
        self.taken += bytes;
        debug_assert!(self.taken <= self.bytes.len());
        if self.is_empty() {
            self.bytes.clear();
            // What grew for a burst is given back.
            self.bytes.shrink_to(limits::READ_BYTES_MAX);
            self.taken = 0;
        } else if self.taken >= limits::CLIENT_OUTPUT_BYTES_MAX / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
    }
}
