//! A yard seen by one terrestrial scanner: rays, evenly spread over angles, that end on what they meet first.

use std::f64::consts::TAU;

use glam::{DVec2, DVec3};

use super::patch::Color;
use super::rng::{Rng, even};
use super::terrain::Terrain;
use super::{Class, MARGIN_CAP, Sample};

/// Farthest return, in metres.
const RANGE: f64 = 70.0;
/// Height of the scanner above the ground below it.
const TRIPOD: f64 = 1.7;
/// Smallest distance between two things, more than any margin.
const CLEAR: f64 = MARGIN_CAP as f64 + 0.2;

#[derive(Debug)]
pub(super) struct Yard {
    seed: u64,
    pub(super) noise: f64,
    /// Heights against the scanner.
    terrain: Terrain,
    walls: Vec<Wall>,
    posts: Vec<Post>,
    crowns: Vec<Crown>,
}

#[derive(Debug)]
struct Wall {
    from: DVec2,
    to: DVec2,
    top: f64,
    color: Color,
}

#[derive(Debug)]
struct Post {
    center: DVec2,
    radius: f64,
    top: f64,
    class: Class,
}

#[derive(Debug)]
struct Crown {
    center: DVec3,
    radius: f64,
}

struct Hit {
    range: f64,
    class: Class,
    normal: Option<DVec3>,
    margin: f64,
    color: Color,
}

impl Yard {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::of(&[seed, 1]);
        let mut yard = Self {
            seed,
            noise: 0.002,
            terrain: Terrain::new(-TRIPOD, &[(0.12, 31.0), (0.05, 17.0)], &mut rng),
            walls: Vec::new(),
            posts: Vec::new(),
            crowns: Vec::new(),
        };
        while yard.walls.len() < 9 {
            let middle = around(&mut rng, 7.0, 32.0);
            let half = middle.perp().rotate(DVec2::from_angle(rng.range(-0.6, 0.6)));
            let half = half.normalize() * rng.range(2.5, 5.0);
            let apart = (-8..=8).all(|t| yard.clearance(middle + half * (f64::from(t) / 8.0)) > CLEAR);
            let shade = rng.range(0.55, 0.85);
            let color = [shade, shade * 0.95, shade * 0.85, 0.0];
            let top = rng.range(1.5, 6.0);
            if apart {
                yard.walls.push(Wall { from: middle - half, to: middle + half, top, color });
            }
        }
        while yard.posts.len() < 14 {
            let center = around(&mut rng, 4.0, 28.0);
            let tree = yard.posts.len() >= 6;
            let crown = if tree { rng.range(1.0, 2.0) } else { 0.0 };
            if yard.clearance(center) < CLEAR + crown {
                continue;
            }
            if tree {
                let top = rng.range(1.2, 2.5);
                yard.posts.push(Post { center, radius: 0.15, top, class: Class::Vegetation });
                yard.crowns.push(Crown { center: center.extend(top + 0.7 * crown), radius: crown });
            } else {
                yard.posts.push(Post { center, radius: 0.08, top: rng.range(1.5, 5.0), class: Class::Pole });
            }
        }
        yard
    }

    /// Distance to the nearest wall or post.
    fn clearance(&self, at: DVec2) -> f64 {
        let walls = self.walls.iter().map(|w| w.distance(at));
        let posts = self.posts.iter().map(|p| p.center.distance(at) - p.radius);
        walls.chain(posts).fold(f64::INFINITY, f64::min)
    }

    pub(super) fn sample(&self, i: usize) -> Sample {
        let mut rng = Rng::of(&[self.seed, 3, i as u64]);
        let [mut u, mut v] = even(i as u64, [self.seed, !self.seed]);
        loop {
            // From 60° below the horizon to 50° above it, as spinning scanners see.
            let elevation = (-60.0 + 110.0 * v).to_radians();
            let flat = DVec2::from_angle(TAU * u) * elevation.cos();
            let ray = flat.extend(elevation.sin());
            if let Some(hit) = self.first(ray, &mut rng) {
                let shade = 1.0 + 0.05 * rng.gauss();
                let noise = hit.normal.unwrap_or(ray) * (self.noise * rng.gauss());
                return Sample {
                    position: ray * hit.range + noise,
                    class: hit.class,
                    normal: hit.normal,
                    margin: hit.margin,
                    color: hit.color.map(|c| c * shade),
                };
            }
            (u, v) = (rng.unit(), rng.unit());
        }
    }

    /// What the ray meets first, if that is near enough.
    fn first(&self, ray: DVec3, rng: &mut Rng) -> Option<Hit> {
        let flat = ray.truncate();
        let walls = self.walls.iter().filter_map(|w| w.meet(ray, &self.terrain));
        let posts = self.posts.iter().filter_map(|p| p.meet(ray, &self.terrain));
        let solid =
            walls.chain(posts).chain(self.meet_ground(ray)).min_by(|a, b| a.range.total_cmp(&b.range));
        let mut nearest = solid.filter(|hit| hit.range * flat.length() < RANGE);
        for crown in &self.crowns {
            // Every crown draws, so that one ray's draws do not depend on what it met before.
            let depth = -0.8 * rng.unit().max(1e-9).ln();
            if let Some(range) = crown.meet(ray, depth)
                && nearest.as_ref().is_none_or(|hit| range < hit.range)
            {
                let color = [0.22, 0.4, 0.14, 0.0];
                nearest = Some(Hit { range, class: Class::Vegetation, normal: None, margin: 0.0, color });
            }
        }
        nearest
    }

    /// Newton's steps from the flat ground; grazing rays that do not settle are lost.
    fn meet_ground(&self, ray: DVec3) -> Option<Hit> {
        if ray.z > -0.01 {
            return None;
        }
        let mut range = -TRIPOD / ray.z;
        for _ in 0..5 {
            let at = ray.truncate() * range;
            let normal = self.terrain.normal(at);
            let above = range * ray.z - self.terrain.height(at);
            range -= above * normal.z / normal.dot(ray).min(-0.005);
        }
        let at = ray.truncate() * range;
        if (range * ray.z - self.terrain.height(at)).abs() > 1e-4 || range <= 0.0 {
            return None;
        }
        let margin = self.clearance(at).min(f64::from(MARGIN_CAP));
        let normal = Some(self.terrain.normal(at));
        Some(Hit { range, class: Class::Ground, normal, margin, color: [0.42, 0.4, 0.33, 0.0] })
    }

    /// The azimuth of the scanner's head.
    pub(super) fn scan(sample: &Sample) -> u32 {
        let angle = sample.position.y.atan2(sample.position.x).rem_euclid(TAU);
        (angle / TAU * 4095.0) as u32
    }
}

/// A place between two ranges.
fn around(rng: &mut Rng, from: f64, to: f64) -> DVec2 {
    DVec2::from_angle(rng.range(0.0, TAU)) * rng.range(from, to)
}

impl Wall {
    fn distance(&self, at: DVec2) -> f64 {
        let edge = self.to - self.from;
        let t = ((at - self.from).dot(edge) / edge.length_squared()).clamp(0.0, 1.0);
        at.distance(self.from + edge * t)
    }

    fn meet(&self, ray: DVec3, terrain: &Terrain) -> Option<Hit> {
        let (edge, flat) = (self.to - self.from, ray.truncate());
        let across = flat.perp_dot(edge);
        let range = self.from.perp_dot(edge) / across;
        let t = self.from.perp_dot(flat) / across;
        if !(range > 0.5 && (0.0..=1.0).contains(&t)) {
            return None;
        }
        let above = range * ray.z - terrain.height(flat * range);
        let below = self.top - range * ray.z;
        let length = edge.length();
        let margin = above.min(below).min(t.min(1.0 - t) * length);
        let normal = Some((edge.perp() / length).extend(0.0));
        (margin >= 0.0).then_some(Hit { range, class: Class::Wall, normal, margin, color: self.color })
    }
}

impl Post {
    fn meet(&self, ray: DVec3, terrain: &Terrain) -> Option<Hit> {
        let flat = ray.truncate();
        let speed_sq = flat.length_squared();
        let middle = self.center.dot(flat) / speed_sq;
        let miss_sq = self.center.length_squared() - middle * middle * speed_sq;
        let inside = self.radius * self.radius - miss_sq;
        if inside <= 0.0 || middle <= 0.0 {
            return None;
        }
        let range = middle - (inside / speed_sq).sqrt();
        let above = range * ray.z - terrain.height(flat * range);
        let margin = above.min(self.top - range * ray.z);
        let normal = Some(((flat * range - self.center) / self.radius).extend(0.0));
        let color = [0.34, 0.27, 0.2, 0.0];
        let hit = Hit { range, class: self.class, normal, margin: margin.min(self.radius), color };
        (margin >= 0.0).then_some(hit)
    }
}

impl Crown {
    /// The range at `depth` behind the front of the crown, unless the ray is out of it by then.
    fn meet(&self, ray: DVec3, depth: f64) -> Option<f64> {
        let middle = self.center.dot(ray);
        let inside = self.radius * self.radius - (self.center.length_squared() - middle * middle);
        if inside <= 0.0 || middle <= 0.0 {
            return None;
        }
        let half = inside.sqrt();
        (depth < 2.0 * half).then_some(middle - half + depth)
    }
}
