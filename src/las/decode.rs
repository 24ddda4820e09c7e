//! Point records of a file, in batches of bounded size.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use laz::DecompressionSelection;
use laz::record::{LayeredPointRecordDecompressor, RecordDecompressor, SequentialPointRecordDecompressor};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::Named;
use super::chunks::{Chunk, Compression, check_layers, layered_head};
use super::header::Header;
use super::layout::u32_at;
use super::switches::{self, Layers, STACK_BYTES, Shallow, from_here};
use crate::error::Result;

/// Bytes of one batch, at most; a single record may be up to 64 KiB.
const BATCH_BYTES: usize = 32 << 20;
/// Chunks of more points are decoded piece by piece, so that memory follows what decodes and not what is claimed.
const WHOLE_CHUNK: u64 = 1 << 18;
/// Points of such a piece: one thread decodes them in a tenth of a second.
const PIECE: u64 = 1 << 16;
/// Of a point's layers the one of GPS times; the first has scanner channels, returns and XY.
const TIMES_LAYER: usize = 8;

/// Runs code of the laz crate; a panic comes back as its message.
///
/// laz indexes, unwraps and adds with what it reads from the stream, which no check before can rule out (built with
/// overflow checks it even panics on GPS times that are far apart). What is unwound is dropped: nothing half-changed
/// is used again.
pub(super) fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(|| from_here(work))).map_err(|panic| {
        let text =
            panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
        text.unwrap_or("panic").to_owned()
    })
}

/// A file's records in order.
pub(super) struct Records {
    named: Named,
    file: File,
    header: Header,
    done: u64,
    source: Kind,
}

enum Kind {
    Plain,
    Laz { decoding: Decoding, next: usize, open: Option<Stream> },
}

/// How compressed records are decoded.
struct Decoding {
    compression: Compression,
    /// Fields to decode; sequential records are always decoded whole.
    fields: DecompressionSelection,
    /// Where laz works: threads with [`STACK_BYTES`].
    threads: ThreadPool,
}

/// A chunk that is being decoded piece by piece.
struct Stream {
    decoder: Box<dyn RecordDecompressor<Shallow<BufReader<File>>> + Send>,
    restart: Option<u64>,
    until_restart: u64,
    left: u64,
}

impl Records {
    /// Opens a file and checks everything that stands outside the points.
    pub(super) fn open(path: &Path) -> Result<Self> {
        Self::open_for(path, DecompressionSelection::all())
    }

    /// Opens a file of which these fields are needed; others may be those of another record.
    pub(super) fn open_for(path: &Path, fields: DecompressionSelection) -> Result<Self> {
        let named = Named::new(path);
        let mut file = File::open(path).map_err(|e| named.io(e))?;
        if !file.metadata().map_err(|e| named.io(e))?.is_file() {
            return Err(named.bad("not a file"));
        }
        let header = Header::read(path, &file)?;
        let source = if header.compressed {
            let compression = Compression::read(&named, &header, &mut file)?;
            let threads = ThreadPoolBuilder::new().num_threads(rayon::current_num_threads());
            let threads = threads.stack_size(STACK_BYTES).build();
            let threads = threads.map_err(|e| named.bad(format!("no threads to decompress with: {e}")))?;
            Kind::Laz { decoding: Decoding { compression, fields, threads }, next: 0, open: None }
        } else {
            file.seek(SeekFrom::Start(header.point_offset)).map_err(|e| named.io(e))?;
            Kind::Plain
        };
        Ok(Self { named, file, header, done: 0, source })
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    pub(super) fn named(&self) -> &Named {
        &self.named
    }

    /// Replaces `out` by the next records, whole and uncompressed, `most` at most. None are left when it stays empty.
    pub(super) fn next_batch(&mut self, most: u64, out: &mut Vec<u8>) -> Result<u64> {
        out.clear();
        let length = self.header.record_length;
        let fitting = (BATCH_BYTES / length).max(1) as u64;
        let wanted = most.min(self.header.points - self.done);
        if wanted == 0 {
            return Ok(0);
        }
        let got = match &mut self.source {
            Kind::Plain => {
                let n = wanted.min(fitting);
                out.resize(n as usize * length, 0);
                self.file.read_exact(out).map_err(|e| self.named.reading(e))?;
                n
            }
            Kind::Laz { decoding, next, open } => {
                let Decoding { compression, fields, threads } = decoding;
                let (named, header, file) = (&self.named, &self.header, &mut self.file);
                let file = LazFile { named, header, compression, fields: *fields, threads, file };
                file.next_batch(next, open, wanted, fitting, out)?
            }
        };
        self.done += got;
        Ok(got)
    }
}

struct LazFile<'a> {
    named: &'a Named,
    header: &'a Header,
    compression: &'a Compression,
    fields: DecompressionSelection,
    threads: &'a ThreadPool,
    file: &'a mut File,
}

impl LazFile<'_> {
    fn next_batch(
        mut self,
        next: &mut usize,
        open: &mut Option<Stream>,
        wanted: u64,
        fitting: u64,
        out: &mut Vec<u8>,
    ) -> Result<u64> {
        let chunks = &self.compression.chunks;
        while open.is_none() && *next < chunks.len() {
            // As many whole chunks as a batch takes are decoded together, one thread each. Each thread has two at most, so
            // that whoever watches is asked several times a second on any machine.
            let most = self.compression.together.min(2 * self.threads.current_num_threads());
            let mut points = 0;
            let mut whole = 0;
            for chunk in &chunks[*next..] {
                let fits = whole < most
                    && chunk.restart.is_none()
                    && chunk.points <= WHOLE_CHUNK
                    && points + chunk.points <= wanted.min(fitting);
                if !fits {
                    break;
                }
                points += chunk.points;
                whole += 1;
            }
            if whole == 0 {
                *open = Some(self.stream(&chunks[*next])?);
                *next += 1;
                continue;
            }
            let group = *next..*next + whole;
            *next += whole;
            if points > 0 {
                self.whole_chunks(&chunks[group], out)?;
                return Ok(points);
            }
        }
        let Some(stream) = open else { return Ok(0) };
        let n = wanted.min(fitting).min(stream.left).min(PIECE);
        out.resize(n as usize * self.header.record_length, 0);
        self.piece(stream, out)?;
        if stream.left == 0 {
            *open = None;
        }
        Ok(n)
    }

    fn whole_chunks(&mut self, chunks: &[Chunk], out: &mut Vec<u8>) -> Result<()> {
        let length = self.header.record_length;
        let start = chunks.first().map_or(0, |c| c.start);
        let bytes: u64 = chunks.iter().map(|c| c.bytes).sum();
        let mut packed = vec![0; bytes as usize];
        self.file.seek(SeekFrom::Start(start)).map_err(|e| self.named.io(e))?;
        self.file.read_exact(&mut packed).map_err(|e| self.named.reading(e))?;

        out.resize(chunks.iter().map(|c| c.points as usize * length).sum(), 0);
        let mut jobs = Vec::with_capacity(chunks.len());
        let (mut packed, mut rest) = (packed.as_slice(), out.as_mut_slice());
        for chunk in chunks {
            let (source, packed_rest) = packed.split_at(chunk.bytes as usize);
            let (target, rest_rest) = rest.split_at_mut(chunk.points as usize * length);
            (packed, rest) = (packed_rest, rest_rest);
            jobs.push((chunk, source, target));
        }
        let decode = |(chunk, source, target): (&Chunk, &[u8], &mut [u8])| {
            if target.is_empty() {
                return Ok(());
            }
            let mut times = None;
            if let Some(layers) = self.compression.layers {
                let head =
                    source.get(..layered_head(self.header, layers)).ok_or_else(|| self.short(chunk))?;
                check_layers(self.named, self.header, chunk, head)?;
                times = self.layers_of_times(head).map(|layers| layers.map(|layer| &source[layer]));
            }
            let decoded = contained(|| {
                if let Some([returns, times]) = times {
                    switches::check(&Layers { first: source, points: chunk.points, returns, times })?;
                }
                let mut decoder = self.decoder(Shallow(Cursor::new(source)))?;
                Ok(decoder.decompress_many(target)?)
            });
            self.decoded(chunk.start, decoded)
        };
        self.threads.install(|| jobs.into_par_iter().try_for_each(decode))
    }

    fn stream(&mut self, chunk: &Chunk) -> Result<Stream> {
        self.file.seek(SeekFrom::Start(chunk.start)).map_err(|e| self.named.io(e))?;
        if let Some(layers) = self.compression.layers {
            let length = layered_head(self.header, layers);
            if chunk.bytes < length as u64 {
                return Err(self.short(chunk));
            }
            let mut head = vec![0; length];
            self.file.read_exact(&mut head).map_err(|e| self.named.reading(e))?;
            check_layers(self.named, self.header, chunk, &head)?;
            if let Some([returns, times]) = self.layers_of_times(&head) {
                let (returns, times) = (self.layer(chunk, returns)?, self.layer(chunk, times)?);
                let layers = Layers { first: &head, points: chunk.points, returns: &returns, times: &times };
                self.decoded(chunk.start, contained(|| Ok(switches::check(&layers)?)))?;
            }
            self.file.seek(SeekFrom::Start(chunk.start)).map_err(|e| self.named.io(e))?;
        }
        // The clone shares the file's position; nothing else reads until the stream ends.
        let source = Shallow(BufReader::new(self.file.try_clone().map_err(|e| self.named.io(e))?));
        let decoder = self.decoder(source).map_err(|e| self.named.bad(e.to_string()))?;
        let until_restart = chunk.restart.unwrap_or(u64::MAX);
        Ok(Stream { decoder, restart: chunk.restart, until_restart, left: chunk.points })
    }

    /// Where the layers of returns and of GPS times stand in a chunk whose head was checked, if times are to be decoded.
    fn layers_of_times(&self, head: &[u8]) -> Option<[Range<usize>; 2]> {
        let lengths = &head[self.header.record_length + 4..];
        let length = |layer: usize| u32_at(lengths, 4 * layer) as usize;
        let times = head.len() + (0..TIMES_LAYER).map(length).sum::<usize>();
        let layers = [head.len()..head.len() + length(0), times..times + length(TIMES_LAYER)];
        self.fields.should_decompress_gps_time().then_some(layers)
    }

    fn layer(&mut self, chunk: &Chunk, layer: Range<usize>) -> Result<Vec<u8>> {
        let mut bytes = vec![0; layer.len()];
        let start = chunk.start + layer.start as u64;
        self.file.seek(SeekFrom::Start(start)).map_err(|e| self.named.io(e))?;
        self.file.read_exact(&mut bytes).map_err(|e| self.named.reading(e))?;
        Ok(bytes)
    }

    fn piece(&self, stream: &mut Stream, out: &mut [u8]) -> Result<()> {
        let length = self.header.record_length;
        let mut rest = out;
        while !rest.is_empty() {
            if stream.until_restart == 0 {
                stream.decoder.reset();
                let items = self.compression.vlr.items();
                stream.decoder.set_fields_from(items).map_err(|e| self.named.bad(e.to_string()))?;
                stream.decoder.set_selection(self.fields);
                stream.until_restart = stream.restart.unwrap_or(u64::MAX);
            }
            let n = ((rest.len() / length) as u64).min(stream.until_restart);
            let (now, later) = rest.split_at_mut(n as usize * length);
            let decoder = &mut stream.decoder;
            let decode = || contained(|| Ok(decoder.decompress_many(now)?));
            let decoded = self.threads.install(decode);
            self.decoded(self.header.point_offset, decoded)?;
            stream.until_restart -= n;
            stream.left -= n;
            rest = later;
        }
        Ok(())
    }

    fn decoded(&self, start: u64, result: Result<laz::Result<()>, String>) -> Result<()> {
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(laz::LasZipError::IoError(error))) => Err(self.named.reading(error)),
            Ok(Err(error)) => Err(self.named.bad(format!("compressed data from byte {start}: {error}"))),
            Err(panic) => {
                Err(self.named.bad(format!("compressed data from byte {start} are damaged: {panic}")))
            }
        }
    }

    fn short(&self, chunk: &Chunk) -> crate::Error {
        self.named.bad(format!("the chunk at byte {} has only {} bytes", chunk.start, chunk.bytes))
    }

    /// A decoder of items whose versions were checked to be all sequential or all layered.
    fn decoder<'r, R: Read + Seek + Send + Sync + 'r>(
        &self,
        source: R,
    ) -> laz::Result<Box<dyn RecordDecompressor<R> + Send + 'r>> {
        let mut decoder: Box<dyn RecordDecompressor<R> + Send + 'r> = if self.compression.layers.is_some() {
            Box::new(LayeredPointRecordDecompressor::new(source))
        } else {
            Box::new(SequentialPointRecordDecompressor::new(source))
        };
        decoder.set_fields_from(self.compression.vlr.items())?;
        decoder.set_selection(self.fields);
        Ok(decoder)
    }
}
