//! Formulas of the catalogue that take more than a line.

use super::around::LEAST_REACH;
use super::formulas::Shape;
use crate::extras::Extra;

/// What a ratio to λ1 counts as at least in a logarithm: far below what f32 eigenvalues resolve.
const FLOOR: f64 = 1.0 / (1 << 20) as f64;

/// The cube root of a number that is not negative, relatively off by 1e-15 at most and zero below what f32 resolves: in a
/// third of the time of the library's, which rounds correctly. Newton's steps for 1/∛x wait for no quotient.
pub(crate) fn cube_root(x: f64) -> f64 {
    if x == f64::INFINITY {
        return x;
    }
    // A third of the exponent, its sign turned: off by 3.5 % at most (Moroz et al., Applied Sciences 2021). Each step leaves
    // twice the error's square.
    let mut inverse = f64::from_bits(0x553e_f0ff_289d_d796 - x.to_bits() / 3);
    for _ in 0..4 {
        inverse *= 4.0 / 3.0 - x * (1.0 / 3.0) * inverse * (inverse * inverse);
    }
    x * inverse * inverse
}

impl Shape {
    /// ej.
    pub(crate) fn e(&self, j: usize) -> f64 {
        self.lambda[j] / self.lambda_sum()
    }

    /// σj.
    pub(crate) fn sigma(&self, j: usize) -> f64 {
        self.lambda[j].sqrt()
    }

    pub(crate) fn planarity(&self) -> f64 {
        (self.lambda[1] - self.lambda[2]) / self.lambda[0]
    }

    pub(crate) fn horizontality(&self) -> f64 {
        self.vectors[2].z.abs()
    }

    pub(crate) fn verticality(&self) -> f64 {
        1.0 - self.horizontality()
    }

    /// (λ1 − λ2)/λ1.
    pub(crate) fn linearity(&self) -> f64 {
        (self.lambda[0] - self.lambda[1]) / self.lambda[0]
    }

    /// Height above ground as a part of so many metres, from 0 to 1.
    pub(crate) fn height_part(&self, metres: f64) -> f64 {
        (self.given(Extra::HeightInMetres) / metres).clamp(0.0, 1.0)
    }

    pub(crate) fn facade_score(&self) -> f64 {
        self.verticality() * self.planarity() * self.height_part(2.0)
    }

    /// For slopes that fit a trapezoid: rising from the first to the second angle, falling from the third to the fourth.
    pub(crate) fn roof_score_of(&self, [a, b, c, d]: [f64; 4]) -> f64 {
        let slope = self.slope();
        let rising = if b > a { (slope - a) / (b - a) } else { 1.0 };
        let fit = rising.min((d - slope) / (d - c)).clamp(0.0, 1.0);
        self.planarity() * self.height_part(2.0) * fit
    }

    pub(crate) fn opening_likelihood(&self) -> f64 {
        (1.0 - self.planarity()) * self.linearity() * self.verticality() * self.height_part(1.0)
    }

    pub(crate) fn structural_element_score(&self) -> f64 {
        self.linearity() * self.vectors[0].z.abs() * self.height_part(1.0)
    }

    /// −Σ λj ln λj.
    pub(crate) fn eigenentropy_raw(&self) -> f64 {
        -self.lambda.iter().filter(|l| **l > 0.0).map(|l| l * l.ln()).sum::<f64>()
    }

    /// 1, 2 or 3: which of linearity, planarity and sphericity of σ is largest; the first of equals.
    pub(crate) fn dimensionality(&self) -> f64 {
        let [s1, s2, s3] = self.lambda.map(f64::sqrt);
        let (line, plane, volume) = (s1 - s2, s2 - s3, s3);
        if line >= plane && line >= volume {
            1.0
        } else if plane >= volume {
            2.0
        } else {
            3.0
        }
    }

    /// ln(λi/λj), both at least [`FLOOR`] of λ1.
    fn log_ratio(&self, i: usize, j: usize) -> f64 {
        let floored = |j: usize| self.lambda[j].max(FLOOR * self.lambda[0]);
        (floored(i) / floored(j)).ln()
    }

    pub(crate) fn degree_of_planarity(&self) -> f64 {
        self.log_ratio(0, 2)
    }

    pub(crate) fn degree_of_linearity(&self) -> f64 {
        self.log_ratio(0, 1) / self.log_ratio(1, 2).max(FLOOR)
    }

    /// z of Σ λj |vj|, made a unit vector.
    pub(crate) fn verticality_unary(&self) -> f64 {
        let u = (0..3).map(|j| self.lambda[j] * self.vectors[j].abs()).sum::<glam::DVec3>();
        u.z / u.length()
    }

    /// Degrees clockwise from y of the direction that the normal leans to; 0 where it hardly leans.
    pub(crate) fn aspect(&self) -> f64 {
        if self.slope() < 1e-3 {
            return 0.0;
        }
        let normal = self.vectors[2];
        let degrees = normal.x.atan2(normal.y).to_degrees().rem_euclid(360.0);
        // What rounds to 360 in f32 is a full turn.
        if degrees as f32 >= 360.0 { 0.0 } else { degrees }
    }

    /// Σ⟨p − query, vj⟩.
    pub(crate) fn moment_1(&self, j: usize) -> f64 {
        self.sum.dot(self.vectors[j])
    }

    /// Σ⟨p − query, vj⟩²: n λj is the same about the mean.
    pub(crate) fn moment_2(&self, j: usize) -> f64 {
        self.n * self.lambda[j] + self.moment_1(j).powi(2) / self.n
    }

    /// 0 where N is so nearly a line that nothing is left along v2.
    pub(crate) fn moment_order_1(&self) -> f64 {
        match self.moment_2(1) {
            0.0 => 0.0,
            second => self.moment_1(1).powi(2) / second,
        }
    }

    /// Members but the query; one where there is none, since it divides zeros.
    fn others(&self) -> f64 {
        self.others.max(1.0)
    }

    pub(crate) fn mean_distance(&self) -> f64 {
        self.distance_sum / self.others()
    }

    /// From the exact sum of squared distances, n Σ + |Σo|²/n.
    pub(crate) fn std_distance(&self) -> f64 {
        let squares = self.n * self.lambda_sum() + self.sum.length_squared() / self.n;
        (squares / self.others() - self.mean_distance().powi(2)).max(0.0).sqrt()
    }

    /// Diagonal of the bounding box's footprint.
    pub(crate) fn flat_extent(&self) -> f64 {
        self.extent[0].hypot(self.extent[1])
    }

    pub(crate) fn height_extent_ratio(&self) -> f64 {
        match self.flat_extent() {
            0.0 => 0.0,
            flat => self.extent[2] / flat,
        }
    }

    /// λ2/λ1 of the covariance of x and y.
    pub(crate) fn eigenvalue_ratio_2d(&self) -> f64 {
        let [xx, xy, yy] = self.covariance_xy;
        let apart = (xx - yy).hypot(2.0 * xy) / (xx + yy);
        (1.0 - apart).max(0.0) / (1.0 + apart)
    }

    /// 0 where the query and the others lie in their plane but for what f32 leaves.
    pub(crate) fn plane_fit(&self) -> f64 {
        let own = self.plane_distance.abs();
        let all = own + self.around.plane_mean;
        if all <= self.farthest / 65536.0 { 0.0 } else { own / all }
    }

    /// Without any order where all members are at one place, or fewer than three.
    pub(crate) fn optimal_entropy(&self) -> f64 {
        if self.n < 3.0 || self.lambda[0] <= 0.0 { 3f64.ln() } else { self.eigenentropy() }
    }

    pub(crate) fn reachability_density(&self) -> f64 {
        1.0 / self.around.reach.max(LEAST_REACH * self.quantum)
    }

    pub(crate) fn is_coplanar(&self) -> f64 {
        let [l1, l2, l3] = self.lambda;
        f64::from(l2 > 25.0 * l3 && 6.0 * l2 > l1)
    }

    /// Eigenvalues above a hundredth of the largest.
    pub(crate) fn rank(&self) -> f64 {
        self.lambda.iter().filter(|l| **l > 0.01 * self.lambda[0]).count() as f64
    }

    pub(crate) fn edge_strength(&self) -> f64 {
        3.0 * self.e(2) * (1.0 - self.lambda[2] / self.lambda[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cube_roots_are_as_good_as_the_library_s() {
        assert_eq!((cube_root(0.0), cube_root(f64::INFINITY)), (0.0, f64::INFINITY));
        assert!(cube_root(f64::NAN).is_nan());
        // Every power of two there is, and numbers between them.
        for exponent in -1022..1024 {
            for part in 0..64 {
                let x = (1.0 + f64::from(part) / 64.0) * f64::from(exponent).exp2();
                let (root, expected) = (cube_root(x), x.cbrt());
                assert!((root - expected).abs() <= 1e-15 * expected, "{x:e}: {root:e}, {expected:e}");
            }
        }
        // Less than that is nothing in f32.
        assert!([5e-324, 1e-310].iter().all(|x| cube_root(*x) as f32 == 0.0));
    }
}
