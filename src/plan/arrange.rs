//! Points in the order of a grid's cells, and the cells in parts of about equal numbers of points.
//!
//! Cutting a cloud at medians reads it once a level. A counting sort by cell reads it three times, whatever the number of
//! parts, and on all cores; the parts are then cut from the cells' counts.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rayon::prelude::*;

use super::cut::cut;
use super::{Chunk, MAX_CORE_WIDTH};
use crate::cloud::Lattice;
use crate::error::Result;
use crate::watch::Watch;

/// Cells of a grid at most, unless there are many parts.
const MOST_CELLS: u64 = 1 << 17;
/// Cells that a part has at least, on average.
const CELLS_PER_PART: u64 = 64;
/// The same where there are very many parts: counters of all blocks are 4 bytes a cell.
const CELLS_LIMIT: u64 = 1 << 20;
/// Points that a cell has at least, on average.
const POINTS_PER_CELL: u64 = 64;
/// Blocks of points that are counted beside each other.
const BLOCKS: usize = 32;
/// Points of a block that are passed over between two looks at the token.
const LOOK: usize = 1 << 14;
/// Points that the grid's bounds are taken from.
const SAMPLE: usize = 4096;
/// Room that parts leave below their limit, so that cells do not push them over it: a sixteenth.
const SLACK: usize = 16;

/// Some points of a cloud: a range of an order of indices, ascending, and a closed box that holds them.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) low: [i64; 3],
    pub(super) high: [i64; 3],
}

/// A cloud in spatial order.
#[derive(Debug)]
pub(super) struct Arranged {
    /// Indices of the cloud's points by cell, ascending within each.
    pub(super) order: Vec<u32>,
    pub(super) cells: Vec<Cell>,
    /// Parts of whole cells.
    pub(super) chunks: Vec<Chunk>,
}

/// Cubes over the part of space where most points are; those at its faces reach to infinity.
struct Grid {
    low: [i64; 3],
    edge: i64,
    /// 1 / edge.
    scale: f64,
    dims: [i64; 3],
}

impl Grid {
    fn new(lattice: &Lattice<'_>, cells: u64) -> Self {
        let n = lattice.len();
        let sample: Vec<[i32; 3]> = lattice.points.iter().step_by(n.div_ceil(SAMPLE)).copied().collect();
        let bounds: [(i64, i64); 3] = std::array::from_fn(|a| {
            let mut values: Vec<i64> = sample.iter().map(|p| p[a].into()).collect();
            values.sort_unstable();
            // Single points far off say nothing about where the others are.
            let (first, last) = (values[values.len() / 100], values[values.len() - 1 - values.len() / 100]);
            let more = (last - first) / 32;
            ((first - more).max(lattice.min[a].into()), (last + more).min(lattice.max[a].into()))
        });
        let extent = bounds.map(|(low, high)| (high - low) as u64 + 1);
        let count = |edge: u64| {
            extent.iter().try_fold(1u64, |all, e| all.checked_mul(e.div_ceil(edge))).unwrap_or(u64::MAX)
        };
        let (mut low, mut high) = (1, extent.into_iter().max().unwrap_or(1));
        while low < high {
            let middle = low.midpoint(high);
            if count(middle) <= cells.max(1) { high = middle } else { low = middle + 1 }
        }
        let dims = extent.map(|e| e.div_ceil(low) as i64);
        Self { low: bounds.map(|b| b.0), edge: low as i64, scale: 1.0 / low as f64, dims }
    }

    fn len(&self) -> usize {
        self.dims.iter().product::<i64>() as usize
    }

    fn cell(&self, p: [i32; 3]) -> usize {
        // A whole number and a half, over an edge, is half an edge's inverse from the next whole number at least: more than
        // a product below 2^33 is off. What is negative is cut off towards zero, the first cell.
        let at = |a: usize| {
            let off = (i64::from(p[a]) - self.low[a]) as f64;
            (((off + 0.5) * self.scale) as i64).clamp(0, self.dims[a] - 1)
        };
        ((at(2) * self.dims[1] + at(1)) * self.dims[0] + at(0)) as usize
    }

    fn place(&self, cell: u32) -> [i64; 3] {
        let cell = i64::from(cell);
        let [x, y, _] = self.dims;
        [cell % x, cell / x % y, cell / (x * y)]
    }

    /// The closed box of a cell.
    fn bounds(&self, cell: u32) -> ([i64; 3], [i64; 3]) {
        let place = self.place(cell);
        let low = |a: usize| match place[a] {
            0 => i64::MIN,
            at => self.low[a] + at * self.edge,
        };
        let high = |a: usize| match place[a] + 1 {
            end if end == self.dims[a] => i64::MAX,
            end => self.low[a] + end * self.edge - 1,
        };
        (std::array::from_fn(low), std::array::from_fn(high))
    }
}

/// Arranges a cloud, in parts of at most `most` points each unless more are at one place. Parts are cut so that about equal
/// numbers of points are loaded for each, where `margin` says how wide a part's halo is.
///
/// Looks at `watch` between its steps and in those that pass over all points.
pub(super) fn arrange(
    lattice: &Lattice<'_>,
    most: usize,
    margin: impl Fn(&Chunk) -> i64 + Sync,
    watch: &Watch,
) -> Result<Arranged> {
    let n = lattice.len();
    if n == 0 {
        return Ok(Arranged { order: Vec::new(), cells: Vec::new(), chunks: Vec::new() });
    }
    let for_parts = (n / most.max(1)) as u64 * CELLS_PER_PART;
    let cells = MOST_CELLS.max(for_parts).min(CELLS_LIMIT).min(n as u64 / POINTS_PER_CELL);
    let grid = Grid::new(lattice, cells);
    let block_len = n.div_ceil(BLOCKS);
    let mut counts: Vec<Vec<u32>> = lattice
        .points
        .par_chunks(block_len)
        .map(|block| {
            let mut counts = vec![0; grid.len()];
            for points in block.chunks(LOOK) {
                if watch.is_cancelled() {
                    break;
                }
                points.iter().for_each(|p| counts[grid.cell(*p)] += 1);
            }
            counts
        })
        .collect();
    watch.check()?;
    let totals: Vec<u32> = (0..grid.len())
        .into_par_iter()
        .with_min_len(1 << 12)
        .map(|cell| counts.iter().map(|block| block[cell]).sum())
        .collect();
    let filled: Vec<Placed> = (0..grid.len() as u32)
        .filter(|&cell| totals[cell as usize] > 0)
        .map(|cell| Placed { cell, place: grid.place(cell).map(|at| at as u32) })
        .collect();
    let wanted = n.div_ceil((most - most / SLACK).max(1));
    let cut = |weights: &[u32]| part(&Weighed { totals: &totals, weights }, filled.clone(), wanted, most);
    let mut parts = cut(&totals);
    if parts.len() > 1 {
        watch.check()?;
        let loads = loads(lattice, &grid, &totals, &parts, margin, watch);
        watch.check()?;
        parts = cut(&loads);
    }
    watch.check()?;

    // Where each block's points of each cell go.
    let mut at = vec![0u32; grid.len()];
    let mut end = 0;
    for &cell in parts.iter().flatten() {
        at[cell as usize] = end;
        end += totals[cell as usize];
    }
    for block in &mut counts {
        for (own, at) in block.iter_mut().zip(&mut at) {
            let count = std::mem::replace(own, *at);
            *at += count;
        }
    }
    let order: Vec<AtomicU32> =
        (0..n).into_par_iter().with_min_len(1 << 14).map(|_| AtomicU32::new(0)).collect();
    // The parts' bounds are taken on the way: in their order, points are all over the memory.
    let mut part_of = vec![0u32; grid.len()];
    for (at, part) in (0..).zip(&parts) {
        part.iter().for_each(|&cell| part_of[cell as usize] = at);
    }
    let blocks = lattice.points.par_chunks(block_len).zip(&mut counts).enumerate();
    let of_block = |(block, (points, next)): (usize, (&[[i32; 3]], &mut Vec<u32>))| {
        let mut bounds = vec![NO_BOUNDS; parts.len()];
        for (first, points) in (block * block_len..).step_by(LOOK).zip(points.chunks(LOOK)) {
            if watch.is_cancelled() {
                break;
            }
            for (i, p) in (first..).zip(points) {
                let cell = grid.cell(*p);
                let slot = &mut next[cell];
                order[*slot as usize].store(i as u32, Relaxed);
                *slot += 1;
                let bounds = &mut bounds[part_of[cell] as usize];
                *bounds = wider(*bounds, (*p, *p));
            }
        }
        bounds
    };
    let all_bounds =
        |a: Vec<Bounds>, b: Vec<Bounds>| a.into_iter().zip(b).map(|(a, b)| wider(a, b)).collect();
    let bounds = blocks.map(of_block).reduce(|| vec![NO_BOUNDS; parts.len()], all_bounds);
    watch.check()?;
    let order = order.into_iter().map(AtomicU32::into_inner).collect();
    let arranged = finish(lattice, &grid, &totals, (&parts, &bounds), order, most, watch);
    watch.check().map(|()| arranged)
}

/// Cells and bounds of the parts, once the points are in their order; parts that are too large or too wide are cut on. Leaves
/// parts out once the call is cancelled.
fn finish(
    lattice: &Lattice<'_>,
    grid: &Grid,
    totals: &[u32],
    (parts, bounds): (&[Vec<u32>], &[Bounds]),
    mut order: Vec<u32>,
    most: usize,
    watch: &Watch,
) -> Arranged {
    let mut rest = order.as_mut_slice();
    let mut slices = Vec::new();
    let mut start = 0;
    for (part, &bounds) in parts.iter().zip(bounds) {
        let len = part.iter().map(|&cell| totals[cell as usize] as usize).sum();
        let (own, more) = rest.split_at_mut(len);
        slices.push((start, (part, bounds), own));
        (start, rest) = (start + len, more);
    }
    let of_part = |(start, (part, (min, max)), own): (usize, (&Vec<u32>, Bounds), &mut [u32])| {
        if watch.is_cancelled() {
            return Default::default();
        }
        let width = (0..3).map(|a| i64::from(max[a]) - i64::from(min[a])).max().unwrap_or(0);
        if own.len() > most || width >= MAX_CORE_WIDTH {
            let chunks = cut(lattice, own, start, most, watch);
            let piece = |c: &Chunk| Cell {
                start: c.start,
                end: c.end,
                low: c.min.map(i64::from),
                high: c.max.map(i64::from),
            };
            return (chunks.iter().map(piece).collect::<Vec<_>>(), chunks);
        }
        let mut at = start;
        let cell = |&cell: &u32| {
            let (low, high) = grid.bounds(cell);
            let start = at;
            at += totals[cell as usize] as usize;
            Cell { start, end: at, low, high }
        };
        let chunk = Chunk { start, end: start + own.len(), min, max, crowd: false, margin: 0 };
        (part.iter().map(cell).collect(), vec![chunk])
    };
    let done: Vec<(Vec<Cell>, Vec<Chunk>)> = slices.into_par_iter().map(of_part).collect();
    let (cells, chunks): (Vec<_>, Vec<_>) = done.into_iter().unzip();
    Arranged { order, cells: cells.concat(), chunks: chunks.concat() }
}

/// Least and largest coordinates.
pub(super) type Bounds = ([i32; 3], [i32; 3]);

const NO_BOUNDS: Bounds = ([i32::MAX; 3], [i32::MIN; 3]);

fn wider(a: Bounds, b: Bounds) -> Bounds {
    (std::array::from_fn(|i| a.0[i].min(b.0[i])), std::array::from_fn(|i| a.1[i].max(b.1[i])))
}

/// Bounds of some points.
pub(super) fn bounds(lattice: &Lattice<'_>, indices: &[u32]) -> Bounds {
    let point = |&i: &u32| (lattice.points[i as usize], lattice.points[i as usize]);
    let of_block = |block: &[u32]| block.iter().map(point).fold(NO_BOUNDS, wider);
    indices.par_chunks(LOOK).map(of_block).reduce(|| NO_BOUNDS, wider)
}

/// A cell and where in the grid it is.
#[derive(Clone, Copy)]
struct Placed {
    cell: u32,
    place: [u32; 3],
}

/// Cells' points and their share of the work.
struct Weighed<'a> {
    totals: &'a [u32],
    weights: &'a [u32],
}

/// Weights of cells by what is loaded for the parts that they are in: cells of parts with a wide halo weigh more.
fn loads(
    lattice: &Lattice<'_>,
    grid: &Grid,
    totals: &[u32],
    parts: &[Vec<u32>],
    margin: impl Fn(&Chunk) -> i64 + Sync,
    watch: &Watch,
) -> Vec<u32> {
    let boxed = |cell: u32| {
        let (low, high) = grid.bounds(cell);
        let low = std::array::from_fn(|a| low[a].max(lattice.min[a].into()));
        (low, std::array::from_fn(|a| high[a].min(lattice.max[a].into())))
    };
    let mut start = 0;
    let mut cells = Vec::new();
    let mut chunks = Vec::new();
    for part in parts {
        let first = start;
        let (mut min, mut max) = ([i64::MAX; 3], [i64::MIN; 3]);
        for &cell in part {
            let (low, high): ([i64; 3], [i64; 3]) = boxed(cell);
            let end = start + totals[cell as usize] as usize;
            cells.push(Cell { start, end, low, high });
            start = end;
            min = std::array::from_fn(|a| min[a].min(low[a]));
            max = std::array::from_fn(|a| max[a].max(high[a]));
        }
        // Both lie within the lattice.
        let (min, max) = (min.map(|v| v as i32), max.map(|v| v as i32));
        chunks.push(Chunk { start: first, end: start, min, max, crowd: false, margin: 0 });
    }
    let mut weights = vec![0; totals.len()];
    let share = |chunk: &Chunk| {
        if watch.is_cancelled() {
            return 1.0;
        }
        let halo = halo(&Chunk { margin: margin(chunk), ..chunk.clone() }, &cells);
        1.0 + halo as f64 / chunk.len().max(1) as f64
    };
    let shares: Vec<f64> = chunks.par_iter().map(share).collect();
    for (part, share) in parts.iter().zip(shares) {
        // Eighths are fine enough, and a cell of most of a cloud's points still fits.
        part.iter().for_each(|&cell| {
            weights[cell as usize] = (f64::from(totals[cell as usize]) * share * 8.0).min(4e9) as u32;
        });
    }
    weights
}

/// About how many points lie around a chunk: those of a cell are taken to be spread evenly in it.
fn halo(chunk: &Chunk, cells: &[Cell]) -> usize {
    let [low, high] = chunk.with_margin(chunk.margin);
    let share = |cell: &Cell, a: usize| {
        let inside = (cell.high[a].min(high[a]).saturating_sub(cell.low[a].max(low[a]))).saturating_add(1);
        // Cells at the grid's faces have no end.
        let whole = cell.high[a].saturating_sub(cell.low[a]).saturating_add(1);
        if whole == i64::MAX { f64::from(inside > 0) } else { inside.max(0) as f64 / whole as f64 }
    };
    let touches = |cell: &Cell| (0..3).all(|a| cell.low[a] <= high[a] && cell.high[a] >= low[a]);
    let others = cells.iter().filter(|cell| !(chunk.start..chunk.end).contains(&cell.start) && touches(cell));
    let points =
        |cell: &Cell| (cell.end - cell.start) as f64 * (0..3).map(|a| share(cell, a)).product::<f64>();
    others.map(points).sum::<f64>().ceil() as usize
}

/// Splits cells across their longest side into so many parts of about equal numbers of points, and on until none holds
/// more than `most` or has one cell only.
fn part(weighed: &Weighed<'_>, cells: Vec<Placed>, mut parts: usize, most: usize) -> Vec<Vec<u32>> {
    let Weighed { totals, weights } = weighed;
    let points: usize = cells.iter().map(|placed| totals[placed.cell as usize] as usize).sum();
    if cells.len() == 1 || parts == 1 && points <= most {
        return vec![cells.into_iter().map(|placed| placed.cell).collect()];
    }
    parts = parts.max(points.div_ceil(most));
    let (mut low, mut high) = ([u32::MAX; 3], [0; 3]);
    for Placed { place, .. } in &cells {
        low = std::array::from_fn(|a| low[a].min(place[a]));
        high = std::array::from_fn(|a| high[a].max(place[a]));
    }
    let axis = (0..3).max_by_key(|&a| high[a] - low[a]).unwrap_or(0);
    let layer = |placed: &Placed| (placed.place[axis] - low[axis]) as usize;
    let mut layers = vec![0u64; (high[axis] - low[axis] + 1) as usize];
    cells.iter().for_each(|placed| layers[layer(placed)] += u64::from(weights[placed.cell as usize]));
    let on_left = parts / 2;
    let wanted = layers.iter().sum::<u64>() * on_left as u64 / parts as u64;
    let (mut sum, mut split, mut best) = (0, 1, u64::MAX);
    for (at, layer) in layers[..layers.len() - 1].iter().enumerate() {
        sum += layer;
        if sum.abs_diff(wanted) < best {
            (best, split) = (sum.abs_diff(wanted), at + 1);
        }
    }
    let (left, right): (Vec<_>, Vec<_>) = cells.into_iter().partition(|placed| layer(placed) < split);
    let (mut out, more) =
        rayon::join(|| part(weighed, left, on_left, most), || part(weighed, right, parts - on_left, most));
    out.extend(more);
    out
}
