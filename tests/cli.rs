//! The command line as others use it: exit codes, messages, JSON keys, and files that keep everything.
#![cfg(feature = "cli")]

mod files;

use std::path::Path;
use std::process::{Command, Output};

use files::{Seen, Spec, descriptor, evlrs, kept_header, see, vlr};
use serde_json::Value;

fn run(args: &[&str]) -> Output {
    // Mesa says on stderr that there is none, where there is none.
    let with_runtime = ("XDG_RUNTIME_DIR", std::env::temp_dir());
    Command::new(env!("CARGO_BIN_EXE_lidar-features")).args(args).envs([with_runtime]).output().unwrap()
}

/// Runs `compute` on the CPU.
fn compute(input: &Path, output: &Path, more: &[&str]) -> Output {
    let mut args = vec!["compute", input.to_str().unwrap(), output.to_str().unwrap(), "--backend", "cpu"];
    args.extend(more);
    run(&args)
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command printed.
#[track_caller]
fn json(args: &[&str]) -> Value {
    serde_json::from_str(&succeeds(&run(args))).unwrap()
}

/// The one line on stderr of a command that failed with this code.
#[track_caller]
fn fails(output: &Output, code: i32) -> String {
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.starts_with("error: ") && error.trim_end().lines().count() == 1, "{error}");
    error
}

/// Names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn same_points(input: &Seen, output: &Seen) {
    assert_eq!(input.len(), output.len());
    for i in 0..input.len() {
        assert_eq!(input.record(i), &output.record(i)[..input.length], "record {i}");
    }
}

#[test]
fn every_point_format_keeps_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let set = ["--features", "planarity,neighbor_count", "--knn", "8"];
    for format in 0..=10 {
        for (from, to) in [("las", "laz"), ("laz", "las"), ("las", "LAS"), ("laz", "LAZ")] {
            let mut spec = Spec::new(format, 300).extra_bytes(u16::from(format % 3));
            spec.seed = format.into();
            let input = spec.write(&folder.path().join(format!("in.{from}")));
            let output = folder.path().join(format!("out.{to}"));
            let done = compute(&input, &output, &set);
            succeeds(&done);
            assert!(
                done.stderr.is_empty(),
                "no progress in a pipe: {}",
                String::from_utf8_lossy(&done.stderr)
            );
            assert_eq!(kept_header(&input)[..104], kept_header(&output)[..104]);
            assert_eq!(kept_header(&input)[107..], kept_header(&output)[107..]);
            let (a, b) = (see(&input), see(&output));
            assert_eq!(b.header.point_format().is_compressed, to.eq_ignore_ascii_case("laz"));
            same_points(&a, &b);
            assert_eq!(a.plain_vlrs(), b.plain_vlrs());
            assert!(b.u16s("NeighborCount").iter().all(|&n| n == 8));
            assert!(b.f32s("Planarity").iter().all(|p| (0.0..=1.0).contains(p)));
        }
    }
}

#[test]
fn described_and_undescribed_extra_bytes_keep_their_place() {
    let folder = tempfile::tempdir().unwrap();
    // Two descriptions, a pair of them in one record, and three bytes that nothing describes.
    let two = [descriptor(3, 7, "Deviation"), descriptor(9, 0, "Score")].concat();
    let spec = Spec::new(8, 500).extra_bytes(2 + 4 + 1 + 3).vlr(vlr("LASF_Spec", 4, &two)).vlr(vlr(
        "LASF_Spec",
        4,
        &descriptor(1, 0, "confidence"),
    ));
    for ending in ["las", "laz"] {
        let input = spec.write(&folder.path().join(format!("in.{ending}")));
        let output = folder.path().join("out.laz");
        succeeds(&compute(&input, &output, &["--features", "verticality"]));
        let (a, b) = (see(&input), see(&output));
        // The column stands behind what the first record describes: 38 bytes of format 8, and six.
        assert_eq!(a.header.number_of_points(), b.header.number_of_points());
        for i in 0..500 {
            let (old, new) = (a.record(i), b.record(i));
            assert_eq!((&old[..44], &old[44..]), (&new[..44], &new[48..]), "record {i}");
        }
        let names: Vec<_> = b.dimensions().into_iter().map(|d| (d.0, d.1, d.2.len())).collect();
        let expected = [
            ("Deviation", 3, 2),
            ("Score", 9, 4),
            ("Verticality", 9, 4),
            ("confidence", 1, 1),
            ("ExtraBytes", 0, 3),
        ];
        assert_eq!(names, expected.map(|(n, k, l)| (n.to_owned(), k, l)));
        let first = b.header.vlrs().iter().find(|v| v.record_id == 4).unwrap();
        assert_eq!(first.data[..384], two[..], "descriptions are kept to the byte");
    }
}

#[test]
fn extended_records_are_kept_and_a_copc_index_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let spec = Spec::new(6, 400)
        .vlr(vlr("copc", 1, &[0; 160]))
        .evlr(vlr("someone", 1, &[5; 100_000]))
        .evlr(vlr("copc", 1000, &[1; 64]))
        .evlr(vlr("LASF_Projection", 2112, b"a second one"));
    for (from, to) in [("las", "laz"), ("laz", "las"), ("laz", "laz")] {
        let input = spec.write(&folder.path().join(format!("in.{from}")));
        let output = folder.path().join(format!("out.{to}"));
        let report = folder.path().join("report.json");
        let done = compute(&input, &output, &["--features", "slope", "--report", report.to_str().unwrap()]);
        succeeds(&done);
        assert!(String::from_utf8_lossy(&done.stderr).contains("COPC"), "the loss is said");
        let report: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
        assert!(report["notes"][0].as_str().unwrap().contains("COPC"));
        let mut expected = evlrs(&input);
        assert_eq!(expected.len(), 3);
        expected.remove(1);
        assert_eq!(evlrs(&output), expected);
        assert!(see(&output).header.vlrs().iter().all(|v| v.user_id != "copc"));
        same_points(&see(&input), &see(&output));
    }
}

#[test]
fn columns_that_are_there_are_replaced_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let input = Spec::new(3, 600).extra_bytes(2).write(&path("in.laz"));
    succeeds(&compute(
        &input,
        &path("one.laz"),
        &["--features", "roughness,neighbor_count,planarity", "--knn", "6"],
    ));
    let error = fails(&compute(&path("one.laz"), &path("two.laz"), &["--features", "planarity"]), 1);
    assert!(error.contains("\"Planarity\""), "{error}");
    assert_eq!(names(folder.path()), ["in.laz", "one.laz"]);

    let again = ["--features", "omnivariance,neighbor_count,planarity", "--knn", "9", "--overwrite-columns"];
    succeeds(&compute(&path("one.laz"), &path("two.laz"), &again));
    let (one, two) = (see(&path("one.laz")), see(&path("two.laz")));
    same_points(&see(&input), &two);
    let order: Vec<_> = two.dimensions().into_iter().map(|d| d.0).collect();
    assert_eq!(order, ["ExtraBytes", "Roughness", "NeighborCount", "Planarity", "Omnivariance"]);
    assert_eq!(one.f32s("Roughness"), two.f32s("Roughness"));
    assert!(two.u16s("NeighborCount").iter().all(|&n| n == 9));
    assert_ne!(one.f32s("Planarity"), two.f32s("Planarity"));
    let fresh = path("fresh.laz");
    succeeds(&compute(&input, &fresh, &["--features", "planarity", "--knn", "9"]));
    assert_eq!(see(&fresh).f32s("Planarity"), two.f32s("Planarity"));
}

#[test]
fn failures_leave_nothing_behind_and_touch_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let input = Spec::new(1, 2_000).write(&path("in.las"));
    let whole = std::fs::read(&input).unwrap();
    std::fs::write(path("cut.las"), &whole[..whole.len() - 1]).unwrap();
    let laz = Spec::new(7, 2_000).write(&path("in.laz"));
    let mut damaged = std::fs::read(&laz).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle..].fill(0xff);
    std::fs::write(path("bad.laz"), &damaged).unwrap();
    std::fs::write(path("out.laz"), b"was here before").unwrap();
    let before = names(folder.path());

    fails(&compute(&path("cut.las"), &path("out.laz"), &[]), 1);
    fails(&compute(&path("bad.laz"), &path("out.laz"), &[]), 1);
    fails(&compute(&path("none.laz"), &path("out.laz"), &[]), 1);
    fails(&compute(folder.path(), &path("out.laz"), &[]), 1);
    let error = fails(&compute(&input, &path("out.laz"), &["--features", "ndvi"]), 1);
    assert!(error.contains("ndvi needs rgb") && error.contains("ndvi needs nir"), "{error}");
    let error = fails(&compute(&input, &input, &[]), 1);
    assert!(error.contains("is the input"), "{error}");
    let roundabout = folder.path().join(".").join("in.las");
    fails(&compute(&input, &roundabout, &[]), 1);
    fails(&compute(&input, &folder.path().join("no folder").join("out.laz"), &[]), 1);
    assert_eq!(names(folder.path()), before);
    assert_eq!(std::fs::read(&input).unwrap(), whole);
    assert_eq!(std::fs::read(path("out.laz")).unwrap(), b"was here before");
}

#[test]
#[cfg(unix)]
fn an_interrupted_run_removes_what_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    // Long records of noise compress slowly: the signal comes while the file is being written.
    let input = Spec::new(0, 60_000).extra_bytes(1_000).write(&folder.path().join("in.las"));
    let output = folder.path().join("out.laz");
    let mut child = Command::new(env!("CARGO_BIN_EXE_lidar-features"))
        .args(["compute", input.to_str().unwrap(), output.to_str().unwrap()])
        .args(["--backend", "cpu", "--features", "knn_distance", "--knn", "2"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !names(folder.path()).iter().any(|name| name.ends_with(".part")) {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it was interrupted");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(names(folder.path()), ["in.las"]);
}

#[test]
fn bad_arguments_are_told_apart_from_failures() {
    let folder = tempfile::tempdir().unwrap();
    let input = Spec::new(0, 50).write(&folder.path().join("in.las"));
    let input = input.to_str().unwrap();
    let bad = |args: &[&str]| fails(&run(args), 2);
    let compute = |more: &[&str]| bad(&[&["compute", input, "out.laz"], more].concat());
    assert!(compute(&["--features", "planarty"]).contains("did you mean \"planarity\"?"));
    assert!(compute(&["--knn", "0"]).contains("k = 0"));
    compute(&["--features", ""]);
    compute(&["--knn", "-3"]);
    compute(&["--knn", "many"]);
    compute(&["--backend", "tpu"]);
    compute(&["--frobnicate"]);
    compute(&["--hag", "guess"]);
    compute(&["--hag-neighbors", "0"]);
    compute(&["--ground-classes", "2,300"]);
    assert!(compute(&["--count-radius", "0"]).contains("radius 0"));
    assert!(compute(&["--hag-max-distance", "nan"]).contains("radius NaN"));
    bad(&["compute", input]);
    bad(&["compute", input, "out.ply"]);
    bad(&["compute", input, "out"]);
    bad(&["bench", "--scene", "moon"]);
    bad(&["bench", "--scene", "als", "--input", input]);
    bad(&["bench", "--repeat", "0"]);
    bad(&["bench", "--points", "-1"]);
    bad(&["bench", "--features", "nothing_like_it"]);
    bad(&[]);
    bad(&["frob"]);
    fails(&run(&["bench", "--input", "there is no such file.laz"]), 1);
    assert!(succeeds(&run(&["--help"])).contains("compute"));
    assert!(succeeds(&run(&["--version"])).contains(env!("CARGO_PKG_VERSION")));
}

const REPORT: [&str; 15] = [
    "points",
    "backend",
    "adapter",
    "fallback",
    "quantum",
    "unit",
    "chunks",
    "stragglers",
    "seconds",
    "stages",
    "pool",
    "conventions",
    "redefined",
    "members",
    "features",
];

#[test]
fn the_report_has_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let input = Spec::new(0, 500).write(&folder.path().join("in.las"));
    let report = folder.path().join("report.json");
    let output = folder.path().join("out.las");
    succeeds(&compute(&input, &output, &["--report", report.to_str().unwrap()]));
    let value: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    for key in REPORT {
        assert!(value.get(key).is_some(), "{key}");
    }
    assert_eq!(value["points"], 500);
    assert_eq!(value["backend"], "cpu");
    assert_eq!(value["fallback"], Value::Null);
    assert_eq!(value["quantum"], 0.01);
    let geometric: Vec<_> = lidar_features::FeatureSet::geometric().iter().map(|f| f.name()).collect();
    assert_eq!(
        value["features"],
        serde_json::json!(geometric),
        "what one pass gives, unless features are named"
    );
    assert!(see(&output).u16s("NeighborCount").iter().all(|&n| n == 20), "20 neighbours unless said");
    assert_eq!(names(folder.path()), ["in.las", "out.las", "report.json"]);
}

#[test]
fn a_bench_checks_its_answers() {
    let folder = tempfile::tempdir().unwrap();
    let input = Spec::new(7, 3_000).write(&folder.path().join("in.laz"));
    let file = ["--input", input.to_str().unwrap(), "--points", "2500"];
    let scene = ["--scene", "duplicates", "--points", "2500"];
    for source in [file, scene] {
        for more in [&["--features", "planarity", "--repeat", "2"][..], &["--knn", "5"]] {
            let args = [&["bench", "--backend", "cpu", "--json"][..], &source[..], more].concat();
            let value: Value = serde_json::from_str(&succeeds(&run(&args))).unwrap();
            for key in REPORT.iter().chain(&["points_per_second", "repeat", "checked"]) {
                assert!(value.get(key).is_some(), "{key}");
            }
            assert_eq!(value["points"], 2500);
            assert_eq!(value["checked"], serde_json::json!({ "sample": 64, "mismatches": 0 }));
            assert!(
                value["seconds"].as_f64().unwrap() > 0.0
                    && value["points_per_second"].as_f64().unwrap() > 0.0
            );
        }
    }
    let args = [&["bench", "--backend", "cpu", "--repeat", "1"][..], &scene].concat();
    assert!(succeeds(&run(&args)).contains("64 points, 0 wrong values"));
}

#[test]
fn a_bench_times_lists() {
    let folder = tempfile::tempdir().unwrap();
    let input = Spec::new(7, 3_000).write(&folder.path().join("in.laz"));
    let bench = ["bench", "--backend", "cpu", "--repeat", "1", "--lists"];
    let file = ["--input", input.to_str().unwrap(), "--points", "2500", "--ignore-classes", "2"];
    let copies = ["--scene", "als", "--points", "1000", "--copies", "2"];
    for source in [&file[..], &copies] {
        for rule in [&["--knn", "7"][..], &["--radius", "0.8"], &["--optimal-k", "5..12"]] {
            let value = json(&[&bench[..], source, rule, &["--json"]].concat());
            assert_eq!(value["checked"], serde_json::json!({ "sample": 64, "mismatches": 0 }), "{rule:?}");
            assert_eq!((&value["lists"], &value["on_device"]), (&Value::Bool(true), &Value::Null));
        }
    }
    let text = succeeds(&run(&[&bench[..], &copies].concat()));
    assert!(text.contains("lists of") && !text.contains("conventions"), "{text}");
    for more in [&["--features", "planarity"][..], &["--preset", "lod2"], &["--conventions", "pgeof"]] {
        assert!(fails(&run(&[&bench[..], more].concat()), 2).contains("--lists"));
    }
    assert!(fails(&run(&[&bench[..], &["--scales", "5,9"]].concat()), 2).contains("one neighbourhood"));
}

/// The adapter that tests use, by the arguments that choose it; `None` where they do without.
fn gpu() -> Option<Vec<String>> {
    let set = |name| std::env::var(name).ok();
    let adapter = set("LIDAR_FEATURES_TEST_ADAPTER").map(|text| ["--adapter".to_owned(), text]);
    let backend = ["--backend", "gpu"].map(str::to_owned).into_iter();
    (set("LIDAR_FEATURES_TEST_GPU").as_deref() != Some("off"))
        .then(|| backend.chain(adapter.into_iter().flatten()).collect())
}

#[test]
fn a_bench_times_the_device_alone() {
    let Some(gpu) = gpu() else { return };
    let gpu: Vec<&str> = gpu.iter().map(String::as_str).collect();
    let bench = [&["bench", "--on-device", "--scene", "als"][..], &gpu].concat();
    let few = ["--points", "3000", "--repeat", "2"];
    for more in [&["--knn", "16"][..], &["--knn", "9", "--lists"], &["--radius", "1", "--copies", "2"]] {
        let value = json(&[&bench[..], &few, more, &["--json"]].concat());
        assert_eq!(value["checked"], serde_json::json!({ "sample": 64, "mismatches": 0 }), "{more:?}");
        let stages: Vec<_> = value["stages"].as_object().unwrap().keys().map(String::as_str).collect();
        let transfers = ["lattice", "plan", "pack", "filter"];
        assert!(!stages.iter().any(|stage| transfers.contains(stage)), "{stages:?}");
        let ms = |value: &Value| value.as_f64().unwrap();
        let (times, seconds) = (&value["on_device"], ms(&value["seconds"]));
        let own: Vec<f64> = times["stages_ms"].as_object().unwrap().values().map(ms).collect();
        assert!(times["stages_ms"]["index"].is_number() && times["stages_ms"]["search"].is_number());
        assert_eq!(times["stages_ms"]["features"].is_number(), !more.contains(&"--lists"), "{times}");
        // Medians of two runs are means, and add up.
        assert!((own.iter().sum::<f64>() / ms(&times["sum_ms"]) - 1.0).abs() < 1e-6, "{times}");
        assert!(ms(&times["sum_ms"]) > 0.0 && ms(&times["wall_ms"]) > ms(&times["sum_ms"]), "{times}");
        assert!((ms(&times["wall_ms"]) / (1e3 * seconds) - 1.0).abs() < 1e-6, "{times}");
    }
    let value = json(&[&bench[..], &few, &["--compare", "asked,unpooled", "--json"]].concat());
    let compared = value["compared"].as_array().unwrap();
    assert!(compared.len() == 2 && compared.iter().all(|c| c["on_device"]["wall_ms"].as_f64() > Some(0.0)));
    let text = succeeds(&run(&[&bench[..], &few].concat()));
    assert!(["on the device", "submit and wait", "0 wrong values"].iter().all(|words| text.contains(words)));

    let refused = |more: &[&str], code| fails(&run(&[&bench[..], &few, more].concat()), code);
    assert!(refused(&["--chunk-points", "500"], 1).contains("3000 points are not one chunk"));
    assert!(refused(&["--features", "lof"], 1).contains("lof takes more than one pass"));
    assert!(refused(&["--knn", "200"], 1).contains("k = 200"));
    assert!(refused(&["--lists", "--radius", "1"], 1).contains("one pass"));
    assert!(refused(&["--fill", "0"], 2).contains("--fill"));
    assert!(refused(&["--scales", "5,9"], 2).contains("one neighbourhood"));
    assert!(refused(&["--compare", "asked,cpu"], 2).contains("not the CPU"));
    let on_cpu = run(&["bench", "--on-device", "--backend", "cpu"]);
    assert!(fails(&on_cpu, 2).contains("not the CPU"));
    let none = run(&["bench", "--on-device", "--points", "100", "--adapter", "no such adapter"]);
    assert!(fails(&none, 1).contains("computes on the CPU: no usable GPU adapter"));
}

#[test]
fn conventions_are_followed_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let input = Spec::new(0, 400).write(&folder.path().join("in.las"));
    let report = folder.path().join("report.json");
    let run_with = |name: &str| {
        let output = folder.path().join(format!("{name}.las"));
        let set =
            ["--features", "neighbor_count,eigenvalue_1,roughness", "--knn", "9", "--conventions", name];
        succeeds(&compute(&input, &output, &[&set[..], &["--report", report.to_str().unwrap()]].concat()));
        let value: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
        assert_eq!(value["conventions"], name);
        (see(&output), value)
    };
    let (ours, plain) = run_with("ours");
    assert_eq!((&plain["redefined"], &plain["members"]), (&serde_json::json!([]), &Value::Null));
    let (pdal, value) = run_with("pdal");
    assert_eq!(value["redefined"], serde_json::json!(["eigenvalue_1"]));
    assert_eq!(value["members"], 10);
    assert!(pdal.u16s("NeighborCount").iter().all(|&n| n == 10));
    let (jakteristics, _) = run_with("jakteristics");
    assert_eq!(ours.f32s("Roughness"), jakteristics.f32s("Roughness"));
    let larger = |(a, b): (&f32, &f32)| (b / a - 9.0 / 8.0).abs() < 1e-6;
    assert!(ours.f32s("Eigenvalue1").iter().zip(&jakteristics.f32s("Eigenvalue1")).all(larger));

    let error = fails(&compute(&input, &folder.path().join("out.las"), &["--conventions", "ccpp"]), 2);
    assert!(error.contains("ccpp"), "{error}");
    let help = succeeds(&run(&["compute", "--help"]));
    assert!(["--conventions", "jakteristics", "open3d"].iter().all(|word| help.contains(word)), "{help}");

    let bench = ["bench", "--backend", "cpu", "--json", "--repeat", "1", "--scene", "duplicates"];
    for name in ["pgeof", "pdal", "jakteristics"] {
        for features in ["eigenvalue_sum", "neighbor_count,eigenvalue_sum", "normals"] {
            let more = ["--points", "2000", "--conventions", name, "--features", features];
            let args = [&bench[..], &more].concat();
            let value: Value = serde_json::from_str(&succeeds(&run(&args))).unwrap();
            assert_eq!(value["conventions"], name);
            assert_eq!(value["checked"], serde_json::json!({ "sample": 64, "mismatches": 0 }));
        }
    }
}

#[test]
fn listings_have_their_keys() {
    let features: Value = serde_json::from_str(&succeeds(&run(&["features", "--json"]))).unwrap();
    let features = features.as_array().unwrap();
    assert!(features.len() > 30);
    for feature in features {
        for key in ["name", "las_name", "unit", "range", "formula", "source", "inputs", "tolerance"] {
            assert!(feature.get(key).is_some_and(|v| !v.is_null()), "{feature}: {key}");
        }
    }
    let plain = succeeds(&run(&["features"]));
    assert_eq!(plain.lines().count(), features.len() + 1);
    let adapters: Value = serde_json::from_str(&succeeds(&run(&["adapters", "--json"]))).unwrap();
    for adapter in adapters.as_array().unwrap() {
        for key in ["name", "driver", "api", "kind"] {
            assert!(adapter.get(key).is_some(), "{key}");
        }
    }
    succeeds(&run(&["adapters"]));
}

#[test]
fn a_file_without_points_gains_its_dimensions() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in [("las", "laz"), ("laz", "las")] {
        let input = Spec::new(6, 0).write(&folder.path().join(format!("in.{from}")));
        let output = folder.path().join(format!("out.{to}"));
        succeeds(&compute(&input, &output, &["--features", "normals"]));
        let seen = see(&output);
        assert_eq!(seen.header.number_of_points(), 0);
        assert_eq!(seen.dimensions().len(), 3);
    }
}

/// Computes, and gives the report.
fn report_of(input: &Path, output: &Path, more: &[&str]) -> Value {
    let path = output.with_extension("json");
    let args = [more, &["--report", path.to_str().unwrap()]].concat();
    succeeds(&compute(input, output, &args));
    serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()
}

#[test]
fn points_of_a_class_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.laz");
    for format in [1, 6] {
        let input = Spec::new(format, 800).write(&folder.path().join("in.laz"));
        let cloud = lidar_features::las::read(&input).unwrap();
        let ignored = cloud.ignored(&[7, 18], true).unwrap();
        let left_out = ignored.iter().filter(|out| **out).count();
        let set = ["--features", "normal_z,knn_distance", "--knn", "5", "--flags", "--fill", "0"];
        let filter = ["--ignore-classes", "7,18", "--skip-withheld"];
        let report = report_of(&input, &output, &[&set[..], &filter].concat());
        assert_eq!(
            (report["points"].as_u64(), report["left_out"].as_u64()),
            (Some(800), Some(left_out as u64))
        );
        let seen = see(&output);
        same_points(&see(&input), &seen);
        let flag = lidar_features::Flags::LEFT_OUT.0;
        assert!(seen.u32s("Flags").iter().zip(&ignored).all(|(f, out)| (f & flag != 0) == *out));
        assert!(seen.f32s("NormalZ").iter().zip(&ignored).all(|(z, out)| !*out || *z == 1.0));
        assert!(seen.f32s("KnnDistance").iter().zip(&ignored).all(|(d, out)| !*out || *d == 0.0));

        let bench = ["bench", "--backend", "cpu", "--json", "--repeat", "1", "--knn", "5", "--input"];
        let args = [&bench[..], &[input.to_str().unwrap()], &filter, &["--fill", "0"]].concat();
        let value: Value = serde_json::from_str(&succeeds(&run(&args))).unwrap();
        assert_eq!(value["left_out"].as_u64(), Some(left_out as u64));
        assert_eq!(value["checked"], serde_json::json!({ "sample": 64, "mismatches": 0 }));
    }
    let scene = ["bench", "--scene", "als", "--points", "100", "--skip-withheld", "--backend", "cpu"];
    assert!(fails(&run(&scene), 2).contains("--input"));
}

#[test]
fn heights_follow_the_arguments() {
    use lidar_features::{Backend, Engine, Feature, FeatureSet, Ground, GroundMethod, Neighborhood, Options};
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.las"), folder.path().join("out.las"));
    let input = Spec::new(6, 500).write(&input);
    let names = "height_above_ground,facade_score,count_radius";
    let file = lidar_features::las::read(&input).unwrap();
    let classes: Vec<u8> = file.classification[..2].to_vec();
    let ground = classes.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
    let engine = Engine::builder().backend(Backend::Cpu).build().unwrap();
    let k = std::num::NonZeroU32::new(5).unwrap();
    let methods = [
        ("nearest", GroundMethod::Nearest),
        ("idw", GroundMethod::Idw { k }),
        ("plane", GroundMethod::Plane { k }),
    ];
    let mut seen_values = Vec::new();
    for (name, method) in methods {
        let choice = Ground::default().classes(classes.iter().copied()).method(method).max_distance(1e3);
        let options = Options::default().ground(choice).count_radius(40.0);
        let (set, rule) = (FeatureSet::parse(names).unwrap(), Neighborhood::knn(9).unwrap());
        let (columns, _) = engine.features_with(&file.cloud(), &set, rule, &options).unwrap();
        let args = ["--features", names, "--knn", "9", "--ground-classes", &ground, "--hag", name];
        let more = ["--hag-neighbors", "5", "--hag-max-distance", "1000", "--count-radius", "40"];
        succeeds(&compute(&input, &output, &[&args[..], &more].concat()));
        let (seen, bits) = (see(&output), |v: &f32| v.to_bits());
        for (feature, las) in
            [(Feature::HeightAboveGround, "HeightAboveGround"), (Feature::FacadeScore, "FacadeScore")]
        {
            let expected: Vec<u32> = columns.get(feature).unwrap().iter().map(bits).collect();
            let written = seen.f32s(las);
            assert_eq!(written.iter().map(bits).collect::<Vec<_>>(), expected, "{name}");
            seen_values.push(expected);
        }
        let counts = columns.get(Feature::CountRadius).unwrap();
        assert!(seen.u16s("CountRadius").iter().zip(counts).all(|(n, c)| f32::from(*n) == *c));
        assert!(counts.iter().any(|c| *c > 1.0));
    }
    assert!(seen_values[0] != seen_values[2] && seen_values[2] != seen_values[4]);
    let unused = (0..=255).find(|c: &u8| !file.classification.contains(c)).unwrap().to_string();
    let none = compute(&input, &output, &["--features", names, "--ground-classes", &unused]);
    assert!(fails(&none, 1).contains("height_above_ground needs ground (no point is ground)"));
    let bench = ["bench", "--scene", "als", "--points", "3000", "--repeat", "1", "--backend", "cpu"];
    succeeds(&run(&[&bench[..], &["--features", names, "--hag", "plane"]].concat()));
}

#[test]
fn presets_fail_or_say_what_they_leave_out() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.las");
    let plain = Spec::new(1, 300).write(&folder.path().join("plain.las"));
    let colored = Spec::new(8, 300).write(&folder.path().join("colored.las"));
    let error = compute(&plain, &output, &["--preset", "lod2"]);
    assert_eq!(error.status.code(), Some(1));
    let error = String::from_utf8_lossy(&error.stderr).into_owned();
    assert!(error.contains("ndvi needs rgb") && error.contains("ndvi needs nir"), "{error}");

    let done = compute(&plain, &output, &["--preset", "lod2", "--available"]);
    succeeds(&done);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("left out: red (needs rgb)") && said.contains("ndvi (needs rgb)"), "{said}");
    let names: Vec<_> = see(&output).dimensions().into_iter().map(|d| d.0).collect();
    assert!(names.contains(&"Linearity".to_owned()) && !names.contains(&"Ndvi".to_owned()), "{names:?}");

    let report = report_of(&colored, &output, &["--preset", "lod2", "--features", "roughness"]);
    let names: Vec<_> = report["features"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
    assert!(names.contains(&"ndvi") && names.last() == Some(&"roughness"), "{names:?}");
    fails(&compute(&plain, &output, &["--features", "rgb", "--available", "--preset", "lod9"]), 2);
    let nothing = compute(&plain, &output, &["--features", "rgb", "--available"]);
    assert_eq!(nothing.status.code(), Some(1));
}

#[test]
fn units_depths_and_viewpoints_are_taken_from_the_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.las");
    let input = Spec::new(8, 300).write(&folder.path().join("in.las"));
    let report = report_of(&input, &output, &["--features", "red"]);
    assert_eq!((&report["unit"], &report["unit_source"]), (&"m".into(), &"assumed".into()));
    assert_eq!(report["color"], serde_json::json!({ "rgb": "16-bit", "nir": null }));
    assert_eq!(report["color_range"], serde_json::json!({ "rgb": 65535, "nir": null }));
    let report =
        report_of(&input, &output, &["--features", "ndvi", "--unit", "feet", "--color-depth", "8x257"]);
    assert_eq!((&report["unit"], &report["unit_source"]), (&"ft".into(), &"given".into()));
    assert_eq!(report["color"], serde_json::json!({ "rgb": "8-bit x 257", "nir": "8-bit x 257" }));
    let error = fails(&compute(&input, &output, &["--features", "red", "--color-depth", "8"]), 1);
    assert!(error.contains("8-bit ends at 255"), "{error}");

    // Seen from far below, all normals point down.
    succeeds(&compute(&input, &output, &["--features", "normals", "--viewpoint", "877000,6617000,-1e9"]));
    assert!(see(&output).f32s("NormalZ").iter().all(|z| *z <= 0.0));
    succeeds(&compute(&input, &output, &["--features", "normals", "--viewpoint", "-1e9,0,0"]));
    for bad in ["1,2", "1,2,x", "1,2,inf", ""] {
        fails(&compute(&input, &output, &["--viewpoint", bad]), 2);
    }
    for bad in [["--fill", "1"], ["--unit", "cubit"], ["--ignore-classes", "300"], ["--color-depth", "7"]] {
        fails(&compute(&input, &output, &bad), 2);
    }
}

#[test]
fn a_radius_bounds_neighbourhoods() {
    let folder = tempfile::tempdir().unwrap();
    let input = Spec::new(6, 400).write(&folder.path().join("in.las"));
    let output = folder.path().join("out.las");
    let counts = |arguments: &[&str]| {
        let mut all = vec!["--features", "neighbor_count"];
        all.extend(arguments);
        let _ = std::fs::remove_file(&output);
        succeeds(&compute(&input, &output, &all));
        see(&output).u16s("NeighborCount")
    };
    assert!(counts(&[]).iter().all(|n| *n == 20));
    assert!(counts(&["--radius", "1e7"]).iter().all(|n| *n == 400));
    assert!(counts(&["--radius", "1e7", "--knn", "7"]).iter().all(|n| *n == 7));
    for bad in ["0", "-1", "nan", "x"] {
        fails(&compute(&input, &output, &["--radius", bad]), 2);
    }
}

#[test]
fn columns_of_several_neighbourhoods_carry_the_scale() {
    let folder = tempfile::tempdir().unwrap();
    let input = Spec::new(0, 300).write(&folder.path().join("in.las"));
    let output = folder.path().join("out.las");
    let arguments = [
        "--features",
        "planarity,neighbor_count,optimal_k",
        "--scales",
        "5,r2.5",
        "--optimal-k",
        "6..9",
        "--flags",
    ];
    succeeds(&compute(&input, &output, &arguments));
    let seen = see(&output);
    let names: Vec<_> = seen.dimensions().into_iter().map(|d| d.0).collect();
    let suffixes = ["K5", "R2.5", "K6to9"];
    let mut expected: Vec<_> = suffixes
        .iter()
        .flat_map(|s| ["Planarity", "NeighborCount", "Flags"].map(|name| format!("{name}{s}")))
        .chain(["OptimalK".to_owned()])
        .collect();
    expected.sort();
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(sorted, expected);
    assert!(seen.u16s("NeighborCountK5").iter().all(|n| *n == 5));
    assert!(seen.u16s("NeighborCountK6to9").iter().all(|n| (6..=9).contains(n)));
    for wrong in [["--scales", "5,x"], ["--optimal-k", "9..6"]] {
        assert_eq!(compute(&input, &output, &wrong).status.code(), Some(2), "{wrong:?}");
    }
}
