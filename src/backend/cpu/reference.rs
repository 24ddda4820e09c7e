//! The reference search: kiddo's k-d tree over a cloud's sites, cut by (squared distance, index).

use std::num::NonZeroUsize;

use kiddo::{ImmutableKdTree, SquaredEuclidean};

use super::order::Order;
use crate::cloud::dist_sq;
use crate::error::{Error, Result};
use crate::neighborhood::Rule;

/// Sites fetched beyond those that could be needed, so that a tie at the cut seldom takes a second search.
const SPARE: usize = 3;

/// The tree's squared distances are this many quanta² a quantum²: [`turned`] scales by 3.
const SCALE: f64 = 9.0;

/// Squared distances (quanta²) below this are exact in the tree's f64: 9 · 2^49 < 2^53.
const EXACT: u64 = 1 << 49;

/// How far the tree's squared distances beyond [`EXACT`] may be off, relatively. A subtree's distance is updated
/// at most 64 times on the way down, with three roundings of 2^-53 each: below 2^-45.
const SLACK: f64 = 1.0 / (1u64 << 40) as f64;

/// A cloud's sites in kiddo's tree.
pub(super) struct Reference {
    tree: ImmutableKdTree<f64, 3>,
    places: Vec<[i32; 3]>,
    /// Where each site's points begin in the order; one more entry than sites.
    starts: Vec<u32>,
}

impl std::fmt::Debug for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reference").field("sites", &self.places.len()).finish_non_exhaustive()
    }
}

impl Reference {
    pub(super) fn new(order: &Order) -> Result<Self> {
        let n = order.points().len();
        let mut starts: Vec<u32> = order.sites(0..n).map(|site| site.start as u32).collect();
        let places: Vec<_> = starts.iter().map(|&at| order.place(at as usize)).collect();
        starts.push(n as u32);
        let tree = ImmutableKdTree::new_from_source_parallel(
            &places,
            |place, axis| turned(*place)[axis],
            |site, _| site as u32,
        )
        .map_err(|error| Error::CpuIndex(error.to_string()))?;
        Ok(Self { tree, places, starts })
    }

    fn points<'o>(&self, order: &'o Order, site: u32) -> &'o [u32] {
        let site = site as usize;
        &order.points()[self.starts[site] as usize..self.starts[site + 1] as usize]
    }

    /// The members of the neighbourhood around a place where `own` points stand, as (squared distance, index) in that
    /// order.
    pub(super) fn find(
        &self,
        order: &Order,
        (place, own): ([i32; 3], usize),
        rule: Rule,
        found: &mut Vec<(u64, u32)>,
    ) {
        found.clear();
        if let (false, Some(limit)) = (rule.cuts, rule.limit) {
            self.within(order, place, limit, found);
        } else {
            let (cut, near) = self.fetch(order, place, rule.k, own);
            for &(d, s) in near.iter().take_while(|near| near.0 <= cut) {
                let points = self.points(order, s);
                found.extend(points[..points.len().min(rule.k)].iter().map(|&i| (d, i)));
            }
        }
        found.sort_unstable();
        if rule.cuts {
            found.truncate(rule.k);
        }
        if let Some(limit) = rule.limit {
            found.truncate(found.partition_point(|found| found.0 <= limit));
        }
    }

    /// Every point within a squared distance.
    fn within(&self, order: &Order, center: [i32; 3], limit: u64, found: &mut Vec<(u64, u32)>) {
        self.tree
            .query(&turned(center))
            .within::<SquaredEuclidean<f64>>(radius_sq_around(limit))
            .unsorted()
            .visit(|item| {
                let d = dist_sq(center, self.places[item.item as usize]);
                if d <= limit {
                    found.extend(self.points(order, item.item).iter().map(|&i| (d, i)));
                }
            });
    }

    /// Every site that may hold one of the `k` nearest points, by (squared distance, site), and the squared distance
    /// within which `k` points lie.
    fn fetch(&self, order: &Order, center: [i32; 3], k: usize, own: usize) -> (u64, Vec<(u64, u32)>) {
        let query = turned(center);
        let exact = |s: u32| dist_sq(center, self.places[s as usize]);
        // Each site holds a point at least, and the query's own, if it has one, holds `own`.
        let wanted = (k.saturating_sub(own) + 1).saturating_add(SPARE).min(self.places.len());
        let nearest = self
            .tree
            .query(&query)
            .nearest_n::<SquaredEuclidean<f64>>(NonZeroUsize::new(wanted).unwrap_or(NonZeroUsize::MIN))
            .execute();
        let mut near: Vec<_> = nearest.iter().map(|item| (exact(item.item), item.item)).collect();
        near.sort_unstable();
        let mut count = 0;
        let holds_k = near.iter().find(|near| {
            count += self.points(order, near.1).len();
            count >= k
        });
        // Fewer than k points in all sites: everything is a neighbour.
        let Some(&(cut, _)) = holds_k else { return (u64::MAX, near) };
        let reached = nearest.last().map_or(0.0, |item| item.distance);
        if wanted < self.places.len() && !is_within(cut, reached) {
            near.clear();
            self.tree
                .query(&query)
                .within::<SquaredEuclidean<f64>>(radius_sq_around(cut))
                .unsorted()
                .visit(|item| near.push((exact(item.item), item.item)));
            near.sort_unstable();
        }
        (cut, near)
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
