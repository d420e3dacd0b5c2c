//! Time. The rest of the host asks a [`Clock`], so that tests can move it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Where the time comes from.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that stands still until a test moves it.
    Manual(ManualClock),
}

impl Clock {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn now_millis(&self) -> i64 {
        match self {
            Clock::System => system_millis(),
            Clock::Manual(clock) => clock.0.load(Ordering::SeqCst),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn system_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A clock that a test moves. Clones share their time.
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that shows the given milliseconds since 1970.
    #[must_use]
    pub fn at(millis: i64) -> Self {
        Self(Arc::new(AtomicI64::new(millis)))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Sets the clock back.
    pub fn set_back(&self, by: Duration) {
        self.0.fetch_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

/// A moment, for people to read: on the machine's clock, and what came after it on one that never
/// goes back, so that nothing ends before it began.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    nanos: u64,
    watch: Stopwatch,
}

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        Self::of(Stopwatch::start())
    }

    /// When a stopwatch was started.
    #[must_use]
    pub fn of(watch: Stopwatch) -> Self {
        Self { nanos: system_nanos().saturating_sub(watch.nanos()), watch }
    }

    /// Nanoseconds from 1970-01-01T00:00:00Z to it.
    #[must_use]
    pub fn nanos(self) -> u64 {
        self.nanos
    }

    /// Nanoseconds from 1970-01-01T00:00:00Z to now.
    #[must_use]
    pub fn until_now(self) -> u64 {
        self.nanos.saturating_add(self.watch.nanos())
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn system_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts one.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Time since it was started.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// The same, in microseconds.
    #[must_use]
    pub fn micros(&self) -> u64 {
        u64::try_from(self.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The same, in nanoseconds.
    #[must_use]
    pub fn nanos(&self) -> u64 {
        u64::try_from(self.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
