//! Adapters and the device: what there is, what is taken, whether it still lives.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::faults::{Faults, Site};
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
        Self::new(adapter.get_info(), &adapter.limits())
    }

    fn new(info: wgpu::AdapterInfo, limits: &wgpu::Limits) -> Self {
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

pub(super) fn instance(backends: wgpu::Backends) -> wgpu::Instance {
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
            a.get_downlevel_capabilities().flags.contains(compute) && least_limits().check_limits(&a.limits())
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
fn least_limits() -> wgpu::Limits {
    wgpu::Limits::default()
}

/// Limits to ask of `adapter` for a device that an engine is to share ([`EngineBuilder::device`](crate::EngineBuilder::device)):
/// WebGPU's defaults, and buffers as large as the adapter has them. Buffers of the default size do as well, in smaller
/// chunks. `Limits::or_better_values_from` joins them with what the application itself needs.
///
/// An adapter below WebGPU's defaults does not grant them: `request_device` then says so.
pub fn required_limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
    asked_limits(&adapter.limits(), as_in_a_browser())
}

/// Features to ask of `adapter` for a device that an engine is to share. The engine works without them; with time stamps
/// its reports say how long the GPU took for each stage.
pub fn required_features(adapter: &wgpu::Adapter) -> wgpu::Features {
    if as_in_a_browser() { wgpu::Features::empty() } else { adapter.features() & OPTIONAL_FEATURES }
}

/// What is asked of an adapter: larger buffers if it has them, since fewer chunks then do.
fn asked_limits(has: &wgpu::Limits, as_in_a_browser: bool) -> wgpu::Limits {
    match as_in_a_browser {
        true => least_limits(),
        false => wgpu::Limits {
            max_storage_buffer_binding_size: has.max_storage_buffer_binding_size,
            max_buffer_size: has.max_buffer_size,
            ..least_limits()
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
    /// Steps that an invocation of a search may take before it leaves its query to others.
    pub(crate) steps: u32,
    /// Searches take many candidates at a time, and workgroups answer the last queries together.
    pub(crate) for_hardware: AtomicBool,
    /// Queries that the last search left to the crew, or to its last turn.
    #[cfg(test)]
    pub(crate) left_to_last: std::sync::atomic::AtomicU32,
    /// As [`AdapterInfo::kind`].
    pub(crate) kind: &'static str,
    /// The application has it too: it may poll, submit and destroy it, and it hears of errors and loss.
    pub(crate) shared: bool,
    lost: Arc<AtomicBool>,
    reason: Arc<Mutex<String>>,
    polling: Mutex<()>,
    /// Parts of longer work that are done: while more of them come, the device does not hang.
    parts_done: Arc<AtomicUsize>,
    /// Read while mapped memory is looked at.
    views: RwLock<()>,
    /// What tests make go wrong.
    pub(crate) faults: Faults,
}

/// Only who holds this may poll.
pub(crate) struct TurnToPoll<'d> {
    _turn: MutexGuard<'d, ()>,
    _views: Option<RwLockWriteGuard<'d, ()>>,
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
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("lidar-features"),
            required_features: required_features(&adapter),
            required_limits: required_limits(&adapter),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|e| Error::NoAdapter(format!("{info}: {e}")))?;
        tracing::debug!(adapter = %info, "opened");
        let opened = Self::new(device, queue, &info, false);
        opened.device.set_device_lost_callback({
            let (lost, reason) = (opened.lost.clone(), opened.reason.clone());
            move |kind, message| mark_lost(&lost, &reason, format!("{kind:?}: {message}"))
        });
        Ok(opened)
    }

    /// Takes the application's device, whose handlers of errors and loss stay as they are.
    pub(crate) fn of_application(device: wgpu::Device, queue: wgpu::Queue) -> Result<Self> {
        let mut too_low = None;
        least_limits().check_limits_with_fail_fn(&device.limits(), true, |limit, needed, has| {
            too_low = Some(Error::DeviceTooSmall { limit, needed, has });
        });
        if let Some(error) = too_low {
            return Err(error);
        }
        let info = AdapterInfo::new(device.adapter_info(), &device.limits());
        Ok(Self::new(device, queue, &info, true))
    }

    fn new(device: wgpu::Device, queue: wgpu::Queue, info: &AdapterInfo, shared: bool) -> Self {
        let steps = most_steps(&device.adapter_info());
        Self {
            device,
            queue,
            name: info.to_string(),
            software: info.is_software(),
            steps,
            for_hardware: (!info.is_software()).into(),
            #[cfg(test)]
            left_to_last: 0.into(),
            kind: info.kind,
            shared,
            lost: Arc::default(),
            reason: Arc::default(),
            polling: Mutex::default(),
            parts_done: Arc::default(),
            views: RwLock::default(),
            faults: Faults::new(),
        }
    }

    /// Whether its memory is the host's.
    pub(crate) fn is_unified(&self) -> bool {
        self.software || self.kind == "integrated"
    }

    /// Waits for a turn to poll. Of a device that only this crate has, no poll follows a loss.
    pub(crate) fn turn_to_poll(&self) -> TurnToPoll<'_> {
        let turn = self.polling.lock().unwrap_or_else(PoisonError::into_inner);
        TurnToPoll { _turn: turn, _views: self.undisturbed() }
    }

    /// To be held by what lets wgpu look for finished work. Where its application has destroyed the device, wgpu then frees
    /// all of its memory, so that nobody may look at what is mapped of it, or write to a buffer, which in wgpu 30.0.1 takes
    /// the same two locks in the other order.
    fn undisturbed(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        self.shared.then(|| self.views.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes to a buffer, then submits. At its end a submission looks for finished work, as a poll does.
    pub(crate) fn submit(
        &self,
        buffer: &wgpu::Buffer,
        bytes: &[u8],
        commands: wgpu::CommandBuffer,
    ) -> wgpu::SubmissionIndex {
        let _undisturbed = self.undisturbed();
        self.queue.write_buffer(buffer, 0, bytes);
        self.queue.submit([commands])
    }

    /// Counts what was submitted last among the parts that are done, once it is.
    pub(crate) fn count_when_done(&self) {
        let done = self.parts_done.clone();
        self.queue.on_submitted_work_done(move || {
            done.fetch_add(1, Ordering::Relaxed);
        });
    }

    pub(crate) fn parts_done(&self) -> usize {
        self.parts_done.load(Ordering::Relaxed)
    }

    /// To be held while mapped memory is looked at.
    pub(crate) fn view(&self) -> RwLockReadGuard<'_, ()> {
        self.views.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the device for lost.
    pub(crate) fn lose(&self, reason: String) {
        mark_lost(&self.lost, &self.reason, reason);
    }

    /// Whether a test wants this step to go wrong.
    pub(crate) fn fails(&self, site: Site) -> bool {
        self.faults.reach(self, site)
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
        let (out, error) = self.scoped(stage, work);
        self.alive()?;
        error.map_or(Ok(out), Err)
    }

    /// Keeps what the device reports about steps that are not [`checked`](Self::checked) one by one from the handler of
    /// uncaptured errors, which ends the process unless somebody put another in its place.
    pub(crate) fn guarded<T>(&self, stage: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.scoped(stage, work) {
            (Ok(_), Some(error)) => self.alive().and(Err(error)),
            // An invalid object is refused later on: the reason is why it is invalid.
            (Err(Error::Gpu { .. }), Some(error)) => self.alive().and(Err(error)),
            (out, _) => out,
        }
    }

    fn scoped<T>(&self, stage: &'static str, work: impl FnOnce() -> T) -> (T, Option<Error>) {
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let out = work();
        let errors = [memory, validation, internal].map(|scope| pollster::block_on(scope.pop()));
        let error = errors.into_iter().flatten().next().map(|error| match error {
            wgpu::Error::OutOfMemory { .. } => Error::GpuOutOfMemory { bytes: 0, what: stage },
            error => Error::Gpu { stage, message: error.to_string() },
        });
        (out, error)
    }

    /// The loss of the device, if it is behind an error: wgpu may tell of it only when its queue is empty.
    pub(crate) fn explain(&self, error: Error) -> Error {
        if !matches!(error, Error::Gpu { .. }) {
            return error;
        }
        for _ in 0..LOOKS_FOR_LOSS {
            if let Err(lost) = self.alive() {
                return lost;
            }
            match self.poll(wgpu::PollType::Poll) {
                Ok(wgpu::PollStatus::QueueEmpty) => return self.alive().err().unwrap_or(error),
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        error
    }

    /// Polls, in turn. wgpu panics where a wait finds the device gone.
    pub(crate) fn poll(&self, how: wgpu::PollType) -> Result<wgpu::PollStatus, wgpu::PollError> {
        let _turn = self.turn_to_poll();
        if self.alive().is_err() {
            // What is mapped stays where it is.
            return Ok(wgpu::PollStatus::Poll);
        }
        let poll = std::panic::AssertUnwindSafe(|| self.device.poll(how));
        std::panic::catch_unwind(poll).unwrap_or_else(|panic| {
            self.lose(words_of(panic.as_ref()).to_owned());
            Ok(wgpu::PollStatus::Poll)
        })
    }
}

/// Steps of an invocation on hardware, whose watchdogs end what runs too long.
const MOST_STEPS: u32 = 30_000;
/// Loop iterations of a shader on lavapipe, less what is not counted as steps. It ends all loops after 65,535, without a
/// word and not for each loop anew: those of all lanes of a subgroup together, whose steps may all fall on different ones.
const MOST_SHARED_STEPS: u32 = 56_000;
/// Lanes of a software adapter that does not say how many it has: those of the widest vectors there are.
const MOST_LANES: u32 = 16;

fn most_steps(info: &wgpu::AdapterInfo) -> u32 {
    let lanes = if info.subgroup_max_size == 0 { MOST_LANES } else { info.subgroup_max_size };
    match info.device_type {
        wgpu::DeviceType::Cpu => (MOST_SHARED_STEPS / lanes).min(MOST_STEPS),
        _ => MOST_STEPS,
    }
}

/// Looks, a millisecond apart, for a loss that would explain an error.
const LOOKS_FOR_LOSS: usize = 100;

/// What a panic said.
pub(crate) fn words_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("unknown panic")
}

fn mark_lost(lost: &AtomicBool, reason: &Mutex<String>, words: String) {
    let mut reason = reason.lock().unwrap_or_else(PoisonError::into_inner);
    // The first reason is the cause of others.
    if !lost.load(Ordering::Acquire) {
        *reason = words;
        lost.store(true, Ordering::Release);
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
            assert!(!least_limits().check_limits(&limits));
            assert!(limits.max_storage_buffers_per_shader_stage < 8);
        }
    }
}
