// Every point within `reach` of `q`, and some more, shared out among the lanes. The more cubes there are, most of them
// empty, the fewer lanes go through each; the more rows it has, the fewer of those share the points of each row, all of
// which may lie in one.
{
    let low = q - vec3<f32>(reach + grid.slack);
    let high = q + vec3<f32>(reach + grid.slack);
    let cube_low = cube_along(low, grid);
    let along = cube_along(high, grid) - cube_low + vec3<u32>(1u);
    let reach_sq = reach * reach;
    let cubes = along.x * along.y * along.z;
    // A power of two, as is their number in all.
    let parties = min(WORKGROUP, 1u << firstLeadingBit(max(cubes / CUBES_A_LANE, 1u)));
    let lanes = WORKGROUP / parties;
    let member = lane % lanes;
    for (var which = lane / lanes; which < cubes && !given_up; which += parties) {
        steps += 1u;
        let cube = cube_low + vec3<u32>(which % along.x, which / along.x % along.y, which / along.x / along.y);
        let index = cube_index(cube, grid);
        let cuts = cube_cuts[index];
        if (cuts < EMPTY_CUBE) {
            let base = cube_bases[index];
            let corner = corner_of(cube, grid);
            let scale = fine_scale(cuts, grid);
            let size = grid.edge / f32(cuts);
            let fine_low = fine_along(low, corner, scale, cuts, grid);
            let rows = fine_along(high, corner, scale, cuts, grid).yz - fine_low.yz + vec2<u32>(1u);
            let row_parties = min(lanes, 1u << firstLeadingBit(max(rows.x * rows.y / ROWS_A_LANE, 1u)));
            let stride = lanes / row_parties;
            let offset = member % stride;
            for (var row = member / stride; row < rows.x * rows.y && !given_up; row += row_parties) {
                steps += 1u;
                let y = fine_low.y + row % rows.x;
                let z = fine_low.z + row / rows.x;
                let near = corner.yz + vec2<f32>(f32(y), f32(z)) * size;
                let away = max(max(near - q.yz, q.yz - near - size) - grid.slack, vec2<f32>(0.0));
                let left = reach_sq - dot(away, away);
                if (left >= 0.0) {
                    let half = sqrt(left) + grid.slack;
                    let x_low = min(u32(max((q.x - half - corner.x) * scale, 0.0)), grid.long * cuts - 1u);
                    let x_high = min(u32(max((q.x + half - corner.x) * scale, 0.0)), grid.long * cuts - 1u);
                    let first = base + cell_at(0u, y, z, cuts, grid);
                    let stop = cell_starts[first + x_high + 1u];
                    let begin = cell_starts[first + x_low];
                    steps += (stop - begin + stride - 1u) / stride;
                    given_up = steps > batch.steps;
                    if (!given_up) {
                        for (var j = begin + offset; j < stop; j += stride) {
                            #body
                        }
                    }
                }
            }
        }
        given_up = given_up || steps > batch.steps;
    }
}
