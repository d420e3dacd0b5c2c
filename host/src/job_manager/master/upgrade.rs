//! Another version of an operator, tried beside the one that runs before it takes over.
//!
//! ```text
//! each subtask records: its state at a barrier, and the next batches
//!        │
//!        ▼ in two spare slots
//! both versions are fed the same ──▶ outcomes, states, time and memory compared
//!        │ the same (or differences are accepted)      │ else
//!        ▼                                             ▼
//! the job stops with a checkpoint and goes on        nothing is changed; the first
//! from it with the new version                       difference is told
//! ```

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{sync::oneshot, task::JoinHandle, time::timeout};
use tracing::Instrument as _;

use super::{AttemptEnd, attempt::Attempt, requests::answer};
use crate::{
    capsule::compare::{Comparison, Verdict, compare},
    catalog::Catalog,
    config::job::{ArtifactRef, StateKeeping},
    ids::{OperatorName, SlotId, SubtaskIndex},
    job_manager::{
        capsules,
        control::{Answer, Ask, Request},
        deploy::Deployer,
        plan::Role,
    },
    sandbox::Artifact,
    task_manager::{SubtaskId, recorder::Recording, relocation::OperatorCommand},
    threads,
};

/// For how long enough input is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A version that is being tried.
pub(super) struct Trial {
    request: Request,
    slots: Vec<SlotId>,
    task: JoinHandle<Result<Tried, String>>,
}

/// The version, and how it did on each subtask.
pub(super) type Tried = (Artifact, Vec<Comparison>);

/// The end of the trial; never, if there is none.
pub(super) async fn tried(trial: &mut Option<Trial>) -> Result<Tried, String> {
    match trial {
        Some(trial) => {
            let end = (&mut trial.task).await;
            end.unwrap_or_else(|error| Err(format!("the trial ended with: {error}")))
        }
        None => std::future::pending().await,
    }
}

impl Attempt<'_> {
    /// Begins to try a version.
    pub(super) fn begin_trial(&mut self, request: Request) {
        if let Err((request, why)) = self.try_to_begin(request) {
            answer(request, Err(why));
        }
    }

    fn try_to_begin(&mut self, request: Request) -> Result<(), (Request, String)> {
        let Ask::Upgrade { operator, component, batches, .. } = request.ask.clone() else {
            return Ok(());
        };
        let deployer = self.master.prepared.deployer.clone();
        let plan = &deployer.plan;
        let Some(vertex) = plan.vertices.iter().position(|v| v.name == operator) else {
            return Err((request, format!("the job has no operator `{operator}`")));
        };
        let Role::Operator(spec, _) = &plan.vertices[vertex].role else {
            return Err((request, format!("`{operator}` is no operator")));
        };
        if spec.state == Some(StateKeeping::Memory) {
            let why = format!(
                "`{operator}` has `state = \"memory\"`: its memory can neither be recorded nor \
                 taken over by other code"
            );
            return Err((request, why));
        }
        let busy = self.trial.is_some() || self.stopping.is_some() || !self.recovering.is_empty();
        if busy || !self.coordinator.has_running_source() {
            let why = "the job is stopping, restarting, at its end, or tries something already";
            return Err((request, why.to_owned()));
        }
        let slots = match self.spare_slots() {
            Ok(slots) => slots,
            Err(why) => return Err((request, why)),
        };
        let subtasks = (0..plan.vertices[vertex].parallelism)
            .map(|index| SubtaskId { vertex, index: SubtaskIndex(index) });
        let mut recordings = Vec::new();
        for id in subtasks {
            let (done, recorded) = oneshot::channel();
            let member = &self.deployment.members[&id];
            // One that is gone is heard of by its recording, which does not come.
            let _ = member.operator_commands.try_send(OperatorCommand::Record(batches, done));
            recordings.push((id, recorded));
        }
        // A recording begins at a barrier.
        self.master.ask_checkpoint();
        let trying = async move {
            try_version(deployer, operator, component, heard(recordings).await?).await
        };
        let task = tokio::spawn(trying.in_current_span());
        self.trial = Some(Trial { request, slots, task });
        Ok(())
    }

    /// Two slots for a trial, one for each version.
    fn spare_slots(&mut self) -> Result<Vec<SlotId>, String> {
        self.master.prepared.grow_slots(2);
        let found: Vec<SlotId> = (0..2).filter_map(|_| self.holding.place.reserve()).collect();
        if found.len() == 2 {
            return Ok(found);
        }
        found.into_iter().for_each(|slot| self.holding.place.give_back(slot));
        let free = self.master.prepared.deployer.task_manager.slots.free();
        Err(format!(
            "trying a version takes two spare slots, and {free} are free; start the job with more \
             --slots"
        ))
    }

    /// The trial is over: its slots are free, and who asked is answered, unless the new
    /// version takes over first.
    pub(super) fn on_tried(&mut self, tried: Result<Tried, String>) -> Option<AttemptEnd> {
        let Trial { request, slots, .. } = self.trial.take()?;
        slots.into_iter().for_each(|slot| self.holding.place.give_back(slot));
        match tried {
            Err(why) => answer(request, Err(why)),
            Ok((artifact, comparisons)) => {
                return self.decide_upgrade(request, artifact, comparisons);
            }
        }
        None
    }

    fn decide_upgrade(
        &mut self,
        request: Request,
        artifact: Artifact,
        comparisons: Vec<Comparison>,
    ) -> Option<AttemptEnd> {
        let Ask::Upgrade { operator, dry_run, accept_differences, .. } = request.ask.clone() else {
            return None;
        };
        let refused = refusal(&comparisons, accept_differences);
        if dry_run || refused.is_some() || self.stopping.is_some() {
            let stopping = self.stopping.is_some().then(|| "the job is stopping".to_owned());
            let not_promoted = refused.or(stopping).or_else(|| Some("it was only tried".into()));
            let from = None;
            let told = Answer::Upgraded { comparisons, not_promoted, from, pause_millis: 0 };
            answer(request, Ok(told));
            return None;
        }
        let changed = self.master.prepared.upgraded(&operator, artifact);
        self.go_on_with(changed, request, Some(comparisons))
    }

    /// Nobody hears what it would have come to.
    pub(super) async fn end_trial(&mut self) {
        if let Some(Trial { request, slots, task }) = self.trial.take() {
            task.abort();
            let _ = task.await;
            slots.into_iter().for_each(|slot| self.holding.place.give_back(slot));
            answer(request, Err("the job restarted or ended meanwhile; try again".to_owned()));
        }
    }
}

/// Why a version is not to take over, if it is not.
fn refusal(comparisons: &[Comparison], accept_differences: bool) -> Option<String> {
    let worst = |verdict| comparisons.iter().any(|c| c.verdict == verdict);
    if worst(Verdict::NewCrashes) || worst(Verdict::BothCrash) {
        return Some("the new version crashes".to_owned());
    }
    if worst(Verdict::Differs) && !accept_differences {
        return Some(
            "what it makes of the same records differs; --accept-differences takes it all the same"
                .to_owned(),
        );
    }
    None
}

async fn heard(
    recordings: Vec<(SubtaskId, oneshot::Receiver<Recording>)>,
) -> Result<Vec<(SubtaskId, Recording)>, String> {
    let mut all = Vec::new();
    for (id, recorded) in recordings {
        match timeout(PATIENCE, recorded).await {
            Ok(Ok(recording)) => all.push((id, recording)),
            Ok(Err(_)) => {
                return Err("the job restarted or ended before enough was recorded".to_owned());
            }
            Err(_) => {
                return Err(format!(
                    "too few batches came in {PATIENCE:?}: ask for fewer with --batches"
                ));
            }
        }
    }
    Ok(all)
}

async fn try_version(
    deployer: Arc<Deployer>,
    operator: OperatorName,
    component: PathBuf,
    recordings: Vec<(SubtaskId, Recording)>,
) -> Result<Tried, String> {
    let old = deployer.artifacts[&operator].clone();
    let grants = deployer.spec.operators.iter().find(|o| o.name == operator);
    let grants = grants.map(|o| o.grants.clone()).unwrap_or_default();
    let sandbox = deployer.task_manager.sandbox.clone();
    let loading = threads::blocking(move || {
        Catalog::new(sandbox, Vec::new()).load(&ArtifactRef::Path(component), &grants, false)
    });
    let loaded = loading.await.map_err(|error| format!("loading it ended with: {error}"))?;
    let new = loaded.map_err(|error| error.to_string())?;
    if std::mem::discriminant(&old.kind()) != std::mem::discriminant(&new.kind()) {
        return Err("it is another kind of operator than the one that runs".to_owned());
    }
    let mut comparisons = Vec::new();
    for (id, recording) in recordings {
        let now = deployer.clock.now_millis();
        let Some(capsule) = capsules::of_recording(&deployer, id, recording, now) else { continue };
        let (old, new) = (old.clone(), new.clone());
        let compared = deployer.in_turns(async move { compare(old, new, &capsule).await }).await;
        comparisons.push(compared.map_err(|e| format!("the old version does not open: {e}"))?);
    }
    Ok((new, comparisons))
}
