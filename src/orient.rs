//! Turns normals to the side from which a scene was seen.

use rayon::prelude::*;

use crate::cloud::Lattice;
use crate::columns::RawColumns;
use crate::features::{Feature, FeatureSet};

const NORMAL: [Feature; 3] = [Feature::NormalX, Feature::NormalY, Feature::NormalZ];

/// The columns whose sign follows the normal's.
const TURNED: [Feature; 6] = [
    Feature::NormalX,
    Feature::NormalY,
    Feature::NormalZ,
    Feature::Eigenvector3X,
    Feature::Eigenvector3Y,
    Feature::Eigenvector3Z,
];

/// `set` with what turning needs: one component alone does not say which side it shows.
pub(crate) fn with_normals(set: &FeatureSet) -> FeatureSet {
    let mut all = set.clone();
    if set.iter().any(|f| TURNED.contains(&f)) {
        NORMAL.into_iter().for_each(|f| all.insert(f));
    }
    all
}

/// Turns the columns of `set`, which [`with_normals`] made, so that normals have `viewpoint` before them.
///
/// Signs are decided on the normals as they are written. Two backends may differ where the viewpoint lies in the
/// surface up to their tolerance.
pub(crate) fn turn(set: &FeatureSet, lattice: &Lattice<'_>, viewpoint: [f64; 3], raw: &mut RawColumns) {
    let column = |feature: Feature| set.iter().position(|f| f == feature);
    let [Some(x), Some(y), Some(z)] = NORMAL.map(column) else { return };
    let normals = [&raw.values[x], &raw.values[y], &raw.values[z]];
    let faces_away = |(i, place): (usize, &[i32; 3])| {
        let place = lattice.frame.to_world(*place);
        (0..3).map(|a| f64::from(normals[a][i]) * (viewpoint[a] - place[a])).sum::<f64>() < 0.0
    };
    let away: Vec<bool> =
        lattice.points.par_iter().enumerate().with_min_len(1 << 14).map(faces_away).collect();
    for column in TURNED.into_iter().filter_map(column) {
        raw.values[column].par_iter_mut().zip(&away).with_min_len(1 << 14).for_each(|(value, &away)| {
            if away {
                // A difference, so that zeros stay positive.
                *value = 0.0 - *value;
            }
        });
    }
}
