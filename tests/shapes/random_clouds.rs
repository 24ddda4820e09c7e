//! Neighbours of random clouds, shrunk to the smallest that fails.

use lidar_features::Engine;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::common::clouds::Cloud;
use crate::common::gpu::gpu_engine;
use crate::common::{compare, cpu_engine, knn, oracle};

/// Clouds from crowded (many duplicates and ties) to as wide as the lattice, with a k around their size.
fn cases() -> impl Strategy<Value = (Vec<[i32; 3]>, usize)> {
    let side = prop_oneof![1..4i32, 4..40, 40..5000, Just(1 << 24), Just(1 << 30)];
    let points = side.prop_flat_map(|s| prop::collection::vec(prop::array::uniform3(-s..s), 1..150));
    points.prop_flat_map(|points| {
        let most = points.len() + 3;
        (Just(points), 1..most)
    })
}

fn check(engine: &Engine, cases_to_run: u32) {
    let config = Config { cases: cases_to_run, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&cases(), |(points, k)| {
        let cloud = Cloud::new("random", points);
        let truth = oracle::neighbors(&cloud.points, k);
        let (found, _) = engine.neighbors(&cloud.borrow(), knn(k)).unwrap();
        prop_assert_eq!(compare::neighbors(&found, &truth, k), []);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn the_cpu_agrees_with_brute_force() {
    check(&cpu_engine(), 256);
}

#[test]
fn the_gpu_agrees_with_brute_force() {
    if let Some(engine) = gpu_engine() {
        check(&engine, 64);
    }
}
