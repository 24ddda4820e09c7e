//! Clouds that do not fit in memory: points come in batches, columns leave in batches in the same order.
//!
//! ```text
//! source ─ first pass: bounds, channels, histogram ─ second pass: leaves in a temporary file
//!        ─ parts in space's order: core + halo ─ engine ─ rows in a temporary file ─ sink, in the source's order
//! ```
//!
//! [`Engine::stream`] gives, bit for bit on one device, the columns that [`Engine::features_at_scales`] gives of the whole
//! cloud (with one neighbourhood those of [`Engine::features_with`]). Each part is computed with a halo that grows until every row is proved.
//!
//! **Memory.** Arrays of the stream stay below [`StreamOptions::memory_budget`]: a part's records, the backend's and the proof's search
//! structures, what a GPU is sent from and sends to, and all columns, or a batch and the open piece of each leaf, or a segment of the output. How many points that is follows from
//! the number of columns. What does not depend on the cloud comes on top: the process itself, decoders and encoders of a few threads, a
//! device's driver; on the CPU count 100 MB. Rows whose neighbours are so far that the points between do not fit end in [`Error::BudgetTooSmall`].
//!
//! **Temporary files** take, for each point, 21 bytes and its channels, 4 more for each column, and for a source that cannot be
//! rewound 13 and its channels again. They have no name on Unix, so nothing is left behind whatever ends the process. A full disk is [`Error::Io`].

mod budget;
mod records;
mod source;
mod spill;
mod store;
mod temp;
mod tree;

use std::path::PathBuf;
use std::time::Instant;

pub use source::{Batches, ColumnShape, ColumnSink, PointSource};

use self::budget::{Budget, Row};
use self::records::Layout;
use self::spill::Spill;
use self::store::Store;
use self::temp::TempFile;
use self::tree::{Histogram, Kind, Node, Tree};
use crate::backend::gpu::HostMemory;
use crate::batch::{CloudInfo, PointBatch, check_columns};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::features::{Feature, FeatureSet};
use crate::neighborhood::Neighborhood;
use crate::options::Options;
use crate::part::{Loader, Needs, Part, PartJob, PartOf, Whole, XyBox};
use crate::report::Report;
use crate::watch::Watch;

/// Bytes of host memory that computing this for so many points in memory would take on the CPU, about: by which to choose between
/// [`Engine::features_with`] and [`Engine::stream`].
pub fn in_memory_bytes(
    points: u64,
    set: &FeatureSet,
    neighborhoods: &[Neighborhood],
    options: &Options,
) -> u64 {
    points.saturating_mul(Row::new(31, set, neighborhoods, options).bytes())
}

/// Bytes of memory that the system, or the group of processes that this one is in, has left; `None` where it does not say.
pub fn available_memory() -> Option<u64> {
    budget::available()
}

/// Called with what a stream does (`reading`, `sorting`, `computing`, `writing`), points done and points in all, 0 where that is not known;
/// breaking ends the stream with [`Error::Cancelled`].
pub type StreamWatch<'a> = &'a (dyn Fn(&'static str, u64, u64) -> std::ops::ControlFlow<()> + Sync);

/// How to stream.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct StreamOptions<'a> {
    /// Bytes of host memory; half of what is available unless said.
    pub memory_budget: Option<u64>,
    /// Folder for temporary files; the system's unless said.
    pub temp_dir: Option<PathBuf>,
    /// Leave out features whose inputs the cloud lacks, instead of failing.
    pub only_available: bool,
    /// Called after each batch and each part.
    pub watch: Option<StreamWatch<'a>>,
}

impl<'a> StreamOptions<'a> {
    /// Sets the bytes of host memory.
    #[must_use]
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.memory_budget = Some(bytes);
        self
    }

    /// Sets the folder for temporary files.
    #[must_use]
    pub fn temp_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.temp_dir = Some(folder.into());
        self
    }

    /// Leaves out features whose inputs the cloud lacks, instead of failing.
    #[must_use]
    pub fn only_available(mut self, yes: bool) -> Self {
        self.only_available = yes;
        self
    }

    /// Has `watch` called after each batch and each part.
    #[must_use]
    pub fn watch(mut self, watch: StreamWatch<'a>) -> Self {
        self.watch = Some(watch);
        self
    }

    fn report(&self, stage: &'static str, done: u64, all: u64) -> Result<()> {
        match self.watch.map(|watch| watch(stage, done, all)) {
            Some(std::ops::ControlFlow::Break(())) => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }
}

/// What a stream did, beside its columns.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct StreamReport {
    /// As of a call for the whole cloud; stages are sums over parts.
    pub report: Report,
    /// Parts that the cloud was cut into.
    pub parts: u64,
    /// Bytes of temporary files.
    pub temp_bytes: u64,
    /// Features left out, each with the input that the cloud lacks.
    pub left_out: Vec<(Feature, &'static str)>,
}

impl Engine {
    /// Computes `set` for every point of a source in each neighbourhood, in bounded memory; see [`stream`](crate::stream).
    ///
    /// ```
    /// use lidar_features::stream::{Batches, StreamOptions};
    /// use lidar_features::{Backend, CloudInfo, Columns, Engine, FeatureSet, Frame, Neighborhood, Options, PointBatch};
    ///
    /// let batch = |y: i32| {
    ///     let mut batch = PointBatch::default();
    ///     batch.points = (0..100).map(|x| [x * 50, y * 50, 0]).collect();
    ///     batch
    /// };
    /// let mut source = Batches::new(CloudInfo::new(Frame::new([0.0; 3], 0.01)?), (0..100).map(batch));
    /// let mut rows = 0;
    /// let mut sink = |columns: &Columns| {
    ///     rows += columns.len();
    ///     Ok(())
    /// };
    /// let engine = Engine::builder().backend(Backend::Cpu).build()?;
    /// let set = FeatureSet::parse("planarity")?;
    /// let options = StreamOptions::default().memory_budget(1 << 22);
    /// let scales = [Neighborhood::knn(8)?];
    /// let done = engine.stream(&mut source, &mut sink, &set, &scales, &Options::default(), &options)?;
    /// assert!(rows == 10_000 && done.parts > 1);
    /// # Ok::<(), lidar_features::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`features_at_scales`](Self::features_at_scales); [`Error::BudgetTooSmall`]; [`Error::Io`] of temporary files, a full disk's
    /// among them; [`Error::BatchesDiffer`], [`Error::SourceChanged`]; [`Error::Cancelled`] if the watch breaks or the engine's token is cancelled; and those of the source and the sink.
    pub fn stream(
        &self,
        source: &mut dyn PointSource,
        sink: &mut dyn ColumnSink,
        set: &FeatureSet,
        neighborhoods: &[Neighborhood],
        options: &Options,
        how: &StreamOptions<'_>,
    ) -> Result<StreamReport> {
        options.validate()?;
        let start = Instant::now();
        let bytes = how.memory_budget.unwrap_or_else(budget::usual);
        budget::check(bytes)?;
        let folder = how.temp_dir.clone().unwrap_or_else(std::env::temp_dir);
        let request = Request { set, neighborhoods, options, how, watch: self.watch(), folder };
        let First { info, whole, histogram, mut points, layout, ignored, empty } =
            request.first_pass(source, bytes)?;
        let mut out = StreamReport::default();
        let cloud = empty.cloud(&info).part_of(PartOf { whole: &whole, ground: &[] });
        let mut wanted = set.clone();
        if how.only_available {
            (wanted, out.left_out) = set.available_with(&cloud, options);
        }
        // An empty cloud shows what is wrong with the request before the work begins.
        let (none, _) = self.columns(&cloud, &wanted, neighborhoods, options)?;
        sink.plan(&wanted, neighborhoods)?;
        if whole.points == 0 {
            sink.begin(&none.shapes(), 0)?;
            sink.batch(&none)?;
            return Ok(out);
        }
        let request = Request { set: &wanted, ..request };
        let record = Store::record_bytes(&layout) as u64;
        let gpu = self.host_memory_of_gpu(&wanted, neighborhoods, options, &info.frame());
        let budget = Budget::new(bytes, Row::new(record, &wanted, neighborhoods, options), gpu)?;
        let tree = Tree::new(histogram, budget.leaf);
        let piece = budget.piece(tree.leaves.len(), Store::record_bytes(&layout));
        let mut store = Store::new(tree, layout, &request.folder, piece)?;
        request.second_pass(source, &mut points, &mut store, &layout, &budget, whole.points)?;
        out.temp_bytes = points.as_ref().map_or(0, TempFile::len);
        drop(points);
        let (spill, parts, mut report) = self.on_one_device(|engine| {
            let mut spill = Spill::new(&request.folder, whole.points, budget.segment)?;
            let mut parts = Parts {
                request: &request,
                engine,
                info,
                whole: &whole,
                budget: &budget,
                needs: Needs::of_request(&wanted, neighborhoods, options, &info),
                done: 0,
                parts: 0,
                report: Report::default(),
            };
            parts.all(&mut store, &mut spill)?;
            Ok((spill, parts.parts, parts.report))
        })?;
        out.parts = parts;
        out.temp_bytes += whole.points * record + spill.len();
        drop(store);
        request.report("writing", 0, whole.points)?;
        sink.begin(spill.shapes(), whole.points)?;
        spill.drain(|columns, done| {
            sink.batch(columns)?;
            request.report("writing", done, whole.points)
        })?;
        (report.points, report.left_out) = (whole.points as usize, ignored as usize);
        report.seconds = start.elapsed().as_secs_f64();
        out.report = report;
        Ok(out)
    }
}

/// What is asked for, and how.
#[derive(Clone)]
struct Request<'a> {
    set: &'a FeatureSet,
    neighborhoods: &'a [Neighborhood],
    options: &'a Options,
    how: &'a StreamOptions<'a>,
    watch: &'a Watch,
    folder: PathBuf,
}

/// What the first pass finds.
struct First {
    info: CloudInfo,
    whole: Whole,
    histogram: Histogram,
    /// The points, if the source cannot give them again.
    points: Option<TempFile>,
    layout: Layout,
    ignored: u64,
    /// A batch without points that has the cloud's columns.
    empty: PointBatch,
}

impl Request<'_> {
    /// Tells whoever listens, and ends the stream if one of them wants that.
    fn report(&self, stage: &'static str, done: u64, all: u64) -> Result<()> {
        self.watch.check()?;
        self.how.report(stage, done, all)
    }

    fn first_pass(&self, source: &mut dyn PointSource, bytes: u64) -> Result<First> {
        // Before the columns are known, points of the widest kind are counted with.
        let row = Row { record: 31, computed: 1, columns: 1, ground: 0 };
        let budget = Budget::new(bytes, row, HostMemory::default())?;
        let info = source.info();
        let spool = !source.can_rewind();
        let mut points = spool.then(|| TempFile::create(&self.folder)).transpose()?;
        let (mut first, mut layout, mut empty) = (None, None, PointBatch::default());
        let mut histogram = Histogram::new(budget.cells);
        let (mut whole, mut ignored) = (Whole::default(), 0);
        let all = source.points().unwrap_or(0);
        self.report("reading", 0, all)?;
        let mut bytes = Vec::new();
        while let Some(batch) = source.next_batch(budget.batch)? {
            batch.validate(&info)?;
            check_columns(&mut first, &batch)?;
            let layout = layout.get_or_insert_with(|| {
                empty = batch.like();
                Layout::new(self.set, &batch)
            });
            whole = whole.and(Whole::of(&batch, &self.options.ground));
            ignored += (0..batch.len()).filter(|&i| batch.is_ignored(i)).count() as u64;
            histogram.add(&batch.points);
            if let Some(file) = &mut points {
                let ground = self.ground(layout, &batch);
                bytes.clear();
                for i in 0..batch.len() {
                    layout.put(&batch, i, ground.as_ref().is_some_and(|mask| mask[i]), &mut bytes);
                }
                file.append(&bytes)?;
            }
            self.report("reading", whole.points, all)?;
        }
        let layout = layout.unwrap_or_else(|| Layout::new(self.set, &empty));
        Ok(First { info, whole, histogram, points, layout, ignored, empty })
    }

    /// Which points of a batch are ground and not ignored, if records say so.
    fn ground(&self, layout: &Layout, batch: &PointBatch) -> Option<Vec<bool>> {
        layout.has_ground().then(|| {
            let classes = self.options.ground.classes;
            let is_ground = |i: usize| match (&batch.ground, &batch.classification) {
                (Some(mask), _) => mask[i],
                (None, Some(of_points)) => classes.contains(of_points[i]),
                (None, None) => false,
            };
            (0..batch.len()).map(|i| !batch.is_ignored(i) && is_ground(i)).collect()
        })
    }

    fn second_pass(
        &self,
        source: &mut dyn PointSource,
        points: &mut Option<TempFile>,
        store: &mut Store,
        layout: &Layout,
        budget: &Budget,
        all: u64,
    ) -> Result<()> {
        self.report("sorting", 0, all)?;
        let Some(file) = points else {
            source.rewind()?;
            while let Some(batch) = source.next_batch(budget.batch)? {
                let ground = self.ground(layout, &batch);
                store.add(&batch, ground.as_deref())?;
                self.report("sorting", store.points(), all)?;
            }
            return store.finish();
        };
        let (mut at, mut bytes) = (0, Vec::new());
        while at < file.len() {
            let size = (file.len() - at).min((budget.batch * layout.len()) as u64);
            bytes.resize(size as usize, 0);
            file.read(at, &mut bytes)?;
            let mut batch = layout.batch();
            bytes.chunks_exact(layout.len()).for_each(|record| layout.push(record, &mut batch));
            store.add(&batch, batch.ground.as_deref())?;
            at += size;
            self.report("sorting", store.points(), all)?;
        }
        store.finish()
    }
}

/// Parts of a stream, one after the other.
struct Parts<'a> {
    request: &'a Request<'a>,
    engine: &'a Engine,
    info: CloudInfo,
    whole: &'a Whole,
    budget: &'a Budget,
    needs: Needs,
    done: u64,
    parts: u64,
    report: Report,
}

/// A node of the tree, apart from it: what is computed needs the store that holds the tree.
struct Area {
    points: u64,
    bounds: XyBox,
    halves: Option<Box<[Area; 2]>>,
}

impl Area {
    fn of(node: &Node) -> Self {
        let halves = match &node.kind {
            Kind::Leaf(_) => None,
            Kind::Halves(_, _, halves) => Some(Box::new([Self::of(&halves[0]), Self::of(&halves[1])])),
        };
        Self { points: node.points, bounds: node.bounds, halves }
    }
}

impl Parts<'_> {
    fn all(&mut self, store: &mut Store, spill: &mut Spill) -> Result<()> {
        self.request.report("computing", 0, self.whole.points)?;
        let root = Area::of(&store.tree().root);
        let bounds = root.bounds;
        // Halves of halves, the first of them next.
        let mut open = vec![root];
        while let Some(area) = open.pop() {
            let too_many = area.points > self.budget.part;
            match area.halves {
                Some(halves) if too_many || !self.fits(store, &area.bounds, area.points, bounds) => {
                    let [low, high] = *halves;
                    open.extend([high, low]);
                }
                _ => self.part(store, spill, &area.bounds, area.points, bounds)?,
            }
        }
        Ok(())
    }

    fn job(&self, bounds: XyBox) -> PartJob<'_> {
        PartJob {
            engine: self.engine,
            set: self.request.set,
            neighborhoods: self.request.neighborhoods,
            options: self.request.options,
            info: self.info,
            whole: self.whole,
            bounds,
            needs: &self.needs,
            most: Some(self.budget.most),
        }
    }

    /// The boxes that a part begins with.
    fn boxes(&self, store: &Store, core: &XyBox, points: u64, bounds: XyBox) -> (XyBox, XyBox) {
        let density = points as f64 / core.area();
        let ground = store.ground_points(core) as f64 / core.area();
        self.job(bounds).first_boxes(*core, density, if ground > 0.0 { ground } else { density / 100.0 })
    }

    fn fits(&self, store: &Store, core: &XyBox, points: u64, bounds: XyBox) -> bool {
        let (near, ground) = self.boxes(store, core, points, bounds);
        store.count(near, ground) <= self.budget.most.points
    }

    fn part(
        &mut self,
        store: &mut Store,
        spill: &mut Spill,
        core: &XyBox,
        points: u64,
        bounds: XyBox,
    ) -> Result<()> {
        let boxes = self.boxes(store, core, points, bounds);
        let count = store.count(boxes.0, boxes.1);
        if count > self.budget.most.points {
            return Err(self.budget.most.exceeded_by(count));
        }
        store.set_core(*core);
        let Part { ids, columns, report } = self.job(bounds).run(store, *core, boxes)?;
        spill.add(&ids, &columns)?;
        self.done += ids.len() as u64;
        self.parts += 1;
        self.report.absorb(report);
        self.request.report("computing", self.done, self.whole.points)
    }
}
