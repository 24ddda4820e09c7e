//! One thread's way to ask the index.

use fearless_simd::{Level, Simd, dispatch};

use super::boxes::{Boxes, Queue, Walk};
use super::index::{Center, CpuIndex, Finder};
use super::near::{Near, Region, Wanted};
use super::order::BLOCK;
use crate::features::Shape;
use crate::moments::{Also, Moments, Offsets};
use crate::neighborhood::Rule;
use crate::scales::{Ends, Lengths, Scales};

/// How much farther than the last block's members lay, squared, a block's candidates are gathered. Where that is too
/// near for a query, they are gathered again; with 1.3 that befalls one block in five of an airborne scan.
const AHEAD: f64 = 1.4;

/// Candidates that a block may have: so many, and so many for each neighbour. On surfaces it is 4 to 6 a neighbour. Beyond,
/// the block is much wider than its densest points' neighbourhoods, and its queries are searched one by one.
const MOST_CANDIDATES: (usize, usize) = (512, 16);

/// One thread's way to ask the index, with the memory that it reuses.
///
/// Candidates are gathered for a box of queries, that of [`enter`](Self::enter), as far as the neighbours of the box
/// before it reached; then each query chooses its members among them.
#[derive(Debug)]
pub(super) struct Search<'i> {
    index: &'i CpuIndex<'i>,
    /// The widest instructions that this machine has.
    level: Level,
    near: Near<f32>,
    wide: Near<f64>,
    /// The box of queries; what is gathered around it, if anything is, and for which number of neighbours.
    home: [[i32; 3]; 2],
    gathered: Option<Gathered>,
    /// Whether the box holds too much: each query then gathers for itself.
    crowded: bool,
    /// Largest threshold since the box was entered, and that of the last query.
    reached: f64,
    last: f64,
    /// How far to gather around the next box, squared, if that is known.
    ahead: Option<f64>,
    queue: Queue,
    walk: Walk,
    bounds: Vec<u64>,
    found: Vec<(u64, u32)>,
    in_any_order: Vec<u32>,
    /// Offsets of what was found last, in its order.
    by_axis: [Vec<f64>; 3],
    /// How many members `near` holds instead, if it does, around a place: all sums of their products are exact in f32.
    short: Option<(usize, [i32; 3])>,
    /// Where the neighbourhoods end, for who asks for several.
    pub(super) lengths: Lengths,
    /// Sums of those, likewise.
    pub(super) sums: Vec<Moments>,
    /// What formulas see of one of them.
    pub(super) shape: Shape,
}

/// What is gathered around a box.
#[derive(Debug, Clone, Copy)]
struct Gathered {
    reach_sq: u64,
    k: Option<usize>,
    /// Whether it is `near` that holds it.
    is_narrow: bool,
}

/// What a search gives beside the offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Give {
    /// Offsets, unless sums in f32 are exact: see [`Search::short`].
    Short,
    Offsets,
    /// Offsets in the order of the members.
    Ordered,
    /// Indices of the members, in any order.
    Members,
    /// Members in their order, and their offsets.
    Sorted,
}

impl<'i> Search<'i> {
    pub(super) fn new(index: &'i CpuIndex<'i>) -> Self {
        Self::on(index, Level::new())
    }

    fn on(index: &'i CpuIndex<'i>, level: Level) -> Self {
        Self {
            index,
            level,
            near: Near::default(),
            wide: Near::default(),
            home: [[0; 3]; 2],
            gathered: None,
            crowded: false,
            reached: 0.0,
            last: 0.0,
            ahead: None,
            queue: Queue::new(),
            walk: Walk::default(),
            bounds: Vec::new(),
            found: Vec::new(),
            in_any_order: Vec::new(),
            by_axis: Default::default(),
            short: None,
            lengths: Lengths::default(),
            sums: Vec::new(),
            shape: Shape::default(),
        }
    }

    /// The next queries lie in this box.
    pub(super) fn enter(&mut self, home: [[i32; 3]; 2]) {
        if self.reached > 0.0 {
            self.ahead = Some(self.reached * AHEAD);
        }
        self.home = home;
        self.gathered = None;
        self.crowded = false;
        self.reached = 0.0;
    }

    /// The next query has nothing to do with the last.
    pub(super) fn alone(&mut self, center: Center) -> &mut Self {
        let (place, _) = self.index.resolve(center);
        self.enter([place; 2]);
        self.ahead = None;
        self
    }

    /// The members of a neighbourhood, as (squared distance, index) in that order.
    pub(super) fn neighbors(&mut self, center: Center, rule: Rule) -> &[(u64, u32)] {
        self.search_for(center, rule, Give::Sorted);
        &self.found
    }

    /// The same members' indices in any order, which takes no sorting.
    pub(super) fn in_any_order(&mut self, center: Center, rule: Rule) -> &[u32] {
        self.search_for(center, rule, Give::Members);
        &self.in_any_order
    }

    /// How many members the first neighbourhood has.
    pub(super) fn count(&mut self, around: Center, scales: &Scales) -> usize {
        match scales.has_optimal() {
            true => self.first(around, scales).len(),
            false => self.in_any_order(around, scales.rule).len(),
        }
    }

    /// Finds the members of a neighbourhood, for [`members`](Self::members).
    pub(super) fn find(&mut self, center: Center, rule: Rule) {
        self.search_for(center, rule, Give::Sorted);
    }

    /// What [`find`](Self::find) found: (squared distance, index) in that order, and the offsets from the centre.
    pub(super) fn members(&self) -> (&[(u64, u32)], Offsets<'_>) {
        (&self.found, self.by_axis.each_ref().map(|axis| &axis[..]))
    }

    /// The members of the first neighbourhood.
    pub(super) fn first(&mut self, around: Center, scales: &Scales) -> &[(u64, u32)] {
        self.find(around, scales.rule);
        if !scales.has_optimal() {
            return &self.found;
        }
        let offsets = self.by_axis.each_ref().map(|axis| &axis[..]);
        let length = self.lengths.of(scales, &self.found, offsets).first().copied().unwrap_or(0);
        &self.found[..length]
    }

    /// Sums over the neighbourhoods. Only those that are told apart by their members' number take sorting.
    pub(super) fn moments(&mut self, around: Center, scales: &Scales, also: Also, out: &mut [Moments]) {
        dispatch!(self.level, simd => self.moments_with(simd, around, scales, also, out));
    }

    #[inline(always)]
    fn moments_with<S: Simd>(
        &mut self,
        simd: S,
        around: Center,
        scales: &Scales,
        also: Also,
        out: &mut [Moments],
    ) {
        let foreign = around.is_foreign();
        match (&scales.ends, &mut *out) {
            (Ends::Counts(_, None) | Ends::Limits(_), [moments]) => {
                let give = if also.any() { Give::Offsets } else { Give::Short };
                self.search(simd, around, scales.rule, give);
                if let Some((count, place)) = self.short.take() {
                    let (members, query) = self.near.coordinates(place, count);
                    Moments::of_near(simd, members, query, count, foreign, moments);
                    return;
                }
                let offsets = self.by_axis.each_ref().map(|axis| &axis[..]);
                Moments::by_axis(simd, offsets, foreign, also, moments);
            }
            (Ends::Limits(limits), _) => self.moments_within(simd, around, scales.rule, limits, also, out),
            (Ends::Counts(counts, range), _) => {
                self.search(simd, around, scales.rule, Give::Ordered);
                let offsets = self.by_axis.each_ref().map(|axis| &axis[..]);
                let lengths = self.lengths.by_count(counts, *range, offsets);
                Moments::of_beginnings_with(simd, offsets, lengths, foreign, also, out);
            }
        }
    }

    /// Sums over the members within each of some squared distances, the largest of which is the rule's.
    #[inline(always)]
    fn moments_within<S: Simd>(
        &mut self,
        simd: S,
        around: Center,
        rule: Rule,
        limits: &[(u64, f64)],
        also: Also,
        out: &mut [Moments],
    ) {
        self.search(simd, around, rule, Give::Offsets);
        for (scale, (moments, &(limit, _))) in out.iter_mut().zip(limits).enumerate().rev() {
            if scale + 1 < limits.len() {
                self.keep_within(limit);
            }
            let offsets = self.by_axis.each_ref().map(|axis| &axis[..]);
            Moments::by_axis(simd, offsets, around.is_foreign(), also, moments);
        }
    }

    /// Drops offsets that are longer than this squared length.
    fn keep_within(&mut self, limit: u64) {
        let [x, y, z] = &mut self.by_axis;
        let mut kept = 0;
        for i in 0..x.len() {
            // Differences of two coordinates of a lattice: their squares fit, and f64 would round them.
            let dist_sq: u64 = [x[i], y[i], z[i]].map(|v| (v as i64).unsigned_abs().pow(2)).iter().sum();
            (x[kept], y[kept], z[kept]) = (x[i], y[i], z[i]);
            kept += usize::from(dist_sq <= limit);
        }
        self.by_axis.iter_mut().for_each(|axis| axis.truncate(kept));
    }

    fn search_for(&mut self, center: Center, rule: Rule, give: Give) {
        dispatch!(self.level, simd => self.search(simd, center, rule, give));
    }

    #[inline(always)]
    fn search<S: Simd>(&mut self, simd: S, center: Center, rule: Rule, give: Give) {
        let index = self.index;
        let (place, own) = index.resolve(center);
        if rule.cuts && own.len() >= rule.k {
            if give == Give::Members {
                self.in_any_order.clear();
                self.in_any_order.extend(&own[..rule.k]);
                return;
            }
            for axis in &mut self.by_axis {
                axis.clear();
                axis.resize(rule.k, 0.0);
            }
            if give == Give::Sorted {
                self.found.clear();
                self.found.extend(own[..rule.k].iter().map(|&i| (0, i)));
            }
            return;
        }
        match &index.finder {
            Finder::Blocks(boxes) => self.search_blocks(simd, boxes, place, rule, give),
            Finder::Reference(tree) => {
                tree.find(&index.order, (place, own.len()), rule, &mut self.found);
                self.in_any_order.clear();
                self.in_any_order.extend(self.found.iter().map(|member| member.1));
                for (a, axis) in self.by_axis.iter_mut().enumerate() {
                    let of = |i: u32| f64::from(index.lattice.points[i as usize][a]) - f64::from(place[a]);
                    axis.clear();
                    axis.extend(self.found.iter().map(|member| of(member.1)));
                }
            }
        }
    }

    #[inline(always)]
    fn search_blocks<S: Simd>(&mut self, simd: S, boxes: &Boxes, place: [i32; 3], rule: Rule, give: Give) {
        let order = &self.index.order;
        let wanted = Wanted { k: rule.cuts.then_some(rule.k), limit: rule.limit.unwrap_or(u64::MAX) };
        if self.crowded {
            self.home = [place; 2];
            self.gathered = None;
        }
        loop {
            let gathered = match self.gathered {
                Some(gathered) if gathered.k == wanted.k => gathered,
                _ => self.gather_first(simd, boxes, wanted, place),
            };
            let (narrow, reach_sq) = (gathered.is_narrow, gathered.reach_sq);
            let sorted = matches!(give, Give::Ordered | Give::Sorted);
            let selected = match narrow {
                true => self.near.select(simd, order, place, wanted, reach_sq, self.last, sorted),
                false => apart(
                    simd,
                    #[inline(always)]
                    || self.wide.select(simd, order, place, wanted, reach_sq, self.last, sorted),
                ),
            };
            let Some((count, threshold)) = selected else {
                self.gather_more(simd, boxes, narrow, rule.k, wanted, place);
                continue;
            };
            self.last = threshold;
            self.reached = self.reached.max(threshold);
            if give == Give::Short && narrow && threshold * (count as f64) < (1u64 << 24) as f64 {
                self.short = Some((count, place));
                return;
            }
            return apart(
                simd,
                #[inline(always)]
                || self.hand_over((count, threshold), narrow, place, wanted, give),
            );
        }
    }

    /// Writes what was selected where it is looked for.
    #[inline(always)]
    fn hand_over(
        &mut self,
        selected: (usize, f64),
        narrow: bool,
        place: [i32; 3],
        wanted: Wanted,
        give: Give,
    ) {
        let order = &self.index.order;
        match (give, narrow) {
            (Give::Offsets | Give::Short, true) => self.near.offsets(place, selected.0, &mut self.by_axis),
            (Give::Offsets | Give::Short, false) => self.wide.offsets(place, selected.0, &mut self.by_axis),
            (Give::Members, true) => self.near.members(order, selected.0, &mut self.in_any_order),
            (Give::Members, false) => self.wide.members(order, selected.0, &mut self.in_any_order),
            (Give::Ordered | Give::Sorted, _) => {
                let found = (give == Give::Sorted).then_some(&mut self.found);
                let offsets = &mut self.by_axis;
                match narrow {
                    true => self.near.sorted(order, place, selected, wanted, found, offsets),
                    false => self.wide.sorted(order, place, selected, wanted, found, offsets),
                }
            }
        }
    }

    /// Gathers candidates again, as far as is surely enough for this query.
    #[cold]
    fn gather_more<S: Simd>(
        &mut self,
        simd: S,
        boxes: &Boxes,
        narrow: bool,
        k: usize,
        wanted: Wanted,
        place: [i32; 3],
    ) {
        simd.vectorize(
            #[inline(always)]
            || {
                let holds = match narrow {
                    true => self.near.holds(simd, place, k),
                    false => self.wide.holds(simd, place, k),
                };
                // Whoever lacks candidates is followed by others who do.
                let reach_sq = match holds {
                    Some(bound) => (bound as f64 * 1.1) as u64,
                    None => self.bound(boxes, self.home, k),
                };
                self.gather(simd, boxes, reach_sq.min(wanted.limit), wanted, place);
            },
        );
    }

    /// Gathers candidates around a box that was entered: as far as the rule's radius, else as far as the neighbours of the
    /// box before reached, else as far as is surely enough.
    #[inline(always)]
    fn gather_first<S: Simd>(&mut self, simd: S, boxes: &Boxes, wanted: Wanted, place: [i32; 3]) -> Gathered {
        let reach_sq = match (wanted.k, self.ahead) {
            (None, _) => wanted.limit,
            (Some(_), Some(ahead)) if !self.crowded => (ahead as u64).saturating_add(1),
            (Some(k), _) => self.bound(boxes, self.home, k),
        };
        self.gather(simd, boxes, reach_sq.min(wanted.limit), wanted, place)
    }

    #[inline(always)]
    fn gather<S: Simd>(
        &mut self,
        simd: S,
        boxes: &Boxes,
        reach_sq: u64,
        wanted: Wanted,
        place: [i32; 3],
    ) -> Gathered {
        let is_point = self.home[0] == self.home[1];
        let most = match wanted.k {
            Some(k) if !is_point => MOST_CANDIDATES.0 + k.saturating_mul(MOST_CANDIDATES.1),
            _ => usize::MAX,
        };
        let region = Region { low: self.home[0], high: self.home[1], reach_sq };
        match self.gather_region(simd, boxes, region, wanted.k, most) {
            (gathered, true) => gathered,
            (_, false) => self.gather_alone(simd, boxes, wanted, place),
        }
    }

    /// Gathers candidates of one query of a box around which there are too many: the others of it look for themselves, too.
    #[cold]
    fn gather_alone<S: Simd>(&mut self, simd: S, boxes: &Boxes, wanted: Wanted, place: [i32; 3]) -> Gathered {
        self.crowded = true;
        self.home = [place; 2];
        let k = wanted.k.unwrap_or(usize::MAX);
        let reach_sq = self.bound(boxes, self.home, k).min(wanted.limit);
        let region = Region { low: place, high: place, reach_sq };
        simd.vectorize(
            #[inline(always)]
            || self.gather_region(simd, boxes, region, wanted.k, usize::MAX).0,
        )
    }

    /// What is gathered, and whether no more than `most` candidates were there to be.
    #[inline(always)]
    fn gather_region<S: Simd>(
        &mut self,
        simd: S,
        boxes: &Boxes,
        region: Region,
        k: Option<usize>,
        most: usize,
    ) -> (Gathered, bool) {
        let order = &self.index.order;
        let boxes = (boxes, &mut self.walk);
        let gathered = Gathered { reach_sq: region.reach_sq, k, is_narrow: region.is_narrow() };
        let fits = apart(
            simd,
            #[inline(always)]
            || match gathered.is_narrow {
                true => self.near.gather(simd, order, boxes, &region, k, most),
                false => self.wide.gather(simd, order, boxes, &region, k, most),
            },
        );
        if fits {
            self.gathered = Some(gathered);
        }
        (gathered, fits)
    }

    /// A squared distance within which every place of a box has `k` points: the k-th of the blocks' nearest the box, taken
    /// from its farthest corner.
    fn bound(&mut self, boxes: &Boxes, [low, high]: [[i32; 3]; 2], k: usize) -> u64 {
        let order = &self.index.order;
        let bounds = &mut self.bounds;
        bounds.clear();
        boxes.nearest_first(&mut self.queue, low, high, |block| {
            let block = order.block(block);
            // A block of more points is at one place.
            let len = if block.len() > BLOCK { block.len().min(k) } else { block.len() };
            bounds.extend((block.start..block.start + len).map(|at| {
                let p = order.place(at);
                (0..3)
                    .map(|a| u64::from(p[a].abs_diff(low[a]).max(p[a].abs_diff(high[a]))).pow(2))
                    .sum::<u64>()
            }));
            bounds.len() < k
        });
        match bounds.len() < k || k == 0 {
            true => u64::MAX,
            false => *bounds.select_nth_unstable(k - 1).1,
        }
    }
}

/// Works in a function of its own: what is done for each query stays small, and has the registers for itself.
#[inline(never)]
fn apart<S: Simd, T>(simd: S, work: impl FnOnce() -> T) -> T {
    simd.vectorize(work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::Lattice;
    use crate::features::{LANES, eigen_on};
    use crate::frame::Frame;
    use crate::watch::Watch;

    /// The sets of instructions that this machine has, the widest included.
    fn levels() -> Vec<Level> {
        let widest = Level::new();
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        return [
            widest.as_sse2().map(Level::Sse2),
            widest.as_sse4_2().map(Level::Sse4_2),
            widest.as_avx2().map(Level::Avx2),
            Some(widest),
        ]
        .into_iter()
        .flatten()
        .collect();
        #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
        vec![widest]
    }

    /// Members, sums and eigenvalues of every fourth point.
    fn answers(index: &CpuIndex<'_>, points: &[[i32; 3]], level: Level) -> Vec<String> {
        let mut search = Search::on(index, level);
        let mut out = Vec::new();
        for (i, place) in points.iter().enumerate().step_by(4) {
            let center = index.center(*place, false);
            let k = 1 + i % 40;
            let limit = (i % 3 == 0).then_some(900 + 40 * i as u64);
            let cuts = i % 5 != 0 || limit.is_none();
            let rule = Rule { k, cuts, limit, radius: None };
            let ends = match limit {
                Some(limit) if !cuts => Ends::Limits(vec![(limit / 4, 1.0), (limit, 2.0)]),
                _ if i % 7 == 0 => Ends::Counts(vec![1 + k as u32 / 2, k as u32], None),
                _ => Ends::Counts(vec![k as u32], None),
            };
            search.enter([place.map(|v| v - 20), place.map(|v| v + 20)]);
            out.push(format!("{:?}", search.neighbors(center, rule)));
            let scales = Scales { rule, ends };
            let mut moments = vec![Moments::default(); scales.len()];
            search.moments(center, &scales, Also::ALL, &mut moments);
            // Without the rest, short offsets are summed in f32.
            let mut few = vec![Moments::default(); scales.len()];
            search.moments(center, &scales, Also { distances: false, bounds: false }, &mut few);
            for (few, all) in few.iter().zip(&moments) {
                let sums = |m: &Moments| (m.n, m.others, m.sum, m.square, m.radius_sq, m.flags.0);
                assert_eq!(sums(few), sums(all));
            }
            let mut matrices = [[1.0; 6]; LANES];
            matrices[i % LANES] = moments[0].scatter_to_f64(moments[0].n);
            out.push(format!("{moments:?} {:?}", eigen_on(level, &matrices)[i % LANES]));
        }
        out
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let mut state = 5u32;
        let mut next = |bound: i32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as i32 % bound
        };
        let mut points: Vec<[i32; 3]> = (0..3000).map(|_| [next(900), next(900), next(40)]).collect();
        points.extend((0..300).map(|i| [i % 9, 5000, 0]));
        // Beyond what f32 holds.
        points.extend((0..40).map(|i| [(1 << 25) + next(1 << 24), i * (1 << 20), next(9)]));
        let lattice = Lattice::new(points[..].into(), Frame::new([0.0; 3], 0.01).unwrap()).unwrap();
        let index = CpuIndex::new(&lattice, &Watch::default()).unwrap();
        let expected = answers(&index, &points, Level::new());
        let others = levels();
        assert!(!others.is_empty());
        for level in others {
            assert!(answers(&index, &points, level) == expected, "{level:?}");
        }
    }
}
