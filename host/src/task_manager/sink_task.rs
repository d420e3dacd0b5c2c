//! Drives one parallel instance of a sink, through both phases of its commits.

use std::{fmt, sync::atomic::Ordering};

use tokio::sync::mpsc;

use crate::{
    checkpoint::{SubtaskDetails, SubtaskState},
    clock::{Moment, Stopwatch},
    connectors::Sink,
    ids::CheckpointId,
    metrics::SharedMetrics,
    task_manager::{
        Command, Reporter, Snapshot, TaskEnd, TaskError,
        gate::turn::breathe,
        input::{Input, InputEvent},
        source_task::failure,
        traces::SubtaskTrace,
    },
};

/// A sink and what it needs to run.
pub struct SinkTask {
    /// The connector.
    pub sink: Box<dyn Sink>,
    /// What comes in.
    pub input: Input,
    /// Commits, and requests to prepare once the input has ended.
    pub commands: mpsc::Receiver<Command>,
    /// Whom it tells.
    pub reporter: Reporter,
    /// What it counts.
    pub metrics: SharedMetrics,
    /// Tells of batches that are traced.
    pub trace: SubtaskTrace,
}

impl SinkTask {
    /// Runs the sink to its last commit.
    pub async fn run(mut self) {
        let end = self.drive().await;
        self.reporter.ended(end).await;
    }

    async fn drive(&mut self) -> Result<TaskEnd, TaskError> {
        let mut input_ended = false;
        loop {
            breathe().await;
            let event = tokio::select! {
                biased;
                Some(command) = self.commands.recv() => {
                    if self.obey(command, input_ended).await? {
                        return Ok(TaskEnd::Committed);
                    }
                    continue;
                }
                event = self.input.next(), if !input_ended => event?,
                // Nobody is left to ask for the last commit: the job is torn down.
                else => return Err(TaskError::NeighbourGone),
            };
            match event {
                InputEvent::Batch(_, batch) => {
                    let clock = Stopwatch::start();
                    self.metrics.count_in(batch.len(), batch.bytes());
                    let doing = self.trace.begin("write", &batch);
                    let written = self.sink.write(&batch).await;
                    if let Some(doing) = doing {
                        let failed = written.as_ref().err().map(|e| e as &dyn fmt::Display);
                        self.trace.done(&doing, failed);
                    }
                    written.map_err(|e| failure(&e))?;
                    self.metrics.count_busy(clock.elapsed());
                }
                InputEvent::Watermark(watermark) => {
                    self.metrics.watermark.store(watermark, Ordering::Relaxed);
                }
                InputEvent::Idle => {}
                // After a stopping barrier the input is silent, and the last
                // commit comes as a command.
                InputEvent::Barrier(barrier) => {
                    self.prepare(barrier.checkpoint, barrier.seal, false).await?;
                    input_ended |= barrier.stop;
                }
                InputEvent::End => {
                    input_ended = true;
                    let finished = TaskEnd::Finished(Box::default());
                    self.reporter.ended(Ok(finished)).await;
                }
            }
        }
    }

    /// `asked`: by a command, as no barrier comes any more.
    async fn prepare(
        &mut self,
        checkpoint: CheckpointId,
        last: bool,
        asked: bool,
    ) -> Result<(), TaskError> {
        let clock = Stopwatch::start();
        let prepared = self.sink.prepare_commit(checkpoint.0, last).await;
        let sink = Some(prepared.map_err(|e| failure(&e))?);
        let state = SubtaskState { sink, finished: last, ..SubtaskState::default() };
        let took = SubtaskDetails {
            alignment_micros: if asked { 0 } else { self.input.aligned_in() },
            sync_micros: clock.micros(),
        };
        self.reporter.snapshot(checkpoint, Snapshot { state, took, ..Snapshot::default() }).await;
        Ok(())
    }

    /// Whether that was the last command.
    async fn obey(&mut self, command: Command, input_ended: bool) -> Result<bool, TaskError> {
        match command {
            Command::Prepare { checkpoint, last } if input_ended => {
                self.prepare(checkpoint, last, true).await?;
            }
            // A barrier is on its way, or the command came to the wrong one.
            Command::Prepare { .. } | Command::Trigger(_) => {}
            Command::Commit { checkpoint, last, traced } => {
                let began = Moment::now();
                let committed = self.sink.commit(checkpoint.0).await;
                if let Some(traced) = traced {
                    let failed = committed.as_ref().err().map(ToString::to_string);
                    self.trace.committed(traced, began, failed.as_deref());
                }
                committed.map_err(|e| failure(&e))?;
                tracing::debug!(
                    checkpoint = checkpoint.0,
                    "a sink has committed checkpoint {checkpoint}"
                );
                return Ok(last);
            }
        }
        Ok(false)
    }
}
