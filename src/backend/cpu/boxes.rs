//! Boxes around blocks of points, and boxes around those: what finds the blocks near a place.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fearless_simd::{Simd, i32x8, mask32x8, prelude::*};
use rayon::prelude::*;

use super::near::numbers_from;
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

    /// Which of the boxes meet this one.
    #[inline(always)]
    fn meeting<S: Simd>(&self, simd: S, low: [i32; 3], high: [i32; 3]) -> mask32x8<S> {
        let mut apart = mask32x8::splat(simd, false);
        for a in 0..3 {
            apart |= i32x8::load_array_ref(simd, &self.low[a]).simd_gt(high[a]);
            apart |= i32x8::load_array_ref(simd, &self.high[a]).simd_lt(low[a]);
        }
        !apart
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
    ///
    /// Parents beside each other are looked at together, as many as there is room for, and what meets the box is listed for the
    /// level below: a processor foresees that better than a walk up and down the tree.
    #[inline(always)]
    pub(super) fn each_meeting<S: Simd>(
        &self,
        simd: S,
        walk: &mut Walk,
        low: [i32; 3],
        high: [i32; 3],
        mut visit: impl FnMut(usize) -> bool,
    ) {
        let top = self.levels.len();
        walk.lists[top][0] = 0;
        walk.left[top] = (0, 1);
        let mut level = top;
        while level <= top {
            let (start, end) = walk.left[level];
            let next = end.min(start + AT_ONCE);
            walk.left[level].0 = next;
            if start == end {
                level += 1;
                continue;
            }
            let (below, from) = walk.lists.split_at_mut(level);
            let (Some(to), from) = (below.last_mut(), &from[0][start..next]) else {
                continue;
            };
            let mut count = 0;
            for &at in from {
                let meeting = self.levels[level - 1][at as usize].meeting(simd, low, high);
                let children = numbers_from(simd, at * FAN as u32);
                children.compress(meeting).store_slice(&mut to[count..count + FAN]);
                count += meeting.to_bitmask().count_ones() as usize;
            }
            // A box as wide as i32 meets even the empty ones, behind all others.
            let there = if level > 1 { self.levels[level - 2].len() } else { self.blocks };
            while count > 0 && to[count - 1] as usize >= there {
                count -= 1;
            }
            if level > 1 {
                level -= 1;
                walk.left[level] = (0, count);
                continue;
            }
            for &block in &to[..count] {
                if !visit(block as usize) {
                    return;
                }
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

/// Parents of a level that are looked at together.
const AT_ONCE: usize = 64;

/// Room for a walk through the levels: what is listed of the blocks, and of each level.
#[derive(Debug)]
pub(super) struct Walk {
    lists: Box<[[u32; AT_ONCE * FAN]; MOST_LEVELS + 1]>,
    /// How far each list is done, and where it ends.
    left: [(usize, usize); MOST_LEVELS + 1],
}

impl Default for Walk {
    fn default() -> Self {
        Self { lists: Box::new([[0; AT_ONCE * FAN]; _]), left: [(0, 0); _] }
    }
}

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
