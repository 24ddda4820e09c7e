//! Adapters and the device: what there is, what is taken, whether it still lives.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// An adapter that wgpu found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AdapterInfo {
    /// Name of the GPU.
    pub name: String,
    /// Driver's name and version.
    pub driver: String,
    /// `vulkan`, `metal`, `dx12`, `gl` or `webgpu`.
    pub api: String,
    /// `discrete`, `integrated`, `virtual`, `cpu` (software) or `other`.
    pub kind: &'static str,
    /// Largest storage binding, in bytes.
    pub max_binding_bytes: u64,
    /// Largest buffer, in bytes.
    pub max_buffer_bytes: u64,
}

impl AdapterInfo {
    fn of(adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        let limits = adapter.limits();
        Self {
            name: info.name,
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            api: format!("{:?}", info.backend).to_lowercase(),
            kind: match info.device_type {
                wgpu::DeviceType::DiscreteGpu => "discrete",
                wgpu::DeviceType::IntegratedGpu => "integrated",
                wgpu::DeviceType::VirtualGpu => "virtual",
                wgpu::DeviceType::Cpu => "cpu",
                wgpu::DeviceType::Other => "other",
            },
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_buffer_bytes: limits.max_buffer_size,
        }
    }

    /// Whether it computes on the CPU: right, but slower than the CPU strategy.
    pub fn is_software(&self) -> bool {
        self.kind == "cpu"
    }

    fn matches(&self, text: &str) -> bool {
        let all = format!("{} {} {}", self.name, self.driver, self.api).to_lowercase();
        all.contains(&text.to_lowercase())
    }
}

impl std::fmt::Display for AdapterInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}, {})", self.name, self.api, self.driver)
    }
}

/// Compute-capable adapters of this machine, discrete GPUs first, software last.
pub fn adapters() -> Vec<AdapterInfo> {
    usable().into_iter().map(|(info, _)| info).collect()
}

/// Adapters of the modern APIs; OpenGL only where there is none, since its loaders write to stderr.
fn usable() -> Vec<(AdapterInfo, wgpu::Adapter)> {
    let found = usable_on(wgpu::Backends::PRIMARY);
    if found.is_empty() { usable_on(wgpu::Backends::SECONDARY) } else { found }
}

fn instance(backends: wgpu::Backends) -> wgpu::Instance {
    let descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    wgpu::Instance::new(wgpu::InstanceDescriptor { backends, ..descriptor })
}

/// For tests: `LIDAR_FEATURES_GPU_LIMITS=webgpu` takes nothing of an adapter that WebGPU does not grant everywhere.
/// wgpu's own `STRICT_WEBGPU_COMPLIANCE` cannot be asked for: in 30.0.1 it leaves no buffer bindings on native devices.
fn as_in_a_browser() -> bool {
    std::env::var("LIDAR_FEATURES_GPU_LIMITS").is_ok_and(|limits| limits == "webgpu")
}

fn usable_on(backends: wgpu::Backends) -> Vec<(AdapterInfo, wgpu::Adapter)> {
    let found = pollster::block_on(instance(backends).enumerate_adapters(backends));
    let mut adapters: Vec<_> = found
        .into_iter()
        .filter(|a| {
            let compute = wgpu::DownlevelFlags::COMPUTE_SHADERS;
            a.get_downlevel_capabilities().flags.contains(compute)
                && required_limits().check_limits(&a.limits())
        })
        .map(|a| (AdapterInfo::of(&a), a))
        .collect();
    let preference = |info: &AdapterInfo| {
        let kinds = ["discrete", "integrated", "virtual", "other", "cpu"];
        (kinds.iter().position(|k| *k == info.kind), info.api == "gl")
    };
    adapters.sort_by_key(|(info, _)| preference(info));
    adapters
}

/// The least that the kernels need: WebGPU's defaults.
fn required_limits() -> wgpu::Limits {
    wgpu::Limits::default()
}

/// What is asked of an adapter: larger buffers if it has them, since fewer chunks then do.
fn asked_limits(has: &wgpu::Limits, as_in_a_browser: bool) -> wgpu::Limits {
    match as_in_a_browser {
        true => required_limits(),
        false => wgpu::Limits {
            max_storage_buffer_binding_size: has.max_storage_buffer_binding_size,
            max_buffer_size: has.max_buffer_size,
            ..required_limits()
        },
    }
}

/// An open device, its queue, and whether it was lost.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) name: String,
    pub(crate) software: bool,
    lost: Arc<AtomicBool>,
    reason: Arc<Mutex<String>>,
    polling: Mutex<()>,
}

impl Device {
    /// Opens the first adapter that matches; software adapters only if allowed or named.
    pub(crate) fn open(text: Option<&str>, allow_software: bool) -> Result<Self> {
        let found = usable();
        let listed = found.iter().map(|(info, _)| info.to_string()).collect::<Vec<_>>().join("; ");
        let chosen = found.into_iter().find(|(info, _)| match text {
            Some(text) => info.matches(text),
            None => allow_software || !info.is_software(),
        });
        let Some((info, adapter)) = chosen else {
            return Err(Error::NoAdapter(match text {
                Some(text) if !listed.is_empty() => format!("none matches {text:?}, there is {listed}"),
                _ if !listed.is_empty() => format!("only software adapters: {listed}"),
                _ => no_adapter_reason(),
            }));
        };
        let strict = as_in_a_browser();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("lidar-features"),
            required_features: if strict {
                wgpu::Features::empty()
            } else {
                adapter.features() & OPTIONAL_FEATURES
            },
            required_limits: asked_limits(&adapter.limits(), strict),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|e| Error::NoAdapter(format!("{info}: {e}")))?;
        let lost = Arc::new(AtomicBool::new(false));
        let reason = Arc::new(Mutex::new(String::new()));
        device.set_device_lost_callback({
            let (lost, reason) = (lost.clone(), reason.clone());
            move |kind, message| {
                *reason.lock().unwrap_or_else(PoisonError::into_inner) = format!("{kind:?}: {message}");
                lost.store(true, Ordering::Release);
            }
        });
        tracing::debug!(adapter = %info, "opened");
        Ok(Self {
            device,
            queue,
            name: info.to_string(),
            software: info.is_software(),
            lost,
            reason,
            polling: Mutex::new(()),
        })
    }

    /// Only who holds this may poll.
    pub(crate) fn turn_to_poll(&self) -> MutexGuard<'_, ()> {
        self.polling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error once the device is lost; to be asked after every step, since wgpu then fails in silence.
    pub(crate) fn alive(&self) -> Result<()> {
        if self.lost.load(Ordering::Acquire) {
            let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
            return Err(Error::DeviceLost(reason.clone()));
        }
        Ok(())
    }

    /// Runs `work` and turns what the device reports about it into an error of `stage`.
    pub(crate) fn checked<T>(&self, stage: &'static str, work: impl FnOnce() -> T) -> Result<T> {
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let out = work();
        let errors = [memory, validation, internal].map(|scope| pollster::block_on(scope.pop()));
        self.alive()?;
        match errors.into_iter().flatten().next() {
            None => Ok(out),
            Some(wgpu::Error::OutOfMemory { .. }) => Err(Error::GpuOutOfMemory { bytes: 0, what: stage }),
            Some(error) => Err(Error::Gpu { stage, message: error.to_string() }),
        }
    }
}

/// Used where the device has them.
const OPTIONAL_FEATURES: wgpu::Features = wgpu::Features::TIMESTAMP_QUERY;

fn no_adapter_reason() -> String {
    let options = wgpu::RequestAdapterOptions::default();
    match pollster::block_on(instance(wgpu::Backends::all()).request_adapter(&options)) {
        Ok(adapter) => {
            format!("{} lacks compute shaders or WebGPU's default limits", AdapterInfo::of(&adapter))
        }
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_asked_than_webgpu_grants_but_for_the_size_of_buffers() {
        let has = wgpu::Limits {
            max_storage_buffer_binding_size: 1 << 31,
            max_buffer_size: 1 << 33,
            max_storage_buffers_per_shader_stage: 64,
            ..Default::default()
        };
        let asked = asked_limits(&has, false);
        assert_eq!((asked.max_storage_buffer_binding_size, asked.max_buffer_size), (1 << 31, 1 << 33));
        assert_eq!(asked.max_storage_buffers_per_shader_stage, 8);
        assert_eq!(asked_limits(&has, true), wgpu::Limits::default());
    }

    #[test]
    fn downlevel_adapters_are_not_usable() {
        for limits in [wgpu::Limits::downlevel_defaults(), wgpu::Limits::downlevel_webgl2_defaults()] {
            assert!(!required_limits().check_limits(&limits));
            assert!(limits.max_storage_buffers_per_shader_stage < 8);
        }
    }
}
