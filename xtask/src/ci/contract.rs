//! The REST API against its OpenAPI document, by schemathesis: that is a program in Python, which is
//! installed into the target directory, and a test that runs it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::Outcome;
use crate::{process, test, workspace::Workspace};

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
    let wanted = workspace.root.join(REQUIREMENTS);
    let wanted =
        fs::read_to_string(&wanted).with_context(|| format!("cannot read {}", wanted.display()))?;
    let root = workspace.target.join("tools/schemathesis");
    let (program, installed) = (root.join("bin/schemathesis"), root.join("requirements.txt"));
    // Written when all of it is there.
    if program.is_file() && fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
        return Ok(program);
    }
    println!("installing schemathesis into {}", workspace.shown(&root));
    let _ = fs::remove_dir_all(&root);
    let python = Path::new("python3");
    process::run(Command::new(python).args(["-m", "venv"]).arg(&root))
        .context("python3 cannot make a place for packages (Debian: python3-venv)")?;
    let mut pip = Command::new(root.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    pip.arg(workspace.root.join(REQUIREMENTS));
    process::run(&mut pip).context("schemathesis cannot be installed")?;
    fs::write(&installed, wanted).context("cannot write what was installed")?;
    Ok(program)
}
