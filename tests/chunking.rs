//! Chunked results equal unchunked ones, bit for bit, on one device.
#![allow(missing_docs)]

mod common;

use common::gpu::{gpu_engine, gpu_engine_with};
use common::knn;
use lidar_features::{Columns, FeatureSet, synthetic};

const POINTS: usize = 5000;
const CHUNKS: [usize; 6] = [137, 400, 1000, 1024, 2500, 4999];

fn assert_same_bits(actual: &Columns, expected: &Columns, what: &str) {
    assert_eq!(actual.flags(), expected.flags(), "flags, {what}");
    assert_eq!(actual.iter().count(), expected.iter().count(), "{what}");
    for (a, e) in actual.iter().zip(expected) {
        let differ = (0..a.values.len()).find(|&i| a.values[i].to_bits() != e.values[i].to_bits());
        if let Some(i) = differ {
            panic!("{what}: {} of point {i} is {}, unchunked {}", a.feature, a.values[i], e.values[i]);
        }
    }
}

#[test]
fn chunks_do_not_show() {
    let Some(whole) = gpu_engine() else { return };
    let (mut compared, mut stragglers) = (0, 0);
    for name in ["als", "tls", "uniform", "duplicates"] {
        let scene = synthetic::scene(name, POINTS, 11).unwrap();
        let (cloud, set) = (scene.cloud(), FeatureSet::geometric());
        for k in [6, 20] {
            let (columns, report) = whole.features(&cloud, &set, knn(k)).unwrap();
            let (neighbors, _) = whole.neighbors(&cloud, knn(k)).unwrap();
            assert_eq!((report.chunks, report.stragglers), (1, 0), "{name}");
            for points in CHUNKS {
                let what = format!("{name}, k = {k}, chunks of {points}");
                let engine = gpu_engine_with(|builder| builder.chunk_points(points)).unwrap();
                let (chunked, report) = engine.features(&cloud, &set, knn(k)).unwrap();
                assert!(report.chunks > 1, "{what}");
                stragglers += report.stragglers;
                assert_same_bits(&chunked, &columns, &what);
                assert_eq!(engine.neighbors(&cloud, knn(k)).unwrap().0, neighbors, "{what}");
                compared += 1;
            }
        }
    }
    println!("{compared} chunked runs equal the unchunked ones; {stragglers} queries went to the CPU");
    // Without stragglers the run would not show that the CPU's records equal the kernel's.
    assert!(compared == 48 && stragglers > 0);
}

#[test]
fn the_comparison_sees_one_bit() {
    let scene = synthetic::scene("als", 500, 1).unwrap();
    let engine = common::cpu_engine();
    let set = FeatureSet::parse("planarity").unwrap();
    let (columns, _) = engine.features(&scene.cloud(), &set, knn(8)).unwrap();
    let (other, _) = engine.features(&scene.cloud(), &set, knn(9)).unwrap();
    assert_same_bits(&columns, &columns, "itself");
    assert!(std::panic::catch_unwind(|| assert_same_bits(&columns, &other, "another k")).is_err());
}
