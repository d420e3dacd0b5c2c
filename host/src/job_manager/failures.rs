//! Keeps a job's last failures in a file beside its checkpoints, so that they are told after a restart
//! of the process, too. Nothing depends on it: what cannot be read or written costs a warning.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::task::JoinHandle;

use super::status::{FAILURES, PastFailure};
use crate::threads;

/// What the file is called.
const FILE: &str = "failures.json";
/// Ours are a fraction of it: what is larger is not read.
const LARGEST: u64 = 4 << 20;

/// The file of one job; none without a directory for its state.
#[derive(Debug, Default)]
pub struct KeptFailures {
    path: Option<PathBuf>,
    next: Arc<Mutex<Next>>,
    writing: Option<JoinHandle<()>>,
}

/// Only the newest is written, by one thread at a time: who fails in a loop waits for no disk.
#[derive(Debug, Default)]
struct Next {
    content: Option<Vec<u8>>,
    is_written: bool,
}

impl KeptFailures {
    /// In a directory.
    #[must_use]
    pub fn below(state: Option<&Path>) -> Self {
        Self { path: state.map(|state| state.join(FILE)), ..Self::default() }
    }

    /// Those of an earlier process, the latest last. Blocks.
    #[must_use]
    pub fn read(&self) -> VecDeque<PastFailure> {
        let Some(path) = &self.path else { return VecDeque::new() };
        match read(path) {
            Ok(mut failures) => {
                let excess = failures.len().saturating_sub(FAILURES);
                failures.drain(..excess);
                failures
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => VecDeque::new(),
            Err(error) => {
                tracing::warn!("earlier failures are forgotten: {}: {error}", path.display());
                VecDeque::new()
            }
        }
    }

    /// Writes these, beside the job: they need not be there yet when this returns.
    pub fn keep(&mut self, failures: &VecDeque<PastFailure>) {
        let (Some(path), Ok(content)) = (self.path.clone(), serde_json::to_vec(failures)) else {
            return;
        };
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.content = Some(content);
        if next.is_written {
            return;
        }
        next.is_written = true;
        let shared = self.next.clone();
        self.writing = Some(threads::blocking(move || {
            while let Some(content) = take(&shared) {
                if let Err(error) = write(&path, &content) {
                    tracing::warn!("failures are not kept: {}: {error}", path.display());
                }
            }
        }));
    }

    /// Waits until they are written.
    pub async fn finish(&mut self) {
        if let Some(writing) = self.writing.take() {
            let _ = writing.await;
        }
    }
}

fn take(next: &Mutex<Next>) -> Option<Vec<u8>> {
    let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
    let content = next.content.take();
    next.is_written = content.is_some();
    content
}

fn read(path: &Path) -> io::Result<VecDeque<PastFailure>> {
    let bytes = fs::metadata(path)?.len();
    if bytes > LARGEST {
        return Err(io::Error::other(format!("it has {bytes} bytes, more than was ever written")));
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// All of it or nothing, unless the power fails.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, content)?;
    fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Failure, FailureKind};

    fn failures(messages: impl IntoIterator<Item = usize>) -> VecDeque<PastFailure> {
        let failure = |n: usize| Failure::new(FailureKind::GuestTrap, n.to_string());
        messages.into_iter().map(|n| PastFailure::of(1, &failure(n))).collect()
    }

    #[tokio::test]
    async fn the_newest_are_there_for_the_next_process() {
        let dir = tempfile::tempdir().unwrap();
        let mut kept = KeptFailures::below(Some(dir.path()));
        assert_eq!(kept.read(), failures([]));
        for last in 1..50 {
            kept.keep(&failures(0..last));
        }
        kept.finish().await;
        let next = KeptFailures::below(Some(dir.path()));
        assert_eq!(next.read(), failures(49 - FAILURES..49));
        kept.keep(&failures([7]));
        kept.finish().await;
        assert_eq!(next.read(), failures([7]));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing unfinished");
    }

    #[tokio::test]
    async fn what_cannot_be_read_or_written_is_done_without() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "[{\"at\":").unwrap();
        assert_eq!(KeptFailures::below(Some(dir.path())).read(), failures([]));
        fs::write(dir.path().join(FILE), vec![b' '; 5 << 20]).unwrap();
        assert_eq!(KeptFailures::below(Some(dir.path())).read(), failures([]));
        for nowhere in [None, Some(dir.path().join("gone"))] {
            let mut kept = KeptFailures::below(nowhere.as_deref());
            kept.keep(&failures([1]));
            kept.finish().await;
            assert_eq!(kept.read(), failures([]));
        }
    }
}
