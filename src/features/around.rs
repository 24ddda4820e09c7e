//! What the formulas need of every single member: sums over N that are not sums of offsets alone.

use glam::DVec3;

use super::{Feature, FeatureSet};
use crate::moments::Offsets;

/// Kinds of such sums, as bits of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Members(pub(crate) u32);

impl Members {
    /// Distances of the members to the plane through all but the query.
    pub(crate) const PLANE_FIT: Self = Self(1);
    /// The quadric through N.
    pub(crate) const QUADRIC: Self = Self(1 << 1);
    /// Recorded channels of the members.
    pub(crate) const CHANNELS: Self = Self(1 << 2);
    /// Normals of the members' own neighbourhoods.
    pub(crate) const NORMALS: Self = Self(1 << 3);
    /// How far the members' own neighbourhoods reach.
    pub(crate) const REACH: Self = Self(1 << 4);
    /// Reachability densities of the members.
    pub(crate) const LRD: Self = Self(1 << 5);
    /// The last members of the members' own neighbourhoods.
    pub(crate) const LAST: Self = Self(1 << 6);

    /// What `feature` needs of the members.
    pub(crate) fn of_feature(feature: Feature) -> Self {
        use Feature as F;
        match feature {
            F::PlaneFit => Self::PLANE_FIT,
            F::MeanCurvature | F::GaussianCurvature => Self::QUADRIC,
            F::IntensityMean
            | F::IntensityStd
            | F::RedMean
            | F::RedStd
            | F::GreenMean
            | F::GreenStd
            | F::BlueMean
            | F::BlueStd
            | F::NirMean
            | F::NirStd
            | F::NdviMean
            | F::NdviStd => Self::CHANNELS,
            F::NormalVariation => Self::NORMALS,
            F::ReachabilityDensity => Self::REACH,
            F::Lof => Self::REACH | Self::LRD,
            F::Reciprocity => Self::LAST,
            _ => Self::default(),
        }
    }

    pub(crate) fn of(set: &FeatureSet) -> Self {
        set.iter().map(Self::of_feature).fold(Self::default(), |all, one| all | one)
    }

    pub(crate) fn any(self) -> bool {
        self.0 != 0
    }

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the members' own neighbourhoods have to be known first.
    pub(crate) fn second_order(self) -> bool {
        self.has(Self::NORMALS | Self::REACH | Self::LRD | Self::LAST)
    }
}

impl std::ops::BitOr for Members {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Sums over the members of one neighbourhood; zero where no formula needs them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Around {
    /// Mean distance of the members but the query to the plane through them.
    pub(crate) plane_mean: f64,
    /// Slopes and second derivatives at the query of the quadric over the plane: fx, fy, fxx, fxy, fyy.
    pub(crate) quadric: [f64; 5],
    /// Mean and standard deviation over N of intensity (as recorded), red, green, blue and near-infrared (0 to 1), and of
    /// ndvi over those members that have one.
    pub(crate) channels: [[f64; 2]; 6],
    /// Mean of 1 − |n·n_j| over the members but the query that have a normal.
    pub(crate) normal_variation: f64,
    /// Mean over the members but the query of the larger of their own reach and their distance.
    pub(crate) reach: f64,
    /// Mean reachability density of the members but the query, in units of the query's.
    pub(crate) lof: f64,
    /// Part of the members but the query whose own neighbours the query is not among.
    pub(crate) one_sided: f64,
}

/// Weight of the second-order terms' own size in the quadric's least squares, per member. Points on two scan lines leave
/// one of them open: this takes the flattest. Elsewhere it changes them by a thousandth. The mixed term's is half, so
/// that the size is that of the second derivatives' matrix, which does not change where v1 and v2 may turn.
pub(crate) const RIDGE: f64 = 1.0 / 1024.0;

/// Smallest mean reach that a density is taken of, in quanta: where all members share one place it is 0.
pub(crate) const LEAST_REACH: f64 = 1.0 / 1024.0;

/// z = a + b x + c y + d x² + e xy + f y² by least squares in the frame of the eigenvectors about the mean, x in units of
/// σ1 and y of σ2; then its derivatives at the query, in the cloud's unit (CCCoreLib computeCurvature).
pub(crate) fn quadric(
    offsets: Offsets<'_>,
    quantum: f64,
    mean: DVec3,
    sigma: [f64; 2],
    axes: [DVec3; 3],
) -> [f64; 5] {
    let sigma = sigma.map(|s| s.max(f64::MIN_POSITIVE));
    let local = |p: DVec3| {
        let o = p - mean;
        [o.dot(axes[0]) / sigma[0], o.dot(axes[1]) / sigma[1], o.dot(axes[2])]
    };
    let mut a = [[0.0; 6]; 6];
    let mut right = [0.0; 6];
    let [x, y, z] = offsets;
    for ((&x, &y), &z) in x.iter().zip(y).zip(z) {
        let [x, y, z] = local(DVec3::new(x, y, z) * quantum);
        let basis = [1.0, x, y, x * x, x * y, y * y];
        for i in 0..6 {
            for j in 0..=i {
                a[i][j] += basis[i] * basis[j];
            }
            right[i] += basis[i] * z;
        }
    }
    for (i, weight) in [(3, 1.0), (4, 0.5), (5, 1.0)] {
        a[i][i] += weight * RIDGE * offsets[0].len() as f64;
    }
    let [_, b, c, d, e, f] = solve(a, right);
    let [x, y, _] = local(DVec3::ZERO);
    let [s, t] = sigma;
    [
        (b + 2.0 * d * x + e * y) / s,
        (c + e * x + 2.0 * f * y) / t,
        2.0 * d / (s * s),
        e / (s * t),
        2.0 * f / (t * t),
    ]
}

/// Solves a symmetric positive definite system by Cholesky's factors; `a` holds its lower triangle.
fn solve(mut a: [[f64; 6]; 6], mut b: [f64; 6]) -> [f64; 6] {
    for i in 0..6 {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| a[i][k] * a[j][k]).sum();
            a[i][j] = if i == j {
                (a[i][i] - sum).max(f64::MIN_POSITIVE).sqrt()
            } else {
                (a[i][j] - sum) / a[j][j]
            };
        }
        let sum: f64 = (0..i).map(|k| a[i][k] * b[k]).sum();
        b[i] = (b[i] - sum) / a[i][i];
    }
    for i in (0..6).rev() {
        let sum: f64 = (i + 1..6).map(|k| a[k][i] * b[k]).sum();
        b[i] = (b[i] - sum) / a[i][i];
    }
    b
}

impl Around {
    /// |H| = |(1 + fx²) fyy − 2 fx fy fxy + (1 + fy²) fxx|/(2 q^1.5), q = 1 + fx² + fy².
    pub(crate) fn mean_curvature(&self) -> f64 {
        let [fx, fy, fxx, fxy, fyy] = self.quadric;
        let q = 1.0 + fx * fx + fy * fy;
        ((1.0 + fx * fx) * fyy - 2.0 * fx * fy * fxy + (1.0 + fy * fy) * fxx).abs() / (2.0 * q * q.sqrt())
    }

    /// |K| = |fxx fyy − fxy²|/q².
    pub(crate) fn gaussian_curvature(&self) -> f64 {
        let [fx, fy, fxx, fxy, fyy] = self.quadric;
        let q = 1.0 + fx * fx + fy * fy;
        (fxx * fyy - fxy * fxy).abs() / (q * q)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes_of(offsets: &[[i64; 3]]) -> [Vec<f64>; 3] {
        std::array::from_fn(|a| offsets.iter().map(|o| o[a] as f64).collect())
    }

    #[test]
    fn a_sphere_has_the_curvatures_of_its_radius() {
        let radius = 100_000i64;
        let offsets: Vec<[i64; 3]> = (0..121)
            .map(|i| [(i % 11 - 5) * 1000, (i / 11 - 5) * 1000])
            .map(|[x, y]| [x, y, ((radius.pow(2) - x * x - y * y) as f64).sqrt().round() as i64 - radius])
            .collect();
        let mean = offsets.iter().map(|o| o[2]).sum::<i64>() as f64 / 121.0;
        let sigma = [1000.0 * 10f64.sqrt() * 0.01; 2];
        let axes = [DVec3::X, DVec3::Y, DVec3::Z];
        let quadric = quadric(
            axes_of(&offsets).each_ref().map(|a| &a[..]),
            0.01,
            DVec3::new(0.0, 0.0, mean * 0.01),
            sigma,
            axes,
        );
        let around = Around { quadric, ..Around::default() };
        assert!((around.mean_curvature() - 1e-3).abs() < 5e-6, "{}", around.mean_curvature());
        assert!((around.gaussian_curvature() - 1e-6).abs() < 1e-8, "{}", around.gaussian_curvature());
    }

    #[test]
    fn two_scan_lines_leave_no_curvature_across_them() {
        let offsets: Vec<[i64; 3]> =
            (0..20i64).map(|i| [(i / 2 - 5) * 10, i % 2 * 30, (i / 2 - 5).pow(2)]).collect();
        let quadric = quadric(
            axes_of(&offsets).each_ref().map(|a| &a[..]),
            1.0,
            DVec3::new(-5.0, 15.0, 8.5),
            [28.7, 15.0],
            [DVec3::X, DVec3::Y, DVec3::Z],
        );
        assert!((quadric[2] - 0.02).abs() < 1e-4 && quadric[4].abs() < 1e-4, "{quadric:?}");
    }
}
