//! A point cloud as borrowed columns.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::color::ColorDepth;
use crate::error::{Error, Result};
use crate::frame::{self, Frame, Precision};
use crate::part::PartOf;
use crate::unit::{Unit, Units};
use crate::watch::Watch;

/// Most points of one cloud: the largest 32-bit index is kept to mean "no neighbour".
pub const MAX_POINTS: usize = u32::MAX as usize - 1;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Coordinates<'a> {
    F64(&'a [[f64; 3]]),
    F32(&'a [[f32; 3]]),
    F64Columns([&'a [f64]; 3]),
    F32Columns([&'a [f32]; 3]),
    Lattice(&'a [[i32; 3]], Frame),
}

/// Borrowed columns of one cloud: coordinates, and whatever else the sensor recorded.
///
/// Nothing is copied until an [`Engine`](crate::Engine) computes; the columns are checked then.
#[derive(Debug, Clone, Copy)]
pub struct PointCloud<'a> {
    coordinates: Coordinates<'a>,
    quantum: Option<f64>,
    pub(crate) rgb: Option<[&'a [u16]; 3]>,
    pub(crate) nir: Option<&'a [u16]>,
    pub(crate) intensity: Option<&'a [u16]>,
    pub(crate) rgb_depth: Option<ColorDepth>,
    pub(crate) nir_depth: Option<ColorDepth>,
    pub(crate) ignored: Option<&'a [bool]>,
    pub(crate) classification: Option<&'a [u8]>,
    pub(crate) ground: Option<&'a [bool]>,
    pub(crate) units: Units,
    pub(crate) part: Option<PartOf<'a>>,
}

impl<'a> PointCloud<'a> {
    fn new(coordinates: Coordinates<'a>) -> Self {
        Self {
            coordinates,
            quantum: None,
            rgb: None,
            nir: None,
            intensity: None,
            rgb_depth: None,
            nir_depth: None,
            ignored: None,
            classification: None,
            ground: None,
            units: Units::default(),
            part: None,
        }
    }

    /// Points as `[x, y, z]` in the cloud's unit.
    pub fn from_f64(points: &'a [[f64; 3]]) -> Self {
        Self::new(Coordinates::F64(points))
    }

    /// Points as `[x, y, z]` in the cloud's unit.
    pub fn from_f32(points: &'a [[f32; 3]]) -> Self {
        Self::new(Coordinates::F32(points))
    }

    /// One slice for each axis, all of one length.
    pub fn from_columns(x: &'a [f64], y: &'a [f64], z: &'a [f64]) -> Self {
        Self::new(Coordinates::F64Columns([x, y, z]))
    }

    /// One slice for each axis, all of one length.
    pub fn from_columns_f32(x: &'a [f32], y: &'a [f32], z: &'a [f32]) -> Self {
        Self::new(Coordinates::F32Columns([x, y, z]))
    }

    /// Integer lattice coordinates and the frame that gives them a place and a size, as in a LAS record.
    pub fn from_lattice(points: &'a [[i32; 3]], frame: Frame) -> Self {
        Self::new(Coordinates::Lattice(points, frame))
    }

    /// Sets the edge of a lattice cell instead of having it chosen from the values (no effect on
    /// [`from_lattice`](Self::from_lattice)). Points in one cell then count as one place.
    #[must_use]
    pub fn with_quantum(mut self, quantum: f64) -> Self {
        self.quantum = Some(quantum);
        self
    }

    /// Red, green and blue as recorded, one value a point. Their [`ColorDepth`] is recognised from all values of the
    /// three together, and stated in the report. Channels that are all zero count as missing.
    #[must_use]
    pub fn with_rgb(mut self, red: &'a [u16], green: &'a [u16], blue: &'a [u16]) -> Self {
        self.rgb = Some([red, green, blue]);
        self
    }

    /// Near-infrared as recorded, one value a point. Its [`ColorDepth`] is recognised on its own.
    #[must_use]
    pub fn with_nir(mut self, nir: &'a [u16]) -> Self {
        self.nir = Some(nir);
        self
    }

    /// Strength of the returned pulse as recorded, one value a point. All zero counts as missing.
    #[must_use]
    pub fn with_intensity(mut self, intensity: &'a [u16]) -> Self {
        self.intensity = Some(intensity);
        self
    }

    /// States the depth of colours and near-infrared instead of having it recognised: 16-bit values that are all dark
    /// pass for 8 bits otherwise.
    #[must_use]
    pub fn with_color_depth(mut self, depth: ColorDepth) -> Self {
        self.rgb_depth = Some(depth);
        self.nir_depth = Some(depth);
        self
    }

    /// States the depth of near-infrared alone.
    #[must_use]
    pub fn with_nir_depth(mut self, depth: ColorDepth) -> Self {
        self.nir_depth = Some(depth);
        self
    }

    /// Leaves points out of all neighbourhoods, those for which `ignored` is true: noise, say. They are nobody's
    /// neighbours; their own rows are undefined and marked with [`Flags::LEFT_OUT`](crate::Flags::LEFT_OUT), their
    /// neighbour lists empty. Indices still count all points.
    #[must_use]
    pub fn ignoring(mut self, ignored: &'a [bool]) -> Self {
        self.ignored = Some(ignored);
        self
    }

    /// Classes as recorded, one a point: those of [`Ground::classes`](crate::Ground::classes) are ground.
    #[must_use]
    pub fn with_classification(mut self, classes: &'a [u8]) -> Self {
        self.classification = Some(classes);
        self
    }

    /// Says which points are ground, whatever their class.
    #[must_use]
    pub fn with_ground(mut self, ground: &'a [bool]) -> Self {
        self.ground = Some(ground);
        self
    }

    /// States the coordinates' unit, metres unless said. Nothing is converted: features whose unit is `m` come in this
    /// unit, and thresholds that are stated in metres are turned into it.
    #[must_use]
    pub fn with_unit(mut self, unit: Unit) -> Self {
        self.units = Units::given(unit);
        self
    }

    /// The coordinates' unit.
    pub fn unit(&self) -> Unit {
        self.units.horizontal
    }

    #[cfg_attr(not(feature = "las"), allow(dead_code))] // Only files state units in two parts.
    pub(crate) fn with_units(mut self, units: Units) -> Self {
        self.units = units;
        self
    }

    /// Says that these are points of a part, whose lattice is the cloud's.
    pub(crate) fn part_of(mut self, part: PartOf<'a>) -> Self {
        self.part = Some(part);
        self
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        match self.coordinates {
            Coordinates::F64(p) => p.len(),
            Coordinates::F32(p) => p.len(),
            Coordinates::F64Columns([x, ..]) => x.len(),
            Coordinates::F32Columns([x, ..]) => x.len(),
            Coordinates::Lattice(p, _) => p.len(),
        }
    }

    /// Whether the cloud, or the whole that it is a part of, has a point.
    pub(crate) fn has_points(&self) -> bool {
        self.part.map_or(!self.is_empty(), |part| part.whole.points > 0)
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Refuses columns of different length and clouds with more points than indices.
    pub(crate) fn validate(&self) -> Result<()> {
        let expected = self.len();
        let check = |column, found| match found == expected {
            true => Ok(()),
            false => Err(Error::LengthMismatch { column, found, expected }),
        };
        match self.coordinates {
            Coordinates::F64Columns([_, y, z]) => {
                check("y", y.len())?;
                check("z", z.len())?;
            }
            Coordinates::F32Columns([_, y, z]) => {
                check("y", y.len())?;
                check("z", z.len())?;
            }
            _ => {}
        }
        if let Some(rgb) = self.rgb {
            for (channel, name) in rgb.iter().zip(["red", "green", "blue"]) {
                check(name, channel.len())?;
            }
        }
        if let Some(nir) = self.nir {
            check("nir", nir.len())?;
        }
        if let Some(intensity) = self.intensity {
            check("intensity", intensity.len())?;
        }
        if let Some(ignored) = self.ignored {
            check("ignored", ignored.len())?;
        }
        if let Some(classes) = self.classification {
            check("classification", classes.len())?;
        }
        if let Some(ground) = self.ground {
            check("ground", ground.len())?;
        }
        if expected > MAX_POINTS {
            return Err(Error::TooManyPoints { points: expected, limit: MAX_POINTS });
        }
        Ok(())
    }

    pub(crate) fn coordinates(&self) -> Coordinates<'a> {
        self.coordinates
    }

    /// The quantum that the caller stated, where coordinates leave a choice.
    pub(crate) fn stated_quantum(&self) -> Option<f64> {
        self.quantum.filter(|_| !matches!(self.coordinates, Coordinates::Lattice(..)))
    }

    /// How exact the coordinates are. A lattice's are made of its integers, to f64.
    pub(crate) fn precision(&self) -> Precision {
        match self.coordinates {
            Coordinates::F32(_) | Coordinates::F32Columns(_) => Precision::F32,
            _ => Precision::F64,
        }
    }

    /// World coordinates of point `i`.
    pub(crate) fn world(&self, i: usize) -> [f64; 3] {
        match self.coordinates {
            Coordinates::F64(p) => p[i],
            Coordinates::F32(p) => p[i].map(f64::from),
            Coordinates::F64Columns(c) => c.map(|axis| axis[i]),
            Coordinates::F32Columns(c) => c.map(|axis| f64::from(axis[i])),
            Coordinates::Lattice(p, frame) => frame.to_world(p[i]),
        }
    }

    /// The cloud on its lattice, with its bounds.
    pub(crate) fn lattice(&self, watch: &Watch) -> Result<Lattice<'a>> {
        let n = self.len();
        let (points, frame): (Cow<'a, [[i32; 3]]>, Frame) = match self.coordinates {
            Coordinates::Lattice(points, frame) => (Cow::Borrowed(points), frame),
            _ => {
                let at = |i| self.world(i);
                let frame = frame::choose(n, at, self.precision(), self.quantum, watch)?;
                (Cow::Owned(frame::quantize(n, at, &frame, watch)?), frame)
            }
        };
        Lattice::new(points, frame)
    }
}

/// A cloud's lattice coordinates. Extents are at most [`frame::MAX_EXTENT`], so squared distances fit u64.
#[derive(Debug)]
pub(crate) struct Lattice<'a> {
    pub(crate) points: Cow<'a, [[i32; 3]]>,
    pub(crate) frame: Frame,
    /// Smallest and largest coordinates; both zero for an empty cloud.
    pub(crate) min: [i32; 3],
    pub(crate) max: [i32; 3],
}

impl<'a> Lattice<'a> {
    pub(crate) fn new(points: Cow<'a, [[i32; 3]]>, frame: Frame) -> Result<Self> {
        let bounds = points
            .par_iter()
            .with_min_len(1 << 14)
            .fold(|| ([i32::MAX; 3], [i32::MIN; 3]), |(lo, hi), p| widen(lo, hi, *p, *p))
            .reduce_with(|a, b| widen(a.0, a.1, b.0, b.1));
        let (min, max) = bounds.unwrap_or(([0; 3], [0; 3]));
        for a in 0..3 {
            let quanta = i64::from(max[a]) - i64::from(min[a]);
            if quanta > i64::from(frame::MAX_EXTENT) {
                let (limit, quantum) = (frame::MAX_EXTENT, frame.quantum());
                let quanta = quanta as f64;
                return Err(Error::ExtentTooLarge { axis: frame::AXES[a], quanta, quantum, limit });
            }
        }
        Ok(Self { points, frame, min, max })
    }

    pub(crate) fn len(&self) -> usize {
        self.points.len()
    }
}

fn widen(lo: [i32; 3], hi: [i32; 3], a: [i32; 3], b: [i32; 3]) -> ([i32; 3], [i32; 3]) {
    (std::array::from_fn(|i| lo[i].min(a[i])), std::array::from_fn(|i| hi[i].max(b[i])))
}

/// Squared distance of two lattice points, in quanta². Exact for any two points of one [`Lattice`].
pub(crate) fn dist_sq(a: [i32; 3], b: [i32; 3]) -> u64 {
    (0..3).map(|i| u64::from(a[i].abs_diff(b[i])).pow(2)).sum()
}
