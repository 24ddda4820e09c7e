//! What a value may be off by, and where it is not compared at all.

use lidar_features::{Feature, SHARP, Tolerance};

use super::local::Local;

/// The CPU's f64 against the oracle's f64. Both err by a few 1e-16 of λ1, a vector by that over its gap (at least
/// [`SHARP`], and the oracle's cross products square it): 1e-9 leaves a margin of ten to a thousand.
pub fn between_f64(feature: Feature) -> Tolerance {
    match feature.row().tolerance {
        // A λ3 of 0 comes out as up to 1e-15 λ1, whose cube root is 1e-5.
        _ if feature == Feature::Omnivariance => Tolerance::OfLambda1(2e-5),
        // Distances are summed in fixed point: 2^-17 of a quantum each, and r is a quantum at least.
        _ if feature == Feature::MeanDistance => Tolerance::OfRadius(8e-6),
        Tolerance::Exact => Tolerance::Exact,
        Tolerance::Relative(_) => Tolerance::Relative(1e-9),
        Tolerance::Absolute(_) => Tolerance::Absolute(1e-9),
        Tolerance::OfLambda1(_) => Tolerance::OfLambda1(1e-9),
        Tolerance::OfRadius(_) => Tolerance::OfRadius(1e-9),
        // Degrees and parts of 1 alike.
        Tolerance::WhereSharp(_) => Tolerance::WhereSharp(1e-6),
        Tolerance::OfRadiusWhereSharp(_) => Tolerance::OfRadiusWhereSharp(1e-8),
        // f32 components give a direction to 1e-7 rad.
        Tolerance::Angle(axis, _) => Tolerance::Angle(axis, 1e-5),
        other => other,
    }
}

/// The GPU's f32 against the CPU: what the catalogue's row promises.
pub fn of_catalogue(feature: Feature) -> Tolerance {
    feature.row().tolerance
}

/// What a value near `expected` may be off by (degrees for vectors); `None` where it is not compared.
pub fn allowed(tolerance: Tolerance, local: &Local, expected: f64) -> Option<f64> {
    // Both sides round to f32 at the end.
    let rounding = expected.abs() * f64::from(f32::EPSILON);
    match tolerance {
        Tolerance::Exact => Some(0.0),
        Tolerance::Relative(t) => Some(t * expected.abs() + rounding),
        Tolerance::Absolute(t) => Some(t + rounding),
        Tolerance::OfLambda1(t) => Some(t * local.lambda[0] + rounding),
        Tolerance::OfRadius(t) => Some(t * local.radius + rounding),
        Tolerance::WhereSharp(t) => (local.gap23 > SHARP).then_some(t + rounding),
        Tolerance::OfRadiusWhereSharp(t) => {
            (local.gap23_of_others > SHARP).then_some(t * local.radius + rounding)
        }
        Tolerance::Angle(axis, t) => {
            let gap = match axis {
                1 => local.gap12,
                2 => local.gap12.min(local.gap23),
                _ => local.gap23,
            };
            (gap > SHARP).then_some(t)
        }
        other => panic!("the comparator does not know {other:?}"),
    }
}
