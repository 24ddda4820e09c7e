//! Which points are ground, and how heights above it are found between them.

use std::num::NonZeroU32;

use crate::cloud::PointCloud;
use crate::error::{Error, Result};

/// A set of classes, as ASPRS numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Classes([u64; 4]);

impl Classes {
    /// Whether the set holds a class.
    pub fn contains(&self, class: u8) -> bool {
        self.0[usize::from(class >> 6)] >> (class & 63) & 1 == 1
    }
}

impl FromIterator<u8> for Classes {
    fn from_iter<I: IntoIterator<Item = u8>>(classes: I) -> Self {
        let mut set = Self::default();
        classes.into_iter().for_each(|class| set.0[usize::from(class >> 6)] |= 1 << (class & 63));
        set
    }
}

/// How the height of the ground between ground points is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum GroundMethod {
    /// That of the nearest ground point in XY, as PDAL's `hag_nn` does by default. Off by slope times distance.
    #[default]
    Nearest,
    /// The mean of the nearest ground points in XY, weighted with the inverse of the squared distance.
    Idw {
        /// How many.
        k: NonZeroU32,
    },
    /// The least-squares plane z = a + b x + c y through the nearest ground points in XY; their weighted mean as in
    /// [`Idw`](Self::Idw) where they lie on a line, or nearly (λ2 < 1e-4 λ1 of their covariance in XY). Right on slopes;
    /// far from all ground points, below large roofs, it continues whatever slope there is at their edge.
    Plane {
        /// How many.
        k: NonZeroU32,
    },
}

impl GroundMethod {
    /// Ground points that it looks at.
    pub(crate) fn neighbors(self) -> NonZeroU32 {
        match self {
            Self::Nearest => NonZeroU32::MIN,
            Self::Idw { k } | Self::Plane { k } => k,
        }
    }
}

/// Which points are ground and how heights above it are found.
///
/// Points of the ground have height 0, and so has what lies at a ground point's place in XY and height. Of several
/// ground points at one place in XY the first counts there.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Ground {
    /// Classes of the ground, 2 unless said. A mask ([`PointCloud::with_ground`]) goes before classes.
    pub classes: Classes,
    /// How heights between ground points are found.
    pub method: GroundMethod,
    /// Distance in XY, in the cloud's unit and inclusive, beyond which ground points do not count. A point without any
    /// has no height ([`Flags::NO_GROUND`](crate::Flags::NO_GROUND)).
    pub max_distance: Option<f64>,
}

impl Default for Ground {
    fn default() -> Self {
        Self { classes: [2].into_iter().collect(), method: GroundMethod::default(), max_distance: None }
    }
}

impl Ground {
    /// Sets the classes of the ground.
    #[must_use]
    pub fn classes(mut self, classes: impl IntoIterator<Item = u8>) -> Self {
        self.classes = classes.into_iter().collect();
        self
    }

    /// Sets how heights between ground points are found.
    #[must_use]
    pub fn method(mut self, method: GroundMethod) -> Self {
        self.method = method;
        self
    }

    /// Sets the distance beyond which ground points do not count.
    #[must_use]
    pub fn max_distance(mut self, distance: f64) -> Self {
        self.max_distance = Some(distance);
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        match self.max_distance {
            Some(d) if !(d.is_finite() && d > 0.0) => Err(Error::InvalidRadius(d)),
            _ => Ok(()),
        }
    }

    /// Ground points of a cloud, ignored ones left out; in words what is lacking if there is none.
    pub(crate) fn of(&self, cloud: &PointCloud<'_>) -> Result<Vec<bool>, &'static str> {
        let mut mask = match (cloud.ground, cloud.classification) {
            (Some(mask), _) => mask.to_vec(),
            (None, Some(classes)) => classes.iter().map(|c| self.classes.contains(*c)).collect(),
            (None, None) => return Err("ground (a classification or a mask)"),
        };
        if let Some(ignored) = cloud.ignored {
            mask.iter_mut().zip(ignored).for_each(|(ground, ignored)| *ground &= !ignored);
        }
        // Of a part, the whole cloud decides.
        let there = || cloud.part.map_or_else(|| mask.contains(&true), |part| part.whole.has_ground);
        match !cloud.has_points() || there() {
            true => Ok(mask),
            false => Err("ground (no point is ground)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_was_put_in() {
        let set: Classes = [0, 2, 63, 64, 255].into_iter().collect();
        let held: Vec<u8> = (0..=255).filter(|c| set.contains(*c)).collect();
        assert_eq!(held, [0, 2, 63, 64, 255]);
        assert!(Ground::default().classes.contains(2) && !Ground::default().classes.contains(9));
    }
}
