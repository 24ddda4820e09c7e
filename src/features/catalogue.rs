//! The one table of features.
//!
//! Adding a feature takes one row here, with its CPU formula, and one function `feature_<name>` in
//! `shaders/features.wgsl`. Enum, docs, listings, LAS names and tests follow from the row.
//!
//! Notation: N is the neighbourhood, the query included, n its size; λ1 ≥ λ2 ≥ λ3 and v1, v2, v3 the eigenvalues and
//! vectors of the covariance (÷ n); Σ their sum; ej = λj/Σ; σj = √λj; r the radius, or the distance to
//! the farthest member where none is given.

use super::formulas::Shape;
use super::measures::cube_root;
use super::{Flags, Input, Row, Tolerance};
use crate::extras::Extra;
use Tolerance::{
    Absolute, AlongAxis, Angle, Bearing, Curvature, Decision, Exact, OfEigenvalues, OfLambda1, OfNormals,
    OfPlane, OfRadius, OfRadiusWhereSharp, Relative, SignedOfRadiusWhereSharp, WhereAxisSharp, WhereSharp,
};

const XYZ: &[Input] = &[Input::Xyz];
const RGB: &[Input] = &[Input::Rgb];
const NIR: &[Input] = &[Input::Nir];
const AROUND_RGB: &[Input] = &[Input::Xyz, Input::Rgb];
const AROUND_NIR: &[Input] = &[Input::Xyz, Input::Nir];
const AROUND_RED_NIR: &[Input] = &[Input::Xyz, Input::Rgb, Input::Nir];
const AROUND_INTENSITY: &[Input] = &[Input::Xyz, Input::Intensity];
const RED_NIR: &[Input] = &[Input::Rgb, Input::Nir];
const GROUND: &[Input] = &[Input::Ground];
const XYZ_GROUND: &[Input] = &[Input::Xyz, Input::Ground];

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;
const FEW: Flags = Flags::FEW;
const IDENTICAL: Flags = Flags::IDENTICAL;
const COLLINEAR: Flags = Flags::COLLINEAR;
const ANY: Flags = Flags(Flags::FEW.0 | Flags::IDENTICAL.0 | Flags::COLLINEAR.0);
const NO_GROUND: Flags = Flags::NO_GROUND;
const POINTLIKE: Flags = Flags(Flags::FEW.0 | Flags::IDENTICAL.0);

/// 20 ln 2: the logarithm of the floor under ratios to λ1.
const DEEPEST: f64 = 20.0 * std::f64::consts::LN_2;

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
        [POINTLIKE => NAN, COLLINEAR => 1.0]; ["edge_strength_ign"]; |s: &Shape| s.linearity();
    Planarity "planarity" "-" (0.0, 1.0); "(λ2 − λ3)/λ1"; WEINMANN; XYZ; Absolute(8e-6);
        [POINTLIKE => NAN, COLLINEAR => 0.0]; []; |s: &Shape| s.planarity();
    Sphericity "sphericity" "-" (0.0, 1.0); "λ3/λ1"; WEINMANN; XYZ; Absolute(8e-6);
        [POINTLIKE => NAN, COLLINEAR => 0.0]; ["scattering"]; |s: &Shape| s.lambda[2] / s.lambda[0];
    Anisotropy "anisotropy" "-" (0.0, 1.0); "(λ1 − λ3)/λ1"; WEINMANN; XYZ; Absolute(8e-6);
        [POINTLIKE => NAN, COLLINEAR => 1.0]; []; |s: &Shape| (s.lambda[0] - s.lambda[2]) / s.lambda[0];
    SurfaceVariation "surface_variation" "-" (0.0, 1.0 / 3.0); "λ3/Σ"; "Pauly 2003"; XYZ; Absolute(8e-6);
        [POINTLIKE => NAN, COLLINEAR => 0.0]; ["curvature", "change_curvature"]; |s: &Shape| s.lambda[2] / s.lambda_sum();
    Omnivariance "omnivariance" "m²" (0.0, INF); "∛(λ1 λ2 λ3)"; "Weinmann 2015 (there of ej)"; XYZ; OfLambda1(2e-2);
        [FEW => NAN, IDENTICAL => 0.0, COLLINEAR => 0.0]; []; |s: &Shape| cube_root(s.lambda[0] * s.lambda[1] * s.lambda[2]);
    Eigenentropy "eigenentropy" "nat" (0.0, 1.098_612_3); "−Σ ej ln ej, with 0 ln 0 = 0"; "Weinmann 2015"; XYZ; Absolute(1e-4);
        [POINTLIKE => NAN, COLLINEAR => 0.0]; []; |s: &Shape| s.eigenentropy();
    Verticality "verticality" "-" (0.0, 1.0); "1 − |nz|"; "CloudCompare; jakteristics"; XYZ; WhereSharp(2e-3);
        [ANY => NAN]; []; |s: &Shape| s.verticality();
    Horizontality "horizontality" "-" (0.0, 1.0); "|nz|"; "lidR"; XYZ; WhereSharp(2e-3);
        [ANY => NAN]; []; |s: &Shape| s.horizontality();
    Slope "slope" "°" (0.0, 90.0); "atan2(hypot(nx, ny), |nz|)"; "CloudCompare's dip"; XYZ; WhereSharp(0.2);
        [ANY => NAN]; []; |s: &Shape| s.slope();
    Roughness "roughness" "m" (0.0, INF); "distance to the plane fitted to N without the query"; "CCCoreLib computeRoughness"; XYZ; OfRadiusWhereSharp(4e-3);
        [Flags::NO_PLANE => NAN]; ["surface_roughness"]; |s: &Shape| s.plane_distance.abs();
    EigenentropyRaw "eigenentropy_raw" "-" (-INF, 1.103_638_4); "−Σ λj ln λj in the cloud's unit, with 0 ln 0 = 0; only to compare with other tools"; "CloudCompare; jakteristics"; XYZ; OfEigenvalues(8e-6);
        [ANY => NAN]; []; |s: &Shape| s.eigenentropy_raw();
    Pca1 "pca1" "-" (1.0 / 3.0, 1.0); "e1"; "CloudCompare"; XYZ; Absolute(8e-6);
        [POINTLIKE => NAN, COLLINEAR => 1.0]; []; |s: &Shape| s.e(0);
    Pca2 "pca2" "-" (0.0, 0.5); "e2"; "CloudCompare"; XYZ; Absolute(8e-6);
        [POINTLIKE => NAN, COLLINEAR => 0.0]; []; |s: &Shape| s.e(1);
    // (e1, e2, e3) = α (1, 0, 0) + β (1/2, 1/2, 0) + (1 − α − β) (1/3, 1/3, 1/3): CANUPO's 2 e1 + 4 e2 − 2, since Σ e = 1.
    BarycentricAlpha "barycentric_alpha" "-" (0.0, 1.0); "e1 − e2: weight of the 1-D corner in the 1-D, 2-D, 3-D triangle"; "Brodu & Lague 2012"; XYZ; Absolute(1.6e-5);
        [ANY => NAN]; []; |s: &Shape| s.e(0) - s.e(1);
    BarycentricBeta "barycentric_beta" "-" (0.0, 1.0); "2 (e2 − e3): weight of the 2-D corner; the 3-D one has 3 e3"; "Brodu & Lague 2012"; XYZ; Absolute(3.2e-5);
        [ANY => NAN]; []; |s: &Shape| 2.0 * (s.e(1) - s.e(2));
    Dimensionality "dimensionality" "-" (0.0, 3.0); "1, 2 or 3: largest of σ1 − σ2, σ2 − σ3, σ3"; "Demantké 2011"; XYZ; Decision(8e-6);
        [ANY => 0.0]; []; |s: &Shape| s.dimensionality();
    DegreeOfPlanarity "degree_of_planarity" "-" (0.0, DEEPEST); "ln(λ1/max(λ3, 2^−20 λ1))"; "CCCoreLib PR 131"; XYZ; OfEigenvalues(8e-6);
        [POINTLIKE => NAN, COLLINEAR => DEEPEST]; []; |s: &Shape| s.degree_of_planarity();
    // Without a floor under the divisor λ2 = λ3 would give infinity, or 0/0, without a flag that says so.
    DegreeOfLinearity "degree_of_linearity" "-" (0.0, INF); "ln(λ1/λ2)/ln(λ2/λ3); λ2, λ3 at least 2^−20 λ1, the divisor 2^−20"; "CCCoreLib PR 131; Woodcock 1977"; XYZ; OfEigenvalues(8e-6);
        [ANY => NAN]; []; |s: &Shape| s.degree_of_linearity();
    Length "length" "m" (0.0, INF); "σ1"; "Superpoint Graph; pgeof"; XYZ; Relative(4e-6);
        [FEW => NAN, IDENTICAL => 0.0]; []; |s: &Shape| s.sigma(0);
    Surface "surface" "m" (0.0, INF); "√(σ1 σ2)"; "Superpoint Graph; pgeof"; XYZ; OfEigenvalues(8e-6);
        [FEW => NAN, IDENTICAL => 0.0, COLLINEAR => 0.0]; []; |s: &Shape| (s.sigma(0) * s.sigma(1)).sqrt();
    Volume "volume" "m" (0.0, INF); "∛(σ1 σ2 σ3)"; "Superpoint Graph; pgeof"; XYZ; OfEigenvalues(8e-6);
        [FEW => NAN, IDENTICAL => 0.0, COLLINEAR => 0.0]; []; |s: &Shape| cube_root(s.sigma(0) * s.sigma(1) * s.sigma(2));
    // u turns with v1, v2 and v3, all of which are sharp where v2 is: its eigenvalue stands between the others.
    VerticalityUnary "verticality_unary" "-" (0.0, 1.0); "z of u/|u|, u = Σ λj |vj| by components"; "Guinard & Landrieu 2017"; XYZ; WhereAxisSharp(2, 4e-3);
        [ANY => NAN]; []; |s: &Shape| s.verticality_unary();
    Aspect "aspect" "°" (0.0, 360.0); "atan2(nx, ny) modulo 360; 0 where slope < 1e-3°"; "CloudCompare's dip direction"; XYZ; Bearing(0.2);
        [ANY => NAN]; []; |s: &Shape| s.aspect();
    // The 0.2° of `Angle` change a sum of offsets by 3.5e-3 of n r at most, and its square by twice that.
    Moment1Axis1 "moment_1_axis1" "m" (-INF, INF); "sum of (p − query)·v1 over N"; "Hackel 2016"; XYZ; AlongAxis(1, 1, 4e-3);
        [FEW => NAN, IDENTICAL => 0.0]; []; |s: &Shape| s.moment_1(0);
    Moment1Axis2 "moment_1_axis2" "m" (-INF, INF); "sum of (p − query)·v2 over N"; "Hackel 2016"; XYZ; AlongAxis(2, 1, 4e-3);
        [FEW => NAN, IDENTICAL => 0.0, COLLINEAR => 0.0]; []; |s: &Shape| s.moment_1(1);
    Moment2Axis1 "moment_2_axis1" "m²" (0.0, INF); "sum of ((p − query)·v1)² over N"; "Hackel 2016"; XYZ; AlongAxis(1, 2, 8e-3);
        [FEW => NAN, IDENTICAL => 0.0]; []; |s: &Shape| s.moment_2(0);
    Moment2Axis2 "moment_2_axis2" "m²" (0.0, INF); "sum of ((p − query)·v2)² over N"; "Hackel 2016"; XYZ; AlongAxis(2, 2, 8e-3);
        [FEW => NAN, IDENTICAL => 0.0, COLLINEAR => 0.0]; []; |s: &Shape| s.moment_2(1);
    MomentOrder1 "moment_order_1" "-" (0.0, INF); "moment_1_axis2²/moment_2_axis2, at most n; 0 where both vanish"; "CCCoreLib computeMomentOrder1"; XYZ; AlongAxis(2, 0, 1e-2);
        [ANY => NAN]; []; |s: &Shape| s.moment_order_1();
    BarycenterOffset "barycenter_offset" "m" (0.0, INF); "distance of the query to the mean of N"; "CloudCompare issue 1660; Ponca issue 191"; XYZ; Relative(1e-6);
        []; []; |s: &Shape| s.sum.length() / s.n;
    PlaneDistance "plane_distance" "m" (-INF, INF); "roughness, positive where the query lies on the side its plane's normal points to"; "CCCoreLib computeRoughness"; XYZ; SignedOfRadiusWhereSharp(4e-3);
        [Flags::NO_PLANE => NAN]; []; |s: &Shape| s.plane_distance;
    PlaneFit "plane_fit" "-" (0.0, 1.0); "d/(d + e): d is roughness, e the mean of the others' distances to that plane; 0 where d + e < 2^−16 r"; "Kutz 2003; PDAL planefit"; XYZ; OfPlane(4e-3);
        [Flags::NO_PLANE => NAN]; []; |s: &Shape| s.plane_fit();
    // Of z = a + b x + c y + d x² + e xy + f y² in the frame of v1, v2, v3 about the mean, at the query.
    MeanCurvature "mean_curvature" "1/m" (0.0, INF); "|(1 + fx²) fyy − 2 fx fy fxy + (1 + fy²) fxx|/(2 q^1.5), q = 1 + fx² + fy², of the quadric over the plane of N"; "CCCoreLib computeCurvature (with a ridge of 2^−10 here)"; XYZ; Curvature(1, 2e-2);
        [Flags::UNDER_SIX => NAN, ANY => NAN]; []; |s: &Shape| s.around.mean_curvature();
    GaussianCurvature "gaussian_curvature" "1/m²" (0.0, INF); "|fxx fyy − fxy²|/q², q = 1 + fx² + fy², of the quadric over the plane of N"; "CCCoreLib computeCurvature (with a ridge of 2^−10 here)"; XYZ; Curvature(2, 2e-2);
        [Flags::UNDER_SIX => NAN, ANY => NAN]; []; |s: &Shape| s.around.gaussian_curvature();
    NormalVariation "normal_variation" "-" (0.0, 1.0); "mean of 1 − |n·nj| over the members but the query that have a normal nj of their own neighbourhood; 0 if none has"; "this library; a form of IGN LiDAR HD's curvature that signs do not change"; XYZ; OfNormals(4e-3);
        [ANY => NAN]; []; |s: &Shape| s.around.normal_variation;
    IsCoplanar "is_coplanar" "-" (0.0, 1.0); "1 if λ2 > 25 λ3 and 6 λ2 > λ1, else 0"; "PDAL approximatecoplanar, after Limberger & Oliveira 2015"; XYZ; Decision(8e-6);
        [ANY => 0.0]; []; |s: &Shape| s.is_coplanar();
    Rank "rank" "-" (0.0, 3.0); "number of eigenvalues above 0.01 λ1"; "PDAL estimaterank"; XYZ; Decision(8e-6);
        [POINTLIKE => 0.0, COLLINEAR => 1.0]; []; |s: &Shape| s.rank();
    NeighborCount "neighbor_count" "count" (1.0, INF); "n, the query counted"; "jakteristics number_of_neighbors"; XYZ; Exact;
        []; []; |s: &Shape| s.n;
    KnnDistance "knn_distance" "m" (0.0, INF); "distance to the farthest member"; "PDAL nndistance kth; Weinmann 2015"; XYZ; Relative(5e-7);
        []; []; |s: &Shape| s.farthest;
    MeanDistance "mean_distance" "m" (0.0, INF); "mean distance to the members but the query"; "PDAL nndistance avg"; XYZ; OfRadius(8e-6);
        []; []; |s: &Shape| s.mean_distance();
    Density3d "density_3d" "1/m³" (0.0, INF); "n/(4/3 π r³)"; "Weinmann 2015 (k excludes the query there); CloudCompare volume density"; XYZ; Relative(5e-6);
        [Flags::NO_RADIUS => NAN]; []; |s: &Shape| s.n / (4.0 / 3.0 * std::f64::consts::PI * s.radius.powi(3));
    DensitySurface "density_surface" "1/m²" (0.0, INF); "n/(π r²)"; "CloudCompare surface density"; XYZ; Relative(5e-6);
        [Flags::NO_RADIUS => NAN]; []; |s: &Shape| s.n / (std::f64::consts::PI * s.radius.powi(2));
    VerticalStd "vertical_std" "m" (0.0, INF); "standard deviation of z in N (÷ n)"; "Weinmann 2015"; XYZ; OfRadius(2e-6);
        []; []; |s: &Shape| s.variance_z.sqrt();
    VerticalRange "vertical_range" "m" (0.0, INF); "max z − min z in N"; "Weinmann 2015; Hackel 2016"; XYZ; Relative(5e-7);
        []; []; |s: &Shape| s.extent[2];
    NearestDistance "nearest_distance" "m" (0.0, INF); "distance to the nearest member but the query; 0 for duplicates"; "CloudCompare issue 2166"; XYZ; Relative(5e-7);
        []; []; |s: &Shape| s.nearest;
    // A difference of squares: where all distances are nearly equal, f32 leaves √(6e-7) of r.
    StdDistance "std_distance" "m" (0.0, INF); "standard deviation of the distances to the members but the query (÷ n − 1)"; "IGN LiDAR HD features"; XYZ; OfRadius(1.5e-3);
        []; []; |s: &Shape| s.std_distance();
    ExtentX "extent_x" "m" (0.0, INF); "max x − min x in N"; "IGN LiDAR HD features"; XYZ; Relative(5e-7);
        []; []; |s: &Shape| s.extent[0];
    ExtentY "extent_y" "m" (0.0, INF); "max y − min y in N"; "IGN LiDAR HD features"; XYZ; Relative(5e-7);
        []; []; |s: &Shape| s.extent[1];
    ExtentZ "extent_z" "m" (0.0, INF); "max z − min z in N"; "IGN LiDAR HD features"; XYZ; Relative(5e-7);
        []; []; |s: &Shape| s.extent[2];
    NeighborhoodExtent "neighborhood_extent" "m" (0.0, INF); "diagonal of the bounding box of N"; "IGN LiDAR HD features"; XYZ; Relative(1e-6);
        []; []; |s: &Shape| s.flat_extent().hypot(s.extent[2]);
    HeightExtentRatio "height_extent_ratio" "-" (0.0, INF); "extent_z/√(extent_x² + extent_y²), 0 where that is 0"; "IGN LiDAR HD features"; XYZ; Relative(2e-6);
        []; []; |s: &Shape| s.height_extent_ratio();
    ZBelow "z_below" "m" (0.0, INF); "z of the query − min z in N"; "Hackel 2016"; XYZ; Relative(5e-7);
        []; []; |s: &Shape| 0.0 - s.z_min;
    ZAbove "z_above" "m" (0.0, INF); "max z in N − z of the query"; "Hackel 2016"; XYZ; Relative(5e-7);
        []; []; |s: &Shape| s.z_max;
    EigenvalueSum2d "eigenvalue_sum_2d" "m²" (0.0, INF); "λ1 + λ2 of the covariance of x and y"; "Weinmann 2015"; XYZ; Relative(2e-6);
        []; []; |s: &Shape| s.covariance_xy[0] + s.covariance_xy[2];
    EigenvalueRatio2d "eigenvalue_ratio_2d" "-" (0.0, 1.0); "λ2/λ1 of the covariance of x and y"; "Weinmann 2015"; XYZ; Absolute(2e-6);
        [ANY => NAN]; []; |s: &Shape| s.eigenvalue_ratio_2d();
    OptimalK "optimal_k" "count" (1.0, INF); "the k whose neighbourhood's eigenentropy is least: of the optimal neighbourhood's range, else of 10..100"; "Weinmann 2015; PDAL optimalneighborhood; pgeof"; XYZ; Exact;
        []; []; |s: &Shape| s.n;
    OptimalRadius "optimal_radius" "m" (0.0, INF); "distance to the optimal_k-th point"; "Weinmann 2015; PDAL optimalneighborhood"; XYZ; Relative(5e-7);
        []; []; |s: &Shape| s.farthest;
    OptimalEntropy "optimal_entropy" "nat" (0.0, 1.098_612_3); "eigenentropy of the optimal_k nearest points, ln 3 where they have none"; "Weinmann 2015"; XYZ; Absolute(1e-4);
        []; []; |s: &Shape| s.optimal_entropy();
    ReachabilityDensity "reachability_density" "1/m" (0.0, INF); "1/mean over the members but the query of max(their own knn_distance, their distance), which counts as 2^−10 quantum at least"; "Breunig 2000; PDAL lof (which counts the query)"; XYZ; Relative(2e-5);
        [Flags::ALONE => NAN]; []; |s: &Shape| s.reachability_density();
    Lof "lof" "-" (0.0, INF); "mean reachability_density of the members but the query/that of the query"; "Breunig 2000; PDAL lof (which counts the query)"; XYZ; Relative(4e-5);
        [Flags::ALONE => NAN]; []; |s: &Shape| s.around.lof;
    Reciprocity "reciprocity" "%" (0.0, 100.0); "part of the members but the query whose own neighbours the query is not among"; "PDAL reciprocity"; XYZ; Absolute(2e-5);
        []; []; |s: &Shape| 100.0 * s.around.one_sided;
    OutlierScore "outlier_score" "m" (0.0, INF); "mean_distance; outliers exceed its mean by some standard deviations"; "PDAL outlier; PCL and Open3D statistical outlier removal"; XYZ; OfRadius(8e-6);
        []; []; |s: &Shape| s.mean_distance();
    WallScore "wall_score" "-" (0.0, 1.0); "planarity verticality"; "IGN LiDAR HD features (described there, not computed)"; XYZ; WhereSharp(2e-3);
        [ANY => NAN]; []; |s: &Shape| s.planarity() * s.verticality();
    RoofScore "roof_score" "-" (0.0, 1.0); "planarity horizontality"; "IGN LiDAR HD features (described there, not computed)"; XYZ; WhereSharp(2e-3);
        [ANY => NAN]; []; |s: &Shape| s.planarity() * s.horizontality();
    // A normal's error is inverse to planarity, so that under the root it stays below 2e-3.
    WallLikelihood "wall_likelihood" "-" (0.0, 1.0); "√wall_score"; "IGN LiDAR HD features"; XYZ; WhereSharp(4e-3);
        [ANY => NAN]; []; |s: &Shape| (s.planarity() * s.verticality()).max(0.0).sqrt();
    RoofLikelihood "roof_likelihood" "-" (0.0, 1.0); "√roof_score"; "IGN LiDAR HD features"; XYZ; WhereSharp(4e-3);
        [ANY => NAN]; []; |s: &Shape| (s.planarity() * s.horizontality()).sqrt();
    EdgeStrength "edge_strength" "-" (0.0, 1.0); "3 surface_variation (1 − sphericity)"; "this library"; XYZ; Absolute(3e-5);
        [POINTLIKE => NAN, COLLINEAR => 0.0]; []; |s: &Shape| s.edge_strength();
    CornerLikelihood "corner_likelihood" "-" (0.0, 1.0); "27 e1 e2 e3"; "this library"; XYZ; Absolute(5e-5);
        [POINTLIKE => NAN, COLLINEAR => 0.0]; []; |s: &Shape| 27.0 * s.e(0) * s.e(1) * s.e(2);
    BuildingRegularity "building_regularity" "-" (0.0, 1.0); "planarity (1 − sphericity)"; "IGN LiDAR HD features"; XYZ; Absolute(1.6e-5);
        [POINTLIKE => NAN, COLLINEAR => 0.0]; []; |s: &Shape| s.planarity() * (1.0 - s.lambda[2] / s.lambda[0]);
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
    Gndvi "gndvi" "-" (-1.0, 1.0); "(nir − green)/(nir + green)"; "Gitelson 1996"; RED_NIR; Absolute(1e-6);
        [Flags::DARK_GREEN_NIR => NAN]; []; |s: &Shape| (s.attributes.nir - s.attributes.green) / (s.attributes.nir + s.attributes.green);
    VegetationIndex "vegetation_index" "-" (-1.0, 1.0); "(green − red)/(green + red)"; "Tucker 1979"; RGB; Absolute(1e-6);
        [Flags::DARK_RED_GREEN => NAN]; []; |s: &Shape| (s.attributes.green - s.attributes.red) / (s.attributes.green + s.attributes.red);
    RgbMean "rgb_mean" "-" (0.0, 1.0); "mean of red, green, blue"; "IGN LiDAR HD features"; RGB; Absolute(1e-6);
        []; []; |s: &Shape| s.attributes.mean();
    RgbStd "rgb_std" "-" (0.0, 0.5); "standard deviation of red, green, blue (÷ 3)"; "IGN LiDAR HD features"; RGB; Absolute(1e-6);
        []; []; |s: &Shape| s.attributes.std();
    RgbRange "rgb_range" "-" (0.0, 1.0); "max − min of red, green, blue"; "IGN LiDAR HD features"; RGB; Absolute(1e-6);
        []; []; |s: &Shape| s.attributes.range();
    Hue "hue" "-" (0.0, 1.0); "hue/360° of the colour; 0 for greys"; "Smith 1978"; RGB; Absolute(1e-6);
        []; []; |s: &Shape| s.attributes.hue();
    Saturation "saturation" "-" (0.0, 1.0); "(max − min)/max of red, green, blue; 0 for black"; "Smith 1978"; RGB; Absolute(1e-6);
        []; []; |s: &Shape| s.attributes.saturation();
    Value "value" "-" (0.0, 1.0); "max of red, green, blue"; "Smith 1978"; RGB; Relative(5e-7);
        []; []; |s: &Shape| s.attributes.max();
    IntensityMean "intensity_mean" "-" (0.0, 65535.0); "mean of intensity, as recorded, over N"; "CloudComPy issue 46"; AROUND_INTENSITY; Relative(1e-6);
        []; []; |s: &Shape| s.around.channels[0][0];
    IntensityStd "intensity_std" "-" (0.0, 32767.5); "standard deviation of intensity, as recorded, over N (÷ n)"; "CloudComPy issue 46"; AROUND_INTENSITY; Relative(2e-6);
        []; []; |s: &Shape| s.around.channels[0][1];
    RedMean "red_mean" "-" (0.0, 1.0); "mean of red over N"; "CloudComPy issue 46"; AROUND_RGB; Relative(1e-6);
        []; []; |s: &Shape| s.around.channels[1][0];
    RedStd "red_std" "-" (0.0, 0.5); "standard deviation of red over N (÷ n)"; "CloudComPy issue 46"; AROUND_RGB; Relative(2e-6);
        []; []; |s: &Shape| s.around.channels[1][1];
    GreenMean "green_mean" "-" (0.0, 1.0); "mean of green over N"; "CloudComPy issue 46"; AROUND_RGB; Relative(1e-6);
        []; []; |s: &Shape| s.around.channels[2][0];
    GreenStd "green_std" "-" (0.0, 0.5); "standard deviation of green over N (÷ n)"; "CloudComPy issue 46"; AROUND_RGB; Relative(2e-6);
        []; []; |s: &Shape| s.around.channels[2][1];
    BlueMean "blue_mean" "-" (0.0, 1.0); "mean of blue over N"; "CloudComPy issue 46"; AROUND_RGB; Relative(1e-6);
        []; []; |s: &Shape| s.around.channels[3][0];
    BlueStd "blue_std" "-" (0.0, 0.5); "standard deviation of blue over N (÷ n)"; "CloudComPy issue 46"; AROUND_RGB; Relative(2e-6);
        []; []; |s: &Shape| s.around.channels[3][1];
    NirMean "nir_mean" "-" (0.0, 1.0); "mean of nir over N"; "CloudComPy issue 46"; AROUND_NIR; Relative(1e-6);
        []; []; |s: &Shape| s.around.channels[4][0];
    NirStd "nir_std" "-" (0.0, 0.5); "standard deviation of nir over N (÷ n)"; "CloudComPy issue 46"; AROUND_NIR; Relative(2e-6);
        []; []; |s: &Shape| s.around.channels[4][1];
    // Summed in steps of 2^-20 on a GPU.
    NdviMean "ndvi_mean" "-" (-1.0, 1.0); "mean of ndvi over the members that have one"; "CloudComPy issue 46"; AROUND_RED_NIR; Absolute(2e-6);
        [Flags::DARK_AROUND => NAN]; []; |s: &Shape| s.around.channels[5][0];
    NdviStd "ndvi_std" "-" (0.0, 1.0); "standard deviation of ndvi over the members that have one"; "CloudComPy issue 46"; AROUND_RED_NIR; Absolute(2e-6);
        [Flags::DARK_AROUND => NAN]; []; |s: &Shape| s.around.channels[5][1];
    // WGSL's powers are good to 1e-6 of themselves, and a and b are five and two times a difference of them.
    LabL "lab_l" "-" (0.0, 1.0); "L*/100 of the colour taken as sRGB, D65"; "CIE 1976; scaled as in Superpoint Transformer"; RGB; Absolute(1e-5);
        []; []; |s: &Shape| s.attributes.lab()[0];
    LabA "lab_a" "-" (-0.87, 0.99); "a*/100 of the colour taken as sRGB, D65"; "CIE 1976; scaled as in Superpoint Transformer"; RGB; Absolute(2e-5);
        []; []; |s: &Shape| s.attributes.lab()[1];
    LabB "lab_b" "-" (-1.08, 0.95); "b*/100 of the colour taken as sRGB, D65"; "CIE 1976; scaled as in Superpoint Transformer"; RGB; Absolute(2e-5);
        []; []; |s: &Shape| s.attributes.lab()[2];
    // Heights and counts below come from searches of their own (src/extras); a value that is passed on is the same on every
    // backend. In the scores a slope may be 0.2° off, on ramps of 10°.
    HeightAboveGround "height_above_ground" "m" (-INF, INF); "z − z of the ground below: of the nearest ground point in XY, or as Ground says; 0 for ground points"; "PDAL hag_nn"; XYZ_GROUND; Exact;
        [NO_GROUND => NAN]; []; |s: &Shape| s.given(Extra::HeightAboveGround);
    GroundDistance "ground_distance" "m" (0.0, INF); "distance in XY to the nearest ground point"; "this library"; XYZ_GROUND; Exact;
        []; []; |s: &Shape| s.given(Extra::GroundDistance);
    IsGround "is_ground" "-" (0.0, 1.0); "1 for ground points, else 0"; "IGN LiDAR HD features"; GROUND; Exact;
        []; []; |s: &Shape| s.given(Extra::IsGround);
    HeightAboveMin "height_above_min" "m" (0.0, INF); "z − min z of the cloud"; "IGN LiDAR HD features"; XYZ; Exact;
        []; []; |s: &Shape| s.given(Extra::HeightAboveMin);
    RelativeHeight "relative_height" "-" (0.0, 1.0); "(z − min z)/(max z − min z) of the cloud, 0 where it is level"; "IGN LiDAR HD features"; XYZ; Exact;
        []; []; |s: &Shape| s.given(Extra::RelativeHeight);
    FacadeScore "facade_score" "-" (0.0, 1.0); "verticality planarity min(max(height_above_ground/2 m, 0), 1)"; "IGN LiDAR HD features (described there; computed without planarity)"; XYZ_GROUND; WhereSharp(2e-3);
        [ANY => NAN, NO_GROUND => NAN]; []; |s: &Shape| s.facade_score();
    FlatRoofScore "flat_roof_score" "-" (0.0, 1.0); "planarity min(max(height_above_ground/2 m, 0), 1) fit; fit is 1 for slopes up to 10°, falls to 0 at 20°"; "this library, after IGN LiDAR HD features"; XYZ_GROUND; WhereSharp(2.2e-2);
        [ANY => NAN, NO_GROUND => NAN]; []; |s: &Shape| s.roof_score_of([0.0, 0.0, 10.0, 20.0]);
    SlopedRoofScore "sloped_roof_score" "-" (0.0, 1.0); "the same; fit rises from 10° to 20°, falls from 40° to 50°"; "this library, after IGN LiDAR HD features"; XYZ_GROUND; WhereSharp(2.2e-2);
        [ANY => NAN, NO_GROUND => NAN]; []; |s: &Shape| s.roof_score_of([10.0, 20.0, 40.0, 50.0]);
    SteepRoofScore "steep_roof_score" "-" (0.0, 1.0); "the same; fit rises from 40° to 50°, falls from 65° to 75°"; "this library, after IGN LiDAR HD features"; XYZ_GROUND; WhereSharp(2.2e-2);
        [ANY => NAN, NO_GROUND => NAN]; []; |s: &Shape| s.roof_score_of([40.0, 50.0, 65.0, 75.0]);
    OpeningLikelihood "opening_likelihood" "-" (0.0, 1.0); "(1 − planarity) linearity verticality min(max(height_above_ground/1 m, 0), 1)"; "IGN LiDAR HD features (described there, not computed)"; XYZ_GROUND; WhereSharp(2e-3);
        [ANY => NAN, NO_GROUND => NAN]; []; |s: &Shape| s.opening_likelihood();
    StructuralElementScore "structural_element_score" "-" (0.0, 1.0); "linearity |z of v1| min(max(height_above_ground/1 m, 0), 1)"; "IGN LiDAR HD features (described there, not computed)"; XYZ_GROUND; WhereAxisSharp(1, 4e-3);
        [POINTLIKE => NAN, NO_GROUND => NAN]; []; |s: &Shape| s.structural_element_score();
    Density2d "density_2d" "1/m²" (0.0, INF); "n/(π r²) of the neighbourhood by the same rule in XY"; "Weinmann 2015"; XYZ; Relative(5e-6);
        [Flags::NO_RADIUS_XY => NAN]; []; |s: &Shape| s.given(Extra::Density2d);
    EchoRatio "echo_ratio" "-" (0.0, 1.0); "points within R/points within R in XY; R = 2 m unless said"; "OPALS EchoRatio, after Höfle 2009"; XYZ; Exact;
        [Flags::EMPTY_CYLINDER => NAN]; []; |s: &Shape| s.given(Extra::EchoRatio);
    CountRadius "count_radius" "count" (0.0, INF); "points within R, the query counted; R = 2 m unless said"; "IGN LiDAR HD features (num_points_2m)"; XYZ; Exact;
        []; ["count_radius_2"]; |s: &Shape| s.given(Extra::CountRadius);
    BinCount "bin_count" "count" (1.0, INF); "points in the query's cell of 0.25 m in XY, from the frame's origin"; "Weinmann 2015, after Monnier 2012"; XYZ; Exact;
        []; []; |s: &Shape| s.given(Extra::BinCount);
    BinZRange "bin_z_range" "m" (0.0, INF); "max z − min z in that cell"; "Weinmann 2015, after Monnier 2012"; XYZ; Exact;
        []; []; |s: &Shape| s.given(Extra::BinZRange);
    BinZStd "bin_z_std" "m" (0.0, INF); "standard deviation of z in that cell (÷ n)"; "Weinmann 2015, after Monnier 2012"; XYZ; Exact;
        []; []; |s: &Shape| s.given(Extra::BinZStd);
    OverhangIndicator "overhang_indicator" "-" (0.0, 1.0); "1 if of the points within 0.5 m in XY some lie more than 2 m below the query and none between 0.5 m and 2 m below"; "this library, after a name of IGN LiDAR HD features"; XYZ; Exact;
        []; []; |s: &Shape| s.given(Extra::Overhang);
}

/// Features that no set holds unless it names them: they only serve to compare with other tools.
pub(crate) static COMPATIBILITY: &[Feature] = &[Feature::EigenentropyRaw];

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
    ("hsv", &[Feature::Hue, Feature::Saturation, Feature::Value]),
    ("lab", &[Feature::LabL, Feature::LabA, Feature::LabB]),
];
