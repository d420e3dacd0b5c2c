//! Checkpoints in sled 0.34: one tree of manifests by number, one of chunks by
//! digest.
//!
//! The order of writes is what makes a crash harmless: chunks first, then the
//! manifest, then one flush, and only then does the checkpoint count. A
//! checkpoint is dropped by its manifest first, with a flush, and its chunks
//! after that: what a crash leaves in between is chunks that nobody names,
//! which the next [`discard`](CheckpointStore::discard) finds.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    checkpoint::{
        format::{self, Kind},
        manifest::{ChunkDigest, Manifest, StoredChunk},
        store::{CheckpointStore, ChunkDamage, StoreError},
    },
    ids::CheckpointId,
};

/// Chunks are stored in pieces of this size: sled rewrites whole nodes, and one
/// large value would make each of them large.
const PIECE: usize = 64 * 1024;

/// A store in a directory, open in one process only.
#[derive(Debug)]
pub struct SledStore {
    path: PathBuf,
    db: sled::Db,
    manifests: sled::Tree,
    chunks: sled::Tree,
    /// Chunks that are known to be there, so that they are not looked up again.
    present: HashSet<ChunkDigest>,
}

impl SledStore {
    /// Opens the store in a directory, which is created if it is not there.
    ///
    /// # Errors
    /// If another process has it open, or it cannot be read.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let fail = |error: sled::Error| open_error(path, &error);
        std::fs::create_dir_all(path).map_err(|e| StoreError::Backend {
            path: path.to_owned(),
            action: "created",
            reason: e.to_string(),
        })?;
        let db = open_db(path)?;
        let manifests = db.open_tree("manifests").map_err(fail)?;
        let chunks = db.open_tree("chunks").map_err(fail)?;
        Ok(Self { path: path.to_owned(), db, manifests, chunks, present: HashSet::new() })
    }

    fn fail(&self, action: &'static str) -> impl Fn(sled::Error) -> StoreError + '_ {
        move |error| StoreError::Backend {
            path: self.path.clone(),
            action,
            reason: error.to_string(),
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.db.flush().map(|_| ()).map_err(self.fail("written"))
    }
}

/// How often, and how far apart, opening is tried while somebody has the lock. A child
/// process of ours that is just being started has it too, until its own program runs: it
/// is in use for a moment although nobody uses it.
const TRIES: u32 = 10;
const APART: Duration = Duration::from_millis(20);

fn open_db(path: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new()
        .path(path.join("checkpoints"))
        .cache_capacity(16 * 1024 * 1024)
        // We flush where it counts.
        .flush_every_ms(None);
    let mut tries = 1;
    loop {
        match config.open().map_err(|error| open_error(path, &error)) {
            Err(StoreError::Locked(_)) if tries < TRIES => {
                tries += 1;
                std::thread::sleep(APART);
            }
            opened => return opened,
        }
    }
}

fn open_error(path: &Path, error: &sled::Error) -> StoreError {
    if let sled::Error::Io(io) = error
        && (io.kind() == std::io::ErrorKind::WouldBlock || io.to_string().contains("lock"))
    {
        return StoreError::Locked(path.to_owned());
    }
    StoreError::Backend { path: path.to_owned(), action: "opened", reason: error.to_string() }
}

fn manifest_key(id: CheckpointId) -> [u8; 8] {
    id.0.to_be_bytes()
}

fn piece_key(digest: ChunkDigest, piece: usize) -> [u8; 36] {
    let mut key = [0; 36];
    key[..32].copy_from_slice(&digest.0);
    key[32..].copy_from_slice(&u32::try_from(piece).unwrap_or(u32::MAX).to_be_bytes());
    key
}

impl CheckpointStore for SledStore {
    fn put_chunk(&mut self, content: &[u8]) -> Result<(StoredChunk, usize), StoreError> {
        let chunk = StoredChunk::of(content);
        if self.present.contains(&chunk.digest) {
            return Ok((chunk, 0));
        }
        let framed = format::frame(Kind::Chunk, content);
        for (i, piece) in framed.chunks(PIECE).enumerate() {
            self.chunks.insert(piece_key(chunk.digest, i), piece).map_err(self.fail("written"))?;
        }
        // Only now: what could not be written must be tried again.
        self.present.insert(chunk.digest);
        Ok((chunk, framed.len()))
    }

    fn commit(&mut self, manifest: &Manifest) -> Result<usize, StoreError> {
        let bytes = manifest.encode();
        let len = bytes.len();
        self.manifests.insert(manifest_key(manifest.id), bytes).map_err(self.fail("written"))?;
        self.flush().inspect_err(|_| {
            // What is not known to be durable must not be taken for a checkpoint.
            let _ = self.manifests.remove(manifest_key(manifest.id));
        })?;
        Ok(len)
    }

    fn list(&self) -> Result<Vec<CheckpointId>, StoreError> {
        let mut ids = Vec::new();
        for key in self.manifests.iter().keys() {
            let key = key.map_err(self.fail("read"))?;
            if let Ok(id) = <[u8; 8]>::try_from(key.as_ref()) {
                ids.push(CheckpointId(u64::from_be_bytes(id)));
            }
        }
        Ok(ids)
    }

    fn manifest(&self, id: CheckpointId) -> Result<Manifest, StoreError> {
        let found = self.manifests.get(manifest_key(id)).map_err(self.fail("read"))?;
        let bytes = found.ok_or(StoreError::DamagedChunk { id, reason: ChunkDamage::Missing })?;
        Manifest::decode(&bytes).map_err(|reason| StoreError::DamagedManifest { id, reason })
    }

    fn chunk(&self, id: CheckpointId, digest: ChunkDigest) -> Result<Vec<u8>, StoreError> {
        let damaged = |reason| StoreError::DamagedChunk { id, reason };
        let mut framed = Vec::new();
        for piece in self.chunks.scan_prefix(digest.0).values() {
            framed.extend_from_slice(&piece.map_err(self.fail("read"))?);
        }
        if framed.is_empty() {
            return Err(damaged(ChunkDamage::Missing));
        }
        let content = format::unframe(Kind::Chunk, &framed).map_err(|e| damaged(e.into()))?;
        if ChunkDigest::of(content) != digest {
            return Err(damaged(ChunkDamage::Digest));
        }
        Ok(content.to_vec())
    }

    fn discard(&mut self, ids: &[CheckpointId], keep: &[ChunkDigest]) -> Result<(), StoreError> {
        for id in ids {
            self.manifests.remove(manifest_key(*id)).map_err(self.fail("written"))?;
        }
        // The manifests must be gone before their chunks are.
        self.flush()?;
        let mut live: HashSet<ChunkDigest> = keep.iter().copied().collect();
        for id in self.list()? {
            live.extend(self.manifest(id)?.chunks().map(|chunk| chunk.digest));
        }
        // First: a chunk that is half gone must be written again the next time.
        self.present.retain(|digest| live.contains(digest));
        for key in self.chunks.iter().keys() {
            let key = key.map_err(self.fail("read"))?;
            let digest = key.first_chunk::<32>().map(|digest| ChunkDigest(*digest));
            if digest.is_none_or(|digest| !live.contains(&digest)) {
                self.chunks.remove(&key).map_err(self.fail("written"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        checkpoint::manifest::{GuestState, OperatorState, SubtaskState},
        ids::{JobName, OperatorName},
    };

    fn manifest(id: u64, guest: StoredChunk) -> Manifest {
        let state = OperatorState {
            subtasks: vec![SubtaskState {
                guest: Some(GuestState::Exported(guest)),
                ..SubtaskState::default()
            }],
            ..OperatorState::default()
        };
        Manifest {
            id: CheckpointId(id),
            job: JobName::new("j").unwrap(),
            triggered_at: 0,
            epoch: 0,
            max_parallelism: 128,
            finished: false,
            operators: BTreeMap::from([(OperatorName::new("o").unwrap(), state)]),
        }
    }

    #[test]
    fn a_checkpoint_comes_back_after_reopening_and_drops_its_chunks_when_discarded() {
        let dir = tempfile::tempdir().unwrap();
        let large = vec![7; 3 * PIECE + 5];
        let (first, second) = {
            let mut store = SledStore::open(dir.path()).unwrap();
            let (first, written) = store.put_chunk(&large).unwrap();
            assert!(written > large.len());
            assert_eq!(store.put_chunk(&large).unwrap(), (first, 0), "the same content again");
            let (second, _) = store.put_chunk(b"small").unwrap();
            store.commit(&manifest(1, first)).unwrap();
            store.commit(&manifest(2, second)).unwrap();
            (first, second)
        };
        let mut store = SledStore::open(dir.path()).unwrap();
        assert_eq!(store.list().unwrap(), [CheckpointId(1), CheckpointId(2)]);
        assert_eq!(store.chunk(CheckpointId(1), first.digest).unwrap(), large);
        assert_eq!(store.manifest(CheckpointId(2)).unwrap(), manifest(2, second));
        store.discard(&[CheckpointId(1)], &[]).unwrap();
        assert!(store.chunk(CheckpointId(1), first.digest).is_err());
        assert_eq!(store.chunk(CheckpointId(2), second.digest).unwrap(), b"small");
    }

    #[test]
    fn a_damaged_chunk_is_told_from_a_missing_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = SledStore::open(dir.path()).unwrap();
        let digest = store.put_chunk(b"state").unwrap().0.digest;
        let mut framed = store.chunks.get(piece_key(digest, 0)).unwrap().unwrap().to_vec();
        framed[26] ^= 1;
        store.chunks.insert(piece_key(digest, 0), framed).unwrap();
        let message = store.chunk(CheckpointId(3), digest).unwrap_err().to_string();
        assert!(message.contains("checkpoint 3") && message.contains("checksum"), "{message}");
        let missing = store.chunk(CheckpointId(3), ChunkDigest::of(b"x")).unwrap_err().to_string();
        assert!(missing.contains("missing"), "{missing}");
    }

    #[test]
    fn a_store_in_use_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let _held = SledStore::open(dir.path()).unwrap();
        let message = SledStore::open(dir.path()).unwrap_err().to_string();
        assert!(message.contains("in use by another process"), "{message}");
    }
}
