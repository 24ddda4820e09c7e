//! Where in XY the points are, and leaves of about as many points each.

use std::collections::HashMap;

use crate::part::XyBox;

/// Points by square cells, whose edge doubles when there are too many of them.
#[derive(Debug)]
pub(super) struct Histogram {
    /// An edge is 2^shift quanta.
    shift: u32,
    most: usize,
    cells: HashMap<[u32; 2], u64>,
}

impl Histogram {
    pub(super) fn new(most: usize) -> Self {
        Self { shift: 0, most, cells: HashMap::new() }
    }

    pub(super) fn add(&mut self, points: &[[i32; 3]]) {
        for point in points {
            *self.cells.entry(cell(*point, self.shift)).or_default() += 1;
            while self.cells.len() > self.most && self.shift < 31 {
                self.shift += 1;
                let mut wider = HashMap::with_capacity(self.cells.len() / 2);
                for (at, count) in self.cells.drain() {
                    *wider.entry(at.map(|v| v >> 1)).or_default() += count;
                }
                self.cells = wider;
            }
        }
    }
}

/// The cell of a place. Cells are counted from the lattice's least coordinate there can be.
fn cell(point: [i32; 3], shift: u32) -> [u32; 2] {
    [point[0], point[1]].map(|v| (v.wrapping_sub(i32::MIN) as u32) >> shift)
}

/// A part of the plane: a leaf, or two halves.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) points: u64,
    /// Bounds of its cells that hold points; those of different leaves share no place.
    pub(super) bounds: XyBox,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Leaf(usize),
    /// The axis, the first cell of the second half, and the halves.
    Halves(usize, u32, Box<[Node; 2]>),
}

/// The plane in leaves of so many points at most, or of one cell.
#[derive(Debug)]
pub(super) struct Tree {
    shift: u32,
    pub(super) root: Node,
    /// Points and bounds of each leaf, in the tree's order.
    pub(super) leaves: Vec<(u64, XyBox)>,
}

impl Tree {
    pub(super) fn new(histogram: Histogram, most: u64) -> Self {
        let shift = histogram.shift;
        let mut cells: Vec<_> = histogram.cells.into_iter().collect();
        cells.sort_unstable();
        let mut leaves = Vec::new();
        let root = node(&mut cells, shift, most, &mut leaves);
        Self { shift, root, leaves }
    }

    /// The leaf in which a point of the histogram lies.
    pub(super) fn leaf(&self, point: [i32; 3]) -> Option<usize> {
        let cell = cell(point, self.shift);
        let mut node = &self.root;
        loop {
            match &node.kind {
                Kind::Halves(axis, from, halves) => node = &halves[usize::from(cell[*axis] >= *from)],
                Kind::Leaf(leaf) => return node.bounds.holds(point).then_some(*leaf),
            }
        }
    }
}

fn node(cells: &mut [([u32; 2], u64)], shift: u32, most: u64, leaves: &mut Vec<(u64, XyBox)>) -> Node {
    let points = cells.iter().map(|cell| cell.1).sum();
    let ends = |a: usize| cells.iter().fold((u32::MAX, 0), |(l, h), c| (l.min(c.0[a]), h.max(c.0[a])));
    let ends = [ends(0), ends(1)];
    let corner = |cell: u32| (i64::from(cell) << shift) + i64::from(i32::MIN);
    let bounds = match cells.is_empty() {
        true => XyBox::NONE,
        false => XyBox {
            low: ends.map(|(low, _)| corner(low)),
            high: ends.map(|(_, high)| corner(high) + (1 << shift) - 1),
        },
    };
    if points <= most || cells.len() < 2 {
        leaves.push((points, bounds));
        return Node { points, bounds, kind: Kind::Leaf(leaves.len() - 1) };
    }
    let axis = usize::from(ends[1].1 - ends[1].0 > ends[0].1 - ends[0].0);
    cells.sort_unstable_by_key(|cell| (cell.0[axis], cell.0[1 - axis]));
    let mut seen = 0;
    let half = cells.iter().position(|cell| {
        seen += cell.1;
        seen * 2 >= points
    });
    // Whole rows of cells go together; the axis is the longer one, so there are two at least.
    let middle = cells[half.unwrap_or(0)].0[axis].max(ends[axis].0 + 1);
    let at = cells.partition_point(|cell| cell.0[axis] < middle);
    let (low, high) = cells.split_at_mut(at);
    let low = node(low, shift, most, leaves);
    let high = node(high, shift, most, leaves);
    Node { points, bounds, kind: Kind::Halves(axis, middle, Box::new([low, high])) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_in_the_one_leaf_that_holds_it() {
        let mut state = 1u64;
        let mut random = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % bound) as i32
        };
        // Half of them around one place; some at the lattice's ends.
        let mut points: Vec<[i32; 3]> = (0..20_000)
            .map(|i| match i % 2 {
                0 => [random(100), random(100) - 50, 0],
                _ => [random(1 << 20), random(1 << 19) - (1 << 18), 0],
            })
            .collect();
        points.extend([[i32::MIN, i32::MAX, 0], [i32::MAX, i32::MIN, 0], [0, 0, 0]]);
        for most_cells in [64, 4096] {
            let mut histogram = Histogram::new(most_cells);
            points.chunks(777).for_each(|batch| histogram.add(batch));
            assert!(histogram.cells.len() <= most_cells);
            let tree = Tree::new(histogram, 500);
            let mut counts = vec![0; tree.leaves.len()];
            for p in &points {
                let leaf = tree.leaf(*p).unwrap();
                assert!(tree.leaves[leaf].1.holds(*p));
                assert_eq!(tree.leaves.iter().filter(|l| l.1.holds(*p)).count(), 1);
                counts[leaf] += 1;
            }
            assert!(tree.leaves.iter().zip(&counts).all(|(leaf, count)| leaf.0 == *count));
            assert_eq!(tree.root.points, points.len() as u64);
        }
        assert_eq!(Tree::new(Histogram::new(9), 5).leaves.len(), 1);
    }
}
