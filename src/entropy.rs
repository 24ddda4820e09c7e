//! The number of nearest neighbours whose eigenentropy is least, from the sums over all beginnings of their list.

use std::sync::LazyLock;

use wide::f64x8;

use crate::moments::Offsets;
use crate::scales::Range;

/// Beginnings whose sums are kept, then solved eight at a time.
const KEPT: usize = 128;
const LANES: usize = 8;
const GROUPS: usize = KEPT / LANES;

/// Number, Σ o as x, y, z, and Σ o oᵀ as xx, xy, xz, yy, yz, zz.
const SUMS: usize = 10;

/// Less than any spread of whole numbers, cubed, but not so little that its reciprocal leaves f64's range.
const TINY: f64 = 1e-100;

/// Eigenentropy of who has none, and the most that there is: ln 3.
const DISORDER: f64 = 1.098_612_288_668_109_8;

/// Sums over beginnings of a list, eight beside each other.
#[derive(Debug, Default)]
pub(crate) struct Beginnings {
    groups: Vec<[[f64; LANES]; SUMS]>,
    count: usize,
    /// The best so far, and its number of members.
    least: f64,
    best: usize,
}

impl Beginnings {
    /// The number in `range` of first members whose eigenentropy is least; all of them if there are fewer than `least`.
    ///
    /// Sums are exact while offsets stay below 2^22; beyond, they are off by 1e-16 of the largest.
    pub(crate) fn optimal(&mut self, offsets: Offsets<'_>, range: Range) -> usize {
        let [x, y, z] = offsets;
        self.groups.resize(GROUPS, [[0.0; LANES]; SUMS]);
        (self.count, self.least, self.best) = (0, f64::INFINITY, x.len());
        let mut sums = [0.0; SUMS];
        let mut end = range.least as usize;
        for ((&x, &y), &z) in x.iter().zip(y).zip(z).take(range.most as usize) {
            let more = [1.0, x, y, z, x * x, x * y, x * z, y * y, y * z, z * z];
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
            if sums[0] == end as f64 {
                self.keep(sums);
                end += range.step as usize;
            }
        }
        self.choose();
        self.best
    }

    #[inline(always)]
    fn keep(&mut self, sums: [f64; SUMS]) {
        let (group, lane) = (self.count / LANES, self.count % LANES);
        self.groups[group].iter_mut().zip(sums).for_each(|(kept, sum)| kept[lane] = sum);
        self.count += 1;
        if self.count == KEPT {
            self.choose();
        }
    }

    /// Compares what is kept with the best so far. The purest group comes first; it spares most others, as what their
    /// purity allows is more than it has.
    fn choose(&mut self) {
        let groups = self.count.div_ceil(LANES);
        if let (Some(last), rest @ 1..) = (self.groups[..groups].last_mut(), self.count % LANES) {
            // Lanes that are left over repeat the first.
            for sum in last {
                let repeated = sum[0];
                sum[rest..].fill(repeated);
            }
        }
        let mut purities = [f64x8::splat(0.0); GROUPS];
        let (mut purest, mut group_of) = (f64x8::splat(0.0), f64x8::splat(0.0));
        for (group, purity_of) in purities[..groups].iter_mut().enumerate() {
            let purity = purity(self.sums_of(group));
            let purer = purity.simd_gt(purest);
            group_of = purer.bitselect(f64x8::splat(group as f64), group_of);
            purest = purer.bitselect(purity, purest);
            *purity_of = purity;
        }
        let by_purity = |a: &(f64, f64), b: &(f64, f64)| a.0.total_cmp(&b.0);
        let first = purest.to_array().into_iter().zip(group_of.to_array()).max_by(by_purity);
        let first = first.map_or(0, |(_, group)| group as usize);
        if groups > 0 {
            self.compare(first);
        }
        for group in (0..groups).filter(|group| *group != first) {
            // What has no purity is not less pure.
            if !purities[group].simd_lt(f64x8::splat(least_purity(self.least))).all() {
                self.compare(group);
            }
        }
        self.count = 0;
    }

    /// Of equals, the one with fewer members is the better.
    fn compare(&mut self, group: usize) {
        let [numbers, ..] = self.groups[group];
        let entropies = entropy(self.sums_of(group)).to_array();
        for (entropy, n) in entropies.into_iter().zip(numbers) {
            let n = n as usize;
            if entropy < self.least || entropy == self.least && n < self.best {
                (self.least, self.best) = (entropy, n);
            }
        }
    }

    #[inline(always)]
    fn sums_of(&self, group: usize) -> [f64x8; SUMS] {
        self.groups[group].map(f64x8::new)
    }
}

/// How many parts of [`DISORDER`] the table of [`least_purity`] has.
const PARTS: usize = 256;

/// A sum of squared eigenvalues (of parts that add up to 1) below which the entropy is above the given one.
///
/// Among distributions of three parts with one purity, the entropy is least where as many as possible are equal, one is
/// less, and the others are nothing (Harremoës & Topsøe 2001, Inequalities between entropy and index of coincidence).
fn least_purity(entropy: f64) -> f64 {
    static TABLE: LazyLock<[f64; PARTS + 1]> = LazyLock::new(|| {
        std::array::from_fn(|part| {
            let entropy = DISORDER * part as f64 / PARTS as f64;
            let (mut low, mut high) = (1.0 / 3.0, 1.0);
            for _ in 0..60 {
                let middle = 0.5 * (low + high);
                (low, high) = if least_entropy(middle) < entropy { (low, middle) } else { (middle, high) };
            }
            // Less by more than purities are off.
            low - 1e-9
        })
    });
    let part = (entropy * (PARTS as f64 / DISORDER)) as usize;
    TABLE.get(part + 1).copied().unwrap_or(0.0)
}

/// The least entropy of three parts with this purity.
fn least_entropy(purity: f64) -> f64 {
    let parts = match purity < 0.5 {
        true => {
            let equal = (2.0 + (6.0 * purity - 2.0).max(0.0).sqrt()) / 6.0;
            [equal, equal, 1.0 - 2.0 * equal]
        }
        false => {
            let larger = 0.5 * (1.0 + (2.0 * purity - 1.0).sqrt());
            [larger, 1.0 - larger, 0.0]
        }
    };
    -parts.into_iter().filter(|p| *p > 0.0).map(|p| p * p.ln()).sum::<f64>()
}

/// n² C, and its trace.
#[inline(always)]
fn scatter([n, x, y, z, sums @ ..]: [f64x8; SUMS]) -> ([f64x8; 6], f64x8) {
    let products = [x * x, x * y, x * z, y * y, y * z, z * z];
    let c: [f64x8; 6] = std::array::from_fn(|i| n * sums[i] - products[i]);
    (c, c[0] + c[3] + c[5])
}

/// Σ λ² of the eigenvalues as parts of their sum; NaN where that is zero.
#[inline(always)]
fn purity(sums: [f64x8; SUMS]) -> f64x8 {
    let ([xx, xy, xz, yy, yz, zz], trace) = scatter(sums);
    let off = xy * xy + xz * xz + yz * yz;
    (xx * xx + yy * yy + zz * zz + off + off) / (trace * trace)
}

/// Eigenentropy from sums.
#[inline(always)]
fn entropy(sums: [f64x8; SUMS]) -> f64x8 {
    let (zero, one) = (f64x8::splat(0.0), f64x8::splat(1.0));
    let (c, trace) = scatter(sums);
    let has_any = sums[0].simd_ge(f64x8::splat(3.0)) & trace.simd_gt(zero);
    let terms = eigenvalues(c, has_any.bitselect(trace, one)).map(|e| {
        // Zero times a finite logarithm.
        e.fast_max(zero) * e.fast_max(f64x8::splat(f64::MIN_POSITIVE)).ln()
    });
    has_any.bitselect(zero - (terms[0] + terms[1] + terms[2]), f64x8::splat(DISORDER))
}

/// Eigenvalues of symmetric matrices (xx, xy, xz, yy, yz, zz) as parts of their trace, in closed form (Smith 1961), in no
/// order. Good to 1e-8, which is far below what tells one neighbourhood's entropy from the next one's.
#[inline(always)]
fn eigenvalues([xx, xy, xz, yy, yz, zz]: [f64x8; 6], trace: f64x8) -> [f64x8; 3] {
    let (zero, one, half) = (f64x8::splat(0.0), f64x8::splat(1.0), f64x8::splat(0.5));
    let third_part = f64x8::splat(1.0 / 3.0);
    let mean = trace * third_part;
    let [a, b, c] = [xx - mean, yy - mean, zz - mean];
    let [ab, ac, bc] = [xy * xy, xz * xz, yz * yz];
    let off = ab + ac + bc;
    let spread_sq = (a * a + b * b + c * c + off + off) * f64x8::splat(1.0 / 6.0);
    let spread = spread_sq.sqrt();
    let cubed = (spread_sq * spread).fast_max(f64x8::splat(TINY));
    let cross = xy * yz * xz;
    let determinant = a * b * c + cross + cross - a * bc - b * ac - c * ab;
    // One division for two. Entries are whole numbers below 2^80, so that no product leaves f64's range.
    let inverse = one / (cubed * trace);
    // cos θ: the eigenvalues are mean + 2 spread cos((θ + 2πi)/3).
    let cos = half * determinant * (inverse * trace);
    let spread = spread * (inverse * cubed);
    // Of −A they are the negatives: with θ in the first quadrant one lies apart, and the angles of the others are ∓.
    let apart = cos.simd_ge(zero).bitselect(spread, zero - spread);
    let half_sq = ((one - cos.abs()) * half).fast_max(zero);
    let sin_third = half_sq.sqrt() * third(half_sq);
    let cos_third = (one - sin_third * sin_third).sqrt();
    let (along, aside) = (apart * cos_third, spread * sin_third * f64x8::splat(3f64.sqrt()));
    [third_part + along + along, third_part - along + aside, third_part - along - aside]
}

/// sin(θ/3) / sin(θ/2) from sin²(θ/2) up to 1/2: interpolated at Chebyshev's points, off by 2e-11 at most.
#[inline(always)]
fn third(half_sq: f64x8) -> f64x8 {
    const COEFFICIENTS: [f64; 11] = [
        0.056_574_415_076_862_68,
        -0.092_223_285_951_397_62,
        0.082_188_530_571_081_4,
        -0.032_103_522_939_988_48,
        0.016_581_051_738_202_49,
        0.005_681_020_743_064_767,
        0.010_628_081_828_868_248,
        0.015_424_531_308_548_749,
        0.026_406_489_758_317_33,
        0.061_728_389_331_435_2,
        0.666_666_666_678_527_8,
    ];
    COEFFICIENTS.into_iter().fold(f64x8::splat(0.0), |sum, c| sum * half_sq + f64x8::splat(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_one(matrix: [f64; 6]) -> [f64; 3] {
        let trace = f64x8::splat(matrix[0] + matrix[3] + matrix[5]);
        let mut found = eigenvalues(matrix.map(f64x8::splat), trace).map(|e| e.to_array()[0]);
        found.sort_by(|a, b| b.total_cmp(a));
        found
    }

    #[test]
    fn closed_form_eigenvalues_are_those_of_the_matrix() {
        for (matrix, expected) in [
            ([2.0, 0.0, 0.0, 2.0, 0.0, 2.0], [2.0; 3]),
            ([3.0, 1.0, 0.0, 3.0, 0.0, 1.0], [4.0, 2.0, 1.0]),
            ([1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
            ([0.0, 0.0, 0.0, 5.0, 0.0, 5.0], [5.0, 5.0, 0.0]),
            ([1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [3.0, 0.0, 0.0]),
            ([4.0, 1.0, 0.0, 4.0, 1.0, 4.0], [4.0 + 2f64.sqrt(), 4.0, 4.0 - 2f64.sqrt()]),
        ] {
            let trace = matrix[0] + matrix[3] + matrix[5];
            let found = of_one(matrix);
            let off = found.iter().zip(expected).map(|(f, e)| (f - e / trace).abs()).fold(0.0, f64::max);
            assert!(off < 1e-8, "{matrix:?}: {found:?}");
        }
    }

    #[test]
    fn a_third_of_an_angle_is_interpolated() {
        for i in 0..=1000 {
            let half: f64 = f64::from(i) / 1000.0 * std::f64::consts::FRAC_PI_4;
            let found = half.sin() * third(f64x8::splat(half.sin().powi(2))).to_array()[0];
            assert!((found - (2.0 / 3.0 * half).sin()).abs() < 2.5e-11, "{half}");
        }
    }

    fn optimal(offsets: &[[f64; 3]], least: u32, most: u32, step: u32) -> usize {
        let axes: [Vec<f64>; 3] = std::array::from_fn(|a| offsets.iter().map(|o| o[a]).collect());
        Beginnings::default().optimal(axes.each_ref().map(|a| &a[..]), Range { least, most, step })
    }

    #[test]
    fn the_flattest_beginning_is_optimal() {
        // Nine points on a plane, the first three of them on a line, then some above it.
        let mut offsets: Vec<[f64; 3]> =
            (0..9).map(|i| [f64::from(i % 3 * 10), f64::from(i / 3 * 10), 0.0]).collect();
        offsets.extend([[0.0, 0.0, 14.0], [10.0, 0.0, -14.0], [0.0, 10.0, 14.0]]);
        for (least, most, step, expected) in [(9, 12, 1, 9), (8, 12, 2, 8), (40, 60, 1, 12), (1, 12, 1, 3)] {
            assert_eq!(optimal(&offsets, least, most, step), expected);
        }
        assert_eq!(optimal(&[[0.0; 3]; 8], 3, 8, 1), 3);
    }

    /// Places on a plane where `flat` says so, else in space.
    fn places(n: i64, flat: impl Fn(i64) -> bool) -> Vec<[f64; 3]> {
        let place = |i: i64| {
            let [x, y] = [i * 7919 % 1009 - 504, i * 104_729 % 997 - 498].map(|v| v as f64);
            [x, y, if flat(i) { 0.0 } else { (i * 31_337 % 991 - 495) as f64 }]
        };
        (0..n).map(place).collect()
    }

    #[test]
    fn what_is_spared_is_not_the_least() {
        for (n, from, to) in [(400, 20, 310), (400, 150, 160), (300, 0, 5), (60, 10, 40), (9, 0, 9)] {
            let offsets = places(n, |i| (from..to).contains(&i));
            for (least, most, step) in [(10, 400, 1), (3, 100, 1), (11, 391, 7), (1, 2, 1), (130, 260, 1)] {
                let mut expected = (f64::INFINITY, offsets.len());
                let mut sums = [0.0; SUMS];
                for (i, &[x, y, z]) in (1u32..).zip(&offsets) {
                    let more = [1.0, x, y, z, x * x, x * y, x * z, y * y, y * z, z * z];
                    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                    if i >= least && i <= most && (i - least).is_multiple_of(step) {
                        let entropy = entropy(sums.map(f64x8::splat)).to_array()[0];
                        expected = if entropy < expected.0 { (entropy, i as usize) } else { expected };
                    }
                }
                assert_eq!(
                    optimal(&offsets, least, most, step),
                    expected.1,
                    "{n} {from} {to}, {least}..{most}"
                );
            }
        }
    }

    #[test]
    fn no_entropy_is_below_what_its_purity_allows() {
        for i in 0..2000u32 {
            let [a, b, c] = [7919, 10_007, 31_337].map(|f| f64::from(i * f % 1009 + 1).powi(i as i32 % 5));
            let parts = [a, b, if i % 3 == 0 { 0.0 } else { c }]
                .map(|p| p / (a + b + if i % 3 == 0 { 0.0 } else { c }));
            let entropy = -parts.into_iter().filter(|p| *p > 0.0).map(|p| p * p.ln()).sum::<f64>();
            let purity = parts.into_iter().map(|p| p * p).sum::<f64>();
            assert!(least_entropy(purity) <= entropy + 1e-9, "{parts:?}");
            assert!(purity >= least_purity(entropy), "{parts:?}");
            // The table is not so careful that it spares nobody.
            assert!(least_entropy((least_purity(entropy) + 0.01).min(1.0)) < entropy + 0.02, "{parts:?}");
        }
    }
}
