//! Memory that SQLite asks for and does not get.
#![expect(
    unsafe_code,
    reason = "SQLite's interface for an allocator is one of C functions and raw pointers"
)]
//!
//! It is SQLite's own allocator that everything goes to which is not refused, and there is one for the
//! whole process: whoever refuses memory refuses it to all databases that are open in it.
//!
//! # Safety
//!
//! The functions here pass on what they were given, to the functions that SQLite had before, or answer
//! null, which SQLite's contract with an allocator allows at any time. None of them unwinds.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::ffi;

/// SQLite's memory, which can be refused from now on.
#[derive(Debug, Clone, Copy)]
pub struct Memory(());

/// The allocator that SQLite had before.
#[derive(Clone, Copy)]
struct Base {
    malloc: unsafe extern "C" fn(c_int) -> *mut c_void,
    realloc: unsafe extern "C" fn(*mut c_void, c_int) -> *mut c_void,
}

static BASE: OnceLock<Option<Base>> = OnceLock::new();

/// Requests since it was last said which to refuse.
static SEEN: AtomicU64 = AtomicU64::new(0);
/// The first request that is refused, counted from 1; 0 where none is.
static FIRST: AtomicU64 = AtomicU64::new(0);
/// How many are refused.
static COUNT: AtomicU64 = AtomicU64::new(0);

impl Memory {
    /// Takes over SQLite's allocator; `None` where SQLite is at work in this process already, and takes
    /// no other any more.
    #[must_use]
    pub fn take_over() -> Option<Self> {
        BASE.get_or_init(install).map(|_| Self(()))
    }

    /// Refuses the `first` request from now on, and `count - 1` further ones.
    pub fn refuse(self, first: u64, count: u64) {
        SEEN.store(0, Ordering::SeqCst);
        COUNT.store(count, Ordering::SeqCst);
        FIRST.store(first, Ordering::SeqCst);
    }

    /// Refuses no more. Answers how many requests there were since the refusal was ordered, and how many
    /// of them were refused.
    #[must_use]
    pub fn grant(self) -> (u64, u64) {
        let first = FIRST.swap(0, Ordering::SeqCst);
        let seen = SEEN.load(Ordering::SeqCst);
        let refused = (seen + 1)
            .saturating_sub(first)
            .min(COUNT.load(Ordering::SeqCst));
        (seen, refused)
    }
}

fn is_refused() -> bool {
    let first = FIRST.load(Ordering::Relaxed);
    if first == 0 {
        return false;
    }
    let number = SEEN.fetch_add(1, Ordering::Relaxed) + 1;
    number >= first && number - first < COUNT.load(Ordering::Relaxed)
}

fn install() -> Option<Base> {
    let mut methods = ffi::sqlite3_mem_methods {
        xMalloc: None,
        xFree: None,
        xRealloc: None,
        xSize: None,
        xRoundup: None,
        xInit: None,
        xShutdown: None,
        pAppData: ptr::null_mut(),
    };
    // SAFETY: the call writes the methods in use to the structure; SQLite answers with an error, and
    // does nothing, where it is initialised already.
    let asked = unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETMALLOC, &raw mut methods) };
    let (Some(malloc), Some(realloc)) = (methods.xMalloc, methods.xRealloc) else {
        return None;
    };
    methods.xMalloc = Some(x_malloc);
    methods.xRealloc = Some(x_realloc);
    // SAFETY: the structure is complete, and SQLite copies it. The functions find the ones behind them in
    // `BASE`: SQLite calls none before it is initialised, by somebody who waits for `BASE`.
    let told = unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw const methods) };
    (asked == ffi::SQLITE_OK && told == ffi::SQLITE_OK).then_some(Base { malloc, realloc })
}

unsafe extern "C" fn x_malloc(size: c_int) -> *mut c_void {
    match BASE.wait() {
        // SAFETY: as SQLite calls this one.
        Some(base) if !is_refused() => unsafe { (base.malloc)(size) },
        _ => ptr::null_mut(),
    }
}

unsafe extern "C" fn x_realloc(old: *mut c_void, size: c_int) -> *mut c_void {
    match BASE.wait() {
        // SAFETY: as SQLite calls this one; what `old` points to came from the same allocator.
        Some(base) if !is_refused() => unsafe { (base.realloc)(old, size) },
        _ => ptr::null_mut(),
    }
}
