//! What can be proved of the shaders: on any machine by reading them, and on a device by running their arithmetic.

use std::collections::HashSet;
use std::mem::offset_of;
use std::path::Path;

use naga::back::{hlsl, msl, spv, wgsl};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use rayon::prelude::*;

use super::device::Device;
use super::kernel::{
    BATCH, Binding, Evaluate, Kernel, Needs, Output, Reach, SOFTWARE_BATCH, Search, Settle, Subject, Turn,
    UNIFORMS, Walk, WalkEnds,
};
use super::layout::{Batch, Grid, Scale};
use super::shader;
use crate::features::{Feature, FeatureSet, Flags};
use crate::frame::Frame;
use crate::moments::fixed_sqrt;
use crate::neighborhood::Neighborhood;
use crate::scales::Scales;

/// Numbers of neighbours in every class that a list may have, and beyond.
const COUNTS: [u32; 14] = [1, 2, 3, 8, 10, 16, 20, 30, 33, 50, 64, 100, 128, 129];

/// Neighbourhoods of every kind; the larger radius has squared distances beyond 24 bits.
fn neighborhoods() -> Vec<Neighborhood> {
    let within = |k, radius| Neighborhood::knn_within(k, radius).unwrap();
    let mut all: Vec<_> = COUNTS.iter().map(|k| Neighborhood::knn(*k).unwrap()).collect();
    all.extend(COUNTS.iter().map(|k| within(*k, 1.5)));
    all.extend([0.5, 100.0].map(|radius| Neighborhood::radius(radius).unwrap()));
    all.push(Neighborhood::optimal(10, 100, 5).unwrap());
    all
}

/// The kernels that features in a neighbourhood take, whether or not their lists have to be made.
fn kernels_of(set: &FeatureSet, neighborhood: Neighborhood) -> Vec<Kernel> {
    let frame = Frame::new([0.0; 3], 0.01).unwrap();
    let (needs, scales) = (Needs::of(set), Scales::one(neighborhood, 1_000_000, &frame));
    let (record_words, wanted) = (needs.record_words(), scales.rule.k.min(1 << 20) as u32);
    let mut kernels = vec![
        Kernel::Evaluate(Evaluate::of(set)),
        Kernel::Walk(Walk { foreign: false, needs, ends: WalkEnds::of(&scales.ends) }),
        Kernel::Last { record_words, wanted },
        Kernel::Place { record_words },
    ];
    let members = if scales.rule.cuts { vec![Output::Lists] } else { vec![Output::Counts, Output::Fill] };
    for output in std::iter::once(Output::Records(needs, scales.len() as u32)).chain(members) {
        let subjects = [Subject::Points, Subject::Core, Subject::Foreign];
        let searches = subjects.map(|subject| Search::first(scales.rule, subject, output));
        for search in searches.into_iter().flatten() {
            kernels
                .extend(search.probe().into_iter().chain([search]).chain(search.later()).map(Kernel::Search));
            let later = [1, u32::MAX].map(|queries| search.second(queries));
            let run = |second: &Search| scales.rule.cuts || second.turn == Turn::Team;
            kernels.extend(later.into_iter().filter(run).map(Kernel::Search));
        }
    }
    kernels
}

/// Every kernel of [`variants`], of the presets in every neighbourhood, and of random sets of features.
fn kernels() -> Vec<Kernel> {
    let mut all = variants();
    let neighborhoods = neighborhoods();
    for name in FeatureSet::PRESETS {
        let set = FeatureSet::preset(name).unwrap();
        all.extend(neighborhoods.iter().flat_map(|n| kernels_of(&set, *n)));
    }
    let mut state = 300u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let features: Vec<_> = Feature::all().collect();
    for _ in 0..300 {
        let some: Vec<_> = (0..=random(30)).map(|_| features[random(features.len())]).collect();
        let neighborhood = neighborhoods[random(neighborhoods.len())];
        all.extend(kernels_of(&FeatureSet::new(some), neighborhood));
    }
    let mut seen = HashSet::new();
    all.retain(|kernel| seen.insert(kernel.clone()));
    all
}

/// Every kernel, in every kind of variant.
fn variants() -> Vec<Kernel> {
    let mut kernels = vec![
        Kernel::CountCubes,
        Kernel::CutCubes,
        Kernel::ClearCells,
        Kernel::CountCells,
        Kernel::Scan { used: false },
        Kernel::Scan { used: true },
        Kernel::ScanAdd { used: false },
        Kernel::ScanAdd { used: true },
        Kernel::Scatter,
        Kernel::Sort,
        Kernel::Last { record_words: 16, wanted: 20 },
        Kernel::Place { record_words: 16 },
        Kernel::Place { record_words: 24 },
        Kernel::Settle(Settle::of(&FeatureSet::geometric(), u32::MAX, false)),
        Kernel::Settle(Settle::of(&Feature::all().collect(), !Flags::NO_RADIUS.0, true)),
    ];
    let both = [false, true];
    for k in [1, 2, 3, 8, 16, 20, 33, 64, 128] {
        let subjects = [Subject::Points, Subject::Core, Subject::Foreign];
        for (wide, subject) in both.iter().flat_map(|w| subjects.map(|s| (*w, s))) {
            let by = |turn, rule, output| {
                Kernel::Search(Search { k, rule, wide, turn, subject, output, batch: BATCH })
            };
            let in_turns = |rule, output| {
                let first = Search { k, rule, wide, turn: Turn::First, subject, output, batch: BATCH };
                first.probe().into_iter().chain([first]).chain(first.later()).map(Kernel::Search)
            };
            let search = |rule, output| by(if wide { Turn::Far } else { Turn::First }, rule, output);
            for rule in [Reach::Nearest, Reach::NearestWithin] {
                match wide {
                    true => kernels.push(search(rule, Output::Lists)),
                    false => kernels.extend(in_turns(rule, Output::Lists)),
                }
                if wide && subject != Subject::Foreign {
                    kernels.push(by(Turn::Team, rule, Output::Lists));
                }
            }
            if k == 1 {
                kernels.push(by(Turn::First, Reach::Within, Output::Counts));
                kernels.push(by(Turn::First, Reach::Within, Output::Fill));
                if subject != Subject::Foreign {
                    kernels.push(search(Reach::Within, Output::Beneath([50, 200])));
                    kernels.push(by(Turn::Team, Reach::Within, Output::Beneath([50, 200])));
                }
            }
            for bits in 0..8 {
                let [plane, distance_sum, extent] = [1, 2, 4].map(|bit| bits & bit != 0);
                let needs = Needs { plane, distance_sum, extent };
                let output = Output::Records(needs, 1);
                for rule in [Reach::Nearest, Reach::NearestWithin] {
                    match wide {
                        true => kernels.push(search(rule, output)),
                        false => kernels.extend(in_turns(rule, output)),
                    }
                }
                if wide && subject != Subject::Foreign {
                    kernels.push(by(Turn::Team, Reach::Nearest, output));
                    kernels.push(by(Turn::Team, Reach::NearestWithin, output));
                }
                if k == 1 {
                    kernels.push(by(Turn::First, Reach::Within, output));
                    kernels.push(by(Turn::First, Reach::Within, Output::Records(needs, 16)));
                    kernels.push(by(Turn::Team, Reach::Within, output));
                    kernels.push(by(Turn::Team, Reach::Within, Output::Records(needs, 16)));
                    let counts = [(1, false), (3, false), (0, true), (3, true)];
                    let counts = counts.map(|(n, optimal)| WalkEnds::Counts(n, optimal));
                    let ends = counts.into_iter().chain([WalkEnds::Limits(1), WalkEnds::Limits(2)]);
                    let foreign = subject == Subject::Foreign;
                    kernels.extend(ends.map(|ends| Kernel::Walk(Walk { foreign, needs, ends })));
                }
            }
        }
    }
    let for_software: Vec<_> = kernels
        .iter()
        .filter_map(|kernel| match kernel {
            Kernel::Search(search) if search.k == 8 => {
                Some(Kernel::Search(Search { batch: SOFTWARE_BATCH, ..*search }))
            }
            _ => None,
        })
        .collect();
    kernels.extend(for_software);
    kernels.push(Kernel::Evaluate(Evaluate::of(&Feature::all().collect())));
    kernels.push(Kernel::Evaluate(Evaluate::of(&FeatureSet::geometric())));
    kernels.extend(Feature::all().map(|f| Kernel::Evaluate(Evaluate::of(&FeatureSet::new([f])))));
    kernels
}

/// Looks at kernels on threads of their own: minutes of the common ones would keep the engines of other tests waiting.
fn each(kernels: &[Kernel], look: impl Fn(&Kernel) + Sync + Send) {
    let threads = rayon::ThreadPoolBuilder::new().build().unwrap();
    threads.install(|| kernels.par_iter().for_each(look));
}

fn parse(kernel: &Kernel) -> (naga::Module, naga::valid::ModuleInfo) {
    let source = kernel.source();
    let module = naga::front::wgsl::parse_str(&source)
        .unwrap_or_else(|e| panic!("{kernel:?}: {}", e.emit_to_string(&source)));
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&module)
        .unwrap_or_else(|e| panic!("{kernel:?}: {}", e.emit_to_string(&source)));
    (module, info)
}

#[test]
fn every_feature_has_its_function() {
    for feature in Feature::all() {
        let function = format!("fn feature_{}(", feature.name());
        assert!(shader::FEATURES.contains(&function), "features.wgsl lacks {function}s: Shape) -> f32");
    }
}

#[test]
fn every_kernel_is_valid_and_translates() {
    let all = kernels();
    each(&all, |kernel| {
        let (module, info) = parse(kernel);
        spv::write_vec(&module, &info, &spv::Options::default(), None)
            .unwrap_or_else(|e| panic!("{kernel:?} to SPIR-V: {e}"));
        let mut text = String::new();
        let options = hlsl::Options::default();
        hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default())
            .write(&module, &info, None)
            .unwrap_or_else(|e| panic!("{kernel:?} to HLSL: {e}"));
        let options = msl::Options { fake_missing_bindings: true, ..Default::default() };
        msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
            .unwrap_or_else(|e| panic!("{kernel:?} to MSL: {e}"));
        wgsl::write_string(&module, &info, wgsl::WriterFlags::empty())
            .unwrap_or_else(|e| panic!("{kernel:?} to WGSL: {e}"));
    });
    println!("{} kernels", all.len());
    assert!(all.len() > 1000);
}

/// For `scripts/browser-check`: writes every distinct shader to the folder `LIDAR_FEATURES_DUMP_SHADERS`, and the exact
/// arithmetic with numbers and their results.
#[test]
#[ignore = "writes files, where LIDAR_FEATURES_DUMP_SHADERS says"]
fn dump_shaders() {
    let folder = std::env::var("LIDAR_FEATURES_DUMP_SHADERS").expect("LIDAR_FEATURES_DUMP_SHADERS");
    let folder = Path::new(&folder);
    let mut seen = HashSet::new();
    for kernel in kernels() {
        let source = kernel.source();
        if seen.insert(source.clone()) {
            let name = format!("{:04}-{}.wgsl", seen.len(), kernel.name());
            std::fs::write(folder.join(name), source).unwrap();
        }
    }
    println!("{} shaders", seen.len());
    let bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let values: Vec<u64> = exact_values().into_iter().filter(|value| *value as u32 != u32::MAX).collect();
    let input: Vec<u32> = values.iter().flat_map(|value| [*value as u32, (value >> 32) as u32]).collect();
    let results: Vec<u32> = values.iter().flat_map(|value| exact_results(*value)).collect();
    std::fs::write(folder.join("exact.wgsl"), exact_source()).unwrap();
    std::fs::write(folder.join("exact-input.bin"), bytes(&input)).unwrap();
    std::fs::write(folder.join("exact-results.bin"), bytes(&results)).unwrap();
}

#[test]
fn every_kernel_fits_webgpu_and_its_table_of_bindings() {
    let limits = wgpu::Limits::default();
    each(&kernels(), |kernel| {
        let (module, _) = parse(kernel);
        let [x, y, z] = module.entry_points[0].workgroup_size;
        assert!(x * y * z <= limits.max_compute_invocations_per_workgroup, "{kernel:?}");
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let (mut shared, mut found) = (0, vec![None; kernel.bindings().len()]);
        for (_, variable) in module.global_variables.iter() {
            let size = layouter[variable.ty].size;
            match variable.space {
                naga::AddressSpace::WorkGroup => shared += size,
                naga::AddressSpace::Uniform => {
                    let name = module.types[variable.ty].name.clone().unwrap_or_default();
                    let index = variable.binding.unwrap().binding as usize;
                    found[index] =
                        Some(if name == "Batch" { Binding::Batch } else { Binding::Uniform(size.into()) });
                }
                naga::AddressSpace::Storage { access } => {
                    let write = access.contains(naga::StorageAccess::STORE);
                    let kind = if write { Binding::ReadWrite } else { Binding::Read };
                    found[variable.binding.unwrap().binding as usize] = Some(kind);
                }
                _ => {}
            }
        }
        assert!(shared <= limits.max_compute_workgroup_storage_size, "{kernel:?}: {shared}");
        let storage =
            found.iter().flatten().filter(|b| matches!(b, Binding::Read | Binding::ReadWrite)).count();
        assert!(storage <= limits.max_storage_buffers_per_shader_stage as usize, "{kernel:?}");
        let table: Vec<_> = kernel.bindings().iter().copied().map(Some).collect();
        assert_eq!(found, table, "{kernel:?}");
        // Buffers are bound as a whole, however much of them a chunk asks for.
        assert!(!kernel.source().contains("arrayLength"), "{kernel:?} depends on how much is bound");
    });
}

#[test]
fn uniform_blocks_have_the_host_structs_layout() {
    let host = [
        (
            "Grid",
            vec![
                ("cubes", offset_of!(Grid, cubes)),
                ("cube_count", offset_of!(Grid, cube_count)),
                ("extent", offset_of!(Grid, extent)),
                ("edge", offset_of!(Grid, edge)),
                ("face_low", offset_of!(Grid, face_low)),
                ("inverse_edge", offset_of!(Grid, inverse_edge)),
                ("face_high", offset_of!(Grid, face_high)),
                ("points", offset_of!(Grid, points)),
                ("k", offset_of!(Grid, k)),
                ("rows", offset_of!(Grid, rows)),
                ("slack", offset_of!(Grid, slack)),
                ("limit", offset_of!(Grid, limit)),
                ("long", offset_of!(Grid, long)),
                ("crew", offset_of!(Grid, crew)),
                ("ends", offset_of!(Grid, ends)),
            ],
        ),
        (
            "Batch",
            vec![
                ("first", offset_of!(Batch, first)),
                ("end", offset_of!(Batch, end)),
                ("width", offset_of!(Batch, width)),
                ("steps", offset_of!(Batch, steps)),
            ],
        ),
        (
            "Scale",
            vec![
                ("quantum", offset_of!(Scale, quantum)),
                ("rgb", offset_of!(Scale, rgb)),
                ("nir", offset_of!(Scale, nir)),
                ("own", offset_of!(Scale, own)),
                ("rows", offset_of!(Scale, rows)),
                ("stride", offset_of!(Scale, stride)),
                ("queries", offset_of!(Scale, queries)),
                ("_pad", offset_of!(Scale, pad)),
                ("radii", offset_of!(Scale, radii)),
            ],
        ),
    ];
    let (mut compared, modules) =
        (0, [Kernel::CountCubes, Kernel::Evaluate(Evaluate::of(&FeatureSet::geometric()))]);
    for kernel in modules {
        let (module, _) = parse(&kernel);
        for (_, ty) in module.types.iter() {
            let Some((name, fields)) = host.iter().find(|h| ty.name.as_deref() == Some(h.0)) else {
                continue;
            };
            let naga::TypeInner::Struct { members, span } = &ty.inner else { panic!("{name} is a struct") };
            let device: Vec<_> =
                members.iter().map(|m| (m.name.as_deref().unwrap_or_default(), m.offset as usize)).collect();
            assert_eq!(&device, fields, "{name}");
            let size = UNIFORMS.iter().find(|u| u.0 == *name).unwrap().1;
            assert_eq!(*span as usize, size, "{name}");
            compared += 1;
        }
    }
    // Grid and Batch in both modules, Scale in the second.
    assert_eq!(compared, 5);
}

/// Runs `shader::EXACT` on a device and compares with Rust's integers, to the bit.
#[test]
fn exact_arithmetic_equals_rusts() {
    if std::env::var("LIDAR_FEATURES_TEST_GPU").as_deref() == Ok("off") {
        println!("skipped: LIDAR_FEATURES_TEST_GPU=off");
        return;
    }
    let text = std::env::var("LIDAR_FEATURES_TEST_ADAPTER").ok();
    let device = Device::open(text.as_deref(), true).expect("the tests need an adapter");
    let values = exact_values();
    let got = run_exact(&device, &values);
    for (value, out) in values.iter().zip(got.chunks_exact(4)) {
        let expected = exact_results(*value);
        // The root of the largest number is of no distance.
        let compared = if *value as u32 == u32::MAX { &[0usize, 2, 3][..] } else { &[0, 1, 2, 3] };
        for i in compared {
            let what = ["round64", "fixed_sqrt", "product, low", "product, high"][*i];
            assert_eq!(out[*i], expected[*i], "{what} of {value}");
        }
    }
}

/// Numbers at the edges of what integers and f32 hold, and random ones.
fn exact_values() -> Vec<u64> {
    let mut values: Vec<u64> = vec![0, 1, 2, 3, 255, u64::from(u32::MAX), u64::MAX, 1 << 63, i64::MAX as u64];
    for shift in 0..63 {
        let power = 1u64 << shift;
        // Halfway cases above 2^24 round to even.
        values.extend([
            power,
            power - 1,
            power + 1,
            power | power >> 24,
            power | power >> 24 | 1,
            power | power >> 25,
        ]);
    }
    let mut state = 7u64;
    for i in 0..4000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        values.push(state >> (i % 60));
    }
    values.extend(values.clone().iter().map(|v| v.wrapping_neg()));
    values
}

/// What the shader must give: the number as f32, the root of its lower half, the product of both halves.
fn exact_results(value: u64) -> [u32; 4] {
    let low = value as u32;
    let root = if low < u32::MAX { fixed_sqrt(low.into()) as u32 } else { 0 };
    let product = u64::from(low) * (value >> 32);
    [(value as i64 as f32).to_bits(), root, product as u32, (product >> 32) as u32]
}

fn exact_source() -> String {
    const MAIN: &str = "
        @group(0) @binding(0) var<storage, read> values: array<vec2<u32>>;
        @group(0) @binding(1) var<storage, read_write> results: array<vec4<u32>>;
        @compute @workgroup_size(WORKGROUP)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            if (id.x < arrayLength(&values)) {
                let v = values[id.x];
                let product = multiply_wide(v.x, v.y);
                results[id.x] = vec4<u32>(bitcast<u32>(round64(v)), fixed_sqrt(v.x), product.x, product.y);
            }
        }";
    let mut text = shader::Text::new(64);
    text.add(shader::EXACT).add(MAIN).finish()
}

fn run_exact(device: &Device, values: &[u64]) -> Vec<u32> {
    let source = exact_source();
    let gpu = &device.device;
    let module = gpu.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = gpu.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    let buffer = |size: usize, usage| {
        gpu.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: size as u64,
            usage,
            mapped_at_creation: false,
        })
    };
    let storage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
    let input = buffer(size_of_val(values), storage);
    let output = buffer(2 * size_of_val(values), storage);
    let back = buffer(2 * size_of_val(values), wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    device.queue.write_buffer(&input, 0, bytemuck::cast_slice(values));
    let bindings = gpu.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry { binding: 0, resource: input.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 1, resource: output.as_entire_binding() },
        ],
    });
    let mut encoder = gpu.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bindings, &[]);
        pass.dispatch_workgroups(values.len().div_ceil(64) as u32, 1, 1);
    }
    encoder.copy_buffer_to_buffer(&output, 0, &back, 0, None);
    device.queue.submit([encoder.finish()]);
    back.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
    gpu.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    bytemuck::cast_slice(&back.get_mapped_range(..).unwrap()).to_vec()
}
