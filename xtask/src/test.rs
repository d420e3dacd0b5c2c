//! `cargo xtask test`: the guests, then every test of the workspace.

use std::process::Command;

use anyhow::Result;

use crate::{
    guests, process,
    workspace::{ARTIFACTS_VARIABLE, Workspace},
};

/// What may be said on the command line.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Passed on to `cargo test --workspace`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo: Vec<String>,
}

/// Builds the guests and runs the tests.
///
/// # Errors
/// If a guest cannot be built or a test fails.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = Workspace::load()?;
    guests::build(&workspace, guests::Choice::Auto)?;
    process::run(cargo_test(&workspace).args(&arguments.cargo))
}

/// `cargo test` for the whole workspace, with the way to the guests.
pub(crate) fn cargo_test(workspace: &Workspace) -> Command {
    let mut command = process::cargo();
    command
        .args(["test", "--workspace"])
        .current_dir(&workspace.root)
        .env(ARTIFACTS_VARIABLE, workspace.artifacts());
    command
}
