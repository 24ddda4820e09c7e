//! The CPU's two searches against each other: neighbours equal to the bit over all kinds of clouds, and columns too.
#![allow(missing_docs)]

mod common;

use common::clouds::{self, Cloud};
use common::random::Random;
use common::{features, knn, of_members};
use lidar_features::synthetic::scene;
use lidar_features::{Backend, CpuSearch, Engine, Frame, Neighborhood, Neighbors, Options, PointCloud};

fn engine(search: CpuSearch) -> Engine {
    Engine::builder().backend(Backend::Cpu).cpu_search(search).build().unwrap()
}

/// Larger than the clouds of other tests: many blocks, several levels of boxes, several tasks.
fn large() -> Vec<Cloud> {
    let mut all: Vec<Cloud> = ["als", "tls", "uniform", "duplicates"]
        .into_iter()
        .map(|name| Cloud::new(name, scene(name, 20_000, 5).unwrap().lattice))
        .collect();
    let mut crowded = clouds::terrain(6000);
    crowded.points.extend([crowded.points[17]; 2500]);
    crowded.name = "terrain with thirty in a hundred at one place".to_owned();
    // A point far away leaves all others in one corner of the lattice.
    let mut outlier = clouds::terrain(6000);
    outlier.points.push([1 << 30, -(1 << 30), 1 << 29]);
    outlier.name = "terrain with a far outlier".to_owned();
    let edge = |sign: i32| {
        let mut cloud = clouds::terrain(3000);
        cloud.points.iter_mut().flatten().for_each(|v| *v = sign * ((1 << 30) - 1 - v.abs()));
        cloud.name = format!("terrain at the lattice's edge {sign}");
        cloud
    };
    let mut both = edge(1);
    both.points.extend(edge(-1).points);
    both.name = "terrain at both edges of the lattice".to_owned();
    let mut sparse = clouds::terrain(4000);
    sparse.points.iter_mut().flatten().for_each(|v| *v = v.saturating_mul(30_000));
    sparse.name = "terrain spread until f32 cannot hold it".to_owned();
    all.extend([
        crowded,
        outlier,
        edge(1),
        edge(-1),
        both,
        sparse,
        clouds::collinear(5000),
        clouds::coplanar(9000),
    ]);
    all.extend([clouds::wide(4000), clouds::twins(5000), clouds::grid(19), clouds::identical(3000)]);
    all
}

fn rules(cloud: &Cloud) -> Vec<Neighborhood> {
    let mut rules: Vec<_> = [1, 2, 5, 20, 33, 64, 127, 200].into_iter().map(knn).collect();
    if cloud.len() <= 1000 {
        rules.push(knn(cloud.len()));
        rules.push(knn(cloud.len() + 70));
        // Everything.
        rules.push(Neighborhood::radius(1e12).unwrap());
    }
    let quanta = |r: f64| r * cloud.quantum;
    rules.extend([0.001, 1.0, 17.3, 150.0].map(|r| Neighborhood::radius(quanta(r)).unwrap()));
    let within = [(1, 0.001), (9, 40.0), (30, 5000.0), (9, 3e7), (20, 1e12)];
    rules.extend(within.map(|(k, r)| Neighborhood::knn_within(k, quanta(r)).unwrap()));
    rules
}

/// Rows that two searches found, the first difference in words.
fn compare(own: &Neighbors, reference: &Neighbors, what: &str) {
    assert_eq!(own.offsets, reference.offsets, "lengths: {what}");
    for i in 0..own.len() {
        assert_eq!(own.row(i), reference.row(i), "point {i}: {what}");
    }
}

#[test]
fn neighbours_are_those_of_the_reference() {
    let [own, reference] = [CpuSearch::Blocks, CpuSearch::Reference].map(engine);
    let mut members = 0;
    for cloud in clouds::all().into_iter().chain(large()) {
        for rule in rules(&cloud) {
            let of = |engine: &Engine| engine.neighbors(&cloud.borrow(), rule).unwrap().0;
            let found = of(&own);
            compare(&found, &of(&reference), &format!("{} with {rule:?}", cloud.name));
            members += found.indices.len();
        }
    }
    assert!(members > 10_000_000, "only {members} members");
}

#[test]
fn neighbours_seen_from_above_are_those_of_the_reference() {
    let [own, reference] = [CpuSearch::Blocks, CpuSearch::Reference].map(engine);
    for cloud in large().into_iter().filter(|cloud| cloud.len() <= 10_000) {
        for rule in [knn(7), knn(40), Neighborhood::radius(90.0 * cloud.quantum).unwrap()] {
            let of = |engine: &Engine| engine.neighbors_xy(&cloud.borrow(), rule).unwrap().0;
            compare(&of(&own), &of(&reference), &format!("{} from above with {rule:?}", cloud.name));
        }
    }
}

#[test]
fn neighbours_of_foreign_queries_are_those_of_the_reference() {
    let [own, reference] = [CpuSearch::Blocks, CpuSearch::Reference].map(engine);
    for cloud in large() {
        let mut random = Random::new(cloud.len() as u64);
        let low = [0, 1, 2].map(|a| cloud.points.iter().map(|p| p[a]).min().unwrap());
        let high = [0, 1, 2].map(|a| cloud.points.iter().map(|p| p[a]).max().unwrap());
        // Beside points, anywhere in the box, and on its corners, where nothing may be for long.
        let mut places: Vec<[i32; 3]> = (0..1500)
            .map(|i| match i % 3 {
                0 => [0, 1, 2].map(|a| low[a] + random.below((high[a].abs_diff(low[a])).max(1))),
                _ => cloud.points[random.below(cloud.len() as u32) as usize].map(|v| v - random.below(3)),
            })
            .map(|p| std::array::from_fn(|a| p[a].clamp(low[a], high[a])))
            .collect();
        places.extend([low, high, low, [low[0], high[1], low[2]]]);
        let queries = PointCloud::from_lattice(&places, cloud.frame());
        let quantum = cloud.quantum;
        let radius = [0.001, 25.0].map(|r| Neighborhood::radius(r * quantum).unwrap());
        let within = Neighborhood::knn_within(12, 60.0 * quantum).unwrap();
        for rule in [knn(1), knn(20), knn(150), within].into_iter().chain(radius) {
            let of = |engine: &Engine| engine.neighbors_of(&queries, &cloud.borrow(), rule).unwrap().0;
            compare(&of(&own), &of(&reference), &format!("queries of {} with {rule:?}", cloud.name));
        }
    }
}

#[test]
fn columns_are_those_of_the_reference() {
    let [own, reference] = [CpuSearch::Blocks, CpuSearch::Reference].map(engine);
    let mut compared = 0;
    for cloud in large().into_iter().chain([clouds::terrain(2000).colored(255)]) {
        let direct = features(&cloud);
        let members = of_members();
        let farther = members.iter().filter(|f| cloud.color.is_some() || !is_channel(*f));
        let sets = [direct, farther.collect()];
        for (set, rule) in sets.iter().flat_map(|set| [knn(20), knn(3), knn(150)].map(|rule| (set, rule))) {
            let of = |engine: &Engine| {
                engine.features_with(&cloud.borrow(), set, rule, &Options::default()).unwrap().0
            };
            let (own, reference) = (of(&own), of(&reference));
            assert_eq!(own.flags(), reference.flags(), "flags: {} with {rule:?}", cloud.name);
            for (a, b) in own.iter().zip(reference.iter()) {
                let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
                let wrong = a.values.iter().zip(&b.values).position(|pair| !same(pair));
                assert_eq!(wrong, None, "{} of {} with {rule:?}", a.feature.row().name, cloud.name);
                compared += a.values.len();
            }
        }
    }
    assert!(compared > 1_000_000, "only {compared} values");
}

fn is_channel(feature: lidar_features::Feature) -> bool {
    feature.row().inputs.iter().any(|input| *input != lidar_features::Input::Xyz)
}

#[test]
fn a_planted_difference_is_seen() {
    let cloud = clouds::terrain(300);
    let (found, _) = engine(CpuSearch::Blocks).neighbors(&cloud.borrow(), knn(9)).unwrap();
    let mut swapped = found.clone();
    swapped.indices.swap(31, 32);
    let mut nudged = found.clone();
    nudged.dist_sq[40] += 1;
    for planted in [swapped, nudged] {
        let seen = std::panic::catch_unwind(|| compare(&found, &planted, "planted"));
        assert!(seen.is_err());
    }
    let frame = Frame::new([0.0; 3], 1.0).unwrap();
    assert!(
        engine(CpuSearch::Reference)
            .neighbors(&PointCloud::from_lattice(&[], frame), knn(1))
            .unwrap()
            .0
            .is_empty()
    );
}
