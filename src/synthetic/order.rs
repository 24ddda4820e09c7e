//! The order of a scene's points: by scan, shuffled within each.

use rayon::prelude::*;

use super::rng::mix;

/// Indices sorted by the 20-bit scan number of each point, shuffled where it is equal.
pub(super) fn by_scan(points: usize, scan: impl Fn(usize) -> u32 + Sync) -> Vec<u32> {
    let key = |i: usize| {
        let shuffle = mix(i as u64) >> 52;
        u64::from(scan(i)) << 44 | shuffle << 32 | i as u64
    };
    sorted((0..points).into_par_iter().with_min_len(1 << 12).map(key).collect())
}

/// Indices in a random order.
pub(super) fn shuffled(points: usize, seed: u64) -> Vec<u32> {
    let key = |i: usize| mix(seed ^ mix(i as u64)) & !0xffff_ffff | i as u64;
    sorted((0..points).into_par_iter().with_min_len(1 << 12).map(key).collect())
}

/// The indices in the lower halves of unique keys, by key.
fn sorted(mut keys: Vec<u64>) -> Vec<u32> {
    keys.par_sort_unstable();
    keys.into_par_iter().map(|key| key as u32).collect()
}
