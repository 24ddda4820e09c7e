//! Tiles of one survey: the columns of each tile are those of all tiles taken as one cloud, to the bit.
//!
//! [`Tiles`] looks at the headers of a survey's files, [`Tile`] computes the columns of one of them. Of the tiles around it, it
//! reads the points within a margin only, which grows until every row is proved: whatever its values depend on lies no farther than the margin's
//! edge. What depends on the whole cloud (its lowest point, the depth of its colours, whether a channel is dark) is looked up
//! in all tiles, if the tile itself does not show it.
//!
//! * **Order.** The cloud's points are those of the tiles sorted by file name (then by path), each in the file's order; so ties
//!   between equal distances break alike whichever tile is computed.
//! * **Lattice.** Its quantum is the coarsest that represents the scales of all tiles and the differences of their
//!   offsets. Its origin, where the cells of `bin_count` begin, is the offset of the tile that is first by name, of all that
//!   are named; on an axis whose scale there is not the quantum, that tile's least coordinate by its header.
//! * **Headers** are believed as to bounds: tiles whose box the margin does not touch are not read. Those that are read must
//!   keep to them.
//! * **Exactness** holds on one device: columns computed on the CPU equal those of the whole cloud on the CPU, and likewise on one GPU.
//!
//! ```no_run
//! use lidar_features::las::{PointChoices, write_with_columns, WriteOptions};
//! use lidar_features::{Engine, FeatureSet, Neighborhood, Options, tiles::Tiles};
//!
//! let tiles = Tiles::open(["a_1.laz", "a_2.laz", "b_1.laz", "b_2.laz"], PointChoices::default())?;
//! let set = FeatureSet::parse("normals,planarity")?;
//! let tile = tiles.read("a_2.laz")?;
//! let (columns, report) =
//!     tile.features(&Engine::new()?, &set, &[Neighborhood::knn(20)?], &Options::default())?;
//! write_with_columns("a_2.laz", "out/a_2.laz", &columns, &WriteOptions::default())?;
//! # Ok::<(), lidar_features::Error>(())
//! ```

mod loader;
mod survey;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use self::loader::TileLoader;
use self::survey::Surveyed;
use crate::batch::{CloudInfo, PointBatch};
use crate::columns::Columns;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::features::{Feature, FeatureSet};
use crate::frame::Frame;
use crate::las::{
    FileHead, Named, Placing, PointChoices, PointReader, Watch, common_lattice, report, same_file,
};
use crate::neighborhood::Neighborhood;
use crate::options::Options;
use crate::part::{Needs, Part, PartJob, PartOf, Whole, XyBox};
use crate::report::Report;

/// Bits of a point's number that count records; the others count tiles.
const RECORD_BITS: u32 = 40;

/// Records read at a time.
const BATCH: u64 = 1 << 18;

/// The files of a survey, by their headers.
pub struct Tiles<'a> {
    files: Vec<File>,
    frame: Frame,
    choices: PointChoices,
    watch: Option<Watch<'a>>,
    surveyed: Mutex<Option<Surveyed>>,
}

impl std::fmt::Debug for Tiles<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tiles")
            .field("files", &self.files.len())
            .field("frame", &self.frame)
            .finish_non_exhaustive()
    }
}

/// One of them.
struct File {
    head: FileHead,
    placing: Placing,
    /// What the header says of x and y; empty if there is no point.
    bounds: XyBox,
}

impl<'a> Tiles<'a> {
    /// Looks at the headers of these files. A file that is named twice counts once.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Las`] of a file that cannot be used, [`Error::TilesDiffer`] of two that have no lattice in
    /// common.
    pub fn open<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>, choices: PointChoices) -> Result<Self> {
        let mut paths: Vec<PathBuf> = paths.into_iter().map(|p| p.as_ref().to_owned()).collect();
        paths.sort_by(|a, b| (a.file_name(), a).cmp(&(b.file_name(), b)));
        let mut unique: Vec<PathBuf> = Vec::with_capacity(paths.len());
        for path in paths {
            // The same file has the same name, but for links: those are looked for among neighbours in the order only.
            if !unique
                .iter()
                .rev()
                .take_while(|u| u.file_name() == path.file_name())
                .any(|u| same_file(u, &path))
            {
                unique.push(path);
            }
        }
        let heads = unique.iter().map(|path| FileHead::open(path)).collect::<Result<Vec<_>>>()?;
        let (frame, placings) = common_lattice(&heads)?;
        let file = |(head, placing): (FileHead, Placing)| {
            let bounds = match head.points {
                0 => XyBox::NONE,
                _ => {
                    let [low, high] = head.bounds(&frame)?;
                    XyBox { low: [low[0], low[1]], high: [high[0], high[1]] }
                }
            };
            Ok(File { head, placing, bounds })
        };
        let files = heads.into_iter().zip(placings).map(file).collect::<Result<_>>()?;
        Ok(Self { files, frame, choices, watch: None, surveyed: Mutex::new(None) })
    }

    /// Has `watch` called after each batch that is read of a file, of those too of which only a margin is taken.
    #[must_use]
    pub fn watch(mut self, watch: Watch<'a>) -> Self {
        self.watch = Some(watch);
        self
    }

    /// The files in the cloud's order.
    pub fn paths(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.files.iter().map(|file| file.head.path.as_path())
    }

    /// The lattice of all tiles.
    pub fn frame(&self) -> Frame {
        self.frame
    }

    /// Reads the points of one of the files.
    ///
    /// # Errors
    /// [`Error::Las`] if it is none of them, is damaged, or has points outside the header's bounds; [`Error::Io`]; [`Error::Cancelled`]
    /// if the watch breaks.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Tile<'_>> {
        let path = path.as_ref();
        let named = |file: &File| file.head.path == path;
        let index = self.files.iter().position(named);
        let index = index.or_else(|| self.files.iter().position(|file| same_file(&file.head.path, path)));
        let Some(index) = index else { return Err(Named::new(path).bad("not one of the tiles")) };
        let mut own: Option<PointBatch> = None;
        self.each_batch(index, |batch| {
            match &mut own {
                Some(own) => own.append(batch),
                None => own = Some(batch),
            }
            Ok(())
        })?;
        Ok(Tile { tiles: self, index, own: own.unwrap_or_default() })
    }

    /// Reads a file's points in batches, of which the last is empty.
    fn each_batch(&self, index: usize, mut each: impl FnMut(PointBatch) -> Result<()>) -> Result<()> {
        let file = &self.files[index];
        let mut reader = PointReader::open(&file.head.path, file.placing, &self.choices)?;
        report(self.watch, 0, file.head.points)?;
        loop {
            let batch = reader.next(BATCH)?;
            let is_last = batch.is_empty();
            if let Some(outside) = batch.points.iter().find(|p| !file.bounds.holds(**p)) {
                let [x, y, _] = self.frame.to_world(*outside);
                let message =
                    format!("a point at {x}, {y} lies outside the header's bounds, by which tiles are found");
                return Err(Named::new(&file.head.path).bad(message));
            }
            each(batch)?;
            if is_last {
                return Ok(());
            }
            let (done, all) = reader.progress();
            report(self.watch, done, all)?;
        }
    }

    fn info(&self, index: usize) -> CloudInfo {
        self.choices.info(self.frame, self.files[index].head.units)
    }

    /// Bounds of all tiles.
    fn bounds(&self) -> XyBox {
        self.files.iter().fold(XyBox::NONE, |all, file| all.and(file.bounds))
    }
}

/// One tile with its own points in memory.
#[derive(Debug)]
pub struct Tile<'t> {
    tiles: &'t Tiles<'t>,
    index: usize,
    own: PointBatch,
}

impl Tile<'_> {
    /// Number of points.
    pub fn len(&self) -> usize {
        self.own.len()
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty()
    }

    /// What the coordinate reference system says of units and [`Unit`](crate::Unit) cannot, in a sentence.
    pub fn unit_note(&self) -> Option<&str> {
        self.tiles.files[self.index].head.unit_note.as_deref()
    }

    /// The features of `set` that the tiles have the inputs for; and the others, each with the first input that it lacks.
    ///
    /// # Errors
    /// Those of reading the other tiles, where that is needed to know.
    pub fn available(
        &self,
        set: &FeatureSet,
        options: &Options,
    ) -> Result<(FeatureSet, Vec<(Feature, &'static str)>)> {
        let whole = self.whole(set, options)?;
        let cloud = self.own.cloud(&self.tiles.info(self.index));
        let part = PartOf { whole: &whole, ground: &[] };
        Ok(set.available_with(&cloud.part_of(part), options))
    }

    /// Computes `set` for every point of the tile, as it would be in the cloud of all tiles. Columns are named as those of
    /// [`Engine::features_with`] for one neighbourhood, as those of [`Engine::features_at_scales`] for several.
    ///
    /// # Errors
    /// Those of [`Engine::features_at_scales`] and [`Tiles::read`]; [`Error::TilesDiffer`] if a tile within reach lacks a channel
    /// that a feature needs.
    pub fn features(
        &self,
        engine: &Engine,
        set: &FeatureSet,
        neighborhoods: &[Neighborhood],
        options: &Options,
    ) -> Result<(Columns, Report)> {
        options.validate()?;
        let (tiles, info) = (self.tiles, self.tiles.info(self.index));
        if self.is_empty() {
            return engine.columns(&self.own.cloud(&info), set, neighborhoods, options);
        }
        let whole = self.whole(set, options)?;
        let needs = Needs::of_request(set, neighborhoods, options, &info);
        let core = XyBox::of_points(&self.own.points);
        engine.on_one_device(|engine| {
            let job = PartJob {
                engine,
                set,
                neighborhoods,
                options,
                info,
                whole: &whole,
                bounds: tiles.bounds(),
                needs: &needs,
                most: None,
            };
            let mut loader = TileLoader::new(self, set, options);
            let density = self.len() as f64 / core.area();
            let boxes =
                job.first_boxes(core, density, loader.ground_density(&core).unwrap_or(density / 100.0));
            let Part { columns, mut report, .. } = job.run(&mut loader, core, boxes)?;
            report.left_out = (0..self.len()).filter(|&i| self.own.is_ignored(i)).count();
            Ok((columns, report))
        })
    }

    /// What the request needs to know of all tiles.
    fn whole(&self, set: &FeatureSet, options: &Options) -> Result<Whole> {
        let own = Whole::of(&self.own, &options.ground);
        match survey::is_enough(&own, set, self.tiles.choices.color_depth) {
            true => Ok(own),
            false => self.tiles.survey(&options.ground),
        }
    }
}

impl Tiles<'_> {
    /// What all points of all tiles say, read once.
    fn survey(&self, ground: &crate::Ground) -> Result<Whole> {
        // A panic elsewhere leaves what was found, or nothing.
        let mut surveyed = self.surveyed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(found) = surveyed.as_ref().filter(|found| found.classes == ground.classes) {
            return Ok(found.whole);
        }
        let mut whole = Whole::default();
        for index in 0..self.files.len() {
            self.each_batch(index, |batch| {
                whole = whole.and(Whole::of(&batch, ground));
                Ok(())
            })?;
        }
        *surveyed = Some(Surveyed { classes: ground.classes, whole });
        Ok(whole)
    }

    /// The error of a tile that lacks a channel which another has.
    fn lacks(&self, index: usize, other: usize, channel: &str) -> Error {
        let path = |i: usize| self.files[i].head.path.display().to_string();
        Error::TilesDiffer {
            files: [path(index), path(other)],
            message: format!("only the first has {channel}, which a feature needs"),
        }
    }
}
