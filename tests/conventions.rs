//! Other tools' conventions: every feature that a profile redefines, against formulas written down once more,
//! from the neighbour lists; and what a profile must leave alone.

mod common;

use common::clouds::{self, Cloud};
use common::compare::lists;
use common::local::Local;
use common::{cpu_engine, engines, features, knn};
use lidar_features::{
    Columns, Conventions, CovNorm, Degenerate, EigenScale, Engine, Entropy, Error, Feature, FeatureSet, Fill,
    Flags, KSemantics, LineNormal, Neighborhood, Options, Orientation, SHARP, Verticality,
};

use Feature as F;

fn with(profile: &str) -> Options {
    Options::default().conventions(Conventions::named(profile).unwrap())
}

fn bits(columns: &Columns, feature: Feature) -> Vec<u32> {
    columns.get(feature).unwrap().iter().map(|v| v.to_bits()).collect()
}

/// Points on a vertical line, a lone pair, and a lone point.
fn sparse() -> Cloud {
    let mut points: Vec<[i32; 3]> = (0..12).map(|t| [5, 7, 3 * t]).collect();
    points.extend([[1000, 0, 0], [1004, 3, 2], [2000, 2000, 50]]);
    Cloud::new("a vertical line, a pair and a point", points)
}

fn scenes() -> Vec<Cloud> {
    vec![
        clouds::terrain(400),
        clouds::uniform(300, 8),
        clouds::uniform(300, 300),
        clouds::plane_grid(12),
        clouds::collinear(60),
        clouds::coplanar(150),
        clouds::identical(20),
        clouds::grid(5),
        sparse(),
    ]
}

fn neighborhoods() -> Vec<Neighborhood> {
    let mut all: Vec<_> = [1, 2, 3, 4, 9].map(knn).into();
    all.extend([0.05, 0.5].map(|r| Neighborhood::radius(r).unwrap()));
    all.push(Neighborhood::knn_within(5, 0.4).unwrap());
    all
}

/// The neighbourhood that a profile makes of one: PDAL's k leaves out the query.
fn counted(profile: &str, neighborhood: Neighborhood) -> Neighborhood {
    match (profile, neighborhood) {
        ("pdal", Neighborhood::Knn { k }) => Neighborhood::knn(k.get() + 1).unwrap(),
        ("pdal", Neighborhood::KnnWithin { k, radius }) => {
            Neighborhood::knn_within(k.get() + 1, radius).unwrap()
        }
        _ => neighborhood,
    }
}

/// What a tool writes for one neighbourhood, from its source: NaN is NaN.
fn theirs(profile: &str, feature: Feature, l: &Local) -> f64 {
    // Rounding's share of eigenvalues that are zero.
    let [a, b, c] = match (l.identical, l.collinear) {
        (true, _) => [0.0; 3],
        (_, true) => [l.lambda[0], 0.0, 0.0],
        _ => l.lambda,
    };
    let normal = if l.collinear { across(l.vectors[0]) } else { l.vectors[2] };
    let n = l.n as f64;
    match profile {
        "pgeof" => pgeof(feature, [a, b, c], l, normal),
        "jakteristics" if l.n < 2 => f64::NAN,
        "jakteristics" => {
            let to_sample = n / (n - 1.0);
            let normal = if l.identical { [f64::NAN; 3] } else { normal };
            jakteristics(feature, [a, b, c].map(|v| v * to_sample), normal)
        }
        "cloudcompare" if l.n <= 3 => f64::NAN,
        "cloudcompare" => {
            let normal = if l.identical { [0.0, 0.0, 1.0] } else { normal };
            jakteristics(feature, [a, b, c], normal)
        }
        "pdal" if l.n < 3 || l.identical => 0.0,
        "pdal" => pdal(feature, [a, b, c].map(|v| v * n / (n - 1.0)), l, normal),
        "open3d" if l.n < 3 || l.identical => f64::from(feature == F::NormalZ),
        "open3d" => component(feature, normal),
        other => panic!("no formulas of {other}"),
    }
}

fn component(feature: Feature, normal: [f64; 3]) -> f64 {
    match feature {
        F::NormalX => normal[0],
        F::NormalY => normal[1],
        F::NormalZ => normal[2],
        other => panic!("{other} has no formula"),
    }
}

/// Of the vectors at right angles to a line, the one that points up most.
fn across([x, y, z]: [f64; 3]) -> [f64; 3] {
    let flat = x.hypot(y);
    if flat < 1e-9 { [1.0, 0.0, 0.0] } else { [-z * x / flat, -z * y / flat, flat] }
}

/// z of the sum of the axes' absolute vectors, by its length.
fn unary(weights: [f64; 3], vectors: &[[f64; 3]; 3]) -> f64 {
    let mut sum = [0.0; 3];
    for (weight, vector) in weights.iter().zip(vectors) {
        (0..3).for_each(|i| sum[i] += weight * vector[i].abs());
    }
    sum[2] / sum.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// pgeof 0.3.4, include/pca.hpp.
fn pgeof(feature: Feature, lambda: [f64; 3], l: &Local, normal: [f64; 3]) -> f64 {
    let eps = 1e-3;
    let [val0, val1, val2] = lambda.map(f64::sqrt);
    let fact = 1.0 / (val0 + eps);
    match feature {
        F::Linearity => (val0 - val1) * fact,
        F::Planarity => (val1 - val2) * fact,
        F::Sphericity => val2 * fact,
        F::SurfaceVariation => val2 / (val0 + val1 + val2 + eps),
        F::Length => val0,
        F::Surface => (val0 * val1 + 1e-6).sqrt(),
        F::Volume => (val0 * val1 * val2 + 1e-9).powf(1.0 / 3.0),
        F::Eigenentropy => {
            let e = lambda.map(|v| v / (lambda.iter().sum::<f64>() + eps));
            -e[0] * (e[0] + eps).ln() - e[1] * (e[1] + eps).ln() - e[2] * (e[2] + eps).ln()
        }
        F::VerticalityUnary if l.identical => 0.0,
        F::VerticalityUnary => unary(lambda, &l.vectors),
        F::Verticality if l.identical => 1.0,
        F::Verticality => 1.0 - normal[2].abs(),
        F::NormalX if l.identical => 1.0,
        F::NormalY | F::NormalZ if l.identical => 0.0,
        other => component(other, normal),
    }
}

/// jakteristics 0.6.2, extension.pyx; CloudCompare's `computeFeature`, of which it is a port, has the same
/// formulas.
fn jakteristics(feature: Feature, [l1, l2, l3]: [f64; 3], normal: [f64; 3]) -> f64 {
    let sum = l1 + l2 + l3;
    let times_log = |v: f64| if v > 0.0 { v * v.ln() } else { 0.0 };
    match feature {
        F::Eigenvalue1 => l1,
        F::Eigenvalue2 => l2,
        F::Eigenvalue3 => l3,
        F::EigenvalueSum => sum,
        F::Omnivariance => (l1 * l2 * l3).powf(1.0 / 3.0),
        F::Eigenentropy if sum == 0.0 => f64::NAN,
        F::Eigenentropy => -(times_log(l1) + times_log(l2) + times_log(l3)),
        F::Anisotropy => (l1 - l3) / l1,
        F::Planarity => (l2 - l3) / l1,
        F::Linearity => (l1 - l2) / l1,
        F::Pca1 => l1 / sum,
        F::Pca2 => l2 / sum,
        F::SurfaceVariation => l3 / sum,
        F::Sphericity => l3 / l1,
        F::Verticality => 1.0 - normal[2].abs(),
        other => component(other, normal),
    }
}

/// PDAL 2, filters.covariancefeatures in mode sqrt, filters.eigenvalues and filters.normal.
fn pdal(feature: Feature, lambda: [f64; 3], l: &Local, normal: [f64; 3]) -> f64 {
    let sum: f64 = lambda.iter().sum();
    let s = lambda.map(f64::sqrt);
    match feature {
        F::Eigenvalue1 => lambda[0],
        F::Eigenvalue2 => lambda[1],
        F::Eigenvalue3 => lambda[2],
        F::EigenvalueSum => sum,
        F::Linearity => (s[0] - s[1]) / s[0],
        F::Planarity => (s[1] - s[2]) / s[0],
        F::Sphericity => s[2] / s[0],
        F::Anisotropy => (s[0] - s[2]) / s[0],
        F::Omnivariance => (s[2] * s[1] * s[0]).cbrt(),
        F::SurfaceVariation => s[2] / sum,
        F::Eigenentropy => -s.iter().map(|v| if *v > 0.0 { v * v.ln() } else { 0.0 }).sum::<f64>(),
        F::Verticality | F::VerticalityUnary => unary(s, &l.vectors),
        other => component(other, normal),
    }
}

/// How far the eigenvalues may be off, by themselves and by λ1, and how far a direction.
struct Blur {
    relative: f64,
    of_first: f64,
    direction: f64,
}

/// f32 columns of an f64 computation, and of one in f32: the catalogue's tolerances, twice.
const ROUNDED: Blur = Blur { relative: 1.5e-7, of_first: 1e-12, direction: 1e-6 };
const IN_F32: Blur = Blur { relative: 1.5e-7, of_first: 8e-6, direction: 8e-3 };

/// What a feature may be off by; `None` where the directions that it is about are not defined.
fn allowed(profile: &str, feature: Feature, l: &Local, blur: &Blur) -> Option<f64> {
    let expected = theirs(profile, feature, l);
    let of_eigenvalues = (0..8).map(|signs| {
        let mut l = l.clone();
        for j in 0..3 {
            let off = blur.relative * l.lambda[j] + blur.of_first * l.lambda[0];
            l.lambda[j] = (l.lambda[j] + if signs >> j & 1 == 1 { off } else { -off }).max(0.0);
        }
        (theirs(profile, feature, &l) - expected).abs()
    });
    let rounding = 2e-7 * expected.abs().max(1e-3) + of_eigenvalues.fold(0.0, f64::max);
    let shaped = !l.identical && !l.collinear;
    let (third, all) = (l.gap23 > SHARP, l.gap23 > SHARP && l.gap12 > SHARP);
    match feature {
        F::Verticality | F::VerticalityUnary if profile == "pdal" || feature == F::VerticalityUnary => {
            (!shaped || all).then_some(rounding + blur.direction)
        }
        F::Verticality | F::NormalX | F::NormalY | F::NormalZ => {
            (!shaped || third).then_some(rounding + blur.direction)
        }
        _ => Some(rounding),
    }
}

/// Compares what conventions write with what the tool of this name does: how many values were compared, and
/// those that are wrong.
fn check(
    engine: &Engine,
    blur: &Blur,
    (profile, conventions): (&str, Conventions),
    cloud: &Cloud,
    rule: Neighborhood,
) -> (usize, Vec<String>) {
    let redefined = Conventions::named(profile).unwrap().redefined();
    let set = FeatureSet::new(redefined.iter().copied());
    let options = Options::default().conventions(conventions);
    let (columns, _) = engine.features_with(&cloud.borrow(), &set, rule, &options).unwrap();
    let rule = counted(profile, rule);
    let rows = lists(&cpu_engine().neighbors(&cloud.borrow(), rule).unwrap().0);
    let (mut compared, mut wrong) = (0, Vec::new());
    for (i, row) in rows.iter().enumerate() {
        let members: Vec<u32> = row.iter().map(|(_, j)| *j).collect();
        let l = Local::new(&cloud.points, i, &members, cloud.quantum);
        // A level normal may point either way.
        let z = columns.get(F::NormalZ).map(|c| f64::from(c[i]));
        let level = z.is_some_and(|z| z.abs() < 2.0 * blur.direction);
        for &feature in redefined {
            let expected = theirs(profile, feature, &l);
            let Some(allowed) = allowed(profile, feature, &l, blur) else { continue };
            let actual = f64::from(columns.get(feature).unwrap()[i]);
            let same = match feature {
                _ if expected.is_nan() => actual.is_nan(),
                F::NormalX | F::NormalY if level => (actual.abs() - expected.abs()).abs() <= allowed,
                _ => (actual - expected).abs() <= allowed,
            };
            if !same {
                let (n, name) = (l.n, &cloud.name);
                wrong.push(format!(
                    "{feature} of point {i} (n = {n}) of {name}, {rule:?}: {actual}, not {expected} ± {allowed:e}"
                ));
            }
            compared += 1;
        }
    }
    (compared, wrong)
}

#[test]
fn each_profile_follows_its_tool() {
    for (on, engine) in engines() {
        let blur = if on == "cpu" { ROUNDED } else { IN_F32 };
        for name in Conventions::NAMES.iter().filter(|name| **name != "ours") {
            let profile = Conventions::named(name).unwrap();
            let mut compared = 0;
            for cloud in scenes() {
                for rule in neighborhoods() {
                    let (here, wrong) = check(&engine, &blur, (name, profile), &cloud, rule);
                    let first = &wrong[..wrong.len().min(5)];
                    assert!(wrong.is_empty(), "{} of {here} on the {on}, by {name}: {first:#?}", wrong.len());
                    compared += here;
                }
            }
            println!("{name} on the {on}: {compared} values compared");
            assert!(compared > 30_000, "{compared} values of {name} on the {on}");
        }
    }
}

#[test]
fn a_knob_turned_wrong_is_caught() {
    type Turn = fn(&mut Conventions);
    let turns: [(&str, Turn); 13] = [
        ("pgeof", |c| c.epsilon = 1.01e-3),
        ("pgeof", |c| c.eigen_scale = EigenScale::Raw),
        ("pgeof", |c| c.variation_sum = EigenScale::Raw),
        ("pgeof", |c| c.entropy = Entropy::Normalized),
        ("pgeof", |c| c.unary_weights = EigenScale::Sqrt),
        ("pgeof", |c| c.min_members = 2),
        ("pgeof", |c| c.identical_normal = None),
        ("pgeof", |c| c.line_normal = LineNormal::Nan),
        ("jakteristics", |c| c.cov_norm = CovNorm::Population),
        ("cloudcompare", |c| c.few = Degenerate::Zero),
        ("pdal", |c| c.identical = Degenerate::Nan),
        ("pdal", |c| c.k_semantics = KSemantics::IncludeSelf),
        ("pdal", |c| c.verticality = Verticality::Normal),
    ];
    for (at, (name, wrongly)) in turns.into_iter().enumerate() {
        let mut profile = Conventions::named(name).unwrap();
        wrongly(&mut profile);
        let wrong = scenes().iter().any(|cloud| {
            let mut rules = [1, 4].map(knn).into_iter();
            rules.any(|rule| !check(&cpu_engine(), &ROUNDED, (name, profile), cloud, rule).1.is_empty())
        });
        assert!(wrong, "knob {at} of {name}");
    }
}

#[test]
fn ours_change_nothing() {
    let cloud = clouds::terrain(300).colored(u16::MAX);
    let set = features(&cloud);
    for (on, engine) in engines() {
        for rule in [knn(2), knn(9), Neighborhood::radius(0.4).unwrap()] {
            let (plain, before) = engine.features(&cloud.borrow(), &set, rule).unwrap();
            let (same, after) = engine.features_with(&cloud.borrow(), &set, rule, &with("ours")).unwrap();
            assert!(set.iter().all(|f| bits(&plain, f) == bits(&same, f)), "on the {on}");
            assert_eq!(plain.flags(), same.flags());
            for report in [before, after] {
                assert_eq!((report.conventions, report.redefined.len(), report.members), ("ours", 0, None));
            }
        }
    }
}

#[test]
fn what_is_not_redefined_stays() {
    for cloud in [clouds::terrain(300).colored(255), sparse(), clouds::uniform(300, 300)] {
        let set = features(&cloud);
        for (on, engine) in engines() {
            for profile in Conventions::NAMES {
                let redefined = Conventions::named(profile).unwrap().redefined();
                for rule in [knn(7), Neighborhood::radius(0.3).unwrap()] {
                    let (plain, _) = engine.features(&cloud.borrow(), &set, counted(profile, rule)).unwrap();
                    let (columns, report) =
                        engine.features_with(&cloud.borrow(), &set, rule, &with(profile)).unwrap();
                    assert_eq!(columns.iter().len(), set.len());
                    assert_eq!(report.features, set.iter().collect::<Vec<_>>());
                    assert_eq!(report.conventions, *profile);
                    let listed: Vec<_> = set.iter().filter(|f| redefined.contains(f)).collect();
                    assert_eq!(report.redefined, listed);
                    assert_eq!(plain.flags(), columns.flags(), "{profile} on the {on}");
                    let kept = set.iter().filter(|f| !redefined.contains(f));
                    kept.for_each(|f| {
                        assert_eq!(bits(&plain, f), bits(&columns, f), "{f}, {profile} on the {on}");
                    });
                }
            }
        }
    }
}

#[test]
fn one_column_is_as_among_all() {
    let cloud = clouds::terrain(300);
    for (on, engine) in engines() {
        for profile in Conventions::NAMES {
            let all = features(&cloud);
            let (together, _) = engine.features_with(&cloud.borrow(), &all, knn(8), &with(profile)).unwrap();
            for &feature in Conventions::named(profile).unwrap().redefined() {
                let set = FeatureSet::new([feature]);
                let (alone, _) = engine.features_with(&cloud.borrow(), &set, knn(8), &with(profile)).unwrap();
                assert_eq!(alone.iter().len(), 1);
                assert_eq!(
                    bits(&alone, feature),
                    bits(&together, feature),
                    "{feature}, {profile} on the {on}"
                );
            }
        }
    }
}

#[test]
fn pdal_counts_neighbours_without_the_point() {
    let cloud = clouds::terrain(200);
    let set = FeatureSet::parse("neighbor_count,knn_distance").unwrap();
    let count = |profile: &str, rule| {
        let (columns, report) =
            cpu_engine().features_with(&cloud.borrow(), &set, rule, &with(profile)).unwrap();
        (columns.get(F::NeighborCount).unwrap()[7], report.members)
    };
    assert_eq!(count("pdal", knn(10)), (11.0, Some(11)));
    assert_eq!(count("jakteristics", knn(10)), (10.0, None));
    assert_eq!(count("pdal", Neighborhood::knn_within(4, 1e3).unwrap()), (5.0, Some(5)));
    assert_eq!(count("pdal", Neighborhood::radius(1e3).unwrap()), (200.0, None));
    assert_eq!(count("pdal", Neighborhood::knn(u32::MAX).unwrap()), (200.0, None));
    assert_eq!(Conventions::pdal().members(8), 9);
}

#[test]
fn options_act_on_redefined_columns() {
    let cloud = clouds::terrain(300);
    let mask: Vec<bool> = (0..300).map(|i| i % 50 == 3).collect();
    let input = cloud.borrow().ignoring(&mask);
    let set = FeatureSet::parse("normals,linearity,eigenvalues").unwrap();
    let below = [651_000.0, 6_862_000.0, -1e6];
    for (on, engine) in engines() {
        for profile in ["pgeof", "jakteristics"] {
            let of = |options: Options| engine.features_with(&input, &set, knn(9), &options).unwrap().0;
            let nan = of(with(profile));
            assert!((0..300).all(|i| mask[i] == (nan.flags()[i] == Flags::LEFT_OUT.0)));
            assert!(nan.iter().all(|c| (0..300).all(|i| c.values[i].is_nan() == mask[i])), "on the {on}");
            let filled = of(with(profile).fill(Fill::Zero));
            assert_eq!(
                (filled.get(F::Linearity).unwrap()[3], filled.get(F::NormalZ).unwrap()[3]),
                (0.0, 1.0)
            );
            let turned = of(with(profile).orientation(Orientation::Viewpoint(below)));
            let (up, down) = (nan.get(F::NormalZ).unwrap(), turned.get(F::NormalZ).unwrap());
            assert!((0..300).all(|i| mask[i] || down[i] == 0.0 - up[i]), "{profile} on the {on}");
            assert_eq!(bits(&nan, F::Linearity), bits(&turned, F::Linearity));
        }
    }
}

#[test]
fn knobs_can_be_turned_one_by_one() {
    let cloud = clouds::terrain(200);
    let mut own = Conventions::ours();
    own.cov_norm = CovNorm::Sample;
    assert_eq!(own.name(), "custom");
    let options = Options::default().conventions(own);
    let set = FeatureSet::parse("eigenvalue_1,planarity,normal_z,roughness").unwrap();
    let (plain, _) = cpu_engine().features(&cloud.borrow(), &set, knn(5)).unwrap();
    let (columns, report) = cpu_engine().features_with(&cloud.borrow(), &set, knn(5), &options).unwrap();
    assert_eq!(report.redefined, [F::Eigenvalue1, F::Planarity, F::NormalZ]);
    for (feature, factor) in
        [(F::Eigenvalue1, 1.25), (F::Planarity, 1.0), (F::NormalZ, 1.0), (F::Roughness, 1.0)]
    {
        let (a, b) = (plain.get(feature).unwrap(), columns.get(feature).unwrap());
        assert!((0..200).all(|i| (b[i] - factor * a[i]).abs() <= 3e-7 * a[i].abs().max(1.0)), "{feature}");
    }

    let mut spt = Conventions::pgeof();
    spt.min_members = 5;
    let (columns, _) = cpu_engine()
        .features_with(
            &cloud.borrow(),
            &FeatureSet::parse("normals,surface").unwrap(),
            knn(4),
            &Options::default().conventions(spt),
        )
        .unwrap();
    assert!(columns.iter().all(|c| c.values.iter().all(|v| *v == 0.0)));
}

#[test]
fn profiles_are_found_by_name() {
    let profiles = [
        Conventions::ours(),
        Conventions::pgeof(),
        Conventions::jakteristics(),
        Conventions::cloudcompare(),
        Conventions::pdal(),
        Conventions::open3d(),
    ];
    for (name, profile) in Conventions::NAMES.iter().zip(profiles) {
        assert_eq!((Conventions::named(name).unwrap(), profile.name()), (profile, *name));
    }
    assert_eq!(Conventions::NAMES.len(), profiles.len());
    assert_eq!(Conventions::default(), Conventions::ours());
    let error = Conventions::named("PDAL").unwrap_err();
    assert!(matches!(error, Error::UnknownConventions { .. }));
    assert_eq!(
        error.to_string(),
        "unknown conventions \"PDAL\", there are ours, pgeof, jakteristics, cloudcompare, pdal, open3d"
    );
}

#[test]
fn an_empty_cloud_has_empty_columns() {
    let cloud = Cloud::new("empty", Vec::new());
    let set = FeatureSet::geometric();
    let (columns, report) =
        cpu_engine().features_with(&cloud.borrow(), &set, knn(3), &with("pgeof")).unwrap();
    assert!(columns.is_empty() && columns.iter().len() == set.len());
    assert_eq!(report.backend, "none");
}
