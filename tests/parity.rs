//! The GPU against the CPU: neighbours equal to the bit, columns within what the catalogue's rows promise.

mod common;

use common::clouds::{self, Cloud};
use common::compare::{self, Outcome};
use common::gpu::gpu_engine;
use common::local::Local;
use common::oracle::{self, Lists};
use common::{cpu_engine, features, knn, tolerance};
use lidar_features::{Engine, Feature, Report};

const KS: [usize; 12] = [1, 2, 3, 5, 8, 16, 20, 32, 64, 100, 128, 200];
/// What a second driver is given (`LIDAR_FEATURES_KS=few`): each number is shaders of its own, and compiling them takes minutes.
const FEW_KS: [usize; 6] = [1, 3, 20, 32, 128, 200];

fn ks() -> &'static [usize] {
    if std::env::var("LIDAR_FEATURES_KS").is_ok_and(|ks| ks == "few") { &FEW_KS } else { &KS }
}

/// What ran, for the summary.
#[derive(Default)]
struct Tally {
    runs: usize,
    queries: usize,
    stragglers: usize,
    outcome: Outcome,
}

impl Tally {
    fn count(&mut self, report: &Report) {
        self.runs += 1;
        self.queries += report.points;
        self.stragglers += report.stragglers;
    }

    fn print(&self, what: &str) {
        let Self { runs, queries, stragglers, outcome } = self;
        println!("{what}: {runs} runs, {queries} queries, {stragglers} stragglers");
        println!("{outcome}");
    }
}

/// Lists of the CPU, from which those of every smaller k are cut.
fn cpu_lists(cloud: &Cloud, k: usize) -> Lists {
    compare::lists(&cpu_engine().neighbors(&cloud.borrow(), knn(k)).unwrap().0)
}

fn neighbors_agree(gpu: &Engine, cloud: &Cloud, lists: &Lists, k: usize, tally: &mut Tally) {
    let what = format!("{}, k = {k}", cloud.name);
    let (found, report) = gpu.neighbors(&cloud.borrow(), knn(k)).unwrap();
    compare::assert_neighbors(&found, lists, k, &what);
    tally.count(&report);
}

fn columns_agree(gpu: &Engine, cloud: &Cloud, lists: &Lists, k: usize, tally: &mut Tally) {
    let what = format!("{}, k = {k}", cloud.name);
    let set = features(cloud);
    let (expected, _) = cpu_engine().features(&cloud.borrow(), &set, knn(k)).unwrap();
    let (actual, report) = gpu.features(&cloud.borrow(), &set, knn(k)).unwrap();
    assert!(report.adapter.is_some(), "{what}");
    let beyond = k.min(cloud.len()) > 128;
    assert_eq!(report.fallback.is_some(), beyond, "{what}: {:?}", report.fallback);
    assert_eq!(actual.flags(), expected.flags(), "flags: {what}");
    let locals: Vec<Local> = oracle::locals(cloud, lists, k);
    let value = |feature: Feature, i: usize| Some(f64::from(expected.get(feature)?[i]));
    let outcome = compare::columns(&compare::table(&actual), value, &locals, tolerance::of_catalogue);
    let all = set.len() * cloud.len();
    assert_eq!(outcome.compared + outcome.excluded, all, "values that were looked at: {what}");
    outcome.assert_clean(&what);
    tally.outcome.absorb(outcome);
    tally.count(&report);
}

#[test]
fn neighbours_are_equal_on_every_small_cloud() {
    let Some(gpu) = gpu_engine() else { return };
    let mut tally = Tally::default();
    for cloud in clouds::all() {
        let lists = cpu_lists(&cloud, 200);
        for &k in ks() {
            neighbors_agree(&gpu, &cloud, &lists, k, &mut tally);
        }
    }
    tally.print("neighbours of small clouds");
}

#[test]
fn columns_agree_on_every_small_cloud() {
    let Some(gpu) = gpu_engine() else { return };
    let mut tally = Tally::default();
    for cloud in clouds::all() {
        let lists = cpu_lists(&cloud, 200);
        for &k in ks() {
            columns_agree(&gpu, &cloud, &lists, k, &mut tally);
        }
    }
    tally.print("columns of small clouds");
    let all = features(&clouds::terrain(2).colored(255));
    let untouched: Vec<_> = all.iter().filter(|f| !tally.outcome.worst.contains_key(f)).collect();
    assert!(untouched.is_empty(), "never compared: {untouched:?}");
    let Outcome { compared, excluded, .. } = tally.outcome;
    assert!(excluded * 20 < compared, "{excluded} excluded, {compared} compared");
}

#[test]
fn larger_clouds_agree() {
    let Some(gpu) = gpu_engine() else { return };
    let mut tally = Tally::default();
    let crowded = Cloud::new("duplicates and ties", clouds::uniform(20_000, 24).points);
    for cloud in [
        clouds::terrain(30_000).colored(u16::MAX),
        clouds::millimetres(clouds::terrain(20_000)),
        clouds::terrestrial(30_000),
        clouds::uniform(20_000, 2000),
        crowded,
    ] {
        let lists = cpu_lists(&cloud, 64);
        for k in [8, 20, 64] {
            neighbors_agree(&gpu, &cloud, &lists, k, &mut tally);
            columns_agree(&gpu, &cloud, &lists, k, &mut tally);
        }
    }
    tally.print("larger clouds");
}

/// Single points see nothing for long and then a whole surface with many equal distances: more than one invocation may
/// visit. Workgroups find their lists and columns; the CPU is not asked.
#[test]
fn teams_answer_for_points_far_from_all_others() {
    let Some(gpu) = gpu_engine() else { return };
    let mut cloud = clouds::plane_grid(80);
    cloud.name.push_str(" and single points far above it");
    let far = (0..40).map(|i| [i % 8 * 100, i / 8 * 160, 9_000 + i * i * 25]);
    cloud.points.extend(far);
    let lists = cpu_lists(&cloud, 128);
    for k in [7, 20, 21, 100] {
        let mut tally = Tally::default();
        neighbors_agree(&gpu, &cloud, &lists, k, &mut tally);
        columns_agree(&gpu, &cloud, &lists, k, &mut tally);
        assert_eq!(tally.stragglers, 0, "k = {k}");
    }
}

/// Atomics place points in another order each time: it must not show.
#[test]
fn a_second_run_gives_the_same_bits() {
    let Some(gpu) = gpu_engine() else { return };
    for cloud in [clouds::terrain(5000).colored(255), clouds::terrestrial(3000), clouds::plane_grid(40)] {
        let run = || {
            let (columns, _) = gpu.features(&cloud.borrow(), &features(&cloud), knn(20)).unwrap();
            let bits = |c: &lidar_features::Column| c.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            (columns.iter().map(bits).collect::<Vec<_>>(), columns.flags().to_vec())
        };
        let first = run();
        for _ in 0..3 {
            assert!(run() == first, "{}", cloud.name);
        }
    }
}

/// In a process of its own, whose device has WebGPU's default limits and no optional feature.
#[test]
fn webgpus_default_limits_are_enough() {
    let Some(_) = gpu_engine() else { return };
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "columns_agree_on_every_small_cloud"])
        .env("LIDAR_FEATURES_GPU_LIMITS", "webgpu")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && text.contains("1 passed"), "{text}");
}
