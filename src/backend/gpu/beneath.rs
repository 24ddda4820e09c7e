//! What lies below points among those around them in plan.

use super::chunk::{COUNTERS, READBACK, Runner, cloud_index, counters, word};
use super::kernel::{Output, Search};
use super::record::STAMP_BYTES;
use crate::backend::Beneath;
use crate::backend::cells::Cells;
use crate::backend::cpu::beneath_of;
use crate::error::Result;
use crate::plan::{Chunk, Plan};
use crate::report::Report;

impl<'a, 'j: 'a> Runner<'a, 'j> {
    /// Fills the bits of a chunk's core points.
    pub(super) fn beneath(
        &self,
        plan: &Plan,
        chunk: &Chunk,
        beneath: &Beneath<'_>,
        out: &Cells,
        report: &mut Report,
    ) -> Result<()> {
        let loaded = self.load(plan, chunk, report);
        let core = loaded.core.as_deref();
        let resident = self.upload(&loaded, core, 0, report)?;
        let output = Output::Beneath([beneath.near, beneath.far]);
        let search = Search::first(self.scales.rule, resident.subject(), output).filter(|_| !chunk.crowd);
        let stragglers = if let Some(search) = search {
            let of_points: Vec<i32> = (0..loaded.members.len())
                .map(|local| beneath.heights[loaded.members.cloud_index(local)])
                .collect();
            let of_points: &[u8] = bytemuck::cast_slice(&of_points);
            let heights = self.storage_for(of_points, "heights")?;
            let bits = self.storage(u64::from(resident.rows) * 4, "bits")?;
            let used = bits.requested() + COUNTERS;
            let back = self.buffer(used + STAMP_BYTES, READBACK, "readback")?;
            let mut recorder = self.recorder(&resident)?;
            self.record_upload(&mut recorder, &resident);
            let _staging = self.stage(&mut recorder, &[(&heights, of_points)], report)?;
            let index = self.record_index(&mut recorder, &resident)?;
            let buffers = [&bits, &heights];
            let step =
                self.search_step(&mut recorder, search, &resident, &index, &buffers, resident.queries())?;
            recorder.pass("search", &[step]);
            recorder.copy(&bits, 0, &back, 0, bits.requested());
            recorder.copy(&index.queue, 0, &back, bits.requested(), COUNTERS);
            let submitted = self.submit(recorder, Some((&back, used)), report)?;
            let [wide, left] = self.read(&back, used, &submitted, report, |bytes| {
                let (bits, queue) = bytes.split_at(bits.requested() as usize);
                for (row, bits) in (0..resident.rows).zip(bits.chunks_exact(4)) {
                    out.put(None, cloud_index(core, row) as usize, word(bits));
                }
                counters(queue)
            })?;
            match wide + left {
                0 => Vec::new(),
                _ => self.second_search(search.second(wide), &resident, &index, &buffers, wide, report)?,
            }
        } else {
            (0..resident.rows).collect()
        };
        report.stragglers += stragglers.len();
        let (points, _) = self.places(&stragglers, core);
        if points.is_empty() {
            return Ok(());
        }
        let rule = self.scales.rule;
        let found = self.with_index(report, |index| beneath_of(index, self.job, rule, beneath, &points))?;
        points.iter().zip(found).for_each(|(&point, bits)| out.put(None, point as usize, bits));
        Ok(())
    }
}
