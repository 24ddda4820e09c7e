// One workgroup: one query with a radius that holds, or reaches past, more points than one invocation may visit. Its lanes
// share them out and join what each of them found. Writes what search.wgsl does (BALL), to the bit: its sums are whole numbers.

#if BENEATH
var<workgroup> all_seen: atomic<u32>;
#end

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let queued = queued_for(group, lane, 0u);
    if (queued == NO_NEIGHBOR) {
        return;
    }
    let own = query_of(queued);
    let q = own.at;
    let row = own.row;
    let last = Dist(grid.limit);
    let reach = sqrt(f32(last)) * 1.000001 + 0.5;
    var steps = 0u;
    var given_up = false;
    var count = 0u;
    #if BENEATH
    let height = heights[own.index];
    var seen = 0u;
    #each_candidate
    if (dist_sq(q, candidate) <= last) {
        seen |= depth_seen(height, bitcast<u32>(candidate.w));
    }
    #end
    #else
    #shell_declare
    #each_candidate
    #shell_insert
    #end
    #shell_count
    #end
    if (lane == 0u) {
        atomicStore(&gave_up, 0u);
        atomicStore(&members, 0u);
        #if BENEATH
        atomicStore(&all_seen, 0u);
        #end
    }
    workgroupBarrier();
    if (given_up) {
        atomicStore(&gave_up, 1u);
    }
    atomicAdd(&members, count);
    #if BENEATH
    atomicOr(&all_seen, seen);
    #end
    workgroupBarrier();
    if (lane == 0u) {
        // Sums of n products are multiplied by n: n² r² has to stay within 63 bits.
        let n = f32(atomicLoad(&members));
        let fits = n * n * max(f32(last), 1.0) < 4e18;
        verdict = select(LEFT, FOUND, fits && atomicLoad(&gave_up) == 0u);
    }
    if (workgroupUniformLoad(&verdict) == LEFT) {
        if (lane == 0u) {
            leave(TO_CPU, row);
        }
        return;
    }
    #if BENEATH
    if (lane == 0u) {
        output[row] = atomicLoad(&all_seen);
    }
    #else
    #shell_join
    if (lane == 0u) {
        #shell_write
    }
    #end
}
