// Points as kernels that go through lists read them: three coordinates each, in the binding `positions`.

fn position(index: u32) -> vec3<f32> {
    return vec3<f32>(positions[3u * index], positions[3u * index + 1u], positions[3u * index + 2u]);
}

// Coordinates are integers, and their differences below 2^16.
fn length_sq(o: vec3<i32>) -> u32 {
    let u = vec3<u32>(abs(o));
    return u.x * u.x + u.y * u.y + u.z * u.z;
}
