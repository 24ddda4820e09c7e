//! How much work goes into one submission.
//!
//! A desktop draws nothing while a submission runs, and Windows resets a GPU that takes 2 s for one. What a kernel takes for an
//! item is measured, so that a submission is expected to end in time: a fast GPU gets a chunk in one, a slow one in as many as
//! it needs. Batches of a dispatch and submissions run in order, so that results do not depend on where they are cut.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::kernel::Kernel;
use crate::neighborhood::Rule;

/// Seconds that a submission is expected to take at most: half of what it may, since items are not all alike.
const AIM: f64 = 0.025;
/// Seconds for an item of a search until it is known: a tenth of what slow GPUs of a kind do.
const FIRST_DISCRETE: f64 = 1e-7;
const FIRST_OTHER: f64 = 1e-6;
/// Kernels that only pass over their items, against a search.
const STREAMING: f64 = 1.0 / 16.0;
/// Seconds below which a measurement tells of the driver and not of the kernel: it is then no more than an upper bound.
const SHORTEST_STAMPED: f64 = 5e-4;
const SHORTEST_WAITED: f64 = 5e-3;
/// What was measured once is believed at once where it is slower, and by this factor where it is faster.
const RELIEF: f64 = 1.0 / 8.0;
/// Fewer items do not fill a GPU.
const LEAST_ITEMS: u32 = 1 << 12;
/// Kernels that are remembered; a caller that cycles through more variants starts over.
const MOST_KEPT: usize = 256;

/// What runs between two time stamps: kernels with their items.
pub(crate) type Work = Vec<(Kernel, u32)>;

/// What is known of a device's speed.
#[derive(Debug)]
pub(crate) struct Pace {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Seconds that a submission is expected to take at most; infinite where nobody watches.
    aim: f64,
    /// Seconds for an item of a search that is not known yet.
    first: f64,
    least: u32,
    /// Seconds for an item.
    known: HashMap<Kernel, f64>,
    fixed: bool,
}

impl Pace {
    /// What is assumed of an adapter of that kind. Nothing ends what a software adapter does, however long it takes.
    pub(crate) fn new(kind: &'static str) -> Self {
        let aim = if kind == "cpu" { f64::INFINITY } else { AIM };
        let first = if kind == "discrete" { FIRST_DISCRETE } else { FIRST_OTHER };
        let state = State { aim, first, least: LEAST_ITEMS, known: HashMap::new(), fixed: false };
        Self { state: Mutex::new(state) }
    }

    /// To be told of each call: what a radius holds is another number in every cloud, so that what one took says nothing about
    /// the next.
    pub(crate) fn begin(&self, rule: Rule) {
        if !rule.cuts {
            self.lock().known.clear();
        }
    }

    /// Items of one dispatch, at most `most`.
    pub(crate) fn items(&self, kernel: &Kernel, most: u32) -> u32 {
        if !divides(kernel) {
            return most;
        }
        let state = self.lock();
        let fitting = state.aim / state.seconds_of(kernel);
        // The cast saturates.
        most.min((fitting as u32).max(state.least.div_ceil(kernel.alike())))
    }

    /// Cuts dispatches that follow each other into parts that fit a submission. The first goes on in the one that is being
    /// recorded, which is expected to take `spent` seconds so far; each other begins a new one.
    pub(crate) fn parts(&self, dispatches: &[(&Kernel, u32)], spent: &mut f64) -> Vec<Range<usize>> {
        let state = self.lock();
        let mut parts = Vec::new();
        let mut first = 0;
        for (i, &(kernel, items)) in dispatches.iter().enumerate() {
            let seconds = state.seconds_of(kernel) * f64::from(items);
            if *spent > 0.0 && *spent + seconds > state.aim {
                parts.push(first..i);
                (first, *spent) = (i, 0.0);
            }
            *spent += seconds;
        }
        parts.push(first..dispatches.len());
        parts
    }

    /// Learns from what a submission's parts took by its time stamps, or, where there are none, from how long the host waited
    /// for all of them.
    pub(crate) fn learn(&self, parts: &[Work], stamped: &[f64], waited: f64) {
        let mut state = self.lock();
        if stamped.is_empty() {
            state.learn(parts.iter().flatten(), waited, SHORTEST_WAITED);
        }
        for (work, &seconds) in parts.iter().zip(stamped) {
            state.learn(work.iter(), seconds, SHORTEST_STAMPED);
        }
    }

    /// Takes so many items for all that fits a submission, whatever is measured.
    #[cfg(test)]
    pub(crate) fn fix(&self, items: u32) {
        let (aim, first) = (1.0, 1.0 / f64::from(items));
        *self.lock() = State { aim, first, least: 1, known: HashMap::new(), fixed: true };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn seconds_of(&self, kernel: &Kernel) -> f64 {
        let share = if divides(kernel) || self.fixed { 1.0 } else { STREAMING };
        let items = if self.fixed { 1 } else { kernel.alike() };
        self.known.get(kernel).copied().unwrap_or(self.first * share * f64::from(items))
    }

    fn learn<'w>(&mut self, work: impl Iterator<Item = &'w (Kernel, u32)> + Clone, took: f64, shortest: f64) {
        let expected: f64 =
            work.clone().map(|(kernel, items)| self.seconds_of(kernel) * f64::from(*items)).sum();
        if self.fixed || expected <= 0.0 || !took.is_finite() {
            return;
        }
        let factor = factor(expected, took, shortest);
        // Of kernels that were timed together each takes its share of the difference, once.
        let mut changed = HashMap::new();
        for (kernel, _) in work {
            changed.entry(kernel).or_insert_with(|| self.seconds_of(kernel) * factor);
        }
        if self.known.len() + changed.len() > MOST_KEPT {
            self.known.clear();
        }
        self.known.extend(changed.into_iter().map(|(kernel, seconds)| (kernel.clone(), seconds)));
    }
}

/// By what the seconds of an item change.
fn factor(expected: f64, took: f64, shortest: f64) -> f64 {
    let factor = took.max(shortest) / expected;
    if took < shortest { factor.clamp(RELIEF, 1.0) } else { factor.max(RELIEF) }
}

/// Whether a kernel's items may go into several dispatches. Those that pass over their items are short, and the blocks of a
/// prefix sum belong together.
pub(crate) fn divides(kernel: &Kernel) -> bool {
    matches!(
        kernel,
        Kernel::Search(_) | Kernel::Sort | Kernel::Walk(_) | Kernel::Last { .. } | Kernel::Evaluate(_)
    )
}

#[cfg(test)]
mod tests {
    use super::super::fault_tests::{adapter, device, points};
    use super::*;
    use crate::cloud::PointCloud;
    use crate::engine::{Backend, Engine};
    use crate::features::FeatureSet;
    use crate::frame::Frame;
    use crate::neighborhood::Neighborhood;

    const SORT: Kernel = Kernel::Sort;
    const STREAM: Kernel = Kernel::CountCells;

    fn took(pace: &Pace, items: u32, seconds: f64) {
        pace.learn(&[vec![(SORT, items)]], &[seconds], 99.0);
    }

    #[test]
    fn a_fast_gpu_gets_all_in_one_submission_once_it_is_known() {
        let pace = Pace::new("discrete");
        assert_eq!(pace.items(&SORT, 1 << 24), 250_000);
        // 700 million a second: ten million take 15 ms.
        for _ in 0..4 {
            took(&pace, 1 << 21, 3e-3);
        }
        assert_eq!(pace.items(&SORT, 10_000_000), 10_000_000);
        let mut spent = 0.0;
        assert_eq!(pace.parts(&[(&SORT, 10_000_000)], &mut spent).len(), 1);
        assert!((0.014..0.016).contains(&spent), "{spent}");
    }

    #[test]
    fn a_slow_gpu_is_never_expected_to_take_longer_than_the_aim() {
        let pace = Pace::new("integrated");
        assert_eq!(pace.items(&SORT, 1 << 24), 25_000);
        // Seven million a second, as measured; then a denser part of the cloud, ten times as slow.
        for (seconds, most) in [(1.0 / 7.0, 175_000), (10.0 / 7.0, 17_500)] {
            took(&pace, 1_000_000, seconds);
            let items = pace.items(&SORT, 1 << 24);
            assert!(items.abs_diff(most) <= 1, "{items}");
            let mut spent = 0.0;
            let dispatches = [(&SORT, items / 2); 7];
            let parts = pace.parts(&dispatches, &mut spent);
            assert_eq!(parts, [0..2, 2..4, 4..6, 6..7]);
            assert!(spent <= AIM);
        }
        // However slow it is, it is kept busy.
        took(&pace, 1, 1.0);
        assert_eq!(pace.items(&SORT, 1 << 24), LEAST_ITEMS);
        assert_eq!(pace.items(&SORT, 100), 100);
    }

    #[test]
    fn what_is_recorded_already_counts() {
        let pace = Pace::new("integrated");
        let mut spent = 0.0;
        assert_eq!(pace.parts(&[(&STREAM, 160_000)], &mut spent).len(), 1);
        assert!((spent - 0.01).abs() < 1e-9);
        assert_eq!(pace.parts(&[(&SORT, 14_000), (&SORT, 2_000)], &mut spent), [0..1, 1..2]);
        assert!((spent - 0.002).abs() < 1e-9);
        // A part that does not fit beside what is there begins a new submission at once.
        assert_eq!(pace.parts(&[(&SORT, 25_000)], &mut spent), [0..0, 0..1]);
        // What cannot be cut goes alone.
        assert_eq!(pace.parts(&[(&STREAM, 1 << 24), (&STREAM, 1)], &mut spent), [0..0, 0..1, 1..2]);
        assert_eq!(pace.items(&STREAM, u32::MAX), u32::MAX);
    }

    #[test]
    fn short_measurements_are_upper_bounds() {
        // A thousand items in 10 µs: no more than half a millisecond.
        assert_eq!(factor(1e-3, 1e-5, 5e-4), 0.5);
        assert_eq!(factor(1e-4, 1e-5, 5e-4), 1.0);
        // Slower is believed at once, faster by and by.
        assert_eq!(factor(1e-3, 1e-1, 5e-4), 100.0);
        assert_eq!(factor(1e-1, 1e-3, 5e-4), RELIEF);
        let pace = Pace::new("discrete");
        pace.learn(&[vec![(SORT, 1000)], vec![(STREAM, 1 << 20)]], &[], 0.5);
        let state = pace.lock();
        let expected = 0.5 * FIRST_DISCRETE / (1e3 * FIRST_DISCRETE + 65536.0 * FIRST_DISCRETE);
        assert!((state.seconds_of(&SORT) / expected - 1.0).abs() < 1e-9);
        assert!((state.seconds_of(&STREAM) / (expected * STREAMING) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn radii_begin_anew_and_software_is_not_watched() {
        let pace = Pace::new("discrete");
        took(&pace, 1_000_000, 1.0);
        let rule = |cuts| Rule { k: 8, limit: Some(9), cuts, radius: None };
        pace.begin(rule(true));
        assert_eq!(pace.items(&SORT, 1 << 24), 25_000);
        pace.begin(rule(false));
        assert_eq!(pace.items(&SORT, 1 << 24), 250_000);
        let pace = Pace::new("cpu");
        took(&pace, 1, 100.0);
        assert_eq!(pace.items(&SORT, u32::MAX), u32::MAX);
        let mut spent = 0.0;
        assert_eq!(pace.parts(&[(&SORT, u32::MAX), (&SORT, u32::MAX)], &mut spent).len(), 1);
    }

    #[test]
    fn submissions_of_any_size_give_the_same_bits() {
        let Some(name) = adapter() else { return };
        let points = points();
        let cloud = PointCloud::from_lattice(&points, Frame::new([0.0; 3], 0.01).unwrap());
        let set = |names| FeatureSet::parse(names).unwrap();
        let radii = [0.5, 0.8].map(|radius| Neighborhood::radius(radius).unwrap());
        let answers = |engine: &Engine| {
            let bits = |columns: &crate::Columns| {
                let values = columns.iter().flat_map(|column| column.values.iter().map(|v| v.to_bits()));
                columns.flags().iter().copied().chain(values).collect::<Vec<_>>()
            };
            let knn = Neighborhood::knn(6).unwrap();
            let one = |names, neighborhood| {
                let (columns, report) = engine.features(&cloud, &set(names), neighborhood).unwrap();
                assert_eq!((report.backend, &report.fallback), ("gpu", &None));
                bits(&columns)
            };
            let optimal = Neighborhood::optimal(6, 24, 6).unwrap();
            let mut all =
                vec![one("normals,planarity", knn), one("plane_fit", radii[1]), one("planarity", optimal)];
            let options = crate::Options::default();
            let (scales, _) =
                engine.features_at_scales(&cloud, &set("normals,roughness"), &radii, &options).unwrap();
            all.push(bits(&scales));
            let lists =
                [engine.neighbors(&cloud, knn).unwrap().0, engine.neighbors(&cloud, radii[1]).unwrap().0];
            (all, lists)
        };
        let engine = |slots| {
            let builder = Engine::builder().backend(Backend::Gpu).adapter(&name).chunks_in_flight(slots);
            builder.chunk_points(700).build().unwrap()
        };
        let whole = engine(1);
        let expected = answers(&whole);
        let submitted = device(&whole).faults.reached(super::super::faults::Site::AfterSubmit);
        for (slots, items) in [(1, 64), (3, 64), (3, 300)] {
            let cut = engine(slots);
            cut.gpu.as_deref().unwrap().context.pace.fix(items);
            assert!(answers(&cut) == expected, "{items} items a submission, {slots} slots");
            let more = device(&cut).faults.reached(super::super::faults::Site::AfterSubmit);
            assert!(more > 3 * submitted, "{more} submissions, {submitted} of whole chunks");
        }
    }
}
