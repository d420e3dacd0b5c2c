//! A job's life.

pub mod control;
pub mod plan_view;
pub mod status;
