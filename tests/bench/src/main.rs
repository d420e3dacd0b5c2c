//! `cargo xtask bench [GROUP]`: measures, prints a table, and writes
//! `GROUP.json` into the target directory. A group is a file; what they share
//! stands in `report` (tables, bars), `machine` (clocks, memory) and `http` (a client).
//!
//! Machines are shared and noisy: trust ratios of the same run.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks")]
#![allow(clippy::disallowed_methods, reason = "here time is what is measured")]

mod checkpoints;
mod http;
mod ingest;
mod isolation;
mod jobs;
mod machine;
mod memsnap;
mod native;
mod neighbours;
mod recovery;
mod report;
mod running;
mod service;
mod slots;
mod start;
mod traces;

use std::{path::PathBuf, process::ExitCode};

use report::Report;

/// Where things are, as `cargo xtask bench` says.
pub(crate) struct Places {
    /// Components, by name.
    pub(crate) guests: PathBuf,
    /// The `cofferdam` program.
    pub(crate) program: PathBuf,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [group, guests, program, out] = arguments.as_slice() else {
        eprintln!("usage: cofferdam-bench GROUP GUESTS PROGRAM OUT (see cargo xtask bench)");
        return ExitCode::FAILURE;
    };
    let places = Places { guests: guests.into(), program: program.into() };
    match run(group, &places, &PathBuf::from(out)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Writes every line of log, as the program does, to where nobody reads it.
fn log_to_nowhere() {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .with_writer(std::io::sink)
        .init();
}

fn run(group: &str, places: &Places, out: &std::path::Path) -> anyhow::Result<()> {
    let mut report = Report::default();
    let runtime = cofferdam::task_manager::runtime()?;
    match group {
        "spine" => {
            runtime.block_on(slots::measure(places, &mut report))?;
            runtime.block_on(start::measure(places, &mut report))?;
            runtime.block_on(jobs::measure(places, &mut report, None))?;
        }
        "isolation" => runtime.block_on(isolation::measure(places, &mut report))?,
        "neighbours" => {
            log_to_nowhere();
            runtime.block_on(neighbours::measure(places, &mut report))?;
        }
        "memsnap" => runtime.block_on(memsnap::measure(places, &mut report))?,
        "crowd" => runtime.block_on(neighbours::crowd(places, &mut report))?,
        "checkpoints" => runtime.block_on(checkpoints::measure(places, &mut report, None))?,
        "service" => service::measure(places, &mut report)?,
        "traces" => runtime.block_on(traces::measure(places, &mut report))?,
        "recovery" => runtime.block_on(recovery::measure(places, &mut report))?,
        // One part of the spine, while working on it.
        "slots" => runtime.block_on(slots::measure(places, &mut report))?,
        "start" => runtime.block_on(start::measure(places, &mut report))?,
        part if part.starts_with("checkpoints:") => {
            let part = part.strip_prefix("checkpoints:");
            runtime.block_on(checkpoints::measure(places, &mut report, part))?;
        }
        other => match other.strip_prefix("job:") {
            Some(name) => runtime.block_on(jobs::measure(places, &mut report, Some(name)))?,
            None => anyhow::bail!(
                "there is no group `{other}`; there is: spine, isolation, neighbours, crowd, checkpoints, recovery, service, memsnap, traces, slots, start, job:NAME"
            ),
        },
    }
    report.write(group, out)
}
