//! Thousands of small clouds of every adversarial shape against brute force: neighbours to the bit on the CPU and the GPU,
//! and features within tolerance.
//!
//! `LIDAR_FEATURES_CLOUDS=10000` says how many; 130 unless it does. `LIDAR_FEATURES_FIRST_CLOUD` begins with another seed
//! than 0.
#![allow(missing_docs)]

mod common;

use std::ops::Range;

use common::clouds::Cloud;
use common::compare::{self, Outcome};
use common::random::Random;
use common::seeded::{self, SHAPES};
use common::{engines, expected, knn, oracle, tolerance};
use lidar_features::{Engine, Error, FeatureSet, Flags, Neighborhood, PointCloud};

/// From one member to more than the kernels' lists hold.
const KS: [usize; 7] = [1, 8, 8, 20, 20, 128, 129];
/// Of features: lists of other lengths are the kernels' same variants.
const OF_FEATURES: usize = 12;
/// Radii in quanta.
const RADII: [u32; 4] = [1, 3, 40, 1500];

/// Seeds of the clouds.
fn wanted() -> Range<u64> {
    let number = |name: &str, usual| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(usual);
    let first = number("LIDAR_FEATURES_FIRST_CLOUD", 0);
    first..first + number("LIDAR_FEATURES_CLOUDS", 130)
}

/// What was compared with what.
#[derive(Default)]
struct Tally {
    lists: usize,
    values: Outcome,
    differences: usize,
    first: Vec<String>,
}

impl Tally {
    fn differ(&mut self, count: usize, what: impl FnOnce() -> String) {
        self.differences += count;
        if count > 0 && self.first.len() < 10 {
            self.first.push(what());
        }
    }
}

fn nearest(name: &str, engine: &Engine, cloud: &Cloud, truth: &oracle::Lists, k: usize, tally: &mut Tally) {
    let (found, _) = engine.neighbors(&cloud.borrow(), knn(k)).unwrap();
    let wrong = compare::neighbors(&found, truth, k);
    tally.lists += truth.len();
    tally.differ(wrong.len(), || format!("{} nearest, k = {k}, {name}: {:?}", cloud.name, wrong[0]));
}

fn within(name: &str, engine: &Engine, cloud: &Cloud, all: &oracle::Lists, radius: u32, tally: &mut Tally) {
    let limit = u64::from(radius).pow(2);
    let inside = |list: &Vec<(u64, u32)>| list.iter().copied().take_while(|n| n.0 <= limit).collect();
    let truth: oracle::Lists = all.iter().map(inside).collect();
    let rule = Neighborhood::radius(f64::from(radius) * cloud.quantum).unwrap();
    let (found, _) = engine.neighbors(&cloud.borrow(), rule).unwrap();
    let wrong = compare::neighbors(&found, &truth, usize::MAX);
    tally.lists += truth.len();
    tally.differ(wrong.len(), || format!("{} within {radius}, {name}: {:?}", cloud.name, wrong[0]));
}

fn values(name: &str, engine: &Engine, cloud: &Cloud, truth: &oracle::Lists, tally: &mut Tally) {
    let names = "normals,eigenvalues,planarity,linearity,verticality,roughness,mean_distance,knn_distance,neighbor_count";
    let set = FeatureSet::parse(names).unwrap();
    let (columns, _) = engine.features(&cloud.borrow(), &set, knn(OF_FEATURES)).unwrap();
    let locals = oracle::locals(cloud, truth, OF_FEATURES);
    for (i, (flags, local)) in columns.flags().iter().zip(&locals).enumerate() {
        let expected = oracle::flags(local, 0);
        let off = usize::from(*flags != expected);
        tally.differ(off, || {
            format!("{}, {name}: flags of point {i} are {flags}, not {expected}", cloud.name)
        });
    }
    let allowed = |f| if name == "cpu" { tolerance::between_f64(f) } else { tolerance::of_catalogue(f) };
    let outcome = compare::columns(&compare::table(&columns), expected(cloud, &locals), &locals, allowed);
    let off = outcome.failures.len();
    tally.differ(off, || format!("{}, {name}: {:?}", cloud.name, outcome.failures[0]));
    tally.values.absorb(Outcome { failures: Vec::new(), ..outcome });
}

#[test]
fn every_small_cloud_agrees_with_brute_force() {
    let engines = engines();
    let (mut tally, mut points, mut shapes) = (Tally::default(), 0, [0; SHAPES.len()]);
    for seed in wanted() {
        if seed > 0 && seed % 500 == 0 {
            println!("before cloud {seed}: {} differences", tally.differences);
        }
        let (cloud, shape) = seeded::cloud(seed);
        points += cloud.len();
        shapes[shape as usize] += 1;
        let mut random = Random::new(seed);
        let k = KS[random.below(KS.len() as u32) as usize];
        let radius = RADII[random.below(RADII.len() as u32) as usize];
        let all = oracle::neighbors(&cloud.points, cloud.len());
        for (name, engine) in &engines {
            nearest(name, engine, &cloud, &all, k, &mut tally);
            match seed % 3 {
                0 => within(name, engine, &cloud, &all, radius, &mut tally),
                _ => values(name, engine, &cloud, &all, &mut tally),
            }
        }
    }
    let Tally { lists, values, differences, first } = tally;
    println!(
        "clouds {:?}, {points} points, by shape {shapes:?}: {lists} lists, {differences} differences",
        wanted()
    );
    println!("{values}");
    assert_eq!(differences, 0, "{first:#?}");
    assert!(values.compared > 1000 && shapes.iter().all(|count| *count > 0));
}

/// Points of a crowd lie in their cells in whatever order the device's threads brought them there, and lists that take a
/// part of them are sorted from it: in many steps if it is a bad one. Engines beside each other make for bad ones.
#[test]
fn crowds_come_in_any_order() {
    let cloud = seeded::cloud(46).0;
    assert!(cloud.len() > 1500, "{}", cloud.name);
    let truth = oracle::neighbors(&cloud.points, 128);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for (name, engine) in engines() {
                    for run in 0..6 {
                        let (found, _) = engine.neighbors(&cloud.borrow(), knn(128)).unwrap();
                        compare::assert_neighbors(&found, &truth, 128, &format!("run {run} on the {name}"));
                    }
                }
            });
        }
    });
}

/// Zeros of either sign are one place, and what is too small for a quantum is zero.
#[test]
fn signed_zeros_and_denormals_are_zeros() {
    for (name, engine) in engines() {
        for seed in 0..20 {
            let mut random = Random::new(seed);
            let mut coordinate = || f64::from(random.below(7) - 3) * 0.01;
            let plain: Vec<[f64; 3]> = (0..90).map(|_| [(); 3].map(|()| coordinate())).collect();
            let mut other = |smallest: f64| -> Vec<[f64; 3]> {
                let mut disguise = |v: &f64| match (*v == 0.0, random.below(2)) {
                    (true, 0) => -smallest,
                    (true, _) => smallest,
                    _ => *v,
                };
                plain.iter().map(|p| [disguise(&p[0]), disguise(&p[1]), disguise(&p[2])]).collect()
            };
            let (signed, denormal) = (other(0.0), other(5e-324));
            let expected = engine.neighbors(&PointCloud::from_f64(&plain), knn(9)).unwrap();
            assert_eq!(expected.1.quantum, 0.01);
            let of_signed = engine.neighbors(&PointCloud::from_f64(&signed), knn(9)).unwrap().0;
            assert_eq!(of_signed, expected.0, "-0.0 on the {name}, seed {seed}");
            let cloud = PointCloud::from_f64(&denormal).with_quantum(0.01);
            assert_eq!(
                engine.neighbors(&cloud, knn(9)).unwrap().0,
                expected.0,
                "denormals on the {name}, seed {seed}"
            );
        }
    }
}

/// Whatever its sign and payload.
#[test]
fn every_nan_is_refused() {
    let payloads =
        [0x7ff8_0000_0000_0000, 0xfff8_0000_0000_0000, 0x7ff0_0000_0000_0001, 0x7fff_ffff_ffff_ffff];
    for (name, engine) in engines() {
        for (axis, bits) in (0..3).flat_map(|axis| payloads.map(|bits| (axis, bits))) {
            let mut points = vec![[1.0, 2.0, 3.0]; 70];
            points[66][axis] = f64::from_bits(bits);
            let refused = engine.neighbors(&PointCloud::from_f64(&points), knn(5)).map(|_| ());
            match refused {
                Err(Error::NonFinite { index: 66, count: 1, .. }) => {}
                other => panic!("{bits:x} on the {name}: {other:?}"),
            }
        }
    }
}

/// A million points in one cell, and one ten kilometres away.
#[test]
fn a_crowd_does_not_hide_the_hermit() {
    let n = 1 << 20;
    let mut points: Vec<[i32; 3]> = (0..n).map(|i| [i % 3, i / 3 % 3, i / 9 % 3]).collect();
    points.push([1_000_000, 0, 0]);
    let cloud = Cloud::new("a crowd and a hermit", points);
    let few = |i: usize| i % 131_071 == 5 || i == n as usize;
    let places: Vec<[i32; 3]> = (0..cloud.len()).filter(|i| few(*i)).map(|i| cloud.points[i]).collect();
    let truth = oracle::neighbors_of(&places, &cloud.points, 8);
    for (name, engine) in engines() {
        let (found, _) = engine.neighbors(&cloud.borrow(), knn(8)).unwrap();
        for (i, list) in (0..cloud.len()).filter(|i| few(*i)).zip(&truth) {
            let (indices, dist_sq) = found.row(i);
            let row: Vec<_> = dist_sq.iter().copied().zip(indices.iter().copied()).collect();
            assert_eq!(row, *list, "point {i} on the {name}");
        }
        let set = FeatureSet::parse("planarity").unwrap();
        let (columns, _) = engine.features(&cloud.borrow(), &set, knn(8)).unwrap();
        assert!(Flags(columns.flags()[0]).intersects(Flags::IDENTICAL), "{name}");
    }
}
