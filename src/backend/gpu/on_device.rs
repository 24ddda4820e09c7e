//! Columns that stay on the device, for an application that goes on with them there; and how long the device takes for
//! columns and lists where nothing comes or goes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::budget::Need;
use super::chunk::{Runner, Wanted, scatter_lists};
use super::kernel::{Evaluate, Kernel, Output, Search, Settle, Subject};
use super::pool::{Buffer, Request};
use super::{Gpu, beyond_kernels, cells, chunk, filled};
use crate::backend::Job;
use crate::columns::RawColumns;
use crate::error::{Error, Result};
use crate::features::FeatureSet;
use crate::neighborhood::{Neighbors, Rule};
use crate::plan::{Chunk, Loaded, Plan};
use crate::report::Report;
use crate::scales::{Ends, Scales};

/// How long work is repeated before it is timed: a GPU that had nothing to do for a second takes a fifth of one to reach its
/// clock again, and the first round makes buffers and pipelines.
const WARM_UP: Duration = Duration::from_millis(500);

/// Flags that the host knows of each point, and those that are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks<'m> {
    /// Empty if there are none.
    pub(crate) known: &'m [u32],
    pub(crate) kept: u32,
}

impl Gpu {
    /// Whether the application has the device too.
    pub(crate) fn is_shared(&self) -> bool {
        self.context.device.shared
    }

    /// Flags, then the columns of `set`, all in one buffer.
    pub(crate) fn features_on_device(
        &self,
        job: &Job<'_>,
        set: &FeatureSet,
        marks: Marks<'_>,
        report: &mut Report,
    ) -> Result<wgpu::Buffer> {
        self.of_columns(job, set, report, |runner, plan, chunk, kernel, rule, report| {
            let there = runner.on_device(plan, chunk, kernel, set, marks, report)?;
            Ok(runner.columns(&there.resident, &there.wanted(kernel, rule), report)?.keep())
        })?
        .ok_or_else(no_buffer)
    }

    /// The same columns, once the device had its points and before the host has them: the report is of that alone.
    pub(crate) fn features_timed(
        &self,
        job: &Job<'_>,
        set: &FeatureSet,
        marks: Marks<'_>,
        report: &mut Report,
    ) -> Result<RawColumns> {
        self.has_stamps()?;
        self.of_columns(job, set, report, |runner, plan, chunk, kernel, rule, report| {
            in_kernels(rule)?;
            let there = runner.on_device(plan, chunk, kernel, set, marks, report)?;
            let columns =
                again(report, |report| runner.columns(&there.resident, &there.wanted(kernel, rule), report))?;
            let out = runner.workers.install(|| cells(job, set, runner.scales))?;
            let (used, core) = (columns.requested() as usize, there.loaded.core.as_deref());
            let mut untimed = report.for_a_part();
            runner.read_all(&columns, &there.resident, &mut untimed, |bytes| {
                runner.scatter(&bytes[..used], there.resident.rows as usize, core, &out);
            })?;
            Ok(runner.workers.install(|| filled(out)).into_iter().next().unwrap_or_default())
        })
    }

    /// Lists that a number alone cuts, timed likewise.
    pub(crate) fn neighbors_timed(&self, job: &Job<'_>, report: &mut Report) -> Result<Neighbors> {
        self.has_stamps()?;
        let scales = Scales::one(job.neighborhood, job.lattice.len(), &job.lattice.frame);
        let (rule, n) = (scales.rule, job.lattice.len());
        if !matches!(scales.ends, Ends::Counts(_, None)) || rule.limit.is_some() {
            return Err(Error::NotOnDevice("only lists of the k nearest take one pass".to_owned()));
        }
        in_kernels(Some(rule))?;
        let need = Need::of_index(false, 0).results(2 * rule.k);
        self.in_one_chunk(job, &scales, need, report, |runner, plan, chunk, report| {
            let loaded = runner.load(plan, chunk, report);
            let core = loaded.core.as_deref();
            let subject = Subject::of(false, loaded.rows.is_some());
            let search = Search::first(rule, subject, Output::Lists).filter(|_| !chunk.crowd);
            let search = search.ok_or_else(|| Error::NotOnDevice("no kernel finds such lists".to_owned()))?;
            let mut resident = runner.upload(&loaded, core, 0, report)?;
            runner.arrive(&mut resident, &[], report)?;
            let (lists, left, found) = again(report, |report| {
                let (lists, left) = runner.nearest(&resident, search, rule.k, None, report)?;
                report.stragglers += left.len();
                let found = runner.lists_on_cpu(&runner.places(&left, core).1, rule, usize::MAX, report)?;
                Ok((lists, left, found))
            })?;
            let mut out = Neighbors::unfilled(n, rule.k);
            let mut untimed = report.for_a_part();
            runner.read_all(&lists, &resident, &mut untimed, |bytes| {
                scatter_lists(&bytes[..lists.requested() as usize], rule.k, core, &loaded, &mut out);
            })?;
            let points = runner.places(&left, core).0;
            points.iter().zip(found.iter().flatten()).for_each(|(&point, list)| out.put(point, rule.k, list));
            Ok(out)
        })
    }

    /// What is done of the one chunk of a request for columns.
    fn of_columns<T: Send>(
        &self,
        job: &Job<'_>,
        set: &FeatureSet,
        report: &mut Report,
        work: impl Fn(&Runner<'_, '_>, &Plan, &Chunk, &Evaluate, Option<Rule>, &mut Report) -> Result<T> + Sync,
    ) -> Result<T> {
        let scales = Scales::one(job.neighborhood, job.lattice.len(), &job.lattice.frame);
        let kernel = Evaluate::of(set);
        let rule = set.needs_neighbors().then_some(scales.rule);
        report.fallback = rule.and_then(beyond_kernels).or(report.fallback.take());
        let need = Need::of_index(false, kernel.attribute_words() + 1)
            .records(kernel.needs.record_words(), 1)
            .results(set.len() + 1);
        self.in_one_chunk(job, &scales, need, report, |runner, plan, chunk, report| {
            work(runner, plan, chunk, &kernel, rule, report)
        })
    }

    /// Runs a job that is one chunk, and refuses others.
    fn in_one_chunk<T: Send>(
        &self,
        job: &Job<'_>,
        scales: &Scales,
        need: Need,
        report: &mut Report,
        work: impl Fn(&Runner<'_, '_>, &Plan, &Chunk, &mut Report) -> Result<T> + Sync,
    ) -> Result<T> {
        self.run(job, scales, need, report, |runner, plan, report| {
            if plan.chunks().len() > 1 {
                let (points, most, memory) =
                    (job.lattice.len(), runner.cut.capacity, self.limits.bytes() >> 20);
                return Err(Error::NotOnDevice(format!(
                    "{points} points are not one chunk: one holds {most}, within 2^24 quanta on each axis and {memory} MiB \
                     of GPU memory"
                )));
            }
            let out = Mutex::new(None);
            runner.each(plan, report, |runner, chunk, report| {
                let done = work(runner, plan, chunk, report)?;
                *out.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
                Ok(())
            })?;
            let out = out.into_inner().unwrap_or_else(PoisonError::into_inner);
            out.ok_or_else(|| Error::NotOnDevice("the plan has no chunk".to_owned()))
        })
    }

    /// A buffer for the columns of no point.
    pub(crate) fn no_columns(&self) -> Result<wgpu::Buffer> {
        let made = self.context.pool.acquire(Request::exactly(16, 0), chunk::STORAGE, "columns")?.keep();
        made.ok_or_else(no_buffer)
    }

    fn has_stamps(&self) -> Result<()> {
        let device = &self.context.device;
        match device.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            true => Ok(()),
            false => Err(Error::NoTimeStamps { adapter: device.name.clone() }),
        }
    }
}

fn no_buffer() -> Error {
    Error::NotOnDevice("there is no buffer".to_owned())
}

/// Refuses rules whose neighbours only the CPU finds: there is nothing to time.
fn in_kernels(rule: Option<Rule>) -> Result<()> {
    rule.and_then(beyond_kernels).map_or(Ok(()), |why| Err(Error::NotOnDevice(why)))
}

/// Does work until the device is warm and then once more, which is what the report is of.
fn again<T>(report: &mut Report, work: impl Fn(&mut Report) -> Result<T>) -> Result<T> {
    let begin = Instant::now();
    loop {
        let warm = begin.elapsed() >= WARM_UP;
        (report.stages, report.stragglers) = (Vec::new(), 0);
        let start = Instant::now();
        let done = work(report)?;
        if warm {
            report.seconds = start.elapsed().as_secs_f64();
            return Ok(done);
        }
    }
}

/// A chunk whose points are on the device, and what its columns are settled with.
struct There {
    loaded: Loaded,
    resident: chunk::Resident,
    crowd: bool,
    settle: Kernel,
    known: Buffer,
}

impl There {
    fn wanted<'a>(&'a self, kernel: &'a Evaluate, rule: Option<Rule>) -> Wanted<'a> {
        let (core, settle) = (self.loaded.core.as_deref(), Some((&self.settle, &self.known)));
        Wanted { kernel, rule, core, crowd: self.crowd, settle, out: None }
    }
}

impl<'a, 'j: 'a> Runner<'a, 'j> {
    fn on_device(
        &self,
        plan: &Plan,
        chunk: &Chunk,
        kernel: &Evaluate,
        set: &FeatureSet,
        marks: Marks<'_>,
        report: &mut Report,
    ) -> Result<There> {
        let loaded = self.load(plan, chunk, report);
        let mut resident = self.upload(&loaded, loaded.core.as_deref(), kernel.attribute_words(), report)?;
        let settle = Kernel::Settle(Settle::of(set, marks.kept, !marks.known.is_empty()));
        let of_points = bytemuck::cast_slice(marks.known);
        let known = self.storage_for(of_points, "marks")?;
        self.arrive(&mut resident, &[(&known, of_points)], report)?;
        Ok(There { loaded, resident, crowd: chunk.crowd, settle, known })
    }
}
