//! Records what this process asks of the file system below one directory, in order:
//! the C functions that the standard library and sled call are defined here, and do
//! what they always do, after they have been written down. Linux only.

#![expect(unsafe_code, reason = "these functions take the place of those of the C library")]

use std::{
    ffi::CStr,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use libc::{c_char, c_int, c_uint, c_void, off64_t, size_t, ssize_t};

/// What was asked. Paths are relative to the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    /// A file is there from now on.
    Create(PathBuf),
    /// It has this length now.
    Truncate(PathBuf, u64),
    /// These bytes were put there.
    Write(PathBuf, u64, Vec<u8>),
    /// `fsync` or `fdatasync`, of a file or a directory.
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
    Mkdir(PathBuf),
    Rmdir(PathBuf),
    /// The workload said something.
    Note(super::Note),
}

#[derive(Debug)]
struct Recorder {
    root: PathBuf,
    ops: Vec<Op>,
}

static RECORDER: Mutex<Option<Recorder>> = Mutex::new(None);
/// One at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Records what is done below a directory while `work` runs.
pub(crate) fn record(root: &Path, work: impl FnOnce()) -> Vec<Op> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    *recorder() = Some(Recorder { root: root.to_owned(), ops: Vec::new() });
    work();
    recorder().take().map(|recorder| recorder.ops).unwrap_or_default()
}

/// Says where the workload is.
pub(crate) fn note(note: super::Note) {
    if let Some(recorder) = recorder().as_mut() {
        recorder.ops.push(Op::Note(note));
    }
}

fn recorder() -> MutexGuard<'static, Option<Recorder>> {
    RECORDER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does it, and writes it down if it went well; both before anybody else does anything.
fn recorded<T: Copy + PartialEq + From<i8>>(
    path: impl FnOnce() -> Option<PathBuf>,
    before: impl FnOnce(PathBuf) -> Vec<Op>,
    call: impl FnOnce() -> T,
) -> T {
    let mut recorder = recorder();
    let Some(recorder) = recorder.as_mut() else { return call() };
    let relative = path().and_then(|path| Some(path.strip_prefix(&recorder.root).ok()?.to_owned()));
    let Some(relative) = relative else { return call() };
    let ops = before(relative);
    let done = call();
    if done != T::from(-1) {
        recorder.ops.extend(ops);
    }
    done
}

fn of_descriptor(descriptor: c_int) -> Option<PathBuf> {
    let path = std::fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()?;
    // What has no name any more is lost with the process.
    (!path.to_string_lossy().ends_with(" (deleted)")).then_some(path)
}

fn of_name(directory: c_int, name: *const c_char) -> Option<PathBuf> {
    // SAFETY: as the caller of the C function promises.
    let name = unsafe { CStr::from_ptr(name) }.to_str().ok()?;
    let name = Path::new(name);
    if name.is_absolute() {
        return Some(name.to_owned());
    }
    if directory == libc::AT_FDCWD {
        return Some(std::env::current_dir().ok()?.join(name));
    }
    Some(of_descriptor(directory)?.join(name))
}

fn bytes(from: *const c_void, len: size_t) -> Vec<u8> {
    // SAFETY: as the caller of the C function promises.
    unsafe { std::slice::from_raw_parts(from.cast::<u8>(), len) }.to_vec()
}

/// A system call.
macro_rules! system {
    ($($argument:expr),*) => {
        // SAFETY: the arguments are those that the caller gave.
        unsafe { libc::syscall($($argument),*) }
    };
}

/// As sled calls it; the program has another one in its place, which syncs.
pub(crate) fn sync_range(file: &std::fs::File) {
    // SAFETY: the file is open.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, 0) };
}

fn to_int(result: libc::c_long) -> c_int {
    c_int::try_from(result).unwrap_or(-1)
}

fn to_size(result: libc::c_long) -> ssize_t {
    ssize_t::try_from(result).unwrap_or(-1)
}

#[unsafe(no_mangle)]
extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    let full = || of_name(libc::AT_FDCWD, path);
    let changes = flags & (libc::O_CREAT | libc::O_TRUNC) != 0;
    recorded(
        || changes.then(full).flatten(),
        |relative| match full().is_some_and(|path| path.exists()) {
            false => vec![Op::Create(relative)],
            true if flags & libc::O_TRUNC != 0 => vec![Op::Truncate(relative, 0)],
            true => Vec::new(),
        },
        || to_int(system!(libc::SYS_openat, libc::AT_FDCWD, path, flags, mode)),
    )
}

#[unsafe(no_mangle)]
extern "C" fn write(descriptor: c_int, from: *const c_void, len: size_t) -> ssize_t {
    recorded(
        || of_descriptor(descriptor),
        |path| {
            let at = system!(libc::SYS_lseek, descriptor, 0, libc::SEEK_CUR);
            vec![Op::Write(path, u64::try_from(at).unwrap_or(0), bytes(from, len))]
        },
        || to_size(system!(libc::SYS_write, descriptor, from, len)),
    )
}

#[unsafe(no_mangle)]
extern "C" fn pwrite64(
    descriptor: c_int,
    from: *const c_void,
    len: size_t,
    at: off64_t,
) -> ssize_t {
    recorded(
        || of_descriptor(descriptor),
        |path| vec![Op::Write(path, u64::try_from(at).unwrap_or(0), bytes(from, len))],
        || to_size(system!(libc::SYS_pwrite64, descriptor, from, len, at)),
    )
}

#[unsafe(no_mangle)]
extern "C" fn ftruncate64(descriptor: c_int, len: off64_t) -> c_int {
    recorded(
        || of_descriptor(descriptor),
        |path| vec![Op::Truncate(path, u64::try_from(len).unwrap_or(0))],
        || to_int(system!(libc::SYS_ftruncate, descriptor, len)),
    )
}

#[unsafe(no_mangle)]
extern "C" fn fsync(descriptor: c_int) -> c_int {
    recorded(
        || of_descriptor(descriptor),
        |path| vec![Op::Sync(path)],
        // There will be no power cut but those that are made up.
        || 0,
    )
}

#[unsafe(no_mangle)]
extern "C" fn fdatasync(descriptor: c_int) -> c_int {
    fsync(descriptor)
}

#[unsafe(no_mangle)]
extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let root_of = || {
        let root = recorder().as_ref()?.root.clone();
        Some(of_name(libc::AT_FDCWD, to)?.strip_prefix(root).ok()?.to_owned())
    };
    let to_relative = root_of();
    recorded(
        || of_name(libc::AT_FDCWD, from),
        |from| to_relative.map(|to| Op::Rename(from, to)).into_iter().collect(),
        || {
            let cwd = libc::AT_FDCWD;
            to_int(system!(libc::SYS_renameat2, cwd, from, cwd, to, 0))
        },
    )
}

#[unsafe(no_mangle)]
extern "C" fn unlink(path: *const c_char) -> c_int {
    unlinkat(libc::AT_FDCWD, path, 0)
}

#[unsafe(no_mangle)]
extern "C" fn rmdir(path: *const c_char) -> c_int {
    unlinkat(libc::AT_FDCWD, path, libc::AT_REMOVEDIR)
}

#[unsafe(no_mangle)]
extern "C" fn unlinkat(directory: c_int, path: *const c_char, flags: c_int) -> c_int {
    recorded(
        || of_name(directory, path),
        |path| match flags & libc::AT_REMOVEDIR {
            0 => vec![Op::Unlink(path)],
            _ => vec![Op::Rmdir(path)],
        },
        || to_int(system!(libc::SYS_unlinkat, directory, path, flags)),
    )
}

#[unsafe(no_mangle)]
extern "C" fn mkdir(path: *const c_char, mode: c_uint) -> c_int {
    recorded(
        || of_name(libc::AT_FDCWD, path),
        |path| vec![Op::Mkdir(path)],
        || to_int(system!(libc::SYS_mkdirat, libc::AT_FDCWD, path, mode)),
    )
}
