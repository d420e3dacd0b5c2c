//! Checkpoints: what they are made of, byte by byte, and where they are kept.
//! Knows nothing of jobs that run or of slots.
//!
//! A checkpoint is one *manifest* and the *chunks* that it names by the digest
//! of their content. State that did not change is named again, not written
//! again. A checkpoint exists once its manifest is flushed, and only then.

pub mod format;
pub mod manifest;
pub mod memory_store;
pub mod sled_store;
pub mod store;

pub use manifest::{ChunkDigest, GuestState, Manifest, OperatorState, StoredChunk, SubtaskState};
pub use store::{CheckpointStore, StoreError};
