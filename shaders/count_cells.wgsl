// One invocation: one point; counts it in its fine cell and remembers the cell and its place in it.

@group(0) @binding(0) var<uniform> grid: Grid;
@group(0) @binding(1) var<uniform> batch: Batch;
@group(0) @binding(2) var<storage, read> positions: array<f32>;
@group(0) @binding(3) var<storage, read> cube_cuts: array<u32>;
@group(0) @binding(4) var<storage, read> cube_bases: array<u32>;
@group(0) @binding(5) var<storage, read_write> cell_counts: array<atomic<u32>>;
@group(0) @binding(6) var<storage, read_write> places: array<vec2<u32>>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = item(batch, group, local);
    if (i >= batch.end) {
        return;
    }
    let p = vec3<f32>(positions[3u * i], positions[3u * i + 1u], positions[3u * i + 2u]);
    let cube = cube_along(p, grid);
    let index = cube_index(cube, grid);
    let n = cube_cuts[index];
    let fine = fine_along(p, corner_of(cube, grid), fine_scale(n, grid), n, grid);
    let cell = cube_bases[index] + cell_at(fine.x, fine.y, fine.z, n, grid);
    places[i] = vec2<u32>(cell, atomicAdd(&cell_counts[cell], 1u));
}
