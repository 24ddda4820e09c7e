//! The CPU strategy on an airborne scene, its answer compared with the scene's true normals before it is timed.
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lidar_features::synthetic::{Class, Scene, scene};
use lidar_features::{Backend, Columns, Engine, Feature, FeatureSet, Neighborhood};

const POINTS: usize = 50_000;
const K: u32 = 20;

fn features(c: &mut Criterion) {
    let scene = scene("als", POINTS, 1).expect("a known scene");
    let engine = Engine::builder().backend(Backend::Cpu).build().expect("the CPU is always there");
    let neighborhood = Neighborhood::knn(K).expect("k > 0");
    let compute =
        |set: &FeatureSet| engine.features(&scene.cloud(), set, neighborhood).expect("a sound scene").0;

    let all = FeatureSet::geometric();
    check(&scene, &compute(&all));
    let mut group = c.benchmark_group("cpu/als");
    group.throughput(Throughput::Elements(POINTS as u64)).sample_size(10);
    let normals = FeatureSet::parse("normals").expect("a known group");
    group.bench_function("normals", |b| b.iter(|| compute(&normals)));
    group.bench_function("all geometric", |b| b.iter(|| compute(&all)));
    group.finish();
}

/// Full neighbourhoods, and normals within 5° of the truth where all neighbours lie on the ground.
fn check(scene: &Scene, columns: &Columns) {
    let get = |f| columns.get(f).expect("asked for");
    assert!(get(Feature::NeighborCount).iter().all(|n| *n == K as f32));
    let normal = [Feature::NormalX, Feature::NormalY, Feature::NormalZ].map(get);
    let radius = get(Feature::KnnDistance);
    let mut checked = 0;
    for (i, truth) in scene.truth.iter().enumerate() {
        if let (Class::Ground, Some(n)) = (truth.class, truth.normal)
            && truth.margin > radius[i]
        {
            let cosine: f32 = (0..3).map(|a| n[a] * normal[a][i]).sum();
            assert!(cosine > 5f32.to_radians().cos(), "point {i}: {n:?}");
            checked += 1;
        }
    }
    assert!(checked > POINTS / 4, "only {checked} points lie well inside of the ground");
}

criterion_group!(benches, features);
criterion_main!(benches);
