//! Sets of a cloud's points, in ascending order. Going through a bit of every point costs less than sorting the few that
//! are in the set, and all cores can do it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rayon::prelude::*;

/// Row of a halo point, which has none.
pub(crate) const NO_ROW: u32 = u32::MAX;

/// Points that are marked, and words that are gone through, by one task.
const MARKED: usize = 1 << 13;
const WORDS: usize = 1 << 11;

/// Members of a chunk, and which of them are core.
pub(super) struct Marks {
    /// The point of the first bit.
    first: usize,
    members: Vec<AtomicU64>,
    core: Vec<AtomicU64>,
}

impl Marks {
    /// Marks the core points of a chunk and the others.
    pub(super) fn of(core: &[u32], halo: &[u32]) -> Self {
        let both = || core.par_chunks(MARKED).chain(halo.par_chunks(MARKED));
        let low = both().filter_map(|points| points.iter().min()).min().map_or(0, |&i| i as usize);
        let high = both().filter_map(|points| points.iter().max()).max().map_or(0, |&i| i as usize);
        let first = low / 64 * 64;
        let none = || (0..(high + 1 - first).div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let marks = Self { first, members: none(), core: none() };
        core.par_chunks(MARKED).for_each(|points| {
            each_word(points, first, |word, bits| {
                marks.members[word].fetch_or(bits, Relaxed);
                marks.core[word].fetch_or(bits, Relaxed);
            });
        });
        halo.par_chunks(MARKED).for_each(|points| {
            each_word(points, first, |word, bits| {
                marks.members[word].fetch_or(bits, Relaxed);
            });
        });
        marks
    }

    /// The members, the row of each, and the core points.
    pub(super) fn ascending(self) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
        let Self { first, members, core } = self;
        let blocks = || members.par_chunks(WORDS).zip(core.par_chunks(WORDS));
        let ones =
            |words: &[AtomicU64]| words.iter().map(|word| word.load(Relaxed).count_ones() as usize).sum();
        let counts: Vec<[usize; 2]> = blocks().map(|(members, core)| [ones(members), ones(core)]).collect();
        let [all, own] = [0, 1].map(|i| counts.iter().map(|count| count[i]).sum());
        let (mut out, mut rows, mut out_core) = (vec![0; all], vec![NO_ROW; all], vec![0; own]);
        let mut parts = Vec::with_capacity(counts.len());
        let mut rest = (&mut out[..], &mut rows[..], &mut out_core[..]);
        let mut row = 0;
        for [all, own] in counts {
            let (members, more_members) = rest.0.split_at_mut(all);
            let (rows, more_rows) = rest.1.split_at_mut(all);
            let (core, more_core) = rest.2.split_at_mut(own);
            parts.push((row, members, rows, core));
            rest = (more_members, more_rows, more_core);
            row += own as u32;
        }
        blocks().zip(parts).enumerate().for_each(|(block, ((marked, own), part))| {
            let (first_row, members, rows, core) = part;
            let (mut at, mut at_core) = (0, 0);
            for (word, (marked, own)) in marked.iter().zip(own).enumerate() {
                let (mut left, own) = (marked.load(Relaxed), own.load(Relaxed));
                while left != 0 {
                    let bit = left.trailing_zeros();
                    let i = (first + (block * WORDS + word) * 64) as u32 + bit;
                    members[at] = i;
                    if own >> bit & 1 == 1 {
                        rows[at] = first_row + at_core as u32;
                        core[at_core] = i;
                        at_core += 1;
                    }
                    at += 1;
                    left &= left - 1;
                }
            }
        });
        (out, rows, out_core)
    }
}

/// The bits of each word that points are in: of neighbours in the list that share a word, once.
fn each_word(points: &[u32], first: usize, mut mark: impl FnMut(usize, u64)) {
    let place = |i: u32| ((i as usize - first) / 64, 1 << (i % 64));
    for points in points.chunk_by(|a, b| place(*a).0 == place(*b).0) {
        let bits = points.iter().fold(0, |bits, &i| bits | place(i).1);
        mark(place(points[0]).0, bits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_ascend_and_core_points_have_rows() {
        let (members, rows, core) = Marks::of(&[199, 3, 64], &[63, 2]).ascending();
        assert_eq!(members, [2, 3, 63, 64, 199]);
        assert_eq!(rows, [NO_ROW, 0, NO_ROW, 1, 2]);
        assert_eq!(core, [3, 64, 199]);
        let (members, rows, core) = Marks::of(&[], &[]).ascending();
        assert!(members.is_empty() && rows.is_empty() && core.is_empty());
    }

    #[test]
    fn sets_of_many_blocks_are_those_of_a_sort() {
        let n = 3_000_017u64;
        let point = |i: u64| (1_000_003 + i * 777_767 % n) as u32;
        let (own, halo): (Vec<u32>, Vec<u32>) =
            ((0..300_000).map(point).collect(), (300_000..400_000).map(point).collect());
        let (members, rows, core) = Marks::of(&own, &halo).ascending();
        let mut expected = [own.clone(), halo].concat();
        expected.sort_unstable();
        assert!(members == expected);
        let mut expected = own;
        expected.sort_unstable();
        assert!(core == expected);
        for (member, row) in members.iter().zip(rows) {
            assert_eq!(core.binary_search(member).ok(), (row != NO_ROW).then_some(row as usize));
        }
    }
}
