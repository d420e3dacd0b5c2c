//! Savepoints as files, and going on with another parallelism or other code.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

use super::{Master, requests::answer};
use crate::{
    capsule::compare::Comparison,
    checkpoint::file,
    clock::Stopwatch,
    ids::CheckpointId,
    job_manager::{
        control::{Answer, Outcome, Request},
        deploy::Deployer,
        disk::JobDisk,
        writer::SharedStore,
    },
    tenancy::disk::{Claim, Claimed},
    threads,
};

/// Another parallelism or other code, on its way.
pub(super) enum Rescaling {
    /// The job stops for it, and is to be like that.
    Stopping(Change, Arc<Deployer>),
    /// The job is deployed with it. What it was before is there to go back to.
    Deploying(Change, Arc<Deployer>),
}

/// What somebody wants to be different.
pub(super) struct Change {
    request: Request,
    /// Since the job was asked to stop for it.
    since: Stopwatch,
    /// How a new version did when it was tried, if that is what is new.
    comparisons: Option<Vec<Comparison>>,
}

impl Change {
    pub(super) fn new(request: Request, comparisons: Option<Vec<Comparison>>) -> Self {
        Self { request, since: Stopwatch::start(), comparisons }
    }
}

impl Master {
    /// Writes a savepoint beside the job, and answers those who asked for it, each of whom
    /// wanted the job to stop with it or not.
    pub(super) fn save(
        &mut self,
        requests: Vec<(Request, bool)>,
        name: Option<String>,
        id: CheckpointId,
    ) {
        let store = self.prepared.writer.store.clone();
        let Some(state) = self.prepared.state.clone() else {
            let why = "a savepoint is written to the state directory, and the job has none: start \
                       it with --state DIR";
            return requests.into_iter().for_each(|(r, _)| answer(r, Err(why.to_owned())));
        };
        let disk = self.prepared.writer.disk.clone();
        // Later checkpoints may supersede it before it is copied.
        let pin = self.prepared.writer.pin(id);
        self.saving.push(threads::blocking(move || {
            let _pin = pin;
            // One that the job stops with was decided on when that was asked for.
            let stops = requests.iter().any(|(_, stopped)| *stopped);
            let room = disk.as_ref().filter(|_| !stops);
            let room = room.map(|disk| room_for(disk, &store, id)).transpose();
            let saved = room.and_then(|room| {
                let saved = write(&store, &state, name, id);
                if let Some(disk) = &disk {
                    disk.measure_savepoints();
                }
                drop(room);
                saved
            });
            for (request, stopped) in requests {
                let saved = saved.clone();
                let told = |(path, bytes)| Answer::Savepoint { id, path, bytes, stopped };
                answer(request, saved.map(told));
            }
        }));
    }

    /// The job has stopped to go on with another parallelism.
    pub(super) fn rescale(&mut self) {
        let Some(Rescaling::Stopping(change, deployer)) = self.rescaling.take() else {
            return;
        };
        let before = self.prepared.use_deployer(deployer);
        self.show_parallelism();
        self.rescaling = Some(Rescaling::Deploying(change, before));
    }

    /// It did not stop for that after all.
    pub(super) fn forget_rescaling(&mut self) {
        if let Some(Rescaling::Stopping(change, _)) = self.rescaling.take() {
            let why = "the job ended or failed before it could stop with a checkpoint; it is as \
                       it was";
            answer(change.request, Err(why.to_owned()));
        }
    }

    /// It runs with another parallelism.
    pub(super) fn answer_rescaled(&mut self) {
        let Some(Rescaling::Deploying(change, _)) = self.rescaling.take() else { return };
        let pause = change.since.elapsed().as_millis();
        let pause_millis = u64::try_from(pause).unwrap_or(u64::MAX);
        let (from, not_promoted) = (self.last_id(), None);
        let told = match change.comparisons {
            None => Answer::Rescaled { from, pause_millis },
            Some(comparisons) => Answer::Upgraded { comparisons, not_promoted, from, pause_millis },
        };
        answer(change.request, Ok(told));
    }

    /// If the job cannot run with its new parallelism, it goes on with the old one. False
    /// if it had none.
    pub(super) fn scale_back(&mut self, outcome: &Outcome) -> bool {
        let Some(Rescaling::Deploying(change, before)) = self.rescaling.take() else {
            return false;
        };
        self.prepared.use_deployer(before);
        self.show_parallelism();
        let why = match outcome {
            Outcome::CannotStart { error } | Outcome::Failed { error } => error.clone(),
            _ => "it was stopped".to_owned(),
        };
        let why = format!("the job goes on as it was: {why}");
        tracing::warn!("{why}");
        answer(change.request, Err(why));
        true
    }

    fn show_parallelism(&mut self) {
        let vertices = &self.prepared.deployer.plan.vertices;
        for (shown, vertex) in self.progress.status.vertices.iter_mut().zip(vertices) {
            shown.parallelism = vertex.parallelism;
        }
    }
}

/// Room for a savepoint of a checkpoint, or in words why there is none.
fn room_for(disk: &JobDisk, store: &SharedStore, id: CheckpointId) -> Result<Claimed, String> {
    let manifest = store.lock().unwrap_or_else(PoisonError::into_inner).manifest(id);
    let bytes = manifest.map_err(|error| error.to_string())?.full_bytes();
    let claimed = disk.claim(bytes, Claim::Growth);
    claimed.map_err(|over| format!("the savepoint is not written: {over}"))
}

/// Writes a checkpoint into a file of its own under the state directory: under another
/// name first, so that a savepoint is whole or not there.
fn write(
    store: &SharedStore,
    state: &Path,
    name: Option<String>,
    id: CheckpointId,
) -> Result<(PathBuf, u64), String> {
    let directory = state.join("savepoints");
    let path = directory.join(name.unwrap_or_else(|| format!("savepoint-{id}")));
    let pending = path.with_extension("pending");
    let cannot =
        |error: io::Error| format!("the savepoint {} cannot be written: {error}", path.display());
    let written = (|| {
        fs::create_dir_all(&directory).map_err(cannot)?;
        let mut out = BufWriter::new(File::create(&pending).map_err(cannot)?);
        {
            let store = store.lock().unwrap_or_else(PoisonError::into_inner);
            file::export(&**store, id, &mut out)
                .map_err(|e| format!("the savepoint {} cannot be written: {e}", path.display()))?;
        }
        out.flush().map_err(cannot)?;
        let file = out.into_inner().map_err(|error| cannot(error.into_error()))?;
        file.sync_all().map_err(cannot)?;
        let bytes = file.metadata().map_err(cannot)?.len();
        fs::rename(&pending, &path).map_err(cannot)?;
        File::open(&directory).and_then(|dir| dir.sync_all()).map_err(cannot)?;
        Ok(bytes)
    })();
    if written.is_err() {
        // Half of it is of no use.
        let _ = fs::remove_file(&pending);
    }
    written.map(|bytes| (path, bytes))
}
