//! Eigenvalues and vectors of symmetric 3×3 matrices, several side by side.

use glam::DVec3;
use wide::f64x8;

/// Eigenvalues in descending order, none below zero, and their unit vectors.
pub(crate) type Eigen = ([f64; 3], [DVec3; 3]);

/// Matrices that are solved at once: their roots and quotients wait for themselves, not for each other.
pub(crate) const LANES: usize = 8;

/// Off-diagonal entries that are this part of the diagonal's, squared, are nothing.
const NOTHING: f64 = (f64::EPSILON * 0.5) * (f64::EPSILON * 0.5);

/// Rounds that suffice for any matrix; four to six are usual.
const SWEEPS: usize = 16;

/// Of symmetric matrices given as xx, xy, xz, yy, yz, zz, by cyclic Jacobi rotations.
///
/// Jacobi keeps small eigenvalues and the vectors of near-equal ones accurate, where closed forms lose half the digits
/// (Golub & Van Loan, Matrix Computations, 8.5). A matrix's solution is the same to the bit beside any others: rotations
/// of what is diagonal turn by zero.
#[inline]
pub(crate) fn eigen(matrices: &[[f64; 6]; LANES]) -> [Eigen; LANES] {
    let entry = |i: usize| f64x8::new(std::array::from_fn(|l| matrices[l][i]));
    let mut a = [entry(0), entry(3), entry(5)];
    // Off-diagonal entries by the axis that they are not about: yz, xz, xy.
    let mut off = [entry(4), entry(2), entry(1)];
    let (one, zero) = (f64x8::splat(1.0), f64x8::splat(0.0));
    let mut v = [[one, zero, zero], [zero, one, zero], [zero, zero, one]];
    for _ in 0..SWEEPS {
        let all =
            is_nothing(off[2], a[0], a[1]) & is_nothing(off[1], a[0], a[2]) & is_nothing(off[0], a[1], a[2]);
        if all.all() {
            break;
        }
        rotate::<0, 1, 2>(&mut a, &mut off, &mut v);
        rotate::<0, 2, 1>(&mut a, &mut off, &mut v);
        rotate::<1, 2, 0>(&mut a, &mut off, &mut v);
    }
    let a = a.map(f64x8::to_array);
    let v = v.map(|row| row.map(f64x8::to_array));
    let mut out = [([0.0; 3], [DVec3::ZERO; 3]); LANES];
    for (l, (lambda, vectors)) in out.iter_mut().enumerate() {
        let mut order = [0, 1, 2];
        for (i, j) in [(0, 1), (0, 2), (1, 2)] {
            if a[order[i]][l] < a[order[j]][l] {
                order.swap(i, j);
            }
        }
        for (i, e) in order.into_iter().enumerate() {
            lambda[i] = a[e][l].max(0.0);
            vectors[i] = DVec3::new(v[0][e][l], v[1][e][l], v[2][e][l]).normalize_or_zero();
        }
    }
    out
}

/// Where an off-diagonal entry beside these on the diagonal is as good as zero.
#[inline(always)]
fn is_nothing(off: f64x8, p: f64x8, q: f64x8) -> f64x8 {
    (off * off).simd_le((p * q).abs() * f64x8::splat(NOTHING))
}

/// Turns axes P and Q so that their off-diagonal entry vanishes; R is the third.
#[inline(always)]
fn rotate<const P: usize, const Q: usize, const R: usize>(
    a: &mut [f64x8; 3],
    off: &mut [f64x8; 3],
    v: &mut [[f64x8; 3]; 3],
) {
    let (zero, one) = (f64x8::splat(0.0), f64x8::splat(1.0));
    let apart = a[Q] - a[P];
    let twice = off[R] + off[R];
    // tan φ = o/(d ± √(d² + o²)) with d's sign: the smaller of the two angles.
    let root = (apart * apart + twice * twice).sqrt();
    let length = apart.simd_ge(zero).bitselect(apart + root, apart - root);
    let nothing = is_nothing(off[R], a[P], a[Q]);
    let tangent = nothing.bitselect(zero, twice / length);
    let turned = tangent * off[R];
    a[P] -= turned;
    a[Q] += turned;
    let cos = one / (tangent * tangent + one).sqrt();
    let sin = tangent * cos;
    off[R] = nothing.bitselect(off[R], zero);
    // The entries beside R: that of P and R is about Q.
    let (pr, qr) = (off[Q], off[P]);
    off[Q] = cos * pr - sin * qr;
    off[P] = sin * pr + cos * qr;
    for row in v {
        let (p, q) = (row[P], row[Q]);
        row[P] = cos * p - sin * q;
        row[Q] = sin * p + cos * q;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    const MATRICES: [[f64; 6]; LANES] = [
        [4.0, 1.0, -2.0, 3.0, 0.5, 6.0],
        [1.0, 0.0, 0.0, 1.0, 0.0, 1e-9],
        [2.0, 2.0, 2.0, 2.0, 2.0, 2.0],
        [0.0; 6],
        [1e-30, 1e-31, 0.0, 3e-30, 0.0, 1e-33],
        [0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        [1e12, 3e11, -1e5, 2e12, 7.0, 1e-3],
        [5.0, 1e-9, 1e-9, 5.0, 1e-9, 5.0],
    ];

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
            let mut alone = [[0.0; 6]; LANES];
            alone[3] = c;
            assert_eq!(eigen(&alone)[3], solved);
        }
    }
}
