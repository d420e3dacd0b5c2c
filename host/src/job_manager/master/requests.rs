//! What people ask of a job that runs: a checkpoint, a savepoint, another parallelism,
//! other limits, an empty slot.
//!
//! What takes a checkpoint waits until none is under way; who asked for the same thing is
//! answered together. If the attempt fails first, the next one does it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use tracing::Instrument as _;

use super::{
    AttemptEnd, Stopping,
    attempt::Attempt,
    savepoints::{Change, Rescaling},
};
use crate::{
    capsule::compare::Comparison,
    checkpoint::summary,
    ids::{CheckpointId, SlotId},
    job_manager::{
        control::{Answer, Ask, Moved, Request, SlotView},
        coordinator::Purpose,
        deploy::Deployer,
        placement::Move,
        status::CompletedCheckpoint,
    },
    memory::SlotReport,
    task_manager::{
        SubtaskId,
        relocation::{OperatorCommand, Relocation},
    },
    threads,
};

/// For how long an instance is left where it is after it was moved for want of memory.
const RELIEF: Duration = Duration::from_secs(60);

/// Whether a slot is nearly full, and mostly with the linear memory of its guest.
fn is_under_pressure(slot: &SlotReport) -> bool {
    slot.used > slot.limit / 10 * 9 && slot.parts.guest > slot.limit / 2
}

/// An instance on its way to another slot.
pub(super) struct Moving {
    made: Move,
    /// Who wants to know.
    asked: Option<Request>,
    task: JoinHandle<Result<Duration, String>>,
}

/// The next request; never, if nobody can ask any more.
pub(super) async fn requested(requests: &mut mpsc::Receiver<Request>) -> Request {
    match requests.recv().await {
        Some(request) => request,
        None => std::future::pending().await,
    }
}

/// The next move that ends; never, if there is none.
pub(super) async fn moved(moving: &mut [Moving]) -> (usize, Result<Duration, String>) {
    std::future::poll_fn(|context| {
        for (i, moving) in moving.iter_mut().enumerate() {
            if let std::task::Poll::Ready(end) = std::pin::Pin::new(&mut moving.task).poll(context)
            {
                let end = end.unwrap_or_else(|error| Err(format!("moving it ended: {error}")));
                return std::task::Poll::Ready((i, end));
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// Nobody need be there any more to hear the answer.
pub(super) fn answer(request: Request, answer: Result<Answer, String>) {
    let _ = request.answer.send(answer);
}

impl Attempt<'_> {
    pub(super) fn on_request(&mut self, request: Request) -> Option<AttemptEnd> {
        match request.ask.clone() {
            Ask::Status => {
                self.refresh();
                let status = Box::new(self.master.progress.status.clone());
                answer(request, Ok(Answer::Status(status)));
            }
            Ask::CheckpointDetails { id } => self.look_at_checkpoint(id, request),
            Ask::Checkpoint | Ask::Savepoint { .. } if !self.coordinator.has_running_source() => {
                let why = "all its inputs have ended: it takes its last checkpoint by itself";
                answer(request, Err(why.to_owned()));
            }
            Ask::Checkpoint | Ask::Savepoint { stop: false, .. } => {
                self.master.asked.push(request);
            }
            Ask::Savepoint { stop: true, .. } => {
                self.master.asked.push(request);
                return self.stop(Stopping::Asked);
            }
            Ask::Rescale { operator, parallelism } => {
                let changed = self.master.prepared.rescaled(operator.as_ref(), parallelism);
                return self.go_on_with(changed, request, None);
            }
            Ask::Limit { operator, limits } => {
                let changed = self.master.prepared.limited(&operator, limits);
                return self.go_on_with(changed, request, None);
            }
            Ask::Record { operator, subtask, batches } => {
                self.record(&operator, subtask, batches, request);
            }
            Ask::Upgrade { .. } => self.begin_trial(request),
            Ask::Slots => answer(request, Ok(self.view_slots())),
            Ask::DrainSlot { slot } => self.drain(slot, request),
            Ask::RestoreSlot { slot } => {
                let slots = &self.master.prepared.deployer.task_manager.slots;
                let known = slots.restore(slot);
                let restored = known.then_some(Answer::Restored { slot });
                answer(request, restored.ok_or_else(|| self.no_slot(slot)));
            }
        }
        None
    }

    /// Stops with a checkpoint, to go on from there as a changed job; with what is to be answered of a
    /// trial, if there was one.
    pub(super) fn go_on_with(
        &mut self,
        changed: Result<Deployer, String>,
        request: Request,
        comparisons: Option<Vec<Comparison>>,
    ) -> Option<AttemptEnd> {
        match changed {
            Err(error) => answer(request, Err(error)),
            Ok(_) if self.stopping.is_some() => {
                answer(request, Err("the job is stopping".to_owned()));
            }
            Ok(deployer) => {
                let change = Change::new(request, comparisons);
                self.master.rescaling = Some(Rescaling::Stopping(change, Arc::new(deployer)));
                return self.stop(Stopping::Rescaled);
            }
        }
        None
    }

    /// Reads the store beside the job, which may be writing to it.
    fn look_at_checkpoint(&self, id: CheckpointId, request: Request) {
        let store = self.master.prepared.writer.store.clone();
        threads::blocking(move || {
            let store = store.lock().unwrap_or_else(PoisonError::into_inner);
            let found = summary::find(&**store, id).map_err(|error| error.to_string());
            let checkpoint = found.map(|found| found.map(Box::new));
            answer(request, checkpoint.map(|checkpoint| Answer::CheckpointDetails { checkpoint }));
        });
    }

    fn view_slots(&self) -> Answer {
        let deployer = &self.master.prepared.deployer;
        let conditions = deployer.task_manager.slots.conditions();
        let slots = (0..).zip(conditions).map(|(number, condition)| {
            let slot = SlotId(number);
            let subtask = self.holding.subtask_in(slot).map(|id| deployer.plan.subtask(id));
            SlotView { slot, condition, subtask }
        });
        Answer::Slots { slots: slots.collect() }
    }

    fn no_slot(&self, slot: SlotId) -> String {
        let total = self.master.prepared.deployer.task_manager.slots.total();
        format!("there is no slot {slot}: there are {total}, counted from 0")
    }

    fn drain(&mut self, slot: SlotId, request: Request) {
        let slots = &self.master.prepared.deployer.task_manager.slots;
        if !slots.drain(slot) {
            return answer(request, Err(self.no_slot(slot)));
        }
        match self.holding.subtask_in(slot) {
            None => answer(request, Ok(Answer::Drained { slot, moved: None })),
            Some(subtask) => self.begin_move(subtask, Some(request)),
        }
    }

    /// Moves an instance that runs to another slot.
    fn begin_move(&mut self, subtask: SubtaskId, asked: Option<Request>) {
        let deployer = self.master.prepared.deployer.clone();
        let name = deployer.plan.subtask(subtask);
        let refuse = |asked: Option<Request>, why: String| {
            if let Some(request) = asked {
                answer(request, Err(why));
            }
        };
        if self.moving.iter().any(|moving| moving.made.subtask == subtask) {
            return refuse(asked, format!("`{name}` is being moved already"));
        }
        let Some(member) = self.deployment.members.get(&subtask) else {
            return refuse(asked, format!("`{name}` does not run at the moment"));
        };
        let (commands, metrics) = (member.operator_commands.clone(), member.guest_metrics.clone());
        let Some(made) = self.holding.begin_move(subtask) else {
            let total = deployer.task_manager.slots.total();
            return refuse(
                asked,
                format!(
                    "`{name}` stays where it is: no other of the {total} slots is free; it goes as \
                     soon as it restarts and one is; start the job with more --slots"
                ),
            );
        };
        let memory = self.holding.memory.clone();
        let moving = async move {
            let (guest, memory) =
                deployer.spare(subtask, memory, metrics).await.map_err(|e| e.to_string())?;
            let (done, heard) = tokio::sync::oneshot::channel();
            let relocation = Box::new(Relocation { guest, memory, done });
            let gone = || "it ended before it could be moved".to_owned();
            let sent = commands.send(OperatorCommand::Relocate(relocation)).await;
            sent.map_err(|_| gone())?;
            heard.await.map_err(|_| gone())?.map_err(|failure| failure.to_string())
        };
        let task = tokio::spawn(moving.in_current_span());
        self.moving.push(Moving { made, asked, task });
    }

    pub(super) fn on_moved(&mut self, i: usize, end: Result<Duration, String>) {
        let Moving { made, asked, .. } = self.moving.swap_remove(i);
        self.end_move(made, asked, end);
    }

    fn end_move(&mut self, made: Move, asked: Option<Request>, end: Result<Duration, String>) {
        let subtask = self.master.prepared.deployer.plan.subtask(made.subtask);
        let said = match end {
            Ok(pause) => {
                self.holding.moved(made);
                let placement = &mut self.master.progress.status.placement;
                placement.relocations += 1;
                placement.slots = self.holding.slots.values().copied().collect();
                self.master.prepared.deployer.note_slots(&self.holding.slots);
                tracing::info!("`{subtask}` went from slot {} to slot {}", made.from, made.to);
                let pause_micros = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
                let moved = Some(Moved { subtask, to: made.to, pause_micros });
                Ok(Answer::Drained { slot: made.from, moved })
            }
            Err(error) => {
                self.holding.stays(made);
                tracing::warn!("`{subtask}` stays in slot {}: {error}", made.from);
                Err(format!("`{subtask}` stays in slot {}: {error}", made.from))
            }
        };
        if let Some(request) = asked {
            answer(request, said);
        }
    }

    /// No instance is moved any more.
    pub(super) async fn end_moves(&mut self) {
        while let Some(Moving { made, asked, task }) = self.moving.pop() {
            task.abort();
            let end = task.await.unwrap_or_else(|_| Err("the job restarts".to_owned()));
            self.end_move(made, asked, end);
        }
    }

    /// The checkpoint to begin for who asked for one.
    pub(super) fn asked_purpose(&self) -> Option<Purpose> {
        let savepoint = |request: &Request| matches!(request.ask, Ask::Savepoint { .. });
        match self.master.asked.iter().any(savepoint) {
            true => Some(Purpose::Savepoint),
            false => (!self.master.asked.is_empty()).then_some(Purpose::Manual),
        }
    }

    /// A checkpoint that was asked for is complete.
    pub(super) fn answer_asked(&mut self, purpose: Purpose, done: &CompletedCheckpoint) {
        let savepoint = matches!(purpose, Purpose::Savepoint | Purpose::StopWithSavepoint);
        // Who wants the same file is told of the same one.
        let mut files: BTreeMap<Option<String>, Vec<(Request, bool)>> = BTreeMap::new();
        for request in std::mem::take(&mut self.master.asked) {
            match request.ask.clone() {
                Ask::Savepoint { name, stop } if savepoint => {
                    files.entry(name).or_default().push((request, stop));
                }
                Ask::Savepoint { .. } => self.master.asked.push(request),
                _ => {
                    let CompletedCheckpoint { id, duration_millis, bytes, .. } = *done;
                    answer(request, Ok(Answer::Checkpoint { id, duration_millis, bytes }));
                }
            }
        }
        for (name, requests) in files {
            self.master.save(requests, name, done.id);
        }
    }

    /// A checkpoint that was asked for will not be.
    pub(super) fn refuse_asked(&mut self, purpose: Purpose, id: CheckpointId, why: &str) {
        if matches!(purpose, Purpose::Manual | Purpose::Savepoint) {
            for request in std::mem::take(&mut self.master.asked) {
                answer(request, Err(format!("checkpoint {id} {why}")));
            }
        }
    }

    /// Moves instances out of slots that are not to be used, as soon as others are free, and
    /// out of those that are short of memory.
    pub(super) fn relocate_where_needed(&mut self) {
        let slots = self.master.prepared.deployer.task_manager.slots.clone();
        if slots.free() == 0 || self.stopping.is_some() || !self.recovering.is_empty() {
            return;
        }
        let mut leaving: BTreeSet<SubtaskId> = self.holding.in_bad_slots(&slots).collect();
        leaving.extend(self.pressed());
        leaving.retain(|id| self.moving.iter().all(|moving| moving.made.subtask != *id));
        for id in leaving {
            self.relieved.insert(id, Instant::now());
            self.begin_move(id, None);
        }
    }

    /// The instances that are short of memory, which new ones may not be: what a guest
    /// has taken, it never gives back. Each once a minute at most.
    fn pressed(&self) -> Vec<SubtaskId> {
        let plan = &self.master.prepared.deployer.plan;
        let slots = self.master.progress.status.memory.slots.iter();
        let pressed = slots.filter(|slot| is_under_pressure(slot)).filter_map(|slot| {
            let vertex = plan.vertices.iter().position(|v| v.name == slot.operator)?;
            Some(SubtaskId { vertex, index: slot.subtask })
        });
        let recently =
            |id: &SubtaskId| self.relieved.get(id).is_some_and(|at| at.elapsed() < RELIEF);
        pressed.filter(|id| !recently(id)).collect()
    }
}
