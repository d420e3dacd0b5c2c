//! Checkpoints: what they are made of, byte by byte, and where they are kept.
//! Knows nothing of jobs that run or of slots.
//!
//! A checkpoint is one *manifest* and the *chunks* that it names by the digest
//! of their content. State that did not change is named again, not written
//! again. A checkpoint exists once its manifest is flushed, and only then.

//!
//! | file | what lives there |
//! | --- | --- |
//! | [`format`](mod@format) | the frame around everything that is stored |
//! | [`manifest`], [`details`] | what a checkpoint is made of, and what was measured of it |
//! | [`store`] | what a store must do |
//! | [`memory_store`], [`sled_store`] | the stores; `refs` counts who names which chunk |
//! | `layout` | in pieces of which size a database has its values |
//! | `marker` | what a state directory says beside the database |
//! | [`file`](mod@file) | a checkpoint as one file |
//! | [`summary`] | what a checkpoint is made of, for people |
//! | [`verify`] | reading all of a checkpoint |

pub mod details;
pub mod file;
pub mod format;
pub mod image;
mod layout;
pub mod manifest;
mod marker;
pub mod memory_store;
mod refs;
pub mod sled_store;
pub mod store;
pub mod summary;
pub mod verify;

pub use details::{Details, SubtaskDetails, Trigger};
pub use image::{ImageMemory, MemoryImage};
pub use manifest::{ChunkDigest, GuestState, Manifest, OperatorState, StoredChunk, SubtaskState};
pub use store::{CheckpointStore, Owner, StoreError};
