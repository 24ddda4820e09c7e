//! The order in which features are computed: what needs other points' features comes after those.

use rayon::prelude::*;

use crate::backend::{Job, Known, Strategy};
use crate::columns::RawColumns;
use crate::error::Result;
use crate::features::{Feature, FeatureSet, Flags, Members};
use crate::neighborhood::Neighborhood;
use crate::report::Report;
use crate::scales::{self, Scales};

/// Least and most neighbours, and the step, where the request's neighbourhood has no such range (Weinmann 2015).
pub(crate) const USUAL_RANGE: [u32; 3] = [10, 100, 1];

const NORMAL: [Feature; 3] = [Feature::NormalX, Feature::NormalY, Feature::NormalZ];

/// The columns of `set` in each of the neighbourhoods, in the order in which these are given.
pub(crate) fn features(
    strategy: &dyn Strategy,
    job: &Job<'_>,
    set: &FeatureSet,
    neighborhoods: &[Neighborhood],
    report: &mut Report,
) -> Result<Vec<RawColumns>> {
    let is_optimal = |n: &Neighborhood| matches!(n, Neighborhood::Optimal { .. });
    let foreign = |f: &Feature| f.is_of_optimal() && !neighborhoods.iter().all(is_optimal);
    let farther = |f: &Feature| Members::of_feature(*f).second_order();
    let optimal: FeatureSet = set.iter().filter(foreign).collect();
    let direct: FeatureSet = set.iter().filter(|f| !foreign(f) && !farther(f)).collect();
    let farther: FeatureSet = set.iter().filter(farther).collect();
    // The last pass of a single neighbourhood serves the others as well.
    let at_once = !farther.is_empty() && neighborhoods.len() == 1;

    let mut out: Vec<Parts> = neighborhoods.iter().map(|_| Parts::default()).collect();
    if !at_once {
        for (scales, places) in scales::grouped(neighborhoods, job.lattice.len(), &job.lattice.frame) {
            let Some(&first) = places.first() else { continue };
            let job = Job { neighborhood: neighborhoods[first], ..*job };
            let columns = of_scales(strategy, &job, &direct, &scales, report)?;
            for (place, columns) in places.into_iter().zip(columns) {
                out[place].add(&direct, columns);
            }
        }
    }
    for (parts, &neighborhood) in out.iter_mut().zip(neighborhoods) {
        let job = Job { neighborhood, ..*job };
        if !farther.is_empty() {
            let all = if at_once { direct.iter().chain(farther.iter()).collect() } else { farther.clone() };
            parts.add(&all, of_members(strategy, &job, &all, report)?);
        }
    }
    if !optimal.is_empty() {
        let [least, most, step] = USUAL_RANGE;
        let job = Job { neighborhood: Neighborhood::optimal(least, most, step)?, ..*job };
        let columns = first(of_scales(strategy, &job, &optimal, &one(&job), report)?);
        for parts in &mut out {
            // The flags are those of the request's neighbourhood.
            let own = std::mem::take(&mut parts.flags);
            parts.add(&optimal, RawColumns { values: columns.values.clone(), flags: own });
        }
    }
    Ok(out.into_iter().map(|parts| parts.in_order(set)).collect())
}

/// Columns in the order of computing.
#[derive(Default)]
struct Parts {
    columns: Vec<(Feature, Vec<f32>)>,
    flags: Vec<u32>,
}

impl Parts {
    fn add(&mut self, set: &FeatureSet, raw: RawColumns) {
        self.columns.extend(set.iter().zip(raw.values));
        if self.flags.is_empty() {
            self.flags = raw.flags;
        } else {
            self.flags
                .par_iter_mut()
                .zip(raw.flags)
                .with_min_len(1 << 14)
                .for_each(|(own, more)| *own |= more);
        }
    }

    fn in_order(mut self, set: &FeatureSet) -> RawColumns {
        let mut take = |feature: Feature| {
            let at = self.columns.iter().position(|column| column.0 == feature);
            at.map(|at| self.columns.swap_remove(at).1).unwrap_or_default()
        };
        RawColumns { values: set.iter().map(&mut take).collect(), flags: self.flags }
    }
}

fn one(job: &Job<'_>) -> Scales {
    Scales::one(job.neighborhood, job.lattice.len(), &job.lattice.frame)
}

fn first(columns: Vec<RawColumns>) -> RawColumns {
    columns.into_iter().next().unwrap_or_default()
}

/// Features of neighbourhoods that one search serves.
fn of_scales(
    strategy: &dyn Strategy,
    job: &Job<'_>,
    set: &FeatureSet,
    scales: &Scales,
    report: &mut Report,
) -> Result<Vec<RawColumns>> {
    let plain = scales.len() == 1 && !scales.has_optimal() && !set.members().any();
    match plain {
        true => Ok(vec![strategy.features(job, set, report)?]),
        false => strategy.features_of_members(job, set, scales, &Known::default(), report),
    }
}

/// Features that need the members' own neighbourhoods, which are found before.
fn of_members(
    strategy: &dyn Strategy,
    job: &Job<'_>,
    set: &FeatureSet,
    report: &mut Report,
) -> Result<RawColumns> {
    let members = set.members();
    let scales = one(job);
    let mut known = Known::default();
    let mut base = FeatureSet::default();
    if members.has(Members::NORMALS) {
        NORMAL.into_iter().for_each(|f| base.insert(f));
    }
    if members.has(Members::REACH) {
        base.insert(Feature::KnnDistance);
    }
    if !base.is_empty() {
        let raw = first(of_scales(strategy, job, &base, &scales, report)?);
        known = Known::from_base(&base, raw);
    }
    if members.has(Members::LAST) {
        known.last = strategy.last_members(job, &scales, report)?;
    }
    if members.has(Members::LRD) {
        let density = FeatureSet::new([Feature::ReachabilityDensity]);
        let raw = first(strategy.features_of_members(job, &density, &scales, &known, report)?);
        known.lrd = raw.values.into_iter().next().unwrap_or_default();
    }
    Ok(first(strategy.features_of_members(job, set, &scales, &known, report)?))
}

impl Known {
    fn from_base(set: &FeatureSet, raw: RawColumns) -> Self {
        let RawColumns { mut values, flags } = raw;
        let mut take = |feature: Feature| {
            let at = set.iter().position(|f| f == feature);
            at.map(|at| std::mem::take(&mut values[at])).unwrap_or_default()
        };
        let [x, y, z] = NORMAL.map(&mut take);
        let undefined = Flags::FEW | Flags::IDENTICAL | Flags::COLLINEAR;
        let normal =
            |i: usize| if Flags(flags[i]).intersects(undefined) { [0.0; 3] } else { [x[i], y[i], z[i]] };
        Self {
            normals: (0..x.len()).into_par_iter().with_min_len(1 << 14).map(normal).collect(),
            reach: take(Feature::KnnDistance),
            ..Self::default()
        }
    }
}
