// Shared by every kernel. Rust emits the constants (WORKGROUP, NO_NEIGHBOR, flags ...) above this text.

// One chunk's grid. Two levels: coarse cubes of one edge, each cut into n x n x n fine cells by its own count.
struct Grid {
    // Coarse cubes along each axis, and all of them.
    cubes: vec3<u32>,
    cube_count: u32,
    // Largest local coordinate of a loaded point.
    extent: vec3<f32>,
    // Edge of a coarse cube in quanta, and its inverse.
    edge: f32,
    // Distances below are from the query to these faces of the loaded box; far away where the cloud ends there.
    face_low: vec3<f32>,
    inverse_edge: f32,
    face_high: vec3<f32>,
    // Points loaded, core and halo.
    points: u32,
    // Members wanted, at most as many as the cloud has.
    k: u32,
    // Core points: rows of the output.
    rows: u32,
    // Added to every bound of a search in quanta: more than rounding moves a point against its cell.
    slack: f32,
    // Largest squared distance of a member, where the rule gives a radius.
    limit: u32,
    // How many times as long as wide cubes are, along x, where rows of cells lie: a power of two, and at most the cells a point.
    long: u32,
    // Workgroups that go through the queries that are left in the end; 0 if each of those has an invocation instead.
    crew: u32,
    // Where several neighbourhoods of a query end: numbers of members or squared distances, ascending. Then, for the optimal
    // number, its least, its most and the step.
    ends: array<vec4<u32>, 4>,
}

// What differs between the dispatches of one kernel.
struct Batch {
    // First item of this dispatch, and one past the last.
    first: u32,
    end: u32,
    // Workgroups along x; dispatches are folded into two dimensions.
    width: u32,
    // Rows and points that one invocation may visit, and places in a list that it may move.
    steps: u32,
}

fn item(batch: Batch, group: vec3<u32>, local: u32) -> u32 {
    return batch.first + (group.y * batch.width + group.x) * WORKGROUP + local;
}
