//! A cloud's points in a temporary file, leaf by leaf of the tree.

use std::collections::HashMap;
use std::path::Path;

use super::records::Layout;
use super::temp::TempFile;
use super::tree::Tree;
use crate::batch::PointBatch;
use crate::error::{Error, Result};
use crate::part::{Loaded, Loader, XyBox};

/// Bytes of a point's number, before its record.
const NUMBER: usize = 8;

/// One leaf's records.
#[derive(Debug, Default)]
struct Leaf {
    /// Where pieces of it stand in the file, and their bytes; in the cloud's order.
    pieces: Vec<(u64, usize)>,
    /// What is not written yet.
    open: Vec<u8>,
    points: u64,
    ground: u64,
}

/// The points by leaf. Numbers are those of rows.
#[derive(Debug)]
pub(super) struct Store {
    tree: Tree,
    layout: Layout,
    file: TempFile,
    leaves: Vec<Leaf>,
    /// Bytes that a leaf collects before they are written.
    piece: usize,
    points: u64,
    /// The box whose points are core points.
    core: XyBox,
    /// How far points of a leaf are from so many ground points at most.
    ground_within: HashMap<(usize, u32), u64>,
}

impl Store {
    pub(super) fn new(tree: Tree, layout: Layout, folder: &Path, piece: usize) -> Result<Self> {
        let leaves = tree.leaves.iter().map(|_| Leaf::default()).collect();
        let file = TempFile::create(folder)?;
        Ok(Self {
            tree,
            layout,
            file,
            leaves,
            piece,
            points: 0,
            core: XyBox::NONE,
            ground_within: HashMap::new(),
        })
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(super) fn points(&self) -> u64 {
        self.points
    }

    /// Bytes of a point in the file.
    pub(super) fn record_bytes(layout: &Layout) -> usize {
        NUMBER + layout.len()
    }

    /// Adds the next points.
    pub(super) fn add(&mut self, batch: &PointBatch, ground: Option<&[bool]>) -> Result<()> {
        for (i, point) in batch.points.iter().enumerate() {
            let leaf = self.tree.leaf(*point).ok_or(Error::SourceChanged { point: self.points })?;
            let leaf = &mut self.leaves[leaf];
            let is_ground = ground.is_some_and(|mask| mask[i]);
            leaf.open.extend(self.points.to_le_bytes());
            self.layout.put(batch, i, is_ground, &mut leaf.open);
            leaf.points += 1;
            leaf.ground += u64::from(is_ground);
            self.points += 1;
            if leaf.open.len() >= self.piece {
                leaf.pieces.push((self.file.append(&leaf.open)?, leaf.open.len()));
                leaf.open.clear();
            }
        }
        Ok(())
    }

    /// Writes what is left, and gives its memory back.
    pub(super) fn finish(&mut self) -> Result<()> {
        for (leaf, (expected, _)) in self.leaves.iter_mut().zip(&self.tree.leaves) {
            if leaf.points != *expected {
                return Err(Error::SourceChanged { point: self.points });
            }
            let open = std::mem::take(&mut leaf.open);
            if !open.is_empty() {
                leaf.pieces.push((self.file.append(&open)?, open.len()));
            }
        }
        Ok(())
    }

    /// Says which points are core points from here on.
    pub(super) fn set_core(&mut self, core: XyBox) {
        self.core = core;
    }

    /// Ground points in a part of the plane.
    pub(super) fn ground_points(&self, within: &XyBox) -> u64 {
        self.counted(within, |leaf| leaf.ground)
    }

    fn counted(&self, within: &XyBox, count: impl Fn(&Leaf) -> u64) -> u64 {
        let leaves = self.leaves.iter().zip(&self.tree.leaves);
        leaves.filter(|(_, (_, bounds))| bounds.touches(within)).map(|(leaf, _)| count(leaf)).sum()
    }
}

impl Loader for Store {
    fn prepare(&mut self, _: &[(XyBox, XyBox)]) -> Result<()> {
        Ok(())
    }

    fn load(&mut self, near: XyBox, ground: XyBox) -> Result<Loaded> {
        let length = Self::record_bytes(&self.layout);
        let mut points = self.layout.batch();
        let mut ids: Vec<u64> = Vec::new();
        let mut below: Vec<(u64, [i32; 3])> = Vec::new();
        let mut bytes = Vec::new();
        for (leaf, (_, bounds)) in self.leaves.iter().zip(&self.tree.leaves) {
            let (is_near, is_below) = (bounds.touches(&near), leaf.ground > 0 && bounds.touches(&ground));
            if !is_near && !is_below {
                continue;
            }
            for &(at, size) in &leaf.pieces {
                bytes.resize(size, 0);
                self.file.read(at, &mut bytes)?;
                for record in bytes.chunks_exact(length) {
                    let (number, record) = record.split_at(NUMBER);
                    let point = Layout::place(record);
                    let id = || u64::from_le_bytes(std::array::from_fn(|i| number[i]));
                    let wanted = || !Layout::is_ignored(record) || self.core.holds(point);
                    if is_near && near.holds(point) && wanted() {
                        ids.push(id());
                        self.layout.push(record, &mut points);
                    }
                    if is_below && Layout::is_ground(record) && ground.holds(point) {
                        below.push((id(), point));
                    }
                }
            }
        }
        drop(bytes);
        // Leaves hold their points in the cloud's order, but lie beside each other.
        let mut order: Vec<u32> = (0..ids.len() as u32).collect();
        rayon::slice::ParallelSliceMut::par_sort_unstable_by_key(&mut order[..], |&i| ids[i as usize]);
        below.sort_unstable();
        Ok(Loaded {
            points: points.gather(&order),
            ids: order.iter().map(|&i| ids[i as usize]).collect(),
            ground: below.into_iter().map(|(_, point)| point).collect(),
        })
    }

    fn count(&self, near: XyBox, ground: XyBox) -> u64 {
        self.counted(&near, |leaf| leaf.points) + self.counted(&ground, |leaf| leaf.ground)
    }

    fn ground_within(&mut self, point: [i32; 3], k: u32) -> u64 {
        let Some(own) = self.tree.leaf(point) else { return u64::MAX };
        let (leaves, bounds) = (&self.leaves, &self.tree.leaves);
        *self.ground_within.entry((own, k)).or_insert_with(|| {
            let distance = |leaf: usize| bounds[own].1.farthest(&bounds[leaf].1);
            let with_ground = (0..leaves.len()).filter(|&leaf| leaves[leaf].ground > 0);
            let mut near: Vec<_> = with_ground.map(|leaf| (distance(leaf), leaves[leaf].ground)).collect();
            near.sort_unstable();
            let mut points = 0;
            let enough = near.into_iter().find(|(_, ground)| {
                points += ground;
                points >= u64::from(k)
            });
            enough.map_or(u64::MAX, |(distance, _)| distance)
        })
    }

    fn is_core(&self, _: u64, point: [i32; 3]) -> bool {
        self.core.holds(point)
    }
}
