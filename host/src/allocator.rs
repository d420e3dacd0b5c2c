//! The allocator of the program, and the one thing that is asked of it beside memory: tables
//! that stay nearly empty are to cost what is in them. What memory is for lives elsewhere.

use std::sync::{Mutex, PoisonError};

/// A batch lives for some microseconds. The C library's allocator gives its pages
/// back to the system each time, and a job then spends a fifth of its time on page
/// faults (`docs/benchmarks.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_arena_max_object_size` of mimalloc 3, in KiB: what is larger comes from the system
/// instead of from memory that is used again. The binding has no name for it; a test holds it to
/// the value that it has by default.
const LARGEST_IN_ARENA: libmimalloc_sys::mi_option_t = 45;
const WITHIN_SPARSE: std::ffi::c_long = 1 << 10;

/// How many are in [`sparse`] now, and what the option was before the first of them.
static SPARSE: Mutex<(usize, std::ffi::c_long)> = Mutex::new((0, 0));

/// Runs what makes large tables of which little is ever written, such as sled's page table: 6 MiB
/// for each database. From the system such memory is zero, and costs nothing until it is written.
/// Memory that was used before must be zeroed first, and then all of it is there: 1,000 jobs cost
/// 6.4 GiB, and cost 1.2 GiB like this. Elsewhere memory that is used again is faster.
pub fn sparse<T>(make: impl FnOnce() -> T) -> T {
    let _within = Within::enter();
    make()
}

struct Within;

impl Within {
    fn enter() -> Self {
        let mut sparse = SPARSE.lock().unwrap_or_else(PoisonError::into_inner);
        if sparse.0 == 0 {
            sparse.1 = option();
            set_option(WITHIN_SPARSE);
        }
        sparse.0 += 1;
        Self
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        let mut sparse = SPARSE.lock().unwrap_or_else(PoisonError::into_inner);
        sparse.0 -= 1;
        if sparse.0 == 0 {
            set_option(sparse.1);
        }
    }
}

fn option() -> std::ffi::c_long {
    // SAFETY: reads a number; nobody else in this program writes it, but with `SPARSE` locked.
    #[expect(unsafe_code, reason = "the binding has no safe call for it")]
    unsafe {
        libmimalloc_sys::mi_option_get(LARGEST_IN_ARENA)
    }
}

fn set_option(kib: std::ffi::c_long) {
    // SAFETY: writes an aligned word, with `SPARSE` locked. The allocator reads it in other threads
    // whenever it makes room for something large, and either value is right for it: they differ
    // in where the memory comes from.
    #[expect(unsafe_code, reason = "the binding has no safe call for it")]
    unsafe {
        libmimalloc_sys::mi_option_set(LARGEST_IN_ARENA, kib);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_one_that_is_meant_and_is_put_back() {
        // 2 GiB, as mimalloc documents it.
        let default = 2 << 20;
        sparse(|| {
            assert_eq!(option(), WITHIN_SPARSE);
            sparse(|| assert_eq!(option(), WITHIN_SPARSE));
            assert_eq!(option(), WITHIN_SPARSE);
        });
        assert_eq!(SPARSE.lock().unwrap().1, default);
    }
}
