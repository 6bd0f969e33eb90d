//! Random numbers by position: the n-th of a stream is computed from n alone, so that any split
//! generates any part, and every column on its own.

/// The odd number nearest to 2^64 divided by the golden ratio, splitmix64's step.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of random numbers, each a function of its position.
///
/// These are the values of splitmix64 (Steele, Lea, Flood, OOPSLA 2014), which passes BigCrush.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draws {
    key: u64,
}

impl Draws {
    /// Makes stream number `stream` of a seed.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        Self { key: mix(seed ^ mix(stream.wrapping_mul(STEP).wrapping_add(STEP))) }
    }

    /// Returns the 64 random bits at a position.
    #[inline]
    pub(super) fn at(self, position: u64) -> u64 {
        mix(self.key.wrapping_add(position.wrapping_mul(STEP)))
    }
}

#[inline]
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// Maps the upper 32 bits onto `0..bound`, leaving the lower 32 for another use. `bound` is below
/// 2^32, and the bias is below `bound / 2^32`.
#[inline]
pub(super) fn below(bits: u64, bound: u64) -> u64 {
    ((bits >> 32) * bound) >> 32
}

/// Maps the upper 53 bits onto `[0, 1)`.
#[inline]
pub(super) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}
