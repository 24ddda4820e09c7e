//! What a call did, beside its result.

use std::time::{Duration, Instant};

use crate::color::ColorDepth;
use crate::features::Feature;
use crate::unit::{Unit, UnitSource};

/// What computed, on what, how long it took, and what was unusual.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Report {
    /// Points of the cloud, or queries of it that are no points.
    pub points: usize,
    /// `gpu` or `cpu`; `none` for an empty cloud.
    pub backend: &'static str,
    /// The GPU's name, driver and API.
    pub adapter: Option<String>,
    /// Why the CPU computed although a GPU was allowed.
    pub fallback: Option<String>,
    /// Edge of a lattice cell, in the cloud's unit.
    pub quantum: f64,
    /// Unit of x and y, which features whose unit is `m` come in.
    pub unit: Unit,
    /// Unit of z. Another than that of x and y makes distances and shapes meaningless.
    pub vertical_unit: Unit,
    /// How the units are known.
    pub unit_source: UnitSource,
    /// Points that the cloud leaves out of neighbourhoods.
    pub left_out: usize,
    /// Chunks that the cloud was cut into.
    pub chunks: usize,
    /// Neighbourhoods that the CPU found for the GPU, those of searches beside the request's own included.
    pub stragglers: usize,
    /// Wall time from borrowed columns to columns in host memory.
    pub seconds: f64,
    /// Seconds by stage, in order of first appearance; stages that overlap add up to more than `seconds`.
    pub stages: Vec<(&'static str, f64)>,
    /// The buffer pool, at the end of the call.
    pub pool: PoolStats,
    /// Features computed.
    pub features: Vec<Feature>,
    /// The [`Conventions`](crate::Conventions) that features follow; empty where none were computed.
    pub conventions: &'static str,
    /// Features computed whose definition the conventions replaced.
    pub redefined: Vec<Feature>,
    /// Members of a neighbourhood at most, where the conventions do not count the query in `k`: one more than
    /// that.
    pub members: Option<u32>,
    /// Depth of red, green and blue, and of near-infrared, where they were used.
    pub color: [Option<ColorDepth>; 2],
}

impl Report {
    /// Adds to a stage's time.
    pub(crate) fn add(&mut self, stage: &'static str, time: Duration) {
        let seconds = time.as_secs_f64();
        match self.stages.iter_mut().find(|s| s.0 == stage) {
            Some(entry) => entry.1 += seconds,
            None => self.stages.push((stage, seconds)),
        }
    }

    /// A report for what runs beside this one, to be [taken in](Self::take_in).
    pub(crate) fn for_a_part(&self) -> Self {
        Self { backend: self.backend, ..Self::default() }
    }

    /// Adds what ran beside this one.
    pub(crate) fn take_in(&mut self, part: Self) {
        self.stragglers += part.stragglers;
        self.fallback = self.fallback.take().or(part.fallback);
        part.stages.iter().for_each(|(stage, seconds)| self.add(stage, Duration::from_secs_f64(*seconds)));
    }

    /// Adds the report of one more part of a cloud. What is of all points is the whole's business.
    pub(crate) fn absorb(&mut self, part: Self) {
        if self.backend.is_empty() || self.backend == "none" {
            *self = Self { points: self.points, left_out: self.left_out, ..part };
            return;
        }
        self.chunks += part.chunks;
        self.seconds += part.seconds;
        self.pool = part.pool;
        self.take_in(part);
    }

    /// Runs a stage and adds its time.
    pub(crate) fn time<T>(&mut self, stage: &'static str, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let out = work();
        self.add(stage, start.elapsed());
        out
    }
}

/// Counters of the GPU buffer pool.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct PoolStats {
    /// Requests served by a buffer that was there.
    pub hits: u64,
    /// Requests that created a buffer.
    pub misses: u64,
    /// Bytes that users of buffers asked for and now hold.
    pub bytes_requested: u64,
    /// Bytes of the buffers that they hold.
    pub bytes_in_use: u64,
    /// Bytes of buffers that wait for reuse.
    pub bytes_idle: u64,
    /// Most bytes that were in use and idle at one time.
    pub bytes_peak: u64,
    /// Bytes in use beyond what was asked for, by rounding to size classes.
    pub bytes_padding: u64,
    /// Bytes that all requests so far asked for.
    pub bytes_lent: u64,
    /// Bytes that their buffers had beyond that.
    pub bytes_lent_padding: u64,
    /// Idle buffers given back to the device.
    pub trims: u64,
    /// Requests refused because the limit left no room.
    pub refusals: u64,
    /// Requests repeated after the device was out of memory.
    pub out_of_memory_retries: u64,
    /// Seconds spent in creating buffers.
    pub allocation_seconds: f64,
    /// Dispatches whose bind group was made.
    pub bind_groups_made: u64,
    /// Dispatches whose bind group was there.
    pub bind_groups_reused: u64,
    /// Query sets made for time stamps.
    pub query_sets_made: u64,
}

impl PoolStats {
    /// Mean part by which buffers were larger than what was asked for.
    pub fn padding_rate(&self) -> f64 {
        self.bytes_lent_padding as f64 / self.bytes_lent.max(1) as f64
    }

    /// Part of the requests that needed no new buffer; 1 if there was none.
    pub fn reuse_rate(&self) -> f64 {
        match self.hits + self.misses {
            0 => 1.0,
            all => self.hits as f64 / all as f64,
        }
    }
}
