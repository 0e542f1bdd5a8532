//! Random numbers that are the same for ever: a seed that failed once must fail until it is mended, so the
//! generator is our own. One stream for each concern, all split from one seed: what is drawn for one, by a
//! fault that is added or a person who is taken out, shifts nothing for the others.

/// A stream of random numbers (SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
/// Generators", 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of this concern; `index` tells several of a kind apart.
    #[must_use]
    pub fn new(seed: u64, concern: &str, index: usize) -> Self {
        let mut state = seed;
        for byte in concern.bytes().chain(index.to_le_bytes()) {
            state = mix(state ^ u64::from(byte));
        }
        Random(state)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias is below bound / 2^64.
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// A number from `least` to `most`, small ones as likely as large ones.
    pub fn log_between(&mut self, least: u64, most: u64) -> u64 {
        let doublings = (most / least.max(1)).max(1).ilog2();
        let scale = 1 << self.between(0, u64::from(doublings));
        self.between(least, (least.max(1) * scale * 2 - 1).clamp(least, most))
    }

    /// True so often in a thousand.
    pub fn chance(&mut self, in_thousand: u32) -> bool {
        self.below(1000) < u64::from(in_thousand)
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// Puts them into another order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

fn mix(mut state: u64) -> u64 {
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut random = Random::new(1, "network", 0);
        let drawn: Vec<u64> = (0..3).map(|_| random.draw()).collect();
        assert_eq!(drawn, Random::new(1, "network", 0).take(3));
        assert_ne!(drawn, Random::new(1, "people", 0).take(3));
        // A corpus of seeds is worth nothing when this changes.
        assert_eq!(drawn[0], FIRST_OF_SEED_1);
    }

    const FIRST_OF_SEED_1: u64 = 12_688_087_837_168_077_339;

    impl Random {
        fn take(mut self, count: usize) -> Vec<u64> {
            (0..count).map(|_| self.draw()).collect()
        }
    }

    #[test]
    fn what_is_drawn_is_within_its_bounds() {
        let mut random = Random::new(7, "bounds", 0);
        for _ in 0..10_000 {
            assert!(random.below(3) < 3);
            assert!((5..=9).contains(&random.between(5, 9)));
            assert!((1..=1000).contains(&random.log_between(1, 1000)));
            assert!((64..=70).contains(&random.log_between(64, 70)));
        }
        let mut items: Vec<u32> = (0..20).collect();
        random.shuffle(&mut items);
        items.sort_unstable();
        assert!(items.into_iter().eq(0..20));
    }
}
