//! Answers that wait to be sent as datagrams, for one socket.
//!
//! One receiver that does not read must not hold up the others: its answers wait for it alone, not many,
//! not for long, and give way to answers for those who read. What has no place is lost, as datagrams may
//! be. What the kernel holds for a receiver is beyond this: on a Unix socket it counts against the
//! sender's send buffer until it is read (unix(7)), so some hundred KiB unread stop the answers to all.

use std::collections::{HashSet, VecDeque};

use crate::engine::{Datagram, Endpoint, Moment, Written};
use crate::limits;

/// The answers of one socket.
#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: VecDeque<Answer>,
    waiting_bytes: usize,
    /// Receivers whose queue is full.
    blocked: HashSet<Endpoint>,
    /// The answer that was offered last. All before it are for blocked receivers.
    offered: usize,
    /// The next turn only goes on: nobody that is blocked has room yet.
    is_out_of_budget: bool,
}

#[derive(Debug)]
struct Answer {
    to: Endpoint,
    bytes: Vec<u8>,
    since: Moment,
}

impl Answers {
    /// Adds an answer. Returns how many are lost, for too much waits: older ones to blocked receivers, or
    /// this one.
    pub(super) fn push(&mut self, now: Moment, to: Endpoint, bytes: Vec<u8>) -> u64 {
        if self.blocked.contains(&to) {
            let of_receiver = self.waiting.iter().filter(|answer| answer.to == to).count();
            if of_receiver >= limits::BLOCKED_DATAGRAMS_MAX {
                return 1;
            }
        }
        let mut lost = 0;
        while self.waiting.len() >= limits::DATAGRAM_ANSWERS_MAX
            || self.waiting_bytes + bytes.len() > limits::DATAGRAM_ANSWERS_BYTES_MAX
        {
            lost += 1;
            if self.offered == 0 {
                return lost;
            }
            self.drop_oldest();
        }
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(Answer { to, bytes, since: now });
        lost
    }

    /// Answers that waited for a full receiver long enough are lost; returns how many.
    pub(super) fn drop_overdue(&mut self, now: Moment) -> u64 {
        let mut lost = 0;
        while let Some(answer) = self.waiting.front()
            && now.since(answer.since) >= limits::DATAGRAM_PATIENCE
        {
            self.drop_oldest();
            lost += 1;
        }
        lost
    }

    fn drop_oldest(&mut self) {
        if let Some(answer) = self.waiting.pop_front() {
            self.waiting_bytes -= answer.bytes.len();
            self.offered = self.offered.saturating_sub(1);
        }
    }

    /// The oldest answer to a receiver that is not full.
    pub(super) fn poll(&mut self) -> Option<Datagram<'_>> {
        let is_blocked = |answer: &Answer| self.blocked.contains(&answer.to);
        while self.waiting.get(self.offered).is_some_and(is_blocked) {
            self.offered += 1;
        }
        let answer = self.waiting.get(self.offered)?;
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
            Written::OutOfBudget => self.is_out_of_budget = true,
        }
    }

    pub(super) fn handle_writable(&mut self) {
        if !std::mem::take(&mut self.is_out_of_budget) {
            self.blocked.clear();
            self.offered = 0;
        }
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
            assert_eq!(answers.push(Moment::START, receiver("full"), bytes.to_vec()), 0);
            assert_eq!(answers.push(Moment::START, receiver("free"), bytes.to_vec()), 0);
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
            let lost = answers.push(Moment::START, receiver("full"), b"x".to_vec());
            assert_eq!(lost == 0, n < limits::BLOCKED_DATAGRAMS_MAX);
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
            if answers.push(Moment::START, receiver(&n.to_string()), vec![0; 50_000]) == 0 {
                kept_bytes += 50_000;
            }
        }
        assert_eq!(answers.waiting_bytes, kept_bytes);
        assert!(kept_bytes <= limits::DATAGRAM_ANSWERS_BYTES_MAX);
        let mut empty_ones = Answers::default();
        for n in 0..100_000 {
            empty_ones.push(Moment::START, receiver(&n.to_string()), Vec::new());
        }
        assert_eq!(empty_ones.waiting.len(), limits::DATAGRAM_ANSWERS_MAX);
    }

    #[test]
    fn long_answers_to_one_that_does_not_read_give_way_to_those_for_others() {
        let mut answers = Answers::default();
        let long = vec![0; 60_000];
        for _ in 0..limits::BLOCKED_DATAGRAMS_MAX {
            answers.push(Moment::START, receiver("full"), long.clone());
            if answers.poll().is_some() {
                answers.handle_written(Written::Blocked);
            }
        }
        let waited = answers.waiting.len();
        assert_eq!(answers.push(Moment::START, receiver("free"), long.clone()), 1);
        assert_eq!(answers.waiting.len(), waited);
        assert_eq!(answers.poll().and_then(|datagram| datagram.to), Some(&receiver("free")));
        answers.handle_written(Written::All);
        // What a turn's budget cut off goes on with those that were not tried yet.
        answers.handle_written(Written::OutOfBudget);
        answers.handle_writable();
        assert_eq!(answers.poll(), None);
        answers.handle_writable();
        assert_eq!(answers.poll().and_then(|datagram| datagram.to), Some(&receiver("full")));
    }
}
