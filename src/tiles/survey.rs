//! Which requests have to know all tiles' points.

use crate::color::{ColorDepth, Values};
use crate::features::{Feature, FeatureSet, Input};
use crate::ground::Classes;
use crate::part::Whole;

/// What was found, and what counted as ground.
pub(super) struct Surveyed {
    pub(super) classes: Classes,
    pub(super) whole: Whole,
}

/// Whether a tile's own points tell what the whole's would, as far as `set` is about it.
pub(super) fn is_enough(own: &Whole, set: &FeatureSet, depth: Option<ColorDepth>) -> bool {
    // Zeros may be dark everywhere; other values are light. 16 bits do not become fewer by more values.
    let light = |values: Option<Values>| values.is_none_or(|values| values.largest > 0);
    let known = |values: Option<Values>| {
        let of_all = |values: Values| values.depth() == ColorDepth::Bits16 || depth.is_some();
        light(values) && values.is_none_or(of_all)
    };
    let heights = set.iter().any(|f| matches!(f, Feature::HeightAboveMin | Feature::RelativeHeight));
    !heights
        && (!set.needs(Input::Rgb) || known(own.rgb))
        && (!set.needs(Input::Nir) || known(own.nir))
        && (!set.needs(Input::Intensity) || light(own.intensity))
        && (!set.needs(Input::Ground) || own.has_ground)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Ground;
    use crate::{PointBatch, part};

    #[test]
    fn only_requests_about_the_whole_read_it() {
        let with = |value: u16| {
            let batch = PointBatch {
                points: vec![[0; 3]; 2],
                rgb: Some([vec![value, 0], vec![0, 0], vec![0, 0]]),
                intensity: Some(vec![value, 0]),
                classification: Some(vec![1, (value % 256) as u8]),
                ..PointBatch::default()
            };
            part::Whole::of(&batch, &Ground::default())
        };
        let enough =
            |value, set: &str, depth| is_enough(&with(value), &FeatureSet::parse(set).unwrap(), depth);
        assert!(enough(0, "planarity", None));
        assert!(!enough(3, "relative_height", None) && !enough(3, "height_above_min", None));
        assert!(!enough(3, "red", None) && enough(300, "red", None) && !enough(512, "red", None));
        assert!(enough(3, "red", Some(ColorDepth::Bits8)) && !enough(0, "red", Some(ColorDepth::Bits8)));
        assert!(enough(3, "intensity_mean", None) && !enough(0, "intensity_mean", None));
        assert!(enough(2, "height_above_ground", None) && !enough(3, "height_above_ground", None));
    }
}
