//! Poison: records and timers that crash the guest whenever they come. When to
//! look for them, how, and where it ends. Pure: who calls the guest asks here.
//!
//! ```text
//!  crash ─▶ the job restarts from its last checkpoint, and the subtask is watched
//!  crash again ─▶ the batch in hand is divided:
//!
//!      1 ……………………………… 1024        again as a whole, in a fresh sandbox
//!      1 …… 512 │ 513 … 1024       the first half: passes, is applied and emitted
//!               │ 513 … 768 │ …    crashes: divided further, each time in a
//!               │           │      fresh sandbox, until one record is left:
//!               │   640     │      the dead letter
//! ```
//!
//! What passes is never handed over again, and all of it in order.

use std::{collections::VecDeque, ops::Range};

use crate::{
    config::job::PoisonPolicy,
    failure::{Failure, FailureKind},
};

/// How many barriers a subtask is watched for after a crash. One may come before what
/// crashed it does.
const WATCHED: u8 = 2;
/// How many records of one batch may be poison.
const MOST_IN_BATCH: u32 = 16;
/// How many records may be poison within [`INTERVAL`].
const MOST_IN_INTERVAL: usize = 100;
/// In milliseconds.
const INTERVAL: i64 = 60_000;

/// What a subtask that may have met poison has to remember.
#[derive(Debug)]
pub struct Watch {
    /// For how many barriers more a crash is taken for poison.
    left: u8,
    /// When the last ones were found, oldest first.
    found: VecDeque<i64>,
}

impl Watch {
    /// `suspect`: the subtask crashed after the checkpoint that it starts from.
    #[must_use]
    pub fn new(policy: PoisonPolicy, suspect: bool) -> Self {
        let left = if suspect && policy == PoisonPolicy::DeadLetter { WATCHED } else { 0 };
        Self { left, found: VecDeque::new() }
    }

    /// Whether a crash would be taken for poison.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.left > 0
    }

    /// Whether to divide the batch in whose call this happened.
    #[must_use]
    pub fn divides(&self, failure: &Failure) -> bool {
        self.is_on() && failure.kind.breaks_call()
    }

    /// A barrier has passed.
    pub fn barrier(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// A record was found to be poison. Where there is one, there are more: the watch
    /// begins anew.
    ///
    /// # Errors
    /// If it is one too many.
    pub fn found(&mut self, now_millis: i64, last: &Failure) -> Result<(), Failure> {
        self.left = WATCHED;
        self.found.retain(|at| *at > now_millis.saturating_sub(INTERVAL));
        if self.found.len() >= MOST_IN_INTERVAL {
            let what = format!("{} records or timers within a minute", self.found.len() + 1);
            return Err(too_many(&what, last));
        }
        self.found.push_back(now_millis);
        Ok(())
    }
}

/// It is not the records.
fn too_many(what: &str, last: &Failure) -> Failure {
    Failure {
        kind: FailureKind::TooMuchPoison,
        message: format!(
            "{what} crashed the guest, each alone and in a fresh sandbox: that is the operator's \
             fault and not the records', so no more of them are set aside. The last one: {}: {}",
            last.kind.label(),
            last.message
        ),
        backtrace: last.backtrace.clone(),
    }
}

/// How a batch is divided whose call crashed.
#[derive(Debug)]
pub struct Division {
    /// What is still to be tried, the next last.
    parts: Vec<Range<usize>>,
    found: u32,
}

/// What follows from a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Crashed {
    /// Try its halves.
    Divided,
    /// This one is poison.
    Poison(usize),
}

impl Division {
    /// Of a batch, or of firings; there is at least one.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self { parts: std::iter::once(0..len).collect(), found: 0 }
    }

    /// What to try next, in order. It has to be answered, by [`passed`](Self::passed)
    /// or [`crashed`](Self::crashed), before the next one.
    #[must_use]
    pub fn next(&self) -> Option<Range<usize>> {
        self.parts.last().cloned()
    }

    /// It went through.
    pub fn passed(&mut self) {
        self.parts.pop();
    }

    /// It crashed.
    ///
    /// # Errors
    /// If too many records of the batch were poison.
    pub fn crashed(&mut self, failure: &Failure) -> Result<Crashed, Failure> {
        let Some(part) = self.parts.pop() else { return Ok(Crashed::Divided) };
        if part.len() > 1 {
            let middle = part.start + part.len() / 2;
            self.parts.push(middle..part.end);
            self.parts.push(part.start..middle);
            return Ok(Crashed::Divided);
        }
        self.found += 1;
        if self.found > MOST_IN_BATCH {
            return Err(too_many(
                &format!("{} records or timers of one batch", self.found),
                failure,
            ));
        }
        Ok(Crashed::Poison(part.start))
    }
}

/// The reason of a dead letter that crashed the guest.
#[must_use]
pub fn reason(what: &str, failure: &Failure) -> String {
    let label = match failure.kind {
        FailureKind::GuestError => "said that it cannot go on",
        _ => "crashed",
    };
    format!("{what} is poison, the guest {label}: {}: {}", failure.kind.label(), failure.message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn trap() -> Failure {
        Failure::new(FailureKind::GuestTrap, "`fold`: unreachable")
    }

    /// Which records are poison, which pass, in order, and how many tries that took.
    fn divide(
        len: usize,
        poison: &BTreeSet<usize>,
    ) -> Result<(Vec<usize>, Vec<usize>, u32), Failure> {
        let mut division = Division::new(len);
        let (mut found, mut passed, mut tries) = (Vec::new(), Vec::new(), 0);
        while let Some(part) = division.next() {
            tries += 1;
            if part.clone().any(|i| poison.contains(&i)) {
                if let Crashed::Poison(index) = division.crashed(&trap())? {
                    found.push(index);
                }
            } else {
                division.passed();
                passed.extend(part);
            }
        }
        Ok((found, passed, tries))
    }

    #[test]
    fn one_poison_record_of_a_thousand_is_found_in_a_few_tries() {
        let (found, passed, tries) = divide(1_024, &BTreeSet::from([640])).unwrap();
        assert_eq!((found, passed.len()), (vec![640], 1_023));
        assert!(tries <= 21, "{tries}");
    }

    #[test]
    fn a_guest_that_crashes_on_everything_is_not_fed_the_whole_batch() {
        let all = (0..1_024).collect();
        let failure = divide(1_024, &all).unwrap_err();
        assert_eq!(failure.kind, FailureKind::TooMuchPoison);
        assert!(failure.message.contains("17 records or timers of one batch crashed the guest"));
        assert!(failure.message.contains("guest trap: `fold`: unreachable"), "{failure}");
    }

    proptest! {
        #[test]
        fn exactly_the_poison_is_set_aside_and_the_rest_passes_once_and_in_order(
            len in 1_usize..1_500,
            poison in prop::collection::btree_set(0_usize..1_500, 0..=16),
        ) {
            let poison: BTreeSet<usize> = poison.into_iter().filter(|i| *i < len).collect();
            let (found, passed, tries) = divide(len, &poison).unwrap();
            prop_assert!(found.iter().eq(&poison));
            let rest: Vec<usize> = (0..len).filter(|i| !poison.contains(i)).collect();
            prop_assert_eq!(passed, rest);
            let levels = len.ilog2() + 1;
            prop_assert!(tries as usize <= 1 + 2 * poison.len() * levels as usize, "{}", tries);
        }
    }

    #[test]
    fn a_crash_is_taken_for_poison_only_for_two_barriers_after_another_one() {
        let mut watch = Watch::new(PoisonPolicy::DeadLetter, true);
        assert!(watch.divides(&trap()));
        watch.barrier();
        assert!(watch.divides(&trap()));
        watch.barrier();
        assert!(!watch.divides(&trap()));
        watch.found(0, &trap()).unwrap();
        assert!(watch.divides(&trap()));
        assert!(!watch.divides(&Failure::new(FailureKind::HostBug, "ours")));
    }

    #[test]
    fn nothing_is_divided_after_a_first_crash_or_where_the_job_says_fail() {
        assert!(!Watch::new(PoisonPolicy::DeadLetter, false).divides(&trap()));
        assert!(!Watch::new(PoisonPolicy::Fail, true).divides(&trap()));
    }

    #[test]
    fn too_much_poison_in_a_minute_is_the_end_and_old_finds_are_forgotten() {
        let mut watch = Watch::new(PoisonPolicy::DeadLetter, true);
        for i in 0..100 {
            watch.found(i, &trap()).unwrap();
        }
        let failure = watch.found(100, &trap()).unwrap_err();
        assert!(failure.message.contains("101 records or timers within a minute"), "{failure}");
        assert!(!failure.kind.may_retry_help());
        watch.found(INTERVAL + 50, &trap()).unwrap();
    }
}
