// One function for each row of the catalogue, in f32: `feature_<name>`. Its CPU formula stands in catalogue.rs.
// Where a formula has no value the host writes what the catalogue says, by the flags.

// The shape of one neighbourhood in the cloud's unit; the twin of `Shape` in formulas.rs.
struct Shape {
    n: f32,
    lambda: vec3<f32>,
    v1: vec3<f32>,
    v2: vec3<f32>,
    normal: vec3<f32>,
    farthest: f32,
    radius: f32,
    distance_sum: f32,
    z_min: f32,
    z_max: f32,
    variance_z: f32,
    plane_distance: f32,
    // red, green, blue, near-infrared in 0..1
    color: vec4<f32>,
}

const PI: f32 = 3.14159265;

fn lambda_sum(s: Shape) -> f32 { return s.lambda.x + s.lambda.y + s.lambda.z; }

fn entropy_term(e: f32) -> f32 { return select(0.0, -e * log(max(e, 1e-30)), e > 0.0); }

fn feature_normal_x(s: Shape) -> f32 { return s.normal.x; }
fn feature_normal_y(s: Shape) -> f32 { return s.normal.y; }
fn feature_normal_z(s: Shape) -> f32 { return s.normal.z; }
fn feature_eigenvalue_1(s: Shape) -> f32 { return s.lambda.x; }
fn feature_eigenvalue_2(s: Shape) -> f32 { return s.lambda.y; }
fn feature_eigenvalue_3(s: Shape) -> f32 { return s.lambda.z; }
fn feature_eigenvector_1_x(s: Shape) -> f32 { return s.v1.x; }
fn feature_eigenvector_1_y(s: Shape) -> f32 { return s.v1.y; }
fn feature_eigenvector_1_z(s: Shape) -> f32 { return s.v1.z; }
fn feature_eigenvector_2_x(s: Shape) -> f32 { return s.v2.x; }
fn feature_eigenvector_2_y(s: Shape) -> f32 { return s.v2.y; }
fn feature_eigenvector_2_z(s: Shape) -> f32 { return s.v2.z; }
fn feature_eigenvector_3_x(s: Shape) -> f32 { return s.normal.x; }
fn feature_eigenvector_3_y(s: Shape) -> f32 { return s.normal.y; }
fn feature_eigenvector_3_z(s: Shape) -> f32 { return s.normal.z; }
fn feature_eigenvalue_sum(s: Shape) -> f32 { return lambda_sum(s); }
fn feature_linearity(s: Shape) -> f32 { return (s.lambda.x - s.lambda.y) / s.lambda.x; }
fn feature_planarity(s: Shape) -> f32 { return (s.lambda.y - s.lambda.z) / s.lambda.x; }
fn feature_sphericity(s: Shape) -> f32 { return s.lambda.z / s.lambda.x; }
fn feature_anisotropy(s: Shape) -> f32 { return (s.lambda.x - s.lambda.z) / s.lambda.x; }
fn feature_surface_variation(s: Shape) -> f32 { return s.lambda.z / lambda_sum(s); }
// Of the ratios to λ1, whose product does not underflow.
fn feature_omnivariance(s: Shape) -> f32 {
    return s.lambda.x * pow((s.lambda.y / s.lambda.x) * (s.lambda.z / s.lambda.x), 1.0 / 3.0);
}
fn feature_eigenentropy(s: Shape) -> f32 {
    let e = s.lambda / lambda_sum(s);
    return entropy_term(e.x) + entropy_term(e.y) + entropy_term(e.z);
}
fn feature_verticality(s: Shape) -> f32 { return 1.0 - abs(s.normal.z); }
fn feature_horizontality(s: Shape) -> f32 { return abs(s.normal.z); }
fn feature_slope(s: Shape) -> f32 { return atan2(length(s.normal.xy), abs(s.normal.z)) * (180.0 / PI); }
fn feature_roughness(s: Shape) -> f32 { return abs(s.plane_distance); }
fn feature_neighbor_count(s: Shape) -> f32 { return s.n; }
fn feature_knn_distance(s: Shape) -> f32 { return s.farthest; }
fn feature_mean_distance(s: Shape) -> f32 { return s.distance_sum / max(s.n - 1.0, 1.0); }
fn feature_density_3d(s: Shape) -> f32 { return s.n / (4.0 / 3.0 * PI * s.radius * s.radius * s.radius); }
fn feature_density_surface(s: Shape) -> f32 { return s.n / (PI * s.radius * s.radius); }
fn feature_vertical_std(s: Shape) -> f32 { return sqrt(s.variance_z); }
fn feature_vertical_range(s: Shape) -> f32 { return s.z_max - s.z_min; }
fn feature_building_regularity(s: Shape) -> f32 { return feature_planarity(s) * (1.0 - feature_sphericity(s)); }
fn feature_red(s: Shape) -> f32 { return s.color.x; }
fn feature_green(s: Shape) -> f32 { return s.color.y; }
fn feature_blue(s: Shape) -> f32 { return s.color.z; }
fn feature_nir(s: Shape) -> f32 { return s.color.w; }
fn feature_ndvi(s: Shape) -> f32 { return (s.color.w - s.color.x) / (s.color.w + s.color.x); }
fn feature_excess_green(s: Shape) -> f32 { return 2.0 * s.color.y - s.color.x - s.color.z; }
