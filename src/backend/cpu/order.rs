//! Points along a Morton curve, in blocks: what the CPU indexes, and in which order it answers.

use std::cmp::Ordering;
use std::ops::Range;

use rayon::prelude::*;

use super::near::LANES;
use crate::cloud::Lattice;
use crate::error::Result;
use crate::watch::Watch;

/// Points of a block at most, unless they share one place. Its queries are searched together: with fewer, less of the
/// work is shared, with more, each looks at more candidates.
pub(super) const BLOCK: usize = 32;

/// Points from which sorting and cutting go parallel.
const PARALLEL: usize = 1 << 14;

/// The points of a cloud along a Morton curve of its full resolution, cut into blocks. Each block is a cube or box of
/// the curve's, halved until few points are left, so that it is as small as the points there are dense.
///
/// Points of one place, a site, stand side by side with ascending indices, and always in one block. They have the same
/// neighbours, so each site is searched once.
#[derive(Debug)]
pub(super) struct Order {
    min: [i32; 3],
    axes: [Vec<i32>; 3],
    points: Vec<u32>,
    /// Where each block begins; one more entry than blocks.
    blocks: Vec<u32>,
}

impl Order {
    /// Looks at `watch` between its steps, each of a fraction of the time that the queries take.
    pub(super) fn new(lattice: &Lattice<'_>, watch: &Watch) -> Result<Self> {
        let points = sorted(lattice, watch)?;
        let mut axes = [(); 3].map(|()| vec![0; points.len() + LANES]);
        let [x, y, z] = &mut axes;
        let places = x.par_iter_mut().zip(y).zip(z).zip(&points).with_min_len(PARALLEL);
        places.for_each(|(((x, y), z), &i)| [*x, *y, *z] = lattice.points[i as usize]);
        watch.check()?;
        let mut order = Self { min: lattice.min, axes, points, blocks: Vec::new() };
        order.blocks = order.cut(0..order.points.len());
        order.blocks.push(order.points.len() as u32);
        watch.check()?;
        Ok(order)
    }

    /// Number of blocks.
    pub(super) fn blocks(&self) -> usize {
        self.blocks.len() - 1
    }

    /// Positions of a block's points.
    pub(super) fn block(&self, block: usize) -> Range<usize> {
        self.blocks[block] as usize..self.blocks[block + 1] as usize
    }

    /// Sites of a range that holds whole ones, each as the positions of its points.
    pub(super) fn sites(&self, range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let mut start = range.start;
        std::iter::from_fn(move || {
            let site = start..start + self.run(start, range.end);
            start = site.end;
            (!site.is_empty()).then_some(site)
        })
    }

    /// How many points from `start` on share its place.
    fn run(&self, start: usize, end: usize) -> usize {
        let Some(place) = (start < end).then(|| self.place(start)) else { return 0 };
        // All points of a block that holds more than a block's are at one place.
        if end - start > BLOCK && self.place(end - 1) == place {
            return end - start;
        }
        (start..end).take_while(|&at| self.place(at) == place).count()
    }

    /// Positions of the points at a place; none if no point is there.
    pub(super) fn site_at(&self, place: [i32; 3]) -> Range<usize> {
        let wanted = offset(place, self.min);
        let (mut start, mut end) = (0, self.points.len());
        while start < end {
            let middle = start.midpoint(end);
            match along_curve(offset(self.place(middle), self.min), wanted) {
                Ordering::Less => start = middle + 1,
                _ => end = middle,
            }
        }
        let block = self.blocks.partition_point(|b| *b as usize <= start);
        let end = self.blocks.get(block).map_or(start, |end| *end as usize);
        let is_there = start < end && self.place(start) == place;
        start..if is_there { start + self.run(start, end) } else { start }
    }

    pub(super) fn place(&self, at: usize) -> [i32; 3] {
        [self.axes[0][at], self.axes[1][at], self.axes[2][at]]
    }

    /// Coordinates along the curve, and some behind its end.
    pub(super) fn axes(&self) -> &[Vec<i32>; 3] {
        &self.axes
    }

    /// Indices in the cloud, along the curve.
    pub(super) fn points(&self) -> &[u32] {
        &self.points
    }

    /// Smallest and largest coordinates of a range of positions.
    pub(super) fn bounds(&self, range: Range<usize>) -> [[i32; 3]; 2] {
        let ends = self.axes.each_ref().map(|axis| {
            let axis = &axis[range.clone()];
            axis.iter().fold([i32::MAX, i32::MIN], |[low, high], v| [low.min(*v), high.max(*v)])
        });
        [ends.map(|e| e[0]), ends.map(|e| e[1])]
    }

    /// Where the blocks of a range of the curve begin.
    fn cut(&self, range: Range<usize>) -> Vec<u32> {
        if range.len() >= PARALLEL
            && let Some(middle) = self.middle(&range)
        {
            let (left, right) = (range.start..middle, middle..range.end);
            let (mut starts, more) = rayon::join(|| self.cut(left), || self.cut(right));
            starts.extend(more);
            return starts;
        }
        let mut starts = Vec::new();
        let mut left = vec![range];
        while let Some(range) = left.pop() {
            let middle = if range.len() > BLOCK { self.middle(&range) } else { None };
            match middle {
                Some(middle) => left.extend([middle..range.end, range.start..middle]),
                None => starts.push(range.start as u32),
            }
        }
        starts
    }

    /// Where the curve crosses the middle of the smallest of its boxes that holds the range; `None` for one place.
    fn middle(&self, range: &Range<usize>) -> Option<usize> {
        let place = |at| offset(self.place(at), self.min);
        let (a, bits) = first_difference(place(range.start), place(range.end - 1));
        let bit = bits.checked_sub(1)?;
        let axis = &self.axes[a][range.clone()];
        Some(range.start + axis.partition_point(|v| v.abs_diff(self.min[a]) >> bit & 1 == 0))
    }
}

/// The axis on which the Morton codes of two offsets differ first, and up to which bit; no bits if they are equal.
fn first_difference(p: [u32; 3], q: [u32; 3]) -> (usize, u32) {
    let bits = |a: usize| u32::BITS - (p[a] ^ q[a]).leading_zeros();
    (1..3).fold((0, bits(0)), |most, a| if bits(a) >= most.1 { (a, bits(a)) } else { most })
}

fn along_curve(p: [u32; 3], q: [u32; 3]) -> Ordering {
    let (a, _) = first_difference(p, q);
    p[a].cmp(&q[a])
}

fn offset(place: [i32; 3], min: [i32; 3]) -> [u32; 3] {
    std::array::from_fn(|a| place[a].abs_diff(min[a]))
}

/// Indices of the points along the curve, ascending where places are equal.
fn sorted(lattice: &Lattice<'_>, watch: &Watch) -> Result<Vec<u32>> {
    let n = lattice.points.len();
    let index_bits = usize::BITS - n.leading_zeros();
    let curve = Curve { points: &lattice.points, min: lattice.min, index_bits, watch };
    let widest = (0..3).map(|a| lattice.max[a].abs_diff(lattice.min[a])).max().unwrap_or(0);
    let mut keys: Vec<u64> = vec![0; n];
    keys.par_iter_mut().with_min_len(PARALLEL).enumerate().for_each(|(i, key)| *key = i as u64);
    curve.sort(&mut keys, u32::BITS - widest.leading_zeros());
    watch.check()?;
    Ok(keys.into_par_iter().with_min_len(PARALLEL).map(|key| curve.index(key) as u32).collect())
}

/// Keys that are sorted in one go: some 100 ms on two cores.
const AT_ONCE: usize = 1 << 21;
/// Parts that more keys are sorted in, and keys for each that say where parts begin.
const PARTS: usize = 64;
const SAMPLES: usize = 64;

/// Sorts distinct keys in parallel, many of them part by part: a sort cannot be stopped. When the call is cancelled meanwhile
/// they are left in any order.
fn sort_unless_cancelled(keys: &mut [u64], watch: &Watch) {
    if keys.len() <= AT_ONCE {
        return keys.par_sort_unstable();
    }
    let mut sample: Vec<u64> = keys.iter().step_by(keys.len() / (PARTS * SAMPLES)).copied().collect();
    sample.sort_unstable();
    let begins: Vec<u64> = sample.iter().skip(SAMPLES).step_by(SAMPLES).copied().collect();
    let part_of = |key: &u64| begins.partition_point(|begin| begin <= key);
    // What each block has of each part.
    let block = keys.len().div_ceil(8 * PARTS);
    let parted = keys.par_chunks(block).map(|block| {
        let mut parts = vec![Vec::new(); begins.len() + 1];
        if !watch.is_cancelled() {
            block.iter().for_each(|key| parts[part_of(key)].push(*key));
        }
        parts
    });
    let parted: Vec<Vec<Vec<u64>>> = parted.collect();
    if watch.is_cancelled() {
        return;
    }
    let mut rest = keys;
    for part in 0..=begins.len() {
        let len = parted.iter().map(|block| block[part].len()).sum();
        let (own, more) = rest.split_at_mut(len);
        let mut to = &mut *own;
        for block in &parted {
            let (here, after) = to.split_at_mut(block[part].len());
            here.copy_from_slice(&block[part]);
            to = after;
        }
        if watch.is_cancelled() {
            return;
        }
        own.par_sort_unstable();
        rest = more;
    }
}

/// Sorts keys that hold a part of the Morton code above the index.
struct Curve<'a> {
    points: &'a [[i32; 3]],
    min: [i32; 3],
    index_bits: u32,
    watch: &'a Watch,
}

impl Curve<'_> {
    fn index(&self, key: u64) -> usize {
        (key & ((1 << self.index_bits) - 1)) as usize
    }

    /// Sorts keys whose places differ in the lowest `bits` of their offsets alone: by as many as a key holds, then the runs
    /// that these do not tell apart. A single point far away may leave most of a cloud in one run, but not twice. Keys of a
    /// call that is cancelled are left as they are.
    fn sort(&self, keys: &mut [u64], bits: u32) {
        let held = ((u64::BITS - self.index_bits) / 3).min(21);
        let shift = bits.saturating_sub(held);
        let mask = (1 << (bits - shift)) - 1;
        let code = |key: &mut u64| {
            let i = self.index(*key);
            *key = morton(offset(self.points[i], self.min).map(|v| v >> shift & mask)) << self.index_bits
                | i as u64;
        };
        if keys.len() < PARALLEL {
            keys.iter_mut().for_each(code);
            keys.sort_unstable();
        } else {
            keys.par_iter_mut().with_min_len(PARALLEL).for_each(code);
            sort_unless_cancelled(keys, self.watch);
        }
        if shift == 0 || self.watch.is_cancelled() {
            return;
        }
        let together = |a: &u64, b: &u64| a >> self.index_bits == b >> self.index_bits;
        if keys.len() < PARALLEL {
            keys.chunk_by_mut(together).for_each(|run| self.refine(run));
        } else {
            keys.par_chunk_by_mut(together).for_each(|run| self.refine(run));
        }
    }

    /// Sorts keys of one code further.
    fn refine(&self, run: &mut [u64]) {
        let [first, rest @ ..] = &*run else { return };
        let place = |key: &u64| offset(self.points[self.index(*key)], self.min);
        let first = place(first);
        let differ = |bits: u32, key: &u64| {
            let place = place(key);
            (0..3).fold(bits, |bits, a| bits | (place[a] ^ first[a]))
        };
        let bits = u32::BITS - rest.iter().fold(0, differ).leading_zeros();
        if bits > 0 {
            self.sort(run, bits);
        }
    }
}

/// Bit b of axis a becomes bit 3 b + a, for 21 bits.
fn morton(offset: [u32; 3]) -> u64 {
    let [x, y, z] = offset.map(|v| spread(v.into()));
    x | y << 1 | z << 2
}

/// Moves bit i of a 21-bit number to bit 3 i.
fn spread(v: u64) -> u64 {
    let v = (v | v << 32) & 0x001f_0000_0000_ffff;
    let v = (v | v << 16) & 0x001f_0000_ff00_00ff;
    let v = (v | v << 8) & 0x100f_00f0_0f00_f00f;
    let v = (v | v << 4) & 0x10c3_0c30_c30c_30c3;
    (v | v << 2) & 0x1249_2492_4924_9249
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;

    /// Bits of the full code, highest first.
    fn code(place: [i32; 3], min: [i32; 3]) -> u128 {
        let place = offset(place, min);
        (0..96).fold(0, |code, b| code | u128::from(place[b % 3] >> (b / 3) & 1) << b)
    }

    fn check(points: &[[i32; 3]]) {
        let frame = Frame::new([0.0; 3], 1.0).unwrap();
        let lattice = Lattice::new(points.into(), frame).unwrap();
        let order = Order::new(&lattice, &Watch::default()).unwrap();
        let key = |at: usize| (code(order.place(at), lattice.min), order.points()[at]);
        assert!((1..points.len()).all(|at| key(at - 1) < key(at)));
        assert!((0..points.len()).all(|at| order.place(at) == points[order.points()[at] as usize]));
        let distinct: std::collections::HashSet<_> = points.iter().collect();
        let (mut seen, mut sites) = (0, 0);
        for block in (0..order.blocks()).map(|block| order.block(block)) {
            assert_eq!(block.start, seen);
            seen = block.end;
            let own: Vec<_> = order.sites(block.clone()).collect();
            assert!(block.len() <= BLOCK || own.len() == 1, "{block:?} holds {} sites", own.len());
            assert!(own.iter().all(|site| order.site_at(order.place(site.start)) == *site));
            sites += own.len();
        }
        assert_eq!((seen, sites), (points.len(), distinct.len()));
        let beside = lattice.max.map(|v| v.saturating_add(1));
        assert!(
            order.site_at(beside).is_empty()
                && order.site_at(lattice.min.map(|v| v.wrapping_sub(1))).is_empty()
        );
    }

    #[test]
    fn many_keys_are_sorted_in_parts_and_none_is_lost() {
        let mut state = 5u64;
        let mut keys: Vec<u64> = (0..AT_ONCE as u64 + 1000)
            .map(|i| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Most of them close together.
                (if i % 4 == 0 { state >> 8 } else { state >> 40 }) << 22 | i
            })
            .collect();
        let mut expected = keys.clone();
        expected.sort_unstable();
        let token = crate::watch::CancelToken::new();
        let watch = Watch { token: Some(token.clone()), ..Watch::default() };
        let mut left = keys.clone();
        sort_unless_cancelled(&mut keys, &watch);
        assert!(keys == expected);
        token.cancel();
        sort_unless_cancelled(&mut left, &watch);
        assert!(left != expected);
        left.sort_unstable();
        assert!(left == expected);
    }

    #[test]
    fn every_point_is_in_its_place_on_the_curve() {
        check(&[[5, 5, 5]]);
        check(&[[0; 3]; 90]);
        let near: Vec<_> = (0..500).map(|i| [i * 7 % 10, i * 3 % 5, i % 4]).collect();
        check(&near);
        let crowded: Vec<_> =
            (0..40_000).map(|i| if i % 3 == 0 { [7; 3] } else { [i % 180, i / 180, i % 7] }).collect();
        check(&crowded);
    }

    #[test]
    fn places_that_share_a_part_of_the_code_are_told_apart() {
        let far = i32::MAX - 1;
        let wide: Vec<_> = (0..200).map(|i| [i * 5 % 7, if i % 3 == 0 { far } else { 0 }, i % 2]).collect();
        check(&wide);
        let mut dense: Vec<_> = (0..40_000).map(|i| [i * 7 % 211, i * 3 % 193, i % 11]).collect();
        dense.push([1 << 30, -(1 << 30), 1 << 29]);
        check(&dense);
    }

    #[test]
    fn bits_are_spread_by_three() {
        for v in [0, 1, 2, 0x15_5555, 0x1f_ffff] {
            let expected = (0..21).fold(0, |out, b| out | (v >> b & 1) << (3 * b));
            assert_eq!(spread(v), expected);
        }
    }
}
