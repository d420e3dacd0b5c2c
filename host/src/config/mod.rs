//! Job files: the text that people write, and the checked model of it that the
//! rest of the host works with.

pub mod job;
