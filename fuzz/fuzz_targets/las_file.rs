//! LAS/LAZ files: each is read or refused, and one that is read can be written with a column.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use lidar_features::las::{ReadOptions, WriteOptions, read, read_with, write_with_columns};
use lidar_features::{Backend, Engine, Error, FeatureSet, Neighborhood};

/// Small input can decode to billions of points; reading more of them than the originals hold a few times over is only slow.
const MOST_POINTS: u64 = 1_000;

static FOLDER: LazyLock<tempfile::TempDir> =
    LazyLock::new(|| tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap());
static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::builder().backend(Backend::Cpu).build().unwrap());

/// libfuzzer ends the process at each panic. Those of the laz crate are contained by the library, or they end the run
/// when they leave it.
fn let_laz_panic() {
    let abort = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|at| at.file().contains("/laz-")) {
            abort(panic);
        }
    }));
}

fn run(data: &[u8]) {
    let input = FOLDER.path().join("input.las");
    let output: PathBuf = FOLDER.path().join("output.laz");
    std::fs::write(&input, data).unwrap();
    let options = ReadOptions::default().limit(MOST_POINTS);
    let cloud = match read_with(&input, &options) {
        Ok(cloud) if (cloud.len() as u64) < MOST_POINTS => cloud,
        Err(Error::Io { source, .. }) => panic!("{source}"),
        _ => return,
    };
    let set = FeatureSet::parse("vertical_range").unwrap();
    let Ok((columns, _)) = ENGINE.features(&cloud.cloud(), &set, Neighborhood::knn(3).unwrap()) else {
        return;
    };
    if write_with_columns(&input, &output, &columns, &WriteOptions::default()).is_ok() {
        assert!(read(&output).unwrap() == cloud, "the written file has other points");
        std::fs::remove_file(&output).unwrap();
    } else {
        assert!(!output.exists());
    }
}

fuzz_target!(init: let_laz_panic(), |data: &[u8]| -> Corpus {
    run(data);
    Corpus::Keep
});
