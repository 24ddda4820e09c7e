//! Exact nearest neighbours on the CPU: a cloud's points in blocks, with what finds those near a place.

use rayon::prelude::*;

use super::boxes::Boxes;
use super::order::Order;
use super::reference::Reference;
use super::search::Search;
use crate::cloud::Lattice;
use crate::error::Result;
use crate::moments::{Also, Moments};
use crate::neighborhood::Rule;
use crate::scales::Scales;
use crate::watch::Watch;

/// Members as (squared distance, index), in that order.
pub(crate) type List = Vec<(u64, u32)>;

/// Places searched by one task at a time: enough to hide its start, few enough to balance.
const CENTERS_PER_TASK: usize = 256;

/// How the CPU finds neighbours. The neighbours are the same to the bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CpuSearch {
    /// Points in blocks along a space-filling curve. The queries of a block are searched among candidates that are
    /// gathered once for all of them.
    #[default]
    Blocks,
    /// The k-d tree of the crate kiddo, asked for each query: an independent check, several times as slow.
    Reference,
}

/// A cloud's points, ready to be searched. Answers for any place, from any thread.
#[derive(Debug)]
pub(crate) struct CpuIndex<'a> {
    pub(super) lattice: &'a Lattice<'a>,
    pub(super) order: Order,
    pub(super) finder: Finder,
}

/// What finds points near a place.
#[derive(Debug)]
pub(super) enum Finder {
    Blocks(Boxes),
    Reference(Reference),
}

impl<'a> CpuIndex<'a> {
    /// Indexes a cloud of at least one point.
    pub(crate) fn new(lattice: &'a Lattice<'a>, watch: &Watch) -> Result<Self> {
        Self::with(lattice, CpuSearch::default(), watch)
    }

    /// The same for a way to search.
    pub(crate) fn with(lattice: &'a Lattice<'a>, search: CpuSearch, watch: &Watch) -> Result<Self> {
        let order = Order::new(lattice, watch)?;
        let finder = match search {
            CpuSearch::Blocks => Finder::Blocks(Boxes::new(&order)),
            CpuSearch::Reference => Finder::Reference(Reference::new(&order)?),
        };
        Ok(Self { lattice, order, finder })
    }

    /// Members of the neighbourhood of each given centre as (squared distance, index) in that order, in parallel. Of those
    /// with more than `most` members no list is made (`None`). Once the call is cancelled they are empty.
    pub(crate) fn lists_of(
        &self,
        centers: &[Center],
        rule: Rule,
        most: usize,
        watch: &Watch,
    ) -> Vec<Option<List>> {
        let list = |search: &mut Search<'_>, &center: &Center| {
            if watch.is_cancelled() {
                return Some(Vec::new());
            }
            let search = search.alone(center);
            // Who has too many is not sorted.
            let fits = most == usize::MAX || search.in_any_order(center, rule).len() <= most;
            fits.then(|| search.neighbors(center, rule).to_vec())
        };
        centers.par_iter().map_init(|| Search::new(self), list).collect()
    }

    /// Moments of the given centres' neighbourhoods, each searched once, in parallel; one for each scale in a row. Once the
    /// call is cancelled they are those of nothing.
    pub(crate) fn moments_of(&self, centers: &[Center], scales: &Scales, watch: &Watch) -> Batch<Moments> {
        self.batch(centers, scales.len(), |search, center, row| {
            if !watch.is_cancelled() {
                search.alone(center).moments(center, scales, Also::ALL, row);
            }
        })
    }

    /// What to search around for a place: that of a point of the cloud, or of a foreign query.
    pub(crate) fn center(&self, place: [i32; 3], foreign: bool) -> Center {
        if foreign {
            return Center::Foreign(place);
        }
        let site = self.order.site_at(place);
        Center::Site(site.start as u32, site.len() as u32)
    }

    fn batch<T, F>(&self, asked: &[Center], row_len: usize, answer: F) -> Batch<T>
    where
        T: Clone + Default + Send,
        F: Fn(&mut Search<'_>, Center, &mut [T]) + Sync,
    {
        let mut centers = asked.to_vec();
        centers.par_sort_unstable();
        centers.dedup();
        let mut rows = vec![T::default(); centers.len() * row_len];
        rows.par_chunks_mut(row_len)
            .zip(&centers)
            .with_min_len(CENTERS_PER_TASK)
            .for_each_init(|| Search::new(self), |search, (row, &center)| answer(search, center, row));
        let row_of = asked.par_iter().with_min_len(1 << 10);
        let row_of = row_of.map(|center| centers.partition_point(|c| c < center) as u32).collect();
        Batch { rows, row_len, row_of }
    }

    /// A centre's place, and the points there that a search meets first.
    pub(super) fn resolve(&self, center: Center) -> ([i32; 3], &[u32]) {
        match center {
            Center::Site(start, len) => {
                let start = start as usize;
                (self.order.place(start), &self.order.points()[start..start + len as usize])
            }
            Center::Foreign(place) => (place, &[]),
        }
    }
}

/// What is searched around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Center {
    /// A place of the cloud: where in the order its points begin, and how many there are.
    Site(u32, u32),
    /// Any place: the query there is no point of the cloud.
    Foreign([i32; 3]),
}

impl Center {
    /// Whether the query there is no point of the cloud.
    pub(crate) fn is_foreign(self) -> bool {
        matches!(self, Self::Foreign(_))
    }
}

/// Answers for a list of points, without repeats for points of one place.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    /// The distinct answers, `row_len` entries each.
    pub(crate) rows: Vec<T>,
    pub(crate) row_len: usize,
    /// Which row answers each point of the list.
    pub(crate) row_of: Vec<u32>,
}

impl<T> Batch<T> {
    /// The answer for the point at position `at` of the list.
    pub(crate) fn row(&self, at: usize) -> &[T] {
        &self.rows[self.row_of[at] as usize * self.row_len..][..self.row_len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::dist_sq;
    use crate::frame::Frame;
    use crate::scales::Ends;

    fn check(points: &[[i32; 3]], k: usize) {
        let frame = Frame::new([0.0; 3], 1.0).unwrap();
        let lattice = Lattice::new(points.into(), frame).unwrap();
        let index = CpuIndex::new(&lattice, &Watch::default()).unwrap();
        // Each point twice: repeats must not disturb the rows.
        let asked: Vec<u32> = (0..points.len() as u32).chain((0..points.len() as u32).rev()).collect();
        let centers: Vec<_> = asked.iter().map(|&i| index.center(points[i as usize], false)).collect();
        let rule = Rule { k: k.min(points.len()), cuts: true, limit: None, radius: None };
        let lists = index.lists_of(&centers, rule, usize::MAX, &Watch::default());
        let scales = Scales { rule, ends: Ends::Counts(vec![rule.k as u32], None) };
        let moments = index.moments_of(&centers, &scales, &Watch::default());
        let distinct: std::collections::HashSet<_> = points.iter().collect();
        assert_eq!(moments.rows.len(), distinct.len());
        for (at, &i) in asked.iter().enumerate() {
            let query = points[i as usize];
            let mut expected: Vec<_> =
                (0..points.len() as u32).map(|j| (dist_sq(query, points[j as usize]), j)).collect();
            expected.sort_unstable();
            expected.truncate(k);
            assert_eq!(lists[at].as_ref(), Some(&expected), "point {i} of {}, k = {k}", points.len());
            let offset = |j: u32| -> [i64; 3] {
                std::array::from_fn(|a| i64::from(points[j as usize][a]) - i64::from(query[a]))
            };
            let offsets: Vec<_> = expected.iter().map(|&(_, j)| offset(j)).collect();
            assert_eq!(moments.row(at), [Moments::new(&offsets, false)]);
        }
    }

    #[test]
    fn ties_and_duplicates_are_cut_by_index() {
        let grid: Vec<_> = (0..343).map(|i| [i * 5 % 7, i * 5 / 7 % 7, i / 49]).collect();
        let crowded: Vec<_> =
            (0..300).map(|i| if i % 3 == 0 { [9; 3] } else { [i % 20, i % 7, 0] }).collect();
        for k in [1, 2, 6, 7, 8, 27, 100, 342, 343, 1000] {
            check(&grid, k);
            check(&crowded, k);
        }
        check(&[[4; 3]], 1);
        check(&[[4; 3]; 70], 5);
    }

    #[test]
    fn distances_beyond_f64_are_ordered_exactly() {
        // Squared distances near 2^62 that differ by less than an f64 can tell.
        let far = i32::MAX - 400;
        let points: Vec<_> = (0..300)
            .map(|i| [if i % 2 == 0 { 0 } else { far + i * 7 % 5 }, i * 13 % 11, i * 29 % 17])
            .collect();
        for k in [1, 120, 150, 151, 155, 200, 290] {
            check(&points, k);
        }
    }
}
