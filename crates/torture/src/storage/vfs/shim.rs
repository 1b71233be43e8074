//! The calls themselves: C functions that SQLite calls, over the platform's.
#![expect(
    unsafe_code,
    reason = "SQLite's interface for a VFS is one of C functions and raw pointers"
)]
//!
//! # Safety
//!
//! SQLite's contract with a VFS, on which everything here rests:
//!
//! - It passes the VFS that it was given, which lives for ever: `Registration` leaks it, and the
//!   `Disk` behind `pAppData` with it, because connections may outlive the registration.
//! - For a file it allots `szOsFile` zeroed bytes, aligned to 8, passes them to `xOpen` first, and
//!   after an `xOpen` that left `pMethods` set to the other methods, to `xClose` last. Between the
//!   two they do not move. One thread at a time uses them.
//! - Buffers are as long as the lengths say; names are C strings that live as long as their file.
//!
//! A `File` is followed, in the same allotment, by the platform's file, which only the platform's
//! methods touch. No function here unwinds into C: what may panic is the lock of a `Disk`, which
//! takes poisoned ones, and allocation, which aborts.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;

use rusqlite::ffi;

use super::SharedMemory;
use super::disk::{Call, Disk, FileKind, Reason, Syncs};
use crate::storage::log::FileId;

/// A registered VFS. Dropping it takes its name away from SQLite.
#[derive(Debug)]
pub(super) struct Registration {
    vfs: *mut ffi::sqlite3_vfs,
}

// SAFETY: the pointer is used for registering and its opposite alone, and SQLite takes its own lock
// for both.
unsafe impl Send for Registration {}
// SAFETY: as above; a shared reference gives no access to what it points to.
unsafe impl Sync for Registration {}

/// What `pAppData` points to.
struct Shared {
    base: *mut ffi::sqlite3_vfs,
    disk: Arc<Disk>,
    methods: &'static ffi::sqlite3_io_methods,
}

/// What lies at the beginning of the allotment of every file; the platform's file follows.
#[repr(C, align(8))]
struct File {
    base: ffi::sqlite3_file,
    /// Owned: made by `x_open`, freed by `x_close`.
    handle: *mut Handle,
}

struct Handle {
    disk: Arc<Disk>,
    path: PathBuf,
    kind: FileKind,
    log_id: Option<FileId>,
    /// Whether the next sync also syncs the folder, as the platform's VFS does.
    syncs_folder: bool,
}

impl Registration {
    pub(super) fn new(name: CString, disk: Arc<Disk>, shared_memory: SharedMemory) -> Self {
        // SAFETY: asking for the default VFS has no precondition; SQLite initialises itself.
        let base = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
        assert!(!base.is_null(), "SQLite has a VFS for this platform");
        // SAFETY: a VFS that is registered lives for ever, and nothing writes to these fields.
        let (base_size, max_path) = unsafe { ((*base).szOsFile, (*base).mxPathname) };
        let shared = Box::leak(Box::new(Shared {
            base,
            disk,
            methods: match shared_memory {
                SharedMemory::PassedThrough => &METHODS,
                SharedMemory::Missing => &METHODS_WITHOUT_SHARED_MEMORY,
            },
        }));
        let file_size = c_int::try_from(size_of::<File>()).expect("a small structure");
        let vfs = Box::leak(Box::new(ffi::sqlite3_vfs {
            iVersion: 2,
            szOsFile: file_size + base_size,
            mxPathname: max_path,
            pNext: ptr::null_mut(),
            zName: name.into_raw(),
            pAppData: ptr::from_mut(shared).cast(),
            xOpen: Some(x_open),
            xDelete: Some(x_delete),
            xAccess: Some(x_access),
            xFullPathname: Some(x_full_pathname),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(x_randomness),
            xSleep: Some(x_sleep),
            xCurrentTime: Some(x_current_time),
            xGetLastError: Some(x_get_last_error),
            xCurrentTimeInt64: Some(x_current_time_int64),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        }));
        let vfs = ptr::from_mut(vfs);
        // SAFETY: the structure is complete, leaked, and changed by SQLite alone from here on.
        let registered = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
        assert_eq!(registered, ffi::SQLITE_OK, "SQLite has room for a name");
        Self { vfs }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: it was registered by `new`. The structure itself stays, for open connections.
        unsafe { ffi::sqlite3_vfs_unregister(self.vfs) };
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // Version 2 has the shared memory; 3 would add memory mapping, of which no use is made.
    iVersion: 2,
    xClose: Some(x_close),
    xRead: Some(x_read),
    xWrite: Some(x_write),
    xTruncate: Some(x_truncate),
    xSync: Some(x_sync),
    xFileSize: Some(x_file_size),
    xLock: Some(x_lock),
    xUnlock: Some(x_unlock),
    xCheckReservedLock: Some(x_check_reserved_lock),
    xFileControl: Some(x_file_control),
    xSectorSize: Some(x_sector_size),
    xDeviceCharacteristics: Some(x_device_characteristics),
    xShmMap: Some(x_shm_map),
    xShmLock: Some(x_shm_lock),
    xShmBarrier: Some(x_shm_barrier),
    xShmUnmap: Some(x_shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

static METHODS_WITHOUT_SHARED_MEMORY: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    ..METHODS
};

/// # Safety
///
/// `vfs` is one that `Registration::new` made.
unsafe fn shared<'a>(vfs: *mut ffi::sqlite3_vfs) -> &'a Shared {
    // SAFETY: `pAppData` was set to a leaked `Shared`, to which nothing writes.
    unsafe { &*(*vfs).pAppData.cast::<Shared>() }
}

/// The path that SQLite names.
///
/// # Safety
///
/// `name` is null or a C string.
unsafe fn path_of(name: *const c_char) -> PathBuf {
    if name.is_null() {
        return PathBuf::new();
    }
    // SAFETY: not null, so a C string by the contract.
    let name = unsafe { CStr::from_ptr(name) };
    Path::new(OsStr::from_bytes(name.to_bytes())).to_owned()
}

/// The platform's file behind `file`, and its methods.
///
/// # Safety
///
/// `file` is open, or being opened, through this VFS; the methods are used on an open one alone.
unsafe fn below(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: the allotment is `size_of::<File>()` bytes and the platform's file.
    unsafe { file.byte_add(size_of::<File>()) }
}

/// # Safety
///
/// `file` was opened by `x_open`, which succeeded, and not yet closed.
unsafe fn handle<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Handle {
    // SAFETY: `x_open` put a box there, and one thread at a time uses a file.
    unsafe { &mut *(*file.cast::<File>()).handle }
}

/// Calls a method of the platform's file.
macro_rules! pass {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        // SAFETY: SQLite calls methods on open files alone, and the platform's file is open as long
        // as the one above it is. The arguments are those that SQLite passed for the same method.
        unsafe {
            let base = below($file);
            match (*(*base).pMethods).$method {
                Some(method) => method(base $(, $argument)*),
                None => ffi::SQLITE_NOTFOUND,
            }
        }
    }};
}

/// Ends the calling function with the result code of a planned failure.
macro_rules! admit {
    ($handle:expr, $call:expr) => {
        if let Err(reason) = $handle.disk.admit($call) {
            return reason.code($call);
        }
    };
}

fn bytes(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

unsafe extern "C" fn x_open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes a VFS of ours, a name that is null or a C string, and an allotment of
    // `szOsFile` bytes, which is where a `File` and the platform's file go.
    unsafe {
        let shared = shared(vfs);
        let ours = file.cast::<File>();
        // Nothing to close, should this fail.
        (*file).pMethods = ptr::null();
        if let Err(reason) = shared.disk.admit(Call::Open) {
            return reason.code(Call::Open);
        }
        let base = below(file);
        let Some(open) = (*shared.base).xOpen else {
            return ffi::SQLITE_CANTOPEN;
        };
        let mut opened_flags = flags;
        let opened = open(shared.base, name, base, flags, &raw mut opened_flags);
        if !out_flags.is_null() {
            *out_flags = opened_flags;
        }
        if opened != ffi::SQLITE_OK {
            // The platform's VFS leaves no methods behind that would have to be called.
            return opened;
        }
        let path = path_of(name);
        let kind = FileKind::of(flags);
        let log_id = match kind {
            FileKind::Other => None,
            _ => shared.disk.opened(&path),
        };
        let handle = Box::new(Handle {
            disk: Arc::clone(&shared.disk),
            path,
            kind,
            log_id,
            syncs_folder: kind.syncs_folder() && flags & ffi::SQLITE_OPEN_CREATE != 0,
        });
        (*ours).handle = Box::into_raw(handle);
        (*file).pMethods = ptr::from_ref(shared.methods);
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn x_close(file: *mut ffi::sqlite3_file) -> c_int {
    let closed = pass!(file, xClose);
    // SAFETY: the box is that of `x_open`; SQLite closes a file once.
    drop(unsafe { Box::from_raw((*file.cast::<File>()).handle) });
    closed
}

unsafe extern "C" fn x_read(
    file: *mut ffi::sqlite3_file,
    into: *mut c_void,
    length: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: the file is open.
    let handle = unsafe { handle(file) };
    let Err(reason) = handle.disk.admit(Call::Read) else {
        return pass!(file, xRead, into, length, offset);
    };
    match reason {
        // Not as SQLITE_IOERR_SHORT_READ: to SQLite that is the end of the file, and the platform's
        // VFS says so where nothing follows, alone.
        Reason::TornIo => {
            pass!(file, xRead, into, length / 2, offset);
        }
        // A checkpoint does not look at what it moves: a page misread in the WAL would be one written.
        Reason::Misread if handle.kind != FileKind::Database => {
            return pass!(file, xRead, into, length, offset);
        }
        Reason::Misread => {
            // SAFETY: `into` has room for `length` bytes.
            unsafe { into.write_bytes(0, usize::try_from(length).unwrap_or(0)) };
        }
        _ => {}
    }
    reason.code(Call::Read)
}

unsafe extern "C" fn x_write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    length: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: the file is open, and `from` points to `length` bytes.
    let (handle, data) = unsafe {
        let length = usize::try_from(length).unwrap_or(0);
        (
            handle(file),
            std::slice::from_raw_parts(from.cast::<u8>(), length),
        )
    };
    let failure = match handle.disk.admit(Call::Write) {
        Err(reason) => Some(reason),
        Ok(()) if handle.kind == FileKind::Other => None,
        Ok(()) => {
            let end = bytes(offset) + data.len() as u64;
            (!handle.disk.has_room(&handle.path, end)).then_some(Reason::TornNoSpace)
        }
    };
    let kept = match failure {
        None => data.len(),
        Some(Reason::TornIo | Reason::TornNoSpace) => data.len() / 2,
        Some(_) => 0,
    };
    if kept > 0 {
        let kept_length = c_int::try_from(kept).unwrap_or(length);
        let written = pass!(file, xWrite, from, kept_length, offset);
        if written != ffi::SQLITE_OK {
            return written;
        }
        if handle.kind != FileKind::Other {
            let kept = &data[..kept];
            handle.disk.written(handle.log_id, bytes(offset), kept);
        }
    }
    failure.map_or(ffi::SQLITE_OK, |reason| reason.code(Call::Write))
}

unsafe extern "C" fn x_truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: the file is open.
    let handle = unsafe { handle(file) };
    admit!(handle, Call::Truncate);
    let truncated = pass!(file, xTruncate, size);
    if truncated == ffi::SQLITE_OK && handle.kind != FileKind::Other {
        handle.disk.truncated(handle.log_id, bytes(size));
    }
    truncated
}

unsafe extern "C" fn x_sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: the file is open.
    let handle = unsafe { handle(file) };
    admit!(handle, Call::Sync);
    let syncs = handle.disk.syncs();
    if syncs == Syncs::Reach {
        let synced = pass!(file, xSync, flags);
        if synced != ffi::SQLITE_OK {
            return synced;
        }
    }
    if syncs != Syncs::Lie {
        let folder = std::mem::take(&mut handle.syncs_folder);
        handle.disk.synced(handle.log_id, folder);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    // SAFETY: the file is open.
    let handle = unsafe { handle(file) };
    admit!(handle, Call::Size);
    pass!(file, xFileSize, size)
}

unsafe extern "C" fn x_lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: the file is open.
    let handle = unsafe { handle(file) };
    admit!(handle, Call::Lock);
    pass!(file, xLock, level)
}

// Giving a lock back never fails here: where the system call did, the platform's VFS would hold a
// lock of which SQLite knows nothing, and no file system does that.
unsafe extern "C" fn x_unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    pass!(file, xUnlock, level)
}

unsafe extern "C" fn x_check_reserved_lock(
    file: *mut ffi::sqlite3_file,
    held: *mut c_int,
) -> c_int {
    pass!(file, xCheckReservedLock, held)
}

unsafe extern "C" fn x_file_control(
    file: *mut ffi::sqlite3_file,
    operation: c_int,
    argument: *mut c_void,
) -> c_int {
    pass!(file, xFileControl, operation, argument)
}

unsafe extern "C" fn x_sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    pass!(file, xSectorSize)
}

unsafe extern "C" fn x_device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    pass!(file, xDeviceCharacteristics)
}

unsafe extern "C" fn x_shm_map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    mapped: *mut *mut c_void,
) -> c_int {
    // SAFETY: the file is open.
    let handle = unsafe { handle(file) };
    let mut admitted = handle.disk.admit(Call::ShmMap);
    if extend != 0 && admitted.is_ok() {
        // The platform's VFS lets the file grow by a region at a time.
        let end = bytes((i64::from(region) + 1) * i64::from(size));
        let mut path = handle.path.clone().into_os_string();
        path.push("-shm");
        if !handle.disk.has_room(Path::new(&path), end) {
            admitted = Err(Reason::NoSpace);
        }
    }
    if let Err(reason) = admitted {
        // SAFETY: SQLite passes a place for the answer, and expects null where there is none.
        unsafe { *mapped = ptr::null_mut() };
        return reason.code(Call::ShmMap);
    }
    pass!(file, xShmMap, region, size, extend, mapped)
}

unsafe extern "C" fn x_shm_lock(
    file: *mut ffi::sqlite3_file,
    offset: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    if flags & ffi::SQLITE_SHM_LOCK != 0 {
        // SAFETY: the file is open.
        let handle = unsafe { handle(file) };
        admit!(handle, Call::ShmLock);
    }
    pass!(file, xShmLock, offset, count, flags)
}

unsafe extern "C" fn x_shm_barrier(file: *mut ffi::sqlite3_file) {
    // SAFETY: the file is open, and the platform's below it.
    unsafe {
        let base = below(file);
        if let Some(barrier) = (*(*base).pMethods).xShmBarrier {
            barrier(base);
        }
    }
}

unsafe extern "C" fn x_shm_unmap(file: *mut ffi::sqlite3_file, delete: c_int) -> c_int {
    pass!(file, xShmUnmap, delete)
}

unsafe extern "C" fn x_delete(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    sync_folder: c_int,
) -> c_int {
    // SAFETY: a VFS of ours, and a name that is a C string.
    unsafe {
        let shared = shared(vfs);
        admit!(shared, Call::Delete);
        let Some(delete) = (*shared.base).xDelete else {
            return ffi::SQLITE_IOERR_DELETE;
        };
        // The folder's sync is the slow part, as any sync.
        let syncs = shared.disk.syncs();
        let really = c_int::from(sync_folder != 0 && syncs == Syncs::Reach);
        let deleted = delete(shared.base, name, really);
        if deleted == ffi::SQLITE_OK {
            let synced = sync_folder != 0 && syncs != Syncs::Lie;
            shared.disk.deleted(&path_of(name), synced);
        }
        deleted
    }
}

unsafe extern "C" fn x_access(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    answer: *mut c_int,
) -> c_int {
    // SAFETY: a VFS of ours; the arguments are passed on as they came.
    unsafe {
        let shared = shared(vfs);
        admit!(shared, Call::Access);
        (*shared.base)
            .xAccess
            .map_or(ffi::SQLITE_IOERR_ACCESS, |access| {
                access(shared.base, name, flags, answer)
            })
    }
}

unsafe extern "C" fn x_full_pathname(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    length: c_int,
    into: *mut c_char,
) -> c_int {
    // SAFETY: as for `x_access`.
    unsafe {
        let base = shared(vfs).base;
        (*base)
            .xFullPathname
            .map_or(ffi::SQLITE_CANTOPEN, |full| full(base, name, length, into))
    }
}

unsafe extern "C" fn x_randomness(
    vfs: *mut ffi::sqlite3_vfs,
    length: c_int,
    into: *mut c_char,
) -> c_int {
    // SAFETY: as for `x_access`.
    unsafe {
        let base = shared(vfs).base;
        (*base)
            .xRandomness
            .map_or(0, |random| random(base, length, into))
    }
}

unsafe extern "C" fn x_sleep(vfs: *mut ffi::sqlite3_vfs, micros: c_int) -> c_int {
    // SAFETY: as for `x_access`.
    unsafe {
        let base = shared(vfs).base;
        (*base).xSleep.map_or(0, |sleep| sleep(base, micros))
    }
}

unsafe extern "C" fn x_current_time(vfs: *mut ffi::sqlite3_vfs, now: *mut f64) -> c_int {
    // SAFETY: as for `x_access`.
    unsafe {
        let base = shared(vfs).base;
        (*base)
            .xCurrentTime
            .map_or(ffi::SQLITE_ERROR, |time| time(base, now))
    }
}

unsafe extern "C" fn x_current_time_int64(vfs: *mut ffi::sqlite3_vfs, now: *mut i64) -> c_int {
    // SAFETY: as for `x_access`; the platform's VFS is of version 2 at least where it has this.
    unsafe {
        let base = shared(vfs).base;
        (*base)
            .xCurrentTimeInt64
            .map_or(ffi::SQLITE_ERROR, |time| time(base, now))
    }
}

unsafe extern "C" fn x_get_last_error(
    vfs: *mut ffi::sqlite3_vfs,
    length: c_int,
    into: *mut c_char,
) -> c_int {
    // SAFETY: as for `x_access`.
    unsafe {
        let base = shared(vfs).base;
        (*base)
            .xGetLastError
            .map_or(0, |error| error(base, length, into))
    }
}
