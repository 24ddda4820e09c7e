//! Two clouds on one lattice: queries that are no points of the cloud they are asked of.

use rayon::prelude::*;

use crate::cloud::{Coordinates, Lattice, PointCloud};
use crate::error::{Error, Result};
use crate::frame::{self, Frame, MAX_EXTENT, Precision};
use crate::watch::Watch;

/// Part of a quantum by which two lattices, or a coordinate and a lattice, may be apart and count as in step: origins of
/// 1e7 in quanta of 1e-4 have that error in f64.
const IN_STEP: f64 = 1e-3;

/// Queries and cloud on one lattice, in that order.
///
/// Coordinates in f64 or f32 get the frame that they would have as one cloud. A lattice keeps its frame where the other's
/// coordinates lie on it; else the coarsest frame that represents both is chosen as for f64.
///
/// # Errors
/// [`Error::FramesDiffer`] for two lattices out of step, or two stated quanta; otherwise as for one cloud.
pub(crate) fn together<'a>(
    queries: &PointCloud<'a>,
    cloud: &PointCloud<'a>,
    watch: &Watch,
) -> Result<(Lattice<'a>, Lattice<'a>)> {
    let (asked, there) = match (queries.coordinates(), cloud.coordinates()) {
        (Coordinates::Lattice(places, own), Coordinates::Lattice(points, frame)) => {
            let moved = in_step(own, frame).map(|shift| shifted(places, own, frame, shift)).transpose()?;
            let moved = moved.ok_or_else(|| Error::FramesDiffer {
                quanta: [own.quantum(), frame.quantum()],
                origins: [own.origin(), frame.origin()],
            })?;
            (moved, Lattice::new(points.into(), frame)?)
        }
        (_, Coordinates::Lattice(points, frame)) if is_on(queries, &frame, watch)? => {
            (placed(queries, frame, watch)?, Lattice::new(points.into(), frame)?)
        }
        (Coordinates::Lattice(places, frame), _) if is_on(cloud, &frame, watch)? => {
            (Lattice::new(places.into(), frame)?, placed(cloud, frame, watch)?)
        }
        _ => {
            let frame = common_frame(queries, cloud, watch)?;
            (placed(queries, frame, watch)?, placed(cloud, frame, watch)?)
        }
    };
    // Squared distances between the two must fit as those within one do.
    if asked.len() > 0 && there.len() > 0 {
        for a in 0..3 {
            let (low, high) = (asked.min[a].min(there.min[a]), asked.max[a].max(there.max[a]));
            let (quanta, quantum) = (f64::from(high) - f64::from(low), there.frame.quantum());
            if quanta > f64::from(MAX_EXTENT) {
                let limit = MAX_EXTENT;
                return Err(Error::ExtentTooLarge { axis: frame::AXES[a], quanta, quantum, limit });
            }
        }
    }
    Ok((asked, there))
}

/// Whole quanta from one frame's origin to the other's, if their lattices coincide.
fn in_step(from: Frame, to: Frame) -> Option<[f64; 3]> {
    let shift: [f64; 3] = std::array::from_fn(|a| (from.origin()[a] - to.origin()[a]) / to.quantum());
    let whole = shift.iter().all(|s| (s - s.round()).abs() <= IN_STEP);
    (from.quantum() == to.quantum() && whole).then(|| shift.map(f64::round))
}

/// The same places in the frame `to`.
fn shifted<'a>(places: &'a [[i32; 3]], own: Frame, to: Frame, shift: [f64; 3]) -> Result<Lattice<'a>> {
    if shift == [0.0; 3] {
        return Lattice::new(places.into(), to);
    }
    let lattice = Lattice::new(places.into(), own)?;
    for (a, shift) in shift.into_iter().enumerate() {
        // Beyond an i32 the two clouds are farther apart than one cloud may be wide, or nearly so.
        let ends = [lattice.min[a], lattice.max[a]].map(|end| (f64::from(end) + shift).abs());
        if ends[0].max(ends[1]) > f64::from(i32::MAX) {
            let (quanta, quantum, limit) = (ends[0].max(ends[1]), to.quantum(), MAX_EXTENT);
            return Err(Error::ExtentTooLarge { axis: frame::AXES[a], quanta, quantum, limit });
        }
    }
    let shift = shift.map(|s| s as i64);
    let moved = |p: &[i32; 3]| std::array::from_fn(|a| (i64::from(p[a]) + shift[a]) as i32);
    let moved: Vec<[i32; 3]> = places.par_iter().with_min_len(1 << 14).map(moved).collect();
    Lattice::new(moved.into(), to)
}

/// Whether every coordinate is one of the frame's.
fn is_on(cloud: &PointCloud<'_>, frame: &Frame, watch: &Watch) -> Result<bool> {
    let precision = cloud.precision();
    let is_on = |i: usize| {
        cloud.world(i).iter().zip(frame.origin()).all(|(v, origin)| {
            let quanta = (v - origin) / frame.quantum();
            let blur = 4.0 * precision.ulp(*v) / frame.quantum() + 1e-9;
            // A blur of a quantum would take anything for a lattice point.
            blur < 0.25 && (quanta - quanta.round()).abs() <= blur && quanta.abs() < f64::from(MAX_EXTENT)
        })
    };
    let all = watch.blocks(cloud.len()).all(|mut block| block.all(is_on));
    watch.check().map(|()| all)
}

/// A cloud of any kind on a frame that represents it.
fn placed<'a>(cloud: &PointCloud<'_>, frame: Frame, watch: &Watch) -> Result<Lattice<'a>> {
    Lattice::new(frame::quantize(cloud.len(), |i| cloud.world(i), &frame, watch)?.into(), frame)
}

/// The frame of both clouds' points taken as one cloud.
fn common_frame(queries: &PointCloud<'_>, cloud: &PointCloud<'_>, watch: &Watch) -> Result<Frame> {
    let (n, all) = (cloud.len(), cloud.len() + queries.len());
    let at = |i: usize| if i < n { cloud.world(i) } else { queries.world(i - n) };
    let quantum = match (queries.stated_quantum(), cloud.stated_quantum()) {
        (Some(a), Some(b)) if a != b => {
            return Err(Error::FramesDiffer { quanta: [a, b], origins: [[0.0; 3]; 2] });
        }
        (a, b) => a.or(b),
    };
    let coarse = [queries, cloud].iter().any(|c| c.precision() == Precision::F32 && !c.is_empty());
    frame::choose(all, at, if coarse { Precision::F32 } else { Precision::F64 }, quantum, watch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn together<'a>(queries: &PointCloud<'a>, cloud: &PointCloud<'a>) -> Result<(Lattice<'a>, Lattice<'a>)> {
        super::together(queries, cloud, &Watch::default())
    }

    type Pair = (f64, Vec<[i32; 3]>, Vec<[i32; 3]>);

    fn pair(a: &[[f64; 3]], b: &[[f64; 3]]) -> Result<Pair> {
        let (q, c) = together(&PointCloud::from_f64(a), &PointCloud::from_f64(b))?;
        assert_eq!(q.frame, c.frame);
        Ok((q.frame.quantum(), q.points.to_vec(), c.points.to_vec()))
    }

    #[test]
    fn the_finer_of_two_decimals_serves_both() {
        let (quantum, q, c) = pair(&[[1.005, 2.0, 3.0]], &[[1.0, 2.0, 3.25], [0.5, 2.0, 3.0]]).unwrap();
        assert_eq!(quantum, 0.001);
        assert_eq!((q, c), (vec![[505, 0, 0]], vec![[500, 0, 250], [0, 0, 0]]));
    }

    #[test]
    fn lattices_in_step_are_shifted_and_others_refused() {
        let frame = |x: f64, q: f64| Frame::new([x, 5.0, 0.0], q).unwrap();
        let lattice = |places, frame| PointCloud::from_lattice(places, frame);
        let (q, c) = together(
            &lattice(&[[1, 2, 3]], frame(651_000.5, 0.01)),
            &lattice(&[[0; 3]], frame(651_000.0, 0.01)),
        )
        .unwrap();
        assert_eq!((q.points[0], c.points[0], q.frame), ([51, 2, 3], [0; 3], c.frame));
        for other in [frame(0.5, 0.02), frame(0.503, 0.01)] {
            let refused = together(&lattice(&[[1; 3]], other), &lattice(&[[0; 3]], frame(0.0, 0.01)));
            assert!(matches!(refused, Err(Error::FramesDiffer { .. })));
        }
        let far = together(&lattice(&[[1; 3]], frame(1e9, 0.01)), &lattice(&[[0; 3]], frame(0.0, 0.01)));
        assert!(matches!(far, Err(Error::ExtentTooLarge { axis: 'x', .. })), "{far:?}");
    }

    #[test]
    fn coordinates_go_on_a_lattice_that_has_them_or_both_get_a_finer_one() {
        let frame = Frame::new([10.0, 20.0, 30.0], 0.01).unwrap();
        let cloud = PointCloud::from_lattice(&[[0, 0, 0], [7, 8, 9]], frame);
        let (q, c) = together(&PointCloud::from_f64(&[[10.5, 20.0, 29.0]]), &cloud).unwrap();
        assert_eq!((q.points[0], q.frame), ([50, 0, -100], frame));
        assert_eq!(c.points[1], [7, 8, 9]);
        let (q, c) = together(&cloud, &PointCloud::from_f64(&[[10.5005, 20.0, 29.0]])).unwrap();
        assert_eq!((q.frame.quantum(), c.frame.quantum()), (0.0001, 0.0001));
        assert_eq!(std::array::from_fn::<_, 3, _>(|a| q.points[1][a] - q.points[0][a]), [700, 800, 900]);
    }

    #[test]
    fn stated_quanta_must_agree_and_extents_fit_together() {
        let at = [[0.0; 3]];
        let (a, b) =
            (PointCloud::from_f64(&at).with_quantum(0.1), PointCloud::from_f64(&at).with_quantum(0.2));
        assert!(matches!(together(&a, &b), Err(Error::FramesDiffer { .. })));
        assert_eq!(together(&a, &PointCloud::from_f64(&at)).unwrap().1.frame.quantum(), 0.1);
        let frame = Frame::new([0.0; 3], 1.0).unwrap();
        let far = together(
            &PointCloud::from_lattice(&[[i32::MIN; 3]], frame),
            &PointCloud::from_lattice(&[[i32::MAX; 3]], frame),
        );
        assert!(matches!(far, Err(Error::ExtentTooLarge { .. })));
    }
}
