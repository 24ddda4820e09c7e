//! Columns that many threads fill at once, each cell once.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rayon::prelude::*;

use crate::columns::RawColumns;
use crate::error::Result;
use crate::watch::Watch;

/// Cells that one task makes or takes over.
const TASK: usize = 1 << 14;

/// Values and flags of one neighbourhood. Cells lie where threads happen to have the points: relaxed atomics cost a
/// plain store.
#[derive(Debug)]
pub(crate) struct Cells {
    values: Vec<Vec<AtomicU32>>,
    flags: Vec<AtomicU32>,
}

impl Cells {
    /// Zeros for `n` points. Made in parallel: fresh memory costs most when it is first touched.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled).
    pub(crate) fn new(columns: usize, n: usize, watch: &Watch) -> Result<Self> {
        let column = |_| watch.check().map(|()| zeros(n));
        Ok(Self { values: (0..columns).map(column).collect::<Result<_>>()?, flags: zeros(n) })
    }

    /// A column by number; `None` is the flags.
    pub(crate) fn column(&self, column: Option<usize>) -> &[AtomicU32] {
        column.map_or(&self.flags, |column| &self.values[column])
    }

    /// Writes the bits of one cell.
    pub(crate) fn put(&self, column: Option<usize>, point: usize, bits: u32) {
        self.column(column)[point].store(bits, Relaxed);
    }

    pub(crate) fn into_columns(self) -> RawColumns {
        let floats = |column: Vec<AtomicU32>| {
            column.into_iter().map(|cell| f32::from_bits(cell.into_inner())).collect::<Vec<f32>>()
        };
        RawColumns {
            values: self.values.into_par_iter().map(floats).collect(),
            flags: self.flags.into_iter().map(AtomicU32::into_inner).collect(),
        }
    }
}

/// Zeros, made in parallel.
pub(crate) fn zeros(n: usize) -> Vec<AtomicU32> {
    (0..n).into_par_iter().with_min_len(TASK).map(|_| AtomicU32::new(0)).collect()
}
