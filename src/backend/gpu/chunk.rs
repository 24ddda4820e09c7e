//! One chunk on the device: index, search, features, and the queries that need a second look.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::budget::{Cut, STRAGGLER_SHARE};
use super::kernel::{Evaluate, Kernel, Needs, Output, Search, Subject, crew};
use super::layout::{self, Grid, Scale};
use super::pool::{Buffer, Request};
use super::readback::Waiting;
use super::record::{Recorder, STAMP_BYTES, Step, Submitted};
use super::room::{Bytes, Room};
use super::shader::{CELLS_PER_POINT, NO_NEIGHBOR, PROBES, QUEUE_COUNTERS, QUEUE_LISTS, SCAN_ITEMS};
use super::{Context, Shared, slots, upload};
use crate::backend::Job;
use crate::backend::cells::Cells;
use crate::backend::cpu::{Center, CpuIndex, List};
use crate::cloud::Lattice;
use crate::error::Result;
use crate::neighborhood::{Neighbors, Rule};
use crate::plan::{Chunk, Loaded, Plan};
use crate::report::Report;
use crate::scales::{Ends, MOST_ENDS, Scales};

/// Points that a coarse cube holds on average.
const POINTS_PER_CUBE: u64 = 48;
/// How many times as long as wide cubes are: rows of cells that end less often are fewer. Cells a point allow for no more.
const LONG: u64 = 4;
/// Unless cubes of most points hold so many times what they hold on average: where densities differ that much, cubes are
/// the better the smaller they are.
const CROWDED: f64 = 40.0;
/// Points that this is judged by.
const SAMPLE: usize = 1 << 12;
/// Points of a fine cell, where the rule is a radius.
const BALL_K: u32 = 8;
/// Stragglers whose records go to the device at one time, at least.
const LEAST_STRAGGLERS: usize = 1 << 10;
/// Rows of a column that one task copies.
const SCATTER_ROWS: usize = 1 << 15;
/// Farther than any point of a chunk from any other.
const NO_FACE: f32 = 1e9;

pub(super) const STORAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_DST).union(wgpu::BufferUsages::COPY_SRC);
const UPLOAD: wgpu::BufferUsages = wgpu::BufferUsages::MAP_WRITE.union(wgpu::BufferUsages::COPY_SRC);
pub(super) const READBACK: wgpu::BufferUsages =
    wgpu::BufferUsages::MAP_READ.union(wgpu::BufferUsages::COPY_DST);

/// Runs the chunks of one call.
pub(crate) struct Runner<'a, 'j> {
    pub(super) context: &'a Context,
    pub(super) workers: &'a rayon::ThreadPool,
    pub(super) job: &'a Job<'j>,
    shared: &'a Shared<'a>,
    pub(super) scales: &'a Scales,
    pub(super) cut: Cut,
    /// Chunks that are under way at one time.
    slots: usize,
    /// The number of this one.
    pub(super) slot: u32,
    /// Room in buffers for other chunks than this slot's.
    room: Mutex<Room>,
}

/// A chunk's points on the device.
pub(super) struct Resident {
    pub(super) grid: Grid,
    pub(super) scale: Scale,
    pub(super) points: u32,
    pub(super) rows: u32,
    halo: bool,
    /// Rows are queries that are no points of the cloud.
    pub(super) foreign: bool,
    /// Whether the inputs are where the kernels read them, and not only in staging memory.
    arrived: bool,
    staging: Buffer,
    pub(super) positions: Buffer,
    /// Row of each point, or place of each foreign query.
    pub(super) row_of: Buffer,
    pub(super) attributes: Option<Buffer>,
}

impl Resident {
    /// Invocations of a search: every point of the chunk, or every foreign query.
    pub(super) fn queries(&self) -> u32 {
        if self.foreign { self.rows } else { self.points }
    }

    pub(super) fn subject(&self) -> Subject {
        Subject::of(self.foreign, self.halo)
    }
}

/// What is computed of the points of a chunk.
pub(super) struct Wanted<'a> {
    pub(super) kernel: &'a Evaluate,
    /// `None` if no feature needs neighbours.
    pub(super) rule: Option<Rule>,
    /// Indices of the rows; `None` for all points.
    pub(super) core: Option<&'a [u32]>,
    /// Only the CPU can find neighbours.
    pub(super) crowd: bool,
    /// Follows on the kernel, with what it reads beside the columns.
    pub(super) settle: Option<(&'a Kernel, &'a Buffer)>,
    /// Where columns go in host memory, if they do.
    pub(super) out: Option<&'a [Cells]>,
}

/// Is given what was read back.
pub(super) type Take<'a> = &'a (dyn Fn(&[u8]) + Sync);

/// A chunk's points in cell order, and where the cells begin.
pub(super) struct Index {
    pub(super) sorted: Buffer,
    pub(super) cube_cuts: Buffer,
    pub(super) cube_bases: Buffer,
    pub(super) cell_starts: Buffer,
    /// Counts and lists of the queries that a kernel left.
    pub(super) queue: Buffer,
    /// How far the k-th neighbours of each cube's probes are; where no number cuts, nothing.
    pub(super) cube_reaches: Buffer,
    /// Held until the submission is through.
    _scratch: Vec<Buffer>,
}

/// Bytes of the queue's counters.
pub(super) const COUNTERS: u64 = QUEUE_COUNTERS as u64 * 4;

impl<'a, 'j: 'a> Runner<'a, 'j> {
    pub(crate) fn new(
        context: &'a Context,
        workers: &'a rayon::ThreadPool,
        job: &'a Job<'j>,
        shared: &'a Shared<'a>,
        scales: &'a Scales,
        cut: Cut,
        chunks: usize,
    ) -> Self {
        let (slots, slot, room) = (cut.slots.min(chunks), 0, Mutex::default());
        Self { context, workers, job, shared, scales, cut, slots, slot, room }
    }

    /// Does `work` for every chunk, some at a time.
    pub(crate) fn each(
        &self,
        plan: &Plan,
        report: &mut Report,
        work: impl Fn(&Self, &Chunk, &mut Report) -> Result<()> + Sync,
    ) -> Result<()> {
        let pass = self.job.watch.pass(self.job.asked().len());
        slots::each(self.slots, plan.chunks().len(), report, |slot, i, report| {
            self.job.watch.check()?;
            let chunk = &plan.chunks()[i];
            let slot = Self { slot: slot as u32, room: Mutex::default(), ..*self };
            self.context.device.guarded("computing", || work(&slot, chunk, report))?;
            pass.add(chunk.len());
            Ok(())
        })
    }

    /// How to wait for what a slot submitted.
    pub(super) fn waiting(&self) -> Waiting<'a> {
        Waiting { device: &self.context.device, watch: self.job.watch, shared: self.slots > 1 }
    }

    /// Fills the columns of a chunk's core points; `rule` is `None` if no feature needs neighbours.
    pub(crate) fn features(
        &self,
        plan: &Plan,
        chunk: &Chunk,
        kernel: &Evaluate,
        rule: Option<Rule>,
        out: &[Cells],
        report: &mut Report,
    ) -> Result<()> {
        let loaded = self.load(plan, chunk, report);
        let core = loaded.core.as_deref();
        let resident = self.upload(&loaded, core, kernel.attribute_words(), report)?;
        let wanted = Wanted { kernel, rule, core, crowd: chunk.crowd, settle: None, out: Some(out) };
        self.columns(&resident, &wanted, report).map(|_| ())
    }

    /// Computes a chunk's columns, flags first.
    pub(super) fn columns(
        &self,
        resident: &Resident,
        wanted: &Wanted<'_>,
        report: &mut Report,
    ) -> Result<Buffer> {
        let Wanted { kernel, rule, core, crowd, settle, out } = *wanted;
        let scales = self.scales.len() as u32;
        let all = u64::from(resident.rows) * u64::from(scales);
        let of_rows = |words: u64| Bytes::of_rows(all * words * 4);
        let records = self.storage(of_rows(kernel.needs.record_words().into()), "records")?;
        let columns = self.storage(of_rows(kernel.features.len() as u64 + 1), "columns")?;
        let take = |bytes: &[u8]| {
            if let Some(out) = out {
                self.scatter(bytes, resident.rows as usize, core, out);
            }
        };
        let search = rule
            .filter(|_| !crowd && resident.points > 0)
            .and_then(|rule| Search::first(rule, resident.subject(), Output::Records(kernel.needs, scales)));
        let evaluate = Kernel::Evaluate(kernel.clone());
        let attributes = resident.attributes.as_ref().unwrap_or(&resident.row_of);
        let features = |recorder: &mut Recorder<'_>| -> Result<()> {
            let buffers = [&records, attributes, &columns];
            let mut steps = vec![recorder.step(&evaluate, &buffers, all as u32, u32::MAX)?];
            if let Some((kernel, marks)) = settle {
                steps.push(recorder.step(kernel, &[marks, &columns], resident.rows, u32::MAX)?);
            }
            recorder.pass("features", &steps);
            Ok(())
        };
        let goal = self.goal(&columns, out.is_some(), &features, &take)?;
        let mut recorder = self.recorder(resident)?;
        let stragglers: Vec<u32> = if let Some(search) = search {
            match self.search(recorder, resident, search, &[&records], &goal, report)? {
                Some(left) => {
                    recorder = self.recorder(resident)?;
                    left
                }
                None => {
                    drop(goal);
                    return Ok(columns);
                }
            }
        } else {
            self.record_upload(&mut recorder, resident);
            recorder.clear(&records, records.requested());
            (0..if rule.is_some() { resident.rows } else { 0 }).collect()
        };
        report.stragglers += stragglers.len();
        let mut held = Vec::new();
        let batch = (resident.rows as usize / STRAGGLER_SHARE).max(LEAST_STRAGGLERS);
        for rows in stragglers.chunks(batch) {
            if !held.is_empty() {
                let full = std::mem::replace(&mut recorder, self.recorder(resident)?);
                self.finish(full, report)?;
                held.clear();
            }
            held = self.place_records(&mut recorder, rows, core, kernel.needs, resident, &records, report)?;
        }
        self.deliver(recorder, &goal, report)?;
        drop((held, goal));
        Ok(columns)
    }

    /// Fills the neighbour lists of a chunk's core points.
    pub(crate) fn neighbors(
        &self,
        plan: &Plan,
        chunk: &Chunk,
        k: usize,
        out: &Mutex<Neighbors>,
        report: &mut Report,
    ) -> Result<()> {
        let loaded = self.load(plan, chunk, report);
        let core = loaded.core.as_deref();
        // Lists are cut at a radius afterwards.
        let rule = Rule { limit: None, ..self.scales.rule };
        let subject = Subject::of(self.job.is_foreign(), loaded.rows.is_some());
        let search =
            Search::first(rule, subject, Output::Lists).filter(|_| !chunk.crowd && loaded.members.len() > 0);
        let take = |bytes: &[u8]| {
            let out = &mut out.lock().unwrap_or_else(PoisonError::into_inner);
            scatter_lists(bytes, k, core, &loaded, out);
        };
        let stragglers = match search {
            Some(search) => {
                let resident = self.upload(&loaded, core, 0, report)?;
                self.nearest(&resident, search, k, Some(&take), report)?.1
            }
            None => (0..core.map_or(self.job.asked().len(), <[u32]>::len) as u32).collect(),
        };
        report.stragglers += stragglers.len();
        let (points, places) = self.places(&stragglers, core);
        let found = self.lists_on_cpu(&places, rule, usize::MAX, report)?;
        let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
        points.iter().zip(found.iter().flatten()).for_each(|(&point, row)| out.put(point, k, row));
        Ok(())
    }

    /// Finds lists of `k` and gives them to `take`, if they are to come back: the lists, and the rows that are left to the
    /// CPU.
    pub(super) fn nearest(
        &self,
        resident: &Resident,
        search: Search,
        k: usize,
        take: Option<Take<'_>>,
        report: &mut Report,
    ) -> Result<(Buffer, Vec<u32>)> {
        let lists =
            self.storage(Bytes::of_rows(u64::from(resident.rows) * k as u64 * 8), "neighbour lists")?;
        let goal = self.goal(&lists, take.is_some(), &|_| Ok(()), take.unwrap_or(&|_| ()))?;
        let left = match self.search(self.recorder(resident)?, resident, search, &[&lists], &goal, report)? {
            Some(left) => {
                if take.is_some() {
                    self.deliver(self.recorder(resident)?, &goal, report)?;
                }
                left
            }
            None => Vec::new(),
        };
        drop(goal);
        Ok((lists, left))
    }

    /// Lists of the members around single places; `None` where they are more than `most`.
    pub(super) fn lists_on_cpu(
        &self,
        places: &[[i32; 3]],
        rule: Rule,
        most: usize,
        report: &mut Report,
    ) -> Result<Vec<Option<List>>> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let scan = self.shared.scan(self.job);
        if scan.pays(places.len(), rule) {
            return self.on_cpu(report, || scan.neighbors(places, rule, most));
        }
        self.with_index(report, |index| {
            index.lists_of(&self.centers(index, places), rule, most, self.job.watch)
        })
    }

    pub(super) fn load(&self, plan: &Plan, chunk: &Chunk, report: &mut Report) -> Loaded {
        let load = || plan.load_for(self.job, self.scales.rule, chunk);
        let loaded = report.time("plan", || self.workers.install(load));
        let rows = loaded.core.as_ref().map_or(self.job.asked().len(), Vec::len);
        let room = self.shared.largest.room(loaded.members.len(), rows);
        *self.room.lock().unwrap_or_else(PoisonError::into_inner) = room;
        loaded
    }

    pub(super) fn storage(&self, bytes: impl Into<Bytes>, what: &'static str) -> Result<Buffer> {
        let bytes = bytes.into();
        // Bindings that a variant does not read still need a few bytes.
        self.buffer(if bytes.all() == 0 { 16.into() } else { bytes }, STORAGE, what)
    }

    /// A buffer of this slot's, with room for what the largest chunk so far would need in its place: each slot then has
    /// its set of buffers after a few chunks, and no chunk makes another.
    pub(super) fn buffer(
        &self,
        bytes: impl Into<Bytes>,
        usage: wgpu::BufferUsages,
        what: &'static str,
    ) -> Result<Buffer> {
        let bytes = bytes.into();
        let room = self.room.lock().unwrap_or_else(PoisonError::into_inner).of(bytes);
        self.context.pool.acquire(Request { bytes: bytes.all(), room, owner: self.slot }, usage, what)
    }

    pub(super) fn recorder(&self, resident: &Resident) -> Result<Recorder<'a>> {
        Recorder::new(self.context, self.slot, self.job.watch, &resident.grid, &resident.scale)
    }

    /// The radius of each neighbourhood, 0 where none is given.
    fn radii(&self) -> [f32; MOST_ENDS] {
        let mut out = [0.0; MOST_ENDS];
        let radii = self.scales.radii();
        out.iter_mut().zip(radii).for_each(|(out, radius)| *out = radius.unwrap_or(0.0) as f32);
        out
    }

    /// Where neighbourhoods end, as the kernels read it. Limits beyond 32 bits are refused before they get here.
    fn ends(&self) -> [u32; MOST_ENDS] {
        let ends: Vec<u32> = match &self.scales.ends {
            Ends::Counts(counts, range) => {
                let range = range.map_or([0; 3], |range| [range.least, range.most, range.step]);
                counts.iter().copied().chain(range).collect()
            }
            Ends::Limits(limits) => limits.iter().map(|l| u32::try_from(l.0).unwrap_or(u32::MAX)).collect(),
        };
        let mut out = [0; MOST_ENDS];
        out.iter_mut().zip(ends).for_each(|(out, end)| *out = end);
        out
    }

    /// Packs a chunk's inputs into one staging buffer.
    pub(super) fn upload(
        &self,
        loaded: &Loaded,
        core: Option<&[u32]>,
        attribute_words: u32,
        report: &mut Report,
    ) -> Result<Resident> {
        let points = loaded.members.len();
        let queries = self.job.queries;
        let rows = core.map_or(self.job.asked().len(), <[u32]>::len);
        let sizes = [
            points as u64 * 12,
            match (queries, &loaded.rows) {
                (Some(_), _) => rows as u64 * 12,
                (None, Some(_)) => points as u64 * 4,
                (None, None) => 0,
            },
            rows as u64 * u64::from(attribute_words) * 4,
        ];
        let bytes = sizes.iter().sum();
        let [of_points, of_queries, of_rows] = sizes;
        let of_queries = match queries {
            Some(_) => Bytes::of_rows(of_queries),
            None => of_queries.into(),
        };
        let room = Bytes { points: of_points + of_queries.points, rows: of_rows + of_queries.rows };
        let staging = self.buffer(room, UPLOAD, "staging")?;
        let start = Instant::now();
        self.waiting().write(&staging, bytes, "packing", |view| {
            let (positions, rest) = view.split_at(sizes[0] as usize);
            let (mut row_of, attributes) = rest.split_at(sizes[1] as usize);
            upload::positions(self.workers, self.job.lattice, loaded, positions);
            if let Some(queries) = queries {
                upload::queries(self.workers, queries, loaded, core, row_of);
            } else if let Some(rows) = &loaded.rows {
                row_of.copy_from_slice(bytemuck::cast_slice(rows));
            }
            if attribute_words > 0 {
                let with_color = attribute_words as usize > self.job.attributes.given.len();
                upload::attributes(self.workers, &self.job.attributes, with_color, core, rows, attributes);
            }
        })?;
        report.add("pack", start.elapsed());
        let (attributes, rule) = (&self.job.attributes, self.scales.rule);
        let share = |full: u16| 1.0 / f32::from(full.max(1));
        let has_crew = queries.is_none() && self.context.device.for_hardware.load(Relaxed);
        let crew = if has_crew { crew(points as u32) } else { 0 };
        let own = grid(loaded, self.job.lattice, rows as u32, rule);
        Ok(Resident {
            grid: Grid { ends: self.ends(), crew, ..own },
            scale: Scale {
                quantum: self.job.lattice.frame.quantum() as f32,
                rgb: share(attributes.rgb_full),
                nir: share(attributes.nir_full),
                own: u32::from(queries.is_none()),
                rows: rows as u32,
                stride: (rows * self.scales.len()) as u32,
                queries: rows as u32,
                pad: 0,
                radii: self.radii(),
            },
            points: points as u32,
            rows: rows as u32,
            halo: loaded.rows.is_some(),
            foreign: queries.is_some(),
            arrived: false,
            positions: self.storage(of_points, "positions")?,
            row_of: self.storage(of_queries, "rows")?,
            attributes: (attribute_words > 0)
                .then(|| self.storage(Bytes::of_rows(of_rows), "attributes"))
                .transpose()?,
            staging,
        })
    }

    /// Puts arrays into their buffers, all of them in one staged copy; the staging memory is to be held until that is done.
    pub(super) fn stage(
        &self,
        recorder: &mut Recorder<'_>,
        arrays: &[(&Buffer, &[u8])],
        report: &mut Report,
    ) -> Result<Buffer> {
        let bytes = arrays.iter().map(|array| array.1.len() as u64).sum();
        let staging = self.buffer(bytes, UPLOAD, "staged arrays")?;
        let start = Instant::now();
        if bytes > 0 {
            self.waiting().write(&staging, bytes, "packing", |mut rest| {
                for (_, array) in arrays {
                    let (mut own, more) = rest.split_at(array.len());
                    own.copy_from_slice(array);
                    rest = more;
                }
            })?;
        }
        let mut offset = 0;
        for (buffer, array) in arrays.iter().filter(|array| !array.1.is_empty()) {
            recorder.copy(&staging, offset, buffer, 0, array.len() as u64);
            offset += array.len() as u64;
        }
        report.add("pack", start.elapsed());
        Ok(staging)
    }

    /// Storage for these bytes.
    pub(super) fn storage_for(&self, bytes: &[u8], what: &'static str) -> Result<Buffer> {
        self.storage(bytes.len() as u64, what)
    }

    /// Uploads a chunk's inputs, and arrays beside them, before anything else is recorded.
    pub(super) fn arrive(
        &self,
        resident: &mut Resident,
        arrays: &[(&Buffer, &[u8])],
        report: &mut Report,
    ) -> Result<()> {
        let mut recorder = self.recorder(resident)?;
        self.record_upload(&mut recorder, resident);
        let _staging = self.stage(&mut recorder, arrays, report)?;
        self.finish(recorder, report)?;
        resident.arrived = true;
        Ok(())
    }

    /// Copies inputs to where the kernels read them, unless they are there.
    pub(super) fn record_upload(&self, recorder: &mut Recorder<'_>, resident: &Resident) {
        if resident.arrived {
            return;
        }
        let points = u64::from(resident.points) * 12;
        let rows = resident.row_of.requested();
        if points > 0 {
            recorder.copy(&resident.staging, 0, &resident.positions, 0, points);
        }
        let mut offset = points;
        if resident.halo || resident.foreign {
            recorder.copy(&resident.staging, offset, &resident.row_of, 0, rows);
            offset += rows;
        }
        if let Some(attributes) = &resident.attributes {
            recorder.copy(&resident.staging, offset, attributes, 0, attributes.requested());
        }
    }

    /// Counting sort into the two-level grid.
    pub(super) fn record_index(&self, recorder: &mut Recorder<'_>, resident: &Resident) -> Result<Index> {
        let n = u64::from(resident.points);
        let cubes = u64::from(resident.grid.cube_count);
        // One more cell than there can be: the prefix sum's last value is the number of points.
        let cells = n * u64::from(CELLS_PER_POINT) + 1;
        let cube_counts = self.storage(cubes * 4, "cube counts")?;
        let cube_cuts = self.storage(cubes * 4, "cube cuts")?;
        let cube_bases = self.storage((cubes + 1) * 4, "cube bases")?;
        let cell_starts = self.storage(cells * 4, "cell starts")?;
        let places = self.storage(n * 8, "places")?;
        let sorted = self.storage(n * 16, "sorted points")?;
        let queued = COUNTERS + u64::from(resident.queries()) * 4 * QUEUE_LISTS.len() as u64;
        let queued = if resident.foreign { Bytes::of_rows(queued) } else { queued.into() };
        let queue = self.storage(queued, "queue")?;
        let probes = if self.scales.rule.cuts { u64::from(PROBES) * 4 } else { 0 };
        let cube_reaches = self.storage(cubes * probes, "cube reaches")?;
        recorder.clear(&cube_counts, cubes * 4);
        recorder.clear(&queue, COUNTERS);
        let positions = &resident.positions;
        let points = resident.points;
        let mut steps = vec![
            recorder.step(&Kernel::CountCubes, &[positions, &cube_counts], points, u32::MAX)?,
            recorder.step(
                &Kernel::CutCubes,
                &[&cube_counts, &cube_cuts, &cube_bases],
                cubes as u32,
                u32::MAX,
            )?,
        ];
        // The last one's value does not matter: its sum is the number of cells.
        let mut scratch = self.scan(recorder, &cube_bases, cubes as u32 + 1, None, &mut steps)?;
        steps.push(recorder.step(
            &Kernel::ClearCells,
            &[&cube_bases, &cell_starts],
            cells as u32,
            u32::MAX,
        )?);
        let buffers = [positions, &cube_cuts, &cube_bases, &cell_starts, &places];
        steps.push(recorder.step(&Kernel::CountCells, &buffers, points, u32::MAX)?);
        scratch.extend(self.scan(recorder, &cell_starts, cells as u32, Some(&cube_bases), &mut steps)?);
        let buffers = [positions, &places, &cell_starts, &sorted];
        steps.push(recorder.step(&Kernel::Scatter, &buffers, points, u32::MAX)?);
        recorder.pass("index", &steps);
        scratch.extend([cube_counts, places]);
        Ok(Index { sorted, cube_cuts, cube_bases, cell_starts, queue, cube_reaches, _scratch: scratch })
    }

    /// Exclusive prefix sum in place: blocks, then their totals likewise, then the totals added back; of the cells that
    /// `used` counts, if it is given, and of no values after those.
    fn scan(
        &self,
        recorder: &mut Recorder<'_>,
        values: &Buffer,
        items: u32,
        used: Option<&Buffer>,
        steps: &mut Vec<Step>,
    ) -> Result<Vec<Buffer>> {
        let (scan, add) = (Kernel::Scan { used: used.is_some() }, Kernel::ScanAdd { used: used.is_some() });
        let per_block = scan.items_per_group();
        debug_assert_eq!(per_block % SCAN_ITEMS, 0);
        let blocks = items.div_ceil(per_block);
        let totals = self.storage(u64::from(blocks) * 4, "prefix sums")?;
        let buffers: Vec<&Buffer> = [values, &totals].into_iter().chain(used).collect();
        steps.push(recorder.step(&scan, &buffers, items, u32::MAX)?);
        let mut held = Vec::new();
        if blocks > 1 {
            held = self.scan(recorder, &totals, blocks, None, steps)?;
            steps.push(recorder.step(&add, &buffers, items, u32::MAX)?);
        }
        held.push(totals);
        Ok(held)
    }

    /// Finds stragglers' neighbourhoods on the CPU and puts their records where the kernel would have.
    #[expect(clippy::too_many_arguments, reason = "one call, all of it state of the chunk")]
    fn place_records(
        &self,
        recorder: &mut Recorder<'_>,
        rows: &[u32],
        core: Option<&[u32]>,
        needs: Needs,
        resident: &Resident,
        records: &Buffer,
        report: &mut Report,
    ) -> Result<Vec<Buffer>> {
        let (points, places) = self.places(rows, core);
        let scales = self.scales;
        let words = needs.record_words();
        let mut made = Vec::with_capacity(rows.len() * scales.len() * words as usize);
        let scan = self.shared.scan(self.job);
        if scan.pays(points.len(), scales.rule) {
            let found = self.on_cpu(report, || scan.moments(&places, self.job.is_foreign(), scales))?;
            found.iter().for_each(|moments| layout::push_record(moments, needs, &mut made));
        } else {
            let found = self.with_index(report, |index| {
                index.moments_of(&self.centers(index, &places), scales, self.job.watch)
            })?;
            let rows = (0..points.len()).flat_map(|at| found.row(at));
            rows.for_each(|moments| layout::push_record(moments, needs, &mut made));
        }
        let of_scale = |row: u32| (0..scales.len() as u32).map(move |scale| scale * resident.rows + row);
        let rows: Vec<u32> = rows.iter().copied().flat_map(of_scale).collect();
        let (rows, records_made) = (bytemuck::cast_slice(&rows), bytemuck::cast_slice(&made));
        let targets = self.storage_for(rows, "straggler rows")?;
        let made_on_device = self.storage_for(records_made, "straggler records")?;
        let staging = self.stage(recorder, &[(&targets, rows), (&made_on_device, records_made)], report)?;
        let kernel = Kernel::Place { record_words: words };
        let step =
            recorder.step(&kernel, &[&targets, &made_on_device, records], made.len() as u32, u32::MAX)?;
        recorder.pass("stragglers", &[step]);
        Ok(vec![staging, targets, made_on_device])
    }

    /// Indices and places of what some rows ask about.
    pub(super) fn places(&self, rows: &[u32], core: Option<&[u32]>) -> (Vec<u32>, Vec<[i32; 3]>) {
        let points: Vec<u32> = rows.iter().map(|&row| cloud_index(core, row)).collect();
        let places = points.iter().map(|&i| self.job.asked().points[i as usize]).collect();
        (points, places)
    }

    /// What the CPU's index searches around for these places.
    fn centers(&self, index: &CpuIndex<'_>, places: &[[i32; 3]]) -> Vec<Center> {
        let foreign = self.job.is_foreign();
        places.par_iter().with_min_len(1 << 10).map(|&place| index.center(place, foreign)).collect()
    }

    /// Does stragglers' work on the host, which leaves answers out once the call is cancelled.
    pub(super) fn on_cpu<T: Send>(&self, report: &mut Report, work: impl FnOnce() -> T + Send) -> Result<T> {
        let start = Instant::now();
        let out = self.workers.install(work);
        report.add("stragglers on the cpu", start.elapsed());
        self.job.watch.check().and(Ok(out))
    }

    /// The same with the CPU's index, built when it is first asked for.
    pub(super) fn with_index<T: Send>(
        &self,
        report: &mut Report,
        work: impl FnOnce(&CpuIndex<'a>) -> T + Send,
    ) -> Result<T> {
        let start = Instant::now();
        // Before the work goes to the workers: one that builds the index may take up another slot's work in between, which
        // would wait for the index for ever.
        let make = || self.workers.install(|| CpuIndex::new(self.job.lattice, self.job.watch));
        let index = self.shared.index.get(make)?;
        report.add("stragglers on the cpu", start.elapsed());
        self.on_cpu(report, || work(index))
    }

    pub(super) fn submit(
        &self,
        recorder: Recorder<'_>,
        back: Option<(&Buffer, u64)>,
        report: &mut Report,
    ) -> Result<Submitted> {
        report.time("submit", || recorder.submit(back))
    }

    /// Waits for a readback's `used` bytes, then takes them and the time stamps behind them.
    pub(super) fn read<T: Send>(
        &self,
        back: &Buffer,
        used: u64,
        submitted: &Submitted,
        report: &mut Report,
        take: impl FnOnce(&[u8]) -> T + Send,
    ) -> Result<T> {
        let start = Instant::now();
        let mut taking = Duration::ZERO;
        let period = self.context.device.queue.get_timestamp_period();
        let (out, times) =
            self.waiting().read(back, used + STAMP_BYTES, &submitted.index, "computing", |bytes| {
                let begin = Instant::now();
                let (own, stamps) = bytes.split_at(used as usize);
                // Counters alone are not worth the way to another thread.
                let out = if used > COUNTERS { self.workers.install(|| take(own)) } else { take(own) };
                taking = begin.elapsed();
                (out, submitted.times(stamps, period))
            })?;
        let waited = start.elapsed().saturating_sub(taking);
        report.add("wait", waited);
        let stamped: Vec<f64> = times.iter().map(|time| time.1).collect();
        self.context.pace.learn(&submitted.work, &stamped, waited.as_secs_f64());
        report.add("unpack", taking);
        if !times.is_empty() && times.len() < submitted.work.len() {
            // More parts than there are stamps for: what the host waited tells of the others.
            report.add(
                "gpu without stamps",
                waited.saturating_sub(Duration::from_secs_f64(stamped.iter().sum())),
            );
        }
        for (stage, seconds) in times {
            report.add(gpu_stage(stage), Duration::from_secs_f64(seconds));
        }
        Ok(out)
    }

    /// Copies a chunk's columns, flags first, to the points' places in the cloud. Of each column the values of one
    /// neighbourhood follow those of the other.
    pub(super) fn scatter(&self, bytes: &[u8], rows: usize, core: Option<&[u32]>, out: &[Cells]) {
        let columns = bytes.len() / (4 * rows * out.len()).max(1);
        let blocks = rows.div_ceil(SCATTER_ROWS);
        (0..columns * out.len() * blocks).into_par_iter().for_each(|task| {
            let (column, first) = (task / blocks, task % blocks * SCATTER_ROWS);
            let end = (first + SCATTER_ROWS).min(rows);
            let cells = out[column % out.len()].column((column / out.len()).checked_sub(1));
            let values = bytes[4 * (column * rows + first)..4 * (column * rows + end)].chunks_exact(4);
            match core {
                None => cells[first..end].iter().zip(values).for_each(|(c, v)| c.store(word(v), Relaxed)),
                Some(core) => core[first..end]
                    .iter()
                    .zip(values)
                    .for_each(|(&point, v)| cells[point as usize].store(word(v), Relaxed)),
            }
        });
    }
}

/// Names of GPU stages in the report, apart from the host's.
fn gpu_stage(stage: &'static str) -> &'static str {
    match stage {
        "index" => "gpu index",
        "search" => "gpu search",
        "probe" => "gpu probe",
        "search again" => "gpu search again",
        "search crew" => "gpu search crew",
        "search last" => "gpu search last",
        "search wide" => "gpu search wide",
        "features" => "gpu features",
        "lists" => "gpu lists",
        "walk" => "gpu walk",
        _ => "gpu stragglers",
    }
}

pub(super) fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

pub(super) fn cloud_index(core: Option<&[u32]>, row: u32) -> u32 {
    core.map_or(row, |core| core[row as usize])
}

/// Distances, then indices within the chunk; rows of stragglers hold whatever was there and are replaced.
pub(super) fn scatter_lists(
    bytes: &[u8],
    k: usize,
    core: Option<&[u32]>,
    loaded: &Loaded,
    out: &mut Neighbors,
) {
    let (dist_sq, indices) = bytes.split_at(bytes.len() / 2);
    let rows = dist_sq.len() / (4 * k);
    for row in 0..rows {
        let first = cloud_index(core, row as u32) as usize * k;
        for j in 0..k {
            let at = 4 * (row * k + j);
            let local = word(&indices[at..]);
            if local != NO_NEIGHBOR && (local as usize) < loaded.members.len() {
                out.indices[first + j] = loaded.members.cloud_index(local as usize) as u32;
                out.dist_sq[first + j] = u64::from(word(&dist_sq[at..]));
            }
        }
    }
}

/// Cubes so many times as long as wide that an extent is cut into, and how wide they are, so that about so many points
/// are left for each part as long as wide.
fn cubes_of(extent: [u64; 3], points: u64, per_cube: u64, long: u64) -> ([u64; 3], u64) {
    let most = (points / (per_cube * long)).max(1);
    let cubes = |edge: u64| [extent[0] / (edge * long) + 1, extent[1] / edge + 1, extent[2] / edge + 1];
    let count =
        |edge: u64| cubes(edge).iter().try_fold(1u64, |all, c| all.checked_mul(*c)).unwrap_or(u64::MAX);
    let (mut low, mut high) = (1, extent.iter().max().map_or(1, |e| e + 1));
    while low < high {
        let middle = low.midpoint(high);
        if count(middle) <= most { high = middle } else { low = middle + 1 }
    }
    (cubes(low), low)
}

/// How many points share a cube of that edge with a point, on average over points, judged by a sample.
fn crowded(loaded: &Loaded, lattice: &Lattice<'_>, edge: u64) -> f64 {
    let points = loaded.members.len();
    let step = points.div_ceil(SAMPLE).max(1);
    let cube = |local: usize| {
        let place = lattice.points[loaded.members.cloud_index(local)];
        std::array::from_fn::<_, 3, _>(|a| (i64::from(place[a]) - i64::from(loaded.min[a])) as u64 / edge)
    };
    let mut cubes: Vec<[u64; 3]> = (0..points).step_by(step).map(cube).collect();
    cubes.sort_unstable();
    let others = |of: &[[u64; 3]]| (of.len() * of.len().saturating_sub(1)) as f64;
    let together: f64 = cubes.chunk_by(|a, b| a == b).map(others).sum();
    together / others(&cubes).max(1.0) * points as f64
}

/// The grid over the loaded points' bounds.
fn grid(loaded: &Loaded, lattice: &Lattice<'_>, rows: u32, rule: Rule) -> Grid {
    let points = loaded.members.len() as u64;
    let extent: [u64; 3] =
        std::array::from_fn(|a| (i64::from(loaded.max[a]) - i64::from(loaded.min[a])) as u64);
    let k = if rule.cuts { rule.k as u64 } else { u64::from(BALL_K) };
    let per_cube = POINTS_PER_CUBE.max(3 * k);
    let (_, edge) = cubes_of(extent, points, per_cube, 1);
    let long = if crowded(loaded, lattice, edge) > CROWDED * per_cube as f64 { 1 } else { LONG };
    let (cubes, edge) = cubes_of(extent, points, per_cube, long);
    let edge = edge as f32;
    let local =
        |face: Option<i64>, a: usize, none: f32| face.map_or(none, |f| (f - i64::from(loaded.min[a])) as f32);
    Grid {
        cubes: cubes.map(|c| c as u32),
        cube_count: cubes.iter().product::<u64>() as u32,
        extent: extent.map(|e| e as f32),
        edge,
        face_low: std::array::from_fn(|a| local(loaded.face_low[a], a, -NO_FACE)),
        inverse_edge: 1.0 / edge,
        face_high: std::array::from_fn(|a| local(loaded.face_high[a], a, NO_FACE)),
        points: points as u32,
        // A ball holds any number.
        k: if rule.cuts { rule.k as u32 } else { BALL_K },
        rows,
        slack: 2.0 + edge * long as f32 / 1_048_576.0,
        // `Search::first` refuses limits that do not fit where they matter.
        limit: rule.limit.map_or(u32::MAX, |limit| u32::try_from(limit).unwrap_or(u32::MAX)),
        long: long as u32,
        crew: 0,
        pad: [0; 2],
        ends: [0; MOST_ENDS],
    }
}
