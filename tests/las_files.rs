//! What is read from LAS/LAZ files: the records' own integers, in every form that a file may have.
#![cfg(feature = "las")]

mod files;

use std::ops::ControlFlow;
use std::path::Path;

use files::{Spec, see};
use las::PointDataBuilder;
use laz::{LazVlr, LazVlrBuilder};
use lidar_features::las::{LasCloud, ReadOptions, WriteOptions, read, read_with, write_with_columns};
use lidar_features::{Backend, Columns, Engine, Error, FeatureSet, Flags, Neighborhood, Unit, UnitSource};

fn raw(path: &Path) -> Vec<[i32; 3]> {
    let seen = see(path);
    let at = |r: &[u8], a: usize| i32::from_le_bytes(r[4 * a..4 * a + 4].try_into().unwrap());
    (0..seen.len()).map(|i| std::array::from_fn(|a| at(seen.record(i), a))).collect()
}

fn columns(cloud: &LasCloud, set: &str) -> Columns {
    let engine = Engine::builder().backend(Backend::Cpu).build().unwrap();
    let set = FeatureSet::parse(set).unwrap();
    engine.features(&cloud.cloud(), &set, Neighborhood::knn(6).unwrap()).unwrap().0
}

#[test]
fn the_lattice_is_the_records() {
    let folder = tempfile::tempdir().unwrap();
    for format in 0..=10 {
        for ending in ["las", "laz"] {
            let spec = Spec::new(format, 1_000).extra_bytes(3);
            let path = spec.write(&folder.path().join(format!("in.{ending}")));
            let cloud = read(&path).unwrap();
            let (lattice, frame) = cloud.lattice().unwrap();
            assert_eq!(lattice, raw(&path));
            assert_eq!((frame.quantum(), frame.origin()), (0.01, spec.offset));
            let seen = see(&path);
            let points =
                PointDataBuilder::new().for_header(&seen.header).build_from_bytes(seen.bytes).unwrap();
            assert!(cloud.intensity.iter().copied().eq(points.intensity()));
            assert!(cloud.classification.iter().copied().eq(points.classification()));
            let rgb = cloud.rgb.map(|[r, g, b]| r.into_iter().zip(g).zip(b).map(|((r, g), b)| (r, g, b)));
            assert_eq!(rgb.map(Iterator::collect::<Vec<_>>), points.rgb().map(Iterator::collect));
            assert_eq!(cloud.nir, points.nir().map(Iterator::collect));
        }
    }
}

#[test]
fn scales_that_differ_share_a_quantum_and_nothing_is_rounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.las");
    let mut spec = Spec::new(1, 500);
    spec.scale = [0.01, 0.01, 0.001];
    spec.write(&path);
    let cloud = read(&path).unwrap();
    let (lattice, frame) = cloud.lattice().unwrap();
    let records = raw(&path);
    assert_eq!(frame.quantum(), 0.001);
    let min: [i32; 3] = std::array::from_fn(|a| records.iter().map(|r| r[a]).min().unwrap());
    for (l, r) in lattice.iter().zip(&records) {
        assert_eq!(*l, [(r[0] - min[0]) * 10, (r[1] - min[1]) * 10, r[2]]);
    }
    let expected = [877_000.0 + f64::from(min[0]) * 0.01, 6_617_000.0 + f64::from(min[1]) * 0.01, -20.0];
    assert_eq!(frame.origin(), expected);

    spec.scale = [0.01, 0.01, 0.01 * std::f64::consts::SQRT_2];
    spec.write(&path);
    let cloud = read(&path).unwrap();
    assert!(cloud.lattice().is_none());
    assert_eq!(columns(&cloud, "planarity").len(), 500);
}

#[test]
fn scales_and_offsets_must_be_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = Spec::new(0, 10).write(&folder.path().join("in.las"));
    let whole = std::fs::read(&path).unwrap();
    for (at, value) in
        [(131, 0.0), (139, f64::NAN), (147, f64::INFINITY), (155, f64::NEG_INFINITY), (171, f64::NAN)]
    {
        let mut bytes = whole.clone();
        bytes[at..at + 8].copy_from_slice(&f64::to_le_bytes(value));
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(read(&path), Err(Error::Las { .. })), "{value} at {at}");
    }
}

#[test]
fn a_limit_takes_the_first_points_and_a_watch_can_stop() {
    let folder = tempfile::tempdir().unwrap();
    for ending in ["las", "laz"] {
        let path = Spec::new(7, 120_000).write(&folder.path().join(format!("in.{ending}")));
        let all = read(&path).unwrap();
        for limit in [0, 1, 49_999, 50_001, 119_999, 120_000, 1 << 40] {
            let some = read_with(&path, &ReadOptions::default().limit(limit)).unwrap();
            let n = all.len().min(limit as usize);
            assert_eq!(some.len(), n);
            assert_eq!(some.lattice().unwrap().0, &all.lattice().unwrap().0[..n]);
            assert_eq!(some.nir.as_deref(), None);
            assert_eq!(some.rgb.unwrap()[2], all.rgb.as_ref().unwrap()[2][..n]);
        }
        let stop = |_, _| ControlFlow::Break(());
        assert!(matches!(read_with(&path, &ReadOptions::default().watch(&stop)), Err(Error::Cancelled)));

        let columns = columns(&all, "neighbor_count");
        let output = folder.path().join("out.laz");
        let stop = |done, _| if done > 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let cancelled = write_with_columns(&path, &output, &columns, &WriteOptions::default().watch(&stop));
        assert!(matches!(cancelled, Err(Error::Cancelled)));
        let names = std::fs::read_dir(folder.path()).unwrap();
        assert!(names.flatten().all(|e| e.file_name().to_string_lossy().starts_with("in.")));
    }
}

/// Rewrites a LAZ file's points under another laszip record.
fn recompressed(
    path: &Path,
    vlr: impl Fn(LazVlrBuilder) -> LazVlrBuilder,
    chunks: Option<&[usize]>,
) -> Vec<u8> {
    let seen = see(path);
    let mut bytes = std::fs::read(path).unwrap();
    let offset = u32::from_le_bytes(bytes[96..100].try_into().unwrap()) as usize;
    bytes.truncate(offset);
    let old = seen.header.laz_vlr().unwrap();
    let new = vlr(LazVlrBuilder::new(old.items().clone())).build();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    old.write_to(&mut a).unwrap();
    new.write_to(&mut b).unwrap();
    let at = bytes.windows(a.len()).position(|w| w == a).unwrap();
    bytes[at..at + a.len()].copy_from_slice(&b);
    let mut target = std::io::Cursor::new(bytes);
    target.set_position(offset as u64);
    let mut compressor = laz::LasZipCompressor::new(target, LazVlr::from_buffer(&b).unwrap()).unwrap();
    match chunks {
        None => compressor.compress_many(&seen.bytes).unwrap(),
        Some(sizes) => {
            let mut rest = seen.bytes.as_slice();
            for (i, size) in sizes.iter().enumerate() {
                if i > 0 {
                    compressor.finish_current_chunk().unwrap();
                }
                let (now, later) = rest.split_at(size * seen.length);
                compressor.compress_many(now).unwrap();
                rest = later;
            }
        }
    }
    compressor.done().unwrap();
    compressor.into_inner().into_inner()
}

#[test]
fn chunks_of_any_size_are_read() {
    let folder = tempfile::tempdir().unwrap();
    for format in [3, 8] {
        let path = Spec::new(format, 300_000).extra_bytes(2).write(&folder.path().join("in.laz"));
        let expected = read(&path).unwrap();
        // One chunk that is too large to be decoded whole; many small ones; sizes that differ.
        let large = recompressed(&path, |v| v.with_fixed_chunk_size(1 << 20), None);
        let small = recompressed(&path, |v| v.with_fixed_chunk_size(777), None);
        let sizes = [1, 7, 100_000, 2, 199_990];
        let variable = recompressed(&path, LazVlrBuilder::with_variable_chunk_size, Some(&sizes));
        for (what, bytes) in [("large", large), ("small", small), ("variable", variable)] {
            std::fs::write(&path, bytes).unwrap();
            assert!(read(&path).unwrap() == expected, "{what} chunks of format {format}");
        }
    }
}

#[test]
fn files_of_writers_that_could_not_seek_are_read() {
    let folder = tempfile::tempdir().unwrap();
    for format in [1, 7] {
        let path = Spec::new(format, 130_000).write(&folder.path().join("in.laz"));
        let expected = read(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let offset = u32::from_le_bytes(whole[96..100].try_into().unwrap()) as usize;
        let table = u64::from_le_bytes(whole[offset..offset + 8].try_into().unwrap());

        let mut unknown = whole.clone();
        unknown[offset..offset + 8].fill(0xff);
        let mut appended = unknown.clone();
        appended.extend(table.to_le_bytes());
        std::fs::write(&path, &appended).unwrap();
        assert!(read(&path).unwrap() == expected, "the table's offset at the end, format {format}");

        // No table at all: the file ends with the points, or with zeros after them.
        unknown.truncate(table as usize);
        unknown.extend([0; 16]);
        std::fs::write(&path, &unknown).unwrap();
        assert!(read(&path).unwrap() == expected, "no table, format {format}");
    }
}

#[test]
fn columns_of_another_length_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let small = Spec::new(0, 100).write(&folder.path().join("small.las"));
    let large = Spec::new(0, 200).write(&folder.path().join("large.las"));
    let columns = columns(&read(&small).unwrap(), "slope");
    let output = folder.path().join("out.las");
    let error = write_with_columns(&large, &output, &columns, &WriteOptions::default()).unwrap_err();
    assert!(error.to_string().contains("200 points") && error.to_string().contains("100 values"), "{error}");
    assert!(!output.exists());
}

#[test]
fn dimensions_and_records_have_their_limits() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.las");
    let refused = |spec: &Spec, what: &str| {
        let path = spec.write(&folder.path().join("in.las"));
        let columns = columns(&read(&path).unwrap(), "slope");
        let error = write_with_columns(&path, &output, &columns, &WriteOptions::default()).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        assert!(!output.exists());
    };
    let many: Vec<u8> = (0..341).flat_map(|i| files::descriptor(1, 0, &format!("d{i}"))).collect();
    refused(
        &Spec::new(0, 20).extra_bytes(341).vlr(files::vlr("LASF_Spec", 4, &many)),
        "342 extra dimensions",
    );
    refused(&Spec::new(0, 20).extra_bytes(u16::MAX - 20), "65539 bytes");
}

/// Flags of a record by the specification: deleted points are marked in bit 7 of the class in formats below 6, in
/// bit 2 of byte 15 from there on.
#[test]
fn classes_and_withheld_flags_are_read_from_every_format() {
    let folder = tempfile::tempdir().unwrap();
    for format in 0..=10 {
        let path = Spec::new(format, 500).write(&folder.path().join("in.laz"));
        let cloud = read(&path).unwrap();
        let all = las::Reader::from_path(&path).unwrap().read_all().unwrap();
        let points: Vec<_> = all.points().map(Result::unwrap).collect();
        assert!(cloud.withheld.iter().copied().eq(points.iter().map(|p| p.is_withheld)), "format {format}");
        assert!(cloud.withheld.contains(&true) && cloud.withheld.contains(&false));

        let ignored = cloud.ignored(&[7, 18], true).unwrap();
        let expected = cloud.classification.iter().zip(&cloud.withheld);
        assert!(ignored.iter().copied().eq(expected.map(|(c, w)| *c == 7 || *c == 18 || *w)));
        assert_eq!(cloud.ignored(&[], false), None);
        assert_eq!(cloud.ignored(&[], true).as_ref(), Some(&cloud.withheld));
    }
}

/// What the report says of a file's units: of x and y, of z, and how it is known.
fn units(spec: &Spec) -> (Unit, Unit, UnitSource) {
    let folder = tempfile::tempdir().unwrap();
    let cloud = read(spec.write(&folder.path().join("in.las"))).unwrap();
    let engine = Engine::builder().backend(Backend::Cpu).build().unwrap();
    let report = engine.neighbors(&cloud.cloud(), Neighborhood::knn(1).unwrap()).unwrap().1;
    (report.unit, report.vertical_unit, report.unit_source)
}

#[test]
fn units_come_from_the_reference_system() {
    let crs = |record, data: &[u8]| files::vlr("LASF_Projection", record, data);
    let keys = |entries: &[[u16; 4]]| {
        let header = [1, 1, 0, entries.len() as u16];
        let data: Vec<u8> =
            std::iter::once(&header).chain(entries).flatten().flat_map(|v| v.to_le_bytes()).collect();
        crs(34735, &data)
    };
    let plain = |format| {
        let mut spec = Spec::new(format, 20);
        spec.vlrs.clear();
        spec
    };
    assert_eq!(units(&plain(1)), (Unit::Metre, Unit::Metre, UnitSource::Assumed));
    let feet = plain(1).vlr(keys(&[[1024, 0, 1, 1], [3076, 0, 1, 9002]]));
    assert_eq!(units(&feet), (Unit::Foot, Unit::Foot, UnitSource::Crs));
    let mixed = plain(3).vlr(keys(&[[3076, 0, 1, 9001], [4099, 0, 1, 9003]]));
    assert_eq!(units(&mixed), (Unit::Metre, Unit::UsSurveyFoot, UnitSource::Crs));
    let text = br#"PROJCS["x",GEOGCS["g",UNIT["degree",0.01]],UNIT["US survey foot",0.3048006096012192]]"#;
    let wkt = plain(7).vlr(crs(2112, text));
    assert_eq!(units(&wkt), (Unit::UsSurveyFoot, Unit::UsSurveyFoot, UnitSource::Crs));
    let far = plain(7).evlr(crs(2112, text));
    assert_eq!(units(&far), (Unit::UsSurveyFoot, Unit::UsSurveyFoot, UnitSource::Crs));
    let degrees = plain(7).vlr(crs(2112, br#"GEOGCS["WGS 84",UNIT["degree",0.01]]"#));
    assert_eq!(units(&degrees), (Unit::Metre, Unit::Metre, UnitSource::Assumed));

    let folder = tempfile::tempdir().unwrap();
    let cloud = read(degrees.write(&folder.path().join("in.las"))).unwrap();
    assert!(cloud.unit_note.is_some_and(|note| note.contains("longitude")));
    let cloud = read(feet.write(&folder.path().join("in.las"))).unwrap();
    assert_eq!(cloud.cloud().with_unit(Unit::Metre).unit(), Unit::Metre, "the caller knows better");
}

#[test]
fn flags_are_written_as_integers() {
    let folder = tempfile::tempdir().unwrap();
    let path = Spec::new(3, 300).write(&folder.path().join("in.las"));
    let cloud = read(&path).unwrap();
    let ignored = cloud.ignored(&[1, 2, 3], false).unwrap();
    let engine = Engine::builder().backend(Backend::Cpu).build().unwrap();
    let set = FeatureSet::parse("planarity,neighbor_count").unwrap();
    let neighborhood = Neighborhood::knn(2).unwrap();
    let (columns, _) = engine.features(&cloud.cloud().ignoring(&ignored), &set, neighborhood).unwrap();
    let options = WriteOptions::default().flags(true);
    let output = folder.path().join("out.laz");
    let summary = write_with_columns(&path, &output, &columns, &options).unwrap();
    assert_eq!(summary.added, ["Planarity", "NeighborCount", "Flags"]);
    let seen = see(&output);
    assert!(seen.u32s("Flags").iter().eq(columns.flags()));
    assert!(seen.u32s("Flags").iter().zip(&ignored).all(|(f, out)| (*f == Flags::LEFT_OUT.0) == *out));
    // Points without a value keep a count from being an integer.
    assert!(seen.f32s("NeighborCount").iter().zip(&ignored).all(|(n, out)| n.is_nan() == *out));
    let again = write_with_columns(&output, folder.path().join("again.las"), &columns, &options.flags(true));
    assert!(matches!(again, Err(Error::ColumnExists { .. })));
}
