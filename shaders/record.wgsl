// The record of one neighbourhood: exact sums, rounded once to f32. Its twin is `Record` in layout.rs.

// Whether a symmetric, positive semi-definite matrix has rank 1 at most: its 2 x 2 principal minors vanish. Exact.
fn is_line(m: array<vec2<u32>, 6>) -> bool {
    // Two entries of the diagonal, and the one beside both.
    var first = m[0];
    var second = m[3];
    var beside = abs64(m[1]);
    var line = true;
    for (var minor = 0u; line && minor < 3u; minor += 1u) {
        line = all(multiply128(first, second) == multiply128(beside, beside));
        let is_last = minor == 1u;
        first = select(first, m[3], is_last);
        second = m[5];
        beside = abs64(select(m[2], m[4], is_last));
    }
    return line;
}

fn scatter_entry(n: u32, squares: Squares, i: u32, a: i32, b: i32) -> vec2<u32> {
    return sub64(scale64(square(squares, i), n), multiply_signed(a, b));
}

// n * squares - sum * sum: n² times the covariance.
fn scatter(n: u32, squares: Squares, sum: vec3<i32>) -> array<vec2<u32>, 6> {
    return array<vec2<u32>, 6>(
        scatter_entry(n, squares, 0u, sum.x, sum.x),
        scatter_entry(n, squares, 1u, sum.x, sum.y),
        scatter_entry(n, squares, 2u, sum.x, sum.z),
        scatter_entry(n, squares, 3u, sum.y, sum.y),
        scatter_entry(n, squares, 4u, sum.y, sum.z),
        scatter_entry(n, squares, 5u, sum.z, sum.z),
    );
}

fn write_record(row: u32, s: Sums) {
    let at = row * RECORD_WORDS;
    let own = scatter(s.count, s.squares, s.sum);
    var flags = select(0u, FLAG_FEW, s.count < 3u);
    if (s.count == 0u) {
        flags = FLAG_EMPTY;
    } else if (is_zero64(own[0]) && is_zero64(own[3]) && is_zero64(own[5])) {
        flags |= FLAG_IDENTICAL;
    } else if (is_line(own)) {
        flags |= FLAG_COLLINEAR;
    }
    if (s.count > 0u && s.farthest == 0u) {
        flags |= FLAG_NO_RADIUS;
    }
    #if PLANE
    #if FOREIGN
    let others = s.count;
    #else
    let others = s.count - 1u;
    #end
    let rest = scatter(others, s.squares, s.sum);
    if (s.count > 0u && (others < 3u || is_line(rest))) {
        flags |= FLAG_NO_PLANE;
    }
    output[at + 16u] = bitcast<u32>(round64(rest[0]));
    output[at + 17u] = bitcast<u32>(round64(rest[1]));
    output[at + 18u] = bitcast<u32>(round64(rest[2]));
    output[at + 19u] = bitcast<u32>(round64(rest[3]));
    output[at + 20u] = bitcast<u32>(round64(rest[4]));
    output[at + 21u] = bitcast<u32>(round64(rest[5]));
    #end
    #if EXTENT
    let extent = s.xy_max - s.xy_min;
    output[at + RECORD_WORDS - 3u] = bitcast<u32>(f32(extent.x));
    output[at + RECORD_WORDS - 2u] = bitcast<u32>(f32(extent.y));
    output[at + RECORD_WORDS - 1u] = bitcast<u32>(f32(s.z_max - s.z_min));
    #end
    // One zero distance is the query's own, if it is a point of the cloud; duplicates give zero, as does a query alone.
    #if FOREIGN
    let nearest_sq = select(s.nearest, 0u, s.zeros != 0u || s.count < 1u);
    #else
    let nearest_sq = select(s.nearest, 0u, s.zeros != 1u || s.count < 2u);
    #end
    output[at] = s.count;
    output[at + 1u] = flags;
    output[at + 2u] = bitcast<u32>(round64(own[0]));
    output[at + 3u] = bitcast<u32>(round64(own[1]));
    output[at + 4u] = bitcast<u32>(round64(own[2]));
    output[at + 5u] = bitcast<u32>(round64(own[3]));
    output[at + 6u] = bitcast<u32>(round64(own[4]));
    output[at + 7u] = bitcast<u32>(round64(own[5]));
    output[at + 8u] = bitcast<u32>(f32(s.sum.x));
    output[at + 9u] = bitcast<u32>(f32(s.sum.y));
    output[at + 10u] = bitcast<u32>(f32(s.sum.z));
    output[at + 11u] = bitcast<u32>(round64(vec2<u32>(s.farthest, 0u)));
    output[at + 12u] = bitcast<u32>(round64(s.distances) * 0.0000152587890625);
    output[at + 13u] = bitcast<u32>(f32(s.z_min));
    output[at + 14u] = bitcast<u32>(f32(s.z_max));
    output[at + 15u] = bitcast<u32>(round64(vec2<u32>(nearest_sq, 0u)));
}
