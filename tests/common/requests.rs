//! Requests whose columns are computed part by part, and the comparison with the whole.

use lidar_features::{
    Columns, Conventions, Engine, FeatureSet, Ground, GroundMethod, Neighborhood, Options, Orientation,
    PointCloud,
};

use super::knn;

/// Features, and what they are computed with.
pub struct Request {
    pub set: FeatureSet,
    pub neighborhoods: Vec<Neighborhood>,
    pub options: Options,
}

pub fn request(features: &str, neighborhoods: &[Neighborhood]) -> Request {
    let set = match features.strip_prefix("preset ") {
        Some(name) => FeatureSet::preset(name).unwrap(),
        None => FeatureSet::parse(features).unwrap(),
    };
    Request { set, neighborhoods: neighborhoods.to_vec(), options: Options::default() }
}

impl Request {
    pub fn with(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// The columns of a cloud in memory.
    pub fn whole(&self, engine: &Engine, cloud: &PointCloud<'_>) -> Columns {
        match self.neighborhoods[..] {
            [one] => engine.features_with(cloud, &self.set, one, &self.options).unwrap().0,
            ref several => engine.features_at_scales(cloud, &self.set, several, &self.options).unwrap().0,
        }
    }
}

pub fn radius(r: f64) -> Neighborhood {
    Neighborhood::radius(r).unwrap()
}

/// Requests of every kind of neighbourhood, and of every kind of dependence on other points.
pub fn requests() -> Vec<Request> {
    let ground = |method| Options::default().ground(Ground::default().method(method));
    let five = std::num::NonZeroU32::new(5).unwrap();
    let within = Neighborhood::knn_within(9, 0.6).unwrap();
    let optimal = Neighborhood::optimal(8, 30, 2).unwrap();
    vec![
        request("preset full", &[knn(12)]),
        request("planarity,verticality,neighbor_count", &[knn(5), radius(1.1), knn(17)]),
        request("lof,reciprocity,normal_variation,reachability_density,knn_distance", &[knn(7)]),
        request("lof,reciprocity,normal_variation", &[radius(0.8)]),
        request("lof,neighbor_count,density_2d", &[within]),
        request("planarity,optimal_k,normal_variation", &[optimal]),
        request("height_above_ground,ground_distance", &[knn(4)])
            .with(Options::default().ground(Ground::default().max_distance(1.5))),
        request("height_above_ground,facade_score,relative_height", &[knn(6)])
            .with(ground(GroundMethod::Idw { k: five })),
        request("height_above_ground,bin_count,bin_z_std", &[knn(6)])
            .with(ground(GroundMethod::Plane { k: five })),
        request("normals,planarity,omnivariance", &[knn(10)]).with(
            Options::default()
                .orientation(Orientation::Viewpoint([651_010.0, 6_862_010.0, 50.0]))
                .conventions(Conventions::named("jakteristics").unwrap()),
        ),
    ]
}

/// Columns equal these rows of the whole's, bit for bit.
#[track_caller]
pub fn assert_same_bits(actual: &Columns, expected: &Columns, rows: &[usize], what: &str) {
    assert_eq!(actual.len(), rows.len(), "{what}");
    assert_eq!(actual.iter().count(), expected.iter().count(), "{what}");
    for (a, e) in actual.iter().zip(expected) {
        assert_eq!(a.name(), e.name(), "{what}");
        let pairs = rows.iter().map(|&row| e.values[row]).zip(&a.values).enumerate();
        let differing: Vec<_> = pairs.filter(|(_, (e, a))| a.to_bits() != e.to_bits()).collect();
        if let Some((i, (expected, actual))) = differing.first() {
            let (name, n) = (a.name(), differing.len());
            panic!(
                "{what}: {name} of point {i} is {actual}, of the whole {expected}; {n} of {} differ",
                rows.len()
            );
        }
    }
    for (a, e) in actual.all_flags().zip(expected.all_flags()) {
        let expected: Vec<u32> = rows.iter().map(|&row| e.1[row]).collect();
        assert_eq!(a.1, expected, "flags, {what}");
    }
}
