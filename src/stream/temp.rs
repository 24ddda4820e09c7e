//! A temporary file that nobody else sees and nothing outlives.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Tells apart the files of one process.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Bytes that are appended and read again. The file has no name on Unix, where it ends with the process whatever ends that;
/// elsewhere it is removed when it is dropped.
#[derive(Debug)]
pub(super) struct TempFile {
    path: PathBuf,
    file: Option<File>,
    length: u64,
    named: bool,
}

impl TempFile {
    pub(super) fn create(folder: &Path) -> Result<Self> {
        let name =
            format!(".lidar-features-{}-{}.tmp", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let path = folder.join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        // Coordinates are nobody else's business in a folder that is everybody's.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let opened = options.open(&path);
        let file = opened.map_err(|source| Error::Io { path: path.display().to_string(), source })?;
        let named = !(cfg!(unix) && std::fs::remove_file(&path).is_ok());
        Ok(Self { path, file: Some(file), length: 0, named })
    }

    /// Appends bytes; says where they begin.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let at = self.length;
        let written = self.at(at).and_then(|mut file| file.write_all(bytes));
        written.map_err(|source| self.failed(source))?;
        self.length += bytes.len() as u64;
        Ok(at)
    }

    /// Reads bytes that were appended.
    pub(super) fn read(&mut self, at: u64, out: &mut [u8]) -> Result<()> {
        self.at(at).and_then(|mut file| file.read_exact(out)).map_err(|source| self.failed(source))
    }

    pub(super) fn len(&self) -> u64 {
        self.length
    }

    fn at(&self, at: u64) -> std::io::Result<&File> {
        // Taken by `drop` alone.
        let mut file = self.file.as_ref().ok_or(std::io::ErrorKind::NotFound)?;
        file.seek(SeekFrom::Start(at))?;
        Ok(file)
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::Io { path: self.path.display().to_string(), source }
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        drop(self.file.take());
        if self.named {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = TempFile::create(folder.path()).unwrap();
        assert_eq!((file.append(b"abc").unwrap(), file.append(b"defg").unwrap()), (0, 3));
        let mut out = [0; 4];
        file.read(2, &mut out).unwrap();
        assert_eq!((&out, file.len()), (b"cdef", 7));
        if cfg!(unix) {
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
        drop(file);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let nowhere = TempFile::create(&folder.path().join("none")).unwrap_err();
        assert!(matches!(nowhere, Error::Io { .. }));
    }
}
