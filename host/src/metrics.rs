//! Numbers that subtasks count and others read.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use crate::stream::{Batch, watermark};

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
            watermark: AtomicI64::new(watermark::NONE),
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
    /// A batch came in.
    pub fn count_in(&self, batch: &Batch) {
        add(&self.records_in, batch.len());
        add(&self.bytes_in, batch.bytes());
    }

    /// A batch went out.
    pub fn count_out(&self, batch: &Batch) {
        add(&self.records_out, batch.len());
        add(&self.bytes_out, batch.bytes());
    }
}

/// Metrics that are shared with their readers.
pub type SharedMetrics = Arc<SubtaskMetrics>;
