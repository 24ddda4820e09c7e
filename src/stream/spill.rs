//! Rows in a temporary file, by segments of the cloud's order: parts leave them in space's order.

use std::path::Path;

use super::source::ColumnShape;
use super::temp::TempFile;
use crate::columns::Columns;
use crate::error::Result;

/// Where a piece of a segment stands: rows as their number in the segment, then their values.
type Piece = (u64, usize);

/// All columns of a cloud, on their way from parts to the sink.
#[derive(Debug)]
pub(super) struct Spill {
    file: TempFile,
    segment_rows: u64,
    points: u64,
    pieces: Vec<Vec<Piece>>,
    /// Columns without rows, and what is known of their values.
    columns: Option<(Columns, Vec<ColumnShape>)>,
    bytes: Vec<u8>,
}

const NUMBER: usize = 4;

impl Spill {
    pub(super) fn new(folder: &Path, points: u64, segment_rows: u64) -> Result<Self> {
        let segments = points.div_ceil(segment_rows) as usize;
        Ok(Self {
            file: TempFile::create(folder)?,
            segment_rows,
            points,
            pieces: vec![Vec::new(); segments],
            columns: None,
            bytes: Vec::new(),
        })
    }

    /// Adds rows of these ascending numbers.
    pub(super) fn add(&mut self, rows: &[u64], columns: &Columns) -> Result<()> {
        let (_, shapes) = self.columns.get_or_insert_with(|| (columns.gather(&[]), columns.shapes()));
        shapes.iter_mut().zip(columns).for_each(|(shape, column)| shape.add(&column.values));
        let mut at = 0;
        for run in rows.chunk_by(|a, b| a / self.segment_rows == b / self.segment_rows) {
            let segment = run[0] / self.segment_rows;
            self.bytes.clear();
            for (i, row) in run.iter().enumerate() {
                // A segment has as many rows as fit a budget of memory, far fewer than 2^32.
                self.bytes.extend(((row - segment * self.segment_rows) as u32).to_le_bytes());
                columns.put_row(at + i, &mut self.bytes);
            }
            self.pieces[segment as usize].push((self.file.append(&self.bytes)?, self.bytes.len()));
            at += run.len();
        }
        Ok(())
    }

    pub(super) fn shapes(&self) -> &[ColumnShape] {
        self.columns.as_ref().map_or(&[], |(_, shapes)| shapes)
    }

    /// Bytes in the file.
    pub(super) fn len(&self) -> u64 {
        self.file.len()
    }

    /// Gives each segment's columns in order.
    pub(super) fn drain(mut self, mut take: impl FnMut(&Columns, u64) -> Result<()>) -> Result<()> {
        let Some((empty, _)) = self.columns.take() else { return Ok(()) };
        let length = NUMBER + empty.row_bytes();
        let mut done = 0;
        for pieces in &self.pieces {
            let rows = self.segment_rows.min(self.points - done);
            let mut columns = empty.with_rows(rows as usize);
            for &(at, size) in pieces {
                self.bytes.resize(size, 0);
                self.file.read(at, &mut self.bytes)?;
                for record in self.bytes.chunks_exact(length) {
                    let row = u32::from_le_bytes([record[0], record[1], record[2], record[3]]);
                    columns.set_row(row as usize, &record[NUMBER..]);
                }
            }
            done += rows;
            take(&columns, done)?;
        }
        Ok(())
    }
}
