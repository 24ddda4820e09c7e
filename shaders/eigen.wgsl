// Eigenvalues and unit eigenvectors of a symmetric 3 x 3 matrix, largest eigenvalue first.

struct Eigen {
    values: vec3<f32>,
    v1: vec3<f32>,
    v2: vec3<f32>,
    v3: vec3<f32>,
}

struct Rotation {
    cos: f32,
    sin: f32,
    tan: f32,
}

fn jacobi(p: f32, q: f32, off: f32) -> Rotation {
    if (abs(off) <= 1e-30) {
        return Rotation(1.0, 0.0, 0.0);
    }
    let theta = (q - p) / (2.0 * off);
    // Beyond 1e6 the rotation is 1 / (2 theta); the square would only lose it.
    let t = select(
        sign(theta + 1e-37) / (abs(theta) + sqrt(theta * theta + 1.0)),
        0.5 / theta,
        abs(theta) > 1e6,
    );
    let c = inverseSqrt(t * t + 1.0);
    return Rotation(c, t * c, t);
}

// Cyclic Jacobi rotations: closed forms lose half the digits where eigenvalues come close. The values are then taken
// once more as Rayleigh quotients, whose error is the square of the vectors'.
fn eigen(xx: f32, xy: f32, xz: f32, yy: f32, yz: f32, zz: f32) -> Eigen {
    var a = vec3<f32>(xx, yy, zz);
    var b = vec3<f32>(xy, xz, yz);
    var e1 = vec3<f32>(1.0, 0.0, 0.0);
    var e2 = vec3<f32>(0.0, 1.0, 0.0);
    var e3 = vec3<f32>(0.0, 0.0, 1.0);
    for (var sweep = 0u; sweep < 5u; sweep += 1u) {
        let r = jacobi(a.x, a.y, b.x);
        a = vec3<f32>(a.x - r.tan * b.x, a.y + r.tan * b.x, a.z);
        b = vec3<f32>(0.0, r.cos * b.y - r.sin * b.z, r.sin * b.y + r.cos * b.z);
        let x1 = r.cos * e1 - r.sin * e2;
        e2 = r.sin * e1 + r.cos * e2;
        e1 = x1;
        let s = jacobi(a.x, a.z, b.y);
        a = vec3<f32>(a.x - s.tan * b.y, a.y, a.z + s.tan * b.y);
        b = vec3<f32>(s.cos * b.x - s.sin * b.z, 0.0, s.sin * b.x + s.cos * b.z);
        let x2 = s.cos * e1 - s.sin * e3;
        e3 = s.sin * e1 + s.cos * e3;
        e1 = x2;
        let t = jacobi(a.y, a.z, b.z);
        a = vec3<f32>(a.x, a.y - t.tan * b.z, a.z + t.tan * b.z);
        b = vec3<f32>(t.cos * b.x - t.sin * b.y, t.sin * b.x + t.cos * b.y, 0.0);
        let x3 = t.cos * e2 - t.sin * e3;
        e3 = t.sin * e2 + t.cos * e3;
        e2 = x3;
    }
    if (a.x < a.y) {
        a = a.yxz;
        let swap = e1;
        e1 = e2;
        e2 = swap;
    }
    if (a.x < a.z) {
        a = a.zyx;
        let swap = e1;
        e1 = e3;
        e3 = swap;
    }
    if (a.y < a.z) {
        let swap = e2;
        e2 = e3;
        e3 = swap;
    }
    e1 = normalize(e1);
    e2 = normalize(e2 - dot(e1, e2) * e1);
    e3 = cross(e1, e2);
    let values = vec3<f32>(
        rayleigh(e1, xx, xy, xz, yy, yz, zz),
        rayleigh(e2, xx, xy, xz, yy, yz, zz),
        rayleigh(e3, xx, xy, xz, yy, yz, zz),
    );
    return Eigen(max(values, vec3<f32>(0.0)), e1, e2, e3);
}

// Eigenvalues alone, in any order; `other` holds xy, xz, yz. Good to a few units in the last place of the largest.
fn eigenvalues(diagonal: vec3<f32>, other: vec3<f32>) -> vec3<f32> {
    var a = diagonal;
    var b = other;
    for (var sweep = 0u; sweep < 4u; sweep += 1u) {
        let r = jacobi(a.x, a.y, b.x);
        a = vec3<f32>(a.x - r.tan * b.x, a.y + r.tan * b.x, a.z);
        b = vec3<f32>(0.0, r.cos * b.y - r.sin * b.z, r.sin * b.y + r.cos * b.z);
        let s = jacobi(a.x, a.z, b.y);
        a = vec3<f32>(a.x - s.tan * b.y, a.y, a.z + s.tan * b.y);
        b = vec3<f32>(s.cos * b.x - s.sin * b.z, 0.0, s.sin * b.x + s.cos * b.z);
        let t = jacobi(a.y, a.z, b.z);
        a = vec3<f32>(a.x, a.y - t.tan * b.z, a.z + t.tan * b.z);
        b = vec3<f32>(t.cos * b.x - t.sin * b.y, t.sin * b.x + t.cos * b.y, 0.0);
    }
    return a;
}

fn rayleigh(v: vec3<f32>, xx: f32, xy: f32, xz: f32, yy: f32, yz: f32, zz: f32) -> f32 {
    let m = vec3<f32>(dot(v, vec3<f32>(xx, xy, xz)), dot(v, vec3<f32>(xy, yy, yz)), dot(v, vec3<f32>(xz, yz, zz)));
    return dot(v, m);
}

// Normals point up; level ones to positive y, then to positive x.
fn upward(v: vec3<f32>) -> vec3<f32> {
    var decisive = v.z;
    if (decisive == 0.0) {
        decisive = v.y;
    }
    if (decisive == 0.0) {
        decisive = v.x;
    }
    return select(v, -v, decisive < 0.0);
}

// The component of largest magnitude is positive (the first of equals decides).
fn largest_positive(v: vec3<f32>) -> vec3<f32> {
    let a = abs(v);
    var decisive = v.z;
    if (a.x >= a.y && a.x >= a.z) {
        decisive = v.x;
    } else if (a.y >= a.z) {
        decisive = v.y;
    }
    return select(v, -v, decisive < 0.0);
}
