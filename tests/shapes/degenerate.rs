//! Too few points, one place, one line, one plane: the catalogue's values, written out.

use lidar_features::{Column, Columns, Engine, Feature, FeatureSet, Flags, Neighbors, PointCloud};

use crate::common::clouds::{self, Cloud};
use crate::common::{compare, engines, expected, features, knn, oracle, tolerance};

const FEW: u32 = Flags::FEW.0;
const IDENTICAL: u32 = Flags::IDENTICAL.0;
const COLLINEAR: u32 = Flags::COLLINEAR.0;
const NO_PLANE: u32 = Flags::NO_PLANE.0;
const NO_RADIUS: u32 = Flags::NO_RADIUS.0;

/// Zero where no member is away from the query.
const NO_LENGTH: &str = "nearest_distance,std_distance,extent_x,extent_y,extent_z,neighborhood_extent,\
    height_extent_ratio,z_below,z_above,eigenvalue_sum_2d,outlier_score,barycenter_offset";
/// Undefined without a plane.
const NO_DIRECTION: &str = "eigenentropy_raw,barycentric_alpha,barycentric_beta,degree_of_linearity,verticality_unary,\
    aspect,moment_order_1,plane_distance,eigenvalue_ratio_2d,wall_score,roof_score,wall_likelihood,roof_likelihood";

/// Computes everything, holds it against the oracle, and gives the columns.
fn compute(name: &str, engine: &Engine, cloud: &Cloud, k: usize) -> Columns {
    let what = format!("{} on the {name}, k = {k}", cloud.name);
    let truth = oracle::neighbors(&cloud.points, k);
    let (found, _) = engine.neighbors(&cloud.borrow(), knn(k)).unwrap();
    compare::assert_neighbors(&found, &truth, k, &what);
    let (columns, _) = engine.features(&cloud.borrow(), &features(cloud), knn(k)).unwrap();
    let locals = oracle::locals(cloud, &truth, k);
    let allowed = |f| if name == "cpu" { tolerance::between_f64(f) } else { tolerance::of_catalogue(f) };
    let table = compare::table(&columns);
    compare::columns(&table, expected(cloud, &locals), &locals, allowed).assert_clean(&what);
    columns
}

/// Whether each named feature has this value at every point.
fn assert_values(columns: &Columns, names: &str, value: f32) {
    for feature in FeatureSet::parse(names).unwrap().iter() {
        for (i, v) in columns.get(feature).unwrap().iter().enumerate() {
            let same = v.is_nan() && value.is_nan() || *v == value;
            assert!(same, "{feature} of point {i} is {v}, not {value}");
        }
    }
}

#[test]
fn an_empty_cloud_gives_empty_columns() {
    for (name, engine) in engines() {
        let clouds = [
            PointCloud::from_f64(&[]),
            PointCloud::from_f32(&[]),
            PointCloud::from_columns(&[], &[], &[]),
            PointCloud::from_columns_f32(&[], &[], &[]),
        ];
        let inputs = |c: PointCloud<'static>| {
            c.with_rgb(&[], &[], &[]).with_nir(&[]).with_intensity(&[]).with_classification(&[])
        };
        for cloud in clouds.map(inputs) {
            let set: FeatureSet = Feature::all().collect();
            let (columns, report) = engine.features(&cloud, &set, knn(20)).unwrap();
            assert!(columns.is_empty() && columns.flags().is_empty(), "{name}");
            let order: Vec<Feature> = columns.iter().map(|c: &Column| c.feature).collect();
            assert_eq!(order, set.iter().collect::<Vec<_>>());
            assert!(columns.iter().all(|c| c.values.is_empty()));
            assert_eq!((report.backend, report.points, report.adapter), ("none", 0, None), "{name}");
            let (found, _) = engine.neighbors(&cloud, knn(20)).unwrap();
            assert_eq!(found, Neighbors { offsets: vec![0], ..Neighbors::default() });
            assert!(found.is_empty());
        }
    }
}

#[test]
fn one_point_has_itself() {
    for (name, engine) in engines() {
        for k in [1, 2, 20] {
            let columns = compute(name, &engine, &clouds::identical(1), k);
            assert_eq!(columns.flags(), [FEW | IDENTICAL | NO_PLANE | NO_RADIUS]);
            assert_values(&columns, "neighbor_count", 1.0);
            assert_values(&columns, "knn_distance,mean_distance,vertical_std,vertical_range", 0.0);
            assert_values(&columns, NO_LENGTH, 0.0);
            assert_values(&columns, "dimensionality,is_coplanar,rank", 0.0);
            assert_values(&columns, "length,surface,volume,moment_1_axis1,moment_2_axis2,pca1", f32::NAN);
            assert_values(&columns, NO_DIRECTION, f32::NAN);
            let undefined = "normals,eigenvalues,eigenvectors,eigenvalue_sum,linearity,planarity,sphericity,\
                anisotropy,surface_variation,omnivariance,eigenentropy,verticality,horizontality,slope,roughness,\
                density_3d,density_surface";
            assert_values(&columns, undefined, f32::NAN);
        }
    }
}

#[test]
fn two_points_span_no_shape_but_a_distance() {
    for (name, engine) in engines() {
        let columns = compute(name, &engine, &Cloud::new("two", vec![[0; 3], [300, 400, 0]]), 5);
        assert_eq!(columns.flags(), [FEW | COLLINEAR | NO_PLANE; 2]);
        assert_values(&columns, "neighbor_count", 2.0);
        assert_values(&columns, "knn_distance,mean_distance", 5.0);
        assert_values(&columns, "normals,eigenvalues,linearity,roughness", f32::NAN);
    }
}

#[test]
fn every_point_is_a_neighbour_when_k_exceeds_the_cloud() {
    for (name, engine) in engines() {
        for n in [3, 20, 65] {
            for k in [n + 1, 128] {
                let columns = compute(name, &engine, &clouds::uniform(n, 50), k);
                assert_values(&columns, "neighbor_count", n as f32);
            }
        }
        // k may be anything: no memory is set aside for neighbours that cannot be.
        let cloud = clouds::uniform(30, 50);
        let (found, _) = engine.neighbors(&cloud.borrow(), knn(u32::MAX as usize)).unwrap();
        compare::assert_neighbors(&found, &oracle::neighbors(&cloud.points, 30), 30, name);
    }
}

#[test]
fn one_place_has_no_extent_and_no_direction() {
    for (name, engine) in engines() {
        for (n, k) in [(3, 3), (130, 20), (130, 130), (70, 1)] {
            let columns = compute(name, &engine, &clouds::identical(n), k);
            let few = if k < 3 { FEW } else { 0 };
            assert_eq!(columns.flags(), vec![few | IDENTICAL | NO_PLANE | NO_RADIUS; n]);
            if k >= 3 {
                assert_values(&columns, "eigenvalues,eigenvalue_sum,omnivariance", 0.0);
            }
            if k >= 3 {
                let zero =
                    "length,surface,volume,moment_1_axis1,moment_1_axis2,moment_2_axis1,moment_2_axis2";
                assert_values(&columns, zero, 0.0);
            }
            assert_values(&columns, NO_LENGTH, 0.0);
            assert_values(&columns, "dimensionality,is_coplanar,rank", 0.0);
            let ratios = "pca1,pca2,degree_of_planarity,edge_strength,corner_likelihood";
            assert_values(&columns, ratios, f32::NAN);
            assert_values(&columns, NO_DIRECTION, f32::NAN);
            assert_values(&columns, "knn_distance,mean_distance,vertical_std,vertical_range", 0.0);
            assert_values(&columns, "normals,eigenvectors,linearity,planarity,sphericity", f32::NAN);
            assert_values(&columns, "eigenentropy,density_3d,density_surface,roughness", f32::NAN);
        }
    }
}

#[test]
fn a_line_has_one_direction() {
    for (name, engine) in engines() {
        let line = (0..40).map(|i| [i * 3, i * 4, 0]).collect();
        for cloud in [clouds::collinear(200), Cloud::new("a level line", line)] {
            let columns = compute(name, &engine, &cloud, 8);
            assert_eq!(columns.flags(), vec![COLLINEAR | NO_PLANE; cloud.len()]);
            assert_values(&columns, "linearity,anisotropy", 1.0);
            let zero =
                "eigenvalue_2,eigenvalue_3,planarity,sphericity,surface_variation,omnivariance,eigenentropy";
            assert_values(&columns, zero, 0.0);
            assert_values(&columns, "normals,verticality,horizontality,slope,roughness", f32::NAN);
            assert_values(&columns, "eigenvector_2_x,eigenvector_3_z", f32::NAN);
            assert_values(&columns, "pca1,rank", 1.0);
            let zero = "pca2,surface,volume,moment_1_axis2,moment_2_axis2,dimensionality,is_coplanar,\
                edge_strength,corner_likelihood";
            assert_values(&columns, zero, 0.0);
            assert_values(&columns, "degree_of_planarity", 20.0 * std::f32::consts::LN_2);
            assert_values(&columns, NO_DIRECTION, f32::NAN);
            let length = columns.get(Feature::Length).unwrap();
            assert!(length.iter().all(|v| *v > 0.0));
            let direction = columns.get(Feature::Eigenvector1X).unwrap();
            assert!(direction.iter().all(|v| v.is_finite()));
        }
    }
}

#[test]
fn a_plane_has_a_normal_and_no_thickness() {
    for (name, engine) in engines() {
        let level = compute(name, &engine, &clouds::plane_grid(24), 9);
        let flat: Vec<usize> = (0..level.len()).filter(|&i| level.flags()[i] == 0).collect();
        assert!(flat.len() > 400);
        let at = |f: Feature| -> Vec<f32> {
            let values = level.get(f).unwrap();
            flat.iter().map(|&i| values[i]).collect()
        };
        assert!(at(Feature::NormalZ).iter().all(|v| (v - 1.0).abs() < 1e-6), "{name}");
        assert!(at(Feature::Verticality).iter().all(|v| v.abs() < 1e-6), "{name}");
        assert!(at(Feature::Eigenvalue3).iter().all(|v| v.abs() < 1e-7), "{name}");
        assert!(at(Feature::VerticalRange).iter().all(|v| *v == 0.0), "{name}");

        // x = 2a + b, y = a − 3b, z = a + b: the normal is (4, −1, −7), turned up.
        let tilted = compute(name, &engine, &clouds::coplanar(400), 12);
        let z = tilted.get(Feature::NormalZ).unwrap();
        let upright = 7.0 / 66f32.sqrt();
        assert!(z.iter().all(|v| v.is_nan() || (v - upright).abs() < 2e-3), "{name}");
    }
}

/// A tree that splits the axes in turn, or a grid with cells of equal edges, may take minutes.
#[test]
fn a_long_line_along_an_axis_is_searched_as_fast_as_a_volume() {
    for (name, engine) in engines() {
        for axis in 0..3 {
            let mut points = vec![[3, -4, 5]; 60_000];
            (0..).zip(&mut points).for_each(|(i, p)| p[axis] = i * 7);
            let cloud = Cloud::new("a long line", points);
            let (found, report) = engine.neighbors(&cloud.borrow(), knn(5)).unwrap();
            println!("line along axis {axis} on the {name}: {:.2} s", report.seconds);
            for i in 2..cloud.len() as u32 - 2 {
                let (indices, dist_sq) = found.row(i as usize);
                assert_eq!(indices, [i, i - 1, i + 1, i - 2, i + 2], "{name}");
                assert_eq!(dist_sq, [0, 49, 49, 196, 196], "{name}");
            }
        }
    }
}
