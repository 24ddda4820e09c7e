//! Sound files to damage: every point format, with extra bytes and records before and after the points.

use std::io::{Cursor, Seek, SeekFrom};
use std::path::Path;

use laz::{LasZipCompressor, LazItemRecordBuilder, LazVlr, LazVlrBuilder};

use crate::bytes::{u16_at, u32_at, u64_at};
use crate::files::{Spec, descriptor, vlr};

const POINTS: usize = 240;

/// How the points of a LAZ file are cut into chunks.
#[derive(Clone, Copy)]
enum Chunks {
    Fixed(u32),
    Variable,
}

fn specs() -> Vec<Spec> {
    let described = || vlr("LASF_Spec", 4, &[descriptor(3, 0, "one"), descriptor(9, 0, "two")].concat());
    let keys: Vec<u8> = [[1u16, 1, 0, 2], [3076, 0, 1, 9002], [4099, 0, 1, 9001]]
        .iter()
        .flatten()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    (0..=10)
        .map(|format| {
            let mut spec = Spec::new(format, POINTS).vlr(vlr("LASF_Projection", 34735, &keys));
            spec.seed = u64::from(format) + 1;
            if format % 2 == 0 {
                spec = spec.extra_bytes(8).vlr(described());
            }
            if format >= 6 {
                spec = spec.evlr(vlr("someone", 9, &[3; 300]));
            }
            if format == 7 {
                spec.scale = [0.01, 0.01, 0.001];
            }
            spec
        })
        .collect()
}

/// The originals, LAS or LAZ. Compressed ones are one chunk, several of a fixed number of points, and several that
/// the chunk table says.
pub fn originals(folder: &Path, compressed: bool) -> Vec<Vec<u8>> {
    let path = folder.join("original.las");
    let plain: Vec<_> = specs().iter().map(|spec| std::fs::read(spec.write(&path)).unwrap()).collect();
    if !compressed {
        return plain;
    }
    let ways = [Chunks::Fixed(50_000), Chunks::Fixed(64), Chunks::Variable];
    plain.iter().flat_map(|file| ways.map(|chunks| compress(file, chunks))).collect()
}

/// The LAZ file of a LAS file, everything around the points kept.
fn compress(las: &[u8], chunks: Chunks) -> Vec<u8> {
    let (points_at, length) = (u32_at(las, 96) as usize, usize::from(u16_at(las, 105)));
    let format = las[104];
    let mut base = las::point::Format::new(format).unwrap();
    base.extra_bytes = 0;
    let items =
        LazItemRecordBuilder::default_for_point_format_id(format, length as u16 - base.len()).unwrap();
    let builder = LazVlrBuilder::new(items);
    let description = match chunks {
        Chunks::Fixed(points) => builder.with_fixed_chunk_size(points),
        Chunks::Variable => builder.with_variable_chunk_size(),
    }
    .build();
    let mut data = Vec::new();
    description.write_to(&mut data).unwrap();
    let mut header = [0; 54];
    header[2..2 + LazVlr::USER_ID.len()].copy_from_slice(LazVlr::USER_ID.as_bytes());
    header[18..20].copy_from_slice(&LazVlr::RECORD_ID.to_le_bytes());
    header[20..22].copy_from_slice(&(data.len() as u16).to_le_bytes());

    let mut out = [&las[..points_at], &header, &data].concat();
    let new_points_at = out.len() as u32;
    out[96..100].copy_from_slice(&new_points_at.to_le_bytes());
    let records = u32_at(las, 100) + 1;
    out[100..104].copy_from_slice(&records.to_le_bytes());
    out[104] |= 0x80;

    let end = points_at + POINTS * length;
    let points: Vec<_> = las[points_at..end].chunks_exact(length).collect();
    let mut file = Cursor::new(out);
    file.seek(SeekFrom::End(0)).unwrap();
    let mut compressor = LasZipCompressor::new(file, description).unwrap();
    for (i, point) in points.iter().enumerate() {
        if matches!(chunks, Chunks::Variable) && [30, 31, 150].contains(&i) {
            compressor.finish_current_chunk().unwrap();
        }
        compressor.compress_one(point).unwrap();
    }
    compressor.done().unwrap();
    let mut out = compressor.into_inner().into_inner();
    if out[25] >= 4 && u32_at(las, 243) > 0 {
        let (from, to) = (u64_at(las, 235) as usize, out.len() as u64);
        out[235..243].copy_from_slice(&to.to_le_bytes());
        out.extend_from_slice(&las[from..]);
    }
    out
}
