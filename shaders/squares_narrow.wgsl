// At most 127 products below 2^24: the sums fit i32.
struct Squares {
    a: vec3<i32>,
    b: vec3<i32>,
}

fn no_squares() -> Squares {
    return Squares(vec3<i32>(0), vec3<i32>(0));
}

fn add_squares(s: Squares, o: vec3<i32>) -> Squares {
    return Squares(s.a + o.x * o, s.b + vec3<i32>(o.y * o.y, o.y * o.z, o.z * o.z));
}

fn square(s: Squares, i: u32) -> vec2<u32> {
    if (i < 3u) {
        return widen(s.a[i]);
    }
    return widen(s.b[i - 3u]);
}
