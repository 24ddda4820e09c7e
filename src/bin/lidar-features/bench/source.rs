//! What is measured on: a file, copies of it side by side, or a synthetic scene.

use lidar_features::las::{LasCloud, ReadOptions, read_with};
use lidar_features::synthetic::{self, Scene};
use lidar_features::{Frame, PointCloud};

use super::Args;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::request::Request;

/// Synthetic scenes of a run equal those of any other.
const SEED: u64 = 1;

pub enum Source {
    File(LasCloud),
    /// With the classes of its points.
    Scene(Scene, Vec<u8>),
    Copies(Copies),
}

/// A cloud's coordinates several times over, along x.
pub struct Copies {
    lattice: Vec<[i32; 3]>,
    pub frame: Frame,
    /// Points of each.
    pub single: usize,
}

impl Source {
    pub fn load(args: &Args, progress: &Progress) -> Result<Self, Failure> {
        let one = Self::load_one(args, progress)?;
        match args.copies {
            None => Ok(one),
            Some(copies) => {
                let (lattice, frame) = match &one {
                    Self::Scene(scene, _) => (&scene.lattice[..], scene.frame),
                    Self::File(file) => file
                        .lattice()
                        .ok_or_else(|| Failure::Usage("--copies needs a file on one lattice".to_owned()))?,
                    Self::Copies(copies) => (&copies.lattice[..], copies.frame),
                };
                Ok(Self::Copies(Copies::new(lattice, frame, copies)?))
            }
        }
    }

    fn load_one(args: &Args, progress: &Progress) -> Result<Self, Failure> {
        match &args.input {
            Some(path) => {
                let watch = |done, all| progress.points("reading", done, all);
                let mut options = ReadOptions::default().watch(&watch);
                if let Some(points) = args.points {
                    options = options.limit(points.into());
                }
                Ok(Self::File(read_with(path, &options)?))
            }
            None => {
                let name = args.scene.as_deref().unwrap_or("als");
                let points = args.points.unwrap_or(1_000_000) as usize;
                if points > lidar_features::MAX_POINTS {
                    return Err(Failure::Usage(format!("--points {points} is more than one cloud may have")));
                }
                progress.step(format!("making {points} points of {name}"));
                let scene = synthetic::scene(name, points, SEED);
                scene.map(Self::scene).ok_or_else(|| Failure::Usage(format!("unknown scene {name:?}")))
            }
        }
    }

    fn scene(scene: Scene) -> Self {
        let classes = scene.truth.iter().map(|truth| truth.class.las_code()).collect();
        Self::Scene(scene, classes)
    }

    pub fn cloud(&self) -> PointCloud<'_> {
        match self {
            Self::File(file) => file.cloud(),
            Self::Scene(scene, classes) => scene.cloud().with_classification(classes),
            Self::Copies(copies) => PointCloud::from_lattice(&copies.lattice, copies.frame),
        }
    }

    /// Lattice coordinates, if there are any.
    pub fn lattice(&self) -> Option<&[[i32; 3]]> {
        match self {
            Self::File(file) => file.lattice().map(|(lattice, _)| lattice),
            Self::Scene(scene, _) => Some(&scene.lattice),
            Self::Copies(copies) => Some(&copies.lattice),
        }
    }

    /// Which points the request leaves out. Scenes and copies have neither classes nor flags.
    pub fn ignored(&self, request: &Request) -> Result<Option<Vec<bool>>, Failure> {
        let (classes, withheld) = request.ignored();
        match self {
            Self::File(file) => Ok(file.ignored(classes, withheld)),
            _ if classes.is_empty() && !withheld => Ok(None),
            _ => {
                let text = "--ignore-classes and --skip-withheld need a file (--input) without --copies";
                Err(Failure::Usage(text.to_owned()))
            }
        }
    }

    pub fn name(&self, args: &Args) -> String {
        let one = match &args.input {
            Some(path) => path.display().to_string(),
            None => args.scene.clone().unwrap_or_else(|| "als".to_owned()),
        };
        match self {
            Self::Copies(copies) => format!("{} × {one}", copies.lattice.len() / copies.single.max(1)),
            _ => one,
        }
    }
}

impl Copies {
    /// A gap as wide as the cloud lies between two copies, so that neighbours in another copy are the rare exception.
    fn new(lattice: &[[i32; 3]], frame: Frame, copies: u32) -> Result<Self, Failure> {
        let (low, high) = lattice.iter().fold((i64::MAX, i64::MIN), |(low, high), p| {
            (low.min(i64::from(p[0])), high.max(i64::from(p[0])))
        });
        let pitch = 2 * (high - low + 1).max(1);
        let total = lattice.len() * copies as usize;
        let too_many = || Failure::Usage(format!("--copies {copies} make more than one cloud may have"));
        if total > lidar_features::MAX_POINTS {
            return Err(too_many());
        }
        let mut out = Vec::with_capacity(total);
        for copy in 0..i64::from(copies) {
            for p in lattice {
                let x = i32::try_from(i64::from(p[0]) - low + copy * pitch).map_err(|_| too_many())?;
                out.push([x, p[1], p[2]]);
            }
        }
        Ok(Self { lattice: out, frame, single: lattice.len() })
    }
}
