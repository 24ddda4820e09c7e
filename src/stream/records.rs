//! Points and rows as bytes of temporary files.

use crate::batch::PointBatch;
use crate::features::{FeatureSet, Input};

/// Which channels a point's record holds, and whether it says what is ground.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    rgb: bool,
    nir: bool,
    intensity: bool,
    ground: bool,
}

const IGNORED: u8 = 1;
const GROUND: u8 = 2;

impl Layout {
    /// What `set` needs of batches that have the columns of this one.
    pub(super) fn new(set: &FeatureSet, batch: &PointBatch) -> Self {
        Self {
            rgb: set.needs(Input::Rgb) && batch.rgb.is_some(),
            nir: set.needs(Input::Nir) && batch.nir.is_some(),
            intensity: set.needs(Input::Intensity) && batch.intensity.is_some(),
            ground: set.needs(Input::Ground) && (batch.ground.is_some() || batch.classification.is_some()),
        }
    }

    /// Bytes of a record: place, marks, channels.
    pub(super) fn len(&self) -> usize {
        12 + 1 + 6 * usize::from(self.rgb) + 2 * usize::from(self.nir) + 2 * usize::from(self.intensity)
    }

    pub(super) fn has_ground(&self) -> bool {
        self.ground
    }

    /// Appends point `i`.
    pub(super) fn put(&self, batch: &PointBatch, i: usize, is_ground: bool, out: &mut Vec<u8>) {
        batch.points[i].iter().for_each(|v| out.extend(v.to_le_bytes()));
        out.push((u8::from(batch.is_ignored(i)) * IGNORED) | (u8::from(is_ground) * GROUND));
        let rgb = batch.rgb.iter().flatten().filter(|_| self.rgb);
        let nir = batch.nir.iter().filter(|_| self.nir);
        let intensity = batch.intensity.iter().filter(|_| self.intensity);
        rgb.chain(nir).chain(intensity).for_each(|channel| out.extend(channel[i].to_le_bytes()));
    }

    /// A record's place.
    pub(super) fn place(record: &[u8]) -> [i32; 3] {
        std::array::from_fn(|a| {
            i32::from_le_bytes([record[4 * a], record[4 * a + 1], record[4 * a + 2], record[4 * a + 3]])
        })
    }

    pub(super) fn is_ignored(record: &[u8]) -> bool {
        record[12] & IGNORED != 0
    }

    pub(super) fn is_ground(record: &[u8]) -> bool {
        record[12] & GROUND != 0
    }

    /// An empty batch with the columns of these records.
    pub(super) fn batch(&self) -> PointBatch {
        PointBatch {
            points: Vec::new(),
            rgb: self.rgb.then(Default::default),
            nir: self.nir.then(Vec::new),
            intensity: self.intensity.then(Vec::new),
            classification: None,
            ground: self.ground.then(Vec::new),
            ignored: Some(Vec::new()),
        }
    }

    /// Adds a record to such a batch.
    pub(super) fn push(&self, record: &[u8], batch: &mut PointBatch) {
        batch.points.push(Self::place(record));
        let channels = record[13..].chunks_exact(2).map(|v| u16::from_le_bytes([v[0], v[1]]));
        let columns = batch.rgb.iter_mut().flatten().chain(&mut batch.nir).chain(&mut batch.intensity);
        columns.zip(channels).for_each(|(column, value)| column.push(value));
        batch.ground.iter_mut().for_each(|ground| ground.push(Self::is_ground(record)));
        batch.ignored.iter_mut().for_each(|ignored| ignored.push(Self::is_ignored(record)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_keep_what_the_set_needs() {
        let batch = PointBatch {
            points: vec![[1, -2, 3], [i32::MIN, i32::MAX, 0]],
            rgb: Some([vec![1, 2], vec![3, 4], vec![5, 6]]),
            nir: Some(vec![7, 8]),
            intensity: Some(vec![9, 10]),
            classification: Some(vec![2, 1]),
            ground: None,
            ignored: Some(vec![false, true]),
        };
        for (features, length) in
            [("planarity", 13), ("ndvi", 21), ("intensity_mean,height_above_ground", 15)]
        {
            let layout = Layout::new(&FeatureSet::parse(features).unwrap(), &batch);
            let mut bytes = Vec::new();
            layout.put(&batch, 0, true, &mut bytes);
            layout.put(&batch, 1, false, &mut bytes);
            assert_eq!((layout.len(), bytes.len()), (length, 2 * length), "{features}");
            let mut again = layout.batch();
            bytes.chunks(length).for_each(|record| layout.push(record, &mut again));
            assert_eq!((&again.points, &again.ignored), (&batch.points, &batch.ignored));
            for (kept, own) in [(&again.nir, &batch.nir), (&again.intensity, &batch.intensity)] {
                assert!(kept.is_none() || kept == own);
            }
            assert!(again.rgb.is_none() || again.rgb == batch.rgb);
            assert_eq!(again.ground, layout.has_ground().then(|| vec![true, false]));
        }
    }
}
