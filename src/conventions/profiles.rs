//! The one table of other tools' conventions. docs/conventions.md compares them with ours, feature by
//! feature.

use super::{Conventions, CovNorm, Degenerate, EigenScale, Entropy, KSemantics, LineNormal};
use crate::features::Feature::{self, *};

pub(super) const NAMES: [&str; 6] = ["ours", "pgeof", "jakteristics", "cloudcompare", "pdal", "open3d"];

/// In the order of [`NAMES`].
pub(super) static PROFILES: [Conventions; 6] = [OURS, PGEOF, JAKTERISTICS, CLOUDCOMPARE, PDAL, OPEN3D];

/// All that knobs are about.
const ALL: &[Feature] = &[
    Eigenvalue1,
    Eigenvalue2,
    Eigenvalue3,
    EigenvalueSum,
    Linearity,
    Planarity,
    Sphericity,
    Anisotropy,
    SurfaceVariation,
    Omnivariance,
    Eigenentropy,
    Pca1,
    Pca2,
    Length,
    Surface,
    Volume,
    Verticality,
    VerticalityUnary,
    NormalX,
    NormalY,
    NormalZ,
];

const OURS: Conventions = Conventions {
    cov_norm: CovNorm::Population,
    eigen_scale: EigenScale::Raw,
    variation_sum: EigenScale::Raw,
    unary_weights: EigenScale::Raw,
    verticality: super::Verticality::Normal,
    entropy: Entropy::Normalized,
    epsilon: 0.0,
    k_semantics: KSemantics::IncludeSelf,
    min_members: 3,
    few: Degenerate::Nan,
    identical: Degenerate::Nan,
    identical_normal: None,
    line_normal: LineNormal::Nan,
    redefines: ALL,
};

const PGEOF: Conventions = Conventions {
    eigen_scale: EigenScale::Sqrt,
    variation_sum: EigenScale::Sqrt,
    entropy: Entropy::Stabilized,
    epsilon: 1e-3,
    min_members: 1,
    few: Degenerate::Zero,
    identical: Degenerate::Zero,
    identical_normal: Some([1.0, 0.0, 0.0]),
    line_normal: LineNormal::MostVertical,
    redefines: &[
        Linearity,
        Planarity,
        Sphericity,
        SurfaceVariation,
        Eigenentropy,
        Length,
        Surface,
        Volume,
        Verticality,
        VerticalityUnary,
        NormalX,
        NormalY,
        NormalZ,
    ],
    ..OURS
};

const JAKTERISTICS: Conventions = Conventions {
    cov_norm: CovNorm::Sample,
    entropy: Entropy::Scaled,
    min_members: 2,
    line_normal: LineNormal::MostVertical,
    redefines: &[
        Eigenvalue1,
        Eigenvalue2,
        Eigenvalue3,
        EigenvalueSum,
        Linearity,
        Planarity,
        Sphericity,
        Anisotropy,
        SurfaceVariation,
        Omnivariance,
        Eigenentropy,
        Pca1,
        Pca2,
        Verticality,
        NormalX,
        NormalY,
        NormalZ,
    ],
    ..OURS
};

const CLOUDCOMPARE: Conventions = Conventions {
    entropy: Entropy::Scaled,
    min_members: 4,
    identical_normal: Some([0.0, 0.0, 1.0]),
    line_normal: LineNormal::MostVertical,
    redefines: &[
        Eigenvalue1,
        Eigenvalue2,
        Eigenvalue3,
        EigenvalueSum,
        Linearity,
        Planarity,
        Sphericity,
        Anisotropy,
        SurfaceVariation,
        Omnivariance,
        Eigenentropy,
        Pca1,
        Pca2,
        Verticality,
    ],
    ..OURS
};

const PDAL: Conventions = Conventions {
    cov_norm: CovNorm::Sample,
    eigen_scale: EigenScale::Sqrt,
    unary_weights: EigenScale::Sqrt,
    verticality: super::Verticality::Unary,
    entropy: Entropy::Scaled,
    k_semantics: KSemantics::ExcludeSelf,
    few: Degenerate::Zero,
    identical: Degenerate::Zero,
    identical_normal: Some([0.0; 3]),
    line_normal: LineNormal::MostVertical,
    redefines: &[
        Eigenvalue1,
        Eigenvalue2,
        Eigenvalue3,
        EigenvalueSum,
        Linearity,
        Planarity,
        Sphericity,
        Anisotropy,
        SurfaceVariation,
        Omnivariance,
        Eigenentropy,
        Verticality,
        VerticalityUnary,
        NormalX,
        NormalY,
        NormalZ,
    ],
    ..OURS
};

const OPEN3D: Conventions = Conventions {
    few: Degenerate::Up,
    identical_normal: Some([0.0, 0.0, 1.0]),
    line_normal: LineNormal::MostVertical,
    redefines: &[NormalX, NormalY, NormalZ],
    ..OURS
};

impl Conventions {
    /// This library's own, as the catalogue says: nothing is rewritten.
    pub const fn ours() -> Self {
        OURS
    }

    /// pgeof 0.3.4 (and Superpoint Transformer, which uses it), `compute_features` with its default `k_min` =
    /// 1, and `compute_features_selected`: √λ, ε = 1e-3 in every divisor, k as given.
    ///
    /// `sphericity` is its scattering, `surface_variation` its curvature, `verticality` its `Verticality` (1
    /// − |nz|) and `verticality_unary` its `VerticalityPGEOF`, which `compute_features` calls verticality.
    /// `compute_features_selected` writes zeros for a point alone: set [`min_members`](Self::min_members) to
    /// 2.
    ///
    /// `compute_features` works in f32, which leaves half the digits of a small √λ3: that is not imitated.
    /// Where all members are at one place its normal is (1, 0, 0), where they are on a line some direction
    /// across it.
    pub const fn pgeof() -> Self {
        PGEOF
    }

    /// jakteristics 0.6.2: covariance over n − 1, eigenentropy not normalised, NaN for a point alone. It
    /// searches by radius only.
    ///
    /// Its normal is v1 × v2 with the signs that LAPACK leaves: ours point up. It matches vectors to sorted
    /// eigenvalues with an absolute tolerance of 1e-5 m², so that its normals are wrong or NaN where two
    /// eigenvalues are closer: that is not imitated, nor is its `verticality` of 1 where all members are at
    /// one place (NaN here, as its normal). Where an eigenvalue vanishes its eigenentropy is NaN or that of
    /// the others, by rounding: here the latter.
    pub const fn jakteristics() -> Self {
        JAKTERISTICS
    }

    /// CloudCompare's geometric features (CCCoreLib `Neighbourhood::computeFeature`): eigenentropy not
    /// normalised, NaN below four members. It searches by radius only.
    ///
    /// Its eigenvalues are not kept from falling below zero, so that its omnivariance and eigenentropy are
    /// NaN on some planes, by rounding: here they are the limit. Roughness, densities and normals are ours
    /// already.
    pub const fn cloudcompare() -> Self {
        CLOUDCOMPARE
    }

    /// PDAL: `filters.covariancefeatures` with its default mode (√λ), `filters.eigenvalues` and
    /// `filters.normal`. Covariance over n − 1, zeros below three members, `k` without the query.
    ///
    /// `verticality` is its `Verticality`, the unary one weighted by √λ; its `DemantkeVerticality` is 1 − our
    /// `horizontality`. `surface_variation` is its `SurfaceVariation`, √λ3/Σλ, in 1/m; the `Curvature` of
    /// `filters.normal` is ours without a profile. Its `approximatecoplanar` and `estimaterank` count the
    /// query in `k`, unlike the others. Versions that stop with an error where all members are at one place
    /// are not imitated: zeros, as in those that skip.
    pub const fn pdal() -> Self {
        PDAL
    }

    /// Open3D (legacy `EstimateNormals`): normals of (0, 0, 1) below three members and where all are at one
    /// place.
    ///
    /// Nothing but normals: it has no other feature of ours. Their signs are its solver's, ours point up; its
    /// `orient_normals_to_align_with_direction` does the same. On a line parallel to an axis its fast solver
    /// may return a direction along the line: here one across.
    pub const fn open3d() -> Self {
        OPEN3D
    }
}
