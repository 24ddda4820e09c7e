//! `bench`: how long a run takes, and whether a sample of its answers is right.

mod device;
mod source;
mod variant;
mod work;

use std::path::PathBuf;
use std::time::Instant;

use lidar_features::{Feature, FeatureSet, Fill, Neighborhood, PointCloud, Report};
use serde_json::json;

use crate::check::{Expected, KNOWN, Rule};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::request::{Request, positive};
use crate::{interrupt, output, report, scope};
use device::DeviceTimes;
use source::Source;
use variant::Variant;
use work::{Answers, Work};

#[derive(clap::Args)]
pub struct Args {
    /// LAS or LAZ file to measure on.
    #[arg(long, value_name = "FILE", conflicts_with = "scene")]
    input: Option<PathBuf>,
    /// Synthetic scene to measure on [default: als].
    #[arg(long, value_name = "NAME", value_parser = ["als", "tls", "uniform", "plane", "line", "duplicates"])]
    scene: Option<String>,
    /// Points of the scene [default: 1000000], or how many of the file's first points to take [default: all].
    #[arg(long, value_name = "N")]
    points: Option<u32>,
    #[command(flatten)]
    request: Request,
    /// Lays so many copies of the points side by side; each must get what the points alone get.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    copies: Option<u32>,
    /// Measures variants in turns, the first as the base of ratios.
    #[arg(long, value_enum, value_name = "A,B", value_delimiter = ',')]
    compare: Vec<Variant>,
    /// Measures neighbour lists, indices and distances in the points' order, instead of features.
    #[arg(long, conflicts_with_all = ["features", "preset", "available", "fill", "conventions", "viewpoint"])]
    lists: bool,
    /// Times the GPU from points in its memory to results in its memory: index, search and features, without quantising,
    /// upload and download. Each run uploads, repeats the work for 0.5 s, times it once, and reads the results back to be
    /// checked. What is told is milliseconds between the GPU's time stamps at the beginning and end of kernels, by stage
    /// and in all, and the wall-clock time from recording to the end of the wait, neighbourhoods that the CPU found
    /// included. The cloud must be one chunk (--gpu-memory), and the request one search.
    #[arg(long, conflicts_with_all = ["available", "fill", "conventions", "viewpoint"])]
    on_device: bool,
    /// Chunks under way at one time on the GPU [default: 3].
    #[arg(long, value_name = "N", value_parser = positive)]
    in_flight: Option<usize>,
    /// Measured runs, after one that is not; the median counts.
    #[arg(long, value_name = "R", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Prints an object.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let set = args.request.set()?;
    let neighborhoods = args.request.neighborhoods()?;
    args.request.options()?;
    let variants = if args.compare.is_empty() { vec![Variant::Asked] } else { args.compare.clone() };
    let work = Work { lists: args.lists, on_device: args.on_device };
    work.check(&args.request, &variants)?;
    interrupt::install();
    let progress = Progress::new();
    let start = Instant::now();
    let source = Source::load(args, &progress)?;
    let load_seconds = start.elapsed().as_secs_f64();
    let engine = |variant: &Variant| {
        args.request.engine_with(|builder| {
            let builder = variant.of(builder);
            match args.in_flight {
                Some(chunks) if *variant != Variant::Serial => builder.chunks_in_flight(chunks),
                _ => builder,
            }
        })
    };
    let engines = variants.iter().map(engine).collect::<Result<Vec<_>, _>>()?;
    let ignored = source.ignored(&args.request)?;
    let cloud = args.request.cloud(source.cloud(), ignored.as_deref());
    let set = args.request.set_for(set, &cloud)?;

    // Variants take turns, so that whatever else the machine does meets all of them.
    let mut runs: Vec<Vec<Report>> = vec![Vec::new(); variants.len()];
    let mut answers = Answers::default();
    let mut checked = Checked { sample: 0, mismatches: 0 };
    let mut first = Report::default();
    for i in 0..=args.repeat {
        for (v, engine) in engines.iter().enumerate() {
            progress.step(match i {
                0 => format!("warming up ({})", variants[v].name()),
                i => format!("run {i} of {} ({})", args.repeat, variants[v].name()),
            });
            if v == 0 {
                // The last run's answers go first, so that no more of them than needed stand in memory.
                drop(std::mem::take(&mut answers));
            }
            let (new, report) = work.run(&args.request, engine, &cloud, &set)?;
            match (i, v) {
                (_, 0) => answers = new,
                (0, _) if report.backend == first.backend => {
                    checked.mismatches += answers.differences(&new);
                }
                _ => {}
            }
            if v == 0 {
                first = report.clone();
            }
            if i > 0 {
                runs[v].push(report);
            }
        }
    }
    let medians: Vec<Report> = runs.iter_mut().map(|runs| median(runs)).collect();

    progress.step("checking a sample".to_owned());
    let run = |set: &FeatureSet, cloud: &PointCloud<'_>| work.run(&args.request, &engines[0], cloud, set);
    if let Source::Copies(copies) = &source {
        let lattice = source.lattice().unwrap_or_default();
        let single = PointCloud::from_lattice(&lattice[..copies.single], copies.frame);
        let (single, _) = run(&set, &args.request.cloud(single, None))?;
        checked.mismatches += answers.differences_of_copies(&single);
    }
    let mut redefined = first.redefined.clone();
    if let Answers::Columns(columns) = &answers {
        let known = |f: &Feature| columns.get(*f).is_some() && !first.redefined.contains(f);
        if !KNOWN.iter().any(known) {
            let (known, report) = run(&FeatureSet::new(KNOWN), &cloud)?;
            answers = known;
            redefined = report.redefined;
        }
    }
    for neighborhood in &neighborhoods {
        let expected = expected(&source, first.quantum, &args.request, neighborhood, ignored.as_deref())?;
        let Some(expected) = expected else { continue };
        let only = neighborhoods.len() == 1;
        checked.sample = expected.sample();
        checked.mismatches += match &answers {
            Answers::Lists(lists) => expected.mismatches_of_lists(lists),
            Answers::Columns(columns) => {
                let values = |f| if only { columns.get(f) } else { columns.get_in(f, *neighborhood) };
                expected.mismatches(values, &redefined)
            }
        };
    }
    drop(progress);
    let compared: Vec<_> = variants.iter().copied().zip(medians.iter().zip(&runs)).collect();
    print(args, &source, &compared, load_seconds, &checked)?;
    match checked.mismatches {
        0 => Ok(()),
        wrong => {
            Err(Failure::Failed(format!("{wrong} values of {} sampled points are wrong", checked.sample)))
        }
    }
}

/// The run in the middle; the runs are sorted.
fn median(runs: &mut [Report]) -> Report {
    runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let mut median = runs[runs.len() / 2].clone();
    median.seconds = (runs[(runs.len() - 1) / 2].seconds + median.seconds) / 2.0;
    median
}

/// A variant with its median and all its runs.
type Compared<'a> = (Variant, (&'a Report, &'a Vec<Report>));

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
    let Some(lattice) = source.lattice() else { return Ok(None) };
    let undefined = if request.fill() == Fill::Zero { 0.0 } else { f64::NAN };
    let (k, radius) = scope::bounds(neighborhood, &request.conventions()?);
    let chosen = matches!(neighborhood, Neighborhood::Optimal { .. });
    Ok(Some(Expected::new(lattice, ignored, quantum, Rule { k, radius, chosen }, undefined)))
}

fn print(
    args: &Args,
    source: &Source,
    compared: &[Compared<'_>],
    load_seconds: f64,
    checked: &Checked,
) -> Result<(), Failure> {
    let [(_, (median, runs)), others @ ..] = compared else { return Ok(()) };
    let on_device = |runs: &[Report]| args.on_device.then(|| DeviceTimes::of(runs));
    let rate = if median.seconds > 0.0 { median.points as f64 / median.seconds } else { 0.0 };
    if args.json {
        let mut value = report::json(median);
        value.insert("points_per_second".to_owned(), json!(rate));
        value.insert("repeat".to_owned(), json!(args.repeat));
        value.insert("all_seconds".to_owned(), json!(runs.iter().map(|r| r.seconds).collect::<Vec<_>>()));
        value.insert("lists".to_owned(), json!(args.lists));
        value.insert("on_device".to_owned(), json!(on_device(runs).map(|times| times.json())));
        if !others.is_empty() {
            let object = |(variant, (median, runs)): &Compared<'_>| {
                json!({
                    "variant": variant.name(),
                    "seconds": median.seconds,
                    "all_seconds": runs.iter().map(|r| r.seconds).collect::<Vec<_>>(),
                    "allocation_seconds": median.pool.allocation_seconds,
                    "on_device": on_device(runs).map(|times| times.json()),
                })
            };
            value.insert("compared".to_owned(), json!(compared.iter().map(object).collect::<Vec<_>>()));
        }
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
        vec![
            "computed".to_owned(),
            match args.lists {
                true => format!("lists of {rule}"),
                false => format!("{} features of {rule}", median.features.len()),
            },
        ],
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
    rows.extend(on_device(runs).iter().flat_map(DeviceTimes::rows));
    let told = |stage: &&(&str, f64)| !(args.on_device && stage.0.starts_with("gpu "));
    let stages = median.stages.iter().filter(told);
    rows.extend(stages.map(|(name, s)| vec![format!("  {name}"), format!("{s:.4} s")]));
    rows.extend([
        vec!["chunks".to_owned(), median.chunks.to_string()],
        vec!["stragglers".to_owned(), median.stragglers.to_string()],
        vec![
            "pool".to_owned(),
            format!(
                "{:.1} % of {} reused, {:.1} % padding, peak {} MiB, {} trims, {:.4} s of allocation in all",
                100.0 * median.pool.reuse_rate(),
                median.pool.hits + median.pool.misses,
                100.0 * median.pool.padding_rate(),
                median.pool.bytes_peak >> 20,
                median.pool.trims,
                median.pool.allocation_seconds,
            ),
        ],
        vec!["checked".to_owned(), format!("{} points, {} wrong values", checked.sample, checked.mismatches)],
    ]);
    // Lists follow no conventions.
    rows.retain(|row| !(args.lists && row[0] == "conventions"));
    let (name, base) = (compared[0].0.name(), median.seconds);
    rows.extend(others.iter().map(|(variant, (median, _))| {
        let ratio = median.seconds / base;
        vec![variant.name(), format!("{:.4} s, {ratio:.3} times that of {name}", median.seconds)]
    }));
    output::print(&output::table(&rows))
}
