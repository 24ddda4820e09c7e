//! Compares columns with what is true of the scene.

use std::fmt::Write;

use lidar_features::synthetic::{Class, Scene, Truth};
use lidar_features::{Columns, Feature};

use super::column;
use crate::failure::Failure;

/// Says how far normals are off where a neighbourhood lies on one surface, and how well simple rules tell classes.
pub fn compare(scene: &Scene, columns: &Columns) -> Result<String, Failure> {
    let verticality = column(columns, Feature::Verticality)?;
    let linearity = column(columns, Feature::Linearity)?;
    let ndvi = column(columns, Feature::Ndvi)?;
    let radius = column(columns, Feature::KnnDistance)?;
    let class = |i: usize| scene.truth[i].class;
    let inside = |i: usize| scene.truth[i].margin >= radius[i];
    let on_surface = |i: usize| matches!(class(i), Class::Ground | Class::Roof | Class::Wall);

    let mut text = surfaces(scene, columns, &inside)?;
    text += "\nhow simple rules agree with the true classes\n";
    let mut rule = |name: &str, among: &dyn Fn(usize) -> bool, holds: &dyn Fn(usize) -> bool| {
        let members: Vec<usize> = (0..scene.len()).filter(|&i| among(i)).collect();
        if members.is_empty() {
            return;
        }
        let agree = members.iter().filter(|&&i| holds(i)).count();
        let part = 100.0 * agree as f64 / members.len() as f64;
        _ = writeln!(text, "  {name:44} {agree:>9} of {:>9} points  {part:5.1} %", members.len());
    };
    rule("walls alone have verticality > 0.7", &|i| on_surface(i) && inside(i), &|i| {
        (verticality[i] > 0.7) == (class(i) == Class::Wall)
    });
    rule("wires have linearity > 0.9", &|i| class(i) == Class::Wire, &|i| linearity[i] > 0.9);
    rule("ground, roofs and walls have less", &on_surface, &|i| linearity[i] <= 0.9);
    rule("plants alone have NDVI > 0.25 above ground", &|i| class(i) != Class::Ground, &|i| {
        (ndvi[i] > 0.25) == (class(i) == Class::Vegetation)
    });
    Ok(text)
}

/// The table of surfaces.
fn surfaces(scene: &Scene, columns: &Columns, inside: &dyn Fn(usize) -> bool) -> Result<String, Failure> {
    let verticality = column(columns, Feature::Verticality)?;
    let linearity = column(columns, Feature::Linearity)?;
    let normal = [
        column(columns, Feature::NormalX)?,
        column(columns, Feature::NormalY)?,
        column(columns, Feature::NormalZ)?,
    ];
    let of = |class: Class| (0..scene.len()).filter(move |&i| scene.truth[i].class == class);
    let mut text = format!(
        "\nwhere all {} neighbours lie on one surface (\"inside\"), against its true normal\n\
         {:12}{:>9}{:>9}   {:>20}   {:>11}\n{:12}{:>9}{:>9}   {:>9}{:>11}   {:>11}\n",
        super::K,
        "",
        "points",
        "inside",
        "normal is off by",
        "verticality",
        "",
        "",
        "",
        "median",
        "95 %",
        "median"
    );
    for class in [Class::Ground, Class::Roof, Class::Wall] {
        let members: Vec<usize> = of(class).filter(|&i| inside(i)).collect();
        if members.is_empty() {
            continue;
        }
        let angles = members.iter().filter_map(|&i| angle(&scene.truth[i], normal.map(|n| n[i])));
        let angles = Sorted::new(angles.collect());
        let upright = Sorted::new(members.iter().map(|&i| verticality[i]).collect());
        _ = writeln!(
            text,
            "  {:10}{:>9}{:>9}   {:>8.2}°{:>10.2}°   {:>11.3}",
            class.name(),
            of(class).count(),
            members.len(),
            angles.at(0.5),
            angles.at(0.95),
            upright.at(0.5)
        );
    }
    let wires: Vec<f32> = of(Class::Wire).map(|i| linearity[i]).collect();
    if !wires.is_empty() {
        let count = wires.len();
        let median = Sorted::new(wires).at(0.5);
        _ = writeln!(text, "  {:10}{count:>9}   linearity {median:.3} (median)", Class::Wire.name());
    }
    Ok(text)
}

/// Degrees between the true and the computed normal, whatever their signs.
fn angle(truth: &Truth, computed: [f32; 3]) -> Option<f32> {
    let t = truth.normal?.map(f64::from);
    let c = computed.map(f64::from);
    // By the sine too: the cosine alone is blind to small angles.
    let cross = [t[1] * c[2] - t[2] * c[1], t[2] * c[0] - t[0] * c[2], t[0] * c[1] - t[1] * c[0]];
    let sine = cross.iter().map(|v| v * v).sum::<f64>().sqrt();
    let cosine = (t[0] * c[0] + t[1] * c[1] + t[2] * c[2]).abs();
    Some(sine.atan2(cosine).to_degrees() as f32)
}

/// Values that are numbers, in order.
struct Sorted(Vec<f32>);

impl Sorted {
    fn new(mut values: Vec<f32>) -> Self {
        values.retain(|v| !v.is_nan());
        values.sort_unstable_by(f32::total_cmp);
        Self(values)
    }

    /// The value at this part of the order; NaN if there is none.
    fn at(&self, part: f64) -> f32 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((part * last as f64).round() as usize).copied().unwrap_or(f32::NAN)
    }
}
