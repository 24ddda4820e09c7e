// One invocation: one query's list; sorts it by (squared distance, index), by a heap in place.

@group(0) @binding(0) var<uniform> batch: Batch;
@group(0) @binding(1) var<storage, read> positions: array<f32>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> queries: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> lists: array<u32>;

fn key(own: vec3<f32>, index: u32) -> vec2<u32> {
    return vec2<u32>(length_sq(vec3<i32>(position(index) - own)), index);
}

fn comes_before(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.x < b.x || (a.x == b.x && a.y < b.y);
}

// Puts `index` into the heap's `size` entries at or below `root`, largest first.
fn sift(own: vec3<f32>, begin: u32, root: u32, size: u32, index: u32) {
    let moved = key(own, index);
    var hole = root;
    loop {
        var child = 2u * hole + 1u;
        if (child >= size) {
            break;
        }
        var child_key = key(own, lists[begin + child]);
        if (child + 1u < size) {
            let other = key(own, lists[begin + child + 1u]);
            if (comes_before(child_key, other)) {
                child += 1u;
                child_key = other;
            }
        }
        if (!comes_before(moved, child_key)) {
            break;
        }
        lists[begin + hole] = child_key.y;
        hole = child;
    }
    lists[begin + hole] = index;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = item(batch, group, local);
    if (i >= batch.end) {
        return;
    }
    let own = position(queries[i].x);
    let begin = starts[i];
    let n = starts[i + 1u] - begin;
    for (var root = n / 2u; root > 0u; root -= 1u) {
        sift(own, begin, root - 1u, n, lists[begin + root - 1u]);
    }
    for (var size = n; size > 1u; size -= 1u) {
        let largest = lists[begin];
        let last = lists[begin + size - 1u];
        lists[begin + size - 1u] = largest;
        sift(own, begin, 0u, size - 1u, last);
    }
}
