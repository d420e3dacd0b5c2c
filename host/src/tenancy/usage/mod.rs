//! Usage: what tenants have consumed, kept so that it can be billed.
//!
//! ```text
//!  a job's counters ─▶ meter ─▶ records of an interval ─▶ ledger (a file a process run)
//!                                                            │
//!               table, CSV, JSON ◀─ summary ◀─ read ◀────────┘
//! ```
//!
//! Usage is what was consumed: work that is done again after a restart is counted
//! again. A record is one line of a ledger and has a number in it, so that none
//! counts twice; what a process had not written when it was killed, an interval at
//! most, is lost.

pub mod ledger;
pub mod meter;
pub mod read;
pub mod summary;

use serde::{Deserialize, Serialize};

use crate::ids::{JobName, OperatorName, TenantId};

/// What was consumed. All of it adds up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumption {
    /// How long guests ran, in nanoseconds.
    pub cpu_nanos: u64,
    /// Fuel that they used; 0 where it is not counted.
    #[serde(default)]
    pub fuel: u64,
    /// Memory that slots had reserved, in bytes times seconds.
    pub memory_byte_seconds: u64,
    /// Records that came in; 0 for a source.
    pub records_in: u64,
    /// Records that went out; 0 for a sink.
    pub records_out: u64,
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
    /// Bytes that were written for checkpoints.
    pub checkpoint_bytes: u64,
}

impl Consumption {
    /// Whether nothing was consumed.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what another consumed.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.cpu_nanos, other.cpu_nanos),
            (&mut self.fuel, other.fuel),
            (&mut self.memory_byte_seconds, other.memory_byte_seconds),
            (&mut self.records_in, other.records_in),
            (&mut self.records_out, other.records_out),
            (&mut self.bytes_in, other.bytes_in),
            (&mut self.bytes_out, other.bytes_out),
            (&mut self.checkpoint_bytes, other.checkpoint_bytes),
        ];
        for (sum, more) in pairs {
            *sum = sum.saturating_add(more);
        }
    }
}

/// What an operator, source or sink of a job consumed from one moment to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// Whose job it was.
    pub tenant: TenantId,
    /// The job.
    pub job: JobName,
    /// The operator, source or sink; none for what belongs to the job as a whole, such
    /// as the manifests of its checkpoints.
    pub operator: Option<OperatorName>,
    /// From when, in milliseconds since 1970.
    pub start: i64,
    /// Until when.
    pub end: i64,
    /// What.
    #[serde(flatten)]
    pub consumed: Consumption,
}
