//! What lies below points among those around them in plan.

use super::chunk::{Runner, cloud_index, word};
use super::kernel::{Output, Search};
use super::room::Bytes;
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
            let bits = self.storage(Bytes::of_rows(u64::from(resident.rows) * 4), "bits")?;
            let take = |bytes: &[u8]| {
                for (row, bits) in (0..resident.rows).zip(bytes.chunks_exact(4)) {
                    out.put(None, cloud_index(core, row) as usize, word(bits));
                }
            };
            let mut recorder = self.recorder(&resident)?;
            let _staging = self.stage(&mut recorder, &[(&heights, of_points)], report)?;
            let goal = self.goal(&bits, true, &|_| Ok(()), &take)?;
            match self.search(recorder, &resident, search, &[&bits, &heights], &goal, report)? {
                Some(left) => {
                    self.deliver(self.recorder(&resident)?, &goal, report)?;
                    left
                }
                None => Vec::new(),
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
