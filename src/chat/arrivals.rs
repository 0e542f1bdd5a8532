//! Newcomers by where they come from: whether one more may, so soon after the others (P40).
//!
//! A token bucket for each address: full at first, a token less for each newcomer, and a new one at fixed
//! intervals. Of a bucket only the moment is kept at which it will be full again (GCRA's theoretical arrival
//! time), and none of one that is full. So what is held is as much as came lately, and never more than so many
//! addresses: beyond those the fullest bucket is forgotten, whose address gains least by it. Nobody is refused
//! for what others did, and it knows nothing of connections: who leaves again was there all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::{AddressBlock, Moment};
use crate::memory::{ordered, ordered_min};

use super::config::ConnectRate;

/// How many came lately, by address.
#[derive(Debug)]
pub struct Arrivals {
    /// What it takes for one more token.
    interval: Duration,
    /// What it takes for an empty bucket to be full.
    reach: Duration,
    addresses_max: usize,
    /// When each address's bucket will be full again.
    full_at: BTreeMap<AddressBlock, Moment>,
    /// The same, the fullest first.
    fullest: BTreeSet<(Moment, AddressBlock)>,
}

impl Arrivals {
    /// Nobody came yet.
    #[must_use]
    pub fn new(rate: ConnectRate) -> Self {
        let interval = Duration::from_secs(60) / rate.connects_per_minute;
        Arrivals {
            interval,
            reach: interval.saturating_mul(rate.burst_connects),
            addresses_max: rate.addresses_max,
            full_at: BTreeMap::new(),
            fullest: BTreeSet::new(),
        }
    }

    /// Takes a token for a newcomer. `now` never steps back.
    ///
    /// # Errors
    /// How long it has to wait for one, where there is none. That costs it nothing.
    pub fn admit(&mut self, now: Moment, address: AddressBlock) -> Result<(), Duration> {
        let before = self.full_at.get(&address).copied();
        let after = before.unwrap_or(now).max(now) + self.interval;
        let wait = after.since(now).saturating_sub(self.reach);
        if !wait.is_zero() {
            return Err(wait);
        }
        if before.is_none() {
            self.make_room(now);
        }
        // First in, then out, so that a tree of one needs no new node each time.
        self.fullest.insert((after, address));
        if let Some(before) = self.full_at.insert(address, after).filter(|before| *before != after) {
            self.fullest.remove(&(before, address));
        }
        Ok(())
    }

    /// Forgets all full buckets, and one that is not, where there would be too many.
    fn make_room(&mut self, now: Moment) {
        while let Some(&(full_at, address)) = self.fullest.first()
            && (full_at <= now || self.full_at.len() >= self.addresses_max)
        {
            self.fullest.pop_first();
            self.full_at.remove(&address);
        }
    }

    /// Addresses whose buckets are kept.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn addresses(&self) -> usize {
        debug_assert_eq!(self.full_at.len(), self.fullest.len());
        self.full_at.len()
    }
}

const ENTRY_BYTES: usize = size_of::<(Moment, AddressBlock)>();

/// Bytes that one address takes where there are many.
pub const ADDRESS_BYTES: usize = 2 * ordered(ENTRY_BYTES);

/// Bytes that the first takes beyond that.
pub const BYTES_MIN: usize = 2 * ordered_min(ENTRY_BYTES);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arrivals(connects_per_minute: u32, burst_connects: u32, addresses_max: usize) -> Arrivals {
        Arrivals::new(ConnectRate { connects_per_minute, burst_connects, addresses_max })
    }

    fn address(number: u8) -> AddressBlock {
        AddressBlock::V4([192, 0, 2, number])
    }

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    /// How many of these come in at the same moment.
    fn admitted(arrivals: &mut Arrivals, now: Moment, number: u8, newcomers: usize) -> usize {
        (0..newcomers).filter(|_| arrivals.admit(now, address(number)).is_ok()).count()
    }

    #[test]
    fn a_burst_comes_in_and_then_one_at_each_interval_which_the_others_are_told_to_wait_for() {
        let mut arrivals = arrivals(20, 64, 10);
        assert_eq!(admitted(&mut arrivals, at(0), 1, 100), 64);
        assert_eq!(arrivals.admit(at(1), address(1)), Err(Duration::from_secs(2)));
        assert_eq!(arrivals.admit(at(3), address(1)), Ok(()), "who was told to wait so long is let in then");
        assert_eq!(arrivals.admit(at(3), address(1)), Err(Duration::from_secs(3)));
        assert_eq!(admitted(&mut arrivals, at(33), 1, 100), 10);
        assert_eq!(admitted(&mut arrivals, at(3600), 1, 100), 64, "and never more than the burst");
    }

    #[test]
    fn addresses_do_not_count_for_each_other() {
        let mut arrivals = arrivals(1, 2, 10);
        assert_eq!(admitted(&mut arrivals, at(0), 1, 10), 2);
        assert_eq!(admitted(&mut arrivals, at(0), 2, 10), 2);
    }

    #[test]
    fn what_is_full_again_is_forgotten() {
        let mut arrivals = arrivals(60, 5, 1000);
        for number in 0..200 {
            assert_eq!(arrivals.admit(at(0), address(number)), Ok(()));
        }
        assert_eq!(arrivals.addresses(), 200);
        assert_eq!(arrivals.admit(at(1), address(200)), Ok(()));
        assert_eq!(arrivals.addresses(), 1);
    }

    #[test]
    fn beyond_the_most_addresses_the_fullest_is_forgotten_and_a_newcomer_is_let_in() {
        let mut arrivals = arrivals(1, 3, 2);
        assert_eq!(admitted(&mut arrivals, at(0), 1, 3), 3);
        assert_eq!(admitted(&mut arrivals, at(0), 2, 1), 1);
        for number in 3..=250 {
            assert_eq!(admitted(&mut arrivals, at(0), number, 1), 1);
            assert_eq!(arrivals.addresses(), 2);
        }
        assert_eq!(admitted(&mut arrivals, at(0), 1, 1), 0, "the emptiest is remembered longest");
        assert_eq!(admitted(&mut arrivals, at(0), 2, 3), 3, "who was forgotten has a full bucket");
    }

    #[test]
    fn the_fastest_rate_and_the_largest_burst_overflow_nothing() {
        let mut arrivals = arrivals(u32::MAX, u32::MAX, 1);
        assert_eq!(admitted(&mut arrivals, at(u64::MAX), 1, 1000), 1000);
        let mut arrivals = self::arrivals(1, u32::MAX, 1);
        assert_eq!(admitted(&mut arrivals, at(0), 1, 1000), 1000);
    }

    /// A bucket as it is drawn: so many tokens, and the part of one that came since.
    struct Bucket {
        tokens: u32,
        filled: Duration,
        seen: Moment,
    }

    proptest! {
        #[test]
        fn it_is_a_bucket_of_tokens_for_each_address_as_far_as_there_is_room_for_them(
            connects_per_minute in 1_u32..200,
            burst_connects in 1_u32..6,
            addresses_max in 1_usize..6,
            steps in proptest::collection::vec((0_u8..5, prop_oneof![Just(0), 0_u64..30_000]), 1..200),
        ) {
            let mut arrivals = arrivals(connects_per_minute, burst_connects, addresses_max);
            let interval = Duration::from_secs(60) / connects_per_minute;
            let full = || Bucket { tokens: burst_connects, filled: Duration::ZERO, seen: Moment::START };
            let mut buckets: Vec<Bucket> = (0..5).map(|_| full()).collect();
            let mut now = Moment::START;
            for (number, pause_ms) in steps {
                now = now + Duration::from_millis(pause_ms);
                let bucket = &mut buckets[usize::from(number)];
                bucket.filled += now.since(bucket.seen);
                bucket.seen = now;
                while bucket.filled >= interval && bucket.tokens < burst_connects {
                    bucket.filled -= interval;
                    bucket.tokens += 1;
                }
                if bucket.tokens == burst_connects {
                    bucket.filled = Duration::ZERO;
                }
                let expected = match bucket.tokens {
                    0 => Err(interval - bucket.filled),
                    _ => Ok(()),
                };
                let admitted = arrivals.admit(now, address(number));
                if addresses_max >= 5 {
                    prop_assert_eq!(admitted, expected);
                } else {
                    // What was forgotten is to somebody's favour only.
                    prop_assert!(admitted.is_ok() || expected.is_err());
                }
                match (admitted, bucket.tokens) {
                    (Err(_), _) => {}
                    (Ok(()), 0) => bucket.filled = Duration::ZERO,
                    (Ok(()), _) => bucket.tokens -= 1,
                }
                prop_assert!(arrivals.addresses() <= addresses_max);
            }
        }
    }
}
