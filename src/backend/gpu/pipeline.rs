//! Compute pipelines, made once for each kernel variant. The only place that creates them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::device::Device;
use super::faults::Site;
use super::kernel::{Binding, Kernel};
use super::layout::Batch;
use crate::error::Result;

/// A kernel ready to dispatch.
#[derive(Debug)]
pub(crate) struct Pipeline {
    /// No two pipelines of a device ever have the same.
    pub(crate) number: u64,
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
}

/// Pipelines by kernel.
#[derive(Debug, Default)]
pub(crate) struct Pipelines {
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    pipelines: HashMap<Kernel, Arc<Pipeline>>,
    last: u64,
}

/// More variants than one application uses; a caller that cycles through all k and feature sets starts over.
const MOST_KEPT: usize = 256;

impl Pipelines {
    /// Makes each pipeline anew at its next use.
    #[cfg(test)]
    pub(crate) fn forget(&self) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).pipelines.clear();
    }

    pub(crate) fn get(&self, device: &Device, kernel: &Kernel) -> Result<Arc<Pipeline>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = made.pipelines.get(kernel) {
            return Ok(pipeline.clone());
        }
        made.last += 1;
        let pipeline = Arc::new(create(device, kernel, made.last)?);
        if made.pipelines.len() >= MOST_KEPT {
            made.pipelines.clear();
        }
        made.pipelines.insert(kernel.clone(), pipeline.clone());
        Ok(pipeline)
    }
}

fn create(device: &Device, kernel: &Kernel, number: u64) -> Result<Pipeline> {
    let label = Some(kernel.name());
    let entries: Vec<_> = (0..).zip(kernel.bindings()).map(|(i, b)| entry(i, *b)).collect();
    let (broken, refused) = (device.fails(Site::Shader), device.fails(Site::Pipeline));
    let (pipeline, layout) = device.checked("creating a pipeline", || {
        let device = &device.device;
        let source = if broken { "fn broken(".to_owned() } else { kernel.source() };
        let source = wgpu::ShaderSource::Wgsl(source.into());
        // Checked modules: without naga's loop bounding NVIDIA's driver returned wrong neighbours.
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label, source });
        let layout =
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(if refused { "none" } else { "main" }),
            // Every kernel writes its workgroup memory before it reads it.
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        (pipeline, layout)
    })?;
    Ok(Pipeline { number, pipeline, layout })
}

fn entry(binding: u32, kind: Binding) -> wgpu::BindGroupLayoutEntry {
    let (ty, has_dynamic_offset, bytes) = match kind {
        Binding::Uniform(bytes) => (wgpu::BufferBindingType::Uniform, false, Some(bytes)),
        Binding::Batch => (wgpu::BufferBindingType::Uniform, true, Some(size_of::<Batch>() as u64)),
        Binding::Read => (wgpu::BufferBindingType::Storage { read_only: true }, false, None),
        Binding::ReadWrite => (wgpu::BufferBindingType::Storage { read_only: false }, false, None),
    };
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset,
            min_binding_size: bytes.and_then(std::num::NonZeroU64::new),
        },
        count: None,
    }
}
