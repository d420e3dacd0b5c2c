//! Reads every chunk of a checkpoint, and says which are damaged.

use std::{collections::BTreeMap, fmt};

use crate::{
    checkpoint::{
        manifest::{ChunkDigest, Manifest, StoredChunk},
        store::{CheckpointStore, ChunkDamage, StoreError},
    },
    ids::{CheckpointId, OperatorName, SubtaskIndex},
    stream::keys::KeyGroup,
};

/// What a chunk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Keyed state: the base, or one of the deltas after it.
    KeyGroup(KeyGroup),
    /// The state that a guest keeps itself.
    Guest(SubtaskIndex),
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyGroup(group) => write!(f, "key group {}", group.0),
            Self::Guest(subtask) => write!(f, "subtask {subtask}"),
        }
    }
}

/// A chunk that cannot be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Whose.
    pub operator: OperatorName,
    /// What it holds.
    pub holds: Holds,
    /// What is wrong with it.
    pub reason: ChunkDamage,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Different chunks that were read.
    pub chunks: u64,
    /// Bytes of those that are whole.
    pub bytes: u64,
    /// What is damaged; nothing, if the checkpoint can be restored.
    pub damage: Vec<Damage>,
}

/// Reads a checkpoint.
///
/// # Errors
/// If its manifest is damaged or not there, or the store cannot be read at all.
pub fn verify(store: &dyn CheckpointStore, id: CheckpointId) -> Result<Verified, StoreError> {
    let manifest = store.manifest(id)?;
    let mut seen: BTreeMap<ChunkDigest, Option<ChunkDamage>> = BTreeMap::new();
    let mut verified = Verified { chunks: 0, bytes: 0, damage: Vec::new() };
    for (operator, holds, chunk) in named(&manifest) {
        let damage = match seen.get(&chunk.digest) {
            Some(damage) => damage.clone(),
            None => {
                let found = match store.chunk(id, chunk.digest) {
                    Ok(content) => {
                        verified.bytes += content.len() as u64;
                        None
                    }
                    Err(StoreError::DamagedChunk { reason, .. }) => Some(reason),
                    Err(error) => return Err(error),
                };
                verified.chunks += 1;
                seen.insert(chunk.digest, found.clone());
                found
            }
        };
        if let Some(reason) = damage {
            verified.damage.push(Damage { operator: operator.clone(), holds, reason });
        }
    }
    Ok(verified)
}

/// Whether all of a checkpoint can be read.
#[must_use]
pub fn is_whole(store: &dyn CheckpointStore, id: CheckpointId) -> bool {
    verify(store, id).is_ok_and(|found| found.damage.is_empty())
}

/// What to do about a damaged checkpoint: whether an older one is whole, and how to go
/// on from it.
#[must_use]
pub fn way_out(store: &dyn CheckpointStore, damaged: CheckpointId) -> String {
    let all = store.list().unwrap_or_default();
    let mut older = all.into_iter().rev().filter(|id| *id < damaged);
    match older.find(|id| is_whole(store, *id)) {
        Some(whole) => format!(
            "checkpoint {whole} is whole: `cofferdam checkpoint prune --damaged --state DIR` drops \
             those that are not, and the job then goes on from it, which repeats what sinks have \
             committed since; or put the state directory back from a copy"
        ),
        None => "no older checkpoint is whole; put the state directory back from a copy, or \
                 begin with a savepoint or an exported checkpoint in another directory"
            .to_owned(),
    }
}

/// Every chunk that a manifest names, and what for.
fn named(manifest: &Manifest) -> impl Iterator<Item = (&OperatorName, Holds, StoredChunk)> {
    manifest.operators.iter().flat_map(|(name, state)| {
        let groups = state.key_groups.iter().flat_map(move |(group, chunks)| {
            chunks.iter().map(move |chunk| (name, Holds::KeyGroup(*group), *chunk))
        });
        let subtasks = (0..).map(SubtaskIndex).zip(&state.subtasks);
        let guests = subtasks.flat_map(move |(index, subtask)| {
            let chunks = subtask.guest.iter().flat_map(|guest| guest.chunks());
            chunks.map(move |chunk| (name, Holds::Guest(index), chunk))
        });
        groups.chain(guests)
    })
}
