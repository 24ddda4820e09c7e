//! Tiles of a survey: each one's columns are those of all tiles taken as one cloud, bit for bit.
#![cfg(feature = "las")]

mod common;
mod files;

use std::path::{Path, PathBuf};

use common::gpu::gpu_engine;
use common::requests::{Request, assert_same_bits, radius, request, requests};
use common::{cpu_engine, knn};
use files::Random;
use files::survey::{OFFSET, SCALE, Survey};
use lidar_features::las::PointChoices;
use lidar_features::tiles::Tiles;
use lidar_features::{Engine, Error, FeatureSet, Options};

/// Tiles with names in random order; the survey in the order of these names, and where each tile begins in it.
fn cut(
    survey: &Survey,
    side: i32,
    seed: u64,
    folder: &Path,
    ending: &str,
) -> (Survey, Vec<(PathBuf, Vec<usize>)>) {
    let mut tiles = survey.tiles(side);
    let mut random = Random(seed);
    for i in (1..tiles.len()).rev() {
        tiles.swap(i, random.below(i as u64 + 1) as usize);
    }
    let mut order = Vec::new();
    let mut files = Vec::new();
    for (i, tile) in tiles.iter().enumerate() {
        let path = folder.join(format!("tile_{i:02}.{ending}"));
        survey.pick(tile).write(&path);
        files.push((path, (order.len()..order.len() + tile.len()).collect()));
        order.extend(tile);
    }
    (survey.pick(&order), files)
}

fn compare(engine: &Engine, survey: &Survey, requests: &[Request], ignoring: bool, seed: u64) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let (whole, files) = cut(survey, 3, seed, folder.path(), "las");
    let mut choices = PointChoices::default();
    if ignoring {
        choices = choices.ignore_classes([18]).skip_withheld(true);
    }
    let whole = if ignoring { whole.ignoring() } else { whole };
    let tiles = Tiles::open(files.iter().map(|f| &f.0), choices).unwrap();
    let mut compared = 0;
    for request in requests {
        let expected = request.whole(engine, &whole.cloud());
        for (path, rows) in &files {
            let tile = tiles.read(path).unwrap();
            let (columns, report) =
                tile.features(engine, &request.set, &request.neighborhoods, &request.options).unwrap();
            assert_eq!(report.points, rows.len());
            let what = format!("{:?} of {}", request.set.iter().next(), path.display());
            assert_same_bits(&columns, &expected, rows, &what);
            compared += 1;
        }
    }
    compared
}

#[test]
fn every_tile_has_the_columns_of_the_whole() {
    let survey = Survey::village(2500, 3);
    let requests = requests();
    assert_eq!(compare(&cpu_engine(), &survey, &requests, false, 5), 9 * requests.len());
    assert_eq!(compare(&cpu_engine(), &survey, &requests, true, 6), 9 * requests.len());
}

#[test]
fn a_gpu_gives_each_tile_its_columns_of_the_whole() {
    let Some(engine) = gpu_engine() else { return };
    let survey = Survey::village(1200, 4);
    let requests = [
        request("planarity,normals,height_above_ground,count_radius,bin_count", &[knn(10)]),
        request("lof,mean_curvature", &[knn(6)]),
        request("planarity,neighbor_count", &[knn(8), radius(1.0)]),
    ];
    assert_eq!(compare(&engine, &survey, &requests, false, 7), 27);
}

/// Points of real scans, as if a quantum were a centimetre: 8,000 around the middle of each.
#[test]
fn tiles_of_real_scans_have_the_columns_of_the_whole() {
    let folder = std::env::var_os("LIDAR_FEATURES_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    if !folder.is_dir() {
        println!("skipped: no data folder");
        return;
    }
    let requests = [request("planarity,lof,height_above_ground,ground_distance", &[knn(12)])];
    for name in
        ["ign_876000_6617000.laz", "pdal_lone-star.laz", "autzen_crop_south_rgb.laz", "laspy_plane.laz"]
    {
        let file = lidar_features::las::read(folder.join(name)).unwrap();
        let points = file.lattice().unwrap().0;
        let middle = points[points.len() / 2];
        let far = |p: &[i32; 3]| (0..2).map(|a| i64::from(p[a].abs_diff(middle[a]))).max().unwrap();
        let mut distances: Vec<i64> = points.iter().map(far).collect();
        distances.sort_unstable();
        let most = distances[8000.min(points.len()) - 1];
        let mut survey = Survey::default();
        for (i, p) in points.iter().enumerate().filter(|(_, p)| far(p) <= most) {
            // Where nothing is classified, some of it stands for the ground.
            let class = if file.classification[i] == 2 || i % 5 == 0 { 2 } else { 1 };
            survey.push(std::array::from_fn(|a| p[a] - middle[a]), class);
        }
        assert_eq!(compare(&cpu_engine(), &survey, &requests, false, 11), 9, "{name}");
    }
}

/// The survey's tiles as one cloud, against each tile.
#[track_caller]
fn same(files: &[(PathBuf, Survey)], request: &Request) {
    let mut whole = Survey::default();
    let mut rows = Vec::new();
    for (_, tile) in files {
        let start = whole.len();
        (0..tile.len()).for_each(|i| whole.push(tile.points[i], tile.classes[i]));
        rows.push((start..whole.len()).collect::<Vec<_>>());
    }
    let engine = cpu_engine();
    let expected = request.whole(&engine, &whole.cloud());
    let tiles = Tiles::open(files.iter().map(|f| &f.0), PointChoices::default()).unwrap();
    for ((path, _), rows) in files.iter().zip(rows) {
        let tile = tiles.read(path).unwrap();
        let (columns, _) =
            tile.features(&engine, &request.set, &request.neighborhoods, &request.options).unwrap();
        assert_same_bits(&columns, &expected, &rows, &path.display().to_string());
    }
}

/// Places and classes.
type Points = Vec<([i32; 3], u8)>;

/// Writes tiles of these points.
fn write(folder: &Path, tiles: &[(&str, Points)]) -> Vec<(PathBuf, Survey)> {
    let each = |(name, points): &(&str, Points)| {
        let mut survey = Survey::default();
        points.iter().for_each(|(p, class)| survey.push(*p, *class));
        (survey.write(&folder.join(name)), survey)
    };
    tiles.iter().map(each).collect()
}

#[test]
fn ties_and_duplicates_on_a_border_break_as_in_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    // A grid of equal distances; both tiles have all points of the border, some of them many times.
    let grid = |from: i32, to: i32| {
        let points = (from..=to).flat_map(|x| (0..12).map(move |y| [x * 10, y * 10, 0]));
        points.flat_map(|p| std::iter::repeat_n((p, 1), if p[0] == 100 { 9 } else { 1 })).collect::<Vec<_>>()
    };
    for (first, second) in [("a.las", "b.las"), ("z.las", "b.las")] {
        let mut files = write(folder.path(), &[(first, grid(0, 10)), (second, grid(10, 20))]);
        files.sort_by(|a, b| a.0.cmp(&b.0));
        same(&files, &request("planarity,normals,lof,reciprocity,mean_distance", &[knn(6)]));
        same(&files, &request("neighbor_count,vertical_std,extent_x", &[radius(0.1), radius(0.2)]));
        files.iter().for_each(|f| std::fs::remove_file(&f.0).unwrap());
    }
}

#[test]
fn margins_grow_until_they_reach() {
    let folder = tempfile::tempdir().unwrap();
    let patch = |x: i32, y: i32, class: u8| {
        (0..400).map(move |i| ([x + i % 20 * 25, y + i / 20 * 25, i % 7], class)).collect::<Vec<_>>()
    };
    // Ground in one tile alone, 300 m away; birds that have no neighbour near; a tile of three points, and an empty one.
    let mut birds = patch(40_000, 0, 1);
    birds.extend([([40_250, 250, 30_000], 1), ([43_000, 9000, 29_000], 1), ([60_000, 70_000, 5], 1)]);
    let few = vec![([20_000, 100, 0], 1), ([20_003, 104, 0], 1), ([20_009, 107, 9], 1)];
    let files = write(
        folder.path(),
        &[("a.las", patch(0, 0, 2)), ("b.las", birds), ("c.las", few), ("d.las", Vec::new())],
    );
    same(
        &files,
        &request("planarity,knn_distance,mean_distance,lof,height_above_ground,ground_distance", &[knn(25)]),
    );
    same(&files, &request("height_above_min,relative_height,height_above_ground,optimal_k", &[knn(3)]));
    // More neighbours than the whole has.
    same(&files, &request("neighbor_count,knn_distance", &[knn(900)]));
}

#[test]
fn tiles_of_other_scales_and_offsets_share_a_lattice() {
    let folder = tempfile::tempdir().unwrap();
    let survey = Survey::village(900, 8);
    let parts = survey.tiles(2);
    let kinds = [
        ([0.01; 3], OFFSET),
        ([0.01; 3], [650_000.0, 6_860_000.5, -20.0]),
        ([0.001; 3], [OFFSET[0], OFFSET[1] + 0.25, 0.0]),
        ([0.01, 0.005, 0.01], [OFFSET[0] + 0.02, OFFSET[1], 0.0]),
    ];
    let mut order = Vec::new();
    let mut files = Vec::new();
    for (i, (part, (scale, offset))) in parts.iter().zip(kinds).enumerate() {
        files.push(survey.pick(part).write_as(&folder.path().join(format!("{i}.laz")), scale, offset));
        order.extend(part);
    }
    let tiles = Tiles::open(&files, PointChoices::default()).unwrap();
    assert_eq!((tiles.frame().quantum(), tiles.frame().origin()[2]), (0.001, tiles.frame().origin()[2]));
    // The whole on the tiles' lattice, of which a quantum is a tenth of the survey's.
    let mut whole = survey.pick(&order);
    let origin = tiles.frame().origin();
    for p in &mut whole.points {
        *p = std::array::from_fn(|a| ((OFFSET[a] - origin[a]) / 0.001).round() as i32 + p[a] * 10);
    }
    let cloud = lidar_features::PointCloud::from_lattice(&whole.points, tiles.frame());
    let set = FeatureSet::parse("planarity,normals,bin_count,mean_distance").unwrap();
    let engine = cpu_engine();
    let expected = engine.features(&cloud, &set, knn(9)).unwrap().0;
    let mut start = 0;
    for (file, part) in files.iter().zip(&parts) {
        let columns =
            tiles.read(file).unwrap().features(&engine, &set, &[knn(9)], &Options::default()).unwrap().0;
        let rows: Vec<usize> = (start..start + part.len()).collect();
        start += part.len();
        assert_same_bits(&columns, &expected, &rows, &file.display().to_string());
    }
}

#[test]
fn tiles_that_do_not_go_together_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut survey = Survey::default();
    survey.push([0, 0, 0], 1);
    let good = survey.write(&path("a.las"));
    let third = survey.write(&path("b.las"));
    let mut bytes = std::fs::read(&third).unwrap();
    bytes[155..163].copy_from_slice(&(OFFSET[0] + SCALE * std::f64::consts::FRAC_1_SQRT_2).to_le_bytes());
    std::fs::write(&third, bytes).unwrap();
    let error = Tiles::open([&good, &third], PointChoices::default()).unwrap_err();
    let Error::TilesDiffer { files, .. } = &error else { panic!("{error}") };
    assert!(files[0].ends_with("a.las") && files[1].ends_with("b.las"), "{error}");
    let tiles = Tiles::open([&good], PointChoices::default()).unwrap();
    let error = tiles.read(&third).unwrap_err();
    assert!(error.to_string().ends_with("b.las: not one of the tiles"), "{error}");

    // A header that lies about where its points are.
    let mut bytes = std::fs::read(&good).unwrap();
    bytes[179..187].copy_from_slice(&(OFFSET[0] - 70.0).to_le_bytes());
    bytes[187..195].copy_from_slice(&(OFFSET[0] - 90.0).to_le_bytes());
    std::fs::write(path("c.las"), &bytes).unwrap();
    let tiles = Tiles::open([path("c.las")], PointChoices::default()).unwrap();
    let error = tiles.read(path("c.las")).unwrap_err();
    assert!(error.to_string().contains("outside the header's bounds"), "{error}");
    bytes[187..195].copy_from_slice(&f64::NAN.to_le_bytes());
    std::fs::write(path("c.las"), &bytes).unwrap();
    assert!(matches!(Tiles::open([path("c.las")], PointChoices::default()), Err(Error::Las { .. })));
}

#[test]
fn a_file_named_twice_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let survey = Survey::village(300, 9);
    let file = survey.write(&folder.path().join("a.las"));
    let again = folder.path().join(".").join("a.las");
    let tiles = Tiles::open([&file, &again, &file], PointChoices::default()).unwrap();
    assert_eq!(tiles.paths().len(), 1);
    assert_eq!(tiles.read(&again).unwrap().len(), survey.len());
}

#[cfg(feature = "cli")]
mod command {
    use std::collections::BTreeMap;
    use std::process::{Command, Output};
    use std::time::{Duration, Instant};

    use super::*;
    use files::see;

    const REQUEST: [&str; 6] =
        ["--backend", "cpu", "--features", "planarity,bin_count,relative_height", "--knn", "8"];

    fn command(args: &[&Path]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lidar-features"));
        command.args(args).args(REQUEST);
        command
    }

    fn folder_command(input: &Path, output: &Path) -> Command {
        command(&[Path::new("compute-dir"), input, output])
    }

    #[track_caller]
    fn succeeds(output: &Output) -> String {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout.clone()).unwrap()
    }

    /// Every file in a folder that is no record.
    fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap());
        let named = entries.map(|e| (e.file_name().into_string().unwrap(), e.path()));
        named
            .map(|(name, path)| {
                let bytes = if name.starts_with('.') { Vec::new() } else { std::fs::read(path).unwrap() };
                (name, bytes)
            })
            .collect()
    }

    #[test]
    fn a_tile_with_neighbors_and_a_folder_of_tiles_have_the_columns_of_the_merged_file() {
        let folder = tempfile::tempdir().unwrap();
        let (input, output) = (folder.path().join("in"), folder.path().join("out"));
        std::fs::create_dir(&input).unwrap();
        let (whole, files) = cut(&Survey::village(1500, 12), 3, 1, &input, "laz");
        let merged = whole.write(&folder.path().join("merged.las"));
        let target = folder.path().join("target.las");
        succeeds(&command(&[Path::new("compute"), &merged, &target]).output().unwrap());
        let expected = see(&target);
        succeeds(&folder_command(&input, &output).output().unwrap());
        for (path, rows) in &files {
            let one = folder.path().join("one.laz");
            let mut alone = command(&[Path::new("compute"), path, &one]);
            succeeds(&alone.arg("--neighbors").arg(&input).output().unwrap());
            let of_folder = output.join(path.file_name().unwrap());
            assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&of_folder).unwrap());
            let (a, mut kinds) = (see(&one), 0);
            for (found, wanted) in a.dimensions().into_iter().zip(expected.dimensions()) {
                assert_eq!((&found.0, found.1), (&wanted.0, wanted.1));
                for (i, &row) in rows.iter().enumerate() {
                    assert_eq!(
                        a.record(i)[found.2.clone()],
                        expected.record(row)[wanted.2.clone()],
                        "{}",
                        found.0
                    );
                }
                kinds += 1;
            }
            assert_eq!(kinds, 3);
        }
    }

    #[test]
    fn a_folder_is_done_once_for_a_request_and_failures_stay_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (input, output) = (folder.path().join("in"), folder.path().join("out"));
        std::fs::create_dir(&input).unwrap();
        let (_, files) = cut(&Survey::village(600, 13), 2, 2, &input, "las");
        let lines = |done: &Output, text: &str| {
            String::from_utf8_lossy(&done.stdout).lines().filter(|l| l.contains(text)).count()
        };
        let first = folder_command(&input, &output).output().unwrap();
        succeeds(&first);
        assert_eq!(lines(&first, "3 dimensions added"), 4);
        let names: Vec<_> = contents(&output).into_keys().collect();
        assert_eq!(names.len(), 9, "four tiles, a record of each, and the lock: {names:?}");
        let again = folder_command(&input, &output).output().unwrap();
        assert_eq!((again.status.success(), lines(&again, "finished before")), (true, 4));
        // Another request, a lost output, and a tile that has changed are not taken for finished.
        let other = folder_command(&input, &output).arg("--flags").output().unwrap();
        assert_eq!((other.status.success(), lines(&other, "4 dimensions added")), (true, 4));
        std::fs::remove_file(output.join(files[1].0.file_name().unwrap())).unwrap();
        let lost = folder_command(&input, &output).arg("--flags").output().unwrap();
        assert_eq!((lines(&lost, "finished before"), lines(&lost, "dimensions added")), (3, 1));

        std::fs::write(input.join("wrong.las"), b"LASF but no more").unwrap();
        std::fs::write(output.join(".tile_00.las.77-0.part"), b"left by a killed run").unwrap();
        let failing = folder_command(&input, &output).output().unwrap();
        assert_eq!((failing.status.code(), lines(&failing, "dimensions added")), (Some(1), 4));
        let error = String::from_utf8(failing.stderr).unwrap();
        assert!(error.contains("1 of 5 tiles failed: wrong.las (") && error.lines().count() == 1, "{error}");
        assert!(contents(&output).keys().all(|name| !name.ends_with(".part") && !name.contains("wrong")));

        let into_itself = folder_command(&input, &input.join(".")).output().unwrap();
        assert_eq!(into_itself.status.code(), Some(2));
        let held = std::fs::File::open(output.join(".lidar-features.lock")).unwrap();
        held.lock().unwrap();
        let second = folder_command(&input, &output).output().unwrap();
        assert!(String::from_utf8_lossy(&second.stderr).contains("another run works in this folder"));
    }

    #[test]
    fn a_run_that_is_killed_again_and_again_ends_with_the_same_files() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("in");
        std::fs::create_dir(&input).unwrap();
        cut(&Survey::village(3000, 14), 3, 3, &input, "laz");
        let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
        let start = Instant::now();
        succeeds(&folder_command(&input, &whole).output().unwrap());
        let most = start.elapsed().as_micros() as u64;
        let (mut random, mut stopped, mut parts) = (Random(99), 0, 0);
        for _ in 0..20 {
            let mut child = folder_command(&input, &killed)
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_micros(random.below(most / 4)));
            stopped += usize::from(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
            if killed.is_dir() {
                parts += contents(&killed).keys().filter(|name| name.ends_with(".part")).count();
            }
        }
        println!("{stopped} of 20 runs were killed, {parts} unfinished files were left");
        assert!(stopped > 0);
        succeeds(&folder_command(&input, &killed).output().unwrap());
        assert_eq!(contents(&killed), contents(&whole));
    }
}
