// Squared distances below 2^32 - 1 quanta², in integers; what does not fit counts as infinitely far.

alias Dist = u32;
const FAR: Dist = 0xffffffffu;
const REACH_LIMIT: f32 = 65535.0;

fn dist_sq(q: vec3<f32>, candidate: vec4<f32>) -> Dist {
    let o = abs(candidate.xyz - q);
    if (max(o.x, max(o.y, o.z)) > 65535.0) {
        return FAR;
    }
    let u = vec3<u32>(o);
    let xx = u.x * u.x;
    let xy = xx + u.y * u.y;
    let all = xy + u.z * u.z;
    return select(all, FAR, xy < xx || all < xy);
}

fn dist_to_u32(d: Dist) -> u32 {
    return d;
}

fn within_face(d: Dist, face: f32) -> bool {
    if (face > 65535.0) {
        return true;
    }
    let f = u32(max(face, 0.0));
    return d <= f * f;
}
