//! The CPU strategy on an airborne scene, each answer checked before it is timed: features against the scene's true normals,
//! neighbours against the reference search.
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lidar_features::synthetic::{Class, Scene, scene};
use lidar_features::{
    Backend, Columns, CpuSearch, Engine, Feature, FeatureSet, Neighborhood, Neighbors, PointCloud,
};

const POINTS: usize = 50_000;
const K: u32 = 20;

/// Holds about twenty points of the scene.
const RADIUS: f64 = 0.85;

/// What pgeof's compute_features gives.
const ELEVEN: &str =
    "linearity,planarity,sphericity,verticality_unary,normals,length,surface,volume,surface_variation";

fn engine(search: CpuSearch) -> Engine {
    Engine::builder().backend(Backend::Cpu).cpu_search(search).build().expect("the CPU is always there")
}

fn features(c: &mut Criterion) {
    let scene = scene("als", POINTS, 1).expect("a known scene");
    let engine = engine(CpuSearch::Blocks);
    let knn = Neighborhood::knn(K).expect("k > 0");
    let radius = Neighborhood::radius(RADIUS).expect("a radius");
    let compute = |set: &FeatureSet, neighborhood| {
        engine.features(&scene.cloud(), set, neighborhood).expect("a sound scene").0
    };

    let all = FeatureSet::geometric();
    check(&scene, &compute(&all, knn));
    let counts = compute(&FeatureSet::new([Feature::NeighborCount]), radius);
    let mean = counts.get(Feature::NeighborCount).expect("asked for").iter().sum::<f32>() / POINTS as f32;
    assert!((15.0..30.0).contains(&mean), "{mean} points within the radius");

    let mut group = c.benchmark_group("cpu/als");
    group.throughput(Throughput::Elements(POINTS as u64)).sample_size(10);
    let parse = |names| FeatureSet::parse(names).expect("known features");
    let (normals, eleven) = (parse("normals"), parse(ELEVEN));
    group.bench_function("normals", |b| b.iter(|| compute(&normals, knn)));
    group.bench_function("eleven features", |b| b.iter(|| compute(&eleven, knn)));
    group.bench_function("eleven features within a radius", |b| b.iter(|| compute(&eleven, radius)));
    group.bench_function("all geometric", |b| b.iter(|| compute(&all, knn)));
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

fn neighbors(c: &mut Criterion) {
    let scene = scene("als", POINTS, 1).expect("a known scene");
    let [own, reference] = [CpuSearch::Blocks, CpuSearch::Reference].map(engine);
    let find = |engine: &Engine, rule| -> Neighbors {
        engine.neighbors(&scene.cloud(), rule).expect("a sound scene").0
    };
    // One query: all the rest is the index.
    let one = [scene.lattice[POINTS / 2]];
    let query = PointCloud::from_lattice(&one, scene.frame);
    let nearest = Neighborhood::knn(1).expect("k > 0");
    let index = || engine(CpuSearch::Blocks).neighbors_of(&query, &scene.cloud(), nearest).expect("sound").0;
    assert_eq!(index().dist_sq, [0]);

    let mut group = c.benchmark_group("cpu/als");
    group.throughput(Throughput::Elements(POINTS as u64)).sample_size(10);
    group.bench_function("index", |b| b.iter(index));
    let rules = [
        ("nearest 20", Neighborhood::knn(K).expect("k > 0")),
        ("nearest 100", Neighborhood::knn(100).expect("k > 0")),
        ("within a radius", Neighborhood::radius(RADIUS).expect("a radius")),
    ];
    for (name, rule) in rules {
        assert_eq!(find(&own, rule), find(&reference, rule), "{name}");
        group.bench_function(name, |b| b.iter(|| find(&own, rule)));
    }
    group.bench_function("nearest 20, reference", |b| b.iter(|| find(&reference, rules[0].1)));
    group.finish();
}

criterion_group!(benches, features, neighbors);
criterion_main!(benches);
