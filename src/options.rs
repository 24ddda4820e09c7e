//! Choices of a request beside its features and neighbourhood.

use crate::conventions::Conventions;
use crate::error::{Error, Result};
pub(crate) use crate::ground::{Ground, GroundMethod};

/// What stands where a feature is undefined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fill {
    /// NaN.
    #[default]
    Nan,
    /// 0, and (0, 0, 1) for `normal_*` and `eigenvector_3_*`. [`Columns::flags`](crate::Columns::flags) still tells
    /// these points from others.
    Zero,
}

/// Which way normals point.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Orientation {
    /// Up: z > 0, or the next component that is not 0.
    #[default]
    Up,
    /// To the side of the surface on which this point lies, in the cloud's coordinates. Surfaces that it lies on
    /// keep [`Up`](Self::Up).
    Viewpoint([f64; 3]),
}

/// What [`Engine::features_with`](crate::Engine::features_with) computes with, and how it writes it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Options {
    /// What stands where a feature is undefined.
    pub fill: Fill,
    /// Which way `normal_*` and `eigenvector_3_*` point.
    pub orientation: Orientation,
    /// How features are defined: ours, or as another tool has them.
    pub conventions: Conventions,
    /// Which points are ground and how heights above it are found.
    pub ground: Ground,
    /// Radius of `count_radius` and `echo_ratio`, in the cloud's unit; 2 metres unless said.
    pub count_radius: Option<f64>,
}

impl Options {
    /// Sets what stands where a feature is undefined.
    #[must_use]
    pub fn fill(mut self, fill: Fill) -> Self {
        self.fill = fill;
        self
    }

    /// Sets which way normals point.
    #[must_use]
    pub fn orientation(mut self, orientation: Orientation) -> Self {
        self.orientation = orientation;
        self
    }

    /// Sets how features are defined. Where [`KSemantics::ExcludeSelf`](crate::KSemantics::ExcludeSelf) is
    /// among them, neighbourhoods have a member more than their `k` says.
    #[must_use]
    pub fn conventions(mut self, conventions: Conventions) -> Self {
        self.conventions = conventions;
        self
    }

    /// Sets which points are ground and how heights above it are found.
    #[must_use]
    pub fn ground(mut self, ground: Ground) -> Self {
        self.ground = ground;
        self
    }

    /// Sets the radius of `count_radius` and `echo_ratio`.
    #[must_use]
    pub fn count_radius(mut self, radius: f64) -> Self {
        self.count_radius = Some(radius);
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        self.ground.validate()?;
        if let Some(radius) = self.count_radius.filter(|r| !(r.is_finite() && *r > 0.0)) {
            return Err(Error::InvalidRadius(radius));
        }
        match self.orientation {
            Orientation::Viewpoint(at) if at.iter().any(|v| !v.is_finite()) => {
                Err(Error::InvalidViewpoint(at))
            }
            _ => Ok(()),
        }
    }
}
