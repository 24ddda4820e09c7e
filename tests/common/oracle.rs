//! The truth by brute force: neighbours by comparing all pairs, features from the catalogue's definitions.

use std::f64::consts::PI;

use lidar_features::{Feature, Flags};
use rayon::prelude::*;

use super::clouds::{Cloud, Color};
use super::local::{Local, dot};

/// Neighbours of every point, as (squared distance in quanta², index) in that order.
pub type Lists = Vec<Vec<(u64, u32)>>;

/// The `min(k, n)` nearest of every point. A smaller k's lists are these lists' beginnings.
pub fn neighbors(points: &[[i32; 3]], k: usize) -> Lists {
    neighbors_of(points, points, k)
}

/// Squared distance of two places.
pub fn dist_sq(p: [i32; 3], q: [i32; 3]) -> u64 {
    let sum: i128 = (0..3).map(|a| (i128::from(p[a]) - i128::from(q[a])).pow(2)).sum();
    sum.try_into().unwrap()
}

/// The `min(k, n)` points nearest to each of some places.
pub fn neighbors_of(places: &[[i32; 3]], points: &[[i32; 3]], k: usize) -> Lists {
    let list = |p: &[i32; 3]| {
        let mut all: Vec<_> = (0u32..).zip(points).map(|(j, q)| (dist_sq(*p, *q), j)).collect();
        all.sort_unstable();
        all.truncate(k);
        all
    };
    places.par_iter().map(list).collect()
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
pub fn flags(local: &Local, dark: u32) -> u32 {
    let flag = |set: bool, flag: Flags| if set { flag.0 } else { 0 };
    flag(local.few, Flags::FEW)
        | flag(local.identical, Flags::IDENTICAL)
        | flag(local.collinear, Flags::COLLINEAR)
        | flag(local.no_plane, Flags::NO_PLANE)
        | flag(local.radius == 0.0, Flags::NO_RADIUS)
        | dark
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
    // Lengths have values where only directions are undefined.
    let size = |on_line: f64, value: f64| match (l.few, l.identical, l.collinear) {
        (true, ..) => f64::NAN,
        (_, true, _) => 0.0,
        (.., true) => on_line,
        _ => value,
    };
    let floor = l1 * 2f64.powi(-20);
    let deepest = 20.0 * 2f64.ln();
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
        F::Roughness => nan_if(l.no_plane, l.plane_distance.abs()),
        F::PlaneDistance => nan_if(l.no_plane, l.plane_distance),
        F::EigenentropyRaw => nan_if(any, l.lambda.iter().filter(|v| **v > 0.0).map(|v| -v * v.ln()).sum()),
        F::Pca1 => ratio(1.0, l1 / sum),
        F::Pca2 => ratio(0.0, l2 / sum),
        F::BarycentricAlpha => nan_if(any, (l1 - l2) / sum),
        // As CANUPO computes it.
        F::BarycentricBeta => nan_if(any, (2.0 * l1 + 4.0 * l2) / sum - 2.0),
        F::Dimensionality if any => 0.0,
        F::Dimensionality => {
            let [s1, s2, s3] = l.lambda.map(f64::sqrt);
            let parts = [s1 - s2, s2 - s3, s3];
            // `max_by` takes the last of equals.
            let best = (0..3).rev().max_by(|&a, &b| parts[a].total_cmp(&parts[b])).unwrap();
            (best + 1) as f64
        }
        F::DegreeOfPlanarity => ratio(deepest, l1.ln() - l3.max(floor).ln()),
        F::DegreeOfLinearity => nan_if(
            any,
            (l1.ln() - l2.max(floor).ln()) / (l2.max(floor) / l3.max(floor)).ln().max(2f64.powi(-20)),
        ),
        F::Length => size(l1.sqrt(), l1.sqrt()),
        F::Surface => size(0.0, (l1 * l2).sqrt().sqrt()),
        F::Volume => size(0.0, (l1.sqrt() * l2.sqrt() * l3.sqrt()).powf(1.0 / 3.0)),
        F::VerticalityUnary => {
            let u = [0, 1, 2].map(|a| (0..3).map(|j| l.lambda[j] * l.vectors[j][a].abs()).sum::<f64>());
            nan_if(any, u[2] / dot(u, u).sqrt())
        }
        F::Aspect => nan_if(any, aspect(l.vectors[2])),
        F::Moment1Axis1 => size(l.moments[0][0], l.moments[0][0]),
        F::Moment1Axis2 => size(0.0, l.moments[1][0]),
        F::Moment2Axis1 => size(l.moments[0][1], l.moments[0][1]),
        F::Moment2Axis2 => size(0.0, l.moments[1][1]),
        F::MomentOrder1 => nan_if(any, l.moments[1][0].powi(2) / l.moments[1][1].max(f64::MIN_POSITIVE)),
        F::BarycenterOffset => l.mean_offset,
        F::IsCoplanar => f64::from(!any && l2 > 25.0 * l3 && l1 < 6.0 * l2),
        F::Rank => match (pointlike, l.collinear) {
            (true, _) => 0.0,
            (_, true) => 1.0,
            _ => l.lambda.iter().filter(|v| *v / l1 > 0.01).count() as f64,
        },
        F::NearestDistance => l.nearest,
        F::StdDistance => l.std_distance,
        F::OutlierScore => l.mean_distance,
        F::ExtentX => l.extent[0],
        F::ExtentY => l.extent[1],
        F::ExtentZ => l.extent[2],
        F::NeighborhoodExtent => dot(l.extent, l.extent).sqrt(),
        F::HeightExtentRatio if l.extent[..2] == [0.0; 2] => 0.0,
        F::HeightExtentRatio => l.extent[2] / l.extent[0].hypot(l.extent[1]),
        F::ZBelow => l.below,
        F::ZAbove => l.above,
        F::EigenvalueSum2d => l.trace_2d,
        F::EigenvalueRatio2d => {
            let largest = 0.5 + (0.25 - l.det_2d).max(0.0).sqrt();
            nan_if(any, l.det_2d / largest.powi(2))
        }
        F::WallScore => nan_if(any, (l2 - l3) / l1 * (1.0 - nz)),
        F::RoofScore => nan_if(any, (l2 - l3) / l1 * nz),
        F::WallLikelihood => nan_if(any, ((l2 - l3) / l1 * (1.0 - nz)).max(0.0).sqrt()),
        F::RoofLikelihood => nan_if(any, ((l2 - l3) / l1 * nz).sqrt()),
        F::EdgeStrength => ratio(0.0, 3.0 * l3 / sum * (l1 - l3) / l1),
        F::CornerLikelihood => ratio(0.0, 27.0 * (l1 / sum) * (l2 / sum) * (l3 / sum)),
        F::BuildingRegularity => ratio(0.0, (l2 - l3) * (l1 - l3) / l1.powi(2)),
        F::NeighborCount => l.n as f64,
        F::KnnDistance => l.radius,
        F::MeanDistance => l.mean_distance,
        F::Density3d => nan_if(l.radius == 0.0, l.n as f64 / (4.0 / 3.0 * PI * l.radius.powi(3))),
        F::DensitySurface => nan_if(l.radius == 0.0, l.n as f64 / (PI * l.radius.powi(2))),
        F::VerticalStd => l.std_z,
        F::VerticalRange => l.extent[2],
        _ => return None,
    })
}

/// Compass bearing, in degrees, of where a normal leans; 0 if it leans by less than 1e-3°.
fn aspect([x, y, z]: [f64; 3]) -> f64 {
    let flat = x.hypot(y);
    if flat.atan2(z.abs()).to_degrees() < 1e-3 {
        return 0.0;
    }
    let from_north = (y / flat).clamp(-1.0, 1.0).acos().to_degrees();
    if x < 0.0 { 360.0 - from_north } else { from_north }
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
        F::Gndvi if green == 0.0 && nir == 0.0 => f64::NAN,
        F::Gndvi => (nir - green) / (nir + green),
        F::VegetationIndex if green == 0.0 && red == 0.0 => f64::NAN,
        F::VegetationIndex => (green - red) / (green + red),
        F::RgbMean => (red + green + blue) / 3.0,
        F::RgbStd => {
            let squares = (red - green).powi(2) + (green - blue).powi(2) + (blue - red).powi(2);
            squares.sqrt() / 3.0
        }
        F::RgbRange => red.max(green).max(blue) - red.min(green).min(blue),
        F::Hue => hsv([red, green, blue])[0],
        F::Saturation => hsv([red, green, blue])[1],
        F::Value => hsv([red, green, blue])[2],
        F::LabL => lab([red, green, blue])[0],
        F::LabA => lab([red, green, blue])[1],
        F::LabB => lab([red, green, blue])[2],
        _ => return None,
    })
}

/// Flags of the pairs of channels that are both zero at a point.
pub fn dark(color: Option<&Color>, i: usize) -> u32 {
    let Some(c) = color else { return 0 };
    let zero = |a: &[u16], b: &[u16], flag: Flags| if a[i] == 0 && b[i] == 0 { flag.0 } else { 0 };
    let [red, green, _] = &c.rgb;
    zero(red, &c.nir, Flags::DARK)
        | zero(green, &c.nir, Flags::DARK_GREEN_NIR)
        | zero(red, green, Flags::DARK_RED_GREEN)
}

/// Hue as a part of a turn, saturation and value: by the distance of each channel to the largest.
fn hsv([r, g, b]: [f64; 3]) -> [f64; 3] {
    let (max, min) = (r.max(g).max(b), r.min(g).min(b));
    if max == min {
        return [0.0, 0.0, max];
    }
    let [r, g, b] = [r, g, b].map(|c| (max - c) / (max - min));
    let sixths = match (r == 0.0, g == 0.0) {
        (true, _) => b - g,
        (_, true) => 2.0 + r - b,
        _ => 4.0 + g - r,
    };
    [(sixths / 6.0 + 1.0).fract(), (max - min) / max, max]
}

/// CIE L*a*b*/100 of sRGB, D65.
fn lab(rgb: [f64; 3]) -> [f64; 3] {
    let linear =
        rgb.map(|c| if c > 0.04045 { ((200.0 * c + 11.0) / 211.0).powf(2.4) } else { c * 25.0 / 323.0 });
    let matrix = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ];
    let white = [0.95047, 1.0, 1.08883];
    let [x, y, z] = [0, 1, 2].map(|i| {
        let t = dot(matrix[i], linear) / white[i];
        // CIE's κ = 24389/27 and ε = 216/24389.
        if t > 216.0 / 24389.0 { t.powf(1.0 / 3.0) } else { (24389.0 / 27.0 * t + 16.0) / 116.0 }
    });
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)].map(|v| v / 100.0)
}
