//! The `cofferdam` program. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    cofferdam::cli::main()
}
