//! Numbers that subtasks count and others read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::clock::Stopwatch;

/// What a subtask had counted at a moment. It goes into checkpoints, so that
/// what is read again after a restart counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// As in [`SubtaskMetrics`].
    pub records_in: u64,
    /// As in [`SubtaskMetrics`].
    pub bytes_in: u64,
    /// As in [`SubtaskMetrics`].
    pub records_out: u64,
    /// As in [`SubtaskMetrics`].
    pub bytes_out: u64,
    /// As in [`SubtaskMetrics`].
    pub rejected: u64,
    /// As in [`SubtaskMetrics`].
    pub late: u64,
}

impl Counters {
    /// What two have counted together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            records_in: self.records_in + other.records_in,
            bytes_in: self.bytes_in + other.bytes_in,
            records_out: self.records_out + other.records_out,
            bytes_out: self.bytes_out + other.bytes_out,
            rejected: self.rejected + other.rejected,
            late: self.late + other.late,
        }
    }

    /// What is left without another's share.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            records_in: self.records_in.saturating_sub(other.records_in),
            bytes_in: self.bytes_in.saturating_sub(other.bytes_in),
            records_out: self.records_out.saturating_sub(other.records_out),
            bytes_out: self.bytes_out.saturating_sub(other.bytes_out),
            rejected: self.rejected.saturating_sub(other.rejected),
            late: self.late.saturating_sub(other.late),
        }
    }
}

/// What a subtask counts. Only the subtask writes.
#[derive(Debug)]
pub struct SubtaskMetrics {
    /// Records that came in.
    pub records_in: AtomicU64,
    /// Bytes that came in.
    pub bytes_in: AtomicU64,
    /// Records that went out, once for each port.
    pub records_out: AtomicU64,
    /// Bytes that went out.
    pub bytes_out: AtomicU64,
    /// Records that nothing reads: emitted to a port without a reader.
    pub records_unread: AtomicU64,
    /// Rejected records.
    pub rejected: AtomicU64,
    /// Records that were too late for their windows.
    pub late: AtomicU64,
    /// Nanoseconds at work.
    pub busy_nanos: AtomicU64,
    /// Nanoseconds that it waited for room behind it.
    pub blocked_nanos: AtomicU64,
    /// The watermark; `i64::MIN` before the first.
    pub watermark: AtomicI64,
    /// Bytes of guest memory, and of keyed state.
    pub memory: AtomicU64,
}

impl Default for SubtaskMetrics {
    fn default() -> Self {
        Self {
            records_in: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            records_out: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            records_unread: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            late: AtomicU64::new(0),
            busy_nanos: AtomicU64::new(0),
            blocked_nanos: AtomicU64::new(0),
            watermark: AtomicI64::new(i64::MIN),
            memory: AtomicU64::new(0),
        }
    }
}

/// Adds to a counter.
pub fn add(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(amount as u64, Ordering::Relaxed);
}

/// Reads a counter.
#[must_use]
pub fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl SubtaskMetrics {
    /// Goes on counting from a checkpoint.
    #[must_use]
    pub fn restored(from: &Counters) -> Self {
        let metrics = Self::default();
        let pairs = [
            (&metrics.records_in, from.records_in),
            (&metrics.bytes_in, from.bytes_in),
            (&metrics.records_out, from.records_out),
            (&metrics.bytes_out, from.bytes_out),
            (&metrics.rejected, from.rejected),
            (&metrics.late, from.late),
        ];
        for (counter, value) in pairs {
            counter.store(value, Ordering::Relaxed);
        }
        metrics
    }

    /// What it has counted now.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            records_in: get(&self.records_in),
            bytes_in: get(&self.bytes_in),
            records_out: get(&self.records_out),
            bytes_out: get(&self.bytes_out),
            rejected: get(&self.rejected),
            late: get(&self.late),
        }
    }

    /// A batch of so many records and bytes came in.
    pub fn count_in(&self, records: usize, bytes: usize) {
        add(&self.records_in, records);
        add(&self.bytes_in, bytes);
    }

    /// A batch of so many records and bytes went out.
    pub fn count_out(&self, records: usize, bytes: usize) {
        add(&self.records_out, records);
        add(&self.bytes_out, bytes);
    }

    /// It was at work for so long.
    pub fn count_busy(&self, time: Duration) {
        self.busy_nanos.fetch_add(nanos(time), Ordering::Relaxed);
    }

    /// It waited for so long until there was room behind it.
    pub fn count_blocked(&self, time: Duration) {
        self.blocked_nanos.fetch_add(nanos(time), Ordering::Relaxed);
    }

    /// Does a piece of work, and counts how long it took without what it waited for room
    /// behind it.
    pub async fn working<T>(&self, work: impl Future<Output = T>) -> T {
        let (clock, before) = (Stopwatch::start(), get(&self.blocked_nanos));
        let done = work.await;
        let blocked = get(&self.blocked_nanos).saturating_sub(before);
        self.count_busy(clock.elapsed().saturating_sub(Duration::from_nanos(blocked)));
        done
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How long guests ran, and how much fuel they used: those of one slot, or of all of a
/// tenant's.
///
/// The time is that of a monotonic clock around the turns that a guest takes, with
/// the host's work to hand a call in and its answer out, and without the time that
/// a guest waits. Where the kernel takes the thread away meanwhile, that counts
/// too: reading the thread's own clock would be a system call at each turn.
#[derive(Debug, Default)]
pub struct GuestWork {
    nanos: AtomicU64,
    /// Stays 0 where fuel is not counted.
    fuel: AtomicU64,
    /// What this is a part of.
    whole: Option<Arc<GuestWork>>,
}

impl GuestWork {
    /// What is counted here counts in `whole` too.
    #[must_use]
    pub fn part_of(whole: Arc<GuestWork>) -> Self {
        Self { whole: Some(whole), ..Self::default() }
    }

    /// A guest ran for so long.
    pub fn add(&self, time: Duration) {
        self.nanos.fetch_add(nanos(time), Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.add(time);
        }
    }

    /// A guest used so much fuel.
    pub fn add_fuel(&self, fuel: u64) {
        self.fuel.fetch_add(fuel, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.add_fuel(fuel);
        }
    }

    /// All of the time.
    #[must_use]
    pub fn total(&self) -> Duration {
        Duration::from_nanos(get(&self.nanos))
    }

    /// All of the fuel.
    #[must_use]
    pub fn fuel(&self) -> u64 {
        get(&self.fuel)
    }
}

/// Metrics that are shared with their readers.
pub type SharedMetrics = Arc<SubtaskMetrics>;
