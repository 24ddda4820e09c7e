//! Sets of a cloud's points, in ascending order. Going through a bit of every point costs less than sorting the few that
//! are in the set.

/// Row of a halo point, which has none.
pub(crate) const NO_ROW: u32 = u32::MAX;

/// Members of a chunk, and which of them are core.
pub(super) struct Marks {
    members: Vec<u64>,
    core: Vec<u64>,
    count: usize,
    core_count: usize,
}

impl Marks {
    pub(super) fn new(n: usize) -> Self {
        let words = n.div_ceil(64);
        Self { members: vec![0; words], core: vec![0; words], count: 0, core_count: 0 }
    }

    /// Marks points that are not marked yet.
    pub(super) fn mark(&mut self, points: &[u32], core: bool) {
        for &i in points {
            let (word, bit) = (i as usize / 64, 1 << (i % 64));
            self.members[word] |= bit;
            if core {
                self.core[word] |= bit;
            }
        }
        self.count += points.len();
        self.core_count += if core { points.len() } else { 0 };
    }

    /// The members, the row of each, and the core points.
    pub(super) fn ascending(self) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
        let (mut members, mut rows) = (Vec::with_capacity(self.count), Vec::with_capacity(self.count));
        let mut core = Vec::with_capacity(self.core_count);
        for (word, (&marked, &own)) in self.members.iter().zip(&self.core).enumerate() {
            let mut left = marked;
            while left != 0 {
                let bit = left.trailing_zeros();
                let i = word as u32 * 64 + bit;
                members.push(i);
                if own >> bit & 1 == 1 {
                    rows.push(core.len() as u32);
                    core.push(i);
                } else {
                    rows.push(NO_ROW);
                }
                left &= left - 1;
            }
        }
        (members, rows, core)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_ascend_and_core_points_have_rows() {
        let mut marks = Marks::new(200);
        marks.mark(&[199, 3, 64], true);
        marks.mark(&[63, 0], false);
        let (members, rows, core) = marks.ascending();
        assert_eq!(members, [0, 3, 63, 64, 199]);
        assert_eq!(rows, [NO_ROW, 0, NO_ROW, 1, 2]);
        assert_eq!(core, [3, 64, 199]);
    }
}
