//! Opening a database of sled, and calling it. sled gives up for good at the first write
//! that fails, and may panic over damaged files: here that becomes errors, in words.

use std::{
    cell::Cell,
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Once,
    time::Duration,
};

use super::sync_range;
use crate::allocator::sparse;

/// How often, and how far apart, a database is opened that is still being closed: sled
/// does that on threads of its own.
const TRIES: u32 = 50;
const APART: Duration = Duration::from_millis(10);

/// Opens a database at a path by a function of the caller's, which is called again while the database
/// is still being closed.
///
/// # Errors
/// In words.
pub fn open<T>(path: &Path, mut make: impl FnMut() -> sled::Result<T>) -> Result<T, String> {
    sync_range::hold();
    forget_unfinished(path);
    let mut tries = 1;
    loop {
        let mut locked = false;
        let opened = guard(|| {
            sparse(&mut make).inspect_err(|error| {
                locked = matches!(error, sled::Error::Io(io) if io.to_string().contains("lock"));
            })
        });
        if !locked || tries == TRIES {
            return opened;
        }
        tries += 1;
        std::thread::sleep(APART);
    }
}

/// sled writes its snapshots under a name that it takes for that of a whole one, and renames them
/// when they are. One that a full disk or a crash left half written, it would take for damage.
fn forget_unfinished(database: &Path) {
    for entry in fs::read_dir(database).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            // What cannot be removed is told of when the database is opened.
            let _ = fs::remove_file(entry.path());
        }
    }
}

thread_local! {
    /// Whether this thread is in a call of sled, whose panics are told as errors.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Panics that are told as errors are not told by the panic hook too. sled's own threads
/// tell theirs to whoever waits for them.
fn quiet_contained_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let of_sled = std::thread::current().name().is_some_and(|n| n.starts_with("sled-"));
            if !of_sled && !CONTAINED.get() {
                others(panic);
            }
        }));
    });
}

/// Calls sled; what it says against it in words, and a panic of it too.
///
/// # Errors
/// In words, with what to do.
pub fn guard<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, String> {
    quiet_contained_panics();
    let before = CONTAINED.replace(true);
    let called = catch_unwind(AssertUnwindSafe(call));
    CONTAINED.set(before);
    match called {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => Err(explain(&error)),
        Ok(Err(error)) => Err(damaged(&error.to_string())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(damaged(text.unwrap_or("it panicked")))
        }
    }
}

fn damaged(what: &str) -> String {
    format!(
        "the database is damaged: {what}; put the directory back from a copy, or import an exported \
         checkpoint into another directory"
    )
}

/// How an error of a disk that is full reads on.
const MAKE_ROOM: &str =
    "; make room there: the last checkpoint is kept, and the next one will be tried";

/// Whether something failed for want of room on a disk, by what was said of it in words.
#[must_use]
pub fn is_full(said: &str) -> bool {
    said.contains(MAKE_ROOM) || said.contains("No space left on device")
}

/// What the system said, with what to do about it.
#[must_use]
pub fn explain(error: &io::Error) -> String {
    let what_to_do = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => MAKE_ROOM,
        io::ErrorKind::FileTooLarge => {
            "; raise the limit of file sizes: the last checkpoint is kept, and the next one will \
             be tried"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; mount it for writing, or choose another directory",
        io::ErrorKind::PermissionDenied => {
            "; let this user write there, or choose another directory"
        }
        _ => "",
    };
    format!("{error}{what_to_do}")
}
