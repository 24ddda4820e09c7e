//! A file that appears under its name only when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::Named;
use crate::error::Result;

/// A temporary file beside the output. Dropped without [`finish`](Self::finish), it is removed.
pub(super) struct Output {
    named: Named,
    temporary: PathBuf,
    file: Option<BufWriter<File>>,
}

/// Tells apart the outputs that one process writes at a time.
static COUNTER: AtomicU64 = AtomicU64::new(0);

impl Output {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let named = Named::new(path);
        let name = path.file_name().ok_or_else(|| named.bad("not a file's name"))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}-{}.part", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
        let temporary = path.with_file_name(hidden);
        let open = OpenOptions::new().read(true).write(true).create_new(true).open(&temporary);
        let file = open.map_err(|e| Named::new(&temporary).io(e))?;
        Ok(Self { named, temporary, file: Some(BufWriter::with_capacity(1 << 20, file)) })
    }

    /// Appends or overwrites at the current position.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file().write_all(bytes).map_err(|e| self.named.io(e))
    }

    /// Goes to the end and says where that is.
    pub(super) fn end(&mut self) -> Result<u64> {
        self.file().seek(SeekFrom::End(0)).map_err(|e| self.named.io(e))
    }

    pub(super) fn rewind(&mut self) -> Result<()> {
        self.file().seek(SeekFrom::Start(0)).map(drop).map_err(|e| self.named.io(e))
    }

    /// Lends the file to who needs one of its own, until it is given back.
    pub(super) fn lend(&mut self) -> Option<BufWriter<File>> {
        self.file.take()
    }

    pub(super) fn give_back(&mut self, file: BufWriter<File>) {
        self.file = Some(file);
    }

    fn file(&mut self) -> &mut BufWriter<File> {
        // Taken by `finish`, which consumes the output, and by `lend`, until the file is given back.
        self.file.as_mut().expect("the file is open until the output is finished")
    }

    /// Writes everything to the disk and gives the file its name.
    pub(super) fn finish(mut self) -> Result<()> {
        let named = self.named.clone();
        if let Some(file) = self.file.take() {
            let file = file.into_inner().map_err(|e| named.io(e.into_error()))?;
            file.sync_all().map_err(|e| named.io(e))?;
        }
        fs::rename(&self.temporary, &named.0).map_err(|e| named.io(e))?;
        self.temporary = PathBuf::new();
        sync_folder(&named.0);
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        drop(self.file.take());
        if !self.temporary.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Makes the new name last over a power cut, where the system lets folders be synced; the content already is.
fn sync_folder(path: &Path) {
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// Whether two paths lead to one file.
pub(crate) fn same_file(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    if let (Ok(a), Ok(b)) = (fs::metadata(a), fs::metadata(b)) {
        use std::os::unix::fs::MetadataExt;
        return (a.dev(), a.ino()) == (b.dev(), b.ino());
    }
    matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}
