//! An allocator that counts, for the tests which say that a path allocates nothing.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Of all threads.
static ALL: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting per thread and in all.
struct Counting;

// SAFETY: passes everything on to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        ALL.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise to us is the one that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often any thread allocates while this one does `work`: nothing else may go on.
#[allow(dead_code, reason = "most tests look at their own thread")]
pub fn allocations_of_all(work: impl FnOnce()) -> usize {
    let before = ALL.load(Ordering::Relaxed);
    work();
    ALL.load(Ordering::Relaxed) - before
}

/// How often this thread allocates while it does `work`.
#[allow(dead_code, reason = "one test looks at all threads")]
pub fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}
