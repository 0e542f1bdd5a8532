//! A checksum: against damage and divergence, not against malice.

/// A sum over bytes, eight at a time, of which each step can be undone: no single change goes unnoticed but by
/// the shortening to 32 bits. It depends on how the bytes were cut into calls, which are the same in a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum(u64);

/// The 64-bit prime of FNV-1a, which this is but for the eight bytes.
const PRIME: u64 = 0x0000_0100_0000_01B3;

impl Sum {
    /// The sum of nothing.
    pub const NOTHING: Sum = Sum(0xcbf2_9ce4_8422_2325);

    /// Adds these bytes, and how many they are.
    pub fn add(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.step(u64::from_le_bytes(word));
        }
        self.step(bytes.len() as u64);
    }

    fn step(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(PRIME);
        self.0 ^= self.0 >> 32;
    }

    /// The sum, shortened.
    #[must_use]
    pub fn short(self) -> u32 {
        self.0 as u32
    }

    /// The sum of these bytes alone, shortened.
    #[must_use]
    pub fn of(bytes: &[u8]) -> u32 {
        let mut sum = Sum::NOTHING;
        sum.add(bytes);
        sum.short()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flipped_bit_and_each_lost_byte_changes_the_sum() {
        let bytes: Vec<u8> = (0..100).collect();
        for length in 0..bytes.len() {
            let sum = Sum::of(&bytes[..length]);
            assert_ne!(sum, Sum::of(&bytes[..=length]), "{length}");
            for bit in 0..8 * length {
                let mut flipped = bytes[..length].to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(sum, Sum::of(&flipped), "bit {bit} of {length} bytes");
            }
        }
        assert_ne!(Sum::of(b"a\0"), Sum::of(b"a"));
    }
}
