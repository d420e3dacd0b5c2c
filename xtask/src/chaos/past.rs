//! What a job goes on from in its next life: its state directory; or, after it stopped
//! with a savepoint, that savepoint, in a fresh state directory.
//!
//! A savepoint with which a job stops has nothing after it: what its sinks have made
//! visible, or make visible once they are told to, is what the savepoint covers. So the
//! output stays where it is.

use std::{fs, io, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Where a job has its state.
const STATE: &str = "state";
/// Where it had it before it went on from a savepoint.
const SET_ASIDE: &str = "state-set-aside";

/// What is known of a job's lives so far.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// The last checkpoint that is known to be written.
    pub(super) durable: u64,
    /// The savepoint that its state directory began with, and whether the job has gone on
    /// from it yet.
    savepoint: Option<(Savepoint, bool)>,
}

/// A savepoint with which a job stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Savepoint {
    /// Of which checkpoint.
    id: u64,
    /// Its file, in the job's directory.
    file: String,
}

impl Savepoint {
    /// Of what `cofferdam job stop` said.
    ///
    /// # Errors
    /// If that is no such answer.
    pub(super) fn told(answer: &Value) -> Result<Self> {
        match (answer["id"].as_u64(), answer["path"].as_str()) {
            (Some(id), Some(file)) => Ok(Self { id, file: file.to_owned() }),
            _ => bail!("a job that stopped with a savepoint does not say which: {answer}"),
        }
    }
}

impl Past {
    /// What the next life is told of it. Where there is a newer checkpoint, the job is to
    /// go on from that, whatever savepoint is named.
    pub(super) fn arguments(&self) -> Vec<String> {
        let savepoint = self.savepoint.iter();
        savepoint.flat_map(|(s, _)| ["--from-savepoint".to_owned(), s.file.clone()]).collect()
    }

    /// A life began from this checkpoint, if it came so far. Says whether that was the
    /// first time that the job went on from its savepoint.
    ///
    /// # Errors
    /// If it began from something else in a state directory that had nothing else.
    pub(super) fn began(&mut self, from: Option<u64>) -> Result<bool> {
        let Some((savepoint, gone_on)) = &mut self.savepoint else { return Ok(false) };
        let Some(from) = from.filter(|_| !*gone_on) else { return Ok(false) };
        if from != savepoint.id {
            bail!("it goes on from checkpoint {from}, and not from its savepoint {savepoint:?}");
        }
        *gone_on = true;
        Ok(true)
    }

    /// The job stopped with a savepoint: its state directory is set aside, and it is to go
    /// on from the savepoint. Unless it went on all the same, and wrote a later checkpoint.
    ///
    /// # Errors
    /// If its files cannot be moved.
    pub(super) fn leave(&mut self, directory: &Path, savepoint: Savepoint) -> Result<()> {
        if self.durable > savepoint.id {
            return Ok(());
        }
        let set_aside = directory.join(SET_ASIDE);
        match fs::remove_dir_all(&set_aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::rename(directory.join(STATE), &set_aside),
        }
        .with_context(|| format!("cannot set the state aside in {}", directory.display()))?;
        if let Some((old, _)) = self.savepoint.replace((savepoint, false)) {
            let old = directory.join(old.file);
            fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn savepoint(id: u64) -> Savepoint {
        let answer = serde_json::json!({"id": id, "path": format!("{id}.savepoint")});
        Savepoint::told(&answer).unwrap()
    }

    #[test]
    fn a_job_that_stopped_with_a_savepoint_goes_on_from_it_in_a_fresh_directory() {
        let directory = tempfile::tempdir().unwrap();
        let mut past = Past { durable: 4, ..Past::default() };
        assert_eq!(past.arguments(), [""; 0]);
        assert!(!past.began(Some(4)).unwrap(), "there is no savepoint");
        for id in [4, 9] {
            fs::create_dir(directory.path().join(STATE)).unwrap();
            fs::write(directory.path().join(format!("{id}.savepoint")), "").unwrap();
            past.durable = id;
            past.leave(directory.path(), savepoint(id)).unwrap();
            assert!(!directory.path().join(STATE).exists());
            assert_eq!(past.arguments(), ["--from-savepoint", &format!("{id}.savepoint")]);
            assert!(!past.began(None).unwrap(), "it was killed before");
            assert!(past.began(Some(id)).unwrap());
            assert!(!past.began(Some(id + 1)).unwrap(), "from its own checkpoint by now");
        }
        assert!(!directory.path().join("4.savepoint").exists());
    }

    #[test]
    fn a_job_that_begins_with_something_else_than_its_savepoint_is_noticed() {
        let mut past = Past { durable: 9, savepoint: Some((savepoint(9), false)) };
        assert!(past.began(Some(10)).unwrap_err().to_string().contains("not from its savepoint"));
    }

    #[test]
    fn a_job_that_went_on_after_its_savepoint_keeps_its_state() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join(STATE)).unwrap();
        let mut past = Past { durable: 5, ..Past::default() };
        past.leave(directory.path(), savepoint(4)).unwrap();
        assert!(directory.path().join(STATE).exists() && past.arguments().is_empty());
    }
}
