//! The truth by brute force: neighbours by comparing all pairs, features from the catalogue's definitions.

use std::f64::consts::PI;

use lidar_features::{Feature, Flags};
use rayon::prelude::*;

use super::clouds::{Cloud, Color};
use super::local::Local;

/// Neighbours of every point, as (squared distance in quanta², index) in that order.
pub type Lists = Vec<Vec<(u64, u32)>>;

/// The `min(k, n)` nearest of every point. A smaller k's lists are these lists' beginnings.
pub fn neighbors(points: &[[i32; 3]], k: usize) -> Lists {
    let dist_sq = |p: [i32; 3], q: [i32; 3]| -> u64 {
        let sum: i128 = (0..3).map(|a| (i128::from(p[a]) - i128::from(q[a])).pow(2)).sum();
        sum.try_into().unwrap()
    };
    let list = |p: &[i32; 3]| {
        let mut all: Vec<_> = (0u32..).zip(points).map(|(j, q)| (dist_sq(*p, *q), j)).collect();
        all.sort_unstable();
        all.truncate(k);
        all
    };
    points.par_iter().map(list).collect()
}

/// Every point's neighbourhood, from lists of at least `k`.
pub fn locals(cloud: &Cloud, lists: &Lists, k: usize) -> Vec<Local> {
    lists
        .par_iter()
        .enumerate()
        .map(|(i, list)| {
            let members: Vec<u32> = list.iter().take(k).map(|n| n.1).collect();
            Local::new(&cloud.points, i, &members, cloud.quantum)
        })
        .collect()
}

/// What the catalogue says the flags are.
pub fn flags(local: &Local, dark: bool) -> u32 {
    let flag = |set: bool, flag: Flags| if set { flag.0 } else { 0 };
    flag(local.few, Flags::FEW)
        | flag(local.identical, Flags::IDENTICAL)
        | flag(local.collinear, Flags::COLLINEAR)
        | flag(local.no_plane, Flags::NO_PLANE)
        | flag(dark, Flags::DARK)
        | flag(local.identical, Flags::NO_RADIUS)
}

/// Value of a feature by the catalogue, degenerate neighbourhoods included; `None` for one that the oracle does
/// not know yet.
pub fn value(feature: Feature, l: &Local) -> Option<f64> {
    use Feature as F;
    let any = l.few || l.identical || l.collinear;
    let pointlike = l.few || l.identical;
    let nan_if = |undefined: bool, value: f64| if undefined { f64::NAN } else { value };
    let [l1, l2, l3] = l.lambda;
    let sum = l1 + l2 + l3;
    // Shape ratios have fixed values on a line.
    let ratio = |on_line: f64, value: f64| match (pointlike, l.collinear) {
        (true, _) => f64::NAN,
        (_, true) => on_line,
        _ => value,
    };
    let eigenvalue = |j: usize| match (l.few, l.identical, l.collinear) {
        (true, ..) => f64::NAN,
        (_, true, _) => 0.0,
        (_, _, true) if j > 0 => 0.0,
        _ => l.lambda[j],
    };
    let vector = |j: usize, axis: usize| nan_if(if j == 0 { pointlike } else { any }, l.vectors[j][axis]);
    let nz = l.vectors[2][2].abs();
    let entropy =
        || -> f64 { l.lambda.iter().map(|v| v / sum).map(|e| if e > 0.0 { -e * e.ln() } else { 0.0 }).sum() };
    Some(match feature {
        F::NormalX | F::Eigenvector3X => vector(2, 0),
        F::NormalY | F::Eigenvector3Y => vector(2, 1),
        F::NormalZ | F::Eigenvector3Z => vector(2, 2),
        F::Eigenvector1X => vector(0, 0),
        F::Eigenvector1Y => vector(0, 1),
        F::Eigenvector1Z => vector(0, 2),
        F::Eigenvector2X => vector(1, 0),
        F::Eigenvector2Y => vector(1, 1),
        F::Eigenvector2Z => vector(1, 2),
        F::Eigenvalue1 => eigenvalue(0),
        F::Eigenvalue2 => eigenvalue(1),
        F::Eigenvalue3 => eigenvalue(2),
        F::EigenvalueSum => nan_if(l.few, if l.identical { 0.0 } else { sum }),
        F::Linearity => ratio(1.0, (l1 - l2) / l1),
        F::Planarity => ratio(0.0, (l2 - l3) / l1),
        F::Sphericity => ratio(0.0, l3 / l1),
        F::Anisotropy => ratio(1.0, (l1 - l3) / l1),
        F::SurfaceVariation => ratio(0.0, l3 / sum),
        F::Omnivariance => nan_if(l.few, if any { 0.0 } else { (l1 * l2 * l3).cbrt() }),
        F::Eigenentropy => ratio(0.0, entropy()),
        F::Verticality => nan_if(any, 1.0 - nz),
        F::Horizontality => nan_if(any, nz),
        F::Slope => nan_if(any, l.vectors[2][0].hypot(l.vectors[2][1]).atan2(nz).to_degrees()),
        F::Roughness => nan_if(l.no_plane, l.plane_distance),
        F::NeighborCount => l.n as f64,
        F::KnnDistance => l.radius,
        F::MeanDistance => l.mean_distance,
        F::Density3d => nan_if(l.radius == 0.0, l.n as f64 / (4.0 / 3.0 * PI * l.radius.powi(3))),
        F::DensitySurface => nan_if(l.radius == 0.0, l.n as f64 / (PI * l.radius.powi(2))),
        F::VerticalStd => l.std_z,
        F::VerticalRange => l.range_z,
        _ => return None,
    })
}

/// Value of a feature that each point carries itself.
pub fn color_value(feature: Feature, color: &Color, i: usize) -> Option<f64> {
    use Feature as F;
    let full = |most: u16| if most <= 255 { 255.0 } else { 65535.0 };
    let rgb_full = full(*color.rgb.iter().flatten().max().unwrap());
    let nir_full = full(*color.nir.iter().max().unwrap());
    let [red, green, blue] = [0, 1, 2].map(|c| f64::from(color.rgb[c][i]) / rgb_full);
    let nir = f64::from(color.nir[i]) / nir_full;
    Some(match feature {
        F::Red => red,
        F::Green => green,
        F::Blue => blue,
        F::Nir => nir,
        F::Ndvi if red == 0.0 && nir == 0.0 => f64::NAN,
        F::Ndvi => (nir - red) / (nir + red),
        F::ExcessGreen => 2.0 * green - red - blue,
        _ => return None,
    })
}

/// Whether a point shows neither red nor near-infrared.
pub fn is_dark(color: Option<&Color>, i: usize) -> bool {
    color.is_some_and(|c| c.rgb[0][i] == 0 && c.nir[i] == 0)
}
