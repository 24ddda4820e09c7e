//! The surfaces of a settlement that points are sampled from, other than its ground.

use std::f64::consts::TAU;

use glam::{DVec2, DVec3};

use super::rng::Rng;
use super::terrain::Terrain;
use super::{Class, Sample};

/// Red, green, blue and near-infrared, 0..1.
pub(super) type Color = [f64; 4];

#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// From `corner` along the ridge and down the slope; both edges at right angles.
    RoofSlope { corner: DVec3, along: DVec3, down: DVec3 },
    /// Above `from`..`to`, from the terrain to `eave`, plus a gable of height `rise` in the middle.
    Wall { from: DVec2, to: DVec2, eave: f64, rise: f64 },
    /// A ragged shell of leaves.
    Crown { center: DVec3, radii: DVec3, phase: DVec3 },
    /// An upright cylinder from the terrain up.
    Post { foot: DVec3, radius: f64, height: f64, class: Class },
    /// A catenary of parameter `bend` (metres).
    Wire { from: DVec3, to: DVec3, bend: f64 },
}

/// A surface with its share of points per square metre.
#[derive(Debug, Clone)]
pub(super) struct Patch {
    pub(super) shape: Shape,
    pub(super) color: Color,
    pub(super) density: f64,
}

impl Patch {
    /// Area in m² times density; a wire counts as 0.3 m wide.
    pub(super) fn weight(&self, terrain: &Terrain) -> f64 {
        let area = match &self.shape {
            Shape::RoofSlope { along, down, .. } => along.length() * down.length(),
            Shape::Wall { from, to, eave, rise } => {
                let foot = terrain.height((*from + *to) / 2.0);
                from.distance(*to) * (eave + rise / 2.0 - foot).max(0.1)
            }
            Shape::Crown { radii, .. } => TAU * 2.0 * radii.x * radii.z,
            Shape::Post { radius, height, .. } => TAU * radius.max(0.25) * height,
            Shape::Wire { from, to, .. } => 0.3 * from.distance(*to),
        };
        area * self.density
    }

    /// The point at `even` of the unit square; where that lies off the surface, at the next random place.
    pub(super) fn sample(&self, terrain: &Terrain, even: [f64; 2], noise: f64, rng: &mut Rng) -> Sample {
        let [u, v] = even;
        let shade = 1.0 + 0.06 * rng.gauss();
        let color = self.color.map(|c| c * shade);
        let surface = |at: DVec3, normal: DVec3, class, margin, rng: &mut Rng| Sample {
            position: at + normal * (noise * rng.gauss()),
            class,
            normal: Some(normal),
            margin,
            color,
        };
        match &self.shape {
            Shape::RoofSlope { corner, along, down } => {
                let (length, depth) = (along.length(), down.length());
                let margin = (u.min(1.0 - u) * length).min(v.min(1.0 - v) * depth);
                let normal = along.cross(*down).normalize();
                surface(corner + along * u + down * v, normal, Class::Roof, margin, rng)
            }
            Shape::Wall { from, to, eave, rise } => {
                let (mut u, mut v) = (u, v);
                let length = from.distance(*to);
                let low = terrain.height(*from).min(terrain.height(*to)) - 0.2;
                loop {
                    let at = from.lerp(*to, u);
                    let z = low + (eave + rise - low) * v;
                    let roof = eave + rise * (1.0 - (2.0 * u - 1.0).abs());
                    let ground = terrain.height(at);
                    if z >= ground && z <= roof {
                        let edge = (to - from) / length;
                        let normal = DVec3::new(-edge.y, edge.x, 0.0);
                        let below = (roof - z) * length / length.hypot(2.0 * rise);
                        let margin = below.min(z - ground).min(u.min(1.0 - u) * length);
                        return surface(at.extend(z), normal, Class::Wall, margin, rng);
                    }
                    (u, v) = (rng.unit(), rng.unit());
                }
            }
            Shape::Crown { center, radii, phase } => {
                let z = 2.0 * v - 1.0;
                let out = DVec2::from_angle(TAU * u) * (1.0 - z * z).max(0.0).sqrt();
                let out = out.extend(z);
                let bumps = 5.0 * out + phase;
                let bump = bumps.x.sin() * bumps.y.sin() * bumps.z.sin();
                let depth = 0.3 * rng.unit() * rng.unit();
                let reach = 0.85 + 0.25 * bump - depth;
                let light = (1.0 + 0.5 * bump - depth) * (0.85 + 0.25 * z);
                Sample {
                    position: center + out * *radii * reach,
                    class: Class::Vegetation,
                    color: color.map(|c| c * light),
                    ..Sample::default()
                }
            }
            Shape::Post { foot, radius, height, class } => {
                let out = DVec2::from_angle(TAU * u).extend(0.0);
                let at = foot + out * *radius + DVec3::Z * (height * v);
                surface(at, out, *class, radius.min(v.min(1.0 - v) * height), rng)
            }
            Shape::Wire { from, to, bend } => {
                let half = from.truncate().distance(to.truncate()) / 2.0;
                let x = (2.0 * u - 1.0) * half;
                let sag = bend * ((half / bend).cosh() - (x / bend).cosh());
                let jitter = DVec3::new(rng.gauss(), rng.gauss(), rng.gauss()) * noise;
                let position = from.lerp(*to, u) - DVec3::Z * sag + jitter;
                Sample { position, class: Class::Wire, color, ..Sample::default() }
            }
        }
    }
}
