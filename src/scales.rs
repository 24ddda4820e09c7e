//! Several neighbourhoods of each point from one search: each is a beginning of its sorted neighbours.

use crate::frame::Frame;
use crate::neighborhood::{Neighborhood, Rule};

/// Neighbourhoods that one search serves: all by number, or all by radius.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scales {
    /// What is searched for: the largest of them.
    pub(crate) rule: Rule,
    pub(crate) ends: Ends,
}

/// Where in the sorted neighbours each neighbourhood ends.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ends {
    /// After so many, or with the last; ascending. Then, in this range, where the eigenentropy is least.
    Counts(Vec<u32>, Option<Range>),
    /// After the last within a squared distance in quanta²; with the radius in the cloud's unit. Ascending.
    Limits(Vec<(u64, f64)>),
}

/// Numbers of neighbours: `least`, `least + step` .. up to `most`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) least: u32,
    pub(crate) most: u32,
    pub(crate) step: u32,
}

impl Range {
    pub(crate) fn has(self, n: u32) -> bool {
        n >= self.least && n <= self.most && (n - self.least).is_multiple_of(self.step)
    }
}

impl Scales {
    /// One neighbourhood, in quanta of a cloud of `n` points.
    pub(crate) fn one(neighborhood: Neighborhood, n: usize, frame: &Frame) -> Self {
        let rule = neighborhood.rule(n, frame);
        let ends = match neighborhood {
            Neighborhood::Optimal { least, most, step } => {
                let range = Range { least: least.get(), most: most.get(), step: step.get() };
                Ends::Counts(Vec::new(), Some(range))
            }
            Neighborhood::Radius { radius } => Ends::Limits(vec![(rule.limit.unwrap_or(u64::MAX), radius)]),
            Neighborhood::Knn { .. } | Neighborhood::KnnWithin { .. } => {
                Ends::Counts(vec![rule.k as u32], None)
            }
        };
        Self { rule, ends }
    }

    /// Whether the lists of a search at least as large hold these neighbourhoods as well.
    fn may_absorb(&self, larger: &Self) -> bool {
        match (&self.ends, &larger.ends) {
            (Ends::Counts(_, own), Ends::Counts(_, more)) => {
                self.rule.limit == larger.rule.limit && !(own.is_some() && more.is_some())
            }
            (Ends::Limits(_), Ends::Limits(_)) => true,
            _ => false,
        }
    }

    fn absorb(&mut self, larger: Self) {
        match (&mut self.ends, larger.ends) {
            (Ends::Counts(own, range), Ends::Counts(more, other)) => {
                own.extend(more);
                *range = range.or(other);
            }
            (Ends::Limits(own), Ends::Limits(more)) => own.extend(more),
            _ => {}
        }
        self.rule = larger.rule;
    }

    /// Whether one of the neighbourhoods is that of least entropy: the last.
    pub(crate) fn has_optimal(&self) -> bool {
        matches!(self.ends, Ends::Counts(_, Some(_)))
    }

    /// How many neighbourhoods a point has.
    pub(crate) fn len(&self) -> usize {
        match &self.ends {
            Ends::Counts(counts, range) => counts.len() + usize::from(range.is_some()),
            Ends::Limits(limits) => limits.len(),
        }
    }

    /// The radius of each neighbourhood, where it is given.
    pub(crate) fn radii(&self) -> Vec<Option<f64>> {
        match &self.ends {
            Ends::Limits(limits) => limits.iter().map(|limit| Some(limit.1)).collect(),
            _ => vec![None; self.len()],
        }
    }

    /// Where the neighbourhoods of these sorted members end. `offsets` are theirs from the query.
    pub(crate) fn lengths(&self, members: &[(u64, u32)], offsets: &[[i64; 3]], out: &mut Vec<usize>) {
        out.clear();
        match &self.ends {
            Ends::Counts(counts, range) => {
                out.extend(counts.iter().map(|&k| (k as usize).min(members.len())));
                out.extend(range.map(|range| optimal(offsets, range)));
            }
            Ends::Limits(limits) => {
                out.extend(limits.iter().map(|limit| members.partition_point(|m| m.0 <= limit.0)));
            }
        }
    }
}

/// Numbers that say where neighbourhoods end, in the kernels' uniform blocks.
pub(crate) const MOST_ENDS: usize = 16;

/// Most neighbourhoods of one search: an optimal one takes three numbers.
const MOST_SCALES: usize = MOST_ENDS - 2;

/// Puts neighbourhoods that one search can serve together; each with its place in `neighborhoods`, in the order of ends.
pub(crate) fn grouped(neighborhoods: &[Neighborhood], n: usize, frame: &Frame) -> Vec<(Scales, Vec<usize>)> {
    let mut order: Vec<usize> = (0..neighborhoods.len()).collect();
    let size = |i: &usize| {
        let rule = neighborhoods[*i].rule(n, frame);
        (rule.limit, rule.k)
    };
    order.sort_by_key(size);
    let mut groups: Vec<(Scales, Vec<usize>)> = Vec::new();
    for i in order {
        let one = Scales::one(neighborhoods[i], n, frame);
        match groups.iter().position(|g| g.1.len() < MOST_SCALES && g.0.may_absorb(&one)) {
            Some(at) => {
                let (scales, places) = &mut groups[at];
                // The optimal one stays the last.
                let place = places.len() - usize::from(scales.has_optimal());
                places.insert(place, i);
                scales.absorb(one);
            }
            None => groups.push((one, vec![i])),
        }
    }
    groups
}

/// The number in `range` of first members whose eigenentropy is least; all of them if there are fewer than `least`.
///
/// Sums are exact in f64 while offsets stay below 2^22; beyond, they are off by 1e-16 of the largest.
fn optimal(offsets: &[[i64; 3]], range: Range) -> usize {
    let mut sum = [0.0; 3];
    let mut square = [0.0; 6];
    let mut best = (f64::INFINITY, offsets.len());
    for (n, o) in (1..).zip(offsets) {
        let [x, y, z] = o.map(|v| v as f64);
        sum[0] += x;
        sum[1] += y;
        sum[2] += z;
        let products = [x * x, x * y, x * z, y * y, y * z, z * z];
        square.iter_mut().zip(products).for_each(|(s, p)| *s += p);
        if range.has(n) {
            let entropy = entropy(f64::from(n), sum, square);
            if entropy < best.0 {
                best = (entropy, n as usize);
            }
        }
    }
    best.1
}

/// Eigenentropy of n members from their sums, ln 3 where it has none.
fn entropy(n: f64, sum: [f64; 3], square: [f64; 6]) -> f64 {
    const DISORDER: f64 = 1.098_612_288_668_109_8;
    let [x, y, z] = sum;
    let products = [x * x, x * y, x * z, y * y, y * z, z * z];
    let c: [f64; 6] = std::array::from_fn(|i| n * square[i] - products[i]);
    let trace = c[0] + c[3] + c[5];
    if n < 3.0 || trace <= 0.0 {
        return DISORDER;
    }
    let values = eigenvalues(c.map(|v| v / trace));
    -values.into_iter().filter(|e| *e > 0.0).map(|e| e * e.ln()).sum::<f64>()
}

/// Eigenvalues of a symmetric matrix (xx, xy, xz, yy, yz, zz) in closed form (Smith 1961). Good to 1e-8 of the largest,
/// which is far below what tells one neighbourhood's entropy from the next one's.
fn eigenvalues(m: [f64; 6]) -> [f64; 3] {
    let [xx, xy, xz, yy, yz, zz] = m;
    let mean = (xx + yy + zz) / 3.0;
    let [a, b, c] = [xx - mean, yy - mean, zz - mean];
    let spread = ((a * a + b * b + c * c + 2.0 * (xy * xy + xz * xz + yz * yz)) / 6.0).sqrt();
    if spread <= 0.0 {
        return [mean; 3];
    }
    let determinant = a * (b * c - yz * yz) - xy * (xy * c - yz * xz) + xz * (xy * yz - b * xz);
    let angle = (determinant / (2.0 * spread.powi(3))).clamp(-1.0, 1.0).acos() / 3.0;
    let first = mean + 2.0 * spread * angle.cos();
    let last = mean + 2.0 * spread * (angle + 2.0 * std::f64::consts::FRAC_PI_3).cos();
    [first, 3.0 * mean - first - last, last]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbourhoods_of_one_kind_share_a_search() {
        let frame = Frame::new([0.0; 3], 0.01).unwrap();
        let all = [
            Neighborhood::radius(1.0).unwrap(),
            Neighborhood::knn(50).unwrap(),
            Neighborhood::knn_within(9, 2.0).unwrap(),
            Neighborhood::knn(10).unwrap(),
            Neighborhood::optimal(10, 20, 1).unwrap(),
            Neighborhood::radius(0.5).unwrap(),
        ];
        let groups = grouped(&all, 1000, &frame);
        let places: Vec<_> = groups.iter().map(|g| g.1.clone()).collect();
        assert_eq!(places, [vec![3, 1, 4], vec![5, 0], vec![2]]);
        let range = Range { least: 10, most: 20, step: 1 };
        assert_eq!(groups[0].0.ends, Ends::Counts(vec![10, 50], Some(range)));
        assert_eq!((groups[0].0.rule.k, groups[1].0.rule.limit), (50, Some(10_000)));
        assert_eq!(groups[1].0.radii(), [Some(0.5), Some(1.0)]);
    }

    #[test]
    fn closed_form_eigenvalues_are_those_of_the_matrix() {
        assert_eq!(eigenvalues([2.0, 0.0, 0.0, 2.0, 0.0, 2.0]), [2.0; 3]);
        let found = eigenvalues([3.0, 1.0, 0.0, 3.0, 0.0, 1.0]);
        assert!(found.iter().zip([4.0, 2.0, 1.0]).all(|(f, e)| (f - e).abs() < 1e-12), "{found:?}");
    }

    #[test]
    fn the_flattest_beginning_is_optimal() {
        // Nine points on a plane, then some above it.
        let mut offsets: Vec<[i64; 3]> = (0..9).map(|i| [i % 3 * 10, i / 3 * 10, 0]).collect();
        offsets.extend([[0, 0, 14], [10, 0, -14], [0, 10, 14]]);
        let range = |least, most, step| Range { least, most, step };
        assert_eq!(optimal(&offsets, range(9, 12, 1)), 9);
        assert_eq!(optimal(&offsets, range(8, 12, 2)), 8);
        assert_eq!(optimal(&offsets, range(40, 60, 1)), 12);
        assert_eq!(optimal(&[[0; 3]; 8], range(3, 8, 1)), 3);
    }
}
