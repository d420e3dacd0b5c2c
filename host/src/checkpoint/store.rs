//! What a store of checkpoints must do.

use std::path::PathBuf;

use crate::{
    checkpoint::{
        format::BadFrame,
        manifest::{BadManifest, ChunkDigest, Manifest, StoredChunk},
    },
    ids::CheckpointId,
};

/// Why a store cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error(
        "the state directory {} is in use by another process; \
         stop that one, or choose another directory",
        .0.display()
    )]
    Locked(PathBuf),
    /// The database below says no.
    #[error("the state directory {} cannot be {action}: {reason}", path.display())]
    Backend {
        /// Where.
        path: PathBuf,
        /// "opened", "read", "written".
        action: &'static str,
        /// What it said.
        reason: String,
    },
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
/// durable, with everything that it names, when `commit` returns.
pub trait CheckpointStore: Send + std::fmt::Debug {
    /// Puts a chunk, unless it is there. Says how many bytes that took.
    ///
    /// # Errors
    /// If it cannot be written.
    fn put_chunk(&mut self, content: &[u8]) -> Result<(StoredChunk, usize), StoreError>;

    /// Makes a checkpoint: writes its manifest and flushes everything.
    ///
    /// # Errors
    /// If it cannot be written; then there is no such checkpoint.
    fn commit(&mut self, manifest: &Manifest) -> Result<usize, StoreError>;

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

    /// Drops checkpoints, and the chunks that neither a remaining checkpoint
    /// nor `keep` names.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    fn discard(&mut self, ids: &[CheckpointId], keep: &[ChunkDigest]) -> Result<(), StoreError>;
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
