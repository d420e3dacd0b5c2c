//! What a job keeps on disk, told to the account of its tenant, and asked of it before more is
//! written. Whether there is room is decided in `tenancy::disk`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    checkpoint::CheckpointStore,
    ids::TenantId,
    tenancy::disk::{Account, Claim, Claimed, DiskBook, Kept, OverDisk},
};

/// The accounts of a job with a state directory. Posted records have their own.
#[derive(Debug, Clone)]
pub struct JobDisk {
    checkpoints: Account,
    savepoints: Account,
    state: PathBuf,
}

impl JobDisk {
    /// Of a job whose state is in this directory.
    #[must_use]
    pub fn new(book: &DiskBook, tenant: &TenantId, job: &str, state: &Path) -> Self {
        Self {
            checkpoints: book.account(tenant, job, Kept::Checkpoints, ""),
            savepoints: book.account(tenant, job, Kept::Savepoints, ""),
            state: state.to_owned(),
        }
    }

    /// Room for what is about to be written, until it is measured and the answer is dropped.
    ///
    /// # Errors
    /// If the tenant may not keep so much.
    pub fn claim(&self, bytes: u64, claim: Claim) -> Result<Claimed, OverDisk> {
        self.checkpoints.claim(bytes, claim)
    }

    /// Looks at the few files of the database of checkpoints.
    pub fn measure_checkpoints(&self, store: &dyn CheckpointStore) {
        match store.size() {
            Ok(size) => self.checkpoints.holds(size.disk),
            Err(error) => tracing::warn!("what checkpoints take is not known: {error}"),
        }
    }

    /// Looks at the files of savepoints.
    pub fn measure_savepoints(&self) {
        match savepoints_of(&self.state) {
            Ok(bytes) => self.savepoints.holds(bytes),
            Err(error) => tracing::warn!("what savepoints take is not known: {error}"),
        }
    }
}

/// Bytes of the savepoints in a state directory.
///
/// # Errors
/// If the system does not say.
pub fn savepoints_of(state: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(state.join("savepoints")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        found => found?,
    };
    let mut bytes = 0;
    for entry in entries {
        // One may go at any moment.
        bytes += entry?.metadata().map_or(0, |about| about.len());
    }
    Ok(bytes)
}
