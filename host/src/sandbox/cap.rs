//! A hard cap on the time that guests run: so much of one core, and no more,
//! however idle the machine is.
//!
//! Decided by a token bucket: credit comes at the rate of the cap and is spent by
//! running. A guest may begin a turn while there is no debt. A turn that ends in debt
//! is followed by as much rest as pays it back, so over any time longer than
//! [`WINDOW`] the cap holds but for one window's worth.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{clock::Stopwatch, config::job::CpuShare};

/// Credit that is not used within this time is lost: how long a burst may be
/// after silence.
pub const WINDOW: Duration = Duration::from_millis(100);

/// The decision, in times that the caller gives: nanoseconds since whenever.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    share: CpuShare,
    /// Nanoseconds that may be run; a debt if negative.
    credit: i64,
    /// When it was right.
    at: u64,
}

impl Bucket {
    /// One without credit or debt.
    #[must_use]
    pub fn new(share: CpuShare, now: u64) -> Self {
        Self { share: CpuShare(share.0.max(1)), credit: 0, at: now }
    }

    fn earn(&mut self, now: u64) {
        let earned = self.earned(now.saturating_sub(self.at));
        let most = self.earned(u64::try_from(WINDOW.as_nanos()).unwrap_or(u64::MAX));
        self.credit = self.credit.saturating_add(earned).min(most);
        self.at = self.at.max(now);
    }

    fn earned(&self, nanos: u64) -> i64 {
        let earned = u128::from(nanos) * u128::from(self.share.0) / 1_000;
        i64::try_from(earned).unwrap_or(i64::MAX)
    }

    /// A guest ran for so long, up to now.
    pub fn spend(&mut self, now: u64, ran: u64) {
        self.earn(now);
        self.credit = self.credit.saturating_sub(i64::try_from(ran).unwrap_or(i64::MAX));
    }

    /// How long to rest before the next turn; zero if it may begin.
    pub fn rest(&mut self, now: u64) -> Duration {
        self.earn(now);
        let debt = u128::from(self.credit.min(0).unsigned_abs());
        let nanos = (debt * 1_000).div_ceil(u128::from(self.share.0));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// A cap that slots share. It can be changed, or taken away, while they run.
#[derive(Debug)]
pub struct CpuCap {
    clock: Stopwatch,
    /// Without one nobody needs to look any further.
    capped: AtomicBool,
    bucket: Mutex<Option<Bucket>>,
}

impl CpuCap {
    /// So much of one core; as much as there is if none.
    #[must_use]
    pub fn new(share: Option<CpuShare>) -> Self {
        let bucket = share.map(|share| Bucket::new(share, 0));
        let capped = AtomicBool::new(share.is_some());
        Self { clock: Stopwatch::start(), capped, bucket: Mutex::new(bucket) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Bucket>> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another cap from now on, without credit or debt.
    pub fn set(&self, share: Option<CpuShare>) {
        let mut bucket = self.lock();
        *bucket = share.map(|share| Bucket::new(share, self.clock.nanos()));
        self.capped.store(share.is_some(), Ordering::Relaxed);
    }

    /// A guest ran for so long.
    pub fn spend(&self, ran: Duration) {
        if !self.capped.load(Ordering::Relaxed) {
            return;
        }
        let ran = u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX);
        let now = self.clock.nanos();
        if let Some(bucket) = &mut *self.lock() {
            bucket.spend(now, ran);
        }
    }

    /// How long to rest before the next turn.
    #[must_use]
    pub fn rest(&self) -> Duration {
        if !self.capped.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        let now = self.clock.nanos();
        self.lock().as_mut().map_or(Duration::ZERO, |bucket| bucket.rest(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MILLI: u64 = 1_000_000;

    proptest! {
        /// A guest that always wants to run gets its cap, whatever its turns and
        /// however late it is woken, as long as that is less than a window.
        #[test]
        fn a_cap_holds_over_ten_seconds(
            share in 10_u32..=2_000,
            turns in prop::collection::vec((1_u64..10 * MILLI, 0_u64..2 * MILLI), 1..50),
        ) {
            let mut bucket = Bucket::new(CpuShare(share), 0);
            let (mut now, mut ran) = (0_u64, 0_u64);
            for (turn, late) in turns.iter().cycle() {
                let rest = u64::try_from(bucket.rest(now).as_nanos()).unwrap();
                now += if rest == 0 { 0 } else { rest + late };
                now += turn;
                ran += turn;
                bucket.spend(now, *turn);
                if now > 10_000 * MILLI {
                    break;
                }
            }
            let allowed = now * u64::from(share.min(1_000)) / 1_000;
            let window = 100 * MILLI * u64::from(share) / 1_000;
            prop_assert!(ran <= allowed + window + 10 * MILLI, "{ran} of {allowed}");
            prop_assert!(ran + window + 10 * MILLI >= allowed, "{ran} of {allowed}");
        }
    }

    #[test]
    fn a_cap_is_set_and_taken_away_while_slots_share_it() {
        let cap = CpuCap::new(None);
        cap.spend(Duration::from_secs(1));
        assert_eq!(cap.rest(), Duration::ZERO);
        cap.set(Some(CpuShare(500)));
        assert_eq!(cap.rest(), Duration::ZERO, "what ran before is no debt");
        cap.spend(Duration::from_secs(100));
        assert!(cap.rest() > Duration::from_secs(100));
        cap.set(None);
        assert_eq!(cap.rest(), Duration::ZERO);
    }

    #[test]
    fn silence_saves_up_no_more_than_a_window() {
        let mut bucket = Bucket::new(CpuShare(500), 0);
        assert_eq!(bucket.rest(60_000 * MILLI), Duration::ZERO);
        bucket.spend(60_000 * MILLI, 150 * MILLI);
        // 50 ms were saved up; 100 ms of debt take 200 ms.
        assert_eq!(bucket.rest(60_000 * MILLI), Duration::from_millis(200));
    }
}
