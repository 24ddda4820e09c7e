//! The rule that says who a point's neighbours are, and the lists it gives.

use std::num::NonZeroU32;

use crate::error::{Error, Result};
use crate::frame::Frame;

/// Which points belong to a point's neighbourhood.
///
/// Neighbours are ordered by (squared distance, index in the cloud). The query is a point of the cloud and
/// counts; where more than `k` points share its place, the `k` of lowest index are taken.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Neighborhood {
    /// The `k` nearest points, the query among them. A cloud of fewer points gives them all.
    Knn {
        /// How many.
        k: NonZeroU32,
    },
    /// All points within a distance, the query among them. Exact, whatever their number.
    Radius {
        /// The distance, in the cloud's unit, inclusive.
        radius: f64,
    },
    /// The `k` nearest of the points within a distance, the query among them.
    KnnWithin {
        /// How many at most.
        k: NonZeroU32,
        /// The distance, in the cloud's unit, inclusive.
        radius: f64,
    },
    /// Of the `k` nearest points, for `k` from `least` by `step` to `most`, those whose eigenentropy is least; of equals
    /// the fewest. A neighbourhood at one place, or of fewer than three points, counts as entirely disordered (ln 3).
    Optimal {
        /// Fewest neighbours tried.
        least: NonZeroU32,
        /// Most neighbours tried.
        most: NonZeroU32,
        /// Distance from one number tried to the next.
        step: NonZeroU32,
    },
}

/// A neighbourhood in quanta, for one cloud.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rule {
    /// Members at most.
    pub(crate) k: usize,
    /// Whether `k` cuts: if not, all points within `limit` are members.
    pub(crate) cuts: bool,
    /// Largest squared distance of a member, in quanta².
    pub(crate) limit: Option<u64>,
    /// The radius that densities are about, if it is given and not that of the farthest member.
    pub(crate) radius: Option<f64>,
}

impl Neighborhood {
    /// The `k` nearest points, the query counted.
    ///
    /// # Errors
    /// [`Error::ZeroNeighbors`] if `k` is 0.
    pub fn knn(k: u32) -> Result<Self> {
        Ok(Self::Knn { k: NonZeroU32::new(k).ok_or(Error::ZeroNeighbors)? })
    }

    /// All points within `radius`, the query counted.
    ///
    /// # Errors
    /// [`Error::InvalidRadius`] unless `radius` is positive and finite.
    pub fn radius(radius: f64) -> Result<Self> {
        Ok(Self::Radius { radius: checked_radius(radius)? })
    }

    /// The `k` nearest points within `radius`, the query counted.
    ///
    /// # Errors
    /// [`Error::ZeroNeighbors`] if `k` is 0, [`Error::InvalidRadius`] unless `radius` is positive and finite.
    pub fn knn_within(k: u32, radius: f64) -> Result<Self> {
        let k = NonZeroU32::new(k).ok_or(Error::ZeroNeighbors)?;
        Ok(Self::KnnWithin { k, radius: checked_radius(radius)? })
    }

    /// The `k` of a range for which the neighbourhood's eigenentropy is least (Weinmann 2015, there of 10 to 100 points).
    ///
    /// # Errors
    /// [`Error::InvalidRange`] unless 0 < `least` <= `most` and `step` > 0.
    pub fn optimal(least: u32, most: u32, step: u32) -> Result<Self> {
        let invalid = Error::InvalidRange { least, most, step };
        match [least, most, step].map(NonZeroU32::new) {
            [Some(low), Some(high), Some(by)] if low <= high => {
                Ok(Self::Optimal { least: low, most: high, step: by })
            }
            _ => Err(invalid),
        }
    }

    /// What columns of several neighbourhoods are told apart by: `k20`, `r1.5`, `k20_r1.5`, `k10to100`.
    pub fn suffix(&self) -> String {
        match self {
            Self::Knn { k } => format!("k{k}"),
            Self::Radius { radius } => format!("r{radius}"),
            Self::KnnWithin { k, radius } => format!("k{k}_r{radius}"),
            Self::Optimal { least, most, step } if step.get() == 1 => format!("k{least}to{most}"),
            Self::Optimal { least, most, step } => format!("k{least}to{most}by{step}"),
        }
    }

    /// The rule in quanta of a cloud of `n` points: of all neighbours that have to be known.
    pub(crate) fn rule(self, n: usize, frame: &Frame) -> Rule {
        let nearest = |k: NonZeroU32| (k.get() as usize).min(n);
        let limit = |radius: f64| Some(limit_sq(radius / frame.quantum()));
        match self {
            Self::Knn { k } => Rule { k: nearest(k), cuts: true, limit: None, radius: None },
            Self::KnnWithin { k, radius } => {
                Rule { k: nearest(k), cuts: true, limit: limit(radius), radius: None }
            }
            Self::Radius { radius } => Rule { k: n, cuts: false, limit: limit(radius), radius: Some(radius) },
            Self::Optimal { most, .. } => Rule { k: nearest(most), cuts: true, limit: None, radius: None },
        }
    }
}

fn checked_radius(radius: f64) -> Result<f64> {
    if radius.is_finite() && radius > 0.0 { Ok(radius) } else { Err(Error::InvalidRadius(radius)) }
}

/// Largest integer squared distance within a radius given in quanta. A radius within 1e-9 of a whole number is that number:
/// 0.3 / 0.01 is not 30 in f64.
fn limit_sq(quanta: f64) -> u64 {
    let whole = quanta.round();
    let quanta = if (quanta - whole).abs() <= 1e-9 * whole.max(1.0) { whole } else { quanta };
    // Of other radii beyond 2^26 quanta the square is rounded; casts saturate.
    if quanta == whole && whole <= f64::from(u32::MAX) {
        (whole as u64).pow(2)
    } else {
        (quanta * quanta).floor() as u64
    }
}

/// Neighbour lists of every point, in compressed rows.
///
/// Row `i` is `offsets[i]..offsets[i + 1]` of `indices` and `dist_sq`, ordered by (squared distance, index).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Neighbors {
    /// Where each point's row begins; one more entry than points.
    pub offsets: Vec<usize>,
    /// Indices of neighbours in the cloud.
    pub indices: Vec<u32>,
    /// Squared distances in quanta² of the report's quantum: exact integers.
    pub dist_sq: Vec<u64>,
}

impl Neighbors {
    /// Rows of `k` for `n` points, to be [put](Self::put) in.
    pub(crate) fn unfilled(n: usize, k: usize) -> Self {
        Self { offsets: (0..=n).map(|i| i * k).collect(), indices: vec![0; n * k], dist_sq: vec![0; n * k] }
    }

    /// Puts a point's row, of (squared distance, index), where all rows have `k` entries.
    pub(crate) fn put(&mut self, point: u32, k: usize, row: &[(u64, u32)]) {
        let first = point as usize * k;
        for (j, &(dist_sq, neighbor)) in row.iter().enumerate() {
            self.indices[first + j] = neighbor;
            self.dist_sq[first + j] = dist_sq;
        }
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Indices and squared distances (quanta²) of point `i`'s neighbours, nearest first.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    pub fn row(&self, i: usize) -> (&[u32], &[u64]) {
        let range = self.offsets[i]..self.offsets[i + 1];
        (&self.indices[range.clone()], &self.dist_sq[range])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radii_that_are_whole_but_for_rounding_are_whole() {
        assert_eq!(limit_sq(0.3 / 0.01), 900);
        assert_eq!(limit_sq(2.5), 6);
        assert_eq!(limit_sq(f64::from(u32::MAX)), u64::from(u32::MAX).pow(2));
        assert_eq!(limit_sq(1e300), u64::MAX);
        assert!(Neighborhood::radius(0.0).is_err() && Neighborhood::radius(f64::NAN).is_err());
    }
}
