// One invocation: one row whose columns stay on the device; adds the flags that the host knows, drops those that no feature
// is about, and writes the values that the catalogue fixes by flags, NaN above all. Integer stores: a NaN in f32
// arithmetic may come out as anything.

@group(0) @binding(0) var<uniform> grid: Grid;
@group(0) @binding(1) var<uniform> batch: Batch;
@group(0) @binding(2) var<storage, read> marks: array<u32>;
@group(0) @binding(3) var<storage, read_write> columns: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = item(batch, group, local);
    if (row >= batch.end) {
        return;
    }
    var flags = columns[row];
    #if MARKS
    flags |= marks[row];
    #end
    flags &= KEPT_FLAGS;
    columns[row] = flags;
    #columns
}
