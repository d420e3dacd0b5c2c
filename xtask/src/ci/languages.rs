//! Operators in every language: their tools are installed, and the tests that need them run.

use std::env;

use anyhow::Result;

use super::Outcome;
use crate::{process, test, toolchains, workspace::Workspace};

/// Where the tests are that need the tools of languages.
const TESTS: [&str; 3] = ["conformance", "authoring", "authoring_javascript"];

/// Installs the tools, if they are not there, and runs the tests that ask for them.
pub(super) fn check(workspace: &Workspace) -> Outcome {
    match toolchains::run() {
        Ok(()) => {}
        // Where nobody expects them, a machine without them is no failure.
        Err(error) if env::var_os("CI").is_none() => {
            return Ok(Some(format!("skipped: {error:#}")));
        }
        Err(error) => return Err(error),
    }
    run(workspace)?;
    Ok(None)
}

fn run(workspace: &Workspace) -> Result<()> {
    let mut command = test::cargo_test(workspace);
    for test in TESTS {
        command.args(["--test", test]);
    }
    command.arg("--no-fail-fast").env("COFFERDAM_ALL_LANGUAGES", "1");
    process::run(&mut command)
}
