//! Who holds how much memory, and who may take more: a tree of budgets from the
//! TaskManager over its tenants to its slots. What is held is known elsewhere
//! (the `sandbox` and the subtasks tell); what happens after a refusal is, too.
//!
//! ```text
//! TaskManager  limit: --memory              reserved = sum of its tenants
//!    └─ tenant    limit: its own, or none   reserved = sum of its slots
//!          └─ slot   limit: `memory`        reserved = used, in whole segments
//! ```
//!
//! Beside its budget a tenant may have a quota of keyed state (`state`), which is a
//! part of what its slots hold; it is charged in bytes, before the budgets above.
//!
//! # What a slot is charged for
//!
//! All memories and tables of its component; its keyed state; what waits in its
//! input queues and the host's copies of the batches of the running call. For
//! the last two, *buffers*, a part of the limit is set aside when the slot is
//! opened, so that a slot that holds all that it may still takes its next batch.
//!
//! # The invariant
//!
//! 1. **What is granted is charged, at every level, before it is used.** A slot's
//!    grant is in its tenant's sum and in the TaskManager's. No sum grows past
//!    its limit; a limit that is lowered below the sum stops all growth and takes
//!    nothing away.
//! 2. **What a slot no longer uses is given back at once**, and all of it when the
//!    slot is dropped. Without slots, every sum is 0.
//!
//! There are two ways to decide wrongly who may start or grow, and neither number
//! that suggests itself is used for it:
//!
//! - *Resident memory lags behind grants.* What a guest was given and has not
//!   touched yet is not resident. Who looks at resident memory lets too many in,
//!   and they meet when they touch it. So growth is decided by `reserved`.
//! - *Grants run ahead of use.* A limit is what a slot may take at the worst, and
//!   most take a fraction. Who adds up limits keeps a machine empty. So limits
//!   are *promised* beside what is reserved, and [`Admission`] says which of the
//!   two decides whether a job may start.
//!
//! Not charged: the host's own memory that no slot asked for (code, channels of
//! sinks, the store), and what a call's outcome takes between leaving the guest
//! and being counted, which the `sandbox` bounds. Keyed state is counted after
//! the call that made it grow; before, the states that the guest returned are
//! counted as copies of the call.

mod budget;
mod machine;
mod manager;
#[cfg(test)]
mod model_tests;
mod report;
mod slot;
mod time;

pub use budget::{Scope, Shortage};
pub use machine::{MachineMemory, this_machine};
pub use manager::{Admission, AdmittedJob, NotAdmitted, TaskManagerMemory, UnknownOperator};
pub use report::{LargestSlot, MemoryReport, Segments, SlotReport, TenantReport};
pub use slot::{Part, Refusal, SlotMeter, Usage};

/// Bytes of a segment: what budgets are given out in above the slots, as Flink's
/// memory segments are.
pub const SEGMENT: usize = 32 << 10;

/// Bytes in whole segments.
fn whole_segments(bytes: usize) -> usize {
    bytes.div_ceil(SEGMENT).saturating_mul(SEGMENT)
}
