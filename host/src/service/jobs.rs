//! Taking, showing and ending jobs.

use std::sync::{Arc, PoisonError};

use clap::ValueEnum;
use serde_json::Value;

use super::{
    Service,
    access::{Caller, no_tenant},
    conditions::Condition,
    error::ServiceError,
    running::{Entry, no_job},
    submission::{Pins, Submission},
};
use crate::{
    ids::{JobId, JobName, TenantId},
    job_manager::{plan::Plan, plan_view::PlanView, status::JobState},
    registry::records::{Desired, EndedAs, FromSavepoint, JobRecord, Role, VersionRecord},
};

/// A job as it is now.
#[derive(Debug, Clone)]
pub struct JobView {
    /// What is remembered of it.
    pub record: Arc<JobRecord>,
    /// What it is doing.
    pub state: JobWord,
    /// What there is to see of it, or was at its end; null if that is not known, and in lists.
    pub status: Value,
    /// What is not as it should be; none in lists.
    pub conditions: Vec<Condition>,
}

/// What a job is doing, in one word, from its record and its status together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum JobWord {
    /// It is made ready
    Created,
    /// It waits for slots
    Queued,
    /// Records move
    Running,
    /// It waits to restart after a failure
    Restarting,
    /// It takes its last checkpoint
    Stopping,
    /// It is being cancelled
    Cancelling,
    /// Every input was read
    Finished,
    /// It was stopped with a savepoint
    Stopped,
    /// It was cancelled
    Cancelled,
    /// It failed for good
    Failed,
}

impl JobWord {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
            Self::Cancelling => "cancelling",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    pub(super) fn of(entry: &Entry) -> Self {
        let record = &entry.record;
        let state = entry.live.as_ref().map(|live| live.status.borrow().state);
        match record.ended.as_ref().map(|ended| &ended.outcome) {
            Some(EndedAs::Finished) => return Self::Finished,
            Some(EndedAs::Stopped { .. }) => return Self::Stopped,
            Some(EndedAs::Cancelled) => return Self::Cancelled,
            Some(EndedAs::Failed { .. }) => return Self::Failed,
            None if record.desired == Desired::Cancelled => return Self::Cancelling,
            None => {}
        }
        match state {
            Some(JobState::Running) if entry.stopping.is_some() => Self::Stopping,
            None | Some(JobState::Created) => Self::Created,
            Some(JobState::Queued) => Self::Queued,
            Some(JobState::Running) => Self::Running,
            Some(JobState::Restarting) => Self::Restarting,
            // Its end is being written down.
            Some(
                JobState::Stopping | JobState::Stopped | JobState::Finished | JobState::Failed,
            ) => Self::Stopping,
        }
    }
}

/// Which jobs are asked for.
#[derive(Debug, Clone, Default)]
pub struct JobQuery {
    /// Of this tenant only.
    pub tenant: Option<TenantId>,
    /// In this state only.
    pub state: Option<String>,
    /// After this one.
    pub after: Option<JobId>,
    /// At most so many.
    pub limit: usize,
}

/// Some jobs, the newest first.
#[derive(Debug, Clone)]
pub struct JobPage {
    /// They.
    pub jobs: Vec<JobView>,
    /// Whether there are more after them.
    pub more: bool,
}

impl JobView {
    fn of(entry: Entry) -> Self {
        let state = JobWord::of(&entry);
        Self { state, record: entry.record, status: Value::Null, conditions: Vec::new() }
    }
}

impl Service {
    /// Takes a job: when this returns it is remembered, and it is begun.
    ///
    /// # Errors
    /// If the caller may not, there is no such tenant or savepoint, the tenant has too many jobs,
    /// or the job cannot run.
    pub async fn submit(
        self: &Arc<Self>,
        caller: &Caller,
        tenant: Option<&TenantId>,
        submission: Submission,
        from: Option<FromSavepoint>,
    ) -> Result<JobView, ServiceError> {
        caller.require(Role::Author)?;
        let tenant = caller.tenant(tenant)?;
        if let Some(from) = &from {
            self.check_savepoint(&tenant, from)?;
        }
        if self.is_closing() {
            return Err(ServiceError::Unavailable("the service is ending".to_owned()));
        }
        self.check_live(&tenant)?;
        self.check_room(&tenant)?;
        let submission = Arc::new(submission);
        let (spec, pins) = self
            .blocking({
                let (tenant, submission) = (tenant.clone(), submission.clone());
                move |service| {
                    let mut spec = service.read(&tenant, &submission)?;
                    let pins = service.pin(&tenant, &mut spec, &submission)?;
                    Ok((spec, pins))
                }
            })
            .await?;
        let plan = self.try_out(&tenant, &spec, &submission).await?;
        let name = spec.job.name.clone();
        let record = self.record_of(caller, tenant, name, &submission, pins, &plan);
        let record = JobRecord { from_savepoint: from, ..record };
        let id = record.id;
        self.blocking(move |service| service.enter(record)).await?;
        self.launch(id, caller.traced.clone());
        self.view(caller, id)
    }

    fn record_of(
        &self,
        caller: &Caller,
        tenant: TenantId,
        name: JobName,
        submission: &Submission,
        pins: Pins,
        plan: &Plan,
    ) -> JobRecord {
        JobRecord {
            id: JobId(rand::random()),
            tenant,
            name,
            file: submission.file.clone(),
            overrides: submission.overrides.iter().map(|set| set.as_str().to_owned()).collect(),
            pins,
            plan: serde_json::to_value(PlanView::of(plan)).unwrap_or_default(),
            created_at: self.clock.now_millis(),
            created_by: caller.token,
            desired: Desired::Running,
            ended: None,
            from_savepoint: None,
        }
    }

    /// Enters a job, if what it runs is still there. Blocks.
    fn enter(&self, record: JobRecord) -> Result<(), ServiceError> {
        let _names = self.blobs.names.read().unwrap_or_else(PoisonError::into_inner);
        self.check_pins(&record)?;
        self.check_live(&record.tenant)?;
        if let Some(from) = &record.from_savepoint {
            self.check_savepoint(&record.tenant, from)?;
        }
        self.jobs.enter(&self.registry, record)
    }

    /// That what a job runs is there. Blocks.
    fn check_pins(&self, record: &JobRecord) -> Result<(), ServiceError> {
        for pin in record.pins.values() {
            if pin.built_in && self.file_of(&pin.digest)?.is_file() {
                continue;
            }
            let key = [record.tenant.as_str(), pin.name.as_str(), pin.version.as_str()];
            let found = self.registry.get::<VersionRecord>(&key)?;
            if found.is_none_or(|found| found.digest != pin.digest) {
                return Err(ServiceError::Conflict(format!(
                    "`{}@{}`, which the job runs, was deleted: upload the same bytes as that version \
                     again, or submit the job with another one",
                    pin.name, pin.version
                )));
            }
        }
        Ok(())
    }

    /// Has a job run again that failed or was stopped: it goes on from its last checkpoint.
    ///
    /// # Errors
    /// If the caller may not, there is none for them, it has not ended like that, what it runs
    /// was deleted, or the tenant has too many jobs.
    pub async fn restart(
        self: &Arc<Self>,
        caller: &Caller,
        id: JobId,
    ) -> Result<JobView, ServiceError> {
        caller.require(Role::Operator)?;
        self.entry(caller, id)?;
        if self.is_closing() {
            return Err(ServiceError::Unavailable("the service is ending".to_owned()));
        }
        self.blocking(move |service| {
            let _names = service.blobs.names.read().unwrap_or_else(PoisonError::into_inner);
            let entry = service.jobs.get(id).ok_or_else(|| no_job(id))?;
            let word = JobWord::of(&entry);
            if entry.live.is_some() || !matches!(word, JobWord::Failed | JobWord::Stopped) {
                return Err(ServiceError::Conflict(format!(
                    "a job that failed or was stopped can be restarted, and job `{id}` is {}",
                    word.word()
                )));
            }
            service.check_pins(&entry.record)?;
            service.check_live(&entry.record.tenant)?;
            service.jobs.amend(&service.registry, id, |record| {
                if record.ended.take().is_none() {
                    return Err(ServiceError::Conflict(format!("job `{id}` runs already")));
                }
                record.desired = Desired::Running;
                Ok(())
            })
        })
        .await?;
        self.launch(id, caller.traced.clone());
        self.view(caller, id)
    }

    /// Forgets a job that has ended, with its state and its savepoints.
    ///
    /// # Errors
    /// If the caller may not, there is none for them, it has not ended, or another job is to begin
    /// with a savepoint of it.
    pub async fn delete_job(
        self: &Arc<Self>,
        caller: &Caller,
        id: JobId,
    ) -> Result<(), ServiceError> {
        caller.require(Role::Operator)?;
        let entry = self.entry(caller, id)?;
        if entry.record.ended.is_none() || entry.live.is_some() {
            return Err(ServiceError::Conflict(format!(
                "job `{id}` has not ended: cancel or stop it first"
            )));
        }
        if let Some(other) = self.begins_with(id, None) {
            return Err(ServiceError::Conflict(format!(
                "job `{other}` is to begin with a savepoint of job `{id}`; wait until it runs, or \
                 cancel it"
            )));
        }
        self.blocking(move |service| service.forget(id)).await
    }

    fn check_live(&self, tenant: &TenantId) -> Result<(), ServiceError> {
        let limit = self.spec.max_live;
        if self.jobs.unended(tenant) < limit as usize {
            return Ok(());
        }
        Err(ServiceError::OverQuota(format!(
            "tenant `{tenant}` has {limit} jobs that run or wait, and may have no more: cancel some"
        )))
    }

    /// A job, if the caller sees it.
    pub(super) fn entry(&self, caller: &Caller, id: JobId) -> Result<Entry, ServiceError> {
        let found = self.jobs.get(id).filter(|entry| caller.sees(&entry.record.tenant));
        found.ok_or_else(|| no_job(id))
    }

    /// A job.
    ///
    /// # Errors
    /// If there is none of that identifier, for the caller.
    pub fn view(&self, caller: &Caller, id: JobId) -> Result<JobView, ServiceError> {
        let entry = self.entry(caller, id)?;
        let (status, mut conditions) = (self.status_of(&entry), self.conditions_of(&entry));
        if entry.record.ended.is_none() {
            conditions.extend(self.disk_condition(&entry.record.tenant));
        }
        Ok(JobView { status, conditions, ..JobView::of(entry) })
    }

    /// Jobs, the newest first.
    ///
    /// # Errors
    /// If they are another tenant's.
    pub fn list(&self, caller: &Caller, query: &JobQuery) -> Result<JobPage, ServiceError> {
        if let Some(tenant) = query.tenant.as_ref().filter(|tenant| !caller.sees(tenant)) {
            return Err(no_tenant(tenant));
        }
        let wanted = |record: &JobRecord| {
            caller.sees(&record.tenant)
                && query.tenant.as_ref().is_none_or(|tenant| record.tenant == *tenant)
        };
        let mut found = self.jobs.all(wanted);
        let order = |entry: &Entry| (std::cmp::Reverse(entry.record.created_at), entry.record.id);
        found.sort_by_key(order);
        let after = query.after.and_then(|id| found.iter().find(|entry| entry.record.id == id));
        let after = after.map(order);
        let rest = found.into_iter().filter(|entry| after.is_none_or(|after| order(entry) > after));
        let is_wanted =
            |view: &JobView| query.state.as_deref().is_none_or(|state| view.state.word() == state);
        let mut jobs: Vec<_> =
            rest.map(JobView::of).filter(is_wanted).take(query.limit + 1).collect();
        let more = jobs.len() > query.limit;
        jobs.truncate(query.limit);
        Ok(JobPage { jobs, more })
    }

    /// Has a job end, without a savepoint. When this returns it is remembered that it is to; it
    /// takes a last checkpoint, which its sinks commit.
    ///
    /// # Errors
    /// If the caller may not, there is none for them, or it has ended.
    pub async fn cancel(
        self: &Arc<Self>,
        caller: &Caller,
        id: JobId,
    ) -> Result<JobView, ServiceError> {
        caller.require(Role::Operator)?;
        self.entry(caller, id)?;
        self.blocking(move |service| {
            service.jobs.amend(&service.registry, id, |record| {
                if record.ended.is_some() {
                    return Err(ServiceError::Conflict(format!("job `{id}` has ended already")));
                }
                record.desired = Desired::Cancelled;
                Ok(())
            })
        })
        .await?;
        self.end_job(id);
        self.view(caller, id)
    }
}
