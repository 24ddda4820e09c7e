//! Every way to hand over a cloud gives the same result.

use lidar_features::{
    ColorDepth, Columns, Feature, FeatureSet, Flags, Frame, Neighbors, PointCloud, Tolerance,
};

use crate::common::clouds::{self, Cloud};
use crate::common::{cpu_engine, engines, features, knn};

/// Coordinates near zero, so that f32 still tells hundredths apart.
fn world(cloud: &Cloud) -> Vec<[f64; 3]> {
    cloud.points.iter().map(|p| p.map(|v| f64::from(v) / 100.0)).collect()
}

#[test]
fn every_kind_of_input_gives_the_same() {
    for (name, engine) in engines() {
        let cloud = clouds::terrain(500);
        let points = world(&cloud);
        let [x, y, z] = [0, 1, 2].map(|a| points.iter().map(|p| p[a]).collect::<Vec<f64>>());
        let narrow: Vec<[f32; 3]> = points.iter().map(|p| p.map(|v| v as f32)).collect();
        let [xn, yn, zn] = [0, 1, 2].map(|a| narrow.iter().map(|p| p[a]).collect::<Vec<f32>>());
        let inputs = [
            ("lattice", PointCloud::from_lattice(&cloud.points, Frame::new([0.0; 3], 0.01).unwrap())),
            ("f64", PointCloud::from_f64(&points)),
            ("f32", PointCloud::from_f32(&narrow)),
            ("columns", PointCloud::from_columns(&x, &y, &z)),
            ("f32 columns", PointCloud::from_columns_f32(&xn, &yn, &zn)),
            ("f64 with a quantum", PointCloud::from_f64(&points).with_quantum(0.01)),
        ];
        let set = features(&cloud);
        let run = |input: &PointCloud<'_>| -> (Columns, Neighbors) {
            let (columns, report) = engine.features(input, &set, knn(10)).unwrap();
            assert_eq!((report.quantum, report.points), (0.01, 500));
            (columns, engine.neighbors(input, knn(10)).unwrap().0)
        };
        let reference = run(&inputs[0].1);
        assert!(reference.0.flags().iter().all(|f| *f == 0));
        for (kind, input) in &inputs[1..] {
            assert_eq!(run(input), reference, "{kind} on the {name}");
        }
    }
}

#[test]
fn a_coarse_quantum_merges_points() {
    let points = [[0.0, 0.0, 0.0], [0.2, 0.0, 0.0], [1.0, 0.0, 0.0], [1.3, 0.0, 0.0]];
    for (name, engine) in engines() {
        let cloud = PointCloud::from_f64(&points).with_quantum(1.0);
        let (found, report) = engine.neighbors(&cloud, knn(2)).unwrap();
        assert_eq!(report.quantum, 1.0);
        assert_eq!(found.indices, [0, 1, 0, 1, 2, 3, 2, 3], "{name}");
        assert_eq!(found.dist_sq, [0; 8], "{name}");
    }
}

#[test]
fn columns_come_in_the_order_they_were_asked_for() {
    let cloud = clouds::terrain(257).colored(255);
    let classes: Vec<u8> = (0..257).map(|i| 1 + u8::from(i % 4 == 0)).collect();
    let input = cloud.borrow().with_classification(&classes);
    for (name, engine) in engines() {
        let forth: FeatureSet = Feature::all().collect();
        let back: FeatureSet = forth.iter().collect::<Vec<_>>().into_iter().rev().collect();
        let (a, report) = engine.features(&input, &forth, knn(9)).unwrap();
        let (b, _) = engine.features(&input, &back, knn(9)).unwrap();
        assert_eq!(report.features, forth.iter().collect::<Vec<_>>());
        assert_eq!(report.color, [Some(ColorDepth::Bits8); 2]);
        assert!(b.iter().map(|c| c.feature).eq(back.iter()), "{name}");
        // A column does not depend on which others are computed with it. On a GPU another set of columns is another
        // kernel, which a driver may fuse differently: the last bits may differ, nothing more.
        for column in &a {
            let alone = FeatureSet::new([column.feature]);
            let (alone, _) = engine.features(&input, &alone, knn(9)).unwrap();
            for other in [&b, &alone] {
                let other = other.get(column.feature).unwrap();
                // A quadric of nine points amplifies its sums' last bits.
                let quadric = matches!(column.feature.row().tolerance, Tolerance::Curvature(..));
                let part = if quadric { 2e-2 } else { 4e-6 };
                let same = |(x, y): (&f32, &f32)| {
                    let near = name == "gpu" && (x - y).abs() <= part * x.abs().max(0.1);
                    x.to_bits() == y.to_bits() || near
                };
                assert!(column.values.iter().zip(other).all(same), "{} on the {name}", column.feature);
            }
        }
    }
}

#[test]
fn colours_need_no_neighbours() {
    let cloud = clouds::terrain(257).colored(u16::MAX);
    let set = FeatureSet::parse("rgb,nir,ndvi,gndvi,vegetation_index,hsv,lab").unwrap();
    let (columns, report) = cpu_engine().features(&cloud.borrow(), &set, knn(20)).unwrap();
    assert!(report.stages.iter().all(|s| s.0 != "index"), "{:?}", report.stages);
    let indices = [
        (Feature::Ndvi, Flags::DARK),
        (Feature::Gndvi, Flags::DARK_GREEN_NIR),
        (Feature::VegetationIndex, Flags::DARK_RED_GREEN),
    ];
    for (feature, dark) in indices {
        let values = columns.get(feature).unwrap();
        assert!(values.iter().any(|v| v.is_nan()), "{feature}");
        for (flags, value) in columns.flags().iter().zip(values) {
            assert_eq!(Flags(*flags).intersects(dark), value.is_nan(), "{feature}");
        }
    }
}

#[test]
fn an_engine_that_may_choose_says_what_it_chose() {
    let cloud = clouds::uniform(100, 50);
    let engine = lidar_features::Engine::new().unwrap();
    let (_, report) = engine.features(&cloud.borrow(), &FeatureSet::geometric(), knn(8)).unwrap();
    match report.backend {
        "gpu" => assert!(report.adapter.is_some() && report.fallback.is_none()),
        "cpu" => assert!(report.fallback.is_some_and(|reason| !reason.is_empty())),
        other => panic!("backend {other}"),
    }
}
