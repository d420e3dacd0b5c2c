//! Crash capsules: all that it takes to see a crash again, in one file, and recordings,
//! which are the same without a crash.
//!
//! - [`model`]: what is in one; [`memory`]: of a guest's memory.
//! - [`format`](mod@format): its bytes, and what is checked before any of them is believed.
//! - [`machine`]: an operator with its state outside of any job, fed event by event.
//! - [`replay`]: feeds it a capsule, and finds the record that crashes it.
//! - [`compare`]: feeds the same to two versions of an operator, and says how they differ.
//!
//! Who takes one, and where it is kept, is the job manager's.

pub mod compare;
pub mod format;
pub mod machine;
pub mod memory;
pub mod model;
pub mod replay;

pub use format::BadCapsule;
pub use model::Capsule;
