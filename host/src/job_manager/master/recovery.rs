//! A region's way back after a failure, while the others go on.
//!
//! ```text
//! failed ──▶ its tasks end ──▶ waits for its delay, and until it is known whether the
//!              checkpoint that is being written is there ──▶ deployed from the last
//!              checkpoint ──▶ runs
//! ```
//!
//! No checkpoint begins in the meantime: it could not be whole.

use tokio::{
    task::{JoinError, JoinHandle},
    time::Instant,
};
use tracing::Instrument as _;

use super::{AttemptEnd, attempt::Attempt};
use crate::{
    failure::{Failure, FailureKind},
    job_manager::{deployment::DeployedRegion, regions::RegionId},
    task_manager::SubtaskId,
};

/// Where a region stands on its way back.
pub(super) enum Recovery {
    /// It waits until then at least.
    Waiting(Instant),
    /// Its subtasks are being made.
    Deploying(JoinHandle<Result<Vec<DeployedRegion>, Failure>>),
}

/// A region whose subtasks were made, or could not be.
pub(super) type Deployed = (RegionId, Result<Result<Vec<DeployedRegion>, Failure>, JoinError>);

impl Attempt<'_> {
    /// A subtask failed: its region restarts, if it can do so alone.
    pub(super) async fn on_failure(
        &mut self,
        subtask: SubtaskId,
        failure: Failure,
    ) -> Option<AttemptEnd> {
        let regions = self.master.prepared.deployer.regions.clone();
        // A checkpoint that ends the job has stopped sources of all regions.
        let goes_on = self.coordinator.pending_purpose().is_none_or(|purpose| !purpose.ends());
        let alone = regions.count() > 1
            && goes_on
            && self.stopping.is_none()
            && self.committing.is_none()
            && self.writing.as_ref().is_none_or(|w| !w.purpose().ends());
        let Some(region) = regions.region(subtask).filter(|_| alone) else {
            return Some(AttemptEnd::Failed(Some(subtask), failure));
        };
        self.deployment.stop_region(region).await;
        // What it did up to now is counted as it was.
        self.refresh();
        if let Some(id) = self.coordinator.abort() {
            tracing::warn!(
                checkpoint = id.0,
                "checkpoint {id} is given up, since a subtask failed"
            );
            let reason = format!("a subtask failed: {failure}");
            self.master.trace.give_up_checkpoint(&reason);
            let now = self.master.clock.now_millis();
            self.master.progress.status.checkpoints.fail(id, reason, now);
            self.last_ended = Instant::now();
        }
        self.coordinator.restart(|id| regions.region(id) == Some(region));
        self.master.note_crash(self.holding, Some(subtask), &failure);
        self.master.leave_bad_slots(self.holding, |id| regions.region(id) == Some(region));
        self.wait_to_restart(region, Some(subtask), &failure)
    }

    fn wait_to_restart(
        &mut self,
        region: RegionId,
        subtask: Option<SubtaskId>,
        failure: &Failure,
    ) -> Option<AttemptEnd> {
        match self.master.decide(subtask, failure) {
            Err(outcome) => return Some(AttemptEnd::GivenUp(outcome)),
            Ok(delay) => {
                let delay = if self.stopping.is_some() { std::time::Duration::ZERO } else { delay };
                self.recovering.insert(region, Recovery::Waiting(Instant::now() + delay));
            }
        }
        self.show_recovering();
        None
    }

    fn show_recovering(&mut self) {
        let restarting = u32::try_from(self.recovering.len()).unwrap_or(u32::MAX);
        self.master.progress.status.restarts.regions_restarting = restarting;
        self.refresh();
    }

    /// When the next region may be deployed.
    pub(super) fn next_restart(&self) -> Option<Instant> {
        // Whether the checkpoint is there decides where a region begins.
        let waiting = self.recovering.values().filter(|_| self.writing.is_none());
        waiting
            .filter_map(|recovery| match recovery {
                Recovery::Waiting(until) => Some(*until),
                Recovery::Deploying(_) => None,
            })
            .min()
    }

    /// Deploys the regions that have waited long enough.
    pub(super) fn restart_regions(&mut self) {
        let now = Instant::now();
        for (region, recovery) in &mut self.recovering {
            if !matches!(recovery, Recovery::Waiting(until) if *until <= now) {
                continue;
            }
            let deployer = self.master.prepared.deployer.clone();
            let regions = vec![(*region, self.deployment.next_incarnation(*region))];
            let shared = self.deployment.shared.clone();
            let (memory, from) = (self.holding.memory.clone(), self.master.last.clone());
            let deploying =
                async move { deployer.deploy_regions(regions, shared, memory, from).await };
            *recovery = Recovery::Deploying(tokio::spawn(deploying.in_current_span()));
        }
    }

    /// What is known of regions that will go on from an earlier point is of no use.
    pub(super) fn forget_recovering(&mut self) {
        let regions = &self.master.prepared.deployer.regions;
        let recovering = &self.recovering;
        let forget = |id| regions.region(id).is_some_and(|r| recovering.contains_key(&r));
        self.coordinator.restart(forget);
    }

    /// Nobody need wait any longer than it takes: the job is to stop.
    pub(super) fn hurry_restarts(&mut self) {
        for recovery in self.recovering.values_mut() {
            if let Recovery::Waiting(until) = recovery {
                *until = Instant::now();
            }
        }
    }

    pub(super) fn on_deployed(&mut self, (region, deployed): Deployed) -> Option<AttemptEnd> {
        self.recovering.remove(&region);
        match deployed {
            Ok(Ok(regions)) => {
                for deployed in regions {
                    if let Some(usage) = &mut self.master.usage {
                        usage.restart(&self.deployment, &deployed);
                    }
                    self.deployment.add(deployed);
                }
                tracing::debug!("the region that failed runs again");
                self.show_recovering();
                None
            }
            Ok(Err(failure)) => self.wait_to_restart(region, None, &failure),
            Err(error) => {
                let what = format!("deploying a region ended with: {error}");
                Some(AttemptEnd::Failed(None, Failure::new(FailureKind::HostBug, what)))
            }
        }
    }

    /// Waits for deployments that are under way, and ends what they made.
    pub(super) async fn end_recoveries(&mut self) {
        for (_, recovery) in std::mem::take(&mut self.recovering) {
            let Recovery::Deploying(deploying) = recovery else { continue };
            for mut region in deploying.await.ok().and_then(Result::ok).into_iter().flatten() {
                region.tasks.shutdown().await;
            }
        }
        self.master.progress.status.restarts.regions_restarting = 0;
    }
}

/// The next region whose subtasks are made; never, if there is none.
pub(super) async fn deployed(
    recovering: &mut std::collections::BTreeMap<RegionId, Recovery>,
) -> Deployed {
    std::future::poll_fn(|context| {
        for (region, recovery) in recovering.iter_mut() {
            if let Recovery::Deploying(deploying) = recovery
                && let std::task::Poll::Ready(end) = std::pin::Pin::new(deploying).poll(context)
            {
                return std::task::Poll::Ready((*region, end));
            }
        }
        std::task::Poll::Pending
    })
    .await
}
