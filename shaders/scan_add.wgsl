// One workgroup: the same block as in scan.wgsl; adds the sum of all blocks before it.

@group(0) @binding(0) var<uniform> batch: Batch;
@group(0) @binding(1) var<storage, read_write> values: array<u32>;
@group(0) @binding(2) var<storage, read> bases: array<u32>;
#if USED
@group(0) @binding(3) var<uniform> grid: Grid;
@group(0) @binding(4) var<storage, read> cube_bases: array<u32>;
#end

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let block = group.y * batch.width + group.x;
    if (block * WORKGROUP * SCAN_ITEMS >= batch.end) {
        return;
    }
    #if USED
    if (block * WORKGROUP * SCAN_ITEMS > cube_bases[grid.cube_count]) {
        return;
    }
    #end
    let base = bases[block];
    for (var j = 0u; j < SCAN_ITEMS; j += 1u) {
        let i = block * WORKGROUP * SCAN_ITEMS + j * WORKGROUP + local;
        if (i < batch.end) {
            values[i] += base;
        }
    }
}
