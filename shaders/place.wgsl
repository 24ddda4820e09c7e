// One invocation: one word of a record that the CPU made for a straggler; writes it to the straggler's row.

@group(0) @binding(0) var<uniform> batch: Batch;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read> made: array<u32>;
@group(0) @binding(3) var<storage, read_write> records: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = item(batch, group, local);
    if (i >= batch.end) {
        return;
    }
    records[targets[i / RECORD_WORDS] * RECORD_WORDS + i % RECORD_WORDS] = made[i];
}
