//! The REST API against its OpenAPI document, by schemathesis: that is a program in Python, which is
//! installed into the target directory, and a test that runs it.

use std::{env, path::PathBuf};

use anyhow::Result;

use super::Outcome;
use crate::{process, test, toolchains, workspace::Workspace};

/// What is installed, at which version.
const REQUIREMENTS: &str = "tests/contract/requirements.txt";

/// Installs schemathesis, if it is not there, and runs the test that asks for it.
pub(super) fn check(workspace: &Workspace) -> Outcome {
    let program = match tool(workspace) {
        Ok(program) => program,
        // Where nobody expects it, a machine without Python is no failure.
        Err(error) if env::var_os("CI").is_none() => {
            return Ok(Some(format!("skipped, without schemathesis: {error:#}")));
        }
        Err(error) => return Err(error),
    };
    let mut command = test::cargo_test(workspace);
    command.args(["--test", "service_contract"]);
    process::run(command.env("COFFERDAM_SCHEMATHESIS", program))?;
    Ok(None)
}

/// The program in the target directory, after installing it.
fn tool(workspace: &Workspace) -> Result<PathBuf> {
    let root = workspace.target.join("tools/schemathesis");
    toolchains::packages_of_python(workspace, &root, REQUIREMENTS)?;
    Ok(root.join("bin/schemathesis"))
}
