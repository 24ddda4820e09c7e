//! Units of length that coordinates come in.

use std::fmt;

/// A unit of length. Features whose unit is given as `m` come in the cloud's own unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Unit {
    /// Metre.
    #[default]
    Metre,
    /// International foot, 0.3048 m.
    Foot,
    /// US survey foot, 1200/3937 m.
    UsSurveyFoot,
}

impl Unit {
    /// Every unit there is.
    pub const ALL: [Self; 3] = [Self::Metre, Self::Foot, Self::UsSurveyFoot];

    /// The unit's length in metres.
    pub fn in_metres(self) -> f64 {
        match self {
            Self::Metre => 1.0,
            Self::Foot => 0.3048,
            Self::UsSurveyFoot => 1200.0 / 3937.0,
        }
    }

    /// So many metres in this unit: `Unit::Foot.metres(0.3048)` is 1. For thresholds that are stated in metres.
    pub fn metres(self, metres: f64) -> f64 {
        metres / self.in_metres()
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metre => "m",
            Self::Foot => "ft",
            Self::UsSurveyFoot => "US survey ft",
        })
    }
}

/// How a cloud's unit is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum UnitSource {
    /// Nothing says so: metres are assumed.
    #[default]
    Assumed,
    /// The file's coordinate reference system.
    Crs,
    /// The caller.
    Caller,
}

impl fmt::Display for UnitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Assumed => "assumed",
            Self::Crs => "crs",
            Self::Caller => "given",
        })
    }
}

/// A cloud's units, and how they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Units {
    pub(crate) horizontal: Unit,
    pub(crate) vertical: Unit,
    pub(crate) source: UnitSource,
}

impl Units {
    /// The caller's.
    pub(crate) fn given(unit: Unit) -> Self {
        Self { horizontal: unit, vertical: unit, source: UnitSource::Caller }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metres_in_units() {
        assert_eq!(Unit::Metre.metres(2.5), 2.5);
        assert_eq!(Unit::Foot.metres(0.3048), 1.0);
        assert!((Unit::UsSurveyFoot.metres(1200.0) - 3937.0).abs() < 1e-9);
    }
}
