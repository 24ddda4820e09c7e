//! Points in, normals and planarity out.

use lidar_features::{Engine, Error, Feature, FeatureSet, Neighborhood, PointCloud};

fn main() -> Result<(), Error> {
    // Your points go here. These are 90 000 on a hilly surface, every half metre.
    let height = |x: f64, y: f64| 5.0 * (x / 40.0).sin() * (y / 40.0).cos();
    let points: Vec<[f64; 3]> = (0..90_000)
        .map(|i| (f64::from(i % 300) * 0.5, f64::from(i / 300) * 0.5))
        .map(|(x, y)| [x, y, height(x, y)])
        .collect();

    let engine = Engine::new()?; // a GPU where there is one, else the CPU
    let set = FeatureSet::parse("normals,planarity")?;
    let (columns, report) = engine.features(&PointCloud::from_f64(&points), &set, Neighborhood::knn(20)?)?;

    for column in &columns {
        println!("{:10} of the first points: {:.3?}", column.feature.name(), &column.values[..4]);
    }
    assert!(columns.get(Feature::NormalZ).is_some_and(|z| z.iter().all(|z| *z > 0.9)));
    println!("{} points on the {} in {:.3} s", report.points, report.backend, report.seconds);
    Ok(())
}
