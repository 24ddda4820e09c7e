//! `compute`: a file in, the file with its features out.

use std::path::PathBuf;
use std::time::Instant;

use lidar_features::las::{
    LasSink, LasSource, ReadOptions, WriteOptions, WriteSummary, check_output, read_with, write_with_columns,
};
use lidar_features::stream::{self, StreamOptions};
use lidar_features::tiles::Tiles;
use lidar_features::{Engine, FeatureSet, Neighborhood, Report};
use serde_json::json;

use crate::failure::Failure;
use crate::progress::Progress;
use crate::request::{Request, bytes};
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
    /// Computes in bounded memory, part by part through temporary files; so does a file that would take more than half of the
    /// available memory.
    #[arg(long, conflicts_with = "neighbors")]
    stream: bool,
    /// Host memory of a streamed run, as 512M or 2G [default: half of what is available].
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    memory_budget: Option<u64>,
    /// Folder for the temporary files of a streamed run [default: the system's].
    #[arg(long, value_name = "DIR")]
    temp_dir: Option<PathBuf>,
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
        true if args.is_streamed(&set, &neighborhoods)? => {
            streamed(args, &engine, &set, &neighborhoods, &write)?
        }
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

impl Args {
    /// Whether the file is too large for memory, or is to be streamed anyway.
    fn is_streamed(&self, set: &FeatureSet, neighborhoods: &[Neighborhood]) -> Result<bool, Failure> {
        if self.stream {
            return Ok(true);
        }
        let points = LasSource::points_in(&self.input)?;
        let needed = stream::in_memory_bytes(points, set, neighborhoods, &self.request.options()?);
        Ok(stream::available_memory().is_some_and(|available| needed > available / 2))
    }
}

/// Computes a file part by part.
fn streamed(
    args: &Args,
    engine: &Engine,
    set: &FeatureSet,
    neighborhoods: &[Neighborhood],
    write: &WriteOptions<'_>,
) -> Result<Done, Failure> {
    let progress = Progress::new();
    let mut source = match LasSource::open(&args.input, args.request.point_choices()) {
        Ok(source) => source,
        Err(error) if args.stream => return Err(error.into()),
        // Axes without a common quantum have no lattice to stream on.
        Err(_) => return alone(args, engine, set.clone(), neighborhoods, write),
    };
    let unit_note = source.unit_note().map(str::to_owned);
    let mut sink = LasSink::new(&args.input, &args.output, *write);
    let watch = |stage, done, all| {
        // From here on a file is there that has to be removed.
        if stage == "writing" && done == 0 {
            interrupt::set_writing(true);
        }
        progress.points(stage, done, all)
    };
    let mut how = StreamOptions::default().only_available(args.request.only_available()).watch(&watch);
    (how.memory_budget, how.temp_dir) = (args.memory_budget, args.temp_dir.clone());
    let options = args.request.options()?;
    let start = Instant::now();
    let done = engine.stream(&mut source, &mut sink, set, neighborhoods, &options, &how);
    let summary = done.and_then(|done| Ok((done, sink.finish()?)));
    interrupt::set_writing(false);
    let (done, summary) = summary?;
    if !done.left_out.is_empty() {
        args.request.kept(set.clone(), &done.left_out)?;
    }
    let seconds = [0.0, (start.elapsed().as_secs_f64() - done.report.seconds).max(0.0)];
    let parts = Some([done.parts, done.temp_bytes]);
    Ok(Done { run: done.report, summary, seconds, unit_note, parts })
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
    Ok(Done { run, summary, seconds, unit_note, parts: None })
}

/// What was done for one output.
pub struct Done {
    pub run: Report,
    pub summary: WriteSummary,
    /// Of reading and of writing.
    pub seconds: [f64; 2],
    pub unit_note: Option<String>,
    /// Of a streamed run: parts, and bytes of temporary files.
    pub parts: Option<[u64; 2]>,
}

impl Done {
    fn json(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut value = report::json(&self.run);
        let [read, write] = self.seconds;
        value.insert("io".to_owned(), json!({ "read": read, "write": write }));
        if let Some([parts, bytes]) = self.parts {
            value.insert("stream".to_owned(), json!({ "parts": parts, "temp_bytes": bytes }));
        }
        value.insert("added".to_owned(), json!(self.summary.added));
        value.insert("replaced".to_owned(), json!(self.summary.replaced));
        let notes: Vec<_> = self.summary.notes.iter().chain(&self.unit_note).collect();
        value.insert("notes".to_owned(), json!(notes));
        value
    }

    /// One line for people.
    pub fn line(&self, name: &str) -> String {
        format!(
            "{name}: {} points, {} dimensions added, {} replaced; {} in {:.2} s on {}\n",
            self.summary.points,
            self.summary.added.len(),
            self.summary.replaced.len(),
            if self.parts.is_some() { "streamed" } else { "computed" },
            self.run.seconds,
            report::who(&self.run),
        )
    }
}
