//! The catalogue's formulas for the points of one site, in each of its neighbourhoods.

use glam::DVec3;

use super::index::Center;
use super::search::Search;
use crate::backend::{Job, Known, PointAttributes};
use crate::features::{Around, FeatureSet, Flags, Input, LANES, Members, Row, Shape, quadric};
use crate::moments::{Also, Moments, Offsets, first};
use crate::scales::{MOST_SCALES, Scales};

/// What is to be computed of every point.
pub(super) struct Evaluator<'a> {
    job: &'a Job<'a>,
    scales: &'a Scales,
    known: &'a Known,
    radii: Vec<Option<f64>>,
    rows: Vec<&'static Row>,
    /// Columns that are the same at all points of a site, and the others.
    shared: Vec<usize>,
    own: Vec<usize>,
    members: Members,
    with_plane: bool,
    also: Also,
}

/// One value: of which neighbourhood, of which point, of which column (`None`: the flags), and its bits.
pub(crate) type Value = (usize, u32, Option<usize>, u32);

impl<'a> Evaluator<'a> {
    pub(super) fn new(job: &'a Job<'a>, set: &FeatureSet, scales: &'a Scales, known: &'a Known) -> Self {
        let rows: Vec<&Row> = set.iter().map(|f| f.row()).collect();
        let of_site = |column: &usize| {
            let row = rows[*column];
            row.inputs == [Input::Xyz]
                && !row.feature.needs_own_search()
                && !Members::of_feature(row.feature).second_order()
        };
        let (shared, own) = (0..rows.len()).partition(of_site);
        Self {
            radii: scales.radii(),
            members: set.members(),
            with_plane: set.needs_plane(),
            also: Also { distances: set.needs_distance_sum(), bounds: set.needs_bounds() },
            job,
            scales,
            known,
            rows,
            shared,
            own,
        }
    }

    /// Computes the points of a block, or any others: each site's centre with its points.
    #[inline(always)]
    pub(super) fn compute<'p>(
        &self,
        search: &mut Search<'_>,
        sites: impl Iterator<Item = (Center, &'p [u32])>,
        mut put: impl FnMut(Value),
    ) {
        if self.members.any() {
            sites.for_each(|(center, points)| self.compute_site(search, center, points, &mut put));
            return;
        }
        // Sums are made where they are used: to move them just after costs as much as a tenth of the search.
        let scales = self.scales.len();
        let mut sums = std::mem::take(&mut search.sums);
        let mut shape = std::mem::take(&mut search.shape);
        sums.resize_with(LANES + scales, Moments::default);
        let mut at: [(usize, &[u32]); LANES + MOST_SCALES] = [(0, &[]); _];
        let mut count = 0;
        for (center, points) in sites {
            search.moments(center, self.scales, self.also, &mut sums[count..count + scales]);
            for (scale, at) in at[count..count + scales].iter_mut().enumerate() {
                *at = (scale, points);
            }
            count += scales;
            let whole = count - count % LANES;
            for first in (0..whole).step_by(LANES) {
                self.finish(&sums[first..first + LANES], &at[first..first + LANES], &mut shape, &mut put);
            }
            if whole > 0 {
                count -= whole;
                for rest in 0..count {
                    sums.swap(rest, whole + rest);
                    at.swap(rest, whole + rest);
                }
            }
        }
        if count > 0 {
            self.finish(&sums[..count], &at[..count], &mut shape, &mut put);
        }
        search.sums = sums;
        search.shape = shape;
    }

    /// Columns of neighbourhoods, of sites and scales given with them, that take nothing but their moments.
    #[inline(always)]
    fn finish(
        &self,
        moments: &[Moments],
        at: &[(usize, &[u32])],
        shape: &mut Shape,
        put: &mut impl FnMut(Value),
    ) {
        let quantum = self.job.lattice.frame.quantum();
        let mut radii = [None; LANES];
        radii.iter_mut().zip(at).for_each(|(radius, at)| *radius = self.radii[at.0]);
        shape.several(moments, quantum, &radii, self.with_plane, |lane, shape| {
            let (scale, points) = at[lane];
            self.put_site(scale, moments[lane].flags, shape, points, put, |_, _| Flags::default());
        });
    }

    /// Computes the given points, all of them at one place, with sums over single members.
    fn compute_site(
        &self,
        search: &mut Search<'_>,
        center: Center,
        points: &[u32],
        put: &mut impl FnMut(Value),
    ) {
        let quantum = self.job.lattice.frame.quantum();
        let mut lengths = std::mem::take(&mut search.lengths);
        let mut shape = std::mem::take(&mut search.shape);
        search.find(center, self.scales.rule);
        let (found, offsets) = search.members();
        let ends = lengths.of(self.scales, found, offsets);
        for (at, (lengths, radii)) in ends.chunks(LANES).zip(self.radii.chunks(LANES)).enumerate() {
            let mut moments: [Moments; LANES] = Default::default();
            let moments = &mut moments[..lengths.len()];
            Moments::of_beginnings(offsets, lengths, center.is_foreign(), self.also, moments);
            shape.several(moments, quantum, radii, self.with_plane, |lane, shape| {
                let (found, offsets) = (&found[..lengths[lane]], first(offsets, lengths[lane]));
                let common = moments[lane].flags | self.look_around(shape, center, found, offsets);
                self.put_site(at * LANES + lane, common, shape, points, put, |around, i| {
                    self.look_farther(around, i, found)
                });
            });
        }
        search.lengths = lengths;
        search.shape = shape;
    }

    /// Writes the columns of a site's points in one of their neighbourhoods. `look` adds what differs between the points.
    #[inline(always)]
    fn put_site(
        &self,
        scale: usize,
        common: Flags,
        shape: &mut Shape,
        points: &[u32],
        put: &mut impl FnMut(Value),
        look: impl Fn(&mut Around, u32) -> Flags,
    ) {
        for &column in &self.shared {
            let value = ((self.rows[column].cpu)(shape) as f32).to_bits();
            points.iter().for_each(|&i| put((scale, i, Some(column), value)));
        }
        for &i in points {
            let mut flags = common;
            if !self.own.is_empty() {
                shape.attributes = self.job.attributes.at(i as usize);
                flags = flags | look(&mut shape.around, i);
            }
            put((scale, i, None, flags.0));
            for &column in &self.own {
                let value = ((self.rows[column].cpu)(shape) as f32).to_bits();
                put((scale, i, Some(column), value));
            }
        }
    }

    /// Sums over the members that are the same for all points of the site.
    fn look_around(
        &self,
        shape: &mut Shape,
        center: Center,
        found: &[(u64, u32)],
        offsets: Offsets<'_>,
    ) -> Flags {
        let mut flags = Flags::default();
        let quantum = shape.quantum;
        if self.members.has(Members::PLANE_FIT) {
            let [normal, mean] = shape.plane;
            let [x, y, z] = offsets;
            let distance = |((&x, &y), &z): ((&f64, &f64), &f64)| {
                (DVec3::new(x, y, z) * quantum - mean).dot(normal).abs()
            };
            // The first member is at the query's place and stands for the query, if that is a point of the cloud.
            let others = x.iter().zip(y).zip(z).skip(usize::from(!center.is_foreign()));
            let count = others.len().max(1) as f64;
            shape.around.plane_mean = others.map(distance).sum::<f64>() / count;
        }
        if self.members.has(Members::QUADRIC) {
            let sigma = [shape.sigma(0), shape.sigma(1)];
            shape.around.quadric = quadric(offsets, quantum, shape.sum / shape.n, sigma, shape.vectors);
            if found.len() < 6 {
                flags = flags | Flags::UNDER_SIX;
            }
        }
        if self.members.has(Members::CHANNELS) {
            shape.around.channels = channels(&self.job.attributes, found);
            if shape.around.channels[5][0].is_nan() {
                flags = flags | Flags::DARK_AROUND;
            }
        }
        flags
    }

    /// Sums over the members' own neighbourhoods.
    fn look_farther(&self, around: &mut Around, i: u32, found: &[(u64, u32)]) -> Flags {
        if !self.members.second_order() {
            return Flags::default();
        }
        let known = self.known;
        let quantum = self.job.lattice.frame.quantum();
        let others = || found.iter().filter(|member| member.1 != i).map(|&(d, j)| (d, j as usize));
        let count = others().count().max(1) as f64;
        if self.members.has(Members::NORMALS) {
            let normal = |j: usize| DVec3::from_array(known.normals[j].map(f64::from));
            let own = normal(i as usize);
            let with_normal = || others().map(|(_, j)| normal(j)).filter(|n| *n != DVec3::ZERO);
            let sum: f64 = with_normal().map(|n| (1.0 - n.dot(own).abs()).max(0.0)).sum();
            around.normal_variation = sum / with_normal().count().max(1) as f64;
        }
        if self.members.has(Members::REACH) {
            let reach = |(d, j): (u64, usize)| ((d as f64).sqrt() * quantum).max(known.reach[j].into());
            around.reach = others().map(reach).sum::<f64>() / count;
        }
        if self.members.has(Members::LRD) {
            let sum: f64 = others().map(|(_, j)| f64::from(known.lrd[j])).sum();
            around.lof = sum / count / f64::from(known.lrd[i as usize]);
        }
        if self.members.has(Members::LAST) {
            let without_query = others().filter(|&(d, j)| (d, i) > known.last[j]).count();
            around.one_sided = without_query as f64 / count;
        }
        let alone = others().next().is_none() && self.members.has(Members::REACH);
        if alone { Flags::ALONE } else { Flags::default() }
    }
}

/// Mean and standard deviation of the members' intensity, red, green, blue, near-infrared and ndvi. Sums of recorded
/// numbers are exact.
fn channels(attributes: &PointAttributes<'_>, found: &[(u64, u32)]) -> [[f64; 2]; 6] {
    let [red, green, blue] = attributes.rgb.map_or([None; 3], |rgb| rgb.map(Some));
    let recorded = |channel: Option<&[u16]>, full: u16| {
        let Some(channel) = channel else { return [0.0; 2] };
        let value = |&(_, j): &(u64, u32)| u128::from(channel[j as usize]);
        let n = found.len() as u128;
        let sum: u128 = found.iter().map(value).sum();
        let squares: u128 = found.iter().map(|m| value(m).pow(2)).sum();
        let scale = 1.0 / (n.max(1) as f64 * f64::from(full));
        [sum as f64 * scale, ((n * squares - sum * sum) as f64).sqrt() * scale]
    };
    let ndvi = || {
        let (red, nir) = red.zip(attributes.nir)?;
        let value = |&(_, j): &(u64, u32)| {
            let at = attributes.at(j as usize);
            (red[j as usize] > 0 || nir[j as usize] > 0).then(|| (at.nir - at.red) / (at.nir + at.red))
        };
        let n = found.iter().filter_map(value).count() as f64;
        let mean = found.iter().filter_map(value).sum::<f64>() / n;
        let variance = found.iter().filter_map(value).map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        Some([mean, variance.sqrt()])
    };
    [
        recorded(attributes.intensity, 1),
        recorded(red, attributes.rgb_full),
        recorded(green, attributes.rgb_full),
        recorded(blue, attributes.rgb_full),
        recorded(attributes.nir, attributes.nir_full),
        ndvi().unwrap_or([0.0; 2]),
    ]
}
