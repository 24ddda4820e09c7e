//! Points near a block of queries, copied side by side, and the choice of each query's members among them.

use fearless_simd::{Simd, f32x8, f64x8, i32x8, mask32x8, prelude::*, u32x8};

use super::boxes::{Boxes, Walk};
use super::order::{BLOCK, Order};

/// Candidates that loops take at a time, without a rest.
pub(super) const LANES: usize = 8;

/// f32 where the points gathered lie within 2^24 quanta of each other, else f64: both hold their offsets exactly.
pub(super) trait Real:
    Copy
    + PartialOrd
    + Send
    + std::ops::Sub<Output = Self>
    + std::ops::Add<Output = Self>
    + std::ops::Mul<Output = Self>
    + SimdFloatElement
    + 'static
{
    const ZERO: Self;
    const INFINITY: Self;
    const LARGEST: Self;
    /// Squared distances below this are exact, and no larger one passes for less: every term and sum rounds monotonically.
    const EXACT: u64;
    /// More than any squared distance beyond that is off, relatively: five roundings of 2^-24, or 2^-53.
    const SLACK: f64;
    fn of(v: i32) -> Self;
    fn of_f64(v: f64) -> Self;
    fn to_f64(self) -> f64;
    fn to_i64(self) -> i64;
    /// Eight side by side.
    type Lanes<S: Simd>: SimdFloat<S, Element = Self, Array = [Self; LANES]>;
    fn of_lanes<S: Simd>(values: i32x8<S>) -> Self::Lanes<S>;
    /// The numbers of the lanes that a mask holds, moved to the front.
    fn numbers<S: Simd>(numbers: u32x8<S>, which: Mask<Self, S>) -> u32x8<S>;
}

/// Some of eight lanes.
type Mask<R, S> = <<R as Real>::Lanes<S> as SimdBase<S>>::Mask;

macro_rules! real {
    ($float:ty, $lanes:ident, $exact:expr, $slack:expr, $of_lanes:expr, $numbers:expr) => {
        impl Real for $float {
            const ZERO: Self = 0.0;
            const INFINITY: Self = <$float>::INFINITY;
            const LARGEST: Self = <$float>::MAX;
            const EXACT: u64 = $exact;
            const SLACK: f64 = $slack;
            type Lanes<S: Simd> = $lanes<S>;
            #[inline(always)]
            fn of(v: i32) -> Self {
                v as Self
            }
            #[inline(always)]
            fn of_f64(v: f64) -> Self {
                v as Self
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self.into()
            }
            #[inline(always)]
            fn to_i64(self) -> i64 {
                self as i64
            }
            #[inline(always)]
            fn of_lanes<S: Simd>(values: i32x8<S>) -> $lanes<S> {
                $of_lanes(values)
            }
            #[inline(always)]
            fn numbers<S: Simd>(numbers: u32x8<S>, which: Mask<Self, S>) -> u32x8<S> {
                $numbers(numbers, which)
            }
        }
    };
}

#[inline(always)]
fn wide_of_lanes<S: Simd>(values: i32x8<S>) -> f64x8<S> {
    f64x8::load_array(values.token(), values.to_array().map(f64::from))
}

#[inline(always)]
fn wide_numbers<S: Simd>(numbers: u32x8<S>, which: Mask<f64, S>) -> u32x8<S> {
    numbers.compress(mask32x8::from_bitmask(numbers.token(), which.to_bitmask()))
}

real!(f32, f32x8, 1 << 24, 1.0 / (1u64 << 18) as f64, i32x8::to_float, u32x8::compress);
real!(f64, f64x8, 1 << 53, 1.0 / (1u64 << 40) as f64, wide_of_lanes, wide_numbers);

/// How far a coordinate is from intervals; intervals at infinity are infinitely far.
#[inline(always)]
fn gap<R: Real, S: Simd>(simd: S, query: R, low: &[R; LANES], high: &[R; LANES]) -> R::Lanes<S> {
    let query = R::Lanes::splat(simd, query);
    let below = R::Lanes::load_array_ref(simd, low) - query;
    let above = query - R::Lanes::load_array_ref(simd, high);
    below.max(above).max(R::Lanes::splat(simd, R::ZERO))
}

/// The numbers from a first one on.
#[inline(always)]
pub(super) fn numbers_from<S: Simd>(simd: S, first: u32) -> u32x8<S> {
    u32x8::load_array(simd, [0, 1, 2, 3, 4, 5, 6, 7]) + u32x8::splat(simd, first)
}

/// How much farther than the last query's farthest member, squared, members are first looked for, and within how much of it
/// they surely are: what lies between is ranked.
const REACH: f64 = 1.4;
const SURE: f64 = 0.75;

/// Distances that are ranked at once, each with each.
const RANKED: usize = 3 * LANES;

/// Rounds of looking for thresholds around the k-th with no more than so many between them.
const ROUNDS: usize = 8;

/// Bits of a short key that number the picked; the others hold squared distances below [`SHORT`].
const PICKED_BITS: u32 = 14;
const MOST_PICKED: u64 = (1 << PICKED_BITS) - 1;
const SHORT: f64 = (1u64 << (64 - PICKED_BITS)) as f64;

/// Who is a member.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// The nearest so many, if their number cuts.
    pub(super) k: Option<usize>,
    /// Those within this squared distance.
    pub(super) limit: u64,
}

/// A box of queries, and how far around it points are gathered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Region {
    pub(super) low: [i32; 3],
    pub(super) high: [i32; 3],
    /// Squared.
    pub(super) reach_sq: u64,
}

impl Region {
    /// The reach in whole quanta, at least.
    fn reach(&self) -> i32 {
        let reach = (self.reach_sq as f64).sqrt() * (1.0 + 1e-5) + 2.0;
        reach as i32
    }

    /// Whether offsets within the region are exact in f32.
    pub(super) fn is_narrow(&self) -> bool {
        let widest = (0..3).map(|a| self.high[a].abs_diff(self.low[a])).max().unwrap_or(0);
        u64::from(widest) + 2 * u64::from(self.reach().unsigned_abs()) < 1 << 24
    }
}

/// Points around a region in structure-of-arrays form, relative to its lower corner.
#[derive(Debug, Default)]
pub(super) struct Near<R> {
    origin: [i32; 3],
    len: usize,
    axes: [Vec<R>; 3],
    /// Positions in the order.
    at: Vec<u32>,
    /// Boxes around each eight of them: smallest and largest coordinates, axis by axis.
    low: [Vec<R>; 3],
    high: [Vec<R>; 3],
    /// Which eights may hold members of the last query.
    chosen: Vec<u32>,
    /// Which points are picked for it, in the end its members.
    picked: Vec<u32>,
    /// Their squared distances, and infinity in the lanes behind them.
    picked_dist: Vec<R>,
    /// Some of those distances.
    some: Vec<R>,
    /// Squared distance, index and number of candidates, packed: one comparison each.
    keys: Vec<u128>,
    /// Squared distance and number among those picked, where that fits: half as long to sort.
    short_keys: Vec<u64>,
    /// The members picked, sorted.
    in_order: Vec<u32>,
    /// Coordinates of the members.
    members: [Vec<R>; 3],
}

impl<R: Real> Near<R> {
    /// Gathers the points within the region's reach of its box; of a block at one place no more than `k`. Gives up at
    /// more than `most`.
    #[inline(always)]
    pub(super) fn gather<S: Simd>(
        &mut self,
        simd: S,
        order: &Order,
        (boxes, walk): (&Boxes, &mut Walk),
        region: &Region,
        k: Option<usize>,
        most: usize,
    ) -> bool {
        let reach = region.reach();
        let low = region.low.map(|v| v.saturating_sub(reach));
        let high = region.high.map(|v| v.saturating_add(reach));
        let within = R::of_f64(region.reach_sq as f64 * (1.0 + 4.0 * R::SLACK));
        self.origin = region.low;
        self.len = 0;
        let size: [R; 3] = std::array::from_fn(|a| R::of(region.high[a].wrapping_sub(region.low[a])));
        let mut row = 0..0;
        boxes.each_meeting(
            simd,
            walk,
            low,
            high,
            #[inline(always)]
            |block| {
                let mut block = order.block(block);
                if block.len() > BLOCK {
                    block.end = block.start + k.map_or(block.len(), |k| block.len().min(k));
                }
                if block.start == row.end {
                    row.end = block.end;
                    return true;
                }
                let row = std::mem::replace(&mut row, block);
                self.add(simd, order, row, size, within);
                self.len <= most
            },
        );
        self.add(simd, order, row, size, within);
        let padded = self.padded();
        for axis in &mut self.axes {
            axis[self.len..padded].fill(R::INFINITY);
        }
        self.box_eights(simd);
        self.len <= most
    }

    /// Boxes the eights. One with room left reaches to infinity, and those that fill up the last eight boxes lie there.
    #[inline(always)]
    fn box_eights<S: Simd>(&mut self, simd: S) {
        let eights = self.padded() / LANES;
        let room = eights.next_multiple_of(LANES);
        for (axis, (low, high)) in self.axes.iter().zip(self.low.iter_mut().zip(&mut self.high)) {
            low.resize(room, R::INFINITY);
            high.resize(room, R::INFINITY);
            let axis = axis[..eights * LANES].as_chunks::<LANES>().0;
            for ((low, high), eight) in low.iter_mut().zip(&mut *high).zip(axis) {
                let eight = R::Lanes::load_array_ref(simd, eight);
                (*low, *high) = (eight.reduce_min(), eight.reduce_max());
            }
            low[eights..].fill(R::INFINITY);
        }
        self.chosen.resize(room + LANES, 0);
    }

    /// Chooses the eights whose boxes come within a squared distance of a query; how many they are.
    #[inline(always)]
    fn choose<S: Simd>(&mut self, simd: S, query: [R; 3], within: R) -> usize {
        let [low_x, low_y, low_z] = &self.low;
        let [high_x, high_y, high_z] = &self.high;
        let within = R::Lanes::splat(simd, within);
        let mut numbers = numbers_from(simd, 0);
        let mut count = 0;
        let low = low_x.as_chunks::<LANES>().0.iter().zip(low_y.as_chunks().0).zip(low_z.as_chunks().0);
        let high = high_x.as_chunks::<LANES>().0.iter().zip(high_y.as_chunks().0).zip(high_z.as_chunks().0);
        for (low, high) in low.zip(high) {
            let x = gap(simd, query[0], low.0.0, high.0.0);
            let y = gap(simd, query[1], low.0.1, high.0.1);
            let z = gap(simd, query[2], low.1, high.1);
            // Rounded as distances of points are: none in a box passes for nearer than the box.
            let which = (x * x + y * y + z * z).simd_le(within);
            R::numbers(numbers, which).store_slice(&mut self.chosen[count..count + LANES]);
            numbers += u32x8::splat(simd, LANES as u32);
            count += which.to_bitmask().count_ones() as usize;
        }
        count
    }

    #[inline(always)]
    fn padded(&self) -> usize {
        self.len.next_multiple_of(LANES)
    }

    /// Adds those of a row of points that lie within reach of the box.
    #[inline(always)]
    fn add<S: Simd>(&mut self, simd: S, order: &Order, row: std::ops::Range<usize>, size: [R; 3], within: R) {
        let (len, added) = (self.len, row.len());
        let room = len + added + 2 * LANES;
        if self.at.len() < room {
            let room = room.max(2 * self.at.len());
            let of_reals = self.axes.iter_mut().chain([&mut self.picked_dist]);
            of_reals.for_each(|reals| reals.resize(room, R::ZERO));
            self.at.resize(room, 0);
            self.picked.resize(room, 0);
        }
        // Whole lanes: what lies behind the row is computed with it and not kept.
        let lanes = added.next_multiple_of(LANES);
        let from =
            order.axes().each_ref().map(|axis| axis[row.start..row.start + lanes].as_chunks::<LANES>().0);
        let zero = R::Lanes::splat(simd, R::ZERO);
        let origin = self.origin.map(|v| i32x8::splat(simd, v));
        let size = size.map(|v| R::Lanes::splat(simd, v));
        let within = R::Lanes::splat(simd, within);
        let mut kept = len;
        let [x, y, z] = from;
        for (first, from) in (0..).step_by(LANES).zip(x.iter().zip(y).zip(z)) {
            let from = [from.0.0, from.0.1, from.1];
            let mut local = [zero; 3];
            let mut dist = zero;
            for a in 0..3 {
                // Differences of two coordinates of a lattice fit.
                local[a] = R::of_lanes(i32x8::load_array_ref(simd, from[a]) - origin[a]);
                let gap = (zero - local[a]).max(local[a] - size[a]).max(zero);
                dist += gap * gap;
            }
            let which = dist.simd_le(within);
            let own = u64::MAX >> (u64::BITS as usize - (added - first).min(LANES));
            let bits = which.to_bitmask() & own;
            // What is kept of the row comes first, and what lies behind it is written over.
            for (axis, local) in self.axes.iter_mut().zip(local) {
                local.compress(which).store_slice(&mut axis[kept..kept + LANES]);
            }
            let numbers = numbers_from(simd, (row.start + first) as u32);
            R::numbers(numbers, which).store_slice(&mut self.at[kept..kept + LANES]);
            kept += bits.count_ones() as usize;
        }
        self.len = kept;
    }

    #[inline(always)]
    fn local(&self, place: [i32; 3]) -> [R; 3] {
        std::array::from_fn(|a| R::of(place[a].wrapping_sub(self.origin[a])))
    }

    /// Picks the candidates within a threshold, of the eights chosen: how many they are, and how many of them are within
    /// another.
    #[inline(always)]
    fn pick<S: Simd>(&mut self, simd: S, query: [R; 3], chosen: usize, within: R, sure: R) -> (usize, usize) {
        let padded = self.padded();
        let [x, y, z] = &self.axes;
        let (x, y, z) = (&x[..padded], &y[..padded], &z[..padded]);
        let (x, y, z) = (x.as_chunks::<LANES>().0, y.as_chunks::<LANES>().0, z.as_chunks::<LANES>().0);
        // As long as each other, so that one look tells that there is room in both.
        let room = padded + LANES;
        let (picked, picked_dist) = (&mut self.picked[..room], &mut self.picked_dist[..room]);
        let query = query.map(|v| R::Lanes::splat(simd, v));
        let (within, sure) = (R::Lanes::splat(simd, within), R::Lanes::splat(simd, sure));
        let (mut count, mut count_sure) = (0, 0);
        for &eight in &self.chosen[..chosen] {
            let at = eight as usize;
            let x = R::Lanes::load_array_ref(simd, &x[at]) - query[0];
            let y = R::Lanes::load_array_ref(simd, &y[at]) - query[1];
            let z = R::Lanes::load_array_ref(simd, &z[at]) - query[2];
            let dist = x * x + y * y + z * z;
            let which = dist.simd_le(within);
            let end = count + LANES;
            let numbers = numbers_from(simd, eight * LANES as u32);
            R::numbers(numbers, which).store_slice(&mut picked[count..end]);
            dist.compress(which).store_slice(&mut picked_dist[count..end]);
            count += which.to_bitmask().count_ones() as usize;
            count_sure += dist.simd_le(sure).to_bitmask().count_ones() as usize;
        }
        picked_dist[count..count + LANES].fill(R::INFINITY);
        (count, count_sure)
    }

    /// Keeps those of the picked that are within a threshold.
    #[inline(always)]
    fn keep<S: Simd>(&mut self, simd: S, count: usize, within: R) -> usize {
        let within = R::Lanes::splat(simd, within);
        let mut kept = 0;
        for first in (0..count).step_by(LANES) {
            let dist = R::Lanes::from_slice(simd, &self.picked_dist[first..first + LANES]);
            let numbers = u32x8::from_slice(simd, &self.picked[first..first + LANES]);
            let which = dist.simd_le(within);
            // What is written was read before.
            R::numbers(numbers, which).store_slice(&mut self.picked[kept..kept + LANES]);
            dist.compress(which).store_slice(&mut self.picked_dist[kept..kept + LANES]);
            kept += which.to_bitmask().count_ones() as usize;
        }
        kept
    }

    /// Picks the members around a place, of which all points within `reach_sq` are gathered: how many there are, and the
    /// threshold that told them from others. `None` if more has to be gathered to be sure. `guess` is a threshold to begin
    /// with. For who sorts them anyway, some may be picked that are as far as the last member.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "one call, all of it state of the search")]
    pub(super) fn select<S: Simd>(
        &mut self,
        simd: S,
        order: &Order,
        place: [i32; 3],
        wanted: Wanted,
        reach_sq: u64,
        guess: f64,
        sorted_later: bool,
    ) -> Option<(usize, f64)> {
        let query = self.local(place);
        // Where all points within the limit are gathered, fewer than k may be all there are.
        let complete = wanted.limit <= reach_sq;
        let cap = wanted.limit.min(reach_sq);
        let most = match cap < R::EXACT {
            true => R::of_f64(cap as f64),
            false if complete => R::of_f64(cap as f64 * (1.0 + R::SLACK)),
            false => R::of_f64(cap as f64 * (1.0 - R::SLACK)),
        };
        if wanted.k.is_none() && !complete {
            return None;
        }
        let is_exact = |threshold: R| threshold.to_f64() < R::EXACT as f64;
        let mut reach = R::of_f64(guess * REACH);
        let sure = R::of_f64(guess * SURE);
        let (mut threshold, mut count) = loop {
            let whole = wanted.k.is_none() || reach >= most;
            reach = if whole { most } else { reach };
            // Thresholds beyond exact distances are widened below.
            let slack = if is_exact(reach) { 0.0 } else { 8.0 * R::SLACK };
            let widest = R::of_f64(reach.to_f64() * (1.0 + slack));
            let chosen = self.choose(simd, query, widest);
            let (count, count_sure) = self.pick(simd, query, chosen, widest, sure);
            let Some(k) = wanted.k else { break (most, count) };
            match self.kth(simd, k, (widest, count), (sure, count_sure)) {
                Some(kth) if kth <= reach => break (kth, count),
                _ if !whole => reach = most,
                _ if complete => break (most, count),
                _ => return None,
            }
        };
        let is_exact = is_exact(threshold);
        if !is_exact {
            let wider = threshold.to_f64() * (1.0 + R::SLACK);
            let reaches_limit = complete && wider * (1.0 + 2.0 * R::SLACK) > cap as f64;
            threshold = if reaches_limit { most } else { R::of_f64(wider) };
        }
        if wanted.k.is_some() || !is_exact {
            count = self.keep(simd, count, threshold);
        }
        let k = wanted.k.unwrap_or(usize::MAX);
        let is_for_sorting = sorted_later && count <= k.saturating_mul(2);
        if !is_for_sorting && (!is_exact || count > k) {
            count = self.cut(order, place, count, k, wanted.limit);
        }
        Some((count, threshold.to_f64()))
    }

    /// The k-th of the squared distances picked. `most` and `sure` are thresholds with how many they hold: all that are
    /// picked, and perhaps fewer than k.
    #[inline(always)]
    fn kth<S: Simd>(&mut self, simd: S, k: usize, most: (R, usize), sure: (R, usize)) -> Option<R> {
        let count = most.1;
        if count < k || k == 0 {
            return None;
        }
        let dist = self.picked_dist[..count.next_multiple_of(LANES)].as_chunks::<LANES>().0;
        // The k-th lies above the first and not above the second.
        let nothing = (R::of_f64(-1.0), 0);
        let [mut below, mut above] = if sure.1 < k { [sure, most] } else { [nothing, sure] };
        for _ in 0..ROUNDS {
            if above.1 - below.1 <= RANKED {
                return Some(self.ranked(simd, count, below.0, above, k - below.1));
            }
            // On a surface as many points lie within as the squared distance is large.
            let aim = if above.1 > k + RANKED / 2 { k + RANKED / 3 } else { k.saturating_sub(RANKED / 3) };
            let part = (aim as f64 - below.1 as f64) / (above.1 - below.1) as f64;
            let (low, high) = (below.0.to_f64().max(0.0), above.0.to_f64());
            let between = R::of_f64(low + (high - low) * part);
            let lanes = R::Lanes::splat(simd, between);
            let within = dist.iter().map(
                #[inline(always)]
                |dist| R::Lanes::load_array_ref(simd, dist).simd_le(lanes).to_bitmask().count_ones(),
            );
            let held = within.sum::<u32>() as usize;
            *(if held < k { &mut below } else { &mut above }) = (between, held);
        }
        Some(self.kth_of_many(count, k))
    }

    /// The number `rank`, from one on, of the squared distances above one threshold and not above another, which are few.
    #[inline(always)]
    fn ranked<S: Simd>(&self, simd: S, count: usize, below: R, above: (R, usize), rank: usize) -> R {
        let (low, high) = (R::Lanes::splat(simd, below), R::Lanes::splat(simd, above.0));
        let mut few = [R::INFINITY; RANKED + LANES];
        let mut len = 0;
        for dist in self.picked_dist[..count.next_multiple_of(LANES)].as_chunks::<LANES>().0 {
            let dist = R::Lanes::load_array_ref(simd, dist);
            let which = dist.simd_gt(low) & dist.simd_le(high);
            dist.compress(which).store_slice(&mut few[len..len + LANES]);
            len += which.to_bitmask().count_ones() as usize;
        }
        few[len..len + LANES].fill(R::INFINITY);
        match len.div_ceil(LANES) {
            0 | 1 => rank_among::<R, S, 1>(simd, &few, rank),
            2 => rank_among::<R, S, 2>(simd, &few, rank),
            _ => rank_among::<R, S, 3>(simd, &few, rank),
        }
    }

    /// The k-th of the squared distances picked, whatever they are.
    #[cold]
    fn kth_of_many(&mut self, count: usize, k: usize) -> R {
        self.some.clear();
        self.some.extend_from_slice(&self.picked_dist[..count]);
        let ascending = |a: &R, b: &R| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal);
        *self.some.select_nth_unstable_by(k - 1, ascending).1
    }

    /// Index in the cloud of a candidate.
    #[inline(always)]
    fn index(&self, order: &Order, candidate: usize) -> u32 {
        order.points()[self.at[candidate] as usize]
    }

    /// Cuts the members picked by exact squared distance and index.
    fn cut(&mut self, order: &Order, place: [i32; 3], count: usize, k: usize, limit: u64) -> usize {
        self.exact_keys(order, place, count);
        self.keys.retain(|key| (key >> 64) as u64 <= limit);
        if self.keys.len() > k && k > 0 {
            self.keys.select_nth_unstable(k - 1);
            self.keys.truncate(k);
        }
        let query = self.local(place);
        for (at, key) in self.keys.iter().enumerate() {
            let candidate = *key as u32 as usize;
            self.picked[at] = candidate as u32;
            let [x, y, z] = [0, 1, 2].map(|a| self.axes[a][candidate] - query[a]);
            self.picked_dist[at] = x * x + y * y + z * z;
        }
        self.keys.len()
    }

    /// Squared distance, index and number of the first `count` candidates picked.
    fn exact_keys(&mut self, order: &Order, place: [i32; 3], count: usize) {
        let local = self.local(place);
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        keys.extend(self.picked[..count].iter().map(|&candidate| {
            let dist_sq: u64 = self.offset(local, candidate).map(|v| v.unsigned_abs().pow(2)).iter().sum();
            let index = self.index(order, candidate as usize);
            u128::from(dist_sq) << 64 | u128::from(index) << 32 | u128::from(candidate)
        }));
        self.keys = keys;
    }

    #[inline(always)]
    fn offset(&self, local: [R; 3], candidate: u32) -> [i64; 3] {
        let i = candidate as usize;
        std::array::from_fn(|a| (self.axes[a][i] - local[a]).to_i64())
    }

    /// Coordinates of the members picked, in whole lanes that are filled up with the query's own, and those.
    #[inline(always)]
    pub(super) fn coordinates(&mut self, place: [i32; 3], count: usize) -> ([&[[R; LANES]]; 3], [R; 3]) {
        let query = self.local(place);
        let [x, y, z] = &self.axes;
        // As long as each other: one look tells that a candidate is there on all axes.
        let (x, y, z) = (&x[..self.len], &y[..self.len], &z[..self.len]);
        let room = count.next_multiple_of(LANES);
        for (axis, own) in self.members.iter_mut().zip(query) {
            if axis.len() < room {
                axis.resize(room, own);
            }
            axis[room.saturating_sub(LANES)..room].fill(own);
        }
        let [to_x, to_y, to_z] = &mut self.members;
        let to = to_x[..count].iter_mut().zip(&mut to_y[..count]).zip(&mut to_z[..count]);
        for (((to_x, to_y), to_z), &candidate) in to.zip(&self.picked[..count]) {
            let i = candidate as usize;
            (*to_x, *to_y, *to_z) = (x[i], y[i], z[i]);
        }
        (self.members.each_ref().map(|axis| axis[..room].as_chunks::<LANES>().0), query)
    }

    /// Offsets of the members picked from the query, axis by axis.
    #[inline(always)]
    pub(super) fn offsets(&self, place: [i32; 3], count: usize, out: &mut [Vec<f64>; 3]) {
        self.offsets_of(place, &self.picked[..count], out);
    }

    #[inline(always)]
    fn offsets_of(&self, place: [i32; 3], picked: &[u32], out: &mut [Vec<f64>; 3]) {
        let [query_x, query_y, query_z] = self.local(place);
        let [x, y, z] = &self.axes;
        // As long as each other: one look tells that a candidate is there on all axes.
        let (x, y, z) = (&x[..self.len], &y[..self.len], &z[..self.len]);
        let [out_x, out_y, out_z] = out;
        out_x.resize(picked.len(), 0.0);
        out_y.resize(picked.len(), 0.0);
        out_z.resize(picked.len(), 0.0);
        let out = out_x.iter_mut().zip(out_y).zip(out_z);
        for (((out_x, out_y), out_z), &candidate) in out.zip(picked) {
            let i = candidate as usize;
            *out_x = (x[i] - query_x).to_f64();
            *out_y = (y[i] - query_y).to_f64();
            *out_z = (z[i] - query_z).to_f64();
        }
    }

    /// Indices in the cloud of the members picked, in any order.
    pub(super) fn members(&self, order: &Order, count: usize, found: &mut Vec<u32>) {
        found.clear();
        found.extend(self.picked[..count].iter().map(|&candidate| self.index(order, candidate as usize)));
    }

    /// The members among those picked, as (squared distance, index) if that is asked for, and their offsets from the query:
    /// in that order.
    pub(super) fn sorted(
        &mut self,
        order: &Order,
        place: [i32; 3],
        picked: (usize, f64),
        wanted: Wanted,
        found: Option<&mut Vec<(u64, u32)>>,
        offsets: &mut [Vec<f64>; 3],
    ) {
        let k = wanted.k.unwrap_or(usize::MAX);
        if self.sort_short_keys(order, place, picked) {
            let within = self.short_keys.partition_point(|key| key >> PICKED_BITS <= wanted.limit);
            self.short_keys.truncate(within.min(k));
            // Short keys are gone through once more, so that those picked can change places.
            let at = |key: &u64| self.picked[(key & MOST_PICKED) as usize];
            self.in_order.clear();
            self.in_order.extend(self.short_keys.iter().map(at));
            self.offsets_of(place, &self.in_order, offsets);
            if let Some(found) = found {
                let keys = self.short_keys.iter().zip(&self.in_order);
                found.clear();
                found.extend(keys.map(|(key, &at)| (key >> PICKED_BITS, self.index(order, at as usize))));
            }
            return;
        }
        self.exact_keys(order, place, picked.0);
        self.keys.sort_unstable();
        let within = self.keys.partition_point(|key| (key >> 64) as u64 <= wanted.limit);
        self.keys.truncate(within.min(k));
        self.in_order.clear();
        self.in_order.extend(self.keys.iter().map(|key| *key as u32));
        self.offsets_of(place, &self.in_order, offsets);
        if let Some(found) = found {
            found.clear();
            found.extend(self.keys.iter().map(|key| ((key >> 64) as u64, (key >> 32) as u32)));
        }
    }

    /// Sorts the members picked by (squared distance, index), unless they are too many or too far for short keys.
    fn sort_short_keys(&mut self, order: &Order, place: [i32; 3], (count, threshold): (usize, f64)) -> bool {
        if count as u64 > MOST_PICKED || threshold * (1.0 + R::SLACK) >= SHORT {
            return false;
        }
        let local = self.local(place);
        let mut keys = std::mem::take(&mut self.short_keys);
        let key = |at: usize, dist_sq: i64| (dist_sq << PICKED_BITS) as u64 | at as u64;
        let picked = self.picked[..count].iter().map(|&candidate| candidate as usize).enumerate();
        keys.clear();
        match threshold < R::EXACT as f64 {
            true => keys.extend(picked.map(|(at, _)| key(at, self.picked_dist[at].to_i64()))),
            false => keys.extend(picked.map(|(at, i)| {
                let squares = [0, 1, 2].map(|a| (self.axes[a][i] - local[a]).to_i64().pow(2));
                key(at, squares[0] + squares[1] + squares[2])
            })),
        }
        keys.sort_unstable();
        let tied = |a: &u64, b: &u64| a >> PICKED_BITS == b >> PICKED_BITS;
        if keys.windows(2).any(|pair| tied(&pair[0], &pair[1])) {
            let index = |key: &u64| self.index(order, self.picked[(key & MOST_PICKED) as usize] as usize);
            keys.chunk_by_mut(tied).for_each(|tied| tied.sort_unstable_by_key(index));
        }
        self.short_keys = keys;
        true
    }

    /// A squared distance within which k candidates lie around a place, if there are so many.
    #[inline(always)]
    pub(super) fn holds<S: Simd>(&mut self, simd: S, place: [i32; 3], k: usize) -> Option<u64> {
        if self.len < k || k == 0 {
            return None;
        }
        let query = self.local(place);
        let chosen = self.choose(simd, query, R::LARGEST);
        let (count, _) = self.pick(simd, query, chosen, R::LARGEST, R::ZERO);
        let kth = self.kth_of_many(count, k).to_f64();
        Some((kth * (1.0 + 4.0 * R::SLACK)) as u64 + 1)
    }
}

/// The number `rank`, from one on, of a few numbers, infinity where there is none: the largest that fewer than so many are less
/// than. Each is held against each, which takes no branches.
#[inline(always)]
fn rank_among<R: Real, S: Simd, const EIGHTS: usize>(simd: S, few: &[R; RANKED + LANES], rank: usize) -> R {
    let one = R::Lanes::splat(simd, R::of(1));
    let zero = R::Lanes::splat(simd, R::ZERO);
    let eights = few.as_chunks::<LANES>().0;
    let mut less = [zero; EIGHTS];
    for &v in &few[..EIGHTS * LANES] {
        let v = R::Lanes::splat(simd, v);
        for (less, eight) in less.iter_mut().zip(eights) {
            *less += v.simd_lt(R::Lanes::load_array_ref(simd, eight)).select(one, zero);
        }
    }
    let rank = R::Lanes::splat(simd, R::of(rank as i32));
    let mut largest = zero;
    for (less, eight) in less.iter().zip(eights) {
        let eight = R::Lanes::load_array_ref(simd, eight);
        largest = largest.max(less.simd_lt(rank).select(eight, zero));
    }
    largest.reduce_max()
}
