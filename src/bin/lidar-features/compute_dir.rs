//! `compute-dir`: a folder of tiles in, the tiles with their features out.
//!
//! An output has its name only when it is whole, and beside it stands a record of what it was made from. A run takes an
//! output for finished only if the record says the same as it would write; so it can be stopped at any moment and started
//! again, also after tiles or the request have changed.

use std::fs::{self, File, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use lidar_features::las::{PointChoices, WriteOptions};
use lidar_features::tiles::Tiles;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::progress::Progress;
use crate::request::Request;
use crate::{interrupt, output, tile};

#[derive(clap::Args)]
pub struct Args {
    /// Folder of LAS and LAZ files, the tiles of one survey.
    input: PathBuf,
    /// Folder to write to: a file of the same name for each tile. Made if it is not there.
    output: PathBuf,
    #[command(flatten)]
    request: Request,
    /// Adds the dimension Flags (u32): what is special about each point and its neighbourhood.
    #[arg(long)]
    flags: bool,
    /// Replaces dimensions of the input that have a new one's name, instead of refusing.
    #[arg(long)]
    overwrite_columns: bool,
}

/// Held while a run works in an output folder; the system lets go of it whatever ends the process.
const LOCK: &str = ".lidar-features.lock";

pub fn run(args: &Args) -> Result<(), Failure> {
    args.request.set()?;
    let request = args.request.fingerprint()?;
    interrupt::install();
    let files = tile::files(std::slice::from_ref(&args.input))?;
    if !args.input.is_dir() {
        return Err(Failure::Failed(format!("{}: not a folder", args.input.display())));
    }
    let io = |path: &Path, error: std::io::Error| Failure::Failed(format!("{}: {error}", path.display()));
    fs::create_dir_all(&args.output).map_err(|e| io(&args.output, e))?;
    let folder = |path: &Path| fs::canonicalize(path).map_err(|e| io(path, e));
    if folder(&args.input)? == folder(&args.output)? {
        return Err(Failure::Usage("the output folder is the input folder".to_owned()));
    }
    let _lock = lock(&args.output)?;
    remove_temporaries(&args.output, &files).map_err(|e| io(&args.output, e))?;

    let engine = args.request.engine()?;
    let progress = Progress::new();
    let watch = |done, all| progress.points("reading", done, all);
    let mut failures: Vec<(String, String)> = Vec::new();
    // A file that is no tile fails alone. The others' records tell of all files, so that they are done again once it is one.
    let usable: Vec<&PathBuf> = files
        .iter()
        .filter(|file| match Tiles::open([file], PointChoices::default()) {
            Ok(_) => true,
            Err(error) => {
                failures.push((name(file), Failure::from(error).line()));
                false
            }
        })
        .collect();
    let tiles = Tiles::open(&usable, args.request.point_choices())?.watch(&watch);
    let write = WriteOptions::default().overwrite_columns(args.overwrite_columns).flags(args.flags);
    let survey = survey(&files)?;
    for file in usable {
        let (name, target) = (name(file), args.output.join(file.file_name().unwrap_or_default()));
        let made_from = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "request": request,
            "flags": args.flags,
            "overwrite_columns": args.overwrite_columns,
            "input": state(file)?,
            "tiles": survey,
        });
        let record = args.output.join(format!(".{name}.json"));
        if is_finished(&record, &target, &made_from) {
            output::print(&format!("{name}: finished before\n"))?;
            continue;
        }
        let done = tile::compute(&tiles, file, &target, &args.request, &engine, &write, &progress);
        match done {
            Ok(done) => {
                let finished = json!({ "made_from": made_from, "output": state(&target)? });
                output::write_json(&record, &finished)?;
                output::print(&done.line(&name))?;
            }
            Err(failure) => {
                output::print(&format!("{name}: failed: {}\n", failure.line()))?;
                failures.push((name, failure.line()));
            }
        }
    }
    drop(progress);
    if failures.is_empty() {
        return Ok(());
    }
    let list: Vec<_> = failures.iter().map(|(name, line)| format!("{name} ({line})")).collect();
    Err(Failure::Failed(format!("{} of {} tiles failed: {}", list.len(), files.len(), list.join(", "))))
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Two runs in one folder would remove each other's temporary files.
fn lock(folder: &Path) -> Result<File, Failure> {
    let path = folder.join(LOCK);
    let failed = |error: std::io::Error| Failure::Failed(format!("{}: {error}", path.display()));
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::Failed(format!("{}: another run works in this folder", folder.display())))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// What killed runs left: outputs and records that never got their names.
fn remove_temporaries(folder: &Path, files: &[PathBuf]) -> std::io::Result<()> {
    let names: Vec<String> = files.iter().map(|file| name(file)).collect();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.file_name().to_string_lossy().into_owned();
        let of_tile = |rest: &str| names.iter().any(|name| rest.starts_with(&format!("{name}.")));
        if found.ends_with(".part") && found.strip_prefix('.').is_some_and(of_tile) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A file's length and time of change.
fn state(file: &Path) -> Result<Value, Failure> {
    let found = fs::metadata(file).and_then(|meta| Ok((meta.len(), meta.modified()?)));
    let (length, time) = found.map_err(|error| Failure::Failed(format!("{}: {error}", file.display())))?;
    let time = time.duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64);
    Ok(json!([length, time]))
}

/// One number for all tiles: a tile's border depends on those around it.
fn survey(files: &[PathBuf]) -> Result<u64, Failure> {
    let mut hasher = DefaultHasher::new();
    for file in files {
        (name(file), state(file)?.to_string()).hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// Whether an output is there as the record says, which was made from the same.
fn is_finished(record: &Path, target: &Path, made_from: &Value) -> bool {
    let read =
        |path: &Path| fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let Some(record) = read(record) else { return false };
    record.get("made_from") == Some(made_from) && record.get("output").cloned() == state(target).ok()
}
