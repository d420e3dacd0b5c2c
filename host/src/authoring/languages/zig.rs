//! Zig: one program, which brings everything.

use std::path::{Path, PathBuf};

use crate::authoring::{
    language::Recipe,
    project::Project,
    tool::{self, ToolError, Tools},
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
    let said = tools.ask(tools.command(&zig).arg("version"))?;
    if tool::version(&said).is_none_or(|version| version < OLDEST) {
        let (version, (major, minor)) = (said.trim(), OLDEST);
        return Err(ToolError::Unfit(format!(
            "zig is {version}, and the SDK is for {major}.{minor} or later: {INSTALL}"
        )));
    }
    let module = "build/module.wasm";
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
    tools.make(&mut command, Path::new(module))
}

/// What is checked while it runs, and how fast that is.
fn mode(project: &Project) -> Result<&str, ToolError> {
    let Some(value) = project.settings.get("optimize") else { return Ok("ReleaseSafe") };
    value.as_str().filter(|mode| MODES.contains(mode)).ok_or_else(|| {
        let modes = MODES.join(", ");
        ToolError::Unfit(format!("`build.optimize` in operator.toml is one of {modes}"))
    })
}
