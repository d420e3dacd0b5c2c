//! A job's life: planned, deployed, checkpointed, restarted, ended.
//!
//! ```text
//!                    ┌────────────── restart ◀──────────┐
//!                    ▼                                  │ the strategy says so
//! CREATED ──▶ deploy from the ──▶ RUNNING ──▶ a subtask failed ──▶ FAILED
//!  │    ▲     last checkpoint       │  │
//!  │    │ slots are given           │  └─ asked to stop ──▶ STOPPING ──▶ STOPPED
//!  │    │                           │  │                (last checkpoint)
//!  │  QUEUED ◀── stopped with a ────┼──┘ slots are asked back
//!  │             checkpoint         ▼
//!  └▶ (refused)              every input ended ──▶ final checkpoint ──▶ FINISHED
//! ```
//!
//! One task, the [`master`], owns all of that. What it decides is decided by
//! pure parts: [`plan`] (what runs), [`coordinator`] (checkpoints), [`crashes`] (who is
//! watched for poison), and the `restart` strategies. [`placement`] gets slots and memory, [`deploy`] puts a plan into them (`wiring`: its channels, `subtasks`: each of it), [`regions`] of it
//! at a time, and [`deployment`] is what then runs; [`writer`] writes checkpoints beside the job. [`check`] finds out what would keep a job from
//! starting, and [`instances`] makes instances for it and for deployments; [`images`] is about the
//! memories of guests in checkpoints, `restored` about what all saved subtasks of a vertex tell together. [`needs`]
//! says which files of this machine a job goes on needing; [`job_trace`] tells of what the job does, where that is traced; [`capsules`] keeps what is known of crashes, [`failures`] which there were, and [`disk`] tells the tenant's account what all of that takes.

pub mod capsules;
pub mod check;
pub mod control;
pub mod coordinator;
pub mod crashes;
pub mod deploy;
pub mod deployment;
pub mod disk;
pub mod failures;
pub mod images;
pub mod instances;
pub mod job_trace;
pub mod master;
pub mod needs;
pub mod pieces;
pub mod placement;
pub mod plan;
pub mod plan_view;
pub mod prepare;
pub mod progress;
pub mod regions;
mod restored;
pub mod status;
mod subtasks;
pub mod trimmer;
pub mod usage;
mod wiring;
pub mod writer;

pub use master::run;
