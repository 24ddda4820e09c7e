//! Files as the source and the sink of a stream.

use std::path::{Path, PathBuf};

use super::points::{FileHead, Placing, PointChoices, PointReader};
use super::write::ColumnWriter;
use super::{Named, WriteOptions, WriteSummary, check_output, scale};
use crate::batch::{CloudInfo, PointBatch};
use crate::columns::Columns;
use crate::error::{Error, Result};
use crate::features::FeatureSet;
use crate::frame::Frame;
use crate::neighborhood::Neighborhood;
use crate::stream::{ColumnShape, ColumnSink, PointSource};

/// The lattice of a single file: that of [`read`](super::read), whose origin may depend on the points.
fn own_lattice(head: &FileHead) -> Result<(Frame, Placing)> {
    let bad = || head.named().bad(format!("no quantum represents scale {:?}", head.scale));
    let (quantum, multiples) = scale::common(head.scale).ok_or_else(bad)?;
    let mut base = [0; 3];
    if multiples != [1; 3] {
        let raw = Placing { multiples: [1; 3], shift: [0; 3] };
        let mut reader = PointReader::open(&head.path, raw, &PointChoices::default())?;
        let mut bounds = None;
        loop {
            let batch = reader.next(1 << 18)?;
            if batch.is_empty() {
                break;
            }
            for p in &batch.points {
                let (low, high) = bounds.get_or_insert((*p, *p));
                *low = std::array::from_fn(|a| low[a].min(p[a]));
                *high = std::array::from_fn(|a| high[a].max(p[a]));
            }
        }
        let (low, high) = bounds.unwrap_or_default();
        base = scale::bases(multiples, low, high).ok_or_else(bad)?;
    }
    let origin = std::array::from_fn(|a| head.offset[a] + f64::from(base[a]) * head.scale[a]);
    let shift = std::array::from_fn(|a| -i64::from(base[a]) * multiples[a]);
    Ok((Frame::new(origin, quantum)?, Placing { multiples, shift }))
}

/// The points of a LAS/LAZ file for [`Engine::stream`](crate::Engine::stream).
pub struct LasSource {
    head: FileHead,
    info: CloudInfo,
    placing: Placing,
    choices: PointChoices,
    reader: PointReader,
}

impl std::fmt::Debug for LasSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LasSource").field("head", &self.head).finish_non_exhaustive()
    }
}

impl LasSource {
    /// Opens a file. Where the axes' scales differ, its points are read once to find their lattice.
    ///
    /// # Errors
    /// Those of [`read`](super::read); [`Error::Las`] also if no quantum represents the three scales.
    pub fn open(path: impl AsRef<Path>, choices: PointChoices) -> Result<Self> {
        let head = FileHead::open(path.as_ref())?;
        let (frame, placing) = own_lattice(&head)?;
        let info = choices.info(frame, head.units);
        let reader = PointReader::open(&head.path, placing, &choices)?;
        Ok(Self { head, info, placing, choices, reader })
    }

    /// Number of points that a file's header states.
    ///
    /// # Errors
    /// Those of [`read`](super::read) that do not depend on the points.
    pub fn points_in(path: impl AsRef<Path>) -> Result<u64> {
        Ok(FileHead::open(path.as_ref())?.points)
    }

    /// What the coordinate reference system says of units and [`Unit`](crate::Unit) cannot, in a sentence.
    pub fn unit_note(&self) -> Option<&str> {
        self.head.unit_note.as_deref()
    }
}

impl PointSource for LasSource {
    fn info(&self) -> CloudInfo {
        self.info
    }

    fn next_batch(&mut self, most: usize) -> Result<Option<PointBatch>> {
        // A record may be far longer than its columns.
        let most = most.min((BATCH_BYTES / self.head.record_length).max(1));
        let batch = self.reader.next(most as u64)?;
        Ok((!batch.is_empty()).then_some(batch))
    }

    fn can_rewind(&self) -> bool {
        true
    }

    fn rewind(&mut self) -> Result<()> {
        self.reader = PointReader::open(&self.head.path, self.placing, &self.choices)?;
        Ok(())
    }

    fn points(&self) -> Option<u64> {
        Some(self.head.points)
    }
}

/// Bytes of records in a batch, at most.
const BATCH_BYTES: usize = 8 << 20;

/// Copies a LAS/LAZ file and adds the columns of [`Engine::stream`](crate::Engine::stream), as
/// [`write_with_columns`](super::write_with_columns) does of columns in memory. The output has its name after [`finish`](Self::finish).
pub struct LasSink<'a> {
    input: PathBuf,
    output: PathBuf,
    options: WriteOptions<'a>,
    scales: Vec<Option<Neighborhood>>,
    writer: Option<ColumnWriter<'a>>,
}

impl std::fmt::Debug for LasSink<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LasSink").field("output", &self.output).finish_non_exhaustive()
    }
}

impl<'a> LasSink<'a> {
    /// Copies `input`, whose points the stream is of, to `output`.
    pub fn new(input: impl Into<PathBuf>, output: impl Into<PathBuf>, options: WriteOptions<'a>) -> Self {
        Self { input: input.into(), output: output.into(), options, scales: Vec::new(), writer: None }
    }

    /// Writes what follows the points, and gives the output its name.
    ///
    /// # Errors
    /// [`Error::Las`] if the stream has not ended; [`Error::Io`].
    pub fn finish(self) -> Result<WriteSummary> {
        let unfinished = || Named::new(&self.output).bad("the stream ended before its columns were written");
        self.writer.ok_or_else(unfinished)?.finish()
    }
}

impl ColumnSink for LasSink<'_> {
    fn plan(&mut self, set: &FeatureSet, neighborhoods: &[Neighborhood]) -> Result<()> {
        self.scales = match neighborhoods {
            [_] => vec![None],
            several => several.iter().copied().map(Some).collect(),
        };
        check_output(&self.input, &self.output, set, neighborhoods, &self.options)
    }

    fn begin(&mut self, columns: &[ColumnShape], points: u64) -> Result<()> {
        let writer = ColumnWriter::create(&self.input, &self.output, columns, &self.scales, &self.options)?;
        if writer.points() != points {
            return Err(Error::SourceChanged { point: points.min(writer.points()) });
        }
        self.writer = Some(writer);
        Ok(())
    }

    fn batch(&mut self, columns: &Columns) -> Result<()> {
        // The stream begins before it brings rows.
        self.writer.as_mut().map_or(Ok(()), |writer| writer.push(columns))
    }
}
