//! Expressions: no tools at all. The component is the operator `expr` of the shelf, which the
//! program finds as a job does; what differs from project to project stands in the `config` of the
//! job file.

use std::{fs, io, path::PathBuf};

use crate::{
    authoring::{
        language::Recipe,
        project::Project,
        tool::{ToolError, Tools},
    },
    catalog,
    config::job::ArtifactRef,
    ids::OperatorName,
};

pub(in crate::authoring) static RECIPE: Recipe = Recipe {
    project: "guest-sdk/expr/project",
    sources: &[],
    sdk: &[],
    settings: &[],
    native_test: "cofferdam operator dev",
    build,
};

/// What the operator is called on the shelf.
const SHELF: &str = "expr";

fn build(_: &Project, tools: &Tools<'_>) -> Result<PathBuf, ToolError> {
    let dirs = catalog::search_path(None);
    let found = OperatorName::new(SHELF)
        .ok()
        .and_then(|name| catalog::locate(&ArtifactRef::Named(name), &dirs));
    let from = found.ok_or_else(|| ToolError::Missing {
        what: format!(
            "the shelf's operator `{SHELF}` (looked for in {})",
            dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ")
        ),
        install: "a program that was built with it (`cargo xtask release`), the release's folder `operators` beside the program, or `cargo xtask guests` in \
                  Cofferdam's repository; COFFERDAM_ARTIFACTS may name another folder"
            .to_owned(),
    })?;
    let to = tools.folder("build")?.join("expr-shelf.wasm");
    let bytes = from.read().and_then(|bytes| bytes.map_err(io::Error::other));
    let copied = bytes.and_then(|bytes| fs::write(&to, bytes));
    copied.map_err(|reason| ToolError::File { path: to.clone(), reason })?;
    tools.made(to)
}
