//! The result: one column of f32 for each feature, in the cloud's order.

use rayon::prelude::*;

use crate::conventions::Conventions;
use crate::features::{Feature, FeatureSet, Flags};
use crate::neighborhood::Neighborhood;
use crate::options::Fill;

/// One feature's values.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Which feature.
    pub feature: Feature,
    /// In which neighbourhood, where there are several and the feature depends on it.
    pub neighborhood: Option<Neighborhood>,
    /// One value a point, in the cloud's order. NaN where the feature is undefined, unless [`Fill`] says otherwise.
    pub values: Vec<f32>,
}

impl Column {
    /// The feature's name, with the neighbourhood where there are several: `planarity`, `planarity_k20`, `planarity_r1`.
    pub fn name(&self) -> String {
        name_in(self.feature.name().to_owned(), self.neighborhood)
    }

    /// Name of the LAS dimension: `Planarity`, `PlanarityK20`, `PlanarityR1`.
    pub fn las_name(&self) -> String {
        las_name_in(self.feature.row().las_name(), self.neighborhood)
    }
}

/// Without members only their number is defined, whatever the catalogue says of few of them.
fn empty(feature: Feature) -> impl Iterator<Item = (Flags, f64)> {
    let value = if feature == Feature::NeighborCount { 0.0 } else { f64::NAN };
    feature.needs_neighbors().then_some((Flags::EMPTY, value)).into_iter()
}

/// Values of a feature that are fixed by a row's flags: the first whose flag is set wins.
pub(crate) fn rules(feature: Feature) -> impl Iterator<Item = (Flags, f64)> {
    empty(feature).chain(feature.row().rules.iter().copied())
}

/// A name with a neighbourhood's suffix.
fn name_in(name: String, neighborhood: Option<Neighborhood>) -> String {
    match neighborhood {
        Some(neighborhood) => format!("{name}_{}", neighborhood.suffix()),
        None => name,
    }
}

/// A LAS dimension's name with a neighbourhood's suffix.
pub(crate) fn las_name_in(name: String, neighborhood: Option<Neighborhood>) -> String {
    let suffix = neighborhood.map(|n| n.suffix()).unwrap_or_default();
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map_or(String::new(), |c| c.to_ascii_uppercase().to_string() + letters.as_str())
    };
    name + &suffix.split('_').map(capital).collect::<String>()
}

/// Columns in the order in which their features were asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Columns {
    columns: Vec<Column>,
    flags: Vec<u32>,
    /// The neighbourhood of `flags`, and flags in those after it, where there are several.
    first: Option<Neighborhood>,
    more_flags: Vec<(Neighborhood, Vec<u32>)>,
}

impl Columns {
    /// Takes a backend's raw values and writes what the catalogue's rules fix, by the flags. What
    /// `conventions` redefine has other rules, which were followed before.
    pub(crate) fn from_raw(set: &FeatureSet, raw: RawColumns, conventions: &Conventions) -> Self {
        Self::in_neighborhood(set, raw, None, conventions)
    }

    fn in_neighborhood(
        set: &FeatureSet,
        raw: RawColumns,
        neighborhood: Option<Neighborhood>,
        conventions: &Conventions,
    ) -> Self {
        let RawColumns { values, flags } = raw;
        let columns = set
            .iter()
            .zip(values)
            .map(|(feature, mut values)| {
                let own = conventions.redefines(feature);
                let rules: Vec<_> = if own { empty(feature).collect() } else { rules(feature).collect() };
                if !rules.is_empty() {
                    values.par_iter_mut().zip(&flags).with_min_len(1 << 14).for_each(|(value, &flags)| {
                        if flags != 0
                            && let Some(rule) = rules.iter().find(|r| Flags(flags).intersects(r.0))
                        {
                            *value = rule.1 as f32;
                        }
                    });
                }
                Column { feature, neighborhood, values }
            })
            .collect();
        Self { columns, flags, first: None, more_flags: Vec::new() }
    }

    /// The same of several neighbourhoods, in their order. What does not depend on them is taken from the first.
    pub(crate) fn from_scales(
        set: &FeatureSet,
        raw: Vec<(Neighborhood, RawColumns)>,
        conventions: &Conventions,
    ) -> Self {
        let mut out = Self::default();
        for (place, (neighborhood, raw)) in raw.into_iter().enumerate() {
            let Self { columns, flags, .. } =
                Self::in_neighborhood(set, raw, Some(neighborhood), conventions);
            for mut column in columns {
                if !column.feature.row().depends_on_neighborhood() {
                    if place > 0 {
                        continue;
                    }
                    column.neighborhood = None;
                }
                out.columns.push(column);
            }
            match place {
                0 => (out.flags, out.first) = (flags, Some(neighborhood)),
                _ => out.more_flags.push((neighborhood, flags)),
            }
        }
        out
    }

    /// Replaces what is undefined.
    pub(crate) fn fill(mut self, fill: Fill) -> Self {
        if fill == Fill::Zero {
            for Column { feature, values, .. } in &mut self.columns {
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

    /// A feature's values in one of several neighbourhoods, if it was asked for and depends on it.
    pub fn get_in(&self, feature: Feature, neighborhood: Neighborhood) -> Option<&[f32]> {
        let wanted = |c: &&Column| c.feature == feature && c.neighborhood == Some(neighborhood);
        self.columns.iter().find(wanted).map(|c| c.values.as_slice())
    }

    /// A feature's values, if it was asked for: in the first neighbourhood where there are several.
    pub fn get(&self, feature: Feature) -> Option<&[f32]> {
        self.columns.iter().find(|c| c.feature == feature).map(|c| c.values.as_slice())
    }

    /// The columns in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Column> {
        self.columns.iter()
    }

    /// [`Flags`] of each point and its neighbourhood: the first where there are several.
    pub fn flags(&self) -> &[u32] {
        &self.flags
    }

    /// [`Flags`] of each point, in each neighbourhood where there are several.
    pub fn all_flags(&self) -> impl Iterator<Item = (Option<Neighborhood>, &[u32])> {
        let more =
            self.more_flags.iter().map(|(neighborhood, flags)| (Some(*neighborhood), flags.as_slice()));
        std::iter::once((self.first, self.flags())).chain(more)
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
