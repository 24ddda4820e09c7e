//! The formulas' arguments in f64: the shape of one neighbourhood, in the cloud's unit.

use glam::DVec3;

use super::around::Around;
use super::eigen::{Eigen, LANES, eigen};
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
#[derive(Debug, Clone, Default)]
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
    /// Of a point alone, for formulas of what it carries itself.
    pub(crate) fn alone() -> Self {
        let m = Moments { n: 1, ..Moments::default() };
        let mut shape = Self::default();
        shape.describe(&m, 1.0, None, ([0.0; 6], ([0.0; 3], [DVec3::ZERO; 3])), None);
        shape
    }

    /// Describes up to [`LANES`] neighbourhoods, but for attributes and what lies around, and gives each to `each` with its
    /// number. `radii` are those that the neighbourhoods' rules give, if any.
    #[inline(always)]
    pub(crate) fn several(
        &mut self,
        moments: &[Moments],
        quantum: f64,
        radii: &[Option<f64>],
        with_plane: bool,
        mut each: impl FnMut(usize, &mut Self),
    ) {
        let mut covariances = [[0.0; 6]; LANES];
        for (matrix, m) in covariances.iter_mut().zip(moments) {
            *matrix = covariance(m, m.n, quantum);
        }
        let axes = eigen(&covariances);
        let rest = with_plane.then(|| {
            let mut of_rest = [[0.0; 6]; LANES];
            for (matrix, m) in of_rest.iter_mut().zip(moments) {
                *matrix = covariance(m, m.others, quantum);
            }
            eigen(&of_rest)
        });
        for (l, (m, &radius)) in moments.iter().zip(radii).enumerate() {
            let rest = rest.as_ref().map(|rest| &rest[l]);
            self.describe(m, quantum, radius, (covariances[l], axes[l]), rest);
            each(l, self);
        }
    }

    /// Written field by field: to make and move the whole takes as long as some of the formulas.
    #[inline(always)]
    fn describe(
        &mut self,
        m: &Moments,
        quantum: f64,
        radius: Option<f64>,
        (covariance, (lambda, vectors)): ([f64; 6], Eigen),
        rest: Option<&Eigen>,
    ) {
        let plane = match rest {
            Some((_, vectors)) if m.others > 0 => {
                let mean = DVec3::from_array(m.sum.map(|v| v as f64)) * (quantum / f64::from(m.others));
                [upward(vectors[2]), mean]
            }
            _ => [DVec3::ZERO; 2],
        };
        self.n = m.n.into();
        self.others = m.others.into();
        self.lambda = lambda;
        self.vectors = [largest_positive(vectors[0]), largest_positive(vectors[1]), upward(vectors[2])];
        self.farthest = (m.radius_sq as f64).sqrt() * quantum;
        self.radius = radius.unwrap_or(self.farthest);
        self.sum = DVec3::from_array(m.sum.map(|v| v as f64)) * quantum;
        self.covariance_xy = [covariance[0], covariance[1], covariance[3]];
        self.nearest = (m.nearest_sq as f64).sqrt() * quantum;
        self.distance_sum = m.distances() * quantum;
        self.z_min = m.z_min as f64 * quantum;
        self.z_max = m.z_max as f64 * quantum;
        self.extent = m.extent.map(|v| v as f64 * quantum);
        self.variance_z = covariance[5];
        self.plane_distance = -plane[0].dot(plane[1]);
        self.plane = plane;
        self.quantum = quantum;
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

/// C of so many members.
#[inline(always)]
fn covariance(m: &Moments, n: u32, quantum: f64) -> [f64; 6] {
    let scale = (quantum / f64::from(n.max(1))).powi(2);
    m.scatter_to_f64(n).map(|v| v * scale)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_oriented() {
        assert_eq!(upward(DVec3::new(1.0, 1.0, -1.0)), DVec3::new(-1.0, -1.0, 1.0));
        assert_eq!(upward(DVec3::new(1.0, -1.0, 0.0)), DVec3::new(-1.0, 1.0, 0.0));
        assert_eq!(largest_positive(DVec3::new(1.0, -2.0, 1.0)), DVec3::new(-1.0, 2.0, -1.0));
    }
}
