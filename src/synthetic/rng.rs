//! Random numbers: SplitMix64, and an even sequence for covering surfaces.

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    /// A stream of its own for these numbers.
    pub(super) fn of(parts: &[u64]) -> Self {
        let mut state = 0x6a09_e667_f3bc_c908;
        for part in parts {
            state = mix(state ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        Self(state)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// In [0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        to_unit(self.next())
    }

    pub(super) fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Nearly normal, of mean 0 and deviation 1, within ±3.5: the sum of four 16-bit parts of one draw.
    pub(super) fn gauss(&mut self) -> f64 {
        let bits = self.next();
        let sum: u64 = (0..4).map(|i| bits >> (16 * i) & 0xffff).sum();
        (sum as f64 / 65535.0 - 2.0) * 3f64.sqrt()
    }
}

/// Point `i` of an even covering of the unit square: Roberts' R2 sequence, in exact integer steps.
pub(super) fn even(i: u64, offset: [u64; 2]) -> [f64; 2] {
    const STEP: [u64; 2] = [0xc13f_a9a9_02a6_328f, 0x91e1_0da5_c79e_7b1c];
    std::array::from_fn(|a| to_unit(offset[a].wrapping_add(STEP[a].wrapping_mul(i + 1))))
}

pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn to_unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}
