//! `bench`: how long a run takes, and whether a sample of its answers is right.

use std::path::PathBuf;
use std::time::Instant;

use lidar_features::las::{LasCloud, ReadOptions, read_with};
use lidar_features::synthetic::{self, Scene};
use lidar_features::{Feature, FeatureSet, Fill, Neighborhood, PointCloud, Report};
use serde_json::json;

use crate::check::{Expected, KNOWN, Rule};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::request::Request;
use crate::{interrupt, output, report, scope};

#[derive(clap::Args)]
pub struct Args {
    /// LAS or LAZ file to measure on.
    #[arg(long, value_name = "FILE", conflicts_with = "scene")]
    input: Option<PathBuf>,
    /// Synthetic scene to measure on [default: als].
    #[arg(long, value_name = "NAME", value_parser = ["als", "tls", "uniform", "duplicates"])]
    scene: Option<String>,
    /// Points of the scene [default: 1000000], or how many of the file's first points to take [default: all].
    #[arg(long, value_name = "N")]
    points: Option<u32>,
    #[command(flatten)]
    request: Request,
    /// Measured runs, after one that is not; the median counts.
    #[arg(long, value_name = "R", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Prints an object.
    #[arg(long)]
    json: bool,
}

/// Synthetic scenes of a run equal those of any other.
const SEED: u64 = 1;

pub fn run(args: &Args) -> Result<(), Failure> {
    let set = args.request.set()?;
    let neighborhoods = args.request.neighborhoods()?;
    args.request.options()?;
    interrupt::install();
    let progress = Progress::new();
    let start = Instant::now();
    let source = Source::load(args, &progress)?;
    let load_seconds = start.elapsed().as_secs_f64();
    let engine = args.request.engine()?;
    let ignored = source.ignored(&args.request)?;
    let cloud = args.request.cloud(source.cloud(), ignored.as_deref());
    let set = args.request.set_for(set, &cloud)?;

    progress.step("warming up".to_owned());
    let compute = |set: &FeatureSet| args.request.compute(&engine, &cloud, set);
    let (mut columns, first) = compute(&set)?;
    let mut runs: Vec<Report> = Vec::new();
    for i in 0..args.repeat {
        progress.step(format!("run {} of {}", i + 1, args.repeat));
        // The last run's columns go first, so that two sets never stand in memory at a time.
        drop(std::mem::take(&mut columns));
        let (new, report) = compute(&set)?;
        columns = new;
        runs.push(report);
    }
    runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let mut median = runs[runs.len() / 2].clone();
    median.seconds = (runs[(runs.len() - 1) / 2].seconds + median.seconds) / 2.0;

    progress.step("checking a sample".to_owned());
    let known = |f: &Feature| columns.get(*f).is_some() && !first.redefined.contains(f);
    let mut redefined = first.redefined.clone();
    if !KNOWN.iter().any(known) {
        let (known, report) = compute(&FeatureSet::new(KNOWN))?;
        columns = known;
        redefined = report.redefined;
    }
    let mut checked = Checked { sample: 0, mismatches: 0 };
    for neighborhood in &neighborhoods {
        let expected = expected(&source, first.quantum, &args.request, neighborhood, ignored.as_deref())?;
        let Some(expected) = expected else { continue };
        let only = neighborhoods.len() == 1;
        let values = |f| if only { columns.get(f) } else { columns.get_in(f, *neighborhood) };
        checked.sample = expected.sample();
        checked.mismatches += expected.mismatches(values, &redefined);
    }
    drop(progress);
    print(args, &source, &median, &runs, load_seconds, &checked)?;
    match checked.mismatches {
        0 => Ok(()),
        wrong => {
            Err(Failure::Failed(format!("{wrong} values of {} sampled points are wrong", checked.sample)))
        }
    }
}

struct Checked {
    sample: usize,
    mismatches: usize,
}

/// What a sample of the source's points must have; `None` if the source has no lattice.
fn expected(
    source: &Source,
    quantum: f64,
    request: &Request,
    neighborhood: &Neighborhood,
    ignored: Option<&[bool]>,
) -> Result<Option<Expected>, Failure> {
    let lattice = match source {
        Source::Scene(scene, _) => &scene.lattice[..],
        Source::File(file) => match file.lattice() {
            Some((lattice, _)) => lattice,
            None => return Ok(None),
        },
    };
    let undefined = if request.fill() == Fill::Zero { 0.0 } else { f64::NAN };
    let (k, radius) = scope::bounds(neighborhood, &request.conventions()?);
    let chosen = matches!(neighborhood, Neighborhood::Optimal { .. });
    Ok(Some(Expected::new(lattice, ignored, quantum, Rule { k, radius, chosen }, undefined)))
}

fn print(
    args: &Args,
    source: &Source,
    median: &Report,
    runs: &[Report],
    load_seconds: f64,
    checked: &Checked,
) -> Result<(), Failure> {
    let rate = if median.seconds > 0.0 { median.points as f64 / median.seconds } else { 0.0 };
    if args.json {
        let mut value = report::json(median);
        value.insert("points_per_second".to_owned(), json!(rate));
        value.insert("repeat".to_owned(), json!(args.repeat));
        value.insert("all_seconds".to_owned(), json!(runs.iter().map(|r| r.seconds).collect::<Vec<_>>()));
        value.insert("load_seconds".to_owned(), json!(load_seconds));
        let scales: Vec<_> = args.request.neighborhoods()?.iter().map(Neighborhood::suffix).collect();
        value.insert("neighborhoods".to_owned(), json!(scales));
        value.insert("source".to_owned(), json!(source.name(args)));
        value.insert(
            "checked".to_owned(),
            json!({ "sample": checked.sample, "mismatches": checked.mismatches }),
        );
        return output::print_json(&value.into());
    }
    let rules: Vec<_> = args.request.neighborhoods()?.iter().map(scope::words).collect();
    let rule = rules.join("; ");
    let mut rows = vec![
        vec!["source".to_owned(), format!("{}, {} points", source.name(args), median.points)],
        vec!["computed".to_owned(), format!("{} features of {rule}", median.features.len())],
        vec![
            "conventions".to_owned(),
            match median.members {
                Some(members) => format!("{}, {members} members with the point itself", median.conventions),
                None => median.conventions.to_owned(),
            },
        ],
        vec!["left out".to_owned(), format!("{} points", median.left_out)],
        vec!["on".to_owned(), report::who(median)],
        vec!["seconds".to_owned(), format!("{:.4} (median of {})", median.seconds, args.repeat)],
        vec!["rate".to_owned(), format!("{:.3} million points/s", rate / 1e6)],
    ];
    rows.extend(median.stages.iter().map(|(name, s)| vec![format!("  {name}"), format!("{s:.4} s")]));
    rows.extend([
        vec!["chunks".to_owned(), median.chunks.to_string()],
        vec!["stragglers".to_owned(), median.stragglers.to_string()],
        vec![
            "pool".to_owned(),
            format!(
                "{:.1} % reused, peak {} MiB, padding {} KiB",
                100.0 * median.pool.reuse_rate(),
                median.pool.bytes_peak >> 20,
                median.pool.bytes_padding >> 10
            ),
        ],
        vec!["checked".to_owned(), format!("{} points, {} wrong values", checked.sample, checked.mismatches)],
    ]);
    output::print(&output::table(&rows))
}

/// What is measured on.
enum Source {
    File(LasCloud),
    /// With the classes of its points.
    Scene(Scene, Vec<u8>),
}

impl Source {
    fn load(args: &Args, progress: &Progress) -> Result<Self, Failure> {
        match &args.input {
            Some(path) => {
                let watch = |done, all| progress.points("reading", done, all);
                let mut options = ReadOptions::default().watch(&watch);
                if let Some(points) = args.points {
                    options = options.limit(points.into());
                }
                Ok(Self::File(read_with(path, &options)?))
            }
            None => {
                let name = args.scene.as_deref().unwrap_or("als");
                let points = args.points.unwrap_or(1_000_000) as usize;
                if points > lidar_features::MAX_POINTS {
                    return Err(Failure::Usage(format!("--points {points} is more than one cloud may have")));
                }
                progress.step(format!("making {points} points of {name}"));
                let scene = synthetic::scene(name, points, SEED);
                scene.map(Self::scene).ok_or_else(|| Failure::Usage(format!("unknown scene {name:?}")))
            }
        }
    }

    fn scene(scene: Scene) -> Self {
        let classes = scene.truth.iter().map(|truth| truth.class.las_code()).collect();
        Self::Scene(scene, classes)
    }

    fn cloud(&self) -> PointCloud<'_> {
        match self {
            Self::File(file) => file.cloud(),
            Self::Scene(scene, classes) => scene.cloud().with_classification(classes),
        }
    }

    /// Which points the request leaves out. Scenes have neither classes nor flags.
    fn ignored(&self, request: &Request) -> Result<Option<Vec<bool>>, Failure> {
        let (classes, withheld) = request.ignored();
        match self {
            Self::File(file) => Ok(file.ignored(classes, withheld)),
            Self::Scene(..) if classes.is_empty() && !withheld => Ok(None),
            Self::Scene(..) => {
                Err(Failure::Usage("--ignore-classes and --skip-withheld need a file (--input)".to_owned()))
            }
        }
    }

    fn name(&self, args: &Args) -> String {
        match &args.input {
            Some(path) => path.display().to_string(),
            None => args.scene.clone().unwrap_or_else(|| "als".to_owned()),
        }
    }
}
