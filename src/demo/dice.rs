//! Chance that repeats: numbers that depend on a seed and a text alone.
//!
//! Written out instead of taken from `rand`, whose standard generator may change with a release and would then change
//! every answer recorded in a test.

/// A SplitMix64 generator (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// Returns the dice for that seed and those bytes.
    pub(super) fn new(seed: u64, content: &[u8]) -> Self {
        Self(hash(seed, content))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Returns a number from 0 to below 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a number from 0 to below `bound`, which is at least 1.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// Returns `length` letters and digits, for ids.
    pub(super) fn letters(&mut self, length: usize) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        (0..length).map(|_| char::from(ALPHABET[self.below(ALPHABET.len())])).collect()
    }
}

/// Returns a well-mixed 64-bit hash (FNV-1a, then SplitMix64's finaliser).
pub(super) fn hash(seed: u64, content: &[u8]) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325 ^ mix(seed);
    for byte in content {
        state = (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    mix(state)
}

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_text_give_the_same_numbers_and_another_text_gives_others() {
        let first = Dice::new(7, b"hello").next();

        assert_eq!(first, Dice::new(7, b"hello").next());
        assert_ne!(first, Dice::new(8, b"hello").next());
        assert_ne!(first, Dice::new(7, b"hallo").next());
    }

    #[test]
    fn shares_spread_evenly_between_zero_and_one() {
        let mut dice = Dice::new(1, b"");

        let below_a_quarter = (0..10_000).filter(|_| dice.share() < 0.25).count();

        assert!((2_300..2_700).contains(&below_a_quarter), "{below_a_quarter} of 10000 lay below 0.25");
    }
}
