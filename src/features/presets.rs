//! Named sets of features, after those of the IGN LiDAR HD library.

use super::{Feature, FeatureSet};
use crate::error::{Error, Result};

/// What a preset's name stands for.
enum Members {
    /// Names, aliases and groups.
    Names(&'static str),
    /// All of the catalogue but these, which are for comparison with other tools.
    AllBut(&'static [&'static str]),
}

const NAMES: [&str; 5] = ["minimal", "lod2", "lod3", "asprs", "full"];

/// In the order of [`NAMES`].
const MEMBERS: [Members; 5] = [
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
    Members::AllBut(&["eigenentropy_raw", "fpfh"]),
];

/// The features of a list, and the names that this version's catalogue does not have.
fn resolve(members: &'static Members) -> (FeatureSet, Vec<&'static str>) {
    let mut set = FeatureSet::default();
    let mut unknown = Vec::new();
    match members {
        Members::AllBut(names) => {
            Feature::all().filter(|f| !names.contains(&f.name())).for_each(|f| set.insert(f));
        }
        Members::Names(list) => {
            for name in list.split(',').map(str::trim) {
                match FeatureSet::parse(name) {
                    Ok(features) => features.iter().for_each(|f| set.insert(f)),
                    Err(_) => unknown.push(name),
                }
            }
        }
    }
    (set, unknown)
}

/// A preset by its place in [`NAMES`].
fn nth(at: usize) -> FeatureSet {
    let (set, unknown) = resolve(&MEMBERS[at]);
    if !unknown.is_empty() {
        tracing::warn!(
            "this version cannot compute all of preset {}: it lacks {}",
            NAMES[at],
            unknown.join(", ")
        );
    }
    set
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

    /// Preset `full`: everything but what only serves comparison with other tools.
    pub fn full() -> Self {
        nth(4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that the catalogue does not have yet. Those that it has must leave this list, which must end empty.
    const PENDING: &[&str] = &["overhang_indicator"];

    #[test]
    fn presets_name_features_of_the_catalogue() {
        for (name, members) in NAMES.iter().zip(&MEMBERS) {
            let (set, unknown) = resolve(members);
            println!("{name}: {} features, not in the catalogue yet: {}", set.len(), unknown.join(", "));
            assert!(!set.is_empty());
            let stray: Vec<_> = unknown.iter().filter(|n| !PENDING.contains(n)).collect();
            assert!(stray.is_empty(), "preset {name} has unknown names {stray:?}");
        }
        let done: Vec<_> = PENDING.iter().filter(|n| FeatureSet::parse(n).is_ok()).collect();
        assert!(done.is_empty(), "pending, but in the catalogue: {done:?}");
    }

    #[test]
    fn presets_are_found_by_name() {
        let presets =
            [FeatureSet::minimal, FeatureSet::lod2, FeatureSet::lod3, FeatureSet::asprs, FeatureSet::full];
        for (name, preset) in FeatureSet::PRESETS.iter().zip(presets) {
            assert_eq!(FeatureSet::preset(name).unwrap(), preset());
        }
        let error = FeatureSet::preset("lod4").unwrap_err().to_string();
        assert_eq!(error, "unknown preset \"lod4\", there are minimal, lod2, lod3, asprs, full");
        let names: Vec<_> = FeatureSet::lod2().iter().map(Feature::name).collect();
        assert!(["normal_z", "linearity", "blue", "ndvi"].iter().all(|n| names.contains(n)), "{names:?}");
    }
}
