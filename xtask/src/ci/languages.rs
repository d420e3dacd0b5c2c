//! Operators in every language: their tools are installed, the SDKs are packed, and the tests that
//! need all of that run.

use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use super::{Outcome, files};
use crate::{process, sdk, test, toolchains, workspace::Workspace};

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
    sdk::run()?;
    run(workspace)?;
    Ok(None)
}

fn run(workspace: &Workspace) -> Result<()> {
    let mut command = test::cargo_test(workspace);
    for test in tests(workspace)? {
        command.args(["--test", &test]);
    }
    command.arg("--no-fail-fast").env("COFFERDAM_ALL_LANGUAGES", "1");
    process::run(&mut command)
}

/// The tests that ask whether the tools are there, by what they use of the harness.
fn tests(workspace: &Workspace) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for path in files::with_extension(&workspace.root.join("tests/tests"), "rs")? {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if text.contains("authoring::{") && text.contains("has(") {
            found.push(name.to_owned());
        }
    }
    if found.is_empty() {
        bail!("no test asks for the tools of languages: the harness has changed");
    }
    Ok(found)
}
