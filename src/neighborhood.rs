//! The rule that says who a point's neighbours are, and the lists it gives.

use std::num::NonZeroU32;

use crate::error::{Error, Result};

/// Which points belong to a point's neighbourhood.
///
/// Neighbours are ordered by (squared distance, index in the cloud). The query is a point of the cloud and
/// counts; where more than `k` points share its place, the `k` of lowest index are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Neighborhood {
    /// The `k` nearest points, the query among them. A cloud of fewer points gives them all.
    Knn {
        /// How many.
        k: NonZeroU32,
    },
}

impl Neighborhood {
    /// The `k` nearest points, the query counted.
    ///
    /// # Errors
    /// [`Error::ZeroNeighbors`] if `k` is 0.
    pub fn knn(k: u32) -> Result<Self> {
        Ok(Self::Knn { k: NonZeroU32::new(k).ok_or(Error::ZeroNeighbors)? })
    }

    /// Members of the neighbourhood in a cloud of `n` points.
    pub(crate) fn members(self, n: usize) -> usize {
        match self {
            Self::Knn { k } => (k.get() as usize).min(n),
        }
    }
}

/// Neighbour lists of every point, in compressed rows.
///
/// Row `i` is `offsets[i]..offsets[i + 1]` of `indices` and `dist_sq`, ordered by (squared distance, index).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Neighbors {
    /// Where each point's row begins; one more entry than points.
    pub offsets: Vec<usize>,
    /// Indices of neighbours in the cloud.
    pub indices: Vec<u32>,
    /// Squared distances in quanta² of the report's quantum: exact integers.
    pub dist_sq: Vec<u64>,
}

impl Neighbors {
    /// Number of points.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Indices and squared distances (quanta²) of point `i`'s neighbours, nearest first.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    pub fn row(&self, i: usize) -> (&[u32], &[u64]) {
        let range = self.offsets[i]..self.offsets[i + 1];
        (&self.indices[range.clone()], &self.dist_sq[range])
    }
}
