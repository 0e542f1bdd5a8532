//! The numbers of clients without a nick, where they are called `guest-N` and not by their addresses.
//!
//! A newcomer gets the lowest number that is free, so that numbers stay small however many come and go. Knows
//! no sessions: an owner is any small value.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use crate::memory::{doubling, ordered};

/// What the name of everyone without a nick begins with; no nick may.
pub const PREFIX: &str = "guest-";

/// Who has which number.
#[derive(Debug)]
pub struct Guests<K> {
    /// By number, from 1 on; the last one is taken.
    owners: Vec<Option<K>>,
    /// The indices of those that are not.
    free: BTreeSet<u32>,
}

/// Bytes that one number takes, in use or not.
#[must_use]
pub const fn number_bytes<K>() -> usize {
    doubling(size_of::<Option<K>>()) + ordered(size_of::<u32>())
}

impl<K> Default for Guests<K> {
    fn default() -> Self {
        Guests { owners: Vec::new(), free: BTreeSet::new() }
    }
}

impl<K: Copy> Guests<K> {
    /// Gives the lowest free number to `owner`.
    pub fn take(&mut self, owner: K) -> NonZeroU32 {
        let index = self.free.pop_first().unwrap_or(self.owners.len() as u32);
        match self.owners.get_mut(index as usize) {
            Some(free) => *free = Some(owner),
            None => self.owners.push(Some(owner)),
        }
        NonZeroU32::MIN.saturating_add(index)
    }

    /// Takes a number back. One that nobody has is left alone.
    pub fn release(&mut self, number: NonZeroU32) {
        let index = number.get() - 1;
        let Some(owner) = self.owners.get_mut(index as usize).filter(|owner| owner.is_some()) else { return };
        *owner = None;
        self.free.insert(index);
        while let Some(None) = self.owners.last() {
            self.owners.pop();
            self.free.remove(&(self.owners.len() as u32));
        }
        if self.owners.len() < self.owners.capacity() / 4 {
            self.owners.shrink_to(2 * self.owners.len());
        }
    }

    /// Who goes by this name, whatever its case.
    #[must_use]
    pub fn owner(&self, name: &str) -> Option<K> {
        let (prefix, number) = name.split_at_checked(PREFIX.len())?;
        // Neither a sign nor zeros before it: a name is spelled in one way.
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
        if !prefix.eq_ignore_ascii_case(PREFIX) || !is_number {
            return None;
        }
        let index = number.parse::<usize>().ok()?.checked_sub(1)?;
        *self.owners.get(index)?
    }

    /// Numbers that are taken.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn len(&self) -> usize {
        self.owners.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_gets_the_lowest_free_number() {
        let mut guests = Guests::default();
        let numbers: Vec<u32> = ['a', 'b', 'c', 'd'].map(|owner| guests.take(owner).get()).into();
        assert_eq!(numbers, [1, 2, 3, 4]);
        guests.release(NonZeroU32::new(3).expect("not zero"));
        guests.release(NonZeroU32::new(2).expect("not zero"));
        guests.release(NonZeroU32::new(2).expect("not zero"));
        assert_eq!((guests.take('e').get(), guests.take('f').get(), guests.take('g').get()), (2, 3, 5));
        assert_eq!(guests.owner("guest-2"), Some('e'));
    }

    #[test]
    fn numbers_that_nobody_has_take_no_memory() {
        let mut guests = Guests::default();
        let numbers: Vec<NonZeroU32> = (0..1000).map(|owner| guests.take(owner)).collect();
        for number in &numbers[1..] {
            guests.release(*number);
        }
        assert_eq!((guests.len(), guests.owners.len(), guests.free.len()), (1, 1, 0));
        assert!(guests.owners.capacity() < 100);
        guests.release(numbers[0]);
        assert_eq!((guests.len(), guests.owners.len()), (0, 0));
    }

    #[test]
    fn a_name_is_spelled_in_one_way_but_for_its_case() {
        let mut guests = Guests::default();
        guests.take('a');
        assert_eq!((guests.owner("guest-1"), guests.owner("Guest-1")), (Some('a'), Some('a')));
        for name in [
            "guest-",
            "guest-0",
            "guest-01",
            "guest-+1",
            "guest-2",
            "guest1",
            "guest-99999999999999999999",
            "客人-1",
        ] {
            assert_eq!(guests.owner(name), None, "{name}");
        }
    }
}
