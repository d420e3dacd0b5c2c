//! The `cofferdam` program. Everything is in the library.

use std::process::ExitCode;

/// A batch lives for some microseconds. The C library's allocator gives its pages
/// back to the system each time, and a job then spends a fifth of its time on page
/// faults (`docs/benchmarks.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cofferdam::cli::main()
}
