//! Which features there are, and sets of them.

mod around;
mod catalogue;
mod color;
mod eigen;
mod formulas;
mod measures;
mod presets;

use std::fmt;
use std::str::FromStr;

pub(crate) use around::{Around, LEAST_REACH, Members, RIDGE, quadric};
pub use catalogue::Feature;
pub(crate) use catalogue::{CATALOGUE, COMPATIBILITY, GROUPS};
pub(crate) use eigen::LANES;
#[cfg(test)]
pub(crate) use eigen::eigen_on;
pub(crate) use formulas::{Attributes, Shape};

use crate::error::{Error, Result};
use crate::extras;

/// Everything the catalogue says about one feature.
#[derive(Debug)]
#[non_exhaustive]
pub struct Row {
    /// The feature.
    pub feature: Feature,
    /// Its name, in `snake_case`.
    pub name: &'static str,
    /// Unit; `-` for pure numbers. `m` stands for the cloud's unit.
    pub unit: &'static str,
    /// Smallest and largest value there can be.
    pub range: (f64, f64),
    /// Formula, in the catalogue's notation.
    pub formula: &'static str,
    /// Where the definition comes from.
    pub source: &'static str,
    /// What it is computed from.
    pub inputs: &'static [Input],
    /// How far the GPU's f32 may be from the CPU's f64.
    pub tolerance: Tolerance,
    /// Values in neighbourhoods where the formula has none or is fixed: the first rule whose flag is set wins.
    pub rules: &'static [(Flags, f64)],
    /// Other names under which it can be asked for.
    pub aliases: &'static [&'static str],
    /// The formula in f64.
    pub(crate) cpu: fn(&Shape) -> f64,
}

impl Row {
    /// Name of the LAS dimension: the feature's name in CamelCase.
    pub fn las_name(&self) -> String {
        let capital = |word: &str| {
            let mut letters = word.chars();
            letters.next().map_or(String::new(), |c| c.to_ascii_uppercase().to_string() + letters.as_str())
        };
        self.name.split('_').map(capital).collect()
    }

    /// Whether the values depend on the neighbourhood that was asked for.
    pub fn depends_on_neighborhood(&self) -> bool {
        self.feature.needs_neighbors() && !self.feature.is_of_optimal()
            || extras::has_any_of_neighborhood(self.feature)
    }

    /// Whether the values are whole numbers, written to files as integers.
    pub fn is_count(&self) -> bool {
        self.unit == "count"
    }
}

/// What a feature is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Input {
    /// Coordinates.
    Xyz,
    /// Red, green and blue.
    Rgb,
    /// Near-infrared.
    Nir,
    /// Strength of the returned pulse.
    Intensity,
    /// Which points are ground: a classification or a mask.
    Ground,
}

impl Input {
    /// Its name in messages and listings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xyz => "xyz",
            Self::Rgb => "rgb",
            Self::Nir => "nir",
            Self::Intensity => "intensity",
            Self::Ground => "ground",
        }
    }
}

/// How far the GPU's f32 value may be from the CPU's f64 value for the same neighbours.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Tolerance {
    /// Not at all, after rounding to f32.
    Exact,
    /// This part of the value.
    Relative(f64),
    /// This much.
    Absolute(f64),
    /// This part of λ1: the eigen-solver's error is a few units in the last place of λ1.
    OfLambda1(f64),
    /// This part of the distance to the farthest member.
    OfRadius(f64),
    /// This much, where (λ2 − λ3)/λ1 exceeds [`SHARP`]: the normal has no better-defined direction elsewhere.
    WhereSharp(f64),
    /// This part of the farthest member's distance, where the plane through the others is sharp.
    OfRadiusWhereSharp(f64),
    /// One component of eigenvector 1, 2 or 3: the vectors differ by this angle in degrees at most, where the
    /// neighbouring eigenvalues are [`SHARP`]·λ1 apart.
    Angle(u8, f64),
    /// This much, where eigenvector 1, 2 or 3 is as sharp as for [`Angle`](Self::Angle).
    WhereAxisSharp(u8, f64),
    /// A sum along eigenvector 1 or 2: this part of n·r^power, where the vector is sharp. An odd power changes its sign
    /// with the vector's, which may go either way where two components tie for the largest.
    AlongAxis(u8, u8, f64),
    /// As [`OfRadiusWhereSharp`](Self::OfRadiusWhereSharp), with the sign of a plane's normal: a level one may point
    /// either way.
    SignedOfRadiusWhereSharp(f64),
    /// The normal's bearing, modulo 360: these degrees for the arithmetic, and [`SHARP`] of them for the normal's own
    /// error, which grows with λ1/(λ2 − λ3) and, seen from above, with 1/sin(slope).
    Bearing(f64),
    /// What the formula changes by when the eigenvalues change by this part of λ1: logarithms and roots amplify the
    /// eigen-solver's error where an eigenvalue is near zero.
    OfEigenvalues(f64),
    /// A part of the distances to a plane: what this part of r in them makes, where the plane is sharp.
    OfPlane(f64),
    /// A curvature of power 1 or 2: this part of itself and of s/λ2, or of s²/(λ1 λ2), where the plane is sharp; s is the
    /// larger of σ3 and a thousandth of r.
    Curvature(u8, f64),
    /// This much, where the normals of the query and of all members are sharp.
    OfNormals(f64),
    /// A choice among whole numbers: equal, unless eigenvalues changed by this part of λ1 would choose the other.
    Decision(f64),
}

/// Relative distance between eigenvalues below which their vectors' directions are not compared.
pub const SHARP: f64 = 1e-3;

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact => write!(f, "exact"),
            Self::Relative(t) => write!(f, "{t:e} of the value"),
            Self::Absolute(t) => write!(f, "{t:e}"),
            Self::OfLambda1(t) => write!(f, "{t:e} of λ1"),
            Self::OfRadius(t) => write!(f, "{t:e} of r"),
            Self::WhereSharp(t) => write!(f, "{t:e} where (λ2−λ3)/λ1 > {SHARP:e}"),
            Self::OfRadiusWhereSharp(t) => write!(f, "{t:e} of r where (λ2−λ3)/λ1 > {SHARP:e}"),
            Self::Angle(axis, t) => write!(f, "{t}° for v{axis} where its eigenvalue is {SHARP:e} λ1 apart"),
            Self::WhereAxisSharp(axis, t) => {
                write!(f, "{t:e} where v{axis}'s eigenvalue is {SHARP:e} λ1 apart")
            }
            Self::AlongAxis(axis, power, t) => {
                let scale = ["n", "n·r", "n·r²"].get(usize::from(*power)).unwrap_or(&"n·r^p");
                write!(f, "{t:e} of {scale} where v{axis}'s eigenvalue is {SHARP:e} λ1 apart")
            }
            Self::SignedOfRadiusWhereSharp(t) => {
                write!(f, "{t:e} of r where (λ2−λ3)/λ1 > {SHARP:e}, either sign where the plane is upright")
            }
            Self::Bearing(t) => write!(f, "{t}°·(1 + {SHARP:e} λ1/((λ2−λ3) sin slope)) where slope > 1e-3°"),
            Self::OfEigenvalues(t) => write!(f, "what {t:e} of λ1 in the eigenvalues makes"),
            Self::OfPlane(t) => {
                write!(f, "what {t:e} of r in the distances makes, where (λ2−λ3)/λ1 > {SHARP:e}")
            }
            Self::Curvature(power, t) => {
                let scale = if *power == 1 { "s/λ2" } else { "s²/(λ1 λ2)" };
                write!(
                    f,
                    "{t:e} of the value and of {scale}, s = max(σ3, 1e-3 r), where (λ2−λ3)/λ1 > {SHARP:e}"
                )
            }
            Self::OfNormals(t) => {
                write!(f, "{t:e} where (λ2−λ3)/λ1 > {SHARP:e} for the query and all members")
            }
            Self::Decision(t) => write!(f, "equal unless {t:e} of λ1 in the eigenvalues decides"),
        }
    }
}

/// What is special about a point or its neighbourhood, by exact integer tests that agree on every backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u32);

impl Flags {
    /// Fewer than three members.
    pub const FEW: Self = Self(1);
    /// All members at one place.
    pub const IDENTICAL: Self = Self(1 << 1);
    /// All members on one line.
    pub const COLLINEAR: Self = Self(1 << 2);
    /// The members without the query span no plane: fewer than three, at one place or on one line.
    pub const NO_PLANE: Self = Self(1 << 3);
    /// Red and near-infrared are both zero.
    pub const DARK: Self = Self(1 << 4);
    /// Green and near-infrared are both zero.
    pub const DARK_GREEN_NIR: Self = Self(1 << 5);
    /// Red and green are both zero.
    pub const DARK_RED_GREEN: Self = Self(1 << 6);
    /// The farthest member is at the query's place, and no radius was given: nothing to divide by.
    pub const NO_RADIUS: Self = Self(1 << 7);
    /// Fewer than six members: no quadric. Set only if a feature is about it.
    pub const UNDER_SIX: Self = Self(1 << 10);
    /// No member has an ndvi: red and near-infrared are zero at all of them. Set only if a feature is about it.
    pub const DARK_AROUND: Self = Self(1 << 11);
    /// The query is the only member. Set only if a feature is about the others.
    pub const ALONE: Self = Self(1 << 12);
    /// The point is left out of neighbourhoods ([`PointCloud::ignoring`](crate::PointCloud::ignoring)): all its
    /// features are undefined.
    pub const LEFT_OUT: Self = Self(1 << 16);
    /// The neighbourhood has no member: nothing of the cloud lies within the radius of a query that is no point of it
    /// ([`Engine::features_at`](crate::Engine::features_at)).
    pub const EMPTY: Self = Self(1 << 17);
    /// No ground point lies within [`Ground::max_distance`](crate::Ground::max_distance): the height is undefined.
    pub const NO_GROUND: Self = Self(1 << 18);
    /// Seen from above, the farthest member is at the query's place or there is none, and no radius was given.
    pub const NO_RADIUS_XY: Self = Self(1 << 19);
    /// No point lies in the query's vertical cylinder. The query is no point of the cloud.
    pub const EMPTY_CYLINDER: Self = Self(1 << 20);

    /// Every flag with its name and what it says.
    pub const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (Self::FEW, "few", "fewer than three members"),
        (Self::IDENTICAL, "identical", "all members at one place"),
        (Self::COLLINEAR, "collinear", "all members on one line"),
        (
            Self::NO_PLANE,
            "no_plane",
            "the members without the query span no plane; set only if a feature is about that plane",
        ),
        (Self::DARK, "dark", "red and near-infrared are both zero"),
        (Self::DARK_GREEN_NIR, "dark_green_nir", "green and near-infrared are both zero"),
        (Self::DARK_RED_GREEN, "dark_red_green", "red and green are both zero"),
        (
            Self::NO_RADIUS,
            "no_radius",
            "the farthest member is at the query's place, and no radius was given",
        ),
        (Self::UNDER_SIX, "under_six", "fewer than six members; set only if a feature is about a quadric"),
        (Self::DARK_AROUND, "dark_around", "no member has an ndvi; set only if a feature is about theirs"),
        (Self::ALONE, "alone", "the query is the only member; set only if a feature is about the others"),
        (
            Self::LEFT_OUT,
            "left_out",
            "the point is left out of neighbourhoods, all its features are undefined",
        ),
        (
            Self::EMPTY,
            "empty",
            "the neighbourhood has no member; its features are undefined, but neighbor_count is 0",
        ),
        (Self::NO_GROUND, "no_ground", "no ground point is near enough for a height"),
        (
            Self::NO_RADIUS_XY,
            "no_radius_xy",
            "seen from above, the farthest member is at the query's place or there is none, and no radius was given",
        ),
        (Self::EMPTY_CYLINDER, "empty_cylinder", "no point lies in the query's vertical cylinder"),
    ];

    /// Whether any flag of `other` is set.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Feature {
    /// The catalogue's row.
    pub fn row(self) -> &'static Row {
        &CATALOGUE[self as usize]
    }

    /// Whether it is about the optimal neighbourhood, whatever the request's own is.
    pub(crate) fn is_of_optimal(self) -> bool {
        matches!(self, Self::OptimalK | Self::OptimalRadius | Self::OptimalEntropy)
    }

    /// Whether it is a formula over the members of the neighbourhood.
    pub(crate) fn needs_neighbors(self) -> bool {
        self.row().inputs.contains(&Input::Xyz) && !extras::is_extra(self)
    }

    /// Whether it takes searches, or sums over the cloud, beside those in the request's neighbourhood.
    /// [`FeatureSet::geometric`] leaves such features out.
    pub fn needs_own_search(self) -> bool {
        extras::has_any(self) || self.is_of_optimal() || Members::of_feature(self).second_order()
    }

    /// Name, in `snake_case`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Every feature, in the catalogue's order.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        CATALOGUE.iter().map(|row| row.feature)
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Feature {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        CATALOGUE
            .iter()
            .find(|row| row.name == name || row.aliases.contains(&name))
            .map(|row| row.feature)
            .ok_or_else(|| unknown(name))
    }
}

fn unknown(name: &str) -> Error {
    let names = CATALOGUE.iter().flat_map(|r| r.aliases.iter().copied().chain([r.name]));
    let suggestion = names
        .chain(GROUPS.iter().map(|g| g.0))
        .map(|known| (edit_distance(name, known), known))
        .min()
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .map(|(_, known)| known);
    Error::UnknownFeature { name: name.to_owned(), suggestion }
}

/// Levenshtein distance, for suggestions.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// The features to compute, each once, in the order they were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeatureSet(Vec<Feature>);

impl FeatureSet {
    /// The given features, repeats dropped.
    pub fn new(features: impl IntoIterator<Item = Feature>) -> Self {
        let mut set = Self::default();
        for feature in features {
            set.insert(feature);
        }
        set
    }

    /// Every feature that follows from sums over the neighbourhood that a request names, with nothing but coordinates: all
    /// of them come from one pass. Those that only serve to compare with other tools are left out.
    pub fn geometric() -> Self {
        let one_pass = |f: &Feature| !f.needs_own_search() && !Members::of_feature(*f).any();
        let wanted =
            |f: &Feature| f.row().inputs == [Input::Xyz] && one_pass(f) && !COMPATIBILITY.contains(f);
        Self::new(Feature::all().filter(wanted))
    }

    /// Reads a comma-separated list of names, aliases and groups (`normals`, `eigenvalues`, `eigenvectors`, `rgb`,
    /// `hsv`, `lab`).
    ///
    /// # Errors
    /// [`Error::UnknownFeature`] with the closest name there is.
    pub fn parse(list: &str) -> Result<Self> {
        let mut set = Self::default();
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match GROUPS.iter().find(|group| group.0 == name) {
                Some((_, members)) => members.iter().for_each(|&f| set.insert(f)),
                None => set.insert(name.parse()?),
            }
        }
        Ok(set)
    }

    /// Adds a feature unless it is there.
    pub fn insert(&mut self, feature: Feature) {
        if !self.0.contains(&feature) {
            self.0.push(feature);
        }
    }

    /// Number of features.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The features in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Feature> + '_ {
        self.0.iter().copied()
    }

    /// Whether any feature is a formula over the members of the neighbourhood.
    pub(crate) fn needs_neighbors(&self) -> bool {
        self.0.iter().any(|f| f.needs_neighbors())
    }

    /// Whether any feature is computed from `input`.
    pub(crate) fn needs(&self, input: Input) -> bool {
        self.0.iter().any(|f| f.row().inputs.contains(&input))
    }

    /// What the features need of every single member.
    pub(crate) fn members(&self) -> Members {
        Members::of(self)
    }

    /// Whether any feature is about the plane through the members without the query: those have a rule for its absence.
    pub(crate) fn needs_plane(&self) -> bool {
        self.has_rule_for(Flags::NO_PLANE)
    }

    /// Whether any feature is about the sum of the members' distances.
    pub(crate) fn needs_distance_sum(&self) -> bool {
        self.iter().any(|f| matches!(f, Feature::MeanDistance | Feature::StdDistance | Feature::OutlierScore))
    }

    /// Whether any feature is about the sizes of the members' bounding box.
    pub(crate) fn needs_extent(&self) -> bool {
        use Feature as F;
        let of_z = |f| matches!(f, F::ExtentZ | F::VerticalRange);
        let of_more = |f| matches!(f, F::ExtentX | F::ExtentY | F::NeighborhoodExtent | F::HeightExtentRatio);
        self.iter().any(|f| of_z(f) || of_more(f))
    }

    /// Whether any feature is about the bounding box at all, or the nearest member.
    pub(crate) fn needs_bounds(&self) -> bool {
        let of_ends = |f| matches!(f, Feature::ZBelow | Feature::ZAbove | Feature::NearestDistance);
        self.needs_extent() || self.iter().any(of_ends)
    }

    /// Whether any feature has a value of its own where this flag is set.
    pub(crate) fn has_rule_for(&self, flag: Flags) -> bool {
        self.0.iter().any(|f| f.row().rules.iter().any(|rule| rule.0.intersects(flag)))
    }
}

impl FromIterator<Feature> for FeatureSet {
    fn from_iter<I: IntoIterator<Item = Feature>>(features: I) -> Self {
        Self::new(features)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_feature_and_names_are_unique() {
        let mut names = std::collections::HashSet::new();
        for (i, row) in CATALOGUE.iter().enumerate() {
            assert_eq!(row.feature as usize, i, "{}", row.name);
            let las = row.las_name();
            assert!(las.len() <= 32 && las.is_ascii(), "{las}");
            assert!(names.insert(las), "{}", row.name);
            assert!(row.aliases.iter().all(|a| names.insert((*a).to_owned())), "{}", row.name);
            assert!(!row.inputs.is_empty() && row.range.0 < row.range.1, "{}", row.name);
        }
        assert!(names.len() > CATALOGUE.len());
    }

    #[test]
    fn lists_take_names_aliases_and_groups() {
        let set = FeatureSet::parse("scattering, normals,planarity,planarity").unwrap();
        let names: Vec<_> = set.iter().map(Feature::name).collect();
        assert_eq!(names, ["sphericity", "normal_x", "normal_y", "normal_z", "planarity"]);
        let error = FeatureSet::parse("planarty").unwrap_err();
        assert_eq!(error.to_string(), "unknown feature \"planarty\", did you mean \"planarity\"?");
    }

    #[test]
    fn flags_have_one_bit_each() {
        let all = Flags::ALL.iter().fold(0, |all, (flag, name, _)| {
            assert!(flag.0.is_power_of_two() && all & flag.0 == 0, "{name}");
            all | flag.0
        });
        assert_eq!(all, 0x1f_1cff, "a new flag belongs into the table");
    }

    #[test]
    fn las_names_are_camel_case() {
        assert_eq!(Feature::NormalX.row().las_name(), "NormalX");
        assert_eq!(Feature::Density3d.row().las_name(), "Density3d");
        assert_eq!(Feature::Eigenvalue1.row().las_name(), "Eigenvalue1");
    }
}
