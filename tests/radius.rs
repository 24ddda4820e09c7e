//! Neighbourhoods that a radius bounds: exact members on every backend, columns within the catalogue's tolerances.
#![allow(missing_docs)]

mod common;

use std::collections::{HashMap, HashSet};

use common::clouds::{self, Cloud};
use common::compare::{self, Outcome};
use common::gpu::{gpu_engine, gpu_engine_with};
use common::local::Local;
use common::oracle::{self, Lists};
use common::{cpu_engine, features, tolerance};
use lidar_features::{Feature, Flags, Input, Neighborhood, Options};

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

/// Distances beyond 2^24 take the wide kernel, beyond 2^32 the CPU; so do balls with more points than a kernel visits.
#[test]
fn wide_and_crowded_balls_agree() {
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

/// More points than one invocation visits lie within the radius: workgroups take them, of a few cubes and of many, of the
/// cloud's own points and of foreign queries.
#[test]
fn crowds_within_a_radius_are_shared_out() {
    let Some(gpu) = gpu_engine() else { return };
    let few_cubes = clouds::uniform(40_000, 6);
    let mut many_cubes = clouds::uniform(90_000, 8);
    many_cubes.points.iter_mut().flatten().for_each(|v| *v *= 40);
    let options = Options::default();
    let mut all = Outcome::default();
    for (mut cloud, quanta) in [(few_cubes, 60.0), (many_cubes, 260.5)] {
        let places = one_of_each_place_first(&mut cloud);
        let first = Cloud::new("places", cloud.points[..places].to_vec());
        let radii = [quanta / 3.0, quanta];
        let scales = radii.map(|quanta| radius(&cloud, quanta));
        let set = features(&cloud);
        let (columns, report) = gpu.features_at_scales(&cloud.borrow(), &set, &scales, &options).unwrap();
        assert_eq!(report.stragglers, 0, "{}", cloud.name);
        let (of_places, report) =
            gpu.features_at(&first.borrow(), &cloud.borrow(), &set, scales[1], &options).unwrap();
        assert_eq!(report.stragglers, 0, "places of {}", cloud.name);
        for (quanta, rule) in radii.into_iter().zip(scales) {
            let limit = (quanta * quanta) as u64;
            let members = |p: &[i32; 3]| -> Vec<(u64, u32)> {
                let all = cloud.points.iter().zip(0..).map(|(q, i)| (oracle::dist_sq(*p, *q), i));
                all.filter(|member| member.0 <= limit).collect()
            };
            let lists: Lists = first.points.iter().map(members).collect();
            let locals = oracle::locals(&cloud, &lists, usize::MAX);
            let (expected, _) = cpu_engine().features(&cloud.borrow(), &set, rule).unwrap();
            let of = |feature| columns.get_in(feature, rule).unwrap();
            let table = set.iter().map(|f| (f, of(f)[..places].to_vec())).collect();
            let value = |f: Feature, i: usize| Some(f64::from(expected.get(f)?[i]));
            let outcome = compare::columns(&table, value, &locals, tolerance::of_catalogue);
            outcome.assert_clean(&format!("{}, {quanta} quanta", cloud.name));
            all.absorb(outcome);
            // Whoever shares a place shares its columns, to the bit.
            let place_of: HashMap<[i32; 3], usize> = first.points.iter().copied().zip(0..).collect();
            for feature in set.iter().filter(|f| f.row().inputs == [Input::Xyz]) {
                let same = |(i, p): (usize, &[i32; 3])| {
                    of(feature)[i].to_bits() == of(feature)[place_of[p]].to_bits()
                };
                assert!(cloud.points.iter().enumerate().all(same), "{feature} of {}", cloud.name);
            }
        }
        // A foreign query is no member: what does not count it out is that of the point there.
        for feature in ["neighbor_count", "eigenvalue_1", "eigenvalue_3", "vertical_range"] {
            let feature: Feature = feature.parse().unwrap();
            let (found, own) = (of_places.get(feature).unwrap(), columns.get_in(feature, scales[1]).unwrap());
            assert!(found.iter().zip(own).all(|(a, b)| a.to_bits() == b.to_bits()), "{feature}");
        }
    }
    println!("{all}");
}

#[test]
fn chunks_do_not_show() {
    let Some(whole) = gpu_engine() else { return };
    for cloud in [clouds::terrain(3000), clouds::terrestrial(3000), clouds::twins(2000)] {
        let set = features(&cloud);
        for rule in [radius(&cloud, 60.0), Neighborhood::knn_within(10, 50.0 * cloud.quantum).unwrap()] {
            let (expected, _) = whole.features(&cloud.borrow(), &set, rule).unwrap();
            for points in [200, 1100] {
                let engine = gpu_engine_with(|builder| builder.chunk_points(points)).unwrap();
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
