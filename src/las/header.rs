//! The header and the variable-length records, checked against the file's length.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use las::point::Format;
use las::raw;

use super::Named;
use super::crs::{self, Stated};
use super::layout::{Layout, u16_at, u64_at};
use crate::error::Result;

/// Where fields stand that the output patches; all other bytes of the header are kept.
pub(super) mod field {
    pub(crate) const POINT_OFFSET: usize = 96;
    pub(crate) const VLR_COUNT: usize = 100;
    pub(crate) const POINT_FORMAT: usize = 104;
    pub(crate) const RECORD_LENGTH: usize = 105;
    pub(crate) const WAVEFORM_START: usize = 227;
    pub(crate) const EVLR_START: usize = 235;
    pub(crate) const EVLR_COUNT: usize = 243;
}

/// User and record of the descriptions of extra bytes.
pub(super) const EXTRA_BYTES: (&str, u16) = ("LASF_Spec", 4);

/// Set in the point format's byte of a LAZ file.
pub(super) const COMPRESSED: u8 = 0x80;

const VLR_HEADER: u64 = 54;
const EVLR_HEADER: u64 = 60;
/// Smallest header there is: LAS 1.0 to 1.2.
const SHORTEST: u64 = 227;

/// One variable-length record, as in the file.
#[derive(Debug, Clone)]
pub(super) struct Vlr {
    pub(super) header: [u8; VLR_HEADER as usize],
    pub(super) data: Vec<u8>,
}

impl Vlr {
    pub(super) fn is(&self, user: &str, record: u16) -> bool {
        user_id(&self.header) == user.as_bytes() && u16_at(&self.header, 18) == record
    }

    pub(super) fn is_of(&self, user: &str) -> bool {
        user_id(&self.header) == user.as_bytes()
    }
}

/// One extended variable-length record; its data stay in the file.
#[derive(Debug, Clone)]
pub(super) struct Evlr {
    pub(super) header: [u8; EVLR_HEADER as usize],
    pub(super) data: Range<u64>,
}

impl Evlr {
    pub(super) fn is(&self, user: &str, record: u16) -> bool {
        user_id(&self.header) == user.as_bytes() && u16_at(&self.header, 18) == record
    }

    pub(super) fn is_of(&self, user: &str) -> bool {
        user_id(&self.header) == user.as_bytes()
    }
}

/// The user id without its padding.
fn user_id(header: &[u8]) -> &[u8] {
    let id = &header[2..18];
    let end = id.iter().rposition(|&b| b != 0 && b != b' ').map_or(0, |last| last + 1);
    &id[..end]
}

/// Everything before and after the points.
#[derive(Debug)]
pub(super) struct Header {
    /// The header's bytes, with whatever a writer appended to it.
    pub(super) bytes: Vec<u8>,
    pub(super) file_length: u64,
    pub(super) format_id: u8,
    pub(super) compressed: bool,
    pub(super) layout: Layout,
    pub(super) record_length: usize,
    pub(super) points: u64,
    pub(super) point_offset: u64,
    pub(super) scale: [f64; 3],
    pub(super) offset: [f64; 3],
    /// Least and greatest coordinates, as the header has them.
    pub(super) bounds: [[f64; 3]; 2],
    pub(super) vlrs: Vec<Vlr>,
    /// Bytes between the last VLR and the points.
    pub(super) gap: Range<u64>,
    pub(super) evlrs: Vec<Evlr>,
    /// The waveform record of a LAS 1.3 file: it stands like an EVLR, but the header does not count it.
    pub(super) waveform: Option<Evlr>,
    /// Which EVLR holds the waveforms that the header points to.
    pub(super) waveform_evlr: Option<usize>,
    /// Descriptions of extra bytes, in the order of the records that hold them.
    pub(super) extra_bytes: Vec<Vec<u8>>,
    /// What the coordinate reference system says of units.
    pub(super) units: Stated,
}

impl Header {
    /// Reads and checks; leaves the file anywhere.
    pub(super) fn read(path: &Path, file: &File) -> Result<Self> {
        let named = Named::new(path);
        let file_length = file.metadata().map_err(|e| named.io(e))?.len();
        let mut source = Source { named, file_length, file: BufReader::new(file) };
        let bytes = source.header_bytes()?;
        let named = source.named.clone();
        let raw = raw::Header::read_from(bytes.as_slice()).map_err(|e| named.bad(e.to_string()))?;

        let point_offset = u64::from(raw.offset_to_point_data);
        if point_offset < bytes.len() as u64 || point_offset > file_length {
            return Err(named.bad(format!(
                "point data begin at {point_offset}, which is not between the header's end {} and the file's end \
                 {file_length}",
                bytes.len()
            )));
        }
        let compressed = raw.point_data_record_format & COMPRESSED != 0;
        let format_id = raw.point_data_record_format & 0x3f;
        if format_id > 10 {
            return Err(named.bad(format!("point format {format_id} is not one of 0 to 10")));
        }
        let format = Format::new(format_id).map_err(|e| named.bad(e.to_string()))?;
        let layout = Layout::new(format);
        let record_length = usize::from(raw.point_data_record_length);
        if record_length < layout.base {
            return Err(named.bad(format!(
                "records of {record_length} bytes are shorter than the {} of point format {format_id}",
                layout.base
            )));
        }
        let scale = [raw.x_scale_factor, raw.y_scale_factor, raw.z_scale_factor];
        let offset = [raw.x_offset, raw.y_offset, raw.z_offset];
        for (axis, (s, o)) in ['x', 'y', 'z'].into_iter().zip(scale.into_iter().zip(offset)) {
            if !(s.is_finite() && s != 0.0 && o.is_finite()) {
                return Err(named.bad(format!("axis {axis} has scale {s} and offset {o}")));
            }
        }
        // A legacy count that is not zero wins over the 64-bit one (LAS 1.4 R15, 2.4).
        let points = match (raw.number_of_point_records, raw.large_file) {
            (0, Some(large)) => large.number_of_point_records,
            (legacy, _) => u64::from(legacy),
        };

        let (vlrs, gap) =
            source.vlrs(bytes.len() as u64, raw.number_of_variable_length_records, point_offset)?;
        let end_of_points = if compressed {
            point_offset
        } else {
            let end = points.checked_mul(record_length as u64).and_then(|b| b.checked_add(point_offset));
            end.filter(|&end| end <= file_length).ok_or_else(|| {
                named.bad(format!(
                    "{points} records of {record_length} bytes from byte {point_offset} do not fit the file's \
                     {file_length} bytes"
                ))
            })?
        };
        let evlrs = match raw.evlr {
            Some(evlr) => source.evlrs(evlr.start_of_first_evlr, evlr.number_of_evlrs, end_of_points)?,
            None => Vec::new(),
        };
        // The header's pointer means a record in this file only if the encoding says so (bit 1).
        let start = raw.start_of_waveform_data_packet_record.filter(|_| raw.global_encoding & 2 != 0);
        let waveform_data = start.and_then(|s| s.checked_add(EVLR_HEADER));
        let waveform_evlr = waveform_data.and_then(|data| evlrs.iter().position(|e| e.data.start == data));
        let waveform = match start {
            Some(start) if waveform_evlr.is_none() => source.evlrs(start, 1, end_of_points)?.pop(),
            _ => None,
        };
        let mut extra_bytes: Vec<_> =
            vlrs.iter().filter(|v| v.is(EXTRA_BYTES.0, EXTRA_BYTES.1)).map(|v| v.data.clone()).collect();
        for evlr in evlrs.iter().filter(|e| e.is(EXTRA_BYTES.0, EXTRA_BYTES.1)) {
            // A record has room for 65,535 extra bytes, so longer descriptions describe nothing that is there.
            extra_bytes.push(source.data(evlr, u16::MAX.into())?);
        }
        let wkt_first = raw.global_encoding & 16 != 0;
        let vlr = |record| vlrs.iter().find(|v| v.is(crs::USER, record)).map(|v| v.data.as_slice());
        let evlr = evlrs.iter().find(|e| e.is(crs::USER, crs::WKT));
        let far = evlr.map(|evlr| source.data(evlr, crs::LONGEST_WKT)).transpose()?;
        let units = Stated::of(vlr(crs::GEO_KEYS), vlr(crs::WKT).or(far.as_deref()), wkt_first);
        Ok(Self {
            bytes,
            file_length,
            format_id,
            compressed,
            layout,
            record_length,
            points,
            point_offset,
            scale,
            offset,
            bounds: [[raw.min_x, raw.min_y, raw.min_z], [raw.max_x, raw.max_y, raw.max_z]],
            vlrs,
            gap,
            evlrs,
            waveform,
            waveform_evlr,
            extra_bytes,
            units,
        })
    }
}

struct Source<'a> {
    named: Named,
    file_length: u64,
    file: BufReader<&'a File>,
}

impl Source<'_> {
    fn header_bytes(&mut self) -> Result<Vec<u8>> {
        let mut start = [0; SHORTEST as usize];
        if self.file_length < SHORTEST {
            return Err(self.named.bad(format!("{} bytes are too few for a LAS header", self.file_length)));
        }
        self.fill(&mut start)?;
        if start[..4] != *b"LASF" {
            return Err(self.named.bad("the file does not begin with LASF: not a LAS or LAZ file"));
        }
        let (major, minor) = (start[24], start[25]);
        if major != 1 || minor > 4 {
            return Err(self.named.bad(format!("LAS version {major}.{minor} is not one of 1.0 to 1.4")));
        }
        let size = u16_at(&start, 94);
        let least = las::Version::new(major, minor).header_size();
        if size < least || u64::from(size) > self.file_length {
            return Err(self.named.bad(format!(
                "a header of {size} bytes is shorter than {least} or longer than the file's {} bytes",
                self.file_length
            )));
        }
        let mut bytes = vec![0; usize::from(size)];
        bytes[..start.len()].copy_from_slice(&start);
        self.fill(&mut bytes[start.len()..])?;
        Ok(bytes)
    }

    fn vlrs(&mut self, start: u64, count: u32, end: u64) -> Result<(Vec<Vlr>, Range<u64>)> {
        let mut at = start;
        let mut vlrs = Vec::new();
        for i in 0..count {
            let mut header = [0; VLR_HEADER as usize];
            let fits = at + VLR_HEADER <= end;
            if fits {
                self.fill(&mut header)?;
            }
            let length = u64::from(u16_at(&header, 20));
            if !fits || at + VLR_HEADER + length > end {
                return Err(self.named.bad(format!(
                    "variable-length record {} of {count} at byte {at} reaches beyond the point data's begin {end}",
                    i + 1
                )));
            }
            let mut data = vec![0; length as usize];
            self.fill(&mut data)?;
            at += VLR_HEADER + length;
            vlrs.push(Vlr { header, data });
        }
        Ok((vlrs, at..end))
    }

    fn evlrs(&mut self, start: u64, count: u32, end_of_points: u64) -> Result<Vec<Evlr>> {
        let mut at = start;
        let mut evlrs = Vec::new();
        for i in 0..count {
            let damaged =
                |what: String| self.named.bad(format!("extended record {} of {count} {what}", i + 1));
            let data = at.checked_add(EVLR_HEADER).filter(|&d| d <= self.file_length && at >= end_of_points);
            let Some(data) = data else {
                return Err(damaged(format!(
                    "at byte {at} is not between the points' end {end_of_points} and the file's end {}",
                    self.file_length
                )));
            };
            let mut header = [0; EVLR_HEADER as usize];
            self.file.seek(SeekFrom::Start(at)).map_err(|e| self.named.io(e))?;
            self.file.read_exact(&mut header).map_err(|e| self.named.reading(e))?;
            let length = u64_at(&header, 20);
            let Some(end) = data.checked_add(length).filter(|&end| end <= self.file_length) else {
                return Err(self.named.bad(format!(
                    "extended record {} of {count} at byte {at} claims {length} bytes, the file has {}",
                    i + 1,
                    self.file_length
                )));
            };
            evlrs.push(Evlr { header, data: data..end });
            at = end;
        }
        Ok(evlrs)
    }

    /// An extended record's first bytes, `most` at most.
    fn data(&mut self, evlr: &Evlr, most: u64) -> Result<Vec<u8>> {
        let length = evlr.data.end - evlr.data.start;
        let mut data = vec![0; length.min(most) as usize];
        self.file.seek(SeekFrom::Start(evlr.data.start)).map_err(|e| self.named.io(e))?;
        self.fill(&mut data)?;
        Ok(data)
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        self.file.read_exact(out).map_err(|e| self.named.reading(e))
    }
}
