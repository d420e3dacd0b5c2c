//! What a store of checkpoints must do.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    checkpoint::{
        details::Details,
        format::BadFrame,
        manifest::{BadManifest, ChunkDigest, Manifest, StoredChunk},
    },
    database::directory::DirectoryError,
    ids::CheckpointId,
};

/// Who may write to a store. Owners are counted: one that was succeeded by another
/// may write no more, whatever it still believes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Which one, from 1.
    pub epoch: u64,
    /// In words.
    pub name: String,
}

impl Owner {
    /// Whoever comes after this one.
    #[must_use]
    pub fn after(before: Option<&Owner>, name: &str) -> Self {
        Self { epoch: before.map_or(0, |owner| owner.epoch) + 1, name: name.to_owned() }
    }
}

/// Whether a manifest may be written: it is of the present owner, or of nobody while
/// there is none, and names only chunks that are there.
pub(super) fn admit(
    manifest: &Manifest,
    owner: Option<&Owner>,
    has: impl Fn(ChunkDigest) -> bool,
) -> Result<(), StoreError> {
    let id = manifest.id;
    if let Some(now) = owner.filter(|owner| manifest.epoch < owner.epoch) {
        return Err(StoreError::Fenced { id, epoch: manifest.epoch, now: now.clone() });
    }
    if manifest.chunks().any(|chunk| !has(chunk.digest)) {
        return Err(StoreError::DamagedChunk { id, reason: ChunkDamage::Missing });
    }
    Ok(())
}

/// How large a store is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreSize {
    /// Bytes of the checkpoints in it, what they share counted once.
    pub live: u64,
    /// Bytes that it takes.
    pub disk: u64,
}

/// Why a store cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error(
        "the state directory {} is in use by another process{}; \
         stop that one, or choose another directory",
        path.display(), by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default()
    )]
    Locked {
        /// Where.
        path: PathBuf,
        /// Which one, as far as it is known.
        by: Option<String>,
    },
    /// The database below says no.
    #[error("the state directory {} cannot be {action}: {reason}", path.display())]
    Backend {
        /// Where.
        path: PathBuf,
        /// "opened", "read", "written".
        action: &'static str,
        /// What it said, and what to do.
        reason: String,
    },
    /// Somebody else owns it now.
    #[error(
        "checkpoint {id} is refused: the state belongs to {} now (its owner number {}), and this \
         is its owner number {epoch}; only one may go on",
        now.name, now.epoch
    )]
    Fenced {
        /// Which one was refused.
        id: CheckpointId,
        /// Who wanted to write it.
        epoch: u64,
        /// Who owns it.
        now: Owner,
    },
    /// It had a checkpoint that is gone.
    #[error(
        "the state directory {} is damaged: checkpoint {said} of the job `{job}` was completed in \
         it, and {}; put the directory back from a copy, or import an exported checkpoint \
         into another directory{}",
        path.display(),
        found.map_or_else(|| "it holds none".to_owned(), |id| format!("the newest in it is {id}")),
        match found {
            Some(id) => format!(
                "; to go on from checkpoint {id} all the same, which repeats what sinks have \
                 committed since, remove the file `job` in it"
            ),
            None => "; to begin anew, choose another directory".to_owned(),
        }
    )]
    Lost {
        /// Where.
        path: PathBuf,
        /// Whose.
        job: String,
        /// The newest that was completed.
        said: CheckpointId,
        /// The newest that is there.
        found: Option<CheckpointId>,
    },
    /// There is no such checkpoint.
    #[error("there is no checkpoint {0}")]
    NoSuchCheckpoint(CheckpointId),
    /// A manifest is damaged.
    #[error("checkpoint {id} is damaged: {reason}")]
    DamagedManifest {
        /// Which one.
        id: CheckpointId,
        /// What is wrong with it.
        #[source]
        reason: BadManifest,
    },
    /// A chunk is damaged or gone.
    #[error("checkpoint {id} cannot be restored: a chunk of its state is {reason}")]
    DamagedChunk {
        /// Whose.
        id: CheckpointId,
        /// What is wrong with it.
        reason: ChunkDamage,
    },
    /// Whoever the state belongs to may keep no more; nothing was written.
    #[error("it is not written: {0}")]
    NoRoom(String),
    /// What changed builds on something that is not there.
    #[error(
        "checkpoint {id} cannot be written: what changed in a memory is known, and what it was \
         before is not"
    )]
    NoBase {
        /// Which one.
        id: CheckpointId,
    },
}

impl From<DirectoryError> for StoreError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Locked { path, by } => Self::Locked { path, by },
            DirectoryError::System { path, action, reason } => {
                Self::Backend { path, action, reason }
            }
        }
    }
}

/// What is wrong with a chunk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkDamage {
    /// It is not there.
    #[error("missing")]
    Missing,
    /// Its frame is wrong.
    #[error("damaged: {0}")]
    Frame(#[from] BadFrame),
    /// The store below cannot read it.
    #[error("where the database is damaged")]
    Unreadable,
    /// Its content is not what its name says.
    #[error("not what its digest says")]
    Digest,
    /// It holds something else than the state of a key group.
    #[error("no state of a key group: {0}")]
    Undecodable(String),
}

/// Where the checkpoints of one job are kept.
///
/// A chunk that is put is durable only with the next manifest; a manifest is
/// durable, with everything that it names, when `commit` returns. A chunk that no
/// manifest names when `commit` returns is dropped.
pub trait CheckpointStore: Send + std::fmt::Debug {
    /// Makes somebody the owner, and fences whoever was it before. Durable when it
    /// returns.
    ///
    /// # Errors
    /// If it cannot be written.
    fn own(&mut self, name: &str) -> Result<Owner, StoreError>;

    /// The owner; none if there never was one.
    ///
    /// # Errors
    /// If it cannot be read.
    fn owner(&self) -> Result<Option<Owner>, StoreError>;

    /// Puts a chunk, unless it is there. Says how many bytes that took.
    ///
    /// # Errors
    /// If it cannot be written.
    fn put_chunk(&mut self, content: &[u8]) -> Result<(StoredChunk, usize), StoreError>;

    /// Makes a checkpoint: writes its manifest and flushes everything.
    ///
    /// # Errors
    /// If it cannot be written, or the manifest is of an earlier owner, or names a
    /// chunk that is not there; then there is no such checkpoint.
    fn commit(&mut self, manifest: &Manifest) -> Result<usize, StoreError>;

    /// Keeps what was measured of a checkpoint. Durable with the next commit.
    ///
    /// # Errors
    /// If it cannot be written.
    fn put_details(&mut self, id: CheckpointId, details: &Details) -> Result<(), StoreError>;

    /// What was measured of a checkpoint, if that is there.
    ///
    /// # Errors
    /// If it cannot be read.
    fn details(&self, id: CheckpointId) -> Result<Option<Details>, StoreError>;

    /// The completed checkpoints, the earliest first.
    ///
    /// # Errors
    /// If they cannot be read.
    fn list(&self) -> Result<Vec<CheckpointId>, StoreError>;

    /// A checkpoint's manifest.
    ///
    /// # Errors
    /// If it is damaged or not there.
    fn manifest(&self, id: CheckpointId) -> Result<Manifest, StoreError>;

    /// A chunk of a checkpoint, whose content is what its digest says.
    ///
    /// # Errors
    /// If it is damaged or not there.
    fn chunk(&self, id: CheckpointId, digest: ChunkDigest) -> Result<Vec<u8>, StoreError>;

    /// Drops checkpoints. What only they name is dropped with the next commit.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    fn discard(&mut self, ids: &[CheckpointId]) -> Result<(), StoreError>;

    /// Gives back room that is of no use, if there is much of it. Says whether there was.
    ///
    /// # Errors
    /// If the store cannot be read or written; what is in it stays.
    fn tidy(&mut self) -> Result<bool, StoreError>;

    /// As [`tidy`](Self::tidy), where room is short: also if there is little to give back.
    ///
    /// # Errors
    /// As [`tidy`](Self::tidy).
    fn squeeze(&mut self) -> Result<bool, StoreError> {
        self.tidy()
    }

    /// How large it is.
    ///
    /// # Errors
    /// If that cannot be found out.
    fn size(&self) -> Result<StoreSize, StoreError>;
}

/// Which checkpoints to drop so that the newest `retain` remain.
#[must_use]
pub fn superseded(completed: &[CheckpointId], retain: u32) -> Vec<CheckpointId> {
    let keep = retain.max(1) as usize;
    let mut ids = completed.to_vec();
    ids.sort_unstable();
    ids.truncate(ids.len().saturating_sub(keep));
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_checkpoints_are_retained_and_never_none() {
        let ids = |list: &[u64]| list.iter().map(|i| CheckpointId(*i)).collect::<Vec<_>>();
        assert_eq!(superseded(&ids(&[3, 1, 2]), 2), ids(&[1]));
        assert_eq!(superseded(&ids(&[3, 1, 2]), 0), ids(&[1, 2]));
        assert_eq!(superseded(&ids(&[1]), 5), ids(&[]));
    }
}
