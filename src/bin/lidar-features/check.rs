//! A check of a sample of a run's columns by brute force in exact integers, sharing no code with the engine.

use std::collections::BinaryHeap;

use lidar_features::{Columns, Feature};
use rayon::prelude::*;

/// Points of the sample.
const SAMPLE: usize = 64;

/// Features that the check knows.
pub const KNOWN: [Feature; 3] = [Feature::KnnDistance, Feature::NeighborCount, Feature::EigenvalueSum];

/// What is true of the sampled points.
pub struct Expected {
    points: Vec<Point>,
    /// What stands for undefined values.
    undefined: f64,
}

struct Point {
    index: usize,
    members: f64,
    radius: f64,
    eigenvalue_sum: f64,
}

impl Expected {
    /// Finds the neighbours of a sample, the `k` nearest within `radius`, ties by index, among all points but those that
    /// are ignored.
    pub fn new(
        lattice: &[[i32; 3]],
        ignored: Option<&[bool]>,
        quantum: f64,
        (k, radius): (Option<u32>, Option<f64>),
        undefined: f64,
    ) -> Self {
        let limit = radius.map_or(u64::MAX, |r| (r / quantum * (1.0 + 1e-9)).powi(2) as u64);
        let kept: Vec<u32> = (0..lattice.len() as u32)
            .filter(|&i| ignored.is_none_or(|ignored| !ignored[i as usize]))
            .collect();
        let n = kept.len();
        let count = SAMPLE.min(n);
        let indices = (0..count).map(|s| kept[(s as u128 * n as u128 / count as u128) as usize] as usize);
        let members = k.map_or(n, |k| (k as usize).min(n));
        let points = indices.collect::<Vec<_>>().into_par_iter().map(|index| {
            let mut nearest = nearest(lattice, &kept, index, members);
            nearest.retain(|found| found.0 <= limit);
            point(lattice, index, &nearest, quantum)
        });
        Self { points: points.collect(), undefined }
    }

    pub fn sample(&self) -> usize {
        self.points.len()
    }

    /// How many sampled values of the known features are wrong. Those that conventions redefine are not
    /// looked at.
    pub fn mismatches(&self, columns: &Columns, redefined: &[Feature]) -> usize {
        KNOWN
            .iter()
            .filter(|f| !redefined.contains(f))
            .filter_map(|&f| Some((f, columns.get(f)?)))
            .map(|(f, values)| self.wrong(f, values))
            .sum()
    }

    fn wrong(&self, feature: Feature, values: &[f32]) -> usize {
        let off = |p: &&Point| {
            let got = f64::from(values[p.index]);
            let (want, tolerance) = match feature {
                Feature::NeighborCount => (p.members, 0.0),
                Feature::KnnDistance => (p.radius, 1e-6),
                // Undefined below three members.
                _ if p.members < 3.0 => {
                    return got != self.undefined && !(got.is_nan() && self.undefined.is_nan());
                }
                _ => (p.eigenvalue_sum, 1e-5),
            };
            // NaN is not close to anything.
            let close = (got - want).abs() <= tolerance * want;
            !close
        };
        self.points.iter().filter(off).count()
    }
}

/// Squared distance in quanta² and index of the nearest points, in no order.
fn nearest(lattice: &[[i32; 3]], kept: &[u32], query: usize, members: usize) -> Vec<(u64, u32)> {
    let q = lattice[query];
    let mut heap = BinaryHeap::with_capacity(members + 1);
    for &i in kept {
        let p = lattice[i as usize];
        let dist_sq: u64 = (0..3).map(|a| u64::from(p[a].abs_diff(q[a])).pow(2)).sum();
        let candidate = (dist_sq, i);
        if heap.len() < members {
            heap.push(candidate);
        } else if let Some(mut farthest) = heap.peek_mut()
            && candidate < *farthest
        {
            *farthest = candidate;
        }
    }
    heap.into_vec()
}

fn point(lattice: &[[i32; 3]], index: usize, nearest: &[(u64, u32)], quantum: f64) -> Point {
    let n = nearest.len() as i128;
    let mut sum = [0i128; 3];
    let mut squares = 0i128;
    for &(dist_sq, i) in nearest {
        squares += i128::from(dist_sq);
        for a in 0..3 {
            sum[a] += i128::from(lattice[i as usize][a]) - i128::from(lattice[index][a]);
        }
    }
    // The eigenvalues add up to the covariance's trace.
    let trace = n * squares - sum.iter().map(|s| s * s).sum::<i128>();
    let farthest = nearest.iter().map(|c| c.0).max().unwrap_or(0);
    Point {
        index,
        members: n as f64,
        radius: (farthest as f64).sqrt() * quantum,
        eigenvalue_sum: trace as f64 / (n * n) as f64 * quantum * quantum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lidar_features::{Backend, Engine, FeatureSet, Neighborhood, synthetic};

    #[test]
    fn the_check_passes_right_columns_and_catches_wrong_neighbours() {
        let scene = synthetic::scene("als", 5_000, 1).unwrap();
        let engine = Engine::builder().backend(Backend::Cpu).build().unwrap();
        let set = FeatureSet::new(KNOWN);
        let of = |k| engine.features(&scene.cloud(), &set, Neighborhood::knn(k).unwrap()).unwrap().0;
        let expected = Expected::new(&scene.lattice, None, scene.frame.quantum(), (Some(12), None), f64::NAN);
        assert_eq!((expected.sample(), expected.mismatches(&of(12), &[])), (64, 0));
        let wrong = expected.mismatches(&of(11), &[]);
        assert!(wrong > 64 && expected.mismatches(&of(11), &[Feature::EigenvalueSum]) < wrong);
        let within = |k, r| {
            let rule = Neighborhood::knn_within(k, r).unwrap();
            expected_within(&scene, k, r)
                .mismatches(&engine.features(&scene.cloud(), &set, rule).unwrap().0, &[])
        };
        assert_eq!(within(30, 2.0), 0);
    }

    fn expected_within(scene: &synthetic::Scene, k: u32, radius: f64) -> Expected {
        Expected::new(&scene.lattice, None, scene.frame.quantum(), (Some(k), Some(radius)), f64::NAN)
    }
}
