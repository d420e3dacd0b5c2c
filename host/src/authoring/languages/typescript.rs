//! TypeScript: its compiler checks the types where the project has it; all else is as for
//! JavaScript, since esbuild takes the types away.

use std::path::PathBuf;

use super::javascript::{self, SDK};
use crate::authoring::{
    language::Recipe,
    project::Project,
    tool::{ToolError, Tools},
};

pub(in crate::authoring) static RECIPE: Recipe = Recipe {
    project: "guest-sdk/typescript/project",
    sources: &[
        ("guest-sdk/typescript/operators/{kind}.ts", "src/operator.ts"),
        ("guest-sdk/typescript/operators/{kind}_test.ts", "tests/operator.test.ts"),
    ],
    sdk: &{
        let [lib, build, sdk, types, testing, testing_types, package] = SDK;
        let tests = ("guest-sdk/typescript/cofferdam/run-tests.mjs", "run-tests.mjs");
        [lib, build, sdk, types, testing, testing_types, package, tests]
    },
    settings: &["engine"],
    native_test: "npm install && npm test",
    build,
};

fn build(project: &Project, tools: &Tools<'_>) -> Result<PathBuf, ToolError> {
    // Of the project, and of no other place: it takes the types that are installed beside it.
    let compiler = project.dir.join("node_modules/.bin/tsc");
    if compiler.is_file() {
        tools.run(tools.command(compiler).arg("--noEmit"))?;
    }
    javascript::build(project, tools)
}
