//! A trial from its slot to its end. It ends when the operator has taken everything or failed, when
//! its time is over, when its slot is wanted for a job, and when nobody waits for it any more;
//! and only when the guest is gone, its slot is free again.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    task::{JoinError, JoinSet},
    time::sleep,
};

use super::{
    drive::{Drive, drive},
    feed::Feed,
    report::{Crash, Ended, Report, Writing},
    slot::{self, Held, NotRun, PRIORITY},
};
use crate::{
    clock::{Clock, Stopwatch},
    config::job::OperatorSpec,
    failure::{Failure, FailureKind},
    ids::TenantId,
    sandbox::{Artifact, KeptLog, LogBudget},
    state::windows::Windows,
    task_manager::TaskManager,
};

/// Bytes of an operator's lines that are told.
const LOG_BYTES: usize = 128 << 10;

/// What a trial may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long it waits for a slot.
    pub patience: Duration,
    /// How long it may take then, with waiting for a core.
    pub time: Duration,
    /// Bytes of what it emits and rejects that are told.
    pub output: usize,
}

/// What is to be tried.
#[derive(Debug)]
pub struct Trial {
    /// Whose slot it is to have.
    pub tenant: TenantId,
    /// The operator.
    pub artifact: Artifact,
    /// Its settings, as in a job file: of them its name, window, memory, deadline, cap, ports,
    /// inputs and configuration.
    pub spec: OperatorSpec,
    /// What it is fed.
    pub feed: Feed,
    /// What that may take.
    pub limits: Limits,
    /// What time it is.
    pub clock: Clock,
}

/// Tries an operator. Whoever drops this ends the trial.
///
/// # Errors
/// If there is no slot for it, or no memory.
pub async fn run(task_manager: &TaskManager, trial: Trial) -> Result<Report, NotRun> {
    let Trial { tenant, artifact, spec, feed, limits, clock } = trial;
    let wanted = (spec.memory, limits.patience);
    let held = Held::take(task_manager, &tenant, &spec.name, &artifact, wanted).await?;
    let watch = Stopwatch::start();
    let log = Arc::new(KeptLog::new(LOG_BYTES));
    let lines = LogBudget::keeping(Arc::from(spec.name.as_str()), clock.clone(), log.clone());
    let given = (held.meter.clone(), task_manager.gate.meter(&tenant, spec.cpu_cap));
    let mut slot = slot::settings((&tenant, &spec), given, lines);
    slot.deadline = spec.deadline.min(limits.time);
    let windows = spec.window.as_ref().map(Windows::new);
    let writing = Arc::new(Writing::new(limits.output));
    let work = drive(Drive { artifact, slot, windows, feed, clock, log, writing: writing.clone() });
    let mut guest = JoinSet::new();
    let turns = task_manager.gate.enter(&tenant, PRIORITY).turns(Box::pin(work));
    task_manager.workers.spawn(&mut guest, turns);
    let (answer, answered) = oneshot::channel();
    tokio::spawn(watch_over(guest, held, limits.time, answer));
    let end = answered.await.unwrap_or(End::Broken);
    let names: Vec<String> = spec.ports.iter().map(ToString::to_string).collect();
    let mut report = writing.take(&names);
    report.took_micros = watch.micros();
    end.write(&mut report, limits.time);
    Ok(report)
}

/// What ended a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All was done that was to be done.
    Itself,
    /// Its time was over.
    OutOfTime,
    /// Its slot was wanted.
    SlotTaken,
    /// A bug of ours.
    Broken,
}

/// Holds the slot until the guest is gone, whatever ends it, and then says what did.
async fn watch_over(
    mut guest: JoinSet<()>,
    mut held: Held,
    time: Duration,
    mut answer: oneshot::Sender<End>,
) {
    let end = tokio::select! {
        joined = guest.join_next() => how_it_joined(joined),
        () = sleep(time) => End::OutOfTime,
        _ = held.place.asked_back() => End::SlotTaken,
        () = answer.closed() => End::Itself,
    };
    guest.shutdown().await;
    drop(held);
    // Nobody may wait for it any more.
    let _ = answer.send(end);
}

fn how_it_joined(joined: Option<Result<(), JoinError>>) -> End {
    match joined {
        Some(Ok(())) => End::Itself,
        Some(Err(error)) => {
            tracing::error!("a bug in cofferdam: a trial ended without a word: {error}");
            End::Broken
        }
        None => End::Broken,
    }
}

impl End {
    /// What the report does not know yet. A failure that was written down stays.
    fn write(self, report: &mut Report, time: Duration) {
        if report.ended != Ended::Running {
            return;
        }
        let (ended, kind, message) = match self {
            Self::OutOfTime => (
                Ended::OutOfTime,
                FailureKind::DeadlineExceeded,
                format!(
                    "the trial took longer than the {time:?} that it may, of which the guest ran for \
                     {} ms; try fewer records, or look for an operator that goes on for ever",
                    report.cpu_micros / 1_000
                ),
            ),
            Self::SlotTaken => {
                report.ended = Ended::SlotTaken;
                return;
            }
            Self::Itself | Self::Broken => (
                Ended::Failed,
                FailureKind::HostBug,
                "a bug in cofferdam ended the trial: the log says more".to_owned(),
            ),
        };
        report.ended = ended;
        let step = report.steps.len().saturating_sub(1);
        report.failure = Some(Crash::of(Failure::new(kind, message), step));
    }
}
