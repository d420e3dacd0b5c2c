//! How much one slot may log over time: so many lines and bytes a second, and a
//! burst after silence. What is beyond that is dropped and counted.
//!
//! The budget is the slot's and not the instance's: whoever deploys keeps it over
//! restarts, so an operator that crashes in a loop has no more of it than others.
//! That a single call says no more than so many lines is decided in `guest_log`.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    clock::Clock,
    sandbox::kept_log::KeptLog,
    trace::TraceId,
    watching::log_book::{Level, LogBook},
};

/// Lines that may be written a second, for ever.
const LINES_PER_SECOND: i64 = 100;
/// Lines that may be written at once after silence.
const BURST_LINES: i64 = 1_000;
/// The same in bytes of the messages.
const BYTES_PER_SECOND: i64 = 64 * 1024;
const BURST_BYTES: i64 = 512 * 1024;
/// How often it is told that lines are dropped, at most.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What one slot may log. Clones share it.
#[derive(Debug, Clone)]
pub struct LogBudget(Arc<Slot>, Option<LogBook>);

#[derive(Debug)]
struct Slot {
    operator: Arc<str>,
    subtask: u32,
    /// The job, where there are several.
    of: Option<OfJob>,
    /// The trace that the call belongs to which is under way, if that is sampled.
    trace: Mutex<Option<TraceId>>,
    clock: Clock,
    bucket: Mutex<Bucket>,
    /// Where lines go instead of into the program's own log.
    kept: Option<Arc<KeptLog>>,
}

/// Of which job lines are.
#[derive(Debug, Clone)]
pub struct OfJob {
    /// Whose it is.
    pub tenant: Arc<str>,
    /// What it is called by.
    pub job: Arc<str>,
    /// What its owner calls it.
    pub job_name: Arc<str>,
}

/// Lines that were dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Lost {
    lines: u64,
    bytes: u64,
}

/// What becomes of a line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decision {
    /// It is written.
    write: bool,
    /// Something is dropped for the first time in a while.
    begins: bool,
    /// To be told now: what was dropped in how many milliseconds.
    summary: Option<(Lost, i64)>,
}

/// The decision, in milliseconds that the caller gives. Credit is in thousandths.
#[derive(Debug)]
struct Bucket {
    lines: i64,
    bytes: i64,
    /// When that was right.
    at: i64,
    /// Since when lines are dropped, or when that was last told.
    since: Option<i64>,
    /// What was dropped since then.
    lost: Lost,
    /// Lines that were dropped in all.
    total: u64,
}

impl Bucket {
    fn full(now: i64) -> Self {
        let (lines, bytes) = (BURST_LINES * 1_000, BURST_BYTES * 1_000);
        Self { lines, bytes, at: now, since: None, lost: Lost::default(), total: 0 }
    }

    fn earn(&mut self, now: i64) {
        // A clock that is set back earns nothing.
        let millis = now.saturating_sub(self.at).max(0);
        let earned = |per_second: i64| millis.saturating_mul(per_second);
        self.lines = self.lines.saturating_add(earned(LINES_PER_SECOND)).min(BURST_LINES * 1_000);
        self.bytes = self.bytes.saturating_add(earned(BYTES_PER_SECOND)).min(BURST_BYTES * 1_000);
        self.at = now;
    }

    /// A line of so many bytes wants to be written.
    fn line(&mut self, now: i64, bytes: usize) -> Decision {
        self.earn(now);
        let cost = i64::try_from(bytes).unwrap_or(i64::MAX).saturating_mul(1_000);
        let write = self.lines >= 1_000 && self.bytes >= cost;
        if write {
            self.lines -= 1_000;
            self.bytes -= cost;
        }
        self.decide(now, write, bytes)
    }

    /// A line of so many bytes is dropped whatever credit there is.
    fn drop_line(&mut self, now: i64, bytes: usize) -> Decision {
        self.earn(now);
        self.decide(now, false, bytes)
    }

    fn decide(&mut self, now: i64, write: bool, bytes: usize) -> Decision {
        let mut decision = Decision { write, ..Decision::default() };
        let told_every = i64::try_from(TOLD_EVERY.as_millis()).unwrap_or(i64::MAX);
        let for_millis = self.since.map(|since| now.saturating_sub(since));
        match for_millis.filter(|millis| *millis >= told_every) {
            Some(millis) => {
                let lost = std::mem::take(&mut self.lost);
                decision.summary = (lost.lines > 0).then_some((lost, millis));
                // It is over when nothing was dropped for as long.
                self.since = (lost.lines > 0 || !write).then_some(now);
            }
            None if !write && self.since.is_none() => {
                decision.begins = true;
                self.since = Some(now);
            }
            None => {}
        }
        if !write {
            self.lost.lines += 1;
            self.lost.bytes += bytes as u64;
            self.total += 1;
        }
        decision
    }
}

impl Default for LogBudget {
    /// A full one, for a slot that is no job's.
    fn default() -> Self {
        Self::new(Arc::from(""), 0, Clock::default())
    }
}

impl LogBudget {
    /// A full one, for a slot of an operator.
    #[must_use]
    pub fn new(operator: Arc<str>, subtask: u32, clock: Clock) -> Self {
        let bucket = Mutex::new(Bucket::full(clock.now_millis()));
        let slot = Slot {
            operator,
            subtask,
            of: None,
            trace: Mutex::default(),
            clock,
            bucket,
            kept: None,
        };
        Self(Arc::new(slot), None)
    }

    /// A full one for a slot whose lines, of every level, are kept for whoever tries the
    /// operator, and are in no log.
    #[must_use]
    pub fn keeping(operator: Arc<str>, clock: Clock, kept: Arc<KeptLog>) -> Self {
        let bucket = Mutex::new(Bucket::full(clock.now_millis()));
        let (subtask, of, trace, kept) = (0, None, Mutex::default(), Some(kept));
        Self(Arc::new(Slot { operator, subtask, of, trace, clock, bucket, kept }), None)
    }

    /// A full one of the same slot, whose lines say of which tenant's job they are.
    #[must_use]
    pub fn of_job(&self, of: OfJob) -> Self {
        let Slot { operator, subtask, clock, kept, .. } = &*self.0;
        let bucket = Mutex::new(Bucket::full(clock.now_millis()));
        let slot = Slot {
            operator: operator.clone(),
            subtask: *subtask,
            of: Some(of),
            trace: Mutex::default(),
            clock: clock.clone(),
            bucket,
            kept: kept.clone(),
        };
        Self(Arc::new(slot), self.1.clone())
    }

    /// Whose lines these are, where there are several: tenant, job and its name.
    pub(super) fn of(&self) -> [Option<&str>; 3] {
        self.0.of()
    }

    /// The trace that the next calls belong to, if they are sampled.
    pub fn trace(&self, trace: Option<TraceId>) {
        *self.0.trace() = trace;
    }

    /// The trace that the present call belongs to.
    pub(super) fn trace_id(&self) -> Option<TraceId> {
        *self.0.trace()
    }

    /// Where lines go instead of into the program's own log, if anywhere.
    pub(super) fn kept(&self) -> Option<&KeptLog> {
        self.0.kept.as_deref()
    }

    /// What is written goes into this book, too.
    #[must_use]
    pub fn with_book(mut self, book: LogBook) -> Self {
        self.1 = Some(book);
        self
    }

    /// Whether there is a book for lines.
    pub(super) fn has_book(&self) -> bool {
        self.1.is_some()
    }

    /// Writes a line into the book, if there is one. It was allowed.
    pub(super) fn note(&self, level: Level, message: &str) {
        if let Some(book) = &self.1 {
            let whose = (self.0.operator.clone(), self.0.subtask);
            book.write(self.0.clock.now_millis(), level, whose, message);
        }
    }

    /// The operator's name.
    pub(super) fn operator(&self) -> &str {
        &self.0.operator
    }

    /// Which of its subtasks.
    pub(super) fn subtask(&self) -> u32 {
        self.0.subtask
    }

    /// Whether a line of so many bytes may be written.
    pub(super) fn allows(&self, bytes: usize) -> bool {
        let decision = self.0.bucket().line(self.0.clock.now_millis(), bytes);
        self.0.tell(&decision);
        decision.write
    }

    /// A line of so many bytes is dropped for another reason; it counts.
    pub(super) fn drop_line(&self, bytes: usize) {
        let decision = self.0.bucket().drop_line(self.0.clock.now_millis(), bytes);
        // That it begins is told by who drops.
        self.0.tell(&Decision { begins: false, ..decision });
    }

    /// How many lines were dropped in all.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.bucket().total
    }
}

impl Slot {
    fn trace(&self) -> MutexGuard<'_, Option<TraceId>> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self) -> [Option<&str>; 3] {
        let of = self.of.as_ref();
        [of.map(|of| &*of.tenant), of.map(|of| &*of.job), of.map(|of| &*of.job_name)]
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, decision: &Decision) {
        if self.kept.is_some() {
            // Whoever looks at what is kept is told how many lines are not.
            return;
        }
        let (operator, subtask) = (&*self.operator, self.subtask);
        let [tenant, job, job_name] = self.of();
        if let Some((lost, millis)) = decision.summary {
            self.tell_lost(lost, millis);
        }
        if decision.begins {
            tracing::warn!(
                target: "guest", parent: None, tenant, job, job_name, operator, subtask,
                "logs more than {LINES_PER_SECOND} lines or {} KiB a second: what is beyond that \
                 is dropped and counted", BYTES_PER_SECOND / 1024
            );
        }
    }

    fn tell_lost(&self, lost: Lost, millis: i64) {
        let (operator, subtask) = (&*self.operator, self.subtask);
        let [tenant, job, job_name] = self.of();
        tracing::warn!(
            target: "guest", parent: None, tenant, job, job_name, operator, subtask,
            "{} log lines ({} KiB) were dropped in {}.{} s",
            lost.lines, lost.bytes.div_ceil(1024), millis / 1_000, millis % 1_000 / 100
        );
    }
}

impl Drop for Slot {
    /// The job is over: what has not been told yet is.
    fn drop(&mut self) {
        let now = self.clock.now_millis();
        let (lost, since) = {
            let bucket = self.bucket();
            (bucket.lost, bucket.since)
        };
        if lost.lines > 0 {
            self.tell_lost(lost, now.saturating_sub(since.unwrap_or(now)).max(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::ManualClock;

    fn budget() -> (LogBudget, ManualClock) {
        let clock = ManualClock::at(1_000_000);
        let budget = LogBudget::new(Arc::from("o"), 0, Clock::Manual(clock.clone()));
        (budget, clock)
    }

    fn written(budget: &LogBudget, lines: usize, bytes: usize) -> usize {
        (0..lines).filter(|_| budget.allows(bytes)).count()
    }

    #[test]
    fn after_a_burst_so_many_lines_a_second_are_written() {
        let (budget, clock) = budget();
        assert_eq!(written(&budget, 5_000, 10), 1_000);
        clock.advance(Duration::from_secs(1));
        assert_eq!(written(&budget, 5_000, 10), 100);
        clock.advance(Duration::from_millis(50));
        assert_eq!(written(&budget, 5_000, 10), 5);
        // Silence gives no more than a burst.
        clock.advance(Duration::from_secs(3_600));
        assert_eq!(written(&budget, 5_000, 10), 1_000);
        assert_eq!(budget.dropped(), 20_000 - 2_105);
    }

    #[test]
    fn long_lines_are_limited_by_their_bytes() {
        let (budget, clock) = budget();
        assert_eq!(written(&budget, 1_000, 4_096), 128);
        clock.advance(Duration::from_secs(1));
        assert_eq!(written(&budget, 1_000, 4_096), 16);
    }

    #[test]
    fn the_next_instance_in_a_slot_has_what_the_last_one_left() {
        let (budget, clock) = budget();
        for _ in 0..50 {
            let of_an_instance = budget.clone();
            written(&of_an_instance, 1_000, 10);
            clock.advance(Duration::from_millis(100));
        }
        // The burst, and five seconds.
        assert_eq!(50_000 - budget.dropped(), 1_000 + 49 * 10);
    }

    #[test]
    fn a_flood_is_told_when_it_begins_and_then_by_one_line_now_and_then() {
        let mut bucket = Bucket::full(0);
        let (mut begins, mut summaries, mut dropped) = (0, Vec::new(), 0);
        // A minute, ten times too much; then silence, and a line.
        for now in 0..60_000 {
            let decision = bucket.line(now, 10);
            begins += u64::from(decision.begins);
            dropped += u64::from(!decision.write);
            summaries.extend(decision.summary);
        }
        assert_eq!((begins, summaries.len()), (1, 5), "{summaries:?}");
        assert!(summaries.iter().all(|(_, millis)| (10_000..10_010).contains(millis)));
        let last = bucket.line(120_000, 10);
        assert!(last.write && !last.begins);
        let told: u64 = summaries.iter().map(|(lost, _)| lost.lines).sum();
        assert_eq!(told + last.summary.unwrap().0.lines, dropped);
        // Nothing was dropped since: the next flood is told as such.
        assert_eq!(bucket.line(140_000, 10).summary, None);
        assert_eq!(bucket.since, None);
    }

    proptest! {
        #[test]
        fn no_time_holds_more_than_the_rate_and_a_burst(
            steps in proptest::collection::vec((0_i64..2_000, 0_usize..6_000), 1..400),
        ) {
            let (mut bucket, mut now) = (Bucket::full(0), 0);
            let (mut lines, mut written, mut told) = (0, 0, 0);
            for (wait, bytes) in steps {
                now += wait;
                let decision = bucket.line(now, bytes);
                if decision.write {
                    lines += 1;
                    written += i64::try_from(bytes).unwrap();
                }
                told += decision.summary.map_or(0, |(lost, _)| lost.lines);
                prop_assert!(lines <= BURST_LINES + LINES_PER_SECOND * now / 1_000);
                prop_assert!(written <= BURST_BYTES + BYTES_PER_SECOND * now / 1_000);
            }
            prop_assert_eq!(told + bucket.lost.lines, bucket.total);
        }
    }
}
