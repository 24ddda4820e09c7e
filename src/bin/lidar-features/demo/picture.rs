//! A picture of a point cloud: perspective, discs in a depth buffer, dark outlines where depth jumps.

use glam::{DVec2, DVec3};

use super::{font, palette};

pub type Rgb = [f32; 3];

const BACKGROUND: Rgb = [0.055, 0.063, 0.082];
const INK: Rgb = [0.87, 0.89, 0.92];
/// Samples along each side of a pixel.
const SAMPLES: usize = 3;

/// Pixels in rows, colours 0..1.
pub struct Image {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<Rgb>,
}

/// Where from, and how wide.
pub struct Camera {
    pub eye: DVec3,
    pub target: DVec3,
    /// Horizontal field of view, in degrees.
    pub field: f64,
}

impl Image {
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![BACKGROUND; width * height] }
    }

    /// Draws points as discs of a world radius, nearest in front.
    pub fn points(
        width: usize,
        height: usize,
        camera: &Camera,
        points: impl Iterator<Item = (DVec3, f64, Rgb)>,
    ) -> Self {
        let (wide, high) = (width * SAMPLES, height * SAMPLES);
        let mut canvas = Self::new(wide, high);
        let mut depths = vec![f32::INFINITY; wide * high];
        let forward = (camera.target - camera.eye).normalize();
        let right = forward.cross(DVec3::Z).normalize();
        let up = right.cross(forward);
        let focal = wide as f64 / 2.0 / (camera.field.to_radians() / 2.0).tan();
        let middle = DVec2::new(wide as f64, high as f64) / 2.0;
        for (point, radius, color) in points {
            let d = point - camera.eye;
            let depth = d.dot(forward);
            if depth < 1.0 {
                continue;
            }
            let at = middle + DVec2::new(d.dot(right), -d.dot(up)) * (focal / depth);
            let r = (radius * focal / depth).max(0.7);
            let (low, high_corner) = ((at - r).max(DVec2::ZERO), at + r);
            for y in low.y.ceil() as usize..(high_corner.y.floor() + 1.0).clamp(0.0, high as f64) as usize {
                for x in low.x.ceil() as usize..(high_corner.x.floor() + 1.0).clamp(0.0, wide as f64) as usize
                {
                    let off = DVec2::new(x as f64, y as f64) - at;
                    let i = y * wide + x;
                    if off.length_squared() <= r * r && (depth as f32) < depths[i] {
                        depths[i] = depth as f32;
                        canvas.pixels[i] = color;
                    }
                }
            }
        }
        canvas.outline(&depths);
        canvas.shrink()
    }

    /// Darkens pixels that lie behind their surroundings (eye-dome lighting, Boucheny 2009).
    fn outline(&mut self, depths: &[f32]) {
        const REACH: isize = 2 * SAMPLES as isize;
        const AROUND: [(isize, isize); 8] =
            [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let (wide, high) = (self.width as isize, self.height as isize);
        for y in 0..high {
            for x in 0..wide {
                let i = (y * wide + x) as usize;
                if depths[i].is_infinite() {
                    continue;
                }
                let mut behind = 0.0;
                for (dx, dy) in AROUND {
                    let (nx, ny) = (x + dx * REACH, y + dy * REACH);
                    if (0..wide).contains(&nx) && (0..high).contains(&ny) {
                        behind += (depths[i] / depths[(ny * wide + nx) as usize]).log2().max(0.002) - 0.002;
                    }
                }
                let light = (-behind * 9.0).exp().max(0.25);
                self.pixels[i] = self.pixels[i].map(|c| c * light);
            }
        }
    }

    /// Means of SAMPLES × SAMPLES blocks.
    fn shrink(&self) -> Self {
        let mut out = Self::new(self.width / SAMPLES, self.height / SAMPLES);
        for y in 0..out.height {
            for x in 0..out.width {
                let mut sum = [0.0; 3];
                for row in 0..SAMPLES {
                    let first = (y * SAMPLES + row) * self.width + x * SAMPLES;
                    for pixel in &self.pixels[first..first + SAMPLES] {
                        sum = std::array::from_fn(|c| sum[c] + pixel[c]);
                    }
                }
                out.pixels[y * out.width + x] = sum.map(|c| c / (SAMPLES * SAMPLES) as f32);
            }
        }
        out
    }

    /// Copies `other` with its upper left corner at (x, y).
    pub fn paste(&mut self, other: &Self, x: usize, y: usize) {
        for (row, line) in other.pixels.chunks(other.width).enumerate() {
            let first = (y + row) * self.width + x;
            self.pixels[first..first + other.width].copy_from_slice(line);
        }
    }

    /// A label, and a colour bar from 0 to `full` on its right.
    pub fn legend(&mut self, text: &str, full: &str, map: fn(f32) -> Rgb, x: usize, y: usize) {
        const BAR: usize = 120;
        let after = font::draw(self, text, x, y, 2, INK) + 18;
        let bar = font::draw(self, "0", after, y, 2, INK) + 6;
        for dx in 0..BAR {
            let color = map(dx as f32 / (BAR - 1) as f32);
            for dy in 0..14 {
                self.put(bar + dx, y + dy, color);
            }
        }
        font::draw(self, full, bar + BAR + 8, y, 2, INK);
    }

    pub fn put(&mut self, x: usize, y: usize, color: Rgb) {
        if x < self.width && y < self.height {
            self.pixels[y * self.width + x] = color;
        }
    }

    /// As a PNG with a palette, which the few colours of two maps and their shades fit well.
    pub fn to_png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let (colors, indices) = palette::reduce(&self.pixels, 256);
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_palette(colors.concat());
        encoder.set_compression(png::Compression::High);
        encoder.set_filter(png::Filter::NoFilter);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&indices)?;
        writer.finish()?;
        Ok(out)
    }
}

/// Piecewise linear through nine samples of matplotlib's viridis (CC0), as sRGB.
pub fn viridis(t: f32) -> Rgb {
    const STOPS: [u32; 9] =
        [0x440154, 0x472d7b, 0x3b528b, 0x2c728e, 0x21918c, 0x28ae80, 0x5ec962, 0xaddc30, 0xfde725];
    ramp(&STOPS, t)
}

/// Piecewise linear through nine samples of matplotlib's magma (CC0), without its black end.
pub fn magma(t: f32) -> Rgb {
    const STOPS: [u32; 9] =
        [0x1c1044, 0x3b0f70, 0x641a80, 0x8c2981, 0xb73779, 0xde4968, 0xf7705c, 0xfe9f6d, 0xfde2a3];
    ramp(&STOPS, t)
}

fn ramp(stops: &[u32], t: f32) -> Rgb {
    let at = t.clamp(0.0, 1.0) * (stops.len() - 1) as f32;
    let low = (at as usize).min(stops.len() - 2);
    let channel = |stop: u32, shift: u32| (stop >> shift & 0xff) as f32 / 255.0;
    [16, 8, 0].map(|s| {
        let (a, b) = (channel(stops[low], s), channel(stops[low + 1], s));
        a + (b - a) * (at - low as f32)
    })
}
