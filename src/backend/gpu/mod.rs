//! The GPU strategy: plan, then for each chunk upload, index, search, features, readback.

mod beneath;
mod bindings;
mod budget;
mod chunk;
mod device;
#[cfg(test)]
mod fault_tests;
mod faults;
mod kernel;
mod layout;
mod lists;
mod network;
mod on_device;
mod pace;
mod payload;
mod pipeline;
mod pool;
mod query_sets;
mod readback;
mod record;
mod room;
mod search;
mod shader;
#[cfg(test)]
mod shader_tests;
mod slots;
mod turns;
mod upload;

use rayon::prelude::*;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use self::bindings::BindGroups;
pub(crate) use self::budget::Limits;
use self::budget::Need;
use self::chunk::Runner;
pub use self::device::{AdapterInfo, adapters, required_features, required_limits};
use self::device::{Device, words_of};
use self::lists::Use;
pub(crate) use self::on_device::Marks;
use self::pace::Pace;
use self::payload::Payload;
use self::pipeline::Pipelines;
use self::pool::Buffers;
use self::query_sets::QuerySets;
use self::room::Largest;
use self::turns::Turns;
use super::cells::Cells;
use super::cpu::scan::Scan;
use super::cpu::{CpuIndex, CpuSearch};
use super::{Beneath, Job, Known, Strategy};
use crate::cloud::{MAX_POINTS, dist_sq};
use crate::columns::RawColumns;
use crate::error::{Error, Result};
use crate::features::{Feature, FeatureSet};
use crate::frame::Frame;
use crate::neighborhood::{Neighborhood, Neighbors, Rule};
use crate::passes::USUAL_RANGE;
use crate::plan::{ByPlace, Chunk, Plan};
use crate::report::{PoolStats, Report};
use crate::scales::{self, Ends, Scales};
use crate::watch::Watch;

/// Longest list of nearest distances that the search kernel keeps; for longer ones the CPU finds the neighbours.
pub(crate) const MAX_KERNEL_K: usize = 128;

/// Chunks are halved this often after the device was out of memory.
const MEMORY_RETRIES: u32 = 4;

/// Memory of the host's that a device takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HostMemory {
    /// Bytes for each point of a cloud, until they are `most`.
    pub(crate) point: u64,
    pub(crate) most: u64,
}

/// A device and what was made on it.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) device: Arc<Device>,
    pub(crate) pool: Buffers,
    pub(crate) pipelines: Pipelines,
    pub(crate) pace: Pace,
    pub(crate) bind_groups: Arc<BindGroups>,
    pub(crate) query_sets: QuerySets,
    /// Held by who sends work to a device that computes while it takes it.
    pub(crate) sending: Mutex<()>,
}

impl Context {
    fn new(device: Arc<Device>, limits: &Limits) -> Self {
        let reuse = !limits.no_reuse;
        let bind_groups = Arc::new(BindGroups::new(reuse));
        let bound = bind_groups.clone();
        let pool =
            pool::on_device(device.clone(), limits.bytes()).telling(move |buffer| bound.forget(buffer));
        let pool = if reuse { pool } else { pool.without_reuse() };
        let (pipelines, query_sets) = (Pipelines::default(), QuerySets::new(reuse));
        let pace = Pace::new(device.kind);
        Self { device, pool, pipelines, pace, bind_groups, query_sets, sending: Mutex::default() }
    }

    fn stats(&self) -> PoolStats {
        let [bind_groups_made, bind_groups_reused] = self.bind_groups.counts();
        let query_sets_made = self.query_sets.made();
        PoolStats { bind_groups_made, bind_groups_reused, query_sets_made, ..self.pool.stats() }
    }
}

/// Computes on one adapter.
#[derive(Debug)]
pub(crate) struct Gpu {
    context: Context,
    limits: Limits,
    /// One call at a time: two threads that poll one device can panic in wgpu.
    turns: Turns,
    /// Host work of the strategy. Were it done in the caller's pool, a worker that waits for the device could be handed
    /// another call's work, and wait for itself.
    workers: rayon::ThreadPool,
}

impl Gpu {
    /// Opens the first adapter that matches `text`; software adapters only if allowed or named.
    pub(crate) fn open(text: Option<&str>, allow_software: bool, limits: Limits) -> Result<Self> {
        Self::on(Device::open(text, allow_software)?, limits)
    }

    /// Takes the application's device.
    pub(crate) fn of_application(device: wgpu::Device, queue: wgpu::Queue, limits: Limits) -> Result<Self> {
        Self::on(Device::of_application(device, queue)?, limits)
    }

    fn on(device: Device, limits: Limits) -> Result<Self> {
        let device = Arc::new(device);
        let workers = rayon::ThreadPoolBuilder::new()
            .thread_name(|i| format!("lidar-features-{i}"))
            .build()
            .map_err(|e| Error::Gpu { stage: "starting threads", message: e.to_string() })?;
        Ok(Self { context: Context::new(device, &limits), limits, turns: Turns::default(), workers })
    }

    pub(crate) fn name(&self) -> &str {
        &self.context.device.name
    }

    /// Takes the device for lost.
    pub(crate) fn lose(&self, reason: String) {
        self.context.device.lose(reason);
    }

    pub(crate) fn pool_stats(&self) -> PoolStats {
        self.context.stats()
    }

    pub(crate) fn trim(&self) {
        self.context.pool.trim();
    }

    /// What features take of the host's memory, beside what the host computes with.
    pub(crate) fn host_memory(
        &self,
        set: &FeatureSet,
        neighborhoods: &[Neighborhood],
        frame: &Frame,
    ) -> HostMemory {
        let kernel = kernel::Evaluate::of(set);
        let mut searches: Vec<Scales> =
            scales::grouped(neighborhoods, MAX_POINTS, frame).into_iter().map(|group| group.0).collect();
        if set.iter().any(Feature::is_of_optimal) {
            let [least, most, step] = USUAL_RANGE;
            let optimal = Neighborhood::optimal(least, most, step).ok();
            searches.extend(optimal.map(|optimal| Scales::one(optimal, MAX_POINTS, frame)));
        }
        let point = |scales: &Scales| {
            let by_radius = matches!(scales.ends, Ends::Limits(_));
            let listed = set.members().any() || scales.has_optimal() || (scales.len() > 1 && !by_radius);
            need_of(&kernel, scales, false, listed).host_bytes(self.context.device.is_unified())
        };
        // Chunks under way at one time share points in their halos, and buffers are rounded up and kept from pass to pass.
        let point = 2 * searches.iter().map(point).max().unwrap_or(0);
        HostMemory { point, most: self.limits.bytes() }
    }

    /// Takes turns, away from the caller's thread pool.
    fn exclusively<T: Send>(&self, watch: &Watch, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let guarded = || {
            let _turn = self.turns.take(watch)?;
            self.context.device.alive()?;
            let work = std::panic::AssertUnwindSafe(|| self.workers.in_place_scope(|_| work()));
            // wgpu can panic when a device is lost in the middle of a call.
            let done = std::panic::catch_unwind(work).unwrap_or_else(|panic| {
                let message = words_of(panic.as_ref()).to_owned();
                Err(Error::Gpu { stage: "computing", message })
            });
            done.map_err(|error| self.context.device.explain(error))
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("lidar-features-gpu".into());
            match thread.spawn_scoped(scope, guarded) {
                Ok(handle) => handle.join().unwrap_or_else(|_| {
                    Err(Error::Gpu { stage: "computing", message: "the GPU thread panicked".into() })
                }),
                Err(e) => Err(Error::Gpu { stage: "starting threads", message: e.to_string() }),
            }
        })
    }

    /// Runs all chunks, again with half the points after the device was out of memory.
    fn run<T: Send>(
        &self,
        job: &Job<'_>,
        scales: &Scales,
        need: Need,
        report: &mut Report,
        each: impl Fn(&Runner<'_, '_>, &Plan, &mut Report) -> Result<T> + Sync,
    ) -> Result<T> {
        self.exclusively(job.watch, || {
            self.context.pace.begin(scales.rule);
            let points = job.lattice.len().max(job.asked().len());
            let mut cut = need.cut(points, &self.limits, &self.context.device.device.limits())?;
            let mut core = self.limits.chunk_points;
            for _ in 0..=MEMORY_RETRIES {
                let mut attempt = report.clone();
                let make = || Plan::of(job, scales.rule, cut.capacity, core);
                let plan = attempt.time("plan", || self.workers.install(make))?;
                attempt.chunks = plan.chunks().len();
                let rows = plan.chunks().iter().map(Chunk::len).max().unwrap_or(0);
                let largest = Largest::new(plan.largest(), rows);
                let shared = Shared { by_place: plan.by_place(), largest, ..Shared::default() };
                let runner =
                    Runner::new(&self.context, &self.workers, job, &shared, scales, cut, plan.chunks().len());
                match each(&runner, &plan, &mut attempt) {
                    Err(Error::GpuOutOfMemory { bytes, what }) => {
                        tracing::warn!(bytes, what, cut.capacity, "GPU out of memory, halving the chunks");
                        self.context.pool.trim();
                        cut.capacity = (cut.capacity / 2).max(1);
                        core = core.map(|c| (c / 2).max(1));
                    }
                    done => {
                        attempt.pool = self.context.stats();
                        *report = attempt;
                        return done;
                    }
                }
            }
            Err(Error::GpuOutOfMemory { bytes: self.limits.bytes(), what: "chunks halved again and again" })
        })
    }
}

impl Strategy for Gpu {
    fn features(&self, job: &Job<'_>, set: &FeatureSet, report: &mut Report) -> Result<RawColumns> {
        let scales = Scales::one(job.neighborhood, job.lattice.len(), &job.lattice.frame);
        let columns = match scales.has_optimal() {
            true => self.features_of_members(job, set, &scales, &Known::default(), report)?,
            false => self.features_of_records(job, set, &scales, report)?,
        };
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
        if matches!(scales.ends, Ends::Limits(_)) && !set.members().any() {
            return self.features_of_records(job, set, scales, report);
        }
        if let Some(reason) = beyond_kernels(scales.rule) {
            report.fallback = Some(reason);
            return self
                .workers
                .install(|| CpuSearch::default().features_of_members(job, set, scales, known, report));
        }
        let kernel = kernel::Evaluate::of(set);
        let need = need_of(&kernel, scales, job.is_foreign(), true);
        self.run(job, scales, need, report, |runner, plan, report| {
            let out = self.workers.install(|| cells(job, set, scales))?;
            let purpose = Use::Columns { kernel: &kernel, set, known, out: &out };
            runner.each(plan, report, |runner, chunk, report| {
                runner.with_lists(plan, chunk, purpose, report)
            })?;
            Ok(self.workers.install(|| filled(out)))
        })
    }

    fn last_members(&self, job: &Job<'_>, scales: &Scales, report: &mut Report) -> Result<Vec<(u64, u32)>> {
        let out = vec![(u64::MAX, u32::MAX); job.asked().len()];
        if matches!(scales.ends, Ends::Limits(_)) {
            return Ok(out);
        }
        if let Some(reason) = beyond_kernels(scales.rule) {
            report.fallback = Some(reason);
            return self.workers.install(|| CpuSearch::default().last_members(job, scales, report));
        }
        let need = Need::of_index(job.is_foreign(), 0)
            .records(kernel::Needs::default().record_words(), 1)
            .results(2)
            .lists(scales, job.is_foreign(), 0);
        let out = Mutex::new(out);
        self.run(job, scales, need, report, |runner, plan, report| {
            let purpose = Use::Last { out: &out };
            runner.each(plan, report, |runner, chunk, report| runner.with_lists(plan, chunk, purpose, report))
        })?;
        Ok(out.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn beneath(&self, job: &Job<'_>, beneath: &Beneath<'_>, report: &mut Report) -> Result<Vec<u32>> {
        let scales = Scales::one(job.neighborhood, job.lattice.len(), &job.lattice.frame);
        let need = Need::of_index(false, 0).points(&[4]).staged(4, 0).results(1);
        self.run(job, &scales, need, report, |runner, plan, report| {
            let out = Cells::new(0, job.lattice.len(), job.watch)?;
            runner.each(plan, report, |runner, chunk, report| {
                runner.beneath(plan, chunk, beneath, &out, report)
            })?;
            Ok(out.into_columns().flags)
        })
    }

    fn neighbors(&self, job: &Job<'_>, report: &mut Report) -> Result<Neighbors> {
        let scales = Scales::one(job.neighborhood, job.lattice.len(), &job.lattice.frame);
        match scales.ends {
            Ends::Limits(_) => self.within_radius(job, &scales, report),
            Ends::Counts(_, None) => self.nearest(job, &scales, report),
            Ends::Counts(_, Some(_)) => {
                report.fallback = Some("the CPU found the lists of the optimal neighbourhoods".to_owned());
                self.workers.install(|| CpuSearch::default().neighbors(job, report))
            }
        }
    }
}

impl Gpu {
    /// Features that need no more than a neighbourhood's sums: one neighbourhood, or several radii.
    fn features_of_records(
        &self,
        job: &Job<'_>,
        set: &FeatureSet,
        scales: &Scales,
        report: &mut Report,
    ) -> Result<Vec<RawColumns>> {
        let kernel = kernel::Evaluate::of(set);
        let rule = set.needs_neighbors().then_some(scales.rule);
        report.fallback = rule.and_then(beyond_kernels).or(report.fallback.take());
        let need = need_of(&kernel, scales, job.is_foreign(), false);
        self.run(job, scales, need, report, |runner, plan, report| {
            let out = self.workers.install(|| cells(job, set, scales))?;
            runner.each(plan, report, |runner, chunk, report| {
                runner.features(plan, chunk, &kernel, rule, &out, report)
            })?;
            Ok(self.workers.install(|| filled(out)))
        })
    }

    /// Lists that a number cuts.
    fn nearest(&self, job: &Job<'_>, scales: &Scales, report: &mut Report) -> Result<Neighbors> {
        let n = job.asked().len();
        let Rule { k, limit, .. } = scales.rule;
        report.fallback = beyond_kernels(scales.rule).or(report.fallback.take());
        let need = Need::of_index(job.is_foreign(), 0).results(2 * k.min(MAX_KERNEL_K));
        self.run(job, scales, need, report, |runner, plan, report| {
            let out = Mutex::new(Neighbors::unfilled(n, k));
            runner
                .each(plan, report, |runner, chunk, report| runner.neighbors(plan, chunk, k, &out, report))?;
            let out = out.into_inner().unwrap_or_else(PoisonError::into_inner);
            Ok(match limit {
                Some(limit) => within(&out, limit),
                None => out,
            })
        })
    }

    /// Lists that a radius ends.
    fn within_radius(&self, job: &Job<'_>, scales: &Scales, report: &mut Report) -> Result<Neighbors> {
        let need = Need::of_index(job.is_foreign(), 0).lists(scales, job.is_foreign(), 0);
        let lists = self.run(job, scales, need, report, |runner, plan, report| {
            let out = Mutex::new(vec![Vec::new(); job.asked().len()]);
            let purpose = Use::Lists { out: &out };
            runner.each(plan, report, |runner, chunk, report| {
                runner.with_lists(plan, chunk, purpose, report)
            })?;
            Ok(out.into_inner().unwrap_or_else(PoisonError::into_inner))
        })?;
        let points = &job.lattice.points;
        let mut offsets = vec![0];
        offsets.extend(lists.iter().scan(0, |end, list| {
            *end += list.len();
            Some(*end)
        }));
        let distances = |(query, list): (&[i32; 3], &Vec<u32>)| {
            list.iter().map(|&member| dist_sq(*query, points[member as usize])).collect::<Vec<_>>()
        };
        let dist_sq = job.asked().points.par_iter().zip(&lists).flat_map_iter(distances).collect();
        Ok(Neighbors { offsets, indices: lists.concat(), dist_sq })
    }
}

/// What columns take: from records alone, or from sorted lists.
fn need_of(kernel: &kernel::Evaluate, scales: &Scales, foreign: bool, listed: bool) -> Need {
    let need = Need::of_index(foreign, kernel.attribute_words())
        .records(kernel.needs.record_words(), scales.len())
        .results(scales.len() * (kernel.features.len() + 1));
    match listed {
        true => need.lists(scales, foreign, Payload::of(kernel.members).words()),
        false => need,
    }
}

/// Columns of each neighbourhood, to be filled.
fn cells(job: &Job<'_>, set: &FeatureSet, scales: &Scales) -> Result<Vec<Cells>> {
    (0..scales.len()).map(|_| Cells::new(set.len(), job.asked().len(), job.watch)).collect()
}

fn filled(cells: Vec<Cells>) -> Vec<RawColumns> {
    cells.into_iter().map(Cells::into_columns).collect()
}

/// Why the CPU finds all neighbours, if it does.
fn beyond_kernels(rule: Rule) -> Option<String> {
    let k = (rule.cuts && rule.k > MAX_KERNEL_K).then_some(rule.k)?;
    Some(format!("k = {k} is more than the {MAX_KERNEL_K} of the kernels: the CPU found the neighbours"))
}

/// The entries of sorted lists up to a squared distance.
fn within(lists: &Neighbors, limit: u64) -> Neighbors {
    let mut out = Neighbors { offsets: vec![0], ..Neighbors::default() };
    for i in 0..lists.len() {
        let (indices, dist_sq) = lists.row(i);
        let end = dist_sq.partition_point(|d| *d <= limit);
        out.indices.extend_from_slice(&indices[..end]);
        out.dist_sq.extend_from_slice(&dist_sq[..end]);
        out.offsets.push(out.indices.len());
    }
    out
}

/// Built at the first straggler, over the whole cloud: a chunk's own points are not enough for it.
#[derive(Default)]
pub(crate) struct LazyIndex<'a> {
    made: OnceLock<CpuIndex<'a>>,
    /// Slots that need it at the same time wait for the first.
    making: Mutex<()>,
}

/// What the chunks of one call share.
#[derive(Default)]
pub(crate) struct Shared<'a> {
    index: LazyIndex<'a>,
    by_place: Option<ByPlace<'a>>,
    largest: Largest,
}

impl<'a> Shared<'a> {
    /// The cloud as it is searched for a few stragglers.
    fn scan(&self, job: &Job<'a>) -> Scan<'a> {
        Scan { lattice: job.lattice, by_place: self.by_place, watch: job.watch }
    }
}

impl<'a> LazyIndex<'a> {
    fn get(&self, make: impl FnOnce() -> Result<CpuIndex<'a>>) -> Result<&CpuIndex<'a>> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if self.made.get().is_none() {
            let _ = self.made.set(make()?);
        }
        Ok(self.made.get_or_init(|| unreachable!("it was made")))
    }
}
