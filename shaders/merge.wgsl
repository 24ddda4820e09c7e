// Sums over two sets of members that share none.
fn merged(a: Sums, b: Sums) -> Sums {
    return Sums(
        a.count + b.count,
        a.zeros + b.zeros,
        min(a.nearest, b.nearest),
        max(a.farthest, b.farthest),
        a.sum + b.sum,
        min(a.z_min, b.z_min),
        max(a.z_max, b.z_max),
        min(a.xy_min, b.xy_min),
        max(a.xy_max, b.xy_max),
        merged_squares(a.squares, b.squares),
        add64(a.distances, b.distances),
    );
}
