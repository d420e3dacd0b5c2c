//! Savepoints: taken under a name that whoever asks chooses, so that asking again takes no other
//! one; shown, disposed of, and begun with. A savepoint is remembered before the job is asked for
//! it; a service that is killed in between finds out from the file what became of it.
//!
//! ```text
//!  asked for ──▶ in-progress ──▶ completed   the file is there, whole
//!                     └────────▶ failed      there is none, and the name stays taken
//! ```

use std::{
    fs,
    io::BufReader,
    path::PathBuf,
    sync::{Arc, PoisonError},
};

use tokio::time::timeout;

use super::{
    Service, access::Caller, control::ANSWER_WITHIN, error::ServiceError, jobs::JobView,
    running::Entry,
};
use crate::{
    checkpoint::file,
    ids::{JobId, SavepointName, TenantId},
    job_manager::control::{Answer, Ask},
    registry::{
        Changes,
        records::{EndedAs, FromSavepoint, JobRecord, Role, SavepointRecord, SavepointState},
    },
};

/// How many savepoints a job may have.
const MOST: usize = 100;

impl Service {
    /// The directory of a job's savepoints.
    pub(super) fn savepoints_of(&self, id: JobId) -> PathBuf {
        self.job_dir(id).join("state/savepoints")
    }

    /// The file of a savepoint.
    pub(super) fn savepoint_path(&self, id: JobId, name: &SavepointName) -> PathBuf {
        self.savepoints_of(id).join(name.as_str())
    }

    /// Whether a job has a checkpoint of its own.
    pub(super) fn has_state(&self, id: JobId) -> bool {
        self.job_dir(id).join("state/job").exists()
    }

    /// Has a savepoint taken, if there is none of that name; and whether it is a new one. It is
    /// there when [`savepoint`](Self::savepoint) says so.
    ///
    /// # Errors
    /// If the caller may not, there is no such job for them, it does not run, or has too many
    /// savepoints.
    pub async fn take_savepoint(
        self: &Arc<Self>,
        caller: &Caller,
        id: JobId,
        name: Option<SavepointName>,
    ) -> Result<(SavepointRecord, bool), ServiceError> {
        caller.require(Role::Operator)?;
        self.entry(caller, id)?;
        let (record, new) = self.remember_savepoint(caller, id, name, false).await?;
        if new {
            tokio::spawn(self.clone().carry_out(record.clone()));
        }
        Ok((record, new))
    }

    /// Stops a job with a savepoint. It has ended when this returns, or is stopping if that takes
    /// long. Stopping it again with the same savepoint is no mistake.
    ///
    /// # Errors
    /// If the caller may not, there is none for them, it does not run, or the savepoint fails.
    pub async fn stop(
        self: &Arc<Self>,
        caller: &Caller,
        id: JobId,
        name: Option<SavepointName>,
    ) -> Result<JobView, ServiceError> {
        caller.require(Role::Operator)?;
        let entry = self.entry(caller, id)?;
        if let Some(name) = &name
            && stopped_with(&entry.record, name)
        {
            return self.view(caller, id);
        }
        let same = |with: &String| name.as_ref().is_some_and(|name| name.as_str() == with);
        match &entry.stopping {
            Some(with) if same(with) => {
                let _ = timeout(ANSWER_WITHIN, self.jobs.until_ended(id)).await;
                return self.view(caller, id);
            }
            Some(with) => return Err(stops_already(id, with)),
            None => {}
        }
        let (record, new) = self.remember_savepoint(caller, id, name, true).await?;
        if !new {
            return Err(ServiceError::Conflict(format!(
                "job `{id}` has a savepoint `{}` already: stop it with another one",
                record.name
            )));
        }
        if let Some(with) = self.jobs.begin_stopping(id, record.name.as_str()) {
            let other = stops_already(id, &with);
            self.settle(record, Err(other.to_string())).await;
            return Err(other);
        }
        let taken = tokio::spawn(self.clone().carry_out(record));
        let stopped = async {
            match taken.await {
                Ok(Ok(())) => {
                    self.jobs.until_ended(id).await;
                    Ok(())
                }
                Ok(Err(error)) => Err(error),
                Err(error) => Err(ServiceError::Internal(error.to_string())),
            }
        };
        if let Ok(stopped) = timeout(ANSWER_WITHIN, stopped).await {
            stopped?;
        }
        self.view(caller, id)
    }

    /// Remembers that a savepoint is to be taken, if there is none of that name.
    async fn remember_savepoint(
        self: &Arc<Self>,
        caller: &Caller,
        id: JobId,
        name: Option<SavepointName>,
        stop: bool,
    ) -> Result<(SavepointRecord, bool), ServiceError> {
        let caller = caller.clone();
        let name = match name {
            Some(name) => name,
            None => SavepointName::new(format!("{:016x}", rand::random::<u64>()))?,
        };
        self.blocking(move |service| {
            let _amending = service.jobs.amending.lock().unwrap_or_else(PoisonError::into_inner);
            let all = service.registry.all::<SavepointRecord>(&[&id.to_string()])?;
            if let Some(known) = all.iter().find(|known| known.name == name) {
                return Ok((known.clone(), false));
            }
            let entry = service.running(&caller, id)?;
            if all.len() >= MOST {
                return Err(ServiceError::OverQuota(format!(
                    "job `{id}` has {MOST} savepoints, and may have no more: delete some"
                )));
            }
            service.check_room_to_save(&entry)?;
            let record = SavepointRecord {
                job: id,
                name,
                stop,
                created_at: service.clock.now_millis(),
                created_by: caller.token,
                state: SavepointState::InProgress,
            };
            service.registry.change(Changes::new().put(&record))?;
            Ok((record, true))
        })
        .await
    }

    /// Has the job take a savepoint, and notes what came of it.
    async fn carry_out(self: Arc<Self>, record: SavepointRecord) -> Result<(), ServiceError> {
        let (id, stop) = (record.job, record.stop);
        let ask = Ask::Savepoint { name: Some(record.name.to_string()), stop };
        let taken = match self.jobs.get(id) {
            Some(entry) => self.ask(&entry, ask).await,
            None => Err(super::running::no_job(id)),
        };
        let taken = match taken {
            Ok(Answer::Savepoint { id: checkpoint, bytes, .. }) => {
                let completed_at = self.clock.now_millis();
                Ok(SavepointState::Completed { completed_at, checkpoint, bytes })
            }
            Ok(_) => Err(ServiceError::Internal("a bug in cofferdam".to_owned())),
            Err(error) => Err(error),
        };
        let (noted, failed) = match taken {
            Ok(state) => (Ok(state), None),
            Err(error) => (Err(error.to_string()), Some(error)),
        };
        if failed.is_some() && stop {
            self.jobs.give_up_stopping(id);
        }
        self.settle(record, noted).await;
        failed.map_or(Ok(()), Err)
    }

    /// Notes what became of a savepoint, if its job was not forgotten meanwhile.
    async fn settle(
        self: &Arc<Self>,
        record: SavepointRecord,
        became: Result<SavepointState, String>,
    ) {
        let state = became.unwrap_or_else(|error| SavepointState::Failed { error });
        let record = SavepointRecord { state, ..record };
        let (id, name) = (record.job, record.name.clone());
        let noted = self
            .blocking(move |service| {
                let _amending =
                    service.jobs.amending.lock().unwrap_or_else(PoisonError::into_inner);
                if service.jobs.get(id).is_some() {
                    service.registry.change(Changes::new().put(&record))?;
                }
                Ok(())
            })
            .await;
        if let Err(error) = noted {
            // The next start finds out from the file.
            tracing::error!("what became of savepoint {name} of job {id} is not noted: {error}");
        }
    }

    /// Finds out what became of the savepoints that were being taken when the process ended.
    /// Blocks.
    pub(super) fn settle_savepoints(&self) -> Result<(), ServiceError> {
        for record in self.registry.all::<SavepointRecord>(&[])? {
            if record.state != SavepointState::InProgress {
                continue;
            }
            let found = fs::File::open(self.savepoint_path(record.job, &record.name));
            let state = found.ok().and_then(|found| {
                let bytes = found.metadata().ok()?.len();
                let (header, _) = file::peek(&mut BufReader::new(found)).ok()?;
                let completed_at = self.clock.now_millis();
                Some(SavepointState::Completed { completed_at, checkpoint: header.id, bytes })
            });
            let state = state.unwrap_or_else(|| SavepointState::Failed {
                error: "the service ended before it was there; take one with another name"
                    .to_owned(),
            });
            self.registry.change(Changes::new().put(&SavepointRecord { state, ..record }))?;
        }
        Ok(())
    }

    /// The savepoints of a job, the earliest first. Blocks.
    ///
    /// # Errors
    /// If there is no such job, for the caller.
    pub fn savepoints(
        &self,
        caller: &Caller,
        id: JobId,
    ) -> Result<Vec<SavepointRecord>, ServiceError> {
        self.entry(caller, id)?;
        let mut all = self.registry.all::<SavepointRecord>(&[&id.to_string()])?;
        all.sort_by_key(|record| record.created_at);
        Ok(all)
    }

    /// A savepoint of a job. Blocks.
    ///
    /// # Errors
    /// If there is no such job for the caller, or no such savepoint.
    pub fn savepoint(
        &self,
        caller: &Caller,
        id: JobId,
        name: &SavepointName,
    ) -> Result<SavepointRecord, ServiceError> {
        self.entry(caller, id)?;
        let found = self.registry.get::<SavepointRecord>(&[&id.to_string(), name.as_str()])?;
        found.ok_or_else(|| no_savepoint(id, name))
    }

    /// Disposes of a savepoint: its file goes, and its name is free again. Blocks.
    ///
    /// # Errors
    /// If the caller may not, there is none for them, it is being taken, or a job is to begin
    /// with it.
    pub fn delete_savepoint(
        &self,
        caller: &Caller,
        id: JobId,
        name: &SavepointName,
    ) -> Result<(), ServiceError> {
        caller.require(Role::Operator)?;
        let _amending = self.jobs.amending.lock().unwrap_or_else(PoisonError::into_inner);
        let record = self.savepoint(caller, id, name)?;
        if record.state == SavepointState::InProgress {
            return Err(ServiceError::Conflict(format!("savepoint `{name}` is being taken")));
        }
        if let Some(other) = self.begins_with(id, Some(name)) {
            return Err(ServiceError::Conflict(format!(
                "job `{other}` is to begin with savepoint `{name}`; wait until it runs, or cancel it"
            )));
        }
        match fs::remove_file(self.savepoint_path(id, name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(ServiceError::disk("removing a savepoint")(error));
            }
            _ => {}
        }
        self.measure_savepoints(id);
        let key = [&*id.to_string(), name.as_str()];
        Ok(self.registry.change(Changes::new().remove::<SavepointRecord>(&key))?)
    }

    /// A job that needs a savepoint of this one yet.
    pub(super) fn begins_with(&self, id: JobId, name: Option<&SavepointName>) -> Option<JobId> {
        let needs = |record: &JobRecord| {
            let from = record.from_savepoint.as_ref();
            record.ended.is_none()
                && from.is_some_and(|from| {
                    from.job == id && name.is_none_or(|name| from.savepoint == *name)
                })
        };
        let all = self.jobs.all(needs);
        all.iter().map(|entry| entry.record.id).find(|id| !self.has_state(*id))
    }

    /// That a job of a tenant can begin with a savepoint.
    pub(super) fn check_savepoint(
        &self,
        tenant: &TenantId,
        from: &FromSavepoint,
    ) -> Result<(), ServiceError> {
        let FromSavepoint { job, savepoint: name, .. } = from;
        let is_theirs = |entry: &Entry| entry.record.tenant == *tenant;
        self.jobs.get(*job).filter(is_theirs).ok_or_else(|| no_savepoint(*job, name))?;
        let key = [&*job.to_string(), name.as_str()];
        let record = self.registry.get::<SavepointRecord>(&key)?;
        let record = record.ok_or_else(|| no_savepoint(*job, name))?;
        if matches!(record.state, SavepointState::Completed { .. }) {
            return Ok(());
        }
        Err(ServiceError::Conflict(format!("savepoint `{name}` of job `{job}` is not completed")))
    }
}

fn no_savepoint(id: JobId, name: &SavepointName) -> ServiceError {
    ServiceError::NotFound(format!("savepoint `{name}` of job `{id}`"))
}

fn stops_already(id: JobId, with: &str) -> ServiceError {
    ServiceError::Conflict(format!(
        "job `{id}` is being stopped already, with the savepoint `{with}`"
    ))
}

fn stopped_with(record: &JobRecord, name: &SavepointName) -> bool {
    let ended = record.ended.as_ref().map(|ended| &ended.outcome);
    matches!(ended, Some(EndedAs::Stopped { savepoint: Some(with), .. }) if with == name.as_str())
}
