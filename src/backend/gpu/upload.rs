//! Packing one chunk into mapped staging memory: local coordinates, rows, attributes.

use rayon::ThreadPool;
use rayon::prelude::*;
use wgpu::WriteOnly;

use crate::backend::PointAttributes;
use crate::cloud::Lattice;
use crate::plan::{Loaded, Members};

/// Items that one task packs before it copies them to the staging memory.
const TASK: usize = 1 << 10;

/// Local coordinates of every member, three f32 each: exact, since chunks are at most 2^24 quanta wide.
pub(crate) fn positions(
    workers: &ThreadPool,
    lattice: &Lattice<'_>,
    loaded: &Loaded,
    out: WriteOnly<'_, [u8]>,
) {
    let local = |p: [i32; 3]| -> [f32; 3] {
        std::array::from_fn(|a| (i64::from(p[a]) - i64::from(loaded.min[a])) as f32)
    };
    let n = loaded.members.len();
    match &loaded.members {
        Members::All(_) => pack::<_, { 12 * TASK }>(workers, n, |i| local(lattice.points[i]), out),
        Members::Some(indices) => {
            pack::<_, { 12 * TASK }>(workers, n, |i| local(lattice.points[indices[i] as usize]), out);
        }
    }
}

/// Places of a chunk's foreign queries in the same coordinates. They lie within the loaded box, whose width is exact too.
pub(crate) fn queries(
    workers: &ThreadPool,
    queries: &Lattice<'_>,
    loaded: &Loaded,
    core: Option<&[u32]>,
    out: WriteOnly<'_, [u8]>,
) {
    let local = |i: usize| -> [f32; 3] {
        let p = queries.points[core.map_or(i, |core| core[i] as usize)];
        std::array::from_fn(|a| (i64::from(p[a]) - i64::from(loaded.min[a])) as f32)
    };
    let n = core.map_or(queries.len(), <[u32]>::len);
    pack::<_, { 12 * TASK }>(workers, n, local, out);
}

/// Attributes of every core point: its recorded channels, then a column for each extra.
pub(crate) fn attributes(
    workers: &ThreadPool,
    attributes: &PointAttributes<'_>,
    with_color: bool,
    core: Option<&[u32]>,
    rows: usize,
    out: WriteOnly<'_, [u8]>,
) {
    let (own, mut rest) = out.split_at(if with_color { 8 * rows } else { 0 });
    if with_color {
        colors(workers, attributes, core, rows, own);
    }
    for (_, values) in attributes.given {
        let (own, more) = rest.split_at(4 * rows);
        let at = |i: usize| values[core.map_or(i, |core| core[i] as usize)];
        pack::<f32, { 4 * TASK }>(workers, rows, at, own);
        rest = more;
    }
}

/// Recorded channels: red and green, blue and near-infrared, 16 bits each.
fn colors(
    workers: &ThreadPool,
    attributes: &PointAttributes<'_>,
    core: Option<&[u32]>,
    rows: usize,
    out: WriteOnly<'_, [u8]>,
) {
    let at = |i: usize| attributes.packed(i);
    match core {
        Some(core) => pack::<_, { 8 * TASK }>(workers, rows, |i| at(core[i] as usize), out),
        None => pack::<_, { 8 * TASK }>(workers, rows, at, out),
    }
}

/// Writes `to(0)`, `to(1)` .. `to(n - 1)` one after the other. `BYTES` is what one task's items take: mapped memory can be
/// shared out among threads only in arrays of fixed size.
fn pack<P: bytemuck::Pod, const BYTES: usize>(
    workers: &ThreadPool,
    n: usize,
    to: impl Fn(usize) -> P + Sync,
    out: WriteOnly<'_, [u8]>,
) {
    const { assert!(BYTES == TASK * size_of::<P>()) };
    let (tasks, mut rest) = out.into_chunks::<BYTES>();
    let tasks: Vec<_> = tasks.into_iter().enumerate().collect();
    let done = tasks.len() * TASK;
    let write = |packed: &mut Vec<P>, range: std::ops::Range<usize>| {
        packed.clear();
        packed.extend(range.map(&to));
    };
    workers.install(|| {
        tasks.into_par_iter().for_each_init(Vec::new, |packed, (task, slot)| {
            write(packed, task * TASK..(task + 1) * TASK);
            let mut bytes = [0; BYTES];
            bytes.copy_from_slice(bytemuck::cast_slice(packed));
            slot.write(bytes);
        });
    });
    let mut packed = Vec::new();
    write(&mut packed, done..n);
    rest.copy_from_slice(bytemuck::cast_slice(&packed));
}
