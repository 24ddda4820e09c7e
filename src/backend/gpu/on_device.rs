//! Columns that stay on the device, for an application that goes on with them there.

use std::sync::{Mutex, PoisonError};

use super::budget::Need;
use super::chunk::Runner;
use super::kernel::{Evaluate, Kernel, Settle};
use super::pool::Request;
use super::{Gpu, chunk};
use crate::backend::Job;
use crate::error::{Error, Result};
use crate::features::FeatureSet;
use crate::neighborhood::Rule;
use crate::plan::{Chunk, Plan};
use crate::report::Report;
use crate::scales::Scales;

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
        let scales = Scales::one(job.neighborhood, job.lattice.len(), &job.lattice.frame);
        let kernel = Evaluate::of(set);
        let rule = set.needs_neighbors().then_some(scales.rule);
        report.fallback = rule.and_then(super::beyond_kernels).or(report.fallback.take());
        let need = Need::of_index(false, kernel.attribute_words() + 1)
            .records(kernel.needs.record_words(), 1)
            .results(set.len() + 1);
        self.run(job, &scales, need, report, |runner, plan, report| {
            if plan.chunks().len() > 1 {
                let (points, most) = (job.lattice.len(), runner.cut.capacity);
                return Err(Error::NotOnDevice(format!(
                    "{points} points are not one chunk: one holds {most}, within 2^24 quanta on each axis"
                )));
            }
            let out = Mutex::new(None);
            runner.each(plan, report, |runner, chunk, report| {
                let columns = runner.columns_on_device(plan, chunk, &kernel, rule, set, marks, report)?;
                *out.lock().unwrap_or_else(PoisonError::into_inner) = columns;
                Ok(())
            })?;
            let out = out.into_inner().unwrap_or_else(PoisonError::into_inner);
            out.ok_or_else(|| Error::NotOnDevice("the plan has no chunk".to_owned()))
        })
    }

    /// A buffer for the columns of no point.
    pub(crate) fn no_columns(&self) -> Result<wgpu::Buffer> {
        let made = self.context.pool.acquire(Request::exactly(16, 0), chunk::STORAGE, "columns")?.keep();
        made.ok_or_else(|| Error::NotOnDevice("there is no buffer".to_owned()))
    }
}

impl<'a, 'j: 'a> Runner<'a, 'j> {
    #[expect(clippy::too_many_arguments, reason = "one call, all of it state of the request")]
    fn columns_on_device(
        &self,
        plan: &Plan,
        chunk: &Chunk,
        kernel: &Evaluate,
        rule: Option<Rule>,
        set: &FeatureSet,
        marks: Marks<'_>,
        report: &mut Report,
    ) -> Result<Option<wgpu::Buffer>> {
        let loaded = self.load(plan, chunk, report);
        let (resident, columns) = self.columns(&loaded, chunk.crowd, kernel, rule, None, report)?;
        let settle = Kernel::Settle(Settle::of(set, marks.kept, !marks.known.is_empty()));
        let of_points = bytemuck::cast_slice(marks.known);
        let known = self.storage_for(of_points, "marks")?;
        let mut recorder = self.recorder(&resident)?;
        let _staging = self.stage(&mut recorder, &[(&known, of_points)], report)?;
        let step = recorder.step(&settle, &[&known, &columns], resident.rows, u32::MAX)?;
        recorder.pass("features", &[step]);
        self.finish(recorder, report)?;
        Ok(columns.keep())
    }
}
