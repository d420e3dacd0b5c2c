//! Makes usage records of counters that only grow, or begin anew with an attempt.
//! Pure: who reads the counters, and when, is the caller's.

use std::collections::BTreeMap;

use super::{Consumption, UsageRecord};
use crate::{
    ids::{JobName, OperatorName, TenantId},
    metrics::Counters,
};

/// The counters of one operator, source or sink at one moment, all subtasks together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// How long its guests ran, in nanoseconds, since the job began in this process.
    pub cpu_nanos: u64,
    /// Fuel that they used, since then.
    pub fuel: u64,
    /// Bytes times nanoseconds that its slots had reserved, since it was given them.
    pub memory_byte_nanos: u128,
    /// Records and bytes, since the job was first started, as checkpoints have them.
    pub counters: Counters,
    /// Bytes that were written of it for checkpoints, since the job began in this
    /// process.
    pub checkpoint_bytes: u64,
}

/// Whose usage: an operator, source or sink, or the job as a whole.
pub type Part = Option<OperatorName>;

const SECOND: u128 = 1_000_000_000;

/// The usage of one job.
#[derive(Debug)]
pub struct UsageMeter {
    tenant: TenantId,
    job: JobName,
    /// When the interval began, in milliseconds since 1970.
    start: i64,
    parts: BTreeMap<Part, Account>,
}

#[derive(Debug, Default)]
struct Account {
    last: Reading,
    used: Consumption,
    /// What is less than a byte-second.
    rest: u128,
}

impl UsageMeter {
    /// Of a job that begins now.
    #[must_use]
    pub fn new(tenant: TenantId, job: JobName, now: i64) -> Self {
        Self { tenant, job, start: now, parts: BTreeMap::new() }
    }

    /// When the interval began.
    #[must_use]
    pub fn start(&self) -> i64 {
        self.start
    }

    /// An attempt begins, with its counters as a checkpoint had them: what it counts
    /// from here on is consumed, also if an attempt before had counted it.
    pub fn begin(&mut self, part: &Part, counters: Counters) {
        self.account(part).last.counters = counters;
    }

    /// A part of it goes on from a checkpoint: what it had counted at the last
    /// observation, and what the checkpoint says that it had.
    pub fn set_back(&mut self, part: &Part, counted: Counters, restored: Counters) {
        let last = &mut self.account(part).last.counters;
        *last = last.minus(counted).plus(restored);
    }

    /// The job was given slots, whose memory over time begins at nothing.
    pub fn begin_slots(&mut self) {
        self.parts.values_mut().for_each(|account| account.last.memory_byte_nanos = 0);
    }

    /// The counters as they are now.
    pub fn observe(&mut self, part: &Part, now: Reading) {
        let account = self.account(part);
        let before = std::mem::replace(&mut account.last, now);
        let (count, counted) = (&now.counters, &before.counters);
        let reserved =
            now.memory_byte_nanos.saturating_sub(before.memory_byte_nanos) + account.rest;
        account.rest = reserved % SECOND;
        account.used.add(&Consumption {
            cpu_nanos: now.cpu_nanos.saturating_sub(before.cpu_nanos),
            fuel: now.fuel.saturating_sub(before.fuel),
            memory_byte_seconds: u64::try_from(reserved / SECOND).unwrap_or(u64::MAX),
            records_in: count.records_in.saturating_sub(counted.records_in),
            records_out: count.records_out.saturating_sub(counted.records_out),
            bytes_in: count.bytes_in.saturating_sub(counted.bytes_in),
            bytes_out: count.bytes_out.saturating_sub(counted.bytes_out),
            checkpoint_bytes: now.checkpoint_bytes.saturating_sub(before.checkpoint_bytes),
        });
    }

    fn account(&mut self, part: &Part) -> &mut Account {
        self.parts.entry(part.clone()).or_default()
    }

    /// Ends the interval: the records of it, one for each part that consumed
    /// something. The next one begins now.
    pub fn cut(&mut self, now: i64) -> Vec<UsageRecord> {
        // A clock that was set back must not make an interval that ends before it began.
        let (start, end) = (self.start.min(now), now);
        self.start = now;
        let (tenant, job) = (&self.tenant, &self.job);
        let used = self.parts.iter_mut().filter_map(|(part, account)| {
            let consumed = std::mem::take(&mut account.used);
            (!consumed.is_zero()).then(|| UsageRecord {
                tenant: tenant.clone(),
                job: job.clone(),
                operator: part.clone(),
                start,
                end,
                consumed,
            })
        });
        used.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn meter() -> UsageMeter {
        UsageMeter::new(TenantId::default(), JobName::new("j").unwrap(), 0)
    }

    fn part() -> Part {
        Some(OperatorName::new("o").unwrap())
    }

    fn reading(n: u64) -> Reading {
        Reading {
            cpu_nanos: n,
            counters: Counters { records_in: n, ..Counters::default() },
            ..Reading::default()
        }
    }

    #[test]
    fn intervals_hold_what_was_used_within_them() {
        let mut meter = meter();
        meter.observe(&part(), reading(10));
        let first = meter.cut(10_000);
        assert_eq!((first[0].start, first[0].end), (0, 10_000));
        assert_eq!((first[0].consumed.cpu_nanos, first[0].consumed.records_in), (10, 10));
        assert_eq!(meter.cut(20_000), [], "nothing was used");
        meter.observe(&part(), reading(17));
        let third = meter.cut(21_000);
        assert_eq!((third[0].start, third[0].consumed.records_in), (20_000, 7));
    }

    #[test]
    fn what_is_done_again_after_a_restart_counts_again() {
        let mut meter = meter();
        meter.begin(&part(), reading(100).counters);
        meter.observe(&part(), reading(150));
        // Back at the checkpoint; the guest's time goes on.
        meter.begin(&part(), reading(100).counters);
        meter.observe(&part(), Reading { cpu_nanos: 180, ..reading(130) });
        let used = meter.cut(1).remove(0).consumed;
        assert_eq!((used.records_in, used.cpu_nanos), (50 + 30, 180));
    }

    #[test]
    fn memory_of_slots_that_were_given_back_is_not_taken_off_that_of_new_ones() {
        let held =
            |seconds: u128| Reading { memory_byte_nanos: seconds * SECOND, ..Reading::default() };
        let mut meter = meter();
        meter.observe(&part(), held(100));
        meter.begin_slots();
        meter.observe(&part(), held(30));
        assert_eq!(meter.cut(1)[0].consumed.memory_byte_seconds, 130);
    }

    proptest! {
        #[test]
        fn no_cut_loses_a_byte_second(
            grows in prop::collection::vec((0_u64..5_000_000_000, any::<bool>()), 1..50)
        ) {
            let (mut meter, mut now, mut seconds) = (meter(), Reading::default(), 0);
            for (more, cut) in grows {
                now.memory_byte_nanos += u128::from(more);
                meter.observe(&part(), now);
                if cut {
                    seconds += meter.cut(0).iter().map(|r| r.consumed.memory_byte_seconds).sum::<u64>();
                }
            }
            seconds += meter.cut(0).iter().map(|r| r.consumed.memory_byte_seconds).sum::<u64>();
            prop_assert_eq!(u128::from(seconds), now.memory_byte_nanos / SECOND);
        }
    }
}
