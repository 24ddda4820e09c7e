//! Columns in a buffer of the application's device.

use std::time::Instant;

use super::{Clouds, Engine, Inputs, flag_dark, inputs, kept_flags};
use crate::backend::Job;
use crate::backend::gpu::{Gpu, Marks};
use crate::cloud::PointCloud;
use crate::columns::{Columns, RawColumns};
use crate::error::{Error, Result};
use crate::extras;
use crate::features::{Feature, FeatureSet};
use crate::neighborhood::{Neighborhood, Neighbors};
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
        if self.gpu.as_ref().is_some_and(|gpu| !gpu.is_shared()) {
            return Err(not("the engine has a device of its own, which the application cannot use"));
        }
        let ((buffer, rows), mut report) =
            self.on_device(cloud, set, neighborhood, |gpu, work, report| {
                let buffer = match work {
                    Some((job, marks)) => gpu.features_on_device(job, set, marks, report)?,
                    None => gpu.no_columns()?,
                };
                Ok((buffer, cloud.len()))
            })?;
        report.seconds = start.elapsed().as_secs_f64();
        Ok((DeviceColumns { buffer, set: set.clone(), rows }, report))
    }

    /// Computes what [`features_on_device`](Self::features_on_device) does, on any GPU, and says how long that takes where
    /// the points are on the device before and the columns stay there: index, search and features without quantising, upload
    /// and download. The columns are read back afterwards, so that they can be checked.
    ///
    /// The work is repeated for a tenth of a second and then once more, which is what the report is of.
    /// [`Report::seconds`] is the wall-clock time from the first recorded command to the end of the last wait, neighbourhoods
    /// that the CPU found included; of [`Report::stages`] those that begin with `gpu` are the device's own time stamps at
    /// the beginning and end of kernels. What lies between kernels, zeroing buffers and copying counters, has none.
    ///
    /// # Errors
    /// As [`features_on_device`](Self::features_on_device), save that the device may be the engine's own;
    /// [`Error::NotOnDevice`] also where the CPU would find all neighbours; [`Error::NoTimeStamps`].
    pub fn features_timed_on_device(
        &self,
        cloud: &PointCloud<'_>,
        set: &FeatureSet,
        neighborhood: Neighborhood,
    ) -> Result<(Columns, Report)> {
        let (raw, report) = self.on_device(cloud, set, neighborhood, |gpu, work, report| match work {
            Some((job, marks)) => gpu.features_timed(job, set, marks, report),
            None => Ok(RawColumns { values: vec![Vec::new(); set.len()], flags: Vec::new() }),
        })?;
        Ok((Columns::from_raw(set, raw, &Options::default().conventions, &self.watch)?, report))
    }

    /// Finds lists of the `k` nearest points, as [`neighbors`](Self::neighbors) does, and says how long that takes where
    /// points and lists stay on the device: see [`features_timed_on_device`](Self::features_timed_on_device). Lists that
    /// the CPU found ([`Report::stragglers`]) are in the result and in its time, and not on the device.
    ///
    /// # Errors
    /// As [`features_timed_on_device`](Self::features_timed_on_device); [`Error::NotOnDevice`] also for neighbourhoods by
    /// radius.
    pub fn neighbors_timed_on_device(
        &self,
        cloud: &PointCloud<'_>,
        neighborhood: Neighborhood,
    ) -> Result<(Neighbors, Report)> {
        self.on_device(cloud, &FeatureSet::default(), neighborhood, |gpu, work, report| match work {
            Some((job, _)) => gpu.neighbors_timed(job, report),
            None => Ok(Neighbors { offsets: vec![0], ..Neighbors::default() }),
        })
    }

    /// Does on the GPU what can stay there; there is no work for a cloud without points.
    fn on_device<T>(
        &self,
        cloud: &PointCloud<'_>,
        set: &FeatureSet,
        neighborhood: Neighborhood,
        work: impl FnOnce(&Gpu, Option<(&Job<'_>, Marks<'_>)>, &mut Report) -> Result<T>,
    ) -> Result<(T, Report)> {
        let Some(gpu) = &self.gpu else {
            let why = self.fallback.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            return Err(not(&format!("the engine computes on the CPU{why}")));
        };
        let clouds = Clouds { cloud, queries: None };
        clouds.validate()?;
        check(cloud, set, neighborhood)?;
        let Inputs { attributes, color, .. } = inputs(clouds, set, &Options::default())?;
        let mut report = Report {
            features: set.iter().collect(),
            conventions: if set.is_empty() { "" } else { Options::default().conventions.name() },
            color,
            backend: "gpu",
            adapter: Some(gpu.name().to_owned()),
            ..Report::default()
        };
        let lattice = report.time("lattice", || cloud.lattice(&self.watch))?;
        clouds.describe(&lattice, &mut report);
        let rows = lattice.len();
        if rows == 0 {
            let out = work(gpu, None, &mut report)?;
            return Ok((out, report));
        }
        let mut known = vec![0; if attributes.rgb.is_some() { rows } else { 0 }];
        flag_dark(&mut known, &attributes);
        let marks = Marks { known: &known, kept: kept_flags(neighborhood, set) };
        let job = Job {
            lattice: &lattice,
            queries: None,
            attributes,
            ground: None,
            part: None,
            neighborhood,
            watch: &self.watch,
        };
        let out = work(gpu, Some((&job, marks)), &mut report)?;
        Ok((out, report))
    }
}

fn not(why: &str) -> Error {
    Error::NotOnDevice(why.to_owned())
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
