//! Other tools' definitions of the features, so that columns fit a model trained on theirs.

mod formulas;
mod profiles;

use crate::error::{Error, Result};
use crate::features::{Feature, FeatureSet};
use crate::neighborhood::Neighborhood;

use formulas::FORMULAS;
pub(crate) use formulas::rewrite;
use profiles::PROFILES;

/// Divisor of the covariance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CovNorm {
    /// n.
    Population,
    /// n − 1.
    Sample,
}

/// What formulas take for the size of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EigenScale {
    /// λj, in m².
    Raw,
    /// √λj, in m.
    Sqrt,
    /// λj/Σ.
    Normalized,
}

/// What `verticality` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verticality {
    /// 1 − |nz|: near 1 on a wall.
    Normal,
    /// z of the unary vector, as [`Feature::VerticalityUnary`]: near 0.7 on a wall.
    Unary,
}

/// Whether `k` counts the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KSemantics {
    /// The query is one of the `k`.
    IncludeSelf,
    /// The query stands beside the `k`: neighbourhoods have k + 1 members.
    ExcludeSelf,
}

/// What `eigenentropy` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Entropy {
    /// −Σ ej ln ej, with 0 ln 0 = 0.
    Normalized,
    /// −Σ sj ln sj of the eigenvalues as [`Conventions::eigen_scale`] has them, with 0 ln 0 = 0.
    Scaled,
    /// −Σ ej ln(ej + ε), with ej = λj/(Σ + ε).
    Stabilized,
}

/// What stands where a feature has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Degenerate {
    /// NaN.
    Nan,
    /// 0, in normals too.
    Zero,
    /// 0, and (0, 0, 1) for normals.
    Up,
}

/// What stands for the normal of points on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LineNormal {
    /// NaN.
    Nan,
    /// The most vertical of the directions across the line. Tools that give some direction leave the choice
    /// to their eigen-solver's rounding.
    MostVertical,
}

/// How features are defined: ours, or another tool's.
///
/// A profile such as [`pgeof`](Self::pgeof) redefines the features that the tool has
/// ([`redefined`](Self::redefined)); all others stay ours. Columns are rewritten on the host, in f64, from
/// eigenvalues and vectors that the backend gives in f32, so that they agree with the tool's up to a few 1e-7
/// and whatever the tool's own arithmetic loses. Signs of normals, which most tools leave to their
/// eigen-solver, and effects of coordinates held as f32 are not imitated. Flags stay as they are.
///
/// Knobs may be changed one by one:
///
/// ```
/// use lidar_features::{Conventions, EigenScale};
///
/// let mut pdal = Conventions::pdal(); // filters.covariancefeatures with mode = "sqrt"
/// pdal.eigen_scale = EigenScale::Raw; // with mode = "raw"
/// pdal.unary_weights = EigenScale::Raw;
/// assert_eq!(pdal.name(), "custom");
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Conventions {
    /// Divisor of the covariance, whose eigenvalues are λj.
    pub cov_norm: CovNorm,
    /// sj: what `linearity`, `planarity`, `sphericity`, `anisotropy`, `surface_variation` and `omnivariance`
    /// are made of. `eigenvalue_*` and `eigenvalue_sum` are λj and Σ always, `length`, `surface` and `volume`
    /// of √λj.
    pub eigen_scale: EigenScale,
    /// What `surface_variation` divides s3 by the sum of.
    pub variation_sum: EigenScale,
    /// Weights of the axes in the unary vector.
    pub unary_weights: EigenScale,
    /// What `verticality` is.
    pub verticality: Verticality,
    /// What `eigenentropy` is.
    pub entropy: Entropy,
    /// ε: added to divisors, ε² and ε³ under the roots of `surface` and `volume`; [`Entropy::Stabilized`]
    /// uses it too.
    pub epsilon: f64,
    /// Whether `k` counts the query.
    pub k_semantics: KSemantics,
    /// Least members that the tool computes features of.
    pub min_members: u32,
    /// What stands where there are fewer.
    pub few: Degenerate,
    /// What stands for numbers that the formula does not give (0/0) where all members are at one place.
    pub identical: Degenerate,
    /// The normal where all members are at one place: what the tool's eigen-solver makes of a matrix of
    /// zeros. `None` is NaN. `verticality` follows it.
    pub identical_normal: Option<[f64; 3]>,
    /// The normal where all members are on one line.
    pub line_normal: LineNormal,
    redefines: &'static [Feature],
}

impl Default for Conventions {
    fn default() -> Self {
        Self::ours()
    }
}

impl Conventions {
    /// Names of the profiles.
    pub const NAMES: &'static [&'static str] = &profiles::NAMES;

    /// The profile of this name, one of [`NAMES`](Self::NAMES).
    ///
    /// # Errors
    /// [`Error::UnknownConventions`].
    pub fn named(name: &str) -> Result<Self> {
        let at = Self::NAMES.iter().position(|n| *n == name);
        at.map(|at| PROFILES[at])
            .ok_or_else(|| Error::UnknownConventions { name: name.to_owned(), known: Self::NAMES })
    }

    /// The profile's name; `custom` if a knob was changed.
    pub fn name(&self) -> &'static str {
        let at = PROFILES.iter().position(|profile| profile == self);
        at.map_or("custom", |at| Self::NAMES[at])
    }

    /// The features whose definition these conventions replace. Ours replace none; with a knob changed, all
    /// that the knobs are about.
    pub fn redefined(&self) -> &'static [Feature] {
        if *self == Self::ours() { &[] } else { self.redefines }
    }

    /// Whether the values of `feature` are rewritten.
    pub(crate) fn redefines(&self, feature: Feature) -> bool {
        self.redefined().contains(&feature)
    }

    /// Members of a neighbourhood of `k`. No cloud has as many points as the largest `k` says.
    pub fn members(&self, k: u32) -> u32 {
        match self.k_semantics {
            KSemantics::IncludeSelf => k,
            KSemantics::ExcludeSelf => k.saturating_add(1),
        }
    }

    /// The neighbourhood with its `k` counted as ours, and that k if it is another.
    pub(crate) fn neighborhood(&self, mut neighborhood: Neighborhood) -> (Neighborhood, Option<u32>) {
        let k = match &mut neighborhood {
            Neighborhood::Knn { k } | Neighborhood::KnnWithin { k, .. } => k,
            _ => return (neighborhood, None),
        };
        let besides = self.members(0);
        let members = k.saturating_add(besides);
        let changed = (members != *k).then_some(members.get());
        *k = members;
        (neighborhood, changed)
    }

    /// `set` with the columns that [`rewrite`] needs.
    pub(crate) fn with_bases(&self, set: &FeatureSet) -> FeatureSet {
        let mut all = set.clone();
        let wanted = set.iter().filter(|f| self.redefines(*f));
        let formulas = wanted.filter_map(|feature| FORMULAS.iter().find(|row| row.feature == feature));
        formulas.flat_map(|row| (row.bases)(self)).flat_map(|group| *group).for_each(|f| all.insert(*f));
        all
    }
}
