//! Trying an operator: it is fed some records in a throw-away slot, and all that it made of them
//! is told. Needs a TaskManager, and no server and no job; who may try what, and in which form it
//! is asked and shown, is for those above.
//!
//! ```text
//!  Feed ──▶ batches, watermarks, the end ──▶ the operator ──▶ Report: records by port, rejected
//!             as a source would make them     in a slot          and late ones, logs, timers, time,
//!                                             of its tenant's    memory, and how it ended
//! ```
//!
//! | file | what lives there |
//! | --- | --- |
//! | [`feed`] | what it is fed |
//! | [`slot`] | the slot: asked for, held, given back |
//! | [`request`] | what is asked for, as it is written |
//! | [`settings`] | what is said of the operator, as in a job file |
//! | `drive` | what is done with the operator, in order |
//! | [`report`] | what is told, within bounds |
//! | [`pace`] | how fast an operator is |
//! | [`run`](mod@run) | the whole of it, and its end |
//!
//! A trial cannot hurt what runs: it takes a slot that is free, of its tenant's quotas, after
//! every job that waits for one; its guest has its tenant's turns on the cores, behind the
//! tenant's jobs; time, memory and what is told are bounded; and when nobody waits for the answer
//! any more it is ended. It sees no folder and no host.

mod drive;
pub mod feed;
pub mod pace;
pub mod report;
pub mod request;
pub mod run;
pub mod settings;
pub mod slot;

pub use feed::{Feed, Sample};
pub use report::{Ended, Report};
pub use request::TrialRequest;
pub use run::{Limits, Trial, run};
pub use slot::NotRun;
