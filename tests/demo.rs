//! The `demo` command from outside: its files are whole and say what its text says.
#![cfg(feature = "cli")]

use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Output};

use lidar_features::synthetic::village;

fn demo(out: &Path, points: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lidar-features"))
        .args(["demo", "--backend", "cpu", "--points", points, "--out"])
        .arg(out)
        .output()
        .unwrap()
}

#[test]
fn demo_writes_the_scene_with_features_and_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("made/by/demo");
    let run = demo(&out, "60000");
    let text = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success(), "{text}{}", String::from_utf8_lossy(&run.stderr));
    for word in ["60000 points", "cpu", "ground", "roof", "wall", "linearity", "demo.laz", "demo.png"] {
        assert!(text.contains(word), "no {word:?} in\n{text}");
    }
    let names: HashSet<_> =
        std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, ["demo.laz", "demo.png"].map(String::from).into(), "nothing else is left behind");

    let scene = village(60_000, 7);
    let mut reader = las::Reader::from_path(out.join("demo.laz")).unwrap();
    let columns =
        reader.header().vlrs().iter().find(|v| (v.user_id.as_str(), v.record_id) == ("LASF_Spec", 4));
    let columns = String::from_utf8_lossy(&columns.unwrap().data).into_owned();
    for name in ["NormalZ", "Verticality", "SurfaceVariation", "Ndvi"] {
        assert!(columns.contains(name), "{name}");
    }
    let points: Vec<_> = reader.read_all().unwrap().points().map(Result::unwrap).collect();
    assert_eq!(points.len(), scene.len());
    let nir = scene.nir.as_ref().unwrap();
    for (i, point) in points.iter().enumerate() {
        let world = scene.frame.to_world(scene.lattice[i]);
        let off = [point.x - world[0], point.y - world[1], point.z - world[2]];
        assert!(off.iter().all(|d| d.abs() < 1e-6), "point {i} is off by {off:?}");
        assert_eq!(point.nir, Some(nir[i]), "point {i}");
        assert_eq!(u8::from(point.classification), scene.truth[i].class.las_code(), "point {i}");
    }

    let bytes = std::fs::read(out.join("demo.png")).unwrap();
    assert!(bytes.len() < 300_000, "{}", bytes.len());
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (1408, 520));
    let colors: HashSet<&[u8]> = pixels.chunks(3).collect();
    assert!(colors.len() > 100, "{}", colors.len());
}

#[test]
fn demo_takes_a_scene_of_one_point() {
    let folder = tempfile::tempdir().unwrap();
    let run = demo(folder.path(), "1");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(folder.path().join("demo.png").is_file());
}

#[test]
fn demo_says_what_is_wrong_with_its_arguments() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(demo(folder.path(), "0").status.code(), Some(2));
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let run = demo(&file, "10");
    assert_eq!(run.status.code(), Some(1));
    let text = String::from_utf8(run.stderr).unwrap();
    assert!(text.starts_with("error: ") && text.lines().count() == 1 && text.contains("file"), "{text}");
}
