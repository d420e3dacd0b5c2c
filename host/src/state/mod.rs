//! The keyed state, windows and timers of one subtask. Pure: no I/O, no clock,
//! no knowledge of guests or jobs.
//!
//! ```text
//!            group                     apply
//!  batch ──────────────▶ Groups ─▶ (guest) ─▶ changed states, timers
//!                ▲                                │
//!                │       table: (key, window) ─▶ state
//!                │                                │
//!  watermark ──▶ due ──▶ Groups ─▶ (guest) ◀──────┘
//! ```
//!
//! - [`table`]: finds the entry of a key and window, fast.
//! - [`windows`]: which windows a record belongs to.
//! - [`timers`]: what is due when.
//! - [`call`]: what the guest is handed, and what it answers.
//! - [`keyed`]: the whole, as the subtask's driver uses it.
//! - `changes`: what of it changed since the last snapshot.
//! - [`buffer`]: memory that snapshots are written to.
//! - [`chunks`]: what of it goes into a checkpoint.
//! - [`merge`]: when chunks of a key group become one, and how.
//! - `look`: what can be seen of it from outside.
//! - `undo`: how a call that came to nothing is taken back.

pub mod buffer;
pub mod call;
mod changes;
pub mod chunks;
pub mod keyed;
mod look;
pub mod merge;
pub mod sessions;
pub mod table;
pub mod timers;
mod undo;
pub mod windows;

pub use buffer::Buffer;
pub use call::{Change, Firing, FiringKind, Groups, InvalidChange, TimerChange, TimerKind};
pub use chunks::GroupChunk;
pub use keyed::KeyedState;
pub use look::{Seen, SeenState};
pub use windows::Window;

#[cfg(test)]
mod model_tests;
