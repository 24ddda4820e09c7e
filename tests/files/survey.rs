//! Surveys of known points, cut into files.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use las::point::Format;
use las::{Builder, PointDataBuilder, Transform, Vector, Writer};
use lidar_features::{Frame, PointCloud, synthetic};

use super::Random;

/// Points as files of format 8 hold them.
#[derive(Clone, Default)]
pub struct Survey {
    pub points: Vec<[i32; 3]>,
    pub rgb: [Vec<u16>; 3],
    pub nir: Vec<u16>,
    pub intensity: Vec<u16>,
    pub classes: Vec<u8>,
    pub withheld: Vec<bool>,
    pub ignored: Vec<bool>,
}

pub const SCALE: f64 = 0.01;
pub const OFFSET: [f64; 3] = [651_000.0, 6_862_000.0, 0.0];

impl Survey {
    /// A village with noise (class 18), points that are deleted, and channels.
    pub fn village(points: usize, seed: u64) -> Self {
        let scene = synthetic::scene("als", points, seed).unwrap();
        let mut random = Random(seed);
        let n = scene.len();
        let mut survey = Self {
            points: scene.lattice.clone(),
            rgb: scene.rgb.clone().unwrap_or_else(|| [(); 3].map(|()| channel(&mut random, n))),
            nir: scene.nir.clone().unwrap_or_else(|| channel(&mut random, n)),
            intensity: channel(&mut random, n),
            classes: scene.truth.iter().map(|t| t.class.las_code()).collect(),
            withheld: (0..n).map(|_| random.below(50) == 0).collect(),
            ignored: vec![false; n],
        };
        // The order of flight lines: here one, there the other half of the points.
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by_key(|i| (i % 3, *i));
        survey = survey.pick(&order);
        for i in (0..n).step_by(97) {
            survey.classes[i] = 18;
            survey.points[i][2] += 3000;
        }
        survey
    }

    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Leaves out points of class 18 and deleted ones.
    pub fn ignoring(mut self) -> Self {
        self.ignored = self.classes.iter().zip(&self.withheld).map(|(c, w)| *c == 18 || *w).collect();
        self
    }

    pub fn pick(&self, at: &[usize]) -> Self {
        fn of<T: Copy>(values: &[T], at: &[usize]) -> Vec<T> {
            at.iter().map(|&i| values[i]).collect()
        }
        Self {
            points: of(&self.points, at),
            rgb: self.rgb.each_ref().map(|c| of(c, at)),
            nir: of(&self.nir, at),
            intensity: of(&self.intensity, at),
            classes: of(&self.classes, at),
            withheld: of(&self.withheld, at),
            ignored: of(&self.ignored, at),
        }
    }

    pub fn push(&mut self, point: [i32; 3], class: u8) {
        self.points.push(point);
        self.rgb.iter_mut().for_each(|c| c.push(900));
        self.nir.push(700);
        self.intensity.push(5);
        self.classes.push(class);
        self.withheld.push(false);
        self.ignored.push(false);
    }

    pub fn frame(&self) -> Frame {
        Frame::new(OFFSET, SCALE).unwrap()
    }

    pub fn cloud(&self) -> PointCloud<'_> {
        let [r, g, b] = &self.rgb;
        PointCloud::from_lattice(&self.points, self.frame())
            .with_rgb(r, g, b)
            .with_nir(&self.nir)
            .with_intensity(&self.intensity)
            .with_classification(&self.classes)
            .ignoring(&self.ignored)
    }

    /// Which of `side` times `side` tiles each point is in, row by row.
    pub fn tiles(&self, side: i32) -> Vec<Vec<usize>> {
        let range = |a: usize| {
            let values = || self.points.iter().map(|p| p[a]);
            (values().min().unwrap(), values().max().unwrap())
        };
        let [x, y] = [range(0), range(1)];
        let at = |v: i32, (low, high): (i32, i32)| (v - low) * side / (high - low + 1);
        let mut tiles = vec![Vec::new(); (side * side) as usize];
        for (i, p) in self.points.iter().enumerate() {
            tiles[(at(p[1], y) * side + at(p[0], x)) as usize].push(i);
        }
        tiles
    }

    /// Writes all points; each is `(place - offset)/scale` as a record, which must be whole.
    pub fn write(&self, path: &Path) -> PathBuf {
        self.write_as(path, [SCALE; 3], OFFSET)
    }

    pub fn write_as(&self, path: &Path, scale: [f64; 3], offset: [f64; 3]) -> PathBuf {
        let mut builder = Builder::from((1, 4));
        builder.point_format = Format::new(8).unwrap();
        builder.point_format.is_compressed = path.extension().is_some_and(|e| e == "laz");
        let transform = |a: usize| Transform { scale: scale[a], offset: offset[a] };
        builder.transforms = Vector { x: transform(0), y: transform(1), z: transform(2) };
        let header = builder.into_header().unwrap();
        let mut bytes = Vec::with_capacity(38 * self.len());
        for (i, p) in self.points.iter().enumerate() {
            let mut record = [0u8; 38];
            for a in 0..3 {
                let v = (OFFSET[a] - offset[a] + f64::from(p[a]) * SCALE) / scale[a];
                assert!((v - v.round()).abs() < 1e-3);
                record[4 * a..][..4].copy_from_slice(&(v.round() as i32).to_le_bytes());
            }
            record[12..14].copy_from_slice(&self.intensity[i].to_le_bytes());
            record[14] = 0x11;
            record[15] = u8::from(self.withheld[i]) << 2;
            record[16] = self.classes[i];
            for (c, channel) in self.rgb.iter().chain([&self.nir]).enumerate() {
                record[30 + 2 * c..][..2].copy_from_slice(&channel[i].to_le_bytes());
            }
            bytes.extend(record);
        }
        let points = PointDataBuilder::new().for_header(&header).build_from_bytes(bytes);
        let mut writer = Writer::new(BufWriter::new(File::create(path).unwrap()), header).unwrap();
        writer.write_points(&points.unwrap()).unwrap();
        writer.close().unwrap();
        path.to_owned()
    }
}

fn channel(random: &mut Random, n: usize) -> Vec<u16> {
    (0..n).map(|i| if i % 13 == 0 { 0 } else { random.below(40_000) as u16 }).collect()
}
