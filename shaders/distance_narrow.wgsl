// Squared distances below 2^24 quanta²: every term and sum is exact in f32, fused or not.

alias Dist = f32;
const FAR: Dist = 16777216.0;
const REACH_LIMIT: f32 = NARROW_LIMIT;

fn dist_sq(q: vec3<f32>, candidate: vec4<f32>) -> Dist {
    let o = candidate.xyz - q;
    return o.x * o.x + o.y * o.y + o.z * o.z;
}

fn dist_to_u32(d: Dist) -> u32 {
    return u32(d);
}

// Whether d is at most the squared distance to the nearest face; `face` is exact below 4096.
fn within_face(d: Dist, face: f32) -> bool {
    return d <= face * face;
}
