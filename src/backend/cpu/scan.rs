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

/// Moments of each given point's neighbourhoods, in parallel: as many as there are scales for each point.
pub(crate) fn moments(lattice: &Lattice<'_>, points: &[u32], scales: &Scales) -> Vec<Moments> {
    let of = |&point: &u32| {
        let center = lattice.points[point as usize];
        let found = members(lattice, center, scales.rule);
        let offset = |&(_, i): &(u64, u32)| -> [i64; 3] {
            let p = lattice.points[i as usize];
            std::array::from_fn(|a| i64::from(p[a]) - i64::from(center[a]))
        };
        let offsets: Vec<_> = found.iter().map(offset).collect();
        let mut lengths = Vec::new();
        scales.lengths(&found, &offsets, &mut lengths);
        lengths.into_iter().map(|length| Moments::of(&offsets[..length])).collect::<Vec<_>>()
    };
    points.par_iter().flat_map_iter(of).collect()
}

/// Neighbours of each given point as (squared distance, index) in that order, in parallel.
pub(crate) fn neighbors(lattice: &Lattice<'_>, points: &[u32], rule: Rule) -> Vec<Vec<(u64, u32)>> {
    points.par_iter().map(|&point| members(lattice, lattice.points[point as usize], rule)).collect()
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
        let lattice = Lattice::new(points.into(), Frame::new([0.0; 3], 1.0).unwrap()).unwrap();
        let index = CpuIndex::new(&lattice).unwrap();
        let asked: Vec<u32> = (0..700).step_by(3).collect();
        for (k, cuts, limit) in
            [(9, true, None), (40, true, Some(30)), (700, false, Some(50)), (700, true, None)]
        {
            let rule = Rule { k, cuts, limit, radius: None };
            let scales = Scales { rule, ends: Ends::Counts(vec![4, k as u32], None) };
            let (scanned, indexed) = (moments(&lattice, &asked, &scales), index.moments_of(&asked, &scales));
            assert!(scanned.chunks(2).enumerate().all(|(at, m)| indexed.row(at) == m), "{rule:?}");
        }
        let rule = Rule { k: 12, cuts: true, limit: None, radius: None };
        let (scanned, indexed) = (neighbors(&lattice, &asked, rule), index.lists_of(&asked, rule));
        assert_eq!(scanned, indexed);
    }
}
