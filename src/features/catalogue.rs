//! The one table of features.
//!
//! Adding a feature takes one row here, with its CPU formula, and one function `feature_<name>` in
//! `shaders/features.wgsl`. Enum, docs, listings, LAS names and tests follow from the row.
//!
//! Notation: N is the neighbourhood, the query included, n its size; λ1 ≥ λ2 ≥ λ3 and v1, v2, v3 the eigenvalues and
//! vectors of the covariance (÷ n); Σ their sum; ej = λj/Σ; r the radius, or the distance to
//! the farthest member where none is given.

use super::formulas::Shape;
use super::{Flags, Input, Row, Tolerance};
use Tolerance::{Absolute, Angle, Exact, OfLambda1, OfRadius, OfRadiusWhereSharp, Relative, WhereSharp};

const XYZ: &[Input] = &[Input::Xyz];
const RGB: &[Input] = &[Input::Rgb];
const NIR: &[Input] = &[Input::Nir];
const RED_NIR: &[Input] = &[Input::Rgb, Input::Nir];

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;
const FEW: Flags = Flags::FEW;
const IDENTICAL: Flags = Flags::IDENTICAL;
const COLLINEAR: Flags = Flags::COLLINEAR;
const ANY: Flags = Flags(Flags::FEW.0 | Flags::IDENTICAL.0 | Flags::COLLINEAR.0);
const POINTLIKE: Flags = Flags(Flags::FEW.0 | Flags::IDENTICAL.0);

const WEINMANN: &str = "West 2004; Weinmann 2015";

macro_rules! catalogue {
    ($($variant:ident $name:literal $unit:literal $range:expr; $formula:literal; $source:expr; $inputs:expr; $tolerance:expr;
       [$($flag:expr => $value:expr),*]; [$($alias:literal),*]; $cpu:expr;)+) => {
        /// One per-point feature: one column of the result.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Feature {
            $(#[doc = concat!("`", $name, "` in ", $unit, ": ", $formula, ".")] $variant,)+
        }

        /// Every feature; the row of `f` stands at index `f as usize`.
        pub(crate) static CATALOGUE: &[Row] = &[$(Row {
            feature: Feature::$variant,
            name: $name,
            unit: $unit,
            range: $range,
            formula: $formula,
            source: $source,
            inputs: $inputs,
            tolerance: $tolerance,
            rules: &[$(($flag, $value)),*],
            aliases: &[$($alias),*],
            cpu: $cpu,
        }),+];
    };
}

catalogue! {
    NormalX "normal_x" "-" (-1.0, 1.0); "x of v3, signed so that normal_z > 0 (or the next component that is not 0)"; "all"; XYZ; Angle(3, 0.2);
        [ANY => NAN]; []; |s: &Shape| s.vectors[2].x;
    NormalY "normal_y" "-" (-1.0, 1.0); "y of v3"; "all"; XYZ; Angle(3, 0.2);
        [ANY => NAN]; []; |s: &Shape| s.vectors[2].y;
    NormalZ "normal_z" "-" (-1.0, 1.0); "z of v3"; "all"; XYZ; Angle(3, 0.2);
        [ANY => NAN]; []; |s: &Shape| s.vectors[2].z;
    Eigenvalue1 "eigenvalue_1" "m²" (0.0, INF); "λ1"; "all"; XYZ; OfLambda1(4e-6);
        [FEW => NAN, IDENTICAL => 0.0]; []; |s: &Shape| s.lambda[0];
    Eigenvalue2 "eigenvalue_2" "m²" (0.0, INF); "λ2"; "all"; XYZ; OfLambda1(4e-6);
        [FEW => NAN, IDENTICAL => 0.0, COLLINEAR => 0.0]; []; |s: &Shape| s.lambda[1];
    Eigenvalue3 "eigenvalue_3" "m²" (0.0, INF); "λ3"; "all"; XYZ; OfLambda1(4e-6);
        [FEW => NAN, IDENTICAL => 0.0, COLLINEAR => 0.0]; []; |s: &Shape| s.lambda[2];
    Eigenvector1X "eigenvector_1_x" "-" (-1.0, 1.0); "x of v1, signed so that its largest component is positive"; "jakteristics; lidR#720"; XYZ; Angle(1, 0.2);
        [POINTLIKE => NAN]; []; |s: &Shape| s.vectors[0].x;
    Eigenvector1Y "eigenvector_1_y" "-" (-1.0, 1.0); "y of v1"; "jakteristics; lidR#720"; XYZ; Angle(1, 0.2);
        [POINTLIKE => NAN]; []; |s: &Shape| s.vectors[0].y;
    Eigenvector1Z "eigenvector_1_z" "-" (-1.0, 1.0); "z of v1"; "jakteristics; lidR#720"; XYZ; Angle(1, 0.2);
        [POINTLIKE => NAN]; []; |s: &Shape| s.vectors[0].z;
    Eigenvector2X "eigenvector_2_x" "-" (-1.0, 1.0); "x of v2, signed so that its largest component is positive"; "jakteristics; lidR#720"; XYZ; Angle(2, 0.2);
        [ANY => NAN]; []; |s: &Shape| s.vectors[1].x;
    Eigenvector2Y "eigenvector_2_y" "-" (-1.0, 1.0); "y of v2"; "jakteristics; lidR#720"; XYZ; Angle(2, 0.2);
        [ANY => NAN]; []; |s: &Shape| s.vectors[1].y;
    Eigenvector2Z "eigenvector_2_z" "-" (-1.0, 1.0); "z of v2"; "jakteristics; lidR#720"; XYZ; Angle(2, 0.2);
        [ANY => NAN]; []; |s: &Shape| s.vectors[1].z;
    Eigenvector3X "eigenvector_3_x" "-" (-1.0, 1.0); "x of v3, signed as the normal"; "jakteristics; lidR#720"; XYZ; Angle(3, 0.2);
        [ANY => NAN]; []; |s: &Shape| s.vectors[2].x;
    Eigenvector3Y "eigenvector_3_y" "-" (-1.0, 1.0); "y of v3"; "jakteristics; lidR#720"; XYZ; Angle(3, 0.2);
        [ANY => NAN]; []; |s: &Shape| s.vectors[2].y;
    Eigenvector3Z "eigenvector_3_z" "-" (-1.0, 1.0); "z of v3"; "jakteristics; lidR#720"; XYZ; Angle(3, 0.2);
        [ANY => NAN]; []; |s: &Shape| s.vectors[2].z;
    EigenvalueSum "eigenvalue_sum" "m²" (0.0, INF); "Σ = λ1 + λ2 + λ3"; "Weinmann 2015"; XYZ; OfLambda1(4e-6);
        [FEW => NAN, IDENTICAL => 0.0]; ["sum_eigenvalues"]; |s: &Shape| s.lambda_sum();
    Linearity "linearity" "-" (0.0, 1.0); "(λ1 − λ2)/λ1"; WEINMANN; XYZ; Absolute(8e-6);
        [POINTLIKE => NAN, COLLINEAR => 1.0]; []; |s: &Shape| (s.lambda[0] - s.lambda[1]) / s.lambda[0];
    Planarity "planarity" "-" (0.0, 1.0); "(λ2 − λ3)/λ1"; WEINMANN; XYZ; Absolute(8e-6);
        [POINTLIKE => NAN, COLLINEAR => 0.0]; []; |s: &Shape| (s.lambda[1] - s.lambda[2]) / s.lambda[0];
    Sphericity "sphericity" "-" (0.0, 1.0); "λ3/λ1"; WEINMANN; XYZ; Absolute(8e-6);
        [POINTLIKE => NAN, COLLINEAR => 0.0]; ["scattering"]; |s: &Shape| s.lambda[2] / s.lambda[0];
    Anisotropy "anisotropy" "-" (0.0, 1.0); "(λ1 − λ3)/λ1"; WEINMANN; XYZ; Absolute(8e-6);
        [POINTLIKE => NAN, COLLINEAR => 1.0]; []; |s: &Shape| (s.lambda[0] - s.lambda[2]) / s.lambda[0];
    SurfaceVariation "surface_variation" "-" (0.0, 1.0 / 3.0); "λ3/Σ"; "Pauly 2003"; XYZ; Absolute(8e-6);
        [POINTLIKE => NAN, COLLINEAR => 0.0]; ["curvature", "change_curvature"]; |s: &Shape| s.lambda[2] / s.lambda_sum();
    Omnivariance "omnivariance" "m²" (0.0, INF); "∛(λ1 λ2 λ3)"; "Weinmann 2015 (there of ej)"; XYZ; OfLambda1(2e-2);
        [FEW => NAN, IDENTICAL => 0.0, COLLINEAR => 0.0]; []; |s: &Shape| (s.lambda[0] * s.lambda[1] * s.lambda[2]).cbrt();
    Eigenentropy "eigenentropy" "nat" (0.0, 1.098_612_3); "−Σ ej ln ej, with 0 ln 0 = 0"; "Weinmann 2015"; XYZ; Absolute(1e-4);
        [POINTLIKE => NAN, COLLINEAR => 0.0]; []; |s: &Shape| s.eigenentropy();
    Verticality "verticality" "-" (0.0, 1.0); "1 − |nz|"; "CloudCompare; jakteristics"; XYZ; WhereSharp(2e-3);
        [ANY => NAN]; []; |s: &Shape| 1.0 - s.vectors[2].z.abs();
    Horizontality "horizontality" "-" (0.0, 1.0); "|nz|"; "lidR"; XYZ; WhereSharp(2e-3);
        [ANY => NAN]; []; |s: &Shape| s.vectors[2].z.abs();
    Slope "slope" "°" (0.0, 90.0); "atan2(hypot(nx, ny), |nz|)"; "CloudCompare's dip"; XYZ; WhereSharp(0.2);
        [ANY => NAN]; []; |s: &Shape| s.slope();
    Roughness "roughness" "m" (0.0, INF); "distance to the plane fitted to N without the query"; "CCCoreLib computeRoughness"; XYZ; OfRadiusWhereSharp(4e-3);
        [Flags::NO_PLANE => NAN]; []; |s: &Shape| s.plane_distance.abs();
    NeighborCount "neighbor_count" "count" (1.0, INF); "n, the query counted"; "jakteristics number_of_neighbors"; XYZ; Exact;
        []; []; |s: &Shape| s.n;
    KnnDistance "knn_distance" "m" (0.0, INF); "distance to the farthest member"; "PDAL nndistance kth; Weinmann 2015"; XYZ; Relative(5e-7);
        []; []; |s: &Shape| s.farthest;
    MeanDistance "mean_distance" "m" (0.0, INF); "mean distance to the members but the query"; "PDAL nndistance avg"; XYZ; OfRadius(8e-6);
        []; []; |s: &Shape| s.distance_sum / (s.n - 1.0).max(1.0);
    Density3d "density_3d" "1/m³" (0.0, INF); "n/(4/3 π r³)"; "Weinmann 2015 (k excludes the query there); CloudCompare volume density"; XYZ; Relative(5e-6);
        [Flags::NO_RADIUS => NAN]; []; |s: &Shape| s.n / (4.0 / 3.0 * std::f64::consts::PI * s.radius.powi(3));
    DensitySurface "density_surface" "1/m²" (0.0, INF); "n/(π r²)"; "CloudCompare surface density"; XYZ; Relative(5e-6);
        [Flags::NO_RADIUS => NAN]; []; |s: &Shape| s.n / (std::f64::consts::PI * s.radius.powi(2));
    VerticalStd "vertical_std" "m" (0.0, INF); "standard deviation of z in N (÷ n)"; "Weinmann 2015"; XYZ; OfRadius(2e-6);
        []; []; |s: &Shape| s.variance_z.sqrt();
    VerticalRange "vertical_range" "m" (0.0, INF); "max z − min z in N"; "Weinmann 2015; Hackel 2016"; XYZ; Relative(5e-7);
        []; []; |s: &Shape| s.z_max - s.z_min;
    BuildingRegularity "building_regularity" "-" (0.0, 1.0); "planarity (1 − sphericity)"; "IGN LiDAR HD features"; XYZ; Absolute(1.6e-5);
        [POINTLIKE => NAN, COLLINEAR => 0.0]; []; |s: &Shape| (s.lambda[1] - s.lambda[2]) / s.lambda[0] * (1.0 - s.lambda[2] / s.lambda[0]);
    Red "red" "-" (0.0, 1.0); "red/full scale (255, 65280 or 65535, by the depth of the colours)"; "LAS 1.4"; RGB; Relative(5e-7);
        []; []; |s: &Shape| s.attributes.red;
    Green "green" "-" (0.0, 1.0); "green/full scale (255, 65280 or 65535, by the depth of the colours)"; "LAS 1.4"; RGB; Relative(5e-7);
        []; []; |s: &Shape| s.attributes.green;
    Blue "blue" "-" (0.0, 1.0); "blue/full scale (255, 65280 or 65535, by the depth of the colours)"; "LAS 1.4"; RGB; Relative(5e-7);
        []; []; |s: &Shape| s.attributes.blue;
    Nir "nir" "-" (0.0, 1.0); "near-infrared/full scale (255, 65280 or 65535, by its depth)"; "LAS 1.4"; NIR; Relative(5e-7);
        []; []; |s: &Shape| s.attributes.nir;
    Ndvi "ndvi" "-" (-1.0, 1.0); "(nir − red)/(nir + red)"; "Rouse 1974"; RED_NIR; Absolute(1e-6);
        [Flags::DARK => NAN]; []; |s: &Shape| (s.attributes.nir - s.attributes.red) / (s.attributes.nir + s.attributes.red);
    ExcessGreen "excess_green" "-" (-2.0, 2.0); "2 green − red − blue"; "Woebbecke 1995 (there of chromaticities)"; RGB; Absolute(1e-6);
        []; []; |s: &Shape| 2.0 * s.attributes.green - s.attributes.red - s.attributes.blue;
}

/// Names that stand for several columns.
pub(crate) static GROUPS: &[(&str, &[Feature])] = &[
    ("normals", &[Feature::NormalX, Feature::NormalY, Feature::NormalZ]),
    ("eigenvalues", &[Feature::Eigenvalue1, Feature::Eigenvalue2, Feature::Eigenvalue3]),
    (
        "eigenvectors",
        &[
            Feature::Eigenvector1X,
            Feature::Eigenvector1Y,
            Feature::Eigenvector1Z,
            Feature::Eigenvector2X,
            Feature::Eigenvector2Y,
            Feature::Eigenvector2Z,
            Feature::Eigenvector3X,
            Feature::Eigenvector3Y,
            Feature::Eigenvector3Z,
        ],
    ),
    ("rgb", &[Feature::Red, Feature::Green, Feature::Blue]),
];
