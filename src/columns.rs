//! The result: one column of f32 for each feature, in the cloud's order.

use rayon::prelude::*;

use crate::conventions::Conventions;
use crate::error::Result;
use crate::features::{Feature, FeatureSet, Flags};
use crate::neighborhood::Neighborhood;
use crate::options::Fill;
use crate::stream::ColumnShape;
use crate::watch::Watch;

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
    pub(crate) fn from_raw(
        set: &FeatureSet,
        raw: RawColumns,
        conventions: &Conventions,
        watch: &Watch,
    ) -> Result<Self> {
        Self::in_neighborhood(set, raw, None, conventions, watch)
    }

    fn in_neighborhood(
        set: &FeatureSet,
        raw: RawColumns,
        neighborhood: Option<Neighborhood>,
        conventions: &Conventions,
        watch: &Watch,
    ) -> Result<Self> {
        let RawColumns { values, flags } = raw;
        let columns = set
            .iter()
            .zip(values)
            .map(|(feature, mut values)| {
                watch.check()?;
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
                Ok(Column { feature, neighborhood, values })
            })
            .collect::<Result<_>>()?;
        Ok(Self { columns, flags, first: None, more_flags: Vec::new() })
    }

    /// The same of several neighbourhoods, in their order. What does not depend on them is taken from the first.
    pub(crate) fn from_scales(
        set: &FeatureSet,
        raw: Vec<(Neighborhood, RawColumns)>,
        conventions: &Conventions,
        watch: &Watch,
    ) -> Result<Self> {
        let mut out = Self::default();
        for (place, (neighborhood, raw)) in raw.into_iter().enumerate() {
            let Self { columns, flags, .. } =
                Self::in_neighborhood(set, raw, Some(neighborhood), conventions, watch)?;
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
        Ok(out)
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

    /// The rows at these indices, in their order.
    pub(crate) fn gather(&self, at: &[u32]) -> Self {
        fn pick<T: Copy + Send + Sync>(values: &[T], at: &[u32]) -> Vec<T> {
            at.par_iter().with_min_len(1 << 14).map(|&i| values[i as usize]).collect()
        }
        let column = |c: &Column| Column { values: pick(&c.values, at), ..*c };
        Self {
            columns: self.columns.iter().map(column).collect(),
            flags: pick(&self.flags, at),
            first: self.first,
            more_flags: self.more_flags.iter().map(|(n, flags)| (*n, pick(flags, at))).collect(),
        }
    }

    /// Takes rows `from` of other columns of the same request as its rows `to`.
    pub(crate) fn replace(&mut self, to: &[u32], rows: &Self, from: &[u32]) {
        fn put<T: Copy>(own: &mut [T], to: &[u32], values: &[T], from: &[u32]) {
            to.iter().zip(from).for_each(|(&to, &from)| own[to as usize] = values[from as usize]);
        }
        for (own, other) in self.columns.iter_mut().zip(&rows.columns) {
            put(&mut own.values, to, &other.values, from);
        }
        put(&mut self.flags, to, &rows.flags, from);
        for (own, other) in self.more_flags.iter_mut().zip(&rows.more_flags) {
            put(&mut own.1, to, &other.1, from);
        }
    }

    /// What columns these are, before any value is looked at.
    pub(crate) fn shapes(&self) -> Vec<ColumnShape> {
        self.columns.iter().map(|c| ColumnShape::new(c.feature, c.neighborhood)).collect()
    }

    /// As many rows of the same columns, all zero.
    pub(crate) fn with_rows(&self, rows: usize) -> Self {
        let column = |c: &Column| Column { values: vec![0.0; rows], ..*c };
        Self {
            columns: self.columns.iter().map(column).collect(),
            flags: vec![0; rows],
            first: self.first,
            more_flags: self.more_flags.iter().map(|(n, _)| (*n, vec![0; rows])).collect(),
        }
    }

    /// Bytes of a row, as [`put_row`](Self::put_row) writes it.
    pub(crate) fn row_bytes(&self) -> usize {
        4 * (self.columns.len() + 1 + self.more_flags.len())
    }

    /// Appends a row's values and flags.
    pub(crate) fn put_row(&self, i: usize, out: &mut Vec<u8>) {
        self.columns.iter().for_each(|c| out.extend(c.values[i].to_le_bytes()));
        let more = self.more_flags.iter().map(|(_, flags)| flags);
        std::iter::once(&self.flags).chain(more).for_each(|flags| out.extend(flags[i].to_le_bytes()));
    }

    /// Sets a row to what [`put_row`](Self::put_row) wrote.
    pub(crate) fn set_row(&mut self, i: usize, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let values = self.columns.iter_mut().map(|c| &mut c.values[i]);
        values.zip(&mut words).for_each(|(value, word)| *value = f32::from_bits(word));
        let more = self.more_flags.iter_mut().map(|(_, flags)| &mut flags[i]);
        std::iter::once(&mut self.flags[i]).chain(more).zip(words).for_each(|(flags, word)| *flags = word);
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
