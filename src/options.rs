//! Choices of a request that change how values are written, not what they are computed from.

use crate::conventions::Conventions;
use crate::error::{Error, Result};

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

/// How [`Engine::features_with`](crate::Engine::features_with) writes what it computes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Options {
    /// What stands where a feature is undefined.
    pub fill: Fill,
    /// Which way `normal_*` and `eigenvector_3_*` point.
    pub orientation: Orientation,
    /// How features are defined: ours, or as another tool has them.
    pub conventions: Conventions,
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

    pub(crate) fn validate(&self) -> Result<()> {
        match self.orientation {
            Orientation::Viewpoint(at) if at.iter().any(|v| !v.is_finite()) => {
                Err(Error::InvalidViewpoint(at))
            }
            _ => Ok(()),
        }
    }
}
