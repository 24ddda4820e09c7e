//! A height for every place, with its exact slope.

use glam::{DVec2, DVec3};

use super::rng::Rng;

/// A sum of sine waves.
#[derive(Debug, Clone)]
pub(super) struct Terrain {
    base: f64,
    waves: Vec<Wave>,
}

#[derive(Debug, Clone)]
struct Wave {
    /// Radians per metre, along x and y.
    number: DVec2,
    phase: f64,
    amplitude: f64,
}

impl Terrain {
    /// Waves of these (amplitude, wavelength) in metres, in random directions, about the height `base`.
    pub(super) fn new(base: f64, waves: &[(f64, f64)], rng: &mut Rng) -> Self {
        let turn = std::f64::consts::TAU;
        let waves = waves.iter().map(|&(amplitude, length)| Wave {
            number: DVec2::from_angle(rng.range(0.0, turn)) * (turn / length),
            phase: rng.range(0.0, turn),
            amplitude,
        });
        Self { base, waves: waves.collect() }
    }

    pub(super) fn height(&self, at: DVec2) -> f64 {
        self.base + self.waves.iter().map(|w| w.amplitude * (w.number.dot(at) + w.phase).sin()).sum::<f64>()
    }

    /// Upward unit normal.
    pub(super) fn normal(&self, at: DVec2) -> DVec3 {
        let slope: DVec2 =
            self.waves.iter().map(|w| w.number * (w.amplitude * (w.number.dot(at) + w.phase).cos())).sum();
        DVec3::new(-slope.x, -slope.y, 1.0).normalize()
    }
}
