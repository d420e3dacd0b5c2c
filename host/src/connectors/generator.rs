//! The `generator` source: records made up from a seed. Record `i` depends on
//! the seed and on `i` only, so that it does not matter who makes it, or when.
//! What the records look like is in `generator_values`.
//!
//! Records are numbered from 0 and dealt in runs of [`RUN`] to [`SPLITS`] splits;
//! a subtask makes the runs of its splits in the order of their numbers. So
//! every parallelism makes the same records, each subtask in order of event
//! time, and a job can be resumed with another parallelism.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{
    config::job::{GeneratorSource, GeneratorValues},
    stream::{
        Batch, Column,
        batch::{TARGET_BYTES, TARGET_RECORDS},
    },
};

use super::{
    ConnectorContext, ConnectorError, Source, SourceEvent, SplitPositions,
    generator_values::{Keys, Values},
};

/// How many splits there are; more parallel instances than that have no work.
pub(crate) const SPLITS: u64 = 64;
/// How many records in a row belong to the same split.
const RUN: u64 = 128;
/// With a rate, records are handed over in batches of so many milliseconds' worth.
const PACE_MILLIS: u64 = 5;

/// Where one split stands.
struct Split {
    number: u64,
    /// The number of its next record, whether or not there still is one.
    next: u64,
}

impl Split {
    /// After making `count` records that do not cross the end of a run.
    fn advance(&mut self, count: u64) {
        self.next += count;
        if self.next.is_multiple_of(RUN) {
            self.next = self.next.saturating_add(RUN * (SPLITS - 1));
        }
    }
}

/// Makes up records.
pub(crate) struct Generator {
    end: u64,
    start: i64,
    step_micros: u64,
    splits: Vec<Split>,
    keys: Option<Keys>,
    values: Values,
    batch_size: usize,
    pace: Option<Pace>,
}

impl Generator {
    pub(crate) fn open(
        spec: &GeneratorSource,
        context: ConnectorContext,
        restore: Option<&SplitPositions>,
    ) -> Result<Self, ConnectorError> {
        let mut splits = Vec::new();
        for number in
            (0..SPLITS).filter(|n| n % u64::from(context.parallelism) == u64::from(context.subtask))
        {
            let next = match restore.and_then(|r| r.get(&split_name(number))) {
                None => number * RUN,
                Some(saved) => postcard::from_bytes(saved).map_err(|error| {
                    let reason = format!("its saved position is damaged: {error}");
                    ConnectorError::CannotResume { path: "generator".into(), reason }
                })?,
            };
            splits.push(Split { number, next });
        }
        let batch_size = match &spec.values {
            GeneratorValues::Bytes(size) => {
                (TARGET_BYTES / (*size).max(1)).clamp(1, TARGET_RECORDS)
            }
            _ => TARGET_RECORDS,
        };
        // Each subtask makes its share of the rate, by the splits it has.
        let pace =
            spec.rate.map(|rate| Pace::new(rate as f64 * splits.len() as f64 / SPLITS as f64));
        Ok(Self {
            end: spec.records.unwrap_or(u64::MAX),
            start: spec.start,
            step_micros: spec.step_micros,
            splits,
            keys: spec.keys.map(|keys| Keys::new(keys, spec.seed)),
            values: Values::new(&spec.values, spec.seed),
            batch_size,
            pace,
        })
    }

    /// Makes up to so many records, or none if all are made.
    fn make(&mut self, limit: usize) -> Batch {
        let limit = limit.min(self.batch_size);
        let mut keys = self.keys.as_ref().map(|k| Column::with_capacity(limit, limit * k.width()));
        let mut keys_out = Vec::with_capacity(self.keys.as_ref().map_or(0, |k| k.width() * limit));
        let mut values = Column::with_capacity(limit, TARGET_BYTES + TARGET_BYTES / 8);
        let mut times = Vec::with_capacity(limit);
        while times.len() < limit && values.data().len() < TARGET_BYTES {
            let Some(split) = self.splits.iter_mut().min_by_key(|s| s.next) else { break };
            if split.next >= self.end {
                break;
            }
            let room = (limit - times.len()) as u64;
            let count = room.min(RUN - split.next % RUN).min(self.end - split.next);
            let records = split.next..split.next + count;
            split.advance(count);
            if let Some(keys) = &self.keys {
                keys.write(records.clone(), &mut keys_out);
            }
            self.values.write(records.clone(), self.keys.as_ref(), &mut values);
            write_times(self.start, self.step_micros, records, &mut times);
        }
        if let (Some(column), Some(layout)) = (&mut keys, &self.keys) {
            *column = layout.column(keys_out, times.len());
        }
        Batch::new(times.len(), keys.map(Arc::new), Some(Arc::new(values)), Some(Arc::new(times)))
    }
}

/// Event times of consecutive records.
fn write_times(start: i64, step_micros: u64, records: std::ops::Range<u64>, out: &mut Vec<i64>) {
    let micros = u128::from(records.start) * u128::from(step_micros);
    let base = start.saturating_add(i64::try_from(micros / 1000).unwrap_or(i64::MAX));
    let rest = (micros % 1000) as u64;
    let count = records.end - records.start;
    if step_micros.is_multiple_of(1000) {
        let step = i64::try_from(step_micros / 1000).unwrap_or(i64::MAX);
        out.extend((0..count).map(|i| base.saturating_add(step.saturating_mul(i as i64))));
    } else {
        let since = |i: u64| rest.saturating_add(i.saturating_mul(step_micros)) / 1000;
        out.extend((0..count).map(|i| base.saturating_add(since(i) as i64)));
    }
}

/// When records are due. Time that was lost to backpressure is made up for, so
/// that the average holds.
struct Pace {
    per_second: f64,
    started: Option<Instant>,
    made: u64,
}

/// What a [`Pace`] says.
#[derive(Debug, PartialEq)]
enum Due {
    /// So many may be made now.
    Now(usize),
    /// There is nothing to do until so long after the start.
    At(Duration),
}

impl Pace {
    fn new(per_second: f64) -> Self {
        Self { per_second, started: None, made: 0 }
    }

    /// Waits until it is worthwhile to make some, and says how many. Can be
    /// cancelled: nothing changes before [`made`](Self::made).
    async fn due(&mut self, most: usize) -> usize {
        let started = *self.started.get_or_insert_with(Instant::now);
        loop {
            match self.decide(started.elapsed(), most) {
                Due::Now(count) => return count,
                Due::At(since_start) => match started.checked_add(since_start) {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                },
            }
        }
    }

    /// How many records are due so long after the start, or when there will be some.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and most"
    )]
    fn decide(&self, elapsed: Duration, most: usize) -> Due {
        let portion = self.per_second * PACE_MILLIS as f64 / 1000.0;
        let portion = portion.clamp(1.0, most as f64).floor();
        let due = (elapsed.as_secs_f64() * self.per_second).floor() - self.made as f64;
        if due >= portion {
            return Due::Now((due as usize).min(most));
        }
        let at = (self.made as f64 + portion) / self.per_second;
        // A microsecond more, so that rounding does not wake us just before it is time.
        let at = Duration::try_from_secs_f64(at + 1e-6);
        Due::At(at.unwrap_or(Duration::MAX))
    }

    fn made(&mut self, count: usize) {
        self.made += count as u64;
    }
}

fn split_name(number: u64) -> String {
    format!("generator-{number}")
}

#[async_trait]
impl Source for Generator {
    async fn next(&mut self) -> Result<SourceEvent, ConnectorError> {
        let mut limit = self.batch_size;
        let finished = self.splits.iter().all(|split| split.next >= self.end);
        if let Some(pace) = &mut self.pace
            && !finished
        {
            limit = pace.due(limit).await;
        }
        let batch = self.make(limit);
        if batch.is_empty() {
            return Ok(SourceEvent::End);
        }
        if let Some(pace) = &mut self.pace {
            pace.made(batch.len());
        }
        Ok(SourceEvent::Batch { batch, rejected: Vec::new() })
    }

    fn positions(&self) -> SplitPositions {
        let encode = |next| postcard::to_stdvec(&next).expect("a number can be encoded");
        self.splits.iter().map(|split| (split_name(split.number), encode(split.next))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::job::GeneratorField,
        connectors::file_source::testing::{self, Record, alone, drain},
    };
    use proptest::prelude::*;

    fn spec(records: u64, values: GeneratorValues) -> GeneratorSource {
        GeneratorSource {
            records: Some(records),
            rate: None,
            seed: 7,
            keys: Some(100),
            start: 1000,
            step_micros: 1500,
            values,
        }
    }

    fn fields() -> GeneratorValues {
        GeneratorValues::Fields(vec![
            ("n".into(), GeneratorField::Sequence(5)),
            ("u".into(), GeneratorField::Uniform(-1.0, 1.0)),
            ("o".into(), GeneratorField::OneOf(vec!["a\"".into(), "b".into()])),
        ])
    }

    fn all(spec: &GeneratorSource, context: ConnectorContext) -> Vec<Record> {
        drain(&mut Generator::open(spec, context, None).unwrap()).0
    }

    #[test]
    fn one_instance_makes_records_in_order_of_event_time() {
        let records = all(&spec(3000, GeneratorValues::Bytes(100)), alone());
        assert_eq!(records.len(), 3000);
        for (i, (key, value, time)) in records.iter().enumerate() {
            assert_eq!(*time, Some(1000 + i as i64 * 3 / 2));
            assert_eq!((key.len(), value.len()), (11, 100));
            assert!(value.iter().all(|b| b.is_ascii_graphic()));
        }
        let mut other = spec(3000, GeneratorValues::Bytes(100));
        other.seed = 8;
        assert_ne!(all(&other, alone())[0], records[0]);
    }

    #[test]
    fn batches_have_the_target_size() {
        let mut source =
            Generator::open(&spec(u64::MAX, GeneratorValues::Bytes(100)), alone(), None).unwrap();
        assert_eq!(source.make(usize::MAX).len(), TARGET_BYTES / 100);
        let mut small =
            Generator::open(&spec(u64::MAX, GeneratorValues::Bytes(8)), alone(), None).unwrap();
        assert_eq!(small.make(usize::MAX).len(), TARGET_RECORDS);
    }

    #[test]
    fn a_rate_is_kept_and_lost_time_made_up_for() {
        let (mut pace, mut now) = (Pace::new(1000.0), Duration::ZERO);
        for _ in 0..200 {
            match pace.decide(now, 100) {
                Due::Now(count) => {
                    assert_eq!(count, 5, "5 ms' worth at a time");
                    pace.made(count);
                }
                Due::At(at) => {
                    assert!(at > now && at - now < Duration::from_millis(6));
                    now = at;
                }
            }
        }
        assert_eq!(pace.made, 500);
        assert!((now.as_secs_f64() - 0.5).abs() < 0.001, "{now:?}");
        assert_eq!(pace.decide(now + Duration::from_secs(1), 100), Due::Now(100));
        assert_eq!(
            Pace::new(0.5).decide(Duration::ZERO, 100),
            Due::At(Duration::from_micros(2_000_001))
        );
    }

    #[test]
    fn waiting_for_a_slow_rate_can_be_cancelled_without_loss() {
        let mut spec = spec(20, GeneratorValues::Bytes(10));
        let whole = all(&spec, alone());
        spec.rate = Some(1000);
        let mut source = Generator::open(&spec, alone(), None).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(async {
            tokio::select! {
                biased;
                _ = source.next() => panic!("nothing is due at the start"),
                () = std::future::ready(()) => {}
            }
        });
        assert_eq!(drain(&mut source).0, whole);
    }

    #[test]
    fn event_times_beyond_all_time_do_not_overflow() {
        let mut times = Vec::new();
        write_times(i64::MAX - 1, 1_000_000, 0..3, &mut times);
        write_times(0, u64::MAX, u64::MAX - 2..u64::MAX, &mut times);
        assert_eq!(times, [i64::MAX - 1, i64::MAX, i64::MAX, i64::MAX, i64::MAX]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
        #[test]
        fn any_parallelism_makes_the_same_records_even_when_resumed_with_another(
            records in 0_u64..30_000,
            first in 1_u32..5,
            then in 1_u32..5,
            batches in prop::collection::vec(0_usize..4, 4),
        ) {
            let spec = spec(records, fields());
            let mut whole = all(&spec, alone());
            prop_assert_eq!(whole.len() as u64, records);
            let (mut got, mut saved) = (Vec::new(), SplitPositions::new());
            for subtask in 0..first {
                let context = ConnectorContext { subtask, parallelism: first };
                let mut source = Generator::open(&spec, context, None).unwrap();
                for _ in 0..batches[subtask as usize] {
                    got.extend(testing::records(&source.make(usize::MAX)));
                }
                saved.extend(source.positions());
            }
            for subtask in 0..then {
                let context = ConnectorContext { subtask, parallelism: then };
                let mut source = Generator::open(&spec, context, Some(&saved)).unwrap();
                got.extend(drain(&mut source).0);
            }
            whole.sort();
            got.sort();
            prop_assert!(got == whole);
        }
    }
}
