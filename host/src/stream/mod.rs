//! What flows through a job: batches of records, and the control elements
//! between them. Knows nothing of where code runs.

pub mod batch;

pub use batch::{Batch, BatchBuilder, Column, DeadLetter};
