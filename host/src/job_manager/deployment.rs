//! A job that runs: its subtasks, region by region, and what they tell.
//!
//! A region that is deployed anew is a new *incarnation*. What an earlier one still
//! has to say, since it was on its way when its tasks ended, is not heard any more:
//! a snapshot of it would be of records that come again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    task::Poll,
};

use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};

use crate::{
    failure::{Failure, FailureKind},
    job_manager::{
        coordinator::Part,
        regions::{RegionId, Regions},
    },
    metrics::{Counters, SharedMetrics},
    sandbox::GuestMetrics,
    task_manager::{
        Command, Reporter, SubtaskId, TaskEvent,
        chain::ChainEnd,
        relocation::OperatorCommand,
        source_task::{EmittedRecords, RejectedLimit},
    },
};

/// How many events may wait for the job manager.
const EVENTS: usize = 1024;

/// What all regions of a deployment share. Clones are the same.
#[derive(Debug, Clone)]
pub struct Shared {
    events: mpsc::Sender<(u32, TaskEvent)>,
    /// Counts for checkpoints by record count.
    pub emitted: Arc<EmittedRecords>,
    /// The job's limit of rejected records.
    pub rejected: Arc<RejectedLimit>,
}

impl Shared {
    /// Whom a subtask of an incarnation tells.
    #[must_use]
    pub fn reporter(&self, id: SubtaskId, incarnation: u32, metrics: SharedMetrics) -> Reporter {
        Reporter::new(id, incarnation, self.events.clone(), metrics)
    }
}

/// How to reach a subtask, and what it counts.
#[derive(Debug)]
pub struct Member {
    /// What it does in a checkpoint.
    pub part: Part,
    /// How to tell a source or sink something.
    pub commands: mpsc::Sender<Command>,
    /// How to tell an operator something.
    pub operator_commands: mpsc::Sender<OperatorCommand>,
    /// What it counts.
    pub metrics: SharedMetrics,
    /// What it had counted at the checkpoint that it goes on from.
    pub counted_before: Counters,
    /// What an operator counts itself.
    pub guest_metrics: Arc<Mutex<GuestMetrics>>,
}

/// A region whose subtasks have been started. Dropping it ends them.
#[derive(Debug)]
pub struct DeployedRegion {
    /// Which.
    pub region: RegionId,
    /// Which incarnation.
    pub incarnation: u32,
    /// Its subtasks.
    pub members: BTreeMap<SubtaskId, Member>,
    /// One for each chain of subtasks.
    pub tasks: JoinSet<ChainEnd>,
}

#[derive(Debug)]
struct RunningRegion {
    incarnation: u32,
    tasks: JoinSet<ChainEnd>,
    /// Ended on purpose, to be deployed anew.
    stopped: bool,
}

/// A job that runs.
#[derive(Debug)]
pub struct Deployment {
    /// What its regions share.
    pub shared: Shared,
    /// Its subtasks.
    pub members: BTreeMap<SubtaskId, Member>,
    regions: Arc<Regions>,
    running: BTreeMap<RegionId, RunningRegion>,
    events: mpsc::Receiver<(u32, TaskEvent)>,
}

impl Deployment {
    /// One without subtasks, as yet.
    #[must_use]
    pub fn new(regions: Arc<Regions>, emitted: EmittedRecords, rejected: RejectedLimit) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        let (emitted, rejected) = (Arc::new(emitted), Arc::new(rejected));
        Self {
            shared: Shared { events: sender, emitted, rejected },
            members: BTreeMap::new(),
            regions,
            running: BTreeMap::new(),
            events,
        }
    }

    /// Takes in a region that was deployed, in place of what it was before.
    pub fn add(&mut self, deployed: DeployedRegion) {
        let DeployedRegion { region, incarnation, members, tasks } = deployed;
        self.members.extend(members);
        self.running.insert(region, RunningRegion { incarnation, tasks, stopped: false });
        self.shared.rejected.set(self.rejected());
    }

    /// How many records all subtasks have rejected.
    fn rejected(&self) -> u64 {
        self.members.values().map(|member| member.metrics.counters().rejected).sum()
    }

    /// The incarnation that a region would be if it was deployed now.
    #[must_use]
    pub fn next_incarnation(&self, region: RegionId) -> u32 {
        self.running.get(&region).map_or(1, |running| running.incarnation + 1)
    }

    /// What each subtask does in a checkpoint.
    #[must_use]
    pub fn parts(&self) -> BTreeMap<SubtaskId, Part> {
        self.members.iter().map(|(id, member)| (*id, member.part)).collect()
    }

    /// Ends every subtask of a region, and waits until all are gone: their slots are
    /// free then, and nothing of theirs touches a file that the next incarnation opens.
    pub async fn stop_region(&mut self, region: RegionId) {
        if let Some(running) = self.running.get_mut(&region) {
            running.tasks.shutdown().await;
            // Whatever it has said and was not heard is not to be heard.
            running.incarnation += 1;
            running.stopped = true;
        }
    }

    /// Ends every subtask, as [`stop_region`](Self::stop_region).
    pub async fn stop(&mut self) {
        self.running.values_mut().for_each(|running| running.tasks.abort_all());
        for running in self.running.values_mut() {
            running.tasks.shutdown().await;
        }
    }

    /// What the subtasks tell next. A subtask that panics cannot tell of it, so that is
    /// heard of otherwise. Safe to cancel.
    pub async fn next(&mut self) -> TaskEvent {
        loop {
            if let Some(id) = self.all_gone() {
                let what = "every subtask is gone without a word";
                return TaskEvent::Failed(id, Failure::new(FailureKind::HostBug, what));
            }
            let (events, running) = (&mut self.events, &mut self.running);
            tokio::select! {
                biased;
                event = events.recv() => {
                    if let Some((incarnation, event)) = event
                        && self.is_current(event.subtask(), incarnation)
                    {
                        return event;
                    }
                }
                (region, end) = next_end(running) => {
                    if let Some(failure) = self.failure_of(region, end) {
                        return failure;
                    }
                }
            }
        }
    }

    /// Some subtask, if none runs any more and none has anything left to say.
    fn all_gone(&self) -> Option<SubtaskId> {
        let ended = |running: &RunningRegion| !running.stopped && running.tasks.is_empty();
        let gone = self.events.is_empty() && self.running.values().all(ended);
        self.members.keys().next().copied().filter(|_| gone)
    }

    fn is_current(&self, subtask: SubtaskId, incarnation: u32) -> bool {
        let region = self.regions.region(subtask);
        let running = region.and_then(|region| self.running.get(&region));
        running.is_some_and(|running| running.incarnation == incarnation)
    }

    /// A chain's end, if it was not one.
    fn failure_of(&self, region: RegionId, end: Result<ChainEnd, JoinError>) -> Option<TaskEvent> {
        match end {
            Ok(Ok(())) => None,
            Ok(Err((id, failure))) => Some(TaskEvent::Failed(id, failure)),
            Err(error) if error.is_cancelled() => None,
            Err(error) => {
                let what = format!("a chain of subtasks ended with a panic: {error}");
                let id = self.regions.members(region).next()?;
                Some(TaskEvent::Failed(id, Failure::new(FailureKind::HostBug, what)))
            }
        }
    }
}

/// The next chain that ends; never, if there is none.
async fn next_end(
    running: &mut BTreeMap<RegionId, RunningRegion>,
) -> (RegionId, Result<ChainEnd, JoinError>) {
    std::future::poll_fn(|context| {
        for (region, running) in running.iter_mut() {
            if let Poll::Ready(Some(end)) = running.tasks.poll_join_next(context) {
                return Poll::Ready((*region, end));
            }
        }
        Poll::Pending
    })
    .await
}
