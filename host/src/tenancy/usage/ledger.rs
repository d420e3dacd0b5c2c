//! Where usage records are kept: a file of JSON lines for each run of the program,
//! only ever added to. Lines have a session and a number in it; what was written is
//! synced before it counts as written.

use std::{
    fs::{self, File},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::UsageRecord;
use crate::clock::Clock;

/// The directory of ledgers, in the data directory.
pub const DIR: &str = "usage";
/// What a ledger's name ends in.
pub const EXTENSION: &str = "jsonl";

/// A line of a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Which run of the program wrote it: the ledger's name without its extension.
    pub session: String,
    /// Its number in that session, from 0.
    pub seq: u64,
    /// The record.
    #[serde(flatten)]
    pub record: UsageRecord,
}

/// A ledger that is written. Clones are the same.
#[derive(Debug, Clone)]
pub struct Ledger {
    path: PathBuf,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    session: String,
    next: u64,
    /// Bytes of the file that are whole lines.
    whole: u64,
}

impl Ledger {
    /// Begins a ledger in the data directory `dir`, with a name of its own.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn begin(dir: &Path, clock: &Clock) -> io::Result<Self> {
        let dir = dir.join(DIR);
        fs::create_dir_all(&dir)?;
        loop {
            let session = session(clock);
            let path = dir.join(format!("{session}.{EXTENSION}"));
            let file = match File::options().write(true).create_new(true).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            // The name has to last, too.
            File::open(&dir)?.sync_all()?;
            let inner = Inner { path: path.clone(), file, session, next: 0, whole: 0 };
            return Ok(Self { path, inner: Arc::new(Mutex::new(inner)) });
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes records and waits until they last. Blocks.
    ///
    /// # Errors
    /// If they may not last; then they can be written again, and count once.
    pub fn append(&self, records: &[UsageRecord]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let inner = &mut *self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = Vec::new();
        for (seq, record) in (inner.next..).zip(records) {
            let (session, record) = (inner.session.clone(), record.clone());
            serde_json::to_writer(&mut lines, &Line { session, seq, record })?;
            lines.push(b'\n');
        }
        // Where an attempt before this one got stuck halfway, its rest goes.
        inner.file.seek(SeekFrom::Start(inner.whole))?;
        inner.file.write_all(&lines)?;
        inner.file.set_len(inner.whole + lines.len() as u64)?;
        inner.file.sync_data()?;
        inner.whole += lines.len() as u64;
        inner.next += records.len() as u64;
        Ok(())
    }
}

/// A run that used nothing leaves nothing behind.
impl Drop for Inner {
    fn drop(&mut self) {
        if self.whole == 0 {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// `20261121T175600Z-4711-9f3a61c2`: when, which process, and something random, so that
/// containers, which all have the same number, do not meet.
fn session(clock: &Clock) -> String {
    let now = jiff::Timestamp::from_millisecond(clock.now_millis()).unwrap_or_default();
    let (pid, random) = (std::process::id(), rand::random::<u32>());
    format!("{}-{pid}-{random:08x}", now.strftime("%Y%m%dT%H%M%SZ"))
}
