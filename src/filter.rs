//! Points that are left out of neighbourhoods: the others are computed as a cloud of their own, and what comes back
//! takes its place among all points.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::backend::PointAttributes;
use crate::cloud::Lattice;
use crate::columns::RawColumns;
use crate::error::Result;
use crate::features::Flags;
use crate::neighborhood::Neighbors;
use crate::watch::Watch;

/// The points that stay: their indices in the cloud, ascending, so that ties break as they would in the cloud.
#[derive(Debug)]
pub(crate) struct Kept {
    indices: Vec<u32>,
    all: usize,
}

/// Channels of the points that stay.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    rgb: Option<[Vec<u16>; 3]>,
    nir: Option<Vec<u16>>,
    intensity: Option<Vec<u16>>,
}

impl Kept {
    /// `None` if no point is left out.
    pub(crate) fn of(ignored: Option<&[bool]>) -> Option<Self> {
        let ignored = ignored?;
        let indices: Vec<u32> = (0u32..).zip(ignored).filter(|(_, out)| !**out).map(|(i, _)| i).collect();
        (indices.len() < ignored.len()).then_some(Self { indices, all: ignored.len() })
    }

    /// How many points are left out.
    pub(crate) fn left_out(&self) -> usize {
        self.all - self.indices.len()
    }

    pub(crate) fn gather<T: Copy + Send + Sync>(&self, values: &[T]) -> Vec<T> {
        self.indices.par_iter().with_min_len(1 << 14).map(|&i| values[i as usize]).collect()
    }

    /// The points that stay of those of a lattice: all of them without a filter.
    pub(crate) fn those<'a>(kept: &Option<Self>, all: Lattice<'a>) -> Result<Lattice<'a>> {
        match kept {
            Some(kept) => kept.lattice(&all),
            None => Ok(all),
        }
    }

    /// The points that stay, on the cloud's own lattice.
    fn lattice(&self, all: &Lattice<'_>) -> Result<Lattice<'static>> {
        Lattice::new(Cow::Owned(self.gather(&all.points)), all.frame)
    }

    pub(crate) fn channels(&self, all: &PointAttributes<'_>) -> Channels {
        Channels {
            rgb: all.rgb.map(|channels| channels.map(|c| self.gather(c))),
            nir: all.nir.map(|nir| self.gather(nir)),
            intensity: all.intensity.map(|intensity| self.gather(intensity)),
        }
    }

    fn scatter<T: Copy>(&self, values: &[T], left_out: T) -> Vec<T> {
        let mut out = vec![left_out; self.all];
        self.indices.iter().zip(values).for_each(|(&i, &value)| out[i as usize] = value);
        out
    }
}

impl Channels {
    /// Puts these in the place of the whole cloud's.
    pub(crate) fn replace<'a>(&'a self, all: &PointAttributes<'a>) -> PointAttributes<'a> {
        PointAttributes {
            rgb: self.rgb.as_ref().map(|channels| channels.each_ref().map(Vec::as_slice)),
            nir: self.nir.as_deref(),
            intensity: self.intensity.as_deref(),
            ..*all
        }
    }
}

/// Results of the points that stay, which become results of all points.
pub(crate) trait Spread: Sized {
    /// Gives every row its place among all rows; those left out are empty or undefined.
    ///
    /// Columns are left out once the call is cancelled, which is to be checked afterwards.
    fn spread(self, kept: &Kept, watch: &Watch) -> Self;

    /// Turns indices of points that stay into indices of the cloud.
    fn rename(self, _kept: &Kept) -> Self {
        self
    }
}

impl Spread for RawColumns {
    fn spread(self, kept: &Kept, watch: &Watch) -> Self {
        let scatter = |column: Vec<f32>| match watch.is_cancelled() {
            true => Vec::new(),
            false => kept.scatter(&column, f32::NAN),
        };
        let values = self.values.into_par_iter().map(scatter).collect();
        Self { values, flags: kept.scatter(&self.flags, Flags::LEFT_OUT.0) }
    }
}

impl<T: Spread> Spread for Vec<T> {
    fn spread(self, kept: &Kept, watch: &Watch) -> Self {
        self.into_iter().map(|one| one.spread(kept, watch)).collect()
    }
}

impl Spread for Neighbors {
    fn rename(mut self, kept: &Kept) -> Self {
        self.indices.par_iter_mut().with_min_len(1 << 14).for_each(|i| *i = kept.indices[*i as usize]);
        self
    }

    fn spread(self, kept: &Kept, _watch: &Watch) -> Self {
        let Self { offsets, indices, dist_sq } = self;
        let lengths: Vec<usize> = offsets.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mut end = 0;
        let ends = kept.scatter(&lengths, 0).into_iter().map(|length| {
            end += length;
            end
        });
        Self { offsets: std::iter::once(0).chain(ends).collect(), indices, dist_sq }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_take_their_place() {
        assert!(Kept::of(None).is_none() && Kept::of(Some(&[false; 3])).is_none());
        let kept = Kept::of(Some(&[true, false, false, true, false, true])).unwrap();
        assert_eq!((kept.left_out(), &kept.indices[..]), (3, &[1, 2, 4][..]));
        assert_eq!(kept.gather(&[10, 11, 12, 13, 14, 15]), [11, 12, 14]);
        let watch = &Watch::default();
        let rows = Neighbors {
            offsets: vec![0, 1, 3, 6],
            indices: vec![0, 1, 2, 2, 0, 1],
            dist_sq: vec![0, 0, 4, 0, 1, 4],
        };
        let all = rows.rename(&kept).spread(&kept, watch);
        assert_eq!(all.offsets, [0, 0, 1, 3, 3, 6, 6]);
        assert_eq!(all.indices, [1, 2, 4, 4, 1, 2]);
        assert_eq!(all.row(5), (&[][..], &[][..]));
        let raw = RawColumns { values: vec![vec![1.0, 2.0, 3.0]], flags: vec![0, 4, 0] }.spread(&kept, watch);
        assert!(raw.values[0][0].is_nan() && raw.values[0][1..3] == [1.0, 2.0]);
        assert_eq!(raw.flags, [Flags::LEFT_OUT.0, 0, 4, Flags::LEFT_OUT.0, 0, Flags::LEFT_OUT.0]);
    }
}
