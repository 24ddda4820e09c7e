//! The proof that a row's values are those of the whole cloud, by exact integer distances.

use rayon::prelude::*;

use super::groups::Asked;
use super::needs::{Near, Needs};
use super::{Loaded, XyBox};
use crate::backend::cpu::{Center, CpuIndex};
use crate::cloud::{Lattice, dist_sq};
use crate::error::Result;
use crate::frame::Frame;
use crate::neighborhood::{Neighborhood, Rule};
use crate::watch::Watch;

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
    pub(super) watch: &'a Watch,
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
            let places = places.filter(|place| open(place.room)).collect();
            for found in distances(&lattice, places, need, 3, self.watch)? {
                let row = &mut rows[found.at as usize];
                // Without k members in the box, the radius alone bounds them.
                let needed = found.needed.map(|n| need.within.map_or(n, |w| n.min(w))).or(need.within);
                let room = room(row);
                raise(&mut row.near, &mut short[found.at as usize], needed, room);
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
        let need = Near { k: below.k(), order: 1, within: None };
        for found in distances(&lattice, places, &need, 2, self.watch)? {
            let row = &mut rows[found.at as usize];
            let heights = match below.heights {
                None => Some(0),
                Some((_, None)) => found.needed,
                Some((_, Some(limit))) => Some(found.needed.map_or(limit, |last| last.min(limit))),
            };
            let nearest = if below.nearest { found.nearest } else { Some(0) };
            let needed = heights.zip(nearest).map(|(a, b)| a.max(b));
            let room = room(row);
            raise(&mut row.below, &mut short[found.at as usize], needed, room);
        }
        Ok(())
    }
}

/// Marks a row whose room is less than it needs, and raises its margin: to that, and by an eighth at least, since more may come to
/// light in a larger box; or to twice the room where the box does not show how much it is.
fn raise(margin: &mut u64, short: &mut bool, needed: Option<u64>, room: u64) {
    if needed.is_none_or(|needed| needed > room) && room != u64::MAX {
        *short = true;
        let shown = needed.map(|needed| needed.max(room + room / 8));
        *margin = (*margin).max(shown.unwrap_or(room.max(*margin).saturating_mul(2).max(2)));
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

/// How far from a place the points lie that its row depends on, in quanta; `None` where there are too few points.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Found {
    at: u32,
    nearest: Option<u64>,
    needed: Option<u64>,
}

/// What those places need that are not sure to have it within their room.
///
/// Most places of a part are far from its faces. A cell that is no wider than their room and holds `k` points shows that
/// these are near enough; the others take a search.
fn distances(
    lattice: &Lattice<'_>,
    mut places: Vec<Place>,
    need: &Near,
    dimensions: u64,
    watch: &Watch,
) -> Result<Vec<Found>> {
    if lattice.len() == 0 {
        return Ok(places.iter().map(|place| Found { at: place.at, nearest: None, needed: None }).collect());
    }
    if places.len() > FEW {
        let room = |place: &Place| place.room / need.times();
        let mut rooms: Vec<u64> = places.iter().map(room).collect();
        let (_, reach, _) = rooms.select_nth_unstable(places.len() / 10);
        let crowd = Crowd::new(lattice, *reach, dimensions);
        let open = |place: &Place| room(place) < crowd.reach || crowd.count(place.point) < need.k as usize;
        places = places.into_par_iter().with_min_len(1 << 12).filter(open).collect();
    }
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let index = CpuIndex::new(lattice, watch)?;
    let rule = Neighborhood::knn(need.k)?.rule(lattice.len(), &lattice.frame);
    let search = Search { lattice, index, need, rule, watch };
    let mut out = Vec::with_capacity(places.len());
    let mut deep = Vec::new();
    for batch in places.chunks(search.batch(1)) {
        for (place, list) in batch.iter().zip(search.lists(batch.iter().map(|place| place.point))) {
            let last = list.last().filter(|_| list.len() >= need.k as usize);
            let at_most = last.map(|last| multiple(last.0, need.times()));
            out.push(Found { at: place.at, nearest: list.first().map(|m| m.0.isqrt()), needed: at_most });
            if need.order > 1 && at_most.is_some_and(|most| most > place.room) {
                deep.push((out.len() - 1, place.point));
            }
        }
    }
    search.deepen(deep, &mut out);
    // Lists of a cancelled call are empty.
    watch.check().map(|()| out)
}

/// Looks for neighbours in what is loaded.
struct Search<'a> {
    lattice: &'a Lattice<'a>,
    index: CpuIndex<'a>,
    need: &'a Near,
    rule: Rule,
    watch: &'a Watch,
}

impl Search<'_> {
    /// Places whose members to this depth stand in memory together.
    fn batch(&self, depth: u32) -> usize {
        (ENTRIES / self.rule.k.max(1).saturating_pow(depth)).max(1)
    }

    fn lists(&self, places: impl Iterator<Item = [i32; 3]>) -> Vec<Vec<(u64, u32)>> {
        let centers: Vec<_> = places.map(Center::Foreign).collect();
        let lists = self.index.lists_of(&centers, self.rule, usize::MAX, self.watch);
        lists.into_iter().map(Option::unwrap_or_default).collect()
    }

    fn lists_of(&self, points: &[u32]) -> Vec<Vec<(u64, u32)>> {
        self.lists(points.iter().map(|&i| self.lattice.points[i as usize]))
    }

    /// Replaces what rows need at most by what their members' own neighbourhoods show: of a lonely point whose neighbours lie close
    /// together, far less.
    fn deepen(&self, mut rows: Vec<(usize, [i32; 3])>, out: &mut [Found]) {
        // Near rows share members.
        let widths = rows.iter().filter_map(|row| out[row.0].needed);
        let edge = (widths.min().unwrap_or(1).min(1 << 30) as i32).max(1);
        rows.sort_unstable_by_key(|(at, p)| (p[0].div_euclid(edge), p[1].div_euclid(edge), *at));
        for batch in rows.chunks(self.batch(2).max(1 << 8)) {
            let own = self.lists(batch.iter().map(|row| row.1));
            let members = members_of(&own);
            let lists = self.lists_of(&members);
            let reach = |list: &Vec<(u64, u32)>| list.last().map_or(0, |last| up(last.0));
            let next = if self.need.order > 2 { members_of(&lists) } else { Vec::new() };
            let mut reaches = Vec::with_capacity(next.len());
            next.chunks(self.batch(1)).for_each(|part| reaches.extend(self.lists_of(part).iter().map(reach)));
            for (&(at, place), own) in batch.iter().zip(&own) {
                let distance = |i: u32| up(dist_sq(place, self.lattice.points[i as usize]));
                let mut needed = 0;
                for &(_, member) in own {
                    let list = &lists[members.partition_point(|m| *m < member)];
                    needed = needed.max(distance(member) + reach(list));
                    for &(_, farther) in list.iter().filter(|_| self.need.order > 2) {
                        let at = next.partition_point(|m| *m < farther);
                        needed = needed.max(distance(farther) + reaches[at]);
                    }
                }
                out[at].needed = out[at].needed.map(|most| most.min(needed));
            }
        }
    }
}

/// A distance from its square, rounded up.
fn up(dist_sq: u64) -> u64 {
    dist_sq.isqrt() + u64::from(dist_sq.isqrt().pow(2) < dist_sq)
}

/// The points that lists name, each once.
fn members_of(lists: &[Vec<(u64, u32)>]) -> Vec<u32> {
    let mut members: Vec<u32> = lists.iter().flatten().map(|member| member.1).collect();
    members.par_sort_unstable();
    members.dedup();
    members
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
        let need = Near { k: 4, order: 1, within: None };
        let watch = &Watch::default();
        let found = distances(&lattice, places.clone(), &need, 3, watch).unwrap();
        assert!(found.len() < places.len() / 2, "{} were searched", found.len());
        let all = distances(&lattice, places[..FEW].to_vec(), &need, 3, watch).unwrap();
        assert_eq!(all.len(), FEW);
        // Whoever was not searched has its fourth neighbour within its room.
        let index = CpuIndex::new(&lattice, watch).unwrap();
        let rule = Neighborhood::knn(4).unwrap().rule(lattice.len(), &frame);
        let searched: std::collections::HashMap<u32, Found> = found.into_iter().map(|f| (f.at, f)).collect();
        for place in &places {
            let last = index.lists_of(&[Center::Foreign(place.point)], rule, usize::MAX, watch)[0]
                .as_ref()
                .and_then(|list| list.last())
                .unwrap()
                .0;
            match searched.get(&place.at) {
                Some(found) => assert_eq!((found.nearest, found.needed), (Some(0), Some(last.isqrt()))),
                None => assert!(last.isqrt() <= place.room, "{place:?}"),
            }
        }
        assert!(searched.contains_key(&places.iter().find(|p| p.point[..2] == [500, 500]).unwrap().at));
    }

    #[test]
    fn neighbours_neighbourhoods_are_looked_at_where_they_decide() {
        let frame = Frame::new([0.0; 3], 0.01).unwrap();
        let mut points: Vec<[i32; 3]> = (0..400).map(|i| [i % 20 * 10, i / 20 * 10, 0]).collect();
        points.push([100, 100, 9000]);
        let lattice = Lattice::new(points.into(), frame).unwrap();
        let needed = |order, room| {
            let places = vec![Place { at: 7, point: [100, 100, 9000], room }];
            let need = Near { k: 5, order, within: None };
            distances(&lattice, places, &need, 3, &Watch::default()).unwrap()[0].needed.unwrap()
        };
        // Itself, and the four points below; those reach ten quanta, and their members ten more.
        assert_eq!([needed(1, 0), needed(2, 1 << 20), needed(3, 1 << 20)], [9000, 27_000, 63_000]);
        assert_eq!([needed(2, 100), needed(3, 100)], [9001 + 10, 9001 + 10]);
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
