//! What a value may be off by, and where it is not compared at all.

use lidar_features::{Feature, SHARP, Tolerance};

use super::local::Local;
use super::oracle;

/// The CPU's f64 against the oracle's f64. Both err by a few 1e-16 of λ1, a vector by that over its gap (at least
/// [`SHARP`], and the oracle's cross products square it): 1e-9 leaves a margin of ten to a thousand.
pub fn between_f64(feature: Feature) -> Tolerance {
    match feature.row().tolerance {
        // A λ3 of 0 comes out as up to 1e-15 λ1, whose cube root is 1e-5.
        _ if feature == Feature::Omnivariance => Tolerance::OfLambda1(2e-5),
        // Distances are summed in fixed point: 2^-17 of a quantum each, and r is a quantum at least.
        _ if matches!(feature, Feature::MeanDistance | Feature::OutlierScore) => Tolerance::OfRadius(8e-6),
        // The same under a root, where all distances are equal: √(2^-16 quantum · r).
        _ if feature == Feature::StdDistance => Tolerance::OfRadius(4e-3),
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
        Tolerance::WhereAxisSharp(axis, _) => Tolerance::WhereAxisSharp(axis, 1e-6),
        Tolerance::AlongAxis(axis, power, _) => Tolerance::AlongAxis(axis, power, 1e-8),
        Tolerance::SignedOfRadiusWhereSharp(_) => Tolerance::SignedOfRadiusWhereSharp(1e-8),
        Tolerance::Bearing(_) => Tolerance::Bearing(1e-5),
        Tolerance::OfEigenvalues(_) => Tolerance::OfEigenvalues(1e-12),
        Tolerance::Decision(_) => Tolerance::Decision(1e-12),
        other => other,
    }
}

/// The GPU's f32 against the CPU: what the catalogue's row promises.
pub fn of_catalogue(feature: Feature) -> Tolerance {
    feature.row().tolerance
}

/// What a value near `expected` may be off by (degrees for vectors); `None` where it is not compared. A decision may
/// not be off at all: [`undecided`] says where it may be another.
pub fn allowed(feature: Feature, tolerance: Tolerance, local: &Local, expected: f64) -> Option<f64> {
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
        Tolerance::Angle(axis, t) => (gap(local, axis) > SHARP).then_some(t),
        Tolerance::WhereAxisSharp(axis, t) => (gap(local, axis) > SHARP).then_some(t + rounding),
        Tolerance::AlongAxis(axis, power, t) => {
            let scale = local.n as f64 * local.radius.powi(power.into());
            (gap(local, axis) > SHARP).then_some(t * scale + rounding)
        }
        Tolerance::SignedOfRadiusWhereSharp(t) => {
            (local.gap23_of_others > SHARP).then_some(t * local.radius + rounding)
        }
        Tolerance::Bearing(t) => {
            let [x, y, z] = local.vectors[2];
            let flat = x.hypot(y);
            let defined = local.gap23 > SHARP && flat.atan2(z.abs()).to_degrees() > 1e-3;
            // An error of a quarter turn says nothing.
            defined.then(|| t * (1.0 + SHARP / (local.gap23 * flat)) + rounding).filter(|t| *t < 90.0)
        }
        Tolerance::OfEigenvalues(t) => {
            let off = |l: Local| (oracle::value(feature, &l).unwrap() - expected).abs();
            Some(perturbed(local, t).map(off).fold(0.0, f64::max) + rounding)
        }
        Tolerance::Decision(_) => Some(0.0),
        other => panic!("the comparator does not know {other:?}"),
    }
}

/// Distance of an eigenvector's eigenvalue to its neighbours, as part of λ1.
fn gap(local: &Local, axis: u8) -> f64 {
    match axis {
        1 => local.gap12,
        2 => local.gap12.min(local.gap23),
        _ => local.gap23,
    }
}

/// The neighbourhood with each eigenvalue a little larger or smaller.
fn perturbed(local: &Local, t: f64) -> impl Iterator<Item = Local> {
    (0..8).map(move |bits| {
        let mut l = local.clone();
        for (j, value) in l.lambda.iter_mut().enumerate() {
            let sign = if bits >> j & 1 == 1 { 1.0 } else { -1.0 };
            *value = (*value + sign * t * local.lambda[0]).max(0.0);
        }
        l.lambda.sort_by(|a, b| b.total_cmp(a));
        l
    })
}

/// Whether `actual` is what eigenvalues a little off would choose.
pub fn undecided(feature: Feature, tolerance: Tolerance, local: &Local, actual: f64) -> bool {
    match tolerance {
        Tolerance::Decision(t) => perturbed(local, t).any(|l| oracle::value(feature, &l) == Some(actual)),
        _ => false,
    }
}

/// Whether a value may as well have the other sign, because the direction that gives it is between two choices.
pub fn either_sign(tolerance: Tolerance, local: &Local) -> bool {
    match tolerance {
        Tolerance::AlongAxis(axis, power, t) if power % 2 == 1 => {
            ties_for_largest(local.vectors[usize::from(axis) - 1], t)
        }
        Tolerance::SignedOfRadiusWhereSharp(t) => local.plane_normal_z.abs() < t,
        _ => false,
    }
}

/// Whether a vector's two largest components are equal but for an error of `blur` in each.
pub fn ties_for_largest(vector: [f64; 3], blur: f64) -> bool {
    let mut sizes = vector.map(f64::abs);
    sizes.sort_by(f64::total_cmp);
    sizes[2] - sizes[1] < 2.0 * blur
}
