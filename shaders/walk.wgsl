// One invocation: one query with the sorted list of its neighbours; writes the record of each of its neighbourhoods, all
// of which are beginnings of that list. They end after so many members (COUNTS) or at a radius (LIMITS); the last may end
// where the eigenentropy is least (OPTIMAL).

@group(0) @binding(0) var<uniform> grid: Grid;
@group(0) @binding(1) var<uniform> batch: Batch;
// Three coordinates a point.
@group(0) @binding(2) var<storage, read> positions: array<f32>;
// Indices into `positions`; lists may end early with NO_NEIGHBOR.
@group(0) @binding(3) var<storage, read> lists: array<u32>;
// Where each query's list begins; one more than queries.
@group(0) @binding(4) var<storage, read> starts: array<u32>;
// Each query's own position, and its row.
@group(0) @binding(5) var<storage, read> queries: array<vec2<u32>>;
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

fn end_of(scale: u32) -> u32 {
    return grid.ends[scale / 4u][scale % 4u];
}

#if OPTIMAL
fn to_f32(a: vec2<u32>) -> f32 {
    let m = abs64(a);
    let value = f32(m.y) * 4294967296.0 + f32(m.x);
    return select(value, -value, is_negative64(a));
}

// Eigenentropy of the members summed up so far; ln 3 where they have no shape.
fn entropy(s: Sums) -> f32 {
    let n = f32(s.count);
    let mean = vec3<f32>(s.sum) / n;
    let a = vec3<f32>(to_f32(square(s.squares, 0u)), to_f32(square(s.squares, 3u)), to_f32(square(s.squares, 5u)));
    let b = vec3<f32>(to_f32(square(s.squares, 1u)), to_f32(square(s.squares, 2u)), to_f32(square(s.squares, 4u)));
    let diagonal = max(a / n - mean * mean, vec3<f32>(0.0));
    let other = b / n - vec3<f32>(mean.x * mean.y, mean.x * mean.z, mean.y * mean.z);
    let trace = diagonal.x + diagonal.y + diagonal.z;
    if (s.count < 3u || s.zeros == s.count || trace <= 0.0) {
        return 1.0986123;
    }
    let values = max(eigenvalues(diagonal / trace, other / trace), vec3<f32>(1e-30));
    return -dot(values, log(values));
}
#end

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = item(batch, group, local);
    if (i >= batch.end) {
        return;
    }
    let query = queries[i];
    let own = position(query.x);
    let begin = starts[i];
    let end = starts[i + 1u];
    var sums = no_sums();
    var next = 0u;
    #if OPTIMAL
    var best = 1e30;
    var best_count = end - begin;
    let least = end_of(SCALES);
    let most = end_of(SCALES + 1u);
    let step = end_of(SCALES + 2u);
    #end
    for (var j = begin; j < end; j += 1u) {
        let index = lists[j];
        if (index == NO_NEIGHBOR) {
            break;
        }
        let o = vec3<i32>(position(index) - own);
        let d = length_sq(o);
        #if LIMITS
        while (next < SCALES && d > end_of(next)) {
            write_record(next * grid.rows + query.y, sums);
            next += 1u;
        }
        sums = with_member(sums, o, d);
        #else
        if (d > grid.limit) {
            break;
        }
        #if COUNTS
        sums = with_member(sums, o, d);
        while (next < SCALES && sums.count >= end_of(next)) {
            write_record(next * grid.rows + query.y, sums);
            next += 1u;
        }
        #else
        sums = with_shape_of(sums, o, d);
        #end
        #if OPTIMAL
        let n = sums.count;
        if (n >= least && n <= most && (n - least) % step == 0u) {
            let here = entropy(sums);
            if (here < best) {
                best = here;
                best_count = n;
            }
        }
        #else
        if (next == SCALES) {
            break;
        }
        #end
        #end
    }
    while (next < SCALES) {
        write_record(next * grid.rows + query.y, sums);
        next += 1u;
    }
    #if OPTIMAL
    sums = no_sums();
    for (var j = begin; j < begin + best_count; j += 1u) {
        let index = lists[j];
        if (index == NO_NEIGHBOR) {
            break;
        }
        let o = vec3<i32>(position(index) - own);
        sums = with_member(sums, o, length_sq(o));
    }
    write_record(SCALES * grid.rows + query.y, sums);
    #end
}
