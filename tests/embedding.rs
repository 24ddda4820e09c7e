//! An engine inside an application that has its own device.
#![allow(missing_docs)]

mod common;
#[path = "../examples/embed_existing_device.rs"]
#[allow(dead_code)] // Its `main` runs as an example.
mod example;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::clouds::{self, Cloud};
use common::gpu::wants_gpu;
use common::{cpu_engine, features, knn};
use lidar_features::{
    Backend, Columns, DeviceColumns, Engine, Error, Feature, FeatureSet, Neighborhood, PointCloud,
    required_features, required_limits, wgpu,
};

/// What an application has.
struct Application {
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// Errors and losses that reached its own handlers.
    errors: Arc<AtomicUsize>,
    losses: Arc<AtomicUsize>,
}

impl Application {
    /// `None` where the tests do without a GPU.
    fn open(limits: impl FnOnce(&wgpu::Adapter) -> wgpu::Limits) -> Option<Self> {
        Self::open_with(required_features, limits)
    }

    fn open_with(
        features: impl FnOnce(&wgpu::Adapter) -> wgpu::Features,
        limits: impl FnOnce(&wgpu::Adapter) -> wgpu::Limits,
    ) -> Option<Self> {
        if !wants_gpu() {
            return None;
        }
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::PRIMARY,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let options = wgpu::RequestAdapterOptions::default();
        let adapter = pollster::block_on(instance.request_adapter(&options)).unwrap();
        let descriptor = wgpu::DeviceDescriptor {
            required_features: features(&adapter),
            required_limits: limits(&adapter),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
        let (errors, losses) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (of_errors, of_losses) = (errors.clone(), losses.clone());
        device.on_uncaptured_error(Arc::new(move |_| {
            of_errors.fetch_add(1, SeqCst);
        }));
        device.set_device_lost_callback(move |_, _| {
            of_losses.fetch_add(1, SeqCst);
        });
        Some(Self { device, queue, errors, losses })
    }

    fn engine(&self) -> Engine {
        Engine::from_device(self.device.clone(), self.queue.clone()).unwrap()
    }

    fn builder(&self) -> lidar_features::EngineBuilder {
        Engine::builder().device(self.device.clone(), self.queue.clone())
    }

    /// Words of a buffer.
    fn read(&self, columns: &DeviceColumns) -> Vec<u32> {
        let size = columns.bytes();
        let usage = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ;
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        let back = self.device.create_buffer(&descriptor);
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(columns.buffer(), 0, &back, 0, Some(size));
        self.queue.submit([encoder.finish()]);
        back.map_async(wgpu::MapMode::Read, .., |_| ());
        self.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        let view = back.get_mapped_range(..).unwrap();
        view.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
    }
}

fn bits(columns: &Columns) -> Vec<u32> {
    let values = columns.iter().flat_map(|column| column.values.iter().map(|v| v.to_bits()));
    columns.flags().iter().copied().chain(values).collect()
}

/// Whether a small cloud is narrow enough to be one.
fn is_one_chunk(cloud: &Cloud) -> bool {
    cloud.points.iter().flatten().all(|v| v.abs() < 1 << 22)
}

#[test]
fn the_example_counts_what_the_columns_say() {
    if !wants_gpu() {
        return;
    }
    let (on_device, on_host, points) = example::run().unwrap();
    assert_eq!(on_device, on_host);
    assert!(on_device > 8_000 && (on_device as usize) < points, "{on_device} of {points}");
}

/// What one pass computes, of every kind of cloud that is one chunk. Of small ones there is one: each size is another
/// variant of the kernels.
#[test]
fn columns_on_the_device_are_those_on_the_host() {
    let Some(application) = Application::open(required_limits) else { return };
    let engine = application.engine();
    let near: Vec<Cloud> =
        clouds::all().into_iter().filter(|c| (c.len() == 3 || c.len() > 100) && is_one_chunk(c)).collect();
    let (mut compared, mut undefined, mut stragglers) = (0, 0, 0);
    for cloud in &near {
        let set = features(cloud);
        for rule in
            [knn(10), knn(200), Neighborhood::radius(0.3).unwrap(), Neighborhood::knn_within(8, 0.1).unwrap()]
        {
            let (here, _) = engine.features(&cloud.borrow(), &set, rule).unwrap();
            let (there, report) = engine.features_on_device(&cloud.borrow(), &set, rule).unwrap();
            assert_eq!((there.len(), report.points), (cloud.len(), cloud.len()));
            assert_eq!(there.features().collect::<Vec<_>>(), set.iter().collect::<Vec<_>>());
            assert_eq!(there.bytes(), 4 * (cloud.len() * (set.len() + 1)) as u64);
            let (here, there) = (bits(&here), application.read(&there));
            let differ = here.iter().zip(&there).position(|(a, b)| a != b);
            let place = differ.map(|at| {
                let column = (at / cloud.len()).checked_sub(1).and_then(|j| set.iter().nth(j));
                (column, at % cloud.len(), here[at], there[at])
            });
            assert_eq!(place, None, "{}, {rule:?}", cloud.name);
            compared += here.len();
            undefined += here.iter().filter(|v| f32::from_bits(**v).is_nan()).count();
            stragglers += report.stragglers;
        }
    }
    println!("{compared} words of {} clouds, {undefined} of them NaN, {stragglers} stragglers", near.len());
    assert!(undefined > 1000 && stragglers > 1000);
    let (none, report) =
        engine.features_on_device(&PointCloud::from_f64(&[]), &FeatureSet::geometric(), knn(5)).unwrap();
    assert!(none.is_empty() && none.bytes() == 0 && report.points == 0);
    assert_eq!(application.errors.load(SeqCst), 0);
}

/// What is timed is what the calls that it stands for give, also of neighbourhoods that the wide kernel or the CPU finds.
#[test]
fn timed_calls_give_the_same_answers() {
    let Some(application) = Application::open(required_limits) else { return };
    let engine = application.engine();
    let (mut stragglers, mut wide) = (0, 0);
    // Squared distances beyond 32 bits are the CPU's.
    let far = clouds::uniform(300, 1 << 22);
    for cloud in clouds::all().into_iter().chain([far]).filter(|c| c.len() > 100 && is_one_chunk(c)) {
        let set = features(&cloud);
        for rule in
            [knn(10), knn(100), Neighborhood::radius(0.3).unwrap(), Neighborhood::knn_within(8, 0.1).unwrap()]
        {
            let (expected, _) = engine.features(&cloud.borrow(), &set, rule).unwrap();
            let (timed, report) = engine.features_timed_on_device(&cloud.borrow(), &set, rule).unwrap();
            assert!(bits(&timed) == bits(&expected), "{}, {rule:?}", cloud.name);
            let device: f64 = report.stages.iter().filter(|s| s.0.starts_with("gpu ")).map(|s| s.1).sum();
            assert!(device > 0.0 && device < report.seconds, "{report:?}");
            stragglers += report.stragglers;
            wide += usize::from(report.stages.iter().any(|s| s.0 == "gpu search wide"));
        }
        let (expected, _) = engine.neighbors(&cloud.borrow(), knn(10)).unwrap();
        let (timed, report) = engine.neighbors_timed_on_device(&cloud.borrow(), knn(10)).unwrap();
        assert!(timed == expected, "{}", cloud.name);
        stragglers += report.stragglers;
    }
    assert!(stragglers > 500 && wide > 0, "{stragglers}, {wide}");
    let none = PointCloud::from_f64(&[]);
    assert!(engine.features_timed_on_device(&none, &FeatureSet::geometric(), knn(5)).unwrap().0.is_empty());
    assert!(engine.neighbors_timed_on_device(&none, knn(5)).unwrap().0.is_empty());
}

#[test]
fn a_device_without_time_stamps_is_not_timed() {
    let Some(application) = Application::open_with(|_| wgpu::Features::empty(), required_limits) else {
        return;
    };
    let (engine, cloud) = (application.engine(), clouds::terrain(500));
    let refused = [
        engine.features_timed_on_device(&cloud.borrow(), &FeatureSet::geometric(), knn(8)).map(|_| ()),
        engine.neighbors_timed_on_device(&cloud.borrow(), knn(8)).map(|_| ()),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(Error::NoTimeStamps { .. })), "{refused:?}");
    }
    assert!(engine.features_on_device(&cloud.borrow(), &FeatureSet::geometric(), knn(8)).is_ok());
}

#[test]
fn what_cannot_stay_on_the_device_is_refused() {
    let Some(application) = Application::open(required_limits) else { return };
    let engine = application.engine();
    let cloud = clouds::terrain(1000);
    let classes = vec![2; 1000];
    let input = cloud.borrow().with_classification(&classes);
    let planarity = FeatureSet::new([Feature::Planarity]);
    let refused =
        |engine: &Engine, input: &PointCloud<'_>, set: &FeatureSet, rule: Neighborhood, why: &str| {
            match engine.features_on_device(input, set, rule).map(|_| ()) {
                Err(Error::NotOnDevice(message)) => assert!(message.contains(why), "{message}"),
                other => panic!("{other:?}, not about {why:?}"),
            }
        };
    for feature in ["plane_fit", "lof", "optimal_k", "height_above_ground", "density_2d", "echo_ratio"] {
        refused(&engine, &input, &FeatureSet::parse(feature).unwrap(), knn(9), feature);
    }
    let optimal = Neighborhood::optimal(5, 20, 1).unwrap();
    refused(&engine, &input, &planarity, optimal, "optimal");
    let ignored: Vec<bool> = (0..1000).map(|i| i == 7).collect();
    refused(&engine, &cloud.borrow().ignoring(&ignored), &planarity, knn(9), "1 of 1000 points");
    let small = application.builder().chunk_points(400).build().unwrap();
    refused(&small, &input, &planarity, knn(9), "1000 points are not one chunk");
    refused(&engine, &clouds::wide(300).borrow(), &planarity, knn(9), "2^24 quanta");
    refused(&cpu_engine(), &input, &planarity, knn(9), "on the CPU");
    if let Some(own) = common::gpu::gpu_engine() {
        refused(&own, &input, &planarity, knn(9), "device of its own");
    }
    let lacks = engine.features_on_device(&input, &FeatureSet::parse("ndvi").unwrap(), knn(9));
    assert!(matches!(lacks, Err(Error::MissingInputs(_))));
}

#[test]
fn a_device_below_the_kernels_needs_is_refused() {
    let Some(application) = Application::open(|_| wgpu::Limits::downlevel_defaults()) else { return };
    for backend in [Backend::Auto, Backend::Gpu] {
        match application.builder().backend(backend).build() {
            Err(Error::DeviceTooSmall { limit, needed, has }) => assert!(has < needed, "{limit}: {has}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(application.builder().backend(Backend::Cpu).build().is_ok());
    // WebGPU's defaults are enough.
    let plain = Application::open(|_| wgpu::Limits::default()).unwrap();
    let cloud = clouds::terrain(500);
    let (found, _) = plain.engine().neighbors(&cloud.borrow(), knn(8)).unwrap();
    assert_eq!(found, cpu_engine().neighbors(&cloud.borrow(), knn(8)).unwrap().0);
}

/// The application polls, waits and submits while eight calls run.
#[test]
fn the_application_goes_on_with_its_device() {
    let Some(application) = Application::open(required_limits) else { return };
    let engine = application.builder().chunk_points(600).build().unwrap();
    let cloud = clouds::terrain(3000);
    let (expected, _) = cpu_engine().neighbors(&cloud.borrow(), knn(8)).unwrap();
    let ended = AtomicBool::new(false);
    let usage = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
    let descriptor = wgpu::BufferDescriptor { label: None, size: 1 << 16, usage, mapped_at_creation: false };
    std::thread::scope(|scope| {
        let own = scope.spawn(|| {
            let (buffer, mut polls) = (application.device.create_buffer(&descriptor), 0);
            while !ended.load(SeqCst) {
                application.queue.write_buffer(&buffer, 0, &[7; 1024]);
                let submission = application.queue.submit([]);
                let timeout = Some(Duration::from_secs(5));
                let wait = wgpu::PollType::Wait { submission_index: Some(submission), timeout };
                let how = if polls % 2 == 0 { wgpu::PollType::Poll } else { wait };
                application.device.poll(how).unwrap();
                polls += 1;
            }
            polls
        });
        let calls: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    (0..4).for_each(|_| {
                        assert_eq!(engine.neighbors(&cloud.borrow(), knn(8)).unwrap().0, expected);
                    })
                })
            })
            .collect();
        calls.into_iter().for_each(|call| call.join().unwrap());
        ended.store(true, SeqCst);
        assert!(own.join().unwrap() > 10);
    });
    assert_eq!((application.errors.load(SeqCst), application.losses.load(SeqCst)), (0, 0));
}

#[test]
fn a_lost_device_is_forwarded() {
    let cloud = clouds::terrain(3000);
    let (expected, _) = cpu_engine().neighbors(&cloud.borrow(), knn(8)).unwrap();
    for forwards in [true, false] {
        let Some(application) = Application::open(required_limits) else { return };
        let engine = application.builder().backend(Backend::Gpu).build().unwrap();
        let auto = application.builder().backend(Backend::Auto).build().unwrap();
        engine.neighbors(&cloud.borrow(), knn(8)).unwrap();
        application.device.destroy();
        application.device.poll(wgpu::PollType::Poll).unwrap();
        assert_eq!(application.losses.load(SeqCst), 1, "the application's handler was replaced");
        if forwards {
            engine.device_lost("the application says so");
        }
        let start = Instant::now();
        // Nobody told the engine: it then finds that nothing works.
        match engine.neighbors(&cloud.borrow(), knn(8)).map(|_| ()) {
            Err(Error::DeviceLost(reason)) if forwards => assert_eq!(reason, "the application says so"),
            Err(Error::Gpu { .. }) if !forwards => {}
            other => panic!("forwarded {forwards}: {other:?}"),
        }
        let (found, report) = auto.neighbors(&cloud.borrow(), knn(8)).unwrap();
        assert_eq!((found == expected, report.backend), (true, "cpu"));
        assert!(report.fallback.is_some());
        assert!(start.elapsed() < Duration::from_secs(10));
        assert_eq!(application.errors.load(SeqCst), 0);
    }
}

/// Errors of the engine's work are its own: the application's handler hears of none.
#[test]
fn calls_are_cancelled_before_the_device_goes() {
    let Some(application) = Application::open(required_limits) else { return };
    let engine = application.builder().chunk_points(300).build().unwrap();
    let cloud = clouds::terrain(6000);
    let token = lidar_features::CancelToken::new();
    let done = Arc::new(Mutex::new(0));
    let watched = engine.cancelled_by(&token).on_progress({
        let (token, done) = (token.clone(), done.clone());
        move |_| {
            *done.lock().unwrap() += 1;
            token.cancel();
        }
    });
    let ended = watched.features(&cloud.borrow(), &FeatureSet::geometric(), knn(8)).map(|_| ());
    assert!(matches!(ended, Err(Error::Cancelled)) && *done.lock().unwrap() > 0);
    application.device.destroy();
    drop((watched, engine));
    assert_eq!(application.errors.load(SeqCst), 0);
}
