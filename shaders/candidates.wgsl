// Every point within `reach` of `q`, and some more: the text between `#each_candidate` and `#end` stands at `#body`,
// once for each `candidate`. Rows of fine cells are contiguous in `sorted`; up to RANGES of them are gathered first, so
// that one flat loop runs over their points (nested loops leave more lanes idle).
//
// KEYED: `j + tag` is the candidate's number, that of its range above and its place in it below. The ranges are kept
// to look it up; where there are too many of them, or too many points in one, nothing is visited and `unfit` is set.
{
    let low = q - vec3<f32>(reach + grid.slack);
    let high = q + vec3<f32>(reach + grid.slack);
    let cube_low = cube_along(low, grid);
    let cube_high = cube_along(high, grid);
    let reach_sq = reach * reach;
    var cube = cube_low;
    var fine_low = vec3<u32>(0u);
    var fine_high = vec3<u32>(0u);
    var corner = vec3<f32>(0.0);
    var cuts = 0u;
    var base = 0u;
    var y = 0u;
    var z = 0u;
    var in_cube = false;
    var more = true;
    while (more) {
        var held = 0u;
        #if KEYED
        while (more && !unfit) {
        #else
        while (more && held < RANGES) {
        #end
            steps += 1u;
            if (!in_cube) {
                let index = cube_index(cube, grid);
                cuts = cube_cuts[index];
                if (cuts >= EMPTY_CUBE) {
                    // The last empty one of the run: what follows is the next cube.
                    cube.x += cuts - EMPTY_CUBE - 1u;
                } else {
                    in_cube = true;
                    base = cube_bases[index];
                    corner = corner_of(cube, grid);
                    let scale = fine_scale(cuts, grid);
                    fine_low = fine_along(low, corner, scale, cuts, grid);
                    fine_high = fine_along(high, corner, scale, cuts, grid);
                    y = fine_low.y;
                    z = fine_low.z;
                }
            }
            if (in_cube) {
                // Rows whose whole length is farther than `reach` are skipped, the others cut to the ball's chord.
                let size = grid.edge / f32(cuts);
                let near = corner.yz + vec2<f32>(f32(y), f32(z)) * size;
                let outside = max(near - q.yz, q.yz - near - size) - grid.slack;
                let away = max(outside, vec2<f32>(0.0));
                let left = reach_sq - dot(away, away);
                if (left >= 0.0) {
                    let half = sqrt(left) + grid.slack;
                    let scale = fine_scale(cuts, grid);
                    let x_low = min(u32(max((q.x - half - corner.x) * scale, 0.0)), grid.long * cuts - 1u);
                    let x_high = min(u32(max((q.x + half - corner.x) * scale, 0.0)), grid.long * cuts - 1u);
                    let row = base + cell_at(0u, y, z, cuts, grid);
                    let begin = cell_starts[row + x_low];
                    let stop = cell_starts[row + x_high + 1u];
                    if (stop > begin) {
                        steps += stop - begin;
                        #if KEYED
                        // What is longer than a range may be takes several.
                        var from_here = begin;
                        while (from_here < stop && held < RANGES) {
                            let length = min(stop - from_here, MOST_IN_RANGE);
                            ranges[held * WORKGROUP + lane] = (from_here << RANGE_BITS) | length;
                            held += 1u;
                            from_here += length;
                        }
                        unfit = from_here < stop;
                        #else
                        ranges[held * WORKGROUP + lane] = vec2<u32>(begin, stop);
                        held += 1u;
                        #end
                    }
                }
                y += 1u;
                if (y > fine_high.y) {
                    y = fine_low.y;
                    z += 1u;
                    in_cube = z <= fine_high.z;
                }
            }
            if (!in_cube) {
                cube.x += 1u;
                if (cube.x > cube_high.x) {
                    cube.x = cube_low.x;
                    cube.y += 1u;
                    if (cube.y > cube_high.y) {
                        cube.y = cube_low.y;
                        cube.z += 1u;
                    }
                }
                more = cube.z <= cube_high.z;
            }
            #if KEYED
            if (steps > most_steps) {
            #else
            if (steps > batch.steps) {
            #end
                // Checked before the points are visited: a crowded place costs its straggler nothing here.
                given_up = true;
                more = false;
                held = 0u;
            }
        }
        #if KEYED
        if (unfit) {
            more = false;
            held = 0u;
        }
        #end
        if (held > 0u) {
            var slot = 0u;
            #if KEYED
            var j = ranges[lane] >> RANGE_BITS;
            var tag = 0u - j;
            var stop = j + (ranges[lane] & MOST_IN_RANGE);
            #else
            var j = ranges[lane].x;
            var stop = ranges[lane].y;
            #end
            loop {
                #body
                j += #stride;
                if (j >= stop) {
                    slot += 1u;
                    if (slot >= held) {
                        break;
                    }
                    let next = ranges[slot * WORKGROUP + lane];
                    #if KEYED
                    j = next >> RANGE_BITS;
                    tag = (slot << RANGE_BITS) - j;
                    stop = j + (next & MOST_IN_RANGE);
                    #else
                    j = next.x;
                    stop = next.y;
                    #end
                }
            }
        }
    }
}
