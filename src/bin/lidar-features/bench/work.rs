//! What is measured, and what it gives.

use lidar_features::{Columns, Engine, FeatureSet, Neighborhood, Neighbors, PointCloud, Report};

use super::variant::Variant;
use crate::failure::Failure;
use crate::request::Request;

/// What each run does.
#[derive(Clone, Copy)]
pub struct Work {
    /// Neighbour lists instead of features.
    pub lists: bool,
    /// From points on the GPU to results on the GPU.
    pub on_device: bool,
}

/// What a run gives.
pub enum Answers {
    Columns(Columns),
    Lists(Neighbors),
}

impl Default for Answers {
    fn default() -> Self {
        Self::Columns(Columns::default())
    }
}

impl Work {
    /// Refuses what cannot be done before anything is read.
    pub fn check(self, request: &Request, variants: &[Variant]) -> Result<(), Failure> {
        if self.on_device && (request.is_of_cpu() || variants.contains(&Variant::Cpu)) {
            return Err(Failure::Usage("--on-device times a GPU, and not the CPU".to_owned()));
        }
        if self.on_device || self.lists {
            self.neighborhood(request)?;
        }
        Ok(())
    }

    /// The neighbourhood, where there may be only one.
    fn neighborhood(self, request: &Request) -> Result<Neighborhood, Failure> {
        match request.neighborhoods()?[..] {
            [one] => Ok(one),
            ref all => {
                let argument = if self.lists { "--lists" } else { "--on-device" };
                Err(Failure::Usage(format!("{argument} takes one neighbourhood, not {}", all.len())))
            }
        }
    }

    pub fn run(
        self,
        request: &Request,
        engine: &Engine,
        cloud: &PointCloud<'_>,
        set: &FeatureSet,
    ) -> Result<(Answers, Report), Failure> {
        Ok(match (self.lists, self.on_device) {
            (false, false) => {
                let (columns, report) = request.compute(engine, cloud, set)?;
                (Answers::Columns(columns), report)
            }
            (false, true) => {
                let (columns, report) =
                    engine.features_timed_on_device(cloud, set, self.neighborhood(request)?)?;
                (Answers::Columns(columns), report)
            }
            (true, false) => {
                let (lists, report) = engine.neighbors(cloud, self.neighborhood(request)?)?;
                (Answers::Lists(lists), report)
            }
            (true, true) => {
                let (lists, report) = engine.neighbors_timed_on_device(cloud, self.neighborhood(request)?)?;
                (Answers::Lists(lists), report)
            }
        })
    }
}

impl Answers {
    /// Values that differ between two results of one device, where the bits must be the same.
    pub fn differences(&self, other: &Self) -> usize {
        match (self, other) {
            (Self::Columns(a), Self::Columns(b)) => {
                let values: usize = a.iter().zip(b).map(|(a, b)| differing_bits(&a.values, &b.values)).sum();
                values + differing(a.flags(), b.flags())
            }
            (Self::Lists(a), Self::Lists(b)) => {
                let ends = differing(&a.offsets, &b.offsets);
                ends + differing(&a.indices, &b.indices) + differing(&a.dist_sq, &b.dist_sq)
            }
            _ => usize::MAX,
        }
    }

    /// Values of copies of a cloud that differ from those of the cloud alone.
    pub fn differences_of_copies(&self, single: &Self) -> usize {
        match (self, single) {
            (Self::Columns(all), Self::Columns(one)) => {
                let n = one.len().max(1);
                let of_column = |all: &[f32], one: &[f32]| {
                    all.chunks(n).map(|copy| differing_bits(copy, one)).sum::<usize>()
                };
                all.iter().zip(one).map(|(all, one)| of_column(&all.values, &one.values)).sum()
            }
            (Self::Lists(all), Self::Lists(one)) => {
                let n = one.len().max(1);
                let row = |i: usize| {
                    let (first, (indices, dist_sq), alone) = (i / n * n, all.row(i), one.row(i % n));
                    let moved = |(a, b): (&u32, &u32)| *a as usize != *b as usize + first;
                    let missing = indices.len().abs_diff(alone.0.len());
                    let others = indices.iter().zip(alone.0).filter(|pair| moved(*pair)).count();
                    missing + others + differing(dist_sq, alone.1)
                };
                (0..all.len()).map(row).sum()
            }
            _ => usize::MAX,
        }
    }
}

fn differing<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    a.len().abs_diff(b.len()) + a.iter().zip(b).filter(|(a, b)| a != b).count()
}

fn differing_bits(a: &[f32], b: &[f32]) -> usize {
    a.iter().zip(b).filter(|(a, b)| a.to_bits() != b.to_bits()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(rows: &[&[(u32, u64)]]) -> Answers {
        let mut out = Neighbors { offsets: vec![0], ..Neighbors::default() };
        for row in rows {
            out.indices.extend(row.iter().map(|entry| entry.0));
            out.dist_sq.extend(row.iter().map(|entry| entry.1));
            out.offsets.push(out.indices.len());
        }
        Answers::Lists(out)
    }

    #[test]
    fn lists_of_copies_name_points_of_their_copy() {
        let one = lists(&[&[(0, 0), (1, 4)], &[(1, 0), (0, 4)]]);
        let right = lists(&[&[(0, 0), (1, 4)], &[(1, 0), (0, 4)], &[(2, 0), (3, 4)], &[(3, 0), (2, 4)]]);
        assert_eq!((right.differences_of_copies(&one), right.differences(&right)), (0, 0));
        let wrong = lists(&[&[(0, 0), (1, 4)], &[(1, 0), (0, 5)], &[(0, 0), (3, 4)], &[(3, 0)]]);
        // A distance, an index, and an entry that lacks with its distance.
        assert_eq!(wrong.differences_of_copies(&one), 4);
        assert!(wrong.differences(&right) > 0);
    }
}
