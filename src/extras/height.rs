//! Heights: above the ground near by, and above the cloud's lowest point.

use std::borrow::Cow;

use rayon::prelude::*;

use super::{Choices, Extra, Extras, flattened, note};
use crate::backend::{Job, PointAttributes, Strategy};
use crate::cloud::Lattice;
use crate::error::Result;
use crate::features::Flags;
use crate::neighborhood::Neighborhood;
use crate::options::GroundMethod;
use crate::report::Report;

/// Entries of neighbour lists that stand in memory at a time, 12 bytes each.
const ENTRIES: usize = 1 << 26;

/// Ground points whose smaller spread in XY is less than this part of the larger, squared, say nothing of the slope across
/// them.
const LEAST_SPREAD: f64 = 1e-4;

/// A point above the ground.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Place {
    /// In quanta; `None` where no ground is near enough.
    height: Option<f64>,
    /// Squared distance in XY to the nearest ground point.
    dist_sq: u64,
}

pub(super) fn above_ground(
    strategy: &dyn Strategy,
    job: &Job<'_>,
    wanted: &[Extra],
    choices: &Choices,
    report: &mut Report,
    out: &mut Extras,
) -> Result<()> {
    let asked = job.asked();
    // The engine refuses a request without ground points.
    let mask = job.ground.unwrap_or(&[]);
    let is_ground = |i: usize| !job.is_foreign() && mask[i];
    out.put(wanted, Extra::IsGround, || (0..asked.len()).map(|i| f32::from(is_ground(i))).collect());
    if wanted.iter().all(|extra| *extra == Extra::IsGround) {
        return Ok(());
    }
    let mut places = vec![Place { height: Some(0.0), dist_sq: 0 }; asked.len()];
    let queries: Vec<usize> = (0..asked.len()).filter(|&i| !is_ground(i)).collect();
    let of_ground: Cow<'_, [[i32; 3]]> = match job.part {
        Some(part) => part.ground.into(),
        None => {
            let points = job.lattice.points.iter().zip(mask);
            points.filter(|(_, is_ground)| **is_ground).map(|(p, _)| *p).collect::<Vec<_>>().into()
        }
    };
    let z: Vec<i32> = of_ground.iter().map(|p| p[2]).collect();
    let ground = Lattice::new(of_ground, asked.frame)?;
    let ground = flattened(&ground, 0..ground.len())?;
    let k = choices.ground.method.neighbors();
    let neighborhood = Neighborhood::Knn { k };
    let limit = choices.ground.max_distance.map_or(u64::MAX, |d| {
        let within = Neighborhood::Radius { radius: d };
        within.rule(ground.len(), &ground.frame).limit.unwrap_or(u64::MAX)
    });
    if ground.len() == 0 {
        // A part may have none near by; whoever asked for it knows that these rows are not proved.
        queries.iter().for_each(|&i| places[i] = Place::default());
    }
    let queries = if ground.len() == 0 { &[] } else { &queries[..] };
    for batch in queries.chunks((ENTRIES / k.get() as usize).max(1)) {
        let flat = flattened(asked, batch.iter().copied())?;
        let sub = Job {
            lattice: &ground,
            queries: Some(&flat),
            attributes: PointAttributes::default(),
            ground: None,
            part: None,
            neighborhood,
            watch: job.watch,
        };
        let mut own = Report::default();
        let lists = strategy.neighbors(&sub, &mut own)?;
        note(own, report);
        let found: Vec<Place> = batch
            .par_iter()
            .enumerate()
            .with_min_len(1 << 10)
            .map(|(at, &i)| {
                let (members, dist_sq) = lists.row(at);
                let near = dist_sq.partition_point(|d| *d <= limit);
                let place = asked.points[i];
                let offset = |j: u32| {
                    let [x, y, _] = ground.points[j as usize];
                    [(x, place[0]), (y, place[1]), (z[j as usize], place[2])]
                        .map(|(there, here)| i64::from(there) - i64::from(here))
                };
                let offsets: Vec<[i64; 3]> = members[..near].iter().map(|&j| offset(j)).collect();
                let ground = ground_below(&offsets, &dist_sq[..near], choices.ground.method);
                let nearest = dist_sq.first().copied().unwrap_or(0);
                Place { height: ground.map(|z| 0.0 - z), dist_sq: nearest }
            })
            .collect();
        batch.iter().zip(found).for_each(|(&i, place)| places[i] = place);
    }
    let quantum = asked.frame.quantum();
    let in_metres = choices.units.vertical.in_metres();
    let scaled = |by: f64| places.iter().map(move |p| (p.height.unwrap_or(0.0) * by) as f32).collect();
    out.put(wanted, Extra::HeightAboveGround, || scaled(quantum));
    out.put(wanted, Extra::HeightInMetres, || scaled(quantum * in_metres));
    out.put(wanted, Extra::GroundDistance, || {
        places.iter().map(|p| ((p.dist_sq as f64).sqrt() * quantum) as f32).collect()
    });
    out.flag(Flags::NO_GROUND, places.iter().map(|p| p.height.is_none()));
    Ok(())
}

/// Height of the ground, against the query, from offsets to ground points, nearest first; `None` without any.
fn ground_below(offsets: &[[i64; 3]], dist_sq: &[u64], method: GroundMethod) -> Option<f64> {
    let nearest = offsets.first()?[2] as f64;
    // A ground point right below is the ground, also where the plane through its neighbours passes beside it.
    if dist_sq.first() == Some(&0) {
        return Some(nearest);
    }
    Some(match method {
        GroundMethod::Nearest => nearest,
        GroundMethod::Idw { .. } => weighted(offsets, dist_sq),
        GroundMethod::Plane { .. } => plane(offsets).unwrap_or_else(|| weighted(offsets, dist_sq)),
    })
}

/// Mean weighted with the inverse squared distance, summed from the nearest on.
fn weighted(offsets: &[[i64; 3]], dist_sq: &[u64]) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (offset, d) in offsets.iter().zip(dist_sq) {
        let weight = 1.0 / *d as f64;
        sum += weight * offset[2] as f64;
        weights += weight;
    }
    sum / weights
}

/// Value at the query of the least-squares plane z = a + b x + c y; `None` where the points lie nearly on a line.
fn plane(offsets: &[[i64; 3]]) -> Option<f64> {
    let n = offsets.len() as i128;
    let sum = |of: fn(&[i64; 3]) -> i128| offsets.iter().map(of).sum::<i128>();
    let (x, y, z) = (sum(|o| o[0].into()), sum(|o| o[1].into()), sum(|o| o[2].into()));
    let product =
        |a: usize, b: usize| offsets.iter().map(|o| i128::from(o[a]) * i128::from(o[b])).sum::<i128>();
    // n² times the covariances, whole numbers until here.
    let about = |a: usize, b: usize, sums: i128| (n * product(a, b) - sums) as f64;
    let (xx, xy, yy) = (about(0, 0, x * x), about(0, 1, x * y), about(1, 1, y * y));
    let (xz, yz) = (about(0, 2, x * z), about(1, 2, y * z));
    let trace = xx + yy;
    if trace == 0.0 {
        return None;
    }
    // In units of the trace: λ1 λ2 / (λ1 + λ2)², which is λ2/λ1 where that is small.
    let [xx, xy, yy, xz, yz] = [xx, xy, yy, xz, yz].map(|v| v / trace);
    let determinant = xx * yy - xy * xy;
    if determinant < LEAST_SPREAD {
        return None;
    }
    let (b, c) = ((xz * yy - yz * xy) / determinant, (yz * xx - xz * xy) / determinant);
    Some((z as f64 - b * x as f64 - c * y as f64) / n as f64)
}

/// Heights above the cloud's lowest point, and as a part of its whole height.
pub(super) fn above_lowest(job: &Job<'_>, wanted: &[Extra], out: &mut Extras) {
    let Lattice { min, max, frame, .. } = job.lattice;
    let [lowest, highest] = job.part.map_or([min[2], max[2]], |part| part.whole.heights());
    let above = |p: &[i32; 3]| f64::from(p[2]) - f64::from(lowest);
    let whole = f64::from(highest) - f64::from(lowest);
    let points = &job.asked().points;
    out.put(wanted, Extra::HeightAboveMin, || {
        points.iter().map(|p| (above(p) * frame.quantum()) as f32).collect()
    });
    out.put(wanted, Extra::RelativeHeight, || {
        // A level cloud has no height to be a part of.
        points.iter().map(|p| if whole > 0.0 { (above(p) / whole) as f32 } else { 0.0 }).collect()
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    fn below(offsets: &[[i64; 3]], method: GroundMethod) -> Option<f64> {
        let dist_sq: Vec<u64> = offsets.iter().map(|o| (o[0] * o[0] + o[1] * o[1]) as u64).collect();
        ground_below(offsets, &dist_sq, method)
    }

    #[test]
    fn planes_are_fitted_and_lines_are_weighted() {
        let k = NonZeroU32::MIN;
        let (plane, idw) = (GroundMethod::Plane { k }, GroundMethod::Idw { k });
        let slope = [[1, 0, 5], [0, 3, -1], [-4, 2, -11], [5, 5, 7]].map(|[x, y, _]| [x, y, 2 * x - y - 100]);
        assert!((below(&slope, plane).unwrap() + 100.0).abs() < 1e-9);
        let line = [[1, 1, 10], [2, 2, 20], [3, 3, 30]];
        assert_eq!(below(&line, plane), below(&line, idw));
        let expected = (10.0 / 2.0 + 20.0 / 8.0 + 30.0 / 18.0) / (1.0 / 2.0 + 1.0 / 8.0 + 1.0 / 18.0);
        assert!((below(&line, idw).unwrap() - expected).abs() < 1e-12);
        assert_eq!(below(&line, GroundMethod::Nearest), Some(10.0));
        assert_eq!(below(&[[0, 0, -7], [1, 0, 90], [0, 1, 90]], plane), Some(-7.0));
        assert_eq!(below(&[], plane), None);
        assert_eq!(below(&[[9, 9, 4]; 3], plane), Some(4.0));
    }
}
