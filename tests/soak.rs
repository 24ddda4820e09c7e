//! Many chunks through one engine: buffers are reused, and nothing grows.
//!
//! `LIDAR_FEATURES_SOAK=1000` says how many chunks; 60 unless it does. A second driver is given smaller ones
//! (`LIDAR_FEATURES_CHUNKS=few`).
#![allow(missing_docs)]

mod common;

use std::sync::{Arc, Mutex, PoisonError};

use common::gpu::gpu_engine_with;
use common::knn;
use lidar_features::{FeatureSet, Frame, Neighborhood, PointCloud, PoolStats, synthetic};

/// Bytes of device memory that the engine may take.
const BUDGET: u64 = 256 << 20;
/// Points of the cloud, and of a chunk.
const POINTS: [usize; 2] = [400_000, 108_000];
const FEW_POINTS: [usize; 2] = [100_000, 27_000];
/// Chunks after which nothing may grow.
const SETTLED: usize = 40;

/// Held by each test: one counts what the whole process holds.
static ALONE: Mutex<()> = Mutex::new(());

fn chunks_wanted() -> usize {
    std::env::var("LIDAR_FEATURES_SOAK").ok().and_then(|n| n.parse().ok()).unwrap_or(60)
}

fn points() -> [usize; 2] {
    let few = std::env::var("LIDAR_FEATURES_CHUNKS").is_ok_and(|chunks| chunks == "few");
    if few { FEW_POINTS } else { POINTS }
}

/// Resident bytes of this process, where the system says so.
fn resident() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    pages.split_whitespace().nth(1)?.parse::<u64>().ok().map(|pages| pages * 4096)
}

#[test]
fn buffers_are_reused_and_nothing_grows() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let [points, chunk] = points();
    let engine = gpu_engine_with(|b| b.chunk_points(chunk).gpu_memory(BUDGET));
    let Some(engine) = engine else { return };
    let scene = synthetic::scene("als", points, 5).unwrap();
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
    let (bound, made) = (
        last.bind_groups_reused - settled.bind_groups_reused,
        last.bind_groups_made - settled.bind_groups_made,
    );
    println!(
        "{made} bind groups made and {bound} reused, after {} in the first {SETTLED} chunks; {} query sets",
        settled.bind_groups_made, last.query_sets_made,
    );
    // A chunk that meets a slot's buffers in a new order may bind them anew, now and then.
    assert!(made * 50 <= bound, "{made} bind groups were made, and {bound} reused");
    assert_eq!(last.query_sets_made, settled.query_sets_made, "query sets were made");
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
    // Over few chunks the allocator's own ups and downs are more than what a leak would be.
    let allowed = if seen.len() >= 500 { 1.01 } else { 1.05 };
    assert!(after as f64 <= allowed * before as f64, "resident memory grew from {before} to {after}");

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

/// Equal chunks of every kind of request make no buffer, bind group or query set after the first.
#[test]
fn equal_chunks_bind_what_is_bound() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let points: Vec<[i32; 3]> = (0..16_384).map(|i| [i / 64 * 50, i % 64 * 50, i * 7 % 11]).collect();
    let cloud = PointCloud::from_lattice(&points, Frame::new([0.0; 3], 0.01).unwrap());
    let requests = [
        ("normals,planarity", knn(8)),
        ("plane_fit,normal_variation", knn(8)),
        ("plane_fit", Neighborhood::radius(1.2).unwrap()),
    ];
    for reuse in [true, false] {
        let engine = gpu_engine_with(|b| b.chunk_points(2_048).chunks_in_flight(1).reuse_buffers(reuse));
        let Some(engine) = engine else { return };
        for (names, neighborhood) in requests {
            let set = FeatureSet::parse(names).unwrap();
            let run = || {
                let (_, report) = engine.features(&cloud, &set, neighborhood).unwrap();
                assert!(report.chunks >= 8, "{} chunks", report.chunks);
                report.pool
            };
            let [_, before, after] = [run(), run(), run()];
            let made = |stats: PoolStats| (stats.misses, stats.bind_groups_made, stats.query_sets_made);
            if reuse {
                assert_eq!(made(after), made(before), "{names}");
                assert!(after.bind_groups_reused >= before.bind_groups_reused + 8 * 8, "{names}");
            } else {
                assert!(after.misses > before.misses && after.query_sets_made > before.query_sets_made);
                assert_eq!((after.hits, after.bind_groups_reused), (0, 0), "{names}");
            }
        }
        if reuse {
            engine.trim();
            let stats = engine.pool_stats().unwrap();
            assert_eq!((stats.bytes_in_use, stats.bytes_idle), (0, 0));
        }
    }
}
