//! Exact nearest neighbours on the CPU: a k-d tree over a cloud's sites, cut by (squared distance, index).

use std::num::NonZeroUsize;

use kiddo::{ImmutableKdTree, SquaredEuclidean};
use rayon::prelude::*;

use super::sites::Sites;
use crate::cloud::{Lattice, dist_sq};
use crate::error::{Error, Result};
use crate::moments::Moments;
use crate::neighborhood::Rule;
use crate::scales::Scales;

/// Sites fetched beyond those that could be needed, so that a tie at the cut seldom takes a second search.
const SPARE: usize = 3;

/// The tree's squared distances are this many quanta² a quantum²: [`turned`] scales by 3.
const SCALE: f64 = 9.0;

/// Squared distances (quanta²) below this are exact in the tree's f64: 9 · 2^49 < 2^53.
const EXACT: u64 = 1 << 49;

/// How far the tree's squared distances beyond [`EXACT`] may be off, relatively. A subtree's distance is updated
/// at most 64 times on the way down, with three roundings of 2^-53 each: below 2^-45.
const SLACK: f64 = 1.0 / (1u64 << 40) as f64;

/// Sites searched by one task at a time: enough to hide its start, few enough to balance.
pub(super) const SITES_PER_TASK: usize = 256;

/// A cloud's sites in a tree. Answers for any point of the cloud, from any thread.
pub(crate) struct CpuIndex<'a> {
    lattice: &'a Lattice<'a>,
    sites: Sites,
    tree: ImmutableKdTree<f64, 3>,
}

impl<'a> CpuIndex<'a> {
    /// Indexes a cloud of at least one point.
    pub(crate) fn new(lattice: &'a Lattice<'a>) -> Result<Self> {
        let sites = Sites::new(lattice);
        let tree = ImmutableKdTree::new_from_source_parallel(
            sites.places(),
            |place, axis| turned(*place)[axis],
            |site, _| site as u32,
        )
        .map_err(|error| Error::CpuIndex(error.to_string()))?;
        Ok(Self { lattice, sites, tree })
    }

    pub(super) fn sites(&self) -> &Sites {
        &self.sites
    }

    /// Members of the neighbourhood of each given centre as (squared distance, index) in that order, in parallel.
    pub(crate) fn lists_of(&self, centers: &[Center], rule: Rule) -> Vec<Vec<(u64, u32)>> {
        let list = |search: &mut Search<'_>, &center: &Center| search.neighbors(center, rule).to_vec();
        centers.par_iter().map_init(|| Search::new(self), list).collect()
    }

    /// Moments of the given centres' neighbourhoods, each searched once, in parallel; one for each scale in a row.
    pub(crate) fn moments_of(&self, centers: &[Center], scales: &Scales) -> Batch<Moments> {
        self.batch(centers, scales.len(), |search, center, row| search.moments(center, scales, row))
    }

    /// What to search around for a place: that of a point of the cloud, or of a foreign query.
    pub(crate) fn center(&self, place: [i32; 3], foreign: bool) -> Center {
        if foreign { Center::Foreign(place) } else { Center::Site(self.sites.at(place)) }
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
            .with_min_len(SITES_PER_TASK)
            .for_each_init(|| Search::new(self), |search, (row, &center)| answer(search, center, row));
        let row_of = asked.par_iter().with_min_len(1 << 10);
        let row_of = row_of.map(|center| centers.partition_point(|c| c < center) as u32).collect();
        Batch { rows, row_len, row_of }
    }

    /// A centre's place, and the points there that a search meets first.
    fn resolve(&self, center: Center) -> ([i32; 3], &[u32]) {
        match center {
            Center::Site(site) => (self.sites.places()[site as usize], self.sites.points(site)),
            Center::Foreign(place) => (place, &[]),
        }
    }
}

impl std::fmt::Debug for CpuIndex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CpuIndex").field("sites", &self.sites.len()).finish_non_exhaustive()
    }
}

/// What is searched around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Center {
    /// A place of the cloud.
    Site(u32),
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

/// One thread's way to ask the index, with the memory that it reuses.
#[derive(Debug)]
pub(super) struct Search<'i> {
    index: &'i CpuIndex<'i>,
    near: Vec<(u64, u32)>,
    found: Vec<(u64, u32)>,
    offsets: Vec<[i64; 3]>,
    /// Where the neighbourhoods end, for who asks for several.
    pub(super) lengths: Vec<usize>,
}

impl<'i> Search<'i> {
    pub(super) fn new(index: &'i CpuIndex<'i>) -> Self {
        Self { index, near: Vec::new(), found: Vec::new(), offsets: Vec::new(), lengths: Vec::new() }
    }

    /// The members of a neighbourhood, as (squared distance, index) in that order.
    pub(super) fn neighbors(&mut self, center: Center, rule: Rule) -> &[(u64, u32)] {
        let k = rule.k;
        if let (false, Some(limit)) = (rule.cuts, rule.limit) {
            return self.within(center, limit);
        }
        self.nearest(center, k);
        if let Some(limit) = rule.limit {
            self.found.truncate(self.found.partition_point(|found| found.0 <= limit));
        }
        &self.found
    }

    /// Every point within a squared distance.
    fn within(&mut self, center: Center, limit: u64) -> &[(u64, u32)] {
        let CpuIndex { sites, tree, .. } = self.index;
        let (center, _) = self.index.resolve(center);
        self.found.clear();
        tree.query(&turned(center))
            .within::<SquaredEuclidean<f64>>(radius_sq_around(limit))
            .unsorted()
            .visit(|item| {
                let d = dist_sq(center, sites.places()[item.item as usize]);
                if d <= limit {
                    self.found.extend(sites.points(item.item).iter().map(|&i| (d, i)));
                }
            });
        self.found.sort_unstable();
        &self.found
    }

    /// The `min(k, n)` nearest points.
    fn nearest(&mut self, center: Center, k: usize) -> &[(u64, u32)] {
        let index = self.index;
        self.found.clear();
        let (place, own) = index.resolve(center);
        if own.len() >= k {
            self.found.extend(own[..k].iter().map(|&i| (0, i)));
            return &self.found;
        }
        let cut = self.fetch(place, k, own.len());
        for &(d, s) in self.near.iter().take_while(|near| near.0 <= cut) {
            let points = index.sites.points(s);
            self.found.extend(points[..points.len().min(k)].iter().map(|&i| (d, i)));
        }
        self.found.sort_unstable();
        self.found.truncate(k);
        &self.found
    }

    /// Finds the members of a neighbourhood, for [`members`](Self::members).
    pub(super) fn find(&mut self, around: Center, rule: Rule) {
        self.neighbors(around, rule);
        let (center, _) = self.index.resolve(around);
        self.offsets.clear();
        self.offsets.extend(self.found.iter().map(|&(_, i)| {
            let p = self.index.lattice.points[i as usize];
            std::array::from_fn(|a| i64::from(p[a]) - i64::from(center[a]))
        }));
    }

    /// What [`find`](Self::find) found: (squared distance, index) in that order, and the offsets from the centre.
    pub(super) fn members(&self) -> (&[(u64, u32)], &[[i64; 3]]) {
        (&self.found, &self.offsets)
    }

    /// The members of the first neighbourhood.
    pub(super) fn first(&mut self, around: Center, scales: &Scales) -> &[(u64, u32)] {
        if !scales.has_optimal() {
            return self.neighbors(around, scales.rule);
        }
        self.find(around, scales.rule);
        scales.lengths(&self.found, &self.offsets, &mut self.lengths);
        let length = self.lengths.first().copied().unwrap_or(0);
        &self.found[..length]
    }

    /// Sums over the neighbourhoods.
    fn moments(&mut self, around: Center, scales: &Scales, out: &mut [Moments]) {
        self.find(around, scales.rule);
        scales.lengths(&self.found, &self.offsets, &mut self.lengths);
        for (moments, &length) in out.iter_mut().zip(&self.lengths) {
            *moments = Moments::new(&self.offsets[..length], around.is_foreign());
        }
    }

    /// Puts every site that may hold one of the `k` nearest points into `near`, by (squared distance, site), and
    /// gives the squared distance within which `k` points lie.
    fn fetch(&mut self, center: [i32; 3], k: usize, own: usize) -> u64 {
        let CpuIndex { sites, tree, .. } = self.index;
        let query = turned(center);
        let exact = |s: u32| dist_sq(center, sites.places()[s as usize]);
        // Each site holds a point at least, and the query's own, if it has one, holds `own`.
        let wanted = (k - own + 1).saturating_add(SPARE).min(sites.len());
        let nearest = tree
            .query(&query)
            .nearest_n::<SquaredEuclidean<f64>>(NonZeroUsize::new(wanted).unwrap_or(NonZeroUsize::MIN))
            .execute();
        self.near.clear();
        self.near.extend(nearest.iter().map(|item| (exact(item.item), item.item)));
        self.near.sort_unstable();
        let mut count = 0;
        let holds_k = self.near.iter().find(|near| {
            count += sites.points(near.1).len();
            count >= k
        });
        // Fewer than k points in all sites: everything is a neighbour.
        let Some(&(cut, _)) = holds_k else { return u64::MAX };
        let reached = nearest.last().map_or(0.0, |item| item.distance);
        if wanted < sites.len() && !is_within(cut, reached) {
            self.near.clear();
            tree.query(&query)
                .within::<SquaredEuclidean<f64>>(radius_sq_around(cut))
                .unsorted()
                .visit(|item| self.near.push((exact(item.item), item.item)));
            self.near.sort_unstable();
        }
        cut
    }
}

/// A place turned by an integer matrix whose rows are orthogonal and of length 3: exact.
///
/// The tree splits its axes in turn, and a split of an axis on which all points agree is lost. Level ground and
/// points along a line are common, seldom along these axes: 300 thousand points on a line took minutes.
fn turned(place: [i32; 3]) -> [f64; 3] {
    let [x, y, z] = place.map(f64::from);
    [x + 2.0 * y + 2.0 * z, 2.0 * x + y - 2.0 * z, 2.0 * x - 2.0 * y + z]
}

/// Whether a search that ended at the tree's squared distance `reached` has seen everything up to `cut`.
fn is_within(cut: u64, reached: f64) -> bool {
    let cut_in_tree = cut as f64 * SCALE;
    if cut < EXACT { cut_in_tree < reached } else { cut_in_tree * (1.0 + SLACK) < reached }
}

/// The tree's squared radius that everything up to `cut` lies well within.
fn radius_sq_around(cut: u64) -> f64 {
    let cut_in_tree = cut as f64 * SCALE;
    if cut < EXACT { cut_in_tree + SCALE / 2.0 } else { cut_in_tree * (1.0 + SLACK) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;
    use crate::scales::Ends;

    fn check(points: &[[i32; 3]], k: usize) {
        let frame = Frame::new([0.0; 3], 1.0).unwrap();
        let lattice = Lattice::new(points.into(), frame).unwrap();
        let index = CpuIndex::new(&lattice).unwrap();
        // Each point twice: repeats must not disturb the rows.
        let asked: Vec<u32> = (0..points.len() as u32).chain((0..points.len() as u32).rev()).collect();
        let centers: Vec<_> = asked.iter().map(|&i| index.center(points[i as usize], false)).collect();
        let rule = Rule { k: k.min(points.len()), cuts: true, limit: None, radius: None };
        let lists = index.lists_of(&centers, rule);
        let scales = Scales { rule, ends: Ends::Counts(vec![rule.k as u32], None) };
        let moments = index.moments_of(&centers, &scales);
        assert_eq!(moments.rows.len(), index.sites().len());
        for (at, &i) in asked.iter().enumerate() {
            let query = points[i as usize];
            let mut expected: Vec<_> =
                (0..points.len() as u32).map(|j| (dist_sq(query, points[j as usize]), j)).collect();
            expected.sort_unstable();
            expected.truncate(k);
            assert_eq!(lists[at], expected, "point {i} of {}, k = {k}", points.len());
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
