//! The result: one column of f32 for each feature, in the cloud's order.

use rayon::prelude::*;

use crate::features::{Feature, FeatureSet, Flags};
use crate::options::Fill;

/// One feature's values.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Which feature.
    pub feature: Feature,
    /// One value a point, in the cloud's order. NaN where the feature is undefined, unless [`Fill`] says otherwise.
    pub values: Vec<f32>,
}

/// Columns in the order in which their features were asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Columns {
    columns: Vec<Column>,
    flags: Vec<u32>,
}

impl Columns {
    /// Takes a backend's raw values and writes what the catalogue's rules fix, by the flags.
    pub(crate) fn from_raw(set: &FeatureSet, raw: RawColumns) -> Self {
        let RawColumns { values, flags } = raw;
        let columns = set
            .iter()
            .zip(values)
            .map(|(feature, mut values)| {
                // Without members only their number is defined, whatever the rules say of few of them.
                let empty = [(Flags::EMPTY, if feature == Feature::NeighborCount { 0.0 } else { f64::NAN })];
                let empty = if feature.needs_neighbors() { &empty[..] } else { &[] };
                let rules = || empty.iter().chain(feature.row().rules);
                if rules().next().is_some() {
                    values.par_iter_mut().zip(&flags).with_min_len(1 << 14).for_each(|(value, &flags)| {
                        if flags != 0
                            && let Some(rule) = rules().find(|r| Flags(flags).intersects(r.0))
                        {
                            *value = rule.1 as f32;
                        }
                    });
                }
                Column { feature, values }
            })
            .collect();
        Self { columns, flags }
    }

    /// Replaces what is undefined.
    pub(crate) fn fill(mut self, fill: Fill) -> Self {
        if fill == Fill::Zero {
            for Column { feature, values } in &mut self.columns {
                // (0, 0, 1), one component a column.
                let up = matches!(feature, Feature::NormalZ | Feature::Eigenvector3Z);
                let value = if up { 1.0 } else { 0.0 };
                let undefined = values.par_iter_mut().with_min_len(1 << 14).filter(|v| v.is_nan());
                undefined.for_each(|v| *v = value);
            }
        }
        self
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.flags.len()
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.flags.is_empty()
    }

    /// A feature's values, if it was asked for.
    pub fn get(&self, feature: Feature) -> Option<&[f32]> {
        self.columns.iter().find(|c| c.feature == feature).map(|c| c.values.as_slice())
    }

    /// The columns in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Column> {
        self.columns.iter()
    }

    /// [`Flags`] of each point and its neighbourhood.
    pub fn flags(&self) -> &[u32] {
        &self.flags
    }
}

impl<'a> IntoIterator for &'a Columns {
    type Item = &'a Column;
    type IntoIter = std::slice::Iter<'a, Column>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What a backend computes: the formulas' values, defined or not, and each point's flags.
#[derive(Debug, Default)]
pub(crate) struct RawColumns {
    /// One vector for each feature of the set.
    pub(crate) values: Vec<Vec<f32>>,
    pub(crate) flags: Vec<u32>,
}
