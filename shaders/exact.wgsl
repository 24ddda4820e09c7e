// Integers wider than 32 bits, as (low, high) words in two's complement, and their rounding to f32.
//
// Conversions built into WGSL may round either way; these round to nearest, ties to even, on every device, so that
// what the CPU computes for single queries equals what the kernel would have written.

fn add64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + u32(low < a.x));
}

fn negate64(a: vec2<u32>) -> vec2<u32> {
    return add64(~a, vec2<u32>(1u, 0u));
}

fn sub64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return add64(a, negate64(b));
}

fn is_negative64(a: vec2<u32>) -> bool {
    return (a.y >> 31u) == 1u;
}

fn abs64(a: vec2<u32>) -> vec2<u32> {
    return select(a, negate64(a), is_negative64(a));
}

fn is_zero64(a: vec2<u32>) -> bool {
    return (a.x | a.y) == 0u;
}

fn widen(a: i32) -> vec2<u32> {
    return vec2<u32>(u32(a), select(0u, 0xffffffffu, a < 0));
}

// Both factors unsigned; the full product.
fn multiply_wide(a: u32, b: u32) -> vec2<u32> {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let low = a0 * b0;
    let middle = a1 * b0 + (low >> 16u);
    let other = a0 * b1 + (middle & 0xffffu);
    return vec2<u32>((other << 16u) | (low & 0xffffu), a1 * b1 + (middle >> 16u) + (other >> 16u));
}

// Signed a times unsigned b, low 64 bits.
fn scale64(a: vec2<u32>, b: u32) -> vec2<u32> {
    let low = multiply_wide(a.x, b);
    return vec2<u32>(low.x, low.y + a.y * b);
}

fn multiply_signed(a: i32, b: i32) -> vec2<u32> {
    let product = multiply_wide(u32(abs(a)), u32(abs(b)));
    return select(product, negate64(product), (a < 0) != (b < 0));
}

// Unsigned 64 x 64 -> 128 bits, lowest word first.
fn multiply128(a: vec2<u32>, b: vec2<u32>) -> vec4<u32> {
    let p00 = multiply_wide(a.x, b.x);
    let p01 = multiply_wide(a.x, b.y);
    let p10 = multiply_wide(a.y, b.x);
    let p11 = multiply_wide(a.y, b.y);
    let middle = add64(vec2<u32>(p00.y, 0u), vec2<u32>(p01.x, 0u));
    let middle2 = add64(middle, vec2<u32>(p10.x, 0u));
    let high = add64(add64(p11, vec2<u32>(p01.y, 0u)), add64(vec2<u32>(p10.y, 0u), vec2<u32>(middle2.y, 0u)));
    return vec4<u32>(p00.x, middle2.x, high.x, high.y);
}

// To the nearest f32, halfway cases to even. No branches: inlined for each number of a record, they were a third of what
// SwiftShader compiled of a search.
fn round64(a: vec2<u32>) -> f32 {
    let magnitude = abs64(a);
    let short = magnitude.y == 0u;
    let top = select(magnitude.y, magnitude.x, short);
    let rest = select(magnitude.x, 0u, short);
    // The leading one moves to bit 63; of zero nothing moves.
    let zeros = countLeadingZeros(top);
    let by = zeros & 31u;
    let high = (top << by) | ((rest >> 1u) >> (31u - by));
    let low = rest << by;
    let mantissa = high >> 8u;
    let dropped = high & 0xffu;
    let half = (dropped == 0x80u) & ((low != 0u) | ((mantissa & 1u) == 1u));
    let up = u32((dropped > 0x80u) | half);
    // 2^(40 - shift) scales the 24-bit mantissa back; a power of two multiplies exactly.
    let shift = zeros + select(0u, 32u, short);
    let power = bitcast<f32>((127u + 40u - shift) << 23u);
    let value = f32(mantissa + up) * power;
    return select(value, -value, is_negative64(a));
}

// round(sqrt(d) * 2^16), exact for every d: see moments.rs. The f32 root is corrected in integers.
fn fixed_sqrt(d: u32) -> u32 {
    if (d == 0u) {
        return 0u;
    }
    let wanted = vec2<u32>(0u, d);
    var root = u32(min(sqrt(f32(d)) * 65536.0, 4294967040.0));
    for (var step = 0u; step < 2u; step += 1u) {
        let rest = sub64(wanted, multiply_wide(root, root));
        let correction = i32(floor(round64(rest) / (2.0 * f32(root))));
        root = u32(i32(root) + correction);
    }
    // The floor is at most one off by now.
    var rest = sub64(wanted, multiply_wide(root, root));
    if (is_negative64(rest)) {
        root -= 1u;
        rest = sub64(wanted, multiply_wide(root, root));
    } else {
        let next = sub64(rest, add64(vec2<u32>(root, 0u), add64(vec2<u32>(root, 0u), vec2<u32>(1u, 0u))));
        if (!is_negative64(next)) {
            root += 1u;
            rest = next;
        }
    }
    // Nearest: up if rest > root.
    let up = sub64(vec2<u32>(root, 0u), rest);
    return root + u32(is_negative64(up));
}
