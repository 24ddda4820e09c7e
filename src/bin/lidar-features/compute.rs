//! `compute`: a file in, the file with its features out.

use std::path::PathBuf;
use std::time::Instant;

use lidar_features::las::{
    ReadOptions, WriteOptions, WriteSummary, check_output, read_with, write_with_columns,
};
use lidar_features::tiles::Tiles;
use lidar_features::{Engine, FeatureSet, Neighborhood, Report};
use serde_json::json;

use crate::failure::Failure;
use crate::progress::Progress;
use crate::request::Request;
use crate::{interrupt, output, report, tile};

#[derive(clap::Args)]
pub struct Args {
    /// LAS or LAZ file to read.
    input: PathBuf,
    /// LAS or LAZ file to write: all of the input, and one dimension per feature.
    #[arg(value_parser = las_or_laz)]
    output: PathBuf,
    /// Tiles around the input, or folders of them: points near the border take their neighbours from there, so that columns are
    /// those of all tiles as one cloud. The input may be among them.
    #[arg(long, value_name = "DIR|FILE", num_args = 1..)]
    neighbors: Vec<PathBuf>,
    #[command(flatten)]
    request: Request,
    /// Adds the dimension Flags (u32): what is special about each point and its neighbourhood.
    #[arg(long)]
    flags: bool,
    /// Replaces dimensions of the input that have a new one's name, instead of refusing.
    #[arg(long)]
    overwrite_columns: bool,
    /// Writes the run's report to this file.
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
}

fn las_or_laz(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref() {
        Some("las" | "laz") => Ok(path),
        _ => Err("the name must end in .las or .laz".to_owned()),
    }
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let set = args.request.set()?;
    let neighborhoods = args.request.neighborhoods()?;
    args.request.options()?;
    interrupt::install();
    let write = WriteOptions::default().overwrite_columns(args.overwrite_columns).flags(args.flags);
    // Which columns there will be may depend on the cloud; the paths do not.
    let certain = if args.request.only_available() { &FeatureSet::default() } else { &set };
    check_output(&args.input, &args.output, certain, &neighborhoods, &write)?;
    let engine = args.request.engine()?;
    let done = match args.neighbors.is_empty() {
        true => alone(args, &engine, set, &neighborhoods, &write)?,
        false => {
            let progress = Progress::new();
            let watch = |done, all| progress.points("reading", done, all);
            let files = tile::files(&args.neighbors)?.into_iter().chain([args.input.clone()]);
            let tiles = Tiles::open(files, args.request.point_choices())?.watch(&watch);
            tile::compute(&tiles, &args.input, &args.output, &args.request, &engine, &write, &progress)?
        }
    };
    if let Some(path) = &args.report {
        output::write_json(path, &done.json().into())?;
    }
    output::print(&done.line(&args.output.display().to_string()))
}

/// Computes a file as a cloud of its own.
fn alone(
    args: &Args,
    engine: &Engine,
    set: FeatureSet,
    neighborhoods: &[Neighborhood],
    write: &WriteOptions<'_>,
) -> Result<Done, Failure> {
    let progress = Progress::new();
    let start = Instant::now();
    let watch = |done, all| progress.points("reading", done, all);
    let file = read_with(&args.input, &ReadOptions::default().watch(&watch))?;
    let read_seconds = start.elapsed().as_secs_f64();

    let (classes, withheld) = args.request.ignored();
    let ignored = file.ignored(classes, withheld);
    let cloud = args.request.cloud(file.cloud(), ignored.as_deref());
    let set = args.request.set_for(set, &cloud)?;
    if args.request.only_available() {
        check_output(&args.input, &args.output, &set, neighborhoods, write)?;
    }
    progress.step(format!("computing {} features of {} points", set.len(), file.len()));
    let (columns, run) = args.request.compute(engine, &cloud, &set)?;
    let unit_note = file.unit_note.clone();
    drop(file);

    let start = Instant::now();
    let watch = |done, all| progress.points("writing", done, all);
    let summary = interrupt::while_writing(|| {
        write_with_columns(&args.input, &args.output, &columns, &write.watch(&watch))
    })?;
    let seconds = [read_seconds, start.elapsed().as_secs_f64()];
    Ok(Done { run, summary, seconds, unit_note })
}

/// What was done for one output.
pub struct Done {
    pub run: Report,
    pub summary: WriteSummary,
    /// Of reading and of writing.
    pub seconds: [f64; 2],
    pub unit_note: Option<String>,
}

impl Done {
    fn json(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut value = report::json(&self.run);
        let [read, write] = self.seconds;
        value.insert("io".to_owned(), json!({ "read": read, "write": write }));
        value.insert("added".to_owned(), json!(self.summary.added));
        value.insert("replaced".to_owned(), json!(self.summary.replaced));
        let notes: Vec<_> = self.summary.notes.iter().chain(&self.unit_note).collect();
        value.insert("notes".to_owned(), json!(notes));
        value
    }

    /// One line for people.
    pub fn line(&self, name: &str) -> String {
        format!(
            "{name}: {} points, {} dimensions added, {} replaced; computed in {:.2} s on {}\n",
            self.summary.points,
            self.summary.added.len(),
            self.summary.replaced.len(),
            self.run.seconds,
            report::who(&self.run),
        )
    }
}
