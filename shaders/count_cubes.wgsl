// One workgroup: CUBE_ITEMS * WORKGROUP points; counts them in their coarse cubes.
//
// Where half of a cloud lies in one cube, its counter takes as long as all else. Points of the cubes that some of the
// workgroup's own lie in are counted together first: one addition for them all.

@group(0) @binding(0) var<uniform> grid: Grid;
@group(0) @binding(1) var<uniform> batch: Batch;
@group(0) @binding(2) var<storage, read> positions: array<f32>;
@group(0) @binding(3) var<storage, read_write> cube_counts: array<atomic<u32>>;

var<workgroup> usual: array<u32, USUAL>;
var<workgroup> counts: array<atomic<u32>, USUAL>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first = batch.first + (group.y * batch.width + group.x) * WORKGROUP * CUBE_ITEMS;
    if (local < USUAL) {
        usual[local] = cube_of(min(first + local * (WORKGROUP * CUBE_ITEMS / USUAL), batch.end - 1u));
        atomicStore(&counts[local], 0u);
    }
    workgroupBarrier();
    for (var item = 0u; item < CUBE_ITEMS; item += 1u) {
        let i = first + item * WORKGROUP + local;
        if (i < batch.end) {
            let cube = cube_of(i);
            var which = USUAL;
            for (var j = 0u; j < USUAL; j += 1u) {
                which = select(which, j, usual[j] == cube);
            }
            if (which < USUAL) {
                atomicAdd(&counts[which], 1u);
            } else {
                atomicAdd(&cube_counts[cube], 1u);
            }
        }
    }
    workgroupBarrier();
    if (local < USUAL) {
        let count = atomicLoad(&counts[local]);
        if (count > 0u) {
            atomicAdd(&cube_counts[usual[local]], count);
        }
    }
}

fn cube_of(i: u32) -> u32 {
    let p = vec3<f32>(positions[3u * i], positions[3u * i + 1u], positions[3u * i + 2u]);
    return cube_index(cube_along(p, grid), grid);
}
