//! The book of what a service must remember: one database of sled below its data directory, in
//! which every record is durable before whoever wrote it is told so. Knows what records look
//! like, and nothing of jobs that run.
//!
//! A record is JSON, so that a later version of this program can add to it, in the frame that
//! checkpoints have: magic, version, length, checksum. What is longer than a few KiB is kept in
//! pieces, since sled puts long values into files of their own, which it never syncs. All that
//! one call changes is one batch: it is there as a whole, or not at all.
//!
//! ```text
//! key:  KIND part 0x00 part … 0x01 piece (2 bytes, big-endian)
//! ```
//!
//! | file | what lives there |
//! | --- | --- |
//! | here | reading and changing records |
//! | [`records`] | what the records are |

pub mod records;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    checkpoint::format::{self, Kind},
    database::{
        directory::{Directory, DirectoryError, Synced, failed},
        guarded::{self, guard},
    },
};

/// See `checkpoint/sled_store.rs`, which knows why.
const PIECE: usize = 7 * 1024;
/// The database is written anew when it is opened and takes so many bytes, and three times what
/// is in it.
const LARGE: u64 = 16 << 20;

/// Why records cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Another process has the directory.
    #[error(
        "the data directory of {} is in use by another process{}; stop that one, or choose another \
         directory with --data",
        path.display(), by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default()
    )]
    Locked {
        /// The registry's directory.
        path: PathBuf,
        /// Which process, as far as it is known.
        by: Option<String>,
    },
    /// The database below says no.
    #[error("the registry {} cannot be {action}: {reason}", path.display())]
    Backend {
        /// The registry's directory.
        path: PathBuf,
        /// "opened", "read", "written".
        action: &'static str,
        /// What it said, and what to do.
        reason: String,
    },
    /// A record is not what it was when it was written.
    #[error("the registry {} is damaged: {what}; put it back from a copy", path.display())]
    Damaged {
        /// The registry's directory.
        path: PathBuf,
        /// Which record, and how.
        what: String,
    },
}

impl From<DirectoryError> for RegistryError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Locked { path, by } => Self::Locked { path, by },
            DirectoryError::System { path, action, reason } => {
                Self::Backend { path, action, reason }
            }
        }
    }
}

/// Something that is remembered.
pub trait Record: Serialize + DeserializeOwned {
    /// Tells one kind of record from the others; never changed.
    const KIND: u8;

    /// What it is found by, within its kind. No part holds bytes below 0x20.
    fn key(&self) -> Vec<String>;
}

/// What is to be changed, all of it at once.
#[derive(Debug, Default)]
pub struct Changes(Vec<Change>);

#[derive(Debug)]
enum Change {
    Put(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
}

impl Changes {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a record, or puts it in the place of the one of its key.
    #[must_use]
    pub fn put<R: Record>(mut self, record: &R) -> Self {
        let json = serde_json::to_vec(record).expect("records are plain data");
        let key = record.key();
        self.0.push(Change::Put(key_of(R::KIND, &key), format::frame(Kind::Record, &json)));
        self
    }

    /// Removes the record of this key, if there is one.
    #[must_use]
    pub fn remove<R: Record>(mut self, key: &[&str]) -> Self {
        self.0.push(Change::Remove(key_of(R::KIND, key)));
        self
    }

    /// Both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

/// The records of a service. Calls block: they read and write files.
#[derive(Debug)]
pub struct Registry {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    directory: Directory,
    /// None while it is closed, and after it could not be opened again.
    db: Option<sled::Db>,
    synced: Synced,
}

impl Registry {
    /// Opens the registry in a directory, which is made if it is not there, and belongs to this
    /// process for as long as the registry is open.
    ///
    /// # Errors
    /// If another process has it, or it cannot be read.
    pub fn open(path: &Path, who: &str) -> Result<Self, RegistryError> {
        let mut directory = Directory::open(path, "records")?;
        directory.say_who(who);
        let mut inner = Inner { directory, db: None, synced: Synced::default() };
        inner.heal()?;
        inner.compact_beyond(LARGE)?;
        Ok(Self { inner: Mutex::new(inner) })
    }

    /// What panics in it has closed the database first.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record of a key.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn get<R: Record>(&self, key: &[&str]) -> Result<Option<R>, RegistryError> {
        let mut inner = self.lock();
        let framed = inner.pieces(&key_of(R::KIND, key))?;
        framed.map(|framed| inner.decode(&framed)).transpose()
    }

    /// All records of a kind whose keys begin with these parts, in the order of their keys.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn all<R: Record>(&self, parts: &[&str]) -> Result<Vec<R>, RegistryError> {
        let mut prefix = key_of(R::KIND, parts);
        if let [_, ..] = parts {
            prefix.push(0);
        }
        let mut inner = self.lock();
        let entries =
            inner.call("read", |db| db.scan_prefix(&prefix).collect::<Result<Vec<_>, _>>())?;
        let mut framed: Vec<(&[u8], Vec<u8>)> = Vec::new();
        for (key, value) in &entries {
            let Some((of, _)) = key.split_last_chunk::<3>() else { continue };
            match framed.last_mut() {
                Some((last, bytes)) if *last == of => bytes.extend_from_slice(value),
                _ => framed.push((of, value.to_vec())),
            }
        }
        framed.iter().map(|(_, framed)| inner.decode(framed)).collect()
    }

    /// Changes records. When this returns they are changed, whatever becomes of the power.
    ///
    /// # Errors
    /// If they could not be written; then it is not known whether they are changed.
    pub fn change(&self, changes: Changes) -> Result<(), RegistryError> {
        let inner = &mut *self.lock();
        inner.apply(changes)?;
        inner.flush()
    }

    /// Changes records, which are read so from now on. They are durable when a later
    /// [`change`](Self::change) is, at the latest.
    ///
    /// # Errors
    /// If they could not be changed.
    pub fn note(&self, changes: Changes) -> Result<(), RegistryError> {
        self.lock().apply(changes)
    }
}

impl Inner {
    fn apply(&mut self, changes: Changes) -> Result<(), RegistryError> {
        let mut batch = sled::Batch::default();
        for change in changes.0 {
            let (Change::Put(key, _) | Change::Remove(key)) = &change;
            let old = piece_keys(key);
            for key in
                self.call("read", |db| db.scan_prefix(&old).keys().collect::<Result<Vec<_>, _>>())?
            {
                batch.remove(key);
            }
            if let Change::Put(key, framed) = change {
                for (i, piece) in framed.chunks(PIECE).enumerate() {
                    batch.insert(piece_key(&key, i), piece);
                }
            }
        }
        self.call("written", |db| db.apply_batch(batch))
    }

    /// Opens the database, if it is not.
    fn heal(&mut self) -> Result<(), RegistryError> {
        if self.db.is_some() {
            return Ok(());
        }
        let path = self.directory.database();
        if !path.exists() {
            // Under another name until it is durable: sled cannot open one that a power cut
            // left half made.
            let new = self.directory.new_database();
            let db = open(&new).map_err(|reason| self.fail("made", reason))?;
            close(db);
            let synced = self.directory.sync_database(&new, &mut Synced::default());
            let put = synced.and_then(|()| self.directory.put_first());
            put.map_err(failed::<RegistryError>(self.directory.path(), "made"))?;
        }
        self.db = Some(open(&path).map_err(|reason| self.fail("opened", reason))?);
        self.synced = Synced::default();
        Ok(())
    }

    /// Calls the database. One of which a call failed is opened anew before the next.
    fn call<T>(
        &mut self,
        action: &'static str,
        call: impl FnOnce(&sled::Db) -> sled::Result<T>,
    ) -> Result<T, RegistryError> {
        self.heal()?;
        let Some(db) = &self.db else {
            return Err(self.fail(action, "it could not be opened again".to_owned()));
        };
        guard(|| call(db)).map_err(|reason| {
            self.close();
            self.fail(action, reason)
        })
    }

    fn flush(&mut self) -> Result<(), RegistryError> {
        self.call("written", |db| db.flush())?;
        let database = self.directory.database();
        self.directory.sync_database(&database, &mut self.synced).map_err(|error| {
            self.close();
            failed(self.directory.path(), "written")(error)
        })
    }

    fn close(&mut self) {
        if let Some(db) = self.db.take() {
            close(db);
        }
    }

    fn fail(&self, action: &'static str, reason: String) -> RegistryError {
        RegistryError::Backend { path: self.directory.path().to_owned(), action, reason }
    }

    fn pieces(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, RegistryError> {
        let of = piece_keys(key);
        let pieces =
            self.call("read", |db| db.scan_prefix(&of).values().collect::<Result<Vec<_>, _>>())?;
        Ok((!pieces.is_empty()).then(|| pieces.concat()))
    }

    fn decode<R: Record>(&self, framed: &[u8]) -> Result<R, RegistryError> {
        let damaged = |what: String| {
            let path = self.directory.path().to_owned();
            RegistryError::Damaged { path, what: format!("a record of kind {}: {what}", R::KIND) }
        };
        let json = format::unframe(Kind::Record, framed).map_err(|e| damaged(e.to_string()))?;
        serde_json::from_slice(json).map_err(|e| damaged(e.to_string()))
    }

    /// Writes what is there into another database, which takes the place of this one, if this
    /// one has so many bytes, and three times what is in it.
    fn compact_beyond(&mut self, bytes: u64) -> Result<(), RegistryError> {
        let disk = size_of_files(&self.directory.database()).unwrap_or(0);
        if disk < bytes {
            return Ok(());
        }
        let entries = self.call("read", |db| db.iter().collect::<Result<Vec<_>, _>>())?;
        let live: u64 = entries.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
        if disk < 3 * live {
            return Ok(());
        }
        let path = self.directory.new_database();
        let _ = fs::remove_dir_all(&path);
        let copied = open(&path).and_then(|db| {
            guard(|| {
                let copied = entries.iter().try_for_each(|(k, v)| db.insert(k, v).map(|_| ()));
                copied.and_then(|()| db.flush()).map(|_| ())
            })?;
            close(db);
            Ok(())
        });
        copied.map_err(|reason| self.fail("compacted", reason))?;
        self.close();
        let synced = self.directory.sync_database(&path, &mut Synced::default());
        let exchanged = synced.and_then(|()| self.directory.exchange());
        self.heal()?;
        exchanged.map_err(failed(self.directory.path(), "compacted"))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

fn open(path: &Path) -> Result<sled::Db, String> {
    guarded::open(path, || {
        let config = sled::Config::new().path(path).cache_capacity(8 << 20);
        // It is flushed where it counts.
        config.flush_every_ms(None).open()
    })
}

/// sled flushes as it closes, and may panic over it.
fn close(db: sled::Db) {
    let _ = guard(|| {
        drop(db);
        Ok(())
    });
}

fn key_of<S: AsRef<str>>(kind: u8, parts: &[S]) -> Vec<u8> {
    let mut key = vec![kind];
    for (i, part) in parts.iter().enumerate() {
        debug_assert!(part.as_ref().bytes().all(|byte| byte >= 0x20), "a key is plain text");
        if i > 0 {
            key.push(0);
        }
        key.extend_from_slice(part.as_ref().as_bytes());
    }
    key
}

fn piece_keys(key: &[u8]) -> Vec<u8> {
    [key, &[1]].concat()
}

fn piece_key(key: &[u8], piece: usize) -> Vec<u8> {
    let piece = u16::try_from(piece).unwrap_or(u16::MAX).to_be_bytes();
    [key, &[1], &piece].concat()
}

fn size_of_files(dir: &Path) -> io::Result<u64> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}
