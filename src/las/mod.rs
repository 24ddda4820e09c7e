//! LAS/LAZ files in and out: any point format of LAS 1.0 to 1.4.
//!
//! [`read`] gives a [`LasCloud`] whose lattice is the file's own integers, so nothing is rounded.
//! [`write_with_columns`] copies a file, every byte of its records, header and variable-length records kept, and
//! adds one extra-bytes dimension per column.
//!
//! Files are not trusted. Every count, length and offset is checked against the file's length before anything is
//! allocated from it, records are decoded in bounded batches, and vectors grow as records decode. The laz crate panics on
//! some damaged streams, which nothing short of decoding them can tell; such a panic becomes an [`Error::Las`]. A program
//! built with `panic = "abort"` has no such net. A stream made to overrun laz' stack is refused before it does.
//! A small file may be forged to decode to billions of points: [`ReadOptions::limit`] bounds what is read.

mod chunks;
mod crs;
mod decode;
mod extra_bytes;
mod header;
mod layout;
mod output;
mod points;
mod read;
mod scale;
mod stream;
mod switches;
mod wkt;
mod write;

#[cfg(fuzzing)]
#[doc(hidden)]
pub use extra_bytes::exercise as exercise_extra_bytes;
pub(crate) use output::same_file;
pub use points::PointChoices;
pub(crate) use points::{FileHead, Placing, PointReader, common_lattice};
pub use read::{LasCloud, ReadOptions, read, read_with};
pub use stream::{LasSink, LasSource};
pub use write::{FLAGS, WriteOptions, WriteSummary, check_output, write_with_columns};

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Called with (records done, records in all) after each batch; breaking ends the call with [`Error::Cancelled`].
pub type Watch<'a> = &'a (dyn Fn(u64, u64) -> ControlFlow<()> + Sync);

/// Reports to a watch, if there is one.
pub(crate) fn report(watch: Option<Watch<'_>>, done: u64, all: u64) -> Result<(), Error> {
    match watch.map(|watch| watch(done, all)) {
        Some(ControlFlow::Break(())) => Err(Error::Cancelled),
        _ => Ok(()),
    }
}

/// A file's name, to say in which file something is wrong.
#[derive(Debug, Clone)]
pub(crate) struct Named(PathBuf);

impl Named {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(crate) fn bad(&self, message: impl Into<String>) -> Error {
        Error::Las { path: self.0.display().to_string(), message: message.into() }
    }

    pub(crate) fn io(&self, source: std::io::Error) -> Error {
        Error::Io { path: self.0.display().to_string(), source }
    }

    /// A file that ends early is a damaged file, not a failure of the system.
    fn reading(&self, source: std::io::Error) -> Error {
        match source.kind() {
            std::io::ErrorKind::UnexpectedEof => self.bad("the file ends in the middle of its data"),
            std::io::ErrorKind::InvalidData => self.bad(source.to_string()),
            _ => self.io(source),
        }
    }
}
