// One invocation: one coarse cube; decides into how many fine cells it is cut along each axis.
//
// On a surface n * n of the n * n * n cells are occupied, so n = sqrt(count / k) leaves a neighbourhood in each, or half of a
// large one; a long cube's cells are as long as wide. An empty cube says instead how many empty ones lie side by side from
// it on, so that searches step over them.
// No cube gets more than CELLS_PER_POINT cells a point, which bounds the buffers by the number of points.

@group(0) @binding(0) var<uniform> grid: Grid;
@group(0) @binding(1) var<uniform> batch: Batch;
@group(0) @binding(2) var<storage, read> cube_counts: array<u32>;
@group(0) @binding(3) var<storage, read_write> cube_cuts: array<u32>;
@group(0) @binding(4) var<storage, read_write> cube_cells: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = item(batch, group, local);
    if (i >= batch.end) {
        return;
    }
    let count = cube_counts[i];
    let cell = max(min(grid.k, 20u), grid.k / 2u);
    var n = 0u;
    if (count > 0u) {
        n = clamp(u32(sqrt(f32(count) / f32(grid.long * cell)) + 0.5), 1u, MAX_CUTS);
        // Few steps: the square root overshoots the cube root only in crowded cubes.
        let room = CELLS_PER_POINT * min(count, 0x0fffffffu);
        n = min(n, u32(pow(f32(room / grid.long), 1.0 / 3.0)) + 1u);
        for (var step = 0u; step < 4u; step += 1u) {
            if (n > 1u && grid.long * n * n * n > room) {
                n -= 1u;
            }
        }
    }
    cube_cells[i] = grid.long * n * n * n;
    if (count == 0u) {
        let most = min(EMPTY_RUN, grid.cubes.x - i % grid.cubes.x);
        n = 1u;
        for (var step = 1u; step < EMPTY_RUN; step += 1u) {
            if (n == step && n < most && cube_counts[i + min(n, most - 1u)] == 0u) {
                n += 1u;
            }
        }
        n |= EMPTY_CUBE;
    }
    cube_cuts[i] = n;
}
