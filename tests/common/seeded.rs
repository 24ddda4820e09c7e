//! Small clouds by number: each seed is one shape, size and spread.

use super::clouds::Cloud;
use super::random::Random;

/// Sizes around those of lists and workgroups. Each is a variant of the kernels for a larger k, and takes its time to compile.
const FEW: [usize; 10] = [0, 1, 2, 3, 5, 8, 9, 20, 21, 65];

/// What points are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Cube,
    OneSite,
    Line,
    Plane,
    /// All but one in one cell, and one 10 km away.
    CrowdAndHermit,
    /// Spacing doubles up to the lattice's width.
    Exponential,
    /// Equal distances everywhere.
    Grid,
    /// The same, farther apart than the first kernel looks; some sites hold two points.
    FarGrid,
    Checkerboard,
    /// Most sites hold several points.
    Duplicates,
    Clusters,
    /// At the faces and corners of the widest lattice there is.
    Edge,
    Wide,
    Terrain,
}

pub const SHAPES: [Shape; 14] = [
    Shape::Cube,
    Shape::OneSite,
    Shape::Line,
    Shape::Plane,
    Shape::CrowdAndHermit,
    Shape::Exponential,
    Shape::Grid,
    Shape::FarGrid,
    Shape::Checkerboard,
    Shape::Duplicates,
    Shape::Clusters,
    Shape::Edge,
    Shape::Wide,
    Shape::Terrain,
];

/// A cloud of up to 2,000 points, mostly of a few hundred or less.
pub fn cloud(seed: u64) -> (Cloud, Shape) {
    let mut random = Random::new(seed ^ 0xc10d_5eed);
    let shape = SHAPES[(seed % SHAPES.len() as u64) as usize];
    let n = match random.below(20) {
        0..12 => FEW[random.below(FEW.len() as u32) as usize],
        12..19 => 130 + random.below(270) as usize,
        _ => 400 + random.below(1601) as usize,
    };
    let side = [1, 2, 5, 30, 300, 4000, 100_000][random.below(7) as usize];
    let far = [(); 3].map(|()| random.below(1 << 20) - (1 << 19));
    let direction = [(); 3].map(|()| random.below(9) - 4);
    let across = [(); 3].map(|()| random.below(9) - 4);
    let root = |power: f64| (n as f64).powf(power).ceil().max(1.0) as i32;
    let mut point = |i: usize| -> [i32; 3] {
        let at = i as i32;
        let cube = |random: &mut Random, side| [(); 3].map(|()| random.below(side));
        let moved = |p: [i32; 3]| std::array::from_fn(|a| p[a] + far[a]);
        let step = side.min(1000) as i32;
        match shape {
            Shape::Cube => moved(cube(&mut random, side)),
            Shape::OneSite => far,
            Shape::Line => {
                let t = random.below(side);
                moved(direction.map(|d| d * t))
            }
            Shape::Plane => {
                let (s, t) = (random.below(side), random.below(side));
                moved(std::array::from_fn(|a| s * direction[a] + t * across[a]))
            }
            Shape::CrowdAndHermit if i + 1 == n => [far[0] + 1_000_000, far[1], far[2]],
            Shape::CrowdAndHermit => moved(cube(&mut random, side.min(5))),
            Shape::Exponential => {
                let size = 1i32 << random.below(30);
                let sign = if random.below(2) == 0 { 1 } else { -1 };
                let mut p = [random.below(3), random.below(3), random.below(3)];
                p[i % 3] = sign * (size - random.below(2));
                p
            }
            Shape::Grid => {
                let edge = root(1.0 / 3.0);
                moved([at % edge * step, at / edge % edge * step, at / edge / edge * step])
            }
            Shape::FarGrid => {
                let (edge, site) = (root(1.0 / 3.0), at - i32::from(at % 9 == 1));
                moved([site % edge, site / edge % edge, site / edge / edge].map(|v| v * (3900 + step)))
            }
            Shape::Checkerboard => {
                let edge = root(0.5);
                let (x, y) = (at % edge, at / edge);
                moved([(2 * x + y % 2) * step, y * step, (x + y) % 2 * step])
            }
            Shape::Duplicates => {
                let site = random.below(1 + n as u32 / 9);
                moved([site % 7 * step, site / 7 % 7 * step, site / 49 * step])
            }
            Shape::Clusters => {
                let cluster = 1 + random.below(4);
                cube(&mut random, side.min(300)).map(|v| v + (cluster << 28))
            }
            Shape::Edge => {
                let faces = [-(1 << 30), (1 << 30) - 1];
                let p = cube(&mut random, side.min(300));
                std::array::from_fn(|a| match random.below(3) {
                    0 => faces[0] + p[a],
                    1 => faces[1] - p[a],
                    _ => p[a],
                })
            }
            Shape::Wide => [(); 3].map(|()| random.below(i32::MAX as u32) - (1 << 30)),
            Shape::Terrain => {
                let (x, y) = (random.below(side * 10), random.below(side * 10));
                moved([x, y, (f64::from(x) * 0.01).sin() as i32 * 40 + y / 8 + random.below(4)])
            }
        }
    };
    let mut points: Vec<_> = (0..n).map(&mut point).collect();
    random.shuffle(&mut points);
    (Cloud::new(format!("seed {seed}: {n} points, {shape:?} of {side}"), points), shape)
}
