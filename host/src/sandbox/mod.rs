//! Everything wasmtime: no other room names it.
//!
//! - [`engine`]: the process's one engine, its allocator, its epoch ticker, and
//!   the cache of compiled code.
//! - [`artifact`]: a component that was checked against the contract.
//! - [`compile`]: where it is compiled, within limits of time and memory; [`componentize`]: where
//!   a core module becomes a component; `preview1`: what answers WASI as it was before components;
//!   [`producers`]: what it says it was made with.
//! - `sections`: a module or component, cut into its sections.
//! - `differences`: how a component differs from the contract, as a diff of WIT.
//! - [`instance`]: one store with one operator instance, and the calls into it.
//! - `abi`: the contract's types as they cross.
//! - `outcome`: what came back, checked before anything else sees it.
//! - `capabilities`: what a guest may import; `wasi`: what of that is WASI;
//!   `http`: where its requests go, `tls`: whom it trusts there; `guest_log`: where its
//!   lines go, and `log_budget`: how many; `kept_log`: those that somebody looks at; `last_words`: which of them a failure tells.
//! - [`meter`], [`cap`]: how long guests run, and how long they may.
//! - `probe`: what a slot that is suspect has to bear.
//! - [`memory_snapshot`]: a component's memory, saved without its help.
//! - `limits`, `trap`, `frames`: what holds a guest, what is said when it hits a limit, and where that was.
//!
//! No guest input may panic, hang or bloat the host.

mod abi;
pub mod artifact;
mod cache;
pub mod cap;
mod capabilities;
pub mod compile;
pub mod componentize;
pub mod componentize_py;
#[cfg(test)]
mod contract_tests;
mod differences;
pub mod engine;
mod frames;
mod guest_log;
mod http;
pub mod inspect;
pub mod instance;
mod kept_log;
mod last_words;
mod limits;
mod log_budget;
pub mod memory_snapshot;
pub mod meter;
mod outcome;
mod preview1;
mod probe;
pub mod producers;
mod sections;
mod tls;
mod trap;
mod wasi;

pub use artifact::{Artifact, LoadError, OperatorKind};
pub use cache::{default_cache_dir, make_private_dir, usable_cache_dir};
pub use cap::CpuCap;
pub use capabilities::{GuestMetrics, Histogram};
pub use compile::{CompileLimits, Compiler};
pub use engine::{Metering, Sandbox, SandboxConfig};
pub use inspect::Inspection;
pub use instance::{FoldOutcome, Instance, Now, Outcome, SlotSettings};
pub use kept_log::{KeptLine, KeptLog};
pub use log_budget::{LogBudget, OfJob};
pub use memory_snapshot::{MemoryDelta, MemoryPages, PageWatch};
pub use meter::CpuMeter;
