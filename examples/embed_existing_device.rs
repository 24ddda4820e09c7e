//! An application with a wgpu device of its own: the engine computes planarity on that device, and a compute pass of the
//! application counts the planar points where they are, without a round trip.

use lidar_features::{
    Engine, Feature, FeatureSet, Neighborhood, PointCloud, required_features, required_limits, wgpu,
};

/// One invocation: one point. NaN, where planarity is undefined, is told by its bits: WGSL need not know that it compares
/// with nothing.
const COUNT: &str = "
@group(0) @binding(0) var<storage, read> columns: array<u32>;
@group(0) @binding(1) var<storage, read_write> planar: atomic<u32>;
@group(0) @binding(2) var<uniform> about: vec4<u32>; // points, the column's first word, the threshold's bits

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= about.x) { return; }
    let bits = columns[about.y + id.x];
    let defined = (bits & 0x7fffffffu) <= 0x7f800000u;
    if (defined && bitcast<f32>(bits) > bitcast<f32>(about.z)) { atomicAdd(&planar, 1u); }
}";

/// Planarity from which a point counts.
const THRESHOLD: f32 = 0.6;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (on_device, on_host, points) = run()?;
    println!("{on_device} of {points} points are planar, by the columns on the host {on_host}");
    assert_eq!(on_device, on_host);
    Ok(())
}

/// Planar points as the application's pass counts them and as the columns say, and all points.
pub fn run() -> Result<(u32, u32, usize), Box<dyn std::error::Error>> {
    // What an application has anyway: its device. Only the limits and features are the engine's wish.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::PRIMARY,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_features: required_features(&adapter),
        required_limits: required_limits(&adapter),
        ..Default::default()
    }))?;
    let engine = Engine::from_device(device.clone(), queue.clone())?;
    // Its handlers stay its own; a loss is passed on.
    device.set_device_lost_callback({
        let engine = engine.clone();
        move |_, message| engine.device_lost(message)
    });

    // A roof with two slopes, and a bush.
    let scattered =
        |i: u32, n: u32| f64::from(i.wrapping_mul(2_654_435_761) >> 8 & 0xffff) / 65_536.0 * f64::from(n);
    let roof = (0..12_000).map(|i| (f64::from(i % 120) * 0.1, f64::from(i / 120) * 0.1));
    let roof = roof.map(|(x, y)| [x, y, 8.0 - (x - 6.0).abs() * 0.5]);
    let bush =
        (0..4_000).map(|i| [20.0 + scattered(i, 4), scattered(i ^ 0x5555, 4), scattered(i ^ 0x3333, 4)]);
    let points: Vec<[f64; 3]> = roof.chain(bush).collect();
    let cloud = PointCloud::from_f64(&points);
    let set = FeatureSet::parse("planarity")?;
    let neighborhood = Neighborhood::knn(16)?;

    let (columns, _) = engine.features_on_device(&cloud, &set, neighborhood)?;
    let first = columns.offset(Feature::Planarity).ok_or("planarity was asked for")? / 4;
    let about = [columns.len() as u32, first as u32, THRESHOLD.to_bits(), 0];
    let on_device = count(&device, &queue, columns.binding(), about)?;

    let (columns, _) = engine.features(&cloud, &set, neighborhood)?;
    let planarity = columns.get(Feature::Planarity).ok_or("planarity was asked for")?;
    let on_host = planarity.iter().filter(|value| **value > THRESHOLD).count() as u32;
    Ok((on_device, on_host, points.len()))
}

/// The application's own pass over the engine's columns.
fn count(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    columns: wgpu::BindingResource<'_>,
    about: [u32; 4],
) -> Result<u32, Box<dyn std::error::Error>> {
    let buffer = |size, usage| {
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    };
    let planar = buffer(4, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC);
    let uniform = buffer(16, wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST);
    let readback = buffer(4, wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ);
    let bytes: Vec<u8> = about.iter().flat_map(|word| word.to_le_bytes()).collect();
    queue.write_buffer(&uniform, 0, &bytes);

    let source = wgpu::ShaderSource::Wgsl(COUNT.into());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry { binding: 0, resource: columns },
            wgpu::BindGroupEntry { binding: 1, resource: planar.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 2, resource: uniform.as_entire_binding() },
        ],
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(about[0].div_ceil(64), 1, 1);
    }
    encoder.copy_buffer_to_buffer(&planar, 0, &readback, 0, Some(4));
    queue.submit([encoder.finish()]);
    readback.map_async(wgpu::MapMode::Read, .., |_| ());
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let view = readback.get_mapped_range(..)?;
    Ok(u32::from_le_bytes(view[..4].try_into()?))
}
