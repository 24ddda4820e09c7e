//! Heights above ground, the scores that take them, and counts in other neighbourhoods: against brute force, alike on
//! every backend and in any chunking.
#![allow(missing_docs)]

mod common;

use std::f64::consts::PI;
use std::num::NonZeroU32;

use common::clouds::{self, Cloud};
use common::compare::{self, Outcome};
use common::gpu::{chunked_engine, gpu_engine};
use common::local::Local;
use common::oracle::{self, Lists};
use common::random::Random;
use common::{cpu_engine, engines, knn, of_members, tolerance};
use lidar_features::{
    Columns, Engine, Error, Feature, FeatureSet, Fill, Flags, Frame, Ground, GroundMethod, Neighborhood,
    Options, PointCloud, Report, Unit,
};

/// A cloud of which some points are ground.
struct Scene {
    cloud: Cloud,
    classes: Vec<u8>,
}

impl Scene {
    fn borrow(&self) -> PointCloud<'_> {
        self.cloud.borrow().with_classification(&self.classes)
    }

    /// Every `part`-th point of a cloud is ground, in no order.
    fn sprinkled(cloud: Cloud, part: u32) -> Self {
        let mut random = Random::new(part.into());
        let class = |_| if random.below(part) == 0 { 2 } else { 1 };
        let mut classes: Vec<u8> = (0..cloud.len()).map(class).collect();
        classes[0] = 2;
        Self { cloud, classes }
    }

    fn is_ground(&self, i: usize) -> bool {
        self.classes[i] == 2
    }
}

/// A slope of 20 % with boxes on it, in centimetres; some of what stands on it is right above ground points.
fn slope(n: usize) -> Scene {
    let mut random = Random::new(21);
    let side = ((n as f64 / 8.0).sqrt() * 100.0) as u32 + 1;
    let (mut points, mut classes): (Vec<[i32; 3]>, Vec<u8>) = (Vec::new(), Vec::new());
    for i in 0..n {
        let (x, y) = (random.below(side), random.below(side));
        let ground = x / 5 + random.below(3) - 1;
        let built = (x / 300 + y / 300) % 3 == 0;
        match i % 10 {
            0 if i > 0 => {
                let [x, y, z] = points[i - 1];
                points.push([x, y, z + 150]);
                classes.push(5);
            }
            1 | 2 => {
                points.push([x, y, ground + random.below(300)]);
                classes.push(3);
            }
            _ => {
                points.push([x, y, ground + if built { 700 } else { 0 }]);
                classes.push(if built { 6 } else { 2 });
            }
        }
    }
    Scene { cloud: Cloud::new(format!("slope of {n}"), points), classes }
}

fn scenes() -> Vec<Scene> {
    vec![
        slope(1500),
        Scene::sprinkled(clouds::terrain(700), 5),
        Scene::sprinkled(clouds::terrestrial(500), 3),
        Scene::sprinkled(clouds::plane_grid(16), 4),
        Scene::sprinkled(clouds::collinear(120), 3),
        Scene::sprinkled(clouds::identical(40), 2),
        Scene::sprinkled(clouds::wide(150), 4),
        Scene::sprinkled(clouds::twins(200), 6),
        Scene::sprinkled(clouds::millimetres(clouds::terrain(300)), 4),
        Scene::sprinkled(clouds::uniform(1, 10), 1),
    ]
}

fn k(k: u32) -> NonZeroU32 {
    NonZeroU32::new(k).unwrap()
}

fn methods() -> Vec<GroundMethod> {
    let idw = [1, 4, 9].map(|n| GroundMethod::Idw { k: k(n) });
    let plane = [2, 3, 8, 40].map(|n| GroundMethod::Plane { k: k(n) });
    [GroundMethod::Nearest].into_iter().chain(idw).chain(plane).collect()
}

/// Height and distance of a place above ground points by the definitions, in metres; without a height if none counts.
fn height(place: [i32; 3], ground: &[[i32; 3]], quantum: f64, choice: &Ground) -> (Option<f64>, f64) {
    let flat =
        |p: &[i32; 3]| -> i128 { (0..2).map(|a| (i128::from(p[a]) - i128::from(place[a])).pow(2)).sum() };
    let mut near: Vec<(i128, usize)> = ground.iter().enumerate().map(|(j, p)| (flat(p), j)).collect();
    near.sort_unstable();
    let distance = (near[0].0 as f64).sqrt() * quantum;
    let count = match choice.method {
        GroundMethod::Idw { k } | GroundMethod::Plane { k } => k.get() as usize,
        _ => 1,
    };
    near.truncate(count);
    near.retain(|m| choice.max_distance.is_none_or(|d| (m.0 as f64).sqrt() * quantum <= d * (1.0 + 1e-12)));
    let Some(first) = near.first() else { return (None, distance) };
    let at = |j: usize| -> [f64; 3] {
        std::array::from_fn(|a| (f64::from(ground[j][a]) - f64::from(place[a])) * quantum)
    };
    let idw = || {
        let (sum, weights) = near.iter().fold((0.0, 0.0), |(sum, weights), (d, j)| {
            let w = 1.0 / (*d as f64 * quantum * quantum);
            (sum + w * at(*j)[2], weights + w)
        });
        sum / weights
    };
    let below = match choice.method {
        _ if first.0 == 0 => at(first.1)[2],
        GroundMethod::Idw { .. } => idw(),
        GroundMethod::Plane { .. } => {
            plane(&near.iter().map(|m| at(m.1)).collect::<Vec<_>>()).unwrap_or_else(idw)
        }
        _ => at(first.1)[2],
    };
    (Some(-below), distance)
}

/// z at the origin of the least-squares plane, by projecting on the two axes of the points' spread in XY.
fn plane(points: &[[f64; 3]]) -> Option<f64> {
    let n = points.len() as f64;
    let mean: [f64; 3] = std::array::from_fn(|a| points.iter().map(|p| p[a]).sum::<f64>() / n);
    let about =
        |a: usize, b: usize| points.iter().map(|p| (p[a] - mean[a]) * (p[b] - mean[b])).sum::<f64>() / n;
    let (xx, xy, yy) = (about(0, 0), about(0, 1), about(1, 1));
    let apart = (xx - yy).hypot(2.0 * xy);
    let (major, minor) = ((xx + yy + apart) / 2.0, (xx + yy - apart) / 2.0);
    if major <= 0.0 || major * minor / (major + minor).powi(2) < 1e-4 {
        return None;
    }
    let turn = (2.0 * xy).atan2(xx - yy) / 2.0;
    let at_origin = [(turn, major), (turn + PI / 2.0, minor)].map(|(turn, spread)| {
        let (sin, cos) = turn.sin_cos();
        let along = |p: [f64; 3]| (p[0] - mean[0]) * cos + (p[1] - mean[1]) * sin;
        let slope = points.iter().map(|p| along(*p) * (p[2] - mean[2])).sum::<f64>() / n / spread;
        slope * along([0.0; 3])
    });
    Some(mean[2] + at_origin[0] + at_origin[1])
}

fn heights() -> FeatureSet {
    FeatureSet::parse("height_above_ground,ground_distance,is_ground,height_above_min,relative_height")
        .unwrap()
}

fn compute(
    engine: &Engine,
    cloud: &PointCloud<'_>,
    set: &FeatureSet,
    rule: Neighborhood,
    options: &Options,
) -> (Columns, Report) {
    engine.features_with(cloud, set, rule, options).unwrap()
}

fn near(actual: f32, expected: f64, slack: f64, what: &str) {
    let error = (f64::from(actual) - expected).abs();
    assert!(error <= slack + 1e-7 * expected.abs(), "{what}: {actual}, expected {expected}");
}

#[test]
fn heights_are_those_of_the_definitions() {
    let (mut compared, mut undefined) = (0, 0);
    for scene in scenes() {
        let points = &scene.cloud.points;
        let ground: Vec<_> = (0..points.len()).filter(|i| scene.is_ground(*i)).map(|i| points[i]).collect();
        let z = || points.iter().map(|p| f64::from(p[2]));
        let (low, high) = (z().fold(f64::MAX, f64::min), z().fold(f64::MIN, f64::max));
        for method in methods() {
            for max_distance in [None, Some(0.3), Some(2.0)] {
                let mut choice = Ground::default().method(method);
                choice.max_distance = max_distance;
                let options = Options::default().ground(choice);
                let (columns, report) = compute(&cpu_engine(), &scene.borrow(), &heights(), knn(1), &options);
                assert!(report.stages.iter().any(|s| s.0 == "extras"));
                let of = |f: Feature, i: usize| columns.get(f).unwrap()[i];
                for (i, place) in points.iter().enumerate() {
                    let what = format!("point {i} of {}, {choice:?}", scene.cloud.name);
                    let (expected, distance) = match scene.is_ground(i) {
                        true => (Some(0.0), 0.0),
                        false => height(*place, &ground, scene.cloud.quantum, &choice),
                    };
                    let flags = columns.flags()[i];
                    match expected {
                        Some(expected) => {
                            // Planes through far points lever their rounding up.
                            let slack = 1e-9 * (high - low) * scene.cloud.quantum + 1e-9 * distance;
                            near(of(Feature::HeightAboveGround, i), expected, slack, &what);
                            assert_eq!(flags, 0, "{what}");
                        }
                        None => {
                            assert!(of(Feature::HeightAboveGround, i).is_nan(), "{what}");
                            assert_eq!(flags, Flags::NO_GROUND.0, "{what}");
                            undefined += 1;
                        }
                    }
                    near(of(Feature::GroundDistance, i), distance, 0.0, &what);
                    assert_eq!(of(Feature::IsGround, i) == 1.0, scene.is_ground(i), "{what}");
                    let above = f64::from(place[2]) - low;
                    near(of(Feature::HeightAboveMin, i), above * scene.cloud.quantum, 0.0, &what);
                    let part = if high > low { above / (high - low) } else { 0.0 };
                    near(of(Feature::RelativeHeight, i), part, 0.0, &what);
                    compared += 1;
                }
            }
        }
    }
    println!("{compared} points, {undefined} without a height");
    assert!(compared > 50_000 && undefined > 2000);
}

/// What the issue asks: known truth on a slope of 20 %.
#[test]
fn on_a_slope_the_plane_beats_the_nearest_point() {
    let mut random = Random::new(5);
    let (mut points, mut classes, mut truth) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..4000 {
        let (x, y) = (random.unit() * 60.0, random.unit() * 60.0);
        // Ground as the sensor sees it, 2 cm of noise, one point in four square metres.
        let is_ground = i % 4 == 0;
        let above = if is_ground { 0.0 } else { random.unit() * 12.0 };
        let z = 0.2 * x + above + if is_ground { 0.02 * random.normal() } else { 0.0 };
        points.push([x, y, z].map(|v: f64| (v * 1000.0).round() / 1000.0));
        classes.push(if is_ground { 2 } else { 5 });
        truth.push(above);
    }
    let cloud = PointCloud::from_f64(&points).with_classification(&classes);
    let set = FeatureSet::parse("height_above_ground").unwrap();
    for (name, engine) in engines() {
        let errors = [GroundMethod::Nearest, GroundMethod::Idw { k: k(8) }, GroundMethod::Plane { k: k(8) }]
            .map(|method| {
                let options = Options::default().ground(Ground::default().method(method));
                let (columns, _) = compute(&engine, &cloud, &set, knn(1), &options);
                let heights = columns.get(Feature::HeightAboveGround).unwrap();
                let errors = || {
                    let pairs = heights.iter().zip(&truth).zip(&classes).filter(|(_, class)| **class != 2);
                    pairs.map(|((h, t), _)| (f64::from(*h) - t).abs())
                };
                let n = errors().count() as f64;
                let rms = (errors().map(|e| e * e).sum::<f64>() / n).sqrt();
                (rms, errors().fold(0.0, f64::max))
            });
        for (method, (rms, worst)) in ["nearest", "idw of 8", "plane of 8"].iter().zip(errors) {
            println!("{name}: {method}: rms {rms:.4} m, largest {worst:.4} m");
        }
        assert!(errors[2].0 * 8.0 < errors[0].0, "{errors:?} on the {name}");
        assert!(errors[2].0 < 0.03, "{errors:?} on the {name}");
    }
}

/// Features that searches beside the request's serve, but those of tests/members.rs.
fn all_extras() -> FeatureSet {
    let others = of_members();
    Feature::all().filter(|f| f.needs_own_search() && others.iter().all(|o| o != *f)).collect()
}

/// Values of the CPU with each neighbourhood's conditioning against another engine's.
fn columns_agree(
    gpu: &Engine,
    scene: &Scene,
    rule: Neighborhood,
    lists: &Lists,
    options: &Options,
) -> Outcome {
    let (set, what) = (all_extras(), format!("{}, {rule:?}", scene.cloud.name));
    let (expected, _) = compute(&cpu_engine(), &scene.borrow(), &set, rule, options);
    let (actual, report) = compute(gpu, &scene.borrow(), &set, rule, options);
    assert_eq!(report.backend, "gpu", "{what}");
    assert_eq!(actual.flags(), expected.flags(), "flags: {what}");
    let locals = oracle::locals(&scene.cloud, lists, usize::MAX);
    let value = |feature: Feature, i: usize| Some(f64::from(expected.get(feature)?[i]));
    let outcome = compare::columns(&compare::table(&actual), value, &locals, tolerance::of_catalogue);
    outcome.assert_clean(&what);
    outcome
}

#[test]
fn the_gpu_agrees() {
    let Some(gpu) = gpu_engine() else { return };
    let mut all = Outcome::default();
    for scene in scenes() {
        let lists = oracle::neighbors(&scene.cloud.points, usize::MAX);
        let within: Lists =
            lists.iter().map(|l| l.iter().copied().filter(|m| m.0 <= 60 * 60).collect()).collect();
        let cut = |lists: &Lists, k: usize| -> Lists {
            lists.iter().map(|l| l[..l.len().min(k)].to_vec()).collect()
        };
        let r = 60.0 * scene.cloud.quantum;
        let choice = Ground::default().method(GroundMethod::Plane { k: k(8) }).max_distance(2.0);
        let options = Options::default().ground(choice).count_radius(0.7);
        for (rule, lists) in [
            (knn(2), cut(&lists, 2)),
            (knn(12), cut(&lists, 12)),
            (Neighborhood::radius(r).unwrap(), within.clone()),
            (Neighborhood::knn_within(9, r).unwrap(), cut(&within, 9)),
        ] {
            all.absorb(columns_agree(&gpu, &scene, rule, &lists, &options));
        }
    }
    println!("{all}");
    let missed: Vec<_> = all_extras().iter().filter(|f| !all.worst.contains_key(f)).collect();
    assert!(missed.is_empty() && all.excluded * 10 < all.compared, "{missed:?}, {}", all.excluded);
}

#[test]
fn chunks_do_not_show() {
    let Some(whole) = gpu_engine() else { return };
    let scene = slope(3000);
    let set: FeatureSet = all_extras().iter().chain(FeatureSet::geometric().iter()).collect();
    for method in [GroundMethod::Nearest, GroundMethod::Plane { k: k(6) }] {
        let options =
            Options::default().ground(Ground::default().method(method).max_distance(1.5)).count_radius(0.8);
        for rule in [knn(10), Neighborhood::radius(0.5).unwrap()] {
            let (expected, report) = compute(&whole, &scene.borrow(), &set, rule, &options);
            assert_eq!(report.chunks, 1);
            for points in [200, 700] {
                let engine = chunked_engine(points).unwrap();
                let (actual, report) = compute(&engine, &scene.borrow(), &set, rule, &options);
                assert!(report.chunks > 1);
                assert_eq!(actual.flags(), expected.flags());
                for (a, e) in actual.iter().zip(&expected) {
                    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                    assert!(bits(&a.values) == bits(&e.values), "{} in chunks of {points}", a.feature);
                }
            }
        }
    }
}

/// The scores by the catalogue, from the oracle's shape and the height in metres.
fn score(feature: Feature, l: &Local, metres: Option<f64>) -> f64 {
    let [l1, l2, l3] = l.lambda;
    let undefined = l.few || l.identical || l.collinear && feature != Feature::StructuralElementScore;
    let Some(metres) = metres.filter(|_| !undefined) else { return f64::NAN };
    let (planarity, linearity) = ((l2 - l3) / l1, (l1 - l2) / l1);
    let verticality = 1.0 - l.vectors[2][2].abs();
    let slope = l.vectors[2][2].abs().clamp(0.0, 1.0).acos().to_degrees();
    let up_to = |top: f64| (metres / top).clamp(0.0, 1.0);
    let between = |corners: [f64; 4]| match slope {
        s if s < corners[0] || s > corners[3] => 0.0,
        s if s < corners[1] => (s - corners[0]) / (corners[1] - corners[0]),
        s if s <= corners[2] => 1.0,
        s => (corners[3] - s) / (corners[3] - corners[2]),
    };
    let roof = |corners| planarity * up_to(2.0) * between(corners);
    match feature {
        Feature::FacadeScore => verticality * planarity * up_to(2.0),
        Feature::FlatRoofScore => roof([0.0, 0.0, 10.0, 20.0]),
        Feature::SlopedRoofScore => roof([10.0, 20.0, 40.0, 50.0]),
        Feature::SteepRoofScore => roof([40.0, 50.0, 65.0, 75.0]),
        Feature::OpeningLikelihood => (1.0 - planarity) * linearity * verticality * up_to(1.0),
        Feature::StructuralElementScore => linearity * l.vectors[0][2].abs() * up_to(1.0),
        other => panic!("{other} is no score"),
    }
}

#[test]
fn scores_are_those_of_the_catalogue_in_any_unit() {
    let names = "facade_score,flat_roof_score,sloped_roof_score,steep_roof_score,opening_likelihood,structural_element_score";
    let set = FeatureSet::parse(names).unwrap();
    let mut all = Outcome::default();
    for scene in scenes() {
        let points = &scene.cloud.points;
        let ground: Vec<_> = (0..points.len()).filter(|i| scene.is_ground(*i)).map(|i| points[i]).collect();
        let lists = oracle::neighbors(points, 200);
        for (unit, metres) in [(Unit::Metre, 1.0), (Unit::Foot, 0.3048)] {
            for count in [2, 10, 60] {
                let choice = Ground::default().max_distance(3.0);
                let (columns, _) = compute(
                    &cpu_engine(),
                    &scene.borrow().with_unit(unit),
                    &set,
                    knn(count),
                    &Options::default().ground(choice),
                );
                let locals = oracle::locals(&scene.cloud, &lists, count);
                let heights: Vec<Option<f64>> = (0..points.len())
                    .map(|i| match scene.is_ground(i) {
                        true => Some(0.0),
                        false => {
                            height(points[i], &ground, scene.cloud.quantum, &choice).0.map(|h| h * metres)
                        }
                    })
                    .collect();
                let value = |f: Feature, i: usize| Some(score(f, &locals[i], heights[i]));
                // A slope by acos of nz is off by 1e-6 where it is level.
                let within = |f: Feature| match tolerance::between_f64(f) {
                    lidar_features::Tolerance::WhereSharp(_) => lidar_features::Tolerance::WhereSharp(2e-6),
                    other => other,
                };
                let outcome = compare::columns(&compare::table(&columns), value, &locals, within);
                outcome.assert_clean(&format!("{}, k = {count}, {unit}", scene.cloud.name));
                all.absorb(outcome);
            }
        }
    }
    println!("{all}");
    assert!(all.compared > 50_000 && all.worst.len() == 6);
}

/// Points within so many quanta of a place, in all three dimensions or in two.
fn count(points: &[[i32; 3]], place: [i32; 3], quanta: f64, axes: usize) -> usize {
    let dist_sq =
        |p: &[i32; 3]| -> i128 { (0..axes).map(|a| (i128::from(p[a]) - i128::from(place[a])).pow(2)).sum() };
    points.iter().filter(|p| dist_sq(p) as f64 <= quanta * quanta).count()
}

#[test]
fn counts_are_those_of_brute_force() {
    let set =
        FeatureSet::parse("density_2d,echo_ratio,count_radius_2,bin_count,bin_z_range,bin_z_std").unwrap();
    let mut compared = 0;
    for scene in scenes() {
        let (points, q) = (&scene.cloud.points, scene.cloud.quantum);
        let flat: Vec<_> = points.iter().map(|p| [p[0], p[1], 0]).collect();
        let lists = oracle::neighbors(&flat, usize::MAX);
        for (unit, radius) in [(Unit::Metre, None), (Unit::Foot, None), (Unit::Metre, Some(0.37))] {
            let in_unit = |metres: f64| metres / unit.in_metres();
            let quanta = radius.unwrap_or(in_unit(2.0)) / q;
            let quanta = if (quanta - quanta.round()).abs() < 1e-6 { quanta.round() } else { quanta };
            for (name, engine) in engines() {
                for (rule, k, r) in [
                    (knn(7), 7, None),
                    (Neighborhood::radius(0.5).unwrap(), usize::MAX, Some(0.5)),
                    (Neighborhood::knn_within(5, 0.5).unwrap(), 5, Some(0.5)),
                ] {
                    let mut options = Options::default();
                    options.count_radius = radius;
                    let cloud = scene.borrow().with_unit(unit);
                    let (columns, _) = compute(&engine, &cloud, &set, rule, &options);
                    let of = |f: Feature, i: usize| columns.get(f).unwrap()[i];
                    for i in 0..points.len() {
                        let what = format!("{i} of {}, {rule:?}, {unit} on the {name}", scene.cloud.name);
                        let (sphere, cylinder) =
                            (count(points, points[i], quanta, 3), count(points, points[i], quanta, 2));
                        assert_eq!(of(Feature::CountRadius, i), sphere as f32, "{what}");
                        near(of(Feature::EchoRatio, i), sphere as f64 / cylinder as f64, 0.0, &what);

                        let limit = r.map_or(f64::INFINITY, |r: f64| (r / q).round().powi(2));
                        let members: Vec<_> =
                            lists[i].iter().filter(|m| m.0 as f64 <= limit).take(k).collect();
                        let reach = match rule {
                            Neighborhood::Radius { radius } => radius,
                            _ => (members[members.len() - 1].0 as f64).sqrt() * q,
                        };
                        let density = of(Feature::Density2d, i);
                        assert_eq!(density.is_nan(), reach == 0.0, "{what}");
                        let flagged = columns.flags()[i] & Flags::NO_RADIUS_XY.0 != 0;
                        assert_eq!(flagged, reach == 0.0, "{what}");
                        if reach > 0.0 {
                            let expected = members.len() as f64 / (PI * reach * reach);
                            near(density, expected, 5e-6 * expected, &what);
                        }

                        // Cells of a quarter metre, in numbers that are far from their borders.
                        let cell = |p: &[i32; 3]| {
                            [p[0], p[1]].map(|v| (f64::from(v) * q / in_unit(0.25) + 1e-9).floor())
                        };
                        let there: Vec<f64> = points
                            .iter()
                            .filter(|p| cell(p) == cell(&points[i]))
                            .map(|p| f64::from(p[2]) * q)
                            .collect();
                        let n = there.len() as f64;
                        let mean = there.iter().sum::<f64>() / n;
                        let std = (there.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / n).sqrt();
                        let range = there.iter().fold(f64::MIN, |m, z| m.max(*z))
                            - there.iter().fold(f64::MAX, |m, z| m.min(*z));
                        assert_eq!(of(Feature::BinCount, i), n as f32, "{what}");
                        // The oracle's own rounding.
                        let slack = 1e-8 * mean.abs().max(1.0);
                        near(of(Feature::BinZRange, i), range, slack, &what);
                        near(of(Feature::BinZStd, i), std, slack, &what);
                        compared += 1;
                    }
                }
            }
        }
    }
    println!("{compared} points compared");
    assert!(compared > 20_000);
}

#[test]
fn what_lacks_ground_is_refused_or_left_out() {
    let cloud = clouds::terrain(200);
    let set = FeatureSet::parse("height_above_ground,facade_score,is_ground,height_above_min").unwrap();
    let run = |cloud: &PointCloud<'_>, options: &Options| {
        cpu_engine().features_with(cloud, &set, knn(8), options).map(|_| ())
    };
    let plain = run(&cloud.borrow(), &Options::default()).unwrap_err();
    let expected = "missing input: height_above_ground needs ground (a classification or a mask), facade_score \
                    needs ground (a classification or a mask), is_ground needs ground (a classification or a mask)";
    assert_eq!(plain.to_string(), expected);
    let classes = vec![9; 200];
    let wet = cloud.borrow().with_classification(&classes);
    let none = run(&wet, &Options::default()).unwrap_err().to_string();
    assert!(none.contains("height_above_ground needs ground (no point is ground)"), "{none}");
    let nine = Options::default().ground(Ground::default().classes([2, 9]));
    run(&wet, &nine).unwrap();
    // Ground that is left out is no ground.
    let ignored = vec![true; 200];
    assert!(run(&wet.ignoring(&ignored), &nine).is_err());

    let (kept, left_out) = set.available(&wet);
    assert_eq!(kept.iter().map(Feature::name).collect::<Vec<_>>(), ["height_above_min"]);
    assert!(left_out.iter().all(|(_, what)| what.starts_with("ground (")) && left_out.len() == 3);
    assert_eq!(set.available_with(&wet, &nine).0.len(), 4);

    // A mask goes before classes.
    let mask: Vec<bool> = (0..200).map(|i| i == 17).collect();
    let (columns, _) = compute(&cpu_engine(), &wet.with_ground(&mask), &set, knn(8), &nine);
    let ones: Vec<_> = (0..200).filter(|&i| columns.get(Feature::IsGround).unwrap()[i] == 1.0).collect();
    assert_eq!(ones, [17]);

    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let options = Options::default().ground(Ground::default().max_distance(bad));
        assert!(matches!(run(&wet, &options), Err(Error::InvalidRadius(_))));
        let options = Options::default().count_radius(bad);
        assert!(matches!(run(&wet, &options), Err(Error::InvalidRadius(_))));
    }
    let short = cpu_engine().features(&cloud.borrow().with_classification(&classes[1..]), &set, knn(8));
    assert!(matches!(short, Err(Error::LengthMismatch { column: "classification", .. })));
    let none = PointCloud::from_lattice(&[], cloud.frame()).with_classification(&[]);
    assert!(cpu_engine().features(&none, &set, knn(8)).unwrap().0.is_empty());
}

/// The height is that above the ground that is left, and references are the cloud's that is left.
#[test]
fn ignored_points_are_neither_ground_nor_lowest() {
    let scene = slope(900);
    let lowest = scene.cloud.points.iter().map(|p| p[2]).min().unwrap();
    let ignored: Vec<bool> =
        scene.cloud.points.iter().enumerate().map(|(i, p)| i % 3 == 0 || p[2] == lowest).collect();
    let kept: Vec<usize> = (0..900).filter(|i| !ignored[*i]).collect();
    let rest: Vec<_> = kept.iter().map(|&i| scene.cloud.points[i]).collect();
    let classes: Vec<_> = kept.iter().map(|&i| scene.classes[i]).collect();
    let alone = Scene { cloud: Cloud::new("rest", rest), classes };
    let set = all_extras();
    for (name, engine) in engines() {
        let options = Options::default();
        let (all, _) = compute(&engine, &scene.borrow().ignoring(&ignored), &set, knn(8), &options);
        let (own, _) = compute(&engine, &alone.borrow(), &set, knn(8), &options);
        for f in set.iter() {
            let (all, own) = (all.get(f).unwrap(), own.get(f).unwrap());
            assert!(kept.iter().zip(own).all(|(&i, own)| all[i].to_bits() == own.to_bits()), "{f}, {name}");
            assert!((0..900).all(|i| !ignored[i] || all[i].is_nan()), "{f} on the {name}");
        }
    }
}

#[test]
fn undefined_heights_can_be_zero() {
    let points = [[0, 0, 0], [100, 0, 300], [5000, 0, 900], [5000, 10, 900], [5010, 0, 890]];
    let cloud = PointCloud::from_lattice(&points, Frame::new([0.0; 3], 0.01).unwrap());
    let cloud = cloud.with_classification(&[2, 1, 1, 1, 1]);
    let set = FeatureSet::parse("height_above_ground,ground_distance,facade_score").unwrap();
    let ground = Ground::default().max_distance(2.0);
    for (name, engine) in engines() {
        let of = |fill| {
            let (columns, _) =
                compute(&engine, &cloud, &set, knn(3), &Options::default().ground(ground).fill(fill));
            let [h, d, _] = [0, 1, 2].map(|c| columns.iter().nth(c).unwrap().values.clone());
            (
                h,
                d,
                columns.flags()[2] & Flags::NO_GROUND.0 != 0,
                columns.get(Feature::FacadeScore).unwrap()[2],
            )
        };
        let (h, d, flagged, facade) = of(Fill::Nan);
        assert_eq!(
            (&h[..2], d),
            (&[0.0, 3.0][..], vec![0.0, 1.0, 50.0, (50f64.powi(2) + 0.01).sqrt() as f32, 50.1]),
            "{name}"
        );
        assert!(h[2].is_nan() && flagged && facade.is_nan());
        let (h, _, flagged, facade) = of(Fill::Zero);
        assert_eq!((h, flagged, facade), (vec![0.0, 3.0, 0.0, 0.0, 0.0], true, 0.0), "{name}");
    }
}

#[test]
fn queries_have_heights_and_counts_too() {
    let scene = slope(1200);
    let points = &scene.cloud.points;
    let ground: Vec<_> = (0..points.len()).filter(|i| scene.is_ground(*i)).map(|i| points[i]).collect();
    let mut places = clouds::uniform(80, 1000).points;
    places.extend([points[5], ground[3], [-500_000, 7, 7]]);
    let queries = Cloud::new("places", places);
    let set = FeatureSet::parse(
        "height_above_ground,facade_score,count_radius,echo_ratio,density_2d,height_above_min",
    )
    .unwrap();
    let choice = Ground::default().method(GroundMethod::Idw { k: k(5) });
    let options = Options::default().ground(choice).count_radius(0.9);
    let lowest = points.iter().map(|p| p[2]).min().unwrap();
    let mut all: Vec<Columns> = Vec::new();
    for (name, engine) in engines() {
        let at =
            |set: &FeatureSet| engine.features_at(&queries.borrow(), &scene.borrow(), set, knn(10), &options);
        let (columns, report) = at(&set).unwrap();
        assert_eq!(report.points, queries.len());
        let of = |f: Feature, i: usize| columns.get(f).unwrap()[i];
        for (i, place) in queries.points.iter().enumerate() {
            let what = format!("query {i} on the {name}");
            let (expected, distance) = height(*place, &ground, 0.01, &choice);
            near(of(Feature::HeightAboveGround, i), expected.unwrap(), 1e-9 * distance.max(1.0), &what);
            near(of(Feature::HeightAboveMin, i), f64::from(place[2] - lowest) * 0.01, 0.0, &what);
            let [sphere, cylinder] = [3, 2].map(|axes| count(points, *place, 90.0, axes) as f32);
            assert_eq!(of(Feature::CountRadius, i), sphere, "{what}");
            let flagged = columns.flags()[i] & Flags::EMPTY_CYLINDER.0 != 0;
            assert_eq!(
                (flagged, of(Feature::EchoRatio, i).is_nan()),
                (cylinder == 0.0, cylinder == 0.0),
                "{what}"
            );
            if cylinder > 0.0 {
                assert_eq!(of(Feature::EchoRatio, i), sphere / cylinder, "{what}");
            }
        }
        let refused = at(&FeatureSet::parse("planarity,bin_z_std").unwrap()).unwrap_err();
        assert!(matches!(refused, Error::NotForQueries(Feature::BinZStd)), "{refused}");
        // A cloud without points has nothing to count.
        let none = PointCloud::from_lattice(&[], scene.cloud.frame());
        let counts = FeatureSet::parse("count_radius,echo_ratio,height_above_min,planarity").unwrap();
        let (empty, _) = engine.features_at(&queries.borrow(), &none, &counts, knn(3), &options).unwrap();
        assert!(empty.get(Feature::CountRadius).unwrap().iter().all(|n| *n == 0.0));
        assert!(counts.iter().skip(1).all(|f| empty.get(f).unwrap().iter().all(|v| v.is_nan())));
        all.push(columns);
    }
    if let [cpu, gpu] = &all[..] {
        assert_eq!(cpu.flags(), gpu.flags());
        for f in
            ["height_above_ground", "count_radius", "height_above_min"].map(|n| n.parse::<Feature>().unwrap())
        {
            assert_eq!(cpu.get(f), gpu.get(f), "{f}");
        }
    }
}

#[test]
fn neighbours_seen_from_above() {
    for cloud in [clouds::terrain(500), clouds::grid(7), clouds::twins(200), clouds::identical(20)] {
        let flat: Vec<_> = cloud.points.iter().map(|p| [p[0], p[1], 0]).collect();
        let truth = oracle::neighbors(&flat, 30);
        for (name, engine) in engines() {
            for k in [1, 9, 30] {
                let (found, _) = engine.neighbors_xy(&cloud.borrow(), knn(k)).unwrap();
                compare::assert_neighbors(&found, &truth, k, &format!("{} on the {name}", cloud.name));
            }
        }
        let within: Lists = oracle::neighbors(&flat, usize::MAX)
            .into_iter()
            .map(|l| l.into_iter().filter(|m| m.0 <= 400).collect())
            .collect();
        let rule = Neighborhood::radius(20.0 * cloud.quantum).unwrap();
        let (found, _) = cpu_engine().neighbors_xy(&cloud.borrow(), rule).unwrap();
        compare::assert_neighbors(&found, &within, usize::MAX, &cloud.name);
    }
}

/// A flat roof with eaves over level ground, trees under a part of it.
fn eaves() -> Cloud {
    let mut random = Random::new(21);
    let mut points = Vec::new();
    for _ in 0..4000 {
        let [x, y] = [(); 2].map(|()| random.below(2000));
        points.push([x, y, random.below(5)]);
        if (500..1500).contains(&x) && (500..1500).contains(&y) {
            points.push([x, y, 600 + random.below(5)]);
            if x < 800 {
                points.push([x, y, random.below(600)]);
            }
        }
    }
    Cloud::new("roof with eaves", points)
}

/// More points under a canopy than one invocation may visit on a software driver: a workgroup looks at them.
fn canopy() -> Cloud {
    let mut random = Random::new(22);
    let mut points: Vec<_> =
        (0..12_000).map(|_| [random.below(40), random.below(40), random.below(20)]).collect();
    points.extend((0..300).map(|_| [random.below(40), random.below(40), 400 + random.below(20)]));
    Cloud::new("canopy over a crowd", points)
}

#[test]
fn overhangs_are_where_something_is_far_below_and_nothing_near() {
    let set = FeatureSet::parse("overhang_indicator").unwrap();
    let mut all: Vec<_> = engines();
    all.extend(chunked_engine(500).map(|engine| ("gpu in chunks", engine)));
    for cloud in [
        eaves(),
        canopy(),
        clouds::terrain(900),
        clouds::plane_grid(12),
        clouds::twins(200),
        clouds::identical(9),
    ] {
        let expected: Vec<f32> = (cloud.points.iter())
            .map(|p| {
                let near = |q: &&[i32; 3]| {
                    (0..2).map(|a| (i64::from(q[a]) - i64::from(p[a])).pow(2)).sum::<i64>() <= 50 * 50
                };
                let depths = || cloud.points.iter().filter(near).map(|q| i64::from(p[2]) - i64::from(q[2]));
                let far = depths().any(|d| d > 200);
                f32::from(u8::from(far && !depths().any(|d| d > 50 && d <= 200)))
            })
            .collect();
        if cloud.name.starts_with("roof") {
            let hanging = expected.iter().filter(|v| **v == 1.0).count();
            assert!((500..1500).contains(&hanging), "{hanging}");
        }
        if cloud.name.starts_with("canopy") {
            assert_eq!(expected.iter().filter(|v| **v == 1.0).count(), 300);
        }
        for (name, engine) in &all {
            let (columns, _) = engine.features(&cloud.borrow(), &set, knn(5)).unwrap();
            let found = columns.get(Feature::OverhangIndicator).unwrap();
            assert!(found == expected, "{} on the {name}", cloud.name);
        }
    }
}
