// Where a position lies in the grid. Every function here is monotone in the position, and built from single
// roundings, so that the cells of a box's corners enclose the cells of all points in the box.

fn cube_along(position: vec3<f32>, grid: Grid) -> vec3<u32> {
    let along = vec3<f32>(1.0 / f32(grid.long), 1.0, 1.0) * grid.inverse_edge;
    let cube = vec3<u32>(max(position, vec3<f32>(0.0)) * along);
    return min(cube, grid.cubes - vec3<u32>(1u));
}

fn cube_index(cube: vec3<u32>, grid: Grid) -> u32 {
    return (cube.z * grid.cubes.y + cube.y) * grid.cubes.x + cube.x;
}

// The low corner of a cube. `long` is a power of two: no rounding of its own.
fn corner_of(cube: vec3<u32>, grid: Grid) -> vec3<f32> {
    return vec3<f32>(cube) * (vec3<f32>(f32(grid.long), 1.0, 1.0) * grid.edge);
}

// Cells of a cube cut into n along y and z, and the number of one among them: rows lie along x.
fn cells_in(n: u32, grid: Grid) -> u32 {
    return grid.long * n * n * n;
}

fn cell_at(x: u32, y: u32, z: u32, n: u32, grid: Grid) -> u32 {
    return (z * n + y) * n * grid.long + x;
}

// Fine cells per quantum in a cube cut n times along each axis.
fn fine_scale(n: u32, grid: Grid) -> f32 {
    return f32(n) * grid.inverse_edge;
}

// `corner` is the cube's low corner. Rounding can put a point a hair outside its cube: the clamp keeps it.
fn fine_along(position: vec3<f32>, corner: vec3<f32>, scale: f32, n: u32, grid: Grid) -> vec3<u32> {
    let cell = max((position - corner) * scale, vec3<f32>(0.0));
    return min(vec3<u32>(cell), vec3<u32>(grid.long * n, n, n) - vec3<u32>(1u));
}
