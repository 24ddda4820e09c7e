//! Redefined columns, written from the backend's eigenvalues and vectors.

use glam::DVec3;
use rayon::prelude::*;

use super::{Conventions, CovNorm, Degenerate, EigenScale, Entropy, LineNormal, Verticality};
use crate::columns::RawColumns;
use crate::features::{Feature, FeatureSet, Flags};

const COUNT: &[Feature] = &[Feature::NeighborCount];
const LAMBDA: &[Feature] = &[Feature::Eigenvalue1, Feature::Eigenvalue2, Feature::Eigenvalue3];
const V1: &[Feature] = &[Feature::Eigenvector1X, Feature::Eigenvector1Y, Feature::Eigenvector1Z];
const V2: &[Feature] = &[Feature::Eigenvector2X, Feature::Eigenvector2Y, Feature::Eigenvector2Z];
const NORMAL: &[Feature] = &[Feature::NormalX, Feature::NormalY, Feature::NormalZ];

const FOR_NORMAL: Bases = &[COUNT, V1, NORMAL];
const FOR_UNARY: Bases = &[COUNT, LAMBDA, V1, V2, NORMAL];

/// Groups of columns.
type Bases = &'static [&'static [Feature]];

/// A number's formula, or which component of the normal.
enum Formula {
    Number(fn(&Conventions, &Local) -> f64),
    Normal(usize),
}

/// How one feature is made.
pub(super) struct Row {
    pub(super) feature: Feature,
    /// The columns that it is made of.
    pub(super) bases: fn(&Conventions) -> Bases,
    formula: Formula,
}

/// Every feature that knobs are about.
pub(super) static FORMULAS: &[Row] = &{
    const fn values(feature: Feature, formula: fn(&Conventions, &Local) -> f64) -> Row {
        Row { feature, bases: |_| &[COUNT, LAMBDA], formula: Formula::Number(formula) }
    }
    const fn normal(feature: Feature, axis: usize) -> Row {
        Row { feature, bases: |_| FOR_NORMAL, formula: Formula::Normal(axis) }
    }
    [
        values(Feature::Eigenvalue1, |_, l| l.lambda[0]),
        values(Feature::Eigenvalue2, |_, l| l.lambda[1]),
        values(Feature::Eigenvalue3, |_, l| l.lambda[2]),
        values(Feature::EigenvalueSum, |_, l| l.lambda.iter().sum()),
        values(Feature::Linearity, |c, l| c.per_first(l, |[s1, s2, _]| s1 - s2)),
        values(Feature::Planarity, |c, l| c.per_first(l, |[_, s2, s3]| s2 - s3)),
        values(Feature::Sphericity, |c, l| c.per_first(l, |[_, _, s3]| s3)),
        values(Feature::Anisotropy, |c, l| c.per_first(l, |[s1, _, s3]| s1 - s3)),
        values(Feature::SurfaceVariation, |c, l| {
            l.scaled(c.eigen_scale)[2] / (l.scaled(c.variation_sum).iter().sum::<f64>() + c.epsilon)
        }),
        values(Feature::Omnivariance, |c, l| l.scaled(c.eigen_scale).iter().product::<f64>().cbrt()),
        values(Feature::Eigenentropy, Conventions::eigenentropy),
        values(Feature::Pca1, |_, l| l.scaled(EigenScale::Normalized)[0]),
        values(Feature::Pca2, |_, l| l.scaled(EigenScale::Normalized)[1]),
        values(Feature::Length, |_, l| l.scaled(EigenScale::Sqrt)[0]),
        values(Feature::Surface, |c, l| {
            let [s1, s2, _] = l.scaled(EigenScale::Sqrt);
            (s1 * s2 + c.epsilon.powi(2)).sqrt()
        }),
        values(Feature::Volume, |c, l| {
            (l.scaled(EigenScale::Sqrt).iter().product::<f64>() + c.epsilon.powi(3)).cbrt()
        }),
        Row {
            feature: Feature::Verticality,
            bases: |c| match c.verticality {
                Verticality::Normal => FOR_NORMAL,
                Verticality::Unary => FOR_UNARY,
            },
            formula: Formula::Number(|c, l| match c.verticality {
                Verticality::Normal => 1.0 - c.normal(l).z.abs(),
                Verticality::Unary => c.verticality_unary(l),
            }),
        },
        Row {
            feature: Feature::VerticalityUnary,
            bases: |_| FOR_UNARY,
            formula: Formula::Number(Conventions::verticality_unary),
        },
        normal(Feature::NormalX, 0),
        normal(Feature::NormalY, 1),
        normal(Feature::NormalZ, 2),
    ]
};

/// One neighbourhood as its columns say.
struct Local {
    n: f64,
    /// Of the covariance with the conventions' divisor. Zero where exact tests say so.
    lambda: [f64; 3],
    /// v1, v2 and the normal.
    vectors: [DVec3; 3],
    flags: Flags,
}

impl Local {
    fn scaled(&self, scale: EigenScale) -> [f64; 3] {
        match scale {
            EigenScale::Raw => self.lambda,
            EigenScale::Sqrt => self.lambda.map(f64::sqrt),
            EigenScale::Normalized => {
                let sum: f64 = self.lambda.iter().sum();
                self.lambda.map(|l| l / sum)
            }
        }
    }
}

impl Conventions {
    /// A difference of axes' sizes by that of the first.
    fn per_first(&self, l: &Local, part: fn([f64; 3]) -> f64) -> f64 {
        let s = l.scaled(self.eigen_scale);
        part(s) / (s[0] + self.epsilon)
    }

    fn eigenentropy(&self, l: &Local) -> f64 {
        let sum: f64 = l.lambda.iter().sum();
        let without_zeros = |s: [f64; 3]| match sum > 0.0 {
            true => -s.iter().filter(|s| **s > 0.0).map(|s| s * s.ln()).sum::<f64>(),
            false => f64::NAN,
        };
        match self.entropy {
            Entropy::Normalized => without_zeros(l.scaled(EigenScale::Normalized)),
            Entropy::Scaled => without_zeros(l.scaled(self.eigen_scale)),
            Entropy::Stabilized => {
                let parts = l.lambda.iter().map(|l| l / (sum + self.epsilon));
                -parts.map(|e| e * (e + self.epsilon).ln()).sum::<f64>()
            }
        }
    }

    fn verticality_unary(&self, l: &Local) -> f64 {
        let weights = l.scaled(self.unary_weights);
        // Axes without extent may have no direction.
        let axes = weights.iter().zip(l.vectors).filter(|(weight, _)| **weight > 0.0);
        let unary: DVec3 = axes.map(|(weight, vector)| *weight * vector.abs()).sum();
        unary.z / unary.length()
    }

    fn normal(&self, l: &Local) -> DVec3 {
        if l.flags.intersects(Flags::IDENTICAL) {
            return self.identical_normal.map_or(DVec3::NAN, DVec3::from_array);
        }
        if !l.flags.intersects(Flags::COLLINEAR) {
            return l.vectors[2];
        }
        match self.line_normal {
            LineNormal::Nan => DVec3::NAN,
            LineNormal::MostVertical => most_vertical_across(l.vectors[0]),
        }
    }

    fn value(&self, formula: &Formula, l: &Local) -> f64 {
        if l.flags.intersects(Flags::LEFT_OUT) {
            return f64::NAN;
        }
        if l.n < f64::from(self.min_members) {
            let upward = matches!(formula, Formula::Normal(2));
            return match self.few {
                Degenerate::Nan => f64::NAN,
                Degenerate::Up if upward => 1.0,
                Degenerate::Zero | Degenerate::Up => 0.0,
            };
        }
        match formula {
            Formula::Normal(axis) => self.normal(l)[*axis],
            Formula::Number(number) => {
                let value = number(self, l);
                let replaced = l.flags.intersects(Flags::IDENTICAL) && self.identical != Degenerate::Nan;
                if replaced && !value.is_finite() { 0.0 } else { value }
            }
        }
    }
}

/// Across a vertical line all directions are level: x stands for them.
fn most_vertical_across(line: DVec3) -> DVec3 {
    let across = DVec3::Z - line.z * line;
    // What f32 components leave of a vertical one is not a direction.
    if across.length() > 1e-6 { across.normalize() } else { DVec3::X }
}

/// Rewrites those columns of `raw`, which are of `computed`, that were asked for in `set` and are redefined.
pub(crate) fn rewrite(
    conventions: &Conventions,
    set: &FeatureSet,
    computed: &FeatureSet,
    raw: &mut RawColumns,
) {
    let column = |feature: &Feature| {
        let at = computed.iter().position(|f| f == *feature)?;
        raw.values.get(at).map(Vec::as_slice)
    };
    let columns = |group: &[Feature]| -> Option<[&[f32]; 3]> {
        let found: Option<Vec<_>> = group.iter().map(column).collect();
        found?.try_into().ok()
    };
    let (count, lambda) = (column(&Feature::NeighborCount), columns(LAMBDA));
    let vectors = [columns(V1), columns(V2), columns(NORMAL)];
    let local = |i: usize, flags: u32| {
        let at = |group: Option<[&[f32]; 3]>| group.map_or([f64::NAN; 3], |g| g.map(|c| f64::from(c[i])));
        let flags = Flags(flags);
        let n = count.map_or(f64::NAN, |count| f64::from(count[i]));
        let to_divisor = match conventions.cov_norm {
            CovNorm::Population => 1.0,
            CovNorm::Sample => n / (n - 1.0),
        };
        let [l1, l2, l3] = at(lambda).map(|l| l * to_divisor);
        let lambda = match () {
            () if flags.intersects(Flags::IDENTICAL) => [0.0; 3],
            () if flags.intersects(Flags::COLLINEAR) => [l1, 0.0, 0.0],
            () => [l1, l2, l3],
        };
        Local { n, lambda, vectors: vectors.map(|v| DVec3::from_array(at(v))), flags }
    };
    let wanted = set.iter().enumerate().filter(|(_, f)| conventions.redefines(*f));
    let rows = wanted.filter_map(|(at, f)| Some((at, FORMULAS.iter().find(|row| row.feature == f)?)));
    let written: Vec<(usize, Vec<f32>)> = rows
        .map(|(at, row)| {
            let points = raw.flags.par_iter().enumerate().with_min_len(1 << 12);
            let value = |(i, flags): (usize, &u32)| conventions.value(&row.formula, &local(i, *flags)) as f32;
            (at, points.map(value).collect())
        })
        .collect();
    for (at, values) in written {
        raw.values[at] = values;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_redefined_feature_has_one_formula() {
        for name in Conventions::NAMES {
            let profile = Conventions::named(name).unwrap();
            assert_eq!(profile.name(), *name);
            for feature in profile.redefines {
                let rows = FORMULAS.iter().filter(|row| row.feature == *feature);
                assert_eq!(rows.count(), 1, "{feature} of {name}");
            }
        }
        assert_eq!(FORMULAS.len(), Conventions::ours().redefines.len());
        assert!(Conventions::ours().redefined().is_empty());
    }

    #[test]
    fn the_most_vertical_direction_lies_across() {
        for line in [DVec3::X, DVec3::new(1.0, -2.0, 2.0) / 3.0, DVec3::Z] {
            let across = most_vertical_across(line);
            assert!(across.dot(line).abs() < 1e-12 && (across.length() - 1.0).abs() < 1e-12);
            assert!((across.z - line.x.hypot(line.y)).abs() < 1e-12);
        }
    }
}
