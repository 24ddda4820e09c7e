//! The GPU strategy.
use super::*;
use crate::error::Error;
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
/// Adapters of this machine, in wgpu's order.
pub fn adapters() -> Vec<AdapterInfo> {
    Vec::new()
}
#[derive(Debug)]
pub(crate) struct Gpu;
impl Gpu {
    pub(crate) fn open(_: Option<&str>, _: bool, _: Option<usize>) -> Result<Self> {
        Err(Error::NoAdapter("not yet".into()))
    }
    pub(crate) fn name(&self) -> &str {
        ""
    }
}
impl Strategy for Gpu {
    fn features(&self, _: &Job<'_>, _: &FeatureSet, _: &mut Report) -> Result<RawColumns> {
        Err(crate::error::Error::CpuIndex("not in this build".into()))
    }
    fn neighbors(&self, _: &Job<'_>, _: &mut Report) -> Result<Neighbors> {
        Err(crate::error::Error::CpuIndex("not in this build".into()))
    }
}
