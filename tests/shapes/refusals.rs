//! Bad input: the error's words, with the numbers that help to find it.

use lidar_features::{Error, FeatureSet, Frame, Neighborhood, PointCloud};

use crate::common::{engines, knn};

/// The message that both calls give, on every backend.
fn refused(cloud: &PointCloud<'_>) -> String {
    let mut messages = Vec::new();
    for (_, engine) in engines() {
        messages.push(engine.neighbors(cloud, knn(5)).unwrap_err().to_string());
        messages.push(engine.features(cloud, &FeatureSet::geometric(), knn(5)).unwrap_err().to_string());
    }
    messages.dedup();
    assert_eq!(messages.len(), 1, "{messages:?}");
    messages.remove(0)
}

#[test]
fn coordinates_that_are_not_finite() {
    let mut points = vec![[1.0, 2.0, 3.0]; 9];
    points[4][1] = f64::NAN;
    points[7] = [f64::INFINITY, f64::NAN, 0.0];
    let message = "coordinate y of point 4 is not finite; 2 points have such a coordinate";
    assert_eq!(refused(&PointCloud::from_f64(&points)), message);

    let narrow: Vec<[f32; 3]> = points.iter().map(|p| p.map(|v| v as f32)).collect();
    assert_eq!(refused(&PointCloud::from_f32(&narrow)), message);

    let [x, y, z] = [0, 1, 2].map(|a| points.iter().map(|p| p[a]).collect::<Vec<f64>>());
    assert_eq!(refused(&PointCloud::from_columns(&x, &y, &z)), message);
    assert_eq!(
        refused(&PointCloud::from_columns(&z, &z, &x)),
        "coordinate z of point 7 is not finite; 1 points have such a coordinate"
    );
    let narrow = [0.0, 0.0, f32::NEG_INFINITY];
    assert_eq!(
        refused(&PointCloud::from_columns_f32(&narrow, &[0.0; 3], &[0.0; 3])),
        "coordinate x of point 2 is not finite; 1 points have such a coordinate"
    );
}

#[test]
fn columns_of_different_length() {
    let long = [0.0; 3];
    assert_eq!(
        refused(&PointCloud::from_columns(&long, &long, &long[..2])),
        "column z has 2 values, the cloud has 3 points"
    );
    assert_eq!(
        refused(&PointCloud::from_columns_f32(&[0.0; 2], &[0.0; 3], &[0.0; 2])),
        "column y has 3 values, the cloud has 2 points"
    );
    let cloud = PointCloud::from_f64(&[[0.0; 3]]);
    assert_eq!(
        refused(&cloud.with_rgb(&[1], &[], &[1])),
        "column green has 0 values, the cloud has 1 points"
    );
    assert_eq!(refused(&cloud.with_nir(&[1, 2])), "column nir has 2 values, the cloud has 1 points");
}

#[test]
fn clouds_wider_than_the_lattice() {
    let points = [[0.0; 3], [0.0, 3e7, 0.0]];
    assert_eq!(
        refused(&PointCloud::from_f64(&points).with_quantum(0.01)),
        "axis y spans 3000000000 quanta of 0.01, more than 2147483647"
    );
    let frame = Frame::new([0.0; 3], 0.5).unwrap();
    assert_eq!(
        refused(&PointCloud::from_lattice(&[[0, 0, i32::MIN], [0, 0, 5]], frame)),
        "axis z spans 2147483653 quanta of 0.5, more than 2147483647"
    );
    assert_eq!(
        refused(&PointCloud::from_f64(&points).with_quantum(0.0)),
        "quantum 0 is not a positive finite number"
    );
}

#[test]
fn neighbourhoods_without_points() {
    let error = Neighborhood::knn(0).unwrap_err();
    assert!(matches!(error, Error::ZeroNeighbors));
    assert_eq!(error.to_string(), "k = 0: a neighbourhood needs at least one point");
}

#[test]
fn features_whose_input_is_missing() {
    let points = [[0.0; 3]; 2];
    let bare = PointCloud::from_f64(&points);
    let dark = bare.with_rgb(&[0; 2], &[0; 2], &[0; 2]).with_nir(&[0; 2]);
    let lit = bare.with_rgb(&[0, 1], &[0; 2], &[0; 2]);
    let cases = [
        (bare, "planarity,red", "missing input: red needs rgb"),
        (bare, "nir,ndvi", "missing input: nir needs nir, ndvi needs rgb, ndvi needs nir"),
        (dark, "blue", "missing input: blue needs rgb (all values are zero)"),
        (dark, "nir", "missing input: nir needs nir (all values are zero)"),
        (lit, "excess_green,ndvi", "missing input: ndvi needs nir"),
    ];
    for (_, engine) in engines() {
        for (cloud, names, message) in &cases {
            let set = FeatureSet::parse(names).unwrap();
            assert_eq!(engine.features(cloud, &set, knn(3)).unwrap_err().to_string(), *message);
        }
    }
}

#[test]
fn an_adapter_that_is_not_there() {
    let builder = || lidar_features::Engine::builder().adapter("no such adapter 4711");
    let error = builder().backend(lidar_features::Backend::Gpu).build().unwrap_err();
    assert!(matches!(error, Error::NoAdapter(_)), "{error}");
    // An engine that may choose computes on the CPU and says why.
    let engine = builder().build().unwrap();
    let (_, report) = engine.neighbors(&PointCloud::from_f64(&[[0.0; 3]; 4]), knn(2)).unwrap();
    assert_eq!(report.backend, "cpu");
    assert_eq!(report.fallback, Some(error.to_string()));
}
