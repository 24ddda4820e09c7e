//! Villages and suburbs: a grid of lots along streets, each with a house or trees, and wires along the streets.

use std::f64::consts::TAU;

use glam::{DVec2, DVec3};

use super::patch::{Color, Patch, Shape};
use super::rng::{Rng, even};
use super::terrain::Terrain;
use super::{Class, MARGIN_CAP, Sample};

/// What distinguishes one settlement from another.
#[derive(Debug)]
pub(super) struct Plan {
    /// Metres along x and y.
    size: DVec2,
    /// (amplitude, wavelength) of the terrain's waves, in metres.
    waves: &'static [(f64, f64)],
    /// Points on a wall for one on as much ground.
    wall_density: f64,
    /// The same for wires, 0.3 m wide.
    wire_density: f64,
    noise: f64,
    /// Width of a flight line and length of a scan, in metres.
    scan: DVec2,
    /// Part of the lots that have a house.
    built: f64,
}

impl Plan {
    pub(super) fn village() -> Self {
        Self {
            size: LOT * DVec2::new(5.0, 4.0),
            waves: &[(3.0, 150.0), (1.6, 90.0), (0.25, 28.0)],
            wall_density: 1.0,
            wire_density: 3.0,
            noise: 0.015,
            scan: DVec2::new(60.0, 3.0),
            built: 0.78,
        }
    }

    /// As large as `points` at some 12 to a square metre make it.
    pub(super) fn suburb(points: usize) -> Self {
        let side = (points as f64 / 16.0).sqrt().max(40.0);
        Self {
            size: DVec2::splat(side),
            waves: &[(6.0, 700.0), (1.0, 170.0), (0.1, 23.0)],
            wall_density: 0.25,
            wire_density: 1.0,
            noise: 0.02,
            scan: DVec2::new(150.0, 2.0),
            built: 0.7,
        }
    }
}

/// Size of a lot with its part of the street, in metres; the street runs along x at the lot's low edge.
const LOT: DVec2 = DVec2::new(26.0, 34.0);
const STREET: f64 = 7.0;

/// What stands on the ground of one lot; everything stays clear of the lot's border by more than [`MARGIN_CAP`].
#[derive(Debug, Clone, Default)]
struct Lot {
    house: Option<House>,
    /// Centre and radius.
    posts: Vec<(DVec2, f64)>,
}

#[derive(Debug, Clone)]
struct House {
    center: DVec2,
    /// Unit vector along the ridge.
    along: DVec2,
    half: DVec2,
}

impl House {
    /// Distance from the footprint; negative inside.
    fn distance(&self, at: DVec2) -> f64 {
        let d = at - self.center;
        let local = DVec2::new(d.dot(self.along), d.dot(self.along.perp())).abs() - self.half;
        local.max(DVec2::ZERO).length() + local.max_element().min(0.0)
    }
}

#[derive(Debug)]
pub(super) struct Settlement {
    seed: u64,
    pub(super) noise: f64,
    size: DVec2,
    scan: DVec2,
    terrain: Terrain,
    columns: usize,
    rows: usize,
    lots: Vec<Lot>,
    patches: Vec<Patch>,
    /// Where each patch's points end; the ground is the first.
    ends: Vec<u64>,
}

impl Settlement {
    pub(super) fn new(plan: &Plan, points: usize, seed: u64) -> Self {
        let mut rng = Rng::of(&[seed, 1]);
        let count = (plan.size / LOT).ceil();
        let mut settlement = Self {
            seed,
            noise: plan.noise,
            size: plan.size,
            scan: plan.scan,
            terrain: Terrain::new(20.0, plan.waves, &mut rng),
            columns: count.x as usize,
            rows: count.y as usize,
            lots: Vec::new(),
            patches: Vec::new(),
            ends: Vec::new(),
        };
        for row in 0..settlement.rows {
            for column in 0..settlement.columns {
                let lot = settlement.furnish(plan, row, column);
                settlement.lots.push(lot);
            }
        }
        settlement.share_out(points);
        settlement
    }

    /// Gives every patch its number of points by its weight.
    fn share_out(&mut self, points: usize) {
        let footprint = |lot: &Lot| lot.house.as_ref().map_or(0.0, |h| 4.0 * h.half.x * h.half.y);
        let ground = self.size.x * self.size.y - self.lots.iter().map(footprint).sum::<f64>();
        let weights: Vec<f64> = std::iter::once(ground.max(1.0))
            .chain(self.patches.iter().map(|p| p.weight(&self.terrain)))
            .collect();
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        for weight in &weights {
            sum += weight;
            self.ends.push((sum / total * points as f64).round() as u64);
        }
        // The last partial sum is the total but for rounding.
        if let Some(last) = self.ends.last_mut() {
            *last = points as u64;
        }
    }

    /// Builds what stands on a lot.
    fn furnish(&mut self, plan: &Plan, row: usize, column: usize) -> Lot {
        let mut rng = Rng::of(&[self.seed, 2, row as u64, column as u64]);
        let corner = DVec2::new(column as f64, row as f64) * LOT;
        let mut lot = Lot::default();
        self.wires(plan, &mut rng, corner, &mut lot);
        let built = rng.chance(plan.built) && (corner + LOT).cmple(self.size + 0.5).all();
        if built {
            let half = DVec2::new(rng.range(4.6, 6.8), rng.range(3.4, 4.6));
            let turned = if rng.chance(0.3) { TAU / 4.0 } else { 0.0 };
            let house = House {
                center: corner
                    + DVec2::new(13.0, STREET + 11.0)
                    + DVec2::new(rng.range(-2.0, 2.0), rng.range(-2.0, 2.0)),
                along: DVec2::from_angle(turned + rng.range(-0.25, 0.25)),
                half,
            };
            self.build(plan, &house, &mut rng);
            lot.house = Some(house);
        }
        let trees = if built { 3 } else { 9 };
        for _ in 0..trees {
            self.plant(&mut rng, corner, &mut lot);
        }
        lot
    }

    /// A pole at the street, and wires to the next lot's.
    fn wires(&mut self, plan: &Plan, rng: &mut Rng, corner: DVec2, lot: &mut Lot) {
        const BARK: Color = [0.34, 0.27, 0.21, 0.36];
        const METAL: Color = [0.16, 0.16, 0.17, 0.15];
        let (height, radius) = (8.5, 0.16);
        let at = corner + DVec2::new(3.0, STREET - 1.8);
        if !at.cmplt(self.size - 1.0).all() {
            return;
        }
        let foot = |at: DVec2| at.extend(self.terrain.height(at));
        let post = Shape::Post { foot: foot(at), radius, height, class: Class::Pole };
        lot.posts.push((at, radius));
        let next = at + DVec2::X * LOT.x;
        if next.x < self.size.x - 1.0 {
            let bend = rng.range(95.0, 130.0);
            for side in [-1.3, 0.0, 1.3] {
                let arm = DVec3::new(0.0, side, height - 0.3 - 0.15 * side.abs());
                let shape = Shape::Wire { from: foot(at) + arm, to: foot(next) + arm, bend };
                self.patches.push(Patch { shape, color: METAL, density: plan.wire_density });
            }
        }
        self.patches.push(Patch { shape: post, color: BARK, density: 1.5 });
    }

    /// Four walls and two slopes.
    fn build(&mut self, plan: &Plan, house: &House, rng: &mut Rng) {
        const ROOFS: [Color; 4] = [
            [0.56, 0.27, 0.19, 0.5],
            [0.48, 0.22, 0.17, 0.44],
            [0.3, 0.31, 0.34, 0.3],
            [0.6, 0.36, 0.26, 0.54],
        ];
        const WALLS: [Color; 3] =
            [[0.86, 0.82, 0.72, 0.82], [0.8, 0.79, 0.77, 0.76], [0.78, 0.7, 0.58, 0.76]];
        let roof = ROOFS[(rng.next() % 4) as usize];
        let wall = WALLS[(rng.next() % 3) as usize];
        let storeys = if rng.chance(0.45) { 5.6 } else { 3.4 };
        let rise = house.half.y * rng.range(0.65, 0.95);
        let eave = self.terrain.height(house.center) + storeys;
        let (along, across) = (house.along * house.half.x, house.along.perp() * house.half.y);
        let corner = |a: f64, c: f64| house.center + along * a + across * c;
        for side in [-1.0, 1.0] {
            let sides =
                [(corner(-1.0, side), corner(1.0, side), 0.0), (corner(side, -1.0), corner(side, 1.0), rise)];
            for (from, to, rise) in sides {
                let shape = Shape::Wall { from, to, eave, rise };
                self.patches.push(Patch { shape, color: wall, density: plan.wall_density });
            }
            // Roofs end with their walls, so that no eave hides a wall's top.
            let ridge = corner(-1.0, 0.0).extend(eave + rise);
            let along = (along * 2.0).extend(0.0);
            let down = (across * side).extend(-rise);
            let shape = Shape::RoofSlope { corner: ridge, along, down };
            self.patches.push(Patch { shape, color: roof, density: 1.0 });
        }
    }

    /// A tree where there is room for one, after some tries.
    fn plant(&mut self, rng: &mut Rng, corner: DVec2, lot: &mut Lot) {
        const TRUNK: Color = [0.32, 0.25, 0.19, 0.62];
        for _ in 0..8 {
            let wide = rng.range(1.5, 3.2);
            let inset = wide + 0.3;
            let at = corner
                + DVec2::new(rng.range(inset, LOT.x - inset), rng.range(STREET + inset + 1.0, LOT.y - inset));
            let free = lot.house.as_ref().is_none_or(|h| h.distance(at) > wide + 0.8)
                && lot.posts.iter().all(|(p, _)| p.distance(at) > wide + 2.4)
                && (at + wide).cmplt(self.size).all();
            if !free {
                continue;
            }
            let conifer = rng.chance(0.25);
            let tall = wide * if conifer { rng.range(1.7, 2.3) } else { rng.range(0.95, 1.3) };
            let stem = rng.range(1.6, 2.8);
            let foot = at.extend(self.terrain.height(at));
            let radius = rng.range(0.12, 0.24);
            let trunk = Shape::Post { foot, radius, height: stem + 0.6, class: Class::Vegetation };
            self.patches.push(Patch { shape: trunk, color: TRUNK, density: 1.0 });
            let phase = DVec3::new(rng.range(0.0, TAU), rng.range(0.0, TAU), rng.range(0.0, TAU));
            let radii = DVec3::new(wide, wide, tall);
            let center = foot + DVec3::Z * (stem + tall * 0.9);
            let leaf = rng.range(0.8, 1.2);
            let color = if conifer { [0.13, 0.27, 0.16, 0.66] } else { [0.24, 0.42, 0.15, 0.8] };
            let shape = Shape::Crown { center, radii, phase };
            self.patches.push(Patch { shape, color: color.map(|c| c * leaf), density: 0.9 });
            lot.posts.push((at, radius));
            return;
        }
    }

    pub(super) fn sample(&self, i: usize) -> Sample {
        let i = i as u64;
        let patch = self.ends.partition_point(|end| *end <= i);
        let first = if patch == 0 { 0 } else { self.ends[patch - 1] };
        let count = (self.ends[patch] - first) as f64;
        let mut rng = Rng::of(&[self.seed, 3, i]);
        let mut start = Rng::of(&[self.seed, 4, patch as u64]);
        let [u, v] = even(i - first, [start.next(), start.next()]);
        // Enough disorder to hide the sequence's lattice, not enough to leave holes.
        let jitter = 0.8 / count.sqrt();
        let at = [u, v].map(|t| (t + jitter * (rng.unit() - 0.5)).rem_euclid(1.0));
        match patch.checked_sub(1) {
            None => self.ground(at, &mut rng),
            Some(p) => self.patches[p].sample(&self.terrain, at, self.noise, &mut rng),
        }
    }

    fn ground(&self, [u, v]: [f64; 2], rng: &mut Rng) -> Sample {
        let mut at = self.size * DVec2::new(u, v);
        loop {
            let lot = self.lot(at);
            let from_house = lot.house.as_ref().map_or(f64::INFINITY, |h| h.distance(at));
            let from_posts = lot.posts.iter().map(|(p, r)| p.distance(at) - r).fold(f64::INFINITY, f64::min);
            let margin = from_house.min(from_posts).min(f64::from(MARGIN_CAP));
            if margin < 0.0 {
                at = self.size * DVec2::new(rng.unit(), rng.unit());
                continue;
            }
            let normal = self.terrain.normal(at);
            return Sample {
                position: at.extend(self.terrain.height(at)) + normal * (self.noise * rng.gauss()),
                class: Class::Ground,
                normal: Some(normal),
                margin,
                color: self.ground_color(at, rng),
            };
        }
    }

    /// Asphalt on the street, a mix of lush and dry grass elsewhere.
    fn ground_color(&self, at: DVec2, rng: &mut Rng) -> Color {
        const ASPHALT: Color = [0.36, 0.36, 0.37, 0.34];
        const LUSH: Color = [0.27, 0.43, 0.17, 0.72];
        const DRY: Color = [0.52, 0.5, 0.3, 0.6];
        let shade = 1.0 + 0.07 * rng.gauss();
        if at.y.rem_euclid(LOT.y) < STREET - 2.0 {
            return ASPHALT.map(|c| c * shade);
        }
        let dry = 0.5 + 0.3 * (at.x / 9.0).sin() * (at.y / 13.0).sin() + 0.1 * rng.gauss();
        std::array::from_fn(|c| (LUSH[c] + (DRY[c] - LUSH[c]) * dry.clamp(0.0, 1.0)) * shade)
    }

    fn lot(&self, at: DVec2) -> &Lot {
        let cell = (at / LOT).max(DVec2::ZERO);
        let (column, row) = ((cell.x as usize).min(self.columns - 1), (cell.y as usize).min(self.rows - 1));
        &self.lots[row * self.columns + column]
    }

    /// Flight line and scan of a point; lines are flown to and fro.
    pub(super) fn scan(&self, sample: &Sample) -> u32 {
        let at = sample.position.truncate().max(DVec2::ZERO);
        let line = ((at.y / self.scan.x) as u32).min(255);
        let scan = ((at.x / self.scan.y) as u32).min(4095);
        line << 12 | if line.is_multiple_of(2) { scan } else { 4095 - scan }
    }
}
