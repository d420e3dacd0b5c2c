//! The supply chain: licences, sources and banned crates, by `cargo deny` under
//! `deny.toml`. The tool is installed once, into the target directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::Outcome;
use crate::{process, workspace::Workspace};

/// Runs `cargo deny check`; the advisory database is asked only if wanted,
/// since it lies on a network.
pub(super) fn check(workspace: &Workspace, advisories: bool) -> Outcome {
    let tool = tool(workspace)?;
    let mut command = Command::new(tool);
    command
        .args(["--workspace", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"])
        .current_dir(&workspace.root);
    if advisories {
        command.arg("advisories");
    }
    process::run(&mut command)?;
    Ok((!advisories).then(|| "without advisories: `--advisories` asks for them".to_owned()))
}

/// `cargo-deny` on the path, or the one in the target directory, or that one
/// after installing it.
fn tool(workspace: &Workspace) -> Result<PathBuf> {
    let on_path = Path::new("cargo-deny");
    if process::output(Command::new(on_path).arg("--version")).is_ok() {
        return Ok(on_path.to_owned());
    }
    let root = workspace.target.join("tools");
    let installed = root.join("bin/cargo-deny");
    if installed.is_file() {
        return Ok(installed);
    }
    println!("installing cargo-deny into {}: some minutes, once", workspace.shown(&root));
    let build = root.join("build");
    let mut command = process::cargo();
    command
        // Unoptimised: it runs for seconds and would compile for minutes more.
        .args(["install", "--quiet", "--locked", "--debug", "cargo-deny", "--root"])
        .arg(&root)
        .env("CARGO_TARGET_DIR", &build)
        // Away from the clone, whose settings are not meant for it.
        .current_dir(&workspace.target);
    process::run(&mut command).context("cargo-deny is not there and cannot be installed")?;
    // A gigabyte that nobody needs again; if it stays, it is only in the way.
    let _ = fs::remove_dir_all(build);
    Ok(installed)
}
