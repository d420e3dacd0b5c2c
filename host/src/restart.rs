//! What to do after a failure: the restart strategies as pure decisions. Time
//! and chance come in as arguments. The ways to fail are `failure`'s; carrying a
//! decision out, and which part of a job is restarted, is the job manager's.

use std::{collections::VecDeque, time::Duration};

use crate::{config::job::RestartSection, failure::FailureKind};

/// What a strategy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Wait so long, then go on from the last checkpoint.
    RestartAfter(Duration),
    /// The job fails.
    GiveUp {
        /// Why, for the person whose job it was.
        reason: String,
    },
}

/// A restart strategy with what it remembers of earlier failures.
///
/// With `b` the backoff, `u` a random number from 0 to 1 and times in
/// milliseconds (after Flink's strategies of the same names):
///
/// - **fixed-delay**: restart *n* ≤ `attempts` comes after `delay`; then give up.
/// - **exponential-delay**: `b₁ = initial`, `bₙ₊₁ = min(bₙ · multiplier, max)`;
///   the delay is `b · (1 + jitter · (2u − 1))`, but never less than `initial`.
///   A failure at least `reset_after` after the last restart begins again at
///   `b₁`. Gives up when `attempts` restarts came since it began.
/// - **failure-rate**: gives up when more than `max_failures` failures, this one
///   among them, came in the last `interval`; otherwise restarts after `delay`.
/// - **none**: gives up.
///
/// Where the clock is set back between two failures, no time passed between them.
#[derive(Debug, Clone)]
pub struct RestartStrategy {
    section: RestartSection,
    /// Restarts that count: since the beginning, or since the backoff's reset.
    restarts: u32,
    /// When the last restart was due.
    last_restart: i64,
    /// When the failures were that a rate counts, oldest first.
    failures: VecDeque<i64>,
    /// When the last decision was made.
    decided: i64,
}

impl RestartStrategy {
    /// The strategy of a job file's `[restart]`, with nothing to remember.
    #[must_use]
    pub fn new(section: &RestartSection) -> Self {
        Self {
            section: section.clone(),
            restarts: 0,
            last_restart: i64::MIN,
            failures: VecDeque::new(),
            decided: i64::MIN,
        }
    }

    /// What was in the past stays in the past when the clock is set back: otherwise it would
    /// count for as long as the clock takes to come there again.
    fn follow_clock(&mut self, now_millis: i64) {
        let back = self.decided.saturating_sub(now_millis);
        if back > 0 {
            self.last_restart = self.last_restart.saturating_sub(back);
            self.failures.iter_mut().for_each(|at| *at = at.saturating_sub(back));
        }
        self.decided = now_millis;
    }

    /// Decides on a failure at `now_millis`, and remembers it. `random` is from
    /// 0 to 1 and is used for jitter only. No strategy restarts after a failure
    /// that a restart cannot help.
    pub fn decide(&mut self, kind: FailureKind, now_millis: i64, random: f64) -> Decision {
        self.follow_clock(now_millis);
        if !kind.may_retry_help() {
            return give_up(format!("a restart cannot help after: {}", kind.label()));
        }
        let delay = match self.section.clone() {
            RestartSection::None => {
                return give_up("the restart strategy is \"none\"".to_owned());
            }
            RestartSection::FixedDelay { attempts, delay } => {
                if self.restarts >= attempts {
                    return give_up(format!(
                        "it was restarted {} already, all that \"fixed-delay\" allows (attempts = \
                         {attempts})",
                        times(self.restarts)
                    ));
                }
                delay
            }
            RestartSection::ExponentialDelay {
                initial_backoff,
                max_backoff,
                multiplier,
                jitter,
                reset_after,
                attempts,
            } => {
                if now_millis.saturating_sub(self.last_restart) >= millis(reset_after) {
                    self.restarts = 0;
                }
                if let Some(attempts) = attempts.filter(|attempts| self.restarts >= *attempts) {
                    return give_up(format!(
                        "it was restarted {} in a row, all that \"exponential-delay\" allows \
                         (attempts = {attempts})",
                        times(self.restarts)
                    ));
                }
                let backoff = grown(initial_backoff, max_backoff, multiplier, self.restarts);
                jittered(backoff, jitter, random).max(initial_backoff)
            }
            RestartSection::FailureRate { max_failures, interval, delay } => {
                let oldest = now_millis.saturating_sub(millis(interval));
                self.failures.retain(|at| *at > oldest);
                if self.failures.len() >= max_failures as usize {
                    let failures = times(max_failures.saturating_add(1));
                    return give_up(format!(
                        "it failed {failures} within {interval:?}, more than \"failure-rate\" bears \
                         (max_failures = {max_failures})"
                    ));
                }
                self.failures.push_back(now_millis);
                delay
            }
        };
        self.restarts = self.restarts.saturating_add(1);
        self.last_restart = now_millis.saturating_add(millis(delay));
        Decision::RestartAfter(delay)
    }
}

fn give_up(reason: String) -> Decision {
    Decision::GiveUp { reason }
}

fn times(n: u32) -> String {
    match n {
        1 => "once".to_owned(),
        n => format!("{n} times"),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// `initial · multiplier^restarts`, at most `max`.
fn grown(initial: Duration, max: Duration, multiplier: f64, restarts: u32) -> Duration {
    let exponent = i32::try_from(restarts).unwrap_or(i32::MAX);
    let grown = initial.as_secs_f64() * multiplier.powi(exponent);
    // Also when the power is infinite.
    if grown < max.as_secs_f64() {
        Duration::try_from_secs_f64(grown).unwrap_or(max).clamp(initial, max)
    } else {
        max
    }
}

fn jittered(backoff: Duration, jitter: f64, random: f64) -> Duration {
    let random = if random.is_nan() { 0.5 } else { random.clamp(0.0, 1.0) };
    let factor = 1.0 + jitter.clamp(0.0, 1.0) * (2.0 * random - 1.0);
    Duration::try_from_secs_f64(backoff.as_secs_f64() * factor).unwrap_or(backoff)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRAP: FailureKind = FailureKind::GuestTrap;

    fn exponential(jitter: f64, attempts: Option<u32>) -> RestartSection {
        RestartSection::ExponentialDelay {
            initial_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(10),
            multiplier: 2.0,
            jitter,
            reset_after: Duration::from_secs(60),
            attempts,
        }
    }

    /// What a strategy says to failures at the given seconds: the delay in
    /// milliseconds, or none where it gives up.
    fn delays(section: &RestartSection, seconds: &[i64]) -> Vec<Option<u128>> {
        let mut strategy = RestartStrategy::new(section);
        seconds
            .iter()
            .map(|at| match strategy.decide(TRAP, at * 1_000, 0.5) {
                Decision::RestartAfter(delay) => Some(delay.as_millis()),
                Decision::GiveUp { .. } => None,
            })
            .collect()
    }

    #[test]
    fn none_gives_up_at_once() {
        assert_eq!(delays(&RestartSection::None, &[0]), [None]);
    }

    #[test]
    fn fixed_delay_gives_up_after_its_attempts_however_long_they_took() {
        let section = RestartSection::FixedDelay { attempts: 2, delay: Duration::from_secs(3) };
        assert_eq!(delays(&section, &[0, 5, 1_000_000]), [Some(3_000), Some(3_000), None]);
    }

    #[test]
    fn exponential_delay_grows_to_its_limit_and_starts_over_after_a_quiet_time() {
        let got = delays(&exponential(0.0, None), &[0, 2, 5, 10, 20, 30, 200, 202]);
        let want = [1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 1_000, 2_000];
        assert_eq!(got, want.map(Some));
    }

    #[test]
    fn the_quiet_time_counts_from_the_restart_and_not_from_the_failure() {
        // Failed at 0, up again at 1: quiet until 60 is 59 s, until 61 is 60 s.
        assert_eq!(delays(&exponential(0.0, None), &[0, 60]), [Some(1_000), Some(2_000)]);
        assert_eq!(delays(&exponential(0.0, None), &[0, 61]), [Some(1_000), Some(1_000)]);
    }

    #[test]
    fn exponential_delay_gives_up_after_attempts_in_a_row() {
        let got = delays(&exponential(0.0, Some(2)), &[0, 2, 5, 200]);
        assert_eq!(got, [Some(1_000), Some(2_000), None, Some(1_000)]);
    }

    #[test]
    fn failure_rate_bears_only_so_many_in_its_interval() {
        let section = RestartSection::FailureRate {
            max_failures: 2,
            interval: Duration::from_secs(60),
            delay: Duration::from_millis(500),
        };
        assert_eq!(delays(&section, &[0, 10, 59]), [Some(500), Some(500), None]);
        assert_eq!(delays(&section, &[0, 10, 60, 61]), [Some(500), Some(500), Some(500), None]);
    }

    #[test]
    fn a_clock_that_is_set_back_neither_holds_the_backoff_up_nor_brings_failures_together() {
        const HOUR: i64 = 3_600;
        // Set back after the second failure: no time passed until the third, and a quiet
        // minute counts as one again from there.
        let got = delays(&exponential(0.0, None), &[HOUR, HOUR + 2, 10, 80]);
        assert_eq!(got, [Some(1_000), Some(2_000), Some(4_000), Some(1_000)]);
        let rate = RestartSection::FailureRate {
            max_failures: 2,
            interval: Duration::from_secs(60),
            delay: Duration::from_millis(500),
        };
        let got = delays(&rate, &[HOUR, 0, 70, 140, 210]);
        assert_eq!(got, [Some(500); 5], "never more than two in a minute");
    }

    #[test]
    fn what_a_restart_cannot_help_is_not_restarted_by_any_strategy() {
        let fixed = RestartSection::FixedDelay { attempts: 9, delay: Duration::ZERO };
        let rate = RestartSection::FailureRate {
            max_failures: 9,
            interval: Duration::from_secs(60),
            delay: Duration::ZERO,
        };
        for section in [exponential(0.0, None), fixed, rate] {
            for kind in
                [FailureKind::BadArtifact, FailureKind::TooManyRejected, FailureKind::HostBug]
            {
                let decision = RestartStrategy::new(&section).decide(kind, 0, 0.5);
                let reason = format!("a restart cannot help after: {}", kind.label());
                assert_eq!(decision, Decision::GiveUp { reason });
            }
        }
    }

    #[test]
    fn giving_up_names_the_strategy_and_its_figures() {
        let fixed = RestartSection::FixedDelay { attempts: 1, delay: Duration::ZERO };
        let rate = RestartSection::FailureRate {
            max_failures: 1,
            interval: Duration::from_secs(60),
            delay: Duration::ZERO,
        };
        let cases = [
            (
                fixed,
                "it was restarted once already, all that \"fixed-delay\" allows (attempts = 1)",
            ),
            (
                exponential(0.0, Some(1)),
                "it was restarted once in a row, all that \"exponential-delay\" allows (attempts = 1)",
            ),
            (
                rate,
                "it failed 2 times within 60s, more than \"failure-rate\" bears (max_failures = 1)",
            ),
        ];
        for (section, reason) in cases {
            let mut strategy = RestartStrategy::new(&section);
            strategy.decide(TRAP, 0, 0.0);
            let reason = reason.to_owned();
            assert_eq!(strategy.decide(TRAP, 1, 0.0), Decision::GiveUp { reason });
        }
    }

    proptest! {
        #[test]
        fn a_delay_stays_within_its_bounds(
            initial in 1_u64..100_000, extra in 0_u64..1_000_000, multiplier in 1.0_f64..1e6,
            jitter in 0.0_f64..=1.0,
            failures in proptest::collection::vec((any::<i64>(), any::<f64>()), 1..30),
        ) {
            let (initial, max) = (Duration::from_millis(initial), Duration::from_millis(initial + extra));
            let mut strategy = RestartStrategy::new(&RestartSection::ExponentialDelay {
                initial_backoff: initial, max_backoff: max, multiplier, jitter,
                reset_after: Duration::from_secs(60), attempts: None,
            });
            for (at, random) in failures {
                let Decision::RestartAfter(delay) = strategy.decide(TRAP, at, random) else {
                    return Err(TestCaseError::fail("gave up"));
                };
                let longest = max.mul_f64(1.0 + jitter) + Duration::from_nanos(1_000);
                prop_assert!(initial <= delay && delay <= longest, "{delay:?}");
            }
        }

        #[test]
        fn delays_grow_while_failures_come_quickly(multiplier in 1.0_f64..100.0, count in 2_usize..50) {
            let mut strategy = RestartStrategy::new(&RestartSection::ExponentialDelay {
                initial_backoff: Duration::from_millis(10), max_backoff: Duration::from_secs(60),
                multiplier, jitter: 0.0, reset_after: Duration::from_secs(3_600), attempts: None,
            });
            let mut last = Duration::ZERO;
            let mut now = 0;
            for _ in 0..count {
                let Decision::RestartAfter(delay) = strategy.decide(TRAP, now, 0.5) else {
                    return Err(TestCaseError::fail("gave up"));
                };
                prop_assert!(delay >= last, "{delay:?} after {last:?}");
                last = delay;
                now += millis(delay) + 1;
            }
            // Quiet for the reset time: as if nothing had been.
            let fresh = strategy.decide(TRAP, now + 3_600_000, 0.5);
            prop_assert_eq!(fresh, Decision::RestartAfter(Duration::from_millis(10)));
        }

        #[test]
        fn no_window_of_the_interval_has_more_restarts_than_allowed(
            gaps in proptest::collection::vec(0_i64..30_000, 1..60), max_failures in 1_u32..6,
        ) {
            let mut strategy = RestartStrategy::new(&RestartSection::FailureRate {
                max_failures, interval: Duration::from_secs(60), delay: Duration::ZERO,
            });
            let (mut now, mut restarts) = (0, Vec::new());
            for gap in gaps {
                now += gap;
                let recent = restarts.iter().filter(|at| now - **at < 60_000).count();
                let restarted = matches!(strategy.decide(TRAP, now, 0.0), Decision::RestartAfter(_));
                prop_assert_eq!(restarted, recent < max_failures as usize);
                if restarted {
                    restarts.push(now);
                }
            }
        }
    }
}
