//! Feeds a capsule to its operator, or to another build of it: whether it crashes again,
//! how, and on which record.

use std::time::Duration;

use serde::Serialize;

use crate::{
    capsule::{
        machine::{Crashed, Culprit, Machine},
        model::{Capsule, From},
    },
    clock::Stopwatch,
    failure::Failure,
    sandbox::Artifact,
    task_manager::recorder::Recorded,
};

/// What a replay came to.
#[derive(Debug)]
pub struct Replay {
    /// The component that was run, in hexadecimal.
    pub digest: String,
    /// What happened in each event, in order, up to the crash.
    pub steps: Vec<StepReport>,
    /// The crash, if there was one.
    pub crash: Option<CrashReport>,
    /// How long all of that took.
    pub took: Duration,
    /// How long the guest ran.
    pub guest_nanos: u64,
    /// The most bytes that the guest and its state took.
    pub most_memory: usize,
}

/// An event of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepReport {
    /// What it was: `batch`, `watermark`, `clock`, `finish`.
    pub event: &'static str,
    /// How many records came in.
    pub records: usize,
    /// How many were emitted.
    pub emitted: usize,
    /// How many were rejected.
    pub rejected: usize,
    /// How long it took, in microseconds.
    pub micros: u64,
}

/// A crash in a replay.
#[derive(Debug)]
pub struct CrashReport {
    /// In which event, from 0.
    pub event: usize,
    /// How.
    pub failure: Failure,
    /// Which records or timers of the event crash the guest by themselves. None: only
    /// all of them together, or it was a call about no record.
    pub culprits: Vec<Culprit>,
    /// Whether these are all.
    pub all_found: bool,
    /// Whether this is what the capsule says that happened.
    pub as_before: bool,
}

/// Feeds a capsule to a component.
///
/// # Errors
/// If the operator cannot be opened, or does not take the capsule's state.
pub async fn replay(artifact: Artifact, capsule: &Capsule) -> Result<Replay, Failure> {
    let digest = artifact.digest().to_owned();
    let whole = Stopwatch::start();
    let mut machine = Machine::start(artifact, capsule).await?;
    let (mut steps, mut crash) = (Vec::new(), None);
    // They were looked at when the capsule was read.
    for (i, event) in capsule.recorded().unwrap_or_default().iter().enumerate() {
        let clock = Stopwatch::start();
        let stepped = machine.step(event).await;
        let mut report = StepReport {
            event: word(event),
            records: records(event),
            emitted: 0,
            rejected: 0,
            micros: u64::try_from(clock.elapsed().as_micros()).unwrap_or(u64::MAX),
        };
        match stepped {
            Ok(step) => {
                (report.emitted, report.rejected) = (step.emitted(), step.rejected.len());
                steps.push(report);
            }
            Err(crashed) => {
                steps.push(report);
                crash = Some(look_into(&mut machine, capsule, i, crashed).await);
                break;
            }
        }
    }
    Ok(Replay {
        digest,
        steps,
        crash,
        took: whole.elapsed(),
        guest_nanos: machine.guest_nanos(),
        most_memory: machine.most_memory(),
    })
}

async fn look_into(
    machine: &mut Machine,
    capsule: &Capsule,
    event: usize,
    Crashed { failure, work }: Crashed,
) -> CrashReport {
    let found = match work {
        Some((now, work)) => machine.culprits(now, &work).await.unwrap_or_default(),
        None => (Vec::new(), true),
    };
    let as_before = capsule.failure.as_ref().is_some_and(|before| is_same(before, &failure));
    CrashReport { event, failure, culprits: found.0, all_found: found.1, as_before }
}

/// Whether two failures are the same crash: of the same class, in the same functions, or,
/// where none are known, in the same words.
fn is_same(one: &Failure, other: &Failure) -> bool {
    fn functions(failure: &Failure) -> Vec<&str> {
        // Without the place, which another build has elsewhere.
        let name = |frame: &'_ String| frame.split(" (").next().unwrap_or_default().len();
        failure.backtrace.iter().map(|frame| &frame[..name(frame)]).collect()
    }
    let known = !one.backtrace.is_empty() && !other.backtrace.is_empty();
    one.kind == other.kind
        && if known { functions(one) == functions(other) } else { one.message == other.message }
}

fn word(event: &Recorded) -> &'static str {
    match event {
        Recorded::Batch { .. } => "batch",
        Recorded::Watermark { .. } => "watermark",
        Recorded::Clock { .. } => "clock",
        Recorded::Finish => "finish",
    }
}

fn records(event: &Recorded) -> usize {
    match event {
        Recorded::Batch { batch, .. } => batch.len(),
        _ => 0,
    }
}

impl Capsule {
    /// What its state is of, in words.
    #[must_use]
    pub fn begins(&self) -> String {
        match self.from {
            From::Beginning => "the beginning, without state".to_owned(),
            From::Checkpoint(id) => format!("checkpoint {id}"),
            From::Call => "just before the call, with the state of its keys".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureKind;

    #[test]
    fn a_crash_is_the_same_if_it_is_in_the_same_functions_whatever_their_lines() {
        let failure = |message: &str, frames: &[&str]| Failure {
            kind: FailureKind::GuestTrap,
            message: message.to_owned(),
            backtrace: frames.iter().map(|frame| (*frame).to_owned()).collect(),
        };
        let one = failure("at 1", &["f (a.rs:1)", "g"]);
        assert!(is_same(&one, &failure("at 2", &["f (a.rs:2)", "g"])));
        assert!(!is_same(&one, &failure("at 1", &["g"])));
        assert!(is_same(&failure("x", &[]), &failure("x", &[])));
        assert!(!is_same(&failure("x", &[]), &failure("y", &["f"])));
        let other = Failure { kind: FailureKind::OutOfMemory, ..one.clone() };
        assert!(!is_same(&one, &other));
    }
}
