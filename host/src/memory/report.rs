//! What memory looks like at one moment, for those who watch it.

use serde::Serialize;

use super::{SEGMENT, budget::Budget, slot::Usage};
use crate::ids::{JobName, OperatorName, SubtaskIndex, TenantId};

/// The memory of a TaskManager, or of a job in one: then with its slots and its tenant only. Bytes,
/// unless it says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MemoryReport {
    /// What all slots may reserve: available managed memory.
    pub limit: usize,
    /// The sum of the limits of all slots of the jobs that were let in.
    pub promised: usize,
    /// What slots have reserved.
    pub reserved: usize,
    /// What the slots that are shown use of it.
    pub used: usize,
    /// What nobody has reserved.
    pub free: usize,
    /// The most that was ever reserved.
    pub peak: usize,
    /// Used / available × 100.
    pub utilisation: f64,
    /// The same in segments.
    pub segments: Segments,
    /// Tenants that have or had slots.
    pub tenants: Vec<TenantReport>,
    /// Slots, by job, operator and subtask.
    pub slots: Vec<SlotReport>,
    /// Which of them ever held the most, also if it is gone.
    pub largest_slot: Option<LargestSlot>,
}

/// A slot and the most that it ever held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LargestSlot {
    /// The operator.
    pub operator: OperatorName,
    /// Which parallel instance.
    pub subtask: SubtaskIndex,
    /// The most that it held, in bytes, with what is set aside for its buffers.
    pub peak: usize,
    /// What it may hold, in bytes.
    pub limit: usize,
}

/// Managed memory in segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Segments {
    /// Bytes of one.
    pub size: usize,
    /// How many there are.
    pub total: usize,
    /// How many slots have reserved.
    pub reserved: usize,
    /// How many of these what is used would fill.
    pub used: usize,
    /// How many are free.
    pub free: usize,
}

/// The memory of a tenant, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TenantReport {
    /// Who.
    pub tenant: TenantId,
    /// Its own budget; none if only the TaskManager's counts.
    pub limit: Option<usize>,
    /// The sum of the limits of its slots.
    pub promised: usize,
    /// What its slots have reserved.
    pub reserved: usize,
    /// The most that they ever had.
    pub peak: usize,
    /// How much keyed state its operators may keep; none if there is no quota.
    pub state_limit: Option<usize>,
    /// How much they keep; a part of what is reserved.
    pub state: usize,
}

/// The memory of a slot, in bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlotReport {
    /// Whose it is.
    pub tenant: TenantId,
    /// The job in it.
    pub job: JobName,
    /// The operator.
    pub operator: OperatorName,
    /// Which parallel instance.
    pub subtask: SubtaskIndex,
    /// What it may hold.
    pub limit: usize,
    /// What it has reserved of the budgets above it, in whole segments.
    pub reserved: usize,
    /// What it uses.
    pub used: usize,
    /// What it may still take; what is set aside for its buffers is taken.
    pub free: usize,
    /// The most that it held, with what is set aside.
    pub peak: usize,
    /// Used / limit × 100.
    pub utilisation: f64,
    /// What it uses, part by part.
    pub parts: Usage,
}

/// Used / available × 100, as Flink has it.
#[expect(clippy::cast_precision_loss, reason = "a share, not a sum")]
pub(super) fn utilisation(used: usize, available: usize) -> f64 {
    if available == 0 { 0.0 } else { used as f64 / available as f64 * 100.0 }
}

impl MemoryReport {
    pub(super) fn new(
        root: &Budget,
        promised: usize,
        used: usize,
        tenants: Vec<TenantReport>,
        slots: Vec<SlotReport>,
    ) -> Self {
        let (limit, reserved) = (root.limit(), root.reserved());
        let free = limit.saturating_sub(reserved);
        Self {
            limit,
            promised,
            reserved,
            used,
            free,
            peak: root.peak(),
            utilisation: utilisation(used, limit),
            segments: Segments {
                size: SEGMENT,
                total: limit / SEGMENT,
                reserved: reserved / SEGMENT,
                used: used.div_ceil(SEGMENT),
                free: free / SEGMENT,
            },
            tenants,
            slots,
            largest_slot: None,
        }
    }
}
