//! Computes a part: loads it, computes, proves its rows, and does again what is not proved.

use super::groups::{Asked, boxes, grouped, halves};
use super::proof::Proof;
use super::{Loaded, Needs, PartOf, Whole, XyBox};
use crate::batch::CloudInfo;
use crate::columns::Columns;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::features::FeatureSet;
use crate::neighborhood::Neighborhood;
use crate::options::Options;
use crate::report::Report;

/// Gives points of a cloud.
pub(crate) trait Loader {
    /// Says which boxes will be asked for next, so that one pass may serve them all.
    fn prepare(&mut self, boxes: &[(XyBox, XyBox)]) -> Result<()>;

    /// All points in the near box, but for ignored ones that no row was asked of, and all ground points in the other.
    fn load(&mut self, near: XyBox, ground: XyBox) -> Result<Loaded>;

    /// No fewer points than [`load`](Self::load) would bring.
    fn count(&self, near: XyBox, ground: XyBox) -> u64;

    /// A distance in XY within which a core point has so many ground points for sure.
    fn ground_within(&mut self, _point: [i32; 3], _k: u32) -> u64 {
        u64::MAX
    }

    /// Whether a point is a core point of the part.
    fn is_core(&self, id: u64, point: [i32; 3]) -> bool;
}

/// What is computed of every part of a cloud.
#[derive(Debug)]
pub(crate) struct PartJob<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) set: &'a FeatureSet,
    pub(crate) neighborhoods: &'a [Neighborhood],
    pub(crate) options: &'a Options,
    pub(crate) info: CloudInfo,
    pub(crate) whole: &'a Whole,
    /// The cloud's bounds: no point that is not ignored lies beyond.
    pub(crate) bounds: XyBox,
    pub(crate) needs: &'a Needs,
    /// Most points to load at a time, where there is a limit.
    pub(crate) most: Option<Most>,
}

/// A limit of points, and what it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Most {
    pub(crate) points: u64,
    pub(crate) bytes_per_point: u64,
    pub(crate) budget: u64,
}

impl Most {
    /// The error of so many points that have to be together.
    pub(crate) fn exceeded_by(&self, points: u64) -> Error {
        let bytes = points.saturating_mul(self.bytes_per_point);
        Error::BudgetTooSmall { points, bytes, budget: self.budget }
    }
}

/// Columns of a part's core points, and these points' numbers, ascending.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) ids: Vec<u64>,
    pub(crate) columns: Columns,
    pub(crate) report: Report,
}

impl PartJob<'_> {
    /// A first box around core points within `core`, that lie `density` to a square quantum, and the same of ground points.
    pub(crate) fn first_boxes(&self, core: XyBox, density: f64, ground_density: f64) -> (XyBox, XyBox) {
        let near = core.grown(self.needs.first_margin(density)).and(self.needs.with_cells(core));
        let ground = match self.needs.below {
            Some(_) => core.grown(self.needs.first_ground_margin(ground_density)),
            None => XyBox::NONE,
        };
        (near, ground)
    }

    /// The columns of the core points, which lie within `core`.
    pub(crate) fn run(
        &self,
        loader: &mut dyn Loader,
        core: XyBox,
        (near, ground): (XyBox, XyBox),
    ) -> Result<Part> {
        loader.prepare(&[(near, ground)])?;
        let loaded = loader.load(near, ground)?;
        let rows: Vec<u32> = (0u32..)
            .zip(loaded.ids.iter().zip(&loaded.points.points))
            .filter(|(_, (id, point))| core.holds(**point) && loader.is_core(**id, **point))
            .map(|(at, _)| at)
            .collect();
        let ids: Vec<u64> = rows.iter().map(|&at| loaded.ids[at as usize]).collect();
        let (all, mut report) = self.columns(&loaded)?;
        let mut columns = all.gather(&rows);
        drop(all);
        let margin = |outer: XyBox| {
            let gap = (0..2).map(|a| (core.low[a] - outer.low[a]).min(outer.high[a] - core.high[a]));
            gap.min().unwrap_or(0).max(0) as u64
        };
        let (near_margin, below) = (margin(near), if ground.is_empty() { 0 } else { margin(ground) });
        let is_ground = |at: u32| loaded.points.ground.as_ref().is_some_and(|mask| mask[at as usize]);
        let asked = (0u32..).zip(&rows).filter(|(_, at)| !loaded.points.is_ignored(**at as usize));
        let asked = asked.map(|(row, &at)| Asked {
            id: ids[row as usize],
            row,
            point: loaded.points.points[at as usize],
            is_ground: is_ground(at),
            near: near_margin,
            below,
        });
        let asked = asked.collect();
        let mut open = report.time("proof", || self.proof(near, ground).unproved(&loaded, asked))?;
        drop(loaded);
        while !open.is_empty() {
            tracing::debug!(rows = open.len(), "rows that need a larger margin");
            if let Some(below) = &self.needs.below {
                // Twice the margin may be far more than enough.
                open.iter_mut().for_each(|r| r.below = r.below.min(loader.ground_within(r.point, below.k())));
            }
            let groups = self.fitting(loader, grouped(std::mem::take(&mut open)))?;
            let all: Vec<_> = groups.iter().map(|rows| self.boxes(rows)).collect();
            loader.prepare(&all)?;
            for (rows, (near, ground)) in groups.into_iter().zip(all) {
                let loaded = loader.load(near, ground)?;
                let (again, more) = self.columns(&loaded)?;
                report.absorb(more);
                // Every row's point lies in its group's box.
                let at = |row: &Asked| loaded.ids.partition_point(|id| *id < row.id) as u32;
                let from: Vec<u32> = rows.iter().map(at).collect();
                let to: Vec<u32> = rows.iter().map(|row| row.row).collect();
                columns.replace(&to, &again, &from);
                drop(again);
                open.extend(report.time("proof", || self.proof(near, ground).unproved(&loaded, rows))?);
            }
        }
        report.points = ids.len();
        Ok(Part { ids, columns, report })
    }

    fn proof(&self, near: XyBox, ground: XyBox) -> Proof<'_> {
        let watch = self.engine.watch();
        Proof { needs: self.needs, frame: self.info.frame, whole: self.bounds, near, ground, watch }
    }

    /// The boxes that rows ask for.
    fn boxes(&self, rows: &[Asked]) -> (XyBox, XyBox) {
        let (near, ground) = boxes(rows);
        let core = XyBox::of_points(rows.iter().map(|row| &row.point));
        let ground = if self.needs.below.is_some() { ground } else { XyBox::NONE };
        (near.and(self.needs.with_cells(core)), ground)
    }

    /// Groups, halved until each fits the limit.
    fn fitting(&self, loader: &dyn Loader, groups: Vec<Vec<Asked>>) -> Result<Vec<Vec<Asked>>> {
        let Some(most) = self.most else { return Ok(groups) };
        let (mut open, mut out) = (groups, Vec::new());
        while let Some(mut rows) = open.pop() {
            let (near, ground) = self.boxes(&rows);
            let count = loader.count(near, ground);
            if count <= most.points {
                out.push(rows);
            } else if rows.len() > 1 {
                let (low, high) = halves(&mut rows);
                open.extend([low, high]);
            } else {
                return Err(most.exceeded_by(count));
            }
        }
        Ok(out)
    }

    fn columns(&self, loaded: &Loaded) -> Result<(Columns, Report)> {
        let part = PartOf { whole: self.whole, ground: &loaded.ground };
        let cloud = loaded.points.cloud(&self.info).part_of(part);
        self.engine.columns(&cloud, self.set, self.neighborhoods, self.options)
    }
}
