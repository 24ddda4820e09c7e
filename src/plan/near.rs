//! Members of single neighbourhoods by the cells of a plan: no index to build, and no look at every point.

use std::collections::BinaryHeap;

use super::arrange::Cell;
use crate::cloud::{Lattice, dist_sq};
use crate::neighborhood::Rule;

/// Cells that are looked through before the others are asked whether they could matter.
const FIRST: usize = 32;

/// A cloud by place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByPlace<'a> {
    pub(super) order: &'a [u32],
    pub(super) cells: &'a [Cell],
}

impl ByPlace<'_> {
    /// Members around a place as (squared distance, index), in that order.
    pub(crate) fn members(&self, lattice: &Lattice<'_>, center: [i32; 3], rule: Rule) -> Vec<(u64, u32)> {
        let limit = rule.limit.unwrap_or(u64::MAX);
        let mut near: Vec<(u64, u32)> = (0..)
            .zip(self.cells)
            .map(|(at, cell)| (least_dist_sq(center, cell), at))
            .filter(|near| near.0 <= limit)
            .collect();
        let points = |cell: &Cell| {
            self.order[cell.start..cell.end].iter().map(|&i| (dist_sq(center, lattice.points[i as usize]), i))
        };
        let cell = |near: &(u64, u32)| &self.cells[near.1 as usize];
        if !rule.cuts {
            let mut found: Vec<_> =
                near.iter().flat_map(|n| points(cell(n))).filter(|m| m.0 <= limit).collect();
            found.sort_unstable();
            return found;
        }
        let first = FIRST.min(near.len());
        if first < near.len() {
            near.select_nth_unstable(first);
        }
        near[..first].sort_unstable();
        let mut nearest = Nearest::new(rule.k, limit);
        near.iter().filter(|n| n.0 <= limit).for_each(|n| {
            if n.0 <= nearest.reach() {
                points(cell(n)).for_each(|member| nearest.add(member));
            }
        });
        nearest.into_sorted()
    }
}

/// The smallest squared distance that a point of a cell can have.
fn least_dist_sq(center: [i32; 3], cell: &Cell) -> u64 {
    let off = |a: usize| {
        let at = i64::from(center[a]);
        // At most 2^32: cells without an end on a side hold the points beyond it.
        (cell.low[a].max(-(1 << 32)) - at).max(at - cell.high[a].min(1 << 32)).max(0) as u64
    };
    (0..3).map(|a| off(a) * off(a)).fold(0, u64::saturating_add)
}

/// The smallest `k` of what is added, up to a limit.
#[derive(Debug)]
pub(crate) struct Nearest {
    heap: BinaryHeap<(u64, u32)>,
    k: usize,
    limit: u64,
}

impl Nearest {
    pub(crate) fn new(k: usize, limit: u64) -> Self {
        Self { heap: BinaryHeap::with_capacity(k.min(1 << 16) + 1), k, limit }
    }

    /// No squared distance beyond this is of interest.
    fn reach(&self) -> u64 {
        match self.heap.peek() {
            Some(farthest) if self.heap.len() >= self.k => farthest.0,
            _ => self.limit,
        }
    }

    pub(crate) fn add(&mut self, member: (u64, u32)) {
        if self.heap.len() < self.k {
            if member.0 <= self.limit {
                self.heap.push(member);
            }
        } else if self.heap.peek().is_some_and(|farthest| member < *farthest) {
            self.heap.pop();
            self.heap.push(member);
        }
    }

    pub(crate) fn and(mut self, other: Self) -> Self {
        other.heap.into_iter().for_each(|member| self.add(member));
        self
    }

    pub(crate) fn into_sorted(self) -> Vec<(u64, u32)> {
        self.heap.into_sorted_vec()
    }
}
