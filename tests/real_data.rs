//! Real scans: columns survive the file to the bit, and the GPU finds what the CPU finds.
//!
//! `LIDAR_FEATURES_DATA=folder` says where the scans are. `LIDAR_FEATURES_FULL=1` compares all points of each scan (of
//! the largest its first million) instead of the first 100,000.
#![cfg(feature = "las")]

mod common;
mod files;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::clouds::{Cloud, Color};
use common::compare::{self, Outcome};
use common::gpu::gpu_engine;
use common::{cpu_engine, features, knn, oracle, tolerance};
use files::see;
use lidar_features::las::{LasCloud, ReadOptions, WriteOptions, read, read_with, write_with_columns};
use lidar_features::{ColorDepth, Columns, Feature, FeatureSet, SHARP, Tolerance, Unit, UnitSource};

/// The largest scan, which is for speed.
const LARGEST: &str = "autzen_xyz_10.65M.laz";
const K: usize = 16;

/// The scans, or nothing where the folder is not there.
fn scans() -> Vec<PathBuf> {
    let folder = std::env::var_os("LIDAR_FEATURES_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: no data folder");
        return Vec::new();
    };
    let is_scan = |p: &PathBuf| p.extension().is_some_and(|e| e == "las" || e == "laz");
    let mut scans: Vec<_> = entries.map(|e| e.unwrap().path()).filter(is_scan).collect();
    assert!(!scans.is_empty(), "{} holds no scan", folder.display());
    scans.sort();
    scans
}

fn name(scan: &Path) -> String {
    scan.file_name().unwrap().to_string_lossy().into_owned()
}

/// What the first points of a scan are, on their lattice.
fn cloud(scan: &Path) -> Cloud {
    let full = std::env::var_os("LIDAR_FEATURES_FULL").is_some_and(|v| v == "1");
    let most = match (full, name(scan) == LARGEST) {
        (false, _) => 100_000,
        (true, true) => 1_000_000,
        (true, false) => u64::MAX,
    };
    let file = read_with(scan, &ReadOptions::default().limit(most)).unwrap();
    let (points, frame) = file.lattice().unwrap();
    let mut cloud = Cloud::new(name(scan), points.to_vec());
    cloud.quantum = frame.quantum();
    if let (Some(rgb), Some(nir)) = (lit(&file, true), &file.nir) {
        cloud.color = Some(Color { rgb, nir: nir.clone(), intensity: file.intensity.clone() });
    }
    cloud
}

/// The colours, unless the sensor recorded none and the file holds zeros.
fn lit(file: &LasCloud, with_nir: bool) -> Option<[Vec<u16>; 3]> {
    let some = |channel: &[u16]| channel.iter().any(|&v| v > 0);
    let nir = file.nir.as_deref().is_some_and(some);
    file.rgb.clone().filter(|rgb| rgb.iter().any(|c| some(c)) && (nir || !with_nir))
}

#[test]
fn columns_survive_the_file_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let scans: Vec<_> = scans().into_iter().filter(|scan| name(scan) != LARGEST).collect();
    for scan in &scans {
        let before = std::fs::read(scan).unwrap();
        let file = read(scan).unwrap();
        let mut set =
            FeatureSet::parse("normals,eigenvalue_sum,planarity,knn_distance,neighbor_count").unwrap();
        if lit(&file, false).is_some() {
            set.insert(Feature::ExcessGreen);
        }
        if lit(&file, true).is_some() {
            set.insert(Feature::Ndvi);
        }
        let (columns, report) = cpu_engine().features(&file.cloud(), &set, knn(K)).unwrap();
        let output = folder.path().join("out.laz");
        let summary = write_with_columns(scan, &output, &columns, &WriteOptions::default()).unwrap();
        assert_eq!(summary.points as usize, file.len());
        assert!(std::fs::read(scan).unwrap() == before, "{} was changed", name(scan));

        let (from, to) = (see(scan), see(&output));
        assert_eq!(from.plain_vlrs(), to.plain_vlrs());
        assert_eq!(from.header.transforms(), to.header.transforms());
        // New columns may stand between the input's own dimensions.
        let own = from.dimensions();
        let base = own.first().map_or(from.length, |d| d.2.start);
        let moved = own.iter().map(|d| {
            let there = to.dimensions().into_iter().find(|t| t.0 == d.0).unwrap();
            (d.2.clone(), there.2)
        });
        let ranges: Vec<_> = std::iter::once((0..base, 0..base)).chain(moved).collect();
        let same =
            |i: usize| ranges.iter().all(|(a, b)| from.record(i)[a.clone()] == to.record(i)[b.clone()]);
        assert_eq!((0..from.len()).find(|&i| !same(i)), None, "{}: a record was changed", name(scan));
        let (lattice, frame) = file.lattice().unwrap();
        assert_eq!(frame.quantum(), from.header.transforms().x.scale);
        let raw =
            |i: usize, a: usize| i32::from_le_bytes(from.record(i)[4 * a..4 * a + 4].try_into().unwrap());
        let off = (0..from.len()).find(|&i| lattice[i] != [raw(i, 0), raw(i, 1), raw(i, 2)]);
        assert_eq!(off, None, "{}: a coordinate was changed", name(scan));
        for column in &columns {
            let las_name = column.feature.row().las_name();
            let read: Vec<u32> = match column.feature {
                Feature::NeighborCount => {
                    to.u16s(&las_name).into_iter().map(|n| f32::from(n).to_bits()).collect()
                }
                _ => to.f32s(&las_name).into_iter().map(f32::to_bits).collect(),
            };
            assert!(column.values.iter().map(|v| v.to_bits()).eq(read), "{}: {las_name}", name(scan));
        }
        println!("{}: {} points, {} columns, {:.2} s", name(scan), file.len(), set.len(), report.seconds);
    }
}

#[test]
fn the_gpu_finds_what_the_cpu_finds() {
    let Some(gpu) = gpu_engine() else { return };
    let mut all = Outcome::default();
    for scan in scans() {
        let cloud = cloud(&scan);
        let (found, _) = cpu_engine().neighbors(&cloud.borrow(), knn(K)).unwrap();
        let (neighbors, report) = gpu.neighbors(&cloud.borrow(), knn(K)).unwrap();
        // Millions of equal lists are compared as they are; the comparator is asked to name what differs.
        let lists = compare::lists(&found);
        if neighbors != found {
            compare::assert_neighbors(&neighbors, &lists, K, &cloud.name);
            panic!("{}: the lists are equal, the results are not", cloud.name);
        }

        let set = features(&cloud);
        let (expected, _) = cpu_engine().features(&cloud.borrow(), &set, knn(K)).unwrap();
        let (actual, _) = gpu.features(&cloud.borrow(), &set, knn(K)).unwrap();
        assert_eq!(actual.flags(), expected.flags(), "flags of {}", cloud.name);
        let locals = oracle::locals(&cloud, &lists, K);
        let value = |feature: Feature, i: usize| Some(f64::from(expected.get(feature)?[i]));
        let outcome = compare::columns(&compare::table(&actual), value, &locals, tolerance::of_catalogue);
        outcome.assert_clean(&cloud.name);
        println!(
            "{}: {} points, {} stragglers, {} values",
            cloud.name,
            cloud.len(),
            report.stragglers,
            outcome.compared
        );
        all.absorb(outcome);
    }
    println!("{all}");
}

/// Values that differ by more than their row allows, and the largest difference of those that do not.
#[derive(Default)]
struct Differences {
    worst: f64,
    off: usize,
    compared: usize,
    left_out: usize,
}

/// What a value of the CPU may be off by, from the CPU's own columns; `None` where it is not compared.
fn allowed(feature: Feature, expected: &Columns, i: usize) -> Option<f64> {
    let of = |f: Feature| f64::from(expected.get(f).unwrap()[i]);
    let value = of(feature);
    let (gap12, gap23) = (of(Feature::Linearity), of(Feature::Planarity));
    let sharp = |axis: u8| match axis {
        1 => gap12 > SHARP,
        2 => gap12.min(gap23) > SHARP,
        _ => gap23 > SHARP,
    };
    let r = of(Feature::KnnDistance);
    let within = match feature.row().tolerance {
        Tolerance::Exact => Some(0.0),
        Tolerance::Relative(t) => Some(t * value.abs()),
        Tolerance::Absolute(t) => Some(t),
        Tolerance::WhereSharp(t) | Tolerance::OfNormals(t) => sharp(3).then_some(t),
        Tolerance::WhereAxisSharp(axis, t) => sharp(axis).then_some(t),
        Tolerance::OfPlane(t) => {
            let all = of(Feature::Roughness) / value;
            // At the threshold below which distances count as none, either side may win.
            let noise = r / 65536.0;
            let open = value == 0.0 || (all > 0.5 * noise && all < 2.0 * noise);
            (gap23 > 4.0 * SHARP && !open).then_some((t * r / all).min(1.0))
        }
        Tolerance::Curvature(power, t) => {
            let l = [Feature::Eigenvalue1, Feature::Eigenvalue2, Feature::Eigenvalue3].map(of);
            let s = l[2].sqrt().max(1e-3 * r);
            let scale = if power == 1 { s / l[1] } else { s * s / (l[0] * l[1]) };
            sharp(3).then_some(t * (value + scale))
        }
        other => panic!("{feature}: {other:?} is for tests/common/tolerance.rs"),
    };
    within.map(|t| t + value.abs() * f64::from(f32::EPSILON))
}

/// Features that the comparison above leaves out: of every member, of other neighbourhoods, of heights.
#[test]
fn the_rest_of_the_catalogue_agrees() {
    let Some(gpu) = gpu_engine() else { return };
    let full = std::env::var_os("LIDAR_FEATURES_FULL").is_some_and(|v| v == "1");
    let mut all: BTreeMap<Feature, Differences> = BTreeMap::new();
    for scan in scans() {
        let most = match (full, name(&scan) == LARGEST) {
            (false, _) => 10_000,
            (true, true) => 500_000,
            (true, false) => u64::MAX,
        };
        let file = read_with(&scan, &ReadOptions::default().limit(most)).unwrap();
        let (set, left_out) = FeatureSet::full().available(&file.cloud());
        let (expected, _) = cpu_engine().features(&file.cloud(), &set, knn(K)).unwrap();
        let (actual, report) = gpu.features(&file.cloud(), &set, knn(K)).unwrap();
        assert_eq!(report.backend, "gpu");
        assert!(actual.flags() == expected.flags(), "flags of {}", name(&scan));
        let sums = FeatureSet::geometric();
        // The optimal number may be another where two neighbourhoods' entropies are nearly the same.
        let same_k = |i: usize| {
            let k = |columns: &Columns| columns.get(Feature::OptimalK).unwrap()[i];
            k(&actual) == k(&expected)
        };
        for column in actual.iter().filter(|c| sums.iter().all(|f| f != c.feature)) {
            let entry = all.entry(column.feature).or_default();
            let truth = expected.get(column.feature).unwrap();
            let own = matches!(column.feature, Feature::OptimalK | Feature::OptimalRadius);
            for (i, (&value, &truth)) in column.values.iter().zip(truth).enumerate() {
                if truth.is_nan() && value.is_nan() {
                    continue;
                }
                let Some(allowed) = allowed(column.feature, &expected, i).filter(|_| !own || same_k(i))
                else {
                    entry.left_out += 1;
                    continue;
                };
                let difference = (f64::from(value) - f64::from(truth)).abs();
                entry.compared += 1;
                if difference <= allowed {
                    entry.worst = entry.worst.max(difference);
                } else {
                    entry.off += 1;
                }
            }
        }
        let (n, k) = (file.len(), (0..file.len()).filter(|i| !same_k(*i)).count());
        let (stragglers, names) = (report.stragglers, left_out.len());
        println!(
            "{}: {n} points, {stragglers} stragglers, optimal_k differs at {k}; {names} features left out",
            name(&scan)
        );
    }
    for (feature, d) in &all {
        let Differences { worst, off, compared, left_out } = d;
        println!(
            "  {feature:26} largest difference {worst:9.2e} of {compared}, {off} off, {left_out} left out"
        );
        // Members whose own normals are not sharp show in the variation of normals.
        let few = if matches!(feature.row().tolerance, Tolerance::OfNormals(_)) { compared / 100 } else { 0 };
        assert!(*off <= few, "{feature}: {off} of {compared} values are off");
        assert!(left_out * 4 <= *compared + 40_000, "{feature}: {left_out} left out, {compared} compared");
    }
    assert!(all.is_empty() || all.len() > 50, "{}", all.len());
}

#[test]
fn units_and_colours_are_recognised() {
    use ColorDepth::{Bits8, Bits8Times256, Bits16};
    // None where the file has no such channel or left it dark; what unit it states.
    let known = [
        ("ign_876000_6617000.laz", [Some(Bits8Times256); 2], UnitSource::Crs),
        ("ign_test_77050_627755.laz", [None; 2], UnitSource::Crs),
        ("las_with_several_extra_byte_bloc.laz", [Some(Bits16), Some(Bits8Times256)], UnitSource::Crs),
        ("ign_semis_2023_0292_6833.laz", [None; 2], UnitSource::Crs),
        // In feet, which the file does not say.
        ("autzen_crop_south_rgb.laz", [Some(Bits8), None], UnitSource::Assumed),
        ("laspy_plane.laz", [None; 2], UnitSource::Crs),
        ("pdal_lone-star.laz", [None; 2], UnitSource::Assumed),
    ];
    let scans = scans();
    for (file, color, source) in known {
        let Some(scan) = scans.iter().find(|scan| name(scan) == file) else { continue };
        let cloud = read(scan).unwrap();
        let (set, _) = FeatureSet::parse("rgb,nir").unwrap().available(&cloud.cloud());
        let (_, report) = cpu_engine().features(&cloud.cloud(), &set, knn(1)).unwrap();
        println!("{file}: {:?} in {} ({})", report.color, report.unit, report.unit_source);
        assert_eq!((report.color, report.unit, report.unit_source), (color, Unit::Metre, source), "{file}");
        let feet = cpu_engine().features(&cloud.cloud().with_unit(Unit::Foot), &set, knn(1)).unwrap().1;
        assert_eq!((feet.unit, feet.unit_source), (Unit::Foot, UnitSource::Caller));
    }
}
