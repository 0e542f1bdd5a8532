//! Which messages are acknowledged: not the acknowledgements of others, or two programs that answer each
//! other would do so for ever.

use log::warn;

use crate::limits;

/// What messages are answered with.
#[derive(Debug)]
pub(super) struct Acks {
    text: String,
    /// The message that was answered last, and how often in a row.
    last: Vec<u8>,
    times: u32,
}

impl Acks {
    pub(super) fn new(text: String) -> Self {
        Acks { text, last: Vec::new(), times: 0 }
    }

    /// The answer to a message. None to what ends in this very text, as an echo and a chat's line do; and
    /// none to the same message again and again, which must be the answer to the answer.
    pub(super) fn answer(&mut self, message: &[u8]) -> Option<&[u8]> {
        let message = message.trim_ascii();
        let before = message.strip_suffix(self.text.trim().as_bytes());
        if before.is_some_and(|before| !before.last().is_some_and(u8::is_ascii_alphanumeric)) {
            return None;
        }
        if message != self.last {
            self.last = message.to_vec();
            self.times = 0;
        }
        self.times = self.times.saturating_add(1);
        if self.times == limits::ACKS_ALIKE_MAX + 1 {
            warn!("the same message came {} times in a row: it is not answered any more", self.times);
        }
        (self.times <= limits::ACKS_ALIKE_MAX).then_some(self.text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_answered_but_what_is_an_acknowledgement_itself() {
        let mut acks = Acks::new("ok".into());
        for message in ["hello\r\n", "你好", "book", "", "ok?", "hello"] {
            assert_eq!(acks.answer(message.as_bytes()), Some(&b"ok"[..]), "{message}");
        }
        for message in ["ok", "ok\r\n", " ok ", "ack. ok\n", "2026/11/21 10:00:00 bob: ok"] {
            assert_eq!(acks.answer(message.as_bytes()), None, "{message}");
        }
    }

    #[test]
    fn two_with_different_texts_come_to_an_end() {
        let (mut ann, mut bob) = (Acks::new("ok".into()), Acks::new("got it".into()));
        let mut message = b"hello".to_vec();
        let mut answers = 0;
        while let Some(answer) = if answers % 2 == 0 { ann.answer(&message) } else { bob.answer(&message) } {
            message = answer.to_vec();
            answers += 1;
            assert!(answers < 1000, "they answer each other for ever");
        }
        assert!(answers >= limits::ACKS_ALIKE_MAX);
        assert!(ann.answer(b"something else").is_some());
    }
}
