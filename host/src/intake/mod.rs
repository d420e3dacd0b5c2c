//! What was posted to the sources of jobs, and acknowledged: a log on disk for each source. It is
//! what makes such a source one that can be read again: after a crash, a restart, from a savepoint.
//! Knows neither jobs nor what stands in the records.
//!
//! ```text
//!  post ──▶ append ──▶ pending ──▶ written and synced, all that waits at once ──▶ acknowledged
//!                                            │
//!                        the source reads ◀──┘      a checkpoint covers it ──▶ trimmed
//! ```
//!
//! | file | what lives there |
//! | --- | --- |
//! | [`frame`] | the bytes of one request |
//! | `segment` | the files of a log, found again after a crash |
//! | [`log`] | appending, syncing together, trimming |
//! | `keys` | which requests were taken already |
//! | [`cursor`] | reading from a position |
//! | [`traced`] | which requests were traced |
//! | [`transfer`] | a log for a job that begins with another one's savepoint |

pub mod cursor;
pub mod frame;
mod keys;
pub mod log;
mod segment;
#[cfg(test)]
mod tests;
pub mod traced;
pub mod transfer;

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use self::log::Log;
use crate::ids::OperatorName;

/// The logs of a job's sources. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Intakes(Arc<BTreeMap<OperatorName, Arc<Log>>>);

impl Intakes {
    /// These.
    #[must_use]
    pub fn new(logs: BTreeMap<OperatorName, Arc<Log>>) -> Self {
        Self(Arc::new(logs))
    }

    /// The log of a source.
    #[must_use]
    pub fn get(&self, source: &OperatorName) -> Option<&Arc<Log>> {
        self.0.get(source)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&OperatorName, &Arc<Log>)> {
        self.0.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Who says how much the logs of somebody may hold together. Asked while a log is changed: it must
/// not wait for anything.
pub trait Room: fmt::Debug + Send + Sync {
    /// The log is to hold so many bytes in all, which is more than it does.
    ///
    /// # Errors
    /// In words, if it may not.
    fn grow(&self, to: u64) -> Result<(), String>;

    /// The log holds so many bytes.
    fn holds(&self, bytes: u64);
}

/// All the room there is.
#[derive(Debug)]
pub struct NoBound;

impl Room for NoBound {
    fn grow(&self, _: u64) -> Result<(), String> {
        Ok(())
    }

    fn holds(&self, _: u64) {}
}

/// Bytes of the log in a directory, which somebody may have open.
///
/// # Errors
/// If the system does not say.
pub fn bytes_in(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "log") {
            // A segment may go at any moment.
            bytes += entry.metadata().map_or(0, |about| about.len());
        }
    }
    Ok(bytes)
}

/// Why something is not taken, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// What is there was not read yet, and there is no room for more.
    #[error(
        "{held} bytes are kept that no checkpoint covers yet, or that a savepoint needs, and {limit} \
         may be"
    )]
    Full {
        /// How many bytes there are.
        held: u64,
        /// How many there may be.
        limit: u64,
    },
    /// Whoever the log belongs to may not hold more.
    #[error("{0}")]
    NoRoom(String),
    /// It was said that no more will come.
    #[error("the source was ended: nothing more can be posted to it")]
    Ended,
    /// The job has ended.
    #[error("the job has ended")]
    Closed,
    /// The key was used for something else.
    #[error("the idempotency key was used before, with another body")]
    OtherBody,
    /// The disk says no.
    #[error("{path}: {reason}", path = path.display())]
    Disk {
        /// Where.
        path: PathBuf,
        /// What it said.
        reason: String,
        /// Whether it is full.
        full: bool,
    },
    /// What was written is not there any more as it was.
    #[error("{path} is damaged: {reason}", path = path.display())]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl IntakeError {
    fn disk(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |error| {
            use std::io::ErrorKind::{QuotaExceeded, StorageFull};
            let full = matches!(error.kind(), StorageFull | QuotaExceeded);
            Self::Disk { path: path.to_owned(), reason: error.to_string(), full }
        }
    }
}
