// One invocation: one query, as in search.wgsl, of which nearly all end here. LOOKS is how often it looks: once where all
// queries go through (FIRST; those that this is not enough for are passed on with how far to look then, so that few
// lanes wait for others), more often around those that were passed on (QUEUED; with room for MORE) and around the points
// that tell how far to look from a cube (PROBE).
//
// Candidates are compared by keys: the squared distance above, rounded if need be, the candidate's number below. The k + 2
// smallest stand in named scalars, and members are looked up by their numbers in the end: no second round over all
// candidates, and no more work for each of them than distances alone would take.

// Beginning and length of each range; then the members' positions, some at a time.
var<workgroup> ranges: array<u32, RANGES * WORKGROUP>;

// Larger than every key.
const NO_KEY: u32 = 0xffffffffu;
// Bits of a place in a range, and of a candidate's number, of which ranges take 5.
const RANGE_BITS: u32 = 8u;
const MOST_IN_RANGE: u32 = 0xffu;
const KEY_BITS: u32 = RANGE_BITS + 5u;
// Those left for the distance. It may be rounded up to one bit more.
const DISTANCE_BITS: u32 = 31u - KEY_BITS;

// Where the candidate of a key stands in `sorted`.
fn position_of(key: u32, lane: u32) -> u32 {
    let slot = (key >> RANGE_BITS) & 0x1fu;
    let position = (ranges[slot * WORKGROUP + lane] >> RANGE_BITS) + (key & MOST_IN_RANGE);
    return select(position, NO_KEY, key == NO_KEY);
}

// Whether the first of two places in `sorted` comes after the second by distance, or by index where that is the same.
fn comes_after(first: u32, second: u32, q: vec3<f32>) -> bool {
    let a = sorted[first];
    let b = sorted[second];
    let difference = dist_sq(q, a) - dist_sq(q, b);
    return difference > 0.0 || (difference == 0.0 && bitcast<u32>(a.w) > bitcast<u32>(b.w));
}

fn key_of(q: vec3<f32>, candidate: vec4<f32>, number: u32, limit: f32, scale: f32) -> u32 {
    let d = dist_sq(q, candidate);
    // An integer below 2^23 is the mantissa of its sum with 2^23; the shift takes the exponent off.
    return select(NO_KEY, (bitcast<u32>(d * scale + 8388608.0) << KEY_BITS) + number, d <= limit);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var position = item(batch, group, lane);
    if (position >= batch.end) {
        return;
    }
    #if PROBE
    let probe = position;
    position = probed(probe);
    if (position == NO_NEIGHBOR) {
        output[probe] = 0u;
        return;
    }
    let q = sorted[position].xyz;
    #else
    #if QUEUED
    if (position >= atomicLoad(&queue[TAKEN])) {
        return;
    }
    position = atomicLoad(&queue[entry_of(TAKEN, position)]);
    #end
    let own = query_of(position);
    let q = own.at;
    let row = own.row;
    #if HALO
    if (row == NO_ROW) {
        return;
    }
    #end
    #end

    #if QUEUED
    // How far the first look suggests.
    var reach = bitcast<f32>(output[first_word(row)]);
    #else
    var reach = first_reach(q);
    #end
    var steps = 0u;
    var most_steps = min(MOST_STEPS, batch.steps);
    var given_up = false;
    // Numbers do not fit, or the list's end is at a distance that others have too.
    var unfit = false;
    // One candidate more is as far as the k-th, as far as keys tell.
    var tied = false;
    // Fewer than k within the radius: all of them belong.
    var fewer = false;
    var found = false;
    #if MORE
    // There was too much within this.
    var too_far = REACH_LIMIT;
    #end
    #list_declare
    for (var look = 0u; look < LOOKS; look += 1u) {
        reach = clamp(reach, 1.5, REACH_LIMIT);
        #if WITHIN
        reach = min(reach, sqrt(f32(grid.limit)) * 1.000001 + 1.0);
        #end
        // All of this and more is exact; what is rounded to FAR is not.
        var limit = min(floor(reach * reach), FAR - 1.0);
        #if WITHIN
        // Whatever is found is all that there is within the radius.
        let whole = f32(grid.limit) <= limit;
        limit = select(limit, f32(grid.limit), whole);
        #end
        let needed = 32u - countLeadingZeros(u32(limit));
        let scale = bitcast<f32>((127u + DISTANCE_BITS - max(needed, DISTANCE_BITS)) << 23u);
        #list_reset
        #each_candidates
        #newcomers NO_KEY : key_of(q, #candidate, #number, limit, scale)
        if (least < #last) {
            #list_merge
        }
        #end
        #if MORE
        if ((given_up || unfit) && look + 1u < LOOKS && most_steps < batch.steps) {
            // Beside a crowd: fewer of it are in the way of what may be nearer.
            too_far = reach;
            reach *= 0.6;
            most_steps = min(steps + MOST_STEPS, batch.steps);
            given_up = false;
            unfit = false;
            continue;
        }
        #end
        if (given_up || unfit) {
            break;
        }
        if (#kth != NO_KEY) {
            #if PROBE
            reach = max(sqrt(f32(#kth >> KEY_BITS) / scale), 1.0);
            #else
            found = true;
            tied = #next >> KEY_BITS == #kth >> KEY_BITS;
            unfit = tied && #last >> KEY_BITS == #kth >> KEY_BITS;
            if (unfit) {
                // All at the k-th distance lie within this.
                reach = sqrt(f32((#kth >> KEY_BITS) + 1u) / scale) * 1.000001 + 1.0;
            }
            #end
            break;
        }
        #if WITHIN
        if (whole) {
            found = true;
            fewer = true;
            break;
        }
        #end
        if (reach >= REACH_LIMIT) {
            break;
        }
        var seen = 0u;
        #list_count
        let wanted = sqrt(f32(grid.k) / f32(max(seen, 1u)));
        // Beside a surface nothing is seen for long, then thousands of points at once.
        reach = reach * clamp(1.2 * wanted, 1.25, select(2.0, 1.6, seen < 2u));
        #if MORE
        if (reach >= 0.95 * too_far && too_far < REACH_LIMIT) {
            reach = too_far;
            break;
        }
        #end
    }
    #if PROBE
    output[probe] = bitcast<u32>(reach);
    #else
    if (unfit || !found) {
        output[first_word(row)] = bitcast<u32>(reach);
        if (found) {
            leave(TO_TIED, position);
            return;
        }
        #if MORE
        leave(TO_LAST, position);
        #else
        if (unfit || given_up) {
            leave(TO_MORE, position);
        } else {
            #if FIRST
            leave(TO_AGAIN, position);
            #else
            leave(TO_LAST, position);
            #end
        }
        #end
        return;
    }
    if (tied) {
        // The worst of those takes the place after the list.
        let level = #kth >> KEY_BITS;
        #list_levels
        #list_positions
        #list_worst
    } else {
        #list_positions
    }
    var last = 0.0;
    #if LISTS
    let first = row * grid.k;
    let list_offset = grid.rows * grid.k;
    // The last one so far.
    var before = 0u;
    var before_index = 0u;
    #else
    var sums = no_sums();
    #end
    #each_member
    var d = FAR;
    var index = NO_NEIGHBOR;
    if (at != NO_KEY) {
        let candidate = sorted[at];
        d = dist_sq(q, candidate);
        last = max(last, d);
        #if LISTS
        index = bitcast<u32>(candidate.w);
        #else
        sums = with_member(sums, vec3<i32>(candidate.xyz - q), dist_to_u32(d));
        #end
    }
    #if LISTS
    let exact = dist_to_u32(d);
    var slot = member;
    if (exact > before || (exact == before && index >= before_index)) {
        before = exact;
        before_index = index;
    } else {
        // Keys that differ in the number alone may be in another order.
        while (slot > 0u && !given_up) {
            let there_sq = output[first + slot - 1u];
            let there = output[list_offset + first + slot - 1u];
            if (there_sq < exact || (there_sq == exact && there <= index)) {
                break;
            }
            output[first + slot] = there_sq;
            output[list_offset + first + slot] = there;
            slot -= 1u;
            steps += 1u;
            given_up = steps > batch.steps;
        }
    }
    output[first + slot] = exact;
    output[list_offset + first + slot] = index;
    #end
    #end
    #if WITHIN
    last = select(last, Dist(grid.limit), fewer);
    #end
    let faces = min(q - grid.face_low, grid.face_high - q);
    if (given_up || !within_face(last, min(faces.x, min(faces.y, faces.z)))) {
        leave(TO_CPU, row);
        return;
    }
    #if RECORDS
    write_record(row, sums);
    #end
    #end
}
