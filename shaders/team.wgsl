// One workgroup: one query that the first kernel left, isolated or in a crowd, so that thousands of cells or points lie
// around it. Its lanes share those out, and each keeps the k nearest of its own; the k-th of all is then found by
// halving, and the lanes' sums are joined, or their members put in order (LISTS). Writes what search.wgsl does, in the wide
// distances.

var<workgroup> tally: array<atomic<u32>, 32>;
// Members nearer than the last.
var<workgroup> nearer_members: atomic<u32>;
#if LISTS
// Distance and index of each member, in any order.
var<workgroup> listed: array<vec2<u32>, LISTED>;
#end

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    for (var turn = 0u; turn < TURNS; turn += 1u) {
        let queued = queued_for(group, lane, turn);
        if (queued == NO_NEIGHBOR) {
            return;
        }
        answer(queued, lane);
    }
}

fn answer(queued: u32, lane: u32) {
    let own = query_of(queued & ~LOOKED_FAR);
    let q = own.at;
    let row = own.row;
    #if WITHIN
    let bound = min(FAR, Dist(grid.limit) + Dist(1));
    #else
    let bound = FAR;
    #end
    let most = bound;
    var steps = 0u;
    var given_up = false;
    #if CREW
    // How far the quick kernel thinks that this has to look.
    var reach = bitcast<f32>(output[first_word(row)]);
    #else
    var reach = first_reach(q);
    #end
    reach = max(reach, select(0.0, NARROW_LIMIT, (queued & LOOKED_FAR) != 0u));
    reach = clamp(reach, 1.5, REACH_LIMIT);
    #if WITHIN
    reach = min(reach, sqrt(f32(bound)) * 1.000001 + 1.0);
    #end
    #list_declare
    var last = FAR;
    // Fewer than k within the radius: all of them belong.
    var fewer = false;
    var next = AGAIN;
    for (var attempt = 0u; attempt < TEAM_ATTEMPTS; attempt += 1u) {
        #list_reset
        #each_candidate
        let d = dist_sq(q, candidate);
        if (d < #last) {
            #list_insert
        }
        #end
        if (lane == 0u) {
            atomicStore(&gave_up, 0u);
        }
        workgroupBarrier();
        if (given_up) {
            atomicStore(&gave_up, 1u);
        }
        last = 0u;
        let wanted = grid.k;
        #kth
        fewer = false;
        var decided = AGAIN;
        if (atomicLoad(&gave_up) != 0u) {
            decided = LEFT;
        } else if (last < bound) {
            if (f32(last) <= reach * reach) {
                decided = FOUND;
            } else {
                // k points were found, not surely the nearest: all nearer ones lie within the k-th.
                reach = min(sqrt(f32(last)) * 1.000001 + 1.0, REACH_LIMIT);
            }
        } else {
            #if WITHIN
            fewer = bound < FAR && reach * reach >= f32(bound);
            #end
            if (fewer) {
                decided = FOUND;
                last = Dist(grid.limit);
            } else if (reach >= REACH_LIMIT) {
                decided = LEFT;
            } else {
                // Beside a surface nothing is seen for long, then millions of points at once: to look often takes less.
                reach = min(reach * TEAM_GROWTH, REACH_LIMIT);
                #if WITHIN
                reach = min(reach, sqrt(f32(bound)) * 1.000001 + 1.0);
                #end
            }
        }
        if (lane == 0u) {
            verdict = decided;
        }
        next = workgroupUniformLoad(&verdict);
        if (next != AGAIN) {
            break;
        }
    }
    let faces = min(q - grid.face_low, grid.face_high - q);
    if (lane == 0u) {
        verdict = select(LEFT, FOUND, next == FOUND && within_face(last, min(faces.x, min(faces.y, faces.z))));
    }
    if (workgroupUniformLoad(&verdict) == LEFT) {
        if (lane == 0u) {
            leave(TO_CPU, row);
        }
        return;
    }
    reach = sqrt(f32(last)) * 1.000001 + 0.5;
    var cut = NO_NEIGHBOR;
    #if RECORDS
    var sums = no_sums();
    #end
    for (var turn = 0u; turn < 2u; turn += 1u) {
        if (lane == 0u) {
            atomicStore(&members, 0u);
            atomicStore(&nearer_members, 0u);
        }
        workgroupBarrier();
        #if RECORDS
        sums = no_sums();
        #end
        var nearer = 0u;
        #each_candidate
        let d = dist_sq(q, candidate);
        if (d <= last && (d < last || bitcast<u32>(candidate.w) <= cut)) {
            nearer += u32(d < last);
            #if LISTS
            let at = atomicAdd(&members, 1u);
            if (at < LISTED) {
                listed[at] = vec2<u32>(dist_to_u32(d), bitcast<u32>(candidate.w));
            }
            #else
            sums = with_member(sums, vec3<i32>(candidate.xyz - q), dist_to_u32(d));
            #end
        }
        #end
        #if RECORDS
        atomicAdd(&members, sums.count);
        #end
        atomicAdd(&nearer_members, nearer);
        if (given_up) {
            atomicStore(&gave_up, 1u);
        }
        workgroupBarrier();
        if (lane == 0u) {
            let count = atomicLoad(&members);
            let all = fewer || count == grid.k;
            verdict = select(select(AGAIN, FOUND, all), LEFT, atomicLoad(&gave_up) != 0u);
        }
        next = workgroupUniformLoad(&verdict);
        if (next != AGAIN) {
            break;
        }
        // Too many at the k-th distance: the list now holds the smallest indices among them.
        let distance = last;
        let wanted = grid.k - atomicLoad(&nearer_members);
        #list_reset_index
        #each_candidate
        let d = bitcast<u32>(candidate.w);
        if (dist_sq(q, candidate) == distance && d < #last) {
            #list_insert
        }
        #end
        last = 0u;
        #kth
        cut = last;
        last = distance;
    }
    if (next != FOUND) {
        if (lane == 0u) {
            leave(TO_CPU, row);
        }
        return;
    }
    #if LISTS
    let first = row * grid.k;
    let list_offset = grid.rows * grid.k;
    let count = atomicLoad(&members);
    for (var j = lane; j < grid.k; j += WORKGROUP) {
        var slot = j;
        var own = vec2<u32>(dist_to_u32(FAR), NO_NEIGHBOR);
        if (j < count) {
            own = listed[j];
            slot = 0u;
            for (var other = 0u; other < count; other += 1u) {
                let there = listed[other];
                slot += u32(there.x < own.x || (there.x == own.x && there.y < own.y));
            }
        }
        output[first + slot] = own.x;
        output[list_offset + first + slot] = own.y;
    }
    #else
    sums = joined(sums, lane);
    if (lane == 0u) {
        write_record(row, sums);
    }
    #end
}
