//! Points in batches: what leaves a file or an iterator at a time, and what parts of a cloud are made of.

use crate::cloud::PointCloud;
use crate::color::ColorDepth;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::unit::{Unit, Units};

/// Some points of a cloud, in its order, on the lattice of [`CloudInfo::frame`].
///
/// Every batch of a cloud has the same columns, each of one value a point. They mean what they mean in a
/// [`PointCloud`].
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct PointBatch {
    /// Lattice coordinates.
    pub points: Vec<[i32; 3]>,
    /// Red, green and blue as recorded.
    pub rgb: Option<[Vec<u16>; 3]>,
    /// Near-infrared as recorded.
    pub nir: Option<Vec<u16>>,
    /// Intensity as recorded.
    pub intensity: Option<Vec<u16>>,
    /// Classes as recorded, which say what is ground unless `ground` does.
    pub classification: Option<Vec<u8>>,
    /// Which points are ground.
    pub ground: Option<Vec<bool>>,
    /// Points that are left out of neighbourhoods.
    pub ignored: Option<Vec<bool>>,
}

impl PointBatch {
    /// Number of points.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// An empty batch with the same columns.
    pub(crate) fn like(&self) -> Self {
        Self {
            points: Vec::new(),
            rgb: self.rgb.as_ref().map(|_| Default::default()),
            nir: self.nir.as_ref().map(|_| Vec::new()),
            intensity: self.intensity.as_ref().map(|_| Vec::new()),
            classification: self.classification.as_ref().map(|_| Vec::new()),
            ground: self.ground.as_ref().map(|_| Vec::new()),
            ignored: self.ignored.as_ref().map(|_| Vec::new()),
        }
    }

    /// The points at these indices, in their order.
    pub(crate) fn gather(&self, at: &[u32]) -> Self {
        fn pick<T: Copy>(values: &[T], at: &[u32]) -> Vec<T> {
            at.iter().map(|&i| values[i as usize]).collect()
        }
        Self {
            points: pick(&self.points, at),
            rgb: self.rgb.as_ref().map(|rgb| rgb.each_ref().map(|c| pick(c, at))),
            nir: self.nir.as_ref().map(|c| pick(c, at)),
            intensity: self.intensity.as_ref().map(|c| pick(c, at)),
            classification: self.classification.as_ref().map(|c| pick(c, at)),
            ground: self.ground.as_ref().map(|c| pick(c, at)),
            ignored: self.ignored.as_ref().map(|c| pick(c, at)),
        }
    }

    /// Adds the points of another batch of the same columns.
    #[cfg_attr(not(feature = "las"), allow(dead_code))] // Tiles are files.
    pub(crate) fn append(&mut self, mut more: Self) {
        fn join<T>(own: &mut Option<Vec<T>>, more: &mut Option<Vec<T>>) {
            if let (Some(own), Some(more)) = (own, more) {
                own.append(more);
            }
        }
        self.points.append(&mut more.points);
        if let (Some(own), Some(more)) = (&mut self.rgb, &mut more.rgb) {
            own.iter_mut().zip(more).for_each(|(own, more)| own.append(more));
        }
        join(&mut self.nir, &mut more.nir);
        join(&mut self.intensity, &mut more.intensity);
        join(&mut self.classification, &mut more.classification);
        join(&mut self.ground, &mut more.ground);
        join(&mut self.ignored, &mut more.ignored);
    }

    /// Whether point `i` is in no neighbourhood.
    pub(crate) fn is_ignored(&self, i: usize) -> bool {
        self.ignored.as_ref().is_some_and(|ignored| ignored[i])
    }

    /// Which columns there are, a bit each.
    pub(crate) fn columns(&self) -> u8 {
        let there = [
            self.rgb.is_some(),
            self.nir.is_some(),
            self.intensity.is_some(),
            self.classification.is_some() || self.ground.is_some(),
        ];
        there.iter().enumerate().map(|(bit, there)| u8::from(*there) << bit).sum()
    }

    /// The points as a cloud.
    pub(crate) fn cloud(&self, info: &CloudInfo) -> PointCloud<'_> {
        let mut cloud = PointCloud::from_lattice(&self.points, info.frame).with_units(info.units);
        if let Some([red, green, blue]) = &self.rgb {
            cloud = cloud.with_rgb(red, green, blue);
        }
        if let Some(nir) = &self.nir {
            cloud = cloud.with_nir(nir);
        }
        if let Some(intensity) = &self.intensity {
            cloud = cloud.with_intensity(intensity);
        }
        if let Some(classes) = &self.classification {
            cloud = cloud.with_classification(classes);
        }
        if let Some(ground) = &self.ground {
            cloud = cloud.with_ground(ground);
        }
        if let Some(ignored) = &self.ignored {
            cloud = cloud.ignoring(ignored);
        }
        (cloud.rgb_depth, cloud.nir_depth) = (info.depth, info.depth);
        cloud
    }

    /// Refuses columns of different length.
    pub(crate) fn validate(&self, info: &CloudInfo) -> Result<()> {
        self.cloud(info).validate()
    }
}

/// What all batches of a cloud share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CloudInfo {
    pub(crate) frame: Frame,
    pub(crate) units: Units,
    pub(crate) depth: Option<ColorDepth>,
}

impl CloudInfo {
    /// A cloud on the lattice of this frame, in metres.
    pub fn new(frame: Frame) -> Self {
        Self { frame, units: Units::default(), depth: None }
    }

    /// States the coordinates' unit, as [`PointCloud::with_unit`].
    #[must_use]
    pub fn unit(mut self, unit: Unit) -> Self {
        self.units = Units::given(unit);
        self
    }

    /// States the depth of colours and near-infrared, as [`PointCloud::with_color_depth`].
    #[must_use]
    pub fn color_depth(mut self, depth: ColorDepth) -> Self {
        self.depth = Some(depth);
        self
    }

    /// The lattice.
    pub fn frame(&self) -> Frame {
        self.frame
    }
}

/// Refuses a batch that has other columns than the first.
pub(crate) fn check_columns(first: &mut Option<u8>, batch: &PointBatch) -> Result<()> {
    let own = batch.columns();
    match *first.get_or_insert(own) == own {
        true => Ok(()),
        false => Err(Error::BatchesDiffer),
    }
}
