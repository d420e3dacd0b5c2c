//! Removes what was posted to a job's sources once nobody can go on from before it: no checkpoint
//! that is kept, and no savepoint. Where each of them goes on from is read once.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ffi::OsString,
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{
    checkpoint::{CheckpointStore, Manifest, file},
    connectors::http_source::needed_from,
    ids::{CheckpointId, OperatorName},
    intake::Intakes,
};

/// From where on the log of each source is needed.
type Needed = BTreeMap<OperatorName, u64>;

/// Trims the logs of a job.
#[derive(Debug, Default)]
pub struct Trimmer {
    intakes: Intakes,
    savepoints: Option<PathBuf>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    checkpoints: BTreeMap<CheckpointId, Needed>,
    /// By file. One of the same name that was taken later needs less.
    savepoints: BTreeMap<OsString, Needed>,
}

impl Trimmer {
    /// For a job with this state directory.
    #[must_use]
    pub fn new(intakes: Intakes, state: Option<&Path>) -> Self {
        let savepoints = state.map(|state| state.join("savepoints"));
        Self { intakes, savepoints, known: Mutex::default() }
    }

    /// Removes what is not needed any more. Blocks. What fails is tried again after the next
    /// checkpoint.
    pub fn trim(&self, store: &dyn CheckpointStore) {
        if self.intakes.is_empty() {
            return;
        }
        if let Err(error) = self.try_to(store) {
            tracing::warn!("what was posted to the job's sources cannot be removed yet: {error}");
        }
    }

    fn try_to(&self, store: &dyn CheckpointStore) -> Result<(), String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // First the checkpoints: one that is becoming a savepoint is kept until that is there.
        let kept = store.list().map_err(|e| e.to_string())?;
        known.checkpoints.retain(|id, _| kept.contains(id));
        for id in kept {
            if let Entry::Vacant(unknown) = known.checkpoints.entry(id) {
                let manifest = store.manifest(id).map_err(|e| e.to_string())?;
                unknown.insert(self.needed(&manifest)?);
            }
        }
        self.look_at_savepoints(&mut known)?;
        for (name, log) in self.intakes.iter() {
            let all = known.checkpoints.values().chain(known.savepoints.values());
            // Nobody can have gone on from anywhere yet: all of it is needed.
            let to = all.map(|needed| needed.get(name).copied().unwrap_or(0)).min().unwrap_or(0);
            log.trim(to).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn look_at_savepoints(&self, known: &mut Known) -> Result<(), String> {
        let Some(dir) = &self.savepoints else { return Ok(()) };
        let mut files = Vec::new();
        match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.to_string()),
            Ok(entries) => {
                for entry in entries {
                    files.push(entry.map_err(|e| e.to_string())?.file_name());
                }
            }
        }
        // One that is being written is that of a checkpoint which is kept for so long.
        files.retain(|name| Path::new(name).extension().is_none_or(|e| e != "pending"));
        known.savepoints.retain(|name, _| files.contains(name));
        for name in files {
            let path = dir.join(&name);
            if let Entry::Vacant(unknown) = known.savepoints.entry(name) {
                let file = File::open(path).map_err(|e| e.to_string())?;
                let peeked = file::peek(&mut BufReader::new(file)).map_err(|e| e.to_string())?;
                unknown.insert(self.needed(&peeked.1)?);
            }
        }
        Ok(())
    }

    fn needed(&self, manifest: &Manifest) -> Result<Needed, String> {
        let mut needed = Needed::new();
        for (name, _) in self.intakes.iter() {
            let subtasks = manifest.operators.get(name).map(|state| &state.subtasks);
            for subtask in subtasks.into_iter().flatten() {
                let from = needed_from(&subtask.positions).map_err(|e| e.to_string())?;
                let least = needed.entry(name.clone()).or_insert(u64::MAX);
                *least = from.unwrap_or(u64::MAX).min(*least);
            }
        }
        Ok(needed)
    }
}
