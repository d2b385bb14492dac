//! The heap, and how much of it is in use: what a policy or a connection takes is measured, whatever it consists of.

#![expect(unsafe_code, reason = "an allocator is unsafe by its nature")]

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering};
use std::alloc::System;

#[global_allocator]
static HEAP: Counted = Counted;

/// A VM has one thread: these are plain numbers there.
static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// How many bytes of the heap are in use.
pub(crate) fn in_use() -> usize {
    IN_USE.load(Ordering::Relaxed)
}

/// How many bytes more than now are needed at most while `run` runs.
pub(crate) fn peak<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = in_use();
    PEAK.store(before, Ordering::Relaxed);
    let outcome = run();
    (outcome, PEAK.load(Ordering::Relaxed).saturating_sub(before))
}

/// The system's allocator, counted.
struct Counted;

/// What a piece of `len` bytes takes: dlmalloc, which wasi-libc has, puts a word before it and aligns it to sixteen bytes.
const fn chunk_len(len: usize) -> usize {
    len.wrapping_add(size_of::<usize>()).wrapping_add(15) & !15
}

fn add(len: usize) {
    let in_use = IN_USE.load(Ordering::Relaxed).wrapping_add(chunk_len(len));
    IN_USE.store(in_use, Ordering::Relaxed);
    if in_use > PEAK.load(Ordering::Relaxed) {
        PEAK.store(in_use, Ordering::Relaxed);
    }
}

fn remove(len: usize) {
    IN_USE.store(IN_USE.load(Ordering::Relaxed).wrapping_sub(chunk_len(len)), Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        let data = unsafe { System.alloc(layout) };
        if !data.is_null() {
            add(layout.size());
        }
        data
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        let data = unsafe { System.alloc_zeroed(layout) };
        if !data.is_null() {
            add(layout.size());
        }
        data
    }

    unsafe fn dealloc(&self, data: *mut u8, layout: Layout) {
        remove(layout.size());
        // SAFETY: the caller's.
        unsafe { System.dealloc(data, layout) };
    }

    unsafe fn realloc(&self, data: *mut u8, layout: Layout, new_len: usize) -> *mut u8 {
        // SAFETY: the caller's.
        let moved = unsafe { System.realloc(data, layout, new_len) };
        if !moved.is_null() {
            remove(layout.size());
            add(new_len);
        }
        moved
    }
}
