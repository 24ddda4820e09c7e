//! The search of a chunk's neighbourhoods: the kernel that all queries go through, the one for what it left, and when the
//! results that follow come back.

use std::sync::atomic::Ordering::Relaxed;

use super::chunk::{COUNTERS, Index, READBACK, Resident, Runner, Take, word};
use super::kernel::{BATCH, Kernel, SOFTWARE_BATCH, Search, Turn};
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
/// Bytes of results that come back with the first search on the chance that it leaves nothing: one wait less. More of them
/// cost more than a wait, for nothing wherever there is one isolated point.
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
    /// CPU, with the goal still to be reached. `None` where it was: nearly always nothing is left, so that what follows is
    /// made in the same submission.
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
        (goal.compute)(&mut recorder)?;
        if few {
            recorder.copy(goal.results, 0, &goal.back, 0, goal.bytes);
        }
        recorder.copy(&index.queue, 0, back, at, COUNTERS);
        let submitted = self.submit(recorder, Some((back, at + COUNTERS)), report)?;
        let [wide, left] = self.read(back, at + COUNTERS, &submitted, report, |bytes| {
            let (results, queue) = bytes.split_at(at as usize);
            let left = self.counters(queue);
            if few && left == [0, 0] {
                (goal.take)(results);
            }
            left
        })?;
        match wide + left {
            0 if few || goal.bytes == 0 => Ok(None),
            0 => self.bring(self.recorder(resident)?, goal, report).map(|()| None),
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
        (goal.compute)(&mut recorder)?;
        self.bring(recorder, goal, report)
    }

    /// Brings back what was made.
    fn bring(&self, mut recorder: Recorder<'_>, goal: &Goal<'_>, report: &mut Report) -> Result<()> {
        recorder.copy(goal.results, 0, &goal.back, 0, goal.bytes);
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
        // What takes longest to record is recorded while the device works on what it will read.
        recorder.go_ahead();
        let crew = resident.grid.crew;
        let turns = std::iter::once(search).chain(search.later());
        let turns: Vec<Search> = turns.filter(|search| search.turn != Turn::Crew || crew > 0).collect();
        // Each pass costs some 10 µs beside its kernels, for its time stamps and for what is waited for at its end.
        let stage = |search: &Search| match search.turn {
            Turn::Again | Turn::More => "search again",
            Turn::Crew => "search crew",
            Turn::Last if crew > 0 => "search crew",
            Turn::Last => "search last",
            _ => "search",
        };
        for together in turns.chunk_by(|a, b| stage(a) == stage(b)) {
            let step = |&search: &Search| {
                let queries = if search.turn == Turn::Crew { crew } else { resident.queries() };
                self.search_step(recorder, search, resident, index, output, queries)
            };
            let steps: Vec<Step> = together.iter().map(step).collect::<Result<_>>()?;
            recorder.pass(stage(&together[0]), &steps);
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
        let batch = if self.context.device.for_hardware.load(Relaxed) { BATCH } else { SOFTWARE_BATCH };
        let search = Search { batch, ..search };
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

    /// How many queries are left to the wide kernel, and to the CPU.
    pub(super) fn counters(&self, queue: &[u8]) -> [u32; 2] {
        #[cfg(test)]
        self.context.device.left_to_last.store(word(&queue[4 * TO_LAST..]), Relaxed);
        [word(queue), word(&queue[4..])]
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
            let [_, left] = self.counters(read);
            let words = read[COUNTERS as usize..used as usize].chunks_exact(4).take(left as usize);
            let mut rows: Vec<u32> = words.map(word).collect();
            // Atomics queued them in any order.
            rows.sort_unstable();
            (u64::from(left), rows)
        })
    }
}

/// Number of the list of queries that a crew takes, unless they are too many for it.
#[cfg(test)]
const TO_LAST: usize = 5;

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::super::fault_tests::{adapter, device};
    use super::super::kernel::CREW_TURNS;
    use super::super::shader::QUEUE_LISTS;
    use super::TO_LAST;
    use crate::cloud::PointCloud;
    use crate::engine::{Backend, Engine};
    use crate::features::FeatureSet;
    use crate::frame::Frame;
    use crate::neighborhood::Neighborhood;

    /// A surface, and points farther from it and from each other than quick kernels look.
    fn surface_and_strangers() -> Vec<[i32; 3]> {
        let surface =
            (0..2000).map(|i: i32| [i * 7 % 61 * 90 + i * i % 17, i * 11 % 53 * 90, i * 13 % 7 * 5]);
        let stranger =
            |i: i32| [9_000 + i % 10 * 6_000 + i * i * 7 % 900, i / 10 * 6_000 + i * 31 % 700, i % 5];
        surface.chain((1..=90).map(stranger)).collect()
    }

    #[test]
    fn a_crew_finds_what_invocations_find() {
        let Some(name) = adapter() else { return };
        assert_eq!(QUEUE_LISTS[TO_LAST], "TO_LAST");
        let points = surface_and_strangers();
        let cloud = PointCloud::from_lattice(&points, Frame::new([0.0; 3], 0.01).unwrap());
        // One set takes sums alone, the other lists.
        let sets = ["normals,planarity,knn_distance", "normals,planarity,plane_fit,knn_distance"];
        let sets = sets.map(|names| FeatureSet::parse(names).unwrap());
        let rules = [Neighborhood::knn(5), Neighborhood::knn(20), Neighborhood::knn_within(8, 5_000.0)];
        let rules = rules.map(Result::unwrap);
        let answers = |crews: bool, chunk_points: usize| {
            let builder = Engine::builder().backend(Backend::Gpu).adapter(&name);
            let engine = builder.chunk_points(chunk_points).build().unwrap();
            let device = device(&engine);
            device.for_hardware.store(crews, Relaxed);
            let of = |(rule, set): (Neighborhood, &FeatureSet)| {
                let (columns, report) = engine.features(&cloud, set, rule).unwrap();
                assert_eq!((report.backend, &report.fallback), ("gpu", &None));
                if crews && chunk_points >= points.len() {
                    // As many workgroups as 256 points go into, each with its turns.
                    let most = points.len().div_ceil(256) as u32 * CREW_TURNS;
                    let left = device.left_to_last.load(Relaxed);
                    assert!((1..=most).contains(&left), "{left} of {most} queries for the crew");
                }
                let crew_worked = report.stages.iter().any(|stage| stage.0 == "gpu search crew");
                assert!(
                    crew_worked == crews || !report.stages.iter().any(|stage| stage.0.starts_with("gpu"))
                );
                let values = columns.iter().flat_map(|column| column.values.iter().map(|v| v.to_bits()));
                (
                    columns.flags().iter().copied().chain(values).collect::<Vec<_>>(),
                    engine.neighbors(&cloud, rule).unwrap().0,
                )
            };
            let cases = rules.iter().flat_map(|rule| sets.iter().map(move |set| (*rule, set)));
            cases.map(of).collect::<Vec<_>>()
        };
        let alone = answers(false, points.len());
        for chunk_points in [points.len(), 700] {
            assert!(answers(true, chunk_points) == alone, "chunks of {chunk_points}");
        }
    }
}
