//! Large copies into fresh memory: with pages of 2 MiB the kernel is asked for memory 512
//! times less often, which is most of the time that such a copy takes.

use super::PAGE;

/// From this size on it is worth the call.
const LARGE: usize = 4 << 20;

/// Asks for large pages for memory that is about to be written. Refused, it is slower.
pub(super) fn ask_for(memory: &[u8]) {
    advise(memory.as_ptr(), memory.len(), libc::MADV_HUGEPAGE);
}

/// The same for what a vector has room for.
pub(super) fn ask_for_room(buffer: &mut Vec<u8>) {
    let room = buffer.spare_capacity_mut();
    advise(room.as_ptr().cast(), room.len(), libc::MADV_HUGEPAGE);
}

/// Asks for none from now on: who has the memory next may need little of it.
pub(super) fn no_more(memory: &[u8]) {
    advise(memory.as_ptr(), memory.len(), libc::MADV_NOHUGEPAGE);
}

fn advise(at: *const u8, bytes: usize, advice: libc::c_int) {
    if bytes < LARGE {
        return;
    }
    let skip = at.align_offset(PAGE);
    let whole = (bytes - skip) / PAGE * PAGE;
    let from = at.wrapping_add(skip).cast_mut().cast();
    // SAFETY: the range lies within memory that is borrowed; the advice changes neither
    // what stands there nor whether it can be read or written.
    #[expect(unsafe_code, reason = "a system call that no library here has")]
    let refused = unsafe { libc::madvise(from, whole, advice) } != 0;
    if refused {
        tracing::trace!("no large pages: {}", std::io::Error::last_os_error());
    }
}
