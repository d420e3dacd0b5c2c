//! The harness of the end-to-end tests: a place for a job's files, and the real
//! program to run there. What is promised stands in `tests/`, one file for each
//! area. [`Hosted`] runs jobs in the test's own process instead.

pub mod authoring;
pub mod browser;
pub mod client;
pub mod collector;
pub mod console;
mod contract;
mod disk;
pub mod flights;
mod hosted;
pub mod html;
pub mod jobs;
mod place;
mod program;
mod receiver;
mod served;
mod server;
pub mod zoo;

pub use disk::Disk;
pub use hosted::{Hosted, tenant};
pub use place::{Place, last_counts, repository};
pub use program::{Ended, Running, guests, probe, program};
pub use receiver::{Received, Receiver};
pub use served::{Reply, Served};
pub use server::Server;
