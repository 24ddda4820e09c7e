//! Choices of a request: points left out, colour depths, units, values of the undefined, normals to a viewpoint,
//! presets and what of them a cloud allows.

mod common;

use common::clouds::{self, Cloud, Color};
use common::gpu::gpu_engine;
use common::{cpu_engine, engines, features, knn};
use lidar_features::{
    ColorDepth, Columns, Engine, Error, Feature, FeatureSet, Fill, Flags, Input, Options, Orientation,
    PointCloud, Report, Unit, UnitSource,
};

/// Every seventh point, and a corner of the cloud.
fn mask(cloud: &Cloud) -> Vec<bool> {
    let x = || cloud.points.iter().map(|p| p[0]);
    let (low, high) = (x().min().unwrap(), x().max().unwrap());
    let cut = low + (high - low) / 5;
    cloud.points.iter().enumerate().map(|(i, p)| i % 7 == 3 || p[0] < cut).collect()
}

/// The points that a mask keeps, as a cloud of their own.
fn kept(cloud: &Cloud, mask: &[bool]) -> (Cloud, Vec<usize>) {
    let indices: Vec<usize> = (0..cloud.len()).filter(|&i| !mask[i]).collect();
    let pick = |channel: &[u16]| indices.iter().map(|&i| channel[i]).collect::<Vec<_>>();
    let mut out = Cloud::new("kept", indices.iter().map(|&i| cloud.points[i]).collect());
    out.color = cloud.color.as_ref().map(|c| Color {
        rgb: c.rgb.each_ref().map(|channel| pick(channel)),
        nir: pick(&c.nir),
        intensity: pick(&c.intensity),
    });
    (out, indices)
}

fn bits(columns: &Columns, feature: Feature) -> Vec<u32> {
    columns.get(feature).unwrap().iter().map(|v| v.to_bits()).collect()
}

#[test]
fn points_left_out_are_nobodys_neighbours() {
    for cloud in [clouds::terrain(1000).colored(u16::MAX), clouds::grid(9), clouds::uniform(800, 20)] {
        let mask = mask(&cloud);
        let (rest, indices) = kept(&cloud, &mask);
        assert!(rest.len() > 100 && rest.len() < cloud.len());
        for (name, engine) in engines() {
            let with_mask = cloud.borrow().ignoring(&mask);
            let (all, report) = engine.neighbors(&with_mask, knn(9)).unwrap();
            assert_eq!((report.points, report.left_out), (cloud.len(), cloud.len() - rest.len()));
            let (own, _) = engine.neighbors(&rest.borrow(), knn(9)).unwrap();
            for (j, &i) in indices.iter().enumerate() {
                let renamed: Vec<u32> = own.row(j).0.iter().map(|&n| indices[n as usize] as u32).collect();
                assert_eq!((all.row(i).0, all.row(i).1), (&renamed[..], own.row(j).1), "{i} on the {name}");
            }
            assert_eq!(all.len(), cloud.len());
            assert!((0..cloud.len()).all(|i| !mask[i] || all.row(i).0.is_empty()));

            let set = features(&cloud);
            let (all, report) = engine.features(&with_mask, &set, knn(9)).unwrap();
            assert_eq!((report.points, report.left_out), (cloud.len(), cloud.len() - rest.len()));
            let (own, _) = engine.features(&rest.borrow(), &set, knn(9)).unwrap();
            for feature in set.iter() {
                let (all, own) = (bits(&all, feature), bits(&own, feature));
                assert!(indices.iter().zip(own).all(|(&i, own)| all[i] == own), "{feature} on the {name}");
                assert!((0..all.len()).all(|i| !mask[i] || f32::from_bits(all[i]).is_nan()), "{feature}");
            }
            assert!(indices.iter().zip(own.flags()).all(|(&i, own)| all.flags()[i] == *own));
            let left_out = |i: usize| all.flags()[i] == Flags::LEFT_OUT.0;
            assert!((0..cloud.len()).all(|i| mask[i] == left_out(i)));
        }
    }
}

#[test]
fn a_mask_may_keep_everything_or_nothing() {
    let cloud = clouds::terrain(300);
    let set = FeatureSet::geometric();
    let plain = cpu_engine().features(&cloud.borrow(), &set, knn(8)).unwrap().0;
    let none = vec![false; 300];
    let (columns, report) = cpu_engine().features(&cloud.borrow().ignoring(&none), &set, knn(8)).unwrap();
    assert_eq!(report.left_out, 0);
    assert!(set.iter().all(|f| bits(&columns, f) == bits(&plain, f)));

    let all = vec![true; 300];
    for (_, engine) in engines() {
        let (columns, report) = engine.features(&cloud.borrow().ignoring(&all), &set, knn(8)).unwrap();
        assert_eq!((report.backend, report.points, report.left_out), ("none", 300, 300));
        assert!(columns.iter().all(|c| c.values.len() == 300 && c.values.iter().all(|v| v.is_nan())));
        assert!(columns.flags().iter().all(|f| *f == Flags::LEFT_OUT.0));
        let (neighbors, _) = engine.neighbors(&cloud.borrow().ignoring(&all), knn(8)).unwrap();
        assert_eq!((neighbors.len(), neighbors.indices.len()), (300, 0));
    }
    let error = cpu_engine().features(&cloud.borrow().ignoring(&all[1..]), &set, knn(8)).unwrap_err();
    assert!(
        matches!(error, Error::LengthMismatch { column: "ignored", found: 299, expected: 300 }),
        "{error}"
    );
}

/// Computes the colours of three points that have these values in every channel.
fn colors(
    engine: &Engine,
    values: [u16; 3],
    choose: impl Fn(PointCloud<'_>) -> PointCloud<'_>,
) -> Result<(Vec<f32>, Report), Error> {
    let points = [[0.0; 3], [1.0; 3], [2.0; 3]];
    let cloud = PointCloud::from_f64(&points).with_rgb(&values, &values, &values).with_nir(&values);
    let set = FeatureSet::parse("green,nir").unwrap();
    let (columns, report) = engine.features(&choose(cloud), &set, knn(1))?;
    assert_eq!(columns.get(Feature::Green), columns.get(Feature::Nir));
    Ok((columns.get(Feature::Green).unwrap().to_vec(), report))
}

#[test]
fn colours_reach_one_at_every_depth() {
    let scaled = |v: u16, full: f32| f32::from(v) / full;
    for (name, engine) in engines() {
        for (values, depth) in [
            ([0, 100, 255], ColorDepth::Bits8),
            ([0, 25_600, 65_280], ColorDepth::Bits8Times256),
            ([0, 25_700, 65_535], ColorDepth::Bits8Times257),
            ([0, 25_601, 65_535], ColorDepth::Bits16),
        ] {
            let (green, report) = colors(&engine, values, |c| c).unwrap();
            assert_eq!(report.color, [Some(depth); 2]);
            let expected = values.map(|v| scaled(v, f32::from(depth.full_scale())));
            assert_eq!((green[0], expected[2]), (0.0, 1.0));
            let near = |(a, b): (&f32, f32)| (a - b).abs() <= 2e-7;
            assert!(green.iter().zip(expected).all(near), "{green:?} for {depth} on the {name}");
        }
        let (dark, report) =
            colors(&engine, [0, 100, 255], |c| c.with_color_depth(ColorDepth::Bits16)).unwrap();
        assert_eq!(report.color, [Some(ColorDepth::Bits16); 2]);
        assert!((dark[2] - 255.0 / 65_535.0).abs() < 1e-8);
    }
}

#[test]
fn depths_are_recognised_apart_and_refused_where_they_cannot_be() {
    let points = [[0.0; 3], [1.0; 3]];
    let (eight, shifted) = ([3, 9], [256, 512]);
    let cloud = PointCloud::from_f64(&points).with_rgb(&eight, &eight, &eight).with_nir(&shifted);
    let set = FeatureSet::parse("red,nir").unwrap();
    let color = |cloud: &PointCloud<'_>| cpu_engine().features(cloud, &set, knn(1)).unwrap().1.color;
    assert_eq!(color(&cloud), [Some(ColorDepth::Bits8), Some(ColorDepth::Bits8Times256)]);
    let nir = cloud.with_nir_depth(ColorDepth::Bits16);
    assert_eq!(color(&nir), [Some(ColorDepth::Bits8), Some(ColorDepth::Bits16)]);
    let only = FeatureSet::parse("nir").unwrap();
    let report = cpu_engine().features(&cloud, &only, knn(1)).unwrap().1;
    assert_eq!(report.color, [None, Some(ColorDepth::Bits8Times256)]);

    let error = colors(&cpu_engine(), [0, 100, 256], |c| c.with_color_depth(ColorDepth::Bits8)).unwrap_err();
    assert_eq!(error.to_string(), "rgb has values up to 256, 8-bit ends at 255");
    let error = colors(&cpu_engine(), [0; 3], |c| c.with_color_depth(ColorDepth::Bits8)).unwrap_err();
    assert!(error.to_string().contains("all values are zero"), "{error}");
}

#[test]
fn what_is_undefined_can_be_zero() {
    let mut cloud = clouds::collinear(40).colored(u16::MAX);
    let identical = clouds::identical(30).points;
    cloud.points.truncate(20);
    cloud.points.extend(identical.iter().take(20).map(|p| [p[0] + 1_000_000, p[1], p[2]]));
    let mask: Vec<bool> = (0..40).map(|i| i == 5).collect();
    let classes: Vec<u8> = (0..40).map(|i| 2 - i % 2).collect();
    let input = cloud.borrow().ignoring(&mask).with_classification(&classes);
    let set: FeatureSet = Feature::all().collect();
    for (name, engine) in engines() {
        let (nan, _) = engine.features(&input, &set, knn(6)).unwrap();
        let zero = Options::default().fill(Fill::Zero);
        let (filled, _) = engine.features_with(&input, &set, knn(6), &zero).unwrap();
        assert_eq!(nan.flags(), filled.flags());
        let mut replaced = 0;
        for (nan, filled) in nan.iter().zip(&filled) {
            let up = matches!(nan.feature, Feature::NormalZ | Feature::Eigenvector3Z);
            for (nan, filled) in nan.values.iter().zip(&filled.values) {
                let expected = if nan.is_nan() { f32::from(u8::from(up)) } else { *nan };
                assert_eq!(filled.to_bits(), expected.to_bits(), "on the {name}");
                replaced += usize::from(nan.is_nan());
            }
        }
        assert!(replaced > 200, "{replaced}");
        assert_eq!(filled.get(Feature::NormalZ).unwrap()[5], 1.0);
    }
}

/// A sphere around the origin of this frame, and its points in the world.
fn sphere() -> (Cloud, Vec<[f64; 3]>) {
    let golden = std::f64::consts::PI * (3.0 - 5.0f64.sqrt());
    let n = 1500;
    let place = |i: i32| {
        let z = 1.0 - 2.0 * (f64::from(i) + 0.5) / f64::from(n);
        let (r, angle) = ((1.0 - z * z).sqrt(), golden * f64::from(i));
        [r * angle.cos(), r * angle.sin(), z].map(|v| (v * 1000.0).round() as i32)
    };
    let cloud = Cloud::new("sphere", (0..n).map(place).collect());
    let frame = cloud.frame();
    let world = cloud.points.iter().map(|p| frame.to_world(*p)).collect();
    (cloud, world)
}

#[test]
fn normals_face_the_viewpoint() {
    let (cloud, world) = sphere();
    let center = cloud.frame().origin();
    let outside = [center[0] + 3.0, center[1] - 400.0, center[2] - 20.0];
    let set = FeatureSet::parse("normals,eigenvectors,verticality,slope,planarity").unwrap();
    let n = [Feature::NormalX, Feature::NormalY, Feature::NormalZ];
    let v3 = [Feature::Eigenvector3X, Feature::Eigenvector3Y, Feature::Eigenvector3Z];
    for (name, engine) in engines() {
        let (up, _) = engine.features(&cloud.borrow(), &set, knn(12)).unwrap();
        for viewpoint in [center, outside] {
            let options = Options::default().orientation(Orientation::Viewpoint(viewpoint));
            let (turned, _) = engine.features_with(&cloud.borrow(), &set, knn(12), &options).unwrap();
            let [normal, vector, old] = [(&turned, n), (&turned, v3), (&up, n)]
                .map(|(columns, axes)| axes.map(|axis| columns.get(axis).unwrap()));
            let mut flipped = 0;
            for i in 0..cloud.len() {
                let to: f64 = (0..3).map(|a| f64::from(normal[a][i]) * (viewpoint[a] - world[i][a])).sum();
                assert!(to >= 0.0, "{i} on the {name}");
                let signs: Vec<f32> = (0..3).map(|a| normal[a][i] - old[a][i]).collect();
                let same = signs.iter().all(|d| *d == 0.0);
                assert!(same || (0..3).all(|a| normal[a][i] == -old[a][i]), "{i} on the {name}");
                flipped += usize::from(!same);
                assert!((0..3).all(|a| (vector[a][i] - normal[a][i]).abs() < 1e-6), "{i} on the {name}");
            }
            assert!(flipped > 300 && flipped < 1200, "{flipped} of 1500 on the {name}");
            let unsigned = set.iter().filter(|f| !n.contains(f) && !v3.contains(f));
            for feature in unsigned {
                assert_eq!(bits(&turned, feature), bits(&up, feature), "{feature} on the {name}");
            }
        }
    }
}

#[test]
fn one_component_is_turned_as_all_three_are() {
    let (cloud, _) = sphere();
    let options = Options::default().orientation(Orientation::Viewpoint(cloud.frame().origin()));
    let of = |engine: &Engine, names: &str| {
        let set = FeatureSet::parse(names).unwrap();
        let (columns, report) = engine.features_with(&cloud.borrow(), &set, knn(12), &options).unwrap();
        assert_eq!(columns.iter().len(), set.len());
        assert_eq!(report.features, set.iter().collect::<Vec<_>>());
        columns
    };
    let engine = cpu_engine();
    let all = of(&engine, "normals");
    let alone = of(&engine, "planarity,normal_z");
    assert_eq!(bits(&all, Feature::NormalZ), bits(&alone, Feature::NormalZ));
    let vector = of(&engine, "eigenvector_3_z");
    assert_eq!(bits(&all, Feature::NormalZ), bits(&vector, Feature::Eigenvector3Z));
    // Left-out points stand in the way of no index.
    let mask = mask(&cloud);
    let (rest, indices) = kept(&cloud, &mask);
    let set = FeatureSet::parse("normal_z").unwrap();
    let z = |cloud: &PointCloud<'_>| {
        bits(&engine.features_with(cloud, &set, knn(12), &options).unwrap().0, Feature::NormalZ)
    };
    let (all, own) = (z(&cloud.borrow().ignoring(&mask)), z(&rest.borrow()));
    assert!(indices.iter().zip(own).all(|(&i, own)| all[i] == own));
    if let Some(gpu) = gpu_engine() {
        assert_eq!(of(&gpu, "normal_z").iter().len(), 1);
    }

    let bad = Options::default().orientation(Orientation::Viewpoint([0.0, f64::NAN, 0.0]));
    let error = engine.features_with(&cloud.borrow(), &FeatureSet::geometric(), knn(3), &bad).unwrap_err();
    assert!(matches!(error, Error::InvalidViewpoint(_)), "{error}");
}

#[test]
fn the_report_states_the_unit_and_nothing_is_converted() {
    let cloud = clouds::terrain(200);
    let set = FeatureSet::parse("knn_distance").unwrap();
    let (metres, report) = cpu_engine().features(&cloud.borrow(), &set, knn(5)).unwrap();
    assert_eq!((report.unit, report.vertical_unit), (Unit::Metre, Unit::Metre));
    assert_eq!(report.unit_source, UnitSource::Assumed);
    let input = cloud.borrow().with_unit(Unit::Foot);
    assert_eq!(input.unit(), Unit::Foot);
    let (feet, report) = cpu_engine().features(&input, &set, knn(5)).unwrap();
    assert_eq!((report.unit, report.vertical_unit), (Unit::Foot, Unit::Foot));
    assert_eq!(report.unit_source, UnitSource::Caller);
    assert_eq!(metres, feet);
}

#[test]
fn presets_compute_what_the_cloud_allows() {
    let cloud = clouds::terrain(300).colored(u16::MAX);
    let classes: Vec<u8> = (0..300).map(|i| 1 + u8::from(i % 3 == 0)).collect();
    let full = cloud.borrow().with_classification(&classes);
    let plain = clouds::terrain(300);
    let zeros = vec![0; 300];
    for (_, engine) in engines() {
        for name in FeatureSet::PRESETS {
            let set = FeatureSet::preset(name).unwrap();
            assert_eq!(set.available(&full), (set.clone(), Vec::new()));
            let (columns, _) = engine.features(&full, &set, knn(10)).unwrap();
            assert_eq!(columns.iter().len(), set.len());

            let dark = plain.borrow().with_rgb(&zeros, &zeros, &zeros);
            let (kept, left_out) = set.available(&dark);
            assert_eq!(kept.len() + left_out.len(), set.len());
            for (feature, input) in &left_out {
                let inputs = feature.row().inputs;
                match (inputs.contains(&Input::Rgb), inputs.contains(&Input::Ground)) {
                    (true, _) => assert_eq!(*input, "rgb (all values are zero)"),
                    (_, true) => assert_eq!(*input, "ground (a classification or a mask)"),
                    _ if inputs.contains(&Input::Intensity) => assert_eq!(*input, "intensity"),
                    _ => assert!(inputs.contains(&Input::Nir) && *input == "nir", "{feature}: {input}"),
                }
            }
            if left_out.is_empty() {
                assert!(name.ends_with("2015") || name.ends_with("2016"), "{name} has heights");
                continue;
            }
            let error = engine.features(&dark, &set, knn(10)).unwrap_err().to_string();
            assert!(left_out.iter().all(|(f, _)| error.contains(f.name())), "{error}");
            engine.features(&dark, &kept, knn(10)).unwrap();
        }
    }
}
