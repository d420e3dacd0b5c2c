//! How fast the sources of a tenant may read: slowed, not refused.
//!
//! What was read is put on a *line* that is paid off at the tenant's rate; one line
//! for records, one for bytes. Whoever has read something gets a [`Ticket`], its
//! place on both lines, and waits until that is paid before it reads again. So the
//! sources of a tenant, whatever their number, go forward in turns and read as much
//! as the rate allows, all together. What is not used within [`WINDOW`] is lost.
//!
//! Reading comes first and waiting after it, since what a source has is known only
//! then. So a burst is what a window pays for, and one batch for each source.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use crate::{clock::Stopwatch, config::tenant::Quotas, ids::TenantId};

/// How long unused allowance lasts.
pub const WINDOW: Duration = Duration::from_millis(100);

/// Nanoseconds of a second: what is paid is counted in parts of this.
const SECOND: u128 = 1_000_000_000;

/// A line that is paid off at a rate. Counts in billionths of a record or byte, so
/// that no rate and no time is rounded.
#[derive(Debug, Clone, Copy)]
struct Line {
    /// A second; none if there is no limit.
    rate: Option<u64>,
    /// All that was put on the line.
    owed: u128,
    /// How much of it is paid; more than is owed is allowance.
    paid: u128,
    /// When that was right.
    at: u64,
}

impl Line {
    fn new(rate: Option<u64>) -> Self {
        Self { rate, owed: 0, paid: 0, at: 0 }
    }

    fn pay(&mut self, now: u64) {
        let elapsed = u128::from(now.saturating_sub(self.at));
        self.at = self.at.max(now);
        self.paid = match self.rate {
            Some(rate) => {
                let allowance = u128::from(rate) * WINDOW.as_nanos();
                (self.paid + u128::from(rate) * elapsed).min(self.owed + allowance)
            }
            None => self.owed,
        };
    }

    /// Puts so much on the line; the place of its end.
    fn put(&mut self, amount: u64, now: u64) -> u128 {
        self.pay(now);
        self.owed += u128::from(amount) * SECOND;
        self.owed
    }

    /// How long until that place is paid.
    fn wait(&mut self, place: u128, now: u64) -> Duration {
        self.pay(now);
        let missing = place.saturating_sub(self.paid);
        match self.rate {
            Some(rate) if missing > 0 => {
                let nanos = missing.div_ceil(u128::from(rate.max(1)));
                Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
            _ => Duration::ZERO,
        }
    }

    /// Another rate from now on. Where there was no limit nothing is owed.
    fn set_rate(&mut self, rate: Option<u64>, now: u64) {
        self.pay(now);
        self.rate = rate;
    }
}

/// Both lines of a tenant, in times that the caller gives: nanoseconds since whenever.
#[derive(Debug, Clone, Copy)]
pub struct Lines {
    records: Line,
    bytes: Line,
}

/// Somebody's place on both lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ticket {
    records: u128,
    bytes: u128,
}

/// Which quota makes a source wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowedBy {
    /// `ingest_records`
    Records,
    /// `ingest_bytes`
    Bytes,
}

impl SlowedBy {
    /// Its key in `tenants.toml`.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Records => "ingest_records",
            Self::Bytes => "ingest_bytes",
        }
    }
}

impl Lines {
    /// Empty ones.
    #[must_use]
    pub fn new(quotas: &Quotas) -> Self {
        Self { records: Line::new(quotas.ingest_records), bytes: Line::new(quotas.ingest_bytes) }
    }

    /// So much was read.
    pub fn read(&mut self, records: u64, bytes: u64, now: u64) -> Ticket {
        Ticket { records: self.records.put(records, now), bytes: self.bytes.put(bytes, now) }
    }

    /// How long whoever has this ticket has to wait, and because of what.
    pub fn wait(&mut self, ticket: Ticket, now: u64) -> Option<(Duration, SlowedBy)> {
        let records = (self.records.wait(ticket.records, now), SlowedBy::Records);
        let bytes = (self.bytes.wait(ticket.bytes, now), SlowedBy::Bytes);
        let longer = if bytes.0 > records.0 { bytes } else { records };
        (!longer.0.is_zero()).then_some(longer)
    }

    /// Other rates from now on.
    pub fn set(&mut self, quotas: &Quotas, now: u64) {
        self.records.set_rate(quotas.ingest_records, now);
        self.bytes.set_rate(quotas.ingest_bytes, now);
    }
}

/// What the sources of one tenant wait for.
#[derive(Debug)]
pub struct IngestLimit {
    tenant: TenantId,
    clock: Stopwatch,
    /// Without a limit nobody needs to look any further.
    limited: AtomicBool,
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug)]
struct Inner {
    lines: Lines,
    /// Why the last one that waited had to.
    slowed_by: Option<SlowedBy>,
    waited: Duration,
}

/// How much the sources of a tenant were slowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Slowed {
    /// The quota that they waited for last.
    pub by: Option<SlowedBy>,
    /// How long they waited, all together.
    pub waited: Duration,
}

impl IngestLimit {
    fn new(tenant: TenantId, quotas: &Quotas) -> Self {
        let inner = Inner { lines: Lines::new(quotas), slowed_by: None, waited: Duration::ZERO };
        let limited = AtomicBool::new(is_limited(quotas));
        let (clock, changed) = (Stopwatch::start(), Notify::new());
        Self { tenant, clock, limited, inner: Mutex::new(inner), changed }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A source has read so much.
    pub fn read(&self, records: usize, bytes: usize) -> Ticket {
        if !self.limited.load(Ordering::Relaxed) {
            return Ticket::default();
        }
        let now = self.clock.nanos();
        self.lock().lines.read(records as u64, bytes as u64, now)
    }

    /// Whether whoever has this ticket has to [`wait`](Self::wait).
    pub fn is_slowed(&self, ticket: Ticket) -> bool {
        self.limited.load(Ordering::Relaxed) && self.look(ticket).is_some()
    }

    /// Waits until whoever has this ticket may read again. Safe to cancel.
    pub async fn wait(&self, ticket: Ticket) {
        loop {
            let changed = self.changed.notified();
            let Some((wait, by)) = self.look(ticket) else { return };
            let since = Stopwatch::start();
            // A task that is cancelled here, for a checkpoint say, waits on later.
            let _waited = OnDrop(|| self.lock().waited += since.elapsed());
            self.notice(by);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // Another rate: look again.
                () = changed => {}
            }
        }
    }

    fn look(&self, ticket: Ticket) -> Option<(Duration, SlowedBy)> {
        let now = self.clock.nanos();
        self.lock().lines.wait(ticket, now)
    }

    /// Says that sources wait, and for what: once, until there are other quotas.
    fn notice(&self, by: SlowedBy) {
        let inner = &mut *self.lock();
        if inner.slowed_by.replace(by).is_none() {
            let (tenant, key) = (&self.tenant, by.key());
            tracing::info!("sources of tenant `{tenant}` are slowed by its quota `{key}`");
        }
    }

    fn set(&self, quotas: &Quotas) {
        let now = self.clock.nanos();
        {
            let inner = &mut *self.lock();
            inner.lines.set(quotas, now);
            self.limited.store(is_limited(quotas), Ordering::Relaxed);
            inner.slowed_by = None;
        }
        self.changed.notify_waiters();
    }

    /// How much sources were slowed.
    #[must_use]
    pub fn slowed(&self) -> Slowed {
        let inner = self.lock();
        Slowed { by: inner.slowed_by, waited: inner.waited }
    }
}

fn is_limited(quotas: &Quotas) -> bool {
    quotas.ingest_records.is_some() || quotas.ingest_bytes.is_some()
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The limits of all tenants of a TaskManager. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct IngestLimits {
    tenants: Arc<Mutex<BTreeMap<TenantId, Arc<IngestLimit>>>>,
}

impl IngestLimits {
    /// That of one tenant, which follows later changes.
    #[must_use]
    pub fn of(&self, tenant: &TenantId) -> Arc<IngestLimit> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(IngestLimit::new(tenant.clone(), &Quotas::default()));
        tenants.entry(tenant.clone()).or_insert_with(new).clone()
    }

    /// Gives a tenant other rates; sources that wait go by them at once.
    pub fn set(&self, tenant: &TenantId, quotas: &Quotas) {
        self.of(tenant).set(quotas);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MILLI: u64 = 1_000_000;

    fn quotas(records: Option<u64>, bytes: Option<u64>) -> Quotas {
        Quotas { ingest_records: records, ingest_bytes: bytes, ..Quotas::default() }
    }

    /// Sources that always have something to read do so for ten seconds; how much
    /// was read, and when, and by whom.
    fn busy(rate: u64, batches: &[u64], sources: usize, late: u64) -> Vec<(u64, u64, usize)> {
        let mut lines = Lines::new(&quotas(Some(rate), None));
        let mut tickets = vec![Ticket::default(); sources];
        let mut next: Vec<u64> = vec![0; sources];
        let mut sizes = batches.iter().cycle();
        let mut read = Vec::new();
        loop {
            let turn = (0..sources).min_by_key(|i| next[*i]).unwrap();
            let now = next[turn];
            if now > 10_000 * MILLI {
                return read;
            }
            match lines.wait(tickets[turn], now) {
                Some((wait, _)) => {
                    next[turn] = now + u64::try_from(wait.as_nanos()).unwrap() + late;
                }
                None => {
                    let size = *sizes.next().unwrap();
                    tickets[turn] = lines.read(size, 0, now);
                    read.push((now, size, turn));
                }
            }
        }
    }

    proptest! {
        /// Whatever the batches and the number of sources, and if a source comes late
        /// by less than a window: the rate is held, and it can be used.
        #[test]
        fn the_rate_is_held_and_bursts_are_bounded(
            rate in 100_u64..200_000,
            batches in prop::collection::vec(1_u64..2_000, 1..20),
            sources in 1_usize..5,
            late in 0_u64..20 * MILLI,
        ) {
            let read = busy(rate, &batches, sources, late);
            let largest = *batches.iter().max().unwrap();
            let burst = rate / 10 + 1 + largest * sources as u64;
            let all: u64 = read.iter().map(|(_, size, _)| size).sum();
            let allowed = rate * 10;
            prop_assert!(all <= allowed + burst, "{all} of {allowed}");
            prop_assert!(all + burst >= allowed, "{all} of {allowed} could have been read");
            // The same in every interval, not only from the start: of small batches at a high rate
            // there are millions, of which not each can be the first.
            let step = (read.len() / 50).max(7);
            for (i, (from, _, _)) in read.iter().enumerate().step_by(step) {
                let mut sum = 0;
                for (until, size, _) in &read[i..] {
                    sum += size;
                    let allowed = u128::from(rate) * u128::from(until - from) / SECOND;
                    prop_assert!(u128::from(sum) <= allowed + u128::from(burst) + 1);
                }
            }
        }

        #[test]
        fn the_sources_of_a_tenant_go_forward_in_turns(
            rate in 1_000_u64..100_000, size in 100_u64..1_000, sources in 2_usize..6,
        ) {
            let read = busy(rate, &[size], sources, 0);
            let counts: Vec<usize> =
                (0..sources).map(|i| read.iter().filter(|(_, _, who)| *who == i).count()).collect();
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            // A window's worth may go to whoever comes first.
            let window = usize::try_from(rate / 10 / size).unwrap() + 2;
            prop_assert!(most - least <= window, "{counts:?}");
        }
    }

    #[test]
    fn the_slower_of_the_two_quotas_is_the_one_that_is_named() {
        let mut lines = Lines::new(&quotas(Some(100), Some(1_000)));
        let ticket = lines.read(10, 1_000, 0);
        assert_eq!(lines.wait(ticket, 0), Some((Duration::from_secs(1), SlowedBy::Bytes)));
        let ticket = lines.read(200, 10, 0);
        let wait = Duration::from_millis(2_100);
        assert_eq!(lines.wait(ticket, 0), Some((wait, SlowedBy::Records)));
        assert_eq!(lines.wait(ticket, 2_100 * MILLI), None);
    }

    #[test]
    fn silence_saves_up_no_more_than_a_window() {
        let mut lines = Lines::new(&quotas(Some(1_000), None));
        let ticket = lines.read(1_100, 0, 60_000 * MILLI);
        let wait = lines.wait(ticket, 60_000 * MILLI).unwrap().0;
        assert_eq!(wait, Duration::from_secs(1));
    }

    #[test]
    fn a_new_rate_holds_for_what_is_owed_and_none_lets_go() {
        let mut lines = Lines::new(&quotas(Some(100), None));
        let ticket = lines.read(1_000, 0, 0);
        assert_eq!(lines.wait(ticket, 0).unwrap().0, Duration::from_secs(10));
        lines.set(&quotas(Some(1_000), None), 5_000 * MILLI);
        assert_eq!(lines.wait(ticket, 5_000 * MILLI).unwrap().0, Duration::from_millis(500));
        lines.set(&quotas(None, None), 5_000 * MILLI);
        assert_eq!(lines.wait(ticket, 5_000 * MILLI), None);
        // What was read without a limit is not owed when there is one again.
        let ticket = lines.read(1_000_000, 0, 6_000 * MILLI);
        lines.set(&quotas(Some(10), None), 7_000 * MILLI);
        assert_eq!(lines.wait(ticket, 7_000 * MILLI), None);
    }

    #[tokio::test]
    async fn who_waits_goes_by_a_new_rate_at_once() {
        let limits = IngestLimits::default();
        let acme = TenantId::new("acme").unwrap();
        limits.set(&acme, &quotas(Some(1), None));
        let limit = limits.of(&acme);
        let ticket = limit.read(1_000_000, 0);
        let (waiting, waker) = (limit.clone(), limits.clone());
        let waits = tokio::spawn(async move { waiting.wait(ticket).await });
        tokio::task::yield_now().await;
        assert_eq!(limit.slowed().by, Some(SlowedBy::Records));
        waker.set(&acme, &quotas(None, None));
        waits.await.unwrap();
    }
}
