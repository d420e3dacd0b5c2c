//! What a job that runs is asked, and goes on: another parallelism, other limits, a checkpoint, what one of its
//! checkpoints is made of. A job may take its time; whoever asks does not wait for longer than
//! [`ANSWER_WITHIN`], and what was asked is done all the same.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::Value;
use tokio::{sync::oneshot, time::timeout};

use super::{
    Service,
    access::Caller,
    error::ServiceError,
    jobs::JobWord,
    running::{Entry, no_job},
    submission::Submission,
};
use crate::{
    checkpoint::{
        sled_store::SledStore,
        summary::{self, Summary},
    },
    config::job::JobSpec,
    ids::{CheckpointId, JobId, OperatorName},
    job_manager::{
        control::{Answer, Ask, Request, SlotLimits},
        status::{CheckpointStatus, PastCheckpoint},
    },
    registry::records::{JobRecord, Role},
};

/// For how long an answer of a job is waited for.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The checkpoints of a job.
#[derive(Debug, Clone, Serialize)]
pub struct Checkpoints {
    /// How many were completed, and given up, since the job was started in this process; the
    /// last ones, and the one that it was resumed from.
    #[serde(flatten)]
    pub status: CheckpointStatus,
    /// Of the completed ones that are in the history.
    pub summary: CheckpointSums,
}

/// Figures over some checkpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CheckpointSums {
    /// From start to completion, in milliseconds.
    pub duration_millis: Option<Range>,
    /// Bytes that were written.
    pub bytes: Option<Range>,
    /// Bytes of all state.
    pub full_bytes: Option<Range>,
}

/// The least, the mean and the greatest of some numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The least.
    pub min: u64,
    /// The mean, rounded down.
    pub avg: u64,
    /// The greatest.
    pub max: u64,
}

impl Range {
    fn of(numbers: impl Iterator<Item = u64> + Clone) -> Option<Self> {
        let (min, max) = (numbers.clone().min()?, numbers.clone().max()?);
        let (count, sum) = numbers.fold((0, 0_u64), |(n, sum), x| (n + 1, sum.saturating_add(x)));
        Some(Self { min, avg: sum / count, max })
    }
}

impl Checkpoints {
    fn of(status: CheckpointStatus) -> Self {
        let completed = status.history.iter().filter_map(|past| match past {
            PastCheckpoint::Completed(checkpoint) => Some(checkpoint),
            PastCheckpoint::Failed { .. } => None,
        });
        let summary = CheckpointSums {
            duration_millis: Range::of(completed.clone().map(|c| c.duration_millis)),
            bytes: Range::of(completed.clone().map(|c| c.bytes)),
            full_bytes: Range::of(completed.map(|c| c.full_bytes)),
        };
        Self { status, summary }
    }
}

/// A checkpoint.
#[derive(Debug, Clone, Serialize)]
pub struct CheckpointView {
    /// Its number.
    pub id: CheckpointId,
    /// What became of it, if it is one of the last.
    pub history: Option<PastCheckpoint>,
    /// What it is made of, if it is kept.
    pub kept: Option<Box<Summary>>,
}

/// A checkpoint that was taken because somebody asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TakenCheckpoint {
    /// Its number.
    pub id: CheckpointId,
    /// From its start to its completion.
    pub duration_millis: u64,
    /// Bytes that were written for it.
    pub bytes: u64,
}

/// Other limits of each slot of an operator, as in a job file; those that are not given stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewLimits {
    /// Such as `512MiB`.
    pub memory: Option<String>,
    /// How long a call may take, such as `10s`.
    pub deadline: Option<String>,
    /// Of one core, such as `50%`.
    pub cpu_cap: Option<String>,
}

/// A job that goes on with another parallelism, or with other limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rescaled {
    /// The checkpoint that it went on from.
    pub from: Option<CheckpointId>,
    /// From when its sources stopped to when it ran again.
    pub pause_millis: u64,
}

impl Service {
    /// Asks a job something, and waits for as long as it takes.
    pub(super) async fn ask(&self, entry: &Entry, ask: Ask) -> Result<Answer, ServiceError> {
        let id = entry.record.id;
        let gone = || ServiceError::Conflict(format!("job `{id}` ended before it could answer"));
        let live = entry.live.as_ref().ok_or_else(|| not_running(entry))?;
        let (answer, heard) = oneshot::channel();
        live.ask.send(Request { ask, answer }).await.map_err(|_| gone())?;
        let said = heard.await.map_err(|_| gone())?;
        said.map_err(|why| ServiceError::JobSaysNo(self.shown(&entry.record, &why)))
    }

    /// Does something to its end, whether or not somebody waits for it, and waits for a while.
    pub(super) async fn bounded<T: Send + 'static>(
        what: &str,
        work: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
    ) -> Result<T, ServiceError> {
        match timeout(ANSWER_WITHIN, tokio::spawn(work)).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => {
                tracing::error!("a bug in cofferdam: {error}");
                Err(ServiceError::Internal(
                    "a bug in cofferdam: the server's log says more".to_owned(),
                ))
            }
            Err(_) => Err(ServiceError::NotYet(format!(
                "{what} takes longer than {ANSWER_WITHIN:?}; it goes on, and the job shows when it \
                 is done"
            ))),
        }
    }

    /// A job that records move in.
    pub(super) fn running(&self, caller: &Caller, id: JobId) -> Result<Entry, ServiceError> {
        caller.require(Role::Operator)?;
        let entry = self.entry(caller, id)?;
        match JobWord::of(&entry) {
            JobWord::Running => Ok(entry),
            _ => Err(not_running(&entry)),
        }
    }

    /// Has a job go on with another parallelism: of one operator, or of all that have none of
    /// their own. It stays so after a restart of the service.
    ///
    /// # Errors
    /// If the caller may not, there is no such job for them, it does not run, or it cannot run
    /// like that: then it goes on as it was.
    pub async fn rescale(
        self: &Arc<Self>,
        caller: &Caller,
        id: JobId,
        operator: Option<OperatorName>,
        parallelism: u32,
    ) -> Result<Rescaled, ServiceError> {
        let entry = self.running(caller, id)?;
        // By its name alone it would be a setting of the operator itself.
        let node = operator.as_ref().map_or_else(|| "job".to_owned(), |o| format!("operator.{o}"));
        let set = (format!("{node}.parallelism"), parallelism.to_string());
        let (overrides, _) = self.with(&entry.record, [set]).await?;
        let ask = Ask::Rescale { operator, parallelism };
        self.go_on_with("rescaling", entry, ask, overrides).await
    }

    /// Has a job go on with other limits of each slot of an operator. They stay so after a restart
    /// of the service.
    ///
    /// # Errors
    /// If the caller may not, there is no such job for them, it does not run, it has no such
    /// operator, the limits are none, or it cannot run like that: then it goes on as it was.
    pub async fn limit(
        self: &Arc<Self>,
        caller: &Caller,
        id: JobId,
        operator: OperatorName,
        new: NewLimits,
    ) -> Result<Rescaled, ServiceError> {
        let entry = self.running(caller, id)?;
        let NewLimits { memory, deadline, cpu_cap } = new;
        let given = [("memory", memory), ("deadline", deadline), ("cpu_cap", cpu_cap)];
        let set = given.into_iter().filter_map(|(key, value)| {
            // As a text, whatever is in it.
            let value = Value::from(value?);
            Some((format!("operator.{operator}.{key}"), value.to_string()))
        });
        let (overrides, spec) = self.with(&entry.record, set.collect::<Vec<_>>()).await?;
        let found = spec.operators.iter().find(|spec| spec.name == operator);
        let found = found.ok_or_else(|| {
            ServiceError::Invalid(format!("the job has no operator `{operator}`"))
        })?;
        let limits = SlotLimits {
            memory: found.memory,
            deadline_millis: u64::try_from(found.deadline.as_millis()).unwrap_or(u64::MAX),
            cpu_cap: found.cpu_cap.map(|cap| cap.0),
        };
        self.go_on_with("changing limits", entry, Ask::Limit { operator, limits }, overrides).await
    }

    /// What is changed of a job's file, with more; and what the file says then.
    async fn with(
        self: &Arc<Self>,
        record: &Arc<JobRecord>,
        set: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(Vec<String>, JobSpec), ServiceError> {
        let mut overrides = record.overrides.clone();
        for (key, value) in set {
            let key = format!("{key}=");
            overrides.retain(|set| !set.starts_with(&key));
            overrides.push(format!("{key}{value}"));
        }
        let submission = Submission::new(record.file.clone(), &overrides)?;
        let record = record.clone();
        let spec = self.blocking(move |service| service.read(&record.tenant, &submission)).await?;
        Ok((overrides, spec))
    }

    /// Has a job go on from a checkpoint as a changed job, and remembers that.
    async fn go_on_with(
        self: &Arc<Self>,
        doing: &str,
        entry: Entry,
        ask: Ask,
        overrides: Vec<String>,
    ) -> Result<Rescaled, ServiceError> {
        let (service, id) = (self.clone(), entry.record.id);
        Self::bounded(doing, async move {
            let answer = service.ask(&entry, ask).await?;
            let Answer::Rescaled { from, pause_millis } = answer else {
                return Err(strange(&answer));
            };
            let status = service.jobs.get(id).map(|entry| service.status_of(&entry));
            let change = move |record: &mut JobRecord| {
                record.overrides = overrides;
                show_parallelism(&mut record.plan, &status.unwrap_or_default());
                Ok(())
            };
            service
                .blocking(move |service| service.jobs.amend(&service.registry, id, change))
                .await?;
            Ok(Rescaled { from, pause_millis })
        })
        .await
    }

    /// Has a job take a checkpoint.
    ///
    /// # Errors
    /// If the caller may not, there is no such job for them, it does not run, or the checkpoint
    /// fails.
    pub async fn take_checkpoint(
        self: &Arc<Self>,
        caller: &Caller,
        id: JobId,
    ) -> Result<TakenCheckpoint, ServiceError> {
        let (service, entry) = (self.clone(), self.running(caller, id)?);
        Self::bounded("the checkpoint", async move {
            match service.ask(&entry, Ask::Checkpoint).await? {
                Answer::Checkpoint { id, duration_millis, bytes } => {
                    Ok(TakenCheckpoint { id, duration_millis, bytes })
                }
                answer => Err(strange(&answer)),
            }
        })
        .await
    }

    /// The checkpoints of a job.
    ///
    /// # Errors
    /// If there is no such job, for the caller.
    pub fn checkpoints(&self, caller: &Caller, id: JobId) -> Result<Checkpoints, ServiceError> {
        let mut status = self.view(caller, id)?.status;
        // One that never ran has taken none.
        let status = serde_json::from_value(status["checkpoints"].take()).unwrap_or_default();
        Ok(Checkpoints::of(status))
    }

    /// A checkpoint of a job.
    ///
    /// # Errors
    /// If there is no such job for the caller, or no such checkpoint is kept or remembered.
    pub async fn checkpoint(
        self: &Arc<Self>,
        caller: &Caller,
        job: JobId,
        id: CheckpointId,
    ) -> Result<CheckpointView, ServiceError> {
        let past = self.checkpoints(caller, job)?.status.history;
        let history = past.into_iter().find(|past| match past {
            PastCheckpoint::Completed(done) => done.id == id,
            PastCheckpoint::Failed { id: failed, .. } => *failed == id,
        });
        let entry = self.entry(caller, job)?;
        let kept = if entry.live.is_some() {
            let service = self.clone();
            Self::bounded("reading the checkpoint", async move {
                match service.ask(&entry, Ask::CheckpointDetails { id }).await? {
                    Answer::CheckpointDetails { checkpoint } => Ok(checkpoint),
                    answer => Err(strange(&answer)),
                }
            })
            .await?
        } else {
            self.blocking(move |service| service.stored(&entry.record, id)).await?
        };
        if history.is_none() && kept.is_none() {
            return Err(ServiceError::NotFound(format!(
                "checkpoint `{id}` of job `{job}`: it is not kept, and not one of the last"
            )));
        }
        Ok(CheckpointView { id, history, kept })
    }

    /// A checkpoint of a job that does not run. Blocks.
    fn stored(
        &self,
        record: &JobRecord,
        id: CheckpointId,
    ) -> Result<Option<Box<Summary>>, ServiceError> {
        if !self.has_state(record.id) {
            return Ok(None);
        }
        let store = SledStore::open(&self.job_dir(record.id).join("state"));
        let found = store.and_then(|store| summary::find(&store, id));
        found.map(|found| found.map(Box::new)).map_err(|error| {
            ServiceError::Conflict(format!(
                "the job's state cannot be read: {}",
                self.shown(record, &error.to_string())
            ))
        })
    }

    /// When a job takes checkpoints, and how many are kept.
    ///
    /// # Errors
    /// If there is no such job for the caller, or its file has mistakes by now.
    pub async fn checkpoint_config(
        self: &Arc<Self>,
        caller: &Caller,
        id: JobId,
    ) -> Result<CheckpointConfig, ServiceError> {
        self.entry(caller, id)?;
        self.blocking(move |service| {
            let record = service.jobs.get(id).ok_or_else(|| no_job(id))?.record;
            let submission = Submission::new(record.file.clone(), &record.overrides)?;
            let section = service.read(&record.tenant, &submission)?.checkpoints;
            let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
            Ok(CheckpointConfig {
                interval_millis: section.interval.map(millis),
                every_records: section.every_records,
                min_pause_millis: millis(section.min_pause),
                timeout_millis: millis(section.timeout),
                tolerable_failures: section.tolerable_failures,
                retain: section.retain,
            })
        })
        .await
    }
}

/// When a job takes checkpoints, and how many are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckpointConfig {
    /// From one checkpoint's start to the next one's.
    pub interval_millis: Option<u64>,
    /// One each time that the sources have emitted so many records.
    pub every_records: Option<u64>,
    /// From one's end to the next one's start, at least.
    pub min_pause_millis: u64,
    /// After which one is given up.
    pub timeout_millis: u64,
    /// How many in a row may fail.
    pub tolerable_failures: u32,
    /// How many completed ones are kept.
    pub retain: u32,
}

/// The plan as it is shown gets the parallelism that a status tells of.
fn show_parallelism(plan: &mut Value, status: &Value) {
    let Some(Value::Array(vertices)) = plan.get_mut("vertices") else { return };
    let now = status["vertices"].as_array().map(Vec::as_slice).unwrap_or_default();
    for vertex in vertices {
        if let Some(found) = now.iter().find(|found| found["name"] == vertex["name"]) {
            vertex["parallelism"] = found["parallelism"].clone();
        }
    }
}

fn not_running(entry: &Entry) -> ServiceError {
    ServiceError::Conflict(format!(
        "this can be asked of a job that runs, and job `{}` is {}",
        entry.record.id,
        JobWord::of(entry).word()
    ))
}

pub(super) fn strange(answer: &Answer) -> ServiceError {
    tracing::error!("a bug in cofferdam: a job answered something else: {answer:?}");
    ServiceError::Internal("a bug in cofferdam: the server's log says more".to_owned())
}
