//! The project's chores: `cargo xtask guests | release | toolchains | sdk | demo | test | bench | fuzz | chaos | ci`. One file a
//! chore; what they share stands in `workspace` (where things lie), `process`
//! (running programs) and `stopwatch`. Nothing that Cofferdam itself needs when
//! it runs lives here.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks")]

mod bench;
mod chaos;
mod ci;
mod demo;
mod fuzz;
mod guests;
mod languages;
mod process;
mod release;
mod sdk;
mod stopwatch;
mod test;
mod toolchains;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, tests and checks Cofferdam.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Builds every operator and test guest into a WebAssembly component
    Guests(guests::Arguments),
    /// Builds the program for others: optimised, with the operators of the shelf in it
    Release(release::Arguments),
    /// Installs the tools of the languages that operators are written in, for the tests of them
    Toolchains,
    /// Packs the SDKs as their languages' people install them: crates, npm, a wheel, archives
    Sdk,
    /// Sets up what is missing, builds, and runs the flights example
    Demo(demo::Arguments),
    /// Builds the guests and runs all tests; arguments go to `cargo test`
    Test(test::Arguments),
    /// Measures, beside native code in the same run (optimised build)
    Bench(bench::Arguments),
    /// Throws mutated outcomes and components at the host
    Fuzz(fuzz::Arguments),
    /// Kills and disturbs jobs, and compares what they write with what they should
    Chaos(chaos::Arguments),
    /// Runs every check and reports all that failed
    Ci(ci::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Guests(arguments) => guests::run(&arguments),
        Chore::Release(arguments) => release::run(&arguments),
        Chore::Toolchains => toolchains::run(),
        Chore::Sdk => sdk::run(),
        Chore::Demo(arguments) => demo::run(&arguments),
        Chore::Test(arguments) => test::run(&arguments),
        Chore::Bench(arguments) => bench::run(&arguments),
        Chore::Fuzz(arguments) => fuzz::run(&arguments),
        Chore::Chaos(arguments) => chaos::run(&arguments),
        Chore::Ci(arguments) => ci::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
