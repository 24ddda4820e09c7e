//! What parts of a cloud take from the whole.

use rayon::prelude::*;

use crate::batch::PointBatch;
use crate::color::Values;
use crate::options::Ground;

/// What a first pass over a cloud finds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Whole {
    pub(crate) points: u64,
    /// Bounds of the points that are not ignored, if there are any.
    pub(crate) bounds: Option<([i32; 3], [i32; 3])>,
    /// What the values of a channel have in common, ignored points' too, where the cloud has it.
    pub(crate) rgb: Option<Values>,
    pub(crate) nir: Option<Values>,
    pub(crate) intensity: Option<Values>,
    /// Whether a point that is not ignored is ground.
    pub(crate) has_ground: bool,
}

impl Whole {
    /// What these points say, if `ground` says what is ground.
    pub(crate) fn of(batch: &PointBatch, ground: &Ground) -> Self {
        let kept = |i: usize| !batch.is_ignored(i);
        let bounds = (0..batch.len())
            .into_par_iter()
            .with_min_len(1 << 14)
            .filter(|&i| kept(i))
            .map(|i| (batch.points[i], batch.points[i]))
            .reduce_with(widest);
        let is_ground = |i: usize| match (&batch.ground, &batch.classification) {
            (Some(mask), _) => mask[i],
            (None, Some(classes)) => ground.classes.contains(classes[i]),
            (None, None) => false,
        };
        Self {
            points: batch.len() as u64,
            bounds,
            rgb: batch.rgb.as_ref().map(|rgb| Values::of(rgb.iter().map(Vec::as_slice))),
            nir: batch.nir.as_ref().map(|nir| Values::of([&nir[..]])),
            intensity: batch.intensity.as_ref().map(|channel| Values::of([&channel[..]])),
            has_ground: (0..batch.len()).any(|i| kept(i) && is_ground(i)),
        }
    }

    /// What this and more points say.
    pub(crate) fn and(self, more: Self) -> Self {
        let values = |a: Option<Values>, b: Option<Values>| match (a, b) {
            (Some(a), Some(b)) => Some(a.and(b)),
            (a, b) => a.or(b),
        };
        let bounds = match (self.bounds, more.bounds) {
            (Some(a), Some(b)) => Some(widest(a, b)),
            (a, b) => a.or(b),
        };
        Self {
            points: self.points + more.points,
            bounds,
            rgb: values(self.rgb, more.rgb),
            nir: values(self.nir, more.nir),
            intensity: values(self.intensity, more.intensity),
            has_ground: self.has_ground || more.has_ground,
        }
    }

    /// Least and greatest z.
    pub(crate) fn heights(&self) -> [i32; 2] {
        self.bounds.map_or([0; 2], |(low, high)| [low[2], high[2]])
    }
}

type Bounds = ([i32; 3], [i32; 3]);

fn widest(a: Bounds, b: Bounds) -> Bounds {
    (std::array::from_fn(|i| a.0[i].min(b.0[i])), std::array::from_fn(|i| a.1[i].max(b.1[i])))
}
