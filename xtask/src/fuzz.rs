//! `cargo xtask fuzz`: builds the fuzzer and lets it run, one target after the
//! other. What is mutated, and how, stands in `fuzz/`.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{process, workspace::Workspace};

/// Every target.
const TARGETS: [&str; 3] = ["outcome", "fold", "upload"];

/// What may be said on the command line.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// `outcome`, `fold` or `upload`; all of them if none is given
    target: Option<String>,
    /// Ends each target after so long
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Ends each target after so many inputs, however long that takes
    #[arg(long)]
    runs: Option<u64>,
    /// Repeats a run
    #[arg(long)]
    seed: Option<u64>,
}

/// Builds and fuzzes.
///
/// # Errors
/// If the host failed; where the input is that it failed on has been said.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let targets = match arguments.target.as_deref() {
        None => TARGETS.to_vec(),
        Some(target) if TARGETS.contains(&target) => vec![target],
        Some(other) => bail!("there is no target `{other}`; there are {}", TARGETS.join(", ")),
    };
    let workspace = Workspace::load()?;
    for target in targets {
        let (seconds, runs) = (arguments.seconds.to_string(), arguments.runs);
        let mut command = fuzzer(&workspace)?;
        command.args([target, "--seconds", &seconds]);
        for (name, value) in [("--runs", runs), ("--seed", arguments.seed)] {
            if let Some(value) = value {
                command.args([name, &value.to_string()]);
            }
        }
        process::run(&mut command)?;
    }
    Ok(())
}

/// A smoke run of every target, for `cargo xtask ci`.
///
/// # Errors
/// As [`run`].
pub(crate) fn smoke(workspace: &Workspace, seconds: u64) -> Result<()> {
    for target in TARGETS {
        process::run(fuzzer(workspace)?.args([target, "--seconds", &seconds.to_string()]))?;
    }
    Ok(())
}

/// The fuzzer, built, with what it needs to know.
fn fuzzer(workspace: &Workspace) -> Result<Command> {
    let build = ["build", "--quiet", "-p", "cofferdam", "-p", "cofferdam-fuzz"];
    process::run(process::cargo().args(build).current_dir(&workspace.root))?;
    let built = workspace.target.join("debug");
    let mut command = Command::new(built.join("cofferdam-fuzz"));
    command
        .arg("--corpus")
        .arg(workspace.root.join("fuzz/corpus"))
        .arg("--failures")
        .arg(workspace.target.join("fuzz"))
        .arg("--program")
        .arg(built.join("cofferdam"));
    Ok(command)
}
