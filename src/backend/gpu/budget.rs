//! Bytes of a chunk on the device, and how many points fit a budget.

use super::record::STAMP_BYTES;
use super::shader::{CELLS_PER_POINT, QUEUE_LISTS};
use crate::error::{Error, Result};
use crate::scales::{Ends, Scales};

/// Chunks that are under way at one time: one on the device, one before it, one behind it.
const SLOTS: usize = 3;

/// Bytes unless the caller says: what a card of 4 GiB can spare beside a desktop.
const USUAL_BUDGET: u64 = 2 << 30;

/// Points of a chunk at most, unless the caller says: larger ones gain nothing and overlap less.
const MOST_POINTS: usize = 1 << 21;

/// Points of a cloud in one chunk at most: its kernels run in one go.
const MOST_POINTS_AT_ONCE: usize = 1 << 24;

/// Points below which chunks are mostly halo: fewer slots then serve better than smaller chunks.
const FEW_POINTS: u64 = 1 << 17;

/// Points below which a chunk makes no sense.
const LEAST_POINTS: u64 = 1024;

/// Buffers of a chunk that hold less than a pool's smallest class: blocks, counters, time stamps.
const SMALL_BUFFERS: u64 = 24 * (64 << 10);

/// Bytes of a window at most: more at one time gain nothing.
const MOST_WINDOW: u64 = 64 << 20;

/// Part of a chunk's rows whose answers go from the CPU to the device at one time.
pub(super) const STRAGGLER_SHARE: usize = 8;

/// What one chunk takes of the device, by points loaded and by rows of results.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    point: u64,
    row: u64,
    fixed: u64,
    /// Bytes of the widest buffer, by points or rows.
    widest: u64,
    /// Bytes of the widest staging buffer: many arrays, but never bound.
    staged: u64,
    /// What of all this is memory of the host's that the device sees: staging and readbacks.
    host: u64,
}

/// How a request is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// Points that a chunk may load, and rows that it may have.
    pub(super) capacity: usize,
    /// Chunks under way at one time.
    pub(super) slots: usize,
    /// Bytes that lists and stragglers of a slot may take, each: they do not grow with its points.
    pub(super) window: u64,
}

/// What a caller says of memory.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// Core points of a chunk at most.
    pub(crate) chunk_points: Option<usize>,
    /// Bytes on the device, staging and readback included.
    pub(crate) budget: Option<u64>,
    pub(crate) slots: Option<usize>,
    pub(crate) no_reuse: bool,
}

impl Limits {
    pub(crate) fn bytes(&self) -> u64 {
        self.budget.unwrap_or(USUAL_BUDGET)
    }
}

impl Need {
    /// A chunk's points, with what rows carry, and its index.
    pub(super) fn of_index(foreign: bool, attribute_words: u32) -> Self {
        let fixed = SMALL_BUFFERS + STAMP_BYTES;
        let none = Self { point: 0, row: 0, fixed, widest: 16, staged: 16, host: 0 };
        // Coordinates and rows, cells with their prefix sums, places, points by cell, the queue.
        let cells = u64::from(CELLS_PER_POINT) * 4;
        let queue = QUEUE_LISTS.len() as u64 * 4;
        let index = none.points(&[12, 4, cells, 1, 8, 16, queue]);
        // Cubes of 48 points, and their probes; what the queue's readback takes.
        let attributes = u64::from(attribute_words) * 4;
        let packed = index.points(&[1]).rows(&[attributes]).read_back(4);
        match foreign {
            true => packed.rows(&[12, queue]).staged(16, attributes + 12),
            false => packed.staged(16, attributes),
        }
    }

    /// Arrays of so many bytes a point and a row that are packed into one staging buffer.
    pub(super) fn staged(mut self, point: u64, row: u64) -> Self {
        self.point += point;
        self.row += row;
        self.staged = self.staged.max(point + row);
        self.host += point + row;
        self
    }

    /// Bytes of each row that are read back in one buffer.
    fn read_back(mut self, bytes: u64) -> Self {
        self.host += bytes;
        self.rows(&[bytes])
    }

    pub(super) fn points(mut self, buffers: &[u64]) -> Self {
        for &bytes in buffers {
            self.point += bytes;
            self.widest = self.widest.max(bytes);
        }
        self
    }

    pub(super) fn rows(mut self, buffers: &[u64]) -> Self {
        for &bytes in buffers {
            self.row += bytes;
            self.widest = self.widest.max(bytes);
        }
        self
    }

    /// Records of each row's neighbourhoods; those of stragglers come in parts.
    pub(super) fn records(self, words: u32, neighborhoods: usize) -> Self {
        let bytes = u64::from(words) * 4 * neighborhoods as u64;
        let stragglers = (bytes + 4 * neighborhoods as u64).div_ceil(STRAGGLER_SHARE as u64);
        self.rows(&[bytes, stragglers]).staged(0, stragglers)
    }

    /// Results that are read back.
    pub(super) fn results(self, words: usize) -> Self {
        let bytes = words as u64 * 4;
        self.rows(&[bytes]).read_back(bytes)
    }

    /// Sorted lists, what finds them, and what is uploaded of each member.
    pub(super) fn lists(self, scales: &Scales, foreign: bool, payload_words: u32) -> Self {
        let payload = u64::from(payload_words) * 4;
        // Own positions, starts, rows; all of it comes in one staging buffer.
        let positions = if foreign { 12 } else { 0 };
        let need = self
            .points(&[payload, positions])
            .rows(&[8, 4, positions])
            .staged(payload + positions, 12 + positions);
        match scales.ends {
            Ends::Counts(..) => need.rows(&[scales.rule.k as u64 * 8]),
            // Lengths, there and read back; lists and their readback are of the window's size.
            Ends::Limits(_) => need.rows(&[4]).read_back(4),
        }
    }

    /// Bytes of the host's memory for each point: those that the device sees, or all where it has none of its own.
    pub(super) fn host_bytes(self, unified: bool) -> u64 {
        if unified { self.point + self.row } else { self.host }
    }

    /// The largest chunks within what the device and the caller allow, or one for all of `points` and rows if that fits:
    /// a plan and halos cost more than what overlapping hides.
    pub(super) fn cut(self, points: usize, limits: &Limits, device: &wgpu::Limits) -> Result<Cut> {
        // A readback of all columns, with the stamps behind it, is one buffer. Size classes round up by a sixteenth.
        let limit = device.max_storage_buffer_binding_size.min(device.max_buffer_size - STAMP_BYTES);
        let rounded = |bytes: u64| bytes / 17 * 16;
        let bindable = (rounded(limit) / self.widest).min(rounded(device.max_buffer_size) / self.staged);
        if bindable < LEAST_POINTS {
            return Err(Error::ChunkTooLarge { bytes: self.widest * LEAST_POINTS, what: "binding", limit });
        }
        let budget = limits.bytes();
        // A window holds lists, their readback beside them, or stragglers with what goes along, and where that is staged.
        let window = |slots: usize| (budget / slots as u64 / 8).min(rounded(limit)).min(MOST_WINDOW);
        // Reused buffers may be a quarter too large, and most are not.
        let each = (self.point + self.row) * 6 / 5;
        let fitting =
            |slots: usize| (budget / slots as u64).saturating_sub(self.fixed + 3 * window(slots)) / each;
        let single = bindable.min(fitting(1)).min(1 << 28) as usize;
        if limits.chunk_points.is_none() && points <= single && points <= MOST_POINTS_AT_ONCE {
            return Ok(Cut { capacity: points.max(1), slots: 1, window: window(1) });
        }
        let most = limits.slots.unwrap_or(SLOTS).max(1);
        let slots = (1..=most).rev().find(|&slots| fitting(slots) >= FEW_POINTS).unwrap_or(1);
        let fitting = fitting(slots);
        if fitting < LEAST_POINTS {
            let bytes = LEAST_POINTS * each + self.fixed;
            return Err(Error::ChunkTooLarge { bytes, what: "memory budget", limit: budget });
        }
        // Halos of small cores are wide.
        let wanted = limits.chunk_points.map_or(MOST_POINTS, |core| core.saturating_mul(4));
        // The queue's lists are indexed with 32 bits, in words.
        let capacity = bindable.min(fitting).min(1 << 28) as usize;
        Ok(Cut { capacity: capacity.min(wanted), slots, window: window(slots) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need() -> Need {
        Need::of_index(false, 0).records(16, 1).results(13)
    }

    fn cut(budget: u64, device: &wgpu::Limits) -> Cut {
        need().cut(1 << 30, &Limits { budget: Some(budget), ..Limits::default() }, device).unwrap()
    }

    #[test]
    fn chunks_fit_the_budget_and_the_bindings() {
        let wide = wgpu::Limits {
            max_storage_buffer_binding_size: 1 << 31,
            max_buffer_size: 1 << 32,
            ..Default::default()
        };
        let each = need().point + need().row;
        for budget in [4 << 20, 64 << 20, 512 << 20, 2 << 30, 1 << 36] {
            for device in [&wide, &wgpu::Limits::default()] {
                let Cut { capacity, slots, .. } = cut(budget, device);
                let bytes = slots as u64 * (capacity as u64 * each + need().fixed);
                assert!(bytes <= budget, "{bytes} of {budget}");
                assert!(capacity as u64 * need().widest <= device.max_storage_buffer_binding_size);
                assert!(slots == 1 || capacity as u64 >= FEW_POINTS);
            }
        }
        assert_eq!(cut(1 << 36, &wide).capacity, MOST_POINTS);
        let whole = need().cut(3_000_000, &Limits::default(), &wide).unwrap();
        assert_eq!((whole.capacity, whole.slots), (3_000_000, 1));
        assert_eq!((cut(2 << 30, &wide).slots, cut(32 << 20, &wide).slots), (SLOTS, 1));
    }

    #[test]
    fn what_is_staged_and_read_back_is_memory_of_the_host() {
        // Positions and rows in, flags and twelve columns out, the queue, and an eighth of 16 words for stragglers.
        let (own, all) = (need().host_bytes(false), need().host_bytes(true));
        assert_eq!(own, 12 + 4 + 13 * 4 + 4 + (64 + 4) / 8 + 1);
        assert_eq!(all, need().point + need().row);
        // Staged arrays are never bound, and may take a whole buffer.
        let device = wgpu::Limits::default();
        let Cut { capacity, window, .. } = need()
            .staged(100, 120)
            .cut(1 << 30, &Limits { budget: Some(1 << 36), ..Limits::default() }, &device)
            .unwrap();
        assert!(
            capacity as u64 * 220 <= device.max_buffer_size && capacity as u64 * 235 > device.max_buffer_size
        );
        assert!(window <= device.max_storage_buffer_binding_size);
    }

    #[test]
    fn what_cannot_fit_is_refused() {
        let device = wgpu::Limits::default();
        let tight = Limits { budget: Some(1 << 20), ..Limits::default() };
        let refused = need().cut(1 << 20, &tight, &device).unwrap_err();
        assert!(
            matches!(refused, Error::ChunkTooLarge { what: "memory budget", limit, .. } if limit == 1 << 20)
        );
        let wide = Need::of_index(false, 0).rows(&[1 << 20]).cut(1 << 20, &Limits::default(), &device);
        assert!(matches!(wide, Err(Error::ChunkTooLarge { what: "binding", .. })));
    }
}
