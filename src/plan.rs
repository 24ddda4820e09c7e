//! Chunks: core points that a chunk answers for, and the halo of foreign points that it needs.

mod arrange;
mod cut;
mod foreign;
mod marks;
mod near;

use rayon::prelude::*;

use self::arrange::{Arranged, Cell, arrange, bounds};
use self::marks::Marks;
pub(crate) use self::marks::NO_ROW;
pub(crate) use self::near::{ByPlace, Nearest};
use crate::backend::Job;
use crate::cloud::Lattice;
use crate::error::Result;
use crate::neighborhood::Rule;
use crate::watch::Watch;

/// Widest chunk, halo included: local coordinates are exact in f32 up to 2^24 quanta.
const MAX_WIDTH: i64 = 1 << 24;
/// Widest core, so that a halo fits beside it.
const MAX_CORE_WIDTH: i64 = MAX_WIDTH / 2;

/// Cells that one task looks through for a halo.
const CELLS_AT_ONCE: usize = 1 << 10;

/// How a cloud, or the queries asked of it, is cut. Chunks are boxes of about equal numbers of points, in spatial order.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Indices of points or queries, grouped by chunk. Empty if one chunk holds them all.
    order: Vec<u32>,
    chunks: Vec<Chunk>,
    /// The points of the order by place.
    cells: Vec<Cell>,
    capacity: usize,
    /// How many points the largest chunk will load; 0 where that is not known.
    largest: usize,
    /// The cloud, if cores are cut from queries that are no points of it.
    candidates: Option<foreign::Candidates>,
}

/// Core points of one chunk, or its queries.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    /// Range of the plan's order.
    start: usize,
    end: usize,
    /// Bounds of the core points.
    min: [i32; 3],
    max: [i32; 3],
    /// More points at one place than a chunk may hold: no search can be loaded, the CPU answers.
    pub(crate) crowd: bool,
    /// Halo on every side, in quanta.
    margin: i64,
}

/// Points of one chunk, ready to upload.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Cloud indices, ascending, so that ties break alike inside and outside of chunks.
    pub(crate) members: Members,
    /// Output row of each member, if some are halo. Of queries that are no points of the cloud none is a member.
    pub(crate) rows: Option<Vec<u32>>,
    /// Indices of the core points, or of the queries, in row order; `None` for all of them.
    pub(crate) core: Option<Vec<u32>>,
    /// Bounds of the members.
    pub(crate) min: [i32; 3],
    pub(crate) max: [i32; 3],
    /// Faces of the box within which every point of the cloud is loaded; `None` where the cloud ends.
    pub(crate) face_low: [Option<i64>; 3],
    pub(crate) face_high: [Option<i64>; 3],
}

/// Cloud indices of a chunk's points.
#[derive(Debug)]
pub(crate) enum Members {
    /// All points of the cloud.
    All(usize),
    Some(Vec<u32>),
}

impl Members {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::All(n) => *n,
            Self::Some(indices) => indices.len(),
        }
    }

    pub(crate) fn cloud_index(&self, local: usize) -> usize {
        match self {
            Self::All(_) => local,
            Self::Some(indices) => indices[local] as usize,
        }
    }
}

impl Chunk {
    /// How many points or queries it answers for.
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Lower and upper corner of the box around its core, so much wider on every side.
    fn with_margin(&self, margin: i64) -> [[i64; 3]; 2] {
        [self.min.map(|v| i64::from(v) - margin), self.max.map(|v| i64::from(v) + margin)]
    }
}

impl Loaded {
    fn whole(cloud: &Lattice<'_>) -> Self {
        Self {
            members: Members::All(cloud.len()),
            rows: None,
            core: None,
            min: cloud.min,
            max: cloud.max,
            face_low: [None; 3],
            face_high: [None; 3],
        }
    }
}

impl Plan {
    /// Cuts what a job asks about so that no chunk loads more than `capacity` points, or has more rows.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled).
    pub(crate) fn of(job: &Job<'_>, rule: Rule, capacity: usize, core: Option<usize>) -> Result<Self> {
        match job.queries {
            Some(queries) => Self::for_queries(queries, job.lattice, capacity, core, job.watch),
            None => Self::new(job.lattice, rule, capacity, core, job.watch),
        }
    }

    /// Gathers what a chunk of [`of`](Self::of) needs.
    pub(crate) fn load_for(&self, job: &Job<'_>, rule: Rule, chunk: &Chunk) -> Loaded {
        match job.queries {
            Some(queries) => self.load_for_queries(queries, job.lattice, chunk, rule),
            None => self.load(job.lattice, chunk, rule),
        }
    }

    /// Cuts a cloud so that no chunk loads more than `capacity` points, for neighbourhoods by `rule`.
    ///
    /// `core` bounds the core points of a chunk where the caller asks for that.
    fn new(
        lattice: &Lattice<'_>,
        rule: Rule,
        capacity: usize,
        core: Option<usize>,
        watch: &Watch,
    ) -> Result<Self> {
        let n = lattice.len();
        let width = (0..3).map(|a| i64::from(lattice.max[a]) - i64::from(lattice.min[a])).max().unwrap_or(0);
        let whole = Chunk { start: 0, end: n, min: lattice.min, max: lattice.max, crowd: false, margin: 0 };
        if n <= capacity && core.is_none_or(|core| n <= core) && width < MAX_WIDTH {
            return Ok(Self {
                order: Vec::new(),
                chunks: vec![whole],
                cells: Vec::new(),
                capacity,
                largest: n,
                candidates: None,
            });
        }
        // The rest of the room is left to the halo.
        let most = core.unwrap_or(usize::MAX).min((capacity / 4 * 3).max(1));
        let Arranged { order, cells, mut chunks } =
            arrange(lattice, most, |chunk| margin(chunk, rule), watch)?;
        for chunk in &mut chunks {
            chunk.margin = margin(chunk, rule);
        }
        let mut plan = Self { order, chunks, cells, capacity, largest: 0, candidates: None };
        plan.largest = plan.largest_load(lattice, rule, watch);
        watch.check().map(|()| plan)
    }

    /// How many points the largest chunk will load. Estimates are no use: a slot that meets a chunk of more points than was
    /// said makes all its buffers anew.
    fn largest_load(&self, lattice: &Lattice<'_>, rule: Rule, watch: &Watch) -> usize {
        let load = |chunk: &Chunk| {
            if watch.is_cancelled() {
                return 0;
            }
            let [low, high] = chunk.with_margin(chunk.margin);
            chunk.len() + self.inside(lattice, chunk, low, high, rule).len()
        };
        self.chunks.par_iter().map(load).max().unwrap_or(0).min(self.capacity)
    }

    /// The cloud by place, if it was cut.
    pub(crate) fn by_place(&self) -> Option<ByPlace<'_>> {
        let (order, cells) = match &self.candidates {
            Some(candidates) => candidates.by_place(),
            None => (&self.order[..], &self.cells[..]),
        };
        (!cells.is_empty()).then_some(ByPlace { order, cells })
    }

    /// How many points the largest chunk will load; 0 where that is not known.
    pub(crate) fn largest(&self) -> usize {
        self.largest
    }

    pub(crate) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Gathers a chunk's core and halo. A halo that does not fit is narrowed: its queries then fail to certify
    /// themselves and are counted as stragglers, which is slow but right.
    fn load(&self, lattice: &Lattice<'_>, chunk: &Chunk, rule: Rule) -> Loaded {
        if self.order.is_empty() {
            return Loaded::whole(lattice);
        }
        let core = &self.order[chunk.start..chunk.end];
        let mut margin = chunk.margin;
        let (low, high, halo) = loop {
            let [low, high] = chunk.with_margin(margin);
            let halo = self.inside(lattice, chunk, low, high, rule);
            if core.len() + halo.len() <= self.capacity || margin == 0 {
                break (low, high, halo);
            }
            margin /= 2;
        };
        let (members, rows, core) = Marks::of(core, &halo).ascending();
        let around = bounds(lattice, &halo);
        let min = std::array::from_fn(|a| chunk.min[a].min(around.0[a]));
        let max = std::array::from_fn(|a| chunk.max[a].max(around.1[a]));
        Loaded {
            members: Members::Some(members),
            rows: Some(rows),
            core: Some(core),
            min,
            max,
            face_low: std::array::from_fn(|a| (low[a] > i64::from(lattice.min[a])).then_some(low[a])),
            face_high: std::array::from_fn(|a| (high[a] < i64::from(lattice.max[a])).then_some(high[a])),
        }
    }

    /// Points of other chunks in a closed box. Of a crowd the first `k` are enough where `k` cuts: they are all at one place.
    fn inside(
        &self,
        lattice: &Lattice<'_>,
        own: &Chunk,
        low: [i64; 3],
        high: [i64; 3],
        rule: Rule,
    ) -> Vec<u32> {
        let touches = |cell: &Cell| (0..3).all(|a| cell.low[a] <= high[a] && cell.high[a] >= low[a]);
        let within = |cell: &Cell| (0..3).all(|a| cell.low[a] >= low[a] && cell.high[a] <= high[a]);
        let others = |cell: &&Cell| !(own.start..own.end).contains(&cell.start) && touches(cell);
        let points = |cell: &Cell| {
            // Cells of one place only may hold any number.
            let one_place = cell.low == cell.high && rule.cuts;
            let end = if one_place { cell.end.min(cell.start.saturating_add(rule.k)) } else { cell.end };
            let all = within(cell);
            let inside = move |i: &u32| {
                let p = lattice.points[*i as usize];
                (0..3).all(|a| (low[a]..=high[a]).contains(&i64::from(p[a])))
            };
            self.order[cell.start..end].iter().copied().filter(move |i| all || inside(i))
        };
        let of_some = |cells: &[Cell]| cells.iter().filter(others).flat_map(points).collect::<Vec<u32>>();
        self.cells.par_chunks(CELLS_AT_ONCE).map(of_some).collect::<Vec<_>>().concat()
    }
}

/// Several times the k-th distance at the chunk's mean density, on a surface and in a volume; no more than the radius.
fn margin(chunk: &Chunk, rule: Rule) -> i64 {
    // Cores are at most half as wide as a chunk may be.
    let most = MAX_WIDTH / 4 - 1;
    let radius = rule.limit.map_or(most, |limit| i64::try_from(limit.isqrt() + 1).unwrap_or(most).min(most));
    if !rule.cuts {
        return radius;
    }
    let mut e: [f64; 3] = std::array::from_fn(|a| f64::from(chunk.max[a]) - f64::from(chunk.min[a]) + 1.0);
    e.sort_by(|a, b| b.total_cmp(a));
    let (n, k) = ((chunk.end - chunk.start) as f64, rule.k as f64);
    let surface = (k * e[0] * e[1] / (std::f64::consts::PI * n)).sqrt();
    let volume = (0.75 * k * e[0] * e[1] * e[2] / (std::f64::consts::PI * n)).cbrt();
    let wanted = (3.0 * surface).max(1.5 * volume).ceil() as i64 + 8;
    wanted.min(radius)
}

#[cfg(test)]
pub(crate) fn arranged_for_tests(lattice: &Lattice<'_>, most: usize) -> Plan {
    let rule = Rule { k: 8, cuts: true, limit: None, radius: None };
    Plan::new(lattice, rule, most, None, &Watch::default()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;
    use std::borrow::Cow;

    fn nearest(k: usize) -> Rule {
        Rule { k, cuts: true, limit: None, radius: None }
    }

    fn lattice(points: Vec<[i32; 3]>) -> Lattice<'static> {
        Lattice::new(Cow::Owned(points), Frame::new([0.0; 3], 0.01).unwrap()).unwrap()
    }

    fn plan(cloud: &Lattice<'_>, k: usize, capacity: usize) -> Plan {
        Plan::new(cloud, nearest(k), capacity, None, &Watch::default()).unwrap()
    }

    fn scattered(n: u32, width: u32) -> Vec<[i32; 3]> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) % width) as i32
        };
        (0..n).map(|_| [next(), next(), next() / 10]).collect()
    }

    #[test]
    fn every_point_is_core_once_and_halos_are_complete() {
        let cloud = lattice(scattered(5000, 4000));
        let plan = plan(&cloud, 10, 700);
        assert!(plan.chunks().len() > 8);
        let mut seen = vec![0; cloud.len()];
        for chunk in plan.chunks() {
            let loaded = plan.load(&cloud, chunk, nearest(10));
            assert!(loaded.members.len() <= 700 && !chunk.crowd);
            let rows = loaded.rows.as_ref().unwrap();
            let core = loaded.core.as_ref().unwrap();
            assert_eq!(core.len(), chunk.len());
            for (local, &row) in rows.iter().enumerate() {
                if row != u32::MAX {
                    assert_eq!(core[row as usize] as usize, loaded.members.cloud_index(local));
                    seen[loaded.members.cloud_index(local)] += 1;
                }
            }
            let inside = |p: &[i32; 3]| {
                (0..3).all(|a| {
                    loaded.face_low[a].is_none_or(|f| i64::from(p[a]) >= f)
                        && loaded.face_high[a].is_none_or(|f| i64::from(p[a]) <= f)
                })
            };
            assert_eq!(cloud.points.iter().filter(|p| inside(p)).count(), loaded.members.len());
        }
        assert!(seen.iter().all(|&times| times == 1));
    }

    #[test]
    fn the_largest_chunk_is_known_before_it_is_loaded() {
        let cloud = lattice(scattered(5000, 4000));
        let largest = |plan: &Plan| {
            plan.chunks().iter().map(|chunk| plan.load(&cloud, chunk, nearest(10)).members.len()).max()
        };
        let roomy = Plan::new(&cloud, nearest(10), 4000, Some(500), &Watch::default()).unwrap();
        assert_eq!(largest(&roomy), Some(roomy.largest()));
        // Halos that do not fit are narrowed.
        let tight = plan(&cloud, 10, 700);
        assert!(largest(&tight) <= Some(700) && tight.largest() == 700);
    }

    #[test]
    fn wide_clouds_are_cut_and_crowds_stand_alone() {
        let mut points = vec![[7; 3]; 3000];
        points.extend(scattered(500, 100));
        points.push([1 << 29, 0, 0]);
        let cloud = lattice(points);
        let plan = plan(&cloud, 5, 1000);
        for chunk in plan.chunks() {
            let loaded = plan.load(&cloud, chunk, nearest(5));
            let width = (0..3).map(|a| i64::from(loaded.max[a]) - i64::from(loaded.min[a])).max().unwrap();
            assert!(width < MAX_WIDTH);
            assert!(chunk.crowd || loaded.members.len() <= 1000);
        }
        assert_eq!(plan.chunks().iter().filter(|c| c.crowd).count(), 1);
    }

    #[test]
    fn a_cloud_that_fits_is_one_chunk() {
        let cloud = lattice(scattered(100, 1000));
        let plan = plan(&cloud, 5, 100);
        assert_eq!(plan.chunks().len(), 1);
        assert!(plan.load(&cloud, &plan.chunks()[0], nearest(5)).rows.is_none());
    }
}
