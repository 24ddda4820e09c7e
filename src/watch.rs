//! Progress of a call, and its end before time.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::error::{Error, Result};

/// Ends calls from another thread. Clones are one token.
///
/// A call that is cancelled returns [`Error::Cancelled`] within a fraction of a second and leaves its engine usable, also while it
/// puts coordinates on their lattice, plans chunks, or writes columns.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that has not been cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends every call under this token, now and later.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// How far a call is in one pass over its points. A request takes as many passes as it has searches: most take one, heights,
/// counts and features of the neighbours' own neighbourhoods take more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Points that this pass is through with.
    pub done: usize,
    /// Points of this pass.
    pub points: usize,
}

/// Points that are passed over between two looks at the token: a fraction of a millisecond, and enough for a task.
const BLOCK: usize = 1 << 14;

/// Told how far a call is.
pub(crate) type Listener = Arc<dyn Fn(Progress) + Send + Sync>;

/// Who watches a call.
#[derive(Clone, Default)]
pub(crate) struct Watch {
    pub(crate) token: Option<CancelToken>,
    pub(crate) listener: Option<Listener>,
    /// How often a test has the call look before it is cancelled.
    #[cfg(test)]
    pub(crate) looks: Option<Arc<AtomicUsize>>,
}

impl Watch {
    /// An error once the call is cancelled.
    pub(crate) fn check(&self) -> Result<()> {
        match self.is_cancelled() {
            true => Err(Error::Cancelled),
            false => Ok(()),
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        #[cfg(test)]
        if let Some(left) = &self.looks
            && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_err()
        {
            return true;
        }
        self.token.as_ref().is_some_and(CancelToken::is_cancelled)
    }

    /// The numbers below `n` in blocks, for all cores. Those that come after the call was cancelled are empty: what was made
    /// of them is to be [checked](Self::check) before it is used.
    pub(crate) fn blocks(&self, n: usize) -> impl IndexedParallelIterator<Item = Range<usize>> + '_ {
        (0..n.div_ceil(BLOCK)).into_par_iter().map(move |block| match self.is_cancelled() {
            true => 0..0,
            false => block * BLOCK..((block + 1) * BLOCK).min(n),
        })
    }

    /// `n` values, of blocks that know where they begin. Fresh memory is zero and costs when it is first touched, so that
    /// filling it costs no more than collecting would.
    pub(crate) fn fill<T: Copy + Send>(
        &self,
        n: usize,
        zero: T,
        fill: impl Fn(usize, &mut [T]) + Sync,
    ) -> Result<Vec<T>> {
        let mut out = vec![zero; n];
        out.par_chunks_mut(BLOCK).enumerate().for_each(|(block, values)| {
            if !self.is_cancelled() {
                fill(block * BLOCK, values);
            }
        });
        self.check().map(|()| out)
    }

    pub(crate) fn may_cancel(&self) -> bool {
        self.token.is_some()
    }

    /// Begins a pass over so many points.
    pub(crate) fn pass(&self, points: usize) -> Pass<'_> {
        Pass { watch: self, done: AtomicUsize::new(0), points }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("token", &self.token).finish_non_exhaustive()
    }
}

/// One pass over a call's points, by any number of threads.
#[derive(Debug)]
pub(crate) struct Pass<'w> {
    watch: &'w Watch,
    done: AtomicUsize,
    points: usize,
}

impl Pass<'_> {
    pub(crate) fn add(&self, points: usize) {
        let done = self.done.fetch_add(points, Ordering::Relaxed) + points;
        if let Some(listener) = &self.watch.listener {
            listener(Progress { done, points: self.points });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Cells, Job, PointAttributes};
    use crate::columns::{Columns, RawColumns};
    use crate::features::FeatureSet;
    use crate::frame::Frame;
    use crate::neighborhood::Neighborhood;
    use crate::options::Options;
    use crate::plan::Plan;
    use crate::together::together;
    use crate::{PointCloud, cloud::Lattice};

    const POINTS: usize = 200_000;

    /// Cancels work at its first looks and at many later ones: how often it looked when it was not.
    fn looks<T>(work: impl Fn(&Watch) -> Result<T>) -> usize {
        let after = |looks| {
            let left = Arc::new(AtomicUsize::new(looks));
            let watch = Watch { looks: Some(left.clone()), ..Watch::default() };
            (work(&watch), looks - left.load(Ordering::Relaxed))
        };
        let (done, all) = after(usize::MAX);
        assert!(done.is_ok());
        for looks in (0..4).chain((0..30).map(|i| i * all / 30)).chain([all - 1]).filter(|n| *n < all) {
            assert!(matches!(after(looks).0, Err(Error::Cancelled)), "at look {looks} of {all}");
        }
        all
    }

    fn points() -> Vec<[i32; 3]> {
        // A grid in x and y.
        (0..POINTS as i32).map(|i| [i % 500 * 10, i / 500 * 10, i % 7]).collect()
    }

    #[test]
    fn putting_a_cloud_on_its_lattice_looks_at_the_token() {
        let frame = Frame::new([0.0; 3], 0.01).unwrap();
        let world: Vec<[f64; 3]> = points().iter().map(|p| frame.to_world(*p)).collect();
        let cloud = PointCloud::from_f64(&world);
        // Bounds, decimals, coordinates.
        assert!(looks(|watch| cloud.lattice(watch)) >= 3 * POINTS / BLOCK);
        let lattice = points();
        let places = PointCloud::from_lattice(&lattice, frame);
        // Decimals and coordinates of one of the two.
        assert!(looks(|watch| together(&cloud, &places, watch)) >= 2 * POINTS / BLOCK);
        assert!(looks(|watch| together(&cloud, &cloud, watch)) >= 6 * POINTS / BLOCK);
    }

    #[test]
    fn planning_looks_at_the_token() {
        let frame = Frame::new([0.0; 3], 0.01).unwrap();
        let lattice = Lattice::new(points().into(), frame).unwrap();
        let neighborhood = Neighborhood::knn(8).unwrap();
        let rule = neighborhood.rule(POINTS, &frame);
        let of = |queries, watch: &Watch| {
            let attributes = PointAttributes::default();
            let job =
                Job { lattice: &lattice, queries, attributes, ground: None, part: None, neighborhood, watch };
            Plan::of(&job, rule, POINTS / 8, None)
        };
        // The points are counted, then put in order.
        let plan = looks(|watch| of(None, watch));
        assert!(plan >= 2 * POINTS / BLOCK + of(None, &Watch::default()).unwrap().chunks().len());
        assert!(looks(|watch| of(Some(&lattice), watch)) >= 4 * POINTS / BLOCK);
    }

    #[test]
    fn columns_look_at_the_token() {
        assert!(looks(|watch| Cells::new(9, 10, watch)) >= 9);
        let (set, conventions) = (FeatureSet::geometric(), Options::default().conventions);
        let raw = || RawColumns { values: vec![vec![0.0; 3]; set.len()], flags: vec![0; 3] };
        assert!(looks(|watch| Columns::from_raw(&set, raw(), &conventions, watch)) >= set.len());
    }
}
