// What features need of every single member. Members come in the order of their list, (squared distance, index), so that
// sums in f32 are the same in whatever chunk they are taken.

#if PAYLOAD
fn known(index: u32, word: u32) -> u32 {
    return payload[index * PAYLOAD_WORDS + word];
}
#end

#if NORMALS
fn known_normal(index: u32) -> vec3<f32> {
    return vec3<f32>(
        bitcast<f32>(known(index, NORMAL_WORD)),
        bitcast<f32>(known(index, NORMAL_WORD + 1u)),
        bitcast<f32>(known(index, NORMAL_WORD + 2u)),
    );
}
#end

#if QUADRIC
// Solves the symmetric positive definite system whose lower triangle, row by row, is `given`, by Cholesky's factors.
fn solve_six(given: array<f32, 21>, right: array<f32, 6>) -> array<f32, 6> {
    var a = given;
    var b = right;
    for (var i = 0u; i < 6u; i += 1u) {
        let row = i * (i + 1u) / 2u;
        for (var j = 0u; j <= i; j += 1u) {
            let other = j * (j + 1u) / 2u;
            var sum = a[row + j];
            for (var k = 0u; k < j; k += 1u) {
                sum -= a[row + k] * a[other + k];
            }
            if (i == j) {
                a[row + j] = sqrt(max(sum, 1e-30));
            } else {
                a[row + j] = sum / a[other + j];
            }
        }
        var sum = b[i];
        for (var k = 0u; k < i; k += 1u) {
            sum -= a[row + k] * b[k];
        }
        b[i] = sum / a[row + i];
    }
    for (var back = 0u; back < 6u; back += 1u) {
        let i = 5u - back;
        var sum = b[i];
        for (var k = i + 1u; k < 6u; k += 1u) {
            sum -= a[k * (k + 1u) / 2u + i] * b[k];
        }
        b[i] = sum / a[i * (i + 1u) / 2u + i];
    }
    return b;
}
#end

#if CHANNELS
// Exact sums of one recorded channel, and of its squares.
struct ChannelSums {
    sum: u32,
    squares: vec2<u32>,
}

fn with_value(s: ChannelSums, v: u32) -> ChannelSums {
    return ChannelSums(s.sum + v, add64(s.squares, vec2<u32>(v * v, 0u)));
}

fn mean_and_std(s: ChannelSums, n: u32, unit: f32) -> vec2<f32> {
    let spread = sub64(scale64(s.squares, n), multiply_wide(s.sum, s.sum));
    return vec2<f32>(f32(s.sum), sqrt(round64(spread))) * (unit / f32(n));
}
#end

// Sums over the neighbourhood of query `i`, whose size `s` has; flags of what they leave undefined.
fn look_around(shape: ptr<function, Shape>, i: u32) -> u32 {
    let s = *shape;
    var out: Around;
    var flags = 0u;
    let own_index = queries[i].x;
    let own = position(own_index);
    let begin = starts[i];
    let n = u32(s.n);
    var others = 0u;

    #if QUADRIC
    let mean = s.sum / s.n;
    let sigma = max(sqrt(s.lambda.xy), vec2<f32>(1e-30));
    var a: array<f32, 21>;
    var right: array<f32, 6>;
    flags |= select(0u, FLAG_UNDER_SIX, n < 6u);
    #end
    #if CHANNELS
    var intensity = ChannelSums(0u, vec2<u32>(0u));
    var red = intensity;
    var green = intensity;
    var blue = intensity;
    var nir = intensity;
    // ndvi in steps of 2^-20: exact sums, whatever their order.
    var ndvi_count = 0u;
    var ndvi_sum = 0;
    var ndvi_squares = vec2<u32>(0u);
    #end
    #if NORMALS
    let own_normal = known_normal(own_index);
    var with_normal = 0u;
    #end
    #if LAST
    let own_cloud_index = known(own_index, LAST_WORD + 2u);
    #end
    #if LRD
    let own_density = bitcast<f32>(known(own_index, LRD_WORD));
    #end

    for (var j = 0u; j < n; j += 1u) {
        let index = lists[begin + j];
        let offset = position(index) - own;
        let d = length_sq(vec3<i32>(offset));
        #if PLANE_FIT
        // The first member is at the query's place and stands for the query, if that is a point of the cloud.
        if (j >= scale.own) {
            out.plane_mean += abs(dot(offset * s.quantum - s.plane_mean, s.plane_normal));
        }
        #end
        #if QUADRIC
        let p = offset * s.quantum - mean;
        let x = dot(p, s.v1) / sigma.x;
        let y = dot(p, s.v2) / sigma.y;
        let z = dot(p, s.normal);
        var basis = array<f32, 6>(1.0, x, y, x * x, x * y, y * y);
        for (var r = 0u; r < 6u; r += 1u) {
            for (var c = 0u; c <= r; c += 1u) {
                a[r * (r + 1u) / 2u + c] += basis[r] * basis[c];
            }
            right[r] += basis[r] * z;
        }
        #end
        #if CHANNELS
        let red_green = known(index, CHANNEL_WORD);
        let blue_nir = known(index, CHANNEL_WORD + 1u);
        let r16 = red_green & 0xffffu;
        let n16 = blue_nir >> 16u;
        intensity = with_value(intensity, known(index, CHANNEL_WORD + 2u));
        red = with_value(red, r16);
        green = with_value(green, red_green >> 16u);
        blue = with_value(blue, blue_nir & 0xffffu);
        nir = with_value(nir, n16);
        if (r16 + n16 > 0u) {
            let r = f32(r16) * scale.rgb;
            let near = f32(n16) * scale.nir;
            let steps = i32(round((near - r) / (near + r) * 1048576.0));
            ndvi_count += 1u;
            ndvi_sum += steps;
            ndvi_squares = add64(ndvi_squares, multiply_signed(steps, steps));
        }
        #end
        if (index != own_index) {
            others += 1u;
            #if NORMALS
            let normal = known_normal(index);
            if (any(normal != vec3<f32>(0.0))) {
                with_normal += 1u;
                out.normal_variation += max(1.0 - abs(dot(normal, own_normal)), 0.0);
            }
            #end
            #if REACH
            out.reach += max(bitcast<f32>(known(index, REACH_WORD)), sqrt(f32(d)) * s.quantum);
            #end
            #if LRD
            out.lof += bitcast<f32>(known(index, LRD_WORD));
            #end
            #if LAST
            let last = vec2<u32>(known(index, LAST_WORD), known(index, LAST_WORD + 1u));
            let among = d < last.x || (d == last.x && own_cloud_index <= last.y);
            out.one_sided += select(1.0, 0.0, among);
            #end
        }
    }

    let most = f32(max(others, 1u));
    #if PLANE_FIT
    out.plane_mean /= s.others;
    #end
    #if QUADRIC
    // The diagonal's last three.
    a[9] += RIDGE * s.n;
    a[14] += 0.5 * RIDGE * s.n;
    a[20] += RIDGE * s.n;
    var c = solve_six(a, right);
    let at = vec2<f32>(dot(-mean, s.v1), dot(-mean, s.v2)) / sigma;
    out.slopes = vec2<f32>(c[1] + 2.0 * c[3] * at.x + c[4] * at.y, c[2] + c[4] * at.x + 2.0 * c[5] * at.y) / sigma;
    out.bends = vec3<f32>(
        2.0 * c[3] / sigma.x / sigma.x, c[4] / sigma.x / sigma.y, 2.0 * c[5] / sigma.y / sigma.y,
    );
    #end
    #if CHANNELS
    out.channels[0] = mean_and_std(intensity, n, 1.0);
    out.channels[1] = mean_and_std(red, n, scale.rgb);
    out.channels[2] = mean_and_std(green, n, scale.rgb);
    out.channels[3] = mean_and_std(blue, n, scale.rgb);
    out.channels[4] = mean_and_std(nir, n, scale.nir);
    if (ndvi_count > 0u) {
        let spread = sub64(scale64(ndvi_squares, ndvi_count), multiply_signed(ndvi_sum, ndvi_sum));
        out.channels[5] = vec2<f32>(f32(ndvi_sum), sqrt(round64(spread))) / (f32(ndvi_count) * 1048576.0);
    }
    flags |= select(0u, FLAG_DARK_AROUND, ndvi_count == 0u);
    #end
    #if NORMALS
    out.normal_variation /= f32(max(with_normal, 1u));
    #end
    #if REACH
    out.reach /= most;
    flags |= select(0u, FLAG_ALONE, others == 0u);
    #end
    #if LRD
    out.lof = out.lof / most / own_density;
    #end
    #if LAST
    out.one_sided /= most;
    #end
    (*shape).around = out;
    return flags;
}
