//! The GPU strategy: plan, then for each chunk upload, index, search, features, readback.

mod beneath;
mod chunk;
mod device;
mod kernel;
mod layout;
mod lists;
mod payload;
mod pipeline;
mod pool;
mod readback;
mod record;
mod shader;
#[cfg(test)]
mod shader_tests;
mod upload;

use rayon::prelude::*;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use self::chunk::Runner;
use self::device::Device;
pub use self::device::{AdapterInfo, adapters};
use self::lists::Use;
use self::payload::Payload;
use self::pipeline::Pipelines;
use self::pool::Buffers;
use super::cpu::{CpuIndex, CpuSearch};
use super::{Beneath, Job, Known, Strategy};
use crate::cloud::dist_sq;
use crate::columns::RawColumns;
use crate::error::{Error, Result};
use crate::features::FeatureSet;
use crate::neighborhood::{Neighbors, Rule};
use crate::plan::Plan;
use crate::report::Report;
use crate::scales::{Ends, Scales};

/// Longest list of nearest distances that the search kernel keeps; for longer ones the CPU finds the neighbours.
pub(crate) const MAX_KERNEL_K: usize = 128;

/// Points of a chunk, unless the caller or the device's limits say fewer: some 300 bytes each.
const CHUNK_POINTS: usize = 1 << 21;
/// The same on devices with buffers of 2 GiB and more, which have the memory to go with them; chunks cost the host more
/// than the card, and one that does not fit is halved.
const CHUNK_POINTS_LARGE: usize = 1 << 24;

/// Chunks are halved this often after the device was out of memory.
const MEMORY_RETRIES: u32 = 4;

/// A device and what was made on it.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) device: Arc<Device>,
    pub(crate) pool: Buffers,
    pub(crate) pipelines: Pipelines,
}

/// Computes on one adapter.
#[derive(Debug)]
pub(crate) struct Gpu {
    context: Context,
    chunk_points: Option<usize>,
    /// One call at a time: two threads that poll one device can panic in wgpu.
    turn: Mutex<()>,
    /// Host work of the strategy. Were it done in the caller's pool, a worker that waits for the device could be handed
    /// another call's work, and wait for itself.
    workers: rayon::ThreadPool,
}

impl Gpu {
    /// Opens the first adapter that matches `text`; software adapters only if allowed or named.
    pub(crate) fn open(
        text: Option<&str>,
        allow_software: bool,
        chunk_points: Option<usize>,
    ) -> Result<Self> {
        let device = Arc::new(Device::open(text, allow_software)?);
        let workers = rayon::ThreadPoolBuilder::new()
            .thread_name(|i| format!("lidar-features-{i}"))
            .build()
            .map_err(|e| Error::Gpu { stage: "starting threads", message: e.to_string() })?;
        let context = Context {
            pool: pool::on_device(device.clone(), u64::MAX),
            pipelines: Pipelines::default(),
            device,
        };
        Ok(Self { context, chunk_points, turn: Mutex::new(()), workers })
    }

    pub(crate) fn name(&self) -> &str {
        &self.context.device.name
    }

    /// Takes turns, away from the caller's thread pool.
    fn exclusively<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let guarded = || {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            self.context.device.alive()?;
            let work = std::panic::AssertUnwindSafe(|| self.workers.in_place_scope(|_| work()));
            // wgpu can panic when a device is lost in the middle of a call.
            std::panic::catch_unwind(work).unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("unknown panic");
                Err(Error::Gpu { stage: "computing", message: text.to_owned() })
            })
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

    /// Most points that a chunk may load, where the widest buffer takes `bytes_per_point`.
    fn capacity(&self, bytes_per_point: u64) -> Result<usize> {
        let limits = self.context.device.device.limits();
        // A readback of all columns, with the stamps behind it, is one buffer.
        let limit = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size - record::STAMP_BYTES);
        // Size classes round up by a sixteenth at most.
        let points = limit / 17 * 16 / bytes_per_point;
        if points < 1024 {
            return Err(Error::ChunkTooLarge { bytes: bytes_per_point * 1024, what: "binding", limit });
        }
        // The queue's lists are indexed with 32 bits, in words.
        Ok(points.min(1 << 28) as usize)
    }

    /// Runs all chunks, again with half the points after the device was out of memory.
    fn run<T: Send>(
        &self,
        job: &Job<'_>,
        scales: &Scales,
        bytes_per_point: u64,
        report: &mut Report,
        mut each: impl FnMut(&Runner<'_, '_>, &Plan, &mut Report) -> Result<T> + Send,
    ) -> Result<T> {
        self.exclusively(|| {
            let large = self.context.device.device.limits().max_buffer_size > 2 << 30;
            let usual =
                if large && !self.context.device.software { CHUNK_POINTS_LARGE } else { CHUNK_POINTS };
            let mut capacity =
                self.capacity(bytes_per_point)?.min(self.chunk_points.map_or(usual, |c| 4 * c));
            let mut core = self.chunk_points;
            for _ in 0..=MEMORY_RETRIES {
                let mut attempt = report.clone();
                let cut = || Plan::of(job, scales.rule, capacity, core);
                let plan = attempt.time("plan", || self.workers.install(cut));
                attempt.chunks = plan.chunks().len();
                let index = OnceLock::new();
                let runner = Runner::new(&self.context, &self.workers, job, &index, scales);
                match each(&runner, &plan, &mut attempt) {
                    Err(Error::GpuOutOfMemory { bytes, what }) => {
                        tracing::warn!(bytes, what, capacity, "GPU out of memory, halving the chunks");
                        self.context.pool.trim();
                        capacity /= 2;
                        core = core.map(|c| (c / 2).max(1));
                    }
                    done => {
                        attempt.pool = self.context.pool.stats();
                        *report = attempt;
                        return done;
                    }
                }
            }
            Err(Error::GpuOutOfMemory { bytes: capacity as u64 * bytes_per_point, what: "a chunk" })
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
        let columns = scales.len() * (set.len() + 1).max(kernel.needs.record_words() as usize);
        let payload = Payload::of(kernel.members).words().max(kernel.attribute_words()) as usize;
        let widest = 4 * columns.max(list_words(scales)).max(payload).max(4) as u64;
        self.run(job, scales, widest, report, |runner, plan, report| {
            let mut out = empty_columns(job, set, scales);
            for chunk in plan.chunks() {
                let purpose = Use::Columns { kernel: &kernel, set, known, out: &mut out };
                runner.with_lists(plan, chunk, purpose, report)?;
            }
            Ok(out)
        })
    }

    fn last_members(&self, job: &Job<'_>, scales: &Scales, report: &mut Report) -> Result<Vec<(u64, u32)>> {
        let mut out = vec![(u64::MAX, u32::MAX); job.asked().len()];
        if matches!(scales.ends, Ends::Limits(_)) {
            return Ok(out);
        }
        if let Some(reason) = beyond_kernels(scales.rule) {
            report.fallback = Some(reason);
            return self.workers.install(|| CpuSearch::default().last_members(job, scales, report));
        }
        let widest = 4 * list_words(scales).max(kernel::Needs::default().record_words() as usize) as u64;
        self.run(job, scales, widest, report, |runner, plan, report| {
            for chunk in plan.chunks() {
                runner.with_lists(plan, chunk, Use::Last { out: &mut out }, report)?;
            }
            Ok(())
        })?;
        Ok(out)
    }

    fn beneath(&self, job: &Job<'_>, beneath: &Beneath<'_>, report: &mut Report) -> Result<Vec<u32>> {
        let scales = Scales::one(job.neighborhood, job.lattice.len(), &job.lattice.frame);
        self.run(job, &scales, 16, report, |runner, plan, report| {
            let mut out = vec![0; job.lattice.len()];
            for chunk in plan.chunks() {
                runner.beneath(plan, chunk, beneath, &mut out, report)?;
            }
            Ok(out)
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
        // Columns with flags, or a record; never less than the 16 bytes of cells and sorted points.
        let columns = (set.len() as u64 + 1).max(kernel.needs.record_words().into());
        let widest = (scales.len() as u64 * columns).max(kernel.attribute_words().into()) * 4;
        self.run(job, scales, widest, report, |runner, plan, report| {
            let mut out = empty_columns(job, set, scales);
            for chunk in plan.chunks() {
                runner.features(plan, chunk, &kernel, rule, &mut out, report)?;
            }
            Ok(out)
        })
    }

    /// Lists that a number cuts.
    fn nearest(&self, job: &Job<'_>, scales: &Scales, report: &mut Report) -> Result<Neighbors> {
        let n = job.asked().len();
        let Rule { k, limit, .. } = scales.rule;
        report.fallback = beyond_kernels(scales.rule).or(report.fallback.take());
        let widest = 4.max(2 * k.min(MAX_KERNEL_K) as u64) * 4;
        self.run(job, scales, widest, report, |runner, plan, report| {
            let mut out = Neighbors {
                offsets: (0..=n).map(|i| i * k).collect(),
                indices: vec![0; n * k],
                dist_sq: vec![0; n * k],
            };
            for chunk in plan.chunks() {
                runner.neighbors(plan, chunk, k, &mut out, report)?;
            }
            Ok(match limit {
                Some(limit) => within(&out, limit),
                None => out,
            })
        })
    }

    /// Lists that a radius ends.
    fn within_radius(&self, job: &Job<'_>, scales: &Scales, report: &mut Report) -> Result<Neighbors> {
        let lists = self.run(job, scales, 16, report, |runner, plan, report| {
            let mut out = vec![Vec::new(); job.asked().len()];
            for chunk in plan.chunks() {
                runner.with_lists(plan, chunk, Use::Lists { out: &mut out }, report)?;
            }
            Ok(out)
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

/// Words of a point's list on the device, where a number cuts it: distances and indices.
fn list_words(scales: &Scales) -> usize {
    match scales.ends {
        Ends::Limits(_) => 4,
        _ => 2 * scales.rule.k,
    }
}

fn empty_columns(job: &Job<'_>, set: &FeatureSet, scales: &Scales) -> Vec<RawColumns> {
    let n = job.asked().len();
    let one = || RawColumns { values: vec![vec![0.0; n]; set.len()], flags: vec![0; n] };
    (0..scales.len()).map(|_| one()).collect()
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
pub(crate) type LazyIndex<'a> = OnceLock<CpuIndex<'a>>;
