// One invocation: one point of the chunk, in cell order, or one query that is no point of it (FOREIGN); finds the squared
// distance of its farthest member, then writes the record of its neighbourhood's exact sums, or the sorted list of its members (LISTS). The farthest member is the k-th
// (default), the k-th unless it lies beyond a radius (WITHIN), or whatever a radius holds (BALL): then there can be records
// for several radii at once, the members' number (COUNTS), their indices in any order (FILL), or whether some are
// far below and some not so far (BENEATH).
//
// The k + 1 smallest squared distances stand in named scalars: runtime-indexed private arrays spill. Members are found in
// a second round. Points at exactly the k-th distance are settled before it, by index: the smallest take the slots then.

var<workgroup> ranges: array<vec2<u32>, RANGES * WORKGROUP>;

// What is sought the least of: squared distances, or the indices of points at one. Those of a chunk are below 2^24, so that
// distances' type holds them.
fn sought(q: vec3<f32>, candidate: vec4<f32>, by_index: bool, distance: Dist) -> Dist {
    let d = dist_sq(q, candidate);
    return select(d, select(FAR, Dist(bitcast<u32>(candidate.w)), d == distance), by_index);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var position = item(batch, group, lane);
    if (position >= batch.end) {
        return;
    }
    #if QUEUED
    #if LAST
    let tied = atomicLoad(&queue[TO_TIED]);
    let others = atomicLoad(&queue[TO_LAST]);
    let rest = select(others, 0u, is_for_crew(others));
    if (position >= tied + rest) {
        return;
    }
    let is_tied = position < tied;
    let list = select(TO_LAST, TO_TIED, is_tied);
    let queued = atomicLoad(&queue[entry_of(list, select(position - tied, position, is_tied))]);
    #else
    if (position >= atomicLoad(&queue[TAKEN])) {
        return;
    }
    let queued = atomicLoad(&queue[entry_of(TAKEN, position)]);
    #end
    position = queued & ~LOOKED_FAR;
    #end
    let own = query_of(position);
    let q = own.at;
    let row = own.row;
    #if HALO
    if (row == NO_ROW) {
        return;
    }
    #end

    var steps = 0u;
    var given_up = false;
    #if BALL
    let last = Dist(grid.limit);
    #else
    #if WITHIN
    let bound = min(FAR, Dist(grid.limit) + Dist(1));
    #else
    let bound = FAR;
    #end
    #list_declare
    var found = false;
    var last = FAR;
    // Of the points at exactly the k-th distance those up to an index belong: so many of them.
    var by_index = false;
    var wanted_of_tied = 0u;
    var cut = FAR;
    var most = bound;
    // Fewer than k within the radius: all of them belong.
    var fewer = false;
    #if LAST
    // How far the quick kernel thinks that this has to look.
    var reach = bitcast<f32>(output[first_word(row)]);
    #else
    var reach = first_reach(q);
    #if QUEUED
    reach = max(reach, select(0.0, NARROW_LIMIT, (queued & LOOKED_FAR) != 0u));
    #end
    #end
    reach = clamp(reach, 1.5, REACH_LIMIT);
    for (var attempt = 0u; attempt < ATTEMPTS; attempt += 1u) {
        #list_reset
        #each_candidates
        #newcomers FAR : sought(q, #candidate, by_index, last)
        if (least < #last) {
            #list_merge
        }
        #end
        if (given_up) {
            break;
        }
        if (by_index) {
            #list_pick
            break;
        }
        if (#kth < bound) {
            if (f32(#kth) <= reach * reach) {
                found = true;
                last = #kth;
                #if RECORDS
                if (#next == last) {
                    var nearer = 0u;
                    #list_nearer
                    wanted_of_tied = grid.k - nearer;
                    by_index = true;
                    most = FAR;
                    reach = sqrt(f32(last)) * 1.000001 + 0.5;
                    continue;
                }
                #end
                break;
            }
            // k points were found, not surely the nearest: all nearer ones lie within the k-th.
            reach = min(sqrt(f32(#kth)) * 1.000001 + 1.0, REACH_LIMIT);
        } else {
            #if WITHIN
            if (bound < FAR && reach * reach >= f32(bound)) {
                found = true;
                fewer = true;
                last = Dist(grid.limit);
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
            #if FAR_QUEUED
            let growth = 1.3;
            #else
            let growth = select(4.0, 1.6, seen < 2u);
            #end
            reach = min(reach * clamp(1.2 * wanted, 1.5, growth), REACH_LIMIT);
            #if WITHIN
            reach = min(reach, sqrt(f32(bound)) * 1.000001 + 1.0);
            #end
        }
    }
    if (!found || given_up) {
        #if FAR_QUEUED
        leave(TO_CPU, row);
        #else
        leave(TO_WIDE, select(position | LOOKED_FAR, position, given_up));
        #end
        return;
    }
    #end
    let faces = min(q - grid.face_low, grid.face_high - q);
    if (!within_face(last, min(faces.x, min(faces.y, faces.z)))) {
        leave(TO_CPU, row);
        return;
    }
    #if BALL
    let reach = sqrt(f32(last)) * 1.000001 + 0.5;
    #else
    reach = sqrt(f32(last)) * 1.000001 + 0.5;
    #end

    #if LISTS
    let first = row * grid.k;
    let list_offset = grid.rows * grid.k;
    #list_clear
    #each_candidate
    let d = dist_sq(q, candidate);
    if (d <= last) {
        // Slots of this distance; among them indices ascend, and the largest fall off the end of the list.
        var slot = 0u;
        var slot_end = 0u;
        #list_rank
        var index = bitcast<u32>(candidate.w);
        if (d < last && slot + 1u == slot_end) {
            output[list_offset + first + slot] = index;
            slot = slot_end;
        } else if (slot < slot_end && index > output[list_offset + first + slot_end - 1u]) {
            slot = slot_end;
        }
        while (slot < slot_end && index != NO_NEIGHBOR && !given_up) {
            let there = output[list_offset + first + slot];
            if (index < there) {
                output[list_offset + first + slot] = index;
                index = there;
            }
            slot += 1u;
            steps += 1u;
            given_up = steps > batch.steps;
        }
    }
    #end
    if (given_up) {
        #if FAR_QUEUED
        leave(TO_CPU, row);
        #else
        leave(TO_WIDE, position);
        #end
        return;
    }
    #list_write
    #else
    #if BALL
    #if COUNTS
    var count = 0u;
    #each_candidate
    count += u32(dist_sq(q, candidate) <= last);
    #end
    if (given_up) {
        leave(TO_CPU, row);
        return;
    }
    output[row] = count;
    #else
    #if FILL
    var at = starts[row];
    let end = starts[row + 1u];
    if (at == end) {
        return;
    }
    #each_candidate
    if (dist_sq(q, candidate) <= last && at < end) {
        output[at] = bitcast<u32>(candidate.w);
        at += 1u;
    }
    #end
    #else
    #if BENEATH
    let height = heights[own.index];
    var seen = 0u;
    #each_candidate
    if (dist_sq(q, candidate) <= last) {
        seen |= depth_seen(height, bitcast<u32>(candidate.w));
    }
    #end
    if (given_up) {
        leave(TO_WIDE, position);
        return;
    }
    output[row] = seen;
    #else
    #shell_declare
    #each_candidate
    #shell_insert
    #end
    if (given_up) {
        leave(TO_WIDE, position);
        return;
    }
    #shell_write
    #end
    #end
    #end
    #else
    var sums = no_sums();
    #each_candidate
    let d = dist_sq(q, candidate);
    if (d <= last && (d < last || Dist(bitcast<u32>(candidate.w)) <= cut)) {
        sums = with_member(sums, vec3<i32>(candidate.xyz - q), dist_to_u32(d));
    }
    #end
    if (given_up || !(fewer || sums.count == grid.k)) {
        #if FAR_QUEUED
        leave(TO_CPU, row);
        #else
        leave(TO_WIDE, position);
        #end
        return;
    }
    write_record(row, sums);
    #end
    #end
}
