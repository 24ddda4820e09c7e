//! The same scene shuffled, moved and turned: what must not change, does not.

use lidar_features::{Columns, Feature, FeatureSet, Frame, Neighbors, PointCloud};

use crate::common::clouds::{self, Cloud};
use crate::common::random::Random;
use crate::common::{cpu_engine, engines, features, knn};

const K: usize = 12;

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn assert_same(a: &Columns, b: &Columns, what: &str) {
    assert_eq!(a.flags(), b.flags(), "{what}");
    for (a, b) in a.iter().zip(b) {
        assert_eq!(a.feature, b.feature);
        assert!(bits(&a.values) == bits(&b.values), "{} differs: {what}", a.feature);
    }
}

#[test]
fn shuffling_the_points_shuffles_the_results() {
    for (name, engine) in engines() {
        for cloud in [clouds::terrain(800), clouds::terrestrial(500), clouds::plane_grid(16)] {
            let mut order: Vec<usize> = (0..cloud.len()).collect();
            Random::new(20).shuffle(&mut order);
            let shuffled = Cloud::new("shuffled", order.iter().map(|&i| cloud.points[i]).collect());
            let run = |cloud: &Cloud| {
                let found = engine.neighbors(&cloud.borrow(), knn(K + 1)).unwrap().0;
                (found, engine.features(&cloud.borrow(), &features(cloud), knn(K)).unwrap().0)
            };
            let ((found, columns), (found_after, columns_after)) = (run(&cloud), run(&shuffled));
            let mut compared = 0;
            for (after, &before) in order.iter().enumerate() {
                let distances = found.row(before).1;
                assert_eq!(found_after.row(after).1, distances, "{name}, {}", cloud.name);
                // Where the cut falls into a tie, the index decides, and the members may change.
                if distances[K - 1] == distances[K] {
                    continue;
                }
                compared += 1;
                for (a, b) in columns.iter().zip(&columns_after) {
                    let (a, b) = (a.values[before], b.values[after]);
                    assert_eq!(a.to_bits(), b.to_bits(), "{name}, {}, point {before}", cloud.name);
                }
            }
            // Every cut of the grid may be tied.
            assert!(compared * 2 > cloud.len() || cloud.name.contains("grid"), "{compared} compared");
        }
    }
}

#[test]
fn moving_by_whole_quanta_changes_nothing() {
    for (name, engine) in engines() {
        let cloud = clouds::terrain(600);
        let set = features(&cloud);
        let (columns, _) = engine.features(&cloud.borrow(), &set, knn(K)).unwrap();
        let (found, _) = engine.neighbors(&cloud.borrow(), knn(K)).unwrap();
        for shift in [[1, 0, 0], [-70_000_001, 680_000_002, -3], [i32::MAX - 100_000, i32::MIN, 5]] {
            let moved = |p: &[i32; 3]| -> [i32; 3] { std::array::from_fn(|a| p[a] + shift[a]) };
            let moved = Cloud::new("moved", cloud.points.iter().map(moved).collect());
            let what = format!("moved by {shift:?} on the {name}");
            assert_eq!(engine.neighbors(&moved.borrow(), knn(K)).unwrap().0, found, "{what}");
            assert_same(&columns, &engine.features(&moved.borrow(), &set, knn(K)).unwrap().0, &what);
        }
        // In world coordinates, as a reader of the file would give them.
        let world = |shift: i64| -> Vec<[f64; 3]> {
            cloud.points.iter().map(|p| p.map(|v| (i64::from(v) + shift) as f64 / 100.0)).collect()
        };
        for shift in [0, 12_345, 680_000_000] {
            let moved = world(shift);
            let (after, report) = engine.features(&PointCloud::from_f64(&moved), &set, knn(K)).unwrap();
            assert_eq!(report.quantum, 0.01);
            assert_same(&columns, &after, &format!("world moved by {shift} on the {name}"));
        }
    }
}

#[test]
fn a_quarter_turn_turns_the_normals() {
    for (name, engine) in engines() {
        let cloud = clouds::terrain(700);
        let turned = Cloud::new("turned", cloud.points.iter().map(|p| [-p[1], p[0], p[2]]).collect());
        let set = features(&cloud);
        let run = |cloud: &Cloud| -> (Neighbors, Columns) {
            let found = engine.neighbors(&cloud.borrow(), knn(K)).unwrap().0;
            (found, engine.features(&cloud.borrow(), &set, knn(K)).unwrap().0)
        };
        let ((found, before), (found_after, after)) = (run(&cloud), run(&turned));
        assert_eq!(found, found_after, "{name}");
        let slack = if name == "cpu" { 1e-6 } else { 4e-3 };
        let pairs = |f: Feature, g: Feature| before.get(f).unwrap().iter().zip(after.get(g).unwrap());
        for f in FeatureSet::parse("normal_z,linearity,planarity,sphericity,verticality,surface_variation")
            .unwrap()
            .iter()
        {
            assert!(pairs(f, f).all(|(a, b)| (a - b).abs() <= slack), "{f} on the {name}");
        }
        assert!(pairs(Feature::NormalX, Feature::NormalY).all(|(a, b)| (a - b).abs() <= slack), "{name}");
        assert!(pairs(Feature::NormalY, Feature::NormalX).all(|(a, b)| (a + b).abs() <= slack), "{name}");
    }
}

#[test]
fn lengths_scale_with_the_quantum() {
    let cloud = clouds::terrain(300);
    let engine = cpu_engine();
    let run = |quantum: f64| {
        let frame = Frame::new([0.0; 3], quantum).unwrap();
        engine.features(&PointCloud::from_lattice(&cloud.points, frame), &features(&cloud), knn(K)).unwrap().0
    };
    // A factor of a power of two is exact.
    let (one, four) = (run(0.25), run(1.0));
    let factor = |unit: &str| match unit {
        "m" => 4.0,
        "m²" => 16.0,
        "1/m²" => 1.0 / 16.0,
        "1/m³" => 1.0 / 64.0,
        _ => 1.0,
    };
    // The logarithm of a square metre depends on the metre.
    let scales = |f: Feature| f != Feature::EigenentropyRaw;
    for (a, b) in one.iter().zip(&four).filter(|(a, _)| scales(a.feature)) {
        let factor = factor(a.feature.row().unit);
        let scaled: Vec<f32> = a.values.iter().map(|v| v * factor).collect();
        let same = scaled.iter().zip(&b.values).all(|(a, b)| (a - b).abs() <= 4e-7 * b.abs() || a == b);
        assert!(same, "{}", a.feature);
    }
}
