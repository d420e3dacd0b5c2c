//! Has sled wait until what it wrote is durable, and not only written.
//!
//! After each buffer sled 0.34 calls `sync_file_range`, and then takes for durable what a
//! power cut can lose: the call neither makes the file's new length durable nor empties the
//! disk's cache. When a later buffer outlives an earlier one, sled cannot open the
//! database any more. So in this program the C library's function is another one, which
//! does more: `fdatasync`.

/// Makes sure that this room is linked, and its function with it.
pub(super) fn hold() {
    #[cfg(target_os = "linux")]
    std::hint::black_box(sync_file_range as extern "C" fn(_, _, _, _) -> _);
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "it takes the place of a function of the C library")]
#[unsafe(no_mangle)]
extern "C" fn sync_file_range(
    descriptor: libc::c_int,
    _: libc::off64_t,
    _: libc::off64_t,
    _: libc::c_uint,
) -> libc::c_int {
    // SAFETY: any number can be asked about; one that is no open file is refused.
    unsafe { libc::fdatasync(descriptor) }
}
