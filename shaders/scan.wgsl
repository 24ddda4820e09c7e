// One workgroup: SCAN_ITEMS * WORKGROUP consecutive values, replaced by their exclusive prefix sum within the block;
// the block's total goes to `totals`. Of values beyond those in use (USED) nobody reads the sums.

@group(0) @binding(0) var<uniform> batch: Batch;
@group(0) @binding(1) var<storage, read_write> values: array<u32>;
@group(0) @binding(2) var<storage, read_write> totals: array<u32>;
#if USED
@group(0) @binding(3) var<uniform> grid: Grid;
// Behind the cubes' first cells, the number of all.
@group(0) @binding(4) var<storage, read> cube_bases: array<u32>;
#end

var<workgroup> sums: array<u32, WORKGROUP>;
#if USED
var<workgroup> used: u32;
#end

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let block = group.y * batch.width + group.x;
    let first = (block * WORKGROUP + local) * SCAN_ITEMS;
    #if USED
    if (local == 0u) {
        used = cube_bases[grid.cube_count];
    }
    if (block * WORKGROUP * SCAN_ITEMS > workgroupUniformLoad(&used)) {
        return;
    }
    #end
    var own: array<u32, SCAN_ITEMS>;
    var sum = 0u;
    for (var j = 0u; j < SCAN_ITEMS; j += 1u) {
        own[j] = sum;
        if (first + j < batch.end) {
            sum += values[first + j];
        }
    }
    sums[local] = sum;
    workgroupBarrier();
    for (var step = 1u; step < WORKGROUP; step *= 2u) {
        var before = 0u;
        if (local >= step) {
            before = sums[local - step];
        }
        workgroupBarrier();
        sums[local] += before;
        workgroupBarrier();
    }
    let base = sums[local] - sum;
    for (var j = 0u; j < SCAN_ITEMS; j += 1u) {
        if (first + j < batch.end) {
            values[first + j] = base + own[j];
        }
    }
    // The last row of folded workgroups may have some beyond the end.
    if (local == WORKGROUP - 1u && block * WORKGROUP * SCAN_ITEMS < batch.end) {
        totals[block] = sums[local];
    }
}
