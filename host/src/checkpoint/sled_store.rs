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
//! files. So nothing of it is called but through `SledStore::call`, which makes errors
//! of panics; and a database that has failed is opened anew before the next write.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use crate::{
    checkpoint::{
        details::Details,
        format::{self, Kind},
        layout::Layout,
        manifest::{ChunkDigest, Manifest, StoredChunk},
        marker::{Found, Marker, Witness},
        refs::Refs,
        store::{CheckpointStore, ChunkDamage, Owner, StoreError, StoreSize, admit},
    },
    database::{
        directory::{Directory, Synced, failed},
        guarded::{self, guard},
    },
    ids::CheckpointId,
};

/// A database is written anew when it takes so many times (in tenths) what is live in
/// it, and this much more.
const TOO_LARGE: u64 = 25;
const SLACK: u64 = 8 << 20;
/// The same where room is short.
const LARGE: u64 = 15;
const LITTLE_SLACK: u64 = 2 << 20;

/// What was measured of a checkpoint takes so many bytes at most.
const DETAILS: usize = 7 << 10;

const NAME: &str = "checkpoints";
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
    /// Of the database that is open.
    synced: Synced,
    /// What the database took when it was written anew.
    least: u64,
}

#[derive(Debug)]
struct Trees {
    db: sled::Db,
    layout: Layout,
    manifests: sled::Tree,
    details: sled::Tree,
    chunks: sled::Tree,
    sizes: sled::Tree,
}

impl Trees {
    /// Opens a database, or makes one of this layout.
    fn open(path: &Path, new: Layout) -> sled::Result<Self> {
        let layout = Layout::of(path).unwrap_or(new);
        let db = sled::Config::new()
            .path(path)
            .segment_size(layout.segment)
            .cache_capacity(16 * 1024 * 1024)
            // We flush where it counts.
            .flush_every_ms(None)
            .open()?;
        Ok(Self {
            manifests: db.open_tree("manifests")?,
            details: db.open_tree("details")?,
            chunks: db.open_tree("chunks")?,
            sizes: db.open_tree("sizes")?,
            layout,
            db,
        })
    }

    fn put_chunk(&self, digest: ChunkDigest, content: &[u8]) -> sled::Result<usize> {
        // First: whatever of the chunk is there can be found by it.
        self.sizes.insert(digest.0, &(content.len() as u64).to_le_bytes())?;
        let framed = format::frame(Kind::Chunk, content);
        self.put_pieces(&self.chunks, &digest.0, &framed)?;
        Ok(framed.len())
    }

    fn remove_chunk(&self, digest: ChunkDigest) -> sled::Result<()> {
        remove_pieces(&self.chunks, &digest.0)?;
        self.sizes.remove(digest.0).map(|_| ())
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
            let framed = pieces(&self.chunks, &chunk.digest.0)?;
            other.put_pieces(&other.chunks, &chunk.digest.0, &framed)?;
        }
        other.db.flush().map(|_| ())
    }

    /// The first piece comes last: where it is, all are.
    fn put_pieces(&self, tree: &sled::Tree, of: &[u8], framed: &[u8]) -> sled::Result<()> {
        for (i, piece) in framed.chunks(self.layout.piece).enumerate().rev() {
            tree.insert(piece_key(of, i), piece)?;
        }
        Ok(())
    }
}

/// The first piece goes first.
fn remove_pieces(tree: &sled::Tree, of: &[u8]) -> sled::Result<()> {
    for key in tree.scan_prefix(of).keys() {
        tree.remove(key?)?;
    }
    Ok(())
}

/// All pieces in order; empty if the first one is not there.
fn pieces(tree: &sled::Tree, of: &[u8]) -> sled::Result<Vec<u8>> {
    let mut framed = Vec::new();
    if tree.contains_key(piece_key(of, 0))? {
        for piece in tree.scan_prefix(of).values() {
            framed.extend_from_slice(&piece?);
        }
    }
    Ok(framed)
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
            directory: Directory::open(path, NAME)?,
            trees: None,
            failed: Cell::new(true),
            owner: None,
            checkpoints: BTreeSet::new(),
            refs: Refs::default(),
            marker: None,
            synced: Synced::default(),
            least: 0,
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
        if !path.exists() {
            self.make()?;
        }
        let trees = open(&path).map_err(|reason| self.fail("opened", reason))?;
        self.trees = Some(trees);
        self.synced = Synced::default();
        self.failed.set(false);
        let opened = self.look().and_then(|()| self.compare_with_marker());
        opened.inspect_err(|_| self.failed.set(true))
    }

    /// Makes a database. Under another name until it is durable: sled cannot open one that
    /// a power cut left half made.
    fn make(&self) -> Result<(), StoreError> {
        let path = self.directory.new_database();
        let made = open(&path).and_then(|trees| {
            guard(|| trees.db.flush())?;
            guard(|| {
                drop(trees);
                Ok(())
            })
        });
        made.map_err(|reason| self.fail("created", reason))?;
        let synced = self.directory.sync_database(&path, &mut Synced::default());
        let put = synced.and_then(|()| self.directory.put_first());
        put.map_err(failed(self.directory.path(), "created"))
    }

    fn close(&mut self) {
        let trees = self.trees.take();
        // sled flushes as it closes.
        let _ = guard(|| {
            drop(trees);
            Ok(())
        });
    }

    /// Finds out what is there, and removes what nobody names.
    fn look(&mut self) -> Result<(), StoreError> {
        let owner = self.call("read", |trees| trees.db.get(OWNER))?;
        self.owner = owner.and_then(|bytes| {
            postcard::from_bytes(format::unframe(Kind::Owner, &bytes).ok()?).ok()
        });
        let keys: Vec<sled::IVec> =
            self.call("read", |trees| trees.manifests.iter().keys().collect())?;
        let ids: BTreeSet<CheckpointId> = keys.iter().filter_map(|key| id_of(key)).collect();
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
        for id in ids {
            let key = manifest_key(id);
            let value = self.call("read", |trees| pieces(&trees.manifests, &key))?;
            if value.is_empty() {
                // It was being written, or dropped, when a crash came.
                self.call("written", |trees| remove_pieces(&trees.manifests, &key))?;
                continue;
            }
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
        match Marker::find(path).map_err(failed::<StoreError>(path, "read"))? {
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

    /// Makes durable what was discarded, and says beside the database that its newest
    /// checkpoint is the one that it has now: whoever dropped newer ones wanted that.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub fn accept_loss(&mut self) -> Result<(), StoreError> {
        self.heal()?;
        self.flush()?;
        if let Some(newest) = self.checkpoints.last() {
            let manifest = self.manifest(*newest)?;
            self.note(&manifest);
        }
        Ok(())
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

    fn flush(&mut self) -> Result<(), StoreError> {
        self.call("written", |trees| trees.db.flush())?;
        let (directory, database) = (&self.directory, self.directory.database());
        directory.sync_database(&database, &mut self.synced).map_err(|error| {
            self.failed.set(true);
            failed(directory.path(), "written")(error)
        })
    }

    /// Writes what is of use into a new database, which takes the present one's place.
    ///
    /// # Errors
    /// If the store cannot be read or written; what is in it stays.
    pub fn compact(&mut self) -> Result<(), StoreError> {
        self.heal()?;
        let path = self.directory.new_database();
        let _ = std::fs::remove_dir_all(&path);
        let copied = self.call("copied", |trees| {
            let new = Trees::open(&path, Layout::for_bytes(self.refs.live()))?;
            trees.copy_to(&new, self.refs.named())
        });
        if let Err(error) = copied {
            let _ = std::fs::remove_dir_all(&path);
            return Err(error);
        }
        self.close();
        self.failed.set(true);
        let synced = self.directory.sync_database(&path, &mut Synced::default());
        let exchanged = synced.and_then(|()| self.directory.exchange());
        self.heal()?;
        exchanged.map_err(failed::<StoreError>(self.directory.path(), "compacted"))?;
        self.least = self.size()?.disk;
        Ok(())
    }
}

fn open(path: &Path) -> Result<Trees, String> {
    guarded::open(path, || Trees::open(path, Layout::SMALL))
}

fn manifest_key(id: CheckpointId) -> [u8; 8] {
    id.0.to_be_bytes()
}

fn id_of(key: &[u8]) -> Option<CheckpointId> {
    let id = key.get(..8)?.try_into().ok()?;
    Some(CheckpointId(u64::from_be_bytes(id)))
}

fn piece_key(of: &[u8], piece: usize) -> Vec<u8> {
    let piece = u32::try_from(piece).unwrap_or(u32::MAX).to_be_bytes();
    [of, &piece].concat()
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
        self.call("written", |trees| trees.put_pieces(&trees.manifests, &key, &bytes))?;
        self.flush().inspect_err(|_| {
            // What is not known to be durable must not be taken for a checkpoint.
            let _ = self.call("written", |trees| remove_pieces(&trees.manifests, &key));
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
        let mut bytes = details.encode();
        if bytes.len() > DETAILS {
            // Of very many subtasks: what holds for all of them is kept.
            bytes = Details { subtasks: BTreeMap::new(), ..details.clone() }.encode();
        }
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
        let bytes = self.call("read", |trees| pieces(&trees.manifests, &manifest_key(id)))?;
        if bytes.is_empty() {
            return Err(StoreError::NoSuchCheckpoint(id));
        }
        Manifest::decode(&bytes).map_err(|reason| StoreError::DamagedManifest { id, reason })
    }

    fn chunk(&self, id: CheckpointId, digest: ChunkDigest) -> Result<Vec<u8>, StoreError> {
        let damaged = |reason| StoreError::DamagedChunk { id, reason };
        let framed = self.call("read", |trees| pieces(&trees.chunks, &digest.0));
        let framed = framed.map_err(|error| {
            tracing::warn!("{error}");
            damaged(ChunkDamage::Unreadable)
        })?;
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
                remove_pieces(&trees.manifests, &manifest_key(*id))
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

    fn squeeze(&mut self) -> Result<bool, StoreError> {
        self.heal()?;
        let StoreSize { live, disk } = self.size()?;
        // It would come to no less than the last time.
        let helps = disk > self.least + self.least / 4;
        let needed = helps && disk > LITTLE_SLACK + live.saturating_mul(LARGE) / 10;
        if needed {
            self.compact()?;
        }
        Ok(needed)
    }

    fn size(&self) -> Result<StoreSize, StoreError> {
        let path = self.directory.database();
        let disk =
            size_of_files(&path).map_err(failed::<StoreError>(self.directory.path(), "read"))?;
        Ok(StoreSize { live: self.refs.live(), disk })
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.close();
    }
}

/// Bytes that the store in a directory takes, which somebody may have open; 0 if there is none.
///
/// # Errors
/// If the system does not say.
pub fn disk_of(path: &Path) -> io::Result<u64> {
    match size_of_files(&path.join(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        found => found,
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
