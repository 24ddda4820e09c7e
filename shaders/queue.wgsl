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
// Words 0 and 1 count the queries left to the wide kernel and to the CPU. Their lists follow, one word for each query
// there is: positions in `sorted` (rows if FOREIGN; LOOKED_FAR if the narrow kernel has looked
// as far as it can), and rows.
@group(0) @binding(8) var<storage, read_write> queue: array<atomic<u32>>;
#if FILL
// Where each row's list begins in `output`; one more than rows.
@group(0) @binding(9) var<storage, read> starts: array<u32>;
#end
#if BENEATH
// What z is beside the coordinates, which are seen from above.
@group(0) @binding(9) var<storage, read> heights: array<i32>;
#end

// `query` is passed on to list 0, of the kernels with the wide distances, or 1, of the CPU.
fn leave(list: u32, query: u32) {
    let at = atomicAdd(&queue[list], 1u);
    #if FOREIGN
    let all = grid.rows;
    #else
    let all = grid.points;
    #end
    atomicStore(&queue[2u + list * all + at], query);
}

