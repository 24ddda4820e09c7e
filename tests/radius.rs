//! Neighbourhoods that a radius bounds: exact members on every backend, columns within the catalogue's tolerances.
#![allow(missing_docs)]

mod common;

use std::collections::{HashMap, HashSet};

use common::clouds::{self, Cloud};
use common::compare::{self, Outcome};
use common::gpu::{chunked_engine, gpu_engine};
use common::local::Local;
use common::oracle::{self, Lists};
use common::{cpu_engine, features, tolerance};
use lidar_features::{Feature, Flags, Neighborhood, Options};

/// Radii in quanta, from fewer members than points at one place to more than a kernel visits.
const RADII: [f64; 5] = [0.5, 3.0, 17.3, 60.0, 400.0];

fn small() -> Vec<Cloud> {
    vec![
        clouds::uniform(1000, 150),
        clouds::terrain(1000),
        clouds::terrestrial(1000),
        clouds::plane_grid(30),
        clouds::collinear(257),
        clouds::identical(65),
        clouds::twins(500),
        clouds::exponential(),
        clouds::millimetres(clouds::terrain(500)),
    ]
}

/// By brute force: every point within a squared distance.
fn within(cloud: &Cloud, limit: u64) -> Lists {
    let mut lists = oracle::neighbors(&cloud.points, cloud.len());
    lists.iter_mut().for_each(|list| list.retain(|n| n.0 <= limit));
    lists
}

fn radius(cloud: &Cloud, quanta: f64) -> Neighborhood {
    Neighborhood::radius(quanta * cloud.quantum).unwrap()
}

/// The values of the CPU, with the conditioning of each neighbourhood, against another engine's.
fn columns_agree(
    engine: &lidar_features::Engine,
    cloud: &Cloud,
    rule: Neighborhood,
    lists: &Lists,
    what: &str,
) -> Outcome {
    let set = features(cloud);
    let (expected, _) = cpu_engine().features(&cloud.borrow(), &set, rule).unwrap();
    let (actual, report) = engine.features(&cloud.borrow(), &set, rule).unwrap();
    assert_eq!(report.backend, "gpu", "{what}");
    assert_eq!(actual.flags(), expected.flags(), "flags: {what}");
    let locals: Vec<Local> = oracle::locals(cloud, lists, usize::MAX);
    let value = |feature: Feature, i: usize| Some(f64::from(expected.get(feature)?[i]));
    let outcome = compare::columns(&compare::table(&actual), value, &locals, tolerance::of_catalogue);
    outcome.assert_clean(what);
    outcome
}

#[test]
fn the_cpu_finds_all_members_and_no_others() {
    let mut members = 0;
    for cloud in small() {
        for quanta in RADII {
            let lists = within(&cloud, (quanta * quanta) as u64);
            let what = format!("{}, {quanta} quanta", cloud.name);
            let (found, _) = cpu_engine().neighbors(&cloud.borrow(), radius(&cloud, quanta)).unwrap();
            compare::assert_neighbors(&found, &lists, usize::MAX, &what);
            members += found.indices.len();
            for k in [1, 5, 40] {
                let rule = Neighborhood::knn_within(k, quanta * cloud.quantum).unwrap();
                let (found, _) = cpu_engine().neighbors(&cloud.borrow(), rule).unwrap();
                compare::assert_neighbors(&found, &lists, k as usize, &what);
            }
        }
    }
    assert!(members > 1_000_000, "{members}");
}

#[test]
fn the_cpu_computes_what_the_oracle_does() {
    for cloud in small() {
        for quanta in RADII {
            let rule = radius(&cloud, quanta);
            let lists = within(&cloud, (quanta * quanta) as u64);
            let set = features(&cloud);
            let (columns, _) = cpu_engine().features(&cloud.borrow(), &set, rule).unwrap();
            let locals = oracle::locals(&cloud, &lists, usize::MAX);
            let density = |f: Feature| f.name().starts_with("density");
            let value = |f: Feature, i: usize| if density(f) { None } else { oracle::value(f, &locals[i]) };
            let outcome = compare::columns(&compare::table(&columns), value, &locals, tolerance::between_f64);
            outcome.assert_clean(&format!("{}, {quanta} quanta", cloud.name));
            // Densities are about the radius given, not about the farthest member.
            let r = quanta * cloud.quantum;
            for (i, list) in lists.iter().enumerate() {
                let expected = list.len() as f64 / (std::f64::consts::PI * r * r);
                let density = columns.get(Feature::DensitySurface).unwrap()[i];
                assert!((f64::from(density) - expected).abs() <= 1e-6 * expected);
                assert_eq!(columns.flags()[i] & Flags::NO_RADIUS.0, 0);
            }
        }
    }
}

#[test]
fn the_gpu_agrees() {
    let Some(gpu) = gpu_engine() else { return };
    let mut all = Outcome::default();
    for cloud in small() {
        for quanta in RADII {
            let lists = within(&cloud, (quanta * quanta) as u64);
            let what = format!("{}, {quanta} quanta", cloud.name);
            all.absorb(columns_agree(&gpu, &cloud, radius(&cloud, quanta), &lists, &what));
            for k in [1, 12] {
                let rule = Neighborhood::knn_within(k, quanta * cloud.quantum).unwrap();
                let lists: Lists = lists.iter().map(|l| l[..l.len().min(k as usize)].to_vec()).collect();
                let (found, _) = gpu.neighbors(&cloud.borrow(), rule).unwrap();
                compare::assert_neighbors(&found, &lists, usize::MAX, &what);
                all.absorb(columns_agree(&gpu, &cloud, rule, &lists, &format!("{what}, k = {k}")));
            }
        }
    }
    println!("{all}");
}

/// Distances beyond 2^24 take the wide kernel, beyond 2^32 the CPU.
#[test]
fn wide_balls_agree() {
    let Some(gpu) = gpu_engine() else { return };
    let stretched = |factor: i32| {
        let mut cloud = clouds::terrain(600);
        cloud.points.iter_mut().flatten().for_each(|v| *v *= factor);
        cloud
    };
    for (cloud, quanta) in [(stretched(100), 9000.5), (stretched(1000), 90_000.0)] {
        let lists = within(&cloud, (quanta * quanta) as u64);
        columns_agree(&gpu, &cloud, radius(&cloud, quanta), &lists, &format!("{quanta} quanta"));
    }
}

/// Brings one point of each place to the front, in the order of their first; how many places there are.
fn one_of_each_place_first(cloud: &mut Cloud) -> usize {
    let mut seen = HashSet::new();
    cloud.points.sort_by_cached_key(|p| !seen.insert(*p));
    seen.len()
}

/// More points than one invocation visits lie within the radius, in a few cubes: workgroups take them, all radii at once.
#[test]
fn crowds_within_radii_are_shared_out() {
    let Some(gpu) = gpu_engine() else { return };
    let mut cloud = clouds::uniform(30_500, 4);
    let places = one_of_each_place_first(&mut cloud);
    let radii = [2.5, 60.0];
    let scales = radii.map(|quanta| radius(&cloud, quanta));
    let set = features(&cloud);
    let (columns, report) =
        gpu.features_at_scales(&cloud.borrow(), &set, &scales, &Options::default()).unwrap();
    assert_eq!(report.stragglers, 0);
    let place_of: HashMap<[i32; 3], usize> = cloud.points[..places].iter().copied().zip(0..).collect();
    for (quanta, rule) in radii.into_iter().zip(scales) {
        let members = members_of(&cloud.points[..places], &cloud, quanta).enumerate();
        let locals: Vec<_> = members.map(|(i, m)| Local::new(&cloud.points, i, &m, cloud.quantum)).collect();
        let (expected, _) = cpu_engine().features(&cloud.borrow(), &set, rule).unwrap();
        let of = |feature| columns.get_in(feature, rule).unwrap();
        let table = set.iter().map(|f| (f, of(f)[..places].to_vec())).collect();
        let value = |f: Feature, i: usize| Some(f64::from(expected.get(f)?[i]));
        let outcome = compare::columns(&table, value, &locals, tolerance::of_catalogue);
        outcome.assert_clean(&format!("{quanta} quanta"));
        // Whoever shares a place shares its columns, to the bit.
        for feature in set.iter() {
            let bits = |i: usize| of(feature)[i].to_bits();
            let same = |(i, p): (usize, &[i32; 3])| bits(i) == bits(place_of[p]);
            assert!(cloud.points.iter().enumerate().all(same), "{feature}");
        }
    }
}

/// The same in many cubes, around places that are no points of the cloud.
#[test]
fn crowds_around_foreign_queries_are_shared_out() {
    let Some(gpu) = gpu_engine() else { return };
    let mut cloud = clouds::uniform(90_000, 8);
    cloud.points.iter_mut().flatten().for_each(|v| *v *= 40);
    let mut queries = clouds::uniform(100, 300);
    queries.quantum = cloud.quantum;
    let (set, rule) = (features(&cloud), radius(&cloud, 260.5));
    let ask = |engine: &lidar_features::Engine| {
        engine.features_at(&queries.borrow(), &cloud.borrow(), &set, rule, &Options::default()).unwrap()
    };
    let ((columns, report), (expected, _)) = (ask(&gpu), ask(&cpu_engine()));
    assert_eq!((report.backend, report.stragglers), ("gpu", 0));
    assert_eq!(columns.flags(), expected.flags());
    let members = queries.points.iter().zip(members_of(&queries.points, &cloud, 260.5));
    let locals: Vec<_> =
        members.map(|(place, m)| Local::around(*place, &cloud.points, &m, cloud.quantum)).collect();
    let value = |f: Feature, i: usize| Some(f64::from(expected.get(f)?[i]));
    let outcome = compare::columns(&compare::table(&columns), value, &locals, tolerance::of_catalogue);
    outcome.assert_clean("foreign queries");
}

/// The indices of what lies within a radius of each place.
fn members_of<'p>(
    places: &'p [[i32; 3]],
    cloud: &'p Cloud,
    quanta: f64,
) -> impl Iterator<Item = Vec<u32>> + 'p {
    let limit = (quanta * quanta) as u64;
    let inside = move |p: [i32; 3], i: &u32| oracle::dist_sq(p, cloud.points[*i as usize]) <= limit;
    places.iter().map(move |&p| (0..cloud.len() as u32).filter(|i| inside(p, i)).collect())
}

#[test]
fn chunks_do_not_show() {
    let Some(whole) = gpu_engine() else { return };
    for cloud in [clouds::terrain(3000), clouds::terrestrial(3000), clouds::twins(2000)] {
        let set = features(&cloud);
        for rule in [radius(&cloud, 60.0), Neighborhood::knn_within(10, 50.0 * cloud.quantum).unwrap()] {
            let (expected, _) = whole.features(&cloud.borrow(), &set, rule).unwrap();
            for points in [200, 1100] {
                let engine = chunked_engine(points).unwrap();
                let (actual, report) = engine.features(&cloud.borrow(), &set, rule).unwrap();
                assert!(report.chunks > 1);
                assert_eq!(actual.flags(), expected.flags());
                for (a, e) in actual.iter().zip(&expected) {
                    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                    assert!(bits(&a.values) == bits(&e.values), "{} of {}", a.feature, cloud.name);
                }
            }
        }
    }
}
