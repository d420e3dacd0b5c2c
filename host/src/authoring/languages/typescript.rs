//! typescript: its tools, and how a module is made with them.

use std::path::PathBuf;

use crate::authoring::{
    language::Recipe,
    project::Project,
    tool::{ToolError, Tools},
};

pub(in crate::authoring) static RECIPE: Recipe = Recipe {
    project: "guest-sdk/typescript/project",
    sources: &[],
    sdk: &[],
    settings: &[],
    native_test: "",
    build,
};

fn build(project: &Project, _: &Tools<'_>) -> Result<PathBuf, ToolError> {
    Err(ToolError::NotMade { path: project.component() })
}
