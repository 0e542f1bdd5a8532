//! Deadlines: what is due when, soonest first.
//!
//! A deadline is never taken out early: whoever set it checks, when it falls due, whether it still
//! means anything. [`Deadlines::prune`] keeps such leftovers from piling up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::engine::Moment;

/// A set of deadlines, each with a key that tells what is due.
#[derive(Debug)]
pub struct Deadlines<K> {
    heap: BinaryHeap<Reverse<(Moment, K)>>,
    /// Length at which the next prune is worth its cost.
    prune_at: usize,
}

/// Deadlines below which nobody prunes.
const PRUNE_LENGTH_MIN: usize = 256;

impl<K: Ord + Copy> Deadlines<K> {
    /// An empty set, without memory of its own.
    #[must_use]
    pub fn new() -> Self {
        Deadlines { heap: BinaryHeap::new(), prune_at: PRUNE_LENGTH_MIN }
    }

    /// Adds a deadline; the same key may have several.
    pub fn set(&mut self, at: Moment, key: K) {
        self.heap.push(Reverse((at, key)));
    }

    /// The soonest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out one key that is due at `now`; call until `None`.
    #[must_use]
    pub fn poll_due(&mut self, now: Moment) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, key))| key)
    }

    /// All of them, leftovers included, in no order.
    #[cfg(any(test, feature = "simulation"))]
    pub fn iter(&self) -> impl Iterator<Item = &K> {
        self.heap.iter().map(|Reverse((_, key))| key)
    }

    /// How many there are, leftovers included.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.heap.len()
    }

    /// Drops what `is_meant` denies once the set has doubled since the last time, so that the cost
    /// is constant for each deadline that was set.
    pub fn prune(&mut self, is_meant: impl Fn(&K) -> bool) {
        if self.heap.len() >= self.prune_at {
            self.heap.retain(|Reverse((_, key))| is_meant(key));
            self.heap.shrink_to(2 * self.heap.len());
            self.prune_at = PRUNE_LENGTH_MIN.max(2 * self.heap.len());
        }
    }
}

impl<K: Ord + Copy> Default for Deadlines<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    #[test]
    fn the_soonest_falls_due_first_and_none_early() {
        let mut deadlines = Deadlines::new();
        deadlines.set(at(3), 'c');
        deadlines.set(at(1), 'a');
        deadlines.set(at(2), 'b');
        assert_eq!(deadlines.next(), Some(at(1)));
        assert_eq!(deadlines.poll_due(at(0)), None);
        assert_eq!(deadlines.poll_due(at(2)), Some('a'));
        assert_eq!(deadlines.poll_due(at(2)), Some('b'));
        assert_eq!(deadlines.poll_due(at(2)), None);
        assert_eq!(deadlines.next(), Some(at(3)));
    }

    #[test]
    fn leftovers_do_not_pile_up() {
        let mut deadlines = Deadlines::new();
        for n in 0..100_000_u32 {
            deadlines.set(at(1000), n);
            deadlines.prune(|kept| *kept == 7);
        }
        assert!(deadlines.heap.len() <= 2 * PRUNE_LENGTH_MIN);
        assert!(deadlines.heap.iter().any(|Reverse((_, key))| *key == 7));
    }
    #[test]
    fn those_that_are_meant_are_looked_at_a_few_times_only() {
        let mut deadlines = Deadlines::new();
        let looked_at = std::cell::Cell::new(0);
        for n in 0..100_000_u32 {
            deadlines.set(at(1000), n);
            deadlines.prune(|_| {
                looked_at.set(looked_at.get() + 1);
                true
            });
        }
        assert_eq!(deadlines.heap.len(), 100_000);
        assert!(looked_at.get() <= 2 * 100_000, "{}", looked_at.get());
    }
}
