//! How fast a tenant's jobs may restart. A job that crashes at once whenever it is
//! deployed costs the host work that no slot is charged for, so beyond a number of quick
//! restarts, whatever the restart strategy says, a tenant's restarts come at a bounded rate.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::ids::TenantId;

/// How many restarts of a tenant may come at once.
pub const BURST: i64 = 20;
/// How far apart they come after that, in milliseconds.
pub const PERIOD: i64 = 200;

/// When each tenant restarted: a bucket of [`BURST`] restarts, into which comes another one
/// each [`PERIOD`].
#[derive(Debug, Default)]
pub struct Restarts(Mutex<Buckets>);

#[derive(Debug)]
struct Buckets {
    /// When the bucket of each would be full again, in milliseconds.
    full: BTreeMap<TenantId, i64>,
    /// When the last restart was taken.
    taken: i64,
}

impl Default for Buckets {
    fn default() -> Self {
        Self { full: BTreeMap::new(), taken: i64::MIN }
    }
}

impl Restarts {
    /// Takes a restart of a tenant's from its bucket at a moment, in milliseconds. Returns
    /// for how long it has to wait.
    pub fn take(&self, tenant: &TenantId, now: i64) -> Duration {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Buckets { full, taken } = &mut *buckets;
        // Where the clock is set back, nobody has to wait until it has come there again.
        let back = taken.saturating_sub(now).max(0);
        *taken = now;
        full.values_mut().for_each(|full| *full = full.saturating_sub(back));
        // Full buckets hold nothing that has to be known.
        full.retain(|_, full| *full > now);
        let full = full.entry(tenant.clone()).or_insert(now);
        *full += PERIOD;
        let wait = *full - BURST * PERIOD - now;
        Duration::from_millis(u64::try_from(wait).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_a_tenants_restarts_come_at_their_rate_and_others_are_not_held_up() {
        let restarts = Restarts::default();
        let [hostile, other] = ["hostile", "other"].map(|name| TenantId::new(name).unwrap());
        let mut now = 0;
        for i in 0..100 {
            let wait = i64::try_from(restarts.take(&hostile, now).as_millis()).unwrap();
            assert_eq!(wait, if i < BURST { 0 } else { PERIOD }, "restart {i}");
            now += wait;
        }
        assert_eq!(restarts.take(&other, now), Duration::ZERO);
        // Whoever is good for a while has all of it again.
        now += 2 * BURST * PERIOD;
        for _ in 0..BURST {
            assert_eq!(restarts.take(&hostile, now), Duration::ZERO);
        }
        assert!(restarts.take(&hostile, now) > Duration::ZERO);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nobody_wait() {
        let (restarts, tenant) = (Restarts::default(), TenantId::new("acme").unwrap());
        let hour = 3_600_000;
        assert_eq!(restarts.take(&tenant, hour), Duration::ZERO);
        assert_eq!(restarts.take(&tenant, 0), Duration::ZERO, "not an hour");
        // What was taken before is still taken.
        for _ in 2..BURST {
            assert_eq!(restarts.take(&tenant, 0), Duration::ZERO);
        }
        assert_eq!(restarts.take(&tenant, 0), Duration::from_millis(200));
    }
}
