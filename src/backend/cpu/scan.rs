//! Neighbours of a few points without an index: by looking at every point, or at those near by where a plan knows them.

use rayon::prelude::*;

use crate::cloud::{Lattice, dist_sq};
use crate::moments::{Also, Moments};
use crate::neighborhood::Rule;
use crate::plan::{ByPlace, Nearest};
use crate::scales::{Lengths, Scales};
use crate::watch::Watch;

/// Queries up to which looking at every point is faster: an index takes some hundred nanoseconds a point to build, a
/// distance one or two.
const MOST_QUERIES: usize = 256;
/// The same where the points near by are known: half a millisecond a query for its nearest, unless a crowd lies within a
/// radius.
const MOST_QUERIES_BY_PLACE: usize = 1 << 13;

/// Points that one task looks at.
const TASK: usize = 1 << 16;

/// A cloud that is searched without an index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan<'a> {
    pub(crate) lattice: &'a Lattice<'a>,
    pub(crate) by_place: Option<ByPlace<'a>>,
    /// Once it says that the call is cancelled, no neighbour is found any more.
    pub(crate) watch: &'a Watch,
}

impl Scan<'_> {
    /// Whether this is the faster way for so many queries.
    pub(crate) fn pays(&self, queries: usize, rule: Rule) -> bool {
        let few_members = self.by_place.is_some() && rule.cuts;
        queries <= if few_members { MOST_QUERIES_BY_PLACE } else { MOST_QUERIES }
    }

    /// Moments of the neighbourhoods around each given place, in parallel: as many as there are scales for each place. At
    /// `foreign` ones stands no point of the cloud.
    pub(crate) fn moments(&self, places: &[[i32; 3]], foreign: bool, scales: &Scales) -> Vec<Moments> {
        let of = |&center: &[i32; 3]| {
            let found = self.members(center, scales.rule);
            let axes: [Vec<f64>; 3] = std::array::from_fn(|a| {
                let offset =
                    |m: &(u64, u32)| i64::from(self.lattice.points[m.1 as usize][a]) - i64::from(center[a]);
                found.iter().map(|m| offset(m) as f64).collect()
            });
            let offsets = axes.each_ref().map(|axis| &axis[..]);
            let mut lengths = Lengths::default();
            let lengths = lengths.of(scales, &found, offsets);
            let mut moments = vec![Moments::default(); lengths.len()];
            Moments::of_beginnings(offsets, lengths, foreign, Also::ALL, &mut moments);
            moments
        };
        places.par_iter().flat_map_iter(of).collect()
    }

    /// Neighbours around each given place as (squared distance, index) in that order, in parallel; `None` where they are more
    /// than `most`.
    pub(crate) fn neighbors(&self, places: &[[i32; 3]], rule: Rule, most: usize) -> Vec<Option<super::List>> {
        let list = |&place| Some(self.members(place, rule)).filter(|list| list.len() <= most);
        places.par_iter().map(list).collect()
    }

    fn members(&self, center: [i32; 3], rule: Rule) -> Vec<(u64, u32)> {
        if self.watch.is_cancelled() {
            return Vec::new();
        }
        if let Some(by_place) = self.by_place {
            return by_place.members(self.lattice, center, rule);
        }
        let limit = rule.limit.unwrap_or(u64::MAX);
        let tasks = self.lattice.points.par_chunks(TASK).enumerate();
        let of = |(task, points)| distances(center, task * TASK, points);
        if !rule.cuts {
            let mut found: Vec<_> = tasks.flat_map_iter(|t| of(t).filter(|m| m.0 <= limit)).collect();
            found.sort_unstable();
            return found;
        }
        let none = || Nearest::new(rule.k, limit);
        let nearest = tasks.fold(none, |mut nearest, task| {
            of(task).for_each(|member| nearest.add(member));
            nearest
        });
        nearest.reduce(none, Nearest::and).into_sorted()
    }
}

/// Squared distances to points whose first has this index.
fn distances(center: [i32; 3], first: usize, points: &[[i32; 3]]) -> impl Iterator<Item = (u64, u32)> {
    (first as u32..).zip(points).map(move |(i, p)| (dist_sq(center, *p), i))
}

#[cfg(test)]
mod tests {
    use super::super::CpuIndex;
    use super::*;
    use crate::frame::Frame;
    use crate::plan::arranged_for_tests;
    use crate::scales::Ends;

    #[test]
    fn a_scan_finds_what_the_index_finds() {
        let points: Vec<[i32; 3]> = (0..700).map(|i| [i * 7 % 31, i * 11 % 29, i % 5]).collect();
        let lattice = Lattice::new(points.clone().into(), Frame::new([0.0; 3], 1.0).unwrap()).unwrap();
        // Places of the cloud, then some of foreign queries.
        for (foreign, asked) in [
            (false, points.iter().step_by(3).copied().collect::<Vec<_>>()),
            (true, (0..200).map(|i| [i * 5 % 90 - 30, i * 3 % 40, i % 9]).collect()),
        ] {
            check(&lattice, &asked, foreign);
        }
    }

    fn check(lattice: &Lattice<'_>, asked: &[[i32; 3]], foreign: bool) {
        let (arranged, watch) = (arranged_for_tests(lattice, 100), &Watch::default());
        assert!(arranged.by_place().is_some());
        let scans = [None, arranged.by_place()].map(|by_place| Scan { lattice, by_place, watch });
        let index = CpuIndex::new(lattice, watch).unwrap();
        let centers: Vec<_> = asked.iter().map(|&place| index.center(place, foreign)).collect();
        for (k, cuts, limit) in
            [(9, true, None), (40, true, Some(30)), (700, false, Some(50)), (700, true, None)]
        {
            let rule = Rule { k, cuts, limit, radius: None };
            let scales = Scales { rule, ends: Ends::Counts(vec![4, k as u32], None) };
            let indexed = index.moments_of(&centers, &scales, watch);
            for scan in scans {
                let scanned = scan.moments(asked, foreign, &scales);
                assert!(scanned.chunks(2).enumerate().all(|(at, m)| indexed.row(at) == m), "{rule:?}");
            }
        }
        let rule = Rule { k: 12, cuts: true, limit: None, radius: None };
        for scan in scans {
            for most in [usize::MAX, 12, 11] {
                assert_eq!(
                    scan.neighbors(asked, rule, most),
                    index.lists_of(&centers, rule, most, watch),
                    "{most}"
                );
            }
        }
    }
}
