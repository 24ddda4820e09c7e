//! Features that need every single member, the members' own neighbourhoods, or the optimal neighbourhood: on both
//! backends against definitions written once more.
#![allow(missing_docs)]

mod common;

use common::clouds::{self, Cloud};
use common::gpu::{chunked_engine, gpu_engine};
use common::local::{Local, dot};
use common::oracle::{self, Lists};
use common::{cpu_engine, engines, of_members};
use lidar_features::{Columns, Feature, FeatureSet, Flags, Input, Neighborhood, SHARP};
use rayon::prelude::*;
use std::collections::BTreeMap;

fn small() -> Vec<Cloud> {
    let sizes = [1, 2, 3, 5, 6, 65].map(|n| clouds::uniform(n, 300));
    let mut all: Vec<_> = sizes.into();
    all.extend([
        clouds::terrain(700).colored(u16::MAX),
        clouds::terrain(257).colored(255),
        clouds::terrestrial(600),
        clouds::uniform(600, 8),
        clouds::plane_grid(24),
        clouds::collinear(200),
        clouds::coplanar(300),
        clouds::identical(130),
        clouds::grid(7),
        clouds::exponential(),
        clouds::twins(300),
        clouds::wide(200),
        clouds::millimetres(clouds::terrain(400)),
    ]);
    all
}

fn rules(cloud: &Cloud) -> Vec<Neighborhood> {
    let radius = |quanta: f64| Neighborhood::radius(quanta * cloud.quantum).unwrap();
    let both = |k, quanta: f64| Neighborhood::knn_within(k, quanta * cloud.quantum).unwrap();
    let mut rules: Vec<_> = [1, 8, 20, 128, 200].map(common::knn).into();
    rules.extend([radius(60.0), both(12, 60.0)]);
    rules
}

fn set_for(cloud: &Cloud) -> FeatureSet {
    of_members().iter().filter(|f| cloud.color.is_some() || f.row().inputs == [Input::Xyz]).collect()
}

/// Every point's members by brute force.
fn members(cloud: &Cloud, rule: Neighborhood) -> Lists {
    let (k, radius) = match rule {
        Neighborhood::Knn { k } => (k.get() as usize, None),
        Neighborhood::Radius { radius } => (cloud.len(), Some(radius)),
        Neighborhood::KnnWithin { k, radius } => (k.get() as usize, Some(radius)),
        other => panic!("no brute force for {other:?}"),
    };
    let mut lists = oracle::neighbors(&cloud.points, k);
    if let Some(radius) = radius {
        let limit = (radius / cloud.quantum).powi(2) + 1e-6;
        lists.iter_mut().for_each(|list| list.retain(|m| m.0 as f64 <= limit));
    }
    lists
}

/// What a value should be, and how far off f64 and f32 may be. No bound: not compared.
struct Truth {
    value: f64,
    allowed: Option<[f64; 2]>,
}

fn exactly(value: f64, relative: [f64; 2]) -> Truth {
    Truth { value, allowed: Some(relative.map(|r| r * value.abs())) }
}

/// One cloud's neighbourhoods, with what the formulas need of each.
struct Scene<'a> {
    cloud: &'a Cloud,
    lists: &'a Lists,
    locals: Vec<Local>,
    /// Whether a number cuts each list.
    cut: Vec<bool>,
    lrd: Vec<f64>,
}

impl<'a> Scene<'a> {
    fn new(cloud: &'a Cloud, lists: &'a Lists, rule: Neighborhood) -> Self {
        let locals = oracle::locals(cloud, lists, usize::MAX);
        let cut = |list: &Vec<_>| match rule {
            Neighborhood::Radius { .. } => false,
            Neighborhood::KnnWithin { k, .. } => list.len() == (k.get() as usize).min(cloud.len()),
            _ => true,
        };
        let mut scene = Self { cloud, lists, locals, cut: lists.iter().map(cut).collect(), lrd: Vec::new() };
        scene.lrd = (0..cloud.len()).map(|i| 1.0 / scene.reach(i).max(cloud.quantum / 1024.0)).collect();
        scene
    }

    fn others(&self, i: usize) -> impl Iterator<Item = (f64, usize)> {
        let distance = move |d: u64| (d as f64).sqrt() * self.cloud.quantum;
        let own = i as u32;
        self.lists[i].iter().filter(move |m| m.1 != own).map(move |m| (distance(m.0), m.1 as usize))
    }

    fn mean(values: impl Iterator<Item = f64>) -> f64 {
        let all: Vec<f64> = values.collect();
        all.iter().sum::<f64>() / all.len().max(1) as f64
    }

    fn reach(&self, i: usize) -> f64 {
        Self::mean(self.others(i).map(|(d, j)| d.max(self.locals[j].radius)))
    }

    fn has_normal(l: &Local) -> bool {
        !(l.few || l.identical || l.collinear)
    }

    /// Recorded values of the members of a channel, and of the whole cloud's largest.
    fn channel(&self, i: usize, of: impl Fn(usize) -> f64) -> [f64; 2] {
        let mean = Self::mean(self.lists[i].iter().map(|m| of(m.1 as usize)));
        let squares = Self::mean(self.lists[i].iter().map(|m| (of(m.1 as usize) - mean).powi(2)));
        [mean, squares.sqrt()]
    }

    fn truth(&self, feature: Feature, i: usize) -> Truth {
        use Feature as F;
        let l = &self.locals[i];
        let nan = Truth { value: f64::NAN, allowed: Some([0.0; 2]) };
        match feature {
            F::PlaneFit if l.no_plane => nan,
            F::PlaneFit => {
                let (own, all) = (l.plane_distance.abs(), l.plane_distance.abs() + l.plane_mean);
                let noise = l.radius / 65536.0;
                let value = if all < noise { 0.0 } else { own / all };
                let sharp = l.gap23_of_others > SHARP && (all < 0.9 * noise || all > 1.1 * noise);
                let allowed = [1e-9, 4e-3].map(|t| (t * l.radius / all.max(noise)).min(1.0));
                let allowed = if all < noise { [0.0; 2] } else { allowed };
                Truth { value, allowed: sharp.then_some(allowed) }
            }
            F::MeanCurvature | F::GaussianCurvature if l.n < 6 || !Self::has_normal(l) => nan,
            F::MeanCurvature | F::GaussianCurvature => {
                let [h, k] = self.curvatures(i);
                let [l1, l2, l3] = l.lambda;
                let first = feature == F::MeanCurvature;
                let size = l3.sqrt().max(1e-3 * l.radius);
                let (value, scale) = if first { (h, size / l2) } else { (k, size * size / (l1 * l2)) };
                let allowed = [1e-6, 2e-2].map(|t| t * (value + scale));
                Truth { value, allowed: (l.gap23 > SHARP).then_some(allowed) }
            }
            F::NormalVariation if !Self::has_normal(l) => nan,
            F::NormalVariation => {
                let with = || self.others(i).map(|o| &self.locals[o.1]).filter(|l| Self::has_normal(l));
                let value = Self::mean(with().map(|o| 1.0 - dot(o.vectors[2], l.vectors[2]).abs()));
                let sharp = l.gap23 > SHARP && with().all(|o| o.gap23 > SHARP);
                Truth { value, allowed: sharp.then_some([1e-6, 4e-3]) }
            }
            F::ReachabilityDensity | F::Lof if self.others(i).next().is_none() => nan,
            F::ReachabilityDensity => exactly(self.lrd[i], [1e-6, 2e-5]),
            F::Lof => {
                let value = Self::mean(self.others(i).map(|o| self.lrd[o.1])) / self.lrd[i];
                exactly(value, [1e-6, 4e-5])
            }
            F::Reciprocity => {
                let last = |j: usize| *self.lists[j].last().unwrap();
                let without = |&(d, j): &(u64, u32)| {
                    let j = j as usize;
                    self.cut[j] && (d, i as u32) > last(j)
                };
                let others: Vec<_> = self.lists[i].iter().filter(|m| m.1 != i as u32).collect();
                let count = others.iter().filter(|m| without(m)).count() as f64;
                let value = 100.0 * count / others.len().max(1) as f64;
                Truth { value, allowed: Some([1e-4, 1e-4]) }
            }
            F::OptimalK | F::OptimalRadius | F::OptimalEntropy => Truth { value: 0.0, allowed: None },
            _ => self.channel_truth(feature, i),
        }
    }

    fn channel_truth(&self, feature: Feature, i: usize) -> Truth {
        let color = self.cloud.color.as_ref().unwrap();
        let full = |channels: &[&Vec<u16>]| {
            let most = channels.iter().flat_map(|c| c.iter()).max().unwrap();
            if *most <= 255 { 255.0 } else { 65535.0 }
        };
        let [r, g, b] = &color.rgb;
        let (rgb, nir) = (full(&[r, g, b]), full(&[&color.nir]));
        let (channel, which) = feature.name().split_once('_').unwrap();
        let pick = |[mean, std]: [f64; 2]| if which == "mean" { mean } else { std };
        let of = |values: &Vec<u16>, full: f64| {
            let value = pick(self.channel(i, |j| f64::from(values[j]) / full));
            Truth { value, allowed: Some([1e-6, 4e-6].map(|t| t * value.abs() + 1e-12)) }
        };
        match channel {
            "intensity" => of(&color.intensity, 1.0),
            "red" => of(r, rgb),
            "green" => of(g, rgb),
            "blue" => of(b, rgb),
            "nir" => of(&color.nir, nir),
            _ => {
                let lit = |j: usize| r[j] > 0 || color.nir[j] > 0;
                let ndvi = |j: usize| {
                    let (r, n) = (f64::from(r[j]) / rgb, f64::from(color.nir[j]) / nir);
                    (n - r) / (n + r)
                };
                let lit: Vec<usize> =
                    self.lists[i].iter().map(|m| m.1 as usize).filter(|j| lit(*j)).collect();
                let mean = Self::mean(lit.iter().map(|&j| ndvi(j)));
                let std = Self::mean(lit.iter().map(|&j| (ndvi(j) - mean).powi(2))).sqrt();
                let value = if lit.is_empty() { f64::NAN } else { pick([mean, std]) };
                Truth { value, allowed: Some([2e-7, 2e-6]) }
            }
        }
    }

    /// |H| and |K| of the quadric over the plane, by Gaussian elimination.
    fn curvatures(&self, i: usize) -> [f64; 2] {
        let l = &self.locals[i];
        let at = |j: usize| -> [f64; 3] {
            std::array::from_fn(|a| {
                (f64::from(self.cloud.points[j][a]) - f64::from(self.cloud.points[i][a])) * self.cloud.quantum
            })
        };
        let members: Vec<[f64; 3]> = self.lists[i].iter().map(|m| at(m.1 as usize)).collect();
        let n = members.len() as f64;
        let mean: [f64; 3] = std::array::from_fn(|a| members.iter().map(|p| p[a]).sum::<f64>() / n);
        let (s, t) = (l.lambda[0].sqrt(), l.lambda[1].sqrt());
        let local = |p: [f64; 3]| {
            let o = std::array::from_fn(|a| p[a] - mean[a]);
            [dot(o, l.vectors[0]) / s, dot(o, l.vectors[1]) / t, dot(o, l.vectors[2])]
        };
        let mut rows = [[0.0; 7]; 6];
        for p in members {
            let [x, y, z] = local(p);
            let basis = [1.0, x, y, x * x, x * y, y * y];
            for r in 0..6 {
                for c in 0..6 {
                    rows[r][c] += basis[r] * basis[c];
                }
                rows[r][6] += basis[r] * z;
            }
        }
        [(3, 1024.0), (4, 2048.0), (5, 1024.0)].into_iter().for_each(|(r, part)| rows[r][r] += n / part);
        for c in 0..6 {
            let pivot = (c..6).max_by(|&a, &b| rows[a][c].abs().total_cmp(&rows[b][c].abs())).unwrap();
            rows.swap(c, pivot);
            for r in (0..6).filter(|r| *r != c) {
                let factor = rows[r][c] / rows[c][c];
                let from = rows[c];
                rows[r].iter_mut().zip(from).for_each(|(v, f)| *v -= factor * f);
            }
        }
        let [_, b, c, d, e, f] = std::array::from_fn(|r| rows[r][6] / rows[r][r]);
        let [x, y, _] = local([0.0; 3]);
        let (fx, fy) = ((b + 2.0 * d * x + e * y) / s, (c + e * x + 2.0 * f * y) / t);
        let (fxx, fxy, fyy) = (2.0 * d / (s * s), e / (s * t), 2.0 * f / (t * t));
        let q = 1.0 + fx * fx + fy * fy;
        let h = ((1.0 + fx * fx) * fyy - 2.0 * fx * fy * fxy + (1.0 + fy * fy) * fxx).abs();
        [h / (2.0 * q.powf(1.5)), (fxx * fyy - fxy * fxy).abs() / (q * q)]
    }
}

/// Largest part of what is allowed, values compared and values left out, by feature.
#[derive(Default)]
struct Tally(BTreeMap<Feature, (f64, usize, usize)>);

impl Tally {
    fn check(
        &mut self,
        truths: &BTreeMap<Feature, Vec<Truth>>,
        columns: &Columns,
        backend: usize,
        what: &str,
    ) {
        for column in columns {
            let entry = self.0.entry(column.feature).or_default();
            for (i, (&value, truth)) in column.values.iter().zip(&truths[&column.feature]).enumerate() {
                let (expected, value) = (truth.value, f64::from(value));
                let Some(allowed) = truth.allowed else {
                    entry.2 += 1;
                    continue;
                };
                let allowed = allowed[backend] + expected.abs() * f64::from(f32::EPSILON);
                let same = value.is_nan() && expected.is_nan();
                let error = if same { 0.0 } else { (value - expected).abs() };
                assert!(
                    same || error <= allowed,
                    "{what}: {} of point {i} is {value}, should be {expected} within {allowed:e}",
                    column.feature
                );
                entry.1 += 1;
                if error > 0.0 {
                    entry.0 = entry.0.max(error / allowed);
                }
            }
        }
    }

    fn print(&self, what: &str) {
        println!("{what}");
        for (feature, (part, compared, left_out)) in &self.0 {
            let part = part * 100.0;
            println!("  {feature:22} {part:4.0} % of allowed, {compared} compared, {left_out} left out");
        }
    }
}

#[test]
fn both_backends_compute_what_the_definitions_say() {
    let engines = engines();
    let mut tallies: Vec<_> = engines.iter().map(|_| Tally::default()).collect();
    let is_optimal = |f: &Feature| optimal().contains(f);
    for cloud in small() {
        for rule in rules(&cloud) {
            let lists = members(&cloud, rule);
            let scene = Scene::new(&cloud, &lists, rule);
            let set: FeatureSet = set_for(&cloud).iter().filter(|f| !is_optimal(f)).collect();
            let of = |feature| {
                let truths = (0..cloud.len()).into_par_iter().map(|i| scene.truth(feature, i)).collect();
                (feature, truths)
            };
            let truths: BTreeMap<Feature, Vec<Truth>> = set.iter().map(of).collect();
            for (backend, (name, engine)) in engines.iter().enumerate() {
                let what = format!("{name}, {}, {}", cloud.name, rule.suffix());
                let (columns, report) = engine.features(&cloud.borrow(), &set, rule).unwrap();
                assert_eq!(report.backend, *name, "{what}: {:?}", report.fallback);
                tallies[backend].check(&truths, &columns, backend, &what);
            }
        }
    }
    for ((name, _), tally) in engines.iter().zip(&tallies) {
        tally.print(name);
        let hardly = |f: &Feature| tally.0.get(f).is_none_or(|t| t.1 < 1000);
        let missed: Vec<_> = of_members().iter().filter(|f| !is_optimal(f) && hardly(f)).collect();
        assert!(missed.is_empty(), "hardly compared: {missed:?}");
        assert!(tally.0.values().all(|t| t.2 < t.1), "more left out than compared");
    }
}

fn optimal() -> [Feature; 3] {
    [Feature::OptimalK, Feature::OptimalRadius, Feature::OptimalEntropy]
}

/// Entropy of the first k members.
fn entropy(cloud: &Cloud, i: usize, list: &[(u64, u32)], k: usize) -> f64 {
    let first: Vec<u32> = list.iter().take(k).map(|m| m.1).collect();
    let l = Local::new(&cloud.points, i, &first, cloud.quantum);
    if l.few || l.identical {
        return 3f64.ln();
    }
    let sum: f64 = l.lambda.iter().sum();
    l.lambda.iter().map(|v| v / sum).filter(|e| *e > 0.0).map(|e| -e * e.ln()).sum()
}

#[test]
fn the_optimal_neighbourhood_has_the_least_entropy() {
    for (name, engine) in engines() {
        let mut worst = 0.0f64;
        for cloud in small().into_iter().filter(|c| c.len() <= 300) {
            let truth = oracle::neighbors(&cloud.points, 60);
            for (least, most, step) in [(3, 12, 1), (10, 60, 1), (5, 50, 9), (1, 4, 2)] {
                let what = format!("{name}, {}, {least}..{most} by {step}", cloud.name);
                let rule = Neighborhood::optimal(least, most, step).unwrap();
                let set =
                    FeatureSet::parse("optimal_k,optimal_radius,optimal_entropy,neighbor_count").unwrap();
                let (columns, _) = engine.features(&cloud.borrow(), &set, rule).unwrap();
                let get = |feature| columns.get(feature).unwrap();
                let (lists, _) = engine.neighbors(&cloud.borrow(), rule).unwrap();
                let chosen =
                    |i: usize, k: usize| lists.row(i).0.iter().eq(truth[i][..k].iter().map(|m| &m.1));
                for (i, list) in truth.iter().enumerate() {
                    let tried = (least..=most).step_by(step as usize).map(|k| k as usize);
                    let tried: Vec<usize> = tried.filter(|k| *k <= cloud.len()).collect();
                    let k = get(Feature::OptimalK)[i] as usize;
                    assert_eq!(get(Feature::NeighborCount)[i] as usize, k, "{what}");
                    if tried.is_empty() {
                        assert_eq!(k, cloud.len(), "{what}");
                        continue;
                    }
                    assert!(tried.contains(&k), "{what}: {k}");
                    // On a GPU f32 may decide between two neighbourhoods of nearly the same entropy.
                    assert!(name == "gpu" || chosen(i, k), "{what}, point {i}: the list is another");
                    let of = |k: usize| entropy(&cloud, i, list, k);
                    let best = tried.iter().map(|k| of(*k)).fold(f64::INFINITY, f64::min);
                    let allowed = if name == "cpu" { 1e-6 } else { 1e-4 };
                    let here = of(k);
                    assert!(here <= best + allowed, "{what}, point {i}: k = {k} has {here}, {best} is there");
                    worst = worst.max(here - best);
                    let reported = f64::from(get(Feature::OptimalEntropy)[i]);
                    assert!((reported - here).abs() <= 1e-4, "{what}, point {i}: {reported} for {here}");
                    let radius = (list[k - 1].0 as f64).sqrt() * cloud.quantum;
                    let reported = f64::from(get(Feature::OptimalRadius)[i]);
                    assert!((reported - radius).abs() <= 5e-7 * radius, "{what}, point {i}");
                }
            }
        }
        println!("{name}: entropies up to {worst:.1e} above the least");
    }
}

/// The optimal columns of another neighbourhood's request are those of 10..100.
#[test]
fn optimal_columns_do_not_depend_on_the_request() {
    let cloud = clouds::terrain(400);
    for (name, engine) in engines() {
        let set = FeatureSet::parse("planarity,optimal_k,optimal_entropy").unwrap();
        let (columns, _) = engine.features(&cloud.borrow(), &set, common::knn(12)).unwrap();
        let range = Neighborhood::optimal(10, 100, 1).unwrap();
        let (own, _) = engine.features(&cloud.borrow(), &set, range).unwrap();
        for feature in [Feature::OptimalK, Feature::OptimalEntropy] {
            assert_eq!(columns.get(feature), own.get(feature), "{name}");
        }
        let plain = FeatureSet::parse("planarity").unwrap();
        let (plain, _) = engine.features(&cloud.borrow(), &plain, common::knn(12)).unwrap();
        assert_eq!(columns.get(Feature::Planarity), plain.get(Feature::Planarity), "{name}");
    }
}

#[test]
fn flags_say_why_a_value_is_missing() {
    let flags = |cloud: &Cloud, features: &str, rule| {
        let set = FeatureSet::parse(features).unwrap();
        let all: Vec<_> = engines()
            .into_iter()
            .map(|(_, engine)| engine.features(&cloud.borrow(), &set, rule).unwrap().0.flags()[0])
            .collect();
        assert!(all.iter().all(|f| *f == all[0]), "{features}: {all:?}");
        Flags(all[0])
    };
    let five = clouds::uniform(5, 300);
    assert!(flags(&five, "mean_curvature", common::knn(5)).intersects(Flags::UNDER_SIX));
    assert!(!flags(&five, "planarity", common::knn(5)).intersects(Flags::UNDER_SIX));
    let alone = Neighborhood::radius(0.001).unwrap();
    assert!(flags(&five, "lof", alone).intersects(Flags::ALONE));
    let mut dark = clouds::terrain(30).colored(255);
    if let Some(color) = &mut dark.color {
        for i in 0..29 {
            color.rgb[0][i] = 0;
            color.nir[i] = 0;
        }
        (color.rgb[0][29], color.nir[29]) = (200, 200);
    }
    assert!(flags(&dark, "ndvi_mean", common::knn(1)).intersects(Flags::DARK_AROUND));
    assert!(!flags(&dark, "ndvi_mean", common::knn(30)).intersects(Flags::DARK_AROUND));
}

fn bits(columns: &Columns) -> Vec<Vec<u32>> {
    columns.iter().map(|c| c.values.iter().map(|v| v.to_bits()).collect()).collect()
}

/// Chunks under way at one time that all need the CPU's index, which the first of them builds on all cores.
#[test]
fn chunks_do_not_wait_for_each_other() {
    let Some(gpu) = chunked_engine(4096) else { return };
    let mut cloud = clouds::terrain(4000);
    let hill = std::mem::take(&mut cloud.points);
    for blob in 0..12 {
        // One point lies too far from the hill for the kernels' distances.
        let corner = [blob * 3_000_000, blob % 5 * 1_000_000, 0];
        let at = |p: &[i32; 3]| [p[0] + corner[0], p[1] + corner[1], p[2]];
        cloud.points.extend(hill.iter().chain([&[200_000, 200_000, 0]]).map(at));
    }
    let set = FeatureSet::parse("reciprocity,lof,plane_fit").unwrap();
    let (expected, _) = cpu_engine().features(&cloud.borrow(), &set, common::knn(8)).unwrap();
    for _ in 0..4 {
        let (actual, report) = gpu.features(&cloud.borrow(), &set, common::knn(8)).unwrap();
        assert!(report.chunks > 6 && report.stragglers >= 12, "{report:?}");
        assert_eq!(actual.flags(), expected.flags());
        let of = |columns: &Columns| columns.get(Feature::Reciprocity).unwrap().to_vec();
        assert!(of(&actual).iter().zip(of(&expected)).all(|(a, e)| (a - e).abs() < 1e-4));
    }
}

#[test]
fn chunks_do_not_show() {
    let Some(whole) = gpu_engine() else { return };
    let (mut runs, mut stragglers) = (0, 0);
    for cloud in [clouds::terrain(3000).colored(u16::MAX), clouds::terrestrial(1500), clouds::plane_grid(40)]
    {
        let set = set_for(&cloud);
        let rules = [
            common::knn(12),
            Neighborhood::radius(60.0 * cloud.quantum).unwrap(),
            Neighborhood::optimal(6, 40, 1).unwrap(),
        ];
        for rule in rules {
            let (expected, _) = whole.features(&cloud.borrow(), &set, rule).unwrap();
            for points in [300, 1024] {
                let engine = chunked_engine(points).unwrap();
                let (actual, report) = engine.features(&cloud.borrow(), &set, rule).unwrap();
                assert!(report.chunks > 1);
                let what = format!("{}, {}, chunks of {points}", cloud.name, rule.suffix());
                assert_eq!(actual.flags(), expected.flags(), "{what}");
                for ((a, e), column) in bits(&actual).iter().zip(bits(&expected)).zip(&expected) {
                    let differ = (0..a.len()).filter(|&i| a[i] != e[i]).count();
                    assert_eq!(differ, 0, "{what}: values of {} that differ", column.feature);
                }
                (runs, stragglers) = (runs + 1, stragglers + report.stragglers);
            }
        }
    }
    println!("{runs} chunked runs equal the unchunked ones; {stragglers} queries went to the CPU");
    assert!(stragglers > 0);
}

/// Each neighbourhood of a request for several is the one that a request of its own gives.
#[test]
fn several_scales_equal_one_at_a_time() {
    for (name, engine) in engines() {
        for cloud in [clouds::terrain(800).colored(255), clouds::terrestrial(500), clouds::plane_grid(20)] {
            let radius = |quanta: f64| Neighborhood::radius(quanta * cloud.quantum).unwrap();
            let scales = [
                common::knn(50),
                radius(60.0),
                common::knn(10),
                radius(17.3),
                common::knn(20),
                Neighborhood::knn_within(30, 40.0 * cloud.quantum).unwrap(),
                Neighborhood::optimal(10, 40, 3).unwrap(),
                radius(200.0),
            ];
            let set = FeatureSet::parse(
                "planarity,normal_z,neighbor_count,mean_distance,roughness,extent_x,density_3d,plane_fit,\
                 normal_variation,nearest_distance,optimal_k",
            );
            let mut set = set.unwrap();
            if cloud.color.is_some() {
                FeatureSet::parse("red,ndvi,red_mean").unwrap().iter().for_each(|f| set.insert(f));
            }
            let (all, _) =
                engine.features_at_scales(&cloud.borrow(), &set, &scales, &Default::default()).unwrap();
            for (at, &scale) in scales.iter().enumerate() {
                let what = format!("{name}, {}, {}", cloud.name, scale.suffix());
                let (one, _) = engine.features(&cloud.borrow(), &set, scale).unwrap();
                let (of, flags) = all.all_flags().nth(at).unwrap();
                assert_eq!((of, flags), (Some(scale), one.flags()), "{what}");
                for column in one.iter().filter(|c| c.feature.row().depends_on_neighborhood()) {
                    let values = all.get_in(column.feature, scale).unwrap();
                    let differ =
                        values.iter().zip(&column.values).filter(|(a, e)| a.to_bits() != e.to_bits());
                    // A column computed beside others is another kernel, which may round otherwise.
                    let close = |a: f32, e: f32| (a - e).abs() <= 1e-4 * e.abs().max(1e-2);
                    let far = differ.clone().filter(|(a, e)| !close(**a, **e)).count();
                    assert_eq!(far, 0, "{what}: {} of {}", far, column.feature);
                    let exact = name == "cpu" || column.feature == Feature::NeighborCount;
                    assert!(!exact || differ.count() == 0, "{what}: {}", column.feature);
                }
            }
            let names: Vec<_> = all.iter().map(lidar_features::Column::name).collect();
            assert!(names.contains(&"planarity_k50".to_owned()) && names.contains(&"optimal_k".to_owned()));
            assert_eq!(
                names.iter().filter(|n| n.as_str() == "red").count(),
                usize::from(cloud.color.is_some())
            );
        }
    }
}

#[test]
fn lists_within_a_radius_are_those_of_the_cpu() {
    let Some(gpu) = gpu_engine() else { return };
    let chunked = chunked_engine(400).unwrap();
    let mut members = 0;
    for cloud in small() {
        for quanta in [0.5, 17.3, 60.0, 400.0] {
            let rule = Neighborhood::radius(quanta * cloud.quantum).unwrap();
            let (expected, _) = cpu_engine().neighbors(&cloud.borrow(), rule).unwrap();
            for engine in [&gpu, &chunked] {
                let (found, report) = engine.neighbors(&cloud.borrow(), rule).unwrap();
                assert_eq!(report.backend, "gpu");
                assert!(found == expected, "{}, {quanta} quanta", cloud.name);
            }
            members += expected.indices.len();
        }
    }
    println!("{members} members");
    assert!(members > 1_000_000);
}

/// A row's rules say all that there is to say: what a flag does not explain is a number, and what it does is the row's.
#[test]
fn what_is_undefined_is_what_the_rows_state() {
    let mut with_rule = 0;
    for cloud in small() {
        let classes: Vec<u8> = (0..cloud.len()).map(|i| 1 + u8::from(i % 3 == 0)).collect();
        let input = cloud.borrow().with_classification(&classes);
        let (set, _) = Feature::all().collect::<FeatureSet>().available(&input);
        for rule in [common::knn(2), common::knn(9), Neighborhood::radius(0.05).unwrap()] {
            for (name, engine) in engines() {
                let what = format!("{name}, {}, {}", cloud.name, rule.suffix());
                let (columns, _) = engine.features(&input, &set, rule).unwrap();
                for column in &columns {
                    for (i, (value, flags)) in column.values.iter().zip(columns.flags()).enumerate() {
                        let rules = column.feature.row().rules;
                        let stated = rules.iter().find(|r| Flags(*flags).intersects(r.0));
                        let right = match stated {
                            Some((_, stated)) if stated.is_nan() => value.is_nan(),
                            Some((_, stated)) => *value == *stated as f32,
                            None => value.is_finite(),
                        };
                        with_rule += usize::from(stated.is_some());
                        assert!(
                            right,
                            "{what}: {} of point {i} is {value}, flags {flags:#x}",
                            column.feature
                        );
                    }
                }
            }
        }
    }
    println!("{with_rule} values that a row's rules state");
    assert!(with_rule > 100_000);
}

#[test]
fn extras_come_once_or_with_each_neighbourhood() {
    let cloud = clouds::terrain(500);
    let set = FeatureSet::parse("planarity,density_2d,count_radius").unwrap();
    let rule = Neighborhood::optimal(6, 30, 1).unwrap();
    let (expected, _) = cpu_engine().features(&cloud.borrow(), &set, rule).unwrap();
    for (name, engine) in engines() {
        let (columns, _) = engine.features(&cloud.borrow(), &set, rule).unwrap();
        let pairs = |f| columns.get(f).unwrap().iter().zip(expected.get(f).unwrap());
        let far = |(a, b): &(&f32, &f32)| (**a - **b).abs() > 1e-4 * b.abs();
        let off = pairs(Feature::Density2d).filter(far).count();
        assert!(off * 100 <= cloud.len(), "{name}: {off} are off");
        let scales = [common::knn(5), common::knn(9)];
        let (both, _) =
            engine.features_at_scales(&cloud.borrow(), &set, &scales, &Default::default()).unwrap();
        let names: Vec<_> = both.iter().map(lidar_features::Column::name).collect();
        let five = ["planarity_k5", "density_2d_k5", "count_radius"];
        assert_eq!(names, [&five[..], &["planarity_k9", "density_2d_k9"]].concat(), "{name}");
        for scale in scales {
            let (alone, _) = engine.features(&cloud.borrow(), &set, scale).unwrap();
            let own = both.get_in(Feature::Density2d, scale).unwrap();
            let only = FeatureSet::new([Feature::Density2d]);
            let (only, _) = engine.features(&cloud.borrow(), &only, scale).unwrap();
            assert_eq!(only.get(Feature::Density2d).unwrap(), own, "{name}: {scale:?}");
            let expected = alone.get(Feature::Density2d).unwrap();
            assert!(own.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits()), "{name}: {scale:?}");
        }
    }
}
