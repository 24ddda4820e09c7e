//! The search of a chunk's neighbourhoods: the kernel that all queries go through, the one for what it left, and when the
//! results that follow come back.

use super::chunk::{COUNTERS, Index, READBACK, Resident, Runner, Take, word};
use super::kernel::{Kernel, Search, Turn};
use super::pool::Buffer;
use super::record::{Recorder, STAMP_BYTES, Step};
use super::room::Bytes;
use super::shader::PROBES;
use crate::error::Result;
use crate::report::Report;

/// Queries of one dispatch on hardware.
const QUERIES: u32 = 1 << 24;
/// Queries of one dispatch where the host's cores compute.
const QUERIES_SOFTWARE: u32 = 1 << 15;
/// Bytes of results that are made, and come back, with the first search on the chance that it leaves nothing: one wait less.
/// More of them cost more than a wait, for nothing wherever there is one isolated point.
const FEW_BYTES: u64 = 1 << 22;

/// Bytes of the CPU's list that come back before it is known how long it is.
const FEW_LEFT: u64 = 1 << 14;

/// What a search is for: results that are computed of its output, if they are not the output, and read back.
pub(super) struct Goal<'a> {
    results: &'a Buffer,
    back: Buffer,
    /// Bytes that come back.
    bytes: u64,
    compute: &'a dyn Fn(&mut Recorder<'_>) -> Result<()>,
    take: Take<'a>,
}

impl Goal<'_> {
    fn record(&self, recorder: &mut Recorder<'_>) -> Result<()> {
        (self.compute)(recorder)?;
        recorder.copy(self.results, 0, &self.back, 0, self.bytes);
        Ok(())
    }
}

impl<'a, 'j: 'a> Runner<'a, 'j> {
    /// Results that `compute` makes, and `take` is given if they are to come back.
    pub(super) fn goal<'b>(
        &self,
        results: &'b Buffer,
        comes_back: bool,
        compute: &'b dyn Fn(&mut Recorder<'_>) -> Result<()>,
        take: Take<'b>,
    ) -> Result<Goal<'b>> {
        let bytes = if comes_back { results.requested() } else { 0 };
        let back = self.buffer(Bytes::of_rows(bytes + COUNTERS + STAMP_BYTES), READBACK, "readback")?;
        Ok(Goal { results, back, bytes, compute, take })
    }

    /// Searches around all queries, and once more around those that the first kernel left: the rows that remain for the
    /// CPU. `None` where it left none and the goal, with few results, was reached at once.
    ///
    /// The recorder may hold uploads. The first of `output` is written to.
    pub(super) fn search(
        &self,
        mut recorder: Recorder<'_>,
        resident: &Resident,
        search: Search,
        output: &[&Buffer],
        goal: &Goal<'_>,
        report: &mut Report,
    ) -> Result<Option<Vec<u32>>> {
        let few = goal.results.requested() <= FEW_BYTES;
        let alone = (!few).then(|| self.buffer(COUNTERS + STAMP_BYTES, READBACK, "counters")).transpose()?;
        let (back, at) = alone.as_ref().map_or((&goal.back, goal.bytes), |alone| (alone, 0));
        self.record_upload(&mut recorder, resident);
        let index = self.record_index(&mut recorder, resident)?;
        self.record_search(&mut recorder, search, resident, &index, output)?;
        if few {
            goal.record(&mut recorder)?;
        }
        recorder.copy(&index.queue, 0, back, at, COUNTERS);
        let submitted = self.submit(recorder, Some((back, at + COUNTERS)), report)?;
        let [wide, left] = self.read(back, at + COUNTERS, &submitted, report, |bytes| {
            let (results, queue) = bytes.split_at(at as usize);
            let left = counters(queue);
            if few && left == [0, 0] {
                (goal.take)(results);
            }
            left
        })?;
        match wide + left {
            0 => Ok((!few).then(Vec::new)),
            _ => self.second_search(search.second(wide), resident, &index, output, wide, report).map(Some),
        }
    }

    /// Reaches a goal whose search is done.
    pub(super) fn deliver(
        &self,
        mut recorder: Recorder<'_>,
        goal: &Goal<'_>,
        report: &mut Report,
    ) -> Result<()> {
        goal.record(&mut recorder)?;
        let submitted = self.submit(recorder, Some((&goal.back, goal.bytes)), report)?;
        self.read(&goal.back, goal.bytes, &submitted, report, goal.take)
    }

    /// The kernel that all queries go through, what it has to know, and those for the queries that are harder.
    pub(super) fn record_search(
        &self,
        recorder: &mut Recorder<'_>,
        search: Search,
        resident: &Resident,
        index: &Index,
        output: &[&Buffer],
    ) -> Result<()> {
        if let Some(probe) = search.probe() {
            let probes = resident.grid.cube_count * PROBES;
            let step = self.search_step(recorder, probe, resident, index, &[&index.cube_reaches], probes)?;
            recorder.pass("probe", &[step]);
        }
        for search in std::iter::once(search).chain(search.later()) {
            let stage = match search.turn {
                Turn::Again => "search again",
                Turn::More => "search more",
                Turn::Last => "search last",
                _ => "search",
            };
            let step = self.search_step(recorder, search, resident, index, output, resident.queries())?;
            recorder.pass(stage, &[step]);
        }
        Ok(())
    }

    pub(super) fn search_step(
        &self,
        recorder: &mut Recorder<'_>,
        search: Search,
        resident: &Resident,
        index: &Index,
        output: &[&Buffer],
        queries: u32,
    ) -> Result<Step> {
        let Index { sorted, cube_cuts, cube_bases, cell_starts, queue, cube_reaches, .. } = index;
        let mut buffers = vec![sorted, cube_cuts, cube_bases, cell_starts, &resident.row_of];
        // What is written, the queue, and where to write.
        buffers.extend(output.first());
        buffers.push(queue);
        buffers.extend(output.get(1));
        buffers.extend(search.reads_reaches().then_some(cube_reaches));
        recorder.step(&Kernel::Search(search), &buffers, queries, self.most_queries())
    }

    /// Queries of one dispatch.
    pub(super) fn most_queries(&self) -> u32 {
        if self.context.device.software { QUERIES_SOFTWARE } else { QUERIES }
    }

    /// Runs the wide kernel over the queries that the narrow one left; the rows that remain for the CPU.
    pub(super) fn second_search(
        &self,
        search: Search,
        resident: &Resident,
        index: &Index,
        output: &[&Buffer],
        wide: u32,
        report: &mut Report,
    ) -> Result<Vec<u32>> {
        let list = u64::from(resident.queries()) * 4;
        let mut recorder = self.recorder(resident)?;
        if wide > 0 {
            let step = self.search_step(&mut recorder, search, resident, index, output, wide)?;
            recorder.pass("search wide", &[step]);
        }
        // Nearly always this is all that is left; the whole list takes milliseconds.
        let few = list.min(FEW_LEFT);
        let (left, rows) = self.rows_left(recorder, index, list, few, report)?;
        if left <= few / 4 {
            return Ok(rows);
        }
        Ok(self.rows_left(self.recorder(resident)?, index, list, left * 4, report)?.1)
    }

    /// How many rows the CPU's list has, and those in its first bytes, once what was recorded is done.
    fn rows_left(
        &self,
        mut recorder: Recorder<'_>,
        index: &Index,
        list: u64,
        bytes: u64,
        report: &mut Report,
    ) -> Result<(u64, Vec<u32>)> {
        let used = COUNTERS + bytes;
        let back = self.buffer(used + STAMP_BYTES, READBACK, "queue readback")?;
        recorder.copy(&index.queue, 0, &back, 0, COUNTERS);
        recorder.copy(&index.queue, COUNTERS + list, &back, COUNTERS, bytes);
        let submitted = self.submit(recorder, Some((&back, used)), report)?;
        self.read(&back, used, &submitted, report, |read| {
            let [_, left] = counters(read);
            let words = read[COUNTERS as usize..used as usize].chunks_exact(4).take(left as usize);
            let mut rows: Vec<u32> = words.map(word).collect();
            // Atomics queued them in any order.
            rows.sort_unstable();
            (u64::from(left), rows)
        })
    }
}

pub(super) fn counters(bytes: &[u8]) -> [u32; 2] {
    [word(bytes), word(&bytes[4..])]
}
