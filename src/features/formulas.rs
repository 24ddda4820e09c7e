//! The formulas' arguments in f64: the shape of one neighbourhood, in the cloud's unit.

use glam::DVec3;

use super::around::Around;
use crate::extras::Extra;
use crate::moments::Moments;

/// What one point itself carries: colours scaled to 0..1, and extras; zero where the cloud lacks it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attributes {
    pub(crate) red: f64,
    pub(crate) green: f64,
    pub(crate) blue: f64,
    pub(crate) nir: f64,
    pub(super) extras: [f64; Extra::COUNT],
}

impl Attributes {
    pub(crate) fn give(&mut self, extra: Extra, value: f64) {
        self.extras[extra as usize] = value;
    }
}

/// One neighbourhood as the catalogue's formulas see it.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) n: f64,
    /// Members but the query, which is none if it is no point of the cloud.
    pub(crate) others: f64,
    /// λ1 ≥ λ2 ≥ λ3 ≥ 0.
    pub(crate) lambda: [f64; 3],
    /// Unit eigenvectors, oriented as the catalogue says; the third is the normal.
    pub(crate) vectors: [DVec3; 3],
    /// Σ of the members' offsets from the query.
    pub(crate) sum: DVec3,
    /// xx, xy, yy.
    pub(crate) covariance_xy: [f64; 3],
    /// Distance to the farthest member.
    pub(crate) farthest: f64,
    /// The radius that was given, else the farthest member's distance.
    pub(crate) radius: f64,
    /// Distance to the nearest of the others.
    pub(crate) nearest: f64,
    pub(crate) distance_sum: f64,
    /// Lowest and highest member, against the query.
    pub(crate) z_min: f64,
    pub(crate) z_max: f64,
    /// Sizes of the bounding box.
    pub(crate) extent: [f64; 3],
    pub(crate) variance_z: f64,
    /// Signed distance of the query to the plane through the others.
    pub(crate) plane_distance: f64,
    /// Unit normal of that plane, and the mean of the other members, against the query.
    pub(crate) plane: [DVec3; 2],
    pub(crate) attributes: Attributes,
    pub(crate) around: Around,
    /// Edge of a lattice cell.
    pub(crate) quantum: f64,
}

impl Shape {
    /// `radius` is the one that the neighbourhood's rule gives, if any.
    pub(crate) fn new(
        m: &Moments,
        quantum: f64,
        radius: Option<f64>,
        attributes: Attributes,
        with_plane: bool,
    ) -> Self {
        let farthest = (m.radius_sq as f64).sqrt() * quantum;
        let (n, others) = (f64::from(m.n), f64::from(m.others));
        let to_covariance =
            |scatter: [i128; 6], n: f64| scatter.map(|v| to_f64(v) * (quantum / n.max(1.0)).powi(2));
        let covariance = to_covariance(m.scatter(), n);
        let (lambda, vectors) = eigen(covariance);
        let plane = if with_plane && m.others > 0 {
            let (_, rest) = eigen(to_covariance(m.scatter_of_rest(), others));
            [upward(rest[2]), DVec3::from_array(m.sum.map(|v| v as f64)) * (quantum / others)]
        } else {
            [DVec3::ZERO; 2]
        };
        Self {
            n,
            others,
            lambda,
            vectors: [largest_positive(vectors[0]), largest_positive(vectors[1]), upward(vectors[2])],
            farthest,
            radius: radius.unwrap_or(farthest),
            sum: DVec3::from_array(m.sum.map(|v| v as f64)) * quantum,
            covariance_xy: [covariance[0], covariance[1], covariance[3]],
            nearest: (m.nearest_sq as f64).sqrt() * quantum,
            distance_sum: m.distance_sum as f64 / 65536.0 * quantum,
            z_min: m.z_min as f64 * quantum,
            z_max: m.z_max as f64 * quantum,
            extent: m.extent.map(|v| v as f64 * quantum),
            variance_z: covariance[5],
            plane_distance: -plane[0].dot(plane[1]),
            plane,
            attributes,
            around: Around::default(),
            quantum,
        }
    }

    /// An extra's value for the query.
    pub(crate) fn given(&self, extra: Extra) -> f64 {
        self.attributes.extras[extra as usize]
    }

    /// Σ.
    pub(crate) fn lambda_sum(&self) -> f64 {
        self.lambda.iter().sum()
    }

    pub(crate) fn eigenentropy(&self) -> f64 {
        let sum = self.lambda_sum();
        -self.lambda.iter().map(|l| l / sum).filter(|e| *e > 0.0).map(|e| e * e.ln()).sum::<f64>()
    }

    /// Degrees between the normal and the vertical.
    pub(crate) fn slope(&self) -> f64 {
        let normal = self.vectors[2];
        normal.x.hypot(normal.y).atan2(normal.z.abs()).to_degrees()
    }
}

/// Nearest f64; most sums fit an i64, whose conversion is one instruction.
fn to_f64(v: i128) -> f64 {
    i64::try_from(v).map_or(v as f64, |v| v as f64)
}

/// Normals point up; level ones to positive y, then to positive x.
fn upward(v: DVec3) -> DVec3 {
    let decisive = [v.z, v.y, v.x].into_iter().find(|c| *c != 0.0).unwrap_or(0.0);
    if decisive < 0.0 { -v } else { v }
}

/// The component of largest magnitude is positive (the first of equals decides).
fn largest_positive(v: DVec3) -> DVec3 {
    let a = v.abs();
    let decisive = if a.x >= a.y && a.x >= a.z {
        v.x
    } else if a.y >= a.z {
        v.y
    } else {
        v.z
    };
    if decisive < 0.0 { -v } else { v }
}

/// Eigenvalues in descending order, none below zero, and their unit vectors, by cyclic Jacobi rotations.
///
/// `c` is xx, xy, xz, yy, yz, zz. Jacobi keeps small eigenvalues and the vectors of near-equal ones accurate,
/// where closed forms lose half the digits (Golub & Van Loan, Matrix Computations, 8.5).
fn eigen(c: [f64; 6]) -> ([f64; 3], [DVec3; 3]) {
    let mut a = [[c[0], c[1], c[2]], [c[1], c[3], c[4]], [c[2], c[4], c[5]]];
    let mut v = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    for _ in 0..16 {
        let mut rotated = false;
        for (p, q) in [(0, 1), (0, 2), (1, 2)] {
            let off = a[p][q];
            if off.abs() <= f64::EPSILON * 1e-2 * (a[p][p] * a[q][q]).abs().sqrt() || off == 0.0 {
                continue;
            }
            rotated = true;
            let theta = (a[q][q] - a[p][p]) / (2.0 * off);
            // A theta whose square overflows gives t = 0, which is what 1/(2 theta) rounds away against 1.
            let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
            let cos = 1.0 / (t * t + 1.0).sqrt();
            let sin = t * cos;
            let r = 3 - p - q;
            let (arp, arq) = (a[r][p], a[r][q]);
            a[p][p] -= t * off;
            a[q][q] += t * off;
            a[p][q] = 0.0;
            a[q][p] = 0.0;
            a[r][p] = cos * arp - sin * arq;
            a[p][r] = a[r][p];
            a[r][q] = sin * arp + cos * arq;
            a[q][r] = a[r][q];
            for row in &mut v {
                let (vp, vq) = (row[p], row[q]);
                row[p] = cos * vp - sin * vq;
                row[q] = sin * vp + cos * vq;
            }
        }
        if !rotated {
            break;
        }
    }
    let mut order = [0, 1, 2];
    order.sort_by(|&i, &j| a[j][j].total_cmp(&a[i][i]));
    let lambda = order.map(|i| a[i][i].max(0.0));
    let vectors = order.map(|i| DVec3::new(v[0][i], v[1][i], v[2][i]).normalize_or_zero());
    (lambda, vectors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn eigen_reproduces_the_matrix() {
        for c in
            [[4.0, 1.0, -2.0, 3.0, 0.5, 6.0], [1.0, 0.0, 0.0, 1.0, 0.0, 1e-9], [2.0, 2.0, 2.0, 2.0, 2.0, 2.0]]
        {
            let (l, v) = eigen(c);
            assert!(l[0] >= l[1] && l[1] >= l[2]);
            let entry = |i: usize, j: usize| (0..3).map(|e| l[e] * v[e][i] * v[e][j]).sum::<f64>();
            let back = [entry(0, 0), entry(0, 1), entry(0, 2), entry(1, 1), entry(1, 2), entry(2, 2)];
            for (b, c) in back.iter().zip(c) {
                assert_relative_eq!(*b, c, epsilon = 1e-14 * l[0], max_relative = 1e-13);
            }
        }
    }

    #[test]
    fn vectors_are_oriented() {
        assert_eq!(upward(DVec3::new(1.0, 1.0, -1.0)), DVec3::new(-1.0, -1.0, 1.0));
        assert_eq!(upward(DVec3::new(1.0, -1.0, 0.0)), DVec3::new(-1.0, 1.0, 0.0));
        assert_eq!(largest_positive(DVec3::new(1.0, -2.0, 1.0)), DVec3::new(-1.0, 2.0, -1.0));
    }
}
