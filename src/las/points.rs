//! A file's points in batches on a lattice that may be that of many files.

use std::path::{Path, PathBuf};

use super::decode::Records;
use super::layout::Layout;
use super::read::{Raw, fields, mask_of};
use super::{Named, scale};
use crate::batch::{CloudInfo, PointBatch};
use crate::color::ColorDepth;
use crate::error::{Error, Result};
use crate::frame::{self, Frame, MAX_EXTENT};
use crate::unit::{Unit, Units};

/// Which points of files are left out, and what is known of them better than the files say.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct PointChoices {
    /// Points of these classes are left out of neighbourhoods.
    pub ignore_classes: Vec<u8>,
    /// Points that are flagged as deleted are left out of neighbourhoods.
    pub skip_withheld: bool,
    /// Unit of the coordinates, if it is not what the file's reference system says.
    pub unit: Option<Unit>,
    /// How colours and near-infrared are recorded, if that shall not be recognised from the values.
    pub color_depth: Option<ColorDepth>,
}

impl PointChoices {
    /// Leaves points of these classes out of neighbourhoods.
    #[must_use]
    pub fn ignore_classes(mut self, classes: impl IntoIterator<Item = u8>) -> Self {
        self.ignore_classes = classes.into_iter().collect();
        self
    }

    /// Leaves points that are flagged as deleted out of neighbourhoods.
    #[must_use]
    pub fn skip_withheld(mut self, yes: bool) -> Self {
        self.skip_withheld = yes;
        self
    }

    /// States the coordinates' unit.
    #[must_use]
    pub fn unit(mut self, unit: Unit) -> Self {
        self.unit = Some(unit);
        self
    }

    /// States the depth of colours and near-infrared.
    #[must_use]
    pub fn color_depth(mut self, depth: ColorDepth) -> Self {
        self.color_depth = Some(depth);
        self
    }

    /// What all points of a cloud on this lattice share, if its files' units are those.
    pub(crate) fn info(&self, frame: Frame, of_file: Units) -> CloudInfo {
        let units = self.unit.map_or(of_file, Units::given);
        CloudInfo { frame, units, depth: self.color_depth }
    }
}

/// What a file's header says of its points.
#[derive(Debug, Clone)]
pub(crate) struct FileHead {
    pub(crate) path: PathBuf,
    pub(crate) points: u64,
    pub(crate) units: Units,
    pub(crate) unit_note: Option<String>,
    /// Bytes of a record.
    pub(crate) record_length: usize,
    pub(super) scale: [f64; 3],
    pub(super) offset: [f64; 3],
    bounds: [[f64; 3]; 2],
}

impl FileHead {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Ok(Self::of(path, &Records::open_for(path, fields())?))
    }

    fn of(path: &Path, records: &Records) -> Self {
        let header = records.header();
        Self {
            path: path.to_owned(),
            points: header.points,
            units: header.units.units(),
            unit_note: header.units.note.clone(),
            record_length: header.record_length,
            scale: header.scale,
            offset: header.offset,
            bounds: header.bounds,
        }
    }

    pub(super) fn named(&self) -> Named {
        Named::new(&self.path)
    }

    /// Least record on an axis, by the header's bounds.
    fn least_record(&self, axis: usize) -> f64 {
        let record = |end: usize| ((self.bounds[end][axis] - self.offset[axis]) / self.scale[axis]).round();
        record(0).min(record(1))
    }

    /// The header's bounds in quanta, a quantum wider for its rounding.
    ///
    /// # Errors
    /// [`Error::Las`] if they are no numbers, or in the wrong order.
    pub(crate) fn bounds(&self, frame: &Frame) -> Result<[[i64; 3]; 2]> {
        let [low, high] = self.bounds;
        if !(0..3).all(|a| low[a].is_finite() && high[a].is_finite() && low[a] <= high[a]) {
            let message =
                format!("the header's bounds are {low:?} to {high:?}: they must be right for tiles");
            return Err(self.named().bad(message));
        }
        let quanta = |v: f64, a: usize| (v - frame.origin()[a]) / frame.quantum();
        Ok([
            std::array::from_fn(|a| quanta(low[a], a).floor() as i64 - 1),
            std::array::from_fn(|a| quanta(high[a], a).ceil() as i64 + 1),
        ])
    }
}

/// How a file's records become lattice coordinates: `record * multiple + shift`, per axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Placing {
    pub(super) multiples: [i64; 3],
    pub(super) shift: [i64; 3],
}

impl Placing {
    fn place(&self, record: [i32; 3]) -> [i64; 3] {
        std::array::from_fn(|a| i64::from(record[a]) * self.multiples[a] + self.shift[a])
    }
}

/// One lattice for all files, and how each one's records are placed on it.
///
/// The quantum is the coarsest that represents all scales and the differences of offsets. The origin is the offset of the first
/// file; on an axis whose scale there is not the quantum, that file's least coordinate, by its header.
///
/// # Errors
/// [`Error::TilesDiffer`] with two files that have no such quantum, or whose units differ; [`Error::Las`] for a single one.
pub(crate) fn common_lattice(files: &[FileHead]) -> Result<(Frame, Vec<Placing>)> {
    let Some(first) = files.first() else { return Ok((Frame::new([0.0; 3], 0.01)?, Vec::new())) };
    let quantum = common_quantum(files)?;
    let multiples = scale::multiples(first.scale, quantum);
    let base: [i64; 3] = std::array::from_fn(|a| match multiples[a] {
        1 => 0,
        _ => first.least_record(a) as i64,
    });
    let origin = std::array::from_fn(|a| first.offset[a] + base[a] as f64 * first.scale[a]);
    let placing = |file: &FileHead| {
        let between = |a: usize| ((file.offset[a] - first.offset[a]) / quantum).round() as i64;
        let shift = |a: usize| between(a).saturating_sub(base[a].saturating_mul(multiples[a]));
        Placing { multiples: scale::multiples(file.scale, quantum), shift: std::array::from_fn(shift) }
    };
    Ok((Frame::new(origin, quantum)?, files.iter().map(placing).collect()))
}

fn common_quantum(files: &[FileHead]) -> Result<f64> {
    // Most files of a survey have one scale and one offset.
    let mut kinds: Vec<&FileHead> = Vec::new();
    for file in files {
        let same =
            |kind: &&FileHead| (kind.scale, kind.offset, kind.units) == (file.scale, file.offset, file.units);
        if !kinds.iter().any(same) {
            kinds.push(file);
        }
    }
    let differ = |a: &FileHead, b: &FileHead, message: String| Error::TilesDiffer {
        files: [a, b].map(|f| f.path.display().to_string()),
        message,
    };
    for kind in &kinds[1..] {
        let [a, b] = [kinds[0], *kind].map(|f| [f.units.horizontal, f.units.vertical]);
        if a != b {
            return Err(differ(
                kinds[0],
                kind,
                format!("units are {}, {} and {}, {}", a[0], a[1], b[0], b[1]),
            ));
        }
    }
    let of = |kinds: &[&FileHead]| {
        let scales = kinds.iter().flat_map(|f| f.scale);
        let first = kinds[0];
        let difference = |f: &FileHead, a: usize| {
            (f.offset[a] - first.offset[a], f.offset[a].abs().max(first.offset[a].abs()))
        };
        let differences = kinds.iter().flat_map(|f| (0..3).map(move |a| difference(f, a)));
        scale::quantum(scales, differences.collect::<Vec<_>>().into_iter())
    };
    let misfit = (1..=kinds.len()).find(|&n| of(&kinds[..n]).is_none());
    match (misfit, of(&kinds)) {
        (None, Some(quantum)) => Ok(quantum),
        (misfit, _) => {
            let last = kinds[misfit.unwrap_or(1) - 1];
            let with_last = |other: &&&FileHead| of(&[**other, last]).is_none();
            let other = kinds.iter().find(with_last).copied().unwrap_or(kinds[0]);
            let text = |f: &FileHead| format!("scale {:?} and offset {:?}", f.scale, f.offset);
            match std::ptr::eq(other, last) {
                true => Err(last.named().bad(format!("no quantum represents scale {:?}", last.scale))),
                false => Err(differ(other, last, format!("{} against {}", text(other), text(last)))),
            }
        }
    }
}

/// Reads a file's points batch by batch.
pub(crate) struct PointReader {
    records: Records,
    layout: Layout,
    placing: Placing,
    ignore_classes: Vec<u8>,
    skip_withheld: bool,
    bytes: Vec<u8>,
    done: u64,
}

impl PointReader {
    pub(crate) fn open(path: &Path, placing: Placing, choices: &PointChoices) -> Result<Self> {
        let records = Records::open_for(path, fields())?;
        Ok(Self {
            layout: records.header().layout,
            records,
            placing,
            ignore_classes: choices.ignore_classes.clone(),
            skip_withheld: choices.skip_withheld,
            bytes: Vec::new(),
            done: 0,
        })
    }

    /// Points of the file, and those read.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.done, self.records.header().points)
    }

    /// The next points, `most` at most; none are left when it is empty.
    pub(crate) fn next(&mut self, most: u64) -> Result<PointBatch> {
        let (done, points) = self.progress();
        let n = self.records.next_batch(most.min(points - done), &mut self.bytes)?;
        if n == 0 && done < points {
            return Err(self.records.named().bad(format!("{points} points are promised, {done} are there")));
        }
        self.done += n;
        let mut raw = Raw::new(self.layout);
        let fits = raw.reserve(n as usize);
        fits.map_err(|e| self.records.named().bad(format!("no memory for {n} points after {done}: {e}")))?;
        raw.push(&self.bytes, self.records.header().record_length, self.layout);
        let Raw { mut xyz, rgb, nir, intensity, classification, withheld } = raw;
        for p in &mut xyz {
            let place = self.placing.place(*p);
            *p = [self.fit(place, 0)?, self.fit(place, 1)?, self.fit(place, 2)?];
        }
        let ignores = self.skip_withheld || !self.ignore_classes.is_empty();
        let ignored =
            ignores.then(|| mask_of(&self.ignore_classes, self.skip_withheld, &classification, &withheld));
        Ok(PointBatch {
            points: xyz,
            rgb,
            nir,
            intensity: Some(intensity),
            classification: Some(classification),
            ground: None,
            ignored,
        })
    }

    fn fit(&self, place: [i64; 3], axis: usize) -> Result<i32> {
        i32::try_from(place[axis]).map_err(|_| {
            let (name, quanta) = (frame::AXES[axis], place[axis]);
            let text = format!("{name} is {quanta} quanta from the common origin, more than {MAX_EXTENT}");
            self.records.named().bad(text)
        })
    }
}
