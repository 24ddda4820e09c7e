//! Parts of a cloud: columns of some of its points from those points and a margin, exactly those of the whole.
//!
//! A part is core points, whose columns are wanted, and halo points around them: all points of a closed box in XY, of any
//! height. Parts of one cloud are on its lattice and hold points in its order, so that ties break alike. What is of the whole
//! cloud (bounds, colour depths, whether a channel is dark) is found before and handed to each part ([`Whole`]).
//!
//! The ordinary engine computes all loaded points; then each core row is proved: whatever its values depend on lies no
//! farther than the nearest face of the box ([`needs`], [`proof`]). Rows that are not proved are computed again, in groups,
//! each in a box that is large enough for what their neighbours' distances in the first box show, or twice as large. Faces beyond the
//! cloud's bounds are at infinity, so the end is the whole cloud.

mod compute;
mod groups;
mod needs;
mod proof;
mod whole;

pub(crate) use compute::{Loader, Most, Part, PartJob};
pub(crate) use needs::Needs;
pub(crate) use whole::Whole;

use crate::batch::PointBatch;

/// A closed box in XY, in quanta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct XyBox {
    pub(crate) low: [i64; 2],
    pub(crate) high: [i64; 2],
}

/// Wider than any lattice: coordinates beyond stand for infinity.
const FAR: i64 = 1 << 34;

impl XyBox {
    /// Holds nothing.
    pub(crate) const NONE: Self = Self { low: [FAR; 2], high: [-FAR; 2] };

    pub(crate) fn of_point(point: [i32; 3]) -> Self {
        let place = [point[0].into(), point[1].into()];
        Self { low: place, high: place }
    }

    pub(crate) fn of_points<'a>(points: impl IntoIterator<Item = &'a [i32; 3]>) -> Self {
        points.into_iter().fold(Self::NONE, |all, point| all.and(Self::of_point(*point)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        (0..2).any(|a| self.low[a] > self.high[a])
    }

    /// The box that holds both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            low: std::array::from_fn(|a| self.low[a].min(other.low[a])),
            high: std::array::from_fn(|a| self.high[a].max(other.high[a])),
        }
    }

    /// The box with a margin on each side.
    pub(crate) fn grown(self, margin: u64) -> Self {
        let margin = i64::try_from(margin).unwrap_or(FAR).min(FAR);
        Self { low: self.low.map(|v| (v - margin).max(-FAR)), high: self.high.map(|v| (v + margin).min(FAR)) }
    }

    pub(crate) fn holds(&self, point: [i32; 3]) -> bool {
        (0..2).all(|a| (self.low[a]..=self.high[a]).contains(&i64::from(point[a])))
    }

    #[cfg_attr(not(feature = "las"), allow(dead_code))] // Tiles are files.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        (0..2).all(|a| self.low[a] <= other.low[a] && self.high[a] >= other.high[a])
    }

    pub(crate) fn touches(&self, other: &Self) -> bool {
        (0..2).all(|a| self.low[a] <= other.high[a] && self.high[a] >= other.low[a])
    }

    /// How far apart a point of this box and one of another may be, rounded up.
    pub(crate) fn farthest(&self, other: &Self) -> u64 {
        let apart = |a: usize| (self.high[a] - other.low[a]).max(other.high[a] - self.low[a]).unsigned_abs();
        let square = u128::from(apart(0)).pow(2) + u128::from(apart(1)).pow(2);
        square.isqrt() as u64 + 1
    }

    pub(crate) fn edge(&self, axis: usize) -> f64 {
        (self.high[axis] - self.low[axis] + 1) as f64
    }

    pub(crate) fn area(&self) -> f64 {
        self.edge(0) * self.edge(1)
    }

    /// Distance from a point inside to the nearest face; faces at or beyond those of `whole` are at infinity. All points of
    /// the cloud up to this distance are in the box.
    pub(crate) fn room(&self, point: [i32; 3], whole: &Self) -> u64 {
        let mut room = u64::MAX;
        for (a, v) in [i64::from(point[0]), i64::from(point[1])].into_iter().enumerate() {
            if self.low[a] > whole.low[a] {
                room = room.min(v.saturating_sub(self.low[a]).max(0) as u64);
            }
            if self.high[a] < whole.high[a] {
                room = room.min(self.high[a].saturating_sub(v).max(0) as u64);
            }
        }
        room
    }
}

/// What a part needs of the cloud that it is of, beside its own points.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartOf<'a> {
    pub(crate) whole: &'a Whole,
    /// Ground points, in the cloud's order: more than the part's own.
    pub(crate) ground: &'a [[i32; 3]],
}

/// Points of a part, in the cloud's order.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// A number for each point that rises in the cloud's order.
    pub(crate) ids: Vec<u64>,
    /// Points in the near box. `ground` is a mask where the request is about it, and there are no classes.
    pub(crate) points: PointBatch,
    /// Ground points of the wider box, those in the near box included.
    pub(crate) ground: Vec<[i32; 3]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_to_the_nearest_face_that_the_cloud_reaches_beyond() {
        let whole = XyBox { low: [0, 0], high: [100, 100] };
        let part = XyBox { low: [-5, 20], high: [50, 60] };
        assert_eq!(part.room([0, 40, 7], &whole), 20);
        assert_eq!(part.room([45, 40, 7], &whole), 5);
        assert_eq!(part.room([50, 40, 7], &whole), 0);
        assert_eq!(whole.room([3, 4, 5], &whole), u64::MAX);
        assert!(part.grown(50).covers(&whole) && !part.covers(&whole) && part.touches(&whole));
        assert_eq!((part.farthest(&part), whole.farthest(&XyBox::of_point([200, 0, 0]))), (69, 224));
        assert!(XyBox::NONE.is_empty() && !XyBox::NONE.and(part).is_empty());
        assert_eq!(XyBox::NONE.grown(u64::MAX).grown(u64::MAX).room([0; 3], &whole), u64::MAX);
    }
}
