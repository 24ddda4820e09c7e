//! Cutting at medians: for what a grid's cells are too coarse for.

use rayon::prelude::*;

use super::{Chunk, MAX_CORE_WIDTH};
use crate::cloud::Lattice;
use crate::watch::Watch;

/// Cuts `order` at medians of the longest axis until every part is small and narrow enough. Leaves parts out once the call is
/// cancelled, which is to be checked afterwards.
pub(super) fn cut(
    lattice: &Lattice<'_>,
    order: &mut [u32],
    start: usize,
    most: usize,
    watch: &Watch,
) -> Vec<Chunk> {
    if watch.is_cancelled() {
        return Vec::new();
    }
    let point = |i: &u32| lattice.points[*i as usize];
    let (mut min, mut max) = ([i32::MAX; 3], [i32::MIN; 3]);
    for p in order.iter().map(point) {
        min = std::array::from_fn(|a| min[a].min(p[a]));
        max = std::array::from_fn(|a| max[a].max(p[a]));
    }
    let width = |a: usize| i64::from(max[a]) - i64::from(min[a]);
    let axis = (0..3).max_by_key(|&a| width(a)).unwrap_or(0);
    let widest = width(axis);
    let small = order.len() <= most;
    if widest == 0 || (small && widest < MAX_CORE_WIDTH) {
        order.par_sort_unstable();
        let (end, crowd) = (start + order.len(), !small);
        return vec![Chunk { start, end, min, max, crowd, margin: 0 }];
    }
    // A cut lies between two coordinates: equal ones stay together, so that parts are disjoint boxes.
    let split = if small {
        let middle = (i64::from(min[axis]) + widest / 2) as i32;
        partition(order, |i| point(i)[axis] <= middle)
    } else {
        let half = order.len() / 2;
        let (_, median, _) = order.select_nth_unstable_by_key(half, |i| point(i)[axis]);
        let median = point(median)[axis];
        if median > min[axis] {
            partition(order, |i| point(i)[axis] < median)
        } else {
            partition(order, |i| point(i)[axis] <= median)
        }
    };
    let (left, right) = order.split_at_mut(split);
    let (mut chunks, more) = rayon::join(
        || cut(lattice, left, start, most, watch),
        || cut(lattice, right, start + split, most, watch),
    );
    chunks.extend(more);
    chunks
}

/// Moves what satisfies `first` to the front; how many those are.
fn partition(order: &mut [u32], first: impl Fn(&u32) -> bool) -> usize {
    let mut split = 0;
    for i in 0..order.len() {
        if first(&order[i]) {
            order.swap(split, i);
            split += 1;
        }
    }
    split
}
