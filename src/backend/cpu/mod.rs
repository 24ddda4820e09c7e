//! The CPU strategy: the reference, and what computes where there is no GPU.
//!
//! Each place of the cloud is searched and computed once, in the order of a space-filling curve; the answer is
//! then written to every point there.

mod boxes;
mod evaluate;
mod index;
mod near;
mod order;
mod reference;
pub(crate) mod scan;
mod search;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use rayon::prelude::*;

use self::evaluate::Evaluator;
pub(crate) use self::evaluate::Value;
pub use self::index::CpuSearch;
pub(crate) use self::index::{Center, CpuIndex, List};
use self::order::Order;
use self::search::Search;
use super::cells::{Cells, zeros};
use super::{Beneath, Job, Known, Strategy};
use crate::columns::RawColumns;
use crate::error::Result;
use crate::features::{FeatureSet, Row, Shape};
use crate::neighborhood::{Neighbors, Rule};
use crate::report::Report;
use crate::scales::{Ends, Scales};
use crate::watch::Pass;

/// Blocks of queries answered by one task at a time: enough to hide its start, few enough to balance.
const BLOCKS_PER_TASK: usize = 32;

impl Strategy for CpuSearch {
    fn features(&self, job: &Job<'_>, set: &FeatureSet, report: &mut Report) -> Result<RawColumns> {
        report.chunks = 1;
        if !set.needs_neighbors() {
            return Ok(report.time("query", || of_attributes(job, set)));
        }
        let scales = Scales::one(job.neighborhood, job.lattice.len(), &job.lattice.frame);
        let columns = self.features_of_members(job, set, &scales, &Known::default(), report)?;
        Ok(columns.into_iter().next().unwrap_or_default())
    }

    fn features_of_members(
        &self,
        job: &Job<'_>,
        set: &FeatureSet,
        scales: &Scales,
        known: &Known,
        report: &mut Report,
    ) -> Result<Vec<RawColumns>> {
        report.chunks = 1;
        let index = report.time("index", || CpuIndex::with(job.lattice, *self, job.watch))?;
        report.time("query", || of_neighborhoods(job, set, scales, known, &index))
    }

    fn last_members(&self, job: &Job<'_>, scales: &Scales, report: &mut Report) -> Result<Vec<(u64, u32)>> {
        let index = report.time("index", || CpuIndex::with(job.lattice, *self, job.watch))?;
        report.time("query", || last_members(job, scales, &index))
    }

    fn beneath(&self, job: &Job<'_>, beneath: &Beneath<'_>, report: &mut Report) -> Result<Vec<u32>> {
        let index = report.time("index", || CpuIndex::with(job.lattice, *self, job.watch))?;
        let rule = job.neighborhood.rule(job.lattice.len(), &job.lattice.frame);
        let out = zeros(job.lattice.len());
        report.time("query", || {
            each_site(job, &index, |search, center, points| {
                let found = search.in_any_order(center, rule);
                for &i in points {
                    let members = found.iter().map(|&member| beneath.heights[member as usize]);
                    out[i as usize].store(beneath.bits(beneath.heights[i as usize], members), Relaxed);
                }
            })
        })?;
        Ok(out.into_iter().map(AtomicU32::into_inner).collect())
    }

    fn neighbors(&self, job: &Job<'_>, report: &mut Report) -> Result<Neighbors> {
        report.chunks = 1;
        let index = report.time("index", || CpuIndex::with(job.lattice, *self, job.watch))?;
        report.time("query", || neighbor_lists(job, &index))
    }
}

/// Features of what each point itself carries: no neighbour is looked for.
fn of_attributes(job: &Job<'_>, set: &FeatureSet) -> RawColumns {
    let n = job.asked().len();
    let shape = Shape::alone();
    let column = |row: &Row| {
        (0..n)
            .into_par_iter()
            .with_min_len(1 << 12)
            .map(|i| {
                let attributes = job.attributes.at(i);
                (row.cpu)(&Shape { attributes, ..shape.clone() }) as f32
            })
            .collect()
    };
    RawColumns { values: set.iter().map(|f| column(f.row())).collect(), flags: vec![0; n] }
}

fn of_neighborhoods(
    job: &Job<'_>,
    set: &FeatureSet,
    scales: &Scales,
    known: &Known,
    index: &CpuIndex<'_>,
) -> Result<Vec<RawColumns>> {
    let n = job.asked().len();
    let evaluator = Evaluator::new(job, set, scales, known);
    let made = (0..scales.len()).map(|_| Cells::new(set.len(), n, job.watch));
    let cells = made.collect::<Result<Vec<Cells>>>()?;
    each_block(job, index, |search, sites| fill(&evaluator, search, sites, &cells))?;
    Ok(cells.into_iter().map(Cells::into_columns).collect())
}

/// Computes a block's points.
fn fill(
    evaluator: &Evaluator<'_>,
    search: &mut Search<'_>,
    sites: &mut dyn Iterator<Item = (Center, &[u32])>,
    cells: &[Cells],
) {
    evaluator.compute(search, sites, |(scale, point, column, bits)| {
        cells[scale].put(column, point as usize, bits);
    });
}

/// The last member of each point's neighbourhood, if its number is what cuts it.
fn last_members(job: &Job<'_>, scales: &Scales, index: &CpuIndex<'_>) -> Result<Vec<(u64, u32)>> {
    let n = job.asked().len();
    let distances: Vec<AtomicU64> = (0..n).into_par_iter().map(|_| AtomicU64::new(u64::MAX)).collect();
    let indices: Vec<AtomicU32> = (0..n).into_par_iter().map(|_| AtomicU32::new(u32::MAX)).collect();
    each_site(job, index, |search, center, points| {
        if let Some((dist_sq, last)) = last_member(search, center, scales) {
            for &i in points {
                distances[i as usize].store(dist_sq, Relaxed);
                indices[i as usize].store(last, Relaxed);
            }
        }
    })?;
    Ok(distances.into_iter().zip(indices).map(|(d, i)| (d.into_inner(), i.into_inner())).collect())
}

fn last_member(search: &mut Search<'_>, center: Center, scales: &Scales) -> Option<(u64, u32)> {
    let members = search.first(center, scales);
    let cut = match scales.ends {
        Ends::Limits(_) => false,
        Ends::Counts(..) => scales.has_optimal() || members.len() == scales.rule.k,
    };
    members.last().copied().filter(|_| cut)
}

/// Columns of single points, for a strategy that leaves them to the CPU: every value of the given points, until the call is
/// cancelled.
pub(crate) fn columns_of(
    index: &CpuIndex<'_>,
    job: &Job<'_>,
    set: &FeatureSet,
    scales: &Scales,
    known: &Known,
    points: &[u32],
) -> Vec<Value> {
    let evaluator = Evaluator::new(job, set, scales, known);
    let of = |search: &mut Search<'_>, point: &u32| {
        let mut values = Vec::new();
        if job.watch.is_cancelled() {
            return values;
        }
        let center = index.center(job.asked().points[*point as usize], job.is_foreign());
        let site = (center, std::slice::from_ref(point));
        evaluator.compute(search.alone(center), std::iter::once(site), |value| values.push(value));
        values
    };
    points.par_iter().map_init(|| Search::new(index), of).flatten_iter().collect()
}

/// The last members of single points' neighbourhoods, until the call is cancelled.
pub(crate) fn last_members_of(
    index: &CpuIndex<'_>,
    job: &Job<'_>,
    scales: &Scales,
    points: &[u32],
) -> Vec<(u64, u32)> {
    let of = |search: &mut Search<'_>, &point: &u32| {
        if job.watch.is_cancelled() {
            return (u64::MAX, u32::MAX);
        }
        let center = index.center(job.asked().points[point as usize], job.is_foreign());
        last_member(search.alone(center), center, scales).unwrap_or((u64::MAX, u32::MAX))
    };
    points.par_iter().map_init(|| Search::new(index), of).collect()
}

/// What lies below single points, until the call is cancelled.
pub(crate) fn beneath_of(
    index: &CpuIndex<'_>,
    job: &Job<'_>,
    rule: Rule,
    beneath: &Beneath<'_>,
    points: &[u32],
) -> Vec<u32> {
    let of = |search: &mut Search<'_>, &point: &u32| {
        if job.watch.is_cancelled() {
            return 0;
        }
        let center = index.center(job.asked().points[point as usize], job.is_foreign());
        let found = search.alone(center).in_any_order(center, rule);
        let members = found.iter().map(|&member| beneath.heights[member as usize]);
        beneath.bits(beneath.heights[point as usize], members)
    };
    points.par_iter().map_init(|| Search::new(index), of).collect()
}

fn neighbor_lists(job: &Job<'_>, index: &CpuIndex<'_>) -> Result<Neighbors> {
    let n = job.asked().len();
    let scales = Scales::one(job.neighborhood, job.lattice.len(), &job.lattice.frame);
    let lengths = zeros(n);
    if scales.rule.limit.is_some() || scales.has_optimal() {
        each_site(job, index, |search, center, points| {
            let found = search.count(center, &scales) as u32;
            points.iter().for_each(|&i| lengths[i as usize].store(found, Relaxed));
        })?;
    } else {
        lengths.iter().for_each(|length| length.store(scales.rule.k as u32, Relaxed));
    }
    let mut offsets = Vec::with_capacity(n + 1);
    offsets.push(0);
    offsets.extend(lengths.iter().scan(0, |end, length| {
        *end += length.load(Relaxed) as usize;
        Some(*end)
    }));
    let total = offsets[n];
    let indices = zeros(total);
    let dist_sq: Vec<AtomicU64> = (0..total).into_par_iter().map(|_| AtomicU64::new(0)).collect();
    each_site(job, index, |search, center, points| {
        let found = search.first(center, &scales);
        for &i in points {
            let row = offsets[i as usize]..offsets[i as usize + 1];
            for ((index, dist_sq), &(d, j)) in indices[row.clone()].iter().zip(&dist_sq[row]).zip(found) {
                index.store(j, Relaxed);
                dist_sq.store(d, Relaxed);
            }
        }
    })?;
    Ok(Neighbors {
        offsets,
        indices: indices.into_iter().map(AtomicU32::into_inner).collect(),
        dist_sq: dist_sq.into_iter().map(AtomicU64::into_inner).collect(),
    })
}

/// Runs `work` for every place that is asked about, with the rows of what is there.
fn each_site(
    job: &Job<'_>,
    index: &CpuIndex<'_>,
    work: impl Fn(&mut Search<'_>, Center, &[u32]) + Sync,
) -> Result<()> {
    each_block(job, index, |search, sites| sites.for_each(|(center, points)| work(search, center, points)))
}

/// Points that a thread is through with before it says so.
const TOLD_AT_ONCE: usize = 1 << 12;

/// What a thread did of a pass.
struct Tally<'p, 'w> {
    pass: &'p Pass<'w>,
    points: usize,
}

impl Tally<'_, '_> {
    fn tell(&mut self) {
        match std::mem::take(&mut self.points) {
            0 => {}
            points => self.pass.add(points),
        }
    }
}

impl Drop for Tally<'_, '_> {
    fn drop(&mut self) {
        self.tell();
    }
}

/// Runs `work` for every block of places that is asked about, unless the call is cancelled: its sites, each with the rows of
/// what is there.
fn each_block(
    job: &Job<'_>,
    index: &CpuIndex<'_>,
    work: impl Fn(&mut Search<'_>, &mut dyn Iterator<Item = (Center, &[u32])>) + Sync,
) -> Result<()> {
    let foreign = job.queries.map(|queries| Order::new(queries, job.watch)).transpose()?;
    let order = foreign.as_ref().unwrap_or(&index.order);
    let pass = &job.watch.pass(order.points().len());
    (0..order.blocks()).into_par_iter().with_min_len(BLOCKS_PER_TASK).try_for_each_init(
        || (Search::new(index), Tally { pass, points: 0 }),
        |(search, tally), block| {
            job.watch.check()?;
            let block = order.block(block);
            search.enter(order.bounds(block.clone()));
            let points = block.len();
            let mut sites = order.sites(block).map(|site| {
                let center = match foreign {
                    Some(_) => Center::Foreign(order.place(site.start)),
                    None => Center::Site(site.start as u32, site.len() as u32),
                };
                (center, &order.points()[site])
            });
            work(search, &mut sites);
            tally.points += points;
            if tally.points >= TOLD_AT_ONCE {
                tally.tell();
            }
            Ok(())
        },
    )
}
