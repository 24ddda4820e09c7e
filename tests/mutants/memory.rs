//! How much memory a piece of work takes: an allocator that counts each thread's bytes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

fn count(bytes: isize) {
    let live = LIVE.get() + bytes;
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

#[allow(unsafe_code)]
// SAFETY: every call goes to the system's allocator with the arguments it was given.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // While it is moved, both blocks exist.
        count(size as isize);
        let new = unsafe { System.realloc(old, layout, size) };
        count(-(layout.size() as isize));
        new
    }
    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` gives, and the most bytes that this thread held at once on top of those it had before.
///
/// Only this thread's bytes count, so `work` must not hand work to others.
pub fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let out = work();
    (out, (PEAK.get() - before).unsigned_abs())
}

#[test]
fn the_most_bytes_at_once_are_counted() {
    let (_, bytes) = peak(|| {
        drop(std::hint::black_box(vec![1u8; 3_000_000]));
        std::hint::black_box(vec![1u8; 1_000_000])
    });
    assert!((3_000_000..3_001_000).contains(&bytes), "{bytes}");
}
