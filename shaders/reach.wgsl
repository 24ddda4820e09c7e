// How far to look.

// Radius of a disc that holds k points, and some more, where those of the query's cube lie on a surface across it. A cube with
// a few points counts as one with more: beside it there may be a crowd.
fn reach_on_surface(count: u32) -> f32 {
    return REACH_FACTOR * grid.edge * sqrt(f32(grid.long * grid.k) / (3.1415927 * f32(max(count, 8u * grid.long))));
}

fn reach_within(q: vec3<f32>) -> f32 {
    let home = cube_index(cube_along(q, grid), grid);
    #if REACHES
    // Somewhat more than what the probes of the cube need; their median, since a point far from all others says nothing
    // about those. An empty cube has none.
    let probes = cube_reaches[home];
    let lows = min(probes.xz, probes.yw);
    let highs = max(probes.xz, probes.yw);
    let usual = PROBE_FACTOR * 0.5 * (max(lows.x, lows.y) + min(highs.x, highs.y));
    return select(reach_on_surface(0u), usual, usual > 0.0);
    #else
    let word = cube_cuts[home];
    let cuts = select(word, 0u, word >= EMPTY_CUBE);
    let base = cube_bases[home];
    return reach_on_surface(cell_starts[base + cells_in(cuts, grid)] - cell_starts[base]);
    #end
}

fn first_reach(q: vec3<f32>) -> f32 {
    #if FOREIGN
    // A query outside of the grid has its box to reach first.
    return length(max(max(-q, q - grid.extent), vec3<f32>(0.0))) + reach_within(q);
    #else
    return reach_within(q);
    #end
}

#if PROBE
// The point that a probe looks around; NO_NEIGHBOR in an empty cube.
fn probed(probe: u32) -> u32 {
    let cube = probe / PROBES;
    let cuts = cube_cuts[cube];
    if (cuts >= EMPTY_CUBE) {
        return NO_NEIGHBOR;
    }
    let base = cube_bases[cube];
    let first = cell_starts[base];
    let count = cell_starts[base + cells_in(cuts, grid)] - first;
    let part = probe % PROBES;
    return first + count / PROBES * part + count % PROBES * part / PROBES;
}
#end

#if REACHES
// Where a row's output begins: until it is written, it keeps how far the kernel that looks again has to look.
fn first_word(row: u32) -> u32 {
    #if LISTS
    return row * grid.k;
    #else
    return row * RECORD_WORDS;
    #end
}
#end
