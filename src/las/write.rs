//! Copies a file and adds columns as extra-bytes dimensions.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use laz::{LasZipError, LazItemRecordBuilder, LazVlr, LazVlrBuilder, ParLasZipCompressor};
use rayon::prelude::*;

use super::chunks::state_bytes;
use super::decode::{Records, contained};
use super::extra_bytes::{self, Descriptor, Dimension, Kind, MOST_DIMENSIONS, NAME};
use super::header::{COMPRESSED, EXTRA_BYTES, Evlr, Header, Vlr, field};
use super::output::{Output, same_file};
use super::{Named, Watch, report};
use crate::columns::{Column, Columns, las_name_in};
use crate::error::{Error, Result};
use crate::features::{Feature, FeatureSet};
use crate::neighborhood::Neighborhood;
use crate::stream::ColumnShape;

/// How to write columns.
#[derive(Clone, Copy, Default)]
#[non_exhaustive]
pub struct WriteOptions<'a> {
    /// Replace the input's dimensions that have a column's name, instead of refusing.
    pub overwrite_columns: bool,
    /// Also write each point's [`Flags`](crate::Flags), as the u32 dimension [`FLAGS`].
    pub flags: bool,
    /// Called after each batch.
    pub watch: Option<Watch<'a>>,
}

impl<'a> WriteOptions<'a> {
    /// Replaces the input's dimensions that have a column's name, instead of refusing.
    #[must_use]
    pub fn overwrite_columns(mut self, yes: bool) -> Self {
        self.overwrite_columns = yes;
        self
    }

    /// Also writes each point's [`Flags`](crate::Flags), as the u32 dimension [`FLAGS`].
    #[must_use]
    pub fn flags(mut self, yes: bool) -> Self {
        self.flags = yes;
        self
    }

    /// Has `watch` called after each batch.
    #[must_use]
    pub fn watch(mut self, watch: Watch<'a>) -> Self {
        self.watch = Some(watch);
        self
    }
}

/// Name of the dimension that holds [`Flags`](crate::Flags).
pub const FLAGS: &str = "Flags";

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct WriteSummary {
    /// Points copied.
    pub points: u64,
    /// Dimensions added, in the record's order.
    pub added: Vec<String>,
    /// Dimensions of the input that columns replaced.
    pub replaced: Vec<String>,
    /// What could not be kept as it was, one sentence each; also logged as warnings.
    pub notes: Vec<String>,
}

/// Checks what can be checked before columns are computed, of `set` in these neighbourhoods: names, the output's path, the
/// dimensions' number.
///
/// # Errors
/// Those of [`write_with_columns`] that do not depend on the columns' values.
pub fn check_output(
    input: impl AsRef<Path>,
    output: impl AsRef<Path>,
    set: &FeatureSet,
    neighborhoods: &[Neighborhood],
    options: &WriteOptions<'_>,
) -> Result<()> {
    let (input, output) = (input.as_ref(), output.as_ref());
    compressed(input, output)?;
    let records = Records::open(input)?;
    let mut columns = Vec::new();
    for (place, neighborhood) in neighborhoods.iter().enumerate() {
        let several = (neighborhoods.len() > 1).then_some(*neighborhood);
        let own = |f: &Feature| f.row().depends_on_neighborhood();
        let shown = set.iter().filter(|f| place == 0 || own(f));
        columns.extend(shown.map(|f| Descriptor::of(f.row(), several.filter(|_| own(&f)), Kind::F32)));
        columns.extend(options.flags.then(|| flags_descriptor(several)));
    }
    Plan::new(&Named::new(output), records.header(), &columns, options.overwrite_columns)?;
    let folder = output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match std::fs::metadata(folder) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(Named::new(folder).bad("not a folder")),
        Err(error) => Err(Named::new(folder).io(error)),
    }
}

/// Copies the LAS/LAZ file `input` to `output` and adds one extra-bytes dimension per column, under its LAS name.
///
/// Points keep their order, every byte of their records and the file's scale and offset; the header (version, point
/// format, GUID, dates, bounds, counts), VLRs and EVLRs are kept. Counts become u16, or u32 where they need it, if every
/// point has one;
/// everything else f32. `output` is LAZ or LAS by its ending, whatever the input is. It appears under its name when
/// it is whole.
///
/// # Errors
/// [`Error::ColumnExists`] unless it may be overwritten; [`Error::Las`] if the input is damaged, has another number of
/// points than the columns, is the output itself or takes no more dimensions, or if the output's ending is neither
/// `.laz` nor `.las`; [`Error::Io`]; [`Error::Cancelled`] if the watch breaks.
pub fn write_with_columns(
    input: impl AsRef<Path>,
    output: impl AsRef<Path>,
    columns: &Columns,
    options: &WriteOptions<'_>,
) -> Result<WriteSummary> {
    let shape = |column: &Column| {
        let mut shape = ColumnShape::new(column.feature, column.neighborhood);
        shape.add(&column.values);
        shape
    };
    let shapes: Vec<_> = columns.iter().map(shape).collect();
    let scales: Vec<_> = columns.all_flags().map(|(neighborhood, _)| neighborhood).collect();
    let mut writer = ColumnWriter::create(input.as_ref(), output.as_ref(), &shapes, &scales, options)?;
    if writer.points() != columns.len() as u64 {
        return Err(writer.has_other(columns.len() as u64));
    }
    writer.push(columns)?;
    writer.finish()
}

/// Copies a file and adds columns that come in batches.
pub(super) struct ColumnWriter<'a> {
    input: PathBuf,
    named: Named,
    records: Records,
    plan: Plan,
    kinds: Vec<Kind>,
    flags: bool,
    watch: Option<Watch<'a>>,
    header: Vec<u8>,
    target: Target,
    summary: WriteSummary,
    done: u64,
    batch: Vec<u8>,
    out: Vec<u8>,
}

/// Where records go. The compressor has the file until it is done, and is dropped before the output is removed.
enum Target {
    Plain(Output),
    Laz(Box<ParLasZipCompressor<BufWriter<File>>>, Output),
}

impl<'a> ColumnWriter<'a> {
    /// Writes what stands before the points. `scales` are the neighbourhoods of flags, one at least.
    pub(super) fn create(
        input: &Path,
        output: &Path,
        columns: &[ColumnShape],
        scales: &[Option<Neighborhood>],
        options: &WriteOptions<'a>,
    ) -> Result<Self> {
        let named = Named::new(output);
        let compressed = compressed(input, output)?;
        let records = Records::open(input)?;
        let scales = scales.iter().filter(|_| options.flags);
        let kinds = columns.iter().map(kind).chain(scales.clone().map(|_| Kind::U32)).collect();
        let of_column = |c: &ColumnShape| Descriptor::of(c.feature.row(), c.neighborhood, kind(c));
        let described: Vec<_> =
            columns.iter().map(of_column).chain(scales.map(|n| flags_descriptor(*n))).collect();
        let plan = Plan::new(&named, records.header(), &described, options.overwrite_columns)?;
        let mut summary = plan.summary.clone();
        summary.points = records.header().points;
        for note in &summary.notes {
            tracing::warn!("{}: {note}", input.display());
        }
        let mut target = Output::create(output)?;
        let header = start(&named, records.header(), &plan, compressed, &mut target, input)?;
        let vlr_and_file = header.laz.and_then(|vlr| Some((vlr, target.lend()?)));
        let target = match vlr_and_file {
            None => Target::Plain(target),
            Some((vlr, file)) => {
                let compressor = ParLasZipCompressor::new(file, vlr);
                Target::Laz(Box::new(compressor.map_err(|e| compression(&named, e))?), target)
            }
        };
        Ok(Self {
            input: input.to_owned(),
            named,
            records,
            plan,
            kinds,
            flags: options.flags,
            watch: options.watch,
            header: header.bytes,
            target,
            summary,
            done: 0,
            batch: Vec::new(),
            out: Vec::new(),
        })
    }

    /// Points of the input.
    pub(super) fn points(&self) -> u64 {
        self.summary.points
    }

    fn has_other(&self, values: u64) -> Error {
        let points = self.points();
        self.records.named().bad(format!("the file has {points} points, the columns have {values} values"))
    }

    /// Writes the next records with the next rows of all columns.
    pub(super) fn push(&mut self, columns: &Columns) -> Result<()> {
        let rows = columns.len() as u64;
        if self.done + rows > self.points() {
            return Err(self.has_other(self.done + rows));
        }
        let flags = columns.all_flags().filter(|_| self.flags).map(|(_, flags)| Numbers::Flags(flags));
        let numbers = columns.iter().map(|c| Numbers::Column(&c.values)).chain(flags);
        let values: Vec<_> =
            numbers.zip(&self.kinds).map(|(numbers, kind)| Values { numbers, kind: *kind }).collect();
        // A few chunks for each thread; added columns make the output's batch a multiple of the input's.
        let most = (rayon::current_num_threads() as u64 * 50_000).clamp(1 << 17, 1 << 20);
        let length = self.records.header().record_length;
        let (first, end) = (self.done, self.done + rows);
        report(self.watch, self.done, self.points())?;
        while self.done < end {
            let n = self.records.next_batch(most.min(end - self.done), &mut self.batch)?;
            if n == 0 {
                let (points, done) = (self.points(), self.done);
                return Err(self
                    .records
                    .named()
                    .bad(format!("{points} points are promised, {done} are there")));
            }
            self.plan.build(&self.batch, length, (self.done - first) as usize, &values, &mut self.out);
            match &mut self.target {
                Target::Plain(output) => output.write(&self.out)?,
                Target::Laz(compressor, _) => {
                    let done = contained(|| compressor.compress_many(&self.out));
                    done.map_err(|panic| self.named.bad(format!("compression: {panic}")))?
                        .map_err(|e| self.named.io(e))?;
                }
            }
            self.done += n;
            report(self.watch, self.done, self.points())?;
        }
        Ok(())
    }

    /// Writes what follows the points, and gives the output its name.
    pub(super) fn finish(self) -> Result<WriteSummary> {
        if self.done != self.points() {
            return Err(self.has_other(self.done));
        }
        let output = match self.target {
            Target::Plain(output) => output,
            Target::Laz(mut compressor, mut output) => {
                let done = contained(|| compressor.done());
                done.map_err(|panic| self.named.bad(format!("compression: {panic}")))?
                    .map_err(|e| compression(&self.named, e))?;
                output.give_back(compressor.into_inner());
                output
            }
        };
        finish(self.records.header(), self.header, output, &self.input)?;
        Ok(self.summary)
    }
}

/// How a column is written: counts as integers; one that is not a whole number keeps the whole column f32, rather than be
/// rounded.
fn kind(column: &ColumnShape) -> Kind {
    match column.whole_to.filter(|_| column.feature.row().is_count()) {
        Some(most) if most <= f32::from(u16::MAX) => Kind::U16,
        // The largest f32 below 2^32.
        Some(most) if most <= 4_294_967_040.0 => Kind::U32,
        _ => Kind::F32,
    }
}

/// Whether the output is LAZ, by its name.
fn compressed(input: &Path, output: &Path) -> Result<bool> {
    let named = Named::new(output);
    if same_file(input, output) {
        return Err(named.bad("the output is the input; a file is not overwritten with itself"));
    }
    let ending = output.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref() {
        Some("laz") => Ok(true),
        Some("las") => Ok(false),
        _ => Err(named.bad("the output's name must end in .las or .laz")),
    }
}

/// Rows of one column, and how they are written.
struct Values<'a> {
    numbers: Numbers<'a>,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Numbers<'a> {
    Column(&'a [f32]),
    Flags(&'a [u32]),
}

fn flags_descriptor(neighborhood: Option<Neighborhood>) -> Descriptor {
    Descriptor::new(&las_name_in(FLAGS.to_owned(), neighborhood), "what is special, one bit each", Kind::U32)
}

impl Values<'_> {
    fn put(&self, i: usize, target: &mut [u8]) {
        let value = match self.numbers {
            Numbers::Column(values) => values[i],
            Numbers::Flags(flags) => return target.copy_from_slice(&flags[i].to_le_bytes()),
        };
        match self.kind {
            Kind::U16 => target.copy_from_slice(&(value as u16).to_le_bytes()),
            Kind::U32 => target.copy_from_slice(&(value as u32).to_le_bytes()),
            Kind::F32 => target.copy_from_slice(&value.to_le_bytes()),
        }
    }
}

/// Where an output record's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Copy(std::ops::Range<usize>),
    Column { index: usize, size: usize },
}

/// The output's records and their description.
struct Plan {
    segments: Vec<Segment>,
    /// One list for each description record, at least one.
    descriptors: Vec<Vec<Descriptor>>,
    record_length: usize,
    summary: WriteSummary,
}

impl Plan {
    fn new(named: &Named, header: &Header, columns: &[Descriptor], overwrite: bool) -> Result<Self> {
        // A neighbourhood's suffix can be as long as its radius is precise.
        if let Some(long) = columns.iter().find(|c| c.name().len() == NAME.len()) {
            let name = long.text_name();
            return Err(named.bad(format!("dimension {name}.. has a name of {} bytes or more", NAME.len())));
        }
        let described = header.extra_bytes.iter().map(Vec::as_slice);
        let base = header.layout.base;
        let (dimensions, note) = extra_bytes::dimensions(described, base, header.record_length);
        let mut plan = Self {
            segments: Vec::new(),
            descriptors: vec![Vec::new(); header.extra_bytes.len().max(1)],
            record_length: 0,
            summary: WriteSummary::default(),
        };
        plan.summary.notes.extend(note);
        if header.vlrs.iter().any(|v| v.is_of("copc")) {
            let note = "the COPC index does not hold for the output's records and is dropped: the output is plain LAS";
            plan.summary.notes.push(note.to_owned());
        }
        plan.push(Segment::Copy(0..base));
        // New columns follow the dimensions of the first record: most readers (laspy, PDAL) know no other, and go on
        // seeing what later records describe as they did before.
        let later = dimensions.iter().position(|d| d.record > 0).unwrap_or(dimensions.len());
        let same = |d: &Dimension, column: &Descriptor| column.name() == d.descriptor.name();
        let mut is_new = vec![true; columns.len()];
        for (j, column) in columns.iter().enumerate() {
            is_new[j] = !dimensions.iter().any(|d| same(d, column));
        }
        let mut placed = vec![false; columns.len()];
        for i in 0..=dimensions.len() {
            if i == later {
                for (j, column) in columns.iter().enumerate().filter(|(j, _)| is_new[*j]) {
                    let name = plan.column(0, j, column);
                    plan.summary.added.push(name);
                }
            }
            let Some(dimension) = dimensions.get(i) else { break };
            match columns.iter().position(|c| same(dimension, c)).filter(|&j| !placed[j]) {
                None => {
                    plan.push(Segment::Copy(dimension.range.clone()));
                    plan.descriptors[dimension.record].push(dimension.descriptor.clone());
                }
                Some(j) if overwrite => {
                    placed[j] = true;
                    let name = plan.column(dimension.record, j, &columns[j]);
                    plan.summary.replaced.push(name);
                }
                Some(j) => return Err(Error::ColumnExists { name: columns[j].text_name() }),
            }
        }
        let n = plan.descriptors.iter().map(Vec::len).max().unwrap_or(0);
        if n > MOST_DIMENSIONS {
            return Err(
                named.bad(format!("{n} extra dimensions are more than the {MOST_DIMENSIONS} of a record"))
            );
        }
        if plan.record_length > usize::from(u16::MAX) {
            let n = plan.record_length;
            return Err(named.bad(format!("records of {n} bytes are longer than the {} of LAS", u16::MAX)));
        }
        Ok(plan)
    }

    /// Adds a column to a record; gives its name.
    fn column(&mut self, record: usize, index: usize, descriptor: &Descriptor) -> String {
        // Columns are of the types of `Kind`, which have a size.
        self.push(Segment::Column { index, size: descriptor.size().unwrap_or(0) });
        self.descriptors[record].push(descriptor.clone());
        descriptor.text_name()
    }

    fn push(&mut self, segment: Segment) {
        self.record_length += match &segment {
            Segment::Copy(range) => range.len(),
            Segment::Column { size, .. } => *size,
        };
        match (self.segments.last_mut(), segment) {
            (Some(Segment::Copy(last)), Segment::Copy(next)) if last.end == next.start => last.end = next.end,
            (_, segment) => self.segments.push(segment),
        }
    }

    /// Builds the output's records of a batch whose first point has row `first` of the columns.
    fn build(&self, batch: &[u8], length: usize, first: usize, columns: &[Values<'_>], out: &mut Vec<u8>) {
        out.resize(batch.len() / length * self.record_length, 0);
        let records = out.par_chunks_exact_mut(self.record_length).zip(batch.par_chunks_exact(length));
        records.enumerate().with_min_len(1 << 12).for_each(|(i, (target, source))| {
            let mut at = 0;
            for segment in &self.segments {
                match segment {
                    Segment::Copy(range) => {
                        target[at..at + range.len()].copy_from_slice(&source[range.clone()]);
                        at += range.len();
                    }
                    Segment::Column { index, size } => {
                        columns[*index].put(first + i, &mut target[at..at + size]);
                        at += size;
                    }
                }
            }
        });
    }
}

/// The header's bytes as far as they are known before the points are written.
struct Started {
    bytes: Vec<u8>,
    laz: Option<LazVlr>,
}

/// Writes the header and everything before the points.
fn start(
    named: &Named,
    header: &Header,
    plan: &Plan,
    compressed: bool,
    target: &mut Output,
    input: &Path,
) -> Result<Started> {
    let mut vlrs = Vec::new();
    let records = plan.descriptors.iter().filter(|list| !list.is_empty());
    let mut records = records.map(|list| extra_bytes::record(list.iter()));
    for vlr in &header.vlrs {
        if vlr.is(EXTRA_BYTES.0, EXTRA_BYTES.1) {
            vlrs.extend(records.next());
        } else if !vlr.is(LazVlr::USER_ID, LazVlr::RECORD_ID) && !vlr.is_of("copc") {
            vlrs.push(vlr.clone());
        }
    }
    vlrs.extend(records);
    let laz = if compressed { Some(laszip(named, header, plan)?) } else { None };
    if let Some(laz) = &laz {
        vlrs.push(laszip_vlr(named, laz)?);
    }

    let mut bytes = header.bytes.clone();
    let vlr_bytes: u64 = vlrs.iter().map(|v| (v.header.len() + v.data.len()) as u64).sum();
    let points_at = bytes.len() as u64 + vlr_bytes + (header.gap.end - header.gap.start);
    let Ok(point_offset) = u32::try_from(points_at) else {
        return Err(named.bad(format!("points would begin at byte {points_at}, beyond what LAS can say")));
    };
    let format = header.format_id | if compressed { COMPRESSED } else { 0 };
    patch(&mut bytes, field::POINT_OFFSET, &point_offset.to_le_bytes());
    patch(&mut bytes, field::VLR_COUNT, &(vlrs.len() as u32).to_le_bytes());
    patch(&mut bytes, field::POINT_FORMAT, &[format]);
    // `Plan::new` bounds the length by u16.
    patch(&mut bytes, field::RECORD_LENGTH, &(plan.record_length as u16).to_le_bytes());
    target.write(&bytes)?;
    for vlr in &vlrs {
        target.write(&vlr.header)?;
        target.write(&vlr.data)?;
    }
    copy_range(input, header.gap.clone(), target)?;
    Ok(Started { bytes, laz })
}

fn patch(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Points of a chunk, as other writers have them.
const CHUNK_POINTS: usize = 50_000;
/// Bytes of a chunk, at most. laz takes as much before the first point, however few there are.
const CHUNK_BYTES: usize = 32 << 20;

/// The compression of the output: the point format's own items, the extra bytes last.
fn laszip(named: &Named, header: &Header, plan: &Plan) -> Result<LazVlr> {
    let extra = plan.record_length - header.layout.base;
    let items = LazItemRecordBuilder::default_for_point_format_id(header.format_id, extra as u16);
    let builder = LazVlrBuilder::new(items.map_err(|e| compression(named, e))?);
    let points = CHUNK_POINTS.min(CHUNK_BYTES / plan.record_length);
    let vlr = builder.with_fixed_chunk_size(points as u32).build();
    state_bytes(named, &vlr)?;
    Ok(vlr)
}

fn laszip_vlr(named: &Named, laz: &LazVlr) -> Result<Vlr> {
    let mut data = Vec::new();
    laz.write_to(&mut data).map_err(|e| named.io(e))?;
    let mut header = [0; 54];
    patch(&mut header, 2, LazVlr::USER_ID.as_bytes());
    patch(&mut header, 18, &LazVlr::RECORD_ID.to_le_bytes());
    patch(&mut header, 20, &(data.len() as u16).to_le_bytes());
    patch(&mut header, 22, LazVlr::DESCRIPTION.as_bytes());
    Ok(Vlr { header, data })
}

/// Copies what follows the points, completes the header and gives the file its name.
fn finish(header: &Header, mut bytes: Vec<u8>, mut target: Output, input: &Path) -> Result<()> {
    let start_of = |target: &mut Output, evlr: &Evlr| -> Result<u64> {
        let at = target.end()?;
        target.write(&evlr.header)?;
        copy_range(input, evlr.data.clone(), target)?;
        Ok(at)
    };
    let mut first = None;
    let mut count: u32 = 0;
    let mut waveform = None;
    for (i, evlr) in header.evlrs.iter().enumerate() {
        if evlr.is_of("copc") || evlr.is(EXTRA_BYTES.0, EXTRA_BYTES.1) {
            continue;
        }
        let at = start_of(&mut target, evlr)?;
        first.get_or_insert(at);
        count += 1;
        if header.waveform_evlr == Some(i) {
            waveform = Some(at);
        }
    }
    if let Some(evlr) = &header.waveform {
        waveform = Some(start_of(&mut target, evlr)?);
    }
    if header.bytes[25] >= 4 {
        patch(&mut bytes, field::EVLR_START, &first.unwrap_or(0).to_le_bytes());
        patch(&mut bytes, field::EVLR_COUNT, &count.to_le_bytes());
    }
    if let Some(at) = waveform {
        patch(&mut bytes, field::WAVEFORM_START, &at.to_le_bytes());
    }
    target.rewind()?;
    target.write(&bytes)?;
    target.finish()
}

/// Copies bytes of the input in pieces.
fn copy_range(input: &Path, range: std::ops::Range<u64>, target: &mut Output) -> Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    let named = Named::new(input);
    let mut file = File::open(input).map_err(|e| named.io(e))?;
    file.seek(SeekFrom::Start(range.start)).map_err(|e| named.io(e))?;
    let mut left = range.end - range.start;
    let mut piece = vec![0; left.min(1 << 20) as usize];
    while left > 0 {
        let n = left.min(piece.len() as u64) as usize;
        file.read_exact(&mut piece[..n]).map_err(|e| named.reading(e))?;
        target.write(&piece[..n])?;
        left -= n as u64;
    }
    Ok(())
}

fn compression(named: &Named, error: LasZipError) -> Error {
    match error {
        LasZipError::IoError(error) => named.io(error),
        other => named.bad(format!("compression: {other}")),
    }
}
