//! One attempt to run the job: what wakes the master, and what it does then.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    task::{JoinError, JoinHandle},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    AttemptEnd, Master, Stopping,
    checkpoints::{Committing, Writing, written},
    recovery::{Deployed, Recovery, deployed},
    requests::{Moving, moved, requested},
    stop_requested,
    upgrade::{Trial, Tried, tried},
};
use crate::{
    checkpoint::{StoreError, Trigger},
    failure::{Failure, FailureKind},
    job_manager::{
        control::Request,
        coordinator::{Coordinator, Purpose},
        deployment::Deployment,
        placement::Holding,
        regions::RegionId,
        status::JobState,
        writer::{Begun, LiveChunks, Written},
    },
    task_manager::{Command, SubtaskId, TaskEvent, slots::AskedBackFor},
};

/// How often the status is published while nothing else happens.
const PUBLISH: Duration = Duration::from_millis(200);

/// One attempt to run the job: from a deployment to its end or first failure.
pub(super) struct Attempt<'a> {
    pub(super) master: &'a mut Master,
    pub(super) holding: &'a mut Holding,
    pub(super) deployment: Deployment,
    pub(super) coordinator: Coordinator,
    pub(super) chunks: LiveChunks,
    pub(super) writing: Option<Writing>,
    pub(super) stopping: Option<Stopping>,
    pub(super) committing: Option<Committing>,
    pub(super) last_started: Instant,
    pub(super) last_ended: Instant,
    /// How the checkpoint that is under way came to be taken.
    pub(super) begun: Begun,
    /// What was dropped and compacted after the last checkpoint.
    pub(super) tidying: Option<JoinHandle<()>>,
    /// Whether that was still under way when the last checkpoint was complete.
    pub(super) untidied: bool,
    pub(super) failed_checkpoints: u32,
    /// Whether all of the state is being written anew, since some was damaged.
    pub(super) healing: bool,
    /// Regions that failed and are on their way back.
    pub(super) recovering: BTreeMap<RegionId, Recovery>,
    /// Instances on their way to other slots.
    pub(super) moving: Vec<Moving>,
    /// When an instance was last moved since it was short of memory.
    pub(super) relieved: BTreeMap<SubtaskId, Instant>,
    /// A version that is being tried.
    pub(super) trial: Option<Trial>,
}

/// What woke the master up.
enum Wake {
    Event(TaskEvent),
    Restart,
    Deployed(Deployed),
    Requested(Request),
    Moved(usize, Result<Duration, String>),
    Tried(Result<Tried, String>),
    Written(Result<Result<Written, StoreError>, JoinError>),
    Due(Trigger),
    Expired,
    Publish,
    StopRequested,
    Preempted(AskedBackFor),
}

impl Attempt<'_> {
    pub(super) async fn run(&mut self) -> AttemptEnd {
        let mut publish = interval(PUBLISH);
        publish.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wake = self.wait(&mut publish).await;
            let end = match wake {
                Wake::Event(event) => self.on_event(event).await,
                Wake::Restart => {
                    self.restart_regions();
                    None
                }
                Wake::Deployed(deployed) => self.on_deployed(deployed),
                Wake::Requested(request) => self.on_request(request),
                Wake::Tried(tried) => self.on_tried(tried),
                Wake::Moved(i, end) => {
                    self.on_moved(i, end);
                    None
                }
                Wake::Written(Ok(result)) => self.on_written(result),
                Wake::Written(Err(error)) => Some(self.on_writer_gone(&error)),
                Wake::Due(trigger) => self.begin(Purpose::Periodic, trigger),
                Wake::Expired => self.expire(),
                Wake::Publish => {
                    self.refresh();
                    self.relocate_where_needed();
                    None
                }
                Wake::StopRequested => self.stop(Stopping::Asked),
                Wake::Preempted(by) => {
                    self.master.on_preempted(&by);
                    self.stop(Stopping::Preempted)
                }
            };
            if let Some(end) = end.or_else(|| self.next_step()) {
                return end;
            }
        }
    }

    async fn wait(&mut self, publish: &mut tokio::time::Interval) -> Wake {
        let due = self.next_due();
        let expiry = self.expiry();
        let restart = self.next_restart();
        let emitted = self.deployment.shared.emitted.clone();
        let by_count = self.coordinator.pending().is_none() && self.writing.is_none();
        let min_pause = self.master.prepared.deployer.spec.checkpoints.min_pause;
        let paused = self.last_ended + min_pause;
        let asked = self.stopping == Some(Stopping::Asked);
        tokio::select! {
            event = self.deployment.next() => Wake::Event(event),
            result = written(&mut self.writing), if self.writing.is_some() => Wake::Written(result),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                Wake::Due(Trigger::Interval)
            }
            () = sleep_until(expiry.unwrap_or_else(Instant::now)), if expiry.is_some() => {
                Wake::Expired
            }
            () = after(paused, emitted.due.notified()), if by_count => Wake::Due(Trigger::Records),
            () = sleep_until(restart.unwrap_or_else(Instant::now)), if restart.is_some() => {
                Wake::Restart
            }
            region = deployed(&mut self.recovering) => Wake::Deployed(region),
            request = requested(&mut self.master.requests) => Wake::Requested(request),
            end = tried(&mut self.trial) => Wake::Tried(end),
            (i, end) = moved(&mut self.moving) => Wake::Moved(i, end),
            _ = publish.tick() => Wake::Publish,
            () = stop_requested(&mut self.master.control), if !asked => Wake::StopRequested,
            by = self.holding.place.asked_back(), if self.stopping.is_none() => Wake::Preempted(by),
        }
    }

    /// Stops with a checkpoint. Who asks for that while the job makes room for another
    /// one has it stopped for good.
    pub(super) fn stop(&mut self, why: Stopping) -> Option<AttemptEnd> {
        self.stopping = Some(why);
        self.hurry_restarts();
        self.master.progress.enter(JobState::Stopping);
        None
    }

    async fn on_event(&mut self, event: TaskEvent) -> Option<AttemptEnd> {
        match event {
            TaskEvent::Began(id) => {
                self.master.note_began(id);
                None
            }
            TaskEvent::Snapshot(id, checkpoint, snapshot) => {
                let plan = &self.master.prepared.deployer.plan;
                self.master.trace.snapshot(plan, id, checkpoint, &snapshot);
                let actions = self.coordinator.snapshot(id, checkpoint, *snapshot);
                self.act(actions)
            }
            TaskEvent::Finished(id, snapshot) => {
                let actions = self.coordinator.finished(id, *snapshot);
                self.act(actions)
            }
            TaskEvent::Committed(_) => {
                let committing = self.committing.as_mut()?;
                committing.sinks = committing.sinks.saturating_sub(1);
                self.ended()
            }
            // Its snapshot has come before.
            TaskEvent::Stopped(_) => None,
            TaskEvent::Crashed(id, crash) => {
                self.master.on_crash(id, *crash);
                None
            }
            TaskEvent::Failed(id, failure) => self.on_failure(id, failure).await,
        }
    }

    pub(super) fn send(&self, id: SubtaskId, command: Command) -> Option<AttemptEnd> {
        use tokio::sync::mpsc::error::TrySendError;
        match self.deployment.members[&id].commands.try_send(command) {
            // A subtask that is gone has said why, or will.
            Ok(()) | Err(TrySendError::Closed(_)) => None,
            Err(TrySendError::Full(_)) => Some(AttemptEnd::Failed(
                Some(id),
                Failure::new(FailureKind::HostBug, "a subtask does not take its commands"),
            )),
        }
    }

    pub(super) fn refresh(&mut self) {
        let master = &mut *self.master;
        let deployer = &master.prepared.deployer;
        master.progress.refresh(&self.deployment, deployer, self.holding, &master.clock);
        if let Some(usage) = &mut master.usage {
            usage.observe(&self.deployment, deployer, self.holding);
        }
        master.publish();
    }
}

/// Waits for something, and not before a time.
async fn after(time: Instant, what: impl Future<Output = ()>) {
    sleep_until(time).await;
    what.await;
}
