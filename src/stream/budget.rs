//! How many points may be in memory at a time.

use crate::backend::gpu::HostMemory;
use crate::engine;
use crate::error::{Error, Result};
use crate::extras;
use crate::features::{FeatureSet, Input};
use crate::neighborhood::Neighborhood;
use crate::options::Options;
use crate::part::Most;

/// Memory where the system does not say how much is available.
const UNKNOWN: u64 = 2 << 30;

/// A budget of host memory, spent.
///
/// A stream is in one of four phases, and each has the whole budget: the first pass (a batch and the histogram), the
/// second pass (a batch and the open piece of every leaf), computing (a part: its records, the backend's arrays, what
/// a GPU is sent from and sends to, and the columns), and the output (a segment's columns and one of its pieces).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Budget {
    /// Points of a batch.
    pub(super) batch: usize,
    /// Cells of the histogram.
    pub(super) cells: usize,
    /// Points that are loaded for a part, halo included.
    pub(super) most: Most,
    /// Core points of a part, and of a leaf.
    pub(super) part: u64,
    pub(super) leaf: u64,
    /// Rows of a segment.
    pub(super) segment: u64,
    bytes: u64,
}

/// What a point's row takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Bytes of its record in the temporary file.
    pub(super) record: u64,
    /// Columns of f32 that are computed for it, flags among them.
    pub(super) computed: u64,
    /// Those that leave.
    pub(super) columns: u64,
    /// Ground points that are looked up for it.
    pub(super) ground: u64,
}

impl Row {
    /// Of a request, for records of so many bytes.
    pub(super) fn new(
        record: u64,
        set: &FeatureSet,
        neighborhoods: &[Neighborhood],
        options: &Options,
    ) -> Self {
        let computed = engine::computed(set, options);
        let scales = neighborhoods.len() as u64;
        let extras = 2 * extras::needed(&computed).len() as u64;
        // Normals, reaches, densities and last members of all points come before what is made of them.
        let known = if computed.members().second_order() { 10 } else { 0 };
        let ground = options.ground.method.neighbors().get();
        Self {
            record,
            computed: (computed.len() as u64 + 1) * scales + extras + known,
            columns: (set.len() as u64 + 1) * scales,
            ground: if set.needs(Input::Ground) { ground.into() } else { 0 },
        }
    }

    /// Bytes of a loaded point, all arrays of computing it taken together. Records are put in order once more; raw columns
    /// become columns, of which the core's are gathered.
    pub(super) fn bytes(&self) -> u64 {
        2 * self.record + SEARCH + 12 * self.computed + 24 * self.ground
    }
}

/// Bytes of a batch's point while it is read: compressed, decoded, as columns, and as placed.
const BATCH_POINT: u64 = 160;
/// Bytes of a histogram's cell, in a table of which an eighth to a half is free and which is copied when it grows.
const CELL: u64 = 96;
/// Bytes of a loaded point beside its record and columns: sorted keys, places and the k-d tree of the backend, later those of what
/// proves its row. Twice what was measured with the CPU's.
const SEARCH: u64 = 160;

impl Budget {
    /// Of which a GPU takes its part while a part is computed.
    pub(super) fn new(bytes: u64, row: Row, gpu: HostMemory) -> Result<Self> {
        let (own, both) = (row.bytes(), row.bytes() + gpu.point);
        // It takes so much for each point, until it takes no more.
        let points = (bytes / both).max(bytes.saturating_sub(gpu.most) / own);
        let bytes_per_point = bytes.checked_div(points).map_or(both, |each| each.min(both));
        let most = Most { points, bytes_per_point, budget: bytes };
        let part = most.points / 3;
        let budget = Self {
            batch: (bytes / 4 / BATCH_POINT).clamp(1, 1 << 18) as usize,
            cells: (bytes / 4 / CELL).clamp(1, 1 << 18) as usize,
            most,
            part,
            leaf: part / 16,
            segment: (bytes / 2 / (8 * row.columns + 8)).min(1 << 30),
            bytes,
        };
        if budget.leaf == 0 || budget.segment == 0 || budget.batch < 64 {
            return Err(most.exceeded_by(48));
        }
        Ok(budget)
    }

    /// Bytes that each of so many leaves collects before they are written.
    pub(super) fn piece(&self, leaves: usize, record: usize) -> usize {
        let piece = self.bytes / 2 / leaves.max(1) as u64;
        // A vector that grows has up to twice the room.
        (piece as usize / 2).clamp(record, 1 << 18)
    }
}

/// Half of the memory that is available, or 1 GiB where the system does not say.
pub(super) fn usual() -> u64 {
    available().unwrap_or(UNKNOWN) / 2
}

/// Memory that the system, or the group of processes that this one is in, has left.
pub(super) fn available() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let number = |path: &str| read(path).and_then(|text| text.trim().parse::<u64>().ok());
    let meminfo = read("/proc/meminfo")?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let system = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024;
    let group = number("/sys/fs/cgroup/memory.max").zip(number("/sys/fs/cgroup/memory.current"));
    let group = group.map(|(most, current)| most.saturating_sub(current));
    Some(group.map_or(system, |left| left.min(system)))
}

/// The error of a budget in which not even the first pass fits.
pub(super) fn check(bytes: u64) -> Result<()> {
    match bytes >= LEAST {
        true => Ok(()),
        false => Err(Error::BudgetTooSmall { points: 1, bytes: LEAST, budget: bytes }),
    }
}

/// Least budget: a batch and a histogram of some size.
const LEAST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_spent_and_small_ones_refused() {
        let row = Row { record: 31, computed: 20, columns: 12, ground: 0 };
        let none = HostMemory::default();
        let budget = Budget::new(1 << 30, row, none).unwrap();
        assert!(budget.most.points * budget.most.bytes_per_point <= 1 << 30);
        assert!(budget.part < budget.most.points && budget.leaf * 16 <= budget.part);
        assert!(budget.segment * (8 * 12 + 8) <= 1 << 29);
        assert!(budget.piece(1000, 31) * 2 * 1000 <= 1 << 29);
        assert!(matches!(Budget::new(20_000, row, none), Err(Error::BudgetTooSmall { .. })));
        assert!(check(1 << 19).is_err() && check(1 << 20).is_ok());
        assert!(usual() > 0);
    }

    #[test]
    fn a_gpu_leaves_less_room_for_points() {
        let row = Row { record: 31, computed: 20, columns: 12, ground: 0 };
        let own = row.bytes();
        let points = |bytes, gpu| {
            let most = Budget::new(bytes, row, gpu).unwrap().most;
            let taken = most.points * own + (most.points * gpu.point).min(gpu.most);
            assert!(taken <= bytes && taken + 2 * (own + gpu.point) > bytes, "{taken} of {bytes}");
            assert!(most.points * most.bytes_per_point <= bytes && most.bytes_per_point >= own);
            // One point too many is said to take more than there is, rounding apart.
            match most.exceeded_by(most.points + most.points / 100) {
                Error::BudgetTooSmall { bytes: needed, budget, .. } => assert!(needed > budget),
                other => panic!("{other}"),
            }
            most.points
        };
        let none = HostMemory::default();
        let gpu = HostMemory { point: own, most: 256 << 20 };
        // Half of the points while what the GPU takes grows with them; then its limit is all that it takes.
        assert_eq!(points(64 << 20, gpu), points(32 << 20, none));
        assert_eq!(points(1 << 30, gpu), points((1 << 30) - (256 << 20), none));
        assert!(matches!(
            Budget::new(1 << 20, row, HostMemory { point: 1 << 20, most: 1 << 30 }),
            Err(Error::BudgetTooSmall { .. })
        ));
    }
}
