//! The operators that come with the program, as artifacts of every tenant: shown beside what the
//! tenant has uploaded, run from one file and one piece of compiled code for all, and nobody's to
//! change. What a tenant has uploaded under such a name goes first.
//!
//! They have no records: what there is follows from the program. A job that runs one has its
//! digest, as of any artifact, and its bytes are kept with those of uploads for as long as the job
//! is known: after the program was replaced by one with another such operator, it goes on with the
//! one that it was given.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use super::{Service, error::ServiceError};
use crate::{
    catalog::shelf::{OnShelf, Shelf},
    ids::{ArtifactDigest, ArtifactName, TenantId, VersionName},
    registry::records::{BuiltIn, Inspection, VersionRecord},
    sandbox::inspect,
};

/// The operators of the shelf, as this service has them.
#[derive(Debug)]
pub(super) struct BuiltIns {
    operators: Vec<Operator>,
    version: VersionName,
    /// When the service was opened, in milliseconds since 1970.
    since: i64,
}

#[derive(Debug)]
struct Operator {
    on_shelf: Arc<OnShelf>,
    /// Found out when somebody first asks.
    inspection: OnceLock<Inspection>,
}

impl BuiltIns {
    pub(super) fn new(shelf: &Shelf, since: i64) -> Self {
        let operator = |on_shelf: &Arc<OnShelf>| Operator {
            on_shelf: on_shelf.clone(),
            inspection: OnceLock::new(),
        };
        let version = VersionName::new(env!("CARGO_PKG_VERSION"));
        let version = version.expect("the program's version can name a version");
        Self { operators: shelf.iter().map(operator).collect(), version, since }
    }

    pub(super) fn has(&self, name: &ArtifactName) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.operators.is_empty()
    }

    /// Their names, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &ArtifactName> {
        self.operators.iter().map(|operator| &operator.on_shelf.name)
    }

    /// What one of them does, in a line.
    pub(super) fn about(&self, name: &ArtifactName) -> Option<&str> {
        self.get(name).map(|operator| operator.on_shelf.about.as_str())
    }

    /// The version that all of them have: the program's.
    pub(super) fn version(&self) -> &VersionName {
        &self.version
    }

    /// Whether it is the version that is meant: by its name, or because none was named. It has no
    /// tags, which are for whoever uploads versions.
    fn is_meant(&self, version: Option<&VersionName>) -> bool {
        version.is_none_or(|asked| *asked == self.version)
    }

    fn get(&self, name: &ArtifactName) -> Option<&Operator> {
        self.operators.iter().find(|operator| operator.on_shelf.name == *name)
    }

    pub(super) fn digests(&self) -> impl Iterator<Item = ArtifactDigest> {
        self.operators.iter().map(|operator| operator.on_shelf.digest)
    }

    fn of_digest(&self, digest: &ArtifactDigest) -> Option<&Arc<OnShelf>> {
        let mut all = self.operators.iter().map(|operator| &operator.on_shelf);
        all.find(|operator| operator.digest == *digest)
    }
}

fn cannot_read(operator: &OnShelf, error: &io::Error) -> ServiceError {
    tracing::error!("`{}` of the program cannot be read: {error}", operator.name);
    ServiceError::Unavailable(format!(
        "`{}`, which comes with the program, cannot be read: the server's log says why",
        operator.name
    ))
}

impl Service {
    /// An operator that comes with the program, as a tenant's version of it, if there is one of
    /// that name and it is the version that is meant. Blocks.
    pub(super) fn built_in(
        &self,
        tenant: &TenantId,
        name: &ArtifactName,
        version: Option<&VersionName>,
    ) -> Result<Option<VersionRecord>, ServiceError> {
        if !self.built_in.is_meant(version) {
            return Ok(None);
        }
        let found = self.built_in.get(name);
        found.map(|operator| self.as_version(tenant, operator)).transpose()
    }

    /// All of them, or the one of a name. Blocks.
    pub(super) fn all_built_in(
        &self,
        tenant: &TenantId,
        name: Option<&str>,
    ) -> Result<Vec<VersionRecord>, ServiceError> {
        let all = self.built_in.operators.iter();
        all.filter(|operator| name.is_none_or(|name| operator.on_shelf.name.as_str() == name))
            .map(|operator| self.as_version(tenant, operator))
            .collect()
    }

    fn as_version(
        &self,
        tenant: &TenantId,
        operator: &Operator,
    ) -> Result<VersionRecord, ServiceError> {
        let on_shelf = &operator.on_shelf;
        let inspection = match operator.inspection.get() {
            Some(known) => known.clone(),
            None => {
                let bytes = on_shelf.bytes().map_err(|error| cannot_read(on_shelf, &error))?;
                let found = inspect::without_compiling(&bytes)
                    .map_err(|error| cannot_read(on_shelf, &io::Error::other(error.to_string())))?;
                operator.inspection.get_or_init(|| found.into()).clone()
            }
        };
        Ok(VersionRecord {
            tenant: tenant.clone(),
            name: on_shelf.name.clone(),
            version: self.built_in.version.clone(),
            digest: on_shelf.digest,
            size: on_shelf.size,
            uploaded_at: self.built_in.since,
            uploaded_by: None,
            inspection,
            signed: None,
            built_in: BuiltIn::Yes,
        })
    }

    /// A version that a tenant has uploaded, with what it has to do with those of the program.
    pub(super) fn uploaded(&self, mut record: VersionRecord) -> VersionRecord {
        let hides = self.built_in.has(&record.name);
        record.built_in = if hides { BuiltIn::Hides } else { BuiltIn::No };
        record
    }

    /// The file of a digest: that of an operator of the program is put there first, if it is not
    /// there yet, so that it stays for those who run it. Blocks.
    pub(super) fn file_of(&self, digest: &ArtifactDigest) -> Result<PathBuf, ServiceError> {
        let path = self.blobs.path(digest);
        if path.is_file() {
            return Ok(path);
        }
        let Some(operator) = self.built_in.of_digest(digest) else { return Ok(path) };
        let bytes = operator.bytes().map_err(|error| cannot_read(operator, &error))?;
        let pending = self.blobs.pending();
        let kept = fs::File::create_new(&pending)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
            .and_then(|()| self.blobs.keep(&pending, digest));
        kept.map_err(|error| {
            // What is left of it goes with the next start.
            let _ = fs::remove_file(&pending);
            ServiceError::disk("keeping an operator that comes with the program")(error)
        })?;
        Ok(path)
    }

    /// What is said of a change to what comes with the program.
    pub(super) fn not_theirs(&self, name: &ArtifactName) -> ServiceError {
        ServiceError::Conflict(format!(
            "`{name}@{}` comes with the program: it can be neither deleted, replaced nor tagged. A \
             version of your own, called otherwise, goes before it wherever `{name}` is named \
             without a version",
            self.built_in.version
        ))
    }
}
