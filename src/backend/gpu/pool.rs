//! Buffers by size class, reused from chunk to chunk. The only place that creates buffers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::faults::Site;
use crate::error::{Error, Result};
use crate::report::PoolStats;

/// Smallest buffer: below, reuse matters more than bytes.
const FLOOR: u64 = 16 << 10;

/// Bytes of the class that holds `bytes`: 16 classes a doubling, so at most 1/16 is padding.
pub(crate) fn class_bytes(bytes: u64) -> u64 {
    if bytes <= FLOOR {
        return FLOOR;
    }
    let step = (1 << bytes.ilog2()) / 16;
    bytes.div_ceil(step) * step
}

/// Creates a buffer of so many bytes and usages. A closure, so that the policy is tested without a GPU.
type Create<B, U> = Box<dyn Fn(u64, U) -> Result<B> + Send + Sync>;

/// Told of the number of each buffer that the pool gives up, so that nobody else keeps its memory alive.
type GivenUp = Box<dyn Fn(u64) + Send>;

/// Hands out buffers and takes them back when they drop.
pub(crate) struct Pool<B, U> {
    shared: Arc<Mutex<Shared<B, U>>>,
    create: Create<B, U>,
}

struct Shared<B, U> {
    /// Oldest first.
    idle: Vec<Idle<B, U>>,
    limit: u64,
    /// Bytes of buffers that are being created: the limit holds for those as well.
    creating: u64,
    /// Whether buffers that come back wait for the next user.
    keep: bool,
    stats: PoolStats,
    given_up: GivenUp,
}

/// What the pool knows of a buffer.
#[derive(Debug, Clone, Copy)]
struct Made<U> {
    /// No two buffers of a pool ever have the same.
    number: u64,
    bytes: u64,
    usage: U,
    owner: u32,
    /// What it was last lent for.
    what: &'static str,
}

struct Idle<B, U> {
    buffer: B,
    made: Made<U>,
}

/// What a user needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    /// What will be bound.
    pub(crate) bytes: u64,
    /// What a new buffer is to have room for, so that it serves the user's next request too.
    pub(crate) room: u64,
    /// Buffers go back to their owner, so that users beside each other do not take each other's.
    pub(crate) owner: u32,
}

impl Request {
    /// A request whose size never changes.
    pub(crate) fn exactly(bytes: u64, owner: u32) -> Self {
        Self { bytes, room: bytes, owner }
    }
}

/// A buffer on loan.
pub(crate) struct Loan<B, U: Copy> {
    buffer: Option<B>,
    made: Made<U>,
    requested: u64,
    spoiled: AtomicBool,
    shared: Arc<Mutex<Shared<B, U>>>,
}

impl<B, U: Copy> Loan<B, U> {
    /// Keeps the buffer from reuse: it is in a state that its next user would not expect.
    pub(crate) fn spoil(&self) {
        self.spoiled.store(true, Ordering::Relaxed);
    }

    /// Takes the buffer out of the pool for good.
    pub(crate) fn keep(mut self) -> Option<B> {
        let mut shared = lock(&self.shared);
        shared.come_back(self.made.bytes, self.requested);
        (shared.given_up)(self.made.number);
        drop(shared);
        self.buffer.take()
    }

    /// Bytes asked for.
    pub(crate) fn requested(&self) -> u64 {
        self.requested
    }

    /// Bytes of the whole buffer.
    pub(crate) fn bytes(&self) -> u64 {
        self.made.bytes
    }

    /// The buffer's number, which no other of its pool ever has.
    pub(crate) fn number(&self) -> u64 {
        self.made.number
    }
}

impl<B, U: Copy> std::ops::Deref for Loan<B, U> {
    type Target = B;
    fn deref(&self) -> &B {
        // Only `drop` takes the buffer out.
        self.buffer.as_ref().expect("a loan holds its buffer until it drops")
    }
}

impl<B, U: Copy> Drop for Loan<B, U> {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            let mut shared = lock(&self.shared);
            shared.come_back(self.made.bytes, self.requested);
            if *self.spoiled.get_mut() || !shared.keep {
                (shared.given_up)(self.made.number);
                return;
            }
            shared.stats.bytes_idle += self.made.bytes;
            shared.idle.push(Idle { buffer, made: self.made });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B, U: Copy + PartialEq> Pool<B, U> {
    /// A pool that keeps buffers in use and idle within `limit` bytes.
    pub(crate) fn new(limit: u64, create: impl Fn(u64, U) -> Result<B> + Send + Sync + 'static) -> Self {
        let (stats, given_up) = (PoolStats::default(), Box::new(|_| {}));
        let shared = Shared { idle: Vec::new(), limit, creating: 0, keep: true, stats, given_up };
        Self { shared: Arc::new(Mutex::new(shared)), create: Box::new(create) }
    }

    /// A buffer of at least the bytes: of the owner's idle ones of up to 1.25 times as much the smallest, of those that
    /// served the same purpose if there is any, or a new one. Chunk after chunk then has the same buffers in the same
    /// places, and what was bound to a kernel stays bound.
    ///
    /// The oldest idle buffers go where the limit asks for it. A device out of memory gets one more try
    /// after everything idle was given back.
    pub(crate) fn acquire(&self, request: Request, usage: U, what: &'static str) -> Result<Loan<B, U>> {
        let Request { bytes, room, owner } = request;
        let class = class_bytes(bytes.max(room));
        {
            let mut shared = lock(&self.shared);
            let best = (0..shared.idle.len())
                .map(|i| (i, shared.idle[i].made))
                .filter(|(_, made)| made.usage == usage && made.owner == owner)
                .filter(|(_, made)| made.bytes >= bytes && made.bytes <= class.max(bytes + bytes / 4))
                .min_by_key(|(_, made)| (made.what != what, made.bytes, made.number));
            if let Some((i, _)) = best {
                let Idle { buffer, made } = shared.idle.remove(i);
                shared.stats.hits += 1;
                shared.stats.bytes_idle -= made.bytes;
                return Ok(self.lend(&mut shared, buffer, Made { what, ..made }, bytes));
            }
            let left = shared.limit.saturating_sub(class);
            shared.trim_to(left);
            if class > shared.limit || shared.stats.bytes_in_use + shared.creating > left {
                shared.stats.refusals += 1;
                return Err(Error::GpuOutOfMemory { bytes: class, what });
            }
            shared.creating += class;
        }
        let reserved = Reserved { shared: &self.shared, bytes: class };
        let start = Instant::now();
        let created = match (self.create)(class, usage) {
            Err(Error::GpuOutOfMemory { .. }) => {
                let mut shared = lock(&self.shared);
                shared.stats.out_of_memory_retries += 1;
                shared.trim_to(0);
                drop(shared);
                (self.create)(class, usage)
            }
            other => other,
        };
        let mut shared = lock(&self.shared);
        std::mem::forget(reserved);
        shared.creating -= class;
        shared.stats.misses += 1;
        shared.stats.allocation_seconds += start.elapsed().as_secs_f64();
        let buffer = created.map_err(|error| match error {
            Error::GpuOutOfMemory { .. } => Error::GpuOutOfMemory { bytes: class, what },
            other => other,
        })?;
        let made = Made { number: shared.stats.misses, bytes: class, usage, owner, what };
        Ok(self.lend(&mut shared, buffer, made, bytes))
    }

    fn lend(&self, shared: &mut Shared<B, U>, buffer: B, made: Made<U>, requested: u64) -> Loan<B, U> {
        let (stats, bytes) = (&mut shared.stats, made.bytes);
        stats.bytes_in_use += bytes;
        stats.bytes_requested += requested;
        stats.bytes_padding += bytes - requested;
        stats.bytes_lent += requested;
        stats.bytes_lent_padding += bytes - requested;
        stats.bytes_peak = stats.bytes_peak.max(stats.bytes_in_use + stats.bytes_idle);
        Loan {
            buffer: Some(buffer),
            made,
            requested,
            spoiled: AtomicBool::new(false),
            shared: self.shared.clone(),
        }
    }

    /// The same pool, which keeps no buffer: what it saves can then be measured.
    pub(crate) fn without_reuse(self) -> Self {
        lock(&self.shared).keep = false;
        self
    }

    /// The same pool, which tells of the number of every buffer that it gives up. Called while the pool is locked.
    pub(crate) fn telling(self, given_up: impl Fn(u64) + Send + 'static) -> Self {
        lock(&self.shared).given_up = Box::new(given_up);
        self
    }

    /// Gives every idle buffer back to the device.
    pub(crate) fn trim(&self) {
        lock(&self.shared).trim_to(0);
    }

    pub(crate) fn stats(&self) -> PoolStats {
        lock(&self.shared).stats
    }
}

impl<B, U> Shared<B, U> {
    /// A user needs a buffer no more.
    fn come_back(&mut self, bytes: u64, requested: u64) {
        self.stats.bytes_in_use -= bytes;
        self.stats.bytes_requested -= requested;
        self.stats.bytes_padding -= bytes - requested;
    }

    /// Drops the oldest idle buffers until all bytes are at most `most`, or none is idle.
    fn trim_to(&mut self, most: u64) {
        while self.stats.bytes_in_use + self.stats.bytes_idle + self.creating > most && !self.idle.is_empty()
        {
            let Made { number, bytes, .. } = self.idle.remove(0).made;
            self.stats.bytes_idle -= bytes;
            (self.given_up)(number);
            self.stats.trims += 1;
        }
    }
}

/// Bytes of a buffer in the making, given back if that fails.
struct Reserved<'p, B, U> {
    shared: &'p Mutex<Shared<B, U>>,
    bytes: u64,
}

impl<B, U> Drop for Reserved<'_, B, U> {
    fn drop(&mut self) {
        lock(self.shared).creating -= self.bytes;
    }
}

impl<B, U> std::fmt::Debug for Pool<B, U> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({:?})", lock(&self.shared).stats)
    }
}

/// The pool of a device's buffers.
pub(crate) type Buffers = Pool<wgpu::Buffer, wgpu::BufferUsages>;
/// A device buffer on loan.
pub(crate) type Buffer = Loan<wgpu::Buffer, wgpu::BufferUsages>;

/// A pool whose buffers come from `device`.
pub(crate) fn on_device(device: Arc<super::device::Device>, limit: u64) -> Buffers {
    Pool::new(limit, move |size, usage| {
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        if device.fails(Site::Allocate) {
            return Err(Error::GpuOutOfMemory { bytes: size, what: "creating a buffer" });
        }
        device.checked("creating a buffer", || device.device.create_buffer(&descriptor))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::strategy::Strategy;
    use std::sync::OnceLock;
    use std::sync::atomic::AtomicU64;

    fn pool(limit: u64) -> Pool<u64, u8> {
        Pool::new(limit, |bytes, _| Ok(bytes))
    }

    fn of(bytes: u64) -> Request {
        Request::exactly(bytes, 0)
    }

    #[test]
    fn owners_keep_their_buffers_and_room_is_kept() {
        let pool = pool(u64::MAX);
        let first = pool.acquire(Request { bytes: 1 << 20, room: 1_200_000, owner: 1 }, 0, "a").unwrap();
        assert_eq!((*first, first.requested()), (class_bytes(1_200_000), 1 << 20));
        drop(first);
        drop(pool.acquire(Request::exactly(1_200_000, 2), 0, "another owner").unwrap());
        drop(pool.acquire(Request::exactly(1_200_000, 1), 0, "the same").unwrap());
        assert_eq!((pool.stats().hits, pool.stats().misses), (1, 2));
    }

    #[test]
    fn buffers_come_back_to_their_place() {
        let pool = pool(u64::MAX);
        let numbers = || {
            let small = pool.acquire(of(900_000), 0, "small").unwrap();
            let large = pool.acquire(of(1_000_000), 0, "large").unwrap();
            [small.number(), large.number()]
        };
        let first = numbers();
        assert_ne!(first[0], first[1]);
        for _ in 0..3 {
            assert_eq!(numbers(), first);
        }
        // The smaller one would do for either.
        assert_eq!(pool.acquire(of(900_000), 0, "large").unwrap().number(), first[1]);
    }

    #[test]
    fn buffers_that_are_given_up_are_told_of() {
        let told: Arc<Mutex<Vec<u64>>> = Arc::default();
        let into = told.clone();
        let pool = pool(1 << 20).telling(move |number| lock(&into).push(number));
        let take = |bytes| pool.acquire(of(bytes), 0, "it").unwrap();
        let (spoiled, kept) = (take(1 << 14), take(1 << 14));
        let mut expected = vec![spoiled.number(), kept.number()];
        spoiled.spoil();
        drop(spoiled);
        kept.keep();
        // Over the limit with the next one, which a trim then ends.
        for bytes in [700 << 10, 400 << 10] {
            let loan = take(bytes);
            expected.push(loan.number());
            drop(loan);
        }
        assert_eq!(*lock(&told), expected[..3]);
        pool.trim();
        assert_eq!(*lock(&told), expected);
        let pool = pool.without_reuse();
        let loan = pool.acquire(of(1 << 14), 0, "it").unwrap();
        expected.push(loan.number());
        drop(loan);
        assert_eq!(*lock(&told), expected);
    }

    #[test]
    fn classes_waste_at_most_a_sixteenth() {
        for bytes in (1..400_000u64).step_by(997).chain([1 << 30, (1 << 30) + 1, (1 << 31) - 1]) {
            let class = class_bytes(bytes);
            assert!(class >= bytes && class.is_multiple_of(4));
            assert!(bytes <= FLOOR || (class - bytes) * 16 <= bytes, "{bytes} -> {class}");
        }
    }

    #[test]
    fn buffers_come_back_and_the_best_fit_is_taken() {
        let pool = pool(u64::MAX);
        let (a, b) =
            (pool.acquire(of(1_000_000), 0, "a").unwrap(), pool.acquire(of(1_100_000), 0, "b").unwrap());
        let small = *a;
        drop(b);
        drop(a);
        assert_eq!(*pool.acquire(of(950_000), 0, "c").unwrap(), small);
        assert_eq!(*pool.acquire(of(950_000), 1, "other usage").unwrap(), class_bytes(950_000));
        assert!(*pool.acquire(of(500_000), 0, "too small for reuse").unwrap() < 600_000);
        let stats = pool.stats();
        assert_eq!((stats.hits, stats.misses), (1, 4));
        assert_eq!((stats.bytes_in_use, stats.bytes_padding, stats.bytes_requested), (0, 0, 0));
    }

    #[test]
    fn a_spoiled_buffer_does_not_come_back() {
        let pool = pool(u64::MAX);
        let spoiled = pool.acquire(of(1 << 20), 0, "a").unwrap();
        spoiled.spoil();
        drop(spoiled);
        let stats = pool.stats();
        assert_eq!((stats.bytes_in_use, stats.bytes_idle, stats.bytes_padding), (0, 0, 0));
        drop(pool.acquire(of(1 << 20), 0, "b").unwrap());
        assert_eq!((pool.stats().hits, pool.stats().misses), (0, 2));
    }

    #[test]
    fn a_buffer_that_is_kept_counts_no_more() {
        let pool = pool(1 << 20);
        let kept = pool.acquire(of(1 << 20), 0, "a").unwrap().keep();
        assert_eq!(kept, Some(1 << 20));
        let stats = pool.stats();
        assert_eq!((stats.bytes_in_use, stats.bytes_requested, stats.bytes_idle), (0, 0, 0));
        assert!(pool.acquire(of(1 << 20), 0, "b").is_ok());
    }

    #[test]
    fn the_limit_trims_the_oldest_and_then_refuses() {
        let pool = pool(1 << 20);
        drop(pool.acquire(of(512 << 10), 0, "a").unwrap());
        drop(pool.acquire(of(256 << 10), 0, "b").unwrap());
        let held = pool.acquire(of(768 << 10), 1, "c").unwrap();
        let stats = pool.stats();
        assert_eq!((stats.trims, stats.bytes_idle), (1, 256 << 10));
        assert!(stats.bytes_peak <= 1 << 20);
        let error = pool.acquire(of(300 << 10), 0, "d").map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::GpuOutOfMemory { what: "d", .. }));
        drop(held);
        assert!(pool.acquire(of(300 << 10), 0, "d").is_ok());
    }

    #[test]
    fn out_of_memory_is_retried_once_after_a_trim() {
        let failures = Arc::new(AtomicU64::new(1));
        let left = failures.clone();
        let pool: Pool<u64, u8> = Pool::new(u64::MAX, move |bytes, _| {
            match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) {
                Ok(_) => Err(Error::GpuOutOfMemory { bytes, what: "device" }),
                Err(_) => Ok(bytes),
            }
        });
        assert!(pool.acquire(of(1 << 20), 0, "a").is_ok());
        assert_eq!(pool.stats().out_of_memory_retries, 1);
        failures.store(2, Ordering::SeqCst);
        let error = pool.acquire(of(1 << 24), 0, "b").map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::GpuOutOfMemory { what: "b", .. }));
        assert_eq!(pool.stats().bytes_idle, 0);
    }

    #[test]
    fn what_others_are_creating_counts_for_the_limit() {
        let pool: Arc<OnceLock<Pool<u64, u8>>> = Arc::default();
        let (inner, first) = (pool.clone(), AtomicBool::new(true));
        let create = move |bytes, _| {
            if first.swap(false, Ordering::SeqCst) {
                // Another slot asks meanwhile, for what would be one byte class too much, and for what fits.
                let pool = inner.get().unwrap();
                let refused = pool.acquire(of(512 << 10), 1, "b").map(|_| ()).unwrap_err();
                assert!(matches!(refused, Error::GpuOutOfMemory { what: "b", .. }));
                drop(pool.acquire(of(256 << 10), 1, "c").unwrap());
                return Err(Error::GpuOutOfMemory { bytes, what: "device" });
            }
            Ok(bytes)
        };
        let pool = pool.get_or_init(|| Pool::new(1 << 20, create));
        drop(pool.acquire(of(768 << 10), 0, "a").unwrap());
        assert!(pool.stats().bytes_peak <= 1 << 20);
        // Nothing stays reserved.
        assert!(pool.acquire(of(1 << 20), 0, "all").is_ok());
    }

    /// A buffer's name, bytes and usage.
    type Named = (u64, u64, u8);

    /// What a user of the pool does.
    #[derive(Debug, Clone)]
    enum Step {
        Acquire(u64, u8),
        Return(usize),
        Trim,
    }

    fn step() -> impl Strategy<Value = Step> {
        use proptest::prelude::*;
        prop_oneof![
            4 => (0..40u32, 0..1000u64, 0..3u8)
                .prop_map(|(shift, more, usage)| Step::Acquire((1 << shift) + more, usage)),
            3 => any::<usize>().prop_map(Step::Return),
            1 => Just(Step::Trim),
        ]
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

        /// Buffers have names here: each is lent to one user at a time, and the books hold after every step.
        #[test]
        fn the_books_hold_whatever_users_do(
            steps in proptest::collection::vec(step(), 1..120),
            limit in (20..42u32).prop_map(|shift| 1u64 << shift),
            failures in proptest::collection::vec(proptest::bool::weighted(0.2), 0..60),
        ) {
            let (created, failing) = (AtomicU64::new(0), Mutex::new(failures));
            let pool: Pool<Named, u8> = Pool::new(limit, move |bytes, usage| {
                match lock(&failing).pop() {
                    Some(true) => Err(Error::GpuOutOfMemory { bytes, what: "device" }),
                    _ => Ok((created.fetch_add(1, Ordering::SeqCst), bytes, usage)),
                }
            });
            let mut held: Vec<(Loan<Named, u8>, u64)> = Vec::new();
            for step in steps {
                match step {
                    Step::Acquire(bytes, usage) => match pool.acquire(of(bytes), usage, "it") {
                        Ok(loan) => {
                            let (name, has, made_for) = *loan;
                            assert!(has >= bytes && made_for == usage && loan.requested() == bytes);
                            assert!(held.iter().all(|(other, _)| other.0 != name), "lent twice");
                            held.push((loan, has));
                        }
                        Err(error) => assert!(matches!(error, Error::GpuOutOfMemory { what: "it", .. })),
                    },
                    Step::Return(which) if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                    Step::Return(_) => {}
                    Step::Trim => {
                        pool.trim();
                        assert_eq!(pool.stats().bytes_idle, 0);
                    }
                }
                let stats = pool.stats();
                let requested: u64 = held.iter().map(|(loan, _)| loan.requested()).sum();
                let in_use: u64 = held.iter().map(|(_, has)| has).sum();
                assert_eq!((stats.bytes_in_use, stats.bytes_requested), (in_use, requested));
                assert_eq!(stats.bytes_padding, in_use - requested);
                assert!(stats.bytes_in_use + stats.bytes_idle <= stats.bytes_peak && stats.bytes_peak <= limit);
            }
            held.clear();
            let stats = pool.stats();
            assert_eq!((stats.bytes_in_use, stats.bytes_requested, stats.bytes_padding), (0, 0, 0));
        }
    }
}
