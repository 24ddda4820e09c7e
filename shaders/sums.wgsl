// Exact sums over the members of one neighbourhood.

struct Sums {
    count: u32,
    // Members at the query's place; one of them is the query.
    zeros: u32,
    // Of squared distances: the smallest that is not zero, and the largest.
    nearest: u32,
    farthest: u32,
    sum: vec3<i32>,
    z_min: i32,
    z_max: i32,
    xy_min: vec2<i32>,
    xy_max: vec2<i32>,
    squares: Squares,
    // Distances, each rounded to 2^-16 quantum.
    distances: vec2<u32>,
}

const HIGH: i32 = 0x7fffffff;

fn no_sums() -> Sums {
    return Sums(
        0u, 0u, NO_NEIGHBOR, 0u, vec3<i32>(0), HIGH, -HIGH, vec2<i32>(HIGH), vec2<i32>(-HIGH), no_squares(),
        vec2<u32>(0u),
    );
}

// The sums with one more member, at offset `o` and squared distance `d` from the query.
fn with_member(s: Sums, o: vec3<i32>, d: u32) -> Sums {
    var out = s;
    out.count += 1u;
    out.zeros += u32(d == 0u);
    out.nearest = select(min(s.nearest, d), s.nearest, d == 0u);
    out.farthest = max(s.farthest, d);
    out.sum += o;
    out.z_min = min(s.z_min, o.z);
    out.z_max = max(s.z_max, o.z);
    #if EXTENT
    out.xy_min = min(s.xy_min, o.xy);
    out.xy_max = max(s.xy_max, o.xy);
    #end
    out.squares = add_squares(s.squares, o);
    #if DISTANCE_SUM
    out.distances = add64(s.distances, vec2<u32>(fixed_sqrt(d), 0u));
    #end
    return out;
}

// The same for what the shape alone depends on.
fn with_shape_of(s: Sums, o: vec3<i32>, d: u32) -> Sums {
    var out = s;
    out.count += 1u;
    out.zeros += u32(d == 0u);
    out.sum += o;
    out.squares = add_squares(s.squares, o);
    return out;
}
