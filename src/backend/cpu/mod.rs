//! The CPU strategy: the reference, and what computes where there is no GPU.
//!
//! Each place of the cloud is searched and computed once, in the order of a space-filling curve; the answer is
//! then written to every point there.

mod index;
pub(crate) mod scan;
mod sites;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use rayon::prelude::*;

pub(crate) use self::index::{Center, CpuIndex};
use self::index::{SITES_PER_TASK, Search};
use self::sites::Sites;
use super::{Job, Strategy};
use crate::columns::RawColumns;
use crate::error::Result;
use crate::features::{Attributes, FeatureSet, Input, Row, Shape};
use crate::moments::Moments;
use crate::neighborhood::Neighbors;
use crate::report::Report;

#[derive(Debug)]
pub(crate) struct Cpu;

impl Strategy for Cpu {
    fn features(&self, job: &Job<'_>, set: &FeatureSet, report: &mut Report) -> Result<RawColumns> {
        report.chunks = 1;
        if !set.needs_neighbors() {
            return Ok(report.time("query", || of_attributes(job, set)));
        }
        let index = report.time("index", || CpuIndex::new(job.lattice))?;
        Ok(report.time("query", || of_neighborhoods(job, set, &index)))
    }

    fn neighbors(&self, job: &Job<'_>, report: &mut Report) -> Result<Neighbors> {
        report.chunks = 1;
        let index = report.time("index", || CpuIndex::new(job.lattice))?;
        Ok(report.time("query", || neighbor_lists(job, &index)))
    }
}

/// Features of what each point itself carries: no neighbour is looked for.
fn of_attributes(job: &Job<'_>, set: &FeatureSet) -> RawColumns {
    let n = job.asked().len();
    let shape = Shape::new(&Moments { n: 1, ..Moments::default() }, 1.0, None, Attributes::default(), false);
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

fn of_neighborhoods(job: &Job<'_>, set: &FeatureSet, index: &CpuIndex<'_>) -> RawColumns {
    let n = job.asked().len();
    let rule = job.rule();
    let quantum = job.lattice.frame.quantum();
    let rows: Vec<&Row> = set.iter().map(|f| f.row()).collect();
    let with_plane = set.needs_plane();
    // Sites write to the points they hold, which lie anywhere in the columns: relaxed atomics cost a plain store.
    let values: Vec<_> = rows.iter().map(|_| zeros(n)).collect();
    let flags = zeros(n);
    let of_place =
        |column: &usize| rows[*column].inputs == [Input::Xyz] && !rows[*column].feature.needs_own_search();
    let (shared, own): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(of_place);
    each_site(job, index, |search, center, points| {
        let moments = search.moments(center, rule);
        let mut shape = Shape::new(&moments, quantum, rule.radius, Attributes::default(), with_plane);
        for &column in &shared {
            let value = ((rows[column].cpu)(&shape) as f32).to_bits();
            points.iter().for_each(|&i| values[column][i as usize].store(value, Relaxed));
        }
        for &i in points {
            flags[i as usize].store(moments.flags.0, Relaxed);
            if !own.is_empty() {
                shape.attributes = job.attributes.at(i as usize);
            }
            for &column in &own {
                let value = ((rows[column].cpu)(&shape) as f32).to_bits();
                values[column][i as usize].store(value, Relaxed);
            }
        }
    });
    let to_floats = |column: Vec<AtomicU32>| {
        column.into_iter().map(|cell| f32::from_bits(cell.into_inner())).collect::<Vec<f32>>()
    };
    RawColumns {
        values: values.into_par_iter().map(to_floats).collect(),
        flags: flags.into_iter().map(AtomicU32::into_inner).collect(),
    }
}

fn neighbor_lists(job: &Job<'_>, index: &CpuIndex<'_>) -> Neighbors {
    let n = job.asked().len();
    let rule = job.rule();
    let lengths = zeros(n);
    if rule.limit.is_some() {
        each_site(job, index, |search, center, points| {
            let found = search.neighbors(center, rule).len() as u32;
            points.iter().for_each(|&i| lengths[i as usize].store(found, Relaxed));
        });
    } else {
        lengths.iter().for_each(|length| length.store(rule.k as u32, Relaxed));
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
        let found = search.neighbors(center, rule);
        for &i in points {
            let row = offsets[i as usize]..offsets[i as usize + 1];
            for ((index, dist_sq), &(d, j)) in indices[row.clone()].iter().zip(&dist_sq[row]).zip(found) {
                index.store(j, Relaxed);
                dist_sq.store(d, Relaxed);
            }
        }
    });
    Neighbors {
        offsets,
        indices: indices.into_iter().map(AtomicU32::into_inner).collect(),
        dist_sq: dist_sq.into_iter().map(AtomicU64::into_inner).collect(),
    }
}

fn zeros(n: usize) -> Vec<AtomicU32> {
    (0..n).into_par_iter().with_min_len(1 << 14).map(|_| AtomicU32::new(0)).collect()
}

/// Runs `work` for every place that is asked about, with the rows of what is there.
fn each_site(job: &Job<'_>, index: &CpuIndex<'_>, work: impl Fn(&mut Search<'_>, Center, &[u32]) + Sync) {
    let foreign = job.queries.map(Sites::new);
    let sites = foreign.as_ref().unwrap_or(index.sites());
    (0..sites.len() as u32).into_par_iter().with_min_len(SITES_PER_TASK).for_each_init(
        || Search::new(index),
        |search, site| {
            let center = match foreign {
                Some(_) => Center::Foreign(sites.places()[site as usize]),
                None => Center::Site(site),
            };
            work(search, center, sites.points(site));
        },
    );
}
