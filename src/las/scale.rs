//! One quantum for three axes, so that raw records become lattice coordinates without rounding.

/// Largest whole number of quanta that the finest axis' scale may hold.
const FINEST: u32 = 1000;

/// The quantum that represents every axis' scale as a whole multiple, and the multiples.
///
/// Equal scales give that scale itself and (1, 1, 1). `None` if no quantum down to a thousandth of the
/// finest scale represents them all.
pub(super) fn common(scale: [f64; 3]) -> Option<(f64, [i64; 3])> {
    let quantum = quantum(scale.into_iter(), std::iter::empty())?;
    Some((quantum, multiples(scale, quantum)))
}

/// The coarsest quantum, a whole part of the finest scale, of which all scales and offsets' differences are whole multiples.
/// Differences come with the size of the numbers that they are of.
pub(super) fn quantum(
    scales: impl Iterator<Item = f64> + Clone,
    differences: impl Iterator<Item = (f64, f64)> + Clone,
) -> Option<f64> {
    let finest = scales.clone().fold(f64::INFINITY, |m, s| m.min(s.abs()));
    // Decimals as f64 are off by 1e-16; the bound keeps the error of a full i32 range below 0.01 quantum.
    let is_whole = |m: f64| (m - m.round()).abs() <= 1e-12 * m.abs() && m.abs() < 1e9;
    (1..=FINEST).map(f64::from).find_map(|parts| {
        let apart = |(difference, size): (f64, f64)| {
            let quanta = difference / finest * parts;
            let blur = 4.0 * size * f64::EPSILON / finest * parts + 1e-9;
            blur < 0.25 && (quanta - quanta.round()).abs() <= blur
        };
        let fits = scales.clone().all(|s| is_whole(s / finest * parts)) && differences.clone().all(apart);
        fits.then_some(finest / parts)
    })
}

/// The scales as multiples of a quantum of theirs.
pub(super) fn multiples(scale: [f64; 3], quantum: f64) -> [i64; 3] {
    scale.map(|s| (s / quantum).round() as i64)
}

/// The integer that each axis subtracts, and whether the rest times the multiples fits the lattice.
///
/// Axes with multiple 1 subtract nothing: their lattice is the records.
pub(super) fn bases(multiples: [i64; 3], min: [i32; 3], max: [i32; 3]) -> Option<[i32; 3]> {
    let mut base = [0; 3];
    for axis in 0..3 {
        if multiples[axis] == 1 {
            continue;
        }
        base[axis] = min[axis];
        let extent = i64::from(max[axis]) - i64::from(min[axis]);
        let quanta = extent.checked_mul(multiples[axis].abs())?;
        if quanta > i64::from(crate::frame::MAX_EXTENT) {
            return None;
        }
    }
    Some(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scales_are_their_own_quantum() {
        assert_eq!(common([0.01; 3]), Some((0.01, [1; 3])));
        assert_eq!(common([0.00025; 3]), Some((0.00025, [1; 3])));
    }

    #[test]
    fn different_scales_share_the_finest_or_a_part_of_it() {
        assert_eq!(common([0.01, 0.01, 0.001]), Some((0.001, [10, 10, 1])));
        assert_eq!(common([0.001, -0.001, 0.002]), Some((0.001, [1, -1, 2])));
        let (quantum, multiples) = common([0.0025, 0.001, 0.001]).unwrap();
        assert_eq!((quantum, multiples), (0.0005, [5, 2, 2]));
        assert_eq!(common([0.01, 0.01, 0.01 * std::f64::consts::SQRT_2]), None);
        assert_eq!(common([1e-9, 1.0, 1e6]), None);
    }

    #[test]
    fn extents_beyond_the_lattice_have_no_base() {
        assert_eq!(bases([1, 1, 1], [i32::MIN; 3], [i32::MAX; 3]), Some([0; 3]));
        assert_eq!(bases([10, 1, 1], [-5, 3, 3], [100, 3, 3]), Some([-5, 0, 0]));
        assert_eq!(bases([10, 1, 1], [0; 3], [1 << 28, 3, 3]), None);
    }
}
