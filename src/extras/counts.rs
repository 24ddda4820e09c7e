//! Numbers of points in other neighbourhoods than the request's: seen from above, and within a fixed radius.

use super::{Choices, Extra, Extras, flattened, note};
use crate::backend::{Beneath, Job, PointAttributes, Strategy};
use crate::error::Result;
use crate::features::{Feature, FeatureSet, Flags};
use crate::neighborhood::Neighborhood;
use crate::report::Report;

/// One feature of other neighbourhoods than the job's.
fn column(
    strategy: &dyn Strategy,
    job: &Job<'_>,
    neighborhood: Neighborhood,
    feature: Feature,
    report: &mut Report,
) -> Result<(Vec<f32>, Vec<u32>)> {
    let job = Job { neighborhood, attributes: PointAttributes::default(), ..*job };
    let mut own = Report::default();
    let mut raw = strategy.features(&job, &FeatureSet::new([feature]), &mut own)?;
    note(own, report);
    Ok((raw.values.pop().unwrap_or_default(), raw.flags))
}

pub(super) fn compute(
    strategy: &dyn Strategy,
    job: &Job<'_>,
    wanted: &[Extra],
    choices: &Choices,
    report: &mut Report,
    out: &mut Extras,
) -> Result<()> {
    let within = Neighborhood::Radius { radius: choices.count_radius };
    let flat = flattened(job.lattice, 0..job.lattice.len())?;
    let flat_queries = job.queries.map(|q| flattened(q, 0..q.len())).transpose()?;
    let above = Job { lattice: &flat, queries: flat_queries.as_ref(), ..*job };
    if wanted.contains(&Extra::Density2d) {
        let (mut values, flags) =
            column(strategy, &above, job.neighborhood, Feature::DensitySurface, report)?;
        // A radius that is given is one also where it holds a single place, or nothing.
        let has_radius = matches!(job.neighborhood, Neighborhood::Radius { .. });
        let undefined = |flags: u32| !has_radius && Flags(flags).intersects(Flags::NO_RADIUS | Flags::EMPTY);
        values.iter_mut().zip(&flags).filter(|(_, f)| undefined(**f)).for_each(|(value, _)| *value = 0.0);
        out.flag(Flags::NO_RADIUS_XY, flags.into_iter().map(undefined));
        out.given.push((Extra::Density2d, values));
    }
    if wanted.contains(&Extra::EchoRatio) || wanted.contains(&Extra::CountRadius) {
        let (sphere, _) = column(strategy, job, within, Feature::NeighborCount, report)?;
        if wanted.contains(&Extra::EchoRatio) {
            let (cylinder, _) = column(strategy, &above, within, Feature::NeighborCount, report)?;
            // Counts are exact in f32 up to 2^24.
            let ratio =
                |(s, c): (&f32, &f32)| if *c > 0.0 { (f64::from(*s) / f64::from(*c)) as f32 } else { 0.0 };
            let ratios = sphere.iter().zip(&cylinder).map(ratio).collect();
            out.flag(Flags::EMPTY_CYLINDER, cylinder.iter().map(|c| *c == 0.0));
            out.given.push((Extra::EchoRatio, ratios));
        }
        out.put(wanted, Extra::CountRadius, || sphere);
    }
    Ok(())
}

/// Radius of the vertical cylinder of `overhang_indicator` in metres. Points of the surface itself lie no deeper below one
/// another than that, unless it is steeper than 45°.
const OVERHANG_RADIUS: f64 = 0.5;
/// Depth in metres that must be empty below, and below which something must lie.
const OVERHANG_GAP: f64 = 2.0;

/// The cylinder's radius in the cloud's unit.
pub(super) fn overhang_radius(choices: &Choices) -> f64 {
    choices.units.horizontal.metres(OVERHANG_RADIUS)
}

pub(super) fn overhang(
    strategy: &dyn Strategy,
    job: &Job<'_>,
    choices: &Choices,
    report: &mut Report,
    out: &mut Extras,
) -> Result<()> {
    let quantum = job.lattice.frame.quantum();
    let radius = overhang_radius(choices);
    let quanta = |metres: f64| (choices.units.vertical.metres(metres) / quantum).round() as i32;
    let heights: Vec<i32> = job.lattice.points.iter().map(|p| p[2]).collect();
    let beneath = Beneath { heights: &heights, near: quanta(OVERHANG_RADIUS), far: quanta(OVERHANG_GAP) };
    let flat = flattened(job.lattice, 0..job.lattice.len())?;
    let neighborhood = Neighborhood::Radius { radius };
    let above = Job { lattice: &flat, neighborhood, attributes: PointAttributes::default(), ..*job };
    let mut own = Report::default();
    let seen = strategy.beneath(&above, &beneath, &mut own)?;
    note(own, report);
    // Something far below, and nothing between.
    let values = seen.into_iter().map(|bits| f32::from(u8::from(bits == 1))).collect();
    out.given.push((Extra::Overhang, values));
    Ok(())
}
