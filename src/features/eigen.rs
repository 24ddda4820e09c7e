//! Eigenvalues and vectors of symmetric 3×3 matrices, several side by side.

use glam::DVec3;

/// Eigenvalues in descending order, none below zero, and their unit vectors.
pub(crate) type Eigen = ([f64; 3], [DVec3; 3]);

/// Matrices that are solved at once: their roots and quotients wait for themselves, not for each other.
pub(crate) const LANES: usize = 8;

/// Off-diagonal entries that are this part of the diagonal's, squared, are nothing.
const NOTHING: f64 = (f64::EPSILON * 0.5) * (f64::EPSILON * 0.5);

/// Rounds that suffice for any matrix; four to six are usual.
const SWEEPS: usize = 16;

/// One entry of several matrices.
type Lane<const L: usize> = [f64; L];

/// Of symmetric matrices given as xx, xy, xz, yy, yz, zz, by cyclic Jacobi rotations.
///
/// Jacobi keeps small eigenvalues and the vectors of near-equal ones accurate, where closed forms lose half the digits
/// (Golub & Van Loan, Matrix Computations, 8.5). A matrix's solution is the same to the bit beside any others: rotations
/// of what is diagonal turn by zero.
#[inline(always)]
pub(crate) fn eigen<const L: usize>(matrices: &[[f64; 6]; L], out: &mut [Eigen; L]) {
    let (mut a, mut off) = ([[0.0; L]; 3], [[0.0; L]; 3]);
    for l in 0..L {
        let [xx, xy, xz, yy, yz, zz] = matrices[l];
        (a[0][l], a[1][l], a[2][l]) = (xx, yy, zz);
        // By the axis that they are not about.
        (off[0][l], off[1][l], off[2][l]) = (yz, xz, xy);
    }
    let (one, zero) = ([1.0; L], [0.0; L]);
    let mut v: [[Lane<L>; 3]; 3] = [[one, zero, zero], [zero, one, zero], [zero, zero, one]];
    for _ in 0..SWEEPS {
        if is_diagonal(&a, &off) {
            break;
        }
        rotate::<L, 0, 1, 2>(&mut a, &mut off, &mut v);
        rotate::<L, 0, 2, 1>(&mut a, &mut off, &mut v);
        rotate::<L, 1, 2, 0>(&mut a, &mut off, &mut v);
    }
    for l in 0..L {
        let mut order = [0, 1, 2];
        for (i, j) in [(0, 1), (0, 2), (1, 2)] {
            if a[order[i]][l] < a[order[j]][l] {
                order.swap(i, j);
            }
        }
        for (i, e) in order.into_iter().enumerate() {
            out[l].0[i] = a[e][l].max(0.0);
            out[l].1[i] = DVec3::new(v[0][e][l], v[1][e][l], v[2][e][l]).normalize_or_zero();
        }
    }
}

/// The same of one.
pub(crate) fn eigen_of(matrix: [f64; 6]) -> Eigen {
    let mut out = [([0.0; 3], [DVec3::ZERO; 3])];
    eigen(&[matrix], &mut out);
    out[0]
}

/// Whether an off-diagonal entry beside these on the diagonal is as good as zero.
#[inline(always)]
fn is_nothing(off: f64, p: f64, q: f64) -> bool {
    off * off <= NOTHING * (p * q).abs()
}

#[inline(always)]
fn is_diagonal<const L: usize>(a: &[Lane<L>; 3], off: &[Lane<L>; 3]) -> bool {
    let mut all = true;
    for l in 0..L {
        all &= is_nothing(off[2][l], a[0][l], a[1][l]);
        all &= is_nothing(off[1][l], a[0][l], a[2][l]);
        all &= is_nothing(off[0][l], a[1][l], a[2][l]);
    }
    all
}

/// Turns axes P and Q so that their off-diagonal entry vanishes; R is the third.
#[inline(always)]
fn rotate<const L: usize, const P: usize, const Q: usize, const R: usize>(
    a: &mut [Lane<L>; 3],
    off: &mut [Lane<L>; 3],
    v: &mut [[Lane<L>; 3]; 3],
) {
    let (mut cos, mut sin) = ([0.0; L], [0.0; L]);
    for l in 0..L {
        let apart = a[Q][l] - a[P][l];
        let twice = 2.0 * off[R][l];
        let length = apart.abs() + (apart * apart + twice * twice).sqrt();
        let tangent = twice.copysign(twice * apart) / length;
        let tangent = if is_nothing(off[R][l], a[P][l], a[Q][l]) { 0.0 } else { tangent };
        let turned = tangent * off[R][l];
        a[P][l] -= turned;
        a[Q][l] += turned;
        cos[l] = 1.0 / (tangent * tangent + 1.0).sqrt();
        sin[l] = tangent * cos[l];
        off[R][l] = if tangent == 0.0 { off[R][l] } else { 0.0 };
    }
    // The entries beside R: that of P and R is about Q.
    for l in 0..L {
        let (pr, qr) = (off[Q][l], off[P][l]);
        off[Q][l] = cos[l] * pr - sin[l] * qr;
        off[P][l] = sin[l] * pr + cos[l] * qr;
    }
    for row in v {
        for l in 0..L {
            let (p, q) = (row[P][l], row[Q][l]);
            row[P][l] = cos[l] * p - sin[l] * q;
            row[Q][l] = sin[l] * p + cos[l] * q;
        }
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

    fn solved() -> [Eigen; LANES] {
        let mut out = [([0.0; 3], [DVec3::ZERO; 3]); LANES];
        eigen(&MATRICES, &mut out);
        out
    }

    #[test]
    fn eigen_reproduces_the_matrices() {
        for (c, (l, v)) in MATRICES.into_iter().zip(solved()) {
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
        for (c, solved) in MATRICES.into_iter().zip(solved()) {
            assert_eq!(eigen_of(c), solved);
        }
    }
}
