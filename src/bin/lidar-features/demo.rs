//! `demo`: a village of known shape, its features, a picture of two of them, and how right they are.

mod font;
mod palette;
mod picture;
mod scene_file;
mod truth;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use glam::DVec3;
use lidar_features::las::{WriteOptions, write_with_columns};
use lidar_features::synthetic::{self, Scene};
use lidar_features::{Columns, Feature, FeatureSet, Neighborhood, Report};

use crate::failure::Failure;
use crate::progress::Progress;
use crate::request::Device;
use crate::{interrupt, output, report};
use picture::{Camera, Image, Rgb, magma, viridis};
use scene_file::Temporary;

#[derive(clap::Args)]
pub struct Args {
    /// Folder for demo.laz and demo.png; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Points of the scene.
    #[arg(long, value_name = "N", default_value_t = 400_000, value_parser = clap::value_parser!(u32).range(1..=MOST))]
    points: u32,
    #[command(flatten)]
    device: Device,
}

/// Most points of one cloud.
const MOST: i64 = lidar_features::MAX_POINTS as i64;
const SEED: u64 = 7;
const K: u32 = 20;
const FEATURES: &str = "normals,eigenvalues,linearity,planarity,sphericity,surface_variation,verticality,slope,\
                        roughness,knn_distance,density_surface,ndvi,excess_green";
/// Surface variation that gets the brightest colour; few points exceed it.
const BRIGHTEST: f32 = 0.25;

pub fn run(args: &Args) -> Result<(), Failure> {
    interrupt::install();
    let engine = args.device.engine()?;
    let set = FeatureSet::parse(FEATURES)?;
    let progress = Progress::new();
    progress.step(format!("building a village of {} points", args.points));
    let scene = synthetic::village(args.points as usize, SEED);
    progress.step(format!("computing {} features", set.len()));
    let (columns, run) = engine.features(&scene.cloud(), &set, Neighborhood::knn(K)?)?;

    std::fs::create_dir_all(&args.out)
        .map_err(|e| Failure::Failed(format!("{}: {e}", args.out.display())))?;
    let (laz, png) = (args.out.join("demo.laz"), args.out.join("demo.png"));
    progress.step("writing demo.laz".to_owned());
    interrupt::while_writing(|| write_laz(&laz, &scene, &columns))?;
    progress.step("drawing demo.png".to_owned());
    let image = draw(&scene, &columns)?;
    output::write_whole(&png, &image.to_png().map_err(|e| Failure::Failed(e.to_string()))?)?;
    drop(progress);

    let mut text = about(&scene, &run);
    text += &truth::compare(&scene, &columns)?;
    _ = writeln!(text, "\nwrote {} and {}", laz.display(), png.display());
    output::print(&text)
}

/// The scene as a plain file first, which then gets its columns as any other file would.
fn write_laz(path: &Path, scene: &Scene, columns: &Columns) -> Result<(), Failure> {
    let plain = Temporary(path.with_file_name(format!(".demo-{}.las", std::process::id())));
    let failed = |e| Failure::Failed(format!("{}: {e}", plain.0.display()));
    scene_file::write(scene, &plain.0).map_err(failed)?;
    let watch = |_, _| interrupt::checkpoint();
    write_with_columns(&plain.0, path, columns, &WriteOptions::default().watch(&watch))?;
    Ok(())
}

fn about(scene: &Scene, run: &Report) -> String {
    let rate = run.points as f64 / run.seconds.max(1e-9);
    format!(
        "scene     a village of {} points, seed {SEED}, quantum {} m\n\
         computed  {} features of {K} neighbours in {:.2} s, {rate:.0} points/s\n\
         on        {}\n",
        scene.len(),
        run.quantum,
        run.features.len(),
        run.seconds,
        report::who(run),
    )
}

/// Two views of the scene: verticality on the left, surface variation on the right.
fn draw(scene: &Scene, columns: &Columns) -> Result<Image, Failure> {
    const WIDTH: usize = 700;
    const HEIGHT: usize = 520;
    const GAP: usize = 8;
    let camera =
        Camera { eye: DVec3::new(-22.0, -50.0, 84.0), target: DVec3::new(60.0, 53.0, 15.0), field: 50.0 };
    let linearity = column(columns, Feature::Linearity)?;
    let disc = disc_radius(column(columns, Feature::DensitySurface)?);
    let view = |values: &[f32], full: f32, map: fn(f32) -> Rgb| {
        let points = scene.lattice.iter().enumerate().map(|(i, p)| {
            let at = DVec3::from_array(p.map(f64::from)) * scene.frame.quantum();
            // Wires are thinner than the discs that close a surface.
            let radius = if linearity[i] > 0.9 { disc / 3.0 } else { disc };
            (at, radius, map(values[i] / full))
        });
        Image::points(WIDTH, HEIGHT, &camera, points)
    };
    let mut image = Image::new(2 * WIDTH + GAP, HEIGHT);
    image.paste(&view(column(columns, Feature::Verticality)?, 1.0, viridis), 0, 0);
    let right = view(column(columns, Feature::SurfaceVariation)?, BRIGHTEST, magma);
    image.paste(&right, WIDTH + GAP, 0);
    image.legend("verticality", "1", viridis, 20, 18);
    image.legend("surface variation", &BRIGHTEST.to_string(), magma, WIDTH + GAP + 20, 18);
    Ok(image)
}

/// Discs as wide as the typical spacing of points close a surface.
fn disc_radius(density: &[f32]) -> f64 {
    let mut known: Vec<f32> = density.iter().copied().filter(|d| d.is_finite() && *d > 0.0).collect();
    known.sort_unstable_by(f32::total_cmp);
    known.get(known.len() / 2).map_or(0.3, |d| 0.9 / f64::from(*d).sqrt())
}

/// A column that `run` asked for.
fn column(columns: &Columns, feature: Feature) -> Result<&[f32], Failure> {
    columns.get(feature).ok_or_else(|| Failure::Failed(format!("column {feature} is missing")))
}
