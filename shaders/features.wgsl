// One function for each row of the catalogue, in f32: `feature_<name>`. Its CPU formula stands in catalogue.rs.
// Where a formula has no value the host writes what the catalogue says, by the flags.

// The shape of one neighbourhood in the cloud's unit; the twin of `Shape` in formulas.rs.
struct Shape {
    n: f32,
    // Members but the query, which is none if it is no point of the cloud; one where there is none to divide zeros by.
    others: f32,
    lambda: vec3<f32>,
    v1: vec3<f32>,
    v2: vec3<f32>,
    normal: vec3<f32>,
    farthest: f32,
    // Sum of the members' offsets from the query.
    sum: vec3<f32>,
    // xx, xy, yy
    covariance_xy: vec3<f32>,
    radius: f32,
    nearest: f32,
    distance_sum: f32,
    z_min: f32,
    z_max: f32,
    // Of the bounding box: a difference of z_max and z_min would round where the query is far from all members.
    extent: vec3<f32>,
    variance_z: f32,
    plane_distance: f32,
    // The plane through the members but the query: its unit normal, and their mean.
    plane_normal: vec3<f32>,
    plane_mean: vec3<f32>,
    around: Around,
    quantum: f32,
    // red, green, blue, near-infrared in 0..1
    color: vec4<f32>,
    // red, green, blue as recorded: whole numbers, whose differences are exact
    recorded: vec3<f32>,
    // Extras: values of searches of their own, 0 where no feature takes them.
    height_above_ground: f32,
    height_in_metres: f32,
    ground_distance: f32,
    is_ground: f32,
    height_above_min: f32,
    relative_height: f32,
    density_2d: f32,
    echo_ratio: f32,
    count_radius: f32,
    bin_count: f32,
    bin_z_range: f32,
    bin_z_std: f32,
    overhang: f32,
}

// Sums over the members; zero where no feature needs them. The twin of `Around` in around.rs.
struct Around {
    plane_mean: f32,
    slopes: vec2<f32>,
    // fxx, fxy, fyy
    bends: vec3<f32>,
    // Mean and standard deviation of intensity, red, green, blue, near-infrared and ndvi.
    channels: array<vec2<f32>, 6>,
    normal_variation: f32,
    reach: f32,
    lof: f32,
    one_sided: f32,
}

const PI: f32 = 3.14159265;

fn lambda_sum(s: Shape) -> f32 { return s.lambda.x + s.lambda.y + s.lambda.z; }

fn ej(s: Shape) -> vec3<f32> { return s.lambda / lambda_sum(s); }

// What a ratio to λ1 counts as at least in a logarithm: 2^-20.
const FLOOR: f32 = 9.5367431640625e-7;

// Ratios to λ1.
fn floored(s: Shape) -> vec3<f32> { return max(s.lambda / s.lambda.x, vec3<f32>(FLOOR)); }

fn moment_2(n: f32, lambda: f32, moment_1: f32) -> f32 { return n * lambda + moment_1 * moment_1 / n; }

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
// In f32 the smallest eigenvalues cannot underflow unless λ1 does.
fn feature_eigenentropy_raw(s: Shape) -> f32 {
    return entropy_term(s.lambda.x) + entropy_term(s.lambda.y) + entropy_term(s.lambda.z);
}
fn feature_pca1(s: Shape) -> f32 { return ej(s).x; }
fn feature_pca2(s: Shape) -> f32 { return ej(s).y; }
fn feature_barycentric_alpha(s: Shape) -> f32 { return (s.lambda.x - s.lambda.y) / lambda_sum(s); }
fn feature_barycentric_beta(s: Shape) -> f32 { return 2.0 * (s.lambda.y - s.lambda.z) / lambda_sum(s); }
fn feature_dimensionality(s: Shape) -> f32 {
    let sigma = sqrt(s.lambda);
    let line = sigma.x - sigma.y;
    let plane = sigma.y - sigma.z;
    return select(select(3.0, 2.0, plane >= sigma.z), 1.0, line >= plane && line >= sigma.z);
}
fn feature_degree_of_planarity(s: Shape) -> f32 { return -log(floored(s).z); }
fn feature_degree_of_linearity(s: Shape) -> f32 {
    let f = floored(s);
    return -log(f.y) / max(log(f.y / f.z), FLOOR);
}
fn feature_length(s: Shape) -> f32 { return sqrt(s.lambda.x); }
fn feature_surface(s: Shape) -> f32 { return sqrt(sqrt(s.lambda.x) * sqrt(s.lambda.y)); }
// Of the ratios to λ1, whose product does not underflow; a power of zero would be left to the driver.
fn feature_volume(s: Shape) -> f32 {
    let product = (s.lambda.y / s.lambda.x) * (s.lambda.z / s.lambda.x);
    return sqrt(s.lambda.x) * pow(max(product, 1e-37), 1.0 / 6.0);
}
fn feature_verticality_unary(s: Shape) -> f32 {
    let u = (s.lambda.x * abs(s.v1) + s.lambda.y * abs(s.v2) + s.lambda.z * abs(s.normal)) / s.lambda.x;
    return u.z / length(u);
}
fn feature_aspect(s: Shape) -> f32 {
    if (feature_slope(s) < 1e-3) {
        return 0.0;
    }
    // Of the magnitude of nx: where nx is -0 or just below, SwiftShader's atan2 may give a half turn.
    let degrees = atan2(abs(s.normal.x), s.normal.y) * (180.0 / PI);
    return select(degrees, 360.0 - degrees, s.normal.x < 0.0 && degrees > 2e-5);
}
fn feature_moment_1_axis1(s: Shape) -> f32 { return dot(s.sum, s.v1); }
fn feature_moment_1_axis2(s: Shape) -> f32 { return dot(s.sum, s.v2); }
fn feature_moment_2_axis1(s: Shape) -> f32 { return moment_2(s.n, s.lambda.x, dot(s.sum, s.v1)); }
fn feature_moment_2_axis2(s: Shape) -> f32 { return moment_2(s.n, s.lambda.y, dot(s.sum, s.v2)); }
fn feature_moment_order_1(s: Shape) -> f32 {
    // In units of σ1, so that squares do not overflow.
    let sigma = sqrt(s.lambda.x);
    let first = dot(s.sum / sigma, s.v2);
    return first * first / max(moment_2(s.n, s.lambda.y / s.lambda.x, first), 1e-30);
}
fn feature_barycenter_offset(s: Shape) -> f32 { return length(s.sum / s.n); }
fn feature_plane_distance(s: Shape) -> f32 { return s.plane_distance; }
fn feature_plane_fit(s: Shape) -> f32 {
    let own = abs(s.plane_distance);
    let all = own + s.around.plane_mean;
    return select(own / max(all, 1e-30), 0.0, all <= s.farthest / 65536.0);
}
fn feature_mean_curvature(s: Shape) -> f32 {
    let f = s.around.slopes;
    let b = s.around.bends;
    let q = 1.0 + dot(f, f);
    let h = (1.0 + f.x * f.x) * b.z - 2.0 * f.x * f.y * b.y + (1.0 + f.y * f.y) * b.x;
    return abs(h) / (2.0 * q * sqrt(q));
}
fn feature_gaussian_curvature(s: Shape) -> f32 {
    let b = s.around.bends;
    let q = 1.0 + dot(s.around.slopes, s.around.slopes);
    return abs(b.x * b.z - b.y * b.y) / (q * q);
}
fn feature_normal_variation(s: Shape) -> f32 { return s.around.normal_variation; }
fn feature_optimal_k(s: Shape) -> f32 { return s.n; }
fn feature_optimal_radius(s: Shape) -> f32 { return s.farthest; }
fn feature_optimal_entropy(s: Shape) -> f32 {
    return select(feature_eigenentropy(s), 1.0986123, s.n < 3.0 || s.lambda.x <= 0.0);
}
fn feature_reachability_density(s: Shape) -> f32 { return 1.0 / max(s.around.reach, LEAST_REACH * s.quantum); }
fn feature_lof(s: Shape) -> f32 { return s.around.lof; }
fn feature_reciprocity(s: Shape) -> f32 { return 100.0 * s.around.one_sided; }
fn feature_intensity_mean(s: Shape) -> f32 { return s.around.channels[0].x; }
fn feature_intensity_std(s: Shape) -> f32 { return s.around.channels[0].y; }
fn feature_red_mean(s: Shape) -> f32 { return s.around.channels[1].x; }
fn feature_red_std(s: Shape) -> f32 { return s.around.channels[1].y; }
fn feature_green_mean(s: Shape) -> f32 { return s.around.channels[2].x; }
fn feature_green_std(s: Shape) -> f32 { return s.around.channels[2].y; }
fn feature_blue_mean(s: Shape) -> f32 { return s.around.channels[3].x; }
fn feature_blue_std(s: Shape) -> f32 { return s.around.channels[3].y; }
fn feature_nir_mean(s: Shape) -> f32 { return s.around.channels[4].x; }
fn feature_nir_std(s: Shape) -> f32 { return s.around.channels[4].y; }
fn feature_ndvi_mean(s: Shape) -> f32 { return s.around.channels[5].x; }
fn feature_ndvi_std(s: Shape) -> f32 { return s.around.channels[5].y; }
fn feature_is_coplanar(s: Shape) -> f32 {
    return select(0.0, 1.0, s.lambda.y > 25.0 * s.lambda.z && 6.0 * s.lambda.y > s.lambda.x);
}
fn feature_rank(s: Shape) -> f32 {
    return dot(vec3<f32>(1.0), select(vec3<f32>(0.0), vec3<f32>(1.0), s.lambda > vec3<f32>(0.01 * s.lambda.x)));
}
fn feature_neighbor_count(s: Shape) -> f32 { return s.n; }
fn feature_knn_distance(s: Shape) -> f32 { return s.farthest; }
fn feature_mean_distance(s: Shape) -> f32 { return s.distance_sum / s.others; }
fn feature_density_3d(s: Shape) -> f32 { return s.n / (4.0 / 3.0 * PI * s.radius * s.radius * s.radius); }
fn feature_density_surface(s: Shape) -> f32 { return s.n / (PI * s.radius * s.radius); }
fn feature_vertical_std(s: Shape) -> f32 { return sqrt(s.variance_z); }
fn feature_vertical_range(s: Shape) -> f32 { return s.extent.z; }
fn feature_nearest_distance(s: Shape) -> f32 { return s.nearest; }
fn feature_std_distance(s: Shape) -> f32 {
    // In units of r, so that squares neither overflow nor underflow.
    let r = max(s.radius, 1e-30);
    let offset = s.sum / r;
    let squares = s.n * (lambda_sum(s) / r / r) + dot(offset, offset) / s.n;
    let mean = s.distance_sum / r / s.others;
    return r * sqrt(max(squares / s.others - mean * mean, 0.0));
}
fn feature_extent_x(s: Shape) -> f32 { return s.extent.x; }
fn feature_extent_y(s: Shape) -> f32 { return s.extent.y; }
fn feature_extent_z(s: Shape) -> f32 { return s.extent.z; }
fn feature_neighborhood_extent(s: Shape) -> f32 { return length(s.extent); }
fn feature_height_extent_ratio(s: Shape) -> f32 {
    let flat = length(s.extent.xy);
    return select(s.extent.z / max(flat, 1e-30), 0.0, flat == 0.0);
}
fn feature_z_below(s: Shape) -> f32 { return 0.0 - s.z_min; }
fn feature_z_above(s: Shape) -> f32 { return s.z_max; }
fn feature_eigenvalue_sum_2d(s: Shape) -> f32 { return s.covariance_xy.x + s.covariance_xy.z; }
fn feature_eigenvalue_ratio_2d(s: Shape) -> f32 {
    let c = s.covariance_xy / max(feature_eigenvalue_sum_2d(s), 1e-30);
    let apart = length(vec2<f32>(c.x - c.z, 2.0 * c.y));
    return max(1.0 - apart, 0.0) / (1.0 + apart);
}
fn feature_outlier_score(s: Shape) -> f32 { return feature_mean_distance(s); }
fn feature_wall_score(s: Shape) -> f32 { return feature_planarity(s) * feature_verticality(s); }
fn feature_roof_score(s: Shape) -> f32 { return feature_planarity(s) * feature_horizontality(s); }
// Rounding may leave a planarity, or 1 − |nz|, just below zero.
fn feature_wall_likelihood(s: Shape) -> f32 { return sqrt(max(feature_wall_score(s), 0.0)); }
fn feature_roof_likelihood(s: Shape) -> f32 { return sqrt(max(feature_roof_score(s), 0.0)); }
fn feature_edge_strength(s: Shape) -> f32 {
    return 3.0 * feature_surface_variation(s) * (1.0 - feature_sphericity(s));
}
fn feature_corner_likelihood(s: Shape) -> f32 {
    let e = ej(s);
    return 27.0 * e.x * e.y * e.z;
}
fn feature_building_regularity(s: Shape) -> f32 { return feature_planarity(s) * (1.0 - feature_sphericity(s)); }
fn feature_red(s: Shape) -> f32 { return s.color.x; }
fn feature_green(s: Shape) -> f32 { return s.color.y; }
fn feature_blue(s: Shape) -> f32 { return s.color.z; }
fn feature_nir(s: Shape) -> f32 { return s.color.w; }
fn feature_ndvi(s: Shape) -> f32 { return (s.color.w - s.color.x) / (s.color.w + s.color.x); }
fn feature_excess_green(s: Shape) -> f32 { return 2.0 * s.color.y - s.color.x - s.color.z; }
fn feature_gndvi(s: Shape) -> f32 { return (s.color.w - s.color.y) / (s.color.w + s.color.y); }
// The recorded numbers' difference is exact; their scale cancels.
fn feature_vegetation_index(s: Shape) -> f32 {
    return (s.recorded.y - s.recorded.x) / (s.recorded.y + s.recorded.x);
}
fn feature_rgb_mean(s: Shape) -> f32 { return (s.color.x + s.color.y + s.color.z) / 3.0; }
fn feature_rgb_std(s: Shape) -> f32 { return length(s.color.xyz - vec3<f32>(feature_rgb_mean(s))) * 0.57735027; }
fn feature_rgb_range(s: Shape) -> f32 {
    return feature_value(s) - min(s.color.x, min(s.color.y, s.color.z));
}

fn recorded_max(s: Shape) -> f32 { return max(s.recorded.x, max(s.recorded.y, s.recorded.z)); }
fn recorded_range(s: Shape) -> f32 {
    return recorded_max(s) - min(s.recorded.x, min(s.recorded.y, s.recorded.z));
}

fn feature_hue(s: Shape) -> f32 {
    let c = s.recorded;
    let most = recorded_max(s);
    let range = max(recorded_range(s), 1.0);
    var sixths = (c.y - c.z) / range;
    if (most == c.x) {
        sixths = select(sixths, sixths + 6.0, sixths < 0.0);
    } else if (most == c.y) {
        sixths = 2.0 + (c.z - c.x) / range;
    } else {
        sixths = 4.0 + (c.x - c.y) / range;
    }
    return sixths / 6.0;
}
fn feature_saturation(s: Shape) -> f32 { return recorded_range(s) / max(recorded_max(s), 1.0); }
fn feature_value(s: Shape) -> f32 { return max(s.color.x, max(s.color.y, s.color.z)); }

// sRGB's transfer curve undone, for each channel.
fn linear_rgb(c: vec3<f32>) -> vec3<f32> {
    return select(pow((c + 0.055) / 1.055, vec3<f32>(2.4)), c / 12.92, c <= vec3<f32>(0.04045));
}
// Cube root, with CIE's straight line near zero.
fn response(t: f32) -> f32 {
    return select(t * (841.0 / 108.0) + 4.0 / 29.0, pow(max(t, 1e-6), 1.0 / 3.0), t > 216.0 / 24389.0);
}
// Rows of IEC 61966-2-1 over the white point of D65.
fn lab_x(s: Shape) -> f32 {
    return response(dot(linear_rgb(s.color.xyz), vec3<f32>(0.4124564, 0.3575761, 0.1804375)) / 0.95047);
}
fn lab_y(s: Shape) -> f32 { return response(dot(linear_rgb(s.color.xyz), vec3<f32>(0.2126729, 0.7151522, 0.0721750))); }
fn lab_z(s: Shape) -> f32 {
    return response(dot(linear_rgb(s.color.xyz), vec3<f32>(0.0193339, 0.1191920, 0.9503041)) / 1.08883);
}
fn feature_lab_l(s: Shape) -> f32 { return 1.16 * lab_y(s) - 0.16; }
fn feature_lab_a(s: Shape) -> f32 { return 5.0 * (lab_x(s) - lab_y(s)); }
fn feature_lab_b(s: Shape) -> f32 { return 2.0 * (lab_y(s) - lab_z(s)); }
fn feature_height_above_ground(s: Shape) -> f32 { return s.height_above_ground; }
fn feature_ground_distance(s: Shape) -> f32 { return s.ground_distance; }
fn feature_is_ground(s: Shape) -> f32 { return s.is_ground; }
fn feature_height_above_min(s: Shape) -> f32 { return s.height_above_min; }
fn feature_relative_height(s: Shape) -> f32 { return s.relative_height; }
// Height above ground as a part of so many metres.
fn height_part(s: Shape, metres: f32) -> f32 { return clamp(s.height_in_metres / metres, 0.0, 1.0); }
fn feature_facade_score(s: Shape) -> f32 { return feature_wall_score(s) * height_part(s, 2.0); }
// For slopes that fit: rising to 1 up to `rising`, falling from `falling` on, both within 10 degrees.
fn roof_score_of(s: Shape, rising: f32, falling: f32) -> f32 {
    let slope = feature_slope(s);
    let fit = min((slope - rising) * 0.1 + 1.0, 1.0 - (slope - falling) * 0.1);
    return feature_planarity(s) * height_part(s, 2.0) * clamp(fit, 0.0, 1.0);
}
fn feature_flat_roof_score(s: Shape) -> f32 { return roof_score_of(s, 0.0, 10.0); }
fn feature_sloped_roof_score(s: Shape) -> f32 { return roof_score_of(s, 20.0, 40.0); }
fn feature_steep_roof_score(s: Shape) -> f32 { return roof_score_of(s, 50.0, 65.0); }
fn feature_opening_likelihood(s: Shape) -> f32 {
    return (1.0 - feature_planarity(s)) * feature_linearity(s) * feature_verticality(s) * height_part(s, 1.0);
}
fn feature_structural_element_score(s: Shape) -> f32 {
    return feature_linearity(s) * abs(s.v1.z) * height_part(s, 1.0);
}
fn feature_density_2d(s: Shape) -> f32 { return s.density_2d; }
fn feature_echo_ratio(s: Shape) -> f32 { return s.echo_ratio; }
fn feature_count_radius(s: Shape) -> f32 { return s.count_radius; }
fn feature_bin_count(s: Shape) -> f32 { return s.bin_count; }
fn feature_bin_z_range(s: Shape) -> f32 { return s.bin_z_range; }
fn feature_bin_z_std(s: Shape) -> f32 { return s.bin_z_std; }
fn feature_overhang_indicator(s: Shape) -> f32 { return s.overhang; }
