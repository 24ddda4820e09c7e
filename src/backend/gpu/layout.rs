//! What the host and the shaders read alike: uniform blocks and records.

use bytemuck::{Pod, Zeroable};

use super::kernel::Needs;
use crate::moments::Moments;
use crate::scales::MOST_ENDS;

/// `Grid` of prelude.wgsl.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct Grid {
    pub(crate) cubes: [u32; 3],
    pub(crate) cube_count: u32,
    pub(crate) extent: [f32; 3],
    pub(crate) edge: f32,
    pub(crate) face_low: [f32; 3],
    pub(crate) inverse_edge: f32,
    pub(crate) face_high: [f32; 3],
    pub(crate) points: u32,
    pub(crate) k: u32,
    pub(crate) rows: u32,
    pub(crate) slack: f32,
    pub(crate) limit: u32,
    pub(crate) long: u32,
    pub(crate) crew: u32,
    pub(crate) pad: [u32; 2],
    pub(crate) ends: [u32; MOST_ENDS],
}

/// `Batch` of prelude.wgsl.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct Batch {
    pub(crate) first: u32,
    pub(crate) end: u32,
    pub(crate) width: u32,
    pub(crate) steps: u32,
}

/// `Scale` of evaluate.wgsl.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct Scale {
    pub(crate) quantum: f32,
    pub(crate) rgb: f32,
    pub(crate) nir: f32,
    pub(crate) own: u32,
    pub(crate) rows: u32,
    pub(crate) stride: u32,
    pub(crate) queries: u32,
    pub(crate) pad: u32,
    pub(crate) radii: [f32; MOST_ENDS],
}

/// Words of a record without optional parts. Six more hold the scatter without the query, then three the extents.
pub(crate) const RECORD_WORDS: u32 = 16;

/// Appends the record that record.wgsl would have written: integer to f32 conversions round to nearest, ties to even,
/// in Rust as there.
pub(crate) fn push_record(m: &Moments, needs: Needs, out: &mut Vec<u32>) {
    out.extend([m.n, m.flags.0]);
    out.extend(m.scatter().map(|v| (v as f32).to_bits()));
    out.extend(m.sum.map(|v| (v as f32).to_bits()));
    out.push((m.radius_sq as f32).to_bits());
    out.push((m.distance_sum as f32 / 65536.0).to_bits());
    out.extend([m.z_min, m.z_max].map(|v| (v as f32).to_bits()));
    out.push((m.nearest_sq as f32).to_bits());
    if needs.plane {
        out.extend(m.scatter_of_rest().map(|v| (v as f32).to_bits()));
    }
    if needs.extent {
        out.extend(m.extent.map(|v| (v as f32).to_bits()));
    }
}
