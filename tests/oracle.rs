//! The CPU strategy against brute force, and the comparators against planted defects.

mod common;

use common::clouds::{self, Cloud};
use common::compare::{self, Outcome, Table};
use common::local::Local;
use common::{cpu_engine, expected, features, knn, oracle, tolerance};
use lidar_features::{Columns, Feature, FeatureSet, Input, Tolerance};

const KS: [usize; 12] = [1, 2, 3, 5, 8, 16, 20, 32, 64, 100, 128, 200];

fn compare(cloud: &Cloud, columns: &Table, locals: &[Local]) -> Outcome {
    compare::columns(columns, expected(cloud, locals), locals, tolerance::between_f64)
}

fn check_flags(cloud: &Cloud, columns: &Columns, locals: &[Local]) {
    for (i, (flags, local)) in columns.flags().iter().zip(locals).enumerate() {
        let expected = oracle::flags(local, oracle::dark(cloud.color.as_ref(), i));
        assert_eq!(*flags, expected, "flags of point {i} of {}: {local:?}", cloud.name);
    }
}

#[test]
fn the_cpu_finds_the_neighbours_of_brute_force() {
    let engine = cpu_engine();
    for cloud in clouds::all() {
        let truth = oracle::neighbors(&cloud.points, 1000);
        for k in KS.into_iter().chain([cloud.len().max(2) - 1, cloud.len(), cloud.len() + 1]) {
            let (found, report) = engine.neighbors(&cloud.borrow(), knn(k)).unwrap();
            compare::assert_neighbors(&found, &truth, k, &format!("{}, k = {k}", cloud.name));
            assert_eq!((report.backend, report.points), ("cpu", cloud.len()));
        }
    }
}

#[test]
fn the_cpu_computes_the_catalogues_values() {
    let engine = cpu_engine();
    let mut all = Outcome::default();
    for cloud in clouds::all() {
        let truth = oracle::neighbors(&cloud.points, 200);
        for k in KS {
            let (columns, report) = engine.features(&cloud.borrow(), &features(&cloud), knn(k)).unwrap();
            let locals = oracle::locals(&cloud, &truth, k);
            let what = format!("{}, k = {k}", cloud.name);
            assert_eq!(columns.len(), cloud.len(), "{what}");
            let stages: Vec<_> = report.stages.iter().map(|s| s.0).collect();
            assert_eq!((report.chunks, stages), (1, vec!["lattice", "index", "query"]), "{what}");
            check_flags(&cloud, &columns, &locals);
            let outcome = compare(&cloud, &compare::table(&columns), &locals);
            outcome.assert_clean(&what);
            all.absorb(outcome);
        }
    }
    println!("{all}");
    assert!(all.excluded * 20 < all.compared, "{} of {} values were excluded", all.excluded, all.compared);
    let unknown: Vec<_> =
        Feature::all().filter(|f| !f.needs_own_search() && !all.worst.contains_key(f)).collect();
    if !unknown.is_empty() {
        println!("not in the oracle: {unknown:?}");
    }
    assert!(all.worst.len() >= 92, "the oracle knows {} features", all.worst.len());
}

#[test]
fn values_lie_in_the_catalogues_range() {
    let engine = cpu_engine();
    for cloud in [clouds::terrain(1000).colored(255), clouds::terrestrial(500), clouds::plane_grid(24)] {
        let (columns, _) = engine.features(&cloud.borrow(), &features(&cloud), knn(20)).unwrap();
        for column in &columns {
            let (low, high) = column.feature.row().range;
            let slack = 1e-6;
            let outside = column
                .values
                .iter()
                .position(|v| v.is_finite() && !(low - slack..=high + slack).contains(&f64::from(*v)));
            assert_eq!(outside, None, "{} of {}", column.feature, cloud.name);
        }
    }
}

/// A cloud with its true lists and columns, to plant defects in.
fn sound() -> (Cloud, oracle::Lists, Table, Vec<Local>) {
    let cloud = clouds::terrain(257).colored(255);
    let truth = oracle::neighbors(&cloud.points, 20);
    let (columns, _) = cpu_engine().features(&cloud.borrow(), &features(&cloud), knn(20)).unwrap();
    let locals = oracle::locals(&cloud, &truth, 20);
    let table = compare::table(&columns);
    compare(&cloud, &table, &locals).assert_clean("before anything is planted");
    (cloud, truth, table, locals)
}

#[test]
fn a_wrong_neighbour_is_caught() {
    let (cloud, truth, ..) = sound();
    let (found, _) = cpu_engine().neighbors(&cloud.borrow(), knn(20)).unwrap();
    assert_eq!(compare::neighbors(&found, &truth, 20), []);

    let mut dropped = found.clone();
    dropped.indices.remove(20 * 7 + 3);
    dropped.dist_sq.remove(20 * 7 + 3);
    dropped.offsets[8..].iter_mut().for_each(|o| *o -= 1);
    let wrong = compare::neighbors(&dropped, &truth, 20);
    assert_eq!(wrong.iter().map(|w| (w.point, w.position)).collect::<Vec<_>>(), [(7, 3)]);

    let mut swapped = found.clone();
    swapped.indices.swap(20 * 9 + 4, 20 * 9 + 5);
    let wrong = compare::neighbors(&swapped, &truth, 20);
    assert_eq!(wrong.iter().map(|w| (w.point, w.position)).collect::<Vec<_>>(), [(9, 4)]);

    let mut distance = found;
    distance.dist_sq[20 * 11 + 19] += 1;
    assert_eq!(compare::neighbors(&distance, &truth, 20).len(), 1);
}

#[test]
fn a_dropped_neighbour_shows_in_the_features() {
    let (cloud, mut truth, table, _) = sound();
    truth[30].remove(10);
    let locals = oracle::locals(&cloud, &truth, 20);
    let caught = compare(&cloud, &table, &locals);
    assert!(caught.failures.iter().all(|f| f.index == 30), "{:?}", caught.failures);
    let missed: Vec<_> = Feature::all()
        .filter(|f| f.row().inputs == [Input::Xyz] && caught.failures.iter().all(|e| e.feature != *f))
        .filter(|f| oracle::value(*f, &locals[30]).is_some())
        .collect();
    // An inner member decides neither the nearest and farthest, nor, mostly, the bounding box or a choice.
    let blind = FeatureSet::parse(
        "knn_distance,nearest_distance,vertical_range,extent_x,extent_y,extent_z,neighborhood_extent,\
         height_extent_ratio,z_below,z_above,dimensionality,is_coplanar,rank",
    );
    let blind = blind.unwrap();
    assert!(missed.iter().all(|f| blind.iter().any(|b| b == *f)), "{missed:?}");
}

#[test]
fn a_value_beyond_its_tolerance_is_caught_in_every_feature() {
    let (cloud, _, table, locals) = sound();
    for feature in table.keys().copied() {
        let value = |i: usize| expected(&cloud, &locals)(feature, i);
        let allowed =
            |i: usize| tolerance::allowed(feature, tolerance::between_f64(feature), &locals[i], value(i)?);
        let Some(i) = (0..locals.len()).find(|&i| allowed(i).is_some() && table[&feature][i].is_finite())
        else {
            assert_eq!(value(0), None, "no value of {feature} is ever compared");
            continue;
        };
        // Angles are in degrees, the planted error in radians; f32 has no closer neighbour than its spacing.
        let mut planted = table.clone();
        let cell = &mut planted.get_mut(&feature).unwrap()[i];
        let nudge = 3.0 * allowed(i).unwrap() as f32;
        *cell = (*cell + nudge).max(cell.next_up().next_up().next_up());
        let caught = compare(&cloud, &planted, &locals);
        assert!(caught.failures.iter().any(|f| f.index == i), "{feature} nudged by {nudge:e} passed");
        assert!(caught.failures.iter().all(|f| f.index == i), "{:?}", caught.failures);
    }
}

#[test]
fn another_decision_is_caught_away_from_its_threshold_and_counted_near_it() {
    let (cloud, _, table, locals) = sound();
    for feature in [Feature::Dimensionality, Feature::Rank, Feature::IsCoplanar] {
        let other = |v: f32| match feature {
            Feature::IsCoplanar => 1.0 - v,
            _ if v == 2.0 => 3.0,
            _ => 2.0,
        };
        let planted = Table::from([(feature, table[&feature].iter().map(|v| other(*v)).collect())]);
        let outcome = |t: f64| {
            compare::columns(&planted, expected(&cloud, &locals), &locals, |_| Tolerance::Decision(t))
        };
        let strict = outcome(1e-9);
        assert_eq!((strict.undecided, strict.failures.len()), (0, cloud.len()), "{feature}");
        let loose = outcome(0.03);
        assert!(loose.undecided > 0, "{feature}");
        assert_eq!(loose.undecided + loose.failures.len(), cloud.len(), "{feature}");
    }
}

#[test]
fn nan_for_a_number_and_a_number_for_nan_are_caught() {
    let (cloud, _, table, locals) = sound();
    let plant = |feature: Feature, i: usize, value: f32| {
        let mut planted = table.clone();
        planted.get_mut(&feature).unwrap()[i] = value;
        let failures = compare(&cloud, &planted, &locals).failures;
        assert!(failures.iter().any(|f| (f.feature, f.index) == (feature, i)), "{feature}: {failures:?}");
    };
    for feature in table.keys().copied().filter(|f| expected(&cloud, &locals)(*f, 0).is_some()) {
        let number = table[&feature].iter().position(|v| v.is_finite()).unwrap();
        plant(feature, number, f32::NAN);
        plant(feature, number, f32::INFINITY);
    }
    let dark = table[&Feature::Ndvi].iter().position(|v| v.is_nan()).unwrap();
    plant(Feature::Ndvi, dark, 0.0);
}
