//! A file's points as columns.

use std::collections::TryReserveError;
use std::path::Path;

use laz::DecompressionSelection;

use super::decode::Records;
use super::layout::{INTENSITY, Layout, i32_at, u16_at};
use super::{Watch, report, scale};
use crate::cloud::{MAX_POINTS, PointCloud};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::unit::Units;

/// What to read of a file.
#[derive(Clone, Copy, Default)]
#[non_exhaustive]
pub struct ReadOptions<'a> {
    /// Read the first so many points only.
    pub limit: Option<u64>,
    /// Called after each batch.
    pub watch: Option<Watch<'a>>,
}

impl<'a> ReadOptions<'a> {
    /// Reads the first `points` points only.
    #[must_use]
    pub fn limit(mut self, points: u64) -> Self {
        self.limit = Some(points);
        self
    }

    /// Has `watch` called after each batch.
    #[must_use]
    pub fn watch(mut self, watch: Watch<'a>) -> Self {
        self.watch = Some(watch);
        self
    }
}

/// The points of a LAS/LAZ file as columns, in the file's order.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LasCloud {
    coordinates: Coordinates,
    /// Red, green and blue as recorded, if the point format has them (they may be all zero).
    pub rgb: Option<[Vec<u16>; 3]>,
    /// Near-infrared as recorded, if the point format has it (it may be all zero).
    pub nir: Option<Vec<u16>>,
    /// Intensity as recorded.
    pub intensity: Vec<u16>,
    /// ASPRS class, without the flags that formats below 6 keep beside it.
    pub classification: Vec<u8>,
    /// Whether a point's flags say that it is deleted.
    pub withheld: Vec<bool>,
    /// What the coordinate reference system says of units and [`Unit`](crate::Unit) cannot, in a sentence.
    pub unit_note: Option<String>,
    units: Units,
}

#[derive(Debug, Clone, PartialEq)]
enum Coordinates {
    Lattice(Vec<[i32; 3]>, Frame),
    World(Vec<[f64; 3]>),
}

impl LasCloud {
    /// The cloud with its classes and channels, for an [`Engine`](crate::Engine). Its unit is that of the file's coordinate reference system: GeoTIFF
    /// keys or well-known text. Where that states none, metres are assumed.
    pub fn cloud(&self) -> PointCloud<'_> {
        let mut cloud = match &self.coordinates {
            Coordinates::Lattice(points, frame) => PointCloud::from_lattice(points, *frame),
            Coordinates::World(points) => PointCloud::from_f64(points),
        };
        if let Some([red, green, blue]) = &self.rgb {
            cloud = cloud.with_rgb(red, green, blue);
        }
        if let Some(nir) = &self.nir {
            cloud = cloud.with_nir(nir);
        }
        cloud.with_intensity(&self.intensity).with_classification(&self.classification).with_units(self.units)
    }

    /// Which points have one of these classes or, if `withheld`, are flagged as deleted: for
    /// [`PointCloud::ignoring`]. `None` if there is no such point.
    pub fn ignored(&self, classes: &[u8], withheld: bool) -> Option<Vec<bool>> {
        let ignored = mask_of(classes, withheld, &self.classification, &self.withheld);
        ignored.contains(&true).then_some(ignored)
    }

    /// Lattice coordinates and their frame: the file's integers minus one integer per axis, times one where the
    /// axes' scales differ. `None` if no quantum represents all three scales; the cloud then has f64 coordinates.
    pub fn lattice(&self) -> Option<(&[[i32; 3]], Frame)> {
        match &self.coordinates {
            Coordinates::Lattice(points, frame) => Some((points, *frame)),
            Coordinates::World(_) => None,
        }
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.intensity.len()
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.intensity.is_empty()
    }
}

/// Reads all points of a LAS/LAZ file.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::Las`] if it is damaged,
/// forged or of another kind, [`Error::TooManyPoints`].
pub fn read(path: impl AsRef<Path>) -> Result<LasCloud> {
    read_with(path, &ReadOptions::default())
}

/// Reads points of a LAS/LAZ file.
///
/// # Errors
/// As [`read`]; [`Error::Cancelled`] if the watch breaks.
pub fn read_with(path: impl AsRef<Path>, options: &ReadOptions<'_>) -> Result<LasCloud> {
    let mut records = Records::open_for(path.as_ref(), fields())?;
    let layout = records.header().layout;
    let length = records.header().record_length;
    let all = records.header().points.min(options.limit.unwrap_or(u64::MAX));
    if all > MAX_POINTS as u64 {
        return Err(Error::TooManyPoints {
            points: usize::try_from(all).unwrap_or(usize::MAX),
            limit: MAX_POINTS,
        });
    }
    let mut columns = Raw::new(layout);
    let mut batch = Vec::new();
    let mut done = 0;
    report(options.watch, 0, all)?;
    while done < all {
        let n = records.next_batch(all - done, &mut batch)?;
        if n == 0 {
            return Err(records.named().bad(format!("{all} points are promised, {done} are there")));
        }
        let fits = columns.reserve(n as usize);
        fits.map_err(|e| {
            records.named().bad(format!("no memory for {n} points after {done} of {all}: {e}"))
        })?;
        columns.push(&batch, length, layout);
        done += n;
        report(options.watch, done, all)?;
    }
    columns.finish(&records)
}

/// Which points have one of `classes` or, if `withheld`, are deleted.
pub(super) fn mask_of(classes: &[u8], withheld: bool, of_points: &[u8], deleted: &[bool]) -> Vec<bool> {
    let is_ignored = |(class, deleted): (&u8, &bool)| classes.contains(class) || (withheld && *deleted);
    of_points.iter().zip(deleted).map(is_ignored).collect()
}

/// All fields but the time: no column needs it, and laz' decoder of it is the one that overruns stacks.
pub(super) fn fields() -> DecompressionSelection {
    DecompressionSelection::all().skip_gps_time()
}

/// Columns as recorded; they grow as records decode.
pub(super) struct Raw {
    pub(super) xyz: Vec<[i32; 3]>,
    pub(super) rgb: Option<[Vec<u16>; 3]>,
    pub(super) nir: Option<Vec<u16>>,
    pub(super) intensity: Vec<u16>,
    pub(super) classification: Vec<u8>,
    pub(super) withheld: Vec<bool>,
}

impl Raw {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            xyz: Vec::new(),
            rgb: layout.rgb.map(|_| Default::default()),
            nir: layout.nir.map(|_| Vec::new()),
            intensity: Vec::new(),
            classification: Vec::new(),
            withheld: Vec::new(),
        }
    }

    /// Makes room as records decode. A few bytes can decode to billions of equal points: that must end in an error.
    pub(super) fn reserve(&mut self, more: usize) -> Result<(), TryReserveError> {
        self.xyz.try_reserve(more)?;
        self.intensity.try_reserve(more)?;
        self.classification.try_reserve(more)?;
        self.withheld.try_reserve(more)?;
        self.rgb.iter_mut().flatten().chain(&mut self.nir).try_for_each(|column| column.try_reserve(more))
    }

    pub(super) fn push(&mut self, batch: &[u8], length: usize, layout: Layout) {
        let records = || batch.chunks_exact(length);
        self.xyz.extend(records().map(|r| [i32_at(r, 0), i32_at(r, 4), i32_at(r, 8)]));
        self.intensity.extend(records().map(|r| u16_at(r, INTENSITY)));
        self.classification.extend(records().map(|r| r[layout.classification] & layout.class_mask));
        let (byte, bit) = layout.withheld;
        self.withheld.extend(records().map(|r| r[byte] & bit != 0));
        if let (Some(at), Some(rgb)) = (layout.rgb, &mut self.rgb) {
            for (channel, column) in rgb.iter_mut().enumerate() {
                column.extend(records().map(|r| u16_at(r, at + 2 * channel)));
            }
        }
        if let (Some(at), Some(nir)) = (layout.nir, &mut self.nir) {
            nir.extend(records().map(|r| u16_at(r, at)));
        }
    }

    fn finish(self, records: &Records) -> Result<LasCloud> {
        let Self { xyz, rgb, nir, intensity, classification, withheld } = self;
        let coordinates = coordinates(xyz, records)?;
        let stated = &records.header().units;
        let (units, unit_note) = (stated.units(), stated.note.clone());
        if let Some(note) = &unit_note {
            tracing::warn!("{note}");
        }
        if units.horizontal != units.vertical {
            tracing::warn!(
                "x and y are in {}, z in {}: shapes are distorted",
                units.horizontal,
                units.vertical
            );
        }
        Ok(LasCloud { coordinates, rgb, nir, intensity, classification, withheld, unit_note, units })
    }
}

fn coordinates(mut xyz: Vec<[i32; 3]>, records: &Records) -> Result<Coordinates> {
    let (scale, offset) = (records.header().scale, records.header().offset);
    let (mut min, mut max) = ([i32::MAX; 3], [i32::MIN; 3]);
    for p in &xyz {
        for a in 0..3 {
            min[a] = min[a].min(p[a]);
            max[a] = max[a].max(p[a]);
        }
    }
    if xyz.is_empty() {
        (min, max) = ([0; 3], [0; 3]);
    }
    let exact = scale::common(scale)
        .and_then(|(quantum, multiples)| Some((quantum, multiples, scale::bases(multiples, min, max)?)));
    let Some((quantum, multiples, base)) = exact else {
        tracing::warn!(?scale, "no quantum represents the three axes; coordinates become f64");
        let world = |p: &[i32; 3]| std::array::from_fn(|a| offset[a] + f64::from(p[a]) * scale[a]);
        return Ok(Coordinates::World(xyz.iter().map(world).collect()));
    };
    if multiples != [1; 3] {
        for p in &mut xyz {
            // Bounded by `bases`: the widest extent times its multiple is an i32.
            *p = std::array::from_fn(|a| ((i64::from(p[a]) - i64::from(base[a])) * multiples[a]) as i32);
        }
    }
    let origin = std::array::from_fn(|a| offset[a] + f64::from(base[a]) * scale[a]);
    Ok(Coordinates::Lattice(xyz, Frame::new(origin, quantum)?))
}
