// What the lanes of one workgroup share that answers one query.

var<workgroup> entry: u32;
// Whether a lane gave up; members of all lanes.
var<workgroup> gave_up: atomic<u32>;
var<workgroup> members: atomic<u32>;
// What comes next is decided once, so that no lane goes another way.
var<workgroup> verdict: u32;

const AGAIN: u32 = 0u;
const FOUND: u32 = 1u;
const LEFT: u32 = 2u;

// The queue's word of this workgroup's query; NO_NEIGHBOR if there is none.
fn queued_for(group: vec3<u32>, lane: u32) -> u32 {
    if (lane == 0u) {
        let which = batch.first + group.y * batch.width + group.x;
        entry = NO_NEIGHBOR;
        if (which < batch.end && which < atomicLoad(&queue[TO_WIDE])) {
            entry = atomicLoad(&queue[entry_of(TO_WIDE, which)]);
        }
    }
    return workgroupUniformLoad(&entry);
}

#if RECORDS
var<workgroup> parts: array<Sums, WORKGROUP>;

// Joins the sums of all lanes; what the first of them gets holds every member.
fn joined(own: Sums, lane: u32) -> Sums {
    // The first lane may still read what it was given before.
    workgroupBarrier();
    parts[lane] = own;
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) {
            parts[lane] = merged(parts[lane], parts[lane + half]);
        }
    }
    return parts[lane];
}
#end
