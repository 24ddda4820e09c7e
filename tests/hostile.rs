//! Damaged and forged files: an error or a cloud, never a panic, an abort or memory that the file does not justify.
#![cfg(feature = "las")]

mod files;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Cursor;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use files::{Spec, descriptor, vlr};
use laz::compressors::IntegerCompressorBuilder;
use laz::encoders::ArithmeticEncoder;
use laz::las::v2::LasPoint0Compressor;
use laz::models::ArithmeticModelBuilder;
use laz::record::FieldCompressor;
use lidar_features::las::{WriteOptions, check_output, read, write_with_columns};
use lidar_features::{Backend, Engine, Error, FeatureSet, Neighborhood};

/// Remembers the largest single allocation.
struct Largest;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code)]
// SAFETY: every call goes to the system's allocator with the arguments it was given.
unsafe impl GlobalAlloc for Largest {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        unsafe { System.realloc(old, layout, size) }
    }
    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Largest = Largest;

/// One test at a time: the largest allocation is the process's.
static ONE: Mutex<()> = Mutex::new(());

/// No test file holds more than some megabytes of records, so nothing justifies more.
const MOST_BYTES: usize = 64 << 20;

struct Ground {
    folder: tempfile::TempDir,
    _alone: std::sync::MutexGuard<'static, ()>,
}

impl Ground {
    fn new() -> Self {
        let alone = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // What the library contains would print thousands of traces.
        std::panic::set_hook(Box::new(|panic| {
            if panic.location().is_some_and(|at| at.file() == file!()) {
                eprintln!("{panic}");
            }
        }));
        Self { folder: tempfile::tempdir().unwrap(), _alone: alone }
    }

    fn file(&self, spec: &Spec, ending: &str) -> Vec<u8> {
        std::fs::read(spec.write(&self.folder.path().join(format!("made.{ending}")))).unwrap()
    }

    /// Reads a file of these bytes, and plans an output from it.
    fn open(&self, bytes: &[u8]) -> Result<usize, Error> {
        let path = self.folder.path().join("hostile.las");
        std::fs::write(&path, bytes).unwrap();
        LARGEST.store(0, Ordering::Relaxed);
        let start = Instant::now();
        let cloud = read(&path);
        let planned = self.plan(&path);
        let (largest, took) = (LARGEST.load(Ordering::Relaxed), start.elapsed());
        assert!(largest < MOST_BYTES, "{largest} bytes allocated at once for a file of {}", bytes.len());
        assert!(took < Duration::from_secs(20), "{took:?}");
        if let (Ok(cloud), Err(error)) = (&cloud, planned) {
            // The extra bytes' descriptions may be damaged where the points are not.
            assert!(
                matches!(error, Error::Las { .. } | Error::ColumnExists { .. }),
                "{} {error}",
                cloud.len()
            );
        }
        cloud.map(|cloud| cloud.len())
    }

    /// Writes the file that `open` was given last with a column, as LAZ.
    fn write(&self, refused: bool) {
        let (path, output) = (self.folder.path().join("hostile.las"), self.folder.path().join("out.laz"));
        let engine = Engine::builder().backend(Backend::Cpu).build().unwrap();
        let set = FeatureSet::parse("neighbor_count").unwrap();
        let cloud = read(&path).unwrap();
        let (columns, _) = engine.features(&cloud.cloud(), &set, Neighborhood::knn(3).unwrap()).unwrap();
        LARGEST.store(0, Ordering::Relaxed);
        let written = write_with_columns(&path, &output, &columns, &WriteOptions::default());
        let largest = LARGEST.load(Ordering::Relaxed);
        assert!(largest <= MOST_BYTES, "{largest} bytes allocated at once");
        assert!(written.is_err() == refused, "{written:?}");
        assert_eq!(output.exists(), !refused);
        let _ = std::fs::remove_file(output);
    }

    fn plan(&self, path: &Path) -> Result<(), Error> {
        let set = FeatureSet::parse("planarity").unwrap();
        check_output(
            path,
            self.folder.path().join("out.laz"),
            &set,
            &[Neighborhood::knn(8).unwrap()],
            &WriteOptions::default(),
        )
    }

    #[track_caller]
    fn refused(&self, bytes: &[u8]) -> String {
        match self.open(bytes) {
            Err(Error::Las { message, .. }) => message,
            other => panic!("{other:?} instead of a damaged file"),
        }
    }
}

/// Formats with sequential and with layered compression, extra bytes described, an EVLR where there can be one.
fn specs() -> Vec<Spec> {
    let described = || vlr("LASF_Spec", 4, &[descriptor(3, 0, "one"), descriptor(9, 0, "two")].concat());
    vec![
        Spec::new(3, 3_000).extra_bytes(7).vlr(described()),
        Spec::new(8, 3_000).extra_bytes(6).vlr(described()).evlr(vlr("someone", 9, &[3; 500])),
    ]
}

fn patched(bytes: &[u8], at: usize, value: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out[at..at + value.len()].copy_from_slice(value);
    out
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

#[test]
fn truncated_files_are_refused_wherever_they_end() {
    let ground = Ground::new();
    for spec in specs() {
        for ending in ["las", "laz"] {
            let whole = ground.file(&spec, ending);
            assert_eq!(ground.open(&whole).unwrap(), 3_000);
            let points = u32_at(&whole, 96);
            let mut ends =
                vec![0, 1, 3, 4, 23, 24, 25, 26, 93, 94, 95, 96, 226, 227, 228, 234, 235, 374, 375, 376];
            for around in [points, points + 8, whole.len()] {
                ends.extend((-9i64..=9).map(|d| (around as i64 + d) as usize));
            }
            ends.extend((0..200).map(|i| i * whole.len() / 200));
            for end in ends.into_iter().filter(|&end| end < whole.len()) {
                match ground.open(&whole[..end]) {
                    Err(Error::Las { .. }) => {}
                    // What is cut off may be padding of the chunk table.
                    Ok(3_000) if ending == "laz" && end > whole.len() - 16 => {}
                    other => panic!("{ending} cut at {end} of {}: {other:?}", whole.len()),
                }
            }
        }
    }
}

#[test]
fn forged_headers_are_refused_with_their_numbers() {
    let ground = Ground::new();
    for spec in specs() {
        for ending in ["las", "laz"] {
            let whole = ground.file(&spec, ending);
            let refused = |at: usize, value: &[u8]| ground.refused(&patched(&whole, at, value));
            assert!(refused(0, b"GIF8").contains("LASF"));
            assert!(refused(24, &[2]).contains("2."));
            assert!(refused(25, &[9]).contains("1.9"));
            for size in [0u16, 226, u16::MAX] {
                assert!(refused(94, &size.to_le_bytes()).contains(&size.to_string()));
            }
            for offset in [0u32, 226, whole.len() as u32 + 1, u32::MAX] {
                assert!(refused(96, &offset.to_le_bytes()).contains(&offset.to_string()));
            }
            for count in [100u32, u32::MAX] {
                assert!(refused(100, &count.to_le_bytes()).contains(&count.to_string()));
            }
            refused(104, &[11 | whole[104] & 0x80]);
            for length in [0u16, 19, u16::MAX] {
                refused(105, &length.to_le_bytes());
            }
            for count in [500_000u32, u32::MAX] {
                // The legacy count wins over the 64-bit one when it is not zero.
                assert!(refused(107, &count.to_le_bytes()).contains(&count.to_string()));
            }
            if spec.format >= 6 {
                let no_legacy = patched(&whole, 107, &[0; 4]);
                for count in [500_000u64, u64::MAX / 38, u64::MAX] {
                    let message = ground.refused(&patched(&no_legacy, 247, &count.to_le_bytes()));
                    assert!(message.contains(&count.to_string()), "{message}");
                }
                for start in [1u64, whole.len() as u64, u64::MAX] {
                    refused(235, &start.to_le_bytes());
                }
                refused(243, &u32::MAX.to_le_bytes());
                let evlr = u64::from_le_bytes(whole[235..243].try_into().unwrap()) as usize;
                refused(evlr + 20, &u64::MAX.to_le_bytes());
                refused(evlr + 20, &(whole.len() as u64).to_le_bytes());
            }
            // The first variable-length record claims to reach into the points.
            let header = usize::from(u16::from_le_bytes([whole[94], whole[95]]));
            refused(header + 20, &u16::MAX.to_le_bytes());
        }
    }
}

#[test]
fn forged_compression_is_refused() {
    let ground = Ground::new();
    for spec in specs() {
        let whole = ground.file(&spec, "laz");
        let points = u32_at(&whole, 96);
        let table = u64::from_le_bytes(whole[points..points + 8].try_into().unwrap()) as usize;
        let refused = |at: usize, value: &[u8]| ground.refused(&patched(&whole, at, value));
        // The number of chunks: laz alone allocates sixteen bytes for each.
        for count in [2_000_000u32, u32::MAX] {
            assert!(refused(table + 4, &count.to_le_bytes()).contains(&count.to_string()));
        }
        assert!(refused(table + 4, &0u32.to_le_bytes()).contains("hold 0"));
        for offset in [whole.len() as u64, i64::MAX as u64] {
            assert!(refused(points, &offset.to_le_bytes()).contains("truncated"));
        }
        refused(points, &(points as u64 + 8).to_le_bytes());

        let user = whole.windows(14).position(|w| w == b"laszip encoded").unwrap();
        let laszip = user - 2 + 54;
        for compressor in [0u16, 1 + 2 * u16::from(spec.format < 6), 4, u16::MAX] {
            refused(laszip, &compressor.to_le_bytes());
        }
        for items in [0u16, 1, u16::MAX] {
            refused(laszip + 32, &items.to_le_bytes());
        }
        for field in [0, 2, 4] {
            refused(laszip + 34 + field, &u16::MAX.to_le_bytes());
        }
        // Chunks of another size than they have; a chunk of all points is one that exists.
        refused(laszip + 12, &1u32.to_le_bytes());
        refused(user, b"laszip decoded");

        if spec.format >= 6 {
            // The lengths of the first chunk's layers: laz alone allocates what each claims.
            let layers = points + 8 + usize::from(u16::from_le_bytes([whole[105], whole[106]])) + 4;
            for layer in 0..17 {
                assert!(refused(layers + 4 * layer, &u32::MAX.to_le_bytes()).contains("promised"), "{layer}");
            }
            assert!(refused(layers - 4, &[0; 4]).contains("holds 0 points"));
        }
    }
}

#[test]
fn a_waveform_record_cannot_begin_at_the_end_of_all_numbers() {
    let ground = Ground::new();
    let whole = ground.file(&specs()[1], "las");
    let waveforms = patched(&whole, 6, &(whole[6] | 2).to_le_bytes());
    for start in [u64::MAX, u64::MAX - 59, whole.len() as u64] {
        ground.refused(&patched(&waveforms, 227, &start.to_le_bytes()));
    }
}

/// Ten million switches between sequences of GPS times, for each of which laz calls itself, in some 500 bytes: then a time.
fn switches<W: std::io::Write>(encoder: &mut ArithmeticEncoder<W>, symbols: u32, symbol: u32, time: u32) {
    let mut model = ArithmeticModelBuilder::new(symbols).build();
    (0..10_000_000).for_each(|_| encoder.encode_symbol(&mut model, symbol).unwrap());
    encoder.encode_symbol(&mut model, time).unwrap();
    let mut values = IntegerCompressorBuilder::new().bits(32).contexts(9).build_initialized();
    values.compress(encoder, 0, 77, 0).unwrap();
}

fn encoded(work: impl FnOnce(&mut ArithmeticEncoder<Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut encoder = ArithmeticEncoder::new(Cursor::new(Vec::new()));
    work(&mut encoder);
    encoder.done().unwrap();
    encoder.into_inner().into_inner()
}

/// A file whose only chunk is this one, without a chunk table.
fn of_chunk(whole: &[u8], chunk: &[&[u8]]) -> Vec<u8> {
    let none = (-1i64).to_le_bytes();
    [&whole[..u32_at(whole, 96)], &none, &chunk.concat(), &none].concat()
}

#[test]
fn times_that_switch_without_end_do_not_take_the_stack() {
    let ground = Ground::new();
    let whole = ground.file(&Spec::new(1, 2), "laz");
    let first = &whole[u32_at(&whole, 96) + 8..][..28];
    let second = encoded(|encoder| {
        let mut point = LasPoint0Compressor::default();
        point.compress_first(&mut Cursor::new(Vec::new()), &first[..20]).unwrap();
        point.compress_with(encoder, &first[..20]).unwrap();
        switches(encoder, 6, 3, 1);
    });
    assert!(second.len() < 2_000);
    assert!(ground.refused(&of_chunk(&whole, &[first, &second])).contains("switch"));

    let whole = ground.file(&Spec::new(6, 2), "laz");
    let first = &whole[u32_at(&whole, 96) + 8..][..30];
    let returns = encoded(|encoder| {
        // Only the time is another.
        encoder.encode_symbol(&mut ArithmeticModelBuilder::new(128).build(), 1 << 4).unwrap();
        for contexts in [2, 22] {
            let mut values = IntegerCompressorBuilder::new().bits(32).contexts(contexts).build_initialized();
            values.compress(encoder, 0, 0, 1).unwrap();
        }
    });
    let times = encoded(|encoder| switches(encoder, 5, 2, 0));
    let mut lengths = [0; 36];
    lengths[..4].copy_from_slice(&(returns.len() as u32).to_le_bytes());
    lengths[32..].copy_from_slice(&(times.len() as u32).to_le_bytes());
    let chunk = [first, &2u32.to_le_bytes(), &lengths, &returns, &times];
    // A cloud has no times. A copy of the file has.
    assert_eq!(ground.open(&of_chunk(&whole, &chunk)).unwrap(), 2);
    ground.write(true);
}

#[test]
fn memory_does_not_follow_the_length_of_records() {
    let ground = Ground::new();
    // laz takes 2 kB for each extra byte of a record, four times that in layers, by each thread; and a chunk's
    // points at once, before there are any.
    for (format, refused) in [(3, false), (6, true)] {
        let plain = ground.file(&Spec::new(format, 2).extra_bytes(20_000), "las");
        assert_eq!(ground.open(&plain).unwrap(), 2);
        let packed = ground.file(&Spec::new(format, 2).extra_bytes(20_000), "laz");
        let result = ground.open(&packed);
        match result {
            Err(Error::Las { message, .. }) if refused => assert!(message.contains("of memory"), "{message}"),
            Ok(2) if !refused => {}
            other => panic!("{format}: {other:?}"),
        }
        std::fs::write(ground.folder.path().join("hostile.las"), &plain).unwrap();
        ground.write(refused);
    }
}
