//! The gate to the GPU: tests that need one fail without it, unless told to do without.

use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::{Mutex, OnceLock, PoisonError};

use lidar_features::{Backend, Engine, EngineBuilder, Frame, PointCloud};

use super::knn;

/// An engine on a GPU, software adapters included; one for the whole process.
///
/// `LIDAR_FEATURES_TEST_ADAPTER=text` chooses the adapter, `LIDAR_FEATURES_TEST_GPU=off` gives `None`. Without an
/// adapter the test fails: a run that silently checks nothing looks like one that passed.
pub fn gpu_engine() -> Option<Engine> {
    static ENGINE: OnceLock<Option<Engine>> = OnceLock::new();
    ENGINE
        .get_or_init(|| {
            let engine = gpu_engine_with(|builder| builder)?;
            let frame = Frame::new([0.0; 3], 1.0).unwrap();
            let (_, report) = engine.neighbors(&PointCloud::from_lattice(&[[0; 3]], frame), knn(1)).unwrap();
            eprintln!(
                "GPU tests run on {}",
                report.adapter.as_deref().unwrap_or("an adapter without a name")
            );
            Some(engine)
        })
        .clone()
}

/// An engine whose chunks have at most `points` points; one of each size for the whole process, as every engine compiles
/// its pipelines anew. Tests of what an engine holds or counts make their own with [`gpu_engine_with`].
pub fn chunked_engine(points: usize) -> Option<Engine> {
    static ENGINES: Mutex<BTreeMap<usize, Engine>> = Mutex::new(BTreeMap::new());
    let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
    Some(match engines.entry(points) {
        Entry::Occupied(known) => known.get().clone(),
        Entry::Vacant(free) => free.insert(gpu_engine_with(|builder| builder.chunk_points(points))?).clone(),
    })
}

/// An engine of its own on the same adapter, with more choices.
pub fn gpu_engine_with(choices: impl FnOnce(EngineBuilder) -> EngineBuilder) -> Option<Engine> {
    if !wants_gpu() {
        return None;
    }
    let mut builder = Engine::builder().backend(Backend::Gpu);
    if let Ok(text) = std::env::var("LIDAR_FEATURES_TEST_ADAPTER") {
        builder = builder.adapter(text);
    }
    match choices(builder).build() {
        Ok(engine) => Some(engine),
        Err(error) => panic!("{error}; LIDAR_FEATURES_TEST_GPU=off skips the tests that need a GPU"),
    }
}

/// Whether tests that need a GPU run.
pub fn wants_gpu() -> bool {
    let off = std::env::var("LIDAR_FEATURES_TEST_GPU").is_ok_and(|v| v == "off");
    if off {
        eprintln!("skipped: LIDAR_FEATURES_TEST_GPU=off");
    }
    !off
}
