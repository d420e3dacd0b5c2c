//! The checkpoints of an attempt, from their trigger to the last commit.

use std::sync::Arc;

use tokio::{
    task::{JoinError, JoinHandle},
    time::Instant,
};

use super::{AttemptEnd, Stopping, attempt::Attempt};
use crate::{
    checkpoint::{StoreError, Trigger},
    clock::Stopwatch,
    failure::{Failure, FailureKind},
    ids::CheckpointId,
    job_manager::{
        coordinator::{Actions, Part, Purpose, Ready},
        status::CompletedCheckpoint,
        writer::{Begun, Written},
    },
    task_manager::{Command, SubtaskId},
    threads,
};

/// The last commit of every sink is under way.
pub(super) struct Committing {
    purpose: Purpose,
    id: CheckpointId,
    pub(super) sinks: usize,
}

pub(super) struct Writing {
    ready: Arc<Ready>,
    task: JoinHandle<Result<Written, StoreError>>,
}

impl Writing {
    /// Why the checkpoint is taken.
    pub(super) fn purpose(&self) -> Purpose {
        self.ready.purpose
    }
}

impl Attempt<'_> {
    /// Ends the attempt for good: when this returns, no subtask runs any more,
    /// and what was being written is either a checkpoint to restart from or
    /// none. Otherwise the store might hold a newer checkpoint than the one that
    /// sinks are taken back to.
    pub(super) async fn settle(&mut self) {
        self.end_moves().await;
        self.end_trial().await;
        self.end_recoveries().await;
        self.deployment.stop().await;
        if let Some(tidying) = self.tidying.take() {
            // What it could not do, it has said.
            let _ = tidying.await;
        }
        if self.untidied && self.committing.is_some() {
            // No other checkpoint follows that could drop what the last one supersedes.
            let writer = self.master.prepared.writer.clone();
            let _ = threads::blocking(move || writer.tidy()).await;
        }
        let Some(writing) = self.writing.take() else { return };
        match writing.task.await {
            Ok(Ok(written)) => {
                self.master.count_checkpoint(&written);
                self.master.last = Some(Arc::new(written.manifest));
            }
            Ok(Err(_)) | Err(_) => self.look_for(writing.ready.id),
        }
    }

    /// Takes a checkpoint for made if the store has it, whatever its writer said.
    fn look_for(&mut self, id: CheckpointId) {
        if let Some(manifest) = self.master.prepared.writer.find(id) {
            self.master.last = Some(Arc::new(manifest));
        }
    }

    pub(super) fn on_writer_gone(&mut self, error: &JoinError) -> AttemptEnd {
        // Taken out, since its task must not be waited for again.
        if let Some(writing) = self.writing.take() {
            self.look_for(writing.ready.id);
        }
        let what = format!("the thread that wrote a checkpoint ended: {error}");
        AttemptEnd::Failed(None, Failure::new(FailureKind::HostBug, what))
    }

    /// When the next checkpoint is due by time.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let section = &self.master.prepared.deployer.spec.checkpoints;
        let idle = self.coordinator.pending().is_none()
            && self.writing.is_none()
            && self.stopping.is_none()
            && self.recovering.is_empty()
            && self.coordinator.has_running_source();
        let interval = section.interval.filter(|_| idle)?;
        Some((self.last_started + interval).max(self.last_ended + section.min_pause))
    }

    pub(super) fn expiry(&self) -> Option<Instant> {
        let timeout = self.master.prepared.deployer.spec.checkpoints.timeout;
        // Those that end the job can only be waited for: a source that has
        // stopped at a barrier cannot begin another checkpoint.
        let goes_on = self.coordinator.pending_purpose().is_some_and(|purpose| !purpose.ends());
        goes_on.then(|| self.last_started + timeout)
    }

    /// What can be begun now that could not before.
    pub(super) fn next_step(&mut self) -> Option<AttemptEnd> {
        let busy = self.coordinator.pending().is_some()
            || self.writing.is_some()
            || self.committing.is_some();
        if busy && !self.coordinator.all_finished() {
            return None;
        }
        if self.coordinator.all_finished() && self.writing.is_none() && self.committing.is_none() {
            return self.begin(Purpose::Final, Trigger::Final);
        }
        if self.stopping.is_some() && !busy {
            let saves = self.asked_purpose() == Some(Purpose::Savepoint);
            let (purpose, trigger) = match saves {
                true => (Purpose::StopWithSavepoint, Trigger::Savepoint),
                false => (Purpose::Stop, Trigger::Stop),
            };
            return self.begin(purpose, trigger);
        }
        if !busy && let Some(purpose) = self.asked_purpose() {
            let saves = purpose == Purpose::Savepoint;
            let trigger = if saves { Trigger::Savepoint } else { Trigger::Manual };
            return self.begin(purpose, trigger);
        }
        None
    }

    pub(super) fn begin(&mut self, purpose: Purpose, trigger: Trigger) -> Option<AttemptEnd> {
        if !self.recovering.is_empty() {
            return None;
        }
        let now = self.master.clock.now_millis();
        let id = self.coordinator.next_id();
        let actions = self.coordinator.begin(purpose, now)?;
        tracing::debug!(checkpoint = id.0, "checkpoint {id} begins: {purpose:?}");
        self.master.trace.begin_checkpoint(id, trigger.word());
        self.last_started = Instant::now();
        self.begun = Begun { trigger, clock: Stopwatch::start() };
        self.act(actions)
    }

    pub(super) fn expire(&mut self) -> Option<AttemptEnd> {
        let purpose = self.coordinator.pending_purpose().unwrap_or(Purpose::Periodic);
        let timeout = self.master.prepared.deployer.spec.checkpoints.timeout;
        let id = self.coordinator.abort()?;
        self.refuse_asked(purpose, id, "was not complete in time");
        let reason = format!("it was not complete within {timeout:?}");
        tracing::warn!(checkpoint = id.0, "checkpoint {id} is given up: {reason}");
        self.master.trace.give_up_checkpoint(&reason);
        let now = self.master.clock.now_millis();
        self.master.progress.status.checkpoints.fail(id, reason.clone(), now);
        self.last_ended = Instant::now();
        self.tolerate(&reason)
    }

    pub(super) fn act(&mut self, actions: Actions) -> Option<AttemptEnd> {
        for (id, command) in actions.commands {
            if let Some(end) = self.send(id, command) {
                return Some(end);
            }
        }
        if let Some(ready) = actions.ready {
            let ready: Arc<Ready> = Arc::from(ready);
            let id = ready.id;
            tracing::debug!(
                checkpoint = id.0,
                "checkpoint {id} has every answer and is being written"
            );
            self.master.trace.begin_writing(ready.id);
            let writer = self.master.prepared.writer.clone();
            let (to_write, begun, chunks) = (ready.clone(), self.begun, self.chunks.clone());
            let last = self.master.last.clone();
            let span = tracing::error_span!("checkpoint", checkpoint = ready.id.0);
            let task = span.in_scope(|| {
                threads::blocking(move || writer.write(&to_write, begun, chunks, last.as_deref()))
            });
            self.writing = Some(Writing { ready, task });
        }
        None
    }

    pub(super) fn on_written(&mut self, result: Result<Written, StoreError>) -> Option<AttemptEnd> {
        let writing = self.writing.take()?;
        self.last_ended = Instant::now();
        match result {
            Ok(written) => {
                (self.failed_checkpoints, self.healing) = (0, false);
                self.completed(&writing, written)
            }
            Err(error) => {
                let id = writing.ready.id;
                tracing::error!(checkpoint = id.0, "checkpoint {id} could not be written: {error}");
                self.master.trace.give_up_checkpoint(&format!("it could not be written: {error}"));
                let now = self.master.clock.now_millis();
                self.master.progress.status.checkpoints.fail(id, error.to_string(), now);
                let last = writing.ready.purpose.ends();
                let why = format!("could not be written: {error}");
                self.refuse_asked(writing.ready.purpose, id, &why);
                if matches!(error, StoreError::Fenced { .. }) {
                    let failure = Failure::new(FailureKind::HostBug, error.to_string());
                    return Some(AttemptEnd::Failed(None, failure));
                }
                if let Ok(ready) = Arc::try_unwrap(writing.ready) {
                    self.coordinator.put_back(ready);
                    self.forget_recovering();
                }
                if last {
                    let failure = Failure::new(FailureKind::CheckpointFailure, error.to_string());
                    return Some(AttemptEnd::Failed(None, failure));
                }
                if matches!(error, StoreError::DamagedChunk { .. }) && !self.healing {
                    // What runs has the state that the store has not any more.
                    tracing::warn!("all of the state is written anew");
                    self.healing = true;
                    self.coordinator.ask_whole();
                    self.master.ask_checkpoint();
                    return None;
                }
                self.tolerate(&error.to_string())
            }
        }
    }

    /// A checkpoint failed or was given up: that may happen a few times in a row.
    fn tolerate(&mut self, reason: &str) -> Option<AttemptEnd> {
        let tolerable = self.master.prepared.deployer.spec.checkpoints.tolerable_failures;
        self.failed_checkpoints += 1;
        (self.failed_checkpoints > tolerable).then(|| {
            let count = self.failed_checkpoints;
            let what = format!("{count} checkpoints in a row failed; the last one: {reason}");
            AttemptEnd::Failed(None, Failure::new(FailureKind::CheckpointFailure, what))
        })
    }

    fn completed(&mut self, writing: &Writing, written: Written) -> Option<AttemptEnd> {
        let (id, purpose) = (writing.ready.id, writing.ready.purpose);
        let since = self.master.clock.now_millis().saturating_sub(writing.ready.triggered_at);
        let details = &written.details;
        let completed = CompletedCheckpoint {
            id,
            trigger: details.trigger,
            triggered_at: writing.ready.triggered_at,
            duration_millis: u64::try_from(since).unwrap_or(0),
            alignment_micros: details.alignment_micros,
            sync_micros: details.sync_micros,
            async_micros: details.async_micros,
            end_to_end_micros: details.end_to_end_micros,
            bytes: written.bytes,
            full_bytes: details.full_bytes,
        };
        self.master.progress.status.checkpoints.complete(completed.clone());
        tracing::debug!(checkpoint = id.0, "checkpoint {id} took {} µs", details.end_to_end_micros);
        let traced = self.master.trace.complete_checkpoint(&written);
        self.untidied = self.tidying.as_ref().is_some_and(|tidying| !tidying.is_finished());
        if !self.untidied {
            let writer = self.master.prepared.writer.clone();
            self.tidying = Some(threads::blocking(move || writer.tidy()));
        }
        self.master.count_checkpoint(&written);
        self.chunks = written.chunks;
        self.master.last = Some(Arc::new(written.manifest));
        if !self.master.asked.is_empty() {
            // Who asked for it finds it in the status.
            self.master.publish();
        }
        self.answer_asked(purpose, &completed);
        let last = purpose.ends();
        let sinks: Vec<SubtaskId> = self.sinks().collect();
        if last {
            self.committing = Some(Committing { purpose, id, sinks: sinks.len() });
        }
        for sink in sinks {
            if let Some(end) = self.send(sink, Command::Commit { checkpoint: id, last, traced }) {
                return Some(end);
            }
        }
        self.ended()
    }

    fn sinks(&self) -> impl Iterator<Item = SubtaskId> + '_ {
        let members = self.deployment.members.iter();
        members.filter(|(_, member)| member.part == Part::Sink).map(|(id, _)| *id)
    }

    /// The job's end, once every sink has committed for the last time.
    pub(super) fn ended(&self) -> Option<AttemptEnd> {
        let committing = self.committing.as_ref().filter(|c| c.sinks == 0)?;
        Some(match committing.purpose {
            Purpose::Stop | Purpose::StopWithSavepoint => match self.stopping {
                Some(Stopping::Preempted) => AttemptEnd::Preempted,
                Some(Stopping::Rescaled) => AttemptEnd::Rescaled,
                _ => AttemptEnd::Stopped(Some(committing.id)),
            },
            _ => AttemptEnd::Finished,
        })
    }
}

/// The end of what is being written; never, if nothing is.
pub(super) async fn written(
    writing: &mut Option<Writing>,
) -> Result<Result<Written, StoreError>, JoinError> {
    match writing {
        Some(writing) => (&mut writing.task).await,
        None => std::future::pending().await,
    }
}
