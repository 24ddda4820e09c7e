//! Many threads on one engine: every answer is the one that a single thread gets.
//!
//! `LIDAR_FEATURES_HAMMER=60` says for how many seconds; 3 unless it does.
#![allow(missing_docs)]

mod common;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use common::gpu::gpu_engine_with;
use common::random::Random;
use common::{cpu_engine, knn};
use lidar_features::{CancelToken, Engine, Error, FeatureSet, Neighborhood, Options, Result, synthetic};

const THREADS: usize = 8;

fn seconds() -> f64 {
    std::env::var("LIDAR_FEATURES_HAMMER").ok().and_then(|s| s.parse().ok()).unwrap_or(3.0)
}

/// Gives the words of an answer.
type Ask = Box<dyn Fn(&Engine) -> Result<Vec<u64>> + Send + Sync>;

/// One request of a mix.
struct Request {
    name: &'static str,
    ask: Ask,
    /// Whether the CPU gives the same words.
    exact: bool,
}

fn requests() -> Vec<Request> {
    let scene = std::sync::Arc::new(synthetic::scene("als", 2_500, 5).unwrap());
    let places = std::sync::Arc::new(synthetic::scene("als", 900, 6).unwrap());
    let features = |name, set: &str, neighborhoods: Vec<Neighborhood>| {
        let (set, scene) = (FeatureSet::parse(set).unwrap(), scene.clone());
        let ask = move |engine: &Engine| {
            let options = Options::default();
            let (columns, _) = engine.features_at_scales(&scene.cloud(), &set, &neighborhoods, &options)?;
            let values = columns.iter().flat_map(|c| c.values.iter().map(|v| u64::from(v.to_bits())));
            Ok(columns.flags().iter().map(|f| u64::from(*f)).chain(values).collect())
        };
        Request { name, ask: Box::new(ask), exact: false }
    };
    let lists = |name, rule: Neighborhood, foreign: bool| {
        let (scene, places) = (scene.clone(), places.clone());
        let ask = move |engine: &Engine| {
            let (found, _) = match foreign {
                true => engine.neighbors_of(&places.cloud(), &scene.cloud(), rule)?,
                false => engine.neighbors(&scene.cloud(), rule)?,
            };
            let pairs = found.indices.iter().zip(&found.dist_sq);
            let words = pairs.flat_map(|(i, d)| [u64::from(*i), *d]);
            Ok(found.offsets.iter().map(|o| *o as u64).chain(words).collect())
        };
        Request { name, ask: Box::new(ask), exact: true }
    };
    let radius = Neighborhood::radius(1.5).unwrap();
    vec![
        features("sums", "normals,planarity", vec![knn(10)]),
        features("scales", "planarity,verticality", vec![knn(6), knn(12), radius]),
        features("members", "plane_fit,normal_variation", vec![knn(10)]),
        lists("nearest", knn(10), false),
        lists("radius", radius, false),
        lists("queries", knn(10), true),
    ]
}

#[test]
fn eight_threads_get_what_one_gets() {
    let Some(engine) = gpu_engine_with(|b| b.chunk_points(700)) else { return };
    let requests = requests();
    let expected: Vec<Vec<u64>> = requests.iter().map(|request| (request.ask)(&engine).unwrap()).collect();
    for (request, expected) in requests.iter().zip(&expected).filter(|(request, _)| request.exact) {
        assert!((request.ask)(&cpu_engine()).unwrap() == *expected, "{} on the cpu", request.name);
    }
    let (calls, cancelled, slowest) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Duration::ZERO));
    let end = Instant::now() + Duration::from_secs_f64(seconds());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (requests, expected) = (&requests, &expected);
            let (calls, cancelled, slowest, engine) = (&calls, &cancelled, &slowest, engine.clone());
            scope.spawn(move || {
                let mut random = Random::new(thread as u64);
                while Instant::now() < end {
                    let which = random.below(requests.len() as u32) as usize;
                    let request = &requests[which];
                    let token = CancelToken::new();
                    let watched = engine.cancelled_by(&token);
                    let start = Instant::now();
                    let done = match random.below(4) {
                        // Another thread cancels it, perhaps before its turn comes, perhaps too late.
                        0 => std::thread::scope(|scope| {
                            let pause = Duration::from_micros(random.bits() % 60_000);
                            let token = token.clone();
                            scope.spawn(move || {
                                std::thread::sleep(pause);
                                token.cancel();
                            });
                            (request.ask)(&watched)
                        }),
                        // A worker of the application's own pool asks.
                        1 => rayon::join(|| (request.ask)(&engine), || (0..1000).sum::<usize>()).0,
                        2 => (request.ask)(&watched),
                        _ => (request.ask)(&engine),
                    };
                    let mut slowest = slowest.lock().unwrap();
                    *slowest = slowest.max(start.elapsed());
                    drop(slowest);
                    match done {
                        Ok(words) => {
                            assert!(words == expected[which], "{} differs", request.name);
                            calls.fetch_add(1, SeqCst);
                        }
                        Err(Error::Cancelled) => {
                            assert!(token.is_cancelled());
                            cancelled.fetch_add(1, SeqCst);
                        }
                        Err(error) => panic!("{}: {error}", request.name),
                    }
                    if random.below(50) == 0 {
                        engine.trim();
                    }
                    assert!(engine.pool_stats().is_some());
                }
            });
        }
    });
    let (calls, cancelled) = (calls.into_inner(), cancelled.into_inner());
    let slowest = slowest.into_inner().unwrap();
    println!("{THREADS} threads, {calls} answers and {cancelled} cancelled calls, the slowest {slowest:.1?}");
    assert!(calls >= THREADS && cancelled > 0);
    let stats = engine.pool_stats().unwrap();
    assert_eq!((stats.bytes_in_use, stats.bytes_requested, stats.bytes_padding), (0, 0, 0));
    for (request, expected) in requests.iter().zip(&expected) {
        assert!((request.ask)(&engine).unwrap() == *expected, "{} afterwards", request.name);
    }
}

#[test]
fn engines_may_be_shared() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<Engine>();
    shared::<CancelToken>();
}
