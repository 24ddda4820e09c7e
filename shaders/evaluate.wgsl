// One invocation: one row; turns its record into one value for each requested feature.

struct Scale {
    // Edge of a lattice cell in the cloud's unit.
    quantum: f32,
    // What a recorded 1 counts: red, green and blue, and near-infrared.
    rgb: f32,
    nir: f32,
    // The radius that the neighbourhood's rule gives; 0 if none.
    radius: f32,
    // Rows of the columns, and words from one column to the next.
    stride: u32,
    // 1 if the query is a point of the cloud, and counts in its neighbourhood.
    own: u32,
    _pad1: u32,
    _pad2: u32,
}

@group(0) @binding(0) var<uniform> scale: Scale;
@group(0) @binding(1) var<uniform> batch: Batch;
@group(0) @binding(2) var<storage, read> records: array<u32>;
// If COLOR, two words a row: red and green, blue and near-infrared, 16 bits each. Then one column for each extra.
@group(0) @binding(3) var<storage, read> attributes: array<u32>;
@group(0) @binding(4) var<storage, read_write> columns: array<u32>;

fn value(row: u32, word: u32) -> f32 {
    return bitcast<f32>(records[row * RECORD_WORDS + word]);
}

// Eigenvectors, and eigenvalues in units of the trace, of a matrix read from a record.
fn solve(row: u32, word: u32, trace: f32) -> Eigen {
    let s = 1.0 / max(trace, 1e-30);
    return eigen(
        value(row, word) * s, value(row, word + 1u) * s, value(row, word + 2u) * s,
        value(row, word + 3u) * s, value(row, word + 4u) * s, value(row, word + 5u) * s,
    );
}

fn trace(row: u32, word: u32) -> f32 {
    return value(row, word) + value(row, word + 3u) + value(row, word + 5u);
}

fn shape(row: u32) -> Shape {
    var s: Shape;
    let count = f32(records[row * RECORD_WORDS]);
    let per_point = scale.quantum / max(count, 1.0);
    let size = trace(row, 2u);
    let e = solve(row, 2u, size);
    s.n = count;
    s.others = max(count - f32(scale.own), 1.0);
    s.lambda = e.values * (size * per_point * per_point);
    s.v1 = largest_positive(e.v1);
    s.v2 = largest_positive(e.v2);
    s.normal = upward(e.v3);
    s.sum = vec3<f32>(value(row, 8u), value(row, 9u), value(row, 10u)) * scale.quantum;
    s.covariance_xy = vec3<f32>(value(row, 2u), value(row, 3u), value(row, 5u)) * per_point * per_point;
    s.variance_z = value(row, 7u) * per_point * per_point;
    s.farthest = sqrt(value(row, 11u)) * scale.quantum;
    s.radius = select(s.farthest, scale.radius, scale.radius > 0.0);
    s.nearest = sqrt(value(row, 15u)) * scale.quantum;
    s.distance_sum = value(row, 12u) * scale.quantum;
    s.z_min = value(row, 13u) * scale.quantum;
    s.z_max = value(row, 14u) * scale.quantum;
    #if PLANE
    let rest = solve(row, 16u, trace(row, 16u));
    let mean = vec3<f32>(value(row, 8u), value(row, 9u), value(row, 10u)) / s.others;
    s.plane_distance = -dot(upward(rest.v3), mean) * scale.quantum;
    #end
    #if EXTENT
    let extent = RECORD_WORDS - 3u;
    s.extent = vec3<f32>(value(row, extent), value(row, extent + 1u), value(row, extent + 2u)) * scale.quantum;
    #end
    #if COLOR
    let packed = vec2<u32>(attributes[2u * row], attributes[2u * row + 1u]);
    let rgb = vec3<f32>(f32(packed.x & 0xffffu), f32(packed.x >> 16u), f32(packed.y & 0xffffu));
    s.recorded = rgb;
    s.color = vec4<f32>(rgb * scale.rgb, f32(packed.y >> 16u) * scale.nir);
    #end
    #extras
    return s;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = item(batch, group, local);
    if (row >= batch.end) {
        return;
    }
    let s = shape(row);
    columns[row] = records[row * RECORD_WORDS + 1u];
    #columns
}
