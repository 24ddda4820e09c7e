//! Mapping and waiting: the only place that blocks on the device.
//!
//! Two polls of one device at a time can panic in wgpu (wgpu#9958), so polls take turns. The application may poll its own
//! device as it likes: there no poll of ours waits, since it is waits that meet in the wrong order.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::device::Device;
use super::faults::Site;
use super::pool::Buffer;
use crate::error::{Error, Result};
use crate::watch::Watch;

/// How long the device may take before it counts as hung, since the last part of longer work was done. Software adapters
/// share the host's cores.
fn patience(device: &Device) -> Duration {
    Duration::from_secs(if device.software { 600 } else { 10 })
}

/// Pause between looks at the device where the call may not sleep until the work is done.
const PAUSE: Duration = Duration::from_micros(100);

/// How to wait for a device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting<'a> {
    pub(crate) device: &'a Device,
    pub(crate) watch: &'a Watch,
    /// Other threads wait as well, each for its own work.
    pub(crate) shared: bool,
}

impl Waiting<'_> {
    /// Maps the first `bytes` of a host-visible buffer, waiting for the work that fills it, and unmaps it after `work`.
    pub(crate) fn read<T>(
        self,
        buffer: &Buffer,
        bytes: u64,
        submission: &wgpu::SubmissionIndex,
        stage: &'static str,
        work: impl FnOnce(&[u8]) -> T,
    ) -> Result<T> {
        self.map(buffer, bytes, wgpu::MapMode::Read, Some(submission), stage)?;
        self.mapped(buffer, || {
            let view = buffer.get_mapped_range(0..bytes).map_err(|e| refused(stage, &e))?;
            self.device.fails(Site::Mapped);
            Ok(work(&view))
        })
    }

    /// Maps the first `bytes` of a staging buffer for writing and unmaps it after `work`.
    pub(crate) fn write<T>(
        self,
        buffer: &Buffer,
        bytes: u64,
        stage: &'static str,
        work: impl FnOnce(wgpu::WriteOnly<'_, [u8]>) -> T,
    ) -> Result<T> {
        self.map(buffer, bytes, wgpu::MapMode::Write, None, stage)?;
        self.mapped(buffer, || {
            let mut view = buffer.get_mapped_range_mut(0..bytes).map_err(|e| refused(stage, &e))?;
            self.device.fails(Site::Mapped);
            Ok(work(view.slice(..)))
        })
    }

    /// Looks at a mapped buffer and unmaps it; one that stays mapped is nobody's any more.
    fn mapped<T>(self, buffer: &Buffer, look: impl FnOnce() -> Result<T>) -> Result<T> {
        let unusable = Spoil(buffer);
        let looking = self.device.view();
        let out = look()?;
        drop(looking);
        buffer.unmap();
        self.device.alive()?;
        std::mem::forget(unusable);
        Ok(out)
    }

    fn map(
        self,
        buffer: &Buffer,
        bytes: u64,
        mode: wgpu::MapMode,
        submission: Option<&wgpu::SubmissionIndex>,
        stage: &'static str,
    ) -> Result<()> {
        let (sender, receiver) = mpsc::channel();
        // Unless it comes, the mapping may still come later.
        let unusable = Spoil(buffer);
        if self.device.fails(Site::Map) {
            buffer.destroy();
        }
        self.device.checked(stage, || {
            buffer.map_async(mode, 0..bytes, move |result| {
                // The receiver is gone only after a timeout, when nobody wants to know.
                let _ = sender.send(result);
            });
        })?;
        self.until(submission, stage, || receiver.try_recv().ok())?
            .map_err(|error| refused(stage, &error))?;
        std::mem::forget(unusable);
        Ok(())
    }

    /// Whether the thread sleeps in the driver until its work is done: nobody else needs the device meanwhile, and nobody
    /// ends the call.
    fn sleeps(self) -> bool {
        !self.shared && !self.device.shared && !self.watch.may_cancel()
    }

    /// Polls until there is what was asked for.
    fn until<T>(
        self,
        submission: Option<&wgpu::SubmissionIndex>,
        stage: &'static str,
        mut arrived: impl FnMut() -> Option<T>,
    ) -> Result<T> {
        let hangs = self.device.fails(Site::Wait);
        let timeout = if hangs { Duration::ZERO } else { patience(self.device) };
        let (mut start, mut parts) = (Instant::now(), self.device.parts_done());
        let late = || Error::Timeout { stage, seconds: timeout.as_secs() };
        loop {
            let polled = self.device.poll(match self.sleeps() {
                true => {
                    wgpu::PollType::Wait { submission_index: submission.cloned(), timeout: Some(timeout) }
                }
                false => wgpu::PollType::Poll,
            });
            self.device.alive()?;
            let parts_now = self.device.parts_done();
            let moves = !hangs && parts_now != parts;
            if moves {
                (start, parts) = (Instant::now(), parts_now);
            }
            match polled {
                Ok(_) => {}
                Err(wgpu::PollError::Timeout) if moves => {}
                Err(wgpu::PollError::Timeout) => return Err(late()),
                Err(error) => return Err(refused(stage, &error)),
            }
            if !hangs && let Some(out) = arrived() {
                return Ok(out);
            }
            self.watch.check()?;
            if hangs || start.elapsed() > timeout {
                return Err(late());
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Spoils a buffer when it drops.
struct Spoil<'b>(&'b Buffer);

impl Drop for Spoil<'_> {
    fn drop(&mut self) {
        self.0.spoil();
    }
}

fn refused(stage: &'static str, error: &dyn std::fmt::Display) -> Error {
    Error::Gpu { stage, message: error.to_string() }
}
