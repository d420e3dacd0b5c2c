//! What an operator of a job file runs: which component, as it was written. Where that is found is
//! not known here.

use std::path::PathBuf;

use crate::ids::{ArtifactName, OperatorName, VersionName};

/// The operator of the shelf that evaluates expressions: what `expr` stands for in a job file.
pub const EXPR: &str = "expr";

/// Which component an operator runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactRef {
    /// One that is found by its name.
    Named(OperatorName),
    /// A file.
    Path(PathBuf),
    /// One that was uploaded to a service.
    Uploaded {
        /// Its name.
        name: ArtifactName,
        /// A version or a tag; the newest if not given.
        version: Option<VersionName>,
        /// Where its bytes are; none until the service has looked that up.
        file: Option<PathBuf>,
    },
    /// One that comes with the program, whatever else has its name: what `expr` stands for.
    OfShelf {
        /// Its name.
        name: ArtifactName,
        /// Where a service keeps its bytes; none until that has looked it up, and outside of one.
        file: Option<PathBuf>,
    },
}

impl ArtifactRef {
    /// What it is called, if it has a name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Named(name) => Some(name.as_str()),
            Self::Path(_) => None,
            Self::Uploaded { name, .. } | Self::OfShelf { name, .. } => Some(name.as_str()),
        }
    }
}

impl std::fmt::Display for ArtifactRef {
    /// As it is written in a job file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(name) => name.fmt(f),
            Self::Path(path) => path.display().fmt(f),
            Self::Uploaded { name, version: None, .. } | Self::OfShelf { name, .. } => name.fmt(f),
            Self::Uploaded { name, version: Some(version), .. } => write!(f, "{name}@{version}"),
        }
    }
}
