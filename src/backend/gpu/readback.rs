//! Mapping and waiting: the only place that blocks on the device.

use std::sync::mpsc;
use std::time::Duration;

use super::device::Device;
use super::pool::Buffer;
use crate::error::{Error, Result};

/// How long one submission may take before the device counts as hung. Software adapters share the host's cores.
fn patience(device: &Device) -> Duration {
    Duration::from_secs(if device.software { 600 } else { 10 })
}

/// Waits for everything submitted so far.
pub(crate) fn wait(device: &Device, stage: &'static str) -> Result<()> {
    let timeout = patience(device);
    let polled = device.device.poll(wgpu::PollType::Wait { submission_index: None, timeout: Some(timeout) });
    device.alive()?;
    match polled {
        Ok(_) => Ok(()),
        Err(wgpu::PollError::Timeout) => Err(Error::Timeout { stage, seconds: timeout.as_secs() }),
        Err(error) => Err(Error::Gpu { stage, message: error.to_string() }),
    }
}

/// Maps the first `bytes` of a host-visible buffer, waiting for the work that fills it, and unmaps it after `work`.
pub(crate) fn read<T>(
    device: &Device,
    buffer: &Buffer,
    bytes: u64,
    stage: &'static str,
    work: impl FnOnce(&[u8]) -> T,
) -> Result<T> {
    map(device, buffer, bytes, wgpu::MapMode::Read, stage)?;
    let view = buffer.get_mapped_range(0..bytes).map_err(|e| refused(stage, &e))?;
    let out = work(&view);
    drop(view);
    buffer.unmap();
    device.alive()?;
    Ok(out)
}

/// Maps the first `bytes` of a staging buffer for writing and unmaps it after `work`.
pub(crate) fn write<T>(
    device: &Device,
    buffer: &Buffer,
    bytes: u64,
    stage: &'static str,
    work: impl FnOnce(wgpu::WriteOnly<'_, [u8]>) -> T,
) -> Result<T> {
    map(device, buffer, bytes, wgpu::MapMode::Write, stage)?;
    let mut view = buffer.get_mapped_range_mut(0..bytes).map_err(|e| refused(stage, &e))?;
    let out = work(view.slice(..));
    drop(view);
    buffer.unmap();
    device.alive()?;
    Ok(out)
}

fn map(device: &Device, buffer: &Buffer, bytes: u64, mode: wgpu::MapMode, stage: &'static str) -> Result<()> {
    let (sender, receiver) = mpsc::channel();
    buffer.map_async(mode, 0..bytes, move |result| {
        // The receiver is gone only after a timeout, when nobody wants to know.
        let _ = sender.send(result);
    });
    wait(device, stage)?;
    match receiver.try_recv() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(refused(stage, &error)),
        Err(_) => Err(Error::Gpu { stage, message: "the buffer was not mapped".into() }),
    }
}

fn refused(stage: &'static str, error: &dyn std::fmt::Display) -> Error {
    Error::Gpu { stage, message: error.to_string() }
}
