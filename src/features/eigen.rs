//! Eigenvalues and vectors of symmetric 3×3 matrices, several side by side.

use fearless_simd::{Level, Simd, dispatch, f64x8, mask64x8, prelude::*};
use glam::DVec3;

/// Eigenvalues in descending order, none below zero, and their unit vectors.
pub(crate) type Eigen = ([f64; 3], [DVec3; 3]);

/// Matrices that are solved at once: two sets of eight, since roots and quotients wait for themselves, not for each other.
pub(crate) const LANES: usize = 2 * SET;
const SET: usize = 8;

/// Off-diagonal entries that are this part of the diagonal's, squared, are nothing.
const NOTHING: f64 = (f64::EPSILON * 0.5) * (f64::EPSILON * 0.5);

/// Rounds that suffice for any matrix; four to six are usual.
const SWEEPS: usize = 16;

/// Of symmetric matrices given as xx, xy, xz, yy, yz, zz, by cyclic Jacobi rotations.
///
/// Jacobi keeps small eigenvalues and the vectors of near-equal ones accurate, where closed forms lose half the digits
/// (Golub & Van Loan, Matrix Computations, 8.5). A matrix's solution is the same to the bit beside any others: rotations
/// of what is diagonal turn by zero.
pub(crate) fn eigen(matrices: &[[f64; 6]; LANES]) -> [Eigen; LANES] {
    eigen_on(Level::new(), matrices)
}

/// The same with a choice of instructions.
pub(crate) fn eigen_on(level: Level, matrices: &[[f64; 6]; LANES]) -> [Eigen; LANES] {
    dispatch!(level, simd => eigen_with(simd, matrices))
}

#[inline(always)]
fn eigen_with<S: Simd>(simd: S, matrices: &[[f64; 6]; LANES]) -> [Eigen; LANES] {
    let (first, second) = matrices.split_at(SET);
    let (mut first, mut second) = (Set::new(simd, first), Set::new(simd, second));
    for _ in 0..SWEEPS {
        if first.is_diagonal() && second.is_diagonal() {
            break;
        }
        first.rotate::<0, 1, 2>();
        second.rotate::<0, 1, 2>();
        first.rotate::<0, 2, 1>();
        second.rotate::<0, 2, 1>();
        first.rotate::<1, 2, 0>();
        second.rotate::<1, 2, 0>();
    }
    let mut out = [([0.0; 3], [DVec3::ZERO; 3]); LANES];
    let (of_first, of_second) = out.split_at_mut(SET);
    first.read(of_first);
    second.read(of_second);
    out
}

/// Matrices side by side.
#[derive(Clone, Copy)]
struct Set<S: Simd> {
    diagonal: [f64x8<S>; 3],
    /// Entries by the axis that they are not about: yz, xz, xy.
    off: [f64x8<S>; 3],
    vectors: [[f64x8<S>; 3]; 3],
}

impl<S: Simd> Set<S> {
    #[inline(always)]
    fn new(simd: S, matrices: &[[f64; 6]]) -> Self {
        let mut entries = [[0.0; SET]; 6];
        for (l, matrix) in matrices.iter().enumerate() {
            for (entry, value) in entries.iter_mut().zip(matrix) {
                entry[l] = *value;
            }
        }
        let [xx, xy, xz, yy, yz, zz] = &entries;
        let diagonal = [
            f64x8::load_array_ref(simd, xx),
            f64x8::load_array_ref(simd, yy),
            f64x8::load_array_ref(simd, zz),
        ];
        let off = [
            f64x8::load_array_ref(simd, yz),
            f64x8::load_array_ref(simd, xz),
            f64x8::load_array_ref(simd, xy),
        ];
        let (one, zero) = (f64x8::splat(simd, 1.0), f64x8::splat(simd, 0.0));
        let vectors = [[one, zero, zero], [zero, one, zero], [zero, zero, one]];
        Self { diagonal, off, vectors }
    }

    #[inline(always)]
    fn is_diagonal(&self) -> bool {
        let ([x, y, z], [yz, xz, xy]) = (self.diagonal, self.off);
        (is_nothing(xy, x, y) & is_nothing(xz, x, z) & is_nothing(yz, y, z)).all_true()
    }

    /// Eigenvalues in descending order, and their vectors.
    #[inline(always)]
    fn read(mut self, out: &mut [Eigen]) {
        self.order::<0, 1>();
        self.order::<0, 2>();
        self.order::<1, 2>();
        let simd = self.diagonal[0].token();
        let zero = f64x8::splat(simd, 0.0);
        let (mut lambda, mut vectors) = ([[0.0; SET]; 3], [[[0.0; SET]; 3]; 3]);
        for e in 0..3 {
            let value = self.diagonal[e];
            value.simd_gt(zero).select(value, zero).store_array(&mut lambda[e]);
            let [x, y, z] = [self.vectors[0][e], self.vectors[1][e], self.vectors[2][e]];
            let inverse = f64x8::splat(simd, 1.0) / (x * x + y * y + z * z).sqrt();
            // No vector, where what was given is not finite.
            let is_sound = inverse.simd_gt(zero) & inverse.simd_lt(f64x8::splat(simd, f64::INFINITY));
            for (a, of_axis) in [x, y, z].into_iter().enumerate() {
                is_sound.select(of_axis * inverse, zero).store_array(&mut vectors[e][a]);
            }
        }
        for (l, (of_lane, axes)) in out.iter_mut().enumerate() {
            for e in 0..3 {
                of_lane[e] = lambda[e][l];
                axes[e] = DVec3::new(vectors[e][0][l], vectors[e][1][l], vectors[e][2][l]);
            }
        }
    }

    /// Exchanges axes I and J where the eigenvalue of I is smaller.
    #[inline(always)]
    fn order<const I: usize, const J: usize>(&mut self) {
        let swapped = self.diagonal[I].simd_lt(self.diagonal[J]);
        for row in self.vectors.iter_mut().chain([&mut self.diagonal]) {
            (row[I], row[J]) = (swapped.select(row[J], row[I]), swapped.select(row[I], row[J]));
        }
    }

    /// Turns axes P and Q so that their off-diagonal entry vanishes; R is the third.
    #[inline(always)]
    fn rotate<const P: usize, const Q: usize, const R: usize>(&mut self) {
        let Self { diagonal: a, off, vectors } = self;
        let simd = a[0].token();
        let (zero, one) = (f64x8::splat(simd, 0.0), f64x8::splat(simd, 1.0));
        let apart = a[Q] - a[P];
        let twice = off[R] + off[R];
        // tan φ = o/(d ± √(d² + o²)) with d's sign: the smaller of the two angles. Its cosine and sine come from the same
        // two, so that no quotient is waited for twice.
        let root = (apart * apart + twice * twice).sqrt();
        let length = apart.simd_ge(zero).select(apart + root, apart - root);
        let nothing = is_nothing(off[R], a[P], a[Q]);
        let inverse = one / (length * length + twice * twice).sqrt();
        let tangent = nothing.select(zero, twice / length);
        let turned = tangent * off[R];
        a[P] -= turned;
        a[Q] += turned;
        // The cosine is positive.
        let cos = nothing.select(one, (length * inverse).abs());
        let sin = tangent * cos;
        off[R] = nothing.select(off[R], zero);
        // The entries beside R: that of P and R is about Q.
        let (pr, qr) = (off[Q], off[P]);
        off[Q] = cos * pr - sin * qr;
        off[P] = sin * pr + cos * qr;
        for row in vectors {
            let (p, q) = (row[P], row[Q]);
            row[P] = cos * p - sin * q;
            row[Q] = sin * p + cos * q;
        }
    }
}

/// Where an off-diagonal entry beside these on the diagonal is as good as zero.
#[inline(always)]
fn is_nothing<S: Simd>(off: f64x8<S>, p: f64x8<S>, q: f64x8<S>) -> mask64x8<S> {
    (off * off).simd_le((p * q).abs() * NOTHING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    const SOLVED: [[f64; 6]; SET] = [
        [4.0, 1.0, -2.0, 3.0, 0.5, 6.0],
        [1.0, 0.0, 0.0, 1.0, 0.0, 1e-9],
        [2.0, 2.0, 2.0, 2.0, 2.0, 2.0],
        [0.0; 6],
        [1e-30, 1e-31, 0.0, 3e-30, 0.0, 1e-33],
        [0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        [1e12, 3e11, -1e5, 2e12, 7.0, 1e-3],
        [5.0, 1e-9, 1e-9, 5.0, 1e-9, 5.0],
    ];
    const MATRICES: [[f64; 6]; LANES] = {
        let mut both = [SOLVED[0]; LANES];
        let mut i = 0;
        while i < LANES {
            both[i] = SOLVED[i % SET];
            i += 1;
        }
        both
    };

    #[test]
    fn eigen_reproduces_the_matrices() {
        for (c, (l, v)) in MATRICES.into_iter().zip(eigen(&MATRICES)) {
            assert!(l[0] >= l[1] && l[1] >= l[2]);
            if c[0] * c[3] < c[1] * c[1] {
                // Eigenvalues below zero are taken for zero.
                assert_eq!(l, [1.0, 1.0, 0.0]);
                continue;
            }
            let entry = |i: usize, j: usize| (0..3).map(|e| l[e] * v[e][i] * v[e][j]).sum::<f64>();
            let back = [entry(0, 0), entry(0, 1), entry(0, 2), entry(1, 1), entry(1, 2), entry(2, 2)];
            for (b, c) in back.iter().zip(c) {
                assert_relative_eq!(*b, c, epsilon = 1e-14 * l[0], max_relative = 1e-13);
            }
            for (i, j) in [(0, 1), (0, 2), (1, 2)] {
                assert!(v[i].dot(v[j]).abs() < 1e-14 && (v[i].length() - 1.0).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn a_matrix_is_solved_alike_alone_and_beside_others() {
        for (c, solved) in MATRICES.into_iter().zip(eigen(&MATRICES)) {
            for lane in [3, LANES - 1] {
                let mut alone = [[0.0; 6]; LANES];
                alone[lane] = c;
                assert_eq!(eigen(&alone)[lane], solved);
            }
        }
    }
}
