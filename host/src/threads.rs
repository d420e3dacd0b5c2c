//! What is asked of the kernel for this program's threads, and work on a thread beside the tasks.

use std::io;

use tokio::task::{JoinHandle, spawn_blocking};
use tracing::Span;

/// How long a thread asks to run at a time, in nanoseconds: the least that the kernel
/// knows.
const SLICE: u64 = 100_000;

/// Has work that blocks done on a thread for such work, as a part of what this task does: its lines in the log
/// say whose they are.
pub fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let span = Span::current();
    spawn_blocking(move || span.in_scope(work))
}

/// Asks the kernel for short slices for this thread, which lets it in soon beside threads
/// that never rest, without giving it more of the cores. Where it does not know them (before
/// Linux 6.12, or elsewhere), everything works, and timers come some milliseconds
/// later beside guests that never rest.
pub fn ask_for_short_slices() {
    #[cfg(target_os = "linux")]
    {
        let attributes = libc::sched_attr {
            size: u32::try_from(size_of::<libc::sched_attr>()).unwrap_or(0),
            sched_policy: 0,
            sched_flags: 0,
            sched_nice: rustix::process::getpriority_process(None).unwrap_or(0),
            sched_priority: 0,
            sched_runtime: SLICE,
            sched_deadline: 0,
            sched_period: 0,
        };
        // SAFETY: the system call reads the structure, whose size stands in it, and
        // changes nothing but how this thread is scheduled.
        #[expect(unsafe_code, reason = "the system call has no safe wrapper")]
        let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
        if done != 0 {
            tracing::debug!("no short slices: {}", io::Error::last_os_error());
        }
    }
}
