//! The job's master: the one task that owns a job's state. It hears what the
//! subtasks, the writer, the clock and the user say, asks the pure parts what
//! to do, and does it.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    checkpoint::{Manifest, StoreError},
    clock::{Clock, Stopwatch},
    config::job::JobSpec,
    failure::{Failure, FailureKind},
    ids::CheckpointId,
    job_manager::{
        control::{Control, Outcome, RunOptions},
        coordinator::{Actions, Coordinator, Part, Purpose, Ready},
        deploy::{Deployer, Deployment},
        placement::{Holding, Queued},
        prepare::{Prepared, prepare},
        progress::Progress,
        status::{CompletedCheckpoint, JobState, JobStatus},
        usage::JobUsage,
        writer::{LiveChunks, Written},
    },
    restart::{Decision, RestartStrategy},
    task_manager::{Command, SubtaskId, TaskEvent, slots::AskedBackFor},
};

/// How often the status is published while nothing else happens.
const PUBLISH: Duration = Duration::from_millis(200);

/// Runs a job to its end, in this process.
///
/// `status` gets what there is to see, `control` is looked at for a request to
/// stop.
pub async fn run(
    spec: JobSpec,
    options: RunOptions,
    control: watch::Receiver<Control>,
    status: watch::Sender<JobStatus>,
) -> Outcome {
    run_with_clock(spec, options, control, status, Clock::System).await
}

/// As [`run`], with a clock of the caller's.
pub async fn run_with_clock(
    spec: JobSpec,
    options: RunOptions,
    control: watch::Receiver<Control>,
    status: watch::Sender<JobStatus>,
    clock: Clock,
) -> Outcome {
    // Loading compiles, and opening a store reads: neither belongs on a thread
    // that others wait for.
    let preparing = tokio::task::spawn_blocking({
        let clock = clock.clone();
        move || prepare(spec, &options, clock)
    });
    let prepared = match preparing.await {
        Ok(Ok(prepared)) => prepared,
        Ok(Err(outcome)) => return outcome,
        Err(error) => {
            return Outcome::CannotStart { error: format!("preparing the job failed: {error}") };
        }
    };
    Master::new(prepared, clock, control, status).run().await
}

struct Master {
    prepared: Arc<Prepared>,
    clock: Clock,
    control: watch::Receiver<Control>,
    publisher: watch::Sender<JobStatus>,
    progress: Progress,
    strategy: RestartStrategy,
    /// The last completed checkpoint.
    last: Option<Arc<Manifest>>,
    next_checkpoint: CheckpointId,
    /// Whether it ever ran: what goes wrong before that is no failure of the job's.
    ran: bool,
    /// Records what it uses, if that is wanted.
    usage: Option<JobUsage>,
}

/// What becomes of a job that failed.
enum AfterFailure {
    Restart,
    Requeue,
    End(Outcome),
}

/// Why an attempt stops with a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopping {
    /// Somebody asked the job to stop.
    Asked,
    /// Its slots were asked back.
    Preempted,
}

/// How an attempt to run the job ended.
enum AttemptEnd {
    Finished,
    Stopped(Option<CheckpointId>),
    /// Its slots were asked back; it stopped with a checkpoint to go on from.
    Preempted,
    Failed(Option<SubtaskId>, Failure),
}

impl Master {
    fn new(
        prepared: Prepared,
        clock: Clock,
        control: watch::Receiver<Control>,
        publisher: watch::Sender<JobStatus>,
    ) -> Self {
        let spec = &prepared.deployer.spec;
        let mut progress = Progress::new(spec.job.name.clone(), &prepared.deployer.plan);
        let last = prepared.resumed.clone().map(Arc::new);
        progress.status.checkpoints.resumed_from = last.as_ref().map(|m| m.id);
        let usage = prepared.usage.clone().map(|ledger| {
            let Deployer { tenant, plan, .. } = &*prepared.deployer;
            let (tenant, job) = (tenant.clone(), spec.job.name.clone());
            JobUsage::new(ledger, tenant, job, plan.clone(), clock.clone())
        });
        Self {
            strategy: RestartStrategy::new(&spec.restart),
            next_checkpoint: CheckpointId(last.as_ref().map_or(1, |m| m.id.0 + 1)),
            prepared: Arc::new(prepared),
            clock,
            control,
            publisher,
            progress,
            last,
            ran: false,
            usage,
        }
    }

    async fn run(mut self) -> Outcome {
        let outcome = self.run_to_its_end().await;
        if let Some(usage) = self.usage.take() {
            usage.finish().await;
        }
        outcome
    }

    async fn run_to_its_end(&mut self) -> Outcome {
        loop {
            let ended = match self.queue().await {
                Ok(mut holding) => self.hold(&mut holding).await,
                Err(outcome) => Some(outcome),
            };
            if let Some(outcome) = ended {
                return outcome;
            }
        }
    }

    /// Waits for slots.
    async fn queue(&mut self) -> Result<Holding, Outcome> {
        let cannot = |error: String| Outcome::CannotStart { error };
        let prepared = self.prepared.clone();
        let mut queued = Queued::begin(&prepared.deployer).map_err(|e| cannot(e.to_string()))?;
        while let Some(waiting) = queued.waiting() {
            tracing::info!("the job waits for {waiting}");
            self.progress.status.placement.waiting = Some(waiting);
            self.progress.enter(JobState::Queued);
            self.publish();
            tokio::select! {
                () = queued.changed() => {}
                () = stop_requested(&mut self.control) => {
                    self.conclude(JobState::Stopped);
                    return Err(Outcome::Stopped { checkpoint: self.last_id() });
                }
            }
        }
        let holding = queued.admit(&prepared.deployer);
        let holding =
            holding.map_err(|e| cannot(format!("there is not enough memory for the job: {e}")))?;
        let placement = &mut self.progress.status.placement;
        (placement.slots, placement.waiting) = (holding.slots.clone(), None);
        if let Some(usage) = &mut self.usage {
            usage.begin_slots();
        }
        Ok(holding)
    }

    /// Runs the job in its slots until it ends, or they are asked back (then there is
    /// no outcome).
    async fn hold(&mut self, holding: &mut Holding) -> Option<Outcome> {
        loop {
            let deployed = self.prepared.deployer.deploy(&holding.memory, self.last.as_ref()).await;
            let end = match deployed {
                Ok(deployment) => self.attempt(deployment, holding).await,
                Err(failure) if !self.ran => {
                    return Some(match failure.kind {
                        FailureKind::CheckpointFailure => {
                            Outcome::StateUnusable { error: failure.message }
                        }
                        _ => Outcome::CannotStart { error: failure.to_string() },
                    });
                }
                Err(failure) => AttemptEnd::Failed(None, failure),
            };
            self.ran = true;
            match end {
                AttemptEnd::Finished => {
                    self.conclude(JobState::Finished);
                    return Some(Outcome::Finished);
                }
                AttemptEnd::Stopped(checkpoint) => {
                    self.conclude(JobState::Stopped);
                    return Some(Outcome::Stopped { checkpoint });
                }
                AttemptEnd::Preempted => return None,
                AttemptEnd::Failed(subtask, failure) => {
                    match self.after_failure(subtask, &failure, holding).await {
                        AfterFailure::Restart => {}
                        AfterFailure::Requeue => return None,
                        AfterFailure::End(outcome) => return Some(outcome),
                    }
                }
            }
        }
    }

    fn last_id(&self) -> Option<CheckpointId> {
        self.last.as_ref().map(|manifest| manifest.id)
    }

    /// Somebody more important needs the slots.
    fn on_preempted(&mut self, by: &AskedBackFor) {
        let AskedBackFor { tenant, job, priority } = by;
        tracing::warn!(
            "the job's slots are asked back for job `{job}` of tenant `{tenant}`, which has \
             priority {priority}; it stops with a checkpoint and waits for slots again"
        );
        self.progress.status.placement.preemptions += 1;
    }

    fn conclude(&mut self, state: JobState) {
        self.progress.enter(state);
        self.publish();
    }

    fn publish(&mut self) {
        self.progress.status.generation += 1;
        self.publisher.send_replace(self.progress.status.clone());
    }

    /// Waits as the restart strategy says, or gives the job up.
    async fn after_failure(
        &mut self,
        subtask: Option<SubtaskId>,
        failure: &Failure,
        holding: &mut Holding,
    ) -> AfterFailure {
        let what = self.describe(subtask, failure);
        let decision =
            self.strategy.decide(failure.kind, self.clock.now_millis(), rand::random::<f64>());
        match decision {
            Decision::GiveUp { reason } => {
                self.conclude(JobState::Failed);
                AfterFailure::End(Outcome::Failed {
                    error: format!("{what}\nno restart: {reason}"),
                })
            }
            Decision::RestartAfter(delay) => {
                let deployer = &self.prepared.deployer;
                let pace = &deployer.task_manager.restarts;
                let delay = delay.max(pace.take(&deployer.tenant, self.clock.now_millis()));
                let from = match &self.last {
                    Some(manifest) => format!("checkpoint {}", manifest.id),
                    None => "the beginning".to_owned(),
                };
                tracing::warn!("{what}\nrestarting from {from} in {delay:?}");
                self.progress.status.restarts.count += 1;
                self.progress.status.restarts.last_failure = Some(what);
                if let Some(id) = subtask {
                    self.progress.status.vertices[id.vertex].restarts += 1;
                }
                self.progress.enter(JobState::Restarting);
                self.publish();
                tokio::select! {
                    () = tokio::time::sleep(delay) => AfterFailure::Restart,
                    () = stop_requested(&mut self.control) => {
                        self.conclude(JobState::Stopped);
                        AfterFailure::End(Outcome::Stopped { checkpoint: self.last_id() })
                    }
                    by = holding.place.asked_back() => {
                        self.on_preempted(&by);
                        AfterFailure::Requeue
                    }
                }
            }
        }
    }

    fn describe(&self, subtask: Option<SubtaskId>, failure: &Failure) -> String {
        match subtask {
            Some(id) => {
                let vertex = &self.prepared.deployer.plan.vertices[id.vertex];
                format!("`{}` (subtask {}) failed: {failure}", vertex.name, id.index)
            }
            None => failure.to_string(),
        }
    }

    async fn attempt(&mut self, deployment: Deployment, holding: &mut Holding) -> AttemptEnd {
        let coordinator = Coordinator::new(deployment.parts.clone(), self.next_checkpoint);
        let chunks = self.last.as_ref().map(|m| self.live_chunks(m)).unwrap_or_default();
        self.progress.enter(JobState::Running);
        self.publish();
        if let Some(usage) = &mut self.usage {
            usage.begin_attempt(&deployment);
        }
        let mut attempt = Attempt {
            master: self,
            holding,
            deployment,
            coordinator,
            chunks,
            writing: None,
            stopping: None,
            committing: None,
            last_started: Instant::now(),
            last_ended: Instant::now(),
            failed_checkpoints: 0,
        };
        let end = attempt.run().await;
        attempt.settle().await;
        let next = attempt.coordinator.next_id();
        attempt.refresh();
        self.next_checkpoint = next;
        end
    }

    fn count_checkpoint(&mut self, written: &Written) {
        if let Some(usage) = &mut self.usage {
            usage.add_checkpoint(written);
        }
    }

    fn live_chunks(&self, manifest: &Manifest) -> LiveChunks {
        let mut chunks = LiveChunks::new();
        for (i, vertex) in self.prepared.deployer.plan.vertices.iter().enumerate() {
            if let Some(state) = manifest.operators.get(&vertex.name) {
                chunks.extend(state.key_groups.iter().map(|(group, d)| ((i, *group), *d)));
            }
        }
        chunks
    }
}

/// Waits until somebody asks the job to stop.
async fn stop_requested(control: &mut watch::Receiver<Control>) {
    // When nobody can ask any more, nobody will.
    if control.wait_for(|c| *c == Control::Stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The last commit of every sink is under way.
struct Committing {
    purpose: Purpose,
    id: CheckpointId,
    sinks: usize,
}

/// How many checkpoints in a row may fail to be written.
const TOLERABLE_FAILURES: u32 = 3;

struct Writing {
    ready: Arc<Ready>,
    clock: Stopwatch,
    task: JoinHandle<Result<Written, StoreError>>,
}

/// One attempt to run the job: from a deployment to its end or first failure.
struct Attempt<'a> {
    master: &'a mut Master,
    holding: &'a mut Holding,
    deployment: Deployment,
    coordinator: Coordinator,
    chunks: LiveChunks,
    writing: Option<Writing>,
    stopping: Option<Stopping>,
    committing: Option<Committing>,
    last_started: Instant,
    last_ended: Instant,
    failed_checkpoints: u32,
}

/// What woke the master up.
enum Wake {
    Event(Option<TaskEvent>),
    Written(Result<Result<Written, StoreError>, JoinError>),
    Due,
    Expired,
    Publish,
    StopRequested,
    Preempted(AskedBackFor),
}

impl Attempt<'_> {
    async fn run(&mut self) -> AttemptEnd {
        let mut publish = interval(PUBLISH);
        publish.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wake = self.wait(&mut publish).await;
            let end = match wake {
                Wake::Event(Some(event)) => self.on_event(event),
                Wake::Event(None) => Some(AttemptEnd::Failed(
                    None,
                    Failure::new(FailureKind::HostBug, "every subtask is gone without a word"),
                )),
                Wake::Written(Ok(result)) => self.on_written(result),
                Wake::Written(Err(error)) => Some(self.on_writer_gone(&error)),
                Wake::Due => self.begin(Purpose::Periodic),
                Wake::Expired => {
                    self.expire();
                    None
                }
                Wake::Publish => {
                    self.refresh();
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
        let emitted = self.deployment.emitted.clone();
        let by_count = self.coordinator.pending().is_none() && self.writing.is_none();
        let asked = self.stopping == Some(Stopping::Asked);
        tokio::select! {
            event = self.deployment.next() => Wake::Event(event),
            result = written(&mut self.writing), if self.writing.is_some() => Wake::Written(result),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Wake::Due,
            () = sleep_until(expiry.unwrap_or_else(Instant::now)), if expiry.is_some() => {
                Wake::Expired
            }
            () = emitted.due.notified(), if by_count => Wake::Due,
            _ = publish.tick() => Wake::Publish,
            () = stop_requested(&mut self.master.control), if !asked => Wake::StopRequested,
            by = self.holding.place.asked_back(), if self.stopping.is_none() => Wake::Preempted(by),
        }
    }

    /// Stops with a checkpoint. Who asks for that while the job makes room for another
    /// one has it stopped for good.
    fn stop(&mut self, why: Stopping) -> Option<AttemptEnd> {
        self.stopping = Some(why);
        self.master.progress.enter(JobState::Stopping);
        None
    }

    /// Ends the attempt for good: when this returns, no subtask runs any more,
    /// and what was being written is either a checkpoint to restart from or
    /// none. Otherwise the store might hold a newer checkpoint than the one that
    /// sinks are taken back to.
    async fn settle(&mut self) {
        self.deployment.stop().await;
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

    fn on_writer_gone(&mut self, error: &JoinError) -> AttemptEnd {
        // Taken out, since its task must not be waited for again.
        if let Some(writing) = self.writing.take() {
            self.look_for(writing.ready.id);
        }
        let what = format!("the thread that wrote a checkpoint ended: {error}");
        AttemptEnd::Failed(None, Failure::new(FailureKind::HostBug, what))
    }

    /// When the next checkpoint is due by time.
    fn next_due(&self) -> Option<Instant> {
        let section = &self.master.prepared.deployer.spec.checkpoints;
        let idle = self.coordinator.pending().is_none()
            && self.writing.is_none()
            && self.stopping.is_none()
            && self.coordinator.has_running_source();
        let interval = section.interval.filter(|_| idle)?;
        Some((self.last_started + interval).max(self.last_ended + section.min_pause))
    }

    fn expiry(&self) -> Option<Instant> {
        let timeout = self.master.prepared.deployer.spec.checkpoints.timeout;
        // Those that end the job can only be waited for: a source that has
        // stopped at a barrier cannot begin another checkpoint.
        let periodic = self.coordinator.pending_purpose() == Some(Purpose::Periodic);
        periodic.then(|| self.last_started + timeout)
    }

    /// What can be begun now that could not before.
    fn next_step(&mut self) -> Option<AttemptEnd> {
        let busy = self.coordinator.pending().is_some()
            || self.writing.is_some()
            || self.committing.is_some();
        if busy && !self.coordinator.all_finished() {
            return None;
        }
        if self.coordinator.all_finished() && self.writing.is_none() && self.committing.is_none() {
            return self.begin(Purpose::Final);
        }
        if self.stopping.is_some() && !busy {
            return self.begin(Purpose::Stop);
        }
        None
    }

    fn begin(&mut self, purpose: Purpose) -> Option<AttemptEnd> {
        let now = self.master.clock.now_millis();
        let actions = self.coordinator.begin(purpose, now)?;
        self.last_started = Instant::now();
        self.act(actions)
    }

    fn expire(&mut self) {
        if let Some(id) = self.coordinator.abort() {
            tracing::warn!("checkpoint {id} was not complete in time and is given up");
            self.master.progress.status.checkpoints.failed += 1;
            self.last_ended = Instant::now();
        }
    }

    fn on_event(&mut self, event: TaskEvent) -> Option<AttemptEnd> {
        match event {
            TaskEvent::Snapshot(id, checkpoint, snapshot) => {
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
            TaskEvent::Failed(id, failure) => Some(AttemptEnd::Failed(Some(id), failure)),
        }
    }

    fn act(&mut self, actions: Actions) -> Option<AttemptEnd> {
        for (id, command) in actions.commands {
            if let Some(end) = self.send(id, command) {
                return Some(end);
            }
        }
        if let Some(ready) = actions.ready {
            let ready: Arc<Ready> = Arc::from(ready);
            let writer = self.master.prepared.writer.clone();
            let (to_write, chunks) = (ready.clone(), self.chunks.clone());
            let task = tokio::task::spawn_blocking(move || writer.write(&to_write, chunks));
            self.writing = Some(Writing { ready, clock: Stopwatch::start(), task });
        }
        None
    }

    fn send(&self, id: SubtaskId, command: Command) -> Option<AttemptEnd> {
        use tokio::sync::mpsc::error::TrySendError;
        match self.deployment.commands[&id].try_send(command) {
            // A subtask that is gone has said why, or will.
            Ok(()) | Err(TrySendError::Closed(_)) => None,
            Err(TrySendError::Full(_)) => Some(AttemptEnd::Failed(
                Some(id),
                Failure::new(FailureKind::HostBug, "a subtask does not take its commands"),
            )),
        }
    }

    fn on_written(&mut self, result: Result<Written, StoreError>) -> Option<AttemptEnd> {
        let writing = self.writing.take()?;
        self.last_ended = Instant::now();
        match result {
            Ok(written) => {
                self.failed_checkpoints = 0;
                self.completed(&writing, written)
            }
            Err(error) => {
                let id = writing.ready.id;
                tracing::error!("checkpoint {id} could not be written: {error}");
                self.master.progress.status.checkpoints.failed += 1;
                self.failed_checkpoints += 1;
                let last = writing.ready.purpose != Purpose::Periodic;
                if let Ok(ready) = Arc::try_unwrap(writing.ready) {
                    self.coordinator.put_back(ready);
                }
                if last || self.failed_checkpoints > TOLERABLE_FAILURES {
                    let failure = Failure::new(FailureKind::CheckpointFailure, error.to_string());
                    return Some(AttemptEnd::Failed(None, failure));
                }
                None
            }
        }
    }

    fn completed(&mut self, writing: &Writing, written: Written) -> Option<AttemptEnd> {
        let (id, purpose) = (writing.ready.id, writing.ready.purpose);
        let checkpoints = &mut self.master.progress.status.checkpoints;
        checkpoints.completed += 1;
        let since = self.master.clock.now_millis().saturating_sub(writing.ready.triggered_at);
        checkpoints.last = Some(CompletedCheckpoint {
            id,
            duration_millis: u64::try_from(since).unwrap_or(0),
            bytes: written.bytes,
        });
        tracing::debug!("checkpoint {id} written in {:?}", writing.clock.elapsed());
        self.master.count_checkpoint(&written);
        self.chunks = written.chunks;
        self.master.last = Some(Arc::new(written.manifest));
        let last = purpose != Purpose::Periodic;
        let sinks: Vec<SubtaskId> = self.sinks().collect();
        if last {
            self.committing = Some(Committing { purpose, id, sinks: sinks.len() });
        }
        for sink in sinks {
            if let Some(end) = self.send(sink, Command::Commit { checkpoint: id, last }) {
                return Some(end);
            }
        }
        self.ended()
    }

    fn sinks(&self) -> impl Iterator<Item = SubtaskId> + '_ {
        self.deployment.parts.iter().filter(|(_, part)| **part == Part::Sink).map(|(id, _)| *id)
    }

    /// The job's end, once every sink has committed for the last time.
    fn ended(&self) -> Option<AttemptEnd> {
        let committing = self.committing.as_ref().filter(|c| c.sinks == 0)?;
        Some(match committing.purpose {
            Purpose::Stop if self.stopping == Some(Stopping::Preempted) => AttemptEnd::Preempted,
            Purpose::Stop => AttemptEnd::Stopped(Some(committing.id)),
            Purpose::Final | Purpose::Periodic => AttemptEnd::Finished,
        })
    }

    fn refresh(&mut self) {
        let master = &mut *self.master;
        let deployer = &master.prepared.deployer;
        master.progress.refresh(&self.deployment, deployer, self.holding, &master.clock);
        if let Some(usage) = &mut master.usage {
            usage.observe(&self.deployment, deployer, self.holding);
        }
        master.publish();
    }
}

async fn written(writing: &mut Option<Writing>) -> Result<Result<Written, StoreError>, JoinError> {
    match writing {
        Some(writing) => (&mut writing.task).await,
        None => std::future::pending().await,
    }
}
