//! Several neighbourhoods of each point from one search: each is a beginning of its sorted neighbours.

use crate::entropy::Beginnings;
use crate::frame::Frame;
use crate::moments::Offsets;
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
}

/// Where neighbourhoods of sorted members end, with memory that is used again.
#[derive(Debug, Default)]
pub(crate) struct Lengths {
    lengths: Vec<usize>,
    beginnings: Beginnings,
}

impl Lengths {
    /// `offsets` are those of the members from the query.
    pub(crate) fn of(&mut self, scales: &Scales, members: &[(u64, u32)], offsets: Offsets<'_>) -> &[usize] {
        match &scales.ends {
            Ends::Counts(counts, range) => self.by_count(counts, *range, offsets),
            Ends::Limits(limits) => {
                self.lengths.clear();
                self.lengths.extend(limits.iter().map(|limit| members.partition_point(|m| m.0 <= limit.0)));
                &self.lengths
            }
        }
    }

    /// Of neighbourhoods that are told by their members' number.
    pub(crate) fn by_count(
        &mut self,
        counts: &[u32],
        range: Option<Range>,
        offsets: Offsets<'_>,
    ) -> &[usize] {
        self.lengths.clear();
        self.lengths.extend(counts.iter().map(|&k| (k as usize).min(offsets[0].len())));
        self.lengths.extend(range.map(|range| self.beginnings.optimal(offsets, range)));
        &self.lengths
    }
}

/// Numbers that say where neighbourhoods end, in the kernels' uniform blocks.
pub(crate) const MOST_ENDS: usize = 16;

/// Most neighbourhoods of one search: an optimal one takes three numbers.
pub(crate) const MOST_SCALES: usize = MOST_ENDS - 2;

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
}
