//! Many chunks through one engine: buffers are reused, and nothing grows.
//!
//! `LIDAR_FEATURES_SOAK=1000` says how many chunks; 60 unless it does.
#![allow(missing_docs)]

mod common;

use std::sync::{Arc, Mutex};

use common::gpu::{gpu_engine, gpu_engine_with};
use common::knn;
use lidar_features::{CancelToken, Error, FeatureSet, Neighborhood, Options, PoolStats, synthetic};

/// Bytes of device memory that the engine may take.
const BUDGET: u64 = 256 << 20;
const POINTS: usize = 400_000;
const CHUNK: usize = 108_000;
/// Chunks after which nothing may grow.
const SETTLED: usize = 40;

fn chunks_wanted() -> usize {
    std::env::var("LIDAR_FEATURES_SOAK").ok().and_then(|n| n.parse().ok()).unwrap_or(60)
}

/// Resident bytes of this process, where the system says so.
fn resident() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    pages.split_whitespace().nth(1)?.parse::<u64>().ok().map(|pages| pages * 4096)
}

#[test]
fn buffers_are_reused_and_nothing_grows() {
    let engine = gpu_engine_with(|b| b.chunk_points(CHUNK).gpu_memory(BUDGET));
    let Some(engine) = engine else { return };
    let scene = synthetic::scene("als", POINTS, 5).unwrap();
    let set = FeatureSet::parse("normals,planarity,knn_distance").unwrap();
    let seen: Arc<Mutex<Vec<(PoolStats, u64)>>> = Arc::default();
    let watched = engine.on_progress({
        let (seen, engine) = (seen.clone(), engine.clone());
        move |_| {
            let now = (engine.pool_stats().unwrap(), resident().unwrap_or(0));
            seen.lock().unwrap().push(now);
        }
    });
    let mut first = None;
    while seen.lock().unwrap().len() < chunks_wanted() {
        let (columns, report) = watched.features(&scene.cloud(), &set, knn(6)).unwrap();
        assert!(report.chunks >= 4, "{} chunks", report.chunks);
        let first = first.get_or_insert_with(|| columns.clone());
        let differ = |(a, b): (&f32, &f32)| a.to_bits() != b.to_bits();
        let off: usize = columns
            .iter()
            .zip(&*first)
            .map(|(a, b)| a.values.iter().zip(&b.values).filter(|v| differ(*v)).count())
            .sum();
        assert_eq!(off, 0, "columns of a later run differ");
    }

    let seen = seen.lock().unwrap();
    let settled = seen[SETTLED].0;
    let last = seen.last().unwrap().0;
    let (hits, misses) = (last.hits - settled.hits, last.misses - settled.misses);
    let reused = hits as f64 / (hits + misses) as f64;
    let lent = (last.bytes_lent - settled.bytes_lent) as f64;
    let padding = (last.bytes_lent_padding - settled.bytes_lent_padding) as f64 / lent;
    println!(
        "{} chunks: {:.2} % of {} requests reused, {:.2} % padding, {} KiB held at the end of {} KiB",
        seen.len(),
        100.0 * reused,
        hits + misses,
        100.0 * padding,
        (last.bytes_in_use + last.bytes_idle) >> 10,
        (settled.bytes_in_use + settled.bytes_idle) >> 10,
    );
    assert!(reused >= 0.99, "{misses} of {} requests made a buffer", hits + misses);
    assert!(padding <= 0.10, "{padding} of the bytes are padding");
    for (stats, _) in seen.iter() {
        assert!(stats.bytes_in_use + stats.bytes_idle <= BUDGET && stats.bytes_peak <= BUDGET, "{stats:?}");
    }
    assert_eq!(last.bytes_peak, settled.bytes_peak, "bytes grow");
    // Columns come and go while chunks run, so the largest of a stretch counts.
    let largest = |part: &[(PoolStats, u64)]| part.iter().map(|seen| seen.1).max().unwrap_or(0);
    let stretch = (seen.len() - SETTLED) / 2;
    let (before, after) =
        (largest(&seen[SETTLED..SETTLED + stretch]), largest(&seen[seen.len() - stretch..]));
    println!("resident at most {} KiB, then {} KiB", before >> 10, after >> 10);
    assert!(after as f64 <= 1.01 * before as f64, "resident memory grew from {before} to {after}");

    let after = engine.pool_stats().unwrap();
    assert_eq!(
        (after.bytes_in_use, after.bytes_requested, after.bytes_padding),
        (0, 0, 0),
        "a buffer was kept"
    );
    engine.trim();
    let after = engine.pool_stats().unwrap();
    assert_eq!((after.bytes_in_use, after.bytes_idle), (0, 0));
}

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
    for after in [0, 1, 5, report.chunks - 2] {
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
