//! LAS/LAZ files made on the spot by the las crate, whose writer and reader know nothing of this crate's.
#![allow(dead_code)] // Each test binary uses a part.

pub mod survey;

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use las::point::Format;
use las::{Builder, PointDataBuilder, Reader, Transform, Vector, Vlr, Writer};

/// A small generator of seeded numbers (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// What a test file is like.
pub struct Spec {
    pub format: u8,
    pub points: usize,
    pub extra_bytes: u16,
    pub vlrs: Vec<Vlr>,
    pub evlrs: Vec<Vlr>,
    pub scale: [f64; 3],
    pub offset: [f64; 3],
    pub seed: u64,
}

impl Spec {
    pub fn new(format: u8, points: usize) -> Self {
        let crs = vlr("LASF_Projection", 2112, b"PROJCS[\"made up\"]\0");
        Self {
            format,
            points,
            extra_bytes: 0,
            vlrs: vec![crs, vlr("someone", 7, &[1, 2, 3])],
            evlrs: Vec::new(),
            scale: [0.01; 3],
            offset: [877_000.0, 6_617_000.0, -20.0],
            seed: 1,
        }
    }

    pub fn extra_bytes(mut self, bytes: u16) -> Self {
        self.extra_bytes = bytes;
        self
    }

    pub fn vlr(mut self, vlr: Vlr) -> Self {
        self.vlrs.push(vlr);
        self
    }

    pub fn evlr(mut self, evlr: Vlr) -> Self {
        self.evlrs.push(evlr);
        self
    }

    /// Writes the file; LAZ if its name says so.
    pub fn write(&self, path: &Path) -> PathBuf {
        let extended = self.format >= 6;
        let mut builder = Builder::from((1, if extended || !self.evlrs.is_empty() { 4 } else { 3 }));
        builder.point_format = Format::new(self.format).unwrap();
        builder.point_format.extra_bytes = self.extra_bytes;
        builder.point_format.is_compressed = path.extension().is_some_and(|e| e == "laz");
        let transform = |a: usize| Transform { scale: self.scale[a], offset: self.offset[a] };
        builder.transforms = Vector { x: transform(0), y: transform(1), z: transform(2) };
        builder.vlrs.clone_from(&self.vlrs);
        builder.evlrs.clone_from(&self.evlrs);
        builder.system_identifier = "sensor 9".to_owned();
        builder.generating_software = "made by a test".to_owned();
        builder.file_source_id = 77;
        let header = builder.into_header().unwrap();
        let points = PointDataBuilder::new().for_header(&header).build_from_bytes(self.records(&header));
        let mut writer = Writer::new(BufWriter::new(File::create(path).unwrap()), header).unwrap();
        writer.write_points(&points.unwrap()).unwrap();
        writer.close().unwrap();
        drop(writer);
        // A GUID and a creation date, which the builder's types of other crates would set.
        let mut bytes = std::fs::read(path).unwrap();
        bytes[8..24].copy_from_slice(b"a GUID of a test");
        bytes[90..94].copy_from_slice(&[144, 0, 0xe7, 7]);
        std::fs::write(path, bytes).unwrap();
        path.to_owned()
    }

    /// Random records: coordinates of a wavy surface, anything in the other fields.
    fn records(&self, header: &las::Header) -> Vec<u8> {
        let length = usize::from(header.point_format().len());
        let mut random = Random(self.seed);
        let mut bytes = Vec::with_capacity(length * self.points);
        for _ in 0..self.points {
            let start = bytes.len();
            while bytes.len() < start + length {
                bytes.extend(random.next().to_le_bytes());
            }
            bytes.truncate(start + length);
            let (x, y) = (random.below(4000) as i32, random.below(4000) as i32);
            let z = (x / 7 + y / 11) % 500 + random.below(20) as i32;
            for (a, v) in [x, y, z].into_iter().enumerate() {
                bytes[start + 4 * a..][..4].copy_from_slice(&v.to_le_bytes());
            }
            // First of one return: the header counts no more than five, fifteen in LAS 1.4.
            bytes[start + 14] = if self.format >= 6 { 0x11 } else { 0x09 };
        }
        bytes
    }
}

pub fn vlr(user: &str, record: u16, data: &[u8]) -> Vlr {
    Vlr {
        user_id: user.to_owned(),
        record_id: record,
        description: format!("{user} {record}"),
        data: data.to_vec(),
    }
}

/// One description of extra bytes.
pub fn descriptor(kind: u8, options: u8, name: &str) -> Vec<u8> {
    let mut bytes = vec![0; 192];
    bytes[2] = kind;
    bytes[3] = options;
    bytes[4..4 + name.len()].copy_from_slice(name.as_bytes());
    bytes
}

/// A file as the las crate reads it.
pub struct Seen {
    pub header: las::Header,
    pub length: usize,
    pub bytes: Vec<u8>,
}

pub fn see(path: &Path) -> Seen {
    let mut reader = Reader::from_path(path).unwrap();
    let points = reader.read_all().unwrap();
    Seen { header: reader.header().clone(), length: points.record_len(), bytes: points.raw_bytes().to_vec() }
}

impl Seen {
    pub fn record(&self, i: usize) -> &[u8] {
        &self.bytes[i * self.length..][..self.length]
    }

    pub fn len(&self) -> usize {
        self.bytes.len() / self.length
    }

    /// Records other than those that depend on how extra bytes and compression are described.
    pub fn plain_vlrs(&self) -> Vec<Vlr> {
        let kept =
            |v: &&Vlr| v.user_id != "laszip encoded" && (v.user_id.as_str(), v.record_id) != ("LASF_Spec", 4);
        self.header.vlrs().iter().filter(kept).cloned().collect()
    }

    /// Name, type and bytes of each extra dimension.
    pub fn dimensions(&self) -> Vec<(String, u8, std::ops::Range<usize>)> {
        let mut format = *self.header.point_format();
        format.extra_bytes = 0;
        let mut at = usize::from(format.len());
        let described: Vec<_> =
            self.header.vlrs().iter().filter(|v| v.user_id == "LASF_Spec" && v.record_id == 4).collect();
        let mut out = Vec::new();
        for d in described.iter().flat_map(|v| v.data.chunks_exact(192)) {
            let size = match d[2] {
                0 => usize::from(d[3]),
                kind => [1, 1, 2, 2, 4, 4, 8, 8, 4, 8][usize::from(kind) - 1],
            };
            let name = String::from_utf8(d[4..36].to_vec()).unwrap().trim_end_matches('\0').to_owned();
            out.push((name, d[2], at..at + size));
            at += size;
        }
        assert_eq!(at, self.length, "descriptions cover the record");
        out
    }

    /// Values of a f32 dimension.
    pub fn f32s(&self, name: &str) -> Vec<f32> {
        let (_, kind, range) = self.dimensions().into_iter().find(|d| d.0 == name).unwrap();
        assert_eq!(kind, 9, "{name}");
        let value = |i| f32::from_le_bytes(self.record(i)[range.clone()].try_into().unwrap());
        (0..self.len()).map(value).collect()
    }

    /// Values of a u32 dimension.
    pub fn u32s(&self, name: &str) -> Vec<u32> {
        let (_, kind, range) = self.dimensions().into_iter().find(|d| d.0 == name).unwrap();
        assert_eq!(kind, 5, "{name}");
        let value = |i| u32::from_le_bytes(self.record(i)[range.clone()].try_into().unwrap());
        (0..self.len()).map(value).collect()
    }

    /// Values of a u16 dimension.
    pub fn u16s(&self, name: &str) -> Vec<u16> {
        let (_, kind, range) = self.dimensions().into_iter().find(|d| d.0 == name).unwrap();
        assert_eq!(kind, 3, "{name}");
        let value = |i| u16::from_le_bytes(self.record(i)[range.clone()].try_into().unwrap());
        (0..self.len()).map(value).collect()
    }
}

/// User, record number and data of every extended record, by the file's bytes: the las crate reads one only.
pub fn evlrs(path: &Path) -> Vec<(String, u16, Vec<u8>)> {
    let file = std::fs::read(path).unwrap();
    let u64_at = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
    let count = u32::from_le_bytes(file[243..247].try_into().unwrap());
    let mut at = u64_at(235);
    let mut out = Vec::new();
    for _ in 0..count {
        let user =
            String::from_utf8(file[at + 2..at + 18].to_vec()).unwrap().trim_end_matches('\0').to_owned();
        let record = u16::from_le_bytes([file[at + 18], file[at + 19]]);
        let length = u64_at(at + 20);
        out.push((user, record, file[at + 60..at + 60 + length].to_vec()));
        at += 60 + length;
    }
    out
}

/// Header bytes that a copy with columns must not change.
pub fn kept_header(path: &Path) -> Vec<u8> {
    let file = std::fs::read(path).unwrap();
    let mut header = file[..usize::from(u16::from_le_bytes([file[94], file[95]]))].to_vec();
    // Offset to the points, number of VLRs, point format's compression, record length; then the EVLRs' place.
    header[96..107].fill(0);
    if header.len() >= 375 {
        header[227..247].fill(0);
    }
    header
}
