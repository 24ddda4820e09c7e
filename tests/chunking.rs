//! Chunked results equal unchunked ones, bit for bit, on one device.
#![allow(missing_docs)]

mod common;

use common::gpu::{gpu_engine, gpu_engine_with};
use common::knn;
use lidar_features::{Columns, Engine, Feature, FeatureSet, Neighborhood, PointCloud, synthetic};

const POINTS: usize = 3000;
const CHUNKS: [usize; 6] = [137, 400, 700, 1024, 1500, 2999];
/// What a second driver is given (`LIDAR_FEATURES_CHUNKS=few`): each engine compiles its own shaders.
const FEW_CHUNKS: [usize; 2] = [137, 1024];

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
    let few = std::env::var("LIDAR_FEATURES_CHUNKS").is_ok_and(|chunks| chunks == "few");
    let chunks = if few { FEW_CHUNKS.as_slice() } else { &CHUNKS };
    let engine = |points: usize| gpu_engine_with(|builder| builder.chunk_points(points)).unwrap();
    let engines: Vec<_> = chunks.iter().map(|&points| (engine(points), points)).collect();
    let members = FeatureSet::parse("planarity,normals,plane_fit,lof").unwrap();
    let (mut compared, mut stragglers) = (0, 0);
    for name in ["als", "tls", "uniform", "duplicates"] {
        let scene = synthetic::scene(name, POINTS, 11).unwrap();
        let cloud = scene.cloud();
        // Some twenty members on average.
        let reach = median_reach(&whole, &cloud);
        let rules = [
            (knn(6), FeatureSet::geometric()),
            (knn(20), FeatureSet::geometric()),
            (Neighborhood::radius(reach).unwrap(), FeatureSet::geometric()),
            (Neighborhood::radius(reach).unwrap(), members.clone()),
            (Neighborhood::knn_within(12, reach).unwrap(), members.clone()),
            (Neighborhood::optimal(6, 30, 1).unwrap(), members.clone()),
        ];
        for (rule, set) in rules {
            let (columns, report) = whole.features(&cloud, &set, rule).unwrap();
            assert_eq!(report.chunks, 1, "{name}");
            let is_optimal = matches!(rule, Neighborhood::Optimal { .. });
            let neighbors = (!is_optimal).then(|| whole.neighbors(&cloud, rule).unwrap().0);
            for (engine, points) in &engines {
                let what = format!("{name}, {rule:?}, chunks of {points}");
                let (chunked, report) = engine.features(&cloud, &set, rule).unwrap();
                assert!(report.chunks > 1, "{what}");
                stragglers += report.stragglers;
                assert_same_bits(&chunked, &columns, &what);
                if let Some(neighbors) = &neighbors {
                    assert_eq!(engine.neighbors(&cloud, rule).unwrap().0, *neighbors, "{what}");
                }
                compared += 1;
            }
        }
    }
    println!("{compared} chunked runs equal the unchunked ones; {stragglers} queries went to the CPU");
    // Without stragglers the run would not show that the CPU's records equal the kernel's.
    assert!(compared == 4 * 6 * chunks.len() && stragglers > 0);
}

/// A radius on the cloud's lattice of about the median distance to the twentieth neighbour.
fn median_reach(engine: &Engine, cloud: &PointCloud<'_>) -> f64 {
    let set = FeatureSet::new([Feature::KnnDistance]);
    let (columns, report) = engine.features(cloud, &set, knn(20)).unwrap();
    let mut reach = columns.get(Feature::KnnDistance).unwrap().to_vec();
    reach.sort_by(f32::total_cmp);
    let median = reach[reach.len() / 2];
    (f64::from(median) / report.quantum).round().max(1.0) * report.quantum
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
