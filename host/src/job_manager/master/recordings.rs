//! Recordings: a stretch of a subtask's life, from a checkpoint on, as a file.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::oneshot;
use tracing::Instrument as _;

use super::{attempt::Attempt, requests::answer};
use crate::{
    ids::{OperatorName, SubtaskIndex},
    job_manager::{
        capsules,
        control::{Answer, Request},
        deploy::Deployer,
        plan::Role,
    },
    task_manager::{SubtaskId, recorder::Recording, relocation::OperatorCommand},
    threads,
};

impl Attempt<'_> {
    /// Has a subtask record its next batches from a checkpoint on, which is begun for it,
    /// and writes them into a file beside the job.
    pub(super) fn record(
        &mut self,
        operator: &OperatorName,
        subtask: u32,
        batches: u32,
        request: Request,
    ) {
        let deployer = self.master.prepared.deployer.clone();
        let begun = self.begin_recording(&deployer, operator, subtask, batches);
        let (id, heard, state) = match begun {
            Ok(begun) => begun,
            Err(why) => return answer(request, Err(why)),
        };
        // The barrier is what is wanted.
        self.master.ask_checkpoint();
        let path = state
            .join("recordings")
            .join(format!("{operator}-{subtask}-{}.recording", deployer.clock.now_millis()));
        let writing = async move {
            let Ok(recording) = heard.await else {
                let why =
                    "the subtask failed, or was asked for another recording, before it was done";
                return answer(request, Err(why.to_owned()));
            };
            let written = threads::blocking(move || write(&deployer, id, recording, path));
            let written = written.await.map_err(|e| format!("writing the recording ended: {e}"));
            answer(request, written.and_then(|written| written));
        };
        tokio::spawn(writing.in_current_span());
    }

    fn begin_recording(
        &self,
        deployer: &Deployer,
        operator: &OperatorName,
        subtask: u32,
        batches: u32,
    ) -> Result<(SubtaskId, oneshot::Receiver<Recording>, PathBuf), String> {
        let state = self.master.prepared.state.clone().ok_or_else(|| {
            "a recording is written to the state directory, and the job has none: start it with \
             --state DIR"
                .to_owned()
        })?;
        let vertices = deployer.plan.vertices.iter();
        let found = vertices.enumerate().find(|(_, vertex)| vertex.name == *operator);
        let (vertex, of) = found
            .filter(|(_, vertex)| matches!(vertex.role, Role::Operator(..)))
            .ok_or_else(|| format!("the job has no operator `{operator}`"))?;
        if subtask >= of.parallelism {
            let count = of.parallelism;
            return Err(format!("`{operator}` has {count} subtasks, counted from 0"));
        }
        if self.stopping.is_some() || !self.coordinator.has_running_source() {
            return Err(
                "the job comes to its end: it takes no more than its last checkpoint".into()
            );
        }
        let id = SubtaskId { vertex, index: SubtaskIndex(subtask) };
        let gone = || format!("`{}` does not run at the moment", deployer.plan.subtask(id));
        let member = self.deployment.members.get(&id).ok_or_else(gone)?;
        let (done, heard) = oneshot::channel();
        let record = OperatorCommand::Record(batches, done);
        // Before the checkpoint begins, so that its barrier comes after it.
        member.operator_commands.try_send(record).map_err(|_| gone())?;
        Ok((id, heard, state))
    }
}

fn write(
    deployer: &Arc<Deployer>,
    id: SubtaskId,
    recording: Recording,
    path: PathBuf,
) -> Result<Answer, String> {
    let (since, events, whole) = (recording.since, recording.events.len(), recording.whole);
    let taken_at = deployer.clock.now_millis();
    let capsule = capsules::of_recording(deployer, id, recording, taken_at)
        .ok_or_else(|| "only operators are recorded".to_owned())?;
    let bytes = capsules::write(&path, &capsule)
        .map_err(|e| format!("the recording {} cannot be written: {e}", path.display()))?;
    Ok(Answer::Recorded { path, bytes, since, events, whole })
}
