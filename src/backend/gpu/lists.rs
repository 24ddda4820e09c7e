//! Sorted lists of members on the device, and what is made of them: records of several neighbourhoods, columns that need
//! every member, and the lists themselves.
//!
//! A query belongs to the kernels or to the CPU by its members alone, never by the chunk that it fell into: to the CPU if
//! one of the `k` nearest is too far for the kernels' integers, or if a radius holds more than [`LONGEST`]. Queries
//! that a chunk cannot certify get their list from the CPU and then go through the same kernels as all others.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::chunk::{COUNTERS, Index, READBACK, Resident, Runner, cloud_index, word};
use super::kernel::{Evaluate, Kernel, Needs, Output, Search, Walk, WalkEnds};
use super::layout::Scale;
use super::payload::Payload;
use super::pool::Buffer;
use super::record::{Recorder, STAMP_BYTES};
use super::room::Bytes;
use crate::backend::Known;
use crate::backend::cells::Cells;
use crate::backend::cpu::{Value, columns_of, last_members_of};
use crate::error::Result;
use crate::features::FeatureSet;
use crate::neighborhood::Rule;
use crate::plan::{Chunk, Loaded, NO_ROW, Plan};
use crate::report::Report;
use crate::scales::Ends;

/// Most members that a kernel sorts and goes through: some 20,000 steps of a heap.
const LONGEST: usize = 1024;

/// Queries that a chunk could not certify whose lists are on the device at one time.
const STRAGGLERS: usize = 1 << 14;

/// What lists are made for.
#[derive(Clone, Copy)]
pub(super) enum Use<'u> {
    /// Columns of every neighbourhood.
    Columns { kernel: &'u Evaluate, set: &'u FeatureSet, known: &'u Known, out: &'u [Cells] },
    /// The last member of the only neighbourhood.
    Last { out: &'u Mutex<Vec<(u64, u32)>> },
    /// The members' indices in the cloud, by point.
    Lists { out: &'u Mutex<Vec<Vec<u32>>> },
}

/// Queries and their sorted lists on the device.
struct ListSet<'b> {
    positions: &'b Buffer,
    lists: &'b Buffer,
    starts: &'b Buffer,
    queries: &'b Buffer,
    payload: &'b Buffer,
    /// How many queries there are, and which of them are meant.
    count: u32,
    which: Range<u32>,
}

/// What the search made of one chunk.
struct Found {
    index: Option<Index>,
    /// Where a number cuts the lists: as many distances as indices, then `k` indices a row.
    lists: Option<Buffer>,
    /// Where a radius does: the lists' lengths. Rows that go another way have none.
    lengths: Vec<u32>,
    /// Rows whose lists come from the CPU.
    stragglers: Vec<u32>,
    /// Rows that the CPU answers.
    left: Vec<u32>,
}

/// Buffers that a chunk's results are collected in.
struct Results {
    records: Buffer,
    output: Buffer,
}

/// A row with its sorted list: squared distances and cloud indices.
type RowList = (u32, Vec<(u64, u32)>);

/// Cloud indices of the positions that stragglers' lists point to, with those rows.
type Strangers = (Vec<u32>, Vec<u32>);

impl Use<'_> {
    fn needs(&self) -> Needs {
        match self {
            Self::Columns { kernel, .. } => kernel.needs,
            Self::Last { .. } | Self::Lists { .. } => Needs::default(),
        }
    }

    /// What is uploaded of each member, and from where.
    fn payload(&self) -> Option<(Payload, &Known)> {
        match self {
            Self::Columns { kernel, known, .. } => Some((Payload::of(kernel.members), *known)),
            Self::Last { .. } | Self::Lists { .. } => None,
        }
    }
}

impl<'a, 'j: 'a> Runner<'a, 'j> {
    /// Finds the lists of a chunk's core points and uses them.
    pub(super) fn with_lists(
        &self,
        plan: &Plan,
        chunk: &Chunk,
        purpose: Use<'_>,
        report: &mut Report,
    ) -> Result<()> {
        let loaded = self.load(plan, chunk, report);
        let core = loaded.core.as_deref();
        let attribute_words = match &purpose {
            Use::Columns { kernel, .. } => kernel.attribute_words(),
            Use::Last { .. } | Use::Lists { .. } => 0,
        };
        let resident = self.upload(&loaded, core, attribute_words, report)?;
        let mut found = self.find_lists(chunk, &resident, report)?;
        let results = self.results(&purpose, &resident)?;
        let of_queries = queries(&loaded, &resident);
        let of_queries: &[u8] = bytemuck::cast_slice(&of_queries);
        let queries = self.storage_for(of_queries, "queries")?;
        let of_positions = self.positions_with_queries(&loaded, core);
        let of_positions: &[u8] = bytemuck::cast_slice(&of_positions);
        let with_queries =
            resident.foreign.then(|| self.storage_for(of_positions, "list positions")).transpose()?;
        let positions = with_queries.as_ref().unwrap_or(&resident.positions);
        let of_members =
            self.payload(&purpose, loaded.members.len(), |local| loaded.members.cloud_index(local));
        let of_members: &[u8] = bytemuck::cast_slice(&of_members);
        let payload = self.storage_for(of_members, "payload")?;
        // With the first window's starts goes what all of them need.
        let mut common = vec![(&queries, of_queries), (positions, of_positions), (&payload, of_members)];

        for which in windows(&found, resident.rows, self.cut.window / 4) {
            let starts = starts(&found, self.scales.rule.k as u32, resident.rows, &which);
            let entries = starts.last().copied().unwrap_or(0);
            let of_rows: &[u8] = bytemuck::cast_slice(&starts);
            let starts_on_device = self.storage_for(of_rows, "list starts")?;
            let arrays: Vec<_> = common.drain(..).chain([(&starts_on_device, of_rows)]).collect();
            let mut recorder = self.recorder(&resident)?;
            let _staging = self.stage(&mut recorder, &arrays, report)?;
            let (filled, recorder) = match (&found.lists, &found.index) {
                (None, Some(index)) => {
                    let buffers = [positions, &starts_on_device, &queries];
                    let lists =
                        self.fill(recorder, index, &resident, buffers, which.clone(), entries, report)?;
                    (Some(lists), self.recorder(&resident)?)
                }
                _ => (None, recorder),
            };
            let Some(lists) = found.lists.as_ref().or(filled.as_ref()) else { continue };
            if let Use::Lists { out } = purpose {
                self.take_lists(recorder, lists, &starts, which, &loaded, core, out, report)?;
                continue;
            }
            let set = ListSet {
                positions,
                lists,
                starts: &starts_on_device,
                queries: &queries,
                payload: &payload,
                count: resident.rows,
                which,
            };
            self.apply(recorder, &set, &purpose, &resident, &results, report)?;
        }
        let mut strangers = Vec::new();
        let stragglers = std::mem::take(&mut found.stragglers);
        // Each member has a position, a place in the list and what is uploaded of it; each row its start, place and number.
        let payload_words = purpose.payload().map_or(0, |(payload, _)| payload.words());
        let most = (self.cut.window / u64::from(28 + 4 * payload_words)) as usize;
        for rows in stragglers.chunks(STRAGGLERS) {
            if matches!(purpose, Use::Lists { .. }) {
                found.left.extend(rows);
                continue;
            }
            let (own, left) = self.straggler_lists(rows, core, report)?;
            found.left.extend(left);
            report.stragglers += own.len();
            for own in in_batches(&own, most) {
                strangers.push(self.apply_to_stragglers(own, core, &purpose, &resident, &results, report)?);
            }
        }
        report.stragglers += found.left.len();
        match purpose {
            Use::Columns { set, known, out, .. } => {
                let used = results.output.requested();
                self.read_all(&results.output, &resident, report, |bytes| {
                    self.scatter(&bytes[..used as usize], resident.rows as usize, core, out);
                })?;
                self.columns_on_cpu(&found.left, core, set, known, out, report)
            }
            Use::Last { out } => {
                self.read_all(&results.output, &resident, report, |bytes| {
                    let out = &mut out.lock().unwrap_or_else(PoisonError::into_inner);
                    take_last(bytes, &loaded, core, &strangers, out);
                })?;
                if found.left.is_empty() {
                    return Ok(());
                }
                let (points, _) = self.places(&found.left, core);
                let last =
                    self.with_index(report, |index| last_members_of(index, self.job, self.scales, &points))?;
                let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
                points.iter().zip(last).for_each(|(&point, last)| out[point as usize] = last);
                Ok(())
            }
            Use::Lists { out } => {
                let (points, places) = self.places(&found.left, core);
                let lists = self.lists_on_cpu(&places, self.scales.rule, usize::MAX, report)?;
                let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
                for (point, list) in points.into_iter().zip(lists) {
                    out[point as usize] = list.into_iter().flatten().map(|member| member.1).collect();
                }
                Ok(())
            }
        }
    }

    /// Uploads, indexes and searches.
    fn find_lists(&self, chunk: &Chunk, resident: &Resident, report: &mut Report) -> Result<Found> {
        let rows = u64::from(resident.rows);
        let rule = self.scales.rule;
        let by_number = !matches!(self.scales.ends, Ends::Limits(_));
        let (rule, output, bytes) = match by_number {
            // Radii cut lists by number afterwards, so that who is too far does not depend on them.
            true => (Rule { limit: None, ..rule }, Output::Lists, rows * rule.k as u64 * 8),
            false => (rule, Output::Counts, rows * 4),
        };
        let search =
            Search::first(rule, resident.subject(), output).filter(|_| !chunk.crowd && resident.points > 0);
        let mut recorder = self.recorder(resident)?;
        self.record_upload(&mut recorder, resident);
        let Some(search) = search else {
            self.finish(recorder, report)?;
            return Ok(Found {
                index: None,
                lists: None,
                lengths: Vec::new(),
                stragglers: (0..resident.rows).collect(),
                left: Vec::new(),
            });
        };
        let out = self.storage(Bytes::of_rows(bytes), "neighbour lists")?;
        let index = self.record_index(&mut recorder, resident)?;
        self.record_search(&mut recorder, search, resident, &index, &[&out])?;
        let counts = if by_number { 0 } else { bytes };
        let used = counts + COUNTERS;
        let back = self.buffer(Bytes::of_rows(used + STAMP_BYTES), READBACK, "readback")?;
        recorder.copy(&index.queue, 0, &back, counts, COUNTERS);
        if counts > 0 {
            recorder.copy(&out, 0, &back, 0, counts);
        }
        let submitted = self.submit(recorder, Some((&back, used)), report)?;
        let ([wide, left], mut lengths) = self.read(&back, used, &submitted, report, |bytes| {
            let (lengths, queue) = bytes.split_at(counts as usize);
            (self.counters(queue), lengths.chunks_exact(4).map(word).collect::<Vec<u32>>())
        })?;
        let stragglers = match wide + left {
            0 => Vec::new(),
            _ => self.second_search(search.second(wide), resident, &index, &[&out], wide, report)?,
        };
        stragglers.iter().filter(|_| !by_number).for_each(|&row| lengths[row as usize] = 0);
        let mut long = Vec::new();
        for (row, length) in (0..).zip(&mut lengths) {
            if *length as usize > LONGEST {
                *length = 0;
                long.push(row);
            }
        }
        Ok(Found { index: Some(index), lists: by_number.then_some(out), lengths, stragglers, left: long })
    }

    fn results(&self, purpose: &Use<'_>, resident: &Resident) -> Result<Results> {
        let all = u64::from(resident.rows) * self.scales.len() as u64;
        let words = match purpose {
            Use::Columns { kernel, .. } => kernel.features.len() as u64 + 1,
            Use::Last { .. } => 2,
            Use::Lists { .. } => 0,
        };
        let record_words = if words > 0 { purpose.needs().record_words().into() } else { 0 };
        Ok(Results {
            records: self.storage(Bytes::of_rows(all * record_words * 4), "records")?,
            output: self.storage(Bytes::of_rows(all * words * 4), "columns")?,
        })
    }

    /// Local coordinates of the points, then of the queries, if those are no points of the cloud.
    fn positions_with_queries(&self, loaded: &Loaded, core: Option<&[u32]>) -> Vec<[f32; 3]> {
        let Some(queries) = self.job.queries else { return Vec::new() };
        let points =
            (0..loaded.members.len()).map(|local| self.job.lattice.points[loaded.members.cloud_index(local)]);
        let rows = core.map_or(queries.len(), <[u32]>::len) as u32;
        let asked = (0..rows).map(|row| queries.points[cloud_index(core, row) as usize]);
        let local = |p: [i32; 3]| -> [f32; 3] {
            std::array::from_fn(|a| (i64::from(p[a]) - i64::from(loaded.min[a])) as f32)
        };
        points.chain(asked).map(local).collect()
    }

    fn payload(
        &self,
        purpose: &Use<'_>,
        points: usize,
        point: impl Fn(usize) -> usize + Sync + Send,
    ) -> Vec<u32> {
        match purpose.payload() {
            Some((payload, known)) => self.workers.install(|| payload.pack(self.job, known, points, point)),
            None => Vec::new(),
        }
    }

    /// Fills and sorts the lists of some rows.
    #[expect(clippy::too_many_arguments, reason = "one call, all of it state of the chunk")]
    fn fill(
        &self,
        mut recorder: Recorder<'_>,
        index: &Index,
        resident: &Resident,
        [positions, starts, queries]: [&Buffer; 3],
        which: Range<u32>,
        entries: u32,
        report: &mut Report,
    ) -> Result<Buffer> {
        let lists = self.storage(u64::from(entries) * 4, "neighbour lists")?;
        if let Some(search) = Search::first(self.scales.rule, resident.subject(), Output::Fill) {
            let output = [&lists, starts];
            let fill =
                self.search_step(&mut recorder, search, resident, index, &output, resident.queries())?;
            let buffers = [positions, starts, queries, &lists];
            let sort = recorder.step_over(&Kernel::Sort, &buffers, which, self.most_queries())?;
            recorder.pass("lists", &[fill, sort]);
        }
        self.finish(recorder, report)?;
        Ok(lists)
    }

    /// Submits, and waits until it is done.
    pub(super) fn finish(&self, recorder: Recorder<'_>, report: &mut Report) -> Result<()> {
        // What comes back is how long it took.
        let back = self.buffer(STAMP_BYTES, READBACK, "time stamps readback")?;
        let submitted = self.submit(recorder, Some((&back, 0)), report)?;
        self.read(&back, 0, &submitted, report, |_| ())
    }

    /// Makes records of lists, and what is wanted of those.
    fn apply(
        &self,
        mut recorder: Recorder<'_>,
        set: &ListSet<'_>,
        purpose: &Use<'_>,
        resident: &Resident,
        results: &Results,
        report: &mut Report,
    ) -> Result<()> {
        let &ListSet { positions, lists, starts, queries, payload, count, .. } = set;
        let Results { records, output } = results;
        let needs = purpose.needs();
        let most = self.most_queries();
        let walk =
            Kernel::Walk(Walk { foreign: resident.foreign, needs, ends: WalkEnds::of(&self.scales.ends) });
        let buffers = [positions, lists, starts, queries, records];
        let step = recorder.step_over(&walk, &buffers, set.which.clone(), most)?;
        recorder.pass("walk", &[step]);
        match purpose {
            Use::Columns { kernel, .. } => {
                let attributes = resident.attributes.as_ref().unwrap_or(&resident.row_of);
                let mut buffers = vec![records, attributes, output];
                let with_members = kernel.members.any();
                if with_members {
                    buffers.extend([lists, starts, queries, positions, payload]);
                }
                let kernel = Kernel::Evaluate((*kernel).clone());
                let mut steps = Vec::new();
                // Without members rows are named by number, all of them at once: once the lists are through.
                for scale in 0..self.scales.len() as u32 {
                    let (first, end) = match with_members {
                        true => (scale * count + set.which.start, scale * count + set.which.end),
                        false => (scale * resident.rows, (scale + 1) * resident.rows),
                    };
                    steps.push(recorder.step_over(&kernel, &buffers, first..end, most)?);
                }
                recorder.pass("features", &steps);
            }
            Use::Last { .. } => {
                let wanted = if self.scales.has_optimal() { 0 } else { self.scales.rule.k as u32 };
                let kernel = Kernel::Last { record_words: needs.record_words(), wanted };
                let buffers = [positions, lists, starts, queries, records, output];
                let step = recorder.step_over(&kernel, &buffers, set.which.clone(), most)?;
                recorder.pass("walk", &[step]);
            }
            Use::Lists { .. } => {}
        }
        self.finish(recorder, report)
    }

    /// Lists of rows that the chunk could not certify: those for the kernels, and the rows for the CPU.
    fn straggler_lists(
        &self,
        rows: &[u32],
        core: Option<&[u32]>,
        report: &mut Report,
    ) -> Result<(Vec<RowList>, Vec<u32>)> {
        let (_, places) = self.places(rows, core);
        let rule = self.scales.rule;
        let limits = matches!(self.scales.ends, Ends::Limits(_));
        let rule = if limits { rule } else { Rule { limit: None, ..rule } };
        let most = if limits { LONGEST } else { usize::MAX };
        let lists = self.lists_on_cpu(&places, rule, most, report)?;
        let (mut own, mut left) = (Vec::new(), Vec::new());
        let near = |list: &Vec<(u64, u32)>| list.last().is_none_or(|member| member.0 < u64::from(u32::MAX));
        for (&row, list) in rows.iter().zip(lists) {
            match list.filter(|list| limits || near(list)) {
                Some(list) => own.push((row, list)),
                None => left.push(row),
            }
        }
        Ok((own, left))
    }

    /// Sends lists from the CPU through the kernels: each query and its members are a little cloud of their own.
    fn apply_to_stragglers(
        &self,
        own: &[RowList],
        core: Option<&[u32]>,
        purpose: &Use<'_>,
        resident: &Resident,
        results: &Results,
        report: &mut Report,
    ) -> Result<Strangers> {
        let points = &self.job.lattice.points;
        let (mut positions, mut cloud_of) = (Vec::new(), Vec::new());
        let (mut lists, mut starts, mut queries) = (Vec::new(), vec![0], Vec::new());
        for (row, list) in own {
            let query = cloud_index(core, *row);
            let center = self.job.asked().points[query as usize];
            let at = cloud_of.len() as u32;
            queries.push([at, *row]);
            positions.extend([0.0; 3]);
            cloud_of.push(query);
            for &(_, member) in list {
                if member == query && !resident.foreign {
                    lists.push(at);
                    continue;
                }
                lists.push(cloud_of.len() as u32);
                let p = points[member as usize];
                // Below 2^16, and so exact: others are left to the CPU.
                positions.extend((0..3).map(|a| (i64::from(p[a]) - i64::from(center[a])) as f32));
                cloud_of.push(member);
            }
            starts.push(lists.len() as u32);
        }
        let payload = self.payload(purpose, cloud_of.len(), |i| cloud_of[i] as usize);
        let cast = |words| -> &[u8] { bytemuck::cast_slice(words) };
        let of_positions: &[u8] = bytemuck::cast_slice(&positions);
        let of_queries: &[u8] = bytemuck::cast_slice(&queries);
        let (of_lists, of_rows, of_members) = (cast(&lists), cast(&starts), cast(&payload));
        let positions = self.storage_for(of_positions, "straggler positions")?;
        let lists = self.storage_for(of_lists, "straggler lists")?;
        let starts = self.storage_for(of_rows, "straggler starts")?;
        let queries = self.storage_for(of_queries, "straggler queries")?;
        let payload = self.storage_for(of_members, "payload")?;
        let count = own.len() as u32;
        let scale = Scale { queries: count, ..resident.scale };
        let mut recorder = Recorder::new(self.context, self.slot, self.job.watch, &resident.grid, &scale)?;
        let arrays = [
            (&positions, of_positions),
            (&lists, of_lists),
            (&starts, of_rows),
            (&queries, of_queries),
            (&payload, of_members),
        ];
        let _staging = self.stage(&mut recorder, &arrays, report)?;
        let set = ListSet {
            positions: &positions,
            lists: &lists,
            starts: &starts,
            queries: &queries,
            payload: &payload,
            count,
            which: 0..count,
        };
        self.apply(recorder, &set, purpose, resident, results, report)?;
        Ok((own.iter().map(|one| one.0).collect(), cloud_of))
    }

    /// Copies a buffer to the host.
    pub(super) fn read_all<T: Send>(
        &self,
        buffer: &Buffer,
        resident: &Resident,
        report: &mut Report,
        take: impl FnOnce(&[u8]) -> T + Send,
    ) -> Result<T> {
        let used = buffer.requested();
        let back = self.buffer(Bytes::of_rows(used + STAMP_BYTES), READBACK, "readback")?;
        let mut recorder = self.recorder(resident)?;
        recorder.copy(buffer, 0, &back, 0, used);
        let submitted = self.submit(recorder, Some((&back, used)), report)?;
        self.read(&back, used, &submitted, report, take)
    }

    /// Takes the sorted lists of some rows.
    #[expect(clippy::too_many_arguments, reason = "one call, all of it state of the chunk")]
    fn take_lists(
        &self,
        mut recorder: Recorder<'_>,
        lists: &Buffer,
        starts: &[u32],
        which: Range<u32>,
        loaded: &Loaded,
        core: Option<&[u32]>,
        out: &Mutex<Vec<Vec<u32>>>,
        report: &mut Report,
    ) -> Result<()> {
        let used = lists.requested();
        let back = self.buffer(used + STAMP_BYTES, READBACK, "readback")?;
        recorder.copy(lists, 0, &back, 0, used);
        let submitted = self.submit(recorder, Some((&back, used)), report)?;
        self.read(&back, used, &submitted, report, |bytes| {
            let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
            for row in which {
                let range = 4 * starts[row as usize] as usize..4 * starts[row as usize + 1] as usize;
                let local = bytes[range].chunks_exact(4).map(|b| word(b) as usize);
                let list = local.map(|local| loaded.members.cloud_index(local) as u32).collect();
                out[cloud_index(core, row) as usize] = list;
            }
        })
    }

    /// Columns of the rows that the CPU answers.
    fn columns_on_cpu(
        &self,
        rows: &[u32],
        core: Option<&[u32]>,
        set: &FeatureSet,
        known: &Known,
        out: &[Cells],
        report: &mut Report,
    ) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let (points, _) = self.places(rows, core);
        let values: Vec<Value> =
            self.with_index(report, |index| columns_of(index, self.job, set, self.scales, known, &points))?;
        for (scale, point, column, bits) in values {
            out[scale].put(column, point as usize, bits);
        }
        Ok(())
    }
}

/// The own position of what each row asks about, and the row. Foreign queries stand behind the points.
fn queries(loaded: &Loaded, resident: &Resident) -> Vec<[u32; 2]> {
    let first = if resident.foreign { resident.points } else { 0 };
    match &loaded.rows {
        Some(of) if !resident.foreign => {
            (0..).zip(of).filter(|(_, row)| **row != NO_ROW).map(|(at, &row)| [at, row]).collect()
        }
        _ => (0..resident.rows).map(|row| [first + row, row]).collect(),
    }
}

/// Rows with their lists, together at most `most` members, or one row.
fn in_batches(mut rows: &[RowList], most: usize) -> Vec<&[RowList]> {
    let mut out = Vec::new();
    while !rows.is_empty() {
        let mut members = 0;
        let fit = rows.iter().take_while(|row| {
            members += row.1.len() + 1;
            members <= most
        });
        let (own, rest) = rows.split_at(fit.count().max(1));
        out.push(own);
        rows = rest;
    }
    out
}

/// Ranges of rows whose lists are on the device at one time.
fn windows(found: &Found, rows: u32, most: u64) -> Vec<Range<u32>> {
    if found.lists.is_some() {
        return std::iter::once(0..rows).collect();
    }
    let mut out = Vec::new();
    let (mut first, mut entries) = (0, 0);
    for (row, &length) in (0..).zip(&found.lengths) {
        if entries + u64::from(length) > most {
            out.push(first..row);
            (first, entries) = (row, 0);
        }
        entries += u64::from(length);
    }
    // Rows without members have records too.
    if !found.lengths.is_empty() {
        out.push(first..rows);
    }
    out
}

/// Where each row's list begins, and the end of the last; empty lists for rows outside of the window.
fn starts(found: &Found, k: u32, rows: u32, window: &Range<u32>) -> Vec<u32> {
    if found.lists.is_some() {
        return (0..=rows).map(|row| (rows + row) * k).collect();
    }
    let mut at = 0;
    let mut starts = vec![0];
    starts.extend((0..).zip(&found.lengths).map(|(row, length)| {
        if window.contains(&row) {
            at += length;
        }
        at
    }));
    starts
}

/// Squared distances and indices of last members, those of stragglers among their own little clouds.
fn take_last(
    bytes: &[u8],
    loaded: &Loaded,
    core: Option<&[u32]>,
    strangers: &[Strangers],
    out: &mut [(u64, u32)],
) {
    let at = |row: u32| {
        let at = 8 * row as usize;
        (u64::from(word(&bytes[at..])), word(&bytes[at + 4..]) as usize)
    };
    for row in 0..(bytes.len() / 8) as u32 {
        let (dist_sq, local) = at(row);
        // Rows that follow below may hold anything.
        if local < loaded.members.len() {
            out[cloud_index(core, row) as usize] = (dist_sq, loaded.members.cloud_index(local) as u32);
        }
    }
    for (rows, cloud_of) in strangers {
        for &row in rows {
            let (dist_sq, local) = at(row);
            if let Some(&member) = cloud_of.get(local) {
                out[cloud_index(core, row) as usize] = (dist_sq, member);
            }
        }
    }
}
