//! Artifacts: where they are found by name, and loaded once however many
//! operators use them.

use std::{
    collections::HashMap,
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    config::job::{ArtifactRef, Grant},
    sandbox::{Artifact, LoadError, Sandbox, artifact::MAX_ARTIFACT},
};

/// Why an artifact cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// There is none of that name.
    #[error(
        "there is no operator `{name}`{suggestion}; looked for `{name}.wasm` in {}. \
         Build the shelf with `cargo xtask guests`, or name a directory with --artifacts",
        list(searched)
    )]
    NotFound {
        /// The name.
        name: String,
        /// " (did you mean …?)", or nothing.
        suggestion: String,
        /// Where it was looked for.
        searched: Vec<PathBuf>,
    },
    /// The file cannot be read.
    #[error("cannot read the operator {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It was refused.
    #[error("the operator {} is refused: {source}", path.display())]
    Refused {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: LoadError,
    },
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
    if paths.is_empty() { "no directory".into() } else { paths.join(", ") }
}

/// Finds and loads artifacts.
#[derive(Debug)]
pub struct Catalog {
    sandbox: Arc<Sandbox>,
    dirs: Vec<PathBuf>,
    loaded: HashMap<(PathBuf, Vec<Grant>, bool), Artifact>,
}

impl Catalog {
    /// Looks for names in these directories, in order.
    #[must_use]
    pub fn new(sandbox: Arc<Sandbox>, dirs: Vec<PathBuf>) -> Self {
        Self { sandbox, dirs, loaded: HashMap::new() }
    }

    /// An artifact, loaded and checked; with `saving_memory`, for instances whose memory
    /// is saved without their help.
    ///
    /// # Errors
    /// If it cannot be found or read, or is refused.
    pub fn load(
        &mut self,
        reference: &ArtifactRef,
        grants: &[Grant],
        saving_memory: bool,
    ) -> Result<Artifact, CatalogError> {
        let path = locate(reference, &self.dirs).ok_or_else(|| self.not_found(reference))?;
        let key = (path, grants.to_vec(), saving_memory);
        if let Some(artifact) = self.loaded.get(&key) {
            return Ok(artifact.clone());
        }
        let path = &key.0;
        let refused = |source| CatalogError::Refused { path: path.clone(), source };
        let bytes = read_bounded(path)
            .map_err(|source| CatalogError::Unreadable { path: path.clone(), source })?
            .map_err(refused)?;
        let artifact = if saving_memory {
            self.sandbox.load_saving_memory(&bytes, grants)
        } else {
            self.sandbox.load(&bytes, grants)
        };
        let artifact = artifact.map_err(refused)?;
        self.loaded.insert(key, artifact.clone());
        Ok(artifact)
    }

    fn not_found(&self, reference: &ArtifactRef) -> CatalogError {
        let name = reference.to_string();
        let suggestion = self.suggest(&name);
        CatalogError::NotFound { name, suggestion, searched: self.dirs.clone() }
    }

    fn suggest(&self, name: &str) -> String {
        let known = self.dirs.iter().flat_map(|dir| names_in(dir));
        let nearest = known.map(|known| (strsim::damerau_levenshtein(name, &known), known)).min();
        match nearest {
            Some((distance, known)) if distance <= name.len() / 2 => {
                format!(" (did you mean `{known}`?)")
            }
            _ => String::new(),
        }
    }
}

/// The file of an artifact: for a name, the first of its name in the directories.
#[must_use]
pub fn locate(reference: &ArtifactRef, dirs: &[PathBuf]) -> Option<PathBuf> {
    match reference {
        ArtifactRef::Named(name) => {
            let file = format!("{name}.wasm");
            dirs.iter().map(|dir| dir.join(&file)).find(|path| path.is_file())
        }
        ArtifactRef::Path(path) => Some(path.clone()),
        ArtifactRef::Uploaded { file, .. } => file.clone(),
    }
}

/// Reads a file that may be an artifact. One that is too large, or no file but
/// something without end, is not read to find that out.
fn read_bounded(path: &Path) -> io::Result<Result<Vec<u8>, LoadError>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let too_large = |size: u64| {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        Ok(Err(LoadError::TooLarge { size, limit: MAX_ARTIFACT }))
    };
    if metadata.len() > MAX_ARTIFACT as u64 {
        return too_large(metadata.len());
    }
    // It may grow while it is read.
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    fs::File::open(path)?.take(MAX_ARTIFACT as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_ARTIFACT {
        return too_large(bytes.len() as u64);
    }
    Ok(Ok(bytes))
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".wasm").map(str::to_owned))
        .collect()
}

/// Where operators are looked for by name: where the user says, where the
/// environment says, and beside the program (`operators/`), which is where
/// `cargo xtask guests` and an installation put them.
#[must_use]
pub fn search_path(given: Option<&Path>) -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = given.map(Path::to_owned).into_iter().collect();
    dirs.extend(std::env::var_os("COFFERDAM_ARTIFACTS").map(PathBuf::from));
    if let Ok(program) = std::env::current_exe()
        && let Some(dir) = program.parent()
    {
        dirs.push(dir.join("operators"));
        // A build of this repository: target/<profile>/cofferdam, target/guests.
        dirs.extend(dir.parent().map(|target| target.join("guests")));
    }
    dirs
}
