//! Exact integer sums over one neighbourhood: what every formula starts from, on either backend.

use fearless_simd::{Level, Simd, dispatch, f32x8, f64x4, prelude::*};

use crate::features::Flags;
use crate::scales::MOST_SCALES;

/// Offsets from the query, axis by axis: differences of a lattice's coordinates, exact in f64.
pub(crate) type Offsets<'a> = [&'a [f64]; 3];

/// The first so many.
pub(crate) fn first(offsets: Offsets<'_>, length: usize) -> Offsets<'_> {
    offsets.map(|axis| &axis[..length])
}

/// What is asked for beside the sums that most formulas start from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Also {
    /// The sum of distances, which takes as long as all others.
    pub(crate) distances: bool,
    /// The bounding box and the nearest of the others.
    pub(crate) bounds: bool,
}

impl Also {
    pub(crate) const ALL: Self = Self { distances: true, bounds: true };

    pub(crate) fn any(self) -> bool {
        self.distances || self.bounds
    }
}

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
        let (mut low, mut high) = ([i64::MAX; 3], [i64::MIN; 3]);
        let (mut sum, mut square) = ([0; 3], [0; 6]);
        let mut radius_sq = 0;
        // The two smallest: the smaller is the query's own zero.
        let mut nearest = [u64::MAX; 2];
        let mut distance_sum = 0;
        for o in offsets {
            for a in 0..3 {
                sum[a] += o[a];
                low[a] = low[a].min(o[a]);
                high[a] = high[a].max(o[a]);
            }
            let products = products(*o);
            square.iter_mut().zip(products).for_each(|(s, p)| *s += i128::from(p));
            let dist_sq =
                products[0].unsigned_abs() + products[3].unsigned_abs() + products[5].unsigned_abs();
            radius_sq = dist_sq.max(radius_sq);
            nearest = [nearest[0].min(dist_sq), nearest[1].min(dist_sq.max(nearest[0]))];
            distance_sum += u128::from(fixed_sqrt(dist_sq));
        }
        let mut m = Self { n, sum, square, radius_sq, distance_sum, ..Self::default() };
        m.complete(low, high, nearest, foreign);
        m.flags = flags(offsets, foreign) | m.flags;
        m
    }

    /// Fills `out` with the same from offsets axis by axis; what may be asked for and is not is left zero.
    #[inline(always)]
    pub(crate) fn by_axis<S: Simd>(simd: S, offsets: Offsets<'_>, foreign: bool, also: Also, out: &mut Self) {
        let mut sums = Sums::new(simd);
        match also.bounds {
            true => sums.add_rows::<true>(offsets, 0),
            false => sums.add_rows::<false>(offsets, 0),
        };
        Self::of_sums(sums, offsets, foreign, also, out);
    }

    /// The same of members' coordinates in f32, in whole lanes that the query's own fill up, where the largest squared distance
    /// times their number `n` is less than 2^24: each sum is exact then. Gives nothing that may be asked for.
    #[inline(always)]
    pub(crate) fn of_near<S: Simd>(
        simd: S,
        members: [&[[f32; 8]]; 3],
        query: [f32; 3],
        n: usize,
        foreign: bool,
        out: &mut Self,
    ) {
        let zero = f32x8::splat(simd, 0.0);
        let [mut sum_x, mut sum_y, mut sum_z] = [zero; 3];
        let [mut xx, mut xy, mut xz, mut yy, mut yz, mut zz] = [zero; 6];
        let mut radius_sq = zero;
        let [query_x, query_y, query_z] = query.map(|v| f32x8::splat(simd, v));
        for ((x, y), z) in members[0].iter().zip(members[1]).zip(members[2]) {
            let x = f32x8::load_array_ref(simd, x) - query_x;
            let y = f32x8::load_array_ref(simd, y) - query_y;
            let z = f32x8::load_array_ref(simd, z) - query_z;
            let squares = [x * x, y * y, z * z];
            sum_x += x;
            sum_y += y;
            sum_z += z;
            xx += squares[0];
            xy += x * y;
            xz += x * z;
            yy += squares[1];
            yz += y * z;
            zz += squares[2];
            radius_sq = radius_sq.max(squares[0] + squares[1] + squares[2]);
        }
        out.n = n as u32;
        out.radius_sq = u64::from(radius_sq.reduce_max() as u32);
        out.sum = [total_near(sum_x), total_near(sum_y), total_near(sum_z)];
        out.square = [
            total_near(xx).into(),
            total_near(xy).into(),
            total_near(xz).into(),
            total_near(yy).into(),
            total_near(yz).into(),
            total_near(zz).into(),
        ];
        out.distance_sum = 0;
        out.complete([0; 3], [0; 3], [0; 2], foreign);
        if !out.spans_a_plane() {
            out.flags = flags_near(members, query, n, foreign) | out.flags;
        }
    }

    /// The same of several beginnings of some members: what they share is summed once.
    pub(crate) fn of_beginnings(
        offsets: Offsets<'_>,
        lengths: &[usize],
        foreign: bool,
        also: Also,
        out: &mut [Self],
    ) {
        let level = Level::new();
        dispatch!(level, simd => {
            Self::of_beginnings_with(simd, offsets, lengths, foreign, also, out)
        });
    }

    /// The same, for who has chosen instructions already.
    #[inline(always)]
    pub(crate) fn of_beginnings_with<S: Simd>(
        simd: S,
        offsets: Offsets<'_>,
        lengths: &[usize],
        foreign: bool,
        also: Also,
        out: &mut [Self],
    ) {
        let mut ascending: [usize; MOST_SCALES] = std::array::from_fn(|scale| scale);
        let ascending = &mut ascending[..lengths.len()];
        ascending.sort_unstable_by_key(|&scale| lengths[scale]);
        let mut sums = Sums::new(simd);
        let mut rows = 0;
        for &scale in &*ascending {
            let offsets = first(offsets, lengths[scale]);
            rows = sums.add_rows::<true>(offsets, rows);
            Self::of_sums(sums, offsets, foreign, also, &mut out[scale]);
        }
    }

    /// From the sums over whole rows of four; those that are left are added. Written field by field: moving the whole, or an
    /// array mapped by a closure, leaves the wide registers and waits for them.
    #[inline(always)]
    fn of_sums<S: Simd>(mut sums: Sums<S>, offsets: Offsets<'_>, foreign: bool, also: Also, out: &mut Self) {
        let [x, y, z] = offsets;
        let n = x.len();
        match also.bounds {
            true => sums.add_rest::<true>(offsets),
            false => sums.add_rest::<false>(offsets),
        }
        let radius_sq = sums.radius_sq.reduce_max();
        // Sums of whole numbers in f64 are exact below 2^53, and no product is larger than the largest squared distance.
        if radius_sq * n as f64 >= (1u64 << 53) as f64 {
            *out = Self::of_wide(offsets, foreign);
            return;
        }
        out.n = n as u32;
        out.radius_sq = radius_sq as u64;
        let [x1, y1, z1] = sums.sum;
        out.sum = [total(x1), total(y1), total(z1)];
        let [xx, xy, xz, yy, yz, zz] = sums.square;
        let wide = |sum: i64| i128::from(sum);
        out.square = [
            wide(total(xx)),
            wide(total(xy)),
            wide(total(xz)),
            wide(total(yy)),
            wide(total(yz)),
            wide(total(zz)),
        ];
        let (mut low, mut high, mut nearest) = ([0; 3], [0; 3], [0; 2]);
        if also.bounds {
            let ([a, b, c], [d, e, f]) = (sums.low, sums.high);
            low = [a.reduce_min() as i64, b.reduce_min() as i64, c.reduce_min() as i64];
            high = [d.reduce_max() as i64, e.reduce_max() as i64, f.reduce_max() as i64];
            let mut two = [f64::INFINITY; 2];
            for d in sums.nearest.into_iter().flat_map(f64x4::to_array) {
                two = [smaller(two[0], d), smaller(two[1], larger(d, two[0]))];
            }
            // Infinity, where there is none, becomes the largest number.
            nearest = [two[0] as u64, two[1] as u64];
        }
        out.complete(low, high, nearest, foreign);
        out.distance_sum = 0;
        if also.distances {
            let dist_sq = |((x, y), z): ((&f64, &f64), &f64)| (x * x + y * y + z * z) as u64;
            out.distance_sum = x.iter().zip(y).zip(z).map(|o| u128::from(fixed_sqrt(dist_sq(o)))).sum();
        }
        if !out.spans_a_plane() {
            out.flags = flags(&to_integers(offsets), foreign) | out.flags;
        }
    }

    #[cold]
    fn of_wide(offsets: Offsets<'_>, foreign: bool) -> Self {
        Self::new(&to_integers(offsets), foreign)
    }

    #[inline(always)]
    fn complete(&mut self, low: [i64; 3], high: [i64; 3], nearest: [u64; 2], foreign: bool) {
        self.others = if foreign { self.n } else { self.n.saturating_sub(1) };
        self.nearest_sq = if self.others > 0 { nearest[usize::from(!foreign)] } else { 0 };
        (self.z_min, self.z_max) = (low[2], high[2]);
        self.extent = match self.n {
            0 => [0; 3],
            _ => [high[0] - low[0], high[1] - low[1], high[2] - low[2]],
        };
        let is_place = self.n > 0 && self.radius_sq == 0;
        self.flags = if is_place { Flags::NO_RADIUS } else { Flags::default() };
    }

    /// Whether the members but the query surely span a plane, as all but a few do: no flag is set then.
    #[inline(always)]
    fn spans_a_plane(&self) -> bool {
        let [xx, xy, xz, yy, yz, zz] = self.scatter_to_f64(self.others);
        // The squared area of a parallelogram, which rounding alone does not make this large.
        let clearly = |a: f64, b: f64, ab: f64| a * b - ab * ab > 1e-9 * (a * b) && a * b > 0.0;
        self.others >= 3 && (clearly(xx, yy, xy) || clearly(xx, zz, xz) || clearly(yy, zz, yz))
    }

    /// n Σ o oᵀ − Σo Σoᵀ = n² C, in quanta²: exact, whatever the neighbourhood's distance from the query.
    pub(crate) fn scatter(&self) -> [i128; 6] {
        self.scatter_of(self.n)
    }

    /// The same of the others: the query's own offset is zero, so that only the count changes.
    pub(crate) fn scatter_of_rest(&self) -> [i128; 6] {
        self.scatter_of(self.others)
    }

    /// n² C of so many members, to the nearest f64. Without the query, whose own offset is zero, only their number changes.
    #[inline(always)]
    pub(crate) fn scatter_to_f64(&self, n: u32) -> [f64; 6] {
        // Most sums fit an i64, whose conversion is one instruction.
        match self.narrow_scatter_of(n) {
            Some(scatter) => scatter.map(|v| v as f64),
            None => self.scatter_of(n).map(|v| v as f64),
        }
    }

    #[inline(always)]
    fn narrow_scatter_of(&self, n: u32) -> Option<[i64; 6]> {
        // Neither product is larger than n² r².
        let most = self.radius_sq.checked_mul(u64::from(n).pow(2));
        most.filter(|most| *most < 1 << 62).map(|_| {
            let products = products(self.sum);
            std::array::from_fn(|i| i64::from(n) * self.square[i] as i64 - products[i])
        })
    }

    fn scatter_of(&self, n: u32) -> [i128; 6] {
        let [x, y, z] = self.sum.map(i128::from);
        let products = [x * x, x * y, x * z, y * y, y * z, z * z];
        std::array::from_fn(|i| i128::from(n) * self.square[i] - products[i])
    }

    /// Σ of distances in quanta, to the nearest f64.
    #[inline(always)]
    pub(crate) fn distances(&self) -> f64 {
        let sum = u64::try_from(self.distance_sum);
        sum.map_or_else(|_| self.distance_sum as f64, |sum| sum as f64) / 65536.0
    }
}

/// Sums over every fourth member.
#[derive(Clone, Copy)]
struct Sums<S: Simd> {
    simd: S,
    sum: [f64x4<S>; 3],
    square: [f64x4<S>; 6],
    low: [f64x4<S>; 3],
    high: [f64x4<S>; 3],
    radius_sq: f64x4<S>,
    nearest: [f64x4<S>; 2],
}

impl<S: Simd> Sums<S> {
    #[inline(always)]
    fn new(simd: S) -> Self {
        let [zero, low, high] = [0.0, f64::INFINITY, f64::NEG_INFINITY].map(|v| f64x4::splat(simd, v));
        Self {
            simd,
            sum: [zero; 3],
            square: [zero; 6],
            low: [low; 3],
            high: [high; 3],
            radius_sq: zero,
            nearest: [low; 2],
        }
    }

    /// Adds the whole rows of four from a given one on; gives the number of whole rows.
    #[inline(always)]
    fn add_rows<const BOUNDS: bool>(&mut self, offsets: Offsets<'_>, from: usize) -> usize {
        let [x, y, z] = offsets.map(|axis| axis.as_chunks::<4>().0);
        for ((x, y), z) in x[from..].iter().zip(&y[from..]).zip(&z[from..]) {
            let rows = [x, y, z].map(|row| f64x4::load_array_ref(self.simd, row));
            self.add::<BOUNDS>(rows, f64x4::splat(self.simd, 0.0));
        }
        x.len()
    }

    /// Adds what is left beside whole rows.
    #[inline(always)]
    fn add_rest<const BOUNDS: bool>(&mut self, offsets: Offsets<'_>) {
        let rest = offsets.map(|axis| axis.as_chunks::<4>().1);
        let count = rest[0].len();
        if count > 0 {
            let mut rows = [[0.0; 4]; 3];
            let mut missing = [f64::INFINITY; 4];
            missing[..count].fill(0.0);
            for (row, rest) in rows.iter_mut().zip(rest) {
                row[..count].copy_from_slice(rest);
            }
            let of = |row| f64x4::load_array(self.simd, row);
            self.add::<BOUNDS>(rows.map(of), of(missing));
        }
    }

    /// Adds offsets, and to the bounds if those are asked for. `missing` is infinite in lanes that hold none, whose offset is
    /// zero.
    #[inline(always)]
    fn add<const BOUNDS: bool>(&mut self, o: [f64x4<S>; 3], missing: f64x4<S>) {
        for (a, o) in o.into_iter().enumerate() {
            self.sum[a] += o;
            if BOUNDS {
                self.low[a] = self.low[a].min(o + missing);
                self.high[a] = self.high[a].max(o - missing);
            }
        }
        let [x, y, z] = o;
        let products = [x * x, x * y, x * z, y * y, y * z, z * z];
        for (square, product) in self.square.iter_mut().zip(products) {
            *square += product;
        }
        let dist_sq = products[0] + products[3] + products[5];
        self.radius_sq = self.radius_sq.max(dist_sq);
        if !BOUNDS {
            return;
        }
        let dist_sq = dist_sq + missing;
        self.nearest[1] = self.nearest[1].min(dist_sq.max(self.nearest[0]));
        self.nearest[0] = self.nearest[0].min(dist_sq);
    }
}

/// The sum of four whole numbers.
#[inline(always)]
fn total<S: Simd>(lanes: f64x4<S>) -> i64 {
    lanes.reduce_sum() as i64
}

/// The sum of eight.
#[inline(always)]
fn total_near<S: Simd>(lanes: f32x8<S>) -> i64 {
    i64::from(lanes.reduce_sum() as i32)
}

fn smaller(a: f64, b: f64) -> f64 {
    if b < a { b } else { a }
}

fn larger(a: f64, b: f64) -> f64 {
    if b > a { b } else { a }
}

fn to_integers(offsets: Offsets<'_>) -> Vec<[i64; 3]> {
    let [x, y, z] = offsets;
    x.iter().zip(y).zip(z).map(|((x, y), z)| [x, y, z].map(|v| *v as i64)).collect()
}

/// o oᵀ as xx, xy, xz, yy, yz, zz: offsets within a lattice stay below 2^31.
fn products([x, y, z]: [i64; 3]) -> [i64; 6] {
    [x * x, x * y, x * z, y * y, y * z, z * z]
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

#[cold]
fn flags_near(members: [&[[f32; 8]]; 3], query: [f32; 3], n: usize, foreign: bool) -> Flags {
    let [x, y, z] = members.map(|axis| &axis.as_flattened()[..n]);
    let offset =
        |((x, y), z): ((&f32, &f32), &f32)| [x - query[0], y - query[1], z - query[2]].map(|v| v as i64);
    flags(&x.iter().zip(y).zip(z).map(offset).collect::<Vec<_>>(), foreign)
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
