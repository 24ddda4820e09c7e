//! Thousands of damaged LAS and LAZ files: a cloud or a typed error for each, in bounded memory, never a panic.
//!
//! A mutant is made from its number alone. `LIDAR_FEATURES_MUTANTS=n` makes n of each kind instead of 10,000,
//! `LIDAR_FEATURES_FIRST_MUTANT=i` begins with number i: a failure that names mutant i is repeated with that and n = 1.
//! `LIDAR_FEATURES_ORIGINALS=folder` puts the files to damage there, for fuzzing (scripts/fuzz).
#![cfg(feature = "las")]

mod bytes;
#[path = "../files/mod.rs"]
mod files;
mod memory;
mod mutate;
mod originals;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use files::Random;
use lidar_features::las::{LasCloud, ReadOptions, WriteOptions, read, read_with, write_with_columns};
use lidar_features::{Backend, Engine, Error, FeatureSet, Neighborhood};

/// Bytes that one mutant may take at once: an original has 20 kB.
const MOST_BYTES: usize = 256 << 20;
/// Only tells a mutant that never ends from one on a slow machine.
const HANGS: Duration = Duration::from_secs(180);
/// Of so many mutants one is written with a column, if it can be read.
const WRITTEN: u64 = 8;

/// What became of a mutant.
type Outcome = Result<&'static str, String>;

struct Files {
    mutant: PathBuf,
    output: PathBuf,
}

impl Files {
    /// Reads a mutant and writes some; `Err` says what must not happen.
    fn outcome(&self, random: &mut Random, engine: &Engine) -> Outcome {
        let cloud = match random.below(2) {
            0 => read_with(&self.mutant, &ReadOptions::default().limit(1 + random.below(300))),
            _ => read(&self.mutant),
        };
        match cloud {
            Ok(_) if random.below(WRITTEN) == 0 => self.write(engine),
            Ok(_) => Ok("read"),
            Err(error) => refusal(&error),
        }
    }

    /// Computes columns, writes them and reads the output back: it is the same cloud.
    fn write(&self, engine: &Engine) -> Outcome {
        let cloud = read(&self.mutant);
        let Ok(cloud) = cloud else { return Ok("read up to the limit only") };
        let set = FeatureSet::parse("vertical_range,neighbor_count").map_err(|e| e.to_string())?;
        let neighborhood = Neighborhood::knn(3).map_err(|e| e.to_string())?;
        let columns = match engine.features(&cloud.cloud(), &set, neighborhood) {
            Ok((columns, _)) => columns,
            // Damaged coordinates may be wider than the lattice.
            Err(error) => return refusal(&error).map(|_| "read, not computed"),
        };
        let output = &self.output;
        let written = write_with_columns(&self.mutant, output, &columns, &WriteOptions::default());
        let outcome = match written {
            Ok(_) => match read(output) {
                Ok(back) if back == cloud => Ok("written"),
                Ok(back) => Err(format!("the written file has other {}", differences(&back, &cloud))),
                Err(error) => Err(format!("the written file cannot be read: {error}")),
            },
            Err(_) if output.exists() => Err("a file was left where writing failed".to_owned()),
            Err(error) => refusal(&error).map(|_| "read, not written"),
        };
        let _ = std::fs::remove_file(output);
        outcome
    }
}

/// Which columns of two clouds differ.
fn differences(a: &LasCloud, b: &LasCloud) -> String {
    let equal = [
        ("coordinates", a.lattice() == b.lattice()),
        ("colours", a.rgb == b.rgb),
        ("near-infrared", a.nir == b.nir),
        ("intensity", a.intensity == b.intensity),
        ("classes", a.classification == b.classification),
        ("flags", a.withheld == b.withheld),
        ("notes", a.unit_note == b.unit_note),
    ];
    equal.iter().filter(|(_, equal)| !equal).map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The kinds of error that a damaged file may end in. [`Error::Io`] is none of them: nothing failed but the file.
fn refusal(error: &Error) -> Outcome {
    match error {
        Error::Las { message, .. } if message.contains("damaged: ") => Ok("Error::Las, the decoder panicked"),
        Error::Las { .. } => Ok("Error::Las"),
        Error::NonFinite { .. } => Ok("Error::NonFinite"),
        Error::InvalidQuantum(_) => Ok("Error::InvalidQuantum"),
        Error::ExtentTooLarge { .. } => Ok("Error::ExtentTooLarge"),
        Error::TooManyPoints { .. } => Ok("Error::TooManyPoints"),
        Error::ColumnExists { .. } => Ok("Error::ColumnExists"),
        error => Err(format!("{error:?}")),
    }
}

/// What all mutants of one kind came to.
#[derive(Default)]
struct Totals {
    outcomes: BTreeMap<&'static str, usize>,
    failures: Vec<String>,
    most_bytes: usize,
    slowest: Duration,
}

struct Kind {
    originals: Vec<Vec<u8>>,
    ending: &'static str,
    numbers: std::ops::Range<u64>,
}

impl Kind {
    fn mutant(&self, number: u64) -> (Vec<u8>, Random) {
        let mut random = Random(0x1a5 ^ (number << 16));
        let pick = |random: &mut Random| &self.originals[random.below(self.originals.len() as u64) as usize];
        let (mut bytes, other) = (pick(&mut random).clone(), pick(&mut random));
        mutate::mutate(&mut random, &mut bytes, other);
        (bytes, random)
    }

    /// Makes and tries mutants until none is left; tells `beats` after each.
    fn work(
        &self,
        next: &AtomicU64,
        folder: &Path,
        worker: usize,
        totals: &Mutex<Totals>,
        beats: &[AtomicU64],
    ) {
        // Everything that a mutant allocates is then allocated by this thread.
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().unwrap();
        let engine = Engine::builder().backend(Backend::Cpu).build().unwrap();
        // After an abort, this file is the mutant.
        let files = Files {
            mutant: folder.join(format!("mutant-{worker}.{}", self.ending)),
            output: folder.join(format!("output-{worker}.laz")),
        };
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= self.numbers.end {
                break;
            }
            beats[worker].store(number, Ordering::Relaxed);
            let (bytes, mut random) = self.mutant(number);
            std::fs::write(&files.mutant, &bytes).unwrap();
            let start = Instant::now();
            let tried = || alone.install(|| files.outcome(&mut random, &engine));
            let (outcome, most) = memory::peak(|| catch_unwind(AssertUnwindSafe(tried)));
            let mut totals = totals.lock().unwrap();
            totals.slowest = totals.slowest.max(start.elapsed());
            totals.most_bytes = totals.most_bytes.max(most);
            let mut fail =
                |what: String| totals.failures.push(format!("{} mutant {number}: {what}", self.ending));
            if most > MOST_BYTES {
                fail(format!("{most} bytes for a file of {}", bytes.len()));
            }
            match outcome {
                Ok(Ok(kind)) => *totals.outcomes.entry(kind).or_default() += 1,
                Ok(Err(what)) => fail(what),
                Err(_) => fail("a panic".to_owned()),
            }
        }
    }

    fn run(&self, folder: &Path) -> Totals {
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        let (next, totals) = (AtomicU64::new(self.numbers.start), Mutex::new(Totals::default()));
        let beats: Vec<_> = (0..workers).map(|_| AtomicU64::new(u64::MAX)).collect();
        let (done, over) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let beats = &beats;
            scope.spawn(move || guard(beats, &over));
            std::thread::scope(|scope| {
                for worker in 0..workers {
                    let (next, totals) = (&next, &totals);
                    scope.spawn(move || {
                        self.work(next, folder, worker, totals, beats);
                        beats[worker].store(u64::MAX, Ordering::Relaxed);
                    });
                }
            });
            drop(done);
        });
        totals.into_inner().unwrap()
    }
}

/// Ends the process if a worker stays with one mutant: a thread that hangs cannot be stopped.
fn guard(beats: &[AtomicU64], over: &mpsc::Receiver<()>) {
    let mut seen: Vec<_> = beats.iter().map(|_| (u64::MAX, Instant::now())).collect();
    while over.recv_timeout(Duration::from_millis(200)) == Err(mpsc::RecvTimeoutError::Timeout) {
        for (beat, seen) in beats.iter().zip(&mut seen) {
            let number = beat.load(Ordering::Relaxed);
            if number != seen.0 {
                *seen = (number, Instant::now());
            } else if number != u64::MAX && seen.1.elapsed() > HANGS {
                eprintln!("mutant {number} does not end within {HANGS:?}");
                std::process::exit(101);
            }
        }
    }
}

/// Memory-backed where there is such a folder: some outputs are synced to the disk.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |n| n.parse().unwrap_or_else(|_| panic!("{variable}={n}")))
}

#[test]
fn originals_are_sound_and_mutants_repeat() {
    let folder = folder();
    for (compressed, ending, count) in [(false, "las", 11), (true, "laz", 33)] {
        let kind = Kind { originals: originals::originals(folder.path(), compressed), ending, numbers: 0..0 };
        assert_eq!(kind.originals.len(), count);
        for (i, bytes) in kind.originals.iter().enumerate() {
            let path = folder.path().join(format!("{i}.{ending}"));
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(read(&path).unwrap().len(), 240, "{ending} {i}");
            // The las crate reads it too: what is damaged was whole.
            assert_eq!(files::see(&path).len(), 240);
            if let Ok(seeds) = std::env::var("LIDAR_FEATURES_ORIGINALS") {
                std::fs::copy(&path, Path::new(&seeds).join(format!("{i}.{ending}"))).unwrap();
            }
        }
        assert_eq!(kind.mutant(7).0, kind.mutant(7).0);
        assert_ne!(kind.mutant(7).0, kind.mutant(8).0);
    }
}

#[test]
fn mutants_are_read_or_refused() {
    // What the library contains would print thousands of traces; each place is told once.
    static PLACES: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        *PLACES.lock().unwrap().entry(at).or_default() += 1;
    }));
    let (count, first) = (number("LIDAR_FEATURES_MUTANTS", 10_000), number("LIDAR_FEATURES_FIRST_MUTANT", 0));
    let folder = folder();
    let mut failures = Vec::new();
    for (compressed, ending) in [(false, "las"), (true, "laz")] {
        let originals = originals::originals(folder.path(), compressed);
        let kind = Kind { originals, ending, numbers: first..first + count };
        let start = Instant::now();
        let totals = kind.run(folder.path());
        println!(
            "{count} {ending} mutants in {:.1} s, most memory {} kB, slowest {:.0} ms: {:?}",
            start.elapsed().as_secs_f64(),
            totals.most_bytes >> 10,
            1e3 * totals.slowest.as_secs_f64(),
            totals.outcomes
        );
        let of = |name| totals.outcomes.get(name).copied().unwrap_or(0) as u64;
        failures.extend(totals.failures);
        if count >= 1000 {
            assert!(of("read") > count / 20 && of("written") > count / 200 && of("Error::Las") > count / 20);
        }
    }
    for (place, count) in PLACES.lock().unwrap().iter() {
        println!(
            "{count} contained panics at {}",
            place.rsplit_once("/src/").map_or(&**place, |(_, end)| end)
        );
    }
    // The hook is silent about this test's own panic too.
    failures.iter().take(20).for_each(|failure| println!("{failure}"));
    assert!(failures.is_empty(), "{} failures", failures.len());
}
