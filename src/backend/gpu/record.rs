//! Recording one submission: dispatches, copies, uniform blocks and time stamps.

use std::ops::Range;
use std::sync::{Arc, PoisonError};

use super::Context;
use super::bindings::Bound;
use super::faults::Site;
use super::kernel::{Binding, Kernel};
use super::layout::{Batch, Grid, Scale};
use super::pace::{Work, divides};
use super::pipeline::Pipeline;
use super::pool::{Buffer, Request};
use super::query_sets::QuerySet;
use crate::error::{Error, Result};
use crate::watch::Watch;

/// Uniform blocks stand at multiples of this: WebGPU's largest alignment.
const ALIGN: u64 = 256;
/// Bytes for one submission's uniform blocks. They are few enough for `write_buffer`, whose staging memory is wgpu's own; all
/// that grows with a chunk goes through the pool's.
const UNIFORM_BYTES: u64 = 64 << 10;
/// Most workgroups along x; more are folded into y.
const FOLD: u32 = 32_768;

/// Work in the making, in one submission or in several that follow each other.
pub(crate) struct Recorder<'c> {
    context: &'c Context,
    slot: u32,
    uniforms: Buffer,
    /// Grid at 0, scale at ALIGN, batches after.
    bytes: Vec<u8>,
    encoder: wgpu::CommandEncoder,
    stamps: Option<Stamps>,
    watch: &'c Watch,
    /// Dispatches go to the device one by one: a software adapter computes while it takes them, and cannot be stopped.
    in_pieces: bool,
    /// What ran between each two time stamps, those that have any first.
    work: Vec<Work>,
    /// Seconds that what is not submitted yet is expected to take.
    spent: f64,
    /// Why a part could not be submitted.
    failed: Option<Error>,
}

/// Time stamps at the beginning and end of stages.
struct Stamps {
    set: QuerySet,
    stages: Vec<&'static str>,
}

/// Items of a dispatch where dispatches go one by one: some ten milliseconds' work of a software adapter.
const PIECE: u32 = 1 << 10;

/// Most stages that are timed, each counted once in every submission that it goes over.
const MAX_STAGES: u32 = 64;

/// One dispatch, its bindings made.
pub(crate) struct Step {
    pipeline: Arc<Pipeline>,
    bindings: wgpu::BindGroup,
    kernel: Kernel,
    batches: Vec<Dispatch>,
}

struct Dispatch {
    /// Of the batch's block.
    offset: u32,
    groups: (u32, u32),
    items: u32,
}

impl<'c> Recorder<'c> {
    pub(crate) fn new(
        context: &'c Context,
        slot: u32,
        watch: &'c Watch,
        grid: &Grid,
        scale: &Scale,
    ) -> Result<Self> {
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let uniforms =
            context.pool.acquire(Request::exactly(UNIFORM_BYTES, slot), usage, "uniform blocks")?;
        let mut bytes = vec![0; 2 * ALIGN as usize];
        bytes[..size_of::<Grid>()].copy_from_slice(bytemuck::bytes_of(grid));
        bytes[ALIGN as usize..][..size_of::<Scale>()].copy_from_slice(bytemuck::bytes_of(scale));
        let device = &context.device.device;
        let encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: None });
        let descriptor =
            wgpu::QuerySetDescriptor { label: None, ty: wgpu::QueryType::Timestamp, count: 2 * MAX_STAGES };
        let make = || context.device.checked("creating a query set", || device.create_query_set(&descriptor));
        let has_stamps = device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let stamps = has_stamps
            .then(|| Ok(Stamps { set: context.query_sets.take(make)?, stages: Vec::new() }))
            .transpose()?;
        let in_pieces = context.device.software && watch.may_cancel();
        let (work, spent, failed) = (Vec::new(), 0.0, None);
        Ok(Self { context, slot, uniforms, bytes, encoder, stamps, watch, in_pieces, work, spent, failed })
    }

    /// Bytes of a storage buffer that are bound: the whole of it, or as much as may be bound. Where a chunk asks for less of
    /// the same buffer than the one before, its bind group then still fits. No shader asks for the length of a binding.
    fn bound(&self, buffer: &Buffer) -> u64 {
        let limit = self.context.device.device.limits().max_storage_buffer_binding_size;
        buffer.bytes().min(limit / 4 * 4)
    }

    /// A dispatch over `items`, in batches of at most `most` items.
    ///
    /// `buffers` are the storage bindings in order; uniform blocks are bound by their kind.
    pub(crate) fn step(
        &mut self,
        kernel: &Kernel,
        buffers: &[&Buffer],
        items: u32,
        most: u32,
    ) -> Result<Step> {
        self.step_over(kernel, buffers, 0..items, most)
    }

    /// A dispatch over some items, in batches of at most `most` items.
    pub(crate) fn step_over(
        &mut self,
        kernel: &Kernel,
        buffers: &[&Buffer],
        items: Range<u32>,
        most: u32,
    ) -> Result<Step> {
        let pipeline = self.context.pipelines.get(&self.context.device, kernel)?;
        let mut storage = buffers.iter();
        let scale_bytes = size_of::<Scale>() as u64;
        // Each binding's buffer, where it begins, and how much of it there is.
        let bound: Vec<(&Buffer, u64, u64)> = kernel
            .bindings()
            .iter()
            .filter_map(|kind| match kind {
                Binding::Uniform(bytes) if *bytes == scale_bytes => Some((&self.uniforms, ALIGN, *bytes)),
                Binding::Uniform(bytes) => Some((&self.uniforms, 0, *bytes)),
                Binding::Batch => Some((&self.uniforms, 0, size_of::<Batch>() as u64)),
                Binding::Read | Binding::ReadWrite => {
                    storage.next().map(|&buffer| (buffer, 0, self.bound(buffer)))
                }
            })
            .collect();
        let make = || {
            let entries: Vec<_> = (0..)
                .zip(&bound)
                .map(|(binding, &(buffer, offset, size))| {
                    let size = std::num::NonZeroU64::new(size);
                    let resource = wgpu::BufferBinding { buffer, offset, size };
                    wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(resource) }
                })
                .collect();
            let device = &self.context.device;
            let descriptor = wgpu::BindGroupDescriptor {
                label: Some(kernel.name()),
                layout: &pipeline.layout,
                entries: &entries,
            };
            device.checked("binding buffers", || device.device.create_bind_group(&descriptor))
        };
        let buffers = bound.iter().map(|(buffer, ..)| buffer.number()).collect();
        let bindings = self.context.bind_groups.get(Bound { pipeline: pipeline.number, buffers }, make)?;
        // Batches end at whole workgroups, and there are never more than fit beside each other.
        let per_group = kernel.items_per_group();
        let room = ((UNIFORM_BYTES - self.bytes.len() as u64) / ALIGN / 2).max(1) as u32;
        let count = items.end.saturating_sub(items.start);
        let most = match self.in_pieces && divides(kernel) {
            true => most.min(PIECE / kernel.alike()),
            false => self.context.pace.items(kernel, most),
        };
        let most = most.max(count.div_ceil(room)).div_ceil(per_group).saturating_mul(per_group);
        let mut batches = Vec::new();
        let mut first = items.start;
        while first < items.end {
            let end = first.saturating_add(most).min(items.end);
            let groups = (end - first).div_ceil(per_group);
            let width = groups.min(FOLD);
            let offset = self.block(&Batch { first, end, width, steps: self.context.device.steps })?;
            let groups = (width, groups.div_ceil(width));
            batches.push(Dispatch { offset, groups, items: end - first });
            first = end;
        }
        Ok(Step { pipeline, bindings, kernel: kernel.clone(), batches })
    }

    fn block(&mut self, batch: &Batch) -> Result<u32> {
        let offset = self.bytes.len();
        if offset as u64 + ALIGN > UNIFORM_BYTES {
            let message = "too many dispatches in one submission".to_owned();
            return Err(Error::Gpu { stage: "recording", message });
        }
        self.bytes.extend_from_slice(bytemuck::bytes_of(batch));
        self.bytes.resize(offset + ALIGN as usize, 0);
        Ok(offset as u32)
    }

    /// Zeroes the first `bytes` of a buffer.
    pub(crate) fn clear(&mut self, buffer: &Buffer, bytes: u64) {
        self.encoder.clear_buffer(buffer, 0, Some(bytes));
    }

    pub(crate) fn copy(&mut self, from: &Buffer, from_offset: u64, to: &Buffer, to_offset: u64, bytes: u64) {
        self.encoder.copy_buffer_to_buffer(from, from_offset, to, to_offset, Some(bytes));
    }

    /// Runs steps one after the other, timed together as `stage`, in as many submissions as they are long.
    pub(crate) fn pass(&mut self, stage: &'static str, steps: &[Step]) {
        let all = steps.iter().flat_map(|step| step.batches.iter().map(move |batch| (step, batch)));
        let all: Vec<(&Step, &Dispatch)> = all.collect();
        let work = |part: &[(&Step, &Dispatch)]| -> Work {
            part.iter().map(|(step, batch)| (step.kernel.clone(), batch.items)).collect()
        };
        if self.in_pieces {
            // More than can be timed one by one.
            let stamp = self.stamp(stage, work(&all));
            let pieces = all.len().max(1);
            for piece in 0..pieces {
                if piece > 0 {
                    self.submit_part();
                }
                let own = all.get(piece..=piece).unwrap_or_default();
                self.record(stage, own, stamp, [piece == 0, piece + 1 == pieces]);
            }
            return;
        }
        let items: Vec<_> = all.iter().map(|(step, batch)| (&step.kernel, batch.items)).collect();
        let parts = self.context.pace.parts(&items, &mut self.spent);
        for (i, part) in parts.into_iter().enumerate() {
            if i > 0 {
                self.submit_part();
            }
            if !part.is_empty() {
                let stamp = self.stamp(stage, work(&all[part.clone()]));
                self.record(stage, &all[part], stamp, [true; 2]);
            }
        }
    }

    /// The first of two time stamps for some work of a stage.
    fn stamp(&mut self, stage: &'static str, work: Work) -> Option<u32> {
        self.work.push(work);
        let stamps = self.stamps.as_mut().filter(|stamps| stamps.stages.len() < MAX_STAGES as usize)?;
        stamps.stages.push(stage);
        Some(2 * stamps.stages.len() as u32 - 2)
    }

    /// Dispatches in one pass, which has the first of two time stamps at its beginning, the second at its end, or both.
    fn record(
        &mut self,
        stage: &'static str,
        dispatches: &[(&Step, &Dispatch)],
        stamp: Option<u32>,
        [begins, ends]: [bool; 2],
    ) {
        let set = self.stamps.as_ref().map(|stamps| &*stamps.set);
        let timestamp_writes = set.zip(stamp).filter(|_| begins || ends).map(|(query_set, first)| {
            wgpu::ComputePassTimestampWrites {
                query_set,
                beginning_of_pass_write_index: begins.then_some(first),
                end_of_pass_write_index: ends.then_some(first + 1),
            }
        });
        let descriptor = wgpu::ComputePassDescriptor { label: Some(stage), timestamp_writes };
        let mut pass = self.encoder.begin_compute_pass(&descriptor);
        for (step, batch) in dispatches {
            pass.set_pipeline(&step.pipeline.pipeline);
            pass.set_bind_group(0, &step.bindings, &[batch.offset]);
            pass.dispatch_workgroups(batch.groups.0, batch.groups.1, 1);
        }
    }

    /// Submits what was recorded so far: the device works on it while the host records what follows.
    pub(crate) fn go_ahead(&mut self) {
        self.submit_part();
        self.spent = 0.0;
    }

    /// Submits what was recorded so far unless the call is cancelled, and goes on.
    fn submit_part(&mut self) {
        let descriptor = wgpu::CommandEncoderDescriptor { label: None };
        let next = self.context.device.device.create_command_encoder(&descriptor);
        let recorded = std::mem::replace(&mut self.encoder, next);
        if self.failed.is_some() {
            return;
        }
        // Slots take turns at a software adapter, so that none begins after the call was cancelled.
        let sending = || self.context.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let _turn = self.in_pieces.then(sending);
        let sent =
            self.watch.check().and_then(|()| send(self.context, &self.uniforms, &self.bytes, recorded));
        self.failed = sent.err();
        self.context.device.count_when_done();
    }

    /// Submits; the time stamps go to the end of `readback`, behind `used` bytes.
    pub(crate) fn submit(self, readback: Option<(&Buffer, u64)>) -> Result<Submitted> {
        let Self { context, slot, uniforms, bytes, mut encoder, stamps, work, failed, .. } = self;
        if let Some(error) = failed {
            return Err(error);
        }
        let (mut stages, mut resolved, mut stamped) = (Vec::new(), None, None);
        if let (Some(stamps), Some((buffer, used))) = (stamps, readback)
            && !stamps.stages.is_empty()
        {
            let count = 2 * stamps.stages.len() as u32;
            let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
            let resolve = context.pool.acquire(Request::exactly(STAMP_BYTES, slot), usage, "time stamps")?;
            encoder.resolve_query_set(&stamps.set, 0..count, &resolve, 0);
            encoder.copy_buffer_to_buffer(&resolve, 0, buffer, used, Some(u64::from(count) * 8));
            (stages, resolved, stamped) = (stamps.stages, Some(resolve), Some(stamps.set));
        }
        let index = send(context, &uniforms, &bytes, encoder)?;
        Ok(Submitted { index, work, stages, _held: (uniforms, resolved, stamped) })
    }
}

/// Submits what was recorded, with the uniform blocks that it reads.
fn send(
    context: &Context,
    uniforms: &Buffer,
    blocks: &[u8],
    mut encoder: wgpu::CommandEncoder,
) -> Result<wgpu::SubmissionIndex> {
    let device = &context.device;
    device.fails(Site::BeforeSubmit);
    let index = device.checked("submitting", || {
        if device.fails(Site::Submit) {
            encoder.copy_buffer_to_buffer(uniforms, 0, uniforms, 0, Some(4));
        }
        let commands = encoder.finish();
        device.fails(Site::DuringSubmit);
        device.submit(uniforms, blocks, commands)
    })?;
    device.fails(Site::AfterSubmit);
    Ok(index)
}

/// Room for time stamps behind a readback's own bytes.
pub(crate) const STAMP_BYTES: u64 = 16 * MAX_STAGES as u64;

/// Keeps a submission's buffers and query set from reuse until it has been waited for.
pub(crate) struct Submitted {
    /// What to wait for.
    pub(crate) index: wgpu::SubmissionIndex,
    /// What ran between each two time stamps, those that have any first.
    pub(crate) work: Vec<Work>,
    stages: Vec<&'static str>,
    _held: (Buffer, Option<Buffer>, Option<QuerySet>),
}

impl Submitted {
    /// Seconds of each stage, from the time stamps behind the readback's own bytes.
    pub(crate) fn times(&self, stamps: &[u8], period: f32) -> Vec<(&'static str, f64)> {
        let tick = |i: usize| {
            let bytes = stamps.get(8 * i..8 * i + 8).and_then(|b| b.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        let seconds = |i| tick(2 * i + 1).saturating_sub(tick(2 * i)) as f64 * f64::from(period) * 1e-9;
        self.stages.iter().enumerate().map(|(i, stage)| (*stage, seconds(i))).collect()
    }
}
