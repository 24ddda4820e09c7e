//! The engine: validate, put on the lattice, compute on a backend, report.

use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;

use crate::backend::cpu::Cpu;
use crate::backend::gpu::Gpu;
use crate::backend::{Job, PointAttributes, Strategy};
use crate::cloud::{Lattice, PointCloud};
use crate::columns::{Columns, RawColumns};
use crate::error::{Error, Result};
use crate::features::{FeatureSet, Flags, Input};
use crate::neighborhood::{Neighborhood, Neighbors};
use crate::report::Report;

/// What may compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// A hardware GPU where there is one that works, else the CPU; the report says why.
    #[default]
    Auto,
    /// A GPU, software adapters included, or an error.
    Gpu,
    /// The CPU.
    Cpu,
}

/// Makes an [`Engine`].
#[derive(Debug, Clone, Default)]
pub struct EngineBuilder {
    backend: Backend,
    adapter: Option<String>,
    chunk_points: Option<usize>,
}

impl EngineBuilder {
    /// What may compute; [`Backend::Auto`] unless said.
    #[must_use]
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// Takes the first adapter whose name, driver or API contains `text` (letter case ignored). Naming a
    /// software adapter allows it under [`Backend::Auto`] too.
    #[must_use]
    pub fn adapter(mut self, text: impl Into<String>) -> Self {
        self.adapter = Some(text.into());
        self
    }

    /// Most core points of a chunk on the GPU, instead of what the device's limits allow. Results do not depend on it.
    #[must_use]
    pub fn chunk_points(mut self, points: usize) -> Self {
        self.chunk_points = Some(points.max(1));
        self
    }

    /// Opens the adapter, if one may be used.
    ///
    /// # Errors
    /// With [`Backend::Gpu`] whatever keeps the adapter from being used; with the others nothing.
    pub fn build(self) -> Result<Engine> {
        let mut fallback = None;
        let gpu = match self.backend {
            Backend::Cpu => None,
            Backend::Gpu => Some(Gpu::open(self.adapter.as_deref(), true, self.chunk_points)?),
            Backend::Auto => match Gpu::open(self.adapter.as_deref(), false, self.chunk_points) {
                Ok(gpu) => Some(gpu),
                Err(error) => {
                    tracing::info!(%error, "computing on the CPU");
                    fallback = Some(error.to_string());
                    None
                }
            },
        };
        Ok(Engine { backend: self.backend, gpu: gpu.map(Arc::new), fallback })
    }
}

/// Computes neighbours and features. Cheap to clone; may be used from many threads.
#[derive(Debug, Clone)]
pub struct Engine {
    backend: Backend,
    gpu: Option<Arc<Gpu>>,
    fallback: Option<String>,
}

impl Engine {
    /// An engine with [`Backend::Auto`].
    ///
    /// # Errors
    /// None today; see [`EngineBuilder::build`].
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// An engine with choices.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// Computes `set` for every point of `cloud`.
    ///
    /// # Errors
    /// Bad coordinates or columns, a missing input (all of them are listed), and with [`Backend::Gpu`] whatever the
    /// device does not survive; [`Backend::Auto`] then computes on the CPU and says so in the report.
    pub fn features(
        &self,
        cloud: &PointCloud<'_>,
        set: &FeatureSet,
        neighborhood: Neighborhood,
    ) -> Result<(Columns, Report)> {
        cloud.validate()?;
        let attributes = attributes(cloud, set)?;
        let features = set.iter().collect();
        let color_range =
            [attributes.rgb.map(|_| attributes.rgb_full), attributes.nir.map(|_| attributes.nir_full)];
        let report = Report { features, color_range, ..Report::default() };
        let (raw, report) = self.run(cloud, attributes, neighborhood, report, |strategy, job, report| {
            match job.lattice.len() {
                0 => Ok(RawColumns { values: vec![Vec::new(); set.len()], flags: Vec::new() }),
                _ => strategy.features(job, set, report).map(|mut raw| {
                    flag_dark(&mut raw.flags, &job.attributes);
                    flag_no_radius(&mut raw.flags, neighborhood, set.needs_plane());
                    raw
                }),
            }
        })?;
        Ok((Columns::from_raw(set, raw), report))
    }

    /// Finds the neighbours of every point of `cloud`.
    ///
    /// # Errors
    /// As [`features`](Self::features).
    pub fn neighbors(
        &self,
        cloud: &PointCloud<'_>,
        neighborhood: Neighborhood,
    ) -> Result<(Neighbors, Report)> {
        cloud.validate()?;
        let attributes = PointAttributes::default();
        self.run(cloud, attributes, neighborhood, Report::default(), |strategy, job, report| {
            match job.lattice.len() {
                0 => Ok(Neighbors { offsets: vec![0], ..Neighbors::default() }),
                _ => strategy.neighbors(job, report),
            }
        })
    }

    /// Puts the cloud on its lattice and runs `work` on the GPU, then on the CPU if that failed and may.
    fn run<T>(
        &self,
        cloud: &PointCloud<'_>,
        attributes: PointAttributes<'_>,
        neighborhood: Neighborhood,
        mut report: Report,
        work: impl Fn(&dyn Strategy, &Job<'_>, &mut Report) -> Result<T>,
    ) -> Result<(T, Report)> {
        let start = Instant::now();
        let lattice: Lattice<'_> = report.time("lattice", || cloud.lattice())?;
        report.points = lattice.len();
        report.quantum = lattice.frame.quantum();
        report.unit = "m";
        report.backend = "none";
        report.fallback.clone_from(&self.fallback);
        let job = Job { lattice: &lattice, attributes, neighborhood };
        let on_gpu = match &self.gpu {
            Some(gpu) if report.points > 0 => {
                let mut attempt = report.clone();
                attempt.backend = "gpu";
                attempt.adapter = Some(gpu.name().to_owned());
                match work(gpu.as_ref(), &job, &mut attempt) {
                    Ok(out) => Some((out, attempt)),
                    Err(error) if self.backend == Backend::Gpu => return Err(error),
                    Err(error) => {
                        tracing::warn!(%error, "the GPU failed, computing on the CPU");
                        report.fallback = Some(error.to_string());
                        None
                    }
                }
            }
            _ => None,
        };
        let (out, mut report) = match on_gpu {
            Some(done) => done,
            None => {
                if report.points > 0 {
                    report.backend = "cpu";
                }
                let out = work(&Cpu, &job, &mut report)?;
                (out, report)
            }
        };
        report.seconds = start.elapsed().as_secs_f64();
        Ok((out, report))
    }
}

/// The channels that `set` needs, with their full scale; an error that lists every one the cloud lacks.
fn attributes<'a>(cloud: &PointCloud<'a>, set: &FeatureSet) -> Result<PointAttributes<'a>> {
    let largest = |channel: &[u16]| channel.par_iter().with_min_len(1 << 16).copied().max().unwrap_or(0);
    let mut out = PointAttributes::default();
    let mut lacks = Vec::new();
    if set.needs(Input::Rgb) {
        let most = cloud.rgb.map(|rgb| rgb.into_iter().map(largest).max().unwrap_or(0));
        match most {
            None => lacks.push((Input::Rgb, "rgb")),
            Some(0) if !cloud.is_empty() => lacks.push((Input::Rgb, "rgb (all values are zero)")),
            Some(most) => {
                out.rgb = cloud.rgb;
                out.rgb_full = full_scale(most);
            }
        }
    }
    if set.needs(Input::Nir) {
        match cloud.nir.map(largest) {
            None => lacks.push((Input::Nir, "nir")),
            Some(0) if !cloud.is_empty() => lacks.push((Input::Nir, "nir (all values are zero)")),
            Some(most) => {
                out.nir = cloud.nir;
                out.nir_full = full_scale(most);
            }
        }
    }
    if lacks.is_empty() {
        return Ok(out);
    }
    let missing = set.iter().flat_map(|feature| {
        let inputs = feature.row().inputs;
        lacks.iter().filter(|l| inputs.contains(&l.0)).map(move |l| (feature, l.1)).collect::<Vec<_>>()
    });
    Err(Error::MissingInputs(missing.collect()))
}

/// Sensors record 8 or 16 bits; 8-bit values never exceed 255.
fn full_scale(most: u16) -> u16 {
    if most <= 255 { 255 } else { u16::MAX }
}

/// Marks neighbourhoods without extent where the farthest member gives the radius. Backends need not look for the plane
/// when no feature is about it: its flag is kept only where one is, so that flags agree.
fn flag_no_radius(flags: &mut [u32], neighborhood: Neighborhood, with_plane: bool) {
    let has_radius = matches!(neighborhood, Neighborhood::Radius { .. });
    let keep = if with_plane { u32::MAX } else { !Flags::NO_PLANE.0 };
    flags.par_iter_mut().with_min_len(1 << 14).for_each(|flags| {
        *flags &= keep;
        if !has_radius && *flags & Flags::IDENTICAL.0 != 0 {
            *flags |= Flags::NO_RADIUS.0;
        }
    });
}

/// Marks points where an index of two channels has no value, both being zero.
fn flag_dark(flags: &mut [u32], attributes: &PointAttributes<'_>) {
    let mut mark = |a: &[u16], b: &[u16], flag: Flags| {
        flags.par_iter_mut().zip(a).zip(b).with_min_len(1 << 14).for_each(|((flags, a), b)| {
            if *a == 0 && *b == 0 {
                *flags |= flag.0;
            }
        });
    };
    let Some([red, green, _]) = attributes.rgb else { return };
    mark(red, green, Flags::DARK_RED_GREEN);
    if let Some(nir) = attributes.nir {
        mark(red, nir, Flags::DARK);
        mark(green, nir, Flags::DARK_GREEN_NIR);
    }
}
