//! The jobs that run: each in a task of its own, watched until it ends. What is wanted of a job
//! and how it ended is written down before anybody is told; so a process that is killed finds out
//! from its records alone which jobs to start again.
//!
//! ```text
//!  submitted ──▶ launched ──▶ runs ──▶ ended: finished, failed, stopped, cancelled
//!      ▲            ▲          │
//!      │            └──────────┴── the service ends, or is killed: no end is written down,
//!      └ brought back              and it is launched again at the next start
//! ```

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::AbortHandle,
    time::timeout,
};

use tracing::{Instrument as _, Span};

use super::{Service, error::ServiceError, submission::Submission};
use crate::{
    config::job::JobSpec,
    ids::{ArtifactDigest, ArtifactName, CheckpointId, JobId, OperatorName, TenantId, VersionName},
    job_manager::{
        self,
        control::{Control, Controls, Outcome, Request, RunOptions},
        status::JobStatus,
    },
    registry::{
        Changes, Registry, RegistryError,
        records::{Desired, Ended, EndedAs, JobRecord, Pin, SavepointRecord},
    },
    trace::SpanRef,
    watching::Watching,
};

/// How many jobs are made ready to run at a time: after a restart all of them want to.
const STARTS_AT_ONCE: usize = 8;
/// How many questions may wait for a job.
const QUESTIONS: usize = 16;

/// The jobs of the service, those that have ended too.
#[derive(Debug)]
pub(super) struct Jobs {
    entries: Mutex<BTreeMap<JobId, Entry>>,
    /// Held while a record is changed, so that one change is not lost to another.
    pub(super) amending: Mutex<()>,
    starts: Semaphore,
    /// Grows when a job has ended.
    ended: watch::Sender<u64>,
}

/// A job.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) record: Arc<JobRecord>,
    pub(super) live: Option<Live>,
    /// The savepoint that it is being stopped with.
    pub(super) stopping: Option<String>,
    /// An operator whose version of an artifact was deleted, and that version.
    pub(super) deleted: Option<(OperatorName, String)>,
    /// What there is to see of it.
    pub(super) watching: Watching,
}

impl Entry {
    fn of(record: JobRecord) -> Self {
        let watching = Watching::default();
        if record.ended.is_some() {
            watching.close();
        }
        Self { record: Arc::new(record), live: None, stopping: None, deleted: None, watching }
    }
}

/// A job that runs.
#[derive(Debug, Clone)]
pub(super) struct Live {
    control: watch::Sender<Control>,
    pub(super) ask: mpsc::Sender<Request>,
    pub(super) status: watch::Receiver<Arc<JobStatus>>,
    abort: AbortHandle,
}

impl Jobs {
    pub(super) fn load(registry: &Registry) -> Result<Self, RegistryError> {
        let records = registry.all::<JobRecord>(&[])?;
        let entries = records.into_iter().map(|record| (record.id, Entry::of(record)));
        Ok(Self {
            entries: Mutex::new(entries.collect()),
            amending: Mutex::default(),
            starts: Semaphore::new(STARTS_AT_ONCE),
            ended: watch::channel(0).0,
        })
    }

    /// Nothing that panics is done while it is held.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, id: JobId) -> Option<Entry> {
        self.lock().get(&id).cloned()
    }

    /// All jobs, in no order that means anything.
    pub(super) fn all(&self, which: impl Fn(&JobRecord) -> bool) -> Vec<Entry> {
        self.lock().values().filter(|entry| which(&entry.record)).cloned().collect()
    }

    /// How many jobs of a tenant have not ended.
    pub(super) fn unended(&self, tenant: &TenantId) -> usize {
        let of_tenant = |entry: &&Entry| entry.record.tenant == *tenant;
        let entries = self.lock();
        entries.values().filter(of_tenant).filter(|entry| entry.record.ended.is_none()).count()
    }

    /// The jobs that have not ended and run this version of an artifact.
    pub(super) fn users_of(
        &self,
        tenant: &TenantId,
        name: &ArtifactName,
        version: &VersionName,
    ) -> Vec<JobId> {
        let uses = |record: &JobRecord| {
            let mut pins = record.pins.values();
            record.tenant == *tenant
                && record.ended.is_none()
                && pins.any(|pin| !pin.built_in && pin.name == *name && pin.version == *version)
        };
        self.all(uses).iter().map(|entry| entry.record.id).collect()
    }

    /// Notes, of each job of a tenant, or of all, whether a version that it runs is there no
    /// more.
    pub(super) fn note_deleted(
        &self,
        of: Option<&TenantId>,
        is_there: impl Fn(&TenantId, &Pin) -> bool,
    ) {
        let mut entries = self.lock();
        for entry in entries.values_mut() {
            let record = &entry.record;
            if of.is_none_or(|tenant| record.tenant == *tenant) {
                let mut pins = record.pins.iter();
                let gone = pins.find(|(_, pin)| !is_there(&record.tenant, pin));
                entry.deleted =
                    gone.map(|(name, pin)| (name.clone(), format!("{}@{}", pin.name, pin.version)));
            }
        }
    }

    /// The bytes that jobs run which have not ended; and what came with a program that may have
    /// been replaced, of jobs that have, too: nobody could upload it again.
    pub(super) fn pinned(&self) -> Vec<ArtifactDigest> {
        let all = self.all(|_| true);
        let pins = all.iter().flat_map(|entry| {
            let goes_on = entry.record.ended.is_none();
            entry.record.pins.values().filter(move |pin| goes_on || pin.built_in)
        });
        pins.map(|pin| pin.digest).collect()
    }

    /// Enters a job, and makes its record durable. Blocks.
    pub(super) fn enter(&self, registry: &Registry, record: JobRecord) -> Result<(), ServiceError> {
        let _amending = self.amending.lock().unwrap_or_else(PoisonError::into_inner);
        registry.change(Changes::new().put(&record))?;
        let entry = Entry::of(record);
        self.lock().insert(entry.record.id, entry);
        Ok(())
    }

    /// Changes a job's record, durably. Blocks.
    pub(super) fn amend(
        &self,
        registry: &Registry,
        id: JobId,
        change: impl FnOnce(&mut JobRecord) -> Result<(), ServiceError>,
    ) -> Result<Arc<JobRecord>, ServiceError> {
        let _amending = self.amending.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.get(id).ok_or_else(|| no_job(id))?;
        let mut record = JobRecord::clone(&found.record);
        change(&mut record)?;
        registry.change(Changes::new().put(&record))?;
        let record = Arc::new(record);
        if let Some(entry) = self.lock().get_mut(&id) {
            entry.record = record.clone();
        }
        Ok(record)
    }

    /// That a job is being stopped with a savepoint. If it is already, with which.
    pub(super) fn begin_stopping(&self, id: JobId, savepoint: &str) -> Option<String> {
        let mut entries = self.lock();
        let entry = entries.get_mut(&id)?;
        let before = entry.stopping.clone();
        entry.stopping.get_or_insert_with(|| savepoint.to_owned());
        before
    }

    /// That a job is not being stopped with a savepoint any more.
    pub(super) fn give_up_stopping(&self, id: JobId) {
        if let Some(entry) = self.lock().get_mut(&id) {
            entry.stopping = None;
        }
    }

    /// Waits until a job has ended, and says how.
    pub(super) async fn until_ended(&self, id: JobId) -> Option<Ended> {
        let mut ended = self.ended.subscribe();
        loop {
            ended.borrow_and_update();
            if let Some(end) = self.get(id)?.record.ended.clone() {
                return Some(end);
            }
            if ended.changed().await.is_err() {
                return None;
            }
        }
    }

    /// What is to be seen of a job that is being started, maybe not for the first time.
    fn watch_again(&self, id: JobId) -> Watching {
        let mut entries = self.lock();
        entries.get_mut(&id).map_or_else(Watching::default, |entry| {
            entry.watching = entry.watching.opened();
            entry.watching.clone()
        })
    }

    fn are_live(&self) -> bool {
        self.lock().values().any(|entry| entry.live.is_some())
    }

    fn live(&self) -> Vec<Live> {
        self.lock().values().filter_map(|entry| entry.live.clone()).collect()
    }
}

pub(super) fn no_job(id: JobId) -> ServiceError {
    ServiceError::NotFound(format!("job `{id}`"))
}

impl Live {
    /// Asks the job to stop with a last checkpoint.
    fn stop(&self) {
        self.control.send_replace(Control::Stop);
    }
}

impl Service {
    /// The directory of a job.
    pub(super) fn job_dir(&self, id: JobId) -> PathBuf {
        self.dir.join("jobs").join(id.to_string())
    }

    /// Starts every job again that is to run. The service is ready when each was begun.
    pub fn bring_back(self: &Arc<Self>) {
        let service = self.clone();
        tokio::spawn(async move {
            let mut waiting = Vec::new();
            for entry in service.jobs.all(|record| record.ended.is_none()) {
                waiting.push(service.launch(entry.record.id, None));
            }
            for mut begun in waiting {
                // Its end is dropped when there is nothing to wait for any more.
                let _ = begun.wait_for(|begun| *begun).await;
            }
            service.ready.store(true, Ordering::Release);
            tracing::info!("every job that is to run was started");
        });
    }

    /// Has a job run, for a request whose span is given if it is traced. What is returned says
    /// when it was begun.
    pub(super) fn launch(
        self: &Arc<Self>,
        id: JobId,
        asked_by: Option<SpanRef>,
    ) -> watch::Receiver<bool> {
        let (say, begun) = watch::channel(false);
        // Of a level that is never filtered out: what is logged of a job says whose it is.
        let span = match self.jobs.get(id).map(|entry| entry.record) {
            Some(record) => tracing::error_span!(
                parent: None, "job", job = %id, job_name = %record.name, tenant = %record.tenant
            ),
            None => Span::none(),
        };
        tokio::spawn(self.clone().run_job(id, asked_by, say).instrument(span));
        begun
    }

    async fn run_job(
        self: Arc<Self>,
        id: JobId,
        asked_by: Option<SpanRef>,
        say: watch::Sender<bool>,
    ) {
        let Ok(start) = self.jobs.starts.acquire().await else { return };
        if self.is_closing() {
            return;
        }
        let outcome = match self.blocking(move |service| service.ready_to_run(id)).await {
            // Somebody cancelled it before it was begun.
            Ok(None) => Outcome::Stopped { checkpoint: None },
            Ok(Some((spec, mut options))) => {
                options.asked_by = asked_by;
                let (publish, status) = JobStatus::watched(spec.job.name.clone());
                let (control, listen) = watch::channel(Control::Run);
                let (ask, requests) = mpsc::channel(QUESTIONS);
                let controls = Controls { control: listen, requests };
                let job = job_manager::run(spec, options, controls, publish);
                let mut job = tokio::spawn(job.instrument(Span::current()));
                let abort = job.abort_handle();
                self.entered(id, Live { control, ask, status: status.clone(), abort });
                let mut seen = status;
                // It is ready, or waits for slots; or it has ended.
                let begun =
                    async move { seen.wait_for(|status| status.generation > 0).await.is_ok() };
                tokio::select! {
                    ended = &mut job => outcome_of(ended),
                    _ = begun => {
                        drop(start);
                        say.send_replace(true);
                        outcome_of(job.await)
                    }
                }
            }
            Err(error) => Outcome::CannotStart { error: describe(&error) },
        };
        self.note_end(id, outcome).await;
        say.send_replace(true);
    }

    /// What a job runs with; nothing if it is not to run any more. Blocks.
    fn ready_to_run(&self, id: JobId) -> Result<Option<(JobSpec, RunOptions)>, ServiceError> {
        let record = self.jobs.get(id).ok_or_else(|| no_job(id))?.record;
        if record.desired != Desired::Running {
            return Ok(None);
        }
        let submission = Submission::new(record.file.clone(), &record.overrides)?;
        let mut spec = self.read(&record.tenant, &submission)?;
        self.pin_again(&mut spec, &record.pins)?;
        let mut options = self.options_of(&record.tenant, Some(id));
        options.intakes = self.intakes_of(id, &spec)?;
        options.watching = self.jobs.watch_again(id);
        if let Some(from) = record.from_savepoint.as_ref().filter(|_| !self.has_state(id)) {
            options.from_savepoint = Some(self.savepoint_path(from.job, &from.savepoint));
            options.allow_non_restored_state = from.allow_non_restored_state;
        }
        Ok(Some((spec, options)))
    }

    /// A job runs. Whoever wanted it to end before that is heard now.
    fn entered(&self, id: JobId, live: Live) {
        let mut entries = self.jobs.lock();
        let Some(entry) = entries.get_mut(&id) else { return };
        if entry.record.desired != Desired::Running || self.is_closing() {
            live.stop();
        }
        entry.live = Some(live);
    }

    /// Asks a job to end, and sees to it that it does: one that does not in time is ended without
    /// a checkpoint.
    pub(super) fn end_job(self: &Arc<Self>, id: JobId) {
        let Some(Entry { live: Some(live), .. }) = self.jobs.get(id) else { return };
        live.stop();
        let service = self.clone();
        tokio::spawn(async move {
            let patience = service.spec.shutdown_timeout;
            if timeout(patience, service.jobs.until_ended(id)).await.is_err() {
                tracing::warn!("job {id} did not end within {patience:?}, and is ended");
                live.abort.abort();
            }
        });
    }

    /// A job's task has ended.
    async fn note_end(self: &Arc<Self>, id: JobId, outcome: Outcome) {
        // Whoever is answered after this is told that the job has ended.
        let closing_posts = self.blocking(move |service| {
            service.close_posts(id);
            Ok(())
        });
        if let Err(error) = closing_posts.await {
            tracing::error!("what is posted to job {id} cannot be settled: {error}");
        }
        let Some(entry) = self.jobs.get(id) else { return };
        let closing = self.is_closing();
        let stopping = entry.stopping.as_deref().filter(|name| {
            // Whoever wanted it may not have got it.
            self.savepoints_of(id).join(name).is_file()
        });
        let how = ended_as(outcome, entry.record.desired, stopping, closing);
        let how = how.map(|how| match how {
            EndedAs::Failed { error } => {
                EndedAs::Failed { error: self.shown(&entry.record, &error) }
            }
            other => other,
        });
        match &how {
            Some(EndedAs::Failed { error }) => tracing::warn!("the job has failed: {error}"),
            Some(how) => tracing::info!("the job has ended: {how:?}"),
            None => tracing::info!("the job stops with the server, and goes on later"),
        }
        if let Some(how) = how {
            let begun = |live: &Live| live.status.borrow().generation > 0;
            let status = entry.live.as_ref().filter(|live| begun(live));
            let status = status.map(|_| self.status_of(&entry));
            let ended = Ended { at: self.clock.now_millis(), outcome: how, status };
            let noted = self.blocking({
                let ended = ended.clone();
                move |service| {
                    let change = |record: &mut JobRecord| {
                        record.ended = Some(ended);
                        Ok(())
                    };
                    service.jobs.amend(&service.registry, id, change)
                }
            });
            if let Err(error) = noted.await {
                // It has ended all the same; after a restart it goes on from its last checkpoint,
                // which is its end.
                tracing::error!("the end of job {id} cannot be written down: {error}");
                if let Some(entry) = self.jobs.lock().get_mut(&id) {
                    let record = JobRecord::clone(&entry.record);
                    entry.record = Arc::new(JobRecord { ended: Some(ended), ..record });
                }
            }
        }
        if let Some(entry) = self.jobs.lock().get_mut(&id) {
            (entry.live, entry.stopping) = (None, None);
            entry.watching.close();
        }
        self.forget_posts(id);
        self.jobs.ended.send_modify(|ended| *ended += 1);
        let tenant = entry.record.tenant.clone();
        let forgotten = self.blocking(move |service| {
            if let Some(entry) = service.jobs.get(id) {
                service.remove_posts(&entry.record);
            }
            service.forget_oldest(&tenant)
        });
        let forgotten = forgotten.await;
        if let Err(error) = forgotten {
            tracing::warn!("jobs that ended long ago cannot be forgotten: {error}");
        }
    }

    /// Forgets the jobs of a tenant that ended first, with their state, where there are more than
    /// are remembered. Blocks.
    fn forget_oldest(&self, tenant: &TenantId) -> Result<(), ServiceError> {
        let mut ended = self.jobs.all(|record| record.tenant == *tenant && record.ended.is_some());
        let excess = ended.len().saturating_sub(self.spec.history as usize);
        if excess == 0 {
            return Ok(());
        }
        ended.sort_by_key(|entry| entry.record.ended.as_ref().map(|ended| ended.at));
        for entry in &ended[..excess] {
            if self.begins_with(entry.record.id, None).is_some() {
                continue;
            }
            self.forget(entry.record.id)?;
        }
        Ok(())
    }

    /// Forgets a job that has ended, with its state. Blocks.
    pub(super) fn forget(&self, id: JobId) -> Result<(), ServiceError> {
        let _amending = self.jobs.amending.lock().unwrap_or_else(PoisonError::into_inner);
        let text = id.to_string();
        let mut changes = Changes::new().remove::<JobRecord>(&[&text]);
        for savepoint in self.registry.all::<SavepointRecord>(&[&text])? {
            changes = changes.remove::<SavepointRecord>(&[&text, savepoint.name.as_str()]);
        }
        self.registry.change(changes)?;
        let entry = self.jobs.lock().remove(&id);
        match fs::remove_dir_all(self.job_dir(id)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(ServiceError::disk("removing the state of a job")(error))
            }
            _ => {
                if let Some(entry) = entry {
                    self.kept_no_more(&entry.record, None);
                }
                Ok(())
            }
        }
    }

    /// Ends the service: every job takes a final checkpoint, and stays one that is to run. Returns
    /// whether all of them did in time.
    pub async fn shut_down(&self) -> bool {
        self.closing.send_replace(true);
        for live in self.jobs.live() {
            live.stop();
        }
        let mut ended = self.jobs.ended.subscribe();
        let all = async {
            while self.jobs.are_live() {
                ended.borrow_and_update();
                if !self.jobs.are_live() || ended.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(self.spec.shutdown_timeout.max(Duration::from_millis(1)), all).await.is_ok()
    }
}

fn outcome_of(ended: Result<Outcome, tokio::task::JoinError>) -> Outcome {
    match ended {
        Ok(outcome) => outcome,
        Err(error) if error.is_cancelled() => Outcome::Stopped { checkpoint: None },
        Err(error) => Outcome::Failed {
            error: format!("a bug in cofferdam: the job's task ended with: {error}"),
        },
    }
}

/// All that is known of why a job cannot go on, for its record.
fn describe(error: &ServiceError) -> String {
    match error {
        ServiceError::JobFile(errors) => format!("its job file has mistakes by now:\n{errors}"),
        other => other.to_string(),
    }
}

/// How a job has ended; none if it only stopped since the service does, and goes on later.
fn ended_as(
    outcome: Outcome,
    desired: Desired,
    stopping: Option<&str>,
    closing: bool,
) -> Option<EndedAs> {
    match outcome {
        Outcome::Finished => Some(EndedAs::Finished),
        Outcome::Failed { error } => Some(EndedAs::Failed { error }),
        Outcome::Stopped { .. } if desired == Desired::Cancelled => Some(EndedAs::Cancelled),
        Outcome::Stopped { checkpoint } => match stopping {
            Some(savepoint) => Some(stopped(checkpoint, Some(savepoint.to_owned()))),
            None if closing => None,
            None => Some(stopped(checkpoint, None)),
        },
        // What it needs may be gone already.
        Outcome::CannotStart { .. } | Outcome::StateUnusable { .. } if closing => None,
        Outcome::CannotStart { error } => {
            Some(EndedAs::Failed { error: format!("it cannot be started: {error}") })
        }
        Outcome::StateUnusable { error } => {
            Some(EndedAs::Failed { error: format!("its state cannot be used: {error}") })
        }
    }
}

fn stopped(checkpoint: Option<CheckpointId>, savepoint: Option<String>) -> EndedAs {
    EndedAs::Stopped { checkpoint, savepoint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_stops_with_the_service_has_not_ended() {
        let stop = || Outcome::Stopped { checkpoint: Some(CheckpointId(7)) };
        let error = || "why".to_owned();
        let of =
            |outcome, desired, stopping, closing| ended_as(outcome, desired, stopping, closing);
        assert_eq!(of(stop(), Desired::Running, None, true), None);
        assert_eq!(of(Outcome::CannotStart { error: error() }, Desired::Running, None, true), None);
        // What came to its end, or was wanted, counts all the same.
        assert_eq!(of(Outcome::Finished, Desired::Running, None, true), Some(EndedAs::Finished));
        assert_eq!(of(stop(), Desired::Cancelled, None, true), Some(EndedAs::Cancelled));
        assert_eq!(
            of(stop(), Desired::Running, Some("s"), true),
            Some(stopped(Some(CheckpointId(7)), Some("s".to_owned())))
        );
        let failed = of(Outcome::Failed { error: error() }, Desired::Running, None, true);
        assert_eq!(failed, Some(EndedAs::Failed { error: error() }));
        assert!(matches!(
            of(Outcome::StateUnusable { error: error() }, Desired::Running, None, false),
            Some(EndedAs::Failed { error }) if error.contains("why")
        ));
    }
}
