//! Mapping and waiting: the only place that blocks on the device.
//!
//! Two polls of one device at a time can panic in wgpu (wgpu#9958), so polls take turns.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::device::Device;
use super::pool::Buffer;
use crate::error::{Error, Result};
use crate::watch::Watch;

/// How long one submission may take before the device counts as hung. Software adapters share the host's cores.
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
    /// Waits for a submission.
    pub(crate) fn done(self, submission: &wgpu::SubmissionIndex, stage: &'static str) -> Result<()> {
        let (sender, receiver) = mpsc::channel();
        if self.sleeps() {
            return self.until(Some(submission), stage, || Some(()));
        }
        self.device.queue.on_submitted_work_done(move || {
            // The receiver is gone only after a timeout, when nobody wants to know.
            let _ = sender.send(());
        });
        self.until(Some(submission), stage, || receiver.try_recv().ok())
    }

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
        let view = buffer.get_mapped_range(0..bytes).map_err(|e| refused(stage, &e))?;
        let out = work(&view);
        drop(view);
        buffer.unmap();
        self.device.alive()?;
        Ok(out)
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
        let mut view = buffer.get_mapped_range_mut(0..bytes).map_err(|e| refused(stage, &e))?;
        let out = work(view.slice(..));
        drop(view);
        buffer.unmap();
        self.device.alive()?;
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
        buffer.map_async(mode, 0..bytes, move |result| {
            let _ = sender.send(result);
        });
        let mapped = self.until(submission, stage, || receiver.try_recv().ok());
        let mapped = mapped.and_then(|result| result.map_err(|error| refused(stage, &error)));
        // The mapping may still come, so nobody else can use the buffer.
        mapped.inspect_err(|_| buffer.spoil())
    }

    /// Whether the thread sleeps in the driver until its work is done: nobody else needs the device meanwhile, and nobody
    /// ends the call.
    fn sleeps(self) -> bool {
        !self.shared && !self.watch.may_cancel()
    }

    /// Polls until there is what was asked for.
    fn until<T>(
        self,
        submission: Option<&wgpu::SubmissionIndex>,
        stage: &'static str,
        mut arrived: impl FnMut() -> Option<T>,
    ) -> Result<T> {
        let (start, timeout) = (Instant::now(), patience(self.device));
        let late = || Error::Timeout { stage, seconds: timeout.as_secs() };
        loop {
            {
                let _turn = self.device.turn_to_poll();
                let polled = self.device.device.poll(match self.sleeps() {
                    true => {
                        wgpu::PollType::Wait { submission_index: submission.cloned(), timeout: Some(timeout) }
                    }
                    false => wgpu::PollType::Poll,
                });
                self.device.alive()?;
                match polled {
                    Ok(_) => {}
                    Err(wgpu::PollError::Timeout) => return Err(late()),
                    Err(error) => return Err(Error::Gpu { stage, message: error.to_string() }),
                }
            }
            if let Some(out) = arrived() {
                return Ok(out);
            }
            self.watch.check()?;
            if start.elapsed() > timeout {
                return Err(late());
            }
            std::thread::sleep(PAUSE);
        }
    }
}

fn refused(stage: &'static str, error: &dyn std::fmt::Display) -> Error {
    Error::Gpu { stage, message: error.to_string() }
}
