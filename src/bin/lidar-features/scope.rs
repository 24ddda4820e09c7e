//! Whose neighbours are looked for: the arguments about neighbourhoods.

use lidar_features::{Conventions, Neighborhood};

use crate::failure::Failure;

/// Neighbours where neither their number nor a radius is given.
const DEFAULT_K: u32 = 20;

#[derive(clap::Args)]
pub struct Scope {
    /// Neighbours of each point, itself counted [default: 20 without --radius, all within it with].
    #[arg(long, value_name = "K")]
    knn: Option<u32>,
    /// Only neighbours within this distance, in the cloud's unit.
    #[arg(long, value_name = "R")]
    radius: Option<f64>,
    /// Several neighbourhoods at once: numbers of neighbours, or radii as r1.5. Columns carry the scale: planarity_k20,
    /// planarity_r1.5.
    #[arg(
        long,
        value_name = "10,20,r1.5",
        value_delimiter = ',',
        value_parser = scale,
        conflicts_with_all = ["knn", "radius"]
    )]
    scales: Vec<Neighborhood>,
    /// Of these numbers of neighbours the one whose eigenentropy is least, for each point; ..:5 after the last takes every
    /// fifth.
    #[arg(long, value_name = "10..100", value_parser = range, conflicts_with_all = ["knn", "radius"])]
    optimal_k: Option<Neighborhood>,
}

fn scale(text: &str) -> Result<Neighborhood, String> {
    let text = text.trim();
    let parsed = match text.strip_prefix('r') {
        Some(radius) => radius.parse().map(Neighborhood::radius).ok(),
        None => text.strip_prefix('k').unwrap_or(text).parse().map(Neighborhood::knn).ok(),
    };
    match parsed {
        Some(neighborhood) => neighborhood.map_err(|e| e.to_string()),
        None => Err("a number of neighbours (20) or a radius (r1.5) is needed".to_owned()),
    }
}

fn range(text: &str) -> Result<Neighborhood, String> {
    let (range, step) = text.split_once(':').unwrap_or((text, "1"));
    let ends = range.split_once("..").map(|(least, most)| [least, most, step]);
    let numbers = ends.map(|ends| ends.map(|end| end.trim().parse::<u32>().ok()));
    match numbers {
        Some([Some(least), Some(most), Some(step)]) => {
            Neighborhood::optimal(least, most, step).map_err(|e| e.to_string())
        }
        _ => Err("a range of numbers is needed, as 10..100 or 10..100:5".to_owned()),
    }
}

impl Scope {
    /// The neighbourhoods that are asked for, at least one: `usual` unless others are named.
    pub fn neighborhoods(&self, usual: Vec<Neighborhood>) -> Result<Vec<Neighborhood>, Failure> {
        let several: Vec<_> = self.scales.iter().copied().chain(self.optimal_k).collect();
        if !several.is_empty() {
            return Ok(several);
        }
        if !usual.is_empty() && self.knn.is_none() && self.radius.is_none() {
            return Ok(usual);
        }
        let one = match (self.knn, self.radius) {
            (Some(k), None) => Neighborhood::knn(k)?,
            (Some(k), Some(radius)) => Neighborhood::knn_within(k, radius)?,
            (None, Some(radius)) => Neighborhood::radius(radius)?,
            (None, None) => Neighborhood::knn(DEFAULT_K)?,
        };
        Ok(vec![one])
    }
}

/// A neighbourhood in words.
pub fn words(neighborhood: &Neighborhood) -> String {
    match neighborhood {
        Neighborhood::Knn { k } => format!("{k} neighbours"),
        Neighborhood::Radius { radius } => format!("all neighbours within {radius}"),
        Neighborhood::KnnWithin { k, radius } => format!("{k} neighbours within {radius}"),
        Neighborhood::Optimal { least, most, .. } => format!("the best of {least} to {most} neighbours"),
        other => other.suffix(),
    }
}

/// Most members of a neighbourhood, as the conventions count them, and their distance at most.
pub fn bounds(neighborhood: &Neighborhood, conventions: &Conventions) -> (Option<u32>, Option<f64>) {
    match neighborhood {
        Neighborhood::Knn { k } => (Some(conventions.members(k.get())), None),
        Neighborhood::Radius { radius } => (None, Some(*radius)),
        Neighborhood::KnnWithin { k, radius } => (Some(conventions.members(k.get())), Some(*radius)),
        Neighborhood::Optimal { most, .. } => (Some(most.get()), None),
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_and_ranges_are_read() {
        assert_eq!(scale("20"), Ok(Neighborhood::knn(20).unwrap()));
        assert_eq!(scale(" r1.5"), Ok(Neighborhood::radius(1.5).unwrap()));
        assert_eq!(range("10..100:5"), Ok(Neighborhood::optimal(10, 100, 5).unwrap()));
        for text in ["", "0", "r", "r-1", "1.5", "k", "10..20"] {
            assert!(scale(text).is_err(), "{text}");
        }
        for text in ["", "10", "20..10", "0..10", "10..20:0", "10..20:x"] {
            assert!(range(text).is_err(), "{text}");
        }
    }
}
