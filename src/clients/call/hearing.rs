//! What comes back: it is printed, acknowledged, and may be the answer.
//!
//! An answer is a datagram; on a stream it ends with a line, or with a silence where no line ends. Invariant:
//! what is kept of a message is shorter than the longest text, and a silence is awaited only behind some.

use super::{Call, Due};
use crate::codec::text;
use crate::engine::Now;
use crate::limits;

impl Call {
    pub(super) fn hear(&mut self, now: Now, bytes: &[u8]) {
        self.note_heard(now);
        if !self.settings.is_clean {
            self.print(bytes);
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.message.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.message.len() >= limits::CALL_TEXT_BYTES_MAX {
                self.take_message();
            }
        }
        if self.message.is_empty() {
            self.silent_at = None;
            self.answered(now);
        } else {
            let is_cut = text::ends_inside_character(&self.message);
            let silence = if is_cut { limits::ANSWER_SILENCE_LONG } else { limits::ANSWER_SILENCE };
            self.silent_at = Some(now.moment + silence);
        }
    }

    fn note_heard(&mut self, now: Now) {
        self.heard_at = Some(now.moment);
        self.has_answer = true;
        if self.due == Due::Answer {
            self.due = Due::RestOfAnswer;
        }
        if self.due == Due::End && self.acks.is_some() {
            // Each message is a new exchange.
            self.set_deadline(now);
        }
    }

    pub(super) fn hear_datagram(&mut self, now: Now, bytes: &[u8]) {
        self.note_heard(now);
        if self.settings.is_clean {
            self.print_clean(bytes);
        } else {
            self.print(bytes);
            if !bytes.ends_with(b"\n") {
                self.print(b"\n");
            }
        }
        self.acknowledge(bytes);
        self.answered(now);
    }

    /// A line of a stream is there, or what came before a silence.
    pub(super) fn take_message(&mut self) {
        let message = std::mem::take(&mut self.message);
        if message.is_empty() {
            return;
        }
        self.messages_heard += 1;
        if self.settings.is_clean {
            self.print_clean(&message);
        }
        self.acknowledge(&message);
    }

    fn print(&mut self, bytes: &[u8]) {
        if let Some(console) = self.console {
            self.outputs.push(console, bytes);
        }
    }

    /// Prints lines without what a terminal would obey, each with its end.
    pub(super) fn print_clean(&mut self, lines: &[u8]) {
        for line in lines.strip_suffix(b"\n").unwrap_or(lines).split(|byte| *byte == b'\n') {
            self.print(format!("{}\n", text::clean(line)).as_bytes());
        }
    }

    fn acknowledge(&mut self, message: &[u8]) {
        let answer = self.acks.as_mut().and_then(|acks| acks.answer(message)).map(<[u8]>::to_vec);
        if let Some(answer) = answer {
            self.send(&answer);
        }
    }
}
