// Where a position lies in the grid. Every function here is monotone in the position, and built from single
// roundings, so that the cells of a box's corners enclose the cells of all points in the box.

fn cube_along(position: vec3<f32>, grid: Grid) -> vec3<u32> {
    let cube = vec3<u32>(max(position, vec3<f32>(0.0)) * grid.inverse_edge);
    return min(cube, grid.cubes - vec3<u32>(1u));
}

fn cube_index(cube: vec3<u32>, grid: Grid) -> u32 {
    return (cube.z * grid.cubes.y + cube.y) * grid.cubes.x + cube.x;
}

// Fine cells per quantum in a cube cut n times along each axis.
fn fine_scale(n: u32, grid: Grid) -> f32 {
    return f32(n) * grid.inverse_edge;
}

// `corner` is the cube's low corner. Rounding can put a point a hair outside its cube: the clamp keeps it.
fn fine_along(position: vec3<f32>, corner: vec3<f32>, scale: f32, n: u32) -> vec3<u32> {
    let cell = max((position - corner) * scale, vec3<f32>(0.0));
    return min(vec3<u32>(cell), vec3<u32>(n - 1u));
}
