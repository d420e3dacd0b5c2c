//! What is done with an operator that is tried, in order: it is opened, takes each batch, is told
//! how far event time has come, and that the input has ended. All of it is written down as it
//! happens, so that whoever ends it early knows how far it came.

use std::sync::Arc;

use super::{
    feed::{Feed, Portion},
    report::{Crash, Ended, Line, StateSeen, StepSeen, Writing},
};
use crate::{
    capsule::machine::{Crashed, Machine, Step},
    clock::{Clock, Stopwatch},
    failure::Failure,
    sandbox::{Artifact, KeptLog, Now, OperatorKind, SlotSettings},
    state::windows::Windows,
    stream::watermark::{BoundedOutOfOrderness, END, NONE},
    task_manager::{gate::turn::breathe, recorder::Recorded, work::Work},
};

/// What it takes.
pub(super) struct Drive {
    pub(super) artifact: Artifact,
    pub(super) slot: SlotSettings,
    pub(super) windows: Option<Windows>,
    pub(super) feed: Feed,
    pub(super) clock: Clock,
    pub(super) log: Arc<KeptLog>,
    pub(super) writing: Arc<Writing>,
}

/// Does all of it.
pub(super) async fn drive(drive: Drive) {
    let Drive { artifact, slot, windows, feed, clock, log, writing } = drive;
    let (keyed, cpu) = (matches!(artifact.kind(), OperatorKind::Keyed { .. }), slot.cpu.clone());
    let metrics = slot.metrics.clone();
    let watch = Stopwatch::start();
    let opened = Machine::fresh(artifact, slot, windows).await;
    let seen = Seen { keyed, feed, clock, log, writing, metrics };
    let mut step = StepSeen { event: "open", micros: watch.micros(), ..StepSeen::default() };
    step.cpu_micros = cpu.total_nanos() / 1_000;
    step.fuel = cpu.total_fuel();
    match opened {
        Ok(mut machine) => {
            step.memory = machine.memory();
            seen.done(step, &machine, &Step::default(), None);
            if let Err(crashed) = seen.feed_all(&mut machine).await {
                seen.failed(&mut machine, crashed).await;
            } else {
                seen.writing.lock().ended = Ended::Finished;
            }
        }
        Err(failure) => {
            let report = &mut *seen.writing.lock();
            (report.cpu_micros, report.fuel) = (step.cpu_micros, step.fuel);
            report.steps.push(step);
            report.failure = Some(Crash { all_found: true, ..Crash::of(failure, 0) });
            report.ended = Ended::Failed;
            seen.keep_lines(report, 0);
        }
    }
}

/// An operator that is being tried, and who looks on.
struct Seen {
    keyed: bool,
    feed: Feed,
    clock: Clock,
    log: Arc<KeptLog>,
    writing: Arc<Writing>,
    metrics: Arc<std::sync::Mutex<crate::sandbox::GuestMetrics>>,
}

/// A crash, and which record its call began with.
struct CrashedAt {
    crashed: Box<Crashed>,
    first: Option<usize>,
}

impl From<Failure> for CrashedAt {
    fn from(failure: Failure) -> Self {
        Self { crashed: Box::new(failure.into()), first: None }
    }
}

impl Seen {
    async fn feed_all(&self, machine: &mut Machine) -> Result<(), CrashedAt> {
        let mut times = BoundedOutOfOrderness::new(self.feed.out_of_orderness);
        let mut watermark = NONE;
        for (i, portion) in self.feed.portions().into_iter().enumerate() {
            if self.feed.restart_every.is_some_and(|every| i > 0 && i.is_multiple_of(every.max(1)))
            {
                machine.restart().await?;
            }
            let now = self.now(watermark, 0);
            let event_times = portion.batch.timestamps().cloned();
            self.take_batch(machine, now, portion).await?;
            let came_to = event_times.map_or(NONE, |times_of| times.observe(&times_of));
            if came_to > watermark {
                watermark = came_to;
                self.fire(machine, self.now(watermark, 0), false).await?;
            }
            self.fire(machine, self.now(watermark, 0), true).await?;
            breathe().await;
        }
        if self.feed.advance_clock > 0 {
            self.fire(machine, self.now(watermark, self.feed.advance_clock), true).await?;
        }
        if self.feed.close {
            if self.keyed {
                self.fire(machine, self.now(END, self.feed.advance_clock), false).await?;
            } else {
                let watch = Watched::start(machine, "finish");
                let step = machine.step(&Recorded::Finish).await;
                self.stepped(machine, watch, step, None)?;
            }
        }
        Ok(())
    }

    fn now(&self, watermark: i64, later: i64) -> Now {
        let watermark = (watermark != NONE).then_some(watermark);
        Now { watermark, processing: self.clock.now_millis().saturating_add(later) }
    }

    async fn take_batch(
        &self,
        machine: &mut Machine,
        now: Now,
        Portion { first, port, batch }: Portion,
    ) -> Result<(), CrashedAt> {
        let mut watch = Watched::start(machine, "batch");
        watch.seen.records = batch.len();
        let step = machine.step(&Recorded::Batch { port, now, batch }).await;
        self.stepped(machine, watch, step, Some(first))
    }

    /// Fires all that is due. One step of the report, however many calls it takes.
    async fn fire(&self, machine: &mut Machine, now: Now, by_clock: bool) -> Result<(), CrashedAt> {
        let mut watch = Watched::start(machine, if by_clock { "clock" } else { "watermark" });
        loop {
            match machine.fire_some(now, by_clock).await {
                Ok(None) => break,
                Ok(Some((step, fired))) => {
                    watch.seen.fired += fired;
                    watch.add(&step);
                    self.writing.lock().add(&step, None);
                    machine.charge_state()?;
                }
                Err(crashed) => {
                    self.done(watch.end(machine), machine, &Step::default(), None);
                    return Err(CrashedAt { crashed: Box::new(crashed), first: None });
                }
            }
            // An operator that always sets the next timer must not hold a thread.
            breathe().await;
        }
        if watch.seen.fired > 0 {
            self.done(watch.end(machine), machine, &Step::default(), None);
        }
        Ok(())
    }

    fn stepped(
        &self,
        machine: &Machine,
        mut watch: Watched,
        step: Result<Step, Crashed>,
        first: Option<usize>,
    ) -> Result<(), CrashedAt> {
        let (step, crashed) = match step {
            Ok(step) => (step, None),
            Err(crashed) => (Step::default(), Some(crashed)),
        };
        watch.add(&step);
        self.done(watch.end(machine), machine, &step, first);
        match crashed {
            Some(crashed) => Err(CrashedAt { crashed: Box::new(crashed), first }),
            None => Ok(machine.charge_state()?),
        }
    }

    /// Writes a step down.
    fn done(&self, seen: StepSeen, machine: &Machine, step: &Step, first: Option<usize>) {
        let report = &mut *self.writing.lock();
        report.add(step, first);
        report.fired += seen.fired;
        report.cpu_micros = machine.guest_nanos() / 1_000;
        report.fuel = machine.guest_fuel();
        report.peak_memory = machine.most_memory();
        report.state = machine.state_size().map(|(keys, bytes)| StateSeen { keys, bytes });
        let at = report.steps.len();
        report.steps.push(seen);
        self.keep_lines(report, at);
    }

    fn keep_lines(&self, report: &mut super::Report, step: usize) {
        report.logs.extend(self.log.take().into_iter().map(|line| Line { step, line }));
        let metrics = self.metrics.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        report.metrics = metrics.clone();
        report.left_out.lines = self.log.dropped() + metrics.dropped_log_lines;
    }

    /// Writes down how it failed, and looks for the records that are to blame.
    async fn failed(&self, machine: &mut Machine, CrashedAt { crashed, first }: CrashedAt) {
        let Crashed { failure, work } = *crashed;
        {
            let report = &mut *self.writing.lock();
            let step = report.steps.len().saturating_sub(1);
            report.failure = Some(Crash::of(failure, step));
            report.ended = Ended::Failed;
        }
        let (found, all) = match (work, first) {
            (Some((now, work @ Work::Batch(..))), Some(first)) => {
                let found = machine.culprits(now, &work).await;
                let (found, all) = found.unwrap_or_default();
                (found.iter().map(|culprit| first + culprit.index).collect(), all)
            }
            _ => (Vec::new(), true),
        };
        let report = &mut *self.writing.lock();
        report.cpu_micros = machine.guest_nanos() / 1_000;
        report.fuel = machine.guest_fuel();
        report.peak_memory = machine.most_memory();
        // What it says in further calls about the same records is told no second time.
        drop(self.log.take());
        if let Some(crash) = &mut report.failure {
            (crash.records, crash.all_found) = (found, all);
        }
    }
}

/// A step, while it is done.
struct Watched {
    watch: Stopwatch,
    cpu: u64,
    fuel: u64,
    seen: StepSeen,
}

impl Watched {
    fn start(machine: &Machine, event: &'static str) -> Self {
        Self {
            watch: Stopwatch::start(),
            cpu: machine.guest_nanos(),
            fuel: machine.guest_fuel(),
            seen: StepSeen { event, ..StepSeen::default() },
        }
    }

    fn add(&mut self, step: &Step) {
        self.seen.emitted += step.emitted();
        self.seen.rejected += step.rejected.len();
        self.seen.late += step.late.len();
    }

    fn end(mut self, machine: &Machine) -> StepSeen {
        self.seen.micros = self.watch.micros();
        self.seen.cpu_micros = machine.guest_nanos().saturating_sub(self.cpu) / 1_000;
        self.seen.fuel = machine.guest_fuel().saturating_sub(self.fuel);
        self.seen.memory = machine.memory();
        self.seen
    }
}
