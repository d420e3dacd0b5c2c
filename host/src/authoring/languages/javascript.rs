//! JavaScript: Node.js runs the SDK's `build.mjs`, which bundles with esbuild and has QuickJS or
//! StarlingMonkey make a component that is pre-initialised. TypeScript is built the same way.

use std::path::{Path, PathBuf};

use crate::authoring::{
    language::Recipe,
    project::{BUILD, Project},
    tool::{ToolError, Tools},
};

pub(in crate::authoring) static RECIPE: Recipe = Recipe {
    project: "guest-sdk/javascript/project",
    sources: &[
        ("guest-sdk/javascript/operators/{kind}.js", "src/operator.js"),
        ("guest-sdk/javascript/operators/{kind}_test.js", "tests/operator.test.js"),
    ],
    sdk: &SDK,
    settings: &["engine"],
    native_test: "npm install && npm test",
    build,
};

/// What both languages have of the SDK.
pub(super) const SDK: [(&str, &str); 7] = [
    ("guest-sdk/javascript/cofferdam/lib", "lib"),
    ("guest-sdk/javascript/cofferdam/build.mjs", "build.mjs"),
    ("guest-sdk/javascript/cofferdam/cofferdam.js", "cofferdam.js"),
    ("guest-sdk/javascript/cofferdam/cofferdam.d.ts", "cofferdam.d.ts"),
    ("guest-sdk/javascript/cofferdam/testing.js", "testing.js"),
    ("guest-sdk/javascript/cofferdam/testing.d.ts", "testing.d.ts"),
    ("guest-sdk/javascript/cofferdam/package.json", "package.json"),
];

const NODE: &str = "`apt-get install nodejs npm`, or from https://nodejs.org";
const QUICKJS: &str = "quickjs";
const STARLINGMONKEY: &str = "starlingmonkey";

pub(super) fn build(project: &Project, tools: &Tools<'_>) -> Result<PathBuf, ToolError> {
    let node = tools.need(&["node"], "Node.js (20 or later)", NODE)?;
    let install = "`npm install`, in the project's folder";
    tools.need(&["esbuild"], "esbuild", install)?;
    let engine = project.setting("engine").unwrap_or(QUICKJS);
    match engine {
        QUICKJS => drop(tools.need(&["componentize-qjs"], "componentize-qjs", install)?),
        STARLINGMONKEY => {
            // It needs the second one, and does not say so.
            let install = "`npm install --save-dev @bytecodealliance/componentize-js@0.23.0 \
                           @bytecodealliance/preview2-shim@0.17.9`";
            tools.need(&["componentize-js"], "componentize-js", install)?;
        }
        other => {
            return Err(ToolError::Unfit(format!(
                "`build.engine` in operator.toml is `{QUICKJS}` or `{STARLINGMONKEY}`, not `{other}`"
            )));
        }
    }
    let made = Path::new(BUILD).join(format!("{}.wasm", project.name));
    let mut command = tools.command(node);
    command
        .args(["cofferdam/build.mjs", "--world", project.world.word(), "--engine", engine, "--out"])
        .arg(&made);
    tools.make(&mut command, &made)
}
