//! One tile with its neighbours: what `compute --neighbors` and `compute-dir` share.

use std::path::{Path, PathBuf};
use std::time::Instant;

use lidar_features::Engine;
use lidar_features::las::{WriteOptions, check_output, write_with_columns};
use lidar_features::tiles::Tiles;

use crate::compute::Done;
use crate::failure::Failure;
use crate::interrupt;
use crate::progress::Progress;
use crate::request::Request;

/// Files that are named, and the LAS/LAZ files in folders that are, sorted by name.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let failed = |error: std::io::Error| Failure::Failed(format!("{}: {error}", path.display()));
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            // Names that begin with a dot are of files that are being written.
            let hidden = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            let ending = file.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
            if !hidden && matches!(ending.as_deref(), Some("las" | "laz")) && file.is_file() {
                found.push(file);
            }
        }
        if found.is_empty() {
            return Err(Failure::Failed(format!("{}: no LAS or LAZ file is in the folder", path.display())));
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

/// Computes a tile and writes its output.
pub fn compute(
    tiles: &Tiles<'_>,
    input: &Path,
    output: &Path,
    request: &Request,
    engine: &Engine,
    write: &WriteOptions<'_>,
    progress: &Progress,
) -> Result<Done, Failure> {
    let (mut set, neighborhoods, options) = (request.set()?, request.neighborhoods()?, request.options()?);
    let start = Instant::now();
    let tile = tiles.read(input)?;
    let read_seconds = start.elapsed().as_secs_f64();
    if request.only_available() {
        let (kept, left_out) = tile.available(&set, &options)?;
        set = request.kept(kept, &left_out)?;
    }
    check_output(input, output, &set, &neighborhoods, write)?;
    let name = input.file_name().unwrap_or_default().to_string_lossy();
    progress.step(format!("computing {} features of {} points of {name}", set.len(), tile.len()));
    let (columns, run) = tile.features(engine, &set, &neighborhoods, &options)?;
    let unit_note = tile.unit_note().map(str::to_owned);
    drop(tile);
    let start = Instant::now();
    let watch = |done, all| progress.points("writing", done, all);
    let write = write.watch(&watch);
    let summary = interrupt::while_writing(|| write_with_columns(input, output, &columns, &write))?;
    Ok(Done { run, summary, seconds: [read_seconds, start.elapsed().as_secs_f64()], unit_note, parts: None })
}
