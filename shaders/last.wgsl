// One invocation: one query; writes the squared distance and the index of its neighbourhood's last member, or the largest
// numbers there are where it has fewer than WANTED.

@group(0) @binding(0) var<uniform> batch: Batch;
@group(0) @binding(1) var<storage, read> positions: array<f32>;
@group(0) @binding(2) var<storage, read> lists: array<u32>;
@group(0) @binding(3) var<storage, read> starts: array<u32>;
@group(0) @binding(4) var<storage, read> queries: array<vec2<u32>>;
@group(0) @binding(5) var<storage, read> records: array<u32>;
// Two words a row.
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = item(batch, group, local);
    if (i >= batch.end) {
        return;
    }
    let query = queries[i];
    let n = records[query.y * RECORD_WORDS];
    if (n < WANTED) {
        output[2u * query.y] = NO_NEIGHBOR;
        output[2u * query.y + 1u] = NO_NEIGHBOR;
        return;
    }
    let index = lists[starts[i] + max(n, 1u) - 1u];
    output[2u * query.y] = length_sq(vec3<i32>(position(index) - position(query.x)));
    output[2u * query.y + 1u] = index;
}
