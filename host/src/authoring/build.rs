//! From source to a checked component: the language's tools make a module, ours make a component
//! of it, and it is held to the contract as an upload would be.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    fit::misfit,
    project::{BUILD, Project},
    tool::{ToolError, Tools},
};
use crate::{
    clock::Stopwatch,
    config::job::Grant,
    sandbox::{
        Artifact, Inspection, LoadError, Sandbox,
        componentize::{
            CONTRACT_WIT, Preview1, Recipe, component_of, interfaces_of, is_core_module,
        },
    },
};

/// A component that was built.
#[derive(Debug)]
pub struct Built {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// It, ready to be run.
    pub artifact: Artifact,
    /// What is known of it.
    pub inspection: Inspection,
    /// How long it took to compile it for this machine, or to find it compiled.
    pub checking_took: Duration,
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum NotBuilt {
    /// The language's tools did not make a module.
    #[error("{0}")]
    Tool(#[from] ToolError),
    /// What they made is refused.
    #[error("{} is refused: {reason}", path.display())]
    Refused {
        /// What they made.
        path: PathBuf,
        /// Why.
        #[source]
        reason: LoadError,
    },
    /// What they made is not what the project says.
    #[error("{} is no operator yet: {why}", path.display())]
    Misfit {
        /// What they made.
        path: PathBuf,
        /// What is missing, and what to do.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        reason: io::Error,
    },
}

/// Has the language's tools make a module, and makes `build/NAME.wasm` of it, which may still be
/// refused by [`load`]. Returns where that is, and how long the tools took.
///
/// # Errors
/// If they do not, or no component can be made of it.
pub fn build(project: &Project) -> Result<(PathBuf, Duration), NotBuilt> {
    let tools = Tools::of(&project.dir);
    tools.folder(BUILD)?;
    let watch = Stopwatch::start();
    let made = (project.language.recipe().build)(project, &tools)?;
    let took = watch.elapsed();
    let mut bytes = read(&made)?;
    if is_core_module(&bytes) {
        let exported = interfaces_of(&bytes);
        if let Some(why) = misfit(project.language, project.world, &exported) {
            return Err(NotBuilt::Misfit { path: made, why });
        }
        let refused = |reason| NotBuilt::Refused { path: made.clone(), reason };
        bytes = component(project, &bytes).map_err(refused)?;
    }
    let path = project.component();
    let written = fs::write(&path, &bytes);
    written.map_err(|reason| NotBuilt::File { path: path.clone(), reason })?;
    Ok((path, took))
}

/// A component of a core module, by the contract that the project was made with.
fn component(project: &Project, module: &[u8]) -> Result<Vec<u8>, LoadError> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(project.sdk().join("wit")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        if name.ends_with(".wit") {
            texts.push((name, text));
        }
    }
    let theirs: Vec<_> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let wit = if theirs.is_empty() { &CONTRACT_WIT[..] } else { &theirs };
    let preview1 = if project.wasi { Preview1::Adapter } else { Preview1::Stub };
    component_of(module, &Recipe { world: project.world.word(), wit, preview1 })
}

/// Loads a component as an upload would be.
///
/// # Errors
/// If it is refused.
pub fn load(sandbox: &Sandbox, path: &Path, grants: &[Grant]) -> Result<Built, NotBuilt> {
    let watch = Stopwatch::start();
    let bytes = read(path)?;
    let refused = |reason| NotBuilt::Refused { path: path.to_owned(), reason };
    let artifact = sandbox.load(&bytes, grants).map_err(refused)?;
    let checking_took = watch.elapsed();
    let inspection = sandbox.inspect(&artifact, &bytes).map_err(refused)?;
    let path = path.to_owned();
    Ok(Built { path, bytes, artifact, inspection, checking_took })
}

fn read(path: &Path) -> Result<Vec<u8>, NotBuilt> {
    fs::read(path).map_err(|reason| NotBuilt::File { path: path.to_owned(), reason })
}
