//! A scene as a plain LAS file, for the LAS module to add columns to.

use std::path::{Path, PathBuf};

use las::point::{Classification, Format};
use las::{Builder, Color, Point, Transform, Vector, Writer};
use lidar_features::synthetic::Scene;

/// A file that is gone when this is.
pub struct Temporary(pub PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // It may not have been made yet; a leftover is hidden and harmless.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Writes LAS 1.4 with the scene's own lattice, its colours, near-infrared and true classes.
pub fn write(scene: &Scene, path: &Path) -> las::Result<()> {
    let mut builder = Builder::from((1, 4));
    let mut format = Format::new(if scene.nir.is_some() { 8 } else { 6 })?;
    format.has_color = scene.rgb.is_some();
    builder.point_format = format;
    builder.has_wkt_crs = true;
    builder.generating_software = concat!("lidar-features ", env!("CARGO_PKG_VERSION")).to_owned();
    let [x, y, z] = scene.frame.origin().map(|offset| Transform { scale: scene.frame.quantum(), offset });
    builder.transforms = Vector { x, y, z };
    let mut writer = Writer::from_path(path, builder.into_header()?)?;
    for (i, lattice) in scene.lattice.iter().enumerate() {
        let [x, y, z] = scene.frame.to_world(*lattice);
        let point = Point {
            x,
            y,
            z,
            return_number: 1,
            number_of_returns: 1,
            classification: Classification::new(scene.truth[i].class.las_code())?,
            gps_time: Some(i as f64 * 1e-5),
            color: scene.rgb.as_ref().map(|[r, g, b]| Color::new(r[i], g[i], b[i])),
            nir: scene.nir.as_ref().map(|nir| nir[i]),
            ..Point::default()
        };
        writer.write_point(point)?;
    }
    writer.close()?;
    Ok(())
}
