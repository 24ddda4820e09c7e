//! A tile's points, and those of the tiles around it within margins.

use super::{RECORD_BITS, Tile};
use crate::batch::PointBatch;
use crate::error::Result;
use crate::features::{FeatureSet, Input};
use crate::options::{Ground, Options};
use crate::part::{Loaded, Loader, XyBox};

/// What was read of other tiles, for which boxes.
#[derive(Default)]
struct Halo {
    boxes: Vec<(XyBox, XyBox)>,
    ids: Vec<u64>,
    points: PointBatch,
    /// Ground points with their numbers.
    ground: Vec<(u64, [i32; 3])>,
}

/// Loads parts around a tile.
pub(super) struct TileLoader<'t> {
    tile: &'t Tile<'t>,
    /// Inputs of the request that points carry.
    inputs: Vec<Input>,
    ground: Ground,
    /// Which of the tile's own points are ground, if the request is about it.
    own_ground: Option<Vec<bool>>,
    halo: Halo,
}

impl<'t> TileLoader<'t> {
    pub(super) fn new(tile: &'t Tile<'t>, set: &FeatureSet, options: &Options) -> Self {
        let inputs = [Input::Rgb, Input::Nir, Input::Intensity, Input::Ground];
        let inputs = inputs.into_iter().filter(|input| set.needs(*input)).collect();
        let mut loader =
            Self { tile, inputs, ground: options.ground, own_ground: None, halo: Halo::default() };
        loader.own_ground = loader.ground_of(&tile.own);
        loader
    }

    fn needs(&self, input: Input) -> bool {
        self.inputs.contains(&input)
    }

    /// The ground points of a batch that are not ignored, if the request is about them.
    fn ground_of(&self, batch: &PointBatch) -> Option<Vec<bool>> {
        let classes = batch.classification.as_ref().filter(|_| self.needs(Input::Ground))?;
        let is_ground =
            |(i, class): (usize, &u8)| self.ground.classes.contains(*class) && !batch.is_ignored(i);
        Some(classes.iter().enumerate().map(is_ground).collect())
    }

    /// The tile's own ground points to a square quantum, if there are any.
    pub(super) fn ground_density(&self, core: &XyBox) -> Option<f64> {
        let count = self.own_ground.as_ref()?.iter().filter(|ground| **ground).count();
        (count > 0).then(|| count as f64 / core.area())
    }

    /// Only what the request needs of some points.
    fn reduced(&self, batch: &PointBatch, ground: Option<&Vec<bool>>, at: &[u32]) -> PointBatch {
        let pick = |values: &Vec<u16>| at.iter().map(|&i| values[i as usize]).collect::<Vec<_>>();
        PointBatch {
            points: at.iter().map(|&i| batch.points[i as usize]).collect(),
            rgb: batch.rgb.as_ref().filter(|_| self.needs(Input::Rgb)).map(|rgb| rgb.each_ref().map(pick)),
            nir: batch.nir.as_ref().filter(|_| self.needs(Input::Nir)).map(pick),
            intensity: batch.intensity.as_ref().filter(|_| self.needs(Input::Intensity)).map(pick),
            classification: None,
            ground: ground.map(|mask| at.iter().map(|&i| mask[i as usize]).collect()),
            ignored: Some(at.iter().map(|&i| batch.is_ignored(i as usize)).collect()),
        }
    }

    /// Reads what lies in any of the boxes.
    fn read(&self, boxes: &[(XyBox, XyBox)]) -> Result<Halo> {
        let (tiles, own) = (self.tile.tiles, self.tile.index);
        let mut halo = Halo {
            boxes: boxes.to_vec(),
            points: self.reduced(&self.tile.own, self.own_ground.as_ref(), &[]),
            ..Halo::default()
        };
        for (index, file) in tiles.files.iter().enumerate().filter(|(index, _)| *index != own) {
            let within = |pick: fn(&(XyBox, XyBox)) -> XyBox| -> Vec<XyBox> {
                boxes.iter().map(pick).filter(|b| b.touches(&file.bounds)).collect()
            };
            let (near, ground) = (within(|b| b.0), within(|b| b.1));
            if near.is_empty() && ground.is_empty() {
                continue;
            }
            let mut record = (index as u64) << RECORD_BITS;
            tiles.each_batch(index, |batch| {
                let mask = self.ground_of(&batch);
                let inside = |boxes: &[XyBox], p: [i32; 3]| boxes.iter().any(|b| b.holds(p));
                let kept =
                    |i: &u32| !batch.is_ignored(*i as usize) && inside(&near, batch.points[*i as usize]);
                let at: Vec<u32> = (0..batch.len() as u32).filter(kept).collect();
                let part = self.reduced(&batch, mask.as_ref(), &at);
                for (channel, own, other) in [
                    ("colours", halo.points.rgb.is_some(), part.rgb.is_some()),
                    ("near-infrared", halo.points.nir.is_some(), part.nir.is_some()),
                ] {
                    if own && !other {
                        return Err(tiles.lacks(self.tile.index, index, channel));
                    }
                }
                halo.ids.extend(at.iter().map(|&i| record + u64::from(i)));
                halo.points.append(part);
                if let Some(mask) = &mask {
                    let points = batch.points.iter().zip(mask).zip(record..);
                    let below = points.filter(|((p, is_ground), _)| **is_ground && inside(&ground, **p));
                    halo.ground.extend(below.map(|((p, _), id)| (id, *p)));
                }
                record += batch.len() as u64;
                Ok(())
            })?;
        }
        Ok(halo)
    }
}

impl Loader for TileLoader<'_> {
    fn prepare(&mut self, boxes: &[(XyBox, XyBox)]) -> Result<()> {
        let covered = |wanted: &XyBox, pick: fn(&(XyBox, XyBox)) -> XyBox| {
            wanted.is_empty() || self.halo.boxes.iter().any(|there| pick(there).covers(wanted))
        };
        if !boxes.iter().all(|(near, ground)| covered(near, |b| b.0) && covered(ground, |b| b.1)) {
            self.halo = Halo::default();
            self.halo = self.read(boxes)?;
        }
        Ok(())
    }

    fn load(&mut self, near: XyBox, ground: XyBox) -> Result<Loaded> {
        self.prepare(&[(near, ground)])?;
        let own_id = (self.tile.index as u64) << RECORD_BITS;
        let mut out = Loaded { points: self.halo.points.like(), ..Loaded::default() };
        let before = self.halo.ids.partition_point(|id| *id < own_id);
        let own = &self.tile.own;
        let inside = |points: &[[i32; 3]], range: std::ops::Range<usize>| -> Vec<u32> {
            (range.start as u32..range.end as u32).filter(|&i| near.holds(points[i as usize])).collect()
        };
        let halo = |out: &mut Loaded, range| {
            let at = inside(&self.halo.points.points, range);
            out.ids.extend(at.iter().map(|&i| self.halo.ids[i as usize]));
            out.points.append(self.halo.points.gather(&at));
        };
        halo(&mut out, 0..before);
        let at = inside(&own.points, 0..own.len());
        out.ids.extend(at.iter().map(|&i| own_id + u64::from(i)));
        out.points.append(self.reduced(own, self.own_ground.as_ref(), &at));
        halo(&mut out, before..self.halo.ids.len());

        let before = self.halo.ground.partition_point(|(id, _)| *id < own_id);
        let far = |points: &[(u64, [i32; 3])]| -> Vec<[i32; 3]> {
            points.iter().map(|(_, p)| *p).filter(|p| ground.holds(*p)).collect()
        };
        out.ground = far(&self.halo.ground[..before]);
        if let Some(mask) = &self.own_ground {
            let points = own.points.iter().zip(mask);
            out.ground
                .extend(points.filter(|(p, is_ground)| **is_ground && ground.holds(**p)).map(|(p, _)| *p));
        }
        out.ground.extend(far(&self.halo.ground[before..]));
        Ok(out)
    }

    fn count(&self, _: XyBox, _: XyBox) -> u64 {
        // A tile and its margin are in memory at once.
        0
    }

    fn is_core(&self, id: u64, _: [i32; 3]) -> bool {
        id >> RECORD_BITS == self.tile.index as u64
    }
}
