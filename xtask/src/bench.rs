//! `cargo xtask bench [GROUP]`: builds with optimisation, measures, prints a
//! table and writes `bench/GROUP.json` into the target directory. What is
//! measured stands in `tests/bench`.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, bail};

use crate::{guests, languages, process, workspace::Workspace};

/// What may be said on the command line.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to measure: `languages` (or one: `languages:zig`), `isolation`, `neighbours`, `crowd`, `checkpoints` (or one part: `checkpoints:durations`, `:throughput`, `:disk`), `recovery`, `memsnap`, `service`, `traces`, `spine`, or one part of it (`slots`, `start`,
    /// `job:map`, `job:filter`, `job:count-5k`, `job:count-1m`, `job:window-5k`,
    /// `job:words`)
    #[arg(default_value = "spine")]
    group: String,

    /// Measure languages with this `cofferdam` program, and build none
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Builds and measures.
///
/// # Errors
/// If a step fails; it has said why.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = Workspace::load()?;
    let languages =
        arguments.group.strip_prefix("languages").map(|one| one.trim_start_matches(':'));
    match (&arguments.program, languages) {
        (Some(program), Some(one)) => return languages::run(&workspace, program, one),
        (Some(_), None) => {
            bail!("--program is for `languages`: the others are measured from within")
        }
        (None, _) => {}
    }
    guests::build(&workspace, guests::Choice::Auto)?;
    let build = ["build", "--release", "-p", "cofferdam", "-p", "cofferdam-bench"];
    process::run(process::cargo().args(build).current_dir(&workspace.root))?;
    let release = workspace.target.join("release");
    if let Some(one) = languages {
        return languages::run(&workspace, &release.join("cofferdam"), one);
    }
    let mut bench = Command::new(release.join("cofferdam-bench"));
    bench
        .arg(&arguments.group)
        .arg(workspace.artifacts())
        .arg(release.join("cofferdam"))
        .arg(workspace.target.join("bench"));
    process::run(&mut bench)
}
