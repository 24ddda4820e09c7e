// One invocation: one record, of one row in one of its neighbourhoods; turns it into one value for each requested
// feature. With MEMBERS it also goes through the sorted list that the neighbourhood is the beginning of.

struct Scale {
    // Edge of a lattice cell in the cloud's unit.
    quantum: f32,
    // What a recorded 1 counts: red, green and blue, and near-infrared.
    rgb: f32,
    nir: f32,
    // 1 if the query is a point of the cloud, and counts in its neighbourhood.
    own: u32,
    // Rows, and words from one column to the next: as many for each neighbourhood of a row.
    rows: u32,
    stride: u32,
    // Queries that have a list.
    queries: u32,
    _pad: u32,
    // The radius that a neighbourhood's rule gives; 0 if none.
    radii: array<vec4<f32>, 4>,
}

@group(0) @binding(0) var<uniform> scale: Scale;
@group(0) @binding(1) var<uniform> batch: Batch;
@group(0) @binding(2) var<storage, read> records: array<u32>;
// If COLOR, two words a row: red and green, blue and near-infrared, 16 bits each. Then one column for each extra.
@group(0) @binding(3) var<storage, read> attributes: array<u32>;
@group(0) @binding(4) var<storage, read_write> columns: array<u32>;
#if MEMBERS
// Indices into `positions`; where each query's list begins, and one more; each query's own index, and its row.
@group(0) @binding(5) var<storage, read> lists: array<u32>;
@group(0) @binding(6) var<storage, read> starts: array<u32>;
@group(0) @binding(7) var<storage, read> queries: array<vec2<u32>>;
// Three coordinates a point.
@group(0) @binding(8) var<storage, read> positions: array<f32>;
// PAYLOAD_WORDS of what is known of each point.
@group(0) @binding(9) var<storage, read> payload: array<u32>;
#end

fn value(record: u32, word: u32) -> f32 {
    return bitcast<f32>(records[record * RECORD_WORDS + word]);
}

// Eigenvectors, and eigenvalues in units of the trace, of a matrix read from a record.
fn solve(record: u32, word: u32, trace: f32) -> Eigen {
    let s = 1.0 / max(trace, 1e-30);
    return eigen(
        value(record, word) * s, value(record, word + 1u) * s, value(record, word + 2u) * s,
        value(record, word + 3u) * s, value(record, word + 4u) * s, value(record, word + 5u) * s,
    );
}

fn trace(record: u32, word: u32) -> f32 {
    return value(record, word) + value(record, word + 3u) + value(record, word + 5u);
}

fn shape(record: u32, row: u32, scale_index: u32) -> Shape {
    var s: Shape;
    let count = f32(records[record * RECORD_WORDS]);
    let per_point = scale.quantum / max(count, 1.0);
    let size = trace(record, 2u);
    let e = solve(record, 2u, size);
    s.n = count;
    s.others = max(count - f32(scale.own), 1.0);
    s.quantum = scale.quantum;
    s.lambda = e.values * (size * per_point * per_point);
    s.v1 = largest_positive(e.v1);
    s.v2 = largest_positive(e.v2);
    s.normal = upward(e.v3);
    s.sum = vec3<f32>(value(record, 8u), value(record, 9u), value(record, 10u)) * scale.quantum;
    s.covariance_xy = vec3<f32>(value(record, 2u), value(record, 3u), value(record, 5u)) * per_point * per_point;
    s.variance_z = value(record, 7u) * per_point * per_point;
    s.farthest = sqrt(value(record, 11u)) * scale.quantum;
    let radius = scale.radii[scale_index / 4u][scale_index % 4u];
    s.radius = select(s.farthest, radius, radius > 0.0);
    s.nearest = sqrt(value(record, 15u)) * scale.quantum;
    s.distance_sum = value(record, 12u) * scale.quantum;
    s.z_min = value(record, 13u) * scale.quantum;
    s.z_max = value(record, 14u) * scale.quantum;
    #if PLANE
    let rest = solve(record, 16u, trace(record, 16u));
    s.plane_normal = upward(rest.v3);
    s.plane_mean = vec3<f32>(value(record, 8u), value(record, 9u), value(record, 10u)) / s.others;
    s.plane_mean *= scale.quantum;
    s.plane_distance = -dot(s.plane_normal, s.plane_mean);
    #end
    #if EXTENT
    let extent = RECORD_WORDS - 3u;
    s.extent = vec3<f32>(value(record, extent), value(record, extent + 1u), value(record, extent + 2u)) * scale.quantum;
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
    let i = item(batch, group, local);
    if (i >= batch.end) {
        return;
    }
    #if MEMBERS
    let scale_index = i / scale.queries;
    let row = queries[i % scale.queries].y;
    #else
    let scale_index = i / scale.rows;
    let row = i % scale.rows;
    #end
    let record = scale_index * scale.rows + row;
    var s = shape(record, row, scale_index);
    var flags = records[record * RECORD_WORDS + 1u];
    #if MEMBERS
    flags |= look_around(&s, i % scale.queries);
    #end
    columns[record] = flags;
    #columns
}
