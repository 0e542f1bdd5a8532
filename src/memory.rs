//! What a program can come to hold, at most: parts that follow from its limits, and what containers take
//! beyond their elements.
//!
//! It knows no program: each names its own parts from the sizes of its types. Every part is linear in its
//! count, so that a number of clients can be told from a number of bytes. What is counted are blocks of the
//! allocator; pages that it keeps for itself, and what the kernel holds, are not.

/// Something that a program holds so many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is, for people.
    pub what: &'static str,
    /// How many there can be.
    pub count: u64,
    /// Bytes that each can take.
    pub bytes_each: u64,
}

impl Part {
    /// So many of something.
    #[must_use]
    pub const fn new(what: &'static str, count: usize, bytes_each: usize) -> Self {
        Part { what, count: count as u64, bytes_each: bytes_each as u64 }
    }

    /// Bytes of all of it.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.count.saturating_mul(self.bytes_each)
    }
}

/// Bytes of all parts together.
#[must_use]
pub fn bytes_max(parts: &[Part]) -> u64 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(part.bytes()))
}

/// What an allocation takes beside its bytes: malloc's header, and its rounding up to 16.
pub const BLOCK_BYTES: usize = 24;

/// Bytes of an element of `Vec`, `VecDeque`, `BinaryHeap` or `Slab`: they grow by doubling, and while they do,
/// the old block is there beside the new one.
#[must_use]
pub const fn doubling(element_bytes: usize) -> usize {
    3 * element_bytes
}

/// The same of a `HashMap`, which is filled to seven eighths and has a byte of its own for each place.
#[must_use]
pub const fn hashed(element_bytes: usize) -> usize {
    4 * (element_bytes + 1)
}

/// The same of a `BTreeMap` of many elements, whose nodes have eleven places of which five are in use at least,
/// and edges to further nodes.
#[must_use]
pub const fn ordered(element_bytes: usize) -> usize {
    3 * element_bytes + 48
}

/// The least that a `BTreeMap` takes that is not empty: one node.
#[must_use]
pub const fn ordered_min(element_bytes: usize) -> usize {
    11 * element_bytes + 16 + BLOCK_BYTES
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::*;

    #[test]
    fn containers_stay_within_what_is_said_of_them() {
        let mut table = Vec::new();
        let mut map = HashMap::new();
        for n in 0..100_000_u64 {
            table.push(n);
            map.insert(n, n);
            assert!(table.capacity() * 3 / 2 <= 3 * table.len().max(2), "{}", table.len());
            // A map of so many places has buckets for an eighth more, rounded up to a power of two.
            let buckets = (map.capacity() * 8).div_ceil(7).next_power_of_two();
            assert!(buckets * 17 * 3 / 2 <= hashed(16) * map.len().max(4), "{}", map.len());
        }
        assert_eq!(BTreeMap::<u64, u64>::new().len(), 0, "an empty one takes nothing");
    }

    #[test]
    fn parts_are_added_up_without_overflow() {
        let parts = [Part::new("a", 3, 5), Part { what: "b", count: u64::MAX, bytes_each: 2 }];
        assert_eq!(bytes_max(&parts[..1]), 15);
        assert_eq!(bytes_max(&parts), u64::MAX);
    }
}
