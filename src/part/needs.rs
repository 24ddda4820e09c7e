//! How far around a point its columns depend on the cloud.

use crate::batch::CloudInfo;
use crate::engine;
use crate::extras::{self, Cells, Choices, Extra};
use crate::features::{Feature, FeatureSet, Members};
use crate::frame::Frame;
use crate::neighborhood::Neighborhood;
use crate::options::Options;
use crate::passes;

use super::XyBox;

/// A neighbourhood by number: what it holds lies within the distance to the `k`-th neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Near {
    pub(crate) k: u32,
    /// How many neighbourhoods deep is looked.
    pub(crate) order: u32,
    /// A margin, in quanta, that is enough whatever the distance.
    pub(crate) within: Option<u64>,
}

/// Ground points that heights are found from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Below {
    /// Nearest in XY whose distance bounds all that are looked at, and a distance in quanta beyond which none are.
    pub(crate) heights: Option<(u32, Option<u64>)>,
    /// Whether the distance to the nearest itself is asked for.
    pub(crate) nearest: bool,
}

impl Below {
    /// Ground points whose distances decide.
    pub(crate) fn k(&self) -> u32 {
        self.heights.map_or(1, |(k, _)| k)
    }

    /// The margin that is enough for every point, if there is one.
    pub(crate) fn fixed(&self) -> Option<u64> {
        self.heights.and_then(|(_, limit)| limit).filter(|_| !self.nearest)
    }
}

/// What columns depend on around each point, in quanta.
#[derive(Debug, Clone)]
pub(crate) struct Needs {
    pub(crate) near: Vec<Near>,
    /// A margin that all points need.
    pub(crate) fixed: u64,
    /// Cells of which a point needs the whole.
    pub(crate) cells: Option<Cells>,
    pub(crate) below: Option<Below>,
}

/// How many neighbourhoods deep features look: 1 of their own members, 2 of the neighbourhoods of these (`normal_variation`), 3
/// of those of the members' members (`lof`).
fn order(set: &FeatureSet) -> u32 {
    let members = set.members();
    if members.has(Members::LRD) {
        3
    } else if members.second_order() {
        2
    } else {
        1
    }
}

impl Near {
    /// The multiple of the distance d to the k-th neighbour within which all that is looked at lies, whatever the points.
    ///
    /// That distance changes no faster than the place: d(j) ≤ d(i) + |ij|. If all that is looked at so far lies within t d(i),
    /// neighbourhoods of those points reach (t + 1) d(i) beyond, to (2 t + 1) d(i): 1, 3, 7.
    pub(crate) fn times(&self) -> u64 {
        (1 << self.order) - 1
    }
}

impl Needs {
    /// Those of a request for clouds like this.
    pub(crate) fn of_request(
        set: &FeatureSet,
        neighborhoods: &[Neighborhood],
        options: &Options,
        info: &CloudInfo,
    ) -> Self {
        let counted = neighborhoods.iter().map(|n| options.conventions.neighborhood(*n).0);
        let (computed, choices) = (engine::computed(set, options), engine::choices(options, info.units));
        Self::new(&computed, &counted.collect::<Vec<_>>(), &choices, &info.frame)
    }

    /// Those of `set`, with all that is computed for it, in neighbourhoods whose `k` counts the query.
    fn new(set: &FeatureSet, neighborhoods: &[Neighborhood], choices: &Choices, frame: &Frame) -> Self {
        let wanted = extras::needed(set);
        let order = order(set);
        // Each neighbourhood reaches one radius further.
        let margin = |radius: f64| extras::quanta_within(radius, frame) * u64::from(order);
        let mut needs = Self {
            near: Vec::new(),
            fixed: extras::reach(&wanted, choices, frame),
            cells: extras::cells(&wanted, choices, frame),
            below: below(&wanted, choices, frame),
        };
        let is_optimal = |n: &Neighborhood| matches!(n, Neighborhood::Optimal { .. });
        // Several neighbourhoods have flags of their own, whatever the features.
        let unused = neighborhoods.len() == 1
            && !neighborhoods.iter().any(is_optimal)
            && !set.needs_neighbors()
            && !wanted.contains(&Extra::Density2d);
        for neighborhood in neighborhoods.iter().filter(|_| !unused) {
            let near = |k: u32, within| Near { k, order, within };
            match *neighborhood {
                Neighborhood::Knn { k } => needs.near.push(near(k.get(), None)),
                Neighborhood::Optimal { most, .. } => needs.near.push(near(most.get(), None)),
                Neighborhood::Radius { radius } => needs.fixed = needs.fixed.max(margin(radius)),
                Neighborhood::KnnWithin { k, radius } => {
                    needs.near.push(near(k.get(), Some(margin(radius))));
                }
            }
        }
        if set.iter().any(Feature::is_of_optimal) && !neighborhoods.iter().all(is_optimal) {
            needs.near.push(Near { k: passes::USUAL_RANGE[1], order: 1, within: None });
        }
        let all = std::mem::take(&mut needs.near);
        for near in &all {
            let covers = |other: &Near| {
                other != near && other.within.is_none() && other.k >= near.k && other.order >= near.order
            };
            if !all.iter().any(covers) && !needs.near.contains(near) {
                needs.near.push(*near);
            }
        }
        needs
    }

    /// The box with the whole of the cells that it touches.
    pub(crate) fn with_cells(&self, core: XyBox) -> XyBox {
        match self.cells {
            Some(cells) if !core.is_empty() => XyBox {
                low: core.low.map(|v| cells.around(v)[0]),
                high: core.high.map(|v| cells.around(v)[1]),
            },
            _ => core,
        }
    }

    /// A first margin for points that lie `density` to a square quantum: enough for most on a surface. None is proved by it.
    pub(crate) fn first_margin(&self, density: f64) -> u64 {
        let radius = |near: &Near| {
            let usual = f64::from(near.order) * spread(near.k, density, 2.0);
            near.within.map_or(usual, |within| usual.min(within as f64))
        };
        let near = self.near.iter().map(radius).fold(0.0, f64::max);
        self.fixed.max(near.ceil() as u64)
    }

    /// The same for ground points, of which there are none below buildings and water.
    pub(crate) fn first_ground_margin(&self, density: f64) -> u64 {
        self.below.map_or(0, |below| {
            below.fixed().unwrap_or_else(|| spread(below.k(), density, 10.0).ceil() as u64)
        })
    }
}

/// So many times the radius of a disc that holds `k` points.
fn spread(k: u32, density: f64, times: f64) -> f64 {
    let area = f64::from(k) / density.max(1e-18) / std::f64::consts::PI;
    (times * area.sqrt()).min(f64::from(u32::MAX))
}

fn below(wanted: &[Extra], choices: &Choices, frame: &Frame) -> Option<Below> {
    let any = |extras: &[Extra]| extras.iter().any(|extra| wanted.contains(extra));
    let k = choices.ground.method.neighbors().get();
    let limit = choices.ground.max_distance.map(|d| extras::quanta_within(d, frame));
    let heights = any(&[Extra::HeightAboveGround, Extra::HeightInMetres]).then_some((k, limit));
    let nearest = any(&[Extra::GroundDistance]);
    (heights.is_some() || nearest).then_some(Below { heights, nearest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Ground;
    use crate::unit::Units;

    fn needs(features: &str, neighborhoods: &[Neighborhood], ground: Ground) -> Needs {
        let choices = Choices { ground, count_radius: 2.0, units: Units::default() };
        let frame = Frame::new([0.0; 3], 0.01).unwrap();
        Needs::new(&FeatureSet::parse(features).unwrap(), neighborhoods, &choices, &frame)
    }

    #[test]
    fn each_feature_says_how_far_it_looks() {
        let knn = |k| Neighborhood::knn(k).unwrap();
        let radius = |r| Neighborhood::radius(r).unwrap();
        let near = |k, order, within| Near { k, order, within };
        let plain = Ground::default();
        let of = |features, neighborhoods: &[Neighborhood]| needs(features, neighborhoods, plain);
        assert_eq!(of("planarity", &[knn(20), knn(50), knn(10)]).near, [near(50, 1, None)]);
        assert_eq!(of("normal_variation", &[knn(20)]).near, [near(20, 2, None)]);
        assert_eq!(of("lof", &[knn(20)]).near, [near(20, 3, None)]);
        assert_eq!(of("lof,optimal_k", &[knn(20)]).near, [near(20, 3, None), near(100, 1, None)]);
        let within = Neighborhood::knn_within(8, 1.5).unwrap();
        assert_eq!(of("reciprocity", &[within]).near, [near(8, 2, Some(300))]);
        let optimal = Neighborhood::optimal(10, 60, 1).unwrap();
        assert_eq!(of("planarity", &[optimal]).near, [near(60, 1, None)]);
        let by_radius = of("planarity,count_radius", &[radius(1.0), radius(2.5)]);
        assert_eq!((by_radius.near.len(), by_radius.fixed), (0, 250));
        assert_eq!([1, 2, 3].map(|order| near(9, order, None).times()), [1, 3, 7]);
        assert_eq!(of("lof", &[radius(2.5)]).fixed, 750);
        assert_eq!(of("echo_ratio", &[knn(9)]).fixed, 200);
        assert_eq!(of("overhang_indicator", &[knn(9)]).fixed, 50);
        let heights = of("height_above_ground", &[knn(9)]);
        assert_eq!((heights.near.len(), heights.fixed), (0, 0));
        assert_eq!(heights.below, Some(Below { heights: Some((1, None)), nearest: false }));
        assert_eq!(of("density_2d", &[knn(9)]).near, [near(9, 1, None)]);
        let near_ground = plain.max_distance(3.0);
        let limited = needs("facade_score,planarity", &[knn(9)], near_ground).below.unwrap();
        assert_eq!(limited.fixed(), Some(300));
        let distance = needs("facade_score,ground_distance", &[knn(9)], near_ground).below.unwrap();
        assert_eq!((distance.fixed(), distance.nearest), (None, true));
        let bins = of("bin_count", &[knn(9)]);
        let cells = bins.with_cells(XyBox { low: [-1, 24], high: [25, 25] });
        assert_eq!(cells, XyBox { low: [-25, 0], high: [49, 49] });
    }
}
