//! A check of a sample of a run's columns by brute force in exact integers, sharing no code with the engine.

use std::collections::BinaryHeap;

use lidar_features::{Feature, Neighbors};
use rayon::prelude::*;

/// Points of the sample.
const SAMPLE: usize = 64;

/// Features that the check knows.
pub const KNOWN: [Feature; 3] = [Feature::KnnDistance, Feature::NeighborCount, Feature::EigenvalueSum];

/// Whose members a sampled point's are.
pub struct Rule {
    pub k: Option<u32>,
    pub radius: Option<f64>,
    /// Each point has a number of its own, at most `k`: as many as its column says.
    pub chosen: bool,
}

/// What is true of the sampled points.
pub struct Expected {
    samples: Vec<Sample>,
    chosen: bool,
    quantum: f64,
    /// What stands for undefined values.
    undefined: f64,
}

/// A sampled point with its nearest, sorted.
struct Sample {
    index: usize,
    nearest: Vec<Member>,
}

/// A member of a sampled point's neighbourhood.
struct Member {
    dist_sq: u64,
    index: u32,
    /// From the sampled point, in quanta.
    offset: [i64; 3],
}

struct Point {
    members: f64,
    radius: f64,
    eigenvalue_sum: f64,
}

impl Expected {
    /// Finds the neighbours of a sample, ties by index, among all points but those that are ignored.
    pub fn new(
        lattice: &[[i32; 3]],
        ignored: Option<&[bool]>,
        quantum: f64,
        Rule { k, radius, chosen }: Rule,
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
        let sample = |index: usize| {
            let mut found = nearest(lattice, &kept, index, members);
            found.retain(|found| found.0 <= limit);
            found.sort_unstable();
            let offset = |i: u32| {
                std::array::from_fn(|a| i64::from(lattice[i as usize][a]) - i64::from(lattice[index][a]))
            };
            let member = |(dist_sq, index)| Member { dist_sq, index, offset: offset(index) };
            Sample { index, nearest: found.into_iter().map(member).collect() }
        };
        let samples = indices.collect::<Vec<_>>().into_par_iter().map(sample).collect();
        Self { samples, chosen, quantum, undefined }
    }

    pub fn sample(&self) -> usize {
        self.samples.len()
    }

    /// How many sampled values of the known features are wrong. Those that conventions redefine are not
    /// looked at.
    pub fn mismatches<'c>(
        &self,
        columns: impl Fn(Feature) -> Option<&'c [f32]>,
        redefined: &[Feature],
    ) -> usize {
        let counts = columns(Feature::NeighborCount).filter(|_| self.chosen);
        if self.chosen && counts.is_none() {
            return self.samples.len();
        }
        let truths: Vec<_> = self.samples.iter().map(|s| s.truth(self.quantum, counts)).collect();
        KNOWN
            .iter()
            .filter(|f| !redefined.contains(f))
            .filter_map(|&f| Some((f, columns(f)?)))
            .map(|(f, values)| self.wrong(f, values, &truths))
            .sum()
    }

    /// How many entries of the sampled points' lists are wrong, or lack.
    pub fn mismatches_of_lists(&self, lists: &Neighbors) -> usize {
        let wrong = |sample: &Sample| {
            let (indices, dist_sq) = lists.row(sample.index);
            let mut nearest = &sample.nearest[..];
            if self.chosen {
                nearest = &nearest[..nearest.len().min(indices.len())];
            }
            let differs = |((index, dist_sq), truth): &((&u32, &u64), &Member)| {
                (**index, **dist_sq) != (truth.index, truth.dist_sq)
            };
            let entries = indices.iter().zip(dist_sq).zip(nearest).filter(differs).count();
            entries + indices.len().abs_diff(nearest.len()) + usize::from(indices.is_empty())
        };
        self.samples.iter().map(wrong).sum()
    }

    fn wrong(&self, feature: Feature, values: &[f32], truths: &[Point]) -> usize {
        let off = |(sample, p): &(&Sample, &Point)| {
            let got = f64::from(values[sample.index]);
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
        self.samples.iter().zip(truths).filter(off).count()
    }
}

impl Sample {
    /// What its columns must say; of as many members as `counts` says.
    fn truth(&self, quantum: f64, counts: Option<&[f32]>) -> Point {
        let most = counts.map_or(usize::MAX, |counts| counts[self.index] as usize);
        let members = &self.nearest[..self.nearest.len().min(most)];
        let n = members.len() as i128;
        let mut sum = [0i128; 3];
        let mut squares = 0i128;
        for &Member { dist_sq, offset, .. } in members {
            squares += i128::from(dist_sq);
            sum.iter_mut().zip(offset).for_each(|(sum, o)| *sum += i128::from(o));
        }
        // The eigenvalues add up to the covariance's trace.
        let trace = n * squares - sum.iter().map(|s| s * s).sum::<i128>();
        let farthest = members.last().map_or(0, |m| m.dist_sq);
        Point {
            members: n as f64,
            radius: (farthest as f64).sqrt() * quantum,
            eigenvalue_sum: trace as f64 / (n * n) as f64 * quantum * quantum,
        }
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
        let (of_11, of_12) = (of(11), of(12));
        let expected = |k, radius, chosen| {
            let rule = Rule { k: Some(k), radius, chosen };
            Expected::new(&scene.lattice, None, scene.frame.quantum(), rule, f64::NAN)
        };
        let twelve = expected(12, None, false);
        assert_eq!((twelve.sample(), twelve.mismatches(|f| of_12.get(f), &[])), (64, 0));
        let wrong = twelve.mismatches(|f| of_11.get(f), &[]);
        assert!(wrong > 64 && twelve.mismatches(|f| of_11.get(f), &[Feature::EigenvalueSum]) < wrong);
        let within_two = Neighborhood::knn_within(30, 2.0).unwrap();
        let (within, _) = engine.features(&scene.cloud(), &set, within_two).unwrap();
        assert_eq!(expected(30, Some(2.0), false).mismatches(|f| within.get(f), &[]), 0);
        let optimal = Neighborhood::optimal(10, 30, 1).unwrap();
        let (best, _) = engine.features(&scene.cloud(), &set, optimal).unwrap();
        assert_eq!(expected(30, None, true).mismatches(|f| best.get(f), &[]), 0);
        assert!(expected(30, None, false).mismatches(|f| best.get(f), &[]) > 64);
        let lists = |rule| engine.neighbors(&scene.cloud(), rule).unwrap().0;
        let mut right = lists(Neighborhood::knn(12).unwrap());
        assert_eq!(twelve.mismatches_of_lists(&right), 0);
        // Each of 64 lists lacks its last entry.
        assert_eq!(twelve.mismatches_of_lists(&lists(Neighborhood::knn(11).unwrap())), 64);
        assert_eq!(expected(30, Some(2.0), false).mismatches_of_lists(&lists(within_two)), 0);
        assert_eq!(expected(30, None, true).mismatches_of_lists(&lists(optimal)), 0);
        // The first point is a sampled one, and its fourth and fifth nearest change places.
        right.indices.swap(3, 4);
        assert_eq!(twelve.mismatches_of_lists(&right), 2);
    }
}
