// Squares are below 2^32, mixed products below 2^31 in magnitude; their sums need 64 bits.
struct Squares {
    xx: vec2<u32>,
    xy: vec2<u32>,
    xz: vec2<u32>,
    yy: vec2<u32>,
    yz: vec2<u32>,
    zz: vec2<u32>,
}

fn no_squares() -> Squares {
    let zero = vec2<u32>(0u);
    return Squares(zero, zero, zero, zero, zero, zero);
}

fn add_squares(s: Squares, o: vec3<i32>) -> Squares {
    let u = vec3<u32>(abs(o));
    return Squares(
        add64(s.xx, vec2<u32>(u.x * u.x, 0u)),
        add64(s.xy, widen(o.x * o.y)),
        add64(s.xz, widen(o.x * o.z)),
        add64(s.yy, vec2<u32>(u.y * u.y, 0u)),
        add64(s.yz, widen(o.y * o.z)),
        add64(s.zz, vec2<u32>(u.z * u.z, 0u)),
    );
}

fn square(s: Squares, i: u32) -> vec2<u32> {
    switch (i) {
        case 0u: { return s.xx; }
        case 1u: { return s.xy; }
        case 2u: { return s.xz; }
        case 3u: { return s.yy; }
        case 4u: { return s.yz; }
        default: { return s.zz; }
    }
}

fn merged_squares(a: Squares, b: Squares) -> Squares {
    return Squares(
        add64(a.xx, b.xx), add64(a.xy, b.xy), add64(a.xz, b.xz), add64(a.yy, b.yy), add64(a.yz, b.yz),
        add64(a.zz, b.zz),
    );
}
