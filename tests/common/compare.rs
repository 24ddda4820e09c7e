//! Compares columns and neighbour lists with what they should be, and keeps count of what was compared.

use std::collections::BTreeMap;
use std::fmt;

use lidar_features::{Columns, Feature, Neighbors, Tolerance};

use super::local::{Local, cross, dot};
use super::oracle::Lists;
use super::tolerance::{allowed, either_sign, ties_for_largest, undecided};

/// Columns that a test can tamper with.
pub type Table = BTreeMap<Feature, Vec<f32>>;

pub fn table(columns: &Columns) -> Table {
    columns.iter().map(|c| (c.feature, c.values.clone())).collect()
}

/// A value that is not what it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub feature: Feature,
    pub index: usize,
    pub expected: f64,
    pub actual: f64,
    pub tolerance: f64,
}

/// The largest error of a feature that was seen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Worst {
    pub error: f64,
    /// The error as part of what is allowed.
    pub part: f64,
}

/// What a comparison found.
#[derive(Debug, Default)]
pub struct Outcome {
    pub compared: usize,
    /// Values whose direction is too poorly defined to compare.
    pub excluded: usize,
    /// Decisions that came out otherwise, within tolerance of their threshold.
    pub undecided: usize,
    pub failures: Vec<Failure>,
    pub worst: BTreeMap<Feature, Worst>,
}

impl Outcome {
    pub fn absorb(&mut self, other: Self) {
        self.compared += other.compared;
        self.excluded += other.excluded;
        self.undecided += other.undecided;
        self.failures.extend(other.failures);
        for (feature, worst) in other.worst {
            self.note(feature, worst.error, worst.part);
        }
    }

    pub fn assert_clean(&self, what: &str) {
        let count = self.failures.len();
        assert!(count == 0, "{what}: {count} of {} values are off: {:#?}", self.compared, self.first());
    }

    fn first(&self) -> &[Failure] {
        &self.failures[..self.failures.len().min(8)]
    }

    fn note(&mut self, feature: Feature, error: f64, part: f64) {
        let worst = self.worst.entry(feature).or_default();
        worst.error = worst.error.max(error);
        worst.part = worst.part.max(part);
    }

    fn check(&mut self, error: f64, failure: Failure) {
        self.compared += 1;
        if error > failure.tolerance || error.is_nan() {
            self.failures.push(failure);
        } else {
            let part = if error > 0.0 { error / failure.tolerance } else { 0.0 };
            self.note(failure.feature, error, part);
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compared, excluded, undecided, .. } = self;
        writeln!(
            f,
            "{compared} values compared ({undecided} decided otherwise at a threshold), {excluded} excluded"
        )?;
        for (feature, worst) in &self.worst {
            let Worst { error, part } = worst;
            writeln!(
                f,
                "  {:20} largest error {error:9.2e}, {:4.0} % of allowed",
                feature.name(),
                part * 100.0
            )?;
        }
        Ok(())
    }
}

/// Compares every value for which `expected` has one. Vectors are compared whole, by angle.
pub fn columns(
    actual: &Table,
    expected: impl Fn(Feature, usize) -> Option<f64>,
    locals: &[Local],
    tolerance: impl Fn(Feature) -> Tolerance,
) -> Outcome {
    let mut out = Outcome::default();
    for (&feature, values) in actual {
        assert_eq!(values.len(), locals.len(), "length of {feature}");
        for (index, (&value, local)) in values.iter().zip(locals).enumerate() {
            let Some(expected_here) = expected(feature, index) else { continue };
            let failure = |tolerance| Failure {
                feature,
                index,
                expected: expected_here,
                actual: value.into(),
                tolerance,
            };
            let tolerance = tolerance(feature);
            let rounded = expected_here as f32;
            if !rounded.is_finite() || !value.is_finite() {
                let same = rounded.is_nan() && value.is_nan() || rounded == value;
                out.check(if same { 0.0 } else { f64::INFINITY }, failure(0.0));
                continue;
            }
            let Some(allowed) = allowed(feature, tolerance, local, expected_here) else {
                out.excluded += 1;
                continue;
            };
            if let Tolerance::Angle(axis, _) = tolerance {
                let whole = parts(feature)
                    .map(|part| Some((f64::from(*actual.get(&part)?.get(index)?), expected(part, index)?)));
                if let [Some(x), Some(y), Some(z)] = whole {
                    let degrees = angle([x.0, y.0, z.0], [x.1, y.1, z.1], axis, allowed);
                    out.check(degrees, failure(allowed));
                    continue;
                }
                // A lone component moves by the angle at most.
                let error = (f64::from(value) - expected_here).abs().to_degrees();
                out.check(error, failure(allowed));
                continue;
            }
            let value = f64::from(value);
            let error = match tolerance {
                Tolerance::Exact => (value - f64::from(rounded)).abs(),
                Tolerance::Decision(_) if value != expected_here => {
                    if undecided(feature, tolerance, local, value) {
                        out.undecided += 1;
                        out.check(0.0, failure(allowed));
                        continue;
                    }
                    f64::INFINITY
                }
                Tolerance::Bearing(_) => {
                    let turned = |a: f64| (a - expected_here + 180.0).rem_euclid(360.0) - 180.0;
                    let direct = turned(value).abs();
                    // An upright surface's normal may point either way.
                    let upright = local.vectors[2][2].abs() < allowed.to_radians();
                    if upright { direct.min(turned(value + 180.0).abs()) } else { direct }
                }
                _ if either_sign(tolerance, local) => (value.abs() - expected_here.abs()).abs(),
                _ => (value - expected_here).abs(),
            };
            out.check(error, failure(allowed));
        }
    }
    out
}

/// The three components of the vector that `feature` is one of.
fn parts(feature: Feature) -> [Feature; 3] {
    let stem = &feature.name()[..feature.name().len() - 1];
    ["x", "y", "z"].map(|axis| format!("{stem}{axis}").parse().unwrap())
}

/// Degrees between two unit vectors; infinite for one that is not of length 1 or that points the wrong way.
fn angle(actual: [f64; 3], expected: [f64; 3], axis: u8, allowed: f64) -> f64 {
    if (dot(actual, actual).sqrt() - 1.0).abs() > 1e-5 {
        return f64::INFINITY;
    }
    let between = |a: [f64; 3]| {
        let c = cross(a, expected);
        dot(c, c).sqrt().atan2(dot(a, expected)).to_degrees()
    };
    let direct = between(actual);
    let blur = allowed.to_radians();
    // The sign hangs on one component, which may lie on either side of its threshold.
    let either_sign = match axis {
        3 => expected[2].abs() < blur,
        _ => ties_for_largest(expected, blur),
    };
    if either_sign { direct.min(between(actual.map(|c| -c))) } else { direct }
}

/// The first place where a point's list is not what it should be.
#[derive(Debug, PartialEq)]
pub struct WrongList {
    pub point: usize,
    pub position: usize,
    /// (squared distance, index).
    pub expected: Option<(u64, u32)>,
    pub actual: Option<(u64, u32)>,
}

/// Lists that differ from the first `k` entries of the expected ones.
pub fn neighbors(actual: &Neighbors, expected: &Lists, k: usize) -> Vec<WrongList> {
    assert_eq!(actual.len(), expected.len(), "number of lists");
    let wrong = |(point, list): (usize, &Vec<(u64, u32)>)| {
        let list = &list[..k.min(list.len())];
        let (indices, dist_sq) = actual.row(point);
        let row: Vec<_> = dist_sq.iter().copied().zip(indices.iter().copied()).collect();
        let position = (0..row.len().max(list.len())).find(|&i| row.get(i) != list.get(i))?;
        let at = |of: &[(u64, u32)]| of.get(position).copied();
        Some(WrongList { point, position, expected: at(list), actual: at(&row) })
    };
    expected.iter().enumerate().filter_map(wrong).collect()
}

pub fn assert_neighbors(actual: &Neighbors, expected: &Lists, k: usize, what: &str) {
    let wrong = neighbors(actual, expected, k);
    let first = &wrong[..wrong.len().min(4)];
    assert!(wrong.is_empty(), "{what}: {} of {} lists are wrong: {first:?}", wrong.len(), expected.len());
}

/// The lists of a result, to compare others with.
pub fn lists(neighbors: &Neighbors) -> Lists {
    (0..neighbors.len())
        .map(|i| {
            let (indices, dist_sq) = neighbors.row(i);
            dist_sq.iter().copied().zip(indices.iter().copied()).collect()
        })
        .collect()
}
