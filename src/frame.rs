//! The lattice: integer coordinates for a whole cloud, once.
//!
//! Differences of lattice coordinates are exact in f32 up to 2^24 quanta, so squared distances come out
//! alike on every device, whatever a driver fuses or reorders.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::watch::Watch;

/// Widest extent of a cloud on one axis, in quanta. Squared distances (three such squares) then fit u64.
pub const MAX_EXTENT: u32 = i32::MAX as u32;

/// Maps integer lattice coordinates to the world: `world = origin + lattice * quantum`, per axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    origin: [f64; 3],
    quantum: f64,
}

impl Frame {
    /// A frame with this world origin and edge of a lattice cell, both in the cloud's unit.
    ///
    /// # Errors
    /// [`Error::InvalidQuantum`] unless `quantum` is positive and finite and the origin is finite.
    pub fn new(origin: [f64; 3], quantum: f64) -> Result<Self> {
        if !(quantum.is_finite() && quantum > 0.0) {
            return Err(Error::InvalidQuantum(quantum));
        }
        if let Some(axis) = origin.iter().position(|v| !v.is_finite()) {
            return Err(Error::NonFinite { index: 0, axis: AXES[axis], count: 1 });
        }
        Ok(Self { origin, quantum })
    }

    /// World position of lattice point (0, 0, 0).
    pub fn origin(&self) -> [f64; 3] {
        self.origin
    }

    /// Edge of a lattice cell, in the cloud's unit.
    pub fn quantum(&self) -> f64 {
        self.quantum
    }

    /// World coordinates of a lattice point.
    pub fn to_world(&self, lattice: [i32; 3]) -> [f64; 3] {
        std::array::from_fn(|a| self.origin[a] + f64::from(lattice[a]) * self.quantum)
    }
}

pub(crate) const AXES: [char; 3] = ['x', 'y', 'z'];

/// How exact the numbers of a cloud are: what a decimal quantum may be off by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Precision {
    F64,
    F32,
}

impl Precision {
    /// Spacing of representable numbers near `v`.
    pub(crate) fn ulp(self, v: f64) -> f64 {
        v.abs() * if self == Self::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) }
    }
}

/// Chooses the frame of `n` points read through `at`; `quantum` overrides the choice.
///
/// The coarsest decimal quantum from 1e-2 to 1e-9 that reproduces every value is taken, so that coordinates
/// that came from a LAS file give that file's lattice. Values that no decimal reproduces get a power of two
/// below 1/512 of the mean spacing.
pub(crate) fn choose<F>(
    n: usize,
    at: F,
    precision: Precision,
    quantum: Option<f64>,
    watch: &Watch,
) -> Result<Frame>
where
    F: Fn(usize) -> [f64; 3] + Sync,
{
    let (min, max) = world_bounds(n, &at, watch)?;
    if n == 0 {
        return Frame::new([0.0; 3], quantum.unwrap_or(1e-2));
    }
    let extent: [f64; 3] = std::array::from_fn(|a| max[a] - min[a]);
    let quantum = match quantum {
        Some(q) => q,
        None => decimal_quantum(n, &at, precision, min, max, watch)?
            .unwrap_or_else(|| power_of_two_quantum(n, extent, precision, min, max)),
    };
    // The origin is a multiple of the quantum, so that the lattice depends on the values alone.
    let origin = std::array::from_fn(|a| (min[a] / quantum).round() * quantum);
    let frame = Frame::new(origin, quantum)?;
    for axis in 0..3 {
        let quanta = extent[axis] / quantum;
        if quanta > f64::from(MAX_EXTENT) - 1.0 {
            let limit = MAX_EXTENT;
            return Err(Error::ExtentTooLarge { axis: AXES[axis], quanta, quantum, limit });
        }
    }
    Ok(frame)
}

/// Lattice coordinates of every point: `round(world / quantum) - round(min / quantum)`.
pub(crate) fn quantize<F>(n: usize, at: F, frame: &Frame, watch: &Watch) -> Result<Vec<[i32; 3]>>
where
    F: Fn(usize) -> [f64; 3] + Sync,
{
    let base: [f64; 3] = std::array::from_fn(|a| (frame.origin[a] / frame.quantum).round());
    let to = |v: f64, a: usize| ((v / frame.quantum).round() - base[a]) as i32;
    watch.fill(n, [0; 3], |first, out| {
        for (i, out) in (first..).zip(out) {
            let p = at(i);
            *out = [to(p[0], 0), to(p[1], 1), to(p[2], 2)];
        }
    })
}

/// Smallest and largest world coordinates; refuses numbers that are not finite.
fn world_bounds<F>(n: usize, at: &F, watch: &Watch) -> Result<([f64; 3], [f64; 3])>
where
    F: Fn(usize) -> [f64; 3] + Sync,
{
    struct Seen {
        min: [f64; 3],
        max: [f64; 3],
        first_bad: usize,
        bad: usize,
    }
    let add = |mut s: Seen, i: usize| {
        let p = at(i);
        if p.iter().all(|v| v.is_finite()) {
            for (a, v) in p.into_iter().enumerate() {
                s.min[a] = s.min[a].min(v);
                s.max[a] = s.max[a].max(v);
            }
        } else {
            s.first_bad = s.first_bad.min(i);
            s.bad += 1;
        }
        s
    };
    let none = || Seen { min: [f64::MAX; 3], max: [f64::MIN; 3], first_bad: usize::MAX, bad: 0 };
    let seen = watch.blocks(n).fold(none, |seen, block| block.fold(seen, add)).reduce_with(|a, b| Seen {
        min: std::array::from_fn(|i| a.min[i].min(b.min[i])),
        max: std::array::from_fn(|i| a.max[i].max(b.max[i])),
        first_bad: a.first_bad.min(b.first_bad),
        bad: a.bad + b.bad,
    });
    watch.check()?;
    match seen {
        None => Ok(([0.0; 3], [0.0; 3])),
        Some(s) if s.bad > 0 => {
            let axis = at(s.first_bad).iter().position(|v| !v.is_finite()).unwrap_or(0);
            Err(Error::NonFinite { index: s.first_bad, axis: AXES[axis], count: s.bad })
        }
        Some(s) => Ok((s.min, s.max)),
    }
}

fn decimal_quantum<F>(
    n: usize,
    at: &F,
    precision: Precision,
    min: [f64; 3],
    max: [f64; 3],
    watch: &Watch,
) -> Result<Option<f64>>
where
    F: Fn(usize) -> [f64; 3] + Sync,
{
    let largest = min.iter().chain(&max).fold(0.0_f64, |m, v| m.max(v.abs()));
    for digits in 2..=9 {
        let per_unit = 10f64.powi(digits);
        let quantum = 1.0 / per_unit;
        let widest = (0..3).map(|a| max[a] - min[a]).fold(0.0, f64::max);
        // A quantum near the numbers' own spacing reproduces anything and tells nothing.
        if quantum < 16.0 * precision.ulp(largest) || widest * per_unit >= f64::from(MAX_EXTENT) {
            return Ok(None);
        }
        let fits = |i: usize| {
            at(i).iter().all(|&v| {
                let nearest = (v * per_unit).round() / per_unit;
                (v - nearest).abs() <= 4.0 * precision.ulp(v)
            })
        };
        if fits(0) && fits(n - 1) && watch.blocks(n).all(|mut block| block.all(fits)) {
            return watch.check().map(|()| Some(quantum));
        }
        watch.check()?;
    }
    Ok(None)
}

fn power_of_two_quantum(
    n: usize,
    extent: [f64; 3],
    precision: Precision,
    min: [f64; 3],
    max: [f64; 3],
) -> f64 {
    let mut e = extent;
    e.sort_by(|a, b| b.total_cmp(a));
    let n = n as f64;
    // Spacing of points spread over the box's volume, its largest face, or its longest edge.
    let spacing = (e[0] * e[1] * e[2] / n).cbrt().max((e[0] * e[1] / n).sqrt()).max(e[0] / n);
    let largest = min.iter().chain(&max).fold(0.0_f64, |m, v| m.max(v.abs()));
    let floor = precision.ulp(largest).max(e[0] / f64::from(1 << 30)).max(f64::MIN_POSITIVE * 1e16);
    let wanted = (spacing / 512.0).max(floor);
    2f64.powi(wanted.log2().floor() as i32).max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lattice(points: &[[f64; 3]]) -> (Frame, Vec<[i32; 3]>) {
        let watch = &Watch::default();
        let frame = choose(points.len(), |i| points[i], Precision::F64, None, watch).unwrap();
        let out = quantize(points.len(), |i| points[i], &frame, watch).unwrap();
        (frame, out)
    }

    #[test]
    fn decimal_values_get_their_decimal_quantum() {
        let raw = [[12_345_678, 680_000_001, 12_345], [12_345_699, 680_000_100, -5]];
        let points = raw.map(|r: [i32; 3]| r.map(|v| f64::from(v) * 0.01));
        let (frame, lattice) = lattice(&points);
        assert_eq!(frame.quantum(), 0.01);
        assert_eq!(lattice, [[0, 0, 12_350], [21, 99, 0]]);
        let millimetres = [[0.001, 5.0, 2.0], [0.25, 5.5, 2.125]];
        assert_eq!(self::lattice(&millimetres).0.quantum(), 0.001);
    }

    #[test]
    fn values_without_a_decimal_quantum_get_a_power_of_two() {
        let points: Vec<_> =
            (0..1000).map(|i| [f64::from(i).sqrt(), f64::from(i).sin(), 0.1 / 3.0]).collect();
        let (frame, lattice) = lattice(&points);
        assert_eq!(frame.quantum().log2().fract(), 0.0);
        for (p, l) in points.iter().zip(&lattice) {
            let back = frame.to_world(*l);
            assert!((0..3).all(|a| (back[a] - p[a]).abs() <= frame.quantum()));
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_counted() {
        let points = [[0.0; 3], [0.0, f64::NAN, 0.0], [f64::INFINITY, 0.0, 0.0]];
        let error = choose(3, |i| points[i], Precision::F64, None, &Watch::default()).unwrap_err();
        assert!(matches!(error, Error::NonFinite { index: 1, axis: 'y', count: 2 }));
    }

    #[test]
    fn an_extent_beyond_the_lattice_is_an_error() {
        let points = [[0.0; 3], [1e9, 0.0, 0.0]];
        let error = choose(2, |i| points[i], Precision::F64, Some(1e-3), &Watch::default()).unwrap_err();
        assert!(matches!(error, Error::ExtentTooLarge { axis: 'x', .. }));
    }
}
