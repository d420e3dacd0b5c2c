//! Artifacts: where they are found by name, and loaded once however many
//! operators use them. What comes with the program is in [`shelf`].

pub mod shelf;

use std::{
    borrow::Cow,
    collections::HashMap,
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use self::shelf::OnShelf;
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
    /// It cannot be read.
    #[error("cannot read the operator {place}: {source}")]
    Unreadable {
        /// Where it is.
        place: Located,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It was refused.
    #[error("the operator {place} is refused: {source}")]
    Refused {
        /// Where it is.
        place: Located,
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
    loaded: HashMap<(Located, Vec<Grant>, bool), Artifact>,
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
        let place = locate(reference, &self.dirs).ok_or_else(|| self.not_found(reference))?;
        let key = (place, grants.to_vec(), saving_memory);
        if let Some(artifact) = self.loaded.get(&key) {
            return Ok(artifact.clone());
        }
        let place = &key.0;
        let refused = |source| CatalogError::Refused { place: place.clone(), source };
        let bytes = place
            .read()
            .map_err(|source| CatalogError::Unreadable { place: place.clone(), source })?
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
        let known = known.chain(shelf::names_in_program());
        let nearest = known.map(|known| (strsim::damerau_levenshtein(name, &known), known)).min();
        match nearest {
            Some((distance, known)) if distance <= name.len() / 2 => {
                format!(" (did you mean `{known}`?)")
            }
            _ => String::new(),
        }
    }
}

/// Where a component is.
#[derive(Debug, Clone)]
pub enum Located {
    /// In a file.
    File(PathBuf),
    /// In the program itself.
    Program(Arc<OnShelf>),
}

impl PartialEq for Located {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(other)) => one == other,
            (Self::Program(one), Self::Program(other)) => one.digest == other.digest,
            _ => false,
        }
    }
}

impl Eq for Located {}

impl std::hash::Hash for Located {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match self {
            Self::File(path) => path.hash(state),
            Self::Program(operator) => operator.digest.hash(state),
        }
    }
}

impl std::fmt::Display for Located {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Program(operator) => write!(f, "`{}` of the program", operator.name),
        }
    }
}

impl Located {
    /// The file, if it is one.
    #[must_use]
    pub fn file(self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::Program(_) => None,
        }
    }

    /// Its bytes, unless there are too many. Blocks.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self) -> io::Result<Result<Cow<'static, [u8]>, LoadError>> {
        match self {
            Self::File(path) => Ok(read_bounded(path)?.map(Cow::Owned)),
            Self::Program(operator) => operator.bytes().map(Ok),
        }
    }
}

/// Where an artifact is: for a name, the first of that name in the directories, else in the
/// program.
#[must_use]
pub fn locate(reference: &ArtifactRef, dirs: &[PathBuf]) -> Option<Located> {
    match reference {
        ArtifactRef::Named(name) => by_name(name.as_str(), dirs),
        ArtifactRef::OfShelf { name, file: None } => by_name(name.as_str(), dirs),
        ArtifactRef::Path(path) => Some(Located::File(path.clone())),
        ArtifactRef::Uploaded { file, .. } | ArtifactRef::OfShelf { file, .. } => {
            file.clone().map(Located::File)
        }
    }
}

fn by_name(name: &str, dirs: &[PathBuf]) -> Option<Located> {
    let file = format!("{name}.wasm");
    let found = dirs.iter().map(|dir| dir.join(&file)).find(|path| path.is_file());
    found.map(Located::File).or_else(|| shelf::in_program(name).map(Located::Program))
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
