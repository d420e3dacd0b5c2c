//! The files of uploaded bytes, each named by the digest of what is in it. A file has its name
//! only when all of it is durable, so a crash leaves nothing that looks whole and is not.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::RwLock,
};

use super::places::{Place, Places};
use crate::{
    database::directory::sync,
    ids::{ArtifactDigest, TenantId},
};

const PENDING: &str = "pending-";
/// How many uploads of one tenant may be under way.
const UPLOADS_AT_ONCE: usize = 4;

/// Where they are.
#[derive(Debug)]
pub(super) struct Blobs {
    dir: PathBuf,
    uploading: Places,
    /// Held for reading while a job is entered that uses a version, and for writing while one is
    /// made or deleted: so what a job uses is there.
    pub(super) names: RwLock<()>,
}

impl Blobs {
    /// Opens the directory, and removes what was uploaded in part.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PENDING) {
                fs::remove_file(entry.path())?;
            }
        }
        let uploading = Places::new(UPLOADS_AT_ONCE);
        Ok(Self { dir: dir.to_owned(), uploading, names: RwLock::new(()) })
    }

    /// A place for an upload of a tenant; none while as many are under way as may be.
    pub(super) fn place(&self, tenant: &TenantId) -> Option<Place> {
        self.uploading.take(tenant)
    }

    /// Where bytes can be put that are on their way.
    pub(super) fn pending(&self) -> PathBuf {
        self.dir.join(format!("{PENDING}{:032x}", rand::random::<u128>()))
    }

    /// Where the bytes of a digest are, if they are there.
    pub(super) fn path(&self, digest: &ArtifactDigest) -> PathBuf {
        self.dir.join(format!("sha256-{digest}.wasm"))
    }

    /// Gives a file that is durable the name of its digest.
    pub(super) fn keep(&self, pending: &Path, digest: &ArtifactDigest) -> io::Result<()> {
        fs::rename(pending, self.path(digest))?;
        sync(&self.dir)
    }

    /// Removes the bytes of a digest.
    pub(super) fn remove(&self, digest: &ArtifactDigest) -> io::Result<()> {
        fs::remove_file(self.path(digest))
    }

    /// All digests of which there are bytes.
    pub(super) fn digests(&self) -> io::Result<Vec<ArtifactDigest>> {
        let mut digests = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            let digest = name.strip_prefix("sha256-").and_then(|n| n.strip_suffix(".wasm"));
            digests.extend(digest.and_then(|digest| digest.parse::<ArtifactDigest>().ok()));
        }
        Ok(digests)
    }
}
