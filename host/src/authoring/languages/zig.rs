//! Zig: one program, which brings everything.

use std::{fs, path::PathBuf};

use crate::authoring::{
    language::Recipe,
    project::Project,
    tool::{ToolError, Tools},
};

pub(in crate::authoring) static RECIPE: Recipe = Recipe {
    project: "guest-sdk/zig/project",
    sources: &[("guest-sdk/zig/operators/{kind}.zig", "src/operator.zig")],
    sdk: &[
        ("guest-sdk/zig/cofferdam.zig", "cofferdam.zig"),
        ("guest-sdk/zig/contract.zig", "contract.zig"),
        ("guest-sdk/zig/testing.zig", "testing.zig"),
    ],
    settings: &["optimize"],
    native_test: "zig build test",
    build,
};

/// Its library changes with each version: what is older has another one.
const OLDEST: (u32, u32) = (0, 17);
const INSTALL: &str = "`pip install ziglang==0.17.1`";
const MODES: [&str; 4] = ["Debug", "ReleaseSafe", "ReleaseFast", "ReleaseSmall"];

fn build(project: &Project, tools: &Tools<'_>) -> Result<PathBuf, ToolError> {
    let zig = tools.need(&["zig", "python-zig"], "zig", INSTALL)?;
    let version = tools.ask(tools.command(&zig).arg("version"))?;
    if !new_enough(&version) {
        let (version, (major, minor)) = (version.trim(), OLDEST);
        return Err(ToolError::Unfit(format!(
            "zig is {version}, and the SDK is for {major}.{minor} or later: {INSTALL}"
        )));
    }
    let module = "build/module.wasm";
    let made = project.dir.join(module);
    let _ = fs::remove_file(&made);
    let mut command = tools.command(zig);
    command.args(["build-exe", "-target", "wasm32-freestanding"]).args([
        "-mcpu=generic+bulk_memory+nontrapping_fptoint+sign_ext+simd128",
        "-O",
        mode(project)?,
        "-fno-strip",
        "-fno-entry",
        "-rdynamic",
        "--stack",
        "131072",
        "--cache-dir",
        "build/zig-cache",
        "--dep",
        "cofferdam",
        "-Mroot=src/operator.zig",
        "-Mcofferdam=cofferdam/cofferdam.zig",
    ]);
    command.arg(format!("-femit-bin={module}"));
    tools.run(&mut command)?;
    tools.made(made)
}

/// What is checked while it runs, and how fast that is.
fn mode(project: &Project) -> Result<&str, ToolError> {
    let Some(value) = project.settings.get("optimize") else { return Ok("ReleaseSafe") };
    value.as_str().filter(|mode| MODES.contains(mode)).ok_or_else(|| {
        let modes = MODES.join(", ");
        ToolError::Unfit(format!("`build.optimize` in operator.toml is one of {modes}"))
    })
}

fn new_enough(version: &str) -> bool {
    let mut numbers = version.trim().split(['.', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= OLDEST,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for good in ["0.17.1\n", "0.18.0-dev.12+abc", "1.0.0"] {
            assert!(new_enough(good), "{good}");
        }
        for bad in ["0.16.0", "0.9.1", "", "zig"] {
            assert!(!new_enough(bad), "{bad}");
        }
    }
}
