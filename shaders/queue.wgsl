// What every search reads and writes, and how it passes queries on.

@group(0) @binding(0) var<uniform> grid: Grid;
@group(0) @binding(1) var<uniform> batch: Batch;
@group(0) @binding(2) var<storage, read> sorted: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> cube_cuts: array<u32>;
@group(0) @binding(4) var<storage, read> cube_bases: array<u32>;
@group(0) @binding(5) var<storage, read> cell_starts: array<u32>;
#if FOREIGN
// Places of the queries, three words each, in the order of the rows.
@group(0) @binding(6) var<storage, read> queries: array<f32>;
#else
// Row of the output for each point; NO_ROW for halo.
@group(0) @binding(6) var<storage, read> rows: array<u32>;
#end
@group(0) @binding(7) var<storage, read_write> output: array<u32>;
// The first words count the queries left to each of the kernels that follow, and to the CPU (TO_WIDE and so on). Their lists
// follow, one word for each query there is: rows for the CPU, positions in `sorted` otherwise (rows if FOREIGN; LOOKED_FAR
// if the narrow kernel has looked as far as it can).
@group(0) @binding(8) var<storage, read_write> queue: array<atomic<u32>>;
#if FILL
// Where each row's list begins in `output`; one more than rows.
@group(0) @binding(9) var<storage, read> starts: array<u32>;
#end
#if REACHES
// How far the k-th neighbours of some points of each cube are.
@group(0) @binding(9) var<storage, read> cube_reaches: array<vec4<f32>>;
#end
#if BENEATH
// What z is beside the coordinates, which are seen from above.
@group(0) @binding(9) var<storage, read> heights: array<i32>;
#end

// Where a list's entry stands in the queue.
fn entry_of(list: u32, at: u32) -> u32 {
    #if FOREIGN
    let all = grid.rows;
    #else
    let all = grid.points;
    #end
    return QUEUE_COUNTERS + list * all + at;
}

// `query` is passed on.
fn leave(list: u32, query: u32) {
    let at = atomicAdd(&queue[list], 1u);
    atomicStore(&queue[entry_of(list, at)], query);
}

// Whether the queries left are few enough for a crew.
fn is_for_crew(queued: u32) -> bool {
    return queued <= grid.crew * CREW_TURNS;
}
