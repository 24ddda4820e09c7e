// The `wanted`-th smallest of all that the lanes' lists hold, bit by bit from the highest: `last` is the largest value
// that fewer than `wanted` are below. One count for each bit, so that none has to be reset in between.
if (lane < 32u) {
    atomicStore(&tally[lane], 0u);
}
workgroupBarrier();
for (var bit = 0u; bit < 32u; bit += 1u) {
    let middle = last | (0x80000000u >> bit);
    var below = 0u;
    #list_below
    if (below > 0u) {
        atomicAdd(&tally[bit], below);
    }
    workgroupBarrier();
    if (atomicLoad(&tally[bit]) < wanted) {
        last = middle;
    }
}
