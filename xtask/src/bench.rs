//! `cargo xtask bench [GROUP]`: builds with optimisation, measures, prints a
//! table and writes `bench/GROUP.json` into the target directory. What is
//! measured stands in `tests/bench`.

use std::process::Command;

use anyhow::Result;

use crate::{guests, languages, process, workspace::Workspace};

/// What may be said on the command line.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to measure: `languages`, `isolation`, `neighbours`, `crowd`, `checkpoints` (or one part: `checkpoints:durations`, `:throughput`, `:disk`), `recovery`, `memsnap`, `service`, `traces`, `spine`, or one part of it (`slots`, `start`,
    /// `job:map`, `job:filter`, `job:count-5k`, `job:count-1m`, `job:window-5k`,
    /// `job:words`)
    #[arg(default_value = "spine")]
    group: String,
}

/// Builds and measures.
///
/// # Errors
/// If a step fails; it has said why.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = Workspace::load()?;
    guests::build(&workspace, guests::Choice::Auto)?;
    let build = ["build", "--release", "-p", "cofferdam", "-p", "cofferdam-bench"];
    process::run(process::cargo().args(build).current_dir(&workspace.root))?;
    if arguments.group == "languages" {
        return languages::run(&workspace);
    }
    let release = workspace.target.join("release");
    let mut bench = Command::new(release.join("cofferdam-bench"));
    bench
        .arg(&arguments.group)
        .arg(workspace.artifacts())
        .arg(release.join("cofferdam"))
        .arg(workspace.target.join("bench"));
    process::run(&mut bench)
}
