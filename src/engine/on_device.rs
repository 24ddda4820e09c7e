//! Columns in a buffer of the application's device.

use std::time::Instant;

use super::{Clouds, Engine, Inputs, flag_dark, inputs, kept_flags};
use crate::backend::Job;
use crate::backend::gpu::Marks;
use crate::cloud::PointCloud;
use crate::error::{Error, Result};
use crate::extras;
use crate::features::{Feature, FeatureSet};
use crate::neighborhood::Neighborhood;
use crate::options::Options;
use crate::report::Report;

/// Columns in GPU memory, on the device that the application shared ([`Engine::from_device`]).
///
/// The buffer is an array of 32-bit words, one column after the other without a gap:
///
/// | words | content |
/// |---|---|
/// | `0 .. n` | [`Flags`](crate::Flags) of points 0 to n − 1, `u32` |
/// | `n (1 + j) .. n (2 + j)` | values of feature number `j` of the set, `f32` |
///
/// Rows are in the cloud's order, `n` is its number of points, and a column's stride is four bytes. In WGSL,
/// `bitcast<f32>(columns[n * (1u + j) + i])` on a binding of type `array<u32>` reads feature `j` of point `i`, with a binding of
/// type `array<f32>` the bitcast is the flags'. The values are those of [`Engine::features`], bit for bit on this device:
/// where a feature is undefined they are NaN (`0x7fc00000`). WGSL lets compilers assume that there is no NaN, so shaders
/// tell undefined values by these bits or by the flags, not by comparing floats.
///
/// The buffer's usages are `STORAGE`, `COPY_SRC` and `COPY_DST`. It may be larger than [`bytes`](Self::bytes), so bind
/// [`binding`](Self::binding) or a part of it. It is the application's: the engine neither reads nor reuses it.
#[derive(Debug, Clone)]
pub struct DeviceColumns {
    buffer: wgpu::Buffer,
    set: FeatureSet,
    rows: usize,
}

impl DeviceColumns {
    /// The buffer.
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The features, in the order of their columns.
    pub fn features(&self) -> impl Iterator<Item = Feature> + '_ {
        self.set.iter()
    }

    /// Bytes of flags and columns.
    pub fn bytes(&self) -> u64 {
        self.column_bytes() * (1 + self.set.len() as u64)
    }

    /// Bytes of one column.
    pub fn column_bytes(&self) -> u64 {
        self.rows as u64 * 4
    }

    /// Where a feature's column begins, in bytes, if it was asked for. Bindings begin at multiples of the device's
    /// `min_storage_buffer_offset_alignment`, so bind all and begin at a word in the shader.
    pub fn offset(&self, feature: Feature) -> Option<u64> {
        let at = self.set.iter().position(|own| own == feature)?;
        Some(self.column_bytes() * (1 + at as u64))
    }

    /// Flags and columns, to be bound; the whole buffer of a cloud without points.
    pub fn binding(&self) -> wgpu::BindingResource<'_> {
        let size = std::num::NonZeroU64::new(self.bytes());
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: &self.buffer, offset: 0, size })
    }
}

impl Engine {
    /// Computes `set` for every point of `cloud` and leaves the columns on the application's device, for a renderer or a
    /// compute pass of its own. The values are those of [`features`](Self::features).
    ///
    /// When this returns the columns are there, for whatever the application then submits to its queue.
    ///
    /// ```no_run
    /// # use lidar_features::{Engine, Feature, FeatureSet, Neighborhood, PointCloud, wgpu};
    /// # fn colour(device: wgpu::Device, queue: wgpu::Queue, points: &[[f64; 3]]) -> Result<(), lidar_features::Error> {
    /// let engine = Engine::from_device(device, queue)?;
    /// let set = FeatureSet::parse("planarity")?;
    /// let cloud = PointCloud::from_f64(points);
    /// let (columns, _) = engine.features_on_device(&cloud, &set, Neighborhood::knn(20)?)?;
    /// let entry = wgpu::BindGroupEntry { binding: 0, resource: columns.binding() };
    /// let first_word = columns.offset(Feature::Planarity).map(|bytes| bytes / 4);
    /// # let _ = (entry, first_word);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`features`](Self::features) with [`Backend::Gpu`](crate::Backend::Gpu), since the CPU cannot take over; and
    /// [`Error::NotOnDevice`] where
    /// * the engine has a device of its own, or none;
    /// * the cloud is more than one chunk (the message says how many points fit), or leaves points out of neighbourhoods;
    /// * the neighbourhood is the optimal one, or a feature takes more than one pass: one that needs every member, the optimal
    ///   neighbourhood, heights or counts (the message names it).
    pub fn features_on_device(
        &self,
        cloud: &PointCloud<'_>,
        set: &FeatureSet,
        neighborhood: Neighborhood,
    ) -> Result<(DeviceColumns, Report)> {
        let start = Instant::now();
        let not = |why: &str| Error::NotOnDevice(why.to_owned());
        let gpu = match &self.gpu {
            Some(gpu) if gpu.is_shared() => gpu,
            Some(_) => {
                return Err(not("the engine has a device of its own, which the application cannot use"));
            }
            None => return Err(not("the engine computes on the CPU")),
        };
        let clouds = Clouds { cloud, queries: None };
        clouds.validate()?;
        check(cloud, set, neighborhood)?;
        let Inputs { attributes, color, .. } = inputs(clouds, set, &Options::default())?;
        let mut report = Report {
            features: set.iter().collect(),
            conventions: Options::default().conventions.name(),
            color,
            backend: "gpu",
            adapter: Some(gpu.name().to_owned()),
            ..Report::default()
        };
        let lattice = report.time("lattice", || cloud.lattice())?;
        clouds.describe(&lattice, &mut report);
        let rows = lattice.len();
        let buffer = if rows == 0 {
            gpu.no_columns()?
        } else {
            let mut known = vec![0; if attributes.rgb.is_some() { rows } else { 0 }];
            flag_dark(&mut known, &attributes);
            let marks = Marks { known: &known, kept: kept_flags(neighborhood, set) };
            let lattice = &lattice;
            let job = Job {
                lattice,
                queries: None,
                attributes,
                ground: None,
                part: None,
                neighborhood,
                watch: &self.watch,
            };
            gpu.features_on_device(&job, set, marks, &mut report)?
        };
        report.seconds = start.elapsed().as_secs_f64();
        Ok((DeviceColumns { buffer, set: set.clone(), rows }, report))
    }
}

/// Refuses what one pass over one chunk does not compute.
fn check(cloud: &PointCloud<'_>, set: &FeatureSet, neighborhood: Neighborhood) -> Result<()> {
    let passes =
        |f: &Feature| FeatureSet::new([*f]).members().any() || f.is_of_optimal() || extras::has_any(*f);
    if let Some(feature) = set.iter().find(passes) {
        return Err(Error::NotOnDevice(format!("{feature} takes more than one pass")));
    }
    if matches!(neighborhood, Neighborhood::Optimal { .. }) {
        return Err(Error::NotOnDevice("the optimal neighbourhood takes more than one pass".to_owned()));
    }
    let ignored = cloud.ignored.map_or(0, |ignored| ignored.iter().filter(|out| **out).count());
    if ignored > 0 {
        let all = cloud.len();
        return Err(Error::NotOnDevice(format!("{ignored} of {all} points are left out of neighbourhoods")));
    }
    Ok(())
}
