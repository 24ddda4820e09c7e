//! Points near a block of queries, copied side by side, and the choice of each query's members among them.

use wide::{f32x8, f64x8, i32x8, u32x8};

use super::boxes::Boxes;
use super::order::{BLOCK, Order};

/// f32 where the points gathered lie within 2^24 quanta of each other, else f64: both hold their offsets exactly.
pub(super) trait Real:
    Copy
    + PartialOrd
    + Send
    + std::ops::Sub<Output = Self>
    + std::ops::Add<Output = Self>
    + std::ops::Mul<Output = Self>
    + 'static
{
    const ZERO: Self;
    const INFINITY: Self;
    /// Squared distances below this are exact, and no larger one passes for less: every term and sum rounds monotonically.
    const EXACT: u64;
    /// More than any squared distance beyond that is off, relatively: five roundings of 2^-24, or 2^-53.
    const SLACK: f64;
    fn of(v: i32) -> Self;
    fn of_f64(v: f64) -> Self;
    fn to_f64(self) -> f64;
    fn to_i64(self) -> i64;
    /// Eight side by side.
    type Lanes: Copy
        + std::ops::Sub<Output = Self::Lanes>
        + std::ops::Add<Output = Self::Lanes>
        + std::ops::Mul<Output = Self::Lanes>;
    fn splat(self) -> Self::Lanes;
    fn lanes(values: &[Self; LANES]) -> Self::Lanes;
    fn of_lanes(values: i32x8) -> Self::Lanes;
    fn array(lanes: Self::Lanes) -> [Self; LANES];
    fn larger(one: Self::Lanes, other: Self::Lanes) -> Self::Lanes;
    /// 1 where `dist` is at most `within`, else 0.
    fn counts(dist: Self::Lanes, within: Self::Lanes) -> Self::Lanes;
    /// The same as bits.
    fn bits(dist: Self::Lanes, within: Self::Lanes) -> usize;
}

macro_rules! real {
    ($float:ty, $lanes:ty, $exact:expr, $slack:expr) => {
        impl Real for $float {
            const ZERO: Self = 0.0;
            const INFINITY: Self = <$float>::INFINITY;
            const EXACT: u64 = $exact;
            const SLACK: f64 = $slack;
            type Lanes = $lanes;
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
            fn splat(self) -> $lanes {
                <$lanes>::splat(self)
            }
            #[inline(always)]
            fn lanes(values: &[Self; LANES]) -> $lanes {
                <$lanes>::new(*values)
            }
            #[inline(always)]
            fn of_lanes(values: i32x8) -> $lanes {
                <$lanes>::from_i32x8(values)
            }
            #[inline(always)]
            fn array(lanes: $lanes) -> [Self; LANES] {
                lanes.to_array()
            }
            #[inline(always)]
            fn larger(one: $lanes, other: $lanes) -> $lanes {
                one.fast_max(other)
            }
            #[inline(always)]
            fn counts(dist: $lanes, within: $lanes) -> $lanes {
                dist.simd_le(within) & <$lanes>::splat(1.0)
            }
            #[inline(always)]
            fn bits(dist: $lanes, within: $lanes) -> usize {
                dist.simd_le(within).to_bitmask() as usize
            }
        }
    };
}

real!(f32, f32x8, 1 << 24, 1.0 / (1u64 << 18) as f64);
real!(f64, f64x8, 1 << 53, 1.0 / (1u64 << 40) as f64);

/// Candidates that loops take at a time, without a rest.
pub(super) const LANES: usize = 8;

/// For each set of eight lanes, the lanes in it, then any; and how many they are, which takes twelve instructions where
/// there is none for it.
static MEMBERS: [([u32; LANES], usize); 256] = {
    let mut table = [([0; LANES], 0); 256];
    let mut bits = 0;
    while bits < 256 {
        let (mut lane, mut count) = (0, 0);
        while lane < LANES {
            if bits >> lane & 1 == 1 {
                table[bits].0[count] = lane as u32;
                count += 1;
            }
            lane += 1;
        }
        table[bits].1 = count;
        bits += 1;
    }
    table
};

/// Numbers of lanes with a first one's number added to them.
#[inline(always)]
fn numbered(first: u32, lanes: &[u32; LANES]) -> [u32; LANES] {
    (u32x8::splat(first) + u32x8::new(*lanes)).to_array()
}

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
    dist: Vec<R>,
    /// Which of them are the last query's members.
    picked: Vec<u32>,
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
    pub(super) fn gather(
        &mut self,
        order: &Order,
        boxes: &Boxes,
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
                self.add(order, row, size, within);
                self.len <= most
            },
        );
        self.add(order, row, size, within);
        let padded = self.padded();
        for axis in &mut self.axes {
            axis[self.len..padded].fill(R::INFINITY);
        }
        self.len <= most
    }

    #[inline(always)]
    fn padded(&self) -> usize {
        self.len.next_multiple_of(LANES)
    }

    /// Adds those of a row of points that lie within reach of the box.
    #[inline(always)]
    fn add(&mut self, order: &Order, row: std::ops::Range<usize>, size: [R; 3], within: R) {
        let (len, added) = (self.len, row.len());
        let room = len + added + 2 * LANES;
        if self.at.len() < room {
            let room = room.max(2 * self.at.len());
            self.axes.iter_mut().for_each(|axis| axis.resize(room, R::ZERO));
            self.at.resize(room, 0);
            self.dist.resize(room, R::ZERO);
            self.picked.resize(room, 0);
        }
        // Whole lanes: what lies behind the row is computed with it and not kept.
        let lanes = added.next_multiple_of(LANES);
        let from =
            order.axes().each_ref().map(|axis| axis[row.start..row.start + lanes].as_chunks::<LANES>().0);
        let zero = R::ZERO.splat();
        let origin = self.origin.map(i32x8::splat);
        let size = size.map(R::splat);
        let within = within.splat();
        let mut kept = len;
        let [x, y, z] = from;
        for (first, from) in (0..).step_by(LANES).zip(x.iter().zip(y).zip(z)) {
            let from = [from.0.0, from.0.1, from.1];
            let mut local = [zero; 3];
            let mut dist = zero;
            for a in 0..3 {
                // Differences of two coordinates of a lattice fit.
                local[a] = R::of_lanes(i32x8::new(*from[a]) - origin[a]);
                let gap = R::larger(R::larger(zero - local[a], local[a] - size[a]), zero);
                dist = dist + gap * gap;
            }
            let bits =
                R::bits(dist, within) & (usize::MAX >> (usize::BITS as usize - (added - first).min(LANES)));
            if bits == 0 {
                continue;
            }
            let (members, count) = &MEMBERS[bits & 255];
            for (axis, local) in self.axes.iter_mut().zip(local) {
                let local = R::array(local);
                let room = &mut axis[kept..kept + LANES];
                for l in 0..LANES {
                    room[l] = local[members[l] as usize & (LANES - 1)];
                }
            }
            self.at[kept..kept + LANES].copy_from_slice(&numbered((row.start + first) as u32, members));
            kept += count;
        }
        self.len = kept;
    }

    #[inline(always)]
    fn local(&self, place: [i32; 3]) -> [R; 3] {
        std::array::from_fn(|a| R::of(place[a].wrapping_sub(self.origin[a])))
    }

    #[inline(always)]
    fn measure(&mut self, query: [R; 3]) {
        let padded = self.padded();
        let [x, y, z] = self.axes.each_ref().map(|axis| axis[..padded].as_chunks::<LANES>().0);
        let dist = self.dist[..padded].as_chunks_mut::<LANES>().0;
        let query = query.map(R::splat);
        for (((dist, x), y), z) in dist.iter_mut().zip(x).zip(y).zip(z) {
            let (x, y, z) = (R::lanes(x) - query[0], R::lanes(y) - query[1], R::lanes(z) - query[2]);
            *dist = R::array(x * x + y * y + z * z);
        }
    }

    #[inline(always)]
    fn count(&self, within: R) -> usize {
        let within = within.splat();
        let mut counts = R::ZERO.splat();
        for dist in self.dist[..self.padded()].as_chunks::<LANES>().0 {
            counts = counts + R::counts(R::lanes(dist), within);
        }
        R::array(counts).into_iter().map(|count| count.to_i64() as usize).sum()
    }

    /// Lists the candidates within a threshold.
    #[inline(always)]
    fn pick(&mut self, within: R) -> usize {
        let padded = self.padded();
        let within = within.splat();
        let mut count = 0;
        for (dist, first) in self.dist[..padded].as_chunks::<LANES>().0.iter().zip((0u32..).step_by(LANES)) {
            let bits = R::bits(R::lanes(dist), within);
            let (members, more) = &MEMBERS[bits & 255];
            self.picked[count..count + LANES].copy_from_slice(&numbered(first, members));
            count += more;
        }
        count
    }

    /// Picks the members around a place, of which all points within `reach_sq` are gathered: how many there are, and the
    /// threshold that told them from others. `None` if more has to be gathered to be sure. `guess` is a threshold to begin
    /// with. For who sorts them anyway, some may be picked that are beyond the last member.
    #[inline(always)]
    pub(super) fn select(
        &mut self,
        order: &Order,
        place: [i32; 3],
        wanted: Wanted,
        reach_sq: u64,
        guess: f64,
        sorted_later: bool,
    ) -> Option<(usize, f64)> {
        self.measure(self.local(place));
        // Where all points within the limit are gathered, fewer than k may be all there are.
        let complete = wanted.limit <= reach_sq;
        let cap = wanted.limit.min(reach_sq);
        let most = match cap < R::EXACT {
            true => R::of_f64(cap as f64),
            false if complete => R::of_f64(cap as f64 * (1.0 + R::SLACK)),
            false => R::of_f64(cap as f64 * (1.0 - R::SLACK)),
        };
        let mut threshold = match wanted.k {
            Some(k) => match self.threshold(k, most, R::of_f64(guess)) {
                Some(threshold) => threshold,
                None if complete => most,
                None => return None,
            },
            None if complete => most,
            None => return None,
        };
        let is_exact = threshold.to_f64() < R::EXACT as f64;
        if !is_exact {
            let wider = threshold.to_f64() * (1.0 + R::SLACK);
            let reaches_limit = complete && wider * (1.0 + 2.0 * R::SLACK) > cap as f64;
            threshold = if reaches_limit { most } else { R::of_f64(wider) };
        }
        let mut count = self.pick(threshold);
        let k = wanted.k.unwrap_or(usize::MAX);
        if sorted_later && count <= k.saturating_mul(2) {
            return Some((count, threshold.to_f64()));
        }
        if is_exact && count > k && count - k <= 4 {
            while count > k {
                self.drop_last(order, count);
                count -= 1;
            }
        } else if !is_exact || count > k {
            count = self.cut(order, place, count, k, wanted.limit);
        }
        Some((count, threshold.to_f64()))
    }

    /// A threshold that holds k candidates and few more, if `most` does.
    #[inline(always)]
    fn threshold(&self, k: usize, most: R, guess: R) -> Option<R> {
        let spare = k / 8 + 1;
        let aim = k as f64 + 0.5 * spare as f64;
        let mut at = if guess < most { guess } else { most };
        let mut below = (0.0, 0.0);
        let mut above: Option<(f64, f64)> = None;
        for _ in 0..ROUNDS {
            let count = self.count(at);
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
        }
        match above {
            Some((high, _)) => Some(R::of_f64(high)),
            None => (self.count(most) >= k).then_some(most),
        }
    }

    /// Drops the last of the members picked, by (squared distance, index).
    #[inline(always)]
    fn drop_last(&mut self, order: &Order, count: usize) {
        let picked = &self.picked[..count];
        let (mut last, mut farthest, mut tie) = (0, R::ZERO, false);
        for (i, &candidate) in picked.iter().enumerate() {
            let dist = self.dist[candidate as usize];
            tie = dist == farthest || tie && dist <= farthest;
            (last, farthest) = if dist > farthest { (i, dist) } else { (last, farthest) };
        }
        if tie {
            let tied = (0..count).filter(|&i| self.dist[self.picked[i] as usize] == farthest);
            let index = |i: &usize| self.index(order, self.picked[*i] as usize);
            last = tied.max_by_key(index).unwrap_or(last);
        }
        self.picked.swap(last, count - 1);
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
        for (picked, key) in self.picked.iter_mut().zip(&self.keys) {
            *picked = *key as u32;
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
        let local = self.local(place);
        for a in 0..3 {
            let axis = &self.axes[a][..self.len];
            out[a].resize(picked.len(), 0.0);
            for (out, &candidate) in out[a].iter_mut().zip(picked) {
                *out = (axis[candidate as usize] - local[a]).to_f64();
            }
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
        for (picked, key) in self.picked.iter_mut().zip(&self.keys) {
            *picked = *key as u32;
        }
        self.offsets(place, self.keys.len(), offsets);
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
            true => keys.extend(picked.map(|(at, i)| key(at, self.dist[i].to_i64()))),
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
    pub(super) fn holds(&mut self, place: [i32; 3], k: usize) -> Option<u64> {
        if self.len < k || k == 0 {
            return None;
        }
        self.measure(self.local(place));
        let mut dist: Vec<f64> = self.dist[..self.len].iter().map(|d| d.to_f64()).collect();
        let (_, kth, _) = dist.select_nth_unstable_by(k - 1, f64::total_cmp);
        Some((*kth * (1.0 + 4.0 * R::SLACK)) as u64 + 1)
    }
}
