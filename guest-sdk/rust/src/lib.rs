//! Write stream operators for Cofferdam in Rust.
//!
//! An operator is a type, an `impl` of a trait, and one macro line:
//!
//! ```
//! use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor};
//!
//! struct Shout;
//!
//! impl Processor for Shout {
//!     fn open(_: &Context) -> Result<Self, Error> {
//!         Ok(Shout)
//!     }
//!
//!     fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
//!         for record in batch.records() {
//!             match record.value_str() {
//!                 Ok(text) => out.emit(&record).value(text.to_uppercase().as_bytes()),
//!                 Err(e) => out.reject(&record, e.to_string()),
//!             }
//!         }
//!         Ok(())
//!     }
//! }
//!
//! cofferdam_sdk::export!(processor: Shout);
//!
//! // And its test, native, without Wasm:
//! use cofferdam_sdk::testing::Harness;
//! let mut harness = Harness::processor::<Shout>(serde_json::json!({}))?;
//! assert_eq!(harness.values(["ahoy"])?.texts(0), ["AHOY"]);
//! # Ok::<(), Error>(())
//! ```
//!
//! # Reading guide
//!
//! | you want to | see |
//! | --- | --- |
//! | map, filter, route | [`Processor`], [`Outcome`] |
//! | count, join, aggregate by key | [`KeyedProcessor`], [`Group`] |
//! | aggregate in session windows | [`Merge`] |
//! | keep state in the operator's own memory | [`Snapshot`] |
//! | read the job file's `config` | [`Context::config`] |
//! | look for a text | [`Search`] |
//! | read one field of a JSON object, fast | [`json`] |
//! | log, measure | [`info!`], [`metrics`] |
//! | read and write times and durations | [`time`] |
//! | test | [`testing`] |
//!
//! The contract itself is in the repository's `wit/`; the bindings made from it
//! are private here and exist in Wasm only.

#![deny(missing_docs)]

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[path = "component.rs"]
pub mod __component;
mod append;
mod batch;
mod codec;
mod context;
pub mod contract;
mod error;
mod export;
mod fold;
pub mod json;
mod keyed;
pub mod log;
pub mod metrics;
mod outcome;
mod platform;
mod processor;
mod search;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod time;

pub use batch::{Batch, Column, Record};
pub use context::Context;
pub use contract::{FiringKind, TimerKind};
pub use error::Error;
pub use keyed::{Firing, Group, KeyedProcessor, Merge, Window};
pub use outcome::{Emit, Nothing, Outcome, Source};
pub use processor::{Processor, Snapshot};
pub use search::Search;
pub use serde;
pub use serde_json;
