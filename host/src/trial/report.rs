//! What is told of a trial. There is room for so many bytes of it; what has none is counted.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;

use crate::{
    capsule::machine::Step,
    failure::{Failure, FailureKind, Fault},
    sandbox::{GuestMetrics, KeptLine},
    stream::Batch,
};

/// What a record takes beside its bytes, about.
const RECORD_BYTES: usize = 64;
/// How many backtraces, culprits and steps there may be is bounded by what is fed. Emissions to
/// so many ports are told apart.
const MOST_PORTS: usize = 64;

/// How a trial ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// It has not.
    #[default]
    Running,
    /// All records were taken.
    Finished,
    /// The operator failed.
    Failed,
    /// It took longer than it may.
    OutOfTime,
    /// Its slot was wanted for a job.
    SlotTaken,
}

/// What became of a trial.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// How it ended.
    pub ended: Ended,
    /// How the operator failed, if it did.
    pub failure: Option<Crash>,
    /// What it emitted, by port.
    pub outputs: Vec<Output>,
    /// Records that it rejected.
    pub rejected: Vec<Rejected>,
    /// Which records came after all their windows were closed, from 0.
    pub late: Vec<usize>,
    /// What it logged.
    pub logs: Vec<Line>,
    /// What it counted itself.
    pub metrics: GuestMetrics,
    /// What was done, in order.
    pub steps: Vec<StepSeen>,
    /// How many timers and windows were fired.
    pub fired: usize,
    /// What of its keyed state is left; none if it has none.
    pub state: Option<StateSeen>,
    /// From the slot's being granted to the end, in microseconds.
    pub took_micros: u64,
    /// How long the guest ran, in microseconds.
    pub cpu_micros: u64,
    /// How much fuel it used; 0 where that is not counted.
    pub fuel: u64,
    /// The most bytes that guest and state have held together, looked at after each step.
    pub peak_memory: usize,
    /// What is not told, since there was no room.
    pub left_out: LeftOut,
    #[serde(skip)]
    room: usize,
}

/// How an operator failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Crash {
    /// The class.
    pub kind: FailureKind,
    /// Who has to do something about it.
    pub fault: Fault,
    /// What happened, and what to do.
    pub message: String,
    /// Guest frames, innermost first.
    pub backtrace: Vec<String>,
    /// In which of the steps, from 0.
    pub step: usize,
    /// Which records crash it by themselves, from 0; none if none does, or it was no call about
    /// records.
    pub records: Vec<usize>,
    /// Whether these were all looked for.
    pub all_found: bool,
}

/// What was emitted to a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Which.
    pub port: u32,
    /// What it is called, if it has a name.
    pub name: Option<String>,
    /// How many records there were.
    pub count: u64,
    /// They, as far as there was room.
    pub records: Vec<Shown>,
}

/// A record. What is no text is in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as records are given")]
pub struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    /// In which of the steps it was emitted.
    pub step: usize,
}

/// A record that the operator rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// Which, from 0; none if it was a timer.
    pub record: Option<usize>,
    /// In which of the steps.
    pub step: usize,
    /// Why.
    pub reason: String,
}

/// A line that it logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// In which of the steps.
    pub step: usize,
    /// The line.
    #[serde(flatten)]
    pub line: KeptLine,
}

/// Something that was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct StepSeen {
    /// `open`, `batch`, `watermark`, `clock` or `finish`.
    pub event: &'static str,
    /// How many records came in.
    pub records: usize,
    /// How many were emitted.
    pub emitted: usize,
    /// How many were rejected.
    pub rejected: usize,
    /// How many were late.
    pub late: usize,
    /// How many timers and windows were fired.
    pub fired: usize,
    /// How long it took, in microseconds, with waiting for a core.
    pub micros: u64,
    /// How long the guest ran, in microseconds.
    pub cpu_micros: u64,
    /// How much fuel it used; 0 where that is not counted.
    pub fuel: u64,
    /// Bytes of guest and state after it: those of the guest never shrink.
    pub memory: usize,
}

/// Keyed state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StateSeen {
    /// How many keys, or keys and windows, have some.
    pub keys: usize,
    /// Bytes of all of it.
    pub bytes: usize,
}

/// What is not told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Records that were emitted.
    pub records: u64,
    /// Rejections.
    pub rejected: u64,
    /// Lines.
    pub lines: u64,
}

impl Report {
    fn take_room(&mut self, bytes: usize) -> bool {
        match self.room.checked_sub(bytes.saturating_add(RECORD_BYTES)) {
            Some(left) => {
                self.room = left;
                true
            }
            None => false,
        }
    }

    /// Takes what came of a step. `first`: which of the records its first one is, if it was
    /// about records.
    pub(super) fn add(&mut self, step: &Step, first: Option<usize>) {
        let at = self.steps.len();
        for (port, batch) in &step.emissions {
            self.emitted(at, *port, batch);
        }
        for (index, reason) in &step.rejected {
            let record = first.map(|first| first + *index as usize);
            if self.take_room(reason.len()) {
                self.rejected.push(Rejected { record, step: at, reason: reason.clone() });
            } else {
                self.left_out.rejected += 1;
            }
        }
        self.late.extend(step.late.iter().map(|i| first.unwrap_or(0) + *i as usize));
    }

    fn emitted(&mut self, step: usize, port: u32, batch: &Batch) {
        let known = self.outputs.iter().position(|output| output.port == port);
        let place = known.unwrap_or_else(|| {
            if self.outputs.len() < MOST_PORTS {
                self.outputs.push(Output { port, name: None, count: 0, records: Vec::new() });
            }
            self.outputs.len() - 1
        });
        if self.outputs[place].port != port {
            self.left_out.records += batch.len() as u64;
            return;
        }
        self.outputs[place].count += batch.len() as u64;
        for i in 0..batch.len() {
            if !self.take_room(batch.key(i).len() + batch.value(i).len()) {
                self.left_out.records += (batch.len() - i) as u64;
                break;
            }
            self.outputs[place].records.push(Shown::of(batch, i, step));
        }
    }
}

impl Shown {
    fn of(batch: &Batch, i: usize, step: usize) -> Self {
        let (key, key_base64) = batch.keys().map(|_| text_or_base64(batch.key(i))).unzip();
        let (value, value_base64) = text_or_base64(batch.value(i));
        Self {
            key: key.flatten(),
            key_base64: key_base64.flatten(),
            value,
            value_base64,
            timestamp: batch.timestamp(i),
            step,
        }
    }
}

fn text_or_base64(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64_STANDARD.encode(bytes))),
    }
}

impl Crash {
    pub(super) fn of(failure: Failure, step: usize) -> Self {
        let Failure { kind, message, backtrace } = failure;
        let records = Vec::new();
        Self { kind, fault: kind.fault(), message, backtrace, step, records, all_found: false }
    }
}

/// A report that is being written: whoever ends a trial takes what there is.
#[derive(Debug)]
pub(super) struct Writing(Mutex<Report>);

impl Writing {
    pub(super) fn new(room: usize) -> Self {
        Self(Mutex::new(Report { room, ..Report::default() }))
    }

    /// It is whole at every step, and nothing panics on the way.
    pub(super) fn lock(&self) -> MutexGuard<'_, Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is, with the names of ports. The outputs are in the order of ports.
    pub(super) fn take(&self, names: &[String]) -> Report {
        let mut report = std::mem::take(&mut *self.lock());
        let all: BTreeMap<u32, Output> =
            report.outputs.drain(..).map(|output| (output.port, output)).collect();
        report.outputs = all.into_values().collect();
        for output in &mut report.outputs {
            output.name = names.get(output.port as usize).cloned();
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::BatchBuilder;

    fn emission(values: &[&[u8]]) -> Batch {
        let mut builder = BatchBuilder::new();
        values.iter().for_each(|value| builder.push(Some(b"k"), value, Some(7)));
        builder.take()
    }

    #[test]
    fn what_has_no_room_is_counted_and_what_is_no_text_is_in_base64() {
        let writing = Writing::new(3 * (RECORD_BYTES + 4));
        let step = Step {
            emissions: vec![
                (1, emission(&[b"one", b"\xff\x00"])),
                (0, emission(&[b"two", b"six"])),
            ],
            rejected: vec![(2, "bad".to_owned())],
            late: vec![1],
        };
        writing.lock().add(&step, Some(10));
        let report = writing.take(&["main".to_owned()]);
        let ports: Vec<_> =
            report.outputs.iter().map(|o| (o.port, o.name.as_deref(), o.count)).collect();
        assert_eq!(ports, [(0, Some("main"), 2), (1, None, 2)]);
        let bytes = &report.outputs[1].records[1];
        assert_eq!((bytes.value.as_deref(), bytes.value_base64.as_deref()), (None, Some("/wA=")));
        assert_eq!(report.outputs[0].records.len(), 1);
        assert_eq!(report.left_out, LeftOut { records: 1, rejected: 1, lines: 0 });
        assert_eq!(report.late, [11]);
    }

    #[test]
    fn ports_without_number_are_bounded() {
        let writing = Writing::new(usize::MAX);
        let emissions = (0..100).map(|port| (port, emission(&[b"x"]))).collect();
        writing.lock().add(&Step { emissions, ..Step::default() }, None);
        let report = writing.take(&[]);
        assert_eq!((report.outputs.len(), report.left_out.records), (MOST_PORTS, 36));
    }
}
