//! Room in a slot's buffers beyond what its chunk needs, so that they serve its next chunks too.
//!
//! A chunk's points and its rows do not grow together: what it loads around its rows differs from chunk to chunk.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// Room for a chunk's own needs; and the most for larger chunks, a quarter more.
const OWN: u64 = 1 << 10;
const MOST: u64 = OWN + OWN / 4;

/// Bytes of a buffer, by what there are more of in a larger chunk.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bytes {
    /// Bytes of what the chunk loads, or of neither.
    pub(super) points: u64,
    /// Bytes of what it computes.
    pub(super) rows: u64,
}

impl From<u64> for Bytes {
    fn from(points: u64) -> Self {
        Self { points, rows: 0 }
    }
}

impl Bytes {
    pub(super) fn of_rows(rows: u64) -> Self {
        Self { points: 0, rows }
    }

    pub(super) fn all(self) -> u64 {
        self.points + self.rows
    }
}

/// Points and rows of the largest chunks so far.
#[derive(Debug, Default)]
pub(super) struct Largest {
    points: AtomicUsize,
    rows: AtomicUsize,
}

impl Largest {
    pub(super) fn new(points: usize, rows: usize) -> Self {
        Self { points: points.into(), rows: rows.into() }
    }

    /// The room of a chunk's buffers.
    pub(super) fn room(&self, points: usize, rows: usize) -> Room {
        let share = |largest: &AtomicUsize, own: usize| {
            let own = own.max(1);
            let largest = largest.fetch_max(own, Relaxed).max(own) as u64;
            (largest * OWN).div_ceil(own as u64).min(MOST)
        };
        Room { points: share(&self.points, points), rows: share(&self.rows, rows) }
    }
}

/// Room for larger chunks, against what one needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    points: u64,
    rows: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self { points: OWN, rows: OWN }
    }
}

impl Room {
    /// Bytes of a buffer with room.
    pub(super) fn of(self, bytes: Bytes) -> u64 {
        (bytes.points * self.points + bytes.rows * self.rows) / OWN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_chunk_has_room_for_the_largest() {
        // The chunk with the fewest points around its rows has the most rows.
        let chunks = [(105_000, 88_000), (101_063, 96_440), (107_868, 104_272), (102_381, 98_010)];
        let largest = Largest::new(0, chunks[2].1);
        largest.room(chunks[2].0, 1);
        for (points, rows) in chunks {
            let room = largest.room(points, rows);
            let bytes = Bytes { points: points as u64 * 12, rows: rows as u64 * 24 };
            for (own, most) in [
                (bytes, 107_868 * 12 + 104_272 * 24),
                (Bytes::from(bytes.points), 107_868 * 12),
                (Bytes::of_rows(bytes.rows), 104_272 * 24),
            ] {
                let given = room.of(own);
                assert!(given >= most && given <= most + most / 500, "{given} of {most}");
            }
        }
        assert_eq!(largest.room(10, 10).of(Bytes { points: 1000, rows: 200 }), 1500);
    }
}
