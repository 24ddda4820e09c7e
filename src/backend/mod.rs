//! The two ways to compute: one coarse interface, whole clouds in and whole columns out.

mod cells;
pub(crate) mod cpu;
pub(crate) mod gpu;

#[cfg(test)]
pub(crate) use self::cells::Cells;

use crate::cloud::Lattice;
use crate::columns::RawColumns;
use crate::error::Result;
use crate::extras::Given;
use crate::features::{Attributes, FeatureSet};
use crate::neighborhood::{Neighborhood, Neighbors};
use crate::part::PartOf;
use crate::report::Report;
use crate::scales::Scales;
use crate::watch::Watch;

/// One cloud, ready to compute on: at least one point and one query, every input of the request there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job<'a> {
    /// The points that are members of neighbourhoods.
    pub(crate) lattice: &'a Lattice<'a>,
    /// Where neighbourhoods are looked for, if not at those points: on the same lattice, and members of none.
    pub(crate) queries: Option<&'a Lattice<'a>>,
    /// What the queries carry.
    pub(crate) attributes: PointAttributes<'a>,
    /// Which points are ground, if the request is about it.
    pub(crate) ground: Option<&'a [bool]>,
    /// What the lattice is a part of, if it is no whole cloud.
    pub(crate) part: Option<PartOf<'a>>,
    pub(crate) neighborhood: Neighborhood,
    pub(crate) watch: &'a Watch,
}

impl<'a> Job<'a> {
    /// What there is one row of output for: the queries, else the points.
    pub(crate) fn asked(&self) -> &'a Lattice<'a> {
        self.queries.unwrap_or(self.lattice)
    }

    /// Whether queries are no members of their own neighbourhoods.
    pub(crate) fn is_foreign(&self) -> bool {
        self.queries.is_some()
    }
}

/// Computes jobs. Implementations agree on neighbours to the bit, on columns within the catalogue's tolerances.
pub(crate) trait Strategy: Send + Sync + std::fmt::Debug {
    /// Values and flags of every query.
    fn features(&self, job: &Job<'_>, set: &FeatureSet, report: &mut Report) -> Result<RawColumns>;

    /// Values and flags of every query in each of several neighbourhoods, for features that may need their every member.
    fn features_of_members(
        &self,
        job: &Job<'_>,
        set: &FeatureSet,
        scales: &Scales,
        known: &Known,
        report: &mut Report,
    ) -> Result<Vec<RawColumns>>;

    /// The last member, as (squared distance, index), of every point's first neighbourhood where a number cuts it. Where a
    /// radius does, the largest values there are: no point within it is farther.
    fn last_members(&self, job: &Job<'_>, scales: &Scales, report: &mut Report) -> Result<Vec<(u64, u32)>>;

    /// What lies below every point among the members of its neighbourhood: bit 0, something deeper than `beneath.far`; bit
    /// 1, something deeper than `beneath.near` and not than that. The job's lattice is seen from above.
    fn beneath(&self, job: &Job<'_>, beneath: &Beneath<'_>, report: &mut Report) -> Result<Vec<u32>>;

    /// Neighbour lists of every query.
    fn neighbors(&self, job: &Job<'_>, report: &mut Report) -> Result<Neighbors>;
}

/// Heights of points whose lattice is seen from above, and depths to look for, all in quanta.
#[derive(Debug)]
pub(crate) struct Beneath<'a> {
    pub(crate) heights: &'a [i32],
    pub(crate) near: i32,
    pub(crate) far: i32,
}

impl Beneath<'_> {
    /// The bits for a point of this height among members of those.
    pub(crate) fn bits(&self, height: i32, members: impl Iterator<Item = i32>) -> u32 {
        members.fold(0, |seen, member| {
            // The lattice is at most 2^31 high.
            let depth = i64::from(height) - i64::from(member);
            let (near, far) = (i64::from(self.near), i64::from(self.far));
            seen | u32::from(depth > far) | u32::from(depth > near && depth <= far) << 1
        })
    }
}

/// What is known of every point's own neighbourhood when others are computed from it; empty where it is not needed.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Unit normals; zero where a point has none.
    pub(crate) normals: Vec<[f32; 3]>,
    /// Distance to the farthest member, in the cloud's unit.
    pub(crate) reach: Vec<f32>,
    /// Reachability density.
    pub(crate) lrd: Vec<f32>,
    /// See [`Strategy::last_members`].
    pub(crate) last: Vec<(u64, u32)>,
}

/// What points carry: recorded channels with their full scale, and extras.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PointAttributes<'a> {
    pub(crate) rgb: Option<[&'a [u16]; 3]>,
    pub(crate) nir: Option<&'a [u16]>,
    pub(crate) intensity: Option<&'a [u16]>,
    /// Recorded value that counts as 1.
    pub(crate) rgb_full: u16,
    pub(crate) nir_full: u16,
    /// Extras that the features take, in their order.
    pub(crate) given: &'a [Given],
}

impl PointAttributes<'_> {
    /// Recorded red and green, blue and near-infrared of point `i`, 16 bits each.
    pub(crate) fn packed(&self, i: usize) -> [u32; 2] {
        let [red, green, blue] = self.rgb.map_or([0; 3], |rgb| rgb.map(|c| u32::from(c[i])));
        let nir = self.nir.map_or(0, |c| u32::from(c[i]));
        [red | green << 16, blue | nir << 16]
    }

    /// What point `i` carries, colours scaled to 0..1.
    pub(crate) fn at(&self, i: usize) -> Attributes {
        let mut out = Attributes::default();
        if let Some([r, g, b]) = self.rgb {
            let full = f64::from(self.rgb_full);
            [out.red, out.green, out.blue] = [r, g, b].map(|c| f64::from(c[i]) / full);
        }
        if let Some(nir) = self.nir {
            out.nir = f64::from(nir[i]) / f64::from(self.nir_full);
        }
        self.given.iter().for_each(|(extra, values)| out.give(*extra, values[i].into()));
        out
    }
}
