//! A cloud's distinct places: what the CPU indexes and queries, in an order that keeps neighbours close.

use std::ops::Range;

use rayon::prelude::*;

use crate::cloud::Lattice;

/// The points of a cloud by place, along a Morton curve.
///
/// Points of one place have the same neighbours, so each place is searched once however many points it holds.
#[derive(Debug)]
pub(super) struct Sites {
    curve: Curve,
    places: Vec<[i32; 3]>,
    /// Where each site's points begin in `order`; one more entry than sites.
    starts: Vec<u32>,
    /// Indices in the cloud, site by site, ascending within each.
    order: Vec<u32>,
}

impl Sites {
    pub(super) fn new(lattice: &Lattice<'_>) -> Self {
        let points = &lattice.points[..];
        let curve = Curve::new(lattice);
        let mut keys: Vec<(u64, u32)> = points
            .par_iter()
            .with_min_len(1 << 14)
            .enumerate()
            .map(|(i, p)| (curve.code(*p), i as u32))
            .collect();
        if curve.is_injective() {
            keys.par_sort_unstable();
        } else {
            keys.par_sort_unstable_by(|a, b| {
                let place = |key: &(u64, u32)| points[key.1 as usize];
                a.0.cmp(&b.0).then_with(|| place(a).cmp(&place(b))).then(a.1.cmp(&b.1))
            });
        }
        let order: Vec<u32> = keys.into_iter().map(|key| key.1).collect();
        let mut starts = Vec::new();
        let mut places = Vec::new();
        for (at, &i) in order.iter().enumerate() {
            let place = points[i as usize];
            if places.last() != Some(&place) {
                places.push(place);
                starts.push(at as u32);
            }
        }
        starts.push(order.len() as u32);
        Self { curve, places, starts, order }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn places(&self) -> &[[i32; 3]] {
        &self.places
    }

    fn range(&self, site: u32) -> Range<usize> {
        self.starts[site as usize] as usize..self.starts[site as usize + 1] as usize
    }

    /// The points at a site, ascending.
    pub(super) fn points(&self, site: u32) -> &[u32] {
        &self.order[self.range(site)]
    }

    /// The site at a place that some point of the cloud has.
    pub(super) fn at(&self, place: [i32; 3]) -> u32 {
        let key = (self.curve.code(place), place);
        self.places.partition_point(|p| (self.curve.code(*p), *p) < key) as u32
    }
}

/// A Morton curve through the cloud's box, of 21 bits an axis.
#[derive(Debug, Clone, Copy)]
struct Curve {
    min: [i32; 3],
    /// Low bits of offsets that the code leaves out.
    shift: u32,
}

impl Curve {
    fn new(lattice: &Lattice<'_>) -> Self {
        let widest = (0..3).map(|a| lattice.max[a].abs_diff(lattice.min[a])).max().unwrap_or(0);
        let bits = u32::BITS - widest.leading_zeros();
        Self { min: lattice.min, shift: bits.saturating_sub(21) }
    }

    /// Whether different places have different codes.
    fn is_injective(self) -> bool {
        self.shift == 0
    }

    fn code(self, place: [i32; 3]) -> u64 {
        let bits: [u64; 3] =
            std::array::from_fn(|a| spread(u64::from(place[a].abs_diff(self.min[a]) >> self.shift)));
        bits[0] | bits[1] << 1 | bits[2] << 2
    }
}

/// Moves bit i of a 21-bit number to bit 3 i.
fn spread(v: u64) -> u64 {
    let v = (v | v << 32) & 0x001f_0000_0000_ffff;
    let v = (v | v << 16) & 0x001f_0000_ff00_00ff;
    let v = (v | v << 8) & 0x100f_00f0_0f00_f00f;
    let v = (v | v << 4) & 0x10c3_0c30_c30c_30c3;
    (v | v << 2) & 0x1249_2492_4924_9249
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;

    fn check(points: &[[i32; 3]]) {
        let frame = Frame::new([0.0; 3], 1.0).unwrap();
        let sites = Sites::new(&Lattice::new(points.into(), frame).unwrap());
        let distinct: std::collections::HashSet<_> = points.iter().collect();
        assert_eq!(sites.len(), distinct.len());
        let mut seen = 0;
        for site in 0..sites.len() as u32 {
            let here = sites.points(site);
            seen += here.len();
            assert!(here.is_sorted());
            for &i in here {
                assert_eq!(points[i as usize], sites.places()[site as usize]);
                assert_eq!(sites.at(points[i as usize]), site);
            }
        }
        assert_eq!(seen, points.len());
    }

    #[test]
    fn every_point_is_at_its_site() {
        check(&[[5, 5, 5]]);
        check(&[[0; 3]; 9]);
        let near: Vec<_> = (0..500).map(|i| [i * 7 % 10, i * 3 % 5, i % 4]).collect();
        check(&near);
    }

    #[test]
    fn places_that_share_a_code_stay_apart() {
        let far = i32::MAX - 1;
        let wide: Vec<_> = (0..200).map(|i| [i * 5 % 7, if i % 3 == 0 { far } else { 0 }, i % 2]).collect();
        check(&wide);
    }

    #[test]
    fn bits_are_spread_by_three() {
        for v in [0, 1, 2, 0x15_5555, 0x1f_ffff] {
            let expected = (0..21).fold(0, |out, b| out | (v >> b & 1) << (3 * b));
            assert_eq!(spread(v), expected);
        }
    }
}
