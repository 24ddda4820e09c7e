//! Points near a block of queries, copied side by side, and the choice of each query's members among them.

use fearless_simd::{Simd, f32x8, f64x8, i32x8, i64x8, mask32x8, prelude::*, u32x8};

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
    /// Squared distances of the points of some eights from a query; how many are at most `within`.
    fn measure<S: Simd>(
        simd: S,
        points: [&[[Self; LANES]]; 3],
        eights: &[u32],
        query: [Self; 3],
        within: Self,
        dist: &mut [[Self; LANES]],
    ) -> usize;
    /// How many distances are at most `within`.
    fn count<S: Simd>(simd: S, dist: &[[Self; LANES]], within: Self) -> usize;
    /// The numbers of the lanes that a mask holds, moved to the front.
    fn numbers<S: Simd>(numbers: u32x8<S>, which: Mask<Self, S>) -> u32x8<S>;
}

/// Some of eight lanes.
type Mask<R, S> = <<R as Real>::Lanes<S> as SimdBase<S>>::Mask;

macro_rules! real {
    ($float:ty, $lanes:ident, $whole:ident, $exact:expr, $slack:expr, $of_lanes:expr, $numbers:expr) => {
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
            fn measure<S: Simd>(
                simd: S,
                [x, y, z]: [&[[Self; LANES]]; 3],
                eights: &[u32],
                query: [Self; 3],
                within: Self,
                dist: &mut [[Self; LANES]],
            ) -> usize {
                let (query_x, query_y, query_z) = (
                    $lanes::splat(simd, query[0]),
                    $lanes::splat(simd, query[1]),
                    $lanes::splat(simd, query[2]),
                );
                let within = $lanes::splat(simd, within);
                let mut negated = $whole::splat(simd, 0);
                for (dist, &eight) in dist.iter_mut().zip(eights) {
                    let eight = eight as usize;
                    let x = $lanes::load_array_ref(simd, &x[eight]) - query_x;
                    let y = $lanes::load_array_ref(simd, &y[eight]) - query_y;
                    let z = $lanes::load_array_ref(simd, &z[eight]) - query_z;
                    let dist_sq = x * x + y * y + z * z;
                    dist_sq.store_array(dist);
                    negated += dist_sq.simd_le(within).to_vector();
                }
                -i64::from(negated.reduce_sum()) as usize
            }
            #[inline(always)]
            fn count<S: Simd>(simd: S, dist: &[[Self; LANES]], within: Self) -> usize {
                let within = $lanes::splat(simd, within);
                let mut negated = $whole::splat(simd, 0);
                for dist in dist {
                    // A lane of a mask is -1 or 0.
                    negated += $lanes::load_array_ref(simd, dist).simd_le(within).to_vector();
                }
                -i64::from(negated.reduce_sum()) as usize
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

real!(f32, f32x8, i32x8, 1 << 24, 1.0 / (1u64 << 18) as f64, i32x8::to_float, u32x8::compress);
real!(f64, f64x8, i64x8, 1 << 53, 1.0 / (1u64 << 40) as f64, wide_of_lanes, wide_numbers);

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

/// How much farther than the last query's threshold members are first looked for, squared: eights beyond are left out.
const REACH: f64 = 1.6;

/// Rounds of looking for a threshold that holds few more than k.
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
    /// Which eights may hold members of the last query, and its squared distances to the points of those.
    chosen: Vec<u32>,
    dist: Vec<R>,
    /// Which points are the last query's members.
    picked: Vec<u32>,
    /// Their squared distances.
    picked_dist: Vec<R>,
    /// Squared distance, index and number of candidates, packed: one comparison each.
    keys: Vec<u128>,
    /// Squared distance and number among those picked, where that fits: half as long to sort.
    short_keys: Vec<u64>,
    /// The members picked, sorted.
    in_order: Vec<u32>,
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
            let of_reals = self.axes.iter_mut().chain([&mut self.dist, &mut self.picked_dist]);
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

    /// Measures the squared distances to the points of the eights chosen; how many are within a threshold.
    #[inline(always)]
    fn measure<S: Simd>(&mut self, simd: S, query: [R; 3], chosen: usize, within: R) -> usize {
        let padded = self.padded();
        let [x, y, z] = &self.axes;
        let axes = [
            x[..padded].as_chunks::<LANES>().0,
            y[..padded].as_chunks::<LANES>().0,
            z[..padded].as_chunks::<LANES>().0,
        ];
        let dist = self.dist[..chosen * LANES].as_chunks_mut::<LANES>().0;
        R::measure(simd, axes, &self.chosen[..chosen], query, within, dist)
    }

    /// Takes the candidates within a threshold, of the eights chosen.
    #[inline(always)]
    fn pick<S: Simd>(&mut self, simd: S, chosen: usize, within: R) -> usize {
        let dist = self.dist[..chosen * LANES].as_chunks::<LANES>().0;
        // As long as each other, so that one look tells that there is room in both.
        let room = self.padded() + LANES;
        let picked = &mut self.picked[..room];
        let picked_dist = &mut self.picked_dist[..room];
        let within = R::Lanes::splat(simd, within);
        let mut count = 0;
        for (dist, &eight) in dist.iter().zip(&self.chosen) {
            let dist = R::Lanes::load_array_ref(simd, dist);
            let which = dist.simd_le(within);
            let end = count + LANES;
            let numbers = numbers_from(simd, eight * LANES as u32);
            R::numbers(numbers, which).store_slice(&mut picked[count..end]);
            dist.compress(which).store_slice(&mut picked_dist[count..end]);
            count += which.to_bitmask().count_ones() as usize;
        }
        count
    }

    /// Picks the members around a place, of which all points within `reach_sq` are gathered: how many there are, and the
    /// threshold that told them from others. `None` if more has to be gathered to be sure. `guess` is a threshold to begin
    /// with. For who sorts them anyway, some may be picked that are beyond the last member.
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
        let first = R::of_f64(guess.min(most.to_f64()));
        let mut reach = R::of_f64(guess * REACH);
        let (mut threshold, chosen) = loop {
            let whole = wanted.k.is_none() || reach >= most;
            reach = if whole { most } else { reach };
            // Thresholds beyond exact distances are widened below.
            let widest = R::of_f64(reach.to_f64() * (1.0 + 8.0 * R::SLACK));
            let chosen = self.choose(simd, query, widest);
            let counted = self.measure(simd, query, chosen, first);
            let Some(k) = wanted.k else { break (most, chosen) };
            match self.threshold(simd, k, chosen, reach, (first, counted)) {
                Some(threshold) => break (threshold, chosen),
                None if !whole => reach = most,
                None if complete => break (most, chosen),
                None => return None,
            }
        };
        let is_exact = threshold.to_f64() < R::EXACT as f64;
        if !is_exact {
            let wider = threshold.to_f64() * (1.0 + R::SLACK);
            let reaches_limit = complete && wider * (1.0 + 2.0 * R::SLACK) > cap as f64;
            threshold = if reaches_limit { most } else { R::of_f64(wider) };
        }
        let mut count = self.pick(simd, chosen, threshold);
        let k = wanted.k.unwrap_or(usize::MAX);
        if sorted_later && count <= k.saturating_mul(2) {
            return Some((count, threshold.to_f64()));
        }
        if is_exact && count > k && count - k <= 4 {
            while count > k {
                self.drop_last(simd, order, count);
                count -= 1;
            }
        } else if !is_exact || count > k {
            count = self.cut(order, place, count, k, wanted.limit);
        }
        Some((count, threshold.to_f64()))
    }

    /// A threshold that holds k candidates and few more, if `most` does. `first` is one to begin with, and how many it holds.
    #[inline(always)]
    fn threshold<S: Simd>(&self, simd: S, k: usize, chosen: usize, most: R, first: (R, usize)) -> Option<R> {
        let dist = self.dist[..chosen * LANES].as_chunks::<LANES>().0;
        let spare = k / 8 + 1;
        let aim = k as f64 + 0.5 * spare as f64;
        let (mut at, mut count) = first;
        let mut below = (0.0, 0.0);
        let mut above: Option<(f64, f64)> = None;
        for _ in 0..ROUNDS {
            let (t, c) = (at.to_f64(), count as f64);
            if count >= k {
                if count <= k + spare {
                    return Some(at);
                }
                above = Some((t, c));
            } else if at >= most {
                return None;
            } else {
                below = (t, c);
            }
            // On a surface as many points lie within as the squared distance is large.
            let next = match above {
                Some((high, many)) => below.0 + (high - below.0) * ((aim - below.1) / (many - below.1)),
                None => (t * (aim / c.max(1.0)).min(4.0) * 1.05).max(1.0),
            };
            let next = R::of_f64(next);
            at = if next < most { next } else { most };
            count = R::count(simd, dist, at);
        }
        match above {
            Some((high, _)) => Some(R::of_f64(high)),
            None => (R::count(simd, dist, most) >= k).then_some(most),
        }
    }

    /// Drops the last of the members picked, by (squared distance, index).
    #[inline(always)]
    fn drop_last<S: Simd>(&mut self, simd: S, order: &Order, count: usize) {
        // Behind those picked there is room for whole lanes. What is there is not beyond the farthest.
        self.picked_dist[count..count + LANES].fill(R::ZERO);
        let dist = self.picked_dist[..count.next_multiple_of(LANES)].as_chunks::<LANES>().0;
        let mut farthest = R::Lanes::splat(simd, R::ZERO);
        for dist in dist {
            farthest = farthest.max(R::Lanes::load_array_ref(simd, dist));
        }
        let farthest = farthest.reduce_max();
        let mut last = 0;
        let mut ties = 0;
        for (dist, first) in dist.iter().zip((0..).step_by(LANES)) {
            let bits = R::Lanes::load_array_ref(simd, dist).simd_ge(farthest).to_bitmask();
            if bits != 0 {
                last = first + bits.trailing_zeros() as usize;
                ties += bits.count_ones();
            }
        }
        if ties > 1 {
            let tied = (0..count).filter(|&i| self.picked_dist[i] == farthest);
            let index = |i: &usize| self.index(order, self.picked[*i] as usize);
            last = tied.max_by_key(index).unwrap_or(last);
        }
        self.picked.swap(last, count - 1);
        self.picked_dist.swap(last, count - 1);
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
        // All eights, in their order.
        let chosen = self.choose(simd, query, R::LARGEST);
        self.measure(simd, query, chosen, R::ZERO);
        let mut dist: Vec<f64> = self.dist[..self.len].iter().map(|d| d.to_f64()).collect();
        let (_, kth, _) = dist.select_nth_unstable_by(k - 1, f64::total_cmp);
        Some((*kth * (1.0 + 4.0 * R::SLACK)) as u64 + 1)
    }
}
