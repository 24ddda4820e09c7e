//! The engine: validate, put on the lattice, compute on a backend, report.

mod on_device;

use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;

use crate::backend::cpu::CpuSearch;
use crate::backend::gpu::{Gpu, HostMemory, Limits};
use crate::backend::{Job, PointAttributes, Strategy};
use crate::cloud::{Lattice, PointCloud};
use crate::color::{ColorDepth, Values};
use crate::columns::{Columns, RawColumns};
use crate::conventions;
use crate::error::{Error, Result};
use crate::extras::{self, Choices, Extra, Extras, Given};
use crate::features::{Feature, FeatureSet, Flags, Input};
use crate::filter::{Kept, Spread};
use crate::frame::Frame;
use crate::neighborhood::{Neighborhood, Neighbors};
use crate::options::{Options, Orientation};
use crate::part::Whole;
use crate::report::{PoolStats, Report};
use crate::together::together;
use crate::unit::Units;
use crate::watch::{CancelToken, Progress, Watch};
use crate::{orient, passes};

pub use self::on_device::DeviceColumns;

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
    device: Option<(wgpu::Device, wgpu::Queue)>,
    limits: Limits,
    cpu_search: CpuSearch,
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

    /// Computes on the application's own device, whatever adapter it is of, instead of opening one. [`Backend::Cpu`] leaves
    /// it alone. [`required_limits`](crate::required_limits) and [`required_features`](crate::required_features) say what
    /// it is to be asked for.
    ///
    /// * Calls block until their work on the GPU is done. They submit to the application's queue, so what the
    ///   application submits meanwhile runs between their submissions.
    /// * The device's handlers of errors and of loss stay the application's. Errors of the engine's own work never reach
    ///   them: calls return them. The application forwards a loss with [`Engine::device_lost`].
    /// * The application may poll, also from other threads while calls run. The engine then polls without waiting
    ///   (`PollType::Poll`), several thousand times a second while it waits for results: in wgpu 30.0.1 two
    ///   waits on one device can panic (wgpu#9958).
    /// * The device must not be destroyed while calls run, unless nobody but the engine polls it or submits to it until they
    ///   have ended, in an error: in wgpu 30.0.1 the first poll or submission that finds a destroyed device idle frees memory
    ///   that calls look at. Cancel them before ([`Engine::cancelled_by`]).
    #[must_use]
    pub fn device(mut self, device: wgpu::Device, queue: wgpu::Queue) -> Self {
        self.device = Some((device, queue));
        self
    }

    /// Most core points of a chunk on the GPU, instead of what the device's limits allow. Results do not depend on it.
    #[must_use]
    pub fn chunk_points(mut self, points: usize) -> Self {
        self.limits.chunk_points = Some(points.max(1));
        self
    }

    /// Most bytes of GPU memory that calls take, memory for transfers included; 2 GiB unless said. Clouds that need more run
    /// in chunks, and results do not depend on them.
    #[must_use]
    pub fn gpu_memory(mut self, bytes: u64) -> Self {
        self.limits.budget = Some(bytes);
        self
    }

    /// Chunks that are under way at one time: 3 unless said, fewer where memory is short. With one, the device waits while the
    /// host packs and copies.
    #[must_use]
    pub fn chunks_in_flight(mut self, chunks: usize) -> Self {
        self.limits.slots = Some(chunks.max(1));
        self
    }

    /// Whether buffers are kept for the next chunk and the next call; they are unless said. To measure what that is worth.
    #[must_use]
    pub fn reuse_buffers(mut self, reuse: bool) -> Self {
        self.limits.no_reuse = !reuse;
        self
    }

    /// How the CPU finds neighbours; [`CpuSearch::Blocks`] unless said.
    #[must_use]
    pub fn cpu_search(mut self, search: CpuSearch) -> Self {
        self.cpu_search = search;
        self
    }

    /// Opens the adapter, if one may be used.
    ///
    /// # Errors
    /// With [`Backend::Gpu`] whatever keeps the adapter from being used; with the others nothing but
    /// [`Error::DeviceTooSmall`] for a [`device`](Self::device) that cannot serve.
    pub fn build(self) -> Result<Engine> {
        let mut fallback = None;
        let gpu = match self.backend {
            Backend::Cpu => None,
            Backend::Auto | Backend::Gpu if self.device.is_some() => {
                let open = |(device, queue)| Gpu::of_application(device, queue, self.limits);
                self.device.map(open).transpose()?
            }
            Backend::Gpu => Some(Gpu::open(self.adapter.as_deref(), true, self.limits)?),
            Backend::Auto => match Gpu::open(self.adapter.as_deref(), false, self.limits) {
                Ok(gpu) => Some(gpu),
                Err(error) => {
                    tracing::info!(%error, "computing on the CPU");
                    fallback = Some(error.to_string());
                    None
                }
            },
        };
        Ok(Engine {
            backend: self.backend,
            gpu: gpu.map(Arc::new),
            fallback,
            watch: Watch::default(),
            cpu_search: self.cpu_search,
        })
    }
}

/// Computes neighbours and features. Cheap to clone; may be used from many threads.
#[derive(Debug, Clone)]
pub struct Engine {
    backend: Backend,
    pub(crate) gpu: Option<Arc<Gpu>>,
    fallback: Option<String>,
    watch: Watch,
    cpu_search: CpuSearch,
}

impl Engine {
    /// An engine with [`Backend::Auto`].
    ///
    /// # Errors
    /// None today; see [`EngineBuilder::build`].
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// An engine on the application's own device: see [`EngineBuilder::device`].
    ///
    /// # Errors
    /// [`Error::DeviceTooSmall`].
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Result<Self> {
        Self::builder().device(device, queue).build()
    }

    /// Tells the engine that its device is lost: what an application whose own device it is calls from its handler, which
    /// the engine does not replace. Calls that run end with [`Error::DeviceLost`] and later ones begin with it, or go on
    /// with the CPU under [`Backend::Auto`]. An engine that opened its device itself needs no telling.
    pub fn device_lost(&self, reason: impl Into<String>) {
        if let Some(gpu) = &self.gpu {
            gpu.lose(reason.into());
        }
    }

    /// An engine with choices.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// The same engine, whose calls end with [`Error::Cancelled`] once `token` is cancelled.
    #[must_use]
    pub fn cancelled_by(&self, token: &CancelToken) -> Self {
        let watch = Watch { token: Some(token.clone()), ..self.watch.clone() };
        Self { watch, ..self.clone() }
    }

    /// The same engine, whose calls tell `listener` how far they are: after every chunk on a GPU, after every few thousand
    /// points on the CPU, from any thread, several at a time.
    #[must_use]
    pub fn on_progress(&self, listener: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        let watch = Watch { listener: Some(Arc::new(listener)), ..self.watch.clone() };
        Self { watch, ..self.clone() }
    }

    /// Counters of the GPU's buffer pool, from any thread and during calls; `None` without a GPU.
    pub fn pool_stats(&self) -> Option<PoolStats> {
        self.gpu.as_ref().map(|gpu| gpu.pool_stats())
    }

    /// Gives buffers that wait for reuse back to the GPU.
    pub fn trim(&self) {
        if let Some(gpu) = &self.gpu {
            gpu.trim();
        }
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
        self.features_with(cloud, set, neighborhood, &Options::default())
    }

    /// Computes `set` for every point of `cloud`, written as `options` say.
    ///
    /// # Errors
    /// As [`features`](Self::features), and [`Error::InvalidViewpoint`].
    pub fn features_with(
        &self,
        cloud: &PointCloud<'_>,
        set: &FeatureSet,
        neighborhood: Neighborhood,
        options: &Options,
    ) -> Result<(Columns, Report)> {
        self.one(Clouds { cloud, queries: None }, set, neighborhood, options)
    }

    /// Computes `set` at every point of `queries`, which are no points of `cloud`: a query counts in no neighbourhood, k
    /// counts points of the cloud, and a radius may hold none ([`Flags::EMPTY`]). Colours are the queries' own.
    /// `mean_distance`, `nearest_distance`, `plane_distance` and the like are about all members. A query that its cloud
    /// [ignores](PointCloud::ignoring) has no values.
    ///
    /// Both clouds are put on one lattice: coordinates get the frame that they would have as one cloud, a lattice keeps its
    /// own where the other's coordinates lie on it.
    ///
    /// ```
    /// use lidar_features::{Backend, Engine, Feature, FeatureSet, Ground, Neighborhood, Options, PointCloud};
    ///
    /// // Level ground at 10 m, and a roof above some of it.
    /// let points: Vec<[f64; 3]> = (0..200).map(|i| [f64::from(i % 20), f64::from(i / 20 % 5), if i < 100 { 10.0 } else { 14.0 }]).collect();
    /// let classes: Vec<u8> = (0..200).map(|i| if i < 100 { 2 } else { 6 }).collect();
    /// let cloud = PointCloud::from_f64(&points).with_classification(&classes);
    /// let engine = Engine::builder().backend(Backend::Cpu).build()?;
    /// let set = FeatureSet::parse("height_above_ground,nearest_distance")?;
    /// let options = Options::default().ground(Ground::default().max_distance(5.0));
    /// let places = PointCloud::from_f64(&[[3.5, 2.0, 11.5], [90.0, 2.0, 11.5]]);
    /// let (columns, _) = engine.features_at(&places, &cloud, &set, Neighborhood::knn(4)?, &options)?;
    /// let heights = columns.get(Feature::HeightAboveGround).unwrap();
    /// assert!(heights[0] == 1.5 && heights[1].is_nan());
    /// # Ok::<(), lidar_features::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`features_with`](Self::features_with), and [`Error::FramesDiffer`] for two lattices out of step.
    pub fn features_at(
        &self,
        queries: &PointCloud<'_>,
        cloud: &PointCloud<'_>,
        set: &FeatureSet,
        neighborhood: Neighborhood,
        options: &Options,
    ) -> Result<(Columns, Report)> {
        self.one(Clouds { cloud, queries: Some(queries) }, set, neighborhood, options)
    }

    /// Computes `set` for every point of `cloud` in several neighbourhoods. Those by number and those by radius take one
    /// search each; each column says which neighbourhood is its own ([`Column::name`](crate::Column::name)).
    ///
    /// # Errors
    /// As [`features_with`](Self::features_with), and [`Error::InvalidScales`] if there is no neighbourhood, or one twice.
    pub fn features_at_scales(
        &self,
        cloud: &PointCloud<'_>,
        set: &FeatureSet,
        neighborhoods: &[Neighborhood],
        options: &Options,
    ) -> Result<(Columns, Report)> {
        if neighborhoods.is_empty() {
            return Err(Error::InvalidScales("no neighbourhood is given".to_owned()));
        }
        let repeated = (1..neighborhoods.len()).find(|&i| neighborhoods[..i].contains(&neighborhoods[i]));
        if let Some(i) = repeated {
            let name = neighborhoods[i].suffix();
            return Err(Error::InvalidScales(format!("neighbourhood {name} is given twice")));
        }
        let (raw, report) = self.compute(Clouds { cloud, queries: None }, set, neighborhoods, options)?;
        let raw = neighborhoods.iter().copied().zip(raw).collect();
        Ok((Columns::from_scales(set, raw, &options.conventions, &self.watch)?.fill(options.fill), report))
    }

    fn one(
        &self,
        clouds: Clouds<'_, '_>,
        set: &FeatureSet,
        neighborhood: Neighborhood,
        options: &Options,
    ) -> Result<(Columns, Report)> {
        let (raw, report) = self.compute(clouds, set, &[neighborhood], options)?;
        let raw = raw.into_iter().next().unwrap_or_default();
        Ok((Columns::from_raw(set, raw, &options.conventions, &self.watch)?.fill(options.fill), report))
    }

    /// Raw columns in each neighbourhood.
    fn compute(
        &self,
        clouds: Clouds<'_, '_>,
        set: &FeatureSet,
        neighborhoods: &[Neighborhood],
        options: &Options,
    ) -> Result<(Vec<RawColumns>, Report)> {
        clouds.validate()?;
        options.validate()?;
        if clouds.queries.is_some() {
            extras::check_queries(set)?;
        }
        let conventions = &options.conventions;
        let counted: Vec<_> = neighborhoods.iter().map(|n| conventions.neighborhood(*n)).collect();
        let neighborhoods: &[Neighborhood] = &counted.iter().map(|n| n.0).collect::<Vec<_>>();
        let computed = computed(set, options);
        let Inputs { attributes, ground, color } = inputs(clouds, set, options)?;
        let choices = choices(options, clouds.cloud.units);
        let wanted = extras::needed(set);
        let report = Report {
            features: set.iter().collect(),
            conventions: conventions.name(),
            redefined: set.iter().filter(|f| conventions.redefines(*f)).collect(),
            members: counted.iter().find_map(|n| n.1),
            color,
            ..Report::default()
        };
        let inputs = (attributes, ground);
        let (mut raw, mut report) =
            self.run(clouds, inputs, neighborhoods[0], report, |strategy, job, report| {
                if job.asked().len() == 0 {
                    let empty = || RawColumns { values: vec![Vec::new(); computed.len()], flags: Vec::new() };
                    return Ok(neighborhoods.iter().map(|_| empty()).collect());
                }
                let (own, shared): (Vec<_>, Vec<_>) = match job.lattice.len() {
                    0 => Default::default(),
                    _ => wanted.iter().partition(|extra| extra.is_of_neighborhood()),
                };
                let apart = |f: Feature| own.iter().any(|extra: &Extra| extra.feature() == Some(f));
                let set: FeatureSet = computed.iter().filter(|f| !apart(*f)).collect();
                let extras = extras_of(strategy, job, &shared, &choices, report)?;
                let attributes = PointAttributes { given: &extras.given, ..job.attributes };
                let job = &Job { attributes, ..*job };
                let mut raw = of_queries(strategy, job, &set, neighborhoods, report)?;
                for (raw, &neighborhood) in raw.iter_mut().zip(neighborhoods) {
                    raw.flags.iter_mut().zip(&extras.flags).for_each(|(all, own)| *all |= own);
                    if !own.is_empty() {
                        let job = Job { neighborhood, ..*job };
                        let extras = extras_of(strategy, &job, &own, &choices, report)?;
                        raw.flags.iter_mut().zip(&extras.flags).for_each(|(all, own)| *all |= own);
                        insert(raw, &computed, extras.given);
                    }
                    flag_dark(&mut raw.flags, &job.attributes);
                    drop_flags(&mut raw.flags, neighborhood, &computed);
                    if let Orientation::Viewpoint(at) = options.orientation {
                        report.time("orient", || orient::turn(&computed, job.asked(), at, raw));
                    }
                }
                Ok(raw)
            })?;
        if !report.redefined.is_empty() {
            let start = Instant::now();
            raw.iter_mut().for_each(|raw| conventions::rewrite(conventions, set, &computed, raw));
            report.add("conventions", start.elapsed());
            report.seconds += start.elapsed().as_secs_f64();
        }
        // What was computed for orientation and conventions alone stands behind what was asked for.
        raw.iter_mut().for_each(|raw| raw.values.truncate(set.len()));
        Ok((raw, report))
    }

    /// Who watches this engine's calls.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// What a request takes of the host's memory for its GPU, if it has one.
    pub(crate) fn host_memory_of_gpu(
        &self,
        set: &FeatureSet,
        neighborhoods: &[Neighborhood],
        options: &Options,
        frame: &Frame,
    ) -> HostMemory {
        let counted: Vec<_> = neighborhoods.iter().map(|n| options.conventions.neighborhood(*n).0).collect();
        let of = |gpu: &Arc<Gpu>| gpu.host_memory(&computed(set, options), &counted, frame);
        self.gpu.as_ref().map(of).unwrap_or_default()
    }

    /// Columns as [`features_with`](Self::features_with) gives them for one neighbourhood and
    /// [`features_at_scales`](Self::features_at_scales) for several.
    pub(crate) fn columns(
        &self,
        cloud: &PointCloud<'_>,
        set: &FeatureSet,
        neighborhoods: &[Neighborhood],
        options: &Options,
    ) -> Result<(Columns, Report)> {
        match *neighborhoods {
            [one] => self.features_with(cloud, set, one, options),
            _ => self.features_at_scales(cloud, set, neighborhoods, options),
        }
    }

    /// Does work of several calls on one device: a GPU's columns and the CPU's differ in their last bits. Where the GPU
    /// fails and need not be the one, all of it is done again on the CPU.
    pub(crate) fn on_one_device<T>(&self, mut work: impl FnMut(&Self) -> Result<T>) -> Result<T> {
        let backend = if self.gpu.is_some() { Backend::Gpu } else { Backend::Cpu };
        match work(&Self { backend, ..self.clone() }) {
            Err(error) if self.backend == Backend::Auto && self.gpu.is_some() && error.is_of_gpu() => {
                tracing::warn!(%error, "the GPU failed, computing on the CPU");
                work(&Self {
                    backend: Backend::Cpu,
                    gpu: None,
                    fallback: Some(error.to_string()),
                    ..self.clone()
                })
            }
            done => done,
        }
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
        self.lists(Clouds { cloud, queries: None }, neighborhood)
    }

    /// Finds the neighbours in `cloud` of every point of `queries`, which are no points of it: they count in no
    /// neighbourhood, and rows may be empty. Row `i` holds indices in `cloud`.
    ///
    /// # Errors
    /// As [`features_at`](Self::features_at).
    pub fn neighbors_of(
        &self,
        queries: &PointCloud<'_>,
        cloud: &PointCloud<'_>,
        neighborhood: Neighborhood,
    ) -> Result<(Neighbors, Report)> {
        self.lists(Clouds { cloud, queries: Some(queries) }, neighborhood)
    }

    /// Finds the neighbours of every point of `cloud` seen from above: distances are those in XY, radii those of vertical
    /// cylinders.
    ///
    /// # Errors
    /// As [`neighbors`](Self::neighbors).
    pub fn neighbors_xy(
        &self,
        cloud: &PointCloud<'_>,
        neighborhood: Neighborhood,
    ) -> Result<(Neighbors, Report)> {
        cloud.validate()?;
        let (clouds, none) = (Clouds { cloud, queries: None }, (PointAttributes::default(), None));
        self.run(clouds, none, neighborhood, Report::default(), |strategy, job, report| {
            match job.lattice.len() {
                0 => Ok(Neighbors { offsets: vec![0], ..Neighbors::default() }),
                n => {
                    let flat = extras::flattened(job.lattice, 0..n)?;
                    strategy.neighbors(&Job { lattice: &flat, ..*job }, report)
                }
            }
        })
    }

    fn lists(&self, clouds: Clouds<'_, '_>, neighborhood: Neighborhood) -> Result<(Neighbors, Report)> {
        clouds.validate()?;
        let none = (PointAttributes::default(), None);
        self.run(clouds, none, neighborhood, Report::default(), |strategy, job, report| {
            match (job.asked().len(), job.lattice.len()) {
                (0, _) | (_, 0) => {
                    Ok(Neighbors { offsets: vec![0; job.asked().len() + 1], ..Neighbors::default() })
                }
                _ => strategy.neighbors(job, report),
            }
        })
    }

    /// Puts the clouds on their lattice and runs `work` on the GPU, then on the CPU if that failed and may.
    fn run<T: Spread>(
        &self,
        clouds: Clouds<'_, '_>,
        (attributes, ground): (PointAttributes<'_>, Option<Vec<bool>>),
        neighborhood: Neighborhood,
        mut report: Report,
        work: impl Fn(&dyn Strategy, &Job<'_>, &mut Report) -> Result<T>,
    ) -> Result<(T, Report)> {
        let start = Instant::now();
        let Clouds { cloud, queries } = clouds;
        let (asked, lattice) = report.time("lattice", || -> Result<_> {
            Ok(match queries {
                None => (None, cloud.lattice(&self.watch)?),
                Some(queries) => {
                    together(queries, cloud, &self.watch).map(|(asked, there)| (Some(asked), there))?
                }
            })
        })?;
        self.watch.check()?;
        clouds.describe(&lattice, &mut report);
        report.backend = "none";
        report.fallback.clone_from(&self.fallback);
        let kept = Kept::of(cloud.ignored);
        report.left_out = kept.as_ref().map_or(0, Kept::left_out);
        let kept_queries = queries.and_then(|queries| Kept::of(queries.ignored));
        let rows = if queries.is_some() { &kept_queries } else { &kept };
        let filter = || -> Result<_> {
            let asked = asked.map(|asked| Kept::those(&kept_queries, asked)).transpose()?;
            Ok((Kept::those(&kept, lattice)?, asked, rows.as_ref().map(|kept| kept.channels(&attributes))))
        };
        let filters = kept.is_some() || rows.is_some();
        let (lattice, asked, channels) = if filters { report.time("filter", filter)? } else { filter()? };
        let attributes = channels.as_ref().map_or(attributes, |own| own.replace(&attributes));
        let ground = ground.map(|mask| match &kept {
            Some(kept) => kept.gather(&mask),
            None => mask,
        });
        let job = Job {
            lattice: &lattice,
            queries: asked.as_ref(),
            attributes,
            ground: ground.as_deref(),
            part: cloud.part,
            neighborhood,
            watch: &self.watch,
        };
        let on_gpu = match &self.gpu {
            Some(gpu) if job.asked().len() > 0 => {
                let mut attempt = report.clone();
                attempt.backend = "gpu";
                attempt.adapter = Some(gpu.name().to_owned());
                match work(gpu.as_ref(), &job, &mut attempt) {
                    Ok(out) => Some((out, attempt)),
                    Err(error) if self.backend == Backend::Gpu || matches!(error, Error::Cancelled) => {
                        return Err(error);
                    }
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
                if job.asked().len() > 0 {
                    report.backend = "cpu";
                }
                let out = work(&self.cpu_search, &job, &mut report)?;
                (out, report)
            }
        };
        let out = match filters {
            false => out,
            true => report.time("filter", || {
                let out = match &kept {
                    Some(kept) => out.rename(kept),
                    None => out,
                };
                match rows {
                    Some(kept) => out.spread(kept, &self.watch),
                    None => out,
                }
            }),
        };
        self.watch.check()?;
        report.seconds = start.elapsed().as_secs_f64();
        Ok((out, report))
    }
}

/// What a call is about: a cloud, and queries of it that are no points of it.
#[derive(Debug, Clone, Copy)]
struct Clouds<'c, 'a> {
    cloud: &'c PointCloud<'a>,
    queries: Option<&'c PointCloud<'a>>,
}

impl<'c, 'a> Clouds<'c, 'a> {
    fn validate(&self) -> Result<()> {
        self.cloud.validate()?;
        self.queries.map_or(Ok(()), PointCloud::validate)
    }

    fn describe(&self, lattice: &Lattice<'_>, report: &mut Report) {
        let units = self.cloud.units;
        report.points = self.asked().len();
        report.quantum = lattice.frame.quantum();
        report.unit = units.horizontal;
        report.vertical_unit = units.vertical;
        report.unit_source = units.source;
    }

    /// What there is one row of the result for.
    fn asked(&self) -> &'c PointCloud<'a> {
        self.queries.unwrap_or(self.cloud)
    }
}

/// Extras of a job that asks about something, among points.
fn extras_of(
    strategy: &dyn Strategy,
    job: &Job<'_>,
    wanted: &[Extra],
    choices: &Choices,
    report: &mut Report,
) -> Result<Extras> {
    if job.lattice.len() == 0 || wanted.is_empty() {
        return Ok(Extras::default());
    }
    let start = Instant::now();
    let extras = extras::compute(strategy, job, wanted, choices, report)?;
    report.add("extras", start.elapsed());
    Ok(extras)
}

/// Puts extras that are features where `set` has them; the columns hold the others of `set`.
fn insert(raw: &mut RawColumns, set: &FeatureSet, given: Vec<Given>) {
    let mut values = std::mem::take(&mut raw.values).into_iter();
    let mut given: Vec<_> = given.into_iter().map(|(extra, values)| (extra.feature(), values)).collect();
    let column = |f: Feature| match given.iter_mut().find(|own| own.0 == Some(f)) {
        Some((_, own)) => std::mem::take(own),
        None => values.next().unwrap_or_default(),
    };
    raw.values = set.iter().map(column).collect();
}

/// Columns of a job that asks about something. A cloud without points gives no neighbourhood a member, and where no
/// neighbourhood is needed, none is looked for.
fn of_queries(
    strategy: &dyn Strategy,
    job: &Job<'_>,
    set: &FeatureSet,
    neighborhoods: &[Neighborhood],
    report: &mut Report,
) -> Result<Vec<RawColumns>> {
    let members = job.lattice.len() > 0;
    if members && set.needs_neighbors() || !job.is_foreign() {
        return passes::features(strategy, job, set, neighborhoods, report);
    }
    let of_members = |f: &Feature| f.needs_neighbors() || !members && f.row().inputs.contains(&Input::Xyz);
    let own: FeatureSet = set.iter().filter(|f| !of_members(f)).collect();
    let alone = Job { lattice: job.asked(), queries: None, ..*job };
    let RawColumns { values, mut flags } = strategy.features(&alone, &own, report)?;
    let mut values = values.into_iter();
    let mut column = |f: Feature| match of_members(&f) {
        true if f == Feature::CountRadius => vec![0.0; flags.len()],
        true => vec![f32::NAN; flags.len()],
        false => values.next().unwrap_or_default(),
    };
    let values = set.iter().map(&mut column).collect();
    if !members && set.iter().any(|f| of_members(&f)) {
        flags.iter_mut().for_each(|flags| *flags |= Flags::EMPTY.0);
    }
    Ok(vec![RawColumns { values, flags }])
}

/// `set` with all that is computed for it.
pub(crate) fn computed(set: &FeatureSet, options: &Options) -> FeatureSet {
    let computed = options.conventions.with_bases(set);
    match options.orientation {
        Orientation::Up => computed,
        Orientation::Viewpoint(_) => orient::with_normals(&computed),
    }
}

/// What a request says about extras.
pub(crate) fn choices(options: &Options, units: Units) -> Choices {
    let count_radius = options.count_radius.unwrap_or(units.horizontal.metres(COUNT_RADIUS));
    Choices { ground: options.ground, count_radius, units }
}

/// Radius of counts in metres, unless the request says another: that of IGN's num_points_2m.
const COUNT_RADIUS: f64 = 2.0;

/// What a set needs beside coordinates.
struct Inputs<'a> {
    attributes: PointAttributes<'a>,
    /// Ground points of the cloud, if a feature is about them.
    ground: Option<Vec<bool>>,
    color: [Option<ColorDepth>; 2],
}

/// The channels that `set` needs, with their depths; an error that lists every one that lacks.
fn inputs<'a>(clouds: Clouds<'_, 'a>, set: &FeatureSet, options: &Options) -> Result<Inputs<'a>> {
    let cloud = clouds.asked();
    let (mut lacks, values) = lacking(cloud, set);
    let ground = match set.needs(Input::Ground).then(|| options.ground.of(clouds.cloud)) {
        None => None,
        Some(Ok(mask)) => Some(mask),
        Some(Err(what)) => {
            lacks.push((Input::Ground, what));
            None
        }
    };
    if !lacks.is_empty() {
        let missing =
            set.iter().flat_map(|feature| lacks_of(feature, &lacks).map(move |what| (feature, what)));
        return Err(Error::MissingInputs(missing.collect()));
    }
    let depth = |values: Option<Values>, stated: Option<ColorDepth>, channel| match (values, stated) {
        (Some(Values { largest, .. }), Some(depth)) if largest > depth.full_scale() => {
            Err(Error::ColorBeyondDepth { channel, largest, depth })
        }
        (values, stated) => Ok(values.map(|values| stated.unwrap_or_else(|| values.depth()))),
    };
    let color = [depth(values[0], cloud.rgb_depth, "rgb")?, depth(values[1], cloud.nir_depth, "nir")?];
    let full = |depth: Option<ColorDepth>| depth.map_or(0, ColorDepth::full_scale);
    let attributes = PointAttributes {
        rgb: cloud.rgb.filter(|_| color[0].is_some()),
        nir: cloud.nir.filter(|_| color[1].is_some()),
        intensity: cloud.intensity.filter(|_| set.needs(Input::Intensity)),
        rgb_full: full(color[0]),
        nir_full: full(color[1]),
        given: &[],
    };
    Ok(Inputs { attributes, ground, color })
}

/// Inputs of `set` that the cloud does not have, in words.
type Lacks = Vec<(Input, &'static str)>;

/// Channels that `set` needs and the cloud lacks, and what the values of rgb and nir are if it needs and has them.
fn lacking(cloud: &PointCloud<'_>, set: &FeatureSet) -> (Lacks, [Option<Values>; 2]) {
    let mut lacks = Vec::new();
    let mut look = |input, values: Option<Values>, [none, dark]: [&'static str; 2]| {
        if !set.needs(input) {
            return None;
        }
        match values {
            None => lacks.push((input, none)),
            // A sensor that recorded nothing leaves zeros.
            Some(Values { largest: 0, .. }) if cloud.has_points() => lacks.push((input, dark)),
            Some(values) => return Some(values),
        }
        None
    };
    // A part's values are the whole cloud's.
    let whole = cloud.part.map(|part| part.whole);
    let of_whole = |values: fn(&Whole) -> Option<Values>| whole.and_then(values);
    let rgb = cloud.rgb.filter(|_| set.needs(Input::Rgb));
    let rgb = rgb.map(|channels| of_whole(|w| w.rgb).unwrap_or_else(|| Values::of(channels)));
    let nir = cloud.nir.filter(|_| set.needs(Input::Nir));
    let nir = nir.map(|channel| of_whole(|w| w.nir).unwrap_or_else(|| Values::of([channel])));
    let intensity = cloud.intensity.filter(|_| set.needs(Input::Intensity));
    let intensity =
        intensity.map(|channel| of_whole(|w| w.intensity).unwrap_or_else(|| Values::of([channel])));
    look(Input::Intensity, intensity, ["intensity", "intensity (all values are zero)"]);
    let values = [
        look(Input::Rgb, rgb, ["rgb", "rgb (all values are zero)"]),
        look(Input::Nir, nir, ["nir", "nir (all values are zero)"]),
    ];
    (lacks, values)
}

/// The lacking inputs of one feature.
fn lacks_of(feature: Feature, lacks: &[(Input, &'static str)]) -> impl Iterator<Item = &'static str> {
    lacks.iter().filter(move |lack| feature.row().inputs.contains(&lack.0)).map(|lack| lack.1)
}

impl FeatureSet {
    /// The features that the cloud has the inputs for; and the others, each with the first input that it lacks.
    pub fn available(&self, cloud: &PointCloud<'_>) -> (Self, Vec<(Feature, &'static str)>) {
        self.available_with(cloud, &Options::default())
    }

    /// The same where the options say what is ground.
    pub fn available_with(
        &self,
        cloud: &PointCloud<'_>,
        options: &Options,
    ) -> (Self, Vec<(Feature, &'static str)>) {
        let (mut lacks, _) = lacking(cloud, self);
        if self.needs(Input::Ground)
            && let Err(what) = options.ground.of(cloud)
        {
            lacks.push((Input::Ground, what));
        }
        let left_out: Vec<_> =
            self.iter().filter_map(|feature| Some((feature, lacks_of(feature, &lacks).next()?))).collect();
        let kept = self.iter().filter(|feature| left_out.iter().all(|(out, _)| out != feature));
        (kept.collect(), left_out)
    }
}

/// Flags that tell of something which backends look for only when a feature is about it.
const ON_REQUEST: [Flags; 4] = [Flags::NO_PLANE, Flags::UNDER_SIX, Flags::DARK_AROUND, Flags::ALONE];

/// Drops the flag of a radius of zero where the farthest member does not give it, and those that no feature is about, so
/// that the flags of backends agree.
fn drop_flags(flags: &mut [u32], neighborhood: Neighborhood, set: &FeatureSet) {
    let keep = kept_flags(neighborhood, set);
    flags.par_iter_mut().with_min_len(1 << 14).for_each(|flags| *flags &= keep);
}

fn kept_flags(neighborhood: Neighborhood, set: &FeatureSet) -> u32 {
    let dropped = ON_REQUEST.into_iter().filter(|flag| !set.has_rule_for(*flag));
    let radius = matches!(neighborhood, Neighborhood::Radius { .. }).then_some(Flags::NO_RADIUS);
    !dropped.chain(radius).fold(0, |all, flag| all | flag.0)
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
