//! How long a guest runs: measured around its turns, told to whoever counts it,
//! and held against the call's deadline and the slot's caps.
//!
//! A *turn* is one poll of a call, from the host's handing it in, or the guest's going
//! on after a yield, to its answer or its next yield. What lies between two turns is
//! either waiting that others impose (for a core, or for a cap), which costs the
//! guest nothing, or waiting that the guest asked for (a WASI clock, say), which
//! counts towards the deadline but is not time that it ran.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    clock::Stopwatch,
    metrics::GuestWork,
    sandbox::{cap::CpuCap, engine::EPOCH, trap::DeadlineReached},
};

/// Who counts a slot's time, and what holds it back.
#[derive(Debug, Clone, Default)]
pub struct CpuMeter {
    /// The slot's work; none if it is not measured, and the deadline is counted in
    /// epochs.
    pub work: Option<Arc<GuestWork>>,
    /// Caps, of the slot itself and of those that it belongs to.
    pub caps: Vec<Arc<CpuCap>>,
}

impl CpuMeter {
    /// How long the slot's guests ran, in milliseconds.
    #[must_use]
    pub fn total_millis(&self) -> u64 {
        self.total_nanos() / 1_000_000
    }

    /// The same in nanoseconds.
    #[must_use]
    pub fn total_nanos(&self) -> u64 {
        let total = self.work.as_ref().map(|work| work.total()).unwrap_or_default();
        u64::try_from(total.as_nanos()).unwrap_or(u64::MAX)
    }

    /// How much fuel they used.
    #[must_use]
    pub fn total_fuel(&self) -> u64 {
        self.work.as_ref().map_or(0, |work| work.fuel())
    }

    pub(super) fn count_fuel(&self, fuel: u64) {
        if let Some(work) = &self.work {
            work.add_fuel(fuel);
        }
    }

    pub(super) fn is_measured(&self) -> bool {
        self.work.is_some() || !self.caps.is_empty()
    }

    fn count(&self, ran: Duration) {
        if let Some(work) = &self.work {
            work.add(ran);
        }
        for cap in &self.caps {
            cap.spend(ran);
        }
    }

    /// Waits until no cap is in debt.
    async fn rest(&self) {
        loop {
            let rest = self.caps.iter().map(|cap| cap.rest()).max().unwrap_or_default();
            if rest.is_zero() {
                return;
            }
            tokio::time::sleep(rest).await;
        }
    }
}

/// What the call and the epoch callback, which runs within it, both know. Only one
/// thread at a time has anything to do with it.
#[derive(Debug)]
pub(super) struct CallClock {
    base: Stopwatch,
    measured: bool,
    /// Nanoseconds towards the deadline, before the current turn.
    used: AtomicU64,
    /// When the current turn began.
    turn: AtomicU64,
    /// The turn ended because an epoch did.
    yielded: AtomicBool,
}

impl CallClock {
    pub(super) fn new(measured: bool) -> Self {
        Self {
            base: Stopwatch::start(),
            measured,
            used: AtomicU64::new(0),
            turn: AtomicU64::new(0),
            yielded: AtomicBool::new(false),
        }
    }

    /// A new call begins.
    pub(super) fn begin(&self) {
        self.used.store(0, Relaxed);
        self.yielded.store(false, Relaxed);
    }

    /// An epoch has ended during a turn. Whether the deadline has come.
    pub(super) fn epoch(&self, deadline: Duration) -> bool {
        let turn = if self.measured {
            self.base.nanos().saturating_sub(self.turn.load(Relaxed))
        } else {
            let epoch = u64::try_from(EPOCH.as_nanos()).unwrap_or(u64::MAX);
            self.used.fetch_add(epoch, Relaxed);
            0
        };
        self.yielded.store(true, Relaxed);
        self.used(turn) >= deadline
    }

    fn used(&self, turn: u64) -> Duration {
        Duration::from_nanos(self.used.load(Relaxed).saturating_add(turn))
    }

    fn turn<F: Future>(
        &self,
        call: Pin<&mut F>,
        cx: &mut Context<'_>,
        meter: &CpuMeter,
    ) -> Poll<F::Output> {
        if !self.measured {
            return call.poll(cx);
        }
        let began = self.base.nanos();
        self.turn.store(began, Relaxed);
        let polled = call.poll(cx);
        let ran = self.base.nanos().saturating_sub(began);
        self.used.fetch_add(ran, Relaxed);
        meter.count(Duration::from_nanos(ran));
        polled
    }

    /// Waits as the guest asked to, no longer than to the deadline.
    async fn wait(&self, deadline: Duration) -> Result<(), DeadlineReached> {
        let left = deadline.saturating_sub(self.used(0));
        let began = self.base.nanos();
        // Whether it was woken or the time is up, the clock tells.
        let _ = tokio::time::timeout(left, suspended()).await;
        let waited = self.base.nanos().saturating_sub(began);
        self.used.fetch_add(waited, Relaxed);
        if self.used(0) >= deadline { Err(DeadlineReached) } else { Ok(()) }
    }
}

/// Is over when it is polled again: whoever was polled before has left a waker.
async fn suspended() {
    let mut polled = false;
    poll_fn(|_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending })
        .await;
}

/// Runs a call, turn by turn.
///
/// # Errors
/// The call's, or that the deadline came while the guest waited for something.
pub(super) async fn metered<T>(
    call: impl Future<Output = wasmtime::Result<T>>,
    clock: &CallClock,
    meter: &CpuMeter,
    deadline: Duration,
) -> wasmtime::Result<T> {
    let mut call = pin!(call);
    loop {
        if !meter.caps.is_empty() {
            meter.rest().await;
        }
        let turn = poll_fn(|cx| Poll::Ready(clock.turn(call.as_mut(), cx, meter))).await;
        if let Poll::Ready(ended) = turn {
            return ended;
        }
        if clock.yielded.swap(false, Relaxed) {
            // wasmtime has woken the task already.
            suspended().await;
        } else {
            clock.wait(deadline).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::config::job::CpuShare;

    fn measured() -> CpuMeter {
        CpuMeter { work: Some(Arc::default()), caps: Vec::new() }
    }

    #[tokio::test]
    async fn a_guest_that_waits_for_ever_meets_its_deadline() {
        let (clock, meter) = (CallClock::new(true), measured());
        let deadline = Duration::from_millis(20);
        let call = pending::<wasmtime::Result<()>>();
        let began = Stopwatch::start();
        let error = metered(call, &clock, &meter, deadline).await.unwrap_err();
        assert!(error.downcast_ref::<DeadlineReached>().is_some());
        assert!(began.elapsed() >= deadline);
        assert!(meter.work.unwrap().total() < deadline, "waiting is not running");
    }

    #[tokio::test]
    async fn what_others_make_a_guest_wait_does_not_count() {
        let (clock, meter) = (CallClock::new(true), measured());
        let mut turns = 0;
        // Yields at two epochs; after each, others are long.
        let call = poll_fn(|cx| {
            turns += 1;
            if turns == 3 {
                return Poll::Ready(Ok(turns));
            }
            assert!(!clock.epoch(Duration::from_millis(30)), "the deadline came");
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let mut call = pin!(metered(call, &clock, &meter, Duration::from_millis(30)));
        let turns = loop {
            let polled = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
            if let Poll::Ready(ended) = polled {
                break ended.unwrap();
            }
            let others = Stopwatch::start();
            while others.elapsed() < Duration::from_millis(40) {}
        };
        assert_eq!(turns, 3);
    }

    #[tokio::test]
    async fn a_guest_in_debt_rests_before_its_next_turn() {
        let cap = Arc::new(CpuCap::new(Some(CpuShare(500))));
        let meter = CpuMeter { work: None, caps: vec![cap.clone()] };
        let clock = CallClock::new(meter.is_measured());
        cap.spend(Duration::from_millis(10));
        let began = Stopwatch::start();
        metered(ready(Ok(())), &clock, &meter, Duration::MAX).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(19), "{:?}", began.elapsed());
    }

    #[test]
    fn unmeasured_the_deadline_is_counted_in_epochs() {
        let clock = CallClock::new(false);
        assert!(!clock.epoch(EPOCH * 2));
        assert!(clock.epoch(EPOCH * 2));
    }
}
