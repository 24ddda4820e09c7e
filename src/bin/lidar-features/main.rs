//! The `lidar-features` command line: arguments in, exit code out. Each command has its own file.

mod adapters;
mod bench;
mod check;
mod compute;
mod compute_dir;
mod demo;
mod failure;
mod features;
mod interrupt;
mod output;
mod progress;
mod report;
mod request;
mod scope;
mod tile;

use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::prelude::*;

use failure::Failure;

/// Exact neighbours and surface features for every point of a LiDAR point cloud.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    /// Says more on stderr; twice for everything.
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Adds features to a LAS/LAZ file, as extra-bytes dimensions.
    Compute(compute::Args),
    /// Adds features to every LAS/LAZ file of a folder, each taken with its neighbours; a run that was stopped goes on.
    ComputeDir(compute_dir::Args),
    /// Lists the GPU adapters of this machine.
    Adapters(adapters::Args),
    /// Lists the features there are.
    Features(features::Args),
    /// Builds a village of known shape, computes its features and shows how right they are.
    Demo(demo::Args),
    /// Measures, and checks a sample of the answers.
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let done = match Cli::try_parse() {
        Ok(cli) => {
            log_to_stderr(cli.verbose);
            silence_contained_panics();
            run(cli.command)
        }
        Err(error) if !error.use_stderr() => output::print(&error.to_string()),
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", failure.line());
            ExitCode::from(failure.code())
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Compute(args) => compute::run(&args),
        Command::ComputeDir(args) => compute_dir::run(&args),
        Command::Adapters(args) => adapters::run(&args),
        Command::Features(args) => features::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
    }
}

/// Warnings of this crate, and more with `-v`. What other crates say shows from `-vv` only: drivers chat.
fn log_to_stderr(verbose: u8) {
    let (own, others) = match verbose {
        0 => (LevelFilter::WARN, LevelFilter::OFF),
        1 => (LevelFilter::INFO, LevelFilter::OFF),
        2 => (LevelFilter::DEBUG, LevelFilter::WARN),
        _ => (LevelFilter::TRACE, LevelFilter::INFO),
    };
    let targets =
        tracing_subscriber::filter::Targets::new().with_default(others).with_target("lidar_features", own);
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).without_time().with_target(false);
    tracing_subscriber::registry().with(lines.with_filter(targets)).init();
}

/// Damaged files make the laz crate panic; the library turns that into an error, so the panic's own text is noise.
fn silence_contained_panics() {
    let standard = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let in_laz = |file: &str| file.contains("/laz-") || file.contains("\\laz-");
        if !panic.location().is_some_and(|l| in_laz(l.file())) {
            standard(panic);
        }
    }));
}
