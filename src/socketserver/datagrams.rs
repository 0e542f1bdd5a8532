//! Answers that wait to be sent as datagrams, for one socket.
//!
//! One receiver that does not read must not hold up the others: its answers wait for it alone, not many,
//! and not for long. What has no place is lost, as datagrams may be.

use std::collections::VecDeque;

use crate::engine::{Datagram, Endpoint, Moment, Written};
use crate::limits;

/// The answers of one socket.
#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: VecDeque<Answer>,
    waiting_bytes: usize,
    /// Receivers whose queue is full.
    blocked: Vec<Endpoint>,
    /// The answer that was offered last.
    offered: usize,
}

#[derive(Debug)]
struct Answer {
    to: Endpoint,
    bytes: Vec<u8>,
    since: Moment,
}

impl Answers {
    /// Adds an answer. False: it is lost, for too much waits.
    pub(super) fn push(&mut self, now: Moment, to: Endpoint, bytes: Vec<u8>) -> bool {
        if self.blocked.contains(&to) {
            let of_receiver = self.waiting.iter().filter(|answer| answer.to == to).count();
            if of_receiver >= limits::BLOCKED_DATAGRAMS_MAX {
                return false;
            }
        }
        if self.waiting_bytes + bytes.len() > limits::DATAGRAM_ANSWERS_BYTES_MAX {
            return false;
        }
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(Answer { to, bytes, since: now });
        true
    }

    /// Answers that waited for a full receiver long enough are lost; returns how many.
    pub(super) fn drop_overdue(&mut self, now: Moment) -> u64 {
        let mut lost = 0;
        while let Some(answer) = self.waiting.front()
            && now.since(answer.since) >= limits::DATAGRAM_PATIENCE
        {
            self.waiting_bytes -= answer.bytes.len();
            self.waiting.pop_front();
            lost += 1;
        }
        lost
    }

    /// The oldest answer to a receiver that is not full.
    pub(super) fn poll(&mut self) -> Option<Datagram<'_>> {
        self.offered = self.waiting.iter().position(|answer| !self.blocked.contains(&answer.to))?;
        let answer = &self.waiting[self.offered];
        Some(Datagram { to: Some(&answer.to), bytes: &answer.bytes })
    }

    pub(super) fn handle_written(&mut self, written: Written) {
        match written {
            Written::All => {
                if let Some(answer) = self.waiting.remove(self.offered) {
                    self.waiting_bytes -= answer.bytes.len();
                }
            }
            Written::Blocked => {
                self.blocked.extend(self.waiting.get(self.offered).map(|answer| answer.to.clone()));
            }
            Written::OutOfBudget => {}
        }
    }

    pub(super) fn handle_writable(&mut self) {
        self.blocked.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receiver(name: &str) -> Endpoint {
        Endpoint::Unixgram(name.into())
    }

    #[test]
    fn one_full_receiver_does_not_hold_up_the_others() {
        let mut answers = Answers::default();
        for bytes in [b"1", b"2"] {
            assert!(answers.push(Moment::START, receiver("full"), bytes.to_vec()));
            assert!(answers.push(Moment::START, receiver("free"), bytes.to_vec()));
        }
        let mut sent = Vec::new();
        while let Some(datagram) = answers.poll() {
            let is_full = datagram.to == Some(&receiver("full"));
            if !is_full {
                sent.push(datagram.bytes.to_vec());
            }
            answers.handle_written(if is_full { Written::Blocked } else { Written::All });
        }
        assert_eq!(sent, [b"1", b"2"]);
        answers.handle_writable();
        assert_eq!(answers.poll().map(|datagram| datagram.bytes), Some(&b"1"[..]));
        answers.handle_written(Written::Blocked);
        for n in 2..limits::BLOCKED_DATAGRAMS_MAX + 10 {
            let has_place = answers.push(Moment::START, receiver("full"), b"x".to_vec());
            assert_eq!(has_place, n < limits::BLOCKED_DATAGRAMS_MAX);
        }
        let later = Moment::START + limits::DATAGRAM_PATIENCE;
        assert_eq!(answers.drop_overdue(later), limits::BLOCKED_DATAGRAMS_MAX as u64);
        assert_eq!(answers.poll(), None);
        assert_eq!(answers.waiting_bytes, 0);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut answers = Answers::default();
        let mut kept_bytes = 0;
        for n in 0..1000 {
            if answers.push(Moment::START, receiver(&n.to_string()), vec![0; 50_000]) {
                kept_bytes += 50_000;
            }
        }
        assert_eq!(answers.waiting_bytes, kept_bytes);
        assert!(kept_bytes <= limits::DATAGRAM_ANSWERS_BYTES_MAX);
    }
}
