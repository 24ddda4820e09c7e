//! Exact integer sums over one neighbourhood: what every formula starts from, on either backend.

use crate::features::Flags;

/// Sums of lattice offsets from the query over the members of N, in quanta, and exact facts about their shape.
///
/// Integers throughout, so neither the order of the members nor the device that summed them shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Moments {
    pub(crate) n: u32,
    /// Members but the query: n, where the query is a place that no point of the cloud stands for.
    pub(crate) others: u32,
    /// Σ o.
    pub(crate) sum: [i64; 3],
    /// Σ o oᵀ as xx, xy, xz, yy, yz, zz.
    pub(crate) square: [i128; 6],
    /// Squared distance to the farthest member.
    pub(crate) radius_sq: u64,
    /// Squared distance to the nearest of the others: duplicates give zero, as does a query alone.
    pub(crate) nearest_sq: u64,
    /// Σ of distances, each rounded to 2^-16 quantum.
    pub(crate) distance_sum: u128,
    /// Sizes of the bounding box.
    pub(crate) extent: [i64; 3],
    pub(crate) z_min: i64,
    pub(crate) z_max: i64,
    pub(crate) flags: Flags,
}

impl Moments {
    /// Sums over offsets from the query. A point of the cloud is one of them (offset zero), if it is a member; of a foreign
    /// query, which is none, all members are others.
    pub(crate) fn new(offsets: &[[i64; 3]], foreign: bool) -> Self {
        let n = offsets.len() as u32;
        let others = if foreign { n } else { n.saturating_sub(1) };
        let mut m = Self { n, others, z_min: i64::MAX, z_max: i64::MIN, ..Self::default() };
        let widest = offsets.iter().flatten().map(|v| v.unsigned_abs()).max().unwrap_or(0);
        // Products of 28-bit offsets leave 7 bits of an i64 for the sum of 127; beyond, the sums are wider.
        if widest < 1 << 28 && offsets.len() < 1 << 7 {
            let mut square = [0i64; 6];
            for &[x, y, z] in offsets {
                let products = [x * x, x * y, x * z, y * y, y * z, z * z];
                square.iter_mut().zip(products).for_each(|(s, p)| *s += p);
            }
            m.square = square.map(i128::from);
        } else {
            for o in offsets {
                let [x, y, z] = o.map(i128::from);
                let products = [x * x, x * y, x * z, y * y, y * z, z * z];
                m.square.iter_mut().zip(products).for_each(|(s, p)| *s += p);
            }
        }
        let (mut low, mut high) = ([i64::MAX; 2], [i64::MIN; 2]);
        // The two smallest: the smaller is the query's own zero.
        let mut nearest = [u64::MAX; 2];
        for &[x, y, z] in offsets {
            for (a, v) in [x, y].into_iter().enumerate() {
                low[a] = low[a].min(v);
                high[a] = high[a].max(v);
            }
            m.sum[0] += x;
            m.sum[1] += y;
            m.sum[2] += z;
            m.z_min = m.z_min.min(z);
            m.z_max = m.z_max.max(z);
            let dist_sq = x.unsigned_abs().pow(2) + y.unsigned_abs().pow(2) + z.unsigned_abs().pow(2);
            m.radius_sq = m.radius_sq.max(dist_sq);
            nearest = [nearest[0].min(dist_sq), nearest[1].min(dist_sq.max(nearest[0]))];
            m.distance_sum += u128::from(fixed_sqrt(dist_sq));
        }
        if m.others > 0 {
            m.nearest_sq = nearest[usize::from(!foreign)];
        }
        if !offsets.is_empty() {
            m.extent = [high[0] - low[0], high[1] - low[1], m.z_max - m.z_min];
        }
        m.flags = flags(offsets, foreign);
        if n > 0 && m.radius_sq == 0 {
            m.flags = m.flags | Flags::NO_RADIUS;
        }
        m
    }

    /// n Σ o oᵀ − Σo Σoᵀ = n² C, in quanta²: exact, whatever the neighbourhood's distance from the query.
    pub(crate) fn scatter(&self) -> [i128; 6] {
        self.scatter_of(i128::from(self.n))
    }

    /// The same of the others: the query's own offset is zero, so that only the count changes.
    pub(crate) fn scatter_of_rest(&self) -> [i128; 6] {
        self.scatter_of(i128::from(self.others))
    }

    fn scatter_of(&self, n: i128) -> [i128; 6] {
        let [x, y, z] = self.sum.map(i128::from);
        let products = [x * x, x * y, x * z, y * y, y * z, z * z];
        std::array::from_fn(|i| n * self.square[i] - products[i])
    }
}

/// `round(sqrt(dist_sq) · 2^16)`: a distance that every device can compute to the bit, and that sums in any order.
pub(crate) fn fixed_sqrt(dist_sq: u64) -> u64 {
    // The f64 root is off by far less than 1 of the fixed point's units, so one step sets it right. It is right
    // when r² − r < dist_sq · 2^32 <= r² + r: the nearest integer to a root that no half-integer can be.
    if dist_sq == 0 {
        return 0;
    }
    let mut r = ((dist_sq as f64).sqrt() * 65536.0).round_ties_even() as u64;
    if dist_sq < 1 << 31 {
        let square = dist_sq << 32;
        r -= u64::from(square + r <= r * r);
        r += u64::from(square > r * r + r);
        return r;
    }
    let square = u128::from(dist_sq) << 32;
    let root = u128::from(r);
    r -= u64::from(square + root <= root * root);
    r += u64::from(square > root * root + root);
    r
}

fn flags(offsets: &[[i64; 3]], foreign: bool) -> Flags {
    if offsets.is_empty() {
        return Flags::EMPTY;
    }
    let mut flags = Flags::default();
    if offsets.len() < 3 {
        flags = flags | Flags::FEW;
    }
    match spanned(offsets.iter().copied()) {
        0 => flags = flags | Flags::IDENTICAL,
        1 => flags = flags | Flags::COLLINEAR,
        _ => {}
    }
    // One zero offset is the query's own; its duplicates stay.
    let query = offsets.iter().position(|o| *o == [0; 3]).filter(|_| !foreign);
    let rest = offsets.iter().enumerate().filter(|(i, _)| Some(*i) != query).map(|(_, o)| *o);
    if offsets.len() < 3 + usize::from(query.is_some()) || spanned(rest) < 2 {
        flags = flags | Flags::NO_PLANE;
    }
    flags
}

/// Dimensions that the points span: 0 for one place, 1 for a line, 2 for more.
fn spanned(mut points: impl Iterator<Item = [i64; 3]>) -> u32 {
    let Some(first) = points.next() else { return 0 };
    let mut along: Option<[i64; 3]> = None;
    for p in points {
        let d: [i64; 3] = std::array::from_fn(|a| p[a] - first[a]);
        match along {
            None if d == [0; 3] => {}
            None => along = Some(d),
            Some(a) => {
                // Differences within one lattice stay below 2^31, so these products' difference fits.
                let cross = |i: usize, j: usize| a[i] * d[j] - a[j] * d[i];
                if cross(1, 2) != 0 || cross(2, 0) != 0 || cross(0, 1) != 0 {
                    return 2;
                }
            }
        }
    }
    u32::from(along.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_roots_are_rounded_to_the_nearest() {
        let around = |d: u64| d - 2..=d + 2;
        let edges = [1 << 31, 1 << 32, 1 << 40, 1 << 52, 1 << 53, 1 << 62, u64::MAX - 2].into_iter();
        let spread = (1..20_000u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (i % 64));
        for d in (0..5000).chain(edges.flat_map(around)).chain(spread) {
            let wide = u128::from(d) << 32;
            let floor = wide.isqrt();
            // The root lies above floor + 1/2 exactly when wide > floor² + floor.
            let expected = floor + u128::from(wide - floor * floor > floor);
            assert_eq!(u128::from(fixed_sqrt(d)), expected, "{d}");
        }
    }

    #[test]
    fn flags_tell_places_lines_and_planes() {
        let of = |offsets: &[[i64; 3]]| Moments::new(offsets, false).flags;
        let at_query = Flags::IDENTICAL | Flags::NO_PLANE | Flags::NO_RADIUS;
        assert_eq!(of(&[[0; 3]]), Flags::FEW | at_query);
        assert_eq!(of(&[[0; 3]; 5]), at_query);
        assert_eq!(of(&[[0; 3], [1, 2, 3], [-2, -4, -6], [3, 6, 9]]), Flags::COLLINEAR | Flags::NO_PLANE);
        assert_eq!(of(&[[0; 3], [1, 0, 0], [0, 1, 0]]), Flags::NO_PLANE);
        assert_eq!(of(&[[0; 3], [1, 0, 1], [0, 0, 1], [2, 0, 1]]), Flags::NO_PLANE);
        assert_eq!(of(&[[0; 3], [1, 0, 0], [0, 1, 0], [1, 1, 0]]), Flags::default());
        // Of a foreign query all members are others.
        let of = |offsets: &[[i64; 3]]| Moments::new(offsets, true).flags;
        assert_eq!(of(&[]), Flags::EMPTY);
        assert_eq!(of(&[[0; 3]; 5]), at_query);
        assert_eq!(of(&[[2; 3]; 5]), Flags::IDENTICAL | Flags::NO_PLANE);
        assert_eq!(of(&[[0; 3], [1, 0, 0], [0, 1, 0]]), Flags::default());
    }

    #[test]
    fn nearest_leaves_out_the_query_and_nothing_else() {
        let of = |offsets: &[[i64; 3]]| {
            let m = Moments::new(offsets, false);
            (m.nearest_sq, m.extent)
        };
        assert_eq!(of(&[[0; 3]]), (0, [0; 3]));
        assert_eq!(of(&[[0; 3], [3, -4, 9], [1, 2, 2]]), (9, [3, 6, 9]));
        assert_eq!(of(&[[1, 2, 2], [3, -4, 9], [0; 3]]), (9, [3, 6, 9]));
        assert_eq!(of(&[[0; 3], [-3, 4, 0], [0; 3]]), (0, [3, 4, 0]));
        assert_eq!(of(&[]), (0, [0; 3]));
        let nearest = |offsets: &[[i64; 3]]| Moments::new(offsets, true).nearest_sq;
        assert_eq!((nearest(&[[1, 2, 2]]), nearest(&[[3, -4, 9], [0; 3]]), nearest(&[])), (9, 0, 0));
    }

    #[test]
    fn wide_and_narrow_sums_agree_with_the_definition() {
        let far = (1i64 << 30) + 1;
        let m = Moments::new(&[[0; 3], [far, -far, 2], [3, 4, far]], false);
        assert_eq!(m.square[1], -i128::from(far).pow(2) + 12);
        assert_eq!(m.scatter()[0], 3 * (i128::from(far).pow(2) + 9) - i128::from(far + 3).pow(2));
        assert_eq!(m.radius_sq, (2 * far * far + 4) as u64);
    }
}
