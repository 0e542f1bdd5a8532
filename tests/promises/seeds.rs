//! Chance that can be had again: a test draws all it does from one seed, which is shown where it fails.

/// The seed of a test: from the environment, or a fresh one.
pub struct Seed {
    variable: &'static str,
    value: u64,
}

impl Seed {
    /// What the variable says (`0x…`), or any.
    pub fn from(variable: &'static str) -> Self {
        use std::hash::{BuildHasher, RandomState};
        let value = std::env::var(variable).map_or_else(
            |_| RandomState::new().hash_one(0),
            |text| u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("0x and hexadecimal digits"),
        );
        Seed { variable, value }
    }

    /// A generator of its own for each concern.
    pub fn random(&self, concern: usize) -> Random {
        Random::new(self.value ^ Random::new(concern as u64).next())
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let test = std::thread::current();
            let test = test.name().unwrap_or_default();
            eprintln!(
                "the same once more: {}={:#018x} cargo test --test promises {test}",
                self.variable, self.value
            );
        }
    }
}

/// splitmix64 (Steele, Lea, Flood: Fast Splittable PRNGs, 2014).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Less than `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// In this range.
    pub fn within(&mut self, range: &std::ops::Range<usize>) -> usize {
        range.start + self.below(range.len())
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
