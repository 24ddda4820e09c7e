//! Seeded scenes with known ground truth: the same points for the same seed, on any number of threads.
//!
//! Every point is a pure function of (scene, seed, index); the order in the cloud comes from a sort by flight
//! line or scan. Heights, walls and roofs are exact surfaces with a little noise along their normal.

mod order;
mod patch;
mod rng;
mod settlement;
mod terrain;
mod terrestrial;

use glam::DVec3;
use rayon::prelude::*;

use crate::cloud::{MAX_POINTS, PointCloud};
use crate::frame::Frame;
use rng::Rng;
use settlement::{Plan, Settlement};

/// Names that [`scene`] knows.
pub const SCENES: [&str; 7] = ["als", "tls", "uniform", "plane", "line", "duplicates", "village"];

/// What a point was sampled from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Class {
    /// Nothing in particular.
    #[default]
    None,
    /// Terrain and streets.
    Ground,
    /// A roof's slope.
    Roof,
    /// A wall.
    Wall,
    /// Crowns and trunks.
    Vegetation,
    /// Poles.
    Pole,
    /// Wires between poles.
    Wire,
}

impl Class {
    /// Every class but [`Class::None`].
    pub const ALL: [Self; 6] =
        [Self::Ground, Self::Roof, Self::Wall, Self::Vegetation, Self::Pole, Self::Wire];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ground => "ground",
            Self::Roof => "roof",
            Self::Wall => "wall",
            Self::Vegetation => "vegetation",
            Self::Pole => "pole",
            Self::Wire => "wire",
        }
    }

    /// The ASPRS classification code that comes closest.
    pub fn las_code(self) -> u8 {
        match self {
            Self::None => 1,
            Self::Ground => 2,
            Self::Vegetation => 5,
            Self::Roof | Self::Wall => 6,
            Self::Wire => 14,
            Self::Pole => 15,
        }
    }
}

/// What is true of one point.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Truth {
    /// What it was sampled from.
    pub class: Class,
    /// Unit normal of the surface there (z ≥ 0), where there is a surface.
    pub normal: Option<[f32; 3]>,
    /// Distance in metres, at most [`MARGIN_CAP`], to the edge of that surface or to what stands on it: a smaller
    /// neighbourhood lies on this one surface.
    pub margin: f32,
}

/// Largest [`Truth::margin`].
pub const MARGIN_CAP: f32 = 1.5;

/// A generated cloud and what is true of it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Scene {
    /// Lattice coordinates.
    pub lattice: Vec<[i32; 3]>,
    /// Their frame: 0.01 m, for terrestrial scenes 0.001 m.
    pub frame: Frame,
    /// Red, green and blue of 16 bits.
    pub rgb: Option<[Vec<u16>; 3]>,
    /// Near-infrared of 16 bits.
    pub nir: Option<Vec<u16>>,
    /// One entry a point.
    pub truth: Vec<Truth>,
    /// Standard deviation of the noise along a surface's normal, in metres (half a quantum not counted).
    pub noise: f64,
}

impl Scene {
    /// The columns as a cloud.
    pub fn cloud(&self) -> PointCloud<'_> {
        let mut cloud = PointCloud::from_lattice(&self.lattice, self.frame);
        if let Some([r, g, b]) = &self.rgb {
            cloud = cloud.with_rgb(r, g, b);
        }
        if let Some(nir) = &self.nir {
            cloud = cloud.with_nir(nir);
        }
        cloud
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.lattice.len()
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.lattice.is_empty()
    }
}

/// The scene of a name in [`SCENES`], with exactly `points` points; `None` for any other name.
///
/// * `als`: an airborne scan of a suburb, about 12 points/m² whatever their number, colour and near-infrared.
/// * `tls`: a terrestrial scan of a yard from one place, density falling with the square of the range.
/// * `uniform`: a filled cube, eight points a cubic metre.
/// * `plane`: a level square, eight points a square metre.
/// * `line`: along x, 25 points a metre: 2^24 quanta hold four million.
/// * `duplicates`: `als` in which 30 % of the points repeat another one exactly, some thousands of times.
/// * `village`: [`village`].
///
/// # Panics
/// If `points` exceeds [`MAX_POINTS`].
pub fn scene(name: &str, points: usize, seed: u64) -> Option<Scene> {
    match name {
        "als" => Some(suburb(points, seed)),
        "tls" => Some(yard(points, seed)),
        "uniform" => Some(uniform(points, seed, DVec3::ONE * (points as f64 / 8.0).cbrt())),
        "plane" => Some(uniform(points, seed, DVec3::new(1.0, 1.0, 0.0) * (points as f64 / 8.0).sqrt())),
        "line" => Some(uniform(points, seed, DVec3::X * (points as f64 / 25.0))),
        "duplicates" => Some(duplicates(points, seed)),
        "village" => Some(village(points, seed)),
        _ => None,
    }
}

/// A village of fixed size on rolling terrain: gabled houses, trees, poles and wires, all sides of everything seen.
///
/// # Panics
/// If `points` exceeds [`MAX_POINTS`].
pub fn village(points: usize, seed: u64) -> Scene {
    let settlement = Settlement::new(&Plan::village(), points, seed);
    let frame = frame([870_000.0, 6_610_000.0, 300.0], 0.01);
    assemble(points, frame, settlement.noise, true, |i| settlement.sample(i), |s| settlement.scan(s))
}

fn suburb(points: usize, seed: u64) -> Scene {
    let settlement = Settlement::new(&Plan::suburb(points), points, seed);
    let frame = frame([651_000.0, 6_861_000.0, 50.0], 0.01);
    assemble(points, frame, settlement.noise, true, |i| settlement.sample(i), |s| settlement.scan(s))
}

fn yard(points: usize, seed: u64) -> Scene {
    let yard = terrestrial::Yard::new(seed);
    let frame = frame([0.0; 3], 0.001);
    assemble(points, frame, yard.noise, false, |i| yard.sample(i), terrestrial::Yard::scan)
}

fn uniform(points: usize, seed: u64, size: DVec3) -> Scene {
    let sample = |i: usize| {
        let mut rng = Rng::of(&[seed, i as u64]);
        let position = DVec3::new(rng.unit(), rng.unit(), rng.unit()) * size;
        Sample { position, ..Sample::default() }
    };
    let mut scene = assemble(points, frame([0.0; 3], 0.01), 0.0, false, sample, |_| 0);
    scene.rgb = None;
    scene
}

fn duplicates(points: usize, seed: u64) -> Scene {
    let copies = points * 3 / 10;
    let originals = points - copies;
    let base = suburb(originals, seed);
    // Most copies repeat any point; one in ten repeats one of 64 places, more often than any list of neighbours is long.
    let source = |i: usize| {
        if i < originals {
            return i;
        }
        let mut rng = Rng::of(&[seed, 0xd0, i as u64]);
        let pool = if rng.next().is_multiple_of(10) { originals.min(64) } else { originals };
        (rng.next() % pool as u64) as usize
    };
    let order: Vec<usize> =
        order::shuffled(points, seed).into_par_iter().map(|i| source(i as usize)).collect();
    fn pick<T: Copy + Send + Sync>(from: &[T], order: &[usize]) -> Vec<T> {
        order.par_iter().map(|&i| from[i]).collect()
    }
    Scene {
        lattice: pick(&base.lattice, &order),
        frame: base.frame,
        rgb: base.rgb.map(|channels| channels.map(|c| pick(&c, &order))),
        nir: base.nir.map(|nir| pick(&nir, &order)),
        truth: pick(&base.truth, &order),
        noise: base.noise,
    }
}

/// One generated point before it is put on the lattice.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    position: DVec3,
    class: Class,
    normal: Option<DVec3>,
    margin: f64,
    /// Red, green, blue and near-infrared, 0..1.
    color: [f64; 4],
}

/// Generates twice, once for the order and once in that order: cheaper than holding and moving wide records.
fn assemble(
    points: usize,
    frame: Frame,
    noise: f64,
    with_nir: bool,
    sample: impl Fn(usize) -> Sample + Sync,
    scan: impl Fn(&Sample) -> u32 + Sync,
) -> Scene {
    assert!(points <= MAX_POINTS, "{points} points are more than the {MAX_POINTS} that one cloud may have");
    let order = order::by_scan(points, |i| scan(&sample(i)));
    let mut lattice = vec![[0; 3]; points];
    let mut truth = vec![Truth::default(); points];
    let mut channels: [Vec<u16>; 4] = std::array::from_fn(|_| vec![0; points]);
    let [red, green, blue, nir] = &mut channels;
    let colors = (red, green, blue, nir).into_par_iter();
    (&order, &mut lattice, &mut truth, colors).into_par_iter().with_min_len(1 << 12).for_each(
        |(&i, lattice, truth, (red, green, blue, nir))| {
            let s = sample(i as usize);
            *lattice = s.position.to_array().map(|v| (v / frame.quantum()).round() as i32);
            let normal = s.normal.map(|n| if n.z < 0.0 { -n } else { n }.as_vec3().to_array());
            let margin = (s.margin as f32).clamp(0.0, MARGIN_CAP);
            *truth = Truth { class: s.class, normal, margin };
            let to_u16 = |v: f64| (v.clamp(0.0, 1.0) * 65535.0) as u16;
            [*red, *green, *blue, *nir] = s.color.map(to_u16);
        },
    );
    let [red, green, blue, nir] = channels;
    Scene { lattice, frame, rgb: Some([red, green, blue]), nir: with_nir.then_some(nir), truth, noise }
}

fn frame(origin: [f64; 3], quantum: f64) -> Frame {
    // Both callers' numbers are literals of this file: finite, the quantum positive.
    Frame::new(origin, quantum).expect("finite literals")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn scenes_have_exactly_the_points_asked_for() {
        for name in SCENES {
            for points in [0, 1, 2, 999, 20_001] {
                let scene = scene(name, points, 5).unwrap();
                assert_eq!((scene.len(), scene.truth.len()), (points, points), "{name}");
                scene.cloud().validate().unwrap();
            }
        }
        assert!(scene("moon", 10, 0).is_none());
    }

    #[test]
    fn a_seed_gives_one_scene_on_any_number_of_threads() {
        for name in SCENES {
            let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            let first = alone.install(|| scene(name, 30_000, 11).unwrap());
            assert!(first == scene(name, 30_000, 11).unwrap(), "{name}");
            assert!(first.lattice != scene(name, 30_000, 12).unwrap().lattice, "{name}");
        }
    }

    #[test]
    fn nearly_a_third_of_the_duplicates_are_duplicates() {
        let scene = scene("duplicates", 50_000, 3).unwrap();
        let places: HashSet<_> = scene.lattice.iter().collect();
        let unique = places.len() as f64 / 50_000.0;
        assert!((0.68..=0.70).contains(&unique), "{unique}");
    }

    /// Near a surface's point, others of its class within the margin lie in its tangent plane.
    fn check_surfaces(scene: &Scene, classes: &[Class], reach: f64, bend: f64) {
        let q = scene.frame.quantum();
        let at = |i: usize| DVec3::from_array(scene.lattice[i].map(f64::from)) * q;
        let mut checked = vec![0; classes.len()];
        for i in (0..scene.len()).step_by(17) {
            let truth = scene.truth[i];
            let Some(c) = classes.iter().position(|c| *c == truth.class) else { continue };
            let normal = DVec3::from_array(truth.normal.unwrap().map(f64::from));
            assert!((normal.length() - 1.0).abs() < 1e-6 && normal.z >= 0.0);
            let reach = reach.min(f64::from(truth.margin));
            for (j, other) in scene.truth.iter().enumerate() {
                let offset = at(j) - at(i);
                if other.class == truth.class && offset.length_squared() < reach * reach {
                    let off = offset.dot(normal).abs();
                    let allowed = 8.0 * scene.noise + 2.0 * q + bend * offset.length_squared();
                    assert!(off <= allowed, "{i} {j} {truth:?} {off} > {allowed}");
                    checked[c] += usize::from(i != j);
                }
            }
        }
        assert!(checked.iter().all(|n| *n > 20), "{classes:?} {checked:?}");
    }

    #[test]
    fn true_normals_match_the_surfaces() {
        let surfaces = [Class::Ground, Class::Roof, Class::Wall];
        check_surfaces(&scene("village", 60_000, 1).unwrap(), &surfaces, 0.8, 0.05);
        check_surfaces(&scene("als", 60_000, 1).unwrap(), &surfaces, 0.8, 0.05);
        check_surfaces(&scene("tls", 60_000, 1).unwrap(), &[Class::Ground, Class::Wall], 0.3, 0.3);
    }

    #[test]
    fn plants_are_bright_in_the_near_infrared() {
        let scene = village(40_000, 2);
        let (red, nir) = (&scene.rgb.as_ref().unwrap()[0], scene.nir.as_ref().unwrap());
        for class in Class::ALL {
            let ndvi: Vec<f64> = (0..scene.len())
                .filter(|&i| scene.truth[i].class == class)
                .map(|i| (f64::from(red[i]), f64::from(nir[i])))
                .map(|(r, n)| (n - r) / (n + r))
                .collect();
            assert!(ndvi.len() > 50, "{class:?} {}", ndvi.len());
            let mean = ndvi.iter().sum::<f64>() / ndvi.len() as f64;
            match class {
                Class::Vegetation => assert!(mean > 0.4, "{mean}"),
                Class::Ground => {}
                _ => assert!(mean < 0.2, "{class:?} {mean}"),
            }
        }
    }

    #[test]
    fn terrestrial_density_falls_with_range() {
        let scene = scene("tls", 100_000, 4).unwrap();
        let within = |r: f64| {
            let r = r / scene.frame.quantum();
            scene
                .lattice
                .iter()
                .filter(|p| p.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() < r * r)
                .count()
        };
        let (near, far) = (within(5.0), within(40.0));
        assert!(near * 10 > far && far > 50_000, "{near} {far}");
    }
}
