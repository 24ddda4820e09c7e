//! Queries that are no points of the cloud: exact members on every backend and in any chunking, features about all of them.
#![allow(missing_docs)]

mod common;

use common::clouds::{self, Cloud};
use common::compare::{self, Outcome};
use common::gpu::{chunked_engine, gpu_engine};
use common::local::Local;
use common::oracle::{self, Lists};
use common::random::Random;
use common::{cpu_engine, engines, features, knn, tolerance};
use lidar_features::{
    Columns, Engine, Error, Feature, FeatureSet, Flags, Frame, Neighborhood, Options, PointCloud,
};

const KS: [usize; 4] = [1, 5, 20, 200];

fn small() -> Vec<Cloud> {
    vec![
        clouds::uniform(150, 60),
        clouds::uniform(700, 12),
        clouds::terrain(900).colored(255),
        clouds::terrestrial(600),
        clouds::plane_grid(20),
        clouds::collinear(100),
        clouds::identical(65),
        clouds::exponential(),
        clouds::twins(300),
        clouds::wide(200),
        clouds::millimetres(clouds::terrain(300)),
    ]
}

/// Places within the cloud's box, on its points, twice at one place, beside it and far outside.
fn queries(cloud: &Cloud) -> Cloud {
    let mut random = Random::new(cloud.len() as u64);
    let bound = |a: usize| {
        let axis = || cloud.points.iter().map(move |p| p[a]);
        (axis().min().unwrap(), axis().max().unwrap())
    };
    let box_ = [0, 1, 2].map(bound);
    let mut places: Vec<[i32; 3]> = (0..150)
        .map(|_| box_.map(|(low, high)| low + random.below((high.abs_diff(low) + 1).min(i32::MAX as u32))))
        .collect();
    places.extend(cloud.points.iter().step_by(1 + cloud.len() / 40));
    places.push(places[3]);
    places.extend([places[7]; 5]);
    let widest = box_.iter().map(|(low, high)| high.abs_diff(*low)).max().unwrap();
    // As far as the lattice allows.
    let room = (i32::MAX as u32 - widest) as i32;
    for distance in [1, 40, 3000, 70_000, 40_000_000, room] {
        let distance = distance.min(room);
        places.push([box_[0].0.saturating_sub(distance), box_[1].0, box_[2].1]);
        places.push([box_[0].1, box_[1].0, box_[2].0.saturating_sub(distance / 2)]);
    }
    places.retain(|p| {
        (0..3).all(|a| {
            let (low, high) = (p[a].min(box_[a].0), p[a].max(box_[a].1));
            high.abs_diff(low) <= i32::MAX as u32
        })
    });
    random.shuffle(&mut places);
    let mut out = Cloud::new(format!("places around {}", cloud.name), places);
    out.quantum = cloud.quantum;
    if cloud.color.is_some() { out.colored(255) } else { out }
}

fn within(lists: &Lists, limit: u64) -> Lists {
    lists.iter().map(|l| l.iter().copied().filter(|m| m.0 <= limit).collect()).collect()
}

fn cut(lists: &Lists, k: usize) -> Lists {
    lists.iter().map(|l| l[..l.len().min(k)].to_vec()).collect()
}

/// Rules with the lists they give: k, all within, k within.
fn rules(cloud: &Cloud, all: &Lists) -> Vec<(Neighborhood, Lists, String)> {
    let mut rules: Vec<_> = KS.map(|k| (knn(k), cut(all, k), format!("k = {k}"))).into();
    for quanta in [0.5, 17.3, 400.0] {
        let (r, members) = (quanta * cloud.quantum, within(all, (quanta * quanta) as u64));
        rules.push((Neighborhood::radius(r).unwrap(), members.clone(), format!("{quanta} quanta")));
        for k in [1, 12] {
            let rule = Neighborhood::knn_within(k, r).unwrap();
            rules.push((rule, cut(&members, k as usize), format!("{k} within {quanta} quanta")));
        }
    }
    rules
}

fn locals(queries: &Cloud, cloud: &Cloud, lists: &Lists) -> Vec<Local> {
    let local = |(place, list): (&[i32; 3], &Vec<(u64, u32)>)| {
        // Without members nothing is compared that needs conditioning.
        let members: Vec<u32> = if list.is_empty() { vec![0] } else { list.iter().map(|m| m.1).collect() };
        Local::around(*place, &cloud.points, &members, cloud.quantum)
    };
    queries.points.iter().zip(lists).map(local).collect()
}

fn expected_flags(local: &Local, list: &[(u64, u32)], rule: Neighborhood, dark: u32) -> u32 {
    if list.is_empty() {
        return Flags::EMPTY.0 | dark;
    }
    let all = oracle::flags(local, dark);
    if matches!(rule, Neighborhood::Radius { .. }) { all & !Flags::NO_RADIUS.0 } else { all }
}

fn is_of_color(feature: Feature) -> bool {
    !feature.row().inputs.contains(&lidar_features::Input::Xyz)
}

#[test]
fn the_cpu_agrees_with_brute_force() {
    let mut all = Outcome::default();
    let (mut members, mut empty) = (0, 0);
    for cloud in small() {
        let queries = queries(&cloud);
        let truth = oracle::neighbors_of(&queries.points, &cloud.points, usize::MAX);
        let set = features(&queries);
        for (rule, lists, what) in rules(&cloud, &truth) {
            let what = format!("{}, {what}", queries.name);
            let (found, report) =
                cpu_engine().neighbors_of(&queries.borrow(), &cloud.borrow(), rule).unwrap();
            compare::assert_neighbors(&found, &lists, usize::MAX, &what);
            assert_eq!((report.points, report.backend), (queries.len(), "cpu"));
            members += found.indices.len();

            let options = Options::default();
            let (columns, _) =
                cpu_engine().features_at(&queries.borrow(), &cloud.borrow(), &set, rule, &options).unwrap();
            let locals = locals(&queries, &cloud, &lists);
            for (i, local) in locals.iter().enumerate() {
                let dark = oracle::dark(queries.color.as_ref(), i);
                assert_eq!(columns.flags()[i], expected_flags(local, &lists[i], rule, dark), "{i} of {what}");
                empty += usize::from(lists[i].is_empty());
            }
            let value = |f: Feature, i: usize| {
                if is_of_color(f) {
                    return oracle::color_value(f, queries.color.as_ref()?, i);
                }
                let radius = matches!(rule, Neighborhood::Radius { .. });
                match (lists[i].is_empty(), f) {
                    (true, Feature::NeighborCount) => Some(0.0),
                    (true, _) => Some(f64::NAN),
                    // About the radius given, as the radius test checks.
                    (_, Feature::Density3d | Feature::DensitySurface) if radius => None,
                    _ => oracle::value(f, &locals[i]),
                }
            };
            let outcome = compare::columns(&compare::table(&columns), value, &locals, tolerance::between_f64);
            outcome.assert_clean(&what);
            all.absorb(outcome);
        }
    }
    println!("{members} members, {empty} empty neighbourhoods; {all}");
    assert!(members > 500_000 && empty > 3000 && all.compared > 500_000);
}

/// Values of the CPU against another engine's, with the conditioning of each neighbourhood.
fn columns_agree(
    engine: &Engine,
    (queries, cloud): (&Cloud, &Cloud),
    rule: Neighborhood,
    lists: &Lists,
    what: &str,
) -> (Outcome, Columns) {
    let (set, options) = (features(queries), Options::default());
    let run = |engine: &Engine| {
        engine.features_at(&queries.borrow(), &cloud.borrow(), &set, rule, &options).unwrap()
    };
    let (expected, (actual, report)) = (run(&cpu_engine()).0, run(engine));
    assert_eq!(report.backend, "gpu", "{what}");
    assert_eq!(actual.flags(), expected.flags(), "flags: {what}");
    let locals = locals(queries, cloud, lists);
    let value = |feature: Feature, i: usize| Some(f64::from(expected.get(feature)?[i]));
    let outcome = compare::columns(&compare::table(&actual), value, &locals, tolerance::of_catalogue);
    outcome.assert_clean(what);
    (outcome, actual)
}

#[test]
fn the_gpu_agrees() {
    let Some(gpu) = gpu_engine() else { return };
    let mut all = Outcome::default();
    for cloud in small() {
        let queries = queries(&cloud);
        let truth = oracle::neighbors_of(&queries.points, &cloud.points, usize::MAX);
        for (rule, lists, what) in rules(&cloud, &truth) {
            let what = format!("{}, {what}", queries.name);
            let (found, _) = gpu.neighbors_of(&queries.borrow(), &cloud.borrow(), rule).unwrap();
            compare::assert_neighbors(&found, &lists, usize::MAX, &what);
            all.absorb(columns_agree(&gpu, (&queries, &cloud), rule, &lists, &what).0);
        }
    }
    println!("{all}");
    assert!(all.compared > 500_000 && all.excluded * 20 < all.compared);
}

/// Columns that go through every member: nearly everywhere the CPU's, elsewhere the plane is not sharp.
fn members_agree(gpu: &Columns, cpu: &Columns, what: &str) {
    for feature in [Feature::PlaneFit, Feature::MeanCurvature] {
        let pairs = || gpu.get(feature).unwrap().iter().zip(cpu.get(feature).unwrap());
        let close =
            |(a, b): &(&f32, &f32)| a.is_nan() && b.is_nan() || (**a - **b).abs() <= 2e-3 * (1.0 + b.abs());
        let off = pairs().filter(|pair| !close(pair)).count();
        assert!(off * 50 <= pairs().count(), "{feature} of {what}: {off} are off");
    }
}

#[test]
fn chunks_do_not_show() {
    let Some(whole) = gpu_engine() else { return };
    let (mut runs, mut stragglers, mut asked) = (0, 0, 0);
    for (cloud, queries) in [
        (clouds::terrain(3000), clouds::terrain(900)),
        (clouds::terrain(3000), clouds::uniform(1000, 3000)),
        (clouds::terrestrial(3000), clouds::uniform(800, 40_000)),
        (clouds::uniform(2000, 20), clouds::uniform(2000, 30)),
        (clouds::twins(2000), clouds::twins(700)),
    ] {
        let truth = oracle::neighbors_of(&queries.points, &cloud.points, 20);
        let rules =
            [knn(6), knn(20), Neighborhood::radius(0.6).unwrap(), Neighborhood::knn_within(10, 0.5).unwrap()];
        for rule in rules {
            let mut set = FeatureSet::geometric();
            [Feature::PlaneFit, Feature::MeanCurvature].into_iter().for_each(|f| set.insert(f));
            let features = |engine: &Engine| {
                engine
                    .features_at(&queries.borrow(), &cloud.borrow(), &set, rule, &Options::default())
                    .unwrap()
            };
            let (expected, _) = features(&whole);
            members_agree(&expected, &features(&cpu_engine()).0, &queries.name);
            for points in [90, 400] {
                let what = format!("{} in {}, {rule:?}, chunks of {points}", queries.name, cloud.name);
                let engine = chunked_engine(points).unwrap();
                let (actual, report) = features(&engine);
                assert!(report.chunks > 1, "{what}");
                (runs, stragglers, asked) = (runs + 1, stragglers + report.stragglers, asked + queries.len());
                assert_eq!(actual.flags(), expected.flags(), "{what}");
                for (a, e) in actual.iter().zip(&expected) {
                    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                    assert!(bits(&a.values) == bits(&e.values), "{} of {what}", a.feature);
                }
                if let Neighborhood::Knn { k } = rule {
                    let (found, _) = engine.neighbors_of(&queries.borrow(), &cloud.borrow(), rule).unwrap();
                    compare::assert_neighbors(&found, &truth, k.get() as usize, &what);
                }
            }
        }
    }
    println!(
        "{runs} chunked runs equal the unchunked ones; the CPU found {stragglers} of {asked} neighbourhoods"
    );
    assert!(stragglers > 0 && stragglers * 4 < asked * 3, "{stragglers} of {asked}");
}

#[test]
fn queries_at_the_clouds_points_find_what_the_points_find() {
    let cloud = clouds::terrain(1000);
    for (name, engine) in engines() {
        let (own, _) = engine.neighbors(&cloud.borrow(), knn(9)).unwrap();
        let (found, _) = engine.neighbors_of(&cloud.borrow(), &cloud.borrow(), knn(9)).unwrap();
        assert_eq!(own, found, "{name}");
        let set = FeatureSet::parse("planarity,mean_distance,nearest_distance,knn_distance").unwrap();
        let (own, _) = engine.features(&cloud.borrow(), &set, knn(9)).unwrap();
        let (at, _) =
            engine.features_at(&cloud.borrow(), &cloud.borrow(), &set, knn(9), &Options::default()).unwrap();
        for f in [Feature::Planarity, Feature::KnnDistance] {
            assert_eq!(own.get(f), at.get(f), "{f} on the {name}");
        }
        // The point itself is one of nine others now.
        let mean = |c: &Columns| f64::from(c.get(Feature::MeanDistance).unwrap()[5]);
        assert!((mean(&own) * 8.0 - mean(&at) * 9.0).abs() < 1e-5, "{name}");
        assert!(at.get(Feature::NearestDistance).unwrap().iter().all(|d| *d == 0.0));
    }
}

#[test]
fn ignored_points_are_no_members_and_ignored_queries_have_no_values() {
    let (cloud, queries) = (clouds::terrain(500), clouds::uniform(90, 700));
    let ignored: Vec<bool> = (0..500).map(|i| i % 3 == 0).collect();
    let silent: Vec<bool> = (0..90).map(|i| i % 10 == 4).collect();
    let kept: Vec<u32> = (0..500).filter(|i| i % 3 != 0).collect();
    let rest: Vec<_> = kept.iter().map(|&i| cloud.points[i as usize]).collect();
    let truth = oracle::neighbors_of(&queries.points, &rest, 7);
    let (asked, there) = (queries.borrow().ignoring(&silent), cloud.borrow().ignoring(&ignored));
    for (name, engine) in engines() {
        let (found, report) = engine.neighbors_of(&asked, &there, knn(7)).unwrap();
        assert_eq!((report.points, report.left_out), (90, 167), "{name}");
        for (i, list) in truth.iter().enumerate() {
            let expected = list.iter().map(|m| kept[m.1 as usize]);
            let expected: Vec<u32> = if silent[i] { Vec::new() } else { expected.collect() };
            assert_eq!(found.row(i).0, expected, "{i} on the {name}");
        }
        let set = FeatureSet::parse("planarity,neighbor_count").unwrap();
        let (columns, _) = engine.features_at(&asked, &there, &set, knn(7), &Options::default()).unwrap();
        for (i, silent) in silent.iter().enumerate() {
            assert_eq!(columns.flags()[i] == Flags::LEFT_OUT.0, *silent);
            assert_eq!(columns.get(Feature::NeighborCount).unwrap()[i].is_nan(), *silent);
        }
    }
}

#[test]
fn clouds_without_points_and_without_queries_have_answers() {
    let frame = Frame::new([0.0; 3], 0.01).unwrap();
    let none = PointCloud::from_lattice(&[], frame);
    let values = [7u16, 0];
    let two = PointCloud::from_lattice(&[[1, 2, 3], [4, 5, 6]], frame)
        .with_rgb(&values, &values, &values)
        .with_nir(&values);
    let set = FeatureSet::parse("red,planarity,neighbor_count,ndvi").unwrap();
    let options = Options::default();
    for (name, engine) in engines() {
        let (found, _) = engine.neighbors_of(&two, &none, knn(3)).unwrap();
        assert_eq!((found.len(), found.indices.len()), (2, 0), "{name}");
        let (columns, _) = engine.features_at(&two, &none, &set, knn(3), &options).unwrap();
        assert_eq!(
            columns.flags(),
            [Flags::EMPTY.0, (Flags::EMPTY | Flags::DARK | Flags::DARK_RED_GREEN | Flags::DARK_GREEN_NIR).0]
        );
        assert_eq!(columns.get(Feature::NeighborCount).unwrap(), [0.0, 0.0]);
        assert!(columns.get(Feature::Planarity).unwrap().iter().all(|v| v.is_nan()));
        assert!((columns.get(Feature::Red).unwrap()[0] - 7.0 / 255.0).abs() < 1e-6);
        let (found, report) = engine.neighbors_of(&none, &two, knn(3)).unwrap();
        assert_eq!((found.len(), report.backend), (0, "none"), "{name}");
        let plain = FeatureSet::parse("planarity").unwrap();
        assert!(engine.features_at(&none, &two, &plain, knn(3), &options).unwrap().0.is_empty());
    }
}

#[test]
fn clouds_out_of_step_are_refused() {
    let points = [[0; 3]; 2];
    let at = |quantum| PointCloud::from_lattice(&points, Frame::new([0.0; 3], quantum).unwrap());
    let error = cpu_engine().neighbors_of(&at(0.01), &at(0.001), knn(1)).unwrap_err();
    assert!(matches!(error, Error::FramesDiffer { quanta: [0.01, 0.001], .. }), "{error}");
    // Coordinates of both kinds meet on one lattice.
    let world = [[0.25, 0.5, 0.125]];
    let (found, report) =
        cpu_engine().neighbors_of(&PointCloud::from_f64(&world), &at(0.01), knn(1)).unwrap();
    assert_eq!((report.quantum, found.dist_sq[0]), (0.001, 250 * 250 + 500 * 500 + 125 * 125));
}
