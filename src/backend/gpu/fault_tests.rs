//! Everything that a device can do wrong, at every call of a run in ten chunks: the call ends in time, with the CPU's
//! answer or a typed error, and what comes after is as if nothing had been.
//!
//! `LIDAR_FEATURES_FAULTS=all` plants faults at every call index, otherwise at about five of each kind, and of losses, which
//! spoil a device for good and take a new one each, at three. With `few` it is the first and the last, with three chunks at
//! a time only, and losses meet sums within a radius, for which fewer shaders are compiled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::device::{Device, instance};
use super::faults::{Kind, Site};
use super::{Gpu, adapters};
use crate::cloud::PointCloud;
use crate::columns::Columns;
use crate::engine::{Backend, Engine};
use crate::error::{Error, Result};
use crate::features::FeatureSet;
use crate::frame::Frame;
use crate::neighborhood::{Neighborhood, Neighbors};
use crate::report::Report;

/// A call may take this long, whatever happens. Software adapters share the cores with whatever else the machine does.
fn longest(device: &Device) -> Duration {
    Duration::from_secs(if device.software { 60 } else { 10 })
}

/// Ten chunks of these, and stragglers.
pub(super) fn points() -> Vec<[i32; 3]> {
    let mut state = 7u32;
    let mut next = |bound: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) % bound) as i32
    };
    let mut points: Vec<[i32; 3]> = (0..1800).map(|_| [next(4000), next(900), next(60)]).collect();
    points.extend((0..8).map(|i| [400_000 + 30_000 * i, 0, 0]));
    points
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// One submission a chunk, and one more for stragglers.
    Sums,
    /// One submission a chunk, of fewer kernels.
    SumsWithin,
    /// Several submissions a chunk, lists on the device.
    Members,
    Lists,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Columns(Vec<u32>),
    Lists(Neighbors),
}

impl Ask {
    fn of(self, engine: &Engine, points: &[[i32; 3]]) -> Result<(Answer, Report)> {
        let cloud = PointCloud::from_lattice(points, Frame::new([0.0; 3], 0.01)?);
        let bits = |columns: Columns| {
            let values = columns.iter().flat_map(|c| c.values.iter().map(|v| v.to_bits()));
            Answer::Columns(columns.flags().iter().copied().chain(values).collect())
        };
        let set = |names: &str| FeatureSet::parse(names);
        let columns = |(columns, report)| (bits(columns), report);
        Ok(match self {
            Self::Sums => {
                columns(engine.features(&cloud, &set("normals,planarity")?, Neighborhood::knn(6)?)?)
            }
            Self::SumsWithin => {
                columns(engine.features(&cloud, &set("normals,planarity")?, Neighborhood::radius(0.8)?)?)
            }
            Self::Members => {
                columns(engine.features(&cloud, &set("plane_fit")?, Neighborhood::radius(0.8)?)?)
            }
            Self::Lists => {
                let (lists, report) = engine.neighbors(&cloud, Neighborhood::knn(6)?)?;
                (Answer::Lists(lists), report)
            }
        })
    }
}

/// The adapter of the other GPU tests.
pub(super) fn adapter() -> Option<String> {
    if std::env::var("LIDAR_FEATURES_TEST_GPU").is_ok_and(|v| v == "off") {
        eprintln!("skipped: LIDAR_FEATURES_TEST_GPU=off");
        return None;
    }
    let found = adapters();
    let wanted = std::env::var("LIDAR_FEATURES_TEST_ADAPTER").ok();
    let chosen = match &wanted {
        Some(text) => found.iter().find(|a| a.to_string().to_lowercase().contains(&text.to_lowercase())),
        None => found.first(),
    };
    Some(chosen.expect("LIDAR_FEATURES_TEST_GPU=off skips the tests that need a GPU").name.clone())
}

/// How an engine gets its device, and how many chunks it works on at a time.
#[derive(Debug, Clone, Copy)]
struct Setting {
    slots: usize,
    shared: bool,
}

struct Bench {
    adapter: String,
    /// Keeps the driver loaded from device to device, as an application does that has one of its own.
    _driver: wgpu::Instance,
    points: Vec<[i32; 3]>,
    cells: usize,
    slowest: Duration,
}

impl Bench {
    fn new() -> Option<Self> {
        let adapter = adapter()?;
        let _driver = instance(wgpu::Backends::PRIMARY);
        Some(Self { adapter, _driver, points: points(), cells: 0, slowest: Duration::ZERO })
    }

    fn engine(&self, backend: Backend, setting: Setting) -> Engine {
        let builder = Engine::builder().backend(backend).adapter(&self.adapter);
        // Every chunk allocates, so that any of them can fail to.
        let builder = builder.chunk_points(200).chunks_in_flight(setting.slots).reuse_buffers(false);
        let builder = match setting.shared {
            false => builder,
            true => {
                let Device { device, queue, .. } = Device::open(Some(&self.adapter), true).unwrap();
                builder.device(device, queue)
            }
        };
        builder.build().unwrap()
    }

    fn cpu(&self, ask: Ask) -> Answer {
        let engine = Engine::builder().backend(Backend::Cpu).build().unwrap();
        ask.of(&engine, &self.points).unwrap().0
    }

    /// One call, in time.
    fn timed(&mut self, engine: &Engine, ask: Ask) -> Result<(Answer, Report)> {
        let start = Instant::now();
        let done = ask.of(engine, &self.points);
        self.slowest = self.slowest.max(start.elapsed());
        assert!(
            start.elapsed() < longest(device_of(engine.gpu.as_deref().unwrap())),
            "{ask:?} took {:?}",
            start.elapsed()
        );
        done
    }

    fn print(&self, what: &str) {
        println!("{what}: {} cells, the slowest call {:.1} s", self.cells, self.slowest.as_secs_f64());
    }
}

pub(super) fn device(engine: &Engine) -> Arc<Device> {
    device_of(engine.gpu.as_deref().unwrap()).clone()
}

fn device_of(gpu: &Gpu) -> &Arc<Device> {
    &gpu.context.device
}

fn makes_pipelines(site: Site) -> bool {
    matches!(site, Site::Shader | Site::Pipeline)
}

/// Pipelines are made again, and may fail to.
fn forget_pipelines(engine: &Engine) {
    engine.gpu.as_deref().unwrap().context.pipelines.forget();
}

/// How often a step is reached in a call that nothing happens to.
fn reached(bench: &mut Bench, engine: &Engine, ask: Ask, site: Site) -> (usize, Answer) {
    let device = device(engine);
    // Compiling is most of what these tests wait for.
    if makes_pipelines(site) {
        forget_pipelines(engine);
    }
    device.faults.disarm();
    let (answer, report) = bench.timed(engine, ask).unwrap();
    assert!(report.chunks >= 10, "{} chunks", report.chunks);
    assert!(report.stragglers > 0 || matches!(ask, Ask::Members | Ask::SumsWithin));
    assert_eq!((report.backend, &report.fallback), ("gpu", &None));
    (device.faults.reached(site), answer)
}

fn wanted(which: &str) -> bool {
    std::env::var("LIDAR_FEATURES_FAULTS").is_ok_and(|wanted| wanted == which)
}

fn all_wanted() -> bool {
    wanted("all")
}

/// Chunks at a time.
fn slots_wanted() -> &'static [usize] {
    if wanted("few") { &[3] } else { &[1, 3] }
}

/// Call indices to plant a fault at: all of them, or about so many, the first and the last among them.
fn indices(count: usize, usually: usize) -> Vec<usize> {
    let usually = if wanted("few") { 1 } else { usually };
    let step = if all_wanted() { 1 } else { count.div_ceil(usually).max(1) };
    let mut all: Vec<_> = (0..count).step_by(step).collect();
    if count > 0 && all.last() != Some(&(count - 1)) {
        all.push(count - 1);
    }
    all
}

/// A step that fails while the device lives on. What it is expected to end in with [`Backend::Gpu`].
struct Passing {
    site: Site,
    times: usize,
    /// `None` if smaller chunks help.
    error: Option<fn(&Error) -> bool>,
}

fn passing() -> Vec<Passing> {
    let memory: fn(&Error) -> bool = |e| matches!(e, Error::GpuOutOfMemory { .. });
    let refused: fn(&Error) -> bool = |e| matches!(e, Error::Gpu { .. });
    let late: fn(&Error) -> bool = |e| matches!(e, Error::Timeout { .. });
    vec![
        // The pool's own second try; then smaller chunks; then nothing helps.
        Passing { site: Site::Allocate, times: 1, error: None },
        Passing { site: Site::Allocate, times: 2, error: None },
        Passing { site: Site::Allocate, times: usize::MAX, error: Some(memory) },
        Passing { site: Site::Shader, times: 1, error: Some(refused) },
        Passing { site: Site::Pipeline, times: 1, error: Some(refused) },
        Passing { site: Site::Submit, times: 1, error: Some(refused) },
        Passing { site: Site::Wait, times: 1, error: Some(late) },
        Passing { site: Site::Map, times: 1, error: Some(refused) },
    ]
}

fn steps_that_fail(ask: Ask) {
    let Some(mut bench) = Bench::new() else { return };
    let on_cpu = bench.cpu(ask);
    for &slots in slots_wanted() {
        let setting = Setting { slots, shared: false };
        for backend in [Backend::Gpu, Backend::Auto] {
            let engine = bench.engine(backend, setting);
            let device = device(&engine);
            for Passing { site, times, error } in passing() {
                let (count, expected) = reached(&mut bench, &engine, ask, site);
                assert!(count > 0, "{site:?} is never reached");
                for index in indices(count, 5) {
                    let what = format!(
                        "{ask:?}, {backend:?}, {slots} slots: {site:?} {index} of {count}, {times} times"
                    );
                    if makes_pipelines(site) {
                        forget_pipelines(&engine);
                    }
                    device.faults.arm(site, Kind::Step, index, times);
                    let done = bench.timed(&engine, ask);
                    let happened = device.faults.disarm();
                    // Slots that need one pipeline at one time make it once: their number is no other each time, but their
                    // order may be. All other steps come as often as before.
                    let sure = slots == 1 || !makes_pipelines(site);
                    assert!(happened > 0 || !sure, "{what}: never happened");
                    match (done, error.filter(|_| happened > 0)) {
                        (Ok((answer, report)), None) => {
                            assert_eq!((&answer, report.backend), (&expected, "gpu"), "{what}");
                        }
                        (Ok((answer, report)), Some(_)) => {
                            assert_eq!(backend, Backend::Auto, "{what}: no error");
                            assert_eq!((&answer, report.backend), (&on_cpu, "cpu"), "{what}");
                            assert!(report.fallback.is_some_and(|reason| !reason.is_empty()), "{what}");
                        }
                        (Err(failure), Some(is_right)) => {
                            assert_eq!(backend, Backend::Gpu, "{what}: {failure}");
                            assert!(is_right(&failure), "{what}: {failure:?}");
                        }
                        (Err(failure), None) => panic!("{what}: {failure:?}"),
                    }
                    bench.cells += 1;
                    let stats = engine.pool_stats().unwrap();
                    assert_eq!(
                        (stats.bytes_in_use, stats.bytes_requested),
                        (0, 0),
                        "{what}: a buffer was kept"
                    );
                }
                // The engine is as good as new.
                let (answer, report) = bench.timed(&engine, ask).unwrap();
                assert_eq!((answer, report.backend, report.fallback), (expected, "gpu", None));
            }
        }
    }
    bench.print(&format!("steps that fail, {ask:?}"));
}

#[test]
fn steps_that_fail_leave_the_engine_usable() {
    steps_that_fail(Ask::Sums);
}

#[test]
fn steps_that_fail_on_the_way_of_lists_leave_the_engine_usable() {
    steps_that_fail(Ask::Members);
    steps_that_fail(Ask::Lists);
}

/// The driver says that the device is gone.
#[test]
fn a_lost_device_ends_calls_and_refuses_later_ones() {
    losses(Kind::Loss, false);
}

/// The application destroys its own device, while nobody else polls it or submits to it.
#[test]
fn a_destroyed_device_ends_calls_and_refuses_later_ones() {
    losses(Kind::Destroy, true);
}

fn losses(kind: Kind, shared: bool) {
    let Some(mut bench) = Bench::new() else { return };
    let sites =
        [Site::Allocate, Site::BeforeSubmit, Site::DuringSubmit, Site::AfterSubmit, Site::Wait, Site::Mapped];
    let mut told = 0;
    let sums = if wanted("few") { Ask::SumsWithin } else { Ask::Sums };
    for ask in [sums, Ask::Members] {
        let on_cpu = bench.cpu(ask);
        for &slots in slots_wanted() {
            let setting = Setting { slots, shared };
            let engine = bench.engine(Backend::Gpu, setting);
            for site in sites {
                let (count, _) = reached(&mut bench, &engine, ask, site);
                for (turn, index) in indices(count, 2).into_iter().enumerate() {
                    // Modes take turns, but for a full run.
                    let modes = [Backend::Gpu, Backend::Auto];
                    let modes = if all_wanted() { &modes[..] } else { &modes[turn % 2..=turn % 2] };
                    for &backend in modes {
                        let what = format!(
                            "{ask:?}, {backend:?}, {slots} slots: {kind:?} at {site:?} {index} of {count}"
                        );
                        told +=
                            lose(&mut bench, (ask, &on_cpu), backend, setting, (site, kind, index), &what);
                    }
                }
            }
        }
    }
    bench.print(&format!("{kind:?}, {told} of them ended the call"));
    assert!(told * 10 > bench.cells * 9);
}

/// 1 if the call noticed, 0 if it was through.
fn lose(
    bench: &mut Bench,
    (ask, on_cpu): (Ask, &Answer),
    backend: Backend,
    setting: Setting,
    (site, kind, index): (Site, Kind, usize),
    what: &str,
) -> usize {
    if all_wanted() {
        // The last line is what a driver did not survive.
        eprintln!("{what}");
    }
    let engine = bench.engine(backend, setting);
    let device = device(&engine);
    device.faults.arm(site, kind, index, 1);
    let done = bench.timed(&engine, ask);
    assert_eq!(device.faults.disarm(), 1, "{what}: never happened");
    bench.cells += 1;
    let noticed = match done {
        // It was the last step, and the answer was there.
        Ok((_, report)) if report.backend == "gpu" => 0,
        Ok((answer, report)) => {
            assert_eq!((backend, &answer), (Backend::Auto, on_cpu), "{what}");
            assert!(report.fallback.is_some(), "{what}");
            1
        }
        Err(error) => {
            assert_eq!(backend, Backend::Gpu, "{what}: {error}");
            // The application's handler is its own: without its word the engine sees refusals only.
            let fits =
                matches!(error, Error::DeviceLost(_)) || setting.shared && matches!(error, Error::Gpu { .. });
            assert!(fits, "{what}: {error:?}");
            1
        }
    };
    if kind == Kind::Destroy {
        engine.device_lost("the application destroyed it");
    }
    let stats = engine.pool_stats().unwrap();
    assert_eq!((stats.bytes_in_use, stats.bytes_requested), (0, 0), "{what}: a buffer was kept");
    let start = Instant::now();
    match ask.of(&engine, &bench.points) {
        Err(Error::DeviceLost(_)) => {
            assert_eq!(backend, Backend::Gpu, "{what}");
            assert!(start.elapsed() < Duration::from_secs(1), "{what}: refused after {:?}", start.elapsed());
        }
        Ok((answer, report)) => {
            assert_eq!((backend, &answer, report.backend), (Backend::Auto, on_cpu, "cpu"), "{what}");
            assert!(report.fallback.is_some_and(|reason| reason.contains("lost")), "{what}");
        }
        Err(error) => panic!("{what}: then {error:?}"),
    }
    noticed
}

/// A panic between the steps, as wgpu's own, crosses neither the slots nor the API.
#[test]
fn panics_become_errors() {
    let Some(mut bench) = Bench::new() else { return };
    for ask in [Ask::Sums, Ask::Members] {
        let on_cpu = bench.cpu(ask);
        for &slots in slots_wanted() {
            for backend in [Backend::Gpu, Backend::Auto] {
                let engine = bench.engine(backend, Setting { slots, shared: false });
                let device = device(&engine);
                for site in [Site::Allocate, Site::Shader, Site::DuringSubmit, Site::Wait, Site::Mapped] {
                    let (count, expected) = reached(&mut bench, &engine, ask, site);
                    for index in indices(count, 2) {
                        let what = format!(
                            "{ask:?}, {backend:?}, {slots} slots: panic at {site:?} {index} of {count}"
                        );
                        if makes_pipelines(site) {
                            forget_pipelines(&engine);
                        }
                        device.faults.arm(site, Kind::Panic, index, 1);
                        let done = bench.timed(&engine, ask);
                        let happened = device.faults.disarm();
                        match done {
                            Ok((answer, report)) if report.backend == "gpu" => {
                                assert_eq!((happened, &answer), (0, &expected), "{what}");
                            }
                            Ok((answer, report)) => {
                                assert_eq!((backend, &answer), (Backend::Auto, &on_cpu), "{what}");
                                assert!(report.fallback.is_some_and(|f| f.contains("planted")), "{what}");
                            }
                            Err(Error::Gpu { message, .. }) => {
                                assert_eq!(backend, Backend::Gpu, "{what}");
                                assert_eq!(message, "planted by a test", "{what}");
                            }
                            Err(error) => panic!("{what}: {error:?}"),
                        }
                        bench.cells += 1;
                    }
                    let (answer, report) = bench.timed(&engine, ask).unwrap();
                    assert_eq!((answer, report.backend), (expected, "gpu"));
                }
            }
        }
    }
    bench.print("panics");
}
