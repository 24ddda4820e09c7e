//! Neighbourhoods that a radius bounds: exact members on every backend, columns within the catalogue's tolerances.
#![allow(missing_docs)]

mod common;

use common::clouds::{self, Cloud};
use common::compare::{self, Outcome};
use common::gpu::{chunked_engine, gpu_engine};
use common::local::Local;
use common::oracle::{self, Lists};
use common::{cpu_engine, features, tolerance};
use lidar_features::{Feature, Flags, Neighborhood};

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
    // Few places, so that the CPU has few searches.
    let crowd = clouds::uniform(40_000, 6);
    let set = lidar_features::FeatureSet::parse("neighbor_count,eigenvalues,vertical_range").unwrap();
    let rule = radius(&crowd, 60.0);
    let (actual, report) = gpu.features(&crowd.borrow(), &set, rule).unwrap();
    assert_eq!(report.stragglers, crowd.len());
    assert!(actual.get(Feature::NeighborCount).unwrap().iter().all(|n| *n == 40_000.0));
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
