//! Prices: `round(10^(6u) * 100)` for u uniform in `[0, 1)`.

use std::sync::LazyLock;

/// Powers of ten for each byte of a 24-bit u: their product is the power for u. Multiplying is
/// several times cheaper than `powf`, which also differs between platforms in its last bit.
static POWERS: LazyLock<[[f64; 256]; 3]> = LazyLock::new(|| {
    let power = |digit: usize, weight: f64| 10_f64.powf(6.0 * digit as f64 / weight);
    [
        std::array::from_fn(|digit| 100.0 * power(digit, 256.0)),
        std::array::from_fn(|digit| power(digit, 65_536.0)),
        std::array::from_fn(|digit| power(digit, 16_777_216.0)),
    ]
});

/// Computes prices of random bits.
pub(super) struct Prices(&'static [[f64; 256]; 3]);

impl Prices {
    pub(super) fn new() -> Self {
        Self(&POWERS)
    }

    /// Returns the price, in cents, that the upper 24 bits stand for.
    #[inline]
    pub(super) fn of(&self, bits: u64) -> u64 {
        let digit = |shift: u32| ((bits >> shift) & 0xFF) as usize;
        let price = self.0[0][digit(56)] * self.0[1][digit(48)] * self.0[2][digit(40)];
        (price + 0.5) as u64
    }
}
