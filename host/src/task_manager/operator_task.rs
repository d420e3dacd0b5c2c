//! Drives one parallel instance of an operator: what is common to both kinds, whose
//! calls stand in `processor_task` and `keyed_task`.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    checkpoint::{SubtaskDetails, SubtaskState},
    clock::{Clock, Stopwatch},
    failure::{Failure, FailureKind},
    memory::{Part, Refusal, SlotMeter},
    metrics::{SharedMetrics, add},
    sandbox::{Now, Outcome},
    stream::{Barrier, Batch, DeadLetter, Element, keys::KeyGroup, watermark},
    task_manager::{
        Reporter, Snapshot, TaskEnd, TaskError,
        gate::turn::breathe,
        input::{Input, InputEvent},
        keyed_task::KeyedOperator,
        output::{OutputPort, Outputs},
        poison::Watch,
        processor_task::ProcessorOperator,
        recorder::{Crash, Recorded, Recorder, StateThen},
        relocation::OperatorCommand,
        source_task::RejectedLimit,
        traces::{self, CallTrace, Firing},
    },
};

/// How long nobody looks at the clock while a timer of processing time waits: the clock may
/// be set forward in the meantime.
const LOOK: Duration = Duration::from_secs(1);

/// An operator instance and what it needs to run.
pub struct OperatorTask {
    /// The instance in its slot, of either kind.
    pub operator: Operator,
    /// What comes in.
    pub input: Input,
    /// What it is told.
    pub commands: mpsc::Receiver<OperatorCommand>,
    /// When its guest is laid to rest.
    pub idleness: Idleness,
    /// The rest.
    pub context: OperatorContext,
}

/// Whether there was nothing to do for so long that the guest's memory is given back.
#[derive(Debug, Default)]
pub struct Idleness {
    /// For how long there must have been nothing; never if none.
    after: Option<Duration>,
    /// Since when there is nothing.
    since: Option<Instant>,
    /// It was tried already.
    tried: bool,
}

impl Idleness {
    /// After so long; never if none.
    #[must_use]
    pub fn after(after: Option<Duration>) -> Self {
        Self { after, since: None, tried: false }
    }

    /// There was something to do.
    fn worked(&mut self) {
        (self.since, self.tried) = (None, false);
    }

    /// When the guest is to rest, if nothing comes before that.
    fn over_at(&mut self) -> Option<Instant> {
        let after = self.after.filter(|_| !self.tried)?;
        Some(*self.since.get_or_insert_with(Instant::now) + after)
    }
}

/// A moment; never, if there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// What both kinds of operator use.
pub struct OperatorContext {
    /// The operator's name and its parallel instance, for people.
    pub name: String,
    /// What the slot is charged for.
    pub memory: Arc<SlotMeter>,
    /// Whether a crash is taken for poison.
    pub watch: Watch,
    /// What came in.
    pub recorder: Recorder,
    /// Whether to tell all that is known of a crash.
    pub capsules: bool,
    /// Where records go.
    pub outputs: Outputs,
    /// Whom it tells.
    pub reporter: Reporter,
    /// What it counts.
    pub metrics: SharedMetrics,
    /// The job's limit of rejected records.
    pub job_rejected: Arc<RejectedLimit>,
    /// What time it is.
    pub clock: Clock,
    /// The watermark; `watermark::NONE` before the first. Restored from a
    /// checkpoint, so that what was late before a restart is late after it.
    pub watermark: i64,
    /// Whether it had said all that it had to say before the checkpoint that it
    /// was restored from.
    pub was_finished: bool,
    /// Tells of calls for batches that are traced.
    pub trace: CallTrace,
}

/// What a subtask has to do.
enum Next {
    /// Something came in.
    Input(InputEvent),
    /// A processing-time timer is due.
    Timer,
    /// It is told something.
    Command(OperatorCommand),
    /// There was nothing to do for a while.
    Rest,
}

/// Either kind of operator.
pub enum Operator {
    /// Stateless, or with its own state.
    Processor(Box<ProcessorOperator>),
    /// With state by key.
    Keyed(Box<KeyedOperator>),
}

impl OperatorTask {
    /// Runs the operator to its end.
    pub async fn run(mut self) {
        let end = self.drive().await;
        self.context.reporter.clone().ended(end).await;
    }

    async fn drive(&mut self) -> Result<TaskEnd, TaskError> {
        // After a restart: the input says nothing of it until it comes further.
        if let Some(watermark) = self.context.watermark() {
            self.context.outputs.broadcast(Element::Watermark(watermark)).await?;
        }
        let mut began = false;
        loop {
            let event = self.next_event().await?;
            breathe().await;
            let works = matches!(event, Next::Input(InputEvent::Batch(..)));
            let metrics = self.context.metrics.clone();
            let step = metrics.working(self.step(event)).await;
            if let Some(end) = step? {
                return Ok(end);
            }
            if works && !began {
                began = true;
                self.context.reporter.began().await;
            }
            self.settle()?;
        }
    }

    /// What comes next.
    async fn next_event(&mut self) -> Result<Next, TaskError> {
        let due = match &self.operator {
            Operator::Keyed(keyed) => keyed.next_processing(),
            Operator::Processor(_) => None,
        };
        let idle = self.idleness.over_at();
        let Some(due) = due else {
            return tokio::select! {
                biased;
                Some(command) = self.commands.recv() => Ok(Next::Command(command)),
                event = self.input.next() => Ok(Next::Input(event?)),
                () = at(idle) => Ok(Next::Rest),
            };
        };
        let wait = u64::try_from(due.saturating_sub(self.context.clock.now_millis())).unwrap_or(0);
        let wait = Duration::from_millis(wait).min(LOOK);
        tokio::select! {
            biased;
            Some(command) = self.commands.recv() => Ok(Next::Command(command)),
            event = self.input.next() => Ok(Next::Input(event?)),
            () = tokio::time::sleep(wait) => Ok(Next::Timer),
            () = at(idle) => Ok(Next::Rest),
        }
    }

    async fn step(&mut self, next: Next) -> Result<Option<TaskEnd>, TaskError> {
        let context = &mut self.context;
        let event = match next {
            Next::Input(event) => event,
            Next::Timer => {
                if let Operator::Keyed(keyed) = &mut self.operator {
                    if keyed.is_due(context.clock.now_millis()) {
                        self.idleness.worked();
                    }
                    keyed.fire_processing(context).await?;
                }
                return Ok(None);
            }
            Next::Rest => {
                self.idleness.tried = true;
                match &mut self.operator {
                    Operator::Processor(own) => drop(own.calls.rest().await?),
                    Operator::Keyed(keyed) => keyed.rest(),
                }
                return Ok(None);
            }
            Next::Command(OperatorCommand::Relocate(to)) => {
                self.relocate(*to).await?;
                return Ok(None);
            }
            Next::Command(OperatorCommand::Record(batches, done)) => {
                context.recorder.request(batches, done);
                return Ok(None);
            }
        };
        match event {
            InputEvent::Batch(port, batch) => {
                context.metrics.count_in(batch.len(), batch.bytes());
                self.idleness.worked();
                let done = match &mut self.operator {
                    Operator::Processor(own) => {
                        context.begin_call(traces::PROCESS, &batch);
                        own.batch(context, port, &batch).await
                    }
                    Operator::Keyed(keyed) => {
                        context.begin_call(traces::FOLD, &batch);
                        keyed.batch(context, port, batch).await
                    }
                };
                context.end_call(&done);
                done?;
            }
            InputEvent::Watermark(watermark) => {
                // First, so that an operator sees what time it is that fires it.
                context.watermark = watermark;
                if let Operator::Keyed(keyed) = &mut self.operator {
                    keyed.advance(context, watermark).await?;
                }
                context.metrics.watermark.store(watermark, Ordering::Relaxed);
                context.outputs.broadcast(Element::Watermark(watermark)).await?;
            }
            InputEvent::Idle => context.outputs.broadcast(Element::Idle).await?,
            InputEvent::Barrier(barrier) => return self.barrier(barrier).await,
            InputEvent::End => return self.finish().await.map(Some),
        }
        Ok(None)
    }

    /// Charges the slot for what the last event left behind.
    fn settle(&mut self) -> Result<(), Failure> {
        let (memory, queued) = (self.context.memory.clone(), self.input.queued_bytes());
        let mut held = match &self.operator {
            Operator::Keyed(keyed) => keyed.state_bytes(),
            Operator::Processor(own) => own.calls.bytes(),
        };
        let recorded = self.context.recorder.bytes();
        let settled = memory.settle(held + recorded, queued).or_else(|refused| {
            // What is only kept for the case of a crash does not cause one.
            if recorded == 0 && !matches!(&self.operator, Operator::Processor(_)) {
                return Err(refused);
            }
            self.context.recorder.forget();
            if let Operator::Processor(own) = &mut self.operator {
                own.calls.forget_way_back();
                held = 0;
            }
            memory.settle(held, queued)
        });
        let used = settled.map_err(|(part, refused)| {
            let what = if part == Part::State { "its keyed state" } else { "its input queue" };
            out_of_memory(what, &refused)
        })?;
        self.context.metrics.memory.store(used as u64, Ordering::Relaxed);
        Ok(())
    }

    async fn barrier(&mut self, barrier: Barrier) -> Result<Option<TaskEnd>, TaskError> {
        // The barrier goes first: those behind need not wait for our snapshot.
        self.context.outputs.broadcast(Element::Barrier(barrier)).await?;
        let clock = Stopwatch::start();
        let mut snapshot = self.snapshot(false, barrier.whole).await?;
        snapshot.took = SubtaskDetails {
            alignment_micros: self.input.aligned_in(),
            sync_micros: clock.micros(),
        };
        self.context.recorder.barrier(barrier.checkpoint);
        if self.context.recorder.is_waiting() {
            let state = self.state_then(&snapshot).await?;
            self.context.recorder.begin(barrier.checkpoint, state);
        }
        self.context.reporter.snapshot(barrier.checkpoint, snapshot).await;
        Ok(barrier.stop.then_some(TaskEnd::Stopped))
    }

    /// All of the state, of which a snapshot was taken just now.
    async fn state_then(&mut self, snapshot: &Snapshot) -> Result<StateThen, Failure> {
        let mut then = StateThen { guest: snapshot.guest.clone(), ..StateThen::default() };
        match &mut self.operator {
            Operator::Keyed(keyed) => then.keyed = keyed.whole_state(),
            Operator::Processor(own) if own.calls.saves_memory() => {
                then.memory = own.calls.whole_memory().await?;
            }
            Operator::Processor(_) => {}
        }
        Ok(then)
    }

    async fn finish(&mut self) -> Result<TaskEnd, TaskError> {
        self.context.recorder.end();
        if let Operator::Processor(own) = &mut self.operator
            && !self.context.was_finished
        {
            own.finish(&mut self.context).await?;
        }
        let snapshot = self.snapshot(true, false).await?;
        self.context.outputs.broadcast(Element::End).await?;
        Ok(TaskEnd::Finished(Box::new(snapshot)))
    }

    /// With `whole`, all of the state, and not what changed.
    async fn snapshot(&mut self, finished: bool, whole: bool) -> Result<Snapshot, Failure> {
        self.context.watch.barrier();
        let watermark = self.context.watermark();
        let state = SubtaskState { finished, watermark, ..SubtaskState::default() };
        Ok(match &mut self.operator {
            Operator::Processor(own) if own.calls.saves_memory() => {
                let memory = Some(Box::new(own.calls.memory_delta(whole).await?));
                own.calls.watch_memory(self.context.watch.is_on()).await?;
                Snapshot { memory, state, ..Snapshot::default() }
            }
            Operator::Processor(own) => {
                let guest = own.calls.snapshot(self.context.watch.is_on()).await?;
                Snapshot { guest, state, ..Snapshot::default() }
            }
            Operator::Keyed(keyed) => {
                Snapshot { key_groups: keyed.snapshot(whole), state, ..Snapshot::default() }
            }
        })
    }
}

/// Charges the slot for the host's copies of what goes into and out of a call.
///
/// # Errors
/// If that is more than it may hold.
pub(super) fn charge_call(memory: &SlotMeter, bytes: usize) -> Result<(), Failure> {
    let charged = memory.set(Part::Call, bytes);
    charged.map_err(|refused| out_of_memory("the records and states of a call", &refused))
}

/// The host would have to hold too much for the slot.
#[must_use]
pub fn out_of_memory(what: &str, refused: &Refusal) -> Failure {
    Failure::new(FailureKind::OutOfMemory, format!("{what} asked for {refused}"))
}

impl OperatorContext {
    /// A call for a batch begins, which is told of if the batch is sampled.
    fn begin_call(&mut self, what: &'static str, batch: &Batch) {
        if batch.trail().is_some() {
            let made_by = self.trace.begin(what, batch);
            self.outputs.made_by(made_by);
        }
    }

    /// All that came of a batch was sent on, or it has failed.
    fn end_call(&mut self, done: &Result<(), TaskError>) {
        if self.outputs.is_traced() {
            self.trace.end(done);
            self.outputs.made_by(None);
        }
    }

    /// A firing begins; one that comes of a batch is told of with that.
    #[must_use]
    pub fn begin_firing(&self) -> Option<Firing> {
        if self.outputs.is_traced() { None } else { self.trace.begin_firing() }
    }

    /// What came of a firing is made by its span, until [`end_firing`](Self::end_firing).
    pub fn fired(
        &mut self,
        firing: Option<Firing>,
        timers: usize,
        answer: Result<&Outcome, &Failure>,
    ) {
        if firing.is_some() {
            let made_by = self.trace.fired(firing, timers, answer);
            self.outputs.made_by(made_by);
        }
    }

    /// What came of a firing was sent on.
    pub fn end_firing(&mut self, firing: Option<Firing>) {
        if firing.is_some() {
            self.outputs.made_by(None);
        }
    }

    /// Sends on what an operator made of `batch`.
    ///
    /// # Errors
    /// If a reader is gone, or too many records were rejected.
    pub async fn forward(&mut self, batch: &Batch, outcome: Outcome) -> Result<(), TaskError> {
        if self.outputs.is_traced() {
            self.trace.answered(&outcome);
        }
        for (port, records) in outcome.emissions {
            self.outputs.emit(OutputPort::Number(port), records).await?;
        }
        if !outcome.rejected.is_empty() {
            let letters: Vec<DeadLetter> = outcome
                .rejected
                .into_iter()
                .map(|(index, reason)| {
                    let i = index as usize;
                    DeadLetter {
                        reason,
                        key: batch.key(i).to_vec(),
                        value: batch.value(i).to_vec(),
                        timestamp: batch.timestamp(i),
                    }
                })
                .collect();
            self.outputs.reject(&letters).await?;
            self.job_rejected.count(&letters)?;
        }
        Ok(())
    }

    /// Sends records that were too late to the late output.
    ///
    /// # Errors
    /// If a reader is gone.
    pub async fn late(&mut self, batch: &Batch, rows: &[u32]) -> Result<(), TaskError> {
        if !rows.is_empty() {
            add(&self.metrics.late, rows.len());
            self.outputs.emit(OutputPort::Late, batch.gather(rows)).await?;
        }
        Ok(())
    }

    /// A call crashed the guest again: says what is done about it.
    pub fn say_divided(&self, len: usize, failure: &Failure) {
        tracing::warn!(
            "{} crashed again on a call with {len} records or timers, which is now divided: {failure}",
            self.name
        );
    }

    /// Tells all that is known of a crash.
    pub async fn report_crash(
        &mut self,
        event: Recorded,
        before: Option<Vec<(KeyGroup, Vec<u8>)>>,
        failure: &Failure,
    ) {
        if self.capsules && failure.kind.breaks_call() {
            let segments = self.recorder.segments();
            let crash = Crash { failure: failure.clone(), event, before, segments };
            self.reporter.crashed(crash).await;
        }
    }

    /// What time it is, if that is to be recorded.
    #[must_use]
    pub fn now_if_recorded(&self) -> Option<Now> {
        self.recorder.is_on().then(|| self.now())
    }

    /// Sends what crashed the guest to the dead-letter output.
    ///
    /// # Errors
    /// If a reader is gone, or there were too many.
    pub async fn set_aside(
        &mut self,
        letter: DeadLetter,
        failure: &Failure,
    ) -> Result<(), TaskError> {
        tracing::warn!("{}: {}", self.name, letter.reason);
        self.watch.found(self.clock.now_millis(), failure)?;
        self.outputs.reject_with(&letter, &failure.backtrace).await?;
        self.job_rejected.count(&[letter])?;
        Ok(())
    }

    /// What time it is for a call.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { watermark: self.watermark(), processing: self.clock.now_millis() }
    }

    /// The watermark, once there is one.
    #[must_use]
    pub fn watermark(&self) -> Option<i64> {
        (self.watermark != watermark::NONE).then_some(self.watermark)
    }
}
