//! Boxes around blocks of points, and boxes around those: what finds the blocks near a place.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fearless_simd::{Simd, i32x8, mask32x8, prelude::*};
use rayon::prelude::*;

use super::order::Order;

/// Boxes in a parent: two registers of four, or one of eight, to compare at a time.
const FAN: usize = 8;

/// Eight boxes side by side.
#[derive(Debug, Clone, Copy)]
struct Eight {
    low: [[i32; FAN]; 3],
    high: [[i32; FAN]; 3],
}

impl Eight {
    /// Boxes of no points.
    const EMPTY: Self = Self { low: [[i32::MAX; FAN]; 3], high: [[i32::MIN; FAN]; 3] };

    fn set(&mut self, i: usize, [low, high]: [[i32; 3]; 2]) {
        for a in 0..3 {
            (self.low[a][i], self.high[a][i]) = (low[a], high[a]);
        }
    }

    /// The box around the eight.
    fn all(&self) -> [[i32; 3]; 2] {
        let low = self.low.map(|axis| axis.into_iter().fold(i32::MAX, i32::min));
        [low, self.high.map(|axis| axis.into_iter().fold(i32::MIN, i32::max))]
    }

    /// Which of the boxes meet this one, as bits.
    #[inline(always)]
    fn meeting<S: Simd>(&self, simd: S, low: [i32; 3], high: [i32; 3]) -> u32 {
        let mut apart = mask32x8::splat(simd, false);
        for a in 0..3 {
            apart |= i32x8::load_array_ref(simd, &self.low[a]).simd_gt(high[a]);
            apart |= i32x8::load_array_ref(simd, &self.high[a]).simd_lt(low[a]);
        }
        !apart.to_bitmask() as u32 & ((1 << FAN) - 1)
    }

    fn is_empty(&self, i: usize) -> bool {
        self.low[0][i] > self.high[0][i]
    }

    /// Squared distance of a box to this one.
    fn dist_sq(&self, i: usize, low: [i32; 3], high: [i32; 3]) -> u64 {
        let gap = |a: usize| {
            let above = i64::from(self.low[a][i]) - i64::from(high[a]);
            let below = i64::from(low[a]) - i64::from(self.high[a][i]);
            above.max(below).max(0).unsigned_abs().pow(2)
        };
        gap(0) + gap(1) + gap(2)
    }
}

/// Levels of boxes. Those of the first are the blocks', the last level has a single parent.
#[derive(Debug)]
pub(super) struct Boxes {
    blocks: usize,
    levels: Vec<Vec<Eight>>,
}

impl Boxes {
    pub(super) fn new(order: &Order) -> Self {
        let mut levels = vec![parents(order.blocks(), |block| order.bounds(order.block(block)))];
        while let Some(last) = levels.last()
            && last.len() > 1
        {
            levels.push(parents(last.len(), |at| last[at].all()));
        }
        Self { blocks: order.blocks(), levels }
    }

    /// Visits the blocks whose boxes meet this one, in their order, until `visit` says no.
    #[inline(always)]
    pub(super) fn each_meeting<S: Simd>(
        &self,
        simd: S,
        low: [i32; 3],
        high: [i32; 3],
        mut visit: impl FnMut(usize) -> bool,
    ) {
        // For each level, which parent is being looked at, and which of its boxes are still to be.
        let mut left = [(0usize, 0u32); MOST_LEVELS];
        let mut level = self.levels.len() - 1;
        left[level] = (0, self.levels[level][0].meeting(simd, low, high));
        loop {
            let (parent, bits) = left[level];
            if bits == 0 {
                level += 1;
                if level == self.levels.len() {
                    return;
                }
                continue;
            }
            left[level].1 = bits & (bits - 1);
            let at = parent * FAN + bits.trailing_zeros() as usize;
            if level > 0 {
                // A box as wide as i32 meets even the empty ones.
                if let Some(eight) = self.levels[level - 1].get(at) {
                    level -= 1;
                    left[level] = (at, eight.meeting(simd, low, high));
                }
            } else if at < self.blocks && !visit(at) {
                return;
            }
        }
    }

    /// Visits blocks by their boxes' distance from this one, the nearest first, until `visit` says no.
    pub(super) fn nearest_first(
        &self,
        queue: &mut Queue,
        low: [i32; 3],
        high: [i32; 3],
        mut visit: impl FnMut(usize) -> bool,
    ) {
        queue.clear();
        queue.push(Reverse((0, self.levels.len() as u32, 0)));
        while let Some(Reverse((_, level, at))) = queue.pop() {
            let Some(below) = level.checked_sub(1) else {
                if visit(at as usize) {
                    continue;
                }
                return;
            };
            let eight = &self.levels[below as usize][at as usize];
            for i in (0..FAN).filter(|&i| !eight.is_empty(i)) {
                queue.push(Reverse((eight.dist_sq(i, low, high), below, at * FAN as u32 + i as u32)));
            }
        }
    }
}

/// 2^32 blocks of one point take eleven.
const MOST_LEVELS: usize = 12;

/// Boxes by squared distance, with their level and number.
pub(super) type Queue = BinaryHeap<Reverse<(u64, u32, u32)>>;

fn parents(children: usize, bounds: impl Fn(usize) -> [[i32; 3]; 2] + Sync) -> Vec<Eight> {
    let parent = |at: usize| {
        let mut eight = Eight::EMPTY;
        for i in 0..FAN.min(children - at * FAN) {
            eight.set(i, bounds(at * FAN + i));
        }
        eight
    };
    (0..children.div_ceil(FAN)).into_par_iter().with_min_len(1 << 8).map(parent).collect()
}
