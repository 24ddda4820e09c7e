//! Masses of points at one place: the lowest indices win, and nothing takes longer for it.

use std::time::Instant;

use lidar_features::{Engine, Feature, FeatureSet, Flags};

use crate::common::clouds::Cloud;
use crate::common::gpu::gpu_engine;
use crate::common::random::Random;
use crate::common::{cpu_engine, engines, knn};

const K: usize = 8;

/// Every second point at one place until `crowd` are there, the others apart.
fn crowded(points: usize, crowd: usize) -> Cloud {
    let mut random = Random::new(12);
    let side = (points as f64).cbrt() as u32 * 20;
    let mut point = |i| match i % 2 == 0 && i < 2 * crowd {
        true => [777, 888, 999],
        false => [(); 3].map(|()| random.below(side)),
    };
    Cloud::new(format!("{crowd} duplicates in {points}"), (0..points).map(&mut point).collect())
}

fn check(name: &str, engine: &Engine, cloud: &Cloud, crowd: usize) {
    let start = Instant::now();
    let (found, report) = engine.neighbors(&cloud.borrow(), knn(K)).unwrap();
    println!("{} on the {name}: {:.2} s, {} stragglers", cloud.name, report.seconds, report.stragglers);
    let lowest: Vec<u32> = (0..K as u32).map(|i| 2 * i).collect();
    for i in (0..crowd).map(|i| 2 * i) {
        let (indices, dist_sq) = found.row(i);
        assert!(indices == lowest && dist_sq == [0; K], "point {i}: {indices:?} {dist_sq:?}");
    }
    let sample = (0..40).map(|s| (s * (cloud.len() / 41)) | 1).filter(|i| *i < cloud.len());
    for i in sample {
        let query = cloud.points[i];
        let dist_sq =
            |p: &[i32; 3]| -> u64 { (0..3).map(|a| u64::from(p[a].abs_diff(query[a])).pow(2)).sum() };
        let mut all: Vec<(u64, u32)> = cloud.points.iter().map(dist_sq).zip(0..).collect();
        all.select_nth_unstable(K);
        all.truncate(K);
        all.sort_unstable();
        let (indices, dist_sq) = found.row(i);
        let row: Vec<_> = dist_sq.iter().copied().zip(indices.iter().copied()).collect();
        assert_eq!(row, all, "point {i}");
    }

    let set = FeatureSet::parse("eigenvalue_1,density_3d,knn_distance,neighbor_count").unwrap();
    let (columns, report) = engine.features(&cloud.borrow(), &set, knn(K)).unwrap();
    println!("  features {:.2} s, {} stragglers", report.seconds, report.stragglers);
    let column = |f| columns.get(f).unwrap();
    for i in (0..crowd).map(|i| 2 * i) {
        assert_eq!(columns.flags()[i], Flags::IDENTICAL.0 | Flags::NO_RADIUS.0);
        assert_eq!((column(Feature::Eigenvalue1)[i], column(Feature::KnnDistance)[i]), (0.0, 0.0));
        assert!(column(Feature::Density3d)[i].is_nan() && column(Feature::NeighborCount)[i] == K as f32);
    }
    println!("  {:.2} s with the checks", start.elapsed().as_secs_f64());
}

#[test]
fn a_hundred_thousand_duplicates() {
    let cloud = crowded(200_500, 100_000);
    for (name, engine) in engines() {
        check(name, &engine, &cloud, 100_000);
    }
}

#[test]
fn a_million_duplicates_in_two_million() {
    check("cpu", &cpu_engine(), &crowded(2_000_000, 1_000_000), 1_000_000);
}

/// On a software GPU two million queries take minutes: `LIDAR_FEATURES_TEST_FULL=1` asks for them.
#[test]
fn a_million_duplicates_in_two_million_on_the_gpu() {
    let Some(engine) = gpu_engine() else { return };
    let full = std::env::var_os("LIDAR_FEATURES_TEST_FULL").is_some_and(|v| v == "1");
    let crowd = if full { 1_000_000 } else { 150_000 };
    check("gpu", &engine, &crowded(2 * crowd, crowd), crowd);
}

#[test]
fn nothing_but_one_place() {
    for (name, engine) in engines() {
        let cloud = Cloud::new("100 thousand at one place", vec![[5, -5, 5]; 100_000]);
        let (found, report) = engine.neighbors(&cloud.borrow(), knn(K)).unwrap();
        println!("{} on the {name}: {:.2} s", cloud.name, report.seconds);
        let lowest: Vec<u32> = (0..K as u32).collect();
        assert!((0..cloud.len()).all(|i| found.row(i).0 == lowest), "{name}");
        assert!(found.dist_sq.iter().all(|d| *d == 0), "{name}");
    }
}
