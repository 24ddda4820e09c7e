//! Chunks of queries that are no points of the cloud: cores are cut from the queries, and what is loaded for them from
//! the cloud.

use rayon::prelude::*;

use super::arrange::{Arranged, Cell, arrange};
use super::cut::cut;
use super::{Chunk, Loaded, MAX_WIDTH, Members, Plan};
use crate::cloud::Lattice;
use crate::error::Result;
use crate::neighborhood::Rule;
use crate::watch::Watch;

/// Queries of a chunk whose neighbours are looked for to choose its margin.
const SAMPLE: usize = 32;

/// The cloud by place, to be gathered by box.
#[derive(Debug)]
pub(super) struct Candidates {
    /// Cloud indices, grouped by cell.
    order: Vec<u32>,
    cells: Vec<Cell>,
}

type Bounds = ([i64; 3], [i64; 3]);

impl Candidates {
    fn new(cloud: &Lattice<'_>, watch: &Watch) -> Result<Self> {
        let Arranged { order, cells, .. } = arrange(cloud, usize::MAX, |_| 0, watch)?;
        Ok(Self { order, cells })
    }

    pub(super) fn by_place(&self) -> (&[u32], &[Cell]) {
        (&self.order, &self.cells)
    }

    fn touching(&self, (low, high): Bounds) -> impl ParallelIterator<Item = &Cell> {
        let cells = self.cells.par_iter().with_min_len(1 << 12);
        cells.filter(move |cell| (0..3).all(|a| cell.low[a] <= high[a] && cell.high[a] >= low[a]))
    }

    /// Points in a closed box.
    fn count(&self, cloud: &Lattice<'_>, bounds: Bounds) -> usize {
        let within = |cell: &Cell| {
            let inside = |i: &&u32| is_inside(cloud, **i, bounds);
            match (0..3).all(|a| cell.low[a] >= bounds.0[a] && cell.high[a] <= bounds.1[a]) {
                true => cell.end - cell.start,
                false => self.order[cell.start..cell.end].iter().filter(inside).count(),
            }
        };
        self.touching(bounds).map(within).sum()
    }

    /// Cloud indices in a closed box, ascending.
    fn inside(&self, cloud: &Lattice<'_>, bounds: Bounds) -> Vec<u32> {
        let inside = |cell: &Cell| {
            let own = &self.order[cell.start..cell.end];
            own.iter().copied().filter(|&i| is_inside(cloud, i, bounds)).collect::<Vec<_>>()
        };
        let mut found: Vec<u32> = self.touching(bounds).flat_map_iter(inside).collect();
        found.par_sort_unstable();
        found
    }
}

fn is_inside(cloud: &Lattice<'_>, i: u32, (low, high): Bounds) -> bool {
    let p = cloud.points[i as usize];
    (0..3).all(|a| (low[a]..=high[a]).contains(&i64::from(p[a])))
}

fn around(chunk: &Chunk, margin: i64) -> Bounds {
    (
        std::array::from_fn(|a| i64::from(chunk.min[a]) - margin),
        std::array::from_fn(|a| i64::from(chunk.max[a]) + margin),
    )
}

impl Plan {
    /// Cuts queries so that no chunk has more than `capacity` of them, or loads more points of the cloud.
    ///
    /// `core` bounds the queries of a chunk where the caller asks for that.
    pub(super) fn for_queries(
        queries: &Lattice<'_>,
        cloud: &Lattice<'_>,
        capacity: usize,
        core: Option<usize>,
        watch: &Watch,
    ) -> Result<Self> {
        let n = queries.len();
        let width = |a: usize| {
            let (low, high) = (queries.min[a].min(cloud.min[a]), queries.max[a].max(cloud.max[a]));
            i64::from(high) - i64::from(low)
        };
        let most = core.unwrap_or(usize::MAX).min(capacity);
        let whole = Chunk { start: 0, end: n, min: queries.min, max: queries.max, crowd: false, margin: 0 };
        if n <= most && cloud.len() <= capacity && (0..3).all(|a| width(a) < MAX_WIDTH) {
            return Ok(Self {
                order: Vec::new(),
                chunks: vec![whole],
                cells: Vec::new(),
                capacity,
                largest: 0,
                candidates: None,
            });
        }
        let candidates = Candidates::new(cloud, watch)?;
        let Arranged { mut order, chunks: cores, .. } =
            arrange(queries, most.min((capacity / 2).max(1)), |_| 0, watch)?;
        let mut chunks = Vec::new();
        for core in cores {
            refine(core, queries, cloud, &candidates, &mut order, capacity, most, watch, &mut chunks);
        }
        watch.check()?;
        Ok(Self { order, chunks, cells: Vec::new(), capacity, largest: 0, candidates: Some(candidates) })
    }

    /// Gathers the cloud's points around a chunk's queries.
    pub(super) fn load_for_queries(
        &self,
        queries: &Lattice<'_>,
        cloud: &Lattice<'_>,
        chunk: &Chunk,
        rule: Rule,
    ) -> Loaded {
        let Some(candidates) = &self.candidates else {
            return Loaded::whole(cloud);
        };
        let mut core = self.order[chunk.start..chunk.end].to_vec();
        core.sort_unstable();
        let reach = if chunk.crowd { 0 } else { self.reach(candidates, queries, cloud, chunk, rule) };
        let (low, high) = around(chunk, reach);
        let members = if chunk.crowd { Vec::new() } else { candidates.inside(cloud, (low, high)) };
        let (mut min, mut max) = (chunk.min, chunk.max);
        for (at, i) in members.iter().enumerate() {
            let p = cloud.points[*i as usize];
            let first = at == 0;
            min = std::array::from_fn(|a| if first { p[a] } else { min[a].min(p[a]) });
            max = std::array::from_fn(|a| if first { p[a] } else { max[a].max(p[a]) });
        }
        Loaded {
            members: Members::Some(members),
            rows: None,
            core: Some(core),
            min,
            max,
            face_low: std::array::from_fn(|a| (low[a] > i64::from(cloud.min[a])).then_some(low[a])),
            face_high: std::array::from_fn(|a| (high[a] < i64::from(cloud.max[a])).then_some(high[a])),
        }
    }

    /// How far around a chunk's queries to load. Unlike cores, queries say nothing about the cloud's density, and may
    /// lie beside it: some of them are asked how far their neighbours are. A margin that does not fit is narrowed, and
    /// the queries that then cannot certify themselves become stragglers.
    fn reach(
        &self,
        candidates: &Candidates,
        queries: &Lattice<'_>,
        cloud: &Lattice<'_>,
        chunk: &Chunk,
        rule: Rule,
    ) -> i64 {
        let most = MAX_WIDTH / 4 - 1;
        let radius = rule.limit.map_or(most, |l| i64::try_from(l.isqrt() + 1).unwrap_or(most).min(most));
        let count = |reach| candidates.count(cloud, around(chunk, reach));
        let mut reach = radius;
        if rule.cuts {
            let core = &self.order[chunk.start..chunk.end];
            let sample = core.par_iter().step_by(core.len().div_ceil(SAMPLE).max(1));
            let farthest = sample.map(|&i| {
                let place = queries.points[i as usize];
                let alone = Chunk { min: place, max: place, ..chunk.clone() };
                let mut half = 8;
                while half < radius && candidates.count(cloud, around(&alone, half)) < rule.k {
                    half *= 2;
                }
                half
            });
            // A box of this half width that holds k points reaches √3 of it; those not asked may be farther off.
            reach = (2 * farthest.max().unwrap_or(0)).min(radius);
        }
        while reach > 0 && count(reach) > self.capacity {
            reach /= 2;
        }
        reach
    }
}

/// Cuts a core on until the cloud's points within its box leave half of the room to the margin around it. What cannot
/// be cut, queries at one place, is shared out; where the cloud has too many points there, the CPU answers. Leaves cores out
/// once the call is cancelled.
#[expect(clippy::too_many_arguments, reason = "recursion over one state")]
fn refine(
    core: Chunk,
    queries: &Lattice<'_>,
    cloud: &Lattice<'_>,
    candidates: &Candidates,
    order: &mut [u32],
    capacity: usize,
    most: usize,
    watch: &Watch,
    out: &mut Vec<Chunk>,
) {
    if watch.is_cancelled() {
        return;
    }
    let (n, is_place) = (core.end - core.start, core.min == core.max);
    let crowd = candidates.count(cloud, around(&core, 0)) > (capacity / 2).max(1);
    if is_place {
        let starts = (core.start..core.end).step_by(most.max(1));
        let piece = |start: usize| Chunk { start, end: (start + most).min(core.end), crowd, ..core.clone() };
        out.extend(starts.map(piece));
    } else if crowd {
        let half = n.div_ceil(2).min(n - 1);
        for part in cut(queries, &mut order[core.start..core.end], core.start, half, watch) {
            refine(part, queries, cloud, candidates, order, capacity, most, watch, out);
        }
    } else {
        out.push(core);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;

    fn lattice(points: Vec<[i32; 3]>) -> Lattice<'static> {
        Lattice::new(points.into(), Frame::new([0.0; 3], 0.01).unwrap()).unwrap()
    }

    fn plan(queries: &Lattice<'_>, cloud: &Lattice<'_>, capacity: usize, core: Option<usize>) -> Plan {
        Plan::for_queries(queries, cloud, capacity, core, &Watch::default()).unwrap()
    }

    fn scattered(n: i64, width: i64, seed: i64) -> Vec<[i32; 3]> {
        let at = |i: i64, f: i64| ((i + seed) * f % 1_000_003 * 7919 % width) as i32;
        (0..n).map(|i| [at(i, 7), at(i, 104_729), at(i, 31) / 10]).collect()
    }

    #[test]
    fn every_query_is_core_once_and_what_surrounds_it_is_loaded() {
        let cloud = lattice(scattered(6000, 4000, 0));
        let mut places = scattered(900, 9000, 5);
        places.extend([[77, 77, 77]; 400]);
        places.push([-1_000_000, 3, 3]);
        let queries = lattice(places);
        let rule = Rule { k: 10, cuts: true, limit: None, radius: None };
        let plan = plan(&queries, &cloud, 700, Some(150));
        let mut seen = vec![0; queries.len()];
        for chunk in plan.chunks() {
            let loaded = plan.load_for_queries(&queries, &cloud, chunk, rule);
            assert!(loaded.members.len() <= 700 && !chunk.crowd);
            let core = loaded.core.as_ref().unwrap();
            assert!(core.len() <= 150 && core.is_sorted());
            let inside = |p: &[i32; 3]| {
                (0..3).all(|a| {
                    loaded.face_low[a].is_none_or(|f| i64::from(p[a]) >= f)
                        && loaded.face_high[a].is_none_or(|f| i64::from(p[a]) <= f)
                })
            };
            assert_eq!(cloud.points.iter().filter(|p| inside(p)).count(), loaded.members.len());
            for &i in core {
                seen[i as usize] += 1;
                assert!(inside(&queries.points[i as usize]));
            }
        }
        assert!(seen.iter().all(|&times| times == 1));
    }

    #[test]
    fn queries_in_a_crowd_are_left_to_the_cpu() {
        let mut points = vec![[7; 3]; 3000];
        points.extend(scattered(500, 100, 0));
        let plan = plan(&lattice(vec![[7; 3], [90, 90, 9]]), &lattice(points), 1000, None);
        let crowds: Vec<_> = plan.chunks().iter().map(|c| (c.min, c.crowd)).collect();
        assert_eq!(crowds.len(), 2);
        assert!(crowds.contains(&([7; 3], true)) && crowds.contains(&([90, 90, 9], false)));
    }
}
