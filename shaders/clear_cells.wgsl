// One workgroup: SCAN_ITEMS * WORKGROUP counters of cells; zeroes those in use, which are few of what there is room for.

@group(0) @binding(0) var<uniform> grid: Grid;
@group(0) @binding(1) var<uniform> batch: Batch;
// Behind the cubes' first cells, the number of all.
@group(0) @binding(2) var<storage, read> cube_bases: array<u32>;
@group(0) @binding(3) var<storage, read_write> cell_counts: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first = (group.y * batch.width + group.x) * WORKGROUP * SCAN_ITEMS;
    let used = min(cube_bases[grid.cube_count] + 1u, batch.end);
    for (var i = first + local; i < min(first + WORKGROUP * SCAN_ITEMS, used); i += WORKGROUP) {
        cell_counts[i] = 0u;
    }
}
