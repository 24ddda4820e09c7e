// Overhangs: which depths below a point others lie at.

// Bit 0: `index` is more than BENEATH_FAR below `height`; bit 1: more than BENEATH_NEAR and no more than BENEATH_FAR.
fn depth_seen(height: i32, index: u32) -> u32 {
    let depth = height - heights[index];
    return select(0u, 1u, depth > BENEATH_FAR) | select(0u, 2u, depth > BENEATH_NEAR && depth <= BENEATH_FAR);
}
