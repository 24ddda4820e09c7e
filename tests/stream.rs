//! Streams: the columns of a cloud in bounded memory are those in memory, bit for bit and in the same order.
#![cfg(feature = "las")]

mod common;
mod files;

use std::ops::ControlFlow;
use std::path::Path;

use common::gpu::gpu_engine;
use common::requests::{Request, assert_same_bits, radius, request, requests};
use common::{cpu_engine, knn};
use files::survey::Survey;
use lidar_features::las::{LasSink, LasSource, PointChoices, WriteOptions, read, write_with_columns};
use lidar_features::stream::{
    Batches, ColumnSink, PointSource, StreamOptions, StreamReport, in_memory_bytes,
};
use lidar_features::{
    CloudInfo, Columns, Engine, Error, Feature, FeatureSet, Ground, GroundMethod, Input, Neighborhood,
    Options, PointBatch, Result,
};

impl Survey {
    fn batches(&self, size: usize) -> Vec<PointBatch> {
        let rows: Vec<usize> = (0..self.len()).collect();
        rows.chunks(size).map(|rows| self.pick(rows).batch()).collect()
    }

    fn batch(self) -> PointBatch {
        let mut batch = PointBatch::default();
        batch.points = self.points;
        batch.rgb = Some(self.rgb);
        batch.nir = Some(self.nir);
        batch.intensity = Some(self.intensity);
        batch.classification = Some(self.classes);
        batch.ignored = Some(self.ignored);
        batch
    }
}

/// Rows as they leave.
#[derive(Default)]
struct Rows {
    batches: Vec<Columns>,
    whole_to: Vec<Option<f32>>,
    planned: usize,
}

impl ColumnSink for Rows {
    fn plan(&mut self, set: &FeatureSet, _: &[Neighborhood]) -> Result<()> {
        self.planned = set.len();
        Ok(())
    }

    fn begin(&mut self, columns: &[lidar_features::stream::ColumnShape], _: u64) -> Result<()> {
        self.whole_to = columns.iter().map(|c| c.whole_to).collect();
        Ok(())
    }

    fn batch(&mut self, columns: &Columns) -> Result<()> {
        self.batches.push(columns.clone());
        Ok(())
    }
}

fn stream(
    engine: &Engine,
    source: &mut dyn PointSource,
    request: &Request,
    how: &StreamOptions<'_>,
) -> Result<(Rows, StreamReport)> {
    let mut rows = Rows::default();
    let Request { set, neighborhoods, options } = request;
    let done = engine.stream(source, &mut rows, set, neighborhoods, options, how)?;
    Ok((rows, done))
}

/// A budget in which all points just fit: some of them, far from all others, need them all. A part has a third of that.
fn tight(points: usize, request: &Request) -> u64 {
    let Request { set, neighborhoods, options } = request;
    // Ground points are counted once more.
    let times = if set.iter().any(|f| f.row().inputs.contains(&Input::Ground)) { 7 } else { 5 };
    (in_memory_bytes(points as u64, set, neighborhoods, options) * times / 4).max(1 << 20)
}

fn source(survey: &Survey, size: usize) -> Batches<std::vec::IntoIter<PointBatch>> {
    Batches::new(CloudInfo::new(survey.frame()), survey.batches(size))
}

#[track_caller]
fn compare(engine: &Engine, survey: &Survey, request: &Request) -> u64 {
    let budget = tight(survey.len(), request);
    let folder = tempfile::tempdir().unwrap();
    let how = StreamOptions::default().memory_budget(budget).temp_dir(folder.path());
    let (rows, done) = stream(engine, &mut source(survey, 700), request, &how).unwrap();
    let whole = request.whole(engine, &survey.cloud());
    let mut first = 0;
    let what = format!("{:?}, {} parts", request.set.iter().next(), done.parts);
    for columns in &rows.batches {
        let at: Vec<usize> = (first..first + columns.len()).collect();
        assert_same_bits(columns, &whole, &at, &what);
        first += columns.len();
    }
    assert_eq!((first, done.report.points, rows.planned), (survey.len(), survey.len(), request.set.len()));
    assert_eq!(done.report.left_out, survey.ignored.iter().filter(|i| **i).count());
    for (column, whole_to) in whole.iter().zip(&rows.whole_to) {
        let whole = column.values.iter().all(|v| *v >= 0.0 && v.fract() == 0.0);
        let largest = column.values.iter().copied().fold(0.0, f32::max);
        assert_eq!(*whole_to, whole.then_some(largest), "{}", column.name());
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    done.parts
}

#[test]
fn streams_have_the_columns_of_the_cloud_in_memory() {
    let survey = Survey::village(3000, 21);
    let ignoring = survey.clone().ignoring();
    let mut parts = 0;
    for request in &requests() {
        parts += compare(&cpu_engine(), &survey, request);
        parts += compare(&cpu_engine(), &ignoring, request);
    }
    println!("{parts} parts");
    assert!(parts >= 3 * requests().len() as u64, "{parts}");
}

#[test]
fn a_gpu_streams_as_it_computes_in_memory() {
    let Some(engine) = gpu_engine() else { return };
    let survey = Survey::village(1500, 22).ignoring();
    let first = request("planarity,normals,height_above_ground,ndvi,bin_count", &[knn(10)]);
    let second = request("lof,neighbor_count", &[knn(6), radius(0.8)]);
    assert!(compare(&engine, &survey, &first) > 1);
    assert!(compare(&engine, &survey, &second) > 1);
}

#[test]
fn odd_clouds_stream() {
    let engine = cpu_engine();
    let planar = request("planarity,neighbor_count,height_above_min", &[knn(5)]);
    // Nothing, one point, duplicates alone, all ignored, and birds far away from everything.
    let mut survey = Survey::default();
    assert_eq!(compare(&engine, &survey, &planar), 0);
    survey.push([5, 5, 5], 2);
    assert_eq!(compare(&engine, &survey, &planar), 1);
    (0..500).for_each(|_| survey.push([5, 5, 5], 2));
    assert_eq!(compare(&engine, &survey, &planar), 1);
    survey.ignored.fill(true);
    assert_eq!(compare(&engine, &survey, &planar), 1);
    // Ground in one corner alone: what is far from it asks for more than its surroundings.
    let mut corner = Survey::village(4000, 29);
    let least = corner.points.iter().map(|p| p[0] + p[1]).min().unwrap();
    for (class, p) in corner.classes.iter_mut().zip(&corner.points) {
        *class = if p[0] + p[1] < least + 150 { 2 } else { 1 };
    }
    assert!((1..200).contains(&corner.classes.iter().filter(|c| **c == 2).count()));
    let plane = GroundMethod::Plane { k: std::num::NonZeroU32::new(5).unwrap() };
    let heights = request("height_above_ground,ground_distance", &[knn(4)])
        .with(Options::default().ground(Ground::default().method(plane)));
    assert!(compare(&engine, &corner, &heights) > 1);
    let mut birds = Survey::village(3000, 23);
    birds.push([900_000, -70_000, 90_000], 18);
    birds.push([-1_000_000, 9_000_000, -500], 2);
    let wide = request("planarity,knn_distance,ground_distance,relative_height", &[knn(8)]);
    assert!(compare(&engine, &birds, &wide) > 1);
}

#[test]
fn files_stream_to_the_files_that_memory_gives() {
    let folder = tempfile::tempdir().unwrap();
    let survey = Survey::village(4000, 24);
    let engine = cpu_engine();
    let request = request("planarity,neighbor_count,count_radius,ndvi,bin_count", &[knn(9), radius(0.7)]);
    for (ending, scale) in [("laz", [0.01; 3]), ("las", [0.01, 0.01, 0.001])] {
        let input =
            survey.write_as(&folder.path().join(format!("in.{ending}")), scale, files::survey::OFFSET);
        let (memory, streamed) = (folder.path().join("memory.laz"), folder.path().join("streamed.laz"));
        let file = read(&input).unwrap();
        let columns = request.whole(&engine, &file.cloud());
        let write = WriteOptions::default().flags(true);
        let expected = write_with_columns(&input, &memory, &columns, &write).unwrap();
        let mut source = LasSource::open(&input, PointChoices::default()).unwrap();
        assert_eq!(source.info().frame(), file.lattice().unwrap().1);
        let mut sink = LasSink::new(&input, &streamed, write);
        let how = StreamOptions::default().memory_budget(tight(survey.len(), &request));
        let Request { set, neighborhoods, options } = &request;
        let done = engine.stream(&mut source, &mut sink, set, neighborhoods, options, &how).unwrap();
        assert_eq!(sink.finish().unwrap(), expected);
        assert!(done.parts > 3 && done.temp_bytes > 0);
        assert!(std::fs::read(&memory).unwrap() == std::fs::read(&streamed).unwrap(), "{ending}");
    }
}

/// A stream of a village that must fail.
#[track_caller]
fn fails(set: &str, how: &StreamOptions<'_>, mut batches: Vec<PointBatch>) -> Error {
    let frame = Survey::default().frame();
    let request = request(set, &[knn(6)]);
    let mut source = Batches::new(CloudInfo::new(frame), std::mem::take(&mut batches));
    match stream(&cpu_engine(), &mut source, &request, how) {
        Ok(_) => panic!("the stream of {set} did not fail"),
        Err(error) => error,
    }
}

#[test]
fn failures_are_typed_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let batches = || Survey::village(2000, 25).batches(300);
    let how = || StreamOptions::default().memory_budget(1 << 20).temp_dir(folder.path());
    let empty = || std::fs::read_dir(folder.path()).unwrap().count() == 0;

    let small = fails("planarity", &how().memory_budget(1000), batches());
    assert!(matches!(small, Error::BudgetTooSmall { budget: 1000, .. }), "{small}");
    // More points at one place than fit.
    let mut tower = Survey::default();
    (0..20_000).for_each(|z| tower.push([0, 0, z], 1));
    let tower = fails("planarity", &how(), tower.batches(9000));
    assert!(matches!(tower, Error::BudgetTooSmall { points: 20_000, .. }), "{tower}");

    let mut changing = batches();
    changing[2].nir = None;
    assert!(matches!(fails("planarity", &how(), changing), Error::BatchesDiffer));
    let mut short = batches();
    short[3].nir.as_mut().unwrap().pop();
    assert!(matches!(fails("planarity", &how(), short), Error::LengthMismatch { column: "nir", .. }));
    let mut dark = batches();
    dark.iter_mut().for_each(|b| b.nir.as_mut().unwrap().fill(0));
    dark.iter_mut().for_each(|b| b.classification = None);
    let missing = fails("ndvi,height_above_ground", &how(), dark.clone());
    assert!(matches!(&missing, Error::MissingInputs(list) if list.len() == 2), "{missing}");
    let mut source = Batches::new(CloudInfo::new(Survey::default().frame()), dark);
    let wanted = request("ndvi,planarity,height_above_ground", &[knn(6)]);
    let (rows, done) = stream(&cpu_engine(), &mut source, &wanted, &how().only_available(true)).unwrap();
    let left_out: Vec<_> = done.left_out.iter().map(|(f, _)| *f).collect();
    assert_eq!((left_out, rows.planned), (vec![Feature::Ndvi, Feature::HeightAboveGround], 1));

    let nowhere = fails("planarity", &how().temp_dir(folder.path().join("none")), batches());
    assert!(matches!(&nowhere, Error::Io { path, .. } if path.contains("none")), "{nowhere}");
    for stage in ["reading", "sorting", "computing", "writing"] {
        let watch = |at: &'static str, done: u64, _: u64| match at == stage && (done > 0 || at == "computing")
        {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        assert!(matches!(fails("planarity", &how().watch(&watch), batches()), Error::Cancelled), "{stage}");
        assert!(empty(), "{stage}");
    }
    // A sink that panics.
    let panicking = std::panic::catch_unwind(|| {
        let mut source = Batches::new(CloudInfo::new(Survey::default().frame()), batches());
        let mut sink = |_: &Columns| -> Result<()> { panic!("the sink of a test") };
        let set = FeatureSet::parse("planarity").unwrap();
        cpu_engine().stream(&mut source, &mut sink, &set, &[knn(6)], &Options::default(), &how())
    });
    assert!(panicking.is_err() && empty());
}

/// A source that gives other points when it is read again.
struct Fickle(Survey, usize, bool);

impl PointSource for Fickle {
    fn info(&self) -> CloudInfo {
        CloudInfo::new(self.0.frame())
    }

    fn next_batch(&mut self, _: usize) -> Result<Option<PointBatch>> {
        self.1 += 1;
        Ok((self.1 == 1).then(|| self.0.clone().batch()))
    }

    fn can_rewind(&self) -> bool {
        true
    }

    fn rewind(&mut self) -> Result<()> {
        self.1 = 0;
        match self.2 {
            true => self.0.points[7][0] += 1 << 25,
            false => self.0 = self.0.pick(&(0..self.0.len() - 1).collect::<Vec<_>>()),
        }
        Ok(())
    }
}

#[test]
fn sources_that_change_are_noticed() {
    let request = request("planarity", &[knn(6)]);
    let how = StreamOptions::default().memory_budget(1 << 20);
    for moved in [true, false] {
        let mut source = Fickle(Survey::village(2000, 26), 0, moved);
        let failed = stream(&cpu_engine(), &mut source, &request, &how).map(|_| ());
        assert!(matches!(failed, Err(Error::SourceChanged { .. })), "{failed:?}");
    }
}

#[cfg(feature = "cli")]
mod command {
    use std::process::{Command, Output};

    use super::*;

    fn compute(input: &Path, output: &Path, more: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lidar-features"));
        command.arg("compute").args([input, output]).args(["--backend", "cpu", "--knn", "8"]).args(more);
        command.output().unwrap()
    }

    #[test]
    fn the_command_line_streams_to_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("temp")).unwrap();
        let input = Survey::village(5000, 27).write(&path("in.laz"));
        let features =
            ["--features", "planarity,lof,height_above_ground,red_mean", "--flags", "--ignore-classes", "18"];
        let memory = compute(&input, &path("memory.laz"), &features);
        assert!(memory.status.success(), "{}", String::from_utf8_lossy(&memory.stderr));
        let temp = path("temp").display().to_string();
        let report = path("report.json").display().to_string();
        let streaming = ["--stream", "--memory-budget", "5M", "--temp-dir", &temp, "--report", &report];
        let streamed = compute(&input, &path("streamed.laz"), &[&features[..], &streaming].concat());
        assert!(streamed.status.success(), "{}", String::from_utf8_lossy(&streamed.stderr));
        assert!(String::from_utf8_lossy(&streamed.stdout).contains("streamed in"));
        assert!(std::fs::read(path("memory.laz")).unwrap() == std::fs::read(path("streamed.laz")).unwrap());
        let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
        assert!(report["stream"]["parts"].as_u64().unwrap() > 1);
        assert_eq!(std::fs::read_dir(path("temp")).unwrap().count(), 0);
        let small = compute(&input, &path("none.laz"), &["--stream", "--memory-budget", "1K"]);
        let error = String::from_utf8_lossy(&small.stderr);
        assert!(small.status.code() == Some(1) && error.contains("the budget is 1024"), "{error}");
        let both = compute(&input, &path("none.laz"), &["--stream", "--neighbors", "x"]);
        assert_eq!(both.status.code(), Some(2));
        assert!(!path("none.laz").exists());
    }

    /// Peak resident memory of a run, by the system's count.
    #[cfg(target_os = "linux")]
    fn peak(input: &Path, output: &Path, more: &[&str]) -> u64 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lidar-features"));
        command.arg("compute").args([input, output]).args(["--backend", "cpu", "--knn", "6"]).args(more);
        let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0 kB");
            peak = peak.max(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024);
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert!(child.wait().unwrap().success());
        peak
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_budget_bounds_the_memory_of_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let small = Survey::village(2000, 28).write(&folder.path().join("small.las"));
        let large = Survey::village(300_000, 28).write(&folder.path().join("large.las"));
        let target = folder.path().join("out.las");
        let features = ["--features", "planarity,verticality,normals"];
        let budget = 8 << 20;
        let streaming = [&features[..], &["--stream", "--memory-budget", "8M"]].concat();
        let process = peak(&small, &target, &streaming);
        let streamed = peak(&large, &target, &streaming);
        let in_memory = peak(&large, &target, &features);
        println!(
            "{process} bytes of the process, {streamed} streamed, {in_memory} in memory, budget {budget}"
        );
        // Batches of the decoder and the writer are of the process, not of the budget.
        assert!(streamed < process + budget + (16 << 20), "{streamed} bytes, {process} of a small file");
        assert!(in_memory > streamed + (4 << 20), "{in_memory} bytes in memory, {streamed} streamed");
    }
}
