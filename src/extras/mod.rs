//! What formulas take that one neighbourhood does not give: heights, counts in other neighbourhoods, sums over cells.
//!
//! An extra is a value a point, computed on the host in f64 from exact neighbours, which the backend that computes
//! the columns finds first; it goes into the formulas as one more attribute. A feature that takes one says so in
//! [`USES`], one that is an extra itself in [`EXTRAS`].

mod bins;
mod counts;
mod height;

pub(crate) use bins::Cells;

use crate::backend::{Job, Strategy};
use crate::cloud::Lattice;
use crate::error::{Error, Result};
use crate::features::{Feature, FeatureSet, Flags, Members};
use crate::frame::Frame;
use crate::neighborhood::Neighborhood;
use crate::options::Ground;
use crate::report::Report;
use crate::unit::Units;

/// A value that a point carries into the formulas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Extra {
    HeightAboveGround,
    /// The same in metres, for thresholds.
    HeightInMetres,
    GroundDistance,
    IsGround,
    HeightAboveMin,
    RelativeHeight,
    Density2d,
    EchoRatio,
    CountRadius,
    BinCount,
    BinZRange,
    BinZStd,
    Overhang,
}

/// Every extra with its field in features.wgsl and, if it is one, the feature; an extra stands at its own number.
static EXTRAS: [(Extra, &str, Option<Feature>); 13] = [
    (Extra::HeightAboveGround, "height_above_ground", Some(Feature::HeightAboveGround)),
    (Extra::HeightInMetres, "height_in_metres", None),
    (Extra::GroundDistance, "ground_distance", Some(Feature::GroundDistance)),
    (Extra::IsGround, "is_ground", Some(Feature::IsGround)),
    (Extra::HeightAboveMin, "height_above_min", Some(Feature::HeightAboveMin)),
    (Extra::RelativeHeight, "relative_height", Some(Feature::RelativeHeight)),
    (Extra::Density2d, "density_2d", Some(Feature::Density2d)),
    (Extra::EchoRatio, "echo_ratio", Some(Feature::EchoRatio)),
    (Extra::CountRadius, "count_radius", Some(Feature::CountRadius)),
    (Extra::BinCount, "bin_count", Some(Feature::BinCount)),
    (Extra::BinZRange, "bin_z_range", Some(Feature::BinZRange)),
    (Extra::BinZStd, "bin_z_std", Some(Feature::BinZStd)),
    (Extra::Overhang, "overhang", Some(Feature::OverhangIndicator)),
];

/// Formulas over a neighbourhood that take extras.
static USES: &[(Feature, &[Extra])] = &[
    (Feature::FacadeScore, &[Extra::HeightInMetres]),
    (Feature::FlatRoofScore, &[Extra::HeightInMetres]),
    (Feature::SlopedRoofScore, &[Extra::HeightInMetres]),
    (Feature::SteepRoofScore, &[Extra::HeightInMetres]),
    (Feature::OpeningLikelihood, &[Extra::HeightInMetres]),
    (Feature::StructuralElementScore, &[Extra::HeightInMetres]),
];

impl Extra {
    pub(crate) const COUNT: usize = EXTRAS.len();

    /// The name of its field in features.wgsl.
    pub(crate) fn field(self) -> &'static str {
        EXTRAS[self as usize].1
    }

    /// Whether it is of the request's neighbourhood, so that each of several has its own.
    pub(crate) fn is_of_neighborhood(self) -> bool {
        matches!(self, Self::Density2d)
    }

    /// The feature that it is, if it is one.
    pub(crate) fn feature(self) -> Option<Feature> {
        EXTRAS[self as usize].2
    }

    /// Whether it says something of a point of the cloud only, and nothing of any other place.
    fn is_of_points(self) -> bool {
        matches!(self, Self::IsGround | Self::BinCount | Self::BinZRange | Self::BinZStd | Self::Overhang)
    }
}

/// Whether a feature is an extra itself, and no formula over a neighbourhood.
pub(crate) fn is_extra(feature: Feature) -> bool {
    EXTRAS.iter().any(|(_, _, own)| *own == Some(feature))
}

/// The extras that a feature takes.
fn of(feature: Feature) -> impl Iterator<Item = Extra> {
    let own = EXTRAS.iter().filter(move |row| row.2 == Some(feature)).map(|row| row.0);
    own.chain(USES.iter().filter(move |uses| uses.0 == feature).flat_map(|uses| uses.1.iter().copied()))
}

/// Whether a feature takes one that each of several neighbourhoods has its own of.
pub(crate) fn has_any_of_neighborhood(feature: Feature) -> bool {
    of(feature).any(Extra::is_of_neighborhood)
}

/// Whether a feature takes any.
pub(crate) fn has_any(feature: Feature) -> bool {
    of(feature).next().is_some()
}

/// The extras that a set takes, each once, in their order.
pub(crate) fn needed(set: &FeatureSet) -> Vec<Extra> {
    let mut all: Vec<Extra> = set.iter().flat_map(of).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Refuses what only points of a cloud have, where queries are none.
pub(crate) fn check_queries(set: &FeatureSet) -> Result<()> {
    // What members carry, and what their own neighbourhoods are, is known of the cloud's points alone.
    let of_members = |f: Feature| {
        let members = Members::of_feature(f);
        members.second_order() || members.has(Members::CHANNELS)
    };
    match set.iter().find(|f| of(*f).any(Extra::is_of_points) || of_members(*f)) {
        Some(feature) => Err(Error::NotForQueries(feature)),
        None => Ok(()),
    }
}

/// What the request says about extras.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choices {
    pub(crate) ground: Ground,
    /// Radius of counts, in the cloud's unit.
    pub(crate) count_radius: f64,
    pub(crate) units: Units,
}

/// Values of one extra, a row each.
pub(crate) type Given = (Extra, Vec<f32>);

/// Extras, and flags of the rows where one is undefined (its value is then 0).
#[derive(Debug, Default)]
pub(crate) struct Extras {
    pub(crate) given: Vec<Given>,
    pub(crate) flags: Vec<u32>,
}

impl Extras {
    fn put(&mut self, wanted: &[Extra], extra: Extra, values: impl FnOnce() -> Vec<f32>) {
        if wanted.contains(&extra) {
            self.given.push((extra, values()));
        }
    }

    fn flag(&mut self, flag: Flags, at: impl IntoIterator<Item = bool>) {
        self.flags.iter_mut().zip(at).filter(|(_, set)| *set).for_each(|(flags, _)| *flags |= flag.0);
    }
}

/// Computes extras with the searches of `strategy`.
pub(crate) fn compute(
    strategy: &dyn Strategy,
    job: &Job<'_>,
    wanted: &[Extra],
    choices: &Choices,
    report: &mut Report,
) -> Result<Extras> {
    let mut out = Extras { given: Vec::new(), flags: vec![0; job.asked().len()] };
    let any = |extras: &[Extra]| extras.iter().any(|extra| wanted.contains(extra));
    use Extra as E;
    if any(&[E::HeightAboveGround, E::HeightInMetres, E::GroundDistance, E::IsGround]) {
        height::above_ground(strategy, job, wanted, choices, report, &mut out)?;
    }
    if any(&[E::HeightAboveMin, E::RelativeHeight]) {
        height::above_lowest(job, wanted, &mut out);
    }
    if any(&[E::Density2d, E::EchoRatio, E::CountRadius]) {
        counts::compute(strategy, job, wanted, choices, report, &mut out)?;
    }
    if any(&[E::Overhang]) {
        counts::overhang(strategy, job, choices, report, &mut out)?;
    }
    if any(&[E::BinCount, E::BinZRange, E::BinZStd]) {
        bins::compute(job, wanted, choices, &mut out);
    }
    out.given.sort_unstable_by_key(|(extra, _)| *extra);
    Ok(out)
}

/// How far on an axis points within a distance in the cloud's unit may be apart, in quanta.
pub(crate) fn quanta_within(distance: f64, frame: &Frame) -> u64 {
    let within = Neighborhood::Radius { radius: distance };
    within.rule(usize::MAX, frame).limit.unwrap_or(u64::MAX).isqrt()
}

/// How far around a point, in quanta of x and y, searches within a fixed radius look for these extras.
pub(crate) fn reach(wanted: &[Extra], choices: &Choices, frame: &Frame) -> u64 {
    let radius = |extra: &Extra| match extra {
        Extra::EchoRatio | Extra::CountRadius => Some(choices.count_radius),
        Extra::Overhang => Some(counts::overhang_radius(choices)),
        _ => None,
    };
    let radii = wanted.iter().filter_map(radius);
    radii.map(|radius| quanta_within(radius, frame)).max().unwrap_or(0)
}

/// The cells whose points these extras sum over.
pub(crate) fn cells(wanted: &[Extra], choices: &Choices, frame: &Frame) -> Option<Cells> {
    let of_cells = |extra: &Extra| matches!(extra, Extra::BinCount | Extra::BinZRange | Extra::BinZStd);
    wanted.iter().any(of_cells).then(|| Cells::of(choices, frame))
}

/// Notes of a search of its own what the report of the whole says.
fn note(own: Report, report: &mut Report) {
    report.stragglers += own.stragglers;
    report.fallback = own.fallback.or(report.fallback.take());
}

/// A lattice seen from above: z is 0 everywhere.
pub(crate) fn flattened(
    lattice: &Lattice<'_>,
    which: impl Iterator<Item = usize>,
) -> Result<Lattice<'static>> {
    let flat = |i: usize| {
        let [x, y, _] = lattice.points[i];
        [x, y, 0]
    };
    Lattice::new(which.map(flat).collect::<Vec<_>>().into(), lattice.frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extras_stand_at_their_number_and_each_is_taken() {
        for (at, (extra, ..)) in EXTRAS.iter().enumerate() {
            assert_eq!(*extra as usize, at);
            assert!(Feature::all().any(|f| of(f).any(|e| e == *extra)), "nobody takes {extra:?}");
            // The engine puts these beside the columns that kernels compute, so no formula may take them.
            if extra.is_of_neighborhood() {
                assert_eq!(Feature::all().filter(|f| of(*f).any(|e| e == *extra)).count(), 1);
                assert!(extra.feature().is_some());
            }
        }
        let set = FeatureSet::parse("planarity,facade_score,height_above_ground,steep_roof_score").unwrap();
        assert_eq!(needed(&set), [Extra::HeightAboveGround, Extra::HeightInMetres]);
        assert!(is_extra(Feature::BinCount) && !is_extra(Feature::FacadeScore) && !has_any(Feature::NormalZ));
    }
}
