//! Where points come from and columns go.

use crate::batch::{CloudInfo, PointBatch};
use crate::columns::Columns;
use crate::error::Result;
use crate::features::{Feature, FeatureSet};
use crate::neighborhood::Neighborhood;

/// Gives a cloud's points in batches, in the cloud's order.
pub trait PointSource {
    /// What all batches share.
    fn info(&self) -> CloudInfo;

    /// The next points, `None` after the last. Batches of more than `most` points are taken too, but their memory is not in the
    /// budget.
    ///
    /// # Errors
    /// Whatever keeps the points from being read; the stream ends with it.
    fn next_batch(&mut self, most: usize) -> Result<Option<PointBatch>>;

    /// Whether [`rewind`](Self::rewind) works. The points of a source that cannot are kept in a temporary file.
    fn can_rewind(&self) -> bool {
        false
    }

    /// Goes back to the first point; the same points come again.
    ///
    /// # Errors
    /// Whatever keeps the points from being read again.
    fn rewind(&mut self) -> Result<()> {
        Ok(())
    }

    /// Number of points, if it is known before; for progress alone.
    fn points(&self) -> Option<u64> {
        None
    }
}

/// Batches of an iterator, which are read once.
#[derive(Debug)]
pub struct Batches<I> {
    info: CloudInfo,
    batches: I,
}

impl<I: Iterator<Item = PointBatch>> Batches<I> {
    /// The points of these batches, one after the other.
    pub fn new(info: CloudInfo, batches: impl IntoIterator<IntoIter = I>) -> Self {
        Self { info, batches: batches.into_iter() }
    }
}

impl<I: Iterator<Item = PointBatch>> PointSource for Batches<I> {
    fn info(&self) -> CloudInfo {
        self.info
    }

    fn next_batch(&mut self, _: usize) -> Result<Option<PointBatch>> {
        Ok(self.batches.next())
    }
}

/// What is known of a column before its first value leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ColumnShape {
    /// Which feature.
    pub feature: Feature,
    /// In which neighbourhood, where there are several and the feature depends on it.
    pub neighborhood: Option<Neighborhood>,
    /// The largest value, if all are whole numbers from 0 on.
    pub whole_to: Option<f32>,
}

impl ColumnShape {
    /// Before any value.
    pub(crate) fn new(feature: Feature, neighborhood: Option<Neighborhood>) -> Self {
        Self { feature, neighborhood, whole_to: Some(0.0) }
    }

    /// Takes more values into account.
    pub(crate) fn add(&mut self, values: &[f32]) {
        let with = |largest: f32, v: &f32| (*v >= 0.0 && v.fract() == 0.0).then(|| largest.max(*v));
        self.whole_to = self.whole_to.and_then(|largest| values.iter().try_fold(largest, with));
    }
}

/// Takes columns in batches, in the cloud's order. A closure that takes [`Columns`] is one.
pub trait ColumnSink {
    /// Called before anything is computed: the features and neighbourhoods that there will be columns of.
    ///
    /// # Errors
    /// What makes their output impossible; the stream ends with it.
    fn plan(&mut self, set: &FeatureSet, neighborhoods: &[Neighborhood]) -> Result<()> {
        let _ = (set, neighborhoods);
        Ok(())
    }

    /// Called when all is computed, before the first batch: the columns, and how many points there are.
    ///
    /// # Errors
    /// What makes their output impossible; the stream ends with it.
    fn begin(&mut self, columns: &[ColumnShape], points: u64) -> Result<()> {
        let _ = (columns, points);
        Ok(())
    }

    /// Takes the next rows of all columns.
    ///
    /// # Errors
    /// Whatever keeps them from being taken; the stream ends with it.
    fn batch(&mut self, columns: &Columns) -> Result<()>;
}

impl<F: FnMut(&Columns) -> Result<()>> ColumnSink for F {
    fn batch(&mut self, columns: &Columns) -> Result<()> {
        self(columns)
    }
}
