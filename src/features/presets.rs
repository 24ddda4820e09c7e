//! Named sets of features, after those of the IGN LiDAR HD library.

use super::{Feature, FeatureSet};
use crate::error::{Error, Result};
use crate::neighborhood::Neighborhood;

/// What a preset's name stands for.
enum Members {
    /// Names, aliases and groups.
    Names(&'static str),
    /// All of the catalogue but these, which are for comparison with other tools.
    AllBut(&'static [&'static str]),
}

const NAMES: [&str; 7] = ["minimal", "lod2", "lod3", "asprs", "full", "weinmann2015", "hackel2016"];

/// In the order of [`NAMES`].
const MEMBERS: [Members; 7] = [
    Members::Names("normal_z, planarity, height_above_ground, density_3d"),
    Members::Names(
        "normal_z, planarity, linearity, anisotropy, height_above_ground, verticality, horizontality,
         wall_likelihood, roof_likelihood, facade_score, wall_score, roof_score, rgb, ndvi",
    ),
    Members::Names(
        "normals, surface_variation, planarity, linearity, sphericity, roughness, anisotropy, omnivariance,
         eigenvalues, eigenvalue_sum, eigenentropy, height_above_ground, vertical_std, is_ground, verticality,
         horizontality, wall_score, roof_score, wall_likelihood, roof_likelihood, facade_score, density_3d,
         count_radius_2, neighborhood_extent, height_extent_ratio, edge_strength, corner_likelihood,
         overhang_indicator, surface_roughness, flat_roof_score, sloped_roof_score, steep_roof_score,
         opening_likelihood, rgb, nir, ndvi",
    ),
    Members::Names(
        "normals, planarity, sphericity, surface_variation, height_above_ground, height_above_min, is_ground,
         verticality, horizontality, density_3d, rgb, nir, ndvi",
    ),
    Members::AllBut(&["eigenentropy_raw"]),
    // Height is that above the lowest point; the radius in XY comes as the density there.
    Members::Names(
        "linearity, planarity, sphericity, omnivariance, anisotropy, eigenentropy, eigenvalue_sum, surface_variation,
         height_above_min, knn_distance, density_3d, verticality, vertical_range, vertical_std, density_2d,
         eigenvalue_sum_2d, eigenvalue_ratio_2d, bin_count, bin_z_range, bin_z_std, optimal_k",
    ),
    Members::Names(
        "eigenvalue_sum, omnivariance, eigenentropy, linearity, planarity, sphericity, anisotropy, surface_variation,
         verticality, moment_1_axis1, moment_1_axis2, moment_2_axis1, moment_2_axis2, vertical_range, z_below, z_above",
    ),
];

/// A preset by its place in [`NAMES`]. Lists are checked by a test: they name features of the catalogue.
fn nth(at: usize) -> FeatureSet {
    match &MEMBERS[at] {
        Members::AllBut(names) => Feature::all().filter(|f| !names.contains(&f.name())).collect(),
        Members::Names(list) => FeatureSet::parse(list).unwrap_or_default(),
    }
}

impl FeatureSet {
    /// Names of the presets.
    pub const PRESETS: &'static [&'static str] = &NAMES;

    /// The preset of this name, one of [`PRESETS`](Self::PRESETS).
    ///
    /// # Errors
    /// [`Error::UnknownPreset`].
    pub fn preset(name: &str) -> Result<Self> {
        let at = NAMES.iter().position(|n| *n == name);
        at.map(nth).ok_or_else(|| Error::UnknownPreset { name: name.to_owned(), known: &NAMES })
    }

    /// Preset `minimal`: the least that tells surfaces apart.
    pub fn minimal() -> Self {
        nth(0)
    }

    /// Preset `lod2`: buildings with their roof shapes.
    pub fn lod2() -> Self {
        nth(1)
    }

    /// Preset `lod3`: buildings with what stands on and in their walls.
    pub fn lod3() -> Self {
        nth(2)
    }

    /// Preset `asprs`: what tells the ASPRS classes apart.
    pub fn asprs() -> Self {
        nth(3)
    }

    /// The neighbourhoods that a preset of this name was described with: the optimal one of 10 to 100 points for
    /// `weinmann2015`; 10, 20, 40 and 80 points for `hackel2016`, which takes 10 points of a cloud thinned again and again.
    /// Other presets have none of their own.
    pub fn preset_neighborhoods(name: &str) -> Vec<Neighborhood> {
        let made = match name {
            "weinmann2015" => vec![Neighborhood::optimal(10, 100, 1)],
            "hackel2016" => [10, 20, 40, 80].map(Neighborhood::knn).into(),
            _ => Vec::new(),
        };
        made.into_iter().flatten().collect()
    }

    /// Preset `weinmann2015`: the 21 features of Weinmann et al. 2015, of the optimal neighbourhood.
    pub fn weinmann2015() -> Self {
        nth(5)
    }

    /// Preset `hackel2016`: the features of Hackel et al. 2016, of several neighbourhoods.
    pub fn hackel2016() -> Self {
        nth(6)
    }

    /// Preset `full`: everything but what only serves comparison with other tools.
    pub fn full() -> Self {
        nth(4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_name_features_of_the_catalogue() {
        for (name, members) in NAMES.iter().zip(&MEMBERS) {
            let known = match members {
                Members::Names(list) => {
                    FeatureSet::parse(list).map(|set| set.len()).map_err(|e| e.to_string())
                }
                Members::AllBut(names) => Ok(Feature::all().len() - names.len()),
            };
            assert_eq!(known, Ok(FeatureSet::preset(name).unwrap().len()), "{name}");
        }
        assert_eq!(FeatureSet::weinmann2015().len(), 21);
        assert_eq!(FeatureSet::preset_neighborhoods("hackel2016").len(), 4);
        assert!(FeatureSet::preset_neighborhoods("full").is_empty());
    }

    #[test]
    fn presets_are_found_by_name() {
        let presets = [
            FeatureSet::minimal,
            FeatureSet::lod2,
            FeatureSet::lod3,
            FeatureSet::asprs,
            FeatureSet::full,
            FeatureSet::weinmann2015,
            FeatureSet::hackel2016,
        ];
        for (name, preset) in FeatureSet::PRESETS.iter().zip(presets) {
            assert_eq!(FeatureSet::preset(name).unwrap(), preset());
        }
        let error = FeatureSet::preset("lod4").unwrap_err().to_string();
        assert_eq!(
            error,
            "unknown preset \"lod4\", there are minimal, lod2, lod3, asprs, full, \
                           weinmann2015, hackel2016"
        );
        let names: Vec<_> = FeatureSet::lod2().iter().map(Feature::name).collect();
        assert!(["normal_z", "linearity", "blue", "ndvi"].iter().all(|n| names.contains(n)), "{names:?}");
    }
}
