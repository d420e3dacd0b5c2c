//! Plain mirrors of the records in `wit/`, so that everything above them runs
//! natively too. Authors meet them only in tests.

use crate::Column;

/// Which input record each emitted record stems from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// None.
    Fresh,
    /// Output record `i` stems from input record `i`, for the whole batch.
    Same,
    /// Output record `i` stems from this input record.
    Keep(Vec<u32>),
}

/// Records for one output port. Columns that are `None` come from the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emission {
    /// The output port, from 0.
    pub port: u32,
    /// Where the columns that are not given come from.
    pub origin: Origin,
    /// New keys.
    pub keys: Option<Column>,
    /// New values.
    pub values: Option<Column>,
    /// New event times, milliseconds since 1970.
    pub timestamps: Option<Vec<i64>>,
}

/// A record that the operator refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Its index in the batch.
    pub index: u32,
    /// Why.
    pub reason: String,
}

/// The groups of a call, as in `keyed-processor.groups`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Groups {
    /// One key a group.
    pub keys: Column,
    /// The groups' states; an empty entry is none.
    pub states: Column,
    /// Starts of the groups' windows; empty without windows.
    pub window_starts: Vec<i64>,
    /// Ends of the groups' windows, exclusive; empty without windows.
    pub window_ends: Vec<i64>,
    /// Records or firings of the groups, group by group.
    pub rows: Vec<u32>,
    /// Where each group's rows begin and end.
    pub row_offsets: Vec<u32>,
}

/// Which time a timer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TimerKind {
    /// Event time: fires when the watermark has passed it.
    Event,
    /// Processing time: fires when the host's clock has passed it.
    Processing,
}

/// A timer of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer {
    /// The group's index in the call.
    pub group: u32,
    /// Which time it waits for.
    pub kind: TimerKind,
    /// When, in milliseconds since 1970.
    pub at: i64,
}

/// Why a group is fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FiringKind {
    /// The watermark passed the end of the group's window, or a late record
    /// that is still allowed changed a window that had fired.
    Window,
    /// An event-time timer.
    Event,
    /// A processing-time timer.
    Processing,
}

/// What is due, one entry a firing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Firings {
    /// Why.
    pub kinds: Vec<FiringKind>,
    /// The timer's time; for a window its last millisecond.
    pub times: Vec<i64>,
}

/// What time it is for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// No record older than this is expected any more.
    pub watermark: Option<i64>,
    /// The host's clock, milliseconds since 1970.
    pub processing: i64,
}

/// What a fold made of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoldOutcome {
    /// Emitted records.
    pub emissions: Vec<Emission>,
    /// Refused records.
    pub rejected: Vec<Rejection>,
    /// The groups whose state changed.
    pub changed: Vec<u32>,
    /// Their new states; an empty one deletes.
    pub states: Column,
    /// Timers to set.
    pub set_timers: Vec<Timer>,
    /// Timers to delete.
    pub delete_timers: Vec<Timer>,
}
