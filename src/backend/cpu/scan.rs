//! Neighbours of a few points by looking at every point: no index to build.

use std::collections::BinaryHeap;

use rayon::prelude::*;

use crate::cloud::{Lattice, dist_sq};
use crate::moments::Moments;
use crate::neighborhood::Rule;
use crate::scales::Scales;

/// Queries up to which this is faster: an index takes some hundred nanoseconds a point to build, a distance one or two.
const MOST_QUERIES: usize = 256;

/// Whether looking at every point is the faster way for so many queries.
pub(crate) fn pays(queries: usize) -> bool {
    queries <= MOST_QUERIES
}

/// Moments of the neighbourhoods around each given place, in parallel: as many as there are scales for each place. At
/// `foreign` ones stands no point of the cloud.
pub(crate) fn moments(
    lattice: &Lattice<'_>,
    places: &[[i32; 3]],
    foreign: bool,
    scales: &Scales,
) -> Vec<Moments> {
    let of = |&center: &[i32; 3]| {
        let found = members(lattice, center, scales.rule);
        let offset = |&(_, i): &(u64, u32)| -> [i64; 3] {
            let p = lattice.points[i as usize];
            std::array::from_fn(|a| i64::from(p[a]) - i64::from(center[a]))
        };
        let offsets: Vec<_> = found.iter().map(offset).collect();
        let mut lengths = Vec::new();
        scales.lengths(&found, &offsets, &mut lengths);
        lengths.into_iter().map(|length| Moments::new(&offsets[..length], foreign)).collect::<Vec<_>>()
    };
    places.par_iter().flat_map_iter(of).collect()
}

/// Neighbours around each given place as (squared distance, index) in that order, in parallel.
pub(crate) fn neighbors(lattice: &Lattice<'_>, places: &[[i32; 3]], rule: Rule) -> Vec<Vec<(u64, u32)>> {
    places.par_iter().map(|&place| members(lattice, place, rule)).collect()
}

fn members(lattice: &Lattice<'_>, center: [i32; 3], rule: Rule) -> Vec<(u64, u32)> {
    let all = (0u32..).zip(lattice.points.iter()).map(|(i, p)| (dist_sq(center, *p), i));
    let limit = rule.limit.unwrap_or(u64::MAX);
    if !rule.cuts {
        let mut found: Vec<_> = all.filter(|m| m.0 <= limit).collect();
        found.sort_unstable();
        return found;
    }
    let mut nearest: BinaryHeap<(u64, u32)> = BinaryHeap::with_capacity(rule.k + 1);
    for member in all {
        if nearest.len() < rule.k {
            if member.0 <= limit {
                nearest.push(member);
            }
        } else if nearest.peek().is_some_and(|farthest| member < *farthest) {
            nearest.pop();
            nearest.push(member);
        }
    }
    nearest.into_sorted_vec()
}

#[cfg(test)]
mod tests {
    use super::super::CpuIndex;
    use super::*;
    use crate::frame::Frame;
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
        let index = CpuIndex::new(lattice).unwrap();
        let centers: Vec<_> = asked.iter().map(|&place| index.center(place, foreign)).collect();
        for (k, cuts, limit) in
            [(9, true, None), (40, true, Some(30)), (700, false, Some(50)), (700, true, None)]
        {
            let rule = Rule { k, cuts, limit, radius: None };
            let scales = Scales { rule, ends: Ends::Counts(vec![4, k as u32], None) };
            let (scanned, indexed) =
                (moments(lattice, asked, foreign, &scales), index.moments_of(&centers, &scales));
            assert!(scanned.chunks(2).enumerate().all(|(at, m)| indexed.row(at) == m), "{rule:?}");
        }
        let rule = Rule { k: 12, cuts: true, limit: None, radius: None };
        assert_eq!(neighbors(lattice, asked, rule), index.lists_of(&centers, rule));
    }
}
