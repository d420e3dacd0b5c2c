//! How fast an operator is: it is fed the same records again and again, in batches as a job would
//! have them, by itself on one thread, and what it emits is dropped.

use std::{sync::Arc, time::Duration};

use super::{Feed, report::Crash, slot};
use crate::{
    capsule::machine::{Crashed, Machine},
    clock::{Clock, Stopwatch},
    config::job::OperatorSpec,
    ids::TenantId,
    memory::SlotMeter,
    sandbox::{Artifact, CpuMeter, KeptLog, LogBudget, Now},
    state::windows::Windows,
    stream::batch::TARGET_RECORDS,
    task_manager::recorder::Recorded,
};

/// How many records there are at least before they come again.
const RECORDS: usize = 8 * TARGET_RECORDS;

/// What was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Pace {
    /// How many records were fed.
    pub records: u64,
    /// In how many batches.
    pub batches: u64,
    /// How long that took.
    pub nanos: u64,
    /// How long of it the guest ran.
    pub guest_nanos: u64,
    /// How long it took to make an instance and to open it.
    pub open_nanos: u64,
    /// From then on until the first batch, of one record, was answered.
    pub first_record_nanos: u64,
    /// Bytes of the instance and its state at the end.
    pub memory: usize,
}

impl Pace {
    /// Nanoseconds a record.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn nanos_a_record(&self) -> f64 {
        self.nanos as f64 / self.records.max(1) as f64
    }
}

/// Feeds records for so long at least, after as long again by which it gets warm.
///
/// # Errors
/// How the operator failed, if it did.
pub async fn measure(
    artifact: &Artifact,
    spec: &OperatorSpec,
    feed: &Feed,
    time: Duration,
) -> Result<Pace, Crash> {
    let clock = Clock::default();
    let cpu = CpuMeter { work: Some(Arc::default()), caps: Vec::new() };
    let memory = SlotMeter::alone(spec.memory);
    let log =
        LogBudget::keeping(Arc::from(spec.name.as_str()), clock.clone(), Arc::new(KeptLog::new(0)));
    let slot = slot::settings((&TenantId::default(), spec), (memory, cpu.clone()), log);
    let crash = |failure| Crash::of(failure, 0);
    let watch = Stopwatch::start();
    let windows = spec.window.as_ref().map(Windows::new);
    let mut machine = Machine::fresh(artifact.clone(), slot, windows).await.map_err(crash)?;
    let mut pace = Pace { open_nanos: watch.nanos(), ..Pace::default() };
    let mut first = feed.clone();
    first.samples.truncate(1);
    let now = Now { watermark: None, processing: clock.now_millis() };
    for portion in first.portions() {
        take(&mut machine, now, portion.port, portion.batch).await?;
    }
    pace.first_record_nanos = watch.nanos() - pace.open_nanos;
    let batches = repeated(feed).portions();
    let mut measured = false;
    loop {
        let (watch, ran) = (Stopwatch::start(), cpu.total_nanos());
        (pace.records, pace.batches) = (0, 0);
        while watch.elapsed() < time && !batches.is_empty() {
            for portion in &batches {
                take(&mut machine, now, portion.port, portion.batch.clone()).await?;
                pace.records += portion.batch.len() as u64;
                pace.batches += 1;
            }
        }
        (pace.nanos, pace.guest_nanos) = (watch.nanos(), cpu.total_nanos() - ran);
        if std::mem::replace(&mut measured, true) {
            break;
        }
    }
    pace.memory = machine.memory();
    Ok(pace)
}

async fn take(
    machine: &mut Machine,
    now: Now,
    port: u32,
    batch: crate::stream::Batch,
) -> Result<(), Crash> {
    let step = machine.step(&Recorded::Batch { port, now, batch }).await;
    let charged = match step {
        Ok(_) => machine.charge_state(),
        Err(Crashed { failure, .. }) => Err(failure),
    };
    charged.map_err(|failure| Crash::of(failure, 0))
}

/// The records, as often as it takes to fill some batches.
fn repeated(feed: &Feed) -> Feed {
    let each = feed.samples.len().max(1);
    let mut feed = feed.clone();
    feed.batch_records = TARGET_RECORDS;
    let samples = feed.samples.clone();
    for _ in 1..RECORDS.div_ceil(each) {
        feed.samples.extend_from_slice(&samples);
    }
    feed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::Sample;

    #[test]
    fn a_few_records_become_whole_batches() {
        let sample = Sample { port: 0, key: None, value: b"v".to_vec(), timestamp: None };
        let feed = Feed { samples: vec![sample; 3], batch_records: 2, ..Feed::default() };
        let portions = repeated(&feed).portions();
        assert!(portions.iter().map(|p| p.batch.len()).sum::<usize>() >= RECORDS);
        assert_eq!(portions[0].batch.len(), TARGET_RECORDS);
        assert!(repeated(&Feed::default()).portions().is_empty());
    }
}
