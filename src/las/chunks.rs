//! The LAZ chunks of a file: where each stands and how many points it holds, proved before anything trusts it.

use std::io::{BufReader, Read, Seek, SeekFrom};

use laz::laszip::ChunkTable;
use laz::{LazItemType, LazVlr};

use super::Named;
use super::header::Header;
use super::layout::{u16_at, u32_at};
use crate::error::Result;

/// A run of compressed records that is decoded from a fresh state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    pub(super) start: u64,
    pub(super) bytes: u64,
    pub(super) points: u64,
    /// The decoder's state begins anew after so many points: a file without a chunk table is one such chunk.
    pub(super) restart: Option<u64>,
}

/// How the records are compressed.
#[derive(Debug)]
pub(super) struct Compression {
    pub(super) vlr: LazVlr,
    /// Records of formats 6 and up: each field has its own stream, whose lengths stand at a chunk's begin.
    pub(super) layers: Option<usize>,
    pub(super) chunks: Vec<Chunk>,
    /// Chunks that may be decoded at a time, each with a decoder of its own.
    pub(super) together: usize,
}

/// What decoders may take at a time. One of 6,900 extra bytes a point reaches it (all dimensions that a file can describe
/// have half as many); a file of 300 kB can ask for nine times as much, and by each thread.
const MOST_STATE_BYTES: u64 = 64 << 20;
/// Of laz, for each extra byte: a model of 256 symbols.
const MODEL_BYTES: u64 = 2400;

/// About what laz allocates for these items before the first point, to read or to write; an error if that is too much.
pub(super) fn state_bytes(named: &Named, vlr: &LazVlr) -> Result<u64> {
    let of = |item: LazItemType| match item {
        LazItemType::Byte(n) => u64::from(n) * MODEL_BYTES,
        // Layered items have four sets of models.
        LazItemType::Byte14(n) => 4 * u64::from(n) * MODEL_BYTES,
        // Other fields have a fixed number of models.
        _ => 1 << 17,
    };
    let bytes = vlr.items().iter().map(|item| of(item.item_type())).sum();
    if bytes > MOST_STATE_BYTES {
        return Err(named.bad(format!(
            "compressed records of {} bytes take {bytes} bytes of memory for each chunk, more than {MOST_STATE_BYTES}",
            vlr.items_size()
        )));
    }
    Ok(bytes)
}

const POINT_WISE: u16 = 1;
const POINT_WISE_CHUNKED: u16 = 2;
const LAYERED_CHUNKED: u16 = 3;

impl Compression {
    /// Reads the laszip record and the chunk table.
    pub(super) fn read<R: Read + Seek>(named: &Named, header: &Header, file: &mut R) -> Result<Self> {
        let vlr = header.vlrs.iter().find(|v| v.is(LazVlr::USER_ID, LazVlr::RECORD_ID));
        let Some(data) = vlr.map(|v| v.data.as_slice()) else {
            return Err(named.bad("the points are compressed, but there is no laszip record"));
        };
        if data.len() < 34 {
            return Err(named.bad(format!("a laszip record of {} bytes is shorter than 34", data.len())));
        }
        let compressor = u16_at(data, 0);
        let items = u16_at(data, 32);
        if items == 0 || data.len() < 34 + 6 * usize::from(items) {
            return Err(named.bad(format!("a laszip record of {} bytes lists {items} items", data.len())));
        }
        let vlr = LazVlr::from_buffer(data).map_err(|e| named.bad(format!("laszip record: {e}")))?;
        let layered = check_items(named, header, &vlr, compressor)?;
        let layers = layered.then(|| layer_count(&vlr));
        let state_bytes = state_bytes(named, &vlr)?;
        let mut source = Table { named, header, vlr: &vlr, layers, file: BufReader::new(file) };
        let chunks = match compressor {
            _ if header.points == 0 => Vec::new(),
            POINT_WISE => vec![source.rest_of_file(header.point_offset, None)],
            _ => source.chunks()?,
        };
        let together = (MOST_STATE_BYTES / state_bytes).max(1) as usize;
        Ok(Self { vlr, layers, chunks, together })
    }
}

/// The items must be those of the point format and fill the record; tells whether they are layered.
fn check_items(named: &Named, header: &Header, vlr: &LazVlr, compressor: u16) -> Result<bool> {
    let length: u64 = vlr.items().iter().map(|item| u64::from(item.size())).sum();
    if length != header.record_length as u64 {
        return Err(named.bad(format!(
            "laszip items add up to {length} bytes, the records have {}",
            header.record_length
        )));
    }
    let layered = vlr.items().iter().all(|item| matches!(item.version(), 3 | 4));
    let sequential = vlr.items().iter().all(|item| matches!(item.version(), 1 | 2));
    let first = vlr.items().first().map(|item| item.item_type());
    let fits = match first {
        Some(LazItemType::Point10) => sequential && header.format_id < 6,
        Some(LazItemType::Point14) => layered && header.format_id >= 6,
        _ => false,
    };
    let chunked = match compressor {
        POINT_WISE | POINT_WISE_CHUNKED => sequential,
        LAYERED_CHUNKED => layered,
        _ => false,
    };
    if !fits || !chunked {
        return Err(named.bad(format!(
            "laszip compressor {compressor} with items {:?} does not fit point format {}",
            vlr.items().iter().map(|item| (item.item_type(), item.version())).collect::<Vec<_>>(),
            header.format_id
        )));
    }
    // Fixed-size items whose stated size is another than the decoder's would shift every field after them.
    for item in vlr.items() {
        let expected = match item.item_type() {
            LazItemType::Point10 => 20,
            LazItemType::GpsTime => 8,
            LazItemType::RGB12 | LazItemType::RGB14 => 6,
            LazItemType::RGBNIR14 => 8,
            LazItemType::WavePacket13 | LazItemType::WavePacket14 => 29,
            LazItemType::Point14 => 30,
            LazItemType::Byte(n) | LazItemType::Byte14(n) => n,
        };
        if item.size() != expected {
            return Err(named.bad(format!(
                "laszip item {:?} has {} bytes instead of {expected}",
                item.item_type(),
                item.size()
            )));
        }
    }
    Ok(layered)
}

fn layer_count(vlr: &LazVlr) -> usize {
    let of = |item: LazItemType| match item {
        LazItemType::Point14 => 9,
        LazItemType::RGBNIR14 => 2,
        LazItemType::Byte14(n) => usize::from(n),
        _ => 1,
    };
    vlr.items().iter().map(|item| of(item.item_type())).sum()
}

struct Table<'a, R> {
    named: &'a Named,
    header: &'a Header,
    vlr: &'a LazVlr,
    layers: Option<usize>,
    file: BufReader<R>,
}

impl<R: Read + Seek> Table<'_, R> {
    /// One chunk to the end of the file, with restarts.
    fn rest_of_file(&self, start: u64, restart: Option<u64>) -> Chunk {
        let bytes = self.header.file_length.saturating_sub(start);
        Chunk { start, bytes, points: self.header.points, restart }
    }

    fn chunks(&mut self) -> Result<Vec<Chunk>> {
        let first = self.header.point_offset + 8;
        if first > self.header.file_length {
            return Err(self.named.bad("the file ends before its chunk table's offset"));
        }
        match self.table_start(first)? {
            Some(table) => self.listed(first, table),
            // A writer that could not seek back leaves no table. Layered chunks state their lengths themselves.
            None if self.layers.is_some() => self.walked(first),
            None if self.vlr.uses_variable_size_chunks() => {
                Err(self.named.bad("chunks of variable size need a chunk table, and there is none"))
            }
            None => Ok(vec![self.rest_of_file(first, Some(u64::from(self.vlr.chunk_size())))]),
        }
    }

    /// Where the chunk table stands: said before the points, or else in the file's last eight bytes.
    fn table_start(&mut self, first: u64) -> Result<Option<u64>> {
        let length = self.header.file_length;
        let said = self.offset_at(first - 8)?;
        match said.filter(|&table| table >= first) {
            Some(table) if table > length - 8 => Err(self.named.bad(format!(
                "the chunk table at byte {table} is beyond the file's {length} bytes: the file is truncated"
            ))),
            Some(table) => Ok(Some(table)),
            // Without a table these are compressed points: any number.
            None => Ok(self.offset_at(length - 8)?.filter(|&table| table >= first && table <= length - 8)),
        }
    }

    /// A signed offset; writers put -1 where they could not know it.
    fn offset_at(&mut self, at: u64) -> Result<Option<u64>> {
        let mut bytes = [0; 8];
        self.seek(at)?;
        self.fill(&mut bytes)?;
        Ok(u64::try_from(i64::from_le_bytes(bytes)).ok())
    }

    fn listed(&mut self, first: u64, table: u64) -> Result<Vec<Chunk>> {
        let mut head = [0; 8];
        self.seek(table)?;
        self.fill(&mut head)?;
        let count = u64::from(u32_at(&head, 4));
        // Each chunk begins with a whole record, so the count is bounded by the bytes there are (a writer may
        // add an empty chunk at the end). laz allocates from the count: unchecked, four forged bytes take 64 GB.
        let most = (table - first) / self.header.record_length as u64 + 1;
        if count > most {
            return Err(self.named.bad(format!(
                "{count} chunks are listed, but {} bytes of points hold {most} at most",
                table - first
            )));
        }
        self.seek(table)?;
        let variable = self.vlr.uses_variable_size_chunks();
        let file = &mut self.file;
        let listed = super::decode::contained(|| ChunkTable::read(&mut { file }, variable));
        let listed = match listed {
            Ok(read) => read.map_err(|e| self.named.reading(e))?,
            Err(panic) => return Err(self.named.bad(format!("the chunk table is damaged: {panic}"))),
        };

        let mut chunks = Vec::with_capacity(count as usize);
        let (mut start, mut left) = (first, self.header.points);
        for (i, entry) in listed.as_ref().iter().enumerate() {
            if left == 0 {
                break;
            }
            let stated = if variable { entry.point_count } else { u64::from(self.vlr.chunk_size()) };
            let points = stated.min(left);
            let end = start.checked_add(entry.byte_count).filter(|&end| end <= table);
            let Some(end) =
                end.filter(|_| points == 0 || entry.byte_count >= self.header.record_length as u64)
            else {
                return Err(self.named.bad(format!(
                    "chunk {i} of {count} claims {} bytes at {start} for {points} points; the chunk table is at {table}",
                    entry.byte_count as i64
                )));
            };
            chunks.push(Chunk { start, bytes: entry.byte_count, points, restart: None });
            start = end;
            left -= points;
        }
        if left > 0 {
            return Err(self.named.bad(format!(
                "{} points are promised, {count} chunks hold {}",
                self.header.points,
                self.header.points - left
            )));
        }
        Ok(chunks)
    }

    /// Layered chunks from one to the next, by the lengths at their begins.
    fn walked(&mut self, first: u64) -> Result<Vec<Chunk>> {
        let mut chunks = Vec::new();
        let (mut start, mut left) = (first, self.header.points);
        while left > 0 {
            let available = self.header.file_length - start;
            let length = layered_head(self.header, self.layers.unwrap_or(0));
            if available < length as u64 {
                return Err(self.named.bad(format!("the file ends with {left} points to come")));
            }
            let mut head = vec![0; length];
            self.seek(start)?;
            self.fill(&mut head)?;
            let points = u64::from(u32_at(&head, self.header.record_length)).min(left);
            let bytes = layered_bytes(self.header, &head);
            if points == 0 || bytes > available {
                return Err(self.named.bad(format!(
                    "the chunk at byte {start} claims {points} points in {bytes} bytes, the file has {available} left"
                )));
            }
            chunks.push(Chunk { start, bytes, points, restart: None });
            start += bytes;
            left -= points;
        }
        Ok(chunks)
    }

    fn seek(&mut self, at: u64) -> Result<()> {
        self.file.seek(SeekFrom::Start(at)).map(drop).map_err(|e| self.named.io(e))
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        self.file.read_exact(out).map_err(|e| self.named.reading(e))
    }
}

/// Bytes at a layered chunk's begin: its first record, its number of points, the layers' lengths.
pub(super) fn layered_head(header: &Header, layers: usize) -> usize {
    header.record_length + 4 + 4 * layers
}

/// Length of a layered chunk by its own head.
fn layered_bytes(header: &Header, head: &[u8]) -> u64 {
    let lengths = head[header.record_length + 4..].chunks_exact(4);
    head.len() as u64 + lengths.map(|l| u64::from(u32_at(l, 0))).sum::<u64>()
}

/// Whether a layered chunk's head agrees with what the chunk table says. laz allocates each layer from its length.
pub(super) fn check_layers(named: &Named, header: &Header, chunk: &Chunk, head: &[u8]) -> Result<()> {
    let points = u64::from(u32_at(head, header.record_length));
    let bytes = layered_bytes(header, head);
    if points < chunk.points || bytes > chunk.bytes {
        return Err(named.bad(format!(
            "the chunk at byte {} holds {points} points in {bytes} bytes, {} in {} were promised",
            chunk.start, chunk.points, chunk.bytes
        )));
    }
    Ok(())
}
