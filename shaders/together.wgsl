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

// The queue's word of this workgroup's query of that turn; NO_NEIGHBOR if there is none, or more (CREW) than a crew takes.
fn queued_for(group: vec3<u32>, lane: u32, turn: u32) -> u32 {
    if (lane == 0u) {
        let own = batch.first + group.y * batch.width + group.x;
        let queued = atomicLoad(&queue[TAKEN]);
        #if CREW
        let which = turn * grid.crew + own;
        let few = is_for_crew(queued);
        #else
        let which = own;
        let few = true;
        #end
        entry = NO_NEIGHBOR;
        if (few && own < batch.end && which < queued) {
            entry = atomicLoad(&queue[entry_of(TAKEN, which)]);
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
