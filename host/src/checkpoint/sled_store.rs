//! Checkpoints in sled 0.34: trees of manifests and of what was measured of them, by
//! number, and of chunks and their sizes, by digest.
//!
//! The order of writes is what makes a crash harmless: chunks first, then the
//! manifest, then one flush, and only then does the checkpoint count. A checkpoint is
//! dropped by its manifest, and what only it named is removed once the next flush has
//! made that durable. What a crash leaves in between is chunks that nobody names, which
//! are found by the small tree of sizes and removed when the store is opened.
//!
//! sled gives up for good at the first write that fails, and may panic over damaged
//! files. So nothing of it is called but through [`SledStore::call`], which makes errors
//! of panics; and a database that has failed is opened anew before the next write.

use std::{
    cell::Cell,
    collections::BTreeSet,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Duration,
};

use crate::{
    checkpoint::{
        details::Details,
        directory::{Directory, explain, failed},
        format::{self, Kind},
        manifest::{ChunkDigest, Manifest, StoredChunk},
        marker::{Found, Marker, Witness},
        refs::Refs,
        store::{CheckpointStore, ChunkDamage, Owner, StoreError, StoreSize, admit},
    },
    ids::CheckpointId,
};

/// Chunks are stored in pieces of this size: sled rewrites whole nodes, and one
/// large value would make each of them large.
const PIECE: usize = 64 * 1024;

/// A database is written anew when it takes so many times (in tenths) what is live in
/// it, and this much more.
const TOO_LARGE: u64 = 25;
const SLACK: u64 = 8 << 20;

const OWNER: &[u8] = b"owner";

/// A store in a directory, open in one process only.
#[derive(Debug)]
pub struct SledStore {
    directory: Directory,
    /// None while it is closed, and after it could not be opened again.
    trees: Option<Trees>,
    /// Whether a call of it has failed.
    failed: Cell<bool>,
    owner: Option<Owner>,
    checkpoints: BTreeSet<CheckpointId>,
    refs: Refs,
    marker: Option<Marker>,
}

#[derive(Debug)]
struct Trees {
    db: sled::Db,
    manifests: sled::Tree,
    details: sled::Tree,
    chunks: sled::Tree,
    sizes: sled::Tree,
}

impl Trees {
    fn open(path: &Path) -> sled::Result<Self> {
        let db = sled::Config::new()
            .path(path)
            .cache_capacity(16 * 1024 * 1024)
            // We flush where it counts.
            .flush_every_ms(None)
            .open()?;
        Ok(Self {
            manifests: db.open_tree("manifests")?,
            details: db.open_tree("details")?,
            chunks: db.open_tree("chunks")?,
            sizes: db.open_tree("sizes")?,
            db,
        })
    }

    fn put_chunk(&self, digest: ChunkDigest, content: &[u8]) -> sled::Result<usize> {
        // First: whatever of the chunk is there can be found by it.
        self.sizes.insert(digest.0, &(content.len() as u64).to_le_bytes())?;
        let framed = format::frame(Kind::Chunk, content);
        for (i, piece) in framed.chunks(PIECE).enumerate() {
            self.chunks.insert(piece_key(digest, i), piece)?;
        }
        Ok(framed.len())
    }

    fn remove_chunk(&self, digest: ChunkDigest) -> sled::Result<()> {
        for key in self.chunks.scan_prefix(digest.0).keys() {
            self.chunks.remove(key?)?;
        }
        self.sizes.remove(digest.0).map(|_| ())
    }

    /// The frame of a chunk; empty if it is not there.
    fn framed_chunk(&self, digest: ChunkDigest) -> sled::Result<Vec<u8>> {
        let mut framed = Vec::new();
        for piece in self.chunks.scan_prefix(digest.0).values() {
            framed.extend_from_slice(&piece?);
        }
        Ok(framed)
    }

    /// Copies what is of use, and makes it durable.
    fn copy_to(
        &self,
        other: &Trees,
        chunks: impl Iterator<Item = StoredChunk>,
    ) -> sled::Result<()> {
        if let Some(owner) = self.db.get(OWNER)? {
            other.db.insert(OWNER, owner)?;
        }
        for (from, to) in [(&self.manifests, &other.manifests), (&self.details, &other.details)] {
            for entry in from {
                let (key, value) = entry?;
                to.insert(key, value)?;
            }
        }
        for chunk in chunks {
            other.sizes.insert(chunk.digest.0, &chunk.bytes.to_le_bytes())?;
            for piece in self.chunks.scan_prefix(chunk.digest.0) {
                let (key, value) = piece?;
                other.chunks.insert(key, value)?;
            }
        }
        other.db.flush().map(|_| ())
    }
}

impl SledStore {
    /// Opens the store in a directory, which is created if it is not there. Removes what
    /// a crash left behind.
    ///
    /// # Errors
    /// If another process has it open, it cannot be read, or it has lost a checkpoint
    /// that was completed in it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut store = Self {
            directory: Directory::open(path)?,
            trees: None,
            failed: Cell::new(true),
            owner: None,
            checkpoints: BTreeSet::new(),
            refs: Refs::default(),
            marker: None,
        };
        store.heal()?;
        if let Err(error) = store.tidy() {
            tracing::warn!("the state directory takes more room than it needs: {error}");
        }
        Ok(store)
    }

    /// Says in the directory's lock who has it.
    pub fn say_who(&mut self, who: &str) {
        self.directory.say_who(who);
    }

    /// Opens the database anew if a call of it has failed.
    fn heal(&mut self) -> Result<(), StoreError> {
        if !self.failed.get() {
            return Ok(());
        }
        self.close();
        let path = self.directory.database();
        let trees = open(&path).map_err(|reason| self.fail("opened", reason))?;
        self.trees = Some(trees);
        self.failed.set(false);
        let opened = self.look().and_then(|()| self.compare_with_marker());
        opened.inspect_err(|_| self.failed.set(true))
    }

    fn close(&mut self) {
        let trees = self.trees.take();
        // sled flushes as it closes.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(trees)));
    }

    /// Finds out what is there, and removes what nobody names.
    fn look(&mut self) -> Result<(), StoreError> {
        let owner = self.call("read", |trees| trees.db.get(OWNER))?;
        self.owner = owner.and_then(|bytes| {
            postcard::from_bytes(format::unframe(Kind::Owner, &bytes).ok()?).ok()
        });
        let manifests: Vec<(sled::IVec, sled::IVec)> =
            self.call("read", |trees| trees.manifests.iter().collect())?;
        let sizes: Vec<(sled::IVec, sled::IVec)> =
            self.call("read", |trees| trees.sizes.iter().collect())?;
        (self.checkpoints, self.refs) = (BTreeSet::new(), Refs::default());
        for (digest, bytes) in sizes {
            if let (Ok(digest), Ok(bytes)) = (digest.as_ref().try_into(), bytes.as_ref().try_into())
            {
                let digest = ChunkDigest(digest);
                self.refs.put(StoredChunk { digest, bytes: u64::from_le_bytes(bytes) });
            }
        }
        let mut whole = true;
        for (key, value) in manifests {
            let Ok(id) = <[u8; 8]>::try_from(key.as_ref()) else { continue };
            let id = CheckpointId(u64::from_be_bytes(id));
            self.checkpoints.insert(id);
            match Manifest::decode(&value) {
                Ok(manifest) => self.refs.name(id, manifest.chunks()),
                Err(reason) => {
                    tracing::warn!("checkpoint {id} is damaged: {reason}");
                    whole = false;
                }
            }
        }
        // What a damaged manifest names is not known.
        if whole && let Err(error) = self.remove_unnamed() {
            tracing::warn!("what a crash left behind cannot be removed: {error}");
        }
        Ok(())
    }

    fn compare_with_marker(&mut self) -> Result<(), StoreError> {
        let path = self.directory.path();
        let found = self.checkpoints.last().copied();
        let lost =
            |job: String, said| Err(StoreError::Lost { path: path.to_owned(), job, said, found });
        match Marker::find(path).map_err(failed(path, "read"))? {
            Found::Says(said, _) if found.is_none_or(|found| found < said.checkpoint) => {
                return lost(said.job.to_string(), said.checkpoint);
            }
            Found::Says(_, marker) => self.marker = Some(marker),
            Found::Unreadable if found.is_none() => {
                let reason = "its file `job` cannot be read, and the database is empty: put the \
                              directory back from a copy, or choose another directory";
                return Err(self.fail("opened", reason.to_owned()));
            }
            Found::Unreadable | Found::Nothing => self.marker = None,
        }
        Ok(())
    }

    /// Notes beside the database which checkpoint is there. The other way round than the
    /// database it may be late, but not early.
    fn note(&mut self, manifest: &Manifest) {
        let witness =
            Witness { job: manifest.job.clone(), checkpoint: manifest.id, epoch: manifest.epoch };
        let noted = match &mut self.marker {
            Some(marker) => marker.say(&witness),
            None => Marker::create(self.directory.path(), &witness)
                .map(|marker| self.marker = Some(marker)),
        };
        if let Err(error) = noted {
            tracing::warn!(
                "the file `job` in {} cannot be written: {error}",
                self.directory.path().display()
            );
        }
    }

    fn remove_unnamed(&mut self) -> Result<(), StoreError> {
        for digest in self.refs.unnamed() {
            // First: a chunk that is half gone must be written again the next time.
            self.refs.forget(digest);
            self.call("written", |trees| trees.remove_chunk(digest))?;
        }
        Ok(())
    }

    /// Calls the database. A call that fails, or panics, makes it be opened anew before
    /// the next write.
    fn call<T>(
        &self,
        action: &'static str,
        call: impl FnOnce(&Trees) -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        let Some(trees) = &self.trees else {
            return Err(self.fail(action, "it could not be opened again".to_owned()));
        };
        guard(|| call(trees)).map_err(|reason| {
            self.failed.set(true);
            self.fail(action, reason)
        })
    }

    fn fail(&self, action: &'static str, reason: String) -> StoreError {
        StoreError::Backend { path: self.directory.path().to_owned(), action, reason }
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.call("written", |trees| trees.db.flush()).map(|_| ())
    }

    /// Writes what is of use into a new database, which takes the present one's place.
    fn compact(&mut self) -> Result<(), StoreError> {
        let path = self.directory.new_database();
        let _ = std::fs::remove_dir_all(&path);
        let copied = self.call("copied", |trees| {
            let new = Trees::open(&path)?;
            trees.copy_to(&new, self.refs.named())
        });
        if let Err(error) = copied {
            let _ = std::fs::remove_dir_all(&path);
            return Err(error);
        }
        self.close();
        self.failed.set(true);
        let exchanged = self.directory.exchange();
        self.heal()?;
        exchanged.map_err(failed(self.directory.path(), "compacted"))
    }
}

/// How often, and how far apart, a database is opened that is still being closed: sled
/// does that on threads of its own.
const TRIES: u32 = 50;
const APART: Duration = Duration::from_millis(10);

fn open(path: &Path) -> Result<Trees, String> {
    let mut tries = 1;
    loop {
        let mut locked = false;
        let opened = guard(|| {
            Trees::open(path).inspect_err(|error| {
                locked = matches!(error, sled::Error::Io(io) if io.to_string().contains("lock"));
            })
        });
        if !locked || tries == TRIES {
            return opened;
        }
        tries += 1;
        std::thread::sleep(APART);
    }
}

/// Calls sled; what it says against it in words, and a panic of it too.
fn guard<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => Err(explain(&error)),
        Ok(Err(error)) => Err(damaged(&error.to_string())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(damaged(text.unwrap_or("it panicked")))
        }
    }
}

fn damaged(what: &str) -> String {
    format!(
        "the database is damaged: {what}; put the directory back from a copy, or import an exported \
         checkpoint into another directory"
    )
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
    fn own(&mut self, name: &str) -> Result<Owner, StoreError> {
        self.heal()?;
        let owner = Owner::after(self.owner.as_ref(), name);
        let bytes = postcard::to_stdvec(&owner).expect("plain data in memory can be encoded");
        let framed = format::frame(Kind::Owner, &bytes);
        self.call("written", |trees| trees.db.insert(OWNER, framed))?;
        self.flush()?;
        self.owner = Some(owner.clone());
        self.say_who(name);
        Ok(owner)
    }

    fn owner(&self) -> Result<Option<Owner>, StoreError> {
        Ok(self.owner.clone())
    }

    fn put_chunk(&mut self, content: &[u8]) -> Result<(StoredChunk, usize), StoreError> {
        self.heal()?;
        let chunk = StoredChunk::of(content);
        if self.refs.has(chunk.digest) {
            return Ok((chunk, 0));
        }
        let written = self.call("written", |trees| trees.put_chunk(chunk.digest, content))?;
        // Only now: what could not be written must be tried again.
        self.refs.put(chunk);
        Ok((chunk, written))
    }

    fn commit(&mut self, manifest: &Manifest) -> Result<usize, StoreError> {
        self.heal()?;
        admit(manifest, self.owner.as_ref(), |digest| self.refs.has(digest))?;
        let bytes = manifest.encode();
        let (len, key) = (bytes.len(), manifest_key(manifest.id));
        self.call("written", |trees| trees.manifests.insert(key, bytes))?;
        self.flush().inspect_err(|_| {
            // What is not known to be durable must not be taken for a checkpoint.
            let _ = self.call("written", |trees| trees.manifests.remove(key));
        })?;
        self.checkpoints.insert(manifest.id);
        self.refs.name(manifest.id, manifest.chunks());
        self.note(manifest);
        // The checkpoint exists: what cannot be removed now is removed another time.
        if let Err(error) = self.remove_unnamed() {
            tracing::warn!("chunks that are of no use any more cannot be removed: {error}");
        }
        Ok(len)
    }

    fn put_details(&mut self, id: CheckpointId, details: &Details) -> Result<(), StoreError> {
        self.heal()?;
        let bytes = details.encode();
        self.call("written", |trees| trees.details.insert(manifest_key(id), bytes)).map(|_| ())
    }

    fn details(&self, id: CheckpointId) -> Result<Option<Details>, StoreError> {
        let found = self.call("read", |trees| trees.details.get(manifest_key(id)))?;
        Ok(found.and_then(|bytes| Details::decode(&bytes)))
    }

    fn list(&self) -> Result<Vec<CheckpointId>, StoreError> {
        Ok(self.checkpoints.iter().copied().collect())
    }

    fn manifest(&self, id: CheckpointId) -> Result<Manifest, StoreError> {
        let found = self.call("read", |trees| trees.manifests.get(manifest_key(id)))?;
        let bytes = found.ok_or(StoreError::NoSuchCheckpoint(id))?;
        Manifest::decode(&bytes).map_err(|reason| StoreError::DamagedManifest { id, reason })
    }

    fn chunk(&self, id: CheckpointId, digest: ChunkDigest) -> Result<Vec<u8>, StoreError> {
        let damaged = |reason| StoreError::DamagedChunk { id, reason };
        let framed = self.call("read", |trees| trees.framed_chunk(digest))?;
        if framed.is_empty() {
            return Err(damaged(ChunkDamage::Missing));
        }
        let content = format::unframe(Kind::Chunk, &framed).map_err(|e| damaged(e.into()))?;
        if ChunkDigest::of(content) != digest {
            return Err(damaged(ChunkDamage::Digest));
        }
        Ok(content.to_vec())
    }

    fn discard(&mut self, ids: &[CheckpointId]) -> Result<(), StoreError> {
        self.heal()?;
        for id in ids {
            self.call("written", |trees| {
                trees.details.remove(manifest_key(*id))?;
                trees.manifests.remove(manifest_key(*id))
            })?;
            self.checkpoints.remove(id);
            self.refs.release(*id);
        }
        Ok(())
    }

    fn tidy(&mut self) -> Result<bool, StoreError> {
        self.heal()?;
        let StoreSize { live, disk } = self.size()?;
        let needed = disk > SLACK + live.saturating_mul(TOO_LARGE) / 10;
        if needed {
            self.compact()?;
        }
        Ok(needed)
    }

    fn size(&self) -> Result<StoreSize, StoreError> {
        let path = self.directory.database();
        let disk = size_of_files(&path).map_err(failed(self.directory.path(), "read"))?;
        Ok(StoreSize { live: self.refs.live(), disk })
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.close();
    }
}

/// Bytes of the files in a directory, and in those in it.
fn size_of_files(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        // A blob may go at any moment.
        let Ok(about) = entry.metadata() else { continue };
        bytes += if about.is_dir() { size_of_files(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

#[cfg(test)]
#[path = "sled_store_tests.rs"]
mod tests;
