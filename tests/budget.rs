//! Requests keep to their memory, and end when they are asked to.
//!
//! `LIDAR_FEATURES_CANCEL=1000000` says in clouds of how many points calls are cancelled at many moments; 40,000 unless it
//! does. How long they then take is printed, not asserted: it is the machine's business too.
#![allow(missing_docs)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::gpu::{gpu_engine, gpu_engine_with};
use common::knn;
use lidar_features::{CancelToken, Engine, Error, FeatureSet, Neighborhood, Options, PointCloud, synthetic};

/// What chunks are planned to take is what they take: none is refused a buffer.
#[test]
fn every_kind_of_request_keeps_to_its_budget() {
    const SMALL: u64 = 12 << 20;
    let Some(whole) = gpu_engine() else { return };
    let scene = synthetic::scene("als", 50_000, 5).unwrap();
    let classes: Vec<u8> = scene.truth.iter().map(|truth| truth.class.las_code()).collect();
    let cloud = scene.cloud().with_classification(&classes);
    let places = synthetic::scene("als", 20_000, 6).unwrap();
    let radius = Neighborhood::radius(0.8).unwrap();
    let near = Neighborhood::knn_within(12, 0.8).unwrap();
    let optimal = Neighborhood::optimal(6, 40, 1).unwrap();
    let geometric = FeatureSet::geometric();
    let members = FeatureSet::parse("plane_fit,lof,normal_variation").unwrap();
    let extras = FeatureSet::parse("height_above_ground,echo_ratio,overhang_indicator,density_2d").unwrap();
    for budget in [SMALL, 4 * SMALL] {
        let engine = gpu_engine_with(|b| b.gpu_memory(budget)).unwrap();
        let (options, mut most) = (Options::default(), 0);
        let requests: [(&FeatureSet, &[Neighborhood]); 7] = [
            (&geometric, &[knn(16)]),
            (&geometric, &[radius]),
            (&geometric, &[knn(10), knn(20), knn(40), radius]),
            (&members, &[knn(16)]),
            (&members, &[near]),
            (&members, &[radius]),
            (&extras, &[optimal]),
        ];
        for (set, rules) in requests {
            let (columns, report) = engine.features_at_scales(&cloud, set, rules, &options).unwrap();
            let (expected, _) = whole.features_at_scales(&cloud, set, rules, &options).unwrap();
            let differ = |(a, b): (&f32, &f32)| a.to_bits() != b.to_bits();
            let off: usize = columns
                .iter()
                .zip(&expected)
                .map(|(a, b)| a.values.iter().zip(&b.values).filter(|v| differ(*v)).count())
                .sum();
            assert_eq!(off, 0, "{set:?} in {rules:?}");
            most = most.max(report.chunks);
        }
        engine.features_at(&places.cloud(), &cloud, &geometric, knn(16), &options).unwrap();
        engine.neighbors(&cloud, knn(32)).unwrap();
        engine.neighbors(&cloud, radius).unwrap();
        let stats = engine.pool_stats().unwrap();
        assert_eq!((stats.refusals, stats.out_of_memory_retries), (0, 0), "{budget}: {stats:?}");
        assert!(stats.bytes_peak <= budget, "{budget}: {stats:?}");
        assert!(most > 1, "{most} chunks");
    }
    let Some(tiny) = gpu_engine_with(|b| b.gpu_memory(1 << 20)) else { return };
    let refused = tiny.features(&cloud, &geometric, knn(16)).map(|_| ());
    assert!(matches!(refused, Err(Error::ChunkTooLarge { what: "memory budget", .. })));
}

#[test]
fn a_cancelled_call_ends_soon_and_leaves_the_engine_usable() {
    let Some(engine) = gpu_engine_with(|b| b.chunk_points(2_000)) else { return };
    let scene = synthetic::scene("als", 60_000, 5).unwrap();
    let set = FeatureSet::parse("planarity").unwrap();
    let (whole, report) = engine.features(&scene.cloud(), &set, knn(10)).unwrap();
    // With more chunks to go than are under way at a time.
    assert!(report.chunks > 20);
    for after in [0, 1, 5] {
        let token = CancelToken::new();
        let done = Arc::new(Mutex::new(0));
        let listening = engine.cancelled_by(&token).on_progress({
            let (token, done) = (token.clone(), done.clone());
            move |progress| {
                assert_eq!(progress.points, 60_000);
                let mut done = done.lock().unwrap();
                *done += 1;
                if *done > after {
                    token.cancel();
                }
            }
        });
        let ended = listening.features(&scene.cloud(), &set, knn(10));
        assert!(matches!(ended, Err(Error::Cancelled)), "after {after} chunks");
        // Those under way may still end.
        assert!(*done.lock().unwrap() <= after + 3, "{} chunks after {after}", done.lock().unwrap());
        assert!(matches!(listening.neighbors(&scene.cloud(), knn(3)), Err(Error::Cancelled)));
    }
    let stats = engine.pool_stats().unwrap();
    assert_eq!((stats.bytes_in_use, stats.bytes_requested), (0, 0));
    let (again, _) = engine.features(&scene.cloud(), &set, knn(10)).unwrap();
    assert_eq!(again.iter().next().unwrap().values, whole.iter().next().unwrap().values);
}

#[test]
fn the_cpu_counts_its_points_and_ends_when_it_is_asked_to() {
    let engine = common::cpu_engine();
    let scene = synthetic::scene("als", 60_000, 5).unwrap();
    let set = FeatureSet::parse("planarity").unwrap();
    let most = Arc::new(Mutex::new(0));
    let counting = engine.on_progress({
        let most = most.clone();
        move |progress| {
            assert_eq!(progress.points, 60_000);
            let mut most = most.lock().unwrap();
            *most = progress.done.max(*most);
        }
    });
    let (whole, _) = counting.features(&scene.cloud(), &set, knn(10)).unwrap();
    assert_eq!(*most.lock().unwrap(), 60_000);

    let token = CancelToken::new();
    let cancelled = engine.cancelled_by(&token).on_progress({
        let (token, most) = (token.clone(), most.clone());
        *most.lock().unwrap() = 0;
        move |progress| {
            token.cancel();
            *most.lock().unwrap() = progress.done;
        }
    });
    let ended = cancelled.features(&scene.cloud(), &set, knn(10));
    assert!(matches!(ended, Err(Error::Cancelled)));
    assert!(*most.lock().unwrap() < 60_000);
    assert!(matches!(cancelled.neighbors(&scene.cloud(), knn(3)), Err(Error::Cancelled)));
    let (again, _) = engine.features(&scene.cloud(), &set, knn(10)).unwrap();
    assert_eq!(again.iter().next().unwrap().values, whole.iter().next().unwrap().values);
}

/// Ends a call after `wait`: how long it took from then on, if it was not through.
fn cancelled_after(
    engine: &Engine,
    wait: Duration,
    call: &(dyn Fn(&Engine) -> bool + Sync),
) -> Option<Duration> {
    let token = CancelToken::new();
    let watched = engine.cancelled_by(&token);
    std::thread::scope(|scope| {
        let ends = scope.spawn(|| (call(&watched), Instant::now()));
        std::thread::sleep(wait);
        let asked = Instant::now();
        token.cancel();
        let (cancelled, ended) = ends.join().unwrap();
        cancelled.then(|| ended.saturating_duration_since(asked))
    })
}

#[test]
fn calls_end_soon_whenever_they_are_cancelled() {
    let points = std::env::var("LIDAR_FEATURES_CANCEL").ok().and_then(|n| n.parse().ok()).unwrap_or(40_000);
    let scene = synthetic::scene("als", points, 5).unwrap();
    let classes: Vec<u8> = scene.truth.iter().map(|truth| truth.class.las_code()).collect();
    let lattice = scene.cloud().with_classification(&classes);
    let world: Vec<[f64; 3]> = scene.lattice.iter().map(|p| scene.frame.to_world(*p)).collect();
    let floats = PointCloud::from_f64(&world).with_classification(&classes);
    let radius = Neighborhood::radius(1.5).unwrap();
    let requests: [(&str, &PointCloud<'_>, &[Neighborhood]); 6] = [
        ("normals,planarity", &lattice, &[knn(16)]),
        ("normals,planarity", &floats, &[knn(16)]),
        ("normals,planarity", &lattice, &[knn(10), knn(30), radius]),
        ("plane_fit", &lattice, &[radius]),
        ("lof,normal_variation", &lattice, &[knn(16)]),
        ("height_above_ground,echo_ratio,density_2d,bin_count", &lattice, &[knn(16)]),
    ];
    let engines = [Some(common::cpu_engine()), gpu_engine_with(|b| b.chunk_points(points / 8))];
    let mut slowest = Duration::ZERO;
    for (engine, name) in engines.into_iter().zip(["cpu", "gpu"]) {
        let Some(engine) = engine else { continue };
        for (names, cloud, neighborhoods) in requests {
            let set = FeatureSet::parse(names).unwrap();
            let call = |engine: &Engine| {
                let done = engine.features_at_scales(cloud, &set, neighborhoods, &Options::default());
                match done.map(|_| ()) {
                    Err(Error::Cancelled) => true,
                    done => {
                        done.unwrap();
                        false
                    }
                }
            };
            let start = Instant::now();
            assert!(!call(&engine));
            let whole = start.elapsed();
            // Early moments lie closer: what is done once for a call comes first.
            let moments = [0.0, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.55, 0.7, 0.85, 0.95];
            let took: Vec<_> = moments
                .iter()
                .map(|part| {
                    let took = cancelled_after(&engine, whole.mul_f64(*part), &call);
                    took.map_or("-".to_owned(), |took| {
                        slowest = slowest.max(took);
                        took.as_millis().to_string()
                    })
                })
                .collect();
            println!(
                "{name} {points} points {names} {}: {:.1} s, cancelled [{}] ms",
                neighborhoods.len(),
                whole.as_secs_f64(),
                took.join(" ")
            );
            if let Some(stats) = engine.pool_stats() {
                assert_eq!((stats.bytes_in_use, stats.bytes_requested), (0, 0), "{names}");
            }
        }
        assert!(engine.features(&lattice, &FeatureSet::parse("planarity").unwrap(), knn(4)).is_ok());
    }
    println!("at most {slowest:.0?} from a token to the end of its call");
}
