//! Drives one parallel instance of a source.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, mpsc};

use crate::{
    checkpoint::SubtaskState,
    clock::{Moment, Stopwatch},
    connectors::{ConnectorError, Source, SourceEvent},
    failure::{Failure, FailureKind},
    metrics::SharedMetrics,
    stream::{
        Batch, DeadLetter, Element,
        watermark::{self, BoundedOutOfOrderness},
    },
    task_manager::{
        Command, Reporter, Snapshot, TaskEnd, TaskError,
        gate::turn::breathe,
        output::{OutputPort, Outputs},
        traces::SourceTrace,
    },
    tenancy::ingest::{IngestLimit, Ticket},
};

/// How many records all sources have emitted, for checkpoints by count.
#[derive(Debug, Default)]
pub struct EmittedRecords {
    total: AtomicU64,
    /// A checkpoint is due each time that the total passes a multiple of this.
    every: Option<u64>,
    /// Told when one is due, or would be welcome to a sink.
    pub due: Arc<Notify>,
}

impl EmittedRecords {
    /// Tells `due` after every so many records.
    #[must_use]
    pub fn new(every: Option<u64>) -> Self {
        Self { every, ..Self::default() }
    }

    fn add(&self, records: usize) {
        if let Some(every) = self.every {
            let before = self.total.fetch_add(records as u64, Ordering::Relaxed);
            if before / every != (before + records as u64) / every {
                self.due.notify_one();
            }
        }
    }
}

/// Stops a job that rejects too many records. Shared by its subtasks.
#[derive(Debug, Default)]
pub struct RejectedLimit {
    count: AtomicU64,
    limit: Option<u64>,
}

impl RejectedLimit {
    /// At most so many.
    #[must_use]
    pub fn new(limit: Option<u64>) -> Self {
        Self { count: AtomicU64::new(0), limit }
    }

    /// So many are rejected by now, with what is not to be counted again taken out.
    pub fn set(&self, count: u64) {
        self.count.store(count, Ordering::Relaxed);
    }

    /// Counts rejected records.
    ///
    /// # Errors
    /// If there are too many now; the message has the last one's reason.
    pub fn count(&self, letters: &[DeadLetter]) -> Result<(), Failure> {
        let Some(last) = letters.last() else { return Ok(()) };
        let added = letters.len() as u64;
        let rejected = self.count.fetch_add(added, Ordering::Relaxed) + added;
        match self.limit {
            Some(limit) if rejected > limit => {
                let last = last.reason.clone();
                let error = ConnectorError::TooManyRejected { rejected, limit, last };
                Err(Failure::new(FailureKind::TooManyRejected, error.to_string()))
            }
            _ => Ok(()),
        }
    }
}

/// A source and what it needs to run.
pub struct SourceTask {
    /// The connector.
    pub source: Box<dyn Source>,
    /// Where its records go.
    pub outputs: Outputs,
    /// Barriers to put into the stream.
    pub commands: mpsc::Receiver<Command>,
    /// Whom it tells.
    pub reporter: Reporter,
    /// What it counts.
    pub metrics: SharedMetrics,
    /// Makes its watermarks.
    pub watermarks: BoundedOutOfOrderness,
    /// After how much silence it is idle.
    pub idle_timeout: Option<Duration>,
    /// All sources' count.
    pub emitted: Arc<EmittedRecords>,
    /// The source's own limit.
    pub own_rejected: RejectedLimit,
    /// The job's limit.
    pub job_rejected: Arc<RejectedLimit>,
    /// How fast it may read.
    pub ingest: Arc<IngestLimit>,
    /// What it has read and has to wait for; the default one to begin with.
    pub ticket: Ticket,
    /// Which batches are traced.
    pub trace: SourceTrace,
}

impl SourceTask {
    /// Runs the source to its end.
    pub async fn run(mut self) {
        let end = self.drive().await;
        self.reporter.ended(end).await;
    }

    async fn drive(&mut self) -> Result<TaskEnd, TaskError> {
        let mut sent = watermark::NONE;
        // After a restart: what came before the checkpoint is known to be over.
        self.advance(&mut sent).await?;
        let mut idle = false;
        loop {
            breathe().await;
            // Who is slowed is not silent: its records will come, and are not late.
            let slowed = self.ingest.is_slowed(self.ticket);
            let silence = self.idle_timeout.filter(|_| !idle && !slowed).unwrap_or(Duration::MAX);
            let clock = Stopwatch::start();
            let event = tokio::select! {
                biased;
                Some(command) = self.commands.recv() => {
                    if let Command::Trigger(barrier) = command {
                        let clock = Stopwatch::start();
                        let mut snapshot = self.snapshot();
                        snapshot.took.sync_micros = clock.micros();
                        self.reporter.snapshot(barrier.checkpoint, snapshot).await;
                        self.outputs.broadcast(Element::Barrier(barrier)).await?;
                        if barrier.stop {
                            return Ok(TaskEnd::Stopped);
                        }
                    }
                    continue;
                }
                () = self.ingest.wait(self.ticket), if slowed => continue,
                event = at_work(self.source.next()), if !slowed => event,
                () = tokio::time::sleep(silence), if silence != Duration::MAX => {
                    idle = true;
                    self.outputs.broadcast(Element::Idle).await?;
                    continue;
                }
            };
            let (event, worked) = event;
            self.metrics.count_busy(worked);
            let event = event.map_err(|e| failure(&e))?;
            match event {
                SourceEvent::Batch { batch, rejected } => {
                    idle &= batch.is_empty();
                    let made_by =
                        self.trace.read(|| Moment::of(clock), &batch, || self.source.posted_by());
                    self.outputs.made_by(made_by);
                    self.emit(batch, &rejected, &mut sent).await?;
                }
                SourceEvent::End => {
                    self.outputs.broadcast(Element::Watermark(watermark::END)).await?;
                    self.outputs.broadcast(Element::End).await?;
                    let mut snapshot = self.snapshot();
                    snapshot.state.finished = true;
                    return Ok(TaskEnd::Finished(Box::new(snapshot)));
                }
            }
        }
    }

    async fn emit(
        &mut self,
        batch: Batch,
        rejected: &[DeadLetter],
        sent: &mut i64,
    ) -> Result<(), TaskError> {
        if !rejected.is_empty() {
            self.outputs.reject(rejected).await?;
            self.own_rejected.count(rejected)?;
            self.job_rejected.count(rejected)?;
        }
        let records = batch.len();
        let set_aside: usize = rejected.iter().map(|letter| letter.value.len()).sum();
        self.ticket = self.ingest.read(records + rejected.len(), batch.bytes() + set_aside);
        if let Some(timestamps) = batch.timestamps() {
            self.watermarks.observe(timestamps);
        }
        self.outputs.emit(OutputPort::Number(0), batch).await?;
        self.emitted.add(records);
        self.advance(sent).await
    }

    async fn advance(&mut self, sent: &mut i64) -> Result<(), TaskError> {
        let current = self.watermarks.current();
        if current > *sent {
            *sent = current;
            self.metrics.watermark.store(current, Ordering::Relaxed);
            self.outputs.broadcast(Element::Watermark(current)).await?;
        }
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        let state = SubtaskState {
            positions: self.source.positions(),
            newest: self.watermarks.newest(),
            ..SubtaskState::default()
        };
        Snapshot { state, ..Snapshot::default() }
    }
}

/// Does something, and says how long that was at work: not how long it waited for what it reads.
async fn at_work<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let (mut work, mut worked) = (pin!(work), Duration::ZERO);
    let done = poll_fn(|context| {
        let clock = Stopwatch::start();
        let polled = work.as_mut().poll(context);
        worked += clock.elapsed();
        polled
    })
    .await;
    (done, worked)
}

/// A connector's error as a failure.
#[must_use]
pub fn failure(error: &ConnectorError) -> Failure {
    Failure::new(FailureKind::ConnectorFailure, error.to_string())
}
