//! Small seeded clouds on the lattice, of every shape that neighbours and features can go wrong on.

use lidar_features::{Frame, PointCloud};

use super::random::Random;

pub struct Cloud {
    pub name: String,
    pub points: Vec<[i32; 3]>,
    pub quantum: f64,
    pub color: Option<Color>,
}

/// Recorded channels.
pub struct Color {
    pub rgb: [Vec<u16>; 3],
    pub nir: Vec<u16>,
    pub intensity: Vec<u16>,
}

impl Cloud {
    pub fn new(name: impl Into<String>, points: Vec<[i32; 3]>) -> Self {
        Self { name: name.into(), points, quantum: 0.01, color: None }
    }

    pub fn len(&self) -> usize {
        self.points.len()
    }

    pub fn frame(&self) -> Frame {
        Frame::new([651_000.0, 6_862_000.0, 30.0], self.quantum).unwrap()
    }

    pub fn borrow(&self) -> PointCloud<'_> {
        let cloud = PointCloud::from_lattice(&self.points, self.frame());
        match &self.color {
            None => cloud,
            Some(Color { rgb: [r, g, b], nir, intensity }) => {
                cloud.with_rgb(r, g, b).with_nir(nir).with_intensity(intensity)
            }
        }
    }

    /// Channels of up to `most`, some points without any light.
    pub fn colored(mut self, most: u16) -> Self {
        let mut random = Random::new(7);
        let mut channel = || -> Vec<u16> {
            let mut value = |i| match i % 11 {
                0 => 0,
                1 => most,
                _ => random.below(u32::from(most) + 1) as u16,
            };
            (0..self.points.len()).map(&mut value).collect()
        };
        let rgb = [channel(), channel(), channel()];
        self.color = Some(Color { rgb, nir: channel(), intensity: channel() });
        self.name += &format!(" with colours to {most}");
        self
    }
}

/// Every kind, with sizes around those of workgroups and of `k`.
pub fn all() -> Vec<Cloud> {
    let mut clouds: Vec<_> =
        [1, 2, 3, 4, 7, 8, 9, 19, 20, 21, 63, 64, 65, 255, 257, 1000].map(|n| uniform(n, 300)).into();
    clouds.extend([
        uniform(600, 8),
        terrain(1000).colored(u16::MAX),
        terrain(257).colored(255),
        terrestrial(1000),
        plane_grid(24),
        collinear(200),
        coplanar(400),
        identical(130),
        exponential(),
        grid(9),
        checkerboard(12),
        twins(300),
        wide(300),
        millimetres(terrain(400)),
    ]);
    clouds
}

/// Points spread evenly over a cube.
pub fn uniform(n: usize, side: u32) -> Cloud {
    let mut random = Random::new(n as u64);
    let points = (0..n).map(|_| [(); 3].map(|()| random.below(side))).collect();
    Cloud::new(format!("{n} in a cube of {side}"), points)
}

/// Hills with flat roofs, as seen from the air: about ten points a square metre.
pub fn terrain(n: usize) -> Cloud {
    let mut random = Random::new(2);
    let side = ((n as f64 / 10.0).sqrt() * 100.0) as u32 + 1;
    let mut point = || {
        let (x, y) = (random.below(side), random.below(side));
        let ground = 400.0 * (f64::from(x) / 900.0).sin() + 0.2 * f64::from(y) + 3.0 * random.normal();
        let roof = (x / 400 + y / 400) % 3 == 0;
        [x, y, ground as i32 + if roof { 600 } else { 0 }]
    };
    Cloud::new(format!("terrain of {n}"), (0..n).map(|_| point()).collect())
}

/// Density falls with the square of the distance, as around a scanner on a tripod.
pub fn terrestrial(n: usize) -> Cloud {
    let mut random = Random::new(3);
    let mut point = || {
        let direction = [(); 3].map(|()| random.normal());
        let length = direction.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-9);
        let radius = 20.0 + 20_000.0 * random.unit();
        direction.map(|v| (v / length * radius) as i32)
    };
    Cloud::new(format!("terrestrial scan of {n}"), (0..n).map(|_| point()).collect())
}

/// A level grid with every third point twice and some many times, shuffled.
pub fn plane_grid(side: i32) -> Cloud {
    let mut points = Vec::new();
    for i in 0..side * side {
        let times = if i % 97 == 5 { 30 } else { 1 + usize::from(i % 3 == 0) };
        points.extend(std::iter::repeat_n([i % side * 10, i / side * 10, 5], times));
    }
    Random::new(4).shuffle(&mut points);
    Cloud::new(format!("level grid of {side} with duplicates"), points)
}

pub fn collinear(n: usize) -> Cloud {
    let mut random = Random::new(5);
    let points = (0..n).map(|_| random.below(1000)).map(|t| [2 * t + 1, 7 - 3 * t, t]).collect();
    Cloud::new(format!("{n} on a line"), points)
}

/// A tilted plane, not aligned with any axis.
pub fn coplanar(n: usize) -> Cloud {
    let mut random = Random::new(6);
    let points = (0..n)
        .map(|_| (random.below(200), random.below(200)))
        .map(|(a, b)| [2 * a + b, a - 3 * b, a + b])
        .collect();
    Cloud::new(format!("{n} on a plane"), points)
}

pub fn identical(n: usize) -> Cloud {
    Cloud::new(format!("{n} at one place"), vec![[12, -7, 3]; n])
}

/// Spacing doubles from point to point, up to the width of the lattice.
pub fn exponential() -> Cloud {
    let mut points = vec![[0; 3]];
    for e in 0..29 {
        let d = 1 << e;
        points.extend([[d, 0, d / 3], [-d, d / 2, 0], [d / 5, -d, 1], [0, d, d]]);
    }
    Cloud::new("exponential spacing", points)
}

/// A cube of equal distances: most cuts fall into a tie.
pub fn grid(side: i32) -> Cloud {
    let mut points: Vec<_> =
        (0..side.pow(3)).map(|i| [i % side * 4, i / side % side * 4, i / side / side * 4]).collect();
    Random::new(8).shuffle(&mut points);
    Cloud::new(format!("grid of {side}"), points)
}

pub fn checkerboard(side: i32) -> Cloud {
    let cells = (0..side.pow(3)).map(|i| [i % side, i / side % side, i / side / side]);
    let points = cells.filter(|c| c.iter().sum::<i32>() % 2 == 0).collect();
    Cloud::new(format!("checkerboard of {side}"), points)
}

/// Two dense clusters half a lattice apart: neighbours are near or very far.
pub fn twins(n: usize) -> Cloud {
    let mut random = Random::new(9);
    let mut point = |i| {
        let shift = if i % 2 == 0 { 0 } else { 1 << 30 };
        [(); 3].map(|()| random.below(40)).map(|v| v + shift)
    };
    Cloud::new(format!("{n} in two clusters far apart"), (0..n).map(&mut point).collect())
}

/// Sparse over the whole width of the lattice: squared distances beyond 2^53.
pub fn wide(n: usize) -> Cloud {
    let mut random = Random::new(10);
    let mut point = || [(); 3].map(|()| random.below(i32::MAX as u32) - (1 << 30));
    Cloud::new(format!("{n} over the whole lattice"), (0..n).map(|_| point()).collect())
}

/// The same scene recorded in millimetres: distances of thousands of quanta.
pub fn millimetres(mut cloud: Cloud) -> Cloud {
    let mut random = Random::new(11);
    for p in &mut cloud.points {
        *p = p.map(|v| v * 10 + random.below(10));
    }
    cloud.quantum = 0.001;
    cloud.name += " in millimetres";
    cloud
}
