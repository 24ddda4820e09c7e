//! Rows that have to be computed again, in groups whose boxes together are small.

use super::XyBox;

/// A core row that is not proved yet, and the margins that it asks for, in quanta.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) id: u64,
    /// Its place in the part's result.
    pub(crate) row: u32,
    pub(crate) point: [i32; 3],
    pub(crate) is_ground: bool,
    pub(crate) near: u64,
    pub(crate) below: u64,
}

impl Asked {
    pub(crate) fn near_box(&self) -> XyBox {
        XyBox::of_point(self.point).grown(self.near)
    }

    pub(crate) fn ground_box(&self) -> XyBox {
        XyBox::of_point(self.point).grown(self.below)
    }
}

/// The boxes of rows taken together.
pub(crate) fn boxes(rows: &[Asked]) -> (XyBox, XyBox) {
    rows.iter().fold((XyBox::NONE, XyBox::NONE), |(near, ground), row| {
        (near.and(row.near_box()), ground.and(row.ground_box()))
    })
}

/// Splits this deep at most: beyond, strips along a tile's edges are as narrow as their margins.
const DEEPEST: u32 = 8;

/// A box of its own must save this part of the common box's area: each takes a search structure of its own.
const WORTH: f64 = 0.9;

/// Groups of least area of their boxes, halving rows along the longer axis.
pub(crate) fn grouped(rows: Vec<Asked>) -> Vec<Vec<Asked>> {
    if rows.is_empty() { Vec::new() } else { split(rows, DEEPEST).1 }
}

fn split(mut rows: Vec<Asked>, depth: u32) -> (f64, Vec<Vec<Asked>>) {
    let area = boxes(&rows).0.area();
    if rows.len() < 2 || depth == 0 {
        return (area, vec![rows]);
    }
    let (low, high) = halves(&mut rows);
    let (low, high) = (split(low, depth - 1), split(high, depth - 1));
    match low.0 + high.0 < WORTH * area {
        true => (low.0 + high.0, low.1.into_iter().chain(high.1).collect()),
        false => (area, vec![rows]),
    }
}

/// Two halves of at least two rows, along the longer axis of their places.
pub(crate) fn halves(rows: &mut [Asked]) -> (Vec<Asked>, Vec<Asked>) {
    let places = XyBox::of_points(rows.iter().map(|row| &row.point));
    let axis = usize::from(places.edge(1) > places.edge(0));
    // Rows at one place stay in order, so that the split is the same in every run.
    rows.sort_by_key(|row| (row.point[axis], row.id));
    let (low, high) = rows.split_at(rows.len() / 2);
    (low.to_vec(), high.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_rows_get_boxes_of_their_own_and_near_ones_share() {
        let row = |(id, point)| Asked { id, row: 0, point, is_ground: false, near: 10, below: 0 };
        let rows = |points: &[[i32; 3]]| (0..).zip(points.iter().copied()).map(row).collect::<Vec<_>>();
        let far = grouped(rows(&[[0, 0, 0], [1, 1, 0], [5000, 0, 0], [5001, 3, 0], [0, 5000, 9]]));
        let mut sizes: Vec<_> = far.iter().map(Vec::len).collect();
        sizes.sort_unstable();
        // Halves are by number: one of the two near ones went with those far to its right.
        assert_eq!(sizes, [1, 1, 1, 2]);
        assert_eq!(grouped(rows(&[[0, 0, 0], [5, 5, 0], [9, 2, 0]])).len(), 1);
        assert!(grouped(Vec::new()).is_empty());
        // The border of a square is cheaper in strips than whole.
        let border: Vec<_> =
            (0..200).flat_map(|i| [[i * 10, 0, 0], [0, i * 10, 0], [2000, i * 10, 0]]).collect();
        let groups = grouped(rows(&border));
        let area: f64 = groups.iter().map(|g| boxes(g).0.area()).sum();
        assert!(groups.len() > 3 && area < 0.2 * boxes(&rows(&border)).0.area(), "{area}");
    }
}
