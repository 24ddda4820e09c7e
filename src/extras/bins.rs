//! Sums over the columns of a square grid in XY, exact and on the host.

use rayon::prelude::*;

use super::{Choices, Extra, Extras};
use crate::backend::Job;
use crate::frame::Frame;

/// Edge of a cell in metres (Monnier 2012; Weinmann 2015).
const CELL: f64 = 0.25;

/// Index of the cell that a lattice coordinate lies in: cells begin at the frame's origin.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cells {
    /// So many quanta wide.
    Whole(i64),
    Wide(f64),
}

impl Cells {
    pub(crate) fn of(choices: &Choices, frame: &Frame) -> Self {
        Self::new(choices.units.horizontal.metres(CELL) / frame.quantum())
    }

    fn new(quanta: f64) -> Self {
        let whole = quanta.round();
        // 0.25/0.01 may not come out as 25.
        if whole >= 1.0 && (quanta - whole).abs() <= 1e-9 * whole {
            Self::Whole(whole as i64)
        } else {
            Self::Wide(quanta)
        }
    }

    fn at(self, v: i32) -> i64 {
        match self {
            Self::Whole(quanta) => i64::from(v).div_euclid(quanta),
            Self::Wide(quanta) => (f64::from(v) / quanta).floor() as i64,
        }
    }

    /// Coordinates between which the whole cell of `v` lies.
    pub(crate) fn around(self, v: i64) -> [i64; 2] {
        match self {
            Self::Whole(quanta) => {
                let low = v.div_euclid(quanta) * quanta;
                [low, low + quanta - 1]
            }
            // Rounding may move an edge by less than a quantum.
            Self::Wide(quanta) => {
                let cell = (v as f64 / quanta).floor();
                [(cell * quanta).floor() as i64 - 1, ((cell + 1.0) * quanta).ceil() as i64 + 1]
            }
        }
    }
}

/// What a cell's points say of each of them.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Column {
    count: u32,
    z_range: f64,
    z_std: f64,
}

impl Column {
    /// Of points' z in quanta.
    fn of(z: impl Iterator<Item = i32> + Clone, quantum: f64) -> Self {
        let count = z.clone().count();
        let sum: i128 = z.clone().map(i128::from).sum();
        let squares: i128 = z.clone().map(|z| i128::from(z).pow(2)).sum();
        let (low, high) = z.fold((i32::MAX, i32::MIN), |(low, high), z| (low.min(z), high.max(z)));
        let n = count as i128;
        // n² times the variance: whole, so that no order of the points shows.
        let scatter = n * squares - sum * sum;
        Self {
            count: count as u32,
            z_range: (f64::from(high) - f64::from(low)) * quantum,
            z_std: (scatter as f64).sqrt() / count as f64 * quantum,
        }
    }
}

pub(super) fn compute(job: &Job<'_>, wanted: &[Extra], choices: &Choices, out: &mut Extras) {
    let (points, quantum) = (&job.lattice.points, job.lattice.frame.quantum());
    let cells = Cells::of(choices, &job.lattice.frame);
    let mut order: Vec<([i64; 2], u32)> = points
        .par_iter()
        .enumerate()
        .with_min_len(1 << 14)
        .map(|(i, p)| ([cells.at(p[0]), cells.at(p[1])], i as u32))
        .collect();
    order.par_sort_unstable();
    let groups: Vec<&[([i64; 2], u32)]> = order.chunk_by(|a, b| a.0 == b.0).collect();
    let columns: Vec<Column> = groups
        .par_iter()
        .with_min_len(1 << 8)
        .map(|group| Column::of(group.iter().map(|(_, i)| points[*i as usize][2]), quantum))
        .collect();
    let spread = |value: fn(&Column) -> f64| {
        let mut values = vec![0.0; points.len()];
        for (group, column) in groups.iter().zip(&columns) {
            group.iter().for_each(|(_, i)| values[*i as usize] = value(column) as f32);
        }
        values
    };
    out.put(wanted, Extra::BinCount, || spread(|c| f64::from(c.count)));
    out.put(wanted, Extra::BinZRange, || spread(|c| c.z_range));
    out.put(wanted, Extra::BinZStd, || spread(|c| c.z_std));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_begin_at_the_origin_on_both_sides_of_it() {
        let quarter = Cells::new(0.25 / 0.01);
        assert_eq!([-26, -25, -1, 0, 24, 25].map(|v| quarter.at(v)), [-2, -1, -1, 0, 0, 1]);
        // A quarter metre in feet, in quanta of 0.01 ft.
        let feet = Cells::new(0.25 / 0.3048 / 0.01);
        assert_eq!([-1, 82, 83, 164, 165].map(|v| feet.at(v)), [-1, 0, 1, 1, 2]);
        assert_eq!([-26, -25, -1, 0, 24, 25].map(|v| quarter.around(v)[0]), [-50, -25, -25, 0, 0, 25]);
        for cells in [quarter, feet] {
            for v in -300..300 {
                let [low, high] = cells.around(v.into());
                assert!(
                    (-400..400).all(|w| cells.at(w) != cells.at(v) || (low..=high).contains(&i64::from(w)))
                );
            }
        }
    }

    #[test]
    fn sums_are_exact_far_from_zero() {
        let z = [i32::MAX, i32::MAX - 2, i32::MAX - 1];
        let column = Column::of(z.into_iter(), 0.5);
        assert_eq!(column, Column { count: 3, z_range: 1.0, z_std: 6f64.sqrt() / 3.0 * 0.5 });
    }
}
