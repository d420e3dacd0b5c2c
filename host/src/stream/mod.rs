//! What flows through a job: batches of records, and the control elements
//! between them. Knows nothing of where code runs.

pub mod batch;
pub mod channel;
pub mod element;
pub mod exchange;
pub mod keys;
pub mod watermark;

pub use batch::{Batch, BatchBuilder, Column, DeadLetter};
pub use element::{Barrier, Element};
