//! The proof that a row's values are those of the whole cloud, by exact integer distances.

use rayon::prelude::*;

use super::groups::Asked;
use super::needs::Needs;
use super::{Loaded, XyBox};
use crate::backend::cpu::{Center, CpuIndex};
use crate::cloud::Lattice;
use crate::error::Result;
use crate::frame::Frame;
use crate::neighborhood::Neighborhood;

/// Entries of neighbour lists that stand in memory at a time.
const ENTRIES: usize = 1 << 21;

/// What a part's rows are proved against.
#[derive(Debug)]
pub(super) struct Proof<'a> {
    pub(super) needs: &'a Needs,
    pub(super) frame: Frame,
    /// The whole cloud's bounds.
    pub(super) whole: XyBox,
    /// The box of all points, and that of ground points, that are loaded.
    pub(super) near: XyBox,
    pub(super) ground: XyBox,
}

impl Proof<'_> {
    /// The rows that are not proved, with larger margins.
    pub(super) fn unproved(&self, loaded: &Loaded, rows: Vec<Asked>) -> Result<Vec<Asked>> {
        let mut short = vec![false; rows.len()];
        let mut rows = rows;
        self.near(loaded, &mut rows, &mut short)?;
        self.below(loaded, &mut rows, &mut short)?;
        let failed = rows.into_iter().zip(short).filter(|(_, short)| *short);
        Ok(failed.map(|(row, _)| row).collect())
    }

    fn near(&self, loaded: &Loaded, rows: &mut [Asked], short: &mut [bool]) -> Result<()> {
        let room = |row: &Asked| self.near.room(row.point, &self.whole);
        for (row, short) in rows.iter_mut().zip(&mut *short) {
            let room = room(row);
            raise(&mut row.near, short, Some(self.needs.fixed), room);
        }
        if self.needs.near.is_empty() {
            return Ok(());
        }
        let points = loaded.points.points.iter().enumerate();
        let kept = points.filter(|(i, _)| !loaded.points.is_ignored(*i)).map(|(_, p)| *p);
        let lattice = Lattice::new(kept.collect::<Vec<_>>().into(), self.frame)?;
        for need in &self.needs.near {
            let open = |room: u64| room != u64::MAX && need.within.is_none_or(|within| within > room);
            let places = (0..).zip(&*rows).map(|(at, row)| Place { at, point: row.point, room: room(row) });
            let places = places.filter(|place| open(place.room));
            let places = places.map(|place| Place { room: place.room / need.times, ..place }).collect();
            for (at, [_, last]) in distances(&lattice, places, need.k, 3)? {
                let row = &mut rows[at as usize];
                let needed = last.map(|last| multiple(last, need.times));
                // Without k members in the box, the radius alone bounds them.
                let needed = needed.map(|n| need.within.map_or(n, |w| n.min(w))).or(need.within);
                let room = room(row);
                raise(&mut row.near, &mut short[at as usize], needed, room);
            }
        }
        Ok(())
    }

    fn below(&self, loaded: &Loaded, rows: &mut [Asked], short: &mut [bool]) -> Result<()> {
        let Some(below) = &self.needs.below else { return Ok(()) };
        let flat = |p: [i32; 3]| [p[0], p[1], 0];
        let room = |row: &Asked| self.ground.room(row.point, &self.whole);
        let open = |room: u64| room != u64::MAX && below.fixed().is_none_or(|limit| limit > room);
        let places = (0..).zip(&*rows).filter(|(_, row)| !row.is_ground && open(room(row)));
        let places = places.map(|(at, row)| Place { at, point: flat(row.point), room: room(row) }).collect();
        let points: Vec<[i32; 3]> = loaded.ground.iter().map(|p| flat(*p)).collect();
        let lattice = Lattice::new(points.into(), self.frame)?;
        for (at, [first, last]) in distances(&lattice, places, below.k(), 2)? {
            let row = &mut rows[at as usize];
            let distance = |d: Option<u64>| d.map(|d| multiple(d, 1));
            let heights = match below.heights {
                None => Some(0),
                Some((_, None)) => distance(last),
                Some((_, Some(limit))) => Some(distance(last).map_or(limit, |last| last.min(limit))),
            };
            let nearest = if below.nearest { distance(first) } else { Some(0) };
            let needed = heights.zip(nearest).map(|(a, b)| a.max(b));
            let room = room(row);
            raise(&mut row.below, &mut short[at as usize], needed, room);
        }
        Ok(())
    }
}

/// Marks a row whose room is less than it needs, and raises its margin: to that, or to twice the room where the box does not
/// show how much it is.
fn raise(margin: &mut u64, short: &mut bool, needed: Option<u64>, room: u64) {
    if needed.is_none_or(|needed| needed > room) && room != u64::MAX {
        *short = true;
        *margin = (*margin).max(needed.unwrap_or(room.max(*margin).saturating_mul(2).max(2)));
    }
}

/// So many times the distance of this square, rounded down: how far coordinates of points within it may differ.
fn multiple(dist_sq: u64, times: u64) -> u64 {
    (u128::from(dist_sq) * u128::from(times).pow(2)).isqrt() as u64
}

/// Where a row is, and how far its neighbours may be.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: u32,
    point: [i32; 3],
    room: u64,
}

/// Places for which a tree is built without looking for an easier proof.
const FEW: usize = 1000;

/// Squared distances from places to the nearest and the `k`-th point, where there are so many, for those whose `k` nearest
/// are not sure to be within their room.
///
/// Most places of a part are far from its faces. A cell that is no wider than their room and holds `k` points shows that
/// these are near enough; the others take a search.
fn distances(
    lattice: &Lattice<'_>,
    mut places: Vec<Place>,
    k: u32,
    dimensions: u64,
) -> Result<Vec<(u32, [Option<u64>; 2])>> {
    if lattice.len() == 0 {
        return Ok(places.iter().map(|place| (place.at, [None; 2])).collect());
    }
    if places.len() > FEW {
        let mut rooms: Vec<u64> = places.iter().map(|place| place.room).collect();
        let (_, reach, _) = rooms.select_nth_unstable(places.len() / 10);
        let crowd = Crowd::new(lattice, *reach, dimensions);
        let open = |place: &Place| place.room < crowd.reach || crowd.count(place.point) < k as usize;
        places = places.into_par_iter().with_min_len(1 << 12).filter(open).collect();
    }
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let index = CpuIndex::new(lattice)?;
    let neighborhood = Neighborhood::knn(k)?;
    let rule = neighborhood.rule(lattice.len(), &lattice.frame);
    let mut out = Vec::with_capacity(places.len());
    for batch in places.chunks((ENTRIES / rule.k.max(1)).max(1)) {
        let centers: Vec<Center> = batch.iter().map(|place| Center::Foreign(place.point)).collect();
        let lists = index.lists_of(&centers, rule);
        out.extend(batch.iter().zip(lists).map(|(place, list)| {
            let last = list.last().filter(|_| list.len() >= k as usize);
            (place.at, [list.first(), last].map(|member| member.map(|m| m.0)))
        }));
    }
    Ok(out)
}

/// How many points each cell of a cubic grid holds.
struct Crowd {
    /// No two points of a cell are farther apart than this, in quanta.
    reach: u64,
    edge: u64,
    low: [i32; 3],
    /// The cells of all points, sorted.
    cells: Vec<[u32; 3]>,
}

impl Crowd {
    fn new(lattice: &Lattice<'_>, reach: u64, dimensions: u64) -> Self {
        // Points of a cell differ by `edge - 1` at most on each axis.
        let reach = reach.min(1 << 33);
        let edge = (reach * reach / dimensions).isqrt() + 1;
        let mut crowd = Self { reach, edge, low: lattice.min, cells: Vec::new() };
        crowd.cells = lattice.points.par_iter().with_min_len(1 << 14).map(|p| crowd.cell(*p)).collect();
        crowd.cells.par_sort_unstable();
        crowd
    }

    /// The cell of a place; places below the least cell count with it, which a lookup of places within never meets.
    fn cell(&self, place: [i32; 3]) -> [u32; 3] {
        let offset = |a: usize| i64::from(place[a]) - i64::from(self.low[a]);
        std::array::from_fn(|a| match u64::try_from(offset(a)) {
            Ok(offset) => (offset / self.edge) as u32,
            Err(_) => u32::MAX,
        })
    }

    fn count(&self, place: [i32; 3]) -> usize {
        let cell = self.cell(place);
        self.cells.partition_point(|c| *c <= cell) - self.cells.partition_point(|c| *c < cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crowded_cells_prove_what_a_search_would() {
        let frame = Frame::new([0.0; 3], 0.01).unwrap();
        // A grid of 10 quanta, with a gap in it.
        let points: Vec<[i32; 3]> = (0..10_000)
            .map(|i| [i % 100 * 10, i / 100 * 10, i % 7])
            .filter(|p| !((400..600).contains(&p[0]) && (400..600).contains(&p[1])) || *p == [500, 500, p[2]])
            .collect();
        let lattice = Lattice::new(points.clone().into(), frame).unwrap();
        let places: Vec<Place> = (0..)
            .zip(&points)
            .map(|(at, p)| Place { at, point: *p, room: (p[0].min(p[1]) as u64).min(200) })
            .collect();
        let found = distances(&lattice, places.clone(), 4, 3).unwrap();
        assert!(found.len() < places.len() / 2, "{} were searched", found.len());
        let all = distances(&lattice, places[..FEW].to_vec(), 4, 3).unwrap();
        assert_eq!(all.len(), FEW);
        // Whoever was not searched has its fourth neighbour within its room.
        let index = CpuIndex::new(&lattice).unwrap();
        let rule = Neighborhood::knn(4).unwrap().rule(lattice.len(), &frame);
        let searched: std::collections::HashMap<u32, [Option<u64>; 2]> = found.into_iter().collect();
        for place in &places {
            let last = index.lists_of(&[Center::Foreign(place.point)], rule)[0].last().unwrap().0;
            match searched.get(&place.at) {
                Some(found) => assert_eq!(*found, [Some(0), Some(last)]),
                None => assert!(last.isqrt() <= place.room, "{place:?}"),
            }
        }
        assert!(searched.contains_key(&places.iter().find(|p| p.point[..2] == [500, 500]).unwrap().at));
    }

    #[test]
    fn what_is_not_known_doubles() {
        let (mut margin, mut short) = (5, false);
        raise(&mut margin, &mut short, Some(10), 10);
        assert_eq!((margin, short), (5, false));
        raise(&mut margin, &mut short, Some(11), 10);
        assert_eq!((margin, short), (11, true));
        raise(&mut margin, &mut short, None, 20);
        assert_eq!(margin, 40);
        raise(&mut margin, &mut short, None, u64::MAX);
        assert_eq!(margin, 40);
        assert_eq!([multiple(2, 1), multiple(2, 7), multiple(u64::MAX, 3)], [1, 9, 3 * u32::MAX as u64 + 2]);
    }
}
